// SPDX-License-Identifier: GPL-2.0
/*
 * Loops without any exit and without an end, of one instruction, of two, of
 * many: each is left only by an interrupt that changes the saved RIP. What a
 * loop did and where it was left must fit together. times=N for each loop;
 * conditional=1 leaves out the loops without a conditional branch.
 */
#include "tort.h"

/* What a loop works on, and what its registers held when it was left. */
struct state {
	uint64_t rax, rcx, rdx, rsi, rdi;
	uint64_t memory[4];
};

struct loop {
	const char *name;
	void (*enter)(struct state *s);
	char *begin, *end, *out;
	int conditional;
	/* 0: registers and memory agree with @rip being the next instruction */
	uint64_t (*wrong)(const struct state *s, uint64_t rip);
};

static const struct loop *now;
static volatile uint64_t left_at;
static volatile unsigned long outside;
uint64_t stack;

/*
 * A loop is everything between the labels; it may use RAX, RCX, RDX, RSI, RDI,
 * the stack, and memory at RBX.
 */
#define LOOP(label, body)							\
extern char label##_begin[], label##_end[], label##_out[];			\
static void __attribute__((noinline, noclone)) label(struct state *s)		\
{										\
	asm volatile("mov %%rsp, stack(%%rip)\n" #label "_begin:\n\t" body "\n"	\
		     #label "_end:\n\tud2\n"					\
		     #label "_out:\n\tcld"					\
		     : "+a"(s->rax), "+c"(s->rcx), "+d"(s->rdx), "+S"(s->rsi), "+D"(s->rdi) \
		     : "b"(s->memory) : "memory", "cc");			\
}

LOOP(self, "jmp .")
LOOP(two, "inc %%rax; jmp two_begin")
LOOP(three, "nop; inc %%rax; jmp three_begin")
LOOP(memory, "incq (%%rbx); jmp memory_begin")
LOOP(both, "inc %%rax; incq (%%rbx); jmp both_begin")
LOOP(taken, "cmp %%eax, %%eax; 1: jz 1b; ud2")
LOOP(count, "1: dec %%rcx; jnz 1b; jmp 1b")
LOOP(loops, "1: loop 1b; jmp 1b")
LOOP(jrcxz, "xor %%ecx, %%ecx; 1: jrcxz 1b; ud2")
LOOP(call, "call 2f; jmp call_begin; 2: inc %%rax; ret")
LOOP(indirect, "lea 1f(%%rip), %%rdx; 1: inc %%rax; jmp *%%rdx")
LOOP(far_jump, "movl $far_jump_begin, (%%rbx); movw $8, 4(%%rbx); inc %%rax; ljmp *(%%rbx)")
LOOP(pause_, "pause; inc %%rax; jmp pause__begin")
LOOP(flags, "pushfq; popfq; stc; rcl $1, %%rdx; jmp flags_begin")
LOOP(open_, "cli; inc %%rax; sti; inc %%rcx; jmp open__begin")
LOOP(narrow, "cli; inc %%rax; incq (%%rbx); sti; nop; jmp narrow_begin")
LOOP(shadow, "mov %%ss, %%edx; 1: mov %%edx, %%ss; inc %%rax; jmp 1b")
LOOP(shadows, "mov %%ss, %%edx; 1: mov %%edx, %%ss; mov %%edx, %%ss; nop; jmp 1b")
LOOP(none, "1: xor %%ecx, %%ecx; rep movsb; jmp 1b")
LOOP(string, "1: mov $16, %%ecx; lea 16(%%rbx), %%rdi; rep stosb; inc %%rdx; jmp 1b")
LOOP(bare_string, "1: mov $16, %%ecx; lea 16(%%rbx), %%rdi; repe scasb; jmp 1b")
LOOP(iret, "1: mov %%rsp, %%rdx; mov %%ss, %%ecx; pushq %%rcx; pushq %%rdx; pushfq;"
	   "pushq $8; pushq $1b; inc %%rax; iretq")
LOOP(xchg, "xchg %%rax, (%%rbx); xchg %%rax, (%%rbx); lock incq 8(%%rbx); jmp xchg_begin")
LOOP(many, "1:\n.rept 300\nlea 3(%%rax), %%rax; incq (%%rbx)\n.endr\njmp 1b")
LOOP(branchy, "1:\n.rept 100\nadd $0x3251, %%eax; js 2f; incq (%%rbx)\n2:\n.endr\njmp 1b")

static uint64_t wrong_both(const struct state *s, uint64_t rip)
{
	/* INC RAX is three bytes: between the two RAX is ahead */
	return s->rax - s->memory[0] != (rip == (uint64_t)both_begin + 3);
}

static uint64_t wrong_open(const struct state *s, uint64_t rip)
{
	(void)rip;
	/* interrupts get in behind STI's shadow only */
	return s->rax != s->rcx;
}

static uint64_t wrong_narrow(const struct state *s, uint64_t rip)
{
	(void)rip;
	return s->rax != s->memory[0];
}

static uint64_t wrong_shadow(const struct state *s, uint64_t rip)
{
	(void)s;
	/* never between MOV SS and the instruction behind it */
	return (*(const uint32_t *)rip & 0xffffff) == 0xc0ff48;
}

static uint64_t wrong_many(const struct state *s, uint64_t rip)
{
	/* LEA is four bytes, INC three, the jump behind 300 of both */
	uint64_t offset = (rip - (uint64_t)many_begin) % 7;
	uint64_t per_memory = s->memory[0] * 3;

	return s->rax != per_memory + (offset == 4 ? 3 : 0);
}

static uint64_t wrong_xchg(const struct state *s, uint64_t rip)
{
	(void)rip;
	return (s->rax ^ s->memory[0]) != (1 ^ 2);
}

#define ENTRY(label, conditional, wrong)					\
	{ #label, label, label##_begin, label##_end, label##_out, conditional, wrong }

static const struct loop table[] = {
	ENTRY(self, 0, NULL),
	ENTRY(two, 0, NULL),
	ENTRY(three, 0, NULL),
	ENTRY(memory, 0, NULL),
	ENTRY(both, 0, wrong_both),
	ENTRY(taken, 1, NULL),
	ENTRY(count, 1, NULL),
	ENTRY(loops, 1, NULL),
	ENTRY(jrcxz, 1, NULL),
	ENTRY(call, 0, NULL),
	ENTRY(indirect, 0, NULL),
	ENTRY(far_jump, 0, NULL),
	ENTRY(pause_, 0, NULL),
	ENTRY(flags, 0, NULL),
	ENTRY(open_, 0, wrong_open),
	ENTRY(narrow, 0, wrong_narrow),
	ENTRY(shadow, 0, wrong_shadow),
	ENTRY(shadows, 0, NULL),
	ENTRY(none, 0, NULL),
	ENTRY(string, 0, NULL),
	ENTRY(bare_string, 0, NULL),
	ENTRY(iret, 0, NULL),
	ENTRY(xchg, 0, wrong_xchg),
	ENTRY(many, 0, wrong_many),
	ENTRY(branchy, 1, NULL),
};
#define LOOPS	(sizeof(table) / sizeof(table[0]))

static void leave(struct frame *f)
{
	if (f->rip < (uint64_t)now->begin || f->rip >= (uint64_t)now->end) {
		outside++;
		return;
	}
	left_at = f->rip;
	f->rip = (uint64_t)now->out;
	f->rsp = stack;		/* without what it had pushed */
}

static void run(const struct loop *l)
{
	struct state s = { .rsi = (uint64_t)&s.memory[2],
			   .rdi = (uint64_t)&s.memory[2] };

	if (l->enter == xchg) {
		s.rax = 1;
		s.memory[0] = 2;
	}
	now = l;
	left_at = 0;
	sti();
	l->enter(&s);
	cli();
	if (!left_at)
		tort_bad(l->name, 0, 1);
	if (l->wrong && l->wrong(&s, left_at))
		tort_bad(l->name, s.rax, s.memory[0]);
	fire_digest = mix_words(fire_digest, &s, 5);
	fire_digest = mix_words(fire_digest, s.memory, 4);
	fire_fold(left_at);
}

int guest(void)
{
	unsigned long times = rt_option("times", 5), only = rt_option("conditional", 0);

	tort_start("freeloop");
	fire_start(leave);
	for (unsigned long t = 0; t < times; t++) {
		for (unsigned int i = 0; i < LOOPS; i++)
			if (!only || table[i].conditional)
				run(&table[i]);
		printf("freeloop: time %lu: ticks %lu digest %016lx\n", t, fire_ticks,
		       fire_digest);
		tort_say("all loops left", t);
	}
	printf("freeloop: time %lu of %lu ticks hit no loop\n", outside, fire_ticks);
	return tort_end();
}
