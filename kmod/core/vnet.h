/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtio network card: what its driver gives to be sent, and room for what comes.
 * A packet has a header of 12 bytes before it (virtio 1.0 and later), which goes to and
 * comes from the host's interface as it is.
 */
#ifndef FTKVM_CORE_VNET_H
#define FTKVM_CORE_VNET_H

#include <linux/if_ether.h>
#include <linux/types.h>
#include <linux/virtio_net.h>

#include "vfifo.h"

#define FTKVM_VNET_HDR		((u32)sizeof(struct virtio_net_hdr_v1))
/* A packet with its headers: 64 KiB are put together by the driver or the host's interface. */
#define FTKVM_VNET_BYTES	(FTKVM_VNET_HDR + ETH_HLEN + 2 * 4 + 40 + 65535u)

/* Queues of a card. */
enum { FTKVM_VNET_RX, FTKVM_VNET_TX, FTKVM_VNET_QUEUES };

int ftkvm_vnet_take(struct ftkvm_vfifo *f, struct ftkvm_virtq *q, bool rx,
		    struct ftkvm_vreq **req);
u32 ftkvm_vnet_fits(const struct ftkvm_vfifo *f, u64 seq, u32 len, bool merge);
int ftkvm_vnet_arrived(struct ftkvm_vreq *req, const void *packet, u32 len);
int ftkvm_vnet_done(struct ftkvm_vfifo *f, struct ftkvm_virtq *q, bool merge);

#endif
