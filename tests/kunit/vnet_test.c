// SPDX-License-Identifier: GPL-2.0
/*
 * A card's packets: what is sent is what lay in the ring when it was taken; what came
 * fills the oldest room, and the driver sees all of it at once.
 */
#include "../../kmod/core/vnet.h"
#include "virtq_sim.h"

#define HDR	FTKVM_VNET_HDR

struct rig {
	struct sim *s;
	struct ftkvm_vfifo f;
};

static int vnet_test_init(struct kunit *test)
{
	struct rig *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, r);
	r->s = sim_make(test, 1);
	test->priv = r;
	return 0;
}

static void vnet_test_exit(struct kunit *test)
{
	struct rig *r = test->priv;

	if (r)
		ftkvm_vfifo_drop(&r->f);
}

/* A chain of one or two buffers, of @len bytes in all, at descriptor @head. */
static void lay(struct sim *s, u16 head, bool rx, u64 gpa, u32 first, u32 second)
{
	struct sim_chain c = {
		.nout = rx ? 0 : 1 + !!second, .nin = rx ? 1 + !!second : 0,
		.seg = { { gpa, first }, { gpa + first, second } },
	};

	sim_chain(s, head, &c);
}

static int take(struct rig *r, bool rx, struct ftkvm_vreq **req)
{
	*req = NULL;
	return ftkvm_vnet_take(&r->f, &r->s->q, rx, req);
}

static void vnet_sends(struct kunit *test)
{
	struct rig *r = test->priv;
	struct sim *s = r->s;
	u8 *data = sim_at(s, SIM_DATA, 256);
	struct ftkvm_vreq *req;

	memset(data, 0x5a, 256);
	lay(s, 0, false, SIM_DATA, HDR, 88);
	lay(s, 2, false, SIM_DATA, HDR, 0);
	KUNIT_ASSERT_EQ(test, take(r, false, &req), 1);
	memset(data, 0, 256);
	KUNIT_EXPECT_EQ(test, req->kind, FTKVM_VREQ_TX);
	KUNIT_ASSERT_EQ(test, req->len, HDR + 88);
	KUNIT_EXPECT_NULL(test, memchr_inv(req->data, 0x5a, req->len));
	KUNIT_ASSERT_EQ(test, take(r, false, &req), 1);
	KUNIT_EXPECT_EQ(test, take(r, false, &req), 0);
	KUNIT_EXPECT_EQ(test, sim_used_idx(s), 0);

	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &s->q, false), 0);
	KUNIT_EXPECT_EQ(test, sim_used_idx(s), 1);
	KUNIT_EXPECT_EQ(test, le32_to_cpu((__force __le32)sim_used(s, 0).len), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &s->q, false), 0);
	KUNIT_EXPECT_EQ(test, le32_to_cpu((__force __le32)sim_used(s, 1).id), 2);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &s->q, false), -ENOENT);
	KUNIT_EXPECT_EQ(test, r->f.bytes, 0);
}

static void vnet_receives(struct kunit *test)
{
	struct rig *r = test->priv;
	struct sim *s = r->s;
	u8 packet[200], *at = sim_at(s, SIM_DATA, 1024);
	struct ftkvm_vreq *req, *later;

	memset(packet, 0x77, sizeof(packet));
	lay(s, 0, true, SIM_DATA, 100, 156);
	lay(s, 2, true, SIM_DATA + 512, 256, 0);
	KUNIT_ASSERT_EQ(test, take(r, true, &req), 1);
	KUNIT_ASSERT_EQ(test, take(r, true, &later), 1);
	/* nothing came */
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &s->q, false), -EINVAL);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_fits(&r->f, req->seq, 200, false), 1);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_fits(&r->f, req->seq, 257, false), 0);
	KUNIT_ASSERT_EQ(test, ftkvm_vnet_arrived(req, packet, 200), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &s->q, false), 0);
	KUNIT_EXPECT_EQ(test, sim_used_idx(s), 1);
	KUNIT_EXPECT_EQ(test, le32_to_cpu((__force __le32)sim_used(s, 0).len), 200);
	/* but for the number of buffers, at the header's end, as it came */
	KUNIT_EXPECT_NULL(test, memchr_inv(at, 0x77, 10));
	KUNIT_EXPECT_EQ(test, at[10], 1);
	KUNIT_EXPECT_EQ(test, at[11], 0);
	KUNIT_EXPECT_NULL(test, memchr_inv(at + HDR, 0x77, 200 - HDR));
	KUNIT_EXPECT_NULL(test, memchr_inv(at + 200, 0, 1024 - 200));
	KUNIT_EXPECT_PTR_EQ(test, ftkvm_vfifo_find(&r->f, r->f.first), later);
}

/* One packet in several buffers: none of them is the driver's before all are. */
static void vnet_merges(struct kunit *test)
{
	struct rig *r = test->priv;
	struct sim *s = r->s;
	struct ftkvm_vreq *req[4];
	u8 packet[300];
	u64 seq;
	u32 i;

	for (i = 0; i < sizeof(packet); i++)
		packet[i] = i;
	for (i = 0; i < 4; i++) {
		lay(s, i, true, SIM_DATA + i * 0x200, 100, 0);
		KUNIT_ASSERT_EQ(test, take(r, true, &req[i]), 1);
	}
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_fits(&r->f, req[0]->seq, 300, false), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_fits(&r->f, req[0]->seq, 300, true), 3);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_fits(&r->f, req[0]->seq, 301, true), 4);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_fits(&r->f, req[0]->seq, 401, true), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_fits(&r->f, req[3]->seq, 101, true), 0);

	seq = req[0]->seq;
	KUNIT_ASSERT_EQ(test, ftkvm_vnet_arrived(req[0], packet, 300), 0);
	/* a backup whose driver accepted something else would part here */
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &s->q, false), -EINVAL);
	KUNIT_EXPECT_EQ(test, sim_used_idx(s), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &s->q, true), 0);
	KUNIT_EXPECT_EQ(test, sim_used_idx(s), 3);
	packet[10] = 3;
	packet[11] = 0;
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, le32_to_cpu((__force __le32)sim_used(s, i).id), i);
		KUNIT_EXPECT_EQ(test, le32_to_cpu((__force __le32)sim_used(s, i).len), 100);
		KUNIT_EXPECT_MEMEQ(test, sim_at(s, SIM_DATA + i * 0x200, 100), packet + i * 100,
				   100);
	}
	KUNIT_EXPECT_EQ(test, r->f.first, seq + 3);
}

/* What can't be written breaks the queue, and the driver sees nothing of it. */
static void vnet_bad_room(struct kunit *test)
{
	struct rig *r = test->priv;
	struct sim *s = r->s;
	struct ftkvm_vreq *req[2];
	u8 packet[150] = { };

	lay(s, 0, true, SIM_DATA, 100, 0);
	lay(s, 1, true, SIM_BASE + SIM_SIZE - 40, 100, 0);
	KUNIT_ASSERT_EQ(test, take(r, true, &req[0]), 1);
	KUNIT_ASSERT_EQ(test, take(r, true, &req[1]), 1);
	KUNIT_ASSERT_EQ(test, ftkvm_vnet_arrived(req[0], packet, sizeof(packet)), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &s->q, true), -EPROTO);
	KUNIT_EXPECT_NOT_NULL(test, s->q.broken);
	KUNIT_EXPECT_EQ(test, sim_used_idx(s), 0);
}

static void vnet_flaws(struct kunit *test)
{
	static const struct {
		bool rx;
		const char *words;
		struct sim_chain c;
	} bad[] = {
		{ true, "to be read",
		  { .nout = 1, .nin = 1, .seg = { { SIM_DATA, 12 }, { SIM_DATA, 100 } } } },
		{ true, "its header", { .nin = 1, .seg = { { SIM_DATA, HDR - 1 } } } },
		{ false, "to be written",
		  { .nout = 1, .nin = 1, .seg = { { SIM_DATA, 12 }, { SIM_DATA, 100 } } } },
		{ false, "a header", { .nout = 1, .seg = { { SIM_DATA, HDR - 1 } } } },
	};
	struct rig *r = test->priv;
	struct ftkvm_vreq *req;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		sim_reset(r->s);
		sim_chain(r->s, 0, &bad[i].c);
		KUNIT_EXPECT_EQ_MSG(test, take(r, bad[i].rx, &req), -EPROTO, "row %u", i);
		KUNIT_ASSERT_NOT_NULL_MSG(test, r->s->q.broken, "row %u", i);
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(r->s->q.broken, bad[i].words), "row %u", i);
	}
}

/* The longest that there is goes; what is longer goes nowhere, and breaks nothing. */
static void vnet_long(struct kunit *test)
{
	const u32 most = FTKVM_VNET_BYTES;
	struct rig *r = test->priv;
	struct ftkvm_vreq *req;

	lay(r->s, 0, false, SIM_DATA, 40000, 0);
	lay(r->s, 1, false, SIM_DATA, HDR, 0);
	sim_desc(r->s, SIM_DESC, 0, SIM_DATA, 40000, VRING_DESC_F_NEXT, 5);
	sim_desc(r->s, SIM_DESC, 5, SIM_DATA, most - 40000, 0, 0);
	KUNIT_ASSERT_EQ(test, take(r, false, &req), 1);
	KUNIT_EXPECT_EQ(test, req->len, most);
	KUNIT_ASSERT_EQ(test, take(r, false, &req), 1);
	sim_desc(r->s, SIM_DESC, 5, SIM_DATA, most - 40000 + 1, 0, 0);
	sim_avail(r->s, 0);
	KUNIT_ASSERT_EQ(test, take(r, false, &req), 1);
	KUNIT_EXPECT_EQ(test, req->len, 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &r->s->q, false), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &r->s->q, false), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_vnet_done(&r->f, &r->s->q, false), 0);
	KUNIT_EXPECT_EQ(test, sim_used_idx(r->s), 3);
}

/* A packet's buffers lie at the used ring's end and at its beginning. */
static void vnet_wraps(struct kunit *test)
{
	struct rig *r = test->priv;
	struct sim *s = r->s;
	struct ftkvm_vreq *req;
	u8 packet[250] = { };
	u32 i;

	for (i = 0; i < SIM_NUM - 1; i++) {
		lay(s, i, true, SIM_DATA, 100, 0);
		KUNIT_ASSERT_EQ(test, take(r, true, &req), 1);
		KUNIT_ASSERT_EQ(test, ftkvm_vnet_arrived(req, packet, 50), 0);
		KUNIT_ASSERT_EQ(test, ftkvm_vnet_done(&r->f, &s->q, true), 0);
	}
	for (i = 0; i < 3; i++) {
		lay(s, i, true, SIM_DATA, 100, 0);
		KUNIT_ASSERT_EQ(test, take(r, true, &req), 1);
	}
	req = ftkvm_vfifo_find(&r->f, r->f.first);
	KUNIT_ASSERT_EQ(test, ftkvm_vnet_arrived(req, packet, 250), 0);
	KUNIT_ASSERT_EQ(test, ftkvm_vnet_done(&r->f, &s->q, true), 0);
	KUNIT_EXPECT_EQ(test, sim_used_idx(s), SIM_NUM + 2);
	for (i = 0; i < 3; i++) {
		struct vring_used_elem e = sim_used(s, SIM_NUM - 1 + i);

		KUNIT_EXPECT_EQ(test, le32_to_cpu((__force __le32)e.id), i);
		KUNIT_EXPECT_EQ(test, le32_to_cpu((__force __le32)e.len), i < 2 ? 100 : 50);
	}
}

static struct kunit_case vnet_test_cases[] = {
	KUNIT_CASE(vnet_sends),
	KUNIT_CASE(vnet_receives),
	KUNIT_CASE(vnet_merges),
	KUNIT_CASE(vnet_bad_room),
	KUNIT_CASE(vnet_flaws),
	KUNIT_CASE(vnet_long),
	KUNIT_CASE(vnet_wraps),
	{}
};

static struct kunit_suite vnet_test_suite = {
	.name = "ftkvm_vnet",
	.init = vnet_test_init,
	.exit = vnet_test_exit,
	.test_cases = vnet_test_cases,
};

kunit_test_suite(vnet_test_suite);
