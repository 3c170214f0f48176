// SPDX-License-Identifier: GPL-2.0
/*
 * The replica's life: attach, lookup by the hooks, state, detach.
 */
#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/stdarg.h>
#include "hooks.h"
#include "replica.h"
#define CREATE_TRACE_POINTS
#include "trace.h"
#include "vendor.h"

static DEFINE_HASHTABLE(replicas, 5);
static DEFINE_MUTEX(replicas_lock);		/* writers, and lookup by name */
static DECLARE_WAIT_QUEUE_HEAD(replicas_wq);	/* a last reference was put */
static struct workqueue_struct *replicas_work;

/**
 * ftkvm_replica_get() - the replica of a VM, if it has one
 * @kvm: the VM
 *
 * Context: any but NMI.
 * Return: the replica with a reference, NULL.
 */
struct ftkvm_replica *ftkvm_replica_get(struct kvm *kvm)
{
	struct ftkvm_replica *r;

	rcu_read_lock();
	hash_for_each_possible_rcu(replicas, r, node, (unsigned long)kvm)
		if (r->kvm == kvm && refcount_inc_not_zero(&r->ref))
			goto out;
	r = NULL;
out:
	rcu_read_unlock();
	return r;
}

/**
 * ftkvm_replica_put() - done with a replica
 * @r: the replica
 *
 * Context: any but NMI.
 */
void ftkvm_replica_put(struct ftkvm_replica *r)
{
	if (refcount_dec_and_test(&r->ref))
		wake_up_all(&replicas_wq);
}

static struct ftkvm_replica *replica_find(const char *name)
{
	struct ftkvm_replica *r;
	int i;

	lockdep_assert_held(&replicas_lock);
	hash_for_each(replicas, i, r, node)
		if (!strcmp(r->name, name) && refcount_inc_not_zero(&r->ref))
			return r;
	return NULL;
}

/* By name, with a reference; -ENOENT in words. */
static struct ftkvm_replica *replica_named(const char *name, char *why, size_t size)
{
	struct ftkvm_replica *r;

	mutex_lock(&replicas_lock);
	r = replica_find(name);
	mutex_unlock(&replicas_lock);
	if (!r)
		snprintf(why, size, "no guest named %s is attached: see \"ftctl list\"", name);
	return r;
}

/* For a command: by name, with @cmd held. */
static struct ftkvm_replica *replica_command(const char *name, int *err, char *why, size_t size)
{
	struct ftkvm_replica *r = replica_named(name, why, size);

	*err = -ENOENT;
	if (!r)
		return NULL;
	if (mutex_lock_interruptible(&r->cmd)) {
		*err = -EINTR;
	} else if (r->detaching) {
		mutex_unlock(&r->cmd);
		snprintf(why, size, "guest %s is being detached", name);
	} else {
		return r;
	}
	ftkvm_replica_put(r);
	return NULL;
}

static void replica_done(struct ftkvm_replica *r)
{
	mutex_unlock(&r->cmd);
	ftkvm_replica_put(r);
}

/* ---- state ---- */

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
	default:
		return FTKVM_MODE_PASS;
	}
}

static unsigned int replica_uapi_event(enum ftkvm_event ev)
{
	switch (ev) {
	case FTKVM_EV_PAIR_PRIMARY:
	case FTKVM_EV_PAIR_BACKUP:
		return FTKVM_UAPI_EVENT_PAIRED;
	case FTKVM_EV_START:
		return FTKVM_UAPI_EVENT_STARTED;
	case FTKVM_EV_LINK_DOWN:
		return FTKVM_UAPI_EVENT_PEER_LOST;
	case FTKVM_EV_REFUSE:
	case FTKVM_EV_UNPAIR:
		return FTKVM_UAPI_EVENT_UNPAIRED;
	case FTKVM_EV_DIVERGED:
		return FTKVM_UAPI_EVENT_DIVERGED;
	case FTKVM_EV_DRAINED:
		return FTKVM_UAPI_EVENT_PROMOTED;
	case FTKVM_EV_GUEST_END:
		return FTKVM_UAPI_EVENT_GUEST_ENDED;
	default:
		return 0;
	}
}

/**
 * ftkvm_replica_event() - something happened: change the state
 * @r: the replica
 * @ev: what happened
 * @reason: why a pairing ended (enum ftkvm_reason); NONE keeps what is known
 * @fmt: the same in words, for the operator
 *
 * Whoever waits is woken, and the vCPU leaves the guest to see. What else is to
 * be done (telling the peer and the listeners) is left to a worker.
 * Context: any but NMI.
 * Return: 0, -EINVAL when the event has no place in the state the replica is in.
 */
int ftkvm_replica_event(struct ftkvm_replica *r, enum ftkvm_event ev, u32 reason,
			const char *fmt, ...)
{
	unsigned long flags;
	enum ftkvm_state from;
	bool changed;
	va_list args;
	int next;

	spin_lock_irqsave(&r->lock, flags);
	next = ftkvm_state_next(r->state, r->role, ev);
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
		/* a peer that said good-bye itself, or is dead, need not hear of it */
		if ((ev == FTKVM_EV_UNPAIR || ev == FTKVM_EV_DIVERGED || ev == FTKVM_EV_REFUSE ||
		     ev == FTKVM_EV_GUEST_END) && !r->peer_bye)
			r->bye = true;
		r->events |= BIT(replica_uapi_event(ev));
		/* last: what the new mode looks at is in place */
		smp_store_release(&r->mode, replica_mode(next));
	}
	if (changed)
		trace_ftkvm_state(r->name, ftkvm_event_name(ev), ftkvm_state_name(from),
				  ftkvm_state_name(next), r->detail);
	spin_unlock_irqrestore(&r->lock, flags);
	if (changed) {
		wake_up_all(&r->wq);
		kvm_vcpu_kick(r->vcpu);
		queue_work(replicas_work, &r->event_work);
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
	if (ftkvm_inputs_any(r))
		ftkvm_inputs_release(r);
}

static void replica_fill(struct ftkvm_replica *r, struct ftkvm_info *info)
{
	struct ftkvm_stats *st = &r->st;
	struct ftkvm_link *l;
	u64 *s = info->stat, seen = 0, total = 0, received, consumed, epoch;
	unsigned long flags;
	int i;

	memset(info, 0, sizeof(*info));
	strscpy(info->name, r->name);
	info->pid = r->pid;
	spin_lock_irqsave(&r->lock, flags);
	/* the enumerations agree (pair.c asserts it) */
	info->state = (u32)r->state;
	info->role = (u32)r->role;
	info->reason = r->reason;
	strscpy(info->detail, r->detail);
	strscpy(info->peer, r->peer);
	spin_unlock_irqrestore(&r->lock, flags);
	info->period_min = r->period_min;
	info->period_max = r->period_max;
	info->margin = r->margin;
	info->counter = r->counter_code;
	info->timeout_ms = r->timeout_ms;

	s[FTKVM_STAT_EPOCHS] = st->epochs;
	s[FTKVM_STAT_EPOCHS_SNAPPED] = st->snapped;
	s[FTKVM_STAT_EPOCHS_HALTED] = st->halted;
	s[FTKVM_STAT_EPOCHS_LANDED] = st->landed;
	s[FTKVM_STAT_EPOCHS_SKIPPED] = st->skipped;
	s[FTKVM_STAT_INPUTS] = st->inputs;
	s[FTKVM_STAT_INPUTS_LOCAL] = st->inputs_local;
	s[FTKVM_STAT_ENV_PIO] = st->env[FTKVM_ENV_PIO];
	s[FTKVM_STAT_ENV_MMIO] = st->env[FTKVM_ENV_MMIO];
	s[FTKVM_STAT_ENV_TSC] = st->env[FTKVM_ENV_TSC];
	s[FTKVM_STAT_ENV_MSR] = st->env[FTKVM_ENV_MSR];
	s[FTKVM_STAT_ENV_LAPIC] = st->env[FTKVM_ENV_LAPIC];
	s[FTKVM_STAT_ENV_IRQCHIP] = st->env[FTKVM_ENV_IRQCHIP];
	s[FTKVM_STAT_OUTPUTS] = st->outputs;
	s[FTKVM_STAT_COMMIT_WAITS] = st->commit_waits;
	s[FTKVM_STAT_COMMIT_NS] = st->commit_ns;
	s[FTKVM_STAT_RECORDS] = st->records;
	s[FTKVM_STAT_GUEST_EVENTS] = READ_ONCE(r->now.count);
	s[FTKVM_STAT_EXITS] = st->exits;
	s[FTKVM_STAT_LAG_MAX] = st->lag_max;
	s[FTKVM_STAT_WAITS] = st->waits;
	s[FTKVM_STAT_WAIT_NS] = st->wait_ns;
	s[FTKVM_STAT_LAND_STEPS] = st->land_steps;
	s[FTKVM_STAT_DIVERGENCES] = st->divergences;
	s[FTKVM_STAT_TAKEOVER_NS] = st->takeover_ns;
	s[FTKVM_STAT_GUEST_TSC] = READ_ONCE(r->last_tsc);
	for (i = 0; i < FTKVM_LAG_BUCKETS; i++)
		total += st->lag[i];
	for (i = 0; i < FTKVM_LAG_BUCKETS; i++) {
		seen += st->lag[i];
		if (2 * seen >= total)
			break;
	}
	s[FTKVM_STAT_LAG_MEDIAN] = total ? i : 0;
	if (r->role == FTKVM_ROLE_PRIMARY) {
		spin_lock_irqsave(&r->flow_lock, flags);
		received = r->flow.received;
		consumed = r->flow.consumed;
		epoch = r->flow.epoch;
		spin_unlock_irqrestore(&r->flow_lock, flags);
		s[FTKVM_STAT_LOG_BYTES] = READ_ONCE(r->log.head);
		s[FTKVM_STAT_LAG_EPOCHS] = st->epochs - min(st->epochs, epoch);
		s[FTKVM_STAT_LAG_BYTES] = s[FTKVM_STAT_LOG_BYTES] - consumed;
	} else if (r->role == FTKVM_ROLE_BACKUP) {
		received = READ_ONCE(r->held);
		s[FTKVM_STAT_LOG_BYTES] = received;
		s[FTKVM_STAT_LAG_BYTES] = received - READ_ONCE(r->consumed);
	}

	/* a link goes only with @cmd held, or when no reference is left */
	mutex_lock(&r->link_lock);
	l = r->link;
	if (l) {
		ftkvm_link_bytes(l, &s[FTKVM_STAT_TX_BYTES], &s[FTKVM_STAT_RX_BYTES]);
		s[FTKVM_STAT_SILENCE_MS] = ftkvm_link_silence_ms(l);
		s[FTKVM_STAT_LINKED] = ftkvm_link_alive(l);
	}
	mutex_unlock(&r->link_lock);
}

static void replica_event_work(struct work_struct *work)
{
	struct ftkvm_replica *r = container_of(work, struct ftkvm_replica, event_work);
	struct ftkvm_info *info = kzalloc(sizeof(*info), GFP_KERNEL);
	unsigned long events, flags;
	bool bye;
	int i;

	spin_lock_irqsave(&r->lock, flags);
	events = r->events;
	bye = r->bye;
	r->events = 0;
	r->bye = false;
	spin_unlock_irqrestore(&r->lock, flags);
	if (info)
		replica_fill(r, info);
	if (bye)
		ftkvm_pair_bye(r);
	for_each_set_bit(i, &events, BITS_PER_LONG)
		if (i && info)
			ftkvm_netlink_event(info, i);
	kfree(info);
}

/* ---- attach, detach ---- */

static void replica_free(struct ftkvm_replica *r)
{
	ftkvm_ring_free(&r->log);
	kfree(r->env);
	kfree(r->recbuf);
	kfree(r->encbuf);
	kfree(r);
}

/* Wait until the vCPU is as stock KVM would have it. */
static int replica_settled(struct ftkvm_replica *r, bool interruptible)
{
	while (READ_ONCE(r->armed_vmcb) || ftkvm_inputs_any(r)) {
		if (mutex_trylock(&r->vcpu->mutex)) {
			ftkvm_replica_settle(r);
			mutex_unlock(&r->vcpu->mutex);
			continue;
		}
		kvm_vcpu_kick(r->vcpu);
		wait_event_timeout(r->wq, !READ_ONCE(r->armed_vmcb), HZ / 20);
		if (interruptible && signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/*
 * Let go of a replica. The caller holds @cmd and a reference; both are gone on
 * success.
 */
static int replica_detach(struct ftkvm_replica *r, bool gone)
{
	struct ftkvm_info *info = kzalloc(sizeof(*info), GFP_KERNEL);
	struct kvm *kvm = r->kvm;

	WRITE_ONCE(r->detaching, true);
	wake_up_all(&r->wq);
	if (!gone && r->mode == FTKVM_MODE_HALT) {
		/* its other replica lives on: this one must never run */
		kvm_vm_dead(kvm);
	} else if (!gone && replica_settled(r, true)) {
		WRITE_ONCE(r->detaching, false);
		kfree(info);
		return -EINTR;
	}
	if (info)
		replica_fill(r, info);
	mutex_lock(&replicas_lock);
	hash_del_rcu(&r->node);
	mutex_unlock(&replicas_lock);
	mutex_unlock(&r->cmd);
	synchronize_rcu();
	ftkvm_replica_put(r);	/* the caller's */
	ftkvm_replica_put(r);	/* the hash's */
	/* a vCPU in the guest has one for as long as it stays there */
	while (refcount_read(&r->ref)) {
		kvm_vcpu_kick(r->vcpu);
		wake_up_all(&r->wq);
		wait_event_timeout(replicas_wq, !refcount_read(&r->ref), HZ / 20);
	}
	cancel_work_sync(&r->event_work);
	if (r->link)
		ftkvm_link_destroy(r->link);
	/* an 8259's vector that found no open point is KVM's now */
	if (!gone && r->in.extints && r->vcpu->arch.pending_external_vector == -1)
		r->vcpu->arch.pending_external_vector = r->in.extint[0];
	/* the link's last words */
	cancel_work_sync(&r->event_work);
	ftkvm_counter_close(r);
	ftkvm_hooks_put();
	if (info)
		ftkvm_netlink_event(info, FTKVM_UAPI_EVENT_DETACHED);
	kfree(info);
	replica_free(r);
	kvm_put_kvm(kvm);
	module_put(THIS_MODULE);
	return 0;
}

static void replica_gone_work(struct work_struct *work)
{
	struct ftkvm_replica *r = container_of(work, struct ftkvm_replica, gone_work);

	if (!refcount_inc_not_zero(&r->ref))
		return;
	mutex_lock(&r->cmd);
	if (r->detaching) {
		replica_done(r);
		return;
	}
	if (ftkvm_mode(r) == FTKVM_MODE_LEAD)
		ftkvm_lead_stop(r);
	ftkvm_replica_event(r, FTKVM_EV_GUEST_END, FTKVM_REASON_GUEST_ENDED, "its QEMU ended");
	flush_work(&r->event_work);
	replica_detach(r, true);
}

/**
 * ftkvm_replica_gone() - QEMU closed the vCPU
 * @r: the replica
 *
 * Context: process context, inside a hook; the rest is done by a worker.
 */
void ftkvm_replica_gone(struct ftkvm_replica *r)
{
	WRITE_ONCE(r->gone, true);
	queue_work(replicas_work, &r->gone_work);
}

struct replica_why {
	char *why;
	size_t size;
	bool any;
};

static void replica_first_problem(void *priv, u32 scope, const char *cause, const char *remedy)
{
	struct replica_why *w = priv;

	if (!w->any)
		snprintf(w->why, w->size, "%s: %s", cause, remedy);
	w->any = true;
}

/* The VM behind a file descriptor, with a reference. */
static struct kvm *replica_vm(int fd, char *why, size_t size)
{
	struct file *file = fget(fd);
	struct kvm *kvm = NULL;

	if (file && file_is_kvm(file))
		kvm = file->private_data;
	if (kvm && !kvm_get_kvm_safe(kvm))
		kvm = NULL;
	if (file)
		fput(file);
	if (!kvm)
		snprintf(why, size, "descriptor %d is no KVM virtual machine", fd);
	return kvm;
}

/* All problems of host and guest; the first goes into @why. */
static int replica_fit(struct kvm *kvm, u32 counter, char *why, size_t size)
{
	struct replica_why w = { .why = why, .size = size };

	ftkvm_check_host(counter, replica_first_problem, &w);
	if (!w.any)
		ftkvm_check_guest(kvm, replica_first_problem, &w);
	return w.any ? -EOPNOTSUPP : 0;
}

static struct ftkvm_replica *replica_new(struct kvm *kvm, const char *name)
{
	struct ftkvm_replica *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return NULL;
	r->env = kmalloc(FTKVM_REC_MAX_DATA, GFP_KERNEL_ACCOUNT);
	r->recbuf = kmalloc(FTKVM_REC_MAX, GFP_KERNEL_ACCOUNT);
	r->encbuf = kmalloc(FTKVM_REC_MAX, GFP_KERNEL_ACCOUNT);
	if (!r->env || !r->recbuf || !r->encbuf || ftkvm_ring_init(&r->log, FTKVM_LOG_SIZE)) {
		replica_free(r);
		return NULL;
	}
	refcount_set(&r->ref, 1);
	r->kvm = kvm;
	r->vcpu = kvm_get_vcpu(kvm, 0);
	r->pid = kvm->userspace_pid;
	strscpy(r->name, name);
	r->period_min = FTKVM_DEFAULT_PERIOD_MIN;
	r->period_max = FTKVM_DEFAULT_PERIOD_MAX;
	r->margin = FTKVM_DEFAULT_MARGIN;
	r->counter_code = FTKVM_DEFAULT_COUNTER;
	r->timeout_ms = FTKVM_DEFAULT_TIMEOUT_MS;
	spin_lock_init(&r->lock);
	spin_lock_init(&r->flow_lock);
	mutex_init(&r->cmd);
	mutex_init(&r->link_lock);
	init_waitqueue_head(&r->wq);
	INIT_WORK(&r->event_work, replica_event_work);
	INIT_WORK(&r->gone_work, replica_gone_work);
	ftkvm_inputs_init(&r->in);
	return r;
}

/* see netlink.h */
int ftkvm_replica_attach(const char *name, int vm_fd, char *why, size_t size)
{
	struct kvm *kvm = replica_vm(vm_fd, why, size);
	struct ftkvm_replica *r, *other;
	struct ftkvm_info *info;
	int ret;

	if (!kvm)
		return -EINVAL;
	ret = replica_fit(kvm, FTKVM_DEFAULT_COUNTER, why, size);
	if (ret)
		goto put_kvm;
	ret = -ENOMEM;
	r = replica_new(kvm, name);
	if (!r)
		goto put_kvm;
	__module_get(THIS_MODULE);
	ret = ftkvm_hooks_get();
	if (ret) {
		snprintf(why, size, "KVM's functions can't be redirected (error %d): see dmesg", ret);
		goto free;
	}
	mutex_lock(&replicas_lock);
	other = replica_find(name);
	if (other) {
		snprintf(why, size, "a guest named %s is attached already", name);
		ftkvm_replica_put(other);
		ret = -EEXIST;
	} else {
		other = ftkvm_replica_get(kvm);
		if (other) {
			snprintf(why, size, "this guest is attached already, as %s", other->name);
			ftkvm_replica_put(other);
			ret = -EEXIST;
		} else {
			hash_add_rcu(replicas, &r->node, (unsigned long)kvm);
		}
	}
	mutex_unlock(&replicas_lock);
	if (ret)
		goto put_hooks;
	info = kzalloc(sizeof(*info), GFP_KERNEL);
	if (info) {
		replica_fill(r, info);
		ftkvm_netlink_event(info, FTKVM_UAPI_EVENT_ATTACHED);
		kfree(info);
	}
	return 0;

put_hooks:
	ftkvm_hooks_put();
free:
	replica_free(r);
	module_put(THIS_MODULE);
put_kvm:
	kvm_put_kvm(kvm);
	return ret;
}

/* see netlink.h */
int ftkvm_replica_detach(const char *name, char *why, size_t size)
{
	struct ftkvm_replica *r;
	int ret;

	r = replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	switch (READ_ONCE(r->state)) {
	case FTKVM_STATE_IDLE:
	case FTKVM_STATE_SOLO:
	case FTKVM_STATE_STOPPED:
		ret = replica_detach(r, false);
		if (!ret)
			return 0;
		break;
	default:
		snprintf(why, size, "guest %s is paired: \"ftctl unpair %s\" first", name, name);
		ret = -EBUSY;
		break;
	}
	replica_done(r);
	return ret;
}

/* ---- commands ---- */

/* see netlink.h */
int ftkvm_replica_pair(const char *name, const struct ftkvm_pair_params *p,
		       u32 *reason, char *why, size_t size)
{
	struct ftkvm_replica *r;
	int ret;

	r = replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	if (r->state != FTKVM_STATE_IDLE) {
		snprintf(why, size,
			 r->state == FTKVM_STATE_SOLO || r->state == FTKVM_STATE_STOPPED ?
			 "guest %s has run already: start it anew on both hosts, with -S" :
			 "guest %s is paired already", name);
		ret = r->state == FTKVM_STATE_SOLO || r->state == FTKVM_STATE_STOPPED ?
		      -EOPNOTSUPP : -EBUSY;
	} else {
		ret = replica_fit(r->kvm, p->counter ?: r->counter_code, why, size);
		if (ret)
			*reason = FTKVM_REASON_INCOMPATIBLE;
		else
			ret = ftkvm_pair_begin(r, p, reason, why, size);
	}
	replica_done(r);
	return ret;
}

/* see netlink.h */
int ftkvm_replica_unpair(const char *name, char *why, size_t size)
{
	struct ftkvm_replica *r;
	int ret;

	r = replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	ret = -EINVAL;
	if (r->state != FTKVM_STATE_IDLE)
		ret = ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_UNPAIRED,
					  "unpaired by the operator");
	if (ret)
		snprintf(why, size, "guest %s is not paired (it is %s)", name,
			 ftkvm_state_name(r->state));
	replica_done(r);
	return ret;
}

/* see netlink.h */
int ftkvm_replica_promote(const char *name, bool force, u64 *takeover_ns,
			  char *why, size_t size)
{
	struct ftkvm_replica *r;
	struct ftkvm_link *l;
	bool alive;
	int ret;

	r = replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	l = r->link;
	alive = l && ftkvm_link_alive(l);
	if (r->state != FTKVM_STATE_BACKUP && r->state != FTKVM_STATE_ORPHAN) {
		snprintf(why, size, "guest %s is %s: only a backup can be promoted", name,
			 ftkvm_state_name(r->state));
		ret = -EINVAL;
	} else if (r->state == FTKVM_STATE_BACKUP && alive && !force) {
		snprintf(why, size,
			 "the primary of %s is alive: power its host off first, or --force",
			 name);
		ret = -EBUSY;
	} else {
		ret = 0;
		if (alive)
			ftkvm_pair_fence(r);
		r->promote_at = ktime_get();
		ftkvm_replica_event(r, FTKVM_EV_PROMOTE, FTKVM_REASON_NONE, " ");
	}
	mutex_unlock(&r->cmd);
	if (!ret && wait_event_interruptible(r->wq, READ_ONCE(r->state) != FTKVM_STATE_TAKEOVER ||
					     READ_ONCE(r->detaching)))
		ret = -EINTR;
	if (!ret && READ_ONCE(r->state) != FTKVM_STATE_SOLO) {
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
	struct ftkvm_replica *r;
	struct ftkvm_epoch e;
	u64 min, max;
	int ret;

	r = replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	ret = 0;
	if ((mask & ~FTKVM_SET_TIMEOUT_MS) && r->state != FTKVM_STATE_IDLE) {
		snprintf(why, size, "epochs and counter of %s are fixed while it is %s", name,
			 ftkvm_state_name(r->state));
		ret = -EBUSY;
		goto out;
	}
	min = mask & FTKVM_SET_PERIOD_MIN ? p->period_min ?: FTKVM_DEFAULT_PERIOD_MIN :
					    r->period_min;
	max = mask & FTKVM_SET_PERIOD_MAX ? p->period_max ?: FTKVM_DEFAULT_PERIOD_MAX :
					    r->period_max;
	if (ftkvm_epoch_init(&e, min, max)) {
		snprintf(why, size, "epochs of %llu to %llu events: both must lie in %llu..%llu, in order",
			 min, max, FTKVM_PERIOD_MIN, FTKVM_PERIOD_MAX);
		ret = -ERANGE;
		goto out;
	}
	if ((mask & FTKVM_SET_COUNTER) && p->counter) {
		ret = ftkvm_counter_probe(p->counter);
		if (ret) {
			snprintf(why, size, "event %#x can't be counted in guest mode here (error %d)",
				 p->counter, ret);
			goto out;
		}
	}
	r->period_min = min;
	r->period_max = max;
	if (mask & FTKVM_SET_MARGIN)
		r->margin = p->margin ?: FTKVM_DEFAULT_MARGIN;
	if (mask & FTKVM_SET_COUNTER)
		r->counter_code = p->counter ?: FTKVM_DEFAULT_COUNTER;
	if (mask & FTKVM_SET_TIMEOUT_MS) {
		r->timeout_ms = p->timeout_ms ?: FTKVM_DEFAULT_TIMEOUT_MS;
		if (r->link)
			ftkvm_link_set_timeout(r->link, r->timeout_ms);
	}
out:
	replica_done(r);
	return ret;
}

/* see netlink.h */
int ftkvm_replica_info(const char *name, struct ftkvm_info *info)
{
	char why[8];
	struct ftkvm_replica *r = replica_named(name, why, sizeof(why));

	if (!r)
		return -ENOENT;
	replica_fill(r, info);
	ftkvm_replica_put(r);
	return 0;
}

/* see netlink.h */
int ftkvm_replica_info_nr(unsigned int nr, struct ftkvm_info *info)
{
	struct ftkvm_replica *r, *hit = NULL;
	int i;

	mutex_lock(&replicas_lock);
	hash_for_each(replicas, i, r, node) {
		if (nr--)
			continue;
		if (refcount_inc_not_zero(&r->ref))
			hit = r;
		break;
	}
	mutex_unlock(&replicas_lock);
	if (!hit)
		return -ENOENT;
	replica_fill(hit, info);
	ftkvm_replica_put(hit);
	return 0;
}

/* see netlink.h */
int ftkvm_check(int vm_fd, const char *name, ftkvm_problem_fn cb, void *priv,
		char *why, size_t size)
{
	struct ftkvm_replica *r = NULL;
	struct kvm *kvm = NULL;
	u32 counter = FTKVM_DEFAULT_COUNTER;

	if (name) {
		r = replica_named(name, why, size);
		if (!r)
			return -ENOENT;
		kvm = r->kvm;
		counter = r->counter_code;
	} else if (vm_fd >= 0) {
		kvm = replica_vm(vm_fd, why, size);
		if (!kvm)
			return -EINVAL;
	}
	ftkvm_check_host(counter, cb, priv);
	/* a guest that is paired has passed, and has run since */
	if (kvm && (!r || r->state == FTKVM_STATE_IDLE))
		ftkvm_check_guest(kvm, cb, priv);
	if (r)
		ftkvm_replica_put(r);
	else if (kvm)
		kvm_put_kvm(kvm);
	return 0;
}

/**
 * ftkvm_replica_init() - at module load
 *
 * Context: process context.
 * Return: 0 or -ENOMEM.
 */
int ftkvm_replica_init(void)
{
	replicas_work = alloc_workqueue("ftkvm", WQ_UNBOUND, 0);
	return replicas_work ? 0 : -ENOMEM;
}

/**
 * ftkvm_replica_exit() - at module unload; no replica is left
 *
 * Context: process context.
 */
void ftkvm_replica_exit(void)
{
	destroy_workqueue(replicas_work);
}
