// SPDX-License-Identifier: GPL-2.0
/*
 * A storm of time stamp reads: every value goes into the hash that is printed,
 * and none may be smaller than the one before. reads=N (20000).
 */
#include "rt.h"

int guest(void)
{
	unsigned long reads = rt_option("reads", 20000), back = 0;
	uint64_t h = 0, last = 0, first = rdtsc();

	for (unsigned long i = 1; i <= reads; i++) {
		uint64_t now = rdtsc();

		back += now < last;
		last = now;
		h = (h ^ now) * 0x100000001b3;
		if (i % (reads / 10 ? reads / 10 : 1) == 0)
			printf("rdtsc: %lu reads, hash %016lx, %lu back\n", i, h, back);
	}
	printf("rdtsc: took %lu ticks\n", last - first);
	puts("rdtsc: done");
	return back ? 1 : 0;
}
