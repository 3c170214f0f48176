// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "again.h"
#include "control.h"
#include "device.h"
#include "failover.h"
#include "op.h"
#include "peer.h"
#include "privilege.h"
#include "replica_json.h"
#include "second.h"

#define CLIENTS_MAX	64
#define REQUEST_MAX	16384
#define ANSWER_MS	2000	/* who does not take an answer for so long is dropped */

/**
 * struct client - a connection to the control socket
 * @op: what it waits for; no more of its requests is read meanwhile
 * @serving: its requests are being read, further up the stack
 * @ended: it will ask no more, but waits for the answer
 * @dead: to be freed where nobody uses it any more
 */
struct client {
	int fd;
	sd_event_source *io;
	struct op *op;
	bool serving, ended, dead;
	size_t have;
	char buf[REQUEST_MAX];
};

static char socket_path[108];
static int listen_fd = -1;
static sd_event_source *listen_source;
static unsigned int nclients;

static void client_free(struct client *c)
{
	if (c->op) {
		/* it goes on, unheard, unless it cares */
		c->op->client = NULL;
		c->op->hung_up = true;
	}
	sd_event_source_disable_unref(c->io);
	close(c->fd);
	free(c);
	nclients--;
}

static json_t *error_answer(const struct fterr *err)
{
	json_t *json = ft_error_json(err);

	json_object_set_new(json, "errno", json_integer(-err->code));
	return json;
}

static void answer_error(struct client *c, const struct fterr *err)
{
	client_answer(c, error_answer(err));
}

/* --- what is asked --------------------------------------------------------- */

static json_t *consoles_json(const struct guest *g)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < g->ncons; i++) {
		const struct ftconsole *con = &g->cons[i];
		char text[330];

		ftcon_backend_text(con, text, sizeof(text));
		json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "id", con->id, "backend", text,
						      "live", con->live));
	}
	return list;
}

/* Who decides when a host is lost, and what it said. */
static json_t *arbiter_json(const struct guest *g)
{
	json_t *json = json_pack("{s:s}", "type", failover_type());

	if (!*g->session)
		return json;
	json_object_set_new(json, "session", json_string(g->session));
	json_object_set_new(json, "heard", json_string(heard_name(g->heard.what)));
	json_object_set_new(json, "heard_ns", json_integer(g->heard.at_ns));
	json_object_set_new(json, "detail", ft_text_json(g->heard.text));
	json_object_set_new(json, "asking", json_boolean(g->asking || g->again_source));
	json_object_set_new(json, "asked", json_integer(g->asked));
	return json;
}

static json_t *guest_json(const struct guest *g)
{
	const char *step = g->progress.step;
	json_t *json = json_pack("{s:s, s:s, s:b, s:b}", "name", g->name, "qmp", g->qmp_path,
				 "ended", g->ended, "attached", g->attached);

	json_object_set_new(json, "arbiter", arbiter_json(g));
	if (second_there(g))
		json_object_set_new(json, "second", json_string(g->second));
	if (g->again)
		json_object_set_new(json, "again", again_json(g));
	if (*g->still && !g->ended)
		json_object_set_new(json, "still", json_pack("{s:s, s:s, s:I}", "qemu", g->still, "by", g->still_by,
							     "since_ns", (json_int_t)g->still_since));
	if (g->busy) {
		/* The rest is the operation's. */
		json_object_set_new(json, "busy", json_string(g->busy));
		if (step)
			json_object_set_new(json, "progress",
					    json_pack("{s:s, s:I, s:I}", "step", step, "done",
						      (json_int_t)g->progress.done, "total",
						      (json_int_t)g->progress.total));
		return json;
	}
	json_object_set_new(json, "pid", json_integer(g->pid));
	json_object_set_new(json, "monitor", json_boolean(g->qmp.fd >= 0));
	json_object_set_new(json, "consoles", consoles_json(g));
	if (g->final)
		json_object_set_new(json, "final", ft_replica_json(g->final));
	return json;
}

static int op_info(struct client *c, json_t *request, struct fterr *err)
{
	json_t *guests = json_array(), *past = json_array();
	struct history *h;
	struct guest *g;

	(void)request;
	(void)err;
	for (g = ftd_guests; g; g = g->next)
		if (!g->gone)
			json_array_append_new(guests, guest_json(g));
	for (h = ftd_history; h; h = h->next) {
		json_t *event = ft_event_json(&h->last);

		json_object_set_new(event, "since_ns", json_integer(h->since_ns));
		json_array_append_new(past, event);
	}
	client_answer(c, json_pack("{s:b, s:s, s:i, s:o, s:o}", "ok", 1, "version", FTKVM_VERSION,
				   "port", peer_port(), "guests", guests, "history", past));
	return 0;
}

static int op_devices(struct client *c, json_t *request, struct fterr *err)
{
	(void)request;
	(void)err;
	client_answer(c, json_pack("{s:b, s:o}", "ok", 1, "devices", devices_json()));
	return 0;
}

static const struct {
	const char *name;
	bool bare;	/* needs no guest's name */
	int (*run)(struct client *client, json_t *request, struct fterr *err);
} orders[] = {
	{ "attach", false, op_attach },
	{ "detach", false, op_detach },
	{ "pair", false, op_pair },
	{ "unpair", false, op_unpair },
	{ "protect", false, op_protect },
	{ "unprotect", false, op_unprotect },
	{ "switchover", false, op_switchover },
	{ "pause", false, op_pause },
	{ "resume", false, op_resume },
	{ "fence", false, op_fence },
	{ "promote", false, op_promote },
	{ "check", false, op_check },
	{ "info", true, op_info },
	{ "device-add", true, device_add },
	{ "device-del", true, device_del },
	{ "devices", true, op_devices },
};

static int dispatch(struct client *c, json_t *request, struct fterr *err)
{
	const char *cmd = request_string(request, "cmd");
	size_t i;

	for (i = 0; cmd && i < ARRAY_SIZE(orders); i++) {
		if (strcmp(orders[i].name, cmd))
			continue;
		if (!orders[i].bare && !ft_name_ok(request_string(request, "name")))
			return ft_fail(err, -EINVAL, "a guest's name is 1 to %d letters, digits, '-', '_' "
				       "or '.', and begins with a letter or digit", FTKVM_NAME_MAX);
		return orders[i].run(c, request, err);
	}
	return ft_fail(err, -EINVAL, "this ftd (version %s) knows no such order; are ftctl and ftd of the "
		       "same version?", FTKVM_VERSION);
}

static void one_request(struct client *c, const char *line)
{
	json_t *request = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	struct fterr err = { 0 };
	int ret;

	if (json_is_object(request))
		ret = dispatch(c, request, &err);
	else
		ret = ft_fail(&err, -EBADMSG, "a request is a JSON object in one line");
	json_decref(request);
	if (ret)
		answer_error(c, &err);
}

/* Serve what has come, one request at a time. The client may be gone then. */
static void serve(struct client *c)
{
	if (c->serving)
		return;
	c->serving = true;
	while (!c->op && !c->dead) {
		char *end = memchr(c->buf, '\n', c->have);
		struct fterr err;
		char *line;

		if (!end && c->have < sizeof(c->buf))
			break;
		line = end ? strndup(c->buf, end - c->buf) : NULL;
		if (!line) {
			ft_fail(&err, -EMSGSIZE, "a request has less than %d bytes", REQUEST_MAX);
			answer_error(c, &err);
			c->dead = true;
			break;
		}
		c->have -= end + 1 - c->buf;
		memmove(c->buf, end + 1, c->have);
		one_request(c, line);
		free(line);
	}
	c->serving = false;
	if (c->dead || (c->ended && !c->op))
		client_free(c);
}

static int on_input(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct client *c = arg;
	ssize_t n;

	(void)s;
	/* Full: it asks on and on without waiting for its answers. */
	n = recv(fd, c->buf + c->have, sizeof(c->buf) - c->have, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0) {
		c->have += n;
	} else {
		c->ended = true;
		sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
		/* gone, and not just out of questions */
		if (c->op && (revents & EPOLLHUP))
			c->op->hung_up = true;
	}
	serve(c);
	return 0;
}

void client_wait(struct client *client, struct op *op)
{
	client->op = op;
}

void client_answer(struct client *client, json_t *json)
{
	client->op = NULL;
	if (ft_send_json(client->fd, json, ft_now_ms() + ANSWER_MS))
		client->dead = true;
	serve(client);
}

/* --- who asks -------------------------------------------------------------- */

/* Root; or ftd's user, unless ftd may do more: its QEMUs and hooks are that user's, and have no business here. */
static bool allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) &&
	       (!peer.uid || (peer.uid == geteuid() && !privilege_above_user()));
}

static void send_away(int conn, const struct fterr *err)
{
	ft_send_json(conn, error_answer(err), ft_now_ms());
	close(conn);
}

static int on_connection(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct fterr err = { -ENOMEM, "ftd is out of memory" };
	struct client *c = NULL;

	(void)s;
	(void)revents;
	(void)arg;
	if (conn < 0)
		return 0;
	if (!allowed(conn))
		ft_fail(&err, -EPERM, "only root may give ftd orders");
	else if (nclients >= CLIENTS_MAX)
		ft_fail(&err, -EBUSY, "%d orders are under way: try again", CLIENTS_MAX);
	else
		c = calloc(1, sizeof(*c));
	if (!c) {
		send_away(conn, &err);
		return 0;
	}
	nclients++;
	c->fd = conn;
	if (sd_event_add_io(ftd_loop, &c->io, conn, EPOLLIN, on_input, c) < 0)
		client_free(c);
	return 0;
}

int control_listen(const char *path, struct fterr *err)
{
	int ret;

	listen_fd = ft_unix_listen(path, CLIENTS_MAX, err);
	if (listen_fd < 0)
		return listen_fd;
	snprintf(socket_path, sizeof(socket_path), "%s", path);
	ret = sd_event_add_io(ftd_loop, &listen_source, listen_fd, EPOLLIN, on_connection, NULL);
	if (ret < 0)
		return ft_fail(err, ret, "cannot listen on %s: %s", path, strerror(-ret));
	ft_slow_down(listen_source);
	return 0;
}

void control_close(void)
{
	if (listen_fd < 0)
		return;
	listen_source = sd_event_source_disable_unref(listen_source);
	close(listen_fd);
	listen_fd = -1;
	unlink(socket_path);
}
