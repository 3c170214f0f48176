/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The world of one link: fuzz_link.c is the replica and its process, link_peer.c the
 * socket and who is at its other end.
 */
#ifndef FTKVM_FUZZ_LINK_WORLD_H
#define FTKVM_FUZZ_LINK_WORLD_H

#include "fuzz.h"
#include "../../kmod/link/internal.h"

#define PEER_MAX	(192u << 10)	/* bytes that the peer says */
#define LOG_MAX		(192u << 10)	/* log bytes to send, and a device's as many */
#define SINK_MAX	(512u << 10)
#define FRAMES_MAX	(PEER_MAX / HDR)
#define CONTROLS_MAX	64
#define BULKS_MAX	64
#define HDR		sizeof(struct ftkvm_frame_hdr)

/* An upcall that must come: for the frame at @at. */
struct due {
	size_t at, end;
	u8 type;
};

/**
 * struct world - the link, what it has been told, and what it has to do
 * @f: the input
 * @oom: this allocation fails; 0: none does
 * @said, @read: bytes of peer_bytes[] that the peer has said, that the link has read
 * @said_off: log bytes that the peer has said
 * @silent: waits for the peer that are in vain, still
 * @closed, @close_err: the peer says no more, and what reading returns then
 * @parsed: bytes that the second parser has seen to be frames
 * @frame: begin of the frame that is being read
 * @bad, @bad_end: what is no frame, and behind which no byte may be read
 * @log_off, @last_ack, @idle: as the second parser has them
 * @ndue, @came: upcalls that must come, in due[], and how many came
 * @sent, @heard: bytes of sink[] that the link has sent, that were looked at
 * @heard_off: log bytes heard
 * @asked, @acked: acknowledgments wanted, and heard
 * @controls, @ncontrols, @nheard: types of control frames sent, and how many were heard
 * @bulk_len, @nbulks, @bulks_heard: data of the BULK frames sent, and how many were heard
 * @bulk_bytes: the sum of these
 * @no_signal: the process is a thread that gets none
 * @may: a mask of the reasons that the link may die of
 * @waited: for the frame that is being read, jiffies
 * @least, @most: of the time-outs that were set
 */
struct world {
	struct feed f;
	struct ftkvm_link *link;
	struct sock sk;
	struct socket sock;
	int lookups;
	int oom;

	size_t said, read;
	u64 said_off;
	unsigned int silent;
	bool closed;
	int close_err;

	size_t parsed, frame, bad_end;
	bool bad;
	u64 log_off;
	struct ftkvm_ack last_ack;
	unsigned int idle;
	unsigned int ndue, came;

	size_t sent, heard;
	u64 heard_off;
	struct ftkvm_link_acks asked, acked;
	u8 controls[CONTROLS_MAX];
	unsigned int ncontrols, nheard;
	u32 bulk_len[BULKS_MAX], bulk_bytes;
	unsigned int nbulks, bulks_heard;
	bool hello, broken, shut, no_more, no_signal;

	u64 log_len, pulled;
	unsigned long begun, waited, least, most;
	unsigned int may;
	bool started;
	int downs;
};

extern struct world w;
extern struct due due[FRAMES_MAX];
extern u8 peer_bytes[PEER_MAX];
extern u8 log_bytes[LOG_MAX];
extern const struct ftkvm_hello us;

/* link_peer.c */
struct ftkvm_frame_hdr hdr_at(size_t at);
u32 length_of(u8 type);
/* What the @i-th BULK frame that is sent says of itself. */
void make_bulk(struct ftkvm_bulk *b, u32 i);
void say(u8 type, u64 seq, const void *payload, u32 len);
void parse(void);
void hear(void);

#endif
