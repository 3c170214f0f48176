/* SPDX-License-Identifier: GPL-2.0 */
/* The tasks of tasks.c; both kinds of code know them. */
#ifndef TASKS_H
#define TASKS_H

enum {
	TASK_MAIN, TASK_JUMPED, TASK_CALLED, TASK_INNER, TASK_TRAPPED, TASK_FAILED,
	TASK_TICKED, TASKS
};

#define TASK_SELECTOR(task)	(0x58 + 8 * (task))
#define TASK_VECTOR		0x60

struct tss32 {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3;
	uint32_t eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint32_t es, cs, ss, ds, fs, gs, ldt;
	uint16_t trap, io_map;
};

#endif
