// SPDX-License-Identifier: GPL-2.0
/*
 * Writes to a virtio disk and reads it back, up to 16 requests in flight, in rounds.
 * It knows what each sector must hold; all that it reads and every status go
 * into the hash that each round prints, in the order of the requests, not of their
 * completion. At the end it resets the device, sets it up again and reads everything.
 *
 * The disk must be all zeros at the beginning. What is printed depends on nothing
 * but its number of sectors, its name (in one line, not in the hash), seed=N (1),
 * rounds=N (20; 0: without end) and sectors=N (8192), how many it uses, half of them
 * at the disk's end. The following words change nothing of it:
 *
 *	poll		look at the used ring instead of waiting for interrupts
 *	indirect	half of the requests by indirect tables
 *	plain		header, data and status are a descriptor each; otherwise cut anywhere
 *	reset		some rounds, and the end, have a reset while requests are in flight
 *	dirty		the disk was not all zeros: nothing is said of what is not written
 *			(the hashes then depend on it)
 *	through		do without flushes: what is written is durable
 *
 * These do:
 *
 *	discard		some requests write zeros or discard; of what was discarded nothing is
 *			said (the hashes then depend on it)
 *	ro		the disk can't be written: what would is told an error
 *	only=KIND	all requests of rounds are of one kind: read, write or flush
 *
 * With the word stay it does not end but halts for good: behind the rounds, or where it is
 * told of an I/O error, which it prints.
 *
 * hostile=NAME makes the ring bad instead, see spoil.c, reads the device's status until
 * it asks for a reset, has completed something, or wait=N (1000) reads are done;
 * with the word again the rounds follow after a reset.
 */
#include <linux/virtio_ids.h>

#include "request.h"

#define VECTOR		0x45
#define SLOTS		16		/* requests in flight */
#define MOST		65536		/* sectors that it may use */
#define TYPE_UNKNOWN	0x7f0
#define REMEMBERED	64
/* versions beside those of writes */
#define ZEROS		0
#define ANY		0xffffffff	/* nothing is known of it */
#define CUT_OFF		0xfffffffe	/* of a write that a reset came into */

#define fail(...)	rt_fail("disk", __VA_ARGS__)

static struct request requests[SLOTS];
static uint8_t ring_memory[VIRTIO_RING_BYTES] __attribute__((aligned(4096)));
static uint32_t versions[MOST];		/* the write that a sector is from */
static struct { uint32_t at, sectors; } written[REMEMBERED];
static uint32_t writes;
static struct virtio virtio;
static struct queue queue;
static uint64_t capacity, digest;
static uint32_t used_sectors;
static unsigned long seed;
static volatile int changed;
static int polling, indirect, plain, stay, discards, readonly, through;
/* The sectors that are read are as they were, or as of a write that was cut off. */
static int settling;
static const char *only;
/* What is done must not depend on how. */
static uint64_t work_state, layout_state;

static uint64_t work(uint64_t below)
{
	return (request_next(&work_state) >> 16) % below;
}

static uint64_t layout(uint64_t below)
{
	return (request_next(&layout_state) >> 16) % below;
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

static void on_change(struct frame *f)
{
	(void)f;
	changed = 1;
	lapic_eoi();
}

/* Half of the sectors are at the disk's beginning, half at its end. */
static uint64_t sector_of(uint32_t at)
{
	return at < used_sectors / 2 ? at : capacity - used_sectors + at;
}

static void pattern(uint64_t *to, uint32_t at, uint32_t version)
{
	uint64_t state = request_mix(seed) + ((uint64_t)at << 32 | version);

	for (unsigned int i = 0; i < SECTOR_WORDS; i++)
		to[i] = version == ZEROS ? 0 : request_next(&state);
}

/* Compare what was read of the sectors from @at on, and take it into the digest. */
static void compare(const uint64_t *got, uint32_t at, uint32_t sectors)
{
	for (; sectors; sectors--, at++, got += SECTOR_WORDS) {
		uint64_t want[SECTOR_WORDS];

		for (unsigned int i = 0; i < SECTOR_WORDS; i++)
			into_digest(got[i]);
		if (versions[at] == ANY)
			continue;
		if (settling) {
			pattern(want, at, CUT_OFF);
			if (!memcmp(got, want, SECTOR))
				continue;
		}
		pattern(want, at, versions[at]);
		for (unsigned int i = 0; i < SECTOR_WORDS; i++)
			if (got[i] != want[i])
				fail("sector %lu, of write %u: %016lx at %u, not %016lx",
				     sector_of(at), versions[at], got[i], i * 8, want[i]);
	}
}

static void take_completions(void)
{
	while (queue.seen != queue_used(&queue)) {
		struct request *r;
		const char *wrong;
		void *owner;
		uint32_t len;

		wrong = queue_take(&queue, &owner, &len);
		if (wrong)
			fail("%s", wrong);
		r = owner;
		r->used = len;
		r->done = 1;
	}
}

/* Wait for a completion. Interrupts are off but here, so that none is missed. */
static void await(void)
{
	while (queue.seen == queue_used(&queue)) {
		if (polling)
			asm volatile("pause" : : : "memory");
		else
			sti_hlt();
		if (changed)
			fail("the device has changed: status %02x", virtio.common->device_status);
	}
	take_completions();
}

/* With interrupts and kicks at odd times the device finds requests while it works. */
static void submit(struct request *r)
{
	int table = layout(2) && indirect;

	while (queue.free_count < (table ? 1 : r->count)) {
		queue_kick(&queue);
		await();
	}
	queue_add(&queue, r->pieces, r->readable, r->count, table ? r->table : NULL, r);
	if (layout(2))
		queue_kick(&queue);
}

static void set_up(void)
{
	uint64_t need = through ? 0 : FEATURE(VIRTIO_BLK_F_FLUSH);
	const char *wrong;

	if (discards)
		need |= FEATURE(VIRTIO_BLK_F_DISCARD) | FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
	if (readonly)
		need |= FEATURE(VIRTIO_BLK_F_RO);
	if (indirect)
		need |= FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
	wrong = virtio_begin(&virtio, need);
	if (!wrong && !polling)
		wrong = virtio_vector(&virtio, VECTOR);
	if (!wrong)
		wrong = queue_begin(&queue, &virtio, 0, ring_memory, polling);
	if (wrong)
		fail("%s", wrong);
	for (unsigned int i = queue.free_count - 1; i; i--) {
		unsigned int j = layout(i + 1);
		uint16_t other = queue.free[j];

		queue.free[j] = queue.free[i];
		queue.free[i] = other;
	}
	virtio_go(&virtio);
}

static void prepare(struct request *r, uint32_t type, uint64_t sector, uint32_t bytes, uint8_t want)
{
	r->type = type;
	r->sector = sector;
	r->bytes = bytes;
	r->sectors = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_OUT ? bytes / SECTOR : 0;
	r->want = readonly && request_changes(r) ? VIRTIO_BLK_S_IOERR : want;
}

static uint32_t place_of(uint64_t sector)
{
	return sector < used_sectors / 2 ? sector : sector + used_sectors - capacity;
}

static void fill(struct request *r)
{
	struct virtio_blk_discard_write_zeroes range = { r->sector, r->sectors, 0 };
	uint32_t at = place_of(r->sector), version;
	uint64_t *to = OUT_DATA;

	if (r->type != VIRTIO_BLK_T_OUT) {
		if (r->type == VIRTIO_BLK_T_WRITE_ZEROES && layout(2))
			range.flags = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
		memcpy(to, &range, sizeof(range));
	} else if (r->want != VIRTIO_BLK_S_OK) {
		/* nothing of it may reach the disk: a later read would see it */
		memset(to, 0x99, r->bytes);
	}
	if (r->want != VIRTIO_BLK_S_OK)
		return;
	if (!settling) {
		writes++;
		written[writes % REMEMBERED].at = at;
		written[writes % REMEMBERED].sectors = r->sectors;
	}
	version = r->type == VIRTIO_BLK_T_OUT ? writes :
		  r->type == VIRTIO_BLK_T_DISCARD ? ANY : ZEROS;
	for (uint32_t i = 0; i < r->sectors; i++, at++, to += SECTOR_WORDS) {
		if (!settling)
			versions[at] = version;
		if (r->type == VIRTIO_BLK_T_OUT)
			pattern(to, at, versions[at]);
	}
}

static int touches_another(unsigned int n, uint64_t sector, uint32_t sectors)
{
	for (unsigned int i = 0; i < n; i++) {
		struct request *r = requests + i;

		if (r->sectors && sector < r->sector + r->sectors && r->sector < sector + sectors)
			return 1;
	}
	return 0;
}

/* Where request @n of the batch, of so many sectors, meets no other one; ANY: nowhere. */
static uint32_t some_place(unsigned int n, uint32_t sectors)
{
	uint32_t at = work(used_sectors - sectors + 1);

	if (at < used_sectors / 2 && at + sectors > used_sectors / 2)
		at = used_sectors / 2;
	return touches_another(n, sector_of(at), sectors) ? ANY : at;
}

/* Request @n of the batch reads or writes somewhere; requests in flight don't meet. */
static int choose(unsigned int n, int only_reads)
{
	for (int try = 0; try < 8; try++) {
		int read = work(2) || only_reads, again = work(2);
		uint32_t sectors = work(16) ? 1 + work(1 << work(8)) : LARGEST, at;
		unsigned int before = work(REMEMBERED);

		if (only && *only == 'f') {
			prepare(requests + n, VIRTIO_BLK_T_FLUSH, 0, 0, VIRTIO_BLK_S_OK);
			return 1;
		}
		if (only)
			read = *only == 'r';
		at = some_place(n, sectors);
		if (read && again && written[before].sectors) {
			at = written[before].at;
			sectors = written[before].sectors;
			if (touches_another(n, sector_of(at), sectors))
				continue;
		}
		if (at == ANY)
			continue;
		prepare(requests + n, read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, sector_of(at),
			sectors * SECTOR, VIRTIO_BLK_S_OK);
		return 1;
	}
	return 0;
}

/* Request @n zeroes or discards. */
static int choose_range(unsigned int n, uint32_t type)
{
	uint32_t sectors = 1 + work(1 << work(8)), at = some_place(n, sectors);

	if (at == ANY)
		return 0;
	prepare(requests + n, type, sector_of(at), sizeof(struct virtio_blk_discard_write_zeroes),
		VIRTIO_BLK_S_OK);
	requests[n].sectors = sectors;
	return 1;
}

/* Request @n is one of the rarer ones. Is it? */
static int choose_odd(unsigned int n, unsigned int kind)
{
	struct request *r = requests + n;
	uint32_t inside = work(LARGEST), sectors = inside + 1;
	/* on the last sector of all, at the latest, something begins that ends behind it */
	uint64_t behind = work(2) ? capacity - inside : ~work(1ULL << 40);

	switch (kind) {
	case 0:
		prepare(r, VIRTIO_BLK_T_FLUSH, 0, 0, VIRTIO_BLK_S_OK);
		return !through;
	case 1:
		prepare(r, VIRTIO_BLK_T_IN, behind, sectors * SECTOR, VIRTIO_BLK_S_IOERR);
		return 1;
	case 2:
		prepare(r, VIRTIO_BLK_T_OUT, behind, sectors * SECTOR, VIRTIO_BLK_S_IOERR);
		return 1;
	case 3:
		prepare(r, TYPE_UNKNOWN, 0, 0, VIRTIO_BLK_S_UNSUPP);
		return 1;
	case 4:
		return choose_range(n, VIRTIO_BLK_T_WRITE_ZEROES);
	case 5:
		return choose_range(n, VIRTIO_BLK_T_DISCARD);
	}
	return 0;
}

static void halt(void)
{
	for (;;)
		sti_hlt();
}

static void check(struct request *r)
{
	const char *wrong = request_gather(r);

	if (wrong)
		fail("request %u of %u bytes: %s", r->type, r->bytes, wrong);
	into_digest(r->status);
	if (stay && r->status == VIRTIO_BLK_S_IOERR && r->want != r->status) {
		printf("disk: told of an error: request %u, sector %lu, %u bytes\n", r->type, r->sector,
		       r->bytes);
		halt();
	}
	if (r->status != r->want)
		fail("request %u, sector %lu, %u bytes: status %u, not %u", r->type, r->sector,
		     r->bytes, r->status, r->want);
	if (r->used < 1 || (r->status == VIRTIO_BLK_S_OK && r->type != VIRTIO_BLK_T_GET_ID &&
			    r->used != 1 + (r->type == VIRTIO_BLK_T_IN ? r->bytes : 0)))
		fail("request %u, sector %lu, %u bytes: %u bytes used", r->type, r->sector,
		     r->bytes, r->used);
	if (r->type == VIRTIO_BLK_T_IN && r->status == VIRTIO_BLK_S_OK)
		compare(request_stream, place_of(r->sector), r->sectors);
}

/* Submit the first @n requests, wait for them, look at each. */
static void carry_out(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (request_gives(requests + i))
			fill(requests + i);
		request_lay_out(requests + i, &layout_state, plain);
		submit(requests + i);
	}
	queue_kick(&queue);
	while (queue.in_flight)
		await();
	for (unsigned int i = 0; i < n; i++)
		check(requests + i);
}

static void round(unsigned long number)
{
	unsigned int want = 1 + work(SLOTS), n = 0, reads = 0, written_to = 0, odd;

	/* The first round has one of each kind. */
	for (unsigned int kind = 0; kind < (only ? 0 : discards ? 6 : 4); kind++) {
		if (work(kind ? 16 : 4) && number > 1)
			continue;
		n += choose_odd(n, kind);
	}
	odd = n;
	for (; n < SLOTS && n < odd + want && choose(n, 0); n++) {
		reads += requests[n].type == VIRTIO_BLK_T_IN;
		written_to += requests[n].type == VIRTIO_BLK_T_OUT;
	}
	carry_out(n);
	printf("disk: %lu: %u reads, %u writes, %u others, hash %016lx\n", number, reads,
	       written_to, n - reads - written_to, digest);
}

static uint64_t sum_of_rooms(void)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < SLOTS; i++)
		for (unsigned int at = 0; at < ROOM; at += 8)
			sum = (sum ^ *(uint64_t *)(requests[i].room + at)) * 0x100000001b3;
	return sum;
}

/*
 * Reset the device while it reads, or reads and writes: it must leave memory alone from then on.
 * What it was to write is there or is not, sector by sector.
 * Return: how many of the requests, the first ones, were such writes.
 */
static unsigned int cut_off(void)
{
	unsigned int n = 0, writing = 0;
	int only_reads = layout(2);
	uint64_t sum;

	while (n < SLOTS && choose(n, only_reads))
		n++;
	for (unsigned int i = 0; i < n; i++) {
		struct request *r = requests + i;
		uint32_t at = place_of(r->sector);

		for (uint32_t j = 0; r->type == VIRTIO_BLK_T_OUT && j < r->sectors; j++)
			pattern(OUT_DATA + j * SECTOR_WORDS, at + j, CUT_OFF);
		request_lay_out(r, &layout_state, plain);
		submit(r);
	}
	queue_kick(&queue);
	virtio_reset(&virtio);
	sum = sum_of_rooms();
	set_up();
	if (sum_of_rooms() != sum)
		fail("the device writes to memory after a reset");
	for (unsigned int i = 0; i < n; i++) {
		struct request *r = requests + i;

		if (r->type == VIRTIO_BLK_T_OUT)
			prepare(requests + writing++, VIRTIO_BLK_T_IN, r->sector, r->bytes,
				VIRTIO_BLK_S_OK);
	}
	return writing;
}

/* The disk is as before in the end, and so is what there is to do. */
static void reset_in_flight(void)
{
	uint64_t state = work_state, seen = digest;
	unsigned int n = cut_off();

	settling = 1;
	carry_out(n);
	for (unsigned int i = 0; i < n; i++)
		prepare(requests + i, VIRTIO_BLK_T_OUT, requests[i].sector, requests[i].bytes,
			VIRTIO_BLK_S_OK);
	carry_out(n);
	settling = 0;
	work_state = state;
	digest = seen;
}

static void print_id(void)
{
	char id[VIRTIO_BLK_ID_BYTES + 1] = "";

	prepare(requests, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_OK);
	carry_out(1);
	/* What the device did not write is as lay_out() left it. */
	for (unsigned int i = 0; i < VIRTIO_BLK_ID_BYTES && ((uint8_t *)request_stream)[i] != 0xee; i++)
		id[i] = ((char *)request_stream)[i];
	printf("disk: id \"%s\"\n", id);
}

static void read_everything(void)
{
	for (uint32_t at = 0; at < used_sectors; ) {
		unsigned int n;

		for (n = 0; n < SLOTS && at < used_sectors; n++) {
			uint32_t half = at < used_sectors / 2 ? used_sectors / 2 : used_sectors;
			uint32_t sectors = half - at < LARGEST ? half - at : LARGEST;

			prepare(requests + n, VIRTIO_BLK_T_IN, sector_of(at), sectors * SECTOR,
				VIRTIO_BLK_S_OK);
			at += sectors;
		}
		carry_out(n);
	}
}

/* Show the device a bad ring, see what it makes of it, and reset it. */
static void hostile(const char *how)
{
	unsigned long wait = rt_option("wait", 1000);
	const char *wrong = queue_spoil(&queue, SPOIL_DISK, how);

	if (wrong)
		fail("%s", wrong);
	queue_kick(&queue);
	while (wait-- && !queue_used(&queue) &&
	       !(virtio.common->device_status & VIRTIO_STATUS_BROKEN))
		for (int i = 0; i < 20000 && !queue_used(&queue); i++)
			;
	printf("disk: hostile ");
	while (*how > ' ')
		putchar(*how++);
	printf(": device %02x used %u\n", virtio.common->device_status, queue_used(&queue));
	virtio_reset(&virtio);
}

int guest(void)
{
	unsigned long rounds = rt_option("rounds", 20), number = 0;
	const char *hostility = rt_word("hostile"), *wrong;
	int resets = !!rt_word("reset");

	polling = !!rt_word("poll");
	indirect = !!rt_word("indirect");
	plain = !!rt_word("plain");
	discards = !!rt_word("discard");
	readonly = !!rt_word("ro");
	through = !!rt_word("through");
	only = rt_word("only");
	if (rt_word("dirty"))
		for (uint32_t i = 0; i < MOST; i++)
			versions[i] = ANY;
	stay = !!rt_word("stay");
	seed = rt_option("seed", 1);
	work_state = request_mix(seed);
	layout_state = request_mix(~seed);
	rt_apic_on();
	rt_on(VECTOR, on_interrupt);
	rt_on(VECTOR + 1, on_change);

	wrong = virtio_find(&virtio, VIRTIO_ID_BLOCK);
	if (wrong)
		fail("%s", wrong);
	capacity = *(volatile uint64_t *)virtio.config;
	used_sectors = rt_option("sectors", 8192);
	if (used_sectors > capacity)
		used_sectors = capacity;
	if (used_sectors < 4 * LARGEST || used_sectors > MOST)
		fail("%u sectors of %lu: must be %u to %u", used_sectors, capacity, 4 * LARGEST,
		     MOST);
	printf("disk: %lu sectors, %u of them used, seed %lu\n", capacity, used_sectors, seed);

	if (hostility) {
		int with_indirect = indirect;

		polling = 1;
		indirect = 1;
		set_up();
		hostile(hostility);
		if (!rt_word("again"))
			return 0;
		polling = !!rt_word("poll");
		indirect = with_indirect;
	}
	set_up();
	print_id();
	while (!rounds || number < rounds) {
		round(++number);
		if (resets && !layout(4))
			reset_in_flight();
	}
	virtio_reset(&virtio);
	set_up();
	read_everything();
	/* what became of the last writes is for others to compare */
	if (resets)
		cut_off();
	printf("disk: good %lu rounds %016lx\n", number, digest);
	if (stay)
		halt();
	return 0;
}
