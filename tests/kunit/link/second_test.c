// SPDX-License-Identifier: GPL-2.0
/* The second path: beats between two modules, and peers that are none. */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/kthread.h>

#include "../../../kmod/core/beat.h"
#include "../../../kmod/link/second.h"
#include "link_rig.h"

#define TOKEN	0x0123456789abcdefull

/* What a replica is told. */
struct end {
	struct kunit *test;
	struct ftkvm_second *second;
	wait_queue_head_t wq;
	enum ftkvm_state state;
	int ups, downs;
	bool wrong;
	char why[FTKVM_DETAIL_MAX + 1];
};

static enum ftkvm_state end_state(void *priv)
{
	struct end *e = priv;

	return READ_ONCE(e->state);
}

static void end_news(void *priv, bool up, const char *why)
{
	struct end *e = priv;

	if (up ? e->ups != e->downs : e->downs > e->ups)
		e->wrong = true;
	strscpy(e->why, why);
	if (up)
		WRITE_ONCE(e->ups, e->ups + 1);
	else
		WRITE_ONCE(e->downs, e->downs + 1);
	wake_up_all(&e->wq);
}

static const struct ftkvm_second_ops end_ops = {
	.state = end_state,
	.news = end_news,
};

static void end_destroy(void *priv)
{
	struct end *e = priv;

	if (e->second)
		ftkvm_second_destroy(e->second);
	e->second = NULL;
	KUNIT_EXPECT_FALSE(e->test, e->wrong);
}

static struct end *end_of(struct kunit *test, struct socket *sock, u64 token,
			  unsigned int timeout_ms)
{
	struct end *e = kunit_kzalloc(test, sizeof(*e), GFP_KERNEL);
	char why[FTKVM_ERROR_MAX + 1] = "";
	int fd;

	KUNIT_ASSERT_NOT_NULL(test, e);
	e->test = test;
	e->state = FTKVM_STATE_PRIMARY;
	init_waitqueue_head(&e->wq);
	fd = rig_fd(test, sock);
	e->second = ftkvm_second_create(fd, &end_ops, e, token, timeout_ms, why, sizeof(why));
	close_fd(fd);
	KUNIT_ASSERT_NOT_ERR_OR_NULL_MSG(test, e->second, "%s", why);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, end_destroy, e), 0);
	KUNIT_ASSERT_EQ(test, ftkvm_second_start(e->second, test->name), 0);
	return e;
}

#define expect_soon(e, cond) ({							\
	struct end *__e = (e);							\
										\
	KUNIT_EXPECT_GT(__e->test, wait_event_timeout(__e->wq, cond, RIG_PATIENCE), 0);	\
})

static struct end *end_with_peer(struct kunit *test, struct socket **raw)
{
	struct socket *sock;

	rig_connect(test, rig_family(test), &sock, raw);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, rig_release, *raw), 0);
	return end_of(test, sock, TOKEN, RIG_SHORT);
}

static void say_beat(struct kunit *test, struct socket *raw, u64 token)
{
	struct ftkvm_beat b;

	ftkvm_beat_seal(&b, token, FTKVM_STATE_UNDECIDED);
	KUNIT_EXPECT_EQ(test, rig_say(raw, &b, sizeof(b)), sizeof(b));
}

static void expect_silence(struct end *e)
{
	struct ftkvm_second_heard heard;

	ftkvm_second_heard(e->second, &heard);
	KUNIT_EXPECT_FALSE(e->test, heard.up);
}

/* Two modules hear each other, and in which state the other one is, for as long as they live. */
static void second_pair(struct kunit *test)
{
	struct ftkvm_second_heard heard;
	struct socket *sa, *sb;
	struct end *a, *b;

	rig_connect(test, rig_family(test), &sa, &sb);
	a = end_of(test, sa, TOKEN, RIG_SHORT);
	b = end_of(test, sb, TOKEN, RIG_LONG);
	b->state = FTKVM_STATE_BACKUP;
	expect_soon(a, READ_ONCE(a->ups));
	expect_soon(b, READ_ONCE(b->ups));
	WRITE_ONCE(a->state, FTKVM_STATE_UNDECIDED);
	msleep(5 * RIG_SHORT);
	KUNIT_EXPECT_EQ_MSG(test, a->downs, 0, "%s", a->why);
	KUNIT_EXPECT_EQ_MSG(test, b->downs, 0, "%s", b->why);
	ftkvm_second_heard(b->second, &heard);
	KUNIT_EXPECT_TRUE(test, heard.up);
	KUNIT_EXPECT_EQ(test, heard.peer, FTKVM_STATE_UNDECIDED);
	KUNIT_EXPECT_LT(test, heard.silence_ms, 5 * RIG_SHORT);
	/* who lets go of it tells nobody of ours, and the peer at once */
	end_destroy(a);
	expect_soon(b, READ_ONCE(b->downs));
	expect_silence(b);
	KUNIT_EXPECT_EQ(test, a->downs, 0);
}

static void second_silent(struct kunit *test)
{
	struct socket *raw;
	struct end *e = end_with_peer(test, &raw);

	/* never heard: it does not become one that was lost */
	expect_soon(e, READ_ONCE(e->downs));
	KUNIT_EXPECT_EQ(test, e->ups, 0);
	KUNIT_EXPECT_NOT_NULL(test, strstr(e->why, "200 ms"));
}

static void second_falls_silent(struct kunit *test)
{
	struct socket *raw;
	struct end *e = end_with_peer(test, &raw);

	say_beat(test, raw, TOKEN);
	expect_soon(e, READ_ONCE(e->ups));
	expect_soon(e, READ_ONCE(e->downs));
	expect_silence(e);
}

/* Who does not know the pairing can't keep it alive; nor can half a beat. */
static void second_stranger(struct kunit *test)
{
	struct socket *raw;
	struct end *e = end_with_peer(test, &raw);

	say_beat(test, raw, TOKEN ^ 1);
	expect_soon(e, READ_ONCE(e->downs));
	KUNIT_EXPECT_EQ(test, e->ups, 0);
	KUNIT_EXPECT_NOT_NULL(test, strstr(e->why, "no beat of this pairing"));
}

static void second_half(struct kunit *test)
{
	struct ftkvm_beat b;
	struct socket *raw;
	struct end *e = end_with_peer(test, &raw);
	int i;

	ftkvm_beat_seal(&b, TOKEN, FTKVM_STATE_PRIMARY);
	for (i = 0; i < sizeof(b) - 1 && !READ_ONCE(e->downs); i++) {
		rig_say(raw, (u8 *)&b + i, 1);
		msleep(RIG_SHORT / 4);
	}
	expect_soon(e, READ_ONCE(e->downs));
	KUNIT_EXPECT_EQ(test, e->ups, 0);
}

static void second_garbled(struct kunit *test)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: backup.example.org\r\n\r\n";
	struct socket *raw;
	struct end *e = end_with_peer(test, &raw);

	say_beat(test, raw, TOKEN);
	rig_say(raw, http, sizeof(http));
	expect_soon(e, READ_ONCE(e->downs));
	KUNIT_EXPECT_NOT_NULL(test, strstr(e->why, "no beat"));
}

static void second_flooded(struct kunit *test)
{
	struct socket *raw;
	struct end *e = end_with_peer(test, &raw);
	struct ftkvm_beat b;
	int i;

	ftkvm_beat_seal(&b, TOKEN, FTKVM_STATE_PRIMARY);
	for (i = 0; i < 100000 && !READ_ONCE(e->downs); i++)
		rig_say(raw, &b, sizeof(b));
	expect_soon(e, READ_ONCE(e->downs));
	KUNIT_EXPECT_NOT_NULL(test, strstr(e->why, "no beat"));
}

static void second_closed(struct kunit *test)
{
	struct socket *raw;
	struct end *e = end_with_peer(test, &raw);

	kernel_sock_shutdown(raw, SHUT_RDWR);
	expect_soon(e, READ_ONCE(e->downs));
	KUNIT_EXPECT_NOT_NULL(test, strstr(e->why, "closed"));
}

/* It talks and does not listen: beats find no room, and are left out. */
static void second_deaf(struct kunit *test)
{
	struct socket *raw, *sock;
	struct end *e;
	int i;

	rig_connect(test, rig_family(test), &sock, &raw);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, rig_release, raw), 0);
	rig_narrow(sock);
	rig_narrow(raw);
	e = end_of(test, sock, TOKEN, RIG_SHORT);
	for (i = 0; i < 40; i++) {
		say_beat(test, raw, TOKEN);
		msleep(RIG_SHORT / 4);
	}
	KUNIT_EXPECT_EQ_MSG(test, e->downs, 0, "%s", e->why);
	KUNIT_EXPECT_EQ(test, e->ups, 1);
}

static void second_refused(struct kunit *test)
{
	struct socket *sock = rig_socket(test, AF_UNIX, SOCK_STREAM);
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct ftkvm_second *s;
	int fd = rig_fd(test, sock);

	s = ftkvm_second_create(fd, &end_ops, NULL, TOKEN, RIG_SHORT, why, sizeof(why));
	KUNIT_EXPECT_EQ(test, PTR_ERR(s), -ENOTCONN);
	KUNIT_EXPECT_NOT_NULL(test, strstr(why, ": "));
	close_fd(fd);
	s = ftkvm_second_create(1000, &end_ops, NULL, TOKEN, RIG_SHORT, why, sizeof(why));
	KUNIT_EXPECT_EQ(test, PTR_ERR(s), -EBADF);
}

static struct kunit_case second_cases[] = {
	KUNIT_CASE_PARAM(second_pair, rig_kind_gen_params),
	KUNIT_CASE_PARAM(second_silent, rig_kind_gen_params),
	KUNIT_CASE_PARAM(second_falls_silent, rig_kind_gen_params),
	KUNIT_CASE_PARAM(second_stranger, rig_kind_gen_params),
	KUNIT_CASE_PARAM(second_half, rig_kind_gen_params),
	KUNIT_CASE_PARAM(second_garbled, rig_kind_gen_params),
	KUNIT_CASE_PARAM(second_flooded, rig_kind_gen_params),
	KUNIT_CASE_PARAM(second_closed, rig_kind_gen_params),
	KUNIT_CASE_PARAM(second_deaf, rig_kind_gen_params),
	KUNIT_CASE(second_refused),
	{}
};

static struct kunit_suite second_suite = {
	.name = "ftkvm_second",
	.test_cases = second_cases,
};

kunit_test_suite(second_suite);
