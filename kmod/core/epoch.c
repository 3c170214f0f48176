// SPDX-License-Identifier: GPL-2.0
/*
 * Epoch rules: pure arithmetic on event counts.
 *
 * Counts come from the peer too, so sums saturate instead of wrapping: a
 * target that nobody can reach must not turn into one that was passed.
 */
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/overflow.h>

#include "epoch.h"

static u64 add_sat(u64 a, u64 b)
{
	u64 sum;

	return check_add_overflow(a, b, &sum) ? U64_MAX : sum;
}

static u64 ftkvm_epoch_limit(const struct ftkvm_epoch *e)
{
	return add_sat(e->start, e->len);
}

/**
 * ftkvm_epoch_init() - the first epoch, at count 0
 * @e: the epoch
 * @min: shortest length, events
 * @max: longest length, events
 *
 * Context: Any.
 * Return: 0, or -ERANGE unless FTKVM_PERIOD_MIN <= @min <= @max <=
 * FTKVM_PERIOD_MAX.
 */
int ftkvm_epoch_init(struct ftkvm_epoch *e, u64 min, u64 max)
{
	if (min < FTKVM_PERIOD_MIN || min > max || max > FTKVM_PERIOD_MAX)
		return -ERANGE;

	*e = (struct ftkvm_epoch) { .len = min, .min = min, .max = max };
	return 0;
}

/**
 * ftkvm_epoch_due() - does the primary end the epoch here?
 * @e: the epoch
 * @count: the guest's event count
 * @place: where the primary is
 * @fit: the execution point is one that the backup can land on
 * @inputs: inputs are queued
 *
 * At a synchronising exit, and while halted, the backup stops of its own
 * accord: inputs can be placed there at once, whatever the count and with no
 * landing, and without inputs there is nothing to end the epoch for. Anywhere
 * else the backup may have run up to the epoch's length already, and it has to
 * be able to land.
 *
 * Context: Any.
 * Return: whether it does.
 */
bool ftkvm_epoch_due(const struct ftkvm_epoch *e, u64 count, enum ftkvm_place place,
		     bool fit, bool inputs)
{
	if (place != FTKVM_PLACE_ASYNC)
		return inputs;
	return fit && count >= ftkvm_epoch_limit(e);
}

static void ftkvm_epoch_next(struct ftkvm_epoch *e, u64 count, u64 len)
{
	/* the link tells the peer of it meanwhile */
	WRITE_ONCE(e->nr, e->nr + 1);
	e->start = count;
	e->len = len;
}

/**
 * ftkvm_epoch_end() - primary: close the epoch and open the next
 * @e: the epoch
 * @count: where it ends
 * @place: where the primary is
 * @had_inputs: inputs are delivered there
 *
 * The length falls to its minimum when an input may have waited longer than that,
 * because more tend to follow, and doubles after every second quiet epoch. One for
 * which a halted guest was woken did not wait, nor did one at a synchronising exit
 * before the minimum: they change nothing.
 *
 * Context: Any.
 * Return: the new epoch's length, which goes into the END record.
 */
u64 ftkvm_epoch_end(struct ftkvm_epoch *e, u64 count, enum ftkvm_place place, bool had_inputs)
{
	u64 len = e->len;

	if (place == FTKVM_PLACE_HALT ||
	    (place == FTKVM_PLACE_SYNC && (!had_inputs || count < add_sat(e->start, e->min)))) {
		/* as it is */
	} else if (had_inputs) {
		e->quiet = 0;
		len = e->min;
	} else if (++e->quiet % 2 == 0) {
		len = min(len * 2, e->max);
	}
	ftkvm_epoch_next(e, count, len);
	return len;
}

/**
 * ftkvm_epoch_follow() - backup: close the epoch and open the next
 * @e: the epoch
 * @count: where it ends, by the END record
 * @next_len: the next one's length, by the END record
 *
 * Context: Any.
 */
void ftkvm_epoch_follow(struct ftkvm_epoch *e, u64 count, u64 next_len)
{
	ftkvm_epoch_next(e, count, next_len);
}

/**
 * ftkvm_epoch_left() - primary: when must the counter overflow?
 * @e: the epoch
 * @count: the guest's event count
 *
 * Context: Any.
 * Return: events until then, FTKVM_PERIOD_LEAST or more; FTKVM_PERIOD_RETRY
 * when the epoch's length has passed already, because the last exit was unfit.
 */
u64 ftkvm_epoch_left(const struct ftkvm_epoch *e, u64 count)
{
	u64 limit = ftkvm_epoch_limit(e);

	if (count >= limit)
		return FTKVM_PERIOD_RETRY;
	return max(limit - count, FTKVM_PERIOD_LEAST);
}

/*
 * Events that the backup may set its counter to when it must not come to count
 * @limit, 0 for none. Not even to its first instant: instructions that are no
 * events, and a REP's iterations, make many instants of one count, and a late
 * overflow may stop at any of them.
 */
static u64 ftkvm_backup_ahead(u64 count, u64 limit, u64 margin)
{
	u64 keep_off = add_sat(margin, 1);
	u64 left;

	if (limit <= count || limit - count <= keep_off)
		return 0;
	left = limit - count - keep_off;
	return left < FTKVM_PERIOD_LEAST ? 0 : left;
}

/**
 * ftkvm_backup_free() - backup: next step with no record in hand
 * @e: the epoch
 * @count: where the backup is
 * @margin: how late an overflow may be, events
 * @left: RUN: events until the counter must overflow
 *
 * Context: Any.
 * Return: RUN while an overflow comes before the epoch's start + length even
 * @margin events late, else WAIT.
 */
enum ftkvm_step ftkvm_backup_free(const struct ftkvm_epoch *e, u64 count, u64 margin,
				  u64 *left)
{
	*left = ftkvm_backup_ahead(count, ftkvm_epoch_limit(e), margin);
	return *left ? FTKVM_STEP_RUN : FTKVM_STEP_WAIT;
}

/**
 * ftkvm_backup_missed() - backup: how far to run for a target that must come
 * @count: where the backup is
 * @target: the target's count, not less
 * @margin: how late an overflow may be, events
 *
 * Context: Any.
 * Return: events after which a target that was not met has certainly been missed.
 */
u64 ftkvm_backup_missed(u64 count, u64 target, u64 margin)
{
	u64 left = add_sat(target - count, add_sat(margin, 1));

	return max(left, FTKVM_PERIOD_LEAST);
}

/**
 * ftkvm_backup_land() - backup: next step towards an END with inputs
 * @now: where the backup is
 * @target: where the END is, not at a synchronising exit
 * @margin: how late an overflow may be, events
 * @left: RUN, SEEK: events until the counter must overflow
 *
 * Context: Any.
 * Return: RUN while an overflow comes before the target's count even @margin
 * events late, then SEEK (@left: until the target was certainly missed); LANDED
 * when count, RIP and RCX agree; PASSED behind the target's count.
 */
enum ftkvm_step ftkvm_backup_land(const struct ftkvm_point *now,
				  const struct ftkvm_point *target, u64 margin, u64 *left)
{
	*left = 0;
	if (now->count > target->count)
		return FTKVM_STEP_PASSED;
	if (now->count == target->count && now->rip == target->rip &&
	    now->rcx == target->rcx)
		return FTKVM_STEP_LANDED;

	*left = ftkvm_backup_ahead(now->count, target->count, margin);
	if (*left)
		return FTKVM_STEP_RUN;
	*left = ftkvm_backup_missed(now->count, target->count, margin);
	return FTKVM_STEP_SEEK;
}

/**
 * ftkvm_backup_meet() - backup: next step towards a synchronising exit's record
 * @now: where the backup is
 * @target: where the record is
 * @margin: how late an overflow may be, events
 * @left: RUN: events until the exit was certainly missed
 *
 * The guest itself stops at the exit; the overflow is only there to find out
 * that it did not. Whether the exit is the record's is up to the caller.
 *
 * Context: Any.
 * Return: RUN, PASSED behind the target's count.
 */
enum ftkvm_step ftkvm_backup_meet(const struct ftkvm_point *now,
				  const struct ftkvm_point *target, u64 margin, u64 *left)
{
	*left = 0;
	if (now->count > target->count)
		return FTKVM_STEP_PASSED;
	*left = ftkvm_backup_missed(now->count, target->count, margin);
	return FTKVM_STEP_RUN;
}
