/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Devices that ftkvm serves itself, so that they write the guest's memory at
 * points of its execution that both replicas know. ftd has ended the vhost-user
 * protocol; here are the rings and the data.
 *
 * A device belongs to a VM, attached or not. Who serves its rings:
 *  - while the guest runs in lockstep, the vCPU thread, outside the guest: after a
 *    kick, which is the guest's own doing, and at epoch ends (lockstep.c);
 *  - else the queue's worker (work.c).
 * The worker does the I/O in either case, but for the backup's. A queue's @lock
 * guards its rings and its FIFO. Devices are found by VM under RCU, and live while
 * somebody holds a reference.
 */
#ifndef FTKVM_DEVICE_H
#define FTKVM_DEVICE_H

#include <linux/if_ether.h>
#include <linux/kref.h>
#include <linux/kvm_host.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/sizes.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <uapi/linux/ftkvm.h>
#include "../core/vblk.h"
#include "../core/vfifo.h"
#include "../core/vnet.h"
#include "../core/virtq.h"

struct eventfd_ctx;
struct ftkvm_replica;
struct ftkvm_track;

#define FTKVM_DEV_QUEUES	4

/* bits of @todo */
#define FTKVM_DEVQ_KICKED	0	/* the guest says that there is something */
#define FTKVM_DEVQ_START	1	/* it is to be started, anew */
#define FTKVM_DEVQ_CALL		2	/* the guest is to be told, in any case */

/* @awaits: none */
#define FTKVM_AWAITS_NOTHING	U64_MAX

/**
 * struct ftkvm_bulk_held - primary: what the backup holds of a queue's answers, bytes
 * @sent: sent to it, and not known to be let go of
 * @mark: ... of which it lets go when it has consumed the log up to @mark_off
 * @told: ... of which it lets go behind that, up to @told_off
 * @fresh: ... of which the END is not logged yet; the vCPU thread's
 * @crowded: the worker waits for that
 */
struct ftkvm_bulk_held {
	u64 sent;
	u64 mark, mark_off;
	u64 told, told_off;
	u64 fresh;
	bool crowded;
};

/* Each queue counts for itself, under its lock. */
struct ftkvm_devq_stats {
	u64 kicks, requests, completed, errors, in_bytes, out_bytes, flushes;
};

/**
 * struct ftkvm_devq - a queue
 * @dev: whose
 * @nr: which
 * @todo: FTKVM_DEVQ_*
 * @lock: guards what follows, but for @work
 * @vq: the rings; stopped: num is 0
 * @place: where QEMU says that they are
 * @features: that the driver accepted
 * @ready: @place is known
 * @fifo: requests that were taken and not completed
 * @starts: how often it was started
 * @logged: requests before this number have a token
 * @done: those before this number are carried out
 * @awaits: primary: log offset that the backup must hold before the worker can go on;
 *	set under @lock
 * @replica: whose vCPU thread is at it
 * @token: log offset that the backup must hold before a request goes out, by number
 * @status: how they went, by number
 * @call: tells the guest
 * @kick: the guest's
 * @kick_entry: in its wait queue
 * @kick_gpa: where the guest writes to signal it; 0: not known
 * @host_fault: guest memory could not be reached, which is not the driver's doing
 * @drain: backup: all is to be done, and what it would read forgotten
 * @drain_faults: how often this host's disk had failed by then
 * @answer_lock: guards @answers, @answer_bytes, @bulk but for its @fresh
 * @answers: backup: struct ftkvm_answer
 * @answer_bytes: what they take
 * @bulk: primary: the other side of it
 * @st: statistics
 * @work: carries requests out, and serves the rings of a guest not in lockstep
 */
struct ftkvm_devq {
	struct ftkvm_dev *dev;
	u8 nr;
	unsigned long todo;
	struct mutex lock;		/* rings and FIFO */
	struct ftkvm_virtq vq;
	struct ftkvm_virtq_place place;
	u64 features;
	bool ready;
	struct ftkvm_vfifo *fifo;
	u64 starts;
	u64 logged;
	u64 done;
	u64 awaits;
	struct ftkvm_replica *replica;
	u64 token[FTKVM_VIRTQ_NUM_MAX];
	u8 status[FTKVM_VIRTQ_NUM_MAX];
	struct eventfd_ctx *call;
	struct eventfd_ctx *kick;
	wait_queue_entry_t kick_entry;
	u64 kick_gpa;
	bool host_fault;
	bool drain;
	u64 drain_faults;
	spinlock_t answer_lock;		/* answers, @bulk */
	struct list_head answers;
	u64 answer_bytes;
	struct ftkvm_bulk_held bulk;
	struct ftkvm_devq_stats st;
	struct work_struct work;
};

/**
 * struct ftkvm_net - a network card
 * @packet: room for one that comes
 * @merge: VIRTIO_NET_F_MRG_RXBUF was accepted
 * @mac: the guest's, as it was seen last; all zeros before
 * @up: what came before its queue was started for the first time is dropped
 * @held: bytes of @packet, which waits for room; the receive queue's worker's
 * @announced: how often the network was told of a takeover
 * @announce: to tell it
 * @lost: packets that came and found no room, or that the interface did not take
 * @wait: in the interface's wait queue
 * @head: which is here
 */
struct ftkvm_net {
	void *packet;
	bool merge;
	bool up;
	u8 mac[ETH_ALEN];
	int held;
	unsigned int announced;
	struct delayed_work announce;
	atomic64_t lost;
	wait_queue_entry_t wait;
	wait_queue_head_t *head;
};

/**
 * struct ftkvm_sum - how far a disk is compared with the other host's; its queue's lock
 * @next: where the next piece begins: both replicas count alike
 * @pending: it is in the FIFO
 * @counts: primary: and is one of the comparison under way, not of one that was ended
 * @left: primary: bytes that this one has still to do
 */
struct ftkvm_sum {
	u64 next, left;
	bool pending, counts;
};

/**
 * struct ftkvm_disk_fault - what this host's storage of a disk could not do
 * @lock: guards the rest
 * @count: how often
 * @what: the last of it; NULL: none
 * @error: what it came to, -errno
 * @at: where, in bytes
 */
struct ftkvm_disk_fault {
	spinlock_t lock;	/* all of it */
	u64 count;
	const char *what;
	int error;
	u64 at;
};

#define FTKVM_STORE_PAGES	(SZ_128K / PAGE_SIZE)

/**
 * struct ftkvm_store - storage of a disk that both hosts reach (store.c)
 * @shared: it is one
 * @busy: I/O is under way, or was about to begin
 * @left: a request was, as it is not this host's any more; the worker's
 * @block: bytes that are read or written at least, a power of two
 * @wq: who waits until it is not @busy
 * @page: by way of which; the worker's
 */
struct ftkvm_store {
	bool shared;
	bool busy;
	bool left;
	u32 block;
	wait_queue_head_t wq;
	struct page *page[FTKVM_STORE_PAGES];
};

/**
 * struct ftkvm_dev - a device
 * @node: in the list of all; RCU
 * @rcu: for freeing
 * @ref: one is the list's
 * @name: the operator's
 * @no: its number, the same on both hosts
 * @kind: enum ftkvm_uapi_dev_kind
 * @kvm: the VM
 * @disk: what the guest sees of a disk
 * @sum: its comparison
 * @fault: its storage's
 * @store: ... if both hosts reach that
 * @net: a network card's
 * @file: where the disk is stored; the host's interface
 * @through: a write is complete when it is durable
 * @removed: it is on its way out
 * @track_lock: guards @track, @tracks
 * @track: which parts of the disk change; NULL: nobody asks (track.c)
 * @tracks: how often that was asked
 * @cmd: userspace's commands exclude each other
 * @queues: how many
 * @q: the queues
 */
struct ftkvm_dev {
	struct list_head node;
	struct rcu_head rcu;
	struct kref ref;
	char name[FTKVM_NAME_MAX + 1];
	u32 no;
	u32 kind;
	struct kvm *kvm;
	struct ftkvm_vblk disk;
	struct ftkvm_sum sum;
	struct ftkvm_disk_fault fault;
	struct ftkvm_store store;
	struct ftkvm_net net;
	struct file *file;
	bool through;
	bool removed;
	struct mutex track_lock;	/* @track, @tracks */
	struct ftkvm_track *track;
	u32 tracks;
	struct mutex cmd;		/* one command at a time */
	u32 queues;
	struct ftkvm_devq q[FTKVM_DEV_QUEUES];
};

/* All devices; rcu_read_lock() or ftkvm_devs_lock held. */
extern struct list_head ftkvm_devs;
extern struct mutex ftkvm_devs_lock;
#define ftkvm_for_each_dev(dev) \
	list_for_each_entry_rcu(dev, &ftkvm_devs, node, lockdep_is_held(&ftkvm_devs_lock))

#define ftkvm_for_each_devq(q, dev) \
	for ((q) = (dev)->q; (q) < (dev)->q + (dev)->queues; (q)++)

struct ftkvm_devq *ftkvm_next_devq(const struct kvm *kvm, struct ftkvm_devq *q);

/* The queues of one guest's devices; rcu_read_lock() held. */
#define ftkvm_for_each_devq_of(q, kvm) \
	for ((q) = ftkvm_next_devq(kvm, NULL); (q); (q) = ftkvm_next_devq(kvm, q))

/**
 * struct ftkvm_devq_setup - what the two replicas' QEMUs must say alike of a queue; wire form
 * @desc: guest-physical address of the descriptor table
 * @avail: of the available ring
 * @used: of the used ring
 * @features: that the driver accepted
 * @num: descriptors
 * @zero: 0
 */
struct ftkvm_devq_setup {
	__le64 desc, avail, used, features;
	__le32 num, zero;
} __packed;

/* The number of the answer that goes ahead of a start: behind all before it. */
static inline u64 ftkvm_devq_start_seq(const struct ftkvm_devq *q)
{
	return ((q->starts + 1) << 32) - 1;
}

/* Does a request change what is stored? */
static inline bool ftkvm_req_changes(const struct ftkvm_vreq *req)
{
	return req->kind == FTKVM_VREQ_BLK && req->blk.op != FTKVM_VBLK_IN &&
	       req->blk.op != FTKVM_VBLK_GET_ID;
}

/*
 * Is it done to both hosts' images, or to either? A backup leaves the rest to its primary; all
 * of it, if there is but one.
 */
static inline bool ftkvm_req_of_both(const struct ftkvm_dev *dev, const struct ftkvm_vreq *req)
{
	return !dev->store.shared && (ftkvm_req_changes(req) || req->kind == FTKVM_VREQ_SUM);
}

/* What the primary has read, for the guest or to compare, and the backup can't know. */
static inline u32 ftkvm_lockstep_bytes(const struct ftkvm_vreq *req, u8 status)
{
	switch (req->kind) {
	case FTKVM_VREQ_RX:
		return req->len;
	case FTKVM_VREQ_TX:
		return 0;
	case FTKVM_VREQ_SUM:
		return status == VIRTIO_BLK_S_OK ? req->len : 0;
	default:
		return req->blk.op == FTKVM_VBLK_IN ? ftkvm_vblk_in_len(&req->blk, status) : 0;
	}
}

/* ---- device.c: life ---- */
int ftkvm_devs_init(void);
void ftkvm_devs_exit(void);
struct ftkvm_dev *ftkvm_dev_get(const struct kvm *kvm, u32 no);
struct ftkvm_dev *ftkvm_dev_next(const struct kvm *kvm, s64 *no);
struct ftkvm_dev *ftkvm_dev_find(const char *name, char *why, size_t size);
void ftkvm_dev_put(struct ftkvm_dev *dev);

u32 ftkvm_devs_crc(const struct kvm *kvm, u32 *count);
void ftkvm_devs_gone(struct kvm *kvm, bool all);

/* ---- setup.c: what userspace does with a queue ---- */
u32 ftkvm_devq_stop(struct ftkvm_devq *q);

/* ---- queue.c: a queue's rings; its lock held, kvm->srcu read-held, in QEMU's mm ---- */
void ftkvm_devq_init(struct ftkvm_devq *q, struct ftkvm_dev *dev, u8 nr);
void ftkvm_devq_free(struct ftkvm_devq *q);
bool ftkvm_devq_can_write(const struct kvm *kvm, char *why, size_t size);
void ftkvm_devq_begin(struct ftkvm_devq *q, struct ftkvm_replica *r);
void ftkvm_devq_end(struct ftkvm_devq *q);
void ftkvm_devq_forget(struct ftkvm_devq *q);
void ftkvm_devq_start(struct ftkvm_devq *q);
void ftkvm_devq_setup(const struct ftkvm_devq *q, struct ftkvm_devq_setup *setup);
bool ftkvm_devq_take(struct ftkvm_devq *q);
int ftkvm_devq_complete(struct ftkvm_devq *q, u8 status);
void ftkvm_devq_call(struct ftkvm_devq *q, bool always);
int ftkvm_devq_listen(struct ftkvm_devq *q, int kick_fd);
void ftkvm_devq_deafen(struct ftkvm_devq *q);

/* ---- work.c ---- */
void ftkvm_devq_work(struct work_struct *work);
bool ftkvm_dev_over(const struct ftkvm_dev *dev);
void ftkvm_devs_poke(struct kvm *kvm);
extern struct workqueue_struct *ftkvm_dev_work;

/* ---- store.c ---- */
bool ftkvm_store_enter(struct ftkvm_dev *dev);
void ftkvm_store_leave(struct ftkvm_dev *dev);
bool ftkvm_stores_quiet(const struct kvm *kvm, unsigned long timeout);
int ftkvm_store_move(struct ftkvm_dev *dev, u64 *at, void *data, u64 len, bool write);
int ftkvm_store_open(struct ftkvm_dev *dev, struct file *file, u64 sectors, char *why,
		     size_t size);
void ftkvm_store_close(struct ftkvm_dev *dev);

/* ---- disk.c ---- */
/* beside VIRTIO_BLK_S_*: it was left, see ftkvm_store_enter() */
#define FTKVM_DISK_LEFT	0xff

u8 ftkvm_disk_do(struct ftkvm_dev *dev, struct ftkvm_vreq *req);
void ftkvm_disk_features(struct ftkvm_dev *dev, u64 features);
int ftkvm_disk_open(struct ftkvm_dev *dev, struct file *file, u64 sectors, char *why,
		    size_t size);

u64 ftkvm_disk_faults(struct ftkvm_dev *dev, char *text, size_t size);
int ftkvm_disk_read(struct ftkvm_dev *dev, u64 sector, void *data, u32 len);

/* ---- sum.c; of a queue its lock held ---- */
bool ftkvm_sum_due(struct ftkvm_replica *r, struct ftkvm_devq *q);
bool ftkvm_sum_push(struct ftkvm_devq *q);
u8 ftkvm_sum_do(struct ftkvm_dev *dev, struct ftkvm_vreq *req);
void ftkvm_sum_complete(struct ftkvm_devq *q, u8 status);
int ftkvm_sum_follow(struct ftkvm_replica *r, struct ftkvm_devq *q,
		     const struct ftkvm_vreq *req, const void *theirs, u32 len);
void ftkvm_sum_stopped(struct ftkvm_replica *r, struct ftkvm_devq *q);
void ftkvm_sums_logged(struct ftkvm_replica *r, u32 state, u64 left);

/* ---- track.c ---- */
void ftkvm_track_mark(struct ftkvm_dev *dev, u64 at, u64 bytes);
void ftkvm_track_free(struct ftkvm_dev *dev);

/* ---- net.c ---- */
int ftkvm_net_open(struct ftkvm_dev *dev, struct file *file, char *why, size_t size);
void ftkvm_net_close(struct ftkvm_dev *dev);
void ftkvm_net_features(struct ftkvm_dev *dev, u64 features);
void ftkvm_net_send(struct ftkvm_dev *dev, const struct ftkvm_vreq *req);
int ftkvm_net_receive(struct ftkvm_dev *dev);
void ftkvm_net_forget(struct ftkvm_dev *dev);
void ftkvm_net_learn(struct ftkvm_dev *dev, const struct ftkvm_vreq *req);
void ftkvm_net_announce(struct ftkvm_dev *dev);

#endif
