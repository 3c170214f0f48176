// SPDX-License-Identifier: GPL-2.0
/*
 * What ftd and ftctl make of the module's messages: whatever is in one, no byte
 * beside it is read, and what was read survives its way through JSON.
 */
#include <linux/genetlink.h>

#include "fuzz.h"
#include "nl_parse.h"
#include "replica_json.h"
#include "text.h"

#define ENDS(text)	(memchr(text, '\0', sizeof(text)) != NULL)

/* Through a line of JSON, as to ftctl. */
static json_t *over(json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);
	json_t *there;

	REQUIRE(text && !strchr(text, '\n'));
	there = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	REQUIRE(there && json_equal(json, there));
	free(text);
	json_decref(json);
	return there;
}

static bool utf8(const char *text)
{
	json_t *json = json_string(text);

	json_decref(json);
	return json;
}

static void replica(const struct nlmsghdr *nlh)
{
	struct ftreplica r, s;
	json_t *json;

	nl_parse_replica(nlh, &r);
	REQUIRE(ENDS(r.name) && ENDS(r.peer) && ENDS(r.detail) && ENDS(r.module_version));
	json = over(ft_replica_json(&r));
	REQUIRE(ft_replica_from_json(json, &s) == !!*r.name);
	json_decref(json);
	if (utf8(r.name))
		REQUIRE(!strcmp(r.name, s.name));
	if (utf8(r.detail))
		REQUIRE(!strcmp(r.detail, s.detail));
	REQUIRE(s.state == (r.state <= FTKVM_UAPI_STATE_UNDECIDED ? r.state :
			    FTKVM_UAPI_STATE_UNDECIDED + 1u));
	REQUIRE(s.reason == (r.reason < __FTKVM_REASON_MAX ? r.reason : __FTKVM_REASON_MAX));
	REQUIRE(s.pid == r.pid && s.counter == r.counter && s.timeout_ms == r.timeout_ms &&
		s.period_min == r.period_min && s.period_max == r.period_max &&
		s.margin == r.margin && s.proto_version == r.proto_version);
	REQUIRE(!memcmp(s.has_stat, r.has_stat, sizeof(s.has_stat)) &&
		!memcmp(s.stats, r.stats, sizeof(s.stats)));
	if (*r.name && r.has_stat[FTKVM_STAT_EPOCHS])
		REACHED("a replica with stats");
}

static void event(const struct nlmsghdr *nlh)
{
	struct ftevent e, g;
	json_t *json;

	nl_parse_event(nlh, &e);
	REQUIRE(ENDS(e.name) && ENDS(e.detail));
	json = over(ft_event_json(&e));
	REQUIRE(ft_event_from_json(json, &g) == !!*e.name);
	json_decref(json);
	REQUIRE(g.time_ns == e.time_ns);
	if (e.event && *e.name)
		REACHED("an event with a name");
}

static void device(const struct nlmsghdr *nlh)
{
	uint32_t base = 65536;
	struct ftdev d;

	nl_parse_device(nlh, &d);
	REQUIRE(ENDS(d.name) && ENDS(d.detail));
	nl_parse_base(nlh, &base);
	if (*d.name && d.has_stat[FTKVM_DEV_STAT_REQUESTS] && base < 65536)
		REACHED("a device with stats");
}

static void problems(const struct nlmsghdr *nlh, size_t len)
{
	struct ftproblems p = { 0 }, q = { 0 };
	json_t *json;
	size_t i;

	nl_parse_problems(nlh, &p);
	REQUIRE(ENDS(p.module_version) && p.n <= len / 4);
	for (i = 0; i < p.n; i++)
		REQUIRE(ENDS(p.list[i].cause) && ENDS(p.list[i].remedy));
	json = over(ft_problems_json(&p));
	REQUIRE(ft_problems_from_json(json, &q));
	json_decref(json);
	REQUIRE(q.n == p.n);
	if (p.n && *p.list[0].cause)
		REACHED("a problem with a cause");
	free(p.list);
	free(q.list);
}

/* Texts into buffers of any size: as much as there is room for, ended. */
static void texts(struct nlmsghdr *nlh, size_t size, bool capped)
{
	char *text = malloc(size);

	memset(text, 0xff, size);
	text[size - 1] = '\0';
	nl_detail_text(nlh, text, size);
	REQUIRE(memchr(text, '\0', size));
	memset(text, 0xff, size);
	text[size - 1] = '\0';
	/* what ftd looks at before */
	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(struct nlmsgerr)) {
		nlh->nlmsg_flags = NLM_F_ACK_TLVS | (capped ? NLM_F_CAPPED : 0);
		nl_extack_text(nlh, text, size);
		REQUIRE(memchr(text, '\0', size));
		if (*text != (char)0xff)
			REACHED("an error's text");
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, data + size };
	size_t text_size = 1 + feed_u8(&f) % 64;
	bool capped = feed_u8(&f) % 2;
	size_t len = NLMSG_HDRLEN + GENL_HDRLEN + feed_left(&f);
	/* as the kernel pads it */
	struct nlmsghdr *nlh = calloc(1, NLMSG_ALIGN(len));

	nlh->nlmsg_len = len;
	if (feed_left(&f))
		memcpy((char *)nlh + NLMSG_HDRLEN + GENL_HDRLEN, f.at, feed_left(&f));
	replica(nlh);
	event(nlh);
	device(nlh);
	problems(nlh, len);
	texts(nlh, text_size, capped);
	free(nlh);
	return 0;
}

/* Without the header, which the target makes. */
static void put(struct seed *s, struct nlmsghdr *nlh)
{
	seed_bytes(s, (char *)nlh + NLMSG_HDRLEN + GENL_HDRLEN,
		   nlh->nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN);
	seed_done(s);
	nlh->nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN;
	seed_bytes(s, "\x20\1", 2);
}

void fuzz_seeds(void)
{
	static char buf[8192];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct seed s = { };
	struct nlattr *nest;

	mnl_nlmsg_put_extra_header(nlh, GENL_HDRLEN);
	seed_bytes(&s, "\x20\0", 2);
	mnl_attr_put_strz(nlh, FTKVM_A_NAME, "web");
	mnl_attr_put_u32(nlh, FTKVM_A_STATE, FTKVM_UAPI_STATE_BACKUP);
	mnl_attr_put_u32(nlh, FTKVM_A_REASON, FTKVM_REASON_PEER_SILENT);
	mnl_attr_put_strz(nlh, FTKVM_A_DETAIL, "the peer was silent");
	mnl_attr_put_u64(nlh, FTKVM_A_PERIOD_MIN, 1000);
	mnl_attr_put_u32(nlh, FTKVM_A_COUNTER, 0xc0);
	mnl_attr_put_u32(nlh, FTKVM_A_EVENT, FTKVM_UAPI_EVENT_PEER_LOST);
	mnl_attr_put_u64(nlh, FTKVM_A_TIME_NS, 123456789012345);
	mnl_attr_put_strz(nlh, FTKVM_A_MODULE_VERSION, "0.1");
	nest = mnl_attr_nest_start(nlh, FTKVM_A_STATS);
	mnl_attr_put_u64(nlh, FTKVM_STAT_EPOCHS, 5);
	mnl_attr_put_u64(nlh, FTKVM_STAT_MAX, 7);
	mnl_attr_nest_end(nlh, nest);
	put(&s, nlh);

	mnl_attr_put_strz(nlh, FTKVM_A_DEV_NAME, "d0");
	mnl_attr_put_u32(nlh, FTKVM_A_DEV_KIND, FTKVM_UAPI_DEV_BLK);
	mnl_attr_put_u64(nlh, FTKVM_A_CAPACITY, 2048);
	mnl_attr_put(nlh, FTKVM_A_READONLY, 0, NULL);
	mnl_attr_put_u32(nlh, FTKVM_A_BASE, 7);
	nest = mnl_attr_nest_start(nlh, FTKVM_A_DEV_STATS);
	mnl_attr_put_u64(nlh, FTKVM_DEV_STAT_REQUESTS, 5);
	mnl_attr_nest_end(nlh, nest);
	put(&s, nlh);

	nest = mnl_attr_nest_start(nlh, FTKVM_A_PROBLEM);
	mnl_attr_put_strz(nlh, FTKVM_A_CAUSE, "100% of it");
	mnl_attr_put_strz(nlh, FTKVM_A_REMEDY, "less %s");
	mnl_attr_put_u32(nlh, FTKVM_A_SCOPE, FTKVM_SCOPE_GUEST);
	mnl_attr_nest_end(nlh, nest);
	put(&s, nlh);

	/* an error: its number and the header of what was asked, then a text */
	memset((char *)nlh + NLMSG_HDRLEN, 0, sizeof(struct nlmsgerr));
	nlh->nlmsg_len = NLMSG_HDRLEN + sizeof(struct nlmsgerr);
	mnl_attr_put_strz(nlh, NLMSGERR_ATTR_MSG, "NAME is missing");
	put(&s, nlh);
}
