// SPDX-License-Identifier: GPL-2.0
/*
 * Verification: are both replicas really the same, in all registers and all of
 * memory? At an epoch end, or where the guest is halted, the primary logs
 * checksums of its registers of every kind (IMAGE) and of its pages (PAGES);
 * the backup, at the same execution point, compares them with its own as it
 * consumes them. What differs ends the pairing as any divergence does, so that
 * the log's consumption is the proof that all was the same.
 *
 * Either the operator asks for it, for all of memory, or it goes on in the
 * background: every so many epochs with pages that the guest has written since
 * they were compared last, and a slice of all memory, which moves on.
 */
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>
#include "../fault/fault.h"
#include "hooks.h"
#include "replica.h"
#include "trace.h"
#include "vendor.h"

#define PAGES_MAX	(FTKVM_REC_MAX_DATA / sizeof(struct ftkvm_page_sum))
/* pages, in the background: at most so many that were written, and the slice */
#define VERIFY_WRITTEN	512
#define VERIFY_SLICE	128

static_assert(PAGES_MAX >= VERIFY_WRITTEN && PAGES_MAX >= VERIFY_SLICE);

/* ---- memory ---- */

/* Pages are numbered through all memory slots, by address. */
static u64 verify_total(struct kvm *kvm)
{
	struct kvm_memory_slot *slot;
	u64 total = 0;
	int bkt;

	kvm_for_each_memslot(slot, bkt, kvm_memslots(kvm))
		total += slot->npages;
	return total;
}

static gfn_t verify_gfn(struct kvm *kvm, u64 page)
{
	struct kvm_memslots *slots = kvm_memslots(kvm);
	struct kvm_memory_slot *slot;
	struct rb_node *node;

	ftkvm_for_each_slot(slot, node, slots) {
		if (page < slot->npages)
			return slot->base_gfn + page;
		page -= slot->npages;
	}
	return INVALID_GPA >> PAGE_SHIFT;
}

/* 0, -EFAULT */
static int verify_page(struct ftkvm_replica *r, u64 page, struct ftkvm_page_sum *sum, gfn_t *gfn)
{
	/* the registers, which come first, are the same on both */
	bool half = !(r->vcpu->arch.cr4 & X86_CR4_PAE);
	int ret;

	*gfn = verify_gfn(r->kvm, page);
	ret = kvm_read_guest_page(r->kvm, *gfn, r->verify.page, 0, PAGE_SIZE);
	if (!ret)
		ftkvm_page_sum(sum, r->verify.page, half);
	cond_resched();
	return ret;
}

/* ---- the primary ---- */

/**
 * ftkvm_verify_due() - is a verification to be done at the next epoch end?
 * @r: the replica
 *
 * Context: vCPU thread.
 * Return: whether it is, or has begun here already.
 */
bool ftkvm_verify_due(const struct ftkvm_replica *r)
{
	u32 every = READ_ONCE(r->verify_every);

	return READ_ONCE(r->verify.wanted) || r->verify.left ||
	       (every && r->epoch.nr >= r->verify.epoch + every);
}

static void verify_rec(struct ftkvm_replica *r, struct ftkvm_rec *rec, u8 type, u8 flags)
{
	memset(rec, 0, sizeof(*rec));
	rec->type = type;
	rec->flags = flags;
	rec->point = ftkvm_here(r);
	rec->digest = ftkvm_here_digest(r);
	ftkvm_put_base(r, rec);
}

/* Log the registers of every kind; @left pages will follow. */
static int verify_registers(struct ftkvm_replica *r, u8 flags, u64 left)
{
	struct ftkvm_verify *v = &r->verify;
	struct ftkvm_image img;
	struct ftkvm_rec rec;
	int ret;

	ftkvm_image_begin(&img, (__le32 *)v->sums, FTKVM_IMAGE_MAX, false);
	ret = ftkvm_verify_image(r->vcpu, &img);
	if (ret)
		return ret;
	if (!ftkvm_image_agrees(&img))
		return -E2BIG;
	verify_rec(r, &rec, FTKVM_REC_IMAGE, flags);
	rec.image.page = left;
	rec.image.data = v->sums;
	rec.image.len = img.n * sizeof(__le32);
	v->words = img.n;
	return ftkvm_log_append(r, &rec);
}

static int verify_begin(struct ftkvm_replica *r, u8 flags)
{
	struct ftkvm_verify *v = &r->verify;
	u64 total = verify_total(r->kvm);

	v->began = ktime_get();
	v->whole = READ_ONCE(v->wanted);
	v->written = 0;
	if (!v->whole) {
		ftkvm_dirty_gather(r, total);
		v->written = ftkvm_dirty_count(r, VERIFY_WRITTEN);
	}
	v->left = v->whole ? total : v->written + min_t(u64, VERIFY_SLICE, total);
	if (v->whole || v->next >= total)
		v->next = 0;
	v->epoch = r->epoch.nr;
	trace_ftkvm_verify_begin(r, v->whole);
	return verify_registers(r, flags, v->left);
}

/* Log pages one after the other. Written ones come first, as they lie. */
static int verify_pages(struct ftkvm_replica *r, u8 flags)
{
	struct ftkvm_page_sum *sums = (struct ftkvm_page_sum *)r->verify.sums;
	u64 total = verify_total(r->kvm), page;
	struct ftkvm_verify *v = &r->verify;
	struct ftkvm_rec rec;
	bool written;
	gfn_t gfn;
	u32 n, i;
	int ret;

	n = v->written ? ftkvm_dirty_take(r, v->written, &page) : 0;
	written = n;
	if (!written) {
		page = v->next;
		/* a slice may end where memory does */
		n = min3(v->left, (u64)PAGES_MAX, total - page);
	}
	for (i = 0; i < n; i++) {
		ret = verify_page(r, page + i, &sums[i], &gfn);
		if (ret)
			return ret;
	}
	verify_rec(r, &rec, FTKVM_REC_PAGES, flags);
	rec.image.page = page;
	rec.image.data = v->sums;
	rec.image.len = n * sizeof(*sums);
	ret = ftkvm_log_append(r, &rec);
	if (ret)
		return ret;
	ftkvm_log_flush(r);
	v->left -= n;
	v->pages += n;
	if (written) {
		v->written -= n;
		v->dirty += n;
	} else {
		v->written = 0;
		v->next = page + n < total ? page + n : 0;
	}
	return 0;
}

static void verify_failed(struct ftkvm_replica *r, int ret)
{
	ftkvm_replica_event(r, FTKVM_EV_UNPAIR, FTKVM_REASON_LOCAL,
			    "the guest can't be verified (error %d)", ret);
}

/**
 * ftkvm_verify_first() - what START does not compare
 * @r: the replica, the primary, before the first instruction in lockstep
 *
 * A guest that has run came by a migration, which may forget something. Its memory
 * START has compared; its registers are few there.
 * Context: vCPU thread, process context, kvm->srcu read-held; room in the log.
 */
void ftkvm_verify_first(struct ftkvm_replica *r)
{
	int ret;

	r->verify.first = false;
	ret = verify_registers(r, 0, 0);
	if (ret)
		verify_failed(r, ret);
	ftkvm_log_flush(r);
}

static void verify_end(struct ftkvm_replica *r, bool done)
{
	struct ftkvm_verify *v = &r->verify;

	trace_ftkvm_verify_end(r, v->whole);
	v->left = 0;
	if (!v->whole)
		return;
	v->ns = ktime_to_ns(ktime_sub(ktime_get(), v->began));
	/* proven when the backup has consumed so much */
	if (done)
		WRITE_ONCE(v->proof, READ_ONCE(r->log.head));
	WRITE_ONCE(v->wanted, false);
	v->whole = false;
}

/**
 * ftkvm_verify_lead() - log what the backup is to compare
 * @r: the replica, the primary, at an epoch end or halted
 * @flags: FTKVM_RECF_*, as of the END that may follow
 *
 * Takes as long as reading the guest's memory does, which stands still
 * meanwhile; waits for room in the log.
 * Context: vCPU thread, process context, kvm->srcu read-held.
 * Return: 0 (done, or the replica leads no more); -EINTR on a signal: to be
 * called again at the same point.
 */
int ftkvm_verify_lead(struct ftkvm_replica *r, u8 flags)
{
	struct ftkvm_verify *v = &r->verify;
	int ret = 0;

	if (!v->left)
		ret = verify_begin(r, flags);
	while (!ret && v->left) {
		ret = ftkvm_log_room(r);
		if (ret)
			return ret;
		if (ftkvm_mode(r) != FTKVM_MODE_LEAD)
			break;
		if (signal_pending(current))
			return -EINTR;
		ret = verify_pages(r, flags);
	}
	if (ret)
		verify_failed(r, ret);
	verify_end(r, !ret && !v->left);
	return 0;
}

/* ---- the backup ---- */

static int verify_differs(struct ftkvm_replica *r, const struct ftkvm_rec *rec)
{
	const struct ftkvm_page_sum *sums = (const struct ftkvm_page_sum *)r->verify.sums;
	u32 n = rec->image.len / sizeof(*sums), i;
	struct ftkvm_page_sum sum;
	gfn_t gfn;

	for (i = 0; i < n; i++) {
		if (verify_page(r, rec->image.page + i, &sum, &gfn)) {
			ftkvm_follow_diverged(r, "memory page %llu can't be read here",
					      rec->image.page + i);
			return -ESTALE;
		}
		switch (ftkvm_page_compare(&sum, &sums[i])) {
		case FTKVM_PAGE_SAME:
			break;
		case FTKVM_PAGE_MARKED:
			r->verify.marked++;
			break;
		case FTKVM_PAGE_DIFFERS:
			ftkvm_follow_diverged(r,
					      "memory differs in the page at %#llx (sum %#x here, %#x there)",
					      gfn_to_gpa(gfn), le32_to_cpu(sum.whole),
					      le32_to_cpu(sums[i].whole));
			return -ESTALE;
		}
	}
	r->verify.pages += n;
	if (r->verify.left >= n)
		r->verify.left -= n;
	return 0;
}

/**
 * ftkvm_verify_follow() - compare with what the primary logged
 * @r: the replica, the backup, at the record's point
 * @rec: IMAGE or PAGES
 *
 * Context: vCPU thread, process context, may sleep.
 * Return: 0: the same, and the record is consumed; -ESTALE: diverged.
 */
int ftkvm_verify_follow(struct ftkvm_replica *r, const struct ftkvm_rec *rec)
{
	struct ftkvm_verify *v = &r->verify;
	struct ftkvm_image img;
	int idx, ret;

	memcpy(v->sums, rec->image.data, rec->image.len);	/* aligned there */
	idx = srcu_read_lock(&r->kvm->srcu);
	if (rec->type == FTKVM_REC_PAGES) {
		ret = verify_differs(r, rec);
	} else {
		ftkvm_image_begin(&img, (__le32 *)v->sums, rec->image.len / sizeof(__le32),
				  true);
		ret = ftkvm_verify_image(r->vcpu, &img);
		if (ret) {
			ftkvm_follow_diverged(r, "can't be verified here (error %d)", ret);
		} else if (!ftkvm_image_agrees(&img)) {
			ftkvm_follow_diverged(r, "%s differs (here %#llx)", img.name, img.value);
			ret = -ESTALE;
		}
		v->first = false;
		v->left = rec->image.page;
		v->whole = v->left == verify_total(r->kvm);
		v->words = img.n;
	}
	srcu_read_unlock(&r->kvm->srcu, idx);
	if (ret)
		return -ESTALE;
	ftkvm_fault(FTKVM_FAULT_VERIFY_AGREES);
	/* pages come with all but the first one of a pairing */
	if (rec->type == FTKVM_REC_PAGES && !v->left)
		trace_ftkvm_verify_end(r, v->whole);
	if (v->whole && !v->left) {
		v->whole = false;
		v->done++;
	}
	ftkvm_log_consume(r);
	return 0;
}

/* ---- the operator ---- */

/* Is there a backup to compare with? 0, -EINVAL. */
static int verify_may(const struct ftkvm_replica *r, char *why, size_t size)
{
	enum ftkvm_state state = ftkvm_state(r);

	if (state == FTKVM_STATE_PRIMARY)
		return 0;
	snprintf(why, size, state == FTKVM_STATE_BACKUP ?
		 "guest %s is a backup here: verify it on its primary's host" :
		 "guest %s is %s: it has no replica to be compared with", r->name,
		 ftkvm_state_name(state));
	return -EINVAL;
}

/* see netlink.h */
int ftkvm_replica_verify(const char *name, char *why, size_t size)
{
	struct ftkvm_replica *r;
	int ret;

	r = ftkvm_replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	ret = verify_may(r, why, size);
	if (ret) {
		ftkvm_replica_done(r);
		return ret;
	}
	/* asked for, or logged and the backup has yet to compare it */
	if (READ_ONCE(r->verify.wanted) || !ftkvm_log_proven(r, r->verify.proof)) {
		snprintf(why, size, "guest %s is being verified already", name);
		ret = -EBUSY;
	} else {
		if (r->verify.proof)
			r->verify.done++;
		WRITE_ONCE(r->verify.proof, 0);
		WRITE_ONCE(r->verify.wanted, true);
		/* halted, it is where it can be done */
		kvm_vcpu_wake_up(r->vcpu);
	}
	ftkvm_replica_done(r);
	return ret;
}

/* see netlink.h */
int ftkvm_replica_verify_disks(const char *name, bool on, char *why, size_t size)
{
	struct ftkvm_replica *r;
	int ret;

	r = ftkvm_replica_command(name, &ret, why, size);
	if (!r)
		return ret;
	ret = 0;
	if (!on)
		ftkvm_sums_end(r);
	else
		ret = verify_may(r, why, size) ?: ftkvm_sums_begin(r, why, size);
	ftkvm_replica_done(r);
	return ret;
}
