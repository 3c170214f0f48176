// SPDX-License-Identifier: GPL-2.0
/* What the programs of guest.S must count. */
#include <stdbool.h>
#include <string.h>
#include "guest.h"

const struct guest_prog *guest_find(const char *name)
{
	const struct guest_prog *p;

	for (p = guest_progs; p < guest_progs_end; p++)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

static uint64_t weight(const struct guest_op *op, int branches)
{
	if (branches)
		return op->kind == OP_BRANCH;
	return op->kind == OP_RETIRES || op->kind == OP_BRANCH;
}

uint64_t guest_weigh(uint32_t from, uint32_t to, int branches)
{
	const struct guest_op *op;
	uint64_t sum = 0;

	for (op = guest_ops; op < guest_ops_end; op++)
		if (op->at >= from && op->at < to)
			sum += weight(op, branches);
	return sum;
}

static uint64_t handler(const unsigned char *from, const unsigned char *to, int branches)
{
	return guest_weigh(from - guest_code, to - guest_code, branches);
}

uint64_t guest_expect(const struct guest_prog *p, uint64_t iterations, uint64_t rbx, int branches)
{
	uint64_t each = guest_weigh(p->body, p->end, branches);

	if (p->flags & PROG_EVENTS)
		each += 2 * handler(guest_on_skip, guest_on_return, branches) +
			2 * handler(guest_on_return, guest_on_fault, branches) +
			handler(guest_on_fault, guest_on_irq, branches);
	return guest_weigh(p->start, p->body, branches) + iterations * each + (branches ? 0 : rbx);
}

int guest_expect_at(const struct guest_prog *p, uint64_t iterations, uint32_t rip, uint64_t r15,
		    uint64_t rbx, int branches, uint64_t *count)
{
	const struct guest_op *op, *last = NULL;
	bool known = false;
	uint64_t rounds;

	for (op = guest_ops; op < guest_ops_end; op++) {
		known = known || op->at == rip;
		if (op->at < p->end)
			last = op;
	}
	if (!known || rip < p->start || rip > p->end)
		return -1;
	*count = branches ? 0 : rbx;
	if (rip < p->body) {
		*count += guest_weigh(p->start, rip, branches);
		return 0;
	}
	/* R15 falls one instruction before the iteration is over */
	rounds = iterations - r15 - (rip == last->at);
	*count += guest_weigh(p->start, p->body, branches) +
		  rounds * guest_weigh(p->body, p->end, branches);
	if (rip != p->end)
		*count += guest_weigh(p->body, rip, branches);
	return 0;
}
