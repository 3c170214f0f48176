// SPDX-License-Identifier: GPL-2.0
/*
 * Pending requests: two replicas that take and complete at the same points hold the
 * same ones, and write the same into their guests' memory.
 */
#include <linux/virtio_blk.h>

#include "../../kmod/core/vfifo.h"
#include "virtq_sim.h"

#define STATUS_AT	(SIM_DATA + 0xf000)
#define HDR_AT		(SIM_DATA + 0xe000)

static const struct ftkvm_vblk disk = {
	.sectors = 1 << 20, .blk_size = 512, .seg_max = 128, .size_max = 65536, .queues = 1,
	.discard_sectors = 64, .discard_ranges = 4, .id = "0123456789abcdefghi",
};

struct rig {
	struct sim *s;
	struct ftkvm_vfifo f;
};

static struct rig *rig_make(struct kunit *test)
{
	struct rig *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, r);
	r->s = sim_make(test, 1);
	return r;
}

static int vfifo_test_init(struct kunit *test)
{
	test->priv = rig_make(test);
	return 0;
}

static void vfifo_test_exit(struct kunit *test)
{
	struct rig *r = test->priv;

	if (r)
		ftkvm_vfifo_drop(&r->f);
}

/* A request: header, data at @gpa, status; slot @i has its own header and status. */
static void ask(struct sim *s, u32 i, u32 type, u64 sector, u64 gpa, u32 len)
{
	struct virtio_blk_outhdr hdr = {
		.type = __cpu_to_virtio32(true, type),
		.sector = __cpu_to_virtio64(true, sector),
	};
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct sim_chain w = {
		.nout = 1 + (!in && len), .nin = 1 + (in && len),
		.table = 2 + !!len,
		.seg = { { HDR_AT + i * 16, 16 }, { gpa, len }, { STATUS_AT + i, 1 } },
	};

	if (!len)
		w.seg[1] = w.seg[2];
	memcpy(sim_at(s, HDR_AT + i * 16, 16), &hdr, sizeof(hdr));
	*sim_at(s, STATUS_AT + i, 1) = 0xff;
	sim_chain(s, i, &w);
}

static struct ftkvm_vreq *take(struct rig *r)
{
	struct ftkvm_vreq *req = NULL;
	int ret = ftkvm_vfifo_take(&r->f, &r->s->q, &disk, &req);

	KUNIT_EXPECT_EQ(r->s->test, ret, req ? 1 : 0);
	return req;
}

static u32 used_len(struct sim *s, u16 idx)
{
	return __virtio32_to_cpu(true, sim_used(s, idx).len);
}

/* One of each kind: the data go where they belong, and only if it went well. */
static void vfifo_each_kind(struct kunit *test)
{
	struct virtio_blk_discard_write_zeroes range = { .num_sectors = cpu_to_le32(8) };
	struct rig *r = test->priv;
	struct sim *s = r->s;
	struct ftkvm_vreq *req;
	u8 *data = sim_at(s, SIM_DATA, 4096);

	memset(data, 1, 4096);
	memcpy(data + 2048, &range, sizeof(range));
	range.num_sectors = cpu_to_le32(72);
	memcpy(data + 2064, &range, sizeof(range));
	ask(s, 0, VIRTIO_BLK_T_OUT, 5, SIM_DATA, 512);
	ask(s, 1, VIRTIO_BLK_T_IN, 6, SIM_DATA + 512, 512);
	ask(s, 2, VIRTIO_BLK_T_IN, 7, SIM_DATA + 1024, 512);
	ask(s, 3, VIRTIO_BLK_T_GET_ID, 0, SIM_DATA + 1536, 100);
	ask(s, 4, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	ask(s, 5, VIRTIO_BLK_T_DISCARD, 0, SIM_DATA + 2048, 16);
	ask(s, 6, 99, 0, 0, 0);
	ask(s, 7, VIRTIO_BLK_T_DISCARD, 0, SIM_DATA + 2064, 16);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), -ENOENT);

	req = take(r);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_EQ(test, req->blk.op, FTKVM_VBLK_OUT);
	KUNIT_EXPECT_EQ(test, req->blk.sector, 5);
	/* as it was when it was taken */
	memset(data, 2, 512);
	KUNIT_EXPECT_EQ(test, req->blk.len, 512);
	KUNIT_EXPECT_NULL(test, memchr_inv(req->data, 1, 512));
	req = take(r);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_EQ(test, req->blk.op, FTKVM_VBLK_IN);
	KUNIT_EXPECT_NULL(test, memchr_inv(req->data, 0, 512));
	memset(req->data, 3, 512);
	req = take(r);
	KUNIT_ASSERT_NOT_NULL(test, req);
	memset(req->data, 4, 512);
	req = take(r);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_EQ(test, req->blk.op, FTKVM_VBLK_GET_ID);
	req = take(r);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_EQ(test, req->blk.op, FTKVM_VBLK_FLUSH);
	req = take(r);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_EQ(test, req->blk.op, FTKVM_VBLK_DISCARD);
	KUNIT_EXPECT_MEMEQ(test, req->data, (void *)data + 2048, sizeof(range));
	req = take(r);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_EQ(test, req->blk.op, FTKVM_VBLK_REFUSED);
	req = take(r);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_EQ(test, req->blk.op, FTKVM_VBLK_REFUSED);
	KUNIT_EXPECT_NULL(test, take(r));
	KUNIT_EXPECT_EQ(test, r->f.bytes, 3 * 512 + 20 + 16 + 16);
	KUNIT_EXPECT_EQ(test, sim_used_idx(s), 0);

	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, 3), -EINVAL);
	KUNIT_EXPECT_EQ(test, sim_used_idx(s), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_IOERR), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_UNSUPP), 0);
	/* nobody asked anything of the disk */
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), -ENOENT);

	KUNIT_EXPECT_EQ(test, sim_used_idx(s), 8);
	KUNIT_EXPECT_EQ(test, r->f.bytes, 0);
	KUNIT_EXPECT_MEMEQ(test, sim_at(s, STATUS_AT, 8), "\0\0\1\0\0\2\2\1", 8);
	KUNIT_EXPECT_EQ(test, used_len(s, 0), 1);
	KUNIT_EXPECT_EQ(test, used_len(s, 1), 513);
	KUNIT_EXPECT_EQ(test, used_len(s, 2), 1);
	KUNIT_EXPECT_EQ(test, used_len(s, 3), 21);
	KUNIT_EXPECT_EQ(test, used_len(s, 4), 1);
	KUNIT_EXPECT_NULL(test, memchr_inv(data, 2, 512));
	KUNIT_EXPECT_NULL(test, memchr_inv(data + 512, 3, 512));
	KUNIT_EXPECT_NULL(test, memchr_inv(data + 1024, 1, 512));
	KUNIT_EXPECT_MEMEQ(test, data + 1536, "0123456789abcdefghi\0", 20);
	KUNIT_EXPECT_NULL(test, memchr_inv(data + 1556, 1, 2048 - 1556));
}

/* Chains that are no requests break the queue; what was pending stays as it is. */
static void vfifo_no_request(struct kunit *test)
{
	static const struct {
		struct sim_chain w;
		const char *cause;
	} cases[] = {
		{ { 1, 0, 0, { { HDR_AT, 16 } } }, "a request without a header or a status" },
		{ { 0, 1, 0, { { STATUS_AT, 1 } } }, "a request without a header or a status" },
		{ { 1, 1, 0, { { HDR_AT, 15 }, { STATUS_AT, 1 } } },
		  "a request without a header or a status" },
		{ { 1, 1, 0, { { SIM_BASE - 1, 16 }, { STATUS_AT, 1 } } },
		  "a buffer that is not in memory" },
		{ { 2, 1, 0, { { HDR_AT, 16 }, { SIM_BASE + SIM_SIZE, 512 }, { STATUS_AT, 1 } } },
		  "a buffer that is not in memory" },
		{ { 0 }, "a chain that loops" },
	};
	struct virtio_blk_outhdr hdr = { .type = __cpu_to_virtio32(true, VIRTIO_BLK_T_OUT) };
	struct rig *r = test->priv;
	struct sim *s = r->s;
	struct ftkvm_vreq *req;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		ftkvm_vfifo_drop(&r->f);
		sim_reset(s);
		ask(s, 8, VIRTIO_BLK_T_IN, 0, SIM_DATA, 512);
		KUNIT_ASSERT_NOT_NULL(test, take(r));
		memcpy(sim_at(s, HDR_AT, 16), &hdr, sizeof(hdr));
		if (cases[i].w.nout + cases[i].w.nin) {
			sim_chain(s, 0, &cases[i].w);
		} else {
			sim_desc(s, SIM_DESC, 0, SIM_DATA, 1, VRING_DESC_F_NEXT, 0);
			sim_avail(s, 0);
		}
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_vfifo_take(&r->f, &s->q, &disk, &req), -EPROTO,
				    "row %d", i);
		KUNIT_ASSERT_NOT_NULL(test, s->q.broken);
		KUNIT_EXPECT_STREQ(test, s->q.broken, cases[i].cause);
		KUNIT_EXPECT_EQ(test, r->f.next - r->f.first, 1);
		KUNIT_EXPECT_EQ(test, r->f.bytes, 512);
		KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), -EPROTO);
		KUNIT_EXPECT_EQ(test, r->f.next - r->f.first, 1);
		KUNIT_EXPECT_EQ(test, sim_used_idx(s), 0);
	}
}

/* Where the data or the status can't be written, the queue breaks when it is tried. */
static void vfifo_not_writable(struct kunit *test)
{
	static const struct ftkvm_vseg nowhere = { SIM_BASE + SIM_SIZE - 511, 512 };
	struct rig *r = test->priv;
	struct sim *s = r->s;
	int status;

	for (status = VIRTIO_BLK_S_OK; status <= VIRTIO_BLK_S_IOERR; status++) {
		ftkvm_vfifo_drop(&r->f);
		sim_reset(s);
		ask(s, 0, VIRTIO_BLK_T_IN, 0, nowhere.gpa, nowhere.len);
		KUNIT_ASSERT_NOT_NULL(test, take(r));
		/* of a read that failed, only the status is written */
		KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, status),
				status ? 0 : -EPROTO);
		KUNIT_EXPECT_EQ(test, sim_used_idx(s), status ? 1 : 0);
		KUNIT_EXPECT_EQ(test, !!s->q.broken, !status);
	}
}

/* Only so much is held; the rest waits in the queue, and nothing is lost. */
static void vfifo_bounded(struct kunit *test)
{
	static const struct ftkvm_vblk big = {
		.sectors = 1 << 20, .blk_size = 512, .seg_max = 1,
		.size_max = FTKVM_VBLK_BYTES, .queues = 1,
	};
	struct rig *r = test->priv;
	struct sim *s = r->s;
	struct ftkvm_vreq *req;
	u32 len = 15 << 20, i;

	for (i = 0; i < 6; i++)
		ask(s, i, VIRTIO_BLK_T_IN, i, SIM_DATA, len);
	for (i = 0; i < 3; i++)
		KUNIT_ASSERT_EQ(test, ftkvm_vfifo_take(&r->f, &s->q, &big, &req), 1);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_take(&r->f, &s->q, &big, &req), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_virtq_pending(&s->q), 3);
	KUNIT_EXPECT_EQ(test, r->f.bytes, 3ull * len);
	for (i = 0; i < 6; i++) {
		KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_IOERR), 0);
		KUNIT_EXPECT_EQ(test, ftkvm_vfifo_take(&r->f, &s->q, &big, &req), i < 3);
		if (i < 3)
			KUNIT_EXPECT_EQ(test, req->blk.sector, i + 3);
	}
	KUNIT_EXPECT_EQ(test, r->f.bytes, 0);
	KUNIT_EXPECT_EQ(test, r->f.next, 6);
}

/* A restart drops what is pending; who works on it keeps it, and finds it gone. */
static void vfifo_restart(struct kunit *test)
{
	struct rig *r = test->priv;
	struct sim *s = r->s;
	struct ftkvm_vreq *req[3], *again;
	u32 i;

	for (i = 0; i < 3; i++) {
		ask(s, i, VIRTIO_BLK_T_IN, 10 + i, SIM_DATA + i * 512, 512);
		req[i] = take(r);
		KUNIT_ASSERT_NOT_NULL(test, req[i]);
		KUNIT_EXPECT_PTR_EQ(test, ftkvm_vfifo_find(&r->f, i), req[i]);
	}
	KUNIT_EXPECT_NULL(test, ftkvm_vfifo_find(&r->f, 3));
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), 0);
	KUNIT_EXPECT_NULL(test, ftkvm_vfifo_find(&r->f, 0));
	ftkvm_vreq_get(req[1]);

	ftkvm_vfifo_drop(&r->f);
	KUNIT_ASSERT_EQ(test, ftkvm_virtq_start(&s->q, &sim_place), 0);
	KUNIT_ASSERT_EQ(test, ftkvm_virtq_rollback(&s->q), 0);
	KUNIT_EXPECT_EQ(test, r->f.bytes, 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vfifo_done(&r->f, &s->q, VIRTIO_BLK_S_OK), -ENOENT);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_NULL(test, ftkvm_vfifo_find(&r->f, i));
	memset(req[1]->data, 5, req[1]->blk.len);
	ftkvm_vreq_put(req[1]);

	/* the same requests again, under new numbers */
	for (i = 1; i < 3; i++) {
		again = take(r);
		KUNIT_ASSERT_NOT_NULL(test, again);
		KUNIT_EXPECT_EQ(test, again->blk.sector, 10 + i);
		KUNIT_EXPECT_EQ(test, again->seq, 2 + i);
	}
	KUNIT_EXPECT_NULL(test, take(r));
}

/* Random requests on two replicas, whose disk has the one's content only. */
static void vfifo_replicas(struct kunit *test)
{
	struct rig *a = test->priv, *b = rig_make(test);
	u32 taken = 0, done = 0, dropped = 0, broken = 0, i, j;
	struct ftkvm_vreq *x, *y;

	for (i = 0; i < 10000; i++) {
		struct ftkvm_virtq *aq = &a->s->q, *bq = &b->s->q;
		u32 slot = sim_below(a->s, SIM_NUM), type = sim_below(a->s, 5);
		u32 len = sim_below(a->s, 4) * 512 + (sim_below(a->s, 10) == 0);
		u8 status = sim_below(a->s, 8) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
		int ret;

		switch (sim_below(a->s, 8)) {
		case 0: case 1: case 2:
			/* the guest, on both */
			type = type == 2 ? VIRTIO_BLK_T_GET_ID : type == 3 ? 11 : type;
			ask(a->s, slot, type, sim_below(a->s, 100), SIM_DATA + slot * 2048, len);
			if (sim_below(a->s, 50) == 0)
				*sim_at(a->s, SIM_DESC + sim_below(a->s, 256), 1) = i;
			memcpy(b->s->mem, a->s->mem, SIM_SIZE);
			b->s->avail_idx = a->s->avail_idx;
			break;
		case 3: case 4:
			do {
				x = NULL;
				y = NULL;
				ret = ftkvm_vfifo_take(&a->f, aq, &disk, &x);
				KUNIT_ASSERT_EQ(test, ftkvm_vfifo_take(&b->f, bq, &disk, &y), ret);
				if (ret != 1)
					break;
				KUNIT_ASSERT_EQ(test, x->seq, y->seq);
				KUNIT_ASSERT_EQ(test, memcmp(&x->blk, &y->blk, sizeof(x->blk)), 0);
				KUNIT_ASSERT_EQ(test, memcmp(x->data, y->data, x->blk.len), 0);
				taken++;
			} while (1);
			break;
		case 5: case 6:
			x = ftkvm_vfifo_find(&a->f, a->f.first);
			y = ftkvm_vfifo_find(&b->f, a->f.first);
			KUNIT_ASSERT_EQ(test, !!x, !!y);
			if (x) {
				if (ftkvm_vblk_in_len(&x->blk, status)) {
					prandom_bytes_state(&a->s->rnd, x->data, x->blk.len);
					memcpy(y->data, x->data, x->blk.len);
				}
				done++;
			}
			ret = ftkvm_vfifo_done(&a->f, aq, status);
			KUNIT_ASSERT_EQ(test, ftkvm_vfifo_done(&b->f, bq, status), ret);
			break;
		default:
			if (!aq->broken && sim_below(a->s, 30))
				break;
			broken += !!aq->broken;
			for (j = 0; j < 2; j++) {
				struct rig *r = j ? b : a;

				dropped += r->f.next - r->f.first;
				ftkvm_vfifo_drop(&r->f);
				KUNIT_ASSERT_EQ(test, ftkvm_virtq_start(&r->s->q, &sim_place), 0);
				KUNIT_ASSERT_EQ(test, ftkvm_virtq_rollback(&r->s->q), 0);
				r->s->avail_idx = r->s->q.used_idx;
			}
		}
		KUNIT_ASSERT_EQ(test, a->f.next - a->f.first, ftkvm_virtq_pending(aq));
		KUNIT_ASSERT_PTR_EQ(test, aq->broken, bq->broken);
		KUNIT_ASSERT_EQ(test, memcmp(a->s->mem, b->s->mem, SIM_SIZE), 0);
	}
	ftkvm_vfifo_drop(&b->f);
	KUNIT_EXPECT_GT(test, taken, 1000);
	KUNIT_EXPECT_GT(test, done, 700);
	KUNIT_EXPECT_GT(test, dropped, 150);
	KUNIT_EXPECT_GT(test, broken, 30);
}

static struct kunit_case ftkvm_vfifo_cases[] = {
	KUNIT_CASE(vfifo_each_kind),
	KUNIT_CASE(vfifo_no_request),
	KUNIT_CASE(vfifo_not_writable),
	KUNIT_CASE(vfifo_bounded),
	KUNIT_CASE(vfifo_restart),
	KUNIT_CASE(vfifo_replicas),
	{}
};

static struct kunit_suite ftkvm_vfifo_suite = {
	.name = "ftkvm_vfifo",
	.init = vfifo_test_init,
	.exit = vfifo_test_exit,
	.test_cases = ftkvm_vfifo_cases,
};

kunit_test_suite(ftkvm_vfifo_suite);
