// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "open_as.h"
#include "privilege.h"

#define MAY_WRITE	2
#define MAY_SEARCH	1

int ft_user_of(int sock, struct ftuser *user, pid_t *pid)
{
	socklen_t len = sizeof(struct ucred), size = sizeof(user->groups);
	struct ucred peer;

	*user = (struct ftuser)FTUSER_NOBODY;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return -errno;
	/* one that is in too many is taken to be in none */
	if (!getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, user->groups, &size))
		user->ngroups = size / sizeof(*user->groups);
	*pid = peer.pid;
	user->uid = peer.uid;
	user->gid = peer.gid;
	return 0;
}

/* False: ftd may not, as it is not root. (The C library's setgroups() would be for all threads.) */
static bool become(const struct ftuser *user)
{
	if (syscall(SYS_setgroups, user->ngroups, user->groups))
		return false;
	setfsgid(user->gid);
	setfsuid(user->uid);
	return (gid_t)setfsgid(-1) == user->gid && (uid_t)setfsuid(-1) == user->uid && !privilege_lay_down();
}

static bool may(const struct ftuser *user, const struct stat *st, mode_t what)
{
	bool in = user->gid == st->st_gid;
	size_t i;

	if (user->uid == st->st_uid)
		return (st->st_mode >> 6 & what) == what;
	for (i = 0; !in && i < user->ngroups; i++)
		in = user->groups[i] == st->st_gid;
	return ((in ? st->st_mode >> 3 : st->st_mode) & what) == what;
}

/* By a path that leads to what was looked at, whatever has its name by now. */
static int open_seen(const struct ftuser *user, int seen, mode_t what, int flags)
{
	struct stat st;
	char path[32];
	int fd;

	if (fstat(seen, &st))
		return -errno;
	if (!may(user, &st, what))
		return -EACCES;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", seen);
	fd = open(path, flags);
	return fd < 0 ? -errno : fd;
}

static int make_seen(const struct ftuser *user, const char *path, int flags, mode_t mode)
{
	const char *name = strrchr(path, '/');
	char dir[PATH_MAX];
	int seen, at, fd;

	if (!name || (size_t)snprintf(dir, sizeof(dir), "%.*s/", (int)(name - path), path) >= sizeof(dir))
		return -ENOENT;
	seen = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (seen < 0)
		return -errno;
	at = open_seen(user, seen, MAY_WRITE | MAY_SEARCH, O_PATH | O_DIRECTORY | O_CLOEXEC);
	close(seen);
	if (at < 0)
		return at;
	fd = openat(at, name + 1, flags | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
	if (fd < 0) {
		/* a link to what is not there */
		fd = errno == EEXIST ? -EACCES : -errno;
	} else if (fchown(fd, user->uid, user->gid)) {
		close(fd);
		fd = -EPERM;
	}
	close(at);
	return fd;
}

/* It can't be opened with that user's rights: what they are is seen by owners and modes. */
static int open_checked(const struct ftuser *user, const char *path, int flags, mode_t mode)
{
	int seen = open(path, O_PATH | O_CLOEXEC), fd;

	if (seen < 0)
		return errno == ENOENT && (flags & O_CREAT) ? make_seen(user, path, flags, mode) : -errno;
	fd = open_seen(user, seen, MAY_WRITE, flags & ~O_CREAT);
	close(seen);
	return fd;
}

int ft_open_as(const struct ftuser *user, const char *path, int flags, mode_t mode)
{
	int ret = 0;

	/* root's QEMU could open what ftd can */
	if (user->uid && user->uid == geteuid())
		ret = privilege_lay_down();
	else if (user->uid && !become(user))
		return open_checked(user, path, flags, mode);
	if (ret)
		return ret;
	ret = open(path, flags, mode);
	return ret < 0 ? -errno : ret;
}
