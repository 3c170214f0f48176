// SPDX-License-Identifier: GPL-2.0
/*
 * The receive thread: checks what the peer sends and hands it to the replica.
 *
 * It never waits to send: an acknowledgment that the socket does not take at
 * once is left to the send thread. So it always drains the socket, and two hosts
 * that send to each other can't block each other.
 */
#include <linux/bitops.h>
#include <linux/jiffies.h>
#include <linux/sched.h>
#include <linux/sprintf.h>
#include <linux/string.h>

#include "../fault/fault.h"
#include "internal.h"

/* Frames that say nothing new, in a second: a sane peer sends some twenty. */
#define FTKVM_LINK_CHATTER_MAX	1000

/* A peer that sends without saying anything would keep this host busy. */
static int ftkvm_link_chatter(struct ftkvm_link *l)
{
	if (time_after(jiffies, l->chatter_since + HZ)) {
		l->chatter_since = jiffies;
		l->chatter = 0;
	}
	if (++l->chatter <= FTKVM_LINK_CHATTER_MAX)
		return 0;
	ftkvm_link_fail(l, FTKVM_REASON_PEER_GARBLED, "the peer floods the link with idle frames");
	return -EBADMSG;
}

/* An upcall's error says nothing about the socket; what it says comes first. */
static int ftkvm_link_upcall(struct ftkvm_link *l, int ret)
{
	char text[FTKVM_DETAIL_MAX + 1];

	if (!ret || ftkvm_link_dead(l))
		return ret;
	if (ret == -EBADMSG) {
		scnprintf(text, sizeof(text), "the peer sent a frame that makes no sense (type %u)",
			  l->wire.rx_hdr.type);
		ftkvm_link_fail(l, FTKVM_REASON_PEER_GARBLED, text);
	} else {
		scnprintf(text, sizeof(text),
			  "what the peer sent could not be taken (type %u, error %d)",
			  l->wire.rx_hdr.type, -ret);
		ftkvm_link_fail(l, FTKVM_REASON_LOCAL, text);
	}
	return ret;
}

static int ftkvm_link_rx_data(struct ftkvm_link *l)
{
	u64 off = le64_to_cpu(l->wire.rx_hdr.seq);
	u32 len = le32_to_cpu(l->wire.rx_hdr.len);
	char text[FTKVM_DETAIL_MAX + 1];

	if (off != l->rx_off) {
		scnprintf(text, sizeof(text), "the peer sent log byte %llu where %llu was due",
			  off, l->rx_off);
		ftkvm_link_fail(l, FTKVM_REASON_PEER_GARBLED, text);
		return -EBADMSG;
	}
	l->rx_off += len;
	return ftkvm_link_upcall(l, l->ops->data(l->priv, off, l->wire.rx_buf, len));
}

static int ftkvm_link_rx_ack(struct ftkvm_link *l)
{
	const struct ftkvm_ack *ack = (const void *)l->wire.rx_buf;
	struct ftkvm_link_acks a = {
		.received = le64_to_cpu(ack->received),
		.consumed = le64_to_cpu(ack->consumed),
		.epoch = le64_to_cpu(ack->epoch),
	};

	/* an epoch ends in the log: with neither byte of it moved that says little */
	if (a.received == l->heard_acks.received && a.consumed == l->heard_acks.consumed) {
		int ret = ftkvm_link_chatter(l);

		if (ret || a.epoch == l->heard_acks.epoch)
			return ret;
	}
	l->heard_acks = a;
	return ftkvm_link_upcall(l, l->ops->ack(l->priv, a.received, a.consumed, a.epoch));
}

static int ftkvm_link_rx_frame(struct ftkvm_link *l)
{
	const struct ftkvm_frame_hdr *h = &l->wire.rx_hdr;
	int ret;

	/* only the log has a sequence */
	if (h->type != FTKVM_FRAME_DATA && h->seq)
		return -EBADMSG;
	ret = ftkvm_fault(ftkvm_fault_typed(FTKVM_FAULT_GOT_HELLO, FTKVM_FAULT_GOT_BULK, h->type));
	if (ret)
		return ftkvm_link_upcall(l, ret);

	switch (h->type) {
	case FTKVM_FRAME_DATA:
		return ftkvm_link_rx_data(l);
	case FTKVM_FRAME_ACK:
		return ftkvm_link_rx_ack(l);
	case FTKVM_FRAME_HEARTBEAT:
		return ftkvm_link_chatter(l);
	case FTKVM_FRAME_BULK:
		return ftkvm_link_upcall(l, l->ops->bulk(l->priv, l->wire.rx_buf,
							 le32_to_cpu(h->len)));
	case FTKVM_FRAME_START:
	case FTKVM_FRAME_BYE:
		return ftkvm_link_upcall(l, l->ops->frame(l->priv, h->type, l->wire.rx_buf,
							  le32_to_cpu(h->len)));
	default:
		/* HELLO has its place before the threads run. */
		return -EBADMSG;
	}
}

/* Acknowledge from here, so that no other thread needs to be scheduled first. */
static void ftkvm_link_rx_tell(struct ftkvm_link *l)
{
	int ret = -EAGAIN;

	if (!test_and_clear_bit(FTKVM_LINK_ACK, &l->flags))
		return;
	if (rt_mutex_trylock(&l->wire.tx)) {
		ret = ftkvm_link_tell(l, true);
		if (l->wire.rest_len)
			set_bit(FTKVM_LINK_REST, &l->flags);
		rt_mutex_unlock(&l->wire.tx);
	}
	/* The send thread tries again, and meets any error itself. */
	if (ret)
		set_bit(FTKVM_LINK_ACK, &l->flags);
	if (ret || test_bit(FTKVM_LINK_REST, &l->flags))
		ftkvm_link_wake(l);
}

/**
 * ftkvm_link_rx() - the receive thread
 * @data: the link
 * Return: 0.
 */
int ftkvm_link_rx(void *data)
{
	struct ftkvm_link *l = data;
	int ret;

	while (!ftkvm_link_dead(l)) {
		ret = ftkvm_wire_recv(&l->wire);
		if (!ret && !ftkvm_link_dead(l))
			ret = ftkvm_link_rx_frame(l);
		if (ret)
			ftkvm_link_fail_wire(l, ret);
		else
			ftkvm_link_rx_tell(l);
		cond_resched();
	}
	ftkvm_link_leave(l);
	return 0;
}

