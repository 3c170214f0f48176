// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "migrate.h"

#define STREAM		"ftkvm"		/* the descriptor's name for QEMU */
#define BANDWIDTH	(1LL << 40)	/* bytes a second: as fast as it goes */
#define CANCEL_MS	20000
#define POLL_US		20000

/*
 * The pause: both modules are to be told while the guest stands still, and before its
 * interrupt controller is read. A guest that writes faster than the link takes it
 * is slowed down.
 */
static int set_pause(struct ftqmp *q, bool on, struct fterr *err)
{
	json_t *list = json_pack("[{s:s, s:b}, {s:s, s:b}]",
				 "capability", "pause-before-switchover", "state", on,
				 "capability", "auto-converge", "state", on);

	return ftqmp_do(q, "migrate-set-capabilities", json_pack("{s:o}", "capabilities", list), err);
}

int ftmigrate_to(struct ftqmp *q, int fd, struct fterr *err)
{
	int ret = set_pause(q, true, err);

	if (!ret)
		ret = ftqmp_do(q, "migrate-set-parameters",
			       json_pack("{s:I}", "max-bandwidth", (json_int_t)BANDWIDTH), err);
	if (!ret)
		ret = ftqmp_give(q, fd, STREAM, err);
	if (!ret)
		ret = ftqmp_do(q, "migrate", json_pack("{s:s}", "uri", "fd:" STREAM), err);
	return ret ? ft_fail_prefix(err, "the guest's state can't be copied: ") : 0;
}

int ftmigrate_from(struct ftqmp *q, int fd, struct fterr *err)
{
	int ret = ftqmp_give(q, fd, STREAM, err);

	if (!ret)
		ret = ftqmp_do(q, "migrate-incoming", json_pack("{s:s}", "uri", "fd:" STREAM), err);
	return ret ? ft_fail_prefix(err, "the guest's state can't be taken in: ") : 0;
}

static enum ftmigrate step(const char *status)
{
	static const struct {
		const char *status;
		enum ftmigrate step;
	} steps[] = {
		{ "none", FTMIGRATE_NONE },
		{ "pre-switchover", FTMIGRATE_READY },
		{ "completed", FTMIGRATE_COMPLETED },
		{ "failed", FTMIGRATE_FAILED },
		{ "cancelled", FTMIGRATE_FAILED },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(steps); i++)
		if (!strcmp(steps[i].status, status))
			return steps[i].step;
	return FTMIGRATE_ACTIVE;
}

int ftmigrate_look(struct ftqmp *q, struct ftmigration *m, struct fterr *err)
{
	json_t *answer = ftqmp_run(q, "query-migrate", NULL, err);
	json_int_t remaining = 0, total = 0, downtime = 0;
	const char *status = "none", *why = "";

	memset(m, 0, sizeof(*m));
	if (!answer)
		return err->code;
	json_unpack(answer, "{s?s, s?s, s?I, s?{s?I, s?I}}", "status", &status, "error-desc", &why,
		    "downtime", &downtime, "ram", "remaining", &remaining, "total", &total);
	m->step = step(status);
	m->total = total;
	m->done = total - remaining;
	m->downtime_ms = downtime;
	snprintf(m->why, sizeof(m->why), "%s", *why ? why : status);
	json_decref(answer);
	return 0;
}

int ftmigrate_complete(struct ftqmp *q, struct fterr *err)
{
	return ftqmp_do(q, "migrate-continue", json_pack("{s:s}", "state", "pre-switchover"), err);
}

void ftmigrate_end(struct ftqmp *q)
{
	int64_t deadline = ft_now_ms() + CANCEL_MS;
	struct ftmigration m;
	struct fterr ignored;

	while (!ftmigrate_look(q, &m, &ignored) &&
	       (m.step == FTMIGRATE_ACTIVE || m.step == FTMIGRATE_READY) && ft_now_ms() < deadline) {
		ftqmp_do(q, "migrate_cancel", NULL, &ignored);
		usleep(POLL_US);
	}
	/* its own migrations are its operator's; the bandwidth is not known any more */
	set_pause(q, false, &ignored);
	ftqmp_do(q, "closefd", json_pack("{s:s}", "fdname", STREAM), &ignored);
}
