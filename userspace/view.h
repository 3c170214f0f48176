/* SPDX-License-Identifier: GPL-2.0 */
/* What is known of a guest: by the module, and by ftd. */
#ifndef FTKVM_VIEW_H
#define FTKVM_VIEW_H

#include "ftctl.h"

/**
 * struct ftview - one guest
 * @r: what the module tells, or told last
 * @info: what ftd tells of it, or NULL
 * @failed: names of disks whose storage on this host has failed, or NULL
 * @ended: its QEMU is gone
 * @event, @since_ns: its last event and since when it has been in its state; 0: not known
 */
struct ftview {
	struct ftreplica r;
	json_t *info;
	json_t *failed;
	bool ended;
	struct ftevent event;
	uint64_t since_ns;
};

struct ftviews {
	size_t n;
	struct ftview *list;
	json_t *answer;		/* ftd's; NULL: it does not run */
};

/**
 * ftviews_merge() - add what ftd knows to what the module knows
 * @v: n and list hold the module's replicas; the list is sorted, the most
 *	troubled first
 * @answer: ftd's answer to "info", or NULL; the reference is stolen
 */
void ftviews_merge(struct ftviews *v, json_t *answer);

/**
 * ftviews_get() - look at one guest or at all
 * @name: or NULL
 * Return: 0, or -errno with a text
 */
int ftviews_get(const struct ftctl *ctl, const char *name, struct ftviews *v, struct fterr *err);
void ftviews_free(struct ftviews *v);

/* Is it protected, now? */
bool ftview_protected(const struct ftview *v);
/* All of it, for -j. */
json_t *ftview_json(const struct ftview *v);
/* For people. */
void ftview_print(const struct ftview *v, bool ftd_runs, FILE *to);

#endif
