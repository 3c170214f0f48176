// SPDX-License-Identifier: GPL-2.0
/*
 * A replica's life. The input is a sequence of events, of which some have no
 * place; what must hold is what the operator, and the guest, rely on.
 */
#include "fuzz.h"
#include "../../kmod/core/state.h"

struct life {
	enum ftkvm_state state;
	enum ftkvm_role role;
	bool followed;		/* it ever was a backup that runs */
	bool promoted;		/* an operator ever said so, since */
	bool drained;
	bool ran_paired;
	bool held;		/* it lost its peer, and who goes on was another's to decide */
	struct ftkvm_ending ending;
};

static bool live(enum ftkvm_state s)
{
	return s == FTKVM_STATE_PRIMARY || s == FTKVM_STATE_SOLO;
}

static void check_names(int state, int event)
{
	bool s = state >= 0 && state < FTKVM_STATES;
	bool e = event >= 0 && event < FTKVM_EVENTS;

	REQUIRE(ftkvm_state_name(state) && ftkvm_event_name(event));
	REQUIRE(!strcmp(ftkvm_state_name(state), "?") == !s);
	REQUIRE(!strcmp(ftkvm_event_name(event), "?") == !e);
	if (!s || !e)
		REQUIRE(ftkvm_state_next(state, FTKVM_ROLE_BACKUP, event) == -EINVAL);
}

static void happens(struct life *l, enum ftkvm_event ev)
{
	enum ftkvm_event said = ev;
	enum ftkvm_state was = l->state;
	int other, ret;

	ev = ftkvm_state_event(was, l->role, ev, &l->ending);
	REQUIRE(ev == said || (ev == FTKVM_EV_HOLD && l->role == FTKVM_ROLE_PRIMARY &&
			       l->ending.hold && !l->ending.told));
	ret = ftkvm_state_next(was, l->role, ev);

	/* the role has a say where ARMED leads to, and nowhere else */
	for (other = FTKVM_ROLE_NONE; other <= FTKVM_ROLE_BACKUP + 1; other++)
		if (was != FTKVM_STATE_ARMED)
			REQUIRE(ftkvm_state_next(was, other, ev) == ret);

	/* what comes from outside has a place in any state */
	if (ev == FTKVM_EV_GUEST_END)
		REQUIRE(ret == FTKVM_STATE_STOPPED);
	if (said == FTKVM_EV_LINK_DOWN)
		REQUIRE(ret >= 0);
	if (ret < 0) {
		REQUIRE(ret == -EINVAL);
		return;
	}
	REQUIRE(ret < FTKVM_STATES);
	l->state = ret;

	if (was == FTKVM_STATE_STOPPED)
		REQUIRE(l->state == FTKVM_STATE_STOPPED);
	/* an armed backup's QEMU runs: it must never become a second live copy */
	if (was == FTKVM_STATE_ARMED && l->role == FTKVM_ROLE_BACKUP)
		REQUIRE(l->state == FTKVM_STATE_BACKUP || l->state == FTKVM_STATE_STOPPED);
	/* what ran paired is paired again only where it is live alone, and as a primary: a new life */
	if (was == FTKVM_STATE_SOLO && l->state == FTKVM_STATE_ARMED) {
		REQUIRE(ev == FTKVM_EV_PAIR_PRIMARY);
		l->ran_paired = false;
		l->followed = false;
		l->promoted = false;
		l->drained = false;
		l->held = false;
		l->role = FTKVM_ROLE_PRIMARY;
		REACHED("one that is protected again");
	}
	if (l->ran_paired)
		REQUIRE(l->state != FTKVM_STATE_IDLE && l->state != FTKVM_STATE_ARMED &&
			l->state != FTKVM_STATE_PRIMARY);
	if (l->followed && !ftkvm_state_follows(was))
		REQUIRE(!ftkvm_state_follows(l->state));

	/* nobody goes on whose peer may have: but by PROMOTE */
	if (l->ending.hold && !l->ending.told && was == FTKVM_STATE_PRIMARY &&
	    ev != FTKVM_EV_DIVERGED)
		REQUIRE(!live(l->state) || l->state == was);
	if (was == FTKVM_STATE_UNDECIDED && live(l->state)) {
		REQUIRE(ev == FTKVM_EV_PROMOTE || ev == FTKVM_EV_PEER_STOPPED);
		REACHED("a primary that was let go on");
	}
	if (l->state == FTKVM_STATE_UNDECIDED)
		l->held = true;
	if (l->state == FTKVM_STATE_PRIMARY || l->state == FTKVM_STATE_BACKUP)
		l->ran_paired = true;
	if (l->state == FTKVM_STATE_BACKUP)
		l->followed = true;
	if (l->followed && ev == FTKVM_EV_PROMOTE)
		l->promoted = true;
	if (l->promoted && ev == FTKVM_EV_DRAINED)
		l->drained = true;
	if (l->followed && live(l->state)) {
		REQUIRE(l->state == FTKVM_STATE_SOLO && l->promoted && l->drained);
		REACHED("a backup that went live");
	}
	if (l->state == FTKVM_STATE_SOLO && !l->followed && !l->held)
		REACHED("a primary that lost its backup");
	if (l->state == FTKVM_STATE_ORPHAN)
		REACHED("an orphan");

	/* who follows has a log to follow; who waits or is over does not run */
	REQUIRE(ftkvm_state_may_run(l->state) ==
		(l->state != FTKVM_STATE_ARMED && l->state != FTKVM_STATE_STOPPED &&
		 l->state != FTKVM_STATE_UNDECIDED));
	REQUIRE(!ftkvm_state_follows(l->state) || (l->followed && !l->drained));
	REQUIRE(!(ftkvm_state_follows(l->state) && live(l->state)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, data + size };
	struct life l = { .state = FTKVM_STATE_IDLE };

	while (feed_left(&f)) {
		u8 ev = feed_u8(&f);

		if (ev >= 0xf0) {
			int state = feed_u64(&f);

			check_names(state, feed_u64(&f));
			continue;
		}
		if (ev >= 0xe0) {
			l.ending.hold = ev & 1;
			l.ending.told = ev & 2;
			l.ending.begun = ev & 4;
			continue;
		}
		ev %= FTKVM_EVENTS;
		/* the pairing says what it is going to be */
		if (l.state == FTKVM_STATE_IDLE && ev == FTKVM_EV_PAIR_PRIMARY)
			l.role = FTKVM_ROLE_PRIMARY;
		if (l.state == FTKVM_STATE_SOLO && ev == FTKVM_EV_PAIR_PRIMARY)
			l.role = FTKVM_ROLE_PRIMARY;
		if (l.state == FTKVM_STATE_IDLE && ev == FTKVM_EV_PAIR_BACKUP)
			l.role = FTKVM_ROLE_BACKUP;
		happens(&l, ev);
	}
	return 0;
}

void fuzz_seeds(void)
{
	static const u8 lives[][6] = {
		{ FTKVM_EV_PAIR_PRIMARY, FTKVM_EV_START, FTKVM_EV_LINK_DOWN, FTKVM_EV_GUEST_END },
		{ FTKVM_EV_PAIR_PRIMARY, FTKVM_EV_REFUSE, FTKVM_EV_PAIR_PRIMARY, FTKVM_EV_UNPAIR },
		{ FTKVM_EV_PAIR_BACKUP, FTKVM_EV_START, FTKVM_EV_LINK_DOWN, FTKVM_EV_PROMOTE,
		  FTKVM_EV_DRAINED, FTKVM_EV_LINK_DOWN },
		{ FTKVM_EV_PAIR_BACKUP, FTKVM_EV_LINK_DOWN, FTKVM_EV_PROMOTE, FTKVM_EV_GUEST_END },
		{ FTKVM_EV_PAIR_BACKUP, FTKVM_EV_START, FTKVM_EV_DIVERGED, FTKVM_EV_DRAINED },
		{ 0xe1, FTKVM_EV_PAIR_PRIMARY, FTKVM_EV_START, FTKVM_EV_LINK_DOWN,
		  FTKVM_EV_PROMOTE },
		{ 0xe5, FTKVM_EV_PAIR_PRIMARY, FTKVM_EV_UNPAIR, FTKVM_EV_FENCE },
		{ 0xe3, FTKVM_EV_PAIR_PRIMARY, FTKVM_EV_START, FTKVM_EV_UNPAIR },
		{ FTKVM_EV_PAIR_PRIMARY, FTKVM_EV_START, FTKVM_EV_LINK_DOWN, FTKVM_EV_PAIR_PRIMARY,
		  FTKVM_EV_START },
	};
	struct seed s = { };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lives); i++) {
		seed_bytes(&s, lives[i], sizeof(lives[i]));
		seed_done(&s);
	}
	seed_le(&s, 0xf0, 1);
	seed_u64(&s, FTKVM_STATES);
	seed_u64(&s, FTKVM_EVENTS);
	seed_done(&s);
}
