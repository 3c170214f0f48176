/* SPDX-License-Identifier: GPL-2.0 */
/* A QEMU's command line, and the one of a QEMU that its guest can be moved to. */
#ifndef FTKVM_CMDLINE_H
#define FTKVM_CMDLINE_H

#include <sys/types.h>
#include "console.h"

/**
 * cmdline_read() - how was this process started?
 * @pid: QEMU's
 *
 * Return: {"exe": PATH, "cwd": PATH, "argv": [TEXT...]}, or NULL with a text
 */
json_t *cmdline_read(pid_t pid, struct fterr *err);

/**
 * cmdline_incoming() - the words that start the same machine, to take a guest in
 * @argv: of the running one; not changed
 * @cons: its consoles, which are muted there
 * @ncons: how many
 *
 * Return: a new array, or NULL with a text: what it needs can't be told by words
 */
json_t *cmdline_incoming(json_t *argv, const struct ftconsole *cons, size_t ncons,
			 struct fterr *err);

/**
 * cmdline_start() - start a process that outlives this one
 * @how: as cmdline_read() has it
 * @log: file for what it says
 * @pid: gets it; it is no child of ours
 *
 * Return: 0 or -errno with a text: it could not be started
 */
int cmdline_start(json_t *how, const char *log, pid_t *pid, struct fterr *err);

#endif
