// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "journal.h"
#include "op.h"

#define RETRY_US	2000000		/* between tries to reach QEMU again */
#define REAP_US		5000000		/* the peer may still take the end of the log */
#define HISTORY_MAX	256
#define SAYS_PER_MINUTE	20	/* of a QEMU; a guest can have it say so without end */

struct guest *ftd_guests;
struct history *ftd_history;
char ftd_state_path[128];

struct guest *guest_find(const char *name)
{
	struct guest *g;

	for (g = ftd_guests; g; g = g->next)
		if (!g->gone && !strcmp(g->name, name))
			return g;
	return NULL;
}

struct guest *guest_new(const char *name)
{
	struct guest *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	snprintf(g->name, sizeof(g->name), "%s", name);
	g->qmp = (struct ftqmp)FTQMP_INIT;
	g->pidfd = -1;
	g->next = ftd_guests;
	ftd_guests = g;
	return g;
}

void guest_unwatch(struct guest *g)
{
	g->qmp_source = sd_event_source_disable_unref(g->qmp_source);
	g->retry_source = sd_event_source_disable_unref(g->retry_source);
}

void guest_drop(struct guest *g)
{
	struct guest **at;
	size_t i;

	/* A thread still works for it. */
	g->gone = true;
	if (g->busy)
		return;
	for (at = &ftd_guests; *at != g; at = &(*at)->next)
		;
	*at = g->next;
	guest_unwatch(g);
	sd_event_source_disable_unref(g->pid_source);
	sd_event_source_disable_unref(g->again_source);
	if (g->pidfd >= 0)
		close(g->pidfd);
	ftqmp_close(&g->qmp);
	for (i = 0; i < g->ncons; i++) {
		/* when ftd ends, the next one may say it */
		if (*g->cons[i].kept && *ftd_state_path)
			unlink(g->cons[i].kept);
		ftcon_free(&g->cons[i]);
	}
	free(g->cons);
	free(g->final);
	free(g);
	guests_save();
}

void guest_note_final(struct guest *g)
{
	struct ftreplica *r = malloc(sizeof(*r));
	struct fterr ignored;

	if (!r || ftnl_get(g->name, r, &ignored)) {
		free(r);
		return;
	}
	free(g->final);
	g->final = r;
}

/* What is to stand behind the line; NULL: it is not to be logged, there was enough of that. */
static const char *may_say(struct guest *g)
{
	int64_t now = ft_now_ms();

	if (!g->said || now - g->said_since > 60000) {
		g->said_since = now;
		g->said = 0;
	}
	if (++g->said > SAYS_PER_MINUTE)
		return NULL;
	return g->said == SAYS_PER_MINUTE ? "; more of it is not logged in this minute" : "";
}

static void on_qmp_event(const char *event, void *arg)
{
	struct guest *g = arg;
	const char *more;

	if (strcmp(event, "SHUTDOWN") && strcmp(event, "GUEST_PANICKED") && strcmp(event, "RESET") &&
	    strcmp(event, "WATCHDOG"))
		return;
	more = may_say(g);
	if (more)
		ft_log(SD_NOTICE, "guest %s: QEMU says %s%s", g->name, event, more);
}

/* --- does its QEMU run it? --------------------------------------------------- */

/* One that was never let go, and one that sleeps, do as they are to. */
static bool stands_still(const char *status)
{
	static const char *const others[] = { "running", "prelaunch", "inmigrate", "suspended" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(others); i++)
		if (!strcmp(status, others[i]))
			return false;
	return true;
}

static const char *stopper_name(const struct guest *g)
{
	static const char *const names[] = {
		[FT_OTHERS] = "others", [FT_OPERATOR] = "ftctl-pause", [FT_FAILED_PAIR] = "failed-pairing",
		[FT_OPERATION] = "operation",
	};

	return names[g->held || g->moving != FT_STAYS ? FT_OPERATION : strcmp(g->still, "paused") ? FT_OTHERS : g->stopper];
}

/* QEMU has told what it does with it, and no operation is at it. */
static void note_status(struct guest *g)
{
	const char *status = g->qmp.status, *more;
	bool still = stands_still(status), same = !strcmp(g->still, still ? status : "");

	/* where it did not stand still before, that is yet to come */
	if (!still && (!same || !g->still_known) && g->stopper != FT_OTHERS) {
		g->stopper = FT_OTHERS;
		guests_save();
	}
	g->still_known = true;
	snprintf(g->still, sizeof(g->still), "%s", still ? status : "");
	g->still_by = stopper_name(g);
	if (same)
		return;
	g->still_since = still ? g->qmp.stop_ns : 0;
	more = may_say(g);
	if (!more)
		return;
	if (still)
		ftjournal_say(strcmp(g->still_by, "others") ? SD_NOTICE : SD_WARNING, FTMSG_STILL, g->name,
			      "guest %s stands still: QEMU says \"%s\" (by: %s)%s", g->name, status, g->still_by, more);
	else
		ftjournal_say(SD_NOTICE, FTMSG_MOVES, g->name, "guest %s does not stand still any more: QEMU says \"%s\"%s",
			      g->name, status, more);
}

/* What an operation did with it is over by now. */
static void look_at_status(struct guest *g)
{
	if (ftqmp_known(&g->qmp))
		note_status(g);
	ftqmp_look(&g->qmp);
}

static int on_qmp(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct guest *g = arg;
	int ret = ftqmp_read_events(&g->qmp, on_qmp_event, g);

	(void)s;
	(void)fd;
	(void)revents;
	if (!ret) {
		look_at_status(g);
		return 0;
	}
	/* before its descriptor is closed, of which a child may have a copy */
	guest_unwatch(g);
	ftqmp_close(&g->qmp);
	guest_watch(g);
	return 0;
}

static int on_retry(sd_event_source *s, uint64_t usec, void *arg)
{
	struct guest *g = arg;

	(void)s;
	(void)usec;
	g->retry_source = sd_event_source_disable_unref(g->retry_source);
	if (g->ended)
		op_reap(g);
	else if (g->attached && g->qmp.fd >= 0)
		op_join(g);
	else if (g->attached)
		op_reconnect(g);
	else
		op_own(g, "attach", attach_work, attach_settle);
	return 0;
}

static int on_exit_of(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct guest *g = arg;

	(void)s;
	(void)fd;
	(void)revents;
	ft_log(SD_NOTICE, "guest %s: its QEMU (process %d) has ended", g->name, g->pid);
	g->ended = true;
	g->pid_source = sd_event_source_disable_unref(g->pid_source);
	close(g->pidfd);
	g->pidfd = -1;
	if (!g->attached) {
		guest_drop(g);
	} else if (!g->busy) {
		guest_unwatch(g);
		ftqmp_close(&g->qmp);
		guest_watch(g);
	}
	return 0;
}

static void later(struct guest *g, uint64_t usec)
{
	if (!g->retry_source)
		sd_event_add_time_relative(ftd_loop, &g->retry_source, CLOCK_MONOTONIC, usec, 0, on_retry, g);
}

void guest_watch(struct guest *g)
{
	guest_unwatch(g);
	if (g->ended) {
		ftqmp_close(&g->qmp);
		if (!g->reaped)
			later(g, REAP_US);
		return;
	}
	if (g->pidfd < 0 && g->pid) {
		g->pidfd = ft_pidfd(g->pid);
		if (g->pidfd == -ESRCH) {
			g->pidfd = -1;
			g->ended = true;
			ft_log(SD_NOTICE, "guest %s: its QEMU (process %d) has ended", g->name, g->pid);
			guest_watch(g);
			return;
		}
		if (g->pidfd >= 0)
			sd_event_add_io(ftd_loop, &g->pid_source, g->pidfd, EPOLLIN, on_exit_of, g);
	}
	if (g->qmp.fd < 0)
		later(g, RETRY_US);
	else if (g->must_stop)
		op_stop_guest(g);
	else
		sd_event_add_io(ftd_loop, &g->qmp_source, g->qmp.fd, EPOLLIN, on_qmp, g);
	if (g->qmp_source)
		look_at_status(g);
	if (g->unjoined && !g->busy)
		later(g, RETRY_US);
}

/* --- across restarts of ftd ------------------------------------------------ */

/* What is kept of it; NULL: a string is not UTF-8, or memory is short. */
static json_t *guest_json(const struct guest *g)
{
	json_t *cons = json_array();
	bool bad = false;
	size_t i;

	for (i = 0; i < g->ncons; i++) {
		char text[330];
		int at = snprintf(text, sizeof(text), "%s=", g->cons[i].id);

		ftcon_backend_text(&g->cons[i], text + at, sizeof(text) - at);
		bad |= json_array_append_new(cons, json_string(text));
	}
	if (bad) {
		json_decref(cons);
		return NULL;
	}
	return json_pack("{s:s, s:s, s:o, s:s, s:b, s:i, s:i, s:s, s:b, s:b, s:s, s:b, s:s, s:b, s:s, s:s, s:b, s:i, s:s, s:s, s:i, s:b}",
			 "name", g->name, "qmp", g->qmp_path, "consoles", cons, "session", g->session,
			 "leads", g->leads, "pid", (int)g->attached_pid, "moving", (int)g->moving,
			 "peer_guest", g->peer_guest, "again", g->again, "alone", g->alone,
			 "again_peer", g->again_peer, "fresh", g->fresh, "second", g->second, "tries", g->tries,
			 "was_peer_guest", g->was.peer_guest, "was_second", g->was.second, "going", g->going,
			 "stopper", (int)g->stopper, "left_peer", g->left.peer, "left_guest", g->left.guest,
			 "loss_said", (int)g->loss_said, "loss_lent", g->loss_lent);
}

void guests_save(void)
{
	char path[sizeof(ftd_state_path) + 8];
	const struct guest *g;
	bool bad = false;
	json_t *list;

	if (!*ftd_state_path)
		return;		/* ftd ends; they stay in the list */
	list = json_array();

	/* without one of them it would be forgotten: that of before has it */
	for (g = ftd_guests; g && !bad; g = g->next) {
		if (!(g->attached || g->restored || *g->session || g->moving != FT_STAYS) || g->gone || g->ended)
			continue;
		bad = json_array_append_new(list, guest_json(g));
		if (bad)
			ft_log(SD_ERR, "the list of guests stays as it was: what is to be kept of %s is not UTF-8, or memory is short",
			       g->name);
	}
	snprintf(path, sizeof(path), "%s.new", ftd_state_path);
	if (!bad && (json_dump_file(list, path, JSON_INDENT(1)) || rename(path, ftd_state_path)))
		ft_log(SD_WARNING, "cannot save the list of guests in %s", ftd_state_path);
	json_decref(list);
}

void guests_restore(void)
{
	json_t *list = json_load_file(ftd_state_path, 0, NULL), *one;
	struct fterr err;
	size_t i;

	json_array_foreach(list, i, one) {
		if (!ft_name_ok(request_string(one, "name")))
			continue;
		if (op_attach(NULL, one, &err))
			ft_log(SD_WARNING, "guest %s: %s", request_string(one, "name"), err.text);
	}
	json_decref(list);
}

/* --- history --------------------------------------------------------------- */

struct history *history_find(const char *name)
{
	struct history *h;

	for (h = ftd_history; h; h = h->next)
		if (!strcmp(h->last.name, name))
			return h;
	return NULL;
}

static struct history *history_new(void)
{
	struct history *h, **at;
	unsigned int n = 0;

	for (at = &ftd_history; *at; at = &(*at)->next)
		if (++n == HISTORY_MAX) {	/* the oldest is at the end */
			free(*at);
			*at = NULL;
			break;
		}
	h = calloc(1, sizeof(*h));
	if (h) {
		h->state = UINT32_MAX;
		h->next = ftd_history;
		ftd_history = h;
	}
	return h;
}

void history_note(const struct ftevent *event)
{
	struct history *h = history_find(event->name);

	if (!h)
		h = history_new();
	if (!h)
		return;
	if (h->state != event->state) {
		h->state = event->state;
		h->since_ns = event->time_ns;
	}
	h->last = *event;
}
