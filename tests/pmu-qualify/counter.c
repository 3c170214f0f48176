// SPDX-License-Identifier: GPL-2.0
/* The module's counter. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "qualify.h"

static int device = -1;

int counter_open_device(void)
{
	device = open(PMUQ_DEVICE, O_RDWR | O_CLOEXEC);
	return device < 0 ? -errno : 0;
}

static int call(unsigned long cmd, void *arg)
{
	return ioctl(device, cmd, arg) ? -errno : 0;
}

int counter_open(uint64_t event, bool count_host)
{
	struct pmuq_open arg = {
		.config = event,
		.flags = count_host ? PMUQ_COUNT_HOST : 0,
		.signal = SIGNAL_OVERFLOW,
	};

	return call(PMUQ_OPEN, &arg);
}

int counter_read(struct pmuq_state *state)
{
	return call(PMUQ_READ, state);
}

int counter_arm(uint64_t left)
{
	return call(PMUQ_ARM, &left);
}

int counter_msr(uint32_t index, uint32_t cpu, uint64_t *value)
{
	struct pmuq_msr msr = { .index = index, .cpu = cpu };
	int ret = call(PMUQ_MSR, &msr);

	*value = msr.value;
	return ret;
}

void counter_close(void)
{
	if (device >= 0)
		close(device);
	device = -1;
}

const char *counter_error(int err)
{
	switch (-err) {
	case ENOENT:
	case EOPNOTSUPP:
	case ENODEV:
		return "neither CPU nor hypervisor offers such a counter";
	case EBUSY:
		return "all counters are taken: stop other users (perf, nmi_watchdog=0)";
	case EINVAL:
		return "perf does not know this event";
	}
	return strerror(-err);
}
