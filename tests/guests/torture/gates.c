// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts on stacks of their own (IST), interrupt gates and trap gates, INT n from
 * ring 3 with and without the right to, ring 3 code that computes, calls the kernel
 * by INT and SYSCALL, and is interrupted: a change of stack and privilege each time.
 * times=N in a round.
 */
#include "tort.h"

#define STACK	4096
#define V_TRAP	0x60		/* a trap gate for ring 3 */
#define V_IST	0x61		/* with a stack of its own */
#define V_KERNEL 0x62		/* not for ring 3 */
#define V_NEST	0x63		/* trap gate, IST, that causes one more */

static uint8_t stacks[7][STACK] __attribute__((aligned(16)));
static volatile uint64_t sum, refused;
static volatile uint64_t user_ticks;

static void note(const struct frame *f)
{
	sum = mix(mix(sum, f->vector), f->rip);
	sum = mix(mix(sum, f->rsp), f->cs | f->ss << 16);
	if (f->rflags & (EFLAGS_TF | EFLAGS_RF))
		tort_bad("RF or TF in a soft interrupt's frame", f->rflags, 0);
}

static uint64_t stack_pointer(void)
{
	uint64_t v;

	asm volatile("mov %%rsp, %0" : "=r"(v));
	return v;
}

static void on_stack(const char *what, int number)
{
	uint64_t base = (uint64_t)stacks[number];

	if (stack_pointer() - base >= STACK)
		tort_bad(what, stack_pointer(), base);
}

static void on_trap(struct frame *f)
{
	note(f);
	if (!(read_flags() & EFLAGS_IF))
		tort_bad("interrupts in a trap gate's handler", read_flags(), EFLAGS_IF);
	for (int i = 0; i < 30; i++)
		sum = mix(sum, i);
}

static void on_ist(struct frame *f)
{
	note(f);
	on_stack("the stack of IST 1", 1);
	if (read_flags() & EFLAGS_IF)
		tort_bad("interrupts in an interrupt gate's handler", read_flags(), 0);
}

static void on_nest(struct frame *f)
{
	note(f);
	on_stack("the stack of IST 2", 2);
	asm volatile("int $0x61");
	for (int i = 0; i < 30; i++)
		sum = mix(sum, i);
}

/* INT 0x62 in ring 3: the error code names the gate. */
static void on_protection(struct frame *f)
{
	refused++;
	sum = mix(mix(sum, f->error), f->rip);
	if (f->cs != SEL_CODE_USER)
		rt_exit(RT_CRASHED);
	f->rip += 2;
}

static void on_tick(struct frame *f)
{
	on_stack("the stack of the timer's IST", 3);
	user_ticks += f->cs == SEL_CODE_USER;
}

void gates_syscall(void);
asm(".pushsection .text\n.balign 16\n"
    "gates_syscall:\n\tlea 3(%rax, %rax, 4), %rax\n\tsysretq\n"
    ".popsection");

static uint64_t user(uint64_t times)
{
	uint64_t x = times;

	while (times--) {
		for (int i = 0; i < 40; i++)
			x = mix(x, i);
		asm volatile("int $0x60");
		asm volatile("syscall" : "+a"(x) : : "rcx", "r11", "memory");
		asm volatile("int $0x61");
		if (times % 8 == 0)
			asm volatile("int $0x62");
		if (times % 4 == 0)
			asm volatile("int $0x63");
	}
	return x;
}

static uint64_t round(unsigned long nr)
{
	unsigned long times = rt_option("times", 700);
	uint64_t h = nr;

	sum = nr;
	refused = 0;
	for (int i = 0; i < 4; i++) {
		h = mix(h, cpu_user(user, times / 4));
		for (unsigned long k = 0; k < times / 4; k++) {
			asm volatile("int $0x60");
			asm volatile("int $0x62");
			asm volatile("int $0x63");
			h = mix(h, k);
		}
	}
	return mix(mix(h, sum), refused);
}

int guest(void)
{
	tort_start("gates");
	fire_rf_allowed = 1;
	cpu_user_pages();
	for (int i = 1; i < 7; i++)
		cpu_stack(i, stacks[i] + STACK);
	rt_on(V_TRAP, on_trap);
	rt_gate(V_TRAP, 3, 0, 1);
	rt_on(V_IST, on_ist);
	rt_gate(V_IST, 3, 1, 0);
	rt_on(V_KERNEL, on_ist);
	rt_gate(V_KERNEL, 0, 1, 0);
	rt_on(V_NEST, on_nest);
	rt_gate(V_NEST, 3, 2, 1);
	rt_gate(FIRE_VECTOR, 0, 3, 0);
	rt_on(13, on_protection);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
	wrmsr(MSR_STAR, (uint64_t)SEL_CODE32_USER << 48 | (uint64_t)SEL_CODE << 32);
	wrmsr(MSR_LSTAR, (uint64_t)gates_syscall);
	wrmsr(MSR_SFMASK, EFLAGS_IF | EFLAGS_TF | EFLAGS_DF);
	fire_start(on_tick);
	tort_rounds(round, 5, 60);
	printf("gates: time %lu ticks in ring 3\n", user_ticks);
	return tort_end();
}
