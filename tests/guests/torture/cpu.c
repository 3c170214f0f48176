// SPDX-License-Identifier: GPL-2.0
/* Descriptor tables with everything in them, ring 3, and pages of 4 KiB. */
#include "tort.h"

#define STACK		8192
#define VECTOR_ENTER	0x90
#define VECTOR_LEAVE	0x91
#define TABLES		16

extern const char cpu_user_enter32[], cpu_user_return32[];
extern uint64_t pml4[512], pdpt[512], pd[2048];

uint64_t cpu_gdt[GDT_ENTRIES] __attribute__((aligned(16))) = {
	[SEL_CODE / 8]		= 0x00af9b000000ffff,
	[SEL_DATA / 8]		= 0x00cf93000000ffff,
	[SEL_CODE32_USER / 8]	= 0x00cffb000000ffff,
	[SEL_DATA_USER / 8]	= 0x00cff3000000ffff,
	[SEL_CODE_USER / 8]	= 0x00affb000000ffff,
	[SEL_CODE32 / 8]	= 0x00cf9b000000ffff,
	[SEL_CODE16 / 8]	= 0x00009b000000ffff,
	[SEL_DATA16 / 8]	= 0x000093000000ffff,
};

static struct {
	uint32_t reserved;
	uint64_t rsp[3], reserved1, ist[8];
	uint16_t reserved2, io_map;
} __attribute__((packed)) tss;

static uint8_t stack0[STACK] __attribute__((aligned(16)));
static uint8_t user_stack[STACK] __attribute__((aligned(16)));
static struct frame saved;

/* ist 0 is the stack of interrupts in ring 3. */
void cpu_stack(int ist, void *top)
{
	if (ist)
		tss.ist[ist - 1] = (uint64_t)top;
	else
		tss.rsp[0] = (uint64_t)top;
}

void cpu_tables(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(cpu_gdt) - 1, (uint64_t)cpu_gdt };
	uint64_t base = (uint64_t)&tss;

	tss.io_map = sizeof(tss);
	cpu_stack(0, stack0 + STACK);
	cpu_gdt[SEL_TSS / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 |
			       0x89ull << 40 | (base >> 24 & 0xff) << 56;
	cpu_gdt[SEL_TSS / 8 + 1] = base >> 32;
	asm volatile("lgdt %0; ltr %w1" : : "m"(pointer), "r"(SEL_TSS));
}

/* The task register is to be as it was. */
void cpu_task_register(void)
{
	cpu_gdt[SEL_TSS / 8] &= ~(2ull << 40);	/* not busy */
	asm volatile("ltr %w0" : : "r"(SEL_TSS));
}

/*
 * The page table entry of an address below 4 GiB; its page of 2 MiB becomes 512
 * small ones first.
 */
uint64_t *cpu_pte(uint64_t address)
{
	static uint64_t tables[TABLES][512] __attribute__((aligned(4096)));
	static unsigned int used;
	uint64_t *large = &pd[address >> 21];
	uint64_t *table;

	if (*large & PTE_PS) {
		if (used == TABLES)
			rt_exit(RT_CRASHED);
		table = tables[used++];
		for (int i = 0; i < 512; i++)
			table[i] = (*large & ~PTE_PS) + i * 4096ul;
		*large = (uint64_t)table | PTE_P | PTE_W | (*large & PTE_U);
		write_cr3(read_cr3());
	}
	table = (uint64_t *)(*large & ~0xffful);
	return &table[address >> 12 & 511];
}

/* Ring 3 may use all memory. */
void cpu_user_pages(void)
{
	pml4[0] |= PTE_U;
	for (int i = 0; i < 4; i++)
		pdpt[i] |= PTE_U;
	for (int i = 0; i < 2048; i++) {
		pd[i] |= PTE_U;
		if (pd[i] & PTE_PS)
			continue;
		for (int k = 0; k < 512; k++)
			((uint64_t *)(pd[i] & ~0xffful))[k] |= PTE_U;
	}
	write_cr3(read_cr3());
}

void cpu_user_return(void);
asm("cpu_user_return: mov %rax, %rdi; int $0x91");

static void on_enter(struct frame *f)
{
	uint64_t *top = (uint64_t *)(user_stack + STACK) - 1;

	saved = *f;
	*top = (uint64_t)cpu_user_return;
	f->rip = f->rdi;
	f->rdi = f->rsi;
	f->cs = SEL_CODE_USER;
	f->ss = SEL_DATA_USER;
	f->rsp = (uint64_t)top;
}

static void on_leave(struct frame *f)
{
	uint64_t result = f->rdi;

	*f = saved;
	f->rax = result;
}

static void on_enter32(struct frame *f)
{
	uint32_t *top = (uint32_t *)(user_stack + STACK) - 2;

	saved = *f;
	top[0] = (uint64_t)cpu_user_return32;
	top[1] = f->rsi;
	f->rip = (uint64_t)cpu_user_enter32;
	f->rax = f->rdi;
	f->cs = SEL_CODE32_USER;
	f->ss = SEL_DATA_USER;
	f->rsp = (uint64_t)top;
}

static uint64_t enter(void (*how)(struct frame *), uint64_t fn, uint64_t arg)
{
	uint64_t result;

	rt_on(VECTOR_ENTER, how);
	rt_on(VECTOR_LEAVE, on_leave);
	rt_gate(VECTOR_LEAVE, 3, 0, 0);
	asm volatile("int $0x90" : "=a"(result), "+D"(fn), "+S"(arg) : :
		     "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
	return result;
}

/* Call a function in ring 3. Interrupts stay as they are. */
uint64_t cpu_user(uint64_t (*fn)(uint64_t), uint64_t arg)
{
	return enter(on_enter, (uint64_t)fn, arg);
}

/* A 32-bit one, in compatibility mode. */
uint32_t cpu_user32(const char *fn, uint32_t arg)
{
	return enter(on_enter32, (uint64_t)fn, arg);
}

/* A segment of up to 4 GiB for the GDT; access as in its byte 5, flags G, D, L, AVL. */
uint64_t cpu_segment(uint32_t base, unsigned int access, unsigned int flags)
{
	return 0x000f00000000ffff | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(base >> 24) << 56 | (uint64_t)access << 40 | (uint64_t)flags << 52;
}
