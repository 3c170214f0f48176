// SPDX-License-Identifier: GPL-2.0
/*
 * The log between the vCPU thread and the link's threads.
 */
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>
#include "../fault/fault.h"
#include "replica.h"
#include "trace.h"

/**
 * ftkvm_log_append() - primary: write a record
 * @r: the replica
 * @rec: the record
 *
 * The caller has made sure of room (ftkvm_log_room()). Does not wake the send
 * thread: see ftkvm_log_flush().
 * Context: vCPU thread, interrupts may be off.
 * Return: 0, or -errno when the record can't be written, which ends the pairing; but for
 * one of a guest that has ended, which its backup hears of otherwise, too.
 */
int ftkvm_log_append(struct ftkvm_replica *r, const struct ftkvm_rec *rec)
{
	/* not at the ring's end, where it would not be in one piece */
	u8 *room = ftkvm_ring_room(&r->log, FTKVM_REC_MAX);
	u8 *buf = room ?: r->encbuf;
	int len = ftkvm_rec_encode(&r->codec, rec, buf, FTKVM_REC_MAX);
	int ret = len;

	if (len > 0)
		ret = ftkvm_fault_data(ftkvm_fault_typed(FTKVM_FAULT_LOG_END, FTKVM_FAULT_LOG_PAGES,
							 rec->type), buf, len);
	if (!ret && !room)
		ret = ftkvm_ring_write(&r->log, buf, len);
	/* of a guest that has ended nobody is left but the backup: it must not be told to stop */
	if (ret && READ_ONCE(r->gone))
		return ret;
	if (ret) {
		ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_LOCAL,
				    "a log record of type %u could not be written (error %d)",
				    rec->type, ret);
		return ret;
	}
	if (room)
		ftkvm_ring_wrote(&r->log, len);
	trace_ftkvm_log(r->epoch.nr, rec);
	r->st.records++;
	ftkvm_fault(ftkvm_fault_typed(FTKVM_FAULT_LOGGED_END, FTKVM_FAULT_LOGGED_PAGES,
				      rec->type));
	return 0;
}

/* Whether there is something new to send. */
static bool log_flush(struct ftkvm_replica *r)
{
	u64 head = READ_ONCE(r->log.head);
	bool news = head != r->flushed_off;

	r->flushed_epoch = r->epoch.nr;
	r->flushed_count = r->now.count;
	WRITE_ONCE(r->flushed_off, head);
	return news;
}

/**
 * ftkvm_log_flush() - primary: let the send thread see what was written
 * @r: the replica
 *
 * Context: vCPU thread, interrupts may be off.
 */
void ftkvm_log_flush(struct ftkvm_replica *r)
{
	struct ftkvm_link *l = READ_ONCE(r->link);

	if (log_flush(r) && l)
		ftkvm_link_kick(l);
}

/**
 * ftkvm_log_send() - primary: the same, at once, as somebody waits for it
 * @r: the replica
 *
 * Context: vCPU thread, process context.
 */
void ftkvm_log_send(struct ftkvm_replica *r)
{
	if (!log_flush(r))
		return;
	/* a worker that sends just now has it: the send thread comes behind that */
	if (mutex_trylock(&r->link_lock)) {
		if (r->link)
			ftkvm_link_push(r->link);
		mutex_unlock(&r->link_lock);
	} else if (READ_ONCE(r->link)) {
		ftkvm_link_kick(r->link);
	}
}

/**
 * ftkvm_log_send_next() - primary: the same, behind what is on its way
 * @r: the replica
 *
 * For what a device does, which the guest does not wait for. A busy one would have a frame
 * for each kick, and an acknowledgment. While the backup has yet to answer, what comes
 * meanwhile waits, and goes together when it does: see pair_ack().
 * Context: vCPU thread, process context.
 */
void ftkvm_log_send_next(struct ftkvm_replica *r)
{
	bool under_way;

	spin_lock_irq(&r->flow_lock);
	WRITE_ONCE(r->next_off, READ_ONCE(r->log.head));
	under_way = r->flow.sent > r->flow.received;
	spin_unlock_irq(&r->flow_lock);
	if (!under_way)
		ftkvm_log_send(r);
}

/**
 * ftkvm_log_flush_batch() - primary: the same, once it is worth it
 * @r: the replica
 *
 * A frame costs the host as much as several epoch ends, so the log of several epochs is
 * sent together: by nobody but the backup is it missed, which runs up to the end
 * of the epoch that it knows of, and then waits. Who waits for the backup, or
 * halts, does not wait for a batch. The send thread looks for itself at every heartbeat.
 * Context: vCPU thread, interrupts may be off.
 */
void ftkvm_log_flush_batch(struct ftkvm_replica *r)
{
	if (r->epoch.nr - r->flushed_epoch >= r->batch ||
	    r->now.count - r->flushed_count >= FTKVM_BATCH_EVENTS ||
	    READ_ONCE(r->log.head) - r->flushed_off >= FTKVM_BATCH_BYTES)
		ftkvm_log_flush(r);
}

/**
 * ftkvm_log_stuck() - primary, each second of a wait for its backup or sooner: does that go on?
 * @r: the replica
 *
 * A backup that is not silent may yet stand still for good: its QEMU is stopped, or hangs. It
 * was told of all that it has to catch up with; one that has not got further for so long
 * of waiting for it is given up, so that the guest goes on.
 * Context: vCPU thread, process context.
 */
void ftkvm_log_stuck(struct ftkvm_replica *r)
{
	struct ftkvm_flow now;

	if (ftkvm_mode(r) != FTKVM_MODE_LEAD)
		return;
	spin_lock_irq(&r->flow_lock);
	now = r->flow;
	spin_unlock_irq(&r->flow_lock);
	/* a signal ends a wait, and it is taken up again soon; but not by a guest that is paused */
	if (time_after(jiffies, r->stuck_last + FTKVM_STUCK_GAP))
		r->stuck_looked = false;
	r->stuck_last = jiffies;
	if (!r->stuck_looked || now.received != r->stuck_at.received ||
	    now.consumed != r->stuck_at.consumed || now.epoch != r->stuck_at.epoch) {
		r->stuck_looked = true;
		r->stuck_at = now;
		r->stuck_since = jiffies;
	} else if (time_after(jiffies, r->stuck_since + FTKVM_STUCK)) {
		ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_PEER_SILENT,
				    "the backup has not gone on for %u s: see to its QEMU",
				    FTKVM_STUCK / HZ);
	}
}

/**
 * ftkvm_log_room() - primary: wait until there is room in the log
 * @r: the replica
 *
 * This is the back-pressure that a slow backup exerts: the guest waits.
 * Context: vCPU thread, process context, kvm->srcu read-held (dropped meanwhile).
 * Return: 0 (or the replica leads no more), -EINTR on a signal.
 */
int ftkvm_log_room(struct ftkvm_replica *r)
{
	if (ftkvm_log_room_now(r))
		return 0;
	ftkvm_log_flush(r);
	ftkvm_fault(FTKVM_FAULT_ROOM_WAIT);
	return ftkvm_await_backup(r, ftkvm_mode(r) != FTKVM_MODE_LEAD || ftkvm_log_room_now(r),
				  interruptible);
}

static bool log_committed(struct ftkvm_replica *r)
{
	unsigned long flags;
	bool ret;

	if (ftkvm_mode(r) != FTKVM_MODE_LEAD)
		return false;
	spin_lock_irqsave(&r->flow_lock, flags);
	ret = ftkvm_flow_committed(&r->flow, r->out_off);
	spin_unlock_irqrestore(&r->flow_lock, flags);
	return ret;
}

/**
 * ftkvm_log_proven() - primary: has the backup consumed the log up to there?
 * @r: the replica
 * @off: log offset
 *
 * Context: any but NMI.
 * Return: whether it has.
 */
bool ftkvm_log_proven(struct ftkvm_replica *r, u64 off)
{
	unsigned long flags;
	bool ret;

	spin_lock_irqsave(&r->flow_lock, flags);
	ret = r->flow.consumed >= off;
	spin_unlock_irqrestore(&r->flow_lock, flags);
	return ret;
}

/* Nothing will be committed any more, and it is known who goes on. */
static bool log_over(const struct ftkvm_replica *r)
{
	enum ftkvm_mode mode = ftkvm_mode(r);

	return mode != FTKVM_MODE_LEAD && mode != FTKVM_MODE_HOLD;
}

/**
 * ftkvm_log_commit() - primary: wait until the backup holds the log up to out_off
 * @r: the replica
 * @killable: wait on through signals that don't kill
 *
 * Context: as ftkvm_log_room(). Bounded by the link's time-out, behind which
 * the replica is solo; or held, which @killable waits for the end of.
 * Return: 0 (or the replica leads no more), -EINTR on a signal.
 */
int ftkvm_log_commit(struct ftkvm_replica *r, bool killable)
{
	ktime_t t;
	s64 ns;
	int ret;

	if (log_committed(r))
		return 0;
	ftkvm_log_send(r);
	trace_ftkvm_commit_begin(r);
	ftkvm_fault(FTKVM_FAULT_COMMIT_WAIT);
	t = ktime_get();
	if (killable)
		ret = ftkvm_await_backup(r, log_over(r) || log_committed(r), killable);
	else
		ret = ftkvm_await_backup(r, ftkvm_mode(r) != FTKVM_MODE_LEAD || log_committed(r),
					 interruptible);
	r->st.commit_waits++;
	ns = ktime_to_ns(ktime_sub(ktime_get(), t));
	r->st.commit_ns += ns;
	trace_ftkvm_commit_end(r, ns, ret);
	ftkvm_fault(FTKVM_FAULT_COMMIT_WAITED);
	return ret;
}

/**
 * ftkvm_log_peek() - backup: the next record, without taking it
 * @r: the replica
 *
 * Context: vCPU thread, interrupts may be off.
 * Return: the record, NULL when none is held. A malformed log ends the replica
 * (and NULL is returned).
 */
struct ftkvm_rec *ftkvm_log_peek(struct ftkvm_replica *r)
{
	u32 len;
	int ret;

	if (r->have_rec)
		return &r->rec;
	len = ftkvm_ring_peek(&r->log, r->consumed, r->recbuf, FTKVM_REC_MAX);
	if (!len)
		return NULL;
	ftkvm_fault_data(FTKVM_FAULT_PEEK, r->recbuf, len);
	ret = ftkvm_rec_decode(&r->codec, r->recbuf, len, &r->rec);
	if (ret == -EAGAIN) {
		WRITE_ONCE(r->spent, r->consumed + len);
		return NULL;
	}
	if (ret < 0) {
		ftkvm_replica_event(r, FTKVM_EV_DIVERGED, FTKVM_REASON_PEER_GARBLED,
				    "the log is malformed at byte %llu", r->consumed);
		return NULL;
	}
	r->rec_size = ret;
	r->have_rec = true;
	return &r->rec;
}

/* After an epoch end or a verification: the log has nothing more, so it waits for more? */
static bool log_all_consumed(const struct ftkvm_replica *r)
{
	return (r->rec.type == FTKVM_REC_END || ftkvm_verify_is(&r->rec)) &&
	       r->consumed >= READ_ONCE(r->held);
}

/**
 * ftkvm_log_consume() - backup: the record in hand is done with
 * @r: the replica
 *
 * Context: vCPU thread, interrupts may be off.
 */
void ftkvm_log_consume(struct ftkvm_replica *r)
{
	struct ftkvm_link *l = READ_ONCE(r->link);
	bool delivers = r->rec.type == FTKVM_REC_END && r->rec.end.ninputs;

	ftkvm_fault(FTKVM_FAULT_CONSUME);
	trace_ftkvm_replay(r->epoch.nr, &r->rec);
	r->have_rec = false;
	r->look_alikes = 0;
	/* room first: an acknowledgment that goes out meanwhile invites bytes for it */
	ftkvm_ring_release(&r->log, r->rec_size);
	WRITE_ONCE(r->consumed, r->consumed + r->rec_size);
	r->st.records++;
	/*
	 * The primary's flow control needs to hear of it now and then only. What
	 * arrives meanwhile is acknowledged as it arrives. Who delivers is about to hear
	 * more; if not, what is left to say goes with a heartbeat, in time for those that
	 * wait for room for answers, which is a lot.
	 */
	if (l && ((log_all_consumed(r) && !delivers) ||
		  r->epoch.nr - r->acked_epoch >= r->batch ||
		  r->consumed - r->acked >= FTKVM_LOG_SIZE / 8)) {
		r->acked = r->consumed;
		r->acked_epoch = r->epoch.nr;
		ftkvm_link_ack(l, READ_ONCE(r->held), r->consumed, r->epoch.nr);
	} else if (l && delivers) {
		ftkvm_link_ack_later(l, READ_ONCE(r->held), r->consumed, r->epoch.nr);
	}
	ftkvm_fault(FTKVM_FAULT_CONSUMED);
}

/* Is there something for a vCPU that waited in @mode? */
static bool log_news(struct ftkvm_replica *r, enum ftkvm_mode mode)
{
	if (ftkvm_mode(r) != mode || READ_ONCE(r->detaching))
		return true;
	return mode == FTKVM_MODE_FOLLOW && (ftkvm_log_peek(r) || ftkvm_follow_drained(r));
}

/**
 * ftkvm_log_wait_nosrcu() - backup: wait for a record, or for a change of mode
 * @r: the replica
 *
 * A stopped replica waits here for good, until a signal or detach.
 * Context: vCPU thread, process context, kvm->srcu not held.
 * Return: 0 when there may be a record or the mode changed or the guest is to go
 * live; -EINTR on a signal.
 */
int ftkvm_log_wait_nosrcu(struct ftkvm_replica *r)
{
	enum ftkvm_mode mode = ftkvm_mode(r);
	ktime_t t = ktime_get();
	int ret;

	if (log_news(r, mode))
		return 0;
	ftkvm_fault(FTKVM_FAULT_FOLLOW_WAIT);
	ret = wait_event_interruptible(r->wq, log_news(r, mode));
	r->st.waits++;
	r->st.wait_ns += ktime_to_ns(ktime_sub(ktime_get(), t));
	ftkvm_fault(FTKVM_FAULT_FOLLOW_WAITED);
	return ret ? -EINTR : 0;
}

/**
 * ftkvm_log_wait() - the same for callers with kvm->srcu read-held
 * @r: the replica
 *
 * Context: as ftkvm_log_room().
 * Return: as ftkvm_log_wait_nosrcu().
 */
int ftkvm_log_wait(struct ftkvm_replica *r)
{
	int ret;

	kvm_vcpu_srcu_read_unlock(r->vcpu);
	ret = ftkvm_log_wait_nosrcu(r);
	kvm_vcpu_srcu_read_lock(r->vcpu);
	return ret;
}

/**
 * ftkvm_log_wait_killable() - backup: wait in the middle of an instruction
 * @r: the replica
 *
 * KVM's emulator can't be left halfway, so other signals have to wait. A dead
 * link ends the wait by its time-out.
 * Context: as ftkvm_log_room().
 * Return: 0 when there may be a record or the mode changed; -EINTR when killed.
 */
int ftkvm_log_wait_killable(struct ftkvm_replica *r)
{
	enum ftkvm_mode mode = ftkvm_mode(r);
	int ret;

	kvm_vcpu_srcu_read_unlock(r->vcpu);
	ftkvm_fault(FTKVM_FAULT_WITHIN_WAIT);
	ret = wait_event_killable(r->wq, log_news(r, mode) || READ_ONCE(r->log_closed));
	kvm_vcpu_srcu_read_lock(r->vcpu);
	return ret ? -EINTR : 0;
}
