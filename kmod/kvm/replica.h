/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The replica: ftkvm's object for one guest on one host. It joins the core
 * (core/), the interposition on KVM (this folder) and the link.
 *
 * Who touches what:
 *  - the vCPU thread owns everything under "vCPU thread": no lock. It is the
 *    only producer of the log on the primary, the only consumer on the backup.
 *    While nobody is inside KVM_RUN, whoever holds vcpu->mutex stands in for it;
 *  - @state, @role, @reason, @detail, @mode, @promote change under @lock (a
 *    spinlock with interrupts off); the vCPU thread reads @mode, which follows
 *    @state. What it does next is right in any order with a change of mode;
 *  - inputs arrive in any context but NMI, under @in.lock;
 *  - netlink commands on a replica exclude each other by @cmd.
 * A replica lives while anybody holds a reference; every hook takes one for
 * its call, so that detach can wait for the last.
 */
#ifndef FTKVM_REPLICA_H
#define FTKVM_REPLICA_H

#include <linux/kvm_host.h>
#include <linux/perf_event.h>
#include <linux/refcount.h>
#include <linux/rculist.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <uapi/linux/ftkvm.h>
#include "../core/types.h"
#include "../core/digest.h"
#include "../core/record.h"
#include "../core/image.h"
#include "../core/frame.h"
#include "../core/ring.h"
#include "../core/epoch.h"
#include "../core/state.h"
#include "../link/link.h"
#include "../netlink/netlink.h"

#define FTKVM_LOG_SIZE		BIT(20)
#define FTKVM_LOG_RESERVE	(16u << 10)	/* what one trip of the vCPU may write */
/* a backup may be this far behind, in events or, if that is more, in epochs */
#define FTKVM_LAG_EVENTS	(128 * 400000)
#define FTKVM_LAG_EPOCHS	128
#define FTKVM_LAG_EPOCHS_MOST	4096
#define FTKVM_BATCH_EVENTS	(FTKVM_LAG_EVENTS / 4)	/* some milliseconds of guest */
#define FTKVM_BATCH_BYTES	(FTKVM_LOG_SIZE / 32)
#define FTKVM_LAG_BUCKETS	1024		/* the last one: or more */
#define FTKVM_EXTINTS		16		/* two 8259s have no more lines */

#define FTKVM_DEFAULT_PERIOD_MIN	100000
#define FTKVM_DEFAULT_PERIOD_MAX	400000
#define FTKVM_DEFAULT_MARGIN		1200
#define FTKVM_DEFAULT_COUNTER		0xc0	/* retired instructions, AMD */
/* points like the one to land on that a replica passes before it says that it diverged */
#define FTKVM_LOOK_ALIKES		1000000
/* ten beats that do not come: Documentation/ftkvm/failover.rst */
#define FTKVM_DEFAULT_TIMEOUT_MS	500

/* What the hooks do for this guest; a view of enum ftkvm_state. */
enum ftkvm_mode {
	FTKVM_MODE_PASS,	/* nothing: not paired, or live without a peer */
	FTKVM_MODE_START,	/* wait for the peer at the first instruction */
	FTKVM_MODE_LEAD,	/* primary: log */
	FTKVM_MODE_FOLLOW,	/* backup: replay */
	FTKVM_MODE_HALT,	/* never enter the guest again */
	FTKVM_MODE_HOLD,	/* not now: it may be PASS, or HALT, that follows */
};

struct ftkvm_counter {
	struct perf_event *event;
	u64 raw;		/* the event's count when last read */
	u64 hw;			/* the hardware's value then */
	u64 set;		/* what it was set to */
	u64 armed;		/* overflow is due at this count; 0: not known */
};

/* Inputs that arrived and wait for an epoch end. */
struct ftkvm_inputs {
	raw_spinlock_t lock;
	bool any;				/* but for @extint; read without the lock */
	DECLARE_BITMAP(vec, 256);
	DECLARE_BITMAP(level, 256);
	u8 nmi;					/* at most two, as KVM holds */
	u8 extint[FTKVM_EXTINTS];		/* 8259 vectors, in order */
	u8 extints;
	/* backup: what local devices raised and the log has not delivered yet */
	DECLARE_BITMAP(noted, 256);
	DECLARE_BITMAP(noted_level, 256);
	bool noted_nmi;
	u8 noted_extint[FTKVM_EXTINTS];
	u8 noted_extints;
};

/* What the vCPU may do at its next entry. */
struct ftkvm_plan {
	enum ftkvm_step step;	/* WAIT: nothing */
	u64 until;		/* count at which the counter must overflow */
	u64 rip;		/* SEEK: where the breakpoint goes */
	u32 base;		/* ... the code segment's there, outside 64-bit mode */
};

/**
 * struct ftkvm_dirty - what the guest has written; the vCPU thread's
 * @map: a bit a page that was not verified since; NULL: not known
 * @total: bits
 * @next: where to go on
 * @cleared: the TLB has more dirty bits than the tables
 */
struct ftkvm_dirty {
	unsigned long *map;
	u64 total, next;
	bool cleared;
};

/**
 * struct ftkvm_verify - a verification; the vCPU thread's, but for @wanted, @proof
 * @wanted: the operator asked for one of all memory
 * @whole: this one is
 * @first: the registers of every kind are to be compared before the guest goes on: what
 *	START compares are few. The backup waits for them
 * @next: first page to come; in the background, where the next slice begins
 * @written: written pages that this one has still to do, before the slice
 * @left: pages that this one has still to do
 * @epoch: in which the last one began
 * @proof: log offset that the backup must have consumed; 0: none is awaited
 * @done: those of all memory that were proven
 * @pages: compared so far
 * @dirty: of these, as they were written since they were compared last (primary)
 * @marked: of these, pages with other accessed or dirty bits (backup)
 * @ns: how long the guest stood still for the last one of all memory
 * @words: registers that the last one compared
 * @began: when it did
 * @sums: FTKVM_REC_MAX_DATA bytes
 * @page: PAGE_SIZE bytes
 */
struct ftkvm_verify {
	bool wanted, whole, first;
	u64 next, left, epoch, proof;
	u64 done, pages, dirty, marked, ns;
	u32 words, written;
	ktime_t began;
	u8 *sums;
	void *page;
};

/* A comparison of the disks: nobody wants one; pieces are left to do; all is in the log. */
enum ftkvm_sums_phase {
	FTKVM_SUMS_IDLE,
	FTKVM_SUMS_RUN,
	FTKVM_SUMS_LOGGED,
};

/* Which of them it is, and its phase, in one word: who found one out must not end the next. */
#define FTKVM_SUMS_NEXT		4u
#define FTKVM_SUMS_PHASE(state)	((state) % FTKVM_SUMS_NEXT)
#define FTKVM_SUMS(state, phase)	((state) - FTKVM_SUMS_PHASE(state) + (phase))

/**
 * struct ftkvm_sums - the comparison of the disks with the other host's
 * @state: FTKVM_SUMS(): which one, and enum ftkvm_sums_phase; changes by cmpxchg()
 * @proof: LOGGED: log offset that the backup must have consumed
 * @done: those that were proven
 * @given_up: those that came to no result
 * @bytes: compared so far: logged, on the backup compared
 * @why: what the last one was given up for; @lock
 */
struct ftkvm_sums {
	u32 state;
	u64 proof, done, given_up, bytes;
	char why[FTKVM_DETAIL_MAX + 1];
};

struct ftkvm_stats {
	u64 epochs, snapped, halted, landed, skipped;
	u64 inputs, inputs_local;
	u64 env[FTKVM_ENV_KINDS];
	u64 outputs, commit_waits, commit_ns;
	u64 records, exits;
	u64 lag[FTKVM_LAG_BUCKETS], lag_max;
	u64 waits, wait_ns, land_steps, divergences;
	u64 takeover_ns;
};

struct ftkvm_replica {
	struct hlist_node node;			/* RCU, by kvm */
	struct rcu_head rcu;
	refcount_t ref;
	struct kvm *kvm;
	struct kvm_vcpu *vcpu;
	char name[FTKVM_NAME_MAX + 1];
	pid_t pid;

	/* settings; fixed while paired, but for the time-out */
	u64 period_min, period_max, margin;
	u32 counter_code, timeout_ms;
	u32 verify_every;			/* epochs; 0: never. May change at any time */
	u32 on_loss;				/* enum ftkvm_uapi_loss; fixed while paired */
	char peer[FTKVM_PEER_MAX + 1];

	spinlock_t lock;			/* state and what goes with it, below */
	enum ftkvm_state state;
	enum ftkvm_role role;
	u32 reason;
	char detail[FTKVM_DETAIL_MAX + 1];
	enum ftkvm_mode mode;
	bool promote;				/* go live when the log is consumed */
	bool detaching;
	unsigned long events;			/* BIT(enum ftkvm_uapi_event) to report */
	bool bye;				/* the peer is to be told ... */
	u32 bye_reason;				/* ... this: what came first */
	char bye_detail[FTKVM_DETAIL_MAX + 1];
	bool peer_bye;				/* it told us */
	bool unpairing;				/* primary: it is told, and has yet to hang up */
	bool second_up;				/* the last news of the second path ... */
	char second_why[FTKVM_DETAIL_MAX + 1];
	u64 second_lost;			/* ... and how often they were bad */

	struct mutex cmd;			/* one command at a time */
	struct ftkvm_link *link;		/* stays until the next pairing or detach */
	struct ftkvm_second *second;		/* as @link; NULL: none was made */
	struct mutex link_lock;			/* for readers of these that don't hold @cmd */
	u64 token;				/* the pairing's; 0: without a second path */
	unsigned long lost_at;			/* when the link ended, jiffies */
	wait_queue_head_t wq;			/* log, acknowledgements, state: everything */
	struct work_struct event_work;
	struct work_struct gone_work;
	bool gone;				/* QEMU closed the vCPU */
	bool stores_over;			/* ... and no disk that hosts share has a request of it */

	/* log: primary vCPU -> send thread, or receive thread -> backup vCPU */
	struct ftkvm_ring log;
	spinlock_t flow_lock;			/* @flow: vCPU against the link's threads */
	struct ftkvm_flow flow;			/* primary */
	struct ftkvm_flow stuck_at;		/* primary's vCPU: where the backup was, */
	unsigned long stuck_since;		/* since when at least (jiffies) */
	unsigned long stuck_last;		/* when that was looked at last */
	bool stuck_looked;			/* this pairing's */
	u64 held;				/* backup: log bytes received */
	bool log_closed;			/* backup: nothing more will come */

	/* START frames */
	struct ftkvm_start our_start, peer_start;
	bool moved;				/* the guest has run: the backup's by a migration */
	bool start_ready;			/* ours is sent */
	bool start_said;			/* ... or about to be; @lock */
	bool have_peer_start;
	bool starting;				/* vCPU thread is in ftkvm_pair_start() */

	struct ftkvm_inputs in;

	bool dev_ready;				/* an epoch end has something to do for a device */
	u32 dev_news;				/* counts: userspace has set a device up */
	struct ftkvm_sums sums;

	/* ---- vCPU thread ---- */
	struct task_struct *thread;
	struct ftkvm_counter ctr;
	struct ftkvm_codec codec;
	struct ftkvm_epoch epoch;
	u32 lag_limit;				/* epochs that the backup may be behind */
	u32 batch;				/* epochs sent, acknowledged together */
	struct ftkvm_point now;			/* at the last exit */
	struct ftkvm_plan plan;
	/* primary: not on the stack, which costs more to clear than these to fill */
	struct ftkvm_rec lead_rec;
	struct ftkvm_regs lead_regs;
	/* primary: up to where the send thread was told of the log */
	u64 flushed_epoch, flushed_count, flushed_off;
	u64 next_off;				/* @flow_lock: what goes when the backup has answered */
	bool started;
	bool armed_vmcb;			/* our intercepts are set */
	bool in_guest_op;			/* the guest's own instruction is at work */
	bool bp_hit;				/* the last exit was our breakpoint's */

	/* the synchronising exit being worked on */
	bool env_open;				/* its environment reads are being collected */
	bool env_more;				/* backup: another ENV of it follows */
	bool out_logged;			/* its OUT is logged, it did not run yet */
	bool out_done;				/* ... and it may leave now */
	bool out_kick;				/* ... or may not, but a device's kick needn't wait */
	bool shut_down;				/* a triple fault, or its like, has yet to be handled */
	bool out_going;				/* ... and does: ftkvm_lead_stopped() */
	u64 out_off;				/* log offset behind the OUT record */
	bool snap_after;			/* END follows when the instruction is done */
	bool slept;				/* the primary's guest is halted, and had nothing to do */
	struct ftkvm_point env_point;
	u32 env_digest;
	u8 env_hash[FTKVM_NREGS];
	u32 env_len, env_pos;
	u8 *env;				/* FTKVM_REC_MAX_DATA */

	/* backup: the record in hand */
	bool have_rec;
	u32 look_alikes;			/* of its point, passed in landing */
	struct ftkvm_rec rec;
	u32 rec_size;
	u8 *recbuf;				/* FTKVM_REC_MAX */
	u8 *encbuf;				/* FTKVM_REC_MAX */
	u64 consumed;
	u64 spent;				/* up to here it holds no whole record */
	u64 acked, acked_epoch;			/* ... as the primary was told */

	bool dev_kicked;			/* the guest has kicked a device */
	u32 dev_learned;			/* where queues are kicked: as of dev_news, + 1 */
	bool dev_soon;				/* primary: ... and waits for the backup */
	bool dev_took;				/* primary: an END is of devices, too */
	s64 dev_turn;				/* primary: devices behind this number come first */
	u32 dev_applied;			/* backup: inputs of the END in hand that are done */
	bool dev_at;				/* ... and the next one is begun, */
	unsigned long dev_since;		/* jiffies: then */

	u64 last_tsc;				/* told to the guest */
	s64 tsc_ahead;				/* peer's TSC less ours, the most seen */
	ktime_t promote_at;

	struct ftkvm_verify verify;
	struct ftkvm_dirty dirty;
	struct ftkvm_stats st;
};

/* ---- replica.c: life, lookup ---- */
struct ftkvm_replica *ftkvm_replica_get(struct kvm *kvm);
struct ftkvm_replica *ftkvm_replica_get_irqoff(struct kvm *kvm);
void ftkvm_replica_put(struct ftkvm_replica *r);
void ftkvm_replica_gone(struct ftkvm_replica *r);
struct ftkvm_replica *ftkvm_replica_named(const char *name, char *why, size_t size);
struct ftkvm_replica *ftkvm_replica_command(const char *name, int *err, char *why, size_t size);
void ftkvm_replica_done(struct ftkvm_replica *r);
int ftkvm_replica_settled(struct ftkvm_replica *r, bool interruptible);
struct kvm *ftkvm_replica_vm(int fd, char *why, size_t size);
int ftkvm_replica_fit(struct kvm *kvm, u32 counter, char *why, size_t size);
int ftkvm_replica_init(void);
void ftkvm_replica_exit(void);
extern struct workqueue_struct *ftkvm_replica_work;

/* ---- event.c: state ---- */
int ftkvm_replica_event(struct ftkvm_replica *r, enum ftkvm_event ev, u32 reason,
			const char *fmt, ...) __printf(4, 5);
void ftkvm_replica_event_work(struct work_struct *work);
void ftkvm_replica_settle(struct ftkvm_replica *r);

/* ---- info.c ---- */
void ftkvm_replica_fill(struct ftkvm_replica *r, struct ftkvm_info *info);

/* Is the guest not to be entered in this mode? */
static inline bool ftkvm_mode_still(enum ftkvm_mode mode)
{
	return mode == FTKVM_MODE_HALT || mode == FTKVM_MODE_HOLD;
}

static inline enum ftkvm_mode ftkvm_mode(const struct ftkvm_replica *r)
{
	return READ_ONCE(r->mode);
}

/* So long a primary waits for a backup that lives and does not go on; longer than for its disk. */
#define FTKVM_STUCK	(60u * HZ)
#define FTKVM_STUCK_GAP	(5u * HZ)	/* nobody waited for so long: another wait */

/* How long the other side, or this host, may be busy with something while it is not silent. */
static inline unsigned long ftkvm_patience(const struct ftkvm_replica *r)
{
	return msecs_to_jiffies(max_t(u32, READ_ONCE(r->timeout_ms), FTKVM_PATIENCE_MS));
}

/* Without @lock: it may be another one by the time this returns. */
static inline enum ftkvm_state ftkvm_state(const struct ftkvm_replica *r)
{
	return READ_ONCE(r->state);
}

/* All memory slots of a VM by address; kvm->srcu or slots_lock held. */
#define ftkvm_slot_of(node, slots) \
	container_of(node, struct kvm_memory_slot, gfn_node[(slots)->node_idx])
#define ftkvm_for_each_slot(slot, node, slots)					\
	for (node = rb_first(&(slots)->gfn_tree);				\
	     node && ((slot) = ftkvm_slot_of(node, slots), true); node = rb_next(node))

/* ---- pair.c: pairing and the link's upcalls ---- */
int ftkvm_pair_begin(struct ftkvm_replica *r, const struct ftkvm_pair_params *p,
		     u32 *reason, char *why, size_t size);
int ftkvm_pair_epochs(u64 min, u64 max, char *why, size_t size);
int ftkvm_pair_start(struct ftkvm_replica *r);

/* ---- unpair.c: how a pairing ends ---- */
void ftkvm_pair_bye(struct ftkvm_replica *r);
void ftkvm_pair_got_bye(struct ftkvm_replica *r, const struct ftkvm_bye *bye);
void ftkvm_pair_down(void *priv, int reason, const char *detail);
int ftkvm_pair_unpair(struct ftkvm_replica *r);
int ftkvm_pair_fence(struct ftkvm_replica *r);

/* ---- second.c: the second path ---- */
void ftkvm_second_end(struct ftkvm_replica *r);
void ftkvm_second_fill(struct ftkvm_replica *r, u64 *s);
bool ftkvm_second_forbids(struct ftkvm_replica *r);
u32 ftkvm_second_event(struct ftkvm_replica *r, struct ftkvm_info *info);

/* ---- check.c: can it be protected? ---- */
bool ftkvm_check_host(u32 counter, ftkvm_problem_fn fn, void *priv);
void ftkvm_check_guest(struct kvm *kvm, ftkvm_problem_fn fn, void *priv);
u32 ftkvm_cpuid_crc(struct kvm_vcpu *vcpu);
u32 ftkvm_slots_crc(struct kvm *kvm, u64 *ram_bytes);
int ftkvm_ram_crc(struct kvm *kvm, u32 *crc);
int ftkvm_check_still(struct kvm *kvm, char *why, size_t size);

/* Has the guest executed anything? Any context. */
static inline bool ftkvm_has_run(const struct kvm_vcpu *vcpu)
{
	return vcpu->arch.last_vmentry_cpu != -1;
}

/* ---- log.c: records in and out ---- */
int ftkvm_log_append(struct ftkvm_replica *r, const struct ftkvm_rec *rec);
int ftkvm_log_room(struct ftkvm_replica *r);
int ftkvm_log_commit(struct ftkvm_replica *r, bool killable);
bool ftkvm_log_proven(struct ftkvm_replica *r, u64 off);
void ftkvm_log_stuck(struct ftkvm_replica *r);

/*
 * The primary's vCPU waits for its backup, with kvm->srcu dropped as vcpu_block() does. @cond,
 * which is true where the replica leads no more, is looked at again whenever r->wq is woken.
 * @how: interruptible or killable. 0, or -EINTR when such a signal is pending.
 */
#define ftkvm_await_backup(r, cond, how) ({					\
	struct kvm_vcpu *_v = (r)->vcpu;					\
	long _left = 1;								\
										\
	while (_left >= 0 && !(cond)) {						\
		kvm_vcpu_srcu_read_unlock(_v);					\
		_left = wait_event_##how##_timeout((r)->wq, cond, HZ);		\
		kvm_vcpu_srcu_read_lock(_v);					\
		if (_left <= 0)							\
			ftkvm_log_stuck(r);					\
	}									\
	_left < 0 ? -EINTR : 0;							\
})
struct ftkvm_rec *ftkvm_log_peek(struct ftkvm_replica *r);
void ftkvm_log_consume(struct ftkvm_replica *r);
int ftkvm_log_wait(struct ftkvm_replica *r);
int ftkvm_log_wait_killable(struct ftkvm_replica *r);
int ftkvm_log_wait_nosrcu(struct ftkvm_replica *r);
void ftkvm_log_flush(struct ftkvm_replica *r);
void ftkvm_log_send(struct ftkvm_replica *r);
void ftkvm_log_send_next(struct ftkvm_replica *r);
void ftkvm_log_flush_batch(struct ftkvm_replica *r);

/* Room for what one trip of the vCPU may write? Any context. */
static inline bool ftkvm_log_room_now(const struct ftkvm_replica *r)
{
	return ftkvm_ring_space(&r->log) >= FTKVM_LOG_RESERVE;
}

/* ---- input.c ---- */
void ftkvm_inputs_init(struct ftkvm_inputs *in);
bool ftkvm_input_offer(struct ftkvm_replica *r, const struct ftkvm_input *in);
int ftkvm_inputs_take(struct ftkvm_replica *r, struct ftkvm_input *list, int max);
void ftkvm_inputs_apply(struct ftkvm_replica *r, const struct ftkvm_input *list, int n);
void ftkvm_inputs_release(struct ftkvm_replica *r);
void ftkvm_inputs_noted(struct ftkvm_replica *r);

bool ftkvm_inputs_extint(const struct ftkvm_replica *r);
void ftkvm_inputs_8259_reset(struct ftkvm_replica *r);

/* Could an epoch end deliver something here? */
static inline bool ftkvm_inputs_any(const struct ftkvm_replica *r)
{
	return READ_ONCE(r->in.any) || READ_ONCE(r->dev_ready) || (READ_ONCE(r->in.extints) && ftkvm_inputs_extint(r));
}

/* ---- counter.c ---- */
int ftkvm_counter_probe(u32 code);
const char *ftkvm_counter_why(int err, const char **remedy);
int ftkvm_counter_open(struct ftkvm_replica *r);
void ftkvm_counter_close(struct ftkvm_replica *r);
int ftkvm_counter_read(struct ftkvm_replica *r, u64 *count);
int ftkvm_counter_arm(struct ftkvm_replica *r, u64 until);
void ftkvm_counter_quiet(struct ftkvm_replica *r);

/* ---- lead.c, follow.c: the two roles, called by the hooks ---- */
#define FTKVM_SYNC_ENV	BIT(0)	/* the exit may read the environment */
#define FTKVM_SYNC_OUT	BIT(1)	/* ... may let something out */
#define FTKVM_SYNC_TSC	BIT(2)	/* it reads the clock */
#define FTKVM_SYNC_KICK	BIT(3)	/* ... lets out nothing but a kick of a device of ours */

int ftkvm_lead_prepare(struct ftkvm_replica *r);
bool ftkvm_lead_again(struct ftkvm_replica *r);
int ftkvm_lead_sync(struct ftkvm_replica *r, u32 what);
bool ftkvm_lead_tsc(struct ftkvm_replica *r, u64 *tsc);
void ftkvm_lead_late_output(struct ftkvm_replica *r);
bool ftkvm_lead_halt(struct ftkvm_replica *r);
void ftkvm_lead_stop(struct ftkvm_replica *r);
bool ftkvm_lead_stopped(const struct ftkvm_replica *r);

int ftkvm_follow_prepare(struct ftkvm_replica *r, bool may_wait);
int ftkvm_follow_sync(struct ftkvm_replica *r, u32 what);
bool ftkvm_follow_tsc(struct ftkvm_replica *r, u64 *tsc);
void ftkvm_follow_late_output(struct ftkvm_replica *r);
int ftkvm_follow_more(struct ftkvm_replica *r);
void ftkvm_follow_halt(struct ftkvm_replica *r);
bool ftkvm_follow_drained(struct ftkvm_replica *r);
bool ftkvm_follow_arrives(const struct ftkvm_replica *r);

/* ---- diverge.c: the backup is not where the log is ---- */
void ftkvm_follow_diverged(struct ftkvm_replica *r, const char *fmt, ...) __printf(2, 3);
void ftkvm_follow_unexpected(struct ftkvm_replica *r, const struct ftkvm_rec *rec,
			     const char *here);
bool ftkvm_follow_digest(struct ftkvm_replica *r, const struct ftkvm_rec *rec);

/* ---- dirty.c ---- */
void ftkvm_dirty_mark(struct ftkvm_replica *r, u64 gpa, u32 len);
void ftkvm_dirty_gather(struct ftkvm_replica *r, u64 total);
u64 ftkvm_dirty_count(const struct ftkvm_replica *r, u64 most);
u32 ftkvm_dirty_take(struct ftkvm_replica *r, u32 most, u64 *page);
void ftkvm_dirty_free(struct ftkvm_replica *r);

/* ---- verify.c ---- */
bool ftkvm_verify_due(const struct ftkvm_replica *r);
int ftkvm_verify_lead(struct ftkvm_replica *r, u8 flags);
void ftkvm_verify_first(struct ftkvm_replica *r);
int ftkvm_verify_follow(struct ftkvm_replica *r, const struct ftkvm_rec *rec);

static inline bool ftkvm_verify_is(const struct ftkvm_rec *rec)
{
	return rec->type == FTKVM_REC_IMAGE || rec->type == FTKVM_REC_PAGES;
}

/* ---- verify_regs.c ---- */
int ftkvm_verify_image(struct kvm_vcpu *vcpu, struct ftkvm_image *img);

/* ---- ../dev/sum.c: the disks' images ---- */
int ftkvm_sums_begin(struct ftkvm_replica *r, char *why, size_t size);
void ftkvm_sums_end(struct ftkvm_replica *r);
bool ftkvm_sums_proven(struct ftkvm_replica *r);

/* ---- run.c: what comes before an entry, in process context ---- */
int ftkvm_prepare(struct ftkvm_replica *r);

/* ---- io.c: environment reads, either role ---- */
void ftkvm_env_value(struct ftkvm_replica *r, u8 kind, void *val, u32 len);

/* ---- takeover.c ---- */
void ftkvm_go_live(struct ftkvm_replica *r);

/* ---- hooks.c: the interposition engine ---- */
void ftkvm_hooks_guest(struct kvm *kvm, bool in_care);
int ftkvm_hooks_get(void);
void ftkvm_hooks_put(void);

#endif
