/* SPDX-License-Identifier: GPL-2.0 */
/* What the arbiter said last of a guest's session: nothing is decided by it, it is for people. */
#ifndef FTKVM_HEARD_H
#define FTKVM_HEARD_H

#include <stdint.h>
#include "util.h"

enum ftheard_what {
	FT_UNHEARD,	/* it was not asked yet */
	FT_KNOWN,	/* it has the session, undecided */
	FT_DECIDED,
	FT_FORGOTTEN,	/* it has no such session */
	FT_NO_ANSWER,
};

/**
 * struct ftheard - the arbiter's last answer
 * @what: which
 * @at_ns: when, CLOCK_BOOTTIME
 * @text: more of it in words, or ""
 */
struct ftheard {
	enum ftheard_what what;
	uint64_t at_ns;
	char text[256];
};

/* What one of the arbiter's calls returned, that may also find that all is well. */
enum ftheard_what heard_of(int ret);

/**
 * heard_note() - there is an answer, or none again
 * @h: gets it
 * @what: which
 * @text: more of it, or NULL
 *
 * Context: the main loop.
 * Return: whether it is another one than the last.
 */
bool heard_note(struct ftheard *h, enum ftheard_what what, const char *text);

/* Stable: what -j prints. */
const char *heard_name(enum ftheard_what what);

#endif
