// SPDX-License-Identifier: GPL-2.0
/* How operations run, and the short ones. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "again.h"
#include "control.h"
#include "disk_sync.h"
#include "failover.h"
#include "op.h"
#include "replica_json.h"
#include "said.h"

struct op *op_new(const char *what, const char *name, void (*work)(struct op *op))
{
	struct op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->what = what;
	op->work = work;
	op->sock = -1;
	snprintf(op->name, sizeof(op->name), "%s", name);
	memcpy(op->state, ftd_state_path, sizeof(op->state));
	return op;
}

void op_free(struct op *op)
{
	size_t i;

	if (op->sock >= 0)
		close(op->sock);
	for (i = 0; i < op->ncons; i++)
		ftcon_free(&op->cons[i]);
	free(op->cons);
	json_decref(op->result);
	json_decref(op->others);
	json_decref(op->request);
	json_decref(op->how);
	if (op->disks)
		disk_sync_end(op->disks);
	free(op->disks);
	free(op);
}

void op_warn(struct op *op, const char *fmt, ...)
{
	size_t at = strlen(op->warning);
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ft_log(SD_WARNING, "%s %s: %s", op->what, op->name, text);
	snprintf(op->warning + at, sizeof(op->warning) - at, "%s%s", at ? "; " : "", text);
}

static void answer(struct op *op)
{
	json_t *json;

	if (op->ret) {
		json = ft_error_json(&op->err);
		json_object_set_new(json, "errno", json_integer(-op->ret));
	} else {
		json = op->result ? json_incref(op->result) : json_object();
		json_object_set_new(json, "ok", json_true());
	}
	if (*op->warning)
		json_object_set_new(json, "warning", ft_text_json(op->warning));
	if (op->client)
		client_answer(op->client, json);
	else
		json_decref(json);
}

static void in_thread(struct job *job)
{
	struct op *op = (struct op *)job;

	op->work(op);
}

static void finished(struct job *job)
{
	struct op *op = (struct op *)job;
	struct guest *g = op->guest;
	bool gone;

	if (g) {
		g->busy = NULL;
		g->op = NULL;
	}
	/* one that is tried again and again has been told once */
	if (op->ret && !op->quiet && !(g && g->retry_logged && op->work == attach_work))
		ft_log(SD_WARNING, "%s %s failed: %s", op->what, op->name, op->err.text);
	if (op->settle)
		op->settle(op);
	gone = g && g->gone;
	if (gone)
		guest_drop(g);
	else if (g && !g->busy)
		guest_watch(g);
	if (g && !gone)
		failover_look(g);
	/* last: with it the client's next order may begin, and end the guest */
	answer(op);
	op_free(op);
}

void op_start(struct op *op)
{
	int ret;

	op->job.work = in_thread;
	op->job.done = finished;
	if (op->guest) {
		/* the main loop may clear its own */
		strcpy(op->session, op->guest->session);
		op->guest->busy = op->what;
		op->guest->op = op;
		guest_unwatch(op->guest);
	}
	if (op->client)
		client_wait(op->client, op);
	ret = job_start(&op->job);
	if (!ret)
		return;
	op->ret = ft_fail(&op->err, ret, "cannot start a thread: %s", strerror(-ret));
	finished(&op->job);
}

const char *request_string(json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

int op_guest(struct op *op, bool know, struct fterr *err)
{
	struct guest *g = guest_find(op->name);

	if (g && (g->busy || g->gone))
		return ft_fail(err, -EBUSY, "guest %s is busy (%s); try again when that is done", op->name,
			       g->busy ? g->busy : "detach");
	if (know && !g)
		return ft_fail(err, -ENOENT, "guest %s is not attached here; run: ftctl attach %s --qmp PATH",
			       op->name, op->name);
	if (know && g->ended)
		return ft_fail(err, -ENOENT, "guest %s's QEMU has ended; start it again, then run: "
			       "ftctl attach %s --qmp PATH", op->name, op->name);
	op->guest = g;
	return 0;
}

/* --- detach, unpair, check ------------------------------------------------- */

static void detach_work(struct op *op)
{
	op->ret = ftnl_detach(op->name, &op->err);
	if (op->ret == -ENOENT && op->guest)
		op->ret = 0;	/* it has gone by itself */
}

static void detach_settle(struct op *op)
{
	if (op->ret)
		return;
	ft_log(SD_NOTICE, "guest %s is detached", op->name);
	if (!op->guest)
		return;
	op->guest->gone = true;
	if (op->guest->ended)
		said_forget(op->state, op->name);
}

/* A replica is not to go on: the arbiter is to know, so that the other one may. */
static void cede(struct op *op, bool primary)
{
	struct ftreplica r;

	if (!ftnl_get(op->name, &r, &op->err) && (primary || r.role == FTKVM_UAPI_ROLE_BACKUP))
		op->ret = failover_cede(op->session, &r, &op->err);
}

/* Nor is it to be protected again. */
static void unpair_settle(struct op *op)
{
	struct guest *g = op->guest;

	if (!g || !g->again)
		return;
	again_dismiss(g);
	/* there may be nothing else to end */
	if (op->ret == -EINVAL)
		op->ret = 0;
}

void unpair_work(struct op *op)
{
	/* stops an orphan; a primary that is held is not unpaired */
	cede(op, false);
	if (!op->ret)
		op->ret = ftnl_unpair(op->name, &op->err);
}

int op_begin(struct op *op, bool know, struct fterr *err)
{
	int ret = op_guest(op, know, err);

	if (ret)
		op_free(op);
	else
		op_start(op);
	return ret;
}

int op_simple(struct client *client, json_t *request, const char *what,
	      void (*work)(struct op *op), void (*settle)(struct op *op), bool know,
	      struct fterr *err)
{
	struct op *op = op_new(what, request_string(request, "name"), work);

	if (!op)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	op->settle = settle;
	op->client = client;
	return op_begin(op, know, err);
}

int op_detach(struct client *client, json_t *request, struct fterr *err)
{
	return op_simple(client, request, "detach", detach_work, detach_settle, false, err);
}

bool op_protects_by_itself(const struct guest *g)
{
	return g && g->op && g->moving == FT_LEAVES && !g->op->client;
}

int op_unpair(struct client *client, json_t *request, struct fterr *err)
{
	struct guest *g = guest_find(request_string(request, "name"));

	/* it is being protected by ftd itself, which may take hours: not any more */
	if (op_protects_by_itself(g)) {
		g->op->hung_up = true;
		g->op->unwanted = true;
		again_dismiss(g);
		client_answer(client, json_pack("{s:b}", "ok", 1));
		return 0;
	}
	return op_simple(client, request, "unpair", unpair_work, unpair_settle, false, err);
}

static void fence_work(struct op *op)
{
	cede(op, true);
	if (!op->ret)
		op->ret = ftnl_fence(op->name, &op->err);
}

int op_fence(struct client *client, json_t *request, struct fterr *err)
{
	return op_simple(client, request, "fence", fence_work, NULL, false, err);
}

static void check_work(struct op *op)
{
	struct ftproblems p = { 0 };
	struct ftreplica r;

	op->ret = ftnl_get(op->name, &r, &op->err);
	if (!op->ret)
		op->ret = ftnl_check(op->name, -1, &p, &op->err);
	if (!op->ret)
		op->ret = ft_guest_problems(&op->guest->qmp, &p, &op->err);
	if (!op->ret)
		op->result = ft_problems_json(&p);
	free(p.list);
}

int op_check(struct client *client, json_t *request, struct fterr *err)
{
	return op_simple(client, request, "check", check_work, NULL, true, err);
}

/* --- what ftd does by itself ----------------------------------------------- */

bool op_own(struct guest *g, const char *what, void (*work)(struct op *op),
	    void (*settle)(struct op *op))
{
	struct op *op;

	if (g->busy || g->gone)
		return false;
	op = op_new(what, g->name, work);
	if (!op)
		return false;
	op->guest = g;
	op->silent = g->remind;
	g->remind = false;
	op->settle = settle;
	snprintf(op->qmp_path, sizeof(op->qmp_path), "%s", g->qmp_path);
	op_start(op);
	return true;
}

static void reconnect_work(struct op *op)
{
	struct fterr err;
	int ret;

	ret = ftqmp_open(&op->guest->qmp, op->qmp_path, &err);
	if (!ret && op->guest->qmp.pid != op->guest->pid) {
		ret = ft_fail(&err, -ESRCH, "%s is the monitor of another process (%d) now", op->qmp_path,
			      op->guest->qmp.pid);
		ftqmp_close(&op->guest->qmp);
		op->guest->qmp = (struct ftqmp)FTQMP_INIT;
	}
	/* A failure is nothing to report each time: it is tried again. */
	if (ret) {
		if (!op->guest->retry_logged)
			ft_log(SD_WARNING, "guest %s: %s; trying on", op->name, err.text);
		op->guest->retry_logged = true;
		return;
	}
	op->guest->retry_logged = false;
	ft_log(SD_NOTICE, "guest %s: QEMU's monitor is back", op->name);
	/* what was under way when it was lost, and what could not be done without it */
	if (consoles_look(op, true, &err))
		ft_log(SD_WARNING, "guest %s: %s", op->name, err.text);
	promote_resume(op);
}

void op_reconnect(struct guest *g)
{
	op_own(g, "reconnect", reconnect_work, NULL);
}

void op_join(struct guest *g)
{
	op_own(g, "join consoles", promote_resume, NULL);
}

static void reap_work(struct op *op)
{
	int ret = ftnl_detach(op->name, &op->err);

	/* EBUSY: the peer still takes the end of the log; later, then. */
	op->guest->reaped = !ret || ret == -ENOENT;
}

void op_reap(struct guest *g)
{
	guest_note_final(g);
	op_own(g, "reap", reap_work, NULL);
}

static void stop_work(struct op *op)
{
	struct ftreplica r;
	char status[32];

	op->quiet = op->guest->fresh_said;
	/* By now it may be paired again. */
	op->next = ftnl_get(op->name, &r, &op->err) || r.state != FTKVM_UAPI_STATE_IDLE;
	if (op->next)
		return;
	op->ret = ftqmp_status(&op->guest->qmp, status, sizeof(status), &op->err);
	if (op->ret)
		return;
	/* nobody has let it go; or it was not paired in the end, and had been running */
	op->have = !strcmp(status, "prelaunch") || r.role != FTKVM_UAPI_ROLE_PRIMARY;
	if (op->have)
		return;
	op->ret = ftqmp_do(&op->guest->qmp, "stop", NULL, &op->err);
	if (!op->ret)
		ft_log(SD_WARNING, "guest %s: its pairing failed before it began; stopped, so that it does not "
		       "run here as well as on the other host", op->name);
}

/* If it could not be stopped, it is looked at again: pair_look(). */
static void stop_settle(struct op *op)
{
	struct guest *g = op->guest;

	g->fresh_said = op->ret;
	if (op->ret || op->next)
		return;
	g->fresh = false;
	if (!op->have)
		g->stopper = FT_FAILED_PAIR;
	guests_save();
}

void op_stop_guest(struct guest *g)
{
	g->must_stop = false;
	op_own(g, "stop", stop_work, stop_settle);
}
