// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "children.h"
#include "fence.h"

#define KILL_MS	2000
#define POLL_US	10000

static struct children children = CHILDREN_INIT;

static int spawn(pid_t *pid, const char *hook, const char *guest, const char *peer)
{
	char *argv[] = { (char *)hook, (char *)guest, (char *)peer, NULL };
	char name[96], other[160], path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *env[] = { name, other, path, NULL };
	posix_spawnattr_t attr;
	sigset_t none, all;
	int ret;

	snprintf(name, sizeof(name), "FTKVM_GUEST=%s", guest);
	snprintf(other, sizeof(other), "FTKVM_PEER=%s", peer);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	/* ftd blocks and ignores some; in a group of its own all of it can be killed */
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
				 POSIX_SPAWN_SETPGROUP);
	ret = posix_spawn(pid, hook, NULL, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	return -ret;
}

/* 0, or who is not gone by then: it; or, if it was @killed, what it has run, as a group: below 0. */
static pid_t reap(pid_t pid, bool killed, int *status, int64_t deadline)
{
	pid_t left = pid;

	for (;;) {
		if (left > 0 && waitpid(pid, status, WNOHANG) == pid)
			left = killed ? -pid : 0;
		if (left < 0 && kill(left, 0) && errno == ESRCH)
			left = 0;
		if (!left || ft_now_ms() >= deadline)
			return left;
		usleep(POLL_US);
	}
}

int fence_run(const char *hook, unsigned int timeout_s, const char *guest, const char *peer,
	      struct fterr *err)
{
	int64_t deadline = ft_now_ms() + timeout_s * 1000LL;
	int place = children_take(&children), status, fd, ret;
	pid_t pid, left;

	if (place < 0)
		return ft_fail(err, place, "the fence hook %s is not run: %d that were killed are still there, stuck in the kernel; see "
			       "what they wait for: ps -eo pid,stat,wchan:32,args", hook, CHILDREN_STUCK);
	ret = spawn(&pid, hook, guest, peer);
	if (ret) {
		children_leave(&children, place, 0);
		return ft_fail(err, ret, "the fence hook %s can't be run: %s", hook, strerror(-ret));
	}
	fd = pidfd_open(pid, 0);
	ret = fd < 0 ? -errno : ft_poll(fd, POLLIN, deadline);
	if (ret)
		kill(-pid, SIGKILL);
	if (fd >= 0)
		close(fd);
	left = reap(pid, ret, &status, ft_now_ms() + KILL_MS);
	children_leave(&children, place, left);
	if (left)
		return ft_fail(err, -ETIMEDOUT, "the fence hook %s did not end within %u s, and was killed, but %s %d is stuck in the "
			       "kernel", hook, timeout_s, left > 0 ? "process" : "a process of group", pid);
	if (ret)
		return ft_fail(err, ret, "the fence hook %s did not end within %u s and was killed", hook, timeout_s);
	if (WIFSIGNALED(status))
		return ft_fail(err, -EIO, "the fence hook %s was killed by signal %d", hook, WTERMSIG(status));
	if (WEXITSTATUS(status))
		return ft_fail(err, -EIO, "the fence hook %s ended with status %d", hook, WEXITSTATUS(status));
	return 0;
}
