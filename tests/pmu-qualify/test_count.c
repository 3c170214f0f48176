// SPDX-License-Identifier: GPL-2.0
/*
 * Does the counter count the guest, all of the guest and nothing but the guest,
 * and the same each time?
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "qualify.h"

#define EMPTY_RUNS	500
#define HOST_ROUNDS	200000

/* --- there is a counter, and it counts guest mode only --------------------- */

static int counter_is_there(void)
{
	struct pmuq_state s;
	int ret = counter_open(opt.event, opt.count_host);

	if (!ret)
		ret = counter_read(&s);
	if (ret) {
		report(FAIL, "counter", "available", "event %#" PRIx64 ": %s", opt.event,
		       counter_error(ret));
		return ret;
	}
	report(OK, "counter", "available",
	       "event %#" PRIx64 " in guest mode, pinned, active on CPU %u", opt.event, s.cpu);
	return 0;
}

/* The host works, in user and in kernel mode; no guest runs. */
static int host_does_not_count(void)
{
	struct pmuq_state before, after;
	volatile unsigned int sum = 0;
	unsigned int i;
	int ret = counter_read(&before);

	for (i = 0; i < HOST_ROUNDS; i++) {
		sum += i ^ sum << 1;
		if (!(i % 1000))
			getppid();
	}
	if (!ret)
		ret = counter_read(&after);
	if (ret) {
		report(FAIL, "counter", "host", "the counter was lost: %s", counter_error(ret));
		return ret;
	}
	figure("events", after.count - before.count);
	report(after.count == before.count ? OK : FAIL, "counter", "host",
	       "%" PRIu64 " events while only the host worked",
	       (uint64_t)(after.count - before.count));
	return 0;
}

static int run_or_report(const char *group, const char *name, const struct guest_prog *prog,
			 uint64_t iterations, struct result *r)
{
	int ret = run_program(prog, iterations, false, NULL, r);

	if (ret)
		report(FAIL, group, name, "%s", run_error());
	return ret;
}

static int nothing_counts_nothing(void)
{
	const struct guest_prog *prog = guest_find("empty");
	uint64_t count = 0, exits = 0;
	struct result r;
	unsigned int i;
	int ret;

	for (i = 0; i < EMPTY_RUNS; i++) {
		ret = run_or_report("counter", "empty", prog, 0, &r);
		if (ret)
			return ret;
		count += r.count;
		exits += r.exits;
	}
	figure("events", count);
	figure("exits", exits);
	report(count ? FAIL : OK, "counter", "empty",
	       "%" PRIu64 " events in %u entries of a guest that does nothing%s", count, EMPTY_RUNS,
	       count == EMPTY_RUNS ? ": the entry itself counts" : "");
	return 0;
}

static int guest_counts(void)
{
	const struct guest_prog *prog = guest_find("loop");
	struct result r;
	int ret = run_or_report("counter", "guest", prog, run_iterations(prog), &r);

	if (ret)
		return ret;
	figure("events", r.count);
	if (!r.count) {
		report(FAIL, "counter", "guest", "no event in a guest that works");
		return -1;
	}
	if (opt.kind == EVENT_OTHER) {
		report(OK, "counter", "guest", "%" PRIu64 " events in a loop of the guest",
		       r.count);
		return 0;
	}
	figure("expected", r.expected);
	report(OK, "counter", "guest", "%" PRIu64 " events in a loop of %" PRIu64, r.count,
	       r.expected);
	return 0;
}

int test_counter(void)
{
	int ret = counter_is_there();

	if (!ret)
		ret = host_does_not_count();
	if (!ret)
		ret = nothing_counts_nothing();
	if (!ret)
		ret = guest_counts();
	return ret;
}

/* --- the same code counts the same, whatever the host does ------------------ */

static const char * const repeated[] = {
	"loop", "dense", "branches", "calls", "memory", "locked", "string", "unaligned", "pagewalk",
	"divide", "float", "chase", "touch",
};

#define NREPEATED	(sizeof(repeated) / sizeof(*repeated))

/* One program's runs. */
struct repeat {
	uint64_t first, expected;	/* of the first run, for which pages may be missing */
	uint64_t least, most;
	unsigned int runs;
	unsigned int wrong[DISTURBANCES];
	uint64_t exits[DISTURBANCES];	/* in all runs */
	unsigned int done[DISTURBANCES];
	int64_t wrong_exits;		/* of the first run that was wrong: exits more than calm */
	int64_t wrong_by;
};

/* What a disturbance's runs would have had of exits if they had been calm. */
static uint64_t calm_exits(const struct repeat *p, enum disturbance d)
{
	return p->done[CALM] ? p->exits[CALM] * p->done[d] / p->done[CALM] : 0;
}

/* Its exits are not like the others': the host maps what the program needs. */
static void repeat_first(struct repeat *p, const struct result *r)
{
	p->first = r->count;
	p->least = r->count;
	p->most = r->count;
	p->expected = r->expected;
	p->runs = 1;
}

static void repeat_note(struct repeat *p, enum disturbance d, const struct result *r)
{
	p->least = r->count < p->least ? r->count : p->least;
	p->most = r->count > p->most ? r->count : p->most;
	p->runs++;
	p->done[d]++;
	p->exits[d] += r->exits;
	if (r->count == p->first)
		return;
	p->wrong[d]++;
	if (!p->wrong_by) {
		p->wrong_by = r->count - p->first;
		p->wrong_exits = d == CALM ? 0 : r->exits - calm_exits(p, CALM) / p->done[CALM];
	}
}

static int repeat_one(const struct guest_prog *prog, struct repeat *p, const char **why)
{
	uint64_t n = run_iterations(prog);
	enum disturbance d;
	struct result r;
	unsigned int i;
	int ret = run_program(prog, n, false, NULL, &r);

	if (!ret)
		repeat_first(p, &r);
	for (d = CALM; d < DISTURBANCES && !ret; d++) {
		why[d] = disturb_start(d);
		for (i = 0; i < opt.runs && !why[d] && !ret; i++) {
			ret = run_program(prog, n, false, NULL, &r);
			if (!ret)
				repeat_note(p, d, &r);
		}
		disturb_stop();
	}
	return ret;
}

static void repeat_report(const struct guest_prog *prog, const struct repeat *p)
{
	char where[120] = "", text[80] = "";
	unsigned int wrong = 0;
	int64_t exits = 0;
	enum disturbance d;

	for (d = CALM; d < DISTURBANCES; d++) {
		size_t n = strlen(where);

		exits += p->exits[d] - calm_exits(p, d);
		wrong += p->wrong[d];
		if (p->wrong[d])
			snprintf(where + n, sizeof(where) - n, "%s%s %u", n ? ", " : "",
				 disturb_name(d), p->wrong[d]);
	}
	figure("events", p->first);
	figure("runs", p->runs);
	figure("exits", exits);
	figure("wrong", wrong);
	figure("least", p->least);
	figure("most", p->most);
	if (opt.kind != EVENT_OTHER)
		figure("expected", p->expected);
	if (wrong) {
		report(FAIL, "repeat", prog->name,
		       "%" PRIu64 " to %" PRIu64 " events, %u of %u runs not as the first (%s): %"
		       PRId64 " with %" PRId64 " exits more", p->least, p->most, wrong, p->runs,
		       where, p->wrong_by, p->wrong_exits);
		return;
	}
	if (opt.kind != EVENT_OTHER && p->first != p->expected)
		snprintf(text, sizeof(text),
			 "; by the architecture %" PRIu64 ": harmless, it repeats", p->expected);
	report(OK, "repeat", prog->name, "%" PRIu64 " events in each of %u runs, with %" PRId64
	       " exits forced%s", p->first, p->runs, exits, text);
}

/* A disturbance that did not make an exit or more a run has shown nothing. */
static void repeat_judge(const struct repeat *all, const char **why)
{
	enum disturbance d;
	unsigned int i;

	for (d = CALM + 1; d < DISTURBANCES; d++) {
		const char *name = disturb_name(d);
		uint64_t exits = 0, calm = 0, runs = 0;

		if (why[d]) {
			report(SKIPPED, "disturb", name, "%s", why[d]);
			continue;
		}
		for (i = 0; i < NREPEATED; i++) {
			exits += all[i].exits[d];
			calm += calm_exits(&all[i], d);
			runs += all[i].done[d];
		}
		figure("exits", exits);
		figure("calm", calm);
		if (vm_exits(&vm) == UINT64_MAX)
			report(SKIPPED, "disturb", name, "KVM does not count exits here");
		else
			report(exits >= calm + runs ? OK : UNTOLD, "disturb", name,
			       "%" PRIu64 " exits in %" PRIu64 " runs; as many calm ones: %" PRIu64,
			       exits, runs, calm);
	}
}

void test_repeat(void)
{
	const char *why[DISTURBANCES] = { NULL };
	static struct repeat all[NREPEATED];
	unsigned int i;

	for (i = 0; i < NREPEATED; i++) {
		const struct guest_prog *prog = guest_find(repeated[i]);

		if (repeat_one(prog, &all[i], why)) {
			report(FAIL, "repeat", prog->name, "%s", run_error());
			return;
		}
		repeat_report(prog, &all[i]);
	}
	repeat_judge(all, why);
}
