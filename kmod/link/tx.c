// SPDX-License-Identifier: GPL-2.0
/*
 * The send thread: the log, what others could not send at once, heartbeats.
 */
#include <linux/bitops.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/string.h>

#include "internal.h"

/* Often enough for a peer with the shortest time-out that can be set. */
#define FTKVM_LINK_BEAT_MS	(FTKVM_TIMEOUT_LOWEST / 4)

/**
 * ftkvm_link_tell() - send an acknowledgment, if there is news
 * @l: the link, with wire.tx held so that they leave in order
 * @nowait: only if the socket takes it now
 *
 * Context: Process; sleeps unless @nowait.
 * Return: 0 or -errno, as ftkvm_wire_send().
 */
int ftkvm_link_tell(struct ftkvm_link *l, bool nowait)
{
	struct ftkvm_link_acks want;
	struct ftkvm_ack ack;
	unsigned long flags;
	int ret;

	raw_spin_lock_irqsave(&l->lock, flags);
	want = l->want;
	raw_spin_unlock_irqrestore(&l->lock, flags);
	if (!memcmp(&want, &l->told, sizeof(want)))
		return 0;

	ack.received = cpu_to_le64(want.received);
	ack.consumed = cpu_to_le64(want.consumed);
	ack.epoch = cpu_to_le64(want.epoch);
	ret = ftkvm_wire_send(&l->wire, FTKVM_FRAME_ACK, &ack, sizeof(ack), nowait);
	if (!ret)
		l->told = want;
	return ret;
}

/* Finish what was begun, then acknowledge what there is to acknowledge. */
static int ftkvm_link_tx_small(struct ftkvm_link *l)
{
	int ret;

	rt_mutex_lock(&l->wire.tx);
	clear_bit(FTKVM_LINK_REST, &l->flags);
	ret = ftkvm_wire_flush(&l->wire, false);
	if (!ret && test_and_clear_bit(FTKVM_LINK_ACK, &l->flags))
		ret = ftkvm_link_tell(l, false);
	rt_mutex_unlock(&l->wire.tx);
	return ret;
}

/**
 * ftkvm_link_send_log() - send log bytes, a frame of them
 * @l: the link, with wire.tx held
 * @nowait: only as much as the socket takes now
 *
 * Context: Process; sleeps unless @nowait, and gets no signals then.
 * Return: how many; 0: there are none to be sent. With @nowait a part of them may be on its way
 * still, in wire.rest_len. Or -errno, as ftkvm_wire_flush() and ftkvm_wire_send_data().
 */
int ftkvm_link_send_log(struct ftkvm_link *l, bool nowait)
{
	struct ftkvm_wire *w = &l->wire;
	u64 off;
	u32 len;
	int ret;

	/* it may be in the buffer that is to be filled */
	ret = ftkvm_wire_flush(w, nowait);
	if (ret)
		return ret;
	len = l->ops->pull(l->priv, w->tx_buf, FTKVM_FRAME_MAX, &off);
	if (!len)
		return 0;
	if (WARN_ON_ONCE(len > FTKVM_FRAME_MAX || off != l->tx_off)) {
		ftkvm_link_fail(l, FTKVM_REASON_LOCAL, "the log to send has a gap");
		return 0;
	}
	l->tx_off += len;
	return ftkvm_wire_send_data(w, off, len, nowait) ?: len;
}

static int ftkvm_link_tx_log(struct ftkvm_link *l)
{
	int ret = 0;

	while (!ret && !ftkvm_link_dead(l)) {
		rt_mutex_lock(&l->wire.tx);
		ret = ftkvm_link_send_log(l, false);
		rt_mutex_unlock(&l->wire.tx);
		if (ret <= 0)
			break;
		ret = 0;
		if (test_bit(FTKVM_LINK_ACK, &l->flags))
			ret = ftkvm_link_tx_small(l);
	}
	return ret;
}

/* How long until the peer must hear something; 0: now. */
static long ftkvm_link_beat_due(const struct ftkvm_link *l)
{
	unsigned long beat = min(msecs_to_jiffies(FTKVM_LINK_BEAT_MS),
				 READ_ONCE(l->wire.timeout) / 4);
	long left = READ_ONCE(l->wire.sent) + beat - jiffies;

	return max(left, 0l);
}

/*
 * Some bytes that must not wait until this host has freed memory for them. If there is something
 * that was left for it to say, it says that.
 */
static int ftkvm_link_tx_beat(struct ftkvm_link *l)
{
	unsigned int flags;
	int ret;

	rt_mutex_lock(&l->wire.tx);
	flags = memalloc_noreclaim_save();
	ret = ftkvm_link_tell(l, false);
	if (!ret && !ftkvm_link_beat_due(l))
		ret = ftkvm_wire_send(&l->wire, FTKVM_FRAME_HEARTBEAT, NULL, 0, false);
	memalloc_noreclaim_restore(flags);
	rt_mutex_unlock(&l->wire.tx);
	return ret;
}

/* Sleep until there is something to do, @timeout at most. */
static void ftkvm_link_tx_sleep(struct ftkvm_link *l, long timeout)
{
	set_current_state(TASK_IDLE);
	if (!ftkvm_link_dead(l) &&
	    (test_bit(FTKVM_LINK_MUTE, &l->flags) || !READ_ONCE(l->flags)))
		schedule_timeout(timeout);
	__set_current_state(TASK_RUNNING);
}

/*
 * A peer that closed may have said why before: that is still to be read. So the
 * receive thread has the last word, within the time-out.
 */
static void ftkvm_link_tx_gone(struct ftkvm_link *l, int err)
{
	unsigned long start = jiffies;

	if (err == -EPIPE || err == -ECONNRESET) {
		set_bit(FTKVM_LINK_MUTE, &l->flags);
		while (!ftkvm_link_dead(l)) {
			long left = start + READ_ONCE(l->wire.timeout) - jiffies;

			if (left <= 0)
				break;
			ftkvm_link_tx_sleep(l, left);
		}
	}
	ftkvm_link_fail_wire(l, err);
}

/**
 * ftkvm_link_tx() - the send thread
 * @data: the link
 * Return: 0.
 */
int ftkvm_link_tx(void *data)
{
	struct ftkvm_link *l = data;
	int ret;

	while (!ftkvm_link_dead(l)) {
		ftkvm_link_tx_sleep(l, ftkvm_link_beat_due(l));
		if (ftkvm_link_dead(l))
			break;
		/* or whoever sent a BULK frame met the end of the stream */
		ret = test_bit(FTKVM_LINK_MUTE, &l->flags) ? -ECONNRESET : ftkvm_link_tx_small(l);
		/* without a kick too: what waits for a batch does not wait for long */
		clear_bit(FTKVM_LINK_KICK, &l->flags);
		/* Pairs with the test_and_set_bit() in ftkvm_link_kick(). */
		smp_mb__after_atomic();
		if (!ret)
			ret = ftkvm_link_tx_log(l);
		if (!ret && !ftkvm_link_beat_due(l))
			ret = ftkvm_link_tx_beat(l);
		if (ret)
			ftkvm_link_tx_gone(l, ret);
	}
	ftkvm_link_leave(l);
	return 0;
}

