/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What work in 16-bit segments has at the same places of its segment, and how it comes to
 * its numbers and sums: random numbers, which follow a seed, and what was done with them.
 */
#define MAIN		0x400		/* the code: real_begin */
#define RESULTS		0x2000		/* sums of what was done */
#define COUNT		0x2100		/* how often: set by the caller */
#define BUFFER		0x3000
#define SCRATCH		0x3ff		/* COM1's scratch register */

#ifdef __ASSEMBLER__
#define AT(label) (MAIN + label - real_begin)

	/* The routines, which want a "seed" of 32 bits. */
	.macro sums16
	/* EAX = the next number */
next:
	movl AT(seed), %eax
	imull $1664525, %eax
	addl $1013904223, %eax
	movl %eax, AT(seed)
	shrl $8, %eax
	ret

	/* Add EAX to result number DI / 4. */
result:
	xorl RESULTS(%di), %eax
	imull $0x9e3779b1, %eax
	roll $11, %eax
	movl %eax, RESULTS(%di)
	ret
	.endm
#endif
