// SPDX-License-Identifier: GPL-2.0
/*
 * Where an interrupt may not come, and where it must: STI and the instruction behind
 * it, STI; CLI, STI; HLT, MOV SS, CLI; HLT woken by nothing but what came before.
 * The handler looks where it was called from. hlts=N in a round; times=N of the rest.
 */
#include "tort.h"

extern char sh_closed0[], sh_closed0_end[], sh_closed1[], sh_closed1_end[];
extern char sh_closed2[], sh_closed2_end[], sh_after_hlt[];

static volatile unsigned long at_halt;

static void on_tick(struct frame *f)
{
	uint64_t at = f->rip;

	/* the first address of each range is where one may still come */
	if ((at > (uint64_t)sh_closed0 && at < (uint64_t)sh_closed0_end) ||
	    (at > (uint64_t)sh_closed1 && at < (uint64_t)sh_closed1_end) ||
	    (at > (uint64_t)sh_closed2 && at < (uint64_t)sh_closed2_end))
		tort_bad("an interrupt where none may be", at, (uint64_t)sh_closed0);
	at_halt += at == (uint64_t)sh_after_hlt;
}

/* CLI ... STI and one more; STI; CLI with no gap between. */
static uint64_t __attribute__((noinline, noclone)) sti_cli(uint64_t x, uint64_t times)
{
	asm volatile("1:\tadd $3, %0\n"
		     "sh_closed0: cli; add $5, %0; rol $3, %0; sti; cli; add $1, %0; sti;"
		     "xor $7, %0\n"
		     "sh_closed0_end: nop; dec %1; jnz 1b" : "+r"(x), "+r"(times) : : "cc");
	return x;
}

/* The second of two STIs opens: only the first one has a shadow. */
static uint64_t __attribute__((noinline, noclone)) sti_sti(uint64_t x, uint64_t times)
{
	asm volatile("1:\tcli; add $5, %0; sti; sti; rol $3, %0; sti; sti; sti; add $1, %0\n\t"
		     "dec %1; jnz 1b" : "+r"(x), "+r"(times) : : "cc");
	return x;
}

static uint64_t __attribute__((noinline, noclone)) mov_ss(uint64_t x, uint64_t times)
{
	asm volatile("mov %%ss, %%eax\n1:\tadd $5, %0\n"
		     /* IF was set: the shadow is that of MOV SS only */
		     "sh_closed1: mov %%eax, %%ss; sti\n"
		     "sh_closed1_end: rol $3, %0; nop\n"
		     "sh_closed2: mov %%eax, %%ss; lea 1(%0), %0\n"
		     "sh_closed2_end: nop; dec %1; jnz 1b"
		     : "+r"(x), "+r"(times) : : "rax", "cc");
	return x;
}

/* POPF and IRET open at once. */
static uint64_t __attribute__((noinline, noclone)) popf(uint64_t x, uint64_t times)
{
	asm volatile("1:\tpushfq; cli; add $5, %0; popfq; rol $3, %0\n\t"
		     "cli; mov %%rsp, %%rdx; mov %%ss, %%eax; pushq %%rax; pushq %%rdx;"
		     "pushq $0x202; pushq $8; pushq $2f; iretq\n2:\t"
		     "dec %1; jnz 1b" : "+r"(x), "+r"(times) : : "rax", "rdx", "memory", "cc");
	return x;
}

/* Sleeps with what is pending, and with what is to come. */
static void __attribute__((noinline, noclone)) halts(unsigned long times)
{
	while (times--) {
		unsigned long before = fire_ticks;

		cli();
		for (unsigned int k = tort_below(30000); k; k--)
			asm volatile("");
		if (fire_ticks == before)
			asm volatile("sti; hlt\nsh_after_hlt: nop" : : : "memory");
		sti();
	}
}

static uint64_t round(unsigned long nr)
{
	unsigned long times = rt_option("times", 60000);
	uint64_t h = nr;

	h = sti_cli(h, times);
	h = sti_sti(h, times);
	h = mov_ss(h, times);
	h = popf(h, times / 4);
	halts(rt_option("hlts", 30));
	return h;
}

int guest(void)
{
	tort_start("shadow");
	fire_start(on_tick);
	tort_rounds(round, 5, 60);
	printf("shadow: time %lu ticks behind HLT\n", at_halt);
	return tort_end();
}
