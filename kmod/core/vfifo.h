/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The requests that are pending on one queue, of a disk (vblk.h) or a network card
 * (vnet.h). Both replicas take the same ones at the same points of the guest's
 * execution, and complete them in the same order.
 */
#ifndef FTKVM_CORE_VFIFO_H
#define FTKVM_CORE_VFIFO_H

#include <linux/kref.h>
#include <linux/types.h>

#include "vblk.h"
#include "virtq.h"

/* No more is taken while so many bytes of data are held; one request may go beyond. */
#define FTKVM_VFIFO_BYTES	(32u << 20)

enum ftkvm_vreq_kind {
	FTKVM_VREQ_BLK,
	FTKVM_VREQ_TX,		/* a packet to be sent */
	FTKVM_VREQ_RX,		/* room for one that comes, or for a part of it */
	FTKVM_VREQ_SUM,		/* nobody's: a piece of the disk is to be summed (dsum.h) */
};

/**
 * struct ftkvm_vreq - a pending request
 * @ref: one is the FIFO's; whoever works on it without the queue's lock has another
 * @seq: its number, the same on both replicas; never used again
 * @kind: enum ftkvm_vreq_kind
 * @blk: BLK: what is asked for
 * @len: bytes at @data; RX: 0, until a packet has come that begins here; SUM: those that
 *	 are told, behind which there is room for a block
 * @held: bytes that the FIFO counts for it
 * @data: what the driver gave, or (room for) what it is to get
 * @chain: what is to be written of it; the rest was read
 * @seg: the buffers of @chain
 */
struct ftkvm_vreq {
	struct kref ref;
	u64 seq;
	u8 kind;
	struct ftkvm_vblk_req blk;
	u32 len;
	u32 held;
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

/* For those who know what a request is. */
struct ftkvm_vreq *ftkvm_vreq_make(const struct ftkvm_vchain *c, u8 kind, u32 len);
void ftkvm_vfifo_push(struct ftkvm_vfifo *f, struct ftkvm_vreq *req);
void ftkvm_vfifo_pop(struct ftkvm_vfifo *f);

/**
 * ftkvm_vfifo_full() - is enough pending?
 * @f: the FIFO
 */
static inline bool ftkvm_vfifo_full(const struct ftkvm_vfifo *f)
{
	return f->next - f->first >= FTKVM_VIRTQ_NUM_MAX || f->bytes >= FTKVM_VFIFO_BYTES;
}

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
