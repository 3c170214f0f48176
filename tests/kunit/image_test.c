// SPDX-License-Identifier: GPL-2.0
/* Verification: lists of words, and pages in short. */
#include <kunit/test.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../../kmod/core/image.h"

static const struct {
	const char *name;
	int index;
	u64 value;
} words[] = {
	{ "rax", -1, 1 }, { "st", 0, 0 }, { "st", 1, U64_MAX }, { "lstar", -1, 0xffffffff81000000 },
	{ "a name that is longer than there is room for", 12345, 7 }, { "dr7", -1, 0x400 },
};

/* List all words, but word @odd with @delta added; @n of them. */
static void list(struct ftkvm_image *img, int n, int odd, u64 delta)
{
	int i;

	for (i = 0; i < n; i++)
		ftkvm_image_word(img, words[i].name, words[i].index,
				 words[i].value + (i == odd ? delta : 0));
}

static void image_same(struct kunit *test)
{
	__le32 sums[16];
	struct ftkvm_image img;

	ftkvm_image_begin(&img, sums, ARRAY_SIZE(sums), false);
	list(&img, ARRAY_SIZE(words), -1, 0);
	KUNIT_EXPECT_TRUE(test, ftkvm_image_agrees(&img));
	KUNIT_ASSERT_EQ(test, img.n, ARRAY_SIZE(words));

	ftkvm_image_begin(&img, sums, ARRAY_SIZE(words), true);
	list(&img, ARRAY_SIZE(words), -1, 0);
	KUNIT_EXPECT_TRUE(test, ftkvm_image_agrees(&img));
}

/* Any bit of any word: it is named, with its value here. */
static void image_names_what_differs(struct kunit *test)
{
	struct ftkvm_image img;
	char name[FTKVM_IMAGE_NAME];
	__le32 sums[16];
	int i, bit;

	ftkvm_image_begin(&img, sums, ARRAY_SIZE(sums), false);
	list(&img, ARRAY_SIZE(words), -1, 0);
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		for (bit = 0; bit < 64; bit++) {
			u64 delta = BIT_ULL(bit);

			ftkvm_image_begin(&img, sums, ARRAY_SIZE(words), true);
			list(&img, ARRAY_SIZE(words), i, delta);
			KUNIT_ASSERT_FALSE(test, ftkvm_image_agrees(&img));
			if (words[i].index < 0)
				strscpy(name, words[i].name);
			else
				snprintf(name, sizeof(name), "%s%d", words[i].name,
					 words[i].index);
			KUNIT_ASSERT_STREQ(test, img.name, name);
			KUNIT_ASSERT_EQ(test, img.value, words[i].value + delta);
		}
	}
}

static void image_names_the_first(struct kunit *test)
{
	struct ftkvm_image img;
	__le32 sums[16];

	ftkvm_image_begin(&img, sums, ARRAY_SIZE(sums), false);
	list(&img, ARRAY_SIZE(words), -1, 0);
	ftkvm_image_begin(&img, sums, ARRAY_SIZE(words), true);
	ftkvm_image_word(&img, "rax", -1, 1);
	ftkvm_image_word(&img, "st", 0, 5);
	ftkvm_image_word(&img, "st", 1, 5);
	KUNIT_EXPECT_FALSE(test, ftkvm_image_agrees(&img));
	KUNIT_EXPECT_STREQ(test, img.name, "st0");
}

/* A list that is not as long as the peer's proves nothing. */
static void image_of_another_length(struct kunit *test)
{
	struct ftkvm_image img;
	__le32 sums[16];
	int n = ARRAY_SIZE(words);

	ftkvm_image_begin(&img, sums, ARRAY_SIZE(sums), false);
	list(&img, n, -1, 0);
	ftkvm_image_begin(&img, sums, n, true);
	list(&img, n - 1, -1, 0);
	KUNIT_EXPECT_FALSE(test, ftkvm_image_agrees(&img));
	ftkvm_image_begin(&img, sums, n - 1, true);
	list(&img, n, -1, 0);
	KUNIT_EXPECT_FALSE(test, ftkvm_image_agrees(&img));
	KUNIT_EXPECT_STREQ(test, img.name, words[n - 1].name);
}

/* One that has no room is not whole, and writes nothing behind its end. */
static void image_without_room(struct kunit *test)
{
	__le32 sums[4] = { 0, 0, 0, cpu_to_le32(0x5a5a5a5a) };
	struct ftkvm_image img;

	ftkvm_image_begin(&img, sums, 3, false);
	list(&img, 3, -1, 0);
	KUNIT_EXPECT_TRUE(test, ftkvm_image_agrees(&img));
	ftkvm_image_word(&img, "more", -1, 1);
	KUNIT_EXPECT_FALSE(test, ftkvm_image_agrees(&img));
	KUNIT_EXPECT_EQ(test, le32_to_cpu(sums[3]), 0x5a5a5a5a);
}

static struct ftkvm_page_sum sum_by(struct kunit *test, const u64 *page, bool half)
{
	u64 *copy = kunit_kmalloc(test, 4096, GFP_KERNEL);
	struct ftkvm_page_sum sum;

	KUNIT_ASSERT_NOT_NULL(test, copy);
	memcpy(copy, page, 4096);
	ftkvm_page_sum(&sum, copy, half);
	kunit_kfree(test, copy);
	return sum;
}

static struct ftkvm_page_sum sum_of(struct kunit *test, const u64 *page)
{
	return sum_by(test, page, false);
}

static u64 *a_page(struct kunit *test)
{
	u64 *page = kunit_kmalloc(test, 4096, GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, page);
	for (i = 0; i < 512; i++)
		page[i] = i * 0x9e3779b97f4a7c15;
	return page;
}

/* Every bit but accessed and dirty of what may be a page table's entry counts. */
static void pages_that_differ(struct kunit *test)
{
	u64 *page = a_page(test);
	struct ftkvm_page_sum was = sum_of(test, page), now;
	enum ftkvm_page_verdict want;
	int i, bit;

	now = sum_of(test, page);
	KUNIT_EXPECT_EQ(test, (int)ftkvm_page_compare(&was, &now), (int)FTKVM_PAGE_SAME);
	for (i = 0; i < 512; i += 31) {
		for (bit = 0; bit < 64; bit++) {
			want = (bit == 5 || bit == 6) && (page[i] & 1) ? FTKVM_PAGE_MARKED :
			       FTKVM_PAGE_DIFFERS;
			page[i] ^= BIT_ULL(bit);
			now = sum_of(test, page);
			KUNIT_ASSERT_EQ(test, (int)ftkvm_page_compare(&was, &now), (int)want);
			page[i] ^= BIT_ULL(bit);
		}
	}
}

/* Without PAE there are two entries in a word. */
static void pages_of_small_entries(struct kunit *test)
{
	u64 *page = a_page(test);
	struct ftkvm_page_sum was = sum_by(test, page, true), now;
	enum ftkvm_page_verdict want;
	int i, bit;

	for (i = 0; i < 512; i += 31) {
		for (bit = 0; bit < 64; bit++) {
			want = (bit % 32 == 5 || bit % 32 == 6) &&
			       (page[i] >> bit / 32 * 32 & 1) ? FTKVM_PAGE_MARKED :
			       FTKVM_PAGE_DIFFERS;
			page[i] ^= BIT_ULL(bit);
			now = sum_by(test, page, true);
			KUNIT_ASSERT_EQ(test, (int)ftkvm_page_compare(&was, &now), (int)want);
			page[i] ^= BIT_ULL(bit);
		}
	}
}

static void page_of_marks_and_more(struct kunit *test)
{
	u64 *page = a_page(test);
	struct ftkvm_page_sum was, now;

	page[7] = 0x8000000000001001;
	was = sum_of(test, page);
	page[7] |= 0x60;
	now = sum_of(test, page);
	KUNIT_EXPECT_EQ(test, (int)ftkvm_page_compare(&was, &now), (int)FTKVM_PAGE_MARKED);
	page[8] ^= 2;
	now = sum_of(test, page);
	KUNIT_EXPECT_EQ(test, (int)ftkvm_page_compare(&was, &now), (int)FTKVM_PAGE_DIFFERS);
}

static struct kunit_case image_cases[] = {
	KUNIT_CASE(image_same),
	KUNIT_CASE(image_names_what_differs),
	KUNIT_CASE(image_names_the_first),
	KUNIT_CASE(image_of_another_length),
	KUNIT_CASE(image_without_room),
	KUNIT_CASE(pages_that_differ),
	KUNIT_CASE(pages_of_small_entries),
	KUNIT_CASE(page_of_marks_and_more),
	{}
};

static struct kunit_suite image_suite = {
	.name = "ftkvm_image",
	.test_cases = image_cases,
};

kunit_test_suite(image_suite);
