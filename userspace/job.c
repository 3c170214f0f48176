// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
#include "guest.h"
#include "job.h"

static int pipe_fds[2] = { -1, -1 };

static void *run(void *arg)
{
	struct job *job = arg;

	job->work(job);
	while (write(pipe_fds[1], &job, sizeof(job)) < 0 && errno == EINTR)
		;
	return NULL;
}

static int on_done(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct job *job;

	(void)s;
	(void)revents;
	(void)arg;
	while (read(fd, &job, sizeof(job)) == sizeof(job))
		job->done(job);
	return 0;
}

int job_init(void)
{
	if (pipe2(pipe_fds, O_CLOEXEC))
		return -errno;
	fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
	return sd_event_add_io(ftd_loop, NULL, pipe_fds[0], EPOLLIN, on_done, NULL);
}

int job_start(struct job *job)
{
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	ret = pthread_create(&thread, &attr, run, job);
	pthread_attr_destroy(&attr);
	return -ret;
}
