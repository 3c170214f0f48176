// SPDX-License-Identifier: GPL-2.0
/*
 * The replica's life: attach, lookup, detach.
 */
#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include "../dev/device.h"
#include "../fault/fault.h"
#include "hooks.h"
#include "replica.h"
#include "vendor.h"

static DEFINE_HASHTABLE(replicas, 5);
static DEFINE_MUTEX(replicas_lock);		/* writers, and lookup by name */
static DECLARE_WAIT_QUEUE_HEAD(replicas_wq);	/* a last reference was put */
struct workqueue_struct *ftkvm_replica_work;

static __always_inline struct ftkvm_replica *replica_of(struct kvm *kvm)
{
	struct ftkvm_replica *r;

	hash_for_each_possible_rcu(replicas, r, node, (unsigned long)kvm, irqs_disabled())
		if (r->kvm == kvm && refcount_inc_not_zero(&r->ref))
			return r;
	return NULL;
}

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
	r = replica_of(kvm);
	rcu_read_unlock();
	return r;
}

/**
 * ftkvm_replica_get_irqoff() - the same at every exit, a little quicker
 * @kvm: the VM
 *
 * Context: interrupts off, which is as good as rcu_read_lock().
 * Return: the replica with a reference, NULL.
 */
struct ftkvm_replica *ftkvm_replica_get_irqoff(struct kvm *kvm)
{
	return replica_of(kvm);
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

/**
 * ftkvm_replica_named() - by name
 * @name: the guest's name
 * @why: set when there is none
 * @size: of @why
 *
 * Context: process context, may sleep.
 * Return: the replica with a reference, or NULL.
 */
struct ftkvm_replica *ftkvm_replica_named(const char *name, char *why, size_t size)
{
	struct ftkvm_replica *r;

	mutex_lock(&replicas_lock);
	r = replica_find(name);
	mutex_unlock(&replicas_lock);
	if (!r)
		snprintf(why, size, "no guest named %s is attached: see \"ftctl list\"", name);
	return r;
}

/**
 * ftkvm_replica_command() - by name, for a command: with @cmd held
 * @name: the guest's name
 * @err: on failure, -errno
 * @why: on failure, cause and remedy
 * @size: of @why
 *
 * Context: process context, may sleep.
 * Return: the replica, for ftkvm_replica_done(), or NULL.
 */
struct ftkvm_replica *ftkvm_replica_command(const char *name, int *err, char *why, size_t size)
{
	struct ftkvm_replica *r = ftkvm_replica_named(name, why, size);

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

/**
 * ftkvm_replica_done() - a command is done
 * @r: the replica
 *
 * Context: process context.
 */
void ftkvm_replica_done(struct ftkvm_replica *r)
{
	mutex_unlock(&r->cmd);
	ftkvm_replica_put(r);
}

/* ---- attach, detach ---- */

static void replica_free(struct ftkvm_replica *r)
{
	ftkvm_ring_free(&r->log);
	kfree(r->env);
	kfree(r->recbuf);
	kfree(r->encbuf);
	kfree(r->verify.sums);
	kfree(r->verify.page);
	ftkvm_dirty_free(r);
	kfree(r);
}

/**
 * ftkvm_replica_settled() - wait until the vCPU is as stock KVM would have it
 * @r: the replica, in FTKVM_MODE_PASS
 * @interruptible: a signal ends the wait
 *
 * Context: process context, @cmd held.
 * Return: 0, -EINTR.
 */
int ftkvm_replica_settled(struct ftkvm_replica *r, bool interruptible)
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
	struct ftkvm_info *info = ftkvm_fault_alloc(ALLOC_INFO, kzalloc(sizeof(*info), GFP_KERNEL));
	struct kvm *kvm = r->kvm;

	ftkvm_fault(FTKVM_FAULT_DETACH);
	WRITE_ONCE(r->detaching, true);
	wake_up_all(&r->wq);
	if (!gone && ftkvm_mode(r) == FTKVM_MODE_HALT) {
		/* its other replica lives on: this one must never run */
		kvm_vm_dead(kvm);
	} else if (!gone && ftkvm_replica_settled(r, true)) {
		WRITE_ONCE(r->detaching, false);
		kfree(info);
		return -EINTR;
	}
	ftkvm_fault(FTKVM_FAULT_DETACH_SETTLED);
	if (info)
		ftkvm_replica_fill(r, info);
	mutex_lock(&replicas_lock);
	ftkvm_hooks_guest(r->kvm, false);
	hash_del_rcu(&r->node);
	mutex_unlock(&replicas_lock);
	mutex_unlock(&r->cmd);
	ftkvm_fault(FTKVM_FAULT_DETACH_HIDDEN);
	synchronize_rcu();
	ftkvm_replica_put(r);	/* the caller's */
	ftkvm_replica_put(r);	/* the hash's */
	/* a vCPU in the guest has one for as long as it stays there */
	while (refcount_read(&r->ref)) {
		kvm_vcpu_kick(r->vcpu);
		wake_up_all(&r->wq);
		wait_event_timeout(replicas_wq, !refcount_read(&r->ref), HZ / 20);
	}
	ftkvm_fault(FTKVM_FAULT_DETACH_ALONE);
	if (!gone)
		cancel_work_sync(&r->gone_work);
	/* a good-bye that waits there is to be said */
	flush_work(&r->event_work);
	if (r->link)
		ftkvm_link_stop(r->link);
	ftkvm_second_end(r);
	ftkvm_fault(FTKVM_FAULT_DETACH_UNLINKED);
	/* an 8259's vector that found no open point is KVM's now */
	if (!gone && r->in.extints && r->vcpu->arch.pending_external_vector == -1) {
		r->vcpu->arch.pending_external_vector = r->in.extint[0];
		kvm_make_request(KVM_REQ_EVENT, r->vcpu);
		kvm_vcpu_kick(r->vcpu);
	}
	/* both links' last words, said by who looks at them */
	cancel_work_sync(&r->event_work);
	if (r->link)
		ftkvm_link_destroy(r->link);
	ftkvm_counter_close(r);
	ftkvm_hooks_put();
	ftkvm_fault(FTKVM_FAULT_DETACHED);
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
	ftkvm_fault(FTKVM_FAULT_GONE_WORK);
	mutex_lock(&r->cmd);
	if (r->detaching) {
		ftkvm_replica_done(r);
		return;
	}
	/* the backup may go on once it hears of the end: one of us is at what both share */
	ftkvm_devs_gone(r->kvm, false);
	WRITE_ONCE(r->stores_over, true);
	wake_up_all(&r->wq);
	if (ftkvm_mode(r) == FTKVM_MODE_LEAD)
		ftkvm_lead_stop(r);
	/* before the peer hears of it: nothing of this one reaches a disk any more */
	ftkvm_devs_gone(r->kvm, true);
	ftkvm_replica_event(r, FTKVM_EV_GUEST_END, FTKVM_REASON_GUEST_ENDED, "its QEMU ended");
	flush_work(&r->event_work);
	ftkvm_fault(FTKVM_FAULT_GONE_TOLD);
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
	/* once: the work may let go of the replica */
	if (xchg(&r->gone, true))
		return;
	ftkvm_fault(FTKVM_FAULT_GONE);
	/* ftkvm_lockstep_drain() */
	wake_up_all(&r->wq);
	queue_work(ftkvm_replica_work, &r->gone_work);
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

/**
 * ftkvm_replica_vm() - the VM behind a file descriptor
 * @fd: a descriptor of the calling process
 * @why: on failure, cause and remedy
 * @size: of @why
 *
 * Context: process context.
 * Return: the VM with a reference, or NULL.
 */
struct kvm *ftkvm_replica_vm(int fd, char *why, size_t size)
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

/**
 * ftkvm_replica_fit() - can this guest be protected on this host?
 * @kvm: the guest
 * @counter: raw PMU event that is to count
 * @why: if not, the first problem and its remedy
 * @size: of @why
 *
 * Context: process context, may sleep.
 * Return: 0 or -EOPNOTSUPP.
 */
int ftkvm_replica_fit(struct kvm *kvm, u32 counter, char *why, size_t size)
{
	struct replica_why w = { .why = why, .size = size };

	ftkvm_check_host(counter, replica_first_problem, &w);
	if (!w.any)
		ftkvm_check_guest(kvm, replica_first_problem, &w);
	return w.any ? -EOPNOTSUPP : 0;
}

static struct ftkvm_replica *replica_new(struct kvm *kvm, const char *name)
{
	struct ftkvm_replica *r = ftkvm_fault_alloc(ALLOC_REPLICA,
						    kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT));

	if (!r)
		return NULL;
	r->env = ftkvm_fault_alloc(ALLOC_ENV, kmalloc(FTKVM_REC_MAX_DATA, GFP_KERNEL_ACCOUNT));
	r->recbuf = ftkvm_fault_alloc(ALLOC_DECODE, kmalloc(FTKVM_REC_MAX, GFP_KERNEL_ACCOUNT));
	r->encbuf = ftkvm_fault_alloc(ALLOC_ENCODE, kmalloc(FTKVM_REC_MAX, GFP_KERNEL_ACCOUNT));
	r->verify.sums = ftkvm_fault_alloc(ALLOC_SUMS,
					   kmalloc(FTKVM_REC_MAX_DATA, GFP_KERNEL_ACCOUNT));
	r->verify.page = ftkvm_fault_alloc(ALLOC_PAGE, kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT));
	if (!r->env || !r->recbuf || !r->encbuf || !r->verify.sums || !r->verify.page ||
	    ftkvm_fault(FTKVM_FAULT_ALLOC_LOG) ||
	    ftkvm_ring_init(&r->log, FTKVM_LOG_SIZE)) {
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
	r->on_loss = FTKVM_UAPI_LOSS_SOLO;
	spin_lock_init(&r->lock);
	spin_lock_init(&r->flow_lock);
	mutex_init(&r->cmd);
	mutex_init(&r->link_lock);
	init_waitqueue_head(&r->wq);
	INIT_WORK(&r->event_work, ftkvm_replica_event_work);
	INIT_WORK(&r->gone_work, replica_gone_work);
	ftkvm_inputs_init(&r->in);
	return r;
}

/* -EEXIST: the guest, or the name, is attached already. */
static int replica_taken(struct kvm *kvm, const char *name, char *why, size_t size)
{
	struct ftkvm_replica *r = ftkvm_replica_get(kvm);

	if (r) {
		snprintf(why, size, "this guest is attached already, as %s", r->name);
	} else {
		r = replica_find(name);
		if (!r)
			return 0;
		snprintf(why, size, "a guest named %s is attached already", name);
	}
	ftkvm_replica_put(r);
	return -EEXIST;
}

/* see netlink.h */
int ftkvm_replica_attach(const char *name, int vm_fd, char *why, size_t size)
{
	struct kvm *kvm = ftkvm_replica_vm(vm_fd, why, size);
	struct ftkvm_replica *r;
	struct ftkvm_info *info;
	int ret;

	if (!kvm)
		return -EINVAL;
	/* a daemon that comes back wants to hear this first */
	mutex_lock(&replicas_lock);
	ret = replica_taken(kvm, name, why, size);
	mutex_unlock(&replicas_lock);
	if (!ret)
		ret = ftkvm_fault(FTKVM_FAULT_ATTACH);
	if (ret)
		goto put_kvm;
	ret = ftkvm_replica_fit(kvm, FTKVM_DEFAULT_COUNTER, why, size);
	if (!ret)
		ret = ftkvm_fault(FTKVM_FAULT_ATTACH_CHECKED);
	if (ret)
		goto put_kvm;
	/* an unloading that has begun waits for this command, and goes on then */
	if (!try_module_get(THIS_MODULE)) {
		snprintf(why, size, "the module is being unloaded");
		ret = -ENODEV;
		goto put_kvm;
	}
	ret = -ENOMEM;
	r = replica_new(kvm, name);
	if (!r)
		goto put_module;
	ret = ftkvm_hooks_get();
	if (ret) {
		snprintf(why, size, "KVM's functions can't be redirected (error %d): see dmesg",
			 ret);
		goto free;
	}
	ret = ftkvm_fault(FTKVM_FAULT_ATTACH_HOOKED);
	if (ret)
		goto put_hooks;
	mutex_lock(&replicas_lock);
	ret = replica_taken(kvm, name, why, size);
	if (!ret) {
		/* ours: another command, or its QEMU's end, may let go of it at once */
		refcount_inc(&r->ref);
		hash_add_rcu(replicas, &r->node, (unsigned long)kvm);
		ftkvm_hooks_guest(kvm, true);
	}
	mutex_unlock(&replicas_lock);
	if (ret)
		goto put_hooks;
	ftkvm_fault(FTKVM_FAULT_ATTACHED);
	/* no hook has seen a vCPU that was closed before; one that is mapped is closed later */
	if (mmget_not_zero(kvm->mm))
		mmput(kvm->mm);
	else
		ftkvm_replica_gone(r);
	info = ftkvm_fault_alloc(ALLOC_INFO, kzalloc(sizeof(*info), GFP_KERNEL));
	if (info) {
		ftkvm_replica_fill(r, info);
		ftkvm_netlink_event(info, FTKVM_UAPI_EVENT_ATTACHED);
		kfree(info);
	}
	ftkvm_replica_put(r);
	return 0;

put_hooks:
	ftkvm_hooks_put();
free:
	replica_free(r);
put_module:
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

	r = ftkvm_replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	switch (ftkvm_state(r)) {
	case FTKVM_STATE_IDLE:
	case FTKVM_STATE_SOLO:
	case FTKVM_STATE_STOPPED:
		ret = replica_detach(r, false);
		if (!ret)
			return 0;
		break;
	case FTKVM_STATE_UNDECIDED:
		snprintf(why, size, "guest %s has lost its peer: \"ftctl promote\" or \"fence\" it first",
			 name);
		ret = -EBUSY;
		break;
	default:
		snprintf(why, size, "guest %s is paired: \"ftctl unpair %s\" first", name, name);
		ret = -EBUSY;
		break;
	}
	ftkvm_replica_done(r);
	return ret;
}

/* see netlink.h */
int ftkvm_replica_info(const char *name, struct ftkvm_info *info)
{
	char why[8];
	struct ftkvm_replica *r = ftkvm_replica_named(name, why, sizeof(why));

	if (!r)
		return -ENOENT;
	ftkvm_replica_fill(r, info);
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
	ftkvm_replica_fill(hit, info);
	ftkvm_replica_put(hit);
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
	ftkvm_replica_work = ftkvm_fault_alloc(INIT_WORK, alloc_workqueue("ftkvm", WQ_UNBOUND, 0));
	return ftkvm_replica_work ? 0 : -ENOMEM;
}

/**
 * ftkvm_replica_exit() - at module unload; no replica is left
 *
 * Context: process context.
 */
void ftkvm_replica_exit(void)
{
	destroy_workqueue(ftkvm_replica_work);
}
