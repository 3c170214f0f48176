// SPDX-License-Identifier: GPL-2.0
/* May a guest that runs be protected? Nothing has happened to it yet. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "nl_dev.h"
#include "op.h"
#include "text.h"

#define CONT_TRIES	5
#define CONT_US		200000

/* What was not said is as the guest has it, at the peer, too, who does not know that. */
static void keep_settings(struct ftsettings *set, const struct ftreplica *r)
{
	if (!set->period_min && !set->period_max) {
		set->period_min = r->period_min;
		set->period_max = r->period_max;
	}
	set->margin = set->margin ? : r->margin;
	set->counter = set->counter ? : r->counter;
	set->timeout_ms = set->timeout_ms ? : r->timeout_ms;
	if (!set->verify_said) {
		set->verify_every = r->verify_every;
		set->verify_said = true;
	}
}

int protect_must_run_alone(struct op *op)
{
	struct ftreplica r;
	char status[32];
	int ret = ftnl_get(op->name, &r, &op->err);

	if (ret)
		return ret;
	if (r.state != FTKVM_UAPI_STATE_IDLE && r.state != FTKVM_UAPI_STATE_SOLO) {
		op->refused = true;
		if (r.state == FTKVM_UAPI_STATE_STOPPED)
			return ft_fail(&op->err, -EINVAL, "guest %s does not run here any more (%s): protect it on the host where "
				       "it does", op->name, r.detail);
		return ft_fail(&op->err, -EBUSY, "guest %s is %s already%s%s", op->name, ft_state_name(r.state),
			       *r.peer ? ", its peer is " : "", r.peer);
	}
	ret = ftqmp_status(&op->guest->qmp, status, sizeof(status), &op->err);
	if (ret)
		return ret;
	keep_settings(&op->set, &r);
	if (!strcmp(status, "running"))
		return 0;
	if (!strcmp(status, "prelaunch"))
		return ft_fail(&op->err, -EINVAL, "guest %s has not begun to run: start it on both hosts with -S, and run: "
			       "ftctl pair %s", op->name, op->name);
	return ft_fail(&op->err, -EINVAL, "guest %s does not run (QEMU says \"%s\"): let it go on first, ftctl resume %s",
		       op->name, status, op->name);
}

int protect_come_back(struct op *op)
{
	struct fterr err;
	int ret, tries = 0;

	/* one that is not answered may be followed all the same */
	ret = ftqmp_do(&op->guest->qmp, "stop", NULL, &op->err);
	while (ftqmp_do(&op->guest->qmp, "cont", NULL, &err) && ++tries < CONT_TRIES)
		usleep(CONT_US);
	if (tries == CONT_TRIES)
		ret = ft_fail(&op->err, err.code, "guest %s was stopped, so that its QEMU comes back to its devices, and does not go on: "
			      "%s; let it: ftctl resume %s", op->name, err.text, op->name);
	return ret;
}

/* What it says then is heard in a moment. */
static int come_back(struct op *op)
{
	int ret = protect_come_back(op);

	return ret ? ret : ft_fail(&op->err, -EAGAIN, "guest %s's QEMU had missed a restart of ftd, and is made to come back "
				   "to its devices; try again", op->name);
}

/*
 * Where ftd was started again, QEMU takes a second to come back to its devices. One that came back
 * in the midst of a migration has ended by that, and its guest with it.
 */
int protect_must_have_devices(struct op *op)
{
	struct ftdev *list = NULL;
	size_t n = 0, i, k;
	json_t *no;
	int ret = ftnl_dev_dump(&list, &n, &op->err);

	if (!ret && op->silent)
		ret = come_back(op);
	for (i = 0; !ret && i < n; i++) {
		bool has = (pid_t)list[i].pid != op->guest->pid;

		json_array_foreach(json_object_get(op->others, ft_dev_kind_name(list[i].kind)), k, no)
			has |= json_integer_value(no) == list[i].no;
		if (!has)
			ret = ft_fail(&op->err, -EAGAIN, "guest %s's QEMU has yet to come back to its device %s, behind a restart "
				      "of ftd; try again", op->name, list[i].name);
	}
	free(list);
	return ret;
}
