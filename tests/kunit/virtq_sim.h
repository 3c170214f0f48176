/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest with a virtqueue: memory with an end, and a driver that lays chains out in
 * every way that the standard allows, or breaks a rule of it on purpose.
 */
#ifndef FTKVM_KUNIT_VIRTQ_SIM_H
#define FTKVM_KUNIT_VIRTQ_SIM_H

#include <kunit/test.h>
#include <linux/prandom.h>
#include <linux/string.h>
#include <linux/virtio_byteorder.h>
#include <linux/virtio_ring.h>

#include "../../kmod/core/virtq.h"

#define SIM_BASE	0x100000ull	/* memory begins here */
#define SIM_SIZE	0x20000u
#define SIM_NUM		16u
#define SIM_DESC	(SIM_BASE + 0x1000)
#define SIM_AVAIL	(SIM_BASE + 0x2000)
#define SIM_USED	(SIM_BASE + 0x3000)
#define SIM_TABLE	(SIM_BASE + 0x4000)	/* of indirect descriptors, one for each head */
#define SIM_TABLE_LEN	0x800u
#define SIM_DATA	(SIM_BASE + 0x10000)
#define SIM_DATA_LEN	0x10000u

struct sim {
	struct kunit *test;
	struct ftkvm_virtq q;
	struct ftkvm_vseg seg[FTKVM_VCHAIN_SEGS];
	struct rnd_state rnd;
	u8 *mem;
	u64 reads;		/* bytes that were read */
	u64 writes;
	u16 avail_idx;
	/* Memory that changes as it is read: what is read twice is not what it was. */
	bool fickle;
};

static inline u8 *sim_at(struct sim *s, u64 gpa, u32 len)
{
	if (gpa < SIM_BASE || len > SIM_SIZE || gpa - SIM_BASE > SIM_SIZE - len)
		return NULL;
	return s->mem + (gpa - SIM_BASE);
}

static inline int sim_read(void *priv, u64 gpa, void *buf, u32 len)
{
	struct sim *s = priv;
	u8 *at = sim_at(s, gpa, len);
	u32 i;

	if (!at)
		return -EFAULT;
	memcpy(buf, at, len);
	s->reads += len;
	for (i = 0; s->fickle && i < len; i++)
		at[i] = ~at[i];
	return 0;
}

static inline int sim_write(void *priv, u64 gpa, const void *buf, u32 len)
{
	struct sim *s = priv;
	u8 *at = sim_at(s, gpa, len);

	if (!at)
		return -EFAULT;
	memcpy(at, buf, len);
	s->writes += len;
	return 0;
}

static const struct ftkvm_virtq_ops sim_ops = { .read = sim_read, .write = sim_write };

static const struct ftkvm_virtq_place sim_place = {
	.desc = SIM_DESC, .avail = SIM_AVAIL, .used = SIM_USED, .num = SIM_NUM, .indirect = true,
};

static inline void sim_reset(struct sim *s)
{
	memset(s->mem, 0, SIM_SIZE);
	s->avail_idx = 0;
	s->fickle = false;
	KUNIT_ASSERT_EQ(s->test, ftkvm_virtq_start(&s->q, &sim_place), 0);
}

static inline struct sim *sim_make(struct kunit *test, u64 seed)
{
	struct sim *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->test = test;
	s->mem = kunit_kzalloc(test, SIM_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s->mem);
	prandom_seed_state(&s->rnd, seed);
	s->q.ops = &sim_ops;
	s->q.priv = s;
	sim_reset(s);
	return s;
}

static inline u32 sim_below(struct sim *s, u32 n)
{
	return prandom_u32_state(&s->rnd) % n;
}

/* ---- the driver ---- */

static inline void sim_put16(struct sim *s, u64 gpa, u16 val)
{
	__virtio16 v = __cpu_to_virtio16(true, val);

	memcpy(sim_at(s, gpa, sizeof(v)), &v, sizeof(v));
}

static inline u16 sim_get16(struct sim *s, u64 gpa)
{
	__virtio16 v;

	memcpy(&v, sim_at(s, gpa, sizeof(v)), sizeof(v));
	return __virtio16_to_cpu(true, v);
}

static inline void sim_desc(struct sim *s, u64 table, u32 i, u64 addr, u32 len, u16 flags,
			    u16 next)
{
	struct vring_desc d = {
		.addr = __cpu_to_virtio64(true, addr),
		.len = __cpu_to_virtio32(true, len),
		.flags = __cpu_to_virtio16(true, flags),
		.next = __cpu_to_virtio16(true, next),
	};

	memcpy(sim_at(s, table + i * sizeof(d), sizeof(d)), &d, sizeof(d));
}

static inline void sim_avail(struct sim *s, u16 head)
{
	sim_put16(s, SIM_AVAIL + 4 + s->avail_idx % SIM_NUM * 2, head);
	sim_put16(s, SIM_AVAIL + 2, ++s->avail_idx);
}

static inline struct vring_used_elem sim_used(struct sim *s, u16 idx)
{
	struct vring_used_elem e;

	memcpy(&e, sim_at(s, SIM_USED + 4 + idx % SIM_NUM * sizeof(e), sizeof(e)), sizeof(e));
	return e;
}

static inline u16 sim_used_idx(struct sim *s)
{
	return sim_get16(s, SIM_USED + 2);
}

/* What a chain shall be. */
struct sim_chain {
	u32 nout, nin;
	u32 table;		/* buffers that are in an indirect table: the last ones */
	struct ftkvm_vseg seg[SIM_NUM];
};

/*
 * Make @c available, its direct descriptors from @head on. The table's descriptors are
 * in reverse order, but for the first.
 */
static inline void sim_chain(struct sim *s, u16 head, const struct sim_chain *c)
{
	u32 n = c->nout + c->nin, direct = n - c->table, i;
	u64 table = SIM_TABLE + head * SIM_TABLE_LEN;

	for (i = 0; i < n; i++) {
		u16 flags = (i >= c->nout ? VRING_DESC_F_WRITE : 0) |
			    (i + 1 < n ? VRING_DESC_F_NEXT : 0);
		u32 j = i - direct;

		if (i < direct)
			sim_desc(s, SIM_DESC, (head + i) % SIM_NUM, c->seg[i].gpa, c->seg[i].len,
				 flags, (head + i + 1) % SIM_NUM);
		else
			sim_desc(s, table, j ? c->table - j : 0, c->seg[i].gpa, c->seg[i].len,
				 flags, c->table - j - 1);
	}
	if (c->table)
		sim_desc(s, SIM_DESC, (head + direct) % SIM_NUM, table,
			 c->table * sizeof(struct vring_desc),
			 /* a flag that has no meaning here */
			 VRING_DESC_F_INDIRECT | (head & 1 ? VRING_DESC_F_WRITE : 0), 0);
	sim_avail(s, head);
}

static inline u32 sim_descs(const struct sim_chain *c)
{
	return c->nout + c->nin - c->table + !!c->table;
}

/* Any chain of at most @most direct descriptors. */
static inline void sim_any(struct sim *s, struct sim_chain *c, u32 most)
{
	u32 n, i;

	memset(c, 0, sizeof(*c));
	if (sim_below(s, 2)) {
		u32 direct = sim_below(s, most);

		c->table = 1 + sim_below(s, SIM_NUM - direct);
		n = direct + c->table;
	} else {
		n = 1 + sim_below(s, most);
	}
	c->nout = sim_below(s, n + 1);
	c->nin = n - c->nout;
	for (i = 0; i < n; i++) {
		c->seg[i].len = 1 + sim_below(s, sim_below(s, 4) ? 40 : 3000);
		c->seg[i].gpa = SIM_DATA + sim_below(s, SIM_DATA_LEN - c->seg[i].len);
	}
}

#endif
