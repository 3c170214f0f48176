/* SPDX-License-Identifier: GPL-2.0 */
/* What is behind a guest's device on this host: a file, a block device, a tap. */
#ifndef FTKVM_BACKEND_H
#define FTKVM_BACKEND_H

#include "util.h"

/**
 * struct ftbackend - an open one
 * @fd: -1: none
 * @sectors: of a disk, 512 bytes each
 * @block: bytes that a disk is read and written by
 */
struct ftbackend {
	int fd;
	uint64_t sectors;
	uint32_t block;
};

/* Open a regular file or a block device for nobody else to write to. 0 or -errno. */
int ftbackend_disk(struct ftbackend *b, const char *path, bool readonly, struct fterr *err);
/*
 * The same, where the other host has it open as well, for disk @no of the guest that is called
 * @guest there, too. Direct I/O alone is good for it. 0, or -errno with a text.
 */
int ftbackend_shared(struct ftbackend *b, const char *path, bool readonly, const char *guest, uint32_t no,
		     struct fterr *err);
/* Its locks. 0; -EAGAIN: another disk has one, or if it is to be written, one that reads; or -errno. */
int ftbackend_lock(int fd, bool readonly, const char *guest, uint32_t no);

/* It is there, and nobody has it as a disk. */
bool ftbackend_unlocked(const char *path);

/* Bytes that it is read and written by as a disk, whoever has it; 512 if that can't be told. */
uint32_t ftbackend_block(const char *path);

/* A tap's or macvtap's name, or the path of a macvtap's (/dev/tapN). 0 or -errno. */
int ftbackend_tap(struct ftbackend *b, const char *name, struct fterr *err);

/* Let a tap give what the guest's driver can take, by its virtio features. 0 or -errno. */
int ftbackend_offload(const struct ftbackend *b, uint64_t features, struct fterr *err);

void ftbackend_close(struct ftbackend *b);

#endif
