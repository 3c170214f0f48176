// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "console.h"

#define KEPT_MAX	(32 * FTCON_RING_SIZE)	/* twice what is collected at once */
#define GRACE_MS	100

static const char *const kinds[] = {
	[FTCON_TTY] = "tty", [FTCON_FILE] = "file", [FTCON_SOCKET] = "socket", [FTCON_PTY] = "pty",
};

int ftcon_parse(const char *text, struct ftconsole *con, struct fterr *err)
{
	const char *eq = strchr(text, '='), *colon, *path;
	size_t len, i;

	memset(con, 0, sizeof(*con));
	if (!eq || eq == text || (size_t)(eq - text) >= sizeof(con->id))
		goto bad;
	memcpy(con->id, text, eq - text);
	colon = strchr(eq + 1, ':');
	len = colon ? (size_t)(colon - eq - 1) : strlen(eq + 1);
	path = colon ? colon + 1 : "";
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i]) == len && !memcmp(kinds[i], eq + 1, len))
			break;
	if (i == ARRAY_SIZE(kinds))
		goto bad;
	con->kind = i;
	if (con->kind == FTCON_PTY ? !!colon : *path != '/')
		goto bad;
	if (strlen(path) >= sizeof(con->path))
		goto bad;
	strcpy(con->path, path);
	return 0;
bad:
	return ft_fail(err, -EINVAL, "\"%.100s\" is no console; say ID=tty:PATH, ID=file:PATH, ID=socket:PATH or "
		       "ID=pty, with an absolute path and the ID of a -chardev", text);
}

void ftcon_backend_text(const struct ftconsole *con, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s", kinds[con->kind], con->kind == FTCON_PTY ? "" : ":", con->path);
}

void ftcon_free(struct ftconsole *con)
{
	free(con->line);
	con->line = NULL;
	con->len = 0;
}

size_t ftcon_last_line(const char *text, size_t len)
{
	size_t at = len;

	if (at && text[at - 1] == '\n')
		at--;
	while (at && text[at - 1] != '\n')
		at--;
	return at;
}

int ftcon_append(struct ftconsole *con, const char *text, size_t len, bool all)
{
	char *line = realloc(con->line, con->len + len + 1);
	size_t from = 0;

	if (!line)
		return -ENOMEM;
	memcpy(line + con->len, text, len);
	con->line = line;
	con->len += len;
	if (!all) {
		from = ftcon_last_line(line, con->len);
		if (con->len - from > FTCON_LINE_MAX)
			from = con->len - FTCON_LINE_MAX;
	}
	con->len -= from;
	memmove(line, line + from, con->len);
	return 0;
}

void ftcon_keep(const struct ftconsole *con)
{
	char path[sizeof(con->kept) + 8];
	FILE *file;
	bool bad;

	if (!*con->kept)
		return;
	snprintf(path, sizeof(path), "%s.new", con->kept);
	file = fopen(path, "we");
	bad = !file;
	if (file) {
		fprintf(file, "%d %s\n", con->pid, con->id);
		fwrite(con->line, 1, con->len, file);
		bad = ferror(file);
		bad |= fclose(file) || rename(path, con->kept);
	}
	if (bad)
		ft_log(SD_WARNING, "cannot keep console %s's last line in %s: %s", con->id, con->kept,
		       strerror(errno));
}

void ftcon_keep_in(struct ftconsole *con, const char *path, pid_t pid)
{
	char head[96], want[96];
	char *text;
	size_t len;
	FILE *file;

	if ((size_t)snprintf(con->kept, sizeof(con->kept), "%s", path) >= sizeof(con->kept)) {
		*con->kept = '\0';
		ft_log(SD_WARNING, "%s is too long a path: ftd keeps console %s's last line in memory only", path,
		       con->id);
		return;
	}
	con->pid = pid;
	file = fopen(path, "re");
	if (!file)
		return;
	snprintf(want, sizeof(want), "%d %s\n", pid, con->id);
	text = malloc(KEPT_MAX);
	if (text && !con->live && fgets(head, sizeof(head), file) && !strcmp(head, want)) {
		len = fread(text, 1, KEPT_MAX, file);
		if (ftcon_append(con, text, len, true))
			ft_log(SD_WARNING, "out of memory: console %s's last line is in %s", con->id, path);
	} else {
		unlink(path);
	}
	free(text);
	fclose(file);
}

int ftcon_verify(struct ftqmp *q, struct ftconsole *con, bool adopted, struct fterr *err)
{
	json_t *list = ftqmp_run(q, "query-chardev", NULL, err);
	json_t *entry;
	size_t i;
	int ret;

	if (!list)
		return err->code;
	ret = ft_fail(err, -ENODEV, "QEMU has no chardev %s; start it with -chardev ringbuf,id=%s,size=%d",
		      con->id, con->id, FTCON_RING_SIZE);
	json_array_foreach(list, i, entry) {
		const char *label = NULL, *what = NULL;

		if (json_unpack(entry, "{s:s, s:s}", "label", &label, "filename", &what) ||
		    strcmp(label, con->id))
			continue;
		con->live = strcmp(what, "ringbuf");
		if (!con->live || adopted)
			ret = 0;
		else
			ret = ft_fail(err, -EINVAL, "chardev %s is not muted (it is %.100s); start QEMU with "
				      "-chardev ringbuf,id=%s,size=%d", con->id, what, con->id, FTCON_RING_SIZE);
	}
	json_decref(list);
	return ret;
}

static json_t *backend(const struct ftconsole *con)
{
	switch (con->kind) {
	case FTCON_TTY:
		return json_pack("{s:s, s:{s:s}}", "type", "serial", "data", "device", con->path);
	case FTCON_FILE:
		return json_pack("{s:s, s:{s:s, s:b}}", "type", "file", "data", "out", con->path, "append", 1);
	case FTCON_SOCKET:
		return json_pack("{s:s, s:{s:{s:s, s:{s:s}}, s:b, s:b}}", "type", "socket", "data",
				 "addr", "type", "unix", "data", "path", con->path, "server", 1, "wait", 0);
	case FTCON_PTY:
		break;
	}
	return json_pack("{s:s, s:{}}", "type", "pty", "data");
}

/* Steals @to. */
static int change(struct ftqmp *q, struct ftconsole *con, json_t *to, struct fterr *err)
{
	json_t *answer = ftqmp_run(q, "chardev-change",
				   json_pack("{s:s, s:o}", "id", con->id, "backend", to), err);
	const char *pty = NULL;

	if (!answer)
		return err->code;
	json_unpack(answer, "{s:s}", "pty", &pty);
	if (pty)
		ft_log(SD_NOTICE, "console %s is at %s", con->id, pty);
	json_decref(answer);
	return 0;
}

int ftcon_open(struct ftqmp *q, struct ftconsole *con, struct fterr *err)
{
	int ret = change(q, con, backend(con), err);

	if (ret) {
		char text[320];

		ftcon_backend_text(con, text, sizeof(text));
		return ft_fail_prefix(err, "console %s can't be joined to %s: ", con->id, text);
	}
	con->live = true;
	return 0;
}

int ftcon_mute(struct ftqmp *q, struct ftconsole *con, struct fterr *err)
{
	int ret = change(q, con, json_pack("{s:s, s:{s:i}}", "type", "ringbuf", "data",
					   "size", FTCON_RING_SIZE), err);

	if (ret)
		return ft_fail_prefix(err, "console %s can't be muted: ", con->id);
	con->live = false;
	return 0;
}

/* The line discipline must leave our bytes alone, as QEMU will have it too. */
static void make_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t))
		return;
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL | CREAD;
	cfsetspeed(&t, B115200);
	tcsetattr(fd, TCSANOW, &t);
}

static void drain(int fd, int64_t deadline)
{
	int left;

	while (!ioctl(fd, TIOCOUTQ, &left) && left && ft_now_ms() < deadline)
		usleep(1000);
}

/*
 * In a thread of its own: a file on a server that is gone can hold up whoever opens it, writes to it or closes
 * it for as long as it likes. And it has QEMU's rights, no more.
 */
struct saying {
	atomic_int users;
	int done;	/* an eventfd */
	int64_t deadline;
	bool tty;
	int flags, ret;
	struct ftuser as;
	char path[256];
	atomic_size_t said;
	size_t len;
	char text[];
};

static void saying_drop(struct saying *s)
{
	if (atomic_fetch_sub(&s->users, 1) > 1)
		return;
	close(s->done);
	free(s);
}

static void *say(void *arg)
{
	struct saying *s = arg;
	int fd = ft_open_as(&s->as, s->path, s->flags, 0644), ret = fd < 0 ? fd : 0;

	if (fd >= 0 && s->tty && s->len)
		make_raw(fd);
	while (!ret && s->said < s->len) {
		ssize_t n;

		/* nobody waits any more: it will be said again */
		ret = ft_now_ms() < s->deadline ? ft_poll(fd, POLLOUT, s->deadline) : -ETIMEDOUT;
		if (ret)
			break;
		n = write(fd, s->text + s->said, s->len - s->said);
		if (n >= 0)
			s->said += n;
		else if (errno != EINTR && errno != EAGAIN)
			ret = -errno;
	}
	if (!ret && s->tty && s->len)
		drain(fd, s->deadline);
	s->ret = ret;
	eventfd_write(s->done, 1);
	if (fd >= 0)
		close(fd);
	saying_drop(s);
	return NULL;
}

/* How much was said goes to @said. 0 or -errno. */
static int say_before(const struct ftuser *as, const struct ftconsole *con, int flags, int64_t deadline, size_t *said)
{
	struct saying *s = calloc(1, sizeof(*s) + con->len);
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	if (!s)
		return -ENOMEM;
	s->users = 2;
	s->done = eventfd(0, EFD_CLOEXEC);
	s->deadline = deadline;
	s->tty = con->kind == FTCON_TTY;
	s->flags = flags;
	s->as = *as;
	strcpy(s->path, con->path);
	s->len = con->len;
	if (con->len)
		memcpy(s->text, con->line, con->len);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	ret = s->done < 0 ? -errno : -pthread_create(&thread, &attr, say, s);
	pthread_attr_destroy(&attr);
	if (ret) {
		s->users = 1;
	} else {
		/* what it has begun to write it is to tell of */
		ret = ft_poll(s->done, POLLIN, deadline + GRACE_MS);
		if (!ret)
			ret = s->ret;
	}
	*said = s->said;
	saying_drop(s);
	return ret;
}

int ftcon_repeat(const struct ftuser *as, struct ftconsole *con, int64_t deadline, struct fterr *err)
{
	int flags = O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK | (con->kind == FTCON_FILE ? O_APPEND : 0);
	size_t said = 0;
	int ret = 0;

	/* with nothing to say it is only seen that QEMU would not hang; it may make the file, and open more */
	if (con->kind == FTCON_FILE || con->kind == FTCON_TTY)
		ret = say_before(as, con, flags | (con->kind == FTCON_FILE && con->len ? O_CREAT : 0), deadline, &said);
	if (!con->len && (ret == -ENOENT || ret == -EACCES || ret == -EPERM))
		ret = 0;
	if (ret && said) {
		con->len -= said;
		memmove(con->line, con->line + said, con->len);
		ftcon_keep(con);
	}
	if (ret)
		return ft_fail(err, ret, "cannot write to console %s (%s): %s", con->id, con->path, strerror(-ret));
	if (*con->kept)
		unlink(con->kept);
	con->len = 0;
	return 0;
}
