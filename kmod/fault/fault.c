// SPDX-License-Identifier: GPL-2.0
/*
 * What fault points do in a test build. Each point can be armed on its own, in
 * the debugfs directory ftkvm:
 *
 *	points	all of them: hits, how often one acted, and the table (points.h)
 *	arm	written: "POINT NTH[+] ACTION"; read: what is armed.
 *		NTH counts hits from now on; "+": at that one and each later one.
 *		ACTION:
 *		report			just say so
 *		cut			this host loses its power at this instruction
 *		hold MS			wait: asleep, unless killed or released; where
 *					it can't sleep, spinning, HOLD_SPIN_MS at most
 *		signal PID SIGNAL	send a signal to a thread (0: to itself)
 *		fail [ERRNO]		the step fails
 *		flip BIT		a bit of the data changes, modulo their length
 *		short BYTES		not more are sent or received at once
 *		"POINT off" disarms one, "off" all
 *	release	written: whoever holds goes on
 *
 * A point that acts says "ftkvm: fault: POINT" in the kernel's log before.
 * Points of module load are armed by the module's parameter "fault".
 *
 * Where the kernel has CONFIG_FAULT_INJECTION_DEBUG_FS, each point that can fail
 * is one of that framework, too, in the directory ftkvm/inject (probability,
 * interval, times: Documentation/fault-injection/).
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/fault-inject.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/nmi.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/wait.h>
#include <asm/desc.h>
#include "../core/frame.h"
#include "../core/record.h"
#include "fault.h"

/* Ways in by type: ftkvm_fault_typed() */
static_assert(FTKVM_FAULT_SEND_BULK - FTKVM_FAULT_SEND_HELLO ==
	      FTKVM_FRAME_BULK - FTKVM_FRAME_HELLO);
static_assert(FTKVM_FAULT_SENT_BULK - FTKVM_FAULT_SENT_HELLO ==
	      FTKVM_FRAME_BULK - FTKVM_FRAME_HELLO);
static_assert(FTKVM_FAULT_GOT_BULK - FTKVM_FAULT_GOT_HELLO ==
	      FTKVM_FRAME_BULK - FTKVM_FRAME_HELLO);
static_assert(FTKVM_FAULT_LOG_PAGES - FTKVM_FAULT_LOG_END == FTKVM_REC_PAGES - FTKVM_REC_END);
static_assert(FTKVM_FAULT_LOGGED_PAGES - FTKVM_FAULT_LOGGED_END ==
	      FTKVM_REC_PAGES - FTKVM_REC_END);
static_assert(FTKVM_FAULT_TAKE_OUT - FTKVM_FAULT_TAKE_ENV == FTKVM_REC_OUT - FTKVM_REC_ENV);

enum { ATOMIC, SLEEP };

#define FAIL	BIT(0)
#define FLIP	BIT(1)
#define SHORT	BIT(2)

#define HOLD_MS		20000u
#define HOLD_SPIN_MS	300u

enum fault_action {
	FAULT_NONE,
	FAULT_REPORT,
	FAULT_CUT,
	FAULT_HOLD,
	FAULT_SIGNAL,
	FAULT_FAIL,
	FAULT_FLIP,
	FAULT_SHORT,
	FAULT_ACTIONS
};

static const struct {
	const char *name;
	unsigned int needs;	/* of the point */
	int args, least;	/* how many numbers follow, at most and at least */
} fault_actions[FAULT_ACTIONS] = {
	[FAULT_NONE] = { "off" },
	[FAULT_REPORT] = { "report" },
	[FAULT_CUT] = { "cut" },
	[FAULT_HOLD] = { "hold", 0, 1, 1 },
	[FAULT_SIGNAL] = { "signal", 0, 2, 2 },
	[FAULT_FAIL] = { "fail", FAIL, 1, 0 },
	[FAULT_FLIP] = { "flip", FLIP, 1, 1 },
	[FAULT_SHORT] = { "short", SHORT, 1, 1 },
};

static const struct {
	const char *name, *when, *side, *where;
	unsigned int can;
	int context, error;
} fault_points[FTKVM_FAULT_POINTS] = {
#define P(_name, _when, _side, _context, _can, _error, _where)	\
	[FTKVM_FAULT_##_name] = {				\
		.name = #_name,					\
		.when = #_when,					\
		.side = #_side,					\
		.context = _context,				\
		.can = _can,					\
		.error = _error,				\
		.where = _where,				\
	},
	FTKVM_FAULT_TABLE(P)
#undef P
};

/* What a point is to do. */
struct fault_arm {
	enum fault_action action;
	unsigned int nth;	/* hits until then */
	bool on;		/* and at each later one */
	int arg[2];
};

static struct {
	struct fault_arm arm;	/* under fault_lock; whether there is one, without */
	atomic_long_t hits, acted;
} fault_state[FTKVM_FAULT_POINTS];

static DEFINE_RAW_SPINLOCK(fault_lock);
static DECLARE_WAIT_QUEUE_HEAD(fault_wq);
static unsigned int fault_released;	/* how often */
static struct dentry *fault_dir;

static char fault_at_load[64];
module_param_string(fault, fault_at_load, sizeof(fault_at_load), 0444);
MODULE_PARM_DESC(fault, "a fault point to arm at load");

/* ---- the kernel's own framework ---- */

#ifdef CONFIG_FAULT_INJECTION_DEBUG_FS
static struct fault_attr fault_attrs[FTKVM_FAULT_POINTS];

static void fault_inject_init(void)
{
	struct dentry *dir = debugfs_create_dir("inject", fault_dir);
	int i;

	for (i = 0; i < FTKVM_FAULT_POINTS; i++) {
		fault_attrs[i] = (struct fault_attr)FAULT_ATTR_INITIALIZER;
		if (fault_points[i].can & FAIL)
			fault_create_debugfs_attr(fault_points[i].name, dir, &fault_attrs[i]);
	}
}

static int fault_inject(enum ftkvm_fault_point p)
{
	return (fault_points[p].can & FAIL) && should_fail(&fault_attrs[p], 1) ?
	       -fault_points[p].error : 0;
}
#else
static void fault_inject_init(void)
{
}

static int fault_inject(enum ftkvm_fault_point p)
{
	return 0;
}
#endif

/* ---- actions ---- */

/* A triple fault: no code of this host runs behind it, not even its firmware's. */
static void fault_cut(void)
{
	static const struct desc_ptr none;

	local_irq_disable();
	native_load_idt(&none);
	asm volatile("int3");
}

static void fault_hold(enum ftkvm_fault_point p, int ms)
{
	unsigned int released = READ_ONCE(fault_released);

	if (fault_points[p].context == SLEEP) {
		wait_event_killable_timeout(fault_wq, READ_ONCE(fault_released) != released,
					    msecs_to_jiffies(clamp(ms, 0, (int)HOLD_MS)));
		return;
	}
	for (ms = clamp(ms, 0, (int)HOLD_SPIN_MS); ms; ms--) {
		touch_nmi_watchdog();
		mdelay(1);
	}
}

static void fault_signal(int pid, int sig)
{
	struct task_struct *task;

	rcu_read_lock();
	task = pid ? pid_task(find_pid_ns(pid, &init_pid_ns), PIDTYPE_PID) : current;
	if (task)
		send_sig(sig, task, 1);
	rcu_read_unlock();
}

static void fault_flip(u8 *data, size_t len, int bit)
{
	if (len)
		data[bit / 8 % len] ^= 1 << bit % 8;
}

/* Count a hit. Whether the point is to act, and if so, @arm says how. */
static bool fault_due(enum ftkvm_fault_point p, struct fault_arm *arm)
{
	struct fault_arm *a = &fault_state[p].arm;
	bool due = false, first = true;
	unsigned long flags;

	atomic_long_inc(&fault_state[p].hits);
	if (likely(READ_ONCE(a->action) == FAULT_NONE))
		return false;
	raw_spin_lock_irqsave(&fault_lock, flags);
	if (a->action != FAULT_NONE) {
		due = a->nth <= 1;
		first = a->nth;
		if (a->nth)
			a->nth--;
		*arm = *a;
		if (due && !a->on)
			a->action = FAULT_NONE;
	}
	raw_spin_unlock_irqrestore(&fault_lock, flags);
	if (!due)
		return false;
	atomic_long_inc(&fault_state[p].acted);
	if (first)
		pr_info("fault: %s\n", fault_points[p].name);
	return true;
}

/* Pass a point. @len: how much of @data can be sent, received, or spoiled. */
static int fault_pass(enum ftkvm_fault_point p, void *data, size_t *len)
{
	struct fault_arm arm;

	WARN_ONCE(fault_points[p].context == SLEEP && !preemptible(),
		  "fault point %s can't sleep\n", fault_points[p].name);
	if (!fault_due(p, &arm))
		return fault_inject(p);
	switch (arm.action) {
	case FAULT_CUT:
		fault_cut();
		break;
	case FAULT_HOLD:
		fault_hold(p, arm.arg[0]);
		break;
	case FAULT_SIGNAL:
		fault_signal(arm.arg[0], arm.arg[1]);
		break;
	case FAULT_FAIL:
		return -(arm.arg[0] ?: fault_points[p].error);
	case FAULT_FLIP:
		if (data)
			fault_flip(data, *len, arm.arg[0]);
		break;
	case FAULT_SHORT:
		*len = clamp_t(size_t, arm.arg[0], 1, *len);
		break;
	default:
		break;
	}
	return 0;
}

/**
 * ftkvm_fault() - a fault point
 * @p: which
 *
 * Context: what the table says of @p; no NMI.
 * Return: 0, or -errno where the point is to fail.
 */
int ftkvm_fault(enum ftkvm_fault_point p)
{
	size_t len = 0;

	return fault_pass(p, NULL, &len);
}

/**
 * ftkvm_fault_data() - a fault point that can spoil data
 * @p: which
 * @data: the data
 * @len: its bytes
 *
 * Context: as ftkvm_fault().
 * Return: as ftkvm_fault().
 */
int ftkvm_fault_data(enum ftkvm_fault_point p, void *data, size_t len)
{
	return fault_pass(p, data, &len);
}

/* The next call transfers @len bytes of @iter at most; undone by fault_restore(). */
static int fault_shorten(enum ftkvm_fault_point p, struct iov_iter *iter, size_t *cut)
{
	size_t all = iov_iter_count(iter), len = all;
	int ret = fault_pass(p, NULL, &len);

	*cut = all - len;
	iov_iter_truncate(iter, len);
	return ret;
}

/**
 * ftkvm_fault_sendmsg() - sock_sendmsg() as a fault point
 * @sock: the socket
 * @msg: the message
 *
 * Context: Process; sleeps.
 * Return: as sock_sendmsg().
 */
int ftkvm_fault_sendmsg(struct socket *sock, struct msghdr *msg)
{
	size_t cut;
	int ret = fault_shorten(FTKVM_FAULT_SOCK_SEND, &msg->msg_iter, &cut);

	if (!ret)
		ret = sock_sendmsg(sock, msg);
	iov_iter_reexpand(&msg->msg_iter, iov_iter_count(&msg->msg_iter) + cut);
	return ret;
}

/**
 * ftkvm_fault_recvmsg() - sock_recvmsg() as a fault point
 * @sock: the socket
 * @msg: the message
 * @flags: MSG_*
 *
 * Context: Process; sleeps.
 * Return: as sock_recvmsg().
 */
int ftkvm_fault_recvmsg(struct socket *sock, struct msghdr *msg, int flags)
{
	size_t cut;
	int ret = fault_shorten(FTKVM_FAULT_SOCK_RECV, &msg->msg_iter, &cut);

	if (!ret)
		ret = sock_recvmsg(sock, msg, flags);
	iov_iter_reexpand(&msg->msg_iter, iov_iter_count(&msg->msg_iter) + cut);
	return ret;
}

/* ---- debugfs ---- */

static int fault_find(const char *name)
{
	int i;

	for (i = 0; i < FTKVM_FAULT_POINTS; i++)
		if (!strcasecmp(fault_points[i].name, name))
			return i;
	return -1;
}

static void fault_set(int p, const struct fault_arm *arm)
{
	unsigned long flags;
	int i;

	raw_spin_lock_irqsave(&fault_lock, flags);
	for (i = 0; i < FTKVM_FAULT_POINTS; i++)
		if (p < 0 || p == i)
			fault_state[i].arm = *arm;
	raw_spin_unlock_irqrestore(&fault_lock, flags);
}

/* "POINT NTH[+] ACTION [NUMBER]...", "POINT off", "off" */
static int fault_order(char *text)
{
	struct fault_arm arm = { };
	int p = -1, k, given = 0;
	char *word, *plus;

	text = strim(text);
	word = strsep(&text, " ");
	if (strcmp(word, "off")) {
		p = fault_find(word);
		if (p < 0)
			return -ENOENT;
		word = strsep(&text, " ");
		if (!word)
			return -EINVAL;
	}
	if (!strcmp(word, "off")) {
		fault_set(p, &arm);
		return text ? -EINVAL : 0;
	}
	plus = strchr(word, '+');
	if (plus && !plus[1]) {
		arm.on = true;
		*plus = 0;
	}
	if (kstrtouint(word, 0, &arm.nth) || !arm.nth)
		return -EINVAL;
	word = strsep(&text, " ");
	for (k = FAULT_REPORT; word && k < FAULT_ACTIONS; k++)
		if (!strcmp(word, fault_actions[k].name))
			break;
	if (!word || k == FAULT_ACTIONS)
		return -EINVAL;
	arm.action = k;
	while ((word = strsep(&text, " "))) {
		if (given == fault_actions[k].args || kstrtoint(word, 0, &arm.arg[given]) ||
		    arm.arg[given] < 0)
			return -EINVAL;
		given++;
	}
	if (given < fault_actions[k].least)
		return -EINVAL;
	if (fault_actions[k].needs & ~fault_points[p].can)
		return -EOPNOTSUPP;
	fault_set(p, &arm);
	return 0;
}

static int fault_arm_show(struct seq_file *m, void *unused)
{
	int i;

	for (i = 0; i < FTKVM_FAULT_POINTS; i++) {
		struct fault_arm arm;

		raw_spin_lock_irq(&fault_lock);
		arm = fault_state[i].arm;
		raw_spin_unlock_irq(&fault_lock);
		if (arm.action != FAULT_NONE)
			seq_printf(m, "%s %u%s %s %d %d\n", fault_points[i].name, arm.nth,
				   arm.on ? "+" : "", fault_actions[arm.action].name, arm.arg[0],
				   arm.arg[1]);
	}
	return 0;
}

static int fault_arm_open(struct inode *inode, struct file *file)
{
	return single_open(file, fault_arm_show, NULL);
}

/* One order in a line; those before one that is wrong are carried out. */
static ssize_t fault_arm_write(struct file *file, const char __user *buf, size_t size, loff_t *pos)
{
	char *text, *rest, *line;
	int ret = 0;

	if (size >= PAGE_SIZE)
		return -E2BIG;
	text = memdup_user_nul(buf, size);
	if (IS_ERR(text))
		return PTR_ERR(text);
	rest = text;
	while (!ret && (line = strsep(&rest, "\n")))
		if (*strim(line))
			ret = fault_order(line);
	kfree(text);
	return ret ?: size;
}

static const struct file_operations fault_arm_fops = {
	.owner = THIS_MODULE,
	.open = fault_arm_open,
	.read = seq_read,
	.write = fault_arm_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static ssize_t fault_release_write(struct file *file, const char __user *buf, size_t size,
				   loff_t *pos)
{
	WRITE_ONCE(fault_released, fault_released + 1);
	wake_up_all(&fault_wq);
	return size;
}

static const struct file_operations fault_release_fops = {
	.owner = THIS_MODULE,
	.write = fault_release_write,
};

static int fault_points_show(struct seq_file *m, void *unused)
{
	int i;

	for (i = 0; i < FTKVM_FAULT_POINTS; i++)
		seq_printf(m, "%-20s %8lu %4lu  %s; %s; %s;%s%s%s %d; %s\n", fault_points[i].name,
			   atomic_long_read(&fault_state[i].hits),
			   atomic_long_read(&fault_state[i].acted), fault_points[i].when,
			   fault_points[i].side,
			   fault_points[i].context == SLEEP ? "sleep" : "atomic",
			   fault_points[i].can & FAIL ? " fail" : "",
			   fault_points[i].can & FLIP ? " flip" : "",
			   fault_points[i].can & SHORT ? " short" : "",
			   fault_points[i].error, fault_points[i].where);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(fault_points);

/**
 * ftkvm_fault_init() - at module load, before anything that has a point
 *
 * Context: Process; sleeps.
 */
void ftkvm_fault_init(void)
{
	fault_dir = debugfs_create_dir("ftkvm", NULL);
	debugfs_create_file("points", 0400, fault_dir, NULL, &fault_points_fops);
	debugfs_create_file("arm", 0600, fault_dir, NULL, &fault_arm_fops);
	debugfs_create_file("release", 0200, fault_dir, NULL, &fault_release_fops);
	fault_inject_init();
	pr_info("a test build: with fault points\n");
	if (*fault_at_load && fault_order(fault_at_load))
		pr_warn("fault=: no such point, or nothing it can do\n");
}

/**
 * ftkvm_fault_exit() - at module unload, when nothing of it runs any more
 *
 * Context: Process; sleeps.
 */
void ftkvm_fault_exit(void)
{
	debugfs_remove(fault_dir);
}
