/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A pairing's second path: another connected stream socket, over which both modules say no
 * more than that they are there (core/beat.h). One kernel thread.
 */
#ifndef FTKVM_LINK_SECOND_H
#define FTKVM_LINK_SECOND_H

#include <linux/types.h>
#include "../core/state.h"

struct ftkvm_second;

/**
 * struct ftkvm_second_ops - upcalls; from the thread, no locks held
 * @state: the replica's state, to be told to the peer
 * @news: beats come now, or no more, and why; none comes behind the latter. Must not wait
 *	for who destroys the path
 */
struct ftkvm_second_ops {
	enum ftkvm_state (*state)(void *priv);
	void (*news)(void *priv, bool up, const char *why);
};

/* What the last beat was like. */
struct ftkvm_second_heard {
	bool up;
	enum ftkvm_state peer;
	u32 silence_ms;
};

struct ftkvm_second *ftkvm_second_create(int fd, const struct ftkvm_second_ops *ops, void *priv,
					 u64 token, unsigned int timeout_ms, char *why,
					 size_t size);
int ftkvm_second_start(struct ftkvm_second *s, const char *name);
void ftkvm_second_set_timeout(struct ftkvm_second *s, unsigned int timeout_ms);
void ftkvm_second_heard(const struct ftkvm_second *s, struct ftkvm_second_heard *heard);
void ftkvm_second_destroy(struct ftkvm_second *s);

#endif
