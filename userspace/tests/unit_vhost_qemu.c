// SPDX-License-Identifier: GPL-2.0
/*
 * "unit vhost SOCKET blk|net": a device for a real QEMU, that says what happens
 * to it. No ring is served; each operation ends later, as the module's would.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/virtio_blk.h>
#include "tests/unit.h"
#include "vhost_user.h"

#define SECTORS	2048

static uint32_t stopped_at;

static int on_features(struct vu *vu, struct fterr *err)
{
	(void)err;
	printf("features 0x%llx\n", (unsigned long long)vu->features);
	return 0;
}

static int on_start(struct vu *vu, unsigned int n, struct fterr *err)
{
	const struct vu_queue *q = &vu->queue[n];

	(void)err;
	printf("start %u num %u base %u desc 0x%llx avail 0x%llx used 0x%llx call %s\n", n, q->num, q->base,
	       (unsigned long long)q->desc, (unsigned long long)q->avail, (unsigned long long)q->used,
	       q->call < 0 ? "no" : "yes");
	return VU_LATER;
}

static int on_stop(struct vu *vu, unsigned int n, uint32_t *base, struct fterr *err)
{
	(void)vu;
	(void)base;
	(void)err;
	printf("stop %u\n", n);
	return VU_LATER;
}

static int on_call(struct vu *vu, unsigned int n, struct fterr *err)
{
	(void)err;
	printf("call %u %s\n", n, vu->queue[n].call < 0 ? "no" : "yes");
	return VU_LATER;
}

static int on_close(struct vu *vu, struct fterr *err)
{
	(void)err;
	vu_close_fds(vu);
	return VU_LATER;
}

static void on_config(struct vu *vu, uint8_t config[VU_CONFIG_MAX])
{
	struct virtio_blk_config blk = { .capacity = SECTORS, .size_max = 65536, .seg_max = 126, .blk_size = 512 };

	(void)vu;
	memcpy(config, &blk, sizeof(blk));
	printf("config\n");
}

/* A kick is counted, and the queue is where it was. */
static void take_kicks(const struct vu *vu, const struct pollfd *fds)
{
	uint64_t count;
	unsigned int n;

	for (n = 0; n < vu->nqueues; n++) {
		if (!vu->queue[n].running || !(fds[1 + n].revents & POLLIN))
			continue;
		if (read(vu->queue[n].kick, &count, sizeof(count)) == sizeof(count))
			printf("kick %u\n", n);
	}
}

static void serve(int sock, uint32_t kind)
{
	struct vu_ops ops = { on_features, on_start, on_stop, on_call, on_close,
			      kind == FTKVM_UAPI_DEV_BLK ? on_config : NULL };
	struct fterr err = { 0 };
	struct vu vu;
	int ret = 0;

	vu_init(&vu, sock, kind, ~(1ULL << VIRTIO_BLK_F_RO), &ops, NULL);
	while (ret >= 0) {
		struct pollfd fds[1 + VU_QUEUES] = { { .fd = sock, .events = POLLIN } };
		unsigned int n;

		for (n = 0; n < VU_QUEUES; n++)
			fds[1 + n] = (struct pollfd) { .fd = vu.queue[n].running ? vu.queue[n].kick : -1,
						       .events = POLLIN };
		if (ret != VU_LATER)
			poll(fds, ARRAY_SIZE(fds), -1);
		take_kicks(&vu, fds);
		ret = ret == VU_LATER ? vu_finish(&vu, stopped_at, &err) : vu_read(&vu, &err);
	}
	printf("ended: %s\n", err.text);
	vu_free(&vu);
}

int unit_vhost(const char *path, const char *kind)
{
	struct sockaddr_un addr;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), sock;

	if (ft_unix_address(&addr, path) || bind(listener, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(listener, 8)) {
		printf("cannot listen: %s\n", strerror(errno));
		return 1;
	}
	printf("listens\n");
	while ((sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		printf("connected\n");
		serve(sock, strcmp(kind, "net") ? FTKVM_UAPI_DEV_BLK : FTKVM_UAPI_DEV_NET);
		close(sock);
	}
	return 1;
}
