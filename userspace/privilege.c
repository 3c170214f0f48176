// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>
#include "privilege.h"

/* ftd.service.in has the same list. */
static const struct {
	unsigned int number;
	const char *name, *use;
} needed[] = {
	/* and for a tap that is nobody's, to find the file of a socket, and to load the kernel's module tls */
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN", "to talk to the kernel module" },
	/* pidfd_getfd(), and what /proc says of its descriptors */
	{ CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "to get the KVM machine of a QEMU" },
	/*
	 * and the monitors, consoles and macvtaps that others own, /proc/PID/fd, keys that are root's alone, and
	 * sanlock's socket and device
	 */
	{ CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "to open monitors and disks of other users" },
	{ CAP_CHOWN, "CAP_CHOWN", "to give a device's socket to QEMU's user" },
};

static unsigned int held;	/* bits of needed[] */

/* The C library has neither. */
static int get(struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capget, &head, data) ? -errno : 0;
}

static int set(const struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

int privilege_settle(struct fterr *err)
{
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3] = { };
	struct __user_cap_data_struct keep[_LINUX_CAPABILITY_U32S_3] = { };
	size_t i;
	int ret;

	if (!geteuid())
		return 0;
	ret = get(have);
	for (i = 0; i < ARRAY_SIZE(needed); i++) {
		unsigned int at = CAP_TO_INDEX(needed[i].number), bit = CAP_TO_MASK(needed[i].number);

		if (!(have[at].permitted & bit))
			continue;
		held |= 1U << i;
		keep[at].permitted |= bit;
		keep[at].effective |= bit;
	}
	/* What is inheritable no more is not ambient any more, either. */
	if (!ret)
		ret = set(keep);
	return ret ? ft_fail(err, ret, "cannot give up capabilities: %s", strerror(-ret)) : 0;
}

bool privilege_complete(struct fterr *err)
{
	char list[400] = "";
	size_t i, at = 0;

	if (!geteuid())
		return true;
	for (i = 0; i < ARRAY_SIZE(needed); i++)
		if (!(held & (1U << i)))
			at += snprintf(list + at, sizeof(list) - at, "%s%s (%s)", at ? ", " : "", needed[i].name,
				       needed[i].use);
	if (!at)
		return true;
	ft_fail(err, -EPERM, "ftd has not %s: run: systemctl start ftd, whose unit gives it (AmbientCapabilities=, "
		"CapabilityBoundingSet=), or start it as root", list);
	return false;
}

bool privilege_above_user(void)
{
	return held;
}

int privilege_lay_down(void)
{
	static const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

	return set(none);
}
