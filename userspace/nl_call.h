/* SPDX-License-Identifier: GPL-2.0 */
/* How a command is put together and sent: for the files of nl.h. */
#ifndef FTKVM_NL_CALL_H
#define FTKVM_NL_CALL_H

#include "nl.h"

/* Open @nl and begin a command; @flags beside those that all have. NULL with a text. */
struct nlmsghdr *ftnl_begin(struct ftnl *nl, uint8_t cmd, uint16_t flags, struct fterr *err);

/* Send it, show the answers to @fn (or NULL), close @nl. 0 or -errno with a text. */
int ftnl_finish(struct ftnl *nl, struct nlmsghdr *nlh,
		void (*fn)(const struct nlmsghdr *nlh, void *arg), void *arg, struct fterr *err);

#endif
