// SPDX-License-Identifier: GPL-2.0
/*
 * A card's packets, from and to its rings. What is sent is copied when it is taken; what
 * came is written to the guest when the oldest room for it is completed.
 */
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vnet.h"

static int vnet_flaw(struct ftkvm_virtq *q, const struct ftkvm_vchain *c, bool rx)
{
	if (rx) {
		if (c->nout)
			return ftkvm_virtq_break(q, "room for a packet that is to be read");
		if (c->in_len < FTKVM_VNET_HDR)
			return ftkvm_virtq_break(q, "room for a packet without its header");
		return 0;
	}
	if (c->nin)
		return ftkvm_virtq_break(q, "a packet to be sent that is to be written");
	if (c->out_len < FTKVM_VNET_HDR)
		return ftkvm_virtq_break(q, "a packet without a header");
	return 0;
}

/**
 * ftkvm_vnet_take() - take the next packet, or room for one, out of its queue
 * @f: the FIFO
 * @q: the queue
 * @rx: room for what comes
 * @req: set
 *
 * As ftkvm_vfifo_take().
 * Context: Process; sleeps; the queue's lock.
 * Return: 1; 0 when nothing is available, or enough is pending; -EPROTO: the queue is
 * broken; -ENOMEM: it is to be taken later.
 */
int ftkvm_vnet_take(struct ftkvm_vfifo *f, struct ftkvm_virtq *q, bool rx,
		    struct ftkvm_vreq **req)
{
	struct ftkvm_vchain c = { .seg = f->scratch, .room = FTKVM_VCHAIN_SEGS };
	struct ftkvm_vreq *new;
	u32 len;
	int ret;

	if (ftkvm_vfifo_full(f))
		return 0;
	ret = ftkvm_virtq_next(q, &c);
	if (ret <= 0)
		return ret;
	ret = vnet_flaw(q, &c, rx);
	if (ret)
		return ret;
	/* no packet is as long: it is lost, as on a wire */
	len = rx || c.out_len > FTKVM_VNET_BYTES ? 0 : c.out_len;
	new = ftkvm_vreq_make(&c, rx ? FTKVM_VREQ_RX : FTKVM_VREQ_TX, len);
	if (!new) {
		ftkvm_virtq_untake(q);
		return -ENOMEM;
	}
	ret = rx ? 0 : ftkvm_vchain_read(q, &c, 0, new->data, new->len);
	if (ret) {
		ftkvm_vreq_put(new);
		return ret;
	}
	ftkvm_vfifo_push(f, new);
	*req = new;
	return 1;
}

/**
 * ftkvm_vnet_fits() - how much of the room for packets does one need?
 * @f: the FIFO
 * @seq: the first request that it could have
 * @len: its bytes, with the header
 * @merge: it may have several: VIRTIO_NET_F_MRG_RXBUF
 *
 * Context: Any; the queue's lock.
 * Return: how many requests it takes; 0: there is not as much room.
 */
u32 ftkvm_vnet_fits(const struct ftkvm_vfifo *f, u64 seq, u32 len, bool merge)
{
	const struct ftkvm_vreq *req;
	u32 n = 0;

	while ((req = ftkvm_vfifo_find(f, seq + n))) {
		n++;
		if (req->chain.in_len >= len)
			return n;
		if (!merge)
			break;
		len -= req->chain.in_len;
	}
	return 0;
}

/**
 * ftkvm_vnet_arrived() - a packet has come for a request
 * @req: the first that it takes
 * @packet: it, its header first
 * @len: its bytes
 *
 * Context: Process; sleeps.
 * Return: 0 or -ENOMEM.
 */
int ftkvm_vnet_arrived(struct ftkvm_vreq *req, const void *packet, u32 len)
{
	void *data = kvmemdup(packet, len, GFP_KERNEL_ACCOUNT);

	if (!data)
		return -ENOMEM;
	kvfree(req->data);
	req->data = data;
	req->len = len;
	return 0;
}

/**
 * ftkvm_vnet_done() - complete the oldest packet
 * @f: the FIFO
 * @q: the queue
 * @merge: VIRTIO_NET_F_MRG_RXBUF
 *
 * Context: Process; sleeps; the queue's lock.
 * Return: 0; -EPROTO: the queue is broken; -ENOENT: none is pending; -EINVAL: of what came
 * there is nothing, or more than there is room, or the queue is stopped.
 */
int ftkvm_vnet_done(struct ftkvm_vfifo *f, struct ftkvm_virtq *q, bool merge)
{
	struct ftkvm_vreq *first = ftkvm_vfifo_find(f, f->first);
	struct virtio_net_hdr_v1 *hdr;
	u32 at = 0, i, n;
	int ret;

	if (!first)
		return -ENOENT;
	if (first->kind == FTKVM_VREQ_TX) {
		ret = ftkvm_virtq_put(q, first->chain.head, 0);
		if (!ret)
			ftkvm_vfifo_pop(f);
		return ret;
	}
	n = first->len < FTKVM_VNET_HDR ? 0 : ftkvm_vnet_fits(f, f->first, first->len, merge);
	if (!n)
		return -EINVAL;
	hdr = first->data;
	hdr->num_buffers = cpu_to_le16(n);
	for (i = 0; i < n; i++) {
		const struct ftkvm_vreq *req = ftkvm_vfifo_find(f, f->first + i);
		u32 len = min(first->len - at, req->chain.in_len);

		ret = ftkvm_vchain_write(q, &req->chain, 0, first->data + at, len) ?:
		      ftkvm_virtq_fill(q, i, req->chain.head, len);
		if (ret)
			return ret;
		at += len;
	}
	/* all of it at once: a driver would take a part for all that there is */
	ret = ftkvm_virtq_publish(q, n);
	if (ret)
		return ret;
	for (i = 0; i < n; i++)
		ftkvm_vfifo_pop(f);
	return 0;
}
