// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arbiter_child.h"
#include "children.h"

static struct children children = CHILDREN_INIT;

static noreturn void be_child(const struct arbiter_errand *e, int out)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Who is stuck must not hold what is ftd's, such as a guest's VM. */
	if (out > 3)
		close_range(3, out - 1, 0);
	close_range(out + 1, ~0U, 0);
	e->run(e->arg, e->reply);
	/* The whole of it, or it died. */
	if (write(out, e->reply, e->size) < 0)
		_exit(1);
	_exit(0);
}

/* Wait for it, but not for ever. */
static void part_with(int place, pid_t child, bool answered, int64_t deadline)
{
	int fd;

	if (!answered)
		kill(child, SIGKILL);
	fd = pidfd_open(child, 0);
	if (fd >= 0) {
		/* One that was killed goes at once, unless it is stuck. */
		ft_poll(fd, POLLIN, answered ? deadline : ft_now_ms() + 20);
		close(fd);
	}
	children_leave(&children, place, waitpid(child, NULL, WNOHANG) ? 0 : child);
}

int arbiter_child_send(const struct arbiter_errand *e, int64_t deadline, struct fterr *err)
{
	int place = children_take(&children), fds[2], ret;
	ssize_t len = -1;
	pid_t child;

	if (place < 0)
		return ft_fail(err, place, "%s holds too many questions; %s", e->place, e->remedy);
	if (pipe2(fds, O_CLOEXEC)) {
		children_leave(&children, place, 0);
		return ft_fail(err, -errno, "cannot ask the arbiter: no pipe: %s", strerror(errno));
	}
	memset(e->reply, 0, e->size);
	child = fork();
	if (!child)
		be_child(e, fds[1]);
	ret = child < 0 ? -errno : 0;
	close(fds[1]);
	if (ret) {
		children_leave(&children, place, 0);
		ft_fail(err, ret, "cannot ask the arbiter: no process: %s", strerror(-ret));
	} else {
		ret = ft_poll(fds[0], POLLIN, deadline);
		if (!ret)
			len = read(fds[0], e->reply, e->size);
		part_with(place, child, len == (ssize_t)e->size, deadline);
		if (ret)
			ft_fail(err, ret, "%s does not answer; %s", e->place, e->remedy);
		else if (len != (ssize_t)e->size)
			ret = ft_fail(err, -EIO, "who asked %s died; ask again", e->place);
	}
	close(fds[0]);
	return ret;
}
