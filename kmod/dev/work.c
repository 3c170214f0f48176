// SPDX-License-Identifier: GPL-2.0
/*
 * A queue's worker: carries requests out. Of a guest that does not run in
 * lockstep it serves the rings as well.
 */
#include <linux/kthread.h>
#include <linux/mmu_context.h>
#include <linux/sched/mm.h>
#include "../kvm/replica.h"
#include "../fault/fault.h"
#include "device.h"
#include "lockstep.h"

struct workqueue_struct *ftkvm_dev_work;

/**
 * ftkvm_devs_poke() - a guest's mode changed: others may have to serve its devices
 * @kvm: the guest
 *
 * Context: any but NMI.
 */
void ftkvm_devs_poke(struct kvm *kvm)
{
	struct ftkvm_devq *q;

	rcu_read_lock();
	ftkvm_for_each_devq_of(q, kvm)
		queue_work(ftkvm_dev_work, &q->work);
	rcu_read_unlock();
}

/*
 * What came to a card before its guest was here is not for it: where that is migrated from, it
 * had these packets.
 */
static void work_start(struct ftkvm_devq *q)
{
	struct ftkvm_dev *dev = q->dev;

	if (dev->kind == FTKVM_UAPI_DEV_NET && q->nr == FTKVM_VNET_RX && !dev->net.up) {
		ftkvm_net_forget(dev);
		dev->net.up = true;
	}
	ftkvm_devq_start(q);
}

/* The rings of a guest that is not in lockstep. Whether something was there. */
static bool work_rings(struct ftkvm_devq *q)
{
	bool any = false, call;
	int srcu;

	mutex_lock(&q->lock);
	/* it may just have gone into lockstep: then they are the vCPU thread's */
	if (!ftkvm_lockstep_solo(q) || !q->ready) {
		mutex_unlock(&q->lock);
		return false;
	}
	srcu = srcu_read_lock(&q->dev->kvm->srcu);
	if (test_bit(FTKVM_DEVQ_START, &q->todo)) {
		work_start(q);
		any = true;
	}
	call = test_and_clear_bit(FTKVM_DEVQ_CALL, &q->todo);
	/* whatever was kicked while it was another's to hear */
	clear_bit(FTKVM_DEVQ_KICKED, &q->todo);
	any |= ftkvm_devq_take(q);
	if (q->fifo->first < q->done) {
		while (q->fifo->first < q->done &&
		       !ftkvm_devq_complete(q, q->status[q->fifo->first % FTKVM_VIRTQ_NUM_MAX]))
			;
		any |= ftkvm_devq_take(q);
		ftkvm_devq_call(q, call);
	} else if (call) {
		ftkvm_devq_call(q, true);
	}
	srcu_read_unlock(&q->dev->kvm->srcu, srcu);
	mutex_unlock(&q->lock);
	return any;
}

/* The next request to carry out, with a reference; NULL: none, or not now. */
static struct ftkvm_vreq *work_next(struct ftkvm_devq *q)
{
	struct ftkvm_vreq *req = NULL;

	if (!ftkvm_lockstep_may_do(q))
		return NULL;
	mutex_lock(&q->lock);
	if ((q->ready || q->drain) && q->vq.at.num)
		req = ftkvm_vfifo_find(q->fifo, q->done);
	if (req && !q->drain && ftkvm_lockstep_skips(q, req))
		req = NULL;
	if (req)
		ftkvm_vreq_get(req);
	mutex_unlock(&q->lock);
	return req;
}

/* @n requests from this one on can be completed. */
static void work_done(struct ftkvm_devq *q, struct ftkvm_vreq *req, u32 n, u8 status)
{
	ftkvm_fault(FTKVM_FAULT_DEV_DONE);
	ftkvm_lockstep_answer(q, req, status);
	mutex_lock(&q->lock);
	/* not, if the queue was started anew meanwhile */
	if (q->done == req->seq && q->fifo->next >= req->seq + n) {
		q->status[req->seq % FTKVM_VIRTQ_NUM_MAX] = status;
		WRITE_ONCE(q->done, q->done + n);
	}
	mutex_unlock(&q->lock);
	ftkvm_lockstep_done(q);
}

static bool work_disk(struct ftkvm_devq *q, struct ftkvm_vreq *req)
{
	u8 status = VIRTIO_BLK_S_IOERR;

	ftkvm_fault(FTKVM_FAULT_DEV_DO);
	if (!READ_ONCE(q->drain) || ftkvm_req_changes(req))
		status = ftkvm_disk_do(q->dev, req);
	/* it waits for what becomes of this replica, and is begun anew if that goes on */
	if (status == FTKVM_DISK_LEFT)
		return false;
	/* only a backup's is told to */
	if (ftkvm_fault(FTKVM_FAULT_DEV_STORE))
		status = VIRTIO_BLK_S_IOERR;
	work_done(q, req, 1, status);
	return true;
}

/* What a queue that starts anew waits for is only what changes the disk. */
static bool work_sum(struct ftkvm_devq *q, struct ftkvm_vreq *req)
{
	u8 status = VIRTIO_BLK_S_IOERR;

	if (!READ_ONCE(q->drain))
		status = ftkvm_sum_do(q->dev, req);
	work_done(q, req, 1, status);
	return true;
}

static bool work_send(struct ftkvm_devq *q, struct ftkvm_vreq *req)
{
	ftkvm_fault(FTKVM_FAULT_NET_SEND);
	ftkvm_net_send(q->dev, req);
	ftkvm_fault(FTKVM_FAULT_NET_SENT);
	work_done(q, req, 1, VIRTIO_BLK_S_OK);
	return true;
}

/*
 * While the guest has room for packets. What finds too little waits for more, as long as
 * some can come: its driver knows how long packets are.
 */
static bool work_receive(struct ftkvm_devq *q, struct ftkvm_vreq *req)
{
	struct ftkvm_net *net = &q->dev->net;
	bool more;
	int len;
	u32 n;

	if (ftkvm_lockstep_crowded(q))
		return false;
	len = net->held ?: ftkvm_net_receive(q->dev);
	net->held = 0;
	if (len <= 0)
		return len < 0;
	ftkvm_fault(FTKVM_FAULT_NET_GOT);
	mutex_lock(&q->lock);
	n = q->done == req->seq ? ftkvm_vnet_fits(q->fifo, req->seq, len, net->merge) : 0;
	more = net->merge && q->fifo->next - q->done < q->vq.at.num;
	mutex_unlock(&q->lock);
	if (!n && more) {
		net->held = len;
		return false;
	}
	if (n && !ftkvm_vnet_arrived(req, net->packet, len))
		work_done(q, req, n, VIRTIO_BLK_S_OK);
	else
		atomic64_inc(&net->lost);
	return true;
}

static bool work_request(struct ftkvm_devq *q)
{
	struct ftkvm_vreq *req = work_next(q);
	bool any = false;

	if (!req)
		return false;
	switch (req->kind) {
	case FTKVM_VREQ_BLK:
		any = work_disk(q, req);
		break;
	case FTKVM_VREQ_SUM:
		any = work_sum(q, req);
		break;
	case FTKVM_VREQ_TX:
		any = work_send(q, req);
		break;
	case FTKVM_VREQ_RX:
		any = work_receive(q, req);
		break;
	}
	ftkvm_vreq_put(req);
	return any;
}

/**
 * ftkvm_dev_over() - is nothing more to be done?
 * @dev: the device
 *
 * A guest that is not to run again asks for nothing.
 *
 * Context: any.
 * Return: true: it is on its way out, or its guest is.
 */
bool ftkvm_dev_over(const struct ftkvm_dev *dev)
{
	return READ_ONCE(dev->removed) || READ_ONCE(dev->kvm->vm_dead);
}

/**
 * ftkvm_devq_work() - the worker
 * @work: the queue's
 *
 * Context: worker; sleeps as long as storage and peer take.
 */
void ftkvm_devq_work(struct work_struct *work)
{
	struct ftkvm_devq *q = container_of(work, struct ftkvm_devq, work);
	struct mm_struct *mm = q->dev->kvm->mm;

	if (ftkvm_dev_over(q->dev) || !mmget_not_zero(mm))
		return;
	kthread_use_mm(mm);
	while (!ftkvm_dev_over(q->dev)) {
		bool any = work_rings(q);

		if (!work_request(q) && !any)
			break;
		cond_resched();
	}
	kthread_unuse_mm(mm);
	mmput(mm);
}
