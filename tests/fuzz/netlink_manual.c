// SPDX-License-Identifier: GPL-2.0
/*
 * What include/uapi/linux/ftkvm.h says of requests, written down once more: without
 * the kernel's policies, so that those of the family can be held against it.
 */
#include "netlink_world.h"

/* A string's attribute: NUL in it, and not more than @max before. */
static bool string_ok(const u8 *s, size_t len, size_t least, size_t max)
{
	const u8 *end = len ? memchr(s, 0, min(len, max + 1)) : NULL;
	const u8 *c;

	/* bytes behind the NUL: as many as would have been allowed before it */
	if (!end || len > max + 1 || (len == max + 1 && s[len - 1]))
		return false;
	for (c = s; c < end; c++)
		if (*c < ' ' || *c == 0x7f)
			return false;
	return end - s >= (ssize_t)least;
}

static u64 value(const u8 *payload, size_t len)
{
	u64 v = 0;

	memcpy(&v, payload, len);
	return v;
}

static bool within(u64 v, u64 lo, u64 hi)
{
	return v >= lo && v <= hi;
}

/* One attribute into @c; false: it is refused. */
static bool take_attr(struct call *c, u16 type, const u8 *payload, size_t len)
{
	u64 v = len == 4 || len == 8 ? value(payload, len) : 0;

	switch (type) {
	case FTKVM_A_NAME:
		c->name = (const char *)payload;
		return string_ok(payload, len, 1, FTKVM_NAME_MAX);
	case FTKVM_A_PEER:
		if (!string_ok(payload, len, 0, FTKVM_PEER_MAX))
			return false;
		memcpy(c->p.peer, payload, strlen((const char *)payload) + 1);
		return true;
	case FTKVM_A_VM_FD:
	case FTKVM_A_SOCK_FD:
		c->fd = v;
		return len == 4 && c->fd >= 0;
	case FTKVM_A_ROLE:
		c->p.role = v;
		return len == 4 && within(v, FTKVM_UAPI_ROLE_PRIMARY, FTKVM_UAPI_ROLE_BACKUP);
	case FTKVM_A_FORCE:
		c->force = true;
		return !len;
	case FTKVM_A_PERIOD_MIN:
		c->p.period_min = v;
		c->mask |= FTKVM_SET_PERIOD_MIN;
		return len == 8 && within(v, FTKVM_PERIOD_LOWEST, FTKVM_PERIOD_HIGHEST);
	case FTKVM_A_PERIOD_MAX:
		c->p.period_max = v;
		c->mask |= FTKVM_SET_PERIOD_MAX;
		return len == 8 && within(v, FTKVM_PERIOD_LOWEST, FTKVM_PERIOD_HIGHEST);
	case FTKVM_A_MARGIN:
		c->p.margin = v;
		c->mask |= FTKVM_SET_MARGIN;
		return len == 8 && within(v, 1, FTKVM_MARGIN_HIGHEST);
	case FTKVM_A_COUNTER:
		c->p.counter = v;
		c->mask |= FTKVM_SET_COUNTER;
		return len == 4 && v;
	case FTKVM_A_TIMEOUT_MS:
		c->p.timeout_ms = v;
		c->mask |= FTKVM_SET_TIMEOUT_MS;
		return len == 4 && within(v, FTKVM_TIMEOUT_LOWEST, FTKVM_TIMEOUT_HIGHEST);
	case FTKVM_A_VERIFY_EVERY:
		c->p.verify_every = v;
		c->mask |= FTKVM_SET_VERIFY_EVERY;
		return len == 4 && v <= FTKVM_VERIFY_HIGHEST;
	case FTKVM_A_PAIR_NAME:
		if (!string_ok(payload, len, 1, FTKVM_NAME_MAX))
			return false;
		memcpy(c->p.pair_name, payload, strlen((const char *)payload) + 1);
		return true;
	default:
		return false;
	}
}

#define SETTINGS	(BIT(FTKVM_A_PERIOD_MIN) | BIT(FTKVM_A_PERIOD_MAX) |	\
			 BIT(FTKVM_A_MARGIN) | BIT(FTKVM_A_COUNTER) | BIT(FTKVM_A_TIMEOUT_MS) | \
			 BIT(FTKVM_A_VERIFY_EVERY))

static const struct {
	u32 must, may;
} manual[] = {
	[FTKVM_CMD_ATTACH] = { BIT(FTKVM_A_NAME) | BIT(FTKVM_A_VM_FD), 0 },
	[FTKVM_CMD_DETACH] = { BIT(FTKVM_A_NAME), 0 },
	[FTKVM_CMD_PAIR] = { BIT(FTKVM_A_NAME) | BIT(FTKVM_A_ROLE) | BIT(FTKVM_A_SOCK_FD),
			     BIT(FTKVM_A_PEER) | BIT(FTKVM_A_PAIR_NAME) | SETTINGS },
	[FTKVM_CMD_UNPAIR] = { BIT(FTKVM_A_NAME), 0 },
	[FTKVM_CMD_PROMOTE] = { BIT(FTKVM_A_NAME), BIT(FTKVM_A_FORCE) },
	[FTKVM_CMD_GET] = { BIT(FTKVM_A_NAME), 0 },
	[FTKVM_CMD_SET] = { BIT(FTKVM_A_NAME), SETTINGS },
	[FTKVM_CMD_CHECK] = { 0, BIT(FTKVM_A_NAME) | BIT(FTKVM_A_VM_FD) },
	[FTKVM_CMD_VERIFY] = { BIT(FTKVM_A_NAME), 0 },
};

bool read_request(const struct nlmsghdr *nlh, struct call *c)
{
	const struct genlmsghdr *g = nlmsg_data(nlh);
	const u8 *at = (const u8 *)(g + 1), *end = (const u8 *)nlh + nlh->nlmsg_len;
	u32 allowed, seen = 0;
	u16 flags = nlh->nlmsg_flags;

	*c = (struct call) { .fd = -1, .p.verify_every = FTKVM_VERIFY_KEEP };
	if (nlh->nlmsg_len < NLMSG_HDRLEN + GENL_HDRLEN || g->reserved)
		return false;
	c->cmd = g->cmd;
	c->dump = (flags & NLM_F_DUMP) == NLM_F_DUMP;
	if (c->dump)
		flags &= ~NLM_F_DUMP;
	if (flags & ~(NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO))
		return false;
	if (c->cmd >= ARRAY_SIZE(manual) || !(manual[c->cmd].must | manual[c->cmd].may))
		return false;
	if (c->dump && c->cmd != FTKVM_CMD_GET)
		return false;
	allowed = c->dump ? 0 : manual[c->cmd].must | manual[c->cmd].may;

	while (end - at >= 4) {
		u16 len = value(at, 2), type = value(at + 2, 2) & NLA_TYPE_MASK;

		if (len < 4 || len > end - at)
			return false;
		if (type > 31 || !(allowed & BIT(type)) || at[3] & 0x80)
			return false;
		if (!take_attr(c, type, at + 4, len - 4))
			return false;
		seen |= BIT(type);
		at += NLA_ALIGN(len);
	}
	if (at < end)
		return false;
	if (c->dump)
		return true;
	if ((seen & manual[c->cmd].must) != manual[c->cmd].must)
		return false;
	if (c->cmd == FTKVM_CMD_SET && !c->mask)
		return false;
	return c->cmd != FTKVM_CMD_CHECK || seen != (BIT(FTKVM_A_NAME) | BIT(FTKVM_A_VM_FD));
}
