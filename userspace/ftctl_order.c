// SPDX-License-Identifier: GPL-2.0
/* ftctl: orders to ftd. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "console.h"
#include "ftctl.h"
#include "replica_json.h"
#include "text.h"

/* An operation may wait for the peer's QEMU, for a takeover, and for time-outs of both. */
#define ANSWER_MS	180000
#define PROGRESS_MS	500

int ftctl_error(const struct fterr *err)
{
	fprintf(stderr, "ftctl: %s\n", err->text);
	/* ftd passes on what the module's absence made it say. */
	return err->code == -ENOTCONN || strstr(err->text, "modprobe ftkvm") ? FTCTL_UNREACHABLE :
									       FTCTL_REFUSED;
}

int ftctl_print_json(json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	if (!text)
		abort();
	puts(text);
	free(text);
	fflush(stdout);
	return FTCTL_OK;
}

/* --- ftd ------------------------------------------------------------------- */

static int connect_ftd(const char *path, struct fterr *err)
{
	struct sockaddr_un addr;
	struct fterr module;
	struct ftnl nl;
	int fd, ret;

	if (ft_unix_address(&addr, path))
		return ft_fail(err, -EINVAL, "the control socket's path is empty or too long");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ft_fail(err, -errno, "cannot make a socket: %s", strerror(errno));
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	ret = -errno;
	close(fd);
	if (ret == -EACCES)
		return ft_fail(err, ret, "you may not talk to ftd (%s): run as root", path);
	ft_fail(err, -ENOTCONN, "ftd does not run on this host (%s: %s); run: systemctl start ftd", path,
		strerror(-ret));
	/* Say it all at once. */
	ret = ftnl_open(&nl, &module);
	if (!ret)
		ftnl_close(&nl);
	else if (ret == -ENOENT)
		ft_fail_prefix(err, "%s; and ", module.text);
	return -ENOTCONN;
}

/* As long as ftd has something to do; whoever waits sees it. 0 or -errno. */
static int await_answer(const struct ftctl *ctl, int fd, int64_t deadline)
{
	int ret;

	if (!ctl->patient)
		return ft_poll(fd, POLLIN, deadline);
	while ((ret = ft_poll(fd, POLLIN, ft_now_ms() + PROGRESS_MS)) == -ETIMEDOUT)
		if (ctl->progress)
			ctl->progress(ctl);
	return ret;
}

static char *read_answer(const struct ftctl *ctl, int fd, struct fterr *err)
{
	const char *guest = ctl->verb ? NULL : ctl->name;	/* or a device */
	int64_t deadline = ft_now_ms() + ANSWER_MS;
	size_t have = 0, size = 0;
	char *buf = NULL;

	for (;;) {
		ssize_t n;
		int ret;

		if (size - have < 2) {
			char *more = realloc(buf, size += 65536);

			if (!more)
				abort();
			buf = more;
		}
		ret = await_answer(ctl, fd, deadline);
		n = ret ? ret : recv(fd, buf + have, size - 1 - have, 0);
		if (n < 0 && !ret)
			ret = -errno;
		if (n <= 0) {
			free(buf);
			if (ret == -ETIMEDOUT)
				ft_fail(err, ret, "ftd did not answer within %d s; what was asked may go on: ftctl status%s%s",
					ANSWER_MS / 1000, guest ? " " : "", guest ? guest : "");
			else
				ft_fail(err, ret ? ret : -ECONNRESET, "ftd does not answer: %s; see: journalctl -u ftd",
					ret ? strerror(-ret) : "it hung up");
			return NULL;
		}
		have += n;
		if (buf[have - 1] == '\n') {
			buf[have] = '\0';
			return buf;
		}
	}
}

json_t *ftctl_ask(const struct ftctl *ctl, json_t *request, struct fterr *err)
{
	int fd = connect_ftd(ctl->control, err), ret;
	const char *no, *warning;
	json_t *answer;
	char *line;

	if (fd < 0) {
		json_decref(request);
		return NULL;
	}
	ret = ft_send_json(fd, request, ft_now_ms() + ANSWER_MS);
	/* who is sent away unasked is told why */
	if (ret == -EPIPE || ret == -ECONNRESET)
		ret = 0;
	if (ret)
		ft_fail(err, ret, "cannot ask ftd: %s", strerror(-ret));
	line = ret ? NULL : read_answer(ctl, fd, err);
	close(fd);
	if (!line)
		return NULL;
	answer = json_loads(line, 0, NULL);
	free(line);
	if (!json_is_object(answer)) {
		json_decref(answer);
		ft_fail(err, -EBADMSG, "what ftd answers makes no sense; are ftctl and ftd of the same version?");
		return NULL;
	}
	warning = json_string_value(json_object_get(answer, "warning"));
	if (warning)
		fprintf(stderr, "ftctl: warning: %s\n", warning);
	no = json_string_value(json_object_get(answer, "error"));
	if (!no)
		return answer;
	ret = -json_integer_value(json_object_get(answer, "errno"));
	/* -ENOTCONN from there is about something else. */
	ft_fail(err, ret && ret != -ENOTCONN ? ret : -EIO, "%s", no);
	json_decref(answer);
	return NULL;
}

/* --- commands for ftd ------------------------------------------------------ */

/* Print it, or why there is none; steals the reference. An exit status. */
static int answered(const struct ftctl *ctl, json_t *answer,
		    void (*said)(const struct ftctl *ctl, json_t *answer), const struct fterr *err)
{
	if (!answer)
		return ftctl_error(err);
	if (ctl->json)
		return ftctl_print_json(answer);
	said(ctl, answer);
	json_decref(answer);
	return FTCTL_OK;
}

int ftctl_order(struct ftctl *ctl, json_t *request,
		void (*said)(const struct ftctl *ctl, json_t *answer))
{
	struct fterr err;
	json_t *answer = ftctl_ask(ctl, request, &err);

	return answered(ctl, answer, said, &err);
}

json_t *ftctl_request(const struct ftctl *ctl, const char *cmd)
{
	return json_pack("{s:s, s:s}", "cmd", cmd, "name", ctl->name);
}

json_t *ftctl_path(const char *path, struct fterr *err)
{
	char *cwd = path[0] == '/' ? strdup("") : getcwd(NULL, 0), *whole = NULL;
	json_t *json = NULL;

	if (cwd && asprintf(&whole, "%s%s%s", cwd, *cwd ? "/" : "", path) >= 0) {
		json = json_string(whole);	/* NULL: not UTF-8 */
		free(whole);
	}
	free(cwd);
	if (!json)
		ft_fail(err, -EINVAL, "cannot tell ftd the path of \"%.100s\"", path);
	return json;
}

/* "--qmp" and "--console" */
static int add_guest(const struct ftctl *ctl, json_t *json, struct fterr *err)
{
	json_t *list = json_array(), *path;
	unsigned int i;

	for (i = 0; i < ctl->nconsoles; i++) {
		struct ftconsole con;
		int ret = ftcon_parse(ctl->consoles[i], &con, err);

		if (ret) {
			json_decref(list);
			return ret;
		}
		json_array_append_new(list, json_string(ctl->consoles[i]));
	}
	json_object_set_new(json, "consoles", list);
	path = ftctl_path(ctl->qmp, err);
	if (!path)
		return err->code;
	json_object_set_new(json, "qmp", path);
	return 0;
}

static void said_attach(const struct ftctl *ctl, json_t *answer)
{
	if (json_is_true(json_object_get(answer, "ran"))) {
		printf("Guest %s is attached, and runs; it is not protected yet. To protect it, run:\n"
		       "  ftctl protect %s --peer HOST\n", ctl->name, ctl->name);
		return;
	}
	printf("Guest %s is attached; it is not protected yet. When it is attached on the other host as "
	       "well, run:\n  ftctl pair %s --peer HOST\n", ctl->name, ctl->name);
}

int cmd_attach(struct ftctl *ctl)
{
	json_t *json = ftctl_request(ctl, "attach");
	struct fterr err;

	if (!add_guest(ctl, json, &err))
		return ftctl_order(ctl, json, said_attach);
	json_decref(json);
	ftctl_error(&err);
	return FTCTL_USAGE;
}

static void said_pair(const struct ftctl *ctl, json_t *answer)
{
	(void)answer;
	printf("Guest %s is paired with %s and runs; it is live here. To watch it:\n  ftctl status %s\n",
	       ctl->name, ctl->peer, ctl->name);
}

int ftctl_order_pair(struct ftctl *ctl, const char *cmd,
		     void (*said)(const struct ftctl *ctl, json_t *answer))
{
	json_t *json = ftctl_request(ctl, cmd), *settings = ft_settings_json(&ctl->set);
	struct fterr err;

	json_object_update(json, settings);
	json_decref(settings);
	json_object_set_new(json, "peer", json_string(ctl->peer));
	if (ctl->peer_name)
		json_object_set_new(json, "peer_name", json_string(ctl->peer_name));
	if (ctl->second)
		json_object_set_new(json, "second", json_string(ctl->second));
	if (ctl->downtime_ms)
		json_object_set_new(json, "downtime", json_integer((json_int_t)ctl->downtime_ms));
	if (!ctl->qmp || !add_guest(ctl, json, &err))
		return ftctl_order(ctl, json, said);
	json_decref(json);
	ftctl_error(&err);
	return FTCTL_USAGE;
}

int cmd_pair(struct ftctl *ctl)
{
	return ftctl_order_pair(ctl, "pair", said_pair);
}

static void said_promote(const struct ftctl *ctl, json_t *answer)
{
	json_int_t ns = json_integer_value(json_object_get(answer, "takeover_ns"));
	char text[32];

	printf("Guest %s is live here (takeover in %s). It has no backup now. Its old host must not come "
	       "back with it: see that its QEMU there has ended.\n", ctl->name,
	       ft_format_ns(ns, text, sizeof(text)));
}

int cmd_promote(struct ftctl *ctl)
{
	json_t *json = ftctl_request(ctl, "promote");

	json_object_set_new(json, "force", json_boolean(ctl->force));
	return ftctl_order(ctl, json, said_promote);
}

static void said_unpair(const struct ftctl *ctl, json_t *answer)
{
	(void)answer;
	printf("Guest %s is not paired any more, and not protected. To see where it goes on:\n"
	       "  ftctl status %s\n", ctl->name, ctl->name);
}

static void said_fence(const struct ftctl *ctl, json_t *answer)
{
	(void)answer;
	printf("Guest %s will not run here any more. See that it goes on at the other host, then end this QEMU "
	       "and run:\n  ftctl detach %s\n", ctl->name, ctl->name);
}

static void said_detach(const struct ftctl *ctl, json_t *answer)
{
	(void)answer;
	printf("Guest %s is detached.\n", ctl->name);
}

/* Without ftd the module can be told as well. */
static int order_or_tell(struct ftctl *ctl, const char *cmd,
			 int (*tell)(const char *name, struct fterr *err),
			 void (*said)(const struct ftctl *ctl, json_t *answer))
{
	struct fterr err, ignored;
	json_t *answer = ftctl_ask(ctl, ftctl_request(ctl, cmd), &err);
	struct ftnl nl;
	int ret;

	if (!answer && err.code == -ENOTCONN && !ftnl_open(&nl, &ignored)) {
		ftnl_close(&nl);
		ret = tell(ctl->name, &err);
		if (!ret)
			answer = json_pack("{s:b}", "ok", 1);
	}
	return answered(ctl, answer, said, &err);
}

int cmd_unpair(struct ftctl *ctl)
{
	return order_or_tell(ctl, "unpair", ftnl_unpair, said_unpair);
}

int cmd_fence(struct ftctl *ctl)
{
	return order_or_tell(ctl, "fence", ftnl_fence, said_fence);
}

int cmd_detach(struct ftctl *ctl)
{
	return order_or_tell(ctl, "detach", ftnl_detach, said_detach);
}
