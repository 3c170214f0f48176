// SPDX-License-Identifier: GPL-2.0
/*
 * Frames over a stream socket that userspace connected.
 *
 * Waits are cut into slices, and time is counted by slices: so that a new
 * time-out takes effect soon, and that a host which itself stood still (a
 * debugger, an emulator that was stopped) does not blame its peer.
 */
#include <linux/err.h>
#include <linux/in.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/sprintf.h>
#include <linux/string.h>
#include <linux/tcp.h>
#include <linux/uio.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include "../fault/fault.h"
#include "wire.h"

#define FTKVM_WIRE_SLICE	(HZ / 4)	/* or a quarter of the time-out, if that is less */

static_assert(sizeof(struct ftkvm_frame_hdr) + sizeof(struct ftkvm_bye) <= FTKVM_WIRE_SMALL);
static_assert(sizeof(struct ftkvm_frame_hdr) + sizeof(struct ftkvm_hello) <= FTKVM_WIRE_SMALL);

/* The next slice to wait, given how long was waited already; 0: no more. */
static unsigned long ftkvm_wire_slice(const struct ftkvm_wire *w, unsigned long waited)
{
	unsigned long timeout = READ_ONCE(w->timeout);
	unsigned long slice = clamp(timeout / 4, 1ul, (unsigned long)FTKVM_WIRE_SLICE);

	return waited >= timeout ? 0 : min(timeout - waited, slice);
}

/* What a wait that began at @start counts for. */
static unsigned long ftkvm_wire_waited(unsigned long start, unsigned long slice)
{
	return clamp(jiffies - start, 1ul, slice);
}

/* Is this a socket that frames can travel on? */
static int ftkvm_wire_fit(const struct socket *sock, char *why, size_t size)
{
	const struct sock *sk = sock->sk;
	bool tcp = (sk->sk_family == AF_INET || sk->sk_family == AF_INET6) &&
		   sk->sk_protocol == IPPROTO_TCP;

	if (sock->type != SOCK_STREAM || (!tcp && sk->sk_family != AF_UNIX)) {
		scnprintf(why, size,
			  "the socket is of family %u, type %u, protocol %u: hand over a TCP or UNIX stream socket",
			  sk->sk_family, sock->type, sk->sk_protocol);
		return -EINVAL;
	}
	if (READ_ONCE(sk->sk_state) != TCP_ESTABLISHED) {
		scnprintf(why, size,
			  "the socket is not connected: connect it before it is handed over");
		return -ENOTCONN;
	}
	return 0;
}

/**
 * ftkvm_wire_socket() - the connected stream socket behind a descriptor
 * @fd: descriptor of the calling process
 * @why: the cause and its remedy on failure
 * @size: room at @why
 *
 * Context: Process; sleeps.
 * Return: the socket, with a reference for sockfd_put(), or ERR_PTR().
 */
struct socket *ftkvm_wire_socket(int fd, char *why, size_t size)
{
	struct socket *sock;
	int ret;

	sock = sockfd_lookup(fd, &ret);
	if (!sock) {
		scnprintf(why, size, "descriptor %d is not a socket: hand over a connected one",
			  fd);
		return ERR_PTR(ret);
	}
	ret = ftkvm_wire_fit(sock, why, size);
	if (!ret) {
		/* An acknowledgment that waits for company is an output that waits. */
		if (sock->sk->sk_family != AF_UNIX)
			tcp_sock_set_nodelay(sock->sk);
		return sock;
	}
	sockfd_put(sock);
	return ERR_PTR(ret);
}

/**
 * ftkvm_wire_open() - take over a socket
 * @w: zeroed, but for the time-out
 * @fd: descriptor of the calling process
 * @why: the cause and its remedy on failure
 * @size: room at @why
 *
 * Context: Process; sleeps.
 * Return: 0 or -errno.
 */
int ftkvm_wire_open(struct ftkvm_wire *w, int fd, char *why, size_t size)
{
	struct socket *sock = ftkvm_wire_socket(fd, why, size);
	int ret;

	if (IS_ERR(sock))
		return PTR_ERR(sock);
	ret = ftkvm_fault(FTKVM_FAULT_LINK_SOCKET);
	if (ret)
		goto err_put;

	ret = -ENOMEM;
	w->tx_frame = ftkvm_fault_alloc(LINK_TX_BUFFER,
					kvmalloc(FTKVM_FRAME_MAX + sizeof(struct ftkvm_frame_hdr),
						 GFP_KERNEL));
	w->rx_buf = ftkvm_fault_alloc(LINK_RX_BUFFER, kvmalloc(FTKVM_FRAME_MAX, GFP_KERNEL));
	if (!w->tx_frame || !w->rx_buf) {
		scnprintf(why, size, "out of memory: free some");
		goto err_free;
	}
	w->tx_buf = w->tx_frame + sizeof(struct ftkvm_frame_hdr);

	rt_mutex_init(&w->tx);
	w->heard = jiffies;
	w->sent = jiffies;
	w->sock = sock;
	return 0;

err_free:
	kvfree(w->tx_frame);
	kvfree(w->rx_buf);
err_put:
	sockfd_put(sock);
	return ret;
}

/**
 * ftkvm_wire_connected() - has the peer not hung up?
 * @w: an open wire
 *
 * Context: Any.
 * Return: whether it is connected still, as far as this host knows.
 */
bool ftkvm_wire_connected(const struct ftkvm_wire *w)
{
	const struct sock *sk = w->sock->sk;

	return READ_ONCE(sk->sk_state) == TCP_ESTABLISHED &&
	       !(READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN);
}

/**
 * ftkvm_wire_close() - let go of the socket, free the buffers
 * @w: nobody uses it any more
 *
 * Context: Process; sleeps.
 */
void ftkvm_wire_close(struct ftkvm_wire *w)
{
	sockfd_put(w->sock);
	kvfree(w->tx_frame);
	kvfree(w->rx_buf);
}

/**
 * ftkvm_wire_shutdown() - end whatever waits on the socket, now and later
 * @w: the wire
 *
 * What was sent before still reaches the peer.
 *
 * Context: Process; sleeps.
 */
void ftkvm_wire_shutdown(struct ftkvm_wire *w)
{
	kernel_sock_shutdown(w->sock, SHUT_RDWR);
}

/* Read @len bytes; *@waited is what the frame's earlier bytes took. */
static int ftkvm_wire_read(struct ftkvm_wire *w, void *buf, u32 len, unsigned long *waited)
{
	struct kvec vec = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = { };

	iov_iter_kvec(&msg.msg_iter, ITER_DEST, &vec, 1, len);
	while (msg_data_left(&msg)) {
		unsigned long slice = ftkvm_wire_slice(w, *waited);
		unsigned long start = jiffies;
		int n;

		if (!slice)
			return -ETIMEDOUT;
		WRITE_ONCE(w->sock->sk->sk_rcvtimeo, slice);
		n = ftkvm_fault_recvmsg(w->sock, &msg, MSG_WAITALL);
		if (n == 0)
			return -EPIPE;
		if (n < 0 && n != -EAGAIN)
			return n;
		if (n > 0)
			atomic64_add(n, &w->rx_bytes);
		if (msg_data_left(&msg))
			*waited += ftkvm_wire_waited(start, slice);
	}
	return 0;
}

/**
 * ftkvm_wire_recv() - receive a frame
 * @w: the wire; @w->rx_hdr and @w->rx_buf then hold the frame, checked
 *
 * Context: Process; sleeps, no longer than the time-out. One caller at a time.
 * Return: 0; -ETIMEDOUT when no whole frame came in time, -EPIPE when the peer
 * closed, -EBADMSG and -EPROTONOSUPPORT for a bad frame, -EINTR or
 * -ERESTARTSYS on a signal, or what else the socket says.
 */
int ftkvm_wire_recv(struct ftkvm_wire *w)
{
	unsigned long waited = 0;
	int ret;

	ret = ftkvm_wire_read(w, &w->rx_hdr, sizeof(w->rx_hdr), &waited);
	ftkvm_fault_data(FTKVM_FAULT_RECV_HEADER, &w->rx_hdr, sizeof(w->rx_hdr));
	if (!ret)
		ret = ftkvm_frame_check_hdr(&w->rx_hdr);
	if (!ret)
		ret = ftkvm_wire_read(w, w->rx_buf, le32_to_cpu(w->rx_hdr.len), &waited);
	if (!ret)
		ftkvm_fault_data(FTKVM_FAULT_RECV_FRAME, w->rx_buf, le32_to_cpu(w->rx_hdr.len));
	if (!ret)
		ret = ftkvm_frame_check(&w->rx_hdr, w->rx_buf);
	if (!ret)
		WRITE_ONCE(w->heard, jiffies);
	return ret;
}

/*
 * Send what @msg holds. On failure a part of it may have been sent. -EAGAIN only
 * with MSG_DONTWAIT in @flags.
 */
static int ftkvm_wire_write(struct ftkvm_wire *w, struct msghdr *msg, int flags)
{
	bool nowait = flags & MSG_DONTWAIT;
	unsigned long waited = 0;

	msg->msg_flags = MSG_NOSIGNAL | flags;
	while (msg_data_left(msg)) {
		unsigned long slice = ftkvm_wire_slice(w, waited);
		unsigned long start = jiffies;
		int n;

		if (!slice)
			return -ETIMEDOUT;
		WRITE_ONCE(w->sock->sk->sk_sndtimeo, slice);
		n = ftkvm_fault_sendmsg(w->sock, msg);
		if (n < 0 && (nowait || n != -EAGAIN))
			return n;
		if (n > 0)
			atomic64_add(n, &w->tx_bytes);
		if (msg_data_left(msg))
			waited += ftkvm_wire_waited(start, slice);
	}
	return 0;
}

/**
 * ftkvm_wire_flush() - send the rest of a frame that was begun
 * @w: the wire, @w->tx held
 * @nowait: only as much as the socket takes now
 *
 * Context: Process; sleeps unless @nowait, no longer than the time-out.
 * Return: 0 or -errno, with @nowait -EAGAIN; -EPIPE when the stream ended in the
 * midst of a large frame.
 */
int ftkvm_wire_flush(struct ftkvm_wire *w, bool nowait)
{
	struct kvec vec = {
		.iov_base = (void *)w->rest_of + w->rest_at,
		.iov_len = w->rest_len - w->rest_at,
	};
	struct msghdr msg = { };
	int ret;

	lockdep_assert_held(&w->tx);
	if (w->torn)
		return -EPIPE;
	if (!w->rest_len)
		return 0;
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, &vec, 1, vec.iov_len);
	ret = ftkvm_wire_write(w, &msg, nowait ? MSG_DONTWAIT : 0);
	w->rest_at = w->rest_len - msg_data_left(&msg);
	if (!ret) {
		w->rest_at = 0;
		w->rest_len = 0;
		WRITE_ONCE(w->sent, jiffies);
	}
	return ret;
}

/**
 * ftkvm_wire_send() - send a small frame
 * @w: the wire, @w->tx held
 * @type: enum ftkvm_frame_type, not DATA
 * @payload: the payload
 * @len: how many bytes of it
 * @nowait: only if the socket takes it now
 *
 * Context: Process; sleeps unless @nowait, no longer than the time-out.
 * Return: 0 when the frame was sent, or begun: then @w->rest_len is not 0 and
 * ftkvm_wire_flush() must be called. Else -errno, and it was not begun unless
 * the wire is of no more use: -EAGAIN with @nowait, -EINTR or -ERESTARTSYS on
 * a signal, -ETIMEDOUT, -EPIPE, -ECONNRESET, or what else the socket says.
 */
int ftkvm_wire_send(struct ftkvm_wire *w, u8 type, const void *payload, u32 len, bool nowait)
{
	struct ftkvm_frame_hdr h;
	int ret;

	if (WARN_ON_ONCE(sizeof(h) + len > sizeof(w->rest)))
		return -EINVAL;
	ret = ftkvm_wire_flush(w, nowait);
	if (ret)
		return ret;

	ftkvm_frame_seal(&h, type, 0, payload, len);
	memcpy(w->rest, &h, sizeof(h));
	if (len)
		memcpy(w->rest + sizeof(h), payload, len);
	w->rest_of = w->rest;
	w->rest_len = sizeof(h) + len;
	w->rest_at = 0;
	ret = ftkvm_fault_data(ftkvm_fault_typed(FTKVM_FAULT_SEND_HELLO, FTKVM_FAULT_SEND_BYE,
						 type), w->rest, w->rest_len) ?:
	      ftkvm_wire_flush(w, nowait);
	ftkvm_fault(ftkvm_fault_typed(FTKVM_FAULT_SENT_HELLO, FTKVM_FAULT_SENT_BYE, type));
	if (ret != -EAGAIN && ret != -EINTR && ret != -ERESTARTSYS)
		return ret;
	if (w->rest_at)
		return 0;
	w->rest_len = 0;
	return ret;
}

/* A frame that is too large to be kept if it is cut short: then the link dies of it. */
static int ftkvm_wire_send_large(struct ftkvm_wire *w, struct kvec *vec, int n, int flags)
{
	struct msghdr msg = { };
	size_t len = 0;
	int i, ret;

	for (i = 0; i < n; i++)
		len += vec[i].iov_len;
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, vec, n, len);
	ret = ftkvm_wire_write(w, &msg, flags);
	/* what is held back does not tell the peer that this one lives */
	if (!ret && !(flags & MSG_MORE))
		WRITE_ONCE(w->sent, jiffies);
	/* ... but not before others, who wait for @w->tx, have it. */
	w->torn = ret && msg_data_left(&msg) < len;
	return ret;
}

/**
 * ftkvm_wire_send_bulk() - send a BULK frame
 * @w: the wire, @w->tx held
 * @b: what the data are
 * @data: the data
 * @len: how many bytes of it, FTKVM_BULK_MAX at most
 *
 * Nobody needs it before the log that tells of it, which follows: so it may wait for that
 * in the socket, for a heartbeat at most.
 *
 * Context: Process that gets no signals; sleeps, no longer than the time-out.
 * Return: 0, or -errno and the wire is of no more use.
 */
int ftkvm_wire_send_bulk(struct ftkvm_wire *w, const struct ftkvm_bulk *b, const void *data,
			 u32 len)
{
	struct ftkvm_frame_hdr h;
	struct kvec vec[] = {
		{ .iov_base = &h, .iov_len = sizeof(h) },
		{ .iov_base = (void *)b, .iov_len = sizeof(*b) },
		{ .iov_base = (void *)data, .iov_len = len },
	};
	int ret;

	ret = ftkvm_wire_flush(w, false);
	if (ret)
		return ret;
	ftkvm_frame_seal_bulk(&h, b, data, len);
	ret = ftkvm_fault_data(FTKVM_FAULT_SEND_BULK, &h, sizeof(h)) ?:
	      ftkvm_wire_send_large(w, vec, ARRAY_SIZE(vec), MSG_MORE);
	ftkvm_fault(FTKVM_FAULT_SENT_BULK);
	return ret;
}

/**
 * ftkvm_wire_send_data() - send a DATA frame
 * @w: the wire, @w->tx held, with no rest of another frame; the payload is in @w->tx_buf
 * @off: offset in the log of its first byte
 * @len: how many bytes of it
 * @nowait: only as much as the socket takes now
 *
 * Context: Process; sleeps unless @nowait, no longer than the time-out. Without @nowait one
 * that gets no signals.
 * Return: 0 when the frame was sent, or with @nowait begun: then @w->rest_len is not 0 and
 * ftkvm_wire_flush() must be called, before @w->tx_buf is filled anew. Else -errno and the
 * wire is of no more use.
 */
int ftkvm_wire_send_data(struct ftkvm_wire *w, u64 off, u32 len, bool nowait)
{
	struct ftkvm_frame_hdr *h = (struct ftkvm_frame_hdr *)w->tx_frame;
	int ret;

	if (w->torn)
		return -EPIPE;
	if (WARN_ON_ONCE(w->rest_len))
		return -EINVAL;
	ftkvm_frame_seal(h, FTKVM_FRAME_DATA, off, w->tx_buf, len);
	ret = ftkvm_fault_data(FTKVM_FAULT_SEND_DATA, w->tx_buf, len);
	if (!ret) {
		w->rest_of = w->tx_frame;
		w->rest_len = sizeof(*h) + len;
		w->rest_at = 0;
		ret = ftkvm_wire_flush(w, nowait);
		/* the link dies of it: nobody is to go on with the rest */
		w->torn = !nowait && ret && w->rest_at;
	}
	ftkvm_fault(FTKVM_FAULT_SENT_DATA);
	return nowait && (ret == -EAGAIN || ret == -EINTR || ret == -ERESTARTSYS) ? 0 : ret;
}
