// SPDX-License-Identifier: GPL-2.0
/*
 * What the link makes of a peer that stalls, closes, resets, floods or talks
 * garbage.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/prandom.h>

#include "../../../kmod/link/wire.h"
#include "link_rig.h"

static void peer_silent(struct kunit *test)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_SHORT, &raw);

	rig_start(e);
	rig_expect_down(e, FTKVM_REASON_PEER_SILENT);
	KUNIT_EXPECT_GE(test, ftkvm_link_silence_ms(e->link), RIG_SHORT - 20);
}

/* Half a frame is no sign of life. */
static void peer_half_a_frame(struct kunit *test)
{
	struct ftkvm_frame_hdr h;
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_SHORT, &raw);
	int i;

	ftkvm_frame_seal(&h, FTKVM_FRAME_DATA, 0, "some log", 8);
	rig_start(e);
	for (i = 0; i < sizeof(h) && !READ_ONCE(e->downs); i++) {
		rig_say(raw, (u8 *)&h + i, 1);
		msleep(RIG_SHORT / 4);
	}
	rig_expect_down(e, FTKVM_REASON_PEER_SILENT);
	KUNIT_EXPECT_EQ(test, e->got, 0);
}

/* A time-out that is made shorter holds for the wait that goes on. */
static void peer_silent_sooner(struct kunit *test)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	rig_start(e);
	msleep(20);
	ftkvm_link_set_timeout(e->link, RIG_SHORT);
	rig_expect_down(e, FTKVM_REASON_PEER_SILENT);
}

struct chatterer {
	struct kunit *test;
	struct socket *raw;
};

static int chatter(void *priv)
{
	struct chatterer *c = priv;
	struct ftkvm_frame_hdr h;

	ftkvm_frame_seal(&h, FTKVM_FRAME_HEARTBEAT, 0, NULL, 0);
	while (!kthread_should_stop()) {
		rig_say(c->raw, &h, sizeof(h));
		msleep(RIG_SHORT / 4);
	}
	return 0;
}

/* It lives and talks, but it does not listen: the log gets nowhere. */
static void peer_stalled(struct kunit *test)
{
	struct chatterer c = { .test = test };
	struct task_struct *t;
	struct rig_end *e = rig_with_peer(test, rig_family(test), 2 * RIG_SHORT, &c.raw);

	e->log_len = 256 << 20;
	rig_start(e);
	t = kthread_run(chatter, &c, "chatter");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	ftkvm_link_kick(e->link);
	wait_event_timeout(e->wq, READ_ONCE(e->downs), RIG_PATIENCE);
	kthread_stop(t);
	rig_expect_down(e, FTKVM_REASON_PEER_SILENT);
	KUNIT_EXPECT_LT(test, e->pulled, e->log_len);
}

/* While sending is stuck, receiving goes on, although it has much to acknowledge. */
static void peer_deaf(struct kunit *test)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);
	int i;

	e->tell = true;
	rig_start(e);
	rig_choke(e);
	for (i = 0; i < 200; i++)
		rig_say_log(test, raw, 10000 * i, 10000);
	RIG_WAIT(e, READ_ONCE(e->got) == 200 * 10000);
	KUNIT_EXPECT_EQ(test, e->downs, 0);
}

static u32 drain(struct socket *raw)
{
	u32 total = 0;
	int n;

	do {
		static u8 buf[4096];
		struct kvec vec = { .iov_base = buf, .iov_len = sizeof(buf) };
		struct msghdr msg = { };

		n = kernel_recvmsg(raw, &msg, &vec, 1, sizeof(buf), MSG_DONTWAIT);
		total += max(n, 0);
	} while (n > 0);
	return total;
}

/*
 * A DATA frame was cut short, and somebody has a frame to send before the link has
 * died of it: the peer must not get that in the midst of the other.
 */
static void peer_torn(struct kunit *test)
{
	struct ftkvm_wire *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	struct ftkvm_start start = { };
	struct ftkvm_bulk bulk = { };
	char why[FTKVM_ERROR_MAX + 1];
	struct socket *sock, *raw;
	s64 sent;
	int fd;

	KUNIT_ASSERT_NOT_NULL(test, w);
	rig_connect(test, rig_family(test), &sock, &raw);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, rig_release, raw), 0);
	rig_narrow(sock);
	rig_narrow(raw);
	fd = rig_fd(test, sock);
	w->timeout = msecs_to_jiffies(RIG_SHORT);
	KUNIT_ASSERT_EQ(test, ftkvm_wire_open(w, fd, why, sizeof(why)), 0);
	close_fd(fd);

	rt_mutex_lock(&w->tx);
	memset(w->tx_buf, 0, FTKVM_FRAME_MAX);
	while (!ftkvm_wire_send_data(w, 0, FTKVM_FRAME_MAX, false))
		;
	sent = atomic64_read(&w->tx_bytes);
	KUNIT_EXPECT_NE(test, sent % (sizeof(struct ftkvm_frame_hdr) + FTKVM_FRAME_MAX), 0);
	/* now there is room, and still nothing may follow */
	KUNIT_EXPECT_GT(test, drain(raw), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_wire_send(w, FTKVM_FRAME_START, &start, sizeof(start), false),
			-EPIPE);
	KUNIT_EXPECT_EQ(test, ftkvm_wire_send_data(w, 0, 1, false), -EPIPE);
	KUNIT_EXPECT_EQ(test, ftkvm_wire_send_bulk(w, &bulk, NULL, 0), -EPIPE);
	KUNIT_EXPECT_EQ(test, atomic64_read(&w->tx_bytes), sent);
	rt_mutex_unlock(&w->tx);
	ftkvm_wire_close(w);
}

static void peer_closed(struct kunit *test)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	rig_start(e);
	rig_close(test, raw);
	rig_expect_down(e, FTKVM_REASON_PEER_CLOSED);
}

static void peer_reset(struct kunit *test)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	e->log_len = 256 << 20;
	rig_start(e);
	ftkvm_link_kick(e->link);
	msleep(20);
	rig_reset(test, raw);
	rig_expect_down(e, FTKVM_REASON_PEER_CLOSED);
}

/* It takes nothing any more, but talks on: that can't last. */
static void peer_half_closed(struct kunit *test)
{
	struct chatterer c = { .test = test };
	struct task_struct *t;
	struct rig_end *e = rig_with_peer(test, AF_UNIX, 2 * RIG_SHORT, &c.raw);

	rig_start(e);
	kernel_sock_shutdown(c.raw, SHUT_RD);
	t = kthread_run(chatter, &c, "chatter");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	wait_event_timeout(e->wq, READ_ONCE(e->downs), RIG_PATIENCE);
	kthread_stop(t);
	rig_expect_down(e, FTKVM_REASON_PEER_CLOSED);
}

/* What the peer said before it closed is heard, although sending fails before. */
static void expect_last_words(struct kunit *test, bool bulk)
{
	struct ftkvm_bulk b = { };
	struct ftkvm_bye bye = { .reason = cpu_to_le32(FTKVM_REASON_DIVERGED) };
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	/* While it takes the first byte of log, the rest comes, and sending fails. */
	e->gated = true;
	rig_start(e);
	rig_say_log(test, raw, 0, 1);
	RIG_WAIT(e, READ_ONCE(e->got) == 1);
	rig_say_log(test, raw, 1, 30000);
	rig_say_frame(test, raw, FTKVM_FRAME_BYE, 0, &bye, sizeof(bye));
	rig_close(test, raw);
	if (bulk) {
		while (!ftkvm_link_send_bulk(e->link, &b, NULL, 0))
			;
	} else {
		WRITE_ONCE(e->log_len, 1 << 20);
		ftkvm_link_kick(e->link);
	}
	RIG_WAIT(e, !ftkvm_link_alive(e->link) || (msleep(1), false));
	KUNIT_EXPECT_EQ(test, e->downs, 0);
	complete_all(&e->gate);
	rig_expect_down(e, FTKVM_REASON_PEER_CLOSED);
	KUNIT_EXPECT_EQ(test, e->got, 30001);
	KUNIT_EXPECT_EQ(test, e->frames, 1);
}

static void peer_last_words(struct kunit *test)
{
	expect_last_words(test, false);
}

static void peer_last_words_bulk(struct kunit *test)
{
	expect_last_words(test, true);
}

static void peer_flood(struct kunit *test)
{
	struct ftkvm_frame_hdr h;
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);
	int i;

	rig_start(e);
	ftkvm_frame_seal(&h, FTKVM_FRAME_HEARTBEAT, 0, NULL, 0);
	for (i = 0; i < 1000000 && rig_say(raw, &h, sizeof(h)) > 0; i++)
		cond_resched();
	rig_expect_down(e, FTKVM_REASON_PEER_GARBLED);
}

/* Acknowledgments of ever more epochs, and of no log */
static void peer_flood_acks(struct kunit *test)
{
	struct {
		struct ftkvm_frame_hdr h;
		struct ftkvm_ack ack;
	} __packed f = { };
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);
	int i = 0;

	rig_start(e);
	do {
		f.ack.epoch = cpu_to_le64(++i);
		ftkvm_frame_seal(&f.h, FTKVM_FRAME_ACK, 0, &f.ack, sizeof(f.ack));
		cond_resched();
	} while (i < 1000000 && rig_say(raw, &f, sizeof(f)) > 0);
	rig_expect_down(e, FTKVM_REASON_PEER_GARBLED);
}

/* ---- garbage ---- */

static void expect_garbled(struct kunit *test, const char *what, const void *buf, u32 len,
			   int reason)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	kunit_info(test, "%s", what);
	rig_start(e);
	rig_say_log(test, raw, 0, 100);
	RIG_WAIT(e, READ_ONCE(e->got) == 100);
	rig_say(raw, buf, len);
	rig_expect_down(e, reason);
	KUNIT_EXPECT_EQ(test, e->got, 100);
	KUNIT_EXPECT_EQ(test, e->frames, 0);
	KUNIT_EXPECT_EQ(test, e->acks, 0);
	KUNIT_EXPECT_EQ(test, e->bulks, 0);
}

static void peer_garbled(struct kunit *test)
{
	struct {
		struct ftkvm_frame_hdr h;
		u8 payload[200];
	} __packed f = { };
	struct ftkvm_frame_hdr *h = &f.h;
	char text[sizeof(f)];

	memset(text, 'x', sizeof(text));
	expect_garbled(test, "text", text, sizeof(text), FTKVM_REASON_PEER_GARBLED);
	memset(text, 0, sizeof(text));
	expect_garbled(test, "zeros", text, sizeof(text), FTKVM_REASON_PEER_GARBLED);

	ftkvm_frame_seal(h, FTKVM_FRAME_DATA, 100, f.payload, 50);
	f.payload[49]++;
	expect_garbled(test, "a bit flipped", &f, sizeof(*h) + 50, FTKVM_REASON_PEER_GARBLED);
	ftkvm_frame_seal(h, FTKVM_FRAME_DATA, 101, f.payload, 50);
	expect_garbled(test, "log with a gap", &f, sizeof(*h) + 50, FTKVM_REASON_PEER_GARBLED);
	ftkvm_frame_seal(h, FTKVM_FRAME_DATA, 99, f.payload, 50);
	expect_garbled(test, "log again", &f, sizeof(*h) + 50, FTKVM_REASON_PEER_GARBLED);
	ftkvm_frame_seal(h, FTKVM_FRAME_DATA, 100, NULL, 0);
	expect_garbled(test, "log of no bytes", &f, sizeof(*h), FTKVM_REASON_PEER_GARBLED);
	h->len = cpu_to_le32(FTKVM_FRAME_MAX + 1);
	expect_garbled(test, "longer than can be", &f, sizeof(f), FTKVM_REASON_PEER_GARBLED);
	h->len = cpu_to_le32(U32_MAX);
	expect_garbled(test, "huge", &f, sizeof(f), FTKVM_REASON_PEER_GARBLED);

	ftkvm_frame_seal(h, FTKVM_FRAME_HELLO, 0, f.payload, sizeof(struct ftkvm_hello));
	expect_garbled(test, "a late HELLO", &f, sizeof(*h) + sizeof(struct ftkvm_hello),
		       FTKVM_REASON_PEER_GARBLED);
	ftkvm_frame_seal(h, FTKVM_FRAME_TYPES, 0, NULL, 0);
	expect_garbled(test, "an unknown type", &f, sizeof(*h), FTKVM_REASON_PEER_GARBLED);
	ftkvm_frame_seal(h, FTKVM_FRAME_HEARTBEAT, 1, NULL, 0);
	expect_garbled(test, "a heartbeat with an offset", &f, sizeof(*h),
		       FTKVM_REASON_PEER_GARBLED);
	ftkvm_frame_seal(h, FTKVM_FRAME_ACK, 0, f.payload, 23);
	expect_garbled(test, "a short ACK", &f, sizeof(f), FTKVM_REASON_PEER_GARBLED);
	ftkvm_frame_seal(h, FTKVM_FRAME_BULK, 0, f.payload, 23);
	expect_garbled(test, "a short BULK", &f, sizeof(f), FTKVM_REASON_PEER_GARBLED);
	ftkvm_frame_seal(h, FTKVM_FRAME_BULK, 1, f.payload, 50);
	expect_garbled(test, "a BULK with an offset", &f, sizeof(f), FTKVM_REASON_PEER_GARBLED);
	ftkvm_frame_seal(h, FTKVM_FRAME_BULK, 0, f.payload, 50);
	f.payload[40]++;
	expect_garbled(test, "a BULK with a bit flipped", &f, sizeof(f), FTKVM_REASON_PEER_GARBLED);
	ftkvm_frame_seal(h, FTKVM_FRAME_BYE, 0, f.payload, 193);
	expect_garbled(test, "a long BYE", &f, sizeof(f), FTKVM_REASON_PEER_GARBLED);

	ftkvm_frame_seal(h, FTKVM_FRAME_HEARTBEAT, 0, NULL, 0);
	h->version = cpu_to_le16(FTKVM_PROTO_VERSION + 1);
	expect_garbled(test, "another version", &f, sizeof(*h), FTKVM_REASON_PEER_VERSION);
}

/* A log in many frames, of which one bit is wrong: no wrong byte gets through. */
static void peer_damaged(struct kunit *test)
{
	const u32 frames = 40, one = 100, size = frames * (one + sizeof(struct ftkvm_frame_hdr));
	u8 *buf = kunit_kzalloc(test, size, GFP_KERNEL);
	struct rnd_state rnd;
	u32 i, at, round;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	prandom_seed_state(&rnd, 1);
	for (round = 0; round < 100; round++) {
		struct socket *raw;
		struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

		for (i = 0, at = 0; i < frames; i++) {
			struct ftkvm_frame_hdr h;
			u8 *payload = buf + at + sizeof(h);
			u32 k;

			for (k = 0; k < one; k++)
				payload[k] = rig_byte(i * one + k);
			ftkvm_frame_seal(&h, FTKVM_FRAME_DATA, i * one, payload, one);
			memcpy(buf + at, &h, sizeof(h));
			at += sizeof(h) + one;
		}
		at = prandom_u32_state(&rnd) % size;
		buf[at] ^= 1 << (prandom_u32_state(&rnd) % 8);
		rig_start(e);
		rig_say(raw, buf, size);
		kernel_sock_shutdown(raw, SHUT_WR);
		RIG_WAIT(e, rig_is_down(e));
		/* a length that grew swallows what is left */
		KUNIT_EXPECT_TRUE_MSG(test, e->reason == FTKVM_REASON_PEER_GARBLED ||
				      e->reason == FTKVM_REASON_PEER_VERSION ||
				      e->reason == FTKVM_REASON_PEER_CLOSED,
				      "%d: %s", e->reason, e->detail);
		KUNIT_EXPECT_EQ(test, e->got, at / (one + sizeof(struct ftkvm_frame_hdr)) * one);
		kunit_release_action(test, rig_destroy, e);
		rig_close(test, raw);
	}
}

static struct kunit_case link_peer_cases[] = {
	KUNIT_CASE_PARAM(peer_silent, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_half_a_frame, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_silent_sooner, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_stalled, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_deaf, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_torn, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_closed, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_reset, rig_kind_gen_params),
	KUNIT_CASE(peer_half_closed),
	KUNIT_CASE_PARAM(peer_last_words, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_last_words_bulk, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_flood, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_flood_acks, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_garbled, rig_kind_gen_params),
	KUNIT_CASE_PARAM(peer_damaged, rig_kind_gen_params),
	{}
};

static struct kunit_suite link_peer_suite = {
	.name = "ftkvm_link_peer",
	.test_cases = link_peer_cases,
};

kunit_test_suite(link_peer_suite);
