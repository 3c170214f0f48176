/* SPDX-License-Identifier: GPL-2.0 */
/* pmu-qualify: what its files share. */
#ifndef QUALIFY_H
#define QUALIFY_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include "pmuq.h"
#include "vm.h"

#define SIGNAL_OVERFLOW	(SIGRTMIN + 1)	/* the module's */

/* What kind of event is counted: what a count must be follows from it. */
enum event_kind { EVENT_INSNS, EVENT_BRANCHES, EVENT_OTHER };

struct options {
	bool json;
	bool count_host;
	uint64_t event;
	bool event_given;
	enum event_kind kind;
	cpu_set_t cpus;
	unsigned int runs;		/* of each program, for each disturbance */
	unsigned int samples;		/* overflows, of each program and period */
	uint64_t insns;			/* about so many a run */
	unsigned int budget;		/* times insns: what overflows at one period may take */
	unsigned int tick_us;
	uint64_t limit;			/* of lateness */
	uint64_t seed;
};

extern struct options opt;
extern struct vm vm;

/* --- report.c -------------------------------------------------------------- */

enum outcome {
	OK,
	FAIL,
	SKIPPED,	/* does not apply to this host */
	UNTOLD,		/* could not be tested: the host may be unfit */
	OUTCOMES
};

/* A figure for the next report(). @key stays where it is. */
void figure(const char *key, int64_t value);
/* One test is over. Shown at once, unless in JSON. */
void report(enum outcome outcome, const char *group, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* A line for people. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A fact about this host, for JSON. */
void fact(const char *key, const char *value);

/**
 * conclude() - the verdict
 * @margin: that ftkvm should be told; 0: not known
 * Return: the exit status
 */
int conclude(uint64_t margin);

/* --- counter.c ------------------------------------------------------------- */

/* All: 0 or -errno. */
int counter_open_device(void);
int counter_open(uint64_t event, bool count_host);
int counter_read(struct pmuq_state *state);
int counter_arm(uint64_t left);
int counter_msr(uint32_t index, uint32_t cpu, uint64_t *value);
void counter_close(void);
const char *counter_error(int err);

/* --- host.c ---------------------------------------------------------------- */

/* Find out about the CPU; choose the event unless one is given. */
void host_identify(void);
/* Before the counter is made: keeps to one kind of cores. */
void host_pin(void);
/* What is known to spoil counts; @after: all tests are done. */
void host_check(bool after);

/* --- disturb.c ------------------------------------------------------------- */

enum disturbance { CALM, SIGNALS, RIVAL, FORGET, MIGRATION, DISTURBANCES };

const char *disturb_name(enum disturbance d);
/**
 * disturb_start() - from now on the vCPU is disturbed
 * Return: NULL, or why it can't be done here
 */
const char *disturb_start(enum disturbance d);
void disturb_stop(void);

/* --- run.c ----------------------------------------------------------------- */

/**
 * struct result - one run of a program
 * @count: events of it
 * @expected: by the architecture; valid if the event's kind is known
 * @exits: of the guest in it
 */
struct result {
	uint64_t count;
	uint64_t expected;
	uint64_t exits;
};

/* What is done at each stop that the program asks for; 0 or -errno. */
typedef int (*at_stop_fn)(unsigned int nr);

/**
 * run_program() - from its start to its end
 * @interrupts: RFLAGS.IF at its start
 * @at_stop: or NULL
 * Return: 0, or -errno; run_error() tells
 */
int run_program(const struct guest_prog *prog, uint64_t iterations, bool interrupts,
		at_stop_fn at_stop, struct result *result);
/* How often to run a program's body to make a run of opt.insns. */
uint64_t run_iterations(const struct guest_prog *prog);
/* What one round of a program's body costs, in simple instructions. */
uint64_t run_cost(const struct guest_prog *prog);
/* Why run_program() failed. */
const char *run_error(void);

/* --- the tests ------------------------------------------------------------- */

int test_counter(void);		/* -errno: no other test makes sense */
void test_repeat(void);
void test_exits(void);
void test_skid(uint64_t *margin);

#endif
