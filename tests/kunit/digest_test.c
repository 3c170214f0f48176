// SPDX-License-Identifier: GPL-2.0
/*
 * Register digests: what they cover, that nothing in them goes unnoticed, and
 * that their values are the protocol's.
 */
#include <kunit/test.h>
#include <linux/prandom.h>
#include <linux/string.h>

#include "../../kmod/core/digest.h"

#define ROUNDS	200

static void random_regs(struct rnd_state *rnd, struct ftkvm_regs *regs)
{
	prandom_bytes_state(rnd, regs, sizeof(*regs));
}

/* Worked out apart from this code: Castagnoli's polynomial over little-endian quadwords. */
static void digest_value(struct kunit *test)
{
	struct ftkvm_regs regs = {};
	int i;

	KUNIT_EXPECT_EQ(test, ftkvm_digest(&regs), 0x74357830);
	for (i = 0; i < FTKVM_NREGS; i++)
		regs.r[i] = 0x0123456789abcdefull * (i + 1);
	regs.r[FTKVM_REG_RFLAGS] = 0x246;
	KUNIT_EXPECT_EQ(test, ftkvm_digest(&regs), 0xf8b50351);
}

static void digest_each_value(struct kunit *test)
{
	/* the product's top byte, its halves exchanged, by hand */
	static const struct {
		u64 val;
		u8 hash;
	} cases[] = {
		{ 0, 0x00 },
		{ 1, 0x72 },
		{ 2, 0xe4 },
		{ 1ull << 63, 0x08 },
		{ ~0ull, 0x8d },
	};
	u8 hash[FTKVM_NREGS];
	struct ftkvm_regs regs;
	int i, reg;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (reg = 0; reg < FTKVM_NREGS; reg++)
			regs.r[reg] = cases[i].val;
		ftkvm_digest_each(&regs, hash);
		for (reg = 0; reg < FTKVM_NREGS; reg++)
			if (reg != FTKVM_REG_RFLAGS)
				KUNIT_EXPECT_EQ_MSG(test, hash[reg], cases[i].hash, "%s of %llx",
						    ftkvm_reg_name(reg), cases[i].val);
	}
}

/*
 * Every bit of every register counts, RFLAGS.RF apart, and is put down to its
 * register, even if only half of each hash is known.
 */
static void digest_single_bits(struct kunit *test)
{
	struct rnd_state rnd;
	int round, reg, bit;

	prandom_seed_state(&rnd, 1);
	for (round = 0; round < ROUNDS; round++) {
		u8 hash[FTKVM_NREGS], changed[FTKVM_NREGS];
		struct ftkvm_regs regs;
		u32 digest;

		random_regs(&rnd, &regs);
		digest = ftkvm_digest(&regs);
		ftkvm_digest_each(&regs, hash);
		for (reg = 0; reg < FTKVM_NREGS; reg++) {
			for (bit = 0; bit < 64; bit++) {
				bool ignored = reg == FTKVM_REG_RFLAGS && bit == 16;

				regs.r[reg] ^= BIT_ULL(bit);
				ftkvm_digest_each(&regs, changed);
				KUNIT_ASSERT_EQ_MSG(test, ftkvm_digest(&regs) == digest, ignored,
						    "%s bit %d", ftkvm_reg_name(reg), bit);
				KUNIT_ASSERT_EQ_MSG(test, ftkvm_digest_differs(hash, changed),
						    ignored ? -1 : reg, "%s bit %d",
						    ftkvm_reg_name(reg), bit);
				KUNIT_ASSERT_EQ_MSG(test, ftkvm_digest_differs_low(hash, changed),
						    ignored ? -1 : reg, "%s bit %d",
						    ftkvm_reg_name(reg), bit);
				regs.r[reg] ^= BIT_ULL(bit);
			}
		}
	}
}

/* Two registers that changed places are not the same machine. */
static void digest_swapped(struct kunit *test)
{
	struct ftkvm_regs regs;
	struct rnd_state rnd;
	u32 digest;
	int i;

	prandom_seed_state(&rnd, 2);
	random_regs(&rnd, &regs);
	digest = ftkvm_digest(&regs);
	for (i = 0; i + 1 < FTKVM_NREGS; i++) {
		swap(regs.r[i], regs.r[i + 1]);
		KUNIT_EXPECT_NE(test, ftkvm_digest(&regs), digest);
		swap(regs.r[i], regs.r[i + 1]);
	}
	KUNIT_EXPECT_EQ(test, ftkvm_digest(&regs), digest);
}

static void digest_first_difference(struct kunit *test)
{
	u8 a[FTKVM_NREGS], b[FTKVM_NREGS];
	int i, bit;

	for (bit = 0; bit < 8; bit++) {
		memset(a, 0x5a, sizeof(a));
		memcpy(b, a, sizeof(b));
		KUNIT_EXPECT_EQ(test, ftkvm_digest_differs(a, b), -1);
		KUNIT_EXPECT_EQ(test, ftkvm_digest_differs_low(a, b), -1);
		for (i = FTKVM_NREGS - 1; i >= 0; i--) {
			int low = bit < 4 ? i : -1;

			b[i] ^= BIT(bit);
			KUNIT_EXPECT_EQ(test, ftkvm_digest_differs(a, b), i);
			KUNIT_EXPECT_EQ(test, ftkvm_digest_differs(b, a), i);
			KUNIT_EXPECT_EQ(test, ftkvm_digest_differs_low(a, b), low);
			KUNIT_EXPECT_EQ(test, ftkvm_digest_differs_low(b, a), low);
		}
	}
}

static void digest_names(struct kunit *test)
{
	int i, j;

	KUNIT_EXPECT_STREQ(test, ftkvm_reg_name(FTKVM_REG_RAX), "rax");
	KUNIT_EXPECT_STREQ(test, ftkvm_reg_name(FTKVM_REG_R15), "r15");
	KUNIT_EXPECT_STREQ(test, ftkvm_reg_name(FTKVM_REG_RFLAGS), "rflags");
	KUNIT_EXPECT_STREQ(test, ftkvm_reg_name(FTKVM_REG_CR3), "cr3");
	KUNIT_EXPECT_STREQ(test, ftkvm_reg_name(FTKVM_REG_EFER), "efer");
	KUNIT_EXPECT_STREQ(test, ftkvm_reg_name(-1), "?");
	KUNIT_EXPECT_STREQ(test, ftkvm_reg_name(FTKVM_NREGS), "?");
	KUNIT_EXPECT_STREQ(test, ftkvm_reg_name(INT_MIN), "?");
	KUNIT_EXPECT_STREQ(test, ftkvm_reg_name(INT_MAX), "?");
	for (i = 0; i < FTKVM_NREGS; i++)
		for (j = 0; j < i; j++)
			KUNIT_EXPECT_STRNEQ(test, ftkvm_reg_name(i), ftkvm_reg_name(j));
}

static struct kunit_case ftkvm_digest_cases[] = {
	KUNIT_CASE(digest_value),
	KUNIT_CASE(digest_each_value),
	KUNIT_CASE(digest_single_bits),
	KUNIT_CASE(digest_swapped),
	KUNIT_CASE(digest_first_difference),
	KUNIT_CASE(digest_names),
	{}
};

static struct kunit_suite ftkvm_digest_suite = {
	.name = "ftkvm_digest",
	.test_cases = ftkvm_digest_cases,
};

kunit_test_suite(ftkvm_digest_suite);

MODULE_DESCRIPTION("KUnit tests of ftkvm's replication core");
MODULE_LICENSE("GPL");
