/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SHA256_H
#define SHA256_H
#include <stddef.h>
#include <stdint.h>
void sha256(const void *data, size_t len, uint8_t digest[32]);
uint32_t crc32(uint32_t crc, const void *data, size_t len);
#endif
