// SPDX-License-Identifier: GPL-2.0
/*
 * A little of everything in every round: clock reads, port reads single and by
 * string, device memory read, written and both in one instruction, the APIC's
 * running counter, what was typed, timer interrupts while it computes and
 * while it halts. All that it reads, and where each interrupt hit, goes into the
 * hash that each round prints: a replica that read anything else prints
 * something else. rounds=N (1000000), period=N ns (2000000) of the timer, work=N
 * (300), halt=0|1 (1), late=0|1 (1), bulk=N (0) string reads of 4000 bytes a round.
 */
#include "rt.h"

#define VECTOR	0x40
#define CMOS	0x70
#define FW_CFG	0x510		/* selector, data at + 1 */

static volatile unsigned long ticks;
static volatile uint64_t digest;
static uint8_t buffer[4000];

static void on_tick(struct frame *f)
{
	uint64_t h = digest;

	h = rt_hash(h, f, offsetof(struct frame, vector));
	h = rt_hash(h, &f->rip, sizeof(f->rip));
	digest = rt_hash(h, &f->rflags, sizeof(f->rflags));
	ticks++;
	lapic_eoi();
}

static uint64_t clocks(uint64_t h)
{
	for (int i = 0; i < 4; i++) {
		uint64_t now = rdtsc();

		h = rt_hash(h, &now, sizeof(now));
	}
	return h;
}

static uint64_t ports(uint64_t h, unsigned long bulk)
{
	for (int i = 0; i < 3; i++) {
		uint8_t v;

		outb(CMOS, i * 2);	/* seconds, minutes, hours */
		v = inb(CMOS + 1);
		h = rt_hash(h, &v, 1);
	}
	for (unsigned long i = 0; i <= bulk; i++) {
		size_t count = i ? sizeof(buffer) : 40;
		void *to = buffer;

		outw(FW_CFG, 0x19);	/* the directory of files */
		asm volatile("rep insb" : "+D"(to), "+c"(count)
			     : "d"((uint16_t)(FW_CFG + 1)) : "memory");
		h = rt_hash(h, buffer, 40);
	}
	return h;
}

static uint64_t memory(uint64_t h, int late)
{
	volatile uint32_t *data = (void *)(IOAPIC + 0x10);
	uint32_t v;

	ioapic_write(0x10 + 2 * 20, LVT_MASKED | (h & 0x7f) | 0x80);
	v = ioapic_read(0x10 + 2 * 20);
	h = rt_hash(h, &v, sizeof(v));
	if (late) {
		/* the register selected above: read and written by one instruction */
		asm volatile("xorl %1, %0" : "+m"(*data) : "r"(0x55));
		v = *data;
		h = rt_hash(h, &v, sizeof(v));
	}
	v = lapic_read(LAPIC_TMCCT);
	return rt_hash(h, &v, sizeof(v));
}

static uint64_t typed(uint64_t h)
{
	while (inb(COM1 + 5) & 1) {
		uint8_t c = inb(COM1);

		h = rt_hash(h, &c, 1);
	}
	return h;
}

int guest(void)
{
	unsigned long rounds = rt_option("rounds", 1000000), work = rt_option("work", 300);
	unsigned long bulk = rt_option("bulk", 0), before;
	int halt = rt_option("halt", 1), late = rt_option("late", 1);
	uint64_t h = 0;

	rt_apic_on();
	rt_on(VECTOR, on_tick);
	lapic_write(LAPIC_TDCR, 0xb);		/* divide by 1 */
	lapic_write(LAPIC_LVTT, VECTOR | LVT_PERIODIC);
	lapic_write(LAPIC_TMICT, rt_option("period", 2000000));
	for (unsigned long r = 1; r <= rounds; r++) {
		h = typed(memory(ports(clocks(h), bulk), late));
		before = ticks;
		while (halt && ticks == before)
			sti_hlt();
		sti();
		before = ticks;
		for (unsigned long w = 0; w < work || ticks == before; w++)
			h = h * 6364136223846793005 + 1442695040888963407;
		cli();
		h ^= digest;
		printf("mixed %lu %08x\n", r, (uint32_t)(h ^ h >> 32));
	}
	puts("mixed: done");
	return 0;
}
