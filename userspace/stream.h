/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Further connections of a peer's that belong to an operation which is under way: it is
 * named by a token that only that peer was told.
 */
#ifndef FTKVM_STREAM_H
#define FTKVM_STREAM_H

#include "util.h"

/**
 * stream_expect() - one is to come
 * @token: gets its name (FT_UUID_MAX + 1 bytes)
 *
 * Context: any thread. stream_drop() it.
 * Return: 0 or -errno with a text
 */
int stream_expect(char *token, struct fterr *err);

/**
 * stream_take() - wait for it
 * @timeout_ms: for so long
 *
 * Context: an operation's thread.
 * Return: the connection, the caller's from now on; -ETIMEDOUT, -ENOENT
 */
int stream_take(const char *token, int64_t timeout_ms);

/* Nobody waits any more; a connection that was not taken is closed. Any thread. */
void stream_drop(const char *token);

/**
 * stream_give() - it has come
 *
 * Context: the main loop.
 * Return: whether somebody expects it: then @fd is theirs
 */
bool stream_give(const char *token, int fd);

#endif
