// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/ftkvm.h>
#include "config.h"
#include "util.h"

#define TIMEOUT_MS	2000
#define LEASE_S		86400
#define HOOK_S		30

#define NUMBER_MAX	48	/* sections and keys, each */

/**
 * struct reading - a file that is being read
 * @c: gets what it says
 * @say, @arg: of ftconfig_read()
 * @section: that the line is in; NULL: in none that is known
 * @named: the line of the last section's name; 0: there was none yet
 * @seen: in which line each key was; 0: not yet
 * @bad: something was complained of
 * @oom: and something else went wrong
 */
struct reading {
	struct ftconfig *c;
	void (*say)(void *arg, const char *text);
	void *arg;
	const char *section;
	int line, named;
	int seen[NUMBER_MAX];
	bool bad, oom;
};

/* A key; @put takes the value or complains, and @at, @min, @max are for it. */
struct key {
	const char *section, *name;
	void (*put)(struct reading *r, const struct key *k, const char *value);
	size_t at;
	unsigned int min, max;
};

static void __printf(3, 4) complain(struct reading *r, int line, const char *fmt, ...)
{
	char where[32] = "", *cause, *text;
	va_list args;
	int ret;

	r->bad = true;
	if (line)
		snprintf(where, sizeof(where), "%d: ", line);
	va_start(args, fmt);
	ret = vasprintf(&cause, fmt, args);
	va_end(args);
	if (ret < 0) {
		r->oom = true;
		return;
	}
	if (asprintf(&text, "%s:%s%s", r->c->file, line ? where : " ", cause) < 0) {
		r->oom = true;
	} else {
		r->say(r->arg, text);
		free(text);
	}
	free(cause);
}

/* --- values ---------------------------------------------------------------- */

static char **text_at(struct reading *r, const struct key *k)
{
	return (char **)((char *)r->c + k->at);
}

static void put_text(struct reading *r, const struct key *k, const char *value)
{
	*text_at(r, k) = strdup(value);
	if (!*text_at(r, k))
		r->oom = true;
}

static void put_path(struct reading *r, const struct key *k, const char *value)
{
	if (*value != '/')
		complain(r, r->line, "%s = %s is not an absolute path; begin it with a slash, without quotes",
			 k->name, value);
	else
		put_text(r, k, value);
}

/* Of a file that has to be there; @remedy has its name in it. */
static bool good_file(struct reading *r, const struct key *k, const char *path, int mode, struct stat *st)
{
	const char *verb = mode == X_OK ? "be run" : "be read";

	if (*path != '/') {
		put_path(r, k, path);
		return false;
	}
	/* Files are read with ftd's capabilities; what it runs has none. */
	if (stat(path, st) || faccessat(AT_FDCWD, path, mode, mode == X_OK ? 0 : AT_EACCESS)) {
		complain(r, r->line, "%s = %s can't %s: %s; %s", k->name, path, verb, strerror(errno),
			 errno == ENOENT ? "make that file, or correct the path" :
			 mode == X_OK ? "chmod a+x it, where ftd's user reaches it" : "let ftd's user read it");
		return false;
	}
	if (!S_ISREG(st->st_mode)) {
		complain(r, r->line, "%s = %s is no file; give the path of one", k->name, path);
		return false;
	}
	return true;
}

static void put_readable(struct reading *r, const struct key *k, const char *value)
{
	struct stat st;

	if (good_file(r, k, value, R_OK, &st))
		put_text(r, k, value);
}

/* A password, or a private key. */
static void put_secret(struct reading *r, const struct key *k, const char *value)
{
	struct stat st;

	if (!good_file(r, k, value, R_OK, &st))
		return;
	if (st.st_mode & 0007)
		complain(r, r->line, "%s = %s is open to all users (mode %04o); chmod o= it, and renew what is in it",
			 k->name, value, st.st_mode & 07777);
	else if (!st.st_size)
		complain(r, r->line, "%s = %s is empty; write it", k->name, value);
	else
		put_text(r, k, value);
}

static void put_program(struct reading *r, const struct key *k, const char *value)
{
	struct stat st;

	if (good_file(r, k, value, X_OK, &st))
		put_text(r, k, value);
}

static void put_listen(struct reading *r, const struct key *k, const char *value)
{
	char host[256], port[8];

	if (ft_split_host(value, host, sizeof(host), port, sizeof(port), FT_PEER_PORT))
		complain(r, r->line, "listen = %s is no address; say ADDRESS, ADDRESS:PORT, [IPV6]:PORT or :PORT",
			 value);
	else
		put_text(r, k, value);
}

/* Not beyond this host unless somebody says so: the port has no default, the address may be left out. */
static void put_metrics(struct reading *r, const struct key *k, const char *value)
{
	char host[256], port[8];

	if (!strncmp(value, "unix:/", 6) ||
	    (strncmp(value, "unix:", 5) && !ft_split_host(value, host, sizeof(host), port, sizeof(port), "")))
		put_text(r, k, value);
	else
		complain(r, r->line, "listen = %s is no place for metrics; say ADDRESS:PORT, [IPV6]:PORT, :PORT or "
			 "unix:/PATH", value);
}

static void put_number(struct reading *r, const struct key *k, const char *value)
{
	unsigned long n;

	errno = 0;
	n = strtoul(value, NULL, 10);
	if (strspn(value, "0123456789") != strlen(value) || errno || n < k->min || n > k->max)
		complain(r, r->line, "%s = %s is out of range; give a number from %u to %u", k->name, value, k->min,
			 k->max);
	else
		*(unsigned int *)((char *)r->c + k->at) = n;
}

static void put_type(struct reading *r, const struct key *k, const char *value)
{
	(void)k;
	if (!strcmp(value, "manual"))
		r->c->arbiter.type = FTARBITER_MANUAL;
	else if (!strcmp(value, "file"))
		r->c->arbiter.type = FTARBITER_FILE;
	else if (!strcmp(value, "etcd"))
		r->c->arbiter.type = FTARBITER_ETCD;
	else
		complain(r, r->line, "there is no arbiter of type %s; say manual, file or etcd", value);
}

static void put_yes_no(struct reading *r, const struct key *k, const char *value)
{
	bool yes = !strcmp(value, "yes");

	if (!yes && strcmp(value, "no"))
		complain(r, r->line, "%s = %s is no choice; say yes or no", k->name, value);
	else
		*(bool *)((char *)r->c + k->at) = yes;
}

static void put_unreachable(struct reading *r, const struct key *k, const char *value)
{
	(void)k;
	if (!strcmp(value, "freeze"))
		r->c->arbiter.unreachable = FTUNREACHABLE_FREEZE;
	else if (!strcmp(value, "solo"))
		r->c->arbiter.unreachable = FTUNREACHABLE_SOLO;
	else
		complain(r, r->line, "when-unreachable = %s is no choice; say freeze or solo", value);
}

static void put_shared(struct reading *r, const struct key *k, const char *value)
{
	(void)k;
	if (!strcmp(value, "hook"))
		r->c->fence.shared_unfenced = false;
	else if (!strcmp(value, "unfenced"))
		r->c->fence.shared_unfenced = true;
	else
		complain(r, r->line, "shared-disks = %s is no choice; say hook or unfenced", value);
}

static void append(struct reading *r, char ***list, size_t *n, const char *text)
{
	char **more = reallocarray(*list, *n + 1, sizeof(*more));

	if (more) {
		*list = more;
		more[*n] = strdup(text);
	}
	if (!more || !more[*n])
		r->oom = true;
	else
		++*n;
}

static void put_security(struct reading *r, const struct key *k, const char *value)
{
	(void)k;
	if (!strcmp(value, "tls"))
		r->c->link.security = FTLINK_TLS;
	else if (!strcmp(value, "psk"))
		r->c->link.security = FTLINK_PSK;
	else if (!strcmp(value, "plain"))
		r->c->link.security = FTLINK_PLAIN;
	else
		complain(r, r->line, "there is no security = %s; say tls, psk or plain", value);
}

static void put_endpoint(struct reading *r, char *url)
{
	size_t len = strlen(url), scheme = !strncmp(url, "https://", 8) ? 8 : !strncmp(url, "http://", 7) ? 7 : 0;

	while (len && url[len - 1] == '/')
		url[--len] = '\0';
	/* A user in it would be in every message, and etcd does not take one so. */
	if (!scheme || len <= scheme || strpbrk(url + scheme, "/@?# \t\"'")) {
		complain(r, r->line, "\"%s\" is no endpoint of etcd; say https://HOST:2379, more of them behind commas",
			 url);
		return;
	}
	append(r, &r->c->arbiter.endpoints, &r->c->arbiter.n_endpoints, url);
}

/* Each of those between commas. */
static void put_each(struct reading *r, const char *value, void (*put)(struct reading *r, char *one))
{
	char *copy = strdup(value), *rest = copy, *one;

	if (!copy)
		r->oom = true;
	while ((one = strsep(&rest, ","))) {
		size_t len;

		one += strspn(one, " \t");
		for (len = strlen(one); len && isspace((unsigned char)one[len - 1]); len--)
			one[len - 1] = '\0';
		put(r, one);
	}
	free(copy);
}

static void put_endpoints(struct reading *r, const struct key *k, const char *value)
{
	(void)k;
	put_each(r, value, put_endpoint);
}

static void put_host(struct reading *r, char *host)
{
	char name[256], port[8];

	if (ft_split_host(host, name, sizeof(name), port, sizeof(port), FT_PEER_PORT) || !*name)
		complain(r, r->line, "standby: \"%s\" is no host; say HOST or HOST:PORT, more of them behind commas", host);
	else
		append(r, &r->c->guests.standby, &r->c->guests.n_standby, host);
}

static void put_second(struct reading *r, const struct key *k, const char *value)
{
	char name[256], port[8];

	if (ft_split_host(value, name, sizeof(name), port, sizeof(port), FT_PEER_PORT) || !*name)
		complain(r, r->line, "second = %s is no host; say HOST or HOST:PORT, by another way than the link's", value);
	else
		put_text(r, k, value);
}

static void put_standby(struct reading *r, const struct key *k, const char *value)
{
	(void)k;
	put_each(r, value, put_host);
}

/* --- keys ------------------------------------------------------------------ */

/* Those of which others, or their lines, are spoken of. */
enum {
	TYPE, PATH, ENDPOINTS, CA, CERT, KEY, USER, PASSWORD, HOOK, HOOK_TIME,
	SHARED_DISKS, SECURITY, LINK_CA, LINK_CERT, LINK_KEY, PEER_NAME, PSK_FILE, NAMED,
};

#define AT(member)	.at = offsetof(struct ftconfig, member)

static const struct key keys[] = {
	[TYPE] = { "arbiter", "type", put_type, 0, 0, 0 },
	[PATH] = { "arbiter", "path", put_path, AT(arbiter.path) },
	[ENDPOINTS] = { "arbiter", "endpoints", put_endpoints, 0, 0, 0 },
	[CA] = { "arbiter", "ca", put_readable, AT(arbiter.ca) },
	[CERT] = { "arbiter", "cert", put_readable, AT(arbiter.cert) },
	[KEY] = { "arbiter", "key", put_secret, AT(arbiter.key) },
	[USER] = { "arbiter", "user", put_text, AT(arbiter.user) },
	[PASSWORD] = { "arbiter", "password-file", put_secret, AT(arbiter.password_file) },
	[HOOK] = { "fence", "hook", put_program, AT(fence.hook) },
	[HOOK_TIME] = { "fence", "timeout-s", put_number, AT(fence.timeout_s), .min = 1, .max = 3600 },
	[SHARED_DISKS] = { "fence", "shared-disks", put_shared, 0, 0, 0 },
	[SECURITY] = { "link", "security", put_security, 0, 0, 0 },
	[LINK_CA] = { "link", "ca", put_readable, AT(link.ca) },
	[LINK_CERT] = { "link", "cert", put_readable, AT(link.cert) },
	[LINK_KEY] = { "link", "key", put_secret, AT(link.key) },
	[PEER_NAME] = { "link", "peer-name", put_text, AT(link.peer_name) },
	[PSK_FILE] = { "link", "psk-file", put_secret, AT(link.psk_file) },
	{ "link", "timeout-ms", put_number, AT(link.timeout_ms), .min = FTKVM_TIMEOUT_LOWEST,
	  .max = FTKVM_TIMEOUT_HIGHEST },
	{ "link", "second", put_second, AT(link.second) },
	{ "arbiter", "timeout-ms", put_number, AT(arbiter.timeout_ms), .min = 100, .max = 60000 },
	{ "arbiter", "lease-s", put_number, AT(arbiter.lease_s), .min = 2, .max = 31536000 },
	{ "arbiter", "when-unreachable", put_unreachable, 0, 0, 0 },
	{ "guests", "start", put_yes_no, AT(guests.start) },
	{ "guests", "protect-again", put_yes_no, AT(guests.protect_again) },
	{ "guests", "standby", put_standby, 0, 0, 0 },
	{ "ftd", "control", put_path, AT(control) },
	{ "ftd", "listen", put_listen, AT(listen) },
	{ "ftd", "state", put_path, AT(state) },
	{ "metrics", "listen", put_metrics, AT(metrics.listen) },
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
			complain(r, r->line, "%s is given in line %d already; leave one of them out", name, r->seen[i]);
			return;
		}
		r->seen[i] = r->line;
		if (!*value)
			complain(r, r->line, "%s has no value; give it one, or leave it out", name);
		else
			keys[i].put(r, &keys[i], value);
		return;
	}
	if (elsewhere)
		complain(r, r->line, "[%s] has no key %s; it belongs to [%s]", r->section, name, elsewhere);
	else
		complain(r, r->line, "[%s] has no key %s; see ftd(8), CONFIGURATION, for those that there are",
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
			complain(r, line, "%s is of no use without security; add security = %s", name, words[parts[i].of]);
		else if (!line && parts[i].wanted && parts[i].of == now)
			complain(r, r->seen[SECURITY], "security = %s has no %s; add %s = %s", words[now], name, name,
				 parts[i].what);
		else if (line && now && parts[i].of != now && now != FTLINK_PLAIN)
			complain(r, line, "%s is not for security = %s; say security = %s, or leave it out", name, words[now],
				 words[parts[i].of]);
	}
}

/* What only all of it together tells. */
static void check_together(struct reading *r)
{
	static const struct {
		int key;
		enum ftarbiter_type type;
	} of[] = {
		{ PATH, FTARBITER_FILE }, { ENDPOINTS, FTARBITER_ETCD }, { CA, FTARBITER_ETCD },
		{ CERT, FTARBITER_ETCD }, { KEY, FTARBITER_ETCD }, { USER, FTARBITER_ETCD },
		{ PASSWORD, FTARBITER_ETCD },
	};
	static const int with[][2] = { { CERT, KEY }, { KEY, CERT }, { USER, PASSWORD }, { PASSWORD, USER } };
	static const char *const types[] = { "manual", "file", "etcd" };
	enum ftarbiter_type type = r->c->arbiter.type;
	const int *seen = r->seen;
	size_t i;

	if (type == FTARBITER_FILE && !seen[PATH])
		complain(r, seen[TYPE], "type = file has no path; add path = DIRECTORY that both hosts reach");
	if (type == FTARBITER_ETCD && !seen[ENDPOINTS])
		complain(r, seen[TYPE], "type = etcd has no endpoints; add endpoints = https://HOST:2379");
	for (i = 0; i < ARRAY_SIZE(of); i++) {
		/* Who says "manual" may leave the rest there for later. */
		if (!seen[of[i].key] || of[i].type == type || (seen[TYPE] && type == FTARBITER_MANUAL))
			continue;
		complain(r, seen[of[i].key], "%s is not for an arbiter of type %s; say type = %s, or leave it out",
			 keys[of[i].key].name, types[type], types[of[i].type]);
	}
	for (i = 0; i < ARRAY_SIZE(with); i++) {
		if (seen[with[i][0]] && !seen[with[i][1]])
			complain(r, seen[with[i][0]], "%s is of no use without %s; add it", keys[with[i][0]].name,
				 keys[with[i][1]].name);
	}
	for (i = 0; seen[CA] && i < r->c->arbiter.n_endpoints; i++) {
		if (!strncmp(r->c->arbiter.endpoints[i], "http:", 5))
			complain(r, seen[ENDPOINTS], "%s is without TLS, but there is ca; say https://, or leave ca out",
				 r->c->arbiter.endpoints[i]);
	}
	if (seen[HOOK_TIME] && !seen[HOOK])
		complain(r, seen[HOOK_TIME], "timeout-s is of no use without hook; add it");
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
	return buf;
}

static void begin_section(struct reading *r, char *text)
{
	char all[256];
	char *end = strchr(text, ']');
	size_t i;

	r->section = NULL;
	r->named = r->line;
	if (!end || end[1]) {
		complain(r, r->line, "\"%s\" is no section; say [NAME], and nothing else in that line", text);
		return;
	}
	*end = '\0';
	for (i = 0; i < ARRAY_SIZE(keys) && !r->section; i++)
		if (!strcmp(keys[i].section, text + 1))
			r->section = keys[i].section;
	if (!r->section)
		complain(r, r->line, "there is no section [%s]; there are %s", text + 1,
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
		complain(r, r->line, "there is a control character in this line; take it out");
		return;
	}
	if (*text == '[') {
		begin_section(r, text);
		return;
	}
	equals = strchr(text, '=');
	if (!equals || equals == text) {
		complain(r, r->line, "\"%s\" makes no sense; say [SECTION], KEY = VALUE, or # COMMENT", text);
		return;
	}
	/* What is meant for a comment would be part of a path. */
	for (c = equals + 1; (c = strpbrk(c, "#;")); c++) {
		if (c[-1] != ' ' && c[-1] != '\t')
			continue;
		complain(r, r->line, "there is a comment behind a value; give it a line of its own");
		return;
	}
	*equals = '\0';
	if (r->section)
		put_key(r, strip(text), strip(equals + 1));
	else if (!r->named)
		complain(r, r->line, "%s is in no section; say one of %s before it", strip(text),
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
			complain(r, r->line, "there is a NUL in this line; take it out");
		else
			read_line(r, line);
		errno = 0;
	}
	if (!r->oom && !feof(file))
		ret = errno ? -errno : -EIO;
	free(line);
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
	if (r.c)
		r.c->file = strdup(path ? path : FT_CONFIG_FILE);
	if (!r.c || !r.c->file) {
		free(r.c);
		say(arg, "no memory for the configuration");
		return -ENOMEM;
	}
	r.c->arbiter.timeout_ms = TIMEOUT_MS;
	r.c->arbiter.lease_s = LEASE_S;
	r.c->fence.timeout_s = HOOK_S;

	file = fopen(r.c->file, "re");
	if (file) {
		r.c->there = true;
		ret = read_file(&r, file);
		fclose(file);
	} else if (path || errno != ENOENT) {
		ret = -errno;
	}
	if (ret)
		complain(&r, 0, "cannot be read: %s; correct the path, or what is in its way", strerror(-ret));
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
