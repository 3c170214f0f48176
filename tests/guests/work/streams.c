// SPDX-License-Identifier: GPL-2.0
/*
 * Streams of TCP and UDP whose every byte is known: the guest's end and the client's.
 *
 *	streams serve				both ports, for ever
 *	streams tcp ADDRESS SEED BYTES RATE	BYTES there and as many back, at once
 *	streams udp ADDRESS SEED COUNT RATE	at most COUNT datagrams, each of which comes back,
 *						until the end of standard input
 *
 * RATE is per second, of bytes each way or of datagrams. Byte n of a stream is a function of
 * its seed and n, so that one that is lost, doubled or out of place is seen where it happens,
 * by whoever reads it. A client prints a line of JSON now and then and one in the end; its
 * exit status is 0 if each byte was right. Lost datagrams are counted, and not judged.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TCP_PORT	5001
#define UDP_PORT	5002
#define PIECE		4096
#define DATAGRAM	1000
#define PATIENCE_MS	120000	/* with not one byte */
#define LINGER_MS	5000	/* for the last datagrams */

struct hello {
	uint64_t seed;
	uint64_t bytes;
	double rate;
};

struct verdict {		/* what the server has found, behind its own stream */
	uint64_t right;		/* bytes that were as they must be, before the first that was not */
	uint64_t wrong;		/* 1: there was one */
};

struct datagram {
	uint64_t seed;
	uint32_t seq;
	uint32_t back;		/* from the server: how many came, this one included */
	uint32_t bad;		/* ... and how many were not as they must be */
	uint32_t unused;
	uint8_t data[DATAGRAM - 24];
};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Byte @at of stream @seed: eight at a time are one step of splitmix64. */
static uint8_t pattern(uint64_t seed, uint64_t at)
{
	uint64_t z = seed + (at / 8 + 1) * 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) >> (8 * (at % 8));
}

static void fill(uint8_t *to, uint64_t seed, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = pattern(seed, at + i);
}

/* How many of the bytes are right, before the first that is not. */
static size_t right(const uint8_t *from, uint64_t seed, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (from[i] != pattern(seed, at + i))
			return i;
	return n;
}

/* All of it, or the end of the world. */
static void get(int fd, void *to, size_t n)
{
	for (char *p = to; n; ) {
		ssize_t got = recv(fd, p, n, MSG_WAITALL);

		if (got <= 0)
			die("the other end hangs up: %s", got ? strerror(errno) : "end of stream");
		p += got;
		n -= got;
	}
}

static void put(int fd, const void *from, size_t n)
{
	for (const char *p = from; n; ) {
		ssize_t put = send(fd, p, n, MSG_NOSIGNAL);

		if (put <= 0)
			die("the other end hangs up: %s", strerror(errno));
		p += put;
		n -= put;
	}
}

/*
 * @bytes of the stream @out go there while @bytes of the stream @in come, at most @rate (0: as
 * fast as can be) a second. What comes behind a wrong byte is read and not looked at.
 */
static struct verdict both_ways(int fd, uint64_t out, uint64_t in, uint64_t bytes, double rate,
				bool tell)
{
	static uint8_t to[PIECE], from[PIECE];
	uint64_t sent = 0, came = 0, told = 0;
	struct verdict v = { 0 };
	double began = seconds();

	while (sent < bytes || came < bytes) {
		struct pollfd p = { .fd = fd, .events = came < bytes ? POLLIN : 0 };
		double early = rate ? sent / rate - (seconds() - began) : 0;
		bool may = sent < bytes && early <= 0;
		ssize_t n;
		int ready;

		if (may)
			p.events |= POLLOUT;
		ready = poll(&p, 1, sent < bytes && !may ? early * 1000 + 1 : PATIENCE_MS);
		if (ready < 0)
			die("poll: %s", strerror(errno));
		if (!ready && (may || sent == bytes))
			die("no byte went or came for %d s; %" PRIu64 " went, %" PRIu64 " came",
			    PATIENCE_MS / 1000, sent, came);
		if (p.revents & (POLLIN | POLLHUP | POLLERR) && came < bytes) {
			size_t want = bytes - came < PIECE ? bytes - came : PIECE;

			n = recv(fd, from, want, MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				die("after %" PRIu64 " bytes: %s", came,
				    n ? strerror(errno) : "end of stream");
			if (n > 0 && !v.wrong) {
				size_t good = right(from, in, came, n);

				v.right += good;
				v.wrong = good < (size_t)n;
			}
			came += n > 0 ? n : 0;
		}
		if (p.revents & POLLOUT && may) {
			size_t want = bytes - sent < PIECE ? bytes - sent : PIECE;

			fill(to, out, sent, want);
			n = send(fd, to, want, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && errno != EAGAIN)
				die("after %" PRIu64 " bytes: %s", sent, strerror(errno));
			sent += n > 0 ? n : 0;
		}
		if (tell && came - told >= PIECE) {
			told = came;
			printf("{\"sent\": %" PRIu64 ", \"came\": %" PRIu64 "}\n", sent, came);
			fflush(stdout);
		}
	}
	return v;
}

static struct sockaddr_in at(const char *address, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (!inet_aton(address, &a.sin_addr))
		die("no address: %s", address);
	return a;
}

static int tcp(const char *address, uint64_t seed, uint64_t bytes, double rate)
{
	struct sockaddr_in to = at(address, TCP_PORT);
	struct hello hello = { seed, bytes, rate };
	struct verdict mine, theirs;
	double began = seconds();
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die("%s:%d: %s", address, TCP_PORT, strerror(errno));
	put(fd, &hello, sizeof(hello));
	mine = both_ways(fd, seed, seed + 1, bytes, rate, true);
	get(fd, &theirs, sizeof(theirs));
	printf("{\"bytes\": %" PRIu64 ", \"right_here\": %" PRIu64 ", \"right_there\": %" PRIu64
	       ", \"seconds\": %.1f}\n", bytes, mine.right, theirs.right, seconds() - began);
	return mine.wrong || theirs.wrong || mine.right != bytes || theirs.right != bytes;
}

static void serve_tcp(int fd)
{
	struct verdict v;
	struct hello hello;

	get(fd, &hello, sizeof(hello));
	v = both_ways(fd, hello.seed + 1, hello.seed, hello.bytes, hello.rate,
		      false);
	put(fd, &v, sizeof(v));
}

/* As if each datagram were a stream of its own. */
static uint64_t seed_of(const struct datagram *d)
{
	return d->seed + ((uint64_t)d->seq << 20);
}

static bool good(const struct datagram *d, ssize_t n)
{
	return n == sizeof(*d) &&
	       right(d->data, seed_of(d), 0, sizeof(d->data)) == sizeof(d->data);
}

static void serve_udp(int fd, const struct sockaddr_in *peer, struct datagram *d, ssize_t n)
{
	static uint64_t seed;
	static uint32_t came, bad;

	if (n < (ssize_t)offsetof(struct datagram, data)) {
		bad++;
		return;
	}
	if (d->seed != seed && good(d, n)) {
		seed = d->seed;
		came = bad = 0;
	}
	bad += !good(d, n);
	d->back = ++came;
	d->bad = bad;
	sendto(fd, d, n, MSG_DONTWAIT, (const struct sockaddr *)peer, sizeof(*peer));
}

static int serve(void)
{
	struct sockaddr_in a = at("0.0.0.0", TCP_PORT), b = at("0.0.0.0", UDP_PORT);
	struct pollfd p[2] = {
		{ .fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN },
		{ .fd = socket(AF_INET, SOCK_DGRAM, 0), .events = POLLIN },
	};
	int one = 1;

	signal(SIGCHLD, SIG_IGN);
	if (setsockopt(p[0].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(p[0].fd, (struct sockaddr *)&a, sizeof(a)) || listen(p[0].fd, 8) ||
	    bind(p[1].fd, (struct sockaddr *)&b, sizeof(b)))
		die("ports %d and %d: %s", TCP_PORT, UDP_PORT, strerror(errno));
	while (poll(p, 2, -1) > 0) {
		struct sockaddr_in peer;
		socklen_t len = sizeof(peer);
		struct datagram d;
		ssize_t n;
		int fd;

		if (p[0].revents) {
			fd = accept(p[0].fd, NULL, NULL);
			if (fd >= 0 && !fork()) {
				serve_tcp(fd);
				exit(0);
			}
			if (fd >= 0)
				close(fd);
		}
		if (!p[1].revents)
			continue;
		n = recvfrom(p[1].fd, &d, sizeof(d), MSG_DONTWAIT, (struct sockaddr *)&peer, &len);
		if (n >= 0)
			serve_udp(p[1].fd, &peer, &d, n);
	}
	die("poll: %s", strerror(errno));
}

/* The numbers for which @count is @wanted (2: or more), as pairs of first and last. */
static void ranges(const char *name, const uint8_t *count, uint32_t n, unsigned int wanted)
{
	const char *comma = "";

	printf("\"%s\": [", name);
	for (uint32_t i = 0, j; i < n; i = j) {
		for (j = i; j < n && (wanted ? count[j] >= wanted : !count[j]); j++)
			;
		if (j == i) {
			j++;
			continue;
		}
		printf("%s[%u, %u]", comma, i, j - 1);
		comma = ", ";
	}
	printf("], ");
}

/* Take what has come back, for at most @ms: false when there was nothing. */
static bool take(int fd, uint64_t seed, uint32_t sent, uint8_t *count, uint32_t *bad,
		 struct datagram *last, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct datagram d;
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return false;
	n = recv(fd, &d, sizeof(d), MSG_DONTWAIT);
	if (n < 0)	/* what ICMP says is no datagram */
		return true;
	if (!good(&d, n) || d.seed != seed || d.seq >= sent) {
		++*bad;
		return true;
	}
	if (count[d.seq] < 255)
		count[d.seq]++;
	*last = d;
	return true;
}

static bool input_ended(void)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };
	char c;

	return poll(&p, 1, 0) > 0 && read(0, &c, 1) <= 0;
}

static int udp(const char *address, uint64_t seed, uint32_t number, double rate)
{
	struct sockaddr_in to = at(address, UDP_PORT);
	uint8_t *count = calloc(number + 1, 1);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct datagram d, last = { 0 };
	double began = seconds();
	uint32_t bad = 0, sent = 0;

	if (!count || fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die("%s:%d: %s", address, UDP_PORT, strerror(errno));
	while (sent < number && !input_ended()) {
		double left;

		memset(&d, 0, sizeof(d));
		d.seed = seed;
		d.seq = sent;
		fill(d.data, seed_of(&d), 0, sizeof(d.data));
		send(fd, &d, sizeof(d), 0);
		sent++;
		while ((left = began + sent / rate - seconds()) > 0)
			take(fd, seed, sent, count, &bad, &last, left * 1000 + 1);
		if (sent % 10 == 0) {
			printf("{\"sent\": %u, \"last\": %u}\n", sent, last.seq);
			fflush(stdout);
		}
	}
	while (take(fd, seed, sent, count, &bad, &last, LINGER_MS))
		;
	printf("{\"sent\": %u, ", sent);
	ranges("lost", count, sent, 0);
	ranges("doubled", count, sent, 2);
	printf("\"bad_here\": %u, \"bad_there\": %u, \"came_there\": %u}\n", bad, last.bad,
	       last.back);
	return bad || last.bad;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "serve") && argc == 2)
		return serve();
	if (argc != 6)
		die("usage: streams serve | tcp ADDRESS SEED BYTES RATE | "
		    "udp ADDRESS SEED COUNT RATE");
	if (!strcmp(what, "tcp"))
		return tcp(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
			   strtod(argv[5], NULL));
	if (!strcmp(what, "udp"))
		return udp(argv[2], strtoull(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
			   strtod(argv[5], NULL));
	die("streams: what is %s?", what);
}
