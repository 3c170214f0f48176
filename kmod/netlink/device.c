// SPDX-License-Identifier: GPL-2.0
/*
 * The family's commands for devices.
 */
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio_config.h>
#include "internal.h"

static const struct netlink_range_validation nl_dev_capacity = {
	.min = 1,
	.max = S64_MAX >> 9,
};

/* what has no room in a policy's own 16 bits with a sign */
static const struct netlink_range_validation nl_dev_base = {
	.max = U16_MAX,
};

#define NL_DEV_KIND	NLA_POLICY_RANGE(NLA_U32, FTKVM_UAPI_DEV_BLK, FTKVM_UAPI_DEV_NET)
#define NL_DEV_NO	NLA_POLICY_MAX(NLA_U32, FTKVM_DEV_NO_HIGHEST)
#define NL_DEV_QUEUE	NLA_POLICY_MAX(NLA_U32, 255)

const struct nla_policy ftkvm_nl_dev_add_policy[FTKVM_A_SHARED + 1] = {
	[FTKVM_A_VM_FD]		= FTKVM_NL_FD,
	[FTKVM_A_DEV_NAME]	= FTKVM_NL_NAME,
	[FTKVM_A_DEV_NO]	= NL_DEV_NO,
	[FTKVM_A_DEV_KIND]	= NL_DEV_KIND,
	[FTKVM_A_BACKEND_FD]	= FTKVM_NL_FD,
	[FTKVM_A_CAPACITY]	= NLA_POLICY_FULL_RANGE(NLA_U64, &nl_dev_capacity),
	[FTKVM_A_READONLY]	= { .type = NLA_FLAG },
	[FTKVM_A_SHARED]	= { .type = NLA_FLAG },
};

/* DEL, GET */
const struct nla_policy ftkvm_nl_dev_name_policy[FTKVM_A_DEV_NAME + 1] = {
	[FTKVM_A_DEV_NAME]	= FTKVM_NL_NAME,
};

const struct nla_policy ftkvm_nl_dev_start_policy[FTKVM_A_CALL_FD + 1] = {
	[FTKVM_A_DEV_NAME]	= FTKVM_NL_NAME,
	[FTKVM_A_DEV_FEATURES]	= { .type = NLA_U64 },
	[FTKVM_A_QUEUE]		= NL_DEV_QUEUE,
	[FTKVM_A_NUM]		= NLA_POLICY_RANGE(NLA_U32, 1, FTKVM_DEV_NUM_HIGHEST),
	[FTKVM_A_DESC]		= { .type = NLA_U64 },
	[FTKVM_A_AVAIL]		= { .type = NLA_U64 },
	[FTKVM_A_USED]		= { .type = NLA_U64 },
	[FTKVM_A_BASE]		= NLA_POLICY_FULL_RANGE(NLA_U32, &nl_dev_base),
	[FTKVM_A_KICK_FD]	= FTKVM_NL_FD,
	[FTKVM_A_CALL_FD]	= FTKVM_NL_FD,
};

const struct nla_policy ftkvm_nl_dev_call_policy[FTKVM_A_CALL_FD + 1] = {
	[FTKVM_A_DEV_NAME]	= FTKVM_NL_NAME,
	[FTKVM_A_QUEUE]		= NL_DEV_QUEUE,
	[FTKVM_A_CALL_FD]	= FTKVM_NL_FD,
};

const struct nla_policy ftkvm_nl_dev_stop_policy[FTKVM_A_QUEUE + 1] = {
	[FTKVM_A_DEV_NAME]	= FTKVM_NL_NAME,
	[FTKVM_A_QUEUE]		= NL_DEV_QUEUE,
};

/* TRACK, DIRTY */
const struct nla_policy ftkvm_nl_dev_track_policy[FTKVM_A_TRACK + 1] = {
	[FTKVM_A_DEV_NAME]	= FTKVM_NL_NAME,
	[FTKVM_A_TRACK]		= { .type = NLA_U32 },
};

static const char *nl_dev_name(struct genl_info *info)
{
	return nla_data(info->attrs[FTKVM_A_DEV_NAME]);
}

static int nl_fd(const struct nlattr *attr)
{
	return attr ? nla_get_s32(attr) : -1;
}

/* see internal.h */
int ftkvm_nl_dev_add(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr **a = info->attrs;
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct ftkvm_dev_params p = { };
	int ret;

	if (FTKVM_NL_MISSING(info, DEV_NAME) || FTKVM_NL_MISSING(info, DEV_NO) ||
	    FTKVM_NL_MISSING(info, DEV_KIND) || FTKVM_NL_MISSING(info, VM_FD))
		return -EINVAL;
	p.kind = nla_get_u32(a[FTKVM_A_DEV_KIND]);
	if (p.kind == FTKVM_UAPI_DEV_BLK && FTKVM_NL_MISSING(info, CAPACITY))
		return -EINVAL;
	strscpy(p.name, nl_dev_name(info));
	p.no = nla_get_u32(a[FTKVM_A_DEV_NO]);
	p.vm_fd = nla_get_s32(a[FTKVM_A_VM_FD]);
	p.backend_fd = nl_fd(a[FTKVM_A_BACKEND_FD]);
	p.readonly = nla_get_flag(a[FTKVM_A_READONLY]);
	p.shared = nla_get_flag(a[FTKVM_A_SHARED]);
	if (a[FTKVM_A_CAPACITY])
		p.capacity = nla_get_u64(a[FTKVM_A_CAPACITY]);
	if (p.kind == FTKVM_UAPI_DEV_NET && (p.readonly || p.shared || a[FTKVM_A_CAPACITY])) {
		GENL_SET_ERR_MSG(info, "READONLY, SHARED and CAPACITY are for disks");
		return -EINVAL;
	}
	ret = ftkvm_dev_add(&p, why, sizeof(why));
	return ret ? ftkvm_nl_fail(info, ret, 0, why) : 0;
}

/* see internal.h */
int ftkvm_nl_dev_del(struct sk_buff *skb, struct genl_info *info)
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	int ret;

	if (FTKVM_NL_MISSING(info, DEV_NAME))
		return -EINVAL;
	ret = ftkvm_dev_del(nl_dev_name(info), why, sizeof(why));
	return ret ? ftkvm_nl_fail(info, ret, 0, why) : 0;
}

/* see internal.h */
int ftkvm_nl_dev_start(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr **a = info->attrs;
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct ftkvm_queue_params p;
	int ret;

	if (FTKVM_NL_MISSING(info, DEV_NAME) || FTKVM_NL_MISSING(info, DEV_FEATURES) ||
	    FTKVM_NL_MISSING(info, QUEUE) || FTKVM_NL_MISSING(info, NUM) ||
	    FTKVM_NL_MISSING(info, DESC) || FTKVM_NL_MISSING(info, AVAIL) ||
	    FTKVM_NL_MISSING(info, USED) || FTKVM_NL_MISSING(info, BASE) ||
	    FTKVM_NL_MISSING(info, KICK_FD))
		return -EINVAL;
	p = (struct ftkvm_queue_params) {
		.queue = nla_get_u32(a[FTKVM_A_QUEUE]),
		.num = nla_get_u32(a[FTKVM_A_NUM]),
		.base = nla_get_u32(a[FTKVM_A_BASE]),
		.features = nla_get_u64(a[FTKVM_A_DEV_FEATURES]),
		.desc = nla_get_u64(a[FTKVM_A_DESC]),
		.avail = nla_get_u64(a[FTKVM_A_AVAIL]),
		.used = nla_get_u64(a[FTKVM_A_USED]),
		.kick_fd = nla_get_s32(a[FTKVM_A_KICK_FD]),
		.call_fd = nl_fd(a[FTKVM_A_CALL_FD]),
	};
	if (!(p.features & BIT_ULL(VIRTIO_F_VERSION_1))) {
		GENL_SET_ERR_MSG(info, "the driver is older than virtio 1.0");
		return -EINVAL;
	}
	ret = ftkvm_dev_start(nl_dev_name(info), &p, why, sizeof(why));
	return ret ? ftkvm_nl_fail(info, ret, 0, why) : 0;
}

/* see internal.h */
int ftkvm_nl_dev_call(struct sk_buff *skb, struct genl_info *info)
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	int ret;

	if (FTKVM_NL_MISSING(info, DEV_NAME) || FTKVM_NL_MISSING(info, QUEUE))
		return -EINVAL;
	ret = ftkvm_dev_call(nl_dev_name(info), nla_get_u32(info->attrs[FTKVM_A_QUEUE]),
			     nl_fd(info->attrs[FTKVM_A_CALL_FD]), why, sizeof(why));
	return ret ? ftkvm_nl_fail(info, ret, 0, why) : 0;
}

/* see internal.h */
int ftkvm_nl_dev_stop(struct sk_buff *skb, struct genl_info *info)
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct sk_buff *msg;
	u32 base = 0;
	void *hdr;
	int ret;

	if (FTKVM_NL_MISSING(info, DEV_NAME) || FTKVM_NL_MISSING(info, QUEUE))
		return -EINVAL;
	/* first: when it has stopped, that is to be told */
	msg = ftkvm_nl_begin(info, GENLMSG_DEFAULT_SIZE, &hdr);
	if (!msg)
		return -ENOMEM;
	ret = ftkvm_dev_stop(nl_dev_name(info), nla_get_u32(info->attrs[FTKVM_A_QUEUE]), &base,
			     why, sizeof(why));
	if (!ret)
		ret = nla_put_u32(msg, FTKVM_A_BASE, base);
	if (ret) {
		nlmsg_free(msg);
		return ftkvm_nl_fail(info, ret, 0, why);
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

static int nl_dev_put(struct sk_buff *skb, const struct ftkvm_dev_info *i)
{
	struct nlattr *nest;
	int k;

	if (nla_put_string(skb, FTKVM_A_DEV_NAME, i->name) ||
	    nla_put_u32(skb, FTKVM_A_DEV_NO, i->no) ||
	    nla_put_u32(skb, FTKVM_A_DEV_KIND, i->kind) ||
	    nla_put_u32(skb, FTKVM_A_PID, i->pid) ||
	    (i->capacity &&
	     nla_put_u64_64bit(skb, FTKVM_A_CAPACITY, i->capacity, FTKVM_A_PAD)) ||
	    (i->readonly && nla_put_flag(skb, FTKVM_A_READONLY)) ||
	    (i->shared && nla_put_flag(skb, FTKVM_A_SHARED)) ||
	    (*i->detail && nla_put_string(skb, FTKVM_A_DETAIL, i->detail)) ||
	    (*i->storage_detail &&
	     nla_put_string(skb, FTKVM_A_STORAGE_DETAIL, i->storage_detail)))
		return -EMSGSIZE;
	nest = nla_nest_start(skb, FTKVM_A_DEV_STATS);
	if (!nest)
		return -EMSGSIZE;
	for (k = FTKVM_DEV_STAT_PAD + 1; k < __FTKVM_DEV_STAT_MAX; k++)
		if (nla_put_u64_64bit(skb, k, i->stat[k], FTKVM_DEV_STAT_PAD))
			return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

/* see internal.h */
int ftkvm_nl_dev_get(struct sk_buff *skb, struct genl_info *info)
{
	struct ftkvm_dev_info i;
	struct sk_buff *msg;
	void *hdr;
	int ret;

	if (FTKVM_NL_MISSING(info, DEV_NAME))
		return -EINVAL;
	ret = ftkvm_dev_info(nl_dev_name(info), &i);
	if (ret)
		return ftkvm_nl_fail(info, ret, 0,
				     "no device has this name: `ftctl device` shows those there are");
	msg = ftkvm_nl_begin(info, GENLMSG_DEFAULT_SIZE, &hdr);
	if (!msg)
		return -ENOMEM;
	ret = nl_dev_put(msg, &i);
	if (ret) {
		nlmsg_free(msg);
		return ret;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

/* see internal.h */
int ftkvm_nl_dev_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct ftkvm_dev_info i;
	int ret = 0;
	void *hdr;

	for (; !ftkvm_dev_info_nr(cb->args[0], &i); cb->args[0]++) {
		hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
				  &ftkvm_nl_family, NLM_F_MULTI, FTKVM_CMD_DEV_GET);
		ret = hdr ? nl_dev_put(skb, &i) : -EMSGSIZE;
		if (ret) {
			if (hdr)
				genlmsg_cancel(skb, hdr);
			break;
		}
		genlmsg_end(skb, hdr);
	}
	/* The next call goes on with the one that did not fit. */
	return ret && !skb->len ? ret : skb->len;
}

/* ---- what changes of a disk ---- */

/* see internal.h */
int ftkvm_nl_dev_track(struct sk_buff *skb, struct genl_info *info)
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct sk_buff *msg;
	u32 id = 0;
	void *hdr;
	int ret;

	if (FTKVM_NL_MISSING(info, DEV_NAME))
		return -EINVAL;
	if (info->attrs[FTKVM_A_TRACK]) {
		ret = ftkvm_dev_untrack(nl_dev_name(info), nla_get_u32(info->attrs[FTKVM_A_TRACK]),
					why, sizeof(why));
		return ret ? ftkvm_nl_fail(info, ret, 0, why) : 0;
	}
	msg = ftkvm_nl_begin(info, GENLMSG_DEFAULT_SIZE, &hdr);
	if (!msg)
		return -ENOMEM;
	ret = ftkvm_dev_track(nl_dev_name(info), &id, why, sizeof(why));
	if (!ret)
		ret = nla_put_u32(msg, FTKVM_A_TRACK, id);
	if (ret) {
		nlmsg_free(msg);
		return ftkvm_nl_fail(info, ret, 0, why);
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

static int nl_dev_dirty(struct sk_buff *msg, struct genl_info *info,
			struct ftkvm_uapi_range *ranges, char *why, size_t size)
{
	u32 n = FTKVM_RANGES_MAX;
	u64 left = 0;
	int ret;

	ret = ftkvm_dev_dirty(nl_dev_name(info), nla_get_u32(info->attrs[FTKVM_A_TRACK]), ranges,
			      &n, &left, why, size);
	if (ret)
		return ret;
	if (nla_put_u64_64bit(msg, FTKVM_A_DIRTY, left, FTKVM_A_PAD) ||
	    (n && nla_put(msg, FTKVM_A_RANGES, n * sizeof(*ranges), ranges)))
		return -EMSGSIZE;
	return 0;
}

/*
 * What was fetched is forgotten, whether the answer arrives or not: who gets none has to begin
 * anew. So there is room for it first.
 * see internal.h
 */
int ftkvm_nl_dev_dirty(struct sk_buff *skb, struct genl_info *info)
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct ftkvm_uapi_range *ranges;
	struct sk_buff *msg = NULL;
	void *hdr;
	int ret;

	if (FTKVM_NL_MISSING(info, DEV_NAME) || FTKVM_NL_MISSING(info, TRACK))
		return -EINVAL;
	ranges = kmalloc_array(FTKVM_RANGES_MAX, sizeof(*ranges), GFP_KERNEL);
	if (ranges)
		msg = ftkvm_nl_begin(info, GENLMSG_DEFAULT_SIZE, &hdr);
	ret = msg ? nl_dev_dirty(msg, info, ranges, why, sizeof(why)) : -ENOMEM;
	kfree(ranges);
	if (ret) {
		nlmsg_free(msg);
		return ftkvm_nl_fail(info, ret, 0, why);
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}
