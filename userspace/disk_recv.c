// SPDX-License-Identifier: GPL-2.0
/* The disks of a guest on this host: for a copy that is made of them, or that another host sends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend.h"
#include "disk_recv.h"
#include "disk_sync.h"
#include "job.h"
#include "op.h"
#include "peer_call.h"

/* A sender whose host is gone says nothing, as does one whose guest writes nothing. */
#define ALIVE_IDLE	15	/* seconds */
#define ALIVE_EVERY	5
#define ALIVE_TIMES	3

/**
 * struct disk_recv - a copy that comes
 * @job: it is in a thread
 * @sock, @from, @guest: of whom, and what
 * @disks, @n: what it may write to
 * @over: it writes no more
 * @ret, @err: how it ended
 */
struct disk_recv {
	struct job job;
	int sock;
	char from[64];
	char guest[FTKVM_NAME_MAX + 1];
	struct disk_copy_disk disks[DISK_SYNC_MOST];
	size_t n;
	atomic_bool over;
	int ret;
	struct fterr err;
};

/* --- which disks ----------------------------------------------------------- */

/*
 * The image that its QEMU has, as another descriptor. An ftd that was restarted has none, but the
 * module has, and the lock that is on it tells.
 */
static int open_image(const struct device *d, bool write, struct fterr *err)
{
	int fd = devconn_image(d->conn), flags = (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	char path[64];

	/* a file of its own: an error of the storage's that a sync of ours is told is the guest's, too */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && !write)
		fd = open(path, flags);
	else if (fd >= 0)
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	else if (!ftbackend_unlocked(d->backend))
		fd = open(d->backend, flags);
	else
		return ft_fail(err, -ENOENT, "%s is not the image that QEMU has as device %s", d->backend, d->name);
	return fd < 0 ? ft_fail(err, -errno, "device %s: cannot have its image once more: %s", d->name, strerror(errno)) :
			fd;
}

static int add_disk(struct disk_copy_disk *disks, size_t *n, const struct device *d, bool write, struct fterr *err)
{
	struct disk_copy_disk *new = &disks[*n];
	int fd;

	if (*n == DISK_SYNC_MOST)
		return ft_fail(err, -E2BIG, "guest %s has more than %d disks", d->guest, DISK_SYNC_MOST);
	if (devconn_busy(d->conn))
		return ft_fail(err, -EBUSY, "device %s is being set up or taken back; try again", d->name);
	fd = open_image(d, write, err);
	if (fd < 0)
		return fd;
	*new = (struct disk_copy_disk) { .no = d->no, .bytes = devconn_bytes(d->conn), .fd = fd };
	memcpy(new->name, d->name, sizeof(new->name));
	++*n;
	return 0;
}

static void close_disks(struct disk_copy_disk *disks, size_t *n)
{
	while (*n)
		close(disks[--*n].fd);
}

/* Those that a QEMU has; it says so with its first word, and what is silent has none. */
static int find_disks(const char *guest, bool write, struct disk_copy_disk *disks, size_t *n, struct fterr *err)
{
	struct device *d;
	int ret = 0;

	*n = 0;
	for (d = ftd_devices; !ret && d; d = d->next)
		if (d->kind == FTKVM_UAPI_DEV_BLK && !d->readonly && !d->shared && !strcmp(d->guest, guest) &&
		    d->conn && devconn_heard(d->conn))
			ret = add_disk(disks, n, d, write, err);
	if (ret)
		close_disks(disks, n);
	return ret;
}

int disk_sync_find(struct disk_sync *s, const char *guest, struct fterr *err)
{
	*s = (struct disk_sync) { .progress = s->progress, .arg = s->arg };
	return find_disks(guest, false, s->disks, &s->n, err);
}

/* --- a copy that comes ----------------------------------------------------- */

bool disk_recv_writes(const struct disk_recv *r)
{
	return !atomic_load(&r->over);
}

void disk_recv_lost(struct device *dev)
{
	if (dev->copy)
		shutdown(dev->copy->sock, SHUT_RDWR);
	dev->copy = NULL;
}

/* Nobody else is asked for room: what can be written to must be of a guest that has not begun. */
static int must_be_fresh(const struct disk_recv *r, struct fterr *err)
{
	struct ftdev d;
	size_t i;
	int ret;

	for (i = 0; i < r->n; i++) {
		ret = ftnl_dev_get(r->disks[i].name, &d, err);
		if (ret)
			return ret;
		if (d.stats[FTKVM_DEV_STAT_RUNNING] || d.stats[FTKVM_DEV_STAT_REQUESTS])
			return ft_fail(err, -EBUSY, "device %s is used by its guest here, and no copy is written to it: start "
				       "its QEMU anew, with -incoming", d.name);
	}
	return 0;
}

static void over(void *arg)
{
	struct disk_recv *r = arg;

	atomic_store(&r->over, true);
}

static void recv_work(struct job *job)
{
	struct disk_recv *r = (struct disk_recv *)job;

	r->ret = must_be_fresh(r, &r->err);
	if (r->ret)
		peer_say(r->sock, ft_error_json(&r->err));
	else
		r->ret = peer_say(r->sock, json_pack("{s:b, s:s}", "ok", 1, "version", FTKVM_VERSION));
	if (!r->ret)
		r->ret = disk_copy_receive(r->sock, r->disks, r->n, over, r, &r->err);
	over(r);
}

static void recv_done(struct job *job)
{
	struct disk_recv *r = (struct disk_recv *)job;
	struct device *d;

	for (d = ftd_devices; d; d = d->next)
		if (d->copy == r)
			d->copy = NULL;
	if (r->ret)
		ft_log(SD_WARNING, "guest %s: the copy of its disks from %s ended before all was there: %s", r->guest, r->from,
		       r->err.text);
	else
		ft_log(SD_NOTICE, "guest %s: its disks are what they are at %s", r->guest, r->from);
	close_disks(r->disks, &r->n);
	close(r->sock);
	free(r);
}

static void keep_alive(int sock)
{
	int idle = ALIVE_IDLE, every = ALIVE_EVERY, times = ALIVE_TIMES;

	peer_ready(sock);
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
}

/* Its devices are its own, until it is done. */
static int claim(struct disk_recv *r, struct fterr *err)
{
	struct device *d;
	size_t i;

	for (i = 0; i < r->n; i++) {
		d = device_find(r->disks[i].name);
		if (d->copy)
			return ft_fail(err, -EBUSY, "device %s is being copied to already, from %s", d->name, d->copy->from);
	}
	for (i = 0; i < r->n; i++)
		device_find(r->disks[i].name)->copy = r;
	return 0;
}

static int start(struct disk_recv *r, struct fterr *err)
{
	const struct guest *g = guest_find(r->guest);
	int ret;

	if (!g || g->moving != FT_ARRIVES)
		return ft_fail(err, -EPERM, "guest %s is not about to be protected here: its disks are nobody's to write to",
			       r->guest);
	ret = find_disks(r->guest, true, r->disks, &r->n, err);
	if (!ret && !r->n)
		ret = ft_fail(err, -ENOENT, "guest %s has no disk here that a QEMU has and that can be written to: ftctl device",
			      r->guest);
	if (!ret)
		ret = claim(r, err);
	if (ret)
		return ret;
	keep_alive(r->sock);
	r->job = (struct job) { .work = recv_work, .done = recv_done };
	ret = job_start(&r->job);
	return ret ? ft_fail(err, ret, "cannot start a thread: %s", strerror(-ret)) : 0;
}

static void give_back(struct disk_recv *r)
{
	struct device *d;

	for (d = ftd_devices; d; d = d->next)
		if (d->copy == r)
			d->copy = NULL;
	close_disks(r->disks, &r->n);
	free(r);
}

void disk_recv_begin(int sock, const char *from, json_t *request)
{
	const char *what = request_string(request, "copy");
	struct disk_recv *r = calloc(1, sizeof(*r));
	struct fterr err;
	int ret;

	if (!r) {
		close(sock);
		return;
	}
	r->sock = sock;
	snprintf(r->from, sizeof(r->from), "%s", from);
	snprintf(r->guest, sizeof(r->guest), "%s", request_string(request, "guest"));
	if (what && !strcmp(what, "disks"))
		ret = start(r, &err);
	else
		ret = ft_fail(&err, -EINVAL, "only a guest's disks can be copied");
	if (!ret)
		return;
	ft_log(SD_WARNING, "%s asks to copy disks of guest %s: refused: %s", from, r->guest, err.text);
	ft_send_json(sock, ft_error_json(&err), ft_now_ms());
	close(sock);
	give_back(r);
}
