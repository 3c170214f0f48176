// SPDX-License-Identifier: GPL-2.0
/*
 * A device's queues, as userspace sets them up and stops them.
 */
#include <linux/eventfd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include "../netlink/netlink.h"
#include "device.h"
#include "lockstep.h"

/**
 * ftkvm_devq_stop() - a queue stops
 * @q: the queue, which may have stopped already
 *
 * What is pending is in its ring still.
 * Context: process, the device's @cmd held; sleeps.
 * Return: where it would go on.
 */
u32 ftkvm_devq_stop(struct ftkvm_devq *q)
{
	u32 base;

	ftkvm_lockstep_drain(q);
	mutex_lock(&q->lock);
	WRITE_ONCE(q->ready, false);
	clear_bit(FTKVM_DEVQ_START, &q->todo);
	ftkvm_devq_deafen(q);
	if (q->call)
		eventfd_ctx_put(q->call);
	q->call = NULL;
	mutex_unlock(&q->lock);
	/* what it waits for may never come */
	ftkvm_lockstep_tell(q);
	cancel_work_sync(&q->work);
	mutex_lock(&q->lock);
	base = ftkvm_lockstep_stop(q);
	mutex_unlock(&q->lock);
	return base;
}

/* A command's turn at a queue, until queue_done(); another may wait for storage. */
static struct ftkvm_devq *queue_command(const char *name, u32 nr, int *err, char *why,
					size_t size)
{
	struct ftkvm_dev *dev = ftkvm_dev_find(name, why, size);

	*err = -ENOENT;
	if (!dev)
		return NULL;
	if (nr >= dev->queues) {
		snprintf(why, size, "device %s has no queue %u", name, nr);
		*err = -EINVAL;
		goto put;
	}
	*err = mutex_lock_killable(&dev->cmd) ? -EINTR : 0;
	if (!*err && READ_ONCE(dev->removed)) {
		mutex_unlock(&dev->cmd);
		snprintf(why, size, "device %s is being taken away", dev->name);
		*err = -ENOENT;
	}
	if (!*err)
		return &dev->q[nr];
put:
	ftkvm_dev_put(dev);
	return NULL;
}

static void queue_done(struct ftkvm_devq *q)
{
	mutex_unlock(&q->dev->cmd);
	ftkvm_dev_put(q->dev);
}

/*
 * QEMU starts a queue with an eventfd that nobody hears and hands out the guest's later;
 * and when ftd is started again there was none for a while. What was completed
 * meanwhile nobody told the guest: this may be one interrupt too many, and never one
 * too few.
 */
static int queue_call(struct ftkvm_devq *q, int fd)
{
	struct eventfd_ctx *call = fd >= 0 ? eventfd_ctx_fdget(fd) : NULL;

	if (IS_ERR(call))
		return PTR_ERR(call);
	swap(q->call, call);
	if (call)
		eventfd_ctx_put(call);
	if (q->call)
		eventfd_signal(q->call);
	return 0;
}

/* see netlink.h */
int ftkvm_dev_start(const char *name, const struct ftkvm_queue_params *p, char *why, size_t size)
{
	struct ftkvm_virtq_place place = {
		.desc = p->desc, .avail = p->avail, .used = p->used, .num = p->num,
		.base = p->base, .indirect = p->features & BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC),
	};
	struct ftkvm_virtq probe = { };
	struct ftkvm_devq *q;
	int ret;

	if (ftkvm_virtq_start(&probe, &place)) {
		snprintf(why, size, "no queue of %u entries can lie there", p->num);
		return -EINVAL;
	}
	q = queue_command(name, p->queue, &ret, why, size);
	if (!q)
		return ret;
	if (READ_ONCE(q->ready))
		ftkvm_devq_stop(q);
	mutex_lock(&q->lock);
	ret = queue_call(q, p->call_fd) ?: ftkvm_devq_listen(q, p->kick_fd);
	if (!ret) {
		q->place = place;
		q->features = p->features;
		set_bit(FTKVM_DEVQ_START, &q->todo);
		WRITE_ONCE(q->ready, true);
	} else {
		snprintf(why, size, "an eventfd of the queue is none");
	}
	mutex_unlock(&q->lock);
	if (!ret) {
		ftkvm_lockstep_tell(q);
		/* it may be the worker's, or become so */
		queue_work(ftkvm_dev_work, &q->work);
	}
	queue_done(q);
	return ret;
}

/* see netlink.h */
int ftkvm_dev_call(const char *name, u32 queue, int call_fd, char *why, size_t size)
{
	struct ftkvm_devq *q;
	int ret;

	q = queue_command(name, queue, &ret, why, size);
	if (!q)
		return ret;
	mutex_lock(&q->lock);
	ret = queue_call(q, call_fd);
	mutex_unlock(&q->lock);
	if (ret)
		snprintf(why, size, "descriptor %d is no eventfd", call_fd);
	queue_done(q);
	return ret;
}

/* see netlink.h */
int ftkvm_dev_stop(const char *name, u32 queue, u32 *base, char *why, size_t size)
{
	struct ftkvm_devq *q;
	int ret;

	q = queue_command(name, queue, &ret, why, size);
	if (!q)
		return ret;
	if (READ_ONCE(q->ready)) {
		*base = ftkvm_devq_stop(q);
	} else {
		snprintf(why, size, "queue %u of %s does not run", queue, name);
		ret = -EINVAL;
	}
	queue_done(q);
	return ret;
}
