// SPDX-License-Identifier: GPL-2.0
/*
 * Log records. The input is a log that nobody encoded, or a record's fields.
 * Whatever it is: what the decoder takes is what an encoder would have written;
 * what it refuses leaves no trace; and how the log was cut on its way makes no
 * difference.
 */
#include "fuzz.h"
#include "../../kmod/core/record.h"
#include "../../kmod/core/ring.h"

static bool same_codec(const struct ftkvm_codec *a, const struct ftkvm_codec *b)
{
	return a->count == b->count && a->rip == b->rip && a->tsc == b->tsc;
}

static bool same_rec(const struct ftkvm_rec *a, const struct ftkvm_rec *b)
{
	if (a->type != b->type || a->flags != b->flags || a->digest != b->digest ||
	    a->base != b->base ||
	    memcmp(&a->point, &b->point, sizeof(a->point)) ||
	    memcmp(a->hash, b->hash, sizeof(a->hash)))
		return false;
	switch (a->type) {
	case FTKVM_REC_END:
		return a->end.next_len == b->end.next_len && a->end.ninputs == b->end.ninputs &&
		       !memcmp(a->end.inputs, b->end.inputs,
			       a->end.ninputs * sizeof(a->end.inputs[0]));
	case FTKVM_REC_ENV:
		return a->env.len == b->env.len &&
		       !memcmp(a->env.data, b->env.data, a->env.len);
	case FTKVM_REC_TSC:
		return a->tsc == b->tsc;
	case FTKVM_REC_OUT:
		return a->out_crc == b->out_crc;
	case FTKVM_REC_IMAGE:
	case FTKVM_REC_PAGES:
		return a->image.page == b->image.page && a->image.len == b->image.len &&
		       !memcmp(a->image.data, b->image.data, a->image.len);
	default:
		return a->stop_reason == b->stop_reason;
	}
}

/* Does the log carry hashes of this type's registers? */
static bool hashed(u8 type)
{
	return type == FTKVM_REC_END || type == FTKVM_REC_ENV || type == FTKVM_REC_OUT;
}

static bool sums(u8 type)
{
	return type == FTKVM_REC_IMAGE || type == FTKVM_REC_PAGES;
}

/* What the header says that a decoded record is. */
static void check_rec(const struct ftkvm_rec *rec, const u8 *buf, size_t len)
{
	u32 i;

	REQUIRE(rec->type >= FTKVM_REC_END && rec->type <= FTKVM_REC_PAGES);
	for (i = 0; i < FTKVM_NREGS; i++) {
		if (!hashed(rec->type))
			REQUIRE(!rec->hash[i]);
		else if (rec->type != FTKVM_REC_END)
			REQUIRE(rec->hash[i] <= 0xf);
	}
	if (rec->type != FTKVM_REC_END && !sums(rec->type))
		REQUIRE(!rec->point.rcx);
	REQUIRE(!(rec->flags & FTKVM_RECF_BASE) == !rec->base);
	switch (rec->type) {
	case FTKVM_REC_END:
		REQUIRE(!(rec->flags & ~(FTKVM_RECF_SNAP | FTKVM_RECF_HALT | FTKVM_RECF_BASE)));
		REQUIRE(rec->end.ninputs <= FTKVM_REC_MAX_INPUTS);
		for (i = 0; i < rec->end.ninputs; i++) {
			const struct ftkvm_input *in = &rec->end.inputs[i];

			REACHED("an END with inputs decoded");
			REQUIRE(in->kind < FTKVM_INPUT_KINDS);
			/* of a device's input the two say which queue it is */
			if (in->kind >= FTKVM_INPUT_DEV_START &&
			    in->kind <= FTKVM_INPUT_DEV_SUM) {
				if (in->vector && in->level > 1)
					REACHED("a device's input decoded");
				if (in->kind == FTKVM_INPUT_DEV_SUM)
					REACHED("a disk's sum decoded");
				continue;
			}
			REQUIRE(in->level <= (in->kind == FTKVM_INPUT_FIXED));
			if (in->kind == FTKVM_INPUT_NMI || in->kind == FTKVM_INPUT_SMI ||
			    in->kind == FTKVM_INPUT_INIT)
				REQUIRE(!in->vector);
		}
		break;
	case FTKVM_REC_ENV:
		REQUIRE(!(rec->flags & ~(FTKVM_RECF_SNAP | FTKVM_RECF_MORE)));
		REQUIRE(rec->env.len <= FTKVM_REC_MAX_DATA);
		REQUIRE(rec->env.data >= buf && rec->env.data + rec->env.len == buf + len);
		break;
	case FTKVM_REC_STOP:
		REQUIRE(!rec->flags);
		break;
	case FTKVM_REC_IMAGE:
	case FTKVM_REC_PAGES:
		REQUIRE(!(rec->flags & ~(FTKVM_RECF_SNAP | FTKVM_RECF_HALT | FTKVM_RECF_BASE)));
		REQUIRE(rec->image.len && rec->image.len <= FTKVM_REC_MAX_DATA);
		REQUIRE(!(rec->image.len % (rec->type == FTKVM_REC_PAGES ? 8 : 4)));
		REQUIRE(rec->image.data >= buf && rec->image.data + rec->image.len == buf + len);
		REACHED("a verification decoded");
		break;
	default:
		REQUIRE(!(rec->flags & ~FTKVM_RECF_SNAP));
	}
}

/* Take all items; each asked for wrongly first. */
static void check_items(const u8 *items, u32 len)
{
	u8 *data = exact_copy(items, len), *again = malloc(len);
	u8 val[FTKVM_REC_MAX_DATA];
	u32 pos = 0, end = 0;

	while (pos < len) {
		u32 was = pos, item_len = 0, at = pos + 1, shift = 0;
		u8 kind = data[pos];

		do {
			item_len |= (data[at] & 0x7f) << shift;
			shift += 7;
		} while (data[at++] & 0x80);

		REQUIRE(ftkvm_env_get(data, len, &pos, kind + 1, val, item_len) == -EBADMSG);
		REQUIRE(ftkvm_env_get(data, len, &pos, kind, val, item_len + 1) == -EBADMSG);
		REQUIRE(pos == was);
		REQUIRE(!ftkvm_env_get(data, len, &pos, kind, val, item_len));
		REQUIRE(pos == at + item_len && !memcmp(val, data + at, item_len));
		REQUIRE(!ftkvm_env_put(again, len, &end, kind, val, item_len));
		REACHED("an ENV item taken");
	}
	REQUIRE(ftkvm_env_get(data, len, &pos, 0, val, 0) == -ENODATA && pos == len);
	REQUIRE(end == len && (!len || !memcmp(again, data, len)));
	free(again);
	free(data);
}

/* One record off @buf; like ftkvm_rec_decode(), with all that must hold around it. */
static int take(struct ftkvm_codec *c, const u8 *buf, size_t len, u8 cut)
{
	const struct ftkvm_codec before = *c;
	struct ftkvm_codec enc = before;
	struct ftkvm_rec rec, out;
	int size = ftkvm_rec_size(buf, len);
	int ret = ftkvm_rec_decode(c, buf, len, &rec);
	u8 *again, *part;

	if (ret < 0) {
		REQUIRE(ret == -EAGAIN || ret == -EBADMSG);
		REQUIRE(size == ret || (size > 0 && ret == -EBADMSG));
		REQUIRE(same_codec(c, &before));
		/* what is malformed can't become well-formed, or wait for ever */
		REQUIRE(ret == -EBADMSG || len < FTKVM_REC_MAX);
		return ret;
	}
	REQUIRE(ret > 0 && (size_t)ret <= len && ret <= FTKVM_REC_MAX && size == ret);
	check_rec(&rec, buf, ret);
	if (rec.type == FTKVM_REC_ENV)
		check_items(rec.env.data, rec.env.len);

	/* there and back, into room that is just enough, and too little */
	again = malloc(ret);
	REQUIRE(ftkvm_rec_encode(&enc, &rec, again, ret - 1) == -ENOSPC);
	REQUIRE(same_codec(&enc, &before));
	REQUIRE(ftkvm_rec_encode(&enc, &rec, again, ret) == ret);
	REQUIRE(!memcmp(again, buf, ret) && same_codec(&enc, c));
	enc = before;
	REQUIRE(ftkvm_rec_decode(&enc, again, ret, &out) == ret);
	REQUIRE(same_rec(&out, &rec) && same_codec(&enc, c));
	free(again);

	/* a part of it is no record yet */
	part = exact_copy(buf, cut % ret);
	enc = before;
	REQUIRE(ftkvm_rec_decode(&enc, part, cut % ret, &out) == -EAGAIN);
	REQUIRE(same_codec(&enc, &before));
	free(part);
	REACHED("a record decoded");
	return ret;
}

/* As the backup gets it: in pieces, through the ring. The same must come out. */
static void in_pieces(struct ftkvm_codec c, const struct ftkvm_codec *end, const u8 *log,
		      size_t len, size_t taken, int last, u8 step)
{
	struct ftkvm_ring ring = { };
	u8 buf[FTKVM_REC_MAX];
	u64 consumed = 0;
	size_t head = 0;
	int ret = -EAGAIN;

	REQUIRE(!ftkvm_ring_init(&ring, 8192));
	for (;;) {
		struct ftkvm_rec rec;
		u32 n = ftkvm_ring_peek(&ring, consumed, buf, sizeof(buf));

		ret = n ? ftkvm_rec_decode(&c, buf, n, &rec) : -EAGAIN;
		if (ret > 0) {
			consumed += ret;
			ftkvm_ring_release(&ring, ret);
			continue;
		}
		if (ret == -EBADMSG || head == len)
			break;
		n = min_t(size_t, 1 + step, min_t(size_t, len - head, ftkvm_ring_space(&ring)));
		REQUIRE(n && !ftkvm_ring_write(&ring, log + head, n));
		head += n;
		step = step * 5 + 3;
	}
	REQUIRE(consumed == taken && ret == last && same_codec(&c, end));
	ftkvm_ring_free(&ring);
}

static struct ftkvm_codec feed_codec(struct feed *f)
{
	struct ftkvm_codec c;

	c.count = feed_u64(f);
	c.rip = feed_u64(f);
	c.tsc = feed_u64(f);
	return c;
}

static void decode_log(struct feed *f)
{
	struct ftkvm_codec start = feed_codec(f), c = start;
	u8 cut = feed_u8(f), step = feed_u8(f);
	size_t at = 0, len = feed_left(f);
	u8 *log = feed_copy(f, &len);
	unsigned int n = 0;
	int ret;

	while ((ret = take(&c, log + at, len - at, cut)) > 0) {
		at += ret;
		cut = cut * 5 + 3;
		n++;
	}
	if (n > 2)
		REACHED("a log of some records decoded");
	in_pieces(start, &c, log, len, at, ret, step);
	free(log);
}

/* A record of any fields, as the vCPU thread might ask for: encoded, or refused. */
static void encode_fields(struct feed *f)
{
	struct ftkvm_codec before = feed_codec(f), enc = before, dec = before;
	struct ftkvm_rec rec = { .type = feed_u8(f) }, out;
	u8 buf[FTKVM_REC_MAX], *items = NULL;
	size_t len;
	int ret, i;

	rec.flags = feed_u8(f);
	rec.point.count = before.count + feed_u64(f);
	rec.point.rip = feed_u64(f);
	rec.digest = feed_le(f, 4);
	if (rec.flags & FTKVM_RECF_BASE)
		rec.base = feed_le(f, 4);
	for (i = 0; i < FTKVM_NREGS; i++)
		rec.hash[i] = feed_u8(f);
	switch (rec.type) {
	case FTKVM_REC_END:
		rec.point.rcx = feed_u64(f);
		rec.end.next_len = feed_u64(f);
		rec.end.ninputs = feed_u8(f);
		for (i = 0; i < rec.end.ninputs && i < FTKVM_REC_MAX_INPUTS; i++) {
			rec.end.inputs[i].kind = feed_u8(f);
			rec.end.inputs[i].vector = feed_u8(f);
			rec.end.inputs[i].level = feed_u8(f);
		}
		break;
	case FTKVM_REC_ENV:
		len = feed_left(f);
		items = feed_copy(f, &len);
		rec.env.data = items;
		rec.env.len = len;
		break;
	case FTKVM_REC_TSC:
		rec.tsc = feed_u64(f);
		break;
	case FTKVM_REC_OUT:
		rec.out_crc = feed_le(f, 4);
		break;
	case FTKVM_REC_IMAGE:
	case FTKVM_REC_PAGES:
		rec.point.rcx = feed_u64(f);
		rec.image.page = feed_u64(f);
		len = feed_left(f);
		items = feed_copy(f, &len);
		rec.image.data = items;
		rec.image.len = len;
		break;
	default:
		rec.stop_reason = feed_u64(f);
	}

	ret = ftkvm_rec_encode(&enc, &rec, buf, sizeof(buf));
	if (ret < 0) {
		REQUIRE(ret == -EINVAL && same_codec(&enc, &before));
		REACHED("a record refused by the encoder");
	} else {
		REQUIRE(ret <= FTKVM_REC_MAX);
		REQUIRE(ftkvm_rec_decode(&dec, buf, ret, &out) == ret);
		REQUIRE(same_codec(&enc, &dec));
		check_rec(&out, buf, ret);
		/* what the log does not carry is not there */
		if (!hashed(rec.type))
			memset(rec.hash, 0, sizeof(rec.hash));
		else if (rec.type != FTKVM_REC_END)
			for (i = 0; i < FTKVM_NREGS; i++)
				rec.hash[i] &= 0xf;
		REQUIRE(same_rec(&out, &rec));
		REACHED("a record encoded from its fields");
	}
	free(items);
}

/* Items as they never come out of a record, asked for as the input has it. */
static void any_items(struct feed *f)
{
	u8 nask = feed_u8(f) % 8, ask[8][2], val[256];
	size_t len;
	u8 *data;
	u32 pos;
	int i;

	pos = feed_u8(f) % 16;
	for (i = 0; i < nask; i++) {
		ask[i][0] = feed_u8(f) % (FTKVM_ENV_KINDS + 1);
		ask[i][1] = feed_u8(f);
	}
	len = feed_left(f);
	data = feed_copy(f, &len);
	for (i = 0; i < nask; i++) {
		u32 was = pos;
		int ret = ftkvm_env_get(data, len, &pos, ask[i][0], val, ask[i][1]);

		if (ret) {
			REQUIRE(pos == was);
			REQUIRE(ret == (pos == len ? -ENODATA : -EBADMSG));
		} else {
			REQUIRE(pos <= len && pos >= was + 2 + ask[i][1]);
			REQUIRE(ask[i][0] < FTKVM_ENV_KINDS);
			REQUIRE(!memcmp(val, data + pos - ask[i][1], ask[i][1]));
			REACHED("an item of noise taken");
		}
	}
	free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, data + size };

	switch (feed_u8(&f) % 4) {
	case 0:
		encode_fields(&f);
		break;
	case 1:
		any_items(&f);
		break;
	default:
		decode_log(&f);
	}
	return 0;
}

/* Each type of record, and a log of all. */
void fuzz_seeds(void)
{
	static const u8 items[] = { FTKVM_ENV_PIO, 1, 0xaa, FTKVM_ENV_MSR, 2, 0x34, 0x12 };
	struct ftkvm_rec recs[] = {
		{ .type = FTKVM_REC_TSC, .point = { 100, 0x1000, 0 }, .tsc = 1000 },
		{ .type = FTKVM_REC_END, .flags = FTKVM_RECF_SNAP, .point = { 300, 0x1002, 0x80 },
		  .end = { 1000, 2, { { FTKVM_INPUT_FIXED, 0xef, 1 },
				      { FTKVM_INPUT_NMI, 0, 0 } } } },
		{ .type = FTKVM_REC_END, .flags = FTKVM_RECF_HALT, .point = { 301, 0x1002, 0 } },
		{ .type = FTKVM_REC_END, .point = { 301, 0x1002, 1 },
		  .end = { 1000, 4, { { FTKVM_INPUT_DEV_START, 3, 1 },
				      { FTKVM_INPUT_DEV_OK, 255, 2 },
				      { FTKVM_INPUT_DEV_DONE, 3, 255 },
				      { FTKVM_INPUT_DEV_SUM, 3, 0 } } } },
		{ .type = FTKVM_REC_ENV, .flags = FTKVM_RECF_MORE, .point = { 301, 0x1002, 0 },
		  .env = { items, sizeof(items) } },
		{ .type = FTKVM_REC_OUT, .point = { 301, 0x1002, 0 }, .out_crc = 0xcafef00d },
		{ .type = FTKVM_REC_STOP, .point = { 302, 0x1002, 0 }, .stop_reason = 300 },
		{ .type = FTKVM_REC_IMAGE, .flags = FTKVM_RECF_HALT, .point = { 302, 0x1002, 7 },
		  .image = { 512, (const u8 *)"checksum", 8 } },
		{ .type = FTKVM_REC_PAGES, .flags = FTKVM_RECF_HALT, .point = { 302, 0x1002, 7 },
		  .image = { 0, (const u8 *)"checksums of two", 16 } },
	};
	static u8 big[FTKVM_REC_MAX_DATA];
	struct ftkvm_codec all = { };
	struct seed s = { }, log = { };
	u8 buf[FTKVM_REC_MAX];
	size_t i;
	u32 pos = 0;
	int len;

	seed_bytes(&log, "\2\0\0\0\5\7", 6);
	for (i = 0; i < ARRAY_SIZE(recs); i++) {
		struct ftkvm_codec c = { };

		len = ftkvm_rec_encode(&c, &recs[i], buf, sizeof(buf));
		REQUIRE(len > 0);
		seed_bytes(&s, "\2\0\0\0\3\7", 6);
		seed_bytes(&s, buf, len);
		seed_done(&s);
		len = ftkvm_rec_encode(&all, &recs[i], buf, sizeof(buf));
		REQUIRE(len > 0);
		seed_bytes(&log, buf, len);

		/* the same by its fields */
		seed_bytes(&s, "\0\0\0\0", 4);
		seed_le(&s, recs[i].type, 1);
		seed_le(&s, recs[i].flags, 1);
		seed_u64(&s, recs[i].point.count);
		seed_u64(&s, recs[i].point.rip);
		seed_bytes(&s, big, 4 + FTKVM_NREGS);
		if (recs[i].type == FTKVM_REC_ENV)
			seed_bytes(&s, items, sizeof(items));
		else
			seed_bytes(&s, "\x28\0\x28\0\1\0\xef\1", 8);
		seed_done(&s);
	}
	seed_done(&log);

	REQUIRE(!ftkvm_env_put(big, sizeof(big), &pos, FTKVM_ENV_PIO, buf, 4000));
	recs[4].env.data = big;
	recs[4].env.len = pos;
	all = (struct ftkvm_codec) { };
	len = ftkvm_rec_encode(&all, &recs[4], buf, sizeof(buf));
	seed_bytes(&s, "\2\0\0\0\3\x80", 6);
	seed_bytes(&s, buf, len);
	seed_done(&s);

	seed_bytes(&s, "\1\2\0\0\1\3\2", 7);
	seed_bytes(&s, items, sizeof(items));
	seed_done(&s);
}
