// SPDX-License-Identifier: GPL-2.0
/*
 * The walk through a virtqueue: what a driver makes available is what is taken,
 * however it is laid out; what breaks a rule breaks the queue, and nothing else.
 */
#include "virtq_sim.h"

static int virtq_test_init(struct kunit *test)
{
	test->priv = sim_make(test, 1);
	return 0;
}

static int take(struct sim *s, struct ftkvm_vchain *c)
{
	*c = (struct ftkvm_vchain){ .seg = s->seg, .room = ARRAY_SIZE(s->seg) };
	return ftkvm_virtq_next(&s->q, c);
}

static u32 total(const struct ftkvm_vseg *seg, u32 n)
{
	u32 len = 0;

	while (n--)
		len += seg[n].len;
	return len;
}

static void expect_chain(struct kunit *test, const struct ftkvm_vchain *c,
			 const struct sim_chain *want, u16 head)
{
	u32 i;

	KUNIT_ASSERT_EQ(test, c->head, head);
	KUNIT_ASSERT_EQ(test, c->nout, want->nout);
	KUNIT_ASSERT_EQ(test, c->nin, want->nin);
	KUNIT_ASSERT_EQ(test, c->out_len, total(want->seg, want->nout));
	KUNIT_ASSERT_EQ(test, c->in_len, total(want->seg + want->nout, want->nin));
	for (i = 0; i < c->nout + c->nin; i++) {
		KUNIT_ASSERT_EQ(test, c->seg[i].gpa, want->seg[i].gpa);
		KUNIT_ASSERT_EQ(test, c->seg[i].len, want->seg[i].len);
	}
}

static void virtq_places(struct kunit *test)
{
	static const struct {
		u64 desc, avail, used;
		u32 num;
		int ret;
	} cases[] = {
		{ 0x1000, 0x2000, 0x3000, 1, 0 },
		{ 0x1000, 0x2000, 0x3000, 1024, 0 },
		{ 0x1010, 0x2002, 0x3004, 128, 0 },
		{ 0, 0, 0, 128, 0 },
		{ 0x1000, 0x2000, 0x3000, 0, -EINVAL },
		{ 0x1000, 0x2000, 0x3000, 3, -EINVAL },
		{ 0x1000, 0x2000, 0x3000, 2048, -EINVAL },
		{ 0x1000, 0x2000, 0x3000, 0x80000000, -EINVAL },
		{ 0x1008, 0x2000, 0x3000, 128, -EINVAL },
		{ 0x1000, 0x2001, 0x3000, 128, -EINVAL },
		{ 0x1000, 0x2000, 0x3002, 128, -EINVAL },
		{ -0x800ull, 0x2000, 0x3000, 128, -EINVAL },
		{ 0x1000, -0x100ull, 0x3000, 128, -EINVAL },
		{ 0x1000, 0x2000, -0x400ull, 128, -EINVAL },
		{ -0x810ull, -0x106ull, -0x408ull, 128, 0 },
	};
	struct sim *s = test->priv;
	struct ftkvm_vchain c;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ftkvm_virtq_place at = {
			.desc = cases[i].desc, .avail = cases[i].avail, .used = cases[i].used,
			.num = cases[i].num, .base = 77,
		};

		KUNIT_EXPECT_EQ_MSG(test, ftkvm_virtq_start(&s->q, &at), cases[i].ret, "row %d", i);
		if (cases[i].ret) {
			KUNIT_EXPECT_EQ(test, take(s, &c), 0);
			continue;
		}
		KUNIT_EXPECT_EQ(test, ftkvm_virtq_pending(&s->q), 0);
		KUNIT_EXPECT_EQ(test, ftkvm_virtq_stop(&s->q), 77);
		KUNIT_EXPECT_EQ(test, ftkvm_virtq_stop(&s->q), 77);
	}
	/* to start one touches nothing */
	KUNIT_EXPECT_EQ(test, s->reads + s->writes, 0);
}

static void virtq_stopped(struct kunit *test)
{
	struct sim *s = test->priv;
	struct ftkvm_vchain c;
	u8 byte;

	sim_chain(s, 0, &(struct sim_chain){ .nout = 1, .nin = 1,
		  .seg = { { SIM_DATA, 10 }, { SIM_DATA, 10 } } });
	KUNIT_ASSERT_EQ(test, take(s, &c), 1);
	ftkvm_virtq_stop(&s->q);
	s->reads = 0;
	s->writes = 0;
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_next(&s->q, &c), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_put(&s->q, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_wants_call(&s->q), -EINVAL);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_rollback(&s->q), -EINVAL);
	KUNIT_EXPECT_EQ(test, ftkvm_vchain_read(&s->q, &c, 0, &byte, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, ftkvm_vchain_write(&s->q, &c, 0, "x", 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, s->reads + s->writes, 0);
}

/* Chains of every layout, taken and put in any rhythm, indexes around 16 bits. */
static void virtq_random(struct kunit *test)
{
	struct ftkvm_virtq_place at = sim_place;
	struct sim *s = test->priv;
	struct sim_chain *want = kunit_kcalloc(test, SIM_NUM, sizeof(*want), GFP_KERNEL);
	u32 full = 0, calls = 0, len, n = 0, descs = 0, pending = 0, i;
	u16 made = 65500, taken = made, put = made, next = 0;
	struct vring_used_elem used;
	struct ftkvm_vchain c;

	KUNIT_ASSERT_NOT_NULL(test, want);
	at.base = made;
	KUNIT_ASSERT_EQ(test, ftkvm_virtq_start(&s->q, &at), 0);
	s->avail_idx = made;
	sim_put16(s, SIM_AVAIL + 2, made);
	sim_put16(s, SIM_USED + 2, made);
	for (i = 0; i < 100000; i++) {
		struct sim_chain *w;

		switch (sim_below(s, 3)) {
		case 0:
			/* a chain's descriptors are where they were until it was put */
			if (descs == SIM_NUM) {
				full++;
				break;
			}
			w = &want[made % SIM_NUM];
			sim_any(s, w, SIM_NUM - descs);
			descs += sim_descs(w);
			sim_chain(s, next, w);
			next = (next + sim_descs(w)) % SIM_NUM;
			made++;
			break;
		case 1:
			if (made == taken) {
				KUNIT_ASSERT_EQ(test, take(s, &c), 0);
				break;
			}
			w = &want[taken % SIM_NUM];
			s->reads = 0;
			/* every field once: not one byte more */
			len = sim_descs(w) + (w->table ? w->table : 0);
			len = len * sizeof(struct vring_desc) + 2;
			len += s->q.last_avail == s->q.avail_idx ? 2 : 0;
			KUNIT_ASSERT_EQ(test, take(s, &c), 1);
			KUNIT_ASSERT_EQ(test, s->reads, len);
			expect_chain(test, &c, w,
				     sim_get16(s, SIM_AVAIL + 4 + taken % SIM_NUM * 2));
			pending++;
			taken++;
			n++;
			if (sim_below(s, 8) == 0) {
				ftkvm_virtq_untake(&s->q);
				KUNIT_ASSERT_EQ(test, take(s, &c), 1);
				expect_chain(test, &c, w, c.head);
			}
			break;
		default:
			sim_put16(s, SIM_AVAIL, i & 1 ? VRING_AVAIL_F_NO_INTERRUPT : 0);
			if (put == taken) {
				KUNIT_ASSERT_EQ(test, ftkvm_virtq_put(&s->q, 0, 0), -EINVAL);
				break;
			}
			KUNIT_ASSERT_EQ(test, ftkvm_virtq_put(&s->q, put % 7, i), 0);
			KUNIT_ASSERT_EQ(test, ftkvm_virtq_wants_call(&s->q), !(i & 1));
			used = sim_used(s, put);
			KUNIT_ASSERT_EQ(test, __virtio32_to_cpu(true, used.id), put % 7);
			KUNIT_ASSERT_EQ(test, __virtio32_to_cpu(true, used.len), i);
			descs -= sim_descs(&want[put % SIM_NUM]);
			put++;
			pending--;
			calls++;
		}
		KUNIT_ASSERT_EQ(test, sim_used_idx(s), put);
		KUNIT_ASSERT_EQ(test, ftkvm_virtq_pending(&s->q), pending);
		KUNIT_ASSERT_NULL(test, s->q.broken);
	}
	KUNIT_EXPECT_GT(test, n, 20000);
	KUNIT_EXPECT_GT(test, calls, 20000);
	KUNIT_EXPECT_GT(test, full, 100);
}

/* Bytes go to and come from where the buffers are, at any offset. */
static void virtq_copies(struct kunit *test)
{
	struct sim *s = test->priv;
	u8 *data = kunit_kmalloc(test, SIM_DATA_LEN, GFP_KERNEL);
	u8 *flat = kunit_kmalloc(test, SIM_DATA_LEN, GFP_KERNEL);
	struct ftkvm_vchain c;
	struct sim_chain w;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, data);
	KUNIT_ASSERT_NOT_NULL(test, flat);
	for (i = 0; i < 3000; i++) {
		u32 at = SIM_DATA - SIM_BASE, off, len, j, n = 0;

		sim_reset(s);
		sim_any(s, &w, SIM_NUM);
		/* one behind the other with gaps, so that none overlap */
		for (j = 0; j < w.nout + w.nin; j++) {
			at += sim_below(s, 50);
			w.seg[j].gpa = SIM_BASE + at;
			at += w.seg[j].len;
		}
		prandom_bytes_state(&s->rnd, s->mem + SIM_DATA - SIM_BASE, SIM_DATA_LEN);
		sim_chain(s, 3, &w);
		KUNIT_ASSERT_EQ(test, take(s, &c), 1);

		off = sim_below(s, c.out_len + 1);
		len = sim_below(s, c.out_len - off + 1);
		for (j = 0; j < w.nout; j++) {
			memcpy(flat + n, sim_at(s, w.seg[j].gpa, w.seg[j].len), w.seg[j].len);
			n += w.seg[j].len;
		}
		KUNIT_ASSERT_EQ(test, ftkvm_vchain_read(&s->q, &c, off, data, len), 0);
		KUNIT_ASSERT_EQ(test, memcmp(data, flat + off, len), 0);
		KUNIT_ASSERT_EQ(test, ftkvm_vchain_read(&s->q, &c, off, data, c.out_len - off + 1),
				-EINVAL);
		KUNIT_ASSERT_EQ(test, ftkvm_vchain_read(&s->q, &c, U32_MAX, data, 2), -EINVAL);

		off = sim_below(s, c.in_len + 1);
		len = sim_below(s, c.in_len - off + 1);
		prandom_bytes_state(&s->rnd, data, len);
		memcpy(flat, s->mem + SIM_DATA - SIM_BASE, SIM_DATA_LEN);
		for (j = w.nout, n = 0; j < w.nout + w.nin; n += w.seg[j++].len) {
			u32 lo = max(n, off), hi = min(n + w.seg[j].len, off + len);

			if (lo < hi)
				memcpy(flat + w.seg[j].gpa - SIM_DATA + lo - n, data + lo - off,
				       hi - lo);
		}
		KUNIT_ASSERT_EQ(test, ftkvm_vchain_write(&s->q, &c, off, data, len), 0);
		/* these bytes, and no other */
		KUNIT_ASSERT_EQ(test, memcmp(flat, s->mem + SIM_DATA - SIM_BASE, SIM_DATA_LEN), 0);
		KUNIT_ASSERT_EQ(test, ftkvm_vchain_write(&s->q, &c, off, data, c.in_len - off + 1),
				-EINVAL);
		KUNIT_ASSERT_NULL(test, s->q.broken);
	}
}

static void virtq_rolled_back(struct kunit *test)
{
	struct sim_chain w = { .nout = 1, .seg = { { SIM_DATA, 10 } } };
	struct sim *s = test->priv;
	struct ftkvm_vchain c;
	int i;

	for (i = 0; i < 5; i++)
		sim_chain(s, i, &w);
	for (i = 0; i < 4; i++)
		KUNIT_ASSERT_EQ(test, take(s, &c), 1);
	KUNIT_ASSERT_EQ(test, ftkvm_virtq_put(&s->q, 0, 0), 0);
	KUNIT_ASSERT_EQ(test, ftkvm_virtq_pending(&s->q), 3);

	/* someone before us asked for no kicks */
	sim_put16(s, SIM_USED, VRING_USED_F_NO_NOTIFY);
	KUNIT_ASSERT_EQ(test, ftkvm_virtq_rollback(&s->q), 0);
	KUNIT_EXPECT_EQ(test, sim_get16(s, SIM_USED), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_pending(&s->q), 0);
	for (i = 1; i < 5; i++) {
		KUNIT_ASSERT_EQ(test, take(s, &c), 1);
		KUNIT_EXPECT_EQ(test, c.head, i);
	}
	KUNIT_EXPECT_EQ(test, take(s, &c), 0);

	/* the base is old: the ring knows better */
	KUNIT_ASSERT_EQ(test, ftkvm_virtq_start(&s->q, &sim_place), 0);
	KUNIT_ASSERT_EQ(test, ftkvm_virtq_rollback(&s->q), 0);
	KUNIT_ASSERT_EQ(test, take(s, &c), 1);
	KUNIT_EXPECT_EQ(test, c.head, 1);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_stop(&s->q), 1);
}

/* ---- rules that are broken, one at a time ---- */

#define N VRING_DESC_F_NEXT
#define W VRING_DESC_F_WRITE
#define I VRING_DESC_F_INDIRECT

static const struct {
	const char *cause;
	struct { u64 addr; u32 len; u16 flags, next; } desc[4], table[3];
	u16 head;
	bool no_indirect;
} wrong[] = {
	{ NULL, { { SIM_DATA, 4, N, 1 }, { SIM_DATA, 4, W } } },
	{ NULL, { { SIM_DATA, 4, N, 1 }, { SIM_TABLE, 32, I | W } },
	  { { SIM_DATA, 4, N, 1 }, { SIM_DATA, 4, W } } },
	{ NULL, { { SIM_DATA, U32_MAX, N, 1 }, { SIM_DATA, U32_MAX, W } } },
	/* flags that mean nothing */
	{ NULL, { { SIM_DATA, 4, 0xfff8 } } },
	{ "a buffer of no bytes", { { SIM_DATA, 0 } } },
	{ "a buffer of no bytes", { { SIM_DATA, 4, N, 1 }, { SIM_DATA, 0, W } } },
	{ "a buffer beyond the last address", { { -1ull, 1 } } },
	{ "a buffer beyond the last address", { { -100ull, U32_MAX, W } } },
	{ "a buffer to be read behind one to be written",
	  { { SIM_DATA, 4, N | W, 1 }, { SIM_DATA, 4 } } },
	{ "a buffer to be read behind one to be written",
	  { { SIM_DATA, 4, N | W, 1 }, { SIM_TABLE, 16, I } }, { { SIM_DATA, 4 } } },
	{ "a chain of too many bytes", { { SIM_DATA, U32_MAX, N, 1 }, { SIM_DATA, 1 } } },
	{ "a chain of too many bytes",
	  { { SIM_DATA, 1, N, 1 }, { SIM_DATA, U32_MAX, N | W, 2 }, { SIM_DATA, 1, W } } },
	{ "a descriptor outside its table", { }, { }, SIM_NUM },
	{ "a descriptor outside its table", { }, { }, U16_MAX },
	{ "a descriptor outside its table", { { SIM_DATA, 4, N, SIM_NUM } } },
	{ "a descriptor outside its table", { { SIM_TABLE, 32, I } }, { { SIM_DATA, 4, N, 2 } } },
	{ "a chain that loops", { { SIM_DATA, 4, N, 0 } } },
	{ "a chain that loops", { { SIM_DATA, 4, N, 1 }, { SIM_DATA, 4, N, 0 } } },
	{ "a chain that loops", { { SIM_TABLE, 48, I } },
	  { { SIM_DATA, 4, N, 1 }, { SIM_DATA, 4, N, 2 }, { SIM_DATA, 4, N, 1 } } },
	{ "a chain of too many buffers", { { SIM_TABLE, 16 * 4096, I } },
	  { { SIM_DATA, 4, N, 0 } } },
	{ "an indirect table, not negotiated", { { SIM_TABLE, 16, I } },
	  { { SIM_DATA, 4 } }, 0, true },
	{ "an indirect table in another", { { SIM_TABLE, 16, I } }, { { SIM_TABLE, 16, I } } },
	{ "a descriptor behind a table", { { SIM_TABLE, 16, I | N, 1 }, { SIM_DATA, 4 } },
	  { { SIM_DATA, 4 } } },
	{ "an indirect table of a bad length", { { SIM_TABLE, 0, I } } },
	{ "an indirect table of a bad length", { { SIM_TABLE, 15, I } } },
	{ "an indirect table of a bad length", { { SIM_TABLE, 17, I } } },
	{ "a table beyond the last address", { { -16ull, 32, I } } },
	{ "a descriptor that is not in memory", { { SIM_BASE - 16, 16, I } } },
	{ "a descriptor that is not in memory", { { SIM_BASE + SIM_SIZE - 8, 16, I } } },
	{ "a descriptor that is not in memory", { { -16ull - 0xfffffff0, 0xfffffff0, I } } },
};

#undef N
#undef W
#undef I

/* Nothing is done with a broken queue until it is started again. */
static void expect_broken(struct kunit *test, struct sim *s, const char *cause)
{
	struct ftkvm_vchain c = { .seg = s->seg, .room = ARRAY_SIZE(s->seg) };
	u64 reads = s->reads, writes = s->writes;
	u8 byte;

	KUNIT_ASSERT_NOT_NULL(test, s->q.broken);
	KUNIT_EXPECT_STREQ(test, s->q.broken, cause);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_next(&s->q, &c), -EPROTO);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_put(&s->q, 0, 0), -EPROTO);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_wants_call(&s->q), -EPROTO);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_rollback(&s->q), -EPROTO);
	KUNIT_EXPECT_EQ(test, ftkvm_vchain_read(&s->q, &c, 0, &byte, 0), -EPROTO);
	KUNIT_EXPECT_EQ(test, ftkvm_vchain_write(&s->q, &c, 0, &byte, 0), -EPROTO);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_break(&s->q, "another cause"), -EPROTO);
	KUNIT_EXPECT_STREQ(test, s->q.broken, cause);
	KUNIT_EXPECT_EQ(test, s->reads, reads);
	KUNIT_EXPECT_EQ(test, s->writes, writes);
}

static void virtq_wrong_chains(struct kunit *test)
{
	struct sim *s = test->priv;
	struct ftkvm_virtq_place at = sim_place;
	struct ftkvm_vchain c;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		sim_reset(s);
		at.indirect = !wrong[i].no_indirect;
		KUNIT_ASSERT_EQ(test, ftkvm_virtq_start(&s->q, &at), 0);
		for (j = 0; j < ARRAY_SIZE(wrong[i].desc); j++)
			sim_desc(s, SIM_DESC, j, wrong[i].desc[j].addr, wrong[i].desc[j].len,
				 wrong[i].desc[j].flags, wrong[i].desc[j].next);
		for (j = 0; j < ARRAY_SIZE(wrong[i].table); j++)
			sim_desc(s, SIM_TABLE, j, wrong[i].table[j].addr, wrong[i].table[j].len,
				 wrong[i].table[j].flags, wrong[i].table[j].next);
		sim_avail(s, wrong[i].head);
		KUNIT_EXPECT_EQ_MSG(test, take(s, &c), wrong[i].cause ? -EPROTO : 1, "row %d", i);
		KUNIT_EXPECT_EQ(test, ftkvm_virtq_pending(&s->q), !wrong[i].cause);
		if (wrong[i].cause)
			expect_broken(test, s, wrong[i].cause);
		else
			KUNIT_EXPECT_NULL_MSG(test, s->q.broken, "row %d", i);
	}
	sim_reset(s);
	KUNIT_EXPECT_EQ(test, take(s, &c), 0);
}

/* The room for a chain is what the caller has. */
static void virtq_room(struct kunit *test)
{
	struct sim *s = test->priv;
	struct sim_chain w = { .nout = 2, .nin = 3 };
	struct ftkvm_vchain c = { .seg = s->seg, .room = 5 };
	int i;

	for (i = 0; i < 5; i++)
		w.seg[i] = (struct ftkvm_vseg){ SIM_DATA + i, 7 };
	sim_chain(s, 0, &w);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_next(&s->q, &c), 1);
	sim_chain(s, 8, &w);
	c.room = 4;
	s->seg[4].len = 4711;
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_next(&s->q, &c), -EPROTO);
	KUNIT_EXPECT_EQ(test, s->seg[4].len, 4711);
	expect_broken(test, s, "a chain of too many buffers");
}

static void virtq_wrong_index(struct kunit *test)
{
	static const struct {
		int made, taken, put, idx;
		const char *cause;
	} cases[] = {
		{ 0, 0, 0, SIM_NUM, NULL },
		{ 0, 0, 0, SIM_NUM + 1, "the available index jumped" },
		{ 0, 0, 0, 0x8000, "the available index jumped" },
		{ 0, 0, 0, 0xffff, "the available index jumped" },
		{ 4, 4, 0, 3, "the available index jumped" },
		{ 4, 4, 0, 4, NULL },
		{ 4, 4, 0, SIM_NUM, NULL },
		{ 4, 4, 0, SIM_NUM + 1, "more is available than there are descriptors" },
		{ 4, 4, 3, SIM_NUM + 3, NULL },
		{ 4, 4, 3, SIM_NUM + 4, "more is available than there are descriptors" },
		{ 4, 4, 4, SIM_NUM + 5, "the available index jumped" },
	};
	struct sim_chain w = { .nout = 1, .seg = { { SIM_DATA, 10 } } };
	struct sim *s = test->priv;
	struct ftkvm_vchain c;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		sim_reset(s);
		for (j = 0; j < cases[i].made; j++)
			sim_chain(s, 0, &w);
		for (j = 0; j < cases[i].taken; j++)
			KUNIT_ASSERT_EQ(test, take(s, &c), 1);
		for (j = 0; j < cases[i].put; j++)
			KUNIT_ASSERT_EQ(test, ftkvm_virtq_put(&s->q, 0, 0), 0);
		sim_desc(s, SIM_DESC, 0, SIM_DATA, 10, 0, 0);
		sim_put16(s, SIM_AVAIL + 2, cases[i].idx);
		if (cases[i].cause) {
			KUNIT_EXPECT_EQ_MSG(test, take(s, &c), -EPROTO, "row %d", i);
			expect_broken(test, s, cases[i].cause);
			continue;
		}
		/* as many as it says, and no more */
		for (j = cases[i].taken; j < cases[i].idx; j++)
			KUNIT_EXPECT_EQ_MSG(test, take(s, &c), 1, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, take(s, &c), 0, "row %d", i);
	}
}

/* A queue of which a part is not in memory. */
static void virtq_not_in_memory(struct kunit *test)
{
	static const u64 nowhere = SIM_BASE + SIM_SIZE;
	struct sim_chain w = { .nout = 1, .nin = 1,
			       .seg = { { SIM_DATA, 10 }, { SIM_DATA, 10 } } };
	struct sim *s = test->priv;
	struct ftkvm_vchain c;
	u8 data[20];

	s->q.at.avail = nowhere;
	KUNIT_EXPECT_EQ(test, take(s, &c), -EPROTO);
	expect_broken(test, s, "the available ring is not in memory");
	/* the flags and the index are, the entries not */
	sim_reset(s);
	sim_put16(s, nowhere - 2, 1);
	s->q.at.avail = nowhere - 4;
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_wants_call(&s->q), 1);
	KUNIT_EXPECT_EQ(test, take(s, &c), -EPROTO);
	expect_broken(test, s, "the available ring is not in memory");
	sim_reset(s);
	s->q.at.avail = nowhere;
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_wants_call(&s->q), -EPROTO);
	expect_broken(test, s, "the available ring is not in memory");

	sim_reset(s);
	sim_chain(s, 0, &w);
	s->q.at.desc = nowhere;
	KUNIT_EXPECT_EQ(test, take(s, &c), -EPROTO);
	expect_broken(test, s, "a descriptor that is not in memory");

	sim_reset(s);
	s->q.at.used = nowhere;
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_rollback(&s->q), -EPROTO);
	expect_broken(test, s, "the used ring is not in memory");
	sim_reset(s);
	sim_chain(s, 0, &w);
	KUNIT_ASSERT_EQ(test, take(s, &c), 1);
	s->q.at.used = nowhere;
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_put(&s->q, 0, 0), -EPROTO);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_pending(&s->q), 1);
	expect_broken(test, s, "the used ring can't be written");

	w.seg[0].gpa = nowhere - 5;
	w.seg[1].gpa = SIM_BASE - 5;
	sim_reset(s);
	sim_chain(s, 0, &w);
	KUNIT_ASSERT_EQ(test, take(s, &c), 1);
	KUNIT_EXPECT_EQ(test, ftkvm_vchain_read(&s->q, &c, 0, data, 5), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vchain_read(&s->q, &c, 0, data, 6), -EPROTO);
	expect_broken(test, s, "a buffer that is not in memory");
	sim_reset(s);
	sim_chain(s, 0, &w);
	KUNIT_ASSERT_EQ(test, take(s, &c), 1);
	KUNIT_EXPECT_EQ(test, ftkvm_vchain_write(&s->q, &c, 5, data, 5), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vchain_write(&s->q, &c, 4, data, 5), -EPROTO);
	expect_broken(test, s, "a buffer that can't be written");
}

/*
 * Rings that were written over at random, in memory that changes while it is read. A
 * chain is within its bounds, a queue that is refused stays refused, and it all ends.
 */
static void virtq_hostile(struct kunit *test)
{
	static const u64 rings[] = { SIM_DESC, SIM_AVAIL, SIM_USED, SIM_TABLE };
	struct sim *s = test->priv;
	u32 chains = 0, broken = 0, i, j, k;
	struct ftkvm_vchain c;
	struct sim_chain w;

	for (i = 0; i < 20000; i++) {
		sim_reset(s);
		for (j = 0; j < 4; j++) {
			sim_any(s, &w, SIM_NUM);
			sim_chain(s, sim_below(s, SIM_NUM), &w);
		}
		for (j = sim_below(s, 12); j; j--) {
			u64 gpa = rings[sim_below(s, ARRAY_SIZE(rings))];

			if (gpa == SIM_TABLE)
				gpa += sim_below(s, SIM_NUM) * SIM_TABLE_LEN;
			*sim_at(s, gpa + sim_below(s, 64), 1) = prandom_u32_state(&s->rnd);
		}
		s->fickle = sim_below(s, 4) == 0;
		for (j = 0; j < 2 * SIM_NUM; j++) {
			u64 reads = s->reads;
			u64 out = 0, in = 0;
			int ret = take(s, &c);

			KUNIT_ASSERT_LE(test, s->reads - reads, 4 + 16 * (2 + c.room));
			KUNIT_ASSERT_EQ(test, ret == -EPROTO, !!s->q.broken);
			if (ret != 1) {
				KUNIT_ASSERT_TRUE(test, ret == 0 || ret == -EPROTO);
				broken += ret < 0;
				break;
			}
			chains++;
			KUNIT_ASSERT_LT(test, c.head, SIM_NUM);
			KUNIT_ASSERT_LE(test, c.nout + c.nin, c.room);
			for (k = 0; k < c.nout + c.nin; k++) {
				KUNIT_ASSERT_GT(test, c.seg[k].len, 0);
				KUNIT_ASSERT_GT(test, c.seg[k].gpa + c.seg[k].len, c.seg[k].gpa);
				*(k < c.nout ? &out : &in) += c.seg[k].len;
			}
			KUNIT_ASSERT_EQ(test, out, c.out_len);
			KUNIT_ASSERT_EQ(test, in, c.in_len);
			KUNIT_ASSERT_LE(test, ftkvm_virtq_pending(&s->q), SIM_NUM);
		}
		KUNIT_ASSERT_LT(test, j, 2 * SIM_NUM);
	}
	KUNIT_EXPECT_GT(test, chains, 20000);
	KUNIT_EXPECT_GT(test, broken, 5000);
}

static struct kunit_case ftkvm_virtq_cases[] = {
	KUNIT_CASE(virtq_places),
	KUNIT_CASE(virtq_stopped),
	KUNIT_CASE(virtq_random),
	KUNIT_CASE(virtq_copies),
	KUNIT_CASE(virtq_rolled_back),
	KUNIT_CASE(virtq_wrong_chains),
	KUNIT_CASE(virtq_room),
	KUNIT_CASE(virtq_wrong_index),
	KUNIT_CASE(virtq_not_in_memory),
	KUNIT_CASE(virtq_hostile),
	{}
};

static struct kunit_suite ftkvm_virtq_suite = {
	.name = "ftkvm_virtq",
	.init = virtq_test_init,
	.test_cases = ftkvm_virtq_cases,
};

kunit_test_suite(ftkvm_virtq_suite);
