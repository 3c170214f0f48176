// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "tests/standin_tls.h"

#ifndef SOL_TLS
#define SOL_TLS	282
#endif

__thread union standin_info standin_tx, standin_rx;

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

static bool lacks(const char *what)
{
	const char *all = getenv("FTKVM_TLS_LACKS");

	return all && strstr(all, what);
}

static int fail(int err)
{
	errno = err;
	return -1;
}

static int keys(union standin_info *info, const void *value, socklen_t len)
{
	const struct tls_crypto_info *head = value;
	const char *cipher;
	socklen_t size;

	switch (head->cipher_type) {
	case TLS_CIPHER_AES_GCM_128:
		cipher = "AES_GCM_128";
		size = sizeof(info->aes_128);
		break;
	case TLS_CIPHER_AES_GCM_256:
		cipher = "AES_GCM_256";
		size = sizeof(info->aes_256);
		break;
	case TLS_CIPHER_CHACHA20_POLY1305:
		cipher = "CHACHA20_POLY1305";
		size = sizeof(info->chacha);
		break;
	default:
		return fail(EINVAL);
	}
	if (head->version != TLS_1_3_VERSION || len != size)
		return fail(EINVAL);
	if (lacks(cipher))
		return fail(ENOENT);
	memset(info, 0, sizeof(*info));
	memcpy(info, value, len);
	return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (level == IPPROTO_TCP && name == TCP_ULP)
		return lacks("tls") ? fail(ENOENT) : 0;
	if (level == SOL_TLS)
		return keys(name == TLS_TX ? &standin_tx : &standin_rx, value, len);
	return __real_setsockopt(fd, level, name, value, len);
}
