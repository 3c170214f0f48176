// SPDX-License-Identifier: GPL-2.0
/*
 * Are both hosts' images of a disk the same? A request that is nobody's goes into the
 * disk's FIFO at a point of the guest's execution, on both replicas: when it is its turn,
 * all that was asked for before is done to the image, and nothing of what comes later. So
 * each worker sums the same piece of the same image, while the guest runs on. What the
 * primary's came to goes to the backup with the completion, as what a request read does,
 * and the backup compares.
 *
 * A piece follows the other until the operator's comparison has gone round the disk once.
 */
#include <linux/sched/signal.h>
#include "../core/dsum.h"
#include "../kvm/replica.h"
#include "device.h"

#define SECTOR	512u

static u64 sum_size(const struct ftkvm_dev *dev)
{
	return dev->disk.sectors * SECTOR;
}

static bool sums_run(const struct ftkvm_replica *r)
{
	return FTKVM_SUMS_PHASE(READ_ONCE(r->sums.state)) == FTKVM_SUMS_RUN;
}

/* The comparison comes to no result; unless there is none any more. */
static __printf(2, 3) void sums_give_up(struct ftkvm_replica *r, const char *fmt, ...)
{
	u32 state;
	va_list args;

	/* the next one begins under this lock, and so does not count as given up */
	spin_lock_irq(&r->lock);
	state = READ_ONCE(r->sums.state);
	if (FTKVM_SUMS_PHASE(state) == FTKVM_SUMS_RUN &&
	    cmpxchg(&r->sums.state, state, FTKVM_SUMS(state, FTKVM_SUMS_IDLE)) == state) {
		va_start(args, fmt);
		vscnprintf(r->sums.why, sizeof(r->sums.why), fmt, args);
		va_end(args);
		r->sums.given_up++;
	}
	spin_unlock_irq(&r->lock);
}

/*
 * Room for a piece: it takes little memory, so what requests hold is not looked at. A
 * guest that always has as much under way as it may would leave no room for it.
 */
static bool sum_room(const struct ftkvm_devq *q)
{
	return q->fifo->next - q->fifo->first < FTKVM_VIRTQ_NUM_MAX;
}

/* ---- both replicas ---- */

/**
 * ftkvm_sum_push() - the next piece is to be summed, behind what was asked before
 * @q: a disk's queue
 *
 * Looks at the ring: a replica that did not hear a kick catches up. What finds no room in
 * the FIFO does so on both replicas.
 * Context: vCPU thread, process context; q->lock, kvm->srcu read-held, in QEMU's mm.
 * Return: whether it is in the FIFO.
 */
bool ftkvm_sum_push(struct ftkvm_devq *q)
{
	const struct ftkvm_vchain none = { };
	struct ftkvm_dev *dev = q->dev;
	struct ftkvm_sum *s = &dev->sum;
	struct ftkvm_vreq *req;
	u32 bytes, len;

	if (dev->kind != FTKVM_UAPI_DEV_BLK || dev->store.shared || !q->vq.at.num)
		return false;
	ftkvm_devq_take(q);
	if (s->pending || q->vq.broken || !sum_room(q))
		return false;
	bytes = ftkvm_dsum_bytes(sum_size(dev), s->next);
	len = ftkvm_dsum_len(bytes);
	/* neither replica goes without */
	while (!(req = ftkvm_vreq_make(&none, FTKVM_VREQ_SUM, len + FTKVM_DSUM_BLOCK))) {
		if (fatal_signal_pending(current))
			return false;
		schedule_timeout_uninterruptible(1);
	}
	req->len = len;
	ftkvm_dsum_begin(req->data, s->next, bytes);
	ftkvm_vfifo_push(q->fifo, req);
	s->pending = true;
	s->counts = true;
	return true;
}

/**
 * ftkvm_sum_do() - sum a piece
 * @dev: the disk
 * @req: the request; the sums go to its data
 *
 * Context: worker; sleeps as long as the storage takes.
 * Return: VIRTIO_BLK_S_*.
 */
u8 ftkvm_sum_do(struct ftkvm_dev *dev, struct ftkvm_vreq *req)
{
	struct ftkvm_dsum *d = req->data;
	void *block = req->data + req->len;
	u32 bytes = le32_to_cpu(d->bytes), at, n;
	u64 from = le64_to_cpu(d->at);

	for (at = 0; at < bytes; at += n) {
		n = min(bytes - at, FTKVM_DSUM_BLOCK);
		if (ftkvm_disk_read(dev, (from + at) / SECTOR, block, n))
			return VIRTIO_BLK_S_IOERR;
		ftkvm_dsum_block(d, at / FTKVM_DSUM_BLOCK, block, n);
		cond_resched();
	}
	return VIRTIO_BLK_S_OK;
}

/**
 * ftkvm_sum_complete() - a piece is summed, and on the backup compared
 * @q: the queue, whose oldest request it is
 * @status: how that went on the primary
 *
 * Context: process; q->lock.
 */
void ftkvm_sum_complete(struct ftkvm_devq *q, u8 status)
{
	const struct ftkvm_vreq *req = ftkvm_vfifo_find(q->fifo, q->fifo->first);
	const struct ftkvm_dsum *d = req->data;
	struct ftkvm_sum *s = &q->dev->sum;
	u32 bytes = le32_to_cpu(d->bytes);
	char why[FTKVM_DETAIL_MAX / 2];

	s->pending = false;
	if (status == VIRTIO_BLK_S_OK) {
		s->next += bytes;
		if (s->next >= sum_size(q->dev))
			s->next = 0;
		if (s->counts)
			s->left -= min_t(u64, s->left, bytes);
		if (q->replica)
			q->replica->sums.bytes += bytes;
	} else if (q->replica && q->replica->role == FTKVM_ROLE_PRIMARY) {
		ftkvm_disk_faults(q->dev, why, sizeof(why));
		sums_give_up(q->replica, "the primary's storage of device %s has failed (%s)",
			     q->dev->name, why);
	}
	ftkvm_vfifo_pop(q->fifo);
}

/* ---- the primary ---- */

/**
 * ftkvm_sum_due() - is the next piece of a disk to be summed?
 * @r: the replica
 * @q: the queue
 *
 * Context: vCPU thread; q->lock.
 * Return: whether it is.
 */
bool ftkvm_sum_due(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	const struct ftkvm_sum *s = &q->dev->sum;

	if (likely(!sums_run(r)) || !s->left)
		return false;
	if (q->vq.broken) {
		sums_give_up(r, "device %s: its driver made %s", q->dev->name, q->vq.broken);
		return false;
	}
	/* what completes next makes room */
	return !s->pending && sum_room(q);
}

/**
 * ftkvm_sum_stopped() - a queue stops: what of its disk is not compared will not be
 * @r: the replica, no backup
 * @q: the queue
 *
 * Context: process; q->lock.
 */
void ftkvm_sum_stopped(struct ftkvm_replica *r, struct ftkvm_devq *q)
{
	if (q->dev->sum.left)
		sums_give_up(r, "device %s was stopped, by its driver or QEMU: again, once it runs",
			     q->dev->name);
}

/**
 * ftkvm_sums_logged() - an END of devices is in the log
 * @r: the replica
 * @state: of the comparison, before it was looked what is left
 * @left: bytes that all disks have still to do
 *
 * Context: vCPU thread.
 */
void ftkvm_sums_logged(struct ftkvm_replica *r, u32 state, u64 left)
{
	if (left || FTKVM_SUMS_PHASE(state) != FTKVM_SUMS_RUN)
		return;
	WRITE_ONCE(r->sums.proof, READ_ONCE(r->log.head));
	cmpxchg(&r->sums.state, state, FTKVM_SUMS(state, FTKVM_SUMS_LOGGED));
}

/* ---- the backup ---- */

/**
 * ftkvm_sum_follow() - compare a piece with the primary's
 * @r: the replica
 * @q: the queue
 * @req: the request, which is done here
 * @theirs: what it came to on the primary
 * @len: bytes of that
 *
 * Context: vCPU thread, process context; q->lock.
 * Return: 0; -ESTALE: they differ, and the replica has stopped.
 */
int ftkvm_sum_follow(struct ftkvm_replica *r, struct ftkvm_devq *q,
		     const struct ftkvm_vreq *req, const void *theirs, u32 len)
{
	u32 bytes;
	u64 at;

	/* that this host's could not be read is the caller's to see */
	if (q->status[req->seq % FTKVM_VIRTQ_NUM_MAX] != VIRTIO_BLK_S_OK)
		return 0;
	switch (ftkvm_dsum_compare(req->data, theirs, len, &at, &bytes)) {
	case FTKVM_DSUM_SAME:
		return 0;
	case FTKVM_DSUM_DIFFERS:
		ftkvm_follow_diverged(r, "device %s: the images differ, first in the %u bytes at %llu",
				      q->dev->name, bytes, at);
		return -ESTALE;
	case FTKVM_DSUM_OTHER:
		break;
	}
	return -ESTALE;
}

/* ---- the operator ---- */

/*
 * Can all of them be compared? Where both hosts share one, there is nothing to compare. How
 * many, or -errno.
 */
static int sums_prepare(struct ftkvm_replica *r, int *shared, char *why, size_t size)
{
	struct ftkvm_dev *dev;
	int n = 0, ret = 0;
	s64 no = -1;

	*shared = 0;
	while (!ret && (dev = ftkvm_dev_next(r->kvm, &no))) {
		struct ftkvm_devq *q = &dev->q[0];

		if (dev->store.shared) {
			++*shared;
		} else if (dev->kind == FTKVM_UAPI_DEV_BLK) {
			mutex_lock(&q->lock);
			if (!q->ready || !q->vq.at.num || q->vq.broken) {
				snprintf(why, size, q->vq.broken ?
					 "device %s is broken by its driver, and can be compared once the guest has started it anew" :
					 "device %s is not started by the guest, and can be compared once it is",
					 dev->name);
				ret = -EAGAIN;
			}
			dev->sum.left = sum_size(dev);
			dev->sum.counts = false;
			mutex_unlock(&q->lock);
			n++;
		}
		ftkvm_dev_put(dev);
	}
	return ret ?: n;
}

/* One that was stopped between the look at it and the beginning was not given up then. */
static void sums_look_again(struct ftkvm_replica *r)
{
	struct ftkvm_dev *dev;
	s64 no = -1;

	while ((dev = ftkvm_dev_next(r->kvm, &no))) {
		struct ftkvm_devq *q = &dev->q[0];

		mutex_lock(&q->lock);
		if (!q->ready)
			ftkvm_sum_stopped(r, q);
		mutex_unlock(&q->lock);
		ftkvm_dev_put(dev);
	}
}

/**
 * ftkvm_sums_begin() - compare all disks with the backup's
 * @r: the replica, the primary; its command lock is held
 * @why: cause and remedy on failure
 * @size: of @why
 *
 * Context: process; sleeps.
 * Return: 0; -EBUSY: that is under way; -ENODEV: there is no disk; -EAGAIN: one does not run.
 */
int ftkvm_sums_begin(struct ftkvm_replica *r, char *why, size_t size)
{
	struct ftkvm_sums *s = &r->sums;
	u32 state = READ_ONCE(s->state);
	int ret, shared;

	if (FTKVM_SUMS_PHASE(state) == FTKVM_SUMS_LOGGED && ftkvm_sums_proven(r)) {
		s->done++;
		state = FTKVM_SUMS(state, FTKVM_SUMS_IDLE);
		WRITE_ONCE(s->state, state);
	}
	if (FTKVM_SUMS_PHASE(state) != FTKVM_SUMS_IDLE) {
		snprintf(why, size, "the disks of guest %s are being compared already", r->name);
		return -EBUSY;
	}
	ret = sums_prepare(r, &shared, why, size);
	if (!ret) {
		snprintf(why, size, shared ?
			 "guest %s has no disk but on storage that both hosts share: there is nothing to compare" :
			 "guest %s has no disk that ftkvm serves: see \"ftctl device\"", r->name);
		return -ENODEV;
	}
	if (ret < 0)
		return ret;
	spin_lock_irq(&r->lock);
	/* behind what was prepared: pairs with ftkvm_lockstep_logged() */
	smp_store_release(&s->state, FTKVM_SUMS(state, FTKVM_SUMS_RUN) + FTKVM_SUMS_NEXT);
	spin_unlock_irq(&r->lock);
	sums_look_again(r);
	/* pairs with ftkvm_lockstep_lead() */
	smp_store_mb(r->dev_ready, true);
	kvm_vcpu_wake_up(r->vcpu);
	return 0;
}

/**
 * ftkvm_sums_end() - compare no more
 * @r: the replica
 *
 * Context: process; sleeps.
 */
void ftkvm_sums_end(struct ftkvm_replica *r)
{
	sums_give_up(r, "it was ended by request");
}

/**
 * ftkvm_sums_proven() - has the backup compared all that was logged?
 * @r: the replica, the primary
 *
 * Context: any but NMI.
 * Return: whether it has.
 */
bool ftkvm_sums_proven(struct ftkvm_replica *r)
{
	return ftkvm_log_proven(r, READ_ONCE(r->sums.proof));
}
