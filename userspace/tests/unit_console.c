// SPDX-License-Identifier: GPL-2.0
/* Consoles of a real QEMU: see tests/check. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "console.h"
#include "tests/unit.h"

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
	bad += step("repeat", ftcon_repeat(&con, ft_now_ms() + 5000, &err), &err);
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
