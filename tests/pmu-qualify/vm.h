/* SPDX-License-Identifier: GPL-2.0 */
/* A virtual machine with one vCPU, by /dev/kvm alone. */
#ifndef VM_H
#define VM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include "guest.h"

struct vm {
	int kvm, fd, vcpu, ram_fd, stats_fd;
	struct kvm_run *run;
	size_t run_size;
	unsigned char *ram;
	uint64_t exits_at;		/* where in the statistics */
	const struct guest_prog *prog;
	uint64_t iterations;
	bool io_open;			/* KVM has an instruction to finish */
	char error[200];
};

/* Why vm_run() returned. */
enum vm_stop {
	VM_ERROR,	/* vm->error tells */
	VM_DONE,	/* the program is at its end */
	VM_SYNC,	/* it is at an OUT to PORT_SYNC, or an access to nothing */
	VM_HALT,
	VM_SIGNAL,	/* a signal came */
	VM_WINDOW,	/* an interrupt can be injected now */
};

/**
 * vm_open() - make the machine
 * Return: 0, or -errno with vm->error
 */
int vm_open(struct vm *vm);
void vm_close(struct vm *vm);

/**
 * vm_start() - put the vCPU at a program's start, always in the same state
 * @interrupts: set RFLAGS.IF
 * Return: 0, or -errno with vm->error
 */
int vm_start(struct vm *vm, const struct guest_prog *prog, uint64_t iterations, bool interrupts);

/* KVM_RUN, once. */
enum vm_stop vm_run(struct vm *vm);

int vm_regs(struct vm *vm, struct kvm_regs *regs);

/* Let an interrupt, an NMI come at the next entry. 0, or -errno with vm->error. */
int vm_inject_irq(struct vm *vm);
int vm_inject_nmi(struct vm *vm);

/**
 * vm_forget() - take memory out of the page tables of the host and of KVM
 *
 * What it holds stays: the guest's next access is an exit. Any thread may call it.
 */
void vm_forget(struct vm *vm, uint64_t from, uint64_t bytes);

/**
 * vm_exits() - exits so far, as KVM counts them
 * Return: UINT64_MAX if this KVM does not tell
 */
uint64_t vm_exits(const struct vm *vm);

#endif
