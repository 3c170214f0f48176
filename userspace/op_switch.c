// SPDX-License-Identifier: GPL-2.0
/* A guest and its backup change places; it stands still for a while. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "again.h"
#include "op.h"
#include "text.h"

/* --- switchover ------------------------------------------------------------ */

static void switch_work(struct op *op)
{
	struct ftreplica r;

	op->ret = ftnl_get(op->name, &r, &op->err);
	if (op->ret)
		return;
	if (r.state != FTKVM_UAPI_STATE_BACKUP) {
		op->ret = ft_fail(&op->err, -EINVAL, r.state == FTKVM_UAPI_STATE_PRIMARY ?
				  "guest %s is %s here: run it on the host of its backup, %s" :
				  "guest %s is %s: only a backup, whose primary lives, can take its place%s", op->name,
				  ft_state_name(r.state), r.state == FTKVM_UAPI_STATE_PRIMARY ? r.peer : "");
		return;
	}
	strcpy(op->peer, r.peer);
	op->force = true;
	promote_any(op);
}

static void switch_settle(struct op *op)
{
	if (op->ret)
		return;
	snprintf(op->guest->again_peer, sizeof(op->guest->again_peer), "%s", op->peer);
	again_wanted(op->guest);
}

int op_switchover(struct client *client, json_t *request, struct fterr *err)
{
	return op_simple(client, request, "switchover", switch_work, switch_settle, true, err);
}

/* --- pause, resume --------------------------------------------------------- */

static void pause_work(struct op *op)
{
	struct ftreplica r;

	op->ret = ftnl_get(op->name, &r, &op->err);
	if (op->ret)
		return;
	/* a backup that stands still stops its primary, and could not take over */
	if (r.role == FTKVM_UAPI_ROLE_BACKUP && r.state != FTKVM_UAPI_STATE_SOLO &&
	    r.state != FTKVM_UAPI_STATE_STOPPED) {
		op->ret = ft_fail(&op->err, -EINVAL, "guest %s is %s here: pause it on the host of its primary, %s", op->name,
				  ft_state_name(r.state), r.peer);
		return;
	}
	op->ret = ftqmp_do(&op->guest->qmp, "stop", NULL, &op->err);
}

int op_pause(struct client *client, json_t *request, struct fterr *err)
{
	return op_simple(client, request, "pause", pause_work, NULL, true, err);
}

static void resume_work(struct op *op)
{
	op->ret = ftqmp_do(&op->guest->qmp, "cont", NULL, &op->err);
}

int op_resume(struct client *client, json_t *request, struct fterr *err)
{
	return op_simple(client, request, "resume", resume_work, NULL, true, err);
}
