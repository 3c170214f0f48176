/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A piece of a disk in short: a checksum of each of its blocks, so that two hosts find
 * out whether their images are the same, and if not, where, without sending them.
 */
#ifndef FTKVM_CORE_DSUM_H
#define FTKVM_CORE_DSUM_H

#include <linux/types.h>

#define FTKVM_DSUM_BLOCK	4096u
/* a request of the guest's may wait for as much to be read */
#define FTKVM_DSUM_PIECE	0x100000u

/**
 * struct ftkvm_dsum - a piece of a disk; wire form
 * @at: where it begins, in bytes
 * @bytes: how long it is
 * @zero: 0
 * @sum: crc32c of each block; a disk's last may be shorter
 */
struct ftkvm_dsum {
	__le64 at;
	__le32 bytes;
	__le32 zero;
	__le32 sum[];
} __packed;

enum ftkvm_dsum_verdict {
	FTKVM_DSUM_SAME,
	FTKVM_DSUM_DIFFERS,
	FTKVM_DSUM_OTHER,	/* they are not of the same piece: nothing can be said */
};

/* Bytes of the piece at @at of a disk of @size bytes, and of its wire form. Any context. */
u32 ftkvm_dsum_bytes(u64 size, u64 at);
u32 ftkvm_dsum_len(u32 bytes);

void ftkvm_dsum_begin(struct ftkvm_dsum *d, u64 at, u32 bytes);
/* The @i-th block. Borrows the FPU (see digest.c): process context. */
void ftkvm_dsum_block(struct ftkvm_dsum *d, u32 i, const void *data, u32 len);

enum ftkvm_dsum_verdict ftkvm_dsum_compare(const struct ftkvm_dsum *ours, const void *theirs,
					   u32 len, u64 *at, u32 *bytes);

#endif
