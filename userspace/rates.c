// SPDX-License-Identifier: GPL-2.0
#include <string.h>
#include "rates.h"
#include "text.h"

/* Those that only a new pairing sets back; the link's, for one, go with the link. */
static const unsigned int steady[] = {
	FTKVM_STAT_EPOCHS, FTKVM_STAT_INPUTS, FTKVM_STAT_OUTPUTS,
	FTKVM_STAT_RECORDS, FTKVM_STAT_EXITS,
};

static bool same_pairing(const struct ftreplica *before, const struct ftreplica *now)
{
	size_t i;

	if (before->pid != now->pid || strcmp(before->name, now->name))
		return false;
	for (i = 0; i < ARRAY_SIZE(steady); i++)
		if (now->stats[steady[i]] < before->stats[steady[i]])
			return false;
	return true;
}

void ft_rates(const struct ftreplica *before, const struct ftreplica *now, double seconds,
	      struct ftrates *rates)
{
	const uint64_t *s = now->stats, *t;
	uint64_t waits;
	unsigned int i;

	memset(rates, 0, sizeof(*rates));
	rates->commit_ns = -1;
	if (!before || seconds <= 0 || !same_pairing(before, now))
		return;
	t = before->stats;
	rates->known = true;
	for (i = 0; i <= FTKVM_STAT_MAX; i++) {
		if (!ft_stat_name(i) || ft_stat_is_level(i) || !before->has_stat[i] || !now->has_stat[i] ||
		    s[i] < t[i])
			continue;
		rates->has[i] = true;
		rates->per_s[i] = (s[i] - t[i]) / seconds;
	}
	/* the time is counted when a wait ends, as the wait is: but both are not read at once */
	waits = s[FTKVM_STAT_COMMIT_WAITS] - t[FTKVM_STAT_COMMIT_WAITS];
	if (rates->has[FTKVM_STAT_COMMIT_WAITS] && rates->has[FTKVM_STAT_COMMIT_NS] && waits)
		rates->commit_ns = (double)(s[FTKVM_STAT_COMMIT_NS] - t[FTKVM_STAT_COMMIT_NS]) / waits;
}
