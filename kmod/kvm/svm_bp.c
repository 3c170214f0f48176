// SPDX-License-Identifier: GPL-2.0
/*
 * AMD SVM: the breakpoint that the backup lands by. It is set for one entry, in a debug
 * register of the CPU's, and the guest neither sees nor misses that one.
 */
#include <asm/debugreg.h>
#include "../fault/fault.h"
#include "svm.h"

static u64 svm_linear(u32 base, u64 rip)
{
	return base ? (u32)(base + rip) : rip;
}

/* One instruction may have several RIPs, as several segments have it. */
static bool svm_bp_is_next(struct kvm_vcpu *vcpu, const struct svm_bp *bp)
{
	return svm_linear(ftkvm_svm_base(vcpu), vcpu->arch.regs[VCPU_REGS_RIP]) == bp->at;
}

/* What DR7 has for a breakpoint. */
static u64 svm_bp_bits(int slot)
{
	return 3ull << (slot * DR_ENABLE_SIZE) |
	       0xfull << (DR_CONTROL_SHIFT + slot * DR_CONTROL_SIZE);
}

/* DR0 to DR3, each of which has an instruction of its own. */
static void svm_set_address(int slot, u64 at)
{
	switch (slot) {
	case 0:
		set_debugreg(at, 0);
		break;
	case 1:
		set_debugreg(at, 1);
		break;
	case 2:
		set_debugreg(at, 2);
		break;
	default:
		set_debugreg(at, 3);
		break;
	}
}

/**
 * ftkvm_svm_bp_set() - set the breakpoint where the plan wants it
 * @r: the replica, with a plan to seek
 * @bp: what is to be undone, for ftkvm_svm_bp_clear()
 *
 * Context: vCPU thread, irqs off, right before the guest is entered.
 */
void ftkvm_svm_bp_set(struct ftkvm_replica *r, struct svm_bp *bp)
{
	struct kvm_vcpu *vcpu = r->vcpu;
	struct vmcb *b = svm_vmcb(vcpu);
	u64 at = svm_linear(r->plan.base, r->plan.rip);
	u64 dr7 = b->save.dr7;
	int slot;

	/* a slot that the guest does not use; with all in use, the last */
	for (slot = 0; slot < 3; slot++)
		if (!(dr7 & (3ull << (slot * DR_ENABLE_SIZE))))
			break;
	bp->slot = slot;
	bp->at = at;
	bp->dr7 = dr7;
	bp->icpt = svm_icpt(b, INTERCEPT_EXCEPTION_OFFSET + DB_VECTOR);
	/*
	 * KVM has disarmed DR7 of the host by now where it was in use, and
	 * restores all of it after the run (hw_breakpoint_restore()).
	 */
	svm_set_address(slot, at);
	/* enabled globally: a task switch disables what is local */
	dr7 &= ~svm_bp_bits(slot);
	dr7 |= 2ull << (slot * DR_ENABLE_SIZE);
	b->save.dr7 = dr7;
	b->control.clean &= ~SVM_CLEAN_DR;
	svm_set_icpt(b, INTERCEPT_EXCEPTION_OFFSET + DB_VECTOR, true);

	/*
	 * The plan was made for this very point, and it is not the target: RF
	 * holds the breakpoint back for the instruction here. Not with an event
	 * to inject: that would push our RF.
	 */
	bp->rf = svm_bp_is_next(vcpu, bp) &&
		 !(b->control.event_inj & SVM_EVTINJ_VALID) &&
		 !(b->save.rflags & X86_EFLAGS_RF);
	if (bp->rf)
		b->save.rflags |= X86_EFLAGS_RF;
	ftkvm_fault(FTKVM_FAULT_LAND_SET);
}

/**
 * ftkvm_svm_bp_clear() - undo ftkvm_svm_bp_set()
 * @r: the replica
 * @bp: of ftkvm_svm_bp_set()
 * @fp: what KVM has done about the exit already
 *
 * Context: vCPU thread, irqs off, right after the exit.
 * Return: the breakpoint was hit.
 */
bool ftkvm_svm_bp_clear(struct ftkvm_replica *r, struct svm_bp *bp, fastpath_t fp)
{
	struct kvm_vcpu *vcpu = r->vcpu;
	struct vmcb *b = svm_vmcb(vcpu);
	bool hit = b->control.exit_code == SVM_EXIT_EXCP_BASE + DB_VECTOR &&
		   (b->save.dr6 & BIT(bp->slot));

	b->save.dr7 = (b->save.dr7 & ~svm_bp_bits(bp->slot)) | (bp->dr7 & svm_bp_bits(bp->slot));
	b->save.dr6 &= ~BIT(bp->slot);
	b->control.clean &= ~SVM_CLEAN_DR;
	svm_set_icpt(b, INTERCEPT_EXCEPTION_OFFSET + DB_VECTOR, bp->icpt);
	/* not executed yet; or by KVM, which does not clear it as the CPU does */
	if (bp->rf && (fp != EXIT_FASTPATH_NONE || svm_bp_is_next(vcpu, bp)))
		b->save.rflags &= ~X86_EFLAGS_RF;
	if (vcpu->arch.switch_db_regs)
		svm_set_address(bp->slot, vcpu->arch.eff_db[bp->slot]);
	return hit;
}

/**
 * ftkvm_svm_is_our_bp() - is this exit a breakpoint that the guest is to know nothing of?
 * @r: the replica
 *
 * It is one that is ours alone, or that comes at the very point where an epoch is to
 * end: there the guest's own breakpoint is hit again behind it, as it was on the primary.
 * Context: vCPU thread, after an exit.
 * Return: whether it is.
 */
bool ftkvm_svm_is_our_bp(struct ftkvm_replica *r)
{
	u64 dr6 = svm_vmcb(r->vcpu)->save.dr6 ^ DR6_ACTIVE_LOW;

	return r->bp_hit && (!(dr6 & (DR_TRAP_BITS | DR_STEP)) || ftkvm_follow_arrives(r));
}
