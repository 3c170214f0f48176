// SPDX-License-Identifier: GPL-2.0
/*
 * The generic netlink family "ftkvm", as include/uapi/linux/ftkvm.h describes
 * it: which commands it has, what all of them need, and events. Requests are checked
 * by policy, handed to the code that they are about and answered: replica.c, device.c.
 */
#include <linux/errno.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/netlink.h>
#include <linux/timekeeping.h>
#include <net/genetlink.h>
#include <net/netlink.h>

#include "../fault/fault.h"
#include "internal.h"

/* Events are sent under it, and only while the family is there. */
static DEFINE_MUTEX(ftkvm_nl_mutex);
static bool ftkvm_nl_registered;

/* ---- policy ---- */

/* see internal.h */
int ftkvm_nl_text(const struct nlattr *attr, struct netlink_ext_ack *extack)
{
	const char *s;

	for (s = nla_data(attr); *s; s++) {
		if ((u8)*s < ' ' || *s == 0x7f) {
			NL_SET_ERR_MSG_ATTR(extack, attr, "control characters are not allowed");
			return -EINVAL;
		}
	}
	return 0;
}

/* see internal.h */
int ftkvm_nl_name(const struct nlattr *attr, struct netlink_ext_ack *extack)
{
	if (!*(const char *)nla_data(attr)) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "the name is empty");
		return -EINVAL;
	}
	return ftkvm_nl_text(attr, extack);
}

/* A dump of all: nothing. Without a policy generic netlink would not look. */
static const struct nla_policy ftkvm_nl_dump_policy[FTKVM_A_PAD + 1] = {
	[FTKVM_A_PAD]	= { .type = NLA_REJECT },
};

/* ---- helpers ---- */

/* see internal.h */
bool ftkvm_nl_missing(struct genl_info *info, u32 type, const char *name)
{
	if (!GENL_REQ_ATTR_CHECK(info, type))
		return false;
	GENL_SET_ERR_MSG_FMT(info, "%s is missing", name);
	return true;
}

/* see internal.h */
struct sk_buff *ftkvm_nl_begin(struct genl_info *info, size_t size, void **hdr)
{
	struct sk_buff *skb = ftkvm_fault_alloc(NL_REPLY, genlmsg_new(size, GFP_KERNEL));

	if (!skb)
		return NULL;
	*hdr = genlmsg_put_reply(skb, info, &ftkvm_nl_family, 0, info->genlhdr->cmd);
	if (!*hdr) {
		nlmsg_free(skb);
		return NULL;
	}
	return skb;
}

/*
 * The whole text travels in a message of its own, ahead of the error that the
 * return value becomes. It may get lost; the error does not.
 */
int ftkvm_nl_fail(struct genl_info *info, int err, u32 reason, const char *why)
{
	struct sk_buff *skb;
	void *hdr;

	/* netlink_rcv_skb() takes EINTR for "no answer": the caller would wait on. */
	if (err == -EINTR || err == -ERESTARTSYS || err == -ERESTARTNOINTR)
		err = -ECANCELED;
	if (!*why)
		return err;

	GENL_SET_ERR_MSG_FMT(info, "%.*s", NETLINK_MAX_FMTMSG_LEN - 1, why);

	skb = ftkvm_nl_begin(info, GENLMSG_DEFAULT_SIZE, &hdr);
	if (!skb)
		return err;
	if (nla_put_string(skb, FTKVM_A_DETAIL, why) ||
	    (reason && nla_put_u32(skb, FTKVM_A_REASON, reason))) {
		nlmsg_free(skb);
		return err;
	}
	genlmsg_end(skb, hdr);
	genlmsg_reply(skb, info);
	return err;
}

/* ---- the family ---- */

#define FTKVM_NL_DO(_cmd, _doit, _pol, _max) {				\
	.cmd		= FTKVM_CMD_##_cmd,				\
	.doit		= ftkvm_nl_##_doit,				\
	.policy		= ftkvm_nl_##_pol##_policy,			\
	.maxattr	= FTKVM_A_##_max,				\
	.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,		\
}

/* Sorted by command, as generic netlink wants them. */
static const struct genl_split_ops ftkvm_nl_ops[] = {
	FTKVM_NL_DO(ATTACH, attach, attach, VM_FD),
	FTKVM_NL_DO(DETACH, detach, name, NAME),
	FTKVM_NL_DO(PAIR, pair, pair, TOKEN),
	FTKVM_NL_DO(UNPAIR, unpair, name, NAME),
	FTKVM_NL_DO(PROMOTE, promote, promote, STATE),
	FTKVM_NL_DO(GET, get, name, NAME),
	{
		.cmd		= FTKVM_CMD_GET,
		.dumpit		= ftkvm_nl_dump,
		.policy		= ftkvm_nl_dump_policy,
		.maxattr	= FTKVM_A_PAD,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	FTKVM_NL_DO(SET, set, set, ON_LOSS),
	FTKVM_NL_DO(CHECK, check, check, VM_FD),
	FTKVM_NL_DO(VERIFY, verify, verify, DISKS),
	FTKVM_NL_DO(DEV_ADD, dev_add, dev_add, SHARED),
	FTKVM_NL_DO(DEV_DEL, dev_del, dev_name, DEV_NAME),
	FTKVM_NL_DO(DEV_START, dev_start, dev_start, CALL_FD),
	FTKVM_NL_DO(DEV_CALL, dev_call, dev_call, CALL_FD),
	FTKVM_NL_DO(DEV_STOP, dev_stop, dev_stop, QUEUE),
	FTKVM_NL_DO(DEV_GET, dev_get, dev_name, DEV_NAME),
	{
		.cmd		= FTKVM_CMD_DEV_GET,
		.dumpit		= ftkvm_nl_dev_dump,
		.policy		= ftkvm_nl_dump_policy,
		.maxattr	= FTKVM_A_PAD,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	FTKVM_NL_DO(FENCE, fence, name, NAME),
	FTKVM_NL_DO(DEV_TRACK, dev_track, dev_track, TRACK),
	FTKVM_NL_DO(DEV_DIRTY, dev_dirty, dev_track, TRACK),
	FTKVM_NL_DO(SECOND, second, second, TOKEN),
};

static const struct genl_multicast_group ftkvm_nl_groups[] = {
	{ .name = FTKVM_GENL_MCGRP_EVENTS, .flags = GENL_MCAST_CAP_NET_ADMIN },
};

struct genl_family ftkvm_nl_family __ro_after_init = {
	.name		= FTKVM_GENL_NAME,
	.version	= FTKVM_GENL_VERSION,
	.netnsok	= false,
	.parallel_ops	= true,
	.module		= THIS_MODULE,
	.split_ops	= ftkvm_nl_ops,
	.n_split_ops	= ARRAY_SIZE(ftkvm_nl_ops),
	.resv_start_op	= FTKVM_CMD_ATTACH,
	.mcgrps		= ftkvm_nl_groups,
	.n_mcgrps	= ARRAY_SIZE(ftkvm_nl_groups),
};

/**
 * ftkvm_netlink_event() - tell the listeners what happened to a replica
 * @info: the replica; name, state, role, reason and detail are read
 * @event: enum ftkvm_uapi_event
 *
 * Context: Process; sleeps. Before ftkvm_netlink_init() and after
 * ftkvm_netlink_exit() it does nothing.
 */
void ftkvm_netlink_event(const struct ftkvm_info *info, u32 event)
{
	struct sk_buff *skb;
	void *hdr;

	mutex_lock(&ftkvm_nl_mutex);
	if (!ftkvm_nl_registered ||
	    !genl_has_listeners(&ftkvm_nl_family, &init_net, 0))
		goto out;

	skb = ftkvm_fault_alloc(NL_EVENT, genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL));
	if (!skb)
		goto out;
	hdr = genlmsg_put(skb, 0, 0, &ftkvm_nl_family, 0, FTKVM_CMD_EVENT);
	if (!hdr ||
	    nla_put_string(skb, FTKVM_A_NAME, info->name) ||
	    nla_put_u32(skb, FTKVM_A_EVENT, event) ||
	    nla_put_u32(skb, FTKVM_A_STATE, info->state) ||
	    nla_put_u32(skb, FTKVM_A_ROLE, info->role) ||
	    nla_put_u32(skb, FTKVM_A_REASON, info->reason) ||
	    nla_put_string(skb, FTKVM_A_DETAIL, info->detail) ||
	    nla_put_u64_64bit(skb, FTKVM_A_TIME_NS, ktime_get_boottime_ns(), FTKVM_A_PAD)) {
		nlmsg_free(skb);
		goto out;
	}
	genlmsg_end(skb, hdr);
	genlmsg_multicast(&ftkvm_nl_family, skb, 0, 0, GFP_KERNEL);
out:
	mutex_unlock(&ftkvm_nl_mutex);
}

/**
 * ftkvm_netlink_init() - let userspace in
 *
 * Last thing at module load: commands may come at once.
 *
 * Context: Process; sleeps.
 * Return: 0 or -errno.
 */
int __init ftkvm_netlink_init(void)
{
	int ret = ftkvm_fault(FTKVM_FAULT_INIT_NETLINK) ?: genl_register_family(&ftkvm_nl_family);

	if (ret)
		return ret;
	/* Not around the above: commands, under genetlink's lock, send events. */
	mutex_lock(&ftkvm_nl_mutex);
	ftkvm_nl_registered = true;
	mutex_unlock(&ftkvm_nl_mutex);
	return 0;
}

/**
 * ftkvm_netlink_exit() - keep userspace out
 *
 * Returns when no command runs any more.
 *
 * Context: Process; sleeps.
 */
void ftkvm_netlink_exit(void)
{
	mutex_lock(&ftkvm_nl_mutex);
	ftkvm_nl_registered = false;
	mutex_unlock(&ftkvm_nl_mutex);
	genl_unregister_family(&ftkvm_nl_family);
}
