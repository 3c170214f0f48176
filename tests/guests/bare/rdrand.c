// SPDX-License-Identifier: GPL-2.0
/*
 * Uses RDRAND although CPUID says that there is none: nothing can stop it, and
 * two replicas get different values. They must be caught diverging.
 * after=N lines (10) it begins; lines=N (30) it prints in all.
 */
#include "rt.h"

int guest(void)
{
	unsigned long after = rt_option("after", 10), lines = rt_option("lines", 30);
	uint64_t work = 1;
	uint32_t r[4];

	cpuid(1, 0, r);
	printf("rdrand: CPUID %s RDRAND\n", r[2] >> 30 & 1 ? "shows" : "hides");
	for (unsigned long i = 1; i <= lines; i++) {
		uint64_t v = 0;

		for (int k = 0; k < 100000; k++)
			work = work * 6364136223846793005 + 1442695040888963407;
		if (i > after)
			asm volatile("rdrand %0" : "=r"(v) : : "cc");
		work += v;
		printf("rdrand: %lu work %016lx\n", i, work);
	}
	puts("rdrand: done");
	return 0;
}
