// SPDX-License-Identifier: GPL-2.0
/*
 * Register digests: how the replicas find out that they no longer agree.
 */
#include <linux/array_size.h>
#include <linux/bitops.h>
#include <linux/build_bug.h>
#include <linux/crc32c.h>
#include <asm/byteorder.h>
#include <asm/cpufeature.h>

#include "digest.h"

/*
 * Odd, with no run of four equal bits: each single bit of a register reaches
 * the product's top four bits. Part of the protocol, so not the kernel's own
 * hash_64(), which may change from release to release, and whose factor has
 * longer runs.
 */
#define FTKVM_HASH_FACTOR	0x275d5176228a673bull

static const char * const ftkvm_reg_names[] = {
	[FTKVM_REG_RAX] = "rax",
	[FTKVM_REG_RCX] = "rcx",
	[FTKVM_REG_RDX] = "rdx",
	[FTKVM_REG_RBX] = "rbx",
	[FTKVM_REG_RSP] = "rsp",
	[FTKVM_REG_RBP] = "rbp",
	[FTKVM_REG_RSI] = "rsi",
	[FTKVM_REG_RDI] = "rdi",
	[FTKVM_REG_R8] = "r8",
	[FTKVM_REG_R9] = "r9",
	[FTKVM_REG_R10] = "r10",
	[FTKVM_REG_R11] = "r11",
	[FTKVM_REG_R12] = "r12",
	[FTKVM_REG_R13] = "r13",
	[FTKVM_REG_R14] = "r14",
	[FTKVM_REG_R15] = "r15",
	[FTKVM_REG_RIP] = "rip",
	[FTKVM_REG_RFLAGS] = "rflags",
	[FTKVM_REG_CR0] = "cr0",
	[FTKVM_REG_CR2] = "cr2",
	[FTKVM_REG_CR3] = "cr3",
	[FTKVM_REG_CR4] = "cr4",
	[FTKVM_REG_CS] = "cs",
	[FTKVM_REG_EFER] = "efer",
};

static_assert(ARRAY_SIZE(ftkvm_reg_names) == FTKVM_NREGS);

/*
 * From 512 bytes on x86's crc32c() borrows the FPU, which holds the guest's
 * state where digests are taken and is not always reloaded before the next
 * entry.
 */
static_assert(sizeof(struct ftkvm_regs) < 512);

static u64 ftkvm_digest_reg(const struct ftkvm_regs *regs, int reg)
{
	if (reg == FTKVM_REG_RFLAGS)
		return regs->r[reg] & ~FTKVM_RFLAGS_IGNORED;
	return regs->r[reg];
}

/* Apart: its buffer is cleared at each call. */
static noinline u32 ftkvm_digest_copy(const struct ftkvm_regs *regs)
{
	__le64 le[FTKVM_NREGS];
	int i;

	for (i = 0; i < FTKVM_NREGS; i++)
		le[i] = cpu_to_le64(ftkvm_digest_reg(regs, i));
	return crc32c(~0, le, sizeof(le));
}

/*
 * crc32c() takes many more instructions to find out how it is done than to do it, and
 * a clock read has a digest. Where the CPU has no CRC32 (or is no x86), it has to do.
 */
static u32 ftkvm_digest_crc(const struct ftkvm_regs *regs)
{
#ifdef CONFIG_X86_64
	if (boot_cpu_has(X86_FEATURE_XMM4_2)) {
		u64 sum = (u32)~0;
		int i;

#pragma GCC unroll 24
		for (i = 0; i < FTKVM_NREGS; i++)
			asm("crc32q %1, %0" : "+r" (sum) : "rm" (ftkvm_digest_reg(regs, i)));
		return sum;
	}
#endif
	return ftkvm_digest_copy(regs);
}

/**
 * ftkvm_digest() - checksum over all registers
 * @regs: the guest's registers
 *
 * RFLAGS enters without FTKVM_RFLAGS_IGNORED.
 *
 * Context: Any but NMI.
 * Return: crc32c of the registers as little-endian quadwords.
 */
u32 ftkvm_digest(const struct ftkvm_regs *regs)
{
	return ~ftkvm_digest_crc(regs);
}

/**
 * ftkvm_digest_each() - one byte of hash for each register
 * @regs: the guest's registers
 * @hash: filled in, indexed by enum ftkvm_reg
 *
 * These bytes only give a mismatch of ftkvm_digest() a name: one in 256
 * changes of more than one bit leaves its byte as it was, one in 16 the byte's
 * low four bits. A change of a single bit always shows, in those too: they are
 * the product's top four, which every bit of the register reaches.
 *
 * Context: Any.
 */
void ftkvm_digest_each(const struct ftkvm_regs *regs, u8 hash[FTKVM_NREGS])
{
	int i;

	for (i = 0; i < FTKVM_NREGS; i++)
		hash[i] = ror8((ftkvm_digest_reg(regs, i) * FTKVM_HASH_FACTOR) >> 56, 4);
}

static int ftkvm_hash_differs(const u8 a[FTKVM_NREGS], const u8 b[FTKVM_NREGS], u8 mask)
{
	int i;

	for (i = 0; i < FTKVM_NREGS; i++)
		if ((a[i] ^ b[i]) & mask)
			return i;
	return -1;
}

/**
 * ftkvm_digest_differs() - find the register that differs
 * @a: hashes of one replica
 * @b: hashes of the other
 *
 * Context: Any.
 * Return: the first register whose byte differs, -1 when all agree.
 */
int ftkvm_digest_differs(const u8 a[FTKVM_NREGS], const u8 b[FTKVM_NREGS])
{
	return ftkvm_hash_differs(a, b, 0xff);
}

/**
 * ftkvm_digest_differs_low() - find the register that differs, by four bits
 * @a: hashes of one replica
 * @b: hashes of the other
 *
 * For the hashes of a decoded ENV or OUT record, which are the low four bits
 * of what ftkvm_digest_each() gives.
 *
 * Context: Any.
 * Return: the first register whose low four bits differ, -1 when all agree.
 */
int ftkvm_digest_differs_low(const u8 a[FTKVM_NREGS], const u8 b[FTKVM_NREGS])
{
	return ftkvm_hash_differs(a, b, 0xf);
}

/**
 * ftkvm_reg_name() - a register's name for messages
 * @reg: enum ftkvm_reg, or what ftkvm_digest_differs*() returned
 *
 * Context: Any.
 * Return: the name, "?" out of range.
 */
const char *ftkvm_reg_name(int reg)
{
	if (reg < 0 || reg >= FTKVM_NREGS)
		return "?";
	return ftkvm_reg_names[reg];
}
