// SPDX-License-Identifier: GPL-2.0
/*
 * Computes and prints a running hash: rounds=N lines (50), each after
 * work=N passes (400) over a 4 KiB table.
 */
#include "rt.h"

int guest(void)
{
	static uint64_t table[512];
	unsigned long rounds = rt_option("rounds", 50), work = rt_option("work", 400);
	uint64_t h = 0;

	for (unsigned int i = 0; i < 512; i++)
		table[i] = i * 0x9e3779b97f4a7c15;
	for (unsigned long r = 1; r <= rounds; r++) {
		for (unsigned long w = 0; w < work; w++)
			for (unsigned int i = 0; i < 512; i++) {
				h = (h ^ table[i]) * 0x100000001b3 + r;
				table[(h >> 20) & 511] ^= h;
			}
		printf("loop: %lu hash %016lx\n", r, h);
	}
	puts("loop: done");
	return 0;
}
