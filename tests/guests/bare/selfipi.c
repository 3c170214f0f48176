// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts that the CPU sends to itself: they need no log record, and must
 * not be taken for an input either. In both APIC modes; count=N (200).
 */
#include "rt.h"

#define VECTOR	0x50
#define SELF	0x40000		/* ICR shorthand */

static volatile unsigned long taken;
static volatile uint64_t digest;

static void on_ipi(struct frame *f)
{
	uint64_t h = digest;

	h = rt_hash(h, f, offsetof(struct frame, vector));
	digest = rt_hash(h, &f->rip, sizeof(f->rip));
	taken++;
	lapic_eoi();
}

static unsigned long some(unsigned long count)
{
	unsigned long before = taken;

	for (unsigned long i = 0; i < count; i++) {
		if (i & 1)
			sti();
		if (rt_is_x2apic())
			wrmsr(0x830, SELF | VECTOR);
		else
			lapic_write(LAPIC_ICR, SELF | VECTOR);
		if (i & 1)
			cli();
		else
			sti_hlt();
	}
	printf("selfipi: %s: %lu sent, %lu taken, digest %016lx\n",
	       rt_is_x2apic() ? "x2apic" : "xapic", count, taken - before, digest);
	return taken - before;
}

int guest(void)
{
	unsigned long count = rt_option("count", 200), got;

	rt_apic_on();
	rt_on(VECTOR, on_ipi);
	got = some(count);
	rt_use_xapic();
	got += some(count);
	puts("selfipi: done");
	return got == 2 * count ? 0 : 1;
}
