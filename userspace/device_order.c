// SPDX-License-Identifier: GPL-2.0
/* Devices that are added and taken away. What that asks of the module and of files may take a while. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "backend.h"
#include "device.h"
#include "op.h"
#include "text.h"

/* Of a QEMU that lives, whether that is connected to us or not. */
static bool module_has(const char *name, struct ftdev *has)
{
	struct fterr ignored;

	return !ftnl_dev_get(name, has, &ignored) && !ft_process_gone(has->pid);
}

/* --- add ------------------------------------------------------------------- */

/* One that the module does not give back is gone on with as it is: this must be it, then. */
static int check_module(const struct device *d, struct fterr *err)
{
	struct ftdev has;

	if (!module_has(d->name, &has))
		return 0;
	if (has.no != d->no || has.kind != d->kind || has.readonly != d->readonly ||
	    has.shared != d->shared)
		return ft_fail(err, -EEXIST, "the kernel module has another device %s (%s %u%s%s, of process %u): end "
			       "that QEMU first, or choose another name", d->name, ft_dev_kind_name(has.kind),
			       has.no, has.readonly ? ", read-only" : "", has.shared ? ", shared" : "", has.pid);
	/* It holds the lock of its file. */
	if (d->kind == FTKVM_UAPI_DEV_BLK && ftbackend_unlocked(d->backend))
		return ft_fail(err, -EEXIST, "the kernel module has a device %s of another file (of process %u): end "
			       "that QEMU first, or choose another name", d->name, has.pid);
	return 0;
}

static bool same_file(const char *a, const char *b)
{
	struct stat one, two;

	if (stat(a, &one) || stat(b, &two))
		return false;
	if (S_ISBLK(one.st_mode) && S_ISBLK(two.st_mode))
		return one.st_rdev == two.st_rdev;
	return one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

/* The lock keeps two QEMUs apart, but says it to the second one only, and not why. */
static int check_file(const struct op *op, struct fterr *err)
{
	const struct device *d = op->device;
	json_t *one;
	size_t i;

	json_array_foreach(op->others, i, one) {
		const char *file = request_string(one, "file");

		if (d->kind != FTKVM_UAPI_DEV_BLK || !file || !same_file(d->backend, file))
			continue;
		if (d->readonly && json_is_true(json_object_get(one, "readonly")))
			continue;
		return ft_fail(err, -EEXIST, "%s is the disk of device %s already (two guests can't write to one disk)",
			       d->backend, request_string(one, "name"));
	}
	return 0;
}

static void add_work(struct op *op)
{
	op->ret = check_file(op, &op->err);
	if (!op->ret)
		op->ret = check_module(op->device, &op->err);
}

static void add_settle(struct op *op)
{
	if (!op->ret)
		op->ret = device_begin(op->device, &op->err);
	if (op->ret)
		free(op->device);
	op->device = NULL;
}

int device_add(struct client *client, json_t *request, struct fterr *err)
{
	struct device *d = device_new(request, err), *other;
	struct op *op = d ? op_new("device add", d->name, add_work) : NULL;

	if (!d)
		return err->code;
	if (!op) {
		free(d);
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	}
	op->device = d;
	op->others = json_array();
	for (other = ftd_devices; other; other = other->next)
		json_array_append_new(op->others, device_config(other));
	op->settle = add_settle;
	op->client = client;
	op_start(op);
	return 0;
}

/* --- del ------------------------------------------------------------------- */

static int check_unused(const struct device *d, struct fterr *err)
{
	if (!d->conn || !devconn_heard(d->conn))
		return 0;
	if (devconn_gone(d->conn))
		return ft_fail(err, -EBUSY, "device %s is being taken back from process %d, which has hung up; try "
			       "again", d->name, devconn_pid(d->conn));
	return ft_fail(err, -EBUSY, "device %s is in use by guest %s (process %d): end that QEMU, or unplug the device "
		       "from it, first", d->name, d->guest, devconn_pid(d->conn));
}

static void del_work(struct op *op)
{
	struct ftdev has;

	if (module_has(op->name, &has))
		op->ret = ft_fail(&op->err, -EBUSY, "the kernel module has device %s still, for process %u, which has no "
				  "connection to ftd: end that QEMU first", op->name, has.pid);
}

static void del_settle(struct op *op)
{
	struct device *d = device_find(op->name);

	/* Meanwhile a QEMU may have come, or another order. */
	if (!op->ret && d)
		op->ret = check_unused(d, &op->err);
	if (!op->ret && d)
		device_end(d);
}

static int del(struct client *client, struct device *d, struct fterr *err)
{
	struct op *op;
	int ret = check_unused(d, err);

	if (ret)
		return ret;
	op = op_new("device del", d->name, del_work);
	if (!op)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	op->settle = del_settle;
	op->client = client;
	op_start(op);
	return 0;
}

int device_del(struct client *client, json_t *request, struct fterr *err)
{
	const char *name = request_string(request, "name");
	struct device *d = name ? device_find(name) : NULL;

	if (!d)
		return ft_fail(err, -ENOENT, "there is no device %.64s; \"ftctl device\" shows those there are",
			       name ? name : "without a name");
	return del(client, d, err);
}

/* --- of the configuration --------------------------------------------------- */

static bool wants(json_t *wanted, const char *name)
{
	json_t *one;
	size_t i;

	json_array_foreach(wanted, i, one)
		if (!strcmp(request_string(one, "name"), name))
			return true;
	return false;
}

/* There is one of that name, and it was added by hand, or is of a former configuration. */
static void change(struct device *d, json_t *one)
{
	bool was = d->configured, same;
	struct fterr err;
	json_t *now;

	d->configured = true;
	now = device_config(d);
	same = json_equal(now, one);
	json_decref(now);
	if (same && was)
		return;
	if (same)
		devices_save();
	else if (check_unused(d, &err))
		ft_log(SD_WARNING, "%s: it is not changed; do that, and reload ftd", err.text);
	else
		device_end(d);
}

void devices_configure(json_t *wanted)
{
	struct device *d, *next;
	struct fterr err;
	json_t *one;
	size_t i;

	for (d = ftd_devices; d; d = next) {
		next = d->next;
		if (!d->configured || wants(wanted, d->name))
			continue;
		d->configured = false;
		if (del(NULL, d, &err))
			ft_log(SD_WARNING, "%s: it stays, though the configuration does not have it any more; do that, and: "
			       "ftctl device del %s", err.text, d->name);
		devices_save();
	}
	json_array_foreach(wanted, i, one) {
		d = device_find(request_string(one, "name"));
		if (d)
			change(d, one);
		if (!device_find(request_string(one, "name")) && device_add(NULL, one, &err))
			ft_log(SD_WARNING, "device %s of the configuration: %s", request_string(one, "name"), err.text);
	}
}
