/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Images: the whole state of a guest as numbers that two replicas compare.
 * A list of named words (registers of every kind), and two checksums a page.
 */
#ifndef FTKVM_CORE_IMAGE_H
#define FTKVM_CORE_IMAGE_H

#include "types.h"

#define FTKVM_IMAGE_MAX		1024	/* words; their checksums fit into a record */
#define FTKVM_IMAGE_NAME	32

/**
 * struct ftkvm_image - the words of a guest's state, while they are listed
 * @sums: their checksums, little-endian: written if @compare is not set, else
 *	  the peer's, to compare with
 * @room: words that @sums has room for, or holds
 * @n: words so far
 * @compare: compare with @sums
 * @differs: a word was not what the peer's is, or the peer has fewer or more
 * @name: the first such word
 * @value: its value here
 */
struct ftkvm_image {
	__le32 *sums;
	u32 room;
	u32 n;
	bool compare;
	bool differs;
	char name[FTKVM_IMAGE_NAME];
	u64 value;
};

/* Begin a list: to fill @sums, or to compare with the @room words there. Any context. */
void ftkvm_image_begin(struct ftkvm_image *img, __le32 *sums, u32 room, bool compare);

/*
 * The next word. Both replicas list the same words in the same order; @index
 * (-1: none) is added to the name. Any context.
 */
void ftkvm_image_word(struct ftkvm_image *img, const char *name, int index, u64 value);

/* Behind the last: do both lists have the same length, and agree? */
bool ftkvm_image_agrees(struct ftkvm_image *img);

/**
 * struct ftkvm_page_sum - a page in short
 * @whole: crc32c of it
 * @core: the same with accessed and dirty bits cleared, where it could be a page
 *	  table: the MMU sets them when it walks, which the TLB decides
 */
struct ftkvm_page_sum {
	__le32 whole;
	__le32 core;
};

enum ftkvm_page_verdict {
	FTKVM_PAGE_SAME,
	FTKVM_PAGE_MARKED,	/* differs in accessed and dirty bits at most */
	FTKVM_PAGE_DIFFERS,
};

/*
 * @page: 4 KiB; its accessed and dirty bits are gone afterwards. @half: entries have 4
 * bytes. Borrows the FPU (see digest.c): process context.
 */
void ftkvm_page_sum(struct ftkvm_page_sum *sum, u64 *page, bool half);
enum ftkvm_page_verdict ftkvm_page_compare(const struct ftkvm_page_sum *a,
					   const struct ftkvm_page_sum *b);

#endif
