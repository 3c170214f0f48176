/* SPDX-License-Identifier: GPL-2.0 */
/* From the module's messages to our structures; nl.c's own, and the tests'. */
#ifndef FTKVM_NL_PARSE_H
#define FTKVM_NL_PARSE_H

#include "nl_dev.h"

/* Each takes a whole message; what it does not say is zero. */
void nl_parse_replica(const struct nlmsghdr *nlh, struct ftreplica *r);
void nl_parse_event(const struct nlmsghdr *nlh, struct ftevent *e);
void nl_parse_device(const struct nlmsghdr *nlh, struct ftdev *d);
/* What DEV_TRACK answers; false: nothing that is understood. */
bool nl_parse_track(const struct nlmsghdr *nlh, uint32_t *track);
/* What DEV_DIRTY answers; false: it is not whole. */
bool nl_parse_dirty(const struct nlmsghdr *nlh, struct ftdirty *d);
/* What DEV_STOP answers; @base is left alone if it says nothing. */
void nl_parse_base(const struct nlmsghdr *nlh, uint32_t *base);
/* Adds to what @p holds. */
void nl_parse_problems(const struct nlmsghdr *nlh, struct ftproblems *p);

/* The short text that the kernel attaches to an error; @buf is left alone if there is none. */
void nl_extack_text(const struct nlmsghdr *nlh, char *buf, size_t size);
/* The text of a message that precedes an error. */
void nl_detail_text(const struct nlmsghdr *nlh, char *buf, size_t size);

#endif
