/* SPDX-License-Identifier: GPL-2.0 */
/* A request to a virtio disk, cut into pieces anywhere. */
#ifndef REQUEST_H
#define REQUEST_H

#include <linux/virtio_blk.h>

#include "virtio.h"

#define SECTOR		512
#define SECTOR_WORDS	(SECTOR / 8)
#define LARGEST		128		/* sectors of a request */
#define CUTS		4		/* pieces of either direction */
#define GUARD		16		/* bytes behind each piece, which nobody touches */
#define ROOM		(LARGEST * SECTOR + 1024)
#define HEADER		sizeof(struct virtio_blk_outhdr)

/*
 * @bytes: of data, in either direction
 * @sectors: that it is about, from @sector on; 0: none
 * @want: the status that there must be
 * @used: as the ring told
 */
struct request {
	uint32_t type, bytes, sectors, used;
	uint64_t sector;
	uint8_t want, status, done;
	unsigned int readable, count;
	struct piece pieces[2 * CUTS];
	struct vring_desc table[2 * CUTS] __attribute__((aligned(16)));
	uint8_t room[ROOM] __attribute__((aligned(8)));
};

/* request.c */

/* What a request's data are: behind the header when it goes out, alone when it is back. */
extern uint64_t request_stream[];
#define OUT_DATA	(request_stream + HEADER / 8)

uint64_t request_mix(uint64_t z);
uint64_t request_next(uint64_t *state);
void request_lay_out(struct request *r, uint64_t *random, int plain);
const char *request_gather(struct request *r);

/* Do its data go to the device? */
static inline int request_gives(const struct request *r)
{
	return r->type == VIRTIO_BLK_T_OUT || r->type == VIRTIO_BLK_T_DISCARD ||
	       r->type == VIRTIO_BLK_T_WRITE_ZEROES;
}

/* Does it change what the sectors hold? */
#define request_changes	request_gives

#endif
