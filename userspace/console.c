// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "console.h"

#define KEPT_MAX	(32 * FTCON_RING_SIZE)	/* twice what is collected at once */
#define WRITE_MS	5000	/* a tty that does not take a line for so long is left alone */

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

static void drain(int fd)
{
	int64_t deadline = ft_now_ms() + WRITE_MS;
	int left;

	while (!ioctl(fd, TIOCOUTQ, &left) && left && ft_now_ms() < deadline)
		usleep(1000);
}

int ftcon_repeat(struct ftconsole *con, struct fterr *err)
{
	int flags = O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK;
	int fd, ret;

	if (con->kind == FTCON_FILE)
		flags |= O_APPEND | O_CREAT;
	else if (con->kind != FTCON_TTY)
		goto forget;
	if (!con->len)
		return 0;
	fd = open(con->path, flags, 0644);
	if (fd < 0)
		return ft_fail(err, -errno, "cannot write to console %s (%s): %s", con->id, con->path,
			       strerror(errno));
	if (con->kind == FTCON_TTY)
		make_raw(fd);
	ret = ft_write_all(fd, con->line, con->len, ft_now_ms() + WRITE_MS);
	if (!ret && con->kind == FTCON_TTY)
		drain(fd);
	close(fd);
	if (ret)
		return ft_fail(err, ret, "cannot write to console %s (%s): %s", con->id, con->path,
			       strerror(-ret));
forget:
	con->len = 0;
	if (*con->kept)
		unlink(con->kept);
	return 0;
}
