/* SPDX-License-Identifier: GPL-2.0 */
/* What failover.c and failover_ask.c share. */
#ifndef FTKVM_FAILOVER_INTERNAL_H
#define FTKVM_FAILOVER_INTERNAL_H

#include "failover.h"
#include "heard.h"
#include "job.h"

/**
 * struct failover_by - what it is decided by: the configuration, and the arbiter that it names
 * @users: who has it; under failover.c's lock
 *
 * Does not change once it is made: another configuration has another one, from the next use on.
 */
struct failover_by {
	unsigned int users;
	struct ftconfig *config;
	struct arbiter *arbiter;
};

/* What there is now stays until it is left, however long that takes. */
struct failover_by *failover_use(void);
void failover_leave(struct failover_by *by);

/* What is to be done. */
enum outcome {
	NOTHING,	/* its peer is there */
	AGAIN,		/* not known */
	PROMOTE,
	FENCE,
	OVER,		/* nobody needs the session any more */
};

/* Who goes on? A job that asks it, once, and what came of it. */
struct ask {
	struct job job;
	struct failover_by *by;	/* the work's */
	char name[FTKVM_NAME_MAX + 1], session[FT_SESSION_MAX + 1];
	bool leads;	/* this host began it */
	bool unused;	/* ... and told nobody of it */
	uint32_t said;	/* hash of what was logged last of why there is no answer */
	bool deferred;	/* ... or that the primary is waited for */
	uint64_t defer_ms;	/* it is, for so long, and nobody was asked */
	bool lags;	/* nor is it while the log is consumed */
	struct ftlag lag;
	bool told;	/* the arbiter was asked: @heard, and @text more of it */
	enum ftheard_what heard;
	const char *text;
	enum outcome outcome;
	struct fterr err;
};

/* The job's work: finds the outcome, and what it was told by. */
void failover_ask_work(struct job *job);

#endif
