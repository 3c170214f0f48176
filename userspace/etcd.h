/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Questions to etcd, version 3.4 or newer, by its gateway for JSON: bytes are base64 there,
 * 64-bit numbers are decimal texts, and what is zero or false is left out.
 */
#ifndef FTKVM_ETCD_H
#define FTKVM_ETCD_H

#include "config.h"
#include "util.h"

struct etcd;

/**
 * struct etcd_talk - questions that belong together, over one connection if that works
 * @etcd: to whom
 * @curl: the connection
 * @deadline: of ft_now_ms(), for all of them
 */
struct etcd_talk {
	struct etcd *etcd;
	void *curl;
	int64_t deadline;
};

/**
 * etcd_new() - know where etcd is, and as who to ask
 * @c: the configuration; not used any more afterwards
 * @etcd: gets it; etcd_free() it
 * @err: gets a text if that fails
 * Return: 0 or -errno
 */
int etcd_new(const struct ftconfig *c, struct etcd **etcd, struct fterr *err);

/**
 * etcd_free() - let go of it
 * @etcd: of etcd_new(), in no talk
 */
void etcd_free(struct etcd *etcd);

/**
 * etcd_hello() - begin to ask; any thread may
 * @etcd: whom
 * @talk: gets filled in; etcd_bye() it if that works
 * @deadline: for all that is asked
 * @err: gets a text if that fails
 * Return: 0 or -errno
 */
int etcd_hello(struct etcd *etcd, struct etcd_talk *talk, int64_t deadline, struct fterr *err);

/**
 * etcd_bye() - ask no more
 * @talk: of etcd_hello()
 */
void etcd_bye(struct etcd_talk *talk);

/**
 * etcd_ask() - one question, to the endpoints in turn until one knows an answer
 * @talk: of etcd_hello()
 * @path: "/v3/..."
 * @question: its JSON; the reference is taken, NULL: there is no memory
 * @answer: gets the answer's, a reference
 * @err: gets a text if that fails, with endpoint, cause and remedy
 *
 * An endpoint whose answer got lost may have done what was asked, and is followed by the next
 * one: who asks sees to it that it may be done twice.
 * Return: 0, -ENOENT (there is no such lease), or another -errno
 */
int etcd_ask(struct etcd_talk *talk, const char *path, json_t *question, json_t **answer, struct fterr *err);

/**
 * etcd_bytes() - a text as etcd wants bytes
 * @text: which
 * Return: JSON, or NULL if there is no memory
 */
json_t *etcd_bytes(const char *text);

/**
 * etcd_text() - bytes of etcd's as a text
 * @bytes: JSON, NULL: none
 * @text: gets it, cut if it is too long
 * @size: of @text
 * Return: whether these are bytes
 */
bool etcd_text(const json_t *bytes, char *text, size_t size);

#endif
