/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the roles need of a CPU vendor. AMD SVM: svm*.c. Intel VMX: vmx.c.
 */
#ifndef FTKVM_VENDOR_H
#define FTKVM_VENDOR_H

#include <linux/kvm_host.h>
#include <asm/processor.h>
#include "replica.h"

/**
 * struct ftkvm_vendor - a CPU vendor's part of the interposition
 * @name: "AMD SVM"
 * @module: the KVM module whose build ID must match
 * @build_id: that build ID, in hexadecimal
 * @check: report what keeps this host (@vcpu NULL) or guest from being
 *	   protected. May sleep
 * @ready: what QEMU has set is where @regs and @image look. vCPU thread, before an entry
 * @regs: the registers that a digest covers. vCPU thread, after an exit
 * @base: the code segment's base, 0 in 64-bit mode. As @regs
 * @image: list the registers that a verification covers beside @regs and what
 *	   KVM keeps in common code. As @regs
 * @hidden: FTKVM_HIDDEN words that QEMU does not migrate, or not whole. As @regs
 * @set_hidden: make them so. As @regs
 * @dirty_bit: where a nested page table's entry tells that its page was written;
 *	       0: it does not
 * @fit: can a backup land on this very point? vCPU thread, after an exit
 * @open: would the CPU take an interrupt here? As @fit
 * @arm: set the intercepts that replication needs. vCPU thread, irqs off
 * @disarm: undo @arm and everything else. As @arm, or vcpu->mutex held
 */
struct ftkvm_vendor {
	const char *name;
	const char *module;
	const char *build_id;
	void (*check)(struct kvm_vcpu *vcpu, ftkvm_problem_fn fn, void *priv);
	void (*ready)(struct kvm_vcpu *vcpu);
	void (*regs)(struct kvm_vcpu *vcpu, struct ftkvm_regs *regs);
	u32 (*base)(struct kvm_vcpu *vcpu);
	void (*image)(struct kvm_vcpu *vcpu, struct ftkvm_image *img);
	void (*hidden)(struct kvm_vcpu *vcpu, __le64 *words);
	void (*set_hidden)(struct kvm_vcpu *vcpu, const __le64 *words);
	unsigned int dirty_bit;
	bool (*fit)(struct kvm_vcpu *vcpu);
	bool (*open)(struct kvm_vcpu *vcpu);
	void (*arm)(struct kvm_vcpu *vcpu);
	void (*disarm)(struct kvm_vcpu *vcpu);
};

extern const struct ftkvm_vendor ftkvm_svm;
extern const struct ftkvm_vendor ftkvm_vmx;

/* The vendor of this host's CPU; NULL when it is neither. Any context. */
static inline const struct ftkvm_vendor *ftkvm_vendor(void)
{
	switch (boot_cpu_data.x86_vendor) {
	case X86_VENDOR_AMD:
	case X86_VENDOR_HYGON:
		return &ftkvm_svm;
	case X86_VENDOR_INTEL:
	case X86_VENDOR_CENTAUR:
	case X86_VENDOR_ZHAOXIN:
		return &ftkvm_vmx;
	default:
		return NULL;
	}
}

/* The replica's point now, the digest of its registers. vCPU thread. */
static inline struct ftkvm_point ftkvm_here(const struct ftkvm_replica *r)
{
	return (struct ftkvm_point) {
		.count = r->now.count,
		.rip = r->vcpu->arch.regs[VCPU_REGS_RIP],
		.rcx = r->vcpu->arch.regs[VCPU_REGS_RCX],
	};
}

/* Complete a record that the backup is to land at. vCPU thread. */
static inline void ftkvm_put_base(const struct ftkvm_replica *r, struct ftkvm_rec *rec)
{
	rec->base = ftkvm_vendor()->base(r->vcpu);
	if (rec->base)
		rec->flags |= FTKVM_RECF_BASE;
}

static inline u32 ftkvm_here_digest(const struct ftkvm_replica *r)
{
	struct ftkvm_regs regs;

	ftkvm_vendor()->regs(r->vcpu, &regs);
	return ftkvm_digest(&regs);
}

#endif
