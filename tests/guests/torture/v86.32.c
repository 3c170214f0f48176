// SPDX-License-Identifier: GPL-2.0
/*
 * A monitor of virtual-8086 mode: with IOPL 0 it does what is not allowed there,
 * with IOPL 3 only INT n. 32-bit code.
 */
#include "mode.h"

#define VM	0x20000u
#define TF	0x100u
#define IF	0x200u
#define LEAVE	0x51
#define SELECTOR_TSS	0x58

struct {
	uint32_t link, esp0, ss0, unused[22];
	uint16_t trap, io_map;
	uint8_t redirection[32], bitmap[0x2000 + 1];
} __attribute__((packed)) v86_tss;

void v86_enter(uint32_t eflags, uint32_t cs, uint32_t ip, uint32_t sp);
void v86_leave(void) __attribute__((noreturn));

static uint8_t stack[4096] __attribute__((aligned(16)));
static uint32_t emulated, virtual_if, odd;

static uint8_t *linear(uint32_t segment, uint32_t offset)
{
	return (uint8_t *)(segment << 4) + (uint16_t)offset;
}

static void push(struct frame32 *f, uint16_t v)
{
	f->esp = (uint16_t)(f->esp - 2);
	*(uint16_t *)linear(f->ss, f->esp) = v;
}

static uint16_t pop(struct frame32 *f)
{
	uint16_t v = *(uint16_t *)linear(f->ss, f->esp);

	f->esp = (uint16_t)(f->esp + 2);
	return v;
}

static void soft(struct frame32 *f, uint32_t vector)
{
	volatile uint16_t *table = (volatile uint16_t *)(4 * vector);

	asm("" : "+r"(table));
	push(f, (f->eflags & ~(VM | IF)) | (virtual_if ? IF : 0));
	push(f, f->cs);
	push(f, f->eip);
	virtual_if = 0;
	f->eip = table[0];
	f->cs = table[1];
}

static void load_flags(struct frame32 *f, uint16_t v)
{
	virtual_if = !!(v & IF);
	f->eflags = (f->eflags & 0xffff0000) | (v & ~0x3000) | IF;
}

static void on_protection(struct frame32 *f)
{
	const uint8_t *code;

	if (!(f->eflags & VM)) {
		mode_on32[13] = 0;	/* a crash, then */
		asm volatile("int $13");
	}
	emulated++;
	odd |= f->eflags & TF;
	code = linear(f->cs, f->eip);
	f->eip = (uint16_t)(f->eip + 1);
	f->eflags &= ~0x10000;
	switch (*code) {
	case 0xfa:
		virtual_if = 0;
		break;
	case 0xfb:
		virtual_if = 1;
		break;
	case 0x9c:
		push(f, (f->eflags & ~IF) | (virtual_if ? IF : 0));
		break;
	case 0x9d:
		load_flags(f, pop(f));
		break;
	case 0xcd:
		f->eip = (uint16_t)(f->eip + 1);
		if (code[1] == LEAVE)
			v86_leave();
		soft(f, code[1]);
		break;
	case 0xcf:
		f->eip = pop(f);
		f->cs = pop(f);
		load_flags(f, pop(f));
		break;
	case 0xec:
		f->eax = (f->eax & ~0xff) | 0x5a;	/* a port that the bitmap denies */
		break;
	default:
		odd |= 0x80000000 | *code;
		v86_leave();
	}
}

static void on_leave(struct frame32 *f)
{
	(void)f;
	v86_leave();
}

/* With IOPL 3 INT n goes through the table of protected mode. */
static void on_soft(struct frame32 *f)
{
	odd |= f->eflags & 0x10100;
	virtual_if = 1;
	soft(f, f->vector);
}

/* seed: its lowest bit is the choice of IOPL */
uint32_t v86_main(uint32_t seed);
uint32_t v86_main(uint32_t seed)
{
	uint32_t iopl = seed & 1 ? 3 : 0;

	for (unsigned int i = 0; i < sizeof(v86_tss.bitmap); i++)
		v86_tss.bitmap[i] = 0xff;
	v86_tss.bitmap[0x3ff / 8] &= ~(1 << (0x3ff % 8));
	v86_tss.esp0 = (uint32_t)stack + sizeof(stack);
	v86_tss.ss0 = 0x10;
	v86_tss.io_map = (uint32_t)&v86_tss.bitmap - (uint32_t)&v86_tss;
	asm volatile("ltr %w0" : : "r"(SELECTOR_TSS));
	mode_on32[13] = on_protection;
	mode_on32[LEAVE] = on_leave;
	mode_on32[0x70] = on_soft;
	emulated = odd = 0;
	virtual_if = 1;
	v86_enter(VM | IF | iopl << 12 | 2, REAL_SEGMENT, REAL_MAIN, REAL_STACK);
	asm volatile("cli");
	return mix32(emulated, odd);
}
