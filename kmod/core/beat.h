/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is said on a pairing's second path, and what follows from its being heard when the
 * link is lost: that a backup leaves the primary time to decide, never that it goes live.
 */
#ifndef FTKVM_CORE_BEAT_H
#define FTKVM_CORE_BEAT_H

#include "state.h"

/* From one beat to the next. */
#define FTKVM_BEAT_MS		50

/*
 * A primary whose host lives has so long to ask who goes on, from when the backup lost it:
 * its own time-out, a question of the arbiter, and some more. Or two time-outs.
 */
#define FTKVM_DEFER_MS		5000

#define FTKVM_BEAT_MAGIC	0x32485446u	/* "FTH2" */

/**
 * struct ftkvm_beat - all that is ever sent
 * @magic: FTKVM_BEAT_MAGIC
 * @state: enum ftkvm_state of the replica that sends
 * @token: which pairing it is: who has not made it does not know that
 */
struct ftkvm_beat {
	__le32 magic;
	__le32 state;
	__le64 token;
} __packed;

void ftkvm_beat_seal(struct ftkvm_beat *b, u64 token, enum ftkvm_state state);
int ftkvm_beat_check(const struct ftkvm_beat *b, u64 token, enum ftkvm_state *state);

/**
 * struct ftkvm_loss - a replica without its peer, as it sees it
 * @role: its role
 * @state: its state
 * @peer: the peer's, by the last beat
 * @up: beats come
 * @told: the peer has said why the link ended
 * @lost_ms: since the link was lost
 * @silence_ms: since the last beat
 * @timeout_ms: silence that long is the path's end
 */
struct ftkvm_loss {
	enum ftkvm_role role;
	enum ftkvm_state state, peer;
	bool up, told;
	u32 lost_ms, silence_ms, timeout_ms;
};

u32 ftkvm_loss_defer(const struct ftkvm_loss *l);
bool ftkvm_loss_forbids(const struct ftkvm_loss *l);

#endif
