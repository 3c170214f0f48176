// SPDX-License-Identifier: GPL-2.0
/*
 * A disk's requests, done to a file or a block device.
 */
#include <linux/blkdev.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include "device.h"

#define DISK_SECTOR	512u
/* so much at a time that the worker can be stopped in between */
#define DISK_PIECE	(256u << 10)
/* as a request has no more that ftd offers: each may be 2 GiB to be zeroed by hand */
#define DISK_RANGES	1u

static int disk_failed(struct ftkvm_dev *dev, const char *what, u64 at, int error)
{
	struct ftkvm_disk_fault *f = &dev->fault;

	spin_lock(&f->lock);
	f->count++;
	f->what = what;
	f->at = at;
	f->error = error;
	spin_unlock(&f->lock);
	return error;
}

/**
 * ftkvm_disk_faults() - what could the storage not do?
 * @dev: the device
 * @text: the last of it, in words; empty: nothing
 * @size: of @text
 *
 * Context: process.
 * Return: how often.
 */
u64 ftkvm_disk_faults(struct ftkvm_dev *dev, char *text, size_t size)
{
	struct ftkvm_disk_fault *f = &dev->fault;
	u64 count;

	*text = '\0';
	spin_lock(&f->lock);
	count = f->count;
	if (count)
		snprintf(text, size, "a %s at byte %llu came to error %d", f->what, f->at,
			 -f->error);
	spin_unlock(&f->lock);
	return count;
}

/* As ftkvm_store_move(); what was left has not failed. */
static int disk_move_shared(struct ftkvm_dev *dev, const char *what, u64 at, void *data, u64 len,
			    bool write)
{
	int ret = ftkvm_store_move(dev, &at, data, len, write);

	return ret && !dev->store.left ? disk_failed(dev, what, at, ret) : ret;
}

/* Bytes of the disk that did not go to or come from the file: 0, all did; -errno. */
static int disk_move(struct ftkvm_dev *dev, u64 sector, void *data, u32 len, bool write)
{
	loff_t pos = sector * DISK_SECTOR;
	u32 at = 0;

	if (dev->store.shared)
		return disk_move_shared(dev, write ? "write" : "read", pos, data, len, write);
	while (at < len) {
		u32 piece = min(len - at, DISK_PIECE);
		ssize_t n;

		if (write)
			n = kernel_write(dev->file, data + at, piece, &pos);
		else
			n = kernel_read(dev->file, data + at, piece, &pos);
		/* 0: a sparse file that was cut behind our back has no more */
		if (n <= 0)
			return disk_failed(dev, write ? "write" : "read", pos, n ?: -EIO);
		at += n;
	}
	return 0;
}

static int disk_sync(struct ftkvm_dev *dev)
{
	int ret;

	if (!ftkvm_store_enter(dev))
		return -ECANCELED;
	ret = vfs_fsync(dev->file, 1);
	ftkvm_store_leave(dev);
	return ret ? disk_failed(dev, "flush", 0, ret) : 0;
}

static int disk_zero(struct ftkvm_dev *dev, loff_t pos, loff_t len)
{
	if (dev->store.shared)
		return disk_move_shared(dev, "zeroing", pos, NULL, len, true);
	while (len) {
		ssize_t n;

		if (ftkvm_dev_over(dev))
			return -ECANCELED;
		n = kernel_write(dev->file, page_address(ZERO_PAGE(0)),
				 min_t(loff_t, len, PAGE_SIZE), &pos);
		if (n <= 0)
			return disk_failed(dev, "zeroing", pos, n ?: -EIO);
		len -= n;
		cond_resched();
	}
	return 0;
}

/*
 * The two hosts' storage may differ in what it can do, and the guest was offered one
 * disk: what storage can't do, or not in pieces as small, is done by hand.
 */
static int disk_ranges(struct ftkvm_dev *dev, const struct ftkvm_vreq *req)
{
	struct ftkvm_vblk_range range;
	u32 i;

	for (i = 0; ftkvm_vblk_range(&req->blk, req->data, i, &range); i++) {
		int mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
		loff_t pos = (loff_t)range.sector * DISK_SECTOR;
		loff_t len = (loff_t)range.sectors * DISK_SECTOR;
		int ret;

		if (req->blk.op == FTKVM_VBLK_WRITE_ZEROES && !range.unmap)
			mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE;
		if (!ftkvm_store_enter(dev))
			return -ECANCELED;
		ret = vfs_fallocate(dev->file, mode, pos, len);
		ftkvm_store_leave(dev);
		if (ret == -EOPNOTSUPP || ret == -EINVAL)
			ret = req->blk.op == FTKVM_VBLK_DISCARD ? 0 : disk_zero(dev, pos, len);
		else if (ret)
			disk_failed(dev, "discard", pos, ret);
		ftkvm_track_mark(dev, pos, len);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * ftkvm_disk_do() - do a request
 * @dev: the disk
 * @req: the request; what it reads goes to its data
 *
 * Context: worker; sleeps as long as the storage takes.
 * Return: VIRTIO_BLK_S_*, or FTKVM_DISK_LEFT: it is not this host's to do any more.
 */
u8 ftkvm_disk_do(struct ftkvm_dev *dev, struct ftkvm_vreq *req)
{
	int ret = 0;

	dev->store.left = false;
	switch (req->blk.op) {
	case FTKVM_VBLK_REFUSED:
		return req->blk.status;
	case FTKVM_VBLK_GET_ID:
		return VIRTIO_BLK_S_OK;
	case FTKVM_VBLK_IN:
		ret = disk_move(dev, req->blk.sector, req->data, req->blk.len, false);
		break;
	case FTKVM_VBLK_OUT:
		ret = disk_move(dev, req->blk.sector, req->data, req->blk.len, true);
		/* whether it went well or not: some of it may be there */
		ftkvm_track_mark(dev, req->blk.sector * DISK_SECTOR, req->blk.len);
		break;
	case FTKVM_VBLK_FLUSH:
		ret = disk_sync(dev);
		break;
	case FTKVM_VBLK_DISCARD:
	case FTKVM_VBLK_WRITE_ZEROES:
		ret = disk_ranges(dev, req);
		break;
	}
	if (!ret && dev->through && req->blk.op != FTKVM_VBLK_IN &&
	    req->blk.op != FTKVM_VBLK_FLUSH)
		ret = disk_sync(dev);
	if (dev->store.left)
		return FTKVM_DISK_LEFT;
	return ret ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

/**
 * ftkvm_disk_read() - what is stored, for ftkvm's own use
 * @dev: the disk
 * @sector: where
 * @data: where it goes
 * @len: bytes
 *
 * Context: worker; sleeps as long as the storage takes.
 * Return: 0 or -errno.
 */
int ftkvm_disk_read(struct ftkvm_dev *dev, u64 sector, void *data, u32 len)
{
	return disk_move(dev, sector, data, len, false);
}

/**
 * ftkvm_disk_features() - a driver has set the disk up
 * @dev: the disk
 * @features: what it accepted; the same on both hosts
 *
 * Context: process; the queue's lock.
 */
void ftkvm_disk_features(struct ftkvm_dev *dev, u64 features)
{
	const u32 most = U32_MAX / DISK_SECTOR;

	dev->through = !(features & BIT_ULL(VIRTIO_BLK_F_FLUSH));
	dev->disk.discard_sectors = features & BIT_ULL(VIRTIO_BLK_F_DISCARD) ? most : 0;
	dev->disk.zeroes_sectors = features & BIT_ULL(VIRTIO_BLK_F_WRITE_ZEROES) ? most : 0;
}

/**
 * ftkvm_disk_open() - what the guest is to see of a file
 * @dev: the disk; its @disk.readonly is set as asked for
 * @file: a file or a block device; a reference goes to @dev
 * @sectors: how much of it the guest is to see, in 512 bytes
 * @why: cause and remedy on failure
 * @size: of @why
 *
 * Context: process.
 * Return: 0, -EINVAL, -EACCES.
 */
int ftkvm_disk_open(struct ftkvm_dev *dev, struct file *file, u64 sectors, char *why,
		    size_t size)
{
	struct inode *inode = file_inode(file);
	struct ftkvm_vblk *disk = &dev->disk;
	const char *flaw;

	if (!S_ISREG(inode->i_mode) && !S_ISBLK(inode->i_mode)) {
		snprintf(why, size, "the disk's storage is neither a file nor a block device");
		return -EINVAL;
	}
	if (!(file->f_mode & FMODE_READ) || (!disk->readonly && !(file->f_mode & FMODE_WRITE))) {
		snprintf(why, size, "the disk's storage is not open for %s",
			 file->f_mode & FMODE_READ ? "writing: make the disk read-only" : "reading");
		return -EACCES;
	}
	disk->sectors = sectors;
	disk->blk_size = DISK_SECTOR;
	disk->seg_max = FTKVM_VBLK_SEGS;
	disk->size_max = rounddown(FTKVM_VBLK_BYTES / FTKVM_VBLK_SEGS, PAGE_SIZE);
	disk->queues = dev->queues;
	disk->discard_ranges = DISK_RANGES;
	disk->zeroes_ranges = DISK_RANGES;
	/* not its name, which may be another on the other host */
	snprintf(disk->id, sizeof(disk->id), "ftkvm-%u", dev->no);
	flaw = ftkvm_vblk_flaw(disk);
	if (flaw) {
		snprintf(why, size, "the disk can't be offered: %s", flaw);
		return -EINVAL;
	}
	dev->file = get_file(file);
	return 0;
}
