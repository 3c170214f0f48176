/* SPDX-License-Identifier: GPL-2.0 */
/* What ftd may do that other users' processes may not: capabilities(7). */
#ifndef FTKVM_PRIVILEGE_H
#define FTKVM_PRIVILEGE_H

#include "util.h"

/**
 * privilege_settle() - keep the capabilities that ftd needs, and no others
 *
 * Before there are other threads, which would keep theirs. What is executed from then on gets none.
 * Root is left as it is: it has them all, and so has what it executes.
 * Return: 0, or -errno with a text: they can't be given up
 */
int privilege_settle(struct fterr *err);

/**
 * privilege_complete() - is there all that ftd needs?
 *
 * Return: true, also for root; or false, with a text that names what is missing
 */
bool privilege_complete(struct fterr *err);

/**
 * privilege_above_user() - may ftd do more than other processes of its user?
 *
 * That is so for a user that is not root and has capabilities: the QEMUs and hooks that ftd starts
 * are that user's, without them.
 */
bool privilege_above_user(void);

/**
 * privilege_lay_down() - this thread has no capabilities any more, the others keep theirs
 *
 * Return: 0 or -errno
 */
int privilege_lay_down(void);

#endif
