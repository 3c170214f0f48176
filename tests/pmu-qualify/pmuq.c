// SPDX-License-Identifier: GPL-2.0
/*
 * A counter of guest mode for a program that runs a vCPU: created, armed and
 * read by the same steps as ftkvm's (kmod/kvm/counter.c), so that what is found
 * out about it here holds for ftkvm. README.rst tells why it takes a module.
 */
#include <linux/fs.h>
#include <linux/irq_work.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/perf_event.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/msr.h>
#include "pmuq.h"

/**
 * struct pmuq - an open file's counter
 * @lock: held by a call
 * @event: the counter, NULL before PMUQ_OPEN
 * @task: the thread that it follows
 * @kick: signals the thread; an NMI can't
 * @signal: with this
 * @count: events, as of the last reading
 * @raw: what perf had then
 * @target: where the overflow was to be
 * @nmi_raw: what perf had at the first NMI since the counter was set
 * @overflows: NMIs since then. Written by NMIs, on the CPU where the thread is
 */
struct pmuq {
	struct mutex lock;	/* one call at a time */
	struct perf_event *event;
	struct task_struct *task;
	struct irq_work kick;
	int signal;
	u64 count, raw, target;
	u64 nmi_raw;
	u32 overflows;
};

static void pmuq_kick(struct irq_work *work)
{
	struct pmuq *q = container_of(work, struct pmuq, kick);

	send_sig(q->signal, q->task, 1);
}

static void pmuq_overflow(struct perf_event *event, struct perf_sample_data *data,
			  struct pt_regs *regs)
{
	struct pmuq *q = event->overflow_handler_context;

	/* NMI context. The guest has exited: its count stands still. */
	if (!q->overflows)
		q->nmi_raw = local64_read(&event->count);
	WRITE_ONCE(q->overflows, q->overflows + 1);
	if (q->signal)
		irq_work_queue(&q->kick);
}

/* Bring q->count up to date. Interrupts are off. */
static int pmuq_sync(struct pmuq *q)
{
	struct perf_event *ev = q->event;
	u64 val;

	lockdep_assert_irqs_disabled();
	if (ev->state != PERF_EVENT_STATE_ACTIVE || ev->oncpu != smp_processor_id())
		return -EBUSY;
	ev->pmu->read(ev);
	val = local64_read(&ev->count);
	/* the hardware has 48 bits; above them perf may have seen a wrap that was none */
	q->count += (val - q->raw) & GENMASK_ULL(47, 0);
	q->raw = val;
	return 0;
}

static int pmuq_open(struct pmuq *q, const struct pmuq_open *arg)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW,
		.size = sizeof(attr),
		.config = arg->config,
		.sample_period = 1ull << 40,
		.pinned = 1,
		.exclude_host = !(arg->flags & PMUQ_COUNT_HOST),
	};
	struct perf_event *ev;
	int ret;

	if (q->event)
		return -EALREADY;
	if ((arg->flags & ~PMUQ_COUNT_HOST) || !valid_signal(arg->signal))
		return -EINVAL;
	q->signal = arg->signal;
	q->task = get_task_struct(current);
	ev = perf_event_create_kernel_counter(&attr, -1, current, pmuq_overflow, q);
	if (IS_ERR(ev)) {
		put_task_struct(q->task);
		return PTR_ERR(ev);
	}
	q->event = ev;
	q->target = attr.sample_period;
	local_irq_disable();
	ret = pmuq_sync(q);
	local_irq_enable();
	q->count = 0;
	return ret;
}

static int pmuq_read(struct pmuq *q, struct pmuq_state *s)
{
	int ret;

	local_irq_disable();
	ret = pmuq_sync(q);
	s->cpu = smp_processor_id();
	local_irq_enable();
	s->count = q->count;
	s->target = q->target;
	s->overflows = READ_ONCE(q->overflows);
	s->at_overflow = s->overflows ?
		q->count + sign_extend64(q->nmi_raw - q->raw, 47) : 0;
	return ret;
}

/* As ftkvm_counter_arm() does it. */
static int pmuq_arm(struct pmuq *q, u64 left)
{
	struct perf_event *ev = q->event;
	struct hw_perf_event *hwc = &ev->hw;
	int ret;

	if (!left || left > 1ull << 40)
		return -EINVAL;
	if (!ev->attr.exclude_host)
		return -EPERM;
	local_irq_disable();
	ret = pmuq_sync(q);
	if (!ret) {
		/* perf would stop a counter that overflows too often for a profiler */
		hwc->interrupts = 0;
		left = max(left, 2ull);
		ev->pmu->stop(ev, PERF_EF_UPDATE);
		hwc->sample_period = left;
		hwc->last_period = left;
		local64_set(&hwc->period_left, left);
		q->overflows = 0;
		ev->pmu->start(ev, PERF_EF_RELOAD);
		q->target = q->count + left;
	}
	local_irq_enable();
	return ret;
}

static int pmuq_msr(struct pmuq_msr *m)
{
	if (m->index != PMUQ_MSR_SMI_COUNT && m->index != PMUQ_MSR_LS_CFG)
		return -EPERM;
	if (m->cpu >= nr_cpu_ids || !cpu_online(m->cpu))
		return -ENXIO;
	return rdmsrl_safe_on_cpu(m->cpu, m->index, &m->value);
}

static long pmuq_do(struct pmuq *q, unsigned int cmd, void __user *arg)
{
	struct pmuq_open open;
	struct pmuq_state state;
	struct pmuq_msr msr;
	u64 left;
	int ret;

	switch (cmd) {
	case PMUQ_OPEN:
		if (copy_from_user(&open, arg, sizeof(open)))
			return -EFAULT;
		return pmuq_open(q, &open);
	case PMUQ_MSR:
		if (copy_from_user(&msr, arg, sizeof(msr)))
			return -EFAULT;
		ret = pmuq_msr(&msr);
		if (!ret && copy_to_user(arg, &msr, sizeof(msr)))
			ret = -EFAULT;
		return ret;
	}
	if (!q->event)
		return -ENODEV;
	if (q->task != current)
		return -EPERM;
	switch (cmd) {
	case PMUQ_READ:
		ret = pmuq_read(q, &state);
		if (!ret && copy_to_user(arg, &state, sizeof(state)))
			ret = -EFAULT;
		return ret;
	case PMUQ_ARM:
		if (get_user(left, (u64 __user *)arg))
			return -EFAULT;
		return pmuq_arm(q, left);
	default:
		return -ENOTTY;
	}
}

static long pmuq_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct pmuq *q = file->private_data;
	long ret;

	mutex_lock(&q->lock);
	ret = pmuq_do(q, cmd, (void __user *)arg);
	mutex_unlock(&q->lock);
	return ret;
}

static int pmuq_file_open(struct inode *inode, struct file *file)
{
	struct pmuq *q = kzalloc(sizeof(*q), GFP_KERNEL);

	if (!q)
		return -ENOMEM;
	mutex_init(&q->lock);
	init_irq_work(&q->kick, pmuq_kick);
	file->private_data = q;
	return nonseekable_open(inode, file);
}

static int pmuq_file_release(struct inode *inode, struct file *file)
{
	struct pmuq *q = file->private_data;

	if (q->event) {
		perf_event_release_kernel(q->event);
		irq_work_sync(&q->kick);
		put_task_struct(q->task);
	}
	kfree(q);
	return 0;
}

static const struct file_operations pmuq_fops = {
	.owner = THIS_MODULE,
	.open = pmuq_file_open,
	.release = pmuq_file_release,
	.unlocked_ioctl = pmuq_ioctl,
};

static struct miscdevice pmuq_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "pmuq",
	.mode = 0600,
	.fops = &pmuq_fops,
};
module_misc_device(pmuq_device);

MODULE_DESCRIPTION("guest-mode counter for tests/pmu-qualify");
MODULE_LICENSE("GPL");
