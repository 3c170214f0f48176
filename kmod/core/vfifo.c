// SPDX-License-Identifier: GPL-2.0
/*
 * From a chain to a pending request, and from its completion to the used ring.
 *
 * What the driver gave is copied when the request is taken, at a point that both
 * replicas know; what it gets is written when it is completed, at another. Between
 * the two nobody looks at guest memory.
 */
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vfifo.h"

static void vreq_free(struct kref *ref)
{
	struct ftkvm_vreq *req = container_of(ref, struct ftkvm_vreq, ref);

	kvfree(req->data);
	kfree(req);
}

/**
 * ftkvm_vreq_put() - a request is no longer worked on
 * @req: the request
 *
 * Context: Process; sleeps.
 */
void ftkvm_vreq_put(struct ftkvm_vreq *req)
{
	kref_put(&req->ref, vreq_free);
}

/**
 * ftkvm_vreq_make() - a request of a chain
 * @c: the chain; what is to be written is kept, what is to be read is about to be copied
 * @kind: enum ftkvm_vreq_kind
 * @len: bytes of data, zeroed: whatever happens, the guest sees nothing of the host's
 *
 * Context: Process; sleeps.
 * Return: the request, or NULL.
 */
struct ftkvm_vreq *ftkvm_vreq_make(const struct ftkvm_vchain *c, u8 kind, u32 len)
{
	struct ftkvm_vreq *req = kzalloc(struct_size(req, seg, c->nin), GFP_KERNEL_ACCOUNT);

	if (!req)
		return NULL;
	kref_init(&req->ref);
	req->kind = kind;
	req->len = len;
	req->held = len;
	req->chain.seg = req->seg;
	req->chain.room = c->nin;
	req->chain.head = c->head;
	req->chain.nin = c->nin;
	req->chain.in_len = c->in_len;
	memcpy(req->seg, c->seg + c->nout, c->nin * sizeof(*req->seg));
	if (!len)
		return req;
	req->data = kvzalloc(len, GFP_KERNEL_ACCOUNT);
	if (req->data)
		return req;
	kfree(req);
	return NULL;
}

/**
 * ftkvm_vfifo_push() - a request is pending
 * @f: the FIFO, not full
 * @req: the request; gets its number
 *
 * Context: Any; the queue's lock.
 */
void ftkvm_vfifo_push(struct ftkvm_vfifo *f, struct ftkvm_vreq *req)
{
	req->seq = f->next;
	f->slot[f->next++ % FTKVM_VIRTQ_NUM_MAX] = req;
	f->bytes += req->held;
}

/**
 * ftkvm_vfifo_pop() - the oldest request is not pending any more
 * @f: the FIFO, not empty
 *
 * Context: Process; sleeps; the queue's lock.
 */
void ftkvm_vfifo_pop(struct ftkvm_vfifo *f)
{
	struct ftkvm_vreq **slot = &f->slot[f->first % FTKVM_VIRTQ_NUM_MAX];
	struct ftkvm_vreq *req = *slot;

	*slot = NULL;
	f->first++;
	f->bytes -= req->held;
	ftkvm_vreq_put(req);
}

static int vreq_parse(struct ftkvm_virtq *q, const struct ftkvm_vblk *disk,
		      const struct ftkvm_vchain *c, struct ftkvm_vblk_req *blk)
{
	struct virtio_blk_outhdr hdr;
	int ret;

	if (c->out_len >= sizeof(hdr)) {
		ret = ftkvm_vchain_read(q, c, 0, &hdr, sizeof(hdr));
		if (ret)
			return ret;
	}
	if (ftkvm_vblk_parse(disk, &hdr, c->out_len, c->in_len, blk))
		return ftkvm_virtq_break(q, "a request without a header or a status");
	return 0;
}

static int vreq_fill(struct ftkvm_virtq *q, const struct ftkvm_vblk *disk,
		     const struct ftkvm_vchain *c, struct ftkvm_vreq *req)
{
	int ret = ftkvm_vchain_read(q, c, FTKVM_VBLK_DATA_AT, req->data,
				    ftkvm_vblk_out_len(&req->blk));

	if (ret)
		return ret;
	if (req->blk.op == FTKVM_VBLK_GET_ID)
		memcpy(req->data, disk->id, req->blk.len);
	ftkvm_vblk_judge_ranges(disk, &req->blk, req->data);
	return 0;
}

/**
 * ftkvm_vfifo_take() - take the next request out of its queue
 * @f: the FIFO
 * @q: the queue
 * @disk: what it is asked of
 * @req: the request, at the FIFO's end
 *
 * To be called until it returns no 1: after a kick, and after a completion, since
 * requests stay in the queue while the FIFO holds enough.
 *
 * Context: Process; sleeps; the queue's lock.
 * Return: 1; 0 when nothing is available, or enough is pending; -EPROTO: the queue is
 * broken; -ENOMEM: the request is to be taken later.
 */
int ftkvm_vfifo_take(struct ftkvm_vfifo *f, struct ftkvm_virtq *q,
		     const struct ftkvm_vblk *disk, struct ftkvm_vreq **req)
{
	struct ftkvm_vchain c = { .seg = f->scratch, .room = FTKVM_VCHAIN_SEGS };
	struct ftkvm_vblk_req blk;
	struct ftkvm_vreq *new;
	int ret;

	if (ftkvm_vfifo_full(f))
		return 0;
	ret = ftkvm_virtq_next(q, &c);
	if (ret <= 0)
		return ret;
	ret = vreq_parse(q, disk, &c, &blk);
	if (ret)
		return ret;
	new = ftkvm_vreq_make(&c, FTKVM_VREQ_BLK, blk.len);
	if (!new) {
		ftkvm_virtq_untake(q);
		return -ENOMEM;
	}
	new->blk = blk;
	ret = vreq_fill(q, disk, &c, new);
	if (ret) {
		ftkvm_vreq_put(new);
		return ret;
	}
	ftkvm_vfifo_push(f, new);
	*req = new;
	return 1;
}

/**
 * ftkvm_vfifo_done() - complete the oldest request
 * @f: the FIFO
 * @q: the queue
 * @status: how it went, VIRTIO_BLK_S_*; of a REFUSED one the status is known
 *
 * The driver gets the request's @data, if it is to get some.
 *
 * Context: Process; sleeps; the queue's lock.
 * Return: 0; -EPROTO: the queue is broken and the request stays; -ENOENT: none is
 * pending; -EINVAL: there is no such @status, or the queue is stopped.
 */
int ftkvm_vfifo_done(struct ftkvm_vfifo *f, struct ftkvm_virtq *q, u8 status)
{
	struct ftkvm_vreq *req = ftkvm_vfifo_find(f, f->first);
	u32 len;
	int ret;

	if (!req)
		return -ENOENT;
	if (req->blk.op == FTKVM_VBLK_REFUSED)
		status = req->blk.status;
	if (status > VIRTIO_BLK_S_UNSUPP)
		return -EINVAL;
	len = ftkvm_vblk_in_len(&req->blk, status);
	ret = ftkvm_vchain_write(q, &req->chain, 0, req->data, len);
	if (!ret)
		ret = ftkvm_vchain_write(q, &req->chain, req->blk.status_at, &status,
					 sizeof(status));
	if (!ret)
		ret = ftkvm_virtq_put(q, req->chain.head, len + sizeof(status));
	if (ret)
		return ret;
	ftkvm_vfifo_pop(f);
	return 0;
}

/**
 * ftkvm_vfifo_drop() - forget all pending requests
 * @f: the FIFO
 *
 * For a queue that is rolled back or stopped: what was dropped is in it still.
 *
 * Context: Process; sleeps; the queue's lock.
 */
void ftkvm_vfifo_drop(struct ftkvm_vfifo *f)
{
	while (f->first != f->next)
		ftkvm_vfifo_pop(f);
}
