// SPDX-License-Identifier: GPL-2.0
/*
 * The virtual machine. Memory is a memfd: what is dropped from the page tables
 * is still there when the guest comes back to it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vm.h"

#define CR0	0x80010033		/* PG WP NE ET MP PE */
#define CR4	0x620			/* OSXMMEXCPT OSFXSR PAE */
#define EFER	0x500			/* LMA LME */
#define RFLAGS	0x2
#define RFLAGS_IF 0x200

#define PTE	0x3			/* present, writable */
#define PTE_BIG	0x80
#define PTE_OLD	0x60			/* accessed, dirty */

static int fail(struct vm *vm, const char *fmt, ...)
{
	int err = errno;
	va_list args;
	size_t n;

	va_start(args, fmt);
	vsnprintf(vm->error, sizeof(vm->error), fmt, args);
	va_end(args);
	n = strlen(vm->error);
	snprintf(vm->error + n, sizeof(vm->error) - n, ": %s", strerror(err));
	return -err;
}

static uint64_t *table(struct vm *vm, uint64_t at)
{
	return (uint64_t *)(vm->ram + at);
}

/* The same at each start: the CPU sets bits in them, the guest others. */
static void fill_page_tables(struct vm *vm)
{
	unsigned int i;

	table(vm, GUEST_PML4)[0] = GUEST_PDPT | PTE;
	table(vm, GUEST_PDPT)[0] = GUEST_PD | PTE;
	table(vm, GUEST_PDPT)[1] = (GUEST_PD + 0x1000) | PTE;
	for (i = 0; i < 512; i++)
		table(vm, GUEST_PD)[i] = ((uint64_t)i << 21) | PTE | PTE_BIG | PTE_OLD;
	for (i = 0; i < GUEST_WINDOW_PAGES / 512; i++)
		table(vm, GUEST_PD + 0x1000)[i] = (GUEST_PT + i * 0x1000) | PTE;
	for (i = 0; i < GUEST_WINDOW_PAGES; i++)
		table(vm, GUEST_PT)[i] = (GUEST_WINDOW_PA + (uint64_t)i * 4096) | PTE;
}

static void set_gate(struct vm *vm, unsigned int vector, const unsigned char *handler)
{
	uint64_t at = GUEST_CODE + (handler - guest_code);
	uint64_t *gate = table(vm, GUEST_IDT) + 2 * vector;

	/* present, interrupt gate */
	gate[0] = (at & 0xffff) | GUEST_CS << 16 | 0x8e00ull << 32 | (at >> 16 & 0xffff) << 48;
	gate[1] = at >> 32;
}

/* A chain through every line of the region, in an order that no prefetcher guesses. */
static void fill_chain(struct vm *vm)
{
	uint64_t *base = table(vm, GUEST_CHAIN);
	unsigned int n = GUEST_CHAIN_SIZE / 64, i, j;
	uint32_t *order = malloc(n * sizeof(*order));
	uint64_t random = 1;

	if (!order)
		return;
	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n - 1; i; i--) {
		uint32_t t = order[i];

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		j = (random >> 33) % i;		/* one cycle (Sattolo) */
		order[i] = order[j];
		order[j] = t;
	}
	for (i = 0; i < n; i++)
		base[i * 8] = GUEST_CHAIN + (uint64_t)order[i] * 64;
	free(order);
}

static void fill_ram(struct vm *vm)
{
	uint64_t *gdt = table(vm, GUEST_GDT);

	memcpy(vm->ram + GUEST_CODE, guest_code, guest_code_end - guest_code);
	gdt[GUEST_CS / 8] = 0x00af9b000000ffff;
	gdt[GUEST_DS / 8] = 0x00cf93000000ffff;
	gdt[GUEST_TR / 8] = 0x00008b0000000067 | (uint64_t)GUEST_TSS << 16;
	set_gate(vm, 0, guest_on_skip);			/* #DE */
	set_gate(vm, 2, guest_on_nmi);
	set_gate(vm, 3, guest_on_return);		/* #BP */
	set_gate(vm, 6, guest_on_skip);			/* #UD */
	set_gate(vm, 14, guest_on_fault);		/* #PF */
	set_gate(vm, VECTOR_IRQ, guest_on_irq);
	set_gate(vm, VECTOR_SOFT, guest_on_return);
	fill_page_tables(vm);
	fill_chain(vm);
}

static int open_ram(struct vm *vm)
{
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_RAM };

	vm->ram_fd = memfd_create("guest", MFD_CLOEXEC);
	if (vm->ram_fd < 0 || ftruncate(vm->ram_fd, GUEST_RAM))
		return fail(vm, "no memory for the guest");
	vm->ram = mmap(NULL, GUEST_RAM, PROT_READ | PROT_WRITE, MAP_SHARED, vm->ram_fd, 0);
	if (vm->ram == MAP_FAILED)
		return fail(vm, "no memory for the guest");
	fill_ram(vm);
	region.userspace_addr = (uintptr_t)vm->ram;
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		return fail(vm, "KVM_SET_USER_MEMORY_REGION");
	return 0;
}

/* Find the number of exits in the vCPU's statistics. */
static void open_stats(struct vm *vm)
{
	struct kvm_stats_header header;
	struct kvm_stats_desc *desc;
	size_t size;
	uint32_t i;

	vm->stats_fd = ioctl(vm->vcpu, KVM_GET_STATS_FD, NULL);
	if (vm->stats_fd < 0)
		return;
	if (pread(vm->stats_fd, &header, sizeof(header), 0) != sizeof(header))
		return;
	size = sizeof(*desc) + header.name_size;
	desc = malloc(size);
	for (i = 0; desc && i < header.num_desc && !vm->exits_at; i++) {
		if (pread(vm->stats_fd, desc, size, header.desc_offset + i * size) != (ssize_t)size)
			break;
		if (!strncmp(desc->name, "exits", header.name_size))
			vm->exits_at = header.data_offset + desc->offset;
	}
	free(desc);
}

static int open_vcpu(struct vm *vm)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };
	int size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);

	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu < 0)
		return fail(vm, "KVM_CREATE_VCPU");
	if (size < 0)
		return fail(vm, "KVM_GET_VCPU_MMAP_SIZE");
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	if (vm->run == MAP_FAILED)
		return fail(vm, "the vCPU's page can't be mapped");
	vm->run_size = size;
	if (ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) ||
	    ioctl(vm->vcpu, KVM_SET_CPUID2, &cpuid))
		return fail(vm, "KVM_SET_CPUID2");
	open_stats(vm);
	return 0;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment) {
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .s = 1,
		.g = 1, .db = type != 11, .l = type == 11,
	};
}

static int set_sregs(struct vm *vm)
{
	struct kvm_sregs s;

	if (ioctl(vm->vcpu, KVM_GET_SREGS, &s))
		return fail(vm, "KVM_GET_SREGS");
	s.cs = segment(GUEST_CS, 11);
	s.ds = segment(GUEST_DS, 3);
	s.es = s.ds;
	s.fs = s.ds;
	s.gs = s.ds;
	s.ss = s.ds;
	s.tr = (struct kvm_segment) {
		.base = GUEST_TSS, .limit = 0x67, .selector = GUEST_TR, .type = 11, .present = 1,
	};
	s.ldt = (struct kvm_segment) { .type = 2, .unusable = 1 };
	s.gdt.base = GUEST_GDT;
	s.gdt.limit = 0x1f;
	s.idt.base = GUEST_IDT;
	s.idt.limit = 0xfff;
	s.cr0 = CR0;
	s.cr2 = 0;
	s.cr3 = GUEST_PML4;
	s.cr4 = CR4;
	s.efer = EFER;
	memset(s.interrupt_bitmap, 0, sizeof(s.interrupt_bitmap));
	if (ioctl(vm->vcpu, KVM_SET_SREGS, &s))
		return fail(vm, "KVM_SET_SREGS");
	return 0;
}

int vm_open(struct vm *vm)
{
	int ret;

	memset(vm, 0, sizeof(*vm));
	vm->fd = -1;
	vm->vcpu = -1;
	vm->ram_fd = -1;
	vm->stats_fd = -1;
	vm->ram = MAP_FAILED;
	vm->run = MAP_FAILED;
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		return fail(vm, "/dev/kvm");
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return fail(vm, "KVM_CREATE_VM");
	/* Intel without unrestricted guests wants a place for its own use */
	ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000);
	ret = open_ram(vm);
	if (!ret)
		ret = open_vcpu(vm);
	if (!ret)
		ret = set_sregs(vm);
	return ret;
}

void vm_close(struct vm *vm)
{
	int *fds[] = { &vm->stats_fd, &vm->vcpu, &vm->fd, &vm->kvm, &vm->ram_fd };
	unsigned int i;

	if (vm->run != MAP_FAILED)
		munmap(vm->run, vm->run_size);
	for (i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	if (vm->ram != MAP_FAILED)
		munmap(vm->ram, GUEST_RAM);
}

/* An instruction that KVM emulates is finished by the next KVM_RUN: no other. */
static int finish_io(struct vm *vm)
{
	if (!vm->io_open)
		return 0;
	vm->run->immediate_exit = 1;
	while (!ioctl(vm->vcpu, KVM_RUN, NULL) && vm->run->exit_reason == KVM_EXIT_IO)
		;
	vm->run->immediate_exit = 0;
	vm->io_open = false;
	return errno == EINTR ? 0 : fail(vm, "KVM_RUN");
}

int vm_start(struct vm *vm, const struct guest_prog *prog, uint64_t iterations, bool interrupts)
{
	struct kvm_regs regs = {
		.rsp = GUEST_STACK,
		.rip = GUEST_CODE + prog->start,
		.r15 = iterations,
		.rflags = RFLAGS | (interrupts ? RFLAGS_IF : 0),
	};
	int ret = finish_io(vm);

	if (ret)
		return ret;
	vm->prog = prog;
	vm->iterations = iterations;
	vm->run->request_interrupt_window = 0;
	fill_page_tables(vm);
	ret = set_sregs(vm);
	if (!ret && ioctl(vm->vcpu, KVM_SET_REGS, &regs))
		ret = fail(vm, "KVM_SET_REGS");
	return ret;
}

static enum vm_stop stop_of_io(struct vm *vm)
{
	struct kvm_run *run = vm->run;

	vm->io_open = true;
	if (run->io.direction == KVM_EXIT_IO_OUT && run->io.port == PORT_DONE)
		return VM_DONE;
	if (run->io.port == PORT_SYNC)
		return VM_SYNC;
	snprintf(vm->error, sizeof(vm->error), "program %s uses port %#x", vm->prog->name,
		 run->io.port);
	return VM_ERROR;
}

enum vm_stop vm_run(struct vm *vm)
{
	struct kvm_run *run = vm->run;
	struct kvm_regs regs = { 0 };

	if (ioctl(vm->vcpu, KVM_RUN, NULL)) {
		vm->io_open = false;
		if (errno == EINTR)
			return VM_SIGNAL;
		fail(vm, "KVM_RUN");
		return VM_ERROR;
	}
	vm->io_open = false;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return stop_of_io(vm);
	case KVM_EXIT_MMIO:
		vm->io_open = true;
		return VM_SYNC;
	case KVM_EXIT_HLT:
		return VM_HALT;
	case KVM_EXIT_INTR:
		return VM_SIGNAL;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return VM_WINDOW;
	}
	vm_regs(vm, &regs);
	snprintf(vm->error, sizeof(vm->error),
		 "program %s ended at %#llx by KVM's exit %u (%#llx)", vm->prog->name,
		 (unsigned long long)regs.rip, run->exit_reason,
		 (unsigned long long)run->hw.hardware_exit_reason);
	return VM_ERROR;
}

int vm_regs(struct vm *vm, struct kvm_regs *regs)
{
	return ioctl(vm->vcpu, KVM_GET_REGS, regs) ? fail(vm, "KVM_GET_REGS") : 0;
}

int vm_inject_irq(struct vm *vm)
{
	struct kvm_interrupt irq = { .irq = VECTOR_IRQ };

	return ioctl(vm->vcpu, KVM_INTERRUPT, &irq) ? fail(vm, "KVM_INTERRUPT") : 0;
}

int vm_inject_nmi(struct vm *vm)
{
	return ioctl(vm->vcpu, KVM_NMI, NULL) ? fail(vm, "KVM_NMI") : 0;
}

void vm_forget(struct vm *vm, uint64_t from, uint64_t bytes)
{
	madvise(vm->ram + from, bytes, MADV_DONTNEED);
}

uint64_t vm_exits(const struct vm *vm)
{
	uint64_t exits;

	if (!vm->exits_at ||
	    pread(vm->stats_fd, &exits, sizeof(exits), vm->exits_at) != sizeof(exits))
		return UINT64_MAX;
	return exits;
}
