/* SPDX-License-Identifier: GPL-2.0 */
/* A test is a function; CHECK() says what does not hold and goes on. */
#ifndef FTKVM_UNIT_H
#define FTKVM_UNIT_H

#include <stdbool.h>
#include <stddef.h>

struct unit_test {
	const char *name;
	void (*run)(void);
};

extern bool unit_failed;
void unit_complain(const char *file, int line, const char *what);

#define CHECK(condition)						\
	do {								\
		if (!(condition))					\
			unit_complain(__FILE__, __LINE__, #condition);	\
	} while (0)

/* Each ends with an empty one. */
extern const struct unit_test unit_tests[], unit_cmdline_tests[], unit_console_tests[], unit_disk_tests[], unit_ftctl_tests[],
	unit_nl_tests[], unit_vhost_tests[], unit_top_tests[], unit_view_tests[];

/* Print metrics of strange guests, for tests/check to read. */
int unit_metrics(void);

/* Drive the functions for consoles on the chardev "con0" of a QEMU. */
int unit_console(const char *qmp, const char *backend);
/* Empty its ring buffer; @how "killed": and be killed before that is kept. */
int unit_collect(const char *qmp, const char *how);
/* Begin to move a QEMU's guest, and end it; @how: "killed": as another ftd, which does not know how QEMU was set. */
int unit_migrate(const char *qmp, const char *how);
/* Take words for a command line of ftctl's, and say what is wrong with them. */
int unit_parse(int argc, char **argv);
/* Say something to the journal, and all identifiers to standard output. */
int unit_journal(void);
/* A handshake between what two configurations say; @client "-": the server with itself. */
int unit_secure(const char *server, const char *client, const char *host);
/* Run a fence hook against @peer. */
int unit_fence(const char *hook, const char *peer);
/* Run @hook, which somebody keeps from going, until no more are run; and @good, until it is run again. */
int unit_fence_stuck(const char *hook, const char *good);
/* For each line "GUEST PEER" of standard input a thread that fences that host. */
int unit_fence_many(const char *hook);
/* Keep what ftd keeps of capabilities, and run a program as a fence hook and then as a QEMU. */
int unit_privilege(const char *program, const char *log);
/* Keep what ftd keeps, and say @text to the console @path of a QEMU of user @uid's. */
int unit_say(const char *uid, const char *path, const char *text);
/* Be a vhost-user device, and say what a QEMU does with it. */
int unit_vhost(const char *path, const char *kind);

#endif
