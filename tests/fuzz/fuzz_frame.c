// SPDX-License-Identifier: GPL-2.0
/*
 * Frames. The input is bytes as they come off a socket, a frame to seal and
 * spoil, a text of the peer's, or two HELLOs.
 */
#include "fuzz.h"
#include "../../kmod/core/frame.h"
#include "../../kmod/core/record.h"

/* What frame.h says of lengths, once more. */
static bool len_fits(u8 type, u32 len)
{
	switch (type) {
	case FTKVM_FRAME_HELLO:
		return len == sizeof(struct ftkvm_hello);
	case FTKVM_FRAME_START:
		return len == sizeof(struct ftkvm_start);
	case FTKVM_FRAME_DATA:
		return len >= 1 && len <= FTKVM_FRAME_MAX;
	case FTKVM_FRAME_ACK:
		return len == sizeof(struct ftkvm_ack);
	case FTKVM_FRAME_HEARTBEAT:
		return !len;
	case FTKVM_FRAME_BYE:
		return len == sizeof(struct ftkvm_bye);
	case FTKVM_FRAME_BULK:
		return len >= sizeof(struct ftkvm_bulk) && len <= FTKVM_FRAME_MAX;
	default:
		return false;
	}
}

/* What the header check has to say of @h. */
static int expected(const struct ftkvm_frame_hdr *h)
{
	if (le32_to_cpu(h->magic) != FTKVM_FRAME_MAGIC)
		return -EBADMSG;
	if (le16_to_cpu(h->version) != FTKVM_PROTO_VERSION)
		return -EPROTONOSUPPORT;
	return !h->flags && len_fits(h->type, le32_to_cpu(h->len)) ? 0 : -EBADMSG;
}

/* Both checks of a frame whose payload may be shorter than the header says. */
static int check(const struct ftkvm_frame_hdr *hdr, const u8 *payload, size_t have)
{
	struct ftkvm_frame_hdr *h = (void *)exact_copy(hdr, sizeof(*hdr));
	int ret = ftkvm_frame_check_hdr(h);

	REQUIRE(ret == expected(h));
	if (!ret) {
		u32 len = le32_to_cpu(h->len);
		/* exactly so large, and zero where the input ended */
		u8 *exact = calloc(1, len);

		REQUIRE(len <= FTKVM_FRAME_MAX);
		if (have)
			memcpy(exact, payload, min_t(size_t, have, len));
		ret = ftkvm_frame_check(h, exact);
		REQUIRE(!ret || ret == -EBADMSG);
		free(exact);
	}
	free(h);
	return ret;
}

static void raw_frame(struct feed *f)
{
	struct ftkvm_frame_hdr h, again;
	size_t len = sizeof(h);
	u8 *hdr = feed_copy(f, &len);

	memset(&h, 0, sizeof(h));
	memcpy(&h, hdr, len);
	free(hdr);
	if (!check(&h, f->at, feed_left(f)) && feed_left(f) >= le32_to_cpu(h.len)) {
		/* the one header that this payload has */
		ftkvm_frame_seal(&again, h.type, le64_to_cpu(h.seq), f->at, le32_to_cpu(h.len));
		REQUIRE(!memcmp(&h, &again, sizeof(h)));
		REACHED("a frame of the fuzzer's own making passed");
	}
}

/* In two places or in one: the header is the same. */
static void sealed_bulk(const u8 *payload, size_t len)
{
	struct ftkvm_frame_hdr one, two;
	struct ftkvm_bulk b;
	u8 *data;

	if (!len_fits(FTKVM_FRAME_BULK, len))
		return;
	memcpy(&b, payload, sizeof(b));
	data = exact_copy(payload + sizeof(b), len - sizeof(b));
	memset(&two, 0xff, sizeof(two));
	ftkvm_frame_seal(&one, FTKVM_FRAME_BULK, 0, payload, len);
	ftkvm_frame_seal_bulk(&two, &b, data, len - sizeof(b));
	REQUIRE(!memcmp(&one, &two, sizeof(one)));
	REQUIRE(!check(&two, payload, len));
	free(data);
	if (len > sizeof(b))
		REACHED("a BULK frame sealed in two places");
	else
		REACHED("a BULK frame without data");
}

/* Sealed, it passes; spoiled by what a CRC finds for certain, it does not. */
static void sealed_frame(struct feed *f)
{
	u8 type = feed_u8(f) % (FTKVM_FRAME_TYPES + 1);
	u64 seq = feed_u64(f);
	u32 where = feed_le(f, 3), burst = feed_le(f, 4), bit;
	size_t len = feed_left(f), i;
	struct ftkvm_frame_hdr h;
	u8 *payload = feed_copy(f, &len), *bytes = (u8 *)&h;

	sealed_bulk(payload, len);
	ftkvm_frame_seal(&h, type, seq, payload, len);
	REQUIRE(check(&h, payload, len) == (len_fits(type, len) ? 0 : -EBADMSG));
	if (!len_fits(type, len)) {
		REACHED("a frame of a wrong length refused");
		goto out;
	}
	REACHED("a sealed frame passed");

	bit = where % (8 * (sizeof(h) + len));
	if (bit / 8 < sizeof(h)) {
		bytes[bit / 8] ^= 1 << bit % 8;
		REQUIRE(check(&h, payload, len) < 0);
		bytes[bit / 8] ^= 1 << bit % 8;
		REACHED("a flipped bit of a header caught");
	} else {
		payload[bit / 8 - sizeof(h)] ^= 1 << bit % 8;
		REQUIRE(check(&h, payload, len) == -EBADMSG);
		payload[bit / 8 - sizeof(h)] ^= 1 << bit % 8;
		REACHED("a flipped bit of a payload caught");
	}

	/* up to 32 bits next to each other, of which one at least is another */
	if (len >= 4 && burst) {
		for (i = 0; i < 4; i++)
			payload[where % (len - 3) + i] ^= burst >> 8 * i;
		REQUIRE(check(&h, payload, len) == -EBADMSG);
		REACHED("a burst caught");
	}
out:
	free(payload);
}

static bool printable(const char *s)
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}

static void peer_text(struct feed *f)
{
	size_t size = feed_below(f, 300), max = feed_left(f), room, i;
	char *text = (char *)feed_copy(f, &max), *dst = malloc(size), *whole;

	ftkvm_frame_text(dst, size, text, max);
	if (size) {
		REQUIRE(memchr(dst, '\0', size) && printable(dst));
		/* what needs no escape is as it was, and what fits is not cut */
		room = 4 * max + 1;
		whole = malloc(room);
		ftkvm_frame_text(whole, room, text, max);
		REQUIRE(printable(whole));
		REQUIRE(!strncmp(whole, dst, strlen(dst)));
		REQUIRE(strlen(dst) == min(strlen(whole), size - 1));
		for (i = 0; i < strnlen(text, max) && text[i] >= ' ' && text[i] <= '~'; i++)
			REQUIRE(whole[i] == text[i]);
		if (i == strnlen(text, max))
			REQUIRE(strlen(whole) == i);
		else
			REACHED("a text escaped");
		free(whole);
	}
	free(dst);
	free(text);
}

/* Can these two pair, by frame.h? */
static bool fit(const struct ftkvm_hello *us, const struct ftkvm_hello *peer)
{
	size_t n = strnlen(us->guest, sizeof(us->guest));
	size_t m = strnlen(us->module_version, sizeof(us->module_version));

	return us->proto_version == peer->proto_version &&
	       n == strnlen(peer->guest, sizeof(peer->guest)) &&
	       m == strnlen(peer->module_version, sizeof(peer->module_version)) &&
	       !memcmp(us->guest, peer->guest, n) &&
	       !memcmp(us->module_version, peer->module_version, m) &&
	       /* 1 and 2, in either order */
	       le32_to_cpu(us->role) - 1 < 2 && le32_to_cpu(peer->role) - 1 < 2 &&
	       us->role != peer->role &&
	       us->vcpus == peer->vcpus && us->event == peer->event &&
	       (!us->ram_bytes || !peer->ram_bytes ||
		(us->ram_bytes == peer->ram_bytes && us->slots_crc == peer->slots_crc)) &&
	       us->cpuid_crc == peer->cpuid_crc && us->irqchip == peer->irqchip &&
	       us->devices == peer->devices && us->devices_crc == peer->devices_crc &&
	       us->period_min == peer->period_min && us->period_max == peer->period_max &&
	       le32_to_cpu(peer->window) >= FTKVM_REC_MAX;
}

static int compare(const struct ftkvm_hello *us, const struct ftkvm_hello *peer, size_t size)
{
	char *why = malloc(size);
	int ret;

	memset(why, 0xff, size);
	ret = ftkvm_hello_compare(us, peer, why, size);
	REQUIRE(!ret || ret == -EPROTO);
	if (size)
		REQUIRE(memchr(why, '\0', size) && printable(why));
	if (size > 1)
		REQUIRE(!*why == !ret);
	/* room enough: cause and remedy are both there */
	if (ret && size > 768)
		REQUIRE(strstr(why, ": ") && strlen(why) < size - 1);
	free(why);
	return ret;
}

static void hellos(struct feed *f)
{
	struct ftkvm_hello *us, *peer;
	size_t size = feed_below(f, 1024);
	u8 edits = feed_u8(f) % 4, ours[sizeof(*us)] = { };
	size_t len = sizeof(*us);
	u8 *bytes;

	/* the peer's is ours with the other role, and some edits */
	bytes = feed_copy(f, &len);
	memcpy(ours, bytes, len);
	free(bytes);
	us = (void *)exact_copy(ours, sizeof(ours));
	peer = (void *)exact_copy(ours, sizeof(ours));
	peer->role = cpu_to_le32(3 - le32_to_cpu(us->role));
	while (edits--)
		((u8 *)peer)[feed_below(f, sizeof(*peer))] = feed_u8(f);

	REQUIRE(compare(us, peer, size) == (fit(us, peer) ? 0 : -EPROTO));
	REQUIRE(compare(peer, us, 1024) == (fit(peer, us) ? 0 : -EPROTO));
	if (fit(us, peer))
		REACHED("two that can pair");
	else
		REACHED("two that can't");
	free(us);
	free(peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, data + size };

	switch (feed_u8(&f) % 8) {
	case 0:
		raw_frame(&f);
		break;
	case 1:
		peer_text(&f);
		break;
	case 2:
	case 3:
		hellos(&f);
		break;
	default:
		sealed_frame(&f);
	}
	return 0;
}

void fuzz_seeds(void)
{
	static const u32 lens[FTKVM_FRAME_TYPES] = {
		[FTKVM_FRAME_HELLO] = sizeof(struct ftkvm_hello),
		[FTKVM_FRAME_START] = sizeof(struct ftkvm_start),
		[FTKVM_FRAME_DATA] = 100,
		[FTKVM_FRAME_ACK] = sizeof(struct ftkvm_ack),
		[FTKVM_FRAME_BYE] = sizeof(struct ftkvm_bye),
		[FTKVM_FRAME_BULK] = sizeof(struct ftkvm_bulk) + 50,
	};
	struct ftkvm_hello hello = {
		.proto_version = cpu_to_le32(FTKVM_PROTO_VERSION),
		.role = cpu_to_le32(1), .module_version = "0.1", .guest = "db1",
		.vcpus = cpu_to_le32(1), .event = cpu_to_le32(0xc0),
		.window = cpu_to_le32(1 << 20), .period_min = cpu_to_le64(1000),
		.period_max = cpu_to_le64(1 << 20), .margin = cpu_to_le64(512),
	};
	struct ftkvm_frame_hdr h;
	struct seed s = { };
	u8 payload[256];
	u8 type;

	memset(payload, 'p', sizeof(payload));
	for (type = FTKVM_FRAME_HELLO; type < FTKVM_FRAME_TYPES; type++) {
		ftkvm_frame_seal(&h, type, 7, payload, lens[type]);
		seed_le(&s, 0, 1);
		seed_bytes(&s, &h, sizeof(h));
		seed_bytes(&s, payload, lens[type]);
		seed_done(&s);

		seed_le(&s, 4, 1);
		seed_le(&s, type, 1);
		seed_u64(&s, 7);
		seed_le(&s, type * 37, 3);
		seed_le(&s, 0x80000001, 4);
		seed_bytes(&s, payload, lens[type]);
		seed_done(&s);
	}
	/* one without data, and one that is too short */
	for (type = 0; type < 2; type++) {
		seed_le(&s, 4, 1);
		seed_le(&s, FTKVM_FRAME_BULK, 1);
		seed_u64(&s, 0);
		seed_le(&s, 300, 3);
		seed_le(&s, 1, 4);
		seed_bytes(&s, payload, sizeof(struct ftkvm_bulk) - type);
		seed_done(&s);
	}
	seed_bytes(&s, "\1\x40\0web\n\xe4\\\x1b[31m\0rest", 18);
	seed_done(&s);
	for (type = 0; type < 2; type++) {
		seed_bytes(&s, type ? "\2\xff\3\0" : "\2\xff\3\1", 4);
		seed_bytes(&s, &hello, sizeof(hello));
		seed_bytes(&s, "\6!", 2);
		seed_done(&s);
	}
}
