/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest's programs. Every instruction is written with a word for what it
 * does to the counters, which goes to a table: so the table knows what a count
 * must be, without anybody having counted.
 *
 *	op	retires
 *	br	retires, and is a conditional branch
 *	never	exits to KVM, which emulates it, or faults: does not retire
 *	rbx	retires when it is reached, and adds 1 to RBX, which is 0 at first
 *
 * A program runs its body R15 times. RAX, RBX, RCX, RDX, RSI, RDI and R8 to R14
 * are 0 at its start.
 */
#include "guest.h"

	.macro note kind
	.pushsection .rodata.guest_ops, "a", @progbits
	.long 9998f - guest_code, \kind
	.popsection
9998:
	.endm

	.macro op insn:vararg
	note OP_RETIRES
	\insn
	.endm

	.macro br insn:vararg
	note OP_BRANCH
	\insn
	.endm

	.macro never insn:vararg
	note OP_NEVER
	\insn
	.endm

	.macro rbx
	note OP_RBX
	incq %rbx
	.endm

	.macro prog name, flags=0
	.pushsection .rodata.guest_progs, "a", @progbits
9997:	.asciz "\name"
	.org 9997b + 16
	.long \flags, start_\name - guest_code, body_\name - guest_code, end_\name - guest_code
	.popsection
	.balign 64
start_\name:
	.endm

	.macro body name
body_\name:
	.endm

	.macro done name
end_\name:
	never outb %al, $PORT_DONE
	never hlt
	.endm

	.macro again name
	op decq %r15
	br jnz body_\name
	done \name
	.endm

	/* the next pseudorandom number in RAX */
	.macro random
	op imulq $1103515245, %rax, %rax
	op addq $12345, %rax
	.endm

	.section .rodata.guest_ops, "a", @progbits
	.balign 4
	.globl guest_ops
guest_ops:
	.section .rodata.guest_progs, "a", @progbits
	.balign 4
	.globl guest_progs
guest_progs:

	.section .rodata.guest_code, "a", @progbits
	.balign 4096
	.globl guest_code
guest_code:
	.code64

/* ---- interrupt handlers ---- */

	/* #DE, #UD: go on behind the instruction, which has two bytes */
	.globl guest_on_skip
guest_on_skip:
	op addq $2, (%rsp)
	op iretq
	.globl guest_on_return
guest_on_return:
	op iretq
	/* #PF: there is but one page that is ever absent */
	.globl guest_on_fault
guest_on_fault:
	op addq $8, %rsp
	op orb $1, GUEST_PT
	op iretq
	.globl guest_on_irq
guest_on_irq:
	op incq %r14
	op iretq
	.globl guest_on_nmi
guest_on_nmi:
	op incq %r13
	op iretq
	.globl guest_on_end
guest_on_end:

/* ---- code that a CPU executes in various ways ---- */

	prog empty
body_empty:
	done empty

	/* the densest loop of branches */
	prog loop
	body loop
	again loop

	/* as many instructions a cycle as there can be */
	prog dense
	body dense
	.rept 16
	op nop
	op addq %rcx, %rdx
	op leaq 1(%rsi), %rdi
	op xorl %r8d, %r8d
	.endr
	again dense

	/* branches that can't be predicted */
	prog branches
	body branches
	random
	op btq $31, %rax
	br jc 1f
	rbx
1:	op btq $29, %rax
	br jnc 2f
	rbx
2:	op testq $0x30000000, %rax
	br jz 3f
	rbx
3:	op btq $27, %rax
	br jc 4f
	rbx
4:	again branches

	prog calls, PROG_JUMPS
	op leaq 2f(%rip), %rdx
	body calls
	op call 1f
	op call *%rdx
	op jmp 3f
1:	op pushq %rax
	op popq %rcx
	op ret
2:	op xchgq %rcx, %rsi
	op ret
3:	again calls

	prog memory
	op movl $GUEST_DATA, %edi
	body memory
	random
	op movl %eax, %edx
	op andl $(GUEST_DATA_SIZE - 64), %edx
	op movq %rax, (%rdi, %rdx)
	op addq 8(%rdi, %rdx), %rcx
	op incq 16(%rdi, %rdx)
	op prefetcht0 4096(%rdi)
	op mfence
	op clflush (%rdi, %rdx)
	again memory

	/* Zen: see SpecLockMap in host.c */
	prog locked
	op movl $GUEST_DATA, %edi
	body locked
	op lock incq (%rdi)
	op lock addl $3, 64(%rdi)
	br js 1f
1:	op xchgq %rcx, 128(%rdi)
	op lock btsq $5, 192(%rdi)
	br jc 2f
2:	op movq 256(%rdi), %rax
	op lock cmpxchgq %rdx, 256(%rdi)
	br jz 3f
3:	again locked

	/* lengths from 0 to 4095; an interrupt may cut them anywhere */
	prog string
	body string
	random
	op movl $GUEST_DATA, %edi
	op movl $GUEST_DATA + 0x10000, %esi
	op movq %rax, %rcx
	op shrq $16, %rcx
	op andl $4095, %ecx
	op movl %ecx, %edx
	op rep movsb
	op movl $GUEST_DATA + 0x20000, %edi
	op movl %edx, %ecx
	op shrl $3, %ecx
	op rep stosq
	op movl $GUEST_DATA, %edi
	op movl $GUEST_DATA + 0x10000, %esi
	op movl %edx, %ecx
	op repe cmpsb
	op movl $GUEST_DATA + 0x20000, %edi
	op movl $16, %ecx
	op repne scasb
	op xorl %ecx, %ecx
	op rep lodsq
	again string

	/* across lines, across pages */
	prog unaligned
	op movl $GUEST_WINDOW, %edi
	body unaligned
	op movq 61(%rdi), %rax
	op addq %rax, 125(%rdi)
	op movq 4093(%rdi), %rcx
	op incq 8189(%rdi)
	op movups 4089(%rdi), %xmm0
	op movups %xmm0, 12281(%rdi)
	op addl %ecx, 4158(%rdi)
	again unaligned

	/* a TLB miss for each access, mostly */
	prog pagewalk
	op movl $GUEST_WINDOW, %edi
	body pagewalk
	random
	op movq %rax, %rdx
	op shrq $16, %rdx
	op andl $(GUEST_WINDOW_PAGES - 1), %edx
	op shlq $12, %rdx
	op invlpg (%rdi, %rdx)
	op addq 8(%rdi, %rdx), %rcx
	op incq (%rdi, %rdx)
	op movq %cr3, %rsi
	op movq %rsi, %cr3
	again pagewalk

	/* the slowest instructions: few of them retire in a given time */
	prog divide
	op movl $7, %ecx
	body divide
	op movq $-1, %rax
	op movl $3, %edx
	op divq %rcx
	op xorl %edx, %edx
	op divq %rcx
	op movl %eax, %esi
	op xorl %edx, %edx
	op divq %rcx
	again divide

	/* denormal numbers and transcendental functions: microcode's work */
	prog float
	op movl $GUEST_DATA, %edi
	op movq $1, %rax
	op movq %rax, (%rdi)
	op movq (%rdi), %xmm1
	op fninit
	body float
	op movapd %xmm1, %xmm0
	op mulsd %xmm1, %xmm0
	op addsd %xmm1, %xmm0
	op sqrtsd %xmm1, %xmm2
	op fld1
	op fldl (%rdi)
	op fyl2x
	op fldpi
	op fsin
	op faddp
	op fstpl 8(%rdi)
	again float

	/* each load waits for the one before, and misses the caches */
	prog chase
	op movl $GUEST_CHAIN, %esi
	body chase
	op movq (%rsi), %rsi
	op movq (%rsi), %rsi
	op movq (%rsi), %rsi
	op movq (%rsi), %rsi
	again chase

	/* every page of the window once */
	prog touch
	op movl $GUEST_WINDOW, %edi
	body touch
	op incq (%rdi)
	op addq $4096, %rdi
	again touch

/* ---- exits, one kind each ---- */

	prog cpuid
	body cpuid
	op xorl %eax, %eax
	op xorl %ecx, %ecx
	never cpuid
	op testl %ebx, %ebx
	op xorl %ebx, %ebx
	again cpuid

	prog port
	body port
	op nop
	never outb %al, $PORT_SYNC
	op nop
	never inb $PORT_SYNC, %al
	again port

	prog halt
	body halt
	op nop
	never hlt
	op nop
	again halt

	prog msr
	body msr
	op movl $0x1b, %ecx		/* IA32_APIC_BASE: never the guest's own */
	never rdmsr
	op nop
	again msr

	prog mmio
	op movl $GUEST_MMIO, %esi
	body mmio
	op nop
	never movl (%rsi), %eax
	never movl %eax, 4(%rsi)
	op nop
	again mmio

/* ---- events ---- */

	/* the program comes to a point where something can be injected */
	prog inject
	body inject
	op nop
	never outb %al, $PORT_SYNC
	op nop
	op addq %rcx, %rdx
	again inject

	/* exceptions of the guest's own making, one of each kind, handled by itself */
	prog faults, PROG_EVENTS
	op movl $GUEST_WINDOW, %edi
	body faults
	never outb %al, $PORT_SYNC
	op xorl %ecx, %ecx
	never divl %ecx			/* two bytes, as UD2 */
	never ud2
	op int3
	op int $VECTOR_SOFT
	op andb $0xfe, GUEST_PT
	op invlpg (%rdi)
	op movl (%rdi), %eax		/* #PF, and then not */
	again faults

	.balign 4096
	.globl guest_code_end
guest_code_end:

	.section .rodata.guest_ops, "a", @progbits
	.globl guest_ops_end
guest_ops_end:
	.section .rodata.guest_progs, "a", @progbits
	.globl guest_progs_end
guest_progs_end:

	.section .note.GNU-stack, "", @progbits
