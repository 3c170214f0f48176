/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of AMD SVM share. AMD64 APM volume 2, chapter 15.
 */
#ifndef FTKVM_SVM_H
#define FTKVM_SVM_H

#include <linux/kvm_host.h>
#include <asm/svm.h>
#include "replica.h"
#include "layout.h"

/* VMCB clean bits, APM 15.15.3 */
#define SVM_CLEAN_INTERCEPTS	BIT(0)
#define SVM_CLEAN_CR		BIT(5)
#define SVM_CLEAN_DR		BIT(6)

static inline struct vmcb *svm_vmcb(struct kvm_vcpu *vcpu)
{
	return *(struct vmcb **)((char *)vcpu + FTKVM_OFF_VCPU_SVM_VMCB);
}

/* A field of struct vcpu_svm, of @type, whose offset is FTKVM_OFF_VCPU_SVM_@name */
#define svm_field(vcpu, type, name)	\
	((type *)((char *)(vcpu) + FTKVM_OFF_VCPU_SVM_##name))

static inline u64 svm_tsc_aux(struct kvm_vcpu *vcpu)
{
	return *svm_field(vcpu, u64, TSC_AUX);
}

static inline bool svm_icpt(const struct vmcb *b, u32 bit)
{
	return b->control.intercepts[bit / 32] & BIT(bit % 32);
}

static inline void svm_set_icpt(struct vmcb *b, u32 bit, bool on)
{
	if (svm_icpt(b, bit) == on)
		return;
	b->control.intercepts[bit / 32] ^= BIT(bit % 32);
	b->control.clean &= ~SVM_CLEAN_INTERCEPTS;
}

/**
 * struct svm_bp - the breakpoint that the backup lands by
 * @slot: of the debug registers; negative: none is set
 * @at: linear address
 * @dr7: the guest's
 * @icpt: KVM had the exception intercepted already
 * @rf: RF is ours
 */
struct svm_bp {
	int slot;
	u64 at;
	u64 dr7;
	bool icpt;
	bool rf;
};

/* ---- svm_bp.c ---- */
void ftkvm_svm_bp_set(struct ftkvm_replica *r, struct svm_bp *bp);
bool ftkvm_svm_bp_clear(struct ftkvm_replica *r, struct svm_bp *bp, fastpath_t fp);
bool ftkvm_svm_is_our_bp(struct ftkvm_replica *r);

/* ---- svm_regs.c: see struct ftkvm_vendor ---- */
void ftkvm_svm_ready(struct kvm_vcpu *vcpu);
void ftkvm_svm_regs(struct kvm_vcpu *vcpu, struct ftkvm_regs *regs);
u32 ftkvm_svm_base(struct kvm_vcpu *vcpu);
void ftkvm_svm_image(struct kvm_vcpu *vcpu, struct ftkvm_image *img);
void ftkvm_svm_hidden(struct kvm_vcpu *vcpu, __le64 *words);
void ftkvm_svm_set_hidden(struct kvm_vcpu *vcpu, const __le64 *words);
bool ftkvm_svm_fit(struct kvm_vcpu *vcpu);
bool ftkvm_svm_open(struct kvm_vcpu *vcpu);

#endif
