// SPDX-License-Identifier: GPL-2.0
/* What may be said in ftd's configuration: the values of its keys, one by one. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/ftkvm.h>
#include <sys/stat.h>
#include "config_internal.h"
#include "util.h"

void config_complain(struct reading *r, int line, const char *fmt, ...)
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

static char **text_at(struct reading *r, const struct key *k)
{
	return (char **)((char *)r->c + k->at);
}

/* What is kept of it, and told to other hosts, is JSON. */
static bool good_text(struct reading *r, const struct key *k, const char *value)
{
	json_t *json = json_string(value), *shown = json ? NULL : ft_text_json(value);

	if (!json)
		config_complain(r, r->line, "%s = %s is not UTF-8; write it so", k->name, json_string_value(shown));
	json_decref(shown);
	json_decref(json);
	return json;
}

void config_put_text(struct reading *r, const struct key *k, const char *value)
{
	if (!good_text(r, k, value))
		return;
	*text_at(r, k) = strdup(value);
	if (!*text_at(r, k))
		r->oom = true;
}

void config_put_path(struct reading *r, const struct key *k, const char *value)
{
	if (*value != '/')
		config_complain(r, r->line, "%s = %s is not an absolute path; begin it with a slash, without quotes",
				k->name, value);
	else
		config_put_text(r, k, value);
}

/* Of a file that has to be there; @remedy has its name in it. */
static bool good_file(struct reading *r, const struct key *k, const char *path, int mode, struct stat *st)
{
	const char *verb = mode == X_OK ? "be run" : "be read";

	if (*path != '/') {
		config_put_path(r, k, path);
		return false;
	}
	/* Files are read with ftd's capabilities; what it runs has none. */
	if (stat(path, st) || faccessat(AT_FDCWD, path, mode, mode == X_OK ? 0 : AT_EACCESS)) {
		config_complain(r, r->line, "%s = %s can't %s: %s; %s", k->name, path, verb, strerror(errno),
				errno == ENOENT ? "make that file, or correct the path" :
				mode == X_OK ? "chmod a+x it, where ftd's user reaches it" : "let ftd's user read it");
		return false;
	}
	if (!S_ISREG(st->st_mode)) {
		config_complain(r, r->line, "%s = %s is no file; give the path of one", k->name, path);
		return false;
	}
	return true;
}

void config_put_readable(struct reading *r, const struct key *k, const char *value)
{
	struct stat st;

	if (good_file(r, k, value, R_OK, &st))
		config_put_text(r, k, value);
}

/* A password, or a private key. */
void config_put_secret(struct reading *r, const struct key *k, const char *value)
{
	struct stat st;

	if (!good_file(r, k, value, R_OK, &st))
		return;
	if (st.st_mode & 0007)
		config_complain(r, r->line, "%s = %s is open to all users (mode %04o); chmod o= it, and renew what is in it",
				k->name, value, st.st_mode & 07777);
	else if (!st.st_size)
		config_complain(r, r->line, "%s = %s is empty; write it", k->name, value);
	else
		config_put_text(r, k, value);
}

void config_put_program(struct reading *r, const struct key *k, const char *value)
{
	struct stat st;

	if (good_file(r, k, value, X_OK, &st))
		config_put_text(r, k, value);
}

void config_put_listen(struct reading *r, const struct key *k, const char *value)
{
	char host[256], port[8];

	if (ft_split_host(value, host, sizeof(host), port, sizeof(port), FT_PEER_PORT))
		config_complain(r, r->line, "listen = %s is no address; say ADDRESS, ADDRESS:PORT, [IPV6]:PORT or :PORT",
				value);
	else
		config_put_text(r, k, value);
}

/* Not beyond this host unless somebody says so: the port has no default, the address may be left out. */
void config_put_metrics(struct reading *r, const struct key *k, const char *value)
{
	char host[256], port[8];

	if (!strncmp(value, "unix:/", 6) ||
	    (strncmp(value, "unix:", 5) && !ft_split_host(value, host, sizeof(host), port, sizeof(port), "")))
		config_put_text(r, k, value);
	else
		config_complain(r, r->line, "listen = %s is no place for metrics; say ADDRESS:PORT, [IPV6]:PORT, :PORT or "
				"unix:/PATH", value);
}

void config_put_number(struct reading *r, const struct key *k, const char *value)
{
	unsigned long n;

	errno = 0;
	n = strtoul(value, NULL, 10);
	if (strspn(value, "0123456789") != strlen(value) || errno || n < k->min || n > k->max)
		config_complain(r, r->line, "%s = %s is out of range; give a number from %u to %u", k->name, value, k->min,
				k->max);
	else
		*(unsigned int *)((char *)r->c + k->at) = n;
}

static void put_sanlock(struct reading *r)
{
	r->c->arbiter.type = FTARBITER_SANLOCK;
#ifndef FTKVM_SANLOCK
	config_complain(r, r->line, "type = sanlock: this ftd was built without sanlock; build it anew where libsanlock-dev is "
			"installed, or say another type");
#endif
}

void config_put_type(struct reading *r, const struct key *k, const char *value)
{
	(void)k;
	if (!strcmp(value, "manual"))
		r->c->arbiter.type = FTARBITER_MANUAL;
	else if (!strcmp(value, "file"))
		r->c->arbiter.type = FTARBITER_FILE;
	else if (!strcmp(value, "etcd"))
		r->c->arbiter.type = FTARBITER_ETCD;
	else if (!strcmp(value, "sanlock"))
		put_sanlock(r);
	else
		config_complain(r, r->line, "there is no arbiter of type %s; say manual, file, etcd or sanlock", value);
}

void config_put_yes_no(struct reading *r, const struct key *k, const char *value)
{
	bool yes = !strcmp(value, "yes");

	if (!yes && strcmp(value, "no"))
		config_complain(r, r->line, "%s = %s is no choice; say yes or no", k->name, value);
	else
		*(bool *)((char *)r->c + k->at) = yes;
}

void config_put_unreachable(struct reading *r, const struct key *k, const char *value)
{
	(void)k;
	if (!strcmp(value, "freeze"))
		r->c->arbiter.unreachable = FTUNREACHABLE_FREEZE;
	else if (!strcmp(value, "solo"))
		r->c->arbiter.unreachable = FTUNREACHABLE_SOLO;
	else
		config_complain(r, r->line, "when-unreachable = %s is no choice; say freeze or solo", value);
}

void config_put_shared(struct reading *r, const struct key *k, const char *value)
{
	(void)k;
	if (!strcmp(value, "hook"))
		r->c->fence.shared_unfenced = false;
	else if (!strcmp(value, "unfenced"))
		r->c->fence.shared_unfenced = true;
	else
		config_complain(r, r->line, "shared-disks = %s is no choice; say hook or unfenced", value);
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

void config_put_security(struct reading *r, const struct key *k, const char *value)
{
	(void)k;
	if (!strcmp(value, "tls"))
		r->c->link.security = FTLINK_TLS;
	else if (!strcmp(value, "psk"))
		r->c->link.security = FTLINK_PSK;
	else if (!strcmp(value, "plain"))
		r->c->link.security = FTLINK_PLAIN;
	else
		config_complain(r, r->line, "there is no security = %s; say tls, psk or plain", value);
}

static void put_endpoint(struct reading *r, char *url)
{
	size_t len = strlen(url), scheme = !strncmp(url, "https://", 8) ? 8 : !strncmp(url, "http://", 7) ? 7 : 0;

	while (len && url[len - 1] == '/')
		url[--len] = '\0';
	/* A user in it would be in every message, and etcd does not take one so. */
	if (!scheme || len <= scheme || strpbrk(url + scheme, "/@?# \t\"'")) {
		config_complain(r, r->line, "\"%s\" is no endpoint of etcd; say https://HOST:2379, more of them behind commas",
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

void config_put_endpoints(struct reading *r, const struct key *k, const char *value)
{
	if (good_text(r, k, value))
		put_each(r, value, put_endpoint);
}

static void put_host(struct reading *r, char *host)
{
	char name[256], port[8];

	if (ft_split_host(host, name, sizeof(name), port, sizeof(port), FT_PEER_PORT) || !*name)
		config_complain(r, r->line, "standby: \"%s\" is no host; say HOST or HOST:PORT, more of them behind commas",
				host);
	else if (strlen(host) > FTKVM_PEER_MAX)
		config_complain(r, r->line, "standby: \"%s\" is longer than %d bytes; say the host's address", host,
				FTKVM_PEER_MAX);
	else
		append(r, &r->c->guests.standby, &r->c->guests.n_standby, host);
}

void config_put_second(struct reading *r, const struct key *k, const char *value)
{
	char name[256], port[8];

	if (ft_split_host(value, name, sizeof(name), port, sizeof(port), FT_PEER_PORT) || !*name)
		config_complain(r, r->line, "second = %s is no host; say HOST or HOST:PORT, by another way than the link's",
				value);
	else
		config_put_text(r, k, value);
}

void config_put_standby(struct reading *r, const struct key *k, const char *value)
{
	if (good_text(r, k, value))
		put_each(r, value, put_host);
}
