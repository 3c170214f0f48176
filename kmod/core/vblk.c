// SPDX-License-Identifier: GPL-2.0
/*
 * Virtio disks: what can be offered to a driver, and what it gets for what it asks.
 * Without a header or a status there is no request, and the queue is broken; all
 * else that a driver can get wrong is told in the status.
 */
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_byteorder.h>

#include "vblk.h"

#define SECTOR		512u
#define BLK_SIZE_MAX	4096u	/* more than a page is too much for drivers */
#define SIZE_MAX_MIN	4096u	/* and so is a buffer of less */
#define RANGE		sizeof(struct virtio_blk_discard_write_zeroes)

/**
 * ftkvm_vblk_flaw() - can there be such a disk?
 * @disk: the disk
 *
 * Context: Any.
 * Return: NULL, or what is wrong with it.
 */
const char *ftkvm_vblk_flaw(const struct ftkvm_vblk *disk)
{
	if (!is_power_of_2(disk->blk_size) || disk->blk_size < SECTOR ||
	    disk->blk_size > BLK_SIZE_MAX)
		return "the block size is none";
	if (!disk->sectors || disk->sectors > S64_MAX / SECTOR)
		return "the capacity is none";
	if (disk->sectors % (disk->blk_size / SECTOR))
		return "the capacity is not in blocks";
	if (!disk->seg_max || disk->seg_max > FTKVM_VBLK_SEGS)
		return "the number of buffers is out of range";
	if (disk->size_max < SIZE_MAX_MIN || disk->size_max % disk->blk_size ||
	    disk->size_max > FTKVM_VBLK_BYTES / disk->seg_max)
		return "the size of a buffer is out of range";
	if (!disk->queues)
		return "there is no queue";
	if (disk->discard_sectors &&
	    (!disk->discard_ranges || disk->discard_ranges > FTKVM_VBLK_RANGES))
		return "the number of ranges to discard is out of range";
	if (disk->zeroes_sectors &&
	    (!disk->zeroes_ranges || disk->zeroes_ranges > FTKVM_VBLK_RANGES))
		return "the number of ranges to zero is out of range";
	return NULL;
}

static void refuse(struct ftkvm_vblk_req *req, u8 status)
{
	req->op = FTKVM_VBLK_REFUSED;
	req->status = status;
	req->len = 0;
}

/* Whole blocks that the disk has? */
static bool on_disk(const struct ftkvm_vblk *disk, u64 sector, u64 sectors)
{
	if ((sector | sectors) & (disk->blk_size / SECTOR - 1))
		return false;
	return sector <= disk->sectors && sectors <= disk->sectors - sector;
}

static void parse_data(const struct ftkvm_vblk *disk, struct ftkvm_vblk_req *req, u8 op, u32 len)
{
	if (op == FTKVM_VBLK_OUT && disk->readonly)
		return refuse(req, VIRTIO_BLK_S_IOERR);
	if (len % SECTOR || len > disk->seg_max * disk->size_max)
		return refuse(req, VIRTIO_BLK_S_IOERR);
	if (!on_disk(disk, req->sector, len / SECTOR))
		return refuse(req, VIRTIO_BLK_S_IOERR);
	req->op = op;
	req->len = len;
}

static void parse_ranges(const struct ftkvm_vblk *disk, struct ftkvm_vblk_req *req, u8 op,
			 u32 len, u32 sectors, u32 ranges)
{
	if (!sectors)
		return refuse(req, VIRTIO_BLK_S_UNSUPP);
	if (disk->readonly || !len || len % RANGE || len / RANGE > ranges)
		return refuse(req, VIRTIO_BLK_S_IOERR);
	req->op = op;
	req->len = len;
}

/**
 * ftkvm_vblk_parse() - what does the driver ask for?
 * @disk: the disk
 * @hdr: the first bytes of what the device reads; not looked at when there are fewer
 * @out_len: bytes that the device reads, the header included
 * @in_len: bytes that the device writes, the status included
 * @req: filled in
 *
 * The ranges of a DISCARD or WRITE_ZEROES are to be judged when they are there.
 *
 * Context: Any.
 * Return: 0, also for a request that is refused; -EPROTO when it has no header or no
 * place for a status.
 */
int ftkvm_vblk_parse(const struct ftkvm_vblk *disk, const struct virtio_blk_outhdr *hdr,
		     u32 out_len, u32 in_len, struct ftkvm_vblk_req *req)
{
	u32 out, in;

	memset(req, 0, sizeof(*req));
	if (out_len < FTKVM_VBLK_DATA_AT || !in_len)
		return -EPROTO;
	out = out_len - FTKVM_VBLK_DATA_AT;
	in = in_len - 1;
	req->status_at = in;
	req->sector = __virtio64_to_cpu(true, hdr->sector);

	switch (__virtio32_to_cpu(true, hdr->type)) {
	case VIRTIO_BLK_T_IN:
		parse_data(disk, req, FTKVM_VBLK_IN, in);
		break;
	case VIRTIO_BLK_T_OUT:
		parse_data(disk, req, FTKVM_VBLK_OUT, out);
		break;
	case VIRTIO_BLK_T_FLUSH:
		req->op = FTKVM_VBLK_FLUSH;
		break;
	case VIRTIO_BLK_T_GET_ID:
		req->op = FTKVM_VBLK_GET_ID;
		req->len = min_t(u32, in, VIRTIO_BLK_ID_BYTES);
		break;
	case VIRTIO_BLK_T_DISCARD:
		parse_ranges(disk, req, FTKVM_VBLK_DISCARD, out,
			     disk->discard_sectors, disk->discard_ranges);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		parse_ranges(disk, req, FTKVM_VBLK_WRITE_ZEROES, out,
			     disk->zeroes_sectors, disk->zeroes_ranges);
		break;
	default:
		refuse(req, VIRTIO_BLK_S_UNSUPP);
	}
	return 0;
}

/**
 * ftkvm_vblk_range() - one of a request's ranges
 * @req: the request
 * @data: its data
 * @i: which
 * @range: filled in
 *
 * Context: Any.
 * Return: whether there is such a range.
 */
bool ftkvm_vblk_range(const struct ftkvm_vblk_req *req, const void *data, u32 i,
		      struct ftkvm_vblk_range *range)
{
	const struct virtio_blk_discard_write_zeroes *wire = data;

	if (req->op != FTKVM_VBLK_DISCARD && req->op != FTKVM_VBLK_WRITE_ZEROES)
		return false;
	if (i >= req->len / RANGE)
		return false;
	range->sector = le64_to_cpu(wire[i].sector);
	range->sectors = le32_to_cpu(wire[i].num_sectors);
	range->unmap = le32_to_cpu(wire[i].flags) & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	return true;
}

/**
 * ftkvm_vblk_judge_ranges() - can all of a request's ranges be done?
 * @disk: the disk
 * @req: the request; if one of its ranges can't be done, it is refused as a whole
 * @data: its data
 *
 * Of requests without ranges there is nothing to judge.
 *
 * Context: Any.
 */
void ftkvm_vblk_judge_ranges(const struct ftkvm_vblk *disk, struct ftkvm_vblk_req *req,
			     const void *data)
{
	const struct virtio_blk_discard_write_zeroes *wire = data;
	bool zeroes = req->op == FTKVM_VBLK_WRITE_ZEROES;
	u32 flags = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	u32 most = zeroes ? disk->zeroes_sectors : disk->discard_sectors;
	struct ftkvm_vblk_range r;
	u32 i;

	for (i = 0; ftkvm_vblk_range(req, data, i, &r); i++) {
		if (le32_to_cpu(wire[i].flags) & ~flags)
			return refuse(req, VIRTIO_BLK_S_UNSUPP);
		if (r.sectors > most || !on_disk(disk, r.sector, r.sectors))
			return refuse(req, VIRTIO_BLK_S_IOERR);
	}
}
