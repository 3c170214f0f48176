// SPDX-License-Identifier: GPL-2.0
/*
 * The replica's states: the table as it was meant, entry by entry, and the
 * rules that must hold whatever the table says.
 */
#include <kunit/test.h>
#include <linux/prandom.h>

#include "../../kmod/core/state.h"

#define IDLE	FTKVM_STATE_IDLE
#define ARMED	FTKVM_STATE_ARMED
#define PRIM	FTKVM_STATE_PRIMARY
#define BACK	FTKVM_STATE_BACKUP
#define ORPH	FTKVM_STATE_ORPHAN
#define TAKE	FTKVM_STATE_TAKEOVER
#define SOLO	FTKVM_STATE_SOLO
#define STOP	FTKVM_STATE_STOPPED
#define UNDE	FTKVM_STATE_UNDECIDED
#define NONE	(-EINVAL)

/*
 * Columns in the order of enum ftkvm_event: PAIR_PRIMARY, PAIR_BACKUP, START,
 * REFUSE, LINK_DOWN, PROMOTE, DRAINED, DIVERGED, UNPAIR, GUEST_END, FENCE, HOLD,
 * PEER_STOPPED.
 */
static const int state_want[FTKVM_STATES][FTKVM_EVENTS] = {
	[IDLE] = { ARMED, ARMED, NONE, IDLE, IDLE, NONE, NONE, NONE, IDLE, STOP, NONE, NONE, NONE },
	[ARMED] = { NONE, NONE, PRIM, IDLE, IDLE, NONE, NONE, NONE, IDLE, STOP, STOP, UNDE, NONE },
	[PRIM] = { NONE, NONE, NONE, NONE, SOLO, NONE, NONE, SOLO, SOLO, STOP, STOP, UNDE, NONE },
	[BACK] = { NONE, NONE, NONE, NONE, ORPH, TAKE, NONE, STOP, STOP, STOP, NONE, NONE, NONE },
	[ORPH] = { NONE, NONE, NONE, NONE, ORPH, TAKE, NONE, STOP, STOP, STOP, STOP, NONE, NONE },
	[TAKE] = { NONE, NONE, NONE, NONE, TAKE, NONE, SOLO, STOP, NONE, STOP, NONE, NONE, NONE },
	[SOLO] = { ARMED, NONE, NONE, NONE, SOLO, NONE, NONE, NONE, NONE, STOP, NONE, NONE, NONE },
	[STOP] = { NONE, NONE, NONE, NONE, STOP, NONE, NONE, NONE, NONE, STOP, NONE, NONE, NONE },
	[UNDE] = { NONE, NONE, NONE, NONE, UNDE, SOLO, NONE, NONE, NONE, STOP, STOP, NONE, SOLO },
};

/* The role is asked for in ARMED alone. */
static const int armed_backup[FTKVM_EVENTS] = {
	NONE, NONE, BACK, STOP, STOP, NONE, NONE, NONE, STOP, STOP, STOP, STOP, NONE,
};

static const int armed_none[FTKVM_EVENTS] = {
	NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, STOP, STOP, NONE, NONE,
};

static void state_table(struct kunit *test)
{
	int state, event;

	for (state = 0; state < FTKVM_STATES; state++) {
		for (event = 0; event < FTKVM_EVENTS; event++) {
			int primary = state_want[state][event];
			int backup = state == ARMED ? armed_backup[event] : primary;
			int none = state == ARMED ? armed_none[event] : primary;

			KUNIT_EXPECT_EQ_MSG(test,
					    ftkvm_state_next(state, FTKVM_ROLE_PRIMARY, event),
					    primary, "%s (primary) + %s", ftkvm_state_name(state),
					    ftkvm_event_name(event));
			KUNIT_EXPECT_EQ_MSG(test,
					    ftkvm_state_next(state, FTKVM_ROLE_BACKUP, event),
					    backup, "%s (backup) + %s", ftkvm_state_name(state),
					    ftkvm_event_name(event));
			KUNIT_EXPECT_EQ_MSG(test,
					    ftkvm_state_next(state, FTKVM_ROLE_NONE, event),
					    none, "%s (no role) + %s", ftkvm_state_name(state),
					    ftkvm_event_name(event));
		}
	}
}

static void state_out_of_range(struct kunit *test)
{
	int i;

	for (i = 0; i < FTKVM_EVENTS; i++) {
		KUNIT_EXPECT_EQ(test, ftkvm_state_next(FTKVM_STATES, FTKVM_ROLE_PRIMARY, i), NONE);
		KUNIT_EXPECT_EQ(test, ftkvm_state_next(-1, FTKVM_ROLE_PRIMARY, i), NONE);
	}
	for (i = 0; i < FTKVM_STATES; i++) {
		KUNIT_EXPECT_EQ(test, ftkvm_state_next(i, FTKVM_ROLE_PRIMARY, FTKVM_EVENTS), NONE);
		KUNIT_EXPECT_EQ(test, ftkvm_state_next(i, FTKVM_ROLE_PRIMARY, -1), NONE);
	}
	KUNIT_EXPECT_EQ(test, ftkvm_state_next(ARMED, 17, FTKVM_EV_START), NONE);
	KUNIT_EXPECT_EQ(test, ftkvm_state_next(ARMED, -1, FTKVM_EV_START), NONE);
}

/* Does the guest run, and not by the log? */
static bool is_live(int state)
{
	return ftkvm_state_may_run(state) && !ftkvm_state_follows(state);
}

/*
 * Lives at random. One that was a backup runs live only after somebody said
 * PROMOTE and the log was consumed: else two copies of a guest might run.
 */
static void state_backup_goes_live_by_promote(struct kunit *test)
{
	struct rnd_state rnd;
	int life, lives_live = 0;

	prandom_seed_state(&rnd, 1);
	for (life = 0; life < 20000; life++) {
		bool promoted = false, drained = false;
		int state = ARMED;
		int i;

		for (i = 0; i < 30; i++) {
			int event = prandom_u32_state(&rnd) % FTKVM_EVENTS;
			int next = ftkvm_state_next(state, FTKVM_ROLE_BACKUP, event);

			if (next < 0)
				continue;
			promoted |= event == FTKVM_EV_PROMOTE;
			drained |= event == FTKVM_EV_DRAINED;
			state = next;
			if (is_live(state))
				KUNIT_ASSERT_TRUE_MSG(test, promoted && drained, "%s by %s",
						      ftkvm_state_name(state),
						      ftkvm_event_name(event));
		}
		lives_live += is_live(state);
	}
	KUNIT_EXPECT_GT(test, lives_live, 0);
}

/* Losing the peer, or the operator's unpair, never costs a primary its guest. */
static void state_primary_survives(struct kunit *test)
{
	static const enum ftkvm_event losses[] = {
		FTKVM_EV_REFUSE, FTKVM_EV_LINK_DOWN, FTKVM_EV_DIVERGED, FTKVM_EV_UNPAIR,
	};
	static const enum ftkvm_state states[] = { IDLE, ARMED, PRIM, SOLO };
	int i, j;

	for (i = 0; i < ARRAY_SIZE(states); i++) {
		for (j = 0; j < ARRAY_SIZE(losses); j++) {
			int next = ftkvm_state_next(states[i], FTKVM_ROLE_PRIMARY, losses[j]);

			if (next >= 0)
				KUNIT_EXPECT_TRUE(test, is_live(next));
		}
		KUNIT_EXPECT_GE(test, ftkvm_state_next(states[i], FTKVM_ROLE_PRIMARY,
						       FTKVM_EV_LINK_DOWN), 0);
	}
}

/* A fence stops who is not live alone, and nobody else: its peer is to go live. */
static void state_fence_stops_who_is_not_alone(struct kunit *test)
{
	int state;

	for (state = 0; state < FTKVM_STATES; state++) {
		bool stops = state == ARMED || state == PRIM || state == ORPH || state == UNDE;

		KUNIT_EXPECT_EQ_MSG(test, ftkvm_state_next(state, FTKVM_ROLE_PRIMARY,
							   FTKVM_EV_FENCE),
				    stops ? STOP : NONE, "%s", ftkvm_state_name(state));
	}
}

/* What ends the pairing of a primary, as it is to be understood. */
static void state_holds_a_primary(struct kunit *test)
{
	static const enum ftkvm_event ends[] = { FTKVM_EV_LINK_DOWN, FTKVM_EV_UNPAIR };
	int state, event, bits, i;

	for (bits = 0; bits < 8; bits++) {
		const struct ftkvm_ending e = {
			.hold = bits & 1, .told = bits & 2, .begun = bits & 4,
		};

		for (state = 0; state < FTKVM_STATES; state++) {
			for (event = 0; event < FTKVM_EVENTS; event++) {
				bool held = e.hold && !e.told &&
					    (state == PRIM || (state == ARMED && e.begun)) &&
					    (event == ends[0] || event == ends[1]);

				KUNIT_EXPECT_EQ_MSG(test,
						    ftkvm_state_event(state, FTKVM_ROLE_PRIMARY,
								      event, &e),
						    held ? FTKVM_EV_HOLD : event, "%s + %s, %d",
						    ftkvm_state_name(state),
						    ftkvm_event_name(event), bits);
				KUNIT_EXPECT_EQ(test, ftkvm_state_event(state, FTKVM_ROLE_BACKUP,
									event, &e), event);
			}
		}
	}
	/* and then it does not run, until it is promoted */
	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		const struct ftkvm_ending e = { .hold = true };
		int event = ftkvm_state_event(PRIM, FTKVM_ROLE_PRIMARY, ends[i], &e);
		int next = ftkvm_state_next(PRIM, FTKVM_ROLE_PRIMARY, event);

		KUNIT_EXPECT_EQ(test, next, UNDE);
		for (event = 0; event < FTKVM_EVENTS; event++) {
			int then = ftkvm_state_next(next, FTKVM_ROLE_PRIMARY, event);

			KUNIT_EXPECT_EQ_MSG(test, then >= 0 && is_live(then),
					    event == FTKVM_EV_PROMOTE ||
					    event == FTKVM_EV_PEER_STOPPED, "%s",
					    ftkvm_event_name(event));
		}
	}
}

static void state_stopped_is_final(struct kunit *test)
{
	int role, event;

	for (role = FTKVM_ROLE_NONE; role <= FTKVM_ROLE_BACKUP; role++) {
		for (event = 0; event < FTKVM_EVENTS; event++) {
			int next = ftkvm_state_next(STOP, role, event);

			KUNIT_EXPECT_TRUE(test, next == STOP || next == NONE);
		}
	}
}

static void state_all_reached(struct kunit *test)
{
	bool reached[FTKVM_STATES] = { [IDLE] = true };
	int turn, state, event, role;

	for (turn = 0; turn < FTKVM_STATES; turn++)
		for (state = 0; state < FTKVM_STATES; state++)
			for (event = 0; event < FTKVM_EVENTS && reached[state]; event++)
				for (role = 0; role <= FTKVM_ROLE_BACKUP; role++) {
					int next = ftkvm_state_next(state, role, event);

					KUNIT_ASSERT_LT(test, next, FTKVM_STATES);
					if (next >= 0)
						reached[next] = true;
				}
	for (state = 0; state < FTKVM_STATES; state++)
		KUNIT_EXPECT_TRUE_MSG(test, reached[state], "%s", ftkvm_state_name(state));
}

static void state_predicates(struct kunit *test)
{
	static const struct {
		bool may_run, follows;
	} want[FTKVM_STATES] = {
		[IDLE] = { true, false },
		[ARMED] = { false, false },
		[PRIM] = { true, false },
		[BACK] = { true, true },
		[ORPH] = { true, true },
		[TAKE] = { true, true },
		[SOLO] = { true, false },
		[STOP] = { false, false },
		[UNDE] = { false, false },
	};
	int state;

	for (state = 0; state < FTKVM_STATES; state++) {
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_state_may_run(state), want[state].may_run, "%s",
				    ftkvm_state_name(state));
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_state_follows(state), want[state].follows, "%s",
				    ftkvm_state_name(state));
	}
	KUNIT_EXPECT_FALSE(test, ftkvm_state_may_run(FTKVM_STATES));
	KUNIT_EXPECT_FALSE(test, ftkvm_state_follows(FTKVM_STATES));
}

static void state_names(struct kunit *test)
{
	static const char * const states[] = {
		"idle", "armed", "primary", "backup", "orphan", "takeover", "solo", "stopped",
		"undecided",
	};
	static const char * const events[] = {
		"pair-primary", "pair-backup", "start", "refuse", "link-down", "promote",
		"drained", "diverged", "unpair", "guest-end", "fence", "hold",
		"peer-stopped",
	};
	int i;

	KUNIT_ASSERT_EQ(test, ARRAY_SIZE(states), FTKVM_STATES);
	KUNIT_ASSERT_EQ(test, ARRAY_SIZE(events), FTKVM_EVENTS);
	for (i = 0; i < FTKVM_STATES; i++)
		KUNIT_EXPECT_STREQ(test, ftkvm_state_name(i), states[i]);
	for (i = 0; i < FTKVM_EVENTS; i++)
		KUNIT_EXPECT_STREQ(test, ftkvm_event_name(i), events[i]);
	KUNIT_EXPECT_STREQ(test, ftkvm_state_name(-1), "?");
	KUNIT_EXPECT_STREQ(test, ftkvm_state_name(FTKVM_STATES), "?");
	KUNIT_EXPECT_STREQ(test, ftkvm_event_name(-1), "?");
	KUNIT_EXPECT_STREQ(test, ftkvm_event_name(FTKVM_EVENTS), "?");
}

static struct kunit_case ftkvm_state_cases[] = {
	KUNIT_CASE(state_table),
	KUNIT_CASE(state_out_of_range),
	KUNIT_CASE(state_backup_goes_live_by_promote),
	KUNIT_CASE(state_primary_survives),
	KUNIT_CASE(state_fence_stops_who_is_not_alone),
	KUNIT_CASE(state_holds_a_primary),
	KUNIT_CASE(state_stopped_is_final),
	KUNIT_CASE(state_all_reached),
	KUNIT_CASE(state_predicates),
	KUNIT_CASE(state_names),
	{}
};

static struct kunit_suite ftkvm_state_suite = {
	.name = "ftkvm_state",
	.test_cases = ftkvm_state_cases,
};

kunit_test_suite(ftkvm_state_suite);
