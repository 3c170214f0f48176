/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a virtio disk is, and what a driver asks of it: decisions only. A request is
 * looked at once, when it is taken, so that both replicas judge it alike.
 */
#ifndef FTKVM_CORE_VBLK_H
#define FTKVM_CORE_VBLK_H

#include <linux/types.h>
#include <linux/virtio_blk.h>

#include "virtq.h"

/* A chain holds a header and a status beside the data. */
#define FTKVM_VBLK_SEGS		(FTKVM_VCHAIN_SEGS - 2)
/* Bytes of a request's data: they are copied. */
#define FTKVM_VBLK_BYTES	(16u << 20)
/* Ranges of a DISCARD or WRITE_ZEROES. */
#define FTKVM_VBLK_RANGES	256u

/**
 * struct ftkvm_vblk - a disk, the same on both hosts
 * @sectors: of 512 bytes, that it has
 * @blk_size: bytes that are read or written at least, a power of two
 * @seg_max: buffers of a request's data
 * @size_max: bytes of such a buffer
 * @discard_sectors: sectors of a range that is discarded; 0: there is no DISCARD
 * @discard_ranges: ranges of such a request
 * @zeroes_sectors: sectors of a range that is zeroed; 0: there is no WRITE_ZEROES
 * @zeroes_ranges: ranges of such a request
 * @queues: of the device
 * @readonly: it can't be written
 * @id: its name, as the guest sees it; padded with zeros
 */
struct ftkvm_vblk {
	u64 sectors;
	u32 blk_size;
	u32 seg_max;
	u32 size_max;
	u32 discard_sectors;
	u32 discard_ranges;
	u32 zeroes_sectors;
	u32 zeroes_ranges;
	u16 queues;
	bool readonly;
	char id[VIRTIO_BLK_ID_BYTES];
};

/* NULL: it can be offered; else what is wrong with it. */
const char *ftkvm_vblk_flaw(const struct ftkvm_vblk *disk);

enum ftkvm_vblk_op {
	FTKVM_VBLK_IN,
	FTKVM_VBLK_OUT,
	FTKVM_VBLK_FLUSH,
	FTKVM_VBLK_GET_ID,
	FTKVM_VBLK_DISCARD,
	FTKVM_VBLK_WRITE_ZEROES,
	FTKVM_VBLK_REFUSED,	/* nothing is to be done: the status is known */
};

/**
 * struct ftkvm_vblk_req - a request
 * @sector: where it begins, of IN and OUT
 * @len: bytes of its data: what IN and GET_ID give, OUT takes; the ranges of DISCARD and
 *	 WRITE_ZEROES
 * @status_at: offset of the status in what the device writes
 * @op: enum ftkvm_vblk_op
 * @status: what a REFUSED one is told, VIRTIO_BLK_S_*
 */
struct ftkvm_vblk_req {
	u64 sector;
	u32 len;
	u32 status_at;
	u8 op;
	u8 status;
};

/**
 * struct ftkvm_vblk_range - a range of a DISCARD or WRITE_ZEROES
 * @sector: the first
 * @sectors: how many
 * @unmap: may be given back
 */
struct ftkvm_vblk_range {
	u64 sector;
	u32 sectors;
	bool unmap;
};

/* -EPROTO: no status can be told. @len bytes of data lie at FTKVM_VBLK_DATA_AT. */
#define FTKVM_VBLK_DATA_AT	((u32)sizeof(struct virtio_blk_outhdr))
int ftkvm_vblk_parse(const struct ftkvm_vblk *disk, const struct virtio_blk_outhdr *hdr,
		     u32 out_len, u32 in_len, struct ftkvm_vblk_req *req);
void ftkvm_vblk_judge_ranges(const struct ftkvm_vblk *disk, struct ftkvm_vblk_req *req,
			     const void *data);
bool ftkvm_vblk_range(const struct ftkvm_vblk_req *req, const void *data, u32 i,
		      struct ftkvm_vblk_range *range);

/**
 * ftkvm_vblk_out_len() - bytes of a request that the driver gives
 * @req: the request
 *
 * Return: how many there are at FTKVM_VBLK_DATA_AT of what the device reads.
 */
static inline u32 ftkvm_vblk_out_len(const struct ftkvm_vblk_req *req)
{
	switch (req->op) {
	case FTKVM_VBLK_OUT:
	case FTKVM_VBLK_DISCARD:
	case FTKVM_VBLK_WRITE_ZEROES:
		return req->len;
	default:
		return 0;
	}
}

/**
 * ftkvm_vblk_in_len() - bytes that the driver is given
 * @req: the request
 * @status: how it went, VIRTIO_BLK_S_*
 *
 * Return: how many go to the beginning of what the device writes. The used ring says one
 * more, for the status.
 */
static inline u32 ftkvm_vblk_in_len(const struct ftkvm_vblk_req *req, u8 status)
{
	if (status != VIRTIO_BLK_S_OK)
		return 0;
	return req->op == FTKVM_VBLK_IN || req->op == FTKVM_VBLK_GET_ID ? req->len : 0;
}

#endif
