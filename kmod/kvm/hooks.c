// SPDX-License-Identifier: GPL-2.0
/*
 * Interposition on unpatched kvm.ko and kvm-amd.ko: by ftrace, a small set of
 * functions calls stubs.S first (directly, as fentry programs are called), which
 * goes to the hook instead if the guest is in care. The hooks are in place only
 * while a guest is enrolled; a host without one runs stock code.
 */
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/delay.h>
#include <linux/uaccess.h>
#include <asm/text-patching.h>
#include "../fault/fault.h"
#include "hooks.h"
#include "replica.h"

struct ftkvm_hook {
	const char *name;
	unsigned long *cont;
};

#define HOOK(fn) { .name = #fn, .cont = &ftkvm_cont_##fn }

static struct ftkvm_hook hooks[] = {
	HOOK(svm_vcpu_run),
	HOOK(svm_handle_exit),
	HOOK(emulator_pio_in_out),
	HOOK(complete_emulator_pio_in),
	HOOK(vcpu_run),
	HOOK(kvm_vcpu_ioctl),
	HOOK(kvm_io_bus_write),
	HOOK(__apic_accept_irq),
	HOOK(kvm_vcpu_halt),
	HOOK(kvm_vcpu_check_block),
	HOOK(vcpu_mmio_read),
	HOOK(complete_emulated_mmio),
	HOOK(kvm_inject_nmi),
	HOOK(kvm_vcpu_release),
};

/* how many guests in care have such an address; read by stubs.S */
u16 ftkvm_hooks_care[256];

static DEFINE_MUTEX(hooks_lock);
static unsigned int hooks_users;
static bool hooks_stuck;	/* they can't be removed any more */
DEFINE_PER_CPU(long, ftkvm_hooks_inside);

static long hooks_busy(void)
{
	long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu(ftkvm_hooks_inside, cpu));
	return sum;
}

/*
 * Where the function's ftrace site is. kallsyms is not for modules, but a
 * (never armed) kprobe tells the address; the site is the function's first
 * instruction, or the second behind an ENDBR.
 */
static int hook_site(const struct ftkvm_hook *h, unsigned long *site)
{
	static const u8 nop5[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	struct kprobe kp = { .symbol_name = h->name, .flags = KPROBE_FLAG_DISABLED };
	unsigned long addr;
	int skip, ret;
	u8 insn[5];

	ret = ftkvm_fault(FTKVM_FAULT_HOOKS_SITE) ?: register_kprobe(&kp);
	if (ret)
		return ret;
	addr = (unsigned long)kp.addr;
	unregister_kprobe(&kp);
	/* kprobes moves its address behind the ENDBR; so look from there too */
	for (skip = 0; skip <= 4; skip += 4) {
		if (copy_from_kernel_nofault(insn, (void *)(addr + skip), sizeof(insn)))
			break;
		/* the last: it is being changed just now */
		if (insn[0] == CALL_INSN_OPCODE || !memcmp(insn, nop5, sizeof(nop5)) ||
		    insn[0] == INT3_INSN_OPCODE) {
			*site = addr + skip;
			return 0;
		}
	}
	return -ENODEV;
}

static struct ftrace_ops hooks_ops;

static void notrace hooks_pin_called(unsigned long ip, unsigned long parent_ip,
				     struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
}

/*
 * register_ftrace_direct() does not care whether ftrace is switched off (then nothing
 * would call us), nor does it let itself be told that it must not be from then on. So there
 * is one beside it that does both, at a function that nobody calls.
 */
static struct ftrace_ops hooks_pin;

static noinline void hooks_nobody_calls(void)
{
	barrier();
}

static int hooks_pin_on(void)
{
	unsigned long ip = (unsigned long)hooks_nobody_calls;
	int ret;

	/* ftrace_free_filter() leaves pointers behind in the ops */
	memset(&hooks_pin, 0, sizeof(hooks_pin));
	hooks_pin.func = hooks_pin_called;
	hooks_pin.flags = FTRACE_OPS_FL_PERMANENT;
	ret = ftrace_set_filter_ips(&hooks_pin, &ip, 1, 0, 1);
	if (!ret)
		ret = register_ftrace_function(&hooks_pin);
	if (!ret)
		return 0;
	ftrace_free_filter(&hooks_pin);
	pr_err("KVM's functions can't be redirected: error %d%s\n", ret,
	       ret == -EBUSY ? "; run: sysctl kernel.ftrace_enabled=1" : "");
	return ret;
}

static void hooks_pin_off(void)
{
	unregister_ftrace_function(&hooks_pin);
	ftrace_free_filter(&hooks_pin);
}

/*
 * A task may be between the call and ftkvm_hook_enter(), or behind
 * ftkvm_hook_leave(): the grace period covers those two; in between it
 * may sleep, so count.
 */
static void hooks_wait(void)
{
	synchronize_rcu_tasks();
	while (hooks_busy())
		msleep(20);
	synchronize_rcu_tasks();
}

/*
 * One ftrace_ops for all: each removal of one waits until every task of the host
 * has been scheduled.
 */
static int hooks_on(void)
{
	unsigned long sites[ARRAY_SIZE(hooks)];
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		ret = hook_site(&hooks[i], &sites[i]);
		if (ret == -ENOENT || ret == -ENODEV) {
			pr_err("no function %s to redirect: is this the kernel that ftkvm was built for?\n",
			       hooks[i].name);
			return -ENODEV;
		}
		if (ret) {
			pr_err("function %s can't be looked at (error %d)\n", hooks[i].name, ret);
			return ret;
		}
		WRITE_ONCE(*hooks[i].cont, sites[i] + MCOUNT_INSN_SIZE);
	}
	ret = hooks_pin_on();
	if (ret)
		return ret;
	memset(&hooks_ops, 0, sizeof(hooks_ops));
	ret = ftrace_set_filter_ips(&hooks_ops, sites, ARRAY_SIZE(sites), 0, 1);
	if (!ret)
		ret = ftkvm_fault(FTKVM_FAULT_HOOKS_REGISTER) ?:
		      register_ftrace_direct(&hooks_ops, (unsigned long)ftkvm_hooks_entry);
	if (!ret)
		return 0;
	pr_err("KVM's functions can't be redirected: error %d%s\n", ret,
	       ret == -EBUSY ? " (a live patch, or BPF's fentry, is there already)" : "");
	ftrace_free_filter(&hooks_ops);
	/* they may have been called for a moment */
	hooks_wait();
	hooks_pin_off();
	return ret;
}

static void hooks_off(void)
{
	int ret;

	ftkvm_fault(FTKVM_FAULT_HOOKS_OFF);
	if (hooks_stuck)
		return;
	ret = unregister_ftrace_direct(&hooks_ops, (unsigned long)ftkvm_hooks_entry, true);
	/* ftrace has given up, after a bug of anybody's, and KVM goes on to call us */
	if (WARN_ON(ret)) {
		__module_get(THIS_MODULE);
		hooks_stuck = true;
		return;
	}
	ftkvm_fault(FTKVM_FAULT_HOOKS_BUSY);
	hooks_wait();
	hooks_pin_off();
}

/**
 * ftkvm_hooks_guest() - from now on a guest's vCPUs come to the hooks, or not any more
 * @kvm: the guest
 * @in_care: which
 *
 * Others, whose functions are the same, may still come there.
 * Context: one caller at a time.
 */
void ftkvm_hooks_guest(struct kvm *kvm, bool in_care)
{
	u16 *n = &ftkvm_hooks_care[((unsigned long)kvm >> 12) % ARRAY_SIZE(ftkvm_hooks_care)];

	/* as stubs.S takes it */
	BUILD_BUG_ON(offsetof(struct kvm_vcpu, kvm));
	BUILD_BUG_ON(ARRAY_SIZE(ftkvm_hooks_care) != 256 || sizeof(*n) != 2);
	WRITE_ONCE(*n, *n + (in_care ? 1 : -1));
}

/**
 * ftkvm_hooks_get() - a guest is about to be enrolled: put the hooks in place
 *
 * Context: process context, may sleep.
 * Return: 0, or -errno with no hook left behind. -EBUSY when another user
 * (livepatch, BPF's fentry) is at the same function, or ftrace is switched off; -ENODEV
 * when a function is missing.
 */
int ftkvm_hooks_get(void)
{
	int ret = 0;

	mutex_lock(&hooks_lock);
	if (!hooks_users && !hooks_stuck)
		ret = ftkvm_fault(FTKVM_FAULT_HOOKS_GET) ?: hooks_on();
	if (!ret)
		hooks_users++;
	mutex_unlock(&hooks_lock);
	ftkvm_fault(FTKVM_FAULT_HOOKS_ON);
	return ret;
}

/**
 * ftkvm_hooks_put() - a guest is enrolled no more
 *
 * Removes the hooks with the last guest and waits until no task is in one.
 * Context: process context, not inside a hook; may sleep.
 */
void ftkvm_hooks_put(void)
{
	mutex_lock(&hooks_lock);
	if (!WARN_ON(!hooks_users) && !--hooks_users)
		hooks_off();
	mutex_unlock(&hooks_lock);
}
