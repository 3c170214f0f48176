// SPDX-License-Identifier: GPL-2.0
/*
 * Sleeps, mostly: HLT for a long time, with few interrupts. naps=N of up to
 * longest=NS (700000000), by the timer's one-shot mode and by its deadline.
 */
#include "tort.h"

#define VECTOR	0x41

static volatile unsigned long ticks;
static volatile uint64_t digest;

static void on_timer(struct frame *f)
{
	uint64_t h = mix_words(digest, f, offsetof(struct frame, vector) / 8);

	digest = mix(mix(h, f->rip), f->rflags);
	ticks++;
	lapic_eoi();
}

int guest(void)
{
	unsigned long naps = rt_option("naps", 8), longest = rt_option("longest", 700000000);
	uint32_t r[4];

	tort_start("idle");
	rt_on(VECTOR, on_timer);
	cpuid(1, 0, r);
	tort_seed(1);
	for (unsigned long i = 0; i < naps; i++) {
		unsigned long before = ticks, length = longest / 8 + tort_below(longest * 7 / 8);
		uint64_t at = rdtsc();

		if ((i & 1) && (r[2] >> 24 & 1)) {
			lapic_write(LAPIC_LVTT, VECTOR | LVT_DEADLINE);
			wrmsr(MSR_TSC_DEADLINE, at + length);
		} else {
			lapic_write(LAPIC_LVTT, VECTOR);
			lapic_write(LAPIC_TMICT, length);
		}
		while (ticks == before)
			sti_hlt();
		printf("idle: time nap %lu of %lu took %lu digest %016lx\n", i, length,
		       rdtsc() - at, digest);
		tort_say("nap", i);
		tort_say("ticks", ticks);
	}
	return tort_end();
}
