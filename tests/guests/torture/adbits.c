// SPDX-License-Identifier: GPL-2.0
/*
 * Accessed and dirty bits that the guest clears, flushes (INVLPG, CR3, a global
 * page's CR4.PGE), and reads back after reads, writes, fetches, string instructions,
 * LOCKed ones, at all levels of the tables. lazy=1: without a flush, so that it
 * depends on what the TLB has kept, which no replica can know: a known limit.
 * ops=N in a round.
 */
#include "tort.h"

#define PAGES	16

extern uint64_t pml4[512], pdpt[512], pd[2048];

static uint8_t area[PAGES * 4096] __attribute__((aligned(4096)));
static uint64_t *ptes[PAGES];
static unsigned int lazy;

static void flush(uint64_t at)
{
	unsigned int how = tort_below(lazy ? 150 : 100);

	if (how < 60)
		invlpg(at);
	else if (how < 98)
		write_cr3(read_cr3());
	if (how == 98 || how == 99) {
		write_cr4(read_cr4() ^ 0x80);	/* an exit */
		write_cr4(read_cr4() ^ 0x80);
	}
}

/* Touch a page in some way; what the bits must be then. */
static uint64_t touch(unsigned int page)
{
	volatile uint64_t *p = (volatile uint64_t *)(area + 4096 * page + 8 * tort_below(500));
	void *to, *from;
	size_t n = 1 + tort_below(20);
	uint64_t other;

	switch (tort_below(8)) {
	case 0:
		return 0;
	case 1:
		(void)*p;
		return PTE_A;
	case 2:
		*p = tort_random();
		return PTE_A | PTE_D;
	case 3:
		asm volatile("lock incq %0" : "+m"(*p) : : "cc");
		return PTE_A | PTE_D;
	case 4:
		/* fails to store, and yet writes */
		other = *p + 1;
		asm volatile("lock cmpxchg %2, %0" : "+m"(*p), "+a"(other) : "r"(0ul) : "cc");
		return PTE_A | PTE_D;
	case 5:
		to = (void *)p;
		asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(page) : "memory");
		return PTE_A | PTE_D;
	case 6:
		from = (void *)p;
		to = (void *)p;
		asm volatile("repe cmpsb" : "+S"(from), "+D"(to), "+c"(n) : : "memory", "cc");
		return PTE_A;
	default:
		asm volatile("movdqu %0, %%xmm0" : : "m"(*(const uint8_t (*)[16])p));
		return PTE_A;
	}
}

static uint64_t round(unsigned long nr)
{
	unsigned long ops = rt_option("ops", 3000);
	uint64_t h = nr, *table = &pd[(uint64_t)area >> 21];

	for (unsigned long i = 0; i < ops; i++) {
		unsigned int page = tort_below(PAGES);
		uint64_t clear = tort_below(3) ? PTE_A | PTE_D : PTE_D, before, got, want;
		uint64_t at = (uint64_t)area + 4096 * page;

		/* with D kept and A cleared it is no use to say what must be */
		*ptes[page] &= ~clear;
		flush(at);
		before = *ptes[page];
		want = (before & PTE_A) | touch(page);
		got = *ptes[page] & (PTE_A | PTE_D);
		if (!lazy && got != (want & (PTE_A | PTE_D)))
			tort_bad("accessed and dirty bits", got, want & (PTE_A | PTE_D));
		if (lazy)
			fire_fold(got);
		else
			h = mix(h, got);
		if (i % 50 == 0 && !lazy) {
			/* the upper levels: no write sets their D */
			*table &= ~PTE_A;
			pdpt[0] &= ~PTE_A;
			pml4[0] &= ~PTE_A;
			write_cr3(read_cr3());
			touch(page);
			h = mix(h, (*table | pdpt[0] | pml4[0]) & (PTE_A | PTE_D));
			if (!(*table & pdpt[0] & pml4[0] & PTE_A))
				tort_bad("accessed bits of the upper levels", *table, PTE_A);
		}
		for (unsigned int k = tort_below(60); k; k--)
			h = mix(h, k);
	}
	return h;
}

int guest(void)
{
	tort_start("adbits");
	lazy = rt_option("lazy", 0);
	for (unsigned int i = 0; i < PAGES; i++)
		ptes[i] = cpu_pte((uint64_t)area + 4096 * i);
	fire_start(NULL);
	tort_rounds(round, 5, 60);
	return tort_end();
}
