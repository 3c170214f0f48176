/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The requests to a disk that are pending on one queue. Both replicas take the same
 * ones at the same points of the guest's execution, and complete them in the same order.
 */
#ifndef FTKVM_CORE_VFIFO_H
#define FTKVM_CORE_VFIFO_H

#include <linux/kref.h>
#include <linux/types.h>

#include "vblk.h"
#include "virtq.h"

/* No more is taken while so many bytes of data are held; one request may go beyond. */
#define FTKVM_VFIFO_BYTES	(32u << 20)

/**
 * struct ftkvm_vreq - a pending request
 * @ref: one is the FIFO's; whoever works on it without the queue's lock has another
 * @seq: its number, the same on both replicas; never used again
 * @blk: what is asked for
 * @data: blk.len bytes: what the driver gave, or room for what it is to get
 * @chain: what is to be written of it; the rest was read
 * @seg: the buffers of @chain
 */
struct ftkvm_vreq {
	struct kref ref;
	u64 seq;
	struct ftkvm_vblk_req blk;
	void *data;
	struct ftkvm_vchain chain;
	struct ftkvm_vseg seg[];
};

/**
 * struct ftkvm_vfifo - a queue's pending requests; zeroed: there are none
 * @first: number of the oldest
 * @next: number of the one that is taken next
 * @bytes: data that they hold
 * @slot: by number
 * @scratch: for the chain that is taken
 */
struct ftkvm_vfifo {
	u64 first;
	u64 next;
	u64 bytes;
	struct ftkvm_vreq *slot[FTKVM_VIRTQ_NUM_MAX];
	struct ftkvm_vseg scratch[FTKVM_VCHAIN_SEGS];
};

int ftkvm_vfifo_take(struct ftkvm_vfifo *f, struct ftkvm_virtq *q,
		     const struct ftkvm_vblk *disk, struct ftkvm_vreq **req);
int ftkvm_vfifo_done(struct ftkvm_vfifo *f, struct ftkvm_virtq *q, u8 status);
void ftkvm_vfifo_drop(struct ftkvm_vfifo *f);

/**
 * ftkvm_vfifo_find() - a request by its number
 * @f: the FIFO
 * @seq: the number; @f->first is the oldest's, and up to @f->next all are there
 *
 * Context: Any; the queue's lock.
 * Return: the request; NULL when it is not pending.
 */
static inline struct ftkvm_vreq *ftkvm_vfifo_find(const struct ftkvm_vfifo *f, u64 seq)
{
	if (seq < f->first || seq >= f->next)
		return NULL;
	return f->slot[seq % FTKVM_VIRTQ_NUM_MAX];
}

/**
 * ftkvm_vreq_get() - keep a request while it is worked on
 * @req: the request, found under the queue's lock
 */
static inline void ftkvm_vreq_get(struct ftkvm_vreq *req)
{
	kref_get(&req->ref);
}

void ftkvm_vreq_put(struct ftkvm_vreq *req);

#endif
