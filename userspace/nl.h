/* SPDX-License-Identifier: GPL-2.0 */
/* Generic netlink to the module: <linux/ftkvm.h> says what the commands mean. */
#ifndef FTKVM_NL_H
#define FTKVM_NL_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/ftkvm.h>
#include <libmnl/libmnl.h>
#include "util.h"

/* A socket to the family. One thread at a time. */
struct ftnl {
	struct mnl_socket *sock;
	uint32_t seq;
	uint32_t group;		/* the multicast group "events" */
	uint16_t family;
	char *buf;
};

/* What GET tells of a replica. */
struct ftreplica {
	char name[FTKVM_NAME_MAX + 1];
	char peer[FTKVM_PEER_MAX + 1];
	char detail[FTKVM_DETAIL_MAX + 1];
	char disks_detail[FTKVM_DETAIL_MAX + 1];
	char module_version[64];
	uint32_t state, role, pid, reason, counter, timeout_ms, verify_every, on_loss, proto_version;
	uint64_t period_min, period_max, margin, token;
	uint64_t stats[FTKVM_STAT_MAX + 1];
	bool has_stat[FTKVM_STAT_MAX + 1];
};

struct ftevent {
	char name[FTKVM_NAME_MAX + 1];
	char detail[FTKVM_DETAIL_MAX + 1];
	uint32_t event, state, role, reason;
	uint64_t time_ns;	/* CLOCK_BOOTTIME */
};

struct ftproblem {
	char cause[512];
	char remedy[512];
	uint32_t scope;
};

struct ftproblems {
	char module_version[64];
	uint32_t proto_version;
	size_t n;
	struct ftproblem *list;
};

/* What may be said in PAIR and, but for @token, SET; zero: not said, but for @verify_every. */
struct ftsettings {
	uint64_t period_min, period_max, margin, token;
	uint32_t counter, timeout_ms, on_loss;
	uint32_t verify_every;
	bool verify_said;
};

/**
 * ftnl_open() - connect to the module
 * Return: 0, or -errno with a text: -ENOENT when the module is not loaded
 */
int ftnl_open(struct ftnl *nl, struct fterr *err);
void ftnl_close(struct ftnl *nl);

/* Each opens a socket of its own, so that any thread may call it. 0 or -errno. */
int ftnl_attach(const char *name, int vm_fd, struct fterr *err);
int ftnl_detach(const char *name, struct fterr *err);
int ftnl_unpair(const char *name, struct fterr *err);
int ftnl_fence(const char *name, struct fterr *err);
/* Begins; FTKVM_STAT_VERIFIES tells of the end. */
int ftnl_verify(const char *name, struct fterr *err);
/* @on: begins, FTKVM_STAT_DISK_VERIFIES or _GIVEN_UP tells of the end; else ends it. */
int ftnl_verify_disks(const char *name, bool on, struct fterr *err);
/* Blocks until both modules agree or not. @pair_name: "" for the replica's name. */
int ftnl_pair(const char *name, uint32_t role, int sock_fd, const char *peer,
	      const char *pair_name, const struct ftsettings *set, struct fterr *err);
/* The pairing that began with @token has a second path: @sock_fd. */
int ftnl_second(const char *name, int sock_fd, uint64_t token, struct fterr *err);
/* Blocks until the guest is live. -EAGAIN when the replica is not in @state any more. */
int ftnl_promote(const char *name, bool force, uint32_t state, uint64_t *takeover_ns,
		 struct fterr *err);
int ftnl_get(const char *name, struct ftreplica *r, struct fterr *err);
/* All replicas; the caller frees *@list. */
int ftnl_dump(struct ftreplica **list, size_t *n, struct fterr *err);
int ftnl_set(const char *name, const struct ftsettings *set, struct fterr *err);
/* @name or NULL, @vm_fd or -1; adds to @problems, whose list the caller frees. */
int ftnl_check(const char *name, int vm_fd, struct ftproblems *problems, struct fterr *err);

/* Append a problem; out of memory ends the program. */
void ftproblem_add(struct ftproblems *p, uint32_t scope, const char *remedy,
		   const char *cause_fmt, ...) __printf(4, 5);

/**
 * ftnl_open_events() - a non-blocking socket that hears the module's events
 *
 * It also hears the module come and go: it may be opened before the module is
 * loaded (nl->family is 0 then).
 */
int ftnl_open_events(struct ftnl *nl, struct fterr *err);

enum ftnl_news { FTNL_NEWS_EVENT, FTNL_NEWS_LOADED, FTNL_NEWS_UNLOADED, FTNL_NEWS_LOST };

/* @event is NULL but for FTNL_NEWS_EVENT. LOST: events came faster than they were read. */
typedef void (*ftnl_news_fn)(enum ftnl_news news, const struct ftevent *event, void *arg);

/* Read what is there; 0, or -errno when the socket is of no more use. */
int ftnl_read_events(struct ftnl *nl, ftnl_news_fn fn, void *arg);

#endif
