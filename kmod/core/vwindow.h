/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Storage that takes whole blocks only, and a guest that may ask for less: which blocks a
 * piece of a request lies in.
 */
#ifndef FTKVM_CORE_VWINDOW_H
#define FTKVM_CORE_VWINDOW_H

#include <linux/types.h>

/**
 * struct ftkvm_vwindow - whole blocks, and the piece of a request that lies in them
 * @from: where the blocks begin, in bytes of the disk
 * @bytes: of all blocks
 * @skip: bytes of them before the piece
 * @len: bytes of the piece
 */
struct ftkvm_vwindow {
	u64 from;
	u32 bytes, skip, len;
};

void ftkvm_vwindow(struct ftkvm_vwindow *w, u64 at, u64 len, u32 block, u32 room);
bool ftkvm_vwindow_whole(const struct ftkvm_vwindow *w);

#endif
