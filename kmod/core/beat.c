// SPDX-License-Identifier: GPL-2.0
/*
 * The second path: its beats, and what they are good for.
 */
#include <asm/byteorder.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/minmax.h>

#include "beat.h"

/**
 * ftkvm_beat_seal() - make a beat
 * @b: filled in
 * @token: of the pairing
 * @state: of the replica that sends it
 *
 * Context: Any.
 */
void ftkvm_beat_seal(struct ftkvm_beat *b, u64 token, enum ftkvm_state state)
{
	b->magic = cpu_to_le32(FTKVM_BEAT_MAGIC);
	b->state = cpu_to_le32(state);
	b->token = cpu_to_le64(token);
}

/**
 * ftkvm_beat_check() - is this a beat of our pairing?
 * @b: what came
 * @token: of the pairing
 * @state: gets the state of the replica that sent it
 *
 * Context: Any.
 * Return: 0; -EBADMSG: it is none; -ESTALE: it is another pairing's.
 */
int ftkvm_beat_check(const struct ftkvm_beat *b, u64 token, enum ftkvm_state *state)
{
	u32 s = le32_to_cpu(b->state);

	if (le32_to_cpu(b->magic) != FTKVM_BEAT_MAGIC || s >= FTKVM_STATES)
		return -EBADMSG;
	if (le64_to_cpu(b->token) != token)
		return -ESTALE;
	*state = s;
	return 0;
}

/* Is the peer's host alive, as far as can be told without the link? */
static bool loss_heard(const struct ftkvm_loss *l)
{
	return l->up && l->silence_ms < l->timeout_ms;
}

/**
 * ftkvm_loss_defer() - is a replica that lost its peer to wait before it asks who goes on?
 * @l: what it knows
 *
 * The primary is to win: its guest is the one that the world sees. So a backup waits while it
 * hears that the primary's host lives and has not decided. A primary that says that it has
 * decided, or stopped, is not waited for, and none for ever.
 *
 * Context: Any.
 * Return: milliseconds after which it is to be looked at again; 0: ask.
 */
u32 ftkvm_loss_defer(const struct ftkvm_loss *l)
{
	u32 bound = max_t(u32, FTKVM_DEFER_MS, 2 * min_t(u32, l->timeout_ms, U32_MAX / 2));

	if (l->role != FTKVM_ROLE_BACKUP || l->state != FTKVM_STATE_ORPHAN || l->told)
		return 0;
	if (!loss_heard(l) || l->lost_ms >= bound)
		return 0;
	if (l->peer != FTKVM_STATE_ARMED && l->peer != FTKVM_STATE_PRIMARY &&
	    l->peer != FTKVM_STATE_UNDECIDED)
		return 0;
	return min(bound - l->lost_ms, l->timeout_ms - l->silence_ms);
}

/**
 * ftkvm_loss_forbids() - must a replica that lost its peer not go on?
 * @l: what it knows
 *
 * Context: Any.
 * Return: true while the other one says that it is the one that goes on.
 */
bool ftkvm_loss_forbids(const struct ftkvm_loss *l)
{
	if (!loss_heard(l))
		return false;
	if (l->role == FTKVM_ROLE_BACKUP)
		/* IDLE: the pairing was off there before it began, and its guest may run */
		return l->state == FTKVM_STATE_ORPHAN &&
		       (l->peer == FTKVM_STATE_SOLO || l->peer == FTKVM_STATE_IDLE);
	return l->role == FTKVM_ROLE_PRIMARY && l->state == FTKVM_STATE_UNDECIDED &&
	       (l->peer == FTKVM_STATE_TAKEOVER || l->peer == FTKVM_STATE_SOLO);
}
