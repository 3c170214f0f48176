// SPDX-License-Identifier: GPL-2.0
/*
 * The link: a whole one, with both its threads, over a socket whose other end and
 * whose troubles are in the input, as is who of its threads runs when. A second
 * parser of the same bytes says which upcalls must come. What the link sends is
 * looked at as a peer would.
 */
#include <linux/in.h>

#include "link_world.h"

struct world w;
u8 log_bytes[LOG_MAX];

const struct ftkvm_hello us = {
	.proto_version = cpu_to_le32(FTKVM_PROTO_VERSION), .role = cpu_to_le32(1),
	.module_version = "0.1", .guest = "db1", .window = cpu_to_le32(1 << 20),
};

static __attribute__((constructor)) void make_log(void)
{
	u32 i;

	for (i = 0; i < LOG_MAX; i++)
		log_bytes[i] = i % 251;
}

/* ---- decisions for the shim ---- */

unsigned int shim_choose(unsigned int n)
{
	return feed_u8(&w.f) % n;
}

bool shim_signal(void)
{
	return feed_u8(&w.f) % 16 == 15;
}

bool shim_out_of_memory(void)
{
	return w.oom && !--w.oom;
}

/* ---- the replica ---- */

static void acknowledge(struct feed *f)
{
	u64 a = feed_u64(f), b = feed_u64(f), c = feed_u8(f);

	/* what is consumed was received, whoever says it first */
	w.asked.received = max3(w.asked.received, a, b);
	w.asked.consumed = max(w.asked.consumed, b);
	w.asked.epoch = max(w.asked.epoch, c);
	ftkvm_link_ack(w.link, a, b, c);
}

static void fail(struct feed *f)
{
	int reason = 1 + feed_below(f, __FTKVM_REASON_MAX - 1);

	w.may |= BIT(reason);
	ftkvm_link_fail(w.link, reason, "as the replica says");
}

/* The upcall for the frame of @type: what must be, and what the replica may do. */
static const u8 *upcall(u8 type, u32 len)
{
	const struct due *d = &due[w.came];

	REQUIRE(w.started && !w.downs && current == w.link->rx);
	REQUIRE(w.came < w.ndue && d->type == type && len == d->end - d->at - HDR);
	w.came++;
	return peer_bytes + d->at + HDR;
}

static int answer(void)
{
	struct feed *f = &w.f;

	if (shim_choose(2))
		cond_resched();
	if (shim_choose(4) == 3)
		acknowledge(f);
	REQUIRE(!w.downs);
	switch (feed_u8(f)) {
	case 0xff:
		fail(f);
		return -EBADMSG;
	case 0xfe:
		w.may |= BIT(FTKVM_REASON_PEER_GARBLED);
		return -EBADMSG;
	case 0xfd:
		w.may |= BIT(FTKVM_REASON_LOCAL);
		return -ENOMEM;
	}
	return 0;
}

static int on_data(void *priv, u64 off, const u8 *buf, u32 len)
{
	const u8 *payload = upcall(FTKVM_FRAME_DATA, len);

	REQUIRE(priv == &w && off + len <= w.log_off && !memcmp(buf, payload, len));
	REACHED("log bytes received");
	return answer();
}

static int on_ack(void *priv, u64 received, u64 consumed, u64 epoch)
{
	const struct ftkvm_ack *ack = (const void *)upcall(FTKVM_FRAME_ACK, sizeof(*ack));

	REQUIRE(priv == &w && received == le64_to_cpu(ack->received) &&
		consumed == le64_to_cpu(ack->consumed) && epoch == le64_to_cpu(ack->epoch));
	REACHED("an acknowledgment received");
	return answer();
}

static int on_frame(void *priv, u8 type, const void *payload, u32 len)
{
	REQUIRE(type == FTKVM_FRAME_START || type == FTKVM_FRAME_BYE);
	REQUIRE(!memcmp(payload, upcall(type, len), len) && priv == &w);
	REACHED("a control frame received");
	return answer();
}

static int on_bulk(void *priv, const void *payload, u32 len)
{
	REQUIRE(len >= sizeof(struct ftkvm_bulk) && len <= FTKVM_FRAME_MAX);
	REQUIRE(!memcmp(payload, upcall(FTKVM_FRAME_BULK, len), len) && priv == &w);
	REACHED("a device's data received");
	return answer();
}

static u32 on_pull(void *priv, u8 *buf, u32 size, u64 *off)
{
	u32 len = min_t(u64, size, w.log_len - w.pulled);

	REQUIRE(priv == &w && w.started && !w.downs && current == w.link->tx);
	REQUIRE(size == FTKVM_FRAME_MAX);
	if (shim_choose(4) == 3)
		len = min_t(u32, len, 1 + feed_u8(&w.f));
	if (shim_choose(2))
		cond_resched();
	memcpy(buf, log_bytes + w.pulled, len);
	*off = w.pulled;
	w.pulled += len;
	return len;
}

static void on_down(void *priv, int reason, const char *detail)
{
	const char *s;

	REQUIRE(priv == &w && w.started && !w.downs);
	w.downs++;
	if (!(w.may & BIT(reason)))
		fprintf(stderr, "down(): reason %d: %s\n", reason, detail);
	REQUIRE(reason > 0 && reason < __FTKVM_REASON_MAX && w.may & BIT(reason));
	REQUIRE(*detail && strlen(detail) <= FTKVM_DETAIL_MAX);
	for (s = detail; *s; s++)
		REQUIRE(*s >= ' ' && *s <= '~');
	switch (reason) {
	case FTKVM_REASON_PEER_GARBLED:
		REACHED("a peer that is garbled");
		break;
	case FTKVM_REASON_PEER_SILENT:
		REACHED("a peer that is silent");
		break;
	case FTKVM_REASON_PEER_CLOSED:
		REACHED("a peer that closed");
		break;
	case FTKVM_REASON_PEER_VERSION:
		REACHED("a peer of another version");
		break;
	}
	cond_resched();
}

static const struct ftkvm_link_ops ops = {
	.data = on_data, .ack = on_ack, .frame = on_frame, .bulk = on_bulk, .pull = on_pull,
	.down = on_down,
};

static void send_control(struct feed *f)
{
	u8 type = feed_u8(f) % 2 ? FTKVM_FRAME_START : FTKVM_FRAME_BYE;
	u8 payload[sizeof(struct ftkvm_bye)] = { w.ncontrols };
	int ret;

	if (w.ncontrols == CONTROLS_MAX || w.no_more)
		return;
	w.controls[w.ncontrols++] = type;
	ret = ftkvm_link_send(w.link, type, payload, length_of(type));
	hear();
	if (ret == -EINTR || ret == -ERESTARTSYS) {
		/* then it was not begun, and will not be heard */
		REQUIRE(w.nheard < w.ncontrols);
		w.ncontrols--;
		REACHED("a control frame given up for a signal");
	} else if (ret) {
		/* heard or not, this is the end */
		REQUIRE(ret < 0);
		w.no_more = true;
	} else if (!w.link->wire.rest_len) {
		REQUIRE(w.nheard == w.ncontrols);
		REACHED("a control frame sent");
	}
}

/* A thread of the devices' own: no signal comes for it. */
static void send_bulk(struct feed *f)
{
	u32 i = w.nbulks, len = feed_u8(f) % 4 ? feed_u8(f) : feed_below(f, FTKVM_BULK_MAX + 1);
	struct ftkvm_bulk b;
	int ret;

	if (i == BULKS_MAX || w.no_more || w.bulk_bytes + len > LOG_MAX)
		return;
	w.bulk_bytes += len;
	w.bulk_len[i] = len;
	w.nbulks++;
	make_bulk(&b, i);
	w.no_signal = true;
	ret = ftkvm_link_send_bulk(w.link, &b, log_bytes + i, len);
	w.no_signal = false;
	hear();
	if (ret) {
		/* the link dies of it, and nothing follows */
		REQUIRE(ret < 0 && !ftkvm_link_alive(w.link));
		w.no_more = true;
		REACHED("a device's data lost with the link");
	} else {
		REQUIRE(w.bulks_heard == w.nbulks);
		REACHED("a device's data sent");
	}
}

static void set_timeout(struct feed *f)
{
	unsigned int ms = FTKVM_TIMEOUT_LOWEST + feed_le(f, 2);

	ftkvm_link_set_timeout(w.link, ms);
	w.most = max(w.most, msecs_to_jiffies(ms));
	w.least = min(w.least, msecs_to_jiffies(ms));
	w.may |= w.waited >= w.least ? BIT(FTKVM_REASON_PEER_SILENT) : 0;
}

static void step(struct feed *f)
{
	u64 tx, rx;

	switch (feed_u8(f) % 16) {
	case 0:
		acknowledge(f);
		break;
	case 1:
		w.log_len = min_t(u64, LOG_MAX, w.log_len + 1 + feed_le(f, 2));
		ftkvm_link_kick(w.link);
		break;
	case 2:
		send_control(f);
		break;
	case 3:
		set_timeout(f);
		break;
	case 4:
		ftkvm_link_bytes(w.link, &tx, &rx);
		REQUIRE(tx == w.sent && rx == w.read);
		REQUIRE(ftkvm_link_silence_ms(w.link) <= jiffies_to_msecs(jiffies - w.begun));
		REQUIRE(!w.downs || !ftkvm_link_alive(w.link));
		break;
	case 5:
		if (feed_u8(f) == 0xff)
			fail(f);
		break;
	case 6:
		jiffies += feed_u8(f);
		break;
	case 7:
		send_bulk(f);
		break;
	default:
		cond_resched();
	}
}

/* HELLOs: what comes first must be one, whole. */
static bool shake_hands(struct feed *f)
{
	struct ftkvm_hello theirs;
	char why[FTKVM_ERROR_MAX + 1] = "";
	struct ftkvm_frame_hdr h;
	int ret;

	if (feed_u8(f) % 4)
		say(FTKVM_FRAME_HELLO, 0, &us, sizeof(us));
	/* until it is there the peer has longer */
	w.most = max(w.most, msecs_to_jiffies(FTKVM_PATIENCE_MS));
	ret = ftkvm_link_hello(w.link, &us, &theirs, why, sizeof(why));
	w.most = w.least;
	hear();
	if (ret) {
		REQUIRE(ret < 0 && strstr(why, ": "));
		REACHED("a HELLO refused");
		return false;
	}
	h = hdr_at(0);
	REQUIRE(w.hello && w.read == HDR + sizeof(theirs));
	REQUIRE(!ftkvm_frame_check(&h, peer_bytes + HDR) && h.type == FTKVM_FRAME_HELLO && !h.seq);
	REQUIRE(!memcmp(&theirs, peer_bytes + HDR, sizeof(theirs)));
	/* the second parser begins behind it */
	w.bad = false;
	w.may = 0;
	if (w.closed)
		w.may |= BIT(FTKVM_REASON_PEER_CLOSED) | BIT(FTKVM_REASON_PEER_SILENT) |
			 BIT(FTKVM_REASON_LOCAL);
	w.parsed = w.read;
	w.frame = w.read;
	parse();
	return true;
}

static bool connect(struct feed *f)
{
	static const int families[] = { AF_UNIX, AF_INET, AF_INET6, 17 };
	u8 how = feed_u8(f);
	char why[FTKVM_ERROR_MAX + 1] = "";
	bool fits;

	w.sk.sk_family = families[how % 4];
	w.sk.sk_protocol = how & 0x80 ? 0 : IPPROTO_TCP;
	w.sk.sk_state = how & 0x40 ? 7 : TCP_ESTABLISHED;
	w.sock.type = how & 0x20 ? 2 : SOCK_STREAM;
	w.sock.sk = &w.sk;
	fits = w.sock.type == SOCK_STREAM && w.sk.sk_state == TCP_ESTABLISHED &&
	       (how % 4 == 0 || (how % 4 < 3 && w.sk.sk_protocol == IPPROTO_TCP));
	how = feed_u8(f);
	w.oom = how >= 0xf0 ? how - 0xef : 0;
	w.link = ftkvm_link_create(7, &ops, &w, 1000, why, sizeof(why));
	if (IS_ERR(w.link)) {
		REQUIRE(strstr(why, ": ") && !w.lookups);
		return false;
	}
	REQUIRE(fits);
	w.most = msecs_to_jiffies(1000);
	w.least = w.most;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed *f = &w.f;

	memset(&w, 0, sizeof(w));
	*f = (struct feed) { data, data + size };
	shim_threads_init();
	w.begun = jiffies;
	if (!connect(f))
		return 0;

	if (feed_u8(f) % 8 && !shake_hands(f))
		goto out;
	w.started = true;
	if (ftkvm_link_start(w.link, "db1")) {
		w.started = false;
		goto out;
	}
	while (feed_left(f) && !w.downs)
		step(f);
out:
	w.may |= BIT(FTKVM_REASON_UNPAIRED);
	ftkvm_link_destroy(w.link);
	hear();
	REQUIRE(w.downs == w.started && !w.lookups);
	REQUIRE(w.heard_off <= w.pulled);
	return 0;
}

void fuzz_seeds(void)
{
	static const u8 talks[][2] = {
		{ 1, 40 }, { 4, 3 }, { 6, 0 }, { 7, 1 }, { 3, 9 }, { 14, 2 }, { 15, 30 }, { 16, 2 },
	};
	struct seed s = { };
	size_t i;
	int n;

	/* a handshake, then steps of the process between which the peer says one thing */
	for (i = 0; i < ARRAY_SIZE(talks); i++) {
		seed_bytes(&s, "\1\0\0\1\1\0\0\0\0\0", 10);
		for (n = 0; n < 12; n++) {
			seed_bytes(&s, "\10\0\1\0\7\1", 6);
			seed_bytes(&s, talks[i], 2);
			seed_le(&s, 0, 1 + n % 3);
			if (n % 2)
				seed_bytes(&s, "\2\1\0\0\0", 5);
			else
				seed_bytes(&s, "\0\x31\x40\x31\x20\1", 6);
		}
		seed_done(&s);
	}
}
