// SPDX-License-Identifier: GPL-2.0
/*
 * The operator's commands on a replica, as the netlink family hands them on
 * (netlink.h).
 */
#include "../dev/device.h"
#include "../dev/lockstep.h"
#include "../fault/fault.h"
#include "../link/second.h"
#include "replica.h"
#include "trace.h"

#define PROMOTE_WAIT	HZ

/*
 * A primary may have run, by itself or after an earlier pairing: its QEMU has stopped it,
 * and moved its state to the backup's, which has not. 0 or -errno.
 */
static int pair_may(struct ftkvm_replica *r, const struct ftkvm_pair_params *p, char *why,
		    size_t size)
{
	bool primary = p->role == FTKVM_UAPI_ROLE_PRIMARY;
	enum ftkvm_state state = ftkvm_state(r);

	if (state == FTKVM_STATE_STOPPED || (state == FTKVM_STATE_SOLO && !primary) ||
	    (state == FTKVM_STATE_IDLE && !primary && ftkvm_has_run(r->vcpu))) {
		snprintf(why, size,
			 "guest %s has run already: end its QEMU here, and start it anew with -S",
			 r->name);
		return -EOPNOTSUPP;
	}
	if (state != FTKVM_STATE_IDLE && state != FTKVM_STATE_SOLO) {
		snprintf(why, size, "guest %s is paired already", r->name);
		return -EBUSY;
	}
	return ftkvm_check_still(r->kvm, why, size);
}

/* see netlink.h */
int ftkvm_replica_pair(const char *name, const struct ftkvm_pair_params *p,
		       u32 *reason, char *why, size_t size)
{
	struct ftkvm_replica *r;
	int ret;

	r = ftkvm_replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	ret = pair_may(r, p, why, size);
	if (!ret) {
		ret = ftkvm_replica_fit(r->kvm, p->counter ?: r->counter_code, why, size);
		if (ret)
			*reason = FTKVM_REASON_INCOMPATIBLE;
	}
	/* what it did alone is done with */
	if (!ret)
		ret = ftkvm_replica_settled(r, true);
	if (!ret)
		ret = ftkvm_pair_begin(r, p, reason, why, size);
	ftkvm_replica_done(r);
	return ret;
}

/* see netlink.h */
int ftkvm_replica_unpair(const char *name, char *why, size_t size)
{
	struct ftkvm_replica *r;
	int ret;

	r = ftkvm_replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	ftkvm_fault(FTKVM_FAULT_UNPAIR);
	ret = -EINVAL;
	if (ftkvm_state(r) != FTKVM_STATE_IDLE && ftkvm_state(r) != FTKVM_STATE_UNDECIDED)
		ret = ftkvm_pair_unpair(r);
	if (ftkvm_state(r) == FTKVM_STATE_UNDECIDED) {
		snprintf(why, size,
			 "guest %s has lost its peer, and who goes on is to be decided: where the other host's does not run, and will not, promote it; else fence it",
			 name);
		ret = -EBUSY;
	} else if (ret && ret != -EINTR)
		snprintf(why, size, "guest %s is not paired (it is %s)", name,
			 ftkvm_state_name(ftkvm_state(r)));
	ftkvm_replica_done(r);
	return ret;
}

/* see netlink.h */
int ftkvm_replica_fence(const char *name, char *why, size_t size)
{
	struct ftkvm_replica *r;
	enum ftkvm_state state;
	int ret = -EINVAL;

	r = ftkvm_replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	state = ftkvm_state(r);
	ret = -EINVAL;
	if (state == FTKVM_STATE_UNDECIDED || state == FTKVM_STATE_ORPHAN)
		ret = ftkvm_replica_event(r, FTKVM_EV_FENCE, FTKVM_REASON_FENCED,
					  "the other host's replica is the one to go on");
	if (!ret && !ftkvm_stores_quiet(r->kvm, FTKVM_DISK_HANGS)) {
		snprintf(why, size,
			 "guest %s is fenced, but a disk that both hosts share does not answer, and what was under way may still reach it: power this host off before the other one's replica goes on",
			 name);
		ret = -ETIMEDOUT;
	} else if (ret)
		snprintf(why, size,
			 "guest %s is %s: only one that has lost its peer, and does not run, can be fenced",
			 name, ftkvm_state_name(ftkvm_state(r)));
	ftkvm_replica_done(r);
	return ret;
}

/*
 * The primary lives, and is to stop before this one goes live. One step at a time:
 * userspace may have consoles to join. -EAGAIN: it has stopped.
 */
static int promote_fence(struct ftkvm_replica *r, char *why, size_t size)
{
	/* its own wait, and one for the answer to come */
	long left = 2 * ftkvm_patience(r);
	char detail[FTKVM_DETAIL_MAX + 1];
	enum ftkvm_state state;
	u32 reason;
	int ret;

	ret = ftkvm_pair_fence(r);
	mutex_unlock(&r->cmd);
	if (ret == -EINTR || ret == -ERESTARTSYS)
		return -EINTR;
	if (ret) {
		snprintf(why, size,
			 "the primary of %s could not be told to stop (error %d): power its host off, then promote again",
			 r->name, ret);
		return -EHOSTUNREACH;
	}
	left = wait_event_interruptible_timeout(r->wq, ftkvm_state(r) != FTKVM_STATE_BACKUP,
						left);
	if (left < 0)
		return -EINTR;
	spin_lock_irq(&r->lock);
	state = r->state;
	reason = r->reason;
	strscpy(detail, r->detail);
	spin_unlock_irq(&r->lock);
	if (state == FTKVM_STATE_ORPHAN && reason == FTKVM_REASON_GUEST_ENDED) {
		snprintf(why, size, "the primary of %s was told to stop: promote it again",
			 r->name);
		return -EAGAIN;
	}
	if (state == FTKVM_STATE_ORPHAN || state == FTKVM_STATE_BACKUP) {
		snprintf(why, size,
			 "the primary of %s was told to stop, but did not confirm it (%s): power its host off, then promote again",
			 r->name, state == FTKVM_STATE_ORPHAN ? detail : "no answer");
		return -EHOSTUNREACH;
	}
	snprintf(why, size, "guest %s is %s: %s", r->name, ftkvm_state_name(state), detail);
	return -EIO;
}

/* see netlink.h */
int ftkvm_replica_promote(const char *name, bool force, u32 expected, u64 *takeover_ns,
			  char *why, size_t size)
{
	struct ftkvm_replica *r;
	enum ftkvm_state state;
	struct ftkvm_link *l;
	bool alive;
	int ret;

	r = ftkvm_replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	l = r->link;
	alive = l && ftkvm_link_alive(l);
	/* what the peer said last may be unread: that it is solo, and this one to stop */
	if (!alive && ftkvm_state(r) == FTKVM_STATE_BACKUP &&
	    wait_event_interruptible_timeout(r->wq, ftkvm_state(r) != FTKVM_STATE_BACKUP,
					     2 * ftkvm_patience(r)) < 0) {
		ftkvm_replica_done(r);
		return -EINTR;
	}
	state = ftkvm_state(r);
	if (expected != FTKVM_ANY_STATE && state != expected) {
		snprintf(why, size, "guest %s is %s now: promote it again", name,
			 ftkvm_state_name(state));
		ftkvm_replica_done(r);
		return -EAGAIN;
	}
	if (state == FTKVM_STATE_BACKUP && alive && force) {
		ret = promote_fence(r, why, size);
		ftkvm_replica_put(r);
		return ret;
	}
	if (state != FTKVM_STATE_BACKUP && state != FTKVM_STATE_ORPHAN &&
	    state != FTKVM_STATE_UNDECIDED) {
		snprintf(why, size, "guest %s is %s: only a backup can be promoted", name,
			 ftkvm_state_name(state));
		ret = -EINVAL;
	} else if (state == FTKVM_STATE_BACKUP && !alive) {
		snprintf(why, size, "the link of %s is still ending: promote it again", name);
		ret = -EBUSY;
	} else if (state == FTKVM_STATE_BACKUP) {
		snprintf(why, size,
			 "the primary of %s is alive: power its host off first, or --force",
			 name);
		ret = -EBUSY;
	} else if (!force && ftkvm_second_forbids(r)) {
		snprintf(why, size,
			 "the other host's replica of %s goes on, as the second path tells: fence this one; or power that host off, and try again when it is silent",
			 name);
		ret = -EBUSY;
	} else {
		ret = 0;
		ftkvm_fault(FTKVM_FAULT_PROMOTE);
		r->promote_at = ktime_get();
		if (state != FTKVM_STATE_UNDECIDED)
			trace_ftkvm_takeover_begin(r);
		/* held: nobody has said that the backup stopped, whatever ended the pairing */
		ftkvm_replica_event(r, FTKVM_EV_PROMOTE, state == FTKVM_STATE_UNDECIDED ?
				    FTKVM_REASON_PROMOTED : FTKVM_REASON_NONE,
				    "it was held, and let go on");
	}
	mutex_unlock(&r->cmd);
	ftkvm_fault(FTKVM_FAULT_PROMOTING);
	if (!ret) {
		/* a command that waits holds up others, and it may need one of these */
		long left = wait_event_interruptible_timeout(r->wq, ftkvm_state(r) !=
							     FTKVM_STATE_TAKEOVER ||
							     READ_ONCE(r->detaching),
							     PROMOTE_WAIT);

		if (left < 0) {
			ret = -EINTR;
		} else if (!left) {
			snprintf(why, size, "guest %s still takes over: see its state", name);
			ret = -EINPROGRESS;
		}
	}
	ftkvm_fault(FTKVM_FAULT_PROMOTED);
	if (!ret && ftkvm_state(r) != FTKVM_STATE_SOLO) {
		spin_lock_irq(&r->lock);
		snprintf(why, size, "guest %s could not go live: %s", name, r->detail);
		spin_unlock_irq(&r->lock);
		ret = -EIO;
	}
	*takeover_ns = r->st.takeover_ns;
	ftkvm_replica_put(r);
	return ret;
}

/* see netlink.h */
int ftkvm_replica_set(const char *name, const struct ftkvm_pair_params *p, u32 mask,
		      char *why, size_t size)
{
	const char *what, *mend;
	struct ftkvm_replica *r;
	enum ftkvm_state state;
	u64 min, max;
	int ret;

	r = ftkvm_replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	ret = 0;
	state = ftkvm_state(r);
	if ((mask & ~(FTKVM_SET_TIMEOUT_MS | FTKVM_SET_VERIFY_EVERY)) &&
	    state != FTKVM_STATE_IDLE && state != FTKVM_STATE_SOLO) {
		snprintf(why, size, "epochs, counter and on-loss of %s are fixed while it is %s", name,
			 ftkvm_state_name(state));
		ret = -EBUSY;
		goto out;
	}
	min = mask & FTKVM_SET_PERIOD_MIN ? p->period_min ?: FTKVM_DEFAULT_PERIOD_MIN :
					    r->period_min;
	max = mask & FTKVM_SET_PERIOD_MAX ? p->period_max ?: FTKVM_DEFAULT_PERIOD_MAX :
					    r->period_max;
	ret = ftkvm_pair_epochs(min, max, why, size);
	if (ret)
		goto out;
	if ((mask & FTKVM_SET_COUNTER) && p->counter) {
		ret = ftkvm_counter_probe(p->counter);
		if (ret) {
			what = ftkvm_counter_why(ret, &mend);
			snprintf(why, size, "event %#x %s (error %d): %s", p->counter, what, ret,
				 mend);
			goto out;
		}
	}
	r->period_min = min;
	r->period_max = max;
	if (mask & FTKVM_SET_MARGIN)
		r->margin = p->margin ?: FTKVM_DEFAULT_MARGIN;
	if (mask & FTKVM_SET_COUNTER)
		r->counter_code = p->counter ?: FTKVM_DEFAULT_COUNTER;
	if (mask & FTKVM_SET_VERIFY_EVERY)
		WRITE_ONCE(r->verify_every, p->verify_every);
	if (mask & FTKVM_SET_ON_LOSS)
		WRITE_ONCE(r->on_loss, p->on_loss);
	if (mask & FTKVM_SET_TIMEOUT_MS) {
		WRITE_ONCE(r->timeout_ms, p->timeout_ms ?: FTKVM_DEFAULT_TIMEOUT_MS);
		if (r->link)
			ftkvm_link_set_timeout(r->link, r->timeout_ms);
		if (r->second)
			ftkvm_second_set_timeout(r->second, r->timeout_ms);
	}
out:
	ftkvm_replica_done(r);
	return ret;
}

/* see netlink.h */
int ftkvm_check(int vm_fd, const char *name, ftkvm_problem_fn cb, void *priv,
		char *why, size_t size)
{
	struct ftkvm_replica *r = NULL;
	struct kvm *kvm = NULL;
	u32 counter = FTKVM_DEFAULT_COUNTER;

	if (name) {
		r = ftkvm_replica_named(name, why, size);
		if (!r)
			return -ENOENT;
		kvm = r->kvm;
		counter = r->counter_code;
	} else if (vm_fd >= 0) {
		kvm = ftkvm_replica_vm(vm_fd, why, size);
		if (!kvm)
			return -EINVAL;
	}
	/* a guest that is paired has passed, and has run since */
	if (ftkvm_check_host(counter, cb, priv) && kvm && (!r || ftkvm_state(r) == FTKVM_STATE_IDLE))
		ftkvm_check_guest(kvm, cb, priv);
	if (r)
		ftkvm_replica_put(r);
	else if (kvm)
		kvm_put_kvm(kvm);
	return 0;
}
