// SPDX-License-Identifier: GPL-2.0
/*
 * Images: how two replicas find out whether all of their state is the same,
 * without sending it.
 */
#include <linux/bits.h>
#include <linux/crc32c.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/byteorder.h>

#include "image.h"

#define PAGE_BYTES	4096
#define PTE_PRESENT	BIT_ULL(0)
#define PTE_MARKS	(BIT_ULL(5) | BIT_ULL(6))	/* accessed, dirty */
#define PTE_HALF	32	/* bits of an entry, of two in a word */

static u32 image_sum(const void *data, size_t len)
{
	return ~crc32c(~0, data, len);
}

/**
 * ftkvm_image_begin() - begin to list the words of a guest's state
 * @img: the list
 * @sums: where their checksums go, or the peer's
 * @room: how many fit there, or are there
 * @compare: they are the peer's
 *
 * Context: Any.
 */
void ftkvm_image_begin(struct ftkvm_image *img, __le32 *sums, u32 room, bool compare)
{
	memset(img, 0, sizeof(*img));
	img->sums = sums;
	img->room = room;
	img->compare = compare;
}

static void image_differs(struct ftkvm_image *img, const char *name, int index, u64 value)
{
	if (img->differs)
		return;
	img->differs = true;
	img->value = value;
	if (index < 0)
		strscpy(img->name, name);
	else
		snprintf(img->name, sizeof(img->name), "%s%d", name, index);
}

/**
 * ftkvm_image_word() - the next word
 * @img: the list
 * @name: what it is
 * @index: which of several, -1: there is one
 * @value: its value
 *
 * Words that find no room count as different: a list that is not whole proves
 * nothing.
 *
 * Context: Any.
 */
void ftkvm_image_word(struct ftkvm_image *img, const char *name, int index, u64 value)
{
	__le64 le = cpu_to_le64(value);
	__le32 sum = cpu_to_le32(image_sum(&le, sizeof(le)));
	u32 n = img->n++;

	if (n >= img->room)
		image_differs(img, name, index, value);
	else if (!img->compare)
		img->sums[n] = sum;
	else if (img->sums[n] != sum)
		image_differs(img, name, index, value);
}

/**
 * ftkvm_image_agrees() - the list is complete: do the replicas agree?
 * @img: the list; @name says what differs, if not
 *
 * Context: Any.
 * Return: whether they do; for a list that was filled, whether it is whole.
 */
bool ftkvm_image_agrees(struct ftkvm_image *img)
{
	if (img->compare && img->n < img->room)
		image_differs(img, "length of the list", -1, img->n);
	return !img->differs;
}

/**
 * ftkvm_page_sum() - a page in short
 * @sum: filled in
 * @page: the page, in a buffer of the caller's that is changed
 * @half: entries of page tables have 4 bytes, not 8
 *
 * Context: process context: crc32c() borrows the FPU for so much.
 */
void ftkvm_page_sum(struct ftkvm_page_sum *sum, u64 *page, bool half)
{
	int i;

	sum->whole = cpu_to_le32(image_sum(page, PAGE_BYTES));
	for (i = 0; i < PAGE_BYTES / sizeof(u64); i++) {
		if (page[i] & PTE_PRESENT)
			page[i] &= ~PTE_MARKS;
		if (half && (page[i] & PTE_PRESENT << PTE_HALF))
			page[i] &= ~(PTE_MARKS << PTE_HALF);
	}
	sum->core = cpu_to_le32(image_sum(page, PAGE_BYTES));
}

/**
 * ftkvm_page_compare() - are two replicas' pages the same?
 * @a: one
 * @b: the other
 *
 * Context: Any.
 * Return: enum ftkvm_page_verdict.
 */
enum ftkvm_page_verdict ftkvm_page_compare(const struct ftkvm_page_sum *a,
					   const struct ftkvm_page_sum *b)
{
	if (a->core != b->core)
		return FTKVM_PAGE_DIFFERS;
	return a->whole == b->whole ? FTKVM_PAGE_SAME : FTKVM_PAGE_MARKED;
}
