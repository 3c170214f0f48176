// SPDX-License-Identifier: GPL-2.0
/* What a device is, as JSON: in orders, in the list that is kept, and of the configuration. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "device.h"
#include "text.h"

json_t *device_config(const struct device *d)
{
	json_t *json = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s}", "name", d->name, "guest", d->guest,
				 "kind", ft_dev_kind_name(d->kind), "no", (int)d->no, "socket", d->socket,
				 d->kind == FTKVM_UAPI_DEV_BLK ? "file" : "tap", d->backend);

	json_object_set_new(json, "readonly", json_boolean(d->readonly));
	json_object_set_new(json, "discard", json_boolean(d->discard));
	json_object_set_new(json, "shared", json_boolean(d->shared));
	if (d->configured)
		json_object_set_new(json, "configured", json_true());
	if (*d->user) {
		json_object_set_new(json, "user", json_string(d->user));
		json_object_set_new(json, "uid", json_integer(d->uid));
	}
	return json;
}

static const char *word(json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

/* A text into @buf; -EINVAL if it is not there, or too long. */
static int take_text(json_t *request, const char *key, char *buf, size_t size, struct fterr *err)
{
	const char *text = word(request, key);

	if (!text || !*text || strlen(text) >= size)
		return ft_fail(err, -EINVAL, "a device needs \"%s\": 1 to %zu bytes", key, size - 1);
	strcpy(buf, text);
	return 0;
}

static int take_kind(struct device *d, json_t *request, struct fterr *err)
{
	const char *kind = word(request, "kind");
	json_t *no = json_object_get(request, "no");
	json_int_t v = json_integer_value(no);

	d->kind = !kind ? 0 : !strcmp(kind, "blk") ? FTKVM_UAPI_DEV_BLK : !strcmp(kind, "net") ?
		  FTKVM_UAPI_DEV_NET : 0;
	if (!d->kind)
		return ft_fail(err, -EINVAL, "a device is of kind blk or net");
	if (!json_is_integer(no) || v < 0 || v > FTKVM_DEV_NO_HIGHEST)
		return ft_fail(err, -EINVAL, "a device's number is 0 to %d, and the same on both hosts",
			       FTKVM_DEV_NO_HIGHEST);
	d->no = v;
	d->readonly = json_is_true(json_object_get(request, "readonly"));
	d->discard = json_is_true(json_object_get(request, "discard"));
	d->shared = json_is_true(json_object_get(request, "shared"));
	if (d->kind == FTKVM_UAPI_DEV_NET && (d->readonly || d->discard || d->shared))
		return ft_fail(err, -EINVAL, "only a disk can be read-only, discard or be shared");
	if (d->readonly && d->discard)
		return ft_fail(err, -EINVAL, "a read-only disk discards nothing");
	return 0;
}

/* Names of users are ftctl's to look up: that may take a while, and it may fail for a while. */
static int take_user(struct device *d, json_t *request, struct fterr *err)
{
	json_t *uid = json_object_get(request, "uid");
	json_int_t v = json_integer_value(uid);

	if (!json_object_get(request, "user"))
		return 0;
	if (!json_is_integer(uid) || v < 0 || v >= UINT32_MAX)
		return ft_fail(err, -EINVAL, "a device's \"user\" needs a \"uid\": a number");
	d->uid = v;
	return take_text(request, "user", d->user, sizeof(d->user), err);
}

static int take_config(struct device *d, json_t *request, struct fterr *err)
{
	int ret;

	if (!ft_name_ok(word(request, "name")))
		return ft_fail(err, -EINVAL, "a device's name is 1 to %d letters, digits, '-', '_' or '.', and "
			       "begins with a letter or digit", FTKVM_NAME_MAX);
	strcpy(d->name, word(request, "name"));
	if (!ft_name_ok(word(request, "guest")))
		return ft_fail(err, -EINVAL, "device %s: which guest's is it? It is named by \"guest\"", d->name);
	strcpy(d->guest, word(request, "guest"));
	ret = take_kind(d, request, err);
	if (!ret)
		ret = take_text(request, "socket", d->socket, sizeof(d->socket), err);
	if (!ret)
		ret = take_text(request, d->kind == FTKVM_UAPI_DEV_BLK ? "file" : "tap", d->backend,
				sizeof(d->backend), err);
	if (!ret)
		ret = take_user(d, request, err);
	if (ret)
		return ret;
	d->configured = json_is_true(json_object_get(request, "configured"));
	if (*d->socket != '/' || (d->kind == FTKVM_UAPI_DEV_BLK && *d->backend != '/'))
		return ft_fail(err, -EINVAL, "device %s: ftd needs absolute paths", d->name);
	return 0;
}

struct device *device_parse(json_t *config, struct fterr *err)
{
	struct device *d = calloc(1, sizeof(*d));

	if (!d) {
		ft_fail(err, -ENOMEM, "out of memory");
		return NULL;
	}
	d->listen_fd = -1;
	if (!take_config(d, config, err))
		return d;
	free(d);
	return NULL;
}
