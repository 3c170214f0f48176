// SPDX-License-Identifier: GPL-2.0
/*
 * A fixed amount of work, composed on the command line, for the benchmark
 * (tests/bench). units=N times:
 *
 *	steps=N		steps of computing, about 10 instructions each
 *	tsc=N		times of day, each from one RDTSC
 *	in=N, out=N	reads, writes of a port
 *	cpuid=N		exits that concern nobody but KVM
 *	line=N		characters printed, the port polled before each
 *	cmos=N		bytes of the clock chip, two ports each
 *	timer=N		one one-shot interrupt of the APIC in so many units, delay=N
 *			ns (500000) after it is armed
 *
 * A byte to port 0xe9 (isa-debugcon) says where it begins and where it ends, so that
 * neither firmware nor start is measured. What is printed at last depends on no
 * clock: it is the same wherever and however this runs.
 */
#include "rt.h"

#define MARK	0xe9
#define CMOS	0x70
#define SCRATCH	(COM1 + 7)	/* a register of the serial port that does nothing */
#define VECTOR	0x40

static uint64_t table[512];
static volatile unsigned long ticks;

static void on_tick(struct frame *f)
{
	(void)f;
	ticks++;
	lapic_eoi();
}

static uint64_t compute(uint64_t h, unsigned long steps)
{
	for (unsigned long i = 0; i < steps; i++) {
		h = (h ^ table[i & 511]) * 0x100000001b3 + i;
		table[(h >> 20) & 511] ^= h;
	}
	return h;
}

/* As a kernel's vDSO has it. Return: whether time stood or went on. */
static int time_of_day(void)
{
	static uint64_t first, last, seconds, nanoseconds;
	uint64_t now = rdtsc(), ns;
	int good;

	if (!first)
		first = now;
	/* 1 GHz; the kernel's factor is as odd */
	ns = ((now - first) * 8388608) >> 23;
	seconds = 1767225600 + ns / 1000000000;
	nanoseconds = ns % 1000000000;
	good = seconds * 1000000000 + nanoseconds >= last;
	last = seconds * 1000000000 + nanoseconds;
	return good;
}

static void line(unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		putchar('a' + i % 26);
	putchar('\n');
}

int guest(void)
{
	unsigned long units = rt_option("units", 1000), steps = rt_option("steps", 500);
	unsigned long tsc = rt_option("tsc", 0), in = rt_option("in", 0);
	unsigned long out = rt_option("out", 0), exits = rt_option("cpuid", 0);
	unsigned long length = rt_option("line", 0), cmos = rt_option("cmos", 0);
	unsigned long timer = rt_option("timer", 0), delay = rt_option("delay", 500000);
	unsigned long back = 0, want = 0;
	uint64_t h = 0;
	uint32_t r[4];

	for (unsigned int i = 0; i < 512; i++)
		table[i] = i * 0x9e3779b97f4a7c15;
	rt_apic_on();
	rt_on(VECTOR, on_tick);
	lapic_write(LAPIC_TDCR, 0xb);		/* divide by 1 */
	lapic_write(LAPIC_LVTT, VECTOR);

	outb(MARK, 'B');
	for (unsigned long u = 0; u < units; u++) {
		if (timer && u % timer == 0) {
			want++;
			lapic_write(LAPIC_TMICT, delay);
			sti();
		}
		h = compute(h, steps);
		for (unsigned long i = 0; i < tsc; i++)
			back += !time_of_day();
		for (unsigned long i = 0; i < in; i++)
			inb(SCRATCH);
		for (unsigned long i = 0; i < out; i++)
			outb(SCRATCH, u);
		for (unsigned long i = 0; i < exits; i++)
			cpuid(0, 0, r);
		if (length)
			line(length);
		for (unsigned long i = 0; i < cmos; i++) {
			outb(CMOS, i);
			inb(CMOS + 1);
		}
		if (timer && (u + 1) % timer == 0) {
			cli();
			while (ticks < want)
				sti_hlt();
		}
	}
	outb(MARK, 'E');

	cli();
	printf("bench: %lu units, result %016lx, %lu interrupts, %lu steps back in time\n", units, h,
	       want, back);
	return back ? 1 : 0;
}
