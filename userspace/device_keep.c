// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU's connection that outlives ftd, in the service manager's store of descriptors, so that QEMU
 * does not notice that ftd was killed, or restarted. To QEMU a connection that breaks is a device's
 * end: it takes the guest's kicks, and tells the guest that a card's link is down, and throws away
 * what was to be sent, all on one host alone.
 *
 * Beside the descriptor the next ftd needs what QEMU has said by it. That is in a file as long as QEMU
 * waits for nothing: it goes before a message is read, and comes when that is answered. Where it is
 * missing the connection is closed, and QEMU connects anew.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include "device.h"
#include "text.h"
#include "vhost_user.h"

#define PREFIX	"device-"

/* Of the descriptors that the manager has handed to this ftd. */
static char **names;
static int n_names;

static bool has_store(void)
{
	return getenv("NOTIFY_SOCKET");
}

/* No name of a device's makes one of another of ftd's files. */
static void state_path(char *path, size_t size, const char *name, const char *kind)
{
	snprintf(path, size, "%s.%s.%s", ftd_devices_path, kind, name);
}

/* One socket is told from another by it. */
static json_int_t socket_number(int sock)
{
	struct stat st;

	return fstat(sock, &st) ? 0 : (json_int_t)st.st_ino;
}

void devkeep_store(const char *name, int sock)
{
	char text[sizeof(PREFIX) + FTKVM_NAME_MAX + 32];

	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=" PREFIX "%s", name);
	if (has_store())
		sd_pid_notify_with_fds(0, 0, text, &sock, 1);
}

void devkeep_drop(const char *name)
{
	char text[sizeof(PREFIX) + FTKVM_NAME_MAX + 32];

	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=" PREFIX "%s", name);
	devkeep_forget(name);
	if (has_store())
		sd_notify(0, text);
}

void devkeep_note(const char *name, const struct vu *vu)
{
	char path[sizeof(ftd_devices_path) + FTKVM_NAME_MAX + 16], new[sizeof(path)];
	json_t *state = has_store() ? vu_keep(vu) : NULL;

	if (!state)
		return;
	json_object_set_new(state, "socket", json_integer(socket_number(vu->sock)));
	state_path(path, sizeof(path), name, "said");
	state_path(new, sizeof(new), name, "saying");
	/* without it QEMU connects anew */
	if (json_dump_file(state, new, JSON_COMPACT) || rename(new, path))
		unlink(new);
	json_decref(state);
}

void devkeep_forget(const char *name)
{
	char path[sizeof(ftd_devices_path) + FTKVM_NAME_MAX + 16];

	state_path(path, sizeof(path), name, "said");
	if (has_store())
		unlink(path);
}

/* What the former ftd has noted of a socket, or NULL. */
static json_t *noted(const char *name, int sock)
{
	char path[sizeof(ftd_devices_path) + FTKVM_NAME_MAX + 16];
	json_t *state;

	state_path(path, sizeof(path), name, "said");
	state = json_load_file(path, 0, NULL);
	if (json_integer_value(json_object_get(state, "socket")) == socket_number(sock))
		return state;
	json_decref(state);
	return NULL;
}

static void take_one(const char *name, int sock)
{
	struct device *d = device_find(name);
	json_t *state = d && !d->conn ? noted(name, sock) : NULL;

	if (state) {
		devconn_kept(d, sock, state);
		return;
	}
	devkeep_drop(name);
	/* the manager's comes later */
	shutdown(sock, SHUT_RDWR);
	close(sock);
}

void devkeep_begin(void)
{
	n_names = sd_listen_fds_with_names(1, &names);
}

void devices_take_kept(void)
{
	int i;

	for (i = 0; i < n_names; i++) {
		if (!strncmp(names[i], PREFIX, strlen(PREFIX)))
			take_one(names[i] + strlen(PREFIX), SD_LISTEN_FDS_START + i);
		else
			close(SD_LISTEN_FDS_START + i);
		free(names[i]);
	}
	free(names);
	names = NULL;
	n_names = 0;
}
