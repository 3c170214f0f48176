/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FTKVM_CORE_DIGEST_H
#define FTKVM_CORE_DIGEST_H

#include <linux/bits.h>

#include "types.h"

/* RFLAGS.RF is ftkvm's own while it lands, and no program can read it back. */
#define FTKVM_RFLAGS_IGNORED	BIT_ULL(16)

/* crc32c over all registers (RFLAGS without FTKVM_RFLAGS_IGNORED). Any context. */
u32 ftkvm_digest(const struct ftkvm_regs *regs);
/*
 * One byte for each register, so that a mismatch can be given a name. Its low
 * four bits are a hash too, for records that have no room for more.
 */
void ftkvm_digest_each(const struct ftkvm_regs *regs, u8 hash[FTKVM_NREGS]);
/* First register whose byte differs, or -1 when all agree. */
int ftkvm_digest_differs(const u8 a[FTKVM_NREGS], const u8 b[FTKVM_NREGS]);
/* The same, where only the low four bits of @a or @b are known. */
int ftkvm_digest_differs_low(const u8 a[FTKVM_NREGS], const u8 b[FTKVM_NREGS]);
/* "rax" ... ; "?" out of range */
const char *ftkvm_reg_name(int reg);

#endif
