// SPDX-License-Identifier: GPL-2.0
/*
 * An arbiter in etcd. A session is
 *
 *	ftkvm/UUID	"paired", or "won " and who won
 *	ftkvm/UUID/pair	the pair's name, for people
 *
 * both with a lease, which etcd ends by itself. A claim is a transaction that changes the
 * first only if it is "paired": etcd's members agree on the order of transactions, so of two
 * one finds it changed. etcd reads by majority unless it is told otherwise, so what is
 * not there is not there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "arbiter_engine.h"
#include "etcd.h"

#define UNDECIDED	"paired"
#define WON		"won "

/* @lease is etcd's number for it, as text; empty: none. */
struct record {
	bool there;
	char state[300], lease[24];
};

struct arbiter_etcd {
	struct etcd *etcd;
	unsigned int lease_s;
};

static json_t *key_of(const char *session, const char *what)
{
	char key[SESSION_LEN + 20];

	snprintf(key, sizeof(key), "ftkvm/%s%s", session, what);
	return etcd_bytes(key);
}

static json_t *state_key(const char *session)
{
	return key_of(session, "");
}

/* A number as etcd has it; 0 is left out. */
static void number_of(const json_t *from, const char *name, char *text, size_t size)
{
	const char *value = json_string_value(json_object_get(from, name));

	snprintf(text, size, "%s", value && strcmp(value, "0") ? value : "");
}

/* What a range of one key found; @range is NULL if that is not what was answered. */
static int read_record(const json_t *range, struct record *record, struct fterr *err)
{
	const json_t *kv = json_array_get(json_object_get(range, "kvs"), 0);

	memset(record, 0, sizeof(*record));
	/* What is not understood must not be taken for a record that is not there. */
	if (!json_object_get(range, "header"))
		return ft_fail(err, -EPROTO, "etcd's answer makes no sense: it has no header; see its version");
	if (!kv)
		return 0;
	if (!etcd_text(json_object_get(kv, "value"), record->state, sizeof(record->state)))
		return ft_fail(err, -EPROTO, "etcd's answer makes no sense: a key without a value; see its version");
	number_of(kv, "lease", record->lease, sizeof(record->lease));
	record->there = true;
	return 0;
}

static int look(struct etcd_talk *t, const char *session, struct record *record, struct fterr *err)
{
	json_t *answer;
	int ret = etcd_ask(t, "/v3/kv/range", json_pack("{so}", "key", state_key(session)), &answer, err);

	if (ret)
		return ret;
	ret = read_record(answer, record, err);
	json_decref(answer);
	return ret;
}

/* A transaction whose failure looks at the session; takes the references. */
static int transact(struct etcd_talk *t, const char *session, json_t *compare, json_t *success, bool *done,
		    struct record *record, struct fterr *err)
{
	json_t *question = json_pack("{s[o] so s[{s{so}}]}", "compare", compare, "success", success, "failure",
				     "request_range", "key", state_key(session));
	json_t *answer;
	int ret = etcd_ask(t, "/v3/kv/txn", question, &answer, err);

	if (ret)
		return ret;
	*done = json_is_true(json_object_get(answer, "succeeded"));
	if (!*done) {
		const json_t *first = json_array_get(json_object_get(answer, "responses"), 0);

		ret = read_record(json_object_get(first, "response_range"), record, err);
	}
	json_decref(answer);
	return ret;
}

static int end_lease(struct etcd_talk *t, const char *lease, struct fterr *err)
{
	json_t *answer;
	int ret = etcd_ask(t, "/v3/lease/revoke", json_pack("{ss}", "ID", lease), &answer, err);

	json_decref(answer);
	return ret == -ENOENT ? 0 : ret;
}

static int new_lease(struct etcd_talk *t, unsigned int lease_s, char *lease, size_t size,
		     struct fterr *err)
{
	char ttl[16];
	json_t *answer;
	int ret;

	snprintf(ttl, sizeof(ttl), "%u", lease_s);
	ret = etcd_ask(t, "/v3/lease/grant", json_pack("{ss}", "TTL", ttl), &answer, err);
	if (ret)
		return ret;
	number_of(answer, "ID", lease, size);
	json_decref(answer);
	return *lease ? 0 : ft_fail(err, -EPROTO, "etcd's answer makes no sense: no lease; see its version");
}

static int begin(struct etcd_talk *t, unsigned int lease_s, const char *session, const char *pair_name,
		 struct fterr *err)
{
	json_t *missing, *puts;
	struct record record;
	char lease[24];
	bool done;
	int ret;

	ret = new_lease(t, lease_s, lease, sizeof(lease), err);
	if (ret)
		return ret;
	missing = json_pack("{ss ss so ss}", "target", "VERSION", "result", "EQUAL",
			    "key", state_key(session), "version", "0");
	puts = json_pack("[{s{so so ss}} {s{so so ss}}]",
			 "request_put", "key", state_key(session), "value", etcd_bytes(UNDECIDED), "lease", lease,
			 "request_put", "key", key_of(session, "/pair"), "value", etcd_bytes(pair_name), "lease", lease);
	ret = transact(t, session, missing, puts, &done, &record, err);
	/* Its lease is this one: it is ours, by an endpoint whose answer was lost. */
	if (ret || done || (record.there && !strcmp(record.lease, lease)))
		return ret;
	end_lease(t, lease, NULL);
	return ft_fail(err, -EEXIST, "there is a session %s already; take another UUID", session);
}

static int etcd_begin(void *arg, const char *session, const char *pair_name, int64_t deadline, struct fterr *err)
{
	struct arbiter_etcd *e = arg;
	struct etcd_talk t;
	int ret = etcd_hello(e->etcd, &t, deadline, err);

	if (ret)
		return ret;
	ret = begin(&t, e->lease_s, session, pair_name, err);
	etcd_bye(&t);
	/* Only a lease can be what is not there, and that is to be tried again. */
	return ret == -ENOENT ? ft_fail(err, -EAGAIN, "etcd lost the session's lease at once; try again") : ret;
}

static int keep(struct etcd_talk *t, const char *session, struct fterr *err)
{
	struct record record;
	json_t *answer;
	char ttl[24];
	int ret = look(t, session, &record, err);

	if (ret)
		return ret;
	if (!record.there)
		return arbiter_none(session, err);
	if (strcmp(record.state, UNDECIDED))
		return arbiter_decided(session, record.state + strlen(WON), err);
	ret = etcd_ask(t, "/v3/lease/keepalive", json_pack("{ss}", "ID", record.lease), &answer, err);
	if (ret)
		return ret;
	number_of(json_object_get(answer, "result"), "TTL", ttl, sizeof(ttl));
	json_decref(answer);
	/* A lease that ended meanwhile has no time left. */
	return *ttl ? 0 : arbiter_none(session, err);
}

static int etcd_keep(void *arg, const char *session, int64_t deadline, struct fterr *err)
{
	struct arbiter_etcd *e = arg;
	struct etcd_talk t;
	int ret = etcd_hello(e->etcd, &t, deadline, err);

	if (ret)
		return ret;
	ret = keep(&t, session, err);
	etcd_bye(&t);
	return ret;
}

static int claim(struct etcd_talk *t, const char *session, enum arbiter_role role, const char *who, bool *won,
		 struct fterr *err)
{
	const char *word = arbiter_roles[role], *winner;
	json_t *undecided, *put;
	struct record record;
	char value[300];
	bool done;
	int ret;

	snprintf(value, sizeof(value), WON "%s", who);
	undecided = json_pack("{ss ss so so}", "target", "VALUE", "result", "EQUAL",
			      "key", state_key(session), "value", etcd_bytes(UNDECIDED));
	put = json_pack("[{s{so so sb}}]",
			"request_put", "key", state_key(session), "value", etcd_bytes(value), "ignore_lease", 1);
	ret = transact(t, session, undecided, put, &done, &record, err);
	if (ret)
		return ret;
	if (done) {
		*won = true;
		return 0;
	}
	if (!record.there)
		return arbiter_none(session, err);
	if (strncmp(record.state, WON, strlen(WON)))
		return ft_fail(err, -EPROTO, "session %s is in no state (\"%.80s\"); see who else writes there",
			       session, record.state);
	winner = record.state + strlen(WON);
	*won = !strncmp(winner, word, strlen(word)) && (!winner[strlen(word)] || winner[strlen(word)] == ' ');
	return 0;
}

static int etcd_claim(void *arg, const char *session, enum arbiter_role role, const char *who, bool *won,
		      int64_t deadline, struct fterr *err)
{
	struct arbiter_etcd *e = arg;
	struct etcd_talk t;
	int ret = etcd_hello(e->etcd, &t, deadline, err);

	if (ret)
		return ret;
	ret = claim(&t, session, role, who, won, err);
	etcd_bye(&t);
	return ret;
}

static int end(struct etcd_talk *t, const char *session, struct fterr *err)
{
	struct record record;
	int ret = look(t, session, &record, err);

	/* With the lease goes what has it. */
	return ret || !record.there ? ret : end_lease(t, record.lease, err);
}

static int etcd_end(void *arg, const char *session, int64_t deadline, struct fterr *err)
{
	struct arbiter_etcd *e = arg;
	struct etcd_talk t;
	int ret = etcd_hello(e->etcd, &t, deadline, err);

	if (ret)
		return ret;
	ret = end(&t, session, err);
	etcd_bye(&t);
	return ret;
}

static int etcd_open(const struct ftconfig *c, void **arg, struct fterr *err)
{
	struct arbiter_etcd *e = calloc(1, sizeof(*e));
	int ret;

	if (!e)
		return ft_fail(err, -ENOMEM, "no memory for an arbiter");
	e->lease_s = c->arbiter.lease_s;
	ret = etcd_new(c, &e->etcd, err);
	if (ret)
		free(e);
	else
		*arg = e;
	return ret;
}

static void etcd_close(void *arg)
{
	struct arbiter_etcd *e = arg;

	etcd_free(e->etcd);
	free(e);
}

const struct arbiter_engine arbiter_etcd = {
	.name = "etcd",
	.open = etcd_open,
	.close = etcd_close,
	.begin = etcd_begin,
	.keep = etcd_keep,
	.claim = etcd_claim,
	.end = etcd_end,
};
