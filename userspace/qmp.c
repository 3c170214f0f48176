// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "qmp.h"
#include "text.h"

#define LINE_MAX_BYTES	(8 << 20)
#define READ_BYTES	16384	/* at once, where nobody waits for it */
#define NO_READ		-1	/* as a deadline: only what is in the buffer */

/*
 * Take the next line off the buffer, reading more if there is none.
 * Returns 1 with a line at *@line (valid until the next call), 0 when @deadline
 * is 0 (or NO_READ) and there is none yet, or -errno.
 */
static int next_line(struct ftqmp *q, char **line, size_t *used, int64_t deadline)
{
	size_t looked = 0;

	for (;;) {
		char *end = q->have > looked ? memchr(q->buf + looked, '\n', q->have - looked) : NULL;
		size_t room;
		ssize_t n;
		int ret;

		if (end) {
			*end = '\0';
			*line = q->buf;
			*used = end + 1 - q->buf;
			return 1;
		}
		if (deadline == NO_READ)
			return 0;
		looked = q->have;
		if (q->size - q->have < 4096) {
			size_t size = q->size ? q->size * 2 : READ_BYTES;
			char *buf = size > LINE_MAX_BYTES ? NULL : realloc(q->buf, size);

			if (!buf)
				return -EMSGSIZE;
			q->buf = buf;
			q->size = size;
		}
		if (deadline) {
			ret = ft_poll(q->fd, POLLIN, deadline);
			if (ret)
				return ret;
		}
		room = q->size - q->have;
		n = recv(q->fd, q->buf + q->have, deadline || room < READ_BYTES ? room : READ_BYTES, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (!deadline)
				return 0;
			continue;
		}
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		q->have += n;
	}
}

static void drop_line(struct ftqmp *q, size_t used)
{
	q->have -= used;
	memmove(q->buf, q->buf + used, q->have);
}

static void note_status(struct ftqmp *q, json_t *answer)
{
	const char *text = json_string_value(json_object_get(answer, "status"));

	snprintf(q->status, sizeof(q->status), "%s", text ? text : "");
}

/* What it says unasked, also where nobody listens for it; and the answer to ftqmp_look(). NULL: it was asked. */
static const char *event_of(struct ftqmp *q, const json_t *message)
{
	const char *event = json_string_value(json_object_get(message, "event"));

	if (!event) {
		if (q->looks && json_integer_value(json_object_get(message, "id")) == q->looks) {
			q->looks = 0;
			note_status(q, json_object_get(message, "return"));
		}
	} else if (!strcmp(event, "RESET")) {
		q->reset_ns = ft_boottime_ns();
	} else if (!strcmp(event, "STOP")) {
		q->stop_ns = ft_boottime_ns();
		q->moved = true;
	} else if (!strcmp(event, "RESUME")) {
		q->moved = true;
	}
	return event;
}

/* The next message, parsed; as next_line(). */
static int next_message(struct ftqmp *q, json_t **message, int64_t deadline)
{
	char *line = NULL;
	size_t used = 0;
	int ret = next_line(q, &line, &used, deadline);

	if (ret <= 0)
		return ret;
	*message = json_loads(line, 0, NULL);
	drop_line(q, used);
	if (!json_is_object(*message)) {
		json_decref(*message);
		return -EBADMSG;
	}
	return 1;
}

static int lost(const struct ftqmp *q, struct fterr *err, int code, const char *doing)
{
	if (code == -ETIMEDOUT)
		return ft_fail(err, code, "QEMU (process %d) does not answer its monitor (%s): it may be stopped, or hang",
			       q->pid, doing);
	return ft_fail(err, code, "the connection to QEMU's monitor broke (%s): %s", doing,
		       strerror(-code));
}

/* With a descriptor, which goes with the order's first byte. Steals @order. */
static int send_order(int to, json_t *order, int fd, int64_t deadline)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = "{", .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	char *text;
	int ret;

	if (fd < 0)
		return ft_send_json(to, order, deadline);
	text = json_dumps(order, JSON_COMPACT);
	json_decref(order);
	if (!text)
		return -ENOMEM;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	do {
		ret = sendmsg(to, &msg, MSG_NOSIGNAL);
	} while (ret < 0 && errno == EINTR);
	ret = ret < 0 ? -errno : ft_write_all(to, text + 1, strlen(text + 1), deadline);
	free(text);
	return ret;
}

static json_t *run(struct ftqmp *q, const char *command, json_t *args, int fd, struct fterr *err)
{
	int64_t deadline = ft_now_ms() + FTQMP_TIMEOUT_MS;
	json_t *order, *message, *value;
	int ret;

	if (q->until && q->until < deadline)
		deadline = q->until;
	if (q->fd < 0) {
		json_decref(args);
		ft_fail(err, -ENOTCONN, "no connection to QEMU's monitor");
		return NULL;
	}
	/* not even asked for, or it would be done when nobody knows */
	if (q->until && ft_now_ms() >= q->until) {
		json_decref(args);
		lost(q, err, -ETIMEDOUT, command);
		return NULL;
	}
	order = json_pack("{s:s, s:i}", "execute", command, "id", ++q->id);
	if (args)
		json_object_set_new(order, "arguments", args);
	ret = send_order(q->fd, order, fd, deadline);
	while (!ret) {
		ret = next_message(q, &message, deadline);
		if (ret < 0)
			break;
		ret = 0;
		value = json_object_get(message, "id");
		if (!json_is_integer(value) || json_integer_value(value) != q->id) {
			/* an event, or an answer nobody waits for */
			event_of(q, message);
			json_decref(message);
			/* it may have more and more to say */
			if (ft_now_ms() >= deadline)
				ret = -ETIMEDOUT;
			continue;
		}
		value = json_incref(json_object_get(message, "return"));
		if (!value) {
			const char *why = NULL;

			json_unpack(message, "{s:{s:s}}", "error", "desc", &why);
			ft_fail(err, -EREMOTEIO, "QEMU refuses %s: %s", command, why ? why : "no reason given");
		}
		json_decref(message);
		return value;
	}
	lost(q, err, ret, command);
	return NULL;
}

json_t *ftqmp_run(struct ftqmp *q, const char *command, json_t *args, struct fterr *err)
{
	return run(q, command, args, -1, err);
}

int ftqmp_give(struct ftqmp *q, int fd, const char *name, struct fterr *err)
{
	json_t *value = run(q, "getfd", json_pack("{s:s}", "fdname", name), fd, err);

	if (!value)
		return err->code;
	json_decref(value);
	return 0;
}

int ftqmp_do(struct ftqmp *q, const char *command, json_t *args, struct fterr *err)
{
	json_t *value = ftqmp_run(q, command, args, err);

	if (!value)
		return err->code;
	json_decref(value);
	return 0;
}

int ftqmp_status(struct ftqmp *q, char *status, size_t size, struct fterr *err)
{
	json_t *answer;

	q->moved = false;
	answer = ftqmp_run(q, "query-status", NULL, err);
	if (!answer) {
		q->moved = true;
		return err->code;
	}
	note_status(q, answer);
	snprintf(status, size, "%s", q->status);
	json_decref(answer);
	return *status ? 0 : ft_fail(err, -EBADMSG, "QEMU does not tell what it does");
}

void ftqmp_look(struct ftqmp *q)
{
	/* what is in the buffer is read with the answer */
	if (q->fd < 0 || q->looks || !(q->moved || q->have))
		return;
	/* one that takes nothing is asked another time */
	if (ft_send_json(q->fd, json_pack("{s:s, s:i}", "execute", "query-status", "id", ++q->id), ft_now_ms()))
		return;
	q->looks = q->id;
	q->moved = false;
}

static int greet(struct ftqmp *q, const char *path, struct fterr *err)
{
	int64_t deadline = ft_now_ms() + FTQMP_TIMEOUT_MS / 3;
	json_t *hello = NULL;
	bool qmp;
	int ret;

	ret = next_message(q, &hello, deadline);
	if (ret == -ETIMEDOUT)
		return ft_fail(err, ret, "%s does not greet: a monitor serves one client at a time, and another "
			       "one may hold it; give QEMU a second -qmp socket for ftd", path);
	if (ret == -EBADMSG)
		return ft_fail(err, ret, "%s is not a QMP monitor (-qmp unix:PATH,server=on,wait=off)", path);
	if (ret < 0)
		return lost(q, err, ret, "greeting");
	qmp = json_object_get(hello, "QMP");
	json_decref(hello);
	if (!qmp)
		return ft_fail(err, -EBADMSG, "%s is not a QMP monitor (-qmp unix:PATH,server=on,wait=off)",
			       path);
	return ftqmp_do(q, "qmp_capabilities", NULL, err);
}

int ftqmp_open(struct ftqmp *q, const char *path, struct fterr *err)
{
	struct sockaddr_un addr;
	int ret;

	*q = (struct ftqmp)FTQMP_INIT;
	if (ft_unix_address(&addr, path))
		return ft_fail(err, -ENAMETOOLONG, "the path of the QMP socket is empty or too long");
	/* Non-blocking: a full backlog means that somebody else is served. */
	q->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (q->fd < 0)
		return ft_fail(err, -errno, "cannot make a socket: %s", strerror(errno));
	if (connect(q->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		ret = -errno;
		if (ret == -EAGAIN)
			ft_fail(err, ret, "the QMP socket %s is busy: another program holds it; give QEMU a "
				"second -qmp socket for ftd", path);
		else if (ret == -ENOENT || ret == -ECONNREFUSED)
			ft_fail(err, ret, "no QEMU listens on %s (%s); start it with "
				"-qmp unix:%s,server=on,wait=off", path, strerror(-ret), path);
		else
			ft_fail(err, ret, "cannot connect to %s: %s", path, strerror(-ret));
		goto fail;
	}
	ret = ft_user_of(q->fd, &q->user, &q->pid);
	if (ret) {
		ft_fail(err, ret, "cannot tell QEMU's process: %s", strerror(-ret));
		goto fail;
	}
	ret = greet(q, path, err);
	if (!ret)
		return 0;
fail:
	ftqmp_close(q);
	return ret;
}

void ftqmp_close(struct ftqmp *q)
{
	if (q->fd >= 0)
		close(q->fd);
	free(q->buf);
	q->fd = -1;
	q->buf = NULL;
	q->have = 0;
	q->size = 0;
	q->looks = 0;
	q->moved = true;
}

int ftqmp_read_events(struct ftqmp *q, void (*fn)(const char *event, void *arg), void *arg)
{
	int64_t how = 0;

	/* one reading and no more: others are to have their turn, however much it says */
	for (;;) {
		const char *event;
		json_t *message;
		int ret = next_message(q, &message, how);

		if (ret <= 0)
			return ret;
		how = NO_READ;
		event = event_of(q, message);
		if (event)
			fn(event, arg);
		json_decref(message);
	}
}
