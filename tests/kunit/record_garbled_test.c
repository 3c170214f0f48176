// SPDX-License-Identifier: GPL-2.0
/*
 * Log records that nobody encoded: cut, flipped, made up. The decoder takes
 * what some encoder would have written, byte for byte, and nothing else; it
 * reads no byte that is not there (KASAN looks on) and remembers nothing of
 * what it refused.
 */
#include "record_gen.h"

#define RECORDS	300
#define ROUNDS	200000

static const struct ftkvm_codec before = {
	.count = 1000000, .rip = 0xffffffff81000000, .tsc = 1ull << 40,
};

struct garbled {
	struct rnd_state rnd;
	u8 *data;		/* ENV data of the record that was made */
	u8 *wire;		/* its wire form */
	u8 *again;		/* the wire form of what was decoded */
	int len;
	struct ftkvm_rec rec;
};

static int garbled_init(struct kunit *test)
{
	struct garbled *g = kunit_kzalloc(test, sizeof(*g), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, g);
	g->data = kunit_kmalloc(test, FTKVM_REC_MAX_DATA, GFP_KERNEL);
	g->wire = kunit_kmalloc(test, FTKVM_REC_MAX, GFP_KERNEL);
	g->again = kunit_kmalloc(test, FTKVM_REC_MAX, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, g->data);
	KUNIT_ASSERT_NOT_NULL(test, g->wire);
	KUNIT_ASSERT_NOT_NULL(test, g->again);
	prandom_seed_state(&g->rnd, 1);
	test->priv = g;
	return 0;
}

static void make(struct kunit *test, struct garbled *g)
{
	struct ftkvm_codec c = before;

	gen_rec(&g->rnd, &c, &g->rec, g->data);
	g->len = ftkvm_rec_encode(&c, &g->rec, g->wire, FTKVM_REC_MAX);
	KUNIT_ASSERT_GT(test, g->len, 0);
}

/*
 * Decode @len bytes at @buf. What is refused leaves no trace; what is taken
 * encodes to the very bytes that it was taken from.
 */
static int feed(struct kunit *test, struct garbled *g, const u8 *buf, size_t len,
		struct ftkvm_rec *rec)
{
	struct ftkvm_codec dec = before, enc = before;
	int size = ftkvm_rec_size(buf, len);
	int ret = ftkvm_rec_decode(&dec, buf, len, rec);

	if (ret < 0) {
		KUNIT_ASSERT_TRUE(test, ret == -EAGAIN || ret == -EBADMSG);
		KUNIT_ASSERT_TRUE(test, size == ret || (size > 0 && ret == -EBADMSG));
		expect_same_codec(test, &dec, &before);
		return ret;
	}
	KUNIT_ASSERT_GT(test, ret, 0);
	KUNIT_ASSERT_EQ(test, size, ret);
	KUNIT_ASSERT_LE(test, ret, len);
	KUNIT_ASSERT_EQ(test, ftkvm_rec_encode(&enc, rec, g->again, FTKVM_REC_MAX), ret);
	KUNIT_ASSERT_MEMEQ(test, g->again, buf, ret);
	expect_same_codec(test, &dec, &enc);
	return ret;
}

/* The same, from memory that ends where the bytes do. */
static int feed_exact(struct kunit *test, struct garbled *g, const u8 *buf, size_t len)
{
	u8 *exact = kmemdup(buf, len, GFP_KERNEL);
	struct ftkvm_rec rec;
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, exact);
	ret = feed(test, g, exact, len, &rec);
	kfree(exact);
	return ret;
}

/* A log that goes on later: every cut asks for more. */
static void garbled_truncated(struct kunit *test)
{
	struct garbled *g = test->priv;
	int i, len;

	for (i = 0; i < RECORDS; i++) {
		make(test, g);
		for (len = 0; len < g->len; len++)
			KUNIT_ASSERT_EQ_MSG(test, feed_exact(test, g, g->wire, len), -EAGAIN,
					    "%d of %d bytes", len, g->len);
		KUNIT_ASSERT_EQ(test, feed_exact(test, g, g->wire, g->len), g->len);
	}
}

/* @len bytes of body behind a prefix that says so */
static int with_prefix(u8 *buf, const u8 *body, int len)
{
	int pos = 0;

	if (len >= 0x80)
		buf[pos++] = len | 0x80;
	buf[pos++] = len >= 0x80 ? len >> 7 : len;
	memcpy(buf + pos, body, len);
	return pos + len;
}

/* A body that is shorter or longer than its fields, with a prefix that agrees. */
static void garbled_body_length(struct kunit *test)
{
	struct garbled *g = test->priv;
	u8 *buf = kunit_kmalloc(test, FTKVM_REC_MAX + 8, GFP_KERNEL);
	u8 *body = kunit_kmalloc(test, FTKVM_REC_MAX + 8, GFP_KERNEL);
	int i, len, n;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	KUNIT_ASSERT_NOT_NULL(test, body);
	for (i = 0; i < RECORDS; i++) {
		int ret;

		make(test, g);
		n = g->len - (g->wire[0] & 0x80 ? 2 : 1);
		memcpy(body, g->wire + g->len - n, n);
		for (len = 0; len < n; len++) {
			ret = feed_exact(test, g, buf, with_prefix(buf, body, len));
			/* an ENV record may end behind any of its items, so may checksums */
			if (ret > 0)
				KUNIT_ASSERT_TRUE(test, g->rec.type == FTKVM_REC_ENV ||
						  g->rec.type == FTKVM_REC_IMAGE ||
						  g->rec.type == FTKVM_REC_PAGES);
			else
				KUNIT_ASSERT_EQ(test, ret, -EBADMSG);
		}
		/* a kind of item that there is none of; elsewhere nothing may follow */
		body[n] = 0xff;
		ret = feed_exact(test, g, buf, with_prefix(buf, body, n + 1));
		KUNIT_ASSERT_EQ(test, ret, -EBADMSG);
		body[n] = 0;
		ret = feed_exact(test, g, buf, with_prefix(buf, body, n + 1));
		if (g->rec.type != FTKVM_REC_ENV)
			KUNIT_ASSERT_EQ(test, ret, -EBADMSG);
	}
}

static void garbled_bit_flips(struct kunit *test)
{
	struct garbled *g = test->priv;
	u32 refused = 0, taken = 0;
	int i, bit;

	for (i = 0; i < RECORDS; i++) {
		make(test, g);
		for (bit = 0; bit < 8 * g->len; bit++) {
			int ret;

			g->wire[bit / 8] ^= BIT(bit % 8);
			ret = feed_exact(test, g, g->wire, g->len);
			g->wire[bit / 8] ^= BIT(bit % 8);
			if (ret < 0)
				refused++;
			else
				taken++;
		}
	}
	/* the frame's checksum finds flips; here it only must be sane */
	KUNIT_EXPECT_GT(test, refused, 0);
	KUNIT_EXPECT_GT(test, taken, 0);
}

/* Records with some bytes changed, cut out, doubled. */
static void garbled_mutations(struct kunit *test)
{
	struct garbled *g = test->priv;
	u32 refused = 0, taken = 0;
	int i;

	for (i = 0; i < ROUNDS / 4; i++) {
		u32 edits = 1 + prandom_u32_state(&g->rnd) % 4;
		struct ftkvm_rec rec;
		int ret;

		make(test, g);
		while (edits-- && g->len > 1) {
			u32 at = prandom_u32_state(&g->rnd) % g->len;

			switch (prandom_u32_state(&g->rnd) % 3) {
			case 0:
				g->wire[at] = prandom_u32_state(&g->rnd);
				break;
			case 1:
				memmove(g->wire + at, g->wire + at + 1, g->len - at - 1);
				g->len--;
				break;
			default:
				if (g->len == FTKVM_REC_MAX)
					break;
				memmove(g->wire + at + 1, g->wire + at, g->len - at);
				g->len++;
				break;
			}
		}
		ret = feed(test, g, g->wire, g->len, &rec);
		if (ret < 0)
			refused++;
		else
			taken++;
	}
	KUNIT_EXPECT_GT(test, refused, 1000);
	KUNIT_EXPECT_GT(test, taken, 1000);
}

/* Bytes at random; half of them behind a prefix and a type that may be. */
static void garbled_noise(struct kunit *test)
{
	struct garbled *g = test->priv;
	u32 refused = 0, taken = 0;
	u8 noise[96];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		u32 len = prandom_u32_state(&g->rnd) % (sizeof(noise) + 1);
		struct ftkvm_rec rec;
		int ret;

		prandom_bytes_state(&g->rnd, noise, sizeof(noise));
		if (i % 2) {
			noise[0] = prandom_u32_state(&g->rnd) % sizeof(noise);
			noise[1] &= 0x37;
		}
		ret = feed(test, g, noise, len, &rec);
		if (ret < 0)
			refused++;
		else
			taken++;
	}
	KUNIT_EXPECT_GT(test, refused, 1000);
	KUNIT_EXPECT_GT(test, taken, 10);
}

/* One value, one form: longer ways to write it are refused. */
static void garbled_not_canonical(struct kunit *test)
{
	static const struct {
		u8 wire[40];
		u8 len;
		int ret;
	} cases[] = {
		/* as it should be: OUT, count + 5; all behind the rip is zero */
		{ { 23, 4, 5, 0 }, 24, 24 },
		/* the prefix in two bytes */
		{ { 0x97, 0, 4, 5, 0 }, 25, -EBADMSG },
		/* the prefix in three */
		{ { 0x80, 0x80, 1, 4 }, 4, -EBADMSG },
		/* the count in two bytes, in three */
		{ { 24, 4, 0x85, 0, 0 }, 25, -EBADMSG },
		{ { 25, 4, 0x85, 0x80, 0, 0 }, 26, -EBADMSG },
		/* the rip: -1 is 1, so 0x81 0 is not */
		{ { 24, 4, 5, 0x81, 0 }, 25, -EBADMSG },
		/* ten bytes: bit 63 alone is left to the tenth */
		{ { 32, 4, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 }, 33,
		  33 },
		{ { 32, 4, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03 }, 33,
		  -EBADMSG },
		{ { 32, 4, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00 }, 33,
		  -EBADMSG },
		/* eleven */
		{ { 33, 4, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0 }, 34,
		  -EBADMSG },
		/* a count that wraps: behind the last one */
		{ { 32, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 }, 33,
		  -EBADMSG },
		/* no type, an unknown one, flags of another type */
		{ { 23, 0, 5, 0 }, 24, -EBADMSG },
		{ { 23, 6, 5, 0 }, 24, -EBADMSG },
		{ { 23, 0x24, 5, 0 }, 24, -EBADMSG },
		{ { 23, 0x84, 5, 0 }, 24, -EBADMSG },
		/* a body that no record is so short as */
		{ { 0 }, 1, -EBADMSG },
		{ { 6, 4, 5, 0, 0, 0, 0 }, 7, -EBADMSG },
		/* prefixes of bodies longer than any: told before the body is there */
		{ { 0xff, 0x7f }, 2, -EBADMSG },
		{ { 0x80 }, 1, -EAGAIN },
	};
	struct garbled *g = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test, feed_exact(test, g, cases[i].wire, cases[i].len),
				    cases[i].ret, "row %d", i);
}

/* The longest body, and one byte more. */
static void garbled_prefix_bound(struct kunit *test)
{
	u32 most = FTKVM_REC_MAX - 2;
	u8 buf[2] = { (most & 0x7f) | 0x80, most >> 7 };

	KUNIT_EXPECT_EQ(test, ftkvm_rec_size(buf, 2), -EAGAIN);
	most++;
	buf[0] = (most & 0x7f) | 0x80;
	buf[1] = most >> 7;
	KUNIT_EXPECT_EQ(test, ftkvm_rec_size(buf, 2), -EBADMSG);
	KUNIT_EXPECT_EQ(test, ftkvm_rec_size(buf, 0), -EAGAIN);
}

/* Items that do not add up: an error each time, and no progress. */
static void garbled_env_items(struct kunit *test)
{
	struct garbled *g = test->priv;
	u32 got = 0, bad = 0;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		u32 size = prandom_u32_state(&g->rnd) % 12;
		u8 *data = g->data;
		u32 pos = 0, turns = 0;
		u8 val[8];
		int ret;

		prandom_bytes_state(&g->rnd, data, size);
		/* kinds and lengths that may be */
		if (size > 1 && i % 2) {
			data[0] %= FTKVM_ENV_KINDS;
			data[1] %= 8;
		}
		do {
			u32 was = pos;
			u8 kind = prandom_u32_state(&g->rnd) % (FTKVM_ENV_KINDS + 1);
			u32 len = prandom_u32_state(&g->rnd) % sizeof(val);

			/* what the data say, mostly */
			if (size - pos > 1 && i % 4) {
				kind = data[pos];
				len = min_t(u32, data[pos + 1], sizeof(val));
			}
			ret = ftkvm_env_get(data, size, &pos, kind, val, len);
			KUNIT_ASSERT_LE(test, pos, size);
			if (ret) {
				KUNIT_ASSERT_EQ(test, pos, was);
				KUNIT_ASSERT_EQ(test, ret, pos == size ? -ENODATA : -EBADMSG);
				bad++;
			} else {
				KUNIT_ASSERT_LT(test, kind, FTKVM_ENV_KINDS);
				KUNIT_ASSERT_EQ(test, pos, was + 2 + len);
				got++;
			}
		} while (!ret && ++turns < 12);
	}
	KUNIT_EXPECT_GT(test, got, 1000);
	KUNIT_EXPECT_GT(test, bad, 1000);
}

static struct kunit_case ftkvm_record_garbled_cases[] = {
	KUNIT_CASE(garbled_truncated),
	KUNIT_CASE(garbled_body_length),
	KUNIT_CASE(garbled_bit_flips),
	KUNIT_CASE(garbled_mutations),
	KUNIT_CASE(garbled_noise),
	KUNIT_CASE(garbled_not_canonical),
	KUNIT_CASE(garbled_prefix_bound),
	KUNIT_CASE(garbled_env_items),
	{}
};

static struct kunit_suite ftkvm_record_garbled_suite = {
	.name = "ftkvm_record_garbled",
	.init = garbled_init,
	.test_cases = ftkvm_record_garbled_cases,
};

kunit_test_suite(ftkvm_record_garbled_suite);
