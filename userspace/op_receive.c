// SPDX-License-Identifier: GPL-2.0
/*
 * The other side of op_protect.c: a guest that runs on the peer's host gets a backup
 * here. Either its QEMU waits already (-incoming defer -S, attached), or it is started
 * by the peer's command line, where [guests] start = yes allows that.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmdline.h"
#include "device.h"
#include "failover.h"
#include "migrate.h"
#include "op.h"
#include "peer.h"
#include "peer_call.h"
#include "replica_json.h"
#include "said.h"
#include "stream.h"
#include "text.h"

#define QUIT_MS		10000
#define POLL_US		20000
#define LINE_MAX	262144

/* --- its QEMU -------------------------------------------------------------- */

static bool answers(const char *path)
{
	struct ftqmp q;
	struct fterr ignored;

	if (ftqmp_open(&q, path, &ignored))
		return false;
	ftqmp_close(&q);
	return true;
}

static int start_qemu(struct op *op, json_t *how)
{
	int64_t deadline = ft_now_ms() + OP_START_MS;
	char log[sizeof(op->state) + FTKVM_NAME_MAX + 16], words[512];
	pid_t pid;
	int ret;

	said_path(op->state, op->name, log, sizeof(log));
	if (answers(op->qmp_path))
		return ft_fail(&op->err, -EEXIST, "a QEMU that is not attached here has the monitor %s: end it, or, if it "
			       "waits with -incoming defer -S, run: ftctl attach %s --qmp %s", op->qmp_path, op->name,
			       op->qmp_path);
	ret = cmdline_start(how, log, &pid, &op->err);
	if (ret)
		return ret;
	op->started = pid;
	ft_log(SD_NOTICE, "guest %s: QEMU (process %d) was started to take it in", op->name, pid);
	while (!answers(op->qmp_path)) {
		if (ft_process_gone(pid)) {
			said_last(log, words, sizeof(words));
			return ft_fail(&op->err, -EIO, "QEMU, run by user %u, ended as it started: %s (%s)", geteuid(),
				       *words ? words : "it did not say why", log);
		}
		if (ft_now_ms() >= deadline) {
			said_last(log, words, sizeof(words));
			return ft_fail(&op->err, -ETIMEDOUT, "QEMU was started, but its monitor %s does not answer within "
				       "%d s: can user %u make a socket in that directory? QEMU %s%s (%s)", op->qmp_path,
				       OP_START_MS / 1000, geteuid(), *words ? "said: " : "did not say anything", words, log);
		}
		usleep(POLL_US);
	}
	return 0;
}

/* --- the steps ------------------------------------------------------------- */

static int nonsense(struct op *op)
{
	return ft_fail(&op->err, -EBADMSG, "the primary's ftd at %s talks nonsense; are both ftd of one version? ftd --version",
		       op->peer);
}

static int read_json(struct op *op, json_t **json, int64_t timeout_ms)
{
	char *line = malloc(LINE_MAX);
	ssize_t ret;

	*json = NULL;
	if (!line)
		return ft_fail(&op->err, -ENOMEM, "ftd is out of memory");
	ret = ft_read_line(op->sock, line, LINE_MAX, ft_now_ms() + timeout_ms);
	if (ret >= 0)
		*json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	free(line);
	if (ret < 0)
		return ft_fail(&op->err, ret, "the primary's ftd at %s is gone: %s", op->peer, strerror(-ret));
	return json_is_object(*json) ? 0 : nonsense(op);
}

static int may_not(struct op *op, struct fterr *err)
{
	return ft_fail(err, -EPERM, "guest %s does not wait here to be taken in, and ftd may not start it: say start = yes in "
		       "[guests] of %s, or start its QEMU here with -incoming defer -S and run: ftctl attach %s",
		       op->name, FT_CONFIG_FILE, op->name);
}

int replica_clear(struct op *op)
{
	struct guest *g = op->guest;
	int64_t deadline = ft_now_ms() + QUIT_MS;
	int ret;

	ftqmp_do(&g->qmp, "quit", NULL, &op->err);
	while (!ft_process_gone(g->pid) && ft_now_ms() < deadline)
		usleep(POLL_US);
	if (!ft_process_gone(g->pid))
		return ft_fail(&op->err, -EBUSY, "the stopped replica of %s is still here: its QEMU (process %d) does not "
			       "quit; end it", op->name, g->pid);
	ftqmp_close(&g->qmp);
	said_forget(op->state, op->name);
	ret = ftnl_detach(op->name, &op->err);
	return ret == -ENOENT ? 0 : ret;
}

/* A dead replica of it may still be here, of before the host was lost. */
static int clear_away(struct op *op)
{
	struct ftreplica r;
	int ret = ftnl_get(op->name, &r, &op->err);

	if (ret)
		return ret;
	if (r.state == FTKVM_UAPI_STATE_ORPHAN)
		return ft_fail(&op->err, -EBUSY, "guest %s is an orphan here, which waits to be promoted: if it is live at %s, run "
			       "here: ftctl fence %s", op->name, op->peer, op->name);
	if (r.state != FTKVM_UAPI_STATE_STOPPED)
		return ft_fail(&op->err, -EBUSY, "guest %s is attached here, and is %s; its QEMU was not started with "
			       "-incoming defer -S: end it, or detach it", op->name, ft_state_name(r.state));
	return op->may_start ? replica_clear(op) : may_not(op, &op->err);
}

/* Is a QEMU here that waits for it? 1, 0, or -errno. */
static int waits_here(struct op *op)
{
	char status[32];
	int ret;

	if (!op->guest->attached || op->guest->ended || op->guest->qmp.fd < 0)
		return 0;
	ret = ftqmp_status(&op->guest->qmp, status, sizeof(status), &op->err);
	return ret ? ret : !strcmp(status, "inmigrate");
}

/* The primary's ftd has nothing to say but that it has failed. */
static int await_stream(struct op *op)
{
	char token[FT_UUID_MAX + 1];
	int ret = stream_expect(token, &op->err), fd;

	if (ret)
		return ret;
	ret = peer_say(op->sock, json_pack("{s:b, s:s}", "ok", 1, "stream", token));
	fd = ret ? ret : stream_take(token, PEER_ANSWER_MS);
	stream_drop(token);
	if (fd < 0)
		return ft_fail(&op->err, fd, "the primary's ftd at %s sends nothing: %s", op->peer, strerror(-fd));
	peer_impatient(fd);
	ret = ftmigrate_from(&op->guest->qmp, fd, &op->err);
	close(fd);
	return ret;
}

/* Look at QEMU until the primary says that its guest stands still. */
static int await_arm(struct op *op)
{
	struct guest *g = op->guest;
	json_t *line = NULL;
	struct ftmigration m;
	int ret;

	while (ft_poll(op->sock, POLLIN, ft_now_ms() + 200)) {
		ret = ftmigrate_look(&g->qmp, &m, &op->err);
		if (ret)
			return ret;
		if (m.step == FTMIGRATE_FAILED)
			return ft_fail(&op->err, -EIO, "QEMU could not take the guest in: %s", m.why);
	}
	ret = read_json(op, &line, PEER_ANSWER_MS);
	if (!ret && !json_is_true(json_object_get(line, "arm")))
		ret = nonsense(op);
	json_decref(line);
	return ret;
}

static bool begun(struct op *op)
{
	struct ftreplica r;
	struct fterr ignored;

	return !ftnl_get(op->name, &r, &ignored) &&
	       (r.state == FTKVM_UAPI_STATE_BACKUP || r.state == FTKVM_UAPI_STATE_ORPHAN ||
		r.state == FTKVM_UAPI_STATE_TAKEOVER || r.state == FTKVM_UAPI_STATE_SOLO);
}

static int await_completed(struct op *op)
{
	struct ftmigration m;
	struct ftreplica r;
	int ret;

	for (;;) {
		ret = ftmigrate_look(&op->guest->qmp, &m, &op->err);
		if (ret)
			return ret;
		if (m.step == FTMIGRATE_COMPLETED || begun(op))
			return 0;
		if (m.step == FTMIGRATE_FAILED)
			return ft_fail(&op->err, -EIO, "QEMU could not take the guest in: %s", m.why);
		ret = ftnl_get(op->name, &r, &op->err);
		if (ret)
			return ret;
		if (r.state != FTKVM_UAPI_STATE_ARMED)
			return ft_fail(&op->err, -EIO, "the pairing has ended: %s", r.detail);
		usleep(POLL_US / 4);
	}
}

static int receive(struct op *op)
{
	struct fterr ignored;
	int ret = pair_mute_all(op->guest, &op->err);

	if (!ret)
		ret = failover_disks(op->session, op->guest->pid, &op->err);
	if (!ret)
		ret = failover_join(op->session, &op->err);
	if (!ret)
		ret = await_stream(op);
	if (!ret)
		ret = await_arm(op);
	if (ret)
		return ret;
	ret = peer_say(op->sock, json_pack("{s:b}", "ok", 1));
	if (ret)
		return ft_fail(&op->err, ret, "the primary's ftd at %s is gone: %s", op->peer, strerror(-ret));
	peer_ready(op->sock);
	ret = ftnl_pair(op->name, FTKVM_UAPI_ROLE_BACKUP, op->sock, op->peer, op->peer_name, &op->set,
			&op->err);
	op->taken = !ret;
	/* from here on the connection is the modules' */
	close(op->sock);
	op->sock = -1;
	if (ret)
		return ret;
	/* QEMU does so as soon as it has all; the module lets nothing run before it has compared */
	ret = ftqmp_do(&op->guest->qmp, "cont", NULL, &op->err);
	if (!ret)
		ret = await_completed(op);
	/* whatever ftd could not see: a replica that has begun is one */
	if (ret && begun(op))
		ret = 0;
	if (ret)
		ftnl_unpair(op->name, &ignored);
	else
		ft_log(SD_NOTICE, "guest %s has a backup here; its primary is at %s", op->name, op->peer);
	return ret;
}

/* Tell the primary; and a QEMU that was started for nothing goes. */
static void give_up(struct op *op)
{
	int64_t deadline = ft_now_ms() + QUIT_MS;
	struct fterr ignored;

	if (op->sock >= 0)
		peer_say(op->sock, ft_error_json(&op->err));
	if (op->started <= 0)
		return;
	kill(op->started, SIGKILL);
	while (!ft_process_gone(op->started) && ft_now_ms() < deadline)
		usleep(POLL_US);
	if (op->attached)
		ftnl_detach(op->name, &ignored);
}

static json_t *yes(bool have)
{
	json_t *json = peer_yes();

	json_object_set_new(json, "have", json_boolean(have));
	return json;
}

/*
 * The steps are operations of their own, as each leaves something behind that a next ftd
 * has to know: listen, then start, then take in; or take away, and from the beginning.
 */
static void listen_work(struct op *op)
{
	op->ret = peer_say(op->sock, yes(false));
	if (op->ret)
		ft_fail(&op->err, op->ret, "the primary's ftd at %s is gone: %s", op->peer, strerror(-op->ret));
	else
		op->ret = read_json(op, &op->how, PEER_ANSWER_MS);
	if (!op->ret)
		op->ret = attach_params(op, op->how, &op->err);
	if (op->ret)
		give_up(op);
	op->next = !op->ret;
}

static void start_work(struct op *op)
{
	op->ret = start_qemu(op, op->how);
	if (!op->ret)
		attach_work(op);
	if (op->ret)
		give_up(op);
	op->next = !op->ret;
}

static void receive_work(struct op *op)
{
	op->ret = receive(op);
	if (op->ret)
		give_up(op);
}

/*
 * It is here: does it wait, or is it dead? Of a guest that is neither nothing is touched: no
 * session, which would let an orphan claim what is its primary's.
 */
static void look_work(struct op *op)
{
	int have = waits_here(op);
	json_t *nothing = NULL;

	op->ret = have < 0 ? have : 0;
	if (!op->ret && !have)
		op->ret = clear_away(op);
	if (!op->ret && have) {
		op->ret = peer_say(op->sock, yes(true));
		if (op->ret)
			ft_fail(&op->err, op->ret, "the primary's ftd at %s is gone: %s", op->peer, strerror(-op->ret));
		else
			op->ret = read_json(op, &nothing, PEER_ANSWER_MS);
		json_decref(nothing);
	}
	op->have = have > 0;
	op->next = !op->ret;
	if (op->ret)
		give_up(op);
}

static void tell(struct op *op, const struct fterr *err)
{
	ft_log(SD_WARNING, "%s asks for a backup of guest %s: refused: %s", op->peer, op->name, err->text);
	peer_say(op->sock, ft_error_json(err));
}

/* What one step has, the next one gets. NULL: out of memory. */
static struct op *hand_over(struct op *op, void (*work)(struct op *op), void (*settle)(struct op *op))
{
	struct op *to = op_new("receive", op->name, work);

	if (!to)
		return NULL;
	to->settle = settle;
	to->sock = op->sock;
	op->sock = -1;
	to->started = op->started;
	to->attached = op->attached;
	to->may_start = op->may_start;
	to->set = op->set;
	to->request = json_incref(op->request);
	to->how = json_incref(op->how);
	strcpy(to->peer, op->peer);
	strcpy(to->peer_name, op->peer_name);
	strcpy(to->qmp_path, op->qmp_path);
	to->cons = op->cons;
	to->ncons = op->ncons;
	op->cons = NULL;
	op->ncons = 0;
	return to;
}

static void receive_settle(struct op *op)
{
	struct guest *g = op->guest;

	g->moving = FT_STAYS;
	/* a QEMU that was started for it is gone again */
	g->gone |= op->ret && op->started > 0;
	if (g->gone)
		return;
	guests_save();
	pair_session_settle(op);
}

/* Take it in: the guest is there, and its QEMU waits. */
static void receive_start(struct op *op, struct guest *g)
{
	struct fterr err;

	op->guest = g;
	if (pair_session_join(op, op->request, &err)) {
		tell(op, &err);
		/* it was started for this */
		if (op->started > 0) {
			kill(op->started, SIGKILL);
			g->gone = true;
		}
		op_free(op);
		return;
	}
	g->moving = FT_ARRIVES;
	g->fresh = false;
	guests_save();
	op_start(op);
}

static void start_settle(struct op *op)
{
	struct guest *g = op->guest;
	struct op *next;

	attach_settle(op);
	if (!op->next) {
		g->gone = true;
		return;
	}
	next = hand_over(op, receive_work, receive_settle);
	if (next)
		receive_start(next, g);
}

static void listen_settle(struct op *op)
{
	struct fterr err;
	struct op *next = op->next ? hand_over(op, start_work, start_settle) : NULL;

	if (!next)
		return;
	if (op_attach_guest(next, &err)) {
		tell(next, &err);
		op_free(next);
		return;
	}
	next->guest->moving = FT_ARRIVES;
	guests_save();
	op_start(next);
}

static void begin(struct op *op);

static void look_settle(struct op *op)
{
	struct op *next = op->next ? hand_over(op, receive_work, receive_settle) : NULL;

	if (!next)
		return;
	if (op->have) {
		receive_start(next, op->guest);
	} else {
		/* and now once more, as if nothing had been here */
		op->guest->gone = true;
		begin(next);
	}
}

/* Begin, or tell why not; takes the op. */
static void begin(struct op *op)
{
	struct guest *g = guest_find(op->name);
	struct fterr err = { 0 };
	int ret;

	if (g && g->ended && !g->busy) {
		guest_drop(g);
		g = NULL;
	}
	ret = devices_there(op->name, json_object_get(op->request, "devices"), &err);
	if (!ret && g && (g->busy || !g->attached || g->moving != FT_STAYS))
		ret = ft_fail(&err, -EBUSY, "guest %s is busy here (%s); try again when that is done", op->name,
			      g->busy ? g->busy : !g->attached ? "its QEMU does not answer" : "mend");
	if (!ret && !g && !op->may_start)
		ret = may_not(op, &err);
	if (ret) {
		tell(op, &err);
		op_free(op);
	} else if (g) {
		op->work = look_work;
		op->settle = look_settle;
		op->guest = g;
		op_start(op);
	} else {
		op->work = listen_work;
		op->settle = listen_settle;
		op_start(op);
	}
}

void op_receive(int sock, const char *from, json_t *request)
{
	const char *name = request_string(request, "guest"), *pair = request_string(request, "pair");
	struct op *op = op_new("receive", name, NULL);
	struct fterr err;

	if (!op) {
		close(sock);
		return;
	}
	op->sock = sock;
	op->request = json_incref(request);
	if (pair)
		strcpy(op->peer_name, pair);
	op->may_start = ftd_config()->guests.start;
	pair_peer_name(op, from, request);
	peer_impatient(sock);
	/* the modules would say so when all has been copied */
	if (!peer_same_version(request, &err) && !ft_settings_from_json(request, &op->set, &err)) {
		begin(op);
		return;
	}
	tell(op, &err);
	op_free(op);
}
