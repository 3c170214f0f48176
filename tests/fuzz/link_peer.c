// SPDX-License-Identifier: GPL-2.0
/*
 * The socket of fuzz_link.c and the peer at its other end, who says what the input
 * has, and hears what the link sends.
 */
#include "link_world.h"

u8 peer_bytes[PEER_MAX];
struct due due[FRAMES_MAX];

static u8 sink[SINK_MAX];

/* ---- what the peer says ---- */

struct ftkvm_frame_hdr hdr_at(size_t at)
{
	struct ftkvm_frame_hdr h;

	memcpy(&h, peer_bytes + at, sizeof(h));
	return h;
}

static void is_bad(size_t end, int reason)
{
	w.bad = true;
	w.bad_end = end;
	w.may |= BIT(reason);
}

/* What link.h and frame.h say of a frame that is whole. */
static void judge(const struct ftkvm_frame_hdr *h, size_t end)
{
	bool upcall = true;

	if (h->type == FTKVM_FRAME_DATA) {
		if (le64_to_cpu(h->seq) != w.log_off)
			return is_bad(end, FTKVM_REASON_PEER_GARBLED);
		w.log_off += le32_to_cpu(h->len);
	} else if (h->seq || h->type == FTKVM_FRAME_HELLO) {
		return is_bad(end, FTKVM_REASON_PEER_GARBLED);
	} else if (h->type == FTKVM_FRAME_HEARTBEAT) {
		upcall = false;
	} else if (h->type == FTKVM_FRAME_ACK) {
		const u8 *ack = peer_bytes + w.parsed + HDR;

		upcall = memcmp(&w.last_ack, ack, sizeof(w.last_ack));
		memcpy(&w.last_ack, ack, sizeof(w.last_ack));
	}
	if (!upcall && ++w.idle > 1000)
		w.may |= BIT(FTKVM_REASON_PEER_GARBLED);
	if (upcall) {
		REQUIRE(w.ndue < FRAMES_MAX);
		due[w.ndue++] = (struct due) { w.parsed, end, h->type };
	}
	w.parsed = end;
}

void parse(void)
{
	while (!w.bad && w.said - w.parsed >= HDR) {
		struct ftkvm_frame_hdr h = hdr_at(w.parsed);
		int ret = ftkvm_frame_check_hdr(&h);
		size_t end = w.parsed + HDR;

		if (ret) {
			is_bad(end, ret == -EBADMSG ? FTKVM_REASON_PEER_GARBLED :
						      FTKVM_REASON_PEER_VERSION);
			return;
		}
		end += le32_to_cpu(h.len);
		if (end > w.said)
			return;
		if (ftkvm_frame_check(&h, peer_bytes + w.parsed + HDR))
			is_bad(end, FTKVM_REASON_PEER_GARBLED);
		else
			judge(&h, end);
	}
}

/* It has said more than enough, and closes instead. */
static bool said_all(size_t len)
{
	if (len <= PEER_MAX - w.said)
		return false;
	w.closed = true;
	w.may |= BIT(FTKVM_REASON_PEER_CLOSED);
	return true;
}

static void say_bytes(const void *data, size_t len)
{
	if (said_all(len))
		return;
	if (len)
		memcpy(peer_bytes + w.said, data, len);
	w.said += len;
}

void say(u8 type, u64 seq, const void *payload, u32 len)
{
	struct ftkvm_frame_hdr h;

	if (said_all(HDR + len))
		return;
	ftkvm_frame_seal(&h, type, seq, payload, len);
	say_bytes(&h, sizeof(h));
	say_bytes(payload, len);
}

u32 length_of(u8 type)
{
	static const u32 len[] = {
		[FTKVM_FRAME_HELLO] = sizeof(struct ftkvm_hello),
		[FTKVM_FRAME_START] = sizeof(struct ftkvm_start),
		[FTKVM_FRAME_DATA] = 100,
		[FTKVM_FRAME_ACK] = sizeof(struct ftkvm_ack),
		[FTKVM_FRAME_BYE] = sizeof(struct ftkvm_bye),
		[FTKVM_FRAME_BULK] = sizeof(struct ftkvm_bulk) + 30,
	};

	return type < ARRAY_SIZE(len) ? len[type] : 0;
}

void make_bulk(struct ftkvm_bulk *b, u32 i)
{
	*b = (struct ftkvm_bulk) {
		.dev = i, .queue = i / 3, .status = i * 7, .off = cpu_to_le32(i * 4096),
		.total = cpu_to_le32(w.bulk_len[i]), .seq = cpu_to_le64(~(u64)i),
	};
}

/* Nobody here knows what is in it: it may be anything. */
static void say_bulk(u32 len)
{
	say(FTKVM_FRAME_BULK, 0, log_bytes + len % 251, sizeof(struct ftkvm_bulk) + len);
}

static void say_log(u32 len)
{
	if (w.said_off + len > LOG_MAX)
		len = 1;
	if (w.said_off + len > LOG_MAX)
		return say(FTKVM_FRAME_HEARTBEAT, 0, NULL, 0);
	say(FTKVM_FRAME_DATA, w.said_off, log_bytes + w.said_off, len);
	w.said_off += len;
}

static void say_ack(struct feed *f)
{
	struct ftkvm_ack ack = w.last_ack;

	ack.received = cpu_to_le64(le64_to_cpu(ack.received) + feed_u64(f));
	ack.consumed = cpu_to_le64(le64_to_cpu(ack.consumed) + feed_u8(f));
	ack.epoch = cpu_to_le64(le64_to_cpu(ack.epoch) + feed_u8(f));
	say(FTKVM_FRAME_ACK, 0, &ack, sizeof(ack));
}

static void hang_up(struct feed *f)
{
	static const struct {
		int err, reason;
	} ends[] = {
		{ 0, FTKVM_REASON_PEER_CLOSED },
		{ -ECONNRESET, FTKVM_REASON_PEER_CLOSED },
		{ -ETIMEDOUT, FTKVM_REASON_PEER_SILENT },
		{ -EHOSTUNREACH, FTKVM_REASON_PEER_SILENT },
		{ -EIO, FTKVM_REASON_PEER_GARBLED },
		{ -EMSGSIZE, FTKVM_REASON_PEER_GARBLED },
		{ -ENOBUFS, FTKVM_REASON_LOCAL },
	};
	u32 how = feed_below(f, ARRAY_SIZE(ends));

	w.closed = true;
	w.close_err = ends[how].err;
	w.may |= BIT(ends[how].reason);
}

/* The next that the peer has to say: more bytes, silence, or its end. */
static void speak(struct feed *f)
{
	static u8 payload[256];
	size_t at = w.said, n;
	u8 type;

	switch (feed_u8(f) % 19) {
	case 0:
		hang_up(f);
		break;
	case 1:
	case 2:
		say_log(1 + feed_u8(f));
		break;
	case 3:
		say_log(1 + feed_below(f, FTKVM_FRAME_MAX));
		break;
	case 4:
	case 5:
		say_ack(f);
		break;
	case 6:
		say(FTKVM_FRAME_HEARTBEAT, 0, NULL, 0);
		break;
	case 7:
	case 8:
		type = feed_u8(f) % 2 ? FTKVM_FRAME_START : FTKVM_FRAME_BYE;
		payload[0] = feed_u8(f);
		say(type, 0, payload, length_of(type));
		break;
	case 9:
		say(FTKVM_FRAME_HELLO, 0, &us, sizeof(us));
		break;
	case 10:
		/* in order but for its sequence */
		type = 1 + feed_u8(f) % (FTKVM_FRAME_TYPES - 1);
		say(type, feed_u64(f), log_bytes, length_of(type));
		break;
	case 11:
		/* a bit that flipped on its way */
		say_log(1 + feed_u8(f));
		n = feed_le(f, 3);
		if (w.said > at)
			peer_bytes[at + n / 8 % (w.said - at)] ^= 1 << n % 8;
		break;
	case 12:
		n = min_t(size_t, feed_u8(f), feed_left(f));
		say_bytes(f->at, n);
		f->at += n;
		break;
	case 13:
		/* a peer that sends without saying anything */
		for (n = 0; n < 1002; n++)
			say(FTKVM_FRAME_HEARTBEAT, 0, NULL, 0);
		break;
	case 15:
		say_bulk(feed_u8(f));
		break;
	case 16:
		say_bulk(feed_below(f, FTKVM_BULK_MAX + 1));
		break;
	case 17:
		say(FTKVM_FRAME_HEARTBEAT, 0, NULL, 0);
		if (w.said > at)
			peer_bytes[at + offsetof(struct ftkvm_frame_hdr, version)]++;
		break;
	default:
		w.silent += 1 + feed_u8(f);
	}
	parse();
}

/* ---- the socket ---- */

struct socket *sockfd_lookup(int fd, int *err)
{
	REQUIRE(fd == 7);
	if (feed_u8(&w.f) == 0xff) {
		*err = -ENOTSOCK;
		return NULL;
	}
	w.lookups++;
	return &w.sock;
}

void sockfd_put(struct socket *sock)
{
	REQUIRE(sock == &w.sock && w.lookups == 1);
	w.lookups--;
}

int kernel_sock_shutdown(struct socket *sock, int how)
{
	REQUIRE(sock == &w.sock && how == SHUT_RDWR && w.lookups == 1);
	w.shut = true;
	return 0;
}

/* What is read so far has been handled, and nothing is read that must not be. */
static void check_progress(size_t want)
{
	while (w.frame < w.parsed) {
		struct ftkvm_frame_hdr h = hdr_at(w.frame);
		size_t end = w.frame + HDR + le32_to_cpu(h.len);

		if (end > w.read)
			break;
		w.frame = end;
		w.waited = 0;
	}
	if (w.started && !w.shut) {
		REQUIRE(w.came == w.ndue || due[w.came].end > w.read);
		REQUIRE(!w.bad || w.read + want <= w.bad_end);
	}
	REQUIRE(w.waited <= w.most + HZ);
}

static void wait_for(long timeout)
{
	REQUIRE(timeout > 0 && timeout <= HZ / 4);
	jiffies += timeout;
	w.waited += timeout;
	w.may |= w.waited >= w.least ? BIT(FTKVM_REASON_PEER_SILENT) : 0;
}

int sock_recvmsg(struct socket *sock, struct msghdr *msg, int flags)
{
	size_t n;

	REQUIRE(sock == &w.sock && w.lookups == 1 && flags == MSG_WAITALL && msg->left);
	REQUIRE(!w.started || current == w.link->rx);
	cond_resched();
	check_progress(msg->left);
	if (!w.started && shim_signal())
		return -ERESTARTSYS;
	while (w.said - w.read < msg->left && !w.closed && !w.silent && !w.shut) {
		speak(&w.f);
		/* what has come by then is not always handed over as it comes */
		if (w.said > w.read && shim_choose(8) == 7)
			break;
	}
	n = min(w.said - w.read, msg->left);
	if (n && (n == msg->left || !w.silent || shim_choose(2))) {
		/* with MSG_WAITALL less is had by a time-out, or at the stream's end */
		if (n == msg->left && shim_choose(16) == 15)
			n = 1 + feed_below(&w.f, n);
		if (n < msg->left)
			wait_for(sock->sk->sk_rcvtimeo);
		msg_copy(msg, peer_bytes + w.read, n);
		w.read += n;
		return n;
	}
	if (w.silent && !w.shut) {
		w.silent--;
		wait_for(sock->sk->sk_rcvtimeo);
		return -EAGAIN;
	}
	return w.shut ? 0 : w.close_err;
}

static int send_fails(bool in_process)
{
	static const struct {
		int err, reason;
	} fails[] = {
		{ -EPIPE, FTKVM_REASON_PEER_CLOSED }, { -ECONNRESET, FTKVM_REASON_PEER_CLOSED },
		{ -ENETDOWN, FTKVM_REASON_PEER_SILENT }, { -ENOBUFS, FTKVM_REASON_LOCAL },
	};
	u32 how = shim_choose(ARRAY_SIZE(fails));

	if (in_process && !w.no_signal && shim_signal())
		return -ERESTARTSYS;
	w.broken = true;
	w.may |= BIT(fails[how].reason) | BIT(FTKVM_REASON_PEER_CLOSED);
	return fails[how].err;
}

int sock_sendmsg(struct socket *sock, struct msghdr *msg)
{
	bool nowait = msg->msg_flags & MSG_DONTWAIT;
	bool in_process = current != w.link->rx && current != w.link->tx;
	size_t n = msg->left;

	REQUIRE(sock == &w.sock && w.lookups == 1 && n && msg->msg_flags & MSG_NOSIGNAL);
	REQUIRE(w.link->wire.tx.owner == current);
	/* a receiver that waits to send is one of two that wait for each other */
	REQUIRE(nowait || !w.started || current != w.link->rx);
	cond_resched();
	if (w.shut || w.broken)
		return -EPIPE;
	switch (shim_choose(8)) {
	case 5:
		n = 1 + feed_below(&w.f, n);
		break;
	case 6:
		n = 0;
		break;
	case 7:
		return send_fails(in_process);
	}
	REQUIRE(n <= SINK_MAX - w.sent);
	if (n < msg->left && !nowait) {
		jiffies += sock->sk->sk_sndtimeo;
		w.may |= BIT(FTKVM_REASON_PEER_SILENT);
	}
	if (!n)
		return -EAGAIN;
	msg_copy(msg, sink + w.sent, n);
	w.sent += n;
	return n;
}

/* ---- what the peer hears ---- */

/* In the order in which they were sent, and each as it was. */
static void hear_bulk(const u8 *payload, u32 len)
{
	u32 i = w.bulks_heard++;
	struct ftkvm_bulk b;

	REQUIRE(i < w.nbulks && len == sizeof(b) + w.bulk_len[i]);
	make_bulk(&b, i);
	REQUIRE(!memcmp(payload, &b, sizeof(b)));
	REQUIRE(!memcmp(payload + sizeof(b), log_bytes + i, len - sizeof(b)));
}

static void hear_frame(const struct ftkvm_frame_hdr *h, const u8 *payload)
{
	u64 seq = le64_to_cpu(h->seq);
	u32 len = le32_to_cpu(h->len);
	struct ftkvm_link_acks a;

	REQUIRE(h->type == FTKVM_FRAME_DATA || !seq);
	switch (h->type) {
	case FTKVM_FRAME_HELLO:
		REQUIRE(!w.hello && !w.heard && !memcmp(payload, &us, sizeof(us)));
		w.hello = true;
		break;
	case FTKVM_FRAME_DATA:
		REQUIRE(seq == w.heard_off && seq + len <= w.pulled);
		REQUIRE(!memcmp(payload, log_bytes + seq, len));
		w.heard_off += len;
		REACHED("log bytes sent");
		break;
	case FTKVM_FRAME_ACK:
		memcpy(&a, payload, sizeof(a));
		REQUIRE(a.received >= w.acked.received && a.received <= w.asked.received);
		REQUIRE(a.consumed >= w.acked.consumed && a.consumed <= w.asked.consumed);
		REQUIRE(a.consumed <= a.received);
		REQUIRE(a.epoch >= w.acked.epoch && a.epoch <= w.asked.epoch);
		REQUIRE(memcmp(&a, &w.acked, sizeof(a)));
		w.acked = a;
		REACHED("an acknowledgment sent");
		break;
	case FTKVM_FRAME_BULK:
		hear_bulk(payload, len);
		break;
	case FTKVM_FRAME_HEARTBEAT:
		REACHED("a heartbeat sent");
		break;
	default:
		REQUIRE(w.nheard < w.ncontrols && w.controls[w.nheard] == h->type);
		REQUIRE(payload[0] == w.nheard);
		w.nheard++;
	}
}

void hear(void)
{
	while (w.sent - w.heard >= HDR) {
		struct ftkvm_frame_hdr h;

		memcpy(&h, sink + w.heard, sizeof(h));
		REQUIRE(!ftkvm_frame_check_hdr(&h));
		if (w.sent - w.heard < HDR + le32_to_cpu(h.len))
			break;
		REQUIRE(!ftkvm_frame_check(&h, sink + w.heard + HDR));
		hear_frame(&h, sink + w.heard + HDR);
		w.heard += HDR + le32_to_cpu(h.len);
	}
}
