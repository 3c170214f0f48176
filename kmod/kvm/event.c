// SPDX-License-Identifier: GPL-2.0
/*
 * What happens to a replica: its state, and who is told.
 */
#include <linux/slab.h>
#include <linux/stdarg.h>
#include "../dev/device.h"
#include "../fault/fault.h"
#include "replica.h"
#include "vendor.h"
#define CREATE_TRACE_POINTS
#include "trace.h"

static enum ftkvm_mode replica_mode(enum ftkvm_state s)
{
	switch (s) {
	case FTKVM_STATE_ARMED:
		return FTKVM_MODE_START;
	case FTKVM_STATE_PRIMARY:
		return FTKVM_MODE_LEAD;
	case FTKVM_STATE_BACKUP:
	case FTKVM_STATE_ORPHAN:
	case FTKVM_STATE_TAKEOVER:
		return FTKVM_MODE_FOLLOW;
	case FTKVM_STATE_STOPPED:
		return FTKVM_MODE_HALT;
	case FTKVM_STATE_UNDECIDED:
		return FTKVM_MODE_HOLD;
	default:
		return FTKVM_MODE_PASS;
	}
}

static unsigned int replica_uapi_event(enum ftkvm_event ev, enum ftkvm_state next)
{
	switch (ev) {
	case FTKVM_EV_PAIR_PRIMARY:
	case FTKVM_EV_PAIR_BACKUP:
		return FTKVM_UAPI_EVENT_PAIRED;
	case FTKVM_EV_START:
		return FTKVM_UAPI_EVENT_STARTED;
	case FTKVM_EV_LINK_DOWN:
	case FTKVM_EV_HOLD:
		return FTKVM_UAPI_EVENT_PEER_LOST;
	case FTKVM_EV_REFUSE:
	case FTKVM_EV_UNPAIR:
		return FTKVM_UAPI_EVENT_UNPAIRED;
	case FTKVM_EV_DIVERGED:
		return FTKVM_UAPI_EVENT_DIVERGED;
	case FTKVM_EV_PEER_STOPPED:
		return FTKVM_UAPI_EVENT_UNPAIRED;
	case FTKVM_EV_PROMOTE:
		/* one that has a log to consume is not live yet */
		return next == FTKVM_STATE_SOLO ? FTKVM_UAPI_EVENT_PROMOTED : 0;
	case FTKVM_EV_DRAINED:
		return FTKVM_UAPI_EVENT_PROMOTED;
	case FTKVM_EV_GUEST_END:
	case FTKVM_EV_FENCE:
		return FTKVM_UAPI_EVENT_GUEST_ENDED;
	default:
		return 0;
	}
}

static bool replica_says_bye(enum ftkvm_event ev)
{
	return ev == FTKVM_EV_UNPAIR || ev == FTKVM_EV_DIVERGED || ev == FTKVM_EV_REFUSE ||
	       ev == FTKVM_EV_GUEST_END;
}

/**
 * ftkvm_replica_event() - something happened: change the state
 * @r: the replica
 * @ev: what happened
 * @reason: why a pairing ended (enum ftkvm_reason); NONE keeps what is known
 * @fmt: the same in words, for the operator
 *
 * To a primary that is not to go on unasked, the end of its pairing is another event:
 * ftkvm_state_event(). Whoever waits is woken, and the vCPU leaves the guest to see. What else is to
 * be done (telling the peer and the listeners) is left to a worker.
 * Context: any but NMI.
 * Return: 0, -EINVAL when the event has no place in the state the replica is in.
 */
int ftkvm_replica_event(struct ftkvm_replica *r, enum ftkvm_event ev, u32 reason,
			const char *fmt, ...)
{
	struct ftkvm_ending ending;
	bool says_bye = replica_says_bye(ev);
	unsigned long flags;
	enum ftkvm_state from;
	bool changed;
	va_list args;
	int next;

	ftkvm_fault(FTKVM_FAULT_STATE_CHANGES);
	spin_lock_irqsave(&r->lock, flags);
	ending = (struct ftkvm_ending) {
		.hold = READ_ONCE(r->on_loss) == FTKVM_UAPI_LOSS_HOLD,
		.told = READ_ONCE(r->peer_bye),
		.begun = r->start_said,
	};
	ev = ftkvm_state_event(r->state, r->role, ev, &ending);
	next = ftkvm_state_next(r->state, r->role, ev);
	/* its backup has been told to stop: they must not both. But who decides may say so */
	if (ev == FTKVM_EV_FENCE && reason == FTKVM_REASON_PROMOTED &&
	    (r->unpairing || r->state == FTKVM_STATE_UNDECIDED))
		next = -EINVAL;
	if (next < 0) {
		spin_unlock_irqrestore(&r->lock, flags);
		return next;
	}
	changed = next != r->state;
	from = r->state;
	if (changed) {
		if (reason) {
			r->reason = reason;
			va_start(args, fmt);
			vsnprintf(r->detail, sizeof(r->detail), fmt, args);
			va_end(args);
		}
		WRITE_ONCE(r->state, next);
		WRITE_ONCE(r->promote, next == FTKVM_STATE_TAKEOVER);
		/*
		 * A peer that said good-bye itself, or is dead, need not hear of it; but
		 * who fences waits for the answer. What came first is what it is told:
		 * a primary that went solo may end later, and is no reason to promote.
		 * But one that has yet to say that it unpairs was not alone.
		 */
		if ((ev == FTKVM_EV_FENCE || (says_bye && !ending.told)) &&
		    (!r->bye || from == FTKVM_STATE_PRIMARY)) {
			r->bye = true;
			r->bye_reason = r->reason;
			strscpy(r->bye_detail, r->detail);
		}
		r->events |= BIT(replica_uapi_event(ev, next));
		/* last: what the new mode looks at is in place */
		smp_store_release(&r->mode, replica_mode(next));
	}
	if (changed)
		trace_ftkvm_state(r->name, ftkvm_event_name(ev), ftkvm_state_name(from),
				  ftkvm_state_name(next), r->detail);
	spin_unlock_irqrestore(&r->lock, flags);
	if (changed) {
		ftkvm_fault(FTKVM_FAULT_STATE_CHANGED);
		wake_up_all(&r->wq);
		kvm_vcpu_kick(r->vcpu);
		queue_work(ftkvm_replica_work, &r->event_work);
	}
	return 0;
}

/**
 * ftkvm_replica_settle() - the guest is on its own: put the vCPU back as it was
 * @r: the replica, in FTKVM_MODE_PASS
 *
 * Context: vCPU thread outside the guest, interrupts may be off; or vcpu->mutex
 * held.
 */
void ftkvm_replica_settle(struct ftkvm_replica *r)
{
	if (r->armed_vmcb) {
		ftkvm_vendor()->disarm(r->vcpu);
		ftkvm_counter_quiet(r);
		WRITE_ONCE(r->armed_vmcb, false);
		wake_up_all(&r->wq);
	}
	/* that is its worker's now */
	if (READ_ONCE(r->dev_ready))
		WRITE_ONCE(r->dev_ready, false);
	if (ftkvm_inputs_any(r))
		ftkvm_inputs_release(r);
}

/**
 * ftkvm_replica_event_work() - what an event leaves to process context
 * @work: the replica's event_work
 *
 * Context: worker.
 */
void ftkvm_replica_event_work(struct work_struct *work)
{
	struct ftkvm_replica *r = container_of(work, struct ftkvm_replica, event_work);
	struct ftkvm_info *info = ftkvm_fault_alloc(ALLOC_EVENT,
						    kzalloc(sizeof(*info), GFP_KERNEL));
	unsigned long events, flags;
	bool bye;
	int i;

	ftkvm_fault(FTKVM_FAULT_EVENT_WORK);
	spin_lock_irqsave(&r->lock, flags);
	events = r->events;
	bye = r->bye;
	r->events = 0;
	r->bye = false;
	spin_unlock_irqrestore(&r->lock, flags);
	/* alone, its workers serve its devices */
	ftkvm_devs_poke(r->kvm);
	if (info)
		ftkvm_replica_fill(r, info);
	if (bye)
		ftkvm_pair_bye(r);
	for_each_set_bit(i, &events, BITS_PER_LONG)
		if (i && i != FTKVM_UAPI_EVENT_SECOND_DOWN && info)
			ftkvm_netlink_event(info, i);
	/* the last of them: it has a detail of its own */
	i = info && (events & BIT(FTKVM_UAPI_EVENT_SECOND_DOWN)) ? ftkvm_second_event(r, info) : 0;
	if (i)
		ftkvm_netlink_event(info, i);
	kfree(info);
}
