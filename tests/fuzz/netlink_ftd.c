// SPDX-License-Identifier: GPL-2.0
/* The module's answers as ftd has them: by userspace/nl_parse.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nl_parse.h"
#include "netlink_ftd.h"

bool ftd_hears_replica(const void *nlh, const struct world_replica *r)
{
	struct ftreplica f;
	int i;

	nl_parse_replica(nlh, &f);
	for (i = FTKVM_STAT_PAD + 1; i <= FTKVM_STAT_MAX; i++)
		if (!f.has_stat[i] || f.stats[i] != r->stats[i])
			return false;
	return !strcmp(f.name, r->name) && !strcmp(f.peer, r->peer) &&
	       !strcmp(f.detail, r->detail) && !strcmp(f.disks_detail, r->disks_detail) &&
	       !strcmp(f.module_version, r->module_version) &&
	       f.state == r->state && f.role == r->role && f.pid == r->pid &&
	       f.reason == r->reason && f.counter == r->counter &&
	       f.timeout_ms == r->timeout_ms && f.proto_version == r->proto_version &&
	       f.period_min == r->period_min && f.period_max == r->period_max &&
	       f.margin == r->margin && f.token == r->token;
}

bool ftd_hears_device(const void *nlh, const struct world_device *d)
{
	struct ftdev f;
	int i;

	nl_parse_device(nlh, &f);
	for (i = FTKVM_DEV_STAT_PAD + 1; i <= FTKVM_DEV_STAT_MAX; i++)
		if (!f.has_stat[i] || f.stats[i] != d->stats[i])
			return false;
	return !strcmp(f.name, d->name) && !strcmp(f.detail, d->detail) &&
	       !strcmp(f.storage_detail, d->storage_detail) && f.no == d->no &&
	       f.kind == d->kind && f.pid == d->pid && f.capacity == d->capacity &&
	       f.readonly == d->readonly && f.shared == d->shared;
}

uint32_t ftd_hears_base(const void *nlh)
{
	uint32_t base = ~0u;

	nl_parse_base(nlh, &base);
	return base;
}

uint32_t ftd_hears_track(const void *nlh)
{
	uint32_t track = 0;

	return nl_parse_track(nlh, &track) ? track : 0;
}

bool ftd_hears_dirty(const void *nlh, unsigned int n,
		     void (*make)(uint32_t i, unsigned long long *at, unsigned long long *bytes),
		     uint64_t left)
{
	unsigned long long at, bytes;
	struct ftdirty d;
	unsigned int i;

	if (!nl_parse_dirty(nlh, &d) || d.n != n || d.left != left)
		return false;
	for (i = 0; i < n; i++) {
		make(i, &at, &bytes);
		if (d.ranges[i].at != at || d.ranges[i].bytes != bytes)
			return false;
	}
	return true;
}

bool ftd_hears_event(const void *nlh, const struct world_replica *r)
{
	struct ftevent e;

	nl_parse_event(nlh, &e);
	return !strcmp(e.name, r->name) && !strcmp(e.detail, r->detail) && e.event == r->event &&
	       e.state == r->state && e.role == r->role && e.reason == r->reason;
}

bool ftd_hears_takeover(const void *nlh, uint64_t ns)
{
	struct ftreplica f;
	int i;

	nl_parse_replica(nlh, &f);
	for (i = 0; i <= FTKVM_STAT_MAX; i++)
		if (f.has_stat[i] != (i == FTKVM_STAT_TAKEOVER_NS))
			return false;
	return f.stats[FTKVM_STAT_TAKEOVER_NS] == ns && !*f.name;
}

void ftd_hears_detail(const void *nlh, char *text, size_t size)
{
	nl_detail_text(nlh, text, size);
}

void ftd_hears_extack(const void *nlh, char *text, size_t size)
{
	nl_extack_text(nlh, text, size);
}

unsigned int ftd_hears_problems(const void *nlh, unsigned int n, const char *version,
				uint32_t proto,
				void (*make)(unsigned int i, uint32_t *scope, char *cause,
					     char *remedy))
{
	struct ftproblems p = { 0 };
	char cause[1024], remedy[1024];
	unsigned int heard = 0, i;
	uint32_t scope;

	nl_parse_problems(nlh, &p);
	if (strcmp(p.module_version, version) || p.proto_version != proto)
		heard = ~0u;
	/* all of them, but for those that there was no room for */
	for (i = 0; heard < p.n && i < n; i++) {
		make(i, &scope, cause, remedy);
		/* ftd has room for that much */
		cause[sizeof(p.list->cause) - 1] = '\0';
		remedy[sizeof(p.list->remedy) - 1] = '\0';
		if (p.list[heard].scope == scope && !strcmp(p.list[heard].cause, cause) &&
		    !strcmp(p.list[heard].remedy, remedy))
			heard++;
	}
	if (heard != p.n)
		heard = ~0u;
	free(p.list);
	return heard;
}
