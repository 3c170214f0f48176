// SPDX-License-Identifier: GPL-2.0
/*
 * Emptying a ring buffer. What QEMU has given away it has no more, and ftd may be
 * killed before it has written that down. So a process of its own takes it, which
 * a signal for ftd does not reach, and ends when all is kept.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "console.h"

#define READS_MAX	16	/* of a whole ring */

ssize_t ftcon_base64(const char *text, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned int bits = 0, have = 0;
	char *at = out;

	for (; *text && *text != '='; text++) {
		const char *d = strchr(digits, *text);

		if (!d)
			return -EINVAL;
		bits = bits << 6 | (unsigned int)(d - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			*at++ = bits >> have;
		}
	}
	return at - out;
}

static ssize_t empty_ring(struct ftqmp *q, struct ftconsole *con, bool all, struct fterr *err)
{
	ssize_t total = 0, len;

	do {
		json_t *answer = ftqmp_run(q, "ringbuf-read",
					   json_pack("{s:s, s:i, s:s}", "device", con->id, "size",
						     FTCON_RING_SIZE, "format", "base64"), err);
		const char *text = json_string_value(answer);
		char *data;

		if (!answer)
			return ft_fail_prefix(err, "console %s can't be read: ", con->id);
		data = malloc(text ? strlen(text) + 1 : 1);
		len = data && text ? ftcon_base64(text, data) : -EINVAL;
		if (len > 0 && ftcon_append(con, data, len, all))
			len = -ENOMEM;
		if (len > 0)
			ftcon_keep(con);
		free(data);
		json_decref(answer);
		if (len < 0)
			return ft_fail(err, len, "console %s can't be read: %s", con->id, strerror(-len));
		total += len;
		/* A guest that prints without end must not hold us up. */
	} while (len == FTCON_RING_SIZE && total < READS_MAX * FTCON_RING_SIZE);
	return total;
}

/* What that process says at its end; the line, and what it read too far, come behind it. */
struct collected {
	ssize_t total;
	unsigned int id;
	size_t len, have;
	struct fterr err;
};

/* Nothing else of ftd's is to outlive it: another one will want its sockets. */
static void close_others(int a, int b)
{
	unsigned int low = a < b ? a : b, high = a < b ? b : a;

	if (low > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0U, 0);
}

static void __attribute__((noreturn)) take(struct ftqmp *q, struct ftconsole *con, bool all, int to)
{
	int64_t deadline = ft_now_ms() + FTQMP_TIMEOUT_MS;
	struct collected c = { 0 };

	close_others(q->fd, to);
	setsid();
	c.total = empty_ring(q, con, all, &c.err);
	c.id = q->id;
	c.len = con->len;
	c.have = q->have;
	/* without ftd this is for nobody */
	if (!ft_write_all(to, &c, sizeof(c), deadline) &&
	    !ft_write_all(to, con->line, c.len, deadline))
		ft_write_all(to, q->buf, c.have, deadline);
	_exit(0);
}

static int read_all(int fd, void *data, size_t len, int64_t deadline)
{
	char *at = data;

	while (len) {
		int ret = ft_poll(fd, POLLIN, deadline);
		ssize_t n;

		if (ret)
			return ret;
		n = read(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		at += n;
		len -= n;
	}
	return 0;
}

/* 0: what it did is ours now, as if we had done it. */
static int taken(struct ftqmp *q, struct ftconsole *con, struct collected *c, int from)
{
	int64_t deadline = ft_now_ms() + (READS_MAX + 1) * FTQMP_TIMEOUT_MS;
	char *line = NULL, *buf = NULL;
	int ret = read_all(from, c, sizeof(*c), deadline);

	if (!ret) {
		line = malloc(c->len + 1);
		buf = malloc(c->have + 1);
		ret = line && buf ? read_all(from, line, c->len, deadline) : -ENOMEM;
	}
	if (!ret)
		ret = read_all(from, buf, c->have, deadline);
	if (ret) {
		free(line);
		free(buf);
		return ret;
	}
	free(con->line);
	con->line = line;
	con->len = c->len;
	free(q->buf);
	q->buf = buf;
	q->have = c->have;
	q->size = c->have + 1;
	q->id = c->id;
	return 0;
}

ssize_t ftcon_collect(struct ftqmp *q, struct ftconsole *con, bool all, struct fterr *err)
{
	struct collected c;
	int pair[2];
	pid_t pid;
	int ret;

	if (!*con->kept || q->fd < 0)
		return empty_ring(q, con, all, err);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return ft_fail(err, -errno, "console %s can't be read: %s", con->id, strerror(errno));
	pid = fork();
	if (!pid)
		take(q, con, all, pair[1]);
	ret = pid < 0 ? -errno : 0;
	close(pair[1]);
	if (!ret)
		ret = taken(q, con, &c, pair[0]);
	close(pair[0]);
	if (pid > 0) {
		/* it hangs, or is ending */
		if (ret)
			kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (ret) {
		/* it may have asked for more than was read */
		if (pid > 0)
			ftqmp_close(q);
		return ft_fail(err, ret, "console %s can't be read: %s", con->id, strerror(-ret));
	}
	if (c.total < 0)
		return ft_fail(err, c.total, "%s", c.err.text);
	return c.total;
}
