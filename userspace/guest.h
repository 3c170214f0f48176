/* SPDX-License-Identifier: GPL-2.0 */
/* What ftd knows of the guests on this host, and the operations on them. */
#ifndef FTKVM_GUEST_H
#define FTKVM_GUEST_H

#include <systemd/sd-event.h>
#include "console.h"
#include "heard.h"

#define FT_SESSION_MAX	FT_UUID_MAX

enum ftverdict { FT_NONE, FT_WON, FT_LOST };

enum ftmoving { FT_STAYS, FT_LEAVES, FT_ARRIVES };

/* Who had its QEMU pause it: somebody else or QEMU itself, ftctl pause, ftd as its pairing failed, or for an operation. */
enum ftstopper { FT_OTHERS, FT_OPERATOR, FT_FAILED_PAIR, FT_OPERATION };

/* How far a long operation is: which step, and how many bytes of how many. */
struct ftprogress {
	_Atomic(const char *) step;
	_Atomic uint64_t done, total;
};

/* How far an orphan is: the least that it lagged by, and since when it is that. */
struct ftlag {
	uint64_t bytes;
	int64_t at;
};

struct op;

/**
 * struct guest - an attached guest
 * @busy: what an operation's thread is doing with it, or NULL; that thread owns
 *	@qmp, @cons and the fields below them meanwhile, the main loop all else
 * @attached: the module has taken it, and ftd looks after it
 * @attached_pid: its QEMU then: @pid for the main loop, busy or not
 * @remind: the next operation's struct op has this as @silent
 * @restored: a former ftd looked after it: it stays in the list as long as its QEMU lives
 * @starts_until: its QEMU was being started as a former ftd ended, and may have no monitor before (ft_now_ms())
 * @must_stop: its pairing failed after its QEMU was told to run it: to be looked at (@fresh)
 * @over: the module says that the guest has ended
 * @ended: its QEMU is gone; the module's replica may still tell of it
 * @reaped: ... no more
 * @final: what it told last
 * @session: of its pairing, at the arbiter; empty: nobody is asked (failover.h)
 * @leads: ... which this host began
 * @unused: ... and told nobody of: it need only be ended
 * @lost: ... and something has happened to it: to be looked at
 * @asking: ... which is under way
 * @asked: how often it was not decided since, and @asked_said: a hash of what was logged last of why not
 * @lag: ... and how far it is with its log, of which it must see the end before it may claim
 * @verdict: the arbiter's, to be acted on
 * @moving: it is being moved into a second replica, or is that: what ftd has to mend if it
 *	is killed meanwhile
 * @progress: of that; any thread may read it
 * @op: what it is busy with; the main loop's
 * @peer_guest: its name at the peer, if it has another there
 * @alone: it is not to be, unless it was protected once more; saved
 * @again: it is to be protected again; @again_tries times that did not work, and at
 *	@again_at (ft_now_ms()) it is tried next, first with @again_peer; @again_turn: which host's
 *	turn it is; @again_since: it is wanted; @again_good: when it last worked;
 *	@again_waits: for others, of which there are enough just now;
 *	@again_why: why the last try failed, @again_said: hashes of what was logged of that, by turns
 * @going: it is to go on here, by a switchover; saved: where that failed or its ftd was killed as nobody lived, ftd sees to
 *	that, until @going_until where it is a backup still; @going_tries times already, and next at @going_at
 * @second: the peer's address by the second path, SECOND_NONE where somebody wants none, or ""; it was called @second_tries times
 *	that did not work, is called just now (@second_calls), or again at @second_at; @second_seen: it was up
 * @was: what it had of its last peer, if @tries: it is to have another one, which may come to nothing; saved
 * @loss_said: what an operator said that it is to do when its peer is lost, FTKVM_UAPI_LOSS_*, 0: nothing; @loss_lent:
 *	that it holds is an arbiter's doing, and nobody said so; both of what the module has taken last; saved
 * @left: the peer of a try that failed when the modules had been told of it, and what it calls the guest: a stopped
 *	replica may be there, whatever @was is; saved
 * @deferred: it has been said that the peer's host lives, and is waited for
 * @fresh: it was paired before it ran, and has not begun yet, as far as is known: where that fails it must not run
 *	after all; saved. @fresh_said: what was to be done about that failed, and that is logged; @half: a former
 *	ftd may have been killed before it told its QEMU to run it
 * @heard: what the arbiter said last
 * @said: so many of its QEMU's events were logged since @said_since (ft_now_ms())
 * @still: its QEMU's word for why it does not run it, or ""; @still_known: it has told; @still_since: CLOCK_BOOTTIME,
 *	0: not known; @still_by: whose doing that is, as -j prints it; @stopper: who wanted it so, if it says "paused"; saved
 * @unjoined: it went live, and ftd is to look after its consoles again (promote_resume())
 * @held: ... for which ftd has stopped it
 * @gone: forget it as soon as it is not busy
 */
struct guest {
	struct guest *next;
	char name[FTKVM_NAME_MAX + 1];
	const char *busy;
	bool attached, restored, must_stop, over, ended, reaped, gone;
	pid_t attached_pid;
	bool remind;
	int64_t starts_until;
	int pidfd;
	sd_event_source *qmp_source, *pid_source, *retry_source;
	bool retry_logged;
	struct ftreplica *final;
	char session[FT_SESSION_MAX + 1];
	bool leads, unused, lost, asking;
	unsigned int asked;
	uint32_t asked_said;
	struct ftlag lag;
	enum ftverdict verdict;
	struct ftheard heard;
	sd_event_source *again_source;
	enum ftmoving moving;
	struct ftprogress progress;
	struct op *op;
	char peer_guest[FTKVM_NAME_MAX + 1];
	bool again, again_waits, alone, fresh, fresh_said, half, going;
	int64_t going_until, going_at;
	unsigned int going_tries;
	unsigned int again_tries, again_turn;
	int64_t again_at, again_since, again_good;
	char again_peer[256], again_why[sizeof(((struct fterr *)NULL)->text)];
	uint32_t again_said[8];
	char second[256];
	struct {
		char peer_guest[FTKVM_NAME_MAX + 1], second[256];
	} was;
	uint32_t loss_said;
	bool loss_lent;
	struct {
		char peer[256], guest[FTKVM_NAME_MAX + 1];
	} left;
	bool tries;
	bool second_calls, second_seen, deferred;
	unsigned int second_tries;
	int64_t second_at;
	unsigned int said;
	int64_t said_since;
	char still[32];
	bool still_known;
	uint64_t still_since;
	const char *still_by;
	enum ftstopper stopper;

	char qmp_path[108];
	struct ftqmp qmp;
	pid_t pid;
	struct ftconsole *cons;
	size_t ncons;
	bool unjoined, held;
};

/* The last thing that happened to a guest, attached by us or not. */
struct history {
	struct history *next;
	struct ftevent last;
	uint32_t state;
	uint64_t since_ns;	/* in that state; CLOCK_BOOTTIME */
};

extern sd_event *ftd_loop;
/* Too few descriptors would make a readable listener spin: it is slowed down. */
#define ft_slow_down(listener)	sd_event_source_set_ratelimit(listener, 1000000, 200)
extern struct guest *ftd_guests;
extern struct history *ftd_history;

struct guest *guest_find(const char *name);
/* A new, empty one in the list; NULL: out of memory. */
struct guest *guest_new(const char *name);
/* Drop it, or mark it for that while it is busy. */
void guest_drop(struct guest *g);
/* Ask the module once more, before it forgets the guest. */
void guest_note_final(struct guest *g);
/* Let the main loop watch its QEMU (again). Not while busy. */
void guest_watch(struct guest *g);
/* Hand it to an operation's thread. */
void guest_unwatch(struct guest *g);

/* The guests' list survives ftd: save it; attach again what it names. */
void guests_save(void);
void guests_restore(void);
/* Where it is kept. */
extern char ftd_state_path[128];

/* Note an event in the history. */
void history_note(const struct ftevent *event);
struct history *history_find(const char *name);

#endif
