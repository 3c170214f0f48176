/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Epoch rules: when the primary ends an epoch, how far the backup may run and
 * how it lands. Pure decisions; kvm/ carries them out.
 */
#ifndef FTKVM_CORE_EPOCH_H
#define FTKVM_CORE_EPOCH_H

#include <linux/bits.h>

#include "types.h"

#define FTKVM_PERIOD_MIN	1000ull
#define FTKVM_PERIOD_MAX	BIT_ULL(30)
#define FTKVM_PERIOD_RETRY	16ull	/* events to the next try after an unfit exit */
#define FTKVM_PERIOD_LEAST	2ull	/* counters can't be set to fewer events */

/**
 * struct ftkvm_epoch - the epoch that runs
 * @nr: its number, from 0
 * @start: event count at which it began
 * @len: no END with inputs lies before @start + @len, but at a synchronising exit
 * @min: shortest @len
 * @max: longest @len
 * @quiet: epochs in a row that ended without an input
 */
struct ftkvm_epoch {
	u64 nr;
	u64 start;
	u64 len;
	u64 min;
	u64 max;
	u32 quiet;
};

/* Where the primary is when it asks. */
enum ftkvm_place {
	FTKVM_PLACE_ASYNC,	/* an exit of the host's making */
	FTKVM_PLACE_SYNC,	/* a synchronising exit, or the guest comes to a halt */
	FTKVM_PLACE_HALT,	/* the guest is halted, and had nothing to do */
};

/* -ERANGE unless FTKVM_PERIOD_MIN <= min <= max <= FTKVM_PERIOD_MAX */
int ftkvm_epoch_init(struct ftkvm_epoch *e, u64 min, u64 max);

/*
 * Must or may the primary end the epoch here? @fit: the execution point is one
 * that the backup can land on; @inputs: inputs are queued.
 * ASYNC: when count has reached start + len and the point is fit.
 * SYNC, HALT: when inputs are queued.
 */
bool ftkvm_epoch_due(const struct ftkvm_epoch *e, u64 count, enum ftkvm_place place,
		     bool fit, bool inputs);

/*
 * Close the epoch at @count and open the next: adapts @len (back to @min when
 * an input may have waited so long, doubling towards @max after every second quiet one).
 * Return: the new epoch's len, which goes into the END record.
 */
u64 ftkvm_epoch_end(struct ftkvm_epoch *e, u64 count, enum ftkvm_place place, bool had_inputs);

/* The backup's side of ftkvm_epoch_end(): the same, with the length it is told. */
void ftkvm_epoch_follow(struct ftkvm_epoch *e, u64 count, u64 next_len);

/*
 * Primary: events until the counter must overflow; FTKVM_PERIOD_RETRY when the
 * epoch's length has passed already (the last exit was unfit).
 */
u64 ftkvm_epoch_left(const struct ftkvm_epoch *e, u64 count);

/* What the backup does next. */
enum ftkvm_step {
	FTKVM_STEP_RUN,		/* run; overflow after *left events */
	FTKVM_STEP_WAIT,	/* wait for a record */
	FTKVM_STEP_SEEK,	/* run with a breakpoint at the target's RIP */
	FTKVM_STEP_LANDED,	/* it is there */
	FTKVM_STEP_PASSED,	/* it is past it: the replicas have diverged */
};

/*
 * Next step with no record in hand. @margin: how late an overflow may be, events.
 * RUN while an overflow comes before start + len even @margin late (*left:
 * events until it), else WAIT.
 */
enum ftkvm_step ftkvm_backup_free(const struct ftkvm_epoch *e, u64 count, u64 margin,
				  u64 *left);

/*
 * Next step towards an END with inputs at @target. @now: where the backup is.
 * RUN (*left) while an overflow comes before target->count even @margin late;
 * then SEEK (*left: events until it is certain that the target was missed);
 * LANDED when all three agree; PASSED when now->count > target->count.
 */
u64 ftkvm_backup_missed(u64 count, u64 target, u64 margin);
enum ftkvm_step ftkvm_backup_land(const struct ftkvm_point *now,
				  const struct ftkvm_point *target, u64 margin, u64 *left);

/*
 * Next step towards a record of a synchronising exit.
 * RUN while now->count <= target->count, with *left: events until it is certain
 * that the exit was missed (target - now + margin + 1); PASSED behind it.
 */
enum ftkvm_step ftkvm_backup_meet(const struct ftkvm_point *now,
				  const struct ftkvm_point *target, u64 margin, u64 *left);

#endif
