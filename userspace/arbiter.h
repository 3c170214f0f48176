/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which side of a pairing goes on when they have lost each other is decided by a third
 * place that both reach. It holds a record for each session, that is: from the time that a
 * guest is paired until it is not any more. A session is named by a UUID that the primary's
 * ftd makes.
 *
 *	(none) --begin--> paired --claim--> won by one side
 *
 * A claim wins only by changing a record that is there and undecided, in one step that is
 * atomic for all hosts. So a record that is not there (never was, ended, or expired)
 * makes nobody win, and one that has a winner keeps it.
 *
 * All calls block, but not longer than timeout-ms of the configuration (and what the
 * scheduler adds); any thread may make them, also several at a time.
 */
#ifndef FTKVM_ARBITER_H
#define FTKVM_ARBITER_H

#include <stdbool.h>
#include "config.h"
#include "util.h"

struct arbiter;

/**
 * arbiter_new() - make the arbiter that the configuration asks for
 * @c: the configuration; not used any more afterwards
 * @a: gets it; arbiter_free() it
 * @err: gets a text if that fails
 *
 * Asks nobody anything: whether it answers is seen at the first question.
 * Return: 0 or -errno
 */
int arbiter_new(const struct ftconfig *c, struct arbiter **a, struct fterr *err);

/**
 * arbiter_free() - let go of an arbiter
 * @a: of arbiter_new(), or NULL; no call with it may be under way
 */
void arbiter_free(struct arbiter *a);

/**
 * arbiter_type() - its type, as in the configuration
 * @a: the arbiter
 * Return: "manual", "file", "etcd" or "sanlock"
 */
const char *arbiter_type(const struct arbiter *a);

/**
 * arbiter_decides() - is there anybody to ask?
 * @a: the arbiter
 * Return: false for a manual one, where all calls below fail with -EOPNOTSUPP
 */
bool arbiter_decides(const struct arbiter *a);

/**
 * arbiter_begin() - have an undecided record of a new session
 * @a: the arbiter
 * @session: a UUID, 36 characters
 * @pair_name: for people who look at the records
 * @err: gets a text if that fails
 *
 * If the answer was lost there may be a record or not: take another UUID then. The record
 * is forgotten lease-s after its last arbiter_begin() or arbiter_keep().
 * Return: 0, -EEXIST (there is one already), or another -errno
 */
int arbiter_begin(struct arbiter *a, const char *session, const char *pair_name, struct fterr *err);

/**
 * arbiter_keep() - see that a session is undecided, and renew its lease
 * @a: the arbiter
 * @session: its UUID
 * @err: gets a text if that fails
 * Return: 0, -ENOENT (there is no such session, any more), -EALREADY (it is decided), or
 * another -errno: not known
 */
int arbiter_keep(struct arbiter *a, const char *session, struct fterr *err);

/**
 * arbiter_claim() - ask to be the side that goes on
 * @a: the arbiter
 * @session: its UUID
 * @who: "primary" or "backup", and behind a space something for people, such as the host's name
 * @won: gets the verdict if 0 is returned
 * @err: gets a text otherwise
 *
 * The same side (the first word of @who) may ask again, after a lost answer for example, and
 * gets the same verdict.
 * Return: 0, -ENOENT (there is no such session: it will never make anybody win), or another
 * -errno: not known, ask again
 */
int arbiter_claim(struct arbiter *a, const char *session, const char *who, bool *won, struct fterr *err);

/**
 * arbiter_end() - forget a session that ended in order
 * @a: the arbiter
 * @session: its UUID; that there is none is no error
 * @err: gets a text if that fails
 * Return: 0 or -errno: it may be there still, until its lease is over
 */
int arbiter_end(struct arbiter *a, const char *session, struct fterr *err);

#endif
