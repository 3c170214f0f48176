// SPDX-License-Identifier: GPL-2.0
/*
 * The walk through a split virtqueue.
 *
 * The driver may change its memory at any time, and may be hostile. So every
 * field is read once, into memory of ours, before it is looked at; every walk is
 * bounded; and a driver that breaks a rule has a broken queue from then on,
 * which both replicas find at the same place, since they read the same memory.
 */
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/stddef.h>
#include <linux/virtio_byteorder.h>
#include <linux/virtio_ring.h>
#include <asm/barrier.h>

#include "virtq.h"

static u16 le16(__virtio16 val)
{
	return __virtio16_to_cpu(true, val);
}

/**
 * ftkvm_virtq_break() - the driver did wrong
 * @q: the queue
 * @cause: what it did, a text that stays; only the first is kept
 *
 * Context: Any; the queue's lock.
 * Return: -EPROTO, for the caller to hand on.
 */
int ftkvm_virtq_break(struct ftkvm_virtq *q, const char *cause)
{
	if (!q->broken)
		q->broken = cause;
	return -EPROTO;
}

static int virtq_usable(const struct ftkvm_virtq *q)
{
	if (!q->at.num)
		return -EINVAL;
	return q->broken ? -EPROTO : 0;
}

static int virtq_read(struct ftkvm_virtq *q, u64 gpa, void *buf, u32 len, const char *what)
{
	return q->ops->read(q->priv, gpa, buf, len) ? ftkvm_virtq_break(q, what) : 0;
}

static int virtq_write(struct ftkvm_virtq *q, u64 gpa, const void *buf, u32 len,
		       const char *what)
{
	return q->ops->write(q->priv, gpa, buf, len) ? ftkvm_virtq_break(q, what) : 0;
}

static bool wraps(u64 gpa, u64 len)
{
	return gpa + len < gpa;
}

/**
 * ftkvm_virtq_start() - the driver has set a queue up
 * @q: the queue, with @ops and @priv; what it was before is forgotten
 * @at: where it lies
 *
 * Context: Any; the queue's lock.
 * Return: 0; -EINVAL, and the queue is stopped, when @at is nonsense.
 */
int ftkvm_virtq_start(struct ftkvm_virtq *q, const struct ftkvm_virtq_place *at)
{
	ftkvm_virtq_stop(q);
	if (at->num > FTKVM_VIRTQ_NUM_MAX || !is_power_of_2(at->num))
		return -EINVAL;
	if (at->desc % VRING_DESC_ALIGN_SIZE || at->avail % VRING_AVAIL_ALIGN_SIZE ||
	    at->used % VRING_USED_ALIGN_SIZE)
		return -EINVAL;
	if (wraps(at->desc, at->num * sizeof(struct vring_desc)) ||
	    wraps(at->avail, offsetof(struct vring_avail, ring[at->num])) ||
	    wraps(at->used, offsetof(struct vring_used, ring[at->num])))
		return -EINVAL;

	q->at = *at;
	q->avail_idx = at->base;
	q->last_avail = at->base;
	q->used_idx = at->base;
	q->broken = NULL;
	return 0;
}

/**
 * ftkvm_virtq_stop() - the queue is at its end
 * @q: the queue; may be stopped already
 *
 * What is pending was never taken, as far as the driver can see.
 *
 * Context: Any; the queue's lock.
 * Return: the base for another start.
 */
u16 ftkvm_virtq_stop(struct ftkvm_virtq *q)
{
	q->at.num = 0;
	return q->used_idx;
}

/**
 * ftkvm_virtq_rollback() - take everything that was not put again
 * @q: the queue; started
 *
 * Where it stands is what the used ring says: whoever served the queue before may
 * have put more than the base says. And the driver is told to kick.
 *
 * Context: Process; can sleep; the queue's lock.
 * Return: 0; -EPROTO; -EINVAL when it is stopped.
 */
int ftkvm_virtq_rollback(struct ftkvm_virtq *q)
{
	__virtio16 idx, flags = 0;
	int ret = virtq_usable(q);

	if (ret)
		return ret;
	ret = virtq_read(q, q->at.used + offsetof(struct vring_used, idx), &idx, sizeof(idx),
			 "the used ring is not in memory");
	if (ret)
		return ret;
	ret = virtq_write(q, q->at.used + offsetof(struct vring_used, flags), &flags,
			  sizeof(flags), "the used ring can't be written");
	if (ret)
		return ret;
	q->used_idx = le16(idx);
	q->last_avail = q->used_idx;
	q->avail_idx = q->used_idx;
	return 0;
}

static int chain_add(struct ftkvm_virtq *q, struct ftkvm_vchain *c, u64 gpa, u32 len, bool in)
{
	u32 *total = in ? &c->in_len : &c->out_len;

	if (!len)
		return ftkvm_virtq_break(q, "a buffer of no bytes");
	if (wraps(gpa, len))
		return ftkvm_virtq_break(q, "a buffer beyond the last address");
	if (c->nin && !in)
		return ftkvm_virtq_break(q, "a buffer to be read behind one to be written");
	if (c->nout + c->nin >= c->room)
		return ftkvm_virtq_break(q, "a chain of too many buffers");
	if (*total + len < len)
		return ftkvm_virtq_break(q, "a chain of too many bytes");

	*total += len;
	c->seg[c->nout + c->nin].gpa = gpa;
	c->seg[c->nout + c->nin].len = len;
	if (in)
		c->nin++;
	else
		c->nout++;
	return 0;
}

static int chain_walk(struct ftkvm_virtq *q, struct ftkvm_vchain *c)
{
	u32 entries = q->at.num, left = entries, i = c->head;
	u64 table = q->at.desc;
	bool inner = false;
	int ret;

	for (;;) {
		struct vring_desc d;
		u32 len, flags;
		u64 gpa;

		if (i >= entries)
			return ftkvm_virtq_break(q, "a descriptor outside its table");
		if (!left--)
			return ftkvm_virtq_break(q, "a chain that loops");
		ret = virtq_read(q, table + i * sizeof(d), &d, sizeof(d),
				 "a descriptor that is not in memory");
		if (ret)
			return ret;
		gpa = __virtio64_to_cpu(true, d.addr);
		len = __virtio32_to_cpu(true, d.len);
		flags = le16(d.flags);

		if (flags & VRING_DESC_F_INDIRECT) {
			if (!q->at.indirect)
				return ftkvm_virtq_break(q, "an indirect table, not negotiated");
			if (inner)
				return ftkvm_virtq_break(q, "an indirect table in another");
			if (flags & VRING_DESC_F_NEXT)
				return ftkvm_virtq_break(q, "a descriptor behind a table");
			if (!len || len % sizeof(d))
				return ftkvm_virtq_break(q, "an indirect table of a bad length");
			if (wraps(gpa, len))
				return ftkvm_virtq_break(q, "a table beyond the last address");
			inner = true;
			table = gpa;
			entries = len / sizeof(d);
			left = entries;
			i = 0;
			continue;
		}
		ret = chain_add(q, c, gpa, len, flags & VRING_DESC_F_WRITE);
		if (ret || !(flags & VRING_DESC_F_NEXT))
			return ret;
		i = le16(d.next);
	}
}

/* How far the driver is. */
static int virtq_look(struct ftkvm_virtq *q)
{
	__virtio16 val;
	u16 idx;
	int ret;

	ret = virtq_read(q, q->at.avail + offsetof(struct vring_avail, idx), &val, sizeof(val),
			 "the available ring is not in memory");
	if (ret)
		return ret;
	idx = le16(val);
	if ((u16)(idx - q->last_avail) > q->at.num)
		return ftkvm_virtq_break(q, "the available index jumped");
	/* what is pending has its descriptors still */
	if ((u16)(idx - q->used_idx) > q->at.num)
		return ftkvm_virtq_break(q, "more is available than there are descriptors");
	/* what lies before the index is read after it */
	smp_rmb();
	q->avail_idx = idx;
	return 0;
}

/**
 * ftkvm_virtq_next() - take the next chain
 * @q: the queue
 * @c: filled in, but for @seg and @room, which are the caller's
 *
 * Context: Process; can sleep; the queue's lock.
 * Return: 1; 0 when nothing is available, or the queue is stopped; -EPROTO.
 */
int ftkvm_virtq_next(struct ftkvm_virtq *q, struct ftkvm_vchain *c)
{
	__virtio16 head;
	u32 at;
	int ret;

	if (!q->at.num)
		return 0;
	if (q->broken)
		return -EPROTO;
	if (q->last_avail == q->avail_idx) {
		ret = virtq_look(q);
		if (ret)
			return ret;
		if (q->last_avail == q->avail_idx)
			return 0;
	}

	at = q->last_avail & (q->at.num - 1);
	ret = virtq_read(q, q->at.avail + offsetof(struct vring_avail, ring[at]), &head,
			 sizeof(head), "the available ring is not in memory");
	if (ret)
		return ret;
	c->head = le16(head);
	c->nout = 0;
	c->nin = 0;
	c->out_len = 0;
	c->in_len = 0;
	ret = chain_walk(q, c);
	if (ret)
		return ret;
	q->last_avail++;
	return 1;
}

/**
 * ftkvm_virtq_fill() - write a chain into the used ring, where the driver does not look yet
 * @q: the queue
 * @ahead: chains that were filled in since the last ftkvm_virtq_publish()
 * @head: the chain's
 * @len: bytes that were written into it
 *
 * Context: Process; can sleep; the queue's lock.
 * Return: 0; -EPROTO; -EINVAL when no more is pending.
 */
int ftkvm_virtq_fill(struct ftkvm_virtq *q, u16 ahead, u16 head, u32 len)
{
	struct vring_used_elem elem = {
		.id = __cpu_to_virtio32(true, head),
		.len = __cpu_to_virtio32(true, len),
	};
	u32 at = (u16)(q->used_idx + ahead) & (q->at.num - 1);
	int ret = virtq_usable(q);

	if (ret)
		return ret;
	if (ftkvm_virtq_pending(q) <= ahead)
		return -EINVAL;
	return virtq_write(q, q->at.used + offsetof(struct vring_used, ring[at]), &elem,
			   sizeof(elem), "the used ring can't be written");
}

/**
 * ftkvm_virtq_publish() - let the driver have what was filled in
 * @q: the queue
 * @n: how many chains
 *
 * Context: Process; can sleep; the queue's lock.
 * Return: 0; -EPROTO.
 */
int ftkvm_virtq_publish(struct ftkvm_virtq *q, u16 n)
{
	__virtio16 idx = __cpu_to_virtio16(true, q->used_idx + n);
	int ret;

	/* the driver finds what the index covers */
	smp_wmb();
	ret = virtq_write(q, q->at.used + offsetof(struct vring_used, idx), &idx, sizeof(idx),
			  "the used ring can't be written");
	if (!ret)
		q->used_idx += n;
	return ret;
}

/**
 * ftkvm_virtq_put() - give a chain back to the driver
 * @q: the queue
 * @head: the chain's
 * @len: bytes that were written into it
 *
 * Context: Process; can sleep; the queue's lock.
 * Return: 0; -EPROTO; -EINVAL when nothing is pending.
 */
int ftkvm_virtq_put(struct ftkvm_virtq *q, u16 head, u32 len)
{
	return ftkvm_virtq_fill(q, 0, head, len) ?: ftkvm_virtq_publish(q, 1);
}

/**
 * ftkvm_virtq_wants_call() - is the driver to be interrupted for what was put?
 * @q: the queue
 *
 * Context: Process; can sleep; the queue's lock.
 * Return: 1 or 0; -EPROTO; -EINVAL when it is stopped.
 */
int ftkvm_virtq_wants_call(struct ftkvm_virtq *q)
{
	__virtio16 flags;
	int ret = virtq_usable(q);

	if (ret)
		return ret;
	/* A driver that allows calls looks at the used index afterwards: one of both sees. */
	smp_mb();
	ret = virtq_read(q, q->at.avail + offsetof(struct vring_avail, flags), &flags,
			 sizeof(flags), "the available ring is not in memory");
	if (ret)
		return ret;
	return !(le16(flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

/* Between buffers of @total bytes and memory of ours: to @to, or from @from. */
static int vchain_copy(struct ftkvm_virtq *q, const struct ftkvm_vseg *seg, u32 total, u32 off,
		       void *to, const void *from, u32 len)
{
	int ret = virtq_usable(q);
	u32 at = 0, n;

	if (!ret && (off > total || len > total - off))
		ret = -EINVAL;
	for (; !ret && at < len; seg++) {
		if (off >= seg->len) {
			off -= seg->len;
			continue;
		}
		n = min(len - at, seg->len - off);
		ret = to ? virtq_read(q, seg->gpa + off, to + at, n,
				      "a buffer that is not in memory") :
			   virtq_write(q, seg->gpa + off, from + at, n,
				       "a buffer that can't be written");
		at += n;
		off = 0;
	}
	return ret;
}

/**
 * ftkvm_vchain_read() - copy out of the buffers that are to be read
 * @q: the queue
 * @c: the chain
 * @off: of the first byte, as if the buffers were one
 * @buf: where the bytes go
 * @len: how many
 *
 * Context: Process; can sleep; the queue's lock.
 * Return: 0; -EPROTO; -EINVAL for bytes that are not there, or a stopped queue.
 */
int ftkvm_vchain_read(struct ftkvm_virtq *q, const struct ftkvm_vchain *c, u32 off,
		      void *buf, u32 len)
{
	return vchain_copy(q, c->seg, c->out_len, off, buf, NULL, len);
}

/**
 * ftkvm_vchain_write() - copy into the buffers that are to be written
 * @q: the queue
 * @c: the chain
 * @off: of the first byte, as if the buffers were one
 * @buf: the bytes
 * @len: how many
 *
 * Context: Process; can sleep; the queue's lock.
 * Return: 0; -EPROTO; -EINVAL for bytes that are not there, or a stopped queue.
 */
int ftkvm_vchain_write(struct ftkvm_virtq *q, const struct ftkvm_vchain *c, u32 off,
		       const void *buf, u32 len)
{
	return vchain_copy(q, c->seg + c->nout, c->in_len, off, NULL, buf, len);
}
