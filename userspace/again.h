/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Protecting a guest again that has lost its peer: with the host that was its peer, when it
 * is back, or with another one ([guests] protect-again, standby).
 */
#ifndef FTKVM_AGAIN_H
#define FTKVM_AGAIN_H

#include <jansson.h>
#include "guest.h"

/* The main loop's, once. 0 or -errno with a text. */
int again_init(struct fterr *err);
/* ftd is to end: nothing more is begun. */
void again_end(void);
/* A move that failed, or was cut off with a former ftd, may have left something behind: see to it. */
void again_mend(void);

/* The main loop's: this guest is to be protected again, whatever the configuration says. */
void again_wanted(struct guest *g);

/* The main loop's: it has been protected. */
void again_succeeded(struct guest *g);

/**
 * again_failed() - the main loop's: a try to protect it came to nothing
 * @why: what is to be logged, unless it was; NULL: an operator was told
 * @turn: it is another host's turn: this one was called, by ftd itself
 */
void again_failed(struct guest *g, const char *why, bool turn);

/* The main loop's, for status: where it is tried next, in how long, and why it failed. NULL: it is not to be. */
json_t *again_json(const struct guest *g);

/* The main loop's: nobody wants it to be protected again, until it has been. */
void again_dismiss(struct guest *g);

#endif
