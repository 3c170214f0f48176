// SPDX-License-Identifier: GPL-2.0
/*
 * vhost-user: one message at a time. A message changes what is wanted; then the
 * queues are brought to what is wanted, which may take a while; then the
 * message is answered.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include "vhost_user.h"

#define BIT(n)	(1ULL << (n))

#define FLAG_VERSION	0x1
#define FLAG_VERSION_MASK 0x3
#define FLAG_REPLY	0x4
#define FLAG_NEED_REPLY	0x8

#define FILE_INDEX	0xff	/* of a kick, call or err message */
#define FILE_NONE	BIT(8)

#define ADDR_LOG	0x1

enum {
	GET_FEATURES = 1, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD,
	SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL,
	SET_VRING_ERR, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE,
	GET_CONFIG = 24,
};

/* Protocol features */
enum {
	P_MQ = 0, P_LOG_SHMFD = 1, P_REPLY_ACK = 3, P_CONFIG = 9,
};

/* Without a log there is no migration. QEMU's is not written to, as KVM keeps one of its own. */
#define PROTOCOL_ALL	(BIT(P_LOG_SHMFD) | BIT(P_REPLY_ACK))
#define PROTOCOL_BLK	(BIT(P_MQ) | BIT(P_CONFIG))

#define FEATURES_ALL	(BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_PROTOCOL_FEATURES) | BIT(VU_F_LOG_ALL) | \
			 BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define FEATURES_BLK	(BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | \
			 BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_DISCARD) | \
			 BIT(VIRTIO_BLK_F_WRITE_ZEROES))
#define FEATURES_NET	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | \
			 BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
			 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | \
			 BIT(VIRTIO_NET_F_MRG_RXBUF))

/* QEMU's own to offer, and of no effect with virtio 1. */
#define FEATURES_QEMU	BIT(VIRTIO_F_ANY_LAYOUT)

#define HEADER_SIZE	sizeof(((struct vu_message *)0)->header)
#define PAYLOAD(m)	sizeof(((struct vu_message *)0)->m)
#define CONFIG_HEADER	(offsetof(struct vu_message, config.data) - HEADER_SIZE)

/**
 * struct request - what a message looks like, and what it does
 * @least, @most: bytes of its payload
 * @fds: descriptors that may come with it
 * @protocol: the protocol features without which it makes no sense
 * @apply: change what is wanted
 * @answer: when that is so: fill in the answer's payload and return its size;
 *	without it there is an answer only if the client wants to know
 */
struct request {
	const char *name;
	size_t least, most;
	unsigned int fds;
	uint64_t protocol;
	int (*apply)(struct vu *vu, struct fterr *err);
	size_t (*answer)(struct vu *vu, struct vu_message *out);
};

static int __printf(2, 3) bad(struct fterr *err, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return ft_fail(err, -EPROTO, "%s", text);
}

/* --- the device's features ------------------------------------------------- */

static size_t answer_features(struct vu *vu, struct vu_message *out)
{
	out->u64 = vu->offered;
	return sizeof(out->u64);
}

static bool any_running(const struct vu *vu)
{
	unsigned int n;

	for (n = 0; n < vu->nqueues; n++)
		if (vu->queue[n].running)
			return true;
	return false;
}

static int set_features(struct vu *vu, struct fterr *err)
{
	uint64_t wanted = vu->in.u64, extra = wanted & ~(vu->offered | FEATURES_QEMU);
	uint64_t change = (wanted ^ vu->features) & ~BIT(VU_F_LOG_ALL);

	if (extra)
		return bad(err, "it takes features that were not offered (0x%llx)",
			   (unsigned long long)extra);
	if (change && any_running(vu))
		return bad(err, "it changes features (0x%llx) while a queue runs",
			   (unsigned long long)change);
	vu->features = wanted;
	return change ? vu->ops->features(vu, err) : 0;
}

static size_t answer_protocol(struct vu *vu, struct vu_message *out)
{
	out->u64 = vu->protocol_offered;
	return sizeof(out->u64);
}

static int set_protocol(struct vu *vu, struct fterr *err)
{
	uint64_t extra = vu->in.u64 & ~vu->protocol_offered;

	if (extra)
		return bad(err, "it takes protocol features that were not offered (0x%llx)",
			   (unsigned long long)extra);
	vu->protocol = vu->in.u64;
	return 0;
}

static size_t answer_queue_num(struct vu *vu, struct vu_message *out)
{
	out->u64 = vu->nqueues;
	return sizeof(out->u64);
}

static int get_config(struct vu *vu, struct fterr *err)
{
	uint32_t offset = vu->in.config.offset, size = vu->in.config.size;

	if (!vu->ops->config)
		return bad(err, "the device has no configuration space");
	if (size > VU_CONFIG_MAX || offset > VU_CONFIG_MAX - size)
		return bad(err, "it asks for %u bytes of the configuration space at %u", size, offset);
	if (vu->in.header.size != CONFIG_HEADER + size)
		return bad(err, "it asks for %u bytes of the configuration space in a message of %u", size,
			   vu->in.header.size);
	return 0;
}

static size_t answer_config(struct vu *vu, struct vu_message *out)
{
	uint8_t config[VU_CONFIG_MAX] = { 0 };
	uint32_t offset = vu->in.config.offset, size = vu->in.config.size;

	/* What a newer client knows and we don't is zero: no such feature is offered. */
	vu->ops->config(vu, config);
	out->config.offset = offset;
	out->config.size = size;
	out->config.flags = vu->in.config.flags;
	memcpy(out->config.data, config + offset, size);
	return CONFIG_HEADER + size;
}

/* --- memory ---------------------------------------------------------------- */

/* Where @size bytes of the client's are in the guest; they must be in one piece. */
static bool find_gpa(const struct vu *vu, uint64_t hva, uint64_t size, uint64_t *gpa)
{
	unsigned int i;

	for (i = 0; i < vu->nregions; i++) {
		const struct vu_region *r = &vu->region[i];

		if (hva < r->hva || hva - r->hva > r->size || size > r->size - (hva - r->hva))
			continue;
		*gpa = r->gpa + (hva - r->hva);
		return true;
	}
	return false;
}

static bool find_rings(const struct vu *vu, const struct vu_queue *q, uint64_t *desc,
		       uint64_t *avail, uint64_t *used)
{
	/* Each ring's size, with the index behind it that EVENT_IDX would use. */
	return find_gpa(vu, q->hva_desc, q->num * sizeof(struct vring_desc), desc) &&
	       find_gpa(vu, q->hva_avail, 6 + q->num * sizeof(uint16_t), avail) &&
	       find_gpa(vu, q->hva_used, 6 + q->num * sizeof(struct vring_used_elem), used);
}

static int set_memory(struct vu *vu, struct fterr *err)
{
	uint64_t desc, avail, used;
	unsigned int i, n = vu->in.memory.n;

	if (n > VU_REGIONS || vu->in.header.size != 8 + n * sizeof(vu->in.memory.region[0]))
		return bad(err, "it tells of %u regions of memory in a message of %u bytes", n,
			   vu->in.header.size);
	if (vu->nfds != n)
		return bad(err, "it sends %u descriptors for %u regions of memory; QEMU's guest memory must be "
			   "shared: -object memory-backend-memfd,share=on,...", vu->nfds, n);
	for (i = 0; i < n; i++) {
		struct vu_region *r = &vu->region[i];

		r->gpa = vu->in.memory.region[i].gpa;
		r->size = vu->in.memory.region[i].size;
		r->hva = vu->in.memory.region[i].hva;
		if (!r->size || r->gpa + r->size - 1 < r->gpa || r->hva + r->size - 1 < r->hva)
			return bad(err, "region %u of its memory can't be: it wraps around", i);
	}
	vu->nregions = n;
	for (i = 0; i < vu->nqueues; i++) {
		struct vu_queue *q = &vu->queue[i];

		if (q->running && (!find_rings(vu, q, &desc, &avail, &used) || desc != q->desc ||
				   avail != q->avail || used != q->used))
			return bad(err, "it takes the memory away under queue %u, which runs", i);
	}
	return 0;
}

static size_t answer_log(struct vu *vu, struct vu_message *out)
{
	(void)vu;
	out->u64 = 0;
	return sizeof(out->u64);
}

/* --- queues ---------------------------------------------------------------- */

static struct vu_queue *find_queue(struct vu *vu, uint64_t n, struct fterr *err)
{
	if (n < vu->nqueues)
		return &vu->queue[n];
	bad(err, "it speaks of queue %llu; the device has %u", (unsigned long long)n, vu->nqueues);
	return NULL;
}

/* One that does not run. */
static struct vu_queue *find_idle(struct vu *vu, uint64_t n, struct fterr *err)
{
	struct vu_queue *q = find_queue(vu, n, err);

	if (!q || !q->running)
		return q;
	bad(err, "it changes queue %llu, which runs", (unsigned long long)n);
	return NULL;
}

static int set_num(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_idle(vu, vu->in.state.index, err);
	uint32_t num = vu->in.state.num;

	if (!q)
		return err->code;
	if (!num || num > FTKVM_DEV_NUM_HIGHEST || (num & (num - 1)))
		return bad(err, "queue %u has %u entries; it must be a power of two, at most %u",
			   vu->in.state.index, num, FTKVM_DEV_NUM_HIGHEST);
	q->num = num;
	return 0;
}

static int set_base(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_idle(vu, vu->in.state.index, err);

	if (!q)
		return err->code;
	if (vu->in.state.num > UINT16_MAX)
		return bad(err, "queue %u is to begin at entry %u", vu->in.state.index, vu->in.state.num);
	q->base = vu->in.state.num;
	return 0;
}

static int set_addr(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_queue(vu, vu->in.addr.index, err);
	uint64_t desc = vu->in.addr.desc, avail = vu->in.addr.avail, used = vu->in.addr.used;

	if (!q)
		return err->code;
	if (vu->in.addr.flags & ~ADDR_LOG)
		return bad(err, "the address of queue %u has flags 0x%x", vu->in.addr.index, vu->in.addr.flags);
	/* A migration begins or ends: said again, for the log. */
	if (q->running) {
		if (desc == q->hva_desc && avail == q->hva_avail && used == q->hva_used)
			return 0;
		return bad(err, "it moves queue %u, which runs", vu->in.addr.index);
	}
	if (desc % VRING_DESC_ALIGN_SIZE || avail % VRING_AVAIL_ALIGN_SIZE || used % VRING_USED_ALIGN_SIZE)
		return bad(err, "the rings of queue %u are not aligned as virtio has it", vu->in.addr.index);
	q->hva_desc = desc;
	q->hva_avail = avail;
	q->hva_used = used;
	q->placed = true;
	return 0;
}

static int take_fd(struct vu *vu)
{
	int fd = vu->fd[0];

	vu->nfds = 0;
	return fd;
}

static void replace_fd(int *at, int fd)
{
	if (*at >= 0)
		close(*at);
	*at = fd;
}

static struct vu_queue *find_file_queue(struct vu *vu, bool none_may, struct fterr *err)
{
	struct vu_queue *q = find_queue(vu, vu->in.u64 & FILE_INDEX, err);

	if (!q)
		return NULL;
	if (vu->in.u64 & ~(FILE_INDEX | FILE_NONE))
		bad(err, "a descriptor of queue %u with flags 0x%llx", (unsigned int)(vu->in.u64 & FILE_INDEX),
		    (unsigned long long)vu->in.u64);
	else if (vu->nfds != (vu->in.u64 & FILE_NONE ? 0 : 1))
		bad(err, "a message for a descriptor, with %u", vu->nfds);
	else if (!vu->nfds && !none_may)
		bad(err, "queue %u has no kick descriptor: a queue is not polled",
		    (unsigned int)(vu->in.u64 & FILE_INDEX));
	else
		return q;
	return NULL;
}

static int set_kick(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_file_queue(vu, false, err);

	if (!q || !find_idle(vu, vu->in.u64 & FILE_INDEX, err))
		return err->code;
	replace_fd(&q->kick, take_fd(vu));
	return 0;
}

static int set_call(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_file_queue(vu, true, err);

	if (!q)
		return err->code;
	replace_fd(&q->call, vu->nfds ? take_fd(vu) : -1);
	q->call_changed = true;
	return 0;
}

/* What breaks is told by other means. */
static int set_err(struct vu *vu, struct fterr *err)
{
	return find_file_queue(vu, true, err) ? 0 : err->code;
}

static int set_enable(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_queue(vu, vu->in.state.index, err);

	if (!q)
		return err->code;
	if (vu->in.state.num > 1)
		return bad(err, "queue %u is to be enabled by %u", vu->in.state.index, vu->in.state.num);
	q->enabled = vu->in.state.num;
	return 0;
}

static int get_base(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_queue(vu, vu->in.state.index, err);

	if (!q)
		return err->code;
	replace_fd(&q->kick, -1);	/* which ends it */
	return 0;
}

static size_t answer_base(struct vu *vu, struct vu_message *out)
{
	out->state.index = vu->in.state.index;
	out->state.num = vu->queue[vu->in.state.index].base;
	return sizeof(out->state);
}

static int reset(struct vu *vu, struct fterr *err)
{
	unsigned int n;

	(void)err;
	for (n = 0; n < vu->nqueues; n++) {
		replace_fd(&vu->queue[n].kick, -1);
		vu->queue[n].enabled = false;
	}
	return 0;
}

/* --- from what is wanted to what is so ------------------------------------- */

static bool wanted(const struct vu *vu, const struct vu_queue *q)
{
	return q->kick >= 0 && q->num && q->placed &&
	       (q->enabled || !(vu->features & BIT(VU_F_PROTOCOL_FEATURES)));
}

static int start(struct vu *vu, unsigned int n, struct fterr *err)
{
	struct vu_queue *q = &vu->queue[n];

	if (!(vu->features & BIT(VIRTIO_F_VERSION_1)))
		return bad(err, "the guest's driver does not know virtio 1; start QEMU with -device "
			   "...,disable-legacy=on, and the guest with a driver that does");
	if (!find_rings(vu, q, &q->desc, &q->avail, &q->used))
		return bad(err, "the rings of queue %u are outside the guest's memory", n);
	q->call_changed = false;
	return vu->ops->start(vu, n, err);
}

static void operation_done(struct vu *vu, uint32_t base)
{
	struct vu_queue *q = &vu->queue[vu->doing_queue];

	if (vu->doing == VU_STARTING) {
		q->running = true;
	} else if (vu->doing == VU_STOPPING) {
		q->running = false;
		q->base = base;
	}
	vu->doing = VU_IDLE;
}

/* One step nearer. 0: there is none left. */
static int settle_queue(struct vu *vu, unsigned int n, struct fterr *err)
{
	struct vu_queue *q = &vu->queue[n];
	uint32_t base = q->base;
	int ret;

	vu->doing_queue = n;
	if (wanted(vu, q) && !q->running) {
		vu->doing = VU_STARTING;
		ret = start(vu, n, err);
	} else if (!wanted(vu, q) && q->running) {
		vu->doing = VU_STOPPING;
		ret = vu->ops->stop(vu, n, &base, err);
	} else if (q->running && q->call_changed) {
		vu->doing = VU_CALLING;
		q->call_changed = false;
		ret = vu->ops->call(vu, n, err);
	} else {
		return 0;
	}
	if (ret == VU_LATER)
		return ret;
	if (ret)
		vu->doing = VU_IDLE;
	else
		operation_done(vu, base);
	return ret;
}

static int settle(struct vu *vu, struct fterr *err)
{
	unsigned int n;
	int ret = 0;

	for (n = 0; !ret && n < vu->nqueues; n++)
		ret = settle_queue(vu, n, err);
	return ret;
}

/* --- messages -------------------------------------------------------------- */

/* By number; what QEMU sends only with protocol features that are not offered is missing. */
static const struct request requests[] = {
	[GET_FEATURES] = { "GET_FEATURES", 0, 0, 0, 0, NULL, answer_features },
	[SET_FEATURES] = { "SET_FEATURES", 8, 8, 0, 0, set_features, NULL },
	[SET_OWNER] = { "SET_OWNER", 0, 0, 0, 0, NULL, NULL },
	[RESET_OWNER] = { "RESET_OWNER", 0, 0, 0, 0, reset, NULL },
	[SET_MEM_TABLE] = { "SET_MEM_TABLE", 8, PAYLOAD(memory), VU_REGIONS, 0, set_memory, NULL },
	[SET_LOG_BASE] = { "SET_LOG_BASE", PAYLOAD(log), PAYLOAD(log), 1, BIT(P_LOG_SHMFD), NULL,
			   answer_log },
	[SET_LOG_FD] = { "SET_LOG_FD", 0, 8, 1, 0, NULL, NULL },
	[SET_VRING_NUM] = { "SET_VRING_NUM", 8, 8, 0, 0, set_num, NULL },
	[SET_VRING_ADDR] = { "SET_VRING_ADDR", PAYLOAD(addr), PAYLOAD(addr), 0, 0, set_addr, NULL },
	[SET_VRING_BASE] = { "SET_VRING_BASE", 8, 8, 0, 0, set_base, NULL },
	[GET_VRING_BASE] = { "GET_VRING_BASE", 8, 8, 0, 0, get_base, answer_base },
	[SET_VRING_KICK] = { "SET_VRING_KICK", 8, 8, 1, 0, set_kick, NULL },
	[SET_VRING_CALL] = { "SET_VRING_CALL", 8, 8, 1, 0, set_call, NULL },
	[SET_VRING_ERR] = { "SET_VRING_ERR", 8, 8, 1, 0, set_err, NULL },
	[GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", 0, 0, 0, 0, NULL, answer_protocol },
	[SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", 8, 8, 0, 0, set_protocol, NULL },
	[GET_QUEUE_NUM] = { "GET_QUEUE_NUM", 0, 0, 0, BIT(P_MQ), NULL, answer_queue_num },
	[SET_VRING_ENABLE] = { "SET_VRING_ENABLE", 8, 8, 0, 0, set_enable, NULL },
	[GET_CONFIG] = { "GET_CONFIG", CONFIG_HEADER, PAYLOAD(config), 0, BIT(P_CONFIG), get_config,
			 answer_config },
};

static const struct request *find_request(uint32_t number)
{
	return number < ARRAY_SIZE(requests) && requests[number].name ? &requests[number] : NULL;
}

const char *vu_request_name(uint32_t request)
{
	const struct request *r = find_request(request);

	return r ? r->name : "unknown";
}

static int check_header(const struct vu *vu, struct fterr *err)
{
	uint32_t number = vu->in.header.request, flags = vu->in.header.flags, size = vu->in.header.size;
	const struct request *r = find_request(number);

	if ((flags & FLAG_VERSION_MASK) != FLAG_VERSION ||
	    (flags & ~(FLAG_VERSION_MASK | FLAG_NEED_REPLY)))
		return bad(err, "its message %u has flags 0x%x; that is not vhost-user", number, flags);
	if (!r)
		return bad(err, "it sends message %u (%u bytes), which is not known here", number, size);
	if (size < r->least || size > r->most)
		return bad(err, "%s with %u bytes", r->name, size);
	if (r->protocol & ~vu->protocol)
		return bad(err, "%s without the protocol feature for it", r->name);
	return 0;
}

static void drop_fds(struct vu *vu)
{
	while (vu->nfds)
		close(vu->fd[--vu->nfds]);
}

static int send_answer(struct vu *vu, struct fterr *err)
{
	const struct request *r = find_request(vu->in.header.request);
	struct vu_message out;
	ssize_t n, len;

	memset(&out, 0, sizeof(out));
	if (r->answer)
		out.header.size = r->answer(vu, &out);
	else if ((vu->in.header.flags & FLAG_NEED_REPLY) && (vu->protocol & BIT(P_REPLY_ACK)))
		out.header.size = sizeof(out.u64);	/* 0: done */
	else
		return 0;
	out.header.request = vu->in.header.request;
	out.header.flags = FLAG_VERSION | FLAG_REPLY;
	len = HEADER_SIZE + out.header.size;
	n = send(vu->sock, &out, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		return ft_fail(err, -errno, "cannot answer %s: %s", r->name, strerror(errno));
	/* A client asks, and waits; one that fills the socket does not. */
	return n == len ? 0 : bad(err, "it does not read its answers");
}

/* The message is in force; bring that about, and answer. */
static int carry_out(struct vu *vu, struct fterr *err)
{
	int ret = settle(vu, err);

	if (ret)
		return ret;
	ret = send_answer(vu, err);
	drop_fds(vu);
	vu->have = 0;
	return ret;
}

static int take_message(struct vu *vu, struct fterr *err)
{
	const struct request *r = find_request(vu->in.header.request);
	int ret = 0;

	if (vu->nfds > r->fds)
		return bad(err, "%s with %u descriptors", r->name, vu->nfds);
	if (r->apply)
		ret = r->apply(vu, err);
	if (ret < 0)
		return ft_fail_prefix(err, "%s: ", r->name);
	return carry_out(vu, err);
}

/* Keep what came; false: it is more than any message has. */
static bool take_fds(struct vu *vu, struct msghdr *msg)
{
	bool fit = !(msg->msg_flags & MSG_CTRUNC);
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (vu->nfds < ARRAY_SIZE(vu->fd)) {
				vu->fd[vu->nfds++] = fd;
			} else {
				close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

/*
 * Up to @end bytes of the message and not one more, as descriptors belong to
 * bytes. Returns 1: there they are, 0: not yet, or -errno.
 */
static int receive(struct vu *vu, size_t end, struct fterr *err)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VU_REGIONS * sizeof(int))];
	} control;

	while (vu->have < end) {
		struct iovec iov = { (char *)&vu->in + vu->have, end - vu->have };
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = &control, .msg_controllen = sizeof(control),
		};
		ssize_t n = recvmsg(vu->sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != ECONNRESET)
			return ft_fail(err, -errno, "cannot read from it: %s", strerror(errno));
		if (!take_fds(vu, &msg))
			return bad(err, "it sends more descriptors than a message has");
		if (n <= 0)
			return vu->have ? bad(err, "it hung up in the midst of a message") :
					  ft_fail(err, -ENOTCONN, "it hung up");
		vu->have += n;
	}
	return 1;
}

int vu_read(struct vu *vu, struct fterr *err)
{
	int ret;

	if (vu->doing != VU_IDLE)
		return VU_LATER;
	for (;;) {
		ret = receive(vu, HEADER_SIZE, err);
		if (ret <= 0)
			return ret;
		ret = check_header(vu, err);
		if (ret)
			return ret;
		ret = receive(vu, HEADER_SIZE + vu->in.header.size, err);
		if (ret <= 0)
			return ret;
		ret = take_message(vu, err);
		if (ret)
			return ret;
	}
}

int vu_finish(struct vu *vu, uint32_t base, struct fterr *err)
{
	int ret;

	operation_done(vu, base);
	ret = carry_out(vu, err);
	return ret ? ret : vu_read(vu, err);
}

uint64_t vu_kind_features(uint32_t kind)
{
	return kind == FTKVM_UAPI_DEV_BLK ? FEATURES_BLK : FEATURES_NET;
}

void vu_init(struct vu *vu, int sock, uint32_t kind, uint64_t features, const struct vu_ops *ops,
	     void *arg)
{
	bool blk = kind == FTKVM_UAPI_DEV_BLK;
	unsigned int n;

	memset(vu, 0, sizeof(*vu));
	vu->ops = ops;
	vu->arg = arg;
	vu->sock = sock;
	vu->offered = FEATURES_ALL | (features & vu_kind_features(kind));
	vu->protocol_offered = PROTOCOL_ALL | (blk ? PROTOCOL_BLK : 0);
	vu->nqueues = blk ? 1 : 2;
	for (n = 0; n < VU_QUEUES; n++)
		vu->queue[n] = (struct vu_queue) { .kick = -1, .call = -1 };
}

void vu_free(struct vu *vu)
{
	unsigned int n;

	drop_fds(vu);
	for (n = 0; n < VU_QUEUES; n++) {
		replace_fd(&vu->queue[n].kick, -1);
		replace_fd(&vu->queue[n].call, -1);
	}
}
