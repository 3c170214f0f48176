// SPDX-License-Identifier: GPL-2.0
/*
 * CPUID in a loop, of every leaf, and the MSRs that a guest may read: what they
 * say is the same each time. times=N in a round.
 */
#include "tort.h"

static volatile uint64_t skip_to, faults;

static void on_protection(struct frame *f)
{
	faults++;
	f->rip = skip_to;
}

static uint64_t leaves(uint64_t h, uint32_t first)
{
	uint32_t r[4], last;

	cpuid(first, 0, r);
	last = r[0];
	if (last < first || last > first + 0x40)
		return h;
	for (uint32_t leaf = first; leaf <= last; leaf++)
		for (uint32_t sub = 0; sub < 3; sub++) {
			cpuid(leaf, sub, r);
			for (int i = 0; i < 4; i++)
				h = mix(h, r[i]);
		}
	return h;
}

/* Read an MSR, or find that there is none. */
static uint64_t msr(uint64_t h, uint32_t index)
{
	uint32_t lo = 0, hi = 0;
	uint64_t before = faults;

	asm volatile("movq $1f, %0; rdmsr\n1:" : "=m"(skip_to), "+a"(lo), "+d"(hi) : "c"(index));
	return mix(mix(h, (uint64_t)hi << 32 | lo), faults - before);
}

static uint64_t round(unsigned long nr)
{
	static const uint32_t msrs[] = {
		0x0, 0x1b, 0x8b, 0xc1, 0xfe, 0x174, 0x175, 0x176, 0x179, 0x17a, 0x1a0, 0x200, 0x201,
		0x250, 0x277, 0x2ff, 0x400, 0x401, 0x404, 0x600, 0x802, 0x803, 0x808, 0x80d, 0x80f,
		0x832, 0x835, 0x837, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
		0xc0000100, 0xc0000101, 0xc0000102, 0xc0010015, 0xc001001f, 0xc0010112, 0xc0010140,
	};
	unsigned long times = rt_option("times", 2);
	uint64_t h = nr, base = tort_random() >> 20;

	wrmsr(0x175, nr);
	wrmsr(0x176, nr);
	for (unsigned long i = 0; i < times; i++) {
		h = leaves(h, 0);
		h = leaves(h, 0x80000000);
		h = leaves(h, 0x40000000);
		for (unsigned int k = 0; k < sizeof(msrs) / sizeof(msrs[0]); k++)
			h = msr(h, msrs[k]);
		/* and what was written to some of them */
		wrmsr(0xc0000101, base);
		wrmsr(0x176, base + 1);
		wrmsr(0x175, base + 2);
		h = mix(mix(mix(h, rdmsr(0xc0000101)), rdmsr(0x176)), rdmsr(0x175));
		wrmsr(0xc0000101, 0);
		for (unsigned int k = 0; k < 20000; k++)
			h = mix(h, k);
	}
	return h;
}

int guest(void)
{
	tort_start("cpuids");
	fire_rf_allowed = 1;
	rt_on(13, on_protection);
	fire_start(NULL);
	tort_rounds(round, 4, 20);
	return tort_end();
}
