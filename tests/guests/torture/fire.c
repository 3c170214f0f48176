// SPDX-License-Identifier: GPL-2.0
/*
 * Timer interrupts at pseudo-random intervals: each one arms the next. They
 * fold the place and the registers that they found into a digest, and look at
 * the flags on their stack: nobody but the guest may have set TF there, and
 * nobody but a string instruction RF.
 */
#include "tort.h"

volatile unsigned long fire_ticks;
volatile uint64_t fire_digest;
unsigned long fire_in_string;
int fire_tf_allowed, fire_rf_allowed;

static void (*hook)(struct frame *);
static unsigned long least, levels, enough;
static uint64_t state;
static int firing, rf_always;

void fire_fold(uint64_t value)
{
	fire_digest = mix(fire_digest, value);
}

/* A string instruction is at @f, or nobody knows: segments with a base aren't looked into. */
static int at_string(const struct frame *f)
{
	const uint8_t *code = (const uint8_t *)f->rip;

	if ((f->cs & ~3ul) != SEL_CODE && f->cs != SEL_CODE_USER && f->cs != SEL_CODE32 &&
	    f->cs != SEL_CODE32_USER)
		return 1;

	while (*code == 0xf2 || *code == 0xf3 || *code == 0x66 || *code == 0x67 ||
	       (*code & 0xf0) == 0x40)
		code++;
	return (*code >= 0x6c && *code <= 0x6f) || (*code >= 0xa4 && *code <= 0xa7) ||
	       (*code >= 0xaa && *code <= 0xaf);
}

void fire_check_flags(const struct frame *f, const char *bad_tf, const char *bad_rf)
{
	if ((f->rflags & EFLAGS_TF) && !fire_tf_allowed)
		tort_bad(bad_tf, f->rflags, f->rflags & ~EFLAGS_TF);
	if ((f->rflags & EFLAGS_RF) && !rf_always && !fire_rf_allowed && !at_string(f))
		tort_bad(bad_rf, f->rflags, f->rflags & ~EFLAGS_RF);
}

/* After enough interrupts they become rare. */
unsigned long fire_shortest(void)
{
	return fire_ticks > enough ? least * 16 : least;
}

/* Many short ones, and some long enough for anything to get on. */
unsigned long fire_interval(void)
{
	unsigned long base;

	state = state * 6364136223846793005 + 1442695040888963407;
	base = fire_shortest() << (state >> 40) % levels;
	return base + (state >> 20) % base;
}

void fire_arm(unsigned long ns)
{
	lapic_write(LAPIC_TMICT, ns);
}

void fire_next(void)
{
	fire_arm(fire_interval());
}

/* Code outside 64-bit mode saw RF where it should not be. */
void fire_odd_rf(void)
{
	if (!rf_always && !fire_rf_allowed)
		tort_bad("RF in an interrupt's frame", 1, 0);
}

static void on_tick(struct frame *f)
{
	uint64_t h = mix_words(fire_digest, f, offsetof(struct frame, vector) / 8);

	h = mix(mix(h, f->rip), f->rflags);
	fire_digest = mix(mix(h, f->rsp), f->cs);
	fire_in_string += at_string(f);
	fire_ticks++;
	fire_check_flags(f, "TF in an interrupt's frame", "RF in an interrupt's frame");
	lapic_eoi();
	if (hook && firing)
		hook(f);
	if (firing)
		fire_next();
}

static void on_probe(struct frame *f)
{
	rf_always = !!(f->rflags & EFLAGS_RF);
	lapic_eoi();
}

/* QEMU 10.0 pushes RF with each interrupt: nothing can be told by it then. */
static void probe_rf(void)
{
	rt_on(FIRE_VECTOR, on_probe);
	lapic_write(LAPIC_LVTT, FIRE_VECTOR);
	fire_arm(1000);
	sti_hlt();
	if (rf_always)
		tort_note("interrupts push RF here");
}

/* hook, if any, sees each interrupt's frame and may change it. */
void fire_start(void (*each)(struct frame *))
{
	unsigned long most = rt_option("most", 400000);

	least = rt_option("least", 25000);
	enough = rt_option("enough", 600);
	for (levels = 1; least << levels < most; levels++)
		;
	state = mix(rt_option("seed", 1), 77);
	hook = each;
	probe_rf();
	rt_on(FIRE_VECTOR, on_tick);
	lapic_write(LAPIC_LVTT, FIRE_VECTOR);
	firing = 1;
	fire_next();
}

/* None comes after it, but for one that is under way. */
void fire_stop(void)
{
	cli();
	firing = 0;
	lapic_write(LAPIC_LVTT, FIRE_VECTOR | LVT_MASKED);
	fire_arm(0);
}
