// SPDX-License-Identifier: GPL-2.0
/* Rings that are bad: what a device must survive. */
#include "virtio.h"

#define HEADER	16
#define DATA	512
#define LONG	1098	/* descriptors of a chain that is too long */

static int is(const char *how, const char *name)
{
	size_t n = strlen(name);

	return !memcmp(how, name, n) && how[n] <= ' ';
}

/* Where RAM below 4 GiB ends, as the firmware was told. */
static uint64_t end_of_ram(void)
{
	uint64_t blocks;

	outb(0x70, 0x34);
	blocks = inb(0x71);
	outb(0x70, 0x35);
	blocks |= (uint64_t)inb(0x71) << 8;
	return (16ULL << 20) + (blocks << 16);
}

/*
 * Put a request into a queue that was not used yet, bad in the way that @how begins with.
 * It would be for a disk, a read of a sector; descriptors 0 header, 1 data, 2 status. Or it
 * would be room for a packet, or a packet, in as many parts.
 * Indirect descriptors must have been agreed on. The caller kicks.
 *
 *	loop		a chain that never ends
 *	range		data where no RAM can be
 *	end		data that begins in RAM and ends behind it
 *	wrap		data across the end of the address space
 *	long		an indirect table of more descriptors than the queue has
 *	zero		data of no bytes
 *	indirect	an indirect table that ends within a descriptor
 *	nested		an indirect table in an indirect table
 *	next		a chain that goes on behind the queue's end
 *	head		a chain that begins behind the queue's end
 *	order		something to read behind something to write
 *	bare		no place for a status
 *	short		a header that is too short
 *	other		all to be written of what is to be read, or the other way round
 *	avail		more requests than the queue can hold
 */
const char *queue_spoil(struct queue *q, enum spoiled what, const char *how)
{
	static struct vring_desc table[LONG] __attribute__((aligned(16)));
	static uint8_t room[4096];
	struct vring_desc *d = q->ring.desc;
	struct vring_avail *avail = q->ring.avail;
	uint16_t first = what == SPOIL_RECEIVE ? VRING_DESC_F_WRITE : 0;
	uint16_t rest = what == SPOIL_TRANSMIT ? 0 : VRING_DESC_F_WRITE;
	uint16_t ahead = 1;

	d[0] = (struct vring_desc){ (uint64_t)room, HEADER, VRING_DESC_F_NEXT | first, 1 };
	d[1] = (struct vring_desc){ (uint64_t)room + 64, DATA, VRING_DESC_F_NEXT | rest, 2 };
	d[2] = (struct vring_desc){ (uint64_t)room + 2048, 1, rest, 0 };
	if (is(how, "loop")) {
		d[2].flags |= VRING_DESC_F_NEXT;
		d[2].next = 1;
	} else if (is(how, "range")) {
		d[1].addr = 1ULL << 46;
	} else if (is(how, "end")) {
		d[1].addr = end_of_ram() - DATA / 2;
	} else if (is(how, "wrap")) {
		d[1].addr = -(uint64_t)(DATA / 2);
	} else if (is(how, "long")) {
		table[0] = d[0];
		for (unsigned int i = 1; i < LONG - 1; i++) {
			table[i] = d[1];
			table[i].len = 64;
			table[i].next = i + 1;
		}
		table[LONG - 1] = d[2];
		d[0] = (struct vring_desc){ (uint64_t)table, sizeof(table),
					    VRING_DESC_F_INDIRECT, 0 };
	} else if (is(how, "zero")) {
		d[1].len = 0;
	} else if (is(how, "indirect")) {
		memcpy(table, d, 3 * sizeof(*d));
		d[0] = (struct vring_desc){ (uint64_t)table, 2 * sizeof(*d) + 8,
					    VRING_DESC_F_INDIRECT, 0 };
	} else if (is(how, "nested")) {
		memcpy(table + 3, d, 3 * sizeof(*d));
		table[0] = (struct vring_desc){ (uint64_t)(table + 3), 3 * sizeof(*d),
						VRING_DESC_F_INDIRECT, 0 };
		d[0] = (struct vring_desc){ (uint64_t)table, sizeof(*d), VRING_DESC_F_INDIRECT, 0 };
	} else if (is(how, "next")) {
		d[1].next = q->ring.num;
	} else if (is(how, "head")) {
		avail->ring[0] = q->ring.num + 7;
	} else if (is(how, "order")) {
		d[1].flags = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE;
		d[2].flags = VRING_DESC_F_NEXT;
		d[2].next = 3;
		d[3] = (struct vring_desc){ (uint64_t)room + 2048, 1, VRING_DESC_F_WRITE, 0 };
	} else if (is(how, "bare") && what == SPOIL_DISK) {
		d[0].flags = 0;
	} else if (is(how, "short")) {
		d[0].len = 8;
		if (what != SPOIL_DISK)
			d[0].flags = first;
	} else if (is(how, "other") && what != SPOIL_DISK) {
		for (unsigned int i = 0; i < 3; i++)
			d[i].flags ^= VRING_DESC_F_WRITE;
	} else if (is(how, "avail")) {
		ahead = 1000;
	} else {
		return "no such way to spoil a ring";
	}
	barrier();
	*(volatile uint16_t *)&avail->idx = ahead;
	return NULL;
}
