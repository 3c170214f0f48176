/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Operations on guests: each runs in a thread while its guest is marked busy,
 * then answers whoever asked.
 */
#ifndef FTKVM_OP_H
#define FTKVM_OP_H

#include <stdatomic.h>
#include "guest.h"
#include "job.h"

#define OP_START_MS	20000	/* a QEMU that was started has to make its monitor */

struct client;
struct disk_sync;

/**
 * struct op - one operation
 * @what: its name, for people
 * @work: the blocking part; fills in @ret, @err, @warning, @result
 * @settle: then, in the main loop, before the answer; may be NULL
 * @name: of the guest
 * @state: ftd_state_path as it began: the main loop empties that when ftd ends
 * @guest: NULL if ftd does not know it (unpair, detach: the module may)
 * @client: who waits for the answer, or NULL
 * @attached: the guest was attached by this operation
 * @timeout_ms: ... and is to have this time-out, unless it is 0
 * @peer_name: the guest's name at the peer, if it has another there; the pair is called as
 *	the primary calls its guest
 * @second: the peer's address by the second path, SECOND_NONE, or "": nobody said that there is to be one
 * @request: what the peer has asked for, or NULL
 * @how: the peer's QEMU was started; the QEMU of this host: @started, if it was
 *	@may_start: ... which is allowed
 * @disks: of a guest that runs, which are copied to the peer; NULL: it does not
 * @device: what is to be added
 * @asks: an operator promotes it, and there is no arbiter: the peer is asked whether the guest lives there
 * @others: all devices that there are, as device_config() has them; of a guest that gets a
 *	replica, as devices_numbers() has them
 * @silent: devices_silent() as the operation began
 * @session: of the pairing that is to be, at the arbiter, or ""
 * @told: ... which the peer's replica may come to be held by: the modules are told to pair
 * @taken: this host's has taken the settings: with @loss_said and @loss_lent (struct guest) of these
 * @paired: ... and are, though it failed: nobody knows yet who goes on
 * @refused: it can't be paired, as it is not idle
 * @was_fresh: the guest was (struct guest), before this
 * @switches: a switchover: what is promoted is a backup, or one whose primary has stopped for it
 * @quiet: that it failed was said before, the last time, or somebody else says it
 * @by_itself: ftd protects it again, unasked
 * @called: the peer was called, or could not be; what hinders it is not this host's own
 * @stuck: the guest does not run on yet, although it should
 * @have: its QEMU is here, and waits
 * @next: the next step is another operation's
 * @adopted: it was the module's already, and a former ftd's
 * @sock: connected to the peer; the operation's own
 * @hung_up: who waited for the answer does not any more; any thread
 * @unwanted: ... as the guest is not to be protected; the main loop's
 * @result: what the answer says beside "ok", or NULL
 */
struct op {
	struct job job;
	const char *what;
	void (*work)(struct op *op);
	void (*settle)(struct op *op);
	char name[FTKVM_NAME_MAX + 1];
	char state[sizeof(ftd_state_path)];
	struct guest *guest;
	struct client *client;

	char qmp_path[108];
	struct ftconsole *cons;
	size_t ncons;
	char peer[256];
	char peer_name[FTKVM_NAME_MAX + 1];
	char second[256];
	struct ftsettings set;
	char session[FT_SESSION_MAX + 1];
	uint32_t loss_said;
	bool loss_lent;
	bool force, attached, adopted, told, taken, paired, refused, was_fresh, switches, quiet, by_itself, called, stuck, next, have, may_start, asks, silent;
	pid_t started;
	unsigned int timeout_ms, downtime_ms;
	struct disk_sync *disks;
	struct device *device;
	json_t *others, *request, *how;
	int sock;
	atomic_bool hung_up;
	bool unwanted;

	int ret;
	struct fterr err;
	char warning[512];
	json_t *result;
};

/* NULL: out of memory. */
struct op *op_new(const char *what, const char *name, void (*work)(struct op *op));
void op_free(struct op *op);
/* Begin; answers with an error itself if that fails. The op is not the caller's any more. */
void op_start(struct op *op);
/* Add to op->warning and log it. */
void op_warn(struct op *op, const char *fmt, ...) __printf(2, 3);

/*
 * Begin an operation for a client (or NULL); 0, or -errno with a text: the
 * guest is not there, or busy. @request holds the parameters.
 */
int op_attach(struct client *client, json_t *request, struct fterr *err);
int op_detach(struct client *client, json_t *request, struct fterr *err);
int op_pair(struct client *client, json_t *request, struct fterr *err);
int op_unpair(struct client *client, json_t *request, struct fterr *err);
int op_unprotect(struct client *client, json_t *request, struct fterr *err);
int op_protect(struct client *client, json_t *request, struct fterr *err);
int op_switchover(struct client *client, json_t *request, struct fterr *err);
int op_pause(struct client *client, json_t *request, struct fterr *err);
int op_resume(struct client *client, json_t *request, struct fterr *err);
int op_fence(struct client *client, json_t *request, struct fterr *err);
int op_promote(struct client *client, json_t *request, struct fterr *err);
int op_check(struct client *client, json_t *request, struct fterr *err);

/* The peer wants to pair: takes @sock in any case. */
void op_pair_backup(int sock, const char *from, json_t *request);
/* The peer wants its running guest to have a backup here: as op_pair_backup(). */
void op_receive(int sock, const char *from, json_t *request);
/* The peer has unpaired its guest, whose replica here may go: as op_pair_backup(). */
void op_over(int sock, const char *from, json_t *request);
/*
 * ftd by itself; @on_loss: FTKVM_UAPI_LOSS_*, 0 where nobody said it. 0: it is being tried, and again_succeeded() or
 * again_failed() is told; -errno with a text.
 */
int protect_again(struct guest *g, const char *peer, uint32_t on_loss, struct fterr *err);
/* A former ftd was killed as it moved the guest: mend what it left. */
void protect_mend(struct guest *g);
/* The main loop's: a former ftd was killed as the guest was to go on here: see to it that it does. */
void switch_resume(struct guest *g, const struct ftreplica *r);
/* Connect to the guest's QEMU again. */
void op_reconnect(struct guest *g);
/* QEMU has ended: keep the final statistics, let the module forget the guest. */
void op_reap(struct guest *g);
/* Its pairing failed before it began: stop it, if it runs. */
void op_stop_guest(struct guest *g);

/* Begin one of ftd's own; false: it was not begun, the guest is busy. */
bool op_own(struct guest *g, const char *what, void (*work)(struct op *op),
	    void (*settle)(struct op *op));
/* End the QEMU of a guest's stopped replica, and let the module forget it. In a thread; 0 or -errno. */
int replica_clear(struct op *op);
/* Is ftd giving it a backup, as nobody but its configuration asked for? NULL: no. */
bool op_protects_by_itself(const struct guest *g);
/* The work of unpairing. */
void unpair_work(struct op *op);
/* Its primary has stopped: nobody lives, and it is this one that was to. */
bool stopped_for_it(const struct ftreplica *r);
/* The work of promoting, whether its QEMU can be talked to or not. */
void promote_any(struct op *op);

/* Used by op_pair too: the work of attaching, and what follows it. */
void attach_work(struct op *op);
void attach_settle(struct op *op);
/* Which of the guest's consoles are live? All must be there; @may_live: any may be. 0 or -errno. */
int consoles_look(struct op *op, bool may_live, struct fterr *err);
/*
 * A former ftd may have been killed as it promoted the guest, or this one could not talk to
 * its QEMU: join its consoles.
 */
void promote_resume(struct op *op);
/* ... as an operation of its own. */
void op_join(struct guest *g);
/* Take "qmp" and "consoles" from a request into a new guest's op. */
int attach_params(struct op *op, json_t *request, struct fterr *err);
/* Make the guest that is to be attached. 0 or -errno. */
int op_attach_guest(struct op *op, struct fterr *err);
/* The guest, free to be worked on; @know: it must be one of ours. 0 or -errno. */
int op_guest(struct op *op, bool know, struct fterr *err);
/* ... and begin; -errno with a text: it was not begun. The op is not the caller's any more. */
int op_begin(struct op *op, bool know, struct fterr *err);
const char *request_string(json_t *request, const char *key);
/* A command on the guest that takes no more than its name: 0 or -errno. */
int op_simple(struct client *client, json_t *request, const char *what,
	      void (*work)(struct op *op), void (*settle)(struct op *op), bool know,
	      struct fterr *err);

/* --- op_protect_may.c, for op_protect.c: in a thread; 0, or -errno: not now --- */

int protect_must_run_alone(struct op *op);
int protect_must_have_devices(struct op *op);
/* A QEMU that missed a restart of ftd sets its disks up as it goes on: let it stop, and go on. */
int protect_come_back(struct op *op);

/* --- op_protect_peer.c, for op_protect.c --- */

/* The peer has a QEMU that waits, and @stream leads to it. In a thread; 0, or -errno. */
int protect_prepare_peer(struct op *op, int *stream);
/* The peer says nothing unasked, but that it has failed. In a thread; 0, or -errno. */
int protect_hear_peer(struct op *op);

/* --- op_pair.c, for again.c --- */

/* One was paired before it ran: what has come of that? No event, and no ftd, need have been there to say so. */
void pair_look(struct guest *g, const struct ftreplica *r);

/* --- op_pair.c, for protecting a guest that runs: op_protect.c, op_receive.c --- */

/*
 * The main loop's: an operation that joins a guest with a peer, which may have to be attached
 * before, by a client's request. NULL with a text.
 */
struct op *pair_op_new(struct client *client, json_t *request, const char *what,
		       void (*work)(struct op *op), struct fterr *err);
/*
 * Begin it, with a session if there is to be one, on disk before anybody may come to need it.
 * 0, or -errno with a text: the op is gone.
 */
int pair_op_start(struct op *op, struct fterr *err);
/* ... or don't. */
void pair_op_drop(struct op *op);
/* The session at the backup: that of the primary's line. */
int pair_session_join(struct op *op, json_t *request, struct fterr *err);
/*
 * Then, in the main loop: one that is not needed is ended; and where a peer has been lost
 * already, the arbiter is asked.
 */
void pair_session_settle(struct op *op);
/* Join all consoles to the world; mute them. 0 or -errno. */
int pair_open_all(struct guest *g, struct fterr *err);
int pair_mute_all(struct guest *g, struct fterr *err);
/* The main loop's: of a try that came to nothing the guest keeps nothing, but where it may have left something: saved. */
void pair_forget(struct op *op);
/* Where the peer's ftd listens: for the operator, and for promoting. */
void pair_peer_name(struct op *op, const char *from, json_t *request);
/* What the peer is asked to pair: the line's beginning, a new reference. */
json_t *pair_request(const struct op *op);

#endif
