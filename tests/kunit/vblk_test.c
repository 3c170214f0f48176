// SPDX-License-Identifier: GPL-2.0
/* What a virtio disk offers, and what it makes of a request. */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/string.h>
#include <linux/virtio_byteorder.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "../../kmod/core/vblk.h"

#define HDR	((u32)sizeof(struct virtio_blk_outhdr))
#define RANGE	((u32)sizeof(struct virtio_blk_discard_write_zeroes))
#define LAST	(S64_MAX / 512)

/* Blocks of 4096, so that a sector is not enough. */
static const struct ftkvm_vblk disk = {
	.sectors = 1000, .blk_size = 4096, .seg_max = 4, .size_max = 8192, .queues = 1,
	.discard_sectors = 64, .discard_ranges = 3,
	.zeroes_sectors = 128, .zeroes_ranges = 2,
	.id = "a disk",
};

static void vblk_flaws(struct kunit *test)
{
	static const struct {
		u64 sectors;
		bool ok;
	} sectors[] = {
		{ 0, false }, { 8, true }, { 1001, false }, { LAST / 8 * 8, true },
		{ LAST / 8 * 8 + 8, false }, { U64_MAX, false }, { -8ull, false },
	};
	struct ftkvm_vblk d = disk;
	const struct {
		u32 *field, value;
		bool ok;
	} cases[] = {
		{ &d.blk_size, 0, false }, { &d.blk_size, 256, false }, { &d.blk_size, 512, true },
		{ &d.blk_size, 513, false }, { &d.blk_size, 2048, true },
		{ &d.blk_size, 8192, false },
		{ &d.seg_max, 0, false }, { &d.seg_max, 1, true },
		{ &d.seg_max, FTKVM_VBLK_SEGS, true }, { &d.seg_max, FTKVM_VBLK_SEGS + 1, false },
		{ &d.seg_max, U32_MAX, false },
		{ &d.size_max, 0, false }, { &d.size_max, 2048, false },
		{ &d.size_max, 4096, true },
		{ &d.size_max, 8192 + 512, false }, { &d.size_max, FTKVM_VBLK_BYTES / 4, true },
		{ &d.size_max, FTKVM_VBLK_BYTES / 4 + 4096, false },
		{ &d.size_max, -4096, false },
		{ &d.discard_sectors, 0, true }, { &d.discard_sectors, U32_MAX, true },
		{ &d.discard_ranges, 0, false }, { &d.discard_ranges, FTKVM_VBLK_RANGES, true },
		{ &d.discard_ranges, FTKVM_VBLK_RANGES + 1, false },
		{ &d.zeroes_sectors, 0, true }, { &d.zeroes_sectors, U32_MAX, true },
		{ &d.zeroes_ranges, 0, false }, { &d.zeroes_ranges, FTKVM_VBLK_RANGES, true },
		{ &d.zeroes_ranges, FTKVM_VBLK_RANGES + 1, false },
	};
	int i;

	KUNIT_EXPECT_NULL(test, ftkvm_vblk_flaw(&d));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		d = disk;
		*cases[i].field = cases[i].value;
		KUNIT_EXPECT_EQ_MSG(test, !ftkvm_vblk_flaw(&d), cases[i].ok, "row %d", i);
	}
	for (i = 0; i < ARRAY_SIZE(sectors); i++) {
		d = disk;
		d.sectors = sectors[i].sectors;
		KUNIT_EXPECT_EQ_MSG(test, !ftkvm_vblk_flaw(&d), sectors[i].ok, "row %d", i);
	}
	d = disk;
	d.queues = 0;
	KUNIT_EXPECT_NOT_NULL(test, ftkvm_vblk_flaw(&d));
}

#define IN	FTKVM_VBLK_IN
#define OUT	FTKVM_VBLK_OUT
#define BAD	(0x100 | VIRTIO_BLK_S_IOERR)
#define UNSUPP	(0x100 | VIRTIO_BLK_S_UNSUPP)

static const struct {
	u32 type;
	u64 sector;
	u32 out, in;		/* beside the header and the status */
	u32 ret;		/* an operation, or BAD or UNSUPP */
	u32 len;
	u32 on_readonly;
} requests[] = {
	{ VIRTIO_BLK_T_IN, 0, 0, 4096, IN, 4096, IN },
	{ VIRTIO_BLK_T_IN, 992, 0, 4096, IN, 4096, IN },
	/* what a reader gives beside the header is of no matter, and the other way */
	{ VIRTIO_BLK_T_IN, 8, 77, 4096, IN, 4096, IN },
	{ VIRTIO_BLK_T_OUT, 8, 4096, 77, OUT, 4096, BAD },
	{ VIRTIO_BLK_T_IN, 8, 0, 32768, IN, 32768, IN },
	{ VIRTIO_BLK_T_IN, 8, 0, 32768 + 4096, BAD, 0, BAD },
	{ VIRTIO_BLK_T_IN, 8, 0, U32_MAX - 1, BAD, 0, BAD },
	{ VIRTIO_BLK_T_IN, 8, 0, 0xfffff000, BAD, 0, BAD },
	{ VIRTIO_BLK_T_IN, 8, 0, 0, IN, 0, IN },
	{ VIRTIO_BLK_T_IN, 1000, 0, 0, IN, 0, IN },
	{ VIRTIO_BLK_T_IN, 1008, 0, 0, BAD, 0, BAD },
	/* not in blocks */
	{ VIRTIO_BLK_T_IN, 8, 0, 4095, BAD, 0, BAD },
	{ VIRTIO_BLK_T_IN, 8, 0, 4097, BAD, 0, BAD },
	{ VIRTIO_BLK_T_IN, 8, 0, 512, BAD, 0, BAD },
	{ VIRTIO_BLK_T_IN, 1, 0, 4096, BAD, 0, BAD },
	/* over the end */
	{ VIRTIO_BLK_T_IN, 1000, 0, 4096, BAD, 0, BAD },
	{ VIRTIO_BLK_T_IN, 992, 0, 8192, BAD, 0, BAD },
	{ VIRTIO_BLK_T_IN, -8ull, 0, 4096, BAD, 0, BAD },
	{ VIRTIO_BLK_T_IN, 1ull << 55, 0, 4096, BAD, 0, BAD },
	{ VIRTIO_BLK_T_OUT, 992, 4096, 0, OUT, 4096, BAD },
	{ VIRTIO_BLK_T_OUT, 992, 8192, 0, BAD, 0, BAD },
	{ VIRTIO_BLK_T_OUT, 0, 32768 + 4096, 0, BAD, 0, BAD },
	{ VIRTIO_BLK_T_OUT, 0, 4095, 0, BAD, 0, BAD },
	{ VIRTIO_BLK_T_FLUSH, 0, 0, 0, FTKVM_VBLK_FLUSH, 0, FTKVM_VBLK_FLUSH },
	{ VIRTIO_BLK_T_FLUSH, 77, 5, 5, FTKVM_VBLK_FLUSH, 0, FTKVM_VBLK_FLUSH },
	{ VIRTIO_BLK_T_GET_ID, 0, 0, 20, FTKVM_VBLK_GET_ID, 20, FTKVM_VBLK_GET_ID },
	{ VIRTIO_BLK_T_GET_ID, 0, 0, 7, FTKVM_VBLK_GET_ID, 7, FTKVM_VBLK_GET_ID },
	{ VIRTIO_BLK_T_GET_ID, 0, 0, 0, FTKVM_VBLK_GET_ID, 0, FTKVM_VBLK_GET_ID },
	{ VIRTIO_BLK_T_GET_ID, 0, 0, 4096, FTKVM_VBLK_GET_ID, 20, FTKVM_VBLK_GET_ID },
	{ VIRTIO_BLK_T_DISCARD, 0, 16, 0, FTKVM_VBLK_DISCARD, 16, BAD },
	{ VIRTIO_BLK_T_DISCARD, 0, 48, 0, FTKVM_VBLK_DISCARD, 48, BAD },
	{ VIRTIO_BLK_T_DISCARD, 0, 64, 0, BAD, 0, BAD },
	{ VIRTIO_BLK_T_DISCARD, 0, 0, 0, BAD, 0, BAD },
	{ VIRTIO_BLK_T_DISCARD, 0, 17, 0, BAD, 0, BAD },
	{ VIRTIO_BLK_T_DISCARD, 0, 0xfffffff0 - HDR, 0, BAD, 0, BAD },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, 0, FTKVM_VBLK_WRITE_ZEROES, 32, BAD },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 48, 0, BAD, 0, BAD },
	/* SCSI, a barrier, zones, and what there is not */
	{ 2, 0, 0, 4096, UNSUPP, 0, UNSUPP },
	{ 3, 0, 4096, 0, UNSUPP, 0, UNSUPP },
	{ 0x80000000, 0, 0, 4096, UNSUPP, 0, UNSUPP },
	{ 0x80000001, 0, 4096, 0, UNSUPP, 0, UNSUPP },
	{ 14, 0, 16, 0, UNSUPP, 0, UNSUPP },
	{ 16, 0, 0, 4096, UNSUPP, 0, UNSUPP },
	{ U32_MAX, 0, 0, 4096, UNSUPP, 0, UNSUPP },
};

static void judge(struct kunit *test, const struct ftkvm_vblk *d, int row, u32 want)
{
	struct virtio_blk_outhdr hdr = {
		.type = __cpu_to_virtio32(true, requests[row].type),
		.sector = __cpu_to_virtio64(true, requests[row].sector),
	};
	struct ftkvm_vblk_req req;
	bool known = want >= 0x100;

	memset(&req, 0xff, sizeof(req));
	KUNIT_ASSERT_EQ(test, ftkvm_vblk_parse(d, &hdr, HDR + requests[row].out,
					       requests[row].in + 1, &req), 0);
	KUNIT_EXPECT_EQ_MSG(test, req.op, known ? FTKVM_VBLK_REFUSED : want, "row %d", row);
	KUNIT_EXPECT_EQ_MSG(test, req.status, known ? want & 0xff : 0, "row %d", row);
	KUNIT_EXPECT_EQ_MSG(test, req.len, known ? 0 : requests[row].len, "row %d", row);
	KUNIT_EXPECT_EQ_MSG(test, req.status_at, requests[row].in, "row %d", row);
	if (want == IN || want == OUT)
		KUNIT_EXPECT_EQ(test, req.sector, requests[row].sector);
}

static void vblk_requests(struct kunit *test)
{
	struct ftkvm_vblk ro = disk, no = disk;
	struct ftkvm_vblk_req req;
	int i;

	ro.readonly = true;
	no.discard_sectors = 0;
	no.zeroes_sectors = 0;
	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		bool ranges = requests[i].type == VIRTIO_BLK_T_DISCARD ||
			      requests[i].type == VIRTIO_BLK_T_WRITE_ZEROES;

		judge(test, &disk, i, requests[i].ret);
		judge(test, &ro, i, requests[i].on_readonly);
		judge(test, &no, i, ranges ? UNSUPP : requests[i].ret);
	}
	/* no header, no status: no request; the header is not looked at */
	KUNIT_EXPECT_EQ(test, ftkvm_vblk_parse(&disk, NULL, HDR - 1, 1, &req), -EPROTO);
	KUNIT_EXPECT_EQ(test, ftkvm_vblk_parse(&disk, NULL, 0, 1, &req), -EPROTO);
	KUNIT_EXPECT_EQ(test, ftkvm_vblk_parse(&disk, NULL, HDR, 0, &req), -EPROTO);
}

/* Both ways a request's data can go, and what the used ring says. */
static void vblk_lengths(struct kunit *test)
{
	static const struct {
		u8 op;
		u32 out, in;
	} cases[] = {
		{ FTKVM_VBLK_IN, 0, 64 },
		{ FTKVM_VBLK_OUT, 64, 0 },
		{ FTKVM_VBLK_FLUSH, 0, 0 },
		{ FTKVM_VBLK_GET_ID, 0, 64 },
		{ FTKVM_VBLK_DISCARD, 64, 0 },
		{ FTKVM_VBLK_WRITE_ZEROES, 64, 0 },
		{ FTKVM_VBLK_REFUSED, 0, 0 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ftkvm_vblk_req req = { .op = cases[i].op, .len = 64 };

		KUNIT_EXPECT_EQ(test, ftkvm_vblk_out_len(&req), cases[i].out);
		KUNIT_EXPECT_EQ(test, ftkvm_vblk_in_len(&req, VIRTIO_BLK_S_OK), cases[i].in);
		KUNIT_EXPECT_EQ(test, ftkvm_vblk_in_len(&req, VIRTIO_BLK_S_IOERR), 0);
		KUNIT_EXPECT_EQ(test, ftkvm_vblk_in_len(&req, VIRTIO_BLK_S_UNSUPP), 0);
	}
}

#define UNMAP	VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP

static void vblk_ranges(struct kunit *test)
{
	static const struct {
		u64 sector;
		u32 sectors, flags;
		u32 discard, zeroes;
	} cases[] = {
		{ 0, 8, 0, FTKVM_VBLK_DISCARD, FTKVM_VBLK_WRITE_ZEROES },
		{ 936, 64, 0, FTKVM_VBLK_DISCARD, FTKVM_VBLK_WRITE_ZEROES },
		{ 0, 0, 0, FTKVM_VBLK_DISCARD, FTKVM_VBLK_WRITE_ZEROES },
		{ 0, 8, UNMAP, UNSUPP, FTKVM_VBLK_WRITE_ZEROES },
		{ 0, 8, 2, UNSUPP, UNSUPP },
		{ 0, 8, UNMAP | 0x80000000, UNSUPP, UNSUPP },
		{ 0, 72, 0, BAD, FTKVM_VBLK_WRITE_ZEROES },
		{ 0, 136, 0, BAD, BAD },
		{ 0, U32_MAX, 0, BAD, BAD },
		{ 944, 64, 0, BAD, BAD },
		{ 4, 8, 0, BAD, BAD },
		{ 0, 4, 0, BAD, BAD },
		{ -8ull, 16, 0, BAD, BAD },
	};
	struct virtio_blk_discard_write_zeroes data[2] = { };
	struct ftkvm_vblk_range r;
	int i, j;

	for (i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		bool zeroes = i & 1;
		u8 op = zeroes ? FTKVM_VBLK_WRITE_ZEROES : FTKVM_VBLK_DISCARD;
		struct ftkvm_vblk_req req = { .op = op, .len = 2 * RANGE };
		u32 want = cases[i / 2].discard;

		if (zeroes)
			want = cases[i / 2].zeroes;
		/* the second is as wrong as the first would be */
		data[1].sector = cpu_to_le64(cases[i / 2].sector);
		data[1].num_sectors = cpu_to_le32(cases[i / 2].sectors);
		data[1].flags = cpu_to_le32(cases[i / 2].flags);
		KUNIT_EXPECT_TRUE(test, ftkvm_vblk_range(&req, data, 0, &r));
		KUNIT_EXPECT_TRUE(test, ftkvm_vblk_range(&req, data, 1, &r));
		KUNIT_EXPECT_EQ(test, r.sector, cases[i / 2].sector);
		KUNIT_EXPECT_EQ(test, r.sectors, cases[i / 2].sectors);
		KUNIT_EXPECT_EQ(test, r.unmap, cases[i / 2].flags & UNMAP);
		KUNIT_EXPECT_FALSE(test, ftkvm_vblk_range(&req, data, 2, &r));

		ftkvm_vblk_judge_ranges(&disk, &req, data);
		KUNIT_EXPECT_EQ_MSG(test, req.op, want >= 0x100 ? FTKVM_VBLK_REFUSED : want,
				    "row %d", i / 2);
		KUNIT_EXPECT_EQ_MSG(test, req.status, want >= 0x100 ? want & 0xff : 0,
				    "row %d", i / 2);
		KUNIT_EXPECT_EQ(test, req.len, want >= 0x100 ? 0 : 2 * RANGE);
		KUNIT_EXPECT_EQ(test, ftkvm_vblk_range(&req, data, 1, &r), want < 0x100);
	}
	/* others have none, whatever their data look like */
	for (j = 0; j <= FTKVM_VBLK_REFUSED; j++) {
		struct ftkvm_vblk_req req = { .op = j, .len = 2 * RANGE };

		if (j == FTKVM_VBLK_DISCARD || j == FTKVM_VBLK_WRITE_ZEROES)
			continue;
		KUNIT_EXPECT_FALSE(test, ftkvm_vblk_range(&req, data, 0, &r));
		ftkvm_vblk_judge_ranges(&disk, &req, data);
		KUNIT_EXPECT_EQ(test, req.op, j);
		KUNIT_EXPECT_EQ(test, req.len, 2 * RANGE);
	}
}

static struct kunit_case ftkvm_vblk_cases[] = {
	KUNIT_CASE(vblk_flaws),
	KUNIT_CASE(vblk_requests),
	KUNIT_CASE(vblk_lengths),
	KUNIT_CASE(vblk_ranges),
	{}
};

static struct kunit_suite ftkvm_vblk_suite = {
	.name = "ftkvm_vblk",
	.test_cases = ftkvm_vblk_cases,
};

kunit_test_suite(ftkvm_vblk_suite);
