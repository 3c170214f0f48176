// SPDX-License-Identifier: GPL-2.0
/*
 * The family's commands for replicas, and the check of a host or a guest.
 */
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <net/genetlink.h>
#include <net/netlink.h>
#include "../core/epoch.h"
#include "../core/frame.h"
#include "internal.h"

/* Room for the problems that CHECK finds: some fifty with their remedies. */
#define FTKVM_NL_CHECK_SIZE	(16u << 10)

static_assert(FTKVM_PERIOD_LOWEST == FTKVM_PERIOD_MIN);
static_assert(FTKVM_PERIOD_HIGHEST == FTKVM_PERIOD_MAX);

/* ---- policy ---- */

static const struct netlink_range_validation ftkvm_nl_period = {
	.min = FTKVM_PERIOD_LOWEST,
	.max = FTKVM_PERIOD_HIGHEST,
};

static const struct netlink_range_validation ftkvm_nl_margin = {
	.min = 1,
	.max = FTKVM_MARGIN_HIGHEST,
};

static const struct netlink_range_validation ftkvm_nl_timeout = {
	.min = FTKVM_TIMEOUT_LOWEST,
	.max = FTKVM_TIMEOUT_HIGHEST,
};

static const struct netlink_range_validation ftkvm_nl_every = {
	.max = FTKVM_VERIFY_HIGHEST,
};

#define FTKVM_NL_PEER	NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ftkvm_nl_text, FTKVM_PEER_MAX)
#define FTKVM_NL_ROLE	NLA_POLICY_RANGE(NLA_U32, FTKVM_UAPI_ROLE_PRIMARY, \
					 FTKVM_UAPI_ROLE_BACKUP)
#define FTKVM_NL_SETTINGS						\
	[FTKVM_A_PERIOD_MIN]	= NLA_POLICY_FULL_RANGE(NLA_U64, &ftkvm_nl_period),	\
	[FTKVM_A_PERIOD_MAX]	= NLA_POLICY_FULL_RANGE(NLA_U64, &ftkvm_nl_period),	\
	[FTKVM_A_MARGIN]	= NLA_POLICY_FULL_RANGE(NLA_U64, &ftkvm_nl_margin),	\
	[FTKVM_A_COUNTER]	= NLA_POLICY_MIN(NLA_U32, 1),				\
	[FTKVM_A_TIMEOUT_MS]	= NLA_POLICY_FULL_RANGE(NLA_U32, &ftkvm_nl_timeout),	\
	[FTKVM_A_VERIFY_EVERY]	= NLA_POLICY_FULL_RANGE(NLA_U32, &ftkvm_nl_every),	\
	[FTKVM_A_ON_LOSS]	= NLA_POLICY_RANGE(NLA_U32, FTKVM_UAPI_LOSS_SOLO,	\
						   FTKVM_UAPI_LOSS_HOLD)

const struct nla_policy ftkvm_nl_attach_policy[FTKVM_A_VM_FD + 1] = {
	[FTKVM_A_NAME]	= FTKVM_NL_NAME,
	[FTKVM_A_VM_FD]	= FTKVM_NL_FD,
};

/* DETACH, UNPAIR, FENCE, GET */
const struct nla_policy ftkvm_nl_name_policy[FTKVM_A_NAME + 1] = {
	[FTKVM_A_NAME]	= FTKVM_NL_NAME,
};

const struct nla_policy ftkvm_nl_verify_policy[FTKVM_A_DISKS + 1] = {
	[FTKVM_A_NAME]	= FTKVM_NL_NAME,
	[FTKVM_A_DISKS]	= NLA_POLICY_MAX(NLA_U32, FTKVM_UAPI_DISKS_COMPARE),
};

const struct nla_policy ftkvm_nl_pair_policy[FTKVM_A_TOKEN + 1] = {
	[FTKVM_A_NAME]		= FTKVM_NL_NAME,
	[FTKVM_A_SOCK_FD]	= FTKVM_NL_FD,
	[FTKVM_A_ROLE]		= FTKVM_NL_ROLE,
	[FTKVM_A_PEER]		= FTKVM_NL_PEER,
	[FTKVM_A_PAIR_NAME]	= FTKVM_NL_NAME,
	[FTKVM_A_TOKEN]		= NLA_POLICY_MIN(NLA_U64, 1),
	FTKVM_NL_SETTINGS,
};

const struct nla_policy ftkvm_nl_second_policy[FTKVM_A_TOKEN + 1] = {
	[FTKVM_A_NAME]		= FTKVM_NL_NAME,
	[FTKVM_A_SOCK_FD]	= FTKVM_NL_FD,
	[FTKVM_A_TOKEN]		= NLA_POLICY_MIN(NLA_U64, 1),
};

const struct nla_policy ftkvm_nl_promote_policy[FTKVM_A_STATE + 1] = {
	[FTKVM_A_NAME]	= FTKVM_NL_NAME,
	[FTKVM_A_FORCE]	= { .type = NLA_FLAG },
	[FTKVM_A_STATE]	= NLA_POLICY_MAX(NLA_U32, FTKVM_UAPI_STATE_UNDECIDED),
};

const struct nla_policy ftkvm_nl_set_policy[FTKVM_A_ON_LOSS + 1] = {
	[FTKVM_A_NAME]	= FTKVM_NL_NAME,
	FTKVM_NL_SETTINGS,
};

const struct nla_policy ftkvm_nl_check_policy[FTKVM_A_VM_FD + 1] = {
	[FTKVM_A_NAME]	= FTKVM_NL_NAME,
	[FTKVM_A_VM_FD]	= FTKVM_NL_FD,
};

/* ---- helpers ---- */

static const char *ftkvm_nl_get_name(struct genl_info *info)
{
	return nla_data(info->attrs[FTKVM_A_NAME]);
}

static int ftkvm_nl_put_stat(struct sk_buff *skb, int type, u64 value)
{
	return nla_put_u64_64bit(skb, type, value, FTKVM_STAT_PAD);
}

static int ftkvm_nl_put_stats(struct sk_buff *skb, const u64 *stat)
{
	struct nlattr *nest = nla_nest_start(skb, FTKVM_A_STATS);
	int i;

	if (!nest)
		return -EMSGSIZE;
	for (i = FTKVM_STAT_PAD + 1; i < __FTKVM_STAT_MAX; i++)
		if (ftkvm_nl_put_stat(skb, i, stat[i]))
			return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int ftkvm_nl_put_versions(struct sk_buff *skb)
{
	if (nla_put_string(skb, FTKVM_A_MODULE_VERSION, FTKVM_VERSION) ||
	    nla_put_u32(skb, FTKVM_A_PROTO_VERSION, FTKVM_PROTO_VERSION))
		return -EMSGSIZE;
	return 0;
}

static int ftkvm_nl_put_info(struct sk_buff *skb, const struct ftkvm_info *i)
{
	if (nla_put_string(skb, FTKVM_A_NAME, i->name) ||
	    nla_put_u32(skb, FTKVM_A_STATE, i->state) ||
	    nla_put_u32(skb, FTKVM_A_ROLE, i->role) ||
	    nla_put_u32(skb, FTKVM_A_PID, i->pid) ||
	    nla_put_string(skb, FTKVM_A_PEER, i->peer) ||
	    nla_put_u32(skb, FTKVM_A_REASON, i->reason) ||
	    nla_put_string(skb, FTKVM_A_DETAIL, i->detail) ||
	    (*i->disks_detail && nla_put_string(skb, FTKVM_A_DISKS_DETAIL, i->disks_detail)) ||
	    nla_put_u64_64bit(skb, FTKVM_A_PERIOD_MIN, i->period_min, FTKVM_A_PAD) ||
	    nla_put_u64_64bit(skb, FTKVM_A_PERIOD_MAX, i->period_max, FTKVM_A_PAD) ||
	    nla_put_u64_64bit(skb, FTKVM_A_MARGIN, i->margin, FTKVM_A_PAD) ||
	    nla_put_u32(skb, FTKVM_A_COUNTER, i->counter) ||
	    nla_put_u32(skb, FTKVM_A_TIMEOUT_MS, i->timeout_ms) ||
	    nla_put_u32(skb, FTKVM_A_VERIFY_EVERY, i->verify_every) ||
	    nla_put_u32(skb, FTKVM_A_ON_LOSS, i->on_loss) ||
	    (i->token && nla_put_u64_64bit(skb, FTKVM_A_TOKEN, i->token, FTKVM_A_PAD)) ||
	    ftkvm_nl_put_versions(skb) ||
	    ftkvm_nl_put_stats(skb, i->stat))
		return -EMSGSIZE;
	return 0;
}

/* Settings that the request names, as a mask of FTKVM_SET_*. */
static u32 ftkvm_nl_get_settings(struct genl_info *info, struct ftkvm_pair_params *p)
{
	struct nlattr **a = info->attrs;
	u32 mask = 0;

	if (a[FTKVM_A_PERIOD_MIN]) {
		p->period_min = nla_get_u64(a[FTKVM_A_PERIOD_MIN]);
		mask |= FTKVM_SET_PERIOD_MIN;
	}
	if (a[FTKVM_A_PERIOD_MAX]) {
		p->period_max = nla_get_u64(a[FTKVM_A_PERIOD_MAX]);
		mask |= FTKVM_SET_PERIOD_MAX;
	}
	if (a[FTKVM_A_MARGIN]) {
		p->margin = nla_get_u64(a[FTKVM_A_MARGIN]);
		mask |= FTKVM_SET_MARGIN;
	}
	if (a[FTKVM_A_COUNTER]) {
		p->counter = nla_get_u32(a[FTKVM_A_COUNTER]);
		mask |= FTKVM_SET_COUNTER;
	}
	if (a[FTKVM_A_TIMEOUT_MS]) {
		p->timeout_ms = nla_get_u32(a[FTKVM_A_TIMEOUT_MS]);
		mask |= FTKVM_SET_TIMEOUT_MS;
	}
	p->verify_every = FTKVM_VERIFY_KEEP;
	if (a[FTKVM_A_VERIFY_EVERY]) {
		p->verify_every = nla_get_u32(a[FTKVM_A_VERIFY_EVERY]);
		mask |= FTKVM_SET_VERIFY_EVERY;
	}
	if (a[FTKVM_A_ON_LOSS]) {
		p->on_loss = nla_get_u32(a[FTKVM_A_ON_LOSS]);
		mask |= FTKVM_SET_ON_LOSS;
	}
	return mask;
}

/* ---- commands ---- */

/* ---- commands ---- */

/* see internal.h */
int ftkvm_nl_attach(struct sk_buff *skb, struct genl_info *info)
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	int ret;

	if (FTKVM_NL_MISSING(info, NAME) || FTKVM_NL_MISSING(info, VM_FD))
		return -EINVAL;
	ret = ftkvm_replica_attach(ftkvm_nl_get_name(info),
				   nla_get_s32(info->attrs[FTKVM_A_VM_FD]), why, sizeof(why));
	return ret ? ftkvm_nl_fail(info, ret, 0, why) : 0;
}

/* A command of which a name is all. */
static int ftkvm_nl_by_name(struct genl_info *info,
			    int (*run)(const char *name, char *why, size_t size))
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	int ret;

	if (FTKVM_NL_MISSING(info, NAME))
		return -EINVAL;
	ret = run(ftkvm_nl_get_name(info), why, sizeof(why));
	return ret ? ftkvm_nl_fail(info, ret, 0, why) : 0;
}

/* see internal.h */
int ftkvm_nl_detach(struct sk_buff *skb, struct genl_info *info)
{
	return ftkvm_nl_by_name(info, ftkvm_replica_detach);
}

/* see internal.h */
int ftkvm_nl_pair(struct sk_buff *skb, struct genl_info *info)
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct ftkvm_pair_params p = { };
	u32 reason = FTKVM_REASON_NONE;
	int ret;

	if (FTKVM_NL_MISSING(info, NAME) || FTKVM_NL_MISSING(info, ROLE) ||
	    FTKVM_NL_MISSING(info, SOCK_FD))
		return -EINVAL;
	p.role = nla_get_u32(info->attrs[FTKVM_A_ROLE]);
	p.sock_fd = nla_get_s32(info->attrs[FTKVM_A_SOCK_FD]);
	if (info->attrs[FTKVM_A_PEER])
		nla_strscpy(p.peer, info->attrs[FTKVM_A_PEER], sizeof(p.peer));
	if (info->attrs[FTKVM_A_PAIR_NAME])
		nla_strscpy(p.pair_name, info->attrs[FTKVM_A_PAIR_NAME], sizeof(p.pair_name));
	if (info->attrs[FTKVM_A_TOKEN])
		p.token = nla_get_u64(info->attrs[FTKVM_A_TOKEN]);
	ftkvm_nl_get_settings(info, &p);
	ret = ftkvm_replica_pair(ftkvm_nl_get_name(info), &p, &reason, why, sizeof(why));
	return ret ? ftkvm_nl_fail(info, ret, reason, why) : 0;
}

/* see internal.h */
int ftkvm_nl_second(struct sk_buff *skb, struct genl_info *info)
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	int ret;

	if (FTKVM_NL_MISSING(info, NAME) || FTKVM_NL_MISSING(info, SOCK_FD) ||
	    FTKVM_NL_MISSING(info, TOKEN))
		return -EINVAL;
	ret = ftkvm_replica_second(ftkvm_nl_get_name(info),
				   nla_get_s32(info->attrs[FTKVM_A_SOCK_FD]),
				   nla_get_u64(info->attrs[FTKVM_A_TOKEN]), why, sizeof(why));
	return ret ? ftkvm_nl_fail(info, ret, 0, why) : 0;
}

/* see internal.h */
int ftkvm_nl_unpair(struct sk_buff *skb, struct genl_info *info)
{
	return ftkvm_nl_by_name(info, ftkvm_replica_unpair);
}

/* see internal.h */
int ftkvm_nl_fence(struct sk_buff *skb, struct genl_info *info)
{
	return ftkvm_nl_by_name(info, ftkvm_replica_fence);
}

/* see internal.h */
int ftkvm_nl_verify(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *disks = info->attrs[FTKVM_A_DISKS];
	char why[FTKVM_ERROR_MAX + 1] = "";
	int ret;

	if (FTKVM_NL_MISSING(info, NAME))
		return -EINVAL;
	if (disks)
		ret = ftkvm_replica_verify_disks(ftkvm_nl_get_name(info),
						 nla_get_u32(disks) == FTKVM_UAPI_DISKS_COMPARE,
						 why, sizeof(why));
	else
		ret = ftkvm_replica_verify(ftkvm_nl_get_name(info), why, sizeof(why));
	return ret ? ftkvm_nl_fail(info, ret, 0, why) : 0;
}

/* see internal.h */
int ftkvm_nl_promote(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *nest, *state = info->attrs[FTKVM_A_STATE];
	char why[FTKVM_ERROR_MAX + 1] = "";
	u64 takeover_ns = 0;
	struct sk_buff *msg;
	void *hdr;
	int ret;

	if (FTKVM_NL_MISSING(info, NAME))
		return -EINVAL;
	ret = ftkvm_replica_promote(ftkvm_nl_get_name(info),
				    nla_get_flag(info->attrs[FTKVM_A_FORCE]),
				    state ? nla_get_u32(state) : FTKVM_ANY_STATE,
				    &takeover_ns, why, sizeof(why));
	if (ret)
		return ftkvm_nl_fail(info, ret, 0, why);

	/* The guest is live: only the figure can get lost now. */
	msg = ftkvm_nl_begin(info, GENLMSG_DEFAULT_SIZE, &hdr);
	if (!msg)
		return 0;
	nest = nla_nest_start(msg, FTKVM_A_STATS);
	if (!nest || ftkvm_nl_put_stat(msg, FTKVM_STAT_TAKEOVER_NS, takeover_ns)) {
		nlmsg_free(msg);
		return 0;
	}
	nla_nest_end(msg, nest);
	genlmsg_end(msg, hdr);
	genlmsg_reply(msg, info);
	return 0;
}

/* see internal.h */
int ftkvm_nl_get(struct sk_buff *skb, struct genl_info *info)
{
	struct ftkvm_info *i;
	struct sk_buff *msg;
	void *hdr;
	int ret;

	if (FTKVM_NL_MISSING(info, NAME))
		return -EINVAL;
	i = kzalloc(sizeof(*i), GFP_KERNEL);
	if (!i)
		return -ENOMEM;

	ret = ftkvm_replica_info(ftkvm_nl_get_name(info), i);
	if (ret) {
		ret = ftkvm_nl_fail(info, ret, 0, ret == -ENOENT ?
				    "no replica has this name: `ftctl list` shows those there are" :
				    "");
		goto out;
	}
	msg = ftkvm_nl_begin(info, GENLMSG_DEFAULT_SIZE, &hdr);
	if (!msg) {
		ret = -ENOMEM;
		goto out;
	}
	ret = ftkvm_nl_put_info(msg, i);
	if (ret) {
		nlmsg_free(msg);
		goto out;
	}
	genlmsg_end(msg, hdr);
	ret = genlmsg_reply(msg, info);
out:
	kfree(i);
	return ret;
}

/* see internal.h */
int ftkvm_nl_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct ftkvm_info *i = kzalloc(sizeof(*i), GFP_KERNEL);
	int ret = 0;
	void *hdr;

	if (!i)
		return -ENOMEM;
	for (;; cb->args[0]++) {
		memset(i, 0, sizeof(*i));
		if (ftkvm_replica_info_nr(cb->args[0], i))
			break;
		hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
				  &ftkvm_nl_family, NLM_F_MULTI, FTKVM_CMD_GET);
		if (!hdr) {
			ret = -EMSGSIZE;
			break;
		}
		ret = ftkvm_nl_put_info(skb, i);
		if (ret) {
			genlmsg_cancel(skb, hdr);
			break;
		}
		genlmsg_end(skb, hdr);
	}
	kfree(i);
	/* The next call goes on with the one that did not fit. */
	return ret && !skb->len ? ret : skb->len;
}

/* see internal.h */
int ftkvm_nl_set(struct sk_buff *skb, struct genl_info *info)
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct ftkvm_pair_params p = { .sock_fd = -1 };
	u32 mask;
	int ret;

	if (FTKVM_NL_MISSING(info, NAME))
		return -EINVAL;
	mask = ftkvm_nl_get_settings(info, &p);
	if (!mask) {
		GENL_SET_ERR_MSG(info, "no setting is given: there is nothing to change");
		return -EINVAL;
	}
	ret = ftkvm_replica_set(ftkvm_nl_get_name(info), &p, mask, why, sizeof(why));
	return ret ? ftkvm_nl_fail(info, ret, 0, why) : 0;
}

/* Called back while ftkvm_check() runs. Never allocates: @priv has the room. */
static void ftkvm_nl_problem(void *priv, u32 scope, const char *cause, const char *remedy)
{
	struct sk_buff *msg = priv;
	struct nlattr *nest = nla_nest_start(msg, FTKVM_A_PROBLEM);

	if (!nest)
		return;
	if (nla_put_string(msg, FTKVM_A_CAUSE, cause) ||
	    nla_put_string(msg, FTKVM_A_REMEDY, remedy) ||
	    nla_put_u32(msg, FTKVM_A_SCOPE, scope)) {
		nla_nest_cancel(msg, nest);
		return;
	}
	nla_nest_end(msg, nest);
}

/* see internal.h */
int ftkvm_nl_check(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *fd = info->attrs[FTKVM_A_VM_FD];
	struct nlattr *name = info->attrs[FTKVM_A_NAME];
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct sk_buff *msg;
	void *hdr;
	int ret;

	if (fd && name) {
		GENL_SET_ERR_MSG(info, "give VM_FD or NAME, not both");
		return -EINVAL;
	}
	msg = ftkvm_nl_begin(info, FTKVM_NL_CHECK_SIZE, &hdr);
	if (!msg)
		return -ENOMEM;
	ret = ftkvm_nl_put_versions(msg);
	if (!ret)
		ret = ftkvm_check(fd ? nla_get_s32(fd) : -1, name ? nla_data(name) : NULL,
				  ftkvm_nl_problem, msg, why, sizeof(why));
	if (ret) {
		nlmsg_free(msg);
		return ftkvm_nl_fail(info, ret, 0, why);
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}
