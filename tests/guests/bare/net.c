// SPDX-License-Identifier: GPL-2.0
/*
 * Answers each frame of ethertype 0x88b5 that comes over a virtio network card, to whom it
 * came from: the same payload, behind how many there were before it and a hash of all of
 * them. What it was sent twice it answers twice. All that it answers depends on
 * nothing but what came.
 *
 * A payload that begins with "end" ends it. every=N (50): print a line after so many
 * frames. buffers=N (32) for what comes; with the word poll it looks at the ring instead
 * of waiting for interrupts; with the word merge buffers are smaller than frames, and one
 * may come in several.
 *
 * hostile=NAME first makes the ring for what comes bad, or with the word sent that for what
 * goes, see spoil.c; it reads the device's status until it asks for a reset, has completed
 * something, or wait=N (1000) reads are done; all the rest follows after a reset.
 */
#include <linux/if_ether.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "virtio.h"

#define VECTOR		0x45
#define TYPE		0x88b5
#define FRAME		1514
#define HEADER		sizeof(struct virtio_net_hdr_v1)
#define BUFFERS		64
#define SMALL		256		/* of a buffer, with "merge" */

#define fail(...)	rt_fail("net", __VA_ARGS__)

struct packet {
	struct virtio_net_hdr_v1 hdr;
	struct ethhdr eth;
	uint8_t payload[FRAME - ETH_HLEN];
} __attribute__((packed));

/* What an answer has before the payload that it repeats. */
struct answer {
	uint64_t number;
	uint64_t hash;
} __attribute__((packed));

static struct virtio virtio;
static struct queue receive, transmit;
static uint8_t ring_memory[2][VIRTIO_RING_BYTES] __attribute__((aligned(4096)));
static struct packet room[BUFFERS], out[BUFFERS], whole;
static uint8_t mac[ETH_ALEN];
static uint64_t number, digest;
static uint32_t buffer_bytes = sizeof(struct packet);
static unsigned int free_out = BUFFERS;
static struct packet *free_list[BUFFERS];
static int polling, merging;

static void on_interrupt(struct frame *f)
{
	(void)f;
	lapic_eoi();
}

static void offer(struct packet *p)
{
	struct piece piece = { (uint8_t *)p, buffer_bytes };

	queue_add(&receive, &piece, 0, 1, NULL, p);
}

/* No buffers are there yet. */
static void begin(uint64_t more, int silent)
{
	const char *wrong = virtio_find(&virtio, VIRTIO_ID_NET);

	if (!wrong)
		wrong = virtio_begin(&virtio, FEATURE(VIRTIO_NET_F_MAC) | more);
	if (!wrong && !silent)
		wrong = virtio_vector(&virtio, VECTOR);
	if (!wrong)
		wrong = queue_begin(&receive, &virtio, 0, ring_memory[0], silent);
	if (!wrong)
		wrong = queue_begin(&transmit, &virtio, 1, ring_memory[1], 1);
	if (wrong)
		fail("%s", wrong);
	virtio_go(&virtio);
}

/* Show the device a bad ring, see what it makes of it, and reset it. */
static void hostile(const char *how)
{
	struct queue *q = rt_word("sent") ? &transmit : &receive;
	unsigned long wait = rt_option("wait", 1000);
	const char *wrong;

	begin(FEATURE(VIRTIO_RING_F_INDIRECT_DESC), 1);
	wrong = queue_spoil(q, q == &transmit ? SPOIL_TRANSMIT : SPOIL_RECEIVE, how);
	if (wrong)
		fail("%s", wrong);
	queue_kick(q);
	while (wait-- && !queue_used(q) &&
	       !(virtio.common->device_status & VIRTIO_STATUS_BROKEN))
		for (int i = 0; i < 20000 && !queue_used(q); i++)
			;
	printf("net: hostile ");
	while (*how > ' ')
		putchar(*how++);
	printf(": device %02x used %u\n", virtio.common->device_status, queue_used(q));
	virtio_reset(&virtio);
}

static void set_up(void)
{
	unsigned int n = rt_option("buffers", 32);

	begin(merging ? FEATURE(VIRTIO_NET_F_MRG_RXBUF) : 0, polling);
	for (unsigned int i = 0; i < ETH_ALEN; i++)
		mac[i] = virtio.config[i];
	for (unsigned int i = 0; i < BUFFERS; i++)
		free_list[i] = out + i;
	for (unsigned int i = 0; i < n && i < BUFFERS && i < receive.ring.num; i++)
		offer(room + i);
	queue_kick(&receive);
	printf("net: %02x:%02x:%02x:%02x:%02x:%02x\n", mac[0], mac[1], mac[2], mac[3], mac[4],
	       mac[5]);
}

/* What was sent is the driver's again. */
static void reap(void)
{
	void *owner;
	uint32_t len;

	while (queue_used(&transmit) != transmit.seen) {
		const char *wrong = queue_take(&transmit, &owner, &len);

		if (wrong)
			fail("sent: %s", wrong);
		free_list[free_out++] = owner;
	}
}

static void answer(const struct packet *in, uint32_t payload)
{
	struct answer head = { number, digest };
	struct piece piece;
	struct packet *p;

	while (!free_out)
		reap();
	p = free_list[--free_out];
	if (payload > sizeof(p->payload) - sizeof(head))
		payload = sizeof(p->payload) - sizeof(head);
	memset(&p->hdr, 0, sizeof(p->hdr));
	memcpy(p->eth.h_dest, in->eth.h_source, ETH_ALEN);
	memcpy(p->eth.h_source, mac, ETH_ALEN);
	p->eth.h_proto = in->eth.h_proto;
	memcpy(p->payload, &head, sizeof(head));
	memcpy(p->payload + sizeof(head), in->payload, payload);
	piece.at = (uint8_t *)p;
	piece.len = HEADER + ETH_HLEN + sizeof(head) + payload;
	queue_add(&transmit, &piece, 1, 1, NULL, p);
	queue_kick(&transmit);
}

/* 1: it was the last one. */
static int got(const struct packet *p, uint32_t len)
{
	static unsigned long every;
	uint32_t payload;

	if (!every)
		every = rt_option("every", 50);
	if (len < HEADER + ETH_HLEN || p->eth.h_proto != __builtin_bswap16(TYPE))
		return 0;
	payload = len - HEADER - ETH_HLEN;
	if (payload >= 3 && !memcmp(p->payload, "end", 3))
		return 1;
	number++;
	digest = rt_hash(digest, p->payload, payload);
	answer(p, payload);
	if (!(number % every))
		printf("net: %lu frames, hash %016lx\n", number, digest);
	return 0;
}

static int take(void)
{
	uint32_t len, at = 0, n = 1;
	void *owner;
	int last;

	for (uint32_t i = 0; i < n; i++) {
		const char *wrong = queue_used(&receive) == receive.seen ?
				    "a part of a packet is missing" :
				    queue_take(&receive, &owner, &len);

		if (wrong)
			fail("received: %s", wrong);
		if (len > buffer_bytes || at + len > sizeof(whole))
			fail("received: %u bytes, %u before them", len, at);
		memcpy((uint8_t *)&whole + at, owner, len);
		at += len;
		if (!i)
			n = whole.hdr.num_buffers;
		if (!n || (n > 1 && !merging))
			fail("received: a packet in %u buffers", n);
		offer(owner);
	}
	last = got(&whole, at);
	queue_kick(&receive);
	return last;
}

int guest(void)
{
	const char *hostility = rt_word("hostile");

	polling = !!rt_word("poll");
	merging = !!rt_word("merge");
	if (merging)
		buffer_bytes = SMALL;
	rt_apic_on();
	rt_on(VECTOR, on_interrupt);
	/* its link is down while ftd is away */
	rt_on(VECTOR + 1, on_interrupt);
	if (hostility)
		hostile(hostility);
	set_up();
	for (;;) {
		asm volatile("cli" : : : "memory");
		if (queue_used(&receive) == receive.seen) {
			if (polling)
				asm volatile("sti; pause" : : : "memory");
			else
				asm volatile("sti; hlt" : : : "memory");
			continue;
		}
		asm volatile("sti" : : : "memory");
		if (take())
			break;
		reap();
	}
	printf("net: good %lu frames, hash %016lx\n", number, digest);
	return 0;
}
