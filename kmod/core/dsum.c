// SPDX-License-Identifier: GPL-2.0
/*
 * Checksums of a disk's pieces.
 */
#include <linux/crc32c.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <asm/byteorder.h>

#include "dsum.h"

/**
 * ftkvm_dsum_bytes() - how long is a piece?
 * @size: bytes that the disk has
 * @at: where the piece begins
 *
 * Context: Any.
 * Return: its bytes; 0 behind the disk's end.
 */
u32 ftkvm_dsum_bytes(u64 size, u64 at)
{
	return at < size ? min_t(u64, size - at, FTKVM_DSUM_PIECE) : 0;
}

/**
 * ftkvm_dsum_len() - how long is its wire form?
 * @bytes: of the piece
 *
 * Context: Any.
 * Return: bytes.
 */
u32 ftkvm_dsum_len(u32 bytes)
{
	u32 blocks = (bytes + FTKVM_DSUM_BLOCK - 1) / FTKVM_DSUM_BLOCK;

	return sizeof(struct ftkvm_dsum) + blocks * sizeof(__le32);
}

/**
 * ftkvm_dsum_begin() - which piece it is
 * @d: filled in, but for the sums, which are zeroed; ftkvm_dsum_len() bytes
 * @at: where it begins
 * @bytes: how long it is
 *
 * Context: Any.
 */
void ftkvm_dsum_begin(struct ftkvm_dsum *d, u64 at, u32 bytes)
{
	memset(d, 0, ftkvm_dsum_len(bytes));
	d->at = cpu_to_le64(at);
	d->bytes = cpu_to_le32(bytes);
}

/**
 * ftkvm_dsum_block() - one of its blocks
 * @d: the piece
 * @i: which block
 * @data: what is in it
 * @len: bytes of it
 *
 * Context: process: crc32c() borrows the FPU for so much.
 */
void ftkvm_dsum_block(struct ftkvm_dsum *d, u32 i, const void *data, u32 len)
{
	d->sum[i] = cpu_to_le32(~crc32c(~0, data, len));
}

/**
 * ftkvm_dsum_compare() - are two hosts' pieces the same?
 * @ours: this host's
 * @theirs: the peer's; nothing about it is taken on trust
 * @len: bytes of @theirs
 * @at: if they differ, where the first block that does begins
 * @bytes: ... and how long it is
 *
 * Context: Any.
 * Return: enum ftkvm_dsum_verdict.
 */
enum ftkvm_dsum_verdict ftkvm_dsum_compare(const struct ftkvm_dsum *ours, const void *theirs,
					   u32 len, u64 *at, u32 *bytes)
{
	u32 whole = le32_to_cpu(ours->bytes), off = sizeof(*ours), i;

	if (len != ftkvm_dsum_len(whole) || memcmp(ours, theirs, off))
		return FTKVM_DSUM_OTHER;
	for (i = 0; off < len; i++, off += sizeof(*ours->sum)) {
		if (!memcmp(&ours->sum[i], theirs + off, sizeof(*ours->sum)))
			continue;
		*at = le64_to_cpu(ours->at) + (u64)i * FTKVM_DSUM_BLOCK;
		*bytes = min(whole - i * FTKVM_DSUM_BLOCK, FTKVM_DSUM_BLOCK);
		return FTKVM_DSUM_DIFFERS;
	}
	return FTKVM_DSUM_SAME;
}
