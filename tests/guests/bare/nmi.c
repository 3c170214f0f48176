// SPDX-License-Identifier: GPL-2.0
/*
 * Counts NMIs while it computes, with a digest of where each one hit; ends
 * after count=N (3) of them. Those that arrive while it handles one wait.
 */
#include "rt.h"

static volatile unsigned long nmis;
static volatile uint64_t digest;

static void on_nmi(struct frame *f)
{
	uint64_t h = digest;

	h = rt_hash(h, f, offsetof(struct frame, vector));
	digest = rt_hash(h, &f->rip, sizeof(f->rip));
	nmis++;
}

int guest(void)
{
	unsigned long count = rt_option("count", 3), seen = 0;
	uint64_t work = 1;

	rt_apic_on();
	rt_on(2, on_nmi);
	puts("nmi: send them");
	while (seen < count) {
		for (int i = 0; i < 100000 && nmis == seen; i++)
			work = work * 6364136223846793005 + 1442695040888963407;
		if (nmis != seen) {
			seen = nmis;
			printf("nmi: %lu digest %016lx work %016lx\n", seen, digest, work);
		}
	}
	puts("nmi: done");
	return 0;
}
