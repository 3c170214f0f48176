// SPDX-License-Identifier: GPL-2.0
/*
 * Frames: sealed here by one host, checked here by the other.
 */
#include <linux/build_bug.h>
#include <linux/crc32c.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/printk.h>
#include <linux/sprintf.h>
#include <linux/stdarg.h>
#include <linux/string.h>
#include <linux/string_helpers.h>
#include <asm/byteorder.h>

#include "frame.h"
#include "record.h"
#include "types.h"

/* The wire form: a change is another FTKVM_PROTO_VERSION. */
static_assert(sizeof(struct ftkvm_frame_hdr) == 24);
static_assert(sizeof(struct ftkvm_hello) == 168);
static_assert(sizeof(struct ftkvm_start) == 96);
static_assert(sizeof(struct ftkvm_ack) == 24);
static_assert(sizeof(struct ftkvm_bye) == 192);
static_assert(sizeof(struct ftkvm_bulk) == 24);

static const struct {
	u32 min, max;
} ftkvm_frame_len[FTKVM_FRAME_TYPES] = {
	[FTKVM_FRAME_HELLO] = { sizeof(struct ftkvm_hello), sizeof(struct ftkvm_hello) },
	[FTKVM_FRAME_START] = { sizeof(struct ftkvm_start), sizeof(struct ftkvm_start) },
	[FTKVM_FRAME_DATA] = { 1, FTKVM_FRAME_MAX },
	[FTKVM_FRAME_ACK] = { sizeof(struct ftkvm_ack), sizeof(struct ftkvm_ack) },
	[FTKVM_FRAME_HEARTBEAT] = { 0, 0 },
	[FTKVM_FRAME_BYE] = { sizeof(struct ftkvm_bye), sizeof(struct ftkvm_bye) },
	[FTKVM_FRAME_BULK] = { sizeof(struct ftkvm_bulk), FTKVM_FRAME_MAX },
};

static u32 ftkvm_frame_crc2(const struct ftkvm_frame_hdr *h, const void *first, u32 first_len,
			    const void *rest, u32 rest_len)
{
	struct ftkvm_frame_hdr copy = *h;
	u32 crc;

	copy.crc = 0;
	crc = crc32c(~0, &copy, sizeof(copy));
	if (first_len)
		crc = crc32c(crc, first, first_len);
	if (rest_len)
		crc = crc32c(crc, rest, rest_len);
	return ~crc;
}

static u32 ftkvm_frame_crc(const struct ftkvm_frame_hdr *h, const void *payload)
{
	return ftkvm_frame_crc2(h, payload, le32_to_cpu(h->len), NULL, 0);
}

/**
 * ftkvm_frame_seal() - make a frame's header
 * @h: filled in
 * @type: enum ftkvm_frame_type
 * @seq: DATA: offset in the log of the payload's first byte
 * @payload: the payload; not looked at when @len is 0
 * @len: how many bytes of it
 *
 * Context: Any but NMI.
 */
void ftkvm_frame_seal(struct ftkvm_frame_hdr *h, u8 type, u64 seq,
		      const void *payload, u32 len)
{
	*h = (struct ftkvm_frame_hdr) {
		.magic = cpu_to_le32(FTKVM_FRAME_MAGIC),
		.version = cpu_to_le16(FTKVM_PROTO_VERSION),
		.type = type,
		.len = cpu_to_le32(len),
		.seq = cpu_to_le64(seq),
	};
	h->crc = cpu_to_le32(ftkvm_frame_crc(h, payload));
}

/* see frame.h */
void ftkvm_frame_seal_bulk(struct ftkvm_frame_hdr *h, const struct ftkvm_bulk *b,
			   const void *data, u32 len)
{
	*h = (struct ftkvm_frame_hdr) {
		.magic = cpu_to_le32(FTKVM_FRAME_MAGIC),
		.version = cpu_to_le16(FTKVM_PROTO_VERSION),
		.type = FTKVM_FRAME_BULK,
		.len = cpu_to_le32(sizeof(*b) + len),
	};
	h->crc = cpu_to_le32(ftkvm_frame_crc2(h, b, sizeof(*b), data, len));
}

/**
 * ftkvm_frame_check_hdr() - check a header before its payload is read
 * @h: the header, as it came
 *
 * Context: Any.
 * Return: 0, -EBADMSG (magic, type, flags, a length that the type does not
 * allow), -EPROTONOSUPPORT (a peer of another version).
 */
int ftkvm_frame_check_hdr(const struct ftkvm_frame_hdr *h)
{
	u32 len = le32_to_cpu(h->len);

	if (h->magic != cpu_to_le32(FTKVM_FRAME_MAGIC))
		return -EBADMSG;
	/* Behind the version another version may have other rules. */
	if (h->version != cpu_to_le16(FTKVM_PROTO_VERSION))
		return -EPROTONOSUPPORT;
	if (h->type < FTKVM_FRAME_HELLO || h->type >= FTKVM_FRAME_TYPES || h->flags)
		return -EBADMSG;
	if (len < ftkvm_frame_len[h->type].min || len > ftkvm_frame_len[h->type].max)
		return -EBADMSG;
	return 0;
}

/**
 * ftkvm_frame_check() - check a frame whose payload is there
 * @h: the header, as it came
 * @payload: as many bytes as the header says
 *
 * Context: Any but NMI.
 * Return: 0, -EBADMSG on a wrong checksum, else as ftkvm_frame_check_hdr().
 */
int ftkvm_frame_check(const struct ftkvm_frame_hdr *h, const void *payload)
{
	int ret = ftkvm_frame_check_hdr(h);

	if (ret)
		return ret;
	if (h->crc != cpu_to_le32(ftkvm_frame_crc(h, payload)))
		return -EBADMSG;
	return 0;
}

/**
 * ftkvm_frame_text() - make a text of the peer's fit to be shown
 * @dst: the text, printable ASCII with escapes, cut to fit
 * @size: room at @dst
 * @text: the text as it came; may lack its NUL
 * @max: size of its field
 *
 * Terminals act on control characters, and JSON knows no bytes that are not
 * UTF-8.
 *
 * Context: Any.
 */
void ftkvm_frame_text(char *dst, size_t size, const char *text, size_t max)
{
	size_t len;

	if (!size)
		return;
	len = string_escape_mem(text, strnlen(text, max), dst, size - 1,
				ESCAPE_ANY | ESCAPE_NAP, NULL);
	dst[min(len, size - 1)] = '\0';
}

/* Room for any name, each byte of it escaped. */
#define FTKVM_TEXT_MAX	(4 * sizeof_field(struct ftkvm_hello, guest) + 1)

static_assert(sizeof_field(struct ftkvm_hello, module_version) <=
	      sizeof_field(struct ftkvm_hello, guest));

/* Where the reason goes for which two replicas can't pair. */
struct ftkvm_why {
	char *buf;
	size_t size;
};

/* The operator reads "cause: remedy". */
static __printf(3, 4) int ftkvm_refuse(const struct ftkvm_why *why, const char *remedy,
				       const char *cause, ...)
{
	struct va_format vaf = { .fmt = cause };
	va_list args;

	va_start(args, cause);
	vaf.va = &args;
	scnprintf(why->buf, why->size, "%pV: %s", &vaf, remedy);
	va_end(args);
	return -EPROTO;
}

static const char *ftkvm_hello_role(const struct ftkvm_hello *h)
{
	switch (le32_to_cpu(h->role)) {
	case FTKVM_ROLE_PRIMARY:
		return "primary";
	case FTKVM_ROLE_BACKUP:
		return "backup";
	default:
		return "none";
	}
}

/* Are these two the two halves of one pair, and can they talk? */
static int ftkvm_compare_peers(const struct ftkvm_hello *us, const struct ftkvm_hello *peer,
			       const struct ftkvm_why *why)
{
	char here[FTKVM_TEXT_MAX], there[FTKVM_TEXT_MAX];
	u32 role = le32_to_cpu(us->role);
	u32 peer_role = le32_to_cpu(peer->role);

	if (us->proto_version != peer->proto_version)
		return ftkvm_refuse(why, "load the same ftkvm module on both hosts",
				    "protocol differs: version %u here, %u at the peer",
				    le32_to_cpu(us->proto_version),
				    le32_to_cpu(peer->proto_version));

	if (strncmp(us->module_version, peer->module_version, sizeof(us->module_version))) {
		ftkvm_frame_text(here, sizeof(here), us->module_version,
				 sizeof(us->module_version));
		ftkvm_frame_text(there, sizeof(there), peer->module_version,
				 sizeof(peer->module_version));
		return ftkvm_refuse(why, "load the same ftkvm module on both hosts",
				    "module differs: version %s here, %s at the peer",
				    here, there);
	}

	if (!(role == FTKVM_ROLE_PRIMARY && peer_role == FTKVM_ROLE_BACKUP) &&
	    !(role == FTKVM_ROLE_BACKUP && peer_role == FTKVM_ROLE_PRIMARY))
		return ftkvm_refuse(why, "pair one replica as primary and the other as backup",
				    "roles clash: %s here, %s at the peer",
				    ftkvm_hello_role(us), ftkvm_hello_role(peer));

	if (strncmp(us->guest, peer->guest, sizeof(us->guest))) {
		ftkvm_frame_text(here, sizeof(here), us->guest, sizeof(us->guest));
		ftkvm_frame_text(there, sizeof(there), peer->guest, sizeof(peer->guest));
		return ftkvm_refuse(why, "name the same guest on both hosts",
				    "guest differs: \"%s\" here, \"%s\" at the peer",
				    here, there);
	}
	return 0;
}

/* Do both count the same events, cut them into the same epochs, hold records? */
static int ftkvm_compare_epochs(const struct ftkvm_hello *us, const struct ftkvm_hello *peer,
				const struct ftkvm_why *why)
{
	if (us->event != peer->event)
		return ftkvm_refuse(why,
				    "pair hosts of the same CPU model, or set the same event on both",
				    "event differs: %#x is counted here, %#x at the peer",
				    le32_to_cpu(us->event), le32_to_cpu(peer->event));

	if (us->period_min != peer->period_min || us->period_max != peer->period_max)
		return ftkvm_refuse(why, "set the same bounds on both hosts",
				    "epoch bounds differ: %llu to %llu events here, %llu to %llu at the peer",
				    le64_to_cpu(us->period_min), le64_to_cpu(us->period_max),
				    le64_to_cpu(peer->period_min),
				    le64_to_cpu(peer->period_max));

	/* A window that the largest record does not fit in would close for ever. */
	if (le32_to_cpu(peer->window) < FTKVM_REC_MAX)
		return ftkvm_refuse(why, "load the same ftkvm module on both hosts",
				    "window too small: the peer holds %u bytes of log, a record takes up to %u",
				    le32_to_cpu(peer->window), FTKVM_REC_MAX);
	return 0;
}

/* Are the two guests one machine? */
static int ftkvm_compare_guests(const struct ftkvm_hello *us, const struct ftkvm_hello *peer,
				const struct ftkvm_why *why)
{
	bool laid_out;

	if (us->vcpus != peer->vcpus)
		return ftkvm_refuse(why, "start both guests with the same -smp",
				    "vCPUs differ: %u here, %u at the peer",
				    le32_to_cpu(us->vcpus), le32_to_cpu(peer->vcpus));

	/* what the firmware has done to it since, the peer's QEMU has yet to be told */
	laid_out = us->ram_bytes && peer->ram_bytes;
	if (laid_out && us->ram_bytes != peer->ram_bytes)
		return ftkvm_refuse(why, "start both guests with the same -m",
				    "RAM differs: %llu bytes here, %llu at the peer",
				    le64_to_cpu(us->ram_bytes), le64_to_cpu(peer->ram_bytes));

	if (laid_out && us->slots_crc != peer->slots_crc)
		return ftkvm_refuse(why,
				    "start both guests with the same QEMU, -machine, -m and devices",
				    "memory layout differs: checksum %08x here, %08x at the peer",
				    le32_to_cpu(us->slots_crc), le32_to_cpu(peer->slots_crc));

	if (us->cpuid_crc != peer->cpuid_crc)
		return ftkvm_refuse(why,
				    "start both guests with the same QEMU, -machine and -cpu, naming a model that both hosts have",
				    "CPUID differs: checksum %08x here, %08x at the peer",
				    le32_to_cpu(us->cpuid_crc), le32_to_cpu(peer->cpuid_crc));

	if (us->irqchip != peer->irqchip)
		return ftkvm_refuse(why,
				    "start both guests with the same -machine kernel-irqchip",
				    "irqchip differs: mode %u here, %u at the peer",
				    le32_to_cpu(us->irqchip), le32_to_cpu(peer->irqchip));

	if (us->devices != peer->devices)
		return ftkvm_refuse(why, "give both guests the same with \"ftctl device add\"",
				    "devices differ: %u here, %u at the peer",
				    le32_to_cpu(us->devices), le32_to_cpu(peer->devices));

	if (us->devices_crc != peer->devices_crc)
		return ftkvm_refuse(why,
				    "compare numbers, sizes, read-only and shared in \"ftctl device\" of both hosts",
				    "devices differ: checksum %08x here, %08x at the peer",
				    le32_to_cpu(us->devices_crc), le32_to_cpu(peer->devices_crc));
	return 0;
}

/**
 * ftkvm_hello_compare() - can two replicas pair?
 * @us: what this side said
 * @peer: what the peer said
 * @why: on failure the cause and its remedy; empty on success
 * @size: room at @why
 *
 * The window and the margin are each side's own and not compared; but the
 * peer's window must be able to take any record.
 *
 * Context: Any.
 * Return: 0, or -EPROTO.
 */
int ftkvm_hello_compare(const struct ftkvm_hello *us, const struct ftkvm_hello *peer,
			char *why, size_t size)
{
	const struct ftkvm_why w = { .buf = why, .size = size };
	int ret;

	if (size)
		why[0] = '\0';

	ret = ftkvm_compare_peers(us, peer, &w);
	if (!ret)
		ret = ftkvm_compare_epochs(us, peer, &w);
	if (!ret)
		ret = ftkvm_compare_guests(us, peer, &w);
	return ret;
}
