/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The generic netlink family: what userspace asks for is checked here and
 * handed to the replica code, whose entry points are declared below.
 *
 * The family runs its commands in parallel: whatever order the replica code
 * needs among them, it makes itself. Nothing is called with a lock held, and
 * the callers are processes that may sleep.
 */
#ifndef FTKVM_NETLINK_H
#define FTKVM_NETLINK_H

#include <linux/bits.h>
#include <linux/types.h>
#include <uapi/linux/ftkvm.h>

/* What MODULE_VERSION() says, peers compare and GET shows; from the build. */
#ifndef FTKVM_VERSION
#define FTKVM_VERSION		"0.1"
#endif

/**
 * struct ftkvm_pair_params - what a pairing is asked to be
 * @role: enum ftkvm_uapi_role, PRIMARY or BACKUP
 * @sock_fd: connected stream socket, a descriptor of the calling process
 * @peer: the peer's address for the operator's eyes; empty when not given
 * @pair_name: what both sides call the pair; empty: the replica's name
 * @period_min: shortest epoch, guest events; this and those below: 0 keeps what
 *	the replica has (at first, the default)
 * @period_max: longest epoch
 * @margin: how late a counter overflow may be
 * @counter: raw PMU event
 * @timeout_ms: a peer silent for longer is dead
 * @verify_every: epochs from one verification in the background to the next, 0:
 *	never; FTKVM_VERIFY_KEEP keeps what the replica has
 * @on_loss: enum ftkvm_uapi_loss
 * @token: of its second path; 0: there is to be none
 */
struct ftkvm_pair_params {
	u32 role;
	int sock_fd;
	char peer[FTKVM_PEER_MAX + 1];
	char pair_name[FTKVM_NAME_MAX + 1];
	u64 period_min, period_max, margin;
	u32 counter, timeout_ms, verify_every, on_loss;
	u64 token;
};

#define FTKVM_VERIFY_KEEP	U32_MAX

/**
 * struct ftkvm_info - a replica as userspace sees it
 * @stat: by FTKVM_STAT_*; the numbers UNSPEC and PAD are not used
 */
struct ftkvm_info {
	char name[FTKVM_NAME_MAX + 1];
	u32 state;			/* enum ftkvm_uapi_state */
	u32 role;			/* enum ftkvm_uapi_role */
	pid_t pid;			/* QEMU's, in the initial namespace */
	u32 reason;			/* enum ftkvm_reason */
	char peer[FTKVM_PEER_MAX + 1];
	char detail[FTKVM_DETAIL_MAX + 1];
	char disks_detail[FTKVM_DETAIL_MAX + 1];
	u64 period_min, period_max, margin;
	u32 counter, timeout_ms, verify_every, on_loss;
	u64 token;			/* of its second path */
	u64 stat[__FTKVM_STAT_MAX];
};

/*
 * Called for each thing that stands in the way of protecting a host or guest.
 * @scope: enum ftkvm_scope; @cause and @remedy: one sentence each.
 */
typedef void (*ftkvm_problem_fn)(void *priv, u32 scope, const char *cause, const char *remedy);

/*
 * ---- the replica code's entry points ----
 *
 * All of them: process context, may sleep, no locks held. 0 or -errno, and on
 * failure a NUL-terminated text with cause and remedy in @why (@size bytes,
 * FTKVM_ERROR_MAX + 1; empty on entry; left empty, the errno alone is reported).
 * An unknown name is -ENOENT, a signal -EINTR or -ERESTARTSYS. Descriptors are
 * those of the calling process. Numbers and strings are within the limits of the
 * uapi header; that @period_min is no more than @period_max is left to the
 * replica, which knows the one that is not given.
 *
 * Generic netlink can't register or unregister any family while a command
 * runs, so a wait must be bounded.
 */

/* The guest must be fit to be protected: -EOPNOTSUPP otherwise; -EEXIST. */
int ftkvm_replica_attach(const char *name, int vm_fd, char *why, size_t size);

/* -EBUSY while paired. */
int ftkvm_replica_detach(const char *name, char *why, size_t size);

/*
 * Returns when both modules agree. Interruptible, bounded by the time-out. On
 * failure, @reason says why in the terms of enum ftkvm_reason.
 */
int ftkvm_replica_pair(const char *name, const struct ftkvm_pair_params *p,
		       u32 *reason, char *why, size_t size);

/*
 * Give the pairing a second path: @fd as for pairing, @token as it was paired with. -EINVAL: it
 * is not paired, -ESTALE: by another token, or without one.
 */
int ftkvm_replica_second(const char *name, int fd, u64 token, char *why, size_t size);

/* Waits, interruptibly and no longer than its patience, for the backup to stop. */
int ftkvm_replica_unpair(const char *name, char *why, size_t size);

/* Of a replica that lost its peer: it never runs again. -EINVAL in any other state. */
int ftkvm_replica_fence(const char *name, char *why, size_t size);

#define FTKVM_ANY_STATE	U32_MAX

/*
 * Waits, interruptibly, until the guest is live; -EINPROGRESS: not after a second.
 * @expected: -EAGAIN in any other state (enum ftkvm_uapi_state, or FTKVM_ANY_STATE).
 * @takeover_ns: how long it took.
 */
int ftkvm_replica_promote(const char *name, bool force, u32 expected, u64 *takeover_ns,
			  char *why, size_t size);

/*
 * Primary: begin to compare the replicas whole. Does not wait: FTKVM_STAT_VERIFIES
 * tells when that is done. -EINVAL without a backup, -EBUSY.
 */
int ftkvm_replica_verify(const char *name, char *why, size_t size);

/*
 * The same for the disks' images, while the guest runs: FTKVM_STAT_DISK_VERIFIES or
 * FTKVM_STAT_DISK_GIVEN_UP tells that it is done. Not @on: compare no more. -EINVAL, -EBUSY;
 * -ENODEV: it has no disk; -EAGAIN: one does not run.
 */
int ftkvm_replica_verify_disks(const char *name, bool on, char *why, size_t size);

/* Which members of struct ftkvm_pair_params ftkvm_replica_set() changes. */
#define FTKVM_SET_PERIOD_MIN	BIT(0)
#define FTKVM_SET_PERIOD_MAX	BIT(1)
#define FTKVM_SET_MARGIN	BIT(2)
#define FTKVM_SET_COUNTER	BIT(3)
#define FTKVM_SET_TIMEOUT_MS	BIT(4)
#define FTKVM_SET_VERIFY_EVERY	BIT(5)
#define FTKVM_SET_ON_LOSS	BIT(6)

/*
 * Change the settings named by @mask (FTKVM_SET_*), all or none. -EBUSY for those
 * that are fixed while the replica is paired.
 */
int ftkvm_replica_set(const char *name, const struct ftkvm_pair_params *p, u32 mask,
		      char *why, size_t size);

/* Fill in all of @info; -ENOENT. */
int ftkvm_replica_info(const char *name, struct ftkvm_info *info);

/*
 * The same for the @nr-th replica, in an order that stays while none comes or
 * goes; -ENOENT behind the last.
 */
int ftkvm_replica_info_nr(unsigned int nr, struct ftkvm_info *info);

/*
 * Call @cb for every problem of this host and, given @vm_fd (-1: none) or
 * @name (NULL: none), of that guest. Finding problems is no failure.
 */
int ftkvm_check(int vm_fd, const char *name, ftkvm_problem_fn cb, void *priv,
		char *why, size_t size);

/* ---- devices ---- */

/**
 * struct ftkvm_dev_params - a device to be
 * @name: the operator's name for it
 * @no: its number in its VM, the same on both hosts
 * @kind: enum ftkvm_uapi_dev_kind
 * @vm_fd: the VM
 * @backend_fd: where a disk is stored; -1: not given
 * @capacity: of a disk, in 512 bytes
 * @readonly: the guest can't write
 * @shared: both hosts reach one storage, not each its own
 */
struct ftkvm_dev_params {
	char name[FTKVM_NAME_MAX + 1];
	u32 no, kind;
	int vm_fd, backend_fd;
	u64 capacity;
	bool readonly, shared;
};

/**
 * struct ftkvm_queue_params - how the guest's driver set a queue up
 * @queue: which
 * @num: entries
 * @base: where QEMU would go on
 * @features: that the driver accepted
 * @desc: guest-physical address of the descriptors; @avail, @used: of the rings
 * @kick_fd: eventfd
 * @call_fd: eventfd or -1
 */
struct ftkvm_queue_params {
	u32 queue, num, base;
	u64 features, desc, avail, used;
	int kick_fd, call_fd;
};

/**
 * struct ftkvm_dev_info - a device as userspace sees it
 * @stat: by FTKVM_DEV_STAT_*; the numbers UNSPEC and PAD are not used
 */
struct ftkvm_dev_info {
	char name[FTKVM_NAME_MAX + 1];
	u32 no, kind;
	pid_t pid;
	u64 capacity;
	bool readonly, shared;
	char detail[FTKVM_DETAIL_MAX + 1];
	char storage_detail[FTKVM_DETAIL_MAX + 1];
	u64 stat[__FTKVM_DEV_STAT_MAX];
};

int ftkvm_dev_add(const struct ftkvm_dev_params *p, char *why, size_t size);
int ftkvm_dev_del(const char *name, char *why, size_t size);
int ftkvm_dev_start(const char *name, const struct ftkvm_queue_params *p, char *why, size_t size);
int ftkvm_dev_call(const char *name, u32 queue, int call_fd, char *why, size_t size);
/* Waits for the I/O that is under way. */
int ftkvm_dev_stop(const char *name, u32 queue, u32 *base, char *why, size_t size);
int ftkvm_dev_info(const char *name, struct ftkvm_dev_info *info);
int ftkvm_dev_info_nr(unsigned int nr, struct ftkvm_dev_info *info);

/*
 * Note from now on which parts of a disk change; that ends one that is under way. @id: of
 * this one, for the other two. -EINVAL: it is no disk.
 */
int ftkvm_dev_track(const char *name, u32 *id, char *why, size_t size);
/* Note them no more. -ESTALE: another one was begun, or this one was ended. */
int ftkvm_dev_untrack(const char *name, u32 id, char *why, size_t size);
/*
 * Fetch and forget up to @n of them, which becomes how many there were; @left: bytes that
 * are still to be fetched. -ESTALE as above.
 */
int ftkvm_dev_dirty(const char *name, u32 id, struct ftkvm_uapi_range *ranges, u32 *n, u64 *left,
		    char *why, size_t size);

/* ---- what the family offers them ---- */

/* Registered last, once commands may come; unregistered first. Can sleep. */
int ftkvm_netlink_init(void);
void ftkvm_netlink_exit(void);

/*
 * Tell the listeners of group "events" that @event (enum ftkvm_uapi_event)
 * happened to @info's replica. Only name, state, role, reason and detail are
 * read. Process context, can sleep. Silently lost when nobody listens or memory
 * is short.
 */
void ftkvm_netlink_event(const struct ftkvm_info *info, u32 event);

#endif
