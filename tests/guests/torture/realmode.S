/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The work in real mode: arithmetic, strings, far calls into other segments,
 * INT, PUSHF, POPF, HLT, ports, code that changes itself. EAX is the seed, and the
 * results are at RESULTS. Whatever it does it does COUNT times.
 */
#include "sums16.h"

#define SEGMENT		0x2000
#define BUFFER2		0x5000

	.section .rodata
	.align 16
	.globl real_begin, real_end, real_soft, real_divide
	.code16
real_begin:
	movl %eax, AT(seed)
	sti
again:
	call arithmetic
	call strings
	call far_calls
	call flags
	call software
	call wide
	call ports
	call changes_itself
	call halts
	call shadows
	decw COUNT
	jnz again
	cli
	ret

	sums16

arithmetic:
	movw $300, %cx
	call next
	movl %eax, %edx
1:	imulw $77, %ax
	adcl %eax, %edx
	jc 2f
	rolw $3, %dx
	aaa
2:	daa
	aam
	aad
	cbtw
	loop 1b
	movl %edx, %eax
	xorw %di, %di
	jmp result

	/* Fill, move, compare, scan; both directions. */
strings:
	pushw %ds
	popw %es
	call next
	movw %ax, %cx
	andw $0x1ff, %cx
	pushw %cx
	movw $BUFFER, %di
	cld
	rep stosw
	popw %cx
	movw %cx, %bx
	movw $BUFFER, %si
	movw $BUFFER2, %di
	rep movsw
	movw %bx, %cx
	incw %cx
	movw $BUFFER + 0x3fe, %si
	movw $BUFFER2 + 0x3fc, %di
	std
	rep movsb
	cld
	movw $BUFFER, %si
	movw $BUFFER2, %di
	movw $0x400, %cx
	repe cmpsb
	pushfw
	popw %ax
	andl $0x8d5, %eax
	shll $16, %eax
	movw %cx, %ax
	movw $4, %di
	call result
	movw $BUFFER2, %di
	movw $0x200, %cx
	movb $0x55, %al
	repne scasb
	movzwl %cx, %eax
	movw $4, %di
	jmp result

	/* The same code, at other segments: CS:IP differ, the address does not. */
far_calls:
	movw $100, %cx
	xorl %eax, %eax
1:	lcall $SEGMENT + 0x10, $AT(far) - 0x100
	lcall $SEGMENT + 0x23, $AT(far) - 0x230
	lcall $SEGMENT, $AT(far)
	loop 1b
	movw $8, %di
	jmp result
far:	movw %cs, %bx
	addw %bx, %ax
	roll $1, %eax
	pushw %cs
	pushw %cs:4			/* nothing is addressed by it */
	addw $4, %sp
	lretw

flags:
	movw $200, %cx
	xorl %edx, %edx
	xorl %eax, %eax
1:	pushfw
	popw %ax
	orw %ax, %dx
	xorw $0x8d5, %ax
	pushw %ax
	popfw
	pushfl
	popl %eax
	andl $0x00ff0fff, %eax		/* not RF, not VM, in any of them */
	addl %eax, %edx
	cli
	incl %edx
	sti
	loop 1b
	movl %edx, %eax
	movw $12, %di
	jmp result

	/* INT n, INT3, INTO, a division that fails, BOUND */
software:
	movw $60, %cx
	xorl %eax, %eax
1:	int $0x70
	int3
	movb $0x7f, %bl
	addb $1, %bl
	into
	xorb %bl, %bl
	divb %bl
	incl %eax
	boundw %cx, AT(bounds)
	loop 1b
	movw $16, %di
	jmp result
bounds:	.word 0, 0x7fff
real_soft:				/* offsets of its caller's, from its frame */
	pushw %bp
	movw %sp, %bp
	addw 2(%bp), %ax		/* IP */
	roll $3, %eax
	testw $0x0100, 6(%bp)		/* TF */
	jz 1f
	orl $0xdead, %eax
1:	popw %bp
	iretw
real_divide:				/* behind DIV BL */
	pushw %bp
	movw %sp, %bp
	addw $2, 2(%bp)
	addl $0x11, %eax
	popw %bp
	iretw

	/* 32-bit operands and addresses */
wide:
	call next
	movl %eax, %ebx
	movl $150, %ecx
	movl $BUFFER, %esi
1:	movl (%esi, %ecx, 4), %eax
	addl %eax, %ebx
	leal 3(%ebx, %ebx, 2), %ebx
	bswap %ebx
	xaddl %ebx, (%esi)
	movzwl %cx, %edx
	movl %fs:0x100000(, %edx, 4), %eax	/* FS goes on to 4 GiB */
	addl %eax, %ebx
	loop 1b
	movl %ebx, %eax
	movw $20, %di
	jmp result

ports:
	movw $SCRATCH, %dx
	movw $2, %cx
	xorl %ebx, %ebx
1:	call next
	outb %al, %dx
	inb %dx, %al
	addb %al, %bl
	roll $5, %ebx
	loop 1b
	movw $BUFFER, %si
	movw $7, %cx
	rep outsb
	movw $BUFFER + 0x100, %di
	movw $7, %cx
	rep insb
	addb -1(%di), %bl
	movl %ebx, %eax
	movw $24, %di
	jmp result

changes_itself:
	movw $50, %cx
	xorl %ebx, %ebx
1:	call next
	movl %eax, AT(immediate) + 2
	jmp immediate
immediate:
	movl $0x12345678, %edx
	addl %edx, %ebx
	loop 1b
	movl %ebx, %eax
	movw $28, %di
	jmp result

halts:
	hlt
	movl $1, %eax
	movw $32, %di
	jmp result

	/* MOV SS and POP SS hold interrupts back for one instruction. */
shadows:
	movw $100, %cx
	xorl %eax, %eax
1:	movw %ss, %bx
	movw %sp, %dx
	movw $SEGMENT + 0x10, %si
	subw $0x100, %dx
	movw %si, %ss
	movw %dx, %sp
	pushw %cx
	popw %ax
	pushw %bx
	popw %ss
	addw $0x100, %sp
	sti
	cli
	addw %ax, %dx
	sti
	loop 1b
	movzwl %dx, %eax
	movw $36, %di
	jmp result

seed:	.long 0
real_end:

	.section .note.GNU-stack, "", @progbits
