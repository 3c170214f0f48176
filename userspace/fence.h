/* SPDX-License-Identifier: GPL-2.0 */
/* The fence hook: a program of the operator's that makes sure that a host is off. */
#ifndef FTKVM_FENCE_H
#define FTKVM_FENCE_H

#include "util.h"

/**
 * fence_run() - run the hook and wait for its end
 * @hook: the program; it is called with @guest and @peer, which are in its environment as
 *	FTKVM_GUEST and FTKVM_PEER, too
 * @timeout_s: it is killed after that, with its process group; where too many are there still that were, it is not run
 * Return: 0 if it exited with 0, or -errno with a text
 */
int fence_run(const char *hook, unsigned int timeout_s, const char *guest, const char *peer,
	      struct fterr *err);

/**
 * fence_host() - the same, but for who asks while the hook is run against that host already: what becomes of it
 *	goes for him, too
 * @peer: its host, with or without a port
 *
 * So a host that had many guests is fenced by one call at a time. Any thread may ask; none waits for longer than
 * the hook that is run.
 */
int fence_host(const char *hook, unsigned int timeout_s, const char *guest, const char *peer,
	       struct fterr *err);

#endif
