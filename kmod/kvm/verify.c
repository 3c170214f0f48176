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
#include <linux/crc32c.h>
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include "hooks.h"
#include "replica.h"
#include "trace.h"
#include "vendor.h"
#include "layout.h"

#define PAGES_MAX	(FTKVM_REC_MAX_DATA / sizeof(struct ftkvm_page_sum))
/* pages, in the background: at most so many that were written, and the slice */
#define VERIFY_WRITTEN	512
#define VERIFY_SLICE	128

static_assert(PAGES_MAX >= VERIFY_WRITTEN && PAGES_MAX >= VERIFY_SLICE);

/* Legacy and extended region of XSAVE's standard form, SDM volume 1, 13.4. */
#define XSAVE_FCW	0	/* control, status, tag words: 2, 2 and 1 bytes */
#define XSAVE_FCW_MASK	0xffffffffffull
#define XSAVE_MXCSR	24
#define XSAVE_ST	32
#define XSAVE_XMM	160
#define XSAVE_LEGACY	512
#define XSAVE_HEADER	64
#define XSAVE_YMM	(XSAVE_LEGACY + XSAVE_HEADER)	/* upper halves */
#define XSAVE_YMM_SIZE	256
#define XSAVE_BLOCK	64	/* bytes of what follows there that make a word here */

/* ---- registers ---- */

static void verify_words(struct ftkvm_image *img, const char *name, const void *data, u32 bytes)
{
	const u64 *v = data;
	int i;

	for (i = 0; i < bytes / sizeof(u64); i++)
		ftkvm_image_word(img, name, i, v[i]);
}

/*
 * The FPU's registers are in the CPU, or where the scheduler has saved them. FIP,
 * FDP and FOP are left out: AMD's CPUs save and restore them only with an
 * exception pending, so a switch of tasks on the host loses them (APM volume
 * 2, 11.4.4).
 */
static int verify_fpu(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	u64 mask = vcpu->arch.guest_supported_xcr0 & ~XFEATURE_MASK_PKRU;
	u32 size = max_t(u32, vcpu->arch.guest_fpu.fpstate->user_size,
			 XSAVE_YMM + XSAVE_YMM_SIZE), i;
	u8 *area;

	area = kvzalloc(size + 64, GFP_KERNEL);
	if (!area)
		return -ENOMEM;
	if (cpu_feature_enabled(X86_FEATURE_XSAVE) && mask) {
		u8 *at = PTR_ALIGN(area, 64);

		fpregs_lock();
		if (test_thread_flag(TIF_NEED_FPU_LOAD))
			switch_fpu_return();
		asm volatile("xsave64 (%0)" : : "r" (at), "a" ((u32)mask), "d" ((u32)(mask >> 32))
			     : "memory");
		fpregs_unlock();
		ftkvm_image_word(img, "x87 control", -1, *(u64 *)(at + XSAVE_FCW) & XSAVE_FCW_MASK);
		ftkvm_image_word(img, "mxcsr", -1, *(u32 *)(at + XSAVE_MXCSR));
		for (i = 0; i < 8; i++) {
			ftkvm_image_word(img, "st", i, *(u64 *)(at + XSAVE_ST + 16 * i));
			ftkvm_image_word(img, "st exponent", i, *(u16 *)(at + XSAVE_ST + 16 * i + 8));
		}
		verify_words(img, "xmm half ", at + XSAVE_XMM, 256);
		verify_words(img, "ymm upper half ", at + XSAVE_YMM, XSAVE_YMM_SIZE);
		for (i = XSAVE_YMM + XSAVE_YMM_SIZE; i + XSAVE_BLOCK <= size; i += XSAVE_BLOCK)
			ftkvm_image_word(img, "extended state at ", i,
					 crc32c(~0, at + i, XSAVE_BLOCK));
	}
	kvfree(area);
	return 0;
}

static void verify_lapic(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	const u8 *regs = *(u8 **)((char *)vcpu->arch.apic + FTKVM_OFF_KVM_LAPIC_REGS);
	int off;

	for (off = 0; off < 0x400; off += 0x10) {
		/* computed when they are asked for, or when KVM gets round to it */
		if (off == APIC_PROCPRI || off == APIC_TMCCT || off == APIC_ARBPRI)
			continue;
		ftkvm_image_word(img, "local APIC register ", off, *(u32 *)(regs + off));
	}
}

static void verify_common(struct kvm_vcpu *vcpu, struct ftkvm_image *img)
{
	const struct kvm_vcpu_arch *a = &vcpu->arch;
	u64 ram;

	ftkvm_image_word(img, "memory layout", -1, ftkvm_slots_crc(vcpu->kvm, &ram));
	ftkvm_image_word(img, "mp state", -1, a->mp_state);
	ftkvm_image_word(img, "xcr0", -1, a->xcr0);
	ftkvm_image_word(img, "pkru", -1, a->pkru);
	ftkvm_image_word(img, "apic base", -1, a->apic_base);
	ftkvm_image_word(img, "misc enable", -1, a->ia32_misc_enable_msr);
	ftkvm_image_word(img, "pat", -1, a->pat);
	ftkvm_image_word(img, "smbase", -1, a->smbase);
	ftkvm_image_word(img, "xss", -1, a->ia32_xss);
	ftkvm_image_word(img, "mcg status", -1, a->mcg_status);
	ftkvm_image_word(img, "mcg ctl", -1, a->mcg_ctl);
	if (a->mce_banks)
		verify_words(img, "machine check bank word ", a->mce_banks,
			     (a->mcg_cap & 0xff) * 4 * sizeof(u64));
	verify_words(img, "mtrr word ", &a->mtrr_state.var, sizeof(a->mtrr_state.var));
	verify_words(img, "fixed mtrr word ", &a->mtrr_state.fixed_64k,
		     offsetof(struct kvm_mtrr, deftype) - offsetof(struct kvm_mtrr, fixed_64k));
	ftkvm_image_word(img, "mtrr deftype", -1, a->mtrr_state.deftype);
	ftkvm_image_word(img, "hwcr", -1, a->msr_hwcr);
	verify_words(img, "dr", a->db, sizeof(a->db));
	ftkvm_image_word(img, "nmi pending", -1, a->nmi_pending);
	ftkvm_image_word(img, "interrupt pending", -1,
			 a->pending_external_vector | a->interrupt.injected << 16);
	ftkvm_image_word(img, "exception pending", -1,
			 a->exception.pending ? a->exception.vector | BIT(8) : 0);
	/* in hflags the rest is KVM's bookkeeping */
	ftkvm_image_word(img, "smm", -1, a->hflags & HF_SMM_MASK);
}

/* Registers of every kind. 0, -ENOMEM. */
static int verify_image(struct ftkvm_replica *r, struct ftkvm_image *img)
{
	struct ftkvm_regs regs;
	int i;

	ftkvm_vendor()->regs(r->vcpu, &regs);
	for (i = 0; i < FTKVM_NREGS; i++)
		ftkvm_image_word(img, ftkvm_reg_name(i), -1,
				 regs.r[i] & ~(i == FTKVM_REG_RFLAGS ? FTKVM_RFLAGS_IGNORED : 0));
	ftkvm_vendor()->image(r->vcpu, img);
	verify_common(r->vcpu, img);
	verify_lapic(r->vcpu, img);
	return verify_fpu(r->vcpu, img);
}

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
	int ret;

	*gfn = verify_gfn(r->kvm, page);
	ret = kvm_read_guest_page(r->kvm, *gfn, r->verify.page, 0, PAGE_SIZE);
	if (!ret)
		ftkvm_page_sum(sum, r->verify.page);
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
	ret = verify_image(r, &img);
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

static void verify_end(struct ftkvm_replica *r)
{
	struct ftkvm_verify *v = &r->verify;

	trace_ftkvm_verify_end(r, v->whole);
	v->left = 0;
	if (!v->whole)
		return;
	v->ns = ktime_to_ns(ktime_sub(ktime_get(), v->began));
	/* proven when the backup has consumed so much */
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
	verify_end(r);
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
		ret = verify_image(r, &img);
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
