// SPDX-License-Identifier: GPL-2.0
/* ftctl device: disks and network cards of guests. */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include "ftctl.h"
#include "nl_dev.h"
#include "text.h"

/* --- show ------------------------------------------------------------------ */

static const char *text(json_t *json, const char *key)
{
	const char *t = json_string_value(json_object_get(json, key));

	return t ? t : "";
}

static bool is(json_t *json, const char *key)
{
	return json_is_true(json_object_get(json, key));
}

static json_t *stats_json(const struct ftdev *d)
{
	json_t *json = json_object();
	unsigned int i;

	for (i = 0; i <= FTKVM_DEV_STAT_MAX; i++)
		if (d->has_stat[i] && ft_dev_stat_name(i))
			json_object_set_new(json, ft_dev_stat_name(i), json_integer(d->stats[i]));
	return json;
}

static json_t *find(json_t *devices, const char *name)
{
	json_t *one;
	size_t i;

	json_array_foreach(devices, i, one)
		if (!strcmp(text(one, "name"), name))
			return one;
	return NULL;
}

/* Its storage on this host: "ok" or "failed"; what failed, and what that means. */
static void add_storage(json_t *one, const struct ftdev *d, const struct ftreplica *replicas,
			size_t nreplicas)
{
	bool failed = d->stats[FTKVM_DEV_STAT_FAILED];
	const struct ftreplica *r = NULL;
	json_t *what;
	size_t i;

	json_object_set_new(one, "storage", json_string(failed ? "failed" : "ok"));
	if (!failed)
		return;
	for (i = 0; i < nreplicas; i++)
		if (replicas[i].pid == d->pid)
			r = &replicas[i];
	what = json_string(d->storage_detail);
	json_object_set_new(one, "failure", what ? what : json_string("(not UTF-8)"));
	json_object_set_new(one, "meaning", json_string(ft_storage_meaning(r)));
}

/* What the module knows goes to what ftd does; ftd may know less of them. */
static void add_module(json_t *devices, const struct ftdev *list, size_t n,
		       const struct ftreplica *replicas, size_t nreplicas)
{
	size_t i;

	for (i = 0; i < n; i++) {
		const struct ftdev *d = &list[i];
		json_t *one = find(devices, d->name), *why = json_string(d->detail);

		if (!one) {
			one = json_pack("{s:s, s:b, s:s, s:i, s:i, s:b, s:b}", "name", d->name, "known", 0, "kind",
					ft_dev_kind_name(d->kind), "no", (int)d->no, "pid", (int)d->pid, "readonly",
					d->readonly, "shared", d->shared);
			json_array_append_new(devices, one);
		}
		json_object_set_new(one, "stats", stats_json(d));
		json_object_set_new(one, "broken", why ? why : json_string("(not UTF-8)"));
		if (d->kind == FTKVM_UAPI_DEV_BLK)
			add_storage(one, d, replicas, nreplicas);
	}
}

static void print_stats(json_t *stats)
{
	json_int_t in = 0, out = 0, requests = 0, errors = 0, pending = 0;
	char a[32], b[32], n[48];

	if (json_unpack(stats, "{s:I, s:I, s:I, s:I, s:I}", "in_bytes", &in, "out_bytes", &out, "requests",
			&requests, "errors", &errors, "pending", &pending))
		return;
	printf("    so far   %s, %s in, %s out", ft_format_count(requests, "request", n, sizeof(n)),
	       ft_format_bytes(in, a, sizeof(a)), ft_format_bytes(out, b, sizeof(b)));
	printf(", %s, %lld pending\n", ft_format_count(errors, "error", n, sizeof(n)), (long long)pending);
}

static void print_trouble(json_t *d)
{
	if (*text(d, "failure"))
		printf("    storage  FAILED on this host: %s\n             %s\n", text(d, "failure"),
		       text(d, "meaning"));
	if (*text(d, "broken"))
		printf("    broken   %s\n", text(d, "broken"));
}

/* How QEMU is told of it; its memory must be shared, but that is said in ftctl(8). */
static void print_next(json_t *d)
{
	bool blk = !strcmp(text(d, "kind"), "blk");
	const char *name = text(d, "name");

	printf("    NEXT     start QEMU with -chardev socket,id=%s,path=%s,reconnect=1 ", name,
	       text(d, "socket"));
	if (blk)
		printf("-device vhost-user-blk-pci,chardev=%s", name);
	else
		printf("-netdev vhost-user,id=n%s,chardev=%s -device virtio-net-pci,netdev=n%s,"
		       FT_CARD_OPTIONS ",mac=...", name, name, name);
	printf(", and its memory shared, once: " FT_MEMORY_OPTIONS "\n");
}

static void print_unknown(json_t *d)
{
	printf("%s: %s %lld of process %lld, which ftd does not know of\n", text(d, "name"),
	       !strcmp(text(d, "kind"), "blk") ? "disk" : "network card",
	       (long long)json_integer_value(json_object_get(d, "no")),
	       (long long)json_integer_value(json_object_get(d, "pid")));
	print_stats(json_object_get(d, "stats"));
	print_trouble(d);
	printf("    NEXT     add it as it was (ftctl device add %s ...), or end that QEMU\n", text(d, "name"));
}

static void print_device(json_t *d)
{
	bool blk = !strcmp(text(d, "kind"), "blk");
	bool connected = is(d, "connected"), silent = is(d, "silent");
	json_int_t no = json_integer_value(json_object_get(d, "no"));
	json_t *bytes = json_object_get(d, "bytes"), *queues = json_object_get(d, "queues");
	char size[32];

	printf("%s: %s %lld of guest %s, %s\n", text(d, "name"), blk ? "disk" : "network card", (long long)no,
	       text(d, "guest"), !connected || silent ? "waits for its QEMU" :
	       json_array_size(queues) ? "in use" : "its driver does not run");
	printf("    socket   %s%s%s\n", text(d, "socket"), *text(d, "user") ? ", for user " : "",
	       text(d, "user"));
	printf("    backend  %s%s%s", text(d, blk ? "file" : "tap"), is(d, "readonly") ? ", read-only" : "",
	       is(d, "shared") ? ", shared by both hosts" : "");
	if (bytes)
		printf(", %s", ft_format_bytes(json_integer_value(bytes), size, sizeof(size)));
	printf("\n");
	if (connected)
		printf("    QEMU     process %lld%s\n",
		       (long long)json_integer_value(json_object_get(d, "pid")),
		       silent ? ", which has said nothing yet" : "");
	print_stats(json_object_get(d, "stats"));
	print_trouble(d);
	if (*text(d, "trouble"))
		printf("    trouble  %s\n", text(d, "trouble"));
	else if (!connected)
		print_next(d);
}

/* One of them, or all: a new reference, or NULL with a text. */
static json_t *choose(json_t *devices, const char *name, struct fterr *err)
{
	json_t *one, *list;

	if (!name)
		return json_incref(devices);
	one = find(devices, name);
	if (one) {
		list = json_array();
		json_array_append(list, one);
		return list;
	}
	ft_fail(err, -ENOENT, "there is no device %s; \"ftctl device\" shows those there are", name);
	return NULL;
}

static int show(struct ftctl *ctl)
{
	json_t *answer, *all, *list, *one;
	struct ftreplica *replicas = NULL;
	struct ftdev *devs = NULL;
	struct fterr err, ignored;
	size_t n = 0, nreplicas = 0, i;

	answer = ftctl_ask(ctl, json_pack("{s:s}", "cmd", "devices"), &err);
	if (!answer)
		return ftctl_error(&err);
	all = json_object_get(answer, "devices");
	if (!json_is_array(all)) {
		json_decref(answer);
		ft_fail(&err, -EBADMSG, "what ftd answers makes no sense; are ftctl and ftd of the same version?");
		return ftctl_error(&err);
	}
	/* Without the module there is still what ftd knows. */
	ftnl_dump(&replicas, &nreplicas, &ignored);
	if (!ftnl_dev_dump(&devs, &n, &ignored))
		add_module(all, devs, n, replicas, nreplicas);
	free(devs);
	free(replicas);
	list = choose(all, ctl->name, &err);
	json_decref(answer);
	if (!list)
		return ftctl_error(&err);
	if (ctl->json)
		return ftctl_print_json(list);
	if (!json_array_size(list))
		printf("There is no device. To make one:\n"
		       "  ftctl device add NAME guest GUEST kind blk no 0 socket PATH file PATH\n");
	json_array_foreach(list, i, one) {
		if (i)
			putchar('\n');
		if (json_is_false(json_object_get(one, "known")))
			print_unknown(one);
		else
			print_device(one);
	}
	json_decref(list);
	return FTCTL_OK;
}

/* --- add, del -------------------------------------------------------------- */

static void said_add(const struct ftctl *ctl, json_t *answer)
{
	(void)answer;
	printf("Device %s waits for the QEMU of guest %s. How to tell that of it:\n  ftctl device show %s\n",
	       ctl->name, ctl->device.guest, ctl->name);
}

static void said_del(const struct ftctl *ctl, json_t *answer)
{
	(void)answer;
	printf("Device %s is gone.\n", ctl->name);
}

static int add_path(json_t *json, const char *key, const char *path, struct fterr *err)
{
	json_t *whole = ftctl_path(path, err);

	return whole ? json_object_set_new(json, key, whole) : err->code;
}

static int add_text(json_t *json, const char *key, const char *value, struct fterr *err)
{
	json_t *one = json_string(value);

	return one ? json_object_set_new(json, key, one) :
		     ft_fail(err, -EINVAL, "cannot tell ftd the %s \"%.100s\": it is not UTF-8", key, value);
}

static int add_user(json_t *json, const char *user, struct fterr *err)
{
	const struct passwd *pw = getpwnam(user);

	if (!pw)
		return ft_fail(err, -ENOENT, "there is no user %s on this host", user);
	json_object_set_new(json, "uid", json_integer(pw->pw_uid));
	return add_text(json, "user", user, err);
}

static int add(struct ftctl *ctl)
{
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:b, s:b, s:b}", "cmd", "device-add", "name", ctl->name,
				 "guest", ctl->device.guest, "kind", ctl->device.kind, "no",
				 (int)ctl->device.no, "readonly", ctl->device.readonly, "discard",
				 ctl->device.discard, "shared", ctl->device.shared);
	struct fterr err = { 0 };
	int ret;

	ret = add_path(json, "socket", ctl->device.socket, &err);
	if (!ret && ctl->device.file)
		ret = add_path(json, "file", ctl->device.file, &err);
	if (!ret && ctl->device.tap)
		ret = add_text(json, "tap", ctl->device.tap, &err);
	if (!ret && ctl->device.user)
		ret = add_user(json, ctl->device.user, &err);
	if (!ret)
		return ftctl_order(ctl, json, said_add);
	json_decref(json);
	ret = ftctl_error(&err);
	return err.code == -ENOENT ? ret : FTCTL_USAGE;
}

int cmd_device(struct ftctl *ctl)
{
	switch (ctl->verb) {
	case DEVICE_ADD:
		return add(ctl);
	case DEVICE_DEL:
		return ftctl_order(ctl, json_pack("{s:s, s:s}", "cmd", "device-del", "name", ctl->name),
				   said_del);
	case DEVICE_SYNC:
		return ftctl_device_sync(ctl);
	default:
		return show(ctl);
	}
}
