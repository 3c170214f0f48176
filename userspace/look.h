/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FTKVM_LOOK_H
#define FTKVM_LOOK_H

#include "guest.h"

/**
 * look_at_all() - ask the module how all guests are, without waiting for it
 * @fn: is told later, in the main loop, of each guest that ftd knows
 *
 * Context: the main loop. If there is no answer nothing is told.
 */
void look_at_all(void (*fn)(struct guest *g, const struct ftreplica *r));

/**
 * struct look_timer - looks again and again, in the main loop
 * @usec: from one time to the next
 * @look: what is done then
 * @source: look_begin()'s
 */
struct look_timer {
	uint64_t usec;
	void (*look)(void);
	sd_event_source *source;
};

/* The main loop's: begin; the first time is @usec from now. 0, or -errno with a text. */
int look_begin(struct look_timer *t, struct fterr *err);
/* ... and no more, if it had begun. */
void look_end(struct look_timer *t);

#endif
