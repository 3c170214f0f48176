/* SPDX-License-Identifier: GPL-2.0 */
/* vhost-user, between its two files: what a request is. */
#ifndef FTKVM_VHOST_REQUEST_H
#define FTKVM_VHOST_REQUEST_H

#include <stddef.h>
#include <linux/virtio_config.h>
#include "vhost_user.h"

#define BIT(n)	(1ULL << (n))

/* Protocol features */
enum {
	P_MQ = 0, P_LOG_SHMFD = 1, P_REPLY_ACK = 3, P_CONFIG = 9,
};

/* QEMU's own to offer, and of no effect with virtio 1. */
#define FEATURES_QEMU	BIT(VIRTIO_F_ANY_LAYOUT)

#define HEADER_SIZE	sizeof(((struct vu_message *)0)->header)
#define PAYLOAD(m)	sizeof(((struct vu_message *)0)->m)
#define CONFIG_HEADER	(offsetof(struct vu_message, config.data) - HEADER_SIZE)

/**
 * struct request - what a message looks like, and what it does
 * @least, @most: bytes of its payload
 * @fds: descriptors that may come with it
 * @protocol: the protocol features without which it makes no sense
 * @apply: change what is wanted
 * @answer: when that is so: fill in the answer's payload and return its size;
 *	without it there is an answer only if the client wants to know
 */
struct request {
	const char *name;
	size_t least, most;
	unsigned int fds;
	uint64_t protocol;
	int (*apply)(struct vu *vu, struct fterr *err);
	size_t (*answer)(struct vu *vu, struct vu_message *out);
};

/* NULL: not known here. */
const struct request *vu_find_request(uint32_t number);

/* Where the rings of a queue are in the guest; false: not in its memory. */
bool vu_find_rings(const struct vu *vu, const struct vu_queue *q, uint64_t *desc, uint64_t *avail,
		   uint64_t *used);

/* What @at holds, if anything, is to be closed; it gets @fd, which may be -1. */
void vu_replace_fd(struct vu *vu, int *at, int fd);

/* What the client says can't be: -EPROTO. */
int vu_bad(struct fterr *err, const char *fmt, ...) __printf(2, 3);

#endif
