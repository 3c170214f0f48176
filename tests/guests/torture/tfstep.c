// SPDX-License-Identifier: GPL-2.0
/*
 * The guest steps itself by TF through arithmetic, calls, string instructions,
 * shadows of MOV SS, INT n, PUSHF and POPF, IRET and SYSCALL, while interrupts
 * come. Which instructions it stops behind does not depend on them. A breakpoint
 * of its own is among them with breakpoint=1. times=N walks in a round.
 */
#include "tort.h"

#define DR6_BS	0x4000ul

static volatile uint64_t digest, steps;
static volatile unsigned int soft, at_breakpoint;
static uint8_t from[64], to[64];

extern char walk_middle[];

static void on_debug(struct frame *f)
{
	uint64_t dr6 = read_dr6();

	if (dr6 & DR6_BS)
		steps++;
	if (dr6 & 1) {
		at_breakpoint++;
		f->rflags |= EFLAGS_RF;
	}
	if (!(dr6 & (DR6_BS | 1)))
		tort_bad("DR6 at a single step", dr6, DR6_BS);
	digest = mix(mix(digest, f->rip), dr6 & (DR6_BS | 1));
	digest = mix(digest, f->rflags & (EFLAGS_TF | EFLAGS_IF | EFLAGS_DF));
	fire_fold(mix(f->rflags, f->rax));
	write_dr6(0xffff0ff0);
}

static void on_soft(struct frame *f)
{
	soft++;
	digest = mix(digest, f->rflags & (EFLAGS_TF | EFLAGS_RF));
	if (!(f->rflags & EFLAGS_TF) || (f->rflags & EFLAGS_RF))
		tort_bad("flags saved by INT n under TF", f->rflags, EFLAGS_TF);
	if (read_flags() & EFLAGS_TF)
		tort_bad("TF in the handler of INT n", read_flags(), 0);
}

/* One walk: TF is set behind the first POPFQ, and cleared by the last. */
static uint64_t __attribute__((noinline, noclone)) walk(uint64_t x, uint64_t count)
{
	void *d = to, *s = from;
	uint64_t images = 0, c = count;

	asm volatile("pushfq; orq $0x100, (%%rsp); popfq\n\t"
		     "imul $77, %0, %0; add $3, %0\n\t"
		     "jz 1f; ror $7, %0\n"
		     "1:\tmov %%ss, %%eax; mov %%eax, %%ss; add $5, %0\n"
		     "walk_middle: nop\n\t"
		     "rep movsb\n\t"
		     "pushfq; popq %%rax; and $0x10100, %%eax; add %%rax, %1\n\t"
		     "call 2f; jmp 3f\n2:\txor $99, %0; ret\n"
		     "3:\tint $0x80\n\t"
		     "cli; nop; sti; nop\n\t"
		     "mov %%rsp, %%rdx; mov %%ss, %%eax; push %%rax; push %%rdx; pushfq\n\t"
		     "push $8; push $4f; iretq\n"
		     "4:\tmov %5, %%ecx; std; rep stosb; cld; loop 5f\n"
		     "5:\tmov %%ss, %%eax; mov %%eax, %%ss; pushfq\n\t"
		     "popq %%rax; and $0x10100, %%eax; add %%rax, %1\n\t"
		     "pushfq; andq $~0x100, (%%rsp); popfq; nop"
		     : "+r"(x), "+r"(images), "+D"(d), "+S"(s), "+c"(c)
		     : "r"((uint32_t)(count & 7)) : "rax", "rdx", "memory", "cc");
	digest = mix(digest, images);
	return x;
}

static uint64_t round(unsigned long nr)
{
	unsigned long times = rt_option("times", 500);
	uint64_t x = nr;

	digest = nr;
	tort_fill(from, sizeof(from));
	for (unsigned long i = 0; i < times; i++) {
		x = walk(x, tort_below(20));
		for (unsigned int k = tort_below(200); k; k--)
			x = mix(x, k);
	}
	return mix_words(mix(digest, x), to, sizeof(to) / 8);
}

int guest(void)
{
	unsigned int breakpoint;

	tort_start("tfstep");
	fire_rf_allowed = 1;
	breakpoint = rt_option("breakpoint", 0);
	fire_tf_allowed = 1;
	rt_on(1, on_debug);
	rt_on(0x80, on_soft);
	if (breakpoint) {
		write_dr0((uint64_t)walk_middle);
		write_dr7(0x402);
	}
	fire_start(NULL);
	tort_rounds(round, 6, 60);
	if (!!at_breakpoint != breakpoint)
		tort_bad("stops at the breakpoint", at_breakpoint, breakpoint);
	return tort_end();
}
