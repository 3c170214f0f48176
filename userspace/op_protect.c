// SPDX-License-Identifier: GPL-2.0
/*
 * Protect a guest that runs. Its state is moved into a second QEMU on the peer's host as
 * by a live migration; but where that would let the guest go on there alone, both modules
 * are paired, while it stands still, and it goes on at both. Until then nothing has
 * happened to it: whatever fails, it runs on as before.
 *
 *	us						the peer's ftd: op_receive.c
 *	"guest", "live": true ------------------------>
 *						<------ "ok"
 *	"argv", "exe", "cwd", "qmp", "consoles" ------>	starts a QEMU that waits, unless there is one
 *						<------ "ok", "stream": TOKEN
 *	(another connection) "copy": "disks" --------->	its disks become what they are here
 *	(a third connection) "stream": TOKEN --------->	hands it to that QEMU
 *	QEMU sends memory, and stops the guest; the rest of the disks follows
 *	"arm" ---------------------------------------->
 *						<------ "ok"
 *	the connection is the modules' now; both are told to pair
 *	QEMU sends the rest, both let the guest go on: the modules compare first
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "again.h"
#include "config.h"
#include "device.h"
#include "disk_sync.h"
#include "failover.h"
#include "migrate.h"
#include "op.h"
#include "peer.h"
#include "peer_call.h"
#include "replica_json.h"
#include "second.h"
#include "text.h"

#define POLL_US		10000
#define SETTLE_MS	5000
#define COMPARE_MS	30000	/* both read all memory, and then for each ... */
#define COMPARE_RAM	(256ULL << 20)
#define COMPARE_MORE_MS	1000
#define DOWNTIME_MS	5000	/* for the last of its disks, if nobody says how long */
#define DISKS_MS	1000	/* from one copy of what changed on its disks to the next */

/* What is to be undone. */
struct protect {
	bool migrating, armed;
	int stream;		/* QEMU has a copy; ours can end it */
	struct ftmigration m;
	struct ftmigrate_was was;
	int64_t completed_at, disks_at;
	uint64_t downtime_ms;
};

static void step(struct op *op, const char *what)
{
	op->guest->progress.done = 0;
	op->guest->progress.total = 0;
	op->guest->progress.step = what;
}

/* --- its disks ------------------------------------------------------------- */

static int disks_progress(const struct disk_sync *s, void *arg, struct fterr *err)
{
	struct op *op = arg;

	op->guest->progress.total = s->total;
	op->guest->progress.done = s->done;
	if (op->hung_up)
		return ft_fail(err, -ECANCELED, "nobody waits for it any more: given up");
	return protect_hear_peer(op);
}

/* In the main loop, which knows its devices. */
static int disks_find(struct op *op, struct fterr *err)
{
	op->disks = calloc(1, sizeof(*op->disks));
	if (!op->disks)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	op->others = devices_numbers(op->name);
	op->silent = devices_silent(op->guest);
	op->disks->progress = disks_progress;
	op->disks->arg = op;
	return disk_sync_find(op->disks, op->name, err);
}

static int copy_disks(struct op *op)
{
	struct disk_sync *s = op->disks;
	int fd, ret;

	if (!s->n)
		return 0;
	step(op, "copying disks");
	fd = peer_connect(op->peer, &op->err);
	if (fd < 0)
		return fd;
	peer_impatient(fd);
	ret = disk_sync_begin(s, fd, op->peer, *op->peer_name ? op->peer_name : op->name, &op->err);
	return ret ? ret : disk_sync_live(s, &op->err);
}

/*
 * Stopped: is each disk that its QEMU has one of those that were copied? ftd had not heard of one
 * whose QEMU had yet to come back to it after a restart. And nothing wrote since. 0 or -errno.
 */
static int all_copied(struct op *op)
{
	struct disk_sync *s = op->disks;
	struct ftdev *list = NULL;
	struct ftdirty dirty;
	size_t n = 0, i, k;
	int ret = ftnl_dev_dump(&list, &n, &op->err);

	for (i = 0; !ret && i < n; i++) {
		if ((pid_t)list[i].pid != op->guest->pid || list[i].kind != FTKVM_UAPI_DEV_BLK ||
		    list[i].readonly || list[i].shared)
			continue;
		for (k = 0; k < s->n && strcmp(s->disks[k].name, list[i].name); k++)
			;
		if (k == s->n)
			ret = ft_fail(&op->err, -EBUSY, "device %s came while the others were copied; try again", list[i].name);
	}
	free(list);
	for (k = 0; !ret && k < s->n; k++) {
		ret = ftnl_dev_dirty(s->disks[k].name, s->track[k], &dirty, &op->err);
		if (!ret && dirty.n)
			ret = ft_fail(&op->err, -EBUSY, "device %s was written to though its guest is stopped; try again",
				      s->disks[k].name);
	}
	return ret;
}

/* While memory is copied it writes on. */
static int copy_disks_again(struct op *op, struct protect *p)
{
	int ret;

	if (!op->disks->n || ft_now_ms() < p->disks_at)
		return 0;
	ret = disk_sync_pass(op->disks, &op->err);
	p->disks_at = ft_now_ms() + DISKS_MS;
	return ret;
}

/* It stands still: not for long, or not at all. */
static int disks_last(struct op *op)
{
	int ret;

	op->disks->deadline = ft_now_ms() + (op->downtime_ms ?: DOWNTIME_MS);
	ret = disk_sync_last(op->disks, &op->err);
	if (op->disks->late) {
		/* its own guest's doing, not the peer's */
		op->called = false;
		ft_fail(&op->err, ret, "guest %s stood still for %u ms while the last of its disks was copied, and there was more: "
			"try again when it writes less, or let it stand still for longer: --downtime MS",
			op->name, op->downtime_ms ?: DOWNTIME_MS);
	}
	return ret;
}

/* --- the move -------------------------------------------------------------- */

/* QEMU says so a little before it can be told to let the guest go on. 0 or -errno. */
static int settled(struct op *op)
{
	int64_t deadline = ft_now_ms() + SETTLE_MS;
	char status[32];
	int ret;

	while (!(ret = ftqmp_status(&op->guest->qmp, status, sizeof(status), &op->err)) &&
	       !strcmp(status, "finish-migrate") && ft_now_ms() < deadline)
		usleep(POLL_US / 10);
	return ret;
}

/* Look at QEMU until it has come to @to. */
static int migrate_until(struct op *op, struct protect *p, enum ftmigrate to)
{
	struct guest *g = op->guest;
	int ret;

	for (;;) {
		ret = ftmigrate_look(&g->qmp, &p->m, &op->err);
		if (ret)
			return ret;
		g->progress.total = p->m.total;
		g->progress.done = p->m.done;
		if (p->m.step == to)
			return to == FTMIGRATE_COMPLETED ? settled(op) : 0;
		if (p->m.step == FTMIGRATE_FAILED || p->m.step == FTMIGRATE_COMPLETED)
			return ft_fail(&op->err, -EIO, "the guest's state could not be copied: %s", p->m.why);
		if (to == FTMIGRATE_READY) {
			ret = protect_hear_peer(op);
			if (!ret && op->hung_up)
				ret = ft_fail(&op->err, -ECANCELED, "nobody waits for it any more: given up");
			if (!ret)
				ret = copy_disks_again(op, p);
			if (ret)
				return ret;
		}
		usleep(POLL_US);
	}
}

/* It stands still: the modules take over the connection. */
static int arm(struct op *op, struct protect *p)
{
	json_t *answer = NULL;
	int ret = peer_ask(op->sock, op->peer, json_pack("{s:b}", "arm", 1), &answer, &op->err);

	json_decref(answer);
	if (ret)
		return ret;
	peer_ready(op->sock);
	/* whatever comes of it, it is to be undone */
	p->armed = true;
	op->told = true;
	ret = ftnl_pair(op->name, FTKVM_UAPI_ROLE_PRIMARY, op->sock, op->peer, "", &op->set, &op->err);
	op->taken = !ret;
	return ret;
}

/* Both modules compare what they have: reading all memory takes its time. */
static int await_lockstep(struct op *op, const struct protect *p)
{
	int64_t deadline = ft_now_ms() + COMPARE_MS + COMPARE_MORE_MS * (p->m.total / COMPARE_RAM);
	struct ftreplica r;
	int ret;

	for (;;) {
		ret = ftnl_get(op->name, &r, &op->err);
		if (ret)
			return ret;
		switch (r.state) {
		case FTKVM_UAPI_STATE_PRIMARY:
			/* the first thing in the log are registers of every kind: it found them so */
			if (r.stats[FTKVM_STAT_LOG_BYTES] > r.stats[FTKVM_STAT_LAG_BYTES])
				return 0;
			break;
		case FTKVM_UAPI_STATE_ARMED:
			break;
		case FTKVM_UAPI_STATE_UNDECIDED:
			return ft_fail(&op->err, -EIO, "the peer was lost as the guest was about to go on: who goes on is to be "
				       "decided: ftctl status %s", op->name);
		default:
			return ft_fail(&op->err, -EIO, "%s", *r.detail ? r.detail : "the pairing has ended");
		}
		if (ft_now_ms() >= deadline)
			return ft_fail(&op->err, -ETIMEDOUT, "host %s does not let its replica go on", op->peer);
		usleep(POLL_US);
	}
}

/* Another migration is nothing of ours to cancel. */
static int must_not_migrate(struct op *op)
{
	struct ftmigration m;
	int ret = ftmigrate_look(&op->guest->qmp, &m, &op->err);

	if (!ret && (m.step == FTMIGRATE_ACTIVE || m.step == FTMIGRATE_READY))
		ret = ft_fail(&op->err, -EBUSY, "somebody else migrates guest %s just now; wait for that, or cancel it",
			      op->name);
	return ret;
}

static int move(struct op *op, struct protect *p)
{
	struct guest *g = op->guest;
	int ret;

	step(op, "waiting for the peer's QEMU");
	op->called = true;
	ret = protect_prepare_peer(op, &p->stream);
	if (!ret)
		ret = copy_disks(op);
	if (ret)
		return ret;
	ret = must_not_migrate(op);
	if (ret) {
		op->called = false;
		return ret;
	}
	step(op, "copying memory");
	p->disks_at = ft_now_ms() + DISKS_MS;
	ret = ftmigrate_to(&g->qmp, p->stream, &p->was, &op->err);
	p->migrating = !ret || p->was.known;
	if (!ret)
		ret = migrate_until(op, p, FTMIGRATE_READY);
	if (ret)
		return ret;
	step(op, "pairing");
	ret = disks_last(op);
	if (!ret)
		ret = arm(op, p);
	if (!ret)
		ret = all_copied(op);
	if (!ret)
		ret = ftmigrate_complete(&g->qmp, &op->err);
	if (!ret)
		ret = migrate_until(op, p, FTMIGRATE_COMPLETED);
	if (ret)
		return ret;
	p->completed_at = ft_now_ms();
	step(op, "comparing");
	ret = ftqmp_do(&g->qmp, "cont", NULL, &op->err);
	if (!ret)
		ret = await_lockstep(op, p);
	p->downtime_ms = p->m.downtime_ms + (ft_now_ms() - p->completed_at);
	return ret;
}

/*
 * It goes on as if nothing had been tried. QEMU may be stuck in sending to a host that is
 * gone: what ends that is the end of the stream. Whether it runs: if not, it is tried on.
 */
static bool run_on(struct op *op, struct protect *p)
{
	struct ftqmp *q = &op->guest->qmp;
	int64_t deadline = ft_now_ms() + SETTLE_MS;
	struct fterr err = { 0 };
	char status[32];

	if (p->stream >= 0)
		shutdown(p->stream, SHUT_RDWR);
	if (p->armed)
		ftnl_unpair(op->name, &err);
	if (!p->migrating)
		return true;
	ftmigrate_end(q, &p->was);
	while (!ftqmp_status(q, status, sizeof(status), &err)) {
		if (!strcmp(status, "running"))
			return true;
		if (strcmp(status, "finish-migrate") && strcmp(status, "postmigrate")) {
			/* its own doing, or somebody else's */
			op_warn(op, "it does not run: QEMU says \"%s\"", status);
			return true;
		}
		ftqmp_do(q, "cont", NULL, &err);
		if (ft_now_ms() >= deadline)
			break;
		usleep(POLL_US);
	}
	op_warn(op, "it does not go on by itself yet (%s): it is tried on, or: ftctl resume %s", err.text, op->name);
	return false;
}

static void protect_work(struct op *op)
{
	struct protect p = { .stream = -1 };
	char text[32];

	if (*op->qmp_path) {
		attach_work(op);
		if (op->ret)
			return;
	}
	op->ret = protect_must_run_alone(op);
	if (!op->ret)
		op->ret = protect_must_have_devices(op);
	if (!op->ret)
		op->ret = pair_open_all(op->guest, &op->err);
	if (!op->ret)
		op->ret = failover_disks(op->session, op->guest->pid, &op->err);
	if (!op->ret && *op->session)
		op->ret = failover_begin(op->session, op->name, &op->err);
	if (op->ret)
		return;
	op->ret = move(op, &p);
	disk_sync_end(op->disks);
	if (op->ret) {
		struct fterr ignored;
		struct ftreplica r;

		op->stuck = !run_on(op, &p);
		op->paired = op->told && !ftnl_get(op->name, &r, &ignored) && r.state == FTKVM_UAPI_STATE_UNDECIDED;
	}
	if (p.stream >= 0)
		close(p.stream);
	if (op->ret)
		return;
	ftmigrate_end(&op->guest->qmp, &p.was);
	ft_log(SD_NOTICE, "guest %s is protected: primary here, backup at %s; it stood still for %s", op->name, op->peer,
	       ft_format_ns(p.downtime_ms * 1000000, text, sizeof(text)));
	json_decref(op->result);
	op->result = json_pack("{s:I, s:I}", "downtime_ms", (json_int_t)p.downtime_ms,
			       "memory", (json_int_t)p.m.total);
}

/* It is protected; but somebody was told meanwhile that it is not, as it could not be called off any more. */
static void take_back(struct op *op)
{
	if (!op->unwanted)
		return;
	again_dismiss(op->guest);
	op_own(op->guest, "unpair", unpair_work, NULL);
}

static void protect_settle(struct op *op)
{
	struct guest *g = op->guest;

	g->progress.step = NULL;
	/* stuck: again.c tries on */
	g->moving = op->stuck ? FT_LEAVES : FT_STAYS;
	if (*op->qmp_path)
		attach_settle(op);
	if (g->gone)
		return;
	if (op->ret)
		again_failed(g, op->by_itself ? op->err.text : NULL, op->by_itself && op->called);
	else
		again_succeeded(g);
	guests_save();
	pair_session_settle(op);
	if (!op->ret)
		take_back(op);
}

/* Begin, or drop it. 0 or -errno with a text. */
static int leave(struct op *op, struct fterr *err)
{
	int ret = disks_find(op, err);

	op->settle = protect_settle;
	if (!ret)
		return pair_op_start(op, err);
	pair_op_drop(op);
	return ret;
}

int op_protect(struct client *client, json_t *request, struct fterr *err)
{
	json_int_t ms = json_integer_value(json_object_get(request, "downtime"));
	struct op *op;

	if (ms < 0 || ms > DOWNTIME_HIGHEST)
		return ft_fail(err, -EINVAL, "the guest may stand still for 1 to %u ms", DOWNTIME_HIGHEST);
	op = pair_op_new(client, request, "protect", protect_work, err);
	if (!op)
		return err->code;
	op->downtime_ms = ms;
	return leave(op, err);
}

/* An address is that of one host: of the last peer, and [link] has one that is no standby's. */
static int second_again(struct op *op, const struct guest *g, struct fterr *err)
{
	const struct ftconfig *c = ftd_config();
	size_t i;

	if (!strcmp(g->second, SECOND_NONE) || (*g->second && !strcmp(op->peer, g->again_peer)))
		return second_wanted(op, g->second, err);
	if (strcmp(op->peer, g->again_peer))
		return 0;
	for (i = 0; i < c->guests.n_standby; i++)
		if (!strcmp(op->peer, c->guests.standby[i]))
			return 0;
	return second_wanted(op, NULL, err);
}

int protect_again(struct guest *g, const char *peer, uint32_t on_loss, struct fterr *err)
{
	struct op *op = op_new("protect", g->name, protect_work);
	int ret;

	if (!op)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	op->by_itself = true;
	/* again.c says it */
	op->quiet = true;
	op->set.on_loss = on_loss;
	/* nobody is there to say that it may stand still for longer */
	op->downtime_ms = DOWNTIME_HIGHEST;
	snprintf(op->peer, sizeof(op->peer), "%s", peer);
	strcpy(op->peer_name, g->peer_guest);
	ret = second_again(op, g, err);
	if (!ret)
		ret = op_guest(op, true, err);
	if (!ret)
		return leave(op, err);
	op_free(op);
	return ret;
}

/* --- ftd was killed meanwhile ---------------------------------------------- */

/* Its QEMU lets it go on already, without disks. Whatever comes of it is seen by those. */
static void mend_devices(struct op *op)
{
	struct fterr ignored;
	char status[32];

	if (op->silent && !ftqmp_status(&op->guest->qmp, status, sizeof(status), &ignored) &&
	    !strcmp(status, "running") && protect_come_back(op)) {
		ft_log(SD_WARNING, "%s", op->err.text);
		memset(&op->err, 0, sizeof(op->err));
	}
}

static void mend_source_work(struct op *op)
{
	struct protect p = { .migrating = true, .stream = -1 };
	struct ftreplica r;

	op->quiet = true;
	op->ret = ftnl_get(op->name, &r, &op->err);
	/* paired, all the same */
	op->next = !op->ret && (r.state == FTKVM_UAPI_STATE_PRIMARY || r.state == FTKVM_UAPI_STATE_UNDECIDED);
	if (!op->ret)
		mend_devices(op);
	if (op->ret || (r.state != FTKVM_UAPI_STATE_IDLE && r.state != FTKVM_UAPI_STATE_SOLO &&
			r.state != FTKVM_UAPI_STATE_ARMED))
		return;
	p.armed = r.state == FTKVM_UAPI_STATE_ARMED;
	op->told = p.armed;
	strcpy(op->peer, r.peer);
	if (run_on(op, &p))
		ft_log(SD_NOTICE, "guest %s was to be protected when ftd ended: it runs on, unprotected", op->name);
	else
		op->ret = -EAGAIN;
}

/*
 * One that is armed is let go, as its primary waits for it: it comes to be a backup, or is
 * stopped. All others are left as they are: who waits may be taken, who stopped is cleared
 * away when the primary comes again.
 */
static void mend_target_work(struct op *op)
{
	struct ftreplica r;

	op->quiet = true;
	op->ret = ftnl_get(op->name, &r, &op->err);
	if (!op->ret && (r.state == FTKVM_UAPI_STATE_ARMED || r.state == FTKVM_UAPI_STATE_BACKUP))
		mend_devices(op);
	if (op->ret || r.state != FTKVM_UAPI_STATE_ARMED)
		return;
	ftqmp_do(&op->guest->qmp, "cont", NULL, &op->err);
	op->ret = -EAGAIN;
}

static void mend_settle(struct op *op)
{
	/* gone from the module, there is nothing to mend */
	if (op->ret && op->ret != -ENOENT)
		return;
	op->guest->moving = FT_STAYS;
	if (op->next) {
		op->guest->tries = false;
		*op->guest->left.peer = '\0';
		again_succeeded(op->guest);
		guests_save();
	} else {
		pair_forget(op);
	}
	failover_happened(op->guest);
	if (op->next)
		take_back(op);
}

void protect_mend(struct guest *g)
{
	/*
	 * Where its QEMU is to let it go on it sets its disks up, by a connection that it has, or never
	 * again: vu_speaks_on().
	 */
	if (g->moving == FT_STAYS || devices_awaited(g) || g->busy || g->gone)
		return;
	g->remind = devices_silent(g);
	op_own(g, "mend", g->moving == FT_LEAVES ? mend_source_work : mend_target_work, mend_settle);
}
