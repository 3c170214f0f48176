// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's own breakpoints: for execution, writing, and both; in one debug
 * register or in all four, so that none is left for whoever else wants to stop
 * the guest by one. Each must hit as often as it should, say so in DR6, and keep
 * what is written to it. slots=N registers in use (4), moves=1: they are changed
 * all the time; detect=1: and accesses to them are caught by DR7.GD.
 * times=N passes in a round.
 */
#include "tort.h"

#define SLOTS	4
#define EXEC	0
#define WRITE	1
#define ACCESS	3
#define DR7_GD	0x2000ul
#define DR6_BD	0x2000ul
#define DR6_BS	0x4000ul

static volatile uint64_t hits[SLOTS], detected, digest;
static volatile uint64_t words[SLOTS] __attribute__((aligned(64)));
static unsigned int slots, moves, detect;
static uint64_t expect_dr[SLOTS], expect_dr7;

extern char place0[], place1[], place2[], place3[];
static char *const places[SLOTS] = { place0, place1, place2, place3 };

static void set_dr(unsigned int slot, uint64_t v)
{
	switch (slot) {
	case 0:
		write_dr0(v);
		break;
	case 1:
		write_dr1(v);
		break;
	case 2:
		write_dr2(v);
		break;
	default:
		write_dr3(v);
	}
}

static uint64_t get_dr(unsigned int slot)
{
	switch (slot) {
	case 0:
		return read_dr0();
	case 1:
		return read_dr1();
	case 2:
		return read_dr2();
	default:
		return read_dr3();
	}
}

static void on_debug(struct frame *f)
{
	uint64_t dr6 = read_dr6(), h = digest, used = 0;

	if (dr6 & DR6_BS)
		tort_bad("DR6.BS without a single step", dr6, 0);
	if (dr6 & DR6_BD) {
		/* the CPU has cleared DR7.GD; the access is done again */
		detected++;
		if (detect && (read_dr7() & DR7_GD))
			tort_bad("DR7.GD in its own handler", read_dr7(), 0);
	}
	for (unsigned int i = 0; i < SLOTS; i++) {
		/* a register that is not in use may say that it matches, too */
		if (!(dr6 & 1ul << i) || !(expect_dr7 >> 2 * i & 3))
			continue;
		hits[i]++;
		used |= 1ul << i;
		if (!(expect_dr7 >> (16 + 4 * i) & 3))
			f->rflags |= EFLAGS_RF;	/* go on behind an execution breakpoint */
	}
	h = mix(mix(h, f->rip), used | (dr6 & (DR6_BD | DR6_BS)));
	digest = mix(h, f->rsp);
	fire_fold(mix(f->rflags, f->rax));
	if (f->rflags & EFLAGS_TF)
		tort_bad("TF in a debug exception's frame", f->rflags, 0);
	write_dr6(0xffff0ff0);
}

/* What pass() does: through each place once, one read and one write of each word. */
static void __attribute__((noinline, noclone)) pass(void)
{
	asm volatile("place0: incq 0(%0)\n\tnop\n"
		     "place1: mov 8(%0), %%rax; inc %%rax; mov %%rax, 8(%0)\n"
		     "place2: push 16(%0); incq (%%rsp); pop 16(%0)\n"
		     "place3: mov $1, %%eax; lock xadd %%rax, 24(%0)"
		     : : "r"(words) : "rax", "memory", "cc");
}

/* How often pass() hits a breakpoint of some type at its place, or word. */
static unsigned int per_pass(unsigned int slot, unsigned int type)
{
	static const unsigned int accesses[SLOTS] = { 1, 2, 2, 1 };

	if (type == ACCESS)
		return accesses[slot];
	return 1;
}

/* Set slots; returns how often a pass is to hit each. */
static void choose(unsigned int want[SLOTS])
{
	unsigned int used = tort_below(1 << slots);

	if (!moves)
		used = (1 << slots) - 1;
	expect_dr7 = 0x400;
	for (unsigned int i = 0; i < SLOTS; i++) {
		static const unsigned int types[] = { EXEC, EXEC, WRITE, ACCESS };
		unsigned int type = types[tort_below(4)];

		want[i] = 0;
		expect_dr[i] = type == EXEC ? (uint64_t)places[i] : (uint64_t)&words[i];
		if (!(used >> i & 1))
			continue;
		want[i] = per_pass(i, type);
		expect_dr7 |= (1 + tort_below(3)) << 2 * i;
		expect_dr7 |= (uint64_t)type << (16 + 4 * i);
		if (type != EXEC)
			expect_dr7 |= 2ul << (18 + 4 * i);	/* 8 bytes */
	}
	write_dr7(0x400);
	for (unsigned int i = 0; i < SLOTS; i++)
		set_dr(i, expect_dr[i]);
	write_dr7(expect_dr7);
}

static void read_back(void)
{
	if (detect)
		write_dr7(expect_dr7 | DR7_GD);
	for (unsigned int i = 0; i < SLOTS; i++)
		if (get_dr(i) != expect_dr[i])
			tort_bad("a debug address", get_dr(i), expect_dr[i]);
	if (read_dr7() != expect_dr7)
		tort_bad("DR7", read_dr7(), expect_dr7);
	if (read_dr6() & 0xf)
		tort_bad("DR6", read_dr6(), 0xffff0ff0);
}

static uint64_t round(unsigned long nr)
{
	unsigned long times = rt_option("times", moves ? 300 : 1000);
	unsigned int want[SLOTS];
	uint64_t before[SLOTS], h;

	digest = nr;
	memset((void *)words, 0, sizeof(words));
	for (unsigned long i = 0; i < times; i++) {
		if (moves || i % 100 == 0)
			choose(want);
		for (unsigned int k = 0; k < SLOTS; k++)
			before[k] = hits[k];
		pass();
		for (unsigned int k = 0; k < SLOTS; k++)
			if (hits[k] - before[k] != want[k])
				tort_bad("hits of a breakpoint in a pass", hits[k] - before[k],
					 want[k] | k << 8 | expect_dr7 << 16);
		if (moves || i % 100 == 50)
			read_back();
		for (unsigned int k = tort_below(60); k; k--)
			digest = mix(digest, k);
	}
	h = digest;
	write_dr7(0x400);
	return mix_words(h, (void *)words, SLOTS);
}

int guest(void)
{
	tort_start("debugreg");
	fire_rf_allowed = 1;
	slots = rt_option("slots", SLOTS);
	moves = rt_option("moves", 0);
	detect = rt_option("detect", 0);
	rt_on(1, on_debug);
	fire_start(NULL);
	tort_rounds(round, 6, 60);
	tort_say("detected", !!detected == detect);
	return tort_end();
}
