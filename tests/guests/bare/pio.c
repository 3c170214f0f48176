// SPDX-License-Identifier: GPL-2.0
/*
 * Port reads and writes of every size and form: single, string with and
 * without repeat, backwards, into a buffer that crosses a page. What was read
 * goes into the hash that is printed. rounds=N (20).
 */
#include "rt.h"

#define CMOS	0x70
#define FW_CFG	0x510		/* selector, data at + 1 */
#define PCI	0xcf8		/* address, data at + 4 */
#define PM	0x608		/* ACPI timer of machine "pc" */

static uint8_t buffer[3 * 4096] __attribute__((aligned(4096)));

#define STRING_IN(size, type)							\
static void ins##size(uint16_t port, void *to, size_t count)			\
{ asm volatile("rep ins" #size : "+D"(to), "+c"(count) : "d"(port) : "memory"); }\
static void outs##size(uint16_t port, const void *from, size_t count)		\
{ asm volatile("rep outs" #size : "+S"(from), "+c"(count) : "d"(port) : "memory"); }
STRING_IN(b, uint8_t)
STRING_IN(w, uint16_t)
STRING_IN(l, uint32_t)

static uint8_t cmos(uint8_t index)
{
	outb(CMOS, index);
	return inb(CMOS + 1);
}

static uint64_t single(uint64_t h)
{
	uint32_t v;

	for (int i = 0; i < 16; i++) {
		v = cmos(i);		/* the clock is among them */
		h = rt_hash(h, &v, 1);
	}
	for (uint32_t slot = 0; slot < 4; slot++) {
		outl(PCI, 0x80000000 | slot << 11);
		v = inl(PCI + 4);
		h = rt_hash(h, &v, 4);
		v = inw(PCI + 6);
		h = rt_hash(h, &v, 2);
		v = inb(PCI + 5);
		h = rt_hash(h, &v, 1);
	}
	v = inl(PM);
	h = rt_hash(h, &v, 4);
	v = inw(COM1 + 5);		/* two registers in one read */
	return rt_hash(h, &v, 2);
}

static uint64_t strings(uint64_t h)
{
	void *to = buffer + 4096 - 100, *back = buffer + 4096 + 63;
	size_t count = 64;

	outw(FW_CFG, 0x19);		/* the directory of files */
	insb(FW_CFG + 1, to, 200);
	h = rt_hash(h, to, 200);
	outl(PCI, 0x80000000);
	insw(PCI + 4, to, 99);
	h = rt_hash(h, to, 198);
	insl(PCI + 4, to, 49);
	h = rt_hash(h, to, 196);
	insl(PM, to, 30);
	h = rt_hash(h, to, 120);

	outw(FW_CFG, 0x19);
	asm volatile("std; rep insb; cld" : "+D"(back), "+c"(count)
		     : "d"((uint16_t)(FW_CFG + 1)) : "memory");
	h = rt_hash(h, buffer + 4096, 64);

	outw(FW_CFG, 0);		/* the signature, byte by byte */
	back = to;
	for (int i = 0; i < 4; i++)
		asm volatile("insb" : "+D"(back) : "d"((uint16_t)(FW_CFG + 1)) : "memory");
	h = rt_hash(h, to, 4);
	insb(COM1 + 5, to, 0);		/* none at all */
	return h;
}

int guest(void)
{
	static const char text[] = "pio: this line is one string instruction\r\n";
	unsigned long rounds = rt_option("rounds", 20);
	uint64_t h = 0;

	for (unsigned long i = 1; i <= rounds; i++) {
		h = single(h);
		h = strings(h);
		printf("pio: %lu hash %016lx\n", i, h);
	}
	outsb(COM1, text, sizeof(text) - 1);
	outsw(0x80, buffer + 4095, 20);
	outsl(0x80, buffer + 4094, 10);
	puts("pio: done");
	return 0;
}
