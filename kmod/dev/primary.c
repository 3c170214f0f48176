// SPDX-License-Identifier: GPL-2.0
/*
 * Devices of a guest in lockstep, the primary's side: completes requests at epoch
 * ends, and says so in the END record. What they read goes ahead of it.
 */
#include <linux/slab.h>
#include "../core/frame.h"
#include "../fault/fault.h"
#include "../kvm/hooks.h"
#include "../kvm/replica.h"
#include "../link/link.h"
#include "device.h"
#include "lockstep.h"

/* ---- the worker ---- */

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

/*
 * Does what is done for a request show outside? What is read for the guest does not: it
 * shows when the guest lets something out, behind the END that tells of it.
 */
static bool lead_shows(const struct ftkvm_vreq *req)
{
	return req->kind == FTKVM_VREQ_TX || ftkvm_req_changes(req);
}

/*
 * May the next request be carried out? If not, because the backup does not yet hold what led
 * to it, its acknowledgment brings the worker. q->lock.
 */
static bool lead_next_may(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	u64 token = q->token[q->done % FTKVM_VIRTQ_NUM_MAX];
	const struct ftkvm_vreq *req;
	bool may;

	/* whose END is being logged has no token: the worker is brought then */
	if (q->done >= q->logged)
		return false;
	req = ftkvm_vfifo_find(q->fifo, q->done);
	if (req && !lead_shows(req))
		return true;
	WRITE_ONCE(q->awaits, token);
	/* pairs with ftkvm_lockstep_acked() */
	smp_mb();
	may = lead_committed(r, token);
	if (may)
		WRITE_ONCE(q->awaits, FTKVM_AWAITS_NOTHING);
	return may;
}

/**
 * ftkvm_lockstep_committed() - does the backup hold what led to the next request?
 * @r: the replica
 * @q: the queue
 *
 * A disk's write is an output, and a packet: the backup must hold the log up to where the
 * guest asked for it. If it does not, the worker is queued again when it does. What is read
 * need not wait.
 * Context: worker.
 * Return: whether it does, or need not.
 */
bool ftkvm_lockstep_committed(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	bool may;

	mutex_lock(&q->lock);
	may = lead_next_may(r, q);
	mutex_unlock(&q->lock);
	return may && ftkvm_mode(r) == FTKVM_MODE_LEAD;
}

/**
 * ftkvm_lockstep_acked() - the backup has acknowledged: whose requests waited for that?
 * @r: the replica
 * @received: log bytes that it holds, as r->flow has it
 *
 * Context: receive thread.
 */
void ftkvm_lockstep_acked(struct ftkvm_replica *r, u64 received)
{
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;

	/* pairs with lead_next_may() */
	smp_mb();
	rcu_read_lock();
	ftkvm_for_each_dev(dev) {
		if (dev->kvm != r->kvm)
			continue;
		ftkvm_for_each_devq(q, dev)
			if (READ_ONCE(q->awaits) <= received)
				queue_work(ftkvm_dev_work, &q->work);
	}
	rcu_read_unlock();
}

/*
 * What the backup has to hold is bounded. What it was sent counts until it is past the
 * END that completes the request, or starts the queue anew. What no END has told of yet is
 * bounded by what a queue can hold, and never waits: the vCPU thread, which would log
 * the END, may itself wait for QEMU, and QEMU for this.
 */
static bool bulk_room(struct ftkvm_replica *r, struct ftkvm_devq *q, u32 cost)
{
	struct ftkvm_bulk_held *h = &q->bulk;
	bool ret;

	spin_lock(&q->answer_lock);
	while (h->mark && h->mark_off <= READ_ONCE(r->flow.consumed)) {
		h->sent -= h->mark;
		h->mark = h->told;
		h->mark_off = h->told_off;
		h->told = 0;
	}
	ret = !(h->mark + h->told) || h->sent + cost <= FTKVM_ANSWERS_MAX / 2;
	if (ret)
		h->sent += cost;
	spin_unlock(&q->answer_lock);
	return ret;
}

static void bulk_unsent(struct ftkvm_devq *q, u32 cost)
{
	spin_lock(&q->answer_lock);
	q->bulk.sent -= cost;
	spin_unlock(&q->answer_lock);
}

/* The END that tells of it is logged. Does the worker wait for that? */
static bool bulk_logged(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	struct ftkvm_bulk_held *h = &q->bulk;
	bool crowded;

	spin_lock(&q->answer_lock);
	crowded = h->crowded;
	h->crowded = false;
	h->told += h->fresh;
	h->told_off = READ_ONCE(r->log.head);
	h->fresh = 0;
	if (!h->mark) {
		h->mark = h->told;
		h->mark_off = h->told_off;
		h->told = 0;
	}
	spin_unlock(&q->answer_lock);
	return crowded;
}

static void bulk_send(struct ftkvm_replica *r, struct ftkvm_devq *q, u64 seq, u8 status,
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
	bool sent;

	do {
		n = min(len - at, FTKVM_BULK_MAX);
		b.off = cpu_to_le32(at);
		/* a frame at a time: others have to say something, too */
		mutex_lock(&r->link_lock);
		sent = r->link && !ftkvm_link_send_bulk(r->link, &b, data + at, n);
		mutex_unlock(&r->link_lock);
		at += n;
	} while (sent && at < len);
}

/* Where the guest has put its queue: ahead of the END with the START. */
static void bulk_place(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	struct ftkvm_devq_setup setup;
	u32 cost = sizeof(setup) + FTKVM_ANSWER_COST;
	sigset_t kill, old;

	ftkvm_devq_setup(q, &setup);
	spin_lock(&q->answer_lock);
	q->bulk.sent += cost;
	spin_unlock(&q->answer_lock);
	/* a frame is not to be left in the middle by QEMU's kicks; the link's time-out ends this */
	siginitsetinv(&kill, sigmask(SIGKILL));
	sigprocmask(SIG_BLOCK, &kill, &old);
	bulk_send(r, q, ftkvm_devq_start_seq(q), VIRTIO_BLK_S_OK, &setup, sizeof(setup));
	sigprocmask(SIG_SETMASK, &old, NULL);
}

/* Is a request's outcome more than "done"? */
static bool lead_tells(const struct ftkvm_vreq *req, u8 status)
{
	return status != VIRTIO_BLK_S_OK || ftkvm_lockstep_bytes(req, status);
}

static u32 lead_cost(const struct ftkvm_vreq *req, u8 status)
{
	return ftkvm_lockstep_bytes(req, status) + FTKVM_ANSWER_COST;
}

/**
 * ftkvm_lockstep_answer() - a request is carried out: let the backup know how it went
 * @q: the queue
 * @req: the request
 * @status: VIRTIO_BLK_S_*
 *
 * Whether the pairing lives on is not this one's business.
 * Context: worker; sleeps, until the backup has room, or it or the queue is gone.
 */
void ftkvm_lockstep_answer(struct ftkvm_devq *q, struct ftkvm_vreq *req, u8 status)
{
	u32 cost = lead_cost(req, status);
	struct ftkvm_replica *r;
	bool room = false;

	if (!lead_tells(req, status))
		return;
	r = ftkvm_replica_get(q->dev->kvm);
	if (!r)
		return;
	wait_event_idle(r->wq, lead_over(r, q) || (room = bulk_room(r, q, cost)));
	if (room && !lead_over(r, q))
		bulk_send(r, q, req->seq, status, req->data, cost - FTKVM_ANSWER_COST);
	else if (room)
		bulk_unsent(q, cost);
	ftkvm_fault(FTKVM_FAULT_DEV_ANSWERED);
	ftkvm_replica_put(r);
}

/**
 * ftkvm_lockstep_crowded() - is there too much that no END has told of?
 * @q: the queue
 *
 * What waits for an END is bounded by what a queue can hold; but for packets, which it
 * does not hold before they come.
 * Context: worker.
 * Return: whether the next packet has to wait. The END brings the worker back.
 */
bool ftkvm_lockstep_crowded(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);
	struct ftkvm_bulk_held *h = &q->bulk;
	bool ret;

	if (!r)
		return false;
	spin_lock(&q->answer_lock);
	ret = ftkvm_mode(r) == FTKVM_MODE_LEAD && h->sent - h->mark - h->told >= FTKVM_VFIFO_BYTES;
	h->crowded = ret;
	spin_unlock(&q->answer_lock);
	ftkvm_replica_put(r);
	return ret;
}

/* ---- the vCPU thread ---- */

/**
 * ftkvm_lockstep_token() - what was taken follows from the log up to here
 * @r: the replica
 * @q: the queue
 *
 * Has the worker come if it may begin. If not, the backup's acknowledgment does; behind others
 * that are not done yet, it comes by them, but for packets' room: it may wait for more of that.
 * Context: vCPU thread; q->lock.
 * Return: whether something waits for the backup to hold the log up to here.
 */
bool ftkvm_lockstep_token(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	u64 off = READ_ONCE(r->log.head), from = max(q->logged, q->fifo->first);
	bool first = q->done >= from, shows = false;

	for (q->logged = from; q->logged < q->fifo->next; q->logged++) {
		const struct ftkvm_vreq *req = ftkvm_vfifo_find(q->fifo, q->logged);

		q->token[q->logged % FTKVM_VIRTQ_NUM_MAX] = off;
		first |= req->kind == FTKVM_VREQ_RX;
		shows |= lead_shows(req);
	}
	/* or its mode has just changed, and who looked behind that found nothing yet */
	if (q->logged > from && first &&
	    (lead_next_may(r, q) || ftkvm_mode(r) != FTKVM_MODE_LEAD))
		queue_work(ftkvm_dev_work, &q->work);
	return shows;
}

/* What is due goes to the list; what finds no room there waits for the next epoch end. */
static int lead_queue(struct ftkvm_replica *r, struct ftkvm_devq *q, struct ftkvm_input *list,
		      int max)
{
	struct ftkvm_input in = { .vector = q->dev->no, .level = q->nr };
	int n = 0, completed = 0, sums, ret;
	u8 status;

	if (!q->ready)
		return 0;
	if (max && test_bit(FTKVM_DEVQ_START, &q->todo)) {
		bulk_place(r, q);
		ftkvm_devq_start(q);
		/* the backup drops there what it was sent for the old ones */
		spin_lock(&q->answer_lock);
		q->bulk.fresh = q->bulk.sent - q->bulk.mark - q->bulk.told;
		spin_unlock(&q->answer_lock);
		in.kind = FTKVM_INPUT_DEV_START;
		list[n++] = in;
	}
	max = min(max, n + FTKVM_LOCKSTEP_SHARE);
	/* a busy guest leaves room for it */
	sums = ftkvm_sum_due(r, q);
	while (n < max - sums && q->fifo->first < q->done && !q->vq.broken) {
		const struct ftkvm_vreq *req = ftkvm_vfifo_find(q->fifo, q->fifo->first);

		status = q->status[q->fifo->first % FTKVM_VIRTQ_NUM_MAX];
		in.kind = FTKVM_INPUT_DEV_OK;
		if (lead_tells(req, status)) {
			in.kind = FTKVM_INPUT_DEV_DONE;
			q->bulk.fresh += lead_cost(req, status);
		}
		ftkvm_fault(FTKVM_FAULT_DEV_COMPLETE);
		/* what breaks the queue here must break it there: told in any case */
		ret = ftkvm_devq_complete(q, status);
		ftkvm_fault(FTKVM_FAULT_DEV_COMPLETED);
		if (WARN_ON_ONCE(ret && ret != -EPROTO))
			break;
		list[n++] = in;
		completed++;
	}
	if (completed) {
		ftkvm_devq_take(q);
		/* one that QEMU has to make an interrupt of comes in a later END; or never */
		if (!ftkvm_fault(FTKVM_FAULT_DEV_CALL))
			ftkvm_devq_call(q, false);
	}
	if (ftkvm_sum_due(r, q)) {
		if (n < max) {
			ftkvm_sum_push(q);
			in.kind = FTKVM_INPUT_DEV_SUM;
			list[n++] = in;
		} else {
			WRITE_ONCE(r->dev_ready, true);
		}
	}
	if (q->fifo->first < q->done && !q->vq.broken)
		WRITE_ONCE(r->dev_ready, true);
	return n;
}

/* The devices in turn, from the one that found no room for all it had; once each. */
static struct ftkvm_dev *lead_next(struct ftkvm_replica *r, s64 *no, bool *wrapped)
{
	struct ftkvm_dev *dev = ftkvm_dev_next(r->kvm, no);

	if (!dev && !*wrapped) {
		*wrapped = true;
		*no = -1;
		dev = ftkvm_dev_next(r->kvm, no);
	}
	if (!dev || !*wrapped || dev->no <= r->dev_turn)
		return dev;
	ftkvm_dev_put(dev);
	return NULL;
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
	s64 no = r->dev_turn, last = no;
	bool wrapped = false;
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	int n = 0;

	if (likely(!READ_ONCE(r->dev_ready)))
		return 0;
	WRITE_ONCE(r->dev_ready, false);
	/* pairs with ftkvm_lockstep_tell(), ftkvm_lockstep_done() */
	smp_mb();
	while (n < max && (dev = lead_next(r, &no, &wrapped))) {
		ftkvm_for_each_devq(q, dev) {
			ftkvm_devq_begin(q, r);
			n += lead_queue(r, q, list + n, max - n);
			ftkvm_devq_end(q);
		}
		last = dev->no;
		ftkvm_dev_put(dev);
	}
	/*
	 * Something may be left: it goes on with the device that found no room. Behind it
	 * others that are as busy would come first again and again, and leave no room for
	 * its last queue.
	 */
	if (n == max) {
		r->dev_turn = last - 1;
		WRITE_ONCE(r->dev_ready, true);
	}
	r->dev_took = n;
	return n;
}

/**
 * ftkvm_lockstep_logged() - primary: the END is in the log
 * @r: the replica
 *
 * Once the backup has consumed the log up to here, it has let go of the data. Once it
 * holds it, what was taken at this epoch end may be carried out. Where nothing waits for
 * that, the log goes with the guest's next kick, or when the guest halts, or by the batch.
 * Context: vCPU thread; process context, if ftkvm_lockstep_lead() did something.
 */
void ftkvm_lockstep_logged(struct ftkvm_replica *r)
{
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	u32 sums;
	bool soon = false;
	u64 left = 0;
	s64 no = -1;

	if (likely(!r->dev_took))
		return;
	/* first of all: what is left is that of a comparison that has begun */
	sums = smp_load_acquire(&r->sums.state);
	r->dev_took = false;
	ftkvm_fault(FTKVM_FAULT_DEV_LOGGED);
	while ((dev = ftkvm_dev_next(r->kvm, &no))) {
		ftkvm_for_each_devq(q, dev) {
			mutex_lock(&q->lock);
			soon |= ftkvm_lockstep_token(r, q);
			if (bulk_logged(r, q))
				queue_work(ftkvm_dev_work, &q->work);
			left += dev->sum.left;
			mutex_unlock(&q->lock);
		}
		ftkvm_dev_put(dev);
	}
	ftkvm_sums_logged(r, sums, left);
	if (soon)
		ftkvm_log_send_next(r);
}
