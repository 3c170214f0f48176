// SPDX-License-Identifier: GPL-2.0
/*
 * SHA-256 (FIPS 180-4) and the CRC-32 of Ethernet, plainly. The constants are
 * computed as the standard defines them: fractional parts of roots of primes.
 */
#include <string.h>
#include "sha256.h"

static uint32_t k[64], h0[8];

static uint32_t ror(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/* First 32 bits of the fraction of the n-th root of p, by bisection. */
static uint32_t root_fraction(unsigned int p, int n)
{
	unsigned __int128 low = 0, high = (unsigned __int128)20 << 32;

	while (high - low > 1) {
		unsigned __int128 mid = (low + high) / 2;
		/* n = 2: mid^2 against p * 2^64; n = 3: mid^3 against p * 2^96 */
		unsigned __int128 power = mid * mid;
		int above;

		if (n == 2)
			above = power > (unsigned __int128)p << 64;
		else
			above = power * mid > (unsigned __int128)p << 96;
		if (above)
			high = mid;
		else
			low = mid;
	}
	return low;
}

static void make_constants(void)
{
	int n = 0;

	for (unsigned int p = 2; n < 64; p++) {
		unsigned int d = 2;

		while (d * d <= p && p % d)
			d++;
		if (d * d <= p)
			continue;
		k[n] = root_fraction(p, 3);
		if (n < 8)
			h0[n] = root_fraction(p, 2);
		n++;
	}
}

static void block(uint32_t h[8], const uint8_t *p)
{
	uint32_t w[64], v[8];

	for (int i = 0; i < 16; i++, p += 4)
		w[i] = (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7]
			+ (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3)
			+ (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(v, h, sizeof(v));
	for (int i = 0; i < 64; i++) {
		uint32_t t1 = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25))
			+ ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
		uint32_t t2 = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22))
			+ ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		h[i] += v[i];
}

void sha256(const void *data, size_t len, uint8_t digest[32])
{
	const uint8_t *p = data;
	uint8_t tail[128] = { 0 };
	uint64_t bits = (uint64_t)len * 8;
	uint32_t h[8];
	size_t rest, end;

	if (!k[0])
		make_constants();
	memcpy(h, h0, sizeof(h));
	for (rest = len; rest >= 64; rest -= 64, p += 64)
		block(h, p);
	memcpy(tail, p, rest);
	tail[rest] = 0x80;
	end = rest < 56 ? 64 : 128;
	for (int i = 0; i < 8; i++)
		tail[end - 1 - i] = bits >> (8 * i);
	for (size_t at = 0; at < end; at += 64)
		block(h, tail + at);
	for (int i = 0; i < 32; i++)
		digest[i] = h[i / 4] >> (24 - 8 * (i % 4));
}

/* As zlib's: the CRC so far in, the CRC out. */
uint32_t crc32(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}
