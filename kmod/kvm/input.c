// SPDX-License-Identifier: GPL-2.0
/*
 * Inputs: interrupts and NMIs for the guest, held until an epoch end.
 *
 * IRR is a bitmap, so a second interrupt with a vector that waits already is
 * one with the first, here as in hardware; nothing here grows.
 */
#include <asm/apicdef.h>
#include "../fault/fault.h"
#include "hooks.h"
#include "replica.h"
#include "trace.h"
#include "vendor.h"
#include "layout.h"

void ftkvm_inputs_init(struct ftkvm_inputs *in)
{
	memset(in, 0, sizeof(*in));
	raw_spin_lock_init(&in->lock);
}

static void inputs_note(struct ftkvm_replica *r, const struct ftkvm_input *i)
{
	struct ftkvm_inputs *in = &r->in;

	r->st.inputs_local++;
	trace_ftkvm_input_note(r, i);
	switch (i->kind) {
	case FTKVM_INPUT_FIXED:
		__set_bit(i->vector, in->noted);
		__assign_bit(i->vector, in->noted_level, i->level);
		break;
	case FTKVM_INPUT_NMI:
		in->noted_nmi = true;
		break;
	case FTKVM_INPUT_EXTINT:
		/* the shadow 8259 has it in service until the guest says EOI */
		if (in->noted_extints < FTKVM_EXTINTS)
			in->noted_extint[in->noted_extints++] = i->vector;
		break;
	}
}

static void inputs_look(struct ftkvm_inputs *in)
{
	WRITE_ONCE(in->any, in->nmi || !bitmap_empty(in->vec, 256));
}

/* The log delivers what a shadow device raised: that one is answered. */
static void inputs_answered(struct ftkvm_replica *r, const struct ftkvm_input *i)
{
	struct ftkvm_inputs *in = &r->in;
	unsigned long flags;
	int k;

	raw_spin_lock_irqsave(&in->lock, flags);
	switch (i->kind) {
	case FTKVM_INPUT_FIXED:
		__clear_bit(i->vector, in->noted);
		break;
	case FTKVM_INPUT_NMI:
		in->noted_nmi = false;
		break;
	case FTKVM_INPUT_EXTINT:
		for (k = 0; k < in->noted_extints; k++)
			if (in->noted_extint[k] == i->vector)
				break;
		if (k == in->noted_extints)
			break;
		in->noted_extints--;
		memmove(in->noted_extint + k, in->noted_extint + k + 1, in->noted_extints - k);
		break;
	}
	raw_spin_unlock_irqrestore(&in->lock, flags);
}

static void inputs_queue(struct ftkvm_replica *r, const struct ftkvm_input *i)
{
	struct ftkvm_inputs *in = &r->in;

	trace_ftkvm_input_queue(r, i);
	switch (i->kind) {
	case FTKVM_INPUT_FIXED:
		__set_bit(i->vector, in->vec);
		__assign_bit(i->vector, in->level, i->level);
		break;
	case FTKVM_INPUT_NMI:
		if (in->nmi < 2)
			in->nmi++;
		break;
	case FTKVM_INPUT_EXTINT:
		if (in->extints < FTKVM_EXTINTS)
			in->extint[in->extints++] = i->vector;
		break;
	}
	inputs_look(in);
}

/**
 * ftkvm_input_offer() - an input arrived from outside the guest
 * @r: the replica
 * @i: the input
 *
 * The primary holds it back until an epoch end; the backup notes that a shadow
 * device raised it.
 * Context: any but NMI.
 * Return: true when the replica took it; false when it is KVM's to deliver now.
 */
bool ftkvm_input_offer(struct ftkvm_replica *r, const struct ftkvm_input *i)
{
	unsigned long flags;
	bool taken = true, wake = false;

	ftkvm_fault(FTKVM_FAULT_INPUT);
	raw_spin_lock_irqsave(&r->in.lock, flags);
	switch (ftkvm_mode(r)) {
	case FTKVM_MODE_START:
		if (r->role != FTKVM_ROLE_PRIMARY) {
			inputs_note(r, i);
			break;
		}
		fallthrough;
	case FTKVM_MODE_LEAD:
		inputs_queue(r, i);
		wake = true;
		break;
	case FTKVM_MODE_HOLD:
		/* it may be let go on */
		inputs_queue(r, i);
		wake = true;
		break;
	case FTKVM_MODE_FOLLOW:
		inputs_note(r, i);
		break;
	case FTKVM_MODE_HALT:
		break;
	default:
		taken = false;
		break;
	}
	raw_spin_unlock_irqrestore(&r->in.lock, flags);
	/* halted, it is at an epoch end already */
	if (wake)
		kvm_vcpu_wake_up(r->vcpu);
	/* it may have settled meanwhile, and run */
	if (wake && ftkvm_mode(r) == FTKVM_MODE_PASS)
		kvm_vcpu_kick(r->vcpu);
	return taken;
}

/**
 * ftkvm_inputs_extint() - would the guest take an 8259's interrupt here?
 * @r: the replica
 *
 * QEMU has acknowledged the vector when the guest's interrupts were enabled. If it
 * were given to KVM where they are disabled, it would wait there, and what the
 * guest does to the 8259 until it enables them would come too late for it.
 * Context: vCPU thread, or vcpu->mutex held.
 * Return: whether it would.
 */
bool ftkvm_inputs_extint(const struct ftkvm_replica *r)
{
	return ftkvm_vendor()->open(r->vcpu);
}

/**
 * ftkvm_inputs_8259_reset() - the guest initialises an 8259 anew
 * @r: the replica
 *
 * What it had in service is forgotten, so those vectors mean nothing any more: to
 * a kernel that follows a BIOS, vector 8 is a double fault.
 * Context: vCPU thread.
 */
void ftkvm_inputs_8259_reset(struct ftkvm_replica *r)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&r->in.lock, flags);
	r->in.extints = 0;
	r->in.noted_extints = 0;
	raw_spin_unlock_irqrestore(&r->in.lock, flags);
}

/**
 * ftkvm_inputs_take() - primary: take inputs off the queue for an END record
 * @r: the replica
 * @list: where to
 * @max: how many fit; the rest stays queued for the next epoch
 *
 * Context: vCPU thread, interrupts may be off.
 * Return: how many.
 */
int ftkvm_inputs_take(struct ftkvm_replica *r, struct ftkvm_input *list, int max)
{
	struct ftkvm_inputs *in = &r->in;
	unsigned long flags;
	int n = 0, vec;

	raw_spin_lock_irqsave(&in->lock, flags);
	while (in->nmi && n < max) {
		list[n++] = (struct ftkvm_input) { .kind = FTKVM_INPUT_NMI };
		in->nmi--;
	}
	if (in->extints && n < max && ftkvm_inputs_extint(r)) {
		list[n++] = (struct ftkvm_input) { .kind = FTKVM_INPUT_EXTINT,
						   .vector = in->extint[0] };
		memmove(in->extint, in->extint + 1, --in->extints);
	}
	while (n < max) {
		vec = find_last_bit(in->vec, 256);
		if (vec >= 256)
			break;
		__clear_bit(vec, in->vec);
		list[n++] = (struct ftkvm_input) { .kind = FTKVM_INPUT_FIXED, .vector = vec,
						   .level = test_bit(vec, in->level) };
	}
	inputs_look(in);
	raw_spin_unlock_irqrestore(&in->lock, flags);
	return n;
}

/**
 * ftkvm_inputs_apply() - give inputs to this replica's vCPU
 * @r: the replica
 * @list: the inputs
 * @n: how many
 *
 * Context: vCPU thread, at an epoch end; interrupts may be off.
 */
void ftkvm_inputs_apply(struct ftkvm_replica *r, const struct ftkvm_input *list, int n)
{
	struct kvm_vcpu *vcpu = r->vcpu;
	int k;

	for (k = 0; k < n; k++) {
		trace_ftkvm_input_deliver(r, &list[k]);
		/* its interrupts are inputs of their own */
		if (ftkvm_input_of_device(&list[k]))
			continue;
		inputs_answered(r, &list[k]);
		switch (list[k].kind) {
		case FTKVM_INPUT_FIXED:
			ftkvm_orig___apic_accept_irq(vcpu->arch.apic, APIC_DM_FIXED,
						     list[k].vector, 1, list[k].level, NULL);
			break;
		case FTKVM_INPUT_NMI:
			ftkvm_orig_kvm_inject_nmi(vcpu);
			break;
		case FTKVM_INPUT_EXTINT:
			vcpu->arch.pending_external_vector = list[k].vector;
			kvm_make_request(KVM_REQ_EVENT, vcpu);
			break;
		}
	}
	r->st.inputs += n;
}

/**
 * ftkvm_inputs_release() - no more holding back: deliver what is queued
 * @r: the replica, in FTKVM_MODE_PASS
 *
 * Context: vCPU thread, interrupts may be off.
 */
void ftkvm_inputs_release(struct ftkvm_replica *r)
{
	struct ftkvm_input list[8];
	int n;

	while ((n = ftkvm_inputs_take(r, list, ARRAY_SIZE(list))))
		ftkvm_inputs_apply(r, list, n);
}

/**
 * ftkvm_inputs_noted() - takeover: what shadow devices raised becomes pending
 * @r: the replica
 *
 * An interrupt too many is harmless (a device driver finds nothing to do); one
 * too few would leave a driver waiting.
 * Context: vCPU thread.
 */
void ftkvm_inputs_noted(struct ftkvm_replica *r)
{
	struct ftkvm_inputs *in = &r->in;
	unsigned long flags;
	int k;

	raw_spin_lock_irqsave(&in->lock, flags);
	bitmap_or(in->vec, in->vec, in->noted, 256);
	bitmap_or(in->level, in->level, in->noted_level, 256);
	bitmap_zero(in->noted, 256);
	if (in->noted_nmi && in->nmi < 2)
		in->nmi++;
	in->noted_nmi = false;
	for (k = 0; k < in->noted_extints && in->extints < FTKVM_EXTINTS; k++)
		in->extint[in->extints++] = in->noted_extint[k];
	in->noted_extints = 0;
	inputs_look(in);
	raw_spin_unlock_irqrestore(&in->lock, flags);
}

/* ---- hooks ---- */

/*
 * Is this the guest's own doing (an IPI to itself in the exit being worked
 * on)? Then both replicas do the same at the same point. But its timer may go
 * off as it is armed, which is the clock's doing: so no vector of the timer's.
 */
static bool input_own(const struct ftkvm_replica *r)
{
	return in_task() && current == READ_ONCE(r->thread) && r->in_guest_op;
}

static u8 apic_timer_vector(struct kvm_lapic *apic)
{
	const u8 *regs = *(u8 **)((char *)apic + FTKVM_OFF_KVM_LAPIC_REGS);

	return *(u32 *)(regs + APIC_LVTT);
}

static struct kvm_vcpu *apic_vcpu(struct kvm_lapic *apic)
{
	return *(struct kvm_vcpu **)((char *)apic + FTKVM_OFF_KVM_LAPIC_VCPU);
}

/**
 * ftkvm_hook___apic_accept_irq() - the one way into the local APIC
 * @apic: the local APIC
 * @mode: delivery mode, APIC_DM_*
 * @vector: vector
 * @level: level, for level-triggered
 * @trig: 1 level-triggered
 * @dest_map: RTC bookkeeping of the in-kernel IOAPIC
 *
 * LAPIC timer, MSI, irqfd, KVM_IRQ_LINE through the IOAPIC, IPIs: all come by.
 * Context: any but NMI.
 * Return: 1 accepted, 0 not or coalesced.
 */
int ftkvm_hook___apic_accept_irq(struct kvm_lapic *apic, int mode, int vector,
				 int level, int trig, struct dest_map *dest_map)
{
	struct ftkvm_input in = { .kind = FTKVM_INPUT_FIXED, .vector = vector, .level = !!trig };
	struct ftkvm_replica *r;
	int ret = 1;

	ftkvm_hook_enter();
	r = ftkvm_replica_get(apic_vcpu(apic)->kvm);
	/* an NMI comes by kvm_inject_nmi() next; a deasserted level is nothing */
	if (!r || ftkvm_mode(r) == FTKVM_MODE_PASS ||
	    (mode != APIC_DM_FIXED && mode != APIC_DM_LOWEST) || (trig && !level) ||
	    (input_own(r) && vector != apic_timer_vector(apic)) || !ftkvm_input_offer(r, &in))
		ret = ftkvm_orig___apic_accept_irq(apic, mode, vector, level, trig, dest_map);
	if (r)
		ftkvm_replica_put(r);
	ftkvm_hook_leave();
	return ret;
}

/**
 * ftkvm_hook_kvm_inject_nmi() - an NMI for the guest
 * @vcpu: the vCPU
 *
 * Context: any but NMI.
 */
void ftkvm_hook_kvm_inject_nmi(struct kvm_vcpu *vcpu)
{
	struct ftkvm_input in = { .kind = FTKVM_INPUT_NMI };
	struct ftkvm_replica *r;

	ftkvm_hook_enter();
	r = ftkvm_replica_get(vcpu->kvm);
	if (!r || input_own(r) || !ftkvm_input_offer(r, &in))
		ftkvm_orig_kvm_inject_nmi(vcpu);
	if (r)
		ftkvm_replica_put(r);
	ftkvm_hook_leave();
}
