/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Consoles: a chardev of the guest's QEMU that is live on one host and muted (a
 * ring buffer) on the other.
 */
#ifndef FTKVM_CONSOLE_H
#define FTKVM_CONSOLE_H

#include "qmp.h"

#define FTCON_RING_SIZE	65536
#define FTCON_LINE_MAX	4096	/* an endless line is repeated from here on at most */

enum ftcon_kind { FTCON_TTY, FTCON_FILE, FTCON_SOCKET, FTCON_PTY };

/**
 * struct ftconsole - one console of a guest
 * @id: the chardev's
 * @path: of what it is joined to when live; empty for a pty
 * @live: it is joined to it now
 * @ret: else why it is not, as far as that was tried: -errno, or 0
 * @line: what the shadow device printed, from the beginning of its last line on:
 *	the part of which nobody knows whether the world saw it
 * @kept: the file that has it too, as QEMU has it no more; empty: none has
 * @pid: of that QEMU
 */
struct ftconsole {
	char id[64];
	char path[256];
	enum ftcon_kind kind;
	bool live;
	int ret;
	char *line;
	size_t len;
	char kept[192];
	pid_t pid;
};

/* Parse "ID=tty:PATH", "ID=file:PATH", "ID=socket:PATH", "ID=pty". 0 or -EINVAL. */
int ftcon_parse(const char *text, struct ftconsole *con, struct fterr *err);
/* The same backwards: "tty:PATH" */
void ftcon_backend_text(const struct ftconsole *con, char *buf, size_t size);
void ftcon_free(struct ftconsole *con);

/*
 * Where the last line of @text begins: behind the last newline, or, when the
 * text ends with one, behind the last newline but one.
 */
size_t ftcon_last_line(const char *text, size_t len);

/* Append to con->line; keep only the last line unless @all. 0 or -ENOMEM. */
int ftcon_append(struct ftconsole *con, const char *text, size_t len, bool all);

/* Decode base64; returns the length (at most 3/4 of the text's) or -EINVAL. */
ssize_t ftcon_base64(const char *text, char *out);

/*
 * Is the chardev there, and a ring buffer? If the guest is @adopted it may also
 * be live already; con->live tells.
 */
int ftcon_verify(struct ftqmp *q, struct ftconsole *con, bool adopted, struct fterr *err);
/* Join the console to the world. */
int ftcon_open(struct ftqmp *q, struct ftconsole *con, struct fterr *err);
/* Join it to a ring buffer of nobody's. */
int ftcon_mute(struct ftqmp *q, struct ftconsole *con, struct fterr *err);
/**
 * ftcon_collect() - empty the ring buffer into con->line
 * @all: keep everything from the last line of before
 * Return: bytes that were there, or -errno
 */
ssize_t ftcon_collect(struct ftqmp *q, struct ftconsole *con, bool all, struct fterr *err);
/*
 * From here on con->line is kept in @path, until it is said: ftd may be killed
 * meanwhile. What a former ftd collected from QEMU @pid is taken up.
 */
void ftcon_keep_in(struct ftconsole *con, const char *path, pid_t pid);
/* Write it there; ftcon_collect() does. */
void ftcon_keep(const struct ftconsole *con);
/**
 * ftcon_repeat() - say con->line to the world (a tty or a file; others are skipped) and forget it
 * @as: QEMU's user, who must be able to write there
 * @deadline: ft_now_ms(); what was not said by then stays, to be said another time
 * Return: 0, or -errno with a text; -ETIMEDOUT: it does not take it all, or can't be opened just now
 */
int ftcon_repeat(const struct ftuser *as, struct ftconsole *con, int64_t deadline, struct fterr *err);

#endif
