// SPDX-License-Identifier: GPL-2.0
/*
 * A fixed amount of work for a virtio disk or network card, for the benchmark
 * (tests/bench). Between what it asks of the device it computes: steps=N, about 10
 * instructions each. One of
 *
 *	write=N, read=N	requests of bytes=N, depth=N (1) of them in flight; the computing
 *			is behind each completion
 *	answer=N	frames of bytes=N that come are answered, each when it has computed
 *	send=N		frames of bytes=N go out, two at a time; the other end tells of
 *			each two that it has, and no more than window=N (32) are on their way
 *	receive=N	the same in the other direction
 *
 * The other end is tests/bench/host/wire.c; the guest's first frame has it begin. As a
 * Linux driver would, this one kicks for two frames at once, gives room for frames back when
 * half of it is used, takes back what was sent when it sends, and halts when there
 * is nothing to do.
 *
 * ecam=1: the machine is QEMU's microvm, with pcie=on.
 *
 * A byte to port 0xe9 (isa-debugcon) says where it begins and where it ends. What is
 * printed depends on nothing but the words.
 */
#include <linux/if_ether.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "virtio.h"

#define MARK		0xe9
#define MICROVM_ECAM	0xe0000000
#define MICROVM_MMIO	0xc0000000
#define VECTOR		0x45
#define TYPE		0x88b5
#define SECTOR		512
#define MOST_BYTES	65536
#define DEPTH		32
#define REGION		(1u << 20)	/* of the disk that it uses */
#define BUFFERS		64
#define FRAME		1514
#define PAIR		2		/* frames that are told of at once */

#define fail(...)	rt_fail("bench", __VA_ARGS__)

struct request {
	struct virtio_blk_outhdr header;
	uint8_t status;
	uint8_t *data;
};

struct packet {
	struct virtio_net_hdr_v1 hdr;
	struct ethhdr eth;
	uint64_t number;
	uint8_t rest[FRAME - ETH_HLEN - 8];
} __attribute__((packed));

static uint64_t table[512];
static uint8_t data[DEPTH][MOST_BYTES] __attribute__((aligned(4096)));
static struct request requests[DEPTH];
static uint8_t ring_memory[2][VIRTIO_RING_BYTES] __attribute__((aligned(4096)));
static struct packet room[BUFFERS], out[BUFFERS], *used_room[BUFFERS], *free_out[BUFFERS];
static struct virtio virtio;
static struct queue queue, transmit;
static unsigned int used_count, free_count;
static uint64_t digest;
static unsigned long count, steps;
static uint32_t bytes;

static void on_interrupt(struct frame *f)
{
	(void)f;
	lapic_eoi();
}

static void compute(void)
{
	uint64_t h = digest;

	for (unsigned long i = 0; i < steps; i++) {
		h = (h ^ table[i & 511]) * 0x100000001b3 + i;
		table[(h >> 20) & 511] ^= h;
	}
	digest = h;
}

static void must(const char *wrong)
{
	if (wrong)
		fail("%s", wrong);
}

/* Interrupts are off but here, so that none is missed. */
static void await(void)
{
	while (queue.seen == queue_used(&queue))
		sti_hlt();
}

static void *take(struct queue *q, uint32_t *len)
{
	void *owner;

	must(queue_take(q, &owner, len));
	return owner;
}

/* ---- a disk ---- */

static void disk_ask(struct request *r, unsigned int write, unsigned long number)
{
	uint64_t at = (uint64_t)number * bytes % REGION;
	struct piece pieces[3] = {
		{ (uint8_t *)&r->header, sizeof(r->header) }, { r->data, bytes }, { &r->status, 1 },
	};

	r->header.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
	r->header.sector = at / SECTOR;
	r->status = 0xff;
	for (uint32_t i = 0; write && i < bytes; i += SECTOR)
		*(uint64_t *)(r->data + i) = (at + i) * 0x9e3779b97f4a7c15;
	queue_add(&queue, pieces, write ? 2 : 1, 3, NULL, r);
	queue_kick(&queue);
}

static struct request *disk_answer(void)
{
	struct request *r;
	uint32_t len;

	await();
	r = take(&queue, &len);
	if (r->status != VIRTIO_BLK_S_OK)
		fail("sector %lu: status %u", (unsigned long)r->header.sector, r->status);
	for (uint32_t i = 0; i < bytes; i += SECTOR)
		if (*(uint64_t *)(r->data + i) !=
		    (r->header.sector * SECTOR + i) * 0x9e3779b97f4a7c15)
			fail("sector %lu is not what was written",
			     (unsigned long)r->header.sector + i / SECTOR);
	return r;
}

/* @depth requests are under way, until none is left to ask for. */
static void disk_run(int write, unsigned long n, unsigned int depth)
{
	unsigned long asked = 0;

	while (asked < n && asked < depth) {
		disk_ask(requests + asked, write, asked);
		asked++;
	}
	for (unsigned long done = 0; done < n; done++) {
		struct request *r = disk_answer();

		compute();
		if (asked < n)
			disk_ask(r, write, asked++);
	}
}

static void disk(int write)
{
	unsigned int depth = rt_option("depth", 1);
	uint32_t size = bytes;

	if (!bytes || bytes % SECTOR || bytes > MOST_BYTES || !depth || depth > DEPTH)
		fail("bytes or depth can't be had");
	must(virtio_find(&virtio, VIRTIO_ID_BLOCK));
	must(virtio_begin(&virtio, FEATURE(VIRTIO_BLK_F_FLUSH)));
	must(virtio_vector(&virtio, VECTOR));
	must(queue_begin(&queue, &virtio, 0, ring_memory[0], 0));
	virtio_go(&virtio);
	for (unsigned int i = 0; i < DEPTH; i++)
		requests[i].data = data[i];
	/* what is read was written, and what is written needs no new room in a sparse file */
	bytes = MOST_BYTES;
	for (uint32_t at = 0; at < REGION; at += bytes) {
		disk_ask(requests, 1, at / bytes);
		disk_answer();
	}
	bytes = size;
	outb(MARK, 'B');
	disk_run(write, count, depth);
	outb(MARK, 'E');
}

/* ---- a network card ---- */

static void net_offer(struct packet *p)
{
	struct piece piece = { (uint8_t *)p, sizeof(*p) };

	queue_add(&queue, &piece, 0, 1, NULL, p);
}

/* Room is given back when half of it is used. */
static void net_release(struct packet *p)
{
	used_room[used_count++] = p;
	if (used_count < BUFFERS / 2)
		return;
	while (used_count)
		net_offer(used_room[--used_count]);
	queue_kick(&queue);
}

static struct packet *net_receive(void)
{
	uint32_t len;

	for (;;) {
		struct packet *p;

		await();
		p = take(&queue, &len);
		if (len >= sizeof(p->hdr) + ETH_HLEN + 8 &&
		    p->eth.h_proto == __builtin_bswap16(TYPE))
			return p;
		net_release(p);
	}
}

static void net_take_back(void)
{
	uint32_t len;

	while (transmit.seen != queue_used(&transmit))
		free_out[free_count++] = take(&transmit, &len);
}

static void net_add(uint64_t number, uint32_t size)
{
	struct piece piece;
	struct packet *p;

	net_take_back();
	if (!free_count)
		fail("no frame is sent");
	p = free_out[--free_count];
	p->number = number;
	piece.at = (uint8_t *)p;
	piece.len = sizeof(p->hdr) + size;
	queue_add(&transmit, &piece, 1, 1, NULL, p);
}

static void net_send(uint64_t number, uint32_t size)
{
	net_add(number, size);
	queue_kick(&transmit);
}

static uint64_t net_number(void)
{
	struct packet *p = net_receive();
	uint64_t number = p->number;

	net_release(p);
	return number;
}

static void net_answer(void)
{
	net_send(0, bytes);
	for (unsigned long i = 0; i < count; i++) {
		uint64_t number = net_number();

		if (number != i)
			fail("request %lu instead of %lu", number, i);
		compute();
		net_send(number, bytes);
	}
}

static void net_stream_out(void)
{
	unsigned long told = 0, sent = 0, window = rt_option("window", 32);

	net_send(0, 60);
	while (told < count) {
		while (sent < count && sent + PAIR <= told + window) {
			for (int i = 0; i < PAIR; i++) {
				compute();
				net_add(sent++, bytes);
			}
			queue_kick(&transmit);
		}
		told = net_number();
	}
}

static void net_stream_in(void)
{
	net_send(0, 60);
	for (unsigned long i = 0; i < count; i++) {
		uint64_t number = net_number();

		if (number != i)
			fail("frame %lu instead of %lu", number, i);
		compute();
		if (i % PAIR == PAIR - 1)
			net_send(i + 1, 60);
	}
}

static void net(void (*run)(void))
{
	if (bytes < 60 || bytes > FRAME || count % PAIR)
		fail("bytes or count can't be had");
	must(virtio_find(&virtio, VIRTIO_ID_NET));
	must(virtio_begin(&virtio, FEATURE(VIRTIO_NET_F_MAC)));
	must(virtio_vector(&virtio, VECTOR));
	must(queue_begin(&queue, &virtio, 0, ring_memory[0], 0));
	must(queue_begin(&transmit, &virtio, 1, ring_memory[1], 1));
	virtio_go(&virtio);
	for (unsigned int i = 0; i < BUFFERS; i++) {
		struct packet *p = out + i;

		p->eth.h_dest[0] = 2;
		p->eth.h_dest[ETH_ALEN - 1] = 1;
		for (unsigned int j = 0; j < ETH_ALEN; j++)
			p->eth.h_source[j] = virtio.config[j];
		p->eth.h_proto = __builtin_bswap16(TYPE);
		free_out[free_count++] = p;
		net_offer(room + i);
	}
	queue_kick(&queue);
	outb(MARK, 'B');
	run();
	outb(MARK, 'E');
	/* a QEMU that ends takes with it what it has not sent yet, and the other end would wait for it */
	while (free_count < BUFFERS)
		net_take_back();
}

int guest(void)
{
	static const struct {
		const char *word;
		void (*run)(void);
	} cards[] = {
		{ "answer", net_answer }, { "send", net_stream_out }, { "receive", net_stream_in },
	};

	steps = rt_option("steps", 0);
	bytes = rt_option("bytes", 0);
	for (unsigned int i = 0; i < 512; i++)
		table[i] = i * 0x9e3779b97f4a7c15;
	if (rt_option("ecam", 0))
		virtio_use_ecam(MICROVM_ECAM, MICROVM_MMIO);
	rt_apic_on();
	rt_on(VECTOR, on_interrupt);
	rt_on(VECTOR + 1, on_interrupt);
	if ((count = rt_option("write", 0)))
		disk(1);
	else if ((count = rt_option("read", 0)))
		disk(0);
	for (unsigned int i = 0; !count && i < sizeof(cards) / sizeof(*cards); i++) {
		count = rt_option(cards[i].word, 0);
		if (count)
			net(cards[i].run);
	}
	if (!count)
		fail("nothing to do");
	printf("bench: %lu of %u bytes, result %016lx\n", count, bytes, digest);
	return 0;
}
