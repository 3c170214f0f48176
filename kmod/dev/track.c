// SPDX-License-Identifier: GPL-2.0
/*
 * Which parts of a disk change, while userspace copies it to the other host. The guest runs
 * unprotected meanwhile and writes on; what it wrote is copied again, until little is left,
 * and the last of it with the guest stopped.
 *
 * A part is marked once what changed it is done, or has failed: who copies it before that
 * copies it again. To mark it before would not do. It could be fetched, and its old
 * contents be copied, while the write is still under way, and nobody would look again. Of
 * one that was under way when this began, and whose end saw no bitmap, all is in the
 * image that is copied then: the lock orders them.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include "../netlink/netlink.h"
#include "device.h"

#define SECTOR			512u
/* what is copied for a byte that changes */
#define TRACK_SHIFT		16
/* of a disk of more than 8 TiB, for which 16 MiB of memory are enough, parts are larger */
#define TRACK_BITS_MAX		BIT_ULL(27)

/**
 * struct ftkvm_track - a disk's parts
 * @id: of this copy; the last one's is of no more use
 * @shift: a part's bytes, as a power of two
 * @parts: how many there are
 * @dirty: how many of them are marked
 * @next: where the next fetch begins to look
 * @bits: the marks
 */
struct ftkvm_track {
	u32 id;
	unsigned int shift;
	unsigned long parts, dirty, next;
	unsigned long bits[];
};

static u64 track_size(const struct ftkvm_dev *dev)
{
	return dev->disk.sectors * SECTOR;
}

static struct ftkvm_track *track_new(const struct ftkvm_dev *dev)
{
	unsigned int shift = TRACK_SHIFT;
	struct ftkvm_track *t;
	unsigned long parts;

	while ((track_size(dev) - 1) >> shift >= TRACK_BITS_MAX)
		shift++;
	parts = ((track_size(dev) - 1) >> shift) + 1;
	t = kvzalloc(struct_size(t, bits, BITS_TO_LONGS(parts)), GFP_KERNEL_ACCOUNT);
	if (!t)
		return NULL;
	t->shift = shift;
	t->parts = parts;
	return t;
}

/**
 * ftkvm_track_mark() - part of a disk has changed, or may have
 * @dev: the disk
 * @at: where, in bytes
 * @bytes: how much; not behind the disk's end
 *
 * Context: process; behind what changed it.
 */
void ftkvm_track_mark(struct ftkvm_dev *dev, u64 at, u64 bytes)
{
	struct ftkvm_track *t;
	unsigned long i, last;

	if (!bytes)
		return;
	mutex_lock(&dev->track_lock);
	t = dev->track;
	if (unlikely(t)) {
		last = min_t(u64, (at + bytes - 1) >> t->shift, t->parts - 1);
		for (i = at >> t->shift; i <= last; i++)
			t->dirty += !__test_and_set_bit(i, t->bits);
	}
	mutex_unlock(&dev->track_lock);
}

/**
 * ftkvm_track_free() - a device goes
 * @dev: the device, that nobody uses any more
 *
 * Context: process.
 */
void ftkvm_track_free(struct ftkvm_dev *dev)
{
	kvfree(dev->track);
}

/* The next run of marks from @from on, which go. Parts: 0: there is none. */
static unsigned long track_take(struct ftkvm_track *t, unsigned long *from)
{
	unsigned long end;

	*from = find_next_bit(t->bits, t->parts, *from);
	if (*from >= t->parts)
		return 0;
	end = find_next_zero_bit(t->bits, t->parts, *from);
	bitmap_clear(t->bits, *from, end - *from);
	t->dirty -= end - *from;
	return end - *from;
}

static u32 track_fetch(const struct ftkvm_dev *dev, struct ftkvm_track *t,
		       struct ftkvm_uapi_range *ranges, u32 most)
{
	unsigned long at, parts;
	u32 n = 0;

	while (t->dirty && n < most) {
		at = t->next;
		parts = track_take(t, &at);
		t->next = parts ? at + parts : 0;
		if (!parts)
			continue;
		ranges[n].at = (u64)at << t->shift;
		ranges[n].bytes = min((u64)parts << t->shift, track_size(dev) - ranges[n].at);
		n++;
	}
	return n;
}

/* ---- commands ---- */

/* The disk, with a reference; or ERR_PTR(). */
static struct ftkvm_dev *track_disk(const char *name, char *why, size_t size)
{
	struct ftkvm_dev *dev = ftkvm_dev_find(name, why, size);

	if (!dev)
		return ERR_PTR(-ENOENT);
	if (dev->kind != FTKVM_UAPI_DEV_BLK) {
		snprintf(why, size, "device %s is no disk", name);
		ftkvm_dev_put(dev);
		return ERR_PTR(-EINVAL);
	}
	if (dev->store.shared) {
		snprintf(why, size, "device %s is on storage that both hosts share: there is nothing to copy",
			 name);
		ftkvm_dev_put(dev);
		return ERR_PTR(-EINVAL);
	}
	return dev;
}

static struct ftkvm_track *track_of(struct ftkvm_dev *dev, u32 id, char *why, size_t size)
{
	if (dev->track && dev->track->id == id)
		return dev->track;
	snprintf(why, size, "another copy of device %s has begun, or this was ended", dev->name);
	return NULL;
}

/* see netlink.h */
int ftkvm_dev_track(const char *name, u32 *id, char *why, size_t size)
{
	struct ftkvm_dev *dev = track_disk(name, why, size);
	struct ftkvm_track *t;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	t = track_new(dev);
	if (!t) {
		ftkvm_dev_put(dev);
		return -ENOMEM;
	}
	mutex_lock(&dev->track_lock);
	t->id = ++dev->tracks;
	*id = t->id;
	swap(dev->track, t);
	mutex_unlock(&dev->track_lock);
	/* one that nobody ended: its ftd was killed */
	kvfree(t);
	ftkvm_dev_put(dev);
	return 0;
}

/* see netlink.h */
int ftkvm_dev_untrack(const char *name, u32 id, char *why, size_t size)
{
	struct ftkvm_dev *dev = track_disk(name, why, size);
	struct ftkvm_track *t;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	mutex_lock(&dev->track_lock);
	t = track_of(dev, id, why, size);
	if (t)
		dev->track = NULL;
	mutex_unlock(&dev->track_lock);
	ftkvm_dev_put(dev);
	kvfree(t);
	return t ? 0 : -ESTALE;
}

/* see netlink.h */
int ftkvm_dev_dirty(const char *name, u32 id, struct ftkvm_uapi_range *ranges, u32 *n, u64 *left,
		    char *why, size_t size)
{
	struct ftkvm_dev *dev = track_disk(name, why, size);
	struct ftkvm_track *t;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	mutex_lock(&dev->track_lock);
	t = track_of(dev, id, why, size);
	if (t) {
		*n = track_fetch(dev, t, ranges, *n);
		*left = (u64)t->dirty << t->shift;
	}
	mutex_unlock(&dev->track_lock);
	ftkvm_dev_put(dev);
	return t ? 0 : -ESTALE;
}
