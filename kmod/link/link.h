/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The link: a connected stream socket that userspace handed over, carrying
 * core/frame.h frames. Two kernel threads, one for each direction.
 */
#ifndef FTKVM_LINK_H
#define FTKVM_LINK_H

#include <linux/types.h>

/*
 * For how long the peer may be busy with what it was asked for, while it is heard: silence
 * is another thing, and the time-out's. It is no shorter than that.
 */
#define FTKVM_PATIENCE_MS	3000

struct ftkvm_link;
struct ftkvm_hello;
struct ftkvm_bulk;

/**
 * struct ftkvm_link_ops - upcalls; process context, may sleep, no locks held
 * @data: log bytes arrived in order (@off checked by the link to be where the
 *	last ended). 0, or -errno which ends the link. receive thread
 * @ack: the peer acknowledged; -errno ends the link. receive thread
 * @frame: any other frame (START, BYE), checked. receive thread
 * @bulk: a BULK frame, checked but for what is in it. receive thread
 * @pull: give up to @size log bytes to send, and the offset of the first; 0 when
 *	there are none (or flow control forbids). send thread, or ftkvm_link_push()
 * @down: the link is dead; called exactly once per link that was started, when no
 *	other upcall runs or will begin. @reason: enum ftkvm_reason. From one of
 *	the two threads
 *
 * The link sees to it that log offsets begin at 0 and have no gap, either way. An
 * upcall that fails ends the link with a reason made from its -errno (-EBADMSG:
 * PEER_GARBLED, else LOCAL); to name another, it calls ftkvm_link_fail() first.
 * While an upcall of a thread waits, that thread does nothing else.
 */
struct ftkvm_link_ops {
	int (*data)(void *priv, u64 off, const u8 *buf, u32 len);
	int (*ack)(void *priv, u64 received, u64 consumed, u64 epoch);
	int (*frame)(void *priv, u8 type, const void *payload, u32 len);
	int (*bulk)(void *priv, const void *payload, u32 len);
	u32 (*pull)(void *priv, u8 *buf, u32 size, u64 *off);
	void (*down)(void *priv, int reason, const char *detail);
};

/*
 * Take over the connected stream socket @fd of the calling process (TCP or
 * UNIX; anything else: -EINVAL with an extack-ready text in @why). Sets
 * TCP_NODELAY, send time-out, no SIGPIPE. No thread runs yet.
 * @timeout_ms: silence or a blocked send longer than this kills the link.
 * Can sleep. Return: link or ERR_PTR().
 */
struct ftkvm_link *ftkvm_link_create(int fd, const struct ftkvm_link_ops *ops, void *priv,
				     unsigned int timeout_ms, char *why, size_t size);

/*
 * Exchange HELLOs, in the caller's context, before the threads run.
 * Interruptible; bounded by FTKVM_PATIENCE_MS, or the time-out if that is longer: before
 * the threads run nobody beats, and the peer has to be asked to pair. @peer is filled in. 0 or -errno
 * (-ETIMEDOUT, -EPROTONOSUPPORT, -EBADMSG, -ECONNRESET, -ERESTARTSYS...), text
 * in @why. Comparing is the caller's.
 */
int ftkvm_link_hello(struct ftkvm_link *l, const struct ftkvm_hello *us,
		     struct ftkvm_hello *peer, char *why, size_t size);
int ftkvm_link_answered(const struct ftkvm_link *l, char *why, size_t size);

/* Start the threads (named ftkvm-rx/<name>, ftkvm-tx/<name>; SCHED_FIFO low). */
int ftkvm_link_start(struct ftkvm_link *l, const char *name);

/* Change the time-out. Any context. */
void ftkvm_link_set_timeout(struct ftkvm_link *l, unsigned int timeout_ms);

/* There may be log bytes to pull. Any context but NMI; never sleeps. */
void ftkvm_link_kick(struct ftkvm_link *l);

/*
 * The same, sent from here as far as the socket takes it at once. Process context; does not
 * wait for the peer. @pull may be called meanwhile.
 */
void ftkvm_link_push(struct ftkvm_link *l);

/*
 * Acknowledge: remembered and sent by the send thread, or at once by the
 * receive thread itself after @data. Later calls overtake earlier ones; none of
 * the figures ever goes back. Any context but NMI.
 */
void ftkvm_link_ack(struct ftkvm_link *l, u64 received, u64 consumed, u64 epoch);

/* The same, of what nobody waits for: with the next acknowledgment or heartbeat. */
void ftkvm_link_ack_later(struct ftkvm_link *l, u64 received, u64 consumed, u64 epoch);

/*
 * Send a control frame (START, BYE). Can sleep, interruptibly, bounded by the
 * time-out. It overtakes log bytes that were not pulled yet; if the link is
 * failed or destroyed afterwards, it still reaches the peer.
 */
int ftkvm_link_send(struct ftkvm_link *l, u8 type, const void *payload, u32 len);

/*
 * Send a BULK frame: @b and @len bytes, FTKVM_BULK_MAX at most. Not from a thread that
 * gets signals; can sleep, bounded by the time-out. It overtakes log bytes that were
 * not pulled yet. Return: 0 or -errno: the link dies of it.
 */
int ftkvm_link_send_bulk(struct ftkvm_link *l, const struct ftkvm_bulk *b, const void *data,
			 u32 len);

/* Milliseconds since the peer was last heard. Any context. */
unsigned int ftkvm_link_silence_ms(const struct ftkvm_link *l);
bool ftkvm_link_alive(const struct ftkvm_link *l);
/* bytes on the wire so far, each way */
void ftkvm_link_bytes(const struct ftkvm_link *l, u64 *tx, u64 *rx);

/*
 * Declare the link dead (@down is called unless it was already): shuts the
 * socket down so that both threads end. Process context; does not wait.
 */
void ftkvm_link_fail(struct ftkvm_link *l, int reason, const char *detail);

/* Fail (UNPAIRED, if it was not dead), wait for both threads. No upcall comes afterwards. */
void ftkvm_link_stop(struct ftkvm_link *l);

/*
 * Fail (UNPAIRED, if it was not dead), wait for both threads, free. No upcall
 * comes afterwards. Not from an upcall. Can sleep.
 */
void ftkvm_link_destroy(struct ftkvm_link *l);

#endif
