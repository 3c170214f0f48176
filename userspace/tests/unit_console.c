// SPDX-License-Identifier: GPL-2.0
/* Consoles and monitors: of a real QEMU, see tests/check, and what needs none. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "console.h"
#include "tests/unit.h"

static const struct ftuser root;

static int step(const char *what, int ret, const struct fterr *err)
{
	printf("%s: %s\n", what, ret < 0 ? err->text : "done");
	return ret < 0;
}

static void keep(struct ftconsole *con, const struct ftqmp *q, const char *qmp)
{
	char path[192];

	snprintf(path, sizeof(path), "%s.line", qmp);
	ftcon_keep_in(con, path, q->pid);
}

/* What ftd does with a console from attach to promotion, and back. */
int unit_console(const char *qmp, const char *backend)
{
	struct ftqmp q = FTQMP_INIT;
	struct ftconsole con, none;
	char word[300];
	struct fterr err = { 0 };
	ssize_t n;
	int bad;

	snprintf(word, sizeof(word), "con0=%s", backend);
	bad = step("parse", ftcon_parse(word, &con, &err), &err);
	bad += step("connect", ftqmp_open(&q, qmp, &err), &err);
	if (bad)
		return 1;
	keep(&con, &q, qmp);
	ftcon_parse("nix=pty", &none, &err);
	step("verify another", ftcon_verify(&q, &none, false, &err), &err);
	bad += step("verify", ftcon_verify(&q, &con, false, &err), &err);
	n = ftcon_collect(&q, &con, false, &err);
	bad += step("collect", n, &err);
	printf("held: %zd of %zu bytes: %.*s\n", n, (size_t)con.len, (int)con.len, con.line ? con.line : "");
	bad += step("repeat", ftcon_repeat(&q.user, &con, ft_now_ms() + 5000, &err), &err);
	bad += step("open", ftcon_open(&q, &con, &err), &err);
	step("verify live", ftcon_verify(&q, &con, false, &err), &err);
	bad += step("verify adopted", ftcon_verify(&q, &con, true, &err), &err);
	printf("live: %d\n", con.live);
	bad += step("mute", ftcon_mute(&q, &con, &err), &err);
	bad += step("verify muted", ftcon_verify(&q, &con, false, &err), &err);
	ftcon_free(&con);
	ftqmp_close(&q);
	return bad ? 1 : 0;
}

/* By the linker in ftcon_keep()'s place: who is to be killed as it is called. */
void __wrap_ftcon_keep(const struct ftconsole *con);
void __real_ftcon_keep(const struct ftconsole *con);
static pid_t victim;

void __wrap_ftcon_keep(const struct ftconsole *con)
{
	if (victim)
		kill(victim, SIGKILL);
	__real_ftcon_keep(con);
}

/* Collect what the console has, and be killed as it is to be kept; or else say what there is. */
int unit_collect(const char *qmp, const char *how)
{
	struct ftconsole con = { .id = "con0", .kind = FTCON_PTY };
	struct ftqmp q = FTQMP_INIT;
	struct fterr err = { 0 };
	ssize_t n;

	if (step("connect", ftqmp_open(&q, qmp, &err), &err))
		return 1;
	keep(&con, &q, qmp);
	if (!strcmp(how, "killed"))
		victim = getpid();
	n = ftcon_collect(&q, &con, false, &err);
	if (step("collect", n, &err))
		return 1;
	printf("held: %zd of %zu bytes: %.*s\n", n, con.len, (int)con.len, con.line ? con.line : "");
	n = step("and on", ftqmp_do(&q, "query-status", NULL, &err), &err);
	ftcon_free(&con);
	ftqmp_close(&q);
	return n;
}

/* --- a QEMU's monitor ------------------------------------------------------ */

static void count_event(const char *event, void *arg)
{
	if (!strcmp(event, "RESET"))
		++*(int *)arg;
}

/* One that talks and talks: a part at a time, all in the end; and a command is not waited for longer than it may take. */
static void monitor_flood(void)
{
	static const char line[] = "{\"event\": \"RESET\"}\n";
	struct ftqmp q = FTQMP_INIT;
	int pair[2], sent = 0, got = 0, before;
	struct fterr err;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	q.fd = pair[0];
	while (sent < 100000 && send(pair[1], line, sizeof(line) - 1, 0) == sizeof(line) - 1)
		sent++;
	CHECK(!ftqmp_read_events(&q, count_event, &got));
	CHECK(got > 0 && got <= 16384 / ((int)sizeof(line) - 1));
	do {
		before = got;
		CHECK(!ftqmp_read_events(&q, count_event, &got));
	} while (got > before);
	CHECK(got == sent);
	q.until = ft_now_ms() + 100;
	while (send(pair[1], line, sizeof(line) - 1, 0) == sizeof(line) - 1)
		;
	CHECK(!ftqmp_run(&q, "query-status", NULL, &err) && err.code == -ETIMEDOUT);
	CHECK(ft_now_ms() < q.until + 2000);
	close(pair[1]);
	while (!ftqmp_read_events(&q, count_event, &got))
		;
	ftqmp_close(&q);
}

/* --- consoles -------------------------------------------------------------- */

static void console_words(void)
{
	static const char *const good[] = {
		"con0=tty:/dev/ttyS1", "a=file:/tmp/x", "b=socket:/run/x.sock", "c=pty",
	};
	static const char *const bad[] = {
		"", "con0", "con0=", "=pty", "c=pty:", "c=tty", "c=tty:", "c=tty:ttyS1", "c=tape:/dev/st0",
		"c=file:x", "c=fil:/x",
		"0123456789012345678901234567890123456789012345678901234567890123=pty",
	};
	char text[512], longest[400];
	struct ftconsole con;
	struct fterr err;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		int at;

		CHECK(!ftcon_parse(good[i], &con, &err));
		at = snprintf(text, sizeof(text), "%s=", con.id);
		ftcon_backend_text(&con, text + at, sizeof(text) - at);
		CHECK(!strcmp(text, good[i]));
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK(ftcon_parse(bad[i], &con, &err) == -EINVAL);
		CHECK(strstr(err.text, "ID=tty:PATH"));
	}
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "c=file:/", 8);
	longest[sizeof(longest) - 1] = '\0';
	CHECK(ftcon_parse(longest, &con, &err) == -EINVAL);
}

static size_t last(const char *text)
{
	return ftcon_last_line(text, strlen(text));
}

static void last_lines(void)
{
	CHECK(last("") == 0);
	CHECK(last("\n") == 0);
	CHECK(last("a") == 0);
	CHECK(last("a\n") == 0);
	CHECK(last("a\nb") == 2);
	CHECK(last("a\nb\n") == 2);
	CHECK(last("a\n\n") == 2);
}

static bool holds(const struct ftconsole *con, const char *text)
{
	return con->len == strlen(text) && !memcmp(con->line, text, con->len);
}

static void console_tail(void)
{
	static char endless[3 * FTCON_LINE_MAX];
	struct ftconsole con = { .id = "x" };

	CHECK(!ftcon_append(&con, "one\ntwo\nthr", 11, false) && holds(&con, "thr"));
	CHECK(!ftcon_append(&con, "ee\n", 3, false) && holds(&con, "three\n"));
	CHECK(!ftcon_append(&con, "", 0, false) && holds(&con, "three\n"));
	/* From here on nothing may be dropped. */
	CHECK(!ftcon_append(&con, "four\nfive\nsix", 13, true) && holds(&con, "three\nfour\nfive\nsix"));
	memset(endless, 'e', sizeof(endless));
	CHECK(!ftcon_append(&con, endless, sizeof(endless), false) && con.len == FTCON_LINE_MAX);
	ftcon_free(&con);
	CHECK(!con.line && !con.len);
}

static void base64(void)
{
	char out[16];

	CHECK(ftcon_base64("", out) == 0);
	CHECK(ftcon_base64("YQ==", out) == 1 && out[0] == 'a');
	CHECK(ftcon_base64("YWI=", out) == 2 && !memcmp(out, "ab", 2));
	CHECK(ftcon_base64("YWJj", out) == 3 && !memcmp(out, "abc", 3));
	CHECK(ftcon_base64("AP+A/w==", out) == 4 && !memcmp(out, "\0\377\200\377", 4));
	CHECK(ftcon_base64("Y*Jj", out) == -EINVAL);
	CHECK(ftcon_base64("YW\n", out) == -EINVAL);
}

static void repeat_to_file(void)
{
	char path[] = "/tmp/ftkvm-unit-XXXXXX", got[32] = "";
	struct ftconsole con = { .kind = FTCON_FILE };
	int fd = mkstemp(path);
	struct fterr err;

	CHECK(fd >= 0);
	snprintf(con.path, sizeof(con.path), "%s", path);
	CHECK(write(fd, "before\n", 7) == 7);
	CHECK(!ftcon_append(&con, "a\nlast", 6, false));
	CHECK(!ftcon_repeat(&root, &con, ft_now_ms() + 5000, &err));
	CHECK(!con.len);
	CHECK(!ftcon_repeat(&root, &con, ft_now_ms() + 5000, &err));	/* said once, not twice */
	CHECK(pread(fd, got, sizeof(got) - 1, 0) == 11 && !strcmp(got, "before\nlast"));
	close(fd);
	unlink(path);
	snprintf(con.path, sizeof(con.path), "/nonexistent/x");
	CHECK(!ftcon_append(&con, "b", 1, false));
	CHECK(ftcon_repeat(&root, &con, ft_now_ms() + 5000, &err) == -ENOENT && strstr(err.text, "/nonexistent/x"));
	CHECK(con.len == 1);
	/* nothing to say: QEMU makes it, or does not */
	con.len = 0;
	CHECK(!ftcon_repeat(&root, &con, ft_now_ms() + 5000, &err));
	ftcon_free(&con);
}

/* What takes only some of it, or nobody's: not for longer than it may take; and nothing is said twice. */
static void repeat_to_pipe(void)
{
	char path[] = "/tmp/ftkvm-unit-XXXXXX", text[70000], got[1000];
	struct ftconsole con = { .kind = FTCON_FILE };
	int64_t begun = ft_now_ms();
	size_t total = 0, i;
	struct fterr err;
	ssize_t n;
	int fd;

	CHECK(mkdtemp(path));
	snprintf(con.path, sizeof(con.path), "%s/pipe", path);
	CHECK(!mkfifo(con.path, 0600));
	/* QEMU would hang for good */
	CHECK(ftcon_repeat(&root, &con, begun + 300, &err) == -ENXIO);
	fd = open(con.path, O_RDONLY | O_NONBLOCK);
	for (i = 0; i < sizeof(text); i++)
		text[i] = 'a' + i % 26;
	CHECK(!ftcon_append(&con, text, sizeof(text), true));
	CHECK(ftcon_repeat(&root, &con, ft_now_ms() + 200, &err) == -ETIMEDOUT);
	CHECK(con.len > 0 && con.len < sizeof(text) && ft_now_ms() < begun + 3000);
	for (i = 0; i < 2; i++) {
		while ((n = read(fd, got, sizeof(got))) > 0) {
			CHECK(!memcmp(got, text + total, n));
			total += n;
		}
		CHECK(i || !ftcon_repeat(&root, &con, ft_now_ms() + 5000, &err));
	}
	CHECK(total == sizeof(text) && !con.len);
	close(fd);
	unlink(con.path);
	rmdir(path);
	ftcon_free(&con);
}

/* ftd is killed with a line in hand: the next one has it, and says it once. */
static void line_outlives_ftd(void)
{
	char dir[] = "/tmp/ftkvm-unit-XXXXXX", kept[64], path[64], got[32] = "";
	struct ftconsole first = { .id = "x", .kind = FTCON_FILE }, next = first, late = first, other = first;
	struct fterr err;
	int fd;

	CHECK(mkdtemp(dir));
	snprintf(kept, sizeof(kept), "%s/kept", dir);
	snprintf(path, sizeof(path), "%s/console", dir);
	ftcon_keep_in(&first, kept, 7);
	CHECK(!first.len);
	CHECK(!ftcon_append(&first, "one\nt\0w", 7, false));
	ftcon_keep(&first);
	ftcon_free(&first);

	snprintf(next.path, sizeof(next.path), "%s", path);
	ftcon_keep_in(&next, kept, 7);
	CHECK(next.len == 3 && !memcmp(next.line, "t\0w", 3));
	CHECK(!ftcon_append(&next, "o\n", 2, false));
	CHECK(!ftcon_repeat(&root, &next, ft_now_ms() + 5000, &err));
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && read(fd, got, sizeof(got)) == 5 && !memcmp(got, "t\0wo\n", 5));
	close(fd);
	ftcon_free(&next);

	/* it is said: nobody has it any more */
	ftcon_keep_in(&late, kept, 7);
	CHECK(!late.len);
	CHECK(!ftcon_append(&late, "late", 4, false));
	ftcon_keep(&late);
	ftcon_free(&late);

	/* another QEMU's is none of ours */
	ftcon_keep_in(&other, kept, 8);
	CHECK(!other.len && access(kept, F_OK));
	ftcon_free(&other);
	unlink(path);
	CHECK(!rmdir(dir));
}

const struct unit_test unit_console_tests[] = {
	{ "console_words", console_words },
	{ "last_lines", last_lines },
	{ "console_tail", console_tail },
	{ "base64", base64 },
	{ "monitor_flood", monitor_flood },
	{ "repeat_to_file", repeat_to_file },
	{ "repeat_to_pipe", repeat_to_pipe },
	{ "line_outlives_ftd", line_outlives_ftd },
	{ }
};
