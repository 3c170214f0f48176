// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
#include "journal.h"
#include "text.h"

#define FIELDS_MAX	16

/* Never to be changed: others look for them. */
static const char *const ids[FTMSG_END] = {
	[FTKVM_UAPI_EVENT_ATTACHED] = "862106901bbf41e99a6e34c3de2d5e90",
	[FTKVM_UAPI_EVENT_DETACHED] = "a4cfd37cee03450c9aec2eec3f69d480",
	[FTKVM_UAPI_EVENT_PAIRED] = "84565a40075549839842aac093ba760f",
	[FTKVM_UAPI_EVENT_STARTED] = "e2d7bc31801644a58c75c5778aaf76dc",
	[FTKVM_UAPI_EVENT_PEER_LOST] = "f22234560eac4b5794b8727177e3fef4",
	[FTKVM_UAPI_EVENT_UNPAIRED] = "3c7cc938840a458c9d78a6c7725bcad7",
	[FTKVM_UAPI_EVENT_DIVERGED] = "ee95dd2e849843df96894687153b37c3",
	[FTKVM_UAPI_EVENT_PROMOTED] = "5837bcec4dd346189401a081fe5be60e",
	[FTKVM_UAPI_EVENT_GUEST_ENDED] = "cd71817d52cc48ed826fc3e5bf9983f0",
	[FTKVM_UAPI_EVENT_SECOND_DOWN] = "e564f12dfc5a47b184c8db5b0c5964e9",
	[FTKVM_UAPI_EVENT_SECOND_UP] = "5532a0f35cf34c2a8bf3e5065ca664f4",
	[FTMSG_WON] = "eb713bf06eb44737b19de249cc256a80",
	[FTMSG_LOST] = "7ae9ad56b6274fed899adfaff75d690d",
	[FTMSG_NO_ANSWER] = "fc35181ac3e94a4380974e91558ae42f",
	[FTMSG_FORGOTTEN] = "c54ad087f9874453b7cd18a9c8335629",
	[FTMSG_TWICE] = "68f09cc2a5a9476b897a1738f72079b5",
	[FTMSG_HOOK] = "61202747131640e399377050f860748a",
	[FTMSG_STILL] = "d1bf92d9526642e9b58eb1069d02825c",
	[FTMSG_MOVES] = "86b66028c0ac423a92598cb2bd47f2fa",
};

const char *ftjournal_id(unsigned int msg)
{
	return msg < FTMSG_END && ids[msg] ? ids[msg] : "";
}

/* Is what standard error goes to the journal? sd_journal_stream_fd(3), JOURNAL_STREAM. */
static bool to_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return text && sscanf(text, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) &&
	       st.st_dev == dev && st.st_ino == ino;
}

struct fields {
	struct iovec v[FIELDS_MAX];
	int n;
};

static void put(struct fields *f, const char *name, const char *value)
{
	char *text;

	if (!*value || f->n == FIELDS_MAX || asprintf(&text, "%s=%s", name, value) < 0)
		return;
	f->v[f->n].iov_base = text;
	f->v[f->n++].iov_len = strlen(text);
}

/* False: it is for ft_log() to say. */
static bool send_fields(struct fields *f, const char *level, unsigned int msg, const char *guest,
			const char *text)
{
	char priority[2] = { level[1], '\0' };	/* "<5>" */
	int i, ret;

	put(f, "MESSAGE", text);
	put(f, "MESSAGE_ID", ftjournal_id(msg));
	put(f, "PRIORITY", priority);
	put(f, "SYSLOG_IDENTIFIER", "ftd");
	put(f, "FTKVM_GUEST", guest);
	ret = sd_journal_sendv(f->v, f->n);
	for (i = 0; i < f->n; i++)
		free(f->v[i].iov_base);
	return !ret;
}

void ftjournal_say(const char *level, unsigned int msg, const char *guest, const char *fmt, ...)
{
	struct fields f = { .n = 0 };
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (!to_journal() || !send_fields(&f, level, msg, guest, text))
		ft_log(level, "%s", text);
}

void ftjournal_event(const char *level, const struct ftevent *e)
{
	struct fields f = { .n = 0 };
	char text[1024];

	snprintf(text, sizeof(text), "guest %s: %s, it is %s%s%s", e->name, ft_event_words(e->event),
		 ft_state_name(e->state), *e->detail ? ": " : "", e->detail);
	if (to_journal()) {
		put(&f, "FTKVM_EVENT", ft_event_name(e->event));
		put(&f, "FTKVM_STATE", ft_state_name(e->state));
		put(&f, "FTKVM_ROLE", ft_role_name(e->role));
		put(&f, "FTKVM_REASON", ft_reason_name(e->reason));
		put(&f, "FTKVM_DETAIL", e->detail);
		if (send_fields(&f, level, e->event, e->name, text))
			return;
	}
	ft_log(level, "%s", text);
}
