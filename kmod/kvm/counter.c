// SPDX-License-Identifier: GPL-2.0
/*
 * The counter of the guest's progress: an in-kernel perf event that counts in
 * guest mode only and follows the vCPU thread. Its overflow (an NMI) forces
 * an exit; nothing else is made of it, as every exit reads the exact count.
 */
#include <linux/perf_event.h>
#include "../fault/fault.h"
#include "replica.h"
#include "vendor.h"

#define COUNTER_LOOPS	1000	/* to see whether an event counts */
#define COUNTER_TRIES	8

/* AMD64 APM volume 2, 13.2.1; what perf takes them for */
#define COUNTER_BITS	48
#define COUNTER_MASK	GENMASK_ULL(COUNTER_BITS - 1, 0)

static void counter_overflow(struct perf_event *event, struct perf_sample_data *data,
			     struct pt_regs *regs)
{
	unsigned int *overflows = event->overflow_handler_context;

	/* NMI context: the exit is all that was wanted; but see counter_value() */
	WRITE_ONCE(*overflows, *overflows + 1);
}

/*
 * perf's own reading of an event sleeps; with interrupts off on the CPU where
 * the event is active, its count is at hand.
 *
 * An overflow's NMI may come in the midst of perf's update, late as it can be.
 * perf sees to it by comparing the value that the counter was set to last, and
 * the NMI sets it to the very same, with the same period: what was counted
 * before is added twice then, and the next update takes it off again.
 */
static int counter_value(struct perf_event *ev, u64 *count)
{
	unsigned int *overflows = ev->overflow_handler_context;
	unsigned int before;

	lockdep_assert_irqs_disabled();
	if (ev->state != PERF_EVENT_STATE_ACTIVE || ev->oncpu != smp_processor_id())
		return -EBUSY;
	do {
		before = READ_ONCE(*overflows);
		ev->pmu->read(ev);
	} while (before != READ_ONCE(*overflows));
	*count = local64_read(&ev->count);
	return 0;
}

static struct perf_event *counter_create(u32 code, bool guest, unsigned int *overflows)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW,
		.size = sizeof(attr),
		.config = code,
		.sample_period = 1ull << 40,
		.pinned = 1,
		.exclude_host = guest,
		.exclude_guest = !guest,
		.exclude_user = !guest,
	};

	return perf_event_create_kernel_counter(&attr, -1, current, counter_overflow, overflows);
}

/* What the event counts of a loop of the host's; 0 or -errno. */
static int counter_of_loop(struct perf_event *ev, u64 *count)
{
	unsigned long loops = COUNTER_LOOPS;
	u64 before, after = 0;
	int ret;

	local_irq_disable();
	ret = counter_value(ev, &before);
	if (!ret) {
		asm volatile("1: dec %0; jnz 1b" : "+r" (loops) : : "cc");
		ret = counter_value(ev, &after);
	}
	local_irq_enable();
	*count = (after - before) & COUNTER_MASK;
	return ret;
}

/*
 * Does it count what programs do, and the same each time? An event that nothing
 * counts, or one of time or of caches, is no measure of a guest's progress.
 */
static int counter_sane(u32 code)
{
	unsigned int overflows = 0;
	struct perf_event *ev = counter_create(code, false, &overflows);
	u64 count = 0, last;
	int ret, i;

	if (IS_ERR(ev))
		return PTR_ERR(ev);
	ret = counter_of_loop(ev, &last);
	for (i = 0; !ret && i < COUNTER_TRIES; i++) {
		ret = counter_of_loop(ev, &count);
		/* an NMI or SMI may have disturbed one of the two */
		if (count == last)
			break;
		last = count;
	}
	perf_event_release_kernel(ev);
	if (ret)
		return ret;
	if (count < COUNTER_LOOPS)
		return -ENODATA;
	return i < COUNTER_TRIES ? 0 : -EBADMSG;
}

/**
 * ftkvm_counter_probe() - can this host measure a guest's progress by the event?
 * @code: raw PMU event
 *
 * Context: process context, may sleep.
 * Return: 0; -ENODATA: it counts nothing; -EBADMSG: not the same twice; or the
 * error of perf.
 */
int ftkvm_counter_probe(u32 code)
{
	int ret = ftkvm_fault(FTKVM_FAULT_COUNTER_PROBE);
	unsigned int overflows = 0;
	struct perf_event *ev = ret ? ERR_PTR(ret) : counter_create(code, true, &overflows);
	u64 count;

	if (IS_ERR(ev))
		return PTR_ERR(ev);
	local_irq_disable();
	ret = counter_value(ev, &count);
	local_irq_enable();
	perf_event_release_kernel(ev);
	return ret ?: counter_sane(code);
}

/**
 * ftkvm_counter_why() - why an event can't be used, and what can be done
 * @err: what ftkvm_counter_probe() returned
 * @remedy: set
 *
 * Context: any.
 * Return: the cause, to follow "event %#x ".
 */
const char *ftkvm_counter_why(int err, const char **remedy)
{
	switch (err) {
	case -ENODATA:
		*remedy = "use an event of retired instructions (0xc0) or conditional branches (0xd1)";
		return "does not count what programs execute";
	case -EBADMSG:
		*remedy = "use an event of retired instructions (0xc0) or conditional branches (0xd1)";
		return "does not count the same program the same each time";
	case -ENOENT:
	case -EOPNOTSUPP:
		*remedy = "use a host whose CPU and hypervisor offer the AMD core counters";
		return "can't be counted in guest mode: there is no such PMU counter";
	default:
		*remedy = "stop other users of the counters (perf, nmi_watchdog=0)";
		return "can't be counted in guest mode: no PMU counter is free";
	}
}

/**
 * ftkvm_counter_open() - start to count the replica's guest from 0
 * @r: the replica
 *
 * Context: vCPU thread, process context, may sleep.
 * Return: 0 or -errno.
 */
int ftkvm_counter_open(struct ftkvm_replica *r)
{
	int ret = ftkvm_fault(FTKVM_FAULT_COUNTER_OPEN);
	struct perf_event *ev = ret ? ERR_PTR(ret) :
				      counter_create(r->counter_code, true, &r->ctr.overflows);

	if (IS_ERR(ev))
		return PTR_ERR(ev);
	r->ctr.event = ev;
	r->ctr.raw = 0;
	r->ctr.armed = 0;
	return 0;
}

/**
 * ftkvm_counter_close() - stop to count
 * @r: the replica
 *
 * Context: vCPU thread, or nobody else uses the replica any more; may sleep.
 */
void ftkvm_counter_close(struct ftkvm_replica *r)
{
	if (r->ctr.event)
		perf_event_release_kernel(r->ctr.event);
	r->ctr.event = NULL;
}

/* The counter is gone: another user of the PMU, or a CPU going offline. */
static int counter_lost(struct ftkvm_replica *r, int err)
{
	ftkvm_replica_event(r, r->role == FTKVM_ROLE_PRIMARY ? FTKVM_EV_UNPAIR : FTKVM_EV_DIVERGED,
			    FTKVM_REASON_COUNTER,
			    "the PMU counter was lost (error %d): stop other users of it (perf, NMI watchdog)",
			    err);
	return err;
}

/**
 * ftkvm_counter_read() - the guest's event count
 * @r: the replica
 * @count: set on success
 *
 * Context: vCPU thread, interrupts off.
 * Return: 0, or -errno when the counter is lost (the pairing has ended then).
 */
int ftkvm_counter_read(struct ftkvm_replica *r, u64 *count)
{
	u64 val;
	int ret = ftkvm_fault(FTKVM_FAULT_COUNTER_READ) ?: counter_value(r->ctr.event, &val);

	if (ret)
		return counter_lost(r, ret);
	/*
	 * The hardware's bits are limited, and perf can see a wrap that was none when an
	 * overflow comes as the counter is set. Steps are small: only they count.
	 */
	*count = r->now.count + ((val - r->ctr.raw) & COUNTER_MASK);
	r->ctr.raw = val;
	return 0;
}

/*
 * Set the counter to overflow after @left events. It counts in the guest only, so it
 * stands still now and need not be stopped for it, which takes perf several times as
 * long. An overflow whose NMI is still to come is perf's to wait for, by its stop().
 *
 * Wherever an NMI of another counter makes perf update this one meanwhile, what
 * the guest did is counted already, and what perf then makes of the counter's two
 * values is gone with @raw.
 * Return: false: nothing was done.
 */
static bool counter_set(struct ftkvm_replica *r, struct perf_event *ev, u64 left)
{
	struct hw_perf_event *hwc = &ev->hw;

	if (hwc->state || !hwc->event_base ||
	    !(local64_read(&hwc->prev_count) & BIT_ULL(COUNTER_BITS - 1)))
		return false;
	wrmsrl(hwc->event_base, -left & COUNTER_MASK);
	local64_set(&hwc->prev_count, -left);
	hwc->sample_period = left;
	hwc->last_period = left;
	local64_set(&hwc->period_left, left);
	r->ctr.raw = local64_read(&ev->count);
	return true;
}

/**
 * ftkvm_counter_arm() - let the counter overflow at a count
 * @r: the replica
 * @until: the count; must lie ahead of the current one
 *
 * perf_event_period() does the same but sleeps; with interrupts off on the CPU
 * where the event is active its steps can be done here.
 * Context: vCPU thread, interrupts off.
 * Return: 0, or -errno when the counter is lost.
 */
int ftkvm_counter_arm(struct ftkvm_replica *r, u64 until)
{
	struct perf_event *ev = r->ctr.event;
	struct hw_perf_event *hwc;
	u64 left;

	if (ftkvm_fault(FTKVM_FAULT_COUNTER_ARM) || ev->state != PERF_EVENT_STATE_ACTIVE ||
	    ev->oncpu != smp_processor_id())
		return counter_lost(r, -EBUSY);
	hwc = &ev->hw;
	/* perf would stop a counter that overflows too often for a profiler */
	hwc->interrupts = 0;
	if (r->ctr.armed == until && !(hwc->state & PERF_HES_STOPPED))
		return 0;
	left = max(until - r->now.count, 2ull);
	if (!counter_set(r, ev, left)) {
		ev->pmu->stop(ev, PERF_EF_UPDATE);
		hwc->sample_period = left;
		hwc->last_period = left;
		local64_set(&hwc->period_left, left);
		ev->pmu->start(ev, PERF_EF_RELOAD);
	}
	r->ctr.armed = until;
	return 0;
}

/**
 * ftkvm_counter_quiet() - no overflow is wanted any more
 * @r: the replica
 *
 * Context: vCPU thread, or vcpu->mutex held. The counter itself goes at detach.
 */
void ftkvm_counter_quiet(struct ftkvm_replica *r)
{
	struct perf_event *ev = r->ctr.event;
	unsigned long flags;

	if (!ev || current != r->thread)
		return;
	local_irq_save(flags);
	if (ev->state == PERF_EVENT_STATE_ACTIVE && ev->oncpu == smp_processor_id())
		ftkvm_counter_arm(r, r->now.count + (1ull << 40));
	local_irq_restore(flags);
}
