// SPDX-License-Identifier: GPL-2.0
/*
 * REP MOVS, STOS and LODS of every size, forwards and backwards, overlapping,
 * across pages, with 32-bit addresses, of no item and of many: cut by interrupts
 * and epoch ends anywhere. ops=N string instructions in a round.
 */
#include "tort.h"

#define PAGES	4
#define SIZE	(PAGES * 4096)

struct regs {
	uint64_t rax, rcx, rsi, rdi;
};

static uint8_t area[2][SIZE] __attribute__((aligned(4096)));

#define STRING(name, insn)							\
static void name(struct regs *r)						\
{										\
	asm volatile(insn : "+a"(r->rax), "+c"(r->rcx), "+S"(r->rsi), "+D"(r->rdi)	\
		     : : "memory", "cc");					\
}
#define FORMS(op, size)								\
	STRING(rep_##op##size, "rep " #op #size)				\
	STRING(back_##op##size, "std; rep " #op #size "; cld")			\
	STRING(a32_##op##size, ".byte 0x67; rep " #op #size)			\
	STRING(one_##op##size, #op #size)
#define SIZES(op) FORMS(op, b) FORMS(op, w) FORMS(op, l) FORMS(op, q)
SIZES(movs)
SIZES(stos)
SIZES(lods)

enum { FORWARDS, BACKWARDS, SHORT_ADDRESS, ONCE, FORM_KINDS };

#define LIST(op, size)								\
	{ rep_##op##size, back_##op##size, a32_##op##size, one_##op##size }
#define LISTS(op) { LIST(op, b), LIST(op, w), LIST(op, l), LIST(op, q) }
static void (*const forms[3][4][FORM_KINDS])(struct regs *) = {
	LISTS(movs), LISTS(stos), LISTS(lods)
};

/* Often few, now and then many; as many as fit. */
static uint64_t some(uint64_t room)
{
	uint64_t n = tort_below(10), count;

	count = n < 5 ? tort_below(16) : n < 9 ? tort_below(200) : tort_below(1500);
	return count < room ? count : room;
}

/* A place for a string: mostly one that crosses a page's end. */
static uint64_t place(void)
{
	if (tort_below(4))
		return (1 + tort_below(PAGES - 1)) * 4096 - tort_below(80);
	return tort_below(SIZE - 64);
}

static uint64_t one(uint64_t h)
{
	unsigned int op = tort_below(3), log = tort_below(4), form = tort_below(FORM_KINDS);
	uint64_t from = place(), to = tort_below(3) ? place() : from + tort_below(24);
	uint64_t room, high = tort_random() << 32;
	struct regs r;

	if (to > SIZE - 8)
		to = SIZE - 8;
	if (form == BACKWARDS)
		room = (from < to ? from : to) >> log;
	else
		room = (SIZE - (from > to ? from : to)) >> log;
	r.rax = tort_random();
	r.rcx = some(room);
	r.rsi = (uint64_t)area[tort_below(2)] + from;
	r.rdi = (uint64_t)area[tort_below(2)] + to;
	if (form == SHORT_ADDRESS) {
		r.rcx |= high;
		r.rsi |= high;
		r.rdi |= high;
	}
	forms[op][log][form](&r);
	h = mix(h, r.rax);
	h = mix(h, (uint32_t)r.rcx);
	h = mix(h, (uint32_t)r.rsi);
	return mix(h, (uint32_t)r.rdi);
}

static uint64_t round(unsigned long nr)
{
	unsigned long ops = rt_option("ops", 6000);
	uint64_t h = nr;

	tort_fill(area, sizeof(area));
	for (unsigned long i = 0; i < ops; i++)
		h = one(h);
	return mix_words(h, area, sizeof(area) / 8);
}

int guest(void)
{
	tort_start("repmov");
	fire_start(NULL);
	tort_rounds(round, 6, 60);
	return tort_end();
}
