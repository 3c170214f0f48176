// SPDX-License-Identifier: GPL-2.0
/*
 * The log's ring, against a model and between two threads, and the flow
 * control that keeps what is under way within the peer's window.
 */
#include <kunit/test.h>
#include <linux/kthread.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "../../kmod/core/ring.h"

#define SIZE	4096u

static int ring_test_init(struct kunit *test)
{
	struct ftkvm_ring *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, r);
	KUNIT_ASSERT_EQ(test, ftkvm_ring_init(r, SIZE), 0);
	test->priv = r;
	return 0;
}

static void ring_test_exit(struct kunit *test)
{
	if (test->priv)
		ftkvm_ring_free(test->priv);
}

/* The byte at an offset of the log: differs from its neighbours and from the last turn's. */
static u8 byte_at(u64 off)
{
	return (off * 0x9e3779b97f4a7c15ull) >> 56;
}

static void fill(u8 *data, u64 off, u32 len)
{
	u32 i;

	for (i = 0; i < len; i++)
		data[i] = byte_at(off + i);
}

static bool filled(const u8 *data, u64 off, u32 len)
{
	u32 i;

	for (i = 0; i < len; i++)
		if (data[i] != byte_at(off + i))
			return false;
	return true;
}

static void ring_init_sizes(struct kunit *test)
{
	static const struct {
		u32 size;
		int ret;
	} cases[] = {
		{ 4096, 0 }, { 8192, 0 }, { 1 << 20, 0 },
		{ 0, -EINVAL }, { 1, -EINVAL }, { 2048, -EINVAL }, { 4095, -EINVAL },
		{ 4097, -EINVAL }, { 12288, -EINVAL }, { U32_MAX, -EINVAL },
	};
	struct ftkvm_ring r = {};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_ring_init(&r, cases[i].size), cases[i].ret,
				    "size %u", cases[i].size);
		if (cases[i].ret)
			continue;
		KUNIT_EXPECT_EQ(test, ftkvm_ring_space(&r), cases[i].size);
		KUNIT_EXPECT_EQ(test, ftkvm_ring_used(&r), 0);
		ftkvm_ring_free(&r);
		/* nothing fits in what is gone, and it goes but once */
		KUNIT_EXPECT_EQ(test, ftkvm_ring_write(&r, "x", 1), -ENOSPC);
		ftkvm_ring_free(&r);
	}
}

static void ring_fill_and_drain(struct kunit *test)
{
	struct ftkvm_ring *r = test->priv;
	u8 *data = kunit_kmalloc(test, SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, data);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_peek(r, 0, data, 1), 0);
	fill(data, 0, SIZE);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_write(r, data, 0), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_used(r), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_write(r, data, SIZE), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_used(r), SIZE);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_space(r), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_write(r, data, 1), -ENOSPC);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_write(r, data, 0), 0);
	memset(data, 0, SIZE);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_peek(r, 0, data, SIZE), SIZE);
	KUNIT_EXPECT_TRUE(test, filled(data, 0, SIZE));
	/* a look takes nothing */
	KUNIT_EXPECT_EQ(test, ftkvm_ring_used(r), SIZE);
	ftkvm_ring_release(r, SIZE);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_used(r), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_space(r), SIZE);
}

static void ring_write_is_all_or_nothing(struct kunit *test)
{
	struct ftkvm_ring *r = test->priv;
	u8 *data = kunit_kmalloc(test, 2 * SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, data);
	fill(data, 0, 2 * SIZE);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_write(r, data, SIZE + 1), -ENOSPC);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_write(r, data, U32_MAX), -ENOSPC);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_used(r), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_write(r, data, SIZE - 10), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_write(r, data + SIZE - 10, 11), -ENOSPC);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_used(r), SIZE - 10);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_write(r, data + SIZE - 10, 10), 0);
	memset(data, 0, 2 * SIZE);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_peek(r, 0, data, 2 * SIZE), SIZE);
	KUNIT_EXPECT_TRUE(test, filled(data, 0, SIZE));
}

/* In place where the room is in one piece, and only there; the bytes are as written. */
static void ring_room_in_place(struct kunit *test)
{
	struct ftkvm_ring *r = test->priv;
	u8 *data = kunit_kzalloc(test, SIZE, GFP_KERNEL);
	struct rnd_state rnd;
	u64 off = 0;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, data);
	prandom_seed_state(&rnd, 4711);
	for (i = 0; i < 5000; i++) {
		u32 most = 1 + prandom_u32_state(&rnd) % (SIZE / 2);
		u32 len = prandom_u32_state(&rnd) % (most + 1);
		u32 left = SIZE - (off & (SIZE - 1));
		u8 *room = ftkvm_ring_room(r, most);

		KUNIT_ASSERT_EQ(test, !!room, most <= left && most <= ftkvm_ring_space(r));
		if (room) {
			fill(room, off, len);
			/* not in the ring before it is said so */
			KUNIT_ASSERT_EQ(test, ftkvm_ring_peek(r, off, data, 1), 0);
			ftkvm_ring_wrote(r, len);
		} else if (len <= ftkvm_ring_space(r)) {
			fill(data, off, len);
			KUNIT_ASSERT_EQ(test, ftkvm_ring_write(r, data, len), 0);
		} else {
			ftkvm_ring_release(r, len);
			continue;
		}
		KUNIT_ASSERT_EQ(test, ftkvm_ring_peek(r, off, data, len), len);
		KUNIT_ASSERT_TRUE(test, filled(data, off, len));
		off += len;
	}
	KUNIT_EXPECT_GT(test, off, 10 * SIZE);
}

static void ring_peek_bounds(struct kunit *test)
{
	struct ftkvm_ring *r = test->priv;
	u8 data[64];

	fill(data, 0, 50);
	KUNIT_ASSERT_EQ(test, ftkvm_ring_write(r, data, 50), 0);
	ftkvm_ring_release(r, 20);

	/* released, behind the end, across the end */
	KUNIT_EXPECT_EQ(test, ftkvm_ring_peek(r, 0, data, 10), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_peek(r, 19, data, 10), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_peek(r, 50, data, 10), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_peek(r, U64_MAX, data, 10), 0);
	memset(data, 0, sizeof(data));
	KUNIT_EXPECT_EQ(test, ftkvm_ring_peek(r, 45, data, 10), 5);
	KUNIT_EXPECT_TRUE(test, filled(data, 45, 5));
	KUNIT_EXPECT_EQ(test, data[5], 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_peek(r, 20, data, 30), 30);
	KUNIT_EXPECT_TRUE(test, filled(data, 20, 30));
	KUNIT_EXPECT_EQ(test, ftkvm_ring_peek(r, 20, data, 0), 0);
}

static void ring_release_clamps(struct kunit *test)
{
	struct ftkvm_ring *r = test->priv;
	u8 data[64] = {};

	ftkvm_ring_release(r, 10);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_space(r), SIZE);
	KUNIT_ASSERT_EQ(test, ftkvm_ring_write(r, data, 50), 0);
	ftkvm_ring_release(r, U32_MAX);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_used(r), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_space(r), SIZE);
	KUNIT_EXPECT_EQ(test, r->tail, 50);
}

/* Anything in any order; offsets past 32 bits. */
static void ring_random(struct kunit *test)
{
	struct ftkvm_ring *r = test->priv;
	u8 *data = kunit_kmalloc(test, 2 * SIZE, GFP_KERNEL);
	u64 head = (1ull << 32) - 3 * SIZE, tail = head;
	struct rnd_state rnd;
	u32 full = 0;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, data);
	prandom_seed_state(&rnd, 1);
	r->head = head;
	r->tail = tail;
	for (i = 0; i < 20000; i++) {
		u32 len = prandom_u32_state(&rnd) % (i % 2 ? 100 : SIZE + 100);
		u32 want, got;
		u64 off;

		switch (prandom_u32_state(&rnd) % 3) {
		case 0:
			fill(data, head, len);
			if (len > SIZE - (head - tail)) {
				KUNIT_ASSERT_EQ(test, ftkvm_ring_write(r, data, len), -ENOSPC);
				full++;
				break;
			}
			KUNIT_ASSERT_EQ(test, ftkvm_ring_write(r, data, len), 0);
			head += len;
			break;
		case 1:
			off = tail + prandom_u32_state(&rnd) % (head - tail + 1);
			want = min_t(u64, len, head - off);
			got = ftkvm_ring_peek(r, off, data, len);
			KUNIT_ASSERT_EQ(test, got, want);
			KUNIT_ASSERT_TRUE(test, filled(data, off, got));
			break;
		default:
			ftkvm_ring_release(r, len);
			tail += min_t(u64, len, head - tail);
			break;
		}
		KUNIT_ASSERT_EQ(test, ftkvm_ring_used(r), head - tail);
		KUNIT_ASSERT_EQ(test, ftkvm_ring_space(r), SIZE - (head - tail));
	}
	KUNIT_EXPECT_GT(test, head, 1ull << 32);
	KUNIT_EXPECT_GT(test, full, 100);
}

#define STREAM	(256u << 10)

static int producer(void *arg)
{
	struct ftkvm_ring *r = arg;
	struct rnd_state rnd;
	u8 data[512];
	u64 off = 0;

	prandom_seed_state(&rnd, 2);
	while (!kthread_should_stop()) {
		u32 len = min_t(u64, 1 + prandom_u32_state(&rnd) % sizeof(data), STREAM - off);

		fill(data, off, len);
		if (off < STREAM && !ftkvm_ring_write(r, data, len))
			off += len;
		else
			schedule_timeout_interruptible(1);
		cond_resched();
	}
	return off == STREAM ? 0 : -EIO;
}

/* One writes, one reads, with no lock: the stream comes out as it went in. */
static void ring_two_threads(struct kunit *test)
{
	struct ftkvm_ring *r = test->priv;
	struct task_struct *thread;
	struct rnd_state rnd;
	bool good = true;
	u8 data[700];
	u64 off = 0;
	u32 len;

	prandom_seed_state(&rnd, 3);
	thread = kthread_run(producer, r, "ftkvm-producer");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	while (good && off < STREAM) {
		len = ftkvm_ring_peek(r, off, data, 1 + prandom_u32_state(&rnd) % sizeof(data));
		good = filled(data, off, len);
		ftkvm_ring_release(r, len);
		off += len;
		if (!len)
			schedule_timeout_interruptible(1);
		cond_resched();
	}
	KUNIT_EXPECT_EQ(test, kthread_stop(thread), good ? 0 : -EIO);
	KUNIT_EXPECT_TRUE_MSG(test, good, "up to byte %llu", off);
	KUNIT_EXPECT_EQ(test, ftkvm_ring_used(r), 0);
}

static void flow_may_send(struct kunit *test)
{
	static const struct {
		u64 sent, consumed;
		u32 window, avail, may;
	} cases[] = {
		{ 0, 0, 1000, 5000, 1000 },
		{ 0, 0, 1000, 300, 300 },
		{ 0, 0, 1000, 0, 0 },
		{ 600, 0, 1000, 5000, 400 },
		{ 1000, 0, 1000, 5000, 0 },
		{ 1000, 1, 1000, 5000, 1 },
		{ 1000, 1000, 1000, 5000, 1000 },
		/* the peer's window, not ours: it may have shrunk */
		{ 1500, 0, 1000, 5000, 0 },
		{ 0, 0, 0, 5000, 0 },
		{ 1ull << 40, (1ull << 40) - 10, 100, 5000, 90 },
		{ U32_MAX, 0, U32_MAX, 5000, 0 },
		{ 1ull << 32, 0, 100, 5000, 0 },
		{ 0, 0, U32_MAX, U32_MAX, U32_MAX },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ftkvm_flow f = {
			.sent = cases[i].sent, .received = cases[i].consumed,
			.consumed = cases[i].consumed, .window = cases[i].window,
		};

		KUNIT_EXPECT_EQ_MSG(test, ftkvm_flow_may_send(&f, cases[i].avail), cases[i].may,
				    "row %d", i);
	}
}

static void flow_ack(struct kunit *test)
{
	static const struct ftkvm_flow start = {
		.sent = 1000, .received = 800, .consumed = 500, .epoch = 7, .window = 4096,
	};
	static const struct {
		u64 received, consumed, epoch;
		int ret;
	} cases[] = {
		{ 800, 500, 7, 0 },
		{ 900, 500, 7, 0 },
		{ 1000, 1000, 8, 0 },
		{ 800, 800, 1000, 0 },
		/* backwards */
		{ 799, 500, 7, -EBADMSG },
		{ 800, 499, 7, -EBADMSG },
		{ 800, 500, 6, -EBADMSG },
		{ 0, 0, 0, -EBADMSG },
		/* of what was never sent */
		{ 1001, 500, 7, -EBADMSG },
		{ U64_MAX, 500, 7, -EBADMSG },
		/* consumed and not received */
		{ 800, 801, 7, -EBADMSG },
		{ 1000, 1001, 7, -EBADMSG },
		{ 1000, U64_MAX, 7, -EBADMSG },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ftkvm_flow f = start;
		int ret = ftkvm_flow_ack(&f, cases[i].received, cases[i].consumed, cases[i].epoch);

		KUNIT_EXPECT_EQ_MSG(test, ret, cases[i].ret, "row %d", i);
		KUNIT_EXPECT_EQ(test, f.received, ret ? start.received : cases[i].received);
		KUNIT_EXPECT_EQ(test, f.consumed, ret ? start.consumed : cases[i].consumed);
		KUNIT_EXPECT_EQ(test, f.epoch, ret ? start.epoch : cases[i].epoch);
		KUNIT_EXPECT_EQ(test, f.sent, start.sent);
		KUNIT_EXPECT_EQ(test, f.window, start.window);
	}
}

static void flow_committed(struct kunit *test)
{
	struct ftkvm_flow f = { .sent = 1000, .received = 800, .consumed = 500 };

	KUNIT_EXPECT_TRUE(test, ftkvm_flow_committed(&f, 0));
	KUNIT_EXPECT_TRUE(test, ftkvm_flow_committed(&f, 799));
	KUNIT_EXPECT_TRUE(test, ftkvm_flow_committed(&f, 800));
	KUNIT_EXPECT_FALSE(test, ftkvm_flow_committed(&f, 801));
	KUNIT_EXPECT_FALSE(test, ftkvm_flow_committed(&f, 1000));
	KUNIT_EXPECT_EQ(test, ftkvm_flow_ack(&f, 1000, 500, 0), 0);
	KUNIT_EXPECT_TRUE(test, ftkvm_flow_committed(&f, 1000));
	KUNIT_EXPECT_FALSE(test, ftkvm_flow_committed(&f, 1001));
}

/* A sender and a receiver with little room: never too much is under way, and all arrives. */
static void flow_within_window(struct kunit *test)
{
	const u64 all = 1000000;
	struct ftkvm_flow f = { .window = 700 };
	u64 arrived = 0, consumed = 0, logged = 0;
	struct rnd_state rnd;
	u32 stalls = 0, turns = 0;

	prandom_seed_state(&rnd, 4);
	while (consumed < all && turns++ < 1000000) {
		u32 rand = prandom_u32_state(&rnd);
		u32 n;

		switch (rand % 5) {
		case 0:
			logged = min(logged + rand % 300, all);
			break;
		case 1:
			n = ftkvm_flow_may_send(&f, logged - f.sent);
			stalls += n < logged - f.sent;
			f.sent += n;
			KUNIT_ASSERT_LE(test, f.sent, logged);
			/* what the receiver would have to hold */
			KUNIT_ASSERT_LE(test, f.sent - consumed, f.window);
			break;
		case 2:
			arrived += (rand >> 8) % (f.sent - arrived + 1);
			break;
		case 3:
			consumed += (rand >> 8) % (arrived - consumed + 1);
			break;
		default:
			KUNIT_ASSERT_EQ(test, ftkvm_flow_ack(&f, arrived, consumed, 0), 0);
			break;
		}
	}
	KUNIT_EXPECT_EQ(test, consumed, all);
	KUNIT_EXPECT_GT(test, stalls, 0);
}

static struct kunit_case ftkvm_ring_cases[] = {
	KUNIT_CASE(ring_init_sizes),
	KUNIT_CASE(ring_fill_and_drain),
	KUNIT_CASE(ring_write_is_all_or_nothing),
	KUNIT_CASE(ring_room_in_place),
	KUNIT_CASE(ring_peek_bounds),
	KUNIT_CASE(ring_release_clamps),
	KUNIT_CASE(ring_random),
	KUNIT_CASE(ring_two_threads),
	KUNIT_CASE(flow_may_send),
	KUNIT_CASE(flow_ack),
	KUNIT_CASE(flow_committed),
	KUNIT_CASE(flow_within_window),
	{}
};

static struct kunit_suite ftkvm_ring_suite = {
	.name = "ftkvm_ring",
	.init = ring_test_init,
	.exit = ring_test_exit,
	.test_cases = ftkvm_ring_cases,
};

kunit_test_suite(ftkvm_ring_suite);
