// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "failover.h"
#include "fence.h"
#include "journal.h"
#include "look.h"
#include "nl_dev.h"
#include "op.h"
#include "text.h"

#define AGAIN_MS	200	/* between one question that was not answered and the next ... */
#define AGAIN_MAX_MS	5000	/* ... growing up to this */
#define LOOK_S		5	/* an event of the module's may get lost */
#define KEEP_MAX_S	60	/* a lease is longer; but that nobody answers is to be known before it matters */

/*
 * Changed by the main loop alone. Other threads hold the lock, as readers, for as long as
 * they use them; it never waits for that.
 */
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct ftconfig *config;
static struct arbiter *arbiter;

static void use(void)
{
	pthread_rwlock_rdlock(&lock);
}

static void leave(void)
{
	pthread_rwlock_unlock(&lock);
}

static sd_event_source *keep_source, *look_source;

/* --- sessions -------------------------------------------------------------- */

const struct ftconfig *ftd_config(void)
{
	return config;
}

bool failover_decides(void)
{
	return arbiter && arbiter_decides(arbiter);
}

const char *failover_type(void)
{
	return arbiter ? arbiter_type(arbiter) : "manual";
}

int failover_begin(const char *session, const char *pair_name, struct fterr *err)
{
	int ret;

	use();
	ret = arbiter_begin(arbiter, session, pair_name, err);
	if (ret)
		ft_fail_prefix(err, "the arbiter (%s) can't be told of this pairing: ", arbiter_type(arbiter));
	leave();
	return ret;
}

void failover_tell(const char *session, json_t *request)
{
	if (!*session)
		return;
	json_object_set_new(request, "session", json_string(session));
	use();
	json_object_set_new(request, "arbiter", json_string(arbiter_type(arbiter)));
	leave();
}

int failover_told(json_t *request, char *session, struct fterr *err)
{
	const char *theirs = request_string(request, "session"), *type = request_string(request, "arbiter");

	*session = '\0';
	if (!theirs)
		return 0;
	if (strlen(theirs) != FT_SESSION_MAX)
		return ft_fail(err, -EINVAL, "the session is no UUID");
	if (!failover_decides() || !type || strcmp(type, arbiter_type(arbiter)))
		return ft_fail(err, -EINVAL, "the primary's arbiter is of type %.20s, this host's is %s: give both the same "
			       "[arbiter] in %s", type ? type : "?", arbiter_type(arbiter), FT_CONFIG_FILE);
	strcpy(session, theirs);
	return 0;
}

int failover_join(const char *session, struct fterr *err)
{
	int ret;

	if (!*session)
		return 0;
	use();
	ret = arbiter_keep(arbiter, session, err);
	leave();
	if (ret == -ENOENT)
		return ft_fail(err, ret, "this host's arbiter does not know the pairing: is it the same one as the "
			       "primary's? (%s)", FT_CONFIG_FILE);
	return ret ? ft_fail_prefix(err, "this host's arbiter: ") : 0;
}

/* --- disks that both hosts share ------------------------------------------- */

/* Its first that both share and it can write to. 1: there is one, whose name goes to @name; 0; or -errno. */
static int shared_disk(pid_t pid, char *name, size_t size, struct fterr *err)
{
	struct ftdev *list = NULL;
	size_t n = 0, i;
	int ret = ftnl_dev_dump(&list, &n, err);

	for (i = 0; !ret && i < n; i++) {
		if ((pid_t)list[i].pid != pid || !list[i].shared || list[i].readonly)
			continue;
		snprintf(name, size, "%s", list[i].name);
		ret = 1;
	}
	free(list);
	return ret;
}

/* ... that nothing here keeps the other host away from. The same; a text with 1, too. */
static int shared_unfenced(pid_t pid, bool word, struct fterr *err)
{
	char name[FTKVM_NAME_MAX + 1];
	int ret = config->fence.hook || (word && config->fence.shared_unfenced) ? 0 :
		  shared_disk(pid, name, sizeof(name), err);

	if (ret > 0)
		ft_fail(err, -EPERM, "both hosts share disk %s, and what the lost host wrote last may still reach it: say in %s, "
			"[fence], which hook powers that host off or keeps it from the storage, or shared-disks = unfenced if the "
			"storage sees to that itself", name, FT_CONFIG_FILE);
	return ret;
}

int failover_disks(const char *session, pid_t pid, struct fterr *err)
{
	int ret;

	if (!*session)
		return 0;
	use();
	ret = shared_unfenced(pid, true, err);
	if (!ret && config->arbiter.unreachable == FTUNREACHABLE_SOLO && shared_unfenced(pid, false, err) > 0)
		ret = ft_fail(err, -EPERM, "with when-unreachable = solo both hosts may come to write to a disk that they share: say "
			      "freeze, or which hook fences a host, in %s", FT_CONFIG_FILE);
	leave();
	return ret > 0 ? err->code : ret;
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
	struct keep *k = (struct keep *)job;

	use();
	k->ret = arbiter_keep(arbiter, k->session, &k->err);
	leave();
}

static void keep_done(struct job *job)
{
	struct keep *k = (struct keep *)job;
	struct guest *g = guest_find(k->name);
	bool same = g && !strcmp(g->session, k->session);
	enum ftheard_what what = heard_of(k->ret);
	bool news;

	/* who asks who goes on hears more */
	if (!same || g->asking)
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
	uint64_t s = config->arbiter.lease_s / 3;

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

/* --- asking: in a thread, while operators may do with the guest what they like --- */

enum outcome {
	NOTHING,	/* its peer is there */
	AGAIN,		/* not known */
	PROMOTE,
	FENCE,
	OVER,		/* nobody needs the session any more */
};

struct ask {
	struct job job;
	char name[FTKVM_NAME_MAX + 1], session[FT_SESSION_MAX + 1];
	bool leads;	/* this host began it */
	bool quiet;	/* it has been said already that there is no answer */
	bool deferred;	/* ... or that the primary is waited for */
	uint64_t defer_ms;	/* it is, for so long, and nobody was asked */
	bool told;	/* the arbiter was asked: @heard, and @text more of it */
	enum ftheard_what heard;
	const char *text;
	enum outcome outcome;
	struct fterr err;
};

/* What it said; @text is constant, or NULL for that of the error. */
static void tell(struct ask *a, enum ftheard_what heard, const char *text)
{
	a->told = true;
	a->heard = heard;
	a->text = text;
}

static void tell_claim(struct ask *a, int ret, bool won)
{
	if (ret)
		tell(a, heard_of(ret), NULL);
	else
		tell(a, FT_DECIDED, won ? "the guest goes on here" : "the guest goes on at the other host");
}

static bool waits(const struct ftreplica *r)
{
	return r->state == FTKVM_UAPI_STATE_ORPHAN || r->state == FTKVM_UAPI_STATE_UNDECIDED;
}

static int claim(const char *session, const struct ftreplica *r, bool *won, struct fterr *err)
{
	char who[128], host[64] = "";

	gethostname(host, sizeof(host) - 1);
	snprintf(who, sizeof(who), "%s %s", ft_role_name(r->role), host);
	return arbiter_claim(arbiter, session, who, won, err);
}

static enum outcome end(struct ask *a)
{
	if (!arbiter_end(arbiter, a->session, &a->err))
		return OVER;
	tell(a, FT_NO_ANSWER, NULL);
	return AGAIN;
}

/* It lives, alone. Unless its peer has said that it stopped, nobody else may come to. */
static enum outcome ask_alone(struct ask *a, const struct ftreplica *r)
{
	bool told = r->reason == FTKVM_REASON_UNPAIRED || r->reason == FTKVM_REASON_DIVERGED;
	bool won = true;
	int ret;

	if (told && r->role == FTKVM_UAPI_ROLE_PRIMARY)
		return end(a);
	ret = claim(a->session, r, &won, &a->err);
	tell_claim(a, ret, won);
	if (ret && ret != -ENOENT)
		return AGAIN;
	if (!won)
		ftjournal_say(SD_CRIT, FTMSG_TWICE, a->name, "guest %s IS LIVE HERE, AND MAY BE ON THE OTHER HOST: it was promoted here by force or as the "
		       "arbiter could not be asked, and the arbiter has let the other one go on; end one of them", a->name);
	return OVER;
}

static enum outcome ask_lost(struct ask *a, const struct ftreplica *r)
{
	struct fterr ignored;
	bool won = false;
	int ret = 0;

	/*
	 * It is decided, whether the arbiter was asked or not: there is nothing to claim, and nobody to
	 * be powered off. What this one has is of before.
	 */
	if (r->stats[FTKVM_STAT_PEER_ALONE]) {
		ft_log(SD_WARNING, "guest %s has lost its peer, which goes on, as the second path tells", a->name);
		return FENCE;
	}
	/* its guest is the one that the world sees: the second path tells that its host lives */
	a->defer_ms = r->stats[FTKVM_STAT_DEFER_MS];
	if (a->defer_ms) {
		if (!a->deferred)
			ft_log(SD_WARNING, "guest %s has lost its primary, whose host lives, as the second path tells: it is left "
			       "to that to ask the arbiter first", a->name);
		return AGAIN;
	}
	/* not even asked for: the primary may live, and is to get it then */
	if (r->role == FTKVM_UAPI_ROLE_BACKUP && r->reason != FTKVM_REASON_GUEST_ENDED)
		ret = shared_unfenced(r->pid, true, &a->err);
	if (ret) {
		tell(a, FT_NO_ANSWER, NULL);
		if (!a->quiet)
			ftjournal_say(SD_ERR, FTMSG_HOOK, a->name, "guest %s: not promoted: %s; an operator may promote it",
				      a->name, a->err.text);
		return AGAIN;
	}
	ret = claim(a->session, r, &won, &a->err);
	tell_claim(a, ret, won);
	if (ret == -ENOENT) {
		if (a->quiet)
			return AGAIN;
		ftjournal_say(SD_ERR, FTMSG_FORGOTTEN, a->name, "guest %s has lost its peer, and the arbiter does not know the pairing (any more): it stands "
		       "still until an operator decides: ftctl status %s", a->name, a->name);
		return AGAIN;
	}
	if (ret && r->state == FTKVM_UAPI_STATE_UNDECIDED &&
	    config->arbiter.unreachable == FTUNREACHABLE_SOLO && !shared_unfenced(r->pid, false, &ignored)) {
		ft_log(SD_WARNING, "guest %s: %s: it goes on, as when-unreachable is solo", a->name, a->err.text);
		return PROMOTE;
	}
	if (ret) {
		if (!a->quiet)
			ftjournal_say(SD_ERR, FTMSG_NO_ANSWER, a->name, "guest %s has lost its peer, and the arbiter does not say who goes on: %s; it stands "
			       "still; asking again", a->name, a->err.text);
		return AGAIN;
	}
	if (!won)
		return FENCE;
	/* a primary that has said that its QEMU ended needs no hook */
	if (r->role == FTKVM_UAPI_ROLE_BACKUP && config->fence.hook &&
	    r->reason != FTKVM_REASON_GUEST_ENDED &&
	    fence_run(config->fence.hook, config->fence.timeout_s, a->name, r->peer, &a->err)) {
		ftjournal_say(SD_ERR, FTMSG_HOOK, a->name, "guest %s: not promoted: %s; trying again", a->name, a->err.text);
		return AGAIN;
	}
	ftjournal_say(SD_NOTICE, FTMSG_WON, a->name, "guest %s has lost its peer: it goes on here, says the arbiter", a->name);
	return PROMOTE;
}

static void ask_now(struct ask *a)
{
	struct ftreplica r;
	int ret = ftnl_get(a->name, &r, &a->err);

	if (ret) {
		a->outcome = ret == -ENOENT ? OVER : AGAIN;
		return;
	}
	switch (r.state) {
	case FTKVM_UAPI_STATE_ORPHAN:
	case FTKVM_UAPI_STATE_UNDECIDED:
		a->outcome = ask_lost(a, &r);
		break;
	case FTKVM_UAPI_STATE_SOLO:
		a->outcome = ask_alone(a, &r);
		break;
	case FTKVM_UAPI_STATE_IDLE:
		/* it was not paired in the end; whether the primary was is for its host to know */
		a->outcome = a->leads ? end(a) : OVER;
		break;
	case FTKVM_UAPI_STATE_STOPPED:
		a->outcome = OVER;
		break;
	default:
		a->outcome = NOTHING;
	}
}

static void ask_work(struct job *job)
{
	use();
	ask_now((struct ask *)job);
	leave();
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
	uint64_t ms = AGAIN_MS << (g->asked < 5 ? g->asked : 5);

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
	*op->session = '\0';
	promote_any(op);
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
	if (a->told)
		heard_note(&g->heard, a->heard, a->text ? a->text : a->err.text);
	switch (a->outcome) {
	case NOTHING:
		g->asked = 0;
		/* paired a moment ago: the answer is as good as news */
		if (g->heard.what == FT_UNHEARD)
			keep_start(g);
		break;
	case AGAIN:
		if (a->defer_ms)
			later_in(g, a->defer_ms);
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
		a->job.work = ask_work;
		a->job.done = ask_done;
		a->quiet = g->asked;
		a->deferred = g->deferred;
		a->leads = g->leads;
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
	g->lost = false;
	g->asking = false;
	g->asked = 0;
	g->deferred = false;
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

int failover_ask(const char *session, const struct ftreplica *r, bool force, struct fterr *err)
{
	bool won = false;
	int ret;

	if (!*session || !failover_decides() || !waits(r))
		return 0;
	/* it would be claimed for one that the module does not let go on */
	if (r->stats[FTKVM_STAT_PEER_ALONE] && !force)
		return ft_fail(err, -EBUSY, "the other host's replica of %s goes on, as the second path tells: fence this one; or "
			       "power that host off, and try again when it is silent", r->name);
	use();
	ret = claim(session, r, &won, err);
	leave();
	if (!ret && !won)
		return ft_fail(err, -EPERM, "the arbiter has let the other host's replica of %s go on: this one must not; run: "
			       "ftctl fence %s", r->name, r->name);
	if (!ret || force)
		return 0;
	ft_fail_prefix(err, "the arbiter can't say whether the guest goes on at the other host: ");
	snprintf(err->text + strlen(err->text), sizeof(err->text) - strlen(err->text),
		 "; where you know that it does not, and will not, promote it with --force");
	return ret;
}

int failover_cede(const char *session, const struct ftreplica *r, struct fterr *err)
{
	const char *other = r->role == FTKVM_UAPI_ROLE_PRIMARY ? "backup (the primary was fenced)" :
								 "primary (the backup was fenced)";
	bool theirs = false;
	int ret;

	if (!*session || !failover_decides() || !waits(r))
		return 0;
	use();
	ret = arbiter_claim(arbiter, session, other, &theirs, err);
	leave();
	/* not known: then it is his decision */
	return ret || theirs ? 0 : ft_fail(err, -EPERM, "the arbiter has let %s go on here: run: ftctl promote %s",
					   r->name, r->name);
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

static int on_look(sd_event_source *s, uint64_t usec, void *arg)
{
	(void)arg;
	failover_look_all();
	sd_event_source_set_time(s, usec + LOOK_S * 1000000ULL);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

/* --- start and end --------------------------------------------------------- */

static int begin_timers(struct fterr *err)
{
	int ret = 0;

	keep_source = sd_event_source_disable_unref(keep_source);
	look_source = sd_event_source_disable_unref(look_source);
	if (!failover_decides())
		return 0;
	/* soon after the start: whoever was here before may have been away for long */
	ret = sd_event_add_time_relative(ftd_loop, &keep_source, CLOCK_MONOTONIC, 1000000, 0, on_keep,
					 NULL);
	if (ret >= 0)
		ret = sd_event_add_time_relative(ftd_loop, &look_source, CLOCK_MONOTONIC,
						 LOOK_S * 1000000ULL, 0, on_look, NULL);
	return ret < 0 ? ft_fail(err, ret, "cannot set a timer: %s", strerror(-ret)) : 0;
}

int failover_init(struct ftconfig *c, struct fterr *err)
{
	int ret = arbiter_new(c, &arbiter, err);

	config = c;
	return ret ? : begin_timers(err);
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Is it the place where the sessions are? How it is asked may change. */
static bool same_arbiter(const struct ftconfig *a, const struct ftconfig *b)
{
	return a->arbiter.type == b->arbiter.type && same(a->arbiter.path, b->arbiter.path) &&
	       (a->arbiter.type != FTARBITER_ETCD || b->arbiter.n_endpoints);
}

int failover_reload(struct ftconfig *c, struct fterr *err)
{
	struct arbiter *next, *last = arbiter;
	struct ftconfig *before = config;
	struct guest *g;
	int ret;

	for (g = ftd_guests; g; g = g->next)
		if (*g->session && !same_arbiter(before, c))
			return ft_fail(err, -EBUSY, "guest %s is paired, and its arbiter can't be another one meanwhile: unpair it "
				       "before, or leave [arbiter] as it was", g->name);
	if (pthread_rwlock_trywrlock(&lock))
		return -EAGAIN;
	ret = arbiter_new(c, &next, err);
	if (!ret) {
		arbiter = next;
		config = c;
	}
	pthread_rwlock_unlock(&lock);
	if (ret)
		return ret;
	arbiter_free(last);
	ftconfig_free(before);
	/* it is in use already: that leases may not be kept is to be said, no more */
	if (begin_timers(err))
		ft_log(SD_ERR, "%s", err->text);
	return 0;
}

void failover_close(void)
{
	/* The arbiter stays: ftd exits, and a thread may be at it. */
	keep_source = sd_event_source_disable_unref(keep_source);
	look_source = sd_event_source_disable_unref(look_source);
}
