/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A split virtqueue, the device's side: virtio 1.0 and later, with indirect
 * tables, without event indexes. All of it lies in guest memory, and nothing
 * there is believed.
 */
#ifndef FTKVM_CORE_VIRTQ_H
#define FTKVM_CORE_VIRTQ_H

#include <linux/types.h>

#define FTKVM_VIRTQ_NUM_MAX	1024u	/* descriptors of a queue */
#define FTKVM_VCHAIN_SEGS	256u	/* buffers of a chain that is taken */

/**
 * struct ftkvm_virtq_ops - how guest memory is reached
 * @read: copy @len bytes at @gpa out; an error when not all of them are memory
 * @write: the same the other way
 */
struct ftkvm_virtq_ops {
	int (*read)(void *priv, u64 gpa, void *buf, u32 len);
	int (*write)(void *priv, u64 gpa, const void *buf, u32 len);
};

/**
 * struct ftkvm_virtq_place - a queue as the driver set it up
 * @desc: guest-physical address of the descriptor table
 * @avail: of the available ring
 * @used: of the used ring
 * @num: descriptors, a power of two
 * @base: index that both rings stand at
 * @indirect: VIRTIO_RING_F_INDIRECT_DESC was negotiated
 */
struct ftkvm_virtq_place {
	u64 desc;
	u64 avail;
	u64 used;
	u32 num;
	u16 base;
	bool indirect;
};

/**
 * struct ftkvm_virtq - a queue; zeroed: one that is stopped
 * @ops: how guest memory is reached
 * @priv: for @ops
 * @at: where it lies; a num of 0: it is stopped
 * @broken: what the driver did wrong, for people to read; NULL: nothing. Nothing
 *	    is taken from a broken queue, or put there, until it is started again
 * @avail_idx: the driver's index, as it was read last
 * @last_avail: entry of the available ring that is taken next
 * @used_idx: entry of the used ring that is put next; what lies between it and
 *	      @last_avail is pending
 */
struct ftkvm_virtq {
	const struct ftkvm_virtq_ops *ops;
	void *priv;
	struct ftkvm_virtq_place at;
	const char *broken;
	u16 avail_idx;
	u16 last_avail;
	u16 used_idx;
};

/* A buffer of the guest's. */
struct ftkvm_vseg {
	u64 gpa;
	u32 len;
};

/**
 * struct ftkvm_vchain - what the driver made available as one
 * @seg: its buffers: first those to be read, then those to be written
 * @room: how many fit there
 * @head: its name in both rings
 * @nout: buffers to be read
 * @nin: buffers to be written
 * @out_len: bytes in those to be read
 * @in_len: bytes in those to be written
 */
struct ftkvm_vchain {
	struct ftkvm_vseg *seg;
	u16 room;
	u16 head;
	u16 nout;
	u16 nin;
	u32 out_len;
	u32 in_len;
};

/* -EINVAL: no queue can lie there. Guest memory is not touched. */
int ftkvm_virtq_start(struct ftkvm_virtq *q, const struct ftkvm_virtq_place *at);
u16 ftkvm_virtq_stop(struct ftkvm_virtq *q);

/* The rest reach guest memory and can sleep; -EPROTO: the queue is broken. */
int ftkvm_virtq_rollback(struct ftkvm_virtq *q);
int ftkvm_virtq_next(struct ftkvm_virtq *q, struct ftkvm_vchain *c);
int ftkvm_virtq_put(struct ftkvm_virtq *q, u16 head, u32 len);
int ftkvm_virtq_fill(struct ftkvm_virtq *q, u16 ahead, u16 head, u32 len);
int ftkvm_virtq_publish(struct ftkvm_virtq *q, u16 n);
int ftkvm_virtq_wants_call(struct ftkvm_virtq *q);
int ftkvm_virtq_break(struct ftkvm_virtq *q, const char *cause);

int ftkvm_vchain_read(struct ftkvm_virtq *q, const struct ftkvm_vchain *c, u32 off,
		      void *buf, u32 len);
int ftkvm_vchain_write(struct ftkvm_virtq *q, const struct ftkvm_vchain *c, u32 off,
		       const void *buf, u32 len);

/**
 * ftkvm_virtq_pending() - chains that were taken and not put
 * @q: the queue
 *
 * Return: how many; of a queue that is not broken at most its num.
 */
static inline u16 ftkvm_virtq_pending(const struct ftkvm_virtq *q)
{
	return q->last_avail - q->used_idx;
}

/**
 * ftkvm_virtq_untake() - the chain that was taken last is to be taken again
 * @q: the queue; ftkvm_virtq_next() was the last that was done with it
 */
static inline void ftkvm_virtq_untake(struct ftkvm_virtq *q)
{
	q->last_avail--;
}

#endif
