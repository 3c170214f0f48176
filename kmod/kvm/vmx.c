// SPDX-License-Identifier: GPL-2.0
/*
 * Intel VMX behind the vendor interface. Not finished: its hooks on
 * vmx_vcpu_run() and vmx_handle_exit() are missing, so a guest on such a host
 * is refused. What is known about the CPUs is here.
 */
#include "replica.h"
#include "vendor.h"

static void vmx_check(struct kvm_vcpu *vcpu, ftkvm_problem_fn fn, void *priv)
{
	fn(priv, FTKVM_SCOPE_HOST, "Intel VMX is not supported yet",
	   "use a host with an AMD CPU");
}

const struct ftkvm_vendor ftkvm_vmx = {
	.name = "Intel VMX",
	.module = "kvm_intel",
	.check = vmx_check,
};
