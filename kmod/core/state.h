/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The replica's life as a table: which event leads from which state to which.
 *
 *	 attach        pair            start
 *	  --> IDLE ----------> ARMED ---------> PRIMARY --peer lost/unpair--> SOLO
 *	        ^               | |\                                           ^
 *	        | pairing fails | | `---------> BACKUP --promote--> TAKEOVER --'
 *	        `-- primary: ---' |               | diverged, told to stop
 *	            backup:       `-------------> STOPPED
 *	 (BACKUP whose link is gone: ORPHAN, which promote leads to TAKEOVER; PRIMARY whose
 *	 link is gone, where another decides who goes on: UNDECIDED, which promote leads to
 *	 SOLO and fence to STOPPED)
 *
 * An armed backup does not fall back to IDLE as an armed primary does: its QEMU
 * has been told to run, and would run a second live copy of the guest.
 */
#ifndef FTKVM_CORE_STATE_H
#define FTKVM_CORE_STATE_H

#include "types.h"

enum ftkvm_state {
	FTKVM_STATE_IDLE,	/* attached, not paired; the guest may run */
	FTKVM_STATE_ARMED,	/* paired, waits for the first instruction */
	FTKVM_STATE_PRIMARY,
	FTKVM_STATE_BACKUP,
	FTKVM_STATE_ORPHAN,	/* a backup that lost its peer; consumes its log, then waits */
	FTKVM_STATE_TAKEOVER,	/* consumes what it holds, then goes live */
	FTKVM_STATE_SOLO,	/* live, no peer */
	FTKVM_STATE_STOPPED,	/* never enters the guest again */
	FTKVM_STATE_UNDECIDED,	/* a primary that lost its peer, and is not to go on unasked */
	FTKVM_STATES
};

enum ftkvm_event {
	FTKVM_EV_PAIR_PRIMARY,	/* HELLOs agree; this side is the primary */
	FTKVM_EV_PAIR_BACKUP,
	FTKVM_EV_START,		/* START frames agree: role from the pairing */
	FTKVM_EV_REFUSE,	/* HELLO or START disagree */
	FTKVM_EV_LINK_DOWN,
	FTKVM_EV_PROMOTE,
	FTKVM_EV_DRAINED,	/* takeover: the log is consumed */
	FTKVM_EV_DIVERGED,
	FTKVM_EV_UNPAIR,	/* operator's wish, or the peer's BYE */
	FTKVM_EV_GUEST_END,	/* the guest ended: STOP record consumed, or vCPU gone */
	FTKVM_EV_FENCE,		/* the other replica goes on: it was promoted by force, or has won */
	FTKVM_EV_HOLD,		/* primary: the pairing ends, and who goes on is to be decided */
	FTKVM_EV_PEER_STOPPED,	/* primary: ... and now the backup says that it has stopped */
	FTKVM_EVENTS
};

/*
 * The state that @event leads to. @role, the replica's, decides where ARMED
 * leads to and is looked at nowhere else.
 * Return: the new state, or -EINVAL when the event has no place in @state.
 *
 * ARMED + START -> PRIMARY or BACKUP; ARMED + REFUSE/LINK_DOWN/UNPAIR -> IDLE
 * for a primary, STOPPED for a backup; IDLE + REFUSE/UNPAIR stays (a pairing
 * that was under way is off);
 * BACKUP + LINK_DOWN -> ORPHAN; ORPHAN + PROMOTE -> TAKEOVER;
 * BACKUP + PROMOTE -> TAKEOVER (the caller has checked that it may);
 * BACKUP/ORPHAN/TAKEOVER + DIVERGED -> STOPPED; BACKUP/ORPHAN + UNPAIR ->
 * STOPPED; PRIMARY + LINK_DOWN/UNPAIR/DIVERGED(the peer's) -> SOLO;
 * TAKEOVER + DRAINED -> SOLO; TAKEOVER + LINK_DOWN stays; SOLO/IDLE/STOPPED +
 * LINK_DOWN stay; any + GUEST_END -> STOPPED (IDLE, SOLO too);
 * ARMED/PRIMARY + FENCE -> STOPPED (who is solo has said so: its peer stops);
 * ARMED/PRIMARY + HOLD -> UNDECIDED; UNDECIDED + PROMOTE/PEER_STOPPED -> SOLO;
 * UNDECIDED/ORPHAN + FENCE -> STOPPED.
 * SOLO + PAIR_PRIMARY -> ARMED: protected again; STOPPED pairs no more.
 */
int ftkvm_state_next(enum ftkvm_state state, enum ftkvm_role role, enum ftkvm_event event);
/**
 * struct ftkvm_ending - what else decides what the end of a pairing means
 * @hold: this pair's primary does not go on before it is decided who does
 * @told: the peer has said that it has stopped
 * @begun: the peer may have begun: our START is on its way
 */
struct ftkvm_ending {
	bool hold, told, begun;
};

/*
 * The event that @event is to a replica in @state: HOLD, where a primary would go on
 * while its backup may as well.
 */
enum ftkvm_event ftkvm_state_event(enum ftkvm_state state, enum ftkvm_role role,
				   enum ftkvm_event event, const struct ftkvm_ending *ending);
const char *ftkvm_state_name(int state);
const char *ftkvm_event_name(int event);
/* May the vCPU execute guest instructions in @state? (BACKUP, ORPHAN: by the log.) */
bool ftkvm_state_may_run(enum ftkvm_state state);
/* Does the replica follow a log? */
bool ftkvm_state_follows(enum ftkvm_state state);

#endif
