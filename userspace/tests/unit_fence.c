// SPDX-License-Identifier: GPL-2.0
/* Fence hooks: see tests/fencing.py. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "children.h"
#include "fence.h"
#include "tests/unit.h"

#define TRY_MS	60000

int unit_fence(const char *hook, const char *peer)
{
	struct fterr err = { 0 };
	int ret = fence_run(hook, 60, "web", peer, &err);

	printf("%s\n", ret ? err.text : "fenced");
	return ret ? 1 : 0;
}

static void *run_hook(void *arg)
{
	struct fterr err = { 0 };

	fence_run(arg, 5, "web", "hostb", &err);
	return strdup(err.text);
}

int unit_fence_stuck(const char *hook, const char *good)
{
	int64_t deadline = ft_now_ms() + TRY_MS;
	pthread_t threads[CHILDREN_STUCK];
	struct fterr err = { 0 };
	siginfo_t left;
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(threads); i++)
		if (pthread_create(&threads[i], NULL, run_hook, (void *)hook))
			return 1;
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		void *text = NULL;

		pthread_join(threads[i], &text);
		printf("%s\n", (char *)text);
		free(text);
	}
	ret = fence_run(good, 60, "web", "hostb", &err);
	printf("%s\n", ret ? err.text : "fenced");
	/* somebody lets them go now */
	fflush(stdout);
	getchar();
	do {
		ret = fence_run(good, 60, "web", "hostb", &err);
	} while (ret == -EBUSY && ft_now_ms() < deadline);
	printf("%s\n", ret ? err.text : "fenced");
	ret = 0;
	while (!ret && ft_now_ms() < deadline) {
		fence_run(good, 60, "web", "hostb", &err);
		ret = waitid(P_ALL, 0, &left, WEXITED | WNOHANG | WNOWAIT);
	}
	printf("%s\n", ret < 0 && errno == ECHILD ? "no child is left" : "a child is left");
	return 0;
}

struct asking {
	pthread_t thread;
	const char *hook;
	char guest[64], peer[64];
};

static void *ask(void *arg)
{
	struct asking *a = arg;
	struct fterr err = { 0 };
	int ret = fence_host(a->hook, 60, a->guest, a->peer, &err);

	printf("%s: %s\n", a->guest, ret ? err.text : "fenced");
	return NULL;
}

int unit_fence_many(const char *hook)
{
	struct asking all[64];
	size_t n = 0;

	setlinebuf(stdout);
	for (; n < ARRAY_SIZE(all); n++) {
		all[n].hook = hook;
		if (scanf("%63s %63s", all[n].guest, all[n].peer) != 2 ||
		    pthread_create(&all[n].thread, NULL, ask, &all[n]))
			break;
	}
	while (n--)
		pthread_join(all[n].thread, NULL);
	return 0;
}
