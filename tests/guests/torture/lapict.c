// SPDX-License-Identifier: GPL-2.0
/*
 * The local APIC's timer in every mode: one-shot, periodic, TSC deadline; periods
 * shorter than an epoch; every divisor; masked and unmasked while it runs,
 * armed again before it fires, stopped, switched from mode to mode; its current
 * count read at any time. xapic=1: by memory, not by MSRs. ticks=N for each kind.
 */
#include "tort.h"

#define VECTOR	0x41
#define LAST	0x31	/* of a lower priority */

static volatile unsigned long ticks, wrong;
static volatile uint64_t digest, work;
static volatile int expected, last_came;

static void on_timer(struct frame *f)
{
	uint64_t h = mix_words(digest, f, offsetof(struct frame, vector) / 8);

	digest = mix(mix(h, f->rip), f->rflags);
	ticks++;
	wrong += !expected;
	lapic_eoi();
}

/* Compute until so many more came. */
static void until(unsigned long more)
{
	unsigned long end = ticks + more;

	expected = 1;
	sti();
	while (ticks < end)
		work = work * 6364136223846793005 + 1442695040888963407;
	cli();
	expected = 0;
}

/* None may come while we compute for a while. */
static void none(const char *what)
{
	unsigned long before = ticks;

	sti();
	for (unsigned int i = 0; i < 20000; i++)
		work = work * 6364136223846793005 + 1;
	cli();
	if (ticks != before)
		tort_bad(what, ticks - before, 0);
}

static void say(const char *kind)
{
	printf("lapict: time %s: ticks %lu digest %016lx work %016lx count %x\n", kind, ticks,
	       digest, work, lapic_read(LAPIC_TMCCT));
	tort_say(kind, 1);
}

static void on_last(struct frame *f)
{
	(void)f;
	last_came = 1;
	lapic_eoi();
}

/*
 * And wait for one that is on its way: no machine promises how soon it comes, and
 * one that runs in lockstep has it held until an epoch's end. But it comes before
 * one that the timer raises later, of lower priority.
 */
static void stop(void)
{
	lapic_write(LAPIC_TMICT, 0);
	lapic_write(LAPIC_LVTT, LAST);
	last_came = 0;
	expected = 1;
	lapic_write(LAPIC_TMICT, 1000);
	sti();
	while (!last_came)
		work = work * 6364136223846793005 + 1;
	cli();
	expected = 0;
	lapic_write(LAPIC_TMICT, 0);
	lapic_write(LAPIC_LVTT, VECTOR | LVT_MASKED);
}

static void one_shots(unsigned long n)
{
	lapic_write(LAPIC_LVTT, VECTOR);
	for (unsigned long i = 0; i < n; i++) {
		lapic_write(LAPIC_TMICT, 1000 + tort_below(60000));
		until(1);
		none("a second interrupt of a one-shot timer");
		/* armed again, and again, and fires once */
		lapic_write(LAPIC_TMICT, 100000000);
		lapic_write(LAPIC_TMICT, 200000000);
		lapic_write(LAPIC_TMICT, 30000);
		until(1);
	}
	lapic_write(LAPIC_TMICT, 100000000);
	lapic_write(LAPIC_TMICT, 0);
	none("an interrupt of a stopped timer");
	say("one-shot");
}

static void periods(unsigned long n)
{
	static const unsigned int lengths[] = { 300000, 200000, 250000, 1000000 };
	unsigned long before;
	uint64_t masked;

	lapic_write(LAPIC_LVTT, VECTOR | LVT_PERIODIC);
	for (unsigned int i = 0; i < 4; i++) {
		lapic_write(LAPIC_TMICT, lengths[i]);
		until(n / 2);
	}
	say("periodic");
	/* masked, it goes on; unmasked, it is heard again */
	lapic_write(LAPIC_LVTT, VECTOR | LVT_PERIODIC | LVT_MASKED);
	before = ticks;
	masked = rdtsc();
	expected = 1;
	sti();
	while (rdtsc() - masked < 20000000)
		work = work * 6364136223846793005 + 1;
	cli();
	expected = 0;
	/* one may have waited, and one been on its way; periods are shorter */
	if (ticks - before > 2)
		tort_bad("interrupts of a masked timer", ticks - before, 2);
	lapic_write(LAPIC_LVTT, VECTOR | LVT_PERIODIC);
	until(n / 4 + 1);
	say("unmasked");
	stop();
	none("an interrupt after the end");
}

/* The count from here on never grows. */
static void falling(uint32_t last)
{
	for (unsigned int k = 0; k < 10; k++) {
		uint32_t count = lapic_read(LAPIC_TMCCT);

		if (count > last)
			tort_bad("a current count that grows", count, last);
		digest = mix(digest, count);
		last = count;
	}
}

static void divide_by(uint8_t code)
{
	lapic_write(LAPIC_TDCR, code);
	if (lapic_read(LAPIC_TDCR) != code)
		tort_bad("the divide configuration", lapic_read(LAPIC_TDCR), code);
}

/*
 * Between two shots and while the timer counts; it fires once. Between two shots
 * the initial count must be 0: else KVM starts a timer that is over again for the
 * new divisor, which on no other machine does more than divide, and an interrupt
 * that nobody asked for comes (APIC_TDCR in its lapic.c).
 */
static void divisors(void)
{
	static const uint8_t codes[] = { 0xb, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xa };

	lapic_write(LAPIC_LVTT, VECTOR);
	for (unsigned int i = 0; i < 8; i++) {
		uint32_t count;

		lapic_write(LAPIC_TMICT, 0);
		divide_by(codes[i]);
		none("an interrupt of a divisor");
		lapic_write(LAPIC_TMICT, 4000000 >> i);
		falling(4000000 >> i);
		until(1);
		none("a second interrupt of a divided timer");

		lapic_write(LAPIC_TMICT, 4000000 >> i);
		divide_by(codes[(i + 3) % 8]);	/* not the next one's */
		/* it was not over then, if it counts yet */
		count = lapic_read(LAPIC_TMCCT);
		if (count) {
			falling(count);
			until(1);
			none("a second interrupt of a timer divided anew");
		} else {
			stop();
			lapic_write(LAPIC_LVTT, VECTOR);
		}
	}
	lapic_write(LAPIC_TMICT, 0);
	divide_by(0xb);
	say("divisors");
}

static void deadlines(unsigned long n)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[2] >> 24 & 1))
		return;
	lapic_write(LAPIC_LVTT, VECTOR | LVT_DEADLINE);
	asm volatile("mfence");
	for (unsigned long i = 0; i < n; i++) {
		wrmsr(MSR_TSC_DEADLINE, rdtsc() + tort_below(100000));
		digest = mix(digest, rdmsr(MSR_TSC_DEADLINE));
		until(1);
		if (rdmsr(MSR_TSC_DEADLINE))
			tort_bad("a deadline that is over", rdmsr(MSR_TSC_DEADLINE), 0);
	}
	wrmsr(MSR_TSC_DEADLINE, 1);		/* long ago: at once */
	until(1);
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 100000000000);
	wrmsr(MSR_TSC_DEADLINE, 0);
	none("an interrupt of a deadline taken back");
	/* in this mode the count is ignored, in the others the deadline */
	lapic_write(LAPIC_TMICT, 1000);
	none("an interrupt of the count in deadline mode");
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 100000000000);
	lapic_write(LAPIC_LVTT, VECTOR);
	none("an interrupt of the deadline in one-shot mode");
	say("deadline");
	lapic_write(LAPIC_TMICT, 50000);
	until(1);
	say("one-shot after deadline");
}

/* Between HLTs. */
static void halted(unsigned long n)
{
	lapic_write(LAPIC_LVTT, VECTOR);
	expected = 1;
	for (unsigned long i = 0; i < n; i++) {
		unsigned long before = ticks;

		lapic_write(LAPIC_TMICT, 2000 + tort_below(200000));
		while (ticks == before)
			sti_hlt();
		digest = mix(digest, lapic_read(LAPIC_TMCCT));
	}
	expected = 0;
	say("halted");
}

int guest(void)
{
	unsigned long n = rt_option("ticks", 24);

	tort_start("lapict");
	if (rt_option("xapic", 0)) {
		rt_use_xapic();
		lapic_write(LAPIC_TDCR, 0xb);
	}
	rt_on(VECTOR, on_timer);
	rt_on(LAST, on_last);
	tort_seed(1);
	one_shots(n);
	periods(n);
	divisors();
	deadlines(n);
	halted(n);
	stop();
	tort_say("unexpected", wrong);
	return tort_end();
}
