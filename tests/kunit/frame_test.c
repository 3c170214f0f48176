// SPDX-License-Identifier: GPL-2.0
/*
 * Frames: their wire form, that no damage goes unnoticed, and which two
 * replicas may pair.
 */
#include <kunit/test.h>
#include <linux/prandom.h>
#include <linux/string.h>

#include "../../kmod/core/frame.h"
#include "../../kmod/core/record.h"
#include "../../kmod/core/types.h"

/* Payload lengths that a type allows. */
static const struct {
	u8 type;
	u32 min, max;
} lengths[] = {
	{ FTKVM_FRAME_HELLO, 168, 168 },
	{ FTKVM_FRAME_START, 96, 96 },
	{ FTKVM_FRAME_DATA, 1, FTKVM_FRAME_MAX },
	{ FTKVM_FRAME_ACK, 24, 24 },
	{ FTKVM_FRAME_HEARTBEAT, 0, 0 },
	{ FTKVM_FRAME_BYE, 192, 192 },
	{ FTKVM_FRAME_BULK, 24, FTKVM_FRAME_MAX },
};

/* Worked out apart from this code. */
static void frame_wire_form(struct kunit *test)
{
	static const u8 heartbeat[] = {
		0x66, 0x6b, 0x76, 0x6d, 0x06, 0x00, 0x05, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x92, 0xd7, 0x72, 0x63,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	};
	static const u8 data[] = {
		0x66, 0x6b, 0x76, 0x6d, 0x06, 0x00, 0x03, 0x00,
		0x09, 0x00, 0x00, 0x00, 0x0c, 0x73, 0x65, 0x63,
		0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
	};
	static const u8 bulk[] = {
		0x66, 0x6b, 0x76, 0x6d, 0x06, 0x00, 0x07, 0x00,
		0x21, 0x00, 0x00, 0x00, 0x23, 0xc1, 0xd4, 0xa2,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x03, 0x01, 0x02, 0x00, 0x00, 0x10, 0x00, 0x00,
		0x09, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
	};
	static const struct ftkvm_bulk b = {
		.dev = 3, .queue = 1, .status = 2, .off = cpu_to_le32(0x1000),
		.total = cpu_to_le32(0x1009), .seq = cpu_to_le64(0x0102030405060708),
	};
	struct ftkvm_frame_hdr h;

	ftkvm_frame_seal(&h, FTKVM_FRAME_HEARTBEAT, 0, NULL, 0);
	KUNIT_EXPECT_MEMEQ(test, &h, heartbeat, sizeof(h));
	KUNIT_EXPECT_EQ(test, ftkvm_frame_check(&h, NULL), 0);
	ftkvm_frame_seal(&h, FTKVM_FRAME_DATA, 0x0102030405060708, "ftkvm log", 9);
	KUNIT_EXPECT_MEMEQ(test, &h, data, sizeof(h));
	KUNIT_EXPECT_EQ(test, ftkvm_frame_check(&h, "ftkvm log"), 0);
	ftkvm_frame_seal_bulk(&h, &b, "some data", 9);
	KUNIT_EXPECT_MEMEQ(test, &h, bulk, sizeof(h));
	KUNIT_EXPECT_MEMEQ(test, &b, bulk + sizeof(h), sizeof(b));
}

/* Its payload in two places, of all lengths: sealed as if it were in one. */
static void frame_bulk(struct kunit *test)
{
	struct {
		struct ftkvm_bulk b;
		u8 data[];
	} __packed *p = kunit_kzalloc(test, FTKVM_FRAME_MAX, GFP_KERNEL);
	struct ftkvm_frame_hdr one, two;
	struct rnd_state rnd;
	u32 len;

	KUNIT_ASSERT_NOT_NULL(test, p);
	prandom_seed_state(&rnd, 4);
	prandom_bytes_state(&rnd, p, FTKVM_FRAME_MAX);
	for (len = 0; len <= FTKVM_BULK_MAX; len += len < 300 ? 1 : 6521) {
		ftkvm_frame_seal(&one, FTKVM_FRAME_BULK, 0, p, sizeof(p->b) + len);
		memset(&two, 0xff, sizeof(two));
		ftkvm_frame_seal_bulk(&two, &p->b, len ? p->data : NULL, len);
		KUNIT_ASSERT_MEMEQ_MSG(test, &two, &one, sizeof(one), "%u bytes", len);
		KUNIT_ASSERT_EQ(test, ftkvm_frame_check(&two, p), 0);
	}
	KUNIT_EXPECT_EQ(test, len, 300 + 11 * 6521);
	ftkvm_frame_seal_bulk(&two, &p->b, p->data, FTKVM_BULK_MAX);
	KUNIT_EXPECT_EQ(test, ftkvm_frame_check(&two, p), 0);
	/* which part a byte is in makes no difference */
	p->b.status++;
	KUNIT_EXPECT_EQ(test, ftkvm_frame_check(&two, p), -EBADMSG);
	p->b.status--;
	p->data[FTKVM_BULK_MAX - 1]++;
	KUNIT_EXPECT_EQ(test, ftkvm_frame_check(&two, p), -EBADMSG);
}

/* Every type at its lengths, and next to them. */
static void frame_lengths(struct kunit *test)
{
	u8 *payload = kunit_kzalloc(test, FTKVM_FRAME_MAX + 1, GFP_KERNEL);
	struct ftkvm_frame_hdr h;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, payload);
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		u8 type = lengths[i].type;

		ftkvm_frame_seal(&h, type, 0, payload, lengths[i].min);
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_frame_check_hdr(&h), 0, "type %u", type);
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_frame_check(&h, payload), 0, "type %u", type);
		ftkvm_frame_seal(&h, type, 0, payload, lengths[i].max);
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_frame_check(&h, payload), 0, "type %u", type);
		ftkvm_frame_seal(&h, type, 0, payload, lengths[i].max + 1);
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_frame_check_hdr(&h), -EBADMSG, "type %u", type);
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_frame_check(&h, payload), -EBADMSG, "type %u",
				    type);
		if (lengths[i].min) {
			ftkvm_frame_seal(&h, type, 0, payload, lengths[i].min - 1);
			KUNIT_EXPECT_EQ_MSG(test, ftkvm_frame_check_hdr(&h), -EBADMSG, "type %u",
					    type);
		}
		/* a length that would be gigabytes is refused before anything is read */
		h.len = cpu_to_le32(U32_MAX);
		KUNIT_EXPECT_EQ_MSG(test, ftkvm_frame_check_hdr(&h), -EBADMSG, "type %u", type);
	}
}

static void frame_bad_headers(struct kunit *test)
{
	struct ftkvm_frame_hdr good, h;
	int type;

	ftkvm_frame_seal(&good, FTKVM_FRAME_HEARTBEAT, 0, NULL, 0);
	h = good;
	h.magic = cpu_to_le32(FTKVM_FRAME_MAGIC + 1);
	KUNIT_EXPECT_EQ(test, ftkvm_frame_check_hdr(&h), -EBADMSG);
	h = good;
	h.flags = 1;
	KUNIT_EXPECT_EQ(test, ftkvm_frame_check_hdr(&h), -EBADMSG);
	for (type = 0; type < 256; type++) {
		bool known = type >= FTKVM_FRAME_HELLO && type <= FTKVM_FRAME_BULK;

		h = good;
		h.type = type;
		if (!known)
			KUNIT_EXPECT_EQ_MSG(test, ftkvm_frame_check_hdr(&h), -EBADMSG, "type %d",
					    type);
	}
	/* another version is told as such, whatever else it does differently */
	h = good;
	h.version = cpu_to_le16(FTKVM_PROTO_VERSION + 1);
	KUNIT_EXPECT_EQ(test, ftkvm_frame_check_hdr(&h), -EPROTONOSUPPORT);
	h.type = 200;
	h.flags = 3;
	h.len = cpu_to_le32(U32_MAX);
	KUNIT_EXPECT_EQ(test, ftkvm_frame_check_hdr(&h), -EPROTONOSUPPORT);
	KUNIT_EXPECT_EQ(test, ftkvm_frame_check(&h, NULL), -EPROTONOSUPPORT);
}

/* No single flipped bit passes, nor a frame's payload under another's header. */
static void frame_damage(struct kunit *test)
{
	struct {
		struct ftkvm_frame_hdr h;
		u8 payload[100];
	} __packed f;
	struct ftkvm_frame_hdr other;
	struct rnd_state rnd;
	int bit, len;

	prandom_seed_state(&rnd, 1);
	for (len = 1; len <= sizeof(f.payload); len += 11) {
		prandom_bytes_state(&rnd, f.payload, sizeof(f.payload));
		ftkvm_frame_seal(&f.h, FTKVM_FRAME_DATA, 1ull << 33, f.payload, len);
		KUNIT_ASSERT_EQ(test, ftkvm_frame_check(&f.h, f.payload), 0);
		for (bit = 0; bit < 8 * ((int)sizeof(f.h) + len); bit++) {
			u8 *byte = (u8 *)&f + bit / 8;

			*byte ^= BIT(bit % 8);
			/* a length behind the buffer is for check_hdr()'s caller */
			if (le32_to_cpu(f.h.len) <= sizeof(f.payload))
				KUNIT_EXPECT_LT_MSG(test, ftkvm_frame_check(&f.h, f.payload), 0,
						    "bit %d of length %d", bit, len);
			*byte ^= BIT(bit % 8);
		}
		ftkvm_frame_seal(&other, FTKVM_FRAME_DATA, 1ull << 34, f.payload, len);
		KUNIT_EXPECT_NE(test, le32_to_cpu(other.crc), le32_to_cpu(f.h.crc));
		f.payload[len - 1]++;
		KUNIT_EXPECT_EQ(test, ftkvm_frame_check(&f.h, f.payload), -EBADMSG);
	}
}

/* Headers at random: what passes is a type at one of its lengths. */
static void frame_noise(struct kunit *test)
{
	struct rnd_state rnd;
	u32 passed = 0;
	int i, j;

	prandom_seed_state(&rnd, 2);
	for (i = 0; i < 300000; i++) {
		struct ftkvm_frame_hdr h;
		bool allowed = false;

		prandom_bytes_state(&rnd, &h, sizeof(h));
		if (i % 8)
			h.magic = cpu_to_le32(FTKVM_FRAME_MAGIC);
		if (i % 16)
			h.version = cpu_to_le16(FTKVM_PROTO_VERSION);
		h.type %= 9;
		h.flags = h.flags < 200 ? 0 : h.flags;
		h.len = cpu_to_le32(le32_to_cpu(h.len) >> (prandom_u32_state(&rnd) % 32));
		for (j = 0; j < ARRAY_SIZE(lengths); j++)
			allowed |= h.type == lengths[j].type &&
				   le32_to_cpu(h.len) >= lengths[j].min &&
				   le32_to_cpu(h.len) <= lengths[j].max;
		allowed &= !h.flags && h.magic == cpu_to_le32(FTKVM_FRAME_MAGIC) &&
			   h.version == cpu_to_le16(FTKVM_PROTO_VERSION);
		KUNIT_ASSERT_EQ(test, ftkvm_frame_check_hdr(&h) == 0, allowed);
		passed += allowed;
	}
	KUNIT_EXPECT_GT(test, passed, 1000);
}

static void hello_make(struct ftkvm_hello *h, enum ftkvm_role role)
{
	memset(h, 0, sizeof(*h));
	h->proto_version = cpu_to_le32(FTKVM_PROTO_VERSION);
	h->role = cpu_to_le32(role);
	strscpy_pad(h->module_version, "1.2.3", sizeof(h->module_version));
	strscpy_pad(h->guest, "web", sizeof(h->guest));
	h->vcpus = cpu_to_le32(1);
	h->event = cpu_to_le32(0x5100c0);
	h->ram_bytes = cpu_to_le64(128 << 20);
	h->slots_crc = cpu_to_le32(0x11111111);
	h->cpuid_crc = cpu_to_le32(0x22222222);
	h->irqchip = cpu_to_le32(2);
	h->window = cpu_to_le32(1 << 20);
	h->period_min = cpu_to_le64(1000);
	h->period_max = cpu_to_le64(1000000);
	h->margin = cpu_to_le64(100);
	h->devices = cpu_to_le32(1);
	h->devices_crc = cpu_to_le32(0x33333333);
}

struct difference {
	const char *name;
	const char *cause;	/* what the operator must be able to read ... */
	const char *remedy;	/* ... and do */
	void (*make)(struct ftkvm_hello *us, struct ftkvm_hello *peer);
	/* or: a field of the peer's has another value */
	u8 off, size;
	u64 val;
};

static void difference_make(const struct difference *d, struct ftkvm_hello *us,
			    struct ftkvm_hello *peer)
{
	__le64 le = cpu_to_le64(d->val);

	if (d->make)
		d->make(us, peer);
	else
		memcpy((u8 *)peer + d->off, &le, d->size);
}

static void differ_module(struct ftkvm_hello *us, struct ftkvm_hello *peer)
{
	strscpy_pad(peer->module_version, "1.2.4", sizeof(peer->module_version));
}

static void differ_module_end(struct ftkvm_hello *us, struct ftkvm_hello *peer)
{
	memset(us->module_version, 'v', sizeof(us->module_version));
	memset(peer->module_version, 'v', sizeof(peer->module_version));
	peer->module_version[sizeof(peer->module_version) - 1] = 'w';
}

static void differ_guest(struct ftkvm_hello *us, struct ftkvm_hello *peer)
{
	strscpy_pad(peer->guest, "mail", sizeof(peer->guest));
}

static void differ_guest_prefix(struct ftkvm_hello *us, struct ftkvm_hello *peer)
{
	strscpy_pad(peer->guest, "web2", sizeof(peer->guest));
}

static void differ_guest_garbage(struct ftkvm_hello *us, struct ftkvm_hello *peer)
{
	memset(peer->guest, 0x1b, sizeof(peer->guest));
}

static void role_two_primaries(struct ftkvm_hello *us, struct ftkvm_hello *peer)
{
	peer->role = us->role;
}

static void role_two_backups(struct ftkvm_hello *us, struct ftkvm_hello *peer)
{
	us->role = peer->role;
}

static void role_peer_none(struct ftkvm_hello *us, struct ftkvm_hello *peer)
{
	peer->role = cpu_to_le32(FTKVM_ROLE_NONE);
}

static void role_peer_unknown(struct ftkvm_hello *us, struct ftkvm_hello *peer)
{
	peer->role = cpu_to_le32(0xffffffff);
}

static const struct difference differences[] = {
	{ "protocol", "version 6 here, 77 at the peer", "ftkvm module",
	  .off = offsetof(struct ftkvm_hello, proto_version),
	  .size = sizeof_field(struct ftkvm_hello, proto_version), .val = 77 },
	{ "module", "1.2.3 here, 1.2.4 at the peer", "ftkvm module", differ_module },
	{ "module, last byte", "vw at the peer", "ftkvm module", differ_module_end },
	{ "two primaries", "primary here, primary at", "as backup", role_two_primaries },
	{ "two backups", "backup here, backup at", "as primary", role_two_backups },
	{ "peer has no role", "primary here, none at", "as backup", role_peer_none },
	{ "peer's role is unknown", "primary here, none at", "as backup", role_peer_unknown },
	{ "guest", "\"web\" here, \"mail\" at the peer", "same guest", differ_guest },
	{ "guest's prefix", "\"web\" here, \"web2\"", "same guest", differ_guest_prefix },
	{ "guest's name is garbage", "\\e\\e", "same guest", differ_guest_garbage },
	{ "vCPUs", "vCPUs differ: 1 here, 4", "-smp",
	  .off = offsetof(struct ftkvm_hello, vcpus),
	  .size = sizeof_field(struct ftkvm_hello, vcpus), .val = 4 },
	{ "event", "0x5100c0 is counted here, 0x5100d1", "event",
	  .off = offsetof(struct ftkvm_hello, event),
	  .size = sizeof_field(struct ftkvm_hello, event), .val = 0x5100d1 },
	{ "RAM", "134217728 bytes here, 268435456", "-m",
	  .off = offsetof(struct ftkvm_hello, ram_bytes),
	  .size = sizeof_field(struct ftkvm_hello, ram_bytes), .val = 256 << 20 },
	{ "memory layout", "11111111 here, abcdef01", "-machine",
	  .off = offsetof(struct ftkvm_hello, slots_crc),
	  .size = sizeof_field(struct ftkvm_hello, slots_crc), .val = 0xabcdef01 },
	{ "CPUID", "22222222 here, 0badcafe", "-cpu",
	  .off = offsetof(struct ftkvm_hello, cpuid_crc),
	  .size = sizeof_field(struct ftkvm_hello, cpuid_crc), .val = 0x0badcafe },
	{ "irqchip", "mode 2 here, 1", "kernel-irqchip",
	  .off = offsetof(struct ftkvm_hello, irqchip),
	  .size = sizeof_field(struct ftkvm_hello, irqchip), .val = 1 },
	{ "number of devices", "1 here, 0 at", "ftctl device add",
	  .off = offsetof(struct ftkvm_hello, devices),
	  .size = sizeof_field(struct ftkvm_hello, devices), .val = 0 },
	{ "devices", "33333333 here, 0badcafe", "ftctl device",
	  .off = offsetof(struct ftkvm_hello, devices_crc),
	  .size = sizeof_field(struct ftkvm_hello, devices_crc), .val = 0x0badcafe },
	{ "shortest epoch", "here, 2000 to 1000000", "bounds",
	  .off = offsetof(struct ftkvm_hello, period_min),
	  .size = sizeof_field(struct ftkvm_hello, period_min), .val = 2000 },
	{ "longest epoch", "1000 to 7777777", "bounds",
	  .off = offsetof(struct ftkvm_hello, period_max),
	  .size = sizeof_field(struct ftkvm_hello, period_max), .val = 7777777 },
	{ "window", "window", "ftkvm module",
	  .off = offsetof(struct ftkvm_hello, window),
	  .size = sizeof_field(struct ftkvm_hello, window), .val = FTKVM_REC_MAX - 1 },
};

KUNIT_ARRAY_PARAM_DESC(difference, differences, name);

static void hello_differs(struct kunit *test)
{
	const struct difference *d = test->param_value;
	struct ftkvm_hello us, peer;
	char why[256];

	hello_make(&us, FTKVM_ROLE_PRIMARY);
	hello_make(&peer, FTKVM_ROLE_BACKUP);
	difference_make(d, &us, &peer);
	KUNIT_EXPECT_EQ(test, ftkvm_hello_compare(&us, &peer, why, sizeof(why)), -EPROTO);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(why, d->cause), "%s", why);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(why, d->remedy), "%s", why);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(why, ": "), "%s", why);
}

static void hello_agrees(struct kunit *test)
{
	struct ftkvm_hello us, peer;
	char why[64] = "old";

	hello_make(&us, FTKVM_ROLE_PRIMARY);
	hello_make(&peer, FTKVM_ROLE_BACKUP);
	KUNIT_EXPECT_EQ(test, ftkvm_hello_compare(&us, &peer, why, sizeof(why)), 0);
	KUNIT_EXPECT_STREQ(test, why, "");
	KUNIT_EXPECT_EQ(test, ftkvm_hello_compare(&peer, &us, why, sizeof(why)), 0);

	/* each side's own business */
	peer.margin = cpu_to_le64(5);
	peer.window = cpu_to_le32(FTKVM_REC_MAX);
	KUNIT_EXPECT_EQ(test, ftkvm_hello_compare(&us, &peer, why, sizeof(why)), 0);

	/* one that has run does not tell its layout */
	us.ram_bytes = 0;
	us.slots_crc = 0;
	KUNIT_EXPECT_EQ(test, ftkvm_hello_compare(&us, &peer, why, sizeof(why)), 0);
	KUNIT_EXPECT_EQ(test, ftkvm_hello_compare(&peer, &us, why, sizeof(why)), 0);

	/* names that fill their field */
	memset(us.guest, 'g', sizeof(us.guest));
	memset(peer.guest, 'g', sizeof(peer.guest));
	KUNIT_EXPECT_EQ(test, ftkvm_hello_compare(&us, &peer, why, sizeof(why)), 0);

	/* what lies behind a name's end is not part of it */
	hello_make(&us, FTKVM_ROLE_PRIMARY);
	hello_make(&peer, FTKVM_ROLE_BACKUP);
	peer.guest[10] = 'x';
	KUNIT_EXPECT_EQ(test, ftkvm_hello_compare(&us, &peer, why, sizeof(why)), 0);
}

static void frame_text(struct kunit *test)
{
	static const struct {
		const char *text;
		size_t max, size;
		const char *want;
	} cases[] = {
		{ "peer is going down", 188, 100, "peer is going down" },
		{ "peer is going down", 4, 100, "peer" },
		{ "peer is going down", 188, 5, "peer" },
		{ "", 188, 100, "" },
		{ "a\x1b[2Jb\nc", 188, 100, "a\\e[2Jb\\nc" },
		{ "caf\xc3\xa9 \x9b\xff", 188, 100, "caf\\303\\251 \\233\\377" },
		{ "\xff\xff", 188, 7, "\\377\\3" },
		{ "x", 188, 1, "" },
	};
	char dst[100];
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(dst, 'z', sizeof(dst));
		ftkvm_frame_text(dst, cases[i].size, cases[i].text, cases[i].max);
		KUNIT_EXPECT_STREQ(test, dst, cases[i].want);
	}
	dst[0] = 'z';
	ftkvm_frame_text(dst, 0, "x", 188);
	KUNIT_EXPECT_EQ(test, dst[0], 'z');
}

/* A reason that doesn't fit is cut, and strings without an end have one. */
static void hello_reason_fits(struct kunit *test)
{
	struct ftkvm_hello us, peer, *edge;
	struct rnd_state rnd;
	int size, i;

	hello_make(&us, FTKVM_ROLE_PRIMARY);
	for (size = 0; size < 700; size++) {
		char *why = kunit_kmalloc(test, size, GFP_KERNEL);

		hello_make(&peer, FTKVM_ROLE_BACKUP);
		/* four characters each when escaped */
		memset(peer.guest, 0x01, sizeof(peer.guest));
		KUNIT_EXPECT_EQ(test, ftkvm_hello_compare(&us, &peer, why, size), -EPROTO);
		if (size)
			KUNIT_EXPECT_LT(test, strnlen(why, size), size);
		kunit_kfree(test, why);
	}

	/* anything may come from the peer; the text is fit for a terminal */
	edge = kunit_kmalloc(test, sizeof(*edge), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, edge);
	prandom_seed_state(&rnd, 3);
	for (i = 0; i < 20000; i++) {
		char why[512];
		char *c;

		prandom_bytes_state(&rnd, edge, sizeof(*edge));
		if (i % 2)
			edge->proto_version = us.proto_version;
		if (i % 4 > 1) {
			memcpy(edge->module_version, us.module_version, sizeof(us.module_version));
			edge->role = cpu_to_le32(FTKVM_ROLE_BACKUP);
		}
		KUNIT_ASSERT_EQ(test, ftkvm_hello_compare(&us, edge, why, sizeof(why)), -EPROTO);
		for (c = why; *c; c++)
			KUNIT_ASSERT_TRUE_MSG(test, *c >= ' ' && *c <= '~', "byte %#x", (u8)*c);
	}
}

static struct kunit_case ftkvm_frame_cases[] = {
	KUNIT_CASE(frame_wire_form),
	KUNIT_CASE(frame_lengths),
	KUNIT_CASE(frame_bulk),
	KUNIT_CASE(frame_bad_headers),
	KUNIT_CASE(frame_damage),
	KUNIT_CASE(frame_noise),
	KUNIT_CASE(frame_text),
	KUNIT_CASE(hello_agrees),
	KUNIT_CASE_PARAM(hello_differs, difference_gen_params),
	KUNIT_CASE(hello_reason_fits),
	{}
};

static struct kunit_suite ftkvm_frame_suite = {
	.name = "ftkvm_frame",
	.test_cases = ftkvm_frame_cases,
};

kunit_test_suite(ftkvm_frame_suite);
