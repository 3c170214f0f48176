// SPDX-License-Identifier: GPL-2.0
/*
 * Pairing: HELLOs when the operator pairs, START frames when both guests are at
 * their first instruction; the link's upcalls.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include "../dev/device.h"
#include "../dev/lockstep.h"
#include "../fault/fault.h"
#include "hooks.h"
#include "replica.h"
#include "trace.h"
#include "vendor.h"

/* userspace sees the core's enumerations as they are */
static_assert((int)FTKVM_STATE_IDLE == (int)FTKVM_UAPI_STATE_IDLE);
static_assert((int)FTKVM_STATE_ARMED == (int)FTKVM_UAPI_STATE_ARMED);
static_assert((int)FTKVM_STATE_PRIMARY == (int)FTKVM_UAPI_STATE_PRIMARY);
static_assert((int)FTKVM_STATE_BACKUP == (int)FTKVM_UAPI_STATE_BACKUP);
static_assert((int)FTKVM_STATE_ORPHAN == (int)FTKVM_UAPI_STATE_ORPHAN);
static_assert((int)FTKVM_STATE_TAKEOVER == (int)FTKVM_UAPI_STATE_TAKEOVER);
static_assert((int)FTKVM_STATE_SOLO == (int)FTKVM_UAPI_STATE_SOLO);
static_assert((int)FTKVM_STATE_STOPPED == (int)FTKVM_UAPI_STATE_STOPPED);
static_assert((int)FTKVM_STATE_UNDECIDED == (int)FTKVM_UAPI_STATE_UNDECIDED);
static_assert((int)FTKVM_ROLE_PRIMARY == (int)FTKVM_UAPI_ROLE_PRIMARY);
static_assert((int)FTKVM_ROLE_BACKUP == (int)FTKVM_UAPI_ROLE_BACKUP);

/* ---- the link's upcalls ---- */

static int pair_data(void *priv, u64 off, const u8 *buf, u32 len)
{
	struct ftkvm_replica *r = priv;

	if (r->role != FTKVM_ROLE_BACKUP || off != r->held ||
	    ftkvm_fault_data(FTKVM_FAULT_DATA_TAKE, (u8 *)buf, len))
		return -EBADMSG;
	/* a primary that respects our window leaves room */
	if (ftkvm_ring_write(&r->log, buf, len))
		return -EBADMSG;
	WRITE_ONCE(r->held, r->held + len);
	ftkvm_fault(FTKVM_FAULT_DATA_HELD);
	/*
	 * A guest that has not begun could not go live: what it holds is
	 * acknowledged when it has. Pairs with pair_starting().
	 */
	smp_mb();
	if (ftkvm_mode(r) == FTKVM_MODE_START)
		return 0;
	ftkvm_link_ack(r->link, r->held, READ_ONCE(r->consumed), READ_ONCE(r->epoch.nr));
	ftkvm_fault(FTKVM_FAULT_DATA_ACKED);
	wake_up_all(&r->wq);
	return 0;
}

static int pair_ack(void *priv, u64 received, u64 consumed, u64 epoch)
{
	struct ftkvm_replica *r = priv;
	unsigned long flags;
	bool held_back;
	int ret;

	if (r->role != FTKVM_ROLE_PRIMARY)
		return -EBADMSG;
	ret = ftkvm_fault(FTKVM_FAULT_ACK_TAKE);
	if (ret)
		return ret;
	spin_lock_irqsave(&r->flow_lock, flags);
	ret = ftkvm_flow_ack(&r->flow, received, consumed, epoch);
	held_back = max(READ_ONCE(r->flushed_off), r->next_off) > r->flow.sent;
	spin_unlock_irqrestore(&r->flow_lock, flags);
	if (ret)
		return ret;
	ftkvm_fault(FTKVM_FAULT_ACK_TAKEN);
	ftkvm_lockstep_acked(r, received);
	/* what the window held back may go now, or this; what waits for a batch may wait on */
	if (held_back)
		ftkvm_link_push(r->link);
	wake_up_all(&r->wq);
	return 0;
}

static u32 pair_pull(void *priv, u8 *buf, u32 size, u64 *off)
{
	struct ftkvm_replica *r = priv;
	unsigned long flags;
	bool tight;
	u32 n;

	if (r->role != FTKVM_ROLE_PRIMARY)
		return 0;
	ftkvm_fault(FTKVM_FAULT_PULL);
	tight = !ftkvm_log_room_now(r);
	spin_lock_irqsave(&r->flow_lock, flags);
	n = min(ftkvm_flow_may_send(&r->flow, ftkvm_ring_used(&r->log)), size);
	*off = r->flow.sent;
	r->flow.sent += n;
	spin_unlock_irqrestore(&r->flow_lock, flags);
	if (!n)
		return 0;
	ftkvm_ring_peek(&r->log, *off, buf, n);
	ftkvm_ring_release(&r->log, n);
	ftkvm_fault_data(FTKVM_FAULT_PULLED, buf, n);
	if (tight)
		wake_up_all(&r->wq);
	return n;
}

static int pair_bulk(void *priv, const void *payload, u32 len)
{
	return ftkvm_lockstep_bulk(priv, payload, len);
}

static int pair_frame(void *priv, u8 type, const void *payload, u32 len)
{
	struct ftkvm_replica *r = priv;

	switch (type) {
	case FTKVM_FRAME_START:
		if (r->have_peer_start)
			return -EBADMSG;
		memcpy(&r->peer_start, payload, sizeof(r->peer_start));
		/* what was copied comes first: pair_starting() */
		smp_store_release(&r->have_peer_start, true);
		wake_up_all(&r->wq);
		return 0;
	case FTKVM_FRAME_BYE:
		ftkvm_pair_got_bye(r, payload);
		ftkvm_fault(FTKVM_FAULT_BYE_TAKEN);
		return 0;
	default:
		return -EBADMSG;
	}
}

static const struct ftkvm_link_ops pair_link_ops = {
	.data = pair_data,
	.ack = pair_ack,
	.frame = pair_frame,
	.bulk = pair_bulk,
	.pull = pair_pull,
	.down = ftkvm_pair_down,
};

/* ---- pairing ---- */

static void pair_hello(struct ftkvm_replica *r, struct ftkvm_hello *h,
		       const struct ftkvm_pair_params *p)
{
	u32 devices;
	u64 ram;

	memset(h, 0, sizeof(*h));
	h->proto_version = cpu_to_le32(FTKVM_PROTO_VERSION);
	h->role = cpu_to_le32(p->role);
	strscpy(h->module_version, FTKVM_VERSION);
	/* two replicas on one host can't have one name */
	strscpy(h->guest, *p->pair_name ? p->pair_name : r->name);
	h->vcpus = cpu_to_le32(atomic_read(&r->kvm->online_vcpus));
	h->event = cpu_to_le32(r->counter_code);
	/* one that has run has moved its memory about, which its peer's QEMU has yet to hear */
	if (!ftkvm_has_run(r->vcpu)) {
		h->slots_crc = cpu_to_le32(ftkvm_slots_crc(r->kvm, &ram));
		h->ram_bytes = cpu_to_le64(ram);
	}
	h->cpuid_crc = cpu_to_le32(ftkvm_cpuid_crc(r->vcpu));
	h->irqchip = cpu_to_le32(r->kvm->arch.irqchip_mode);
	h->window = cpu_to_le32(FTKVM_LOG_SIZE);
	h->period_min = cpu_to_le64(r->period_min);
	h->period_max = cpu_to_le64(r->period_max);
	h->margin = cpu_to_le64(r->margin);
	h->devices_crc = cpu_to_le32(ftkvm_devs_crc(r->kvm, &devices));
	h->devices = cpu_to_le32(devices);
}

/* A log that begins; nobody follows or leads yet. */
static void pair_reset(struct ftkvm_replica *r)
{
	r->log.head = 0;
	r->log.tail = 0;
	memset(&r->flow, 0, sizeof(r->flow));
	r->stuck_looked = false;
	r->held = 0;
	r->log_closed = false;
	r->have_peer_start = false;
	r->start_ready = false;
	r->start_said = false;
	r->peer_bye = false;
	r->unpairing = false;
	memset(&r->codec, 0, sizeof(r->codec));
	memset(&r->now, 0, sizeof(r->now));
	r->plan.step = FTKVM_STEP_WAIT;
	r->started = false;
	r->env_open = false;
	r->env_more = false;
	r->env_len = 0;
	r->out_logged = false;
	r->out_done = false;
	r->out_kick = false;
	r->out_going = false;
	r->snap_after = false;
	r->have_rec = false;
	r->look_alikes = 0;
	r->consumed = 0;
	r->spent = 0;
	r->acked = 0;
	r->acked_epoch = 0;
	r->flushed_epoch = 0;
	r->flushed_count = 0;
	r->flushed_off = 0;
	r->next_off = 0;
	ftkvm_lockstep_reset(r);
	r->last_tsc = 0;
	r->tsc_ahead = 0;
	r->shut_down = false;
	memset(&r->st, 0, sizeof(r->st));
	r->verify = (struct ftkvm_verify) { .sums = r->verify.sums, .page = r->verify.page };
	ftkvm_dirty_free(r);
	ftkvm_epoch_init(&r->epoch, r->period_min, r->period_max);
	r->lag_limit = clamp_t(u64, FTKVM_LAG_EVENTS / r->period_max, FTKVM_LAG_EPOCHS,
			       FTKVM_LAG_EPOCHS_MOST);
	r->batch = r->lag_limit / 4;
	spin_lock_irq(&r->lock);
	r->reason = 0;
	r->detail[0] = 0;
	spin_unlock_irq(&r->lock);
}

/**
 * ftkvm_pair_epochs() - are these bounds of an epoch's length possible?
 * @min: shortest, events
 * @max: longest, events
 * @why: if not, what would be
 * @size: of @why
 *
 * Context: any.
 * Return: 0 or -ERANGE.
 */
int ftkvm_pair_epochs(u64 min, u64 max, char *why, size_t size)
{
	struct ftkvm_epoch e;
	int ret = ftkvm_epoch_init(&e, min, max);

	if (ret)
		snprintf(why, size,
			 "epochs of %llu to %llu events: both must lie in %llu..%llu, in order",
			 min, max, FTKVM_PERIOD_MIN, FTKVM_PERIOD_MAX);
	return ret;
}

static int pair_settings(struct ftkvm_replica *r, const struct ftkvm_pair_params *p,
			 char *why, size_t size)
{
	u64 min = p->period_min ?: r->period_min, max = p->period_max ?: r->period_max;
	int ret;

	/* one end given alone moves the other one along */
	if (p->period_min && !p->period_max)
		max = max(max, min);
	if (p->period_max && !p->period_min)
		min = min(min, max);
	ret = ftkvm_pair_epochs(min, max, why, size);
	if (ret)
		return ret;
	r->period_min = min;
	r->period_max = max;
	r->margin = p->margin ?: r->margin;
	r->counter_code = p->counter ?: r->counter_code;
	WRITE_ONCE(r->timeout_ms, p->timeout_ms ?: r->timeout_ms);
	if (p->verify_every != FTKVM_VERIFY_KEEP)
		WRITE_ONCE(r->verify_every, p->verify_every);
	if (p->on_loss)
		WRITE_ONCE(r->on_loss, p->on_loss);
	spin_lock_irq(&r->lock);
	strscpy(r->peer, p->peer);
	spin_unlock_irq(&r->lock);
	return 0;
}

/* What pair_settings() sets, as it was: a pairing that is refused changes nothing. */
struct pair_kept {
	u64 period_min, period_max, margin;
	u32 counter_code, timeout_ms, verify_every, on_loss;
	char peer[sizeof_field(struct ftkvm_replica, peer)];
};

static void pair_keep(struct ftkvm_replica *r, struct pair_kept *k)
{
	k->period_min = r->period_min;
	k->period_max = r->period_max;
	k->margin = r->margin;
	k->counter_code = r->counter_code;
	k->timeout_ms = r->timeout_ms;
	k->verify_every = r->verify_every;
	k->on_loss = r->on_loss;
	spin_lock_irq(&r->lock);
	strscpy(k->peer, r->peer);
	spin_unlock_irq(&r->lock);
}

static void pair_restore(struct ftkvm_replica *r, const struct pair_kept *k)
{
	r->period_min = k->period_min;
	r->period_max = k->period_max;
	r->margin = k->margin;
	r->counter_code = k->counter_code;
	WRITE_ONCE(r->timeout_ms, k->timeout_ms);
	WRITE_ONCE(r->verify_every, k->verify_every);
	WRITE_ONCE(r->on_loss, k->on_loss);
	spin_lock_irq(&r->lock);
	strscpy(r->peer, k->peer);
	spin_unlock_irq(&r->lock);
}

static u32 pair_reason(int err)
{
	switch (err) {
	case -EPROTONOSUPPORT:
		return FTKVM_REASON_PEER_VERSION;
	case -EBADMSG:
		return FTKVM_REASON_PEER_GARBLED;
	case -ETIMEDOUT:
		return FTKVM_REASON_PEER_SILENT;
	case -ECONNRESET:
	case -EPIPE:
		return FTKVM_REASON_PEER_CLOSED;
	default:
		return FTKVM_REASON_LOCAL;
	}
}

/* The last pairing's link: its upcalls are over before anything is set anew. */
static void pair_end_link(struct ftkvm_replica *r)
{
	mutex_lock(&r->link_lock);
	if (r->link)
		ftkvm_link_destroy(r->link);
	WRITE_ONCE(r->link, NULL);
	mutex_unlock(&r->link_lock);
	ftkvm_second_end(r);
}

static int pair_begin(struct ftkvm_replica *r, const struct ftkvm_pair_params *p,
		      u32 *reason, char *why, size_t size)
{
	struct ftkvm_hello *h;
	struct ftkvm_link *l;
	int ret;

	*reason = FTKVM_REASON_LOCAL;
	ret = pair_settings(r, p, why, size) ?: ftkvm_lockstep_idle(r->kvm, why, size);
	if (!ret)
		ret = ftkvm_fault(FTKVM_FAULT_PAIR_BEGIN);
	if (ret)
		return ret;
	/* an earlier try's vCPU thread is on its way out */
	if (wait_event_interruptible(r->wq, !READ_ONCE(r->starting)))
		return -EINTR;
	flush_work(&r->event_work);
	h = ftkvm_fault_alloc(ALLOC_HELLO, kmalloc_array(2, sizeof(*h), GFP_KERNEL));
	if (!h)
		return -ENOMEM;
	l = ftkvm_link_create(p->sock_fd, &pair_link_ops, r, r->timeout_ms, why, size);
	if (IS_ERR(l)) {
		kfree(h);
		return PTR_ERR(l);
	}
	pair_hello(r, &h[0], p);
	ret = ftkvm_link_hello(l, &h[0], &h[1], why, size) ?: ftkvm_fault(FTKVM_FAULT_PAIR_HELLO);
	if (ret) {
		*reason = pair_reason(ret);
		goto out;
	}
	ret = ftkvm_hello_compare(&h[0], &h[1], why, size);
	if (ret) {
		*reason = FTKVM_REASON_INCOMPATIBLE;
		if (h[0].proto_version != h[1].proto_version ||
		    memcmp(h[0].module_version, h[1].module_version,
			   sizeof(h[0].module_version)))
			*reason = FTKVM_REASON_PEER_VERSION;
		goto out;
	}
	ret = ftkvm_link_answered(l, why, size) ?: ftkvm_fault(FTKVM_FAULT_PAIR_COMPARED);
	if (ret) {
		*reason = pair_reason(ret);
		goto out;
	}
	pair_end_link(r);
	pair_reset(r);
	r->flow.window = le32_to_cpu(h[1].window);
	r->moved = !h[0].ram_bytes || !h[1].ram_bytes;
	WRITE_ONCE(r->token, p->token);
	WRITE_ONCE(r->second_lost, 0);
	spin_lock_irq(&r->lock);
	r->role = p->role == FTKVM_UAPI_ROLE_PRIMARY ? FTKVM_ROLE_PRIMARY : FTKVM_ROLE_BACKUP;
	spin_unlock_irq(&r->lock);
	WRITE_ONCE(r->link, l);
	l = NULL;
	ret = ftkvm_fault(FTKVM_FAULT_PAIR_LINKED);
	if (!ret)
		ret = ftkvm_replica_event(r, r->role == FTKVM_ROLE_PRIMARY ? FTKVM_EV_PAIR_PRIMARY :
					  FTKVM_EV_PAIR_BACKUP, FTKVM_REASON_NONE, " ");
	if (!ret)
		ret = ftkvm_fault(FTKVM_FAULT_PAIR_ARMED) ?: ftkvm_link_start(r->link, r->name);
	if (ret) {
		snprintf(why, size, "the link could not be started (error %d)", ret);
		ftkvm_replica_event(r, FTKVM_EV_REFUSE, FTKVM_REASON_LOCAL, "%s", why);
	} else {
		*reason = FTKVM_REASON_NONE;
		trace_ftkvm_link_up(r);
		ftkvm_fault(FTKVM_FAULT_PAIR_RUNS);
	}
out:
	if (l)
		ftkvm_link_destroy(l);
	kfree(h);
	return ret;
}

/**
 * ftkvm_pair_begin() - join a replica with its peer
 * @r: the replica, idle
 * @p: what was asked for
 * @reason: on failure, enum ftkvm_reason
 * @why: on failure, cause and remedy
 * @size: of @why
 *
 * Context: process context, @cmd held; interruptible.
 * Return: 0: armed. -errno: as before.
 */
int ftkvm_pair_begin(struct ftkvm_replica *r, const struct ftkvm_pair_params *p,
		     u32 *reason, char *why, size_t size)
{
	struct pair_kept kept;
	int ret;

	pair_keep(r, &kept);
	ret = pair_begin(r, p, reason, why, size);
	if (ret)
		pair_restore(r, &kept);
	return ret;
}

/* ---- the first instruction ---- */

static int pair_start_fill(struct ftkvm_replica *r)
{
	struct ftkvm_start *s = &r->our_start;
	struct ftkvm_regs regs;
	u64 ram;
	u32 crc;
	int ret;

	ftkvm_vendor()->ready(r->vcpu);
	memset(s, 0, sizeof(*s));
	ret = ftkvm_ram_crc(r->kvm, &crc);
	if (ret)
		return ret;
	ftkvm_vendor()->regs(r->vcpu, &regs);
	s->regs_digest = cpu_to_le32(ftkvm_digest(&regs));
	s->ram_crc = cpu_to_le32(crc);
	s->slots_crc = cpu_to_le32(ftkvm_slots_crc(r->kvm, &ram));
	s->devices_crc = cpu_to_le32(ftkvm_devs_start_crc(r->kvm));
	s->tsc = cpu_to_le64(kvm_read_l1_tsc(r->vcpu, rdtsc()));
	ftkvm_vendor()->hidden(r->vcpu, s->hidden);
	static_assert(sizeof(s->hash) >= FTKVM_NREGS);
	ftkvm_digest_each(&regs, s->hash);
	return 0;
}

static const char *pair_start_differs(const struct ftkvm_start *a, const struct ftkvm_start *b)
{
	int reg;

	if (a->regs_digest != b->regs_digest) {
		reg = ftkvm_digest_differs(a->hash, b->hash);
		return reg >= 0 ? ftkvm_reg_name(reg) : "registers";
	}
	if (a->slots_crc != b->slots_crc)
		return "memory layout";
	if (a->devices_crc != b->devices_crc)
		return "devices";
	return a->ram_crc != b->ram_crc ? "memory" : NULL;
}

static void pair_refuse(struct ftkvm_replica *r, const char *fmt, ...) __printf(2, 3);
static void pair_refuse(struct ftkvm_replica *r, const char *fmt, ...)
{
	struct va_format vaf;
	va_list args;

	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	ftkvm_replica_event(r, FTKVM_EV_REFUSE, FTKVM_REASON_INCOMPATIBLE, "%pV", &vaf);
	va_end(args);
}

static int pair_starting(struct ftkvm_replica *r)
{
	const char *what;
	int ret;

	if (!r->start_ready) {
		ftkvm_counter_close(r);
		ret = ftkvm_counter_open(r);
		if (ret) {
			pair_refuse(r,
				    "no PMU counter (error %d): stop other users of it (perf, NMI watchdog)",
				    ret);
			return 0;
		}
		ret = ftkvm_fault(FTKVM_FAULT_START_FILL) ?: pair_start_fill(r);
		if (ret) {
			pair_refuse(r, "the guest's memory can't be read (error %d)", ret);
			return 0;
		}
		/* a link that ends from here on may leave a backup that runs */
		spin_lock_irq(&r->lock);
		r->start_said = true;
		spin_unlock_irq(&r->lock);
		ret = ftkvm_link_send(r->link, FTKVM_FRAME_START, &r->our_start,
				      sizeof(r->our_start));
		/* any other error ends the link: that is waited for below */
		if (ret == -EINTR || ret == -ERESTARTSYS)
			return -EINTR;
		r->start_ready = true;
		ftkvm_fault(FTKVM_FAULT_START_READY);
	}
	kvm_vcpu_srcu_read_unlock(r->vcpu);
	ftkvm_fault(FTKVM_FAULT_START_WAIT);
	/* pairs with pair_frame() */
	ret = wait_event_interruptible(r->wq, ftkvm_mode(r) != FTKVM_MODE_START ||
				       smp_load_acquire(&r->have_peer_start));
	kvm_vcpu_srcu_read_lock(r->vcpu);
	if (ret)
		return -EINTR;
	if (ftkvm_mode(r) != FTKVM_MODE_START)
		return 0;
	ftkvm_fault_data(FTKVM_FAULT_START_GOT, &r->peer_start, sizeof(r->peer_start));
	what = pair_start_differs(&r->our_start, &r->peer_start);
	if (what) {
		pair_refuse(r,
			    r->moved ?
			    "the guests' %s differ before they go on: see that both QEMUs have the same version and command line" :
			    "the guests' %s differ at the first instruction: start both with the same command line, -seed 1 and -rtc base=...,clock=vm",
			    what);
		return 0;
	}
	if (r->role == FTKVM_ROLE_BACKUP) {
		r->last_tsc = le64_to_cpu(r->peer_start.tsc);
		r->tsc_ahead = r->last_tsc - le64_to_cpu(r->our_start.tsc);
		ftkvm_vendor()->set_hidden(r->vcpu, r->peer_start.hidden);
	} else {
		r->last_tsc = le64_to_cpu(r->our_start.tsc);
	}
	r->verify.first = true;
	/* accessed and dirty bits are set by what the TLB has not: the backup's is empty */
	kvm_make_request(KVM_REQ_TLB_FLUSH_GUEST, r->vcpu);
	r->now = ftkvm_here(r);
	r->started = true;
	ftkvm_fault(FTKVM_FAULT_START_EQUAL);
	ftkvm_replica_event(r, FTKVM_EV_START, FTKVM_REASON_NONE, " ");
	/* what came before this was not acknowledged: pair_data() */
	smp_mb();
	if (r->role == FTKVM_ROLE_BACKUP)
		ftkvm_link_ack(r->link, READ_ONCE(r->held), 0, 0);
	ftkvm_fault(FTKVM_FAULT_START_DONE);
	return 0;
}

/**
 * ftkvm_pair_start() - the guest is at its first instruction: wait for the peer's
 * @r: the replica, armed
 *
 * Both compare registers and memory. Equal: lockstep begins. Not: the primary
 * goes on unprotected, the backup stops.
 * Context: vCPU thread, process context, kvm->srcu read-held (dropped in waits).
 * Return: 0 with the mode changed; -EINTR on a signal, to be called again.
 */
int ftkvm_pair_start(struct ftkvm_replica *r)
{
	int ret;

	WRITE_ONCE(r->starting, true);
	ret = 0;
	if (ftkvm_mode(r) == FTKVM_MODE_START)
		ret = pair_starting(r);
	WRITE_ONCE(r->starting, false);
	wake_up_all(&r->wq);
	return ret;
}
