// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "migrate.h"

#define STREAM		"ftkvm"		/* the descriptor's name for QEMU */
#define BANDWIDTH	(1LL << 40)	/* bytes a second: as fast as it goes */
#define USUAL_BANDWIDTH	(128LL << 20)	/* QEMU's own, where nobody has set another */
#define CANCEL_MS	20000
#define POLL_US		20000

static const char *const capabilities[FTMIGRATE_CAPABILITIES] = {
	/* both modules are to be told while the guest stands still, and before its interrupt controller is read */
	"pause-before-switchover",
	/* a guest that writes faster than the link takes it is slowed down */
	"auto-converge",
};

static int set_capabilities(struct ftqmp *q, const bool *on, struct fterr *err)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < FTMIGRATE_CAPABILITIES; i++)
		json_array_append_new(list, json_pack("{s:s, s:b}", "capability", capabilities[i], "state", on[i]));
	return ftqmp_do(q, "migrate-set-capabilities", json_pack("{s:o}", "capabilities", list), err);
}

static int get_capabilities(struct ftqmp *q, bool *on, struct fterr *err)
{
	json_t *list = ftqmp_run(q, "query-migrate-capabilities", NULL, err), *one;
	size_t i, at;

	if (!list)
		return err->code;
	json_array_foreach(list, at, one) {
		const char *name = json_string_value(json_object_get(one, "capability"));

		for (i = 0; name && i < FTMIGRATE_CAPABILITIES; i++)
			if (!strcmp(name, capabilities[i]))
				on[i] = json_is_true(json_object_get(one, "state"));
	}
	json_decref(list);
	return 0;
}

static int set_bandwidth(struct ftqmp *q, int64_t bandwidth, struct fterr *err)
{
	return ftqmp_do(q, "migrate-set-parameters", json_pack("{s:I}", "max-bandwidth", (json_int_t)bandwidth), err);
}

static int get_bandwidth(struct ftqmp *q, int64_t *bandwidth, struct fterr *err)
{
	json_t *answer = ftqmp_run(q, "query-migrate-parameters", NULL, err);

	if (!answer)
		return err->code;
	*bandwidth = json_integer_value(json_object_get(answer, "max-bandwidth"));
	json_decref(answer);
	/* left by an ftd that was killed meanwhile */
	if (*bandwidth == BANDWIDTH)
		*bandwidth = USUAL_BANDWIDTH;
	return 0;
}

int ftmigrate_to(struct ftqmp *q, int fd, struct ftmigrate_was *was, struct fterr *err)
{
	static const bool on[FTMIGRATE_CAPABILITIES] = { true, true };
	int ret = get_bandwidth(q, &was->bandwidth, err);

	if (!ret)
		ret = get_capabilities(q, was->capabilities, err);
	was->known = !ret;
	if (!ret)
		ret = set_capabilities(q, on, err);
	if (!ret)
		ret = set_bandwidth(q, BANDWIDTH, err);
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

void ftmigrate_end(struct ftqmp *q, const struct ftmigrate_was *was)
{
	/* of a former ftd's; what was on besides, it alone knew */
	struct ftmigrate_was usual = { 0 };
	int64_t deadline = ft_now_ms() + CANCEL_MS;
	struct ftmigration m;
	struct fterr ignored;

	while (!ftmigrate_look(q, &m, &ignored) &&
	       (m.step == FTMIGRATE_ACTIVE || m.step == FTMIGRATE_READY) && ft_now_ms() < deadline) {
		ftqmp_do(q, "migrate_cancel", NULL, &ignored);
		usleep(POLL_US);
	}
	/* its own migrations are its operator's */
	if (!was->known) {
		get_bandwidth(q, &usual.bandwidth, &ignored);
		was = &usual;
	}
	set_capabilities(q, was->capabilities, &ignored);
	if (was->bandwidth)
		set_bandwidth(q, was->bandwidth, &ignored);
	ftqmp_do(q, "closefd", json_pack("{s:s}", "fdname", STREAM), &ignored);
}
