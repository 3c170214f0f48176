/* SPDX-License-Identifier: GPL-2.0 */
/* What the family's files share. */
#ifndef FTKVM_NETLINK_INTERNAL_H
#define FTKVM_NETLINK_INTERNAL_H

#include <net/genetlink.h>
#include "netlink.h"

extern struct genl_family ftkvm_nl_family;

/* policy; an attribute that a command's does not list is refused */

/* What ends up in thread names, logs and terminals has no control characters. */
int ftkvm_nl_text(const struct nlattr *attr, struct netlink_ext_ack *extack);
int ftkvm_nl_name(const struct nlattr *attr, struct netlink_ext_ack *extack);

#define FTKVM_NL_NAME	NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ftkvm_nl_name, FTKVM_NAME_MAX)
#define FTKVM_NL_FD	NLA_POLICY_MIN(NLA_S32, 0)

/* Is a needed attribute missing? Then that is said. */
bool ftkvm_nl_missing(struct genl_info *info, u32 type, const char *name);
#define FTKVM_NL_MISSING(info, attr) ftkvm_nl_missing(info, FTKVM_A_##attr, #attr)

/* Begin an answer; NULL: no memory. */
struct sk_buff *ftkvm_nl_begin(struct genl_info *info, size_t size, void **hdr);
/* Say why a command failed. Return: what the command returns. */
int ftkvm_nl_fail(struct genl_info *info, int err, u32 reason, const char *why);

/* replica.c */
extern const struct nla_policy ftkvm_nl_attach_policy[FTKVM_A_VM_FD + 1];
extern const struct nla_policy ftkvm_nl_name_policy[FTKVM_A_NAME + 1];
extern const struct nla_policy ftkvm_nl_verify_policy[FTKVM_A_DISKS + 1];
extern const struct nla_policy ftkvm_nl_pair_policy[FTKVM_A_TOKEN + 1];
extern const struct nla_policy ftkvm_nl_second_policy[FTKVM_A_TOKEN + 1];
extern const struct nla_policy ftkvm_nl_promote_policy[FTKVM_A_STATE + 1];
extern const struct nla_policy ftkvm_nl_set_policy[FTKVM_A_ON_LOSS + 1];
extern const struct nla_policy ftkvm_nl_check_policy[FTKVM_A_VM_FD + 1];
int ftkvm_nl_attach(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_detach(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_pair(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_second(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_unpair(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_fence(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_verify(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_promote(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_get(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_dump(struct sk_buff *skb, struct netlink_callback *cb);
int ftkvm_nl_set(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_check(struct sk_buff *skb, struct genl_info *info);

/* device.c */
extern const struct nla_policy ftkvm_nl_dev_add_policy[FTKVM_A_SHARED + 1];
extern const struct nla_policy ftkvm_nl_dev_name_policy[FTKVM_A_DEV_NAME + 1];
extern const struct nla_policy ftkvm_nl_dev_start_policy[FTKVM_A_CALL_FD + 1];
extern const struct nla_policy ftkvm_nl_dev_call_policy[FTKVM_A_CALL_FD + 1];
extern const struct nla_policy ftkvm_nl_dev_stop_policy[FTKVM_A_QUEUE + 1];
extern const struct nla_policy ftkvm_nl_dev_track_policy[FTKVM_A_TRACK + 1];
int ftkvm_nl_dev_add(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_dev_del(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_dev_start(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_dev_call(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_dev_stop(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_dev_get(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_dev_track(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_dev_dirty(struct sk_buff *skb, struct genl_info *info);
int ftkvm_nl_dev_dump(struct sk_buff *skb, struct netlink_callback *cb);

#endif
