// SPDX-License-Identifier: GPL-2.0
/*
 * Status and statistics of a replica.
 */
#include "replica.h"

/*
 * What the vCPU thread counts, without asking it to stop: each figure is one that
 * was true lately, and nothing is decided by it. So these races are no findings.
 */
static void __no_kcsan info_figures(const struct ftkvm_replica *r, u64 *s)
{
	const struct ftkvm_stats *st = &r->st;
	u64 seen = 0, total = 0;
	int i;

	s[FTKVM_STAT_EPOCHS] = st->epochs;
	s[FTKVM_STAT_EPOCHS_SNAPPED] = st->snapped;
	s[FTKVM_STAT_EPOCHS_HALTED] = st->halted;
	s[FTKVM_STAT_EPOCHS_LANDED] = st->landed;
	s[FTKVM_STAT_EPOCHS_SKIPPED] = st->skipped;
	s[FTKVM_STAT_INPUTS] = st->inputs;
	s[FTKVM_STAT_INPUTS_LOCAL] = st->inputs_local;
	s[FTKVM_STAT_ENV_PIO] = st->env[FTKVM_ENV_PIO];
	s[FTKVM_STAT_ENV_MMIO] = st->env[FTKVM_ENV_MMIO];
	s[FTKVM_STAT_ENV_TSC] = st->env[FTKVM_ENV_TSC];
	s[FTKVM_STAT_ENV_MSR] = st->env[FTKVM_ENV_MSR];
	s[FTKVM_STAT_ENV_LAPIC] = st->env[FTKVM_ENV_LAPIC];
	s[FTKVM_STAT_ENV_IRQCHIP] = st->env[FTKVM_ENV_IRQCHIP];
	s[FTKVM_STAT_OUTPUTS] = st->outputs;
	s[FTKVM_STAT_COMMIT_WAITS] = st->commit_waits;
	s[FTKVM_STAT_COMMIT_NS] = st->commit_ns;
	s[FTKVM_STAT_RECORDS] = st->records;
	s[FTKVM_STAT_GUEST_EVENTS] = READ_ONCE(r->now.count);
	s[FTKVM_STAT_EXITS] = st->exits;
	s[FTKVM_STAT_LAG_MAX] = st->lag_max;
	s[FTKVM_STAT_WAITS] = st->waits;
	s[FTKVM_STAT_WAIT_NS] = st->wait_ns;
	s[FTKVM_STAT_LAND_STEPS] = st->land_steps;
	s[FTKVM_STAT_DIVERGENCES] = st->divergences;
	s[FTKVM_STAT_TAKEOVER_NS] = st->takeover_ns;
	s[FTKVM_STAT_GUEST_TSC] = READ_ONCE(r->last_tsc);
	s[FTKVM_STAT_VERIFIES] = r->verify.done;
	s[FTKVM_STAT_VERIFY_WORDS] = r->verify.words;
	s[FTKVM_STAT_VERIFY_PAGES] = r->verify.pages;
	s[FTKVM_STAT_VERIFY_MARKED] = r->verify.marked;
	s[FTKVM_STAT_VERIFY_NS] = r->verify.ns;
	s[FTKVM_STAT_VERIFY_DIRTY] = r->verify.dirty;
	s[FTKVM_STAT_DISK_VERIFIES] = r->sums.done;
	s[FTKVM_STAT_DISK_BYTES] = r->sums.bytes;
	for (i = 0; i < FTKVM_LAG_BUCKETS; i++)
		total += st->lag[i];
	for (i = 0; i < FTKVM_LAG_BUCKETS; i++) {
		seen += st->lag[i];
		if (2 * seen >= total)
			break;
	}
	s[FTKVM_STAT_LAG_MEDIAN] = total ? i : 0;
}

/**
 * ftkvm_replica_fill() - a replica as userspace sees it
 * @r: the replica
 * @info: filled in
 *
 * Context: process context, may sleep.
 */
void ftkvm_replica_fill(struct ftkvm_replica *r, struct ftkvm_info *info)
{
	struct ftkvm_link *l;
	u64 *s = info->stat, received, consumed, epoch;
	unsigned long flags;

	memset(info, 0, sizeof(*info));
	strscpy(info->name, r->name);
	info->pid = r->pid;
	spin_lock_irqsave(&r->lock, flags);
	/* the enumerations agree (pair.c asserts it) */
	info->state = (u32)r->state;
	info->role = (u32)r->role;
	info->reason = r->reason;
	strscpy(info->detail, r->detail);
	strscpy(info->disks_detail, r->sums.why);
	s[FTKVM_STAT_DISK_GIVEN_UP] = r->sums.given_up;
	strscpy(info->peer, r->peer);
	spin_unlock_irqrestore(&r->lock, flags);
	info->period_min = r->period_min;
	info->period_max = r->period_max;
	info->margin = r->margin;
	info->counter = r->counter_code;
	info->timeout_ms = READ_ONCE(r->timeout_ms);
	info->verify_every = READ_ONCE(r->verify_every);
	info->on_loss = READ_ONCE(r->on_loss);
	info->token = READ_ONCE(r->token);

	info_figures(r, s);
	if (FTKVM_SUMS_PHASE(READ_ONCE(r->sums.state)) == FTKVM_SUMS_LOGGED && ftkvm_sums_proven(r))
		s[FTKVM_STAT_DISK_VERIFIES]++;
	if (r->role == FTKVM_ROLE_PRIMARY) {
		spin_lock_irqsave(&r->flow_lock, flags);
		received = r->flow.received;
		consumed = r->flow.consumed;
		epoch = r->flow.epoch;
		spin_unlock_irqrestore(&r->flow_lock, flags);
		s[FTKVM_STAT_LOG_BYTES] = READ_ONCE(r->log.head);
		s[FTKVM_STAT_LAG_EPOCHS] = s[FTKVM_STAT_EPOCHS] - min(s[FTKVM_STAT_EPOCHS], epoch);
		s[FTKVM_STAT_LAG_BYTES] = s[FTKVM_STAT_LOG_BYTES] - consumed;
		if (READ_ONCE(r->verify.proof) && consumed >= READ_ONCE(r->verify.proof))
			s[FTKVM_STAT_VERIFIES]++;
	} else if (r->role == FTKVM_ROLE_BACKUP) {
		received = READ_ONCE(r->held);
		s[FTKVM_STAT_LOG_BYTES] = received;
		/* what is left of a record that the primary's death has cut is nothing to wait for */
		if (!smp_load_acquire(&r->log_closed) || READ_ONCE(r->spent) != received)
			s[FTKVM_STAT_LAG_BYTES] = received - min(received, READ_ONCE(r->consumed));
	}

	/* a link goes only with @cmd held, or when no reference is left */
	mutex_lock(&r->link_lock);
	l = r->link;
	if (l) {
		ftkvm_link_bytes(l, &s[FTKVM_STAT_TX_BYTES], &s[FTKVM_STAT_RX_BYTES]);
		s[FTKVM_STAT_SILENCE_MS] = ftkvm_link_silence_ms(l);
		s[FTKVM_STAT_LINKED] = ftkvm_link_alive(l);
	}
	ftkvm_second_fill(r, s);
	mutex_unlock(&r->link_lock);
}
