// SPDX-License-Identifier: GPL-2.0
/*
 * Ask an arbiter.
 *
 * usage: arbiter-tool CONFIG		the configuration, as JSON
 *        arbiter-tool CONFIG -		a question in each line of standard input:
 *	begin SESSION NAME | keep SESSION | claim SESSION WHO | end SESSION
 *	race SESSION		claims by both sides, in threads that start together
 *
 * Each is answered by a line of JSON; a race by a list of both answers.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "arbiter.h"

struct claim {
	struct arbiter *a;
	const char *session, *who;
	pthread_barrier_t *start;
	json_t *answer;
};

static void say(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s\n", text);
}

static int print(json_t *json)
{
	int ret = json_dumpf(json, stdout, JSON_COMPACT);

	printf("\n");
	fflush(stdout);
	json_decref(json);
	return ret;
}

static int show(const struct ftconfig *c)
{
	json_t *endpoints = json_array(), *standby = json_array();
	size_t i;

	for (i = 0; i < c->guests.n_standby; i++)
		json_array_append_new(standby, json_string(c->guests.standby[i]));

	for (i = 0; i < c->arbiter.n_endpoints; i++)
		json_array_append_new(endpoints, json_string(c->arbiter.endpoints[i]));
	return print(json_pack("{s{ss* ss* ss*} s{si ss* so ss* ss* ss* ss* ss* si si si sb} s{ss* si sb} s{sb sb so si si} s{ss*} s{si ss*} sO}",
			       "ftd", "control", c->control, "listen", c->listen, "state", c->state,
			       "arbiter", "type", c->arbiter.type, "path", c->arbiter.path, "endpoints", endpoints,
			       "ca", c->arbiter.ca, "cert", c->arbiter.cert, "key", c->arbiter.key,
			       "user", c->arbiter.user, "password-file", c->arbiter.password_file,
			       "timeout-ms", c->arbiter.timeout_ms, "lease-s", c->arbiter.lease_s,
			       "host-id", c->arbiter.host_id,
			       "solo", c->arbiter.unreachable == FTUNREACHABLE_SOLO,
			       "fence", "hook", c->fence.hook, "timeout-s", c->fence.timeout_s,
			       "shared-unfenced", c->fence.shared_unfenced,
			       "guests", "start", c->guests.start, "protect-again", c->guests.protect_again,
			       "standby", standby, "standby-after-s", c->guests.standby_after_s,
			       "protect-again-at-once", c->guests.at_once,
			       "metrics", "listen", c->metrics.listen,
			       "link", "timeout-ms", c->link.timeout_ms, "second", c->link.second,
			       "devices", c->devices));
}

static json_t *answer(int ret, const bool *won, const struct fterr *err)
{
	json_t *json = json_pack("{si}", "ret", ret);

	if (!ret && won)
		json_object_set_new(json, "won", json_boolean(*won));
	if (ret)
		json_object_set_new(json, "text", json_string(err->code == ret ? err->text : "(no text)"));
	return json;
}

static void *claim(void *arg)
{
	struct claim *c = arg;
	struct fterr err = { 0 };
	bool won = false;
	int ret;

	if (c->start)
		pthread_barrier_wait(c->start);
	ret = arbiter_claim(c->a, c->session, c->who, &won, &err);
	c->answer = answer(ret, &won, &err);
	return NULL;
}

static json_t *race(struct arbiter *a, const char *session)
{
	pthread_barrier_t start;
	struct claim claims[2] = {
		{ a, session, "primary hosta", &start, NULL }, { a, session, "backup hostb", &start, NULL },
	};
	pthread_t threads[2];
	int i;

	pthread_barrier_init(&start, NULL, 2);
	for (i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, claim, &claims[i]))
			abort();
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start);
	return json_pack("[o o]", claims[0].answer, claims[1].answer);
}

static json_t *ask(struct arbiter *a, char *line)
{
	const char *what = strsep(&line, " "), *session = strsep(&line, " ");
	struct claim c = { a, session, line, NULL, NULL };
	struct fterr err = { 0 };

	if (!session)
		return answer(-1, NULL, &err);
	if (!strcmp(what, "race"))
		return race(a, session);
	if (!strcmp(what, "keep"))
		return answer(arbiter_keep(a, session, &err), NULL, &err);
	if (!strcmp(what, "end"))
		return answer(arbiter_end(a, session, &err), NULL, &err);
	if (!strcmp(what, "begin") && line)
		return answer(arbiter_begin(a, session, line, &err), NULL, &err);
	if (strcmp(what, "claim") || !line)
		return answer(-1, NULL, &err);
	claim(&c);
	return c.answer;
}

int main(int argc, char **argv)
{
	struct ftconfig *config;
	struct arbiter *a;
	struct fterr err;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	if (argc < 2 || ftconfig_read(argv[1], &config, say, NULL))
		return 1;
	if (argc == 2) {
		show(config);
		ftconfig_free(config);
		return 0;
	}
	if (arbiter_new(config, &a, &err)) {
		say(NULL, err.text);
		return 1;
	}
	ftconfig_free(config);
	print(json_pack("{ss sb}", "type", arbiter_type(a), "decides", arbiter_decides(a)));
	while ((len = getline(&line, &size, stdin)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		print(ask(a, line));
	}
	free(line);
	arbiter_free(a);
	return 0;
}
