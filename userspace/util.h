/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every part of ftd and ftctl needs: errors that carry a text, logging,
 * and whole lines of JSON over a socket.
 */
#ifndef FTKVM_UTIL_H
#define FTKVM_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <jansson.h>
#include <systemd/sd-daemon.h>

#ifndef FTKVM_VERSION
#define FTKVM_VERSION	"0.1"
#endif

#define FT_CONTROL_SOCKET	"/run/ftkvm/ftd.sock"
#define FT_PEER_PORT		"7411"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define __printf(a, b)	__attribute__((format(printf, a, b)))

/* A message for the operator: cause and remedy. */
struct fterr {
	int code;		/* negative errno */
	char text[768];
};

/**
 * ft_fail() - fill in an error
 * @err: may be NULL
 * @code: negative errno
 * Return: @code
 */
int ft_fail(struct fterr *err, int code, const char *fmt, ...) __printf(3, 4);

/* Put words before the text of an error that is there already. Returns err->code. */
int ft_fail_prefix(struct fterr *err, const char *fmt, ...) __printf(2, 3);

/*
 * ft_log() - one line to standard error, or to the journal if that is behind it
 * @level: SD_ERR, SD_WARNING, SD_NOTICE, SD_INFO, SD_DEBUG
 */
void ft_log(const char *level, const char *fmt, ...) __printf(2, 3);

/* CLOCK_MONOTONIC, in milliseconds */
int64_t ft_now_ms(void);

/* How long to wait for the next of several tries: @first, twice as long each time, @most at the most. */
int64_t ft_wait_ms(int64_t first, int64_t most, unsigned int tries);

/*
 * Is @why another reason than that which @said, a hash, is of? It is of @why then; 0: of none. Numbers within
 * make no other: what is tried time and again may tell how long it waited.
 */
bool ft_is_news(uint32_t *said, const char *why);

/* Wait until @fd is ready for @events or @deadline (ft_now_ms()). 0, -ETIMEDOUT, -errno. */
int ft_poll(int fd, short events, int64_t deadline);

/* Write everything before @deadline; 0 or -errno (-ETIMEDOUT). Works on any fd. */
int ft_write_all(int fd, const void *data, size_t len, int64_t deadline);

/**
 * ft_read_line() - take one line off a stream socket and not a byte more
 * @buf: gets the line without its newline, NUL-terminated
 * Return: its length, -ETIMEDOUT, -EMSGSIZE (longer than @size - 1),
 * -ECONNRESET (the peer closed), or another -errno
 */
ssize_t ft_read_line(int fd, char *buf, size_t size, int64_t deadline);

/* Send @json as one line; steals the reference. 0 or -errno. */
int ft_send_json(int fd, json_t *json, int64_t deadline);

/* Words of others', as a JSON string: never NULL. What is not UTF-8 (a character may be cut in two) shows as "?". */
json_t *ft_text_json(const char *text);
/* {"error": its text} */
json_t *ft_error_json(const struct fterr *err);

/* Make or connect a UNIX stream socket's address; -ENAMETOOLONG. */
struct sockaddr_un;
int ft_unix_address(struct sockaddr_un *addr, const char *path);

/*
 * ft_unix_listen() - listen at a UNIX socket that only our own user may connect to
 *
 * Its directory is made if there is none, and the socket that an ftd that did not end
 * well left behind is removed; -EEXIST: what is there is none.
 * Return: the socket, non-blocking, or -errno with a text
 */
int ft_unix_listen(const char *path, int backlog, struct fterr *err);

/*
 * ft_unix_give() - let another user connect to a socket of ft_unix_listen()
 *
 * The file that the socket was bound to, wherever it is by now: at its path there may be
 * a link to some other if the directory is not ours alone.
 * Return: 0, or -errno with a text; EPERM without CAP_NET_ADMIN and CAP_CHOWN
 */
int ft_unix_give(int fd, uid_t uid, struct fterr *err);

/**
 * ft_tcp_listen() - listen at a TCP port
 * @host: an address, IPv4 or IPv6, or a name; "": all addresses of both kinds
 * @port: its number
 * Return: the socket, non-blocking, or -errno with the cause as text, for the caller to say of what
 */
int ft_tcp_listen(const char *host, const char *port, int backlog, struct fterr *err);

/* A guest's name: letters, digits, '-', '_', '.', not more than FTKVM_NAME_MAX. */
bool ft_name_ok(const char *name);

#define FT_UUID_MAX	36

/* A new one, in FT_UUID_MAX + 1 bytes. 0 or -errno with a text. */
int ft_uuid(char *uuid, struct fterr *err);

/* Parse a number (decimal, 0x..., or r... for a raw event); false if it is none. */
bool ft_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* Split "HOST", "HOST:PORT", "[V6]:PORT", ":PORT"; a bare V6 address too. */
int ft_split_host(const char *text, char *host, size_t host_size,
		  char *port, size_t port_size, const char *default_port);

#endif
