// SPDX-License-Identifier: GPL-2.0
/*
 * Task switches of protected mode: by far jump, by far call and IRET, through task
 * gates by INT n, by an exception and by the timer; without paging and with both
 * kinds of 32-bit paging. times=N in a round.
 */
#include "tort.h"
#include "mode.h"
#include "tasks.h"

#define TIMER_TASK_VECTOR	0x42

extern const char tasks_main[];
extern struct tss32 tasks_tss[TASKS];
extern uint32_t tasks_spoiled;

static uint64_t round(unsigned long nr)
{
	unsigned long times = rt_option("times", 6);
	uint64_t h = nr;

	cli();
	for (unsigned long i = 0; i < times; i++) {
		for (int t = 0; t < TASKS; t++)
			cpu_gdt[SEL_FREE / 8 + t] =
				(sizeof(struct tss32) - 1) | 0x89ull << 40 |
				((uint64_t)&tasks_tss[t] & 0xffffff) << 16;
		/* the timer's interrupts: by an interrupt gate, or by a task gate */
		lapic_write(LAPIC_LVTT, i & 1 ? TIMER_TASK_VECTOR : FIRE_VECTOR);
		fire_next();
		h = mix(h, mode_protected(tasks_main, tort_random(), i % PAGINGS));
		cpu_task_register();
		lapic_write(LAPIC_LVTT, FIRE_VECTOR);
		fire_next();
	}
	if (tasks_spoiled)
		tort_bad("arithmetic flags spoiled by task switches", tasks_spoiled, 0);
	return h;
}

static void on_late(struct frame *f)
{
	(void)f;
	lapic_eoi();
}

int guest(void)
{
	tort_start("tasks");
	mode_gate32(TASK_VECTOR, TASK_SELECTOR(TASK_TRAPPED), NULL, 0xe5);
	mode_gate32(6, TASK_SELECTOR(TASK_FAILED), NULL, 0x85);
	mode_gate32(TIMER_TASK_VECTOR, TASK_SELECTOR(TASK_TICKED), NULL, 0x85);
	rt_on(TIMER_TASK_VECTOR, on_late);
	fire_start(NULL);
	tort_rounds(round, 6, 60);
	return tort_end();
}
