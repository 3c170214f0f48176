// SPDX-License-Identifier: GPL-2.0
/* vhost-user: a client that says what it should, one that does not, and QEMU. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/unit.h"
#include "vhost_user.h"

/* Requests, by the numbers of QEMU's documentation. */
enum {
	GET_FEATURES = 1, SET_FEATURES = 2, SET_OWNER = 3, RESET_OWNER = 4, SET_MEM_TABLE = 5, SET_LOG_BASE = 6,
	SET_VRING_NUM = 8, SET_VRING_ADDR = 9, SET_VRING_BASE = 10, GET_VRING_BASE = 11,
	SET_VRING_KICK = 12, SET_VRING_CALL = 13, SET_VRING_ERR = 14, GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16, GET_QUEUE_NUM = 17, SET_VRING_ENABLE = 18, SEND_RARP = 19,
	GET_CONFIG = 24, SET_CONFIG = 25,
};

#define VERSION		1
#define NEED_REPLY	8
#define REPLY		4

/* Some guest memory: below the hole and above it, as QEMU's PC has it. */
#define LOW_HVA		0x7f0000000000ULL
#define LOW_SIZE	0x80000000ULL
#define HIGH_GPA	0x100000000ULL
#define HIGH_HVA	(LOW_HVA + LOW_SIZE)
#define HIGH_SIZE	0x10000000ULL

#define NEEDED		0x140000000ULL	/* VERSION_1, PROTOCOL_FEATURES */
#define BLK_PROTOCOL	0x20b
#define NET_PROTOCOL	0xa

/* --- a client and what its device is told ---------------------------------- */

static struct {
	struct vu vu;
	int sock;
	struct fterr err;
	bool later, close_later;
	unsigned int nfeatures, nstart, nstop, ncall, nclose, queue;
	uint32_t base;
	int fail;
} w;

static int on_features(struct vu *vu, struct fterr *err)
{
	(void)vu;
	(void)err;
	w.nfeatures++;
	return 0;
}

static int outcome(struct fterr *err)
{
	if (w.fail)
		return ft_fail(err, w.fail, "as it was told to");
	return w.later ? VU_LATER : 0;
}

static int on_start(struct vu *vu, unsigned int n, struct fterr *err)
{
	(void)vu;
	w.nstart++;
	w.queue = n;
	return outcome(err);
}

static int on_stop(struct vu *vu, unsigned int n, uint32_t *base, struct fterr *err)
{
	(void)vu;
	w.nstop++;
	w.queue = n;
	*base = w.base;
	return outcome(err);
}

static int on_call(struct vu *vu, unsigned int n, struct fterr *err)
{
	(void)vu;
	w.ncall++;
	w.queue = n;
	return outcome(err);
}

static int on_close(struct vu *vu, struct fterr *err)
{
	(void)err;
	w.nclose++;
	if (w.close_later)
		return VU_LATER;
	vu_close_fds(vu);
	return 0;
}

static void on_config(struct vu *vu, uint8_t config[VU_CONFIG_MAX])
{
	(void)vu;
	memcpy(config, "12345678", 8);
}

static const struct vu_ops blk_ops = { on_features, on_start, on_stop, on_call, on_close, on_config };
static const struct vu_ops net_ops = { on_features, on_start, on_stop, on_call, on_close, NULL };

static void connect_to(uint32_t kind)
{
	int pair[2];

	memset(&w, 0, sizeof(w));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	w.sock = pair[0];
	vu_init(&w.vu, pair[1], kind, ~0ULL, kind == FTKVM_UAPI_DEV_BLK ? &blk_ops : &net_ops, NULL);
}

static void hang_up(void)
{
	close(w.sock);
	close(w.vu.sock);
	vu_free(&w.vu);
}

/* @nfds times @fd. What does not fit into the socket is no matter here. */
static void put(const void *data, size_t len, unsigned int nfds, int fd)
{
	char control[CMSG_SPACE(64 * sizeof(int))] = { 0 };
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
			memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
	}
	CHECK(sendmsg(w.sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len);
}

static size_t build(struct vu_message *m, uint32_t request, uint32_t flags, const void *payload,
		    uint32_t size)
{
	memset(m, 0, sizeof(*m));
	m->header.request = request;
	m->header.flags = flags;
	m->header.size = size;
	if (size)
		memcpy(&m->u64, payload, size);
	return sizeof(m->header) + size;
}

static int say_with(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		    unsigned int nfds)
{
	int fd = nfds ? eventfd(0, EFD_CLOEXEC) : -1;
	struct vu_message m;

	put(&m, build(&m, request, flags, payload, size), nfds, fd);
	if (fd >= 0)
		close(fd);
	return vu_read(&w.vu, &w.err);
}

static int say(uint32_t request, const void *payload, uint32_t size)
{
	return say_with(request, VERSION, payload, size, 0);
}

static int say_u64(uint32_t request, uint64_t value)
{
	return say(request, &value, sizeof(value));
}

static int say_state(uint32_t request, uint32_t index, uint32_t num)
{
	uint32_t state[] = { index, num };

	return say(request, state, sizeof(state));
}

static int say_addr(uint32_t index, uint64_t desc, uint64_t used, uint64_t avail)
{
	uint64_t addr[] = { index, desc, used, avail, 0 };

	return say(SET_VRING_ADDR, addr, sizeof(addr));
}

static int say_file(uint32_t request, uint64_t index, unsigned int nfds)
{
	return say_with(request, VERSION, &index, sizeof(index), nfds);
}

static int say_memory(uint64_t low_hva, unsigned int nfds)
{
	uint64_t memory[] = { 2, 0, LOW_SIZE, low_hva, 0, HIGH_GPA, HIGH_SIZE, HIGH_HVA, LOW_SIZE };

	return say_with(SET_MEM_TABLE, VERSION | NEED_REPLY, memory, sizeof(memory), nfds);
}

/* Its answer; 0 bytes: none. */
static size_t hear(struct vu_message *m)
{
	ssize_t n;

	memset(m, 0, sizeof(*m));
	n = recv(w.sock, m, sizeof(*m), MSG_DONTWAIT);
	return n < 0 ? 0 : n;
}

static bool hears_u64(uint32_t request, uint64_t value)
{
	struct vu_message m;

	return hear(&m) == sizeof(m.header) + 8 && m.header.request == request &&
	       m.header.flags == (VERSION | REPLY) && m.header.size == 8 && m.u64 == value;
}

/* All that a queue needs, but for being enabled. */
static void prepare(unsigned int n)
{
	uint64_t at = n * 0x10000;

	CHECK(!say_state(SET_VRING_NUM, n, 256));
	CHECK(!say_state(SET_VRING_BASE, n, 7));
	CHECK(!say_addr(n, LOW_HVA + at + 0x1000, LOW_HVA + at + 0x3000, LOW_HVA + at + 0x2000));
	CHECK(!say_file(SET_VRING_KICK, n, 1));
	CHECK(!say_file(SET_VRING_CALL, n, 1));
}

static void introduce(uint32_t kind)
{
	connect_to(kind);
	CHECK(!say_u64(SET_PROTOCOL_FEATURES, kind == FTKVM_UAPI_DEV_BLK ? BLK_PROTOCOL : NET_PROTOCOL));
	CHECK(!say_u64(SET_FEATURES, NEEDED));
	CHECK(!say_memory(LOW_HVA, 2));
	CHECK(hears_u64(SET_MEM_TABLE, 0));
}

static void run_disk(void)
{
	introduce(FTKVM_UAPI_DEV_BLK);
	prepare(0);
	CHECK(!say_state(SET_VRING_ENABLE, 0, 1));
	CHECK(w.nstart == 1 && w.vu.queue[0].running);
}

/* It is sent away, for that reason. */
static void expect(int ret, const char *why, int line)
{
	if (ret >= 0 || !strstr(w.err.text, why)) {
		printf("  line %d: %d (%s), not \"%s\"\n", line, ret, w.err.text, why);
		CHECK(false);
	}
	hang_up();
	memset(&w.err, 0, sizeof(w.err));
}

/* --- as it should be ------------------------------------------------------- */

static void vhost_disk(void)
{
	struct vu_message m;
	uint32_t config[] = { 0, 60, 0 };
	uint8_t buf[12 + 60] = { 0 };
	const struct vu_queue *q = &w.vu.queue[0];

	connect_to(FTKVM_UAPI_DEV_BLK);
	CHECK(!say(GET_FEATURES, NULL, 0));
	/* SIZE_MAX, SEG_MAX, RO, BLK_SIZE, FLUSH, DISCARD, WRITE_ZEROES, LOG_ALL, INDIRECT_DESC */
	CHECK(hears_u64(GET_FEATURES, NEEDED | 0x14006266));
	CHECK(!say(GET_PROTOCOL_FEATURES, NULL, 0));
	CHECK(hears_u64(GET_PROTOCOL_FEATURES, BLK_PROTOCOL));
	CHECK(!say_u64(SET_PROTOCOL_FEATURES, BLK_PROTOCOL));
	CHECK(!say(GET_QUEUE_NUM, NULL, 0));
	CHECK(hears_u64(GET_QUEUE_NUM, 1));
	CHECK(!say(SET_OWNER, NULL, 0));
	memcpy(buf, config, sizeof(config));
	CHECK(!say(GET_CONFIG, buf, sizeof(buf)));
	CHECK(hear(&m) == 12 + sizeof(buf) && m.config.size == 60 && !memcmp(m.config.data, "12345678\0", 9));
	CHECK(!say_file(SET_VRING_CALL, 0, 1));
	CHECK(!say_file(SET_VRING_ERR, 0, 1));
	CHECK(!w.nfeatures && !w.nstart);

	CHECK(!say_u64(SET_FEATURES, NEEDED | 0x200));
	CHECK(w.nfeatures == 1 && w.vu.features == (NEEDED | 0x200));
	CHECK(!say_memory(LOW_HVA, 2));
	CHECK(hears_u64(SET_MEM_TABLE, 0));
	CHECK(!say_state(SET_VRING_NUM, 0, 128));
	CHECK(!say_state(SET_VRING_BASE, 0, 65535));
	/* a ring may end where memory does */
	CHECK(!say_addr(0, HIGH_HVA, HIGH_HVA + HIGH_SIZE - 1032, LOW_HVA + LOW_SIZE - 262));
	CHECK(!say_file(SET_VRING_KICK, 0, 1));
	CHECK(!w.nstart);
	CHECK(!say_state(SET_VRING_ENABLE, 0, 1));
	CHECK(w.nstart == 1 && q->running && q->num == 128 && q->base == 65535);
	CHECK(q->desc == HIGH_GPA && q->avail == LOW_SIZE - 262 && q->used == HIGH_GPA + HIGH_SIZE - 1032);
	CHECK(q->kick >= 0 && q->call >= 0);
	CHECK(!say_file(SET_VRING_CALL, 0, 1) && w.ncall == 1);
	CHECK(!say_file(SET_VRING_CALL, 1 << 8, 0) && w.ncall == 2 && q->call < 0);

	w.base = 17;
	CHECK(!say_state(SET_VRING_ENABLE, 0, 0) && w.nstop == 1 && !q->running);
	CHECK(!say_state(GET_VRING_BASE, 0, 0) && w.nstop == 1 && q->kick < 0);
	CHECK(hear(&m) == 20 && m.state.index == 0 && m.state.num == 17);
	/* Again, with the driver that the guest loads next. */
	CHECK(!say_u64(SET_FEATURES, NEEDED) && w.nfeatures == 2);
	CHECK(!say_state(SET_VRING_ENABLE, 0, 1) && w.nstart == 1);
	prepare(0);
	CHECK(w.nstart == 2 && q->running && q->num == 256 && q->base == 7);
	CHECK(vu_read(&w.vu, &w.err) == 0);
	shutdown(w.sock, SHUT_WR);
	CHECK(vu_read(&w.vu, &w.err) == -ENOTCONN && strstr(w.err.text, "hung up"));
	hang_up();
}

static void vhost_net(void)
{
	connect_to(FTKVM_UAPI_DEV_NET);
	CHECK(!say(GET_FEATURES, NULL, 0));
	/* CSUM, GUEST_CSUM, GUEST_TSO4/6, HOST_TSO4/6, MRG_RXBUF, LOG_ALL, INDIRECT_DESC */
	CHECK(hears_u64(GET_FEATURES, NEEDED | 0x14009983));
	CHECK(!say(GET_PROTOCOL_FEATURES, NULL, 0));
	CHECK(hears_u64(GET_PROTOCOL_FEATURES, NET_PROTOCOL));
	hang_up();

	introduce(FTKVM_UAPI_DEV_NET);
	prepare(0);
	prepare(1);
	CHECK(!w.nstart);
	CHECK(!say_state(SET_VRING_ENABLE, 1, 1) && w.nstart == 1 && w.queue == 1);
	CHECK(!say_state(SET_VRING_ENABLE, 0, 1) && w.nstart == 2 && w.queue == 0);
	CHECK(w.vu.queue[1].desc == 0x11000 && w.vu.queue[1].used == 0x13000);
	CHECK(!say(RESET_OWNER, NULL, 0) && w.nstop == 2);
	CHECK(!w.vu.queue[0].running && !w.vu.queue[1].running);
	hang_up();
}

/* The guest's driver writes wce, which it was not offered: it is told no, and goes on. */
static void vhost_set_config(void)
{
	struct vu_message m;
	uint8_t wce[12 + 1] = { 32, 0, 0, 0, 1 };

	run_disk();
	CHECK(!say_with(SET_CONFIG, VERSION | NEED_REPLY, wce, sizeof(wce), 0));
	CHECK(hears_u64(SET_CONFIG, 1));
	CHECK(!say_with(SET_CONFIG, VERSION, wce, sizeof(wce), 0) && !hear(&m));
	CHECK(w.vu.queue[0].running && !w.nstop);
	CHECK(!say_with(SET_VRING_ENABLE, VERSION | NEED_REPLY, &(uint32_t[]){ 0, 1 }, 8, 0));
	CHECK(hears_u64(SET_VRING_ENABLE, 0));
	hang_up();
}

/* A client that goes on where another connection of its broke: it has negotiated. */
static void vhost_goes_on(void)
{
	connect_to(FTKVM_UAPI_DEV_BLK);
	CHECK(!say_u64(SET_FEATURES, NEEDED));
	CHECK(!say_file(SET_VRING_CALL, 0, 1));
	CHECK(!say_memory(LOW_HVA, 2));
	CHECK(hears_u64(SET_MEM_TABLE, 0));
	hang_up();

	/* one that wants no answers gets none */
	connect_to(FTKVM_UAPI_DEV_BLK);
	CHECK(!say_u64(SET_PROTOCOL_FEATURES, 0));
	CHECK(!say_u64(SET_FEATURES, NEEDED));
	CHECK(w.vu.protocol == 0);
	hang_up();
}

/* One that has not noticed that there was another ftd. */
static void vhost_speaks_on(void)
{
	struct vu_message m;
	uint64_t logs;

	CHECK(vu_speaks_on((uint32_t []){ SET_FEATURES }, 4) && vu_speaks_on((uint32_t []){ SET_VRING_CALL }, 4));
	CHECK(!vu_speaks_on((uint32_t []){ GET_FEATURES }, 4) && !vu_speaks_on("", 1));

	connect_to(FTKVM_UAPI_DEV_BLK);
	vu_assume_running(&w.vu);
	CHECK(!say_memory(LOW_HVA, 2) && hears_u64(SET_MEM_TABLE, 0));
	CHECK(!say_addr(0, LOW_HVA + 0x1000, LOW_HVA + 0x3000, LOW_HVA + 0x2000));
	CHECK(!say_file(SET_VRING_CALL, 0, 1) && w.ncall == 1);
	CHECK(!w.nstop && !vu_keep(&w.vu));
	w.base = 5;
	CHECK(!say_state(SET_VRING_ENABLE, 0, 0) && w.nstop == 1);
	CHECK(!say_state(GET_VRING_BASE, 0, 0) && hear(&m) == 20 && m.state.num == 5);
	CHECK(!say_u64(SET_FEATURES, NEEDED));
	prepare(0);
	CHECK(!say_state(SET_VRING_ENABLE, 0, 1) && w.nstart == 1);
	hang_up();

	/* it is migrated by somebody else, which comes to nothing */
	connect_to(FTKVM_UAPI_DEV_BLK);
	vu_assume_running(&w.vu);
	for (logs = NEEDED | 1 << 26; logs; logs = logs == NEEDED ? 0 : NEEDED) {
		CHECK(!say_u64(SET_FEATURES, logs));
		CHECK(!say_addr(0, LOW_HVA + 0x1000, LOW_HVA + 0x3000, LOW_HVA + 0x2000));
		CHECK(w.vu.queue[0].running && !w.nstart && !w.nstop);
	}
	hang_up();

	/* it sets the device up: so nothing ran */
	connect_to(FTKVM_UAPI_DEV_BLK);
	vu_assume_running(&w.vu);
	CHECK(!say_u64(SET_FEATURES, NEEDED) && !w.nstop && !w.vu.queue[0].running);
	expect(say_state(GET_VRING_BASE, 0, 0), "has never run", __LINE__);
}

/* What QEMU says to the source of a migration. */
static void vhost_migration(void)
{
	uint64_t log[] = { 4096, 0 };

	run_disk();
	CHECK(!say_with(SET_LOG_BASE, VERSION, log, sizeof(log), 1));
	CHECK(hears_u64(SET_LOG_BASE, 0));
	CHECK(!say_with(SET_FEATURES, VERSION | NEED_REPLY, &(uint64_t){ NEEDED | 1 << 26 }, 8, 0));
	CHECK(hears_u64(SET_FEATURES, 0));
	CHECK(!say_addr(0, LOW_HVA + 0x1000, LOW_HVA + 0x3000, LOW_HVA + 0x2000));
	CHECK(w.nfeatures == 1 && w.nstart == 1 && !w.nstop);
	hang_up();
}

static void restore_disk(json_t *state)
{
	connect_to(FTKVM_UAPI_DEV_BLK);
	CHECK(!vu_restore(&w.vu, state, &w.err) && w.vu.queue[0].running);
}

/* The next ftd's, whose client has not noticed. */
static void vhost_kept(void)
{
	uint64_t log[] = { 4096, 0 };
	struct vu_message m;
	json_t *state;

	introduce(FTKVM_UAPI_DEV_BLK);
	state = vu_keep(&w.vu);
	CHECK(state);
	json_decref(state);
	prepare(0);
	CHECK(!vu_keep(&w.vu));		/* nobody else has its kick */
	CHECK(!say_state(SET_VRING_ENABLE, 0, 1));
	state = vu_keep(&w.vu);
	CHECK(state);
	w.later = true;
	CHECK(say_state(SET_VRING_ENABLE, 0, 0) == VU_LATER && !vu_keep(&w.vu));
	hang_up();

	/* a migration begins; it stops, and begins anew */
	restore_disk(state);
	CHECK(!say_with(SET_LOG_BASE, VERSION, log, sizeof(log), 1));
	CHECK(hears_u64(SET_LOG_BASE, 0));
	CHECK(!say_u64(SET_FEATURES, NEEDED | 1 << 26));
	CHECK(!say_addr(0, LOW_HVA + 0x1000, LOW_HVA + 0x3000, LOW_HVA + 0x2000));
	CHECK(!say_memory(LOW_HVA, 2) && hears_u64(SET_MEM_TABLE, 0));
	CHECK(!w.nfeatures && !w.nstart && !w.nstop && w.vu.queue[0].running);
	w.base = 9;
	CHECK(!say_state(GET_VRING_BASE, 0, 0) && w.nstop == 1);
	CHECK(hear(&m) == 20 && m.state.num == 9);
	prepare(0);
	CHECK(w.nstart == 1 && w.vu.queue[0].running);
	hang_up();

	restore_disk(state);
	CHECK(!say_state(SET_VRING_ENABLE, 0, 0) && w.nstop == 1);
	expect(say_state(SET_VRING_ENABLE, 0, 1), "a former ftd had", __LINE__);

	connect_to(FTKVM_UAPI_DEV_BLK);
	json_object_set_new(state, "regions", json_array());
	CHECK(vu_restore(&w.vu, state, &w.err) == -EINVAL);
	json_object_set_new(state, "queues", json_array());
	CHECK(vu_restore(&w.vu, state, &w.err) == -EINVAL);
	CHECK(vu_restore(&w.vu, NULL, &w.err) == -EINVAL);
	json_decref(state);
	hang_up();
}

static void vhost_pieces(void)
{
	struct vu_message m[2];
	const char *bytes = (const char *)m;
	size_t i, len;

	introduce(FTKVM_UAPI_DEV_BLK);
	len = build(&m[0], SET_VRING_NUM, VERSION, &(uint32_t[]){ 0, 64 }, 8);
	for (i = 0; i < len; i++) {
		CHECK(w.vu.queue[0].num == 0);
		put(bytes + i, 1, 0, -1);
		CHECK(!vu_read(&w.vu, &w.err));
	}
	CHECK(w.vu.queue[0].num == 64);
	/* two at once: each descriptor to its own */
	build(&m[0], SET_VRING_CALL, VERSION, &(uint64_t){ 0 }, 8);
	put(m, len, 1, w.sock);
	put(m, len, 1, w.sock);
	put(m, len - 1, 1, w.sock);
	CHECK(!vu_read(&w.vu, &w.err) && w.vu.nfds == 1);
	shutdown(w.sock, SHUT_WR);
	CHECK(vu_read(&w.vu, &w.err) == -EPROTO && strstr(w.err.text, "in the midst"));
	hang_up();
}

/* Nothing is read while an operation is under way. */
static void vhost_later(void)
{
	struct vu_message m;

	introduce(FTKVM_UAPI_DEV_NET);
	prepare(0);
	prepare(1);
	w.later = true;
	CHECK(say_with(SET_VRING_ENABLE, VERSION | NEED_REPLY, &(uint32_t[]){ 0, 1 }, 8, 0) == VU_LATER);
	CHECK(w.nstart == 1 && !w.vu.queue[0].running && !hear(&m));
	CHECK(say(GET_FEATURES, NULL, 0) == VU_LATER && !hear(&m));
	CHECK(!vu_finish(&w.vu, 0, &w.err) && w.vu.queue[0].running);
	CHECK(recv(w.sock, &m, 20, 0) == 20 && m.header.request == SET_VRING_ENABLE && !m.u64);
	CHECK(recv(w.sock, &m, 20, 0) == 20 && m.header.request == GET_FEATURES);

	CHECK(say_state(SET_VRING_ENABLE, 1, 1) == VU_LATER);
	CHECK(!vu_finish(&w.vu, 0, &w.err) && w.vu.queue[1].running);
	/* both, by one message */
	CHECK(say_with(RESET_OWNER, VERSION | NEED_REPLY, NULL, 0, 0) == VU_LATER && w.nstop == 1);
	CHECK(vu_finish(&w.vu, 5, &w.err) == VU_LATER && w.nstop == 2 && !hear(&m));
	CHECK(!vu_finish(&w.vu, 6, &w.err));
	CHECK(hears_u64(RESET_OWNER, 0));
	CHECK(w.vu.queue[0].base == 5 && w.vu.queue[1].base == 6);
	hang_up();
}

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* What a client sent is closed by who may wait for it, and nothing is read meanwhile. */
static void vhost_closes_later(void)
{
	unsigned int before = count_fds(), i;
	struct vu_message m;

	run_disk();
	CHECK(w.nclose == 1);	/* of the memory */
	w.close_later = true;
	CHECK(say_file(SET_VRING_ERR, 0, 1) == VU_LATER && w.nclose == 2);
	CHECK(say(GET_FEATURES, NULL, 0) == VU_LATER && !hear(&m));
	vu_close_fds(&w.vu);
	CHECK(!vu_finish(&w.vu, 0, &w.err) && hear(&m) == 20 && w.nclose == 2);
	/* The one that was there, when the new one is in force. */
	i = count_fds();
	CHECK(say_file(SET_VRING_CALL, 0, 1) == VU_LATER && w.ncall == 1 && w.nclose == 3);
	CHECK(count_fds() == i + 1 && w.vu.nfds == 1);
	vu_close_fds(&w.vu);
	CHECK(!vu_finish(&w.vu, 0, &w.err) && count_fds() == i);
	/* The answer does not wait; the kick goes when the queue has stopped. */
	CHECK(say_state(GET_VRING_BASE, 0, 0) == VU_LATER && w.nstop == 1 && hear(&m) == 20);
	CHECK(w.vu.nfds == 1);
	hang_up();
	CHECK(count_fds() == before);
}

/* --- as it should not ------------------------------------------------------ */

/* In a fresh world of the kind that @begin makes. */
#define REFUSES(begin, what, why)		\
	do {					\
		begin;				\
		expect(what, why, __LINE__);	\
	} while (0)

#define BLK	introduce(FTKVM_UAPI_DEV_BLK)
#define NET	introduce(FTKVM_UAPI_DEV_NET)

static void vhost_headers(void)
{
	char much[400] = { 0 };

	REFUSES(BLK, say_with(GET_FEATURES, 0, NULL, 0, 0), "not vhost-user");
	REFUSES(BLK, say_with(GET_FEATURES, VERSION | REPLY, NULL, 0, 0), "not vhost-user");
	REFUSES(BLK, say_with(GET_FEATURES, 0x11, NULL, 0, 0), "not vhost-user");
	REFUSES(BLK, say_with(0, VERSION, NULL, 0, 0), "message 0 ");
	REFUSES(BLK, say_with(SEND_RARP, VERSION, much, 8, 0), "message 19 ");
	REFUSES(BLK, say_with(0xffffffff, VERSION, NULL, 0, 0), "message 4294967295 ");
	REFUSES(BLK, say(GET_FEATURES, much, 1), "GET_FEATURES with 1 bytes");
	REFUSES(BLK, say(SET_FEATURES, much, 7), "SET_FEATURES with 7 bytes");
	REFUSES(BLK, say(SET_VRING_ADDR, much, 39), "SET_VRING_ADDR with 39 bytes");
	REFUSES(BLK, say(GET_CONFIG, much, 12 + 257), "GET_CONFIG with 269 bytes");
	REFUSES(BLK, say_with(GET_FEATURES, VERSION, NULL, 0, 1), "GET_FEATURES with 1 descriptors");
	REFUSES(BLK, say_with(SET_VRING_KICK, VERSION, much, 8, 2), "SET_VRING_KICK with 2 descriptors");
	REFUSES(BLK, say_with(SET_MEM_TABLE, VERSION, much, 8, 9), "more descriptors than");
	REFUSES(BLK, say_with(SET_MEM_TABLE, VERSION, much, 8, 64), "more descriptors than");
	REFUSES(connect_to(FTKVM_UAPI_DEV_BLK), say(GET_QUEUE_NUM, NULL, 0), "GET_QUEUE_NUM without");
	REFUSES(connect_to(FTKVM_UAPI_DEV_BLK), say(GET_CONFIG, much, 12), "GET_CONFIG without");
	REFUSES(NET, say(GET_QUEUE_NUM, NULL, 0), "GET_QUEUE_NUM without");
	REFUSES(NET, say(GET_CONFIG, much, 12), "GET_CONFIG without");
	REFUSES(NET, say(SET_CONFIG, much, 12), "SET_CONFIG without");
}

static void vhost_values(void)
{
	uint32_t far_config[3 + 5] = { 252, 5, 0 }, wrap_config[3] = { 0xffffffff, 0, 0 };
	uint32_t short_config[3 + 5] = { 0, 21, 0 };
	uint64_t wraps[] = { 1, 0x1000, ~0ULL, 0, 0 }, empty[] = { 1, 0, 0, 0, 0 }, nine[] = { 9, 0, 1, 0, 0 };

	REFUSES(BLK, say_u64(SET_FEATURES, NEEDED | 1ULL << 29), "not offered (0x20000000)");
	REFUSES(BLK, say_u64(SET_FEATURES, NEEDED | 1ULL << 34), "not offered (0x400000000)");
	REFUSES(NET, say_u64(SET_FEATURES, NEEDED | 1 << 3), "not offered (0x8)");
	REFUSES(NET, say_u64(SET_PROTOCOL_FEATURES, 0x20b), "not offered (0x201)");
	REFUSES(BLK, say(GET_CONFIG, far_config, sizeof(far_config)), "at 252");
	REFUSES(BLK, say(GET_CONFIG, wrap_config, sizeof(wrap_config)), "at 4294967295");
	REFUSES(BLK, say(GET_CONFIG, short_config, sizeof(short_config)), "in a message of");
	REFUSES(BLK, say(SET_CONFIG, far_config, sizeof(far_config)), "at 252");
	REFUSES(BLK, say(SET_CONFIG, short_config, sizeof(short_config)), "in a message of");
	REFUSES(BLK, say_state(SET_VRING_NUM, 1, 8), "SET_VRING_NUM: it speaks of queue 1");
	REFUSES(NET, say_state(SET_VRING_NUM, 2, 8), "speaks of queue 2");
	REFUSES(BLK, say_state(SET_VRING_NUM, 0, 0), "has 0 entries");
	REFUSES(BLK, say_state(SET_VRING_NUM, 0, 2048), "has 2048 entries");
	REFUSES(BLK, say_state(SET_VRING_NUM, 0, 100), "has 100 entries");
	REFUSES(BLK, say_state(SET_VRING_BASE, 0, 65536), "begin at entry 65536");
	REFUSES(BLK, say_state(SET_VRING_ENABLE, 0, 2), "enabled by 2");
	REFUSES(BLK, say_state(SET_VRING_ENABLE, 0xffffffff, 1), "queue 4294967295");
	REFUSES(BLK, say_state(GET_VRING_BASE, 77, 0), "queue 77");
	REFUSES(BLK, say_addr(0, 8, 0, 0), "not aligned");
	REFUSES(BLK, say_addr(0, 0, 2, 0), "not aligned");
	REFUSES(BLK, say_addr(0, 0, 0, 1), "not aligned");
	REFUSES(BLK, say(SET_VRING_ADDR, &(uint64_t[]){ 2ULL << 32, 0, 0, 0, 0 }, 40), "flags 0x2");
	REFUSES(BLK, say_file(SET_VRING_KICK, 1 << 8, 0), "not polled");
	REFUSES(BLK, say_file(SET_VRING_KICK, 0, 0), "with 0");
	REFUSES(BLK, say_file(SET_VRING_CALL, 1 << 8, 1), "with 1");
	REFUSES(BLK, say_file(SET_VRING_CALL, 1 << 9, 1), "flags 0x200");
	REFUSES(BLK, say_file(SET_VRING_ERR, 5, 1), "queue 5");
	REFUSES(BLK, say_memory(LOW_HVA, 0), "memory-backend-memfd,share=on");
	REFUSES(BLK, say_memory(LOW_HVA, 3), "3 descriptors for 2 regions");
	REFUSES(BLK, say_with(SET_MEM_TABLE, VERSION, wraps, sizeof(wraps), 1), "wraps around");
	REFUSES(BLK, say_with(SET_MEM_TABLE, VERSION, empty, sizeof(empty), 1), "can't be");
	REFUSES(BLK, say_with(SET_MEM_TABLE, VERSION, nine, sizeof(nine), 1), "9 regions");
}

static void vhost_rings(void)
{
	struct vu_message m;

	REFUSES(run_disk(), say_state(SET_VRING_NUM, 0, 128), "queue 0, which runs");
	REFUSES(run_disk(), say_state(SET_VRING_BASE, 0, 1), "queue 0, which runs");
	REFUSES(run_disk(), say_file(SET_VRING_KICK, 0, 1), "queue 0, which runs");
	REFUSES(run_disk(), say_addr(0, LOW_HVA, LOW_HVA + 0x3000, LOW_HVA + 0x2000), "moves queue 0");
	REFUSES(run_disk(), say_u64(SET_FEATURES, NEEDED | 0x200), "(0x200) while a queue runs");
	REFUSES(run_disk(), say_memory(LOW_HVA + 0x1000, 2), "under queue 0");
	run_disk();
	CHECK(!say_memory(LOW_HVA, 2));	/* the same again */
	CHECK(hears_u64(SET_MEM_TABLE, 0));
	hang_up();

	/* outside, at the end, across the hole */
	REFUSES(BLK; prepare(0); say_addr(0, HIGH_HVA + HIGH_SIZE, LOW_HVA, LOW_HVA),
		say_state(SET_VRING_ENABLE, 0, 1), "outside the guest's memory");
	REFUSES(BLK; prepare(0); say_addr(0, HIGH_HVA + HIGH_SIZE - 4080, LOW_HVA, LOW_HVA),
		say_state(SET_VRING_ENABLE, 0, 1), "outside the guest's memory");
	REFUSES(BLK; prepare(0); say_addr(0, LOW_HVA, HIGH_HVA - 4, LOW_HVA),
		say_state(SET_VRING_ENABLE, 0, 1), "outside the guest's memory");
	REFUSES(BLK; prepare(0); say_addr(0, LOW_HVA, LOW_HVA, ~1ULL),
		say_state(SET_VRING_ENABLE, 0, 1), "outside the guest's memory");
	REFUSES(BLK; prepare(0); say_u64(SET_FEATURES, 1 << 30),
		say_state(SET_VRING_ENABLE, 0, 1), "disable-legacy=on");
	REFUSES(BLK; prepare(0); w.fail = -ENOMEM, say_state(SET_VRING_ENABLE, 0, 1), "as it was told to");
	BLK;
	say_state(SET_VRING_BASE, 0, 7);
	CHECK(!say_state(GET_VRING_BASE, 0, 0) && !w.nstop);	/* it never ran */
	CHECK(hear(&m) == 20 && m.state.num == 7);
	hang_up();
	REFUSES(BLK, say_state(GET_VRING_BASE, 0, 0), "has never run");
}

/* Messages that cost the client nothing, as they have no answer; others have their turn. */
static void vhost_much(void)
{
	struct vu_message m;
	size_t len = build(&m, SET_OWNER, VERSION, NULL, 0);
	unsigned int i, calls = 0;
	int left;

	connect_to(FTKVM_UAPI_DEV_BLK);
	for (i = 0; i < 100; i++)
		put(&m, len, 0, -1);
	do {
		CHECK(!vu_read(&w.vu, &w.err));
		CHECK(!ioctl(w.vu.sock, FIONREAD, &left));
		calls++;
	} while (left && calls < 100);
	CHECK(calls > 2 && calls < 100);
	hang_up();
}

/* Who asks and never reads; and after all of it, not one descriptor more is open. */
static void vhost_ends(void)
{
	unsigned int before = count_fds(), i;
	int ret = 0;

	connect_to(FTKVM_UAPI_DEV_BLK);
	for (i = 0; !ret && i < 100000; i++)
		ret = say(GET_FEATURES, NULL, 0);
	expect(ret, "does not read its answers", __LINE__);
	vhost_disk();
	vhost_net();
	vhost_pieces();
	vhost_headers();
	vhost_values();
	vhost_rings();
	CHECK(count_fds() == before);
}

const struct unit_test unit_vhost_tests[] = {
	{ "vhost_disk", vhost_disk },
	{ "vhost_net", vhost_net },
	{ "vhost_set_config", vhost_set_config },
	{ "vhost_goes_on", vhost_goes_on },
	{ "vhost_speaks_on", vhost_speaks_on },
	{ "vhost_migration", vhost_migration },
	{ "vhost_kept", vhost_kept },
	{ "vhost_pieces", vhost_pieces },
	{ "vhost_later", vhost_later },
	{ "vhost_closes_later", vhost_closes_later },
	{ "vhost_headers", vhost_headers },
	{ "vhost_values", vhost_values },
	{ "vhost_rings", vhost_rings },
	{ "vhost_much", vhost_much },
	{ "vhost_ends", vhost_ends },
	{ }
};
