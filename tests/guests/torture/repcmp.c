// SPDX-License-Identifier: GPL-2.0
/*
 * REPE and REPNE, CMPS and SCAS of every size, both directions, that end at a
 * difference, at a match, or with the count; their flags and registers are
 * what another way of looking finds. ops=N in a round.
 */
#include "tort.h"

#define SIZE	(2 * 4096)

struct regs {
	uint64_t rax, rcx, rsi, rdi, flags;
};

static uint8_t area[2][SIZE] __attribute__((aligned(4096)));

#define STRING(name, insn)							\
static void name(struct regs *r)						\
{										\
	asm volatile(insn "; pushfq; cld; popq %4"				\
		     : "+a"(r->rax), "+c"(r->rcx), "+S"(r->rsi), "+D"(r->rdi),	\
		       "=r"(r->flags) : : "memory", "cc");			\
}
/* The flags of a string instruction of no item are those before it. */
#define FORMS(op, size)								\
	STRING(e_##op##size, "cmp %%eax, %%eax; repe " #op #size)		\
	STRING(ne_##op##size, "test %%esp, %%esp; repne " #op #size)		\
	STRING(e_back_##op##size, "cmp %%eax, %%eax; std; repe " #op #size)	\
	STRING(ne_back_##op##size, "test %%esp, %%esp; std; repne " #op #size)
#define SIZES(op) FORMS(op, b) FORMS(op, w) FORMS(op, l) FORMS(op, q)
SIZES(cmps)
SIZES(scas)

#define LIST(op, size)								\
	{ e_##op##size, ne_##op##size, e_back_##op##size, ne_back_##op##size }
#define LISTS(op) { LIST(op, b), LIST(op, w), LIST(op, l), LIST(op, q) }
static void (*const forms[2][4][4])(struct regs *) = { LISTS(cmps), LISTS(scas) };

static uint64_t item(uint64_t at, unsigned int size)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < size; i++)
		v |= (uint64_t)*(uint8_t *)(at + i) << 8 * i;
	return v;
}

/* How many items such an instruction looks at. */
static uint64_t expected(const struct regs *r, int scas, unsigned int size, int until_equal,
			 int back)
{
	uint64_t mask = size == 8 ? -1ul : (1ul << 8 * size) - 1, n;
	int64_t step = back ? -(int64_t)size : size;

	for (n = 0; n < r->rcx; n++) {
		uint64_t left = scas ? r->rax & mask : item(r->rsi + n * step, size);

		if ((left == item(r->rdi + n * step, size)) == until_equal)
			return n + 1;
	}
	return n;
}

static uint64_t one(uint64_t h)
{
	unsigned int op = tort_below(2), log = tort_below(4), form = tort_below(4);
	int until_equal = form & 1, back = form >> 1;
	unsigned int size = 1 << log;
	uint64_t from = 4096 - tort_below(400), to = 4096 - tort_below(400), want;
	uint64_t count = tort_below(400) >> log << tort_below(2);
	struct regs r = { .rax = tort_below(3) * 0x0101010101010101 }, before;

	r.rcx = count;
	r.rsi = (uint64_t)area[0] + from;
	r.rdi = (uint64_t)area[1] + to;
	before = r;
	want = expected(&r, op, size, until_equal, back);
	forms[op][log][form](&r);
	if (before.rcx - r.rcx != want)
		tort_bad("items a string instruction looked at", before.rcx - r.rcx, want);
	if ((back ? before.rdi - r.rdi : r.rdi - before.rdi) != want * size)
		tort_bad("RDI after a string instruction", r.rdi, before.rdi);
	if (r.rsi != (op ? before.rsi : before.rsi + r.rdi - before.rdi))
		tort_bad("RSI after a string instruction", r.rsi, before.rsi);
	h = mix(h, r.rcx);
	return mix(h, r.flags & 0x8d5);
}

static uint64_t round(unsigned long nr)
{
	unsigned long ops = rt_option("ops", 1500);
	uint64_t h = nr;

	/* long stretches of one byte, the same ones often at both places */
	for (size_t i = 0; i < SIZE; i++) {
		area[0][i] = i & 0x3ff && tort_below(97) ? area[0][i - 1] : tort_below(3);
		area[1][i] = tort_below(199) ? area[0][i] : tort_below(3);
	}
	for (unsigned long i = 0; i < ops; i++)
		h = one(h);
	return h;
}

int guest(void)
{
	tort_start("repcmp");
	fire_start(NULL);
	tort_rounds(round, 6, 60);
	return tort_end();
}
