// SPDX-License-Identifier: GPL-2.0
/*
 * PUSHF, POPF, INT n, INT3, IRET, SYSCALL and SYSRET, again and again: whoever
 * stops the guest at one of them must leave no trace in the flags that they
 * save. The flags of all images are ORed and ANDed; "leak" is what was set in
 * one and should not be, or the other way round. times=N of each in a round.
 * And behind BT and its like, which leave some undefined.
 */
#include "tort.h"

#define ARITHMETIC	0x8d5ul
#define VECTOR		0x80

struct seen {
	uint64_t ored, anded;
};

static uint64_t leak, lack;

/* Handlers that only look: R8 and R9 are the caller's sums. */
void flags_soft(void);
void flags_syscall(void);
asm(".pushsection .text\n"
    ".balign 16\n"
    "flags_soft:\n\t"
    "or 16(%rsp), %r8\n\tand 16(%rsp), %r9\n\tiretq\n"
    "flags_syscall:\n\t"
    "or %r11, %r8\n\tand %r11, %r9\n\tsysretq\n"
    ".popsection");

static void judge(const struct seen *s, uint64_t want)
{
	leak |= s->ored & ~want;
	lack |= want & ~s->anded;
}

/* Set some flags, then do it count times; it may change none of them. */
#define FORM(name, insns)							\
static struct seen __attribute__((noinline)) name(uint64_t flags, uint64_t count)	\
{										\
	struct seen s;								\
										\
	asm volatile("xor %%r8d, %%r8d; mov $-1, %%r9; mov %3, %%rcx;"		\
		     "pushq %2; popfq\n"					\
		     "1:\t" insns "\n\tlea -1(%%rcx), %%rcx; jrcxz 2f; jmp 1b\n"	\
		     "2:\tmov %%r8, %0; mov %%r9, %1; cld"			\
		     : "=r"(s.ored), "=r"(s.anded) : "r"(flags), "r"(count)	\
		     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc"); \
	return s;								\
}

/* Look at RAX without changing a flag that counts: PUSHF again at the end. */
#define LOOK(reg)	"mov %%" reg ", %%rdx; mov %%" reg ", %%r10;"		\
			"pushfq; or %%rdx, %%r8; and %%r10, %%r9; popfq;"

FORM(pushf, "pushfq; popq %%rax;" LOOK("rax"))
FORM(pushf_short, "pushfq; popq %%rax; pushfw; movzwl (%%rsp), %%edx; popfw; mov %%dx, %%ax;"
		  LOOK("rax"))
FORM(popf, "pushfq; popq %%rax; pushq %%rax; popfq; pushq %%rax; popfq;" LOOK("rax"))
FORM(soft, "pushfq; int $0x80; popfq")
FORM(breakpoint, "pushfq; int3; popfq")
FORM(iret, "mov %%rsp, %%rdx; mov %%ss, %%ebx; pushq %%rbx; pushq %%rdx; pushfq;"
	   "pushq $8; pushq $3f; iretq; 3: pushfq; popq %%rax;" LOOK("rax"))
/* PUSHF where one lands that comes from IRET */
FORM(iret_pushf, "3: mov %%rsp, %%rdx; mov %%ss, %%ebx; pushq %%rbx; pushq %%rdx; pushfq;"
		 "pushq $8; pushq $4f; iretq; nop; nop; 4: pushfq; popq %%rax;" LOOK("rax"))

/*
 * The flags that these leave undefined are to be the same on both replicas: the sums go into the
 * digest, and are not judged. Of what a subtraction makes of them the emulator knows more where it
 * has just translated one.
 */
FORM(bt, "xor %%eax, %%eax; sub $1, %%eax; bt $3, %%eax; pushfq; popq %%rax;" LOOK("rax"))
FORM(bts, "mov $0x10, %%eax; sub $1, %%eax; bts %%eax, %%eax; pushfq; popq %%rax;" LOOK("rax"))
FORM(btr, "mov $0x10, %%eax; sub $1, %%eax; btr $2, %%eax; pushfq; popq %%rax;" LOOK("rax"))
FORM(btc, "mov $0x10, %%eax; sub $1, %%eax; btc $7, %%eax; pushfq; popq %%rax;" LOOK("rax"))

struct user {
	struct seen seen;
	uint64_t flags, count;
};

static uint64_t in_user(uint64_t arg)
{
	struct user *u = (struct user *)arg;

	asm volatile("xor %%r8d, %%r8d; mov $-1, %%r9; mov %3, %%rbx;"
		     "pushq %2; popfq\n"
		     "1:\tpushfq; syscall; popfq\n\t"
		     "pushfq; popq %%rax;" LOOK("rax")
		     "lea -1(%%rbx), %%rbx; mov %%rbx, %%rcx; jrcxz 2f; jmp 1b\n"
		     "2:\tmov %%r8, %0; mov %%r9, %1; cld"
		     : "=m"(u->seen.ored), "=m"(u->seen.anded) : "r"(u->flags), "r"(u->count)
		     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
	return 0;
}

static uint64_t round(unsigned long nr)
{
	static struct seen (*const forms[])(uint64_t, uint64_t) = {
		pushf, pushf_short, popf, soft, breakpoint, iret, iret_pushf
	};
	static struct seen (*const undefined[])(uint64_t, uint64_t) = { bt, bts, btr, btc };
	unsigned long times = rt_option("times", 16000);
	struct user u;
	uint64_t h = nr;

	for (unsigned int i = 0; i <= sizeof(forms) / sizeof(forms[0]); i++) {
		for (int k = 0; k < 10; k++) {
			uint64_t want = (tort_random() & ARITHMETIC) | EFLAGS_IF | 2;
			struct seen s;

			if (tort_below(2))
				want |= EFLAGS_DF;
			if (tort_below(2))
				want |= EFLAGS_ID;
			if (i < sizeof(forms) / sizeof(forms[0])) {
				s = forms[i](want, times / 10);
			} else {
				u.flags = want;
				u.count = times / 10;
				cpu_user(in_user, (uint64_t)&u);
				s = u.seen;
			}
			judge(&s, want);
			h = mix(mix(h, s.ored), s.anded);
		}
	}
	for (unsigned int i = 0; i < sizeof(undefined) / sizeof(undefined[0]); i++) {
		struct seen s = undefined[i](EFLAGS_IF | 2, times / 10);

		h = mix(mix(h, s.ored), s.anded);
	}
	return h;
}

int guest(void)
{
	tort_start("flags");
	cpu_user_pages();
	rt_entry(VECTOR, flags_soft);
	rt_entry(3, flags_soft);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
	wrmsr(MSR_STAR, (uint64_t)SEL_CODE32_USER << 48 | (uint64_t)SEL_CODE << 32);
	wrmsr(MSR_LSTAR, (uint64_t)flags_syscall);
	wrmsr(MSR_SFMASK, EFLAGS_IF | EFLAGS_TF | EFLAGS_DF);
	fire_start(NULL);
	tort_rounds(round, 5, 60);
	tort_say("leak", leak);
	tort_say("lack", lack);
	if (leak || lack)
		tort_bad("saved flags", leak, lack);
	return tort_end();
}
