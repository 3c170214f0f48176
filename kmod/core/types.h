/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The replication core's vocabulary. Nothing under core/ knows KVM, sockets
 * or CPU vendors, so that all of it runs under KUnit on UML.
 */
#ifndef FTKVM_CORE_TYPES_H
#define FTKVM_CORE_TYPES_H

#include <linux/types.h>

/**
 * struct ftkvm_point - an execution point: an instant of the guest
 * @count: guest events (retired instructions or conditional branches) since
 *	   the pair started
 * @rip: address of the next instruction
 * @rcx: tells the iterations of a REP instruction apart
 */
struct ftkvm_point {
	u64 count;
	u64 rip;
	u64 rcx;
};

/* Registers that a digest covers, in the order of their names. */
enum ftkvm_reg {
	FTKVM_REG_RAX, FTKVM_REG_RCX, FTKVM_REG_RDX, FTKVM_REG_RBX,
	FTKVM_REG_RSP, FTKVM_REG_RBP, FTKVM_REG_RSI, FTKVM_REG_RDI,
	FTKVM_REG_R8, FTKVM_REG_R9, FTKVM_REG_R10, FTKVM_REG_R11,
	FTKVM_REG_R12, FTKVM_REG_R13, FTKVM_REG_R14, FTKVM_REG_R15,
	FTKVM_REG_RIP, FTKVM_REG_RFLAGS,
	FTKVM_REG_CR0, FTKVM_REG_CR2, FTKVM_REG_CR3, FTKVM_REG_CR4,
	FTKVM_REG_CS, FTKVM_REG_EFER,
	FTKVM_NREGS
};

struct ftkvm_regs {
	u64 r[FTKVM_NREGS];
};

/* How an input reaches the guest. */
enum ftkvm_input_kind {
	FTKVM_INPUT_FIXED,	/* LAPIC, vector into IRR */
	FTKVM_INPUT_NMI,
	FTKVM_INPUT_EXTINT,	/* 8259 vector from userspace (KVM_INTERRUPT) */
	FTKVM_INPUT_SMI,
	FTKVM_INPUT_INIT,
	FTKVM_INPUT_SIPI,
	/* of a device that ftkvm serves: DMA; vector: its number, level: its queue */
	FTKVM_INPUT_DEV_START,	/* a queue runs from here on */
	FTKVM_INPUT_DEV_OK,	/* its oldest request is done, and that is all */
	FTKVM_INPUT_DEV_DONE,	/* ... with a status and data, which came in BULK frames */
	FTKVM_INPUT_DEV_SUM,	/* a disk's next piece is summed, behind what was asked before */
	FTKVM_INPUT_KINDS
};

/**
 * struct ftkvm_input - one asynchronous event for the guest
 * @kind: enum ftkvm_input_kind
 * @vector: for FIXED, EXTINT and SIPI; of a device: its number; 0 otherwise
 * @level: trigger mode of a FIXED interrupt: 1 level, 0 edge; of a device: the queue
 */
struct ftkvm_input {
	u8 kind;
	u8 vector;
	u8 level;
};

/* Is it a device's doing: to the guest's memory, not to its vCPU? */
static inline bool ftkvm_input_of_device(const struct ftkvm_input *in)
{
	return in->kind >= FTKVM_INPUT_DEV_START && in->kind <= FTKVM_INPUT_DEV_SUM;
}

/* Kinds of environment reads, as logged, counted and shown. */
enum ftkvm_env_kind {
	FTKVM_ENV_PIO,
	FTKVM_ENV_MMIO,
	FTKVM_ENV_TSC,
	FTKVM_ENV_MSR,
	FTKVM_ENV_LAPIC,
	FTKVM_ENV_IRQCHIP,
	FTKVM_ENV_KINDS
};

enum ftkvm_role {
	FTKVM_ROLE_NONE,
	FTKVM_ROLE_PRIMARY,
	FTKVM_ROLE_BACKUP,
};

#endif
