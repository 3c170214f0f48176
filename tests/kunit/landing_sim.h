/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest, a counter with skid and a breakpoint, for landing_test.c: what the
 * epoch rules decide is carried out here as a host would.
 */
#ifndef FTKVM_TEST_LANDING_SIM_H
#define FTKVM_TEST_LANDING_SIM_H

#include <linux/prandom.h>

#include "../../kmod/core/epoch.h"

#define SIM_INSNS	61
#define SIM_NOWHERE	U64_MAX

enum sim_op {
	SIM_ALU,	/* computes */
	SIM_SHADOW,	/* ... and blocks breakpoints at the next instruction */
	SIM_BRANCH,	/* goes to its argument or on, as the data have it */
	SIM_LOADCX,	/* loads rcx */
	SIM_REP,	/* counts rcx down to 0; retires once */
	SIM_READ,	/* now and then an environment read: exits, does not retire */
	SIM_HALT,	/* now and then exits and waits for an input, does not retire */
};

struct sim_prog {
	u8 op[SIM_INSNS];
	u8 arg[SIM_INSNS];
	bool branches;		/* the counter counts branches, not instructions */
};

struct sim_cpu {
	struct ftkvm_point at;
	u64 acc;		/* all that the guest ever computed */
	bool shadow;
};

enum sim_exit {
	SIM_EXIT_NONE,
	SIM_EXIT_HOST,		/* something of the host's own */
	SIM_EXIT_OVERFLOW,
	SIM_EXIT_BREAK,
	SIM_EXIT_READ,
	SIM_EXIT_HALT,
};

static void sim_compile(struct sim_prog *prog, struct rnd_state *rnd, bool branches)
{
	static const u8 mix[] = {
		SIM_ALU, SIM_ALU, SIM_ALU, SIM_ALU, SIM_ALU, SIM_ALU,
		SIM_BRANCH, SIM_BRANCH, SIM_SHADOW, SIM_SHADOW, SIM_LOADCX,
	};
	int i;

	prog->branches = branches;
	for (i = 0; i < SIM_INSNS; i++) {
		prog->op[i] = mix[prandom_u32_state(rnd) % ARRAY_SIZE(mix)];
		prog->arg[i] = prandom_u32_state(rnd) % SIM_INSNS;
		if (i && prog->op[i - 1] == SIM_LOADCX)
			prog->op[i] = SIM_REP;
	}
	prog->op[20] = SIM_READ;
	prog->op[45] = SIM_READ;
	prog->op[SIM_INSNS - 3] = SIM_HALT;
	prog->op[SIM_INSNS - 2] = SIM_BRANCH;
	/* the way back to the start is an event, or a turn of nothing would be none */
	prog->op[SIM_INSNS - 1] = SIM_BRANCH;
	prog->arg[SIM_INSNS - 1] = 0;
}

static u8 sim_op(const struct sim_prog *prog, const struct sim_cpu *cpu)
{
	return prog->op[cpu->at.rip];
}

/* The exit that the next instruction makes. Seldom: an epoch shall get somewhere. */
static enum sim_exit sim_exits(const struct sim_prog *prog, const struct sim_cpu *cpu)
{
	u8 op = sim_op(prog, cpu);

	if (op == SIM_READ && (cpu->acc >> 20) % 64 == 0)
		return SIM_EXIT_READ;
	if (op == SIM_HALT && (cpu->acc >> 20) % 128 == 0)
		return SIM_EXIT_HALT;
	return SIM_EXIT_NONE;
}

/* Would the next instruction (or iteration) count? */
static bool sim_counts(const struct sim_prog *prog, const struct sim_cpu *cpu)
{
	u8 op = sim_op(prog, cpu);

	if (prog->branches)
		return op == SIM_BRANCH;
	return op != SIM_REP || cpu->at.rcx <= 1;
}

/* Order matters and nothing is ever forgotten: a replica that once strayed stays astray. */
static void sim_mix(struct sim_cpu *cpu, u64 val)
{
	cpu->acc = (cpu->acc ^ val) * 0x9e3779b97f4a7c15ull + 0x7f4a7c15;
}

static u32 sim_digest(const struct sim_cpu *cpu)
{
	return cpu->acc ^ cpu->acc >> 32;
}

static void sim_step(const struct sim_prog *prog, struct sim_cpu *cpu)
{
	u8 op = sim_op(prog, cpu);
	u8 arg = prog->arg[cpu->at.rip];
	u64 next = (cpu->at.rip + 1) % SIM_INSNS;

	cpu->at.count += sim_counts(prog, cpu);
	cpu->shadow = op == SIM_SHADOW;
	if (op == SIM_BRANCH && cpu->acc >> 62)
		next = arg;
	if (op == SIM_LOADCX)
		cpu->at.rcx = 1 + arg / 4;
	if (op == SIM_REP && cpu->at.rcx && --cpu->at.rcx)
		next = cpu->at.rip;
	sim_mix(cpu, cpu->at.rip);
	cpu->at.rip = next;
}

/* The host emulates an environment read. */
static void sim_read(struct sim_cpu *cpu, u64 val)
{
	sim_mix(cpu, val);
	cpu->at.rip = (cpu->at.rip + 1) % SIM_INSNS;
}

/* An input wakes a halted guest, and diverts any. */
static void sim_input(const struct sim_prog *prog, struct sim_cpu *cpu, u8 vector)
{
	if (sim_exits(prog, cpu) == SIM_EXIT_HALT)
		cpu->at.rip++;
	sim_mix(cpu, 0x100 + vector);
}

/**
 * struct sim_run - what one entry into the guest is told
 * @until: count at which the counter overflows
 * @skid: how many events late the exit may be, at most
 * @rip: where the breakpoint is, or SIM_NOWHERE
 * @step_over: go past the breakpoint if it is right here
 */
struct sim_run {
	u64 until;
	u64 skid;
	u64 rip;
	bool step_over;
};

static enum sim_exit sim_enter(const struct sim_prog *prog, struct sim_cpu *cpu,
			       struct rnd_state *rnd, const struct sim_run *run)
{
	u64 late = run->skid ? prandom_u32_state(rnd) % (run->skid + 1) : 0;
	u32 instants = prandom_u32_state(rnd) % 8;
	bool first = true;

	for (;; first = false) {
		enum sim_exit exit = sim_exits(prog, cpu);

		/* late by events, and at any instant of the last one's count */
		if (cpu->at.count >= run->until + late && (sim_counts(prog, cpu) || !instants--))
			return SIM_EXIT_OVERFLOW;
		if (cpu->at.rip == run->rip && !cpu->shadow && !(first && run->step_over))
			return SIM_EXIT_BREAK;
		if (exit != SIM_EXIT_NONE)
			return exit;
		if (!first && prandom_u32_state(rnd) % 2048 == 0)
			return SIM_EXIT_HOST;
		sim_step(prog, cpu);
	}
}

#endif
