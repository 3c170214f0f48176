/* SPDX-License-Identifier: GPL-2.0 */
/* What failover.c and failover_ask.c share. */
#ifndef FTKVM_FAILOVER_INTERNAL_H
#define FTKVM_FAILOVER_INTERNAL_H

#include "failover.h"
#include "heard.h"
#include "job.h"

/* Both do not change between these two; the main loop needs neither. */
void failover_use(void);
void failover_leave(void);
extern struct ftconfig *failover_config;
extern struct arbiter *failover_arbiter;

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
