// SPDX-License-Identifier: GPL-2.0
/* A guest and its backup change places; it stands still for a while. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "again.h"
#include "device.h"
#include "failover.h"
#include "op.h"
#include "text.h"

#define GOING_MS	10000	/* a primary has stopped by then, or was not told to */
#define AGAIN_MS	1000	/* between one try to go on and the next, while nobody lives ... */
#define AGAIN_MAX_MS	5000	/* ... growing up to this */

/* --- switchover ------------------------------------------------------------ */

bool stopped_for_it(const struct ftreplica *r)
{
	return r->state == FTKVM_UAPI_STATE_ORPHAN && r->reason == FTKVM_REASON_GUEST_ENDED;
}

static void go_on_here(struct op *op)
{
	struct ftreplica r;
	struct fterr ignored;

	op->switches = true;
	promote_any(op);
	op->stuck = op->ret && !ftnl_get(op->name, &r, &ignored) && stopped_for_it(&r);
}

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
	/* it is to stop its primary; and when that has said that it did, nobody else need be asked */
	op->force = true;
	go_on_here(op);
}

static void switch_over(struct guest *g, const char *peer)
{
	g->going = false;
	if (!peer) {
		guests_save();
		return;
	}
	snprintf(g->again_peer, sizeof(g->again_peer), "%s", peer);
	again_wanted(g);
}

static void switch_settle(struct op *op)
{
	/* else switch_resume() tries on */
	if (!op->stuck)
		switch_over(op->guest, op->ret ? NULL : op->peer);
}

int op_switchover(struct client *client, json_t *request, struct fterr *err)
{
	struct op *op = op_new("switchover", request_string(request, "name"), switch_work);
	int ret;

	if (!op)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	op->settle = switch_settle;
	op->client = client;
	ret = op_guest(op, true, err);
	if (ret) {
		op_free(op);
		return ret;
	}
	op->guest->going = true;
	op->guest->going_until = 0;
	op->guest->going_at = 0;
	op->guest->going_tries = 0;
	guests_save();
	op_start(op);
	return 0;
}

static void go_on_work(struct op *op)
{
	struct ftreplica r;

	op->ret = ftnl_get(op->name, &r, &op->err);
	if (op->ret)
		return;
	strcpy(op->peer, r.peer);
	op->quiet = op->guest->going_tries > 1;
	if (stopped_for_it(&r))
		go_on_here(op);
	else
		op->ret = ft_fail(&op->err, -EINVAL, "guest %s is %s now", op->name, ft_state_name(r.state));
}

void switch_resume(struct guest *g, const struct ftreplica *r)
{
	int64_t now = ft_now_ms();

	if (stopped_for_it(r)) {
		/* with an arbiter ftd asks that, and promotes it: failover.c */
		if (*g->session && failover_decides())
			return;
		if (now < g->going_at)
			return;
		g->going_at = now + ft_wait_ms(AGAIN_MS, AGAIN_MAX_MS, g->going_tries);
		if (!g->going_tries++)
			ft_log(SD_NOTICE, "guest %s was to go on here and did not yet, and its primary has stopped: it is promoted "
			       "until that works", g->name);
		op_own(g, "switchover", go_on_work, switch_settle);
		return;
	}
	if (!g->going_until)
		g->going_until = now + GOING_MS + 2 * r->timeout_ms;
	/* its primary may have been told to stop, and be at it */
	if (r->state == FTKVM_UAPI_STATE_TAKEOVER || (r->state == FTKVM_UAPI_STATE_BACKUP && now < g->going_until))
		return;
	switch_over(g, r->state == FTKVM_UAPI_STATE_SOLO && r->role == FTKVM_UAPI_ROLE_BACKUP ? r->peer : NULL);
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

/* Unless it stood still before, which is not by that. */
static void pause_settle(struct op *op)
{
	if (op->ret || *op->guest->still)
		return;
	op->guest->stopper = FT_OPERATOR;
	guests_save();
}

int op_pause(struct client *client, json_t *request, struct fterr *err)
{
	return op_simple(client, request, "pause", pause_work, pause_settle, true, err);
}

static void resume_work(struct op *op)
{
	op->ret = ftqmp_do(&op->guest->qmp, "cont", NULL, &op->err);
}

static void resume_settle(struct op *op)
{
	if (op->ret)
		return;
	op->guest->stopper = FT_OTHERS;
	guests_save();
}

int op_resume(struct client *client, json_t *request, struct fterr *err)
{
	const char *name = request_string(request, "name");
	const struct guest *g = name ? guest_find(name) : NULL;

	/* it sets its disks up by connections that it has, or never: vu_speaks_on() */
	if (g && devices_awaited(g))
		return ft_fail(err, -EAGAIN, "guest %s's QEMU has yet to come back to its devices, behind a restart of ftd; try "
			       "again in a moment", g->name);
	return op_simple(client, request, "resume", resume_work, resume_settle, true, err);
}
