// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <linux/ftkvm.h>
#include <linux/sockios.h>
#include <linux/un.h>
#include "util.h"

#define UUID_FILE	"/proc/sys/kernel/random/uuid"

int ft_fail(struct fterr *err, int code, const char *fmt, ...)
{
	va_list args;
	char *c;

	if (!err)
		return code;
	err->code = code;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	/* words of others' come by here, and end at a terminal */
	for (c = err->text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = ' ';
	return code;
}

int ft_fail_prefix(struct fterr *err, const char *fmt, ...)
{
	char text[sizeof(err->text)];
	va_list args;
	int len;

	memcpy(text, err->text, sizeof(text));
	va_start(args, fmt);
	len = vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	if (len >= 0 && (size_t)len < sizeof(err->text))
		snprintf(err->text + len, sizeof(err->text) - len, "%s", text);
	return err->code;
}

void ft_log(const char *level, const char *fmt, ...)
{
	char text[1024], stamp[32] = "";
	struct timespec now;
	struct tm tm;
	va_list args;
	char *c;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	for (c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = ' ';
	if (getenv("JOURNAL_STREAM")) {
		fprintf(stderr, "%s%s\n", level, text);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	if (localtime_r(&now.tv_sec, &tm))
		strftime(stamp, sizeof(stamp), "%F %T", &tm);
	fprintf(stderr, "%s.%03ld ftd: %s\n", stamp, now.tv_nsec / 1000000, text);
}

int64_t ft_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t ft_wait_ms(int64_t first, int64_t most, unsigned int tries)
{
	int64_t wait = first << (tries < 5 ? tries : 5);

	return wait < most ? wait : most;
}

bool ft_is_news(uint32_t *said, const char *why)
{
	uint32_t last = *said;

	/* FNV-1a */
	for (*said = 2166136261; *why; why++)
		if (*why < '0' || *why > '9')
			*said = (*said ^ (unsigned char)*why) * 16777619;
	return *said != last;
}

int ft_poll(int fd, short events, int64_t deadline)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = deadline - ft_now_ms();
		int n;

		n = poll(&pfd, 1, left < 0 ? 0 : left > 1000000 ? 1000000 : (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (ft_now_ms() >= deadline)
			return -ETIMEDOUT;
	}
}

int ft_write_all(int fd, const void *data, size_t len, int64_t deadline)
{
	const char *at = data;

	while (len) {
		ssize_t n;
		int ret = ft_poll(fd, POLLOUT, deadline);

		if (ret)
			return ret;
		n = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == ENOTSOCK)
			n = write(fd, at, len);
		if (n < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return -errno;
		}
		at += n;
		len -= n;
	}
	return 0;
}

ssize_t ft_read_line(int fd, char *buf, size_t size, int64_t deadline)
{
	size_t have = 0;

	for (;;) {
		ssize_t n;
		char *end;
		int ret;

		if (have == size - 1)
			return -EMSGSIZE;
		ret = ft_poll(fd, POLLIN, deadline);
		if (ret)
			return ret;
		/* What follows the newline is somebody else's: look first. */
		n = recv(fd, buf + have, size - 1 - have, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -ECONNRESET;
		end = memchr(buf + have, '\n', n);
		if (end)
			n = end + 1 - (buf + have);
		n = recv(fd, buf + have, n, MSG_DONTWAIT);
		if (n < 0)
			return -errno;
		have += n;
		if (have && buf[have - 1] == '\n') {
			buf[--have] = '\0';
			return have;
		}
	}
}

int ft_send_json(int fd, json_t *json, int64_t deadline)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	size_t len;
	int ret;

	json_decref(json);
	if (!text)
		return -ENOMEM;
	len = strlen(text);
	text[len] = '\n';	/* in place of the NUL */
	ret = ft_write_all(fd, text, len + 1, deadline);
	free(text);
	return ret;
}

json_t *ft_text_json(const char *text)
{
	json_t *json = json_string(text);
	char *plain = json ? NULL : strdup(text), *c;

	for (c = plain; c && *c; c++)
		if ((unsigned char)*c > 126)
			*c = '?';
	if (!json)
		json = json_string(plain ? plain : "(not UTF-8)");
	free(plain);
	return json;
}

json_t *ft_error_json(const struct fterr *err)
{
	return json_pack("{s:o}", "error", ft_text_json(err->text));
}

int ft_unix_address(struct sockaddr_un *addr, const char *path)
{
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (!*path || strlen(path) >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	strcpy(addr->sun_path, path);
	return 0;
}

/* Nobody answers there: it is a leftover of an ftd that did not end well. */
static int remove_stale(const struct sockaddr_un *addr, struct fterr *err)
{
	struct stat st;
	int fd, ret;

	if (lstat(addr->sun_path, &st))
		return 0;	/* if that is no good sign, bind() tells */
	/* connect() would say the same of it as of a leftover. */
	if (!S_ISSOCK(st.st_mode))
		return ft_fail(err, -EEXIST, "%s is there, and is no socket", addr->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ft_fail(err, -errno, "cannot make a socket: %s", strerror(errno));
	ret = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;
	close(fd);
	if (!ret || ret == -EAGAIN)
		return ft_fail(err, -EADDRINUSE, "a program listens at %s already: another ftd?", addr->sun_path);
	if (ret == -ECONNREFUSED)
		unlink(addr->sun_path);
	return 0;
}

/* Its directory, for a socket in one that the system does not make for us. */
static void make_directory(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return;
	*slash = '\0';
	mkdir(dir, 0755);	/* if that fails, bind() tells */
}

int ft_unix_listen(const char *path, int backlog, struct fterr *err)
{
	struct sockaddr_un addr;
	int fd, ret;

	if (ft_unix_address(&addr, path))
		return ft_fail(err, -ENAMETOOLONG, "the path of a socket is empty or too long: \"%.120s\"", path);
	make_directory(path);
	ret = remove_stale(&addr, err);
	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ft_fail(err, -errno, "cannot make a socket: %s", strerror(errno));
	/* The file gets the socket's mode; umask() would be other threads' too. */
	if (fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, backlog))
		ret = -errno;
	if (!ret)
		return fd;
	close(fd);
	return ft_fail(err, ret, "cannot listen on %s: %s", path, strerror(-ret));
}

int ft_unix_give(int fd, uid_t uid, struct fterr *err)
{
	int file = ioctl(fd, SIOCUNIXFILE), ret = 0;

	if (file < 0 || fchownat(file, "", uid, -1, AT_EMPTY_PATH))
		ret = ft_fail(err, -errno, "cannot give a socket to user %u: %s", uid, strerror(errno));
	if (file >= 0)
		close(file);
	return ret;
}

bool ft_name_ok(const char *name)
{
	size_t i;

	if (!name || !isalnum((unsigned char)name[0]))
		return false;
	for (i = 0; name[i]; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
			return false;
	return i <= FTKVM_NAME_MAX;
}

bool ft_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	unsigned long long v;
	int base = 0;
	char *end;

	if (*text == 'r') {
		text++;
		base = 16;
	}
	if (!isxdigit((unsigned char)*text))
		return false;
	errno = 0;
	v = strtoull(text, &end, base);
	if (errno || *end || v < min || v > max)
		return false;
	*value = v;
	return true;
}

int ft_split_host(const char *text, char *host, size_t host_size,
		  char *port, size_t port_size, const char *default_port)
{
	const char *colon, *end;
	uint64_t number;
	size_t len;

	if (*text == '[') {
		end = strchr(++text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		colon = end[1] ? end + 1 : NULL;
	} else {
		colon = strchr(text, ':');
		if (colon && strchr(colon + 1, ':'))
			colon = NULL;	/* a bare IPv6 address */
		end = colon ? colon : text + strlen(text);
	}
	len = end - text;
	if (len >= host_size)
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	if (snprintf(port, port_size, "%s", colon ? colon + 1 : default_port) >= (int)port_size)
		return -EINVAL;
	if (!isdigit((unsigned char)*port) || !ft_parse_u64(port, 0, 65535, &number))
		return -EINVAL;
	return 0;
}

/* One address. The socket, or -errno. */
static int listen_at(const struct addrinfo *ai, int backlog)
{
	int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
	int on = 1, off = 0, ret;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* that for all addresses takes IPv4 too */
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (!bind(fd, ai->ai_addr, ai->ai_addrlen) && !listen(fd, backlog))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* The first that can be had of all that @host may be. */
static int listen_family(const char *host, const char *port, int family, int backlog, struct fterr *err)
{
	struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *list, *ai;
	int ret = getaddrinfo(*host ? host : NULL, port, &hints, &list);

	if (ret)
		return ft_fail(err, -EINVAL, "%s", gai_strerror(ret));
	for (ai = list, ret = -EADDRNOTAVAIL; ai && ret < 0; ai = ai->ai_next)
		ret = listen_at(ai, backlog);
	freeaddrinfo(list);
	return ret < 0 ? ft_fail(err, ret, "%s", strerror(-ret)) : ret;
}

int ft_tcp_listen(const char *host, const char *port, int backlog, struct fterr *err)
{
	int ret = listen_family(host, port, *host ? AF_UNSPEC : AF_INET6, backlog, err);

	/* or a kernel without IPv6 */
	return ret < 0 && !*host ? listen_family(host, port, AF_INET, backlog, err) : ret;
}

int ft_uuid(char *uuid, struct fterr *err)
{
	FILE *file = fopen(UUID_FILE, "re");
	size_t n = file ? fread(uuid, 1, FT_UUID_MAX, file) : 0;

	if (file)
		fclose(file);
	uuid[n] = '\0';
	return n == FT_UUID_MAX ? 0 : ft_fail(err, -EIO, "cannot read " UUID_FILE);
}
