// SPDX-License-Identifier: GPL-2.0
/*
 * The log's ring and flow control, against a model that is as simple as can be: all
 * bytes ever written, and three numbers. The input is a sequence of operations.
 */
#include "fuzz.h"
#include "../../kmod/core/ring.h"

#define LOG_MAX		(64u << 10)	/* bytes that one input writes, at most */
#define LARGEST_RING	(32u << 10)

struct model {
	u32 size;
	u64 head, tail;
	u64 sent, received, consumed, epoch;
	u32 window;
};

/* The log; 251 is no divisor of the ring's size. */
static u8 log_bytes[LOG_MAX];

static __attribute__((constructor)) void make_log(void)
{
	u32 i;

	for (i = 0; i < LOG_MAX; i++)
		log_bytes[i] = i % 251;
}

static bool init(struct ftkvm_ring *ring, struct feed *f)
{
	u32 size = feed_u64(f);
	int ret;

	if (size > LARGEST_RING)
		size >>= 16;
	ret = ftkvm_ring_init(ring, size);
	REQUIRE(ret == (size >= 4096 && !(size & (size - 1)) ? 0 : -EINVAL));
	if (!ret)
		return true;
	return !ftkvm_ring_init(ring, 4096u << feed_below(f, 3));
}

static void write(struct ftkvm_ring *ring, struct model *m, u32 len)
{
	bool fits = len <= m->size - (m->head - m->tail);
	u8 *data;

	if (m->head + len > LOG_MAX)
		return;
	data = exact_copy(log_bytes + m->head, len);
	REQUIRE(ftkvm_ring_write(ring, data, len) == (fits ? 0 : -ENOSPC));
	free(data);
	if (fits) {
		m->head += len;
		if (len && m->head / m->size != (m->head - len) / m->size)
			REACHED("a write around the ring's end");
	} else {
		REACHED("a write refused");
	}
}

static void peek(const struct ftkvm_ring *ring, const struct model *m, u64 off, u32 len)
{
	u8 *data = malloc(len);
	u32 want = 0, n;

	if (off >= m->tail && off < m->head)
		want = min_t(u64, len, m->head - off);
	n = ftkvm_ring_peek(ring, off, data, len);
	REQUIRE(n == want);
	REQUIRE(!n || !memcmp(data, log_bytes + off, n));
	if (n && (off + n - 1) / m->size != off / m->size)
		REACHED("a peek around the ring's end");
	free(data);
}

static void release(struct ftkvm_ring *ring, struct model *m, u32 len)
{
	ftkvm_ring_release(ring, len);
	m->tail += min_t(u64, len, m->head - m->tail);
}

/* What the send thread does: as much as may be, and it counts as sent. */
static void send(struct ftkvm_flow *flow, struct model *m, u32 avail)
{
	__int128 room = (__int128)m->consumed + m->window - m->sent;
	u32 n = ftkvm_flow_may_send(flow, avail);

	if (room < 0)
		room = 0;
	REQUIRE(n == (room < avail ? (u32)room : avail));
	if (n < avail)
		REACHED("a send held back by the window");
	if (m->sent + n < m->sent)
		return;		/* the log does not get so long */
	m->sent += n;
	flow->sent = m->sent;
}

static void ack(struct ftkvm_flow *flow, struct model *m, u64 received, u64 consumed, u64 epoch)
{
	bool ok = m->received <= received && received <= m->sent &&
		  m->consumed <= consumed && consumed <= received && m->epoch <= epoch;

	REQUIRE(ftkvm_flow_ack(flow, received, consumed, epoch) == (ok ? 0 : -EBADMSG));
	if (ok) {
		m->received = received;
		m->consumed = consumed;
		m->epoch = epoch;
		REACHED("an ACK taken");
	} else {
		REACHED("an ACK refused");
	}
}

static void check(const struct ftkvm_ring *ring, const struct ftkvm_flow *flow,
		  const struct model *m)
{
	REQUIRE(ftkvm_ring_used(ring) == m->head - m->tail);
	REQUIRE(ftkvm_ring_space(ring) == m->size - (m->head - m->tail));
	REQUIRE(flow->sent == m->sent && flow->received == m->received &&
		flow->consumed == m->consumed && flow->epoch == m->epoch);
	/* what is under way fits into the window, and output commit is never early */
	REQUIRE(m->sent - m->consumed <= m->window || !ftkvm_flow_may_send(flow, 1));
	REQUIRE(ftkvm_flow_committed(flow, m->received));
	REQUIRE(m->received == U64_MAX || !ftkvm_flow_committed(flow, m->received + 1));
}

static void step(struct ftkvm_ring *ring, struct ftkvm_flow *flow, struct model *m,
		 struct feed *f)
{
	u8 op = feed_u8(f);
	u64 a, b, c;

	switch (op % 8) {
	case 0:
		write(ring, m, feed_below(f, 2 * m->size));
		break;
	case 1:
		write(ring, m, ftkvm_ring_space(ring) + op / 8 % 3 - 1);
		break;
	case 2:
		a = feed_below(f, 2 * m->size);
		peek(ring, m, m->tail + a, feed_below(f, 2 * m->size));
		break;
	case 3:
		a = feed_u64(f);
		peek(ring, m, a, feed_u8(f));
		break;
	case 4:
		release(ring, m, feed_below(f, 2 * m->size));
		break;
	case 5:
		send(flow, m, feed_u64(f));
		break;
	case 6:
		a = m->received + feed_u64(f);
		b = m->consumed + feed_u64(f);
		c = m->epoch + feed_u64(f);
		ack(flow, m, a, b, c);
		break;
	default:
		/* the window is the peer's, said once; but any will do */
		m->window = feed_u64(f);
		flow->window = m->window;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, data + size };
	struct ftkvm_flow flow = { };
	struct ftkvm_ring ring = { };
	struct model m = { };

	REQUIRE(init(&ring, &f));
	m.size = ring.size;
	m.window = feed_u64(&f);
	flow.window = m.window;
	while (feed_left(&f)) {
		step(&ring, &flow, &m, &f);
		check(&ring, &flow, &m);
	}
	ftkvm_ring_free(&ring);
	ftkvm_ring_free(&ring);
	return 0;
}

void fuzz_seeds(void)
{
	struct seed s = { };
	int i;

	/* a ring of 4096: written, peeked, released, around its end */
	seed_u64(&s, 4096);
	seed_u64(&s, 1 << 20);
	for (i = 0; i < 6; i++) {
		seed_bytes(&s, "\0\xe8\x03\2\0\0\xe8\x03\4\x20\3\1", 12);
		seed_bytes(&s, "\5", 1);
		seed_u64(&s, 3000);
		seed_bytes(&s, "\6", 1);
		seed_u64(&s, 500);
		seed_u64(&s, 400);
		seed_u64(&s, 1);
	}
	seed_done(&s);
	/* a window that closes */
	seed_u64(&s, 8192);
	seed_u64(&s, 4480);
	for (i = 0; i < 4; i++) {
		seed_bytes(&s, "\5", 1);
		seed_u64(&s, 2000);
	}
	seed_bytes(&s, "\6", 1);
	seed_u64(&s, 4480);
	seed_u64(&s, 4480);
	seed_u64(&s, 2);
	seed_bytes(&s, "\5", 1);
	seed_u64(&s, 2000);
	seed_done(&s);
}
