// SPDX-License-Identifier: GPL-2.0
/*
 * Devices and the replica of their guest: who serves a queue now, and what both
 * replicas do alike. What only one of them does is in primary.c and backup.c.
 */
#include <linux/crc32c.h>
#include <linux/preempt.h>
#include "../fault/fault.h"
#include "../kvm/hooks.h"
#include "../kvm/replica.h"
#include "device.h"
#include "lockstep.h"

/* A mode in which the rings are the vCPU thread's. HALT: they are nobody's. */
static bool mode_locked(enum ftkvm_mode mode)
{
	return mode != FTKVM_MODE_PASS;
}

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
		/* pairs with the change of mode, behind which the worker looks for itself */
		smp_mb__after_atomic();
		locked = mode_locked(ftkvm_mode(r));
	}
	ftkvm_replica_put(r);
	return locked;
}

/**
 * ftkvm_lockstep_tell() - userspace has set up or stopped a queue
 * @q: the queue
 *
 * Context: process.
 */
void ftkvm_lockstep_tell(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);

	if (!r)
		return;
	WRITE_ONCE(r->dev_news, r->dev_news + 1);
	if (test_bit(FTKVM_DEVQ_START, &q->todo) && ftkvm_mode(r) != FTKVM_MODE_FOLLOW)
		/* pairs with ftkvm_lockstep_lead() */
		WRITE_ONCE(r->dev_ready, true);
	kvm_vcpu_wake_up(r->vcpu);
	wake_up_all(&r->wq);
	ftkvm_replica_put(r);
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

/**
 * ftkvm_lockstep_may_do() - may the next request be carried out now?
 * @q: the queue
 *
 * Context: worker.
 * Return: whether the request is this host's to carry out. If not, who changes that brings
 * the worker.
 */
bool ftkvm_lockstep_may_do(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);
	bool may;

	if (!r)
		return true;
	switch (ftkvm_mode(r)) {
	case FTKVM_MODE_LEAD:
		may = ftkvm_lockstep_committed(r, q) || ftkvm_mode(r) == FTKVM_MODE_PASS;
		break;
	case FTKVM_MODE_FOLLOW:
	case FTKVM_MODE_PASS:
		may = true;
		break;
	default:
		may = false;
		break;
	}
	ftkvm_replica_put(r);
	return may;
}

/**
 * ftkvm_lockstep_skips() - is the next request one that this replica waits for?
 * @q: the queue
 * @req: the request
 *
 * What a backup's guest reads comes from the primary; unless that dies before.
 * Context: worker; q->lock.
 * Return: whether it is to be left alone.
 */
bool ftkvm_lockstep_skips(struct ftkvm_devq *q, const struct ftkvm_vreq *req)
{
	struct ftkvm_replica *r;
	bool follows;

	if (ftkvm_req_of_both(q->dev, req))
		return false;
	r = ftkvm_replica_get(q->dev->kvm);
	follows = r && ftkvm_mode(r) == FTKVM_MODE_FOLLOW;
	if (r)
		ftkvm_replica_put(r);
	return follows;
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
	if (ftkvm_mode(r) == FTKVM_MODE_LEAD) {
		/* pairs with ftkvm_lockstep_lead() */
		WRITE_ONCE(r->dev_ready, true);
		kvm_vcpu_wake_up(r->vcpu);
	}
	/* follow_await_disk(), ftkvm_lockstep_drain() */
	wake_up_all(&r->wq);
	ftkvm_replica_put(r);
}

/**
 * ftkvm_lockstep_drain() - QEMU is about to stop a queue of a primary's
 * @q: the queue
 *
 * What the guest has asked for goes to the disk, so that it is on both: the backup can't
 * tell what of it was in time. As QEMU's own disks do at a reset. The guest may go on, and
 * ask for more: that is not waited for, the backup's START does as much as this host did,
 * or more of what the guest was not told of.
 *
 * QEMU may wait for this, with all that it does. Storage that does not answer ends the
 * pairing.
 * Context: process; sleeps, for FTKVM_DISK_HANGS at most.
 */
void ftkvm_lockstep_drain(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = ftkvm_replica_get(q->dev->kvm);
	long left;
	u64 next;

	if (!r)
		return;
	/* what a network loses is nobody's loss */
	if (q->dev->kind == FTKVM_UAPI_DEV_NET) {
		ftkvm_replica_put(r);
		return;
	}
	mutex_lock(&q->lock);
	next = q->fifo->next;
	mutex_unlock(&q->lock);
	left = wait_event_killable_timeout(r->wq, ftkvm_mode(r) != FTKVM_MODE_LEAD ||
					   READ_ONCE(r->gone) || READ_ONCE(r->detaching) ||
					   READ_ONCE(q->done) >= next, FTKVM_DISK_HANGS);
	if (left <= 0)
		ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_LOCAL,
				    "device %s was stopped with requests under way: %s",
				    q->dev->name,
				    left ? "its command was killed" : "its storage does not answer");
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

	if (r && !follows)
		ftkvm_sum_stopped(r, q);
	if (r)
		ftkvm_replica_put(r);
	/* not even begun: nothing was done since QEMU said where it is */
	if (!q->vq.at.num)
		return q->place.base;
	if (follows)
		return q->vq.used_idx;
	ftkvm_devq_forget(q);
	return ftkvm_virtq_stop(&q->vq);
}

/**
 * ftkvm_lockstep_reset() - a pairing begins
 * @r: the replica, with no link
 *
 * Context: process.
 */
void ftkvm_lockstep_reset(struct ftkvm_replica *r)
{
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	s64 no = -1;

	r->dev_kicked = false;
	r->dev_soon = false;
	r->dev_took = false;
	r->dev_turn = -1;
	r->dev_applied = 0;
	r->dev_at = false;
	r->sums = (struct ftkvm_sums) { };
	while ((dev = ftkvm_dev_next(r->kvm, &no))) {
		ftkvm_for_each_devq(q, dev) {
			ftkvm_answers_drop(q, U64_MAX);
			mutex_lock(&q->lock);
			dev->sum.next = 0;
			dev->sum.left = 0;
			q->bulk = (struct ftkvm_bulk_held) { };
			q->awaits = FTKVM_AWAITS_NOTHING;
			/* both count alike, whatever one of them did before */
			q->starts = 0;
			q->logged = 0;
			/* of the time before, which nobody else shared */
			q->host_fault = false;
			clear_bit(FTKVM_DEVQ_KICKED, &q->todo);
			mutex_unlock(&q->lock);
		}
		ftkvm_dev_put(dev);
	}
}

/**
 * ftkvm_lockstep_idle() - is each queue of a guest stopped?
 * @kvm: the guest
 * @why: if not, cause and remedy
 * @size: of @why
 *
 * One that was started, and not stopped, has requests that only this host knows of. Where all
 * are stopped, nothing is left of them but the rings, in memory that the two hosts compare; and
 * what QEMU sets up from then on is started in lockstep, on both hosts at one point.
 *
 * So this is asked when a pairing begins, and by the vCPU thread when nobody but itself may
 * start a queue any more.
 * Context: process.
 * Return: 0; -EBUSY: one is not.
 */
int ftkvm_lockstep_idle(const struct kvm *kvm, char *why, size_t size)
{
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	int ret = 0;
	s64 no = -1;

	while (!ret && (dev = ftkvm_dev_next(kvm, &no))) {
		ftkvm_for_each_devq(q, dev) {
			mutex_lock(&q->lock);
			if (q->vq.at.num)
				ret = -EBUSY;
			mutex_unlock(&q->lock);
		}
		if (ret)
			snprintf(why, size, "device %s is in use by the guest, which runs: it is paired while its QEMU has stopped it",
				 dev->name);
		ftkvm_dev_put(dev);
	}
	return ret;
}

/**
 * ftkvm_devs_start_crc() - what of a guest's devices is not in its memory, as lockstep begins
 * @kvm: the guest
 *
 * Context: vCPU thread, when nobody may start a queue; process context.
 * Return: crc32c over the devices, and over each queue's state, which is none.
 */
u32 ftkvm_devs_start_crc(const struct kvm *kvm)
{
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	u32 n, crc = ftkvm_devs_crc(kvm, &n);
	s64 no = -1;

	while ((dev = ftkvm_dev_next(kvm, &no))) {
		ftkvm_for_each_devq(q, dev) {
			u64 v[4];

			mutex_lock(&q->lock);
			v[0] = q->vq.at.num;
			v[1] = q->vq.at.num ? q->vq.used_idx : 0;
			v[2] = q->fifo->next - q->fifo->first;
			v[3] = q->starts;
			mutex_unlock(&q->lock);
			crc = crc32c(crc, v, sizeof(v));
		}
		ftkvm_dev_put(dev);
	}
	return crc;
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
	bool soon = false;
	s64 no = -1;

	if (likely(!r->dev_kicked))
		return;
	r->dev_kicked = false;
	while ((dev = ftkvm_dev_next(r->kvm, &no))) {
		ftkvm_for_each_devq(q, dev) {
			if (!test_and_clear_bit(FTKVM_DEVQ_KICKED, &q->todo))
				continue;
			ftkvm_fault(FTKVM_FAULT_DEV_KICK);
			ftkvm_devq_begin(q, r);
			q->st.kicks++;
			/* a queue that waits for its start is looked at then */
			if (q->ready && !test_bit(FTKVM_DEVQ_START, &q->todo)) {
				ftkvm_devq_take(q);
				if (lead)
					soon |= ftkvm_lockstep_token(r, q);
			}
			ftkvm_devq_end(q);
			ftkvm_fault(FTKVM_FAULT_DEV_TAKEN);
			/* the primary's comes when it may begin */
			if (!lead)
				queue_work(ftkvm_dev_work, &q->work);
		}
		ftkvm_dev_put(dev);
	}
	r->dev_soon = soon;
}
