/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections between hosts, authenticated and encrypted: a handshake of TLS 1.3, with
 * certificates on both sides or a key that both have; then the kernel goes on with it
 * (ktls.h), and whoever gets the socket need not know.
 */
#ifndef FTKVM_SECURE_H
#define FTKVM_SECURE_H

#include "config.h"
#include "util.h"

/* How long an accepted connection may take, and one that we make. */
#define SECURE_ACCEPT_MS	5000
#define SECURE_CONNECT_MS	10000

struct secure;

/**
 * secure_load() - read certificates and keys
 * @config: what [link] is about; not needed afterwards
 * @plain: ftd's option --plain, which goes before it
 * @secure: gets what secure_use() takes
 *
 * Blocks as files do. Any thread may call it.
 * Return: 0, or -errno with a text
 */
int secure_load(const struct ftconfig *config, bool plain, struct secure **secure, struct fterr *err);

/**
 * secure_use() - from now on, connections are made and accepted so
 * @secure: of secure_load(), ours from now on; NULL: none at all
 *
 * Handshakes that are under way end as they began.
 */
void secure_use(struct secure *secure);

/* Let go of one that is not used. */
void secure_free(struct secure *secure);

/* In words, for the log: what connections are made and accepted with. */
const char *secure_words(void);

/**
 * secure_probe() - may connections be made?
 *
 * Blocks; any thread may call it.
 * Return: 0, or -errno with a text: [link] is not configured, or the kernel has no TLS
 */
int secure_probe(struct fterr *err);

/**
 * secure_first() - a connection was accepted: what does its first byte say?
 *
 * Return: 1: secure_accept() it, 0: go on in plain TCP, or -errno with a text for both
 * sides: it has to be closed
 */
int secure_first(unsigned char byte, struct fterr *err);

/**
 * secure_connect() - be the client of a connection that was just made
 * @fd: its socket
 * @host: the name or address that it was made to, which the certificate must have
 * @timeout_ms: for all of it
 *
 * Blocks; any thread may call it.
 * Return: 0, or -errno with a text. The socket is as blocking as before.
 */
int secure_connect(int fd, const char *host, int64_t timeout_ms, struct fterr *err);

/**
 * secure_accept() - be the server of a connection that was accepted
 * @fd: its socket, of which nothing has been read
 * @from: its address, for messages
 * @timeout_ms: for all of it
 *
 * Blocks; any thread may call it. Who fails is told why, by TLS.
 * Return: 0, or -errno with a text. The socket is as blocking as before.
 */
int secure_accept(int fd, const char *from, int64_t timeout_ms, struct fterr *err);

#endif
