// SPDX-License-Identifier: GPL-2.0
/*
 * A disk's pieces in short. The input is a disk, what is on it, and what a peer says of
 * it, which is nearly the same or anything.
 */
#include "fuzz.h"
#include "../../kmod/core/dsum.h"

/* The block that differs first must be the one, and no other is told. */
static void check(const struct ftkvm_dsum *ours, const uint8_t *theirs, u32 len, u32 bytes)
{
	const uint8_t *own = (const uint8_t *)ours;
	u32 blocks = (bytes + FTKVM_DSUM_BLOCK - 1) / FTKVM_DSUM_BLOCK, whole = 16 + 4 * blocks, i;
	enum ftkvm_dsum_verdict verdict;
	u64 at = 1;
	u32 told = 1;

	REQUIRE(ftkvm_dsum_len(bytes) == whole);
	verdict = ftkvm_dsum_compare(ours, theirs, len, &at, &told);
	if (len != whole || memcmp(own, theirs, 16)) {
		REQUIRE(verdict == FTKVM_DSUM_OTHER && at == 1 && told == 1);
		REACHED("another piece");
		return;
	}
	for (i = 16; i < len && own[i] == theirs[i]; i++)
		;
	if (i == len) {
		REQUIRE(verdict == FTKVM_DSUM_SAME && at == 1 && told == 1);
		REACHED("the same");
		return;
	}
	i = (i - 16) / 4;
	REQUIRE(verdict == FTKVM_DSUM_DIFFERS);
	REQUIRE(at == le64_to_cpu(ours->at) + (u64)i * FTKVM_DSUM_BLOCK);
	if (i + 1 < blocks)
		REQUIRE(told == FTKVM_DSUM_BLOCK);
	else
		REQUIRE(told == bytes - i * FTKVM_DSUM_BLOCK && told);
	REACHED("a block that differs");
	if (told < FTKVM_DSUM_BLOCK)
		REACHED("a short block that differs");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, data + size };
	u64 disk = feed_u64(&f) >> 1, from = feed_u64(&f);
	u32 bytes = ftkvm_dsum_bytes(disk, from), changes = feed_u8(&f) % 4, i, n;
	struct ftkvm_dsum *d;
	uint8_t *theirs;
	size_t len;
	u8 block[64];

	REQUIRE(bytes <= FTKVM_DSUM_PIECE && !bytes == (from >= disk));
	REQUIRE(from >= disk || bytes == FTKVM_DSUM_PIECE || from + bytes == disk);
	if (!bytes)
		return 0;
	len = ftkvm_dsum_len(bytes);
	d = malloc(len);
	ftkvm_dsum_begin(d, from, bytes);
	for (i = 0; i * FTKVM_DSUM_BLOCK < bytes; i++) {
		memset(block, feed_u8(&f), sizeof(block));
		n = bytes - i * FTKVM_DSUM_BLOCK;
		ftkvm_dsum_block(d, i, block, n < sizeof(block) ? n : sizeof(block));
	}
	theirs = exact_copy(d, len);
	while (changes--)
		theirs[feed_below(&f, len)] ^= feed_u8(&f);
	check(d, theirs, len, bytes);
	free(theirs);
	/* cut, or anything */
	len = feed_below(&f, len + 1);
	theirs = exact_copy(d, len);
	check(d, theirs, len, bytes);
	free(theirs);
	len = feed_left(&f);
	theirs = feed_copy(&f, &len);
	check(d, theirs, len, bytes);
	free(theirs);
	free(d);
	return 0;
}

void fuzz_seeds(void)
{
	static const u64 sizes[] = { 512, 4096, 3 * 4096 + 512, 1 << 20, 5ull << 40 };
	struct seed s = { };
	u32 i, changes;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (changes = 0; changes < 3; changes++) {
			seed_u64(&s, sizes[i] << 1);
			seed_u64(&s, i > 3 ? sizes[i] - (1 << 20) - 512 : 0);
			seed_le(&s, changes, 1);
			seed_le(&s, 0x04030201, 4);
			seed_le(&s, 0x0112, 2);
			seed_le(&s, 0x7713, 2);
			seed_done(&s);
		}
	}
}
