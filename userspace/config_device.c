// SPDX-License-Identifier: GPL-2.0
/* [device NAME] of ftd's configuration: what else is said by "ftctl device add NAME". */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include "config_internal.h"
#include "device.h"

static void complain(struct reading *r, const char *fmt, const char *name, const char *value)
{
	r->device_bad = true;
	config_complain(r, r->line, fmt, name, value);
}

static void put_word(struct reading *r, const char *name, const char *value)
{
	/* ftd and ftctl tell each other in JSON */
	if (json_object_set_new(r->device, name, json_string(value)))
		complain(r, "%s = %s is not UTF-8; give it a name that is", name, value);
}

static void put_no(struct reading *r, const char *name, const char *value)
{
	char *end;
	long no = strtol(value, &end, 10);

	if (value[strspn(value, "0123456789")] || *end || no > FTKVM_DEV_NO_HIGHEST)
		complain(r, "%s = %s is no device's number; give a number from 0 on, the same on both hosts, as ftctl(8) has it",
			 name, value);
	else
		json_object_set_new(r->device, name, json_integer(no));
}

static void put_flag(struct reading *r, const char *name, const char *value)
{
	if (strcmp(value, "yes") && strcmp(value, "no"))
		complain(r, "%s = %s is no choice; say yes or no", name, value);
	else
		json_object_set_new(r->device, name, json_boolean(!strcmp(value, "yes")));
}

static void put_user(struct reading *r, const char *name, const char *value)
{
	char buf[4096];
	struct passwd pw, *found = NULL;
	int ret = getpwnam_r(value, &pw, buf, sizeof(buf), &found);

	if (!found) {
		complain(r, ret ? "%s = %s can't be looked up now; try again, or leave it out" :
			 "%s = %s is no user of this host; correct it, or leave it out", name, value);
		return;
	}
	put_word(r, name, value);
	json_object_set_new(r->device, "uid", json_integer(pw.pw_uid));
}

static const struct {
	const char *name;
	void (*put)(struct reading *r, const char *name, const char *value);
} keys[] = {
	{ "guest", put_word },
	{ "kind", put_word },
	{ "no", put_no },
	{ "socket", put_word },
	{ "file", put_word },
	{ "tap", put_word },
	{ "readonly", put_flag },
	{ "discard", put_flag },
	{ "shared", put_flag },
	{ "user", put_user },
};

void config_device_put(struct reading *r, const char *name, const char *value)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys) && strcmp(keys[i].name, name); i++)
		;
	if (i == ARRAY_SIZE(keys))
		complain(r, "[device] has no key %s%s; see ftd(8), CONFIGURATION, for those that there are", name, "");
	else if (json_object_get(r->device, name))
		complain(r, "%s%s is given in this section already; leave one of them out", name, "");
	else if (!*value)
		complain(r, "%s has no value%s; give it one, or leave it out", name, "");
	else
		keys[i].put(r, name, value);
}

void config_device_begin(struct reading *r, const char *name)
{
	json_t *one;
	size_t i;

	if (!ft_name_ok(name)) {
		config_complain(r, r->line, "\"%s\" is no device's name; say one of letters, digits, '-', '_' and '.'", name);
		return;
	}
	json_array_foreach(r->c->devices, i, one) {
		if (strcmp(json_string_value(json_object_get(one, "name")), name))
			continue;
		config_complain(r, r->line, "there is a [device %s] already; leave one of them out", name);
		return;
	}
	r->device = json_pack("{s:s, s:b}", "name", name, "configured", 1);
	r->device_line = r->line;
	r->device_bad = false;
	if (!r->device)
		r->oom = true;
}

/* What no two devices may have in common. */
static bool unique(struct reading *r, json_t *config)
{
	const char *name = json_string_value(json_object_get(config, "name"));
	json_t *one;
	size_t i;

	json_array_foreach(r->c->devices, i, one) {
		bool socket = json_equal(json_object_get(one, "socket"), json_object_get(config, "socket"));
		bool number = json_equal(json_object_get(one, "guest"), json_object_get(config, "guest")) &&
			      json_equal(json_object_get(one, "no"), json_object_get(config, "no"));

		if (!socket && !number)
			continue;
		config_complain(r, r->device_line, "devices %s and %s have the same %s; give one of them another",
				json_string_value(json_object_get(one, "name")), name,
				socket ? "socket" : "guest and number");
		return false;
	}
	return true;
}

void config_device_end(struct reading *r)
{
	struct device *d = NULL;
	struct fterr err;
	json_t *config;

	if (!r->device)
		return;
	if (!r->device_bad) {
		d = device_parse(r->device, &err);
		if (!d)
			config_complain(r, r->device_line, "%s; see ftd(8), CONFIGURATION", err.text);
	}
	if (d && json_object_get(r->device, d->kind == FTKVM_UAPI_DEV_BLK ? "tap" : "file")) {
		config_complain(r, r->device_line, "device %s: a disk has a file, a card has a tap; leave the other out",
				d->name);
	} else if (d) {
		config = device_config(d);
		if (unique(r, config))
			json_array_append(r->c->devices, config);
		json_decref(config);
	}
	free(d);
	json_decref(r->device);
	r->device = NULL;
}
