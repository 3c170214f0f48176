// SPDX-License-Identifier: GPL-2.0
/*
 * A queue's rings, in the memory of a guest: looked at, answered; its kick heard.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/virtio_ring.h>
#include "../kvm/replica.h"
#include "device.h"
#include "lockstep.h"

/* ---- guest memory; kvm->srcu read-held, in QEMU's mm ---- */

/*
 * Where there is no memory the driver is wrong, and both replicas see it. Where there is
 * some that can't be reached, this host is.
 */
static int guest_fault(struct ftkvm_devq *q, const struct kvm_memory_slot *slot)
{
	q->host_fault |= slot && !(slot->flags & KVM_MEM_READONLY);
	return -EFAULT;
}

static void __user *guest_at(const struct kvm_memory_slot *slot, u64 gpa)
{
	return (void __user *)(slot->userspace_addr + (gpa - gfn_to_gpa(slot->base_gfn)));
}

/* A ring's index, which the guest may be writing: by a copy it could be had in halves. */
static bool guest_is_index(u64 gpa, u32 len)
{
	return len == sizeof(u16) && IS_ALIGNED(gpa, sizeof(u16));
}

static int guest_read_index(struct ftkvm_devq *q, u64 gpa, u16 *index)
{
	struct kvm_memory_slot *slot = gfn_to_memslot(q->dev->kvm, gpa_to_gfn(gpa));

	if (!slot || slot->flags & KVM_MEMSLOT_INVALID ||
	    get_user(*index, (u16 __user *)guest_at(slot, gpa)))
		return guest_fault(q, slot);
	return 0;
}

static int guest_read(void *priv, u64 gpa, void *buf, u32 len)
{
	struct ftkvm_devq *q = priv;
	u32 at = 0, n;

	if (guest_is_index(gpa, len))
		return guest_read_index(q, gpa, buf);
	for (; at < len; at += n) {
		gfn_t gfn = gpa_to_gfn(gpa + at);

		n = min_t(u32, len - at, PAGE_SIZE - offset_in_page(gpa + at));
		if (kvm_read_guest_page(q->dev->kvm, gfn, buf + at, offset_in_page(gpa + at), n))
			return guest_fault(q, gfn_to_memslot(q->dev->kvm, gfn));
	}
	return 0;
}

/*
 * kvm_write_guest() is for vCPU threads, and complains of others: so this notes for
 * itself what a migration has to send again.
 */
static int guest_write(void *priv, u64 gpa, const void *buf, u32 len)
{
	struct ftkvm_devq *q = priv;
	u32 at = 0, n;
	int fault;

	for (; at < len; at += n) {
		gfn_t gfn = gpa_to_gfn(gpa + at);
		struct kvm_memory_slot *slot = gfn_to_memslot(q->dev->kvm, gfn);

		n = min_t(u32, len - at, PAGE_SIZE - offset_in_page(gpa + at));
		if (!slot || (slot->flags & (KVM_MEM_READONLY | KVM_MEMSLOT_INVALID)))
			return guest_fault(q, slot);
		if (guest_is_index(gpa, len))
			fault = put_user(*(const u16 *)buf, (u16 __user *)guest_at(slot, gpa));
		else
			fault = copy_to_user(guest_at(slot, gpa + at), buf + at, n) != 0;
		if (fault)
			return guest_fault(q, slot);
		if (slot->dirty_bitmap)
			set_bit_le(gfn - slot->base_gfn, slot->dirty_bitmap);
	}
	if (q->replica)
		ftkvm_dirty_mark(q->replica, gpa, len);
	return 0;
}

/**
 * ftkvm_devq_can_write() - does a migration find what is written into a VM's memory?
 * @kvm: the VM
 * @why: if not, cause and remedy
 * @size: of @why
 *
 * A dirty ring belongs to a vCPU that runs, which a worker is not.
 * Context: process.
 * Return: whether it does.
 */
bool ftkvm_devq_can_write(const struct kvm *kvm, char *why, size_t size)
{
	if (!kvm->dirty_ring_size)
		return true;
	snprintf(why, size, "the guest's QEMU has a ring for pages that change, and would migrate without what its devices write: start it without dirty-ring-size at -accel kvm");
	return false;
}

static const struct ftkvm_virtq_ops guest_memory = {
	.read = guest_read,
	.write = guest_write,
};

/* ---- rings ---- */

/**
 * ftkvm_devq_init() - a queue that is stopped
 * @q: zeroed
 * @dev: its device
 * @nr: which of its queues
 *
 * Context: process.
 */
void ftkvm_devq_init(struct ftkvm_devq *q, struct ftkvm_dev *dev, u8 nr)
{
	q->dev = dev;
	q->nr = nr;
	q->awaits = FTKVM_AWAITS_NOTHING;
	q->vq.ops = &guest_memory;
	q->vq.priv = q;
	mutex_init(&q->lock);
	spin_lock_init(&q->answer_lock);
	INIT_LIST_HEAD(&q->answers);
	INIT_WORK(&q->work, ftkvm_devq_work);
}

/**
 * ftkvm_devq_begin() - the vCPU thread is at a queue
 * @q: the queue
 * @r: its replica; what is written to the guest's memory is noted there
 *
 * Context: process.
 */
void ftkvm_devq_begin(struct ftkvm_devq *q, struct ftkvm_replica *r)
{
	mutex_lock(&q->lock);
	q->replica = r;
}

/**
 * ftkvm_devq_end() - ... and done with it
 * @q: the queue
 *
 * If this host could not reach the guest's memory, the queue is broken here and not on
 * the other host: the pairing ends.
 * Context: process.
 */
void ftkvm_devq_end(struct ftkvm_devq *q)
{
	struct ftkvm_replica *r = q->replica;
	bool fault = q->host_fault;

	q->replica = NULL;
	q->host_fault = false;
	mutex_unlock(&q->lock);
	if (unlikely(fault))
		ftkvm_replica_event(r, r->role == FTKVM_ROLE_PRIMARY ? FTKVM_EV_UNPAIR :
				    FTKVM_EV_DIVERGED, FTKVM_REASON_LOCAL,
				    "device %s: memory of the guest can't be reached on this host",
				    q->dev->name);
}

/**
 * ftkvm_devq_forget() - what was taken is not pending any more
 * @q: the queue
 *
 * Context: process; q->lock.
 */
void ftkvm_devq_forget(struct ftkvm_devq *q)
{
	ftkvm_vfifo_drop(q->fifo);
	q->dev->sum.pending = false;
	WRITE_ONCE(q->done, q->fifo->first);
}

/**
 * ftkvm_devq_start() - the driver has set the queue up
 * @q: the queue, @ready
 *
 * What was pending is forgotten: it is in the ring still, and taken again.
 * Context: process; q->lock, kvm->srcu read-held, in QEMU's mm.
 */
void ftkvm_devq_start(struct ftkvm_devq *q)
{
	__le16 used;

	ftkvm_devq_forget(q);
	/* both replicas count from here, whatever one of them had taken before */
	q->fifo->first = ++q->starts << 32;
	q->fifo->next = q->fifo->first;
	WRITE_ONCE(q->done, q->fifo->first);
	/* numbers and tokens of a pairing before, or of requests that are gone, say nothing */
	q->logged = q->fifo->first;
	WRITE_ONCE(q->awaits, FTKVM_AWAITS_NOTHING);
	ftkvm_answers_drop(q, q->fifo->first);
	clear_bit(FTKVM_DEVQ_START, &q->todo);
	if (q->dev->kind != FTKVM_UAPI_DEV_NET)
		ftkvm_disk_features(q->dev, q->features);
	else if (q->nr == FTKVM_VNET_RX)
		ftkvm_net_features(q->dev, q->features);
	/* QEMU's idea of it may be old: what the driver sees is what counts */
	if (!guest_read(q, q->place.used + offsetof(struct vring_used, idx), &used, sizeof(used)))
		q->place.base = le16_to_cpu(used);
	if (ftkvm_virtq_start(&q->vq, &q->place))
		return;
	ftkvm_devq_take(q);
}

/**
 * ftkvm_devq_setup() - how QEMU says that the driver has set a queue up
 * @q: the queue, @ready
 * @setup: the same, as hosts compare it
 *
 * Context: process; q->lock.
 */
void ftkvm_devq_setup(const struct ftkvm_devq *q, struct ftkvm_devq_setup *setup)
{
	*setup = (struct ftkvm_devq_setup) {
		.desc = cpu_to_le64(q->place.desc),
		.avail = cpu_to_le64(q->place.avail),
		.used = cpu_to_le64(q->place.used),
		.features = cpu_to_le64(q->features),
		.num = cpu_to_le32(q->place.num),
	};
}

static int devq_take(struct ftkvm_devq *q, struct ftkvm_vreq **req)
{
	bool rx = q->nr == FTKVM_VNET_RX;
	int ret;

	if (q->dev->kind != FTKVM_UAPI_DEV_NET)
		return ftkvm_vfifo_take(q->fifo, &q->vq, &q->dev->disk, req);
	ret = ftkvm_vnet_take(q->fifo, &q->vq, rx, req);
	if (ret == 1 && !rx)
		ftkvm_net_learn(q->dev, *req);
	return ret;
}

/**
 * ftkvm_devq_take() - take what the driver made available
 * @q: the queue
 *
 * Context: process; q->lock, kvm->srcu read-held, in QEMU's mm.
 * Return: whether there was something.
 */
bool ftkvm_devq_take(struct ftkvm_devq *q)
{
	struct ftkvm_vreq *req = NULL;
	bool any = false;
	int ret;

	if (!q->vq.at.num)
		return false;
	do {
		ret = devq_take(q, &req);
		if (ret == 1) {
			any = true;
			q->st.requests++;
		}
		/* both replicas take the same here, so neither may go without */
	} while (ret == 1 || (ret == -ENOMEM && !fatal_signal_pending(current) &&
			      !READ_ONCE(q->dev->removed) &&
			      !schedule_timeout_uninterruptible(1)));
	return any;
}

/**
 * ftkvm_devq_complete() - the oldest request is done: tell the driver
 * @q: the queue
 * @status: how it went
 *
 * Context: process; q->lock, kvm->srcu read-held, in QEMU's mm.
 * Return: 0; -EPROTO: the queue is broken; -ENOENT: there is none, or the queue is
 * stopped.
 */
int ftkvm_devq_complete(struct ftkvm_devq *q, u8 status)
{
	const struct ftkvm_vreq *req = ftkvm_vfifo_find(q->fifo, q->fifo->first);
	struct ftkvm_devq_stats *st = &q->st;

	if (!req || !q->vq.at.num)
		return -ENOENT;
	if (req->kind == FTKVM_VREQ_SUM) {
		ftkvm_sum_complete(q, status);
		return 0;
	}
	if (req->kind != FTKVM_VREQ_BLK) {
		*(req->kind == FTKVM_VREQ_RX ? &st->in_bytes : &st->out_bytes) += req->len;
		st->completed++;
		return ftkvm_vnet_done(q->fifo, &q->vq, q->dev->net.merge);
	}
	switch (req->blk.op) {
	case FTKVM_VBLK_IN:
		st->in_bytes += req->blk.len;
		break;
	case FTKVM_VBLK_OUT:
		st->out_bytes += req->blk.len;
		break;
	case FTKVM_VBLK_FLUSH:
		st->flushes++;
		break;
	}
	if (status)
		st->errors++;
	st->completed++;
	return ftkvm_vfifo_done(q->fifo, &q->vq, status);
}

/**
 * ftkvm_devq_call() - tell the guest that something was completed
 * @q: the queue
 * @always: even if it did not want to be told
 *
 * Context: process; q->lock, kvm->srcu read-held, in QEMU's mm.
 */
void ftkvm_devq_call(struct ftkvm_devq *q, bool always)
{
	if (q->call && q->vq.at.num && (always || ftkvm_virtq_wants_call(&q->vq) == 1))
		eventfd_signal(q->call);
}

/* ---- the kick ---- */

/*
 * The guest's write ends here, on the vCPU's thread: through KVM's ioeventfd, with
 * interrupts off. Or, much later, QEMU's end does.
 */
static int devq_kicked(wait_queue_entry_t *entry, unsigned int mode, int sync, void *key)
{
	struct ftkvm_devq *q = container_of(entry, struct ftkvm_devq, kick_entry);
	__poll_t flags = key_to_poll(key);
	u64 count;

	if (flags & EPOLLIN) {
		eventfd_ctx_do_read(q->kick, &count);
		/* QEMU's own threads signal it, too; those are not the guest */
		if (!ftkvm_lockstep_kick(q)) {
			set_bit(FTKVM_DEVQ_KICKED, &q->todo);
			queue_work(ftkvm_dev_work, &q->work);
		}
	}
	return 0;
}

struct devq_poll {
	poll_table table;
	struct ftkvm_devq *q;
};

static void devq_poll(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	struct ftkvm_devq *q = container_of(table, struct devq_poll, table)->q;

	init_waitqueue_func_entry(&q->kick_entry, devq_kicked);
	add_wait_queue_priority(head, &q->kick_entry);
}

/**
 * ftkvm_devq_listen() - hear the guest's kicks
 * @q: the queue, which hears none
 * @kick_fd: an eventfd of the calling process
 *
 * Context: process; q->lock.
 * Return: 0 or -errno.
 */
int ftkvm_devq_listen(struct ftkvm_devq *q, int kick_fd)
{
	struct devq_poll poll = { .q = q };
	struct file *file = fget(kick_fd);

	if (!file)
		return -EBADF;
	q->kick = eventfd_ctx_fileget(file);
	if (IS_ERR(q->kick)) {
		int ret = PTR_ERR(q->kick);

		q->kick = NULL;
		fput(file);
		return ret;
	}
	WRITE_ONCE(q->kick_gpa, 0);
	init_poll_funcptr(&poll.table, devq_poll);
	vfs_poll(file, &poll.table);
	/* not kept: when QEMU has closed it, that is told here */
	fput(file);
	return 0;
}

/**
 * ftkvm_devq_deafen() - hear no more kicks
 * @q: the queue
 *
 * Context: process; q->lock.
 */
void ftkvm_devq_deafen(struct ftkvm_devq *q)
{
	u64 count;

	if (!q->kick)
		return;
	eventfd_ctx_remove_wait_queue(q->kick, &q->kick_entry, &count);
	eventfd_ctx_put(q->kick);
	q->kick = NULL;
}

/**
 * ftkvm_devq_free() - let go of all that a queue holds
 * @q: the queue; nobody uses it any more
 *
 * Context: process.
 */
void ftkvm_devq_free(struct ftkvm_devq *q)
{
	ftkvm_devq_deafen(q);
	cancel_work_sync(&q->work);
	if (q->call)
		eventfd_ctx_put(q->call);
	if (q->fifo)
		ftkvm_vfifo_drop(q->fifo);
	kvfree(q->fifo);
	ftkvm_answers_drop(q, U64_MAX);
}
