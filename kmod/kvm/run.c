// SPDX-License-Identifier: GPL-2.0
/*
 * Hooks around the vCPU thread's run loop: before it starts, where it halts,
 * and what userspace does to the vCPU besides.
 */
#include "../dev/lockstep.h"
#include "../fault/fault.h"
#include "hooks.h"
#include "replica.h"
#include "vendor.h"

/**
 * ftkvm_prepare() - what comes before the next entry
 * @r: the replica
 *
 * Context: vCPU thread, process context, kvm->srcu read-held.
 * Return: 0, -EINTR on a signal. Without a plan the guest is not entered.
 */
int ftkvm_prepare(struct ftkvm_replica *r)
{
	int ret;

	r->plan.step = FTKVM_STEP_WAIT;
	switch (ftkvm_mode(r)) {
	case FTKVM_MODE_LEAD:
		/* behind the exit that kicked, before an epoch ends there */
		ftkvm_lockstep_kicks(r);
		ret = ftkvm_lead_prepare(r);
		/* with all that the exit logged */
		if (r->dev_soon) {
			r->dev_soon = false;
			ftkvm_log_send_next(r);
		}
		return ret;
	case FTKVM_MODE_FOLLOW:
		ftkvm_lockstep_kicks(r);
		return ftkvm_follow_prepare(r, true);
	default:
		return 0;
	}
}

static int run_before(struct ftkvm_replica *r)
{
	int ret = 0;

	WRITE_ONCE(r->thread, current);
	ftkvm_fault(FTKVM_FAULT_KVM_RUN);
	for (;;) {
		switch (ftkvm_mode(r)) {
		case FTKVM_MODE_START:
			ret = ftkvm_pair_start(r);
			if (ret)
				return ret;
			continue;
		case FTKVM_MODE_HALT:
		case FTKVM_MODE_HOLD:
			ret = ftkvm_log_wait(r);
			if (ret)
				return ret;
			if (READ_ONCE(r->detaching))
				return -EIO;
			continue;
		case FTKVM_MODE_PASS:
			/* an exit that is to come again is no place to inject: behind it, see svm.c */
			if (!r->shut_down)
				ftkvm_replica_settle(r);
			return 0;
		default:
			ret = ftkvm_prepare(r);
			return ret == -EINTR ? ret : 0;
		}
	}
}

/**
 * ftkvm_pre_vcpu_run() - KVM_RUN, when the last exit's instruction is done
 * @vcpu: the vCPU
 * @unused1: none
 * @unused2: none
 * @ret: result, if not to go on
 *
 * Context: vCPU thread, process context, kvm->srcu read-held.
 * Return: false: go on to run the guest.
 */
bool ftkvm_pre_vcpu_run(struct kvm_vcpu *vcpu, long unused1, long unused2, long *ret)
{
	struct ftkvm_replica *r;

	*ret = 0;
	ftkvm_hook_enter();
	r = ftkvm_replica_get(vcpu->kvm);
	if (r) {
		if (vcpu == r->vcpu)
			*ret = run_before(r);
		else if (ftkvm_mode(r) != FTKVM_MODE_PASS)
			ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_LOCAL,
					    "the guest got a second vCPU");
		ftkvm_replica_put(r);
	}
	ftkvm_hook_leave();
	if (*ret == -EINTR)
		vcpu->run->exit_reason = KVM_EXIT_INTR;
	return *ret;
}

/**
 * ftkvm_pre_kvm_vcpu_halt() - the guest is halted
 * @vcpu: the vCPU
 * @unused1: none
 * @unused2: none
 * @ret: not used
 *
 * A halted guest is at an epoch end: the primary delivers at once, the backup
 * waits for the primary's record.
 * Context: vCPU thread, process context, kvm->srcu not held.
 * Return: false: go on to sleep.
 */
bool ftkvm_pre_kvm_vcpu_halt(struct kvm_vcpu *vcpu, long unused1, long unused2, long *ret)
{
	struct ftkvm_replica *r;
	bool handled = false;

	ftkvm_hook_enter();
	r = ftkvm_replica_get(vcpu->kvm);
	if (!r || vcpu != r->vcpu || !r->started)
		goto out;
	switch (ftkvm_mode(r)) {
	case FTKVM_MODE_LEAD:
		handled = ftkvm_lead_halt(r);
		r->plan.step = FTKVM_STEP_WAIT;
		break;
	case FTKVM_MODE_FOLLOW:
		ftkvm_follow_halt(r);
		r->plan.step = FTKVM_STEP_WAIT;
		handled = true;
		break;
	case FTKVM_MODE_HALT:
	case FTKVM_MODE_HOLD:
		ftkvm_log_wait_nosrcu(r);
		handled = true;
		break;
	default:
		handled = ftkvm_inputs_any(r);
		ftkvm_replica_settle(r);
		break;
	}
out:
	if (r)
		ftkvm_replica_put(r);
	ftkvm_hook_leave();
	return handled;
}

/**
 * ftkvm_hook_kvm_vcpu_check_block() - may a halted vCPU sleep (on)?
 * @vcpu: the vCPU
 *
 * Context: vCPU thread, does not sleep.
 * Return: -EINTR when there is something to do.
 */
int ftkvm_hook_kvm_vcpu_check_block(struct kvm_vcpu *vcpu)
{
	struct ftkvm_replica *r;
	int ret = 0;

	ftkvm_hook_enter();
	r = ftkvm_replica_get(vcpu->kvm);
	/* one that waits for a page which the host has swapped out is not halted, and just sleeps */
	if (r && vcpu == r->vcpu && !vcpu->arch.apf.halted) {
		switch (ftkvm_mode(r)) {
		case FTKVM_MODE_LEAD:
			if (ftkvm_inputs_any(r) || ftkvm_verify_due(r))
				ret = -EINTR;
			break;
		case FTKVM_MODE_PASS:
			ftkvm_replica_settle(r);
			break;
		default:
			ret = -EINTR;
			break;
		}
	}
	if (!ret)
		ret = ftkvm_orig_kvm_vcpu_check_block(vcpu);
	if (r)
		ftkvm_replica_put(r);
	ftkvm_hook_leave();
	return ret;
}

/* An 8259 in userspace raises a vector, and counts it as acknowledged. */
static long run_interrupt(struct ftkvm_replica *r, struct file *filp, unsigned long arg)
{
	struct ftkvm_input in = { .kind = FTKVM_INPUT_EXTINT };
	struct kvm_interrupt irq;

	if (copy_from_user(&irq, (void __user *)arg, sizeof(irq)))
		return -EFAULT;
	if (irq.irq > 255)
		return -EINVAL;
	in.vector = irq.irq;
	if (ftkvm_input_offer(r, &in))
		return 0;
	return ftkvm_orig_kvm_vcpu_ioctl(filp, KVM_INTERRUPT, arg);
}

/* Does this call write state of the guest? */
static bool run_ioctl_writes(unsigned int ioctl)
{
	switch (ioctl) {
	case KVM_SET_REGS:
	case KVM_SET_SREGS:
	case KVM_SET_SREGS2:
	case KVM_SET_FPU:
	case KVM_SET_XSAVE:
	case KVM_SET_XCRS:
	case KVM_SET_DEBUGREGS:
	case KVM_SET_VCPU_EVENTS:
	case KVM_SET_MP_STATE:
	case KVM_SET_LAPIC:
	case KVM_SET_MSRS:
	case KVM_SET_CPUID:
	case KVM_SET_CPUID2:
	case KVM_SET_NESTED_STATE:
	case KVM_SET_GUEST_DEBUG:
		return true;
	default:
		return false;
	}
}

static long run_ioctl(struct ftkvm_replica *r, struct file *filp, unsigned int ioctl,
		      unsigned long arg)
{
	struct kvm_vcpu *vcpu = r->vcpu;
	u32 mp = vcpu->arch.mp_state;
	u32 before;
	long ret;

	if (ioctl == KVM_INTERRUPT)
		return run_interrupt(r, filp, arg);
	if (ioctl == KVM_NMI) {
		/* KVM's own call of kvm_inject_nmi() here is inlined: no hook sees it */
		struct ftkvm_input in = { .kind = FTKVM_INPUT_NMI };

		if (ftkvm_input_offer(r, &in))
			return 0;
		return ftkvm_orig_kvm_vcpu_ioctl(filp, ioctl, arg);
	}
	/* what QEMU reads and writes back unchanged does no harm */
	before = ftkvm_here_digest(r);
	ret = ftkvm_orig_kvm_vcpu_ioctl(filp, ioctl, arg);
	if (before != ftkvm_here_digest(r) || mp != vcpu->arch.mp_state)
		ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_GUEST_TOUCHED,
				    "QEMU changed the guest's registers (reset, or a debugger)");
	return ret;
}

/*
 * KVM_RUN: userspace has done what the last exit was for. Not so, if that was a
 * part of a write to device memory, and others follow.
 */
static void run_back(struct ftkvm_replica *r)
{
	const struct kvm_vcpu *vcpu = r->vcpu;

	if (likely(!READ_ONCE(r->out_going)) || current != r->thread)
		return;
	if (vcpu->mmio_needed && vcpu->mmio_is_write &&
	    (vcpu->mmio_cur_fragment + 1 < vcpu->mmio_nr_fragments ||
	     vcpu->mmio_fragments[vcpu->mmio_cur_fragment].len > sizeof(u64)))
		return;
	/* what it did comes first: ftkvm_lead_stopped() */
	smp_store_release(&r->out_going, false);
	if (ftkvm_mode(r) == FTKVM_MODE_HALT)
		wake_up_all(&r->wq);
}

/**
 * ftkvm_pre_kvm_vcpu_ioctl() - userspace calls
 * @filp: the vCPU's file
 * @ioctl: what
 * @arg: with what
 * @ret: result, if not to go on
 *
 * Context: process context.
 * Return: false: go on.
 */
bool ftkvm_pre_kvm_vcpu_ioctl(struct file *filp, unsigned int ioctl, unsigned long arg,
			      long *ret)
{
	struct kvm_vcpu *vcpu = filp->private_data;
	struct ftkvm_replica *r;
	bool handled = false;

	ftkvm_hook_enter();
	r = ftkvm_replica_get(vcpu->kvm);
	if (ioctl == KVM_RUN) {
		if (r && vcpu == r->vcpu)
			run_back(r);
		goto out;
	}
	/* before the start QEMU may write what it likes: what is there then is compared */
	if (r && vcpu == r->vcpu &&
	    ((r->started && (ftkvm_mode(r) == FTKVM_MODE_LEAD || ftkvm_mode(r) == FTKVM_MODE_FOLLOW) &&
	      run_ioctl_writes(ioctl)) ||
	     (ftkvm_mode(r) != FTKVM_MODE_PASS && (ioctl == KVM_INTERRUPT || ioctl == KVM_NMI)))) {
		*ret = run_ioctl(r, filp, ioctl, arg);
		handled = true;
	}
out:
	if (r)
		ftkvm_replica_put(r);
	ftkvm_hook_leave();
	return handled;
}

/**
 * ftkvm_hook_kvm_vcpu_release() - QEMU closed the vCPU, or died
 * @inode: of the vCPU's file
 * @filp: the vCPU's file
 *
 * Context: process context.
 * Return: 0.
 */
int ftkvm_hook_kvm_vcpu_release(struct inode *inode, struct file *filp)
{
	struct kvm_vcpu *vcpu = filp->private_data;
	struct ftkvm_replica *r;
	int ret;

	ftkvm_hook_enter();
	r = ftkvm_replica_get(vcpu->kvm);
	if (r && vcpu == r->vcpu)
		ftkvm_replica_gone(r);
	ret = ftkvm_orig_kvm_vcpu_release(inode, filp);
	if (r)
		ftkvm_replica_put(r);
	ftkvm_hook_leave();
	return ret;
}
