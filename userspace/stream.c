// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "stream.h"

struct stream {
	struct stream *next;
	char token[FT_UUID_MAX + 1];
	int fd;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;
static struct stream *streams;

/* With the lock held. */
static struct stream *find(const char *token)
{
	struct stream *s;

	for (s = streams; s && strcmp(s->token, token); s = s->next)
		;
	return s;
}

int stream_expect(char *token, struct fterr *err)
{
	struct stream *s = calloc(1, sizeof(*s));
	int ret = s ? ft_uuid(token, err) : ft_fail(err, -ENOMEM, "ftd is out of memory");

	if (ret) {
		free(s);
		return ret;
	}
	strcpy(s->token, token);
	s->fd = -1;
	pthread_mutex_lock(&lock);
	s->next = streams;
	streams = s;
	pthread_mutex_unlock(&lock);
	return 0;
}

int stream_take(const char *token, int64_t timeout_ms)
{
	struct timespec until;
	struct stream *s;
	int ret = 0, fd;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&lock);
	while ((s = find(token)) && s->fd < 0 && ret != ETIMEDOUT)
		ret = pthread_cond_clockwait(&came, &lock, CLOCK_MONOTONIC, &until);
	fd = !s ? -ENOENT : s->fd >= 0 ? s->fd : -ETIMEDOUT;
	if (s)
		s->fd = -1;
	pthread_mutex_unlock(&lock);
	return fd;
}

void stream_drop(const char *token)
{
	struct stream **at, *s;

	pthread_mutex_lock(&lock);
	for (at = &streams; *at && strcmp((*at)->token, token); at = &(*at)->next)
		;
	s = *at;
	if (s)
		*at = s->next;
	pthread_mutex_unlock(&lock);
	if (s && s->fd >= 0)
		close(s->fd);
	free(s);
}

bool stream_give(const char *token, int fd)
{
	struct stream *s;
	bool wanted;

	pthread_mutex_lock(&lock);
	s = find(token);
	wanted = s && s->fd < 0;
	if (wanted) {
		s->fd = fd;
		pthread_cond_broadcast(&came);
	}
	pthread_mutex_unlock(&lock);
	return wanted;
}
