// SPDX-License-Identifier: GPL-2.0
/*
 * AMD SVM: what the guest's registers are, and what may happen where they are so. KVM
 * keeps most of them in the VMCB.
 */
#include "../core/digest.h"
#include "../core/image.h"
#include "../fault/fault.h"
#include "svm.h"

static bool svm_nmi_singlestep(struct kvm_vcpu *vcpu)
{
	return *svm_field(vcpu, bool, NMI_SINGLESTEP);
}

/**
 * ftkvm_svm_ready() - what QEMU has set is where ftkvm_svm_regs() and ftkvm_svm_image() look
 * @vcpu: the vCPU
 *
 * KVM writes CR3 as it enters the guest.
 * Context: vCPU thread, before an entry.
 */
void ftkvm_svm_ready(struct kvm_vcpu *vcpu)
{
	struct vmcb *b = svm_vmcb(vcpu);

	b->save.cr3 = vcpu->arch.cr3;
	b->control.clean &= ~SVM_CLEAN_CR;
}

/**
 * ftkvm_svm_regs() - the registers that a digest covers
 * @vcpu: the vCPU
 * @regs: gets them
 *
 * Context: vCPU thread, after an exit.
 */
void ftkvm_svm_regs(struct kvm_vcpu *vcpu, struct ftkvm_regs *regs)
{
	const struct vmcb *b = svm_vmcb(vcpu);

	/* enum ftkvm_reg begins in KVM's order, which is the hardware's */
	memcpy(regs->r, vcpu->arch.regs, 16 * sizeof(u64));
	regs->r[FTKVM_REG_RIP] = vcpu->arch.regs[VCPU_REGS_RIP];
	regs->r[FTKVM_REG_RFLAGS] = b->save.rflags;
	regs->r[FTKVM_REG_CR0] = b->save.cr0;
	regs->r[FTKVM_REG_CR2] = vcpu->arch.cr2;
	regs->r[FTKVM_REG_CR3] = b->save.cr3;
	/* KVM keeps the host's machine check enable in the guest's CR4 */
	regs->r[FTKVM_REG_CR4] = b->save.cr4 & ~X86_CR4_MCE;
	regs->r[FTKVM_REG_CS] = b->save.cs.selector;
	regs->r[FTKVM_REG_EFER] = b->save.efer;
}

static void svm_image_seg(struct ftkvm_image *img, const char *name, const struct vmcb_seg *s)
{
	/* what a segment that can't be used has in its hidden part, nobody sees */
	bool used = s->attrib & SVM_SELECTOR_P_MASK;

	ftkvm_image_word(img, name, -1, s->selector);
	ftkvm_image_word(img, name, 1, used ? s->attrib : 0);
	ftkvm_image_word(img, name, 2, used ? s->limit : 0);
	ftkvm_image_word(img, name, 3, s->base);
}

/* What the guest reads there: the VMCB has what it runs with. */
static void svm_image_control(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	const struct vmcb *b = svm_vmcb(vcpu);

	/* KVM clears CD and NW. What it does not intercept it notes as it handles an exit */
	ftkvm_image_word(img, "cr0 as it is read", -1,
			 svm_icpt(b, INTERCEPT_CR0_WRITE) ? vcpu->arch.cr0 : b->save.cr0);
	ftkvm_image_word(img, "cr4 as it is read", -1, vcpu->arch.cr4);
}

static void svm_image_msrs(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	const struct vmcb_save_area *s = &svm_vmcb(vcpu)->save;

	ftkvm_image_word(img, "star", -1, s->star);
	ftkvm_image_word(img, "lstar", -1, s->lstar);
	ftkvm_image_word(img, "cstar", -1, s->cstar);
	ftkvm_image_word(img, "sfmask", -1, s->sfmask);
	ftkvm_image_word(img, "kernel gs base", -1, s->kernel_gs_base);
	ftkvm_image_word(img, "sysenter cs", -1, s->sysenter_cs);
	ftkvm_image_word(img, "sysenter esp", -1, s->sysenter_esp);
	ftkvm_image_word(img, "sysenter eip", -1, s->sysenter_eip);
	ftkvm_image_word(img, "tsc aux", -1, svm_tsc_aux(vcpu));
	ftkvm_image_word(img, "debugctl", -1, s->dbgctl);
	ftkvm_image_word(img, "spec ctrl", -1, boot_cpu_has(X86_FEATURE_V_SPEC_CTRL) ?
			 s->spec_ctrl : *svm_field(vcpu, u64, SPEC_CTRL));
	ftkvm_image_word(img, "virt spec ctrl", -1, *svm_field(vcpu, u64, VIRT_SPEC_CTRL));
	ftkvm_image_word(img, "de cfg", -1, *svm_field(vcpu, u64, MSR_DECFG));
	ftkvm_image_word(img, "hsave pa", -1, *svm_field(vcpu, u64, NESTED_HSAVE_MSR));
	ftkvm_image_word(img, "vm cr", -1, *svm_field(vcpu, u64, NESTED_VM_CR_MSR));
}

/*
 * An NMI is queued, pending, then injected as KVM gets ready to enter the guest, which it
 * may have to do more than once; where the CPU delivers them, it blocks them, too.
 */
static void svm_image_nmi(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	u32 ctl = svm_vmcb(vcpu)->control.int_ctl;
	const struct kvm_vcpu_arch *a = &vcpu->arch;
	u32 there = atomic_read(&a->nmi_queued) + a->nmi_pending + a->nmi_injected;
	bool blocked;

	if (ctl & V_NMI_ENABLE_MASK) {
		there += !!(ctl & V_NMI_PENDING_MASK);
		blocked = ctl & V_NMI_BLOCKING_MASK;
	} else {
		blocked = *svm_field(vcpu, bool, NMI_MASKED) && !a->nmi_injected;
	}
	ftkvm_image_word(img, "nmis pending", -1, there);
	ftkvm_image_word(img, "nmi blocked", -1, blocked);
}

/**
 * ftkvm_svm_image() - the registers that a verification covers beside ftkvm_svm_regs()
 * @vcpu: the vCPU
 * @img: where they are listed
 *
 * Context: as ftkvm_svm_regs().
 */
void ftkvm_svm_image(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	struct vmcb_save_area *s = &svm_vmcb(vcpu)->save;

	ftkvm_fault_data(FTKVM_FAULT_VERIFY_VMCB, s, sizeof(*s));
	svm_image_control(vcpu, img);
	svm_image_seg(img, "cs", &s->cs);
	svm_image_seg(img, "ds", &s->ds);
	svm_image_seg(img, "es", &s->es);
	svm_image_seg(img, "fs", &s->fs);
	svm_image_seg(img, "gs", &s->gs);
	svm_image_seg(img, "ss", &s->ss);
	svm_image_seg(img, "tr", &s->tr);
	svm_image_seg(img, "ldtr", &s->ldtr);
	ftkvm_image_word(img, "gdtr limit", -1, s->gdtr.limit);
	ftkvm_image_word(img, "gdtr base", -1, s->gdtr.base);
	ftkvm_image_word(img, "idtr limit", -1, s->idtr.limit);
	ftkvm_image_word(img, "idtr base", -1, s->idtr.base);
	ftkvm_image_word(img, "cpl", -1, s->cpl);
	/* not DR6: KVM has the guest's, see verify_regs.c */
	ftkvm_image_word(img, "dr7", -1, s->dr7);
	svm_image_msrs(vcpu, img);
	svm_image_nmi(vcpu, img);
	ftkvm_image_word(img, "interrupt shadow", -1,
			 svm_vmcb(vcpu)->control.int_state & SVM_INTERRUPT_SHADOW_MASK);
}

/**
 * ftkvm_svm_hidden() - what QEMU can't read whole, or does not, and so does not migrate
 * @vcpu: the vCPU
 * @words: FTKVM_HIDDEN of them, which it gets
 *
 * Of SYSENTER's KVM tells and takes 32 bits, unless the guest's CPU is Intel's. The others
 * QEMU does not know; Linux writes the first of them as it boots.
 * Context: as ftkvm_svm_regs().
 */
void ftkvm_svm_hidden(struct kvm_vcpu *vcpu, __le64 *words)
{
	const struct vmcb_save_area *s = &svm_vmcb(vcpu)->save;

	words[0] = cpu_to_le64(s->sysenter_esp);
	words[1] = cpu_to_le64(s->sysenter_eip);
	words[2] = cpu_to_le64(*svm_field(vcpu, u64, MSR_DECFG));
	words[3] = cpu_to_le64(vcpu->arch.msr_misc_features_enables);
	words[4] = cpu_to_le64(vcpu->arch.msr_ia32_power_ctl);
	static_assert(FTKVM_HIDDEN == 5);
}

/**
 * ftkvm_svm_set_hidden() - set the registers that ftkvm_svm_hidden() tells
 * @vcpu: the vCPU
 * @words: FTKVM_HIDDEN of them
 *
 * Context: as ftkvm_svm_regs().
 */
void ftkvm_svm_set_hidden(struct kvm_vcpu *vcpu, const __le64 *words)
{
	struct vmcb_save_area *s = &svm_vmcb(vcpu)->save;

	s->sysenter_esp = le64_to_cpu(words[0]);
	s->sysenter_eip = le64_to_cpu(words[1]);
	*svm_field(vcpu, u64, MSR_DECFG) = le64_to_cpu(words[2]);
	vcpu->arch.msr_misc_features_enables = le64_to_cpu(words[3]);
	vcpu->arch.msr_ia32_power_ctl = le64_to_cpu(words[4]);
}

/**
 * ftkvm_svm_base() - the code segment's base
 * @vcpu: the vCPU
 *
 * RIP is relative to it, but in 64-bit mode; breakpoints are at linear addresses.
 * Context: as ftkvm_svm_regs().
 * Return: it; 0 in 64-bit mode.
 */
u32 ftkvm_svm_base(struct kvm_vcpu *vcpu)
{
	const struct vmcb *b = svm_vmcb(vcpu);

	if ((b->save.efer & EFER_LMA) && (b->save.cs.attrib & SVM_SELECTOR_L_MASK))
		return 0;
	return b->save.cs.base;
}

/**
 * ftkvm_svm_fit() - can the backup land on this point?
 * @vcpu: the vCPU
 *
 * It can between two instructions (RF is set in the middle of a REP instruction),
 * with no event half delivered, and no shadow that holds a breakpoint back.
 * Context: as ftkvm_svm_regs().
 * Return: whether it can.
 */
bool ftkvm_svm_fit(struct kvm_vcpu *vcpu)
{
	const struct vmcb *b = svm_vmcb(vcpu);

	return !(b->control.int_state & SVM_INTERRUPT_SHADOW_MASK) &&
	       !(b->save.rflags & X86_EFLAGS_RF) &&
	       !vcpu->arch.interrupt.injected && !vcpu->arch.nmi_injected &&
	       !vcpu->arch.exception.injected && !vcpu->arch.exception.pending &&
	       !(vcpu->arch.hflags & HF_SMM_MASK) && !svm_nmi_singlestep(vcpu);
}

/**
 * ftkvm_svm_open() - would the CPU take an interrupt here?
 * @vcpu: the vCPU
 *
 * Context: as ftkvm_svm_regs().
 * Return: whether it would.
 */
bool ftkvm_svm_open(struct kvm_vcpu *vcpu)
{
	const struct vmcb *b = svm_vmcb(vcpu);

	return (b->save.rflags & X86_EFLAGS_IF) &&
	       !(b->control.int_state & SVM_INTERRUPT_SHADOW_MASK) &&
	       vcpu->arch.pending_external_vector == -1;
}
