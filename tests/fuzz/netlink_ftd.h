/* SPDX-License-Identifier: GPL-2.0 */
/*
 * netlink_replica.c is compiled with the kernel's headers, netlink_ftd.c, which hears
 * the module's answers as ftd does, with libmnl's. This is between them.
 */
#ifndef FTKVM_FUZZ_NETLINK_FTD_H
#define FTKVM_FUZZ_NETLINK_FTD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A replica's figures, in the order of struct ftreplica; or an event's. */
struct world_replica {
	const char *name, *peer, *detail, *disks_detail, *module_version;
	uint32_t state, role, pid, reason, counter, timeout_ms, proto_version, event;
	uint64_t period_min, period_max, margin, token;
	const uint64_t *stats;	/* by FTKVM_STAT_*, those that there are */
};

/* A device's, in the order of struct ftdev. */
struct world_device {
	const char *name, *detail, *storage_detail;
	uint32_t no, kind, pid;
	uint64_t capacity;
	bool readonly, shared;
	const uint64_t *stats;	/* by FTKVM_DEV_STAT_*, all of them */
};

/* Does ftd understand the message at @nlh as just that? */
bool ftd_hears_replica(const void *nlh, const struct world_replica *r);
bool ftd_hears_event(const void *nlh, const struct world_replica *r);
bool ftd_hears_device(const void *nlh, const struct world_device *d);
/* What DEV_STOP answers; ~0u: nothing that ftd understands. */
uint32_t ftd_hears_base(const void *nlh);
/* What DEV_TRACK answers. */
uint32_t ftd_hears_track(const void *nlh);
/* What DEV_DIRTY answers: @n parts, made by @make from their number. */
bool ftd_hears_dirty(const void *nlh, unsigned int n,
		     void (*make)(uint32_t i, unsigned long long *at, unsigned long long *bytes),
		     uint64_t left);
/* The only stat that PROMOTE's answer has. */
bool ftd_hears_takeover(const void *nlh, uint64_t ns);
/* The text before an error, and the error's own; room for FTKVM_ERROR_MAX + 1. */
void ftd_hears_detail(const void *nlh, char *text, size_t size);
void ftd_hears_extack(const void *nlh, char *text, size_t size);
/*
 * CHECK's answer: problems out of @n, in their order, made by @make from their number.
 * Return: how many, ~0u if something is not as it should be.
 */
unsigned int ftd_hears_problems(const void *nlh, unsigned int n, const char *version,
				uint32_t proto,
				void (*make)(unsigned int i, uint32_t *scope, char *cause,
					     char *remedy));

#endif
