/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's live migration, by which a running guest gets its second replica: the state
 * of its machine is copied, and the guest goes on where it was all the same.
 */
#ifndef FTKVM_MIGRATE_H
#define FTKVM_MIGRATE_H

#include "qmp.h"

enum ftmigrate {
	FTMIGRATE_NONE,
	FTMIGRATE_ACTIVE,
	FTMIGRATE_READY,	/* the source is stopped, and waits to be told to complete it */
	FTMIGRATE_COMPLETED,
	FTMIGRATE_FAILED,	/* or cancelled */
};

/**
 * struct ftmigration - how far is it?
 * @step: enum ftmigrate
 * @done: bytes of memory that were sent, or need not be
 * @total: of how many
 * @downtime_ms: COMPLETED: how long the source has been stopped then
 * @why: FAILED: as far as QEMU says
 */
struct ftmigration {
	enum ftmigrate step;
	uint64_t done, total, downtime_ms;
	char why[256];
};

#define FTMIGRATE_CAPABILITIES	2

/**
 * struct ftmigrate_was - what QEMU was set to, for migrations that are not ours
 * @known: ... as far as is known here: else another ftd has set what is in the way
 * @capabilities: those that ftmigrate_to() sets
 * @bandwidth: bytes a second
 */
struct ftmigrate_was {
	bool known, capabilities[FTMIGRATE_CAPABILITIES];
	int64_t bandwidth;
};

/**
 * ftmigrate_to() - begin to send the guest's state through a connected stream
 * @q: the source's monitor
 * @fd: QEMU gets a copy
 * @was: gets what ftmigrate_end() sets again
 * @err: gets a text if that fails
 *
 * The guest runs on, until little is left to send; then it is stopped and FTMIGRATE_READY.
 * Return: 0, or -errno with a text
 */
int ftmigrate_to(struct ftqmp *q, int fd, struct ftmigrate_was *was, struct fterr *err);

/* A QEMU that was started with "-incoming defer" takes it in. 0 or -errno. */
int ftmigrate_from(struct ftqmp *q, int fd, struct fterr *err);

/* Either side's view. 0 or -errno: QEMU does not say. */
int ftmigrate_look(struct ftqmp *q, struct ftmigration *m, struct fterr *err);

/* FTMIGRATE_READY: go on. 0 or -errno. */
int ftmigrate_complete(struct ftqmp *q, struct fterr *err);

/**
 * ftmigrate_end() - the source: leave nothing behind
 * @q: its monitor
 * @was: of ftmigrate_to(); not @known: QEMU's own values, but for a bandwidth that is not ours
 *
 * Whatever is under way is cancelled, and a later migration is nothing of ours.
 */
void ftmigrate_end(struct ftqmp *q, const struct ftmigrate_was *was);

#endif
