/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Frames: what travels on the link. A frame is a header and up to
 * FTKVM_FRAME_MAX bytes of payload; all integers little-endian.
 */
#ifndef FTKVM_CORE_FRAME_H
#define FTKVM_CORE_FRAME_H

#include <linux/types.h>

#define FTKVM_PROTO_VERSION	6
#define FTKVM_FRAME_MAGIC	0x6d766b66u	/* "fkvm" on the wire */
#define FTKVM_FRAME_MAX		65536u

enum ftkvm_frame_type {
	FTKVM_FRAME_HELLO = 1,	/* struct ftkvm_hello: who I am, what I need */
	FTKVM_FRAME_START,	/* struct ftkvm_start: state at the first instruction */
	FTKVM_FRAME_DATA,	/* log bytes; seq: offset of the first in the log */
	FTKVM_FRAME_ACK,	/* struct ftkvm_ack */
	FTKVM_FRAME_HEARTBEAT,	/* empty */
	FTKVM_FRAME_BYE,	/* struct ftkvm_bye: the pairing ends, and why */
	FTKVM_FRAME_BULK,	/* struct ftkvm_bulk, data: of a device's completion to come */
	FTKVM_FRAME_TYPES
};

struct ftkvm_frame_hdr {
	__le32 magic;
	__le16 version;
	u8 type;
	u8 flags;		/* 0 */
	__le32 len;		/* of the payload */
	__le32 crc;		/* crc32c of header (this field 0) and payload */
	__le64 seq;
} __packed;

struct ftkvm_hello {
	__le32 proto_version;
	__le32 role;			/* enum ftkvm_role of the sender */
	char module_version[32];	/* NUL-padded */
	char guest[64];			/* what the pair is called, NUL-padded */
	__le32 vcpus;
	__le32 event;			/* what is counted: raw PMU event code */
	/* of a guest that has run both 0: its layout is in START */
	__le64 ram_bytes;		/* sum of writable memory slots */
	__le32 slots_crc;		/* guest-physical layout of the memory slots */
	__le32 cpuid_crc;		/* CPUID as the guest sees it */
	__le32 irqchip;			/* KVM's irqchip mode */
	__le32 window;			/* log bytes the sender can hold unconsumed */
	__le64 period_min, period_max;	/* epoch length bounds, events */
	__le64 margin;			/* landing margin, events */
	__le32 devices;			/* that ftkvm serves */
	__le32 devices_crc;		/* what the guest sees of them */
} __packed;

/* What a CPU has and QEMU does not migrate, or not whole, by the vendor. */
#define FTKVM_HIDDEN	5

struct ftkvm_start {
	__le32 regs_digest;
	__le32 ram_crc;
	__le32 slots_crc;		/* as in HELLO */
	__le32 devices_crc;		/* where the guest's requests to each are */
	__le64 tsc;			/* guest TSC */
	__le64 hidden[FTKVM_HIDDEN];	/* of the primary: the backup's are set to it */
	u8 hash[32];			/* ftkvm_digest_each(), zero-padded */
} __packed;

struct ftkvm_ack {
	__le64 received;		/* log bytes held by the sender */
	__le64 consumed;		/* log bytes its guest has gone past */
	__le64 epoch;			/* epochs its guest has completed */
} __packed;

struct ftkvm_bye {
	__le32 reason;			/* enum ftkvm_reason (uapi) */
	char detail[188];		/* NUL-padded text for the operator */
} __packed;

/* A device's request was carried out; ahead of the END that completes it. */
struct ftkvm_bulk {
	u8 dev;				/* the device's number */
	u8 queue;
	u8 status;			/* as the device tells it */
	u8 zero;
	__le32 off;			/* of this frame's data in all of it */
	__le32 total;			/* how much that is */
	__le32 zero2;
	__le64 seq;			/* the request's number in its queue */
} __packed;

#define FTKVM_BULK_MAX	(FTKVM_FRAME_MAX - (u32)sizeof(struct ftkvm_bulk))

/* Fill in a header for @payload. Any context. */
void ftkvm_frame_seal(struct ftkvm_frame_hdr *h, u8 type, u64 seq,
		      const void *payload, u32 len);
/* The same for a BULK frame, whose payload is in two places. */
void ftkvm_frame_seal_bulk(struct ftkvm_frame_hdr *h, const struct ftkvm_bulk *b,
			   const void *data, u32 len);
/*
 * Check a header before its payload is read: 0, -EBADMSG (magic, length,
 * type, flags) or -EPROTONOSUPPORT (another version).
 */
int ftkvm_frame_check_hdr(const struct ftkvm_frame_hdr *h);
/*
 * Check the payload: 0, -EBADMSG on a wrong checksum or a length that its
 * type does not allow.
 */
int ftkvm_frame_check(const struct ftkvm_frame_hdr *h, const void *payload);

/* A text of the peer's (@max bytes, perhaps no NUL) as printable ASCII. Any context. */
void ftkvm_frame_text(char *dst, size_t size, const char *text, size_t max);

/*
 * Can two replicas pair? 0, or -EPROTO with the cause and remedy in @why.
 * Compared: protocol and module version, roles (one primary, one backup),
 * guest names, vcpus, event, RAM size, memory layout, CPUID, irqchip,
 * devices, epoch bounds. The peer's window must hold a record of FTKVM_REC_MAX.
 */
int ftkvm_hello_compare(const struct ftkvm_hello *us, const struct ftkvm_hello *peer,
			char *why, size_t size);

#endif
