/* SPDX-License-Identifier: GPL-2.0 */
/* Records at random, for the tests of their codec. */
#ifndef FTKVM_TEST_RECORD_GEN_H
#define FTKVM_TEST_RECORD_GEN_H

#include <kunit/test.h>
#include <linux/prandom.h>
#include <linux/string.h>

#include "../../kmod/core/record.h"

static inline u64 gen_u64(struct rnd_state *rnd)
{
	u64 val = (u64)prandom_u32_state(rnd) << 32 | prandom_u32_state(rnd);

	/* of any length, and at both ends */
	switch (prandom_u32_state(rnd) % 8) {
	case 0:
		return 0;
	case 1:
		return U64_MAX;
	default:
		return val >> (prandom_u32_state(rnd) % 64);
	}
}

static inline void gen_input(struct rnd_state *rnd, struct ftkvm_input *in)
{
	in->kind = prandom_u32_state(rnd) % FTKVM_INPUT_KINDS;
	in->vector = 0;
	in->level = 0;
	if (ftkvm_input_of_device(in))
		in->level = prandom_u32_state(rnd);
	if (in->kind == FTKVM_INPUT_FIXED)
		in->level = prandom_u32_state(rnd) % 2;
	if (in->kind == FTKVM_INPUT_FIXED || in->kind == FTKVM_INPUT_EXTINT ||
	    in->kind == FTKVM_INPUT_SIPI || ftkvm_input_of_device(in))
		in->vector = prandom_u32_state(rnd);
}

/* Items into @data, as many as @max bytes hold or fewer. */
static inline u32 gen_env(struct rnd_state *rnd, u8 *data, u32 max)
{
	u32 want = prandom_u32_state(rnd) % 6;
	u32 pos = 0;
	u8 val[64];

	while (want--) {
		u32 len = prandom_u32_state(rnd) % sizeof(val);

		prandom_bytes_state(rnd, val, sizeof(val));
		if (ftkvm_env_put(data, max, &pos, prandom_u32_state(rnd) % FTKVM_ENV_KINDS,
				  val, len))
			break;
	}
	return pos;
}

/* A verification's checksums: anything, as long as they are whole. */
static inline u32 gen_sums(struct rnd_state *rnd, u8 *data, u32 max, u32 size)
{
	u32 n = 1 + prandom_u32_state(rnd) % (max / size);

	if (prandom_u32_state(rnd) % 8)
		n = 1 + n % 16;
	prandom_bytes_state(rnd, data, n * size);
	return n * size;
}

/*
 * Any record that may follow what @c has seen; ENV data go to @data, of
 * FTKVM_REC_MAX_DATA bytes.
 */
static inline void gen_rec(struct rnd_state *rnd, const struct ftkvm_codec *c,
			   struct ftkvm_rec *rec, u8 *data)
{
	int i;

	memset(rec, 0, sizeof(*rec));
	rec->type = FTKVM_REC_END + prandom_u32_state(rnd) % FTKVM_REC_PAGES;
	rec->point.count = c->count + min(gen_u64(rnd) >> 16, U64_MAX - c->count);
	rec->point.rip = gen_u64(rnd);
	rec->digest = prandom_u32_state(rnd);
	/* of any type: not all have them in the log */
	prandom_bytes_state(rnd, rec->hash, sizeof(rec->hash));
	switch (rec->type) {
	case FTKVM_REC_END:
		rec->flags = prandom_u32_state(rnd) & (FTKVM_RECF_SNAP | FTKVM_RECF_HALT);
		rec->point.rcx = gen_u64(rnd);
		rec->end.next_len = gen_u64(rnd);
		rec->end.ninputs = prandom_u32_state(rnd) % (FTKVM_REC_MAX_INPUTS + 1);
		for (i = 0; i < rec->end.ninputs; i++)
			gen_input(rnd, &rec->end.inputs[i]);
		break;
	case FTKVM_REC_ENV:
		rec->flags = prandom_u32_state(rnd) & (FTKVM_RECF_SNAP | FTKVM_RECF_MORE);
		rec->env.data = data;
		rec->env.len = gen_env(rnd, data, FTKVM_REC_MAX_DATA);
		break;
	case FTKVM_REC_TSC:
		rec->flags = prandom_u32_state(rnd) & FTKVM_RECF_SNAP;
		rec->tsc = gen_u64(rnd);
		break;
	case FTKVM_REC_OUT:
		rec->flags = prandom_u32_state(rnd) & FTKVM_RECF_SNAP;
		rec->out_crc = prandom_u32_state(rnd);
		break;
	case FTKVM_REC_STOP:
		rec->stop_reason = gen_u64(rnd);
		break;
	case FTKVM_REC_IMAGE:
	case FTKVM_REC_PAGES:
		rec->flags = prandom_u32_state(rnd) & (FTKVM_RECF_SNAP | FTKVM_RECF_HALT);
		rec->point.rcx = gen_u64(rnd);
		rec->image.page = gen_u64(rnd);
		rec->image.data = data;
		rec->image.len = gen_sums(rnd, data, FTKVM_REC_MAX_DATA,
					  rec->type == FTKVM_REC_PAGES ? 8 : 4);
		break;
	}
}

/* What of a register's hash comes through the log with a record of @type */
static inline u8 hash_mask(u8 type)
{
	switch (type) {
	case FTKVM_REC_END:
		return 0xff;
	case FTKVM_REC_ENV:
	case FTKVM_REC_OUT:
		return 0xf;
	default:
		return 0;
	}
}

/* @a was decoded from what @b was encoded to. */
static inline void expect_same_rec(struct kunit *test, const struct ftkvm_rec *a,
				   const struct ftkvm_rec *b)
{
	int i;

	KUNIT_ASSERT_EQ(test, a->type, b->type);
	KUNIT_ASSERT_EQ(test, a->flags, b->flags);
	KUNIT_ASSERT_EQ(test, a->point.count, b->point.count);
	KUNIT_ASSERT_EQ(test, a->point.rip, b->point.rip);
	KUNIT_ASSERT_EQ(test, a->point.rcx, b->point.rcx);
	KUNIT_ASSERT_EQ(test, a->base, b->base);
	KUNIT_ASSERT_EQ(test, a->digest, b->digest);
	for (i = 0; i < FTKVM_NREGS; i++)
		KUNIT_ASSERT_EQ(test, a->hash[i], b->hash[i] & hash_mask(b->type));
	switch (a->type) {
	case FTKVM_REC_END:
		KUNIT_ASSERT_EQ(test, a->end.next_len, b->end.next_len);
		KUNIT_ASSERT_EQ(test, a->end.ninputs, b->end.ninputs);
		KUNIT_ASSERT_MEMEQ(test, a->end.inputs, b->end.inputs, sizeof(a->end.inputs));
		break;
	case FTKVM_REC_ENV:
		KUNIT_ASSERT_EQ(test, a->env.len, b->env.len);
		if (a->env.len)
			KUNIT_ASSERT_MEMEQ(test, a->env.data, b->env.data, a->env.len);
		break;
	case FTKVM_REC_TSC:
		KUNIT_ASSERT_EQ(test, a->tsc, b->tsc);
		break;
	case FTKVM_REC_OUT:
		KUNIT_ASSERT_EQ(test, a->out_crc, b->out_crc);
		break;
	case FTKVM_REC_STOP:
		KUNIT_ASSERT_EQ(test, a->stop_reason, b->stop_reason);
		break;
	case FTKVM_REC_IMAGE:
	case FTKVM_REC_PAGES:
		KUNIT_ASSERT_EQ(test, a->image.page, b->image.page);
		KUNIT_ASSERT_EQ(test, a->image.len, b->image.len);
		KUNIT_ASSERT_MEMEQ(test, a->image.data, b->image.data, a->image.len);
		break;
	}
}

static inline void expect_same_codec(struct kunit *test, const struct ftkvm_codec *a,
				     const struct ftkvm_codec *b)
{
	KUNIT_ASSERT_EQ(test, a->count, b->count);
	KUNIT_ASSERT_EQ(test, a->rip, b->rip);
	KUNIT_ASSERT_EQ(test, a->tsc, b->tsc);
}

#endif
