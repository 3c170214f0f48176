// SPDX-License-Identifier: GPL-2.0
/*
 * Memory-mapped reads and writes of every size: the IOAPIC (in QEMU), across
 * the end of its page, from the last bytes of RAM into nothing, by string
 * instructions and as operands; then the local APIC's running counter by MSR
 * and by memory. mem=MIB (128), rounds=N (20).
 */
#include "rt.h"

static uint8_t buffer[256];

#define READ(size, address)							\
do {										\
	uint##size##_t v_ = *(volatile uint##size##_t *)(address);		\
	h = rt_hash(h, &v_, sizeof(v_));					\
} while (0)

static uint64_t sizes(uint64_t h, uint64_t at)
{
	READ(8, at);
	READ(16, at);
	READ(32, at);
	READ(64, at);
	READ(16, at + 1);
	READ(32, at + 3);
	READ(64, at + 5);
	return h;
}

static uint64_t operands(uint64_t h)
{
	volatile uint32_t *data = (void *)(IOAPIC + 0x10);
	uint64_t sum = 0x1234, flags, wide;
	void *to = buffer;
	const void *from = (void *)(IOAPIC + 0x10);
	size_t count = 24;

	*(volatile uint32_t *)IOAPIC = 1;	/* the version register */
	asm volatile("addl %1, %k0" : "+r"(sum) : "m"(*data));
	asm volatile("cmpl %1, %k2; pushf; pop %0" : "=r"(flags) : "m"(*data), "r"(sum));
	asm volatile("movzbl %1, %k0" : "=r"(wide) : "m"(*(volatile uint8_t *)data));
	sum ^= wide << 32;
	asm volatile("movslq %1, %0" : "=r"(wide) : "m"(*data));
	sum += wide ^ flags;
	h = rt_hash(h, &sum, sizeof(sum));
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	return rt_hash(h, buffer, 24);
}

static uint64_t counters(uint64_t h, int *moved)
{
	uint32_t last = lapic_read(LAPIC_TMCCT);

	for (int i = 0; i < 50; i++) {
		uint32_t now = lapic_read(LAPIC_TMCCT);

		*moved += now != last;
		last = now;
		h = rt_hash(h, &now, sizeof(now));
	}
	return h;
}

int guest(void)
{
	unsigned long rounds = rt_option("rounds", 20), end = rt_option("mem", 128) << 20;
	uint64_t h = 0;
	int moved = 0;

	rt_apic_on();
	lapic_write(LAPIC_TDCR, 0xb);
	lapic_write(LAPIC_LVTT, LVT_MASKED | LVT_PERIODIC);
	lapic_write(LAPIC_TMICT, 1000000000);
	for (unsigned long i = 1; i <= rounds; i++) {
		h = sizes(h, IOAPIC);
		h = sizes(h, IOAPIC + 0x10);
		h = sizes(h, IOAPIC + 0xffb);
		h = sizes(h, end - 3);
		h = operands(h);
		*(volatile uint64_t *)(end - 4) = h;	/* half RAM, half nothing */
		ioapic_write(0x10 + 2 * 20, LVT_MASKED | (h & 0x7f) | 0x80);
		h = h * 3 + ioapic_read(0x10 + 2 * 20);
		if (i == rounds / 2)
			rt_use_xapic();
		h = counters(h, &moved);
		printf("mmio: %lu %s hash %016lx\n", i, rt_is_x2apic() ? "x2apic" : "xapic", h);
		if (i == rounds / 2) {
			lapic_write(LAPIC_TDCR, 0xb);
			lapic_write(LAPIC_LVTT, LVT_MASKED | LVT_PERIODIC);
			lapic_write(LAPIC_TMICT, 1000000000);
		}
	}
	printf("mmio: the counter %s\n", moved ? "runs" : "stands still");
	puts("mmio: done");
	return moved ? 0 : 1;
}
