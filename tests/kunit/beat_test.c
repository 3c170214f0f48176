// SPDX-License-Identifier: GPL-2.0
/*
 * The second path: what is a beat, and who waits for whom. That it only ever delays is to be
 * seen here: nothing that is known of it lets anybody go on.
 */
#include <kunit/test.h>
#include <linux/prandom.h>

#include "../../kmod/core/beat.h"

#define TOKEN	0x1122334455667788ull

static void beat_round(struct kunit *test)
{
	enum ftkvm_state got;
	struct ftkvm_beat b;
	int s;

	for (s = 0; s < FTKVM_STATES; s++) {
		ftkvm_beat_seal(&b, TOKEN, s);
		KUNIT_EXPECT_EQ(test, ftkvm_beat_check(&b, TOKEN, &got), 0);
		KUNIT_EXPECT_EQ(test, got, s);
		KUNIT_EXPECT_EQ(test, ftkvm_beat_check(&b, TOKEN + 1, &got), -ESTALE);
		KUNIT_EXPECT_EQ(test, ftkvm_beat_check(&b, 0, &got), -ESTALE);
	}
}

static void beat_garbled(struct kunit *test)
{
	enum ftkvm_state got;
	struct ftkvm_beat b;
	int bit;

	ftkvm_beat_seal(&b, TOKEN, FTKVM_STATE_PRIMARY);
	b.state = cpu_to_le32(FTKVM_STATES);
	KUNIT_EXPECT_EQ(test, ftkvm_beat_check(&b, TOKEN, &got), -EBADMSG);
	b.state = cpu_to_le32(U32_MAX);
	KUNIT_EXPECT_EQ(test, ftkvm_beat_check(&b, TOKEN, &got), -EBADMSG);
	for (bit = 0; bit < 32; bit++) {
		ftkvm_beat_seal(&b, TOKEN, FTKVM_STATE_PRIMARY);
		b.magic ^= cpu_to_le32(BIT(bit));
		KUNIT_EXPECT_EQ(test, ftkvm_beat_check(&b, TOKEN, &got), -EBADMSG);
	}
}

static struct ftkvm_loss orphan(enum ftkvm_state peer, u32 lost_ms, u32 silence_ms)
{
	return (struct ftkvm_loss) {
		.role = FTKVM_ROLE_BACKUP, .state = FTKVM_STATE_ORPHAN, .peer = peer, .up = true,
		.lost_ms = lost_ms, .silence_ms = silence_ms, .timeout_ms = 500,
	};
}

/* The primary's host is heard: it is looked at again when that could be over, for so long. */
static void loss_defers(struct kunit *test)
{
	struct ftkvm_loss l = orphan(FTKVM_STATE_UNDECIDED, 0, 20);

	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 480);
	l.peer = FTKVM_STATE_PRIMARY;
	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 480);
	l.lost_ms = FTKVM_DEFER_MS - 1;
	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 1);
	l.lost_ms = FTKVM_DEFER_MS;
	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 0);
	/* a primary with a long time-out may not have noticed */
	l.timeout_ms = 10000;
	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 9980);
	l.timeout_ms = U32_MAX;
	KUNIT_EXPECT_GT(test, ftkvm_loss_defer(&l), 0);
}

/* Nothing to wait for. */
static void loss_asks(struct kunit *test)
{
	struct ftkvm_loss l = orphan(FTKVM_STATE_UNDECIDED, 0, 500);

	/* dead by the second path, too */
	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 0);
	l.silence_ms = 20;
	l.up = false;
	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 0);
	/* its QEMU has ended, and it said so */
	l = orphan(FTKVM_STATE_PRIMARY, 0, 20);
	l.told = true;
	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 0);
	/* it has decided, or never will */
	l = orphan(FTKVM_STATE_SOLO, 0, 20);
	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 0);
	l.peer = FTKVM_STATE_STOPPED;
	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 0);
}

/* A primary waits for nobody, and so one of the two always asks. */
static void loss_primary(struct kunit *test)
{
	int state, peer;

	for (state = 0; state < FTKVM_STATES; state++) {
		for (peer = 0; peer < FTKVM_STATES; peer++) {
			struct ftkvm_loss l = orphan(peer, 0, 0);

			l.state = state;
			l.role = FTKVM_ROLE_PRIMARY;
			KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 0);
			/* but it does not go on while the backup does */
			KUNIT_EXPECT_EQ(test, ftkvm_loss_forbids(&l),
					state == FTKVM_STATE_UNDECIDED &&
					(peer == FTKVM_STATE_TAKEOVER || peer == FTKVM_STATE_SOLO));
		}
	}
}

static void loss_forbidden(struct kunit *test)
{
	struct ftkvm_loss l = orphan(FTKVM_STATE_SOLO, 3600000, 20);

	KUNIT_EXPECT_TRUE(test, ftkvm_loss_forbids(&l));
	l.silence_ms = 500;
	KUNIT_EXPECT_FALSE(test, ftkvm_loss_forbids(&l));
	l.silence_ms = 20;
	l.up = false;
	KUNIT_EXPECT_FALSE(test, ftkvm_loss_forbids(&l));
	l = orphan(FTKVM_STATE_UNDECIDED, 0, 20);
	KUNIT_EXPECT_FALSE(test, ftkvm_loss_forbids(&l));
	/* one whose pairing was off before it began may run, too */
	l = orphan(FTKVM_STATE_IDLE, 0, 20);
	KUNIT_EXPECT_TRUE(test, ftkvm_loss_forbids(&l));
	KUNIT_EXPECT_EQ(test, ftkvm_loss_defer(&l), 0);
}

/* Whatever is heard: it ends, in little more than the bound. */
static void loss_ends(struct kunit *test)
{
	struct rnd_state rnd;
	int round;

	prandom_seed_state(&rnd, 1);
	for (round = 0; round < 10000; round++) {
		u32 timeout = 200 + prandom_u32_state(&rnd) % 600000, at = 0, defer;
		u32 bound = max(2 * timeout, FTKVM_DEFER_MS);
		int looks = 0;

		do {
			struct ftkvm_loss l = orphan(prandom_u32_state(&rnd) % FTKVM_STATES, at,
						     prandom_u32_state(&rnd) % (2 * timeout));

			l.timeout_ms = timeout;
			defer = ftkvm_loss_defer(&l);
			at += defer;
			KUNIT_ASSERT_LE(test, at, bound);
			KUNIT_ASSERT_LE(test, defer, timeout);
		} while (defer && ++looks < 1000);
	}
}

static struct kunit_case beat_cases[] = {
	KUNIT_CASE(beat_round),
	KUNIT_CASE(beat_garbled),
	KUNIT_CASE(loss_defers),
	KUNIT_CASE(loss_asks),
	KUNIT_CASE(loss_primary),
	KUNIT_CASE(loss_forbidden),
	KUNIT_CASE(loss_ends),
	{}
};

static struct kunit_suite beat_suite = {
	.name = "ftkvm_beat",
	.test_cases = beat_cases,
};

kunit_test_suite(beat_suite);
