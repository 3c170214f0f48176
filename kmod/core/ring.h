/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The log: a bounded single-producer, single-consumer ring of bytes, and the
 * flow control that bounds what is under way between the replicas.
 */
#ifndef FTKVM_CORE_RING_H
#define FTKVM_CORE_RING_H

#include <linux/cache.h>
#include <linux/types.h>
#include <asm/barrier.h>

/**
 * struct ftkvm_ring - bytes of the log, by their offset from its beginning
 * @buf: storage
 * @size: of @buf, a power of two
 * @head: offset behind the last byte written; producer's
 * @tail: offset of the first byte not yet released; consumer's
 */
struct ftkvm_ring {
	u8 *buf;
	u32 size;
	u64 head ____cacheline_aligned_in_smp;
	u64 tail ____cacheline_aligned_in_smp;
};

/* Can sleep. -EINVAL unless @size is a power of two of at least 4096; -ENOMEM. */
int ftkvm_ring_init(struct ftkvm_ring *r, u32 size);
void ftkvm_ring_free(struct ftkvm_ring *r);

/* Lock-free, any context; one producer, one consumer. */
u32 ftkvm_ring_used(const struct ftkvm_ring *r);
u32 ftkvm_ring_space(const struct ftkvm_ring *r);
/* All or nothing: -ENOSPC leaves the ring as it was. */
int ftkvm_ring_write(struct ftkvm_ring *r, const void *data, u32 len);
/* Copy up to @len bytes from offset @off (tail <= off <= head). Return: copied. */
u32 ftkvm_ring_peek(const struct ftkvm_ring *r, u64 off, void *data, u32 len);
/* Give up to @len bytes from the tail back to the producer. */
void ftkvm_ring_release(struct ftkvm_ring *r, u32 len);

/**
 * ftkvm_ring_room() - where the next bytes can be written in place
 * @r: the ring
 * @len: how many at most
 *
 * Context: Any; lock-free; one producer at a time.
 * Return: the place, for ftkvm_ring_wrote(); NULL where so many bytes have no room in
 * one piece: then ftkvm_ring_write() may still have it.
 */
static inline u8 *ftkvm_ring_room(const struct ftkvm_ring *r, u32 len)
{
	u32 at = r->head & (r->size - 1);

	return len <= r->size - at && len <= ftkvm_ring_space(r) ? r->buf + at : NULL;
}

/**
 * ftkvm_ring_wrote() - append the bytes that were written in place
 * @r: the ring
 * @len: how many; no more than ftkvm_ring_room() was asked for
 *
 * Context: Any; lock-free; one producer at a time.
 */
static inline void ftkvm_ring_wrote(struct ftkvm_ring *r, u32 len)
{
	/* Pairs with the acquire of head: the bytes come before it. */
	smp_store_release(&r->head, r->head + len);
}

/**
 * struct ftkvm_flow - how far the log got; all offsets from its beginning
 * @sent: handed to the link
 * @received: the peer holds it (what output commit waits for)
 * @consumed: the peer's guest is past it
 * @epoch: epochs that the peer's guest has completed
 * @window: bytes that the peer can hold between @consumed and @sent
 */
struct ftkvm_flow {
	u64 sent;
	u64 received;
	u64 consumed;
	u64 epoch;
	u32 window;
};

/* How many of @avail bytes behind @sent may be sent now. */
u32 ftkvm_flow_may_send(const struct ftkvm_flow *f, u32 avail);
/*
 * Take an ACK frame: -EBADMSG when it runs backwards, ahead of what was
 * sent, or consumed is ahead of received.
 */
int ftkvm_flow_ack(struct ftkvm_flow *f, u64 received, u64 consumed, u64 epoch);
/* Does the peer hold every log byte before @off? */
bool ftkvm_flow_committed(const struct ftkvm_flow *f, u64 off);

#endif
