/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest of fuzz_virtq.c: its memory, and the second walk through its queue. This one
 * takes a chain out of memory that stands still.
 */
#ifndef FTKVM_FUZZ_VIRTQ_WORLD_H
#define FTKVM_FUZZ_VIRTQ_WORLD_H

#include "fuzz.h"
#include "../../kmod/core/vfifo.h"

#define BASE	0x7000ull
#define MEM	1024u

struct guest {
	u8 mem[MEM];
	u64 reads;
	u64 reads_most;		/* or it does not end */
	bool fickle;		/* what was read is not there any more */
};

struct world {
	struct guest g;
	struct ftkvm_virtq q;
	struct ftkvm_virtq_place at;
	struct ftkvm_vfifo *fifo;	/* NULL: chains are taken as they are */
	u16 taken, put;
	u32 room;
};

/* ---- memory ---- */

static bool in_mem(u64 gpa, u32 len)
{
	return gpa >= BASE && gpa - BASE <= MEM && len <= MEM - (gpa - BASE);
}

static int mem_read(void *priv, u64 gpa, void *buf, u32 len)
{
	struct guest *g = priv;
	u32 i;

	if (!in_mem(gpa, len))
		return -EFAULT;
	memcpy(buf, g->mem + (gpa - BASE), len);
	g->reads += len;
	REQUIRE(g->reads <= g->reads_most);
	for (i = 0; g->fickle && i < len; i++)
		g->mem[gpa - BASE + i] += 1 + i;
	return 0;
}

static int mem_write(void *priv, u64 gpa, const void *buf, u32 len)
{
	struct guest *g = priv;

	if (!in_mem(gpa, len))
		return -EFAULT;
	memcpy(g->mem + (gpa - BASE), buf, len);
	return 0;
}

static const struct ftkvm_virtq_ops ops = { mem_read, mem_write };

/* ---- the second walk ---- */

struct plain {
	bool bad;
	u32 nout, nin;
	struct ftkvm_vseg seg[2 * FTKVM_VCHAIN_SEGS];
};

static u64 le(struct world *w, struct plain *p, u64 gpa, u32 bytes)
{
	u64 val = 0;

	if (!in_mem(gpa, bytes)) {
		p->bad = true;
		return 0;
	}
	while (bytes--)
		val = val << 8 | w->g.mem[gpa - BASE + bytes];
	return val;
}

static void plain_table(struct world *w, struct plain *p, u64 table, u64 n, u64 i, bool inner)
{
	u64 steps;

	for (steps = 0; !p->bad; steps++) {
		u64 d = table + 16 * i, addr, len, flags;

		if (i >= n || steps >= n) {
			p->bad = true;
			return;
		}
		addr = le(w, p, d, 8);
		len = le(w, p, d + 8, 4);
		flags = le(w, p, d + 12, 2);
		if (addr + len < addr)
			p->bad = true;
		if (p->bad)
			return;
		if (flags & 4) {
			if (inner || !w->at.indirect || flags & 1 || !len || len % 16)
				p->bad = true;
			else
				plain_table(w, p, addr, len / 16, 0, true);
			return;
		}
		if (!len || (p->nin && !(flags & 2)) || p->nout + p->nin >= w->room) {
			p->bad = true;
			return;
		}
		p->seg[p->nout + p->nin].gpa = addr;
		p->seg[p->nout + p->nin].len = len;
		if (flags & 2)
			p->nin++;
		else
			p->nout++;
		if (!(flags & 1))
			return;
		i = le(w, p, d + 14, 2);
	}
}

static u64 total(const struct ftkvm_vseg *seg, u32 n)
{
	u64 len = 0;

	while (n--)
		len += seg[n].len;
	return len;
}

/* What the next chain is: 1, 0 when there is none, -EPROTO. */
static int plain_next(struct world *w, struct plain *p)
{
	u32 idx, ahead;

	memset(p, 0, sizeof(*p));
	if (!w->at.num)
		return 0;
	if (w->q.broken)
		return -EPROTO;
	/* the index counts as it was when all before it had been taken */
	ahead = (u16)(w->q.avail_idx - w->taken);
	if (!ahead) {
		idx = le(w, p, w->at.avail + 2, 2);
		ahead = (u16)(idx - w->taken);
		if (p->bad || ahead > w->at.num || ahead + (u16)(w->taken - w->put) > w->at.num)
			return -EPROTO;
		if (!ahead)
			return 0;
	}
	idx = le(w, p, w->at.avail + 4 + 2 * (w->taken % w->at.num), 2);
	if (!p->bad)
		plain_table(w, p, w->at.desc, w->at.num, idx, false);
	if (p->bad || total(p->seg, p->nout) > U32_MAX || total(p->seg + p->nout, p->nin) > U32_MAX)
		return -EPROTO;
	return 1;
}

/* The byte of some buffers at an offset; NULL: it is not in memory. */
static u8 *plain_byte(struct world *w, const struct ftkvm_vseg *seg, u32 off)
{
	while (off >= seg->len)
		off -= seg++->len;
	return in_mem(seg->gpa + off, 1) ? w->g.mem + (seg->gpa + off - BASE) : NULL;
}

/* All of these bytes, if the buffers that they lie in are in memory as far as asked for. */
static bool plain_read(struct world *w, const struct ftkvm_vseg *seg, u32 off, u8 *buf, u32 len)
{
	u32 i;

	for (i = 0; i < len; i++) {
		u8 *b = plain_byte(w, seg, off + i);

		if (!b)
			return false;
		buf[i] = *b;
	}
	return true;
}

#endif
