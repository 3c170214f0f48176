// SPDX-License-Identifier: GPL-2.0
/*
 * Long stretches without any exit, interrupted by the timer anywhere: in
 * arithmetic, between conditional branches, in the middle of string
 * instructions, in the shadow of MOV SS and STI, with the flags on the stack,
 * with vector registers in use. Interrupts fold the place and the registers
 * that they found into a digest. rounds=N (30) lines, period=N ns (700000).
 */
#include "rt.h"

#define VECTOR	0x40
#define BIG	65536

static volatile uint64_t digest;
static volatile unsigned long ticks, in_string;
static uint8_t from[BIG], to[BIG];

static void on_tick(struct frame *f)
{
	const uint8_t *code = (const uint8_t *)f->rip;
	uint64_t h = digest;

	in_string += code[0] == 0xf3;
	h = rt_hash(h, f, offsetof(struct frame, vector));
	h = rt_hash(h, &f->rip, sizeof(f->rip));
	digest = rt_hash(h, &f->rflags, sizeof(f->rflags));
	ticks++;
	lapic_eoi();
}

static uint64_t branches(uint64_t x, int n)
{
	uint64_t sum = 0;

	while (n--) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (x & 1)
			sum += x >> 3;
		else if (x & 2)
			sum ^= x << 1;
		else
			sum = sum * 5 + 1;
	}
	return sum ^ x;
}

static uint64_t shadows(uint64_t x)
{
	uint64_t flags;

	for (int i = 0; i < 200; i++) {
		asm volatile("mov %%ss, %%eax; mov %%eax, %%ss; add %1, %0"
			     : "+r"(x) : "r"(x >> 5) : "rax", "cc");
		asm volatile("cli; add $7, %0; sti; rol $3, %0" : "+r"(x) : : "cc");
		asm volatile("cmp $5, %b1; pushf; pop %0" : "=&r"(flags) : "r"(x) : "cc");
		x ^= flags & 0x8d5;
		asm volatile("push %0; popf; adc $0, %1" : : "r"(flags), "r"(x) : "cc");
	}
	return x;
}

static uint64_t vectors(uint64_t x)
{
	uint64_t out[2];

	asm volatile("movq %1, %%xmm0\n\tmovdqa %%xmm0, %%xmm1\n\tmov $3000, %%ecx\n"
		     "1:\tpaddq %%xmm1, %%xmm0\n\tmovdqa %%xmm1, %%xmm2\n\tpsllq $13, %%xmm2\n\t"
		     "psrlq $51, %%xmm1\n\tpor %%xmm2, %%xmm1\n\tpxor %%xmm0, %%xmm1\n\t"
		     "dec %%ecx\n\tjnz 1b\n\tpunpcklqdq %%xmm1, %%xmm0\n\tmovdqu %%xmm0, %0"
		     : "=m"(out) : "r"(x) : "rcx", "cc", "memory");
	return out[0] ^ out[1] * 3;
}

int guest(void)
{
	unsigned long rounds = rt_option("rounds", 30), period = rt_option("period", 700000);
	uint64_t x = 88172645463325252, cr;

	/* The vector registers are off at power-on. */
	asm volatile("mov %%cr4, %0; or $0x600, %0; mov %0, %%cr4" : "=&r"(cr));
	rt_apic_on();
	rt_on(VECTOR, on_tick);
	lapic_write(LAPIC_TDCR, 0xb);
	lapic_write(LAPIC_LVTT, VECTOR | LVT_PERIODIC);
	lapic_write(LAPIC_TMICT, period);
	sti();
	for (unsigned long r = 1; r <= rounds; r++) {
		for (int i = 0; i < 4; i++) {
			x = branches(x, 20000);
			x = shadows(x);
			x = vectors(x);
			memset(from, x, BIG);
			for (int k = 0; k < 3; k++)
				memcpy(to, from, BIG);
			x ^= (uint64_t)to[x % BIG] << 9;
		}
		cli();
		printf("spin: %lu state %016lx ticks %lu digest %016lx\n", r, x, ticks, digest);
		sti();
	}
	cli();
	printf("spin: %lu of %lu ticks hit a string instruction\n", in_string, ticks);
	puts("spin: done");
	return 0;
}
