// SPDX-License-Identifier: GPL-2.0
/* Virtio 1.x over PCI: finding a device, its handshake, its queues. */
#include <linux/pci_regs.h>

#include "virtio.h"

#define PCI_ADDRESS	0xcf8
#define PCI_DATA	0xcfc
#define VENDOR		0x1af4
#define TRANSITIONAL	{ 0, 0x1000, 0x1001 }	/* device numbers by type */
#define MODERN		0x1040			/* + type */

/* virtio_use_ecam() */
static volatile uint8_t *ecam;
static uint32_t bar_room;

static volatile uint32_t *ecam_at(unsigned int device, unsigned int at)
{
	return (volatile uint32_t *)(ecam + (device << 15) + (at & 0xfc));
}

static uint32_t pci_read(unsigned int device, unsigned int at)
{
	if (ecam)
		return *ecam_at(device, at) >> 8 * (at & 3);
	outl(PCI_ADDRESS, 0x80000000 | device << 11 | (at & 0xfc));
	return inl(PCI_DATA) >> 8 * (at & 3);
}

/* Whole double words only. */
static void pci_write(unsigned int device, unsigned int at, uint32_t value)
{
	if (ecam) {
		*ecam_at(device, at) = value;
		return;
	}
	outl(PCI_ADDRESS, 0x80000000 | device << 11 | at);
	outl(PCI_DATA, value);
}

/*
 * On a machine whose firmware does nothing about PCI: configuration space is memory at
 * @config, and BARs are put from @room on. Below 4 GiB, both.
 */
void virtio_use_ecam(uint32_t config, uint32_t room)
{
	ecam = (volatile uint8_t *)(uint64_t)config;
	bar_room = room;
}

static void place_bars(unsigned int device)
{
	for (unsigned int i = 0; i < 6; i++) {
		unsigned int at = PCI_BASE_ADDRESS_0 + 4 * i;
		uint32_t size;

		pci_write(device, at, ~0u);
		size = pci_read(device, at);
		if (!size || size & PCI_BASE_ADDRESS_SPACE_IO)
			continue;
		size = ~(size & PCI_BASE_ADDRESS_MEM_MASK) + 1;
		bar_room = (bar_room + size - 1) & ~(size - 1);
		pci_write(device, at, bar_room);
		bar_room += size;
		if ((pci_read(device, at) & PCI_BASE_ADDRESS_MEM_TYPE_MASK) ==
		    PCI_BASE_ADDRESS_MEM_TYPE_64)
			pci_write(device, PCI_BASE_ADDRESS_0 + 4 * ++i, 0);
	}
}

/* Where a memory BAR begins; 0 if it is none that the page tables reach. */
static uint64_t bar(unsigned int device, unsigned int index)
{
	uint32_t low;

	if (index > 5)
		return 0;
	low = pci_read(device, PCI_BASE_ADDRESS_0 + 4 * index);
	if (low & PCI_BASE_ADDRESS_SPACE_IO)
		return 0;
	if ((low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64 &&
	    pci_read(device, PCI_BASE_ADDRESS_0 + 4 * index + 4))
		return 0;
	return low & PCI_BASE_ADDRESS_MEM_MASK & 0xffffffff;
}

static void capability(struct virtio *v, unsigned int at)
{
	uint64_t base;

	if ((pci_read(v->device, at) & 0xff) == PCI_CAP_ID_MSIX) {
		uint32_t table = pci_read(v->device, at + PCI_MSIX_TABLE);

		base = bar(v->device, table & PCI_MSIX_TABLE_BIR);
		if (base) {
			v->msix = at;
			v->msix_table = (void *)(base + (table & PCI_MSIX_TABLE_OFFSET));
		}
		return;
	}
	if ((pci_read(v->device, at) & 0xff) != PCI_CAP_ID_VNDR)
		return;
	base = bar(v->device, pci_read(v->device, at + VIRTIO_PCI_CAP_BAR) & 0xff);
	if (!base)
		return;
	base += pci_read(v->device, at + VIRTIO_PCI_CAP_OFFSET);
	/* The first of a kind is the one that the device likes best. */
	switch (pci_read(v->device, at + VIRTIO_PCI_CAP_CFG_TYPE) & 0xff) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		if (!v->common)
			v->common = (void *)base;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		if (v->notify)
			break;
		v->notify = (void *)base;
		v->notify_step = pci_read(v->device, at + VIRTIO_PCI_NOTIFY_CAP_MULT);
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		if (!v->config)
			v->config = (void *)base;
		break;
	}
}

/* The first device of a type on bus 0. */
const char *virtio_find(struct virtio *v, unsigned int type)
{
	return virtio_find_nth(v, type, 0);
}

/* The one that so many of its type are before. */
const char *virtio_find_nth(struct virtio *v, unsigned int type, unsigned int nth)
{
	static const uint16_t transitional[] = TRANSITIONAL;
	unsigned int at;
	uint32_t id;

	memset(v, 0, sizeof(*v));
	for (; v->device < 32; v->device++) {
		id = pci_read(v->device, PCI_VENDOR_ID);
		if ((id == (VENDOR | (MODERN + type) << 16) ||
		     (type < sizeof(transitional) / 2 &&
		      id == (uint32_t)(VENDOR | transitional[type] << 16))) && !nth--)
			break;
	}
	if (v->device == 32)
		return "no such device";
	if (!(pci_read(v->device, PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return "a device without capabilities";
	if (ecam)
		place_bars(v->device);
	/* The upper half is the status, whose bits are cleared by writing ones. */
	pci_write(v->device, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
		  PCI_COMMAND_INTX_DISABLE);
	at = pci_read(v->device, PCI_CAPABILITY_LIST) & 0xfc;
	for (int n = 0; at && n < 48; n++) {
		capability(v, at);
		at = pci_read(v->device, at + PCI_CAP_LIST_NEXT) & 0xfc;
	}
	if (!v->common || !v->notify || !v->config)
		return "no virtio structures below 4 GiB";
	return NULL;
}

/* What was in flight is forgotten, memory is the driver's again. */
void virtio_reset(struct virtio *v)
{
	v->common->device_status = 0;
	while (v->common->device_status)
		;
}

/* From reset to agreed features: those of @need, and the version. */
const char *virtio_begin(struct virtio *v, uint64_t need)
{
	volatile struct virtio_pci_common_cfg *c = v->common;
	uint64_t offered;

	need |= FEATURE(VIRTIO_F_VERSION_1);
	virtio_reset(v);
	c->device_status = VIRTIO_CONFIG_S_ACKNOWLEDGE;
	c->device_status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	c->device_feature_select = 0;
	offered = c->device_feature;
	c->device_feature_select = 1;
	offered |= (uint64_t)c->device_feature << 32;
	if (need & ~offered)
		return "a feature is not offered";
	c->guest_feature_select = 0;
	c->guest_feature = need;
	c->guest_feature_select = 1;
	c->guest_feature = need >> 32;
	c->device_status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			   VIRTIO_CONFIG_S_FEATURES_OK;
	if (!(c->device_status & VIRTIO_CONFIG_S_FEATURES_OK))
		return "features are refused";
	v->features = need;
	c->msix_config = VIRTIO_MSI_NO_VECTOR;
	return NULL;
}

/* Queues are there: the device may begin. */
void virtio_go(struct virtio *v)
{
	barrier();
	v->common->device_status = v->common->device_status | VIRTIO_CONFIG_S_DRIVER_OK;
}

/*
 * Let MSI-X entry 0, which all queues use, come to this CPU as @vector, and entry 1, by
 * which the device tells of changes and that it wants a reset, as @vector + 1.
 */
const char *virtio_vector(struct virtio *v, unsigned int vector)
{
	uint32_t control, id = lapic_read(LAPIC_ID);

	if (!v->msix || !(pci_read(v->device, v->msix) >> 16 & PCI_MSIX_FLAGS_QSIZE))
		return "no two MSI-X vectors below 4 GiB";
	control = pci_read(v->device, v->msix) | (uint32_t)PCI_MSIX_FLAGS_ENABLE << 16;
	control &= ~((uint32_t)PCI_MSIX_FLAGS_MASKALL << 16);
	pci_write(v->device, v->msix, control | (uint32_t)PCI_MSIX_FLAGS_MASKALL << 16);
	for (unsigned int i = 0; i < 2; i++) {
		volatile uint32_t *entry = v->msix_table + i * PCI_MSIX_ENTRY_SIZE / 4;

		entry[0] = XAPIC | (rt_is_x2apic() ? id : id >> 24) << 12;
		entry[1] = 0;
		entry[2] = vector + i;
		entry[3] = 0;
	}
	pci_write(v->device, v->msix, control);
	v->common->msix_config = 1;
	return v->common->msix_config == 1 ? NULL : "the device takes no vector";
}

/*
 * Set up a queue in @memory, VIRTIO_RING_BYTES of it; silent: the device need not
 * interrupt. All its descriptors are free, in an order that the caller may change.
 */
const char *queue_begin(struct queue *q, struct virtio *v, unsigned int index, void *memory,
			int silent)
{
	volatile struct virtio_pci_common_cfg *c = v->common;
	unsigned int num;

	c->queue_select = index;
	num = c->queue_size;
	if (num > VIRTIO_QUEUE_MAX)
		num = VIRTIO_QUEUE_MAX;
	if (!num || c->queue_enable)
		return "no such queue, or it is on";
	c->queue_size = num;
	c->queue_msix_vector = silent ? VIRTIO_MSI_NO_VECTOR : 0;
	if (!silent && c->queue_msix_vector)
		return "the queue takes no vector";

	memset(q, 0, sizeof(*q));
	memset(memory, 0, VIRTIO_RING_BYTES);
	vring_init(&q->ring, num, memory, 4096);
	q->ring.avail->flags = silent ? VRING_AVAIL_F_NO_INTERRUPT : 0;
	q->virtio = v;
	q->index = index;
	q->notify = (void *)(v->notify + c->queue_notify_off * v->notify_step);
	for (unsigned int i = 0; i < num; i++)
		q->free[i] = i;
	q->free_count = num;
	c->queue_desc_lo = (uint64_t)q->ring.desc;
	c->queue_desc_hi = 0;
	c->queue_avail_lo = (uint64_t)q->ring.avail;
	c->queue_avail_hi = 0;
	c->queue_used_lo = (uint64_t)q->ring.used;
	c->queue_used_hi = 0;
	c->queue_enable = 1;
	return NULL;
}

static void describe(struct vring_desc *d, const struct piece *piece, int writable, int next)
{
	d->addr = (uint64_t)piece->at;
	d->len = piece->len;
	d->flags = (writable ? VRING_DESC_F_WRITE : 0) | (next < 0 ? 0 : VRING_DESC_F_NEXT);
	d->next = next < 0 ? 0 : next;
}

/*
 * Give the device a request of @count pieces, the first @readable of them for it to
 * read, the others to write. There must be as many descriptors free, or one if the
 * request goes by an indirect @table.
 */
void queue_add(struct queue *q, const struct piece *pieces, unsigned int readable,
	       unsigned int count, struct vring_desc *table, void *owner)
{
	struct vring_avail *avail = q->ring.avail;
	unsigned int head = q->free[q->free_count - 1];

	for (unsigned int i = 0; i < count; i++) {
		int last = i == count - 1;

		if (table)
			describe(table + i, pieces + i, i >= readable, last ? -1 : (int)i + 1);
		else
			describe(q->ring.desc + q->free[q->free_count - 1 - i], pieces + i,
				 i >= readable, last ? -1 : q->free[q->free_count - 2 - i]);
	}
	if (table) {
		q->ring.desc[head].addr = (uint64_t)table;
		q->ring.desc[head].len = count * sizeof(*table);
		q->ring.desc[head].flags = VRING_DESC_F_INDIRECT;
	}
	q->chain[head] = table ? 1 : count;
	q->free_count -= q->chain[head];
	q->owner[head] = owner;
	q->in_flight++;
	avail->ring[avail->idx % q->ring.num] = head;
	barrier();
	*(volatile uint16_t *)&avail->idx = avail->idx + 1;
}

void queue_kick(struct queue *q)
{
	barrier();
	if (!(*(volatile uint16_t *)&q->ring.used->flags & VRING_USED_F_NO_NOTIFY))
		*q->notify = q->index;
}

/* Take the next completion; there must be one. */
const char *queue_take(struct queue *q, void **owner, uint32_t *len)
{
	volatile struct vring_used_elem *used = &q->ring.used->ring[q->seen % q->ring.num];
	unsigned int at = used->id;

	barrier();
	if (at >= q->ring.num || !q->chain[at])
		return "completed what is not in flight";
	if ((uint16_t)(queue_used(q) - q->seen) > q->in_flight)
		return "more completions than requests";
	*len = used->len;
	*owner = q->owner[at];
	for (unsigned int head = at; q->chain[head]; q->chain[head]--) {
		if (at >= q->ring.num)
			return "the descriptors were overwritten";
		q->free[q->free_count++] = at;
		at = q->ring.desc[at].next;
	}
	q->seen++;
	q->in_flight--;
	return NULL;
}
