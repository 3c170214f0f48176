/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Messages of which programs take notice: in the journal each kind has an identifier that
 * stays the same (MESSAGE_ID), and fields that name guest, state and cause. ftd(8) lists them.
 */
#ifndef FTKVM_JOURNAL_H
#define FTKVM_JOURNAL_H

#include "nl.h"

/* Of an event of the module's: its number. */
enum {
	FTMSG_WON = FTKVM_UAPI_EVENT_SECOND_UP + 1,
	FTMSG_LOST,
	FTMSG_NO_ANSWER,
	FTMSG_FORGOTTEN,
	FTMSG_TWICE,
	FTMSG_HOOK,
	FTMSG_STILL,
	FTMSG_MOVES,
	FTMSG_END
};

/**
 * ftjournal_say() - one line, as ft_log() does; in the journal, with fields
 * @level: SD_ERR ...
 * @msg: FTMSG_*, or enum ftkvm_uapi_event
 * @guest: its name
 */
void ftjournal_say(const char *level, unsigned int msg, const char *guest, const char *fmt, ...) __printf(4, 5);

/* The same of an event of the module's. */
void ftjournal_event(const char *level, const struct ftevent *e);

/* The identifier, 32 hexadecimal digits; "" if there is none. */
const char *ftjournal_id(unsigned int msg);

#endif
