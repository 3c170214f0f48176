// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "config.h"
#include "look.h"
#include "peer.h"
#include "peer_call.h"
#include "second.h"

#define LOOK_US		1000000
#define WAIT_MS		1000	/* between one try and the next ... */
#define WAIT_MAX_MS	30000	/* ... growing up to this */

/**
 * struct second - a path that is being made
 * @sock: at the backup: connected already
 * @address: of the peer, or where it can be called back
 * @loud: that it can't be made was not said yet
 */
struct second {
	struct job job;
	char name[FTKVM_NAME_MAX + 1], address[256];
	uint64_t token;
	int sock, ret;
	bool loud;
	struct fterr err;
};

int second_wanted(struct op *op, const char *address, struct fterr *err)
{
	char host[256], port[8];

	op->set.token = 0;
	*op->second = '\0';
	if (!address)
		address = ftd_config()->link.second;
	if (!address)
		return 0;
	if (!strcmp(address, SECOND_NONE)) {
		strcpy(op->second, address);
		return 0;
	}
	if (strlen(address) >= sizeof(op->second) ||
	    ft_split_host(address, host, sizeof(host), port, sizeof(port), FT_PEER_PORT) || !*host)
		return ft_fail(err, -EINVAL, "the second path \"%.100s\" is no HOST[:PORT], nor " SECOND_NONE, address);
	strcpy(op->second, address);
	while (!op->set.token) {
		if (getrandom(&op->set.token, sizeof(op->set.token), 0) != sizeof(op->set.token))
			return ft_fail(err, -errno, "no random numbers: %s", strerror(errno));
		/* JSON's integers have a sign */
		op->set.token &= INT64_MAX;
	}
	return 0;
}

/* --- the primary calls ----------------------------------------------------- */

static int call(struct second *s)
{
	json_t *answer = NULL;
	int fd = peer_connect(s->address, &s->err), ret;

	if (fd < 0)
		return fd;
	peer_impatient(fd);
	ret = peer_ask(fd, s->address, json_pack("{s:i, s:I, s:i}", "ftd", PEER_VERSION, "second",
						 (json_int_t)s->token, "port", peer_port()), &answer, &s->err);
	json_decref(answer);
	if (!ret) {
		peer_ready(fd);
		ret = ftnl_second(s->name, fd, s->token, &s->err);
	}
	close(fd);
	return ret;
}

static void call_work(struct job *job)
{
	struct second *s = (struct second *)job;

	s->ret = call(s);
}

static void call_done(struct job *job)
{
	struct second *s = (struct second *)job;
	struct guest *g = guest_find(s->name);

	if (g)
		g->second_calls = false;
	if (s->ret && s->loud)
		ft_log(SD_WARNING, "guest %s: its second path by %s can't be made: %s; trying on", s->name, s->address,
		       s->err.text);
	free(s);
}

static void call_start(struct guest *g, uint64_t token)
{
	struct second *s = calloc(1, sizeof(*s));

	if (!s)
		return;
	s->job.work = call_work;
	s->job.done = call_done;
	s->token = token;
	/* the first try of all may come before the backup is there */
	s->loud = g->second_tries == (g->second_seen ? 0 : 1);
	strcpy(s->name, g->name);
	strcpy(s->address, g->second);
	if (job_start(&s->job)) {
		free(s);
		return;
	}
	g->second_calls = true;
	g->second_at = ft_now_ms() + ft_wait_ms(WAIT_MS, WAIT_MAX_MS, g->second_tries);
	g->second_tries++;
}

static void look_at(struct guest *g, const struct ftreplica *r)
{
	if (!second_there(g) || g->second_calls || !r->token)
		return;
	if (r->stats[FTKVM_STAT_SECOND] == FTKVM_UAPI_SECOND_UP) {
		g->second_tries = 0;
		g->second_at = 0;
		g->second_seen = true;
		return;
	}
	if (r->state == FTKVM_UAPI_STATE_PRIMARY && ft_now_ms() >= g->second_at)
		call_start(g, r->token);
}

static void look(void)
{
	struct guest *g;

	for (g = ftd_guests; g && !second_there(g); g = g->next)
		;
	if (g)
		look_at_all(look_at);
}

int second_init(struct fterr *err)
{
	static struct look_timer timer = { .usec = LOOK_US, .look = look };

	return look_begin(&timer, err);
}

/* --- the backup is called -------------------------------------------------- */

/* Which of the module's backups is it? 0 or -errno with a text. */
static int find(struct second *s)
{
	struct ftreplica *list = NULL;
	size_t n = 0, i;
	int ret = ftnl_dump(&list, &n, &s->err);

	for (i = 0; !ret && i < n; i++) {
		if (!list[i].token || list[i].token != s->token || list[i].role != FTKVM_UAPI_ROLE_BACKUP)
			continue;
		strcpy(s->name, list[i].name);
		break;
	}
	if (!ret && i == n)
		ret = ft_fail(&s->err, -ENOENT, "no guest here is paired so");
	free(list);
	return ret;
}

static void accept_work(struct job *job)
{
	struct second *s = (struct second *)job;

	s->ret = find(s);
	if (s->ret) {
		peer_say(s->sock, ft_error_json(&s->err));
		return;
	}
	s->ret = peer_say(s->sock, json_pack("{s:b}", "ok", 1));
	if (s->ret) {
		ft_fail(&s->err, s->ret, "%s is gone: %s", s->address, strerror(-s->ret));
		return;
	}
	peer_ready(s->sock);
	s->ret = ftnl_second(s->name, s->sock, s->token, &s->err);
}

static void accept_done(struct job *job)
{
	struct second *s = (struct second *)job;
	struct guest *g = *s->name ? guest_find(s->name) : NULL;

	close(s->sock);
	/* where it is the primary one day, it calls back */
	if (!s->ret && g && strcmp(g->second, s->address)) {
		strcpy(g->second, s->address);
		guests_save();
	}
	if (s->ret && *s->name)
		ft_log(SD_NOTICE, "guest %s: its second path from %s was not taken: %s", s->name, s->address, s->err.text);
	free(s);
}

void second_accept(int sock, const char *from, json_t *request)
{
	json_int_t port = json_integer_value(json_object_get(request, "port"));
	struct second *s = calloc(1, sizeof(*s));

	if (!s) {
		close(sock);
		return;
	}
	s->job.work = accept_work;
	s->job.done = accept_done;
	s->sock = sock;
	s->token = json_integer_value(json_object_get(request, "second"));
	peer_call_back(s->address, sizeof(s->address), from, port);
	peer_impatient(sock);
	if (job_start(&s->job)) {
		close(sock);
		free(s);
	}
}
