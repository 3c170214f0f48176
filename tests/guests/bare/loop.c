// SPDX-License-Identifier: GPL-2.0
/*
 * Computes and prints a running hash: rounds=N lines (50), each after
 * work=N passes (400) over a 4 KiB table. It begins anew reboots=N times (0), after
 * lines=N lines (50): by the keyboard controller's reset, or by a triple fault, with
 * triple=1.
 */
#include "rt.h"

#define KEYBOARD	0x64		/* the controller's commands */
#define RESET		0xfe
#define MARK		0x7265626f6f740000	/* "reboot", and how often */

/* Firmware leaves it alone, and a reset does, too. */
static volatile uint64_t *const reboots = (uint64_t *)0x1000000;

static void reboot(void)
{
	static const struct { uint16_t limit; uint64_t base; } __attribute__((packed)) none;

	puts("loop: reboots");
	if (rt_option("triple", 0))
		asm volatile("lidt %0; int3" : : "m" (none));
	outb(KEYBOARD, RESET);
	for (;;)
		asm volatile("cli; hlt");
}

int guest(void)
{
	uint64_t again = rt_option("reboots", 0), lines = rt_option("lines", 50);
	static uint64_t table[512];
	unsigned long rounds = rt_option("rounds", 50), work = rt_option("work", 400);
	uint64_t h = 0;

	if (again && (*reboots & ~0xffffull) != MARK)
		*reboots = MARK;
	for (unsigned int i = 0; i < 512; i++)
		table[i] = i * 0x9e3779b97f4a7c15;
	for (unsigned long r = 1; r <= rounds; r++) {
		for (unsigned long w = 0; w < work; w++)
			for (unsigned int i = 0; i < 512; i++) {
				h = (h ^ table[i]) * 0x100000001b3 + r;
				table[(h >> 20) & 511] ^= h;
			}
		printf("loop: %lu hash %016lx\n", r, h);
		if (again && r == lines && (*reboots & 0xffff) < again) {
			++*reboots;
			reboot();
		}
	}
	puts("loop: done");
	return 0;
}
