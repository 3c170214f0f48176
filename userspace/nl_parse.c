// SPDX-License-Identifier: GPL-2.0
/* What the module's messages say. Nothing in them is taken on trust. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/genetlink.h>
#include "nl_parse.h"

static const enum mnl_attr_data_type attr_types[FTKVM_A_MAX + 1] = {
	[FTKVM_A_NAME]		= MNL_TYPE_STRING,
	[FTKVM_A_ROLE]		= MNL_TYPE_U32,
	[FTKVM_A_STATE]		= MNL_TYPE_U32,
	[FTKVM_A_PID]		= MNL_TYPE_U32,
	[FTKVM_A_PEER]		= MNL_TYPE_STRING,
	[FTKVM_A_REASON]	= MNL_TYPE_U32,
	[FTKVM_A_DETAIL]	= MNL_TYPE_STRING,
	[FTKVM_A_PERIOD_MIN]	= MNL_TYPE_U64,
	[FTKVM_A_PERIOD_MAX]	= MNL_TYPE_U64,
	[FTKVM_A_MARGIN]	= MNL_TYPE_U64,
	[FTKVM_A_COUNTER]	= MNL_TYPE_U32,
	[FTKVM_A_TIMEOUT_MS]	= MNL_TYPE_U32,
	[FTKVM_A_VERIFY_EVERY]	= MNL_TYPE_U32,
	[FTKVM_A_ON_LOSS]	= MNL_TYPE_U32,
	[FTKVM_A_MODULE_VERSION] = MNL_TYPE_STRING,
	[FTKVM_A_PROTO_VERSION]	= MNL_TYPE_U32,
	[FTKVM_A_EVENT]		= MNL_TYPE_U32,
	[FTKVM_A_TIME_NS]	= MNL_TYPE_U64,
	[FTKVM_A_PROBLEM]	= MNL_TYPE_NESTED,
	[FTKVM_A_CAUSE]		= MNL_TYPE_STRING,
	[FTKVM_A_REMEDY]	= MNL_TYPE_STRING,
	[FTKVM_A_SCOPE]		= MNL_TYPE_U32,
	[FTKVM_A_STATS]		= MNL_TYPE_NESTED,
	[FTKVM_A_DEV_NAME]	= MNL_TYPE_STRING,
	[FTKVM_A_DEV_NO]	= MNL_TYPE_U32,
	[FTKVM_A_DEV_KIND]	= MNL_TYPE_U32,
	[FTKVM_A_CAPACITY]	= MNL_TYPE_U64,
	[FTKVM_A_READONLY]	= MNL_TYPE_FLAG,
	[FTKVM_A_SHARED]	= MNL_TYPE_FLAG,
	[FTKVM_A_BASE]		= MNL_TYPE_U32,
	[FTKVM_A_DEV_STATS]	= MNL_TYPE_NESTED,
	[FTKVM_A_DISKS_DETAIL]	= MNL_TYPE_STRING,
	[FTKVM_A_STORAGE_DETAIL] = MNL_TYPE_STRING,
	[FTKVM_A_TRACK]		= MNL_TYPE_U32,
	[FTKVM_A_DIRTY]		= MNL_TYPE_U64,
	[FTKVM_A_RANGES]	= MNL_TYPE_BINARY,
	[FTKVM_A_TOKEN]		= MNL_TYPE_U64,
};

/* The type, or 0 for an attribute that is unknown or not as it should be. */
static unsigned int attr_type(const struct nlattr *attr)
{
	unsigned int type = mnl_attr_get_type(attr);

	if (type > FTKVM_A_MAX || !attr_types[type] ||
	    mnl_attr_validate(attr, attr_types[type]) < 0)
		return 0;
	return type;
}

static void get_string(const struct nlattr *attr, char *buf, size_t size)
{
	size_t len = strnlen(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));

	if (len >= size)
		len = size - 1;
	memcpy(buf, mnl_attr_get_payload(attr), len);
	buf[len] = '\0';
}

/* Those from @pad, which is none, up to @max. */
static void parse_stats(const struct nlattr *nest, unsigned int pad, unsigned int max,
			uint64_t *stats, bool *has_stat)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		unsigned int type = mnl_attr_get_type(attr);

		if (type <= pad || type > max || mnl_attr_validate(attr, MNL_TYPE_U64) < 0)
			continue;
		stats[type] = mnl_attr_get_u64(attr);
		has_stat[type] = true;
	}
}

void nl_parse_replica(const struct nlmsghdr *nlh, struct ftreplica *r)
{
	const struct nlattr *attr;

	memset(r, 0, sizeof(*r));
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (attr_type(attr)) {
		case FTKVM_A_NAME:
			get_string(attr, r->name, sizeof(r->name));
			break;
		case FTKVM_A_PEER:
			get_string(attr, r->peer, sizeof(r->peer));
			break;
		case FTKVM_A_DETAIL:
			get_string(attr, r->detail, sizeof(r->detail));
			break;
		case FTKVM_A_DISKS_DETAIL:
			get_string(attr, r->disks_detail, sizeof(r->disks_detail));
			break;
		case FTKVM_A_MODULE_VERSION:
			get_string(attr, r->module_version, sizeof(r->module_version));
			break;
		case FTKVM_A_STATE:
			r->state = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_ROLE:
			r->role = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_PID:
			r->pid = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_REASON:
			r->reason = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_COUNTER:
			r->counter = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_TIMEOUT_MS:
			r->timeout_ms = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_VERIFY_EVERY:
			r->verify_every = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_ON_LOSS:
			r->on_loss = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_PROTO_VERSION:
			r->proto_version = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_PERIOD_MIN:
			r->period_min = mnl_attr_get_u64(attr);
			break;
		case FTKVM_A_PERIOD_MAX:
			r->period_max = mnl_attr_get_u64(attr);
			break;
		case FTKVM_A_MARGIN:
			r->margin = mnl_attr_get_u64(attr);
			break;
		case FTKVM_A_TOKEN:
			r->token = mnl_attr_get_u64(attr);
			break;
		case FTKVM_A_STATS:
			parse_stats(attr, FTKVM_STAT_PAD, FTKVM_STAT_MAX, r->stats, r->has_stat);
			break;
		}
	}
}

void nl_parse_event(const struct nlmsghdr *nlh, struct ftevent *e)
{
	const struct nlattr *attr;

	memset(e, 0, sizeof(*e));
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (attr_type(attr)) {
		case FTKVM_A_NAME:
			get_string(attr, e->name, sizeof(e->name));
			break;
		case FTKVM_A_DETAIL:
			get_string(attr, e->detail, sizeof(e->detail));
			break;
		case FTKVM_A_EVENT:
			e->event = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_STATE:
			e->state = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_ROLE:
			e->role = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_REASON:
			e->reason = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_TIME_NS:
			e->time_ns = mnl_attr_get_u64(attr);
			break;
		}
	}
}

void nl_parse_device(const struct nlmsghdr *nlh, struct ftdev *d)
{
	const struct nlattr *attr;

	memset(d, 0, sizeof(*d));
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (attr_type(attr)) {
		case FTKVM_A_DEV_NAME:
			get_string(attr, d->name, sizeof(d->name));
			break;
		case FTKVM_A_DETAIL:
			get_string(attr, d->detail, sizeof(d->detail));
			break;
		case FTKVM_A_STORAGE_DETAIL:
			get_string(attr, d->storage_detail, sizeof(d->storage_detail));
			break;
		case FTKVM_A_DEV_NO:
			d->no = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_DEV_KIND:
			d->kind = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_PID:
			d->pid = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_CAPACITY:
			d->capacity = mnl_attr_get_u64(attr);
			break;
		case FTKVM_A_READONLY:
			d->readonly = true;
			break;
		case FTKVM_A_SHARED:
			d->shared = true;
			break;
		case FTKVM_A_DEV_STATS:
			parse_stats(attr, FTKVM_DEV_STAT_PAD, FTKVM_DEV_STAT_MAX, d->stats, d->has_stat);
			break;
		}
	}
}

void nl_parse_base(const struct nlmsghdr *nlh, uint32_t *base)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr))
		if (attr_type(attr) == FTKVM_A_BASE)
			*base = mnl_attr_get_u32(attr);
}

bool nl_parse_track(const struct nlmsghdr *nlh, uint32_t *track)
{
	const struct nlattr *attr;
	bool there = false;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		if (attr_type(attr) != FTKVM_A_TRACK)
			continue;
		*track = mnl_attr_get_u32(attr);
		there = true;
	}
	return there;
}

static bool parse_ranges(const struct nlattr *attr, struct ftdirty *d)
{
	size_t bytes = mnl_attr_get_payload_len(attr);

	if (bytes > sizeof(d->ranges) || bytes % sizeof(d->ranges[0]))
		return false;
	memcpy(d->ranges, mnl_attr_get_payload(attr), bytes);
	d->n = bytes / sizeof(d->ranges[0]);
	return true;
}

bool nl_parse_dirty(const struct nlmsghdr *nlh, struct ftdirty *d)
{
	const struct nlattr *attr;
	bool there = false, whole = true;

	memset(d, 0, sizeof(*d));
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (attr_type(attr)) {
		case FTKVM_A_DIRTY:
			d->left = mnl_attr_get_u64(attr);
			there = true;
			break;
		case FTKVM_A_RANGES:
			whole = parse_ranges(attr, d);
			break;
		}
	}
	return there && whole;
}

void ftproblem_add(struct ftproblems *p, uint32_t scope, const char *remedy,
		   const char *cause_fmt, ...)
{
	struct ftproblem *list = realloc(p->list, (p->n + 1) * sizeof(*list));
	va_list args;

	if (!list)
		abort();
	p->list = list;
	list += p->n++;
	list->scope = scope;
	snprintf(list->remedy, sizeof(list->remedy), "%s", remedy);
	va_start(args, cause_fmt);
	vsnprintf(list->cause, sizeof(list->cause), cause_fmt, args);
	va_end(args);
}

static void parse_problem(const struct nlattr *nest, struct ftproblems *p)
{
	char cause[512] = "", remedy[512] = "";
	uint32_t scope = FTKVM_SCOPE_HOST;
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		switch (attr_type(attr)) {
		case FTKVM_A_CAUSE:
			get_string(attr, cause, sizeof(cause));
			break;
		case FTKVM_A_REMEDY:
			get_string(attr, remedy, sizeof(remedy));
			break;
		case FTKVM_A_SCOPE:
			scope = mnl_attr_get_u32(attr);
			break;
		}
	}
	ftproblem_add(p, scope, remedy, "%s", cause);
}

void nl_parse_problems(const struct nlmsghdr *nlh, struct ftproblems *p)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (attr_type(attr)) {
		case FTKVM_A_MODULE_VERSION:
			get_string(attr, p->module_version, sizeof(p->module_version));
			break;
		case FTKVM_A_PROTO_VERSION:
			p->proto_version = mnl_attr_get_u32(attr);
			break;
		case FTKVM_A_PROBLEM:
			parse_problem(attr, p);
			break;
		}
	}
}

void nl_extack_text(const struct nlmsghdr *nlh, char *buf, size_t size)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
	size_t off = sizeof(*e);
	const struct nlattr *attr;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED) && e->msg.nlmsg_len >= sizeof(e->msg))
		off += e->msg.nlmsg_len - sizeof(e->msg);
	if (off > mnl_nlmsg_get_payload_len(nlh))
		return;
	mnl_attr_for_each(attr, nlh, off)
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
			get_string(attr, buf, size);
}

void nl_detail_text(const struct nlmsghdr *nlh, char *buf, size_t size)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr))
		if (attr_type(attr) == FTKVM_A_DETAIL)
			get_string(attr, buf, size);
}
