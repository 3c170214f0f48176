/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What kmod/core/, and with shim_socket.h and shim_netlink.h the link and the
 * netlink family, need of a kernel, for a process. Every <linux/...> that they
 * include leads here: tests/fuzz/run sees to it. What the kernel would complain
 * of (WARN, BUG) ends the process.
 */
#ifndef FTKVM_FUZZ_KERNEL_H
#define FTKVM_FUZZ_KERNEL_H

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <asm/errno.h>
#include <asm/types.h>

/* ---- types ---- */

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef unsigned int gfp_t;

#define U8_MAX		((u8)~0u)
#define U16_MAX		((u16)~0u)
#define U32_MAX		((u32)~0u)
#define U64_MAX		((u64)~0ull)
#define S8_MIN		SCHAR_MIN
#define S8_MAX		SCHAR_MAX
#define S16_MIN		SHRT_MIN
#define S16_MAX		SHRT_MAX
#define S32_MIN		INT_MIN
#define S32_MAX		INT_MAX
#define S64_MIN		LLONG_MIN
#define S64_MAX		LLONG_MAX

/* errno.h that userspace never sees */
#define ERESTARTSYS	512
#define ERESTARTNOINTR	513

/* ---- the compiler ---- */

#define __packed		__attribute__((packed))
#define __printf(a, b)		__attribute__((format(printf, a, b)))
#define __aligned(n)		__attribute__((aligned(n)))
#define ____cacheline_aligned_in_smp	__aligned(64)
#define __maybe_unused		__attribute__((unused))
#define fallthrough		__attribute__((fallthrough))
#define __init
#define __exit
#define __ro_after_init
#undef __counted_by
#define __counted_by(n)
#undef __always_inline
#define __always_inline	inline __attribute__((always_inline))
#define noinline		__attribute__((noinline))
#define likely(x)		(x)
#define unlikely(x)		(x)
#define EXPORT_SYMBOL(name)
#define PAGE_SIZE		4096ul
#define HZ			250

#undef static_assert
#define static_assert(cond, ...)	_Static_assert(cond, #cond)
#define BUILD_BUG_ON(cond)		_Static_assert(!(cond), #cond)
#define BUILD_BUG_ON_ZERO(cond)		((int)sizeof(struct { int : (-!!(cond)); }))
#define ARRAY_SIZE(a)			(sizeof(a) / sizeof((a)[0]))
#define sizeof_field(type, member)	sizeof(((type *)0)->member)
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#define shim_complain(what) do {						\
	fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, what);		\
	abort();								\
} while (0)
#define WARN_ON(cond)		({ if (cond) shim_complain("WARN_ON(" #cond ")"); false; })
#define WARN_ON_ONCE(cond)	WARN_ON(cond)
#define BUG_ON(cond)		((void)WARN_ON(cond))
#define BUG()			shim_complain("BUG()")

/* ---- arithmetic ---- */

#define BIT(n)			(1ul << (n))
#define BIT_ULL(n)		(1ull << (n))
#define BITS_PER_LONG		64
#define BITS_TO_LONGS(n)	(((n) + BITS_PER_LONG - 1) / BITS_PER_LONG)
#define ALIGN(x, a)		(((x) + (a) - 1) & ~((typeof(x))(a) - 1))

#define min(a, b) ({ typeof(a) _a = (a); typeof(b) _b = (b); _a < _b ? _a : _b; })
#define max(a, b) ({ typeof(a) _a = (a); typeof(b) _b = (b); _a > _b ? _a : _b; })
#define max3(a, b, c)	max((typeof(a))max(a, b), c)
#define min_t(type, a, b)	min((type)(a), (type)(b))
#define max_t(type, a, b)	max((type)(a), (type)(b))
#define clamp(v, lo, hi)	min(max(v, lo), hi)
#define check_add_overflow(a, b, sum)	__builtin_add_overflow(a, b, sum)
#define is_power_of_2(n)	((n) && !((n) & ((n) - 1)))
#define hweight8(n)		__builtin_popcount((u8)(n))

static inline u8 ror8(u8 val, unsigned int by)
{
	return val >> (by & 7) | val << (-by & 7);
}

/* x86 */
#define cpu_to_le16(v)		((__le16)(u16)(v))
#define cpu_to_le32(v)		((__le32)(u32)(v))
#define cpu_to_le64(v)		((__le64)(u64)(v))
#define le16_to_cpu(v)		((u16)(v))
#define le32_to_cpu(v)		((u32)(v))
#define le64_to_cpu(v)		((u64)(v))
#define __cpu_to_virtio16(le, v)	cpu_to_le16(v)
#define __cpu_to_virtio32(le, v)	cpu_to_le32(v)
#define __cpu_to_virtio64(le, v)	cpu_to_le64(v)
#define __virtio16_to_cpu(le, v)	le16_to_cpu(v)
#define __virtio32_to_cpu(le, v)	le32_to_cpu(v)
#define __virtio64_to_cpu(le, v)	le64_to_cpu(v)
#define ntohs(v)		__builtin_bswap16(v)
#define ntohl(v)		__builtin_bswap32(v)

/* ---- other CPUs: there are none, but the order is kept ---- */

#define READ_ONCE(x)		(*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile typeof(x) *)&(x) = (v))
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define smp_rmb()		__atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb()		__atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_mb()		__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_mb__after_atomic()	__atomic_thread_fence(__ATOMIC_SEQ_CST)

/* ---- memory ---- */

#define GFP_KERNEL	0
#define GFP_KERNEL_ACCOUNT	GFP_KERNEL
#define GFP_ATOMIC	0

/* A target lets allocations fail by defining its own. */
bool shim_out_of_memory(void);

static inline void *kmalloc(size_t size, gfp_t flags)
{
	return shim_out_of_memory() ? NULL : malloc(size);
}

static inline void *kzalloc(size_t size, gfp_t flags)
{
	return shim_out_of_memory() ? NULL : calloc(1, size);
}

#define struct_size(p, member, n)	(sizeof(*(p)) + (n) * sizeof((p)->member[0]))
#define kvmalloc(size, flags)		kmalloc(size, flags)
#define kvzalloc(size, flags)		kzalloc(size, flags)
#define kmalloc_array(n, size, flags)	kmalloc((n) * (size), flags)
#define krealloc(p, size, flags)	(shim_out_of_memory() ? NULL : realloc(p, size))
#define kfree(p)			free((void *)(p))
#define kvfree(p)			free(p)

struct kref {
	int n;
};

static inline void kref_init(struct kref *ref)
{
	ref->n = 1;
}

static inline void kref_get(struct kref *ref)
{
	WARN_ON(ref->n++ <= 0);
}

static inline void kref_put(struct kref *ref, void (*release)(struct kref *ref))
{
	WARN_ON(ref->n <= 0);
	if (!--ref->n)
		release(ref);
}

/* ---- text ---- */

struct va_format {
	const char *fmt;
	va_list *va;
};

int scnprintf(char *buf, size_t size, const char *fmt, ...);
ssize_t shim_strscpy(char *dst, const char *src, size_t size);

/* Without a size: that of the array. */
#define strscpy(dst, src, ...)	shim_strscpy(dst, src, shim_second(0, ##__VA_ARGS__, sizeof(dst)))
#define shim_second(a, b, ...)	(b)

extern const char hex_asc[];
#define hex_asc_lo(x)	hex_asc[(x) & 0x0f]
#define hex_asc_hi(x)	hex_asc[((x) & 0xf0) >> 4]

/* lib/string_helpers.c: the function itself is the kernel's */
#define ESCAPE_SPACE	BIT(0)
#define ESCAPE_SPECIAL	BIT(1)
#define ESCAPE_NULL	BIT(2)
#define ESCAPE_OCTAL	BIT(3)
#define ESCAPE_ANY	(ESCAPE_SPACE | ESCAPE_OCTAL | ESCAPE_SPECIAL | ESCAPE_NULL)
#define ESCAPE_NP	BIT(4)
#define ESCAPE_HEX	BIT(5)
#define ESCAPE_NA	BIT(6)
#define ESCAPE_NAP	BIT(7)
#define ESCAPE_APPEND	BIT(8)
int string_escape_mem(const char *src, size_t isz, char *dst, size_t osz,
		      unsigned int flags, const char *only);

/* Castagnoli's polynomial, no inversion before or after: as the kernel's. */
u32 crc32c(u32 crc, const void *data, size_t len);

#endif
