// SPDX-License-Identifier: GPL-2.0
/*
 * Storage of whole blocks: the pieces of any request are each in its blocks, one behind the
 * other, and nothing is left out or done twice.
 */
#include <kunit/test.h>
#include <linux/random.h>

#include "../../kmod/core/vwindow.h"

#define ROOM	(128u << 10)

static void vwindow_aligned(struct kunit *test)
{
	struct ftkvm_vwindow w;

	ftkvm_vwindow(&w, 8192, 4096, 4096, ROOM);
	KUNIT_EXPECT_EQ(test, w.from, 8192);
	KUNIT_EXPECT_EQ(test, w.skip, 0);
	KUNIT_EXPECT_EQ(test, w.len, 4096);
	KUNIT_EXPECT_EQ(test, w.bytes, 4096);
	KUNIT_EXPECT_TRUE(test, ftkvm_vwindow_whole(&w));
}

/* A sector of a block: the rest of it must be kept. */
static void vwindow_sector(struct kunit *test)
{
	struct ftkvm_vwindow w;

	ftkvm_vwindow(&w, 8192 + 512, 512, 4096, ROOM);
	KUNIT_EXPECT_EQ(test, w.from, 8192);
	KUNIT_EXPECT_EQ(test, w.skip, 512);
	KUNIT_EXPECT_EQ(test, w.len, 512);
	KUNIT_EXPECT_EQ(test, w.bytes, 4096);
	KUNIT_EXPECT_FALSE(test, ftkvm_vwindow_whole(&w));
	/* from a block's beginning, and not to its end */
	ftkvm_vwindow(&w, 8192, 512, 4096, ROOM);
	KUNIT_EXPECT_FALSE(test, ftkvm_vwindow_whole(&w));
	/* to its end, and not from its beginning */
	ftkvm_vwindow(&w, 8192 + 512, 3584, 4096, ROOM);
	KUNIT_EXPECT_EQ(test, w.bytes, 4096);
	KUNIT_EXPECT_FALSE(test, ftkvm_vwindow_whole(&w));
	/* a disk of such sectors has all of them whole */
	ftkvm_vwindow(&w, 8192 + 512, 512, 512, ROOM);
	KUNIT_EXPECT_EQ(test, w.from, 8192 + 512);
	KUNIT_EXPECT_TRUE(test, ftkvm_vwindow_whole(&w));
}

/* More than fits: the first piece ends where a block does, so that the next is aligned. */
static void vwindow_long(struct kunit *test)
{
	struct ftkvm_vwindow w;

	ftkvm_vwindow(&w, 512, 1 << 20, 4096, ROOM);
	KUNIT_EXPECT_EQ(test, w.from, 0);
	KUNIT_EXPECT_EQ(test, w.len, ROOM - 512);
	KUNIT_EXPECT_EQ(test, w.bytes, ROOM);
	ftkvm_vwindow(&w, ROOM, (1 << 20) - w.len, 4096, ROOM);
	KUNIT_EXPECT_TRUE(test, ftkvm_vwindow_whole(&w));
	/* longer than 32 bits can say, as what is to be zeroed may be */
	ftkvm_vwindow(&w, 0, 1ULL << 40, 4096, ROOM);
	KUNIT_EXPECT_EQ(test, w.len, ROOM);
}

static void vwindow_any(struct kunit *test)
{
	struct ftkvm_vwindow w;
	unsigned int i;

	for (i = 0; i < 20000; i++) {
		u32 block = 512u << get_random_u32_below(9);
		u64 at = (u64)get_random_u32() * 512, from = at, end;
		u64 len = (get_random_u32_below(4096) + 1) * 512ULL;

		for (end = at + len; at < end; at += w.len) {
			ftkvm_vwindow(&w, at, end - at, block, ROOM);
			KUNIT_ASSERT_NE(test, w.len, 0);
			KUNIT_ASSERT_EQ(test, w.from + w.skip, at);
			KUNIT_ASSERT_EQ(test, w.from % block, 0);
			KUNIT_ASSERT_EQ(test, w.bytes % block, 0);
			KUNIT_ASSERT_LE(test, w.bytes, ROOM);
			/* no block more than it takes */
			KUNIT_ASSERT_LT(test, w.skip, block);
			KUNIT_ASSERT_LE(test, w.skip + w.len, w.bytes);
			KUNIT_ASSERT_LT(test, w.bytes - w.skip - w.len, block);
			if (at > from)
				KUNIT_ASSERT_EQ(test, w.skip, 0);
		}
		KUNIT_ASSERT_EQ(test, at, end);
	}
}

static struct kunit_case vwindow_cases[] = {
	KUNIT_CASE(vwindow_aligned),
	KUNIT_CASE(vwindow_sector),
	KUNIT_CASE(vwindow_long),
	KUNIT_CASE(vwindow_any),
	{ }
};

static struct kunit_suite vwindow_suite = {
	.name = "ftkvm-vwindow",
	.test_cases = vwindow_cases,
};

kunit_test_suite(vwindow_suite);
