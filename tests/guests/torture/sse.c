// SPDX-License-Identifier: GPL-2.0
/*
 * All vector and x87 registers in use across epoch ends: XMM0-15, YMM0-15 if
 * there is AVX, MXCSR with every rounding mode, the x87 stack at every depth.
 * Each interrupt folds the FXSAVE image that it finds into the digest and
 * overwrites the registers before it puts them back. passes=N in a round.
 */
#include "tort.h"

struct image {
	uint8_t bytes[512 + 64 + 256 + 64];
} __attribute__((aligned(64)));

static struct image found;
static uint64_t vectors[16][4] __attribute__((aligned(64)));
static int avx;

static void save(struct image *i)
{
	if (avx)
		asm volatile("xsave64 (%0)" : : "r"(i), "a"(7), "d"(0) : "memory");
	else
		asm volatile("fxsave64 (%0)" : : "r"(i) : "memory");
}

static void restore(struct image *i)
{
	if (avx)
		asm volatile("xrstor64 (%0)" : : "r"(i), "a"(7), "d"(0) : "memory");
	else
		asm volatile("fxrstor64 (%0)" : : "r"(i) : "memory");
}

/* x87 (with FCW, FSW, FTW) and XMM registers; not the places of the last x87 instruction. */
static uint64_t mix_image(uint64_t h, const struct image *i)
{
	const uint64_t *p = (const uint64_t *)i->bytes;

	h = mix(h, p[0] & 0xffffffffff);
	h = mix(h, p[3]);
	h = mix_words(h, p + 4, 2 * 24);
	return avx ? mix_words(h, p + 72, 32) : h;
}

static void on_tick(struct frame *f)
{
	(void)f;
	save(&found);
	fire_fold(mix_image(avx ? *(uint64_t *)(found.bytes + 512) : 0, &found));
	asm volatile("fninit; fldpi; fld1; fldpi; pcmpeqb %xmm0, %xmm0; movdqa %xmm0, %xmm1;"
		     "movdqa %xmm0, %xmm2; movdqa %xmm0, %xmm7; movdqa %xmm0, %xmm8;"
		     "movdqa %xmm0, %xmm14; movdqa %xmm0, %xmm15");
	if (avx)
		asm volatile("vzeroall");
	restore(&found);
}

#define EACH(f)	f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) \
		f(14) f(15)
#define PAIRS(f) f(0, 1) f(2, 3) f(4, 5) f(6, 7) f(8, 9) f(10, 11) f(12, 13) f(14, 15)	\
		 f(1, 2) f(3, 4) f(5, 6) f(7, 8) f(9, 10) f(11, 12) f(13, 14) f(15, 0)
#define LOAD(n)		"movdqa 32*" #n "(%1), %%xmm" #n "\n\t"
#define STORE(n)	"movdqa %%xmm" #n ", 32*" #n "(%1)\n\t"
#define VLOAD(n)	"vmovdqa 32*" #n "(%1), %%ymm" #n "\n\t"
#define VSTORE(n)	"vmovdqa %%ymm" #n ", 32*" #n "(%1)\n\t"
#define INT(a, b)	"paddq %%xmm" #a ", %%xmm" #b "\n\tpshufd $0x39, %%xmm" #b	\
			", %%xmm" #b "\n\tpxor %%xmm" #b ", %%xmm" #a "\n\t"
#define REAL(a, b)	"mulps %%xmm" #a ", %%xmm" #b "\n\tsubps %%xmm" #b ", %%xmm" #a "\n\t"
#define WIDE(a, b)	"vaddps %%ymm" #a ", %%ymm" #b ", %%ymm" #b "\n\tvxorps %%ymm" #b	\
			", %%ymm" #a ", %%ymm" #a "\n\t"

#define LOOP(name, load, step, store)						\
static void name(uint64_t passes)						\
{										\
	asm volatile(EACH(load) "1:\t" PAIRS(step) "dec %0; jnz 1b\n\t" EACH(store)	\
		     : "+r"(passes) : "r"(vectors) : "memory", "cc");		\
}
LOOP(integers, LOAD, INT, STORE)
LOOP(reals, LOAD, REAL, STORE)
LOOP(wide, VLOAD, WIDE, VSTORE)

/* The x87 stack, filled to some depth, with a rounding and a precision. */
static uint64_t x87(uint64_t depth, uint64_t passes)
{
	static const uint16_t precisions[] = { 0x000, 0x200, 0x300 };
	uint16_t control = 0x7f | tort_below(4) << 10 | precisions[tort_below(3)];
	uint16_t status;
	struct { uint8_t bytes[16]; } out = { { 0 } };
	int32_t seven = 7;
	uint64_t h = control;

	asm volatile("fninit; fldcw %0; fldpi" : : "m"(control));
	for (uint64_t i = 0; i < depth; i++)
		asm volatile("fld %%st; fimull %0; fsqrt" : : "m"(seven));
	asm volatile("1: fld1; fadd %%st(1), %%st; fxch; fdivp; fld1; faddp; fsqrt;"
		     "fincstp; fdecstp; dec %0; jnz 1b" : "+r"(passes) : : "cc");
	for (uint64_t i = 0; i <= depth; i++) {
		asm volatile("fnstsw %1; fstpt %0" : "+m"(out), "=m"(status));
		h = mix(mix_words(h, &out, 2), status);
	}
	return h;
}

/* Operands that are neither tiny nor huge. */
static void fill_reals(void)
{
	uint32_t *p = (uint32_t *)vectors;

	for (size_t i = 0; i < sizeof(vectors) / 4; i++)
		p[i] = (tort_random() & 0x807fffff) | 0x3e800000 | tort_below(3) << 23;
}

static uint64_t round(unsigned long nr)
{
	unsigned long passes = rt_option("passes", 1000);
	uint64_t h = nr;

	for (unsigned int i = 0; i < 24; i++) {
		uint32_t mxcsr = 0x1f80 | tort_below(4) << 13 | tort_below(2) << 15;

		asm volatile("ldmxcsr %0" : : "m"(mxcsr));
		tort_fill(vectors, sizeof(vectors));
		integers(passes);
		h = mix_words(h, vectors, 64);
		fill_reals();
		reals(passes / 2);
		h = mix_words(h, vectors, 64);
		if (avx) {
			fill_reals();
			wide(passes / 2);
			h = mix_words(h, vectors, 64);
		}
		asm volatile("stmxcsr %0" : "=m"(mxcsr));
		h = mix(h, mxcsr);
		h = mix(h, x87(tort_below(7), passes));
	}
	return h;
}

int guest(void)
{
	uint32_t r[4];

	tort_start("sse");
	cpuid(1, 0, r);
	avx = r[2] >> 28 & 1;
	if (avx) {
		write_cr4(read_cr4() | 0x40000);
		asm volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
	}
	tort_say("avx", avx);
	fire_start(on_tick);
	tort_rounds(round, 6, 60);
	return tort_end();
}
