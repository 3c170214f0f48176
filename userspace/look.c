// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>
#include "job.h"
#include "look.h"

struct look {
	struct job job;
	void (*fn)(struct guest *g, const struct ftreplica *r);
	struct ftreplica *list;
	size_t n;
};

static void look_work(struct job *job)
{
	struct look *l = (struct look *)job;
	struct fterr ignored;

	if (ftnl_dump(&l->list, &l->n, &ignored))
		l->n = 0;
}

static void look_done(struct job *job)
{
	struct look *l = (struct look *)job;
	size_t i;

	for (i = 0; i < l->n; i++) {
		struct guest *g = guest_find(l->list[i].name);

		if (g)
			l->fn(g, &l->list[i]);
	}
	free(l->list);
	free(l);
}

void look_at_all(void (*fn)(struct guest *g, const struct ftreplica *r))
{
	struct look *l = calloc(1, sizeof(*l));

	if (!l)
		return;
	l->fn = fn;
	l->job.work = look_work;
	l->job.done = look_done;
	if (job_start(&l->job))
		free(l);
}

static int on_look(sd_event_source *s, uint64_t usec, void *arg)
{
	struct look_timer *t = arg;

	t->look();
	sd_event_source_set_time(s, usec + t->usec);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

int look_begin(struct look_timer *t, struct fterr *err)
{
	int ret = sd_event_add_time_relative(ftd_loop, &t->source, CLOCK_MONOTONIC, t->usec, 0, on_look, t);

	return ret < 0 ? ft_fail(err, ret, "cannot set a timer: %s", strerror(-ret)) : 0;
}

void look_end(struct look_timer *t)
{
	t->source = sd_event_source_disable_unref(t->source);
}
