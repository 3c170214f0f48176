// SPDX-License-Identifier: GPL-2.0
/* Why a handshake failed: to the peer as an alert, to the operator in words. */
#include <errno.h>
#include "secure_internal.h"

#define SAME	"let [link] in ftd.conf of both hosts say the same security"

/* So GnuTLS says that what a client proves its key by is not right. */
static bool wrong_key(const struct handshake *h, int ret)
{
	return h->secure->security == FTLINK_PSK && !h->client && ret == GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
}

gnutls_alert_description_t secure_alert(const struct handshake *h, int ret)
{
	int level;

	if (h->ourselves)
		return GNUTLS_A_ACCESS_DENIED;
	if (h->status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNATURE_FAILURE))
		return GNUTLS_A_UNKNOWN_CA;
	if (h->status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED))
		return GNUTLS_A_CERTIFICATE_EXPIRED;
	if (h->status & GNUTLS_CERT_UNEXPECTED_OWNER)
		return GNUTLS_A_CERTIFICATE_UNKNOWN;
	if (h->status & GNUTLS_CERT_PURPOSE_MISMATCH)
		return GNUTLS_A_UNSUPPORTED_CERTIFICATE;
	if (h->status)
		return GNUTLS_A_BAD_CERTIFICATE;
	if (h->stranger)
		return GNUTLS_A_UNKNOWN_PSK_IDENTITY;
	if (wrong_key(h, ret))
		return GNUTLS_A_DECRYPT_ERROR;
	switch (ret) {
	case GNUTLS_E_NO_CIPHER_SUITES:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
		return GNUTLS_A_HANDSHAKE_FAILURE;
	default:
		return gnutls_error_to_alert(ret, &level);
	}
}

/* The peer's certificate is not taken here. */
static int bad_certificate(const struct handshake *h, struct fterr *err)
{
	const char *why, *remedy = "give both hosts certificates of one CA ([link] ca, cert)";

	if (h->status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNATURE_FAILURE)) {
		why = "this host's ca has not signed it";
	} else if (h->status & GNUTLS_CERT_EXPIRED) {
		why = "it has expired";
		remedy = "renew it, or set the clocks";
	} else if (h->status & GNUTLS_CERT_NOT_ACTIVATED) {
		why = "it is not valid yet";
		remedy = "set the clocks";
	} else if (h->status & GNUTLS_CERT_UNEXPECTED_OWNER && h->secure->n_names) {
		why = "it has none of the names that peer-name wants";
		remedy = "make one with such a name (subjectAltName), or correct peer-name in [link]";
	} else if (h->status & GNUTLS_CERT_UNEXPECTED_OWNER) {
		why = "it is for another name";
		remedy = "call the host by a name or address in its certificate (subjectAltName), or list its names in "
			"[link] peer-name";
	} else if (h->status & GNUTLS_CERT_PURPOSE_MISMATCH) {
		why = h->client ? "it is not for servers" : "it is not for clients";
		remedy = "make one for both (extendedKeyUsage: serverAuth, clientAuth)";
	} else if (h->status & GNUTLS_CERT_INSECURE_ALGORITHM) {
		why = "it, or its CA's, is of an insecure kind";
		remedy = "make one with EC keys, or RSA of 3072 bits, and SHA-256";
	} else {
		why = "it is not valid";
	}
	return ft_fail(err, -EKEYREJECTED,
		       "the certificate of host %s is not taken: %s; %s", h->peer, why, remedy);
}

/* The peer says why it ends the handshake. */
static int told(const struct handshake *h, struct fterr *err)
{
	gnutls_alert_description_t alert = gnutls_alert_get(h->session);
	const char *why, *remedy;

	switch (alert) {
	case GNUTLS_A_CERTIFICATE_EXPIRED:
		why = "it has expired, or is not valid yet";
		remedy = "renew it, or set the clocks";
		break;
	case GNUTLS_A_UNKNOWN_CA:
		why = "the ca there has not signed it";
		remedy = "give both hosts certificates of one CA ([link] ca, cert)";
		break;
	case GNUTLS_A_CERTIFICATE_UNKNOWN:
		why = "it is for another name";
		remedy = "make one with this host's name and address (subjectAltName), or see peer-name there";
		break;
	case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
		why = h->client ? "it is not for clients" : "it is not for servers";
		remedy = "make one for both (extendedKeyUsage: serverAuth, clientAuth)";
		break;
	case GNUTLS_A_BAD_CERTIFICATE:
		why = "it is not valid";
		remedy = "the log there says more";
		break;
	case GNUTLS_A_UNKNOWN_PSK_IDENTITY:
	case GNUTLS_A_DECRYPT_ERROR:
		return ft_fail(err, -EKEYREJECTED,
			       "host %s has another key; give both hosts the same file as psk-file",
			       h->peer);
	case GNUTLS_A_ACCESS_DENIED:
		return ft_fail(err, -EINVAL, "%s is this host itself; name the other one", h->peer);
	case GNUTLS_A_HANDSHAKE_FAILURE:
	case GNUTLS_A_INSUFFICIENT_SECURITY:
	case GNUTLS_A_MISSING_EXTENSION:
	case GNUTLS_A_CERTIFICATE_REQUIRED:
		return ft_fail(err, -EPROTO, "host %s secures connections in another way than this one; " SAME, h->peer);
	default:
		return ft_fail(err, -EPROTO,
			       "host %s ended the handshake: %s; the log there says more",
			       h->peer, gnutls_alert_get_name(alert) ? : "for no known reason");
	}
	return ft_fail(err, -EKEYREJECTED,
		       "host %s does not take this host's certificate: %s; %s", h->peer, why, remedy);
}

int secure_why(const struct handshake *h, int ret, struct fterr *err)
{
	if (h->ourselves)
		return ft_fail(err, -EINVAL, "this host calls itself; name the other one");
	if (h->status)
		return bad_certificate(h, err);
	if (h->stranger)
		return ft_fail(err, -EKEYREJECTED,
			       "host %s has a key of another name; give both hosts the same file as "
			       "psk-file", h->peer);
	if (wrong_key(h, ret))
		return ft_fail(err, -EKEYREJECTED,
			       "host %s has another key; give both hosts the same file as psk-file",
			       h->peer);
	switch (ret) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		return told(h, err);
	case GNUTLS_E_TIMEDOUT:
		return ft_fail(err, -ETIMEDOUT,
			       "host %s did not end the handshake within %d ms; is it busy, or is "
			       "that no ftd?", h->peer, (int)h->timeout_ms);
	case GNUTLS_E_PREMATURE_TERMINATION:
	case GNUTLS_E_PUSH_ERROR:
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_SESSION_EOF:
		return ft_fail(err, -ECONNRESET,
			       "host %s hung up in the midst of the handshake; the log there may say "
			       "why", h->peer);
	case GNUTLS_E_NO_CIPHER_SUITES:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
		return ft_fail(err, -EPROTO, "host %s secures connections in another way than this one; " SAME, h->peer);
	case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
	case GNUTLS_E_UNEXPECTED_PACKET:
	case GNUTLS_E_UNEXPECTED_HANDSHAKE_PACKET:
	case GNUTLS_E_RECORD_OVERFLOW:
		return ft_fail(err, -EPROTO,
			       "what host %s says is no TLS 1.3 (%s); is that its ftd?",
			       h->peer, gnutls_strerror(ret));
	default:
		return ft_fail(err, -EPROTO, "the handshake with host %s failed: %s; " SAME, h->peer, gnutls_strerror(ret));
	}
}
