/* SPDX-License-Identifier: GPL-2.0 */
/* Functions that KVM exports to its vendor modules in headers of its own. */
#ifndef FTKVM_PRIVATE_H
#define FTKVM_PRIVATE_H

#include <linux/kvm_host.h>

struct kvm_cpuid_entry2 *kvm_find_cpuid_entry_index(struct kvm_vcpu *vcpu, u32 function,
						    u32 index);
struct kvm_cpuid_entry2 *kvm_find_cpuid_entry(struct kvm_vcpu *vcpu, u32 function);

#endif
