// SPDX-License-Identifier: GPL-2.0
/*
 * All virtio disks and cards of the machine at once, up to four of each.
 *
 * In each round it writes a chunk of 96 sectors to each disk, round N the chunk N - 1 (from
 * the disk's beginning again where it ends), and reads one of before, all disks at the same
 * time; then it flushes all disks, and then it prints a line "many: N: ...": so all that is
 * told is durable. What each sector must hold is known from the disk, the sector and the
 * round, outside as well: see word_of(). The disks must be all zeros at the beginning.
 *
 * Frames of ethertype 0x88b5 that come meanwhile are answered by the card that they are for,
 * as net.c answers them, each card with a number and a hash of its own.
 *
 * With "rest" the last disk is reset behind the first round, and left alone until something is typed
 * at the console; then it is set up anew.
 *
 * Rounds: rounds=N (20; 0: without end), or until each card has had a frame that begins
 * with "end", if that is later. Then all is read again.
 */
#include <linux/if_ether.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "virtio.h"

#define VECTOR		0x45
#define TYPE		0x88b5
#define MOST		4		/* disks, and cards */
#define SECTOR		512
#define SECTOR_WORDS	(SECTOR / 8)
#define PIECE		8		/* sectors of a request */
#define PIECES		12		/* of a chunk: more than an epoch end completes */
#define CHUNK		(PIECE * PIECES)
#define CHUNKS		4096		/* of a disk, at most */
#define BUFFERS		32
#define FRAME		1514
#define HEADER		sizeof(struct virtio_net_hdr_v1)

#define fail(...)	rt_fail("many", __VA_ARGS__)

struct request {
	struct virtio_blk_outhdr header;
	uint8_t status;
	uint64_t data[PIECE * SECTOR_WORDS];
};

struct disk {
	struct virtio virtio;
	struct queue queue;
	uint32_t chunks;
	uint32_t round[CHUNKS];		/* that a chunk is of, 0: none */
	struct request requests[2 * PIECES];
};

struct packet {
	struct virtio_net_hdr_v1 hdr;
	struct ethhdr eth;
	uint8_t payload[FRAME - ETH_HLEN];
} __attribute__((packed));

/* What an answer has before the payload that it repeats. */
struct answer {
	uint64_t number, hash;
} __attribute__((packed));

struct card {
	struct virtio virtio;
	struct queue receive, transmit;
	struct packet room[BUFFERS], out[BUFFERS], *free[BUFFERS];
	unsigned int free_count;
	uint8_t mac[ETH_ALEN];
	uint64_t number, hash;
	int ended;
};

static struct disk disks[MOST];
static struct card cards[MOST];
static uint8_t ring_memory[3 * MOST][VIRTIO_RING_BYTES] __attribute__((aligned(4096)));
static unsigned int disk_count, card_count;
static uint64_t digest;

static void must(const char *wrong)
{
	if (wrong)
		fail("%s", wrong);
}

static void into_digest(uint64_t v)
{
	digest = (digest ^ v) * 0x100000001b3;
	digest ^= digest >> 29;
}

static void on_interrupt(struct frame *f)
{
	(void)f;
	lapic_eoi();
}

/* ---- cards ---- */

static void offer(struct card *c, struct packet *p)
{
	struct piece piece = { (uint8_t *)p, sizeof(*p) };

	queue_add(&c->receive, &piece, 0, 1, NULL, p);
}

/* What was sent is the driver's again. */
static void reap(struct card *c)
{
	void *owner;
	uint32_t len;

	while (queue_used(&c->transmit) != c->transmit.seen) {
		must(queue_take(&c->transmit, &owner, &len));
		c->free[c->free_count++] = owner;
	}
}

static void answer(struct card *c, const struct packet *in, uint32_t payload)
{
	struct answer head = { c->number, c->hash };
	struct piece piece;
	struct packet *p;

	while (!c->free_count)
		reap(c);
	p = c->free[--c->free_count];
	if (payload > sizeof(p->payload) - sizeof(head))
		payload = sizeof(p->payload) - sizeof(head);
	memset(&p->hdr, 0, sizeof(p->hdr));
	memcpy(p->eth.h_dest, in->eth.h_source, ETH_ALEN);
	memcpy(p->eth.h_source, c->mac, ETH_ALEN);
	p->eth.h_proto = in->eth.h_proto;
	memcpy(p->payload, &head, sizeof(head));
	memcpy(p->payload + sizeof(head), in->payload, payload);
	piece.at = (uint8_t *)p;
	piece.len = HEADER + ETH_HLEN + sizeof(head) + payload;
	queue_add(&c->transmit, &piece, 1, 1, NULL, p);
	queue_kick(&c->transmit);
}

/* A frame, if there is one. */
static int take_frame(struct card *c)
{
	uint32_t len, payload;
	struct packet *p;
	void *owner;

	if (queue_used(&c->receive) == c->receive.seen)
		return 0;
	must(queue_take(&c->receive, &owner, &len));
	p = owner;
	if (len > sizeof(*p) || p->hdr.num_buffers != 1)
		fail("received: %u bytes in %u buffers", len, p->hdr.num_buffers);
	/* a bridge that does not know where a card is sends all of them what is for that one */
	if (len >= HEADER + ETH_HLEN && p->eth.h_proto == __builtin_bswap16(TYPE) &&
	    !memcmp(p->eth.h_dest, c->mac, ETH_ALEN)) {
		payload = len - HEADER - ETH_HLEN;
		if (payload >= 3 && !memcmp(p->payload, "end", 3)) {
			c->ended = 1;
		} else {
			c->number++;
			c->hash = rt_hash(c->hash, p->payload, payload);
			answer(c, p, payload);
		}
	}
	offer(c, p);
	queue_kick(&c->receive);
	reap(c);
	return 1;
}

static void begin_card(struct card *c, unsigned int nth)
{
	struct virtio *v = &c->virtio;
	unsigned int vector = VECTOR + 2 * (MOST + nth);

	must(virtio_begin(v, FEATURE(VIRTIO_NET_F_MAC)));
	rt_on(vector, on_interrupt);
	rt_on(vector + 1, on_interrupt);
	must(virtio_vector(v, vector));
	must(queue_begin(&c->receive, v, 0, ring_memory[MOST + 2 * nth], 0));
	must(queue_begin(&c->transmit, v, 1, ring_memory[MOST + 2 * nth + 1], 1));
	for (unsigned int i = 0; i < ETH_ALEN; i++)
		c->mac[i] = v->config[i];
	for (unsigned int i = 0; i < BUFFERS; i++)
		c->free[c->free_count++] = c->out + i;
	virtio_go(v);
	for (unsigned int i = 0; i < BUFFERS && i < c->receive.ring.num; i++)
		offer(c, c->room + i);
	queue_kick(&c->receive);
	printf("many: card %02x:%02x:%02x:%02x:%02x:%02x\n", c->mac[0], c->mac[1], c->mac[2],
	       c->mac[3], c->mac[4], c->mac[5]);
}

/* ---- disks ---- */

static void begin_disk(struct disk *d, unsigned int nth)
{
	unsigned int vector = VECTOR + 2 * nth;
	struct virtio *v = &d->virtio;
	uint64_t sectors;

	must(virtio_begin(v, FEATURE(VIRTIO_BLK_F_FLUSH)));
	rt_on(vector, on_interrupt);
	rt_on(vector + 1, on_interrupt);
	must(virtio_vector(v, vector));
	must(queue_begin(&d->queue, v, 0, ring_memory[nth], 0));
	if (d->queue.free_count < 6 * PIECES)
		fail("a queue of only %u", d->queue.free_count);
	virtio_go(v);
	sectors = *(volatile uint64_t *)v->config;
	d->chunks = sectors / CHUNK < CHUNKS ? sectors / CHUNK : CHUNKS;
	if (d->chunks < 2)
		fail("a disk of %lu sectors", sectors);
	printf("many: disk of %lu sectors\n", sectors);
}

static uint64_t word_of(unsigned int disk, uint64_t sector, uint32_t round, unsigned int i)
{
	uint64_t z = (uint64_t)round << 36 ^ sector << 10 ^ i << 2 ^ disk;

	if (!round)
		return 0;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void ask(struct disk *d, struct request *r, uint32_t type, uint64_t sector)
{
	int write = type == VIRTIO_BLK_T_OUT, data = type != VIRTIO_BLK_T_FLUSH;
	struct piece pieces[3] = {
		{ (uint8_t *)&r->header, sizeof(r->header) },
		{ (uint8_t *)r->data, sizeof(r->data) },
		{ &r->status, 1 },
	};

	r->header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	r->status = 0xff;
	if (!data)
		pieces[1] = pieces[2];
	queue_add(&d->queue, pieces, write ? 2 : 1, data ? 3 : 2, NULL, r);
}

static void ask_chunk(struct disk *d, struct request *r, uint32_t type, uint32_t chunk)
{
	for (unsigned int n = 0; n < PIECES; n++, r++) {
		uint64_t sector = chunk * CHUNK + n * PIECE;

		for (unsigned int i = 0; type == VIRTIO_BLK_T_OUT && i < PIECE * SECTOR_WORDS; i++)
			r->data[i] = word_of(d - disks, sector + i / SECTOR_WORDS,
					     d->round[chunk], i % SECTOR_WORDS);
		ask(d, r, type, sector);
	}
}

static void check(struct disk *d, const struct request *r)
{
	if (r->status != VIRTIO_BLK_S_OK)
		fail("disk %u: request %u, sector %lu: status %u", (unsigned int)(d - disks),
		     r->header.type, (uint64_t)r->header.sector, r->status);
	if (r->header.type != VIRTIO_BLK_T_IN)
		return;
	for (unsigned int i = 0; i < PIECE * SECTOR_WORDS; i++) {
		uint64_t sector = r->header.sector + i / SECTOR_WORDS;
		uint32_t round = d->round[sector / CHUNK];

		into_digest(r->data[i]);
		if (r->data[i] != word_of(d - disks, sector, round, i % SECTOR_WORDS))
			fail("disk %u, sector %lu, of round %u: %016lx", (unsigned int)(d - disks),
			     sector, round, r->data[i]);
	}
}

/* ---- all of them ---- */

/* Interrupts are off but here, so that none is missed. */
static void serve(int disks_too)
{
	int any = 0;

	for (struct card *c = cards; c < cards + card_count; c++)
		while (take_frame(c))
			any = 1;
	for (struct disk *d = disks; disks_too && d < disks + disk_count; d++) {
		while (d->queue.seen != queue_used(&d->queue)) {
			uint32_t len;
			void *owner;

			must(queue_take(&d->queue, &owner, &len));
			any = 1;
		}
	}
	if (!any)
		sti_hlt();
}

static void finish(unsigned int n)
{
	unsigned int left;

	for (struct disk *d = disks; d < disks + disk_count; d++)
		queue_kick(&d->queue);
	do {
		left = 0;
		for (struct disk *d = disks; d < disks + disk_count; d++)
			left += d->queue.in_flight;
		if (left)
			serve(1);
	} while (left);
	for (struct disk *d = disks; d < disks + disk_count; d++)
		for (unsigned int i = 0; i < n; i++)
			check(d, d->requests + i);
}

static void round(unsigned long number)
{
	uint64_t frames = 0;

	for (struct disk *d = disks; d < disks + disk_count; d++) {
		uint32_t chunk = (number - 1) % d->chunks, other = digest % d->chunks;

		if (other == chunk)
			other = (other + 1) % d->chunks;
		d->round[chunk] = number;
		ask_chunk(d, d->requests, VIRTIO_BLK_T_OUT, chunk);
		ask_chunk(d, d->requests + PIECES, VIRTIO_BLK_T_IN, other);
	}
	finish(2 * PIECES);
	for (struct disk *d = disks; d < disks + disk_count; d++)
		ask(d, d->requests, VIRTIO_BLK_T_FLUSH, 0);
	finish(1);
	for (struct card *c = cards; c < cards + card_count; c++) {
		frames += c->number;
		into_digest(c->hash);
	}
	printf("many: %lu: %lu frames, hash %016lx\n", number, frames, digest);
}

static int all_ended(void)
{
	for (struct card *c = cards; c < cards + card_count; c++)
		if (!c->ended)
			return 0;
	return 1;
}

static void read_everything(void)
{
	for (uint32_t chunk = 0; ; chunk++) {
		int any = 0;

		for (struct disk *d = disks; d < disks + disk_count; d++) {
			if (chunk >= d->chunks || !d->round[chunk])
				continue;
			ask_chunk(d, d->requests, VIRTIO_BLK_T_IN, chunk);
			any = 1;
		}
		if (!any)
			break;
		finish(PIECES);
	}
}

static void rest(void)
{
	virtio_reset(&disks[--disk_count].virtio);
	printf("many: a disk rests\n");
}

static int typed(void)
{
	return inb(COM1 + 5) & 1;
}

int guest(void)
{
	unsigned long rounds = rt_option("rounds", 20), number = 0;
	int rests = !!rt_word("rest");

	rt_apic_on();
	while (disk_count < MOST &&
	       !virtio_find_nth(&disks[disk_count].virtio, VIRTIO_ID_BLOCK, disk_count)) {
		begin_disk(disks + disk_count, disk_count);
		disk_count++;
	}
	while (card_count < MOST &&
	       !virtio_find_nth(&cards[card_count].virtio, VIRTIO_ID_NET, card_count)) {
		begin_card(cards + card_count, card_count);
		card_count++;
	}
	printf("many: %u disks, %u cards\n", disk_count, card_count);
	while (!rounds || number < rounds || !all_ended()) {
		round(++number);
		if (rests && number == 1)
			rest();
		if (rests && typed()) {
			rests = 0;
			begin_disk(disks + disk_count, disk_count);
			disk_count++;
		}
	}
	read_everything();
	printf("many: good %lu rounds, hash %016lx\n", number, digest);
	return 0;
}
