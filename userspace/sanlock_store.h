/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device that both hosts reach, with sanlock's lockspace, one of its leases, and behind
 * them the sessions:
 *
 *	0		lockspace "ftkvm": one of it each host has, for as long as it lives
 *	1 * align	lease "sessions"
 *	2 * align	STORE_SLOTS records of a sector each, all zeros or a session
 *	  behind them	as many, with when it was kept
 *
 * where align is sanlock's, 1 MiB for sectors of 512 bytes, 8 for those of 4096. What a
 * record says is changed only by who has the lease, and read by all: sectors are whole, and
 * what is not is seen by its sum. When a session was kept is written without the lease, by
 * anybody, so that nobody has that often: who dies with it keeps the others from it until
 * sanlock holds his host for dead.
 */
#ifndef FTKVM_SANLOCK_STORE_H
#define FTKVM_SANLOCK_STORE_H

#include "arbiter_engine.h"

#define STORE_LOCKSPACE		"ftkvm"
#define STORE_RESOURCE		"sessions"
#define STORE_SLOTS		512

/* Of the records, and when they were kept, in bytes. */
#define STORE_TABLE(sector)	(2 * STORE_SLOTS * (sector))

/**
 * struct store_seen - a record, as this host has seen it
 * @session, @kept, @state: what was in it; no session: nothing
 * @since: since when it is so, by ft_now_ms()
 *
 * Hosts' clocks differ, and a device has none: so a host takes only what it has itself seen
 * unchanged for long enough as expired.
 */
struct store_seen {
	char session[SESSION_LEN + 4];
	uint64_t kept;
	uint32_t state;
	int64_t since;
};

enum store_order { STORE_BEGIN, STORE_KEEP, STORE_CLAIM, STORE_END };

/**
 * struct store_question - what a child asks of it
 * @order: what
 * @path, @host_id: of the configuration
 * @lease_ms: after so long without being kept a session is forgotten
 * @session, @role, @text: of @order; @text is for people
 * @deadline: of ft_now_ms(): nothing is written after it
 * @seen: STORE_SLOTS of them, which ftd and its children share
 */
struct store_question {
	enum store_order order;
	const char *path;
	unsigned int host_id;
	int64_t lease_ms;
	const char *session;
	enum arbiter_role role;
	const char *text;
	int64_t deadline;
	struct store_seen *seen;
};

/* What went wrong; arbiter_sanlock.c has words for each. */
enum store_fault {
	STORE_GOOD, STORE_DAEMON, STORE_OPEN, STORE_KIND, STORE_REACH, STORE_FORMAT, STORE_SMALL, STORE_JOIN, STORE_JOINING,
	STORE_LOST, STORE_LEASE, STORE_HELD, STORE_DEAD, STORE_READ, STORE_WRITE, STORE_DAMAGED, STORE_FULL, STORE_LATE,
	STORE_NONE, STORE_DECIDED, STORE_THERE,
};

/**
 * struct store_reply - what it says
 * @fault: STORE_GOOD, or what went wrong
 * @code: negative, an errno or one of sanlock's
 * @align, @sector: as the device is laid out, or would be
 * @slot: which record is damaged
 * @won, @winner: a claim's verdict, and who has won
 */
struct store_reply {
	enum store_fault fault;
	int code;
	unsigned int align, sector, slot;
	bool won;
	enum arbiter_role winner;
};

/**
 * store_run() - ask
 * @question: a struct store_question
 * @reply: a struct store_reply, all zeros
 *
 * For arbiter_child_send(): blocks for as long as the device and sanlock do. It has the lease for some
 * milliseconds; sanlock kills who has it when it loses its lockspace, so this must not be ftd.
 */
void store_run(const void *question, void *reply);

/**
 * store_join() - have sanlock join the lockspace
 * @path, @host_id: of the configuration
 *
 * Blocks for some 20 s if all is well, and for minutes if not.
 * Return: 0 (it is in it, or about to be), or what sanlock says
 */
int store_join(const char *path, unsigned int host_id);

#endif
