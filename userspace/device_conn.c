// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU at a device: what it says by vhost-user becomes the module's. Each
 * command to the module may block, so it is a job; nothing that QEMU says is
 * read meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_blk.h>
#include "backend.h"
#include "device.h"
#include "disk_recv.h"
#include "job.h"
#include "qmp.h"
#include "text.h"
#include "vhost_user.h"

/* Descriptors of a request beside the two of its header and status; as QEMU's own disks. */
#define SEG_MAX		126
#define SEG_BYTES	65536		/* of each, at most */
_Static_assert(SEG_MAX * SEG_BYTES <= 254 * 65536, "the module fails larger requests");
#define DISCARD_SECTORS	(1 << 22)	/* in one request: 2 GiB */

/**
 * struct devconn - a connection
 * @job: what the module is being told: a thread's own, with the fields below it
 * @busy: it is under way
 * @added: the module has the device
 * @adopted: ... from a former ftd, and could not be made to give it back, or is not to: ...
 * @speaks_on: ... as QEMU has not noticed that there was another
 * @state: what it has said to a former ftd, or NULL
 * @ending: it is to end as soon as it is not busy
 * @heard: it has said something
 * @reminded: ... or was made to, if it is a QEMU that can be
 * @greeted: vhost-user is spoken
 * @queue, @set, @base: what the job is about
 * @running: queues that the module runs, one bit each
 */
struct devconn {
	struct job job;
	json_t *state;
	bool busy, added, adopted, speaks_on, ending, heard, reminded, greeted;
	struct device *dev;
	int sock;
	pid_t pid;
	sd_event_source *io;
	struct vu vu;

	char name[FTKVM_NAME_MAX + 1];
	struct ftbackend backend;
	unsigned int queue, running;
	struct ftdev_queue set;
	uint32_t base;
	int ret;
	struct fterr err;
};

static void go_on(struct devconn *c, int ret, const struct fterr *err);

/* --- jobs ------------------------------------------------------------------ */

static void close_all(struct devconn *c)
{
	if (c->sock >= 0)
		close(c->sock);
	c->sock = -1;
	ftbackend_close(&c->backend);
	vu_free(&c->vu);
}

/* Nobody waits for it any more. */
static void free_conn(struct devconn *c)
{
	close_all(c);
	json_decref(c->state);
	sd_event_source_disable_unref(c->io);
	free(c);
}

/* 0: @work is under way, or -errno with a text: it is not. */
static int begin(struct devconn *c, void (*work)(struct job *job), void (*done)(struct job *job),
		 struct fterr *err)
{
	int ret;

	c->job.work = work;
	c->job.done = done;
	c->busy = true;
	c->ret = 0;
	ret = job_start(&c->job);
	if (!ret)
		return 0;
	c->busy = false;
	return ft_fail(err, ret, "cannot start a thread: %s", strerror(-ret));
}

/* The same for vhost-user, which waits. */
static int command(struct devconn *c, void (*work)(struct job *job), void (*done)(struct job *job),
		   struct fterr *err)
{
	int ret = begin(c, work, done, err);

	if (!ret)
		sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
	return ret ? ret : VU_LATER;
}

/* A command that vhost-user waits for is done. */
static void command_done(struct job *job)
{
	struct devconn *c = (struct devconn *)job;
	struct fterr err;
	int ret;

	c->busy = false;
	if (c->ret) {
		go_on(c, c->ret, &c->err);
		return;
	}
	if (c->ending) {
		devconn_end(c, NULL);
		return;
	}
	/* In vain until now, perhaps; here it works. */
	if (c->running)
		*c->dev->trouble = '\0';
	ret = vu_finish(&c->vu, c->base, &err);
	go_on(c, ret, &err);
}

static void start_work(struct job *job)
{
	struct devconn *c = (struct devconn *)job;

	c->ret = ftnl_dev_start(c->name, c->queue, &c->set, &c->err);
	if (!c->ret)
		c->running |= 1u << c->queue;
}

static void stop_work(struct job *job)
{
	struct devconn *c = (struct devconn *)job;

	c->ret = ftnl_dev_stop(c->name, c->queue, &c->base, &c->err);
	if (!c->ret)
		c->running &= ~(1u << c->queue);
}

static void call_work(struct job *job)
{
	struct devconn *c = (struct devconn *)job;

	c->ret = ftnl_dev_call(c->name, c->queue, c->set.call_fd, &c->err);
}

static void close_work(struct job *job)
{
	struct devconn *c = (struct devconn *)job;

	vu_close_fds(&c->vu);
}

/* --- what vhost-user says -------------------------------------------------- */

static int on_features(struct vu *vu, struct fterr *err)
{
	struct devconn *c = vu->arg;

	if (c->dev->kind != FTKVM_UAPI_DEV_NET)
		return 0;
	if (c->backend.fd >= 0)
		return ftbackend_offload(&c->backend, vu->features, err);
	ft_log(SD_WARNING, "device %s: its tap is in a pair's hands and gives the guest what it gave before",
	       c->name);
	return 0;
}

static int on_start(struct vu *vu, unsigned int n, struct fterr *err)
{
	struct devconn *c = vu->arg;
	const struct vu_queue *q = &vu->queue[n];

	if (c->dev->copy && disk_recv_writes(c->dev->copy))
		return ft_fail(err, -EBUSY, "another host's ftd is writing to its image: no guest can run on that");
	c->queue = n;
	c->set = (struct ftdev_queue) {
		.num = q->num, .base = q->base,
		/* What is between QEMU and us is not the driver's. */
		.features = vu->features & ~(1ULL << VU_F_PROTOCOL_FEATURES | 1ULL << VU_F_LOG_ALL),
		.desc = q->desc, .avail = q->avail, .used = q->used,
		.kick_fd = q->kick, .call_fd = q->call,
	};
	return command(c, start_work, command_done, err);
}

static int on_stop(struct vu *vu, unsigned int n, uint32_t *base, struct fterr *err)
{
	struct devconn *c = vu->arg;

	c->queue = n;
	c->base = *base;
	return command(c, stop_work, command_done, err);
}

static int on_call(struct vu *vu, unsigned int n, struct fterr *err)
{
	struct devconn *c = vu->arg;

	c->queue = n;
	c->set.call_fd = vu->queue[n].call;
	return command(c, call_work, command_done, err);
}

static int on_close(struct vu *vu, struct fterr *err)
{
	return command(vu->arg, close_work, command_done, err);
}

static void on_config(struct vu *vu, uint8_t config[VU_CONFIG_MAX])
{
	struct devconn *c = vu->arg;
	struct virtio_blk_config blk = {
		.capacity = c->backend.sectors,
		.size_max = SEG_BYTES,
		.seg_max = SEG_MAX,
		.blk_size = c->backend.block,
		.num_queues = 1,
	};

	if (c->dev->discard) {
		blk.max_discard_sectors = DISCARD_SECTORS;
		blk.max_discard_seg = 1;
		blk.discard_sector_alignment = c->backend.block / 512;
		blk.max_write_zeroes_sectors = DISCARD_SECTORS;
		blk.max_write_zeroes_seg = 1;
		blk.write_zeroes_may_unmap = 1;
	}
	memcpy(config, &blk, sizeof(blk));
}

static const struct vu_ops blk_ops = { on_features, on_start, on_stop, on_call, on_close, on_config };
static const struct vu_ops net_ops = { on_features, on_start, on_stop, on_call, on_close, NULL };

static uint64_t features(const struct device *dev)
{
	uint64_t f = ~0ULL;

	if (!dev->readonly)
		f &= ~(1ULL << VIRTIO_BLK_F_RO);
	if (!dev->discard)
		f &= ~(1ULL << VIRTIO_BLK_F_DISCARD | 1ULL << VIRTIO_BLK_F_WRITE_ZEROES);
	return dev->kind == FTKVM_UAPI_DEV_BLK ? f : ~0ULL;
}

static int on_input(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct devconn *c = arg;
	struct fterr err;
	int ret;

	(void)s;
	(void)fd;
	(void)revents;
	devkeep_forget(c->name);
	ret = vu_read(&c->vu, &err);
	go_on(c, ret, &err);
	return 0;
}

/* It is listened to; and if it waits for nothing an ftd that comes after this one may go on with it. */
static void idle(struct devconn *c)
{
	sd_event_source_set_enabled(c->io, SD_EVENT_ON);
	devkeep_note(c->name, &c->vu);
}

/* What vu_read() or vu_finish() said, or a command that failed. */
static void go_on(struct devconn *c, int ret, const struct fterr *err)
{
	if (ret < 0)
		devconn_end(c, err);
	else if (ret != VU_LATER)
		idle(c);
}

/* --- the beginning --------------------------------------------------------- */

/*
 * The module has a device of the name. It may be this very guest's, from before
 * ftd was restarted, or one whose QEMU is gone.
 */
static int take_over(struct devconn *c, struct fterr *err)
{
	const struct device *dev = c->dev;
	struct ftdev d;
	int ret = ftnl_dev_get(c->name, &d, err);

	if (ret)
		c->speaks_on = false;
	if (ret == -ENOENT && !c->state)
		return 0;
	if (ret)
		return ret;
	if ((pid_t)d.pid != c->pid && !ft_process_gone(d.pid))
		return ft_fail(err, -EEXIST, "another guest (process %u) has a device %s", d.pid, c->name);
	c->speaks_on &= (pid_t)d.pid == c->pid;
	ret = c->speaks_on ? -EBUSY : ftnl_dev_del(c->name, err);
	if (ret == -EBUSY && (pid_t)d.pid == c->pid) {
		/* A pair, or whoever speaks on, can't do without it for a moment; its backend is open in there. */
		if (d.no != dev->no || d.kind != dev->kind || d.readonly != dev->readonly ||
		    d.shared != dev->shared)
			return ft_fail(err, -EEXIST, "the kernel module has another device %s of it (%s %u%s%s)", c->name,
				       ft_dev_kind_name(d.kind), d.no, d.readonly ? ", read-only" : "",
				       d.shared ? ", shared" : "");
		c->adopted = true;
		c->backend.sectors = d.capacity;
		if (dev->kind == FTKVM_UAPI_DEV_BLK)
			c->backend.block = ftbackend_block(dev->backend);
		return 0;
	}
	if (c->state && !ret)
		return ft_fail(err, -ENOTCONN, "no pair has it: QEMU is to set it up anew");
	return ret == -ENOENT ? 0 : ret;
}

static int add(struct devconn *c, int vm_fd, struct fterr *err)
{
	const struct device *dev = c->dev;
	struct ftdev_add a = { .no = dev->no, .kind = dev->kind, .vm_fd = vm_fd,
			       .readonly = dev->readonly, .shared = dev->shared };
	int ret;

	if (dev->shared)
		ret = ftbackend_shared(&c->backend, dev->backend, dev->readonly, dev->guest, dev->no, err);
	else if (dev->kind == FTKVM_UAPI_DEV_BLK)
		ret = ftbackend_disk(&c->backend, dev->backend, dev->readonly, err);
	else
		ret = ftbackend_tap(&c->backend, dev->backend, err);
	if (ret)
		return ret;
	a.backend_fd = c->backend.fd;
	a.capacity = c->backend.sectors;
	return ftnl_dev_add(c->name, &a, err);
}

static void add_work(struct job *job)
{
	struct devconn *c = (struct devconn *)job;
	int vm_fd = ft_vm_fd(c->pid, &c->err);

	c->ret = vm_fd < 0 ? vm_fd : take_over(c, &c->err);
	if (!c->ret && !c->adopted)
		c->ret = add(c, vm_fd, &c->err);
	c->added = !c->ret;
	if (vm_fd >= 0)
		close(vm_fd);
}

static void add_done(struct job *job)
{
	struct devconn *c = (struct devconn *)job;
	struct device *dev = c->dev;
	unsigned int n;
	int ret;

	c->busy = false;
	if (c->ret) {
		devconn_end(c, &c->err);
		return;
	}
	if (c->ending) {
		devconn_end(c, NULL);
		return;
	}
	vu_init(&c->vu, c->sock, dev->kind, features(dev),
		dev->kind == FTKVM_UAPI_DEV_BLK ? &blk_ops : &net_ops, c);
	if (c->speaks_on)
		vu_assume_running(&c->vu);
	if (c->state && vu_restore(&c->vu, c->state, &c->err)) {
		devconn_end(c, &c->err);
		return;
	}
	for (n = 0; n < c->vu.nqueues; n++)
		c->running |= c->vu.queue[n].running ? 1u << n : 0;
	ret = sd_event_add_io(ftd_loop, &c->io, c->sock, EPOLLIN, on_input, c);
	if (ret < 0) {
		ft_fail(&c->err, ret, "cannot watch its socket: %s", strerror(-ret));
		devconn_end(c, &c->err);
		return;
	}
	c->greeted = true;
	dev->yielded = false;
	if (!*dev->trouble)
		ft_log(SD_NOTICE, "device %s: QEMU (process %d) %s", dev->name, c->pid,
		       c->state ? "has it still" : c->adopted ? "is back; the module had it meanwhile" : "has it");
	devkeep_store(c->name, c->sock);
	idle(c);
}

/* Is it the guest's? One that is not attached yet is looked at when it is. */
static int check_process(const struct device *dev, int sock, pid_t *pid, struct fterr *err)
{
	const struct guest *g = guest_find(dev->guest);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return ft_fail(err, -errno, "cannot tell who has connected: %s", strerror(errno));
	*pid = peer.pid;
	if (g && g->attached && !g->ended && g->attached_pid != *pid)
		return ft_fail(err, -EPERM, "process %d has connected, which is not the QEMU of guest %s "
			       "(process %d)", *pid, g->name, g->attached_pid);
	return 0;
}

/*
 * QEMU connects before it has made its VM, but says nothing before its device is
 * there: so that is what is waited for, as long as it takes (a disk may be plugged
 * in after days).
 */
static int on_first(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct devconn *c = arg;
	char said[sizeof(uint32_t)];
	ssize_t n = recv(fd, said, sizeof(said), MSG_PEEK | MSG_DONTWAIT);

	(void)source;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	c->io = sd_event_source_disable_unref(c->io);
	c->heard = n > 0;
	c->speaks_on = c->heard && vu_speaks_on(said, n);
	if (!c->heard)
		devconn_end(c, NULL);
	else if (begin(c, add_work, add_done, &c->err))
		devconn_end(c, &c->err);
	return 0;
}

bool devconn_yields(struct devconn *c, int sock)
{
	struct fterr err;
	pid_t pid;
	char one;

	/* What it has said may wait to be read. */
	if (c->heard || recv(c->sock, &one, sizeof(one), MSG_PEEK | MSG_DONTWAIT) > 0 ||
	    check_process(c->dev, sock, &pid, &err))
		return false;
	/* No trouble of the device's. */
	if (!c->dev->yielded)
		ft_log(SD_WARNING, "device %s: process %d is sent away: it had said nothing when another connected",
		       c->name, c->pid);
	c->dev->yielded = true;
	devconn_end(c, NULL);
	return true;
}

/* NULL: there is no memory, or it was sent away. */
static struct devconn *new_conn(struct device *dev, int sock)
{
	struct devconn *c = calloc(1, sizeof(*c));
	struct fterr err;

	if (!c) {
		close(sock);
		return NULL;
	}
	c->dev = dev;
	c->sock = sock;
	c->backend.fd = -1;
	vu_init(&c->vu, sock, dev->kind, 0, &net_ops, c);	/* nothing is open yet */
	memcpy(c->name, dev->name, sizeof(c->name));
	dev->conn = c;
	if (!check_process(dev, sock, &c->pid, &err))
		return c;
	devconn_end(c, &err);
	return NULL;
}

void devconn_kept(struct device *dev, int sock, json_t *state)
{
	struct devconn *c = new_conn(dev, sock);

	if (!c) {
		devkeep_drop(dev->name);
		json_decref(state);
		return;
	}
	c->state = state;
	c->heard = true;
	if (begin(c, add_work, add_done, &c->err))
		devconn_end(c, &c->err);
}

void devconn_new(struct device *dev, int sock)
{
	struct devconn *c = new_conn(dev, sock);
	struct fterr err;
	int ret;

	if (!c)
		return;
	ret = sd_event_add_io(ftd_loop, &c->io, sock, EPOLLIN, on_first, c);
	if (ret < 0) {
		ft_fail(&err, ret, "cannot watch its socket: %s", strerror(-ret));
		devconn_end(c, &err);
	}
}

/* --- the end --------------------------------------------------------------- */

static void end_work(struct job *job)
{
	struct devconn *c = (struct devconn *)job;
	unsigned int n;

	/* When QEMU has ended the module has let go of it already. */
	for (n = 0; n < VU_QUEUES; n++)
		if (c->running & 1u << n)
			ftnl_dev_stop(c->name, n, &c->base, &c->err);
	if (c->added)
		c->ret = ftnl_dev_del(c->name, &c->err);
	/* what the manager has of it may be closed later */
	shutdown(c->sock, SHUT_RDWR);
	/* As long as whoever is behind a descriptor likes. */
	close_all(c);
}

static void end_done(struct job *job)
{
	struct devconn *c = (struct devconn *)job;

	if (c->ret && c->ret != -ENOENT && c->ret != -EBUSY)
		ft_log(SD_WARNING, "device %s: the module does not give it back: %s", c->name, c->err.text);
	device_free_for_next(c->dev);
	free_conn(c);
}

/* Say it once, not each second: QEMU connects again and again. */
static void tell(struct devconn *c, const struct fterr *why)
{
	struct device *dev = c->dev;
	bool hung_up = !why || why->code == -ENOTCONN;

	if (hung_up && !c->greeted)
		return;
	if (hung_up)
		ft_log(SD_NOTICE, "device %s: QEMU (process %d) has let go of it", dev->name, c->pid);
	else if (strcmp(dev->trouble, why->text))
		ft_log(SD_WARNING, "device %s: QEMU (process %d) is sent away: %s", dev->name, c->pid, why->text);
	snprintf(dev->trouble, sizeof(dev->trouble), "%s", hung_up ? "" : why->text);
}

void devconn_end(struct devconn *c, const struct fterr *why)
{
	if (!c->ending || why)
		tell(c, why);
	c->ending = true;
	if (c->busy)
		return;
	if (c->heard)
		devkeep_drop(c->name);
	/* Who comes next waits until the module is free of this one. */
	if (c->dev->listen_source)
		sd_event_source_set_enabled(c->dev->listen_source, SD_EVENT_OFF);
	c->io = sd_event_source_disable_unref(c->io);
	if (c->heard && !begin(c, end_work, end_done, &c->err))
		return;
	if (!c->heard) {
		device_close(c->dev, c->sock);
		c->sock = -1;
	}
	device_free_for_next(c->dev);
	free_conn(c);
}

void devconn_abandon(struct devconn *c)
{
	/* A thread has it: ftd ends without it. */
	if (!c->busy)
		free_conn(c);
}

bool devconn_gone(const struct devconn *c)
{
	struct pollfd pfd = { .fd = c->sock, .events = POLLRDHUP };

	return c->ending || poll(&pfd, 1, 0) > 0;
}

bool devconn_heard(const struct devconn *c)
{
	return c->heard;
}

bool devconn_stays(const struct devconn *c)
{
	return !c->ending && (c->greeted || !c->heard);
}

bool devconn_remind(struct devconn *c)
{
	bool first = !c->heard && !c->reminded;

	c->reminded |= first;
	return first;
}

pid_t devconn_pid(const struct devconn *c)
{
	return c->pid;
}

bool devconn_busy(const struct devconn *c)
{
	return c->busy;
}

int devconn_image(const struct devconn *c)
{
	return c->backend.fd;
}

uint64_t devconn_bytes(const struct devconn *c)
{
	return c->backend.sectors * 512;
}

void devconn_json(const struct devconn *c, json_t *json)
{
	json_t *queues = json_array();
	unsigned int n;

	json_object_set_new(json, "pid", json_integer(c->pid));
	json_object_set_new(json, "silent", json_boolean(!c->heard));
	json_object_set_new(json, "busy", json_boolean(c->busy));
	for (n = 0; c->greeted && n < VU_QUEUES; n++)
		if (c->vu.queue[n].running)
			json_array_append_new(queues, json_integer(n));
	json_object_set_new(json, "queues", queues);
	/* The rest is the thread's. */
	if (c->busy)
		return;
	if (c->greeted)
		json_object_set_new(json, "features", json_integer(c->vu.features));
	if (c->backend.sectors)
		json_object_set_new(json, "bytes", json_integer(c->backend.sectors * 512));
}
