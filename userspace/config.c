// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/ftkvm.h>
#include "config_internal.h"
#include "util.h"

#define TIMEOUT_MS	2000
#define LEASE_S		86400
#define HOOK_S		30
#define STANDBY_S	30
#define AT_ONCE		2

/* --- keys ------------------------------------------------------------------ */

/* Those of which others, or their lines, are spoken of. */
enum {
	TYPE, PATH, HOST_ID, ENDPOINTS, CA, CERT, KEY, USER, PASSWORD, HOOK, HOOK_TIME,
	SHARED_DISKS, SECURITY, LINK_CA, LINK_CERT, LINK_KEY, PEER_NAME, PSK_FILE, NAMED,
};

#define AT(member)	.at = offsetof(struct ftconfig, member)

static const struct key keys[] = {
	[TYPE] = { "arbiter", "type", config_put_type, 0, 0, 0 },
	[PATH] = { "arbiter", "path", config_put_path, AT(arbiter.path) },
	[HOST_ID] = { "arbiter", "host-id", config_put_number, AT(arbiter.host_id), .min = 1, .max = 2000 },
	[ENDPOINTS] = { "arbiter", "endpoints", config_put_endpoints, 0, 0, 0 },
	[CA] = { "arbiter", "ca", config_put_readable, AT(arbiter.ca) },
	[CERT] = { "arbiter", "cert", config_put_readable, AT(arbiter.cert) },
	[KEY] = { "arbiter", "key", config_put_secret, AT(arbiter.key) },
	[USER] = { "arbiter", "user", config_put_text, AT(arbiter.user) },
	[PASSWORD] = { "arbiter", "password-file", config_put_secret, AT(arbiter.password_file) },
	[HOOK] = { "fence", "hook", config_put_program, AT(fence.hook) },
	[HOOK_TIME] = { "fence", "timeout-s", config_put_number, AT(fence.timeout_s), .min = 1, .max = 3600 },
	[SHARED_DISKS] = { "fence", "shared-disks", config_put_shared, 0, 0, 0 },
	[SECURITY] = { "link", "security", config_put_security, 0, 0, 0 },
	[LINK_CA] = { "link", "ca", config_put_readable, AT(link.ca) },
	[LINK_CERT] = { "link", "cert", config_put_readable, AT(link.cert) },
	[LINK_KEY] = { "link", "key", config_put_secret, AT(link.key) },
	[PEER_NAME] = { "link", "peer-name", config_put_text, AT(link.peer_name) },
	[PSK_FILE] = { "link", "psk-file", config_put_secret, AT(link.psk_file) },
	{ "link", "timeout-ms", config_put_number, AT(link.timeout_ms), .min = FTKVM_TIMEOUT_LOWEST,
	  .max = FTKVM_TIMEOUT_HIGHEST },
	{ "link", "second", config_put_second, AT(link.second) },
	{ "arbiter", "timeout-ms", config_put_number, AT(arbiter.timeout_ms), .min = 100, .max = 60000 },
	{ "arbiter", "lease-s", config_put_number, AT(arbiter.lease_s), .min = 2, .max = 31536000 },
	{ "arbiter", "when-unreachable", config_put_unreachable, 0, 0, 0 },
	{ "guests", "start", config_put_yes_no, AT(guests.start) },
	{ "guests", "protect-again", config_put_yes_no, AT(guests.protect_again) },
	{ "guests", "standby", config_put_standby, 0, 0, 0 },
	{ "guests", "standby-after-s", config_put_number, AT(guests.standby_after_s), .min = 0, .max = 86400 },
	{ "guests", "protect-again-at-once", config_put_number, AT(guests.at_once), .min = 1, .max = 1000 },
	{ "ftd", "control", config_put_path, AT(control) },
	{ "ftd", "listen", config_put_listen, AT(listen) },
	{ "ftd", "state", config_put_path, AT(state) },
	{ "metrics", "listen", config_put_metrics, AT(metrics.listen) },
};

/* seen[] is long enough. */
static_assert(ARRAY_SIZE(keys) <= NUMBER_MAX);

static void put_key(struct reading *r, const char *name, const char *value)
{
	const char *elsewhere = NULL;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].name, name))
			continue;
		if (strcmp(keys[i].section, r->section)) {
			elsewhere = keys[i].section;
			continue;
		}
		if (r->seen[i]) {
			config_complain(r, r->line, "%s is given in line %d already; leave one of them out", name,
					r->seen[i]);
			return;
		}
		r->seen[i] = r->line;
		if (!*value)
			config_complain(r, r->line, "%s has no value; give it one, or leave it out", name);
		else
			keys[i].put(r, &keys[i], value);
		return;
	}
	if (elsewhere)
		config_complain(r, r->line, "[%s] has no key %s; it belongs to [%s]", r->section, name, elsewhere);
	else
		config_complain(r, r->line, "[%s] has no key %s; see ftd(8), CONFIGURATION, for those that there are",
				r->section, name);
}

/* [link]: what each security wants, and what is for another one. */
static void check_link(struct reading *r)
{
	static const char *const words[] = { "", "tls", "psk", "plain" };
	static const struct {
		int key;
		enum ftlink_security of;
		bool wanted;
		const char *what;
	} parts[] = {
		{ LINK_CA, FTLINK_TLS, true, "FILE, the certificate of who signs both hosts'" },
		{ LINK_CERT, FTLINK_TLS, true, "FILE, this host's certificate" },
		{ LINK_KEY, FTLINK_TLS, true, "FILE, its private key" },
		{ PEER_NAME, FTLINK_TLS, false, "" },
		{ PSK_FILE, FTLINK_PSK, true, "FILE, a key that both hosts have" },
	};
	enum ftlink_security now = r->c->link.security;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		const char *name = keys[parts[i].key].name;
		int line = r->seen[parts[i].key];

		if (line && !r->seen[SECURITY])
			config_complain(r, line, "%s is of no use without security; add security = %s", name,
					words[parts[i].of]);
		else if (!line && parts[i].wanted && parts[i].of == now)
			config_complain(r, r->seen[SECURITY], "security = %s has no %s; add %s = %s", words[now], name, name,
					parts[i].what);
		else if (line && now && parts[i].of != now && now != FTLINK_PLAIN)
			config_complain(r, line, "%s is not for security = %s; say security = %s, or leave it out", name,
					words[now], words[parts[i].of]);
	}
}

/* What only all of it together tells. */
static void check_together(struct reading *r)
{
	static const struct {
		int key;
		enum ftarbiter_type type;
	} of[] = {
		{ PATH, FTARBITER_FILE }, { HOST_ID, FTARBITER_SANLOCK }, { ENDPOINTS, FTARBITER_ETCD }, { CA, FTARBITER_ETCD },
		{ CERT, FTARBITER_ETCD }, { KEY, FTARBITER_ETCD }, { USER, FTARBITER_ETCD },
		{ PASSWORD, FTARBITER_ETCD },
	};
	static const int with[][2] = { { CERT, KEY }, { KEY, CERT }, { USER, PASSWORD }, { PASSWORD, USER } };
	static const char *const types[] = { "manual", "file", "etcd", "sanlock" };
	enum ftarbiter_type type = r->c->arbiter.type;
	const int *seen = r->seen;
	size_t i;

	if (type == FTARBITER_FILE && !seen[PATH])
		config_complain(r, seen[TYPE], "type = file has no path; add path = DIRECTORY that both hosts reach");
	if (type == FTARBITER_ETCD && !seen[ENDPOINTS])
		config_complain(r, seen[TYPE], "type = etcd has no endpoints; add endpoints = https://HOST:2379");
	if (type == FTARBITER_SANLOCK && !seen[PATH])
		config_complain(r, seen[TYPE], "type = sanlock has no path; add path = DEVICE that both hosts reach");
	if (type == FTARBITER_SANLOCK && !seen[HOST_ID])
		config_complain(r, seen[TYPE], "type = sanlock has no host-id; add host-id = NUMBER, another one on each host");
	for (i = 0; i < ARRAY_SIZE(of); i++) {
		if (of[i].key == PATH && type == FTARBITER_SANLOCK)
			continue;
		/* Who says "manual" may leave the rest there for later. */
		if (!seen[of[i].key] || of[i].type == type || (seen[TYPE] && type == FTARBITER_MANUAL))
			continue;
		config_complain(r, seen[of[i].key], "%s is not for an arbiter of type %s; say type = %s, or leave it out",
				keys[of[i].key].name, types[type], types[of[i].type]);
	}
	for (i = 0; i < ARRAY_SIZE(with); i++) {
		if (seen[with[i][0]] && !seen[with[i][1]])
			config_complain(r, seen[with[i][0]], "%s is of no use without %s; add it", keys[with[i][0]].name,
					keys[with[i][1]].name);
	}
	for (i = 0; seen[CA] && i < r->c->arbiter.n_endpoints; i++) {
		if (!strncmp(r->c->arbiter.endpoints[i], "http:", 5))
			config_complain(r, seen[ENDPOINTS], "%s is without TLS, but there is ca; say https://, or leave ca out",
					r->c->arbiter.endpoints[i]);
	}
	if (seen[HOOK_TIME] && !seen[HOOK])
		config_complain(r, seen[HOOK_TIME], "timeout-s is of no use without hook; add it");
	check_link(r);
}

/* --- lines ----------------------------------------------------------------- */

static char *strip(char *text)
{
	size_t len;

	text += strspn(text, " \t\r\n");
	for (len = strlen(text); len && isspace((unsigned char)text[len - 1]); len--)
		text[len - 1] = '\0';
	return text;
}

/* "[arbiter], [fence], ...": each once, though its keys need not be side by side */
static const char *all_sections(char *buf, size_t size)
{
	size_t at = 0, i, k;

	for (i = 0; i < ARRAY_SIZE(keys) && at < size; i++) {
		for (k = 0; k < i && strcmp(keys[k].section, keys[i].section); k++)
			;
		if (k == i)
			at += snprintf(buf + at, size - at, "%s[%s]", at ? ", " : "", keys[i].section);
	}
	if (at < size)
		snprintf(buf + at, size - at, ", [device NAME]");
	return buf;
}

static void begin_section(struct reading *r, char *text)
{
	static const char device[] = "device ";
	char all[256];
	char *end = strchr(text, ']');
	size_t i;

	config_device_end(r);
	r->section = NULL;
	r->named = r->line;
	if (!end || end[1]) {
		config_complain(r, r->line, "\"%s\" is no section; say [NAME], and nothing else in that line", text);
		return;
	}
	*end = '\0';
	if (!strncmp(text + 1, device, strlen(device))) {
		config_device_begin(r, text + 1 + strlen(device));
		return;
	}
	for (i = 0; i < ARRAY_SIZE(keys) && !r->section; i++)
		if (!strcmp(keys[i].section, text + 1))
			r->section = keys[i].section;
	if (!r->section)
		config_complain(r, r->line, "there is no section [%s]; there are %s", text + 1,
				all_sections(all, sizeof(all)));
}

static void read_line(struct reading *r, char *text)
{
	char all[256];
	char *equals, *c;

	text = strip(text);
	if (!*text || *text == '#' || *text == ';')
		return;
	for (c = text; *c; c++) {
		if (!iscntrl((unsigned char)*c) || *c == '\t')
			continue;
		config_complain(r, r->line, "there is a control character in this line; take it out");
		return;
	}
	if (*text == '[') {
		begin_section(r, text);
		return;
	}
	equals = strchr(text, '=');
	if (!equals || equals == text) {
		config_complain(r, r->line, "\"%s\" makes no sense; say [SECTION], KEY = VALUE, or # COMMENT", text);
		return;
	}
	/* What is meant for a comment would be part of a path. */
	for (c = equals + 1; (c = strpbrk(c, "#;")); c++) {
		if (c[-1] != ' ' && c[-1] != '\t')
			continue;
		config_complain(r, r->line, "there is a comment behind a value; give it a line of its own");
		return;
	}
	*equals = '\0';
	if (r->device)
		config_device_put(r, strip(text), strip(equals + 1));
	else if (r->section)
		put_key(r, strip(text), strip(equals + 1));
	else if (!r->named)
		config_complain(r, r->line, "%s is in no section; say one of %s before it", strip(text),
				all_sections(all, sizeof(all)));
	/* else that section was complained of */
}

static int read_file(struct reading *r, FILE *file)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int ret = 0;

	errno = 0;
	while (!r->oom && (len = getline(&line, &size, file)) >= 0) {
		r->line++;
		if (strlen(line) != (size_t)len)
			config_complain(r, r->line, "there is a NUL in this line; take it out");
		else
			read_line(r, line);
		errno = 0;
	}
	if (!r->oom && !feof(file))
		ret = errno ? -errno : -EIO;
	free(line);
	config_device_end(r);
	return r->oom ? -ENOMEM : ret;
}

void ftconfig_free(struct ftconfig *c)
{
	size_t i;

	if (!c)
		return;
	for (i = 0; i < c->arbiter.n_endpoints; i++)
		free(c->arbiter.endpoints[i]);
	free(c->arbiter.endpoints);
	for (i = 0; i < c->guests.n_standby; i++)
		free(c->guests.standby[i]);
	free(c->guests.standby);
	free(c->file);
	free(c->control);
	free(c->listen);
	free(c->state);
	free(c->arbiter.path);
	free(c->arbiter.ca);
	free(c->arbiter.cert);
	free(c->arbiter.key);
	free(c->arbiter.user);
	free(c->arbiter.password_file);
	free(c->fence.hook);
	free(c->metrics.listen);
	free(c->link.ca);
	free(c->link.cert);
	free(c->link.key);
	free(c->link.peer_name);
	free(c->link.psk_file);
	free(c->link.second);
	json_decref(c->devices);
	free(c);
}

int ftconfig_read(const char *path, struct ftconfig **config,
		  void (*say)(void *arg, const char *text), void *arg)
{
	struct reading r = { .say = say, .arg = arg };
	FILE *file;
	int ret = 0;

	*config = NULL;
	r.c = calloc(1, sizeof(*r.c));
	if (r.c) {
		r.c->file = strdup(path ? path : FT_CONFIG_FILE);
		r.c->devices = json_array();
	}
	if (!r.c || !r.c->file || !r.c->devices) {
		ftconfig_free(r.c);
		say(arg, "no memory for the configuration");
		return -ENOMEM;
	}
	r.c->arbiter.timeout_ms = TIMEOUT_MS;
	r.c->arbiter.lease_s = LEASE_S;
	r.c->fence.timeout_s = HOOK_S;
	r.c->guests.standby_after_s = STANDBY_S;
	r.c->guests.at_once = AT_ONCE;

	file = fopen(r.c->file, "re");
	if (file) {
		r.c->there = true;
		ret = read_file(&r, file);
		fclose(file);
	} else if (path || errno != ENOENT) {
		ret = -errno;
	}
	if (ret)
		config_complain(&r, 0, "cannot be read: %s; correct the path, or what is in its way", strerror(-ret));
	else
		check_together(&r);
	if (!ret && r.oom)
		ret = -ENOMEM;
	if (!ret && r.bad)
		ret = -EINVAL;
	if (ret)
		ftconfig_free(r.c);
	else
		*config = r.c;
	return ret;
}
