/* SPDX-License-Identifier: GPL-2.0 */
/* Code of 16-bit segments, and calls into segments that have a base. */
	.text
	.code32
	/* uint32_t compat_far(uint32_t selector, uint32_t base, fn, uint32_t arg) */
	.globl compat_far
compat_far:
	pushl %ebx
	movl 16(%esp), %ebx
	subl 12(%esp), %ebx		/* fn in the segment */
	movl 20(%esp), %edx
	movl $1f, %eax
	subl 12(%esp), %eax
	pushl 8(%esp)			/* selector */
	pushl %eax
	lcall *(%esp)
	addl $8, %esp
	popl %ebx
	ret
1:	pushl %edx
	call *%ebx
	addl $4, %esp
	lret

	/* uint32_t compat_far16(uint32_t selector, uint32_t arg): to compat_code16 */
	.globl compat_far16
compat_far16:
	pushl %ebx
	pushl %esi
	movl 16(%esp), %eax
	pushl 12(%esp)
	pushl $0
	lcall *(%esp)
	addl $8, %esp
	popl %esi
	popl %ebx
	ret

	/* Its segment begins here. The stack is still one of 32 bits. */
	.align 16
	.globl compat_code16
compat_code16:
	.code16
	movl %eax, %ebx
	movw $400, %cx
1:	imulw $77, %bx
	addw $3, %bx
	jns 2f
	rolw $3, %bx
	pushw %bx
	popw %dx
	addl %edx, %eax
2:	xaddw %ax, %bx
	call 3f - compat_code16 + compat_code16
	loop 1b
	addl %ebx, %eax
	lretl
3:	pushfw
	popw %si
	andw $0x8d5, %si
	xorw %si, %bx
	ret

	.section .note.GNU-stack, "", @progbits
