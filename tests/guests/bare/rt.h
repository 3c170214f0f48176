/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The small runtime of the bare-metal test guests.
 *
 * A guest defines guest(); its return value is what it ends with: QEMU's exit
 * status is then (value << 1) | 1. It prints to COM1. An exception nobody
 * asked for is printed and ends the guest with RT_CRASHED.
 */
#ifndef RT_H
#define RT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define RT_FAILED	2
#define RT_CRASHED	0x3f
#define COM1		0x3f8
#define EXIT_PORT	0xf4	/* isa-debug-exit */
#define IOAPIC		0xfec00000UL
#define XAPIC		0xfee00000UL

/* Registers as an interrupt found them. */
struct frame {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

int guest(void);

/* rt.c */
extern const char *rt_command_line;
void rt_exit(int value) __attribute__((noreturn));
unsigned long rt_option(const char *name, unsigned long otherwise);
void rt_on(int vector, void (*handler)(struct frame *));
void rt_gate(int vector, unsigned int dpl, unsigned int ist, int trap);
void rt_entry(int vector, void *code);
uint64_t rt_hash(uint64_t seed, const void *data, size_t len);

/* word.c */
const char *rt_word(const char *name);

/* print.c */
void print_by_line(void);
int putchar(int c);
int puts(const char *s);
int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What a guest found wrong ends it. @who is a literal. */
#define rt_fail(who, ...)							\
do {										\
	printf(who ": FAILED: " __VA_ARGS__);					\
	putchar('\n');								\
	rt_exit(RT_FAILED);							\
} while (0)

/* apic.c: in x2APIC mode if the CPU has it, until rt_use_xapic() */
enum { LAPIC_ID = 0x20, LAPIC_VERSION = 0x30, LAPIC_TPR = 0x80, LAPIC_EOI = 0xb0,
	LAPIC_SVR = 0xf0, LAPIC_ICR = 0x300, LAPIC_LVTT = 0x320, LAPIC_LINT0 = 0x350,
	LAPIC_LINT1 = 0x360, LAPIC_TMICT = 0x380, LAPIC_TMCCT = 0x390, LAPIC_TDCR = 0x3e0 };
#define LVT_MASKED	(1u << 16)
#define LVT_PERIODIC	(1u << 17)
#define LVT_DEADLINE	(2u << 17)
#define MSR_TSC_DEADLINE 0x6e0

void rt_apic_on(void);
void rt_use_xapic(void);
int rt_is_x2apic(void);
uint32_t lapic_read(unsigned int reg);
void lapic_write(unsigned int reg, uint32_t value);
void lapic_eoi(void);
void ioapic_write(unsigned int index, uint32_t value);
uint32_t ioapic_read(unsigned int index);
void ioapic_route(unsigned int pin, unsigned int vector);

void *memset(void *to, int c, size_t len);
void *memcpy(void *to, const void *from, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *s);

#define PORT_IO(size, type)							\
static inline void out##size(uint16_t port, type value)			\
{ asm volatile("out" #size " %0, %1" : : "a"(value), "Nd"(port) : "memory"); }	\
static inline type in##size(uint16_t port)					\
{ type v; asm volatile("in" #size " %1, %0" : "=a"(v) : "Nd"(port) : "memory"); return v; }
PORT_IO(b, uint8_t)
PORT_IO(w, uint16_t)
PORT_IO(l, uint32_t)

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
		     : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	asm volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
		     : "a"(leaf), "c"(sub));
}

static inline void sti(void) { asm volatile("sti" : : : "memory"); }
static inline void cli(void) { asm volatile("cli" : : : "memory"); }
/* Nothing can slip in between: STI takes effect after HLT has begun. */
static inline void sti_hlt(void) { asm volatile("sti; hlt; cli" : : : "memory"); }

#endif
