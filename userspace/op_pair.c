// SPDX-License-Identifier: GPL-2.0
/*
 * Pair: two ftd agree in one line each way, then hand the socket to their
 * modules, which do the rest.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "device.h"
#include "failover.h"
#include "migrate.h"
#include "op.h"
#include "peer.h"
#include "peer_call.h"
#include "replica_json.h"
#include "second.h"
#include "text.h"

json_t *pair_request(const struct op *op)
{
	json_t *json = ft_settings_json(&op->set);

	json_object_set_new(json, "ftd", json_integer(PEER_VERSION));
	json_object_set_new(json, "version", json_string(FTKVM_VERSION));
	json_object_set_new(json, "guest", json_string(*op->peer_name ? op->peer_name : op->name));
	if (*op->peer_name)
		json_object_set_new(json, "pair", json_string(op->name));
	json_object_set_new(json, "port", json_integer(peer_port()));
	if (!strcmp(op->second, SECOND_NONE))
		json_object_set_new(json, "one_path", json_true());
	if (op->loss_said)
		json_object_set_new(json, "on_loss_said", json_true());
	failover_tell(op->session, json);
	return json;
}

/* The peer's ftd says yes, or why not. */
static int ask_peer(struct op *op)
{
	json_t *answer = NULL;
	struct fterr other;
	int ret;

	ret = peer_ask(op->sock, op->peer, pair_request(op), &answer, &op->err);
	if (!ret && peer_same_kernel(answer, &other))
		op_warn(op, "%s", other.text);
	json_decref(answer);
	return ret;
}

/* Two guests that ran apart are two. */
static int must_be_fresh(struct op *op)
{
	char status[32];
	int ret = ftqmp_status(&op->guest->qmp, status, sizeof(status), &op->err);

	if (ret || !strcmp(status, "prelaunch"))
		return ret;
	op->refused = true;
	return ft_fail(&op->err, -EINVAL, "guest %s has run (QEMU says \"%s\"): to protect one that runs, ftctl protect; or "
		       "start it again with -S on both hosts", op->name, status);
}

static int must_be_idle(struct op *op)
{
	struct ftreplica r;
	int ret = ftnl_get(op->name, &r, &op->err);

	if (ret)
		return ret;
	op->refused = r.state != FTKVM_UAPI_STATE_IDLE;
	switch (r.state) {
	case FTKVM_UAPI_STATE_IDLE:
		return must_be_fresh(op);
	case FTKVM_UAPI_STATE_SOLO:
	case FTKVM_UAPI_STATE_STOPPED:
		return ft_fail(&op->err, -EINVAL, "guest %s has run (its state is %s): to protect one that runs, ftctl "
			       "protect; or start it again with -S on both hosts", op->name, ft_state_name(r.state));
	default:
		return ft_fail(&op->err, -EBUSY, "guest %s is paired already%s%s (its state is %s)", op->name,
			       *r.peer ? " with " : "", r.peer, ft_state_name(r.state));
	}
}

int pair_mute_all(struct guest *g, struct fterr *err)
{
	int ret = 0;
	size_t i;

	for (i = 0; i < g->ncons; i++)
		if (g->cons[i].live) {
			int one = ftcon_mute(&g->qmp, &g->cons[i], err);

			ret = ret ? ret : one;
		}
	return ret;
}

int pair_open_all(struct guest *g, struct fterr *err)
{
	size_t i;
	int ret;

	for (i = 0; i < g->ncons; i++) {
		if (g->cons[i].live)
			continue;
		ret = ftcon_open(&g->qmp, &g->cons[i], err);
		if (ret)
			return ret;
	}
	return 0;
}

static int set_running(struct op *op)
{
	int ret = ftqmp_do(&op->guest->qmp, "cont", NULL, &op->err);

	return ret ? ft_fail_prefix(&op->err, "paired, but the guest does not start: ") : 0;
}

/*
 * A former ftd was killed between the two: its peer waits for it, on either side. What may have been open or
 * muted before that was.
 */
static void let_go_work(struct op *op)
{
	struct ftreplica r;
	char status[32];

	op->quiet = op->guest->fresh_said;
	op->ret = ftnl_get(op->name, &r, &op->err);
	if (!op->ret)
		op->ret = ftqmp_status(&op->guest->qmp, status, sizeof(status), &op->err);
	if (op->ret || r.state != FTKVM_UAPI_STATE_ARMED || strcmp(status, "prelaunch"))
		return;
	op->ret = set_running(op);
	if (!op->ret)
		ft_log(SD_NOTICE, "guest %s is paired with %s, and had not been told to run when ftd ended: %s here", op->name,
		       r.peer, ft_role_name(r.role));
}

static void let_go_settle(struct op *op)
{
	op->guest->fresh_said = op->ret;
	op->guest->half = op->ret;
}

void pair_look(struct guest *g, const struct ftreplica *r)
{
	switch (r->state) {
	case FTKVM_UAPI_STATE_ARMED:
		/* its QEMU is to come back to its devices before: protect_mend() */
		if (g->half && !devices_awaited(g))
			op_own(g, "pair", let_go_work, let_go_settle);
		break;
	case FTKVM_UAPI_STATE_IDLE:
		op_stop_guest(g);
		break;
	default:
		g->fresh = false;
		guests_save();
	}
}

/* --- primary --------------------------------------------------------------- */

static void pair_work(struct op *op)
{
	struct guest *g = op->guest;
	struct fterr ignored;

	if (*op->qmp_path) {
		attach_work(op);
		if (op->ret)
			return;
	}
	op->ret = must_be_idle(op);
	if (op->ret)
		return;
	/* What may fail here must not fail when the peer counts on us. */
	op->ret = pair_open_all(g, &op->err);
	if (op->ret)
		goto mute;
	op->ret = failover_disks(op->session, g->pid, &op->err);
	if (op->ret)
		goto mute;
	if (*op->session) {
		op->ret = failover_begin(op->session, op->name, &op->err);
		if (op->ret)
			goto mute;
	}
	op->sock = peer_connect(op->peer, &op->err);
	if (op->sock < 0) {
		op->ret = op->sock;
		goto mute;
	}
	op->ret = ask_peer(op);
	if (!op->ret) {
		op->told = true;
		op->ret = ftnl_pair(op->name, FTKVM_UAPI_ROLE_PRIMARY, op->sock, op->peer, "", &op->set,
				    &op->err);
		op->taken = !op->ret;
	}
	if (op->ret)
		goto mute;
	op->ret = set_running(op);
	if (!op->ret) {
		ft_log(SD_NOTICE, "guest %s is paired with %s: primary here", op->name, op->peer);
		return;
	}
	ftnl_unpair(op->name, &ignored);
mute:
	pair_mute_all(g, &ignored);
}

/* From now on; and if nothing comes of it, not any more. */
static void know_peer(struct op *op, const char *second)
{
	struct guest *g = op->guest;

	strcpy(g->was.peer_guest, g->peer_guest);
	strcpy(g->was.second, g->second);
	g->tries = true;
	strcpy(g->peer_guest, op->peer_name);
	strcpy(g->second, second);
}

void pair_forget(struct op *op)
{
	struct guest *g = op->guest;

	/* else it was noted when that try ended */
	if (op->told && g->tries) {
		strcpy(g->left.peer, op->peer);
		strcpy(g->left.guest, g->peer_guest);
	}
	if (g->tries) {
		strcpy(g->peer_guest, g->was.peer_guest);
		strcpy(g->second, g->was.second);
	}
	g->tries = false;
	guests_save();
}

void pair_session_settle(struct op *op)
{
	if (!op->guest || op->guest->gone)
		return;
	if (op->taken) {
		op->guest->loss_said = op->loss_said;
		op->guest->loss_lent = op->loss_lent;
	}
	if (op->ret && !op->taken)
		op->guest->fresh = op->was_fresh;
	if (op->ret && !op->paired) {
		pair_forget(op);
	} else {
		op->guest->tries = false;
		*op->guest->left.peer = '\0';
		guests_save();
	}
	/* the session was for a pairing that was not even begun, and another one is there */
	if (op->refused)
		failover_set(op->guest, "");
	else if (op->guest->leads && !op->told)
		failover_unused(op->guest);
	else
		failover_happened(op->guest);
}

static void pair_settle(struct op *op)
{
	if (*op->qmp_path)
		attach_settle(op);
	pair_session_settle(op);
}

/* --qmp once more, for a guest that is attached so already, does no harm. */
static bool wants_attach(struct op *op, json_t *request)
{
	const char *qmp = request_string(request, "qmp");
	struct guest *g = guest_find(op->name);

	if (!json_object_get(request, "qmp"))
		return false;
	return !(qmp && g && !g->ended && !strcmp(qmp, g->qmp_path));
}

/* What nobody can be told, or nobody knows of, is in no new one's way. */
static void drop_session(struct guest *g)
{
	if (*g->session && (!failover_decides() || g->unused))
		failover_set(g, "");
}

static int session_new(struct op *op, struct fterr *err)
{
	char session[FT_SESSION_MAX + 1];
	int ret;

	drop_session(op->guest);
	if (*op->guest->session)
		return ft_fail(err, -EBUSY, "guest %s is paired, or the arbiter has still to be told that it is not any "
			       "more: ftctl status %s", op->name, op->name);
	op->loss_said = op->set.on_loss;
	/* what the module keeps is still what somebody said */
	if (!op->set.on_loss && !failover_decides() && !op->guest->loss_lent)
		op->loss_said = op->guest->loss_said;
	if (op->set.on_loss == FTKVM_UAPI_LOSS_SOLO || !failover_decides()) {
		/* what is not said stays, but what came with an arbiter goes with it */
		if (!op->set.on_loss && op->guest->loss_lent)
			op->set.on_loss = FTKVM_UAPI_LOSS_SOLO;
		return 0;
	}
	op->loss_lent = !op->set.on_loss;
	ret = ft_uuid(session, err);
	if (ret)
		return ret;
	op->set.on_loss = FTKVM_UAPI_LOSS_HOLD;
	op->guest->leads = true;
	failover_set(op->guest, session);
	return 0;
}

struct op *pair_op_new(struct client *client, json_t *request, const char *what,
		       void (*work)(struct op *op), struct fterr *err)
{
	const char *peer = request_string(request, "peer");
	json_t *peer_name = json_object_get(request, "peer_name");
	struct op *op;
	int ret;

	/* the module keeps it, and tells it to whoever asks */
	if (!peer || !*peer || strlen(peer) > FTKVM_PEER_MAX) {
		ft_fail(err, -EINVAL, "the peer's HOST[:PORT] is missing, or longer than %d bytes: give its address",
			FTKVM_PEER_MAX);
		return NULL;
	}
	if (peer_name && !ft_name_ok(json_string_value(peer_name))) {
		ft_fail(err, -EINVAL, "the guest's name at the peer is no guest's name");
		return NULL;
	}
	op = op_new(what, request_string(request, "name"), work);
	if (!op) {
		ft_fail(err, -ENOMEM, "ftd is out of memory");
		return NULL;
	}
	op->client = client;
	strcpy(op->peer, peer);
	if (peer_name)
		strcpy(op->peer_name, json_string_value(peer_name));
	ret = ft_settings_from_json(request, &op->set, err);
	if (!ret)
		ret = second_wanted(op, request_string(request, "second"), err);
	if (!ret && wants_attach(op, request)) {
		ret = attach_params(op, request, err);
		if (!ret)
			ret = op_attach_guest(op, err);
	} else if (!ret) {
		ret = op_guest(op, true, err);
	}
	if (!ret)
		return op;
	op_free(op);
	return NULL;
}

int pair_op_start(struct op *op, struct fterr *err)
{
	int ret = op->guest->moving == FT_STAYS ? session_new(op, err) :
		  ft_fail(err, -EBUSY, "guest %s is still being mended after a move that failed; try again", op->name);

	if (ret) {
		pair_op_drop(op);
		return ret;
	}
	know_peer(op, op->second);
	op->guest->second_tries = 0;
	op->guest->second_seen = false;
	op->guest->second_at = 0;
	op->guest->qmp.reset_ns = 0;
	op->guest->moving = op->disks ? FT_LEAVES : FT_STAYS;
	op->was_fresh = op->guest->fresh;
	op->guest->fresh = !op->disks;
	guests_save();
	op_start(op);
	return 0;
}

void pair_op_drop(struct op *op)
{
	/* one that was to be attached first */
	if (*op->qmp_path && op->guest && !op->guest->attached)
		guest_drop(op->guest);
	op_free(op);
}

int op_pair(struct client *client, json_t *request, struct fterr *err)
{
	struct op *op = pair_op_new(client, request, "pair", pair_work, err);

	if (!op)
		return err->code;
	op->settle = pair_settle;
	return pair_op_start(op, err);
}

/* --- backup ---------------------------------------------------------------- */

static void pair_backup_work(struct op *op)
{
	struct fterr ignored;

	op->ret = must_be_idle(op);
	if (!op->ret)
		op->ret = pair_mute_all(op->guest, &op->err);
	if (!op->ret)
		op->ret = failover_disks(op->session, op->guest->pid, &op->err);
	if (!op->ret)
		op->ret = failover_join(op->session, &op->err);
	if (op->ret) {
		peer_say(op->sock, ft_error_json(&op->err));
		return;
	}
	op->ret = peer_say(op->sock, peer_yes());
	if (op->ret) {
		ft_fail(&op->err, op->ret, "the primary's ftd at %s is gone: %s", op->peer, strerror(-op->ret));
		return;
	}
	peer_ready(op->sock);
	op->ret = ftnl_pair(op->name, FTKVM_UAPI_ROLE_BACKUP, op->sock, op->peer, op->peer_name, &op->set,
			    &op->err);
	op->taken = !op->ret;
	if (op->ret)
		return;
	op->ret = set_running(op);
	if (op->ret)
		ftnl_unpair(op->name, &ignored);
	else
		ft_log(SD_NOTICE, "guest %s is paired with %s: backup here", op->name, op->peer);
}

void pair_peer_name(struct op *op, const char *from, json_t *request)
{
	peer_call_back(op->peer, sizeof(op->peer), from, json_integer_value(json_object_get(request, "port")));
}

int pair_session_join(struct op *op, json_t *request, struct fterr *err)
{
	char session[FT_SESSION_MAX + 1];
	int ret;

	drop_session(op->guest);
	if (*op->guest->session)
		return ft_fail(err, -EBUSY, "guest %s was paired before, and this host's arbiter has still to be told that it is "
			       "not any more", op->name);
	ret = failover_told(request, session, err);
	if (ret)
		return ret;
	op->guest->leads = false;
	if (json_is_true(json_object_get(request, "on_loss_said")))
		op->loss_said = op->set.on_loss;
	else
		op->loss_lent = op->set.on_loss == FTKVM_UAPI_LOSS_HOLD;
	/* it is heard of when the primary calls by it; but that there is to be none holds here, too, where this one is the primary */
	know_peer(op, json_is_true(json_object_get(request, "one_path")) ? SECOND_NONE : "");
	failover_set(op->guest, session);
	return 0;
}

void op_pair_backup(int sock, const char *from, json_t *request)
{
	const char *name = request_string(request, "guest"), *pair = request_string(request, "pair");
	struct fterr err;
	struct op *op;
	int ret;

	if (!ft_name_ok(name) || (pair && !ft_name_ok(pair))) {
		ft_log(SD_NOTICE, "%s asks to pair, but names no guest", from);
		ft_send_json(sock, json_pack("{s:s}", "error", "no guest's name"), ft_now_ms());
		close(sock);
		return;
	}
	op = op_new("pair", name, pair_backup_work);
	if (!op) {
		close(sock);
		return;
	}
	op->settle = pair_session_settle;
	op->sock = sock;
	if (pair)
		strcpy(op->peer_name, pair);
	pair_peer_name(op, from, request);
	ret = ft_settings_from_json(request, &op->set, &err);
	if (!ret)
		ret = op_guest(op, true, &err);
	if (!ret)
		ret = pair_session_join(op, request, &err);
	if (!ret) {
		op->was_fresh = op->guest->fresh;
		op->guest->fresh = true;
		guests_save();
		op_start(op);
		return;
	}
	ft_log(SD_WARNING, "%s asks to pair guest %s: refused: %s", from, name, err.text);
	peer_say(op->sock, ft_error_json(&err));
	op_free(op);
}
