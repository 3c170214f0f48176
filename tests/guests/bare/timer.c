// SPDX-License-Identifier: GPL-2.0
/*
 * Timer interrupts of every kind: LAPIC periodic with HLT between, periodic
 * while computing, one-shot, TSC-deadline if the CPU has it. Each tick goes
 * into a hash together with the place that it interrupted and the registers
 * it found: replicas that take a tick one instruction apart print different
 * lines. ticks=N (40) of each kind, period=N ns (2000000).
 */
#include "rt.h"

#define VECTOR 0x40

static volatile unsigned long ticks;
static volatile uint64_t digest;

static void on_tick(struct frame *f)
{
	uint64_t h = digest;

	h = rt_hash(h, f, offsetof(struct frame, vector));
	h = rt_hash(h, &f->rip, sizeof(f->rip));
	h = rt_hash(h, &f->rflags, sizeof(f->rflags));
	digest = h;
	ticks++;
	lapic_eoi();
}

static void say(const char *kind, unsigned long extra)
{
	printf("timer: %s ticks %lu digest %016lx work %016lx\n", kind, ticks, digest, extra);
}

int guest(void)
{
	unsigned long n = rt_option("ticks", 40), period = rt_option("period", 2000000);
	uint64_t work = 1;
	uint32_t r[4];

	rt_apic_on();
	rt_on(VECTOR, on_tick);
	cpuid(1, 0, r);
	printf("timer: x2apic %d tsc-deadline %d period %lu\n", rt_is_x2apic(),
	       (int)(r[2] >> 24 & 1), period);
	lapic_write(LAPIC_TDCR, 0xb);		/* divide by 1 */

	lapic_write(LAPIC_LVTT, VECTOR | LVT_PERIODIC);
	lapic_write(LAPIC_TMICT, period);
	while (ticks < n) {
		sti_hlt();
		if (ticks % 10 == 0)
			say("halted", 0);
	}

	sti();
	for (unsigned long shown = ticks; ticks < 2 * n; ) {
		work = work * 6364136223846793005 + 1442695040888963407;
		if (ticks >= shown + 10) {
			cli();
			shown = ticks;
			say("busy", work);
			sti();
		}
	}
	cli();
	lapic_write(LAPIC_TMICT, 0);

	lapic_write(LAPIC_LVTT, VECTOR);
	for (unsigned long i = 1; i <= n; i++) {
		unsigned long before = ticks;

		lapic_write(LAPIC_TMICT, period / 4 + i * 1000);
		while (ticks == before)
			sti_hlt();
	}
	say("one-shot", 0);

	if (r[2] >> 24 & 1) {
		lapic_write(LAPIC_LVTT, VECTOR | LVT_DEADLINE);
		for (unsigned long i = 1; i <= n; i++) {
			unsigned long before = ticks;

			wrmsr(MSR_TSC_DEADLINE, rdtsc() + period / 4 + i * 1000);
			while (ticks == before)
				sti_hlt();
		}
		say("deadline", 0);
	}
	puts("timer: done");
	return 0;
}
