// SPDX-License-Identifier: GPL-2.0
/* The module's messages, whole and spoiled. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/genetlink.h>
#include "nl_parse.h"
#include "tests/unit.h"

static _Alignas(8) char buf[8192];

static struct nlmsghdr *message(uint8_t cmd)
{
	struct nlmsghdr *nlh;
	struct genlmsghdr *genl;

	memset(buf, 0, sizeof(buf));
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = 0x20;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = cmd;
	return nlh;
}

static struct nlmsghdr *replica_message(void)
{
	struct nlmsghdr *nlh = message(FTKVM_CMD_GET);
	struct nlattr *nest;

	mnl_attr_put_strz(nlh, FTKVM_A_NAME, "web");
	mnl_attr_put_u32(nlh, FTKVM_A_STATE, FTKVM_UAPI_STATE_BACKUP);
	mnl_attr_put_u32(nlh, FTKVM_A_ROLE, FTKVM_UAPI_ROLE_BACKUP);
	mnl_attr_put_u32(nlh, FTKVM_A_PID, 4711);
	mnl_attr_put_strz(nlh, FTKVM_A_PEER, "10.0.0.1:7411");
	mnl_attr_put_u32(nlh, FTKVM_A_REASON, FTKVM_REASON_NONE);
	mnl_attr_put_strz(nlh, FTKVM_A_DETAIL, "");
	mnl_attr_put_strz(nlh, FTKVM_A_DISKS_DETAIL, "it was stopped");
	mnl_attr_put(nlh, FTKVM_A_PAD, 0, NULL);
	mnl_attr_put_u64(nlh, FTKVM_A_PERIOD_MIN, 1000);
	mnl_attr_put_u64(nlh, FTKVM_A_PERIOD_MAX, 1ULL << 30);
	mnl_attr_put_u64(nlh, FTKVM_A_MARGIN, 77);
	mnl_attr_put_u32(nlh, FTKVM_A_COUNTER, 0x5100d1);
	mnl_attr_put_u32(nlh, FTKVM_A_TIMEOUT_MS, 1500);
	mnl_attr_put_u64(nlh, FTKVM_A_TOKEN, 0x8000000000000001);
	mnl_attr_put_u32(nlh, FTKVM_A_VERIFY_EVERY, 12);
	mnl_attr_put_u32(nlh, FTKVM_A_ON_LOSS, FTKVM_UAPI_LOSS_HOLD);
	mnl_attr_put_strz(nlh, FTKVM_A_MODULE_VERSION, "0.1");
	mnl_attr_put_u32(nlh, FTKVM_A_PROTO_VERSION, 1);
	nest = mnl_attr_nest_start(nlh, FTKVM_A_STATS);
	mnl_attr_put_u64(nlh, FTKVM_STAT_EPOCHS, 5);
	mnl_attr_put_u64(nlh, FTKVM_STAT_LAG_BYTES, 6);
	mnl_attr_put_u64(nlh, FTKVM_STAT_MAX, 7);
	mnl_attr_put_u64(nlh, FTKVM_STAT_MAX + 1, 8);	/* of a newer module */
	mnl_attr_put_u32(nlh, FTKVM_STAT_INPUTS, 9);	/* of the wrong size */
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_put_u32(nlh, FTKVM_A_MAX + 1, 1);
	return nlh;
}

static void replica(void)
{
	struct ftreplica r;

	nl_parse_replica(replica_message(), &r);
	CHECK(!strcmp(r.name, "web") && !strcmp(r.peer, "10.0.0.1:7411") && !*r.detail);
	CHECK(r.state == FTKVM_UAPI_STATE_BACKUP && r.role == FTKVM_UAPI_ROLE_BACKUP && r.pid == 4711);
	CHECK(r.period_min == 1000 && r.period_max == 1 << 30 && r.margin == 77);
	CHECK(r.counter == 0x5100d1 && r.timeout_ms == 1500 && r.proto_version == 1);
	CHECK(r.token == 0x8000000000000001);
	CHECK(r.on_loss == FTKVM_UAPI_LOSS_HOLD);
	CHECK(r.verify_every == 12 && !strcmp(r.disks_detail, "it was stopped"));
	CHECK(r.stats[FTKVM_STAT_EPOCHS] == 5 && r.stats[FTKVM_STAT_LAG_BYTES] == 6);
	CHECK(r.stats[FTKVM_STAT_MAX] == 7 && r.has_stat[FTKVM_STAT_MAX]);
	CHECK(!r.has_stat[FTKVM_STAT_INPUTS] && !r.has_stat[FTKVM_STAT_RECORDS]);
}

/* Too long, without an end, of the wrong size: cut short or left out. */
static void bad_attributes(void)
{
	struct nlmsghdr *nlh = message(FTKVM_CMD_GET);
	struct ftreplica r;
	char much[300];

	memset(much, 'n', sizeof(much));
	mnl_attr_put(nlh, FTKVM_A_NAME, sizeof(much), much);
	mnl_attr_put(nlh, FTKVM_A_DETAIL, 3, "abc");
	mnl_attr_put(nlh, FTKVM_A_STATE, 3, "abc");
	mnl_attr_put(nlh, FTKVM_A_MARGIN, 4, "abcd");
	mnl_attr_put(nlh, FTKVM_A_STATS, 2, "ab");
	nl_parse_replica(nlh, &r);
	CHECK(strlen(r.name) == FTKVM_NAME_MAX && !strcmp(r.detail, "abc"));
	CHECK(!r.state && !r.margin);
}

static void event(void)
{
	struct nlmsghdr *nlh = message(FTKVM_CMD_EVENT);
	struct ftevent e;

	mnl_attr_put_strz(nlh, FTKVM_A_NAME, "web");
	mnl_attr_put_u32(nlh, FTKVM_A_EVENT, FTKVM_UAPI_EVENT_PEER_LOST);
	mnl_attr_put_u32(nlh, FTKVM_A_STATE, FTKVM_UAPI_STATE_ORPHAN);
	mnl_attr_put_u32(nlh, FTKVM_A_ROLE, FTKVM_UAPI_ROLE_BACKUP);
	mnl_attr_put_u32(nlh, FTKVM_A_REASON, FTKVM_REASON_PEER_SILENT);
	mnl_attr_put_strz(nlh, FTKVM_A_DETAIL, "nothing heard for 1500 ms");
	mnl_attr_put_u64(nlh, FTKVM_A_TIME_NS, 123456789012345);
	nl_parse_event(nlh, &e);
	CHECK(!strcmp(e.name, "web") && e.event == FTKVM_UAPI_EVENT_PEER_LOST);
	CHECK(e.state == FTKVM_UAPI_STATE_ORPHAN && e.role == FTKVM_UAPI_ROLE_BACKUP);
	CHECK(e.reason == FTKVM_REASON_PEER_SILENT && strstr(e.detail, "1500"));
	CHECK(e.time_ns == 123456789012345);
}

static void device(void)
{
	struct nlmsghdr *nlh = message(FTKVM_CMD_DEV_GET);
	uint32_t base = 7;
	struct nlattr *nest;
	struct ftdev d;

	nl_parse_base(nlh, &base);
	CHECK(base == 7);
	mnl_attr_put_strz(nlh, FTKVM_A_DEV_NAME, "disk0");
	mnl_attr_put_u32(nlh, FTKVM_A_DEV_NO, 3);
	mnl_attr_put_u32(nlh, FTKVM_A_DEV_KIND, FTKVM_UAPI_DEV_BLK);
	mnl_attr_put_u32(nlh, FTKVM_A_PID, 4711);
	mnl_attr_put_u64(nlh, FTKVM_A_CAPACITY, 1ULL << 40);
	mnl_attr_put(nlh, FTKVM_A_READONLY, 0, NULL);
	mnl_attr_put(nlh, FTKVM_A_SHARED, 0, NULL);
	mnl_attr_put_strz(nlh, FTKVM_A_DETAIL, "a chain without an end");
	mnl_attr_put_strz(nlh, FTKVM_A_STORAGE_DETAIL, "a write failed");
	mnl_attr_put_u32(nlh, FTKVM_A_BASE, 65535);
	nest = mnl_attr_nest_start(nlh, FTKVM_A_DEV_STATS);
	mnl_attr_put_u64(nlh, FTKVM_DEV_STAT_REQUESTS, 5);
	mnl_attr_put_u64(nlh, FTKVM_DEV_STAT_MAX, 2);
	mnl_attr_put_u64(nlh, FTKVM_DEV_STAT_MAX + 1, 8);
	mnl_attr_put_u32(nlh, FTKVM_DEV_STAT_ERRORS, 9);
	mnl_attr_nest_end(nlh, nest);
	nl_parse_device(nlh, &d);
	CHECK(!strcmp(d.name, "disk0") && d.no == 3 && d.kind == FTKVM_UAPI_DEV_BLK && d.pid == 4711);
	CHECK(d.capacity == 1ULL << 40 && d.readonly && d.shared && !strcmp(d.detail, "a chain without an end"));
	CHECK(!strcmp(d.storage_detail, "a write failed"));
	CHECK(d.stats[FTKVM_DEV_STAT_REQUESTS] == 5 && d.stats[FTKVM_DEV_STAT_MAX] == 2);
	CHECK(d.has_stat[FTKVM_DEV_STAT_REQUESTS] && !d.has_stat[FTKVM_DEV_STAT_ERRORS]);
	nl_parse_base(nlh, &base);
	CHECK(base == 65535);
}

static void changes(void)
{
	struct ftkvm_uapi_range ranges[FTKVM_RANGES_MAX + 1] = { { 512, 1024 }, { 1ULL << 40, 65536 } };
	struct nlmsghdr *nlh = message(FTKVM_CMD_DEV_TRACK);
	uint32_t track = 7;
	struct ftdirty d;

	CHECK(!nl_parse_track(nlh, &track) && track == 7);
	mnl_attr_put_u32(nlh, FTKVM_A_TRACK, 9);
	CHECK(nl_parse_track(nlh, &track) && track == 9);
	nlh = message(FTKVM_CMD_DEV_DIRTY);
	CHECK(!nl_parse_dirty(nlh, &d));
	mnl_attr_put_u64(nlh, FTKVM_A_DIRTY, 5 << 16);
	CHECK(nl_parse_dirty(nlh, &d) && !d.n && d.left == 5 << 16);
	mnl_attr_put(nlh, FTKVM_A_RANGES, 2 * sizeof(ranges[0]), ranges);
	CHECK(nl_parse_dirty(nlh, &d) && d.n == 2 && d.ranges[1].at == 1ULL << 40 && d.ranges[0].bytes == 1024);
	nlh = message(FTKVM_CMD_DEV_DIRTY);
	mnl_attr_put_u64(nlh, FTKVM_A_DIRTY, 0);
	mnl_attr_put(nlh, FTKVM_A_RANGES, sizeof(ranges), ranges);
	CHECK(!nl_parse_dirty(nlh, &d));
	nlh = message(FTKVM_CMD_DEV_DIRTY);
	mnl_attr_put_u64(nlh, FTKVM_A_DIRTY, 0);
	mnl_attr_put(nlh, FTKVM_A_RANGES, sizeof(ranges[0]) - 1, ranges);
	CHECK(!nl_parse_dirty(nlh, &d));
}

static void check_answer(void)
{
	struct ftproblems p = { 0 };
	struct nlmsghdr *nlh = message(FTKVM_CMD_CHECK);
	struct nlattr *nest;

	mnl_attr_put_strz(nlh, FTKVM_A_MODULE_VERSION, "0.1");
	mnl_attr_put_u32(nlh, FTKVM_A_PROTO_VERSION, 2);
	nest = mnl_attr_nest_start(nlh, FTKVM_A_PROBLEM);
	mnl_attr_put_strz(nlh, FTKVM_A_CAUSE, "100% of it");
	mnl_attr_put_strz(nlh, FTKVM_A_REMEDY, "less %s");
	mnl_attr_put_u32(nlh, FTKVM_A_SCOPE, FTKVM_SCOPE_GUEST);
	mnl_attr_nest_end(nlh, nest);
	nest = mnl_attr_nest_start(nlh, FTKVM_A_PROBLEM);
	mnl_attr_nest_end(nlh, nest);
	nl_parse_problems(nlh, &p);
	CHECK(p.n == 2 && p.proto_version == 2 && !strcmp(p.module_version, "0.1"));
	CHECK(p.n && !strcmp(p.list[0].cause, "100% of it") && !strcmp(p.list[0].remedy, "less %s"));
	CHECK(p.n && p.list[0].scope == FTKVM_SCOPE_GUEST);
	free(p.list);
}

static void error_texts(void)
{
	struct nlmsghdr *nlh;
	struct nlmsgerr *e;
	char text[32] = "";

	nlh = message(FTKVM_CMD_PAIR);
	mnl_attr_put_strz(nlh, FTKVM_A_DETAIL, "guest web has run already: start it anew");
	mnl_attr_put_u32(nlh, FTKVM_A_REASON, FTKVM_REASON_INCOMPATIBLE);
	nl_detail_text(nlh, text, sizeof(text));
	CHECK(!strcmp(text, "guest web has run already: star"));

	/* Capped: the attributes follow the header of what was asked. */
	memset(buf, 0, sizeof(buf));
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = NLMSG_ERROR;
	e = mnl_nlmsg_put_extra_header(nlh, sizeof(*e));
	e->error = -EINVAL;
	e->msg.nlmsg_len = 1000;
	mnl_attr_put_strz(nlh, NLMSGERR_ATTR_MSG, "NAME is missing");
	*text = '\0';
	nl_extack_text(nlh, text, sizeof(text));
	CHECK(!*text);
	nlh->nlmsg_flags = NLM_F_ACK_TLVS | NLM_F_CAPPED;
	nl_extack_text(nlh, text, sizeof(text));
	CHECK(!strcmp(text, "NAME is missing"));
	/* Not capped, and shorter than it says. */
	*text = '\0';
	nlh->nlmsg_flags = NLM_F_ACK_TLVS;
	nl_extack_text(nlh, text, sizeof(text));
	CHECK(!*text);
}

/* Whatever is in a message, nothing but the message is read. The sanitizer watches. */
static void spoiled_messages(void)
{
	unsigned int i, seed = 1;

	for (i = 0; i < 20000; i++) {
		struct ftproblems p = { 0 };
		struct nlmsghdr *good = replica_message(), *nlh;
		struct ftreplica r;
		struct ftevent e;
		struct ftdev d;
		char text[64] = "";
		unsigned int n;
		size_t len;

		len = sizeof(*good) + sizeof(struct genlmsghdr) +
		      (size_t)rand_r(&seed) % (good->nlmsg_len - sizeof(*good) -
					       sizeof(struct genlmsghdr) + 1);
		nlh = calloc(1, MNL_ALIGN(len));	/* as the kernel pads it */
		memcpy(nlh, good, len);
		nlh->nlmsg_len = len;
		for (n = rand_r(&seed) % 8; n && len > 20; n--)
			((char *)nlh)[20 + rand_r(&seed) % (len - 20)] = rand_r(&seed);
		nl_parse_replica(nlh, &r);
		nl_parse_event(nlh, &e);
		nl_parse_device(nlh, &d);
		nl_parse_problems(nlh, &p);
		nl_detail_text(nlh, text, sizeof(text));
		nlh->nlmsg_flags = NLM_F_ACK_TLVS | (i & 1 ? NLM_F_CAPPED : 0);
		if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(struct nlmsgerr))
			nl_extack_text(nlh, text, sizeof(text));
		CHECK(memchr(r.name, 0, sizeof(r.name)) && memchr(r.detail, 0, sizeof(r.detail)));
		free(p.list);
		free(nlh);
	}
}

const struct unit_test unit_nl_tests[] = {
	{ "replica_message", replica },
	{ "bad_attributes", bad_attributes },
	{ "event_message", event },
	{ "device_message", device },
	{ "changes_of_a_disk", changes },
	{ "check_answer", check_answer },
	{ "error_texts", error_texts },
	{ "spoiled_messages", spoiled_messages },
	{ }
};
