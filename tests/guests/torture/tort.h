/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the torture guests share. Each of them does one nasty thing again and
 * again while timer interrupts hit it at pseudo-random short intervals.
 *
 * Lines "NAME: time ..." depend on when interrupts came: two replicas must print
 * the same ones, an unpaired run other ones. All other lines, and the last one,
 * "NAME: sum ...", must be the same on any run. "NAME: BAD ..." is something
 * that no machine may show; the guest then ends with status TORT_BAD.
 *
 * Options of all: seed=N; ticks=N interrupts at least; rounds=N; least=NS and
 * most=NS between two interrupts; enough=N of them before they become rare.
 */
#ifndef TORT_H
#define TORT_H

#include "../bare/rt.h"

#define TORT_BAD	2

/* tort.c */
void tort_start(const char *name);
int tort_end(void);
void tort_say(const char *what, uint64_t value);
void tort_note(const char *what);
void tort_sum(uint64_t value);
void tort_bad(const char *what, uint64_t got, uint64_t want);
void tort_seed(uint64_t stream);
uint64_t tort_random(void);
uint64_t tort_below(uint64_t limit);
void tort_fill(void *at, size_t len);
void tort_rounds(uint64_t (*round)(unsigned long nr), unsigned long rounds,
		 unsigned long ticks);

static inline uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15;
	return h ^ h >> 29;
}

uint64_t mix_words(uint64_t h, const void *at, size_t words);

/* fire.c: the interrupts */
#define FIRE_VECTOR	0x40

extern volatile unsigned long fire_ticks;	/* so far */
extern volatile uint64_t fire_digest;		/* of where each one hit, and what it saw */
extern unsigned long fire_in_string;		/* so many came at a string instruction */
extern int fire_tf_allowed;			/* the guest single-steps itself */
extern int fire_rf_allowed;			/* the guest returns to where it had a fault */

void fire_start(void (*hook)(struct frame *));
void fire_stop(void);
void fire_fold(uint64_t value);
void fire_next(void);
void fire_arm(unsigned long ns);
unsigned long fire_interval(void);
unsigned long fire_shortest(void);
void fire_check_flags(const struct frame *f, const char *bad_tf, const char *bad_rf);
void fire_odd_rf(void);

/* cpu.c: descriptors, ring 3, pages of 4 KiB */
enum {
	SEL_CODE = 0x08, SEL_DATA = 0x10,	/* as start.S has them */
	SEL_CODE32_USER = 0x1b, SEL_DATA_USER = 0x23, SEL_CODE_USER = 0x2b,
	SEL_CODE32 = 0x30, SEL_CODE16 = 0x38, SEL_DATA16 = 0x40,
	SEL_TSS = 0x48,				/* and 0x50 */
	SEL_FREE = 0x58, GDT_ENTRIES = 32,
};

#define PTE_P	1ull
#define PTE_W	2ull
#define PTE_U	4ull
#define PTE_A	0x20ull
#define PTE_D	0x40ull
#define PTE_PS	0x80ull
#define PTE_NX	(1ull << 63)

#define EFLAGS_CF	0x1ul
#define EFLAGS_ZF	0x40ul
#define EFLAGS_TF	0x100ul
#define EFLAGS_IF	0x200ul
#define EFLAGS_DF	0x400ul
#define EFLAGS_NT	0x4000ul
#define EFLAGS_RF	0x10000ul
#define EFLAGS_AC	0x40000ul
#define EFLAGS_ID	0x200000ul

#define MSR_EFER	0xc0000080
#define MSR_STAR	0xc0000081
#define MSR_LSTAR	0xc0000082
#define MSR_CSTAR	0xc0000083
#define MSR_SFMASK	0xc0000084

extern uint64_t cpu_gdt[GDT_ENTRIES];

void cpu_tables(void);
void cpu_task_register(void);
void cpu_stack(int ist, void *top);		/* ist 0: that of ring 3's interrupts */
uint64_t *cpu_pte(uint64_t address);
void cpu_user_pages(void);
uint64_t cpu_user(uint64_t (*fn)(uint64_t), uint64_t arg);
uint32_t cpu_user32(const char *fn, uint32_t arg);
uint64_t cpu_segment(uint32_t base, unsigned int access, unsigned int flags);

static inline uint64_t read_flags(void)
{
	uint64_t v;

	asm volatile("pushfq; popq %0" : "=r"(v) : : "memory");
	return v;
}

static inline void write_flags(uint64_t v)
{
	asm volatile("pushq %0; popfq" : : "r"(v) : "memory", "cc");
}

static inline void invlpg(uint64_t address)
{
	asm volatile("invlpg (%0)" : : "r"(address) : "memory");
}

#define CONTROL(reg)								\
static inline uint64_t read_##reg(void)						\
{ uint64_t v; asm volatile("mov %%" #reg ", %0" : "=r"(v) : : "memory"); return v; }	\
static inline void write_##reg(uint64_t v)					\
{ asm volatile("mov %0, %%" #reg : : "r"(v) : "memory"); }
CONTROL(cr0)
CONTROL(cr2)
CONTROL(cr3)
CONTROL(cr4)
CONTROL(cr8)
CONTROL(dr0)
CONTROL(dr1)
CONTROL(dr2)
CONTROL(dr3)
CONTROL(dr6)
CONTROL(dr7)

#endif
