// SPDX-License-Identifier: GPL-2.0
/*
 * A handshake over a socket, and what either side would give the kernel: see
 * tests/links.py. Each side is a process, as own names and configurations are a
 * process's.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "config.h"
#include "secure.h"
#include "tests/standin_tls.h"
#include "tests/unit.h"

#define LONG_MS	60000

static void say(void *arg, const char *text)
{
	printf("%s: %s\n", (const char *)arg, text);
}

static int load(const char *path, const char *who)
{
	struct ftconfig *config;
	struct secure *secure;
	struct fterr err;
	int ret;

	ret = ftconfig_read(path, &config, say, (void *)who);
	if (ret)
		return ret;
	ret = secure_load(config, false, &secure, &err);
	ftconfig_free(config);
	if (ret)
		printf("%s: %s\n", who, err.text);
	else
		secure_use(secure);
	return ret;
}

static void print_hex(const char *what, const void *data, size_t len)
{
	const unsigned char *at = data;

	printf(" %s=", what);
	while (len--)
		printf("%02x", *at++);
}

/* What was given to the kernel, and that the socket was left as it had been. */
static int report(const char *who, int fd, int ret, const struct fterr *err)
{
	int left = recv(fd, (char[1]){ }, 1, MSG_PEEK | MSG_DONTWAIT);

	flockfile(stdout);
	printf("%s: %s", who, ret ? err->text : "good");
	if (!ret) {
		print_hex("tx", &standin_tx, sizeof(standin_tx));
		print_hex("rx", &standin_rx, sizeof(standin_rx));
		printf(" left=%d", left > 0);
	}
	printf("\n");
	funlockfile(stdout);
	return !!ret;
}

static int be_server(int fd)
{
	struct fterr err;

	return report("server", fd, secure_accept(fd, "10.0.0.1", LONG_MS, &err), &err);
}

static int be_client(int fd, const char *host)
{
	struct fterr err;

	return report("client", fd, secure_connect(fd, host, LONG_MS, &err), &err);
}

static void *serve(void *arg)
{
	int *fd = arg;

	be_server(*fd);
	close(*fd);
	return NULL;
}

/* A peer that says this, without any TLS: "-" nothing. */
static int be_strange(int fd, const char *text)
{
	char waste[4096];

	if (strcmp(text, "-") && write(fd, text, strlen(text)) < 0)
		return 1;
	if (strcmp(text, "-"))
		shutdown(fd, SHUT_WR);
	while (read(fd, waste, sizeof(waste)) > 0)
		;
	return 0;
}

int unit_secure(const char *server, const char *client, const char *host)
{
	struct fterr err;
	pthread_t thread;
	int fds[2], ret = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) || (*server != '=' && load(server, "server")))
		return 1;
	if (!strcmp(client, "-")) {
		if (pthread_create(&thread, NULL, serve, &fds[0]))
			return 1;
		be_client(fds[1], host);
		close(fds[1]);
		pthread_join(thread, NULL);
		secure_use(NULL);
		return 0;
	}
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(fds[0]);
		if (*client == '=')
			ret = be_strange(fds[1], client + 1);
		else
			ret = load(client, "client") || be_client(fds[1], host);
		secure_use(NULL);
		fflush(stdout);
		_exit(ret);
	}
	close(fds[1]);
	if (*server == '=')
		ret = be_strange(fds[0], server + 1);
	else if (!strcmp(client, "=-"))
		ret = report("server", fds[0], secure_accept(fds[0], "10.0.0.1", 300, &err), &err);
	else
		ret = be_server(fds[0]);
	secure_use(NULL);
	close(fds[0]);
	waitpid(pid, NULL, 0);
	return 0;
}
