/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the link's suites stand on: connected sockets, a peer that is no link and
 * says whatever a test wants, and a replica's end of a link that notes what it
 * hears.
 */
#ifndef FTKVM_LINK_RIG_H
#define FTKVM_LINK_RIG_H

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/fcntl.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/in.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <net/sock.h>
#include <uapi/linux/ftkvm.h>

#include "../../../kmod/core/frame.h"
#include "../../../kmod/link/link.h"

/* No test waits longer for what must come. */
#define RIG_PATIENCE	(30 * HZ)
/* A time-out that no test waits for, and one that some do. */
#define RIG_LONG	600000
#define RIG_SHORT	200

/* Most tests are run over each of them. */
static const struct {
	int family;
	const char *name;
} rig_kinds[] = {
	{ AF_UNIX, "UNIX" },
	{ AF_INET, "TCP" },
};

static inline void rig_kind_name(const typeof(rig_kinds[0]) *k, char *desc)
{
	strscpy(desc, k->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(rig_kind, rig_kinds, rig_kind_name);

static inline int rig_family(struct kunit *test)
{
	return ((const typeof(rig_kinds[0]) *)test->param_value)->family;
}

/**
 * struct rig_end - a replica's end of a link
 * @test: the test
 * @link: under test
 * @wq: woken at every upcall
 * @log_len: log bytes that it sends
 * @pulled: how many of them were pulled
 * @chunk: most that a pull gives
 * @got: log bytes received
 * @acks: acknowledgments received, and the last one's figures
 * @received: see @acks
 * @consumed: see @acks
 * @epoch: see @acks
 * @frames: other frames received
 * @bulks: frames of a device's data received; of the last one @payload has what it says of itself
 * @type: the last one's
 * @payload: the last one's
 * @len: the last one's
 * @downs: calls of down()
 * @reason: its argument
 * @detail: its argument
 * @wrong: what must never happen: first occurrence
 * @tell: acknowledge what is received
 * @fail_first: reason to name before @ret is returned
 * @ret: what upcalls return
 * @gate: upcalls of the receive thread wait for it, if @gated
 * @gated: see @gate
 */
struct rig_end {
	struct kunit *test;
	struct ftkvm_link *link;
	wait_queue_head_t wq;
	u64 log_len, pulled;
	u32 chunk;
	u64 got;
	u32 acks;
	u64 received, consumed, epoch;
	u32 frames, bulks;
	u8 type;
	u8 payload[256];
	u32 len;
	int downs, reason;
	char detail[FTKVM_DETAIL_MAX + 1];
	const char *wrong;
	bool tell;
	int fail_first;
	int ret;
	bool gated;
	struct completion gate;
};

/* The log's byte at @off; 251 is no divisor of any buffer's size. */
static inline u8 rig_byte(u64 off)
{
	return off % 251;
}

static inline void rig_wrong(struct rig_end *e, const char *what)
{
	if (!e->wrong)
		WRITE_ONCE(e->wrong, what);
}

/* Common to the upcalls of the receive thread. */
static inline int rig_upcall(struct rig_end *e)
{
	if (READ_ONCE(e->downs))
		rig_wrong(e, "an upcall after down()");
	wake_up_all(&e->wq);
	if (e->gated && !wait_for_completion_timeout(&e->gate, RIG_PATIENCE))
		rig_wrong(e, "the gate stayed shut");
	if (e->fail_first)
		ftkvm_link_fail(e->link, e->fail_first, "as the upcall says");
	return e->ret;
}

static inline int rig_data(void *priv, u64 off, const u8 *buf, u32 len)
{
	struct rig_end *e = priv;
	u32 i;

	if (off != e->got)
		rig_wrong(e, "log bytes out of order");
	if (!len || len > FTKVM_FRAME_MAX)
		rig_wrong(e, "a length that can't be");
	for (i = 0; i < len; i++)
		if (buf[i] != rig_byte(off + i))
			rig_wrong(e, "log bytes changed on the way");
	WRITE_ONCE(e->got, off + len);
	if (e->tell)
		ftkvm_link_ack(e->link, e->got, e->got / 2, e->got / 4096);
	return rig_upcall(e);
}

static inline int rig_ack(void *priv, u64 received, u64 consumed, u64 epoch)
{
	struct rig_end *e = priv;

	if (received < e->received || consumed < e->consumed || epoch < e->epoch)
		rig_wrong(e, "acknowledgments went back");
	WRITE_ONCE(e->consumed, consumed);
	WRITE_ONCE(e->epoch, epoch);
	WRITE_ONCE(e->received, received);
	WRITE_ONCE(e->acks, e->acks + 1);
	return rig_upcall(e);
}

static inline int rig_frame(void *priv, u8 type, const void *payload, u32 len)
{
	struct rig_end *e = priv;

	if (type != FTKVM_FRAME_START && type != FTKVM_FRAME_BYE)
		rig_wrong(e, "a frame that is not the replica's");
	if (len > sizeof(e->payload)) {
		rig_wrong(e, "a frame that is too long");
		len = 0;
	}
	memcpy(e->payload, payload, len);
	e->type = type;
	e->len = len;
	WRITE_ONCE(e->frames, e->frames + 1);
	return rig_upcall(e);
}

/* Data of a device: the same bytes as a log's, by their offset. */
static inline int rig_bulk(void *priv, const void *payload, u32 len)
{
	const struct ftkvm_bulk *b = payload;
	struct rig_end *e = priv;
	u32 i;

	if (len < sizeof(*b) || len > FTKVM_FRAME_MAX) {
		rig_wrong(e, "a BULK frame of a length that can't be");
		return rig_upcall(e);
	}
	for (i = 0; i < len - sizeof(*b); i++)
		if (((const u8 *)(b + 1))[i] != rig_byte(le32_to_cpu(b->off) + i))
			rig_wrong(e, "a device's data changed on the way");
	memcpy(e->payload, payload, sizeof(*b));
	e->type = FTKVM_FRAME_BULK;
	e->len = len;
	WRITE_ONCE(e->bulks, e->bulks + 1);
	return rig_upcall(e);
}

static inline u32 rig_pull(void *priv, u8 *buf, u32 size, u64 *off)
{
	struct rig_end *e = priv;
	u32 len = min3((u64)size, (u64)e->chunk, READ_ONCE(e->log_len) - e->pulled);
	u32 i;

	if (READ_ONCE(e->downs))
		rig_wrong(e, "a pull after down()");
	for (i = 0; i < len; i++)
		buf[i] = rig_byte(e->pulled + i);
	*off = e->pulled;
	e->pulled += len;
	return len;
}

static inline void rig_down(void *priv, int reason, const char *detail)
{
	struct rig_end *e = priv;

	e->reason = reason;
	strscpy(e->detail, detail, sizeof(e->detail));
	/* Pairs with the acquire in rig_is_down(). */
	smp_store_release(&e->downs, e->downs + 1);
	wake_up_all(&e->wq);
}

static const struct ftkvm_link_ops rig_ops = {
	.data = rig_data,
	.ack = rig_ack,
	.frame = rig_frame,
	.bulk = rig_bulk,
	.pull = rig_pull,
	.down = rig_down,
};

static inline bool rig_is_down(const struct rig_end *e)
{
	/* Pairs with the release in rig_down(): reason and detail are there. */
	return smp_load_acquire(&e->downs);
}

/* Wait until @cond; the test fails if it does not come true. */
#define RIG_WAIT(_e, cond) do {							\
	struct rig_end *__e = (_e);						\
										\
	KUNIT_ASSERT_TRUE_MSG(__e->test,					\
			      wait_event_timeout(__e->wq, cond, RIG_PATIENCE),	\
			      "waited in vain; down: %d, reason %d (%s), wrong: %s",	\
			      __e->downs, __e->reason, __e->detail,		\
			      __e->wrong ?: "nothing");				\
} while (0)

/* The link must go down, once, of @reason. */
static inline void rig_expect_down(struct rig_end *e, int reason)
{
	RIG_WAIT(e, rig_is_down(e));
	KUNIT_EXPECT_EQ_MSG(e->test, e->reason, reason, "%s", e->detail);
	KUNIT_EXPECT_NE(e->test, e->detail[0], '\0');
	KUNIT_EXPECT_FALSE(e->test, ftkvm_link_alive(e->link));
	KUNIT_EXPECT_EQ(e->test, e->downs, 1);
}

/* Give it log to send until the socket, which nobody reads, takes nothing more. */
static inline void rig_choke(struct rig_end *e)
{
	u64 tx, rx, last = 0;

	WRITE_ONCE(e->log_len, 256 << 20);
	ftkvm_link_kick(e->link);
	for (;;) {
		msleep(100);
		ftkvm_link_bytes(e->link, &tx, &rx);
		if (tx && tx == last)
			break;
		last = tx;
	}
	KUNIT_EXPECT_EQ(e->test, e->downs, 0);
	KUNIT_EXPECT_LT(e->test, e->pulled, e->log_len);
}

/* ---- sockets ---- */

static inline void rig_release(void *sock)
{
	sock_release(sock);
}

static inline struct socket *rig_socket(struct kunit *test, int family, int type)
{
	struct socket *sock;

	KUNIT_ASSERT_EQ(test, sock_create_kern(&init_net, family, type, 0, &sock), 0);
	return sock;
}

/* Without an init process nobody else does it. */
static inline void rig_loopback_up(struct kunit *test)
{
	struct net_device *lo = init_net.loopback_dev;
	int ret;

	rtnl_lock();
	ret = dev_change_flags(lo, lo->flags | IFF_UP, NULL);
	rtnl_unlock();
	KUNIT_ASSERT_EQ(test, ret, 0);
}

static inline void rig_connect(struct kunit *test, int family, struct socket **a,
			       struct socket **b)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct sockaddr *any = (struct sockaddr *)&addr;
	struct socket *listener;

	*a = rig_socket(test, family, SOCK_STREAM);
	if (family == AF_UNIX) {
		*b = rig_socket(test, family, SOCK_STREAM);
		KUNIT_ASSERT_EQ(test, (*a)->ops->socketpair(*a, *b), 0);
		return;
	}
	rig_loopback_up(test);
	listener = rig_socket(test, family, SOCK_STREAM);
	KUNIT_ASSERT_EQ(test, kernel_bind(listener, any, sizeof(addr)), 0);
	KUNIT_ASSERT_EQ(test, kernel_listen(listener, 1), 0);
	KUNIT_ASSERT_GT(test, kernel_getsockname(listener, any), 0);
	KUNIT_ASSERT_EQ(test, kernel_connect(*a, any, sizeof(addr), 0), 0);
	KUNIT_ASSERT_EQ(test, kernel_accept(listener, b, 0), 0);
	sock_release(listener);
}

/* A descriptor for @sock, which then belongs to it. */
static inline int rig_fd(struct kunit *test, struct socket *sock)
{
	struct file *file = sock_alloc_file(sock, O_CLOEXEC, NULL);
	int fd;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	fd = get_unused_fd_flags(O_CLOEXEC);
	KUNIT_ASSERT_GE(test, fd, 0);
	fd_install(fd, file);
	return fd;
}

static inline void rig_destroy(void *priv)
{
	struct rig_end *e = priv;

	if (e->link)
		ftkvm_link_destroy(e->link);
	e->link = NULL;
	KUNIT_EXPECT_PTR_EQ_MSG(e->test, e->wrong, NULL, "%s", e->wrong);
}

/* A link over @sock, which then belongs to it. Not started. */
static inline struct rig_end *rig_end(struct kunit *test, struct socket *sock,
				      unsigned int timeout_ms)
{
	struct rig_end *e = kunit_kzalloc(test, sizeof(*e), GFP_KERNEL);
	char why[FTKVM_ERROR_MAX + 1] = "";
	int fd;

	KUNIT_ASSERT_NOT_NULL(test, e);
	e->test = test;
	e->chunk = FTKVM_FRAME_MAX;
	init_waitqueue_head(&e->wq);
	init_completion(&e->gate);
	fd = rig_fd(test, sock);
	e->link = ftkvm_link_create(fd, &rig_ops, e, timeout_ms, why, sizeof(why));
	/* The link must not need the caller's descriptor any more. */
	close_fd(fd);
	KUNIT_ASSERT_NOT_ERR_OR_NULL_MSG(test, e->link, "%s", why);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, rig_destroy, e), 0);
	return e;
}

/* Little room, so that sends must wait. */
static inline void rig_narrow(struct socket *sock)
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	sk->sk_userlocks |= SOCK_SNDBUF_LOCK;
	WRITE_ONCE(sk->sk_sndbuf, 32768);
	release_sock(sk);
	sock_set_rcvbuf(sk, 32768);
}

/* Two links that talk to each other through narrow sockets. Not started. */
static inline void rig_links(struct kunit *test, int family, struct rig_end **a,
			     struct rig_end **b)
{
	struct socket *sa, *sb;

	rig_connect(test, family, &sa, &sb);
	rig_narrow(sa);
	rig_narrow(sb);
	*a = rig_end(test, sa, RIG_LONG);
	*b = rig_end(test, sb, RIG_LONG);
}

static inline void rig_start(struct rig_end *e)
{
	KUNIT_ASSERT_EQ(e->test, ftkvm_link_start(e->link, e->test->name), 0);
}

/* ---- a peer that is no link ---- */

static inline int rig_say(struct socket *raw, const void *buf, u32 len)
{
	struct kvec vec = { .iov_base = (void *)buf, .iov_len = len };
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };

	/* a link that stops to listen fails the test, rather than to hang it */
	raw->sk->sk_sndtimeo = RIG_PATIENCE;
	return kernel_sendmsg(raw, &msg, &vec, 1, len);
}

static inline void rig_say_frame(struct kunit *test, struct socket *raw, u8 type, u64 seq,
				 const void *payload, u32 len)
{
	struct ftkvm_frame_hdr h;

	ftkvm_frame_seal(&h, type, seq, payload, len);
	KUNIT_ASSERT_EQ(test, rig_say(raw, &h, sizeof(h)), sizeof(h));
	if (len)
		KUNIT_ASSERT_EQ(test, rig_say(raw, payload, len), len);
}

static inline void rig_say_log(struct kunit *test, struct socket *raw, u64 off, u32 len)
{
	u8 *buf = kvmalloc(len, GFP_KERNEL);
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	for (i = 0; i < len; i++)
		buf[i] = rig_byte(off + i);
	rig_say_frame(test, raw, FTKVM_FRAME_DATA, off, buf, len);
	kvfree(buf);
}

/* The next frame from the link that is no heartbeat. */
static inline void rig_hear(struct kunit *test, struct socket *raw, struct ftkvm_frame_hdr *h,
			    void *payload, u32 size)
{
	do {
		struct kvec vec = { .iov_base = h, .iov_len = sizeof(*h) };
		struct msghdr msg = { };
		int len;

		raw->sk->sk_rcvtimeo = RIG_PATIENCE;
		KUNIT_ASSERT_EQ(test, kernel_recvmsg(raw, &msg, &vec, 1, sizeof(*h), MSG_WAITALL),
				sizeof(*h));
		KUNIT_ASSERT_EQ(test, ftkvm_frame_check_hdr(h), 0);
		len = le32_to_cpu(h->len);
		KUNIT_ASSERT_LE(test, len, size);
		if (len) {
			vec = (struct kvec){ .iov_base = payload, .iov_len = len };
			msg = (struct msghdr){ };
			KUNIT_ASSERT_EQ(test, kernel_recvmsg(raw, &msg, &vec, 1, len, MSG_WAITALL),
					len);
		}
		KUNIT_ASSERT_EQ(test, ftkvm_frame_check(h, payload), 0);
	} while (h->type == FTKVM_FRAME_HEARTBEAT);
}

/* A link and such a peer. */
static inline struct rig_end *rig_with_peer(struct kunit *test, int family,
					    unsigned int timeout_ms, struct socket **raw)
{
	struct socket *sock;

	rig_connect(test, family, &sock, raw);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, rig_release, *raw), 0);
	return rig_end(test, sock, timeout_ms);
}

/* The peer's end goes, in the test's midst. */
static inline void rig_close(struct kunit *test, struct socket *raw)
{
	kunit_release_action(test, rig_release, raw);
}

/* Reset rather than closed (TCP). */
static inline void rig_reset(struct kunit *test, struct socket *raw)
{
	sock_no_linger(raw->sk);
	rig_close(test, raw);
}

#endif
