// SPDX-License-Identifier: GPL-2.0
/* A request's way into the pieces that the device finds, and back. */
#include "request.h"

uint64_t request_stream[(HEADER + LARGEST * SECTOR + 1) / 8 + 1];

uint64_t request_mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t request_next(uint64_t *state)
{
	return request_mix(*state += 0x9e3779b97f4a7c15);
}

static uint64_t below(uint64_t *random, uint64_t end)
{
	return (request_next(random) >> 16) % end;
}

/* Cut a stream of @len bytes into pieces, if at all first where its parts meet. */
static unsigned int cut(struct piece *pieces, uint32_t len, uint32_t boundary, uint64_t *random,
			int plain)
{
	unsigned int n = 0;

	for (uint32_t take; len; len -= take, n++) {
		take = len;
		if (plain) {
			if (!n && boundary && boundary < len)
				take = boundary;
		} else if (n < CUTS - 1) {
			if (!n && boundary && boundary < len && below(random, 4))
				take = boundary;
			else if (below(random, 2))
				take = 1 + below(random, len);
		}
		pieces[n].len = take;
	}
	return n;
}

/*
 * Lay the request out in its room; what it gives is in OUT_DATA. @random says where it is
 * cut; plain: header, data and status are a piece each.
 */
void request_lay_out(struct request *r, uint64_t *random, int plain)
{
	struct virtio_blk_outhdr header = { .type = r->type, .sector = r->sector };
	uint32_t out = request_gives(r) ? r->bytes : 0;
	uint8_t *at = r->room, *from = (uint8_t *)request_stream;

	memcpy(request_stream, &header, HEADER);
	r->readable = cut(r->pieces, HEADER + out, HEADER, random, plain);
	r->count = r->readable + cut(r->pieces + r->readable, r->bytes - out + 1, r->bytes - out,
				     random, plain);
	for (unsigned int i = 0; i < r->count; i++) {
		struct piece *piece = r->pieces + i;

		at += plain ? 0 : below(random, 64);
		piece->at = at;
		if (i < r->readable) {
			memcpy(at, from, piece->len);
			from += piece->len;
		} else {
			memset(at, 0xee, piece->len);
		}
		at += piece->len;
		memset(at, 0xa5, GUARD);
		at += GUARD;
	}
	r->status = 0xff;
	r->done = 0;
}

/* What the device has written, back into the stream: data, then status. */
const char *request_gather(struct request *r)
{
	static const uint64_t guard[2] = { 0xa5a5a5a5a5a5a5a5, 0xa5a5a5a5a5a5a5a5 };
	uint8_t *to = (uint8_t *)request_stream;

	for (unsigned int i = 0; i < r->count; i++) {
		struct piece *piece = r->pieces + i;

		if (memcmp(piece->at + piece->len, guard, GUARD))
			return "written behind a piece of it";
		if (i < r->readable)
			continue;
		memcpy(to, piece->at, piece->len);
		to += piece->len;
	}
	r->status = to[-1];
	return NULL;
}
