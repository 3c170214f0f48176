/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The assembly of the interposition seam.
 *
 * ftkvm_hooks_entry: what ftrace has the redirected functions call first, with
 * nothing saved: their arguments are in place, and only what a function may
 * change at its begin is changed. For a guest that is not in care it returns
 * to them; others go to ftkvm_hook_<function>, again by a return, as this call
 * was predicted to have one.
 *
 * ftkvm_orig_<function>: the unhooked function. It begins behind the ftrace
 * call site, so the hook is not entered again. A return reaches it, as that
 * needs no ENDBR at the target (kernel IBT; most targets have none). It is a
 * return as the kernel's own are, with what these do against speculation, and
 * has a call of its own to be predicted by: others' stay paired.
 *
 * ftkvm_hook_<function> with FTKVM_PRE: for functions that a vCPU stays in for
 * as long as its guest runs or sleeps. ftkvm_pre_<function>() is called with the
 * same arguments and a place for the result; when it returns false the
 * function goes on as if there were no hook, and no frame of the module is on
 * the stack meanwhile, so that the module can be let go of.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/nospec-branch.h>
#include <asm/unwind_hints.h>

/* Go on behind the target's call site, with the caller's stack. */
.macro FTKVM_GO_ON name:req
	movq	ftkvm_cont_\name(%rip), %r11
	ANNOTATE_INTRA_FUNCTION_CALL
	call	.Lgo\@_\name
	int3
.Lgo\@_\name:
	CALL_DEPTH_ACCOUNT
	movq	%r11, (%rsp)
	UNWIND_HINT_FUNC	/* as if the target had called */
	RET
.endm

.macro FTKVM_ORIG name:req
	.pushsection .data
	.balign 8
	.globl ftkvm_cont_\name
ftkvm_cont_\name:
	.quad 0
	.popsection
SYM_FUNC_START(ftkvm_orig_\name)
	ANNOTATE_NOENDBR
	FTKVM_GO_ON \name
SYM_FUNC_END(ftkvm_orig_\name)
.endm

.macro FTKVM_PRE name:req
	FTKVM_ORIG \name
SYM_FUNC_START(ftkvm_hook_\name)
	ANNOTATE_NOENDBR
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	$0
	movq	%rsp, %rcx
	call	ftkvm_pre_\name
	testb	%al, %al
	popq	%rax
	popq	%rdx
	popq	%rsi
	popq	%rdi
	jz	.Lgo_on_\name
	RET
.Lgo_on_\name:
	FTKVM_GO_ON \name
SYM_FUNC_END(ftkvm_hook_\name)
.endm

	.text
/* Only guests of which ftkvm_hooks_care knows: for functions whose first argument is a vCPU. */
.macro FTKVM_IF_IN_CARE
	movq	(%rdi), %r10		/* its kvm */
	shrq	$12, %r10
	movzbl	%r10b, %r10d
	cmpw	$0, ftkvm_hooks_care(,%r10,2)
	je	.Lnot_ours
.endm

.macro FTKVM_IF_AT name:req
	cmpq	ftkvm_cont_\name(%rip), %r11
	jne	.Lnot_\name
.endm

.macro FTKVM_GO_TO name:req
	leaq	ftkvm_hook_\name(%rip), %r10
	jmp	.Lours
.Lnot_\name:
.endm

.macro FTKVM_VCPU name:req
	FTKVM_IF_AT \name
	FTKVM_IF_IN_CARE
	FTKVM_GO_TO \name
.endm

.macro FTKVM_ANY name:req
	FTKVM_IF_AT \name
	FTKVM_GO_TO \name
.endm

SYM_FUNC_START(ftkvm_hooks_entry)
	ANNOTATE_NOENDBR
	CALL_DEPTH_ACCOUNT	/* nobody did, for that call */
	movq	(%rsp), %r11
	/* the frequent ones first */
	FTKVM_VCPU svm_vcpu_run
	FTKVM_VCPU svm_handle_exit
	FTKVM_VCPU emulator_pio_in_out
	FTKVM_VCPU complete_emulator_pio_in
	FTKVM_VCPU vcpu_run
	FTKVM_ANY kvm_vcpu_ioctl
	FTKVM_VCPU kvm_io_bus_write
	FTKVM_ANY __apic_accept_irq
	FTKVM_VCPU kvm_vcpu_halt
	FTKVM_VCPU kvm_vcpu_check_block
	FTKVM_VCPU vcpu_mmio_read
	FTKVM_VCPU complete_emulated_mmio
	FTKVM_VCPU kvm_inject_nmi
	FTKVM_ANY kvm_vcpu_release
.Lnot_ours:
	RET
.Lours:
	movq	%r10, (%rsp)
	UNWIND_HINT_FUNC
	RET
SYM_FUNC_END(ftkvm_hooks_entry)

FTKVM_PRE vcpu_run
FTKVM_PRE kvm_vcpu_ioctl
FTKVM_PRE kvm_vcpu_halt
FTKVM_PRE svm_vcpu_run
FTKVM_ORIG kvm_vcpu_release
FTKVM_ORIG kvm_vcpu_check_block
FTKVM_ORIG __apic_accept_irq
FTKVM_ORIG kvm_inject_nmi
FTKVM_ORIG vcpu_mmio_read
FTKVM_ORIG complete_emulated_mmio
FTKVM_ORIG emulator_pio_in_out
FTKVM_ORIG complete_emulator_pio_in
FTKVM_ORIG kvm_io_bus_write
FTKVM_ORIG svm_handle_exit
