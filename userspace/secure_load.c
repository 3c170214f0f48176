// SPDX-License-Identifier: GPL-2.0
/* Certificates and keys: reading our own, judging the peer's. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <gnutls/x509.h>
#include "secure_internal.h"

#define KEY_LEAST	16	/* bytes: who listens in can try all short ones */

/* --- the peer's ------------------------------------------------------------------ */

static bool has_name(const struct handshake *h, gnutls_x509_crt_t crt)
{
	const struct secure *s = h->secure;
	size_t i;

	/* An address is looked for among the certificate's addresses. */
	if (!s->n_names)
		return !h->client || gnutls_x509_crt_check_hostname(crt, h->peer);
	for (i = 0; i < s->n_names; i++)
		if (gnutls_x509_crt_check_hostname(crt, s->names[i]))
			return true;
	return false;
}

int secure_verify(gnutls_session_t session)
{
	struct handshake *h = gnutls_session_get_ptr(session);
	const char *purpose = h->client ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
	gnutls_typed_vdata_st data = { .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (void *)purpose };
	const gnutls_datum_t *der;
	unsigned int n;
	gnutls_x509_crt_t crt;

	if (gnutls_certificate_verify_peers(session, &data, 1, &h->status))
		h->status = GNUTLS_CERT_INVALID;
	der = gnutls_certificate_get_peers(session, &n);
	if (!h->status && (!der || !n || gnutls_x509_crt_init(&crt)))
		h->status = GNUTLS_CERT_INVALID;
	if (h->status)
		return GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
	if (gnutls_x509_crt_import(crt, &der[0], GNUTLS_X509_FMT_DER))
		h->status = GNUTLS_CERT_INVALID;
	else if (!has_name(h, crt))
		h->status = GNUTLS_CERT_INVALID | GNUTLS_CERT_UNEXPECTED_OWNER;
	gnutls_x509_crt_deinit(crt);
	return h->status ? GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR : 0;
}

int secure_find_key(gnutls_session_t session, const char *user, gnutls_datum_t *key)
{
	struct handshake *h = gnutls_session_get_ptr(session);
	const struct secure *s = h->secure;

	if (strcmp(user, s->user)) {
		h->stranger = true;
		return 1;
	}
	key->data = gnutls_malloc(s->key.size);
	if (!key->data)
		return -1;
	memcpy(key->data, s->key.data, s->key.size);
	key->size = s->key.size;
	return 0;
}

/* --- ours -------------------------------------------------------------------------- */

void secure_free(struct secure *s)
{
	size_t i;

	if (!s)
		return;
	if (s->certificate)
		gnutls_certificate_free_credentials(s->certificate);
	if (s->psk_client)
		gnutls_psk_free_client_credentials(s->psk_client);
	if (s->psk_server)
		gnutls_psk_free_server_credentials(s->psk_server);
	for (i = 0; i < s->n_names; i++)
		free(s->names[i]);
	free(s->names);
	free(s->user);
	if (s->key.data)
		gnutls_memset(s->key.data, 0, s->key.size);
	gnutls_free(s->key.data);
	free(s);
}

static int no_memory(struct fterr *err)
{
	return ft_fail(err, -ENOMEM, "no memory for certificates and keys");
}

/* "a, b": as the configuration has them. */
static int load_names(struct secure *s, const char *text, struct fterr *err)
{
	char *copy = strdup(text), *rest = copy, *name;
	char **names;

	while (copy && (name = strsep(&rest, ", \t"))) {
		if (!*name)
			continue;
		names = reallocarray(s->names, s->n_names + 1, sizeof(*names));
		if (!names)
			break;
		s->names = names;
		names[s->n_names] = strdup(name);
		if (!names[s->n_names])
			break;
		s->n_names++;
	}
	free(copy);
	if (!copy || name)
		return no_memory(err);
	/* none would let all in */
	return s->n_names ? 0 : ft_fail(err, -EINVAL, "[link] peer-name has no name in it; give one, or leave it out");
}

/*
 * Others will not take it: to be known before they are asked. Only told, as ftd has
 * other work, and a certificate may be renewed meanwhile.
 */
static void check_own(const struct secure *s, const struct ftconfig *config)
{
	unsigned int i, n, status = 0;
	gnutls_x509_trust_list_t trust;
	gnutls_x509_crt_t *chain;
	gnutls_datum_t text;

	if (gnutls_certificate_get_x509_crt(s->certificate, 0, &chain, &n))
		return;
	gnutls_certificate_get_trust_list(s->certificate, &trust);
	if (!gnutls_x509_trust_list_verify_crt2(trust, chain, n, NULL, 0, 0, &status, NULL) && status &&
	    !gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0)) {
		ft_log(SD_WARNING, "no other host will take the certificate %s: %s(the CA is %s)", config->link.cert,
		       text.data, config->link.ca);
		gnutls_free(text.data);
	}
	for (i = 0; i < n; i++)
		gnutls_x509_crt_deinit(chain[i]);
	gnutls_free(chain);
}

static int load_certificate(struct secure *s, const struct ftconfig *config, struct fterr *err)
{
	int ret = gnutls_certificate_allocate_credentials(&s->certificate);

	if (ret)
		return no_memory(err);
	ret = gnutls_certificate_set_x509_trust_file(s->certificate, config->link.ca, GNUTLS_X509_FMT_PEM);
	if (ret <= 0)
		return ft_fail(err, -EINVAL,
			       "%s: [link] ca = %s has no certificate in it: %s; let it be the CA's, "
			       "in PEM",
			       config->file, config->link.ca, ret ? gnutls_strerror(ret) : "it is empty");
	ret = gnutls_certificate_set_x509_key_file(s->certificate, config->link.cert, config->link.key,
						   GNUTLS_X509_FMT_PEM);
	if (ret == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		return ft_fail(err, -EINVAL,
			       "%s: [link] key = %s is not that of cert = %s; give the one that it "
			       "was made with", config->file, config->link.key, config->link.cert);
	if (ret < 0)
		return ft_fail(err, -EINVAL,
			       "%s: [link] cert = %s, key = %s can't be taken: %s; let both be in "
			       "PEM, the key without a password",
			       config->file, config->link.cert, config->link.key, gnutls_strerror(ret));
	gnutls_certificate_set_verify_function(s->certificate, secure_verify);
	check_own(s, config);
	return 0;
}

/* USER:HEX, as psktool writes it. */
static int parse_key(struct secure *s, char *line, const struct ftconfig *config, struct fterr *err)
{
	const char *file = config->link.psk_file;
	char *hex = strchr(line, ':');
	gnutls_datum_t text;
	int ret;

	if (!hex || hex == line)
		return ft_fail(err, -EINVAL,
			       "%s: [link] psk-file = %s has no line USER:KEY; make one (psktool -u "
			       "ftkvm -p FILE)", config->file, file);
	*hex++ = '\0';
	hex[strcspn(hex, " \t\r\n")] = '\0';
	text.data = (unsigned char *)hex;
	text.size = strlen(hex);
	ret = gnutls_hex_decode2(&text, &s->key);
	if (ret)
		return ft_fail(err, -EINVAL,
			       "%s: [link] psk-file = %s: the key is not in hexadecimal digits; make "
			       "one (psktool -u ftkvm -p FILE)", config->file, file);
	if (s->key.size < KEY_LEAST)
		return ft_fail(err, -EINVAL,
			       "%s: [link] psk-file = %s: the key is shorter than %d bytes; make one "
			       "at random (psktool -u ftkvm -p FILE)", config->file, file, KEY_LEAST);
	s->user = strdup(line);
	return s->user ? 0 : no_memory(err);
}

static int load_key(struct secure *s, const struct ftconfig *config, struct fterr *err)
{
	FILE *file = fopen(config->link.psk_file, "re");
	char *line = NULL, *more = NULL;
	size_t size = 0, more_size = 0;
	int ret = 0;

	if (!file)
		return ft_fail(err, -errno,
			       "%s: [link] psk-file = %s can't be read: %s; let ftd's user read it",
			       config->file, config->link.psk_file, strerror(errno));
	if (getline(&line, &size, file) < 0)
		ret = ft_fail(err, -EINVAL,
			      "%s: [link] psk-file = %s is empty; make a key (psktool -u ftkvm -p "
			      "FILE)", config->file, config->link.psk_file);
	else if (getline(&more, &more_size, file) > 0 && strspn(more, " \t\r\n") != strlen(more))
		ret = ft_fail(err, -EINVAL,
			      "%s: [link] psk-file = %s has more than one line; leave the key for ftd "
			      "in it, alone", config->file, config->link.psk_file);
	else
		ret = parse_key(s, line, config, err);
	fclose(file);
	if (line)
		gnutls_memset(line, 0, size);
	if (more)
		gnutls_memset(more, 0, more_size);
	free(line);
	free(more);
	if (ret)
		return ret;
	if (gnutls_psk_allocate_client_credentials(&s->psk_client) ||
	    gnutls_psk_allocate_server_credentials(&s->psk_server) ||
	    gnutls_psk_set_client_credentials(s->psk_client, s->user, &s->key, GNUTLS_PSK_KEY_RAW))
		return no_memory(err);
	gnutls_psk_set_server_credentials_function(s->psk_server, secure_find_key);
	return 0;
}

int secure_load(const struct ftconfig *config, bool plain, struct secure **secure, struct fterr *err)
{
	struct secure *s = calloc(1, sizeof(*s));
	int ret = 0;

	*secure = NULL;
	if (!s)
		return no_memory(err);
	s->users = 1;
	s->security = plain ? FTLINK_PLAIN : config->link.security;
	if (s->security == FTLINK_TLS) {
		ret = load_certificate(s, config, err);
		if (!ret && config->link.peer_name)
			ret = load_names(s, config->link.peer_name, err);
	} else if (s->security == FTLINK_PSK) {
		ret = load_key(s, config, err);
	}
	if (ret) {
		secure_free(s);
		return ret;
	}
	*secure = s;
	return 0;
}
