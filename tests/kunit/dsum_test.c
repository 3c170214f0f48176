// SPDX-License-Identifier: GPL-2.0
/* Disks' pieces in short: they tell which block differs, and believe nothing of a peer's. */
#include <kunit/test.h>
#include <linux/crc32c.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../../kmod/core/dsum.h"

#define BLOCKS	(FTKVM_DSUM_PIECE / FTKVM_DSUM_BLOCK)
/* a piece at a disk's end, the last block of which is short */
#define AT	(7ull * FTKVM_DSUM_PIECE)
#define BYTES	(3 * FTKVM_DSUM_BLOCK + 512)

static struct ftkvm_dsum *make(struct kunit *test, u64 at, u32 bytes, const u8 *data)
{
	struct ftkvm_dsum *d = kunit_kmalloc(test, ftkvm_dsum_len(bytes), GFP_KERNEL);
	u32 off, n;

	KUNIT_ASSERT_NOT_NULL(test, d);
	ftkvm_dsum_begin(d, at, bytes);
	for (off = 0; off < bytes; off += n) {
		n = min(bytes - off, FTKVM_DSUM_BLOCK);
		ftkvm_dsum_block(d, off / FTKVM_DSUM_BLOCK, data + off, n);
	}
	return d;
}

static u8 *data_make(struct kunit *test)
{
	u8 *data = kunit_kmalloc(test, BYTES, GFP_KERNEL);
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, data);
	for (i = 0; i < BYTES; i++)
		data[i] = i * 167 >> 3;
	return data;
}

/* One piece after the other goes round the disk, whatever its size. */
static void dsum_pieces(struct kunit *test)
{
	static const u64 sizes[] = {
		512, FTKVM_DSUM_BLOCK, FTKVM_DSUM_PIECE - 512, FTKVM_DSUM_PIECE,
		FTKVM_DSUM_PIECE + 512, AT + BYTES,
	};
	u64 at;
	int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (at = 0; at < sizes[i]; at += ftkvm_dsum_bytes(sizes[i], at)) {
			KUNIT_ASSERT_GT(test, ftkvm_dsum_bytes(sizes[i], at), 0);
			KUNIT_ASSERT_LE(test, ftkvm_dsum_bytes(sizes[i], at), FTKVM_DSUM_PIECE);
		}
		KUNIT_EXPECT_EQ(test, at, sizes[i]);
		KUNIT_EXPECT_EQ(test, ftkvm_dsum_bytes(sizes[i], at), 0);
	}
	KUNIT_EXPECT_EQ(test, ftkvm_dsum_bytes(S64_MAX & ~511, (u64)S64_MAX + 1), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_dsum_bytes(S64_MAX & ~511, 0), FTKVM_DSUM_PIECE);
}

/* As it is on the wire. */
static void dsum_wire(struct kunit *test)
{
	struct ftkvm_dsum *d = make(test, 0x1122334455667700, 512, data_make(test));
	static const u8 head[] = {
		0x00, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 2, 0, 0, 0, 0, 0, 0,
	};

	KUNIT_EXPECT_EQ(test, ftkvm_dsum_len(512), sizeof(head) + 4);
	KUNIT_EXPECT_EQ(test, ftkvm_dsum_len(FTKVM_DSUM_BLOCK + 1), sizeof(head) + 8);
	KUNIT_EXPECT_EQ(test, ftkvm_dsum_len(FTKVM_DSUM_PIECE), sizeof(head) + 4 * BLOCKS);
	KUNIT_EXPECT_MEMEQ(test, d, head, sizeof(head));
	/* of "123456789", as the standard has it */
	ftkvm_dsum_block(d, 0, "123456789", 9);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(d->sum[0]), 0xe3069283);
}

/* Any byte, also the disk's last: its block is named. */
static void dsum_names_the_block(struct kunit *test)
{
	u8 *data = data_make(test);
	struct ftkvm_dsum *ours = make(test, AT, BYTES, data), *theirs;
	u32 len = ftkvm_dsum_len(BYTES), bytes, i;
	u64 at;

	theirs = make(test, AT, BYTES, data);
	KUNIT_EXPECT_EQ(test, ftkvm_dsum_compare(ours, theirs, len, &at, &bytes),
			FTKVM_DSUM_SAME);
	for (i = 0; i < BYTES; i += 509) {
		data[i] ^= 1 << i % 8;
		theirs = make(test, AT, BYTES, data);
		data[i] ^= 1 << i % 8;
		KUNIT_ASSERT_EQ(test, ftkvm_dsum_compare(ours, theirs, len, &at, &bytes),
				FTKVM_DSUM_DIFFERS);
		KUNIT_EXPECT_EQ(test, at, AT + rounddown(i, FTKVM_DSUM_BLOCK));
		KUNIT_EXPECT_EQ(test, bytes, i < 3 * FTKVM_DSUM_BLOCK ? FTKVM_DSUM_BLOCK : 512);
	}
	/* of several, the first */
	data[FTKVM_DSUM_BLOCK]++;
	data[BYTES - 1]++;
	theirs = make(test, AT, BYTES, data);
	KUNIT_EXPECT_EQ(test, ftkvm_dsum_compare(ours, theirs, len, &at, &bytes),
			FTKVM_DSUM_DIFFERS);
	KUNIT_EXPECT_EQ(test, at, AT + FTKVM_DSUM_BLOCK);
}

/* Of another piece, or cut: nothing is said of the blocks. */
static void dsum_of_another(struct kunit *test)
{
	u8 *data = data_make(test);
	struct ftkvm_dsum *ours = make(test, AT, BYTES, data), *theirs;
	u32 len = ftkvm_dsum_len(BYTES), bytes, i;
	u64 at;

	for (i = 0; i < len; i++)
		KUNIT_EXPECT_EQ(test, ftkvm_dsum_compare(ours, ours, i, &at, &bytes),
				FTKVM_DSUM_OTHER);
	KUNIT_EXPECT_EQ(test, ftkvm_dsum_compare(ours, ours, len + 4, &at, &bytes),
			FTKVM_DSUM_OTHER);
	theirs = make(test, AT + FTKVM_DSUM_PIECE, BYTES, data);
	KUNIT_EXPECT_EQ(test, ftkvm_dsum_compare(ours, theirs, len, &at, &bytes),
			FTKVM_DSUM_OTHER);
	theirs = make(test, AT, BYTES - 1, data);
	KUNIT_EXPECT_EQ(test, ftkvm_dsum_compare(ours, theirs, len, &at, &bytes),
			FTKVM_DSUM_OTHER);
	theirs = make(test, AT, BYTES, data);
	theirs->zero = cpu_to_le32(1);
	KUNIT_EXPECT_EQ(test, ftkvm_dsum_compare(ours, theirs, len, &at, &bytes),
			FTKVM_DSUM_OTHER);
}

static struct kunit_case dsum_cases[] = {
	KUNIT_CASE(dsum_pieces),
	KUNIT_CASE(dsum_wire),
	KUNIT_CASE(dsum_names_the_block),
	KUNIT_CASE(dsum_of_another),
	{}
};

static struct kunit_suite dsum_suite = {
	.name = "ftkvm_dsum",
	.test_cases = dsum_cases,
};

kunit_test_suite(dsum_suite);
