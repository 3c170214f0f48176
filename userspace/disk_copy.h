/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Disks' contents over a stream socket, from the host whose guest writes to them to one that
 * has images of its own. The sender says
 *
 *	DISK no, -, bytes	this disk follows, of so many bytes
 *	DATA no, at, bytes	and as many bytes of it
 *	ZERO no, at, bytes	they are zeros, or a hole
 *	FLUSH			let all until here be durable
 *	END			that was all
 *
 * and the receiver answers FLUSH and END, once it has done all that came before, with OK; or,
 * whenever something is wrong, with ERROR, which ends it. Numbers are little-endian.
 *
 * The receiver believes nothing: it has a list of disks, by number, and writes within them.
 */
#ifndef FTKVM_DISK_COPY_H
#define FTKVM_DISK_COPY_H

#include <linux/ftkvm.h>
#include "util.h"

#define DISK_COPY_MOST	(1u << 20)	/* bytes of a DATA */
#define DISK_COPY_ZEROS	(64u << 20)	/* of a ZERO: what can't be punched is written */
#define DISK_COPY_TEXT	512		/* of an ERROR */
#define DISK_COPY_UNIT	512

enum disk_copy_what {
	DISK_COPY_DISK = 1, DISK_COPY_DATA, DISK_COPY_ZERO, DISK_COPY_FLUSH, DISK_COPY_END,
	DISK_COPY_OK, DISK_COPY_ERROR,
};

/* A message, followed by @bytes bytes if it is DATA or ERROR. */
struct disk_copy_message {
	uint32_t what, no;
	uint64_t at, bytes;
};

_Static_assert(sizeof(struct disk_copy_message) == 24, "the wire's");

/**
 * struct disk_copy_disk - a disk on this host
 * @name: for people
 * @no: its number in its guest, the same on both hosts
 * @bytes: its size
 * @fd: open for what is done to it
 * @begun: receiver: the sender has told of it
 */
struct disk_copy_disk {
	char name[FTKVM_NAME_MAX + 1];
	uint32_t no;
	uint64_t bytes;
	int fd;
	bool begun;
};

/* --- the sender: 0, or -errno with a text, the receiver's if it has said one ---------- */

/* @peer: for messages */
int disk_copy_begin(int sock, const char *peer, const struct disk_copy_disk *disk, struct fterr *err);

/**
 * disk_copy_part() - send a part of a disk as it is now
 * @at, @bytes: multiples of DISK_COPY_UNIT, within the disk
 * @buf: room for DISK_COPY_MOST
 *
 * Holes and zeros are sent as such.
 */
int disk_copy_part(int sock, const char *peer, const struct disk_copy_disk *disk, uint64_t at, uint64_t bytes,
		   void *buf, struct fterr *err);

/* FLUSH or END, and the answer; it may take as long as the receiver's storage. */
int disk_copy_ask(int sock, const char *peer, enum disk_copy_what what, struct fterr *err);

/* --- the receiver --------------------------------------------------------------------- */

/**
 * disk_copy_receive() - take what a sender says, until it says END
 * @sock: its connection; a time-out is the caller's to set, and shutdown() of it ends this
 * @disks, @n: what may be written to
 * @over: called before END is answered
 * @arg: for @over
 *
 * Return: 0: END was answered; or -errno with a text, which the sender was told if it is
 * still there
 */
int disk_copy_receive(int sock, struct disk_copy_disk *disks, size_t n, void (*over)(void *arg), void *arg,
		      struct fterr *err);

#endif
