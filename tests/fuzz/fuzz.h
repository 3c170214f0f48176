/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the fuzz targets share. A target is LLVMFuzzerTestOneInput(), which
 * libFuzzer calls with bytes that it makes up, and fuzz_seeds(), which gives it
 * some to begin with.
 */
#ifndef FTKVM_FUZZ_H
#define FTKVM_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Calls fuzz_seed() for each input to begin with. */
void fuzz_seeds(void);
void fuzz_seed(const void *data, size_t len);

/* What must hold, whatever the input. */
#define REQUIRE(cond) do {							\
	if (!(cond)) {								\
		fprintf(stderr, "%s:%d: %s: does not hold: %s\n", __FILE__,	\
			__LINE__, __func__, #cond);				\
		abort();							\
	}									\
} while (0)

/*
 * What must happen for some input of a run, or the fuzzer sees nothing but the
 * outermost check. Counted, and looked at by tests/fuzz/run.
 */
#define REACHED(what) do {							\
	static struct fuzz_mark mark						\
		__attribute__((section("fuzz_marks"), used, no_sanitize_address)) = { what, 0 }; \
										\
	mark.n++;								\
} while (0)

struct fuzz_mark {
	const char *what;
	uint64_t n;
};

/* ---- decisions out of an input: when it is at its end, all are 0 ---- */

struct feed {
	const uint8_t *at;
	const uint8_t *end;
};

static inline size_t feed_left(const struct feed *f)
{
	return f->end - f->at;
}

static inline uint8_t feed_u8(struct feed *f)
{
	return f->at < f->end ? *f->at++ : 0;
}

static inline uint64_t feed_le(struct feed *f, unsigned int bytes)
{
	uint64_t val = 0;
	unsigned int i;

	for (i = 0; i < bytes; i++)
		val |= (uint64_t)feed_u8(f) << 8 * i;
	return val;
}

static inline uint32_t feed_below(struct feed *f, uint32_t n)
{
	return feed_le(f, n <= 256 ? 1 : n <= 65536 ? 2 : 4) % n;
}

/* Of any length, in few bytes; often near a power of two or an end. */
static inline uint64_t feed_u64(struct feed *f)
{
	uint8_t how = feed_u8(f);
	uint64_t val = feed_le(f, how % 10 > 8 ? 1 : how % 10);

	switch (how / 10) {
	case 1:
		return ~val;
	case 2:
		return (1ull << val % 64) - 1;
	case 3:
		return 1ull << val % 64;
	default:
		return val;
	}
}

/* A copy, of malloc(), that ends where it ends: ASan looks on. Cut to what is left. */
static inline uint8_t *feed_copy(struct feed *f, size_t *len)
{
	uint8_t *copy;

	if (*len > feed_left(f))
		*len = feed_left(f);
	copy = malloc(*len);
	if (*len)
		memcpy(copy, f->at, *len);
	f->at += *len;
	return copy;
}

static inline uint8_t *exact_copy(const void *data, size_t len)
{
	uint8_t *copy = malloc(len);

	if (len)
		memcpy(copy, data, len);
	return copy;
}

/* ---- the same the other way: to build seeds ---- */

struct seed {
	uint8_t buf[16384];
	size_t len;
};

static inline void seed_bytes(struct seed *s, const void *data, size_t len)
{
	memcpy(s->buf + s->len, data, len);
	s->len += len;
}

static inline void seed_le(struct seed *s, uint64_t val, unsigned int bytes)
{
	while (bytes--) {
		s->buf[s->len++] = val;
		val >>= 8;
	}
}

/* What feed_u64() reads back as @val. */
static inline void seed_u64(struct seed *s, uint64_t val)
{
	s->buf[s->len++] = 48;
	seed_le(s, val, 8);
}

static inline void seed_done(struct seed *s)
{
	fuzz_seed(s->buf, s->len);
	s->len = 0;
}

#endif
