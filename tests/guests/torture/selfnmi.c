// SPDX-License-Identifier: GPL-2.0
/*
 * NMIs that the guest sends to itself: with interrupts on and off, between
 * exceptions, in the handler of one before, where they are blocked until IRET.
 * How many come, and where, does not depend on time. times=N in a round;
 * outside=N: that many more come from outside.
 */
#include "tort.h"

#define NMI	0x400
#define SELF	0x40000

static volatile unsigned int taken, nested, in_handler, send_more;
static volatile uint64_t where;
static volatile unsigned long outside;
static unsigned int alone;		/* none comes from outside */

static void send_nmi(void)
{
	if (rt_is_x2apic())
		wrmsr(0x830, SELF | NMI);
	else
		lapic_write(LAPIC_ICR, SELF | NMI);
}

static void on_nmi(struct frame *f)
{
	if (in_handler)
		nested++;		/* before IRET: must not be */
	in_handler = 1;
	taken++;
	if (!alone) {
		outside++;
		fire_fold(f->rip);
		fire_fold(f->rax);
	}
	where = mix(where, f->rip);
	if (f->rflags & EFLAGS_TF)
		tort_bad("TF in an NMI's frame", f->rflags, 0);
	if (send_more) {
		/* blocked: it comes behind our IRET, once */
		send_more--;
		send_nmi();
		send_nmi();
		for (int i = 0; i < 20; i++)
			asm volatile("nop");
	}
	in_handler = 0;
}

/* The IRET of an exception within the NMI handler unblocks, too. */
static void on_breakpoint(struct frame *f)
{
	(void)f;
}

static unsigned int wait_for(unsigned int count)
{
	for (unsigned int i = 0; i < 100000 && taken < count; i++)
		asm volatile("pause");
	return taken;
}

static void need(const char *what, unsigned int got, unsigned int want)
{
	if (got != want)
		tort_bad(what, got, want);
}

static uint64_t round(unsigned long nr)
{
	unsigned long times = rt_option("times", 10);
	unsigned int want;
	uint64_t h = nr;

	where = nr;
	for (unsigned long i = 0; i < times; i++) {
		taken = 0;
		send_nmi();
		need("an NMI", wait_for(1), 1);

		/* with interrupts off, too, and more than one of them */
		cli();
		taken = 0;
		send_more = 1;
		send_nmi();
		need("an NMI and one more", wait_for(2), 2);
		sti();

		/* one behind the other */
		taken = 0;
		cli();
		send_more = tort_below(4);
		want = 1 + send_more;
		send_nmi();
		need("NMIs in a chain", wait_for(want), want);
		h = mix(h, want);
		sti();

		/* an exception in the midst */
		taken = 0;
		asm volatile("int3");
		send_nmi();
		asm volatile("int3");
		need("an NMI between exceptions", wait_for(1), 1);
		for (unsigned int k = tort_below(2000); k; k--)
			h = mix(h, k);
	}
	need("NMIs that came in their own handler", nested, 0);
	return mix(h, where);
}

int guest(void)
{
	unsigned long more;

	tort_start("selfnmi");
	alone = 1;
	rt_on(2, on_nmi);
	rt_on(3, on_breakpoint);
	fire_start(NULL);
	tort_rounds(round, 5, 20);
	more = rt_option("outside", 0);
	if (more) {
		uint64_t work = 1;

		alone = 0;
		puts("selfnmi: send them");
		while (outside < more) {
			work = mix(work, outside);
			if (work % 1024 == 0)
				asm volatile("int3");
		}
		printf("selfnmi: time from outside %lu work %016lx digest %016lx\n", outside, work,
		       fire_digest);
	}
	return tort_end();
}
