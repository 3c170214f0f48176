/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of secure.h share. */
#ifndef FTKVM_SECURE_INTERNAL_H
#define FTKVM_SECURE_INTERNAL_H

#include <gnutls/gnutls.h>
#include "secure.h"

/**
 * struct secure - certificates and keys, as they were read
 * @users: who has it; under secure.c's lock
 * @security: as in the configuration
 * @names: one of which the peer's certificate must have; NULL: that of the host that was called
 * @n_names: how many
 * @certificate: ours, its key, and who may have signed the peer's
 * @psk_client, @psk_server: the key that both have, for either role
 * @user, @key: what is in the key's file
 *
 * Does not change once it is made.
 */
struct secure {
	unsigned int users;
	enum ftlink_security security;
	char **names;
	size_t n_names;
	gnutls_certificate_credentials_t certificate;
	gnutls_psk_client_credentials_t psk_client;
	gnutls_psk_server_credentials_t psk_server;
	char *user;
	gnutls_datum_t key;
};

/**
 * struct handshake - one that is under way
 * @peer: who it is with, for messages; a client's certificate check, too
 * @client: we have called
 * @heard: the server has said something
 * @plain: that was no TLS, but a line of ftd
 * @status: what is wrong with the peer's certificate, of enum gnutls_certificate_status_t
 * @stranger: the client's key has a name that ours has not
 * @ourselves: it was us who called
 */
struct handshake {
	const struct secure *secure;
	gnutls_session_t session;
	int fd;
	const char *peer;
	bool client;
	int64_t timeout_ms, deadline;
	bool heard, plain;
	unsigned int status;
	bool stranger, ourselves;
};

/* secure_load.c: callbacks of GnuTLS; the session's pointer is a struct handshake. */
int secure_verify(gnutls_session_t session);
int secure_find_key(gnutls_session_t session, const char *user, gnutls_datum_t *key);

/**
 * secure_alert() - what to tell the peer of a handshake that failed
 * @ret: of GnuTLS
 */
gnutls_alert_description_t secure_alert(const struct handshake *h, int ret);

/**
 * secure_why() - what to tell the operator of it
 * @ret: of GnuTLS
 *
 * Return: -errno, with a text
 */
int secure_why(const struct handshake *h, int ret, struct fterr *err);

#endif
