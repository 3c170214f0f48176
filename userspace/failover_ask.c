// SPDX-License-Identifier: GPL-2.0
/*
 * Who goes on? What is asked, of whom, and what the answer means: by ftd itself when a
 * peer is lost, by an operator, and where disks are shared before there is a pair.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "failover_internal.h"
#include "fence.h"
#include "journal.h"
#include "nl_dev.h"
#include "text.h"

#define LAG_STALL_MS	5000	/* an orphan that does not get on for so long is not waited for */

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
static int shared_unfenced(const struct ftconfig *c, pid_t pid, bool word, struct fterr *err)
{
	char name[FTKVM_NAME_MAX + 1];
	int ret = c->fence.hook || (word && c->fence.shared_unfenced) ? 0 : shared_disk(pid, name, sizeof(name), err);

	if (ret > 0)
		ft_fail(err, -EPERM, "both hosts share disk %s, and what the lost host wrote last may still reach it: say in %s, "
			"[fence], which hook powers that host off or keeps it from the storage, or shared-disks = unfenced if the "
			"storage sees to that itself", name, FT_CONFIG_FILE);
	return ret;
}

int failover_disks(const char *session, pid_t pid, struct fterr *err)
{
	struct failover_by *by;
	int ret;

	if (!*session)
		return 0;
	by = failover_use();
	ret = shared_unfenced(by->config, pid, true, err);
	if (!ret && by->config->arbiter.unreachable == FTUNREACHABLE_SOLO && shared_unfenced(by->config, pid, false, err) > 0)
		ret = ft_fail(err, -EPERM, "with when-unreachable = solo both hosts may come to write to a disk that they share: say "
			      "freeze, or which hook fences a host, in %s", FT_CONFIG_FILE);
	failover_leave(by);
	return ret > 0 ? err->code : ret;
}

/* --- asking: in a thread, while operators may do with the guest what they like --- */

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

static int claim(struct arbiter *arbiter, const char *session, const struct ftreplica *r, bool *won, struct fterr *err)
{
	char who[128], host[64] = "";

	gethostname(host, sizeof(host) - 1);
	snprintf(who, sizeof(who), "%s %s", ft_role_name(r->role), host);
	return arbiter_claim(arbiter, session, who, won, err);
}

static enum outcome end(struct ask *a)
{
	if (!arbiter_end(a->by->arbiter, a->session, &a->err))
		return OVER;
	tell(a, FT_NO_ANSWER, NULL);
	return AGAIN;
}

/* It lives, alone. Unless its peer has said that it stopped, nobody else may come to. */
static enum outcome ask_alone(struct ask *a, const struct ftreplica *r)
{
	bool told = r->reason == FTKVM_REASON_UNPAIRED || r->reason == FTKVM_REASON_DIVERGED;
	bool won = false;
	int ret;

	if (told && r->role == FTKVM_UAPI_ROLE_PRIMARY)
		return end(a);
	ret = claim(a->by->arbiter, a->session, r, &won, &a->err);
	tell_claim(a, ret, won);
	if (ret && ret != -ENOENT)
		return AGAIN;
	/* one that the arbiter does not know it has given to nobody */
	if (!ret && !won)
		ftjournal_say(SD_CRIT, FTMSG_TWICE, a->name, "guest %s IS LIVE HERE, AND MAY BE ON THE OTHER HOST: it was promoted here by force or as the "
		       "arbiter could not be asked, and the arbiter has let the other one go on; end one of them", a->name);
	return OVER;
}

/*
 * One that has not come to its log's end yet may never come there: it would have won then, and the primary,
 * which may live, be stopped. Not so if it stands still: somebody has to go on.
 */
static bool lags(struct ask *a, const struct ftreplica *r)
{
	uint64_t bytes = r->stats[FTKVM_STAT_LAG_BYTES];
	int64_t now = ft_now_ms();

	if (r->state != FTKVM_UAPI_STATE_ORPHAN || r->reason == FTKVM_REASON_GUEST_ENDED || !bytes)
		return false;
	if (!a->lag.at || bytes < a->lag.bytes)
		a->lag = (struct ftlag){ .bytes = bytes, .at = now };
	return now - a->lag.at < LAG_STALL_MS;
}

static enum outcome ask_lost(struct ask *a, const struct ftreplica *r)
{
	const struct ftconfig *c = a->by->config;
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
	a->lags = lags(a, r);
	if (a->lags)
		return AGAIN;
	/* not even asked for: the primary may live, and is to get it then */
	if (r->role == FTKVM_UAPI_ROLE_BACKUP && r->reason != FTKVM_REASON_GUEST_ENDED)
		ret = shared_unfenced(c, r->pid, true, &a->err);
	if (ret) {
		tell(a, FT_NO_ANSWER, NULL);
		if (ft_is_news(&a->said, a->err.text))
			ftjournal_say(SD_ERR, FTMSG_HOOK, a->name, "guest %s: not promoted: %s; an operator may promote it",
				      a->name, a->err.text);
		return AGAIN;
	}
	ret = claim(a->by->arbiter, a->session, r, &won, &a->err);
	tell_claim(a, ret, won);
	if (ret == -ENOENT) {
		if (!ft_is_news(&a->said, "forgotten"))
			return AGAIN;
		ftjournal_say(SD_ERR, FTMSG_FORGOTTEN, a->name, "guest %s has lost its peer, and the arbiter does not know the pairing (any more): it stands "
		       "still until an operator decides: ftctl status %s", a->name, a->name);
		return AGAIN;
	}
	if (ret && r->state == FTKVM_UAPI_STATE_UNDECIDED &&
	    c->arbiter.unreachable == FTUNREACHABLE_SOLO && !shared_unfenced(c, r->pid, false, &ignored)) {
		ft_log(SD_WARNING, "guest %s: %s: it goes on, as when-unreachable is solo", a->name, a->err.text);
		return PROMOTE;
	}
	if (ret) {
		if (ft_is_news(&a->said, a->err.text))
			ftjournal_say(SD_ERR, FTMSG_NO_ANSWER, a->name, "guest %s has lost its peer, and the arbiter does not say who goes on: %s; it stands "
			       "still; asking again", a->name, a->err.text);
		return AGAIN;
	}
	if (!won)
		return FENCE;
	/* a primary that has said that its QEMU ended needs no hook */
	if (r->role == FTKVM_UAPI_ROLE_BACKUP && c->fence.hook && r->reason != FTKVM_REASON_GUEST_ENDED &&
	    fence_host(c->fence.hook, c->fence.timeout_s, a->name, r->peer, &a->err)) {
		if (ft_is_news(&a->said, a->err.text))
			ftjournal_say(SD_ERR, FTMSG_HOOK, a->name, "guest %s: not promoted: %s; trying again", a->name,
				      a->err.text);
		return AGAIN;
	}
	ftjournal_say(SD_NOTICE, FTMSG_WON, a->name, "guest %s has lost its peer: it goes on here, says the arbiter", a->name);
	return PROMOTE;
}

static void ask_now(struct ask *a)
{
	struct ftreplica r;
	int ret;

	if (a->unused) {
		a->outcome = end(a);
		return;
	}
	ret = ftnl_get(a->name, &r, &a->err);
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

void failover_ask_work(struct job *job)
{
	struct ask *a = (struct ask *)job;

	a->by = failover_use();
	ask_now(a);
	failover_leave(a->by);
}

/* --- an operator's word ---------------------------------------------------- */

/* In an operation's thread: which arbiter is to be asked? It stays until failover_leave(). NULL: none. */
static struct failover_by *use_arbiter(const char *session, const struct ftreplica *r)
{
	struct failover_by *by;

	if (!*session || !waits(r))
		return NULL;
	by = failover_use();
	if (arbiter_decides(by->arbiter))
		return by;
	failover_leave(by);
	return NULL;
}

int failover_ask(const char *session, const struct ftreplica *r, bool force, struct fterr *err)
{
	struct failover_by *by = use_arbiter(session, r);
	bool won = false;
	int ret;

	if (!by)
		return 0;
	/* it would be claimed for one that the module does not let go on */
	if (r->stats[FTKVM_STAT_PEER_ALONE] && !force) {
		failover_leave(by);
		return ft_fail(err, -EBUSY, "the other host's replica of %s goes on, as the second path tells: fence this one; or "
			       "power that host off, and try again when it is silent", r->name);
	}
	ret = claim(by->arbiter, session, r, &won, err);
	failover_leave(by);
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
	struct failover_by *by = use_arbiter(session, r);
	bool theirs = false;
	int ret;

	if (!by)
		return 0;
	ret = arbiter_claim(by->arbiter, session, other, &theirs, err);
	failover_leave(by);
	/* not known: then it is his decision */
	return ret || theirs ? 0 : ft_fail(err, -EPERM, "the arbiter has let %s go on here: run: ftctl promote %s",
					   r->name, r->name);
}
