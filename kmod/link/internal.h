/* SPDX-License-Identifier: GPL-2.0 */
/* What the link's files share. */
#ifndef FTKVM_LINK_INTERNAL_H
#define FTKVM_LINK_INTERNAL_H

#include <linux/atomic.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <uapi/linux/ftkvm.h>
#include "link.h"
#include "wire.h"

/* bits of @flags */
#define FTKVM_LINK_KICK		0	/* there may be log bytes to pull */
#define FTKVM_LINK_ACK		1	/* there is something to acknowledge */
#define FTKVM_LINK_REST		2	/* a frame was begun and must be finished */
#define FTKVM_LINK_MUTE		3	/* the peer does not take anything any more */

struct ftkvm_link_acks {
	u64 received;
	u64 consumed;
	u64 epoch;
};

/**
 * struct ftkvm_link - see link.h
 * @wire: the socket
 * @ops: upcalls
 * @priv: their argument
 * @tx: send thread; NULL until ftkvm_link_start()
 * @rx: receive thread
 * @running: threads that have not left
 * @flags: FTKVM_LINK_*
 * @lock: guards @want, @later, @reason, @detail, the setting of @dead. Raw: acknowledgments
 *	come with interrupts off
 * @want: what the peer shall know
 * @told: what it was told; under @wire.tx
 * @later: there is something in @want that waits for the next acknowledgment
 * @dead: no more frames, no more upcalls but down()
 * @stopped: both threads have ended
 * @reason: why
 * @detail: the same in words
 * @tx_off: log bytes sent; under @wire.tx
 * @rx_off: log bytes received; this and those below: receive thread
 * @chatter: frames since @chatter_since that said nothing new
 * @chatter_since: jiffies
 * @heard_acks: what the peer acknowledged last
 */
struct ftkvm_link {
	struct ftkvm_wire wire;
	const struct ftkvm_link_ops *ops;
	void *priv;
	struct task_struct *tx;
	struct task_struct *rx;
	atomic_t running;
	unsigned long flags;

	raw_spinlock_t lock;
	struct ftkvm_link_acks want;
	struct ftkvm_link_acks told;
	bool later;
	bool stopped;
	bool dead;
	int reason;
	char detail[FTKVM_DETAIL_MAX + 1];

	u64 tx_off;

	u64 rx_off;
	unsigned int chatter;
	unsigned long chatter_since;
	struct ftkvm_link_acks heard_acks;
};

static inline bool ftkvm_link_dead(const struct ftkvm_link *l)
{
	/* Pairs with the release in ftkvm_link_fail(): the reason is there. */
	return smp_load_acquire(&l->dead);
}

void ftkvm_link_wake(struct ftkvm_link *l);
void ftkvm_link_fail_wire(struct ftkvm_link *l, int err);
void ftkvm_link_leave(struct ftkvm_link *l);

int ftkvm_link_tell(struct ftkvm_link *l, bool nowait);
int ftkvm_link_send_log(struct ftkvm_link *l, bool nowait);
int ftkvm_link_tx(void *data);
int ftkvm_link_rx(void *data);

#endif
