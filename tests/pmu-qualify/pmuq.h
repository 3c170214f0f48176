/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/pmuq: a counter of guest mode for the calling thread, as ftkvm has it.
 *
 * One counter per open file. It follows the thread that made it, and only that
 * thread can read and arm it. An overflow sends the thread a signal, so that
 * KVM_RUN returns at the exit that the overflow's NMI forced.
 */
#ifndef PMUQ_H
#define PMUQ_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PMUQ_DEVICE	"/dev/pmuq"

/*
 * Count host mode as well: a control, under which the tests must fail. Such a
 * counter can't be armed: after a short while it would overflow in its own NMI.
 */
#define PMUQ_COUNT_HOST	(1 << 0)

/**
 * struct pmuq_open - make the counter
 * @config: raw event, as in perf_event_attr.config
 * @flags: PMUQ_*
 * @signal: sent to the thread at an overflow; 0: none
 */
struct pmuq_open {
	__u64 config;
	__u32 flags;
	__u32 signal;
};

/**
 * struct pmuq_state - the counter now
 * @count: events since it was made
 * @target: the count at which it was set to overflow
 * @at_overflow: @count when the first overflow's NMI came; valid if @overflows
 * @overflows: NMIs since it was set last
 * @cpu: where it is active
 */
struct pmuq_state {
	__u64 count;
	__u64 target;
	__u64 at_overflow;
	__u32 overflows;
	__u32 cpu;
};

/**
 * struct pmuq_msr - a model specific register
 * @index: one that tells something about counters; others are refused
 * @cpu: of this CPU
 * @value: what it holds
 */
struct pmuq_msr {
	__u32 index;
	__u32 cpu;
	__u64 value;
};

#define PMUQ_MSR_SMI_COUNT	0x34		/* Intel: SMIs since reset */
#define PMUQ_MSR_LS_CFG		0xc0011020	/* AMD Zen: bit 54, SpecLockMap off */

#define PMUQ_OPEN	_IOW('q', 0x50, struct pmuq_open)
#define PMUQ_READ	_IOR('q', 0x51, struct pmuq_state)
/* Overflow after so many events more; the state that it was in before is lost. */
#define PMUQ_ARM	_IOW('q', 0x52, __u64)
#define PMUQ_MSR	_IOWR('q', 0x53, struct pmuq_msr)

#endif
