// SPDX-License-Identifier: GPL-2.0
/*
 * The guest resets itself while interrupts come: how=triple (no IDT), double (a fault
 * in the handler of a double fault, which had a stack of its own, after it was left
 * unharmed a few times), real (no vector table in real mode), cf9, keyboard, port92,
 * off (ACPI). Nothing may run behind it.
 */
#include "tort.h"
#include "mode.h"

static uint8_t stack[4096] __attribute__((aligned(16)));
static volatile unsigned int doubles, left;
static volatile uint64_t go_on;

static int is(const char *how)
{
	const char *p = rt_command_line;
	size_t n = strlen(how);

	for (; *p; p++)
		if (!memcmp(p, "how=", 4))
			return !memcmp(p + 4, how, n) && (!p[4 + n] || p[4 + n] == ' ');
	return 0;
}

static void no_idt(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0, 0 };

	asm volatile("lidt %0; ud2" : : "m"(none));
}

static void on_double(struct frame *f)
{
	doubles++;
	if (!left)
		no_idt();
	left--;
	f->rip = go_on;
	f->cs = SEL_CODE;
	f->ss = SEL_DATA;
}

/* The stack is nowhere, so the #UD can't be delivered. */
static void __attribute__((noinline)) fail(void)
{
	uint64_t kept;

	asm volatile("mov %%rsp, %1; movq $1f, %0; mov %2, %%rsp; ud2\n"
		     "1:\tmov %1, %%rsp" : "=m"(go_on), "=&r"(kept) : "r"(0x8000000000001000)
		     : "memory");
}

/* Real mode without vectors: INT n triple-faults as its table's limit is zero. */
extern const char reset_real[], reset_real_end[];
asm(".pushsection .rodata\n.code16\n"
    "reset_real:\tlidtl 0x410\n\tint3\n\tjmp .\n"
    ".org reset_real + 16\n\t.word 0\n\t.long 0\n"
    "reset_real_end:\n.code64\n.popsection");

static uint64_t round(unsigned long nr)
{
	uint64_t h = nr;

	for (unsigned int i = 0; i < 100000; i++)
		h = mix(h, i);
	if (is("double")) {
		cli();		/* an interrupt would double-fault, too */
		left = 3;
		for (unsigned int i = 0; i < 3; i++)
			fail();
		h = mix(h, doubles & 3);
		doubles = 0;
		sti();
	}
	return h;
}

int guest(void)
{
	tort_start("reset");
	cpu_stack(1, stack + sizeof(stack));
	rt_gate(8, 0, 1, 0);
	rt_on(8, on_double);
	fire_start(NULL);
	tort_rounds(round, 3, 20);
	tort_end();
	if (is("triple"))
		no_idt();
	if (is("double")) {
		left = 0;
		fail();
	}
	if (is("real")) {
		mode_real_load(reset_real, reset_real_end);
		mode_real(0);
	}
	if (is("cf9"))
		outb(0xcf9, 6);
	if (is("keyboard"))
		outb(0x64, 0xfe);
	if (is("port92"))
		outb(0x92, 1);
	if (is("off")) {
		outw(0x604, 0x2000);
		/* QEMU ends when it gets round to it */
		for (;;)
			asm volatile("cli; hlt");
	}
	/* the reset may take a moment, but not as long as this */
	for (unsigned int i = 0; i < 1000; i++)
		inb(0x80);
	puts("reset: BAD there is something behind it");
	return TORT_BAD;
}
