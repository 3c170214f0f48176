// SPDX-License-Identifier: GPL-2.0
/*
 * System instructions, among arithmetic: SMSW, LMSW, CLTS, MOV to and from CR0, CR3,
 * CR4, CR8; SGDT, SIDT, SLDT, STR, LGDT, LIDT, LLDT; WBINVD, INVD, INVLPG; VERR, LAR,
 * LSL; SWAPGS and the bases of segments; XGETBV; FAR calls, jumps and returns; IRET to
 * the same place; LOOP and JRCXZ, PAUSE, LOCKed loops, accesses across pages; the
 * stores of SGDT and the like in ring 3. times=N in a round.
 */
#include "tort.h"

static uint8_t area[2 * 4096] __attribute__((aligned(4096)));
static volatile uint64_t skip_to, faults;

struct pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static void on_protection(struct frame *f)
{
	faults++;
	f->rip = skip_to;
}

static uint64_t control(uint64_t h)
{
	uint64_t cr0 = read_cr0(), v;
	uint16_t w;

	asm volatile("smsw %0" : "=r"(v));
	h = mix(h, (uint16_t)v);
	asm volatile("smsw %0" : "=m"(w));
	h = mix(h, w);
	asm volatile("lmsw %w0; clts" : : "r"((uint16_t)(w | 8)));
	write_cr0(cr0 ^ 0x10000);		/* WP */
	h = mix(h, read_cr0());
	write_cr0(cr0);
	write_cr3(read_cr3());
	write_cr4(read_cr4() ^ 4);		/* TSD */
	h = mix(h, read_cr4());
	write_cr4(read_cr4() ^ 4);
	write_cr8(3);
	h = mix(h, read_cr8());
	write_cr8(0);
	return mix(h, read_cr2());
}

static uint64_t tables(uint64_t h)
{
	struct pointer gdt, idt;
	uint64_t v = 0;
	uint16_t w;

	asm volatile("sgdt %0; sidt %1" : "=m"(gdt), "=m"(idt));
	h = mix(mix(mix(mix(h, gdt.limit), gdt.base), idt.limit), idt.base);
	asm volatile("lgdt %0; lidt %1" : : "m"(gdt), "m"(idt));
	asm volatile("sldt %0; str %1" : "=m"(w), "+r"(v));
	h = mix(mix(h, w), (uint16_t)v);
	asm volatile("lldt %w0" : : "r"(0));
	asm volatile("xor %0, %0; lar %w1, %k0; jz 1f; xor %0, %0\n1:" : "+r"(v) : "r"(SEL_CODE)
		     : "cc");
	h = mix(h, v);
	asm volatile("xor %0, %0; lsl %w1, %k0; jz 1f; xor %0, %0\n1:" : "+r"(v) : "r"(SEL_DATA)
		     : "cc");
	h = mix(h, v);
	asm volatile("verr %w1; setz %b0; verw %w1; setz %h0" : "+a"(v) : "r"(SEL_CODE) : "cc");
	return mix(h, v);
}

static uint64_t caches(uint64_t h)
{
	asm volatile("wbinvd; clflush %0" : : "m"(area));
	asm volatile("prefetcht0 %0; sfence; lfence; mfence" : : "m"(area));
	invlpg((uint64_t)area);
	/* what is not written back may be lost: nothing must be, here */
	asm volatile("wbinvd; invd");
	return mix(h, 1);
}

static uint64_t segments(uint64_t h, uint64_t x)
{
	uint64_t gs;

	x >>= 20;
	wrmsr(0xc0000101, x);
	wrmsr(0xc0000102, x + 8);
	asm volatile("swapgs");
	h = mix(h, rdmsr(0xc0000101));
	asm volatile("mov %%gs, %k0; mov %k0, %%gs; swapgs" : "=r"(gs));
	h = mix(h, rdmsr(0xc0000101) + gs);
	wrmsr(0xc0000100, (uint64_t)area);
	asm volatile("mov %%fs:64, %0; lock addq $3, %%fs:72" : "=r"(x) : : "memory", "cc");
	wrmsr(0xc0000101, 0);
	wrmsr(0xc0000102, 0);
	return mix(h, x);
}

/* None of these exits. */
static uint64_t plain(uint64_t x)
{
	static uint64_t far;
	uint64_t v = x, n = 100, low = 0, high = 0, *cross = (uint64_t *)(area + 4093);

	asm volatile("1:\tlock xadd %0, %2; pause; rol $7, %0; xchg %0, %2\n\t"
		     "lock btsq $5, %2; adc $3, %0; bswap %0; loop 1b"
		     : "+r"(v), "+c"(n), "+m"(*cross) : : "cc");
	asm volatile("mov $50, %%ecx\n1:\tjrcxz 2f; lea -1(%%rcx), %%rcx; add %%rcx, %0; jmp 1b\n2:"
		     : "+r"(v) : : "rcx", "cc");
	asm volatile("mov $40, %%ecx\n1:\tadd $77, %0; loopne 1b\n\tmov $40, %%ecx\n"
		     "1:\tcmp %%rcx, %%rcx; loope 1b" : "+r"(v) : : "rcx", "cc");
	/* far calls, jumps and returns; IRET to the next instruction */
	asm volatile("mov $20, %%ecx\n"
		     "1:\tpushq $8; pushq $2f; lretq\n"
		     "2:\tmov %%rsp, %%rdx; mov %%ss, %%eax; pushq %%rax; pushq %%rdx; pushfq;"
		     "pushq $8; pushq $3f; iretq\n"
		     "3:\tmovl $5f, %1; movw $8, 4+%1; lcall *%1; jmp 6f\n"
		     "5:\tinc %0; lretl\n"
		     "6:\tdec %%ecx; jnz 1b"
		     : "+r"(v), "=m"(far) : : "rax", "rcx", "rdx", "memory", "cc");
	asm volatile("cmpxchg16b %0" : "+m"(*(struct { uint64_t v[2]; } *)area), "+a"(low),
		     "+d"(high) : "b"(v), "c"(x) : "cc");
	v = mix(v, low + high);
	asm volatile("movdqu %1, %%xmm0; movdqu %%xmm0, %0"
		     : "=m"(*(uint8_t (*)[16])(area + 4090))
		     : "m"(*(uint8_t (*)[16])(area + 4085)));
	return mix(v, *cross);
}

/* SGDT and the like in ring 3: allowed, as long as there is no UMIP. */
static uint64_t in_user(uint64_t h)
{
	struct pointer p = { 0, 0 };
	uint64_t v = 0;

	asm volatile("movq $1f, %0; sgdt %1\n1:" : "=m"(skip_to), "=m"(p));
	h = mix(mix(h, p.limit), p.base);
	asm volatile("movq $1f, %0; sidt %1\n1:" : "=m"(skip_to), "=m"(p));
	h = mix(h, p.base);
	asm volatile("movq $1f, %0; smsw %1\n1:" : "=m"(skip_to), "+r"(v));
	h = mix(h, (uint16_t)v);
	asm volatile("movq $1f, %0; str %1\n1:" : "=m"(skip_to), "+r"(v));
	h = mix(h, (uint16_t)v);
	asm volatile("movq $1f, %0; invlpg (%%rsp)\n1:" : "=m"(skip_to));
	asm volatile("movq $1f, %0; wbinvd\n1:" : "=m"(skip_to));
	asm volatile("movq $1f, %0; rdmsr\n1:" : "=m"(skip_to) : : "rax", "rdx");
	asm volatile("movq $1f, %0; lgdt %1\n1:" : "=m"(skip_to) : "m"(p));
	return h;
}

static uint64_t round(unsigned long nr)
{
	unsigned long times = rt_option("times", 24);
	uint32_t r[4];
	uint64_t h = nr;

	faults = 0;
	memset(area, nr, sizeof(area));
	cpuid(7, 0, r);
	for (unsigned long i = 0; i < times; i++) {
		uint64_t x = tort_random();

		h = control(h);
		h = tables(h);
		if (i % 6 == 0)
			h = caches(h);
		h = segments(h, x);
		for (int k = 0; k < 30; k++)
			h = mix(h, plain(x + k));
		/* with UMIP, if there is, every other time */
		if ((r[2] >> 2 & 1) && (i & 1))
			write_cr4(read_cr4() | 0x800);
		h = mix(h, cpu_user(in_user, x));
		if (r[2] >> 2 & 1)
			write_cr4(read_cr4() & ~0x800ul);
	}
	return mix(mix_words(h, area, sizeof(area) / 8), faults);
}

int guest(void)
{
	tort_start("system");
	fire_rf_allowed = 1;
	cpu_user_pages();
	rt_on(13, on_protection);
	fire_start(NULL);
	tort_rounds(round, 5, 60);
	return tort_end();
}
