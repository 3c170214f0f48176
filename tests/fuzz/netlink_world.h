/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The world of the netlink family: fuzz_netlink.c is the kernel around it and the
 * process that asks, netlink_manual.c knows what must come of a request,
 * netlink_replica.c is the replica code and looks at the answers.
 */
#ifndef FTKVM_FUZZ_NETLINK_WORLD_H
#define FTKVM_FUZZ_NETLINK_WORLD_H

#include <linux/netlink.h>
#include <net/genetlink.h>

#include "fuzz.h"
#include "../../kmod/netlink/netlink.h"

#define CALLS		256
#define ANSWERS		256
#define PORTID		4711
#define REPLICAS	24
#define NO_DISKS	U32_MAX

/**
 * struct call - a call of the replica code, as it must come
 * @cmd: FTKVM_CMD_*
 * @name: NAME or DEV_NAME in the request; NULL: not given
 * @fd: VM_FD or SOCK_FD; -1: not given
 * @state: FTKVM_ANY_STATE: not given
 * @mask: the settings that are given, FTKVM_SET_*
 * @disks: NO_DISKS: not given
 * @track: of a copy of a disk, if @tracked
 * @dev, @q: of a device; the name and VM_FD are above
 */
struct call {
	u8 cmd;
	bool dump, force, tracked;
	const char *name;
	int fd;
	u32 state;
	u32 mask;
	u32 disks;
	u32 track;
	struct ftkvm_pair_params p;
	struct ftkvm_dev_params dev;
	struct ftkvm_queue_params q;
};

/**
 * struct world - one request, or several
 * @oom: this allocation fails; 0: none does
 * @oomed, @lost: memory was short, an answer did not arrive
 * @fail_send: this answer is lost; 0: none is
 * @asker: the socket of the process
 * @ndue, @came: calls that must come, in due[], and how many came
 * @ret, @text_len, @reason, @replicas, @problems, @fill, @stat: what the replica
 *	code says
 * @asked: replicas or devices that the dump asked for
 * @nanswers: in answers[]
 * @nevents, @event, @event_nr: events sent, and which one it must be
 */
struct world {
	int oom;
	bool oomed, lost;
	u8 fail_send;
	struct netlink_sock asker;

	unsigned int ndue, came;

	int ret;
	u32 text_len, reason, replicas, problems, fill;
	u64 stat[__FTKVM_STAT_MAX];
	unsigned int asked;

	unsigned int nanswers, nevents;
	struct ftkvm_info event;
	u32 event_nr;
};

extern struct world w;
extern struct call due[CALLS];
extern struct sk_buff *answers[ANSWERS];
extern u16 family_id;

/* Which call comes of the message at @nlh? false: none. */
bool read_request(const struct nlmsghdr *nlh, struct call *c);

/* Whatever the replica code may say, by the replica's number. */
void make_info(struct ftkvm_info *info, u32 nr);
/* The same of a device. */
void make_dev(struct ftkvm_dev_info *info, u32 nr);
/* Are the answers to @req, the only message, as they must be? @c: its call, if accepted. */
void hear(const struct nlmsghdr *req, const struct call *c, bool accepted);

#endif
