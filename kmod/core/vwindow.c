// SPDX-License-Identifier: GPL-2.0
#include <linux/math.h>
#include <linux/minmax.h>

#include "vwindow.h"

/**
 * ftkvm_vwindow() - the first piece of a request, and the blocks that it lies in
 * @w: gets them
 * @at: where the request begins, in bytes
 * @len: bytes of it, not 0
 * @block: bytes of a block, a power of two
 * @room: bytes that there is room for, one block at least, and whole ones
 *
 * Context: any.
 */
void ftkvm_vwindow(struct ftkvm_vwindow *w, u64 at, u64 len, u32 block, u32 room)
{
	w->skip = at & (block - 1);
	w->from = at - w->skip;
	w->len = min_t(u64, len, room - w->skip);
	w->bytes = round_up(w->skip + w->len, block);
}

/**
 * ftkvm_vwindow_whole() - is nothing in the blocks but the piece?
 * @w: them
 *
 * What else is there must be read before they can be written.
 * Context: any.
 * Return: whether it is all theirs.
 */
bool ftkvm_vwindow_whole(const struct ftkvm_vwindow *w)
{
	return !w->skip && w->len == w->bytes;
}
