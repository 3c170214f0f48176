/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Leaving 64-bit mode: for compatibility mode, for protected mode without
 * paging or with the paging of 32 bits, for real mode. Shared by 64-bit and
 * 32-bit code, so everything has the same layout in both.
 */
#ifndef MODE_H
#define MODE_H

#include <stdint.h>

/* What an interrupt in protected mode found; from esp on only if it came from ring 3. */
struct frame32 {
	uint32_t es, ds;
	uint32_t edi, esi, ebp, unused, ebx, edx, ecx, eax;
	uint32_t vector, error, eip, cs, eflags, esp, ss;
	uint32_t v86_es, v86_ds, v86_fs, v86_gs;
};

/* The interrupts' state while the guest is not in 64-bit mode; 16-bit code has it, too. */
struct mode_fire {
	uint32_t x2apic, ticks, digest, random, least, firing, ring3, rf;
};

enum mode_paging { PAGING_OFF, PAGING_PAE, PAGING_32, PAGINGS };

#define REAL_SEGMENT	0x2000		/* where real mode code is put */
#define REAL_BASE	(REAL_SEGMENT << 4)
#define REAL_MAIN	0x400		/* the guest's part */
#define REAL_STACK	0xfff0
#define REAL_FIRE	0x20		/* struct mode_fire there */

#ifdef __i386__

/* mode.32.c: only for protected mode */
extern void (*mode_on32[256])(struct frame32 *);
void mode_lapic_write(uint32_t reg, uint32_t value);
void mode_fire_next(void);

static inline uint32_t mix32(uint32_t h, uint32_t v)
{
	h = (h ^ v) * 0x9e3779b1;
	return h ^ h >> 15;
}

static inline void outb(uint16_t port, uint8_t v)
{
	asm volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

#else

/*
 * Call a 32-bit function: in compatibility mode; in protected mode. Interrupts must
 * be off for the second one; the function may turn them on.
 */
uint32_t mode_compat(const char *fn, uint32_t arg);
uint32_t mode_protected(const char *fn, uint32_t arg, enum mode_paging paging);

/* A gate of protected mode's IDT, of some type and privilege. */
void mode_gate32(unsigned int vector, unsigned int selector, const char *code,
		 unsigned int access);

/* Put real mode code at REAL_MAIN, and call it. */
void mode_real_load(const char *begin, const char *end);
void mode_real(uint32_t arg);
void mode_real_vector(unsigned int vector, unsigned int offset);

#endif
extern struct mode_fire mode_fire;
#endif
