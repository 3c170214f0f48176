// SPDX-License-Identifier: GPL-2.0
/*
 * Promote. What the backup's shadow console printed is what the primary's real
 * one printed, but perhaps for the end: that the world saw an output is sure
 * only once another record followed it. So the last line is repeated, and what
 * comes after it goes to the real console.
 *
 * An orphan is joined to its console before it goes live: it has consumed its
 * log and prints nothing until it is promoted, so nothing is lost between. Only
 * an orphan that does not come to its log's end (its QEMU stands still), and a
 * console that takes its time, are joined afterwards. The guest is stopped
 * meanwhile, for a second at most: what takes longer is said while it runs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "failover.h"
#include "lives.h"
#include "op.h"
#include "text.h"

#define DRAIN_STALL_MS	2000	/* no progress for so long: don't wait for it */
#define DRAIN_POLL_MS	10
#define EARLY_MS	1000	/* all consoles together: then the guest goes live without them */
#define STOP_MS		1000	/* all consoles together: for so long a live guest is stopped for them */
#define LATE_TRIES	4
#define WRITE_MS	5000	/* a tty that does not take a line for so long is left alone */
#define STOPPED_PATH	(sizeof(((struct op *)0)->state) + FTKVM_NAME_MAX + 16)

/* Wait until the orphan has consumed what it holds. True: it has. */
static bool drained(struct op *op)
{
	int64_t deadline = ft_now_ms() + DRAIN_STALL_MS;
	uint64_t least = UINT64_MAX;
	struct ftreplica r;

	while (!ftnl_get(op->name, &r, &op->err) && r.state == FTKVM_UAPI_STATE_ORPHAN) {
		uint64_t lag = r.stats[FTKVM_STAT_LAG_BYTES];

		if (!lag)
			return true;
		if (lag < least) {
			least = lag;
			deadline = ft_now_ms() + DRAIN_STALL_MS;
		}
		if (ft_now_ms() >= deadline)
			break;
		usleep(DRAIN_POLL_MS * 1000);
	}
	return false;
}

/*
 * Bytes that the shadow devices have printed since the last time, or -errno. One that can't
 * be read is not to be joined: what it holds would be lost.
 */
static ssize_t collect(struct op *op, bool all)
{
	struct guest *g = op->guest;
	ssize_t total = 0;
	int ret = 0;
	size_t i;

	for (i = 0; i < g->ncons; i++) {
		ssize_t n;

		if (g->cons[i].live)
			continue;
		n = ftcon_collect(&g->qmp, &g->cons[i], all, &op->err);
		if (n < 0) {
			ret = n;
			g->cons[i].ret = ret;
		} else {
			total += n;
		}
	}
	return ret ?: total;
}

static void begin_joining(struct op *op)
{
	size_t i;

	for (i = 0; i < op->guest->ncons; i++)
		op->guest->cons[i].ret = 0;
}

/*
 * Say what they printed, until @deadline (0: each has its time). One that does not take it stays as it is. True: there
 * is one that is not live, and took it.
 */
static bool say_consoles(struct op *op, int64_t deadline)
{
	struct guest *g = op->guest;
	struct fterr err;
	bool any = false;
	size_t i;

	for (i = 0; i < g->ncons; i++) {
		struct ftconsole *con = &g->cons[i];

		if (con->live || con->ret)
			continue;
		con->ret = ftcon_repeat(&g->qmp.user, con, deadline ? deadline : ft_now_ms() + WRITE_MS, &err);
		if (con->ret)
			op_warn(op, "%s", err.text);
		any |= !con->ret;
	}
	return any;
}

/* A console that fails must not keep the guest from going live. */
static void join_consoles(struct op *op)
{
	struct guest *g = op->guest;
	struct fterr err;
	size_t i;

	for (i = 0; i < g->ncons; i++) {
		struct ftconsole *con = &g->cons[i];

		if (con->live || con->ret)
			continue;
		con->ret = ftcon_open(&g->qmp, con, &err);
		if (con->ret)
			op_warn(op, "%s", err.text);
	}
}

static bool consoles_live(const struct op *op)
{
	size_t i;

	for (i = 0; i < op->guest->ncons && op->guest->cons[i].live; i++)
		;
	return i == op->guest->ncons;
}

static bool timed_out(const struct op *op)
{
	size_t i;

	for (i = 0; i < op->guest->ncons; i++)
		if (!op->guest->cons[i].live && op->guest->cons[i].ret == -ETIMEDOUT)
			return true;
	return false;
}

/* A file that is there while the guest stands still for its consoles: QEMU does not say why it does. */
static void stopped_path(const struct op *op, char *path, size_t size)
{
	snprintf(path, size, "%s.%s.stopped", op->state, op->name);
}

static void stopped_note(const struct op *op, const char *path)
{
	FILE *file = fopen(path, "we");
	bool bad = !file;

	if (file) {
		fprintf(file, "%d\n", op->guest->pid);
		bad = ferror(file);
		bad |= fclose(file);
	}
	if (bad)
		ft_log(SD_WARNING, "cannot note in %s that guest %s is stopped for its consoles: %s", path, op->name,
		       strerror(errno));
}

/* Was a former ftd killed meanwhile? */
static bool stopped_noted(const struct op *op)
{
	char path[STOPPED_PATH];
	FILE *file;
	int pid;
	bool it;

	stopped_path(op, path, sizeof(path));
	file = fopen(path, "re");
	if (!file)
		return false;
	it = fscanf(file, "%d", &pid) == 1 && pid == op->guest->pid;
	fclose(file);
	/* of another QEMU */
	if (!it)
		unlink(path);
	return it;
}

/* QEMU does not answer: again, when the monitor is back, or a little later. */
static void join_again(struct op *op, const struct fterr *err)
{
	if (!op->guest->unjoined)
		op_warn(op, "%s; its consoles are joined when it does", err->text);
	op->guest->unjoined = true;
}

/* True: it stands still, as far as that is ours to say. If somebody else has stopped it, it stays so. */
static bool stand_still(struct op *op, bool runs, struct fterr *err)
{
	char path[STOPPED_PATH];

	if (!runs)
		return true;
	stopped_path(op, path, sizeof(path));
	stopped_note(op, path);
	op->guest->held = true;
	return !ftqmp_do(&op->guest->qmp, "stop", NULL, err);
}

/* False: QEMU does not answer. */
static bool go_on(struct op *op, struct fterr *err)
{
	char path[STOPPED_PATH], status[32];

	if (!op->guest->held)
		return true;
	if (ftqmp_status(&op->guest->qmp, status, sizeof(status), err))
		return false;
	/* if it has ended, or crashed, meanwhile, it is not our stop that it stands still for */
	if (!strcmp(status, "paused") && ftqmp_do(&op->guest->qmp, "cont", NULL, err))
		return false;
	stopped_path(op, path, sizeof(path));
	unlink(path);
	op->guest->held = false;
	return true;
}

/*
 * From the reading of what it printed to the change of its console it prints nothing; nor does it end, which would
 * take with it what nobody has read. False: QEMU does not answer.
 */
static bool join_stopped(struct op *op, struct fterr *err)
{
	char status[32];

	if (ftqmp_status(&op->guest->qmp, status, sizeof(status), err) ||
	    !stand_still(op, !strcmp(status, "running"), err))
		return false;
	if (collect(op, true) < 0)
		op_warn(op, "%s", op->err.text);
	say_consoles(op, ft_now_ms() + STOP_MS);
	op->guest->qmp.until = ft_now_ms() + STOP_MS;
	join_consoles(op);
	op->guest->qmp.until = 0;
	return go_on(op, err);
}

/*
 * The guest is live already. If ftd is killed here, the next one comes here
 * again (promote_resume()), and so does this one if QEMU does not answer: a
 * promoted guest is to run.
 */
static void join_consoles_late(struct op *op)
{
	struct fterr err;
	int tries, ret;

	op->guest->held |= stopped_noted(op);
	for (tries = 0; tries < LATE_TRIES; tries++) {
		/* one may have been joined when nobody waited for that any more */
		ret = consoles_look(op, true, &err);
		if (ret && ret != -ENODEV) {
			join_again(op, &err);
			return;
		}
		if (tries && !timed_out(op))
			break;
		begin_joining(op);
		/* what takes long is said while it runs; the next time there is less of it */
		if (tries && !say_consoles(op, 0))
			break;
		if ((op->guest->held || !consoles_live(op)) && !join_stopped(op, &err)) {
			join_again(op, &err);
			return;
		}
	}
	op->guest->unjoined = false;
}

static void mute_consoles(struct op *op)
{
	struct guest *g = op->guest;
	struct fterr err;
	size_t i;

	/* it may have been joined after nobody waited for that any more */
	if (consoles_look(op, true, &err))
		op_warn(op, "%s", err.text);
	for (i = 0; i < g->ncons; i++)
		if (g->cons[i].live && ftcon_mute(&g->qmp, &g->cons[i], &err))
			op_warn(op, "%s", err.text);
}

/* A QEMU that hangs would keep the guest from going live with each thing that it is asked. */
static bool monitor_answers(struct op *op)
{
	struct ftqmp *q = &op->guest->qmp;
	struct fterr err;
	int ret;

	q->until = ft_now_ms() + DRAIN_STALL_MS;
	ret = ftqmp_do(q, "query-status", NULL, &err);
	q->until = 0;
	if (ret)
		op_warn(op, "%s", err.text);
	return !ret;
}

/* True: the shadow consoles are read to their end, and none is to be joined later. */
static bool join_consoles_early(struct op *op, int64_t deadline)
{
	struct guest *g = op->guest;
	int again;

	begin_joining(op);
	/* The last output may be on its way through the device. */
	for (again = 0; again < 20; again++) {
		ssize_t more = collect(op, false);

		if (more < 0)
			return false;
		if (again && !more)
			break;
		usleep(DRAIN_POLL_MS * 1000);
	}
	say_consoles(op, deadline);
	g->qmp.until = deadline;
	join_consoles(op);
	g->qmp.until = 0;
	return !timed_out(op);
}

/* A switchover's force is a word for nothing else: a primary that was lost meanwhile may have gone on alone. */
static int must_have_stopped(struct op *op, const struct ftreplica *r)
{
	if (r->state == FTKVM_UAPI_STATE_BACKUP || stopped_for_it(r))
		return 0;
	if (r->state != FTKVM_UAPI_STATE_ORPHAN)
		return ft_fail(&op->err, -EINVAL, "guest %s is %s now", op->name, ft_state_name(r->state));
	return ft_fail(&op->err, -EHOSTUNREACH, "the primary of %s was lost before it said that it stopped (%s), and may live: "
		       "power its host off, then run: ftctl promote %s", op->name, r->detail, op->name);
}

/* As it is now: asked of whoever can say so. 0 or -errno. */
static int may_go_on(struct op *op, struct ftreplica *r)
{
	int ret = ftnl_get(op->name, r, &op->err);
	bool waits = r->state == FTKVM_UAPI_STATE_ORPHAN || r->state == FTKVM_UAPI_STATE_UNDECIDED;

	if (!ret && op->switches)
		ret = must_have_stopped(op, r);
	if (!ret)
		ret = failover_ask(op->session, r, op->force, &op->err);
	/* a primary that has said that it ended lives no more, and of one that is heard the module knows */
	if (ret || !op->asks || !waits || r->reason == FTKVM_REASON_GUEST_ENDED || r->stats[FTKVM_STAT_PEER_ALONE])
		return ret;
	return lives_elsewhere(op, r);
}

static void promote_work(struct op *op)
{
	uint64_t takeover_ns = 0;
	struct ftreplica r;
	bool answers, early, joined;
	char text[32];

	/* Again: by force it stops the primary first; or its link ended as we looked. */
	do {
		op->ret = may_go_on(op, &r);
		if (op->ret)
			return;
		answers = r.role == FTKVM_UAPI_ROLE_BACKUP && (!op->guest->ncons || monitor_answers(op));
		/* what the module will refuse must not show at a console */
		early = answers && r.state == FTKVM_UAPI_STATE_ORPHAN &&
			(op->force || !r.stats[FTKVM_STAT_PEER_ALONE]) && drained(op);
		joined = early && join_consoles_early(op, ft_now_ms() + EARLY_MS);
		if (!early && answers)
			collect(op, false);
		op->ret = ftnl_promote(op->name, op->force, r.state, &takeover_ns, &op->err);
		if (op->ret && early)
			mute_consoles(op);
	} while (op->ret == -EAGAIN);
	if (op->ret)
		return;
	/* a primary's are live */
	if (!joined && r.role == FTKVM_UAPI_ROLE_BACKUP && op->guest->ncons)
		join_consoles_late(op);
	if (!takeover_ns && !ftnl_get(op->name, &r, &op->err))
		takeover_ns = r.stats[FTKVM_STAT_TAKEOVER_NS];
	ft_log(SD_NOTICE, "guest %s is live here (takeover in %s)", op->name,
	       ft_format_ns(takeover_ns, text, sizeof(text)));
	op->result = json_pack("{s:I}", "takeover_ns", (json_int_t)takeover_ns);
}

void promote_resume(struct op *op)
{
	int64_t deadline = ft_now_ms() + DRAIN_STALL_MS;
	struct guest *g = op->guest;
	struct ftreplica r = { 0 };
	struct fterr err;

	if (consoles_live(op) && !g->held && !stopped_noted(op)) {
		g->unjoined = false;
		return;
	}
	while (!ftnl_get(op->name, &r, &err) && r.state == FTKVM_UAPI_STATE_TAKEOVER &&
	       ft_now_ms() < deadline)
		usleep(DRAIN_POLL_MS * 1000);
	if (r.role != FTKVM_UAPI_ROLE_BACKUP || r.state != FTKVM_UAPI_STATE_SOLO) {
		g->unjoined = r.state == FTKVM_UAPI_STATE_TAKEOVER;
		/* it is something else by now, for which its consoles are another's affair */
		g->held |= stopped_noted(op);
		if (!g->unjoined && !go_on(op, &err))
			join_again(op, &err);
		return;
	}
	if (!g->unjoined)
		ft_log(SD_NOTICE, "guest %s went live, and its consoles not all: joining them", op->name);
	join_consoles_late(op);
}

/* Its monitor can't be talked to, or ftd does not know the guest: no consoles to join yet, but the guest can be saved. */
static void promote_bare_work(struct op *op)
{
	uint64_t takeover_ns = 0;
	struct ftreplica r;

	do {
		op->ret = may_go_on(op, &r);
		if (!op->ret)
			op->ret = ftnl_promote(op->name, op->force, r.state, &takeover_ns, &op->err);
	} while (op->ret == -EAGAIN);
	if (op->ret)
		return;
	op_warn(op, "ftd holds no connection to the guest's QEMU: its consoles stay muted %s",
		op->guest ? "until it does" : "until the guest is attached");
	op->result = json_pack("{s:I}", "takeover_ns", (json_int_t)takeover_ns);
}

void promote_any(struct op *op)
{
	if (!op->guest || op->guest->ended || op->guest->qmp.fd < 0)
		promote_bare_work(op);
	else
		promote_work(op);
}

int op_promote(struct client *client, json_t *request, struct fterr *err)
{
	struct op *op = op_new("promote", request_string(request, "name"), promote_any);
	struct guest *g = guest_find(request_string(request, "name"));

	if (!op)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	op->client = client;
	op->force = json_is_true(json_object_get(request, "force"));
	op->asks = !op->force && !(g && *g->session && failover_decides());
	if (g) {
		strcpy(op->peer_name, g->peer_guest);
		strcpy(op->second, g->second);
	}
	return op_begin(op, false, err);
}
