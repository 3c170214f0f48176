/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The vhost-user control protocol, on the side that has the device. QEMU is the
 * client: over a UNIX socket it says where the guest's rings are and hands over
 * their eventfds. No ring is touched here, and no guest memory mapped: what is
 * learned goes to whoever filled in the operations.
 *
 * The client is not trusted. Whatever it sends that can't be is an error with a
 * text, after which the connection is to be ended.
 */
#ifndef FTKVM_VHOST_USER_H
#define FTKVM_VHOST_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include <linux/ftkvm.h>
#include "util.h"

#define VU_QUEUES	2	/* of a device, at most */
#define VU_REGIONS	8	/* of guest memory, as the protocol has it */
#define VU_FDS		(2 * VU_REGIONS)	/* a message's, and as many that are too many */
#define VU_CONFIG_MAX	256
#define VU_LATER	1	/* an operation has begun: vu_finish() tells its end */

/* Feature bits beside those of linux/virtio_*.h */
#define VU_F_LOG_ALL		26
#define VU_F_PROTOCOL_FEATURES	30

struct vu;

/**
 * struct vu_ops - what happens to a device
 *
 * Each returns 0 or -errno with a text, which ends the connection; start, stop,
 * call and close also VU_LATER: then no message is read until vu_finish(). They
 * find all that is known in the struct vu.
 *
 * @features: the driver has accepted these (vu->features); no queue runs
 * @start: queue @n is to run; its parameters are whole and sound
 * @stop: it is to stop; @base gets the index it would go on with
 * @call: a running queue has another call descriptor, or none
 * @close: vu_close_fds(); it may take as long as the client likes, as any file of
 *	its own may be behind a descriptor
 * @config: fill in the configuration space, all zero yet; NULL: there is none
 */
struct vu_ops {
	int (*features)(struct vu *vu, struct fterr *err);
	int (*start)(struct vu *vu, unsigned int n, struct fterr *err);
	int (*stop)(struct vu *vu, unsigned int n, uint32_t *base, struct fterr *err);
	int (*call)(struct vu *vu, unsigned int n, struct fterr *err);
	int (*close)(struct vu *vu, struct fterr *err);
	void (*config)(struct vu *vu, uint8_t config[VU_CONFIG_MAX]);
};

/**
 * struct vu_queue - one queue
 * @num: entries of its rings
 * @base: the next entry to be looked at
 * @hva_desc, @hva_avail, @hva_used: the rings, by the client's addresses
 * @desc, @avail, @used: ... and by the guest's physical ones; of a queue that runs
 * @kick, @call: eventfds or -1
 * @placed: the client has said where the rings are
 * @based: @base is known
 * @enabled: ... and that it is enabled
 * @running: it was started
 * @assumed: ... by a connection before, whose client speaks on here
 * @kept: ... by this one, at a former ftd: @kick is the module's alone
 * @call_changed: since it was told by start or call
 */
struct vu_queue {
	uint32_t num, base;
	uint64_t hva_desc, hva_avail, hva_used;
	uint64_t desc, avail, used;
	int kick, call;
	bool placed, based, enabled, running, assumed, kept, call_changed;
};

struct vu_region {
	uint64_t gpa, size, hva;
};

/* A message on the wire, in the host's byte order. */
struct vu_message {
	struct {
		uint32_t request, flags, size;
	} header;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t n, padding;
			struct {
				uint64_t gpa, size, hva, offset;
			} region[VU_REGIONS];
		} memory;
		struct {
			uint64_t size, offset;
		} log;
		struct {
			uint32_t offset, size, flags;
			uint8_t data[VU_CONFIG_MAX];
		} config;
	};
} __attribute__((packed));

/**
 * struct vu - a connection
 * @sock: the client's socket, non-blocking; not closed here
 * @offered, @protocol_offered: features; known from the beginning
 * @features, @protocol: what the client has taken of them
 * @negotiated: it has said what it takes of @protocol_offered
 * @nqueues: of the device
 * @region, @nregions: the guest's memory as the client has it
 * @have: bytes of @in that have come
 * @outcome: of it, for a client that wants to know: 0, or another number if it was not done
 * @fd, @nfds: descriptors that came with them; then those that are to be closed
 * @doing, @doing_queue: the operation that has begun, for vu_finish()
 */
struct vu {
	const struct vu_ops *ops;
	void *arg;
	int sock;
	uint64_t offered, protocol_offered;
	unsigned int nqueues;

	uint64_t features, protocol;
	bool negotiated;
	struct vu_queue queue[VU_QUEUES];
	struct vu_region region[VU_REGIONS];
	unsigned int nregions;

	struct vu_message in;
	size_t have;
	uint64_t outcome;
	int fd[VU_FDS];
	unsigned int nfds;
	enum { VU_IDLE, VU_STARTING, VU_STOPPING, VU_CALLING, VU_CLOSING } doing;
	unsigned int doing_queue;
};

/**
 * vu_init() - a client has connected
 * @kind: enum ftkvm_uapi_dev_kind: what is offered beside the kind's @features
 * @features: the device's own, a mask of what vu_kind_features() allows
 */
void vu_init(struct vu *vu, int sock, uint32_t kind, uint64_t features, const struct vu_ops *ops,
	     void *arg);

/*
 * What a client has said first, @n bytes of it: does it take the connection for one that was before?
 * QEMU 7.2 does with a disk's, if the guest was stopped, or had not set the disk up, as that one broke;
 * and hears nothing of connections from then on. So whether its queues run it does not say.
 */
bool vu_speaks_on(const void *said, size_t n);
/* It does: what it has set up is in force. */
void vu_assume_running(struct vu *vu);

/*
 * For a connection that outlives ftd: what the client has said, as the next ftd needs it; NULL: it is in the
 * midst of something. And that next one's: 0, or -errno with a text.
 */
json_t *vu_keep(const struct vu *vu);
int vu_restore(struct vu *vu, json_t *state, struct fterr *err);

/* What a device of this kind may offer of its kind's features. */
uint64_t vu_kind_features(uint32_t kind);

/**
 * vu_read() - serve what the client has sent, but not without end
 * Return: 0: all of it, or so many messages that others should have their turn: to be
 * called again while there is something to be read; VU_LATER: up to an operation that has begun;
 * -ENOTCONN: the client has hung up; another -errno: it is to be sent away.
 * With a text.
 */
int vu_read(struct vu *vu, struct fterr *err);

/**
 * vu_finish() - an operation that has begun is done, and well
 * @base: of stop
 * Return: as vu_read(), which it goes on with
 */
int vu_finish(struct vu *vu, uint32_t base, struct fterr *err);

/* Close what nobody uses any more: @close of the operations, in any thread. */
void vu_close_fds(struct vu *vu);

/*
 * Close what was received, but for the socket, in any thread. Queues that run are the
 * caller's to stop.
 */
void vu_free(struct vu *vu);

/* A request's name, for people. */
const char *vu_request_name(uint32_t request);

#endif
