/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The wire: whole frames over a stream socket. No threads, no policy; link.c has
 * both.
 */
#ifndef FTKVM_LINK_WIRE_H
#define FTKVM_LINK_WIRE_H

#include <linux/atomic.h>
#include <linux/rtmutex.h>
#include <linux/types.h>
#include "../core/frame.h"

struct socket;

/* Every frame but DATA fits. */
#define FTKVM_WIRE_SMALL	256

/**
 * struct ftkvm_wire - a socket and what is half sent or half received
 * @sock: the socket; a reference to its file is held
 * @timeout: longest silence or blocked send, jiffies
 * @heard: when a whole frame last came, jiffies
 * @sent: when a frame last left, jiffies
 * @tx_bytes: sent so far
 * @rx_bytes: received so far
 * @tx: held to send, for a frame at a time
 * @rest: room for a small frame; this and those up to @tx_buf: under @tx
 * @rest_of: the frame on its way, in @rest or @tx_frame
 * @rest_at: how much of it is sent
 * @rest_len: how long it is; 0: none
 * @torn: a large frame was cut short: whatever followed would be taken for its rest
 * @tx_frame: room for a DATA frame
 * @tx_buf: its payload
 * @rx_hdr: the frame received last; this and @rx_buf are the receiver's
 * @rx_buf: its payload
 */
struct ftkvm_wire {
	struct socket *sock;
	unsigned long timeout;
	unsigned long heard;
	unsigned long sent;
	atomic64_t tx_bytes;
	atomic64_t rx_bytes;

	struct rt_mutex tx;	/* guards what is being sent; a beat that waits lends its priority */
	u8 rest[FTKVM_WIRE_SMALL];
	const u8 *rest_of;
	u32 rest_at;
	u32 rest_len;
	bool torn;
	u8 *tx_frame;
	u8 *tx_buf;

	struct ftkvm_frame_hdr rx_hdr;
	u8 *rx_buf;
};

struct socket *ftkvm_wire_socket(int fd, char *why, size_t size);
int ftkvm_wire_open(struct ftkvm_wire *w, int fd, char *why, size_t size);
bool ftkvm_wire_connected(const struct ftkvm_wire *w);
void ftkvm_wire_close(struct ftkvm_wire *w);
void ftkvm_wire_shutdown(struct ftkvm_wire *w);

int ftkvm_wire_recv(struct ftkvm_wire *w);

/* These with @w->tx held. */
int ftkvm_wire_send(struct ftkvm_wire *w, u8 type, const void *payload, u32 len, bool nowait);
int ftkvm_wire_send_bulk(struct ftkvm_wire *w, const struct ftkvm_bulk *b, const void *data,
			 u32 len);
int ftkvm_wire_send_data(struct ftkvm_wire *w, u64 off, u32 len, bool nowait);
int ftkvm_wire_flush(struct ftkvm_wire *w, bool nowait);

#endif
