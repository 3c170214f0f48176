// SPDX-License-Identifier: GPL-2.0
/*
 * Epoch rules. The input is any numbers at all, against the header's promises in
 * arithmetic that does not overflow; or it is the fate of a pair: where the
 * primary stops, how late counters are, when inputs come, how the log lags.
 * Then the backup must come to each of the primary's points.
 */
#include "fuzz.h"
#include "../../kmod/core/epoch.h"

#define u128 unsigned __int128

static u128 sat(u128 v)
{
	return v > U64_MAX ? U64_MAX : v;
}

/* ---- any numbers ---- */

static void any_primary(struct feed *f)
{
	u64 lo = feed_u64(f), hi = feed_u64(f), count = 0;
	struct ftkvm_epoch e = { }, was;
	u32 quiet = 0;
	int ret = ftkvm_epoch_init(&e, lo, hi);

	if (lo < FTKVM_PERIOD_MIN || hi > FTKVM_PERIOD_MAX || lo > hi) {
		REQUIRE(ret == -ERANGE);
		return;
	}
	REQUIRE(!ret && !e.nr && !e.start && e.len == lo && e.min == lo && e.max == hi);
	while (feed_left(f)) {
		u8 how = feed_u8(f);
		bool fit = how & 1, inputs = how & 2;
		enum ftkvm_place place = how / 4 % 3;
		u128 limit = (u128)e.start + e.len;
		u64 left, len;

		count = max(count, count + feed_u64(f));
		left = ftkvm_epoch_left(&e, count);
		if (count >= sat(limit))
			REQUIRE(left == FTKVM_PERIOD_RETRY);
		else
			REQUIRE(left == max_t(u64, sat(limit) - count, FTKVM_PERIOD_LEAST));
		if (place == FTKVM_PLACE_ASYNC)
			REQUIRE(ftkvm_epoch_due(&e, count, place, fit, inputs) ==
				(fit && count >= sat(limit)));
		else
			REQUIRE(ftkvm_epoch_due(&e, count, place, fit, inputs) == inputs);
		if (!ftkvm_epoch_due(&e, count, place, fit, inputs))
			continue;
		was = e;
		len = ftkvm_epoch_end(&e, count, place, inputs);
		REQUIRE(e.len == len && len >= lo && len <= hi && e.start == count);
		REQUIRE(e.nr == was.nr + 1 && e.min == lo && e.max == hi);
		if (place == FTKVM_PLACE_HALT ||
		    (place == FTKVM_PLACE_SYNC && (!inputs || count < sat((u128)was.start + lo)))) {
			REQUIRE(len == was.len);
			continue;
		}
		quiet = inputs ? 0 : quiet + 1;
		if (inputs)
			REQUIRE(len == lo);
		else
			REQUIRE(len == (quiet % 2 ? was.len : min(2 * was.len, hi)));
		if (len == hi && hi > 2 * lo)
			REACHED("the longest epoch");
	}
}

static void any_backup(struct feed *f)
{
	struct ftkvm_epoch e = { };
	struct ftkvm_point now, target;
	u64 margin = feed_u64(f), left = 1, start = feed_u64(f), len = feed_u64(f);
	enum ftkvm_step step;
	u8 how = feed_u8(f);
	u128 limit;

	ftkvm_epoch_follow(&e, start, len);
	REQUIRE(e.nr == 1 && e.start == start && e.len == len);
	now.count = feed_u64(f);
	if (how & 1)
		now.count = start + (s8)now.count;
	now.rip = feed_u8(f);
	now.rcx = feed_u8(f);
	target = now;
	target.count = feed_u64(f);
	if (how & 2)
		target.count = now.count + (s8)target.count;
	target.rip ^= how / 4 % 2;
	target.rcx ^= how / 8 % 2;

	/* not even to the limit's first instant, however late; else as far as can be */
	limit = sat((u128)start + len);
	step = ftkvm_backup_free(&e, now.count, margin, &left);
	if (step == FTKVM_STEP_RUN) {
		REQUIRE(left >= FTKVM_PERIOD_LEAST);
		REQUIRE((u128)now.count + left + margin < limit);
		REQUIRE((u128)now.count + left + margin + 1 == limit);
		REACHED("a free run");
	} else {
		REQUIRE(step == FTKVM_STEP_WAIT && !left);
		REQUIRE((u128)now.count + FTKVM_PERIOD_LEAST + margin >= limit);
	}

	left = 1;
	step = ftkvm_backup_land(&now, &target, margin, &left);
	if (now.count > target.count) {
		REQUIRE(step == FTKVM_STEP_PASSED && !left);
	} else if (!memcmp(&now, &target, sizeof(now))) {
		REQUIRE(step == FTKVM_STEP_LANDED && !left);
	} else if ((u128)now.count + FTKVM_PERIOD_LEAST + margin < target.count) {
		REQUIRE(step == FTKVM_STEP_RUN && left >= FTKVM_PERIOD_LEAST);
		REQUIRE((u128)now.count + left + margin < target.count);
		REACHED("a run towards a landing");
	} else {
		REQUIRE(step == FTKVM_STEP_SEEK && left >= FTKVM_PERIOD_LEAST);
		/* not before it was certainly missed, were the counter not late at all */
		REQUIRE(left >= sat((u128)target.count - now.count + margin + 1));
		REACHED("a search");
	}

	left = 1;
	step = ftkvm_backup_meet(&now, &target, margin, &left);
	if (now.count > target.count) {
		REQUIRE(step == FTKVM_STEP_PASSED && !left);
	} else {
		REQUIRE(step == FTKVM_STEP_RUN);
		REQUIRE(left == max_t(u64, sat((u128)target.count - now.count + margin + 1),
				      FTKVM_PERIOD_LEAST));
	}
}

/* ---- a pair ---- */

/*
 * The guest is a line of instants, two to a count, of which some are
 * synchronising exits or halts. RIPs come again and again; RCX tells the two
 * instants of a count apart.
 */
#define EXITS	32
#define LOG	64

struct record {
	bool end, halt, snap;	/* an END, or what a synchronising exit wants */
	bool inputs;
	u64 at, next_len;
};

struct pair {
	u64 exits[EXITS];	/* instants, ascending */
	u32 nexits, halts;	/* a mask of those that are halts */
	u64 margin, skid;

	struct ftkvm_epoch lead, follow;
	u64 lead_at, follow_at;
	u32 lead_exit, follow_exit;	/* the next in @exits */
	bool queued;

	struct record log[LOG];
	u32 written, visible, consumed;
	bool snap, looked;
};

static struct ftkvm_point point(u64 at)
{
	struct ftkvm_point p = { .count = at / 2, .rip = at / 2 % 61, .rcx = at % 2 };

	return p;
}

static bool at_exit(const struct pair *p, u64 at, u32 next)
{
	return next < p->nexits && p->exits[next] == at;
}

/* The guest runs until its counter overflows, or to its next exit. */
static u64 run(const struct pair *p, struct feed *f, u64 at, u32 next, u64 left)
{
	u64 to = 2 * (at / 2 + left + feed_below(f, p->skid + 1)) + feed_u8(f) % 2;

	return next < p->nexits ? min(to, p->exits[next]) : to;
}

static void write_end(struct pair *p, bool halt, bool snap)
{
	struct record *rec = &p->log[p->written++];

	*rec = (struct record) {
		.end = true, .halt = halt, .snap = snap, .inputs = p->queued, .at = p->lead_at,
		.next_len = ftkvm_epoch_end(&p->lead, p->lead_at / 2, halt ? FTKVM_PLACE_HALT :
					    snap ? FTKVM_PLACE_SYNC : FTKVM_PLACE_ASYNC, p->queued),
	};
	p->queued = false;
}

static void lead(struct pair *p, struct feed *f)
{
	u8 how = feed_u8(f);
	bool fit = how & 1;
	u64 left;

	if (p->written + 2 > LOG)
		return;
	if (!(how & 6))
		p->queued = true;
	if (!at_exit(p, p->lead_at, p->lead_exit)) {
		left = ftkvm_epoch_left(&p->lead, p->lead_at / 2);
		/* exits of the host's own come sooner */
		if (how & 8)
			left = 1 + feed_u8(f) % left;
		p->lead_at = run(p, f, p->lead_at, p->lead_exit, left);
	}
	if (!at_exit(p, p->lead_at, p->lead_exit)) {
		if (ftkvm_epoch_due(&p->lead, p->lead_at / 2, FTKVM_PLACE_ASYNC, fit, p->queued))
			write_end(p, false, false);
	} else if (p->halts & 1u << p->lead_exit) {
		if (ftkvm_epoch_due(&p->lead, p->lead_at / 2, FTKVM_PLACE_HALT, fit, p->queued)) {
			write_end(p, true, false);
			p->lead_at++;
			p->lead_exit++;
		}
	} else {
		bool due = ftkvm_epoch_due(&p->lead, p->lead_at / 2, FTKVM_PLACE_SYNC, fit,
					   p->queued);

		p->log[p->written++] = (struct record) { .snap = due, .at = p->lead_at };
		p->lead_at++;
		p->lead_exit++;
		if (due)
			write_end(p, false, true);
	}
}

static void follow_end(struct pair *p, const struct record *rec)
{
	REQUIRE(p->follow_at == rec->at);
	ftkvm_epoch_follow(&p->follow, rec->at / 2, rec->next_len);
	p->consumed++;
	p->snap = false;
	p->looked = false;
}

/* With a record in hand that is an END with inputs in the guest's midst. */
static void land(struct pair *p, struct feed *f, const struct record *rec)
{
	struct ftkvm_point now = point(p->follow_at), target = point(rec->at);
	u64 left, to;

	switch (ftkvm_backup_land(&now, &target, p->margin, &left)) {
	case FTKVM_STEP_LANDED:
		follow_end(p, rec);
		REACHED("a landing");
		break;
	case FTKVM_STEP_RUN:
		p->follow_at = run(p, f, p->follow_at, p->follow_exit, left);
		REQUIRE(p->follow_at / 2 < target.count);
		break;
	case FTKVM_STEP_SEEK:
		to = run(p, f, p->follow_at, p->follow_exit, left);
		/* the breakpoint; passed over if it has been looked at */
		if (p->looked && point(p->follow_at).rip == target.rip)
			p->follow_at++;
		while (p->follow_at < to && point(p->follow_at).rip != target.rip)
			p->follow_at++;
		p->looked = true;
		break;
	default:
		REQUIRE(!"the point was passed");
	}
}

static void follow(struct pair *p, struct feed *f)
{
	bool exit = at_exit(p, p->follow_at, p->follow_exit);
	const struct record *rec = &p->log[p->consumed];
	struct ftkvm_point now = point(p->follow_at), target;
	u64 left;

	if (p->consumed == p->visible) {
		if (p->snap || exit ||
		    ftkvm_backup_free(&p->follow, now.count, p->margin, &left) ==
		    FTKVM_STEP_WAIT)
			return;
		p->follow_at = run(p, f, p->follow_at, p->follow_exit, left);
		REQUIRE(p->follow_at / 2 < p->follow.start + p->follow.len);
		return;
	}
	if (rec->end && !rec->halt && !rec->snap && !rec->inputs) {
		/* nobody lands there */
		REQUIRE(now.count < rec->at / 2);
		ftkvm_epoch_follow(&p->follow, rec->at / 2, rec->next_len);
		p->consumed++;
	} else if (rec->end && !rec->halt && !rec->snap) {
		REQUIRE(!exit);
		land(p, f, rec);
	} else if (rec->end && (p->snap || (exit && rec->halt))) {
		follow_end(p, rec);
		if (rec->halt) {
			p->follow_at++;
			p->follow_exit++;
			REACHED("an END in a halt");
		}
	} else if (exit) {
		/* a synchronising exit: its record is the next */
		REQUIRE(!rec->end && rec->at == p->follow_at);
		p->snap = rec->snap;
		p->follow_at++;
		p->follow_exit++;
		p->consumed++;
		REACHED("an exit met");
	} else {
		target = point(rec->at);
		REQUIRE(ftkvm_backup_meet(&now, &target, p->margin, &left) == FTKVM_STEP_RUN);
		p->follow_at = run(p, f, p->follow_at, p->follow_exit, left);
		REQUIRE(p->follow_at <= rec->at);
	}
}

static void pair(struct feed *f)
{
	struct pair p = { };
	u64 lo = FTKVM_PERIOD_MIN + feed_u8(f), at = 0;
	u32 i;

	REQUIRE(!ftkvm_epoch_init(&p.lead, lo, lo << feed_u8(f) % 8));
	p.follow = p.lead;
	/* the margin may be more than an epoch */
	p.margin = feed_below(f, 1500);
	p.skid = feed_below(f, p.margin + 1);
	p.nexits = feed_below(f, EXITS + 1);
	p.halts = feed_le(f, 4);
	for (i = 0; i < p.nexits; i++) {
		at += 1 + feed_below(f, 8192);
		p.exits[i] = at;
	}

	while (feed_left(f)) {
		switch (feed_u8(f) % 4) {
		case 0:
			lead(&p, f);
			break;
		case 1:
			p.visible += feed_below(f, p.written - p.visible + 1);
			break;
		default:
			follow(&p, f);
		}
	}

	/* all that there is: the backup comes to its end */
	p.visible = p.written;
	while (p.consumed < p.written) {
		struct pair was = p;

		follow(&p, f);
		REQUIRE(p.follow_at > was.follow_at || p.consumed > was.consumed ||
			p.looked > was.looked);
	}
	REQUIRE(p.follow.nr == p.lead.nr && p.follow.start == p.lead.start &&
		p.follow.len == p.lead.len);
	/* ahead of the primary, perhaps, but not where that may still place an input */
	REQUIRE(p.follow_at <= p.lead_at || p.follow_at / 2 < p.lead.start + p.lead.len);
	if (p.written > 8)
		REACHED("a pair that came some way");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, data + size };

	switch (feed_u8(&f) % 4) {
	case 0:
		any_primary(&f);
		break;
	case 1:
		any_backup(&f);
		break;
	default:
		pair(&f);
	}
	return 0;
}

void fuzz_seeds(void)
{
	struct seed s = { };
	int i;

	seed_le(&s, 0, 1);
	seed_u64(&s, 1000);
	seed_u64(&s, 64000);
	for (i = 0; i < 12; i++) {
		seed_le(&s, i % 4 + 1, 1);
		seed_u64(&s, 1000 << i / 2);
	}
	seed_done(&s);

	for (i = 0; i < 4; i++) {
		seed_le(&s, 1, 1);
		seed_u64(&s, 100);
		seed_u64(&s, 5000);
		seed_u64(&s, 1000);
		seed_le(&s, i & 2, 1);
		seed_u64(&s, i & 1 ? 5100 : 5850);
		seed_le(&s, 0x0101, 2);
		seed_u64(&s, i & 1 ? 5110 : 9);
		seed_done(&s);
	}

	for (i = 0; i < 3; i++) {
		int turn;

		seed_le(&s, 2, 1);
		seed_le(&s, 0, 1);			/* epochs of 1000 */
		seed_le(&s, 3, 1);			/* to 8000 */
		seed_le(&s, i * 100, 2);		/* margin */
		seed_le(&s, i * 100, 2);		/* skid */
		seed_le(&s, i * 3, 1);			/* exits */
		seed_le(&s, 2, 4);			/* the second is a halt */
		for (turn = 0; turn < i * 3; turn++)
			seed_le(&s, 3000 + turn, 2);
		for (turn = 0; turn < 40; turn++) {
			seed_le(&s, 0, 1);		/* the primary runs, is fit, has inputs */
			seed_le(&s, turn % 3 ? 1 : 3, 1);
			seed_le(&s, 0, i ? 2 : 1);
			seed_bytes(&s, "\1\5\2\0\0\2\0\0", 8);
		}
		seed_done(&s);
	}
}
