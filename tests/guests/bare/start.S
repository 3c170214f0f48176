/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From multiboot or PVH entry (32-bit, no paging) to 64-bit C with the first
 * 4 GiB mapped one to one, and the entry stubs of all interrupts.
 */
#define MB_MAGIC	0x1badb002
#define MB_FLAGS	0x00000002	/* memory information, ELF */

	.section .multiboot, "a"
	.align 4
	.long MB_MAGIC
	.long MB_FLAGS
	.long -(MB_MAGIC + MB_FLAGS)

	/* For firmware that knows PVH but not multiboot. */
	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long start

	.text
	.code32
	.globl start
start:
	cli
	cld
	movl $stack_top, %esp
	movl %eax, boot_magic
	movl %ebx, boot_info

	/* Level 4 and 3, and 2048 pages of 2 MiB; the last GiB uncached. */
	movl $pdpt + 3, pml4
	movl $pd + 0x0003, pdpt
	movl $pd + 0x1003, pdpt + 8
	movl $pd + 0x2003, pdpt + 16
	movl $pd + 0x3003, pdpt + 24
	xorl %ecx, %ecx
1:	movl %ecx, %eax
	shll $21, %eax
	orl $0x83, %eax			/* present, writable, 2 MiB */
	cmpl $1536, %ecx
	jb 2f
	orl $0x18, %eax			/* write-through, uncached */
2:	movl %eax, pd(, %ecx, 8)
	incl %ecx
	cmpl $2048, %ecx
	jb 1b

	movl %cr4, %eax
	orl $0x20, %eax			/* PAE */
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx		/* EFER: long mode */
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl %cr0, %eax
	andl $~0x60000004, %eax		/* caches on, no FPU emulation */
	orl $0x80000001, %eax
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmp $8, $long_mode

	.code64
long_mode:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	call rt_main
0:	cli
	hlt
	jmp 0b

	/* A stub per vector; those without an error code push a zero. */
	.align 16
	.globl isr_stubs
isr_stubs:
	vector = 0
	.rept 256
	.align 16
	.if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
	pushq $0
	.endif
	pushq $vector
	jmp isr_common
	vector = vector + 1
	.endr

isr_common:
	pushq %r15
	pushq %r14
	pushq %r13
	pushq %r12
	pushq %r11
	pushq %r10
	pushq %r9
	pushq %r8
	pushq %rbp
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %rbx
	pushq %rax
	cld
	movq %rsp, %rdi
	movq %rsp, %rbp
	andq $-16, %rsp
	call rt_interrupt
	movq %rbp, %rsp
	popq %rax
	popq %rbx
	popq %rcx
	popq %rdx
	popq %rsi
	popq %rdi
	popq %rbp
	popq %r8
	popq %r9
	popq %r10
	popq %r11
	popq %r12
	popq %r13
	popq %r14
	popq %r15
	addq $16, %rsp
	iretq

	.section .rodata
	.align 8
	.globl gdt
gdt:
	.quad 0
	.quad 0x00af9a000000ffff	/* 64-bit code */
	.quad 0x00cf92000000ffff	/* data */
gdt_pointer:
	.word gdt_pointer - gdt - 1
	.quad gdt

	.bss
	.align 4096
	.globl pml4, pdpt, pd
pml4:	.skip 4096
pdpt:	.skip 4096
pd:	.skip 4 * 4096
	.skip 65536
stack_top:
	.globl boot_magic, boot_info
boot_magic: .skip 4
boot_info: .skip 4

	.section .note.GNU-stack, "", @progbits
