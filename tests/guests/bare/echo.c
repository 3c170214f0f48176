// SPDX-License-Identifier: GPL-2.0
/*
 * Echoes lines typed at COM1, with a digest of where the interrupts hit.
 * "poll" reads the next line by polling instead, "busy" computes instead of
 * halting from then on, "quit" ends.
 */
#include "rt.h"

#define VECTOR	0x44
#define IRQ	4

static volatile unsigned int head, tail;
static volatile char ring[256];
static volatile uint64_t digest;
static unsigned long interrupts;

static void on_serial(struct frame *f)
{
	uint64_t h = digest;

	h = rt_hash(h, f, offsetof(struct frame, vector));
	digest = rt_hash(h, &f->rip, sizeof(f->rip));
	interrupts++;
	while (inb(COM1 + 5) & 1)
		ring[head++ & 255] = inb(COM1);
	inb(COM1 + 2);
	lapic_eoi();
}

static int get_by_interrupt(int busy)
{
	static uint64_t work;

	while (head == tail) {
		if (!busy) {
			sti_hlt();
			continue;
		}
		sti();
		for (int i = 0; i < 2000 && head == tail; i++)
			work = work * 6364136223846793005 + 1442695040888963407;
		cli();
	}
	return ring[tail++ & 255];
}

static int get_by_polling(void)
{
	while (!(inb(COM1 + 5) & 1))
		;
	return inb(COM1);
}

static void get_line(char *line, size_t size, int polling, int busy)
{
	size_t n = 0;

	for (;;) {
		int c = polling ? get_by_polling() : get_by_interrupt(busy);

		if (c == '\n' || c == '\r')
			break;
		if (n < size - 1)
			line[n++] = c;
	}
	line[n] = 0;
}

int guest(void)
{
	int polling = 0, busy = 0;
	char line[200];

	rt_apic_on();
	rt_on(VECTOR, on_serial);
	ioapic_route(IRQ, VECTOR);
	outb(COM1 + 2, 0x07);		/* FIFO on, empty, an interrupt per byte */
	outb(COM1 + 4, 0x0b);		/* DTR, RTS, OUT2: the interrupt line is open */
	outb(COM1 + 1, 0x01);		/* interrupt on received data */
	puts("echo: type");
	for (int n = 1; ; n++) {
		get_line(line, sizeof(line), polling, busy);
		printf("echo: %d \"%s\" by %s, %lu interrupts, digest %016lx\n", n, line,
		       polling ? "polling" : busy ? "interrupt, busy" : "interrupt, halted",
		       interrupts, digest);
		if (polling)
			outb(COM1 + 1, 0x01);
		polling = 0;
		if (!memcmp(line, "poll", 5)) {
			outb(COM1 + 1, 0x00);
			polling = 1;
		} else if (!memcmp(line, "busy", 5)) {
			busy = 1;
		} else if (!memcmp(line, "quit", 5)) {
			break;
		}
	}
	puts("echo: done");
	return 0;
}
