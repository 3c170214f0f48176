// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual-8086 mode under a monitor of 32 bits, with IOPL 0 and IOPL 3, with and
 * without paging: interrupts come from there, in segments with a base.
 * count=N times its work is done each time.
 */
#include "tort.h"
#include "mode.h"
#include "sums16.h"

#define TSS_SIZE (104 + 32 + 0x2000 + 1)

extern const char v86_main[], real_begin[], real_end[], real_soft[];
extern char v86_tss[];

static uint64_t round(unsigned long nr)
{
	volatile uint32_t *count = (void *)(REAL_BASE + COUNT);
	uint64_t h = nr;

	cli();
	for (unsigned int i = 0; i < 6; i++) {
		mode_real_load(real_begin, real_end);
		mode_real_vector(0x70, REAL_MAIN + (real_soft - real_begin));
		memset((void *)(REAL_BASE + RESULTS), 0, 0x6000);
		count[0] = rt_option("count", 6);
		count[1] = tort_random();
		cpu_gdt[SEL_FREE / 8] = (TSS_SIZE - 1) | 0x89ull << 40 |
					((uint64_t)v86_tss & 0xffffff) << 16;
		h = mix(h, mode_protected(v86_main, (tort_random() & ~1ul) | (i & 1),
					  i / 2 % PAGINGS));
		cpu_task_register();
		h = mix_words(h, (void *)(REAL_BASE + RESULTS), 3);
	}
	return h;
}

int guest(void)
{
	tort_start("v86");
	cpu_user_pages();
	fire_start(NULL);
	tort_rounds(round, 6, 60);
	return tort_end();
}
