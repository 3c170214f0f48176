/* SPDX-License-Identifier: GPL-2.0 */
/* The receiver's side of a copy of a running guest's disks (disk_sync.h): another host's ftd asks. */
#ifndef FTKVM_DISK_RECV_H
#define FTKVM_DISK_RECV_H

#include "device.h"

struct disk_recv;

/*
 * Take a copy of a guest's disks, into the images of devices that are configured for it here. It must
 * be about to be protected here (op_receive.c), and a QEMU must have each of them, whose guest has not
 * asked it for anything yet.
 * @sock is taken in any case; @request: the line that came by it.
 */
void disk_recv_begin(int sock, const char *from, json_t *request);

/* Does it write to its images still? Its devices' queues may not be started then. */
bool disk_recv_writes(const struct disk_recv *r);

/* Its device is on its way out. */
void disk_recv_lost(struct device *dev);

#endif
