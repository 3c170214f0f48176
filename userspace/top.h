/* SPDX-License-Identifier: GPL-2.0 */
/* ftctl top, without its terminal. */
#ifndef FTKVM_TOP_H
#define FTKVM_TOP_H

#include "rates.h"
#include "view.h"

/**
 * struct fttop - the last look at all guests, and what it tells with the one before
 * @now: the guests
 * @rates: of each of them
 * @at_ns: when that was, CLOCK_BOOTTIME; 0: no look yet
 * @seconds: since the look before; 0: there was none
 */
struct fttop {
	struct ftviews now;
	struct ftrates *rates;
	uint64_t at_ns;
	double seconds;
};

/* Another look, @now (taken over) at @at_ns. */
void fttop_take(struct fttop *top, struct ftviews *now, uint64_t at_ns);
void fttop_free(struct fttop *top);

/* For people; a look is the head and a line for each guest. */
void fttop_print(const struct fttop *top, FILE *to);
/* For -j. */
json_t *fttop_json(const struct fttop *top);

#endif
