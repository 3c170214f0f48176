// SPDX-License-Identifier: GPL-2.0
/*
 * The Linux test guest's disk and network. With modules in /lib/modules they are
 * loaded, in the order of the file "order" there. A disk, /dev/vda, is mounted as ext4
 * and keeps the file "log": each line of the demo is on it, by fdatasync(), before it
 * is on the console. A card, eth0, gets an address; behind it is a server:
 *
 *	port 80	HTTP: a page that says how far the demo is, and for how long it is up
 *	port 7	each line comes back, behind the number of the demo's last one
 *
 * A disk that is a root (tests/guests/work) has bin/start, which is told what to run there,
 * and to end before the demo does. The demo fails if it ends by itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/module.h>

#include "devices.h"

#define MODULES		"/lib/modules/"
#define CLIENTS		16
#define PATIENCE_MS	20000	/* for a disk that the kernel finds by and by */

static struct client {
	int fd;			/* 0: free */
	bool web;
	size_t have;
	char line[1024];
} clients[CLIENTS];

static int ports[2] = { -1, -1 };	/* web, echo */
static int disk = -1;
static pid_t programs;		/* who started them; 0: none */
static unsigned long now_at;

static void load_modules(void)
{
	char name[256], path[512];
	FILE *order = fopen(MODULES "order", "re");

	while (order && fscanf(order, "%255s", name) == 1) {
		int fd, flags = strstr(name, ".ko.") ? MODULE_INIT_COMPRESSED_FILE : 0;

		snprintf(path, sizeof(path), MODULES "%s", name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", flags) &&
			       errno != EEXIST))
			fail("module %s: %s", name, strerror(errno));
		close(fd);
	}
	if (order)
		fclose(order);
}

static void open_disk(void)
{
	int tries;

	mkdir("/disk", 0755);
	for (tries = 0; mount("/dev/vda", "/disk", "ext4", 0, NULL); tries++) {
		if (tries >= PATIENCE_MS / 20)
			fail("/dev/vda: %s", strerror(errno));
		usleep(20000);
	}
	disk = open("/disk/log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (disk < 0)
		fail("/disk/log: %s", strerror(errno));
}

static int server(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, CLIENTS))
		fail("port %u: %s", port, strerror(errno));
	return fd;
}

static void set_interface(const char *name, const char *address, unsigned int bits)
{
	struct sockaddr_in *in;
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strncpy(r.ifr_name, name, IFNAMSIZ - 1);
	in = (struct sockaddr_in *)&r.ifr_addr;
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = inet_addr(address);
	if (ioctl(fd, SIOCSIFADDR, &r))
		fail("%s: %s", name, strerror(errno));
	in->sin_addr.s_addr = htonl(bits ? ~0u << (32 - bits) : 0);
	if (ioctl(fd, SIOCSIFNETMASK, &r))
		fail("%s: %s", name, strerror(errno));
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &r))
		fail("%s: %s", name, strerror(errno));
	close(fd);
}

static void open_network(const char *address)
{
	char text[32];
	unsigned int bits = 24;

	if (sscanf(address, "%31[0-9.]/%u", text, &bits) < 1 || bits > 32)
		fail("no address: %s", address);
	set_interface("eth0", text, bits);
	ports[0] = server(80);
	ports[1] = server(7);
}

static void start_programs(const char *names)
{
	programs = fork();
	if (programs < 0)
		fail("fork: %s", strerror(errno));
	if (programs)
		return;
	setsid();
	close(0);
	if (chroot("/disk") || chdir("/") || open("/var/log/start", O_RDWR | O_CREAT, 0644) ||
	    dup2(0, 1) != 1 || dup2(0, 2) != 2)
		_exit(126);
	execl("/bin/start", "start", names, NULL);
	_exit(127);
}

/* As the first process we have the orphans, too. */
static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != programs)
			continue;
		programs = 0;
		fail("/bin/start has ended with status %#x", status);
	}
}

static void end_programs(void)
{
	static const char * const mounts[] = { "dev/pts", "dev/shm", "dev", "run", "tmp", "proc" };
	int status = 0;

	if (!programs)
		return;
	kill(programs, SIGTERM);
	if (waitpid(programs, &status, 0) != programs || status)
		fail("/bin/start has ended with status %#x", status);
	programs = 0;
	/* those that they have left */
	kill(-1, SIGKILL);
	while (wait(NULL) > 0)
		;
	for (size_t i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		char path[32];

		snprintf(path, sizeof(path), "/disk/%s", mounts[i]);
		if (umount(path))
			fail("%s: %s", path, strerror(errno));
	}
}

void devices_begin(const char *disk_wanted, const char *address, const char *names)
{
	if (!disk_wanted && !address)
		return;
	load_modules();
	if (disk_wanted)
		open_disk();
	if (address)
		open_network(address);
	if (names)
		start_programs(names);
}

void devices_line(unsigned long number, const char *text)
{
	char line[512];
	int n;

	now_at = number;
	if (programs)
		reap();
	if (disk < 0)
		return;
	n = snprintf(line, sizeof(line), "%06lu %s\n", number, text);
	if (write(disk, line, n) != n || fdatasync(disk))
		fail("/disk/log: %s", strerror(errno));
}

void devices_end(void)
{
	end_programs();
	if (disk < 0)
		return;
	close(disk);
	if (umount("/disk"))
		fail("/disk: %s", strerror(errno));
}

static void drop(struct client *c)
{
	close(c->fd);
	c->fd = 0;
}

static void tell(struct client *c, const char *text, size_t len)
{
	/* a client that does not read what it asked for is let go */
	if (send(c->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
		drop(c);
}

/* A whole line, without its end. */
static void serve_line(struct client *c, const char *line)
{
	char text[sizeof(c->line) + 64], body[128];
	struct timespec up;
	int n;

	if (!c->web) {
		n = snprintf(text, sizeof(text), "%06lu %s\n", now_at, line);
		tell(c, text, n);
		return;
	}
	if (strcspn(line, "\r"))
		return;
	/* the request's head is at its end */
	clock_gettime(CLOCK_MONOTONIC, &up);
	snprintf(body, sizeof(body),
		 "<!doctype html><title>ftdemo</title><p>line %06lu, up %ld.%03ld s</p>\n", now_at,
		 (long)up.tv_sec, up.tv_nsec / 1000000);
	n = snprintf(text, sizeof(text), "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n"
		     "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
	tell(c, text, n);
	if (c->fd)
		drop(c);
}

static void serve(struct client *c)
{
	ssize_t n = recv(c->fd, c->line + c->have, sizeof(c->line) - 1 - c->have, MSG_DONTWAIT);
	char *end;

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			drop(c);
		return;
	}
	c->have += n;
	c->line[c->have] = 0;
	while (c->fd && (end = strchr(c->line, '\n'))) {
		*end = 0;
		serve_line(c, c->line);
		c->have -= end + 1 - c->line;
		memmove(c->line, end + 1, c->have + 1);
	}
	if (c->fd && c->have == sizeof(c->line) - 1)
		drop(c);
}

static void welcome(int port, bool web)
{
	int fd = accept4(port, NULL, NULL, SOCK_CLOEXEC), one = 1, i;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_TCP, TCP_NODELAY, &one, sizeof(one));
	for (i = 0; i < CLIENTS; i++) {
		if (clients[i].fd)
			continue;
		clients[i] = (struct client){ .fd = fd, .web = web };
		return;
	}
	close(fd);
}

int devices_wait(const struct timespec *left)
{
	struct pollfd p[3 + CLIENTS] = { { .fd = 0, .events = POLLIN } };
	int i, n;

	for (i = 0; i < 2; i++)
		p[1 + i] = (struct pollfd){ .fd = ports[i], .events = POLLIN };
	for (i = 0; i < CLIENTS; i++)
		p[3 + i] = (struct pollfd){ .fd = clients[i].fd ? clients[i].fd : -1,
					    .events = POLLIN };
	n = ppoll(p, 3 + CLIENTS, left, NULL);
	if (n <= 0)
		return n;
	for (i = 0; i < CLIENTS; i++)
		if (p[3 + i].revents)
			serve(&clients[i]);
	for (i = 0; i < 2; i++)
		if (p[1 + i].revents)
			welcome(ports[i], !i);
	return p[0].revents ? 1 : 2;
}
