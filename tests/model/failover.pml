/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The failover protocol, for spin: two replicas, A the primary and B the backup,
 * the link between them, an operator, and faults that come at any step.
 *
 * A process is a thread of the code, a step is what the code does under one lock
 * or in one statement that others can see; steps are named after the functions.
 * The states and what an event leads to are not written here: run takes them out
 * of kmod/core/state.[ch] (table.h).
 *
 * What is left out: what a frame or a record looks like, and that it may be
 * garbled (KUnit, fuzzing); where exactly an epoch ends (landing); flow control,
 * which makes the primary wait, never go on; heartbeats: instead, a link is
 * silent when its peer's host is off or its direction is cut, and then the
 * time-out may come at any moment, or never. So is the second path: all that it does is that a
 * backup asks the arbiter later (core/beat.c), and here it may ask at any moment from the loss
 * on, or never; and that an operator's promotion is refused, which he need not try.
 *
 * The guest is a program: environment read, output, environment read, output...
 * and at most one input, at any place.
 *
 * -D macros. Of the scenario: FROM_ARMED, OP_*, UNPAIR_*, FAULTS, F_*. What is
 * asserted: P_*. ARBITER: on-loss is hold, and ftd asks an arbiter. MUTANT_*: the code
 * with one mistake. FIX_*: the code with a
 * mistake mended. run has the table of what is checked with which.
 */
#ifndef OUTPUTS
#define OUTPUTS		2	/* in the guest's program */
#endif
#ifndef WIRE
#define WIRE		2	/* frames that a direction of the link holds */
#endif
#ifndef FAULTS
#define FAULTS		0	/* how many of F_* happen, at most */
#endif
#ifndef INPUTS
#define INPUTS		0	/* whether the guest gets one */
#endif

#define A		0
#define B		1
#define PEER(r)		(1 - (r))
#define NEVER		255

#include "table.h"		/* the states, and EVENT_*(r, to) for each event */

mtype = { START, DATA, ACK, BYE };			/* frames */
mtype = { ENV, OUT, END, STOP };			/* log records */
mtype = { R_NONE, R_LOST, R_LOCAL, R_UNPAIRED, R_GUEST_ENDED, R_PROMOTED, R_DIVERGED };

/* ---- hosts, link ---- */

bool on[2] = true;		/* the host has power */
bool qemu[2] = true;		/* ... and the guest's QEMU runs */
chan wire[2] = [WIRE] of { mtype, byte };	/* frames from this side to the other */
bool cut[2];			/* nothing gets into this direction any more */
bool dead[2];			/* ftkvm_link_fail() was called: no frame is read or sent */
bool mute[2];			/* FTKVM_LINK_MUTE */
byte nfaults;

#define alive(r)	(!dead[r] && !mute[r])		/* ftkvm_link_alive() */
#define LOST(r)		(cut[r] || !on[PEER(r)] || dead[PEER(r)])
#define ROOM(r)		(LOST(r) || nfull(wire[r]))
#define SILENT(r)	(cut[PEER(r)] || !on[PEER(r)])	/* the peer is not heard */
#define HUNG_UP(r)	(dead[PEER(r)] && on[PEER(r)] && !cut[PEER(r)])

/* ---- replicas: struct ftkvm_replica ---- */

mtype st[2];
mtype reason[2] = R_NONE;
bool bye[2], peer_bye[2];
mtype bye_reason[2] = R_NONE;
bool working[2];		/* event_work is under way */
bool have_peer_start[2];

/* what the log holds; offsets are in halves of a record, so that one can be cut */
#ifndef HALVES
#define HALVES		1
#endif
#define RECORDS		(2 * OUTPUTS + 2)
mtype rec[RECORDS];
byte records;
#define head		(records * HALVES)
byte sent, received;		/* A: struct ftkvm_flow */
byte held, told, consumed;	/* B; consumed: records */
bool log_closed;

#define LEAD(r)		(st[r] == PRIMARY)
#define FOLLOW(r)	(st[r] == BACKUP || st[r] == ORPHAN || st[r] == TAKEOVER)
#define HALT(r)		(st[r] == STOPPED)
#define PASS(r)		(st[r] == IDLE || st[r] == SOLO)
#define HELD(r)		(st[r] == UNDECIDED)		/* FTKVM_MODE_HOLD */

/* ---- guests ---- */

#define LENGTH		(2 * OUTPUTS)		/* of the program */
#define IS_OUT(pc)	((pc) % 2)
#define OUTPUT_NR(pc)	(((pc) + 1) / 2)	/* of the OUT at pc, from 1 */

byte pc[2];
byte input_at[2] = NEVER;	/* where the guest got its input */
bool out_logged;		/* A: OUT is in the log, and not done */
byte out_off;
bool go;			/* A: the output is in QEMU's hands */
bool answer;			/* A: FIX_FENCE: has yet to say that it stopped */
bool unpairing;			/* A: FIX_UNPAIR: waits for B to hang up */
bool was_alone;			/* A ran its guest with no peer */
bool start_said;		/* A: its START is on its way */
byte winner = NEVER;		/* at the arbiter */
byte told_winner[2] = NEVER;	/* what it has answered, and is to be done */

#define VCPU(r)		(on[r] && qemu[r])

/* ---- the world ---- */

byte outs_left;			/* outputs of A that left: 1..outs_left, in order */
bool b_live;			/* B went live ... */
byte b_outs;			/* ... having this many outputs in its log */
byte own_from = NEVER;		/* where B first asked its own environment */

#ifdef ARBITER
/*
 * A primary that has not yet seen that its peer is lost runs, and so may the backup that won.
 * But nothing leaves it that the backup does not hold (NO_LOSS).
 */
#define LIVE(r)		(VCPU(r) && PASS(r))
#else
#define LIVE(r)		(VCPU(r) && (PASS(r) || LEAD(r) || ((r) == A && go)))
#endif

#define say(r, what)	printf("%c ", 'A' + (r)); printf(what); printf("\n")

/* ---- event.c ---- */

byte to;

/* ftkvm_replica_event(); says_bye: the peer is told of this event */
inline event_take(r, why, says_bye)
{
	if
	:: to != NO_PLACE && to != st[r] ->
		printf("%c   %e -> %e\n", 'A' + (r), st[r], to);
		if
		:: why != R_NONE -> reason[r] = why
		:: else
		fi;
		if
		:: says_bye && !peer_bye[r] && (!bye[r] || LEAD(r)) ->
			bye[r] = true;
			bye_reason[r] = reason[r]
		:: else
		fi;
		st[r] = to;
		if
		:: r == A && PASS(A) -> was_alone = true
		:: else
		fi
	:: else
	fi;
	to = NO_PLACE
}

#define EVENT(ev, r, why, says_bye)	EVENT_##ev(r, to); event_take(r, why, says_bye)
#define EV_START(r)		EVENT(START, r, R_NONE, false)
#if defined(ARBITER) && !defined(MUTANT_NO_HOLD)
/* core/state.c: ftkvm_state_event() */
#ifdef MUTANT_HOLD_LATE
#define BEGUN			false
#else
#define BEGUN			start_said
#endif
#define HOLDS(r)		(r == A && !peer_bye[A] && \
				 (st[A] == PRIMARY || (st[A] == ARMED && BEGUN)))
#else
#define HOLDS(r)		false
#endif
#define ENDING(ev, r, why, says_bye)					\
	if								\
	:: HOLDS(r) -> EVENT(HOLD, r, why, says_bye)			\
	:: else -> EVENT(ev, r, why, says_bye)				\
	fi
#define EV_LINK_DOWN(r, why)	ENDING(LINK_DOWN, r, why, false)
#define EV_PROMOTE(r)		EVENT(PROMOTE, r, R_NONE, false)
#define EV_DRAINED(r)		EVENT(DRAINED, r, R_PROMOTED, false)
#define EV_DIVERGED(r, why)	EVENT(DIVERGED, r, why, true)
#define EV_UNPAIR(r, why)	ENDING(UNPAIR, r, why, true)
#define EV_GUEST_END(r, why)	EVENT(GUEST_END, r, why, true)
#define EV_FENCE(r, why)	EVENT(FENCE, r, why, false)

/* ---- link/ ---- */

inline link_send(r, type, arg)
{
	if
	:: LOST(r)
	:: else -> wire[r]!type,arg
	fi
}

inline link_fail(r)
{
	dead[r] = true;
	mute[r] = false
}

/* What nobody will read. As elsewhere: equal values make fewer states. */
inline forget_frames(r)
{
	do
	:: nempty(wire[PEER(r)]) -> wire[PEER(r)]?_,_
	:: empty(wire[PEER(r)]) -> break
	od;
	have_peer_start[r] = false
}

/* unpair.c */
inline pair_got_bye(r, why)
{
	/* it has stopped; who promotes has not */
	peer_bye[r] = (why != R_PROMOTED) || peer_bye[r];
	if
	:: why == R_GUEST_ENDED ->
#ifdef MUTANT_ENDED_UNPAIRS
		EV_UNPAIR(r, R_GUEST_ENDED)
#else
		EV_LINK_DOWN(r, R_GUEST_ENDED)
#endif
	:: why == R_PROMOTED ->
#ifdef FIX_FENCE
		/* only a primary can be stopped so, and says when it is: pair_fenced() */
		if
		:: r == A && (unpairing || HELD(A))
		:: else ->
			EV_FENCE(r, R_PROMOTED);
			answer = answer || (r == A && reason[A] == R_PROMOTED)
		fi
#else
		EV_GUEST_END(r, R_PROMOTED)
#endif
	:: why == R_DIVERGED && r == A ->
		EV_DIVERGED(r, R_DIVERGED)
	:: else ->
		EV_UNPAIR(r, why)
	fi
#ifdef FIX_UNPAIR
	;
	if
	:: why == R_UNPAIRED && r == B ->	/* says that it stopped, and hangs up */
		if
		:: ROOM(B) && alive(B) -> link_send(B, BYE, R_UNPAIRED)
		:: else
		fi;
		link_fail(B)
	:: else
	fi
#endif
}

#ifdef MUTANT_NEVER_CLOSED
#define CLOSED		false
#else
#define CLOSED		true
#endif

/* rx.c: the receive thread; it tells of the link's end for both threads */
proctype link_rx(byte r)
{
	mtype type;
	byte arg;

	do
	:: atomic { on[r] && !dead[r] && nempty(wire[PEER(r)]) ->
		wire[PEER(r)]?type,arg;
		if
		:: type == BYE -> printf("%c link_rx BYE %e\n", 'A' + r, arg)
		:: else -> printf("%c link_rx %e %d\n", 'A' + r, type, arg)
		fi;
		if
		:: type == START ->		/* pair_frame() */
			have_peer_start[r] = true
		:: type == DATA ->		/* pair_data() */
			held = arg
		:: type == ACK ->		/* pair_ack() */
			assert(arg >= received && arg <= sent);
			received = arg
		:: type == BYE ->
			pair_got_bye(r, arg)
		fi;
		type = 0;
		arg = 0
	   }
	:: atomic { on[r] && !dead[r] && empty(wire[PEER(r)]) && HUNG_UP(r) ->
		say(r, "link_rx: the peer closed the connection");
		link_fail(r)
	   }
	:: atomic { on[r] && !dead[r] && SILENT(r) ->
		say(r, "link_rx: the peer was silent");
		link_fail(r)
	   }
	:: atomic { on[r] && dead[r] ->
		say(r, "pair_down");
		if
		:: r == B -> log_closed = CLOSED; told = 0
		:: else -> sent = 0; received = 0
		fi;
		forget_frames(r);
		if
		:: r == A && unpairing -> EV_UNPAIR(A, R_UNPAIRED)
		:: else -> EV_LINK_DOWN(r, R_LOST)
		fi;
		break
	   }
	:: !on[r] -> break
	od
}

/* All that there is, or the last record cut in two: else it was pulled before. */
inline pair_pull(off)
{
	off = head;
	if
	:: off > sent + 1 && HALVES > 1 -> off--
	:: true
	fi
}

#ifdef MUTANT_ACK_EARLY
#define ACKED		sent		/* what is on its way is as good as held */
#elif defined(FIX_ARMED)
#define ACKED		(st[B] == ARMED -> told : held)
#else
#define ACKED		held
#endif

/* tx.c: the send thread */
proctype link_tx(byte r)
{
	byte off;

	do
	:: atomic { r == A && on[A] && alive(A) && sent < head && ROOM(A) ->
		pair_pull(off);
		printf("A link_tx DATA %d\n", off);
		sent = off;
		link_send(A, DATA, off);
		off = 0
	   }
	:: atomic { r == B && on[B] && alive(B) && told < ACKED && ROOM(B) ->
		told = ACKED;
		printf("B link_tx ACK %d\n", told);
		link_send(B, ACK, told)
	   }
	:: atomic { on[r] && alive(r) && HUNG_UP(r) && !cut[r] ->
		say(r, "link_tx_gone: EPIPE");
		mute[r] = true
	   }
	:: !on[r] || dead[r] -> break
	od
}

/*
 * event.c, unpair.c: the worker says good-bye, with the reason that came first. A
 * primary whose guest ended drains its log before.
 */
#define DRAINED_A	(!alive(A) || received >= head || SILENT(A) || cut[A])
/* ftkvm_pair_unpair(): asks the backup to stop, and leaves it to it to hang up */
#define UNPAIRS(r)	(r == A && unpairing && bye_reason[r] == R_UNPAIRED && \
			 (LEAD(A) || st[A] == ARMED))
#define SAYS_BYE(r)	(on[r] && bye[r] && ROOM(r) && \
			 (r == B || bye_reason[r] != R_GUEST_ENDED || DRAINED_A))

proctype event_work(byte r)
{
	do
	:: atomic { SAYS_BYE(r) && !alive(r) -> bye[r] = false; bye_reason[r] = R_NONE }
	:: atomic { SAYS_BYE(r) && alive(r) ->
		printf("%c pair_say_bye %e\n", 'A' + r, bye_reason[r]);
		bye[r] = false;
		link_send(r, BYE, bye_reason[r]);
		working[r] = !UNPAIRS(r);
		bye_reason[r] = R_NONE
	   }
	:: atomic { on[r] && working[r] ->
		say(r, "pair_say_bye: link_fail");
		working[r] = false;
		link_fail(r)
	   }
#ifdef FIX_FENCE
	:: atomic { r == A && on[A] && answer && !go && ROOM(A) ->
		answer = false;
		say(A, "pair_fenced: has stopped");
		if
		:: alive(A) -> link_send(A, BYE, R_GUEST_ENDED); link_fail(A)
		:: else
		fi
	   }
	:: atomic { r == A && on[A] && answer && go ->
		answer = false;
		say(A, "pair_fenced: QEMU keeps an output for too long");
		link_fail(A)
	   }
#endif
	:: !on[r] -> break
	od
}

inline log_append(type)
{
	rec[records] = type;
	records++;
	printf("A ftkvm_log_append %e\n", type)
}

/* replica.c: replica_gone_work(), when QEMU closed the vCPU */
proctype gone_work(byte r)
{
	if
	:: atomic { on[r] && !qemu[r] ->
		say(r, "replica_gone_work");
		if
		:: LEAD(r) -> log_append(STOP)
		:: else
		fi;
		EV_GUEST_END(r, R_GUEST_ENDED)
	   };
	   if
	   :: atomic { on[r] && !bye[r] && !working[r] ->
		say(r, "ftkvm_link_destroy");
		link_fail(r)
	      }
	   :: !on[r]
	   fi
	:: !on[r]
	fi
}

/* ---- the primary's vCPU: lead.c, svm.c ---- */

/* pair.c: ftkvm_pair_start(). The guests are equal. */
inline pair_starting(r)
{
	if
	:: atomic { VCPU(r) && st[r] == ARMED && ROOM(r) ->
		say(r, "pair_starting");
		start_said = start_said || r == A;
		link_send(r, START, 0)
	   };
	   if
	   :: atomic { VCPU(r) && st[r] == ARMED && have_peer_start[r] -> EV_START(r) }
	   :: st[r] != ARMED || !VCPU(r)
	   fi
	:: st[r] != ARMED || !VCPU(r)
	fi
}

#ifdef MUTANT_NO_COMMIT
#define COMMITTED	true
#elif defined(MUTANT_COMMIT_BEFORE)
#define COMMITTED	(received + HALVES >= out_off)	/* what is before OUT */
#elif defined(MUTANT_COMMIT_CUT)
#define COMMITTED	(received + 1 >= out_off)	/* its beginning is there */
#else
#define COMMITTED	(received >= out_off)
#endif

inline output_leaves()
{
	go = false;
	out_logged = false;
	out_off = 0;
	outs_left = OUTPUT_NR(pc[A]);
	printf("A output %d leaves\n", outs_left);
#ifdef P_NO_LOSS
	assert(!b_live || outs_left <= b_outs);
#endif
#ifdef P_ONE_ANSWER
	assert(own_from > pc[A]);
#endif
	pc[A]++
}

proctype lead()
{
	pair_starting(A);
	do
	:: atomic { VCPU(A) && LEAD(A) && !out_logged && pc[A] < LENGTH &&
		    input_at[A] == NEVER && INPUTS ->
		say(A, "lead_end");
#ifndef MUTANT_INPUT_UNLOGGED
		log_append(END);
#endif
		input_at[A] = pc[A]
	   }
	:: atomic { VCPU(A) && LEAD(A) && pc[A] < LENGTH && !IS_OUT(pc[A]) ->
		say(A, "lead_env_close");
#ifndef MUTANT_ENV_UNLOGGED
		log_append(ENV);
#endif
		pc[A]++
	   }
	:: atomic { VCPU(A) && LEAD(A) && IS_OUT(pc[A]) && !out_logged ->
		say(A, "lead_out");
		log_append(OUT);
		out_logged = true;
		out_off = head
	   }
	/* ftkvm_log_commit(), and what svm_handle_sync() looks at behind it */
	:: atomic { VCPU(A) && out_logged && !go && !HELD(A) && (!LEAD(A) || COMMITTED) ->
		say(A, "ftkvm_log_commit");
#ifndef MUTANT_HALT_UNSEEN
		if
		:: HALT(A) -> break
		:: else
		fi;
#endif
		go = true
	   }
	:: atomic { VCPU(A) && go -> output_leaves() }
	:: atomic { VCPU(A) && PASS(A) && pc[A] < LENGTH && !out_logged && !go ->
		pc[A] = (IS_OUT(pc[A]) -> pc[A] : pc[A] + 1);	/* asks its environment */
		go = true
	   }
	:: atomic { VCPU(A) && PASS(A) && pc[A] < LENGTH && input_at[A] == NEVER && INPUTS &&
		    !out_logged && !go ->
		input_at[A] = pc[A]
	   }
	:: HALT(A) && !go && !out_logged -> break
	:: !VCPU(A) -> break
	:: pc[A] == LENGTH && !go -> break
	od
}

/* ---- the backup's vCPU: follow.c, takeover.c ---- */

#define PEEK		(held >= (consumed + 1) * HALVES)	/* ftkvm_log_peek() */

#ifdef MUTANT_UNDRAINED
#define DRAINED		(st[B] == TAKEOVER)
#elif defined(MUTANT_PEEK_FIRST)
#define DRAINED		(st[B] == TAKEOVER && peeked && log_closed)
#else
#define DRAINED		(st[B] == TAKEOVER && log_closed && !PEEK)
#endif

/* ftd says the last output once more: whether it left is not known */
#ifdef MUTANT_NO_REPEAT
#define SAYS_FROM(n)	((n) + 1)
#elif defined(MUTANT_REPEAT_TWO)
#define SAYS_FROM(n)	((n) - 1)
#else
#define SAYS_FROM(n)	(n)
#endif

inline go_live()
{
	EV_DRAINED(B);
	b_live = true;
	b_outs = pc[B] / 2;
	printf("B ftkvm_go_live with %d outputs, %d have left\n", b_outs, outs_left);
#ifdef P_NO_LOSS
	assert(outs_left <= b_outs);
	assert(SAYS_FROM(b_outs) <= outs_left + 1);
#endif
#ifdef P_REPEAT
	assert(outs_left <= SAYS_FROM(b_outs));
#endif
#ifdef P_ONE_ANSWER
	assert(input_at[A] == NEVER || input_at[A] >= 2 * outs_left || input_at[B] == input_at[A]);
#endif
}

inline own_answer()
{
#ifdef P_ONE_ANSWER
	assert(pc[B] >= 2 * outs_left);
#endif
	own_from = (pc[B] < own_from -> pc[B] : own_from)
}

proctype follow()
{
#ifdef MUTANT_PEEK_FIRST
	bool peeked;
#endif

	pair_starting(B);
	do
	:: atomic { VCPU(B) && FOLLOW(B) && PEEK ->
		printf("B ftkvm_log_consume %e\n", rec[consumed]);
		if
		:: rec[consumed] == ENV ->
			assert(!IS_OUT(pc[B]));
			pc[B]++
		:: rec[consumed] == OUT ->
			assert(IS_OUT(pc[B]));
			pc[B]++
		:: rec[consumed] == END ->
			input_at[B] = pc[B]
		:: rec[consumed] == STOP ->
			EV_LINK_DOWN(B, R_GUEST_ENDED)
		fi;
		consumed++
	   }
#ifdef F_DIVERGE
	:: atomic { VCPU(B) && FOLLOW(B) && PEEK && nfaults < FAULTS ->
		nfaults++;
		say(B, "ftkvm_follow_diverged");
		EV_DIVERGED(B, R_DIVERGED)
	   }
#endif
#ifdef MUTANT_PEEK_FIRST
	:: atomic { VCPU(B) && FOLLOW(B) && !peeked && !PEEK -> peeked = true }
	:: atomic { peeked && !(st[B] == TAKEOVER && log_closed) -> peeked = false }
#endif
	:: atomic { VCPU(B) && DRAINED -> go_live() }
#ifdef MUTANT_BUSY
	:: VCPU(B) && st[B] == TAKEOVER -> skip
#endif
	:: atomic { VCPU(B) && PASS(B) && pc[B] < LENGTH && !IS_OUT(pc[B]) ->
		say(B, "asks its own environment");
		own_answer();
		pc[B]++
	   }
	:: atomic { VCPU(B) && PASS(B) && pc[B] < LENGTH && input_at[B] == NEVER && INPUTS ->
		say(B, "gets an input of its own");
		own_answer();
		input_at[B] = pc[B]
	   }
	:: atomic { VCPU(B) && PASS(B) && IS_OUT(pc[B]) ->
		printf("B output %d leaves\n", OUTPUT_NR(pc[B]));
		pc[B]++
	   }
	:: atomic { HALT(B) || !VCPU(B) -> pc[B] = (b_live -> pc[B] : 0); consumed = 0; break }
	:: PASS(B) && pc[B] == LENGTH -> break
	od
}

/* ---- the operator ---- */

#define DEAD_A		(!on[A] || !qemu[A])

/* what he makes sure of before he promotes without --force */
#ifdef OP_LINKED
#define DUTY		true			/* nothing: ftkvm refuses */
#elif defined(OP_OFF)
#define DUTY		DEAD_A			/* admin.rst */
#else
#define DUTY		(DEAD_A && !was_alone)	/* and that it did not go on alone */
#endif

/* command.c: ftkvm_replica_promote(); when it refuses, he tries again */
#ifdef MUTANT_PROMOTE_LINKED
#define MAY_PROMOTE	(st[B] == BACKUP || st[B] == ORPHAN)
#elif defined(FIX_MUTE)
#define MAY_PROMOTE	(st[B] == ORPHAN)
#else
#define MAY_PROMOTE	(st[B] == ORPHAN || (st[B] == BACKUP && !alive(B)))
#endif

#if defined(FIX_FENCE) && !defined(MUTANT_NO_FENCE)
#define FENCED		(st[B] == ORPHAN && reason[B] == R_GUEST_ENDED)
#else
#define FENCED		(st[B] == ORPHAN)
#endif

proctype operator()
{
#ifdef OP_FORCE
	if
	:: atomic { on[B] && st[B] == BACKUP && alive(B) && ROOM(B) ->
		say(B, "ftkvm_pair_fence");
#ifndef MUTANT_NO_FENCE
		link_send(B, BYE, R_PROMOTED)
#endif
	   };
#if !defined(FIX_FENCE) || defined(MUTANT_NO_FENCE)
	   if
	   :: atomic { on[B] -> say(B, "ftkvm_pair_fence: link_fail"); link_fail(B) }
	   :: !on[B] -> goto end
	   fi;
#endif
	   if
	   :: on[B] && st[B] != BACKUP
	   :: !on[B] -> goto end
	   fi;
	   if
	   :: atomic { on[B] && FENCED -> say(B, "promote again"); EV_PROMOTE(B) };
		goto end
	   :: else
	   fi
	:: !on[B] -> goto end
	:: true				/* or he does not think of force */
	fi;
#endif
#ifndef OP_NONE
	if
	:: atomic { on[B] && DUTY && MAY_PROMOTE ->
		say(B, "ftkvm_replica_promote");
		EV_PROMOTE(B)
	   }
	:: !on[B] -> goto end
	fi;
#endif
end:	skip
}

#ifdef ARBITER
/* userspace/failover.c: the first to ask wins; the verdict is acted on later */
#define WAITS(r)		(st[r] == ORPHAN || HELD(r))

proctype failover(byte r)
{
	do
	:: atomic { on[r] && WAITS(r) && told_winner[r] == NEVER ->
		say(r, "arbiter_claim");
#ifdef MUTANT_TWO_WINNERS
		told_winner[r] = r
#else
		winner = (winner == NEVER -> r : winner);
		told_winner[r] = winner
#endif
	   }
	:: atomic { on[r] && told_winner[r] == r && WAITS(r) ->
		say(r, "ftkvm_replica_promote");
		EV_PROMOTE(r)
	   }
	:: atomic { on[r] && told_winner[r] == PEER(r) && WAITS(r) ->
		say(r, "ftkvm_replica_fence");
		EV_FENCE(r, R_NONE)
	   }
	:: !on[r] -> break
	od
}
#endif

/* command.c: ftkvm_replica_unpair() */
proctype unpair(byte r)
{
	if
#ifdef FIX_UNPAIR
	/* the worker does it; a primary goes on as one until the backup hangs up */
	:: atomic { r == A && on[A] && (LEAD(A) || st[A] == ARMED) && alive(A) ->
		say(A, "ftkvm_pair_unpair");
		unpairing = true;
		bye[A] = true;
		bye_reason[A] = R_UNPAIRED
	   }
	:: atomic { on[r] && st[r] != IDLE && !(r == A && (LEAD(A) || st[A] == ARMED) && alive(A)) ->
#else
	:: atomic { on[r] && st[r] != IDLE ->
#endif
		say(r, "ftkvm_replica_unpair");
		EV_UNPAIR(r, R_UNPAIRED)
	   }
	:: true
	fi
}

/* lead.c: lead_unlogged() and its like: what the primary can't log, it can't hold back */
proctype unlogged()
{
	if
	:: atomic { VCPU(A) && LEAD(A) ->
		say(A, "lead_unlogged");
		EV_UNPAIR(A, R_LOCAL)
	   }
	:: true
	fi
}

/* ---- faults ---- */

/* what a host knew is gone */
inline power_off(r)
{
	on[r] = false;
	dead[r] = true;
	mute[r] = false;
	bye[r] = false;
	bye_reason[r] = R_NONE;
	working[r] = false;
	peer_bye[r] = false;
	reason[r] = R_NONE;
	st[r] = STOPPED;
	forget_frames(r);
	if
	:: r == A ->
		go = false; out_logged = false; out_off = 0; sent = 0; received = 0;
		answer = false; unpairing = false
	:: else -> held = 0; told = 0; consumed = 0
	fi
}

proctype fault()
{
	do
#ifdef F_CUT
	:: atomic { nfaults < FAULTS && !cut[A] && !cut[B] ->
		nfaults++;
		if
		:: cut[A] = true
		:: cut[B] = true
		:: cut[A] = true; cut[B] = true
		fi;
		printf("- link cut: A to B %d, B to A %d\n", cut[A], cut[B])
	   }
#endif
#ifdef F_OFF_A
	:: atomic { nfaults < FAULTS && on[A] ->
		nfaults++; say(A, "power off"); power_off(A)
	   }
#endif
#ifdef F_OFF_B
	:: atomic { nfaults < FAULTS && on[B] ->
		nfaults++; say(B, "power off"); power_off(B)
	   }
#endif
#ifdef F_QEMU_A
	:: atomic { nfaults < FAULTS && VCPU(A) ->
		nfaults++; say(A, "QEMU dies"); qemu[A] = false; go = false; out_logged = false
	   }
#endif
#ifdef F_QEMU_B
	:: atomic { nfaults < FAULTS && VCPU(B) ->
		nfaults++; say(B, "QEMU dies"); qemu[B] = false
	   }
#endif
	:: break
	od
}

/* ---- what must hold ---- */

#ifdef P_GOES_ON
/* When nothing more can happen: the world has seen all of the guest's outputs. */
#define SAID_ALL	(outs_left == OUTPUTS || (b_live && pc[B] == LENGTH))
#ifdef FROM_ARMED
#define NOT_BEGUN	(outs_left == 0)	/* it can be started anew */
#else
#define NOT_BEGUN	false
#endif
#ifdef OP_FORCE
#define PROMOTABLE	(st[B] == ORPHAN && VCPU(B) && !LIVE(A))
#else
#define PROMOTABLE	false			/* he has done it */
#endif
#endif

/*
 * Waits for what must not come. (It never ends, which also spares many states:
 * spin lets processes end in the reverse of the order that they began in.)
 */
proctype watch()
{
	if
#ifdef P_ONE_LIVE
	:: atomic { LIVE(A) && LIVE(B) -> assert(false) }
#endif
#ifdef P_GOES_ON
	:: atomic { timeout ->
		printf("- the end: %d outputs of A, B at %d, %e, %e\n", outs_left, pc[B],
		       st[A], st[B]);
		assert(SAID_ALL || PROMOTABLE || NOT_BEGUN)
	   }
#endif
	:: false
	fi
}

init {
	atomic {
#ifdef FROM_ARMED
		st[A] = ARMED;
		st[B] = ARMED;
#else
		st[A] = PRIMARY;
		st[B] = BACKUP;
#endif
		run link_rx(A); run link_rx(B);
		run link_tx(A); run link_tx(B);
		run event_work(A); run event_work(B);
#ifdef F_QEMU_A
		run gone_work(A);
#endif
#ifdef F_QEMU_B
		run gone_work(B);
#endif
		run lead(); run follow();
		run operator();
#ifdef ARBITER
		run failover(A); run failover(B);
#endif
#ifdef UNPAIR_A
		run unpair(A);
#endif
#ifdef UNPAIR_B
		run unpair(B);
#endif
#ifdef UNPAIR_LOCAL
		run unlogged();
#endif
#if FAULTS
		run fault();
#endif
		run watch();
	}
}
