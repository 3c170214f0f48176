/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The assembly of the interposition seam.
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
