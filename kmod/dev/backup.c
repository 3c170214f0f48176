// SPDX-License-Identifier: GPL-2.0
/*
 * Devices of a guest in lockstep, the backup's side: does at an epoch end what the
 * primary did there. What requests read, and how they went if not well, came ahead of
 * the END in BULK frames: answers.
 */
#include <linux/slab.h>
#include "../core/frame.h"
#include "../fault/fault.h"
#include "../kvm/hooks.h"
#include "../kvm/replica.h"
#include "device.h"
#include "lockstep.h"

/**
 * struct ftkvm_answer - what comes with a completion
 * @node: in the queue's list, by @seq
 * @seq: the request's number
 * @len: bytes of data
 * @got: how many of them are here
 * @status: how it went
 * @data: what the guest reads
 */
struct ftkvm_answer {
	struct list_head node;
	u64 seq;
	u32 len;
	u32 got;
	u8 status;
	u8 data[];
};

/* ---- answers ---- */

static struct ftkvm_answer *answer_take(struct ftkvm_devq *q, u64 seq)
{
	struct ftkvm_answer *a;

	spin_lock(&q->answer_lock);
	a = list_first_entry_or_null(&q->answers, struct ftkvm_answer, node);
	if (a && a->seq == seq && a->got == a->len) {
		list_del(&a->node);
		q->answer_bytes -= a->len + FTKVM_ANSWER_COST;
	} else {
		a = NULL;
	}
	spin_unlock(&q->answer_lock);
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

	spin_lock(&q->answer_lock);
	list_for_each_entry_safe(a, next, &q->answers, node) {
		if (a->seq >= before)
			break;
		list_move(&a->node, &gone);
		q->answer_bytes -= a->len + FTKVM_ANSWER_COST;
	}
	spin_unlock(&q->answer_lock);
	list_for_each_entry_safe(a, next, &gone, node)
		kvfree(a);
}

/* They come in the order of their numbers, each whole before the next begins. */
static int bulk_take(struct ftkvm_devq *q, const struct ftkvm_bulk *b, const void *data, u32 len)
{
	u32 off = le32_to_cpu(b->off), total = le32_to_cpu(b->total);
	struct ftkvm_answer *new = NULL, *a;
	u64 seq = le64_to_cpu(b->seq);
	int ret = -EBADMSG;

	if (!off) {
		if (total > FTKVM_VBLK_BYTES)
			return -EBADMSG;
		new = ftkvm_fault_alloc(ALLOC_ANSWER,
					kvmalloc(struct_size(new, data, total),
						 GFP_KERNEL_ACCOUNT));
		if (!new)
			return -ENOMEM;
		new->seq = seq;
		new->len = total;
		new->got = 0;
		new->status = b->status;
	}
	spin_lock(&q->answer_lock);
	a = list_empty(&q->answers) ? NULL :
	    list_last_entry(&q->answers, struct ftkvm_answer, node);
	if (new && (!a || (a->seq < seq && a->got == a->len)) &&
	    q->answer_bytes + total + FTKVM_ANSWER_COST <= FTKVM_ANSWERS_MAX) {
		list_add_tail(&new->node, &q->answers);
		q->answer_bytes += total + FTKVM_ANSWER_COST;
		a = new;
		new = NULL;
	} else if (new) {
		a = NULL;
	}
	if (a && a->seq == seq && a->len == total && a->got == off && len <= total - off) {
		memcpy(a->data + off, data, len);
		a->got += len;
		ret = 0;
	}
	spin_unlock(&q->answer_lock);
	kvfree(new);
	return ret;
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

/* ---- the vCPU thread ---- */

/* The queue that an input is for, with its device's reference; NULL: not (yet) there. */
static struct ftkvm_devq *follow_queue(struct ftkvm_replica *r, const struct ftkvm_input *in)
{
	struct ftkvm_dev *dev = ftkvm_dev_get(r->kvm, in->vector);

	if (dev && in->level < dev->queues && READ_ONCE(dev->q[in->level].ready))
		return &dev->q[in->level];
	if (dev)
		ftkvm_dev_put(dev);
	return NULL;
}

/* Wait for what others do. 0: something may have changed; -EINTR; -ETIME. */
#define follow_wait(r, cond) ({							\
	struct kvm_vcpu *_v = (r)->vcpu;					\
	long _left;								\
										\
	kvm_vcpu_srcu_read_unlock(_v);						\
	ftkvm_fault(FTKVM_FAULT_DEV_WAIT);					\
	_left = wait_event_interruptible_timeout((r)->wq,			\
			(cond) || ftkvm_mode(r) != FTKVM_MODE_FOLLOW ||		\
			READ_ONCE((r)->detaching),				\
			ftkvm_patience(r));					\
	kvm_vcpu_srcu_read_lock(_v);						\
	_left < 0 || READ_ONCE((r)->detaching) ? -EINTR : _left ? 0 : -ETIME;	\
})

/* Is it so long since this input came to hand? Signals, which end a wait, don't stop that clock. */
static bool follow_late(const struct ftkvm_replica *r, unsigned long limit)
{
	return time_after(jiffies, r->dev_since + limit);
}

/* Wait until userspace has done something with a device. 0, -EINTR, -ESTALE: nothing. */
static int follow_await_news(struct ftkvm_replica *r, const struct ftkvm_input *in, u32 news)
{
	int ret = follow_wait(r, READ_ONCE(r->dev_news) != news);

	if (ret == -EINTR && !follow_late(r, ftkvm_patience(r)))
		return ret;
	if (ret == -EINTR && !READ_ONCE(r->detaching))
		ret = -ETIME;
	/* an orphan has the guest alone: then there is no hurry */
	if (ret == -ETIME && ftkvm_state(r) == FTKVM_STATE_BACKUP)
		ftkvm_replica_event(r, FTKVM_EV_DIVERGED, FTKVM_REASON_LOCAL,
				    "device %u, queue %u: not set up on the backup's host: see \"ftctl device\" there",
				    in->vector, in->level);
	return ftkvm_mode(r) == FTKVM_MODE_FOLLOW ? 0 : -ESTALE;
}

/*
 * This host's QEMU and ftd may not yet be where the guest is. The queue, with its
 * device's reference; or ERR_PTR(): -EINTR, -ESTALE: they never came.
 */
static struct ftkvm_devq *follow_await(struct ftkvm_replica *r, const struct ftkvm_input *in)
{
	int ret;

	do {
		u32 news = READ_ONCE(r->dev_news);
		struct ftkvm_devq *q = follow_queue(r, in);

		if (q)
			return q;
		ret = follow_await_news(r, in, news);
	} while (!ret);
	return ERR_PTR(ret);
}

/* An orphan is all that is left of the guest: what its images are like is nobody's question. */
static bool follow_compares(const struct ftkvm_replica *r)
{
	return ftkvm_state(r) == FTKVM_STATE_BACKUP;
}

/*
 * Until this host's own disk is as far as @seq; for a @sum, unless nobody compares it any
 * more. 0, -EINTR, -ESTALE. The primary's guest waits for it, too, in the end: so not for
 * ever.
 */
static int follow_await_disk(struct ftkvm_replica *r, struct ftkvm_devq *q, u64 seq, bool sum)
{
	int ret;

	while (READ_ONCE(q->done) < seq) {
		if (ftkvm_mode(r) != FTKVM_MODE_FOLLOW)
			return -ESTALE;
		if (sum && !follow_compares(r))
			return 0;
		ret = follow_wait(r, READ_ONCE(q->done) >= seq);
		/* a stop of the queue may have taken the worker away */
		if (ret)
			queue_work(ftkvm_dev_work, &q->work);
		if (ret && follow_late(r, FTKVM_DISK_HANGS) && ftkvm_state(r) == FTKVM_STATE_BACKUP)
			ftkvm_replica_event(r, FTKVM_EV_DIVERGED, FTKVM_REASON_STORAGE,
					    "the backup's storage of device %s does not answer",
					    q->dev->name);
		if (ret == -EINTR)
			return ret;
	}
	return 0;
}

/*
 * Is the queue set up where the primary's is? QEMU may have been told, and this host's ftd
 * not yet, or be away: then the old one is here still.
 */
static bool follow_is_set_up(struct ftkvm_devq *q)
{
	u64 seq = ftkvm_devq_start_seq(q);
	struct ftkvm_devq_setup ours;
	struct ftkvm_answer *a;
	bool is;

	ftkvm_answers_drop(q, seq);
	mutex_lock(&q->lock);
	ftkvm_devq_setup(q, &ours);
	is = q->ready;
	mutex_unlock(&q->lock);
	spin_lock(&q->answer_lock);
	a = list_first_entry_or_null(&q->answers, struct ftkvm_answer, node);
	is = is && a && a->seq == seq && a->got == sizeof(ours) && a->len == a->got &&
	     !memcmp(a->data, &ours, sizeof(ours));
	spin_unlock(&q->answer_lock);
	return is;
}

static int follow_await_setup(struct ftkvm_replica *r, struct ftkvm_devq *q,
			      const struct ftkvm_input *in)
{
	int ret = 0;

	while (!ret) {
		u32 news = READ_ONCE(r->dev_news);

		if (follow_is_set_up(q))
			break;
		ret = follow_await_news(r, in, news);
	}
	return ret;
}

/* This host's image is not the guest's disk any more. */
static void follow_failed(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	char why[FTKVM_DETAIL_MAX / 2];

	ftkvm_disk_faults(q->dev, why, sizeof(why));
	ftkvm_replica_event(r, FTKVM_EV_DIVERGED, FTKVM_REASON_STORAGE,
			    "the backup's storage of device %s has failed (%s)", q->dev->name,
			    *why ? why : "by a fault that was asked for");
}

static u64 follow_faults(struct ftkvm_devq *q)
{
	char why[FTKVM_DETAIL_MAX / 2];

	return ftkvm_disk_faults(q->dev, why, sizeof(why));
}

/* What was asked for before goes to this host's disk, as it went to the primary's. */
static int follow_start(struct ftkvm_replica *r, struct ftkvm_devq *q,
			const struct ftkvm_input *in)
{
	u64 next;
	int ret;

	ret = follow_await_setup(r, q, in);
	if (ret)
		return ret;
	/* where both hosts share it there is nothing to do: that primary has waited for it */
	if (q->dev->kind != FTKVM_UAPI_DEV_NET && !q->dev->store.shared) {
		mutex_lock(&q->lock);
		next = q->fifo->next;
		/* once: a signal brings us here again */
		if (!q->drain)
			q->drain_faults = follow_faults(q);
		q->drain = true;
		mutex_unlock(&q->lock);
		queue_work(ftkvm_dev_work, &q->work);
		ret = follow_await_disk(r, q, next, false);
		if (!ret && follow_faults(q) != q->drain_faults) {
			follow_failed(r, q);
			ret = -ESTALE;
		}
	}
	ftkvm_devq_begin(q, r);
	if (!ret) {
		q->drain = false;
		ftkvm_devq_start(q);
	}
	ftkvm_devq_end(q);
	/* what was taken from the new ring; nobody kicks for it again */
	queue_work(ftkvm_dev_work, &q->work);
	return ret;
}

/* The request that is completed next; what the queue was deaf for is taken now. */
static struct ftkvm_vreq *follow_oldest(struct ftkvm_devq *q)
{
	struct ftkvm_vreq *req = ftkvm_vfifo_find(q->fifo, q->fifo->first);

	if (req || !ftkvm_devq_take(q))
		return req;
	queue_work(ftkvm_dev_work, &q->work);
	return ftkvm_vfifo_find(q->fifo, q->fifo->first);
}

/* As with a FIFO: neither replica goes without. -ESTALE when it is not to go on at all. */
static int follow_arrived(struct ftkvm_vreq *req, const struct ftkvm_answer *a)
{
	while (ftkvm_vnet_arrived(req, a->data, a->len)) {
		if (fatal_signal_pending(current))
			return -ESTALE;
		schedule_timeout_uninterruptible(1);
	}
	return 0;
}

/* What the primary says of a request that is done. 0, -ESTALE: that is none. */
static int follow_answer(struct ftkvm_replica *r, struct ftkvm_devq *q, struct ftkvm_vreq *req,
			 const struct ftkvm_answer *a, bool both)
{
	if (req->kind == FTKVM_VREQ_RX) {
		/* it may have been deaf for the buffers that a packet in parts needs */
		if (!ftkvm_vnet_fits(q->fifo, req->seq, a->len, q->dev->net.merge))
			ftkvm_devq_take(q);
		return follow_arrived(req, a);
	}
	if (a->len != ftkvm_lockstep_bytes(req, a->status))
		return -ESTALE;
	if (req->kind == FTKVM_VREQ_SUM)
		return a->len && both ? ftkvm_sum_follow(r, q, req, a->data, a->len) : 0;
	memcpy(req->data, a->data, a->len);
	return 0;
}

/* -ESTALE: it is not as at the primary. */
static int follow_finish(struct ftkvm_replica *r, struct ftkvm_devq *q, struct ftkvm_vreq *req,
			 bool answered)
{
	bool broken = q->vq.broken, both = ftkvm_req_of_both(q->dev, req);
	struct ftkvm_answer *a = NULL;
	u8 status = VIRTIO_BLK_S_OK;
	int ret;

	/* asked once: the primary may die meanwhile; if it had, nobody has waited for the disk */
	if (req->kind == FTKVM_VREQ_SUM)
		both = both && q->done > req->seq && follow_compares(r);
	if (answered) {
		a = answer_take(q, req->seq);
		if (!a)
			return -ESTALE;
		status = a->status;
		ret = follow_answer(r, q, req, a, both);
		kvfree(a);
		if (ret)
			return ret;
	}
	if (both && status == VIRTIO_BLK_S_OK &&
	    q->status[req->seq % FTKVM_VIRTQ_NUM_MAX] != VIRTIO_BLK_S_OK) {
		follow_failed(r, q);
		return -ESTALE;
	}
	ftkvm_fault(FTKVM_FAULT_DEV_COMPLETE);
	ret = ftkvm_devq_complete(q, status);
	ftkvm_fault(FTKVM_FAULT_DEV_COMPLETED);
	WRITE_ONCE(q->done, max(q->done, q->fifo->first));
	/* broken: by what the guest did, in memory that is the primary's, too */
	return !ret || (ret == -EPROTO && !broken) ? 0 : -ESTALE;
}

/* @last: no more completions of this queue follow in the same END. */
static int follow_complete(struct ftkvm_replica *r, struct ftkvm_devq *q, bool answered,
			   bool last)
{
	struct ftkvm_vreq *req;
	u64 seq = 0, wait = 0;
	int ret = -ESTALE;
	bool sum = false;

	ftkvm_devq_begin(q, r);
	req = follow_oldest(q);
	if (req)
		seq = req->seq;
	if (req && ftkvm_req_of_both(q->dev, req))
		wait = seq + 1;
	if (req)
		sum = req->kind == FTKVM_VREQ_SUM;
	ftkvm_devq_end(q);
	if (req) {
		ret = follow_await_disk(r, q, wait, sum);
		if (ret)
			return ret;
		ftkvm_devq_begin(q, r);
		/* whoever stops a queue of a replica that has stopped takes its requests away */
		req = ftkvm_mode(r) == FTKVM_MODE_FOLLOW ? ftkvm_vfifo_find(q->fifo, seq) : NULL;
		ret = req ? follow_finish(r, q, req, answered) : -ESTALE;
		if (!ret && last) {
			ftkvm_devq_take(q);
			/* the primary looked here, too: a bad ring shows to both */
			ftkvm_virtq_wants_call(&q->vq);
		}
		ftkvm_devq_end(q);
		queue_work(ftkvm_dev_work, &q->work);
	}
	if (ret == -ESTALE && ftkvm_mode(r) == FTKVM_MODE_FOLLOW)
		ftkvm_follow_diverged(r, "device %s, queue %u: the primary completed a request that is none here",
				      q->dev->name, q->nr);
	return ret;
}

/* As ftkvm_sum_push() did there; if it finds no room, neither does this. */
static int follow_sum(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	ftkvm_devq_begin(q, r);
	ftkvm_sum_push(q);
	ftkvm_devq_end(q);
	queue_work(ftkvm_dev_work, &q->work);
	return ftkvm_mode(r) == FTKVM_MODE_FOLLOW ? 0 : -ESTALE;
}

static bool follow_goes_on(const struct ftkvm_rec *rec, u32 i)
{
	const struct ftkvm_input *in = &rec->end.inputs[i];

	return i + 1 < rec->end.ninputs && in[1].kind != FTKVM_INPUT_DEV_START &&
	       in[1].kind != FTKVM_INPUT_DEV_SUM && ftkvm_input_of_device(&in[1]) &&
	       in[1].vector == in->vector && in[1].level == in->level;
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
	for (; r->dev_applied < rec->end.ninputs; r->dev_applied++) {
		const struct ftkvm_input *in = &rec->end.inputs[r->dev_applied];
		struct ftkvm_devq *q;
		int ret = 0;

		if (!ftkvm_input_of_device(in))
			continue;
		if (!r->dev_at) {
			r->dev_at = true;
			r->dev_since = jiffies;
		}
		q = follow_await(r, in);
		if (IS_ERR(q))
			return PTR_ERR(q);
		if (in->kind == FTKVM_INPUT_DEV_START)
			ret = follow_start(r, q, in);
		else if (in->kind == FTKVM_INPUT_DEV_SUM)
			ret = follow_sum(r, q);
		else
			ret = follow_complete(r, q, in->kind == FTKVM_INPUT_DEV_DONE,
					      !follow_goes_on(rec, r->dev_applied));
		ftkvm_dev_put(q->dev);
		if (ret)
			return ret;
		r->dev_at = false;
		ftkvm_fault(FTKVM_FAULT_DEV_FREED);
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
	r->dev_at = false;
	while ((dev = ftkvm_dev_next(r->kvm, &no))) {
		ftkvm_for_each_devq(q, dev) {
			ftkvm_answers_drop(q, U64_MAX);
			set_bit(FTKVM_DEVQ_CALL, &q->todo);
			mutex_lock(&q->lock);
			/* stopped while the log had it run: it is QEMU's to start now */
			if (!q->ready && q->vq.at.num) {
				ftkvm_devq_forget(q);
				ftkvm_virtq_stop(&q->vq);
			}
			mutex_unlock(&q->lock);
		}
		if (dev->kind == FTKVM_UAPI_DEV_NET) {
			ftkvm_net_forget(dev);
			ftkvm_net_announce(dev);
		}
		ftkvm_dev_put(dev);
	}
}
