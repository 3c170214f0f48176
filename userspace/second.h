/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A pairing's second path: another connection between the two hosts, by another address, over
 * which the modules tell each other that they live (<linux/ftkvm.h>, FTKVM_CMD_SECOND). The
 * primary's ftd makes it as soon as the pairing is there, and again when it is lost:
 *
 *	{"ftd": 1, "second": TOKEN, "port": N} -->	who has a backup with that token?
 *					<-- {"ok": true}
 *
 * and from then on the connection is the modules'. All of it is for the main loop.
 */
#ifndef FTKVM_SECOND_H
#define FTKVM_SECOND_H

#include "op.h"

/* Instead of an address: there is to be none, whatever [link] says. */
#define SECOND_NONE	"none"

/* Is there to be one? */
static inline bool second_there(const struct guest *g)
{
	return *g->second && strcmp(g->second, SECOND_NONE);
}

/* At the start. 0 or -errno with a text. */
int second_init(struct fterr *err);

/**
 * second_wanted() - which second path a pairing is to have
 * @op: gets it, and a token of its own
 * @address: HOST[:PORT], SECOND_NONE, or NULL: what [link] says
 * Return: 0, or -errno with a text
 */
int second_wanted(struct op *op, const char *address, struct fterr *err);

/* A peer calls, with a pairing's token: takes @sock in any case. */
void second_accept(int sock, const char *from, json_t *request);

#endif
