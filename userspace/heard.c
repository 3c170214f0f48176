// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include "heard.h"
#include "text.h"

enum ftheard_what heard_of(int ret)
{
	switch (ret) {
	case 0:
		return FT_KNOWN;
	case -EALREADY:
		return FT_DECIDED;
	case -ENOENT:
		return FT_FORGOTTEN;
	default:
		return FT_NO_ANSWER;
	}
}

bool heard_note(struct ftheard *h, enum ftheard_what what, const char *text)
{
	bool news = h->what != what;

	h->what = what;
	h->at_ns = ft_boottime_ns();
	snprintf(h->text, sizeof(h->text), "%s", text ? text : "");
	return news;
}

const char *heard_name(enum ftheard_what what)
{
	static const char *const names[] = {
		[FT_UNHEARD] = "unasked", [FT_KNOWN] = "known", [FT_DECIDED] = "decided",
		[FT_FORGOTTEN] = "forgotten", [FT_NO_ANSWER] = "no-answer",
	};

	return names[what];
}
