/* SPDX-License-Identifier: GPL-2.0 */
/* What arbiter.c asks of a kind of arbiter. */
#ifndef FTKVM_ARBITER_ENGINE_H
#define FTKVM_ARBITER_ENGINE_H

#include "arbiter.h"

#define SESSION_LEN	36

enum arbiter_role {
	ROLE_PRIMARY,
	ROLE_BACKUP,
	ROLES,
};

/**
 * struct arbiter_engine - a kind of arbiter
 * @name: as in the configuration
 * @open: copies what it needs of the configuration; to be @close d
 * @begin, @keep, @claim, @end: as those of arbiter.h, what they are given is in order; each
 *	returns before @deadline (of ft_now_ms()), and writes @err if it fails. @who has the
 *	word for @role and what is for people.
 */
struct arbiter_engine {
	const char *name;
	int (*open)(const struct ftconfig *c, void **e, struct fterr *err);
	void (*close)(void *e);
	int (*begin)(void *e, const char *session, const char *pair_name, int64_t deadline, struct fterr *err);
	int (*keep)(void *e, const char *session, int64_t deadline, struct fterr *err);
	int (*claim)(void *e, const char *session, enum arbiter_role role, const char *who, bool *won,
		     int64_t deadline, struct fterr *err);
	int (*end)(void *e, const char *session, int64_t deadline, struct fterr *err);
};

extern const struct arbiter_engine arbiter_file, arbiter_etcd, arbiter_sanlock;

/* "primary", "backup" */
extern const char *const arbiter_roles[ROLES];

/**
 * arbiter_none() - say that there is no such session
 * @session: which
 * @err: gets the text
 * Return: -ENOENT
 */
int arbiter_none(const char *session, struct fterr *err);

/**
 * arbiter_decided() - say that a session has a winner
 * @session: which
 * @who: the winner
 * @err: gets the text
 * Return: -EALREADY
 */
int arbiter_decided(const char *session, const char *who, struct fterr *err);

#endif
