// SPDX-License-Identifier: GPL-2.0
/* Rounds, sums, findings and pseudo-random numbers of the torture guests. */
#include "tort.h"

#define MAX_ROUNDS	64
#define MAX_SHOWN	8

static const char *name;
static uint64_t sum, seed, state, began;
static unsigned long bad;

/* Vector registers, APIC and descriptor tables are ready after it. */
void tort_start(const char *guest_name)
{
	uint64_t cr;

	name = guest_name;
	seed = rt_option("seed", 1);
	tort_seed(0);
	print_by_line();
	asm volatile("mov %%cr4, %0; or $0x600, %0; mov %0, %%cr4; fninit" : "=&r"(cr));
	rt_apic_on();
	lapic_write(LAPIC_TDCR, 0xb);	/* 1 ns */
	cpu_tables();
	printf("%s: seed %lu\n", name, seed);
	began = rdtsc();
}

/* What the guest ends with. */
int tort_end(void)
{
	fire_stop();
	printf("%s: time took %lu\n", name, rdtsc() - began);
	if (bad)
		printf("%s: %lu findings\n", name, bad);
	printf("%s: sum %016lx\n", name, sum);
	return bad ? TORT_BAD : 0;
}

/* A line that is the same on any run. */
void tort_say(const char *what, uint64_t value)
{
	printf("%s: %s %lx\n", name, what, value);
	tort_sum(value);
}

/* A remark on this run. */
void tort_note(const char *what)
{
	printf("%s: time %s\n", name, what);
}

void tort_sum(uint64_t value)
{
	sum = mix(sum, value);
}

/* A finding; may be called from a handler. */
void tort_bad(const char *what, uint64_t got, uint64_t want)
{
	if (bad++ < MAX_SHOWN)
		printf("%s: BAD %s: %lx, not %lx\n", name, what, got, want);
}

void tort_seed(uint64_t stream)
{
	state = mix(mix(0x2545f4914f6cdd1d, seed), stream) | 1;
}

uint64_t tort_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1d;
}

uint64_t tort_below(uint64_t limit)
{
	return (tort_random() >> 33) % limit;
}

void tort_fill(void *at, size_t len)
{
	uint8_t *p = at;

	for (; len >= 8; len -= 8, p += 8)
		*(uint64_t *)p = tort_random();
	for (; len; len--)
		*p++ = tort_random() >> 56;
}

uint64_t mix_words(uint64_t h, const void *at, size_t words)
{
	const uint64_t *p = at;

	while (words--)
		h = mix(h, *p++);
	return h;
}

/*
 * Do rounds under fire and print what they return, which must depend on their
 * number and the seed only. Done again, with the same result, until there were
 * enough interrupts. Interrupts are on in the rounds, unless they turn them off.
 */
void tort_rounds(uint64_t (*round)(unsigned long nr), unsigned long rounds,
		 unsigned long ticks)
{
	static uint64_t first[MAX_ROUNDS];

	rounds = rt_option("rounds", rounds);
	ticks = rt_option("ticks", ticks) + fire_ticks;
	if (rounds > MAX_ROUNDS)
		rounds = MAX_ROUNDS;
	for (unsigned long n = 0; n < rounds || fire_ticks < ticks; n++) {
		unsigned long nr = n % rounds;
		uint64_t h;

		tort_seed(nr + 1);
		sti();
		h = round(nr);
		cli();
		if (n < rounds) {
			first[nr] = h;
			tort_sum(h);
			printf("%s: round %lu %016lx\n", name, nr, h);
		} else if (h != first[nr]) {
			tort_bad("a round came out differently when done again", h, first[nr]);
		}
		if (n < rounds)
			printf("%s: time ticks %lu digest %016lx\n", name, fire_ticks,
			       fire_digest);
	}
	fire_stop();
	printf("%s: time ticks %lu in strings %lu digest %016lx\n", name, fire_ticks,
	       fire_in_string, fire_digest);
}
