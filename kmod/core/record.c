// SPDX-License-Identifier: GPL-2.0
/*
 * The codec of log records.
 *
 * Every record has exactly one wire form, and the decoder takes no other:
 * varints are as short as they can be, unused flags and fields are zero, and
 * the body ends where its last field does. What decodes is thus what some
 * encoder meant, and a byte that was changed shows up as early as it can.
 */
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/string.h>
#include <asm/byteorder.h>

#include "image.h"
#include "record.h"

#define FTKVM_VARINT_MAX	10	/* bytes that hold 64 bits, 7 in each */
#define FTKVM_PREFIX_MAX	2	/* bytes of any length that is allowed */
#define FTKVM_BODY_MIN		7	/* type, count, rip, digest */
#define FTKVM_HASH_LOW		(FTKVM_NREGS / 2)	/* bytes: 4 bits a register */

static_assert(FTKVM_NREGS % 2 == 0);
static_assert(FTKVM_REC_MAX < 1 << (7 * FTKVM_PREFIX_MAX));
static_assert(FTKVM_REC_MAX - FTKVM_REC_MAX_DATA >=
	      FTKVM_PREFIX_MAX + 1 + 4 * FTKVM_VARINT_MAX + 4 + FTKVM_HASH_LOW);
static_assert(FTKVM_IMAGE_MAX * sizeof(__le32) <= FTKVM_REC_MAX_DATA);
static_assert(FTKVM_PREFIX_MAX + 1 + 6 * FTKVM_VARINT_MAX + 4 +
	      3 * FTKVM_REC_MAX_INPUTS + FTKVM_NREGS <= FTKVM_REC_MAX);

/* Flags that a type of record may carry. */
static const u8 ftkvm_rec_flags[] = {
	[FTKVM_REC_END] = FTKVM_RECF_SNAP | FTKVM_RECF_HALT | FTKVM_RECF_BASE,
	[FTKVM_REC_ENV] = FTKVM_RECF_SNAP | FTKVM_RECF_MORE,
	[FTKVM_REC_TSC] = FTKVM_RECF_SNAP,
	[FTKVM_REC_OUT] = FTKVM_RECF_SNAP,
	[FTKVM_REC_STOP] = 0,
	[FTKVM_REC_IMAGE] = FTKVM_RECF_SNAP | FTKVM_RECF_HALT | FTKVM_RECF_BASE,
	[FTKVM_REC_PAGES] = FTKVM_RECF_SNAP | FTKVM_RECF_HALT | FTKVM_RECF_BASE,
};

/*
 * Writing. Bytes behind the end are counted, not stored. All inline: as calls, they
 * take several times the instructions.
 */
struct ftkvm_put {
	u8 *buf;
	size_t size;
	size_t pos;
	bool fits;	/* for sure */
};

static __always_inline void put_bytes(struct ftkvm_put *p, const void *data, size_t len)
{
	if (p->fits || (len <= p->size && p->pos <= p->size - len))
		memcpy(p->buf + p->pos, data, len);
	p->pos += len;
}

static __always_inline void put_u8(struct ftkvm_put *p, u8 val)
{
	if (p->fits || p->pos < p->size)
		p->buf[p->pos] = val;
	p->pos++;
}

static __always_inline void put_le32(struct ftkvm_put *p, u32 val)
{
	__le32 le = cpu_to_le32(val);

	put_bytes(p, &le, sizeof(le));
}

static __always_inline void put_varint(struct ftkvm_put *p, u64 val)
{
	while (val >= 0x80) {
		put_u8(p, val | 0x80);
		val >>= 7;
	}
	put_u8(p, val);
}

/* Differences wrap: all of u64 is reachable from everywhere. */
static __always_inline void put_delta(struct ftkvm_put *p, u64 val, u64 prev)
{
	u64 d = val - prev;

	put_varint(p, (d << 1) ^ ((s64)d >> 63));
}

static __always_inline void put_hash_low(struct ftkvm_put *p, const u8 hash[FTKVM_NREGS])
{
	int i;

	for (i = 0; i < FTKVM_NREGS; i += 2)
		put_u8(p, (hash[i] & 0xf) | hash[i + 1] << 4);
}

/* Reading. The first failure sticks; what is read after it is zero. */
struct ftkvm_get {
	const u8 *buf;
	size_t size;
	size_t pos;
	bool bad;
};

static const u8 *get_bytes(struct ftkvm_get *g, u64 len)
{
	const u8 *at = g->buf + g->pos;

	if (g->bad || len > g->size - g->pos) {
		g->bad = true;
		return NULL;
	}
	g->pos += len;
	return at;
}

static u8 get_u8(struct ftkvm_get *g)
{
	const u8 *at = get_bytes(g, 1);

	return at ? *at : 0;
}

static u32 get_le32(struct ftkvm_get *g)
{
	const u8 *at = get_bytes(g, sizeof(__le32));
	__le32 le = 0;

	if (at)
		memcpy(&le, at, sizeof(le));
	return le32_to_cpu(le);
}

static u64 get_varint(struct ftkvm_get *g)
{
	u64 val = 0;
	int i;

	for (i = 0; i < FTKVM_VARINT_MAX; i++) {
		u8 byte = get_u8(g);

		if (g->bad)
			return 0;
		/* the tenth byte has room for bit 63 alone */
		if (i == FTKVM_VARINT_MAX - 1 && byte > 1)
			break;
		val |= (u64)(byte & 0x7f) << (7 * i);
		if (byte & 0x80)
			continue;
		/* a last byte of zero: there is a shorter form */
		if (i && !byte)
			break;
		return val;
	}
	g->bad = true;
	return 0;
}

static u64 get_delta(struct ftkvm_get *g, u64 prev)
{
	u64 z = get_varint(g);

	return prev + ((z >> 1) ^ -(z & 1));
}

static void get_hash_low(struct ftkvm_get *g, u8 hash[FTKVM_NREGS])
{
	int i;

	for (i = 0; i < FTKVM_NREGS; i += 2) {
		u8 pair = get_u8(g);

		hash[i] = pair & 0xf;
		hash[i + 1] = pair >> 4;
	}
}

static bool ftkvm_input_valid(const struct ftkvm_input *in)
{
	switch (in->kind) {
	case FTKVM_INPUT_FIXED:
		return in->level <= 1;
	case FTKVM_INPUT_EXTINT:
	case FTKVM_INPUT_SIPI:
		return !in->level;
	case FTKVM_INPUT_NMI:
	case FTKVM_INPUT_SMI:
	case FTKVM_INPUT_INIT:
		return !in->level && !in->vector;
	case FTKVM_INPUT_DEV_START:
	case FTKVM_INPUT_DEV_OK:
	case FTKVM_INPUT_DEV_DONE:
	case FTKVM_INPUT_DEV_SUM:
		return true;
	default:
		return false;
	}
}

/* The header of the item at *@pos; its data begins where *@pos is left. */
static bool ftkvm_env_next(struct ftkvm_get *g, u8 *kind, u64 *len)
{
	*kind = get_u8(g);
	*len = get_varint(g);
	return !g->bad && *kind < FTKVM_ENV_KINDS && *len <= g->size - g->pos;
}

static bool ftkvm_env_valid(const u8 *data, u32 len)
{
	struct ftkvm_get g = { .buf = data, .size = len };
	u64 item_len;
	u8 kind;

	/* Each turn takes two bytes or more. */
	while (g.pos < g.size) {
		if (!ftkvm_env_next(&g, &kind, &item_len))
			return false;
		get_bytes(&g, item_len);
	}
	return true;
}

static bool ftkvm_sums_valid(const struct ftkvm_rec *rec, u32 size)
{
	return rec->image.len && rec->image.len <= FTKVM_REC_MAX_DATA && !(rec->image.len % size);
}

static __always_inline bool ftkvm_rec_valid(const struct ftkvm_rec *rec)
{
	int i;

	if (rec->type < FTKVM_REC_END || rec->type > FTKVM_REC_PAGES)
		return false;
	if (rec->flags & ~ftkvm_rec_flags[rec->type])
		return false;
	/* one form for each */
	if (!(rec->flags & FTKVM_RECF_BASE) != !rec->base)
		return false;

	switch (rec->type) {
	case FTKVM_REC_END:
		if (rec->end.ninputs > FTKVM_REC_MAX_INPUTS)
			return false;
		for (i = 0; i < rec->end.ninputs; i++)
			if (!ftkvm_input_valid(&rec->end.inputs[i]))
				return false;
		return true;
	case FTKVM_REC_ENV:
		return rec->env.len <= FTKVM_REC_MAX_DATA &&
		       ftkvm_env_valid(rec->env.data, rec->env.len);
	case FTKVM_REC_IMAGE:
		return ftkvm_sums_valid(rec, sizeof(__le32));
	case FTKVM_REC_PAGES:
		return ftkvm_sums_valid(rec, sizeof(struct ftkvm_page_sum));
	default:
		return true;
	}
}

/* What it takes to land, beside the point that all records have. */
static __always_inline void ftkvm_put_place(struct ftkvm_put *p, const struct ftkvm_rec *rec)
{
	put_varint(p, rec->point.rcx);
	if (rec->flags & FTKVM_RECF_BASE)
		put_varint(p, rec->base);
}

static __always_inline void ftkvm_put_body(struct ftkvm_put *p, const struct ftkvm_codec *c,
					   const struct ftkvm_rec *rec)
{
	int i;

	put_u8(p, rec->type | rec->flags << 4);
	put_varint(p, rec->point.count - c->count);
	put_delta(p, rec->point.rip, c->rip);
	put_le32(p, rec->digest);

	switch (rec->type) {
	case FTKVM_REC_END:
		ftkvm_put_place(p, rec);
		put_varint(p, rec->end.next_len);
		put_varint(p, rec->end.ninputs);
		for (i = 0; i < rec->end.ninputs; i++) {
			put_u8(p, rec->end.inputs[i].kind);
			put_u8(p, rec->end.inputs[i].vector);
			put_u8(p, rec->end.inputs[i].level);
		}
		put_bytes(p, rec->hash, FTKVM_NREGS);
		break;
	case FTKVM_REC_ENV:
		put_hash_low(p, rec->hash);
		put_bytes(p, rec->env.data, rec->env.len);
		break;
	case FTKVM_REC_TSC:
		put_delta(p, rec->tsc, c->tsc);
		break;
	case FTKVM_REC_OUT:
		put_hash_low(p, rec->hash);
		put_le32(p, rec->out_crc);
		break;
	case FTKVM_REC_STOP:
		put_varint(p, rec->stop_reason);
		break;
	case FTKVM_REC_IMAGE:
	case FTKVM_REC_PAGES:
		ftkvm_put_place(p, rec);
		put_varint(p, rec->image.page);
		put_bytes(p, rec->image.data, rec->image.len);
		break;
	}
}

static noinline size_t ftkvm_put_body_checked(u8 *buf, size_t size, const struct ftkvm_codec *c,
					      const struct ftkvm_rec *rec)
{
	struct ftkvm_put body = { .buf = buf, .size = size };

	ftkvm_put_body(&body, c, rec);
	return body.pos;
}

static void ftkvm_codec_advance(struct ftkvm_codec *c, const struct ftkvm_rec *rec)
{
	c->count = rec->point.count;
	c->rip = rec->point.rip;
	if (rec->type == FTKVM_REC_TSC)
		c->tsc = rec->tsc;
}

/**
 * ftkvm_rec_encode() - append a record's wire form to a buffer
 * @c: what the log's records so far have left behind; advances on success only
 * @rec: the record
 * @buf: where the wire form goes
 * @size: room at @buf; FTKVM_REC_MAX is enough for any record
 *
 * Context: Any.
 * Return: bytes written, -ENOSPC when @size is too small, -EINVAL for a record
 * that has no wire form: a type, flag, input or ENV item that there is none
 * of, too many inputs, too much data, a count behind the codec's.
 */
int ftkvm_rec_encode(struct ftkvm_codec *c, const struct ftkvm_rec *rec,
		     u8 *buf, size_t size)
{
	struct ftkvm_put prefix = { .buf = buf, .size = size };
	struct ftkvm_put body = { .buf = buf + 1, .fits = true };

	if (!ftkvm_rec_valid(rec) || rec->point.count < c->count)
		return -EINVAL;

	/* Nearly all bodies are so short that their length takes one byte. */
	if (likely(size >= FTKVM_REC_MAX))
		ftkvm_put_body(&body, c, rec);
	else if (size)
		body.pos = ftkvm_put_body_checked(buf + 1, size - 1, c, rec);
	else
		body.pos = ftkvm_put_body_checked(NULL, 0, c, rec);
	put_varint(&prefix, body.pos);
	if (body.pos > size || prefix.pos > size - body.pos)
		return -ENOSPC;
	if (prefix.pos > 1)
		body.pos = ftkvm_put_body_checked(buf + prefix.pos, size - prefix.pos, c, rec);

	ftkvm_codec_advance(c, rec);
	return prefix.pos + body.pos;
}

static void ftkvm_get_place(struct ftkvm_get *g, struct ftkvm_rec *rec)
{
	u64 base;

	rec->point.rcx = get_varint(g);
	if (!(rec->flags & FTKVM_RECF_BASE))
		return;
	base = get_varint(g);
	rec->base = base;
	if (!base || base > U32_MAX)
		g->bad = true;
}

static void ftkvm_get_end(struct ftkvm_get *g, struct ftkvm_rec *rec)
{
	const u8 *hash;
	u64 n;
	int i;

	ftkvm_get_place(g, rec);
	rec->end.next_len = get_varint(g);
	n = get_varint(g);
	if (n > FTKVM_REC_MAX_INPUTS) {
		g->bad = true;
		return;
	}
	rec->end.ninputs = n;
	for (i = 0; i < n; i++) {
		rec->end.inputs[i].kind = get_u8(g);
		rec->end.inputs[i].vector = get_u8(g);
		rec->end.inputs[i].level = get_u8(g);
	}
	hash = get_bytes(g, FTKVM_NREGS);
	if (hash)
		memcpy(rec->hash, hash, FTKVM_NREGS);
}

static void ftkvm_get_body(struct ftkvm_get *g, const struct ftkvm_codec *c,
			   struct ftkvm_rec *rec)
{
	u8 first = get_u8(g);

	rec->type = first & 0xf;
	rec->flags = first >> 4;
	if (check_add_overflow(c->count, get_varint(g), &rec->point.count))
		g->bad = true;
	rec->point.rip = get_delta(g, c->rip);
	rec->digest = get_le32(g);

	switch (rec->type) {
	case FTKVM_REC_END:
		ftkvm_get_end(g, rec);
		break;
	case FTKVM_REC_ENV:
		get_hash_low(g, rec->hash);
		rec->env.len = g->size - g->pos;
		rec->env.data = get_bytes(g, rec->env.len);
		break;
	case FTKVM_REC_TSC:
		rec->tsc = get_delta(g, c->tsc);
		break;
	case FTKVM_REC_OUT:
		get_hash_low(g, rec->hash);
		rec->out_crc = get_le32(g);
		break;
	case FTKVM_REC_STOP:
		rec->stop_reason = get_varint(g);
		break;
	case FTKVM_REC_IMAGE:
	case FTKVM_REC_PAGES:
		ftkvm_get_place(g, rec);
		rec->image.page = get_varint(g);
		rec->image.len = g->size - g->pos;
		rec->image.data = get_bytes(g, rec->image.len);
		break;
	default:
		g->bad = true;
		break;
	}
}

/**
 * ftkvm_rec_size() - how long is the record at the front of a buffer?
 * @buf: log bytes
 * @len: how many there are
 *
 * Context: Any.
 * Return: bytes that the record takes, its length prefix included; -EAGAIN
 * when @buf holds no whole record yet, -EBADMSG when it never will.
 */
int ftkvm_rec_size(const u8 *buf, size_t len)
{
	struct ftkvm_get g = { .buf = buf, .size = min_t(size_t, len, FTKVM_PREFIX_MAX) };
	u64 body = get_varint(&g);

	if (g.bad) {
		/* more bytes help only where they may end the prefix */
		if (!len || (len < FTKVM_PREFIX_MAX && buf[0] & 0x80))
			return -EAGAIN;
		return -EBADMSG;
	}
	if (body < FTKVM_BODY_MIN || body > FTKVM_REC_MAX - g.pos)
		return -EBADMSG;
	if (body > len - g.pos)
		return -EAGAIN;
	return g.pos + body;
}

/**
 * ftkvm_rec_decode() - take one record off a buffer
 * @c: what the log's records so far have left behind; advances on success only
 * @buf: log bytes; nothing about them is taken on trust
 * @len: how many there are
 * @rec: filled in on success; rec->env.data points into @buf
 *
 * Context: Any.
 * Return: bytes consumed, -EAGAIN when @buf holds no whole record yet,
 * -EBADMSG when it never will.
 */
int ftkvm_rec_decode(struct ftkvm_codec *c, const u8 *buf, size_t len,
		     struct ftkvm_rec *rec)
{
	int size = ftkvm_rec_size(buf, len);
	struct ftkvm_get g = { .buf = buf };

	if (size < 0)
		return size;
	g.size = size;
	get_varint(&g);		/* the length: ftkvm_rec_size() has checked it */

	memset(rec, 0, sizeof(*rec));
	ftkvm_get_body(&g, c, rec);
	if (g.bad || g.pos != g.size || !ftkvm_rec_valid(rec))
		return -EBADMSG;

	ftkvm_codec_advance(c, rec);
	return size;
}

/**
 * ftkvm_env_put() - append an item to ENV data
 * @data: the items
 * @size: room at @data
 * @pos: bytes used so far; moves behind the item on success
 * @kind: enum ftkvm_env_kind
 * @val: what was read
 * @len: how many bytes of it
 *
 * Context: Any.
 * Return: 0, -ENOSPC when the item does not fit, -EINVAL for a kind that there
 * is none of.
 */
int ftkvm_env_put(u8 *data, u32 size, u32 *pos, u8 kind, const void *val, u32 len)
{
	struct ftkvm_put p = { .buf = data, .size = size, .pos = *pos };
	struct ftkvm_put measure = {};

	if (kind >= FTKVM_ENV_KINDS)
		return -EINVAL;

	put_varint(&measure, len);
	if (*pos > size || 1 + measure.pos + len > size - *pos)
		return -ENOSPC;

	put_u8(&p, kind);
	put_varint(&p, len);
	put_bytes(&p, val, len);
	*pos = p.pos;
	return 0;
}

/**
 * ftkvm_env_get() - take the next item off ENV data
 * @data: the items
 * @size: how many bytes of them
 * @pos: where the item begins; moves behind it on success
 * @kind: what the caller is about to read
 * @val: filled in
 * @len: how many bytes the caller reads
 *
 * Context: Any.
 * Return: 0, -ENODATA behind the last item, -EBADMSG when the item is another
 * than the caller's: the replicas do not do the same thing.
 */
int ftkvm_env_get(const u8 *data, u32 size, u32 *pos, u8 kind, void *val, u32 len)
{
	struct ftkvm_get g = { .buf = data, .size = size, .pos = *pos };
	u64 item_len;
	u8 item_kind;

	if (*pos > size)
		return -EBADMSG;
	if (*pos == size)
		return -ENODATA;
	if (!ftkvm_env_next(&g, &item_kind, &item_len) ||
	    item_kind != kind || item_len != len)
		return -EBADMSG;

	memcpy(val, get_bytes(&g, len), len);
	*pos = g.pos;
	return 0;
}
