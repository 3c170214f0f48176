/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ftd may open nearly every file, and a QEMU may be in bad hands: what is opened for a QEMU, by a path that it, or
 * who had it started, may have chosen, is opened only if QEMU's user could open it.
 */
#ifndef FTKVM_OPEN_AS_H
#define FTKVM_OPEN_AS_H

#include <stddef.h>
#include <sys/types.h>

#define FT_GROUPS_MAX	64	/* what is beyond does not count */

/* Whose a process is. */
struct ftuser {
	uid_t uid;
	gid_t gid;
	size_t ngroups;
	gid_t groups[FT_GROUPS_MAX];
};

/* Nobody's, who may open what everybody may. */
#define FTUSER_NOBODY	{ .uid = (uid_t)-1, .gid = (gid_t)-1 }

/* Who made the socket that @sock, a UNIX one, is connected to, and which process? 0 or -errno. */
int ft_user_of(int sock, struct ftuser *user, pid_t *pid);

/**
 * ft_open_as() - open(), as @user could
 * @flags: to write, not to read
 *
 * The thread has what @user has from then on, and nothing of ftd's: it is to be one that ends.
 * A file that is made is @user's.
 * Return: a descriptor, or -errno
 */
int ft_open_as(const struct ftuser *user, const char *path, int flags, mode_t mode);

#endif
