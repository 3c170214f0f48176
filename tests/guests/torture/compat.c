// SPDX-License-Identifier: GPL-2.0
/*
 * 32-bit and 16-bit code segments under a 64-bit kernel, in ring 0 and ring 3;
 * segments with a base, so that RIP is not the address; INTO, BOUND, INT3, POP SS.
 * passes=N in a round.
 */
#include "tort.h"
#include "mode.h"

#define BASE	0x30000u

extern const char compat_near[], compat_based[], compat_small[], compat_system[];
extern const char compat_code16[];
extern uint32_t compat_selectors[3], compat_base;
extern uint8_t compat_bytes[512];

static volatile uint64_t traps, digest;

static void on_trap(struct frame *f)
{
	traps++;
	digest = mix(mix(digest, f->vector), f->rip);
	if (f->rflags & (EFLAGS_RF | EFLAGS_TF))
		tort_bad("RF or TF in a trap's frame", f->rflags, 0);
}

/* BOUND is four bytes here, and a fault. */
static void on_bound(struct frame *f)
{
	const uint8_t *code = (const uint8_t *)f->rip;

	traps++;
	digest = mix(mix(digest, 5), f->rip);
	while (*code != 0x90)
		code++;
	f->rip = (uint64_t)code;
}

static uint64_t round(unsigned long nr)
{
	static const char *const kinds[] = { compat_near, compat_based, compat_small };
	unsigned long passes = rt_option("passes", 60);
	uint64_t h = nr;

	traps = 0;
	digest = nr;
	memset(compat_bytes, 0, sizeof(compat_bytes));
	for (unsigned long i = 0; i < passes; i++) {
		unsigned int kind = tort_below(4);

		if (kind < 3)
			h = mix(h, mode_compat(kinds[kind], tort_random()));
		else
			h = mix(h, cpu_user32(compat_system, tort_random()));
	}
	return mix(mix(h, traps), digest);
}

int guest(void)
{
	tort_start("compat");
	fire_rf_allowed = 1;
	cpu_user_pages();
	compat_base = BASE;
	for (unsigned int i = 0; i < 3; i++)
		compat_selectors[i] = SEL_FREE + 8 * i;
	cpu_gdt[SEL_FREE / 8] = cpu_segment(BASE, 0x9b, 0xc);
	cpu_gdt[SEL_FREE / 8 + 1] = cpu_segment(2 * BASE, 0x9b, 0xc);
	cpu_gdt[SEL_FREE / 8 + 2] = cpu_segment((uint64_t)compat_code16, 0x9b, 0);
	rt_on(3, on_trap);
	rt_gate(3, 3, 0, 0);
	rt_on(4, on_trap);
	rt_gate(4, 3, 0, 0);
	rt_on(5, on_bound);
	fire_start(NULL);
	tort_rounds(round, 6, 60);
	return tort_end();
}
