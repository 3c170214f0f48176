/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Without an arbiter a replica that waits can't know of itself whether it is of before: its
 * host may have been away while the other one went on. So the other host's ftd is asked before
 * an operator's word lets it go on:
 *
 *	{"ftd": 1, "lives": NAME} -->
 *					<-- {"ok": true, "state": STATE}
 *
 * with the state of what that host has under this name, or without if it has nothing. No
 * version is said, nor needed.
 */
#ifndef FTKVM_LIVES_H
#define FTKVM_LIVES_H

#include "op.h"

/* The main loop's: a peer asks. Takes @sock in any case. */
void lives_tell(int sock, json_t *request);

/**
 * lives_elsewhere() - does the peer say that its replica has the guest, or follows another one?
 * @op: promotes it; @peer_name and @second are those of its guest
 * @r: what it is here
 *
 * Who does not answer soon, by either path, says nothing. For an operation's thread: some
 * seconds at most.
 * Return: 0: not as far as is known; or -EBUSY with a text
 */
int lives_elsewhere(struct op *op, const struct ftreplica *r);

#endif
