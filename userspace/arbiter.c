// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "arbiter_engine.h"

#define WHO_MAX		255

struct arbiter {
	const struct arbiter_engine *engine;	/* NULL: manual */
	void *e;
	unsigned int timeout_ms;
};

const char *const arbiter_roles[ROLES] = { "primary", "backup" };

int arbiter_new(const struct ftconfig *c, struct arbiter **arbiter, struct fterr *err)
{
	struct arbiter *a = calloc(1, sizeof(*a));
	int ret = 0;

	*arbiter = NULL;
	if (!a)
		return ft_fail(err, -ENOMEM, "no memory for an arbiter");
	a->timeout_ms = c->arbiter.timeout_ms;
	switch (c->arbiter.type) {
	case FTARBITER_MANUAL:
		break;
	case FTARBITER_FILE:
		a->engine = &arbiter_file;
		break;
	case FTARBITER_ETCD:
		a->engine = &arbiter_etcd;
		break;
	case FTARBITER_SANLOCK:
#ifdef FTKVM_SANLOCK
		a->engine = &arbiter_sanlock;
#endif
		/* else there is no such configuration */
		break;
	}
	if (a->engine)
		ret = a->engine->open(c, &a->e, err);
	if (ret)
		free(a);
	else
		*arbiter = a;
	return ret;
}

void arbiter_free(struct arbiter *a)
{
	if (a && a->engine)
		a->engine->close(a->e);
	free(a);
}

const char *arbiter_type(const struct arbiter *a)
{
	return a->engine ? a->engine->name : "manual";
}

bool arbiter_decides(const struct arbiter *a)
{
	return a->engine;
}

int arbiter_none(const char *session, struct fterr *err)
{
	return ft_fail(err, -ENOENT, "the arbiter knows no session %s (any more): nobody is promoted by it; "
		       "make a new pairing: ftctl unprotect, then ftctl protect", session);
}

int arbiter_decided(const char *session, const char *who, struct fterr *err)
{
	return ft_fail(err, -EALREADY, "session %s is decided, %s won it; make a new pairing: ftctl unprotect, then "
		       "ftctl protect", session, who);
}

/* It becomes part of a file's name, and of a key. */
static bool session_ok(const char *session)
{
	size_t i;

	for (i = 0; i < SESSION_LEN; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? session[i] != '-' : !isdigit((unsigned char)session[i]) &&
		    (session[i] < 'a' || session[i] > 'f'))
			return false;
	}
	return !session[SESSION_LEN];
}

static int check(const struct arbiter *a, const char *session, const char *text, struct fterr *err)
{
	const char *c;

	if (!a->engine)
		return ft_fail(err, -EOPNOTSUPP, "there is no arbiter; set [arbiter] type in ftd's configuration");
	if (!session_ok(session))
		return ft_fail(err, -EINVAL, "\"%.40s\" is no UUID in lower case", session);
	for (c = text; c && *c; c++)
		if (iscntrl((unsigned char)*c) || c - text >= WHO_MAX)
			return ft_fail(err, -EINVAL, "a name is too long, or has control characters");
	return 0;
}

static int64_t deadline(const struct arbiter *a)
{
	return ft_now_ms() + a->timeout_ms;
}

int arbiter_begin(struct arbiter *a, const char *session, const char *pair_name, struct fterr *err)
{
	int ret = check(a, session, pair_name, err);

	return ret ? : a->engine->begin(a->e, session, pair_name, deadline(a), err);
}

int arbiter_keep(struct arbiter *a, const char *session, struct fterr *err)
{
	int ret = check(a, session, NULL, err);

	return ret ? : a->engine->keep(a->e, session, deadline(a), err);
}

int arbiter_claim(struct arbiter *a, const char *session, const char *who, bool *won, struct fterr *err)
{
	int ret = check(a, session, who, err);
	enum arbiter_role role;

	*won = false;
	if (ret)
		return ret;
	for (role = 0; role < ROLES; role++) {
		size_t len = strlen(arbiter_roles[role]);

		if (!strncmp(who, arbiter_roles[role], len) && (!who[len] || who[len] == ' '))
			return a->engine->claim(a->e, session, role, who, won, deadline(a), err);
	}
	return ft_fail(err, -EINVAL, "\"%s\" begins with neither \"primary\" nor \"backup\"", who);
}

int arbiter_end(struct arbiter *a, const char *session, struct fterr *err)
{
	int ret = check(a, session, NULL, err);

	return ret ? : a->engine->end(a->e, session, deadline(a), err);
}
