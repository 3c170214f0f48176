// SPDX-License-Identifier: GPL-2.0
/*
 * Log records: their wire form byte by byte, and that what goes in comes out.
 * record_garbled_test.c has what nobody encoded.
 */
#include "record_gen.h"

static const u8 env_items[] = { FTKVM_ENV_PIO, 1, 0xaa, FTKVM_ENV_MSR, 2, 0x34, 0x12 };

/*
 * One log, its records in this order: deltas go from one to the next. All have
 * the hashes of wire_hash: END as they are, behind what is said here, ENV and
 * OUT their low halves, TSC and STOP not at all.
 */
static const struct {
	struct ftkvm_rec rec;
	u8 wire[64];
	u8 len;
} wire_log[] = {
	{
		.rec = {
			.type = FTKVM_REC_TSC, .point = { 100, 0x1000, 0 },
			.digest = 0x12345678, .tsc = 1000,
		},
		.wire = { 10, 0x03, 100, 0x80, 0x40, 0x78, 0x56, 0x34, 0x12, 0xd0, 0x0f },
		.len = 11,
	}, {
		.rec = {
			.type = FTKVM_REC_TSC, .flags = FTKVM_RECF_SNAP,
			.point = { 100, 0xfff, 0 }, .digest = 1, .tsc = 998,
		},
		.wire = { 8, 0x13, 0, 0x01, 0x01, 0, 0, 0, 0x03 },
		.len = 9,
	}, {
		.rec = {
			.type = FTKVM_REC_END, .flags = FTKVM_RECF_SNAP,
			.point = { 300, 0x1002, 0x80 }, .digest = 0xffffffff,
			.end = {
				.next_len = 1000, .ninputs = 2,
				.inputs = {
					{ FTKVM_INPUT_FIXED, 0xef, 1 }, { FTKVM_INPUT_NMI, 0, 0 },
				},
			},
		},
		.wire = {
			43, 0x11, 0xc8, 0x01, 0x06, 0xff, 0xff, 0xff, 0xff,
			0x80, 0x01, 0xe8, 0x07, 2, 0, 0xef, 1, 1, 0, 0,
		},
		.len = 44,
	}, {
		.rec = {
			.type = FTKVM_REC_END, .flags = FTKVM_RECF_HALT,
			.point = { 301, 0x1002, 0 }, .digest = 0,
			.end = { .next_len = 0 },
		},
		.wire = { 34, 0x21, 1, 0, 0, 0, 0, 0, 0, 0, 0 },
		.len = 35,
	}, {
		.rec = {
			.type = FTKVM_REC_END, .point = { 301, 0x1002, 1 }, .digest = 7,
			.end = {
				.next_len = 9, .ninputs = 4,
				.inputs = {
					{ FTKVM_INPUT_DEV_START, 3, 0 },
					{ FTKVM_INPUT_DEV_OK, 255, 1 },
					{ FTKVM_INPUT_DEV_DONE, 0, 255 },
					{ FTKVM_INPUT_DEV_SUM, 255, 255 },
				},
			},
		},
		.wire = {
			46, 0x01, 0, 0, 7, 0, 0, 0, 1, 9, 4, 6, 3, 0, 7, 255, 1, 8, 0, 255,
			9, 255, 255,
		},
		.len = 47,
	}, {
		.rec = {
			.type = FTKVM_REC_END, .flags = FTKVM_RECF_BASE,
			.point = { 301, 0x1002, 5 }, .digest = 0, .base = 0xf0000,
			.end = { .next_len = 9 },
		},
		.wire = { 37, 0x81, 0, 0, 0, 0, 0, 0, 5, 0x80, 0x80, 0x3c, 9, 0 },
		.len = 38,
	}, {
		.rec = {
			.type = FTKVM_REC_ENV, .flags = FTKVM_RECF_MORE,
			.point = { 301, 0x1002, 0 }, .digest = 2,
			.env = { env_items, sizeof(env_items) },
		},
		.wire = {
			26, 0x42, 0, 0, 2, 0, 0, 0,
			0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 0x1e, 0x3c, 0x5a, 0x78,
			0, 1, 0xaa, 3, 2, 0x34, 0x12,
		},
		.len = 27,
	}, {
		.rec = {
			.type = FTKVM_REC_OUT, .point = { 301, 0x1002, 0 }, .digest = 3,
			.out_crc = 0xcafef00d,
		},
		.wire = {
			23, 0x04, 0, 0, 3, 0, 0, 0,
			0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 0x1e, 0x3c, 0x5a, 0x78,
			0x0d, 0xf0, 0xfe, 0xca,
		},
		.len = 24,
	}, {
		.rec = {
			.type = FTKVM_REC_STOP, .point = { 301, 0x1002, 0 }, .digest = 4,
			.stop_reason = 300,
		},
		.wire = { 9, 0x05, 0, 0, 4, 0, 0, 0, 0xac, 0x02 },
		.len = 10,
	}, {
		.rec = {
			.type = FTKVM_REC_IMAGE, .flags = FTKVM_RECF_SNAP,
			.point = { 301, 0x1002, 2 }, .digest = 5,
			.image = { .page = 300, .data = "\1\2\3\4", .len = 4 },
		},
		.wire = { 14, 0x16, 0, 0, 5, 0, 0, 0, 2, 0xac, 0x02, 1, 2, 3, 4 },
		.len = 15,
	}, {
		.rec = {
			.type = FTKVM_REC_PAGES, .point = { 301, 0x1002, 2 }, .digest = 5,
			.image = { .page = 1, .data = "\1\2\3\4\5\6\7\10", .len = 8 },
		},
		.wire = { 17, 0x07, 0, 0, 5, 0, 0, 0, 2, 1, 1, 2, 3, 4, 5, 6, 7, 8 },
		.len = 18,
	},
};

static const u8 wire_hash[FTKVM_NREGS] = {
	0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b,
	0x1c, 0x1d, 0x1e, 0x1f, 0x2e, 0x21, 0x2c, 0x23, 0x2a, 0x25, 0x28, 0x27,
};

static void record_wire_form(struct kunit *test)
{
	struct ftkvm_codec enc = {}, dec = {};
	struct ftkvm_rec rec, out;
	u8 buf[64], wire[64];
	int i, len;

	for (i = 0; i < ARRAY_SIZE(wire_log); i++) {
		rec = wire_log[i].rec;
		len = wire_log[i].len;
		memcpy(wire, wire_log[i].wire, sizeof(wire));
		memcpy(rec.hash, wire_hash, sizeof(wire_hash));
		if (rec.type == FTKVM_REC_END)
			memcpy(wire + len - sizeof(wire_hash), wire_hash, sizeof(wire_hash));
		memset(buf, 0xee, sizeof(buf));
		KUNIT_ASSERT_EQ_MSG(test, ftkvm_rec_encode(&enc, &rec, buf, sizeof(buf)), len,
				    "record %d", i);
		KUNIT_EXPECT_MEMEQ_MSG(test, buf, wire, len, "record %d", i);
		KUNIT_EXPECT_EQ(test, buf[len], 0xee);
		KUNIT_ASSERT_EQ_MSG(test, ftkvm_rec_decode(&dec, wire, len, &out), len,
				    "record %d", i);
		expect_same_rec(test, &out, &rec);
		expect_same_codec(test, &enc, &dec);
	}
}

/* A long log at random, in one buffer, decoded from there. */
static void record_round_trip(struct kunit *test)
{
	const int nr = 3000;
	struct ftkvm_codec enc = {}, dec = {};
	u8 *data = kunit_kmalloc(test, FTKVM_REC_MAX_DATA, GFP_KERNEL);
	u8 *log = kunit_kmalloc(test, nr * 512, GFP_KERNEL);
	struct rnd_state rnd, again;
	struct ftkvm_rec rec, out;
	u32 types[FTKVM_REC_PAGES + 1] = {};
	size_t head = 0, tail = 0;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, data);
	KUNIT_ASSERT_NOT_NULL(test, log);
	prandom_seed_state(&rnd, 1);
	again = rnd;
	for (i = 0; i < nr; i++) {
		int len;

		gen_rec(&rnd, &enc, &rec, data);
		len = ftkvm_rec_encode(&enc, &rec, log + head, nr * 512 - head);
		KUNIT_ASSERT_GT(test, len, 0);
		KUNIT_ASSERT_LE(test, len, FTKVM_REC_MAX);
		head += len;
		types[rec.type]++;
	}
	for (i = 0; i < nr; i++) {
		int len;

		gen_rec(&again, &dec, &rec, data);
		KUNIT_ASSERT_GT(test, ftkvm_rec_size(log + tail, head - tail), 0);
		len = ftkvm_rec_decode(&dec, log + tail, head - tail, &out);
		KUNIT_ASSERT_EQ(test, len, ftkvm_rec_size(log + tail, head - tail));
		expect_same_rec(test, &out, &rec);
		tail += len;
	}
	KUNIT_EXPECT_EQ(test, tail, head);
	expect_same_codec(test, &enc, &dec);
	for (i = FTKVM_REC_END; i <= FTKVM_REC_PAGES; i++)
		KUNIT_EXPECT_GT(test, types[i], nr / 14);
}

/* FTKVM_REC_MAX is room enough for the longest of each type. */
static void record_longest(struct kunit *test)
{
	u8 *data = kunit_kmalloc(test, FTKVM_REC_MAX_DATA, GFP_KERNEL);
	u8 *buf = kunit_kmalloc(test, FTKVM_REC_MAX, GFP_KERNEL);
	struct ftkvm_rec rec, out;
	u32 pos = 0;
	int type, i;

	KUNIT_ASSERT_NOT_NULL(test, data);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	memset(buf, 0, FTKVM_REC_MAX);
	KUNIT_ASSERT_EQ(test, ftkvm_env_put(data, FTKVM_REC_MAX_DATA, &pos, FTKVM_ENV_PIO, buf,
					    FTKVM_REC_MAX_DATA - 3), 0);
	KUNIT_ASSERT_EQ(test, pos, FTKVM_REC_MAX_DATA);

	for (type = FTKVM_REC_END; type <= FTKVM_REC_PAGES; type++) {
		struct ftkvm_codec enc = { .rip = 1ull << 62 }, dec = enc;
		int len;

		memset(&rec, 0, sizeof(rec));
		rec.type = type;
		rec.point.count = U64_MAX;
		rec.point.rip = 3ull << 62;
		memset(rec.hash, 0xff, sizeof(rec.hash));
		switch (type) {
		case FTKVM_REC_END:
			rec.point.rcx = U64_MAX;
			rec.flags = FTKVM_RECF_BASE;
			rec.base = U32_MAX;
			rec.end.next_len = U64_MAX;
			rec.end.ninputs = FTKVM_REC_MAX_INPUTS;
			for (i = 0; i < FTKVM_REC_MAX_INPUTS; i++)
				rec.end.inputs[i].vector = i;
			break;
		case FTKVM_REC_ENV:
			rec.env.data = data;
			rec.env.len = pos;
			break;
		case FTKVM_REC_TSC:
			rec.tsc = 1ull << 63;
			break;
		case FTKVM_REC_OUT:
			rec.out_crc = U32_MAX;
			break;
		case FTKVM_REC_STOP:
			rec.stop_reason = U64_MAX;
			break;
		case FTKVM_REC_IMAGE:
		case FTKVM_REC_PAGES:
			rec.point.rcx = U64_MAX;
			rec.flags = FTKVM_RECF_BASE;
			rec.base = U32_MAX;
			rec.image.page = U64_MAX;
			rec.image.data = data;
			rec.image.len = FTKVM_REC_MAX_DATA;
			break;
		}
		len = ftkvm_rec_encode(&enc, &rec, buf, FTKVM_REC_MAX);
		KUNIT_ASSERT_GT_MSG(test, len, 0, "type %d", type);
		KUNIT_ASSERT_EQ(test, ftkvm_rec_decode(&dec, buf, len, &out), len);
		expect_same_rec(test, &out, &rec);
		expect_same_codec(test, &enc, &dec);
	}
}

/* Too little room: nothing behind it is written, and the codec stays. */
static void record_no_room(struct kunit *test)
{
	int i, size;

	for (i = 0; i < ARRAY_SIZE(wire_log); i++) {
		struct ftkvm_codec before = { .count = 7, .rip = 8, .tsc = 9 };
		struct ftkvm_codec c = before;
		u8 buf[64];
		int len = ftkvm_rec_encode(&c, &wire_log[i].rec, buf, sizeof(buf));

		KUNIT_ASSERT_GT(test, len, 0);
		for (size = 0; size < len; size++) {
			/* exactly so large, for KASAN */
			u8 *small = kunit_kmalloc(test, size, GFP_KERNEL);

			c = before;
			KUNIT_EXPECT_EQ(test, ftkvm_rec_encode(&c, &wire_log[i].rec, small, size),
					-ENOSPC);
			expect_same_codec(test, &c, &before);
			kunit_kfree(test, small);
		}
		c = before;
		KUNIT_EXPECT_EQ(test, ftkvm_rec_encode(&c, &wire_log[i].rec, buf, len), len);
	}
}

/* What has no wire form is refused, and leaves the codec as it was. */
static void record_refused(struct kunit *test)
{
	static const u8 bad_kind[] = { FTKVM_ENV_KINDS, 0 };
	static const u8 bad_len[] = { FTKVM_ENV_PIO, 2, 0 };
	static const u8 half_item[] = { FTKVM_ENV_PIO };
	static const struct ftkvm_rec cases[] = {
		{ .type = 0 },
		{ .type = FTKVM_REC_PAGES + 1 },
		{ .type = FTKVM_REC_IMAGE },
		{ .type = FTKVM_REC_IMAGE, .image = { .data = bad_len, .len = 3 } },
		{ .type = FTKVM_REC_PAGES },
		{ .type = FTKVM_REC_PAGES, .image = { .data = bad_len, .len = 4 } },
		{ .type = FTKVM_REC_PAGES, .image = { .data = bad_len,
						      .len = FTKVM_REC_MAX_DATA + 8 } },
		{ .type = 0xff },
		{ .type = FTKVM_REC_END, .flags = FTKVM_RECF_MORE },
		{ .type = FTKVM_REC_END, .flags = FTKVM_RECF_BASE },
		{ .type = FTKVM_REC_END, .base = 1 },
		{ .type = FTKVM_REC_ENV, .flags = FTKVM_RECF_BASE, .base = 1 },
		{ .type = FTKVM_REC_END, .flags = 0x10 },
		{ .type = FTKVM_REC_ENV, .flags = FTKVM_RECF_HALT },
		{ .type = FTKVM_REC_TSC, .flags = FTKVM_RECF_HALT },
		{ .type = FTKVM_REC_TSC, .flags = FTKVM_RECF_MORE },
		{ .type = FTKVM_REC_OUT, .flags = FTKVM_RECF_HALT },
		{ .type = FTKVM_REC_STOP, .flags = FTKVM_RECF_SNAP },
		{ .type = FTKVM_REC_END, .end.ninputs = FTKVM_REC_MAX_INPUTS + 1 },
		{ .type = FTKVM_REC_END, .end.ninputs = 255 },
		{
			.type = FTKVM_REC_END,
			.end = { .ninputs = 1, .inputs[0] = { FTKVM_INPUT_KINDS, 0, 0 } },
		}, {
			.type = FTKVM_REC_END,
			.end = { .ninputs = 1, .inputs[0] = { FTKVM_INPUT_FIXED, 0, 2 } },
		}, {
			.type = FTKVM_REC_END,
			.end = { .ninputs = 1, .inputs[0] = { FTKVM_INPUT_NMI, 2, 0 } },
		}, {
			.type = FTKVM_REC_END,
			.end = { .ninputs = 1, .inputs[0] = { FTKVM_INPUT_INIT, 0, 1 } },
		}, {
			.type = FTKVM_REC_END,
			.end = { .ninputs = 1, .inputs[0] = { FTKVM_INPUT_EXTINT, 8, 1 } },
		},
		{ .type = FTKVM_REC_ENV, .env = { bad_kind, sizeof(bad_kind) } },
		{ .type = FTKVM_REC_ENV, .env = { bad_len, sizeof(bad_len) } },
		{ .type = FTKVM_REC_ENV, .env = { half_item, sizeof(half_item) } },
		{ .type = FTKVM_REC_ENV, .env = { bad_kind, FTKVM_REC_MAX_DATA + 1 } },
	};
	static const struct ftkvm_codec before = { .count = 5, .rip = 6, .tsc = 7 };
	struct ftkvm_codec c;
	struct ftkvm_rec rec;
	u8 buf[256];
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		rec = cases[i];
		rec.point.count = 5;
		c = before;
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_rec_encode(&c, &rec, buf, sizeof(buf)), -EINVAL,
				    "row %d", i);
		expect_same_codec(test, &c, &before);
	}

	/* time goes one way */
	rec = (struct ftkvm_rec) { .type = FTKVM_REC_OUT, .point.count = 4 };
	c = before;
	KUNIT_EXPECT_EQ(test, ftkvm_rec_encode(&c, &rec, buf, sizeof(buf)), -EINVAL);
	expect_same_codec(test, &c, &before);
}

static void env_items_in_order(struct kunit *test)
{
	u8 data[16];
	u32 pos = 0;
	u32 val;
	u16 two;

	KUNIT_EXPECT_EQ(test, ftkvm_env_put(data, sizeof(data), &pos, FTKVM_ENV_PIO, "\xaa", 1), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_env_put(data, sizeof(data), &pos, FTKVM_ENV_MSR, "\x34\x12", 2),
			0);
	KUNIT_ASSERT_EQ(test, pos, sizeof(env_items));
	KUNIT_EXPECT_MEMEQ(test, data, env_items, sizeof(env_items));

	pos = 0;
	/* another kind or another length: not the same instruction */
	KUNIT_EXPECT_EQ(test, ftkvm_env_get(data, 7, &pos, FTKVM_ENV_MMIO, &val, 1), -EBADMSG);
	KUNIT_EXPECT_EQ(test, ftkvm_env_get(data, 7, &pos, FTKVM_ENV_PIO, &val, 2), -EBADMSG);
	KUNIT_EXPECT_EQ(test, ftkvm_env_get(data, 7, &pos, FTKVM_ENV_PIO, &val, 0), -EBADMSG);
	KUNIT_EXPECT_EQ(test, pos, 0);
	val = 0x11223344;
	KUNIT_EXPECT_EQ(test, ftkvm_env_get(data, 7, &pos, FTKVM_ENV_PIO, &val, 1), 0);
	KUNIT_EXPECT_EQ(test, val, 0x112233aa);
	KUNIT_EXPECT_EQ(test, ftkvm_env_get(data, 7, &pos, FTKVM_ENV_MSR, &two, 2), 0);
	KUNIT_EXPECT_EQ(test, two, 0x1234);
	KUNIT_EXPECT_EQ(test, pos, 7);
	KUNIT_EXPECT_EQ(test, ftkvm_env_get(data, 7, &pos, FTKVM_ENV_MSR, &two, 2), -ENODATA);
	pos = 8;
	KUNIT_EXPECT_EQ(test, ftkvm_env_get(data, 7, &pos, FTKVM_ENV_MSR, &two, 2), -EBADMSG);
}

static void env_room(struct kunit *test)
{
	u8 val[300] = {};
	u8 *data;
	u32 pos, size;

	/* an item of 200 bytes takes 203 */
	for (size = 0; size < 210; size++) {
		int ret;

		data = kunit_kmalloc(test, size, GFP_KERNEL);
		pos = 0;
		ret = ftkvm_env_put(data, size, &pos, FTKVM_ENV_PIO, val, 200);
		KUNIT_EXPECT_EQ(test, ret, size < 203 ? -ENOSPC : 0);
		KUNIT_EXPECT_EQ(test, pos, size < 203 ? 0 : 203);
		kunit_kfree(test, data);
	}
	pos = 11;
	KUNIT_EXPECT_EQ(test, ftkvm_env_put(val, 10, &pos, FTKVM_ENV_PIO, val, 0), -ENOSPC);
	KUNIT_EXPECT_EQ(test, ftkvm_env_put(val, 20, &pos, FTKVM_ENV_PIO, val, U32_MAX), -ENOSPC);
	KUNIT_EXPECT_EQ(test, ftkvm_env_put(val, 20, &pos, FTKVM_ENV_KINDS, val, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, pos, 11);
}

static struct kunit_case ftkvm_record_cases[] = {
	KUNIT_CASE(record_wire_form),
	KUNIT_CASE(record_round_trip),
	KUNIT_CASE(record_longest),
	KUNIT_CASE(record_no_room),
	KUNIT_CASE(record_refused),
	KUNIT_CASE(env_items_in_order),
	KUNIT_CASE(env_room),
	{}
};

static struct kunit_suite ftkvm_record_suite = {
	.name = "ftkvm_record",
	.test_cases = ftkvm_record_cases,
};

kunit_test_suite(ftkvm_record_suite);
