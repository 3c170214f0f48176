// SPDX-License-Identifier: GPL-2.0
/*
 * A primary and a backup run the same guest: the primary ends epochs where it
 * happens to be, the backup has the log alone. It must come to every one of
 * the primary's points exactly, whatever its own counter's skid, the host's
 * exits and the log's delay; and a replica that strayed must find out.
 */
#include <kunit/test.h>

#include "../../kmod/core/record.h"
#include "../../kmod/core/ring.h"
#include "landing_sim.h"

#define LOG_SIZE	65536u
#define TURNS		2000000	/* more than any run takes */
#define READ_KIND	FTKVM_ENV_MMIO

enum outcome {
	GOES_ON,
	FINISHED,	/* the backup came to the primary's last point */
	PASSED,		/* it went past a point where it should have landed */
	MISMATCH,	/* it came there, another than the primary */
};

static const char * const outcome_names[] = { "goes on", "finished", "passed", "mismatch" };

struct replica {
	struct sim_cpu cpu;
	struct ftkvm_epoch epoch;
	struct ftkvm_codec codec;
	u64 skid;
};

struct pair {
	struct sim_prog prog;
	struct rnd_state rnd;
	struct ftkvm_ring log;
	struct replica primary, backup;
	u64 margin;
	bool strays;		/* the bounds don't hold, the outcome must */

	u64 epochs;		/* to go */
	struct ftkvm_input queue[FTKVM_REC_MAX_INPUTS];
	u8 queued;

	u64 visible;		/* log bytes that the backup holds */
	u64 consumed;
	bool have_rec, snap;
	struct ftkvm_rec rec;
	bool seeking;
	u8 encbuf[FTKVM_REC_MAX];
	u8 buf[FTKVM_REC_MAX];

	/* what happened, to be sure that it did */
	u32 landed, landed_rep, snapped, halted, skipped, unfit, waits;
};

static u32 rnd_below(struct pair *p, u32 n)
{
	return prandom_u32_state(&p->rnd) % n;
}

static void log_append(struct kunit *test, struct pair *p, struct ftkvm_rec *rec)
{
	int len;

	rec->point = p->primary.cpu.at;
	rec->digest = sim_digest(&p->primary.cpu);
	len = ftkvm_rec_encode(&p->primary.codec, rec, p->encbuf, sizeof(p->encbuf));
	KUNIT_ASSERT_GT(test, len, 0);
	KUNIT_ASSERT_EQ(test, ftkvm_ring_write(&p->log, p->encbuf, len), 0);
}

static void primary_end(struct kunit *test, struct pair *p, u8 flags)
{
	enum ftkvm_place place = flags & FTKVM_RECF_HALT ? FTKVM_PLACE_HALT :
				 flags & FTKVM_RECF_SNAP ? FTKVM_PLACE_SYNC : FTKVM_PLACE_ASYNC;
	struct replica *r = &p->primary;
	struct ftkvm_rec rec = { .type = FTKVM_REC_END, .flags = flags };
	int i;

	rec.end.ninputs = p->queued;
	memcpy(rec.end.inputs, p->queue, sizeof(p->queue));
	rec.end.next_len = ftkvm_epoch_end(&r->epoch, r->cpu.at.count, place, p->queued);
	log_append(test, p, &rec);
	for (i = 0; i < p->queued; i++)
		sim_input(&p->prog, &r->cpu, p->queue[i].vector);
	if (flags & FTKVM_RECF_SNAP)
		p->snapped++;
	else if (flags & FTKVM_RECF_HALT)
		p->halted++;
	else if (!p->queued)
		p->skipped++;
	/* the last thing in the log is a point that must be met */
	if (p->epochs > 1 || p->queued)
		p->epochs--;
	p->queued = 0;
}

static void primary_read(struct kunit *test, struct pair *p)
{
	struct ftkvm_rec rec = { .type = FTKVM_REC_ENV };
	u64 val = prandom_u32_state(&p->rnd);
	u8 data[16];
	u32 len = 0;

	KUNIT_ASSERT_EQ(test, ftkvm_env_put(data, sizeof(data), &len, READ_KIND, &val,
					    sizeof(val)), 0);
	rec.env.data = data;
	rec.env.len = len;
	if (ftkvm_epoch_due(&p->primary.epoch, p->primary.cpu.at.count, FTKVM_PLACE_SYNC,
			    !p->primary.cpu.shadow, p->queued))
		rec.flags = FTKVM_RECF_SNAP;
	log_append(test, p, &rec);
	sim_read(&p->primary.cpu, val);
	if (rec.flags)
		primary_end(test, p, FTKVM_RECF_SNAP);
}

static void primary_trip(struct kunit *test, struct pair *p)
{
	struct replica *r = &p->primary;
	struct sim_run run = { .skid = r->skid, .rip = SIM_NOWHERE };
	u64 left = ftkvm_epoch_left(&r->epoch, r->cpu.at.count);
	enum ftkvm_place place = FTKVM_PLACE_ASYNC;
	bool fit;

	KUNIT_ASSERT_GE(test, left, FTKVM_PERIOD_LEAST);
	run.until = r->cpu.at.count + left;
	if (!p->queued && rnd_below(p, 4) == 0) {
		p->queue[p->queued++] = (struct ftkvm_input) {
			.kind = FTKVM_INPUT_FIXED, .vector = rnd_below(p, 256),
		};
	}
	switch (sim_enter(&p->prog, &r->cpu, &p->rnd, &run)) {
	case SIM_EXIT_READ:
		primary_read(test, p);
		return;
	case SIM_EXIT_HALT:
		place = FTKVM_PLACE_HALT;
		break;
	default:
		break;
	}
	fit = !r->cpu.shadow;
	if (ftkvm_epoch_due(&r->epoch, r->cpu.at.count, place, fit, p->queued))
		primary_end(test, p, place == FTKVM_PLACE_HALT ? FTKVM_RECF_HALT : 0);
	else if (!fit && r->cpu.at.count >= r->epoch.start + r->epoch.len)
		p->unfit++;
}

static struct ftkvm_rec *backup_peek(struct kunit *test, struct pair *p)
{
	u32 len = min_t(u64, sizeof(p->buf), p->visible - p->consumed);
	int ret;

	if (p->have_rec)
		return &p->rec;
	len = ftkvm_ring_peek(&p->log, p->consumed, p->buf, len);
	ret = ftkvm_rec_decode(&p->backup.codec, p->buf, len, &p->rec);
	if (ret == -EAGAIN)
		return NULL;
	KUNIT_ASSERT_GT(test, ret, 0);
	p->consumed += ret;
	ftkvm_ring_release(&p->log, ret);
	p->have_rec = true;
	return &p->rec;
}

static bool same_point(const struct ftkvm_point *a, const struct ftkvm_point *b)
{
	return a->count == b->count && a->rip == b->rip;
}

static enum outcome backup_end(struct pair *p)
{
	struct replica *r = &p->backup;
	const struct ftkvm_rec *rec = &p->rec;
	int i;

	if (!same_point(&r->cpu.at, &rec->point) || r->cpu.at.rcx != rec->point.rcx ||
	    sim_digest(&r->cpu) != rec->digest)
		return MISMATCH;
	for (i = 0; i < rec->end.ninputs; i++)
		sim_input(&p->prog, &r->cpu, rec->end.inputs[i].vector);
	ftkvm_epoch_follow(&r->epoch, rec->point.count, rec->end.next_len);
	p->have_rec = false;
	p->snap = false;
	p->seeking = false;
	return GOES_ON;
}

/* The backup is at an environment read, whose record is the next one. */
static enum outcome backup_read(struct kunit *test, struct pair *p)
{
	struct replica *r = &p->backup;
	const struct ftkvm_rec *rec = &p->rec;
	u32 pos = 0;
	u64 val;

	if (rec->type != FTKVM_REC_ENV || !same_point(&r->cpu.at, &rec->point) ||
	    sim_digest(&r->cpu) != rec->digest)
		return MISMATCH;
	KUNIT_ASSERT_EQ(test, ftkvm_env_get(rec->env.data, rec->env.len, &pos, READ_KIND,
					    &val, sizeof(val)), 0);
	sim_read(&r->cpu, val);
	p->snap = rec->flags & FTKVM_RECF_SNAP;
	p->have_rec = false;
	return GOES_ON;
}

static enum outcome backup_run(struct kunit *test, struct pair *p, enum ftkvm_step step, u64 left)
{
	struct replica *r = &p->backup;
	struct sim_run run = {
		.until = r->cpu.at.count + left, .skid = r->skid, .rip = SIM_NOWHERE,
	};
	u64 start = r->cpu.at.count;

	KUNIT_ASSERT_GE(test, left, FTKVM_PERIOD_LEAST);
	if (step == FTKVM_STEP_SEEK) {
		run.rip = p->rec.point.rip;
		/* it has been looked at, and was not it */
		run.step_over = p->seeking && r->cpu.at.rip == run.rip;
		p->seeking = true;
	}
	sim_enter(&p->prog, &r->cpu, &p->rnd, &run);
	if (p->strays)
		return GOES_ON;

	/* the bounds that make landing possible */
	if (!p->have_rec)
		KUNIT_ASSERT_LT(test, r->cpu.at.count, r->epoch.start + r->epoch.len);
	else if (step == FTKVM_STEP_RUN && p->rec.type == FTKVM_REC_END && !p->rec.flags)
		KUNIT_ASSERT_LT(test, r->cpu.at.count, p->rec.point.count);
	KUNIT_ASSERT_GE(test, r->cpu.at.count, start);
	return GOES_ON;
}

static enum outcome backup_land(struct kunit *test, struct pair *p)
{
	const struct ftkvm_point *at = &p->backup.cpu.at;
	enum ftkvm_step step;
	u64 left;

	step = ftkvm_backup_land(at, &p->rec.point, p->margin, &left);
	switch (step) {
	case FTKVM_STEP_LANDED:
		p->landed++;
		if (p->prog.op[at->rip] == SIM_REP && at->rcx > 1)
			p->landed_rep++;
		return backup_end(p);
	case FTKVM_STEP_PASSED:
		return PASSED;
	default:
		/* the primary read something before the point, or nobody did */
		if (sim_exits(&p->prog, &p->backup.cpu) != SIM_EXIT_NONE)
			return MISMATCH;
		return backup_run(test, p, step, left);
	}
}

static enum outcome backup_meet(struct kunit *test, struct pair *p)
{
	enum ftkvm_step step;
	u64 left;

	step = ftkvm_backup_meet(&p->backup.cpu.at, &p->rec.point, p->margin, &left);
	if (step == FTKVM_STEP_PASSED)
		return PASSED;
	return backup_run(test, p, step, left);
}

static enum outcome backup_trip(struct kunit *test, struct pair *p)
{
	struct replica *r = &p->backup;
	struct ftkvm_rec *rec = backup_peek(test, p);
	enum sim_exit exit = sim_exits(&p->prog, &r->cpu);
	u64 left;

	if (!rec) {
		if (!p->epochs && p->visible == p->consumed && p->visible == p->log.head)
			return FINISHED;
		if (p->snap || exit != SIM_EXIT_NONE ||
		    ftkvm_backup_free(&r->epoch, r->cpu.at.count, p->margin, &left) ==
		    FTKVM_STEP_WAIT) {
			p->waits++;
			return GOES_ON;
		}
		return backup_run(test, p, FTKVM_STEP_RUN, left);
	}

	if (rec->type == FTKVM_REC_END && !rec->flags && !rec->end.ninputs) {
		/* nobody has to land there */
		if (!p->strays)
			KUNIT_ASSERT_LT(test, r->cpu.at.count, rec->point.count);
		ftkvm_epoch_follow(&r->epoch, rec->point.count, rec->end.next_len);
		p->have_rec = false;
		return GOES_ON;
	}
	if (rec->type == FTKVM_REC_END && !rec->flags)
		return backup_land(test, p);
	if (p->snap || (exit == SIM_EXIT_HALT && rec->flags & FTKVM_RECF_HALT))
		return backup_end(p);
	if (exit == SIM_EXIT_READ)
		return backup_read(test, p);
	if (exit == SIM_EXIT_HALT)
		return MISMATCH;
	return backup_meet(test, p);
}

struct setting {
	const char *name;
	u64 min, max;
	u64 margin, skid;
	bool branches;
};

static const struct setting settings[] = {
	{ "exact counter", 1000, 8000, 0, 0, false },
	{ "skid 1", 1000, 8000, 1, 1, false },
	{ "skid 100", 1000, 8000, 100, 100, false },
	{ "skid 100, wide margin", 1000, 8000, 400, 100, false },
	{ "skid 1000, epochs of 1000", 1000, 1000, 1000, 1000, false },
	{ "skid 1000, margin of 10000", 1000, 64000, 10000, 1000, false },
	{ "branches, exact counter", 1000, 8000, 0, 0, true },
	{ "branches, skid 100", 1000, 8000, 100, 100, true },
	{ "branches, skid 1000", 1000, 4000, 1000, 1000, true },
};

KUNIT_ARRAY_PARAM_DESC(setting, settings, name);

static struct pair *pair_alloc(struct kunit *test)
{
	struct pair *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	test->priv = p;
	KUNIT_ASSERT_EQ(test, ftkvm_ring_init(&p->log, LOG_SIZE), 0);
	return p;
}

static void pair_exit(struct kunit *test)
{
	struct pair *p = test->priv;

	if (p)
		ftkvm_ring_free(&p->log);
}

static void pair_start(struct kunit *test, struct pair *p, const struct setting *set,
		       u32 seed, u64 epochs)
{
	struct ftkvm_ring log = p->log;

	log.head = 0;
	log.tail = 0;
	memset(p, 0, sizeof(*p));
	p->log = log;
	prandom_seed_state(&p->rnd, seed);
	sim_compile(&p->prog, &p->rnd, set->branches);
	p->margin = set->margin;
	p->epochs = epochs;
	p->primary.skid = set->skid;
	p->backup.skid = set->skid;
	KUNIT_ASSERT_EQ(test, ftkvm_epoch_init(&p->primary.epoch, set->min, set->max), 0);
	KUNIT_ASSERT_EQ(test, ftkvm_epoch_init(&p->backup.epoch, set->min, set->max), 0);
}

/* One of the two goes on, or the log does. */
static enum outcome pair_turn(struct kunit *test, struct pair *p)
{
	switch (rnd_below(p, 3)) {
	case 0:
		if (p->epochs && ftkvm_ring_space(&p->log) > 2 * FTKVM_REC_MAX)
			primary_trip(test, p);
		return GOES_ON;
	case 1:
		/* any byte may be the last that has arrived */
		p->visible += rnd_below(p, p->log.head - p->visible + 1);
		return GOES_ON;
	default:
		return backup_trip(test, p);
	}
}

static enum outcome pair_run(struct kunit *test, struct pair *p, u32 turns)
{
	enum outcome out = GOES_ON;

	while (out == GOES_ON && turns--)
		out = pair_turn(test, p);
	return out;
}

/* The backup comes to each of the primary's points, and to no other. */
static void landing_exact(struct kunit *test)
{
	const struct setting *set = test->param_value;
	struct pair *p = pair_alloc(test);
	u32 landed = 0, rep = 0, snapped = 0, halted = 0, skipped = 0, unfit = 0, waits = 0;
	u32 seed;

	for (seed = 1; seed <= 20; seed++) {
		enum outcome out;

		pair_start(test, p, set, seed, 100);
		out = pair_run(test, p, TURNS);
		KUNIT_ASSERT_EQ_MSG(test, out, FINISHED, "seed %u: %s", seed, outcome_names[out]);
		KUNIT_ASSERT_EQ(test, p->backup.epoch.nr, p->primary.epoch.nr);
		landed += p->landed;
		rep += p->landed_rep;
		snapped += p->snapped;
		halted += p->halted;
		skipped += p->skipped;
		unfit += p->unfit;
		waits += p->waits;
	}
	kunit_info(test, "landed %u (%u in a REP), snapped %u, halted %u, no input %u, unfit %u, waits %u",
		   landed, rep, snapped, halted, skipped, unfit, waits);
	KUNIT_EXPECT_GT(test, landed, 100);
	KUNIT_EXPECT_GT(test, rep, 0);
	KUNIT_EXPECT_GT(test, snapped, 0);
	KUNIT_EXPECT_GT(test, halted, 0);
	KUNIT_EXPECT_GT(test, skipped, 0);
	KUNIT_EXPECT_GT(test, unfit, 0);
	KUNIT_EXPECT_GT(test, waits, 0);
}

/* A backup that computed something else never takes itself for the primary. */
static void landing_strayed(struct kunit *test)
{
	const struct setting *set = test->param_value;
	struct pair *p = pair_alloc(test);
	u32 passed = 0, mismatch = 0;
	u32 seed;

	for (seed = 1; seed <= 40; seed++) {
		enum outcome out;

		pair_start(test, p, set, seed, 60);
		p->strays = true;
		out = pair_run(test, p, 50 + seed);
		KUNIT_ASSERT_EQ(test, out, GOES_ON);
		p->backup.cpu.acc ^= BIT_ULL(seed);
		out = pair_run(test, p, TURNS);
		KUNIT_ASSERT_TRUE_MSG(test, out == PASSED || out == MISMATCH, "seed %u: %s",
				      seed, outcome_names[out]);
		passed += out == PASSED;
		mismatch += out == MISMATCH;
	}
	kunit_info(test, "passed %u, mismatch %u", passed, mismatch);
	KUNIT_EXPECT_GT(test, passed, 0);
	KUNIT_EXPECT_GT(test, mismatch, 0);
}

/* Skid beyond the margin: the backup lands, or knows that it did not. */
static void landing_late(struct kunit *test)
{
	static const struct setting set = { "late", 1000, 8000, 10, 0, false };
	struct pair *p = pair_alloc(test);
	u32 passed = 0;
	u32 seed;

	for (seed = 1; seed <= 40; seed++) {
		enum outcome out;

		pair_start(test, p, &set, seed, 60);
		p->strays = true;
		p->backup.skid = 40;
		out = pair_run(test, p, TURNS);
		KUNIT_ASSERT_TRUE_MSG(test, out == FINISHED || out == PASSED, "seed %u: %s",
				      seed, outcome_names[out]);
		passed += out == PASSED;
	}
	KUNIT_EXPECT_GT(test, passed, 0);
}

static struct kunit_case ftkvm_landing_cases[] = {
	KUNIT_CASE_PARAM(landing_exact, setting_gen_params),
	KUNIT_CASE_PARAM(landing_strayed, setting_gen_params),
	KUNIT_CASE(landing_late),
	{}
};

static struct kunit_suite ftkvm_landing_suite = {
	.name = "ftkvm_landing",
	.exit = pair_exit,
	.test_cases = ftkvm_landing_cases,
};

kunit_test_suite(ftkvm_landing_suite);
