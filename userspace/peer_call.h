/* SPDX-License-Identifier: GPL-2.0 */
/* Calling another host's ftd. All of it blocks: an operation's thread does it. */
#ifndef FTKVM_PEER_CALL_H
#define FTKVM_PEER_CALL_H

#include "util.h"

#define PEER_ANSWER_MS	20000	/* the peer has a QEMU to ask */

/**
 * peer_connect() - connect to a host's ftd
 * @peer: HOST[:PORT]
 *
 * The connection is secured as [link] says (secure.h); it is used as if it were plain.
 *
 * Return: a blocking socket, or -errno with a text
 */
int peer_connect(const char *peer, struct fterr *err);

/* The same, where it is soon as good as not there: @ms for each address, and for the handshake. */
int peer_connect_soon(const char *peer, int64_t ms, struct fterr *err);

/* Who calls from @from listens at @port: HOST:PORT to call it back, or HOST if that is none. */
void peer_call_back(char *text, size_t size, const char *from, long long port);

/* Make a connection as the module, or QEMU, will have it: blocking, without delays. */
void peer_ready(int fd);

/* Nobody waits long for a host that is gone: for connections of which the module has no part yet. */
void peer_impatient(int fd);

/* Send one line; steals the reference. 0 or -errno. */
int peer_say(int fd, json_t *json);

/**
 * peer_answer() - the line that comes next
 * @peer: for messages
 * @answer: a new reference to it, if it says yes
 *
 * Return: 0, or -errno with a text: none came, or it says no
 */
int peer_answer(int fd, const char *peer, int64_t timeout_ms, json_t **answer, struct fterr *err);

/* Say a line (the reference is stolen), and take the answer to it: as peer_answer(). */
int peer_ask(int fd, const char *peer, json_t *request, json_t **answer, struct fterr *err);

#endif
