// SPDX-License-Identifier: GPL-2.0
/* Tasks that switch to each other. 32-bit code. */
#include "mode.h"
#include "tasks.h"

#define EFLAGS_RF	0x10000

struct tss32 tasks_tss[TASKS];
uint32_t tasks_spoiled;		/* how often arithmetic flags were not what they had been */
static uint8_t stacks[TASKS][2048] __attribute__((aligned(16)));
static volatile uint32_t sum, visits[TASKS];
static volatile uint32_t pass;

static uint32_t work(uint32_t x, uint32_t n)
{
	while (n--) {
		x = mix32(x, n);
		if (x & 1)
			x += x << 9;
	}
	return x;
}

/* Of CF, PF, AF, ZF, SF, OF, what a comparison of equals leaves. */
#define ARITHMETIC	0x8d5u
#define EQUAL		0x44u

/* Each leaves with EQUAL in the flags that its TSS gets, and must have them back. */
#define SWITCH(insn, task)						\
do {									\
	uint32_t back;							\
									\
	asm volatile("cmpl %%esp, %%esp; " insn " %1, $0; pushfl; popl %0"	\
		     : "=r"(back) : "i"(TASK_SELECTOR(task)) : "memory", "cc"); \
	tasks_spoiled += (back & ARITHMETIC) != EQUAL;			\
} while (0)

#define TASK_RETURN()	asm volatile("cmpl %%esp, %%esp; iretl" : : : "memory", "cc")

/* By a jump, and back by a jump. */
static void jumped_to(void)
{
	for (;;) {
		visits[TASK_JUMPED]++;
		sum = work(sum, pass % 50);
		SWITCH("ljmp", TASK_MAIN);
	}
}

/* By a call: nested, and back by IRET. It calls another one in turn. */
static void called(void)
{
	for (;;) {
		visits[TASK_CALLED]++;
		sum = work(sum, pass % 30);
		if (pass & 1)
			SWITCH("lcall", TASK_INNER);
		TASK_RETURN();
	}
}

static void inner(void)
{
	for (;;) {
		visits[TASK_INNER]++;
		sum = work(sum, pass % 20);
		asm volatile("int %0" : : "i"(TASK_VECTOR) : "memory");
		TASK_RETURN();
	}
}

/* By INT n through a task gate. */
static void trapped(void)
{
	for (;;) {
		visits[TASK_TRAPPED]++;
		sum = work(sum, pass % 10);
		TASK_RETURN();
	}
}

/*
 * By #UD through a task gate: the task that failed goes on behind UD2. As with any
 * fault RF is set in the flags that it left; it is for UD2 alone, and the timer may
 * hit the task before its next instruction has cleared it.
 */
static void failed(void)
{
	for (;;) {
		uint32_t link = (tasks_tss[TASK_FAILED].link - TASK_SELECTOR(0)) / 8;

		visits[TASK_FAILED]++;
		sum = mix32(mix32(sum, tasks_tss[link].eip), tasks_tss[link].eflags & EFLAGS_RF);
		tasks_tss[link].eip += 2;
		tasks_tss[link].eflags &= ~EFLAGS_RF;
		TASK_RETURN();
	}
}

/* By the timer, through a task gate: sees all that it interrupted in a TSS. */
static void ticked(void)
{
	for (;;) {
		const struct tss32 *t =
			&tasks_tss[(tasks_tss[TASK_TICKED].link - TASK_SELECTOR(0)) / 8];
		const uint32_t *p = &t->eip;
		uint32_t h = mode_fire.digest;

		for (int i = 0; i < 10; i++)
			h = mix32(h, p[i]);
		mode_fire.digest = h;
		mode_fire.ticks++;
		mode_lapic_write(0xb0, 0);
		mode_fire_next();
		asm volatile("iretl" : : : "memory");
	}
}

static void prepare(void)
{
	static void (*const entries[TASKS])(void) = {
		[TASK_JUMPED] = jumped_to, [TASK_CALLED] = called, [TASK_INNER] = inner,
		[TASK_TRAPPED] = trapped, [TASK_FAILED] = failed, [TASK_TICKED] = ticked,
	};
	uint32_t cr3;

	asm volatile("movl %%cr3, %0" : "=r"(cr3));
	for (int i = 0; i < TASKS; i++) {
		tasks_tss[i] = (struct tss32){
			.cr3 = cr3, .eip = (uint32_t)entries[i], .eflags = 0x202,
			.esp = (uint32_t)stacks[i] + sizeof(stacks[i]),
			.es = 0x10, .cs = 0x30, .ss = 0x10, .ds = 0x10, .fs = 0x10, .gs = 0x10,
			.io_map = sizeof(struct tss32),
		};
		visits[i] = 0;
	}
	tasks_tss[TASK_TICKED].eflags = 2;
	tasks_tss[TASK_FAILED].eflags = 2;
}

uint32_t tasks_main(uint32_t seed);
uint32_t tasks_main(uint32_t seed)
{
	uint32_t flags, cr0;

	prepare();
	asm volatile("ltr %w0" : : "r"(TASK_SELECTOR(TASK_MAIN)));
	sum = seed;
	for (pass = 0; pass < 120; pass++) {
		asm volatile("sti");
		SWITCH("ljmp", TASK_JUMPED);
		SWITCH("lcall", TASK_CALLED);
		asm volatile("int %0" : : "i"(TASK_VECTOR) : "memory");
		asm volatile("ud2" : : : "memory");
		for (int i = TASK_JUMPED; i < TASK_TICKED; i++)
			tasks_spoiled += visits[i] && (tasks_tss[i].eflags & ARITHMETIC) != EQUAL;
		sum = work(sum, 40);
		asm volatile("pushfl; popl %0" : "=r"(flags));
		asm volatile("movl %%cr0, %0" : "=r"(cr0));
		sum = mix32(sum, (flags & 0x14300) | (cr0 & 8));
		asm volatile("clts");
	}
	asm volatile("cli");
	for (int i = 0; i < TASK_TICKED; i++)
		sum = mix32(sum, visits[i]);
	return sum;
}
