// SPDX-License-Identifier: GPL-2.0
/*
 * Storms of RDTSC and RDTSCP, and a TSC that the guest sets itself, by its MSR and
 * by TSC_ADJUST: it never goes back but when it is set, and goes on from where it
 * was set to. rdtscp=1 and adjust=1 say what CPUID is to show: RDTSCP faults where it
 * is hidden. times=N in a round.
 */
#include "tort.h"

#define MSR_TSC		0x10
#define MSR_TSC_ADJUST	0x3b
#define MSR_TSC_AUX	0xc0000103
#define LONG		1000000000000ul
#define AUX		0x1234u

static volatile uint64_t hit, skip_to;
static unsigned long has_rdtscp, has_adjust;

static void on_fault(struct frame *f)
{
	hit++;
	f->rip = skip_to;
}

static uint64_t rdtscp(uint32_t *aux)
{
	uint32_t lo = 0, hi = 0, c = 0;

	asm volatile("movq $1f, %0; rdtscp\n1:" : "=m"(skip_to), "+a"(lo), "+d"(hi), "+c"(c));
	*aux = c;
	return (uint64_t)hi << 32 | lo;
}

/* Behind @from, and not long behind. */
static void check(const char *what, uint64_t now, uint64_t from)
{
	if (now - from > LONG)
		tort_bad(what, now, from);
}

static uint64_t round(unsigned long nr)
{
	unsigned long times = rt_option("times", 60);
	uint64_t last, to, h = nr;
	uint32_t aux;

	for (unsigned int i = 0; i < 3; i++) {
		to = i == 2 ? 0xfffffffff0000000 : tort_random() >> 8;
		wrmsr(MSR_TSC, to);
		last = rdtsc();
		check("the TSC behind where it was set to", last, to);
		h = mix(h, to);
		for (unsigned long k = 0; k < times; k++) {
			uint64_t now = rdtsc();

			check("the TSC behind the last one", now, last);
			last = now;
			fire_fold(now);
			for (unsigned int n = tort_below(50); n; n--)
				h = mix(h, n);
			now = rdmsr(MSR_TSC);
			check("the TSC's MSR", now, last);
			if (has_rdtscp) {
				last = rdtscp(&aux);
				check("RDTSCP", last, now);
				fire_fold(last);
				if (aux != AUX)
					tort_bad("RDTSCP's auxiliary value", aux, AUX);
			}
			if (k % 8 == 0) {
				asm volatile("lfence; rdtsc; rdtsc; rdtsc; mov %%eax, %%ecx; rdtsc;"
					     "rdtsc; mfence" : : : "rax", "rcx", "rdx");
			}
		}
		if (has_adjust) {
			uint64_t adjust = rdmsr(MSR_TSC_ADJUST);

			wrmsr(MSR_TSC_ADJUST, adjust + LONG);
			check("the TSC behind an adjustment", rdtsc(), last + LONG);
		}
	}
	/* hidden: it faults, each time */
	hit = 0;
	rdtscp(&aux);
	if (hit == has_rdtscp)
		tort_bad("faults of RDTSCP", hit, !has_rdtscp);
	return h;
}

int guest(void)
{
	uint32_t r[4];

	tort_start("tscs");
	cpuid(0x80000001, 0, r);
	has_rdtscp = r[3] >> 27 & 1;
	cpuid(7, 0, r);
	has_adjust = r[1] >> 1 & 1;
	if (has_rdtscp != rt_option("rdtscp", 0))
		tort_bad("RDTSCP by CPUID", has_rdtscp, !has_rdtscp);
	if (has_adjust != rt_option("adjust", 0))
		tort_bad("TSC_ADJUST by CPUID", has_adjust, !has_adjust);
	if (has_rdtscp)
		wrmsr(MSR_TSC_AUX, AUX);
	rt_on(6, on_fault);
	fire_rf_allowed = 1;
	fire_start(NULL);
	tort_rounds(round, 5, 20);
	return tort_end();
}
