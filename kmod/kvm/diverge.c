// SPDX-License-Identifier: GPL-2.0
/*
 * The backup's execution and the log disagree: it stops for good, and says what differs.
 */
#include <linux/stdarg.h>
#include "replica.h"
#include "trace.h"
#include "vendor.h"

/**
 * ftkvm_follow_diverged() - the replicas did not do the same: stop
 * @r: the replica
 * @fmt: what differs; epoch and point are put before it
 *
 * Context: vCPU thread, interrupts may be off.
 */
void ftkvm_follow_diverged(struct ftkvm_replica *r, const char *fmt, ...)
{
	struct ftkvm_point at = ftkvm_here(r);
	struct va_format vaf;
	va_list args;

	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	r->st.divergences++;
	trace_ftkvm_diverged(r, &at);
	ftkvm_replica_event(r, FTKVM_EV_DIVERGED, FTKVM_REASON_DIVERGED,
			    "epoch %llu, point %llu/%#llx: %pV", r->epoch.nr, at.count, at.rip,
			    &vaf);
	va_end(args);
}

/**
 * ftkvm_follow_unexpected() - the log has something else, or somewhere else: stop
 * @r: the replica
 * @rec: what it has
 * @here: where this side is
 *
 * Context: as ftkvm_follow_diverged().
 */
void ftkvm_follow_unexpected(struct ftkvm_replica *r, const struct ftkvm_rec *rec,
			     const char *here)
{
	static const char * const names[] = {
		[FTKVM_REC_END] = "an epoch end",
		[FTKVM_REC_ENV] = "an environment read",
		[FTKVM_REC_TSC] = "a clock read",
		[FTKVM_REC_OUT] = "an output",
		[FTKVM_REC_STOP] = "its end",
		[FTKVM_REC_IMAGE] = "a verification",
		[FTKVM_REC_PAGES] = "a verification of memory",
	};

	ftkvm_follow_diverged(r, "%s; the log has %s at %llu/%#llx", here, names[rec->type],
			      rec->point.count, rec->point.rip);
}

/**
 * ftkvm_follow_digest() - are the registers what a record says? If not: stop
 * @r: the replica
 * @rec: the record
 *
 * Context: as ftkvm_follow_diverged().
 * Return: whether they are.
 */
bool ftkvm_follow_digest(struct ftkvm_replica *r, const struct ftkvm_rec *rec)
{
	struct ftkvm_regs regs;
	u8 hash[FTKVM_NREGS];
	int reg;

	ftkvm_vendor()->regs(r->vcpu, &regs);
	if (ftkvm_digest(&regs) == rec->digest)
		return true;
	/* a clock read's record is too small for hashes */
	reg = -1;
	ftkvm_digest_each(&regs, hash);
	if (rec->type == FTKVM_REC_END)
		reg = ftkvm_digest_differs(hash, rec->hash);
	else if (rec->type == FTKVM_REC_ENV || rec->type == FTKVM_REC_OUT)
		reg = ftkvm_digest_differs_low(hash, rec->hash);
	if (reg >= 0)
		ftkvm_follow_diverged(r, "register %s differs (here %#llx)",
				      ftkvm_reg_name(reg), regs.r[reg]);
	else
		ftkvm_follow_diverged(r, "registers differ (which, this record does not tell)");
	return false;
}
