// SPDX-License-Identifier: GPL-2.0
/* Local APIC in both modes, and the IOAPIC. */
#include "rt.h"

#define MSR_APIC_BASE	0x1b
#define MSR_X2APIC	0x800

static int x2apic;

int rt_is_x2apic(void)
{
	return x2apic;
}

uint32_t lapic_read(unsigned int reg)
{
	if (x2apic)
		return rdmsr(MSR_X2APIC + reg / 16);
	return *(volatile uint32_t *)(XAPIC + reg);
}

void lapic_write(unsigned int reg, uint32_t value)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + reg / 16, value);
	else
		*(volatile uint32_t *)(XAPIC + reg) = value;
}

void lapic_eoi(void)
{
	lapic_write(LAPIC_EOI, 0);
}

static void enable(void)
{
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_write(LAPIC_TPR, 0);
	lapic_write(LAPIC_LINT0, LVT_MASKED);
	lapic_write(LAPIC_LINT1, 4 << 8);	/* NMI */
	lapic_write(LAPIC_LVTT, LVT_MASKED);
}

void rt_apic_on(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	x2apic = r[2] >> 21 & 1;
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0x800);
	if (x2apic)
		wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0xc00);
	enable();
}

/* x2APIC to xAPIC is not allowed directly: by way of off. */
void rt_use_xapic(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE) & ~0xc00ULL;

	wrmsr(MSR_APIC_BASE, base);
	wrmsr(MSR_APIC_BASE, base | 0x800);
	x2apic = 0;
	enable();
}

void ioapic_write(unsigned int index, uint32_t value)
{
	*(volatile uint32_t *)IOAPIC = index;
	*(volatile uint32_t *)(IOAPIC + 0x10) = value;
}

uint32_t ioapic_read(unsigned int index)
{
	*(volatile uint32_t *)IOAPIC = index;
	return *(volatile uint32_t *)(IOAPIC + 0x10);
}

/* Edge, high, to CPU 0. */
void ioapic_route(unsigned int pin, unsigned int vector)
{
	ioapic_write(0x10 + 2 * pin + 1, 0);
	ioapic_write(0x10 + 2 * pin, vector);
}
