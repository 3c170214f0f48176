// SPDX-License-Identifier: GPL-2.0
/*
 * Exceptions of every kind at places where an epoch may end: #DE, #BP, #UD, #NM,
 * #NP, #SS, #GP, #PF (for reading, writing, fetching), #MF, #XM, #AC in ring 3.
 * Handlers skip the instruction or mend its cause and try again. What they find
 * - vector, error code, RIP, RSP, CR2 - does not depend on time.
 * ops=N exceptions in a round.
 */
#include "tort.h"

static volatile uint64_t digest, skip_to;
static volatile unsigned long taken, retried;
static uint8_t pages[2 * 4096] __attribute__((aligned(4096)));
static uint8_t hole[4096] __attribute__((aligned(4096)));
static uint8_t code_page[4096] __attribute__((aligned(4096)));
static uint64_t *page_pte, *code_pte;

#define page	(pages + 4096)

#define NOWHERE	0x8000000000001234ul	/* not canonical */

static void note(const struct frame *f)
{
	uint64_t h = digest;

	h = mix(mix(h, f->vector), f->error);
	h = mix(mix(h, f->rip), f->rsp);
	h = mix(h, f->rflags & ~(EFLAGS_RF | 0x8d5));
	digest = mix(h, f->cs);
	/* RF too: whether it is pushed is the CPU's affair */
	fire_fold(mix_words(f->rflags, f, offsetof(struct frame, vector) / 8));
	taken++;
	if (f->rflags & EFLAGS_TF)
		tort_bad("TF in an exception's frame", f->rflags, 0);
}

static void on_fault(struct frame *f)
{
	note(f);
	f->rip = skip_to;
}

static void on_trap(struct frame *f)
{
	note(f);
	if (f->rflags & EFLAGS_RF)
		tort_bad("RF in a trap's frame", f->rflags, 0);
}

/* The device is not available: make it, and try again. */
static void on_nm(struct frame *f)
{
	note(f);
	asm volatile("clts");
	retried++;
}

static void on_page_fault(struct frame *f)
{
	uint64_t at = read_cr2();

	note(f);
	digest = mix(digest, at);
	if (f->error & 0x10) {		/* a fetch: code_pte says whether it may be mended */
		if (*code_pte & PTE_W) {
			f->rip = skip_to;
			return;
		}
		*code_pte |= PTE_P;
		*code_pte &= ~PTE_NX;
		invlpg((uint64_t)code_page);
		retried++;
		return;
	}
	if (at - (uint64_t)page >= 4096) {
		f->rip = skip_to;
		return;
	}
	*page_pte |= PTE_P | PTE_W;
	invlpg(at);
	retried++;
}

/* An instruction, or several, with the place behind them to go on at. */
#define TRY(insns, ...)								\
	asm volatile("movq $9f, %0\n\t" insns "\n9:\t"				\
		     : "=m"(skip_to) : __VA_ARGS__ : "rax", "rcx", "rdx", "memory", "cc")

static void divide(void)
{
	if (tort_below(2))
		TRY("xor %%ecx, %%ecx; mov $77, %%eax; cltd; div %%ecx", "m"(pages));
	else
		TRY("mov $-1, %%rdx; mov $1, %%ecx; mov $5, %%eax; div %%rcx", "m"(pages));
}

static void breakpoint(void) { asm volatile("int3"); }
/* ICEBP: a #DB that is neither a breakpoint's nor a step's; #UD in QEMU 7.2's TCG */
static void icebp(void) { TRY(".byte 0xf1", "m"(pages)); }
static void undefined(void) { TRY("ud2", "m"(pages)); }

static void not_available(void)
{
	write_cr0(read_cr0() | 8);
	TRY("movd %%xmm0, %%eax", "m"(pages));
	write_cr0(read_cr0() | 8);
	TRY("fnop", "m"(pages));
}

static void not_present(void)
{
	TRY("mov %0, %%eax; mov %%eax, %%fs", "i"(SEL_FREE));
}

static void stack(void)
{
	TRY("push %%rbp; mov %1, %%rbp; incl (%%rbp)\n9:\tpop %%rbp", "r"(NOWHERE));
}

static void protection(void)
{
	switch (tort_below(5)) {
	case 0:
		TRY("mov (%1), %%rax", "r"(NOWHERE));
		break;
	case 1:
		TRY("mov $0xfff8, %%eax; mov %%eax, %%fs", "m"(pages));
		break;
	case 2:
		TRY("lidt (%1)", "r"(NOWHERE));
		break;
	case 3:
		/* it faults at its target, or at itself: as the CPU likes */
		TRY("mov %%rsp, %%rcx; pushq %1; ret\n9:\tmov %%rcx, %%rsp", "r"(NOWHERE));
		break;
	default:
		TRY("movdqa 1(%1), %%xmm0", "r"(page));
	}
}

static void read_page(void)
{
	*page_pte &= ~PTE_P;
	invlpg((uint64_t)page);
	digest = mix(digest, *(volatile uint64_t *)(page + tort_below(4088)));
}

static void write_page(void)
{
	*page_pte &= ~PTE_W;
	invlpg((uint64_t)page);
	*(volatile uint64_t *)(page + tort_below(4088)) = tort_random();
}

static void string_page(void)
{
	void *to = page - 40, *from = page + 1000;
	size_t count = 90;

	*page_pte &= ~PTE_P;
	invlpg((uint64_t)page);
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void no_page(void)
{
	TRY("incl (%1)", "r"(hole));
}

/* Code that is not there, or may not be executed; then it may. */
static void fetch(void)
{
	if (tort_below(2))
		*code_pte &= ~(PTE_P | PTE_W);
	else
		*code_pte = (*code_pte | PTE_NX) & ~PTE_W;
	invlpg((uint64_t)code_page);
	asm volatile("call *%0" : : "r"(code_page + 64 * tort_below(60)) : "rax", "memory", "cc");
}

/* Into the middle of nowhere, and not mended. */
static void fetch_nothing(void)
{
	*code_pte = (*code_pte & ~PTE_P) | PTE_W;
	invlpg((uint64_t)code_page);
	TRY("jmp *%1", "r"(code_page + 16));
}

static void x87(void)
{
	static const uint16_t unmasked = 0x37b;

	TRY("fninit; fldcw %1; fld1; fldz; fdivrp; fwait; fninit\n9: fnclex; fninit",
	    "m"(unmasked));
}

static void sse(void)
{
	static const uint32_t unmasked = 0x1d80, usual = 0x1f80;
	static const float zero;

	TRY("ldmxcsr %1; xorps %%xmm1, %%xmm1; movss %2, %%xmm0; divss %%xmm1, %%xmm0",
	    "m"(unmasked), "m"(zero));
	asm volatile("ldmxcsr %0" : : "m"(usual));
}

static uint64_t misaligned(uint64_t arg)
{
	(void)arg;
	write_flags(read_flags() | EFLAGS_AC);
	TRY("mov 3(%1), %%eax", "r"(page));
	write_flags(read_flags() & ~EFLAGS_AC);
	/* what ring 3 may not do */
	TRY("cli", "m"(pages));
	TRY("hlt", "m"(pages));
	TRY("mov %%cr0, %%rax", "m"(pages));
	return 0;
}

static void alignment(void)
{
	*page_pte |= PTE_P | PTE_W;
	cpu_user(misaligned, 0);
}

static void (*const kinds[])(void) = {
	divide, breakpoint, icebp, undefined, not_available, not_present, stack,
	protection, protection,
	read_page, write_page, string_page, no_page, fetch, fetch_nothing, x87, sse, alignment,
};

/* Exceptions within an interrupt's handler, too. */
static void in_handler(struct frame *f)
{
	uint64_t kept = digest, where = skip_to;
	unsigned long count = taken;

	(void)f;
	if (fire_ticks & 1) {
		breakpoint();
		icebp();
		undefined();
		fire_fold(digest);
	}
	digest = kept;
	skip_to = where;
	taken = count;
}

static uint64_t round(unsigned long nr)
{
	unsigned long ops = rt_option("ops", 1200);

	digest = nr;
	taken = 0;
	memset(pages, nr + 1, sizeof(pages));
	for (unsigned long i = 0; i < ops; i++) {
		kinds[tort_below(sizeof(kinds) / sizeof(kinds[0]))]();
		for (unsigned int k = tort_below(40); k; k--)
			digest = mix(digest, k);
	}
	return mix(mix_words(digest, pages, sizeof(pages) / 8), taken);
}

int guest(void)
{
	static const int faults[] = { 0, 6, 11, 12, 13, 16, 17, 19 };

	tort_start("except");
	fire_rf_allowed = 1;
	page_pte = cpu_pte((uint64_t)page);
	code_pte = cpu_pte((uint64_t)code_page);
	cpu_user_pages();
	*cpu_pte((uint64_t)hole) &= ~PTE_P;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 0x800);	/* NX */
	write_cr0(read_cr0() | 0x50020);		/* WP, AM, NE */
	cpu_gdt[SEL_FREE / 8] = 0x00cf13000000ffff;	/* data, not present */
	memset(code_page, 0x90, sizeof(code_page));
	code_page[4095] = 0xc3;
	for (unsigned int i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		rt_on(faults[i], on_fault);
	rt_on(1, on_trap);
	rt_on(3, on_trap);
	rt_on(7, on_nm);
	rt_on(14, on_page_fault);
	fire_start(in_handler);
	tort_rounds(round, 6, 60);
	return tort_end();
}
