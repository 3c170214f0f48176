/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Log records and their wire form.
 *
 * A record is  varint(body length) body.  The body begins with one byte
 * type | flags << 4, then varint(count - previous count),
 * zigzag varint(rip - previous rip), le32 register digest, then by type:
 *
 *	END	varint(rcx) [varint(base)] varint(next epoch's length)
 *		varint(number of inputs)
 *		{ kind, vector, level: one byte each }... and FTKVM_NREGS bytes
 *		of per-register hashes
 *	ENV	FTKVM_NREGS / 2 bytes of per-register hashes, then
 *		{ kind: one byte, varint(length), data }... to the body's end
 *	TSC	zigzag varint(value - previous TSC value)
 *	OUT	FTKVM_NREGS / 2 bytes of per-register hashes, then
 *		le32 crc32c of the data that goes out (0: not known)
 *	STOP	varint(reason)
 *	IMAGE	varint(rcx) [varint(base)] varint(pages that follow)
 *		{ le32 checksum of a word of the guest's state }...
 *	PAGES	varint(rcx) [varint(base)] varint(number of the first page)
 *		{ struct ftkvm_page_sum }... to the body's end
 *
 * ENV and OUT have the low four bits of each hash: registers 0 and 1 share the
 * first byte, register 0 in its low half, and so on. That is enough to name a
 * register nearly always, and these records are frequent. TSC records are more
 * so, and have no hashes.
 *
 * Deltas make the log small; both ends keep the same struct ftkvm_codec, and
 * records are decoded in the order they were encoded.
 */
#ifndef FTKVM_CORE_RECORD_H
#define FTKVM_CORE_RECORD_H

#include "types.h"

enum ftkvm_rec_type {
	FTKVM_REC_END = 1,	/* epoch end: inputs, length of the next epoch */
	FTKVM_REC_ENV,		/* the environment reads of one instruction */
	FTKVM_REC_TSC,		/* RDTSC(P): an ENV record in its short form */
	FTKVM_REC_OUT,		/* an output is about to leave */
	FTKVM_REC_STOP,		/* the log ends here: the guest ended */
	FTKVM_REC_IMAGE,	/* verification: registers of every kind (image.h) */
	FTKVM_REC_PAGES,	/* ... and some of its memory */
};

/* record flags */
#define FTKVM_RECF_SNAP	0x1	/* END: at a synchronising exit; ENV, TSC, OUT: END follows */
#define FTKVM_RECF_HALT	0x2	/* END: the guest is halted */
				/* IMAGE, PAGES: as the END that may follow */
#define FTKVM_RECF_MORE	0x4	/* ENV: another ENV of the same instruction follows */
#define FTKVM_RECF_BASE	0x8	/* END, IMAGE, PAGES: RIP is relative to a base, not to 0 */

#define FTKVM_REC_MAX_INPUTS	32
#define FTKVM_REC_MAX_DATA	4352	/* ENV items: 4 KiB of string I/O and slack */
#define FTKVM_REC_MAX		(FTKVM_REC_MAX_DATA + 128)	/* encoded, with length */

/**
 * struct ftkvm_rec - a log record
 * @type: enum ftkvm_rec_type
 * @flags: FTKVM_RECF_*
 * @point: where in the guest's execution; rcx is carried by END, IMAGE, PAGES only
 * @base: with FTKVM_RECF_BASE only: that of the code segment at @point, else 0
 * @digest: ftkvm_digest() of the registers at @point. An END that neither delivers
 *	    inputs nor is at a synchronising exit has none, no @hash, RIP or RCX,
 *	    either: the backup does not stop there
 * @hash: END, ENV, OUT: ftkvm_digest_each() of the registers at @point. Of ENV
 *	  and OUT only the low four bits go into the log: after a decode the
 *	  others are zero (see ftkvm_digest_differs_low()). TSC and STOP carry
 *	  none: zero after a decode
 * @end: END: the next epoch's length, the inputs
 * @env: ENV: encoded items (see ftkvm_env_put()); after a decode they lie in
 *	 the caller's buffer
 * @tsc: TSC: the value that the guest gets
 * @out_crc: OUT: crc32c of the data that goes out, 0 if not known
 * @stop_reason: STOP: why the guest ended
 * @image: IMAGE, PAGES: how many pages follow, or which is the first here; the
 *	   checksums, which after a decode lie in the caller's buffer
 */
struct ftkvm_rec {
	u8 type;
	u8 flags;
	struct ftkvm_point point;
	u32 base;
	u32 digest;
	u8 hash[FTKVM_NREGS];
	union {
		struct {
			u64 next_len;
			u8 ninputs;
			struct ftkvm_input inputs[FTKVM_REC_MAX_INPUTS];
		} end;
		struct {
			const u8 *data;
			u32 len;
		} env;
		u64 tsc;
		u32 out_crc;
		u64 stop_reason;
		struct {
			u64 page;
			const u8 *data;
			u32 len;
		} image;
	};
};

/* What both ends remember from record to record. Zero at the start of a log. */
struct ftkvm_codec {
	u64 count;
	u64 rip;
	u64 tsc;
};

/*
 * Append a record's wire form to a buffer.
 * Return: bytes written, -ENOSPC when @size is too small, -EINVAL for a record
 * that has no wire form (bad type, too many inputs, count behind the codec's).
 * The codec advances only on success. Any context.
 */
int ftkvm_rec_encode(struct ftkvm_codec *c, const struct ftkvm_rec *rec,
		     u8 *buf, size_t size);

/*
 * Take one record off a buffer.
 * Return: bytes consumed, -EAGAIN when @buf holds no whole record yet,
 * -EBADMSG when it never will (malformed). The codec advances only on success.
 * rec->env.data points into @buf. Any context.
 */
int ftkvm_rec_decode(struct ftkvm_codec *c, const u8 *buf, size_t len,
		     struct ftkvm_rec *rec);

/* Bytes that the record at @buf takes, -EAGAIN or -EBADMSG as above. */
int ftkvm_rec_size(const u8 *buf, size_t len);

/* Append an item to ENV data at *@pos; -ENOSPC when it does not fit. */
int ftkvm_env_put(u8 *data, u32 size, u32 *pos, u8 kind, const void *val, u32 len);
/*
 * Take the item at *@pos: it must have @kind and @len, or -EBADMSG (the
 * replicas do not do the same thing). -ENODATA at the end of the items.
 */
int ftkvm_env_get(const u8 *data, u32 size, u32 *pos, u8 kind, void *val, u32 len);

#endif
