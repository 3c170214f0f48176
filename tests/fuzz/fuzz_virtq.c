// SPDX-License-Identifier: GPL-2.0
/*
 * Virtqueues, and disks on them. The input is the guest's memory, where in it the
 * queue lies, and what is done with it. What is taken is compared with what a second
 * walk, as plain as can be, makes of the same memory; what is written, with memory
 * that the same bytes were put into one by one.
 */
#include "fuzz.h"
#include "virtq_world.h"

static const struct ftkvm_vblk disk = {
	.sectors = 64, .blk_size = 512, .seg_max = 2, .size_max = 4096, .queues = 1,
	.discard_sectors = 16, .discard_ranges = 2, .zeroes_sectors = 8, .zeroes_ranges = 1,
	.id = "fuzzed",
};

static long allocs_left = -1;

bool shim_out_of_memory(void)
{
	return allocs_left >= 0 && allocs_left-- == 0;
}

/* ---- chains as they are ---- */

static void check_queue(struct world *w)
{
	REQUIRE(w->q.used_idx == w->put && w->q.last_avail == w->taken);
	REQUIRE(!w->at.num || ftkvm_virtq_pending(&w->q) <= w->at.num);
}

static void copy_out(struct world *w, struct plain *p, struct ftkvm_vchain *c, struct feed *f)
{
	u32 off = feed_below(f, min(c->out_len, 300u) + 1);
	u32 len = feed_below(f, min(c->out_len - off, 300u) + 1);
	u8 *got = malloc(len), *want = malloc(len);
	int ret = ftkvm_vchain_read(&w->q, c, off, got, len);

	if (plain_read(w, p->seg, off, want, len))
		REQUIRE(!ret && !memcmp(got, want, len));
	else
		REQUIRE(ret == -EPROTO);
	free(got);
	free(want);
	if (ret)
		return;
	REQUIRE(ftkvm_vchain_read(&w->q, c, 1, NULL, c->out_len) == -EINVAL);
	REQUIRE(ftkvm_vchain_write(&w->q, c, c->in_len, NULL, 1) == -EINVAL);
	REQUIRE(ftkvm_vchain_write(&w->q, c, U32_MAX, NULL, U32_MAX) == -EINVAL);
}

static void next(struct world *w, struct feed *f)
{
	struct ftkvm_vchain c = { .room = w->room };
	struct plain *p = malloc(sizeof(*p));
	u64 reads = w->g.reads;
	int want, ret;
	u32 i;

	c.seg = malloc(w->room * sizeof(*c.seg));
	want = plain_next(w, p);
	ret = ftkvm_virtq_next(&w->q, &c);
	/* each descriptor makes a buffer, or leads to the table, or is refused */
	REQUIRE(w->g.reads - reads <= 4 + 16 * (w->room + 2));
	REQUIRE(w->g.fickle ? ret == 1 || !ret || ret == -EPROTO : ret == want);
	REQUIRE(!w->at.num || (ret == -EPROTO) == !!w->q.broken);
	if (ret == 1) {
		w->taken++;
		REACHED("a chain taken");
	}
	if (ret == 1 && !w->g.fickle) {
		REQUIRE(c.nout == p->nout && c.nin == p->nin);
		for (i = 0; i < p->nout + p->nin; i++)
			REQUIRE(c.seg[i].gpa == p->seg[i].gpa && c.seg[i].len == p->seg[i].len);
		REQUIRE(c.out_len == total(p->seg, p->nout));
		REQUIRE(c.in_len == total(p->seg + p->nout, p->nin));
		copy_out(w, p, &c, f);
		if (p->nout + p->nin > w->at.num)
			REACHED("a chain from an indirect table");
		if ((u16)(w->taken - w->put) == w->at.num)
			REACHED("a queue of which all is pending");
	} else if (ret == 1) {
		REACHED("a chain taken of memory that changes");
	}
	free(c.seg);
	free(p);
}

/* What put does to memory. */
static bool plain_put(struct world *w, u32 head, u32 len)
{
	u64 at = w->at.used + 4 + 8 * (w->put % w->at.num);
	u16 idx = w->put + 1;
	u32 elem[2] = { head, len };

	return !mem_write(&w->g, at, elem, 8) && !mem_write(&w->g, w->at.used + 2, &idx, 2);
}

static void put(struct world *w, u32 head, u32 len)
{
	bool pending = w->taken != w->put, usable = w->at.num && !w->q.broken;
	struct guest before = w->g, after;
	bool can;
	int ret;

	ret = ftkvm_virtq_put(&w->q, head, len);
	after = w->g;
	w->g = before;
	if (!usable || !pending) {
		REQUIRE(ret == (w->at.num && w->q.broken ? -EPROTO : -EINVAL));
	} else {
		can = plain_put(w, head & 0xffff, len);
		REQUIRE(ret == (can ? 0 : -EPROTO) && !!w->q.broken == !can);
		w->put += can;
	}
	REQUIRE(!memcmp(w->g.mem, after.mem, MEM));
}

static void wants_call(struct world *w)
{
	bool usable = w->at.num && !w->q.broken;
	struct plain p = { .bad = false };
	u16 flags = w->at.num ? le(w, &p, w->at.avail, 2) : 0;
	int ret = ftkvm_virtq_wants_call(&w->q);

	if (usable)
		REQUIRE(ret == (p.bad ? -EPROTO : !(flags & 1)));
	else
		REQUIRE(ret == (w->at.num ? -EPROTO : -EINVAL));
}

static void rollback(struct world *w)
{
	bool usable = w->at.num && !w->q.broken;
	struct plain p = { .bad = false };
	u16 idx = w->at.num ? le(w, &p, w->at.used + 2, 2) : 0;
	int ret;

	if (w->fifo)
		ftkvm_vfifo_drop(w->fifo);
	ret = ftkvm_virtq_rollback(&w->q);
	if (!usable) {
		REQUIRE(ret == (w->at.num ? -EPROTO : -EINVAL));
		return;
	}
	REQUIRE(ret == (p.bad ? -EPROTO : 0));
	if (!ret) {
		w->taken = idx;
		w->put = idx;
		REACHED("a queue rolled back");
	}
}

static void restart(struct world *w, struct feed *f)
{
	struct ftkvm_virtq_place at = {
		.desc = BASE + 4 * feed_u8(f), .avail = BASE + 2 * feed_u8(f),
		.used = BASE + 2 * feed_u8(f),
	};
	u8 how = feed_u8(f);
	int ret;

	at.num = how & 8 ? how >> 4 : 1u << (how & 3);
	at.indirect = !(how & 4);
	at.base = feed_le(f, 2);
	if (how == 0xff)
		at.desc = feed_u64(f);
	if (w->fifo)
		ftkvm_vfifo_drop(w->fifo);
	ret = ftkvm_virtq_start(&w->q, &at);
	if (at.num != 1 && at.num != 2 && at.num != 4 && at.num != 8)
		REQUIRE(ret == -EINVAL);
	if (ret) {
		REQUIRE(ret == -EINVAL);
		REQUIRE(ftkvm_virtq_stop(&w->q) == w->put);
		w->at.num = 0;
		return;
	}
	w->at = at;
	w->taken = at.base;
	w->put = at.base;
}

/* ---- disks ---- */

/* What a request is, by the standard. */
static void plain_judge(const u8 *hdr, const u8 *data, u32 out, u32 in,
			struct ftkvm_vblk_req *want)
{
	u32 type, n, i, most, known;
	u64 sector;

	memcpy(&type, hdr, 4);
	memcpy(&sector, hdr + 8, 8);
	memset(want, 0, sizeof(*want));
	want->sector = sector;
	want->status_at = in;
	want->op = FTKVM_VBLK_REFUSED;
	want->status = 1;
	switch (type) {
	case 0: case 1:
		n = type ? out : in;
		if (n % 512 || n > 8192 || sector > 64 || sector * 512 + n > 64 * 512)
			return;
		want->len = n;
		want->op = type ? FTKVM_VBLK_OUT : FTKVM_VBLK_IN;
		break;
	case 4:
		want->op = FTKVM_VBLK_FLUSH;
		break;
	case 8:
		want->op = FTKVM_VBLK_GET_ID;
		want->len = in < 20 ? in : 20;
		break;
	case 11: case 13:
		most = type == 11 ? 16 : 8;
		known = type == 11 ? 0 : 1;
		if (out != 16 && (out != 32 || type == 13))
			return;
		for (i = 0; i < out / 16 && data; i++) {
			u32 sectors, flags;

			memcpy(&sector, data + 16 * i, 8);
			memcpy(&sectors, data + 16 * i + 8, 4);
			memcpy(&flags, data + 16 * i + 12, 4);
			if (flags > known) {
				want->status = 2;
				return;
			}
			if (sectors > most || sector > 64 || sector + sectors > 64)
				return;
		}
		want->len = out;
		want->op = type == 11 ? FTKVM_VBLK_DISCARD : FTKVM_VBLK_WRITE_ZEROES;
		break;
	default:
		want->status = 2;
		return;
	}
	want->status = 0;
}

static void check_request(struct world *w, const struct plain *p, struct ftkvm_vreq *req, int ret)
{
	u32 out = total(p->seg, p->nout), in = total(p->seg + p->nout, p->nin);
	u8 hdr[16], data[8192];
	struct ftkvm_vblk_req want;

	if (out < 16 || !in || !plain_read(w, p->seg, 0, hdr, 16)) {
		REQUIRE(ret == -EPROTO);
		REACHED("a chain that is no request");
		return;
	}
	plain_judge(hdr, NULL, out - 16, in - 1, &want);
	if (!plain_read(w, p->seg, 16, data, ftkvm_vblk_out_len(&want))) {
		REQUIRE(ret == -EPROTO);
		REACHED("a request whose data are nowhere");
		return;
	}
	plain_judge(hdr, data, out - 16, in - 1, &want);
	REQUIRE(ret == 1);
	REQUIRE(!memcmp(&req->blk, &want, sizeof(want)));
	REQUIRE(!memcmp(req->data ?: data, data, ftkvm_vblk_out_len(&want)));
	if (want.op == FTKVM_VBLK_OUT && want.len)
		REACHED("a write");
	if (want.op == FTKVM_VBLK_IN && want.len)
		REACHED("a read");
	if (want.op == FTKVM_VBLK_DISCARD || want.op == FTKVM_VBLK_WRITE_ZEROES)
		REACHED("ranges");
	if (want.op == FTKVM_VBLK_REFUSED)
		REACHED("a request refused");
}

static void take(struct world *w, struct feed *f)
{
	struct plain *p = malloc(sizeof(*p));
	struct ftkvm_vreq *req = NULL;
	u64 seq = w->fifo->next, bytes = w->fifo->bytes;
	u8 left = feed_u8(f);
	int want, ret;

	want = plain_next(w, p);
	if (left >= 250)
		allocs_left = left - 250;
	ret = ftkvm_vfifo_take(w->fifo, &w->q, &disk, &req);
	allocs_left = -1;
	REQUIRE((ret == 1) == !!req);
	if (ret == -ENOMEM) {
		/* as if nothing had been */
		REQUIRE(left >= 250 && !w->q.broken);
		REACHED("no memory for a request");
		if (!w->g.fickle) {
			REQUIRE(want == 1);
			ret = ftkvm_vfifo_take(w->fifo, &w->q, &disk, &req);
		}
	}
	if (ret == 1 || w->q.last_avail != w->taken)
		w->taken++;
	if (ret == 1) {
		REQUIRE(req->seq == seq && ftkvm_vfifo_find(w->fifo, seq) == req);
		REQUIRE(w->fifo->next == seq + 1 && w->fifo->bytes == bytes + req->held);
		/* what is refused has come, too, and is held */
		REQUIRE(req->held == req->len && req->held >= req->blk.len);
	} else {
		REQUIRE(w->fifo->next == seq && w->fifo->bytes == bytes);
		REQUIRE(ret == 0 || ret == -EPROTO || (w->g.fickle && ret == -ENOMEM));
		REQUIRE(!w->at.num || (ret == -EPROTO) == !!w->q.broken);
	}
	if (!w->g.fickle) {
		if (want == 1)
			check_request(w, p, req, ret);
		else
			REQUIRE(ret == want);
	}
	free(p);
}

/* What completion does to memory; false: it can't be done. */
static bool plain_done(struct world *w, const struct ftkvm_vreq *req, u8 status)
{
	u32 len = ftkvm_vblk_in_len(&req->blk, status), i;
	u8 *at;

	/* a buffer is written as a whole, as far as there are data for it, or not at all */
	for (i = 0; i < len; i++) {
		at = plain_byte(w, req->seg, i);
		if (!at)
			return false;
		*at = ((u8 *)req->data)[i];
	}
	at = plain_byte(w, req->seg, req->blk.status_at);
	if (!at)
		return false;
	*at = status;
	return plain_put(w, req->chain.head, len + 1);
}

static void done(struct world *w, struct feed *f)
{
	struct ftkvm_vreq *req = ftkvm_vfifo_find(w->fifo, w->fifo->first);
	bool usable = w->at.num && !w->q.broken, can;
	struct guest before = w->g, after;
	u8 status = feed_below(f, 4), real = status;
	int ret;

	REQUIRE(!!req == (w->fifo->first != w->fifo->next));
	if (!req) {
		REQUIRE(ftkvm_vfifo_done(w->fifo, &w->q, status) == -ENOENT);
		return;
	}
	if (req->blk.op == FTKVM_VBLK_REFUSED)
		real = req->blk.status;
	if (req->data)
		memset(req->data, feed_u8(f), req->blk.len);
	ftkvm_vreq_get(req);
	ret = ftkvm_vfifo_done(w->fifo, &w->q, status);
	after = w->g;
	w->g = before;
	if (real > 2) {
		REQUIRE(ret == -EINVAL);
	} else if (!usable) {
		REQUIRE(ret == (w->at.num ? -EPROTO : -EINVAL));
	} else {
		can = plain_done(w, req, real);
		REQUIRE(ret == (can ? 0 : -EPROTO));
		w->put += can;
		if (can)
			REACHED("a request completed");
		else
			REACHED("a request whose buffers are nowhere");
	}
	/* a buffer that lies in memory in part is not written; the rest is as the model's */
	if (!ret || !usable || real > 2)
		REQUIRE(!memcmp(w->g.mem, after.mem, MEM));
	w->g = after;
	REQUIRE(ftkvm_vfifo_find(w->fifo, req->seq) == (ret ? req : NULL));
	ftkvm_vreq_put(req);
}

/* ---- what is done ---- */

static void poke(struct world *w, struct feed *f)
{
	u32 at = feed_below(f, MEM), n = feed_u8(f) % 8;

	while (n-- && at < MEM)
		w->g.mem[at++] = feed_u8(f);
}

static void step(struct world *w, struct feed *f)
{
	u8 op = feed_u8(f);
	u32 head;

	w->g.reads_most = w->g.reads + 32768;
	switch (op % 8) {
	case 0: case 1:
		if (w->fifo)
			take(w, f);
		else
			next(w, f);
		break;
	case 2: case 3:
		if (w->fifo) {
			done(w, f);
		} else {
			head = feed_u8(f);
			put(w, head, feed_u64(f));
		}
		break;
	case 4:
		wants_call(w);
		break;
	case 5:
		poke(w, f);
		break;
	case 6:
		rollback(w);
		break;
	default:
		restart(w, f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, data + size };
	struct world w = { .q = { .ops = &ops } };
	u8 how = feed_u8(&f);
	size_t len = feed_le(&f, 2);

	w.q.priv = &w.g;
	if (how & 1)
		w.fifo = calloc(1, sizeof(*w.fifo));
	w.room = how & 1 ? FTKVM_VCHAIN_SEGS : how >> 2 & 15;
	restart(&w, &f);
	len = min(min(len, (size_t)MEM), feed_left(&f));
	memcpy(w.g.mem, f.at, len);
	f.at += len;
	w.g.fickle = how & 2;
	while (feed_left(&f)) {
		step(&w, &f);
		check_queue(&w);
	}
	if (w.fifo) {
		ftkvm_vfifo_drop(w.fifo);
		REQUIRE(!w.fifo->bytes);
	}
	free(w.fifo);
	return 0;
}

/* ---- seeds ---- */

static void desc(u8 *mem, u32 at, u64 addr, u32 len, u16 flags, u16 to)
{
	memcpy(mem + at, &addr, 8);
	memcpy(mem + at + 8, &len, 4);
	memcpy(mem + at + 12, &flags, 2);
	memcpy(mem + at + 14, &to, 2);
}

/* A queue of 8: descriptors at 0, the available ring at 128, the used one at 160. */
static void seed_queue(struct seed *s, u8 how, const u8 *mem, u32 len, const char *ops, u32 nops)
{
	seed_le(s, how, 1);
	seed_le(s, len, 2);
	seed_bytes(s, "\0\x40\x50\3\0\0", 6);
	seed_bytes(s, mem, len);
	seed_bytes(s, ops, nops);
	seed_done(s);
}

void fuzz_seeds(void)
{
	static const u8 types[] = { 1, 0, 8, 11, 13, 4 };
	struct seed s = { };
	u8 mem[MEM] = { };
	u32 i;

	/* six requests: three descriptors each in a table, its first in the ring's */
	for (i = 0; i < 6; i++) {
		u32 table = 256 + 48 * i, hdr = 576 + 16 * i, data = i > 2 ? 16 : 20;
		bool in = types[i] == 0 || types[i] == 8;

		if (i < 2)
			data = 512;
		desc(mem, 16 * i, BASE + table, 48, 4, 0);
		desc(mem, table, BASE + hdr, 16, 1, 1);
		desc(mem, table + 16, BASE + (i < 2 ? 512 : 680), data, in ? 3 : 1, 2);
		desc(mem, table + 32, BASE + 672 + i, 1, 2, 0);
		mem[hdr] = types[i];
		mem[128 + 4 + 2 * i] = i;
	}
	mem[680 + 8] = 8;	/* a range of eight sectors */
	mem[128 + 2] = 6;
	seed_queue(&s, 1, mem, 700,
		   "\0\0\0\0\0\0\0\0\0\0\0\0\2\0\1\2\0\2\2\0\3\2\0\4\2\1\5\4\6\0\0", 31);
	seed_queue(&s, 1, mem, 700, "\0\xfa\0\xfb\0\0\0\0\0\0\2\0\1\2\0\2\6\0\0\2\0\3", 22);
	seed_queue(&s, 3, mem, 700, "\0\0\0\0\0\0\0\0\0\0\0\0\2\0\1\2\0\2", 18);
	seed_queue(&s, 15 << 2, mem, 700, "\0\4\4\0\4\4\0\4\4\2\1\0\2\2\0\4\6\0\0\0", 20);
	seed_queue(&s, 15 << 2 | 2, mem, 700, "\0\0\0\2\1\0\2\2\0\4\6\0", 12);

	/* a write that would end at the disk's beginning */
	memset(mem + 576 + 8, 0xff, 8);
	seed_queue(&s, 1, mem, 700, "\0\0", 2);

	/* direct ones: two buffers each, and one chain of all */
	memset(mem, 0, sizeof(mem));
	for (i = 0; i < 8; i++) {
		desc(mem, 16 * i, BASE + 256 + 32 * i, 32, i & 1 ? 2 : 1, i + 1);
		mem[128 + 4 + 2 * i] = 2 * (i % 4);
	}
	mem[128 + 2] = 8;
	seed_queue(&s, 15 << 2, mem, 300,
		   "\0\7\7\0\7\7\0\7\7\0\7\7\0\7\7\0\7\7\0\7\7\0\7\7\4\2\0\0", 28);
	/* eight more, of which none was given back */
	seed_queue(&s, 15 << 2, mem, 300,
		   "\0\7\7\0\7\7\0\7\7\5\x82\0\1\x0b\0\7\7\0\7\7\0\7\7\0\7\7\0\7\7\0", 31);
	/* and a table of nine: longer than the queue */
	desc(mem, 0, BASE + 300, 144, 4, 0);
	for (i = 0; i < 9; i++)
		desc(mem, 300 + 16 * i, BASE + 100, 9, i < 8 ? 1 : 2, i + 1);
	seed_queue(&s, 15 << 2, mem, 444, "\0\11\11\2\0\0", 6);
	/* and one that leads to another */
	desc(mem, 0, BASE + 300, 16, 4, 0);
	desc(mem, 300, BASE + 316, 16, 4, 0);
	desc(mem, 316, BASE + 100, 9, 0, 0);
	seed_queue(&s, 15 << 2, mem, 444, "\0", 1);
}
