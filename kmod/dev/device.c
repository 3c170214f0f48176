// SPDX-License-Identifier: GPL-2.0
/*
 * Devices: how they come and go, and what there is of them. What userspace asks for.
 */
#include <linux/crc32c.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "../fault/fault.h"
#include "../kvm/hooks.h"
#include "../kvm/replica.h"
#include "../netlink/netlink.h"
#include "device.h"

LIST_HEAD(ftkvm_devs);
DEFINE_MUTEX(ftkvm_devs_lock);		/* writers of the list, and lookup by name */

static void dev_free(struct rcu_head *rcu)
{
	kvfree(container_of(rcu, struct ftkvm_dev, rcu));
}

static void dev_release(struct kref *ref)
{
	struct ftkvm_dev *dev = container_of(ref, struct ftkvm_dev, ref);
	struct ftkvm_devq *q;

	ftkvm_net_close(dev);
	ftkvm_for_each_devq(q, dev)
		ftkvm_devq_free(q);
	kvfree(dev->net.packet);
	ftkvm_track_free(dev);
	ftkvm_store_close(dev);
	if (dev->file)
		fput(dev->file);
	if (dev->kvm)
		kvm_put_kvm(dev->kvm);
	call_rcu(&dev->rcu, dev_free);
}

/**
 * ftkvm_dev_put() - done with a device
 * @dev: the device
 *
 * Context: process; may sleep.
 */
void ftkvm_dev_put(struct ftkvm_dev *dev)
{
	kref_put(&dev->ref, dev_release);
}

/**
 * ftkvm_dev_get() - a device of a VM
 * @kvm: the VM
 * @no: the device's number
 *
 * Context: process.
 * Return: the device with a reference, or NULL.
 */
struct ftkvm_dev *ftkvm_dev_get(const struct kvm *kvm, u32 no)
{
	struct ftkvm_dev *dev, *hit = NULL;

	rcu_read_lock();
	ftkvm_for_each_dev(dev) {
		if (dev->kvm == kvm && dev->no == no && kref_get_unless_zero(&dev->ref)) {
			hit = dev;
			break;
		}
	}
	rcu_read_unlock();
	return hit;
}

/**
 * ftkvm_dev_next() - go through a VM's devices, in the order of their numbers
 * @kvm: the VM
 * @no: the last one's number, at first -1; is set
 *
 * The order is the same on both hosts.
 * Context: process.
 * Return: the device with a reference, or NULL.
 */
struct ftkvm_dev *ftkvm_dev_next(const struct kvm *kvm, s64 *no)
{
	struct ftkvm_dev *dev, *hit;

	rcu_read_lock();
	do {
		hit = NULL;
		ftkvm_for_each_dev(dev)
			if (dev->kvm == kvm && dev->no > *no && (!hit || dev->no < hit->no))
				hit = dev;
		if (hit)
			*no = hit->no;
		/* on its way out: it is none */
	} while (hit && !kref_get_unless_zero(&hit->ref));
	rcu_read_unlock();
	return hit;
}

/**
 * ftkvm_devs_crc() - a VM's devices, for the other host to compare
 * @kvm: the VM
 * @count: how many it has
 *
 * Context: process.
 * Return: crc32c over what their requests are judged by.
 */
u32 ftkvm_devs_crc(const struct kvm *kvm, u32 *count)
{
	struct ftkvm_dev *dev;
	u32 crc = ~0u;
	s64 no = -1;

	*count = 0;
	while ((dev = ftkvm_dev_next(kvm, &no))) {
		const struct ftkvm_vblk *d = &dev->disk;
		u64 v[] = {
			dev->no, dev->kind, dev->queues, d->sectors, d->blk_size, d->readonly,
			dev->store.shared, dev->store.block,
		};

		crc = crc32c(crc, v, sizeof(v));
		ftkvm_dev_put(dev);
		++*count;
	}
	return crc;
}

/**
 * ftkvm_next_devq() - one queue after the other of a guest's devices
 * @kvm: the guest
 * @q: the one before, or NULL for the first
 *
 * Context: any but NMI; rcu_read_lock() held since the first.
 * Return: a queue, or NULL: there are no more.
 */
struct ftkvm_devq *ftkvm_next_devq(const struct kvm *kvm, struct ftkvm_devq *q)
{
	struct ftkvm_dev *dev = q ? q->dev : list_entry(&ftkvm_devs, struct ftkvm_dev, node);

	if (q && q + 1 < dev->q + dev->queues)
		return q + 1;
	list_for_each_entry_continue_rcu(dev, &ftkvm_devs, node)
		if (dev->kvm == kvm && dev->queues)
			return dev->q;
	return NULL;
}

static struct ftkvm_dev *dev_named(const char *name, char *why, size_t size)
{
	struct ftkvm_dev *dev;

	lockdep_assert_held(&ftkvm_devs_lock);
	list_for_each_entry(dev, &ftkvm_devs, node)
		if (!strcmp(dev->name, name))
			return dev;
	snprintf(why, size, "no device named %s is here: see \"ftctl device\"", name);
	return NULL;
}

/**
 * ftkvm_dev_find() - the device of a name
 * @name: the operator's
 * @why: cause and remedy if there is none
 * @size: of @why
 *
 * Context: process; sleeps.
 * Return: the device with a reference, or NULL.
 */
struct ftkvm_dev *ftkvm_dev_find(const char *name, char *why, size_t size)
{
	struct ftkvm_dev *dev;

	mutex_lock(&ftkvm_devs_lock);
	dev = dev_named(name, why, size);
	if (dev)
		kref_get(&dev->ref);
	mutex_unlock(&ftkvm_devs_lock);
	return dev;
}

/* ---- come and go ---- */

static struct ftkvm_dev *dev_new(const struct ftkvm_dev_params *p)
{
	struct ftkvm_dev *dev = kvzalloc(sizeof(*dev), GFP_KERNEL_ACCOUNT);
	struct ftkvm_devq *q;

	if (!dev)
		return NULL;
	kref_init(&dev->ref);
	mutex_init(&dev->cmd);
	mutex_init(&dev->track_lock);
	spin_lock_init(&dev->fault.lock);
	init_waitqueue_head(&dev->store.wq);
	strscpy(dev->name, p->name);
	dev->no = p->no;
	dev->kind = p->kind;
	dev->disk.readonly = p->readonly;
	dev->queues = p->kind == FTKVM_UAPI_DEV_NET ? FTKVM_VNET_QUEUES : 1;
	ftkvm_for_each_devq(q, dev)
		ftkvm_devq_init(q, dev, q - dev->q);
	ftkvm_for_each_devq(q, dev) {
		q->fifo = kvzalloc(sizeof(*q->fifo), GFP_KERNEL_ACCOUNT);
		if (!q->fifo) {
			ftkvm_dev_put(dev);
			return NULL;
		}
	}
	return dev;
}

/* -EEXIST: the name, or the VM's number, is taken. */
static int dev_taken(const struct ftkvm_dev *new, char *why, size_t size)
{
	struct ftkvm_dev *dev;

	list_for_each_entry(dev, &ftkvm_devs, node) {
		if (!strcmp(dev->name, new->name)) {
			snprintf(why, size, "a device named %s is here already", dev->name);
			return -EEXIST;
		}
		if (dev->kvm == new->kvm && dev->no == new->no) {
			snprintf(why, size, "the guest has a device %u already, %s", dev->no,
				 dev->name);
			return -EEXIST;
		}
	}
	return 0;
}

/* Does the guest run in lockstep, which it can't without its device? */
static bool dev_needed(const struct ftkvm_dev *dev)
{
	struct ftkvm_replica *r = ftkvm_replica_get(dev->kvm);
	bool needed;

	if (!r)
		return false;
	needed = !READ_ONCE(r->gone) && ftkvm_mode(r) != FTKVM_MODE_PASS;
	ftkvm_replica_put(r);
	return needed;
}

/* see netlink.h */
int ftkvm_dev_add(const struct ftkvm_dev_params *p, char *why, size_t size)
{
	struct ftkvm_dev *dev;
	struct file *file;
	int ret;

	dev = dev_new(p);
	if (!dev)
		return -ENOMEM;
	ret = -EINVAL;
	dev->kvm = ftkvm_replica_vm(p->vm_fd, why, size);
	if (!dev->kvm || !ftkvm_devq_can_write(dev->kvm, why, size))
		goto put;
	file = fget(p->backend_fd);
	if (!file) {
		ret = -EBADF;
		snprintf(why, size, "the device's backend is not an open file");
		goto put;
	}
	ret = p->kind == FTKVM_UAPI_DEV_NET ? ftkvm_net_open(dev, file, why, size) :
					      ftkvm_disk_open(dev, file, p->capacity, why, size);
	if (!ret && p->shared)
		ret = ftkvm_store_open(dev, file, p->capacity, why, size);
	fput(file);
	if (ret)
		goto put;
	if (!try_module_get(THIS_MODULE)) {
		snprintf(why, size, "the module is being unloaded");
		ret = -ENODEV;
		goto put;
	}
	mutex_lock(&ftkvm_devs_lock);
	ret = dev_taken(dev, why, size);
	if (!ret && dev_needed(dev)) {
		snprintf(why, size, "the guest is paired: give it its devices before that");
		ret = -EBUSY;
	}
	if (!ret)
		list_add_tail_rcu(&dev->node, &ftkvm_devs);
	mutex_unlock(&ftkvm_devs_lock);
	if (!ret)
		return 0;
	module_put(THIS_MODULE);
put:
	ftkvm_dev_put(dev);
	return ret;
}

static void dev_hide(struct ftkvm_dev *dev)
{
	list_del_rcu(&dev->node);
	WRITE_ONCE(dev->removed, true);
}

/* ... after dev_hide(). */
static void dev_end(struct ftkvm_dev *dev)
{
	struct ftkvm_devq *q;

	/* who found it in the list has queued its work, and nobody does any more */
	synchronize_rcu();
	mutex_lock(&dev->cmd);
	ftkvm_for_each_devq(q, dev)
		ftkvm_devq_stop(q);
	mutex_unlock(&dev->cmd);
	ftkvm_dev_put(dev);
	module_put(THIS_MODULE);
}

/* see netlink.h */
int ftkvm_dev_del(const char *name, char *why, size_t size)
{
	struct ftkvm_dev *dev;
	int ret = -ENOENT;

	mutex_lock(&ftkvm_devs_lock);
	dev = dev_named(name, why, size);
	if (dev && dev_needed(dev)) {
		snprintf(why, size, "device %s is in use by a guest that is paired: unpair that first",
			 name);
		ret = -EBUSY;
	} else if (dev) {
		dev_hide(dev);
		ret = 0;
	}
	mutex_unlock(&ftkvm_devs_lock);
	if (!ret)
		dev_end(dev);
	return ret;
}

/**
 * ftkvm_devs_gone() - a VM ends: so do its devices
 * @kvm: the VM
 * @all: false: only disks that both hosts share
 *
 * Context: process; sleeps.
 */
void ftkvm_devs_gone(struct kvm *kvm, bool all)
{
	struct ftkvm_dev *dev, *hit;

	do {
		hit = NULL;
		mutex_lock(&ftkvm_devs_lock);
		list_for_each_entry(dev, &ftkvm_devs, node) {
			if (dev->kvm == kvm && (all || dev->store.shared)) {
				hit = dev;
				dev_hide(dev);
				break;
			}
		}
		mutex_unlock(&ftkvm_devs_lock);
		if (hit)
			dev_end(hit);
	} while (hit);
}

/* ---- what there is ---- */

static void dev_fill(struct ftkvm_dev *dev, struct ftkvm_dev_info *info)
{
	u64 *s = info->stat;
	struct ftkvm_devq *q;

	memset(info, 0, sizeof(*info));
	strscpy(info->name, dev->name);
	info->no = dev->no;
	info->kind = dev->kind;
	info->pid = dev->kvm->userspace_pid;
	info->capacity = dev->disk.sectors;
	info->readonly = dev->disk.readonly;
	info->shared = dev->store.shared;
	s[FTKVM_DEV_STAT_ERRORS] = atomic64_read(&dev->net.lost);
	s[FTKVM_DEV_STAT_FAILED] = ftkvm_disk_faults(dev, info->storage_detail,
						     sizeof(info->storage_detail));
	ftkvm_for_each_devq(q, dev) {
		mutex_lock(&q->lock);
		s[FTKVM_DEV_STAT_KICKS] += q->st.kicks;
		s[FTKVM_DEV_STAT_REQUESTS] += q->st.requests;
		s[FTKVM_DEV_STAT_COMPLETED] += q->st.completed;
		s[FTKVM_DEV_STAT_PENDING] += q->fifo->next - q->fifo->first - dev->sum.pending;
		s[FTKVM_DEV_STAT_ERRORS] += q->st.errors;
		s[FTKVM_DEV_STAT_IN_BYTES] += q->st.in_bytes;
		s[FTKVM_DEV_STAT_OUT_BYTES] += q->st.out_bytes;
		s[FTKVM_DEV_STAT_FLUSHES] += q->st.flushes;
		if (q->vq.broken) {
			s[FTKVM_DEV_STAT_BROKEN] = 1;
			snprintf(info->detail, sizeof(info->detail),
				 "queue %u: the guest's driver made %s", q->nr, q->vq.broken);
		}
		if (q->vq.at.num)
			s[FTKVM_DEV_STAT_RUNNING] |= BIT(q->nr);
		mutex_unlock(&q->lock);
	}
}

/* Its reference goes. A queue that waits for memory holds up nobody else's device. */
static int dev_tell(struct ftkvm_dev *dev, struct ftkvm_dev_info *info)
{
	if (!dev)
		return -ENOENT;
	dev_fill(dev, info);
	ftkvm_dev_put(dev);
	return 0;
}

/* see netlink.h */
int ftkvm_dev_info(const char *name, struct ftkvm_dev_info *info)
{
	char why[8];

	return dev_tell(ftkvm_dev_find(name, why, sizeof(why)), info);
}

/* see netlink.h */
int ftkvm_dev_info_nr(unsigned int nr, struct ftkvm_dev_info *info)
{
	struct ftkvm_dev *dev, *hit = NULL;

	mutex_lock(&ftkvm_devs_lock);
	list_for_each_entry(dev, &ftkvm_devs, node) {
		if (nr--)
			continue;
		kref_get(&dev->ref);
		hit = dev;
		break;
	}
	mutex_unlock(&ftkvm_devs_lock);
	return dev_tell(hit, info);
}

/**
 * ftkvm_devs_init() - at module load
 *
 * Context: process.
 * Return: 0 or -ENOMEM.
 */
int ftkvm_devs_init(void)
{
	/* in sysfs, where an operator says on which CPUs, and the benchmark on which one */
	ftkvm_dev_work = ftkvm_fault_alloc(INIT_DEVICES,
					   alloc_workqueue("ftkvm-dev",
							   WQ_UNBOUND | WQ_MEM_RECLAIM | WQ_SYSFS,
							   0));
	return ftkvm_dev_work ? 0 : -ENOMEM;
}

/**
 * ftkvm_devs_exit() - at module unload: each device holds the module, so there is none
 *
 * Context: process.
 */
void ftkvm_devs_exit(void)
{
	destroy_workqueue(ftkvm_dev_work);
	/* dev_free() is code of this module */
	rcu_barrier();
}
