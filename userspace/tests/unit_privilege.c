// SPDX-License-Identifier: GPL-2.0
/* What ftd keeps, and what it does not hand on: see tests/privilege.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmdline.h"
#include "console.h"
#include "fence.h"
#include "privilege.h"
#include "tests/unit.h"

int unit_privilege(const char *program, const char *log)
{
	json_t *how = json_pack("{s:s, s:s, s:[s]}", "exe", program, "cwd", "/", "argv", program);
	struct fterr err;
	pid_t pid = 0;
	int ret;

	ret = privilege_settle(&err);
	if (!ret && !privilege_complete(&err))
		printf("%s\n", err.text);
	printf("above its user: %d\n", privilege_above_user());
	if (!ret)
		ret = fence_run(program, 60, "web", "hostb", &err);
	if (!ret)
		ret = cmdline_start(how, log, &pid, &err);
	if (ret)
		printf("%s\n", err.text);
	json_decref(how);
	return ret ? 1 : 0;
}

int unit_say(const char *uid, const char *path, const char *text)
{
	struct ftuser user = { .uid = atoi(uid), .gid = atoi(uid) };
	struct ftconsole con = { .id = "con0", .kind = FTCON_FILE };
	struct fterr err;
	int ret;

	snprintf(con.path, sizeof(con.path), "%s", path);
	ret = privilege_settle(&err);
	if (!ret)
		ret = ftcon_append(&con, text, strlen(text), true);
	if (!ret)
		ret = ftcon_repeat(&user, &con, ft_now_ms() + 5000, &err);
	printf("%s\n", ret ? err.text : "said");
	ftcon_free(&con);
	return ret ? 1 : 0;
}
