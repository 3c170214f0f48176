/* SPDX-License-Identifier: GPL-2.0 */
/* What two looks at a replica's statistics tell of the time between them. */
#ifndef FTKVM_RATES_H
#define FTKVM_RATES_H

#include "nl.h"

/**
 * struct ftrates - what a replica did between two looks
 * @known: both were at the same pairing of the same guest; else nothing below is set
 * @has: of which statistics @per_s tells
 * @per_s: by how much each count grew, per second
 * @commit_ns: how long an output that waited for the peer waited, on average; negative: none
 *	did
 */
struct ftrates {
	bool known;
	bool has[FTKVM_STAT_MAX + 1];
	double per_s[FTKVM_STAT_MAX + 1];
	double commit_ns;
};

/**
 * ft_rates() - compare two looks at a replica
 * @before: the earlier one, or NULL
 * @now: the later one
 * @seconds: what has passed between them
 * @rates: filled in
 *
 * The module counts from zero for each pairing, and a name may be another guest's by now: of
 * these nothing is known until the next look. Context: any.
 */
void ft_rates(const struct ftreplica *before, const struct ftreplica *now, double seconds,
	      struct ftrates *rates);

#endif
