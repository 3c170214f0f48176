// SPDX-License-Identifier: GPL-2.0
/* What compatibility mode has and 64-bit mode has not. 32-bit code. */
#include "mode.h"

uint32_t compat_far(uint32_t selector, uint32_t base, uint32_t (*fn)(uint32_t), uint32_t arg);
uint32_t compat_far16(uint32_t selector, uint32_t arg);
uint32_t compat_near(uint32_t seed);
uint32_t compat_based(uint32_t seed);
uint32_t compat_small(uint32_t seed);
uint32_t compat_system(uint32_t seed);

/* Selectors, bases: compat.c fills them in. */
uint32_t compat_selectors[3], compat_base;

uint8_t compat_bytes[512];

static uint32_t work(uint32_t x)
{
	uint32_t h = x, n, flags;
	void *to = compat_bytes, *from = compat_bytes + 200;

	for (uint32_t i = 0; i < 400; i++) {
		h = mix32(h, i);
		if (h & 1)
			h += h << 5;
		else if (h & 2)
			h ^= h >> 7;
		compat_bytes[h % sizeof(compat_bytes)] = h >> 24;
	}
	asm volatile("pushal; addl $5, 28(%%esp); popal" : "+a"(h) : : "memory", "cc");
	asm volatile("aaa; daa; aam; aad; das; aas; .byte 0xd6" : "+a"(h) : : "cc");
	n = h % 100;
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	n = 70;
	to = compat_bytes + 300;
	asm volatile("std; rep stosl; cld" : "+D"(to), "+c"(n) : "a"(h) : "memory");
	n = 300;
	to = compat_bytes;
	asm volatile("repne scasb; pushfl; popl %2" : "+D"(to), "+c"(n), "=r"(flags) : "a"(h)
		     : "cc");
	return mix32(h, n + (flags & 0x8d5));
}

uint32_t compat_near(uint32_t seed)
{
	static const int32_t bounds[2] = { -5, 1000000 };
	uint32_t h = work(seed), flags;

	for (uint32_t i = 0; i < 60; i++) {
		/* overflow, or not; out of bounds, or not: handlers count them */
		asm volatile("addl %1, %0; into" : "+r"(h) : "r"(h) : "cc");
		asm volatile("boundl %0, %1; nop" : : "r"(i * 40000), "m"(bounds));
		asm volatile("int3");
		/* shadows of POP SS and MOV SS */
		asm volatile("pushl %%ss; popl %%ss; incl %0; movl %%ss, %%eax; movl %%eax, %%ss;"
			     "incl %0" : "+r"(h) : : "eax", "cc");
		asm volatile("cli; incl %0; sti; incl %0; pushfl; popl %1" : "+r"(h), "=r"(flags)
			     : : "cc");
		if (flags & 0x10100)
			h = 0xdeadbeef;
		asm volatile("pushl %%ds; popl %%es; pushl %%cs; pushl $1f; lret; 1:"
			     : : : "memory");
		asm volatile("pushfl; pushl %%cs; pushl $1f; iretl; 1:" : : : "memory", "cc");
	}
	return h;
}

/* In segments with a base, one of them small. */
uint32_t compat_based(uint32_t seed)
{
	uint32_t h = seed;

	for (int i = 0; i < 8; i++)
		h = compat_far(compat_selectors[i & 1], i & 1 ? 2 * compat_base : compat_base,
			       work, h);
	return h;
}

uint32_t compat_small(uint32_t seed)
{
	uint32_t h = seed;

	for (int i = 0; i < 12; i++)
		h = mix32(h, compat_far16(compat_selectors[2], h));
	return h;
}

/* In ring 3: what is left of it there. */
uint32_t compat_system(uint32_t seed)
{
	uint32_t h = work(seed), flags;

	for (int i = 0; i < 40; i++) {
		asm volatile("pushfl; popl %0; pushl %0; popfl; cmpl %0, %1; into"
			     : "=&r"(flags) : "r"(h) : "memory", "cc");
		h = mix32(h, flags & 0x10300);
		asm volatile("int3; pushl %%ss; popl %%ss; incl %0" : "+r"(h) : : "cc");
	}
	return h;
}
