// SPDX-License-Identifier: GPL-2.0
/*
 * The link over real sockets: taking one over, HELLO, logs and acknowledgments
 * between two links, and how a link ends.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>

#include "link_rig.h"

/* ---- taking over a socket ---- */

static void expect_refused(struct kunit *test, int fd, int err)
{
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct ftkvm_link *l;

	l = ftkvm_link_create(fd, &rig_ops, NULL, RIG_LONG, why, sizeof(why));
	KUNIT_ASSERT_TRUE(test, IS_ERR(l));
	KUNIT_EXPECT_EQ(test, PTR_ERR(l), err);
	/* cause and remedy */
	KUNIT_EXPECT_NOT_NULL(test, strstr(why, ": "));
}

static void expect_socket_refused(struct kunit *test, int family, int type, int err)
{
	int fd = rig_fd(test, rig_socket(test, family, type));

	expect_refused(test, fd, err);
	close_fd(fd);
}

static void link_refuses(struct kunit *test)
{
	struct socket *a, *b;
	int fd;

	expect_refused(test, -1, -EBADF);
	expect_refused(test, 1000, -EBADF);
	expect_socket_refused(test, AF_UNIX, SOCK_DGRAM, -EINVAL);
	expect_socket_refused(test, AF_UNIX, SOCK_SEQPACKET, -EINVAL);
	expect_socket_refused(test, AF_INET, SOCK_DGRAM, -EINVAL);
	expect_socket_refused(test, AF_UNIX, SOCK_STREAM, -ENOTCONN);
	expect_socket_refused(test, AF_INET, SOCK_STREAM, -ENOTCONN);

	/* one that was connected */
	rig_connect(test, AF_INET, &a, &b);
	fd = rig_fd(test, a);
	kernel_sock_shutdown(b, SHUT_RDWR);
	sock_release(b);
	expect_refused(test, fd, -ENOTCONN);
	close_fd(fd);
}

/* A link that is never started tells nobody of its end. */
static void link_unstarted(struct kunit *test)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	ftkvm_link_kick(e->link);
	ftkvm_link_ack(e->link, 1, 1, 1);
	rig_destroy(e);
	KUNIT_EXPECT_EQ(test, e->downs, 0);
}

/* ---- HELLO ---- */

static void link_hello(struct kunit *test)
{
	struct ftkvm_hello us = { .guest = "us" }, them = { .guest = "them" }, seen;
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct ftkvm_frame_hdr h;
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	rig_say_frame(test, raw, FTKVM_FRAME_HELLO, 0, &them, sizeof(them));
	KUNIT_EXPECT_EQ_MSG(test, ftkvm_link_hello(e->link, &us, &seen, why, sizeof(why)), 0,
			    "%s", why);
	KUNIT_EXPECT_MEMEQ(test, &seen, &them, sizeof(them));
	rig_hear(test, raw, &h, &seen, sizeof(seen));
	KUNIT_EXPECT_EQ(test, h.type, FTKVM_FRAME_HELLO);
	KUNIT_EXPECT_MEMEQ(test, &seen, &us, sizeof(us));
}

static void expect_hello_fails(struct kunit *test, struct rig_end *e, int err)
{
	struct ftkvm_hello us = { }, peer;
	char why[FTKVM_ERROR_MAX + 1] = "";

	KUNIT_EXPECT_EQ(test, ftkvm_link_hello(e->link, &us, &peer, why, sizeof(why)), err);
	KUNIT_EXPECT_NOT_NULL(test, strstr(why, ": "));
}

static void link_hello_silent(struct kunit *test)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_SHORT, &raw);

	expect_hello_fails(test, e, -ETIMEDOUT);
}

struct latecomer {
	struct kunit *test;
	struct socket *raw;
};

static int latecomer(void *priv)
{
	static const struct ftkvm_hello them = { .guest = "them" };
	struct latecomer *late = priv;

	msleep(3 * RIG_SHORT);
	rig_say_frame(late->test, late->raw, FTKVM_FRAME_HELLO, 0, &them, sizeof(them));
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

/* Nobody beats yet: a short time-out is for what comes behind it, and holds there. */
static void link_hello_late(struct kunit *test)
{
	struct latecomer late = { .test = test };
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_SHORT, &late.raw);
	struct ftkvm_hello us = { }, peer;
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct task_struct *t = kthread_run(latecomer, &late, "latecomer");

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	KUNIT_EXPECT_EQ_MSG(test, ftkvm_link_hello(e->link, &us, &peer, why, sizeof(why)), 0,
			    "%s", why);
	kthread_stop(t);
	rig_start(e);
	rig_expect_down(e, FTKVM_REASON_PEER_SILENT);
	KUNIT_EXPECT_NOT_NULL(test, strstr(e->detail, "200 ms"));
}

static void link_hello_closed(struct kunit *test)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	kernel_sock_shutdown(raw, SHUT_WR);
	expect_hello_fails(test, e, -EPIPE);
}

/* What it said can be read before that. */
static void link_hello_hung_up(struct kunit *test)
{
	struct ftkvm_hello us = { }, them = { .guest = "them" }, seen;
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	rig_say_frame(test, raw, FTKVM_FRAME_HELLO, 0, &them, sizeof(them));
	KUNIT_EXPECT_EQ_MSG(test, ftkvm_link_hello(e->link, &us, &seen, why, sizeof(why)), 0,
			    "%s", why);
	KUNIT_EXPECT_EQ(test, ftkvm_link_answered(e->link, why, sizeof(why)), 0);
	kernel_sock_shutdown(raw, SHUT_WR);
	KUNIT_EXPECT_EQ(test, ftkvm_link_answered(e->link, why, sizeof(why)), -ECONNRESET);
	KUNIT_EXPECT_NOT_NULL(test, strstr(why, "closed the connection: "));
}

static void link_hello_garbled(struct kunit *test)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: backup.example.org\r\n\r\n";
	struct ftkvm_bye bye = { };
	struct ftkvm_frame_hdr h;
	struct socket *raw;
	struct rig_end *e;

	e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);
	rig_say(raw, http, sizeof(http));
	expect_hello_fails(test, e, -EBADMSG);

	/* a good frame, but not the one that begins */
	e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);
	rig_say_frame(test, raw, FTKVM_FRAME_BYE, 0, &bye, sizeof(bye));
	expect_hello_fails(test, e, -EBADMSG);

	e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);
	ftkvm_frame_seal(&h, FTKVM_FRAME_HEARTBEAT, 0, NULL, 0);
	h.version = cpu_to_le16(FTKVM_PROTO_VERSION + 1);
	rig_say(raw, &h, sizeof(h));
	expect_hello_fails(test, e, -EPROTONOSUPPORT);
}

/* ---- two links ---- */

/* Both send a log to each other, in frames of all sizes, through narrow sockets. */
static void link_logs(struct kunit *test)
{
	struct rig_end *a, *b;
	u64 tx, rx, some, n = 3 << 20;

	rig_links(test, rig_family(test), &a, &b);
	a->tell = true;
	b->tell = true;
	b->chunk = 777;
	rig_start(a);
	rig_start(b);
	/* bit by bit first, then all there is */
	for (some = 1; some < 3000; some *= 3) {
		WRITE_ONCE(a->log_len, some);
		ftkvm_link_kick(a->link);
		RIG_WAIT(a, READ_ONCE(a->received) == some);
	}
	WRITE_ONCE(a->log_len, n);
	WRITE_ONCE(b->log_len, n);
	ftkvm_link_kick(a->link);
	ftkvm_link_kick(b->link);
	RIG_WAIT(a, READ_ONCE(a->received) == n && READ_ONCE(b->received) == n);
	KUNIT_EXPECT_EQ(test, a->got, n);
	KUNIT_EXPECT_EQ(test, b->got, n);
	KUNIT_EXPECT_EQ(test, a->consumed, n / 2);
	KUNIT_EXPECT_EQ(test, a->epoch, n / 4096);

	ftkvm_link_bytes(a->link, &tx, &rx);
	KUNIT_EXPECT_GT(test, tx, n);
	KUNIT_EXPECT_GT(test, rx, n + n / 777 * sizeof(struct ftkvm_frame_hdr));
	KUNIT_EXPECT_TRUE(test, ftkvm_link_alive(a->link));

	rig_destroy(a);
	KUNIT_EXPECT_EQ(test, a->downs, 1);
	KUNIT_EXPECT_EQ(test, a->reason, FTKVM_REASON_UNPAIRED);
	rig_expect_down(b, FTKVM_REASON_PEER_CLOSED);
}

/* START and BYE arrive as they were sent, BYE although the link ends at once. */
static void link_control(struct kunit *test)
{
	struct ftkvm_bye bye = { .reason = cpu_to_le32(FTKVM_REASON_GUEST_ENDED) };
	struct ftkvm_start start = { .tsc = cpu_to_le64(0x123456789abcdef) };
	struct rig_end *a, *b;

	rig_links(test, rig_family(test), &a, &b);
	rig_start(a);
	rig_start(b);
	KUNIT_EXPECT_EQ(test, ftkvm_link_send(a->link, FTKVM_FRAME_START, &start, sizeof(start)),
			0);
	RIG_WAIT(b, READ_ONCE(b->frames) == 1);
	KUNIT_EXPECT_EQ(test, b->type, FTKVM_FRAME_START);
	KUNIT_EXPECT_MEMEQ(test, b->payload, &start, sizeof(start));

	strscpy(bye.detail, "the guest ended", sizeof(bye.detail));
	KUNIT_EXPECT_EQ(test, ftkvm_link_send(a->link, FTKVM_FRAME_BYE, &bye, sizeof(bye)), 0);
	rig_destroy(a);
	rig_expect_down(b, FTKVM_REASON_PEER_CLOSED);
	KUNIT_EXPECT_EQ(test, b->frames, 2);
	KUNIT_EXPECT_EQ(test, b->type, FTKVM_FRAME_BYE);
	KUNIT_EXPECT_MEMEQ(test, b->payload, &bye, sizeof(bye));
	KUNIT_EXPECT_EQ(test, ftkvm_link_send(b->link, FTKVM_FRAME_BYE, &bye, sizeof(bye)),
			-EPIPE);
}

/* A device's data of all sizes, amid two logs, through narrow sockets. */
static void link_bulk(struct kunit *test)
{
	u8 *data = kunit_kmalloc(test, FTKVM_BULK_MAX + 251, GFP_KERNEL);
	u64 tx, rx, n = 1 << 20;
	struct ftkvm_bulk b;
	struct rig_end *a, *z;
	u32 len, i, sent = 0;

	KUNIT_ASSERT_NOT_NULL(test, data);
	for (i = 0; i < FTKVM_BULK_MAX + 251; i++)
		data[i] = rig_byte(i);
	rig_links(test, rig_family(test), &a, &z);
	z->tell = true;
	a->chunk = 3000;
	a->log_len = n;
	z->log_len = n;
	rig_start(a);
	rig_start(z);
	ftkvm_link_kick(a->link);
	ftkvm_link_kick(z->link);
	for (len = 0; len <= FTKVM_BULK_MAX; len = len ? min(3 * len, FTKVM_BULK_MAX) : 1) {
		b = (struct ftkvm_bulk) {
			.dev = 3, .queue = 1, .status = sent, .off = cpu_to_le32(len),
			.total = cpu_to_le32(2 * len), .seq = cpu_to_le64(sent),
		};
		KUNIT_ASSERT_EQ(test, ftkvm_link_send_bulk(a->link, &b, data + len % 251, len), 0);
		sent++;
		if (len == FTKVM_BULK_MAX)
			break;
	}
	RIG_WAIT(z, READ_ONCE(z->bulks) == sent && READ_ONCE(z->got) == n);
	RIG_WAIT(a, READ_ONCE(a->received) == n && READ_ONCE(a->got) == n);
	KUNIT_EXPECT_EQ(test, a->bulks, 0);
	KUNIT_EXPECT_EQ(test, z->frames, 0);
	KUNIT_EXPECT_EQ(test, z->len, FTKVM_FRAME_MAX);
	KUNIT_EXPECT_MEMEQ(test, z->payload, &b, sizeof(b));
	ftkvm_link_bytes(a->link, &tx, &rx);
	KUNIT_EXPECT_GT(test, tx, n + FTKVM_BULK_MAX);

	rig_destroy(z);
	rig_expect_down(a, FTKVM_REASON_PEER_CLOSED);
	KUNIT_EXPECT_LT(test, ftkvm_link_send_bulk(a->link, &b, data, 1), 0);
}

/* Heartbeats keep an idle pair together, even if its time-outs differ. */
static void link_idle(struct kunit *test)
{
	struct socket *sa, *sb;
	struct rig_end *a, *b;

	rig_connect(test, rig_family(test), &sa, &sb);
	a = rig_end(test, sa, RIG_SHORT);
	b = rig_end(test, sb, RIG_LONG);
	rig_start(a);
	rig_start(b);
	msleep(5 * RIG_SHORT);
	KUNIT_EXPECT_EQ_MSG(test, a->downs, 0, "%s", a->detail);
	KUNIT_EXPECT_EQ_MSG(test, b->downs, 0, "%s", b->detail);
	KUNIT_EXPECT_LT(test, ftkvm_link_silence_ms(b->link), 5 * RIG_SHORT);
}

/* ---- acknowledgments ---- */

struct ticker {
	struct hrtimer timer;
	struct ftkvm_link *link;
	u64 n;
};

static enum hrtimer_restart tick(struct hrtimer *timer)
{
	struct ticker *t = container_of(timer, struct ticker, timer);

	t->n++;
	ftkvm_link_ack(t->link, t->n, 0, 0);
	ftkvm_link_kick(t->link);
	hrtimer_forward_now(timer, ns_to_ktime(200000));
	return t->n < 500 ? HRTIMER_RESTART : HRTIMER_NORESTART;
}

/* From interrupts and from a process, each ignorant of the other's figures. */
static void link_acks(struct kunit *test)
{
	struct rig_end *a, *b;
	struct ticker t = { };
	u64 i;

	rig_links(test, rig_family(test), &a, &b);
	a->log_len = 1 << 20;
	a->chunk = 100;
	rig_start(a);
	rig_start(b);
	t.link = a->link;
	hrtimer_init(&t.timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	t.timer.function = tick;
	hrtimer_start(&t.timer, ns_to_ktime(200000), HRTIMER_MODE_REL_HARD);
	for (i = 1; i <= 500; i++) {
		ftkvm_link_ack(a->link, 0, i, i);
		usleep_range(100, 300);
	}
	RIG_WAIT(b, READ_ONCE(b->received) == 500 && READ_ONCE(b->consumed) == 500 &&
		 READ_ONCE(b->epoch) == 500);
	hrtimer_cancel(&t.timer);
	RIG_WAIT(b, READ_ONCE(b->got) == a->log_len);
	KUNIT_EXPECT_EQ(test, a->acks, 0);
}

/* What nobody waits for is said, too, and does not keep what follows from being said. */
static void link_ack_later(struct kunit *test)
{
	struct rig_end *a, *b;

	rig_links(test, rig_family(test), &a, &b);
	rig_start(a);
	rig_start(b);
	ftkvm_link_ack_later(a->link, 9, 7, 5);
	RIG_WAIT(b, READ_ONCE(b->received) == 9 && b->consumed == 7 && b->epoch == 5);
	ftkvm_link_ack_later(a->link, 9, 8, 6);
	ftkvm_link_ack(a->link, 9, 8, 6);
	RIG_WAIT(b, READ_ONCE(b->epoch) == 6);
	KUNIT_EXPECT_EQ(test, b->consumed, 8);
}

/*
 * The log is sent by whoever pushes and by the send thread, in order; of a frame that the
 * socket takes a part of, the rest follows.
 */
static void link_push(struct kunit *test)
{
	struct socket *sa, *sb;
	struct rig_end *a, *b;
	int i;

	rig_connect(test, rig_family(test), &sa, &sb);
	rig_narrow(sa);
	rig_narrow(sb);
	a = rig_end(test, sa, RIG_LONG);
	b = rig_end(test, sb, RIG_LONG);
	a->log_len = 8 << 20;
	a->chunk = FTKVM_FRAME_MAX - 1;
	b->gated = true;
	/* not yet started: left to the send thread */
	ftkvm_link_push(a->link);
	rig_start(a);
	rig_start(b);
	for (i = 0; i < 1000; i++)
		ftkvm_link_push(a->link);
	KUNIT_EXPECT_LT(test, READ_ONCE(a->pulled), a->log_len);
	complete_all(&b->gate);
	while (READ_ONCE(b->got) < a->log_len && !READ_ONCE(a->downs) && !b->wrong) {
		ftkvm_link_push(a->link);
		cond_resched();
	}
	RIG_WAIT(b, READ_ONCE(b->got) == a->log_len);
	KUNIT_EXPECT_EQ(test, a->downs, 0);
}

/* Each frame of log is acknowledged, though nobody but the receive thread runs. */
static void link_ack_at_once(struct kunit *test)
{
	struct ftkvm_frame_hdr h;
	struct ftkvm_ack ack;
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);
	int i;

	e->tell = true;
	rig_start(e);
	for (i = 0; i < 20; i++) {
		rig_say_log(test, raw, 5000 * i, 5000);
		rig_hear(test, raw, &h, &ack, sizeof(ack));
		KUNIT_EXPECT_EQ(test, h.type, FTKVM_FRAME_ACK);
		KUNIT_EXPECT_EQ(test, le64_to_cpu(ack.received), 5000 * (i + 1));
	}
}

/* ---- ends of this side's making ---- */

static void link_upcall_fails(struct kunit *test)
{
	static const struct {
		int ret, first, reason;
	} cases[] = {
		{ -EBADMSG, 0, FTKVM_REASON_PEER_GARBLED },
		{ -ENOMEM, 0, FTKVM_REASON_LOCAL },
		{ -EPIPE, 0, FTKVM_REASON_LOCAL },
		{ -EBADMSG, FTKVM_REASON_DIVERGED, FTKVM_REASON_DIVERGED },
		{ 0, FTKVM_REASON_DIVERGED, FTKVM_REASON_DIVERGED },
	};
	struct ftkvm_ack ack = { .received = cpu_to_le64(1) };
	struct ftkvm_start start = { };
	struct ftkvm_bulk bulk = { };
	int i, k;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (k = 0; k < 4; k++) {
			struct socket *raw;
			struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

			e->ret = cases[i].ret;
			e->fail_first = cases[i].first;
			rig_start(e);
			if (k == 0)
				rig_say_log(test, raw, 0, 1);
			else if (k == 1)
				rig_say_frame(test, raw, FTKVM_FRAME_ACK, 0, &ack, sizeof(ack));
			else if (k == 2)
				rig_say_frame(test, raw, FTKVM_FRAME_START, 0, &start,
					      sizeof(start));
			else
				rig_say_frame(test, raw, FTKVM_FRAME_BULK, 0, &bulk, sizeof(bulk));
			rig_expect_down(e, cases[i].reason);
		}
	}
}

/* The first reason stays, and one down() is all there is. */
static void link_fail_twice(struct kunit *test)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	rig_start(e);
	ftkvm_link_fail(e->link, FTKVM_REASON_COUNTER, "first");
	ftkvm_link_fail(e->link, FTKVM_REASON_LOCAL, "second");
	rig_expect_down(e, FTKVM_REASON_COUNTER);
	KUNIT_EXPECT_STREQ(test, e->detail, "first");
	rig_destroy(e);
	KUNIT_EXPECT_EQ(test, e->downs, 1);
}

/* Threads that wait on a peer for minutes to come don't hold up the end. */
static void link_destroy_blocked(struct kunit *test)
{
	struct socket *raw;
	struct rig_end *e = rig_with_peer(test, rig_family(test), RIG_LONG, &raw);

	rig_start(e);
	rig_choke(e);
	rig_destroy(e);
	KUNIT_EXPECT_EQ(test, e->downs, 1);
	KUNIT_EXPECT_EQ(test, e->reason, FTKVM_REASON_UNPAIRED);
}

static struct kunit_case link_cases[] = {
	KUNIT_CASE(link_refuses),
	KUNIT_CASE_PARAM(link_unstarted, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_hello, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_hello_silent, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_hello_late, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_hello_closed, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_hello_hung_up, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_hello_garbled, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_logs, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_control, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_bulk, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_idle, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_acks, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_ack_later, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_push, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_ack_at_once, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_upcall_fails, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_fail_twice, rig_kind_gen_params),
	KUNIT_CASE_PARAM(link_destroy_blocked, rig_kind_gen_params),
	{}
};

static struct kunit_suite link_suite = {
	.name = "ftkvm_link",
	.test_cases = link_cases,
};

kunit_test_suite(link_suite);
