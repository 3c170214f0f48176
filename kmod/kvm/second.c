// SPDX-License-Identifier: GPL-2.0
/*
 * A replica's second path: whether the peer's host is heard where the link is not.
 */
#include "../core/beat.h"
#include "../fault/fault.h"
#include "../link/second.h"
#include "replica.h"
#include "trace.h"

static enum ftkvm_state second_state(void *priv)
{
	return ftkvm_state(priv);
}

static void second_news(void *priv, bool up, const char *why)
{
	struct ftkvm_replica *r = priv;

	trace_ftkvm_second(r->name, up, why);
	spin_lock_irq(&r->lock);
	strscpy(r->second_why, why);
	/* one that never came up was not lost */
	if (!up && r->second_up)
		r->second_lost++;
	r->second_up = up;
	r->events |= BIT(FTKVM_UAPI_EVENT_SECOND_DOWN);
	spin_unlock_irq(&r->lock);
	queue_work(ftkvm_replica_work, &r->event_work);
}

static const struct ftkvm_second_ops second_ops = {
	.state = second_state,
	.news = second_news,
};

/* Is there a pairing of which it is a part, or one that ended undecided? */
static bool second_counts(enum ftkvm_state state)
{
	return state == FTKVM_STATE_ARMED || state == FTKVM_STATE_PRIMARY ||
	       state == FTKVM_STATE_BACKUP || state == FTKVM_STATE_ORPHAN ||
	       state == FTKVM_STATE_UNDECIDED;
}

/* see netlink.h */
int ftkvm_replica_second(const char *name, int fd, u64 token, char *why, size_t size)
{
	struct ftkvm_second *s;
	struct ftkvm_replica *r;
	enum ftkvm_state state;
	int ret;

	r = ftkvm_replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	state = ftkvm_state(r);
	if (state != FTKVM_STATE_ARMED && state != FTKVM_STATE_PRIMARY &&
	    state != FTKVM_STATE_BACKUP) {
		snprintf(why, size, "guest %s is %s: only one that is paired has a second path",
			 name, ftkvm_state_name(state));
		ret = -EINVAL;
		goto out;
	}
	if (!r->token || token != r->token) {
		snprintf(why, size,
			 r->token ? "this second path of guest %s is another pairing's: make it anew" :
			 "guest %s was paired without a second path: unpair it, and pair it with one",
			 name);
		ret = -ESTALE;
		goto out;
	}
	ret = ftkvm_fault(FTKVM_FAULT_SECOND_OPEN);
	if (ret)
		goto out;
	s = ftkvm_second_create(fd, &second_ops, r, token, r->timeout_ms, why, size);
	ret = PTR_ERR_OR_ZERO(s);
	if (ret)
		goto out;
	ftkvm_second_end(r);
	ret = ftkvm_second_start(s, r->name);
	if (ret) {
		snprintf(why, size, "the second path could not be started (error %d)", ret);
		ftkvm_second_destroy(s);
		goto out;
	}
	mutex_lock(&r->link_lock);
	r->second = s;
	mutex_unlock(&r->link_lock);
out:
	ftkvm_replica_done(r);
	return ret;
}

/**
 * ftkvm_second_end() - let go of the second path
 * @r: the replica
 *
 * Context: process context, @cmd held or no reference left; sleeps.
 */
void ftkvm_second_end(struct ftkvm_replica *r)
{
	struct ftkvm_second *s;

	mutex_lock(&r->link_lock);
	s = r->second;
	r->second = NULL;
	mutex_unlock(&r->link_lock);
	if (s)
		ftkvm_second_destroy(s);
	spin_lock_irq(&r->lock);
	r->second_up = false;
	spin_unlock_irq(&r->lock);
}

/* What is known of the loss of the peer; @link_lock held. */
static void second_loss(struct ftkvm_replica *r, struct ftkvm_loss *l)
{
	struct ftkvm_second_heard heard = { };

	lockdep_assert_held(&r->link_lock);
	if (r->second)
		ftkvm_second_heard(r->second, &heard);
	*l = (struct ftkvm_loss) {
		.role = r->role,
		.state = ftkvm_state(r),
		.peer = heard.peer,
		.up = heard.up,
		.told = READ_ONCE(r->peer_bye),
		.lost_ms = jiffies_to_msecs(jiffies - READ_ONCE(r->lost_at)),
		.silence_ms = heard.silence_ms,
		.timeout_ms = READ_ONCE(r->timeout_ms),
	};
}

/**
 * ftkvm_second_fill() - the second path, as userspace sees it
 * @r: the replica, @link_lock held
 * @s: its statistics, by FTKVM_STAT_*
 *
 * Context: process context.
 */
void ftkvm_second_fill(struct ftkvm_replica *r, u64 *s)
{
	struct ftkvm_loss l;

	if (!READ_ONCE(r->token) || !second_counts(ftkvm_state(r)))
		return;
	second_loss(r, &l);
	s[FTKVM_STAT_SECOND] = l.up ? FTKVM_UAPI_SECOND_UP : FTKVM_UAPI_SECOND_DOWN;
	s[FTKVM_STAT_SECOND_SILENCE_MS] = l.silence_ms;
	s[FTKVM_STAT_SECOND_LOST] = READ_ONCE(r->second_lost);
	s[FTKVM_STAT_DEFER_MS] = ftkvm_loss_defer(&l);
	s[FTKVM_STAT_PEER_ALONE] = ftkvm_loss_forbids(&l);
}

/**
 * ftkvm_second_forbids() - does the peer say that it goes on, by the second path?
 * @r: the replica
 *
 * Context: process context; sleeps.
 * Return: whether it does: then this one must not go live.
 */
bool ftkvm_second_forbids(struct ftkvm_replica *r)
{
	struct ftkvm_loss l;

	mutex_lock(&r->link_lock);
	second_loss(r, &l);
	mutex_unlock(&r->link_lock);
	return ftkvm_loss_forbids(&l);
}

/**
 * ftkvm_second_event() - which event is it that its @second_why tells?
 * @r: the replica
 * @info: gets that for its detail
 *
 * Context: process context.
 * Return: enum ftkvm_uapi_event; 0: nobody needs it any more.
 */
u32 ftkvm_second_event(struct ftkvm_replica *r, struct ftkvm_info *info)
{
	bool up;

	spin_lock_irq(&r->lock);
	up = r->second_up;
	strscpy(info->detail, r->second_why);
	spin_unlock_irq(&r->lock);
	/* what ended a pairing is told by that */
	if (!second_counts(info->state))
		return 0;
	return up ? FTKVM_UAPI_EVENT_SECOND_UP : FTKVM_UAPI_EVENT_SECOND_DOWN;
}
