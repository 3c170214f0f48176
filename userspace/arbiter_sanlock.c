// SPDX-License-Identifier: GPL-2.0
/*
 * An arbiter on a block device that both hosts reach, with a lease of sanlock's
 * (sanlock_store.h): a claim changes a record while its host alone may, so of two one finds
 * it changed.
 *
 * Who asks is a child, as storage may hold it, and as sanlock kills whoever has a lease when
 * it is lost. Of a host's questions that need the lease one is asked at a time: sanlock gives
 * it to hosts in an order, but refuses it to a second process of the same host.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sanlock.h>
#include <sanlock_rv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arbiter_child.h"
#include "sanlock_store.h"

/**
 * struct shared - what ftd and its children share
 * @join_code: what became of the last try to join the lockspace; 0: good, or none has ended
 * @seen: the records
 */
struct shared {
	int join_code;
	struct store_seen seen[STORE_SLOTS];
};

/**
 * struct arbiter_sanlock - such an arbiter
 * @path, @host_id, @lease_ms: of the configuration
 * @shared: see there
 * @joins: for @joiner, the child that waits for sanlock to join the lockspace, or 0
 */
struct arbiter_sanlock {
	char *path;
	unsigned int host_id;
	int64_t lease_ms;
	struct shared *shared;
	pthread_mutex_t joins;
	pid_t joiner;
};

/* Of who needs the lease: this host's, also when ftd is just given another configuration. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* --- the lockspace ----------------------------------------------------------- */

/* It has nothing of ftd's, and holds nothing up: if ftd ends it ends when sanlock is done. */
static void be_joiner(const struct arbiter_sanlock *e)
{
	int code;

	close_range(3, ~0U, 0);
	code = store_join(e->path, e->host_id);
	__atomic_store_n(&e->shared->join_code, code, __ATOMIC_RELAXED);
	_exit(0);
}

/* See what became of the last try to join, and begin another one if it is @wanted. */
static void join(struct arbiter_sanlock *e, bool wanted)
{
	pid_t child;

	pthread_mutex_lock(&e->joins);
	if (e->joiner && waitpid(e->joiner, NULL, WNOHANG))
		e->joiner = 0;
	if (!e->joiner && wanted) {
		child = fork();
		if (!child)
			be_joiner(e);
		/* if there is none, the next question sends one */
		e->joiner = child > 0 ? child : 0;
	}
	pthread_mutex_unlock(&e->joins);
}

/* --- what went wrong ---------------------------------------------------------- */

/* Of sanlock's own numbers, and errno's. */
static const char *code_text(int code)
{
	return code <= SANLK_ERROR ? sanlock_strerror(code) : strerror(-code);
}

static int explain_join(const struct arbiter_sanlock *e, struct fterr *err)
{
	int code = __atomic_load_n(&e->shared->join_code, __ATOMIC_RELAXED);

	switch (code) {
	case 0:
		return ft_fail(err, -EAGAIN, "sanlock joins its lockspace on %s, which takes some 20 s; ask again then",
			       e->path);
	case SANLK_HOSTID_BUSY:
		return ft_fail(err, -EADDRINUSE, "host-id %u is another host's on %s, or was until a minute ago; give each host its "
			       "own in [arbiter], or wait", e->host_id, e->path);
	case -EINVAL:
		return ft_fail(err, -EBUSY, "sanlock has its lockspace " STORE_LOCKSPACE " by another path or host-id than those of "
			       "[arbiter]; correct them, or run: sanlock client rem_lockspace -s what sanlock client gets prints");
	}
	return ft_fail(err, -EAGAIN, "sanlock could not join its lockspace on %s: %s; see sanlock client log_dump; it is "
		       "tried again", e->path, code_text(code));
}

#define PATH_SHOWN	60

/* How the device is made ready; it may have been another one's, so ftd does not do that. */
static int explain_layout(const struct arbiter_sanlock *e, const struct store_reply *r, struct fterr *err)
{
	unsigned int mib = r->align >> 20, n = (STORE_TABLE(r->sector) + r->align - 1) / r->align;

	/* half a command would be worse than none; and sanlock wants a colon with a backslash */
	if (strlen(e->path) > PATH_SHOWN || strchr(e->path, ':') || strchr(e->path, '\''))
		return ft_fail(err, -ENOMEDIUM, "%s has no lockspace of ftkvm's, or no lease (%s); if it is for nothing else make it "
			       "ready, with ftd stopped on all hosts: man ftd says how, under type = sanlock", e->path,
			       code_text(r->code));
	return ft_fail(err, -ENOMEDIUM, "%s has no lockspace of ftkvm's, or no lease (%s); if it is for nothing else make it ready, "
		       "with ftd stopped on all hosts, on one of them: D='%s'; sanlock direct init -s " STORE_LOCKSPACE ":0:\"$D\":0; "
		       "sanlock direct init -r " STORE_LOCKSPACE ":" STORE_RESOURCE ":\"$D\":%u; dd if=/dev/zero oflag=direct bs=%uM "
		       "seek=2 count=%u conv=notrunc,fsync of=\"$D\"", e->path, code_text(r->code), e->path, r->align, mib, n);
}

static int explain(const struct arbiter_sanlock *e, const struct store_question *q, const struct store_reply *r,
		   struct fterr *err)
{
	const char *path = e->path, *code = code_text(r->code);
	unsigned int need = (2 * r->align + STORE_TABLE(r->sector) + (1 << 20) - 1) >> 20;

	switch (r->fault) {
	case STORE_GOOD:
		return 0;
	case STORE_NONE:
		return arbiter_none(q->session, err);
	case STORE_DECIDED:
		return arbiter_decided(q->session, arbiter_roles[r->winner], err);
	case STORE_THERE:
		return ft_fail(err, -EEXIST, "there is a session %s already; take another UUID", q->session);
	case STORE_DAEMON:
		return ft_fail(err, -ENOTCONN, "sanlock does not answer on this host: %s; %s", code,
			       r->code == -EACCES ? "let ftd's user be in group sanlock" : "systemctl start sanlock");
	case STORE_OPEN:
		return ft_fail(err, -ENODEV, "cannot use %s: %s; %s", path, code, r->code == -EACCES || r->code == -EPERM ?
			       "let ftd's user read and write it" : "attach that storage, or correct path in [arbiter]");
	case STORE_KIND:
		return ft_fail(err, -ENOTBLK, "%s is no block device, nor a file on one; give path in [arbiter] that of one, or "
			       "for NFS say type = file", path);
	case STORE_REACH:
		return ft_fail(err, -EIO, "sanlock cannot read %s: %s; let user sanlock read and write it (group disk)", path, code);
	case STORE_FORMAT:
		return explain_layout(e, r, err);
	case STORE_SMALL:
		return ft_fail(err, -ENOSPC, "%s is too small; give path in [arbiter] that of a device of %u MiB", path, need);
	case STORE_JOIN:
	case STORE_JOINING:
		return explain_join(e, err);
	case STORE_LOST:
		return ft_fail(err, -EAGAIN, "sanlock has lost its lockspace on %s; see whether the path to that storage is up, and ask "
			       "again", path);
	case STORE_LEASE:
		return ft_fail(err, -EIO, "sanlock gives no lease on %s: %s; see sanlock client log_dump", path, code);
	case STORE_HELD:
		return ft_fail(err, -EAGAIN, "others have the lease on %s: %s; ask again, or set timeout-ms in [arbiter] higher", path,
			       code);
	case STORE_DEAD:
		return ft_fail(err, -EAGAIN, "a host that is silent has the lease on %s; sanlock takes it for dead some 140 s after it was "
			       "heard last: ask again then", path);
	case STORE_READ:
	case STORE_WRITE:
		return ft_fail(err, -EIO, "cannot %s %s: %s; see whether the path to that storage is up",
			       r->fault == STORE_READ ? "read" : "write", path, code);
	case STORE_DAMAGED:
		return ft_fail(err, -EBADMSG, "record %u on %.200s is damaged, and may be this session's; with no guest paired by that "
			       "arbiter zero it: dd if=/dev/zero oflag=direct bs=%u seek=%u count=1 conv=notrunc,fsync of=THAT",
			       r->slot, path, r->sector, 2 * r->align / r->sector + r->slot);
	case STORE_FULL:
		return ft_fail(err, -ENOSPC, "all %d records on %s are in use; unpair guests, or wait lease-s for what nobody keeps",
			       STORE_SLOTS, path);
	case STORE_LATE:
		break;
	}
	return ft_fail(err, -ETIMEDOUT, "the lease on %s was had too late; ask again", path);
}

/* --- questions ---------------------------------------------------------------- */

static int take_turn(struct arbiter_sanlock *e, int64_t deadline, struct fterr *err)
{
	const struct timespec until = { .tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000 };
	int ret = pthread_mutex_clocklock(&turn, CLOCK_MONOTONIC, &until);

	return ret ? ft_fail(err, -ret, "other questions wait for the lease on %s; ask again, or set timeout-ms in [arbiter] "
			     "higher", e->path) : 0;
}

static int ask(struct arbiter_sanlock *e, struct store_question *q, struct store_reply *reply, int64_t deadline,
	       struct fterr *err)
{
	char place[300];
	const struct arbiter_errand errand = {
		.run = store_run, .arg = q, .reply = reply, .size = sizeof(*reply),
		.place = place, .remedy = "see whether the path to it is up, and sanlock runs",
	};
	int ret = q->order == STORE_KEEP ? 0 : take_turn(e, deadline, err);

	if (ret)
		return ret;
	snprintf(place, sizeof(place), "the storage of %s", e->path);
	q->path = e->path;
	q->host_id = e->host_id;
	q->lease_ms = e->lease_ms;
	q->seen = e->shared->seen;
	q->deadline = deadline;
	ret = arbiter_child_send(&errand, deadline, err);
	if (q->order != STORE_KEEP)
		pthread_mutex_unlock(&turn);
	if (ret)
		return ret;
	join(e, reply->fault == STORE_JOIN);
	ret = explain(e, q, reply, err);
	/* next time it is not in it is another matter */
	if (!ret)
		__atomic_store_n(&e->shared->join_code, 0, __ATOMIC_RELAXED);
	return ret;
}

static void sanlock_close(void *arg)
{
	struct arbiter_sanlock *e = arg;

	/* it waits for sanlock, which goes on without it */
	if (e->joiner && !kill(e->joiner, SIGKILL))
		waitpid(e->joiner, NULL, 0);
	pthread_mutex_destroy(&e->joins);
	munmap(e->shared, sizeof(*e->shared));
	free(e->path);
	free(e);
}

static int sanlock_open(const struct ftconfig *c, void **arg, struct fterr *err)
{
	struct arbiter_sanlock *e = calloc(1, sizeof(*e));

	if (!e)
		return ft_fail(err, -ENOMEM, "no memory for an arbiter");
	pthread_mutex_init(&e->joins, NULL);
	e->host_id = c->arbiter.host_id;
	e->lease_ms = (int64_t)c->arbiter.lease_s * 1000;
	e->path = strdup(c->arbiter.path);
	e->shared = mmap(NULL, sizeof(*e->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!e->path || e->shared == MAP_FAILED) {
		sanlock_close(e);
		return ft_fail(err, -ENOMEM, "no memory for an arbiter");
	}
	/* It takes a while; the first question is to find it done. */
	join(e, true);
	*arg = e;
	return 0;
}

static int sanlock_begin(void *e, const char *session, const char *pair_name, int64_t deadline, struct fterr *err)
{
	struct store_question q = { .order = STORE_BEGIN, .session = session, .text = pair_name };
	struct store_reply reply;

	return ask(e, &q, &reply, deadline, err);
}

static int sanlock_keep(void *e, const char *session, int64_t deadline, struct fterr *err)
{
	struct store_question q = { .order = STORE_KEEP, .session = session };
	struct store_reply reply;

	return ask(e, &q, &reply, deadline, err);
}

static int sanlock_claim(void *e, const char *session, enum arbiter_role role, const char *who, bool *won,
			 int64_t deadline, struct fterr *err)
{
	struct store_question q = { .order = STORE_CLAIM, .session = session, .role = role, .text = who };
	struct store_reply reply;
	int ret = ask(e, &q, &reply, deadline, err);

	*won = !ret && reply.won;
	return ret;
}

static int sanlock_end(void *e, const char *session, int64_t deadline, struct fterr *err)
{
	struct store_question q = { .order = STORE_END, .session = session };
	struct store_reply reply;
	int ret = ask(e, &q, &reply, deadline, err);

	return ret == -ENOENT ? 0 : ret;
}

const struct arbiter_engine arbiter_sanlock = {
	.name = "sanlock",
	.open = sanlock_open,
	.close = sanlock_close,
	.begin = sanlock_begin,
	.keep = sanlock_keep,
	.claim = sanlock_claim,
	.end = sanlock_end,
};
