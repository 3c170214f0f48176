// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/genetlink.h>
#include "nl_call.h"
#include "nl_parse.h"

#define TAKEOVER_POLL_US	10000
#define NL_BUFFER	(64 * 1024)
#define NOT_LOADED	"the kernel module ftkvm is not loaded; run: modprobe ftkvm"

/* Group and message type that every kernel gives to the controller itself. */
#define CTRL_NOTIFY_GROUP	GENL_ID_CTRL

#ifndef NETLINK_EXT_ACK
#define NETLINK_EXT_ACK	11
#endif

/* --- requests and replies -------------------------------------------------- */

static struct nlmsghdr *begin(struct ftnl *nl, uint16_t type, uint8_t cmd, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(nl->buf);
	struct genlmsghdr *genl;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++nl->seq;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = cmd;
	genl->version = type == GENL_ID_CTRL ? 1 : FTKVM_GENL_VERSION;
	return nlh;
}

static int error_text(struct fterr *err, int code, const char *text)
{
	if (*text)
		return ft_fail(err, code, "%s", text);
	if (code == -EPERM)
		return ft_fail(err, code, "the kernel refuses: this needs CAP_NET_ADMIN; run as root");
	return ft_fail(err, code, "the kernel module says: %s", strerror(-code));
}

/*
 * Send what nl->buf holds and read the answers. @fn sees each; the one with the
 * full text of an error among them.
 */
static int talk(struct ftnl *nl, struct nlmsghdr *nlh,
		void (*fn)(const struct nlmsghdr *nlh, void *arg), void *arg, struct fterr *err)
{
	bool ours = nlh->nlmsg_type != GENL_ID_CTRL;
	char text[512] = "";
	uint32_t seq = nlh->nlmsg_seq;
	ssize_t got;

	while (mnl_socket_sendto(nl->sock, nlh, nlh->nlmsg_len) < 0)
		if (errno != EINTR)
			return ft_fail(err, -errno, "cannot send to the kernel module: %s",
				       strerror(errno));
	for (;;) {
		int left;

		got = mnl_socket_recvfrom(nl->sock, nl->buf, NL_BUFFER);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return ft_fail(err, got ? -errno : -EIO, "cannot read from the kernel module: %s",
				       got ? strerror(errno) : "no answer");
		left = got;
		for (nlh = (struct nlmsghdr *)nl->buf; mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
			int code;

			if (nlh->nlmsg_seq != seq)
				continue;
			switch (nlh->nlmsg_type) {
			case NLMSG_ERROR:
				if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*e))
					return ft_fail(err, -EBADMSG, "garbled answer of the kernel");
				if (!e->error)
					return 0;
				if (!*text)
					nl_extack_text(nlh, text, sizeof(text));
				return error_text(err, e->error, text);
			case NLMSG_DONE:
				code = mnl_nlmsg_get_payload_len(nlh) >= sizeof(code) ? e->error : 0;
				return code < 0 ? error_text(err, code, text) : 0;
			case NLMSG_NOOP:
			case NLMSG_OVERRUN:
				break;
			default:
				if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct genlmsghdr))
					break;
				if (ours)
					nl_detail_text(nlh, text, sizeof(text));
				if (fn)
					fn(nlh, arg);
			}
		}
	}
}

static void take_group(const struct nlattr *nest, struct ftnl *nl)
{
	const struct nlattr *attr;
	const char *name = "";
	uint32_t id = 0;

	mnl_attr_for_each_nested(attr, nest) {
		if (mnl_attr_get_type(attr) == CTRL_ATTR_MCAST_GRP_NAME &&
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			name = mnl_attr_get_str(attr);
		else if (mnl_attr_get_type(attr) == CTRL_ATTR_MCAST_GRP_ID &&
			 mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			id = mnl_attr_get_u32(attr);
	}
	if (!strcmp(name, FTKVM_GENL_MCGRP_EVENTS))
		nl->group = id;
}

/* A family as the controller describes it; remembered if it is ours. */
static bool take_family(const struct nlmsghdr *nlh, struct ftnl *nl)
{
	const struct nlattr *attr, *group, *groups = NULL;
	const char *name = "";
	uint16_t id = 0;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (mnl_attr_get_type(attr)) {
		case CTRL_ATTR_FAMILY_NAME:
			if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
				name = mnl_attr_get_str(attr);
			break;
		case CTRL_ATTR_FAMILY_ID:
			if (mnl_attr_validate(attr, MNL_TYPE_U16) >= 0)
				id = mnl_attr_get_u16(attr);
			break;
		case CTRL_ATTR_MCAST_GROUPS:
			groups = attr;
			break;
		}
	}
	if (strcmp(name, FTKVM_GENL_NAME))
		return false;
	nl->family = id;
	if (groups)
		mnl_attr_for_each_nested(group, groups)
			take_group(group, nl);
	return true;
}

static void on_family(const struct nlmsghdr *nlh, void *arg)
{
	take_family(nlh, arg);
}

static int resolve(struct ftnl *nl, struct fterr *err)
{
	struct nlmsghdr *nlh = begin(nl, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);
	int ret;

	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, FTKVM_GENL_NAME);
	ret = talk(nl, nlh, on_family, nl, err);
	if (ret == -ENOENT || (!ret && !nl->family))
		return ft_fail(err, -ENOENT, NOT_LOADED);
	return ret;
}

static int open_socket(struct ftnl *nl, int flags, struct fterr *err)
{
	int on = 1;

	memset(nl, 0, sizeof(*nl));
	nl->buf = calloc(1, NL_BUFFER);	/* not a byte of ours leaks by padding */
	nl->sock = nl->buf ? mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC | flags) : NULL;
	if (!nl->sock || mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		ft_fail(err, -errno, "cannot open a netlink socket: %s", strerror(errno));
		ftnl_close(nl);
		return -EIO;
	}
	mnl_socket_setsockopt(nl->sock, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(nl->sock, NETLINK_CAP_ACK, &on, sizeof(on));
	return 0;
}

int ftnl_open(struct ftnl *nl, struct fterr *err)
{
	int ret = open_socket(nl, 0, err);

	if (ret)
		return ret;
	ret = resolve(nl, err);
	if (ret)
		ftnl_close(nl);
	return ret;
}

void ftnl_close(struct ftnl *nl)
{
	if (nl->sock)
		mnl_socket_close(nl->sock);
	free(nl->buf);
	memset(nl, 0, sizeof(*nl));
}

/* --- commands -------------------------------------------------------------- */

struct nlmsghdr *ftnl_begin(struct ftnl *nl, uint8_t cmd, uint16_t flags, struct fterr *err)
{
	if (ftnl_open(nl, err))
		return NULL;
	return begin(nl, nl->family, cmd, NLM_F_ACK | flags);
}

static struct nlmsghdr *open_command(struct ftnl *nl, uint8_t cmd, const char *name,
				     struct fterr *err)
{
	struct nlmsghdr *nlh = ftnl_begin(nl, cmd, 0, err);

	if (nlh && name)
		mnl_attr_put_strz(nlh, FTKVM_A_NAME, name);
	return nlh;
}

int ftnl_finish(struct ftnl *nl, struct nlmsghdr *nlh,
		void (*fn)(const struct nlmsghdr *nlh, void *arg), void *arg, struct fterr *err)
{
	int ret = talk(nl, nlh, fn, arg, err);

	ftnl_close(nl);
	return ret;
}

static int simple(uint8_t cmd, const char *name, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = open_command(&nl, cmd, name, err);

	return nlh ? ftnl_finish(&nl, nlh, NULL, NULL, err) : err->code;
}

static void put_settings(struct nlmsghdr *nlh, const struct ftsettings *set)
{
	if (set->period_min)
		mnl_attr_put_u64(nlh, FTKVM_A_PERIOD_MIN, set->period_min);
	if (set->period_max)
		mnl_attr_put_u64(nlh, FTKVM_A_PERIOD_MAX, set->period_max);
	if (set->margin)
		mnl_attr_put_u64(nlh, FTKVM_A_MARGIN, set->margin);
	if (set->counter)
		mnl_attr_put_u32(nlh, FTKVM_A_COUNTER, set->counter);
	if (set->timeout_ms)
		mnl_attr_put_u32(nlh, FTKVM_A_TIMEOUT_MS, set->timeout_ms);
	if (set->verify_said)
		mnl_attr_put_u32(nlh, FTKVM_A_VERIFY_EVERY, set->verify_every);
	if (set->on_loss)
		mnl_attr_put_u32(nlh, FTKVM_A_ON_LOSS, set->on_loss);
}

int ftnl_attach(const char *name, int vm_fd, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = open_command(&nl, FTKVM_CMD_ATTACH, name, err);

	if (!nlh)
		return err->code;
	mnl_attr_put_u32(nlh, FTKVM_A_VM_FD, vm_fd);
	return ftnl_finish(&nl, nlh, NULL, NULL, err);
}

int ftnl_detach(const char *name, struct fterr *err)
{
	return simple(FTKVM_CMD_DETACH, name, err);
}

int ftnl_unpair(const char *name, struct fterr *err)
{
	return simple(FTKVM_CMD_UNPAIR, name, err);
}

int ftnl_fence(const char *name, struct fterr *err)
{
	return simple(FTKVM_CMD_FENCE, name, err);
}

int ftnl_verify(const char *name, struct fterr *err)
{
	return simple(FTKVM_CMD_VERIFY, name, err);
}

int ftnl_verify_disks(const char *name, bool on, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = open_command(&nl, FTKVM_CMD_VERIFY, name, err);

	if (!nlh)
		return err->code;
	mnl_attr_put_u32(nlh, FTKVM_A_DISKS, on ? FTKVM_UAPI_DISKS_COMPARE : FTKVM_UAPI_DISKS_STOP);
	return ftnl_finish(&nl, nlh, NULL, NULL, err);
}

int ftnl_pair(const char *name, uint32_t role, int sock_fd, const char *peer,
	      const char *pair_name, const struct ftsettings *set, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = open_command(&nl, FTKVM_CMD_PAIR, name, err);

	if (!nlh)
		return err->code;
	mnl_attr_put_u32(nlh, FTKVM_A_ROLE, role);
	mnl_attr_put_u32(nlh, FTKVM_A_SOCK_FD, sock_fd);
	if (peer && *peer)
		mnl_attr_put_strz(nlh, FTKVM_A_PEER, peer);
	if (*pair_name)
		mnl_attr_put_strz(nlh, FTKVM_A_PAIR_NAME, pair_name);
	put_settings(nlh, set);
	if (set->token)
		mnl_attr_put_u64(nlh, FTKVM_A_TOKEN, set->token);
	return ftnl_finish(&nl, nlh, NULL, NULL, err);
}

int ftnl_second(const char *name, int sock_fd, uint64_t token, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = open_command(&nl, FTKVM_CMD_SECOND, name, err);

	if (!nlh)
		return err->code;
	mnl_attr_put_u32(nlh, FTKVM_A_SOCK_FD, sock_fd);
	mnl_attr_put_u64(nlh, FTKVM_A_TOKEN, token);
	return ftnl_finish(&nl, nlh, NULL, NULL, err);
}

static void on_replica(const struct nlmsghdr *nlh, void *arg)
{
	nl_parse_replica(nlh, arg);
}

/* The module does not wait for a long log, which may take as long as a disk. */
static int await_takeover(const char *name, struct ftreplica *r, struct fterr *err)
{
	int ret;

	for (;;) {
		ret = ftnl_get(name, r, err);
		if (ret || r->state != FTKVM_UAPI_STATE_TAKEOVER)
			break;
		usleep(TAKEOVER_POLL_US);
	}
	if (!ret && r->state != FTKVM_UAPI_STATE_SOLO)
		ret = ft_fail(err, -EIO, "guest %s could not go live: %s", name, r->detail);
	return ret;
}

int ftnl_promote(const char *name, bool force, uint32_t state, uint64_t *takeover_ns,
		 struct fterr *err)
{
	struct ftreplica *r = calloc(1, sizeof(*r));
	struct nlmsghdr *nlh;
	struct ftnl nl;
	int ret;

	if (!r)
		return ft_fail(err, -ENOMEM, "out of memory");
	nlh = open_command(&nl, FTKVM_CMD_PROMOTE, name, err);
	if (nlh && force)
		mnl_attr_put(nlh, FTKVM_A_FORCE, 0, NULL);
	if (nlh)
		mnl_attr_put_u32(nlh, FTKVM_A_STATE, state);
	ret = nlh ? ftnl_finish(&nl, nlh, on_replica, r, err) : err->code;
	if (ret == -EINPROGRESS)
		ret = await_takeover(name, r, err);
	*takeover_ns = r->stats[FTKVM_STAT_TAKEOVER_NS];
	free(r);
	return ret;
}

int ftnl_get(const char *name, struct ftreplica *r, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh;

	memset(r, 0, sizeof(*r));
	nlh = open_command(&nl, FTKVM_CMD_GET, name, err);
	return nlh ? ftnl_finish(&nl, nlh, on_replica, r, err) : err->code;
}

struct dump {
	struct ftreplica *list;
	size_t n;
};

static void on_dump(const struct nlmsghdr *nlh, void *arg)
{
	struct dump *d = arg;
	struct ftreplica *list = realloc(d->list, (d->n + 1) * sizeof(*list));

	if (!list)
		return;
	d->list = list;
	nl_parse_replica(nlh, &list[d->n]);
	if (list[d->n].name[0])
		d->n++;
}

int ftnl_dump(struct ftreplica **list, size_t *n, struct fterr *err)
{
	struct dump d = { 0 };
	struct ftnl nl;
	struct nlmsghdr *nlh = ftnl_begin(&nl, FTKVM_CMD_GET, NLM_F_DUMP, err);
	int ret;

	ret = nlh ? ftnl_finish(&nl, nlh, on_dump, &d, err) : err->code;
	*list = d.list;
	*n = d.n;
	return ret;
}

int ftnl_set(const char *name, const struct ftsettings *set, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = open_command(&nl, FTKVM_CMD_SET, name, err);

	if (!nlh)
		return err->code;
	put_settings(nlh, set);
	return ftnl_finish(&nl, nlh, NULL, NULL, err);
}

static void on_check(const struct nlmsghdr *nlh, void *arg)
{
	nl_parse_problems(nlh, arg);
}

int ftnl_check(const char *name, int vm_fd, struct ftproblems *problems, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = open_command(&nl, FTKVM_CMD_CHECK, name, err);

	if (!nlh)
		return err->code;
	if (vm_fd >= 0)
		mnl_attr_put_u32(nlh, FTKVM_A_VM_FD, vm_fd);
	return ftnl_finish(&nl, nlh, on_check, problems, err);
}

/* --- events ---------------------------------------------------------------- */

static int join(struct ftnl *nl, uint32_t group, struct fterr *err)
{
	if (mnl_socket_setsockopt(nl->sock, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return ft_fail(err, -errno, "cannot listen to the kernel's events: %s",
			       strerror(errno));
	return 0;
}

int ftnl_open_events(struct ftnl *nl, struct fterr *err)
{
	int ret = open_socket(nl, 0, err);

	if (ret)
		return ret;
	ret = resolve(nl, err);
	if (ret == -ENOENT)
		ret = 0;	/* the controller will tell */
	if (!ret)
		ret = join(nl, CTRL_NOTIFY_GROUP, err);
	if (!ret && nl->group)
		ret = join(nl, nl->group, err);
	if (ret)
		ftnl_close(nl);
	return ret;
}

static void controller_news(struct ftnl *nl, const struct nlmsghdr *nlh,
			    ftnl_news_fn fn, void *arg)
{
	const struct genlmsghdr *genl = mnl_nlmsg_get_payload(nlh);
	struct fterr err;

	if (genl->cmd == CTRL_CMD_NEWFAMILY) {
		uint32_t before = nl->group;

		if (!take_family(nlh, nl) || !nl->group || nl->group == before)
			return;
		if (!join(nl, nl->group, &err))
			fn(FTNL_NEWS_LOADED, NULL, arg);
	} else if (genl->cmd == CTRL_CMD_DELFAMILY && take_family(nlh, nl)) {
		nl->family = 0;
		nl->group = 0;
		fn(FTNL_NEWS_UNLOADED, NULL, arg);
	}
}

int ftnl_read_events(struct ftnl *nl, ftnl_news_fn fn, void *arg)
{
	for (;;) {
		struct nlmsghdr *nlh;
		struct sockaddr_nl from = { 0 };
		struct iovec iov = { nl->buf, NL_BUFFER };
		struct msghdr msg = {
			.msg_name = &from, .msg_namelen = sizeof(from),
			.msg_iov = &iov, .msg_iovlen = 1,
		};
		ssize_t got = recvmsg(mnl_socket_get_fd(nl->sock), &msg, MSG_DONTWAIT);
		int left = got;

		if (got < 0) {
			if (errno == EAGAIN)
				return 0;
			if (errno == EINTR)
				continue;
			if (errno != ENOBUFS)
				return -errno;
			fn(FTNL_NEWS_LOST, NULL, arg);
			continue;
		}
		if (from.nl_pid)
			continue;	/* only the kernel is believed */
		for (nlh = (struct nlmsghdr *)nl->buf; mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left)) {
			const struct genlmsghdr *genl = mnl_nlmsg_get_payload(nlh);
			struct ftevent event;

			if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*genl))
				continue;
			if (nlh->nlmsg_type == GENL_ID_CTRL) {
				controller_news(nl, nlh, fn, arg);
			} else if (nl->family && nlh->nlmsg_type == nl->family &&
				   genl->cmd == FTKVM_CMD_EVENT) {
				nl_parse_event(nlh, &event);
				if (event.event)
					fn(FTNL_NEWS_EVENT, &event, arg);
			}
		}
	}
}
