// SPDX-License-Identifier: GPL-2.0
/* ftctl: are both replicas, or both hosts' images of their disks, the same? */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ftctl.h"
#include "nl_dev.h"
#include "replica_json.h"
#include "text.h"

#define POLL_MS		20
#define PROGRESS_MS	500

static volatile sig_atomic_t interrupted;

static bool paired(const struct ftreplica *r)
{
	return r->state == FTKVM_UAPI_STATE_PRIMARY;
}

/* What is awaited, and how its progress is told; for @total, 0: in pages. */
struct awaited {
	unsigned int done, given_up, progress;	/* FTKVM_STAT_*; 0: none */
	uint64_t total;
	struct ftreplica before;
};

static bool grown(const struct awaited *a, const struct ftreplica *r, unsigned int stat)
{
	return stat && r->stats[stat] > a->before.stats[stat];
}

static void show(const struct awaited *a, const struct ftreplica *r)
{
	uint64_t n = r->stats[a->progress] - a->before.stats[a->progress];
	char sofar[32], all[32];

	if (a->total)
		fprintf(stderr, "\r%s of %s compared \033[K", ft_format_bytes(n, sofar, sizeof(sofar)),
			ft_format_bytes(a->total, all, sizeof(all)));
	else
		fprintf(stderr, "\r%" PRIu64 " pages logged ", n);
}

/* Wait until the module has proven one more, or will not. 0, -errno; -EINTR by a signal. */
static int await(struct ftctl *ctl, const struct awaited *a, struct ftreplica *r, struct fterr *err)
{
	bool shows = isatty(STDERR_FILENO);
	int64_t shown = ft_now_ms();
	int ret;

	for (;;) {
		ret = ftnl_get(ctl->name, r, err);
		if (ret || !paired(r) || grown(a, r, a->done) || grown(a, r, a->given_up))
			break;
		if (interrupted) {
			ret = ft_fail(err, -EINTR, "interrupted");
			break;
		}
		if (shows && ft_now_ms() - shown >= PROGRESS_MS) {
			shown = ft_now_ms();
			show(a, r);
		}
		usleep(POLL_MS * 1000);
	}
	if (shows)
		fputs("\r\033[K", stderr);
	return ret;
}

static int parted(const struct ftctl *ctl, const struct ftreplica *r, const char *differ)
{
	struct fterr err;

	ft_fail(&err, -EIO, "guest %s: %s (%s)", ctl->name,
		r->reason == FTKVM_REASON_DIVERGED ? differ :
		"the pairing ended before all was compared", r->detail);
	return ftctl_error(&err);
}

static int verify_guest(struct ftctl *ctl)
{
	struct awaited a = { .done = FTKVM_STAT_VERIFIES, .progress = FTKVM_STAT_VERIFY_PAGES };
	unsigned long long pages, words;
	struct ftreplica r;
	struct fterr err;
	char text[32];

	if (ftnl_get(ctl->name, &a.before, &err) || ftnl_verify(ctl->name, &err) ||
	    await(ctl, &a, &r, &err))
		return ftctl_error(&err);
	if (!paired(&r))
		return parted(ctl, &r, "the replicas are not the same");
	pages = r.stats[FTKVM_STAT_VERIFY_PAGES] - a.before.stats[FTKVM_STAT_VERIFY_PAGES];
	words = r.stats[FTKVM_STAT_VERIFY_WORDS];
	if (ctl->json)
		return ftctl_print_json(json_pack("{s:b, s:I, s:I, s:I}", "same", 1,
						  "registers", (json_int_t)words,
						  "pages", (json_int_t)pages, "stood_still_ns",
						  (json_int_t)r.stats[FTKVM_STAT_VERIFY_NS]));
	printf("Guest %s: both replicas have the same %llu registers and %llu pages of memory (it stood "
	       "still for %s).\n", ctl->name, words, pages,
	       ft_format_ns(r.stats[FTKVM_STAT_VERIFY_NS], text, sizeof(text)));
	return FTCTL_OK;
}

/* --- disks ----------------------------------------------------------------- */

/* The disks of the guest that are compared; their bytes in all. How many both hosts share. */
static json_t *disks_of(const struct ftreplica *r, uint64_t *total, size_t *shared)
{
	json_t *list = json_array();
	struct ftdev *devs = NULL;
	struct fterr ignored;
	size_t n = 0, i;

	*total = 0;
	*shared = 0;
	/* for people only: the module knows them by itself */
	ftnl_dev_dump(&devs, &n, &ignored);
	for (i = 0; i < n; i++) {
		if (devs[i].pid != r->pid || devs[i].kind != FTKVM_UAPI_DEV_BLK)
			continue;
		if (devs[i].shared) {
			++*shared;
			continue;
		}
		json_array_append_new(list, json_pack("{s:s, s:i, s:I}", "name", devs[i].name, "no",
						      (int)devs[i].no, "bytes",
						      (json_int_t)(devs[i].capacity * 512)));
		*total += devs[i].capacity * 512;
	}
	free(devs);
	return list;
}

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static void catch_signals(void)
{
	struct sigaction act = { .sa_handler = on_signal };

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
}

static int same_disks(const struct ftctl *ctl, const struct ftreplica *r, json_t *disks, uint64_t total,
		      size_t shared)
{
	char n[48], text[32];

	if (ctl->json)
		return ftctl_print_json(json_pack("{s:b, s:I, s:o, s:I}", "same", 1, "bytes",
						  (json_int_t)total, "disks", disks, "shared",
						  (json_int_t)shared));
	printf("Guest %s: both hosts' images of %s are the same (%s).\n", r->name,
	       ft_format_count(json_array_size(disks), "disk", n, sizeof(n)),
	       ft_format_bytes(total, text, sizeof(text)));
	if (shared)
		printf("On storage that both hosts share, where there is nothing to compare: %s.\n",
		       ft_format_count(shared, "disk", n, sizeof(n)));
	json_decref(disks);
	return FTCTL_OK;
}

static int verify_disks(struct ftctl *ctl)
{
	struct awaited a = {
		.done = FTKVM_STAT_DISK_VERIFIES, .given_up = FTKVM_STAT_DISK_GIVEN_UP,
		.progress = FTKVM_STAT_DISK_BYTES,
	};
	struct fterr err, ignored;
	struct ftreplica r;
	json_t *disks;
	size_t shared;
	int ret;

	if (ftnl_get(ctl->name, &a.before, &err))
		return ftctl_error(&err);
	catch_signals();
	if (ftnl_verify_disks(ctl->name, true, &err))
		return ftctl_error(&err);
	disks = disks_of(&a.before, &a.total, &shared);
	ret = await(ctl, &a, &r, &err);
	if (ret == -EINTR) {
		ftnl_verify_disks(ctl->name, false, &ignored);
		ft_fail(&err, -EINTR, "guest %s: interrupted before all was compared; its disks are compared "
			"no more", ctl->name);
	}
	if (!ret && paired(&r) && grown(&a, &r, a.done))
		return same_disks(ctl, &r, disks, a.total, shared);
	json_decref(disks);
	if (ret)
		return ftctl_error(&err);
	if (!paired(&r))
		return parted(ctl, &r, "the disks are not the same");
	ft_fail(&err, -EIO, "guest %s: whether the disks are the same can't be told: %s", ctl->name,
		r.disks_detail);
	return ftctl_error(&err);
}

int cmd_verify(struct ftctl *ctl)
{
	return ctl->disks ? verify_disks(ctl) : verify_guest(ctl);
}
