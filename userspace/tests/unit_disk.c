// SPDX-License-Identifier: GPL-2.0
/* Disks over a socket: from one image to another, and whatever a sender may say instead. */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include "backend.h"
#include "disk_copy.h"
#include "tests/unit.h"

#define MIB	(1ull << 20)
#define SIZE	(8 * MIB + 3 * 512)	/* no multiple of what is sent at a time */

/* A receiver in a thread, with disk 3, all ones, and disk 4, which is smaller. */
static struct {
	pthread_t thread;
	struct disk_copy_disk disks[2];
	int sock[2], ret;
	bool over;
	struct fterr err;
} there;

static int image(uint64_t bytes, int fill)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	char *p;

	CHECK(fd >= 0 && !ftruncate(fd, bytes));
	if (fill) {
		p = mmap(NULL, bytes, PROT_WRITE, MAP_SHARED, fd, 0);
		memset(p, fill, bytes);
		munmap(p, bytes);
	}
	return fd;
}

static void over(void *arg)
{
	*(bool *)arg = true;
}

static void *receive(void *arg)
{
	(void)arg;
	there.ret = disk_copy_receive(there.sock[1], there.disks, 2, over, &there.over, &there.err);
	shutdown(there.sock[1], SHUT_RDWR);
	return NULL;
}

static void begin(void)
{
	struct timeval limit = { .tv_sec = 10 };	/* for what must come, and does not */

	memset(&there, 0, sizeof(there));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, there.sock));
	CHECK(!setsockopt(there.sock[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	there.disks[0] = (struct disk_copy_disk) { "three", 3, SIZE, image(SIZE, 0xff), false };
	there.disks[1] = (struct disk_copy_disk) { "four", 4, 4096, image(4096, 0xff), false };
	CHECK(!pthread_create(&there.thread, NULL, receive, NULL));
}

/* What it came to. */
static int end(void)
{
	shutdown(there.sock[0], SHUT_WR);
	pthread_join(there.thread, NULL);
	close(there.sock[0]);
	close(there.sock[1]);
	return there.ret;
}

static void close_images(void)
{
	close(there.disks[0].fd);
	close(there.disks[1].fd);
}

static bool same(int a, int b, uint64_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, a, 0), *q = mmap(NULL, bytes, PROT_READ, MAP_SHARED, b, 0);
	bool ret = !memcmp(p, q, bytes);

	munmap(p, bytes);
	munmap(q, bytes);
	return ret;
}

static uint64_t stored(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_blocks * 512ull;
}

static void copied(void)
{
	struct disk_copy_disk here = { "three", 3, SIZE, image(SIZE, 0), false };
	struct fterr err = { 0 };
	void *buf = malloc(DISK_COPY_MOST);
	char zeros[65536] = { 0 };

	/* data at both ends, zeros that are written, in the midst of data, and holes */
	CHECK(pwrite(here.fd, "begin", 5, 0) == 5 && pwrite(here.fd, "end", 3, SIZE - 3) == 3);
	CHECK(pwrite(here.fd, "x", 1, 3 * MIB + 7) == 1 && pwrite(here.fd, "y", 1, 3 * MIB + 4 * 65536) == 1);
	CHECK(pwrite(here.fd, zeros, sizeof(zeros), 5 * MIB) == sizeof(zeros));
	begin();
	CHECK(!disk_copy_begin(there.sock[0], "b", &here, &err));
	CHECK(!disk_copy_ask(there.sock[0], "b", DISK_COPY_FLUSH, &err));
	CHECK(!disk_copy_part(there.sock[0], "b", &here, 0, SIZE, buf, &err));
	CHECK(!disk_copy_ask(there.sock[0], "b", DISK_COPY_FLUSH, &err) && !there.over);
	/* before a look at it, which fills holes of memory */
	CHECK(stored(there.disks[0].fd) < MIB);
	CHECK(same(here.fd, there.disks[0].fd, SIZE));
	/* a part that changed, and nothing beside it */
	CHECK(pwrite(here.fd, "later", 5, 4 * MIB + 512) == 5 && pwrite(here.fd, "not", 3, 7 * MIB) == 3);
	CHECK(!disk_copy_part(there.sock[0], "b", &here, 4 * MIB + 512, 1024, buf, &err));
	CHECK(!disk_copy_ask(there.sock[0], "b", DISK_COPY_FLUSH, &err));
	CHECK(!same(here.fd, there.disks[0].fd, SIZE) && same(here.fd, there.disks[0].fd, 7 * MIB));
	CHECK(!disk_copy_part(there.sock[0], "b", &here, 7 * MIB, 512, buf, &err));
	CHECK(!disk_copy_ask(there.sock[0], "b", DISK_COPY_END, &err));
	CHECK(!end() && there.over && same(here.fd, there.disks[0].fd, SIZE));
	/* the other one was not told of */
	CHECK(!there.disks[1].begun && stored(there.disks[1].fd) == 4096);
	close_images();
	close(here.fd);
	free(buf);
}

static void say(uint32_t what, uint32_t no, uint64_t at, uint64_t bytes)
{
	struct disk_copy_message m = { htole32(what), htole32(no), htole64(at), htole64(bytes) };

	CHECK(send(there.sock[0], &m, sizeof(m), MSG_NOSIGNAL) == sizeof(m));
}

/* Nothing was written, and the sender was told why. */
static void refused(int code, const char *why)
{
	struct disk_copy_message m;
	char text[DISK_COPY_TEXT + 1] = "";
	int ones = image(SIZE, 0xff);

	CHECK(recv(there.sock[0], &m, sizeof(m), MSG_WAITALL) == sizeof(m) && m.what == htole32(DISK_COPY_ERROR));
	CHECK(le64toh(m.bytes) < sizeof(text) && recv(there.sock[0], text, le64toh(m.bytes), MSG_WAITALL) > 0);
	CHECK(strstr(text, why));
	CHECK(end() == code && !there.over && !strcmp(there.err.text, text));
	CHECK(same(ones, there.disks[0].fd, SIZE) && same(ones, there.disks[1].fd, 4096));
	close(ones);
	close_images();
}

static void hostile(void)
{
	static const struct {
		uint32_t what, no;
		uint64_t at, bytes;
		int code;
		const char *why;
	} parts[] = {
		{ 0, 3, 0, 512, -EBADMSG, "message 0" },
		{ DISK_COPY_OK, 3, 0, 512, -EBADMSG, "message 6" },
		{ DISK_COPY_ERROR, 3, 0, 512, -EBADMSG, "message 7" },
		{ 0xffffffff, 3, 0, 512, -EBADMSG, "none that copies disks" },
		{ DISK_COPY_DISK, 5, 0, SIZE, -ENOENT, "no disk of number 5" },
		{ DISK_COPY_DISK, 4, 0, SIZE, -EINVAL, "has 4096 bytes here, and 8390144 there" },
		{ DISK_COPY_DATA, 5, 0, 512, -ENOENT, "no disk of number 5" },
		{ DISK_COPY_DATA, 4, 0, 512, -EBADMSG, "no part of device four" },	/* not begun */
		{ DISK_COPY_ZERO, 4, 0, 512, -EBADMSG, "no part of device four" },
		{ DISK_COPY_DATA, 3, 0, 0, -EBADMSG, "0 bytes at 0" },
		{ DISK_COPY_DATA, 3, 0, DISK_COPY_MOST + 512, -EBADMSG, "no part" },
		{ DISK_COPY_DATA, 3, 0, UINT64_MAX, -EBADMSG, "no part" },
		{ DISK_COPY_DATA, 3, 1, 512, -EBADMSG, "512 bytes at 1" },
		{ DISK_COPY_DATA, 3, 0, 511, -EBADMSG, "511 bytes" },
		{ DISK_COPY_DATA, 3, SIZE, 512, -EBADMSG, "no part" },
		{ DISK_COPY_DATA, 3, SIZE - 512, 1024, -EBADMSG, "no part" },
		{ DISK_COPY_DATA, 3, -512ull, 512, -EBADMSG, "no part" },
		{ DISK_COPY_DATA, 3, -512ull, 1024, -EBADMSG, "no part" },
		{ DISK_COPY_ZERO, 3, 0, DISK_COPY_ZEROS + 512, -EBADMSG, "no part" },
		{ DISK_COPY_ZERO, 3, 512, SIZE, -EBADMSG, "no part" },
		{ DISK_COPY_ZERO, 3, -512ull, 512, -EBADMSG, "no part" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		begin();
		say(DISK_COPY_DISK, 3, 0, SIZE);
		say(parts[i].what, parts[i].no, parts[i].at, parts[i].bytes);
		refused(parts[i].code, parts[i].why);
	}
}

/* It ends anywhere. */
static void cut(void)
{
	struct disk_copy_message m = { htole32(DISK_COPY_DATA), htole32(3), 0, htole64(4096) };
	char data[4095] = { 0 };

	begin();
	shutdown(there.sock[0], SHUT_WR);
	refused(-ECONNRESET, "is gone");
	begin();
	say(DISK_COPY_DISK, 3, 0, SIZE);
	CHECK(send(there.sock[0], &m, 7, 0) == 7);
	shutdown(there.sock[0], SHUT_WR);
	refused(-ECONNRESET, "is gone");
	begin();
	say(DISK_COPY_DISK, 3, 0, SIZE);
	CHECK(send(there.sock[0], &m, sizeof(m), 0) == sizeof(m) && send(there.sock[0], data, sizeof(data), 0) == sizeof(data));
	shutdown(there.sock[0], SHUT_WR);
	refused(-ECONNRESET, "in the midst of a part");
}

/* A sender hears why it is refused, however much it has sent by then. */
static void refusal_heard(void)
{
	struct disk_copy_disk here = { "four", 4, SIZE, image(SIZE, 'x'), false };
	struct fterr err = { 0 };
	void *buf = malloc(DISK_COPY_MOST);
	int ret;

	begin();
	ret = disk_copy_begin(there.sock[0], "hostb", &here, &err);
	if (!ret)
		ret = disk_copy_part(there.sock[0], "hostb", &here, 0, SIZE, buf, &err);
	if (!ret)
		ret = disk_copy_ask(there.sock[0], "hostb", DISK_COPY_FLUSH, &err);
	CHECK(ret == -EREMOTEIO && strstr(err.text, "host hostb: device four (number 4) has 4096 bytes here"));
	CHECK(end() == -EINVAL);
	close_images();
	close(here.fd);
	free(buf);
}

/* What is no receiver; and an image that was cut. */
static void odd_receivers(void)
{
	struct disk_copy_disk here = { "three", 3, SIZE, image(SIZE - 4096, 'x'), false };
	struct disk_copy_message m = { .what = htole32(DISK_COPY_DATA) };
	struct fterr err = { 0 };
	void *buf = malloc(DISK_COPY_MOST);
	int sock[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	CHECK(send(sock[1], &m, sizeof(m), 0) == sizeof(m));
	CHECK(disk_copy_ask(sock[0], "b", DISK_COPY_FLUSH, &err) == -EPROTO);
	m = (struct disk_copy_message) { .what = htole32(DISK_COPY_ERROR), .bytes = htole64(1 << 30) };
	CHECK(send(sock[1], &m, sizeof(m), 0) == sizeof(m));
	CHECK(disk_copy_ask(sock[0], "b", DISK_COPY_FLUSH, &err) == -EPROTO);
	close(sock[1]);
	CHECK(disk_copy_begin(sock[0], "b", &here, &err) < 0 && strstr(err.text, "b"));
	close(sock[0]);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	CHECK(disk_copy_part(sock[0], "b", &here, SIZE - 4096, 4096, buf, &err) == 0);	/* a hole behind its end */
	CHECK(pwrite(here.fd, "x", 1, SIZE - 2000) == 1 && disk_copy_part(sock[0], "b", &here, SIZE - 2048, 2048, buf, &err) == -EIO);
	CHECK(strstr(err.text, "it has been cut"));
	close(sock[0]);
	close(sock[1]);
	close(here.fd);
	free(buf);
}

/* Both hosts' locks of one disk go together, those of two disks don't; but of readers. */
static void shared_locks(void)
{
	static const struct {
		bool a_reads, b_reads;
		const char *guest;
		uint32_t no;
		int ret;
	} t[] = {
		{ false, false, "web", 3, 0 },
		{ false, false, "web", 4, -EAGAIN },
		{ false, false, "web2", 3, -EAGAIN },
		{ true, true, "other", 7, 0 },
		{ true, false, "web", 3, -EAGAIN },
		{ false, true, "web", 3, -EAGAIN },
	};
	char path[64];
	size_t i;
	int a, b;

	for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
		a = image(MIB, 0);
		/* another open file, as another host's or process' is */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", a);
		b = open(path, O_RDWR | O_CLOEXEC);
		CHECK(a >= 0 && b >= 0);
		CHECK(!ftbackend_lock(a, t[i].a_reads, "web", 3));
		CHECK(ftbackend_lock(b, t[i].b_reads, t[i].guest, t[i].no) == t[i].ret);
		close(b);
		close(a);
	}
}

/* What one host has alone is said to be so. */
static void shared_refused(void)
{
	char path[] = "/dev/shm/ftkvm-unit.XXXXXX";
	int fd = mkstemp(path);
	struct fterr err = { 0 };
	struct ftbackend b;

	CHECK(fd >= 0 && !ftruncate(fd, MIB));
	CHECK(ftbackend_shared(&b, path, false, "web", 3, &err) == -EINVAL && b.fd < 0);
	CHECK(strstr(err.text, "tmpfs, which one host has alone") && strstr(err.text, "block device"));
	close(fd);
	unlink(path);
	CHECK(ftbackend_shared(&b, "/nowhere/at/all", false, "web", 3, &err) == -ENOENT && b.fd < 0);
	CHECK(ftbackend_shared(&b, "/dev/null", false, "web", 3, &err) < 0 && b.fd < 0);
}

const struct unit_test unit_disk_tests[] = {
	{ "disk_copied", copied },
	{ "disk_copy_hostile", hostile },
	{ "disk_copy_cut", cut },
	{ "disk_copy_refusal_heard", refusal_heard },
	{ "disk_copy_odd_ends", odd_receivers },
	{ "disk_shared_locks", shared_locks },
	{ "disk_shared_refused", shared_refused },
	{ 0 }
};
