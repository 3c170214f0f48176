// SPDX-License-Identifier: GPL-2.0
/*
 * Takeover: the backup has consumed its log and becomes the guest.
 */
#include <asm/msr.h>
#include "../dev/lockstep.h"
#include "../fault/fault.h"
#include "hooks.h"
#include "replica.h"
#include "trace.h"
#include "vendor.h"
#include "layout.h"

static u64 takeover_tsc_deadline(struct kvm_vcpu *vcpu)
{
	return *(u64 *)((char *)vcpu->arch.apic +
			FTKVM_OFF_KVM_LAPIC_LAPIC_TIMER_TSCDEADLINE);
}

/*
 * The guest's clock goes on from what it was last told, plus the time that
 * passed since: the local clock has run on, and is brought to where the
 * primary's was by the most that one was seen ahead.
 */
static void takeover_clock(struct ftkvm_replica *r)
{
	struct kvm_vcpu *vcpu = r->vcpu;
	u64 deadline = takeover_tsc_deadline(vcpu);
	s64 adjust = vcpu->arch.ia32_tsc_adjust_msr;
	struct msr_data msr = { .index = MSR_IA32_TSC };

	msr.data = max_t(u64, r->last_tsc + 1,
			 kvm_read_l1_tsc(vcpu, rdtsc()) + r->tsc_ahead);
	if (kvm_set_msr_common(vcpu, &msr))
		pr_warn("%s: the guest's TSC could not be set\n", r->name);
	/* the guest did not write it */
	vcpu->arch.ia32_tsc_adjust_msr = adjust;
	r->last_tsc = msr.data;
	if (!deadline)
		return;
	msr = (struct msr_data) { .index = MSR_IA32_TSC_DEADLINE, .data = deadline };
	kvm_set_msr_common(vcpu, &msr);
}

/**
 * ftkvm_go_live() - from here on the guest is this one
 * @r: the replica; its log is consumed
 *
 * Context: vCPU thread, process context, kvm->srcu read-held.
 */
void ftkvm_go_live(struct ftkvm_replica *r)
{
	ftkvm_fault(FTKVM_FAULT_LIVE);
	takeover_clock(r);
	ftkvm_fault(FTKVM_FAULT_LIVE_CLOCK);
	ftkvm_inputs_noted(r);
	ftkvm_fault(FTKVM_FAULT_LIVE_INPUTS);
	ftkvm_lockstep_live(r);
	r->snap_after = false;
	r->env_more = false;
	r->verify.left = 0;
	r->verify.first = false;
	r->st.takeover_ns = ktime_to_ns(ktime_sub(ktime_get(), r->promote_at));
	trace_ftkvm_takeover_end(r);
	ftkvm_replica_event(r, FTKVM_EV_DRAINED, FTKVM_REASON_PROMOTED,
			    "live since epoch %llu", r->epoch.nr);
	/* what a device raised since then, and found a backup still */
	ftkvm_inputs_noted(r);
	ftkvm_fault(FTKVM_FAULT_LIVE_DONE);
}
