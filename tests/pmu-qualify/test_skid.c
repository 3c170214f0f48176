// SPDX-License-Identifier: GPL-2.0
/*
 * How late do overflows stop the guest, and is the count right there? Each
 * overflow is armed as ftkvm arms it, and ends KVM_RUN at the exit that its NMI
 * forced.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "qualify.h"

#define DEFAULT_MARGIN	1200	/* ftkvm's */
#define SAMPLES_LEAST	5	/* fewer say nothing */
#define NMI_READS	2000	/* readings of the counter in which a late NMI comes */

static const uint64_t periods[] = { 16, 1000, 10000, 100000, 400000 };
static const char * const period_max[] = {
	"max_16", "max_1000", "max_10000", "max_100000", "max_400000",
};

#define NPERIODS (sizeof(periods) / sizeof(*periods))

static const char * const progs[] = {
	"loop", "dense", "branches", "calls", "memory", "locked", "string", "unaligned", "pagewalk",
	"divide", "float", "chase",
};

/* The lateness of each overflow, and what was strange about some. */
struct skid {
	int64_t *late;
	size_t n, room;
	uint64_t missing;	/* no NMI came */
	uint64_t reentered;	/* the guest went on behind the NMI's exit */
	uint64_t checked;	/* counts compared with the architecture's */
	uint64_t wrong;		/* that differ */
	int64_t wrong_by;	/* one of them */
};

static void skid_add(struct skid *s, int64_t late)
{
	if (s->n == s->room) {
		s->room = s->room ? 2 * s->room : 1024;
		s->late = realloc(s->late, s->room * sizeof(*s->late));
		if (!s->late) {
			perror("pmu-qualify");
			exit(2);
		}
	}
	s->late[s->n++] = late;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void skid_sort(struct skid *s)
{
	if (s->n)
		qsort(s->late, s->n, sizeof(*s->late), by_value);
}

/* The value that @percent of all are not above. */
static int64_t skid_part(const struct skid *s, unsigned int percent)
{
	return s->n ? s->late[(s->n - 1) * percent / 100] : 0;
}

static void skid_merge(struct skid *all, const struct skid *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		skid_add(all, s->late[i]);
	all->missing += s->missing;
	all->reentered += s->reentered;
	all->checked += s->checked;
	all->wrong += s->wrong;
	if (!all->wrong_by)
		all->wrong_by = s->wrong_by;
}

/* The guest is stopped in the midst of its program: is the count what it must be? */
static int check_count(struct skid *s, uint64_t count)
{
	struct kvm_regs regs;
	uint64_t expected;

	if (opt.kind == EVENT_OTHER || (vm.prog->flags & PROG_JUMPS))
		return 0;
	if (vm_regs(&vm, &regs))
		return -1;
	if (guest_expect_at(vm.prog, vm.iterations, regs.rip - GUEST_CODE, regs.r15, regs.rbx,
			    opt.kind == EVENT_BRANCHES, &expected))
		return 0;
	s->checked++;
	if (count == expected)
		return 0;
	s->wrong++;
	if (!s->wrong_by)
		s->wrong_by = count - expected;
	return 0;
}

static int start(const struct guest_prog *prog, uint64_t iterations, uint64_t *from)
{
	struct pmuq_state state = { 0 };
	int ret = vm_start(&vm, prog, iterations, false);

	if (!ret)
		ret = counter_read(&state);
	*from = state.count;
	return ret;
}

/* The counter, and its NMI, if the guest has stopped for another reason meanwhile. */
static int read_after_run(struct pmuq_state *state)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < NMI_READS && !ret; i++) {
		ret = counter_read(state);
		if (state->overflows || state->count < state->target)
			break;
	}
	return ret;
}

/* Overflows of one program at one period. */
static int skid_run(const struct guest_prog *prog, uint64_t period, unsigned int samples,
		    struct skid *s)
{
	uint64_t n = run_iterations(prog), from = 0;
	struct pmuq_state state = { 0 };
	enum vm_stop stop;
	int ret = start(prog, n, &from);

	if (!ret)
		ret = counter_arm(period);
	while (!ret && s->n + s->missing < samples) {
		stop = vm_run(&vm);
		if (stop == VM_ERROR)
			return -1;
		ret = read_after_run(&state);
		if (ret)
			break;
		if (state.overflows) {
			skid_add(s, state.at_overflow - state.target);
			s->reentered += state.count != state.at_overflow;
			if (stop == VM_SIGNAL)
				ret = check_count(s, state.count - from);
		} else if (state.count >= state.target) {
			s->missing++;
		}
		if (!ret && stop == VM_DONE)
			ret = start(prog, n, &from);
		if (!ret && (state.overflows || state.count >= state.target))
			ret = counter_arm(period);
	}
	return ret;
}

/* As many as are wanted, unless that takes too long. */
static unsigned int samples_for(const struct guest_prog *prog, uint64_t period)
{
	uint64_t events = guest_weigh(prog->body, prog->end, opt.kind == EVENT_BRANCHES);
	uint64_t cost = period * run_cost(prog) / (events ? events : 1);
	uint64_t n = opt.budget * opt.insns / (cost ? cost : 1);

	if (n >= opt.samples)
		return opt.samples;
	if (n >= SAMPLES_LEAST)
		return n;
	/* a few, even if they take ten times too long */
	return n * 10 >= SAMPLES_LEAST ? SAMPLES_LEAST : 0;
}

static void skid_figures(const struct skid *s)
{
	figure("overflows", s->n);
	figure("min", skid_part(s, 0));
	figure("median", skid_part(s, 50));
	figure("p99", skid_part(s, 99));
	figure("max", skid_part(s, 100));
	figure("missing", s->missing);
	figure("reentered", s->reentered);
	figure("checked", s->checked);
	figure("wrong", s->wrong);
}

static int skid_of(const char *name, struct skid *all)
{
	const struct guest_prog *prog = guest_find(name);
	struct skid sum = { 0 };
	int64_t min, max;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < NPERIODS && !ret; i++) {
		unsigned int n = samples_for(prog, periods[i]);
		struct skid s = { 0 };

		if (!n)
			continue;
		ret = skid_run(prog, periods[i], n, &s);
		skid_sort(&s);
		if (s.n)
			figure(period_max[i], skid_part(&s, 100));
		skid_merge(&sum, &s);
		free(s.late);
	}
	skid_sort(&sum);
	min = skid_part(&sum, 0);
	max = skid_part(&sum, 100);
	skid_figures(&sum);
	if (ret)
		report(FAIL, "skid", name, "%s", vm.error[0] ? vm.error : counter_error(ret));
	else if (!sum.n)
		report(FAIL, "skid", name, "no overflow at all");
	else
		report(min < 0 || sum.missing || sum.wrong || max > (int64_t)opt.limit ? FAIL : OK,
		       "skid", name,
		       "%zu overflows late by min %" PRId64 " median %" PRId64 " p99 %" PRId64
		       " max %" PRId64, sum.n, min, skid_part(&sum, 50), skid_part(&sum, 99), max);
	skid_merge(all, &sum);
	free(sum.late);
	return ret;
}

/* Half as much again as was seen, in round figures: what is rare was not seen. */
static uint64_t margin_for(uint64_t max)
{
	uint64_t margin = (max + max / 2 + 99) / 100 * 100;

	return margin ? margin : 100;
}

static void judge_bound(const struct skid *s, uint64_t *margin)
{
	int64_t max = skid_part(s, 100);

	skid_figures(s);
	if (skid_part(s, 0) < 0) {
		report(FAIL, "skid", "bound", "an overflow came %" PRId64 " events early",
		       -skid_part(s, 0));
		return;
	}
	*margin = margin_for(max);
	figure("margin", *margin);
	if (max <= (int64_t)opt.limit) {
		report(OK, "skid", "bound",
		       "the latest of %zu overflows came %" PRId64 " events late: --margin %" PRIu64
		       "%s", s->n, max, *margin,
		       *margin <= DEFAULT_MARGIN ? " is enough, the default is more" : "");
		return;
	}
	report(FAIL, "skid", "bound",
	       "the latest of %zu overflows came %" PRId64 " events late, more than %" PRIu64,
	       s->n, max, opt.limit);
	say("    ftkvm's backup lets the counter stop it a margin (%u by default) before its\n"
	    "    point, and goes on by a breakpoint. After an overflow later than that it is past\n"
	    "    the point: it stops as diverged, and the pairing ends. --margin %" PRIu64 " may\n"
	    "    do here; more is executed by breakpoints then, and the backup waits more.",
	    DEFAULT_MARGIN, *margin);
}

void test_skid(uint64_t *margin)
{
	struct skid all = { 0 };
	unsigned int i;

	for (i = 0; i < sizeof(progs) / sizeof(*progs); i++)
		if (skid_of(progs[i], &all))
			break;
	if (!all.n)
		return;
	skid_sort(&all);
	judge_bound(&all, margin);
	figure("missing", all.missing);
	report(all.missing ? FAIL : OK, "skid", "all come",
	       "%" PRIu64 " of %zu overflows made no NMI", all.missing, all.n + all.missing);
	figure("reentered", all.reentered);
	report(all.reentered ? UNTOLD : OK, "skid", "all stop",
	       "after %" PRIu64 " overflows the guest was entered again before it was stopped",
	       all.reentered);
	if (opt.kind == EVENT_OTHER) {
		report(SKIPPED, "skid", "count", "what event %#" PRIx64 " must count is not known",
		       opt.event);
	} else {
		figure("checked", all.checked);
		figure("wrong", all.wrong);
		if (all.wrong)
			report(FAIL, "skid", "count",
			       "at %" PRIu64 " of %" PRIu64
			       " overflows the count was not the registers', once by %" PRId64,
			       all.wrong, all.checked, all.wrong_by);
		else
			report(all.checked ? OK : UNTOLD, "skid", "count",
			       "at %" PRIu64 " overflows the count was as the registers have it",
			       all.checked);
	}
	free(all.late);
}
