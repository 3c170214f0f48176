// SPDX-License-Identifier: GPL-2.0
/* ftctl protect, pause, resume: orders about a guest that runs. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "ftctl.h"
#include "text.h"

/* The step that ftd is at, and how much of it is done. */
static void show_progress(const struct ftctl *ctl)
{
	static char last[80];
	struct ftctl quiet = *ctl;
	json_int_t done = 0, total = 0;
	const char *step = NULL;
	json_t *answer, *one;
	struct fterr ignored;
	char text[80];
	size_t i;

	quiet.progress = NULL;
	quiet.patient = false;
	answer = ftctl_ask(&quiet, json_pack("{s:s}", "cmd", "info"), &ignored);
	json_array_foreach(json_object_get(answer, "guests"), i, one) {
		const char *name = json_string_value(json_object_get(one, "name"));

		if (name && !strcmp(name, ctl->name))
			json_unpack(one, "{s:{s:s, s:I, s:I}}", "progress", "step", &step, "done", &done,
				    "total", &total);
	}
	if (step && total)
		snprintf(text, sizeof(text), "%.40s: %d %% of %lld MiB", step, (int)(done * 100 / total),
			 (long long)(total >> 20));
	else if (step)
		snprintf(text, sizeof(text), "%.40s", step);
	if (step && isatty(STDERR_FILENO))
		fprintf(stderr, "\r%s\033[K", text);
	else if (step && strcmp(text, last))
		fprintf(stderr, "%s\n", text);
	if (step)
		strcpy(last, text);
	json_decref(answer);
}

static void end_progress(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static void said_protect(const struct ftctl *ctl, json_t *answer)
{
	json_int_t ms = json_integer_value(json_object_get(answer, "downtime_ms"));
	char text[32];

	end_progress();
	printf("Guest %s is protected: it is live here, and has a backup at %s. It stood still for %s.\n"
	       "To watch it:\n  ftctl status %s\n", ctl->name, ctl->peer,
	       ft_format_ns(ms * 1000000, text, sizeof(text)), ctl->name);
}

int cmd_protect(struct ftctl *ctl)
{
	/* ftd gives up what nobody waits for any more */
	ctl->patient = true;
	if (!ctl->json)
		ctl->progress = show_progress;
	return ftctl_order_pair(ctl, "protect", said_protect);
}

static void said_unprotect(const struct ftctl *ctl, json_t *answer)
{
	const char *peer = json_string_value(json_object_get(answer, "peer"));

	printf("Guest %s is not protected any more: it goes on here, alone.\n", ctl->name);
	if (json_is_true(json_object_get(answer, "cleared")))
		printf("Nothing of it is left at %s.\n", peer);
}

int cmd_unprotect(struct ftctl *ctl)
{
	return ftctl_order(ctl, ftctl_request(ctl, "unprotect"), said_unprotect);
}

static void said_switchover(const struct ftctl *ctl, json_t *answer)
{
	(void)answer;
	printf("Guest %s is live here now. It will be protected again as soon as its former host has a QEMU for it; "
	       "to watch that:\n  ftctl status %s\n", ctl->name, ctl->name);
}

int cmd_switchover(struct ftctl *ctl)
{
	return ftctl_order(ctl, ftctl_request(ctl, "switchover"), said_switchover);
}

static void said_pause(const struct ftctl *ctl, json_t *answer)
{
	(void)answer;
	printf("Guest %s stands still. To let it go on:\n  ftctl resume %s\n", ctl->name, ctl->name);
}

int cmd_pause(struct ftctl *ctl)
{
	return ftctl_order(ctl, ftctl_request(ctl, "pause"), said_pause);
}

static void said_resume(const struct ftctl *ctl, json_t *answer)
{
	(void)answer;
	printf("Guest %s goes on.\n", ctl->name);
}

int cmd_resume(struct ftctl *ctl)
{
	return ftctl_order(ctl, ftctl_request(ctl, "resume"), said_resume);
}
