/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interposition seam: which functions of stock KVM are redirected, and
 * how the unhooked ones are called. A KVM that offers real hooks some day
 * replaces hooks.c, stubs.S and this header.
 */
#ifndef FTKVM_HOOKS_H
#define FTKVM_HOOKS_H

#include <linux/kvm_host.h>
#include <linux/kvm.h>
#include <linux/percpu.h>

struct kvm_lapic;
struct dest_map;

/* called at the begin of each redirected function, by no C code (stubs.S) */
void ftkvm_hooks_entry(void);

/* where the unhooked functions go on; set before the hooks are (stubs.S) */
extern unsigned long ftkvm_cont_vcpu_run,
	ftkvm_cont_kvm_vcpu_ioctl, ftkvm_cont_kvm_vcpu_release, ftkvm_cont_kvm_vcpu_halt,
	ftkvm_cont_kvm_vcpu_check_block, ftkvm_cont___apic_accept_irq,
	ftkvm_cont_kvm_inject_nmi, ftkvm_cont_vcpu_mmio_read,
	ftkvm_cont_complete_emulated_mmio, ftkvm_cont_emulator_pio_in_out,
	ftkvm_cont_complete_emulator_pio_in, ftkvm_cont_kvm_io_bus_write,
	ftkvm_cont_svm_vcpu_run, ftkvm_cont_svm_handle_exit;

/* the unhooked functions (stubs.S) */
int ftkvm_orig_vcpu_run(struct kvm_vcpu *vcpu);
long ftkvm_orig_kvm_vcpu_ioctl(struct file *filp, unsigned int ioctl, unsigned long arg);
void ftkvm_orig_kvm_vcpu_halt(struct kvm_vcpu *vcpu);
int ftkvm_orig_kvm_vcpu_release(struct inode *inode, struct file *filp);
int ftkvm_orig_kvm_vcpu_check_block(struct kvm_vcpu *vcpu);
int ftkvm_orig___apic_accept_irq(struct kvm_lapic *apic, int delivery_mode, int vector,
				 int level, int trig_mode, struct dest_map *dest_map);
void ftkvm_orig_kvm_inject_nmi(struct kvm_vcpu *vcpu);
int ftkvm_orig_vcpu_mmio_read(struct kvm_vcpu *vcpu, gpa_t addr, int len, void *v);
int ftkvm_orig_complete_emulated_mmio(struct kvm_vcpu *vcpu);
int ftkvm_orig_emulator_pio_in_out(struct kvm_vcpu *vcpu, int size, unsigned short port,
				   void *data, unsigned int count, bool in);
void ftkvm_orig_complete_emulator_pio_in(struct kvm_vcpu *vcpu, void *val);
int ftkvm_orig_kvm_io_bus_write(struct kvm_vcpu *vcpu, enum kvm_bus bus_idx, gpa_t addr,
				int len, const void *val);
fastpath_t ftkvm_orig_svm_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags);
int ftkvm_orig_svm_handle_exit(struct kvm_vcpu *vcpu, fastpath_t exit_fastpath);

/* what comes before the functions that take long: true, the result is in @ret */
bool ftkvm_pre_vcpu_run(struct kvm_vcpu *vcpu, long unused1, long unused2, long *ret);
bool ftkvm_pre_kvm_vcpu_ioctl(struct file *filp, unsigned int ioctl, unsigned long arg,
			      long *ret);
bool ftkvm_pre_kvm_vcpu_halt(struct kvm_vcpu *vcpu, long unused1, long unused2, long *ret);
bool ftkvm_pre_svm_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags, long unused, long *ret);
void ftkvm_hook_svm_vcpu_run(void);
void ftkvm_hook_vcpu_run(void);
void ftkvm_hook_kvm_vcpu_ioctl(void);
void ftkvm_hook_kvm_vcpu_halt(void);

/* what stands in for the others: run.c, io.c, input.c, svm.c */
int ftkvm_hook_kvm_vcpu_release(struct inode *inode, struct file *filp);
int ftkvm_hook_kvm_vcpu_check_block(struct kvm_vcpu *vcpu);
int ftkvm_hook___apic_accept_irq(struct kvm_lapic *apic, int delivery_mode, int vector,
				 int level, int trig_mode, struct dest_map *dest_map);
void ftkvm_hook_kvm_inject_nmi(struct kvm_vcpu *vcpu);
int ftkvm_hook_vcpu_mmio_read(struct kvm_vcpu *vcpu, gpa_t addr, int len, void *v);
int ftkvm_hook_complete_emulated_mmio(struct kvm_vcpu *vcpu);
int ftkvm_hook_emulator_pio_in_out(struct kvm_vcpu *vcpu, int size, unsigned short port,
				   void *data, unsigned int count, bool in);
void ftkvm_hook_complete_emulator_pio_in(struct kvm_vcpu *vcpu, void *val);
int ftkvm_hook_kvm_io_bus_write(struct kvm_vcpu *vcpu, enum kvm_bus bus_idx, gpa_t addr,
				int len, const void *val);
int ftkvm_hook_svm_handle_exit(struct kvm_vcpu *vcpu, fastpath_t exit_fastpath);

/*
 * Every hook is bracketed by these: once the hooks are removed, the module
 * waits until no task is inside one. Any context; they nest.
 */
DECLARE_PER_CPU(long, ftkvm_hooks_inside);

static inline void ftkvm_hook_enter(void)
{
	this_cpu_inc(ftkvm_hooks_inside);
}

static inline void ftkvm_hook_leave(void)
{
	this_cpu_dec(ftkvm_hooks_inside);
}

#endif
