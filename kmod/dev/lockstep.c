// SPDX-License-Identifier: GPL-2.0
/*
 * Devices of a guest in lockstep. The primary completes a request at an epoch end,
 * and says so in its END record; what the request read went ahead of it, in BULK
 * frames. The backup, landed on that very point, does the same to its guest.
 */
#include <linux/kfifo.h>
#include <linux/preempt.h>
#include <linux/slab.h>
#include "../core/frame.h"
#include "../kvm/hooks.h"
#include "../kvm/replica.h"
#include "../link/link.h"
#include "device.h"
#include "lockstep.h"

/* A mode in which the rings are the vCPU thread's. HALT: they are nobody's. */
static bool mode_locked(enum ftkvm_mode mode)
{
	return mode != FTKVM_MODE_PASS;
}

/* ---- the worker's side ---- */

/**
 * ftkvm_lockstep_kick() - a queue's eventfd was signalled
 * @q: the queue
 *
 * A start looks at the queue by itself; whatever comes from outside the guest's own
 * execution is not to be heard.
 * Context: any but NMI.
 * Return: true: the vCPU thread will see to it, or nobody; false: it is the worker's.
 */
bool ftkvm_lockstep_kick(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);
	bool locked;

	if (!r)
		return false;
	locked = mode_locked(ftkvm_mode(r));
	if (locked && in_task() && current == READ_ONCE(r->thread)) {
		set_bit(FTKVM_DEVQ_KICKED, &q->todo);
		r->dev_kicked = true;
	}
	ftkvm_replica_put(r);
	return locked;
}

/**
 * ftkvm_lockstep_tell() - something happened to a queue: is that the vCPU thread's?
 * @q: the queue
 *
 * Context: any but NMI.
 * Return: true: it will see to it; false: it is the worker's.
 */
bool ftkvm_lockstep_tell(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);
	bool locked;

	if (!r)
		return false;
	locked = mode_locked(ftkvm_mode(r));
	if (locked) {
		if (test_bit(FTKVM_DEVQ_START, &q->todo)) {
			if (ftkvm_mode(r) != FTKVM_MODE_FOLLOW)
				WRITE_ONCE(r->dev_ready, true);
			kvm_vcpu_wake_up(r->vcpu);
			wake_up_all(&r->wq);
		}
	}
	ftkvm_replica_put(r);
	return locked;
}

/**
 * ftkvm_lockstep_solo() - are the rings the worker's?
 * @q: the queue
 *
 * Context: worker; q->lock.
 * Return: whether the guest runs on its own.
 */
bool ftkvm_lockstep_solo(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);
	bool solo = !r || !mode_locked(ftkvm_mode(r));

	if (r)
		ftkvm_replica_put(r);
	return solo;
}

/* Is there nothing to wait for any more: no backup, or no queue? */
static bool lead_over(const struct ftkvm_replica *r, const struct ftkvm_devq *q)
{
	return ftkvm_mode(r) != FTKVM_MODE_LEAD || READ_ONCE(r->detaching) ||
	       !READ_ONCE(q->ready);
}

static bool lead_committed(struct ftkvm_replica *r, u64 off)
{
	unsigned long flags;
	bool ret;

	spin_lock_irqsave(&r->flow_lock, flags);
	ret = ftkvm_flow_committed(&r->flow, off);
	spin_unlock_irqrestore(&r->flow_lock, flags);
	return ret;
}

/**
 * ftkvm_lockstep_may_do() - may the next request be carried out now?
 * @q: the queue
 *
 * A disk's write is an output: the backup must hold the log up to where the guest
 * asked for it. Waits for that.
 * Context: worker; sleeps, as long as the link's time-out at most.
 * Return: whether the request is this host's to carry out.
 */
bool ftkvm_lockstep_may_do(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);
	bool may = true;
	u64 token;

	if (!r)
		return true;
	if (ftkvm_mode(r) == FTKVM_MODE_LEAD) {
		mutex_lock(&q->lock);
		/* whose END is being logged: it comes back then */
		may = q->done < q->logged;
		token = q->token[q->done % FTKVM_VIRTQ_NUM_MAX];
		mutex_unlock(&q->lock);
		if (!may)
			goto out;
		wait_event_idle(r->wq, lead_over(r, q) || lead_committed(r, token));
		may = ftkvm_mode(r) == FTKVM_MODE_LEAD || ftkvm_mode(r) == FTKVM_MODE_PASS;
	} else {
		/* a backup does the same to storage of its own */
		may = ftkvm_mode(r) == FTKVM_MODE_PASS ||
		      (ftkvm_mode(r) == FTKVM_MODE_FOLLOW && !q->dev->shared);
	}
out:
	ftkvm_replica_put(r);
	return may;
}

static bool req_changes(const struct ftkvm_vreq *req)
{
	return req->blk.op != FTKVM_VBLK_IN && req->blk.op != FTKVM_VBLK_GET_ID;
}

/**
 * ftkvm_lockstep_skips() - is the next request not for this replica to carry out?
 * @q: the queue
 * @req: the request
 *
 * What the guest reads comes from the primary; unless it dies before.
 * Context: worker; q->lock.
 * Return: whether it is to be left alone.
 */
bool ftkvm_lockstep_skips(struct ftkvm_devq *q, const struct ftkvm_vreq *req)
{
	struct ftkvm_replica *r;
	bool follows;

	if (req_changes(req))
		return false;
	r = ftkvm_replica_get(q->dev->kvm);
	follows = r && ftkvm_mode(r) == FTKVM_MODE_FOLLOW;
	if (r)
		ftkvm_replica_put(r);
	return follows;
}

/* Data that the backup holds and its guest is not past: room for @len more? */
static bool lead_room(struct ftkvm_replica *r, u32 len)
{
	struct ftkvm_bulk_mark mark;
	unsigned long flags;
	u64 consumed;

	spin_lock_irqsave(&r->flow_lock, flags);
	consumed = r->flow.consumed;
	while (kfifo_peek(&r->bulk_marks, &mark) && mark.off <= consumed) {
		kfifo_skip(&r->bulk_marks);
		r->bulk_held -= mark.len;
	}
	if (r->bulk_held && r->bulk_held + len > FTKVM_LOCKSTEP_HELD / 2) {
		spin_unlock_irqrestore(&r->flow_lock, flags);
		return false;
	}
	r->bulk_held += len;
	spin_unlock_irqrestore(&r->flow_lock, flags);
	return true;
}

static void lead_send(struct ftkvm_replica *r, struct ftkvm_devq *q, u64 seq, u8 status,
		      const void *data, u32 len)
{
	struct ftkvm_bulk b = {
		.dev = q->dev->no,
		.queue = q->nr,
		.status = status,
		.seq = cpu_to_le64(seq),
		.total = cpu_to_le32(len),
	};
	u32 at = 0, n;

	mutex_lock(&r->link_lock);
	do {
		n = min(len - at, FTKVM_BULK_MAX);
		b.off = cpu_to_le32(at);
		if (!r->link || ftkvm_link_send_bulk(r->link, &b, data + at, n))
			break;
		at += n;
	} while (at < len);
	mutex_unlock(&r->link_lock);
}

/* Is a request's outcome more than "done"? Both sides must say the same. */
static bool lead_tells(const struct ftkvm_vreq *req, u8 status)
{
	return status != VIRTIO_BLK_S_OK || ftkvm_vblk_in_len(&req->blk, status);
}

/**
 * ftkvm_lockstep_answer() - a request is carried out: let the backup know how it went
 * @q: the queue
 * @req: the request
 * @status: VIRTIO_BLK_S_*
 *
 * Whether the pairing lives on is not this one's business.
 * Context: worker; sleeps, as long as the link's time-out at most.
 */
void ftkvm_lockstep_answer(struct ftkvm_devq *q, struct ftkvm_vreq *req, u8 status)
{
	u32 len = ftkvm_vblk_in_len(&req->blk, status);
	struct ftkvm_replica *r;

	if (!lead_tells(req, status))
		return;
	r = ftkvm_replica_get(q->dev->kvm);
	if (!r)
		return;
	wait_event_idle(r->wq, lead_over(r, q) || lead_room(r, len));
	if (!lead_over(r, q))
		lead_send(r, q, req->seq, status, req->data, len);
	ftkvm_replica_put(r);
}

/**
 * ftkvm_lockstep_wake() - a queue is no more ready: its worker need not wait
 * @q: the queue
 *
 * Context: process.
 */
void ftkvm_lockstep_wake(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);

	if (!r)
		return;
	wake_up_all(&r->wq);
	ftkvm_replica_put(r);
}

/**
 * ftkvm_lockstep_done() - a request can be completed
 * @q: the queue
 *
 * Context: worker.
 */
void ftkvm_lockstep_done(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);

	if (!r)
		return;
	switch (ftkvm_mode(r)) {
	case FTKVM_MODE_FOLLOW:
		wake_up_all(&r->wq);
		break;
	case FTKVM_MODE_LEAD:
		WRITE_ONCE(r->dev_ready, true);
		kvm_vcpu_wake_up(r->vcpu);
		break;
	default:
		break;
	}
	ftkvm_replica_put(r);
}

/**
 * ftkvm_lockstep_stop() - QEMU has stopped a queue
 * @q: the queue, with no worker at it
 *
 * On the backup that is this host's QEMU: if the guest did it, the log will say when
 * the queue is started anew; if not, the primary's requests go on.
 * Context: process; q->lock.
 * Return: the index where it would go on.
 */
u32 ftkvm_lockstep_stop(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);
	bool follows = r && ftkvm_mode(r) == FTKVM_MODE_FOLLOW;

	if (r)
		ftkvm_replica_put(r);
	if (follows)
		return q->vq.used_idx;
	ftkvm_devq_forget(q);
	return ftkvm_virtq_stop(&q->vq);
}

/* ---- the vCPU thread's side ---- */

/* What was taken follows from the log up to here. */
static void queue_token(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	u64 off = READ_ONCE(r->log.head);

	for (q->logged = max(q->logged, q->fifo->first); q->logged < q->fifo->next; q->logged++)
		q->token[q->logged % FTKVM_VIRTQ_NUM_MAX] = off;
}

/* What the vCPU thread does to a queue goes to the guest's memory, and is noted. */
static void queue_begin(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	mutex_lock(&q->lock);
	q->replica = r;
}

static void queue_end(struct ftkvm_devq *q)
{
	q->replica = NULL;
	mutex_unlock(&q->lock);
}

/**
 * ftkvm_lockstep_kicks() - the guest has kicked: take what it made available
 * @r: the replica
 *
 * Context: vCPU thread, process context, kvm->srcu read-held, behind the exit that
 * kicked.
 */
void ftkvm_lockstep_kicks(struct ftkvm_replica *r)
{
	bool lead = ftkvm_mode(r) == FTKVM_MODE_LEAD;
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	bool any = false;
	s64 no = -1;

	if (likely(!r->dev_kicked))
		return;
	r->dev_kicked = false;
	while ((dev = ftkvm_dev_next(r->kvm, &no))) {
		ftkvm_for_each_devq(q, dev) {
			if (!test_and_clear_bit(FTKVM_DEVQ_KICKED, &q->todo))
				continue;
			queue_begin(r, q);
			q->st.kicks++;
			ftkvm_devq_take(q);
			if (lead)
				queue_token(r, q);
			queue_end(q);
			any = true;
			queue_work(ftkvm_dev_work, &q->work);
		}
		ftkvm_dev_put(dev);
	}
	if (any && lead)
		ftkvm_log_flush(r);
}

static int lead_queue(struct ftkvm_replica *r, struct ftkvm_devq *q, struct ftkvm_input *list,
		      int max)
{
	struct ftkvm_input in = { .vector = q->dev->no, .level = q->nr };
	int n = 0;
	u8 status;

	if (q->ready && test_bit(FTKVM_DEVQ_START, &q->todo) && max) {
		ftkvm_devq_start(q);
		in.kind = FTKVM_INPUT_DEV_START;
		list[n++] = in;
		r->dev_took = true;
	}
	while (n < max && q->fifo->first < q->done && !q->vq.broken) {
		const struct ftkvm_vreq *req = ftkvm_vfifo_find(q->fifo, q->fifo->first);

		status = q->status[q->fifo->first % FTKVM_VIRTQ_NUM_MAX];
		in.kind = FTKVM_INPUT_DEV_OK;
		if (lead_tells(req, status)) {
			in.kind = FTKVM_INPUT_DEV_DONE;
			r->bulk_told += ftkvm_vblk_in_len(&req->blk, status);
		}
		/* what breaks the queue here must break it there */
		if (ftkvm_devq_complete(q, status) == -ENOENT)
			break;
		list[n++] = in;
	}
	if (q->fifo->first < q->done && q->vq.at.num && !q->vq.broken)
		WRITE_ONCE(r->dev_ready, true);
	if (n && in.kind != FTKVM_INPUT_DEV_START) {
		ftkvm_devq_take(q);
		ftkvm_devq_call(q, false);
		r->dev_took = true;
	}
	return n;
}

/**
 * ftkvm_lockstep_lead() - primary, at an epoch end: start queues, complete requests
 * @r: the replica
 * @list: what was done, for the END record
 * @max: room there
 *
 * The interrupts that this raises are inputs as any, and find a place in the same END.
 * Context: vCPU thread, process context, kvm->srcu read-held.
 * Return: how many are in @list.
 */
int ftkvm_lockstep_lead(struct ftkvm_replica *r, struct ftkvm_input *list, int max)
{
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	s64 no = -1;
	int n = 0;

	if (likely(!READ_ONCE(r->dev_ready)))
		return 0;
	WRITE_ONCE(r->dev_ready, false);
	/* pairs with ftkvm_lockstep_tell(), ftkvm_lockstep_done() */
	smp_mb();
	while ((dev = ftkvm_dev_next(r->kvm, &no))) {
		ftkvm_for_each_devq(q, dev) {
			queue_begin(r, q);
			n += lead_queue(r, q, list + n, max - n);
			queue_end(q);
		}
		ftkvm_dev_put(dev);
	}
	return n;
}

/**
 * ftkvm_lockstep_logged() - primary: the END is in the log
 * @r: the replica
 *
 * Once the backup has consumed the log up to here, it has let go of the data. Once it
 * holds it, what was taken at this epoch end may be carried out.
 * Context: vCPU thread; process context, if ftkvm_lockstep_lead() did something.
 */
void ftkvm_lockstep_logged(struct ftkvm_replica *r)
{
	struct ftkvm_bulk_mark mark = { .off = READ_ONCE(r->log.head), .len = r->bulk_told };
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	unsigned long flags;
	s64 no = -1;

	if (likely(!r->dev_took))
		return;
	r->dev_took = false;
	while ((dev = ftkvm_dev_next(r->kvm, &no))) {
		ftkvm_for_each_devq(q, dev) {
			mutex_lock(&q->lock);
			queue_token(r, q);
			mutex_unlock(&q->lock);
			queue_work(ftkvm_dev_work, &q->work);
		}
		ftkvm_dev_put(dev);
	}
	ftkvm_log_flush(r);
	if (!mark.len)
		return;
	spin_lock_irqsave(&r->flow_lock, flags);
	/* no room: it goes along with the next */
	if (kfifo_put(&r->bulk_marks, mark))
		r->bulk_told = 0;
	spin_unlock_irqrestore(&r->flow_lock, flags);
}

/* ---- the backup ---- */

static struct ftkvm_answer *answer_find(struct ftkvm_devq *q, u64 seq)
{
	struct ftkvm_answer *a;

	list_for_each_entry(a, &q->answers, node)
		if (a->seq == seq)
			return a;
	return NULL;
}

static struct ftkvm_answer *answer_take(struct ftkvm_devq *q, u64 seq)
{
	struct ftkvm_dev *dev = q->dev;
	struct ftkvm_answer *a;

	spin_lock(&dev->answer_lock);
	a = answer_find(q, seq);
	if (a && a->got == a->len) {
		list_del(&a->node);
		dev->held -= a->len;
	} else {
		a = NULL;
	}
	spin_unlock(&dev->answer_lock);
	return a;
}

/**
 * ftkvm_answers_drop() - what the primary sent will not be needed
 * @q: the queue
 * @before: of requests before this number
 *
 * Context: process.
 */
void ftkvm_answers_drop(struct ftkvm_devq *q, u64 before)
{
	struct ftkvm_answer *a, *next;
	LIST_HEAD(gone);

	spin_lock(&q->dev->answer_lock);
	list_for_each_entry_safe(a, next, &q->answers, node) {
		if (a->seq >= before)
			continue;
		list_move(&a->node, &gone);
		q->dev->held -= a->len;
	}
	spin_unlock(&q->dev->answer_lock);
	list_for_each_entry_safe(a, next, &gone, node)
		kvfree(a);
}

static int bulk_take(struct ftkvm_devq *q, const struct ftkvm_bulk *b, const void *data, u32 len)
{
	u32 off = le32_to_cpu(b->off), total = le32_to_cpu(b->total);
	u64 seq = le64_to_cpu(b->seq);
	struct ftkvm_dev *dev = q->dev;
	struct ftkvm_answer *a;

	if (!off) {
		if (total > FTKVM_VBLK_BYTES || answer_find(q, seq) ||
		    dev->held + total > FTKVM_LOCKSTEP_HELD)
			return -EBADMSG;
		a = kvmalloc(struct_size(a, data, total), GFP_KERNEL_ACCOUNT);
		if (!a)
			return -ENOMEM;
		a->seq = seq;
		a->len = total;
		a->got = 0;
		a->status = b->status;
		spin_lock(&dev->answer_lock);
		dev->held += total;
		list_add_tail(&a->node, &q->answers);
		spin_unlock(&dev->answer_lock);
	} else {
		/* only this thread adds to it, and none takes one that is not whole */
		spin_lock(&dev->answer_lock);
		a = answer_find(q, seq);
		spin_unlock(&dev->answer_lock);
	}
	if (!a || a->len != total || a->got != off || len > total - off)
		return -EBADMSG;
	memcpy(a->data + off, data, len);
	spin_lock(&dev->answer_lock);
	a->got += len;
	spin_unlock(&dev->answer_lock);
	return 0;
}

/**
 * ftkvm_lockstep_bulk() - a BULK frame came
 * @r: the replica
 * @payload: struct ftkvm_bulk and the data
 * @len: bytes of it
 *
 * Context: receive thread; sleeps.
 * Return: 0 or -errno, which ends the link.
 */
int ftkvm_lockstep_bulk(struct ftkvm_replica *r, const void *payload, u32 len)
{
	const struct ftkvm_bulk *b = payload;
	struct ftkvm_dev *dev;
	int ret = -EBADMSG;

	if (r->role != FTKVM_ROLE_BACKUP)
		return -EBADMSG;
	dev = ftkvm_dev_get(r->kvm, b->dev);
	if (!dev)
		return -EBADMSG;
	if (b->queue < dev->queues)
		ret = bulk_take(&dev->q[b->queue], b, b + 1, len - sizeof(*b));
	ftkvm_dev_put(dev);
	return ret;
}

static bool follow_ready(struct ftkvm_replica *r, const struct ftkvm_input *in)
{
	struct ftkvm_dev *dev = ftkvm_dev_get(r->kvm, in->vector);
	bool ready = dev && in->level < dev->queues && READ_ONCE(dev->q[in->level].ready);

	if (dev)
		ftkvm_dev_put(dev);
	return ready;
}

/*
 * This host's QEMU and ftd may not yet be where the guest is. 0; -EINTR on a signal;
 * -ESTALE: they never came, and the replica has stopped.
 */
static int follow_await(struct ftkvm_replica *r, const struct ftkvm_input *in)
{
	long left;

	if (likely(follow_ready(r, in)))
		return 0;
	kvm_vcpu_srcu_read_unlock(r->vcpu);
	left = wait_event_interruptible_timeout(r->wq, ftkvm_mode(r) != FTKVM_MODE_FOLLOW ||
						READ_ONCE(r->detaching) || follow_ready(r, in),
						msecs_to_jiffies(READ_ONCE(r->timeout_ms)));
	kvm_vcpu_srcu_read_lock(r->vcpu);
	if (left < 0 || READ_ONCE(r->detaching))
		return -EINTR;
	if (ftkvm_mode(r) != FTKVM_MODE_FOLLOW)
		return -ESTALE;
	if (left)
		return 0;
	ftkvm_replica_event(r, FTKVM_EV_DIVERGED, FTKVM_REASON_LOCAL,
			    "device %u, queue %u: not set up on the backup's host: see \"ftctl device\" there",
			    in->vector, in->level);
	return -ESTALE;
}

/* Has this host done to its own disk what the primary says is done? */
static bool follow_carried_out(struct ftkvm_devq *q)
{
	const struct ftkvm_vreq *req;
	bool ret = true;

	if (q->dev->shared)
		return true;
	mutex_lock(&q->lock);
	req = ftkvm_vfifo_find(q->fifo, q->fifo->first);
	if (req && req_changes(req))
		ret = q->done > req->seq;
	mutex_unlock(&q->lock);
	return ret;
}

/* As slow as this host's disk is. 0; -EINTR on a signal, or the mode has changed. */
static int follow_await_disk(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	int ret;

	if (likely(follow_carried_out(q)))
		return 0;
	kvm_vcpu_srcu_read_unlock(r->vcpu);
	ret = wait_event_interruptible(r->wq, follow_carried_out(q) ||
				       ftkvm_mode(r) != FTKVM_MODE_FOLLOW ||
				       READ_ONCE(r->detaching));
	kvm_vcpu_srcu_read_lock(r->vcpu);
	return ret || !follow_carried_out(q) ? -EINTR : 0;
}

/* The primary's disk did it: so must this one. */
static bool follow_agrees(struct ftkvm_replica *r, struct ftkvm_devq *q,
			  const struct ftkvm_vreq *req, u8 status)
{
	if (q->dev->shared || !req_changes(req) || status != VIRTIO_BLK_S_OK ||
	    q->status[req->seq % FTKVM_VIRTQ_NUM_MAX] == VIRTIO_BLK_S_OK)
		return true;
	ftkvm_replica_event(r, FTKVM_EV_DIVERGED, FTKVM_REASON_LOCAL,
			    "the backup's storage of device %s has failed: this replica is of no more use",
			    q->dev->name);
	return false;
}

static int follow_complete(struct ftkvm_replica *r, struct ftkvm_devq *q, bool answered)
{
	struct ftkvm_vreq *req = ftkvm_vfifo_find(q->fifo, q->fifo->first);
	struct ftkvm_answer *a = NULL;
	u8 status = VIRTIO_BLK_S_OK;
	int ret = -ENOENT;

	if (answered && req) {
		a = answer_take(q, req->seq);
		if (a)
			status = a->status;
		if (!a || a->len != ftkvm_vblk_in_len(&req->blk, status)) {
			kvfree(a);
			req = NULL;
		} else {
			memcpy(req->data, a->data, a->len);
		}
	}
	if (req && !follow_agrees(r, q, req, status)) {
		kvfree(a);
		return -ESTALE;
	}
	if (req)
		ret = ftkvm_devq_complete(q, status);
	kvfree(a);
	/* broken: as it is at the primary, in the same memory */
	if (ret && ret != -EPROTO) {
		ftkvm_follow_diverged(r, "device %s, queue %u: the primary completed a request that is none here",
				      q->dev->name, q->nr);
		return -ESTALE;
	}
	q->done = max(q->done, q->fifo->first);
	return 0;
}

static int follow_one(struct ftkvm_replica *r, const struct ftkvm_input *in)
{
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	int ret;

	ret = follow_await(r, in);
	if (ret)
		return ret;
	dev = ftkvm_dev_get(r->kvm, in->vector);
	if (!dev)
		return -EINTR;	/* gone just now: wait for it again */
	q = &dev->q[in->level];
	if (in->kind != FTKVM_INPUT_DEV_START)
		ret = follow_await_disk(r, q);
	if (ret) {
		ftkvm_dev_put(dev);
		return ret;
	}
	queue_begin(r, q);
	if (in->kind == FTKVM_INPUT_DEV_START) {
		ftkvm_devq_start(q);
	} else {
		ret = follow_complete(r, q, in->kind == FTKVM_INPUT_DEV_DONE);
		if (!ret)
			ftkvm_devq_take(q);
	}
	queue_end(q);
	queue_work(ftkvm_dev_work, &q->work);
	ftkvm_dev_put(dev);
	return ret;
}

/**
 * ftkvm_lockstep_follow() - backup, at an epoch end: do what the primary did
 * @r: the replica
 * @rec: the END record
 *
 * Context: vCPU thread, process context, kvm->srcu read-held (dropped in waits).
 * Return: 0; -EINTR on a signal, to be called again; -ESTALE: the replica has stopped.
 */
int ftkvm_lockstep_follow(struct ftkvm_replica *r, const struct ftkvm_rec *rec)
{
	int ret;

	for (; r->dev_applied < rec->end.ninputs; r->dev_applied++) {
		const struct ftkvm_input *in = &rec->end.inputs[r->dev_applied];

		if (!ftkvm_input_of_device(in))
			continue;
		ret = follow_one(r, in);
		if (ret)
			return ret;
	}
	r->dev_applied = 0;
	return 0;
}

/**
 * ftkvm_lockstep_live() - takeover: this replica's devices are the guest's now
 * @r: the replica
 *
 * All that is pending is carried out, again if the primary did; and the guest is told
 * of all that was completed, again if the primary told it.
 * Context: vCPU thread, process context.
 */
void ftkvm_lockstep_live(struct ftkvm_replica *r)
{
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	s64 no = -1;

	r->dev_applied = 0;
	while ((dev = ftkvm_dev_next(r->kvm, &no))) {
		ftkvm_for_each_devq(q, dev) {
			ftkvm_answers_drop(q, U64_MAX);
			set_bit(FTKVM_DEVQ_CALL, &q->todo);
		}
		ftkvm_dev_put(dev);
	}
}
