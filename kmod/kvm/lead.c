// SPDX-License-Identifier: GPL-2.0
/*
 * The primary: ends epochs where it happens to be, logs environment reads,
 * holds outputs back until the backup has the log before them. Bressoud &
 * Schneider, SOSP 1995, section 2 (protocols P1-P7) and the revised one.
 */
#include "../dev/lockstep.h"
#include "../fault/fault.h"
#include "hooks.h"
#include "replica.h"
#include "trace.h"
#include "vendor.h"

static __always_inline void lead_fill(struct ftkvm_replica *r, struct ftkvm_rec *rec, u8 type)
{
	struct ftkvm_regs *regs = &r->lead_regs;

	rec->type = type;
	rec->flags = 0;
	rec->base = 0;
	rec->point = ftkvm_here(r);
	ftkvm_vendor()->regs(r->vcpu, regs);
	rec->digest = ftkvm_digest(regs);
	if (type != FTKVM_REC_TSC)
		ftkvm_digest_each(regs, rec->hash);
}

/*
 * The backup does not stop at an epoch end that delivers nothing: no registers to
 * compare; RIP is the one that takes the least room.
 */
static void lead_fill_bare(struct ftkvm_replica *r, struct ftkvm_rec *rec, u8 type)
{
	rec->type = type;
	rec->base = 0;
	rec->point = (struct ftkvm_point) { .count = r->now.count, .rip = r->codec.rip };
	rec->digest = 0;
	memset(rec->hash, 0, sizeof(rec->hash));
}

/* Epochs that the backup is behind. What it says may be wrong, but not harmful. */
static u64 lead_lag(const struct ftkvm_replica *r)
{
	u64 epoch = READ_ONCE(r->flow.epoch);

	return r->epoch.nr > epoch ? r->epoch.nr - epoch : 0;
}

static void lead_count_lag(struct ftkvm_replica *r)
{
	u64 lag = lead_lag(r);

	r->st.lag[min_t(u64, lag, FTKVM_LAG_BUCKETS - 1)]++;
	r->st.lag_max = max(r->st.lag_max, lag);
}

static bool lead_close(const struct ftkvm_replica *r)
{
	return lead_lag(r) < r->lag_limit || ftkvm_mode(r) != FTKVM_MODE_LEAD;
}

/*
 * A takeover lasts as long as the backup is behind: so don't let it fall back
 * further than this. 0, -EINTR.
 */
static int lead_wait_close(struct ftkvm_replica *r)
{
	if (likely(lead_close(r)))
		return 0;
	ftkvm_log_flush(r);
	ftkvm_fault(FTKVM_FAULT_LEAD_LAG_WAIT);
	return ftkvm_await_backup(r, lead_close(r), interruptible);
}

static enum ftkvm_place lead_place(const struct ftkvm_replica *r, u8 flags)
{
	if (flags & FTKVM_RECF_HALT)
		return r->slept ? FTKVM_PLACE_HALT : FTKVM_PLACE_SYNC;
	return flags & FTKVM_RECF_SNAP ? FTKVM_PLACE_SYNC : FTKVM_PLACE_ASYNC;
}

/*
 * End the epoch here, with FTKVM_RECF_* @flags, and deliver its inputs; those of devices
 * only where it @may_sleep.
 */
static void lead_end(struct ftkvm_replica *r, u8 flags, bool may_sleep)
{
	struct ftkvm_rec *rec = &r->lead_rec;
	int n = 0;

	if (ftkvm_inputs_any(r)) {
		/* first: the interrupts that they raise come along */
		if (may_sleep)
			n = ftkvm_lockstep_lead(r, rec->end.inputs, FTKVM_LOCKSTEP_INPUTS);
		n += ftkvm_inputs_take(r, rec->end.inputs + n, FTKVM_REC_MAX_INPUTS - n);
	}
	ftkvm_fault(FTKVM_FAULT_LEAD_END);
	rec->end.ninputs = n;
	if (n || (flags & FTKVM_RECF_SNAP))
		lead_fill(r, rec, FTKVM_REC_END);
	else
		lead_fill_bare(r, rec, FTKVM_REC_END);
	rec->flags = flags;
	if (n)
		ftkvm_put_base(r, rec);
	rec->end.next_len = ftkvm_epoch_end(&r->epoch, rec->point.count, lead_place(r, flags),
					    n);
	if (!ftkvm_log_append(r, rec)) {
		r->st.epochs++;
		if (flags & FTKVM_RECF_SNAP)
			r->st.snapped++;
		else if (flags & FTKVM_RECF_HALT)
			r->st.halted++;
		else if (!n)
			r->st.skipped++;
		else
			r->st.landed++;
		lead_count_lag(r);
		trace_ftkvm_epoch_end(r, rec);
		ftkvm_lockstep_logged(r);
		ftkvm_log_flush_batch(r);
	}
	ftkvm_fault(FTKVM_FAULT_LEAD_ENDED);
	/* a pairing that just ended does not lose the guest its inputs */
	if (n)
		ftkvm_inputs_apply(r, rec->end.inputs, n);
	ftkvm_fault(FTKVM_FAULT_LEAD_APPLIED);
}

static void lead_env_close(struct ftkvm_replica *r, bool more)
{
	struct ftkvm_rec rec = {
		.type = FTKVM_REC_ENV,
		.point = r->env_point,
		.digest = r->env_digest,
		.env.data = r->env,
		.env.len = r->env_len,
	};

	if (more) {
		rec.flags = FTKVM_RECF_MORE;
	} else if (ftkvm_inputs_any(r)) {
		rec.flags = FTKVM_RECF_SNAP;
		r->snap_after = true;
	}
	memcpy(rec.hash, r->env_hash, sizeof(rec.hash));
	r->env_len = 0;
	r->env_open = more;
	ftkvm_log_append(r, &rec);
}

static void lead_unlogged(struct ftkvm_replica *r, const char *what)
{
	ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_LOCAL,
			    "the instruction at %#llx %s in a way that can't be replicated",
			    (u64)r->vcpu->arch.regs[VCPU_REGS_RIP], what);
}

static void lead_plan(struct ftkvm_replica *r)
{
	r->plan.step = FTKVM_STEP_RUN;
	r->plan.until = r->now.count + ftkvm_epoch_left(&r->epoch, r->now.count);
}

/**
 * ftkvm_lead_prepare() - before the primary enters its guest
 * @r: the replica
 *
 * The instruction of the last exit is done, unless an output waits for its
 * commit: closes its records, ends the epoch where that is due, makes sure of
 * room in the log.
 * Context: vCPU thread, process context, kvm->srcu read-held.
 * Return: 0, -EINTR on a signal.
 */
int ftkvm_lead_prepare(struct ftkvm_replica *r)
{
	int ret = ftkvm_log_room(r);
	u8 flags;

	if (!ret)
		ret = lead_wait_close(r);
	if (ret || ftkvm_mode(r) != FTKVM_MODE_LEAD)
		return ret;
	if (unlikely(r->verify.first))
		ftkvm_verify_first(r);
	if (!r->out_logged) {
		if (r->env_open)
			lead_env_close(r, false);
		flags = r->snap_after ? FTKVM_RECF_SNAP : 0;
		if (r->snap_after ||
		    ftkvm_epoch_due(&r->epoch, r->now.count, FTKVM_PLACE_ASYNC,
				    ftkvm_vendor()->fit(r->vcpu), ftkvm_inputs_any(r))) {
			if (unlikely(ftkvm_verify_due(r))) {
				ret = ftkvm_verify_lead(r, flags);
				if (ret || ftkvm_mode(r) != FTKVM_MODE_LEAD)
					return ret;
			}
			r->snap_after = false;
			lead_end(r, flags, true);
		}
	}
	lead_plan(r);
	return 0;
}

/**
 * ftkvm_lead_again() - the counter stopped the guest, and that is all that happened
 * @r: the replica
 *
 * Most epochs end so, with no input to deliver and nothing to wait for; then all that
 * ftkvm_lead_prepare() would do can be done right here, at a tenth of the instructions.
 * Context: vCPU thread, interrupts off, at a point that is fit for an epoch's end.
 * Return: true with a plan: the guest may be entered again; false: nothing was done, it
 * is up to ftkvm_lead_prepare().
 */
bool ftkvm_lead_again(struct ftkvm_replica *r)
{
	/* an epoch end's fault points may sleep */
	if (IS_ENABLED(CONFIG_FTKVM_FAULTS))
		return false;
	if (r->out_logged || r->env_open || r->snap_after || ftkvm_inputs_any(r) ||
	    ftkvm_verify_due(r) || !ftkvm_log_room_now(r) || !lead_close(r))
		return false;
	if (ftkvm_epoch_due(&r->epoch, r->now.count, FTKVM_PLACE_ASYNC, true, false)) {
		lead_end(r, 0, false);
		r->plan.step = FTKVM_STEP_RUN;
		r->plan.until = r->now.count + r->epoch.len;
	} else {
		lead_plan(r);
	}
	return ftkvm_mode(r) == FTKVM_MODE_LEAD;
}

static void lead_out(struct ftkvm_replica *r, bool snap)
{
	struct ftkvm_rec rec;

	lead_fill(r, &rec, FTKVM_REC_OUT);
	rec.out_crc = 0;
	if (snap && ftkvm_inputs_any(r)) {
		rec.flags = FTKVM_RECF_SNAP;
		r->snap_after = true;
	}
	ftkvm_log_append(r, &rec);
	r->out_off = READ_ONCE(r->log.head);
	r->st.outputs++;
}

/**
 * ftkvm_lead_sync() - a synchronising exit, before KVM emulates its instruction
 * @r: the replica
 * @what: FTKVM_SYNC_*. ENV: what it reads will be collected; OUT: waits for
 *	output commit; but for a KICK, by which nothing leaves: ftkvm_lockstep_is_kick()
 *
 * Context: vCPU thread, process context, kvm->srcu read-held.
 * Return: 0; -EINTR on a signal, nothing begun, to be called again at the same
 * exit.
 */
int ftkvm_lead_sync(struct ftkvm_replica *r, u32 what)
{
	bool in = what & FTKVM_SYNC_ENV;
	struct ftkvm_rec rec;
	int ret;

	ftkvm_fault(FTKVM_FAULT_LEAD_SYNC);
	if (what & FTKVM_SYNC_OUT) {
		if (!r->out_logged) {
			ret = ftkvm_log_room(r);
			if (ret)
				return ret;
			lead_out(r, !in);
			r->out_logged = true;
			ftkvm_fault(FTKVM_FAULT_LEAD_OUT_LOGGED);
		}
		r->out_kick = what & FTKVM_SYNC_KICK;
		if (!r->out_kick) {
			ret = ftkvm_log_commit(r, false);
			if (ret)
				return ret;
			ftkvm_fault(FTKVM_FAULT_LEAD_OUT_COMMITTED);
		}
		r->out_logged = false;
		r->out_done = !r->out_kick;
	}
	if (in) {
		r->env_open = true;
		r->env_len = 0;
		lead_fill(r, &rec, FTKVM_REC_ENV);
		r->env_point = rec.point;
		r->env_digest = rec.digest;
		memcpy(r->env_hash, rec.hash, sizeof(rec.hash));
	}
	return 0;
}

/**
 * ftkvm_lead_late_output() - a write leaves in the middle of an emulation
 * @r: the replica, leading or held
 *
 * The exit did not tell that it writes (a read-modify-write that faulted on
 * its read), or told of a kick, and this is something else. What was read so far and
 * the output are logged and committed before the write goes on. The wait can't be
 * restarted, so only a fatal signal ends it, or the link's time-out; or the decision who
 * goes on. Killed, the guest has ended here: the caller finds FTKVM_MODE_HALT, and nothing
 * leaves.
 * Context: vCPU thread, process context, kvm->srcu read-held.
 */
void ftkvm_lead_late_output(struct ftkvm_replica *r)
{
	if (r->out_done)
		return;
	/* a kick's is logged already */
	if (!r->out_kick && ftkvm_mode(r) == FTKVM_MODE_LEAD) {
		if (r->env_open) {
			lead_env_close(r, true);
			lead_out(r, false);
		} else {
			lead_unlogged(r, "writes to a device");
		}
	}
	r->out_kick = false;
	ftkvm_fault(FTKVM_FAULT_LEAD_LATE);
	if (ftkvm_log_commit(r, true)) {
		ftkvm_replica_event(r, FTKVM_EV_GUEST_END, FTKVM_REASON_GUEST_ENDED,
				    "its QEMU was killed");
		return;
	}
	ftkvm_fault(FTKVM_FAULT_LEAD_LATE_COMMITTED);
	r->out_done = true;
}

/**
 * ftkvm_lead_tsc() - the guest reads its clock
 * @r: the replica
 * @tsc: the value it gets
 *
 * Context: vCPU thread, interrupts may be off; room in the log.
 * Return: false when the replica can't log it.
 */
bool ftkvm_lead_tsc(struct ftkvm_replica *r, u64 *tsc)
{
	struct ftkvm_rec *rec = &r->lead_rec;

	lead_fill(r, rec, FTKVM_REC_TSC);
	*tsc = kvm_read_l1_tsc(r->vcpu, rdtsc());
	rec->tsc = *tsc;
	if (ftkvm_inputs_any(r)) {
		rec->flags = FTKVM_RECF_SNAP;
		r->snap_after = true;
	}
	r->last_tsc = *tsc;
	r->st.env[FTKVM_ENV_TSC]++;
	trace_ftkvm_env_read(r, FTKVM_ENV_TSC, tsc, sizeof(*tsc));
	return !ftkvm_log_append(r, rec);
}

/**
 * ftkvm_lead_halt() - the guest is halted: an input ends the epoch at once
 * @r: the replica
 *
 * Context: vCPU thread, process context, kvm->srcu not held.
 * Return: true when the guest has something to do now.
 */
bool ftkvm_lead_halt(struct ftkvm_replica *r)
{
	int ret;

	if (unlikely(ftkvm_verify_due(r))) {
		kvm_vcpu_srcu_read_lock(r->vcpu);
		ret = ftkvm_verify_lead(r, FTKVM_RECF_HALT);
		kvm_vcpu_srcu_read_unlock(r->vcpu);
		if (ret || ftkvm_mode(r) != FTKVM_MODE_LEAD)
			return true;
	}
	if (ftkvm_epoch_due(&r->epoch, r->now.count, FTKVM_PLACE_HALT, true,
			    ftkvm_inputs_any(r))) {
		kvm_vcpu_srcu_read_lock(r->vcpu);
		ret = ftkvm_log_room(r);
		if (!ret && ftkvm_mode(r) == FTKVM_MODE_LEAD)
			lead_end(r, FTKVM_RECF_HALT, true);
		r->slept = false;
		kvm_vcpu_srcu_read_unlock(r->vcpu);
		return true;
	}
	/* it may sleep long: the backup need not wait for what is written */
	ftkvm_log_send(r);
	ftkvm_fault(FTKVM_FAULT_LEAD_HALT);
	r->slept = true;
	return false;
}

/**
 * ftkvm_lead_stop() - the guest ended: so does the log
 * @r: the replica
 *
 * Context: process context, the vCPU is closed.
 */
void ftkvm_lead_stop(struct ftkvm_replica *r)
{
	struct ftkvm_rec rec;

	lead_fill(r, &rec, FTKVM_REC_STOP);
	rec.stop_reason = FTKVM_REASON_GUEST_ENDED;
	if (ftkvm_log_room_now(r))
		ftkvm_log_append(r, &rec);
	ftkvm_log_flush(r);
	ftkvm_fault(FTKVM_FAULT_LEAD_STOP);
}

/**
 * ftkvm_lead_stopped() - told to stop: is it sure that nothing leaves any more?
 * @r: the replica, in FTKVM_MODE_HALT
 *
 * Not yet, while the vCPU is in the guest, or userspace has an output in hand. As
 * both look at the mode behind what they set, nothing begins once this is true.
 * Context: any.
 * Return: whether it is.
 */
bool ftkvm_lead_stopped(const struct ftkvm_replica *r)
{
	/* pairs with ftkvm_hook_kvm_io_bus_write(), and KVM's own at an entry */
	smp_mb();
	return READ_ONCE(r->gone) ||
	       (!READ_ONCE(r->out_going) && READ_ONCE(r->vcpu->mode) == OUTSIDE_GUEST_MODE);
}
