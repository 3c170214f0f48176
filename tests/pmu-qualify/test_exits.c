// SPDX-License-Identifier: GPL-2.0
/*
 * Do exits and events count? Where an exit is the guest's own doing a constant
 * excess does no harm: both replicas have it. Where it is the host's - an interrupt
 * of its own, a page that was not there - it must be none.
 */
#include <inttypes.h>
#include <stdio.h>
#include "qualify.h"

#define ROUNDS		3	/* runs of each */

static uint64_t exits_wanted(void)
{
	uint64_t n = opt.insns / 1000;

	return n < 100 ? 100 : n;
}

static void failed(const char *name)
{
	report(FAIL, "exits", name, "%s", run_error());
}

/*
 * A program that makes exits, some and then twice as many. @extra: events a
 * round that are injected, and what they must count.
 */
static bool of_guest(const char *name, const char *prog_name, at_stop_fn at_stop, uint64_t extra,
		     uint64_t *counted)
{
	const struct guest_prog *prog = guest_find(prog_name);
	uint64_t k = exits_wanted(), n[2] = { k, 2 * k };
	int64_t excess[2] = { 0 };
	struct result r = { 0 };
	unsigned int i, size;

	for (size = 0; size < 2; size++)
		for (i = 0; i < ROUNDS; i++) {
			int64_t over;

			if (run_program(prog, n[size], !!at_stop, at_stop, &r)) {
				failed(name);
				return false;
			}
			over = r.count - r.expected - extra * n[size];
			if (opt.kind == EVENT_OTHER)
				over = r.count;
			if (i && over != excess[size]) {
				figure("events", r.count);
				report(FAIL, "exits", name,
				       "%" PRId64 " and then %" PRId64 " events too many, %" PRIu64
				       " rounds", excess[size], over, n[size]);
				return false;
			}
			excess[size] = over;
		}
	*counted = r.count;
	figure("events", r.count);
	figure("rounds", n[1]);
	figure("exits", r.exits);
	figure("excess", opt.kind == EVENT_OTHER ? 0 : excess[1]);
	if (opt.kind == EVENT_OTHER)
		report(OK, "exits", name,
		       "%" PRIu64 " events in each of %u runs of %" PRIu64 " rounds",
		       r.count, ROUNDS, n[1]);
	else if (excess[0] * 2 != excess[1])
		report(FAIL, "exits", name,
		       "%" PRId64 " events too many in %" PRIu64 " rounds, %" PRId64 " in %" PRIu64,
		       excess[0], n[0], excess[1], n[1]);
	else if (excess[1])
		report(OK, "exits", name,
		       "%.2f events more a round than by the architecture, always: harmless",
		       (double)excess[1] / n[1]);
	else
		report(OK, "exits", name, "none counts, in %" PRIu64 " rounds", n[1]);
	return true;
}

/* The same again with pages missing: what the host does must not show. */
static void cold(const char *name, const char *prog_name, at_stop_fn at_stop, uint64_t warm,
		 uint64_t warm_exits)
{
	const struct guest_prog *prog = guest_find(prog_name);
	uint64_t n = 2 * exits_wanted();
	struct result r = { 0 };
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		if (run_program(prog, n, true, at_stop, &r)) {
			failed(name);
			return;
		}
		if (r.count != warm)
			break;
	}
	figure("events", r.count);
	figure("warm", warm);
	figure("exits", r.exits);
	if (r.count != warm)
		report(FAIL, "exits", name,
		       "%" PRId64 " events more than with all pages there, with %" PRIu64
		       " exits more", (int64_t)(r.count - warm), r.exits - warm_exits);
	else if (vm_exits(&vm) != UINT64_MAX && r.exits <= warm_exits)
		report(UNTOLD, "exits", name, "no page was missing");
	else
		report(OK, "exits", name, "none counts, with %" PRIu64 " faults of the host's",
		       r.exits - warm_exits);
}

static int nothing(unsigned int nr)
{
	return 0;
}

static int irq(unsigned int nr)
{
	return vm_inject_irq(&vm);
}

static int nmi(unsigned int nr)
{
	return vm_inject_nmi(&vm);
}

static int forget_all(unsigned int nr)
{
	vm_forget(&vm, 0, GUEST_DATA);		/* tables, stack, code */
	vm_forget(&vm, GUEST_WINDOW_PA, 4096);
	return 0;
}

static int irq_cold(unsigned int nr)
{
	forget_all(nr);
	return vm_inject_irq(&vm);
}

static int nmi_cold(unsigned int nr)
{
	forget_all(nr);
	return vm_inject_nmi(&vm);
}

/* What the handler of an injected event counts. */
static uint64_t handler(const unsigned char *from, const unsigned char *to)
{
	return guest_weigh(from - guest_code, to - guest_code, opt.kind == EVENT_BRANCHES);
}

/* Exits of the last run of a program, with all pages there. */
static uint64_t exits_of(const char *prog_name, at_stop_fn at_stop)
{
	struct result r = { 0 };

	run_program(guest_find(prog_name), 2 * exits_wanted(), true, at_stop, &r);
	return r.exits;
}

/* Host interrupts: signals, at a high rate, as opposed to none. */
static void of_host(void)
{
	const struct guest_prog *prog = guest_find("dense");
	uint64_t n = 4 * run_iterations(prog);
	struct result calm = { 0 }, r = { 0 };
	const char *why;
	int64_t more;
	unsigned int i;

	if (run_program(prog, n, false, NULL, &calm)) {
		failed("interrupts");
		return;
	}
	why = disturb_start(SIGNALS);
	if (why) {
		report(UNTOLD, "exits", "interrupts", "%s", why);
		return;
	}
	for (i = 0; i < ROUNDS; i++) {
		if (run_program(prog, n, false, NULL, &r)) {
			disturb_stop();
			failed("interrupts");
			return;
		}
		if (r.count != calm.count)
			break;
	}
	disturb_stop();
	figure("events", r.count);
	figure("calm", calm.count);
	figure("exits", r.exits);
	more = r.exits - calm.exits;
	if (r.count != calm.count)
		report(FAIL, "exits", "interrupts",
		       "%" PRId64 " events more with %" PRId64 " exits more: %.3f each",
		       (int64_t)(r.count - calm.count), more,
		       more ? (double)(int64_t)(r.count - calm.count) / more : 0.);
	else if (vm_exits(&vm) != UINT64_MAX && more <= 0)
		report(UNTOLD, "exits", "interrupts", "the host had none");
	else
		report(OK, "exits", "interrupts", "none counts, with %" PRId64 " exits more", more);
}

/* Every page of the window for the first time, and again. */
static void of_pages(void)
{
	const struct guest_prog *prog = guest_find("touch");
	uint64_t n = run_iterations(prog);
	struct result first = { 0 }, again = { 0 };

	vm_forget(&vm, GUEST_WINDOW_PA, GUEST_WINDOW_PAGES * 4096);
	if (run_program(prog, n, false, NULL, &first) ||
	    run_program(prog, n, false, NULL, &again)) {
		failed("pages");
		return;
	}
	figure("events", first.count);
	figure("again", again.count);
	figure("exits", first.exits);
	if (first.count != again.count)
		report(FAIL, "exits", "pages",
		       "%" PRId64 " events more when the host maps pages, with %" PRId64
		       " exits more", (int64_t)(first.count - again.count),
		       (int64_t)(first.exits - again.exits));
	else if (vm_exits(&vm) != UINT64_MAX && first.exits < again.exits + n / 2)
		report(UNTOLD, "exits", "pages", "the host had mapped them already");
	else
		report(OK, "exits", "pages",
		       "none counts, with %" PRIu64 " exits more for pages that the host maps",
		       first.exits - again.exits);
}

void test_exits(void)
{
	uint64_t count;

	of_host();
	of_pages();
	of_guest("cpuid", "cpuid", NULL, 0, &count);
	of_guest("port", "port", nothing, 0, &count);
	of_guest("halt", "halt", nothing, 0, &count);
	of_guest("msr", "msr", NULL, 0, &count);
	of_guest("mmio", "mmio", nothing, 0, &count);
	if (of_guest("irq", "inject", irq, handler(guest_on_irq, guest_on_nmi), &count))
		cold("irq, cold", "inject", irq_cold, count, exits_of("inject", irq));
	if (of_guest("nmi", "inject", nmi, handler(guest_on_nmi, guest_on_end), &count))
		cold("nmi, cold", "inject", nmi_cold, count, exits_of("inject", nmi));
	if (of_guest("exceptions", "faults", nothing, 0, &count))
		cold("exc., cold", "faults", forget_all, count, exits_of("faults", nothing));
}
