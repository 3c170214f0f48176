// SPDX-License-Identifier: GPL-2.0
/* Interrupts of protected mode. 32-bit code. */
#include "mode.h"

#define FIRE_VECTOR	0x40

void (*mode_on32[256])(struct frame32 *);
struct mode_fire mode_fire;

void mode_lapic_write(uint32_t reg, uint32_t value)
{
	if (mode_fire.x2apic)
		asm volatile("wrmsr" : : "c"(0x800 + reg / 16), "a"(value), "d"(0) : "memory");
	else
		*(volatile uint32_t *)(0xfee00000 + reg) = value;
}

static int at_string(const struct frame32 *f)
{
	const uint8_t *code = (const uint8_t *)f->eip;

	if (f->eflags & 0x20000)
		code += f->cs << 4;
	else if (f->cs != 0x30)
		return 1;	/* segments with a base: not looked into */
	while (*code == 0xf2 || *code == 0xf3 || *code == 0x66 || *code == 0x67)
		code++;
	return (*code >= 0x6c && *code <= 0x6f) || (*code >= 0xa4 && *code <= 0xa7) ||
	       (*code >= 0xaa && *code <= 0xaf);
}

void mode_fire_next(void)
{
	mode_fire.random = mode_fire.random * 1664525 + 1013904223;
	mode_lapic_write(0x380, (mode_fire.least << (mode_fire.random >> 30)) +
			 (mode_fire.random >> 12 & 0x3fff));
}

static void tick(struct frame32 *f)
{
	uint32_t h = mode_fire.digest;
	const uint32_t *p = &f->edi;

	for (int i = 0; i < 8; i++)
		if (i != 3)	/* ESP as PUSHA saw it */
			h = mix32(h, p[i]);
	h = mix32(mix32(h, f->eip), f->eflags);
	mode_fire.digest = mix32(h, f->cs);
	mode_fire.ticks++;
	mode_fire.ring3 += (f->cs & 3) == 3 || (f->eflags & 0x20000);
	mode_fire.rf += (f->eflags & 0x10000) && !at_string(f);
	mode_lapic_write(0xb0, 0);
	if (mode_on32[FIRE_VECTOR])
		mode_on32[FIRE_VECTOR](f);
	if (mode_fire.firing)
		mode_fire_next();
}

static void text(const char *s)
{
	for (; *s; s++) {
		while (!(inb(0x3f8 + 5) & 0x20))
			;
		outb(0x3f8, *s);
	}
}

static void number(const char *name, uint32_t v)
{
	char digit[2] = "";

	text(name);
	for (int shift = 28; shift >= 0; shift -= 4) {
		digit[0] = "0123456789abcdef"[v >> shift & 15];
		text(digit);
	}
}

void mode_interrupt32(struct frame32 *f);
void mode_interrupt32(struct frame32 *f)
{
	if (f->vector == FIRE_VECTOR) {
		tick(f);
	} else if (mode_on32[f->vector]) {
		mode_on32[f->vector](f);
	} else if (f->vector != 0xff) {
		number("CRASH in protected mode: vector ", f->vector);
		number(" error ", f->error);
		number(" eip ", f->eip);
		number(" cs ", f->cs);
		number(" eflags ", f->eflags);
		text("\r\n");
		outb(0xf4, 0x3f);
		for (;;)
			asm volatile("cli; hlt");
	}
}
