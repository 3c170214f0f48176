// SPDX-License-Identifier: GPL-2.0
/*
 * What include/uapi/linux/ftkvm.h says of requests, written down once more: without
 * the kernel's policies, so that those of the family can be held against it.
 */
#include <linux/virtio_config.h>

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

/* An attribute of a device's into @c; false: it is refused. */
static bool take_dev_attr(struct call *c, u16 type, const u8 *payload, size_t len)
{
	u64 v = len == 4 || len == 8 ? value(payload, len) : 0;

	switch (type) {
	case FTKVM_A_DEV_NO:
		c->dev.no = v;
		return len == 4 && v <= FTKVM_DEV_NO_HIGHEST;
	case FTKVM_A_DEV_KIND:
		c->dev.kind = v;
		return len == 4 && within(v, FTKVM_UAPI_DEV_BLK, FTKVM_UAPI_DEV_NET);
	case FTKVM_A_BACKEND_FD:
		c->dev.backend_fd = v;
		return len == 4 && c->dev.backend_fd >= 0;
	case FTKVM_A_CAPACITY:
		/* of which the bytes can be counted with a sign */
		c->dev.capacity = v;
		return len == 8 && within(v, 1, S64_MAX / 512);
	case FTKVM_A_READONLY:
		c->dev.readonly = true;
		return !len;
	case FTKVM_A_SHARED:
		c->dev.shared = true;
		return !len;
	case FTKVM_A_DEV_FEATURES:
		c->q.features = v;
		return len == 8;
	case FTKVM_A_QUEUE:
		/* how many there are is the device's to know */
		c->q.queue = v;
		return len == 4 && v <= 255;
	case FTKVM_A_NUM:
		/* that it is a power of two as well */
		c->q.num = v;
		return len == 4 && within(v, 1, FTKVM_DEV_NUM_HIGHEST);
	case FTKVM_A_DESC:
		c->q.desc = v;
		return len == 8;
	case FTKVM_A_AVAIL:
		c->q.avail = v;
		return len == 8;
	case FTKVM_A_USED:
		c->q.used = v;
		return len == 8;
	case FTKVM_A_BASE:
		c->q.base = v;
		return len == 4 && v <= U16_MAX;
	case FTKVM_A_KICK_FD:
		c->q.kick_fd = v;
		return len == 4 && c->q.kick_fd >= 0;
	case FTKVM_A_CALL_FD:
		c->q.call_fd = v;
		return len == 4 && c->q.call_fd >= 0;
	case FTKVM_A_TRACK:
		c->track = v;
		c->tracked = true;
		return len == 4;
	default:
		return false;
	}
}

/* One attribute into @c; false: it is refused. */
static bool take_attr(struct call *c, u16 type, const u8 *payload, size_t len)
{
	u64 v = len == 4 || len == 8 ? value(payload, len) : 0;

	switch (type) {
	case FTKVM_A_NAME:
	case FTKVM_A_DEV_NAME:
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
	case FTKVM_A_STATE:
		c->state = v;
		return len == 4 && v <= FTKVM_UAPI_STATE_UNDECIDED;
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
	case FTKVM_A_ON_LOSS:
		c->p.on_loss = v;
		c->mask |= FTKVM_SET_ON_LOSS;
		return len == 4 && within(v, FTKVM_UAPI_LOSS_SOLO, FTKVM_UAPI_LOSS_HOLD);
	case FTKVM_A_TOKEN:
		c->p.token = v;
		return len == 8 && v;
	case FTKVM_A_DISKS:
		c->disks = v;
		return len == 4 && v <= FTKVM_UAPI_DISKS_COMPARE;
	case FTKVM_A_PAIR_NAME:
		if (!string_ok(payload, len, 1, FTKVM_NAME_MAX))
			return false;
		memcpy(c->p.pair_name, payload, strlen((const char *)payload) + 1);
		return true;
	default:
		return take_dev_attr(c, type, payload, len);
	}
}

#define A(attr)		BIT_ULL(FTKVM_A_##attr)
#define SETTINGS	(A(PERIOD_MIN) | A(PERIOD_MAX) | A(MARGIN) | A(COUNTER) | A(TIMEOUT_MS) | \
			 A(VERIFY_EVERY) | A(ON_LOSS))

static_assert(FTKVM_A_MAX < 64);

static const struct {
	u64 must, may;
} manual[] = {
	[FTKVM_CMD_ATTACH] = { A(NAME) | A(VM_FD), 0 },
	[FTKVM_CMD_DETACH] = { A(NAME), 0 },
	[FTKVM_CMD_PAIR] = { A(NAME) | A(ROLE) | A(SOCK_FD),
			     A(PEER) | A(PAIR_NAME) | A(TOKEN) | SETTINGS },
	[FTKVM_CMD_UNPAIR] = { A(NAME), 0 },
	[FTKVM_CMD_PROMOTE] = { A(NAME), A(FORCE) | A(STATE) },
	[FTKVM_CMD_GET] = { A(NAME), 0 },
	[FTKVM_CMD_SET] = { A(NAME), SETTINGS },
	[FTKVM_CMD_CHECK] = { 0, A(NAME) | A(VM_FD) },
	[FTKVM_CMD_VERIFY] = { A(NAME), A(DISKS) },
	[FTKVM_CMD_DEV_ADD] = { A(DEV_NAME) | A(DEV_NO) | A(DEV_KIND) | A(VM_FD),
				A(BACKEND_FD) | A(CAPACITY) | A(READONLY) | A(SHARED) },
	[FTKVM_CMD_DEV_DEL] = { A(DEV_NAME), 0 },
	[FTKVM_CMD_DEV_START] = { A(DEV_NAME) | A(QUEUE) | A(DEV_FEATURES) | A(NUM) | A(DESC) |
				  A(AVAIL) | A(USED) | A(BASE) | A(KICK_FD), A(CALL_FD) },
	[FTKVM_CMD_DEV_CALL] = { A(DEV_NAME) | A(QUEUE), A(CALL_FD) },
	[FTKVM_CMD_DEV_STOP] = { A(DEV_NAME) | A(QUEUE), 0 },
	[FTKVM_CMD_DEV_GET] = { A(DEV_NAME), 0 },
	[FTKVM_CMD_FENCE] = { A(NAME), 0 },
	[FTKVM_CMD_DEV_TRACK] = { A(DEV_NAME), A(TRACK) },
	[FTKVM_CMD_DEV_DIRTY] = { A(DEV_NAME) | A(TRACK), 0 },
	[FTKVM_CMD_SECOND] = { A(NAME) | A(SOCK_FD) | A(TOKEN), 0 },
};

/* Beside each attribute on its own: what must be there together. */
static bool sound(const struct call *c, u64 seen)
{
	switch (c->cmd) {
	case FTKVM_CMD_SET:
		return c->mask;
	case FTKVM_CMD_CHECK:
		return seen != (A(NAME) | A(VM_FD));
	case FTKVM_CMD_DEV_ADD:
		return c->dev.kind == FTKVM_UAPI_DEV_BLK ? seen & A(CAPACITY) :
							   !(seen & (A(CAPACITY) | A(READONLY) | A(SHARED)));
	case FTKVM_CMD_DEV_START:
		return c->q.features & BIT_ULL(VIRTIO_F_VERSION_1);
	default:
		return true;
	}
}

bool read_request(const struct nlmsghdr *nlh, struct call *c)
{
	const struct genlmsghdr *g = nlmsg_data(nlh);
	const u8 *at = (const u8 *)(g + 1), *end = (const u8 *)nlh + nlh->nlmsg_len;
	u64 allowed, seen = 0;
	u16 flags = nlh->nlmsg_flags;

	*c = (struct call) {
		.fd = -1, .state = FTKVM_ANY_STATE, .p.verify_every = FTKVM_VERIFY_KEEP,
		.disks = NO_DISKS, .dev.backend_fd = -1, .q.kick_fd = -1, .q.call_fd = -1,
	};
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
	if (c->dump && c->cmd != FTKVM_CMD_GET && c->cmd != FTKVM_CMD_DEV_GET)
		return false;
	allowed = c->dump ? 0 : manual[c->cmd].must | manual[c->cmd].may;

	while (end - at >= 4) {
		u16 len = value(at, 2), type = value(at + 2, 2) & NLA_TYPE_MASK;

		if (len < 4 || len > end - at)
			return false;
		if (type > FTKVM_A_MAX || !(allowed & BIT_ULL(type)) || at[3] & 0x80)
			return false;
		if (!take_attr(c, type, at + 4, len - 4))
			return false;
		seen |= BIT_ULL(type);
		at += NLA_ALIGN(len);
	}
	if (at < end)
		return false;
	if (c->dump)
		return true;
	if ((seen & manual[c->cmd].must) != manual[c->cmd].must)
		return false;
	return sound(c, seen);
}
