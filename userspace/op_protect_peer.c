// SPDX-License-Identifier: GPL-2.0
/* The peer of a guest that is to be protected as it runs: a QEMU there that waits for it. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cmdline.h"
#include "op.h"
#include "peer.h"
#include "peer_call.h"

#define START_MS	60000	/* a QEMU that starts on a busy host */

static json_t *how_to_start(struct op *op)
{
	struct guest *g = op->guest;
	json_t *how = cmdline_read(g->pid, &op->err), *argv, *cons;
	size_t i;

	if (!how)
		return NULL;
	argv = cmdline_incoming(json_object_get(how, "argv"), g->cons, g->ncons, &op->err);
	if (!argv) {
		json_decref(how);
		return NULL;
	}
	cons = json_array();
	for (i = 0; i < g->ncons; i++) {
		char text[400];
		int at = snprintf(text, sizeof(text), "%s=", g->cons[i].id);

		ftcon_backend_text(&g->cons[i], text + at, sizeof(text) - at);
		json_array_append_new(cons, json_string(text));
	}
	json_object_set_new(how, "argv", argv);
	json_object_set_new(how, "consoles", cons);
	json_object_set_new(how, "qmp", json_string(g->qmp_path));
	return how;
}

/* A second connection, for QEMU. -errno, or a socket. */
static int open_stream(struct op *op, const char *token)
{
	int fd = peer_connect(op->peer, &op->err), ret;

	if (fd < 0)
		return fd;
	peer_impatient(fd);
	ret = peer_say(fd, json_pack("{s:i, s:s}", "ftd", PEER_VERSION, "stream", token));
	if (!ret)
		return fd;
	close(fd);
	return ft_fail(&op->err, ret, "cannot talk to ftd at %s: %s", op->peer, strerror(-ret));
}

int protect_prepare_peer(struct op *op, int *stream)
{
	json_t *line, *answer = NULL;
	struct fterr other;
	const char *token;
	int ret;

	op->sock = peer_connect(op->peer, &op->err);
	if (op->sock < 0)
		return op->sock;
	peer_impatient(op->sock);
	line = pair_request(op);
	json_object_set_new(line, "live", json_true());
	json_object_set(line, "devices", op->others);
	ret = peer_ask(op->sock, op->peer, line, &answer, &op->err);
	if (ret)
		return ret;
	ret = peer_same_version(answer, &op->err);
	/* who protects it by hand is told, and that is enough */
	if (!ret && !op->by_itself && peer_same_kernel(answer, &other))
		op_warn(op, "%s", other.text);
	line = ret ? NULL : json_is_true(json_object_get(answer, "have")) ? json_object() : how_to_start(op);
	json_decref(answer);
	if (!line)
		return op->err.code;
	ret = peer_say(op->sock, line);
	if (ret)
		return ft_fail(&op->err, ret, "cannot talk to ftd at %s: %s", op->peer, strerror(-ret));
	ret = peer_answer(op->sock, op->peer, START_MS, &answer, &op->err);
	if (ret)
		return ret;
	token = json_string_value(json_object_get(answer, "stream"));
	*stream = token ? open_stream(op, token) :
			  ft_fail(&op->err, -EPROTO, "ftd at %s answers in a way that is not understood", op->peer);
	json_decref(answer);
	return *stream < 0 ? *stream : 0;
}

int protect_hear_peer(struct op *op)
{
	json_t *answer = NULL;
	int ret;

	if (ft_poll(op->sock, POLLIN, 0))
		return 0;
	ret = peer_answer(op->sock, op->peer, PEER_ANSWER_MS, &answer, &op->err);
	json_decref(answer);
	return ret ? ret : ft_fail(&op->err, -EPROTO, "ftd at %s speaks out of turn", op->peer);
}
