// SPDX-License-Identifier: GPL-2.0
/*
 * Priorities: self-IPIs of pseudo-random vectors under a task priority that CR8 and
 * the local APIC's TPR set, nested in each other, held back and let go. In which
 * order they come does not depend on time; where the timer's come does. A model of
 * the APIC says which ones must have been taken. xapic=1; ops=N in a round.
 */
#include "tort.h"

#define FIRST	0x50
#define SELF	0x40000

static volatile uint64_t order;
static volatile unsigned int taken, depth;
static uint32_t requested[8];		/* a bit for each vector: the model's IRR */
static uint8_t stack[16];		/* vectors in service */

static void send(unsigned int vector)
{
	requested[vector / 32] |= 1u << vector % 32;
	if (rt_is_x2apic())
		wrmsr(0x830, SELF | vector);
	else
		lapic_write(LAPIC_ICR, SELF | vector);
}

static int highest(void)
{
	for (int v = 255; v >= 0; v--)
		if (v != FIRE_VECTOR && (requested[v / 32] >> v % 32 & 1))
			return v;
	return -1;
}

static unsigned int priority(void)
{
	unsigned int tpr = read_cr8(), in_service = depth ? stack[depth - 1] >> 4 : 0;

	return tpr > in_service ? tpr : in_service;
}

static void on_ipi(struct frame *f)
{
	unsigned int vector = f->vector;
	int want = highest();

	taken++;
	order = mix(order, vector);
	if (want != (int)vector)
		tort_bad("the vector that is taken", vector, want);
	if (vector >> 4 <= priority())
		tort_bad("a vector whose priority is too low", vector, priority());
	requested[vector / 32] &= ~(1u << vector % 32);
	stack[depth++] = vector;
	if (depth < 6 && tort_below(2)) {
		/* another one, lower or higher, and interrupts on within the handler */
		send(FIRST + tort_below(0xa0));
		sti();
		asm volatile("nop; nop; nop; nop");
		cli();
	}
	depth--;
	lapic_eoi();
}

static void set_priority(unsigned int class)
{
	if (tort_below(2)) {
		write_cr8(class);
	} else {
		lapic_write(LAPIC_TPR, class << 4);
		if (read_cr8() != class)
			tort_bad("CR8 after TPR", read_cr8(), class);
	}
	if (lapic_read(LAPIC_TPR) >> 4 != class)
		tort_bad("TPR", lapic_read(LAPIC_TPR) >> 4, class);
}

static uint64_t round(unsigned long nr)
{
	unsigned long ops = rt_option("ops", 40);

	order = nr;
	taken = 0;
	cli();
	for (unsigned long i = 0; i < ops; i++) {
		unsigned int class = tort_below(16);

		set_priority(class);
		for (unsigned int k = tort_below(4); k; k--)
			send(FIRST + tort_below(0xa0));
		sti();
		for (unsigned int k = 0; k < 60; k++)
			order = mix(order, k);
		cli();
		if (highest() >> 4 > (int)class)
			tort_bad("a vector not taken", highest(), class);
		/* lower it step by step */
		while (class) {
			class -= 1 + tort_below(class);
			set_priority(class);
			sti();
			asm volatile("nop; nop");
			cli();
			if (highest() >> 4 > (int)class)
				tort_bad("a vector not taken at lower priority", highest(), class);
		}
		order = mix(order, taken);
	}
	write_cr8(0);
	sti();
	return order;
}

int guest(void)
{
	tort_start("tpr");
	if (rt_option("xapic", 0)) {
		rt_use_xapic();
		lapic_write(LAPIC_TDCR, 0xb);
	}
	for (int v = FIRST; v < 0xf0; v++)
		rt_on(v, on_ipi);
	fire_start(NULL);
	tort_rounds(round, 5, 20);
	return tort_end();
}
