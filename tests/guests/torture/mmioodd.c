// SPDX-License-Identifier: GPL-2.0
/*
 * Odd accesses to memory that is none: instructions that read, change and write
 * it, LOCKed or not; string instructions from and to it, and from one device to
 * another; vector registers; PUSH and POP; all of them also across the end of the
 * IOAPIC's page, across the end of RAM, and at ROM, which can be read but not
 * written. mem=MIB as QEMU's -m; ops=N in a round.
 */
#include "tort.h"

#define CELL	(IOAPIC + 0x10)		/* a register that keeps 32 bits */
#define ROM	0xfffff000ul
#define EDGE	64			/* the last bytes of RAM */

static uint8_t buffer[512] __attribute__((aligned(64)));
static uint64_t end_of_ram;
static int rom_is_ram;		/* a microvm's firmware can be written */

/* An instruction on memory at %1 with the operand %0 in RAX; the flags count, too. */
#define OP(name, insn)								\
static uint64_t name(uint64_t at, uint64_t v)					\
{										\
	uint64_t flags;								\
										\
	asm volatile("cmp %%eax, %%eax; " insn "; pushfq; popq %1"		\
		     : "+a"(v), "=r"(flags) : "D"(at) : "memory", "cc", "rdx");	\
	return v ^ (flags & 0xc5) << 32;					\
}
#define SIZES(name, insn)							\
	OP(name##1, insn("b", "al")) OP(name##2, insn("w", "ax"))		\
	OP(name##4, insn("l", "eax")) OP(name##8, insn("q", "rax"))

#define LOAD(s, r)	"mov" s " (%2), %%" r
#define STORE(s, r)	"mov" s " %%" r ", (%2)"
#define ADD(s, r)	"add" s " %%" r ", (%2)"
#define ADC(s, r)	"stc; adc" s " %%" r ", (%2)"
#define LOCK_OR(s, r)	"lock or" s " %%" r ", (%2)"
#define AND(s, r)	"and" s " %%" r ", (%2)"
#define LOCK_XOR(s, r)	"lock xor" s " %%" r ", (%2)"
#define SUB_FROM(s, r)	"sub" s " (%2), %%" r
#define COMPARE(s, r)	"cmp" s " (%2), %%" r
#define TEST(s, r)	"test" s " %%" r ", (%2)"
#define INC(s, r)	"inc" s " (%2)"
#define LOCK_DEC(s, r)	"lock dec" s " (%2)"
#define NOT(s, r)	"not" s " (%2)"
#define NEG(s, r)	"neg" s " (%2)"
#define ROL(s, r)	"rol" s " $3, (%2)"
#define XCHG(s, r)	"xchg" s " %%" r ", (%2)"
#define XADD(s, r)	"lock xadd" s " %%" r ", (%2)"
#define CMPXCHG(s, r)	"xor %%edx, %%edx; cmpxchg" s " %%" r ", (%2)"
#define IMMEDIATE(s, r)	"mov" s " $0x12, (%2)"
SIZES(load, LOAD)
SIZES(store, STORE)
SIZES(add, ADD)
SIZES(adc, ADC)
SIZES(lock_or, LOCK_OR)
SIZES(and, AND)
SIZES(lock_xor, LOCK_XOR)
SIZES(sub_from, SUB_FROM)
SIZES(compare, COMPARE)
SIZES(test, TEST)
SIZES(inc, INC)
SIZES(lock_dec, LOCK_DEC)
SIZES(not, NOT)
SIZES(neg, NEG)
SIZES(rol, ROL)
SIZES(xchg, XCHG)
SIZES(xadd, XADD)
SIZES(cmpxchg, CMPXCHG)
SIZES(immediate, IMMEDIATE)

OP(movzx, "movzbl (%2), %%eax")
OP(movsx, "movswq (%2), %%rax")
OP(movsxd, "movslq (%2), %%rax")
OP(bts, "btsl $5, (%2)")
OP(btr, "lock btrl $9, (%2)")
OP(btc, "btcl $1, (%2)")
OP(bt, "btl $3, (%2)")
OP(setc, "stc; setc (%2)")
OP(cmov, "cmovel (%2), %%eax")
OP(push, "pushq (%2); popq %%rax")
OP(pop, "pushq %%rax; popq (%2)")
OP(pushw, "pushw (%2); popw %%ax")
OP(imul, "imull (%2), %%eax; cmp %%eax, %%eax")
OP(mul, "mull (%2); cmp %%eax, %%eax")
OP(movnti, "movnti %%rax, (%2)")
OP(cmpxchg8b, "push %%rbx; push %%rcx; xor %%edx, %%edx; mov %%eax, %%ebx; mov %%eax, %%ecx;"
	      "lock cmpxchg8b (%2); pop %%rcx; pop %%rbx")
OP(xlat, "mov %%rbx, %%rdx; mov %2, %%rbx; xor %%eax, %%eax; xlat; mov %%rdx, %%rbx")
OP(load_vector, "movdqu (%2), %%xmm3; movq %%xmm3, %%rax; psrldq $8, %%xmm3; movq %%xmm3, %%rdx;"
		"xor %%rdx, %%rax; cmp %%eax, %%eax")
OP(store_vector, "movq %%rax, %%xmm4; punpcklqdq %%xmm4, %%xmm4; movdqu %%xmm4, (%2)")
OP(store_single, "movq %%rax, %%xmm4; movups %%xmm4, (%2)")

#define FOUR(name)	name##1, name##2, name##4, name##8
static uint64_t (*const ops[])(uint64_t, uint64_t) = {
	FOUR(load), FOUR(store), FOUR(add), FOUR(adc), FOUR(lock_or), FOUR(and), FOUR(lock_xor),
	FOUR(sub_from), FOUR(compare), FOUR(test), FOUR(inc), FOUR(lock_dec), FOUR(not),
	FOUR(neg), FOUR(rol), FOUR(xchg), FOUR(xadd), FOUR(cmpxchg), FOUR(immediate),
	movzx, movsx, movsxd, bts, btr, btc, bt, setc, cmov, push, pop, pushw, imul, mul, movnti,
	cmpxchg8b, xlat, load_vector, store_vector, store_single,
};

/*
 * Some place, and an odd one as often as not. A string must not change which
 * register the cell is: some of them bring interrupts.
 */
static uint64_t place(int for_string)
{
	switch (tort_below(6)) {
	case 0:
		return for_string ? CELL : IOAPIC + tort_below(2);
	case 1:
		return IOAPIC + 0xff0 + tort_below(24);		/* into the next page */
	case 2:
		return end_of_ram - tort_below(16);		/* out of RAM */
	case 3:
		return rom_is_ram ? CELL : ROM + tort_below(0xf00);
	default:
		return CELL;
	}
}

static void *inside(uint64_t at)
{
	return at ? (void *)at : buffer + 64 * (1 + tort_below(4));
}

/* A few items by a string instruction, between RAM and devices and among these. */
static uint64_t string(uint64_t h)
{
	unsigned int kind = tort_below(6), size = tort_below(4);
	void *from = inside(tort_below(3) ? place(1) : 0);
	void *to = inside(tort_below(3) ? place(1) : 0);
	uint64_t count = 1 + tort_below(5), rax = tort_random(), flags = 0;

#define STRING(insn)	asm volatile("cmp %%eax, %%eax; " insn "; pushfq; cld; popq %4"		\
				     : "+S"(from), "+D"(to), "+c"(count), "+a"(rax),	\
				       "=r"(flags) : : "memory", "cc")
#define SIZED(prefix, op)							\
	do {									\
		if (size == 0)							\
			STRING(prefix op "b");					\
		else if (size == 1)						\
			STRING(prefix op "w");					\
		else if (size == 2)						\
			STRING(prefix op "l");					\
		else								\
			STRING(prefix op "q");					\
	} while (0)

	switch (kind) {
	case 0:
	case 1:
		SIZED("rep ", "movs");
		break;
	case 2:
		SIZED("std; rep ", "movs");
		break;
	case 3:
		SIZED("rep ", "stos");
		break;
	case 4:
		SIZED("repe ", "cmps");
		break;
	default:
		SIZED("rep ", "lods");
	}
	h = mix(mix(h, count), rax);
	h = mix(mix(h, (uint64_t)from), (uint64_t)to);
	return mix(h, flags & 0xc5);
}

static uint64_t round(unsigned long nr)
{
	unsigned long count = rt_option("ops", 160);
	uint64_t h = nr;

	memset(buffer, nr, sizeof(buffer));
	memset((void *)(end_of_ram - EDGE), nr, EDGE);
	for (unsigned int i = 0; i < 3; i++)
		ioapic_write(0x11 + 2 * (20 + i), 0x89abcdef);
	for (unsigned long i = 0; i < count; i++) {
		if (tort_below(4)) {
			uint64_t at = place(0), op = tort_below(sizeof(ops) / sizeof(ops[0]));

			h = mix(h, ops[op](at, tort_random()));
		} else {
			h = string(h);
		}
		/* the selector may say anything now */
		*(volatile uint32_t *)IOAPIC = 0x11 + 2 * (20 + tort_below(3));
		for (unsigned int k = tort_below(200); k; k--)
			h = mix(h, k);
	}
	h = mix(h, *(volatile uint32_t *)CELL);
	h = mix_words(h, (void *)(end_of_ram - EDGE), EDGE / 8);
	return mix_words(h, buffer, sizeof(buffer) / 8);
}

int guest(void)
{
	uint8_t was = *(volatile uint8_t *)ROM;

	tort_start("mmioodd");
	end_of_ram = rt_option("mem", 128) << 20;
	*(volatile uint8_t *)ROM ^= 0xff;
	rom_is_ram = *(volatile uint8_t *)ROM != was;
	*(volatile uint8_t *)ROM ^= 0xff;
	fire_start(NULL);
	tort_rounds(round, 5, 20);
	return tort_end();
}
