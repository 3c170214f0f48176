// SPDX-License-Identifier: GPL-2.0
/* Calling another host's ftd: peer.h has what is said. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "peer.h"
#include "peer_call.h"
#include "secure.h"

#define CONNECT_MS	5000

/* As the peer will have it: a blocking socket, without delays. */
void peer_ready(int fd)
{
	int on = 1, flags = fcntl(fd, F_GETFL);
	unsigned int none = 0;

	fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	/* the module has a time-out of its own */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &none, sizeof(none));
}

static int try_address(const struct addrinfo *ai, int64_t ms)
{
	int64_t deadline = ft_now_ms() + ms;
	int fd, ret = 0;
	socklen_t len = sizeof(ret);

	fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
	if (fd < 0)
		return -errno;
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
		ret = -errno;
		if (ret == -EINPROGRESS) {
			ret = ft_poll(fd, POLLOUT, deadline);
			if (!ret && !getsockopt(fd, SOL_SOCKET, SO_ERROR, &ret, &len))
				ret = -ret;
		}
	}
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

/* @ms: to each address, @secure_ms: for the handshake. */
static int connect_within(const char *peer, int64_t ms, int64_t secure_ms, struct fterr *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *ai;
	char host[256], port[8];
	int ret, fd;

	if (ft_split_host(peer, host, sizeof(host), port, sizeof(port), FT_PEER_PORT) || !*host)
		return ft_fail(err, -EINVAL, "\"%.100s\" is no HOST[:PORT]", peer);
	ret = secure_probe(err);
	if (ret)
		return ret;
	ret = getaddrinfo(host, port, &hints, &list);
	if (ret)
		return ft_fail(err, -EHOSTUNREACH, "the peer's name %s can't be resolved: %s", host,
			       gai_strerror(ret));
	ret = -EHOSTUNREACH;
	for (ai = list; ai; ai = ai->ai_next) {
		ret = try_address(ai, ms);
		if (ret >= 0)
			break;
	}
	freeaddrinfo(list);
	if (ret < 0)
		return ft_fail(err, ret, "cannot reach ftd at %s port %s: %s; is the host up, does ftd run there "
			       "(systemctl start ftd), does a firewall close the port?", host, port, strerror(-ret));
	fd = ret;
	peer_ready(fd);
	ret = secure_connect(fd, host, secure_ms, err);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

int peer_connect(const char *peer, struct fterr *err)
{
	return connect_within(peer, CONNECT_MS, SECURE_CONNECT_MS, err);
}

int peer_connect_soon(const char *peer, int64_t ms, struct fterr *err)
{
	return connect_within(peer, ms, ms, err);
}

void peer_call_back(char *text, size_t size, const char *from, long long port)
{
	if (port > 0 && port < 65536)
		snprintf(text, size, strchr(from, ':') ? "[%s]:%d" : "%s:%d", from, (int)port);
	else
		snprintf(text, size, "%s", from);
}

void peer_impatient(int fd)
{
	int idle_s = 5, count = 3;
	unsigned int gone_ms = 15000;

	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &gone_ms, sizeof(gone_ms));
}

int peer_say(int fd, json_t *json)
{
	return ft_send_json(fd, json, ft_now_ms() + CONNECT_MS);
}

int peer_answer(int fd, const char *peer, int64_t timeout_ms, json_t **answer, struct fterr *err)
{
	const char *no = NULL;
	char line[PEER_LINE_MAX];
	ssize_t ret;
	int ok = 0;

	*answer = NULL;
	ret = ft_read_line(fd, line, sizeof(line), ft_now_ms() + timeout_ms);
	if (ret < 0)
		return ft_fail(err, ret, "no answer from ftd at %s: %s", peer, strerror(-ret));
	*answer = json_loads(line, 0, NULL);
	json_unpack(*answer, "{s?b, s?s}", "ok", &ok, "error", &no);
	if (no)
		ret = ft_fail(err, -ECONNREFUSED, "host %s refuses: %s", peer, no);
	else if (!ok)
		ret = ft_fail(err, -EPROTO, "what answers at %s is no ftd", peer);
	else
		return 0;
	json_decref(*answer);
	*answer = NULL;
	return ret;
}

int peer_ask(int fd, const char *peer, json_t *request, json_t **answer, struct fterr *err)
{
	int ret = peer_say(fd, request);

	*answer = NULL;
	if (ret)
		return ft_fail(err, ret, "cannot talk to ftd at %s: %s", peer, strerror(-ret));
	return peer_answer(fd, peer, PEER_ANSWER_MS, answer, err);
}
