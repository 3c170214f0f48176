// SPDX-License-Identifier: GPL-2.0
/*
 * What a verification compares of a vCPU: registers of every kind, but those that are the
 * vendor's. Documentation/ftkvm/protocol.rst says what is left out, and why.
 */
#include <linux/crc32c.h>
#include <linux/kvm_host.h>
#include <asm/debugreg.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include "../core/digest.h"
#include "../core/image.h"
#include "../fault/fault.h"
#include "replica.h"
#include "vendor.h"
#include "layout.h"

/* Legacy and extended region of XSAVE's standard form, SDM volume 1, 13.4. */
#define XSAVE_FCW	0	/* control, status, tag words: 2, 2 and 1 bytes */
#define XSAVE_FCW_MASK	0xffffffffffull
#define XSAVE_MXCSR	24
#define XSAVE_ST	32
#define XSAVE_XMM	160
#define XSAVE_LEGACY	512
#define XSAVE_HEADER	64
#define XSAVE_YMM	(XSAVE_LEGACY + XSAVE_HEADER)	/* upper halves */
#define XSAVE_YMM_SIZE	256
#define XSAVE_MORE	3	/* the first component behind YMM: where they are, CPUID tells */
#define XSAVE_MASK_BITS	63
#define XSAVE_BLOCK	64	/* bytes of these that make a word here */

#define APIC_REGS_END	0x400	/* of its page */

static void verify_words(struct ftkvm_image *img, const char *name, const void *data, u32 bytes)
{
	const u64 *v = data;
	int i;

	for (i = 0; i < bytes / sizeof(u64); i++)
		ftkvm_image_word(img, name, i, v[i]);
}

/* Where a component of the state is in XSAVE's standard form: what it is, and @at. */
static u32 verify_xsave_part(unsigned int nr, u32 *at)
{
	u32 size, ecx, edx;

	cpuid_count(0xd, nr, &size, at, &ecx, &edx);
	return size;
}

static u32 verify_xsave_size(u64 mask)
{
	u32 size = XSAVE_YMM + XSAVE_YMM_SIZE, part, at;
	unsigned int nr;

	for (nr = XSAVE_MORE; nr < XSAVE_MASK_BITS; nr++) {
		if (!(mask & BIT_ULL(nr)))
			continue;
		part = verify_xsave_part(nr, &at);
		size = max(size, at + part);
	}
	return size;
}

/* What this host's CPU has beyond that, the peer's may not. */
static void verify_xsave_more(struct ftkvm_image *img, const u8 *area, u64 mask)
{
	u32 part, at, i;
	unsigned int nr;

	for (nr = XSAVE_MORE; nr < XSAVE_MASK_BITS; nr++) {
		if (!(mask & BIT_ULL(nr)))
			continue;
		part = verify_xsave_part(nr, &at);
		for (i = 0; i < part; i += XSAVE_BLOCK)
			ftkvm_image_word(img, "extended state at ", at + i,
					 crc32c(~0, area + at + i,
						min_t(u32, part - i, XSAVE_BLOCK)));
	}
}

/*
 * The FPU's registers are in the CPU, or where the scheduler has saved them. FIP,
 * FDP and FOP are left out: AMD's CPUs save and restore them only with an
 * exception pending, so a switch of tasks on the host loses them (APM volume
 * 2, 11.4.4).
 */
static int verify_fpu(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	/* one that may not use XSAVE has x87 and SSE all the same */
	u64 mask = (vcpu->arch.guest_supported_xcr0 | XFEATURE_MASK_FPSSE) & ~XFEATURE_MASK_PKRU;
	u8 *area, *at;
	int i;

	area = ftkvm_fault_alloc(ALLOC_IMAGE,
				 kvzalloc(verify_xsave_size(mask) + 64, GFP_KERNEL));
	if (!area)
		return -ENOMEM;
	at = PTR_ALIGN(area, 64);
	fpregs_lock();
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
	if (cpu_feature_enabled(X86_FEATURE_XSAVE))
		asm volatile("xsave64 (%0)" : : "r" (at), "a" ((u32)mask), "d" ((u32)(mask >> 32))
			     : "memory");
	else
		asm volatile("fxsave64 (%0)" : : "r" (at) : "memory");
	fpregs_unlock();
	ftkvm_fault_data(FTKVM_FAULT_VERIFY_FPU, at, XSAVE_YMM + XSAVE_YMM_SIZE);
	ftkvm_image_word(img, "x87 control", -1, *(u64 *)(at + XSAVE_FCW) & XSAVE_FCW_MASK);
	ftkvm_image_word(img, "mxcsr", -1, *(u32 *)(at + XSAVE_MXCSR));
	for (i = 0; i < 8; i++) {
		ftkvm_image_word(img, "st", i, *(u64 *)(at + XSAVE_ST + 16 * i));
		ftkvm_image_word(img, "st exponent ", i, *(u16 *)(at + XSAVE_ST + 16 * i + 8));
	}
	verify_words(img, "xmm half ", at + XSAVE_XMM, 256);
	verify_words(img, "ymm upper half ", at + XSAVE_YMM, XSAVE_YMM_SIZE);
	verify_xsave_more(img, at, mask);
	kvfree(area);
	return 0;
}

static void verify_lapic(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	u8 *regs = *(u8 **)((char *)vcpu->arch.apic + FTKVM_OFF_KVM_LAPIC_REGS);
	int off;

	ftkvm_fault_data(FTKVM_FAULT_VERIFY_LAPIC, regs, APIC_REGS_END);
	for (off = 0; off < APIC_REGS_END; off += 0x10) {
		/* computed when they are asked for, or when KVM gets round to it */
		if (off == APIC_PROCPRI || off == APIC_TMCCT || off == APIC_ARBPRI)
			continue;
		ftkvm_image_word(img, "local APIC register ", off, *(u32 *)(regs + off));
	}
}

/*
 * Events that wait, or are half delivered. What is pending becomes injected as KVM gets
 * ready to enter the guest, which it may have to do more than once: both are one here.
 * An instruction's own (INT3, INTO, INTn) goes on as that instruction, executed again;
 * QEMU does not migrate it.
 */
static void verify_events(const struct kvm_vcpu_arch *a, struct ftkvm_image *img)
{
	const struct kvm_queued_exception *e = &a->exception;
	bool there = (e->pending || e->injected) && e->vector != BP_VECTOR &&
		     e->vector != OF_VECTOR;

	ftkvm_image_word(img, "8259's vector", -1, a->pending_external_vector);
	ftkvm_image_word(img, "interrupt injected", -1,
			 a->interrupt.injected && !a->interrupt.soft ?
			 a->interrupt.nr | BIT(8) : 0);
	ftkvm_image_word(img, "exception", -1, there ? e->vector | BIT(8) : 0);
	ftkvm_image_word(img, "exception's error code", -1,
			 there && e->has_error_code ? e->error_code | BIT_ULL(32) : 0);
	ftkvm_image_word(img, "smi pending", -1, a->smi_pending);
}

/*
 * As the guest reads it. What a debug exception that is pending will set there, KVM does as
 * it gets ready to enter the guest, which is no different to the guest.
 */
static u64 verify_dr6(const struct kvm_vcpu_arch *a)
{
	const struct kvm_queued_exception *e = &a->exception;
	u64 dr6 = a->dr6;

	if (!e->pending || !e->has_payload || e->vector != DB_VECTOR)
		return dr6;
	dr6 = ((dr6 & ~DR_TRAP_BITS) | DR6_ACTIVE_LOW | e->payload) ^
	      (e->payload & DR6_ACTIVE_LOW);
	/* "pending debug exceptions" of Intel's: no bit of DR6 */
	return dr6 & ~BIT_ULL(12);
}

static void verify_common(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	const struct kvm_vcpu_arch *a = &vcpu->arch;
	u64 ram;

	ftkvm_image_word(img, "memory layout", -1, ftkvm_slots_crc(vcpu->kvm, &ram));
	ftkvm_image_word(img, "mp state", -1, a->mp_state);
	ftkvm_image_word(img, "xcr0", -1, a->xcr0);
	ftkvm_image_word(img, "pkru", -1, a->pkru);
	ftkvm_image_word(img, "apic base", -1, a->apic_base);
	ftkvm_image_word(img, "misc enable", -1, a->ia32_misc_enable_msr);
	ftkvm_image_word(img, "pat", -1, a->pat);
	ftkvm_image_word(img, "smbase", -1, a->smbase);
	ftkvm_image_word(img, "xss", -1, a->ia32_xss);
	ftkvm_image_word(img, "mcg status", -1, a->mcg_status);
	ftkvm_image_word(img, "mcg ctl", -1, a->mcg_ctl);
	ftkvm_image_word(img, "mcg ext ctl", -1, a->mcg_ext_ctl);
	if (a->mce_banks)
		verify_words(img, "machine check bank word ", a->mce_banks,
			     (a->mcg_cap & 0xff) * 4 * sizeof(u64));
	if (a->mci_ctl2_banks)
		verify_words(img, "machine check ctl2 ", a->mci_ctl2_banks,
			     (a->mcg_cap & 0xff) * sizeof(u64));
	verify_words(img, "mtrr word ", &a->mtrr_state.var, sizeof(a->mtrr_state.var));
	verify_words(img, "fixed mtrr word ", &a->mtrr_state.fixed_64k,
		     offsetof(struct kvm_mtrr, deftype) - offsetof(struct kvm_mtrr, fixed_64k));
	ftkvm_image_word(img, "mtrr deftype", -1, a->mtrr_state.deftype);
	ftkvm_image_word(img, "hwcr", -1, a->msr_hwcr);
	ftkvm_image_word(img, "misc features enables", -1, a->msr_misc_features_enables);
	ftkvm_image_word(img, "power ctl", -1, a->msr_ia32_power_ctl);
	verify_words(img, "dr", a->db, sizeof(a->db));
	ftkvm_image_word(img, "dr6", -1, verify_dr6(a));
	ftkvm_image_word(img, "dr7 as it is read", -1, a->dr7);
	verify_events(a, img);
	/* in hflags the rest is KVM's bookkeeping */
	ftkvm_image_word(img, "smm", -1, a->hflags & (HF_SMM_MASK | HF_SMM_INSIDE_NMI_MASK));
	ftkvm_image_word(img, "smi count", -1, a->smi_count);
}

/**
 * ftkvm_verify_image() - list the registers of every kind
 * @vcpu: the vCPU
 * @img: the list, begun
 *
 * Context: vCPU thread, process context, after an exit; kvm->srcu read-held.
 * Return: 0, -ENOMEM.
 */
int ftkvm_verify_image(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	struct ftkvm_regs regs;
	int i;

	ftkvm_vendor()->regs(vcpu, &regs);
	for (i = 0; i < FTKVM_NREGS; i++)
		ftkvm_image_word(img, ftkvm_reg_name(i), -1,
				 regs.r[i] & ~(i == FTKVM_REG_RFLAGS ? FTKVM_RFLAGS_IGNORED : 0));
	ftkvm_vendor()->image(vcpu, img);
	verify_common(vcpu, img);
	verify_lapic(vcpu, img);
	return verify_fpu(vcpu, img);
}
