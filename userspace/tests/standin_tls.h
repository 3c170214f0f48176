/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel that has TLS, for machines whose own has not: it takes keys, and does nothing with
 * them. FTKVM_TLS_LACKS: what it has not, "tls", or names of ciphers as the kernel has them,
 * without TLS_CIPHER_.
 */
#ifndef FTKVM_STANDIN_TLS_H
#define FTKVM_STANDIN_TLS_H

#include <linux/tls.h>
#include <stdbool.h>

union standin_info {
	struct tls_crypto_info head;
	struct tls12_crypto_info_aes_gcm_128 aes_128;
	struct tls12_crypto_info_aes_gcm_256 aes_256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
};

/* What a socket was given last, for either direction. */
extern __thread union standin_info standin_tx, standin_rx;

#endif
