/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the QEMUs say that ftd started: each has a file beside ftd's list of guests, for as long as it lives, and may
 * have its guest fill it.
 */
#ifndef FTKVM_SAID_H
#define FTKVM_SAID_H

#include <stddef.h>

#define SAID_MAX	1048576	/* a longer one is cut to ... */
#define SAID_KEPT	65536	/* ... the last of it */

/* Where it is. @state: the list of guests' path */
void said_path(const char *state, const char *guest, char *path, size_t size);
/* The last line that is not empty, or "". */
void said_last(const char *path, char *text, size_t size);
/* Its QEMU is gone, and all is well. */
void said_forget(const char *state, const char *guest);
/* Cut all that are too long, whosever they are: a QEMU may go on that is ftd's no more. */
void said_cut(const char *state);

#endif
