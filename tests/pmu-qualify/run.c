// SPDX-License-Identifier: GPL-2.0
/* One run of a program, and what it counted. */
#include <errno.h>
#include <stdio.h>
#include "qualify.h"

static char error[240];

const char *run_error(void)
{
	return error;
}

static int lost(int ret)
{
	snprintf(error, sizeof(error), "the counter was lost: %s", counter_error(ret));
	return ret;
}

static int broken(void)
{
	snprintf(error, sizeof(error), "the guest failed: %s", vm.error);
	return -EIO;
}

int run_program(const struct guest_prog *prog, uint64_t iterations, bool interrupts,
		at_stop_fn at_stop, struct result *result)
{
	struct pmuq_state before, after;
	struct kvm_regs regs;
	unsigned int nr = 0;
	enum vm_stop stop;
	uint64_t exits;
	int ret;

	if (vm_start(&vm, prog, iterations, interrupts))
		return broken();
	exits = vm_exits(&vm);
	ret = counter_read(&before);
	if (ret)
		return lost(ret);
	do {
		stop = vm_run(&vm);
		if (stop == VM_ERROR)
			return broken();
		if (at_stop && (stop == VM_SYNC || stop == VM_HALT) && at_stop(nr++))
			return broken();
	} while (stop != VM_DONE);
	ret = counter_read(&after);
	if (ret)
		return lost(ret);
	if (vm_regs(&vm, &regs))
		return broken();
	result->count = after.count - before.count;
	result->exits = exits == UINT64_MAX ? 0 : vm_exits(&vm) - exits;
	result->expected = guest_expect(prog, iterations, regs.rbx, opt.kind == EVENT_BRANCHES);
	return 0;
}

uint64_t run_iterations(const struct guest_prog *prog)
{
	uint64_t n = opt.insns / run_cost(prog);

	if (prog == guest_find("touch") && n > GUEST_WINDOW_PAGES)
		n = GUEST_WINDOW_PAGES;
	return n ? n : 1;
}

uint64_t run_cost(const struct guest_prog *prog)
{
	/* of instructions that take some thousand steps, of TLB misses, of cache misses */
	static const struct {
		const char *name;
		uint64_t more;
	} slow[] = { { "string", 4400 }, { "pagewalk", 100 }, { "chase", 20 } };
	uint64_t cost = guest_weigh(prog->body, prog->end, 0);
	unsigned int i;

	for (i = 0; i < sizeof(slow) / sizeof(*slow); i++)
		if (prog == guest_find(slow[i].name))
			cost += slow[i].more;
	return cost ? cost : 1;
}
