/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Failover without an operator. A pairing has a session at the arbiter (arbiter.h); a
 * replica that has lost its peer is held by the module, and ftd asks which of the two
 * goes on. The one that does is promoted, the other one is fenced. While the arbiter can't
 * be asked nothing is done, but again and again; an operator may decide meanwhile.
 *
 * A session ends when it is known that nobody will go on by it besides who does already:
 * the arbiter has said so, or the peer that it has stopped.
 *
 * Those that are for the main loop say so; the others block, and are for an operation's
 * thread.
 */
#ifndef FTKVM_FAILOVER_H
#define FTKVM_FAILOVER_H

#include "arbiter.h"
#include "guest.h"

/* The main loop's. Once, at the start; @config is taken over. 0 or -errno. */
int failover_init(struct ftconfig *config, struct fterr *err);
/**
 * failover_reload() - the main loop's: another configuration from here on
 * @config: taken over if 0 is returned
 *
 * The arbiter of guests that are paired can't be another one. Who is asking just now has what was there before,
 * until he has his answer.
 * Return: 0, or -errno with a text
 */
int failover_reload(struct ftconfig *config, struct fterr *err);
/* The main loop's, at the end: threads may be asking still. */
void failover_close(void);

/* The main loop's: is there an arbiter that decides? */
bool failover_decides(void);
/* The main loop's: "manual", "file", "etcd" or "sanlock". */
const char *failover_type(void);

/**
 * failover_begin() - the primary: let the arbiter know of it
 * @session: of ft_uuid()
 * @pair_name: what both call the guest
 * Return: 0, or -errno with a text; then the guest is not to be paired
 */
int failover_begin(const char *session, const char *pair_name, struct fterr *err);

/**
 * failover_disks() - may a guest with its disks be paired so that a backup goes live by itself?
 * @session: its pairing's, or "": an operator decides
 * @pid: its QEMU on this host
 *
 * What a lost host wrote last may reach storage that both share after the other one has begun to
 * write there, unless that host is fenced.
 * Return: 0, or -errno with a text
 */
int failover_disks(const char *session, pid_t pid, struct fterr *err);

/* For the peer: which session at what arbiter, in the line that asks it to pair. */
void failover_tell(const char *session, json_t *request);

/**
 * failover_told() - the main loop's: the session that the primary's line names
 * @session: gets it, or ""
 * Return: 0, or -errno with a text for the operator at the primary
 */
int failover_told(json_t *request, char *session, struct fterr *err);

/* The backup: does our arbiter know that session? 0, or -errno with a text. */
int failover_join(const char *session, struct fterr *err);

/**
 * failover_ask() - an operator wants a replica to go on: may it?
 * @session: its guest's, or ""
 * @r: the replica
 * @force: he knows better
 * Return: 0, or -errno with a text
 */
int failover_ask(const char *session, const struct ftreplica *r, bool force, struct fterr *err);

/* ... or is not to, ever: then the other one may. 0, or -errno with a text. */
int failover_cede(const char *session, const struct ftreplica *r, struct fterr *err);

/* The main loop's: the guest has this session from now on, or none (""); kept on disk, too. */
void failover_set(struct guest *g, const char *session);
/* The main loop's: something happened to a guest of ours. Also: it was found when ftd began. */
void failover_happened(struct guest *g);
/* The main loop's: no peer has been told of the session that it has, and none will be. */
void failover_unused(struct guest *g);
/* The main loop's: an operation with the guest has ended. */
void failover_look(struct guest *g);
/* The main loop's: events were lost, look at all. */
void failover_look_all(void);

#endif
