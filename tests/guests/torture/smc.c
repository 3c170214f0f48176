// SPDX-License-Identifier: GPL-2.0
/*
 * Code that changes itself: the next instruction, one far ahead, one in another
 * page, the target of a jump, a loop's own body, by string instructions, and by an
 * interrupt's handler in what it interrupted. passes=N in a round.
 */
#include "tort.h"

static uint8_t code[2 * 4096] __attribute__((aligned(4096)));
static volatile uint32_t *patched;
static volatile unsigned long by_handler;

typedef uint64_t (*function)(uint64_t);

/* add $imm32, %rdi ... mov %rdi, %rax; ret: at some place, of so many additions */
static function build(unsigned int at, unsigned int additions)
{
	uint8_t *p = code + at;

	for (unsigned int i = 0; i < additions; i++) {
		uint32_t immediate = tort_random() & 0x7fffffff;

		*p++ = 0x48;
		*p++ = 0x81;
		*p++ = 0xc7;
		memcpy(p, &immediate, 4);
		p += 4;
	}
	memcpy(p, "\x48\x89\xf8\xc3", 4);
	return (function)(code + at);
}

/* Each pass changes the immediate of the instruction right behind the store. */
static uint64_t next_instruction(uint64_t x, uint64_t passes)
{
	asm volatile("1:\tmov %k0, 2f-4(%%rip)\n\t"
		     "mov $0x12345678, %%edx\n2:\t"
		     "lea (%0, %%rdx), %0; ror $5, %0\n\t"
		     "dec %1; jnz 1b" : "+r"(x), "+r"(passes) : : "rdx", "memory", "cc");
	return x;
}

/* Turns INC into DEC and back, in its own loop. */
static uint64_t own_body(uint64_t x, uint64_t passes)
{
	asm volatile("1:\txorb $0x08, 2f+2(%%rip)\n"
		     "2:\tinc %0\n\t"			/* 48 ff c?: /0 or /1 */
		     "rol $1, %0\n\t"
		     "dec %1; jnz 1b" : "+a"(x), "+r"(passes) : : "memory", "cc");
	return x;
}

/* A handler that changes what runs: it only swaps two ways to do the same. */
static void on_tick(struct frame *f)
{
	(void)f;
	if (!patched)
		return;
	/* lea 1(%rax), %rax; nop: 48 8d 40 01 90, or add $1, %rax; nop: 48 83 c0 01 90 */
	*patched = *patched == 0x01408d48 ? 0x01c08348 : 0x01408d48;
	by_handler++;
}

static uint64_t swapped(uint64_t passes)
{
	uint64_t x = 0;

	asm volatile("lea 1f(%%rip), %%rdx; mov %%rdx, %2\n"
		     ".balign 8\n1:\tlea 1(%0), %0\n\tnop\n\tdec %1; jnz 1b\n\t"
		     : "+a"(x), "+r"(passes), "=m"(patched) : : "rdx", "memory", "cc");
	patched = NULL;
	return x;
}

static uint64_t round(unsigned long nr)
{
	unsigned long passes = rt_option("passes", 24);
	uint64_t h = nr;

	for (unsigned long i = 0; i < passes; i++) {
		unsigned int at = tort_below(2) ? 4096 - tort_below(300) : tort_below(4000);
		function f = build(at, 1 + tort_below(40));

		h = f(h);
		h = build(at, 1 + tort_below(40))(h);
		if (i % 4 == 0) {
			/* moved as a whole */
			uint64_t *from = (uint64_t *)(code + at), *to = (uint64_t *)(code + 6000);
			size_t n = 64;

			asm volatile("rep movsq" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
			h = ((function)(code + 6000))(h);
		}
		h = next_instruction(h, 20);
		h = own_body(h, 20);
		h = mix(h, swapped(20000));
	}
	return h;
}

int guest(void)
{
	tort_start("smc");
	fire_start(on_tick);
	tort_rounds(round, 5, 60);
	printf("smc: time changed by handlers %lu\n", by_handler);
	return tort_end();
}
