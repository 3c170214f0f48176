// SPDX-License-Identifier: GPL-2.0
/* The list of devices, and their sockets. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "again.h"
#include "device.h"
#include "disk_recv.h"
#include "op.h"
#include "text.h"

struct device *ftd_devices;
char ftd_devices_path[128];

#define RETRY_US	2000000
#define RETURN_MS	3000	/* behind a restart of ftd, of whoever connects again each second */

static sd_event_source *retry_source;
static int64_t restored_at;

struct device *device_find(const char *name)
{
	struct device *d;

	for (d = ftd_devices; d; d = d->next)
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

/* --- the socket ------------------------------------------------------------ */

static int on_connection(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct device *dev = arg;
	int sock;

	(void)revents;
	if (dev->conn && devconn_gone(dev->conn)) {
		/* Its end is about to be seen; then this one has its turn. */
		sd_event_source_set_enabled(s, SD_EVENT_OFF);
		return 0;
	}
	sock = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (sock < 0)
		return 0;
	if (dev->conn && !devconn_yields(dev->conn, sock)) {
		ft_log(SD_WARNING, "device %s: process %d has it; another that connects is sent away",
		       dev->name, devconn_pid(dev->conn));
		device_close(dev, sock);
		return 0;
	}
	devconn_new(dev, sock);
	/* what waits for that */
	again_mend();
	return 0;
}

void device_free_for_next(struct device *dev)
{
	dev->conn = NULL;
	if (dev->listen_source && !dev->closing)
		sd_event_source_set_enabled(dev->listen_source, SD_EVENT_ON);
}

struct closer {
	struct job job;
	int fd;
	char name[FTKVM_NAME_MAX + 1];
};

static void close_work(struct job *job)
{
	close(((struct closer *)job)->fd);
}

static void close_done(struct job *job)
{
	struct closer *c = (struct closer *)job;
	struct device *d = device_find(c->name);	/* it may be gone */

	if (d && d->closing && !--d->closing && d->listen_source)
		sd_event_source_set_enabled(d->listen_source, SD_EVENT_ON);
	free(c);
}

void device_close(struct device *dev, int fd)
{
	struct closer *c = calloc(1, sizeof(*c));

	if (c) {
		c->job = (struct job) { .work = close_work, .done = close_done };
		c->fd = fd;
		memcpy(c->name, dev->name, sizeof(c->name));
	}
	if (!c || job_start(&c->job)) {
		close(fd);
		free(c);
		return;
	}
	/* Or there would be a thread for each that comes. */
	dev->closing++;
	if (dev->listen_source)
		sd_event_source_set_enabled(dev->listen_source, SD_EVENT_OFF);
}

/* What is to be closed, or -1. */
static int take_listener(struct device *dev)
{
	int fd = dev->listen_fd;

	dev->listen_fd = -1;
	dev->listen_source = sd_event_source_disable_unref(dev->listen_source);
	if (fd >= 0)
		unlink(dev->socket);
	return fd;
}

/* Before anybody has connected, or at the end. */
static void stop_listening(struct device *dev)
{
	int fd = take_listener(dev);

	if (fd >= 0)
		close(fd);
}

static int start_listening(struct device *dev, struct fterr *err)
{
	int ret;

	dev->listen_fd = ft_unix_listen(dev->socket, 8, err);
	if (dev->listen_fd < 0)
		return dev->listen_fd;
	ret = *dev->user ? ft_unix_give(dev->listen_fd, dev->uid, err) : 0;
	if (!ret) {
		ret = sd_event_add_io(ftd_loop, &dev->listen_source, dev->listen_fd, EPOLLIN, on_connection,
				      dev);
		if (ret < 0)
			ft_fail(err, ret, "cannot listen on %s: %s", dev->socket, strerror(-ret));
		else
			ft_slow_down(dev->listen_source);
	}
	if (ret < 0)
		stop_listening(dev);
	return ret < 0 ? ret : 0;
}

/* --- the list ----------------------------------------------------------------- */

void devices_save(void)
{
	json_t *list = json_array();
	char path[sizeof(ftd_devices_path) + 8];
	struct device *d;

	for (d = ftd_devices; d; d = d->next)
		json_array_append_new(list, device_config(d));
	snprintf(path, sizeof(path), "%s.new", ftd_devices_path);
	if (json_dump_file(list, path, JSON_INDENT(1)) || rename(path, ftd_devices_path))
		ft_log(SD_WARNING, "cannot save the list of devices in %s", ftd_devices_path);
	json_decref(list);
}

static int check_unique(const struct device *new, struct fterr *err)
{
	struct device *d;

	for (d = ftd_devices; d; d = d->next) {
		if (!strcmp(d->name, new->name))
			return ft_fail(err, -EEXIST, "there is a device %s already; see: ftctl device", d->name);
		if (!strcmp(d->socket, new->socket))
			return ft_fail(err, -EEXIST, "%s is the socket of device %s", d->socket, d->name);
		if (!strcmp(d->guest, new->guest) && d->no == new->no)
			return ft_fail(err, -EEXIST, "guest %s has a device of number %u already: %s", d->guest,
				       d->no, d->name);
	}
	return 0;
}

struct device *device_new(json_t *config, struct fterr *err)
{
	struct device *d = device_parse(config, err);

	if (!d || !check_unique(d, err))
		return d;
	free(d);
	return NULL;
}

/* In the order in which they were added. */
static void append(struct device *d)
{
	struct device **at;

	for (at = &ftd_devices; *at; at = &(*at)->next)
		;
	*at = d;
}

int device_begin(struct device *d, struct fterr *err)
{
	int ret = check_unique(d, err);

	if (!ret)
		ret = start_listening(d, err);
	if (ret)
		return ret;
	append(d);
	devices_save();
	ft_log(SD_NOTICE, "device %s of guest %s waits for its QEMU at %s", d->name, d->guest, d->socket);
	return 0;
}

void device_end(struct device *d)
{
	struct device **at;
	int fd;

	if (d->conn)
		devconn_end(d->conn, NULL);
	disk_recv_lost(d);
	for (at = &ftd_devices; *at != d; at = &(*at)->next)
		;
	*at = d->next;
	fd = take_listener(d);
	if (fd >= 0)
		device_close(d, fd);	/* with those that it did not accept yet */
	ft_log(SD_NOTICE, "device %s is gone", d->name);
	free(d);
	devices_save();
}

json_t *devices_json(void)
{
	json_t *list = json_array();
	struct device *d;

	for (d = ftd_devices; d; d = d->next) {
		json_t *json = device_config(d);

		json_object_set_new(json, "connected", json_boolean(d->conn));
		if (d->conn)
			devconn_json(d->conn, json);
		json_object_set_new(json, "trouble", ft_text_json(d->trouble));
		json_array_append_new(list, json);
	}
	return list;
}

/* --- a guest's replicas ----------------------------------------------------- */

json_t *devices_numbers(const char *guest)
{
	json_t *numbers = json_pack("{s:[], s:[]}", "blk", "net");
	struct device *d;

	for (d = ftd_devices; d; d = d->next)
		if (!strcmp(d->guest, guest) && d->conn && devconn_heard(d->conn))
			json_array_append_new(json_object_get(numbers, ft_dev_kind_name(d->kind)), json_integer(d->no));
	return numbers;
}

bool devices_awaited(const struct guest *g)
{
	struct device *d;

	if (ft_now_ms() >= restored_at + RETURN_MS)
		return false;
	for (d = ftd_devices; d; d = d->next)
		if (!strcmp(d->guest, g->name) &&
		    (!d->conn || !devconn_stays(d->conn) || devconn_pid(d->conn) != g->attached_pid))
			return true;
	return false;
}

bool devices_silent(const struct guest *g)
{
	struct device *d;
	bool silent = false;

	for (d = ftd_devices; d; d = d->next)
		if (!strcmp(d->guest, g->name) && d->conn && devconn_pid(d->conn) == g->attached_pid)
			silent |= devconn_remind(d->conn);
	return silent;
}

static bool there(const char *guest, const char *kind, json_int_t no)
{
	struct device *d;

	for (d = ftd_devices; d; d = d->next)
		if (d->no == no && !strcmp(d->guest, guest) && !strcmp(ft_dev_kind_name(d->kind), kind))
			return true;
	return false;
}

int devices_there(const char *guest, json_t *numbers, struct fterr *err)
{
	const char *kind;
	json_t *list, *no;
	size_t i;

	json_object_foreach(numbers, kind, list)
		json_array_foreach(list, i, no)
			if (!there(guest, kind, json_integer_value(no)))
				return ft_fail(err, -ENOENT, "guest %s has a device of kind %.16s and number %lld there, and "
					       "none here; on this host: ftctl device add", guest, kind,
					       (long long)json_integer_value(no));
	return 0;
}

/* --- its guest, and ftd's own life ------------------------------------------ */

void devices_check_guest(const struct guest *g)
{
	struct device *d;
	struct fterr err;

	for (d = ftd_devices; d; d = d->next) {
		if (strcmp(d->guest, g->name) || !d->conn || devconn_pid(d->conn) == g->attached_pid)
			continue;
		ft_fail(&err, -EPERM, "process %d is not the QEMU of guest %s, which is process %d",
			devconn_pid(d->conn), g->name, g->attached_pid);
		devconn_end(d->conn, &err);
	}
}

static void listen_to_all(void);

static int on_retry(sd_event_source *s, uint64_t usec, void *arg)
{
	(void)s;
	(void)usec;
	(void)arg;
	listen_to_all();
	return 0;
}

/* A QEMU that runs may wait for any of them; one that fails is tried again. */
static void listen_to_all(void)
{
	bool all = true;
	struct device *d;
	struct fterr err;

	for (d = ftd_devices; d; d = d->next) {
		if (d->listen_fd >= 0)
			continue;
		if (start_listening(d, &err)) {
			if (strcmp(d->trouble, err.text))
				ft_log(SD_WARNING, "device %s: %s; trying on", d->name, err.text);
			snprintf(d->trouble, sizeof(d->trouble), "%s", err.text);
			all = false;
			continue;
		}
		*d->trouble = '\0';
		ft_log(SD_NOTICE, "device %s of guest %s waits for its QEMU at %s", d->name, d->guest, d->socket);
	}
	retry_source = sd_event_source_disable_unref(retry_source);
	if (!all)
		sd_event_add_time_relative(ftd_loop, &retry_source, CLOCK_MONOTONIC, RETRY_US, 0, on_retry, NULL);
}

void devices_restore(void)
{
	json_t *list = json_load_file(ftd_devices_path, 0, NULL), *one;
	struct device *d;
	struct fterr err;
	size_t i;

	/* The list is as it was: nothing is saved before all of it is known again. */
	json_array_foreach(list, i, one) {
		d = device_new(one, &err);
		if (d)
			append(d);
		else
			ft_log(SD_WARNING, "a device of the last time: %s", err.text);
	}
	json_decref(list);
	restored_at = ft_now_ms();
	listen_to_all();
}

bool devices_busy(void)
{
	struct device *d;

	for (d = ftd_devices; d; d = d->next)
		if (d->conn && devconn_busy(d->conn))
			return true;
	return false;
}

void devices_deaf(void)
{
	struct device *d;

	retry_source = sd_event_source_disable_unref(retry_source);
	for (d = ftd_devices; d; d = d->next)
		stop_listening(d);
}

void devices_close(void)
{
	struct device *d;

	retry_source = sd_event_source_disable_unref(retry_source);
	while ((d = ftd_devices)) {
		ftd_devices = d->next;
		stop_listening(d);
		if (d->conn)
			devconn_abandon(d->conn);
		free(d);
	}
}
