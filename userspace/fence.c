// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
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

/* --- many guests, one host ----------------------------------------------------- */

/**
 * struct run - a hook that is run
 * @users: who runs it, and who waits
 * @hook, @host, @guest: the runner's; @hook is looked at only while it is in the list
 * @done: it is not in it any more, and has come to @ret, @err
 */
struct run {
	struct run *next;
	unsigned int users;
	const char *hook;
	char host[256], guest[64];
	bool done;
	int ret;
	struct fterr err;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static struct run *runs;

/* ADDRESS:PORT, [ADDRESS]:PORT or ADDRESS */
static void host_of(const char *peer, char *host, size_t size)
{
	const char *colon = strchr(peer, ':');

	if (*peer == '[')
		snprintf(host, size, "%.*s", (int)strcspn(peer + 1, "]"), peer + 1);
	else if (colon && !strchr(colon + 1, ':'))
		snprintf(host, size, "%.*s", (int)(colon - peer), peer);
	else
		snprintf(host, size, "%s", peer);
}

/* With the lock. */
static void leave(struct run *r)
{
	if (!--r->users)
		free(r);
}

/* With the lock, which is not held while it waits. */
static int wait_for(struct run *r, const char *guest, struct fterr *err)
{
	int ret;

	r->users++;
	while (!r->done)
		pthread_cond_wait(&ended, &lock);
	ret = r->ret;
	if (ret)
		*err = r->err;
	else
		ft_log(SD_NOTICE, "guest %s: host %s is fenced: the hook was run for guest %s", guest, r->host, r->guest);
	leave(r);
	return ret;
}

static struct run *find(const char *hook, const char *host)
{
	struct run *r;

	for (r = runs; r && (strcmp(r->hook, hook) || strcmp(r->host, host)); r = r->next)
		;
	return r;
}

int fence_host(const char *hook, unsigned int timeout_s, const char *guest, const char *peer,
	       struct fterr *err)
{
	struct run *r = calloc(1, sizeof(*r)), *other, **at;
	int ret;

	if (!r)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	r->users = 1;
	r->hook = hook;
	host_of(peer, r->host, sizeof(r->host));
	snprintf(r->guest, sizeof(r->guest), "%s", guest);
	pthread_mutex_lock(&lock);
	other = find(hook, r->host);
	if (other) {
		leave(r);
		ret = wait_for(other, guest, err);
		pthread_mutex_unlock(&lock);
		return ret;
	}
	r->next = runs;
	runs = r;
	pthread_mutex_unlock(&lock);
	ret = fence_run(hook, timeout_s, guest, peer, err);
	pthread_mutex_lock(&lock);
	for (at = &runs; *at != r; at = &(*at)->next)
		;
	*at = r->next;
	r->done = true;
	r->ret = ret;
	if (ret)
		r->err = *err;
	pthread_cond_broadcast(&ended);
	leave(r);
	pthread_mutex_unlock(&lock);
	return ret;
}
