/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The disks of a guest that runs become another host's, while it writes to them. In this order:
 *
 *	disk_sync_find()	in the main loop: which disks it has
 *	disk_sync_begin()	the module notes what changes; the peer's ftd is ready for them
 *	disk_sync_live()	all is copied, then what changed meanwhile, until little is left
 *	disk_sync_pass()	once more, and again, for as long as the guest still runs
 *	disk_sync_last()	the guest is stopped by its QEMU: the rest; both images are durable
 *	disk_sync_end()		in any case
 *
 * All but the first and last block, and are for an operation's thread: 0, or -errno with a text,
 * after which the copy is of no use and only disk_sync_end() may follow. The guest's own disks are
 * only read. A guest without disks is well served by all of them.
 *
 * At the other host (disk_recv.c) its devices are there, and a QEMU that has not run the
 * guest has them, or none. Disks that the guest can only read are left out: they are the operator's.
 */
#ifndef FTKVM_DISK_SYNC_H
#define FTKVM_DISK_SYNC_H

#include "disk_copy.h"

#define DISK_SYNC_MOST	32	/* of a guest */
/* How long a guest may stand still for the last of them. */
#define DOWNTIME_HIGHEST	600000	/* ms */

/**
 * struct disk_sync - a copy
 * @disks, @n: the guest's, on this host
 * @track: of each, the module's number for this copy
 * @tracked: of each, it has one
 * @sock, @peer: where to, once @open
 * @buf: for a part
 * @progress: called now and then, in the thread, if not NULL; 0, or -errno with a text: give up
 * @arg: for @progress
 * @done: bytes of the disks that were gone through
 * @total: bytes of all of them, and those that were written meanwhile: it grows
 * @left: bytes that have changed and not been copied, when that was asked last
 * @passes: how often was gone through what had changed
 * @deadline: by ft_now_ms(), when disk_sync_last() begins no more and gives up; 0: never
 * @late: it gave up for that
 */
struct disk_sync {
	struct disk_copy_disk disks[DISK_SYNC_MOST];
	size_t n;
	uint32_t track[DISK_SYNC_MOST];
	bool tracked[DISK_SYNC_MOST];
	int sock;
	bool open;
	char peer[256];
	void *buf;

	int (*progress)(const struct disk_sync *s, void *arg, struct fterr *err);
	void *arg;
	uint64_t done, total, left;
	unsigned int passes;
	int64_t deadline;
	bool late;
};

/**
 * disk_sync_find() - the disks that a guest's QEMU has from ftd (in the main loop)
 * @s: is set, but for @progress and @arg
 * @guest: its name
 *
 * Return: 0; or -errno with a text: one can't be read now. disk_sync_end() is needed after 0.
 */
int disk_sync_find(struct disk_sync *s, const char *guest, struct fterr *err);

/**
 * disk_sync_begin() - have the peer's ftd take them
 * @sock: connected to it, for this alone, with nothing said yet; taken in any case
 * @peer: its name, for messages
 * @guest: what it calls the guest
 */
int disk_sync_begin(struct disk_sync *s, int sock, const char *peer, const char *guest, struct fterr *err);

/*
 * All of them, and what changes meanwhile: until that is little (16 MiB), or does not become less
 * (the guest writes as fast as it can be copied): @left tells.
 */
int disk_sync_live(struct disk_sync *s, struct fterr *err);

/* What has changed since; what changes while this is copied is @left. */
int disk_sync_pass(struct disk_sync *s, struct fterr *err);

/*
 * The rest. Each queue of the disks is stopped, as it is when QEMU has stopped the guest; -EBUSY if
 * not; -ETIMEDOUT when it is not done by @deadline. Then both images are the same, and durable.
 */
int disk_sync_last(struct disk_sync *s, struct fterr *err);

/* Let the module note no more, and hang up. Harmless on one that is all zeros, and twice. */
void disk_sync_end(struct disk_sync *s);

#endif
