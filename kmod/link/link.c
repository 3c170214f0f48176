// SPDX-License-Identifier: GPL-2.0
/*
 * The link: a send thread (tx.c) and a receive thread (rx.c) over a wire (wire.c).
 *
 * It dies once, of whatever comes first. Whoever notices says why and shuts the
 * socket down, which ends every wait on it; the thread that leaves last tells the
 * replica.
 */
#include <linux/bitops.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/sprintf.h>
#include <linux/string.h>

#include "../fault/fault.h"
#include "internal.h"

/**
 * ftkvm_link_wake() - let the send thread look at what there is to do
 * @l: the link
 *
 * Context: Any but NMI.
 */
void ftkvm_link_wake(struct ftkvm_link *l)
{
	/* Pairs with the release in ftkvm_link_start(). */
	struct task_struct *tx = smp_load_acquire(&l->tx);

	if (tx)
		wake_up_process(tx);
}

/**
 * ftkvm_link_fail_wire() - the link dies of an error of the wire
 * @l: the link
 * @err: -errno
 *
 * Context: Process; sleeps.
 */
void ftkvm_link_fail_wire(struct ftkvm_link *l, int err)
{
	unsigned int ms = jiffies_to_msecs(READ_ONCE(l->wire.timeout));
	char text[FTKVM_DETAIL_MAX + 1];

	switch (err) {
	case -EPIPE:
	case -ENOTCONN:
		ftkvm_link_fail(l, FTKVM_REASON_PEER_CLOSED, "the peer closed the connection");
		return;
	case -ECONNRESET:
	case -ECONNABORTED:
		ftkvm_link_fail(l, FTKVM_REASON_PEER_CLOSED, "the peer reset the connection");
		return;
	case -ETIMEDOUT:
		scnprintf(text, sizeof(text), "the peer was silent for %u ms", ms);
		ftkvm_link_fail(l, FTKVM_REASON_PEER_SILENT, text);
		return;
	case -EHOSTUNREACH:
	case -EHOSTDOWN:
	case -ENETUNREACH:
	case -ENETDOWN:
		scnprintf(text, sizeof(text), "the network does not reach the peer (error %d)",
			  -err);
		ftkvm_link_fail(l, FTKVM_REASON_PEER_SILENT, text);
		return;
	case -EBADMSG:
		ftkvm_link_fail(l, FTKVM_REASON_PEER_GARBLED,
				"the peer sent what is not a frame, or damaged");
		return;
	case -EINVAL:
	case -EIO:
	case -EMSGSIZE:
		/* the kernel's TLS: no record, or one that is not for us */
		ftkvm_link_fail(l, FTKVM_REASON_PEER_GARBLED,
				"what came is not what the peer sent: the socket's TLS refuses it");
		return;
	case -EPROTONOSUPPORT:
		ftkvm_link_fail(l, FTKVM_REASON_PEER_VERSION,
				"the peer sent a frame of another protocol version");
		return;
	default:
		scnprintf(text, sizeof(text), "the socket failed (error %d)", -err);
		ftkvm_link_fail(l, FTKVM_REASON_LOCAL, text);
	}
}

/**
 * ftkvm_link_leave() - both threads end with this; the last tells the replica
 * @l: the link, dead
 *
 * Context: The thread; sleeps.
 */
void ftkvm_link_leave(struct ftkvm_link *l)
{
	/* Full barrier: the other thread's last upcall is over. */
	if (!atomic_dec_and_test(&l->running))
		return;
	ftkvm_fault(FTKVM_FAULT_LINK_LEFT);
	l->ops->down(l->priv, l->reason, l->detail);
}

/**
 * ftkvm_link_create() - take over a connected stream socket
 * @fd: descriptor of the calling process; TCP or UNIX
 * @ops: upcalls
 * @priv: their argument
 * @timeout_ms: silence or a blocked send longer than this kills the link
 * @why: the cause and its remedy on failure
 * @size: room at @why
 *
 * No thread runs yet. The socket is shut down when the link ends, whoever else
 * holds it.
 *
 * Context: Process; sleeps.
 * Return: the link or ERR_PTR().
 */
struct ftkvm_link *ftkvm_link_create(int fd, const struct ftkvm_link_ops *ops, void *priv,
				     unsigned int timeout_ms, char *why, size_t size)
{
	struct ftkvm_link *l = ftkvm_fault_alloc(LINK_ALLOC, kzalloc(sizeof(*l), GFP_KERNEL));
	int ret;

	if (!l) {
		scnprintf(why, size, "out of memory: free some");
		return ERR_PTR(-ENOMEM);
	}
	l->ops = ops;
	l->priv = priv;
	raw_spin_lock_init(&l->lock);
	ftkvm_link_set_timeout(l, timeout_ms);
	ret = ftkvm_wire_open(&l->wire, fd, why, size);
	if (ret) {
		kfree(l);
		return ERR_PTR(ret);
	}
	return l;
}

/**
 * ftkvm_link_set_timeout() - change the time-out
 * @l: the link
 * @timeout_ms: from now on
 *
 * Context: Any. A wait that goes on notices within a quarter of a second.
 */
void ftkvm_link_set_timeout(struct ftkvm_link *l, unsigned int timeout_ms)
{
	WRITE_ONCE(l->wire.timeout, max(msecs_to_jiffies(timeout_ms), 1ul));
}

/* The operator reads "cause: remedy". */
static void ftkvm_link_hello_why(const struct ftkvm_link *l, int err, char *why, size_t size)
{
	unsigned int ms = jiffies_to_msecs(READ_ONCE(l->wire.timeout));

	switch (err) {
	case -EINTR:
	case -ERESTARTSYS:
		scnprintf(why, size, "interrupted while waiting for the peer: pair again");
		break;
	case -ETIMEDOUT:
		scnprintf(why, size,
			  "the peer's module did not answer within %u ms: see that the peer pairs, too, or allow a longer time-out",
			  ms);
		break;
	case -EPIPE:
	case -ECONNRESET:
		scnprintf(why, size,
			  "the peer closed the connection: its host says why (ftctl status there)");
		break;
	case -EPROTONOSUPPORT:
		scnprintf(why, size,
			  "the peer's module speaks another protocol version: load the same ftkvm module on both hosts");
		break;
	case -EBADMSG:
		scnprintf(why, size,
			  "what answered is no ftkvm module: connect the socket to the peer's ftd");
		break;
	default:
		scnprintf(why, size,
			  "the connection to the peer failed with error %d: mend the network, then pair again",
			  -err);
	}
}

/**
 * ftkvm_link_hello() - exchange HELLOs
 * @l: a link that is not started
 * @us: what the peer shall know of this side
 * @peer: filled in with what it says of itself, unjudged
 * @why: the cause and its remedy on failure
 * @size: room at @why
 *
 * The peer's module may have to look at much before it answers, and nobody beats yet: so
 * it has FTKVM_PATIENCE_MS, however soon silence means something later.
 *
 * Context: Process; sleeps interruptibly, for twice that or two time-outs at most.
 * Return: 0 or -errno.
 */
int ftkvm_link_hello(struct ftkvm_link *l, const struct ftkvm_hello *us,
		     struct ftkvm_hello *peer, char *why, size_t size)
{
	struct ftkvm_wire *w = &l->wire;
	unsigned long timeout = w->timeout;
	int ret;

	WRITE_ONCE(w->timeout, max(timeout, msecs_to_jiffies(FTKVM_PATIENCE_MS)));
	rt_mutex_lock(&w->tx);
	ret = ftkvm_wire_send(w, FTKVM_FRAME_HELLO, us, sizeof(*us), false);
	/* a signal can have left a part of it */
	if (!ret && w->rest_len)
		ret = -EINTR;
	rt_mutex_unlock(&w->tx);
	if (!ret)
		ret = ftkvm_wire_recv(w);
	if (!ret && (w->rx_hdr.type != FTKVM_FRAME_HELLO || w->rx_hdr.seq))
		ret = -EBADMSG;
	if (!ret)
		ret = ftkvm_fault(FTKVM_FAULT_GOT_HELLO);
	if (ret)
		ftkvm_link_hello_why(l, ret, why, size);
	else
		memcpy(peer, w->rx_buf, sizeof(*peer));
	WRITE_ONCE(w->timeout, timeout);
	return ret;
}

/**
 * ftkvm_link_answered() - is the peer still there behind its HELLO?
 * @l: a link that is not started, after ftkvm_link_hello()
 * @why: the cause and its remedy if it is not
 * @size: room at @why
 *
 * A peer that has lost patience, or that has found a difference first, hung up behind its
 * HELLO. A backup that armed for it would be one whose pairing failed, and its guest could
 * not be paired again. For whoever has compared the HELLOs: a difference is a better cause.
 *
 * Context: Process.
 * Return: 0 or -ECONNRESET.
 */
int ftkvm_link_answered(const struct ftkvm_link *l, char *why, size_t size)
{
	if (ftkvm_wire_connected(&l->wire))
		return 0;
	ftkvm_link_hello_why(l, -ECONNRESET, why, size);
	return -ECONNRESET;
}

/**
 * ftkvm_link_start() - start the threads
 * @l: the link
 * @name: the replica's, for the threads' names
 *
 * Context: Process; sleeps.
 * Return: 0 or -errno; only after 0 will there be upcalls.
 */
int ftkvm_link_start(struct ftkvm_link *l, const char *name)
{
	struct task_struct *rx, *tx;
	int ret;

	ret = ftkvm_fault(FTKVM_FAULT_LINK_RX_THREAD);
	rx = ret ? ERR_PTR(ret) : kthread_create(ftkvm_link_rx, l, "ftkvm-rx/%s", name);
	if (IS_ERR(rx))
		return PTR_ERR(rx);
	ret = ftkvm_fault(FTKVM_FAULT_LINK_TX_THREAD);
	tx = ret ? ERR_PTR(ret) : kthread_create(ftkvm_link_tx, l, "ftkvm-tx/%s", name);
	if (IS_ERR(tx)) {
		kthread_stop(rx);
		return PTR_ERR(tx);
	}
	/* They end by themselves when the link dies; destroy still looks at them. */
	get_task_struct(rx);
	get_task_struct(tx);
	/* What waits for them holds up a guest. */
	sched_set_fifo_low(rx);
	sched_set_fifo_low(tx);

	l->chatter_since = jiffies;
	WRITE_ONCE(l->wire.heard, jiffies);
	atomic_set(&l->running, 2);
	l->rx = rx;
	/* Pairs with the acquire in ftkvm_link_wake(). */
	smp_store_release(&l->tx, tx);
	wake_up_process(rx);
	wake_up_process(tx);
	return 0;
}

/**
 * ftkvm_link_kick() - there may be log bytes to pull
 * @l: the link
 *
 * Context: Any but NMI; does not sleep.
 */
void ftkvm_link_kick(struct ftkvm_link *l)
{
	/* If it was set, somebody woke the thread and it has not pulled since. */
	if (!test_and_set_bit(FTKVM_LINK_KICK, &l->flags))
		ftkvm_link_wake(l);
}

/* What a sender that is none of the link's threads met; with wire.tx held. */
static void ftkvm_link_send_failed(struct ftkvm_link *l, int err)
{
	if (err == -EPIPE || err == -ECONNRESET) {
		/*
		 * The stream may have been torn by the send thread, which names the
		 * reason; and what the peer said before it closed is to be heard. The
		 * send thread sees to both.
		 */
		set_bit(FTKVM_LINK_MUTE, &l->flags);
		ftkvm_link_wake(l);
	} else {
		/* ... before others find the stream torn */
		ftkvm_link_fail_wire(l, err);
	}
}

/**
 * ftkvm_link_push() - as ftkvm_link_kick(), and somebody waits for it
 * @l: the link
 *
 * Sends from here what the socket takes at once: no other thread needs to be scheduled
 * first. The send thread does the rest.
 *
 * Context: Process; does not wait for the peer.
 */
void ftkvm_link_push(struct ftkvm_link *l)
{
	int ret = -EAGAIN;
	bool rest = false;

	/* Pairs with the release in ftkvm_link_start(). */
	if (smp_load_acquire(&l->tx) && ftkvm_link_alive(l) && rt_mutex_trylock(&l->wire.tx)) {
		ret = ftkvm_link_send_log(l, true);
		rest = l->wire.rest_len;
		if (rest)
			set_bit(FTKVM_LINK_REST, &l->flags);
		else if (ret < 0)
			ftkvm_link_send_failed(l, ret);
		rt_mutex_unlock(&l->wire.tx);
	}
	if (ret == -EAGAIN || ret == FTKVM_FRAME_MAX)
		ftkvm_link_kick(l);
	else if (rest)
		ftkvm_link_wake(l);
}

/* Is there something to be said at once that has not been? No figure goes back. */
static bool ftkvm_link_want(struct ftkvm_link *l, u64 received, u64 consumed, u64 epoch, bool later)
{
	struct ftkvm_link_acks want;
	unsigned long flags;
	bool news;

	raw_spin_lock_irqsave(&l->lock, flags);
	/* who consumes need not have heard yet that it is held */
	want.received = max3(l->want.received, received, consumed);
	want.consumed = max(l->want.consumed, consumed);
	want.epoch = max(l->want.epoch, epoch);
	news = l->later || memcmp(&want, &l->want, sizeof(want));
	l->want = want;
	l->later = news && later;
	raw_spin_unlock_irqrestore(&l->lock, flags);
	return news && !later;
}

/**
 * ftkvm_link_ack() - acknowledge
 * @l: the link
 * @received: log bytes held
 * @consumed: log bytes that the guest has gone past
 * @epoch: epochs that the guest has completed
 *
 * Called from several contexts, each of which may know one of the figures late:
 * none of them goes back.
 *
 * Context: Any but NMI; does not sleep.
 */
void ftkvm_link_ack(struct ftkvm_link *l, u64 received, u64 consumed, u64 epoch)
{
	ftkvm_fault(FTKVM_FAULT_LINK_ACK);
	if (!ftkvm_link_want(l, received, consumed, epoch, false))
		return;

	/* The receive thread, in an upcall, looks when the upcall is over. */
	if (!test_and_set_bit(FTKVM_LINK_ACK, &l->flags) &&
	    !(in_task() && current == READ_ONCE(l->rx)))
		ftkvm_link_wake(l);
}

/**
 * ftkvm_link_ack_later() - acknowledge what nobody waits for
 * @l: the link
 * @received: log bytes held
 * @consumed: log bytes that the guest has gone past
 * @epoch: epochs that the guest has completed
 *
 * Goes with what ftkvm_link_ack() sends next, or instead of the next heartbeat.
 *
 * Context: Any but NMI; does not sleep.
 */
void ftkvm_link_ack_later(struct ftkvm_link *l, u64 received, u64 consumed, u64 epoch)
{
	ftkvm_link_want(l, received, consumed, epoch, true);
}

/**
 * ftkvm_link_send() - send a control frame
 * @l: the link, started
 * @type: FTKVM_FRAME_START or FTKVM_FRAME_BYE
 * @payload: its payload
 * @len: how many bytes of it
 *
 * It overtakes log bytes that have not been pulled.
 *
 * Context: Process; sleeps interruptibly, for two time-outs at most.
 * Return: 0 or -errno. An error other than -EINTR or -ERESTARTSYS ends the link.
 */
int ftkvm_link_send(struct ftkvm_link *l, u8 type, const void *payload, u32 len)
{
	bool rest;
	int ret;

	if (!ftkvm_link_alive(l))
		return -EPIPE;
	ret = rt_mutex_lock_interruptible(&l->wire.tx);
	if (ret)
		return ret;
	ret = ftkvm_wire_send(&l->wire, type, payload, len, false);
	rest = l->wire.rest_len;
	if (rest)
		set_bit(FTKVM_LINK_REST, &l->flags);
	rt_mutex_unlock(&l->wire.tx);

	/* What a signal left, and any error, is the send thread's. */
	if (rest)
		ftkvm_link_wake(l);
	if (ret == -ETIMEDOUT)
		ftkvm_link_fail_wire(l, ret);
	return ret;
}

/* see link.h */
int ftkvm_link_send_bulk(struct ftkvm_link *l, const struct ftkvm_bulk *b, const void *data,
			 u32 len)
{
	int ret;

	if (!ftkvm_link_alive(l))
		return -ENOTCONN;
	rt_mutex_lock(&l->wire.tx);
	ret = ftkvm_wire_send_bulk(&l->wire, b, data, len);
	if (ret)
		ftkvm_link_send_failed(l, ret);
	rt_mutex_unlock(&l->wire.tx);
	return ret;
}

/**
 * ftkvm_link_silence_ms() - how long has the peer been silent?
 * @l: the link
 *
 * Context: Any.
 * Return: milliseconds since a whole frame came.
 */
unsigned int ftkvm_link_silence_ms(const struct ftkvm_link *l)
{
	return jiffies_to_msecs(jiffies - READ_ONCE(l->wire.heard));
}

/**
 * ftkvm_link_alive() - can the peer be talked to?
 * @l: the link
 *
 * Context: Any.
 * Return: false once the link is dead, or about to be.
 */
bool ftkvm_link_alive(const struct ftkvm_link *l)
{
	return !ftkvm_link_dead(l) && !test_bit(FTKVM_LINK_MUTE, &l->flags);
}

/**
 * ftkvm_link_bytes() - bytes on the wire so far
 * @l: the link
 * @tx: sent
 * @rx: received
 *
 * Context: Any.
 */
void ftkvm_link_bytes(const struct ftkvm_link *l, u64 *tx, u64 *rx)
{
	*tx = atomic64_read(&l->wire.tx_bytes);
	*rx = atomic64_read(&l->wire.rx_bytes);
}

/**
 * ftkvm_link_fail() - declare the link dead
 * @l: the link
 * @reason: enum ftkvm_reason
 * @detail: the same in words
 *
 * If it is dead already, nothing happens: the first reason stays.
 *
 * Context: Process; sleeps, but does not wait for the threads. Upcalls may call it.
 */
void ftkvm_link_fail(struct ftkvm_link *l, int reason, const char *detail)
{
	unsigned long flags;
	bool first;

	raw_spin_lock_irqsave(&l->lock, flags);
	first = !l->dead;
	if (first) {
		l->reason = reason;
		strscpy(l->detail, detail, sizeof(l->detail));
		/* Pairs with the acquire in ftkvm_link_dead(). */
		smp_store_release(&l->dead, true);
	}
	raw_spin_unlock_irqrestore(&l->lock, flags);
	if (!first)
		return;

	ftkvm_fault(FTKVM_FAULT_LINK_DIES);
	ftkvm_wire_shutdown(&l->wire);
	ftkvm_link_wake(l);
}

/**
 * ftkvm_link_stop() - end the link
 * @l: the link, which others may use yet; they find it dead
 *
 * A link that lives dies of FTKVM_REASON_UNPAIRED. When this returns, down() is
 * over.
 *
 * Context: Process; sleeps until upcalls that go on are over. Not from an upcall.
 */
void ftkvm_link_stop(struct ftkvm_link *l)
{
	ftkvm_link_fail(l, FTKVM_REASON_UNPAIRED, "this side ended the link");
	if (!l->tx || l->stopped)
		return;
	kthread_stop(l->rx);
	kthread_stop(l->tx);
	l->stopped = true;
}

/**
 * ftkvm_link_destroy() - end the link and free it
 * @l: the link; nobody else uses it any more
 *
 * As ftkvm_link_stop(), which may have been called.
 *
 * Context: Process; sleeps until upcalls that go on are over. Not from an upcall.
 */
void ftkvm_link_destroy(struct ftkvm_link *l)
{
	ftkvm_link_stop(l);
	if (l->tx) {
		put_task_struct(l->rx);
		put_task_struct(l->tx);
	}
	ftkvm_wire_close(&l->wire);
	kfree(l);
}
