// SPDX-License-Identifier: GPL-2.0
/*
 * vhost-user, from a client that sends what it likes, in pieces and with any
 * descriptors: what the device is told is always whole, and none is left open.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "fuzz.h"
#include "vhost_user.h"

#define BIT(n)		(1ULL << (n))

/* Guest memory that a client tells of when it is in order. */
#define LOW_HVA		0x10000000ULL
#define LOW_SIZE	0x100000ULL
#define HIGH_GPA	0x100000000ULL
#define HIGH_HVA	(LOW_HVA + LOW_SIZE)
#define HIGH_SIZE	0x10000ULL

enum { HEADER = 12 };

static struct world {
	struct vu vu;
	int client;
	bool blk, running[VU_QUEUES];
	bool assumed[VU_QUEUES];	/* ... by a connection before */
	struct vu_queue was[VU_QUEUES];	/* as it was started */
	unsigned int stuck;	/* queue of an operation that has begun */
	enum { NONE, STARTS, STOPS, CALLS, CLOSES } begun;
	uint8_t outcome;
} w;

/* 0, VU_LATER or an error, as the input has it. */
static int outcome(unsigned int n, int what, struct fterr *err)
{
	REQUIRE(w.begun == NONE);
	switch (w.outcome % 4) {
	case 1:
	case 2:
		w.begun = what;
		w.stuck = n;
		return VU_LATER;
	case 3:
		if (w.outcome >= 0x80)
			return ft_fail(err, -EIO, "refused");
	}
	return 0;
}

static bool in_memory(const struct vu *vu, uint64_t gpa, uint64_t size)
{
	unsigned int i;

	for (i = 0; i < vu->nregions; i++)
		if (gpa >= vu->region[i].gpa && gpa - vu->region[i].gpa <= vu->region[i].size &&
		    size <= vu->region[i].size - (gpa - vu->region[i].gpa))
			return true;
	return false;
}

/* A client that spoke on sets its device up: nothing that was assumed ran. */
static void take_back(const struct vu *vu)
{
	unsigned int n;

	for (n = 0; n < VU_QUEUES; n++) {
		if (!w.assumed[n] || vu->queue[n].assumed || vu->queue[n].running)
			continue;
		w.running[n] = w.assumed[n] = false;
		REACHED("what was assumed to run does not");
	}
}

static int on_features(struct vu *vu, struct fterr *err)
{
	(void)err;
	take_back(vu);
	REQUIRE(!w.running[0] && !w.running[1]);
	REQUIRE(!(vu->features & ~(vu->offered | BIT(VIRTIO_F_ANY_LAYOUT))));
	return 0;
}

static int on_start(struct vu *vu, unsigned int n, struct fterr *err)
{
	const struct vu_queue *q = &vu->queue[n];
	int ret;

	REQUIRE(n < (w.blk ? 1u : 2u) && !w.running[n]);
	REQUIRE(vu->features & BIT(VIRTIO_F_VERSION_1));
	REQUIRE(q->num && q->num <= FTKVM_DEV_NUM_HIGHEST && !(q->num & (q->num - 1)));
	REQUIRE(q->base <= 65535);
	REQUIRE(in_memory(vu, q->desc, 16ull * q->num) && in_memory(vu, q->avail, 6 + 2ull * q->num) &&
		in_memory(vu, q->used, 6 + 8ull * q->num));
	REQUIRE(q->kick >= 0 && fcntl(q->kick, F_GETFD) == FD_CLOEXEC);
	REQUIRE(q->call < 0 || fcntl(q->call, F_GETFD) == FD_CLOEXEC);
	w.was[n] = *q;
	w.assumed[n] = false;
	REACHED("a queue starts");
	ret = outcome(n, STARTS, err);
	w.running[n] = !ret;
	return ret;
}

static int on_stop(struct vu *vu, unsigned int n, uint32_t *base, struct fterr *err)
{
	int ret;

	(void)vu;
	REQUIRE(w.running[n]);
	*base = 77;
	REACHED("a queue stops");
	ret = outcome(n, STOPS, err);
	w.running[n] = ret;
	return ret;
}

static int on_call(struct vu *vu, unsigned int n, struct fterr *err)
{
	REQUIRE(w.running[n]);
	REQUIRE(vu->queue[n].call < 0 || fcntl(vu->queue[n].call, F_GETFD) == FD_CLOEXEC);
	REACHED("a queue has another call");
	return outcome(n, CALLS, err);
}

static int on_close(struct vu *vu, struct fterr *err)
{
	unsigned int i;
	int ret;

	REQUIRE(vu->nfds);
	for (i = 0; i < vu->nfds; i++)
		REQUIRE(fcntl(vu->fd[i], F_GETFD) == FD_CLOEXEC);
	REACHED("descriptors are closed");
	ret = outcome(0, CLOSES, err);
	if (!ret)
		vu_close_fds(vu);
	return ret;
}

static void on_config(struct vu *vu, uint8_t config[VU_CONFIG_MAX])
{
	(void)vu;
	memset(config, 0xcc, VU_CONFIG_MAX);
	REACHED("a configuration");
}

/* Each answer is whole, and one. */
static void read_answers(void)
{
	static uint8_t buf[1 << 18];
	ssize_t n = recv(w.client, buf, sizeof(buf), MSG_DONTWAIT), at = 0;

	while (n > at) {
		uint32_t request, flags, size;

		REQUIRE(n - at >= HEADER);
		memcpy(&request, buf + at, 4);
		memcpy(&flags, buf + at + 4, 4);
		memcpy(&size, buf + at + 8, 4);
		REQUIRE(flags == 5 && size >= 8 && size <= 12 + VU_CONFIG_MAX && n - at - HEADER >= size);
		REQUIRE(strcmp(vu_request_name(request), "unknown"));
		at += HEADER + size;
		REACHED("an answer");
	}
}

static void put(const void *data, size_t len, unsigned int nfds)
{
	char control[CMSG_SPACE(16 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = (struct cmsghdr *)control;
	unsigned int i;

	if (nfds) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		for (i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &w.client, sizeof(int));
	}
	if (len)
		sendmsg(w.client, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- messages that are nearly in order ---- */

enum {
	SET_FEATURES = 2, SET_MEM_TABLE = 5, NUM = 8, ADDR = 9, BASE = 10, GET_BASE = 11, KICK = 12,
	CALL = 13, ERR = 14, SET_PROTOCOL = 16, ENABLE = 18, CONFIG = 24, SET_CONFIG = 25
};

static uint64_t place(struct feed *f)
{
	uint8_t how = feed_u8(f);

	if (how == 0xff)
		return feed_u64(f);
	return (how & 1 ? HIGH_HVA : LOW_HVA) + (how & 2 ? feed_le(f, 2) : how * 0x100);
}

static size_t payload(struct feed *f, uint32_t request, struct vu_message *m, unsigned int *nfds)
{
	uint8_t pick = feed_u8(f);

	switch (request) {
	case SET_FEATURES:
		m->u64 = BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_PROTOCOL_FEATURES);
		if (pick)
			m->u64 ^= pick < 64 ? BIT(pick) : feed_u64(f);
		return 8;
	case SET_PROTOCOL:
		m->u64 = pick ? pick : w.vu.protocol_offered;
		return 8;
	case SET_MEM_TABLE:
		m->memory.n = pick < 0xf0 ? 2 : pick & 15;
		m->memory.region[0].size = LOW_SIZE;
		m->memory.region[0].hva = pick & 1 ? feed_u64(f) : LOW_HVA;
		m->memory.region[1].gpa = pick & 2 ? feed_u64(f) : HIGH_GPA;
		m->memory.region[1].size = pick & 4 ? feed_u64(f) : HIGH_SIZE;
		m->memory.region[1].hva = HIGH_HVA;
		*nfds = pick & 8 ? *nfds : m->memory.n;
		return 8 + 32 * (m->memory.n <= VU_REGIONS ? m->memory.n : VU_REGIONS);
	case NUM:
		m->state.index = pick & 1;
		m->state.num = pick & 0x80 ? feed_le(f, 2) : 1u << (pick >> 1) % 12;
		return 8;
	case BASE:
		m->state.index = pick & 1;
		m->state.num = feed_le(f, pick & 2 ? 3 : 1);
		return 8;
	case ADDR:
		m->addr.index = pick & 1;
		m->addr.flags = pick >> 6;
		m->addr.desc = place(f);
		m->addr.used = place(f);
		m->addr.avail = place(f);
		return 40;
	case KICK:
	case CALL:
	case ERR:
		m->u64 = pick & 1;
		if (pick & 0x80)
			m->u64 |= 1 << 8;
		*nfds = pick & 2 ? *nfds : !(pick & 0x80);
		return 8;
	case ENABLE:
	case GET_BASE:
		m->state.index = pick & 1;
		m->state.num = pick >> 1 & 3;
		return 8;
	case CONFIG:
	case SET_CONFIG:
		m->config.offset = pick & 1 ? feed_le(f, 2) : 0;
		m->config.size = feed_le(f, pick & 2 ? 2 : 1);
		return 12 + (m->config.size <= VU_CONFIG_MAX ? m->config.size : VU_CONFIG_MAX);
	default:
		return pick & 0x80 ? pick & 0x3f : request == 6 ? 16 : 0;
	}
}

static void message(struct feed *f, uint8_t how)
{
	unsigned int nfds = how & 0x40 ? feed_u8(f) % 17 : 0;
	struct vu_message m;
	size_t len, cut;

	memset(&m, 0, sizeof(m));
	m.header.request = feed_u8(f) % 28;
	m.header.flags = how & 8 ? 9 : 1;
	m.header.size = payload(f, m.header.request, &m, &nfds);
	len = HEADER + m.header.size;
	if (!(how & 0x20)) {
		put(&m, len, nfds);
		return;
	}
	/* in pieces, and spoiled */
	cut = feed_u8(f) % len;
	((uint8_t *)&m)[feed_u8(f) % len] ^= feed_u8(f);
	put(&m, cut, nfds);
	put((char *)&m + cut, len - cut, 0);
	REACHED("a spoiled message");
}

static void raw(struct feed *f)
{
	size_t len = feed_u8(f) % 64;
	uint8_t *bytes = feed_copy(f, &len);

	put(bytes, len, 0);
	free(bytes);
}

/* Let an operation that has begun end. */
static int finish(uint32_t base, struct fterr *err)
{
	REQUIRE(w.vu.doing != VU_IDLE);
	if (w.begun == STARTS)
		w.running[w.stuck] = true;
	else if (w.begun == STOPS)
		w.running[w.stuck] = false;
	else if (w.begun == CLOSES)
		vu_close_fds(&w.vu);
	w.begun = NONE;
	REACHED("an operation that ends later");
	return vu_finish(&w.vu, base, err);
}

/* Nobody changes a queue that runs. */
static bool unchanged(unsigned int n)
{
	const struct vu_queue *q = &w.vu.queue[n], *was = &w.was[n];

	if (w.assumed[n])
		return true;
	return q->num == was->num && q->base == was->base && q->desc == was->desc &&
	       q->avail == was->avail && q->used == was->used && q->hva_desc == was->hva_desc &&
	       q->hva_avail == was->hva_avail && q->hva_used == was->hva_used && q->kick == was->kick;
}

static void check(int ret, const struct fterr *err)
{
	unsigned int n;

	REQUIRE((ret == VU_LATER) == (w.begun != NONE));
	REQUIRE(ret >= 0 || (err->code == ret && *err->text));
	take_back(&w.vu);
	for (n = 0; ret >= 0 && n < VU_QUEUES; n++)
		REQUIRE(w.vu.queue[n].running == w.running[n] && (ret || !w.running[n] || unchanged(n)));
	if (ret == -EPROTO)
		REACHED("a client that is sent away");
	if (ret == -ENOTCONN)
		REACHED("a client that hangs up");
}

static void serve(struct feed *f)
{
	struct fterr err = { 0 };
	int ret = 0;

	while (ret >= 0 && feed_left(f)) {
		uint8_t how = feed_u8(f);

		if (how % 8 == 7)
			w.outcome = feed_u8(f);
		else if (how % 8 == 6)
			raw(f);
		else if (how % 8 == 5 && w.begun != NONE)
			ret = finish(feed_le(f, 2), &err);
		else
			message(f, how);
		if (ret >= 0)
			ret = vu_read(&w.vu, &err);
		check(ret, &err);
		read_answers();
	}
	while (ret == VU_LATER) {
		ret = finish(1, &err);
		check(ret, &err);
		read_answers();
	}
	if (ret)
		return;
	shutdown(w.client, SHUT_WR);
	/* Many messages take several calls, and any may begin an operation. */
	while (ret >= 0) {
		ret = ret == VU_LATER ? finish(1, &err) : vu_read(&w.vu, &err);
		check(ret, &err);
		read_answers();
	}
}

/* The first number above @fd that is free. */
static int next_fd(int fd)
{
	int next = fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);

	close(next);
	return next;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vu_ops blk = { on_features, on_start, on_stop, on_call, on_close, on_config };
	static const struct vu_ops net = { on_features, on_start, on_stop, on_call, on_close, NULL };
	struct feed f = { data, data + size };
	int pair[2], next;
	unsigned int n;
	uint8_t kind;

	memset(&w, 0, sizeof(w));
	REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	next = next_fd(pair[1]);
	w.client = pair[0];
	kind = feed_u8(&f);
	w.blk = !(kind & 1);
	vu_init(&w.vu, pair[1], w.blk ? FTKVM_UAPI_DEV_BLK : FTKVM_UAPI_DEV_NET, ~0ull, w.blk ? &blk : &net,
		NULL);
	if (kind & 2) {
		vu_assume_running(&w.vu);
		for (n = 0; n < w.vu.nqueues; n++)
			w.running[n] = w.assumed[n] = true;
		REACHED("a client that speaks on");
	}
	serve(&f);
	vu_free(&w.vu);
	REQUIRE(next_fd(pair[1]) == next);
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static void seed_message(struct seed *s, uint8_t how, uint8_t request, const char *rest, size_t len)
{
	seed_le(s, how, 1);
	seed_le(s, request, 1);
	seed_bytes(s, rest, len);
}

void fuzz_seeds(void)
{
	struct seed s = { };
	unsigned int kind, later;

	for (kind = 0; kind < 2; kind++) {
		for (later = 0; later < 2; later++) {
			seed_le(&s, kind, 1);
			seed_message(&s, 0, 1, "\0", 1);
			seed_message(&s, 0, SET_PROTOCOL, "\0", 1);
			seed_message(&s, 0, SET_FEATURES, "\0", 1);
			if (!kind) {
				seed_message(&s, 0, CONFIG, "\0\x3c", 2);
				seed_message(&s, 8, SET_CONFIG, "\0\1", 2);
			}
			seed_message(&s, 8, SET_MEM_TABLE, "\0", 1);
			seed_message(&s, 0, NUM, "\x0e", 1);
			seed_message(&s, 0, BASE, "\0\7", 2);
			seed_message(&s, 0, ADDR, "\0\x10\x20\x30", 4);
			seed_message(&s, 0, KICK, "\0", 1);
			seed_message(&s, 0, CALL, "\0", 1);
			seed_le(&s, 7, 1);
			seed_le(&s, later, 1);
			seed_message(&s, 8, ENABLE, "\2", 1);
			if (later)
				seed_bytes(&s, "\5\1\0", 3);
			seed_message(&s, 0, CALL, "\0", 1);
			if (later)
				seed_bytes(&s, "\5\1\0", 3);
			seed_message(&s, 8, SET_MEM_TABLE, "\0", 1);
			seed_message(&s, 8, 4, "\0", 1);
			if (later)
				seed_bytes(&s, "\5\1\0", 3);
			seed_message(&s, 0, GET_BASE, "\0", 1);
			seed_bytes(&s, "\6\4abcd", 6);
			seed_done(&s);
		}
	}
	/* one that speaks on: it stops, and sets the device up; or does that at once */
	for (later = 0; later < 2; later++) {
		seed_le(&s, 2, 1);
		seed_message(&s, 0, CALL, "\0", 1);
		if (!later) {
			seed_message(&s, 0, ENABLE, "\0", 1);
			seed_message(&s, 0, GET_BASE, "\0", 1);
		}
		seed_message(&s, 0, SET_FEATURES, "\0", 1);
		seed_message(&s, 8, SET_MEM_TABLE, "\0", 1);
		seed_message(&s, 0, GET_BASE, "\0", 1);
		seed_done(&s);
	}
}
