// SPDX-License-Identifier: GPL-2.0
/* Drives migrate.c against a real QEMU: a migration that is begun, and called off. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "migrate.h"
#include "tests/unit.h"

/* Its stream is read by nobody: it does not come to its end. */
int unit_migrate(const char *qmp, const char *how)
{
	struct ftmigrate_was was = { 0 };
	struct ftmigration m;
	struct ftqmp q;
	struct fterr err;
	int fds[2];

	if (ftqmp_open(&q, qmp, &err) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) ||
	    ftmigrate_to(&q, fds[0], &was, &err) || ftmigrate_look(&q, &m, &err)) {
		printf("not begun: %s\n", err.text);
		return 1;
	}
	printf("under way: %d\n", m.step == FTMIGRATE_ACTIVE);
	/* as an ftd does that did not begin it */
	if (!strcmp(how, "killed"))
		was.known = false;
	ftmigrate_end(&q, &was);
	printf("ended: %d\n", !ftmigrate_look(&q, &m, &err) && m.step == FTMIGRATE_FAILED);
	ftqmp_close(&q);
	close(fds[0]);
	close(fds[1]);
	return 0;
}
