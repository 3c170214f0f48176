// SPDX-License-Identifier: GPL-2.0
/* ftctl: are both replicas the same? */
#include <errno.h>
#include <unistd.h>
#include "ftctl.h"
#include "replica_json.h"
#include "text.h"

#define POLL_MS		20
#define PROGRESS_MS	500

static bool paired(const struct ftreplica *r)
{
	return r->state == FTKVM_UAPI_STATE_PRIMARY;
}

/* Wait until the module has proven one more, or the pairing has ended. 0, -errno. */
static int await(struct ftctl *ctl, uint64_t before, uint64_t pages, struct ftreplica *r,
		 struct fterr *err)
{
	bool shows = isatty(STDERR_FILENO);
	int64_t shown = ft_now_ms();
	int ret;

	for (;;) {
		ret = ftnl_get(ctl->name, r, err);
		if (ret || !paired(r) || r->stats[FTKVM_STAT_VERIFIES] > before)
			break;
		if (shows && ft_now_ms() - shown >= PROGRESS_MS) {
			shown = ft_now_ms();
			fprintf(stderr, "\r%llu pages logged ",
				(unsigned long long)(r->stats[FTKVM_STAT_VERIFY_PAGES] - pages));
		}
		usleep(POLL_MS * 1000);
	}
	if (shows)
		fputs("\r\033[K", stderr);
	return ret;
}

int cmd_verify(struct ftctl *ctl)
{
	unsigned long long pages, words;
	struct ftreplica r;
	uint64_t before, from;
	struct fterr err;
	char text[32];

	if (ftnl_get(ctl->name, &r, &err))
		return ftctl_error(&err);
	before = r.stats[FTKVM_STAT_VERIFIES];
	from = r.stats[FTKVM_STAT_VERIFY_PAGES];
	if (ftnl_verify(ctl->name, &err) || await(ctl, before, from, &r, &err))
		return ftctl_error(&err);
	if (!paired(&r)) {
		ft_fail(&err, -EIO, "guest %s: %s (%s)", ctl->name,
			r.reason == FTKVM_REASON_DIVERGED ? "the replicas are not the same" :
			"the pairing ended before all was compared", r.detail);
		return ftctl_error(&err);
	}
	pages = r.stats[FTKVM_STAT_VERIFY_PAGES] - from;
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
