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

/* perf's period: no epoch is as long */
#define COUNTER_FAR	BIT_ULL(44)

/*
 * The exit is all that is wanted of an overflow. perf is told of a period so long that it
 * never sees its end: counter_set().
 */
static void counter_overflow(struct perf_event *event, struct perf_sample_data *data,
			     struct pt_regs *regs)
{
}

/*
 * perf's own reading of an event sleeps; with interrupts off on the CPU where
 * the event is active, its count is at hand: what perf had summed up when it
 * last looked, and what the counter has counted since.
 *
 * Any counter's NMI makes perf look. Where it comes in between, the value that the
 * counter is said to have had then has changed, as this counter has at least once
 * counted, or been set to another, far value.
 */
static __always_inline int counter_value(struct perf_event *ev, u64 *count, u64 *raw)
{
	struct hw_perf_event *hwc = &ev->hw;
	u64 prev;

	lockdep_assert_irqs_disabled();
	if (ev->state != PERF_EVENT_STATE_ACTIVE || ev->oncpu != smp_processor_id())
		return -EBUSY;
	do {
		prev = local64_read(&hwc->prev_count);
		*count = local64_read(&ev->count);
		rdpmcl(hwc->event_base_rdpmc, *raw);
	} while (prev != local64_read(&hwc->prev_count));
	*count += (*raw - prev) & COUNTER_MASK;
	return 0;
}

static struct perf_event *counter_create(u32 code, bool guest)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW,
		.size = sizeof(attr),
		.config = code,
		.sample_period = COUNTER_FAR,
		.pinned = 1,
		.exclude_host = guest,
		.exclude_guest = !guest,
		.exclude_user = !guest,
	};

	return perf_event_create_kernel_counter(&attr, -1, current, counter_overflow, NULL);
}

/* What the event counts of a loop of the host's; 0 or -errno. */
static int counter_of_loop(struct perf_event *ev, u64 *count)
{
	unsigned long loops = COUNTER_LOOPS;
	u64 before, after = 0, raw;
	int ret;

	local_irq_disable();
	ret = counter_value(ev, &before, &raw);
	if (!ret) {
		asm volatile("1: dec %0; jnz 1b" : "+r" (loops) : : "cc");
		ret = counter_value(ev, &after, &raw);
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
	struct perf_event *ev = counter_create(code, false);
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
	struct perf_event *ev = ret ? ERR_PTR(ret) : counter_create(code, true);
	u64 count, raw;

	if (IS_ERR(ev))
		return PTR_ERR(ev);
	local_irq_disable();
	ret = counter_value(ev, &count, &raw);
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
	struct perf_event *ev = ret ? ERR_PTR(ret) : counter_create(r->counter_code, true);

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
	int ret = ftkvm_fault(FTKVM_FAULT_COUNTER_READ) ?:
		  counter_value(r->ctr.event, &val, &r->ctr.hw);

	if (ret)
		return counter_lost(r, ret);
	/*
	 * The hardware's bits are limited, and perf can see a wrap that was none when its
	 * NMI comes as the counter is set. Steps are small: only they count.
	 */
	*count = r->now.count + ((val - r->ctr.raw) & COUNTER_MASK);
	r->ctr.raw = val;
	return 0;
}

/*
 * Set the counter to overflow after @left events. It counts in the guest only, so it
 * stands still now and need not be stopped for it, which takes perf several times as
 * long. What the guest did is counted already: so @raw begins anew, whatever perf makes
 * of the two values if another counter's NMI comes in between.
 *
 * perf's period has not ended when the overflow comes: it accounts for no sample
 * then, never stops the counter for having too many of them, and sets it to what is
 * left of the period.
 */
static void counter_set(struct ftkvm_replica *r, struct perf_event *ev, u64 left)
{
	struct hw_perf_event *hwc = &ev->hw;

	r->ctr.set = -left;
	wrmsrl(hwc->event_base, r->ctr.set & COUNTER_MASK);
	local64_set(&hwc->prev_count, r->ctr.set);
	local64_set(&hwc->period_left, COUNTER_FAR);
	r->ctr.raw = local64_read(&ev->count);
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

	if (ftkvm_fault(FTKVM_FAULT_COUNTER_ARM) || ev->state != PERF_EVENT_STATE_ACTIVE ||
	    ev->oncpu != smp_processor_id())
		return counter_lost(r, -EBUSY);
	hwc = &ev->hw;
	/* perf sets it to other values when the thread comes back to a CPU */
	if (r->ctr.armed == until && local64_read(&hwc->prev_count) == r->ctr.set && !hwc->state)
		return 0;
	/* stopped; or it had overflowed, and the NMI is still to come: perf waits for it */
	if (hwc->state || !(r->ctr.hw & BIT_ULL(COUNTER_BITS - 1))) {
		ev->pmu->stop(ev, PERF_EF_UPDATE);
		local64_set(&hwc->period_left, COUNTER_FAR);
		ev->pmu->start(ev, PERF_EF_RELOAD);
	}
	counter_set(r, ev, max(until - r->now.count, 2ull));
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

	if (!ev || current != READ_ONCE(r->thread))
		return;
	local_irq_save(flags);
	if (ev->state == PERF_EVENT_STATE_ACTIVE && ev->oncpu == smp_processor_id())
		ftkvm_counter_arm(r, r->now.count + (1ull << 40));
	local_irq_restore(flags);
}
