// SPDX-License-Identifier: GPL-2.0
/* What each request of vhost-user means: it changes what is wanted, and no more. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include "vhost_request.h"

#define FILE_INDEX	0xff	/* of a kick, call or err message */
#define FILE_NONE	BIT(8)

#define ADDR_LOG	0x1

enum {
	GET_FEATURES = 1, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD,
	SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL,
	SET_VRING_ERR, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE,
	GET_CONFIG = 24, SET_CONFIG = 25,
};

int vu_bad(struct fterr *err, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return ft_fail(err, -EPROTO, "%s", text);
}

/* --- the device's features ------------------------------------------------- */

static size_t answer_features(struct vu *vu, struct vu_message *out)
{
	out->u64 = vu->offered;
	return sizeof(out->u64);
}

static bool any_running(const struct vu *vu)
{
	unsigned int n;

	for (n = 0; n < vu->nqueues; n++)
		if (vu->queue[n].running)
			return true;
	return false;
}

static int set_features(struct vu *vu, struct fterr *err)
{
	uint64_t wanted = vu->in.u64, extra = wanted & ~(vu->offered | FEATURES_QEMU);
	uint64_t change = (wanted ^ vu->features) & ~BIT(VU_F_LOG_ALL);
	bool logs = (wanted | vu->features) & BIT(VU_F_LOG_ALL), assumed = false;
	unsigned int n;

	if (extra)
		return vu_bad(err, "it takes features that were not offered (0x%llx)",
			      (unsigned long long)extra);
	for (n = 0; n < vu->nqueues; n++) {
		struct vu_queue *q = &vu->queue[n];

		/* But for a migration that begins or ends it sets the device up, so nothing runs. */
		if (q->assumed && !logs)
			q->running = q->assumed = false;
		assumed |= q->assumed;
	}
	if (change && any_running(vu) && !assumed)
		return vu_bad(err, "it changes features (0x%llx) while a queue runs",
			      (unsigned long long)change);
	/*
	 * QEMU 7.2, whose connection breaks before the guest's driver has set the device up,
	 * takes the next one for the same: what it negotiated holds, and it waits for answers.
	 */
	if ((wanted & BIT(VU_F_PROTOCOL_FEATURES)) && !vu->negotiated)
		vu->protocol = vu->protocol_offered;
	/* what it has taken is what it took before: it says so again when it sets the device up */
	if (assumed) {
		vu->features = wanted & BIT(VU_F_LOG_ALL);
		return 0;
	}
	vu->features = wanted;
	return change ? vu->ops->features(vu, err) : 0;
}

static size_t answer_protocol(struct vu *vu, struct vu_message *out)
{
	out->u64 = vu->protocol_offered;
	return sizeof(out->u64);
}

static int set_protocol(struct vu *vu, struct fterr *err)
{
	uint64_t extra = vu->in.u64 & ~vu->protocol_offered;

	if (extra)
		return vu_bad(err, "it takes protocol features that were not offered (0x%llx)",
			      (unsigned long long)extra);
	vu->protocol = vu->in.u64;
	vu->negotiated = true;
	return 0;
}

static size_t answer_queue_num(struct vu *vu, struct vu_message *out)
{
	out->u64 = vu->nqueues;
	return sizeof(out->u64);
}

static int check_config(struct vu *vu, struct fterr *err)
{
	uint32_t offset = vu->in.config.offset, size = vu->in.config.size;

	if (!vu->ops->config)
		return vu_bad(err, "the device has no configuration space");
	if (size > VU_CONFIG_MAX || offset > VU_CONFIG_MAX - size)
		return vu_bad(err, "it means %u bytes of the configuration space at %u", size, offset);
	if (vu->in.header.size != CONFIG_HEADER + size)
		return vu_bad(err, "it means %u bytes of the configuration space in a message of %u", size,
			      vu->in.header.size);
	return 0;
}

/* A driver can write there whatever it was offered, and QEMU passes that on. Nothing changes. */
static int set_config(struct vu *vu, struct fterr *err)
{
	vu->outcome = 1;
	return check_config(vu, err);
}

static size_t answer_config(struct vu *vu, struct vu_message *out)
{
	uint8_t config[VU_CONFIG_MAX] = { 0 };
	uint32_t offset = vu->in.config.offset, size = vu->in.config.size;

	/* What a newer client knows and we don't is zero: no such feature is offered. */
	vu->ops->config(vu, config);
	out->config.offset = offset;
	out->config.size = size;
	out->config.flags = vu->in.config.flags;
	memcpy(out->config.data, config + offset, size);
	return CONFIG_HEADER + size;
}

/* --- memory ---------------------------------------------------------------- */

/* Where @size bytes of the client's are in the guest; they must be in one piece. */
static bool find_gpa(const struct vu *vu, uint64_t hva, uint64_t size, uint64_t *gpa)
{
	unsigned int i;

	for (i = 0; i < vu->nregions; i++) {
		const struct vu_region *r = &vu->region[i];

		if (hva < r->hva || hva - r->hva > r->size || size > r->size - (hva - r->hva))
			continue;
		*gpa = r->gpa + (hva - r->hva);
		return true;
	}
	return false;
}

bool vu_find_rings(const struct vu *vu, const struct vu_queue *q, uint64_t *desc,
		   uint64_t *avail, uint64_t *used)
{
	/* Each ring's size, with the index behind it that EVENT_IDX would use. */
	return find_gpa(vu, q->hva_desc, q->num * sizeof(struct vring_desc), desc) &&
	       find_gpa(vu, q->hva_avail, 6 + q->num * sizeof(uint16_t), avail) &&
	       find_gpa(vu, q->hva_used, 6 + q->num * sizeof(struct vring_used_elem), used);
}

static int set_memory(struct vu *vu, struct fterr *err)
{
	uint64_t desc, avail, used;
	unsigned int i, n = vu->in.memory.n;

	if (n > VU_REGIONS || vu->in.header.size != 8 + n * sizeof(vu->in.memory.region[0]))
		return vu_bad(err, "it tells of %u regions of memory in a message of %u bytes", n,
			      vu->in.header.size);
	if (vu->nfds != n)
		return vu_bad(err, "it sends %u descriptors for %u regions of memory; QEMU's guest memory must be "
			      "shared: -object memory-backend-memfd,share=on,...", vu->nfds, n);
	for (i = 0; i < n; i++) {
		struct vu_region *r = &vu->region[i];

		r->gpa = vu->in.memory.region[i].gpa;
		r->size = vu->in.memory.region[i].size;
		r->hva = vu->in.memory.region[i].hva;
		if (!r->size || r->gpa + r->size - 1 < r->gpa || r->hva + r->size - 1 < r->hva)
			return vu_bad(err, "region %u of its memory can't be: it wraps around", i);
	}
	vu->nregions = n;
	for (i = 0; i < vu->nqueues; i++) {
		struct vu_queue *q = &vu->queue[i];

		/* of one that is assumed nobody knows where it is */
		if (q->running && !q->assumed && (!vu_find_rings(vu, q, &desc, &avail, &used) || desc != q->desc ||
				   avail != q->avail || used != q->used))
			return vu_bad(err, "it takes the memory away under queue %u, which runs", i);
	}
	return 0;
}

static size_t answer_log(struct vu *vu, struct vu_message *out)
{
	(void)vu;
	out->u64 = 0;
	return sizeof(out->u64);
}

/* --- queues ---------------------------------------------------------------- */

static struct vu_queue *find_queue(struct vu *vu, uint64_t n, struct fterr *err)
{
	if (n < vu->nqueues)
		return &vu->queue[n];
	vu_bad(err, "it speaks of queue %llu; the device has %u", (unsigned long long)n, vu->nqueues);
	return NULL;
}

/* One that does not run. */
static struct vu_queue *find_idle(struct vu *vu, uint64_t n, struct fterr *err)
{
	struct vu_queue *q = find_queue(vu, n, err);

	if (!q || !q->running)
		return q;
	vu_bad(err, "it changes queue %llu, which runs", (unsigned long long)n);
	return NULL;
}

static int set_num(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_idle(vu, vu->in.state.index, err);
	uint32_t num = vu->in.state.num;

	if (!q)
		return err->code;
	if (!num || num > FTKVM_DEV_NUM_HIGHEST || (num & (num - 1)))
		return vu_bad(err, "queue %u has %u entries; it must be a power of two, at most %u",
			      vu->in.state.index, num, FTKVM_DEV_NUM_HIGHEST);
	q->num = num;
	return 0;
}

static int set_base(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_idle(vu, vu->in.state.index, err);

	if (!q)
		return err->code;
	if (vu->in.state.num > UINT16_MAX)
		return vu_bad(err, "queue %u is to begin at entry %u", vu->in.state.index, vu->in.state.num);
	q->base = vu->in.state.num;
	q->based = true;
	return 0;
}

static int set_addr(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_queue(vu, vu->in.addr.index, err);
	uint64_t desc = vu->in.addr.desc, avail = vu->in.addr.avail, used = vu->in.addr.used;

	if (!q)
		return err->code;
	if (vu->in.addr.flags & ~ADDR_LOG)
		return vu_bad(err, "the address of queue %u has flags 0x%x", vu->in.addr.index, vu->in.addr.flags);
	/* A migration begins or ends: said again, for the log. */
	if (q->running) {
		if (q->assumed || (desc == q->hva_desc && avail == q->hva_avail && used == q->hva_used))
			return 0;
		return vu_bad(err, "it moves queue %u, which runs", vu->in.addr.index);
	}
	if (desc % VRING_DESC_ALIGN_SIZE || avail % VRING_AVAIL_ALIGN_SIZE || used % VRING_USED_ALIGN_SIZE)
		return vu_bad(err, "the rings of queue %u are not aligned as virtio has it", vu->in.addr.index);
	q->hva_desc = desc;
	q->hva_avail = avail;
	q->hva_used = used;
	q->placed = true;
	return 0;
}

static int take_fd(struct vu *vu)
{
	int fd = vu->fd[0];

	vu->nfds = 0;
	return fd;
}

void vu_replace_fd(struct vu *vu, int *at, int fd)
{
	if (*at >= 0)
		vu->fd[vu->nfds++] = *at;
	*at = fd;
}

static struct vu_queue *find_file_queue(struct vu *vu, bool none_may, struct fterr *err)
{
	struct vu_queue *q = find_queue(vu, vu->in.u64 & FILE_INDEX, err);

	if (!q)
		return NULL;
	if (vu->in.u64 & ~(FILE_INDEX | FILE_NONE))
		vu_bad(err, "a descriptor of queue %u with flags 0x%llx", (unsigned int)(vu->in.u64 & FILE_INDEX),
		       (unsigned long long)vu->in.u64);
	else if (vu->nfds != (vu->in.u64 & FILE_NONE ? 0 : 1))
		vu_bad(err, "a message for a descriptor, with %u", vu->nfds);
	else if (!vu->nfds && !none_may)
		vu_bad(err, "queue %u has no kick descriptor: a queue is not polled",
		       (unsigned int)(vu->in.u64 & FILE_INDEX));
	else
		return q;
	return NULL;
}

/* Whoever had it before has it no more. */
static void put_kick(struct vu *vu, struct vu_queue *q, int fd)
{
	vu_replace_fd(vu, &q->kick, fd);
	q->assumed = false;
	q->kept = false;
}

static int set_kick(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_file_queue(vu, false, err);

	if (!q || !find_idle(vu, vu->in.u64 & FILE_INDEX, err))
		return err->code;
	put_kick(vu, q, take_fd(vu));
	return 0;
}

static int set_call(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_file_queue(vu, true, err);

	if (!q)
		return err->code;
	vu_replace_fd(vu, &q->call, vu->nfds ? take_fd(vu) : -1);
	q->call_changed = true;
	return 0;
}

/* What breaks is told by other means. */
static int set_err(struct vu *vu, struct fterr *err)
{
	return find_file_queue(vu, true, err) ? 0 : err->code;
}

static int set_enable(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_queue(vu, vu->in.state.index, err);

	if (!q)
		return err->code;
	if (vu->in.state.num > 1)
		return vu_bad(err, "queue %u is to be enabled by %u", vu->in.state.index, vu->in.state.num);
	q->enabled = vu->in.state.num;
	q->assumed &= q->enabled;
	return 0;
}

static int get_base(struct vu *vu, struct fterr *err)
{
	struct vu_queue *q = find_queue(vu, vu->in.state.index, err);

	if (!q)
		return err->code;
	/* Hung up on, QEMU finds that in the guest's memory. */
	if (!q->based && !q->running)
		return vu_bad(err, "it asks where queue %u was, which has never run", vu->in.state.index);
	put_kick(vu, q, -1);	/* which ends it */
	return 0;
}

static size_t answer_base(struct vu *vu, struct vu_message *out)
{
	out->state.index = vu->in.state.index;
	out->state.num = vu->queue[vu->in.state.index].base;
	return sizeof(out->state);
}

static int reset(struct vu *vu, struct fterr *err)
{
	unsigned int n;

	(void)err;
	for (n = 0; n < vu->nqueues; n++) {
		put_kick(vu, &vu->queue[n], -1);
		vu->queue[n].enabled = false;
	}
	return 0;
}

/* --- messages -------------------------------------------------------------- */

/* By number; what QEMU sends only with protocol features that are not offered is missing. */
static const struct request requests[] = {
	[GET_FEATURES] = { "GET_FEATURES", 0, 0, 0, 0, NULL, answer_features },
	[SET_FEATURES] = { "SET_FEATURES", 8, 8, 0, 0, set_features, NULL },
	[SET_OWNER] = { "SET_OWNER", 0, 0, 0, 0, NULL, NULL },
	[RESET_OWNER] = { "RESET_OWNER", 0, 0, 0, 0, reset, NULL },
	[SET_MEM_TABLE] = { "SET_MEM_TABLE", 8, PAYLOAD(memory), VU_REGIONS, 0, set_memory, NULL },
	[SET_LOG_BASE] = { "SET_LOG_BASE", PAYLOAD(log), PAYLOAD(log), 1, BIT(P_LOG_SHMFD), NULL,
			   answer_log },
	[SET_LOG_FD] = { "SET_LOG_FD", 0, 8, 1, 0, NULL, NULL },
	[SET_VRING_NUM] = { "SET_VRING_NUM", 8, 8, 0, 0, set_num, NULL },
	[SET_VRING_ADDR] = { "SET_VRING_ADDR", PAYLOAD(addr), PAYLOAD(addr), 0, 0, set_addr, NULL },
	[SET_VRING_BASE] = { "SET_VRING_BASE", 8, 8, 0, 0, set_base, NULL },
	[GET_VRING_BASE] = { "GET_VRING_BASE", 8, 8, 0, 0, get_base, answer_base },
	[SET_VRING_KICK] = { "SET_VRING_KICK", 8, 8, 1, 0, set_kick, NULL },
	[SET_VRING_CALL] = { "SET_VRING_CALL", 8, 8, 1, 0, set_call, NULL },
	[SET_VRING_ERR] = { "SET_VRING_ERR", 8, 8, 1, 0, set_err, NULL },
	[GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", 0, 0, 0, 0, NULL, answer_protocol },
	[SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", 8, 8, 0, 0, set_protocol, NULL },
	[GET_QUEUE_NUM] = { "GET_QUEUE_NUM", 0, 0, 0, BIT(P_MQ), NULL, answer_queue_num },
	[SET_VRING_ENABLE] = { "SET_VRING_ENABLE", 8, 8, 0, 0, set_enable, NULL },
	[GET_CONFIG] = { "GET_CONFIG", CONFIG_HEADER, PAYLOAD(config), 0, BIT(P_CONFIG), check_config,
			 answer_config },
	[SET_CONFIG] = { "SET_CONFIG", CONFIG_HEADER, PAYLOAD(config), 0, BIT(P_CONFIG), set_config, NULL },
};

bool vu_speaks_on(const void *said, size_t n)
{
	uint32_t request;

	if (n < sizeof(request))
		return false;
	memcpy(&request, said, sizeof(request));
	return request != GET_FEATURES;
}

void vu_assume_running(struct vu *vu)
{
	unsigned int n;

	/* as SET_FEATURES would have it */
	vu->protocol = vu->protocol_offered;
	for (n = 0; n < vu->nqueues; n++)
		vu->queue[n].running = vu->queue[n].assumed = true;
}

const struct request *vu_find_request(uint32_t number)
{
	return number < ARRAY_SIZE(requests) && requests[number].name ? &requests[number] : NULL;
}
