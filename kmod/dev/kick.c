// SPDX-License-Identifier: GPL-2.0
/*
 * Kicks, as the vCPU thread sees them: writes to device memory that KVM turns into a
 * signal of an eventfd, which this module hears. Such a write does not wait for output
 * commit, as others do.
 *
 * Nothing leaves the machine by it. All that it causes is that the vCPU thread looks at the
 * ring, behind the instruction, and what it takes there goes into the FIFO with a
 * token: the log's head, behind this write's OUT record. What the worker does of it that
 * shows outside waits for the backup to hold the log up to there
 * (ftkvm_lockstep_committed()). So if the primary dies before the backup has the kick's
 * records, no request of that kick, nor of any behind it, has shown outside; the backup
 * goes live in front of the kick, and its guest kicks for itself, or does something
 * else. If the backup has the OUT and not all of the ENV, it goes live at that exit, and
 * kicks. If it has both, its own FIFO has the requests. What the primary's guest was told
 * meanwhile, of requests that are done, or of packets, is in the log behind the kick, and
 * whatever the guest lets out of that waits as any output does.
 *
 * Whether a write is a kick is told by what is on KVM's bus at its address: nothing but
 * eventfds that our queues listen to. This is asked at the exit, where a wait could begin
 * anew after a signal, and at the write itself, which waits if it is something else. The
 * bus might change in between the second time and KVM's own look at it, by another of
 * QEMU's threads: when it stops a device, whose eventfd nobody but the same device's
 * end in QEMU hears then. Addresses move where the guest moves them, by an instruction of
 * its vCPU.
 */
#include <linux/rculist.h>
#include <kvm/iodev.h>
#include "../kvm/hooks.h"
#include "../kvm/replica.h"
#include "device.h"
#include "layout.h"
#include "lockstep.h"

/*
 * What KVM's eventfds on a bus have in common, and nothing else has. Set at a kick that
 * was heard, by whatever was the only one at its address.
 */
static const struct kvm_io_device_ops *kick_ops;

/* The eventfd that a device on a bus signals; it is one of KVM's. */
static const struct eventfd_ctx *kick_eventfd(const struct kvm_io_device *dev)
{
	return *(struct eventfd_ctx **)((char *)dev - FTKVM_OFF__IOEVENTFD_DEV +
					FTKVM_OFF__IOEVENTFD_EVENTFD);
}

static bool kick_is_heard(const struct kvm *kvm, const struct eventfd_ctx *ctx)
{
	struct ftkvm_devq *q;
	bool heard = false;

	rcu_read_lock();
	ftkvm_for_each_devq_of(q, kvm)
		heard |= READ_ONCE(q->kick) == ctx;
	rcu_read_unlock();
	return heard;
}

/* Of wildcards the length is 0: any write that begins there is theirs. */
static bool kick_covers(const struct kvm_io_range *range, u64 gpa)
{
	return range->addr <= gpa && gpa - range->addr < max(range->len, 1);
}

/**
 * ftkvm_lockstep_is_kick() - is a write to device memory a kick, and nothing else?
 * @kvm: the guest
 * @gpa: where it writes
 *
 * Context: vCPU thread, kvm->srcu read-held.
 * Return: whether all that it can reach in the kernel are queues of ours.
 */
bool ftkvm_lockstep_is_kick(struct kvm *kvm, u64 gpa)
{
	const struct kvm_io_device_ops *ops = READ_ONCE(kick_ops);
	const struct kvm_io_bus *bus;
	bool any = false;
	int i;

	/* so no device of ours was ever kicked */
	if (!ops)
		return false;
	bus = kvm_get_bus(kvm, KVM_MMIO_BUS);
	for (i = 0; bus && i < bus->dev_count; i++) {
		const struct kvm_io_range *range = &bus->range[i];

		if (!kick_covers(range, gpa))
			continue;
		if (range->dev->ops != ops || !kick_is_heard(kvm, kick_eventfd(range->dev)))
			return false;
		any = true;
	}
	return any;
}

/* Where on the bus an eventfd is now, if it is. Addresses move. */
static const struct kvm_io_range *kick_range(struct kvm *kvm, const struct kvm_io_device_ops *ops,
					     const struct eventfd_ctx *ctx)
{
	const struct kvm_io_bus *bus = kvm_get_bus(kvm, KVM_MMIO_BUS);
	int i;

	for (i = 0; bus && i < bus->dev_count; i++)
		if (bus->range[i].dev->ops == ops && kick_eventfd(bus->range[i].dev) == ctx)
			return &bus->range[i];
	return NULL;
}

/**
 * ftkvm_lockstep_is_lost_kick() - is a write a kick of ours that would get to QEMU itself?
 * @kvm: the guest, in lockstep
 * @gpa: where it writes
 *
 * While ftd is away QEMU has put eventfds of its own on the bus, and would see to the ring by
 * itself: what a card is to send it throws away as the link is down, and tells the guest,
 * on this host alone. That must not be. Nobody needs such a kick: whoever starts the queue
 * again looks at its ring, and so does a backup when the primary has.
 *
 * Where several queues are kicked at one address each of them has to be ours still. One that
 * its driver has stopped, and QEMU has told of, is not.
 * Context: vCPU thread, kvm->srcu read-held.
 * Return: whether the write is to go no further.
 */
bool ftkvm_lockstep_is_lost_kick(struct kvm *kvm, u64 gpa)
{
	const struct kvm_io_device_ops *ops = READ_ONCE(kick_ops);
	struct ftkvm_devq *q;
	bool any = false, all = true;

	if (unlikely(!gpa))
		return false;
	rcu_read_lock();
	ftkvm_for_each_devq_of(q, kvm) {
		if (READ_ONCE(q->kick_gpa) != gpa)
			continue;
		any = true;
		all &= READ_ONCE(q->ready) && !kick_range(kvm, ops, READ_ONCE(q->kick));
	}
	rcu_read_unlock();
	return any && all;
}

/* Where each queue is kicked that has been set up. */
static void kick_learn(struct kvm *kvm, const struct kvm_io_device_ops *ops)
{
	struct ftkvm_devq *q;

	rcu_read_lock();
	ftkvm_for_each_devq_of(q, kvm) {
		const struct kvm_io_range *range = kick_range(kvm, ops, READ_ONCE(q->kick));

		if (range)
			WRITE_ONCE(q->kick_gpa, range->addr);
	}
	rcu_read_unlock();
}

/* What is alone at an address where something was heard is one of KVM's eventfds. */
static const struct kvm_io_device_ops *kick_ops_at(struct kvm *kvm, u64 gpa)
{
	const struct kvm_io_bus *bus = kvm_get_bus(kvm, KVM_MMIO_BUS);
	const struct kvm_io_device *dev = NULL;
	int i;

	for (i = 0; bus && i < bus->dev_count; i++) {
		if (!kick_covers(&bus->range[i], gpa))
			continue;
		if (dev)
			return NULL;
		dev = bus->range[i].dev;
	}
	return dev ? dev->ops : NULL;
}

/**
 * ftkvm_lockstep_kicked() - a write has kicked a queue of ours: know others by it
 * @r: the replica
 * @gpa: where it wrote
 *
 * Context: vCPU thread, kvm->srcu read-held, behind the write.
 */
void ftkvm_lockstep_kicked(struct ftkvm_replica *r, u64 gpa)
{
	const struct kvm_io_device_ops *ops = READ_ONCE(kick_ops);
	u32 news = READ_ONCE(r->dev_news) + 1;

	if (likely(ops && r->dev_learned == news))
		return;
	if (!ops)
		ops = kick_ops_at(r->kvm, gpa);
	if (!ops)
		return;
	WRITE_ONCE(kick_ops, ops);
	kick_learn(r->kvm, ops);
	r->dev_learned = news;
}
