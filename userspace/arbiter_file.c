// SPDX-License-Identifier: GPL-2.0
/*
 * An arbiter of files, in a directory on storage that both hosts reach: NFS, or a file
 * system for shared disks. A session is a directory with one file in it, whose name is its
 * state, and a claim is
 *
 *	rename("SESSION/paired", "SESSION/won-ROLE")
 *
 * Of two hosts that try, one finds no "paired" any more: the server, or the cluster's
 * locks, see to that. A client of NFS whose answer was lost repeats it, and is told that
 * there is no "paired" though it renamed it itself: the new name has the role in it, so it
 * looks for that.
 *
 * Children ask, as the storage may hold them (arbiter_child.h).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "arbiter_child.h"
#include "arbiter_engine.h"

#define SWEEP_MAX	64	/* old sessions that a new one takes away */

#define UNDECIDED	"paired"

static const char *const won_names[ROLES] = { "won-primary", "won-backup" };

struct arbiter_dir {
	char *path;
	unsigned int lease_s;
};

enum step {
	STEP_NONE, STEP_REACH, STEP_MAKE, STEP_LOOK, STEP_CHANGE, STEP_SYNC, STEP_REMOVE,
};

/**
 * struct reply - what the child says
 * @ret: 0 or -errno
 * @step: where it went wrong
 * @won, @winner: a claim's verdict, and who has won
 */
struct reply {
	int ret;
	enum step step;
	bool won;
	enum arbiter_role winner;
};

/**
 * struct question - what a child asks of the storage
 * @ask: how
 * @dir: the arbiter's
 * @session, @role: which
 * @text: a line for people, with its newline
 */
struct question {
	int (*ask)(const struct question *q, int base, struct reply *reply);
	const struct arbiter_dir *dir;
	const char *session;
	enum arbiter_role role;
	const char *text;
};

/* --- in the child: no memory is allocated, no lock taken ------------------- */

static int failed(struct reply *reply, enum step step)
{
	reply->step = step;
	return -errno;
}

/* 1, 0, or it can't be seen: that is not the same as that it is not there. */
static int there(int session, const char *name, struct reply *reply)
{
	struct stat st;

	if (!fstatat(session, name, &st, AT_SYMLINK_NOFOLLOW))
		return 1;
	return errno == ENOENT ? 0 : failed(reply, STEP_LOOK);
}

/*
 * Opened anew for each question: that makes a client of NFS ask the server what is in it,
 * and not go by what it remembers.
 */
static int open_session(const struct question *q, int base, struct reply *reply)
{
	int fd = openat(base, q->session, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? failed(reply, STEP_LOOK) : fd;
}

/* What is left of a session; "paired" first, as it may become one of the others. */
static int clear(int base, const char *name, int session)
{
	const char *const names[] = { UNDECIDED, won_names[ROLE_PRIMARY], won_names[ROLE_BACKUP] };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (unlinkat(session, names[i], 0) && errno != ENOENT)
			return -1;
	return unlinkat(base, name, AT_REMOVEDIR) && errno != ENOENT ? -1 : 0;
}

/* When it was last kept, by the storage's clock. */
static time_t touched(int session)
{
	const char *const names[] = { UNDECIDED, won_names[ROLE_PRIMARY], won_names[ROLE_BACKUP], "." };
	struct stat st;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!fstatat(session, names[i], &st, AT_SYMLINK_NOFOLLOW))
			return st.st_mtime;
	return INT64_MAX;
}

/* Sessions whose lease is over; what can't be removed stays. */
static void sweep(const struct question *q, int base, time_t now)
{
	alignas(struct dirent64) char buf[4096];
	int removed = 0;
	ssize_t len, at;

	while ((len = getdents64(base, buf, sizeof(buf))) > 0) {
		for (at = 0; at < len && removed < SWEEP_MAX;) {
			const struct dirent64 *d = (const struct dirent64 *)(buf + at);
			int fd;

			at += d->d_reclen;
			if (strlen(d->d_name) != SESSION_LEN)
				continue;
			fd = openat(base, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (fd < 0)
				continue;
			if (touched(fd) < now - (time_t)q->dir->lease_s && !clear(base, d->d_name, fd))
				removed++;
			close(fd);
		}
	}
}

static int ask_begin(const struct question *q, int base, struct reply *reply)
{
	struct stat st;
	int session, file, ret = 0;

	if (mkdirat(base, q->session, 0755))
		return failed(reply, STEP_MAKE);
	session = open_session(q, base, reply);
	if (session < 0)
		return session;
	file = openat(session, UNDECIDED, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (file < 0 || write(file, q->text, strlen(q->text)) < 0 || fstat(file, &st))
		ret = failed(reply, STEP_MAKE);
	else if (fsync(file) || fsync(session) || fsync(base))
		ret = failed(reply, STEP_SYNC);
	if (file >= 0)
		close(file);
	if (ret)
		clear(base, q->session, session);
	else
		sweep(q, base, st.st_mtime);
	close(session);
	return ret;
}

/* Who found no "paired": has one of them won? -EALREADY: yes; -ENOENT: the session is gone. */
static int find_winner(int session, struct reply *reply)
{
	enum arbiter_role role;
	/* First, as it becomes one of the others. Is it back, the server changed its mind. */
	int ret = there(session, UNDECIDED, reply);

	if (ret > 0) {
		reply->step = STEP_CHANGE;
		return -EAGAIN;
	}
	for (role = 0; role < ROLES && !ret; role++) {
		ret = there(session, won_names[role], reply);
		reply->winner = role;
	}
	return ret > 0 ? -EALREADY : ret ? : -ENOENT;
}

static int ask_keep(const struct question *q, int base, struct reply *reply)
{
	int session = open_session(q, base, reply), ret = 0;

	if (session < 0)
		return session;
	if (utimensat(session, UNDECIDED, NULL, AT_SYMLINK_NOFOLLOW))
		ret = errno == ENOENT ? find_winner(session, reply) : failed(reply, STEP_CHANGE);
	close(session);
	return ret;
}

/* For people, so whether that works does not matter. */
static void sign(const struct question *q, int session)
{
	int file = openat(session, won_names[q->role], O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);

	if (file < 0)
		return;
	if (write(file, q->text, strlen(q->text)) > 0)
		fsync(file);
	close(file);
}

static int ask_claim(const struct question *q, int base, struct reply *reply)
{
	int session = open_session(q, base, reply), ret = 0;

	if (session < 0)
		return session;
	if (!renameat(session, UNDECIDED, session, won_names[q->role])) {
		sign(q, session);
		reply->winner = q->role;
	} else if (errno != ENOENT) {
		ret = failed(reply, STEP_CHANGE);
	} else {
		ret = find_winner(session, reply);
		if (ret == -EALREADY)
			ret = 0;
	}
	reply->won = !ret && reply->winner == q->role;
	/* It holds if the storage loses its power now, also one that an earlier question won. */
	if (reply->won && fsync(session))
		ret = failed(reply, STEP_SYNC);
	close(session);
	return ret;
}

static int ask_end(const struct question *q, int base, struct reply *reply)
{
	int session = open_session(q, base, reply), ret = 0;

	if (session == -ENOENT)
		return 0;
	if (session < 0)
		return session;
	if (clear(base, q->session, session))
		ret = failed(reply, STEP_REMOVE);
	else if (fsync(base))
		ret = failed(reply, STEP_SYNC);
	close(session);
	return ret;
}

static void run(const void *arg, void *out)
{
	const struct question *q = arg;
	struct reply *reply = out;
	int base = open(q->dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (base < 0) {
		reply->ret = failed(reply, STEP_REACH);
	} else {
		reply->ret = q->ask(q, base, reply);
		close(base);
	}
}

/* --- in ftd ---------------------------------------------------------------- */

static int send_child(const struct question *q, struct reply *reply, int64_t deadline, struct fterr *err)
{
	char place[300];
	const struct arbiter_errand e = {
		.run = run, .arg = q, .reply = reply, .size = sizeof(*reply),
		.place = place, .remedy = "see whether its server is up",
	};

	snprintf(place, sizeof(place), "the storage of %s", q->dir->path);
	return arbiter_child_send(&e, deadline, err);
}

static int explain(const struct question *q, const struct reply *reply, struct fterr *err)
{
	static const char *const steps[] = {
		[STEP_REACH] = "open the arbiter's directory", [STEP_MAKE] = "make a session in",
		[STEP_LOOK] = "look at a session in", [STEP_CHANGE] = "change a session in",
		[STEP_SYNC] = "have a session on disk in", [STEP_REMOVE] = "remove a session from",
	};
	const char *remedy = "see what is wrong with that storage";
	/* No such directory is not the same as no such session. */
	int ret = reply->ret == -ENOENT ? -ENOTDIR : reply->ret;

	switch (-ret) {
	case ENOTDIR:
		remedy = "mount that storage, or make the directory, or correct path in [arbiter]";
		break;
	case EACCES:
	case EPERM:
	case EROFS:
		remedy = "let ftd's user write there, of one number on all hosts (a server of NFS may take root for nobody)";
		break;
	case ENOSPC:
	case EDQUOT:
		remedy = "make room there";
		break;
	case EAGAIN:
	case ESTALE:
		remedy = "it changed meanwhile: ask again";
		break;
	}
	return ft_fail(err, ret, "cannot %s %s: %s; %s", steps[reply->step], q->dir->path,
		       strerror(-reply->ret), remedy);
}

static int ask(const struct question *q, struct reply *reply, int64_t deadline, struct fterr *err)
{
	int ret = send_child(q, reply, deadline, err);

	if (ret || !reply->ret)
		return ret;
	if (reply->ret == -ENOENT && (reply->step == STEP_NONE || reply->step == STEP_LOOK))
		return arbiter_none(q->session, err);
	if (reply->ret == -EALREADY)
		return arbiter_decided(q->session, arbiter_roles[reply->winner], err);
	if (reply->ret == -EEXIST)
		return ft_fail(err, -EEXIST, "there is a session %s already; take another UUID", q->session);
	return explain(q, reply, err);
}

static int file_open(const struct ftconfig *c, void **e, struct fterr *err)
{
	struct arbiter_dir *dir = calloc(1, sizeof(*dir));

	if (dir)
		dir->path = strdup(c->arbiter.path);
	if (!dir || !dir->path) {
		free(dir);
		return ft_fail(err, -ENOMEM, "no memory for an arbiter");
	}
	dir->lease_s = c->arbiter.lease_s;
	*e = dir;
	return 0;
}

static void file_close(void *e)
{
	struct arbiter_dir *dir = e;

	free(dir->path);
	free(dir);
}

static int file_begin(void *e, const char *session, const char *pair_name, int64_t deadline, struct fterr *err)
{
	struct question q = { .ask = ask_begin, .dir = e, .session = session };
	struct reply reply;
	char text[512];

	snprintf(text, sizeof(text), "paired %s\n", pair_name);
	q.text = text;
	return ask(&q, &reply, deadline, err);
}

static int file_keep(void *e, const char *session, int64_t deadline, struct fterr *err)
{
	struct question q = { .ask = ask_keep, .dir = e, .session = session };
	struct reply reply;

	return ask(&q, &reply, deadline, err);
}

static int file_claim(void *e, const char *session, enum arbiter_role role, const char *who, bool *won,
		      int64_t deadline, struct fterr *err)
{
	struct question q = { .ask = ask_claim, .dir = e, .session = session, .role = role };
	struct reply reply;
	char text[512];
	int ret;

	snprintf(text, sizeof(text), "won %s\n", who);
	q.text = text;
	ret = ask(&q, &reply, deadline, err);
	*won = !ret && reply.won;
	return ret;
}

static int file_end(void *e, const char *session, int64_t deadline, struct fterr *err)
{
	struct question q = { .ask = ask_end, .dir = e, .session = session };
	struct reply reply;

	return ask(&q, &reply, deadline, err);
}

const struct arbiter_engine arbiter_file = {
	.name = "file",
	.open = file_open,
	.close = file_close,
	.begin = file_begin,
	.keep = file_keep,
	.claim = file_claim,
	.end = file_end,
};
