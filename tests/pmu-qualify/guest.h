/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest: 64 MiB of memory, tables that vm.c fills, and the programs of
 * guest.S. Everything below 1 GiB is mapped one to one by pages of 2 MiB;
 * a window at 1 GiB maps 16 MiB of it by pages of 4 KiB.
 */
#ifndef GUEST_H
#define GUEST_H

#define GUEST_RAM	0x4000000	/* bytes */

#define GUEST_GDT	0x1000
#define GUEST_IDT	0x2000
#define GUEST_TSS	0x3000
#define GUEST_PML4	0x4000
#define GUEST_PDPT	0x5000
#define GUEST_PD	0x6000		/* two: of the first GiB, of the window */
#define GUEST_PT	0x8000		/* eight, of the window */
#define GUEST_STACK	0x30000		/* its end */
#define GUEST_CODE	0x100000
#define GUEST_DATA	0x200000
#define GUEST_DATA_SIZE	0x200000
#define GUEST_WINDOW_PA	0x1000000
#define GUEST_WINDOW	0x40000000
#define GUEST_WINDOW_PAGES 4096
#define GUEST_CHAIN	0x2000000	/* of pointers, for cache misses */
#define GUEST_CHAIN_SIZE 0x2000000
#define GUEST_MMIO	0x20000000	/* nothing is there */

#define GUEST_CS	0x08
#define GUEST_DS	0x10
#define GUEST_TR	0x18

#define PORT_DONE	0xf4		/* the program is at its end */
#define PORT_SYNC	0x80		/* it asks for an exit */

#define VECTOR_SOFT	0x41		/* INT by the guest itself */
#define VECTOR_IRQ	0x40		/* an interrupt that is injected */

/* What an instruction does to the counters. */
#define OP_NEVER	0		/* exits or faults: does not retire */
#define OP_RETIRES	1
#define OP_BRANCH	2		/* retires, and is a conditional branch */
#define OP_RBX		3		/* adds 1 to RBX, and retires when it is reached */

/* The path through the program is not that of its addresses. */
#define PROG_JUMPS	1
/* It faults, or gets interrupts: handlers run, too. */
#define PROG_EVENTS	2

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/**
 * struct guest_prog - a program: what comes first, R15 times the body, the end
 * @name: for people
 * @flags: PROG_*
 * @start: offset in the code
 * @body: of the loop
 * @end: of the OUT to PORT_DONE
 */
struct guest_prog {
	char name[16];
	uint32_t flags;
	uint32_t start, body, end;
};

/* An instruction: where, and what it does to the counters. In ascending order. */
struct guest_op {
	uint32_t at;
	uint32_t kind;
};

extern const unsigned char guest_code[], guest_code_end[];
extern const struct guest_prog guest_progs[], guest_progs_end[];
extern const struct guest_op guest_ops[], guest_ops_end[];

/* Interrupt handlers, and the programs' subjects: what each iteration runs. */
extern const unsigned char guest_on_skip[], guest_on_return[], guest_on_fault[],
	guest_on_irq[], guest_on_nmi[], guest_on_end[];

const struct guest_prog *guest_find(const char *name);

/**
 * guest_weigh() - what the instructions from one offset to another count
 * @branches: count conditional branches, not instructions
 *
 * Instructions that RBX counts are left out.
 */
uint64_t guest_weigh(uint32_t from, uint32_t to, int branches);

/**
 * guest_expect() - the count at the program's end, by the architecture
 * @rbx: RBX then
 */
uint64_t guest_expect(const struct guest_prog *p, uint64_t iterations, uint64_t rbx, int branches);

/**
 * guest_expect_at() - the count in the midst of a program without PROG_JUMPS
 * @rip: offset of the instruction to come
 * Return: 0, or -1 if there is no instruction at @rip
 */
int guest_expect_at(const struct guest_prog *p, uint64_t iterations, uint32_t rip, uint64_t r15,
		    uint64_t rbx, int branches, uint64_t *count);
#endif
#endif
