/* SPDX-License-Identifier: GPL-2.0 */
/* Where ftd serves its metrics: http://ADDR:PORT/metrics, or at a UNIX socket. */
#ifndef FTKVM_METRICS_HTTP_H
#define FTKVM_METRICS_HTTP_H

#include "util.h"

/**
 * metrics_listen() - serve them from now on
 * @where: ADDR:PORT, or unix:PATH
 * @err: gets a text if that fails
 *
 * A thread of its own serves, and asks the module: whoever scrapes does not hold up the guests'
 * operations. Context: the main loop, once.
 * Return: 0 or -errno
 */
int metrics_listen(const char *where, struct fterr *err);

/* The main loop's, at the end. */
void metrics_close(void);

#endif
