// SPDX-License-Identifier: GPL-2.0
/*
 * The agent of an emulated host: runs shell commands that the driver outside
 * asks for over a virtio-serial port, any number at a time.
 *
 * It is the host's init: it reaps every orphan, and if it dies the kernel
 * panics and the emulator ends, so a broken testbed never looks like a slow
 * one.
 *
 * Both directions carry frames: a header (little endian: u32 bytes of payload,
 * u32 job, u32 type) and the payload.
 *
 *	to the agent	'R' run the payload by /bin/sh -c as a new job
 *			'I' bytes for the job's stdin; none: close it
 *			'K' u32: send this signal to the job's process group
 *	to the driver	'H' the agent is up (job 0)
 *			'O' 'E' bytes of the job's stdout, stderr
 *			'X' s32: the job ended with this status (128 + signal)
 *
 * 'X' is the last frame of a job: it is sent when the shell has ended, even if
 * a daemon it started still holds the pipes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_JOBS	64
#define MAX_PAYLOAD	(1 << 20)
#define CHUNK		16384

struct header {
	uint32_t len, job, type;
};

struct job {
	uint32_t id;
	pid_t pid;
	int in, out, err;
	char *input;		/* what stdin has not taken yet */
	size_t input_len;
	int input_eof;
};

static struct job jobs[MAX_JOBS];
static int port = -1;
static int wake[2];

static void die(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void on_child(int sig)
{
	int saved = errno;

	(void)sig;
	(void)!write(wake[1], "", 1);
	errno = saved;
}

static void write_all(const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(port, p, len);

		if (n < 0) {
			if (errno != EINTR && errno != EAGAIN)
				die("port");
			continue;
		}
		p += n;
		len -= n;
	}
}

static void send_frame(uint32_t type, uint32_t job, const void *data, size_t len)
{
	char buf[sizeof(struct header) + CHUNK];
	struct header h = { .len = len, .job = job, .type = type };

	memcpy(buf, &h, sizeof(h));
	memcpy(buf + sizeof(h), data, len);
	write_all(buf, sizeof(h) + len);
}

static struct job *find(uint32_t id)
{
	for (int i = 0; i < MAX_JOBS; i++)
		if (jobs[i].pid && jobs[i].id == id)
			return &jobs[i];
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void refuse(uint32_t id, const char *why)
{
	int32_t status = 127;

	send_frame('E', id, why, strlen(why));
	send_frame('X', id, &status, sizeof(status));
}

static void run(uint32_t id, char *command)
{
	int in[2], out[2], err[2];
	struct job *j = NULL;

	for (int i = 0; i < MAX_JOBS && !j; i++)
		if (!jobs[i].pid)
			j = &jobs[i];
	if (!j || find(id)) {
		refuse(id, "agent: too many jobs, or the job's number is taken\n");
		return;
	}
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		die("pipe");

	pid_t pid = fork();

	if (pid < 0) {
		refuse(id, "agent: fork failed\n");
		for (int i = 0; i < 2; i++) {
			close(in[i]);
			close(out[i]);
			close(err[i]);
		}
		return;
	}
	if (!pid) {
		sigset_t none;

		setsid();
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		signal(SIGCHLD, SIG_DFL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	fcntl(in[1], F_SETFL, O_NONBLOCK);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	*j = (struct job){ .id = id, .pid = pid, .in = in[1], .out = out[0], .err = err[0] };
}

static void feed(struct job *j, const char *data, size_t len)
{
	if (j->in < 0)
		return;
	if (!len) {
		j->input_eof = 1;
	} else {
		j->input = realloc(j->input, j->input_len + len);
		if (!j->input)
			die("memory");
		memcpy(j->input + j->input_len, data, len);
		j->input_len += len;
	}
}

static void push_input(struct job *j)
{
	if (j->input_len) {
		ssize_t n = write(j->in, j->input, j->input_len);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			j->input_len = 0;
			j->input_eof = 1;
		} else {
			j->input_len -= n;
			memmove(j->input, j->input + n, j->input_len);
		}
	}
	if (!j->input_len && j->input_eof)
		close_fd(&j->in);
}

/* One read of a pipe; with @all, until it is empty. */
static void pull(struct job *j, int *fd, uint32_t type, int all)
{
	char buf[CHUNK];
	ssize_t n;

	while (*fd >= 0) {
		n = read(*fd, buf, sizeof(buf));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close_fd(fd);
			return;
		}
		send_frame(type, j->id, buf, n);
		if (!all)
			return;
	}
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < MAX_JOBS; i++) {
			struct job *j = &jobs[i];
			int32_t code;

			if (j->pid != pid)
				continue;
			pull(j, &j->out, 'O', 1);
			pull(j, &j->err, 'E', 1);
			code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			send_frame('X', j->id, &code, sizeof(code));
			close_fd(&j->in);
			close_fd(&j->out);
			close_fd(&j->err);
			free(j->input);
			memset(j, 0, sizeof(*j));
		}
	}
}

static void obey(const struct header *h, char *payload)
{
	struct job *j = find(h->job);
	uint32_t sig;

	switch (h->type) {
	case 'R':
		run(h->job, payload);
		break;
	case 'I':
		if (j)
			feed(j, payload, h->len);
		break;
	case 'K':
		memcpy(&sig, payload, sizeof(sig));
		if (j && h->len == sizeof(sig))
			kill(-j->pid, sig);
		break;
	default:
		errno = EPROTO;
		die("unknown frame");
	}
}

/* Frames arrive in pieces: collect, obey each whole one. */
static void from_driver(void)
{
	static char buf[sizeof(struct header) + MAX_PAYLOAD + 1];
	static size_t have;
	struct header h;
	ssize_t n;

	n = read(port, buf + have, sizeof(buf) - 1 - have);
	if (n <= 0) {
		/* No driver yet (the port reads as ended), or just noise. */
		if (n == 0)
			usleep(20000);
		return;
	}
	have += n;
	while (have >= sizeof(h)) {
		memcpy(&h, buf, sizeof(h));
		if (h.len > MAX_PAYLOAD) {
			errno = EMSGSIZE;
			die("frame");
		}
		if (have < sizeof(h) + h.len)
			return;
		char after = buf[sizeof(h) + h.len];

		buf[sizeof(h) + h.len] = 0;	/* a command is a string */
		obey(&h, buf + sizeof(h));
		buf[sizeof(h) + h.len] = after;
		have -= sizeof(h) + h.len;
		memmove(buf, buf + sizeof(h) + h.len, have);
	}
}

int main(int argc, char **argv)
{
	struct pollfd fds[2 + 3 * MAX_JOBS];
	int (*who)[2] = calloc(2 + 3 * MAX_JOBS, sizeof(*who));

	if (argc != 2)
		return 2;
	if (!who || pipe2(wake, O_CLOEXEC | O_NONBLOCK))
		die("pipe");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, on_child);
	/* The port shows up a moment after the device. */
	for (int i = 0; i < 500 && port < 0; i++) {
		port = open(argv[1], O_RDWR | O_CLOEXEC);
		if (port < 0)
			usleep(10000);
	}
	if (port < 0)
		die(argv[1]);
	send_frame('H', 0, "", 0);

	for (;;) {
		int n = 2;
		char drain[64];

		fds[0] = (struct pollfd){ .fd = port, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = wake[0], .events = POLLIN };
		for (int i = 0; i < MAX_JOBS; i++) {
			struct job *j = &jobs[i];
			int f[3] = { j->in, j->out, j->err };

			if (!j->pid)
				continue;
			for (int k = 0; k < 3; k++) {
				if (f[k] < 0 || (k == 0 && !j->input_len && !j->input_eof))
					continue;
				who[n][0] = i;
				who[n][1] = k;
				fds[n++] = (struct pollfd){ .fd = f[k],
							    .events = k ? POLLIN : POLLOUT };
			}
		}
		if (poll(fds, n, -1) < 0) {
			if (errno == EINTR)
				continue;
			die("poll");
		}
		for (int i = 2; i < n; i++) {
			struct job *j = &jobs[who[i][0]];

			if (!fds[i].revents)
				continue;
			if (who[i][1] == 0)
				push_input(j);
			else if (who[i][1] == 1)
				pull(j, &j->out, 'O', 0);
			else
				pull(j, &j->err, 'E', 0);
		}
		if (fds[1].revents)
			while (read(wake[0], drain, sizeof(drain)) > 0)
				;
		reap();
		if (fds[0].revents)
			from_driver();
	}
}
