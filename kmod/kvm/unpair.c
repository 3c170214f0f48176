// SPDX-License-Identifier: GPL-2.0
/*
 * How a pairing ends: good-byes that are said and heard, and the link's end.
 */
#include "../dev/device.h"
#include "../fault/fault.h"
#include "replica.h"
#include "trace.h"

#define UNPAIRED	"unpaired by the operator"

/* Say it, and leave it to the peer to hang up. */
static int pair_send_bye(struct ftkvm_replica *r, u32 reason, const char *detail)
{
	struct ftkvm_bye bye = { .reason = cpu_to_le32(reason) };
	int ret;

	if (!r->link || !ftkvm_link_alive(r->link))
		return -ENOTCONN;
	strscpy(bye.detail, detail);
	ftkvm_fault(FTKVM_FAULT_BYE_SAY);
	ret = ftkvm_link_send(r->link, FTKVM_FRAME_BYE, &bye, sizeof(bye));
	ftkvm_fault(FTKVM_FAULT_BYE_SAID);
	return ret;
}

static void pair_say_bye(struct ftkvm_replica *r, u32 reason, const char *detail)
{
	if (pair_send_bye(r, reason, detail) == -ENOTCONN)
		return;
	ftkvm_link_fail(r->link, reason, detail);
	ftkvm_fault(FTKVM_FAULT_BYE_DONE);
}

/*
 * A primary that unpairs, or is held, goes on alone when it hears that its backup has
 * stopped. That is the worker's to say: the receive thread does not wait to send.
 */
static void pair_answer_bye(struct ftkvm_replica *r)
{
	spin_lock_irq(&r->lock);
	if (r->state == FTKVM_STATE_STOPPED && !r->bye) {
		r->bye = true;
		r->bye_reason = FTKVM_REASON_UNPAIRED;
		strscpy(r->bye_detail, "the backup has stopped, as the primary ended the pairing");
	}
	spin_unlock_irq(&r->lock);
	queue_work(ftkvm_replica_work, &r->event_work);
}

/**
 * ftkvm_pair_got_bye() - the peer says good-bye
 * @r: the replica
 * @bye: what it says, as it came
 *
 * Context: the link's receive thread; does not wait.
 */
void ftkvm_pair_got_bye(struct ftkvm_replica *r, const struct ftkvm_bye *bye)
{
	u32 reason = le32_to_cpu(bye->reason);
	char detail[sizeof(bye->detail)];

	ftkvm_frame_text(detail, sizeof(detail), bye->detail, sizeof(bye->detail));
	ftkvm_fault(FTKVM_FAULT_BYE_GOT);
	/* it has stopped; who promotes has not */
	if (reason != FTKVM_REASON_PROMOTED)
		WRITE_ONCE(r->peer_bye, true);
	switch (reason) {
	case FTKVM_REASON_GUEST_ENDED:
		/* the peer is gone, not our guest */
		ftkvm_replica_event(r, FTKVM_EV_LINK_DOWN, reason, "the peer: %s", detail);
		break;
	case FTKVM_REASON_PROMOTED:
		/* the backup is to live: this one must not. pair_fenced() answers */
		ftkvm_replica_event(r, FTKVM_EV_FENCE, reason,
				    "the backup was promoted by force");
		break;
	case FTKVM_REASON_DIVERGED:
		ftkvm_replica_event(r, r->role == FTKVM_ROLE_PRIMARY ? FTKVM_EV_DIVERGED :
				    FTKVM_EV_UNPAIR, reason, "the peer: %s", detail);
		break;
	default:
		ftkvm_replica_event(r, FTKVM_EV_UNPAIR,
				    reason < __FTKVM_REASON_MAX ? reason : FTKVM_REASON_UNPAIRED,
				    "the peer: %s", detail);
		break;
	}
	if (r->role == FTKVM_ROLE_BACKUP)
		pair_answer_bye(r);
	else if (reason != FTKVM_REASON_PROMOTED)
		/* what it was held for has been decided */
		ftkvm_replica_event(r, FTKVM_EV_PEER_STOPPED, FTKVM_REASON_NONE, " ");
}

/**
 * ftkvm_pair_down() - the link has ended
 * @priv: the replica
 * @reason: enum ftkvm_reason
 * @detail: for people
 *
 * Context: as @down in struct ftkvm_link_ops.
 */
void ftkvm_pair_down(void *priv, int reason, const char *detail)
{
	struct ftkvm_replica *r = priv;

	WRITE_ONCE(r->lost_at, jiffies);
	/* behind the last log byte: ftkvm_follow_drained() */
	smp_store_release(&r->log_closed, true);
	trace_ftkvm_link_down(r, reason, detail);
	ftkvm_fault(FTKVM_FAULT_LINK_DOWN);
	if (READ_ONCE(r->unpairing))
		ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_UNPAIRED, "%s", UNPAIRED);
	else
		ftkvm_replica_event(r, FTKVM_EV_LINK_DOWN, reason, "%s", detail);
	ftkvm_fault(FTKVM_FAULT_LINK_TOLD);
	wake_up_all(&r->wq);
}

/* What the primary logged gets a chance to arrive, as long as the peer lives. */
static void pair_drain(struct ftkvm_replica *r)
{
	u64 end = READ_ONCE(r->log.head);

	ftkvm_fault(FTKVM_FAULT_DRAIN);
	ftkvm_link_kick(r->link);
	wait_event_timeout(r->wq, !ftkvm_link_alive(r->link) ||
			   READ_ONCE(r->flow.received) >= end, ftkvm_patience(r));
	ftkvm_fault(FTKVM_FAULT_DRAINED);
}

/* Of a guest that has stopped: does nothing of it reach a disk any more that both hosts share? */
static bool pair_disks_quiet(struct ftkvm_replica *r)
{
	unsigned long timeout = msecs_to_jiffies(READ_ONCE(r->timeout_ms));

	/* of one that is gone they are in no list any more, and may not have ended yet */
	if (READ_ONCE(r->gone) && !wait_event_timeout(r->wq, READ_ONCE(r->stores_over), timeout))
		return false;
	return ftkvm_stores_quiet(r->kvm, timeout);
}

/*
 * The backup waits to hear that this primary has stopped, and may go live then. If
 * that can't be said in time, the link ends without: then the operator has to see
 * to it.
 */
static void pair_fenced(struct ftkvm_replica *r)
{
	unsigned long end = jiffies + ftkvm_patience(r);

	ftkvm_fault(FTKVM_FAULT_FENCE_WAIT);
	while (!ftkvm_lead_stopped(r) && ftkvm_link_alive(r->link) && time_before(jiffies, end)) {
		kvm_vcpu_kick(r->vcpu);
		wait_event_timeout(r->wq, ftkvm_lead_stopped(r), HZ / 50 + 1);
	}
	ftkvm_fault(FTKVM_FAULT_FENCE_WAITED);
	if (ftkvm_lead_stopped(r) && pair_disks_quiet(r))
		pair_say_bye(r, FTKVM_REASON_GUEST_ENDED,
			     "the primary has stopped, as the backup is promoted by force");
	else
		ftkvm_link_fail(r->link, FTKVM_REASON_PROMOTED,
				"the backup was promoted by force");
}

static bool pair_leads(const struct ftkvm_replica *r)
{
	enum ftkvm_state state = ftkvm_state(r);

	return r->role == FTKVM_ROLE_PRIMARY &&
	       (state == FTKVM_STATE_ARMED || state == FTKVM_STATE_PRIMARY);
}

/* The backup is to stop, and hangs up when it has: ftkvm_pair_down() is what follows. */
static void pair_unpairing(struct ftkvm_replica *r)
{
	pair_send_bye(r, FTKVM_REASON_UNPAIRED, UNPAIRED);
	ftkvm_fault(FTKVM_FAULT_UNPAIRING);
	wait_event_timeout(r->wq, !pair_leads(r), ftkvm_patience(r));
	/* too late: then without it */
	ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_UNPAIRED, "%s", UNPAIRED);
	ftkvm_link_fail(r->link, FTKVM_REASON_UNPAIRED, UNPAIRED);
}

/* This primary ended the pairing itself, and need not wait for others if the backup stops. */
static void pair_held(struct ftkvm_replica *r, u32 reason, const char *detail)
{
	if (pair_send_bye(r, reason, detail) == -ENOTCONN)
		return;
	wait_event_timeout(r->wq, ftkvm_state(r) != FTKVM_STATE_UNDECIDED ||
			   !ftkvm_link_alive(r->link), ftkvm_patience(r));
	ftkvm_link_fail(r->link, reason, detail);
	ftkvm_fault(FTKVM_FAULT_BYE_DONE);
}

/**
 * ftkvm_pair_bye() - tell the peer why the pairing ended on this side
 * @r: the replica, with @bye_reason and @bye_detail
 *
 * Context: process context, may sleep as long as ftkvm_patience().
 */
void ftkvm_pair_bye(struct ftkvm_replica *r)
{
	char detail[FTKVM_DETAIL_MAX + 1];
	u32 reason;

	spin_lock_irq(&r->lock);
	reason = r->bye_reason;
	strscpy(detail, r->bye_detail);
	spin_unlock_irq(&r->lock);
	if (!r->link)
		return;
	if (reason == FTKVM_REASON_UNPAIRED && pair_leads(r)) {
		pair_unpairing(r);
		return;
	}
	if (reason == FTKVM_REASON_PROMOTED && r->role == FTKVM_ROLE_PRIMARY) {
		pair_fenced(r);
		return;
	}
	if (reason == FTKVM_REASON_GUEST_ENDED && r->role == FTKVM_ROLE_PRIMARY) {
		pair_drain(r);
		/* or the backup would take that for leave to write there */
		if (!pair_disks_quiet(r)) {
			ftkvm_link_fail(r->link, FTKVM_REASON_LOCAL,
					"the primary ended, and a disk that both hosts share does not answer it");
			return;
		}
	}
	if (ftkvm_state(r) == FTKVM_STATE_UNDECIDED)
		pair_held(r, reason, detail);
	else
		pair_say_bye(r, reason, detail);
}

/**
 * ftkvm_pair_unpair() - the operator ends the pairing
 * @r: the replica
 *
 * A primary asks its backup to stop, and goes on as a primary until that has hung
 * up, or its patience is over: were it solo before, and died, the backup would
 * be promoted with less than what the primary let out.
 * Context: process context, @cmd held; interruptible, waits about as long as ftkvm_patience().
 * Return: 0; -EINTR: the pairing ends nevertheless; -EINVAL: there is none.
 */
int ftkvm_pair_unpair(struct ftkvm_replica *r)
{
	bool leads;

	spin_lock_irq(&r->lock);
	leads = pair_leads(r) && r->link && ftkvm_link_alive(r->link);
	if (leads && !r->unpairing) {
		r->unpairing = true;
		r->bye = true;
		r->bye_reason = FTKVM_REASON_UNPAIRED;
		strscpy(r->bye_detail, UNPAIRED);
	}
	spin_unlock_irq(&r->lock);
	if (!leads)
		return ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_UNPAIRED, "%s",
					   UNPAIRED);
	/* a worker's: who asked may be killed */
	queue_work(ftkvm_replica_work, &r->event_work);
	return wait_event_interruptible(r->wq, !pair_leads(r)) ? -EINTR : 0;
}

/**
 * ftkvm_pair_fence() - forced promotion: the primary must stop
 * @r: the backup
 *
 * When it has, it says that its guest ended, which makes an orphan of this one.
 * Context: process context, @cmd held; may sleep as long as the time-out.
 * Return: 0; -errno: it could not be told so.
 */
int ftkvm_pair_fence(struct ftkvm_replica *r)
{
	int ret;

	ftkvm_fault(FTKVM_FAULT_FENCE);
	ret = pair_send_bye(r, FTKVM_REASON_PROMOTED, "promoted by force");
	ftkvm_fault(FTKVM_FAULT_FENCED);
	return ret;
}
