// SPDX-License-Identifier: GPL-2.0
/*
 * The wire between the two emulated hosts.
 *
 * Each emulator's network card is a UNIX datagram socket. The relay carries
 * datagrams between the two, so that a host whose emulator is killed just
 * falls silent (nothing resets a connection), and so that the driver can pull
 * the cable.
 *
 * usage: relay A-TO-US A B-TO-US B
 *
 * A-TO-US and B-TO-US are sockets that the relay makes; A and B are the
 * emulators'. Orders come on stdin, one a line, and each is answered by a line
 * ("ok" or "what?"); the relay ends with its stdin, and so with its driver:
 *
 *	pass [a|b]	carry datagrams sent by a, by b, or by both
 *	cut [a|b]	drop them
 *	stall [a|b]	keep them until "pass" (up to a limit: a wire is no disk)
 *	lose main|second, find main|second
 *			drop, or don't, what has an address of that path's, either way: "second"
 *			is 10.78.0.0/16, "main" all else; "pass" for both finds both
 *	count		answered "A-FRAMES A-BYTES B-FRAMES B-BYTES DROPPED"
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FRAME	65536
#define QUEUE	16384

enum mode { PASS, CUT, STALL };

struct frame {
	struct frame *next;
	size_t len;
	char data[];
};

/* What no cable carries any more: of the main path, and of the second one. */
static bool lost[2];

/* One direction. */
struct lane {
	int in, out;		/* @out is connected to the receiver, or -1 */
	const char *to;
	enum mode mode;
	struct frame *first, **last;
	unsigned int queued;
	unsigned long frames, bytes, dropped;
};

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(a.sun_path)) {
		fprintf(stderr, "relay: path too long: %s\n", path);
		exit(1);
	}
	strcpy(a.sun_path, path);
	return a;
}

static void open_lane(struct lane *l, const char *from, const char *to)
{
	struct sockaddr_un a = address(from);

	unlink(from);
	l->in = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->in < 0 || bind(l->in, (void *)&a, sizeof(a))) {
		perror(from);
		exit(1);
	}
	l->out = -1;
	l->to = to;
	l->last = &l->first;
}

/* Connected, so that poll() tells when the receiver has room again. */
static int reach(struct lane *l)
{
	struct sockaddr_un a = address(l->to);

	if (l->out >= 0)
		return 0;
	l->out = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->out < 0 || connect(l->out, (void *)&a, sizeof(a))) {
		if (l->out >= 0)
			close(l->out);
		l->out = -1;
		return -1;
	}
	return 0;
}

static void drop_first(struct lane *l)
{
	struct frame *f = l->first;

	l->first = f->next;
	if (!l->first)
		l->last = &l->first;
	l->queued--;
	free(f);
}

/* Is it of the second path? By IPv4's addresses, or ARP's. */
static bool second(const unsigned char *f, size_t len)
{
	static const unsigned char net[] = { 10, 78 };

	if (len < 42 || f[12] != 8)
		return false;
	if (f[13] == 0)
		return !memcmp(f + 26, net, sizeof(net)) || !memcmp(f + 30, net, sizeof(net));
	return f[13] == 6 && (!memcmp(f + 28, net, sizeof(net)) || !memcmp(f + 38, net, sizeof(net)));
}

static void take(struct lane *l)
{
	static char buf[FRAME];
	ssize_t n;

	while ((n = recv(l->in, buf, sizeof(buf), 0)) >= 0) {
		struct frame *f;

		l->frames++;
		l->bytes += n;
		if (l->mode == CUT || l->queued >= QUEUE || lost[second((void *)buf, n)]) {
			l->dropped++;
			continue;
		}
		f = malloc(sizeof(*f) + n);
		if (!f)
			exit(1);
		f->next = NULL;
		f->len = n;
		memcpy(f->data, buf, n);
		*l->last = f;
		l->last = &f->next;
		l->queued++;
	}
}

static void give(struct lane *l)
{
	while (l->first && l->mode == PASS) {
		if (reach(l)) {
			l->dropped++;
			drop_first(l);
			continue;
		}
		if (send(l->out, l->first->data, l->first->len, 0) < 0) {
			if (errno == EAGAIN || errno == ENOBUFS)
				return;
			/* Nobody there (any more): like any wire, lose it. */
			l->dropped++;
			close(l->out);
			l->out = -1;
		}
		drop_first(l);
	}
}

static const char *obey(struct lane *lanes, char *line, char *answer, size_t size)
{
	static const struct {
		const char *name;
		enum mode mode;
	} modes[] = { { "pass", PASS }, { "cut", CUT }, { "stall", STALL } };
	char what[16] = "", who[16] = "";

	sscanf(line, "%15s %15s", what, who);
	if (!strcmp(what, "count")) {
		snprintf(answer, size, "%lu %lu %lu %lu %lu", lanes[0].frames, lanes[0].bytes,
			 lanes[1].frames, lanes[1].bytes, lanes[0].dropped + lanes[1].dropped);
		return answer;
	}
	if (!strcmp(what, "lose") || !strcmp(what, "find")) {
		take(&lanes[0]);
		take(&lanes[1]);
		lost[!strcmp(who, "second")] = *what == 'l';
		return "ok";
	}
	if (!strcmp(what, "pass") && !who[0])
		memset(lost, 0, sizeof(lost));
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(what, modes[i].name))
			continue;
		for (int k = 0; k < 2; k++) {
			if (who[0] && who[0] != "ab"[k])
				continue;
			take(&lanes[k]);
			lanes[k].mode = modes[i].mode;
			while (modes[i].mode == CUT && lanes[k].first)
				drop_first(&lanes[k]);
			give(&lanes[k]);
		}
		return "ok";
	}
	return "what?";
}

int main(int argc, char **argv)
{
	struct lane lanes[2] = { 0 };
	char line[256], answer[256];
	size_t have = 0;

	if (argc != 5) {
		fprintf(stderr, "usage: relay A-TO-US A B-TO-US B\n");
		return 2;
	}
	open_lane(&lanes[0], argv[1], argv[4]);
	open_lane(&lanes[1], argv[3], argv[2]);
	puts("ok");
	fflush(stdout);

	for (;;) {
		struct pollfd p[5] = {
			{ .fd = 0, .events = POLLIN },
			{ .fd = lanes[0].in, .events = POLLIN },
			{ .fd = lanes[1].in, .events = POLLIN },
			{ .fd = -1 }, { .fd = -1 },
		};

		for (int i = 0; i < 2; i++) {
			if (lanes[i].first && lanes[i].mode == PASS) {
				p[3 + i].fd = lanes[i].out;
				p[3 + i].events = POLLOUT;
			}
		}
		if (poll(p, 5, -1) < 0 && errno != EINTR)
			return 1;
		for (int i = 0; i < 2; i++) {
			take(&lanes[i]);
			give(&lanes[i]);
		}
		if (p[0].revents) {
			ssize_t n = read(0, line + have, sizeof(line) - 1 - have);
			char *end;

			if (n <= 0)
				return 0;
			have += n;
			line[have] = 0;
			while ((end = strchr(line, '\n'))) {
				*end = 0;
				puts(obey(lanes, line, answer, sizeof(answer)));
				fflush(stdout);
				have -= end + 1 - line;
				memmove(line, end + 1, have + 1);
			}
			if (have == sizeof(line) - 1)
				have = 0;
		}
	}
}
