/* SPDX-License-Identifier: GPL-2.0 */
/* Out of 64-bit mode and back; interrupts of protected and of real mode. */
#define SEL_CODE	0x08
#define SEL_DATA	0x10
#define SEL_DATA_USER	0x23
#define SEL_CODE32	0x30
#define SEL_CODE16	0x38
#define SEL_DATA16	0x40
#define REAL_SEGMENT	0x2000
#define REAL_MAIN	0x400
#define REAL_STACK	0xfff0
#define MSR_EFER	0xc0000080

	.text
	.macro save
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	.endm

	.macro restore
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	.endm

	/* To label 1, in a 32-bit code segment. */
	.macro to_compat
	pushq $SEL_CODE32
	pushq $1f
	lretq
	.code32
1:	movl $SEL_DATA, %ecx
	movl %ecx, %ds
	movl %ecx, %es
	movl %ecx, %ss
	.endm

	/* uint32_t mode_compat(fn, arg) */
	.code64
	.globl mode_compat
mode_compat:
	save
	movl %edi, %eax
	to_compat
	pushl %esi
	call *%eax
	addl $4, %esp
	ljmp $SEL_CODE, $2f
	.code64
2:	movl %esp, %esp
	movl %eax, %eax
	restore
	ret

	/* uint32_t mode_enter32(fn, arg, cr3, cr4): as long as CR3 is 0, without paging */
	.globl mode_enter32
mode_enter32:
	save
	sidt idt64
	movq %cr3, %rax
	movl %eax, cr3_64
	movq %cr4, %rax
	movl %eax, cr4_64
	movl %edi, %ebx
	movl %ecx, %ebp
	to_compat
	movl %cr0, %eax
	andl $0x7fffffff, %eax
	movl %eax, %cr0			/* this ends long mode */
	movl $MSR_EFER, %ecx
	pushl %edx
	rdmsr
	andl $~0x100, %eax
	wrmsr
	popl %edx
	movl %ebp, %cr4
	testl %edx, %edx
	jz 2f
	movl %edx, %cr3
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
2:	lidt mode_idt32_pointer
	pushl %esi
	call *%ebx
	addl $4, %esp
	cli
	movl %eax, %ebx
to_long:
	movl %cr0, %eax
	andl $0x7fffffff, %eax
	movl %eax, %cr0
	movl cr4_64, %eax
	movl %eax, %cr4
	movl cr3_64, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	ljmp $SEL_CODE, $3f
	.code64
3:	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %esp, %esp
	lidt idt64
	movl %ebx, %eax
	restore
	ret

	/* 32-bit code: through real mode, whose code is in place, and back. */
	.code32
	.globl mode_through_real
mode_through_real:
	pushl %ebx
	pushl %esi
	pushl %edi
	pushl %ebp
	movl %esp, esp_real
	movl 20(%esp), %edx		/* its argument */
	movl $SEL_DATA, %eax
	movl %eax, %fs			/* keeps its limit of 4 GiB */
	ljmp $SEL_CODE16, $0
	.globl mode_from_real
mode_from_real:
	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl esp_real, %esp
	lidt mode_idt32_pointer
	popl %ebp
	popl %edi
	popl %esi
	popl %ebx
	ret

	/* cpu_user32(): EAX is what to call in ring 3. */
	.globl cpu_user_enter32, cpu_user_return32
cpu_user_enter32:
	movl $SEL_DATA_USER, %ecx
	movl %ecx, %ds
	movl %ecx, %es
	jmp *%eax
cpu_user_return32:
	movl %eax, %edi
	int $0x91

	/* A stub for each vector in protected mode. */
	.align 16
	.globl mode_stubs32
mode_stubs32:
	vector = 0
	.rept 256
	.align 16
	.if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
	pushl $0
	.endif
	pushl $vector
	jmp common32
	vector = vector + 1
	.endr

common32:
	pushal
	pushl %ds
	pushl %es
	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	cld
	pushl %esp
	call mode_interrupt32
	addl $4, %esp
	popl %es
	popl %ds
	popal
	addl $8, %esp
	iretl

	/*
	 * What is copied to the bottom of the real mode segment. Offsets are those
	 * from its begin; CS, and usually DS, are REAL_SEGMENT.
	 */
	.section .rodata
	.align 16
	.globl mode_real_begin, mode_real_end, mode_real_tick
#define AT(label) (label - mode_real_begin)
	.code16
mode_real_begin:
	jmp real_enter
	.org mode_real_begin + 0x20
real_fire:
x2apic:	.long 0
ticks:	.long 0
digest:	.long 0
random:	.long 0
least:	.long 0
firing:	.long 0
	.long 0, 0
idt_real:
	.word 0x3ff
	.long 0

real_enter:
	movw $SEL_DATA16, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw %ax, %gs
	movl %cr0, %eax
	andl $0xfffffffe, %eax
	movl %eax, %cr0
	ljmp $REAL_SEGMENT, $AT(1f)
1:	movw %cs, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl $REAL_STACK, %esp
	lidtl AT(idt_real)
	movl %edx, %eax
	call mode_real_begin + REAL_MAIN
	cli
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $SEL_CODE32, $mode_from_real

	/* digest = mix(digest, EBX), in EAX; ECX is changed */
real_mix:
	xorl %ebx, %eax
	imull $0x9e3779b1, %eax
	movl %eax, %ecx
	shrl $15, %ecx
	xorl %ecx, %eax
	ret

	/* The timer's interrupt: digests what it found, arms the next one. */
mode_real_tick:
	pushal
	pushw %ds
	pushw %cs
	popw %ds
	cld
	movl AT(digest), %eax
	movzwl %sp, %ebp
	movw $10, %dx			/* 8 registers, IP and CS, flags */
	leaw 2(%bp), %si
1:	movl %ss:(%si), %ebx
	cmpw $1, %dx
	jne 2f
	movzwl %bx, %ebx		/* no word behind the flags */
2:	call real_mix
	addw $4, %si
	decw %dx
	jnz 1b
	movl %eax, AT(digest)
	incl AT(ticks)

	movl AT(random), %eax
	imull $1664525, %eax
	addl $1013904223, %eax
	movl %eax, AT(random)
	movl %eax, %ecx
	shrl $30, %ecx
	movl AT(least), %ebx
	shll %cl, %ebx
	shrl $12, %eax
	andl $0x3fff, %eax
	addl %ebx, %eax
	movl %eax, %ebx
	cmpl $0, AT(x2apic)
	je 3f
	xorl %eax, %eax
	xorl %edx, %edx
	movl $0x80b, %ecx		/* EOI */
	wrmsr
	cmpl $0, AT(firing)
	je 4f
	movl %ebx, %eax
	movl $0x838, %ecx		/* TMICT */
	wrmsr
	jmp 4f
	/* FS has the limit that it had in protected mode */
3:	movl $0xfee000b0, %ecx
	movl $0, %fs:(%ecx)
	cmpl $0, AT(firing)
	je 4f
	movl $0xfee00380, %ecx
	movl %ebx, %fs:(%ecx)
4:	popw %ds
	popal
	iretw
	.org mode_real_begin + REAL_MAIN	/* fails if it is too long */
mode_real_end:

	.bss
	.align 16
idt64:	.skip 16
cr3_64:	.skip 4
cr4_64:	.skip 4
esp_real: .skip 4

	.section .note.GNU-stack, "", @progbits
