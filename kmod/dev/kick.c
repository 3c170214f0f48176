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
	struct ftkvm_dev *dev;
	struct ftkvm_devq *q;
	bool heard = false;

	rcu_read_lock();
	ftkvm_for_each_dev(dev) {
		if (dev->kvm != kvm)
			continue;
		ftkvm_for_each_devq(q, dev)
			heard |= READ_ONCE(q->kick) == ctx;
	}
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

/**
 * ftkvm_lockstep_kicked() - a write has kicked a queue of ours: know others by it
 * @kvm: the guest
 * @gpa: where it wrote
 *
 * Context: vCPU thread, kvm->srcu read-held, behind the write.
 */
void ftkvm_lockstep_kicked(struct kvm *kvm, u64 gpa)
{
	const struct kvm_io_device *dev = NULL;
	const struct kvm_io_bus *bus;
	int i;

	if (likely(READ_ONCE(kick_ops)))
		return;
	bus = kvm_get_bus(kvm, KVM_MMIO_BUS);
	for (i = 0; bus && i < bus->dev_count; i++) {
		if (!kick_covers(&bus->range[i], gpa))
			continue;
		if (dev)
			return;
		dev = bus->range[i].dev;
	}
	if (dev)
		WRITE_ONCE(kick_ops, dev->ops);
}
