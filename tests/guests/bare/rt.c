// SPDX-License-Identifier: GPL-2.0
/* Start, end, interrupts, and what the compiler expects of a C library. */
#include "rt.h"

struct gate {
	uint16_t low, selector, flags, mid;
	uint32_t high, zero;
} __attribute__((packed));

extern uint32_t boot_magic, boot_info;
extern char isr_stubs[];

static char command_line[512];
const char *rt_command_line = command_line;
static struct gate idt[256] __attribute__((aligned(16)));
static void (*handlers[256])(struct frame *);

void rt_exit(int value)
{
	outl(EXIT_PORT, value);
	printf("no isa-debug-exit device: halting\n");
	for (;;)
		asm volatile("cli; hlt");
}

void rt_on(int vector, void (*handler)(struct frame *))
{
	handlers[vector] = handler;
}

/* Change a gate: who may use it by INT, on which stack, with interrupts on (trap). */
void rt_gate(int vector, unsigned int dpl, unsigned int ist, int trap)
{
	idt[vector].flags = (trap ? 0x8f00 : 0x8e00) | dpl << 13 | ist;
}

/* Let a vector go to code of its own, which ends with IRETQ. */
void rt_entry(int vector, void *code)
{
	uint64_t at = (uint64_t)code;

	idt[vector].low = at;
	idt[vector].mid = at >> 16;
	idt[vector].high = at >> 32;
}

void rt_interrupt(struct frame *f);
void rt_interrupt(struct frame *f)
{
	if (handlers[f->vector]) {
		handlers[f->vector](f);
		return;
	}
	if (f->vector == 0xff)	/* spurious */
		return;
	printf("CRASH vector=%lu error=%lx rip=%lx rsp=%lx rflags=%lx\n",
	       f->vector, f->error, f->rip, f->rsp, f->rflags);
	rt_exit(RT_CRASHED);
}

/* Value of "name=number" in the command line (-append). */
unsigned long rt_option(const char *name, unsigned long otherwise)
{
	size_t n = strlen(name);

	for (const char *p = rt_command_line; *p; p++) {
		unsigned long v = 0;

		if ((p != rt_command_line && p[-1] != ' ') || memcmp(p, name, n) || p[n] != '=')
			continue;
		for (p += n + 1; *p >= '0' && *p <= '9'; p++)
			v = v * 10 + (*p - '0');
		return v;
	}
	return otherwise;
}

/* FNV-1a with a final mix: not for secrets, for seeing that two runs differ. */
uint64_t rt_hash(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	h ^= 0xcbf29ce484222325;
	while (len--)
		h = (h ^ *p++) * 0x100000001b3;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93;
	return h ^ h >> 32;
}

/* Where the loader put it a guest may put something else. */
static void keep_command_line(const char *from)
{
	for (size_t i = 0; i < sizeof(command_line) - 1 && from[i]; i++)
		command_line[i] = from[i];
}

void rt_main(void);
void rt_main(void)
{
	static struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, 0 };

	for (int i = 0; i < 256; i++) {
		idt[i] = (struct gate){ .selector = 8, .flags = 0x8e00 };
		rt_entry(i, isr_stubs + i * 16);
	}
	pointer.base = (uint64_t)idt;
	asm volatile("lidt %0" : : "m"(pointer));

	if (boot_magic == 0x2badb002) {
		const uint32_t *info = (void *)(uint64_t)boot_info;

		if (info[0] & 4)
			keep_command_line((void *)(uint64_t)info[4]);
	} else if (*(const uint32_t *)(uint64_t)boot_info == 0x336ec578) {	/* PVH */
		const uint64_t *info = (void *)(uint64_t)boot_info;

		if (info[3])
			keep_command_line((void *)info[3]);
	}
	/* The PIC, if there is one, stays silent. */
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	rt_exit(guest());
}

void *memset(void *to, int c, size_t len)
{
	void *p = to;

	asm volatile("rep stosb" : "+D"(p), "+c"(len) : "a"(c) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t len)
{
	void *p = to;

	asm volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(len) : : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *p = a, *q = b;

	for (; len; len--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}
