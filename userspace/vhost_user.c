// SPDX-License-Identifier: GPL-2.0
/*
 * vhost-user: one message at a time. A message changes what is wanted; then the
 * queues are brought to what is wanted, which may take a while; then the
 * message is answered.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include "nl_dev.h"
#include "vhost_request.h"

#define FLAG_VERSION	0x1
#define FLAG_VERSION_MASK 0x3
#define FLAG_REPLY	0x4
#define FLAG_NEED_REPLY	0x8

/* At a time: a client that goes on and on keeps nobody else waiting. QEMU begins with some 20. */
#define MESSAGES	32

/* Without a log there is no migration. QEMU's is not written to, as KVM keeps one of its own. */
#define PROTOCOL_ALL	(BIT(P_LOG_SHMFD) | BIT(P_REPLY_ACK))
#define PROTOCOL_BLK	(BIT(P_MQ) | BIT(P_CONFIG))

#define FEATURES_ALL	(BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_PROTOCOL_FEATURES) | BIT(VU_F_LOG_ALL) | \
			 BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define FEATURES_BLK	(BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) | \
			 BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_DISCARD) | \
			 BIT(VIRTIO_BLK_F_WRITE_ZEROES))
#define FEATURES_NET	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | \
			 BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
			 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | \
			 BIT(VIRTIO_NET_F_MRG_RXBUF))

/* --- from what is wanted to what is so ------------------------------------- */

static bool wanted(const struct vu *vu, const struct vu_queue *q)
{
	return q->assumed || ((q->kick >= 0 || q->kept) && q->num && q->placed &&
			      (q->enabled || !(vu->features & BIT(VU_F_PROTOCOL_FEATURES))));
}

static int start(struct vu *vu, unsigned int n, struct fterr *err)
{
	struct vu_queue *q = &vu->queue[n];

	if (!(vu->features & BIT(VIRTIO_F_VERSION_1)))
		return vu_bad(err, "the guest's driver does not know virtio 1; start QEMU with -device "
			      "...,disable-legacy=on, and the guest with a driver that does");
	if (!vu_find_rings(vu, q, &q->desc, &q->avail, &q->used))
		return vu_bad(err, "the rings of queue %u are outside the guest's memory; QEMU's guest memory must be "
			      "shared: " FT_MEMORY_OPTIONS, n);
	if (q->kick < 0)
		return vu_bad(err, "queue %u begins again with a descriptor that a former ftd had", n);
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
		q->based = true;
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

const char *vu_request_name(uint32_t request)
{
	const struct request *r = vu_find_request(request);

	return r ? r->name : "unknown";
}

static int check_header(const struct vu *vu, struct fterr *err)
{
	uint32_t number = vu->in.header.request, flags = vu->in.header.flags, size = vu->in.header.size;
	const struct request *r = vu_find_request(number);

	if ((flags & FLAG_VERSION_MASK) != FLAG_VERSION ||
	    (flags & ~(FLAG_VERSION_MASK | FLAG_NEED_REPLY)))
		return vu_bad(err, "its message %u has flags 0x%x; that is not vhost-user", number, flags);
	if (!r)
		return vu_bad(err, "it sends message %u (%u bytes), which is not known here", number, size);
	if (size < r->least || size > r->most)
		return vu_bad(err, "%s with %u bytes", r->name, size);
	if (r->protocol & ~vu->protocol)
		return vu_bad(err, "%s without the protocol feature for it", r->name);
	return 0;
}

void vu_close_fds(struct vu *vu)
{
	while (vu->nfds)
		close(vu->fd[--vu->nfds]);
}

static int send_answer(struct vu *vu, struct fterr *err)
{
	const struct request *r = vu_find_request(vu->in.header.request);
	struct vu_message out;
	ssize_t n, len;

	memset(&out, 0, sizeof(out));
	if (r->answer) {
		out.header.size = r->answer(vu, &out);
	} else if ((vu->in.header.flags & FLAG_NEED_REPLY) && (vu->protocol & BIT(P_REPLY_ACK))) {
		out.header.size = sizeof(out.u64);
		out.u64 = vu->outcome;
	} else {
		return 0;
	}
	out.header.request = vu->in.header.request;
	out.header.flags = FLAG_VERSION | FLAG_REPLY;
	len = HEADER_SIZE + out.header.size;
	n = send(vu->sock, &out, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		return ft_fail(err, -errno, "cannot answer %s: %s", r->name, strerror(errno));
	/* A client asks, and waits; one that fills the socket does not. */
	return n == len ? 0 : vu_bad(err, "it does not read its answers");
}

/* The message is in force; bring that about, and answer. */
static int carry_out(struct vu *vu, struct fterr *err)
{
	int ret = settle(vu, err);

	if (ret)
		return ret;
	vu->have = 0;
	ret = send_answer(vu, err);
	if (ret || !vu->nfds)
		return ret;
	vu->doing = VU_CLOSING;
	ret = vu->ops->close(vu, err);
	if (ret != VU_LATER)
		vu->doing = VU_IDLE;
	return ret;
}

static int take_message(struct vu *vu, struct fterr *err)
{
	const struct request *r = vu_find_request(vu->in.header.request);
	int ret = 0;

	if (vu->nfds > r->fds)
		return vu_bad(err, "%s with %u descriptors", r->name, vu->nfds);
	vu->outcome = 0;
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
			if (vu->nfds < ARRAY_SIZE(vu->fd))
				vu->fd[vu->nfds++] = fd;
			else
				close(fd);	/* there is room for two messages' */
		}
	}
	return fit && vu->nfds <= VU_REGIONS;
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
			return vu_bad(err, "it sends more descriptors than a message has");
		if (n <= 0)
			return vu->have ? vu_bad(err, "it hung up in the midst of a message") :
					  ft_fail(err, -ENOTCONN, "it hung up");
		vu->have += n;
	}
	return 1;
}

int vu_read(struct vu *vu, struct fterr *err)
{
	unsigned int i;
	int ret;

	if (vu->doing != VU_IDLE)
		return VU_LATER;
	for (i = 0; i < MESSAGES; i++) {
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
	return 0;
}

int vu_finish(struct vu *vu, uint32_t base, struct fterr *err)
{
	int ret;

	if (vu->doing == VU_CLOSING) {
		vu->doing = VU_IDLE;
		return vu_read(vu, err);
	}
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

	vu_close_fds(vu);
	for (n = 0; n < VU_QUEUES; n++) {
		vu_replace_fd(vu, &vu->queue[n].kick, -1);
		vu_replace_fd(vu, &vu->queue[n].call, -1);
		vu_close_fds(vu);
	}
}
