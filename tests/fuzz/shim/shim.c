// SPDX-License-Identifier: GPL-2.0
/* The functions of shim/shim.h that are too long to be inline. */
#include <sanitizer/asan_interface.h>

#include "shim.h"

const char hex_asc[] = "0123456789abcdef";

/* Of the kernel's own conversions, only a leading %pV is known. */
int scnprintf(char *buf, size_t size, const char *fmt, ...)
{
	int len = 0;
	va_list args;

	if (!size)
		return 0;
	va_start(args, fmt);
	if (!strncmp(fmt, "%pV", 3)) {
		const struct va_format *inner = va_arg(args, struct va_format *);

		len = vsnprintf(buf, size, inner->fmt, *inner->va);
		len = min_t(size_t, len, size - 1);
		fmt += 3;
	}
	len += vsnprintf(buf + len, size - len, fmt, args);
	va_end(args);
	return min_t(size_t, len, size - 1);
}

ssize_t shim_strscpy(char *dst, const char *src, size_t size)
{
	size_t len = strnlen(src, size);

	if (!size)
		return -E2BIG;
	if (len == size) {
		memcpy(dst, src, size - 1);
		dst[size - 1] = '\0';
		return -E2BIG;
	}
	memcpy(dst, src, len + 1);
	return len;
}

static u32 crc_table[256];

static __attribute__((constructor)) void crc_init(void)
{
	u32 i, bit;

	for (i = 0; i < 256; i++) {
		crc_table[i] = i;
		for (bit = 0; bit < 8; bit++)
			crc_table[i] = crc_table[i] >> 1 ^ (crc_table[i] & 1 ? 0x82f63b78 : 0);
	}
	/* the check value that every description of CRC-32C gives */
	BUG_ON(~crc32c(~0u, "123456789", 9) != 0xe3069283);
}

/* It takes most of the time: so ASan looks once, not at each byte. */
__attribute__((no_sanitize("address", "undefined", "coverage")))
u32 crc32c(u32 crc, const void *data, size_t len)
{
	const u8 *p = data;

	BUG_ON(__asan_region_is_poisoned((void *)data, len));
	while (len--)
		crc = crc >> 8 ^ crc_table[(u8)crc ^ *p++];
	return crc;
}

__attribute__((weak)) bool shim_out_of_memory(void)
{
	return false;
}
