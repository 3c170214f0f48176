// SPDX-License-Identifier: GPL-2.0
/*
 * The replica's states. What is not in the table does not happen.
 */
#include <linux/array_size.h>
#include <linux/build_bug.h>
#include <linux/errno.h>

#include "state.h"

/*
 * Table entries: 0 for no place, else state + 1; where the role decides, the
 * primary's in the low nibble and the backup's in the high one.
 */
#define NO		0
#define TO(s)		(FTKVM_STATE_##s + 1)
#define BY_ROLE(p, b)	(TO(p) | TO(b) << 4)

static_assert(FTKVM_STATES < 0xf);

/*
 * Four rules are to be seen in it: a replica that follows a log goes live by
 * PROMOTE alone, and so does one that waits for who decides; a backup whose pairing
 * fails is never let go, because its QEMU has been told to run and would run the
 * guest a second time; and nothing leaves STOPPED.
 */
static const u8 ftkvm_table[FTKVM_STATES][FTKVM_EVENTS] = {
	[FTKVM_STATE_IDLE] = {
		[FTKVM_EV_PAIR_PRIMARY]	= TO(ARMED),
		[FTKVM_EV_PAIR_BACKUP]	= TO(ARMED),
		/* a pairing that was under way is off */
		[FTKVM_EV_REFUSE]	= TO(IDLE),
		[FTKVM_EV_LINK_DOWN]	= TO(IDLE),
		[FTKVM_EV_UNPAIR]	= TO(IDLE),
		[FTKVM_EV_GUEST_END]	= TO(STOPPED),
	},
	[FTKVM_STATE_ARMED] = {
		[FTKVM_EV_START]	= BY_ROLE(PRIMARY, BACKUP),
		/* to the primary it is as if there had been no pairing */
		[FTKVM_EV_REFUSE]	= BY_ROLE(IDLE, STOPPED),
		[FTKVM_EV_LINK_DOWN]	= BY_ROLE(IDLE, STOPPED),
		[FTKVM_EV_UNPAIR]	= BY_ROLE(IDLE, STOPPED),
		[FTKVM_EV_GUEST_END]	= TO(STOPPED),
		[FTKVM_EV_FENCE]	= TO(STOPPED),
		[FTKVM_EV_HOLD]		= BY_ROLE(UNDECIDED, STOPPED),
	},
	[FTKVM_STATE_PRIMARY] = {
		[FTKVM_EV_LINK_DOWN]	= TO(SOLO),
		[FTKVM_EV_DIVERGED]	= TO(SOLO),
		[FTKVM_EV_UNPAIR]	= TO(SOLO),
		[FTKVM_EV_GUEST_END]	= TO(STOPPED),
		[FTKVM_EV_FENCE]	= TO(STOPPED),
		[FTKVM_EV_HOLD]		= TO(UNDECIDED),
	},
	[FTKVM_STATE_BACKUP] = {
		[FTKVM_EV_LINK_DOWN]	= TO(ORPHAN),
		[FTKVM_EV_PROMOTE]	= TO(TAKEOVER),
		[FTKVM_EV_DIVERGED]	= TO(STOPPED),
		[FTKVM_EV_UNPAIR]	= TO(STOPPED),
		[FTKVM_EV_GUEST_END]	= TO(STOPPED),
	},
	[FTKVM_STATE_ORPHAN] = {
		[FTKVM_EV_LINK_DOWN]	= TO(ORPHAN),
		[FTKVM_EV_PROMOTE]	= TO(TAKEOVER),
		[FTKVM_EV_DIVERGED]	= TO(STOPPED),
		[FTKVM_EV_UNPAIR]	= TO(STOPPED),
		[FTKVM_EV_GUEST_END]	= TO(STOPPED),
		[FTKVM_EV_FENCE]	= TO(STOPPED),
	},
	[FTKVM_STATE_TAKEOVER] = {
		[FTKVM_EV_LINK_DOWN]	= TO(TAKEOVER),
		[FTKVM_EV_DRAINED]	= TO(SOLO),
		[FTKVM_EV_DIVERGED]	= TO(STOPPED),
		[FTKVM_EV_GUEST_END]	= TO(STOPPED),
	},
	[FTKVM_STATE_SOLO] = {
		/* protected again; if that fails, it is as if it had never been */
		[FTKVM_EV_PAIR_PRIMARY]	= TO(ARMED),
		[FTKVM_EV_LINK_DOWN]	= TO(SOLO),
		[FTKVM_EV_GUEST_END]	= TO(STOPPED),
	},
	[FTKVM_STATE_STOPPED] = {
		[FTKVM_EV_LINK_DOWN]	= TO(STOPPED),
		[FTKVM_EV_GUEST_END]	= TO(STOPPED),
	},
	[FTKVM_STATE_UNDECIDED] = {
		[FTKVM_EV_LINK_DOWN]	= TO(UNDECIDED),
		[FTKVM_EV_PROMOTE]	= TO(SOLO),
		[FTKVM_EV_GUEST_END]	= TO(STOPPED),
		[FTKVM_EV_FENCE]	= TO(STOPPED),
		[FTKVM_EV_PEER_STOPPED]	= TO(SOLO),
	},
};

static const char * const ftkvm_state_names[] = {
	[FTKVM_STATE_IDLE] = "idle",
	[FTKVM_STATE_ARMED] = "armed",
	[FTKVM_STATE_PRIMARY] = "primary",
	[FTKVM_STATE_BACKUP] = "backup",
	[FTKVM_STATE_ORPHAN] = "orphan",
	[FTKVM_STATE_TAKEOVER] = "takeover",
	[FTKVM_STATE_SOLO] = "solo",
	[FTKVM_STATE_STOPPED] = "stopped",
	[FTKVM_STATE_UNDECIDED] = "undecided",
};

static_assert(ARRAY_SIZE(ftkvm_state_names) == FTKVM_STATES);

static const char * const ftkvm_event_names[] = {
	[FTKVM_EV_PAIR_PRIMARY] = "pair-primary",
	[FTKVM_EV_PAIR_BACKUP] = "pair-backup",
	[FTKVM_EV_START] = "start",
	[FTKVM_EV_REFUSE] = "refuse",
	[FTKVM_EV_LINK_DOWN] = "link-down",
	[FTKVM_EV_PROMOTE] = "promote",
	[FTKVM_EV_DRAINED] = "drained",
	[FTKVM_EV_DIVERGED] = "diverged",
	[FTKVM_EV_UNPAIR] = "unpair",
	[FTKVM_EV_GUEST_END] = "guest-end",
	[FTKVM_EV_FENCE] = "fence",
	[FTKVM_EV_HOLD] = "hold",
	[FTKVM_EV_PEER_STOPPED] = "peer-stopped",
};

static_assert(ARRAY_SIZE(ftkvm_event_names) == FTKVM_EVENTS);

/**
 * ftkvm_state_next() - the state that an event leads to
 * @state: the replica's state
 * @role: the replica's role, which decides where ARMED leads to
 * @event: what happened
 *
 * Context: Any.
 * Return: the new state, or -EINVAL when @event has no place in @state.
 */
int ftkvm_state_next(enum ftkvm_state state, enum ftkvm_role role, enum ftkvm_event event)
{
	u8 to;

	if ((unsigned int)state >= FTKVM_STATES || (unsigned int)event >= FTKVM_EVENTS)
		return -EINVAL;

	to = ftkvm_table[state][event];
	if (to == NO)
		return -EINVAL;
	if (to <= FTKVM_STATES)
		return to - 1;

	switch (role) {
	case FTKVM_ROLE_PRIMARY:
		return (to & 0xf) - 1;
	case FTKVM_ROLE_BACKUP:
		return (to >> 4) - 1;
	default:
		return -EINVAL;
	}
}

/**
 * ftkvm_state_event() - the event that something is to a replica
 * @state: the replica's state
 * @role: its role
 * @event: what happened
 * @ending: what else is known
 *
 * A primary that loses its backup goes on alone, and so might the backup. Where that is
 * another's to decide, the primary waits for it, unless the backup has said that it
 * stopped.
 *
 * Context: Any.
 * Return: FTKVM_EV_HOLD, or @event.
 */
enum ftkvm_event ftkvm_state_event(enum ftkvm_state state, enum ftkvm_role role,
				   enum ftkvm_event event, const struct ftkvm_ending *ending)
{
	if (!ending->hold || ending->told || role != FTKVM_ROLE_PRIMARY)
		return event;
	if (event != FTKVM_EV_LINK_DOWN && event != FTKVM_EV_UNPAIR)
		return event;
	if (state == FTKVM_STATE_PRIMARY || (state == FTKVM_STATE_ARMED && ending->begun))
		return FTKVM_EV_HOLD;
	return event;
}

/**
 * ftkvm_state_name() - a state's name for messages
 * @state: enum ftkvm_state
 *
 * Context: Any.
 * Return: the name, "?" out of range.
 */
const char *ftkvm_state_name(int state)
{
	if (state < 0 || state >= FTKVM_STATES)
		return "?";
	return ftkvm_state_names[state];
}

/**
 * ftkvm_event_name() - an event's name for messages
 * @event: enum ftkvm_event
 *
 * Context: Any.
 * Return: the name, "?" out of range.
 */
const char *ftkvm_event_name(int event)
{
	if (event < 0 || event >= FTKVM_EVENTS)
		return "?";
	return ftkvm_event_names[event];
}

/**
 * ftkvm_state_may_run() - may the vCPU execute guest instructions?
 * @state: the replica's state
 *
 * Context: Any.
 * Return: whether it may; where ftkvm_state_follows(), only by the log.
 */
bool ftkvm_state_may_run(enum ftkvm_state state)
{
	switch (state) {
	case FTKVM_STATE_IDLE:
	case FTKVM_STATE_PRIMARY:
	case FTKVM_STATE_BACKUP:
	case FTKVM_STATE_ORPHAN:
	case FTKVM_STATE_TAKEOVER:
	case FTKVM_STATE_SOLO:
		return true;
	default:
		return false;
	}
}

/**
 * ftkvm_state_follows() - does the replica follow a log?
 * @state: the replica's state
 *
 * Context: Any.
 * Return: whether it does.
 */
bool ftkvm_state_follows(enum ftkvm_state state)
{
	return state == FTKVM_STATE_BACKUP || state == FTKVM_STATE_ORPHAN ||
	       state == FTKVM_STATE_TAKEOVER;
}
