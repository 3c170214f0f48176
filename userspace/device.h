/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Disks and network cards of guests. ftd listens at a socket for each; the QEMU
 * that connects is the guest's, speaks vhost-user, and the module gets the rings.
 */
#ifndef FTKVM_DEVICE_H
#define FTKVM_DEVICE_H

#include <systemd/sd-event.h>
#include "guest.h"
#include "nl_dev.h"

struct devconn;
struct disk_recv;
struct vu;

/**
 * struct device - a device, with a QEMU or without
 * @guest: the name of the guest that may use it
 * @no: the same on both hosts
 * @yielded: that silent ones make way was said, since a QEMU had it last
 * @user, @uid: whose QEMU may connect, if not root's
 * @backend: a file's or block device's path; a tap's name, or a macvtap's path
 * @discard: offer DISCARD and WRITE_ZEROES
 * @shared: the other host reaches the same @backend
 * @configured: ftd's configuration has it
 * @conn: its QEMU's connection, or that of who has said nothing yet, or NULL
 * @copy: another host's ftd writes its image, or NULL
 * @listen_fd: -1: its socket could not be made; that is tried again
 * @closing: sockets that are being closed: nobody may connect meanwhile
 * @trouble: why, or why the last connection ended; "" if it was in order
 */
struct device {
	struct device *next;
	char name[FTKVM_NAME_MAX + 1];
	char guest[FTKVM_NAME_MAX + 1];
	uint32_t kind, no;
	bool readonly, discard, shared, yielded, configured;
	char user[64];
	uid_t uid;
	char socket[108];
	char backend[1024];

	int listen_fd;
	sd_event_source *listen_source;
	struct devconn *conn;
	struct disk_recv *copy;
	unsigned int closing;
	char trouble[sizeof(((struct fterr *)0)->text)];
};

extern struct device *ftd_devices;

/* NULL: there is none. */
struct device *device_find(const char *name);
/*
 * What is asked for, and saved, and back: a device of it that nobody knows, or NULL with a text.
 * device_new() looks at those that there are, device_parse() does not; free() it.
 */
struct device *device_new(json_t *config, struct fterr *err);
struct device *device_parse(json_t *config, struct fterr *err);
json_t *device_config(const struct device *d);
/* Let its QEMU come; it is in the list then. 0, or -errno with a text: it is the caller's still. */
int device_begin(struct device *d, struct fterr *err);
/* One of them is another than it was. */
void devices_save(void);
/* Forget it. No QEMU has it. */
void device_end(struct device *d);

/* device_order.c: orders of a client, as those of op.h: 0: it hears more, or -errno with a text. */
struct client;
int device_add(struct client *client, json_t *request, struct fterr *err);
int device_del(struct client *client, json_t *request, struct fterr *err);
/* The configuration has these: [config, ...]. Others that it had go, unless a QEMU has them. */
void devices_configure(json_t *wanted);
/* All of them, for "devices". */
json_t *devices_json(void);

/*
 * What a guest's QEMU has of them, for the host that it gets a replica on: {"blk": [NUMBER, ...],
 * "net": [...]}. And has this host as much for it? 0, or -errno with a text.
 */
json_t *devices_numbers(const char *guest);
int devices_there(const char *guest, json_t *numbers, struct fterr *err);
/*
 * Has its QEMU yet to connect to any? Not longer than that takes behind a restart of ftd: it need not
 * have all.
 */
bool devices_awaited(const struct guest *g);
/*
 * Is it connected to any where it says nothing? It may have missed ftd's restart (vu_speaks_on()), or
 * nobody uses that device yet: asked, and true, once for each connection.
 */
bool devices_silent(const struct guest *g);

/* A guest has been attached: the QEMUs at its devices must be this one. */
void devices_check_guest(const struct guest *g);

/*
 * The list survives ftd, and the module goes on meanwhile: take them up again; let nobody
 * connect any more; close all.
 */
void devices_restore(void);
void devices_deaf(void);
void devices_close(void);
/* Something is being told to the module. */
bool devices_busy(void);
extern char ftd_devices_path[128];

/* --- device_conn.c: a QEMU at a device ------------------------------------- */

/* Somebody has connected: takes @sock. */
void devconn_new(struct device *dev, int sock);
/* End it, with a reason, or NULL for none. What the module has is taken back. */
void devconn_end(struct devconn *conn, const struct fterr *why);
/* Forget it; the module goes on. */
void devconn_abandon(struct devconn *conn);
/* Its QEMU has hung up, or is about to be sent away. */
bool devconn_gone(const struct devconn *conn);
/* It has said something: it is a QEMU's that has the device, or is about to. */
bool devconn_heard(const struct devconn *conn);
/* It is, or will be when it says something; it is not about to be sent away. */
bool devconn_stays(const struct devconn *conn);
/* It has said nothing; true once. */
bool devconn_remind(struct devconn *conn);
/* Another has connected, at @sock. True: it was silent until now, and has made way. */
bool devconn_yields(struct devconn *conn, int sock);
pid_t devconn_pid(const struct devconn *conn);
bool devconn_busy(const struct devconn *conn);
/* Of a disk that QEMU has, while it is not busy: its image, or -1 if only the module has it; its size. */
int devconn_image(const struct devconn *conn);
uint64_t devconn_bytes(const struct devconn *conn);
/* Add what is known of it. */
void devconn_json(const struct devconn *conn, json_t *json);

/* --- device_keep.c: a connection that outlives ftd ------------------------- */

/* The manager has it, too; it has not any more. */
void devkeep_store(const char *name, int sock);
void devkeep_drop(const char *name);
/* What vu_keep() has of it, if there is a manager that keeps it. It is so no longer. */
void devkeep_note(const char *name, const struct vu *vu);
void devkeep_forget(const char *name);
/* All that a former ftd has left there: before there are threads and children; for the devices. */
void devkeep_begin(void);
void devices_take_kept(void);
/* device_conn.c: a connection to a former ftd; takes both. */
void devconn_kept(struct device *dev, int sock, json_t *state);

/* A connection is gone: the next may come. */
void device_free_for_next(struct device *dev);
/*
 * Close a client's socket, which takes @fd, in a thread. What it sent and nobody read is
 * closed with it, and that may take as long as the client likes.
 */
void device_close(struct device *dev, int fd);

#endif
