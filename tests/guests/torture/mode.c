// SPDX-License-Identifier: GPL-2.0
/* What the other modes need, prepared in 64-bit mode. */
#include "tort.h"
#include "mode.h"

#define CR4_PAE		0x20u
#define CR4_PSE		0x10u

struct gate32 {
	uint16_t low, selector, flags, high;
};

extern uint64_t pd[2048];
extern const char mode_stubs32[], mode_real_begin[], mode_real_end[], mode_real_tick[];
extern const char mode_through_real[];
uint32_t mode_enter32(const char *fn, uint32_t arg, uint32_t cr3, uint32_t cr4);

struct gate32 mode_idt32[256] __attribute__((aligned(16)));
struct {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed)) mode_idt32_pointer;

static uint64_t pae[4] __attribute__((aligned(32)));
static uint32_t directory[1024] __attribute__((aligned(4096)));

static void prepare(void)
{
	if (mode_idt32_pointer.limit)
		return;
	for (int i = 0; i < 256; i++) {
		uint32_t at = (uint64_t)mode_stubs32 + 16 * i;

		mode_idt32[i] = (struct gate32){ .low = at, .selector = SEL_CODE32,
						 .flags = 0xee00, .high = at >> 16 };
	}
	mode_idt32_pointer.limit = sizeof(mode_idt32) - 1;
	mode_idt32_pointer.base = (uint64_t)mode_idt32;
	for (int i = 0; i < 4; i++)
		pae[i] = (uint64_t)(pd + 512 * i) | PTE_P;
	for (uint32_t i = 0; i < 1024; i++)
		directory[i] = i << 22 | PTE_PS | PTE_U | PTE_W | PTE_P |
			       (i >= 768 ? 0x18 : 0);
}

void mode_gate32(unsigned int vector, unsigned int selector, const char *code,
		 unsigned int access)
{
	uint32_t at = (uint64_t)code;

	prepare();
	mode_idt32[vector] = (struct gate32){ .low = at, .selector = selector,
					      .flags = access << 8, .high = at >> 16 };
}

static void lend_fire(struct mode_fire *f)
{
	*f = (struct mode_fire){
		.x2apic = rt_is_x2apic(),
		.digest = fire_digest,
		.random = fire_interval(),
		.least = fire_shortest(),
		.firing = 1,
	};
}

static void take_fire(const struct mode_fire *f)
{
	fire_ticks += f->ticks;
	fire_fold(f->digest);
	if (f->rf)
		fire_odd_rf();
}

/*
 * Protected mode with its own IDT; interrupts are mode_interrupt32()'s. TR is as
 * it was, and has to be again.
 */
uint32_t mode_protected(const char *fn, uint32_t arg, enum mode_paging paging)
{
	uint32_t cr4 = read_cr4() & ~(CR4_PAE | CR4_PSE), cr3 = 0, result;

	prepare();
	lend_fire(&mode_fire);
	if (paging == PAGING_PAE) {
		cr4 |= CR4_PAE;
		cr3 = (uint64_t)pae;
	} else if (paging == PAGING_32) {
		cr4 |= CR4_PSE;
		cr3 = (uint64_t)directory;
	}
	result = mode_enter32(fn, arg, cr3, cr4);
	take_fire(&mode_fire);
	return result;
}

/* An interrupt vector of real mode: code at an offset in the real mode segment. */
void mode_real_vector(unsigned int vector, unsigned int offset)
{
	volatile uint16_t *table = (volatile uint16_t *)(uint64_t)(4 * vector);

	asm("" : "+r"(table));	/* it is at zero, and the compiler need not know */
	table[0] = offset;
	table[1] = REAL_SEGMENT;
}

void mode_real_load(const char *begin, const char *end)
{
	for (int i = 0; i < 256; i++)
		mode_real_vector(i, 0xffff);
	mode_real_vector(FIRE_VECTOR, mode_real_tick - mode_real_begin);
	memcpy((void *)REAL_BASE, mode_real_begin, mode_real_end - mode_real_begin);
	memcpy((void *)(REAL_BASE + REAL_MAIN), begin, end - begin);
	cpu_gdt[SEL_CODE16 / 8] = 0x00009b000000ffff | (uint64_t)REAL_BASE << 16;
	cpu_gdt[SEL_DATA16 / 8] = 0x000093000000ffff | (uint64_t)REAL_BASE << 16;
}

/* Call what was loaded, with EAX = arg; it may turn interrupts on. */
void mode_real(uint32_t arg)
{
	struct mode_fire *f = (void *)(REAL_BASE + REAL_FIRE);

	prepare();
	lend_fire(f);
	mode_enter32(mode_through_real, arg, 0, read_cr4() & ~(CR4_PAE | CR4_PSE));
	take_fire(f);
}
