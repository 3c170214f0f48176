// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "failover_internal.h"
#include "journal.h"
#include "look.h"
#include "op.h"
#include "text.h"

#define AGAIN_MS	200	/* between one question that was not answered and the next ... */
#define AGAIN_MAX_MS	5000	/* ... growing up to this */
#define LAG_MS		20	/* ... or of one that consumes its log */
#define LOOK_S		5	/* an event of the module's may get lost */
#define KEEP_MAX_S	60	/* a lease is longer; but that nobody answers is to be known before it matters */

/* Another one is made by the main loop alone, which need not hold the lock to look at it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct failover_by *current;

struct failover_by *failover_use(void)
{
	struct failover_by *by;

	pthread_mutex_lock(&lock);
	by = current;
	by->users++;
	pthread_mutex_unlock(&lock);
	return by;
}

void failover_leave(struct failover_by *by)
{
	unsigned int left;

	pthread_mutex_lock(&lock);
	left = --by->users;
	pthread_mutex_unlock(&lock);
	if (left)
		return;
	arbiter_free(by->arbiter);
	ftconfig_free(by->config);
	free(by);
}

/* It takes @c over if 0 is returned. */
static int use_from_now_on(struct ftconfig *c, struct fterr *err)
{
	struct failover_by *by = calloc(1, sizeof(*by)), *last;
	int ret;

	if (!by)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	ret = arbiter_new(c, &by->arbiter, err);
	if (ret) {
		free(by);
		return ret;
	}
	by->users = 1;
	by->config = c;
	pthread_mutex_lock(&lock);
	last = current;
	current = by;
	pthread_mutex_unlock(&lock);
	if (last)
		failover_leave(last);
	return 0;
}

static sd_event_source *keep_source;
static struct look_timer look_timer = { .usec = LOOK_S * 1000000ULL, .look = failover_look_all };

/* --- sessions -------------------------------------------------------------- */

const struct ftconfig *ftd_config(void)
{
	return current->config;
}

bool failover_decides(void)
{
	return arbiter_decides(current->arbiter);
}

const char *failover_type(void)
{
	return arbiter_type(current->arbiter);
}

int failover_begin(const char *session, const char *pair_name, struct fterr *err)
{
	struct failover_by *by = failover_use();
	int ret = arbiter_begin(by->arbiter, session, pair_name, err);

	if (ret)
		ft_fail_prefix(err, "the arbiter (%s) can't be told of this pairing: ", arbiter_type(by->arbiter));
	failover_leave(by);
	return ret;
}

void failover_tell(const char *session, json_t *request)
{
	struct failover_by *by;

	if (!*session)
		return;
	by = failover_use();
	json_object_set_new(request, "session", json_string(session));
	json_object_set_new(request, "arbiter", json_string(arbiter_type(by->arbiter)));
	failover_leave(by);
}

int failover_told(json_t *request, char *session, struct fterr *err)
{
	const char *theirs = request_string(request, "session"), *type = request_string(request, "arbiter");

	*session = '\0';
	if (!theirs)
		return 0;
	if (strlen(theirs) != FT_SESSION_MAX)
		return ft_fail(err, -EINVAL, "the session is no UUID");
	if (!failover_decides() || !type || strcmp(type, failover_type()))
		return ft_fail(err, -EINVAL, "the primary's arbiter is of type %.20s, this host's is %s: give both the same "
			       "[arbiter] in %s", type ? type : "?", failover_type(), FT_CONFIG_FILE);
	strcpy(session, theirs);
	return 0;
}

int failover_join(const char *session, struct fterr *err)
{
	struct failover_by *by;
	int ret;

	if (!*session)
		return 0;
	by = failover_use();
	ret = arbiter_keep(by->arbiter, session, err);
	failover_leave(by);
	if (ret == -ENOENT)
		return ft_fail(err, ret, "this host's arbiter does not know the pairing: is it the same one as the "
			       "primary's? (%s)", FT_CONFIG_FILE);
	return ret ? ft_fail_prefix(err, "this host's arbiter: ") : 0;
}

/* --- leases ---------------------------------------------------------------- */

struct keep {
	struct job job;
	char name[FTKVM_NAME_MAX + 1], session[FT_SESSION_MAX + 1];
	int ret;
	struct fterr err;
};

static void keep_work(struct job *job)
{
	struct failover_by *by = failover_use();
	struct keep *k = (struct keep *)job;

	k->ret = arbiter_keep(by->arbiter, k->session, &k->err);
	failover_leave(by);
}

static void keep_done(struct job *job)
{
	struct keep *k = (struct keep *)job;
	struct guest *g = guest_find(k->name);
	bool same = g && !strcmp(g->session, k->session);
	enum ftheard_what what = heard_of(k->ret);
	bool news;

	/* who asks who goes on hears more; one that is just being paired need not be known yet */
	if (!same || g->asking || (what == FT_FORGOTTEN && g->busy))
		goto out;
	news = heard_note(&g->heard, what, k->ret ? k->err.text : NULL);
	if (news && what == FT_FORGOTTEN)
		ftjournal_say(SD_WARNING, FTMSG_FORGOTTEN, k->name, "guest %s: the arbiter has forgotten its pairing: when a "
			      "host is lost, an operator will have to decide", k->name);
	else if (news && what == FT_NO_ANSWER)
		ft_log(SD_WARNING, "guest %s: the arbiter: %s", k->name, k->err.text);
out:
	free(k);
}

static void keep_start(const struct guest *g)
{
	struct keep *k = calloc(1, sizeof(*k));

	if (!k)
		return;
	k->job.work = keep_work;
	k->job.done = keep_done;
	strcpy(k->name, g->name);
	strcpy(k->session, g->session);
	if (job_start(&k->job))
		free(k);
}

static uint64_t keep_usec(void)
{
	uint64_t s = current->config->arbiter.lease_s / 3;

	return (s > KEEP_MAX_S ? KEEP_MAX_S : s ? s : 1) * 1000000;
}

static int on_keep(sd_event_source *s, uint64_t usec, void *arg)
{
	struct guest *g;

	(void)arg;
	for (g = ftd_guests; g; g = g->next)
		if (*g->session && !g->asking)
			keep_start(g);
	sd_event_source_set_time(s, usec + keep_usec());
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

/* --- and doing ------------------------------------------------------------- */

static int on_again(sd_event_source *s, uint64_t usec, void *arg)
{
	struct guest *g = arg;

	(void)s;
	(void)usec;
	g->again_source = sd_event_source_disable_unref(g->again_source);
	failover_happened(g);
	return 0;
}

static void later_in(struct guest *g, uint64_t ms)
{
	if (!g->again_source)
		sd_event_add_time_relative(ftd_loop, &g->again_source, CLOCK_MONOTONIC,
					   (ms < AGAIN_MAX_MS ? ms : AGAIN_MAX_MS) * 1000, 0, on_again, g);
}

static void later(struct guest *g)
{
	uint64_t ms = ft_wait_ms(AGAIN_MS, AGAIN_MAX_MS, g->asked);

	g->asked++;
	later_in(g, ms);
}

static void fence_work(struct op *op)
{
	op->ret = ftnl_fence(op->name, &op->err);
	if (!op->ret)
		ftjournal_say(SD_WARNING, FTMSG_LOST, op->name, "guest %s: the other host's replica goes on: "
			      "this one never will", op->name);
}

/* The arbiter has been asked; and what has changed since the module sees. */
static void win_work(struct op *op)
{
	struct fterr ignored;
	struct ftreplica r;

	*op->session = '\0';
	promote_any(op);
	/* its peer may have said that it stopped, by which a primary goes on */
	if (op->ret && !ftnl_get(op->name, &r, &ignored) && r.state == FTKVM_UAPI_STATE_SOLO)
		op->ret = 0;
}

static void done_settle(struct op *op)
{
	/* somebody else may have decided; and if not, it is tried again */
	if (op->ret)
		later(op->guest);
	else
		op->guest->lost = true;
}

static void ask_done(struct job *job)
{
	struct ask *a = (struct ask *)job;
	struct guest *g = guest_find(a->name);

	/* another pairing's */
	if (!g || strcmp(g->session, a->session))
		goto out;
	g->asking = false;
	g->deferred = a->defer_ms;
	g->lag = a->lag;
	g->asked_said = a->said;
	if (a->told)
		heard_note(&g->heard, a->heard, a->text ? a->text : a->err.text);
	switch (a->outcome) {
	case NOTHING:
		g->asked = 0;
		g->asked_said = 0;
		/* paired a moment ago: the answer is as good as news */
		if (g->heard.what == FT_UNHEARD)
			keep_start(g);
		break;
	case AGAIN:
		if (a->defer_ms)
			later_in(g, a->defer_ms);
		else if (a->lags)
			later_in(g, LAG_MS);
		else
			later(g);
		break;
	case PROMOTE:
		g->verdict = FT_WON;
		break;
	case FENCE:
		g->verdict = FT_LOST;
		break;
	case OVER:
		failover_set(g, "");
		break;
	}
	failover_look(g);
out:
	free(a);
}

static void ask(struct guest *g)
{
	struct ask *a = calloc(1, sizeof(*a));

	if (a) {
		a->job.work = failover_ask_work;
		a->job.done = ask_done;
		a->said = g->asked_said;
		a->deferred = g->deferred;
		a->leads = g->leads;
		a->unused = g->unused;
		a->lag = g->lag;
		strcpy(a->name, g->name);
		strcpy(a->session, g->session);
	}
	if (!a || job_start(&a->job)) {
		free(a);
		later(g);
		return;
	}
	g->lost = false;
	g->asking = true;
}

void failover_look(struct guest *g)
{
	if (!*g->session || g->gone || g->ended || !failover_decides())
		return;
	/* what it is busy with may be its pairing; it is looked at behind that */
	if (g->busy)
		return;
	if (g->verdict != FT_NONE) {
		bool won = g->verdict == FT_WON;

		g->verdict = FT_NONE;
		if (!op_own(g, "failover", won ? win_work : fence_work, done_settle))
			later(g);
		return;
	}
	if (g->lost && !g->asking && !g->again_source)
		ask(g);
}

void failover_set(struct guest *g, const char *session)
{
	g->again_source = sd_event_source_disable_unref(g->again_source);
	g->unused = false;
	g->lost = false;
	g->asking = false;
	g->asked = 0;
	g->asked_said = 0;
	g->deferred = false;
	memset(&g->lag, 0, sizeof(g->lag));
	g->verdict = FT_NONE;
	memset(&g->heard, 0, sizeof(g->heard));
	snprintf(g->session, sizeof(g->session), "%s", session);
	guests_save();
}

void failover_happened(struct guest *g)
{
	if (!*g->session)
		return;
	if (!failover_decides()) {
		ft_log(SD_WARNING, "guest %s was paired with an arbiter, and there is none in %s any more: when a host is lost, "
		       "an operator will have to decide", g->name, FT_CONFIG_FILE);
		return;
	}
	g->lost = true;
	failover_look(g);
}

void failover_unused(struct guest *g)
{
	g->unused = true;
	failover_happened(g);
}

/* --- events may get lost --------------------------------------------------- */

static void look_at(struct guest *g, const struct ftreplica *r)
{
	if (!ft_state_protected(r->state) && r->state != FTKVM_UAPI_STATE_TAKEOVER)
		failover_happened(g);
}

void failover_look_all(void)
{
	struct guest *g;

	for (g = ftd_guests; g && !*g->session; g = g->next)
		;
	if (g && failover_decides())
		look_at_all(look_at);
}

/* --- start and end --------------------------------------------------------- */

static int begin_timers(struct fterr *err)
{
	int ret = 0;

	keep_source = sd_event_source_disable_unref(keep_source);
	look_end(&look_timer);
	if (!failover_decides())
		return 0;
	/* soon after the start: whoever was here before may have been away for long */
	ret = sd_event_add_time_relative(ftd_loop, &keep_source, CLOCK_MONOTONIC, 1000000, 0, on_keep,
					 NULL);
	return ret < 0 ? ft_fail(err, ret, "cannot set a timer: %s", strerror(-ret)) : look_begin(&look_timer, err);
}

int failover_init(struct ftconfig *c, struct fterr *err)
{
	int ret = use_from_now_on(c, err);

	return ret ? : begin_timers(err);
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* One cluster's may be listed otherwise, and change one by one; none in common is taken for another cluster. */
static bool common_endpoint(const struct ftconfig *a, const struct ftconfig *b)
{
	size_t i, j;

	for (i = 0; i < a->arbiter.n_endpoints; i++)
		for (j = 0; j < b->arbiter.n_endpoints; j++)
			if (!strcmp(a->arbiter.endpoints[i], b->arbiter.endpoints[j]))
				return true;
	return false;
}

/* Is it the place where the sessions are? How it is asked may change. */
static bool same_arbiter(const struct ftconfig *a, const struct ftconfig *b)
{
	return a->arbiter.type == b->arbiter.type && same(a->arbiter.path, b->arbiter.path) &&
	       a->arbiter.host_id == b->arbiter.host_id &&
	       (a->arbiter.type != FTARBITER_ETCD || common_endpoint(a, b));
}

int failover_reload(struct ftconfig *c, struct fterr *err)
{
	struct guest *g;
	int ret;

	for (g = ftd_guests; g; g = g->next)
		if (*g->session && !same_arbiter(current->config, c))
			return ft_fail(err, -EBUSY, "guest %s is paired, and its arbiter can't be another one meanwhile: unpair it "
				       "before, or leave [arbiter] as it was", g->name);
	ret = use_from_now_on(c, err);
	if (ret)
		return ret;
	/* it is in use already: that leases may not be kept is to be said, no more */
	if (begin_timers(err))
		ft_log(SD_ERR, "%s", err->text);
	return 0;
}

void failover_close(void)
{
	/* The arbiter stays: ftd exits, and a thread may be at it. */
	keep_source = sd_event_source_disable_unref(keep_source);
	look_end(&look_timer);
}
