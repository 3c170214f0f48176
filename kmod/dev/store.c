// SPDX-License-Identifier: GPL-2.0
/*
 * A disk whose storage both hosts reach. Only the primary, or a replica that is alone,
 * touches it: what a backup's guest reads comes with the log, and what it writes the
 * primary has written.
 *
 * What one host keeps in its page cache the other one neither sees nor makes stale. So
 * nothing is kept there: all I/O is direct, by way of pages of our own, as a request's data
 * need not lie as storage wants them.
 *
 * A replica that is told to stand still may have a request under way. No piece of it is begun
 * from then on; and who has to know that the last one is over, waits for that
 * (ftkvm_stores_quiet()) before the other host may go on. If it has only lost its peer, there
 * is nobody to tell: what may reach the storage late is kept away by fencing this host.
 */
#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <linux/uio.h>
#include "../core/vwindow.h"
#include "../kvm/replica.h"
#include "device.h"
#include "lockstep.h"

#define SECTOR	512u
#define ROOM	((u32)(FTKVM_STORE_PAGES * PAGE_SIZE))

/* ---- whose turn it is ---- */

/* Is it this host's to touch? A replica that is detached though it must not run has a dead VM. */
static bool store_ours(struct kvm *kvm)
{
	struct ftkvm_replica *r = ftkvm_replica_get(kvm);
	enum ftkvm_mode mode = r ? ftkvm_mode(r) : FTKVM_MODE_PASS;

	if (r)
		ftkvm_replica_put(r);
	return (mode == FTKVM_MODE_PASS || mode == FTKVM_MODE_LEAD) && !READ_ONCE(kvm->vm_dead);
}

/**
 * ftkvm_store_enter() - a piece of I/O is about to begin
 * @dev: the disk
 *
 * Context: the queue's worker.
 * Return: whether it may. Then ftkvm_store_leave() is to follow; if not, the request is to
 * be left as it is: it may be this host's again.
 */
bool ftkvm_store_enter(struct ftkvm_dev *dev)
{
	struct ftkvm_store *s = &dev->store;

	if (!s->shared)
		return true;
	/* pairs with ftkvm_stores_quiet(): the mode is looked at behind that */
	smp_store_mb(s->busy, true);
	if (store_ours(dev->kvm))
		return true;
	s->left = true;
	ftkvm_store_leave(dev);
	return false;
}

/**
 * ftkvm_store_leave() - ... and is over
 * @dev: the disk
 *
 * Context: the queue's worker.
 */
void ftkvm_store_leave(struct ftkvm_dev *dev)
{
	struct ftkvm_store *s = &dev->store;

	if (!s->shared)
		return;
	/* behind the I/O; pairs with ftkvm_stores_quiet() */
	smp_store_release(&s->busy, false);
	if (wq_has_sleeper(&s->wq))
		wake_up_all(&s->wq);
}

/**
 * ftkvm_stores_quiet() - a guest stands still: wait for what is under way
 * @kvm: the guest, whose replica's mode says already that nothing may begin
 * @timeout: jiffies
 *
 * Context: process; sleeps.
 * Return: whether nothing of it reaches a shared disk any more; if not, storage does not answer.
 */
bool ftkvm_stores_quiet(const struct kvm *kvm, unsigned long timeout)
{
	struct ftkvm_dev *dev;
	bool quiet = true;
	s64 no = -1;

	/* pairs with ftkvm_store_enter() */
	smp_mb();
	while ((dev = ftkvm_dev_next(kvm, &no))) {
		struct ftkvm_store *s = &dev->store;

		/* pairs with ftkvm_store_leave() */
		if (s->shared)
			quiet &= !!wait_event_timeout(s->wq, !smp_load_acquire(&s->busy), timeout);
		ftkvm_dev_put(dev);
	}
	return quiet;
}

/* ---- I/O ---- */

/* Whole blocks between the pages and the storage. Bytes, or -errno. */
static ssize_t store_blocks(struct ftkvm_dev *dev, u64 from, u32 bytes, bool write)
{
	struct ftkvm_store *s = &dev->store;
	struct bio_vec vec[FTKVM_STORE_PAGES];
	struct iov_iter iter;
	struct kiocb iocb;
	u32 n, at;

	for (n = 0, at = 0; at < bytes; at += PAGE_SIZE, n++)
		bvec_set_page(&vec[n], s->page[n], min_t(u32, bytes - at, PAGE_SIZE), 0);
	iov_iter_bvec(&iter, write ? ITER_SOURCE : ITER_DEST, vec, n, bytes);
	init_sync_kiocb(&iocb, dev->file);
	iocb.ki_pos = from;
	/* whatever became of the descriptor's flags */
	iocb.ki_flags |= IOCB_DIRECT;
	return write ? vfs_iocb_iter_write(dev->file, &iocb, &iter) :
		       vfs_iocb_iter_read(dev->file, &iocb, &iter);
}

/* @data and the piece's place in the pages; NULL: zeros. */
static void store_copy(struct ftkvm_store *s, const struct ftkvm_vwindow *w, void *data, bool write)
{
	u32 at, n;

	for (at = 0; at < w->len; at += n) {
		u32 pos = w->skip + at;
		void *place = page_address(s->page[pos / PAGE_SIZE]) + offset_in_page(pos);

		n = min_t(u32, w->len - at, PAGE_SIZE - offset_in_page(pos));
		if (!write)
			memcpy(data + at, place, n);
		else if (data)
			memcpy(place, data + at, n);
		else
			memset(place, 0, n);
	}
}

/* The piece is alone at the disk: its queue has one worker. 0 or -errno. */
static int store_piece(struct ftkvm_dev *dev, const struct ftkvm_vwindow *w, void *data, bool write)
{
	ssize_t n = w->bytes;

	if (!write || !ftkvm_vwindow_whole(w))
		n = store_blocks(dev, w->from, w->bytes, false);
	if (n == w->bytes && write) {
		store_copy(&dev->store, w, data, true);
		n = store_blocks(dev, w->from, w->bytes, true);
	}
	if (n != w->bytes)
		return n < 0 ? n : -EIO;
	if (!write)
		store_copy(&dev->store, w, data, false);
	return 0;
}

/**
 * ftkvm_store_move() - read or write
 * @dev: the disk, a shared one
 * @at: where, in bytes; gets where it failed
 * @data: from or to where; NULL: zeros are written
 * @len: bytes
 * @write: which of both
 *
 * Context: the queue's worker; sleeps as long as the storage takes.
 * Return: 0; -ECANCELED: it is not this host's to do any more (@dev->store.left), some of it may be
 * done; or another -errno.
 */
int ftkvm_store_move(struct ftkvm_dev *dev, u64 *at, void *data, u64 len, bool write)
{
	struct ftkvm_vwindow w;
	int ret;

	while (len) {
		ftkvm_vwindow(&w, *at, len, dev->store.block, ROOM);
		if (!ftkvm_store_enter(dev))
			return -ECANCELED;
		ret = store_piece(dev, &w, data, write);
		ftkvm_store_leave(dev);
		if (ret)
			return ret;
		*at += w.len;
		len -= w.len;
		if (data)
			data += w.len;
		cond_resched();
	}
	return 0;
}

/* ---- life ---- */

/* What direct I/O to it comes in; 0: not known. */
static u32 store_block(struct file *file)
{
	struct inode *inode = file_inode(file);
	struct super_block *sb = inode->i_sb;
	struct kstat stat = { };

	if (S_ISBLK(inode->i_mode))
		return bdev_logical_block_size(I_BDEV(file->f_mapping->host));
	if (!vfs_getattr(&file->f_path, &stat, STATX_DIOALIGN, AT_STATX_SYNC_AS_STAT) &&
	    (stat.result_mask & STATX_DIOALIGN))
		return stat.dio_offset_align;
	/* a file system of the network has no device, and takes any */
	return sb->s_bdev ? bdev_logical_block_size(sb->s_bdev) : SECTOR;
}

/**
 * ftkvm_store_open() - a disk's storage is one that both hosts reach
 * @dev: the disk
 * @file: it
 * @sectors: how much of it the guest is to see, in 512 bytes
 * @why: cause and remedy on failure
 * @size: of @why
 *
 * Context: process.
 * Return: 0 or -errno; ftkvm_store_close() in either case.
 */
int ftkvm_store_open(struct ftkvm_dev *dev, struct file *file, u64 sectors, char *why, size_t size)
{
	struct ftkvm_store *s = &dev->store;
	u32 block, i;

	if (!(file->f_mode & FMODE_CAN_ODIRECT) || !(file->f_flags & O_DIRECT)) {
		snprintf(why, size, "storage that both hosts share is to be open for direct I/O (O_DIRECT), or each would keep what the other can't see");
		return -EINVAL;
	}
	block = store_block(file);
	if (!is_power_of_2(block) || block < SECTOR || block > ROOM) {
		snprintf(why, size, "the shared storage takes direct I/O in blocks of %u bytes, and not of 512 to %u: take another one",
			 block, ROOM);
		return -EINVAL;
	}
	if (sectors * SECTOR % block) {
		snprintf(why, size, "the shared storage has blocks of %u bytes, and %llu bytes are not whole ones: change its size",
			 block, sectors * SECTOR);
		return -EINVAL;
	}
	for (i = 0; i < FTKVM_STORE_PAGES; i++) {
		s->page[i] = alloc_page(GFP_KERNEL_ACCOUNT);
		if (!s->page[i])
			return -ENOMEM;
	}
	s->block = block;
	s->shared = true;
	return 0;
}

/**
 * ftkvm_store_close() - a device goes
 * @dev: the device, that nobody uses any more
 *
 * Context: process.
 */
void ftkvm_store_close(struct ftkvm_dev *dev)
{
	u32 i;

	for (i = 0; i < FTKVM_STORE_PAGES; i++)
		if (dev->store.page[i])
			__free_page(dev->store.page[i]);
}
