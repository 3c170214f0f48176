// SPDX-License-Identifier: GPL-2.0
/* Disks' contents over a socket: disk_copy.h has what is said. */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "disk_copy.h"

#define BLOCK		65536u		/* is looked at for zeros as a whole */
#define STALL_MS	60000		/* a peer that takes nothing, or is in the midst of a message */
#define ANSWER_MS	60000	/* storage that has much to make durable */
#define PARTING_MS	5000		/* for a sender to hear why it is refused */

static bool all_zeros(const char *p, size_t n)
{
	return !n || (!*p && !memcmp(p, p + 1, n - 1));
}

static struct disk_copy_message wire(uint32_t what, uint32_t no, uint64_t at, uint64_t bytes)
{
	return (struct disk_copy_message) { htole32(what), htole32(no), htole64(at), htole64(bytes) };
}

/* --- the sender ------------------------------------------------------------ */

/* Up to @deadline; 0, -ETIMEDOUT, -ECONNRESET: it has hung up, or another -errno. */
static int read_all(int sock, void *buf, size_t len, int64_t deadline)
{
	char *at = buf;

	while (len) {
		int ret = ft_poll(sock, POLLIN, deadline);
		ssize_t n;

		if (ret)
			return ret;
		n = recv(sock, at, len, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		at += n;
		len -= n;
	}
	return 0;
}

/* What it says: 0: OK. */
static int hear(int sock, const char *peer, int64_t deadline, struct fterr *err)
{
	char text[DISK_COPY_TEXT + 1] = "";
	struct disk_copy_message m;
	int ret = read_all(sock, &m, sizeof(m), deadline);

	if (!ret && m.what == htole32(DISK_COPY_OK))
		return 0;
	if (!ret && (m.what != htole32(DISK_COPY_ERROR) || le64toh(m.bytes) > DISK_COPY_TEXT))
		return ft_fail(err, -EPROTO, "what answers at %s does not copy disks", peer);
	if (!ret)
		ret = read_all(sock, text, le64toh(m.bytes), deadline);
	if (ret)
		return ft_fail(err, ret, "no answer of host %s as disks are copied: %s", peer, strerror(-ret));
	return ft_fail(err, -EREMOTEIO, "host %s: %s", peer, text);
}

/* What it had to say before it hung up says more than that it did. */
static int send_failed(int sock, const char *peer, int ret, struct fterr *err)
{
	if ((ret == -EPIPE || ret == -ECONNRESET) && hear(sock, peer, ft_now_ms() + PARTING_MS, err) == -EREMOTEIO)
		return err->code;
	return ft_fail(err, ret, "disks can't be copied to host %s: %s", peer, strerror(-ret));
}

static int say(int sock, const char *peer, struct disk_copy_message m, const void *data, size_t len, struct fterr *err)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	int64_t deadline = ft_now_ms() + STALL_MS;
	int ret;

	/* Unasked it says but that something is wrong, or hangs up. */
	if (poll(&pfd, 1, 0) > 0) {
		ret = hear(sock, peer, ft_now_ms() + PARTING_MS, err);
		return ret ? ret : ft_fail(err, -EPROTO, "what answers at %s does not copy disks", peer);
	}
	ret = ft_write_all(sock, &m, sizeof(m), deadline);
	if (!ret)
		ret = ft_write_all(sock, data, len, deadline);
	return ret ? send_failed(sock, peer, ret, err) : 0;
}

int disk_copy_begin(int sock, const char *peer, const struct disk_copy_disk *disk, struct fterr *err)
{
	return say(sock, peer, wire(DISK_COPY_DISK, disk->no, 0, disk->bytes), NULL, 0, err);
}

static int say_zeros(int sock, const char *peer, uint32_t no, uint64_t at, uint64_t bytes, struct fterr *err)
{
	int ret = 0;

	while (!ret && bytes) {
		uint64_t n = bytes < DISK_COPY_ZEROS ? bytes : DISK_COPY_ZEROS;

		ret = say(sock, peer, wire(DISK_COPY_ZERO, no, at, n), NULL, 0, err);
		at += n;
		bytes -= n;
	}
	return ret;
}

/* Data as it was read, up to DISK_COPY_MOST bytes. */
static int say_data(int sock, const char *peer, uint32_t no, uint64_t at, const char *buf, size_t len,
		    struct fterr *err)
{
	size_t from, to, n;
	int ret = 0;

	for (from = 0; !ret && from < len; from = to) {
		bool zeros = all_zeros(buf + from, len - from < BLOCK ? len - from : BLOCK);

		/* as far as it goes on like that */
		for (to = from; to < len; to += n) {
			n = len - to < BLOCK ? len - to : BLOCK;
			if (all_zeros(buf + to, n) != zeros)
				break;
		}
		if (zeros)
			ret = say_zeros(sock, peer, no, at + from, to - from, err);
		else
			ret = say(sock, peer, wire(DISK_COPY_DATA, no, at + from, to - from), buf + from, to - from,
				  err);
	}
	return ret;
}

static int read_disk(const struct disk_copy_disk *disk, uint64_t at, char *buf, size_t len, struct fterr *err)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = pread(disk->fd, buf + have, len - have, at + have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ft_fail(err, n ? -errno : -EIO, "device %s: its image can't be read at byte %llu: %s",
				       disk->name, (unsigned long long)(at + have),
				       n ? strerror(errno) : "it has been cut");
		have += n;
	}
	return 0;
}

/*
 * How much from @at on, up to @end, is a hole. What is written there meanwhile is told of
 * by whoever says what changes.
 */
static uint64_t hole_at(int fd, uint64_t at, uint64_t end)
{
	off_t data = lseek(fd, at, SEEK_DATA);

	if (data < 0 && errno == ENXIO)
		return end - at;
	if (data <= (off_t)at)
		return 0;
	/* data that does not begin at a multiple of a sector is that sector's */
	data -= data % DISK_COPY_UNIT;
	return (uint64_t)data < end ? data - at : end - at;
}

int disk_copy_part(int sock, const char *peer, const struct disk_copy_disk *disk, uint64_t at, uint64_t bytes,
		   void *buf, struct fterr *err)
{
	uint64_t end = at + bytes, n;
	int ret = 0;

	while (!ret && at < end) {
		n = hole_at(disk->fd, at, end);
		if (n) {
			ret = say_zeros(sock, peer, disk->no, at, n, err);
		} else {
			n = end - at < DISK_COPY_MOST ? end - at : DISK_COPY_MOST;
			ret = read_disk(disk, at, buf, n, err);
			if (!ret)
				ret = say_data(sock, peer, disk->no, at, buf, n, err);
		}
		at += n;
	}
	return ret;
}

int disk_copy_ask(int sock, const char *peer, enum disk_copy_what what, struct fterr *err)
{
	int ret = say(sock, peer, wire(what, 0, 0, 0), NULL, 0, err);

	return ret ? ret : hear(sock, peer, ft_now_ms() + ANSWER_MS, err);
}

/* --- the receiver ---------------------------------------------------------- */

struct receiver {
	int sock;
	struct disk_copy_disk *disks;
	size_t n;
	char *buf;
};

/* As long as it takes: a guest that writes nothing has its sender say nothing. */
static int take_message(struct receiver *r, struct disk_copy_message *m, struct fterr *err)
{
	struct pollfd pfd = { .fd = r->sock, .events = POLLIN };
	int ret;

	while (poll(&pfd, 1, -1) < 0)
		if (errno != EINTR)
			return ft_fail(err, -errno, "cannot wait: %s", strerror(errno));
	ret = read_all(r->sock, m, sizeof(*m), ft_now_ms() + STALL_MS);
	if (ret)
		return ft_fail(err, ret, "who copies disks here is gone: %s", strerror(-ret));
	*m = (struct disk_copy_message) {
		le32toh(m->what), le32toh(m->no), le64toh(m->at), le64toh(m->bytes),
	};
	return 0;
}

static struct disk_copy_disk *disk_of(struct receiver *r, uint32_t no, struct fterr *err)
{
	size_t i;

	for (i = 0; i < r->n; i++)
		if (r->disks[i].no == no)
			return &r->disks[i];
	ft_fail(err, -ENOENT, "the guest has no disk of number %u here that can be written to; make it the same as "
		"there, by: ftctl device add", no);
	return NULL;
}

static int begin_disk(struct receiver *r, const struct disk_copy_message *m, struct fterr *err)
{
	struct disk_copy_disk *d = disk_of(r, m->no, err);

	if (!d)
		return err->code;
	if (m->bytes != d->bytes)
		return ft_fail(err, -EINVAL, "device %s (number %u) has %llu bytes here, and %llu there: give both hosts "
			       "images of one size", d->name, d->no, (unsigned long long)d->bytes,
			       (unsigned long long)m->bytes);
	d->begun = true;
	return 0;
}

/* The disk that a part is of; NULL: there is no such part. */
static struct disk_copy_disk *part_of(struct receiver *r, const struct disk_copy_message *m, uint64_t most,
				      struct fterr *err)
{
	struct disk_copy_disk *d = disk_of(r, m->no, err);

	if (!d)
		return NULL;
	if (d->begun && m->bytes && m->bytes <= most && m->bytes % DISK_COPY_UNIT == 0 &&
	    m->at % DISK_COPY_UNIT == 0 && m->at <= d->bytes && m->bytes <= d->bytes - m->at)
		return d;
	ft_fail(err, -EBADMSG, "%llu bytes at %llu are no part of device %s that can be copied", (unsigned long long)m->bytes,
		(unsigned long long)m->at, d->name);
	return NULL;
}

static int write_disk(const struct disk_copy_disk *d, uint64_t at, const char *buf, size_t len, struct fterr *err)
{
	while (len) {
		ssize_t n = pwrite(d->fd, buf, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ft_fail(err, n ? -errno : -EIO, "device %s: its image can't be written at byte %llu: %s",
				       d->name, (unsigned long long)at, strerror(n ? errno : EIO));
		buf += n;
		at += n;
		len -= n;
	}
	return 0;
}

static int take_data(struct receiver *r, const struct disk_copy_message *m, struct fterr *err)
{
	struct disk_copy_disk *d = part_of(r, m, DISK_COPY_MOST, err);
	int ret;

	if (!d)
		return err->code;
	ret = read_all(r->sock, r->buf, m->bytes, ft_now_ms() + STALL_MS);
	if (ret)
		return ft_fail(err, ret, "who copies disks here is gone in the midst of a part: %s", strerror(-ret));
	return write_disk(d, m->at, r->buf, m->bytes, err);
}

/* A hole where there can be one: an image of files remains as sparse as the other. */
static int take_zeros(struct receiver *r, const struct disk_copy_message *m, struct fterr *err)
{
	struct disk_copy_disk *d = part_of(r, m, DISK_COPY_ZEROS, err);
	uint64_t at = m->at, left = m->bytes, n;
	int ret = 0;

	if (!d)
		return err->code;
	if (!fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, left))
		return 0;
	memset(r->buf, 0, DISK_COPY_MOST);
	for (; !ret && left; at += n, left -= n) {
		n = left < DISK_COPY_MOST ? left : DISK_COPY_MOST;
		ret = write_disk(d, at, r->buf, n, err);
	}
	return ret;
}

static int flush_all(struct receiver *r, struct fterr *err)
{
	size_t i;

	for (i = 0; i < r->n; i++)
		if (r->disks[i].begun && fdatasync(r->disks[i].fd))
			return ft_fail(err, -errno, "device %s: its image can't be made durable: %s", r->disks[i].name,
				       strerror(errno));
	return 0;
}

static int carry_out(struct receiver *r, const struct disk_copy_message *m, struct fterr *err)
{
	switch (m->what) {
	case DISK_COPY_DISK:
		return begin_disk(r, m, err);
	case DISK_COPY_DATA:
		return take_data(r, m, err);
	case DISK_COPY_ZERO:
		return take_zeros(r, m, err);
	case DISK_COPY_FLUSH:
	case DISK_COPY_END:
		return flush_all(r, err);
	default:
		return ft_fail(err, -EBADMSG, "message %u is none that copies disks", m->what);
	}
}

static int answer(int sock, uint32_t what, const char *text)
{
	struct disk_copy_message m = wire(what, 0, 0, strnlen(text, DISK_COPY_TEXT));
	int64_t deadline = ft_now_ms() + PARTING_MS;
	int ret = ft_write_all(sock, &m, sizeof(m), deadline);

	return ret ? ret : ft_write_all(sock, text, le64toh(m.bytes), deadline);
}

/*
 * What the sender has sent and nobody reads would have the connection reset, and the
 * answer with it: so it is read until the sender has seen that.
 */
static void refuse(struct receiver *r, const struct fterr *err)
{
	int64_t deadline = ft_now_ms() + PARTING_MS;

	if (answer(r->sock, DISK_COPY_ERROR, err->text) || shutdown(r->sock, SHUT_WR))
		return;
	while (!ft_poll(r->sock, POLLIN, deadline) && recv(r->sock, r->buf, DISK_COPY_MOST, MSG_DONTWAIT) > 0)
		;
}

int disk_copy_receive(int sock, struct disk_copy_disk *disks, size_t n, void (*over)(void *arg), void *arg,
		      struct fterr *err)
{
	struct receiver r = { sock, disks, n, malloc(DISK_COPY_MOST) };
	struct disk_copy_message m = { 0 };
	int ret = r.buf ? 0 : ft_fail(err, -ENOMEM, "out of memory");

	while (!ret && m.what != DISK_COPY_END) {
		ret = take_message(&r, &m, err);
		if (!ret)
			ret = carry_out(&r, &m, err);
		if (!ret && m.what == DISK_COPY_END)
			over(arg);
		if (!ret && (m.what == DISK_COPY_END || m.what == DISK_COPY_FLUSH)) {
			ret = answer(sock, DISK_COPY_OK, "");
			if (ret)
				ft_fail(err, ret, "who copies disks here is gone: %s", strerror(-ret));
		}
	}
	if (ret && r.buf)
		refuse(&r, err);
	free(r.buf);
	return ret;
}
