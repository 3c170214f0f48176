/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Storage that does not answer holds whoever asks it, for ever and maybe against all
 * signals. So children ask, and who is not back in time is left behind; if too many are,
 * no more are sent.
 */
#ifndef FTKVM_ARBITER_CHILD_H
#define FTKVM_ARBITER_CHILD_H

#include <stddef.h>
#include <stdint.h>
#include "util.h"

/**
 * struct arbiter_errand - what a child is sent for
 * @run: is called in the child, which has none of our files but the standard ones; it must allocate
 *	no memory and take no lock, as other threads of ours are not there
 * @arg: for @run
 * @reply: gets what @run has written to its own @reply
 * @size: of both
 * @place: what is asked, for people: "the storage of /srv"
 * @remedy: what to do if it does not answer: "see whether its server is up"
 */
struct arbiter_errand {
	void (*run)(const void *arg, void *reply);
	const void *arg;
	void *reply;
	size_t size;
	const char *place, *remedy;
};

/**
 * arbiter_child_send() - send a child, and wait for what it says
 * @e: for what; its @reply is all zeros for the child
 * @deadline: of ft_now_ms(); a child that is not back by then is killed, which it may not notice
 * @err: gets a text if that fails
 *
 * Any thread may call it, several at a time. The child ends if this thread does.
 * Return: 0, -ETIMEDOUT, -EBUSY (too many are stuck), or another -errno
 */
int arbiter_child_send(const struct arbiter_errand *e, int64_t deadline, struct fterr *err);

#endif
