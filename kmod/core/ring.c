// SPDX-License-Identifier: GPL-2.0
/*
 * The log's bytes, and how many of them may be under way.
 *
 * The producer owns head, the consumer owns tail. Each publishes its own with
 * a release and reads the other's with an acquire: a byte that the consumer
 * can see has been written, and room that the producer can see has been read.
 */
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <asm/barrier.h>

#include "ring.h"

#define FTKVM_RING_MIN	4096u

/**
 * ftkvm_ring_init() - allocate an empty ring
 * @r: the ring
 * @size: bytes that it shall hold, a power of two of at least 4096
 *
 * Context: Process; sleeps.
 * Return: 0, -EINVAL for another @size, -ENOMEM.
 */
int ftkvm_ring_init(struct ftkvm_ring *r, u32 size)
{
	if (size < FTKVM_RING_MIN || !is_power_of_2(size))
		return -EINVAL;

	r->buf = kvzalloc(size, GFP_KERNEL);
	if (!r->buf)
		return -ENOMEM;
	r->size = size;
	r->head = 0;
	r->tail = 0;
	return 0;
}

/**
 * ftkvm_ring_free() - give a ring's memory back
 * @r: the ring; nobody uses it any more
 *
 * May be called again, and for a zeroed ring.
 *
 * Context: Process; sleeps.
 */
void ftkvm_ring_free(struct ftkvm_ring *r)
{
	kvfree(r->buf);
	r->buf = NULL;
	r->size = 0;
	r->head = 0;
	r->tail = 0;
}

/**
 * ftkvm_ring_used() - bytes in the ring
 * @r: the ring
 *
 * Context: Any; lock-free. To the consumer at least as many are there, to the
 * producer at most.
 * Return: that number.
 */
u32 ftkvm_ring_used(const struct ftkvm_ring *r)
{
	/* Tail first: head only grows, so it can't be found behind. */
	u64 tail = smp_load_acquire(&r->tail);
	/* Acquire: the bytes before head are there to be read. */
	u64 head = smp_load_acquire(&r->head);

	return min_t(u64, head - tail, r->size);
}

/**
 * ftkvm_ring_space() - bytes that can be written
 * @r: the ring
 *
 * Context: Any; lock-free.
 * Return: that number; to the producer it only grows until it writes.
 */
u32 ftkvm_ring_space(const struct ftkvm_ring *r)
{
	return r->size - ftkvm_ring_used(r);
}

/**
 * ftkvm_ring_write() - append bytes, all or none
 * @r: the ring
 * @data: the bytes
 * @len: how many
 *
 * Context: Any; lock-free; one producer at a time.
 * Return: 0, or -ENOSPC and the ring is as it was.
 */
int ftkvm_ring_write(struct ftkvm_ring *r, const void *data, u32 len)
{
	u64 head = r->head;
	u32 at, first;

	if (len > ftkvm_ring_space(r))
		return -ENOSPC;
	if (!len)
		return 0;

	at = head & (r->size - 1);
	first = min(len, r->size - at);
	memcpy(r->buf + at, data, first);
	memcpy(r->buf, data + first, len - first);

	/* Pairs with the acquire of head: the bytes come before it. */
	smp_store_release(&r->head, head + len);
	return 0;
}

/**
 * ftkvm_ring_peek() - copy bytes out, leaving them in the ring
 * @r: the ring
 * @off: offset of the first, from the log's beginning
 * @data: where they go
 * @len: how many at most
 *
 * Context: Any; lock-free. Bytes from @off on must not be released meanwhile.
 * Return: bytes copied; 0 when @off is not in the ring.
 */
u32 ftkvm_ring_peek(const struct ftkvm_ring *r, u64 off, void *data, u32 len)
{
	/* Pair with the releases of tail and head: see the top. */
	u64 tail = smp_load_acquire(&r->tail);
	u64 head = smp_load_acquire(&r->head);	/* as above */
	u32 at, first;

	if (off < tail || off >= head)
		return 0;

	len = min_t(u64, len, head - off);
	at = off & (r->size - 1);
	first = min(len, r->size - at);
	memcpy(data, r->buf + at, first);
	memcpy(data + first, r->buf, len - first);
	return len;
}

/**
 * ftkvm_ring_release() - give bytes at the tail back to the producer
 * @r: the ring
 * @len: how many; of more than there are, all are released
 *
 * Context: Any; lock-free; one consumer at a time.
 */
void ftkvm_ring_release(struct ftkvm_ring *r, u32 len)
{
	len = min(len, ftkvm_ring_used(r));

	/* Pairs with the acquire of tail: the bytes have been read before it. */
	smp_store_release(&r->tail, r->tail + len);
}

/**
 * ftkvm_flow_may_send() - how much may be sent now?
 * @f: the log's progress
 * @avail: bytes that wait behind what was sent
 *
 * Context: Any.
 * Return: how many of @avail the peer has room for.
 */
u32 ftkvm_flow_may_send(const struct ftkvm_flow *f, u32 avail)
{
	u64 under_way = READ_ONCE(f->sent) - READ_ONCE(f->consumed);
	u32 window = READ_ONCE(f->window);

	if (under_way >= window)
		return 0;
	return min_t(u64, avail, window - under_way);
}

/**
 * ftkvm_flow_ack() - take an ACK frame
 * @f: the log's progress; unchanged on failure
 * @received: log bytes that the peer says it holds
 * @consumed: log bytes that the peer says its guest is past
 * @epoch: epochs that the peer says its guest has completed
 *
 * Context: Any; one caller at a time.
 * Return: 0, or -EBADMSG when it runs backwards, ahead of what was sent, or
 * @consumed ahead of @received.
 */
int ftkvm_flow_ack(struct ftkvm_flow *f, u64 received, u64 consumed, u64 epoch)
{
	if (received < f->received || consumed < f->consumed || epoch < f->epoch)
		return -EBADMSG;
	if (received > READ_ONCE(f->sent) || consumed > received)
		return -EBADMSG;

	WRITE_ONCE(f->received, received);
	WRITE_ONCE(f->consumed, consumed);
	WRITE_ONCE(f->epoch, epoch);
	return 0;
}

/**
 * ftkvm_flow_committed() - may an output leave?
 * @f: the log's progress
 * @off: offset behind the output's record
 *
 * Context: Any.
 * Return: does the peer hold every log byte before @off?
 */
bool ftkvm_flow_committed(const struct ftkvm_flow *f, u64 off)
{
	return READ_ONCE(f->received) >= off;
}
