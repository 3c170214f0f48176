// SPDX-License-Identifier: GPL-2.0
/*
 * Into real mode and back: work there, in segments whose base is not zero, with
 * interrupts through the vector table at address zero, HLT, ports and software
 * interrupts. count=N times it is done each time.
 */
#include "tort.h"
#include "mode.h"
#include "sums16.h"

extern const char real_begin[], real_end[], real_soft[], real_divide[];

static uint64_t round(unsigned long nr)
{
	volatile uint16_t *count = (void *)(REAL_BASE + COUNT);
	uint64_t h = nr;

	cli();
	for (unsigned int i = 0; i < 3; i++) {
		mode_real_load(real_begin, real_end);
		mode_real_vector(0, REAL_MAIN + (real_divide - real_begin));
		mode_real_vector(3, REAL_MAIN + (real_soft - real_begin));
		mode_real_vector(4, REAL_MAIN + (real_soft - real_begin));
		mode_real_vector(0x70, REAL_MAIN + (real_soft - real_begin));
		memset((void *)(REAL_BASE + RESULTS), 0, 0x6000);
		*count = rt_option("count", 6);
		mode_real(tort_random());
		h = mix_words(h, (void *)(REAL_BASE + RESULTS), 5);
		/* for a moment here */
		sti();
		for (unsigned int k = 0; k < 3000; k++)
			h = mix(h, k);
		cli();
	}
	return h;
}

int guest(void)
{
	tort_start("realmode");
	fire_start(NULL);
	tort_rounds(round, 6, 60);
	return tort_end();
}
