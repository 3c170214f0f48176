// SPDX-License-Identifier: GPL-2.0
/* Printing to COM1, by polling. */
#include "rt.h"

#define FIFO	16

static char line[FIFO];
static unsigned int in_line;
static int by_line;

/* From now on few exits for a line: its parts go out by string instructions. */
void print_by_line(void)
{
	outb(COM1 + 2, 1);	/* the transmitter has a FIFO now */
	by_line = 1;
}

static void flush(void)
{
	const char *from = line;
	size_t count = in_line;

	while (!(inb(COM1 + 5) & 0x20))
		;
	asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(COM1) : "memory");
	in_line = 0;
}

int putchar(int c)
{
	if (c == '\n')
		putchar('\r');
	if (by_line) {
		line[in_line++] = c;
		if (c == '\n' || in_line == FIFO)
			flush();
		return c;
	}
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, c);
	return c;
}

static void put(const char *s)
{
	while (*s)
		putchar(*s++);
}

int puts(const char *s)
{
	put(s);
	putchar('\n');
	return 0;
}

static void number(unsigned long v, unsigned int base, int width, char pad, int minus)
{
	char buf[24], *p = buf + sizeof(buf);

	*--p = 0;
	do {
		*--p = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	if (minus)
		*--p = '-';
	for (int n = buf + sizeof(buf) - 1 - p; n < width; n++)
		putchar(pad);
	put(p);
}

/* %d %u %x %c %s %%, with l, zero padding and width. */
int printf(const char *f, ...)
{
	va_list ap;

	va_start(ap, f);
	for (; *f; f++) {
		int width = 0, wide = 0;
		char pad = ' ';
		long v;

		if (*f != '%') {
			putchar(*f);
			continue;
		}
		if (*++f == '0')
			pad = '0';
		while (*f >= '0' && *f <= '9')
			width = width * 10 + *f++ - '0';
		while (*f == 'l') {
			wide = 1;
			f++;
		}
		switch (*f) {
		case 'd':
			v = wide ? va_arg(ap, long) : va_arg(ap, int);
			number(v < 0 ? -v : v, 10, width, pad, v < 0);
			break;
		case 'u':
		case 'x':
			number(wide ? va_arg(ap, unsigned long) : va_arg(ap, unsigned int),
			       *f == 'x' ? 16 : 10, width, pad, 0);
			break;
		case 'c':
			putchar(va_arg(ap, int));
			break;
		case 's':
			put(va_arg(ap, const char *));
			break;
		default:
			putchar(*f);
		}
	}
	va_end(ap);
	return 0;
}
