// SPDX-License-Identifier: GPL-2.0
/*
 * Port reads and writes in odd forms: INS and OUTS of every size, repeated or not,
 * backwards, of no item, with 32-bit addresses, from and to memory that crosses a
 * page or faults in the middle; with device=1 also to a device's memory, with device=2 from
 * there, too. ops=N in a round.
 */
#include "tort.h"

#define SCRATCH	0x3ff			/* of COM1: keeps a byte */
#define POST	0x80
#define PCI	0xcf8
#define FW_CFG	0x510
#define CELL	(IOAPIC + 0x10)

static uint8_t area[3 * 4096] __attribute__((aligned(4096)));
static uint64_t *middle;		/* the page table entry of its second page */
static unsigned int device, faults;

static void on_page_fault(struct frame *f)
{
	(void)f;
	faults++;
	*middle |= PTE_P | PTE_W;
	invlpg((uint64_t)area + 4096);
}

struct regs {
	uint64_t rcx, rsi, rdi;
};

#define STRING(name, insn)							\
static void name(struct regs *r, uint16_t port)					\
{										\
	asm volatile(insn : "+c"(r->rcx), "+S"(r->rsi), "+D"(r->rdi) : "d"(port)	\
		     : "memory", "cc");						\
}
#define FORMS(op, size)								\
	STRING(rep_##op##size, "rep " #op #size)				\
	STRING(back_##op##size, "std; rep " #op #size "; cld")			\
	STRING(a32_##op##size, ".byte 0x67; rep " #op #size)			\
	STRING(one_##op##size, #op #size)
FORMS(ins, b)
FORMS(ins, w)
FORMS(ins, l)
FORMS(outs, b)
FORMS(outs, w)
FORMS(outs, l)
enum { FORWARDS, BACKWARDS, SHORT_ADDRESS, ONCE, FORM_KINDS };
#define LIST(op, size)								\
	{ rep_##op##size, back_##op##size, a32_##op##size, one_##op##size }
static void (*const forms[2][3][FORM_KINDS])(struct regs *, uint16_t) = {
	{ LIST(ins, b), LIST(ins, w), LIST(ins, l) },
	{ LIST(outs, b), LIST(outs, w), LIST(outs, l) },
};

static uint64_t string(uint64_t h)
{
	static const uint16_t ports[] = { POST, SCRATCH, FW_CFG + 1, PCI + 4, POST };
	unsigned int out = tort_below(2), log = tort_below(3), form = tort_below(FORM_KINDS);
	uint16_t port = ports[tort_below(5)];
	struct regs r;

	if (port == FW_CFG + 1)
		outw(FW_CFG, 0);		/* the signature comes next */
	if (port == PCI + 4)
		outl(PCI, 0x80000000 | tort_below(4) << 2);
	/* each of them must be harmless to write */
	if (out && port != SCRATCH)
		port = POST;
	if (port == SCRATCH || port == FW_CFG + 1)
		log = 0;
	r.rcx = tort_below(4) ? tort_below(12) : tort_below(300);
	if (out)
		r.rcx = tort_below(10);
	r.rsi = (uint64_t)area + 4096 - tort_below(40) + (form == BACKWARDS ? 1300 : 0);
	r.rdi = r.rsi;
	if (form == SHORT_ADDRESS) {
		r.rcx |= 0x500000000;
		r.rsi |= 0x900000000;
		r.rdi |= 0xa00000000;
	}
	if (device > out && !tort_below(3)) {
		r.rcx = form == SHORT_ADDRESS ? 0x700000001 : 1;
		log = 2;
		port = POST;
		r.rsi = CELL;
		r.rdi = CELL;
	} else if (!tort_below(3)) {
		*middle &= tort_below(2) ? ~PTE_P : ~PTE_W;
		invlpg((uint64_t)area + 4096);
	}
	forms[out][log][form](&r, port);
	*middle |= PTE_P | PTE_W;
	invlpg((uint64_t)area + 4096);
	h = mix(h, (uint32_t)r.rcx);
	h = mix(h, (uint32_t)r.rsi);
	return mix(h, (uint32_t)r.rdi);
}

/* AL, AX and EAX keep what they had above. */
static uint64_t single(uint64_t h)
{
	uint64_t v = tort_random();

	switch (tort_below(6)) {
	case 0:
		asm volatile("inb $0x80, %%al" : "+a"(v));
		break;
	case 1:
		asm volatile("inw $0x80, %%ax" : "+a"(v));
		break;
	case 2:
		asm volatile("inl $0x80, %%eax" : "+a"(v));
		break;
	case 3:
		asm volatile("outb %%al, %%dx; incb %%al; inb %%dx, %%al" : "+a"(v) : "d"(SCRATCH));
		break;
	case 4:
		asm volatile("outl %%eax, $0x80" : : "a"(v));
		break;
	default:
		outl(PCI, 0x80000000);
		asm volatile("inw %%dx, %%ax" : "+a"(v) : "d"(PCI + 5));
	}
	return mix(h, v);
}

static uint64_t round(unsigned long nr)
{
	unsigned long count = rt_option("ops", 90);
	uint64_t h = nr;

	faults = 0;
	tort_fill(area, sizeof(area));
	ioapic_write(0x11 + 2 * 20, 0x89abcdef);
	for (unsigned long i = 0; i < count; i++) {
		h = tort_below(3) ? string(h) : single(h);
		for (unsigned int k = tort_below(300); k; k--)
			h = mix(h, k);
	}
	h = mix(mix(h, faults), ioapic_read(0x11 + 2 * 20));
	return mix_words(h, area, sizeof(area) / 8);
}

int guest(void)
{
	tort_start("pioodd");
	device = rt_option("device", 0);
	fire_rf_allowed = 1;
	rt_on(14, on_page_fault);
	write_cr0(read_cr0() | 0x10000);
	middle = cpu_pte((uint64_t)area + 4096);
	fire_start(NULL);
	tort_rounds(round, 5, 20);
	return tort_end();
}
