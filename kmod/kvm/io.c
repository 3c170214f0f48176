// SPDX-License-Identifier: GPL-2.0
/*
 * Environment reads at the places where KVM gets hold of their values: from
 * userspace at the next KVM_RUN, or from a device in the kernel. The primary
 * collects the values of an instruction into one record, the backup puts the
 * primary's in the place of its own.
 */
#include "../dev/lockstep.h"
#include "../fault/fault.h"
#include "hooks.h"
#include "replica.h"
#include "trace.h"
#include "vendor.h"
#include "layout.h"

/* command ports, and the bit that begins an initialisation */
#define IO_8259_MASTER	0x20
#define IO_8259_SLAVE	0xa0
#define IO_8259_ICW1	BIT(4)

static const char * const env_names[FTKVM_ENV_KINDS] = {
	[FTKVM_ENV_PIO] = "port",
	[FTKVM_ENV_MMIO] = "device memory",
	[FTKVM_ENV_TSC] = "TSC",
	[FTKVM_ENV_MSR] = "MSR",
	[FTKVM_ENV_LAPIC] = "local APIC",
	[FTKVM_ENV_IRQCHIP] = "interrupt controller",
};

static void env_count(struct ftkvm_replica *r, u8 kind, const void *val, u32 len)
{
	r->st.env[kind]++;
	trace_ftkvm_env_read(r, kind, val, len);
}

static void env_lead(struct ftkvm_replica *r, u8 kind, void *val, u32 len)
{
	int ret = -EINVAL;

	if (r->env_open)
		ret = ftkvm_fault(FTKVM_FAULT_ENV_LEAD) ?:
		      ftkvm_env_put(r->env, FTKVM_REC_MAX_DATA, &r->env_len, kind, val, len);
	if (ret)
		ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_LOCAL,
				    "the instruction at %#llx reads %u bytes of %s in a way that can't be replicated",
				    (u64)r->vcpu->arch.regs[VCPU_REGS_RIP], len,
				    env_names[kind]);
	else
		env_count(r, kind, val, len);
}

static void env_follow(struct ftkvm_replica *r, u8 kind, void *val, u32 len)
{
	int ret;

	ftkvm_fault(FTKVM_FAULT_ENV_FOLLOW);
	for (;;) {
		ret = ftkvm_env_get(r->env, r->env_len, &r->env_pos, kind, val, len);
		if (ret != -ENODATA || ftkvm_follow_more(r))
			break;
	}
	if (!ret) {
		ftkvm_fault_data(FTKVM_FAULT_ENV_REPLACED, val, len);
		env_count(r, kind, val, len);
		return;
	}
	/* its QEMU is killed: the guest comes no further */
	if (ret == -ENODATA && fatal_signal_pending(current))
		return;
	/* the primary died within this instruction: the shadow device answers */
	if (ret == -ENODATA && READ_ONCE(r->log_closed) && r->env_more)
		return;
	ftkvm_follow_diverged(r, "reads %u bytes of %s, the primary did not", len,
			      env_names[kind]);
}

/**
 * ftkvm_env_value() - an environment read got its value
 * @r: the replica
 * @kind: enum ftkvm_env_kind
 * @val: the value; on a backup it is replaced by the primary's
 * @len: its bytes
 *
 * Context: vCPU thread, process context, kvm->srcu read-held.
 */
void ftkvm_env_value(struct ftkvm_replica *r, u8 kind, void *val, u32 len)
{
	switch (ftkvm_mode(r)) {
	case FTKVM_MODE_LEAD:
		env_lead(r, kind, val, len);
		break;
	case FTKVM_MODE_FOLLOW:
		env_follow(r, kind, val, len);
		break;
	default:
		break;
	}
}

/* The replica, if its guest runs in lockstep. To be put. */
static struct ftkvm_replica *io_replica(struct kvm_vcpu *vcpu)
{
	struct ftkvm_replica *r = ftkvm_replica_get(vcpu->kvm);

	if (!r || (r->started && vcpu == r->vcpu && current == READ_ONCE(r->thread)))
		return r;
	ftkvm_replica_put(r);
	return NULL;
}

static void io_put(struct ftkvm_replica *r)
{
	if (r)
		ftkvm_replica_put(r);
}

/**
 * ftkvm_hook_complete_emulator_pio_in() - a port read comes back from userspace
 * @vcpu: the vCPU
 * @val: where it goes
 *
 * Context: vCPU thread, process context.
 */
void ftkvm_hook_complete_emulator_pio_in(struct kvm_vcpu *vcpu, void *val)
{
	struct ftkvm_replica *r;

	ftkvm_hook_enter();
	r = io_replica(vcpu);
	if (r)
		ftkvm_env_value(r, FTKVM_ENV_PIO, vcpu->arch.pio_data,
				vcpu->arch.pio.size * vcpu->arch.pio.count);
	ftkvm_orig_complete_emulator_pio_in(vcpu, val);
	io_put(r);
	ftkvm_hook_leave();
}

/**
 * ftkvm_hook_emulator_pio_in_out() - port I/O; a device in the kernel may answer
 * @vcpu: the vCPU
 * @size: bytes of one item
 * @port: port
 * @data: items
 * @count: how many
 * @in: read
 *
 * Context: vCPU thread, process context.
 * Return: 1 done, 0 userspace does it.
 */
int ftkvm_hook_emulator_pio_in_out(struct kvm_vcpu *vcpu, int size, unsigned short port,
				   void *data, unsigned int count, bool in)
{
	struct ftkvm_replica *r;
	int ret;

	ftkvm_hook_enter();
	r = io_replica(vcpu);
	if (r && !in && (port == IO_8259_MASTER || port == IO_8259_SLAVE) &&
	    (*(u8 *)data & IO_8259_ICW1))
		ftkvm_inputs_8259_reset(r);
	ret = ftkvm_orig_emulator_pio_in_out(vcpu, size, port, data, count, in);
	if (r && ret == 1 && in)
		ftkvm_env_value(r, FTKVM_ENV_PIO, data, size * count);
	io_put(r);
	ftkvm_hook_leave();
	return ret;
}

/**
 * ftkvm_hook_complete_emulated_mmio() - a fragment comes back from userspace
 * @vcpu: the vCPU
 *
 * Context: vCPU thread, process context.
 * Return: as complete_emulated_mmio().
 */
int ftkvm_hook_complete_emulated_mmio(struct kvm_vcpu *vcpu)
{
	struct ftkvm_replica *r;
	u32 len;
	int ret;

	ftkvm_hook_enter();
	r = io_replica(vcpu);
	if (r && vcpu->mmio_needed && !vcpu->mmio_is_write) {
		len = min(8u, vcpu->mmio_fragments[vcpu->mmio_cur_fragment].len);
		ftkvm_env_value(r, FTKVM_ENV_MMIO, vcpu->run->mmio.data, len);
	}
	ret = ftkvm_orig_complete_emulated_mmio(vcpu);
	io_put(r);
	ftkvm_hook_leave();
	return ret;
}

static u8 io_mmio_kind(struct kvm_vcpu *vcpu, gpa_t addr)
{
	unsigned long base = *(unsigned long *)((char *)vcpu->arch.apic +
						FTKVM_OFF_KVM_LAPIC_BASE_ADDRESS);

	return (addr & PAGE_MASK) == (base & PAGE_MASK) ? FTKVM_ENV_LAPIC : FTKVM_ENV_IRQCHIP;
}

/**
 * ftkvm_hook_vcpu_mmio_read() - a read that a device in the kernel may answer
 * @vcpu: the vCPU
 * @addr: guest-physical address
 * @len: bytes
 * @v: where they go
 *
 * Context: vCPU thread, process context.
 * Return: bytes handled.
 */
int ftkvm_hook_vcpu_mmio_read(struct kvm_vcpu *vcpu, gpa_t addr, int len, void *v)
{
	struct ftkvm_replica *r;
	int ret;

	ftkvm_hook_enter();
	r = io_replica(vcpu);
	ret = ftkvm_orig_vcpu_mmio_read(vcpu, addr, len, v);
	if (r && ret > 0)
		ftkvm_env_value(r, io_mmio_kind(vcpu, addr), v, ret);
	io_put(r);
	ftkvm_hook_leave();
	return ret;
}

/* @kick: it is known to be one that is heard */
static int io_bus_write(struct ftkvm_replica *r, struct kvm_vcpu *vcpu, enum kvm_bus bus,
			gpa_t addr, int len, const void *val, bool kick)
{
	bool before = r && r->dev_kicked;
	int ret;

	if (r && !kick && bus == KVM_MMIO_BUS && ftkvm_mode(r) != FTKVM_MODE_PASS &&
	    unlikely(ftkvm_lockstep_is_lost_kick(r->kvm, addr)))
		return 0;
	ret = ftkvm_orig_kvm_io_bus_write(vcpu, bus, addr, len, val);
	if (r && r->dev_kicked && !before && bus == KVM_MMIO_BUS)
		ftkvm_lockstep_kicked(r, addr);
	return ret;
}

/**
 * ftkvm_hook_kvm_io_bus_write() - a write is about to leave the vCPU
 * @vcpu: the vCPU
 * @bus: which bus
 * @addr: address
 * @len: bytes
 * @val: the bytes
 *
 * Context: vCPU thread, process context.
 * Return: as kvm_io_bus_write().
 */
int ftkvm_hook_kvm_io_bus_write(struct kvm_vcpu *vcpu, enum kvm_bus bus, gpa_t addr,
				int len, const void *val)
{
	struct ftkvm_replica *r;
	bool going = false, kick = false;
	int ret;

	ftkvm_hook_enter();
	r = io_replica(vcpu);
	if (r && (ftkvm_mode(r) == FTKVM_MODE_LEAD || ftkvm_mode(r) == FTKVM_MODE_HOLD)) {
		kick = r->out_kick && bus == KVM_MMIO_BUS && ftkvm_lockstep_is_kick(r->kvm, addr);
		if (!kick)
			ftkvm_lead_late_output(r);
		going = READ_ONCE(r->out_going);
		WRITE_ONCE(r->out_going, true);
		/* pairs with ftkvm_lead_stopped() */
		smp_mb();
	} else if (r && ftkvm_mode(r) == FTKVM_MODE_FOLLOW) {
		ftkvm_follow_late_output(r);
	}
	/* told to stop meanwhile: nothing leaves any more */
	if (r && ftkvm_mode(r) == FTKVM_MODE_HALT)
		ret = 0;
	else
		ret = io_bus_write(r, vcpu, bus, addr, len, val, kick);
	/* nobody in the kernel took it: it is userspace's, and no kick */
	if (kick && ret) {
		ftkvm_lead_late_output(r);
		if (ftkvm_mode(r) == FTKVM_MODE_HALT)
			ret = 0;
	}
	/* otherwise userspace has it in hand, until it comes back: run_back() */
	if (r && !ret)
		WRITE_ONCE(r->out_going, going);
	io_put(r);
	ftkvm_hook_leave();
	return ret;
}
