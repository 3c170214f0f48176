// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "ktls.h"

#ifndef SOL_TLS
#define SOL_TLS	282
#endif

union info {
	struct tls_crypto_info head;
	struct tls12_crypto_info_aes_gcm_128 aes_128;
	struct tls12_crypto_info_aes_gcm_256 aes_256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
};

struct part {
	size_t at, size;
};

#define PART(of, member)	{ offsetof(struct of, member), sizeof_member(struct of, member) }
#define sizeof_member(type, member)	sizeof(((type *)NULL)->member)

/* What others call it, and where in the kernel's structure things go; salt and iv are one nonce. */
static const struct cipher {
	const char *name;
	gnutls_cipher_algorithm_t gnutls;
	unsigned short kernel;
	size_t size;
	struct part key, salt, iv, seq;
} ciphers[KTLS_CIPHERS] = {
	[KTLS_CHACHA20_POLY1305] = {
		.name = "CHACHA20-POLY1305",
		.gnutls = GNUTLS_CIPHER_CHACHA20_POLY1305,
		.kernel = TLS_CIPHER_CHACHA20_POLY1305,
		.size = sizeof(struct tls12_crypto_info_chacha20_poly1305),
		.key = PART(tls12_crypto_info_chacha20_poly1305, key),
		.iv = PART(tls12_crypto_info_chacha20_poly1305, iv),
		.seq = PART(tls12_crypto_info_chacha20_poly1305, rec_seq),
	},
	[KTLS_AES_256_GCM] = {
		.name = "AES-256-GCM",
		.gnutls = GNUTLS_CIPHER_AES_256_GCM,
		.kernel = TLS_CIPHER_AES_GCM_256,
		.size = sizeof(struct tls12_crypto_info_aes_gcm_256),
		.key = PART(tls12_crypto_info_aes_gcm_256, key),
		.salt = PART(tls12_crypto_info_aes_gcm_256, salt),
		.iv = PART(tls12_crypto_info_aes_gcm_256, iv),
		.seq = PART(tls12_crypto_info_aes_gcm_256, rec_seq),
	},
	[KTLS_AES_128_GCM] = {
		.name = "AES-128-GCM",
		.gnutls = GNUTLS_CIPHER_AES_128_GCM,
		.kernel = TLS_CIPHER_AES_GCM_128,
		.size = sizeof(struct tls12_crypto_info_aes_gcm_128),
		.key = PART(tls12_crypto_info_aes_gcm_128, key),
		.salt = PART(tls12_crypto_info_aes_gcm_128, salt),
		.iv = PART(tls12_crypto_info_aes_gcm_128, iv),
		.seq = PART(tls12_crypto_info_aes_gcm_128, rec_seq),
	},
};

const char *ktls_name(enum ktls_cipher cipher)
{
	return ciphers[cipher].name;
}

/* 0 or -errno with a text: what the kernel lacks. */
static int use_tls(int fd, struct fterr *err)
{
	if (!setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")))
		return 0;
	if (errno == ENOENT)
		return ft_fail(err, -EOPNOTSUPP, "this host's kernel has no TLS; run: modprobe tls");
	return ft_fail(err, -errno,
		       "this host's kernel does not begin TLS: %s; see its log (dmesg)",
		       strerror(errno));
}

/* --- what there is ------------------------------------------------------------ */

/* Both ends of a connection to ourselves. 0 or -errno. */
static int loop(int fds[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int ret = 0, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fds[1] = -1;
	if (listener < 0 || fds[0] < 0 || bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) ||
	    connect(fds[0], (struct sockaddr *)&addr, len))
		ret = -errno;
	else
		fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (!ret && fds[1] < 0)
		ret = -errno;
	if (listener >= 0)
		close(listener);
	return ret;
}

/* 1: the kernel has it, 0: it has not, -errno with a text. */
static int has_cipher(const struct cipher *c, struct fterr *err)
{
	union info info = { .head = { .version = TLS_1_3_VERSION, .cipher_type = c->kernel } };
	int fds[2], i, ret = loop(fds);

	if (ret)
		ft_fail(err, ret,
			"cannot connect to this host itself: %s; is the interface lo up?",
			strerror(-ret));
	else
		ret = use_tls(fds[0], err);
	if (!ret)
		ret = !setsockopt(fds[0], SOL_TLS, TLS_TX, &info, c->size) &&
		      !setsockopt(fds[0], SOL_TLS, TLS_RX, &info, c->size);
	for (i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return ret;
}

unsigned int ktls_ciphers(struct fterr *err)
{
	unsigned int mask = 0;
	int i, ret;

	for (i = 0; i < KTLS_CIPHERS; i++) {
		ret = has_cipher(&ciphers[i], err);
		if (ret < 0)
			return 0;
		if (ret)
			mask |= 1 << i;
	}
	if (!mask)
		ft_fail(err, -EOPNOTSUPP,
			"this host's kernel can't encrypt TLS 1.3; run: modprobe chacha20poly1305");
	return mask;
}

/* --- a session ------------------------------------------------------------------ */

static int give(int fd, gnutls_session_t session, const struct cipher *c, bool read, struct fterr *err)
{
	unsigned char seq[8], *at;
	gnutls_datum_t key, iv;
	union info info;
	int ret;

	ret = gnutls_record_get_state(session, read, NULL, &iv, &key, seq);
	if (ret)
		return ft_fail(err, -EPROTO,
			       "the session's keys can't be had: %s", gnutls_strerror(ret));
	if (key.size != c->key.size || iv.size != c->salt.size + c->iv.size)
		return ft_fail(err, -EPROTO,
			       "the session's keys have an unknown size: this is a fault of ftd");
	at = (unsigned char *)&info;
	memset(&info, 0, sizeof(info));
	info.head.version = TLS_1_3_VERSION;
	info.head.cipher_type = c->kernel;
	memcpy(at + c->key.at, key.data, c->key.size);
	memcpy(at + c->salt.at, iv.data, c->salt.size);
	memcpy(at + c->iv.at, iv.data + c->salt.size, c->iv.size);
	memcpy(at + c->seq.at, seq, c->seq.size);
	if (setsockopt(fd, SOL_TLS, read ? TLS_RX : TLS_TX, &info, c->size))
		ret = ft_fail(err, -errno, "this host's kernel does not take the session's keys: %s",
			      strerror(errno));
	gnutls_memset(&info, 0, sizeof(info));
	return ret;
}

int ktls_give(int fd, gnutls_session_t session, struct fterr *err)
{
	gnutls_cipher_algorithm_t cipher = gnutls_cipher_get(session);
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(ciphers) && ciphers[i].gnutls != cipher; i++)
		;
	if (i == ARRAY_SIZE(ciphers) || gnutls_protocol_get_version(session) != GNUTLS_TLS1_3 ||
	    gnutls_record_check_pending(session))
		return ft_fail(err, -EPROTO,
			       "the kernel can't go on with this session: this is a fault of ftd");
	ret = use_tls(fd, err);
	if (!ret)
		ret = give(fd, session, &ciphers[i], false, err);
	if (!ret)
		ret = give(fd, session, &ciphers[i], true, err);
	return ret;
}
