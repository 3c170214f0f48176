/* SPDX-License-Identifier: GPL-2.0 */
/* Into virtual-8086 mode and out of it, and what is done there. */
#include "sums16.h"

#define LEAVE		0x51

	.text
	.code32
	/* void v86_enter(uint32_t eflags, cs, ip, sp): returns when v86_leave() is called */
	.globl v86_enter, v86_leave
v86_enter:
	pushl %ebx
	pushl %esi
	pushl %edi
	pushl %ebp
	movl %esp, kept
	movl 20(%esp), %eax
	movl 24(%esp), %ebx
	movl 28(%esp), %ecx
	movl 32(%esp), %edx
	pushl %ebx			/* GS, FS, DS, ES, SS are what CS is */
	pushl %ebx
	pushl %ebx
	pushl %ebx
	pushl %ebx
	pushl %edx
	pushl %eax
	pushl %ebx
	pushl %ecx
	iretl
v86_leave:
	movl kept, %esp
	popl %ebp
	popl %edi
	popl %esi
	popl %ebx
	ret
	.bss
kept:	.skip 4

	.section .rodata
	.align 16
	.globl real_begin, real_end, real_soft
	.code16
real_begin:
	movl COUNT + 4, %eax
	movl %eax, AT(seed)
again:
	call arithmetic
	call strings
	call flags
	call software
	call ports
	call shadows
	decw COUNT
	jnz again
	int $LEAVE

	sums16

arithmetic:
	movw $300, %cx
	call next
	movl %eax, %edx
1:	imulw $77, %ax
	adcl %eax, %edx
	jc 2f
	rolw $3, %dx
2:	lcall $0x2010, $AT(far) - 0x100
	loop 1b
	movl %edx, %eax
	xorw %di, %di
	jmp result
far:	movw %cs, %bx
	addw %bx, %dx
	lretw

strings:
	call next
	movw %ax, %cx
	andw $0x1ff, %cx
	movw $BUFFER, %di
	cld
	rep stosw
	movw $0x200, %cx
	movw $BUFFER, %si
	movw $BUFFER + 3, %di
	rep movsw
	movw $BUFFER + 7, %si
	movw $BUFFER + 0x200, %di
	movw $0x300, %cx
	repe cmpsb
	movzwl %cx, %eax
	movw $4, %di
	jmp result

	/* With IOPL 0 each of CLI, STI, PUSHF, POPF, HLT is the monitor's. */
flags:
	movw $12, %cx
	xorl %edx, %edx
1:	pushfw
	popw %ax
	andw $0x0fd5, %ax
	xorw $0x8d5, %ax
	pushw %ax
	popfw
	pushfw
	popw %bx
	andw $0x0fd5, %bx
	addw %bx, %dx
	roll $5, %edx
	cli
	incl %edx
	sti
	nop
	loop 1b
	movl %edx, %eax
	movw $8, %di
	jmp result

software:
	movw $12, %cx
	xorl %eax, %eax
1:	int $0x70
	incl %eax
	loop 1b
	movw $12, %di
	jmp result
real_soft:
	pushw %bp
	movw %sp, %bp
	addw 2(%bp), %ax
	roll $3, %eax
	testw $0x0100, 6(%bp)
	jz 1f
	orl $0xdead, %eax
1:	popw %bp
	iretw

	/* The bitmap allows one port and not the other. */
ports:
	movw $SCRATCH, %dx
	xorl %ebx, %ebx
	call next
	outb %al, %dx
	inb %dx, %al
	addb %al, %bl
	movw $0x3fb, %dx
	inb %dx, %al
	addb %al, %bh
	movl %ebx, %eax
	movw $16, %di
	jmp result

shadows:
	movw $100, %cx
1:	movw %ss, %bx
	movw %sp, %dx
	movw $0x2010, %si
	subw $0x100, %dx
	movw %si, %ss
	movw %dx, %sp
	pushw %cx
	popw %ax
	pushw %bx
	popw %ss
	addw $0x100, %sp
	loop 1b
	movzwl %dx, %eax
	movw $20, %di
	jmp result

seed:	.long 0
real_end:

	.section .note.GNU-stack, "", @progbits
