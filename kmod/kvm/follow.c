// SPDX-License-Identifier: GPL-2.0
/*
 * The backup: goes no further than the log allows, stops exactly where the
 * primary ended an epoch with inputs, and takes what the guest reads of the
 * environment from the log. Where its execution and the log disagree, it
 * stops for good: no guess is made.
 */
#include "../dev/lockstep.h"
#include "../fault/fault.h"
#include "hooks.h"
#include "replica.h"
#include "trace.h"
#include "vendor.h"

/* Records that are gone through before anybody else has a turn. */
#define FOLLOW_AT_ONCE	64

static bool follow_at(const struct ftkvm_replica *r, const struct ftkvm_rec *rec)
{
	struct ftkvm_point here = ftkvm_here(r);

	return here.count == rec->point.count && here.rip == rec->point.rip &&
	       ((rec->type != FTKVM_REC_END && !ftkvm_verify_is(rec)) ||
		here.rcx == rec->point.rcx);
}

/*
 * Conditional branches do not tell two points apart that have none between them: a
 * function is called twice, say. There the point of the END, which has the place and
 * RCX already, must have its registers, too. Retired instructions do.
 */
static bool follow_look_alike(const struct ftkvm_replica *r, const struct ftkvm_rec *rec)
{
	struct ftkvm_regs regs;

	if (likely(r->counter_code == FTKVM_DEFAULT_COUNTER) ||
	    r->look_alikes >= FTKVM_LOOK_ALIKES)
		return false;
	ftkvm_vendor()->regs(r->vcpu, &regs);
	return ftkvm_digest(&regs) != rec->digest;
}

/**
 * ftkvm_follow_arrives() - is this the point that the backup is to land on?
 * @r: the replica
 *
 * Context: vCPU thread, after an exit.
 * Return: whether the record in hand is that of an epoch end (or a verification)
 * at this very point.
 */
bool ftkvm_follow_arrives(const struct ftkvm_replica *r)
{
	return ftkvm_mode(r) == FTKVM_MODE_FOLLOW && r->have_rec &&
	       (r->rec.type == FTKVM_REC_END || ftkvm_verify_is(&r->rec)) &&
	       !(r->rec.flags & FTKVM_RECF_SNAP) && follow_at(r, &r->rec) &&
	       !follow_look_alike(r, &r->rec);
}

/*
 * The epoch ends here: inputs take effect, the next one begins. 0; -EINTR on a
 * signal, to be called again; -ESTALE.
 */
static int follow_end(struct ftkvm_replica *r, const struct ftkvm_rec *rec)
{
	/* may have to wait: so first of all */
	int ret = ftkvm_lockstep_follow(r, rec);

	if (ret)
		return ret;
	ftkvm_epoch_follow(&r->epoch, rec->point.count, rec->end.next_len);
	r->st.epochs++;
	if (rec->flags & FTKVM_RECF_SNAP)
		r->st.snapped++;
	else if (rec->flags & FTKVM_RECF_HALT)
		r->st.halted++;
	else if (rec->end.ninputs)
		r->st.landed++;
	else
		r->st.skipped++;
	trace_ftkvm_epoch_end(r, rec);
	ftkvm_fault(FTKVM_FAULT_FOLLOW_END);
	ftkvm_inputs_apply(r, rec->end.inputs, rec->end.ninputs);
	ftkvm_fault(FTKVM_FAULT_FOLLOW_APPLIED);
	ftkvm_log_consume(r);
	return 0;
}

/* Does the record take process context? */
static bool follow_sleeps(const struct ftkvm_rec *rec)
{
	int i;

	if (ftkvm_verify_is(rec))
		return true;
	if (rec->type != FTKVM_REC_END)
		return false;
	for (i = 0; i < rec->end.ninputs; i++)
		if (ftkvm_input_of_device(&rec->end.inputs[i]))
			return true;
	return false;
}

/* At the point of an END or of a verification, which is consumed. 0, -ESTALE, -EINTR. */
static int follow_arrived(struct ftkvm_replica *r, const struct ftkvm_rec *rec)
{
	if (!ftkvm_follow_digest(r, rec))
		return -ESTALE;
	if (ftkvm_verify_is(rec))
		return ftkvm_verify_follow(r, rec);
	ftkvm_fault(rec->flags & FTKVM_RECF_SNAP ? FTKVM_FAULT_FOLLOW_SNAP :
		    FTKVM_FAULT_LAND_EQUAL);
	return follow_end(r, rec);
}

/**
 * ftkvm_follow_drained() - is the takeover's log consumed?
 * @r: the replica
 *
 * A record cut off by the primary's death counts as none: it was never
 * acknowledged as a whole, so nothing that followed it was let out.
 * Context: vCPU thread.
 * Return: true when the guest is to go live here.
 */
bool ftkvm_follow_drained(struct ftkvm_replica *r)
{
	/* closed first: what was received before is seen then */
	return READ_ONCE(r->promote) && smp_load_acquire(&r->log_closed) &&
	       !ftkvm_log_peek(r) && ftkvm_mode(r) == FTKVM_MODE_FOLLOW;
}

static void follow_run(struct ftkvm_replica *r, u64 left)
{
	r->plan.step = FTKVM_STEP_RUN;
	r->plan.until = r->now.count + left;
}

/*
 * The record in hand decides how far the guest may run. 0: the plan is made or
 * the record is consumed (*@again); -ESTALE: diverged; -EINTR.
 */
static int follow_record(struct ftkvm_replica *r, struct ftkvm_rec *rec, bool *again)
{
	struct ftkvm_point here = ftkvm_here(r);
	enum ftkvm_step step;
	u64 left;

	/* STOP is where the primary's last exit was; the backup may be further */
	if (rec->type != FTKVM_REC_STOP && here.count > rec->point.count) {
		ftkvm_follow_unexpected(r, rec, r->look_alikes ?
					"went past it, no place there had its registers" :
					"went past it");
		return -ESTALE;
	}
	switch (rec->type) {
	case FTKVM_REC_END:
	case FTKVM_REC_IMAGE:
	case FTKVM_REC_PAGES:
		if (rec->flags & FTKVM_RECF_SNAP) {
			ftkvm_follow_diverged(r, "an epoch end after an exit that was none here");
			return -ESTALE;
		}
		if (rec->type == FTKVM_REC_END && !rec->end.ninputs) {
			*again = true;
			return follow_end(r, rec);
		}
		/* halted guests wait here too: nothing to run up to */
		if ((rec->flags & FTKVM_RECF_HALT) &&
		    r->vcpu->arch.mp_state != KVM_MP_STATE_HALTED) {
			ftkvm_backup_meet(&here, &rec->point, r->margin, &left);
			follow_run(r, left);
			return 0;
		}
		step = ftkvm_backup_land(&here, &rec->point, r->margin, &left);
		if (step == FTKVM_STEP_LANDED && unlikely(follow_look_alike(r, rec))) {
			r->look_alikes++;
			step = FTKVM_STEP_SEEK;
			left = ftkvm_backup_missed(here.count, here.count, r->margin);
		}
		if (step == FTKVM_STEP_LANDED) {
			trace_ftkvm_landed(r, rec);
			ftkvm_fault(FTKVM_FAULT_LANDED);
			*again = true;
			return follow_arrived(r, rec);
		}
		if (r->vcpu->arch.mp_state == KVM_MP_STATE_HALTED) {
			ftkvm_follow_unexpected(r, rec, "halted");
			return -ESTALE;
		}
		r->plan.step = step;
		r->plan.until = here.count + left;
		r->plan.rip = rec->point.rip;
		r->plan.base = rec->base;
		return 0;
	case FTKVM_REC_STOP:
		ftkvm_log_consume(r);
		ftkvm_replica_event(r, FTKVM_EV_LINK_DOWN, FTKVM_REASON_GUEST_ENDED,
				    "the primary's QEMU ended");
		*again = true;
		return 0;
	default:
		ftkvm_backup_meet(&here, &rec->point, r->margin, &left);
		follow_run(r, left);
		return 0;
	}
}

/*
 * The primary's QEMU ended. It may have been killed within an instruction, or before the
 * END that it had promised: what it logged last is the last that this one has to do.
 */
static bool follow_stopped(struct ftkvm_replica *r, struct ftkvm_rec *rec)
{
	bool again = false;

	return rec->type == FTKVM_REC_STOP && !follow_record(r, rec, &again);
}

/*
 * The END that an exit's record promised, now that its instruction is done; a
 * verification may come before it.
 */
static int follow_snap(struct ftkvm_replica *r, struct ftkvm_rec *rec)
{
	/* the record in hand is the next one then */
	bool end = rec->type == FTKVM_REC_END;
	int ret;

	if ((rec->type != FTKVM_REC_END && !ftkvm_verify_is(rec)) ||
	    !(rec->flags & FTKVM_RECF_SNAP) || !follow_at(r, rec)) {
		ftkvm_follow_unexpected(r, rec, "an epoch was to end here");
		return -ESTALE;
	}
	ret = follow_arrived(r, rec);
	if (!ret && end)
		r->snap_after = false;
	return ret;
}

/* The record of an instruction that is being worked on. 0, -ESTALE. */
static int follow_take_within(struct ftkvm_replica *r, struct ftkvm_rec *rec, u8 type)
{
	if (rec->type != type || rec->point.count != r->now.count) {
		ftkvm_follow_unexpected(r, rec, "within an instruction");
		return -ESTALE;
	}
	ftkvm_fault(FTKVM_FAULT_TAKE_WITHIN);
	if (type == FTKVM_REC_ENV) {
		memcpy(r->env, rec->env.data, rec->env.len);
		r->env_len = rec->env.len;
		r->env_pos = 0;
		r->env_more = rec->flags & FTKVM_RECF_MORE;
	}
	if (rec->flags & FTKVM_RECF_SNAP)
		r->snap_after = true;
	ftkvm_log_consume(r);
	return 0;
}

/* A primary may log as fast as this consumes: others are to run, and signals to count. */
static bool follow_may_go_on(unsigned int *n)
{
	if (++*n % FOLLOW_AT_ONCE)
		return true;
	cond_resched();
	return !signal_pending(current);
}

/**
 * ftkvm_follow_prepare() - before the backup enters its guest: make a plan
 * @r: the replica
 * @may_wait: process context with kvm->srcu read-held, or interrupts are off
 *
 * Context: vCPU thread.
 * Return: 0 with a plan; -EINTR on a signal; -EAGAIN without a plan: it would
 * have to wait but may not, or the mode changed, or the guest is halted.
 */
int ftkvm_follow_prepare(struct ftkvm_replica *r, bool may_wait)
{
	unsigned int n = 0;

	r->plan.step = FTKVM_STEP_WAIT;
	while (ftkvm_mode(r) == FTKVM_MODE_FOLLOW) {
		struct ftkvm_rec *rec;
		bool again = false;
		u64 left;
		int ret;

		/*
		 * What comes next is ftkvm_follow_halt()'s: waking is the run loop's. But
		 * for the first record, which is of the guest as it began: KVM would wake one
		 * that has an interrupt waiting before it looked there.
		 */
		if (r->vcpu->arch.mp_state == KVM_MP_STATE_HALTED && !r->verify.first)
			return -EAGAIN;
		if (!may_wait && n == FOLLOW_AT_ONCE - 1)
			return -EAGAIN;
		if (!follow_may_go_on(&n))
			return -EINTR;
		if (r->out_logged) {
			/* an interrupted wait: the instruction exits again */
			follow_run(r, r->margin + FTKVM_PERIOD_LEAST);
			return 0;
		}
		rec = ftkvm_log_peek(r);
		/* takes long, and sleeps */
		if (rec && !may_wait && follow_sleeps(rec))
			return -EAGAIN;
		/* the primary may have ended in the midst of what is one step here */
		if (rec && (r->env_more || r->snap_after) && follow_stopped(r, rec))
			continue;
		if (rec && r->env_more) {
			/* the rest of the last instruction, which read nothing more */
			if (follow_take_within(r, rec, FTKVM_REC_ENV))
				break;
			continue;
		}
		if (rec && r->snap_after) {
			ret = follow_snap(r, rec);
			if (ret == -EINTR)
				return ret;
			if (ret)
				break;
			continue;
		}
		if (rec) {
			ret = follow_record(r, rec, &again);
			if (ret == -EINTR)
				return ret;
			if (ret)
				break;
			if (again)
				continue;
			return 0;
		}
		if (ftkvm_follow_drained(r)) {
			if (!may_wait)
				return -EAGAIN;
			ftkvm_go_live(r);
			break;
		}
		if (!r->snap_after && !r->env_more && !r->verify.first &&
		    ftkvm_backup_free(&r->epoch, r->now.count, r->margin,
				      &left) == FTKVM_STEP_RUN) {
			follow_run(r, left);
			return 0;
		}
		if (!may_wait)
			return -EAGAIN;
		ret = ftkvm_log_wait(r);
		if (ret)
			return ret;
		if (READ_ONCE(r->detaching))
			return -EINTR;
	}
	return -EAGAIN;
}

/* Take the record of the exit being worked on, of type @type. 0, -ESTALE. */
static int follow_take(struct ftkvm_replica *r, struct ftkvm_rec *rec, u8 type)
{
	if (rec->type != type || !follow_at(r, rec)) {
		ftkvm_follow_unexpected(r, rec, type == FTKVM_REC_OUT ? "an output" :
					type == FTKVM_REC_TSC ? "a clock read" : "an environment read");
		return -ESTALE;
	}
	if (!ftkvm_follow_digest(r, rec))
		return -ESTALE;
	ftkvm_fault(ftkvm_fault_typed(FTKVM_FAULT_TAKE_ENV, FTKVM_FAULT_TAKE_OUT,
				      type - FTKVM_REC_END));
	switch (type) {
	case FTKVM_REC_ENV:
		memcpy(r->env, rec->env.data, rec->env.len);
		r->env_len = rec->env.len;
		r->env_pos = 0;
		r->env_more = rec->flags & FTKVM_RECF_MORE;
		break;
	case FTKVM_REC_TSC:
		r->last_tsc = rec->tsc;
		r->tsc_ahead = max_t(s64, r->tsc_ahead,
				     rec->tsc - kvm_read_l1_tsc(r->vcpu, rdtsc()));
		r->st.env[FTKVM_ENV_TSC]++;
		trace_ftkvm_env_read(r, FTKVM_ENV_TSC, &rec->tsc, sizeof(rec->tsc));
		break;
	}
	if (rec->flags & FTKVM_RECF_SNAP)
		r->snap_after = true;
	ftkvm_log_consume(r);
	return 0;
}

/*
 * Wait for the record of this exit. Epoch ends at this very point come first:
 * -ERESTART when one delivered inputs, and the instruction must be seen again.
 */
static int follow_await(struct ftkvm_replica *r, u8 type)
{
	struct ftkvm_rec *rec;
	unsigned int n = 0;
	int ret;

	while (ftkvm_mode(r) == FTKVM_MODE_FOLLOW) {
		if (!follow_may_go_on(&n))
			return -EINTR;
		rec = ftkvm_log_peek(r);
		if (rec && follow_stopped(r, rec))
			continue;
		if (rec && (rec->type == FTKVM_REC_END || ftkvm_verify_is(rec)) &&
		    !(rec->flags & FTKVM_RECF_SNAP)) {
			bool restart = rec->type == FTKVM_REC_END;

			if (restart && !rec->end.ninputs) {
				ret = follow_end(r, rec);
				if (ret)
					return ret;
				continue;
			}
			if (!follow_at(r, rec)) {
				ftkvm_follow_unexpected(r, rec, "an exit");
				return -ESTALE;
			}
			ret = follow_arrived(r, rec);
			if (ret)
				return ret;
			if (restart)
				return -ERESTART;
			continue;
		}
		if (rec)
			return follow_take(r, rec, type);
		if (ftkvm_follow_drained(r)) {
			ftkvm_go_live(r);
			return 0;
		}
		ret = ftkvm_log_wait(r);
		if (ret)
			return ret;
		if (READ_ONCE(r->detaching))
			return -EINTR;
	}
	return ftkvm_mode(r) == FTKVM_MODE_PASS ? 0 : -ESTALE;
}

/**
 * ftkvm_follow_sync() - a synchronising exit, before KVM emulates its instruction
 * @r: the replica
 * @what: FTKVM_SYNC_*
 *
 * Context: vCPU thread, process context, kvm->srcu read-held (dropped in waits).
 * Return: 0: go on (in FTKVM_MODE_PASS if the guest went live here). Otherwise
 * nothing was begun and the instruction is to be executed again.
 */
int ftkvm_follow_sync(struct ftkvm_replica *r, u32 what)
{
	int ret;

	ftkvm_fault(FTKVM_FAULT_FOLLOW_SYNC);
	/* an END that the last instruction promised comes before this one */
	if (r->snap_after && !r->out_logged)
		return -ERESTART;
	if (what & FTKVM_SYNC_OUT) {
		if (!r->out_logged) {
			ret = follow_await(r, FTKVM_REC_OUT);
			if (ret)
				return ret;
			r->out_logged = true;
			ftkvm_fault(FTKVM_FAULT_FOLLOW_OUT);
		}
		r->out_done = true;
	}
	r->env_len = 0;
	r->env_pos = 0;
	r->env_more = false;
	if (what & FTKVM_SYNC_ENV) {
		ret = follow_await(r, FTKVM_REC_ENV);
		if (ret)
			return ret;
	}
	if (what & FTKVM_SYNC_TSC) {
		ret = follow_await(r, FTKVM_REC_TSC);
		if (ret)
			return ret;
	}
	if (r->out_logged)
		r->st.outputs++;
	r->out_logged = false;
	return 0;
}

/**
 * ftkvm_follow_tsc() - a clock read, if its record is here already
 * @r: the replica
 * @tsc: the value the guest gets
 *
 * Context: vCPU thread, interrupts off.
 * Return: false when it has to be done in process context.
 */
bool ftkvm_follow_tsc(struct ftkvm_replica *r, u64 *tsc)
{
	struct ftkvm_rec *rec;

	if (r->snap_after || r->out_logged)
		return false;
	rec = ftkvm_log_peek(r);
	if (!rec || rec->type != FTKVM_REC_TSC || follow_take(r, rec, FTKVM_REC_TSC))
		return false;
	*tsc = r->last_tsc;
	return true;
}

/* In the middle of an instruction: its next record. 0, or -errno: live or lost. */
static int follow_within(struct ftkvm_replica *r, u8 type)
{
	struct ftkvm_rec *rec;
	bool closed;

	while (ftkvm_mode(r) == FTKVM_MODE_FOLLOW) {
		/* the primary says how many there are: in all of this, and of this */
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
		/* closed first: what was received before is seen then */
		closed = smp_load_acquire(&r->log_closed);
		rec = ftkvm_log_peek(r);
		if (rec && follow_stopped(r, rec))
			continue;
		if (rec)
			return follow_take_within(r, rec, type);
		if (closed || READ_ONCE(r->detaching))
			return -ENODATA;
		if (ftkvm_log_wait_killable(r))
			return -EINTR;
	}
	return -ENODATA;
}

/**
 * ftkvm_follow_more() - the instruction reads on: take its next ENV record
 * @r: the replica
 *
 * Context: vCPU thread, process context, kvm->srcu read-held.
 * Return: 0; -errno when there is none and never will be.
 */
int ftkvm_follow_more(struct ftkvm_replica *r)
{
	return r->env_more ? follow_within(r, FTKVM_REC_ENV) : -ENODATA;
}

/**
 * ftkvm_follow_late_output() - a write in the middle of an emulation
 * @r: the replica
 *
 * The backup's part of ftkvm_lead_late_output().
 * Context: vCPU thread, process context, kvm->srcu read-held.
 */
void ftkvm_follow_late_output(struct ftkvm_replica *r)
{
	if (r->out_done)
		return;
	ftkvm_fault(FTKVM_FAULT_FOLLOW_LATE);
	r->out_done = true;
	if (!r->env_more) {
		ftkvm_follow_diverged(r, "a device write that the primary did not do");
		return;
	}
	/* its further ENV comes when a value is asked for, or behind it */
	follow_within(r, FTKVM_REC_OUT);
}

/**
 * ftkvm_follow_halt() - the guest is halted: wait for what wakes it
 * @r: the replica
 *
 * Context: vCPU thread, process context, kvm->srcu not held.
 */
void ftkvm_follow_halt(struct ftkvm_replica *r)
{
	struct ftkvm_rec *rec;

	ftkvm_fault(FTKVM_FAULT_FOLLOW_HALT);
	while (ftkvm_mode(r) == FTKVM_MODE_FOLLOW && !READ_ONCE(r->detaching)) {
		bool again = false;

		rec = ftkvm_log_peek(r);
		if (rec) {
			if (follow_stopped(r, rec))
				return;
			kvm_vcpu_srcu_read_lock(r->vcpu);
			if (r->snap_after)
				follow_snap(r, rec);
			else if (rec->type == FTKVM_REC_END || ftkvm_verify_is(rec))
				follow_record(r, rec, &again);
			else
				ftkvm_follow_unexpected(r, rec, "halted");
			kvm_vcpu_srcu_read_unlock(r->vcpu);
			/* the run loop sees whether that woke the guest, and comes back */
			return;
		}
		if (ftkvm_follow_drained(r)) {
			kvm_vcpu_srcu_read_lock(r->vcpu);
			ftkvm_go_live(r);
			kvm_vcpu_srcu_read_unlock(r->vcpu);
			return;
		}
		if (ftkvm_log_wait_nosrcu(r))
			return;
	}
}
