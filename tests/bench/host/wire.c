// SPDX-License-Identifier: GPL-2.0
/*
 * The other end of tests/guests/bare/io.c, on an interface that is wired to the guest's
 * network: sends what the guest answers, or tells of what it has, or streams to it.
 *
 *	wire INTERFACE MAC WORDS
 *
 * WORDS are the guest's. It begins when the guest's first frame comes, and ends with
 * what the guest has to get or to send.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TYPE	0x88b5
#define PAIR	2	/* frames that are told of at once */
#define LEAST	60

struct frame {
	struct ether_header eth;
	uint64_t number;
	uint8_t rest[2048];
} __attribute__((packed));

static struct frame out;
static int fd;

static void die(const char *what)
{
	fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned long option(const char *words, const char *name, unsigned long otherwise)
{
	size_t n = strlen(name);

	for (const char *p = words; *p; p++)
		if ((p == words || p[-1] == ' ') && !strncmp(p, name, n) && p[n] == '=')
			return strtoul(p + n + 1, NULL, 10);
	return otherwise;
}

static void begin(const char *interface, const char *mac)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(TYPE),
		.sll_ifindex = if_nametoindex(interface),
	};
	uint8_t *a = out.eth.ether_dhost;
	int on = 1;

	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TYPE));
	if (fd < 0 || !at.sll_ifindex || bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)))
		die(interface);
	if (sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", a, a + 1, a + 2, a + 3, a + 4,
		   a + 5) != 6)
		die(mac);
	out.eth.ether_shost[0] = 2;
	out.eth.ether_shost[ETH_ALEN - 1] = 1;
	out.eth.ether_type = htons(TYPE);
}

static uint64_t receive(void)
{
	struct frame in;
	ssize_t n;

	do {
		n = recv(fd, &in, sizeof(in), 0);
		if (n < 0 && errno != ENETDOWN)
			die("receive");
	} while (n < (ssize_t)(sizeof(in.eth) + sizeof(in.number)));
	return in.number;
}

static void give(uint64_t number, unsigned long bytes)
{
	out.number = number;
	if (send(fd, &out, bytes, 0) != (ssize_t)bytes)
		die("send");
}

int main(int argc, char **argv)
{
	unsigned long bytes, window, count, i, sent = 0, told = 0;
	const char *words;

	if (argc != 4) {
		fprintf(stderr, "usage: wire INTERFACE MAC WORDS\n");
		return 2;
	}
	words = argv[3];
	bytes = option(words, "bytes", LEAST);
	window = option(words, "window", 32);
	if (bytes < LEAST || bytes > sizeof(out))
		return 2;
	begin(argv[1], argv[2]);
	puts("ready");
	fflush(stdout);
	receive();

	count = option(words, "answer", 0);
	for (i = 0; i < count; i++) {
		give(i, bytes);
		if (receive() != i)
			die("another answer");
	}
	count = option(words, "send", 0);
	for (i = 0; i < count; i++) {
		if (receive() != i)
			die("another frame");
		if (i % PAIR == PAIR - 1)
			give(i + 1, LEAST);
	}
	count = option(words, "receive", 0);
	while (told < count) {
		while (sent < count && sent + PAIR <= told + window) {
			give(sent++, bytes);
			give(sent++, bytes);
		}
		told = receive();
	}
	return 0;
}
