// SPDX-License-Identifier: GPL-2.0
/*
 * AMD SVM: the two hooks around a guest's run, and the exits that matter. AMD64 APM
 * volume 2, chapter 15.
 */
#include <linux/entry-kvm.h>
#include <linux/hw_breakpoint.h>
#include <asm/debugreg.h>
#include <asm/svm.h>
#include <asm/apicdef.h>
#include "../dev/lockstep.h"
#include "../fault/fault.h"
#include "hooks.h"
#include "private.h"
#include "replica.h"
#include "svm.h"
#include "trace.h"
#include "vendor.h"

static_assert(FTKVM_OFF_VCPU_SVM_VCPU == 0);
/* the headers that this is built with are those of the KVM that BTF describes */
static_assert(offsetof(struct kvm_vcpu, arch.apic) == FTKVM_OFF_KVM_VCPU_ARCH_APIC);
static_assert(offsetof(struct kvm_vcpu, arch.regs) == FTKVM_OFF_KVM_VCPU_ARCH_REGS);
static_assert(offsetof(struct kvm_vcpu, run) == FTKVM_OFF_KVM_VCPU_RUN);
static_assert(offsetof(struct kvm, arch.irqchip_mode) == FTKVM_OFF_KVM_ARCH_IRQCHIP_MODE);

static void svm_arm(struct kvm_vcpu *vcpu)
{
	struct vmcb *b = svm_vmcb(vcpu);

	svm_set_icpt(b, INTERCEPT_RDTSC, true);
	svm_set_icpt(b, INTERCEPT_RDTSCP, true);
	/* a PAUSE that exits after so many cycles is emulated, not retired */
	svm_set_icpt(b, INTERCEPT_PAUSE, false);
}

/* kvm_find_cpuid_entry() is for callers with interrupts on */
static bool svm_shows_rdtscp(const struct kvm_vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *e = vcpu->arch.cpuid_entries;
	int i;

	for (i = 0; i < vcpu->arch.cpuid_nent; i++, e++)
		if (e->function == 0x80000001)
			return e->edx & BIT(27);
	return false;
}

static void svm_disarm(struct kvm_vcpu *vcpu)
{
	struct vmcb *b = svm_vmcb(vcpu);

	svm_set_icpt(b, INTERCEPT_RDTSC, false);
	/* KVM's own RDTSCP intercept turns it into #UD where CPUID hides it */
	svm_set_icpt(b, INTERCEPT_RDTSCP, !svm_shows_rdtscp(vcpu));
	svm_set_icpt(b, INTERCEPT_PAUSE,
		     boot_cpu_has(X86_FEATURE_PAUSEFILTER) && !vcpu->kvm->arch.pause_in_guest);
}

/*
 * DR6 may show breakpoints that match but are not enabled, and what lies in a
 * disabled debug register is not the same on both sides while the backup lands.
 * So the guest is shown enabled ones only.
 */
static void svm_db_mask(struct vmcb *b)
{
	int slot;

	if (b->control.exit_code != SVM_EXIT_EXCP_BASE + DB_VECTOR)
		return;
	for (slot = 0; slot < 4; slot++)
		if (!(b->save.dr7 & (3ull << (slot * DR_ENABLE_SIZE))))
			b->save.dr6 &= ~BIT(slot);
}

/* ---- RDTSC, RDTSCP ---- */

static bool svm_is_tsc_exit(struct ftkvm_replica *r)
{
	switch (svm_vmcb(r->vcpu)->control.exit_code) {
	case SVM_EXIT_RDTSC:
		return true;
	case SVM_EXIT_RDTSCP:
		/* hidden by CPUID: KVM's #UD */
		return svm_shows_rdtscp(r->vcpu);
	default:
		return false;
	}
}

static void svm_set_tsc(struct kvm_vcpu *vcpu, u64 tsc)
{
	vcpu->arch.regs[VCPU_REGS_RAX] = (u32)tsc;
	vcpu->arch.regs[VCPU_REGS_RDX] = tsc >> 32;
	if (svm_vmcb(vcpu)->control.exit_code == SVM_EXIT_RDTSCP)
		vcpu->arch.regs[VCPU_REGS_RCX] = (u32)svm_tsc_aux(vcpu);
}

/* Of an instruction behind which no single-step trap is due: svm_after_exit(). */
static void svm_finish_tsc(struct kvm_vcpu *vcpu, u64 tsc)
{
	struct vmcb *b = svm_vmcb(vcpu);
	bool aux = b->control.exit_code == SVM_EXIT_RDTSCP;

	svm_set_tsc(vcpu, tsc);
	vcpu->arch.regs[VCPU_REGS_RIP] = b->control.next_rip ?:
		vcpu->arch.regs[VCPU_REGS_RIP] + (aux ? 3 : 2);
	b->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
}

/* In the slow path. When the wait is interrupted the guest reads again later. */
static void svm_slow_tsc(struct ftkvm_replica *r)
{
	u64 tsc;

	if (ftkvm_mode(r) == FTKVM_MODE_FOLLOW) {
		if (ftkvm_follow_sync(r, FTKVM_SYNC_TSC))
			return;
		tsc = r->last_tsc;
	}
	if (ftkvm_mode(r) == FTKVM_MODE_LEAD) {
		if (ftkvm_log_room(r))
			return;
		ftkvm_lead_tsc(r, &tsc);
	} else if (ftkvm_mode(r) == FTKVM_MODE_PASS) {
		tsc = kvm_read_l1_tsc(r->vcpu, rdtsc());
	} else if (ftkvm_mode(r) != FTKVM_MODE_FOLLOW) {
		return;
	}
	svm_set_tsc(r->vcpu, tsc);
	kvm_skip_emulated_instruction(r->vcpu);
}

/* ---- exits ---- */

struct svm_sync {
	bool in;	/* may read the environment */
	bool out;	/* may let something out */
	u8 kind;	/* enum ftkvm_env_kind */
	bool msr;	/* the value is in EDX:EAX afterwards */
};

static bool svm_lapic_page(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	unsigned long base = *(unsigned long *)((char *)vcpu->arch.apic +
						FTKVM_OFF_KVM_LAPIC_BASE_ADDRESS);

	return (gpa & PAGE_MASK) == (base & PAGE_MASK);
}

static bool svm_is_mmio(struct kvm_vcpu *vcpu, gpa_t gpa, bool write)
{
	struct kvm_memory_slot *slot = gfn_to_memslot(vcpu->kvm, gpa >> PAGE_SHIFT);

	if (!slot || !kvm_is_visible_gfn(vcpu->kvm, gpa >> PAGE_SHIFT))
		return true;
	return write && (slot->flags & KVM_MEM_READONLY);
}

/* MSRs whose value depends on time */
static bool svm_time_msr(u32 msr, u8 *kind)
{
	switch (msr) {
	case MSR_IA32_TSC:
	case MSR_IA32_TSC_ADJUST:	/* KVM accounts a write of the TSC there */
	case MSR_IA32_MPERF:
	case MSR_IA32_APERF:
	case MSR_IA32_TSC_DEADLINE:
		*kind = FTKVM_ENV_MSR;
		return true;
	case APIC_BASE_MSR + (APIC_TMCCT >> 4):
		*kind = FTKVM_ENV_LAPIC;
		return true;
	default:
		return false;
	}
}

static bool svm_sets_tsc(struct kvm_vcpu *vcpu)
{
	const struct vmcb *b = svm_vmcb(vcpu);
	u32 msr = vcpu->arch.regs[VCPU_REGS_RCX];

	return b->control.exit_code == SVM_EXIT_MSR && b->control.exit_info_1 &&
	       (msr == MSR_IA32_TSC || msr == MSR_IA32_TSC_ADJUST);
}

/* Is this exit a synchronising one? Must depend on replicated state only. */
static bool svm_sync_exit(struct kvm_vcpu *vcpu, struct svm_sync *s)
{
	const struct vmcb *b = svm_vmcb(vcpu);
	u64 info = b->control.exit_info_1;

	memset(s, 0, sizeof(*s));
	switch (b->control.exit_code) {
	case SVM_EXIT_IOIO:
		s->in = info & SVM_IOIO_TYPE_MASK;
		s->out = !s->in;
		s->kind = FTKVM_ENV_PIO;
		return true;
	case SVM_EXIT_MSR:
		s->in = true;
		s->msr = true;
		return !info && svm_time_msr(vcpu->arch.regs[VCPU_REGS_RCX], &s->kind);
	case SVM_EXIT_NPF:
		if (!svm_is_mmio(vcpu, b->control.exit_info_2, info & PFERR_WRITE_MASK))
			return false;
		s->in = true;
		s->out = (info & PFERR_WRITE_MASK) &&
			 !svm_lapic_page(vcpu, b->control.exit_info_2);
		s->kind = FTKVM_ENV_MMIO;
		return true;
	case SVM_EXIT_SHUTDOWN:
		/* QEMU ends or resets the guest: the backup must have come as far */
		s->out = true;
		return true;
	default:
		return false;
	}
}

/* What svm_handle_exit() does first, for exits that don't get there. */
static void svm_sync_crs(struct kvm_vcpu *vcpu)
{
	const struct vmcb *b = svm_vmcb(vcpu);

	if (!svm_icpt(b, INTERCEPT_CR0_WRITE))
		vcpu->arch.cr0 = b->save.cr0;
	vcpu->arch.cr3 = b->save.cr3;
}

/* Whether the primary waits is its own affair. */
static bool svm_is_kick(struct kvm_vcpu *vcpu, const struct svm_sync *s)
{
	const struct vmcb *b = svm_vmcb(vcpu);

	return s->out && b->control.exit_code == SVM_EXIT_NPF &&
	       ftkvm_lockstep_is_kick(vcpu->kvm, b->control.exit_info_2);
}

/* An exit that the guest's next instruction does not repeat: a shutdown, a debug trap. */
static bool svm_comes_once(struct kvm_vcpu *vcpu)
{
	u32 code = svm_vmcb(vcpu)->control.exit_code;

	return code == SVM_EXIT_SHUTDOWN || code == SVM_EXIT_EXCP_BASE + DB_VECTOR;
}

static int svm_handle_sync(struct ftkvm_replica *r, struct svm_sync *s)
{
	u32 what = (s->in ? FTKVM_SYNC_ENV : 0) | (s->out ? FTKVM_SYNC_OUT : 0);
	struct kvm_vcpu *vcpu = r->vcpu;
	int ret;

	ret = 0;
	if (ftkvm_mode(r) == FTKVM_MODE_FOLLOW)
		ret = ftkvm_follow_sync(r, what);
	else if (ftkvm_mode(r) == FTKVM_MODE_LEAD)
		ret = ftkvm_lead_sync(r, svm_is_kick(vcpu, s) ? what | FTKVM_SYNC_KICK : what);
	/* told to stop in the wait: nothing leaves any more, or not now */
	if (!ret && ftkvm_mode_still(ftkvm_mode(r)))
		ret = -ESTALE;
	if (ret) {
		svm_sync_crs(vcpu);
		/* the instruction is executed again later, if that is possible */
		r->shut_down = ret != -ERESTART &&
			       svm_vmcb(vcpu)->control.exit_code == SVM_EXIT_SHUTDOWN;
		return 1;
	}
	ftkvm_fault(FTKVM_FAULT_EMULATE);
	r->in_guest_op = true;
	ret = ftkvm_orig_svm_handle_exit(vcpu, EXIT_FASTPATH_NONE);
	r->in_guest_op = false;
	ftkvm_fault(FTKVM_FAULT_EMULATED);
	if (s->msr && ret == 1 && !vcpu->arch.exception.pending) {
		u64 val = (u32)vcpu->arch.regs[VCPU_REGS_RAX] |
			  vcpu->arch.regs[VCPU_REGS_RDX] << 32;

		ftkvm_env_value(r, s->kind, &val, sizeof(val));
		vcpu->arch.regs[VCPU_REGS_RAX] = (u32)val;
		vcpu->arch.regs[VCPU_REGS_RDX] = val >> 32;
	}
	return ret;
}

/*
 * KVM lets go of the debug registers when the guest uses them, until the next
 * exit of any kind: it executes the instruction itself then, or the CPU does, as
 * it happens. Emulated instructions don't retire, and the backup lands by a
 * debug register that the guest must not overwrite: so all are emulated, on
 * both sides. KVM does that where a debugger of the host's is at work.
 */
static int svm_handle_dr(struct kvm_vcpu *vcpu)
{
	unsigned int debug = vcpu->guest_debug;
	int ret;

	vcpu->guest_debug |= KVM_GUESTDBG_ENABLE;
	ret = ftkvm_orig_svm_handle_exit(vcpu, EXIT_FASTPATH_NONE);
	vcpu->guest_debug = debug;
	return ret;
}

static bool svm_is_dr_exit(struct kvm_vcpu *vcpu)
{
	u32 code = svm_vmcb(vcpu)->control.exit_code;

	return code >= SVM_EXIT_READ_DR0 && code <= SVM_EXIT_WRITE_DR7;
}

/**
 * ftkvm_hook_svm_handle_exit() - an exit that left the fast path
 * @vcpu: the vCPU
 * @fp: what the fast path did
 *
 * Waits for the log or for output commit *before* KVM emulates anything, so
 * that an interrupted wait leaves an instruction that was not begun.
 * Context: vCPU thread, process context, kvm->srcu read-held.
 * Return: as svm_handle_exit(): 1 re-enter, 0 go to userspace, -errno.
 */
int ftkvm_hook_svm_handle_exit(struct kvm_vcpu *vcpu, fastpath_t fp)
{
	struct ftkvm_replica *r;
	enum ftkvm_mode mode;
	struct svm_sync s;
	int ret;

	ftkvm_hook_enter();
	r = ftkvm_replica_get(vcpu->kvm);
again:
	/* once: of an exit that is ours under one mode, KVM may know nothing under the next */
	mode = r ? ftkvm_mode(r) : FTKVM_MODE_PASS;
	if (r && vcpu == r->vcpu && r->armed_vmcb && mode == FTKVM_MODE_PASS &&
	    fp == EXIT_FASTPATH_NONE && svm_is_tsc_exit(r)) {
		/* gone solo meanwhile: the intercept was ours, KVM has no handler */
		svm_sync_crs(vcpu);
		svm_slow_tsc(r);
		ret = 1;
		goto out;
	}
	if (!r || !r->started || vcpu != r->vcpu || mode == FTKVM_MODE_PASS) {
		ret = ftkvm_orig_svm_handle_exit(vcpu, fp);
		goto out;
	}
	r->out_done = false;
	r->out_kick = false;
	if (ftkvm_mode_still(mode)) {
		svm_sync_crs(vcpu);
		if (!ftkvm_log_wait(r) && ftkvm_mode(r) == FTKVM_MODE_PASS)
			goto again;
		/*
		 * The instruction is executed again later, where that is possible. Not
		 * entered since (another @fp), it is as it was.
		 */
		if (fp == EXIT_FASTPATH_NONE)
			r->shut_down = svm_comes_once(vcpu);
		ret = READ_ONCE(r->detaching) ? -EIO : 1;
		goto out;
	}
	if (fp != EXIT_FASTPATH_NONE) {
		ret = ftkvm_orig_svm_handle_exit(vcpu, fp);
	} else if (ftkvm_svm_is_our_bp(r)) {
		svm_sync_crs(vcpu);
		ret = 1;
	} else if (svm_is_tsc_exit(r)) {
		svm_sync_crs(vcpu);
		svm_slow_tsc(r);
		ret = 1;
	} else if (svm_sync_exit(vcpu, &s)) {
		ret = svm_handle_sync(r, &s);
	} else {
		bool sets_tsc = svm_sets_tsc(vcpu);

		r->in_guest_op = true;
		ret = svm_is_dr_exit(vcpu) ? svm_handle_dr(vcpu) :
					     ftkvm_orig_svm_handle_exit(vcpu, fp);
		r->in_guest_op = false;
		if (sets_tsc) {
			/* what was known of the peer's clock, and of the guest's, is void */
			r->tsc_ahead = 0;
			r->last_tsc = 0;
		}
	}
	if (ret == 1)
		ftkvm_prepare(r);
out:
	if (r)
		ftkvm_replica_put(r);
	ftkvm_hook_leave();
	return ret;
}

/* Whether the guest may be entered; if so, counter and breakpoint are set. */
static bool svm_before_entry(struct ftkvm_replica *r, struct svm_bp *bp)
{
	bp->slot = -1;
	if (r->plan.step != FTKVM_STEP_RUN && r->plan.step != FTKVM_STEP_SEEK)
		return false;
	if (r->plan.until <= r->now.count)
		return false;
	svm_arm(r->vcpu);
	WRITE_ONCE(r->armed_vmcb, true);
	if (ftkvm_counter_arm(r, r->plan.until))
		return false;
	if (r->plan.step == FTKVM_STEP_SEEK)
		ftkvm_svm_bp_set(r, bp);
	return true;
}

static fastpath_t svm_replan(struct ftkvm_replica *r)
{
	return ftkvm_follow_prepare(r, false) ? EXIT_FASTPATH_EXIT_HANDLED :
						EXIT_FASTPATH_REENTER_GUEST;
}

static fastpath_t svm_after_exit(struct ftkvm_replica *r, fastpath_t fp, struct svm_bp *bp)
{
	struct kvm_vcpu *vcpu = r->vcpu;
	u64 tsc;

	r->bp_hit = bp->slot >= 0 && ftkvm_svm_bp_clear(r, bp, fp);
	svm_db_mask(svm_vmcb(vcpu));
	if (ftkvm_counter_read(r, &r->now.count)) {
		r->plan.step = FTKVM_STEP_WAIT;
		return fp;
	}
	r->now = ftkvm_here(r);
	r->st.exits++;
	trace_ftkvm_exit(r->now.count, r->now.rip, svm_vmcb(vcpu)->control.exit_code,
			 r->plan.step, r->plan.until, r->bp_hit);
	if (r->bp_hit) {
		ftkvm_fault(FTKVM_FAULT_LAND_HIT);
		r->st.land_steps++;
	}
	if (fp == EXIT_FASTPATH_REENTER_GUEST && ftkvm_mode(r) == FTKVM_MODE_FOLLOW)
		/* KVM emulated something: the plan was made for another point */
		return svm_replan(r);
	if (fp != EXIT_FASTPATH_NONE)
		return fp;
	/* KVM has nothing to do for an NMI: the host took it as the guest was left */
	if (svm_vmcb(vcpu)->control.exit_code == SVM_EXIT_NMI)
		return ftkvm_mode(r) == FTKVM_MODE_LEAD && ftkvm_svm_fit(vcpu) &&
		       ftkvm_lead_again(r) ? EXIT_FASTPATH_REENTER_GUEST : fp;
	if (!svm_is_tsc_exit(r) || (svm_vmcb(vcpu)->save.rflags & X86_EFLAGS_TF))
		return fp;

	/* the fast path of a clock read: no lock, no wait, no leaving */
	if (ftkvm_mode(r) == FTKVM_MODE_LEAD) {
		if (ftkvm_inputs_any(r) || !ftkvm_log_room_now(r) ||
		    r->now.count >= r->plan.until || !ftkvm_lead_tsc(r, &tsc))
			return fp;
		svm_finish_tsc(vcpu, tsc);
		/* an input came meanwhile: the epoch ends behind this instruction */
		return r->snap_after ? EXIT_FASTPATH_EXIT_HANDLED : EXIT_FASTPATH_REENTER_GUEST;
	}
	if (ftkvm_mode(r) == FTKVM_MODE_FOLLOW && ftkvm_follow_tsc(r, &tsc)) {
		svm_finish_tsc(vcpu, tsc);
		return svm_replan(r);
	}
	return fp;
}

/*
 * The guest is not entered after all: what KVM would have injected is prepared anew for the
 * next entry. Until then userspace may change the guest, and take it back: a reset does.
 * svm_handle_exit() comes next, and waits.
 */
static fastpath_t svm_refuse(struct kvm_vcpu *vcpu)
{
	struct vmcb *b = svm_vmcb(vcpu);

	if (b->control.event_inj & SVM_EVTINJ_VALID) {
		b->control.event_inj = 0;
		kvm_make_request(KVM_REQ_EVENT, vcpu);
	}
	return EXIT_FASTPATH_EXIT_HANDLED;
}

/* Enter the guest as the plan says; what came of it. */
static fastpath_t svm_enter(struct ftkvm_replica *r, u64 run_flags)
{
	struct kvm_vcpu *vcpu = r->vcpu;
	fastpath_t fp;
	struct svm_bp bp;

	if (unlikely(r->shut_down)) {
		/* the VMCB is undefined but for its exit code: the same exit again */
		r->shut_down = false;
		return EXIT_FASTPATH_NONE;
	}
	if (!svm_before_entry(r, &bp))
		return svm_refuse(vcpu);
	ftkvm_fault(FTKVM_FAULT_ENTRY);
	r->in_guest_op = true;
	fp = ftkvm_orig_svm_vcpu_run(vcpu, run_flags);
	r->in_guest_op = false;
	ftkvm_fault(FTKVM_FAULT_EXITED);
	return svm_after_exit(r, fp, &bp);
}

/*
 * Whether KVM would enter the guest again at once: vcpu_enter_guest()'s own test. What
 * it has to look at, it looks at. The way through it and through our redirection costs
 * more than all that is ours in a clock read.
 */
static bool svm_goes_on(struct ftkvm_replica *r, u64 run_flags, fastpath_t fp)
{
	struct kvm_vcpu *vcpu = r->vcpu;

	if (fp != EXIT_FASTPATH_REENTER_GUEST || run_flags ||
	    (ftkvm_mode(r) != FTKVM_MODE_LEAD && ftkvm_mode(r) != FTKVM_MODE_FOLLOW) ||
	    READ_ONCE(vcpu->mode) == EXITING_GUEST_MODE || kvm_request_pending(vcpu) ||
	    xfer_to_guest_mode_work_pending())
		return false;
	vcpu->stat.exits++;
	return true;
}

/**
 * ftkvm_pre_svm_vcpu_run() - around VMRUN
 * @vcpu: the vCPU
 * @run_flags: KVM_RUN_*
 * @unused: none
 * @ret: the result of svm_vcpu_run(), if it is done
 *
 * Arms counter and breakpoint by the replica's plan, reads the execution
 * point after the exit, answers clock reads. A guest without a replica is entered
 * with no frame of this module on the stack.
 * Context: vCPU thread, interrupts off.
 * Return: false: go on to enter the guest.
 */
bool ftkvm_pre_svm_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags, long unused, long *ret)
{
	struct ftkvm_replica *r;
	bool done = true;
	fastpath_t fp;

	ftkvm_hook_enter();
	r = ftkvm_replica_get_irqoff(vcpu->kvm);
	if (!r) {
		ftkvm_hook_leave();
		return false;
	}
	switch (ftkvm_mode(r)) {
	case FTKVM_MODE_LEAD:
	case FTKVM_MODE_FOLLOW:
		if (!r->started || vcpu != r->vcpu) {
			*ret = svm_refuse(vcpu);
			break;
		}
		do {
			fp = svm_enter(r, run_flags);
		} while (svm_goes_on(r, run_flags, fp));
		*ret = fp;
		break;
	case FTKVM_MODE_PASS:
		/* what is delivered here is injected at the next entry: exit at once */
		done = ftkvm_inputs_any(r) || r->shut_down;
		ftkvm_replica_settle(r);
		if (unlikely(r->shut_down)) {
			r->shut_down = false;
			*ret = EXIT_FASTPATH_NONE;
			break;
		}
		if (done)
			*ret = ftkvm_orig_svm_vcpu_run(vcpu, run_flags |
						       KVM_RUN_FORCE_IMMEDIATE_EXIT);
		break;
	default:
		*ret = svm_refuse(vcpu);
		break;
	}
	ftkvm_replica_put(r);
	ftkvm_hook_leave();
	return done;
}

static void svm_check(struct kvm_vcpu *vcpu, ftkvm_problem_fn fn, void *priv)
{
	if (!boot_cpu_has(X86_FEATURE_NRIPS))
		fn(priv, FTKVM_SCOPE_HOST, "the CPU does not tell where the next instruction is (NRIPS)",
		   "use a newer one, or its firmware's defaults");
	if (!vcpu)
		return;
	if (!(svm_vmcb(vcpu)->control.nested_ctl & SVM_NESTED_CTL_NP_ENABLE))
		fn(priv, FTKVM_SCOPE_HOST, "nested paging is off",
		   "load kvm_amd with npt=1");
	if (svm_vmcb(vcpu)->control.nested_ctl & SVM_NESTED_CTL_SEV_ENABLE)
		fn(priv, FTKVM_SCOPE_GUEST, "the guest's memory is encrypted (SEV)",
		   "start it without SEV");
	if (*(bool *)((char *)vcpu->arch.apic + FTKVM_OFF_KVM_LAPIC_APICV_ACTIVE))
		fn(priv, FTKVM_SCOPE_HOST, "AVIC delivers interrupts past KVM",
		   "load kvm_amd with avic=0");
}

const struct ftkvm_vendor ftkvm_svm = {
	.name = "AMD SVM",
	.module = "kvm_amd",
	.build_id = FTKVM_BUILD_ID_KVM_AMD,
	.check = svm_check,
	.ready = ftkvm_svm_ready,
	.regs = ftkvm_svm_regs,
	.base = ftkvm_svm_base,
	.image = ftkvm_svm_image,
	.hidden = ftkvm_svm_hidden,
	.set_hidden = ftkvm_svm_set_hidden,
	.dirty_bit = _PAGE_BIT_DIRTY,
	.fit = ftkvm_svm_fit,
	.open = ftkvm_svm_open,
	.arm = svm_arm,
	.disarm = svm_disarm,
};
