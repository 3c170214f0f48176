// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "disk_recv.h"
#include "job.h"
#include "lives.h"
#include "op.h"
#include "peer.h"
#include "second.h"
#include "secure.h"
#include "stream.h"

#define PEERS_MAX	16
#define LINE_SECONDS	5
#define LOGS_PER_MINUTE	20	/* about nonsense from the network */

/**
 * struct peer - a connection that has not said its line yet
 * @job: its handshake
 * @begun: its first byte was looked at: it is plain, or secured
 * @ret, @err: what came of the handshake
 */
struct peer {
	struct job job;
	int fd;
	sd_event_source *io, *timer;
	bool begun;
	int ret;
	struct fterr err;
	size_t have;
	char from[64];
	char line[PEER_LINE_MAX];
};

static int listen_fd = -1, listen_port;
static unsigned int npeers;

int peer_port(void)
{
	return listen_port;
}

static void log_nonsense(const char *from, const char *what)
{
	static int64_t since;
	static unsigned int n;
	int64_t now = ft_now_ms();

	if (now - since > 60000) {
		since = now;
		n = 0;
	}
	if (++n <= LOGS_PER_MINUTE)
		ft_log(SD_NOTICE, "peer %s: %s", from, what);
}

static void peer_free(struct peer *p)
{
	sd_event_source_disable_unref(p->io);
	sd_event_source_disable_unref(p->timer);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
	npeers--;
}

static void refuse(struct peer *p, const char *why)
{
	log_nonsense(p->from, why);
	ft_send_json(p->fd, json_pack("{s:o}", "error", ft_text_json(why)), ft_now_ms());
	peer_free(p);
}

static void whole_line(struct peer *p)
{
	struct fterr err;
	json_t *request = peer_parse(p->line, &err);
	const char *token;
	int fd = p->fd;

	if (!request) {
		refuse(p, err.text);
		return;
	}
	/* whoever takes the connection may close it at once */
	p->io = sd_event_source_disable_unref(p->io);
	token = request_string(request, "stream");
	if (token && !stream_give(token, fd)) {
		json_decref(request);
		refuse(p, "nobody here waits for that");
		return;
	}
	p->fd = -1;
	if (!token && json_object_get(request, "second"))
		second_accept(fd, p->from, request);
	else if (!token && json_object_get(request, "lives"))
		lives_tell(fd, request);
	else if (!token && json_object_get(request, "copy"))
		disk_recv_begin(fd, p->from, request);
	else if (!token && json_is_true(json_object_get(request, "live")))
		op_receive(fd, p->from, request);
	else if (!token && json_is_true(json_object_get(request, "over")))
		op_over(fd, p->from, request);
	else if (!token)
		op_pair_backup(fd, p->from, request);
	json_decref(request);
	peer_free(p);
}

/* In a thread. */
static void handshake_work(struct job *job)
{
	struct peer *p = (struct peer *)job;

	p->ret = secure_accept(p->fd, p->from, SECURE_ACCEPT_MS, &p->err);
}

static void handshake_done(struct job *job)
{
	struct peer *p = (struct peer *)job;

	if (p->ret) {
		log_nonsense(p->from, p->err.text);
		peer_free(p);
	} else if (sd_event_source_set_enabled(p->io, SD_EVENT_ON) < 0 ||
		   sd_event_source_set_time_relative(p->timer, LINE_SECONDS * 1000000ULL) < 0 ||
		   sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT) < 0) {
		peer_free(p);
	}
}

/* What kind of connection this is: the line comes now, or after a handshake. False: not now. */
static bool begin(struct peer *p)
{
	unsigned char first;
	char waste[PEER_LINE_MAX];
	int i;
	ssize_t n = recv(p->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
	int ret;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		peer_free(p);
		return false;
	}
	p->begun = true;
	ret = secure_first(first, &p->err);
	if (!ret)
		return true;
	if (ret < 0) {
		/* closed with that unread, the socket would take the answer back */
		for (i = 0; i < 16 && recv(p->fd, waste, sizeof(waste), MSG_DONTWAIT) == sizeof(waste); i++)
			;
		refuse(p, p->err.text);
		return false;
	}
	p->job.work = handshake_work;
	p->job.done = handshake_done;
	sd_event_source_set_enabled(p->io, SD_EVENT_OFF);
	sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
	if (job_start(&p->job))
		peer_free(p);
	return false;
}

static int on_input(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct peer *p = arg;
	size_t room = sizeof(p->line) - 1 - p->have;
	ssize_t n;
	char *end;

	(void)s;
	(void)revents;
	if (!p->begun && !begin(p))
		return 0;
	/* What follows the newline is for the module: look before taking. */
	n = recv(fd, p->line + p->have, room, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		peer_free(p);
		return 0;
	}
	end = memchr(p->line + p->have, '\n', n);
	if (end)
		n = end + 1 - (p->line + p->have);
	n = recv(fd, p->line + p->have, n, MSG_DONTWAIT);
	if (n <= 0)
		return 0;
	p->have += n;
	if (p->line[p->have - 1] == '\n') {
		p->line[p->have - 1] = '\0';
		whole_line(p);
	} else if (p->have == sizeof(p->line) - 1) {
		refuse(p, "this is ftd's port, and that line is too long to be a request");
	}
	return 0;
}

static int on_silence(sd_event_source *s, uint64_t usec, void *arg)
{
	(void)s;
	(void)usec;
	refuse(arg, "nothing was asked in time");
	return 0;
}

static int on_connection(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	struct peer *p;
	int conn;

	(void)s;
	(void)revents;
	(void)arg;
	conn = accept4(fd, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (conn < 0)
		return 0;
	p = npeers < PEERS_MAX ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		log_nonsense("?", "too many connections that ask nothing; one more was closed");
		close(conn);
		return 0;
	}
	npeers++;
	p->fd = conn;
	if (getnameinfo((struct sockaddr *)&addr, len, p->from, sizeof(p->from), NULL, 0, NI_NUMERICHOST))
		strcpy(p->from, "?");
	if (!strncmp(p->from, "::ffff:", 7))
		memmove(p->from, p->from + 7, strlen(p->from + 7) + 1);
	if (sd_event_add_io(ftd_loop, &p->io, conn, EPOLLIN, on_input, p) < 0 ||
	    sd_event_add_time_relative(ftd_loop, &p->timer, CLOCK_MONOTONIC, LINE_SECONDS * 1000000ULL, 0,
				       on_silence, p) < 0)
		peer_free(p);
	return 0;
}

static int add_listener(struct fterr *err)
{
	sd_event_source *source;
	int ret = sd_event_add_io(ftd_loop, &source, listen_fd, EPOLLIN, on_connection, NULL);

	if (ret < 0)
		return ft_fail(err, ret, "cannot listen: %s", strerror(-ret));
	ft_slow_down(source);
	return 0;
}

int peer_listen(const char *where, struct fterr *err)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char host[256], port[8];

	if (ft_split_host(where, host, sizeof(host), port, sizeof(port), FT_PEER_PORT))
		return ft_fail(err, -EINVAL, "\"%.100s\" is no ADDR:PORT to listen on", where);
	listen_fd = ft_tcp_listen(host, port, PEERS_MAX, err);
	if (listen_fd < 0)
		return ft_fail_prefix(err, "cannot listen on %s ([ftd] listen): ", where);
	if (!getsockname(listen_fd, (struct sockaddr *)&addr, &len))
		listen_port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port :
				    ((struct sockaddr_in *)&addr)->sin_port);
	return add_listener(err);
}
