// SPDX-License-Identifier: GPL-2.0
/*
 * Epoch rules: when the primary ends an epoch, how long the next one is, how
 * far the backup may run. landing_test.c has them work together.
 */
#include <kunit/test.h>
#include <linux/prandom.h>

#include "../../kmod/core/epoch.h"

#define ROUNDS	100000

static void epoch_init(struct kunit *test)
{
	static const struct {
		u64 min, max;
		int ret;
	} cases[] = {
		{ FTKVM_PERIOD_MIN, FTKVM_PERIOD_MAX, 0 },
		{ FTKVM_PERIOD_MIN, FTKVM_PERIOD_MIN, 0 },
		{ FTKVM_PERIOD_MAX, FTKVM_PERIOD_MAX, 0 },
		{ 0, FTKVM_PERIOD_MAX, -ERANGE },
		{ FTKVM_PERIOD_MIN - 1, FTKVM_PERIOD_MAX, -ERANGE },
		{ FTKVM_PERIOD_MIN, FTKVM_PERIOD_MAX + 1, -ERANGE },
		{ FTKVM_PERIOD_MIN, U64_MAX, -ERANGE },
		{ 5000, 4999, -ERANGE },
		{ U64_MAX, U64_MAX, -ERANGE },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ftkvm_epoch e = { .nr = 7, .start = 8, .len = 9, .quiet = 3 };

		KUNIT_EXPECT_EQ(test, ftkvm_epoch_init(&e, cases[i].min, cases[i].max),
				cases[i].ret);
		if (cases[i].ret) {
			KUNIT_EXPECT_EQ(test, e.nr, 7);
			continue;
		}
		KUNIT_EXPECT_EQ(test, e.nr, 0);
		KUNIT_EXPECT_EQ(test, e.start, 0);
		KUNIT_EXPECT_EQ(test, e.len, cases[i].min);
		KUNIT_EXPECT_EQ(test, e.min, cases[i].min);
		KUNIT_EXPECT_EQ(test, e.max, cases[i].max);
		KUNIT_EXPECT_EQ(test, e.quiet, 0);
	}
}

static void epoch_due(struct kunit *test)
{
	/* an epoch of 1000 events that began at 5000 */
	static const struct ftkvm_epoch e = {
		.nr = 3, .start = 5000, .len = 1000, .min = 1000, .max = 1000,
	};
	static const struct {
		u64 count;
		enum ftkvm_place place;
		bool fit, inputs, due;
	} cases[] = {
		/* an exit of the host's making: at the epoch's length, not before */
		{ 5000, FTKVM_PLACE_ASYNC, true, false, false },
		{ 5000, FTKVM_PLACE_ASYNC, true, true, false },
		{ 5999, FTKVM_PLACE_ASYNC, true, false, false },
		{ 5999, FTKVM_PLACE_ASYNC, true, true, false },
		{ 6000, FTKVM_PLACE_ASYNC, true, false, true },
		{ 6000, FTKVM_PLACE_ASYNC, true, true, true },
		{ 9000, FTKVM_PLACE_ASYNC, true, false, true },
		{ 9000, FTKVM_PLACE_ASYNC, true, true, true },
		/* never where the backup can't land */
		{ 5999, FTKVM_PLACE_ASYNC, false, true, false },
		{ 6000, FTKVM_PLACE_ASYNC, false, false, false },
		{ 6000, FTKVM_PLACE_ASYNC, false, true, false },
		{ 9000, FTKVM_PLACE_ASYNC, false, true, false },
		/* where the backup stops by itself: for inputs, at any count */
		{ 5000, FTKVM_PLACE_SYNC, true, false, false },
		{ 5000, FTKVM_PLACE_SYNC, true, true, true },
		{ 5000, FTKVM_PLACE_SYNC, false, true, true },
		{ 6000, FTKVM_PLACE_SYNC, true, false, false },
		{ 6000, FTKVM_PLACE_SYNC, false, false, false },
		{ 6000, FTKVM_PLACE_SYNC, true, true, true },
		{ 5000, FTKVM_PLACE_HALT, true, false, false },
		{ 5000, FTKVM_PLACE_HALT, true, true, true },
		{ 5000, FTKVM_PLACE_HALT, false, true, true },
		{ 6000, FTKVM_PLACE_HALT, true, false, false },
		{ 6000, FTKVM_PLACE_HALT, false, false, false },
		{ 6000, FTKVM_PLACE_HALT, true, true, true },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_epoch_due(&e, cases[i].count, cases[i].place,
							  cases[i].fit, cases[i].inputs),
				    cases[i].due, "row %d", i);
}

static void epoch_end_adapts(struct kunit *test)
{
	static const struct {
		bool inputs;
		u64 len;
		enum ftkvm_place place;
		u64 after;
	} steps[] = {
		{ false, 1000 }, { false, 2000 }, { false, 2000 }, { false, 4000 },
		{ false, 4000 }, { false, 5000 }, { false, 5000 }, { false, 5000 },
		/* inputs that did not wait: at a halt, and so soon at an exit */
		{ true, 5000, FTKVM_PLACE_HALT }, { true, 5000, FTKVM_PLACE_SYNC, 999 },
		{ false, 5000, FTKVM_PLACE_SYNC },
		/* one that may have */
		{ true, 1000, FTKVM_PLACE_SYNC, 1000 }, { false, 1000 }, { false, 2000 },
		/* others: short at once, and two quiet epochs to the next doubling */
		{ true, 1000 }, { true, 1000 }, { false, 1000 }, { false, 2000 },
		{ false, 2000 }, { true, 1000 }, { false, 1000 }, { true, 1000 },
		/* one is quiet, whatever comes at halts meanwhile */
		{ false, 1000 }, { true, 1000, FTKVM_PLACE_HALT }, { true, 1000, FTKVM_PLACE_SYNC, 999 },
		{ false, 2000 },
	};
	struct ftkvm_epoch e;
	u64 count = 0;
	int i;

	KUNIT_ASSERT_EQ(test, ftkvm_epoch_init(&e, 1000, 5000), 0);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		count += steps[i].after ?: 1234;
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_epoch_end(&e, count, steps[i].place,
							  steps[i].inputs),
				    steps[i].len, "epoch %d", i);
		KUNIT_EXPECT_EQ(test, e.nr, i + 1);
		KUNIT_EXPECT_EQ(test, e.start, count);
		KUNIT_EXPECT_EQ(test, e.len, steps[i].len);
	}
}

/* However inputs fall, the length stays within its bounds, and the backup has the same. */
static void epoch_follow(struct kunit *test)
{
	struct ftkvm_epoch primary, backup;
	struct rnd_state rnd;
	u64 count = 0;
	int i;

	prandom_seed_state(&rnd, 1);
	KUNIT_ASSERT_EQ(test, ftkvm_epoch_init(&primary, 1500, FTKVM_PERIOD_MAX), 0);
	KUNIT_ASSERT_EQ(test, ftkvm_epoch_init(&backup, 1500, FTKVM_PERIOD_MAX), 0);
	for (i = 0; i < ROUNDS; i++) {
		/* quiet stretches long enough to reach the longest epoch */
		bool inputs = prandom_u32_state(&rnd) % 50 == 0;
		u64 len;

		count += prandom_u32_state(&rnd);
		len = ftkvm_epoch_end(&primary, count, FTKVM_PLACE_ASYNC, inputs);
		ftkvm_epoch_follow(&backup, count, len);
		KUNIT_ASSERT_GE(test, len, 1500);
		KUNIT_ASSERT_LE(test, len, FTKVM_PERIOD_MAX);
		KUNIT_ASSERT_EQ(test, backup.nr, primary.nr);
		KUNIT_ASSERT_EQ(test, backup.start, primary.start);
		KUNIT_ASSERT_EQ(test, backup.len, primary.len);
	}
}

static void epoch_left(struct kunit *test)
{
	static const struct ftkvm_epoch e = { .start = 5000, .len = 1000 };

	KUNIT_EXPECT_EQ(test, ftkvm_epoch_left(&e, 5000), 1000);
	KUNIT_EXPECT_EQ(test, ftkvm_epoch_left(&e, 5900), 100);
	KUNIT_EXPECT_EQ(test, ftkvm_epoch_left(&e, 5998), 2);
	/* no counter overflows after one event */
	KUNIT_EXPECT_EQ(test, ftkvm_epoch_left(&e, 5999), FTKVM_PERIOD_LEAST);
	/* past its length, at an unfit point */
	KUNIT_EXPECT_EQ(test, ftkvm_epoch_left(&e, 6000), FTKVM_PERIOD_RETRY);
	KUNIT_EXPECT_EQ(test, ftkvm_epoch_left(&e, 60000), FTKVM_PERIOD_RETRY);
}

/* Lengths and counts that only a broken peer can name must not wrap. */
static void epoch_saturates(struct kunit *test)
{
	const struct ftkvm_epoch e = { .start = U64_MAX - 10, .len = 1000 };
	const struct ftkvm_point far = { .count = U64_MAX };
	const struct ftkvm_point here = { .count = 5, .rip = 1 };
	u64 left;

	KUNIT_EXPECT_FALSE(test, ftkvm_epoch_due(&e, U64_MAX - 1, FTKVM_PLACE_ASYNC, true, true));
	KUNIT_EXPECT_TRUE(test, ftkvm_epoch_due(&e, U64_MAX, FTKVM_PLACE_ASYNC, true, true));
	KUNIT_EXPECT_EQ(test, ftkvm_epoch_left(&e, U64_MAX - 10), 10);
	KUNIT_EXPECT_EQ(test, ftkvm_backup_free(&e, 0, 10, &left), FTKVM_STEP_RUN);
	KUNIT_EXPECT_EQ(test, left, U64_MAX - 11);
	KUNIT_EXPECT_EQ(test, ftkvm_backup_free(&e, 0, U64_MAX, &left), FTKVM_STEP_WAIT);
	/* one event is left, and no counter can be set to that */
	KUNIT_EXPECT_EQ(test, ftkvm_backup_free(&e, 0, U64_MAX - 2, &left), FTKVM_STEP_WAIT);
	KUNIT_EXPECT_EQ(test, left, 0);

	KUNIT_EXPECT_EQ(test, ftkvm_backup_land(&here, &far, 10, &left), FTKVM_STEP_RUN);
	KUNIT_EXPECT_EQ(test, left, U64_MAX - 16);
	KUNIT_EXPECT_EQ(test, ftkvm_backup_land(&here, &far, U64_MAX, &left), FTKVM_STEP_SEEK);
	KUNIT_EXPECT_EQ(test, left, U64_MAX);
	KUNIT_EXPECT_EQ(test, ftkvm_backup_meet(&here, &far, 10, &left), FTKVM_STEP_RUN);
	KUNIT_EXPECT_EQ(test, left, U64_MAX);
}

static void backup_free(struct kunit *test)
{
	/* an epoch of 1000 events that began at 5000 */
	static const struct ftkvm_epoch e = { .start = 5000, .len = 1000 };
	static const struct {
		u64 count, margin;
		enum ftkvm_step step;
		u64 left;
	} cases[] = {
		{ 5000, 0, FTKVM_STEP_RUN, 999 },
		{ 5000, 100, FTKVM_STEP_RUN, 899 },
		{ 5896, 100, FTKVM_STEP_RUN, 3 },
		{ 5897, 100, FTKVM_STEP_RUN, 2 },
		{ 5898, 100, FTKVM_STEP_WAIT, 0 },
		{ 5997, 0, FTKVM_STEP_RUN, 2 },
		{ 5998, 0, FTKVM_STEP_WAIT, 0 },
		{ 5000, 997, FTKVM_STEP_RUN, 2 },
		{ 5000, 998, FTKVM_STEP_WAIT, 0 },
		{ 5000, 5000, FTKVM_STEP_WAIT, 0 },
		{ 6000, 0, FTKVM_STEP_WAIT, 0 },
		{ 7000, 0, FTKVM_STEP_WAIT, 0 },
		/* behind the epoch's start: the END came before the backup did */
		{ 4000, 100, FTKVM_STEP_RUN, 1899 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 left = 12345;

		KUNIT_EXPECT_EQ_MSG(test, ftkvm_backup_free(&e, cases[i].count, cases[i].margin,
							    &left), cases[i].step, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, left, cases[i].left, "row %d", i);
	}
}

/* An overflow as late as it can be comes before the epoch's length, or there is none. */
static void backup_free_bound(struct kunit *test)
{
	struct rnd_state rnd;
	int i, ran = 0;

	prandom_seed_state(&rnd, 2);
	for (i = 0; i < ROUNDS; i++) {
		struct ftkvm_epoch e = {
			.start = prandom_u32_state(&rnd),
			.len = 1000 + prandom_u32_state(&rnd) % 4000,
		};
		u64 count = e.start + prandom_u32_state(&rnd) % 6000;
		u64 margin = prandom_u32_state(&rnd) % 3000;
		u64 limit = e.start + e.len;
		u64 left;

		if (ftkvm_backup_free(&e, count, margin, &left) == FTKVM_STEP_RUN) {
			KUNIT_ASSERT_GE(test, left, FTKVM_PERIOD_LEAST);
			KUNIT_ASSERT_LT(test, count + left + margin, limit);
			/* and it wastes nothing */
			KUNIT_ASSERT_EQ(test, count + left + margin, limit - 1);
			ran++;
		} else {
			KUNIT_ASSERT_GE(test, count + FTKVM_PERIOD_LEAST + margin, limit);
		}
	}
	KUNIT_EXPECT_GT(test, ran, ROUNDS / 10);
	KUNIT_EXPECT_LT(test, ran, ROUNDS);
}

#define POINT(c, ip, cx) { .count = (c), .rip = (ip), .rcx = (cx) }

static void backup_land(struct kunit *test)
{
	static const struct ftkvm_point target = POINT(6000, 0x1000, 7);
	static const struct {
		struct ftkvm_point now;
		u64 margin;
		enum ftkvm_step step;
		u64 left;
	} cases[] = {
		{ POINT(5000, 0x10, 0), 100, FTKVM_STEP_RUN, 899 },
		{ POINT(5897, 0x10, 0), 100, FTKVM_STEP_RUN, 2 },
		{ POINT(5898, 0x10, 0), 100, FTKVM_STEP_SEEK, 203 },
		{ POINT(5999, 0x10, 0), 100, FTKVM_STEP_SEEK, 102 },
		{ POINT(5000, 0x10, 0), 5000, FTKVM_STEP_SEEK, 6001 },
		{ POINT(5997, 0x10, 0), 0, FTKVM_STEP_RUN, 2 },
		{ POINT(5998, 0x10, 0), 0, FTKVM_STEP_SEEK, 3 },
		/* the count agrees, but not the instruction or the iteration */
		{ POINT(6000, 0x0fff, 7), 0, FTKVM_STEP_SEEK, 2 },
		{ POINT(6000, 0x1000, 8), 0, FTKVM_STEP_SEEK, 2 },
		{ POINT(6000, 0x1000, 6), 100, FTKVM_STEP_SEEK, 101 },
		{ POINT(6000, 0x1000, 7), 0, FTKVM_STEP_LANDED, 0 },
		{ POINT(6000, 0x1000, 7), 100, FTKVM_STEP_LANDED, 0 },
		/* the instruction agrees, in an earlier or a later turn */
		{ POINT(5999, 0x1000, 7), 100, FTKVM_STEP_SEEK, 102 },
		{ POINT(6001, 0x1000, 7), 100, FTKVM_STEP_PASSED, 0 },
		{ POINT(9000, 0x10, 0), 100, FTKVM_STEP_PASSED, 0 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 left = 12345;

		KUNIT_EXPECT_EQ_MSG(test, ftkvm_backup_land(&cases[i].now, &target,
							    cases[i].margin, &left),
				    cases[i].step, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, left, cases[i].left, "row %d", i);
	}
}

static void backup_meet(struct kunit *test)
{
	static const struct ftkvm_point target = POINT(6000, 0x1000, 0);
	static const struct {
		u64 count, margin;
		enum ftkvm_step step;
		u64 left;
	} cases[] = {
		{ 5000, 100, FTKVM_STEP_RUN, 1101 },
		{ 5999, 100, FTKVM_STEP_RUN, 102 },
		{ 6000, 100, FTKVM_STEP_RUN, 101 },
		{ 6000, 0, FTKVM_STEP_RUN, FTKVM_PERIOD_LEAST },
		{ 6001, 100, FTKVM_STEP_PASSED, 0 },
		{ 6001, 0, FTKVM_STEP_PASSED, 0 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ftkvm_point now = POINT(cases[i].count, 0x20, 3);
		u64 left = 12345;

		KUNIT_EXPECT_EQ_MSG(test, ftkvm_backup_meet(&now, &target, cases[i].margin, &left),
				    cases[i].step, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, left, cases[i].left, "row %d", i);
	}
}

static struct kunit_case ftkvm_epoch_cases[] = {
	KUNIT_CASE(epoch_init),
	KUNIT_CASE(epoch_due),
	KUNIT_CASE(epoch_end_adapts),
	KUNIT_CASE(epoch_follow),
	KUNIT_CASE(epoch_left),
	KUNIT_CASE(epoch_saturates),
	KUNIT_CASE(backup_free),
	KUNIT_CASE(backup_free_bound),
	KUNIT_CASE(backup_land),
	KUNIT_CASE(backup_meet),
	{}
};

static struct kunit_suite ftkvm_epoch_suite = {
	.name = "ftkvm_epoch",
	.test_cases = ftkvm_epoch_cases,
};

kunit_test_suite(ftkvm_epoch_suite);
