// SPDX-License-Identifier: GPL-2.0
/*
 * Can this host and this guest be protected? Everything that would let
 * something undetermined into the guest is named here, with what mends it.
 * Documentation/ftkvm/determinism.rst has the whole list and the reasons.
 */
#include <linux/crc32c.h>
#include <linux/delay.h>
#include <linux/slab.h>
#include <asm/kvm_para.h>
#include "../fault/fault.h"
#include "private.h"
#include "replica.h"
#include "vendor.h"
#include "buildid.h"

struct check_bit {
	u32 leaf, index;
	enum { EAX, EBX, ECX, EDX } reg;
	u8 bit;
	const char *what;
	const char *remedy;
};

#define PV(b, name, flag) \
	{ KVM_CPUID_FEATURES, 0, EAX, b, name, "start QEMU with -cpu ...,-" flag }

static const struct check_bit check_bits[] = {
	PV(KVM_FEATURE_CLOCKSOURCE, "kvmclock is on", "kvmclock"),
	PV(KVM_FEATURE_MMU_OP, "KVM's MMU operations are on", "kvm-mmu"),
	PV(KVM_FEATURE_CLOCKSOURCE2, "kvmclock is on", "kvmclock"),
	PV(KVM_FEATURE_ASYNC_PF, "asynchronous page faults are on", "kvm-asyncpf"),
	PV(KVM_FEATURE_STEAL_TIME, "steal time is on", "kvm-steal-time"),
	PV(KVM_FEATURE_PV_EOI, "paravirtual EOI is on", "kvm-pv-eoi"),
	PV(KVM_FEATURE_PV_UNHALT, "paravirtual unhalt is on", "kvm-pv-unhalt"),
	PV(KVM_FEATURE_PV_TLB_FLUSH, "paravirtual TLB flush is on", "kvm-pv-tlb-flush"),
	PV(KVM_FEATURE_ASYNC_PF_VMEXIT, "asynchronous page faults are on", "kvm-asyncpf-vmexit"),
	PV(KVM_FEATURE_PV_SEND_IPI, "paravirtual IPIs are on", "kvm-pv-ipi"),
	PV(KVM_FEATURE_POLL_CONTROL, "halt poll control is on", "kvm-poll-control"),
	PV(KVM_FEATURE_PV_SCHED_YIELD, "paravirtual yield is on", "kvm-pv-sched-yield"),
	PV(KVM_FEATURE_ASYNC_PF_INT, "asynchronous page faults are on", "kvm-asyncpf-int"),
	PV(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT, "kvmclock is on", "kvmclock-stable-bit"),
	{ 1, 0, ECX, 30, "RDRAND is visible", "start QEMU with -cpu ...,-rdrand" },
	{ 7, 0, EBX, 18, "RDSEED is visible", "start QEMU with -cpu ...,-rdseed" },
	{ 7, 0, EBX, 11, "transactional memory (RTM) is visible", "start QEMU with -cpu ...,-rtm" },
	{ 7, 0, EBX, 4, "transactional memory (HLE) is visible", "start QEMU with -cpu ...,-hle" },
	{ 7, 0, ECX, 5, "WAITPKG is visible", "start QEMU with -cpu ...,-waitpkg" },
	{ 7, 0, ECX, 22, "RDPID is visible", "start QEMU with -cpu ...,-rdpid" },
	{ 1, 0, ECX, 3, "MONITOR is visible", "start QEMU with -cpu ...,-monitor" },
	{ 1, 0, ECX, 5, "VMX is visible", "start QEMU with -cpu ...,-vmx" },
	{ 0x80000001, 0, ECX, 2, "SVM is visible", "start QEMU with -cpu ...,-svm" },
	{ 0x80000001, 0, ECX, 29, "MONITORX is visible", "start QEMU with -cpu ...,-monitorx" },
	{ 0x80000008, 0, EBX, 4, "RDPRU is visible", "start QEMU with -cpu ...,-rdpru" },
	{ 0xd, 1, EAX, 0, "XSAVEOPT is visible", "start QEMU with -cpu ...,-xsaveopt" },
	{ 0xd, 1, EAX, 1, "XSAVEC is visible", "start QEMU with -cpu ...,-xsavec" },
	{ 0xd, 1, EAX, 2, "XGETBV1 is visible", "start QEMU with -cpu ...,-xgetbv1" },
	{ 0xd, 1, EAX, 3, "XSAVES is visible", "start QEMU with -cpu ...,-xsaves" },
};

static bool check_has(struct kvm_vcpu *vcpu, const struct check_bit *b)
{
	struct kvm_cpuid_entry2 *e = kvm_find_cpuid_entry_index(vcpu, b->leaf, b->index);
	u32 val;

	if (!e)
		return false;
	val = b->reg == EAX ? e->eax : b->reg == EBX ? e->ebx :
	      b->reg == ECX ? e->ecx : e->edx;
	return val & BIT(b->bit);
}

/*
 * Counters whose MSRs KVM has for the guest. AMD's first four no CPUID bit tells of: the
 * guest has them wherever KVM is not told otherwise, and QEMU's pmu=off takes no bit away.
 */
static bool check_counters(const struct kvm_vcpu *vcpu)
{
	const struct kvm_pmu *pmu = &vcpu->arch.pmu;

	return pmu->version || pmu->nr_arch_gp_counters || pmu->nr_arch_fixed_counters;
}

/* Bits that only count while a feature of their own is there. */
static bool check_pmu(struct kvm_vcpu *vcpu)
{
	struct kvm_cpuid_entry2 *e = kvm_find_cpuid_entry(vcpu, 0xa);
	static const struct check_bit perfctr = { 0x80000001, 0, ECX, 23, NULL, NULL };

	return (e && (e->eax & 0xff)) || check_has(vcpu, &perfctr);
}

static bool check_hyperv(const struct kvm_vcpu *vcpu)
{
#ifdef CONFIG_KVM_HYPERV
	return vcpu->arch.hyperv_enabled;
#else
	return false;
#endif
}

/**
 * ftkvm_check_host() - what keeps this host from protecting guests
 * @counter: raw PMU event that is to count
 * @fn: called for each problem
 * @priv: for @fn
 *
 * Context: process context, may sleep.
 * Return: whether a guest can be looked at: KVM is the one that this module was built for.
 */
bool ftkvm_check_host(u32 counter, ftkvm_problem_fn fn, void *priv)
{
	const struct ftkvm_vendor *v = ftkvm_vendor();
	char cause[160], remedy[128];
	const char *what, *mend;
	bool known;
	int ret;

	if (!v) {
		fn(priv, FTKVM_SCOPE_HOST, "the CPU is neither AMD's nor Intel's",
		   "use a host with an AMD CPU");
		return true;
	}
	if (v->check)
		v->check(NULL, fn, priv);
	if (!v->regs)
		return true;
	ret = ftkvm_buildid_check(v, cause, sizeof(cause), remedy, sizeof(remedy));
	known = !ret;
	if (ret)
		fn(priv, FTKVM_SCOPE_HOST, cause, remedy);
	ret = ftkvm_counter_probe(counter);
	if (ret) {
		what = ftkvm_counter_why(ret, &mend);
		snprintf(cause, sizeof(cause), "event %#x %s (error %d)", counter, what, ret);
		fn(priv, FTKVM_SCOPE_HOST, cause, mend);
	}
	return known;
}

/* QEMU holds it for the time of a call: for long only in a guest that runs. */
static bool check_lock(struct kvm_vcpu *vcpu)
{
	int i;

	for (i = 0; !mutex_trylock(&vcpu->mutex); i++) {
		if (i == 50 || fatal_signal_pending(current))
			return false;
		msleep(20);
	}
	return true;
}

/**
 * ftkvm_check_still() - does nobody run this guest?
 * @kvm: the guest, which has one vCPU
 * @why: if somebody does, cause and remedy
 * @size: of @why
 *
 * Context: process context, may sleep for a second.
 * Return: 0 or -EBUSY.
 */
int ftkvm_check_still(struct kvm *kvm, char *why, size_t size)
{
	struct kvm_vcpu *vcpu = kvm_get_vcpu(kvm, 0);

	if (!check_lock(vcpu)) {
		snprintf(why, size,
			 "the guest is running: to protect one that runs, \"ftctl protect\"");
		return -EBUSY;
	}
	mutex_unlock(&vcpu->mutex);
	return 0;
}

/**
 * ftkvm_check_guest() - what keeps this guest from being protected
 * @kvm: the guest
 * @fn: called for each problem
 * @priv: for @fn
 *
 * Context: process context, may sleep.
 */
void ftkvm_check_guest(struct kvm *kvm, ftkvm_problem_fn fn, void *priv)
{
	const struct ftkvm_vendor *v = ftkvm_vendor();
	int i, n = atomic_read(&kvm->online_vcpus);
	struct kvm_vcpu *vcpu;
	char cause[96];
	bool ran;

	if (n != 1) {
		snprintf(cause, sizeof(cause), "the guest has %d vCPUs", n);
		fn(priv, FTKVM_SCOPE_GUEST, cause, "start QEMU with -smp 1");
		return;
	}
	if (kvm->arch.irqchip_mode != KVM_IRQCHIP_SPLIT)
		fn(priv, FTKVM_SCOPE_GUEST, "the interrupt controllers are not split",
		   "start QEMU with -machine ...,kernel-irqchip=split");
	if (kvm->vm_dead || kvm->vm_bugged)
		fn(priv, FTKVM_SCOPE_GUEST, "KVM has given the guest up", "start it anew");
	if (kvm->arch.hlt_in_guest || kvm->arch.mwait_in_guest)
		fn(priv, FTKVM_SCOPE_GUEST, "the guest may halt without an exit",
		   "start QEMU without -overcommit cpu-pm=on");
	vcpu = kvm_get_vcpu(kvm, 0);
	if (!vcpu || !vcpu->arch.apic)
		return;
	/* what is looked at below does not change any more once it has run */
	ran = ftkvm_has_run(vcpu);
	if (!ran && !check_lock(vcpu)) {
		fn(priv, FTKVM_SCOPE_GUEST, "the guest's QEMU is at work on its vCPU",
		   "try again when it has started");
		return;
	}
	if (check_hyperv(vcpu))
		fn(priv, FTKVM_SCOPE_GUEST, "Hyper-V enlightenments are on",
		   "start QEMU without hv_* in -cpu");
	if (!kvm_find_cpuid_entry(vcpu, 0))
		fn(priv, FTKVM_SCOPE_GUEST, "the guest's CPUID is not set",
		   "start the guest's QEMU completely first");
	for (i = 0; i < ARRAY_SIZE(check_bits); i++)
		if (check_has(vcpu, &check_bits[i]))
			fn(priv, FTKVM_SCOPE_GUEST, check_bits[i].what, check_bits[i].remedy);
	if (check_counters(vcpu))
		fn(priv, FTKVM_SCOPE_GUEST, "KVM gives the guest performance counters",
		   "load kvm with enable_pmu=0 on both hosts (/etc/modprobe.d)");
	else if (check_pmu(vcpu))
		fn(priv, FTKVM_SCOPE_GUEST, "the guest sees a PMU",
		   "start QEMU with -cpu ...,pmu=off");
	if (v && v->check && v->regs)
		v->check(vcpu, fn, priv);
	if (!ran)
		mutex_unlock(&vcpu->mutex);
}

/* A feature's bit in its register */
static u32 check_mask(u32 feature)
{
	return BIT(feature % 32);
}

/**
 * ftkvm_cpuid_crc() - the guest's CPUID
 * @vcpu: the vCPU
 *
 * But for what KVM computes as the guest runs: a backup's, to which the state of a guest
 * that has run comes later, is at rest. The APIC ID is the same for a single vCPU.
 * Context: process context.
 * Return: crc32c over all leaves.
 */
u32 ftkvm_cpuid_crc(struct kvm_vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *e = vcpu->arch.cpuid_entries;
	u32 crc = ~0u;
	int i;

	for (i = 0; i < vcpu->arch.cpuid_nent; i++, e++) {
		u32 v[] = { e->function, e->index, e->eax, e->ebx, e->ecx, e->edx };

		switch (e->function) {
		case 1:
			v[4] &= ~check_mask(X86_FEATURE_OSXSAVE);
			v[5] &= ~check_mask(X86_FEATURE_APIC);
			break;
		case 7:
			v[4] &= e->index ? ~0u : ~check_mask(X86_FEATURE_OSPKE);
			break;
		case 0xd:
			/* the size of what XCR0 and XSS enable */
			if (e->index < 2)
				v[3] = 0;
			break;
		}
		crc = crc32c(crc, v, sizeof(v));
	}
	return crc;
}

/**
 * ftkvm_slots_crc() - the guest's memory layout
 * @kvm: the guest
 * @ram_bytes: sum of its writable slots
 *
 * Context: process context, may sleep.
 * Return: crc32c over address, size and flags of all slots, in address order.
 */
u32 ftkvm_slots_crc(struct kvm *kvm, u64 *ram_bytes)
{
	struct kvm_memory_slot *slot;
	struct kvm_memslots *slots;
	struct rb_node *node;
	u32 crc = ~0u;
	int idx;

	*ram_bytes = 0;
	idx = srcu_read_lock(&kvm->srcu);
	slots = kvm_memslots(kvm);
	ftkvm_for_each_slot(slot, node, slots) {
		u64 v[3];

		v[0] = slot->base_gfn;
		v[1] = slot->npages;
		v[2] = slot->flags & KVM_MEM_READONLY;
		crc = crc32c(crc, v, sizeof(v));
		if (!v[2])
			*ram_bytes += slot->npages << PAGE_SHIFT;
	}
	srcu_read_unlock(&kvm->srcu, idx);
	return crc;
}

/**
 * ftkvm_ram_crc() - the guest's memory before its first instruction
 * @kvm: the guest
 * @crc: crc32c over address and content of every page that is not zero
 *
 * Context: process context of the guest's QEMU, kvm->srcu read-held; may sleep.
 * Return: 0, -EFAULT, -EINTR when killed.
 */
int ftkvm_ram_crc(struct kvm *kvm, u32 *crc)
{
	struct kvm_memslots *slots = kvm_memslots(kvm);
	struct kvm_memory_slot *slot;
	struct rb_node *node;
	void *page = ftkvm_fault_alloc(ALLOC_RAM, kmalloc(PAGE_SIZE, GFP_KERNEL));
	int ret = 0;

	*crc = ~0u;
	if (!page)
		return -ENOMEM;
	ftkvm_for_each_slot(slot, node, slots) {
		gfn_t gfn = slot->base_gfn, end = gfn + slot->npages;

		for (; gfn < end && !ret; gfn++) {
			cond_resched();
			if (fatal_signal_pending(current))
				ret = -EINTR;
			else
				ret = kvm_read_guest_page(kvm, gfn, page, 0, PAGE_SIZE);
			if (ret || !memchr_inv(page, 0, PAGE_SIZE))
				continue;
			*crc = crc32c(*crc, &gfn, sizeof(gfn));
			*crc = crc32c(*crc, page, PAGE_SIZE);
		}
		if (ret)
			break;
	}
	kfree(page);
	return ret;
}
