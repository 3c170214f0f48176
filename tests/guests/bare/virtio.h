/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Virtio 1.x over PCI, for test guests: split rings, one vector for all queues.
 *
 * A function that can fail returns what is wrong, NULL if nothing is.
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "rt.h"

#define VIRTIO_QUEUE_MAX	256
#define VIRTIO_STATUS_BROKEN	0x40	/* the device asks for a reset */
#define VIRTIO_RING_BYTES	12288	/* of a queue of that size, in whole pages */
#define FEATURE(bit)		(1ULL << (bit))

struct virtio {
	uint8_t device;			/* its number on PCI bus 0 */
	uint8_t msix;			/* capability in configuration space, 0: none */
	uint32_t notify_step;
	volatile struct virtio_pci_common_cfg *common;
	volatile uint8_t *notify;
	volatile uint8_t *config;
	volatile uint32_t *msix_table;
	uint64_t features;		/* negotiated */
};

/* A part of a request, where the device finds it. */
struct piece {
	uint8_t *at;
	uint32_t len;
};

struct queue {
	struct virtio *virtio;
	struct vring ring;
	volatile uint16_t *notify;
	uint16_t index;
	uint16_t seen;			/* used index up to which completions were taken */
	uint16_t in_flight;
	uint16_t free[VIRTIO_QUEUE_MAX];
	unsigned int free_count;
	uint8_t chain[VIRTIO_QUEUE_MAX];	/* descriptors of the request that begins here */
	void *owner[VIRTIO_QUEUE_MAX];
};

/* virtio.c */
void virtio_use_ecam(uint32_t config, uint32_t room);
const char *virtio_find(struct virtio *v, unsigned int type);
const char *virtio_find_nth(struct virtio *v, unsigned int type, unsigned int nth);
void virtio_reset(struct virtio *v);
const char *virtio_begin(struct virtio *v, uint64_t need);
void virtio_go(struct virtio *v);
const char *virtio_vector(struct virtio *v, unsigned int vector);

const char *queue_begin(struct queue *q, struct virtio *v, unsigned int index, void *memory,
			int silent);
void queue_add(struct queue *q, const struct piece *pieces, unsigned int readable,
	       unsigned int count, struct vring_desc *table, void *owner);
void queue_kick(struct queue *q);
const char *queue_take(struct queue *q, void **owner, uint32_t *len);

/* spoil.c */
enum spoiled { SPOIL_DISK, SPOIL_RECEIVE, SPOIL_TRANSMIT };

const char *queue_spoil(struct queue *q, enum spoiled what, const char *how);

/* What the device writes at any time. */
static inline uint16_t queue_used(const struct queue *q)
{
	return *(volatile uint16_t *)&q->ring.used->idx;
}

static inline void barrier(void) { asm volatile("mfence" : : : "memory"); }

#endif
