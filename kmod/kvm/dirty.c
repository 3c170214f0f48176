// SPDX-License-Identifier: GPL-2.0
/*
 * Which pages has the guest written? The CPU sets the dirty bit of a nested page
 * table's entry at the first write (AMD APM volume 2, 15.25.5); KVM leaves it
 * alone as long as the page is mapped. So they are gathered, and cleared, at a
 * verification: no write of the guest's costs an exit, as it would with KVM's
 * dirty log.
 *
 * A hint, not a proof: what KVM or QEMU write for the guest shows in no such
 * table, and a table that is torn down takes its bits along. Verification goes
 * through all other pages, too, if more slowly.
 */
#include <linux/bitmap.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include "../fault/fault.h"
#include "replica.h"
#include "vendor.h"

#define TABLE_BITS	9
#define TABLE_ENTRIES	BIT(TABLE_BITS)
#define ENTRY_ADDRESS	GENMASK_ULL(51, PAGE_SHIFT)

/* Frames that an entry of a table at @level (1: of pages) spans. */
static gfn_t dirty_span(int level)
{
	return BIT_ULL(TABLE_BITS * (level - 1));
}

/*
 * The entry that maps @gfn, and its level; or NULL, and the level of the one that
 * is not there.
 */
static u64 *dirty_entry(struct kvm_vcpu *vcpu, gfn_t gfn, int *level)
{
	u64 table = vcpu->arch.mmu->root.hpa, *entry;

	*level = vcpu->arch.mmu->root_role.level;
	if (!VALID_PAGE(table))
		return NULL;
	for (;; --*level) {
		entry = (u64 *)__va(__sme_clr(table) & ENTRY_ADDRESS) +
			((gfn / dirty_span(*level)) & (TABLE_ENTRIES - 1));
		table = READ_ONCE(*entry);
		if (!(table & _PAGE_PRESENT))
			return NULL;
		if (*level == 1 || (table & _PAGE_PSE))
			return entry;
	}
}

/* @first is the number of the slot's first page; see verify.c for numbers. */
static void dirty_slot(struct ftkvm_replica *r, const struct kvm_memory_slot *slot, u64 first)
{
	gfn_t gfn = slot->base_gfn, end = gfn + slot->npages;
	unsigned long bit = ftkvm_vendor()->dirty_bit;
	struct kvm *kvm = r->kvm;

	write_lock(&kvm->mmu_lock);
	while (gfn < end) {
		int level;
		u64 *entry = dirty_entry(r->vcpu, gfn, &level);
		gfn_t next = min(end, round_down(gfn, dirty_span(level)) + dirty_span(level));

		if (entry && test_and_clear_bit(bit, (unsigned long *)entry)) {
			/* what KVM would have told the host's memory management */
			kvm_set_pfn_dirty((__sme_clr(*entry) & ENTRY_ADDRESS) >> PAGE_SHIFT);
			bitmap_set(r->dirty.map, first + (gfn - slot->base_gfn), next - gfn);
			r->dirty.cleared = true;
		}
		gfn = next;
		/* the tables may be others afterwards: each frame is looked up anew */
		if (!(gfn & (TABLE_ENTRIES - 1)))
			cond_resched_rwlock_write(&kvm->mmu_lock);
	}
	write_unlock(&kvm->mmu_lock);
}

/* The map for a guest of @total pages. A map that is new knows nothing. */
static bool dirty_fits(struct ftkvm_replica *r, u64 total)
{
	if (r->dirty.total == total)
		return r->dirty.map;
	ftkvm_dirty_free(r);
	/* asked once: a guest that is too large for it goes without */
	r->dirty.total = total;
	r->dirty.map = ftkvm_fault_alloc(ALLOC_DIRTY,
					 kvcalloc(BITS_TO_LONGS(total), sizeof(long),
						  GFP_KERNEL_ACCOUNT | __GFP_NOWARN));
	return r->dirty.map;
}

/**
 * ftkvm_dirty_gather() - note what the guest has written since the last time
 * @r: the replica
 * @total: pages of its memory
 *
 * Context: vCPU thread, process context, kvm->srcu read-held; KVM handles the
 * vCPU's requests before it enters the guest again.
 */
void ftkvm_dirty_gather(struct ftkvm_replica *r, u64 total)
{
	struct kvm_memslots *slots = kvm_memslots(r->kvm);
	struct kvm_memory_slot *slot;
	struct rb_node *node;
	u64 first = 0;

	/* shadow page tables are not by guest-physical address */
	if (!ftkvm_vendor()->dirty_bit || !r->vcpu->arch.mmu->root_role.direct ||
	    !dirty_fits(r, total))
		return;
	ftkvm_for_each_slot(slot, node, slots) {
		/* somebody may have added one since it was counted */
		if (first + slot->npages > total)
			break;
		if (!(slot->flags & KVM_MEM_READONLY))
			dirty_slot(r, slot, first);
		first += slot->npages;
	}
	if (r->dirty.cleared)
		kvm_flush_remote_tlbs(r->kvm);
	r->dirty.cleared = false;
}

/**
 * ftkvm_dirty_mark() - ftkvm itself has written to the guest's memory
 * @r: the replica
 * @gpa: where
 * @len: how many bytes
 *
 * Context: vCPU thread, process context, kvm->srcu read-held.
 */
void ftkvm_dirty_mark(struct ftkvm_replica *r, u64 gpa, u32 len)
{
	struct kvm_memslots *slots = kvm_memslots(r->kvm);
	gfn_t gfn = gpa >> PAGE_SHIFT, last = (gpa + len - 1) >> PAGE_SHIFT;
	struct kvm_memory_slot *slot;
	struct rb_node *node;
	u64 first = 0;

	if (!r->dirty.map || !len)
		return;
	ftkvm_for_each_slot(slot, node, slots) {
		gfn_t from = max(gfn, slot->base_gfn);
		gfn_t to = min(last + 1, slot->base_gfn + slot->npages);

		if (from < to && first + slot->npages <= r->dirty.total)
			bitmap_set(r->dirty.map, first + (from - slot->base_gfn), to - from);
		first += slot->npages;
	}
}

/**
 * ftkvm_dirty_count() - how many written pages wait for their verification?
 * @r: the replica
 * @most: no need to count further
 *
 * Context: vCPU thread.
 * Return: pages, @most at most.
 */
u64 ftkvm_dirty_count(const struct ftkvm_replica *r, u64 most)
{
	return r->dirty.map ? min_t(u64, most, bitmap_weight(r->dirty.map, r->dirty.total)) : 0;
}

/**
 * ftkvm_dirty_take() - the next written pages, which are forgotten
 * @r: the replica; ftkvm_dirty_count() said that there are some
 * @most: how many at most
 * @page: the first one's number
 *
 * Goes round, so that pages that are written all the time don't keep others out.
 * Context: vCPU thread.
 * Return: how many, one after the other; 0 when there are none.
 */
u32 ftkvm_dirty_take(struct ftkvm_replica *r, u32 most, u64 *page)
{
	struct ftkvm_dirty *d = &r->dirty;
	u64 at, end;

	if (!d->map)
		return 0;
	at = find_next_bit(d->map, d->total, d->next);
	if (at >= d->total)
		at = find_first_bit(d->map, d->total);
	if (at >= d->total)
		return 0;
	end = find_next_zero_bit(d->map, min_t(u64, d->total, at + most), at);
	bitmap_clear(d->map, at, end - at);
	d->next = end;
	*page = at;
	return end - at;
}

/**
 * ftkvm_dirty_free() - forget all
 * @r: the replica
 *
 * Context: process context; the vCPU thread, or there is none any more.
 */
void ftkvm_dirty_free(struct ftkvm_replica *r)
{
	kvfree(r->dirty.map);
	r->dirty = (struct ftkvm_dirty) { };
}
