// SPDX-License-Identifier: GPL-2.0
/* The sender's side of a copy of a running guest's disks: disk_sync.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "disk_sync.h"
#include "nl_dev.h"
#include "peer.h"
#include "peer_call.h"

#define LITTLE		(16u << 20)	/* is copied while the guest stands still */
#define PASSES		30		/* then it is as little as it will be */
#define STEP		(64u << 20)	/* bytes between two looks at the clock, and at @progress */
#define STEP_LAST	(1u << 20)	/* the same, when there is a deadline */

static int go_on(struct disk_sync *s, struct fterr *err)
{
	if (s->deadline && ft_now_ms() >= s->deadline) {
		s->late = true;
		return ft_fail(err, -ETIMEDOUT, "what its disks had last been given took too long to copy");
	}
	return s->progress ? s->progress(s, s->arg, err) : 0;
}

static int send_part(struct disk_sync *s, size_t i, uint64_t at, uint64_t bytes, struct fterr *err)
{
	uint64_t most = s->deadline ? STEP_LAST : STEP;
	int ret = 0;

	while (!ret && bytes) {
		uint64_t n = bytes < most ? bytes : most;

		ret = disk_copy_part(s->sock, s->peer, &s->disks[i], at, n, s->buf, err);
		at += n;
		bytes -= n;
		s->done += n;
		if (!ret)
			ret = go_on(s, err);
	}
	return ret;
}

/* --- what changed ---------------------------------------------------------- */

/* What the module tells is of this disk, whatever it says. */
static int send_range(struct disk_sync *s, size_t i, const struct ftkvm_uapi_range *r, struct fterr *err)
{
	uint64_t all = s->disks[i].bytes;

	if (!r->bytes || r->at >= all || r->bytes > all - r->at || (r->at | r->bytes) % DISK_COPY_UNIT)
		return ft_fail(err, -EBADMSG, "the kernel module tells of %llu bytes at %llu of device %s",
			       (unsigned long long)r->bytes, (unsigned long long)r->at, s->disks[i].name);
	s->total += r->bytes;
	return send_part(s, i, r->at, r->bytes, err);
}

/*
 * What is marked now, and not all that is marked meanwhile: so it ends. @left of it: what the last
 * fetch told, which may be old when the last of the others is done.
 */
static int send_dirty(struct disk_sync *s, size_t i, bool all, uint64_t *left, struct fterr *err)
{
	uint64_t most = 0, sent = 0;
	struct ftdirty d;
	size_t k;
	int ret;

	do {
		ret = ftnl_dev_dirty(s->disks[i].name, s->track[i], &d, err);
		for (k = 0; !ret && k < d.n; k++) {
			ret = send_range(s, i, &d.ranges[k], err);
			sent += d.ranges[k].bytes;
		}
		if (!most)
			most = sent + d.left;
	} while (!ret && d.left && (all || sent < most));
	*left = ret ? 0 : d.left;
	return ret;
}

static int pass(struct disk_sync *s, bool all, struct fterr *err)
{
	uint64_t left;
	size_t i;
	int ret = 0;

	s->left = 0;
	for (i = 0; !ret && i < s->n; i++) {
		ret = send_dirty(s, i, all, &left, err);
		s->left += left;
	}
	s->passes++;
	return ret;
}

int disk_sync_pass(struct disk_sync *s, struct fterr *err)
{
	int ret = pass(s, false, err);

	/* Else what the peer has still to write would count as nothing. */
	return ret || !s->n ? ret : disk_copy_ask(s->sock, s->peer, DISK_COPY_FLUSH, err);
}

/* --- the whole -------------------------------------------------------------- */

static int ask_peer(struct disk_sync *s, const char *guest, struct fterr *err)
{
	json_t *answer = NULL;
	int ret = peer_ask(s->sock, s->peer, json_pack("{s:i, s:s, s:s, s:s}", "ftd", PEER_VERSION, "version",
						       FTKVM_VERSION, "guest", guest, "copy", "disks"), &answer, err);

	json_decref(answer);
	return ret;
}

int disk_sync_begin(struct disk_sync *s, int sock, const char *peer, const char *guest, struct fterr *err)
{
	size_t i;
	int ret;

	s->sock = sock;
	s->open = true;
	snprintf(s->peer, sizeof(s->peer), "%s", peer);
	if (!s->n)
		return 0;
	s->buf = malloc(DISK_COPY_MOST);
	if (!s->buf)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	ret = ask_peer(s, guest, err);
	for (i = 0; !ret && i < s->n; i++) {
		ret = disk_copy_begin(sock, s->peer, &s->disks[i], err);
		s->total += s->disks[i].bytes;
	}
	/* It says now if it has not these disks, and not after hours. */
	if (!ret)
		ret = disk_copy_ask(sock, s->peer, DISK_COPY_FLUSH, err);
	for (i = 0; !ret && i < s->n; i++) {
		ret = ftnl_dev_track(s->disks[i].name, &s->track[i], err);
		s->tracked[i] = !ret;
	}
	return ret;
}

int disk_sync_live(struct disk_sync *s, struct fterr *err)
{
	uint64_t before = UINT64_MAX;
	unsigned int n;
	size_t i;
	int ret = 0;

	for (i = 0; !ret && i < s->n; i++)
		ret = send_part(s, i, 0, s->disks[i].bytes, err);
	for (n = 0; !ret && n < PASSES; n++) {
		uint64_t at = s->done;

		ret = disk_sync_pass(s, err);
		/* what changed while the last was copied; it shrinks, or it will not */
		if (s->done - at <= LITTLE || s->done - at >= before)
			break;
		before = s->done - at;
	}
	return ret;
}

static int must_be_stopped(const struct disk_sync *s, struct fterr *err)
{
	struct ftdev d;
	size_t i;
	int ret;

	for (i = 0; i < s->n; i++) {
		ret = ftnl_dev_get(s->disks[i].name, &d, err);
		if (ret)
			return ret;
		if (d.stats[FTKVM_DEV_STAT_RUNNING])
			return ft_fail(err, -EBUSY, "device %s is in use still: its guest is not stopped", s->disks[i].name);
	}
	return 0;
}

int disk_sync_last(struct disk_sync *s, struct fterr *err)
{
	int ret = must_be_stopped(s, err);
	size_t i;

	if (!ret)
		ret = pass(s, true, err);
	for (i = 0; !ret && i < s->n; i++)
		if (fdatasync(s->disks[i].fd))
			ret = ft_fail(err, -errno, "device %s: its image can't be made durable: %s", s->disks[i].name,
				      strerror(errno));
	if (!ret)
		ret = go_on(s, err);
	return ret || !s->n ? ret : disk_copy_ask(s->sock, s->peer, DISK_COPY_END, err);
}

void disk_sync_end(struct disk_sync *s)
{
	struct fterr ignored;
	size_t i;

	for (i = 0; i < s->n; i++) {
		if (s->tracked[i])
			ftnl_dev_untrack(s->disks[i].name, s->track[i], &ignored);
		if (s->disks[i].fd >= 0)
			close(s->disks[i].fd);
	}
	if (s->open)
		close(s->sock);
	free(s->buf);
	s->n = 0;
	s->open = false;
	s->buf = NULL;
}
