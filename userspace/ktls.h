/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's TLS: a socket that encrypts and decrypts by itself, so that whoever has
 * it - a module, a QEMU - uses it as if it were plain.
 */
#ifndef FTKVM_KTLS_H
#define FTKVM_KTLS_H

#include <gnutls/gnutls.h>
#include "util.h"

/* What the kernel may encrypt with, best first; bits of ktls_ciphers(). */
enum ktls_cipher {
	KTLS_CHACHA20_POLY1305,
	KTLS_AES_256_GCM,
	KTLS_AES_128_GCM,
	KTLS_CIPHERS,
};

/**
 * ktls_ciphers() - what can this kernel encrypt with?
 *
 * Tries each on a connection to this host itself, which also loads the modules. It blocks;
 * any thread may call it.
 * Return: a mask of 1 << enum ktls_cipher, or 0 with a text
 */
unsigned int ktls_ciphers(struct fterr *err);

/**
 * ktls_name() - the cipher as a priority string of GnuTLS has it
 */
const char *ktls_name(enum ktls_cipher cipher);

/**
 * ktls_give() - let the kernel go on with a session
 * @fd: the session's socket, TCP
 * @session: of TLS 1.3, its handshake done; nothing it has read may be left in it, and
 *	it is not to be used any more
 *
 * Return: 0, or -errno with a text: then the socket is of no use
 */
int ktls_give(int fd, gnutls_session_t session, struct fterr *err);

#endif
