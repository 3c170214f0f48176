/* SPDX-License-Identifier: GPL-2.0 */
/* Generic netlink to the module: a guest's devices. */
#ifndef FTKVM_NL_DEV_H
#define FTKVM_NL_DEV_H

#include "nl.h"

/*
 * What QEMU must leave out of a card: its control queue, which QEMU serves and writes memory for,
 * and what goes by that queue, which Linux takes no card with that has not the queue.
 */
#define FT_CARD_OPTIONS	"ctrl_vq=off,ctrl_rx=off,ctrl_vlan=off,ctrl_mac_addr=off"

/* What QEMU is to be told of the guest's memory, which the module reads and writes itself. */
#define FT_MEMORY_OPTIONS	"-object memory-backend-memfd,id=ram,size=SIZE,share=on -machine memory-backend=ram"

/* What DEV_GET tells of a device. */
struct ftdev {
	char name[FTKVM_NAME_MAX + 1];
	char detail[FTKVM_DETAIL_MAX + 1];	/* why it is broken */
	char storage_detail[FTKVM_DETAIL_MAX + 1];	/* what its storage could not do last */
	uint32_t no, kind, pid;
	uint64_t capacity;
	bool readonly, shared;
	uint64_t stats[FTKVM_DEV_STAT_MAX + 1];
	bool has_stat[FTKVM_DEV_STAT_MAX + 1];
};

/* What a device is made of; descriptors are -1 and @capacity is 0 if there are none. */
struct ftdev_add {
	uint32_t no, kind;
	int vm_fd, backend_fd;
	uint64_t capacity;
	bool readonly, shared;
};

/* What a queue is made of; @call_fd may be -1. */
struct ftdev_queue {
	uint32_t num, base;
	uint64_t features, desc, avail, used;
	int kick_fd, call_fd;
};

/* Some parts of a disk that have changed, and how many bytes of it have beside them. */
struct ftdirty {
	struct ftkvm_uapi_range ranges[FTKVM_RANGES_MAX];
	size_t n;
	uint64_t left;
};

/* As in nl.h: each with a socket of its own; 0, or -errno with a text. */
int ftnl_dev_add(const char *name, const struct ftdev_add *add, struct fterr *err);
int ftnl_dev_del(const char *name, struct fterr *err);
int ftnl_dev_start(const char *name, uint32_t queue, const struct ftdev_queue *q,
		   struct fterr *err);
/* @call_fd: or -1 */
int ftnl_dev_call(const char *name, uint32_t queue, int call_fd, struct fterr *err);
/* Blocks until nothing is in flight. */
int ftnl_dev_stop(const char *name, uint32_t queue, uint32_t *base, struct fterr *err);
int ftnl_dev_get(const char *name, struct ftdev *d, struct fterr *err);
/* Have it noted which parts of a disk change, and no more; @track: of this copy of it. */
int ftnl_dev_track(const char *name, uint32_t *track, struct fterr *err);
int ftnl_dev_untrack(const char *name, uint32_t track, struct fterr *err);
/* Some of them, which are forgotten; after an error the copy is to be begun anew. */
int ftnl_dev_dirty(const char *name, uint32_t track, struct ftdirty *d, struct fterr *err);
/* All of them; the caller frees *@list. */
int ftnl_dev_dump(struct ftdev **list, size_t *n, struct fterr *err);

#endif
