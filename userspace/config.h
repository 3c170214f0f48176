/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ftd's configuration file, for people who write it by hand: sections, and a key, '='
 * and a value in each line. What is wrong in it is said with its line and a remedy.
 */
#ifndef FTKVM_CONFIG_H
#define FTKVM_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define FT_CONFIG_FILE	"/etc/ftkvm/ftd.conf"

enum ftarbiter_type {
	FTARBITER_MANUAL,
	FTARBITER_FILE,
	FTARBITER_ETCD,
	FTARBITER_SANLOCK,
};

/* What a primary does whose arbiter can't be asked. */
enum ftunreachable {
	FTUNREACHABLE_FREEZE,
	FTUNREACHABLE_SOLO,
};

/* How connections between hosts are secured. */
enum ftlink_security {
	FTLINK_UNSET,		/* not at all: none are made */
	FTLINK_TLS,
	FTLINK_PSK,
	FTLINK_PLAIN,
};

/**
 * struct ftconfig - what is in the file, or the defaults
 * @file: its name, for messages
 * @there: there is such a file
 * @control, @listen, @state: as ftd's options have them; NULL: not said
 * @arbiter: [arbiter]; @endpoints has no slash at its ends, @timeout_ms is for one question, @host_id
 *	for sanlock's lockspace
 * @fence: [fence]; @hook is NULL if there is none; @shared_unfenced: a backup whose disks both hosts
 *	share goes live by itself without one
 * @guests: [guests]; @start: a peer may have QEMUs started here; @protect_again, @standby,
 *	@standby_after_s, @at_once: again.h
 * @metrics: [metrics]; @listen is NULL where none are served
 * @devices: a list of all [device NAME], each as device_config() has it; the main loop's
 * @link: [link]; what belongs to another security is NULL, and so is what was not said;
 *	@timeout_ms: of a guest that is attached, 0: the module's own; @second: the other host's
 *	address by another way
 *
 * Does not change once it is made, so any thread may read it.
 */
struct ftconfig {
	char *file;
	bool there;
	char *control, *listen, *state;
	struct {
		enum ftarbiter_type type;
		char *path;
		char **endpoints;
		size_t n_endpoints;
		char *ca, *cert, *key, *user, *password_file;
		unsigned int timeout_ms, lease_s, host_id;
		enum ftunreachable unreachable;
	} arbiter;
	struct {
		char *hook;
		unsigned int timeout_s;
		bool shared_unfenced;
	} fence;
	struct {
		bool start, protect_again;
		char **standby;
		size_t n_standby;
		unsigned int standby_after_s, at_once;
	} guests;
	struct {
		char *listen;
	} metrics;
	json_t *devices;
	struct {
		enum ftlink_security security;
		char *ca, *cert, *key, *peer_name, *psk_file;
		unsigned int timeout_ms;
		char *second;
	} link;
};

/* The one that counts now; the main loop's. */
const struct ftconfig *ftd_config(void);

/**
 * ftconfig_read() - read a configuration file
 * @path: its path, or NULL for the default one, which need not be there
 * @config: gets the configuration if all of it is good; ftconfig_free() it
 * @say: is called with each error that is found, "FILE:LINE: cause; remedy"
 * @arg: for @say
 *
 * Looks also at the files that it names, so it may block as they do. Any thread may call it.
 * Return: 0, -ENOENT (@path is not there), -EINVAL (it has errors), or another -errno
 */
int ftconfig_read(const char *path, struct ftconfig **config,
		  void (*say)(void *arg, const char *text), void *arg);

/**
 * ftconfig_free() - let go of a configuration
 * @c: of ftconfig_read(), or NULL
 */
void ftconfig_free(struct ftconfig *c);

#endif
