/* SPDX-License-Identifier: GPL-2.0 */
/* ftctl: what its files share. */
#ifndef FTKVM_FTCTL_H
#define FTKVM_FTCTL_H

#include <stdio.h>
#include "nl.h"

/* Exit statuses; ftctl(8) tells them. */
enum {
	FTCTL_OK = 0,
	FTCTL_REFUSED = 1,	/* it could not be done, or the answer is no */
	FTCTL_USAGE = 2,
	FTCTL_UNREACHABLE = 3,	/* the kernel module or ftd is not there */
};

#define FTCTL_CONSOLES	16

/* The options of all commands; each command takes some. */
struct ftctl {
	bool json;
	const char *control;

	const char *name;
	const char *qmp;
	const char *consoles[FTCTL_CONSOLES];
	unsigned int nconsoles;
	const char *peer, *peer_name, *second;
	struct ftsettings set;
	uint64_t downtime_ms;	/* 0: ftd's */
	bool force, disks;
	bool patient;		/* the order may take hours: it is waited for as long as ftd lives */
	void (*progress)(const struct ftctl *ctl);	/* of such a one: called while it is waited for; NULL */
	uint64_t watch;		/* seconds; 0: once */
	struct {
		uint64_t delay_ms, count;	/* 0: as by default; for ever */
		bool batch;
	} top;

	unsigned int verb;	/* of a command that has some: which; 0: none, or the first */
	struct {
		const char *guest, *kind, *socket, *file, *tap, *user, *to;
		uint64_t no;
		bool no_said, readonly, discard, shared;
	} device;
};

/* Of "device" */
enum { DEVICE_SHOW, DEVICE_ADD, DEVICE_DEL, DEVICE_SYNC };

/* Which option a command takes; a mask. */
enum {
	OPT_QMP		= 1 << 0,
	OPT_CONSOLE	= 1 << 1,
	OPT_PEER	= 1 << 2,
	OPT_SETTINGS	= 1 << 3,
	OPT_FORCE	= 1 << 4,
	OPT_WATCH	= 1 << 5,
	OPT_DEVICE	= 1 << 6,
	OPT_DISKS	= 1 << 7,
	OPT_TOP		= 1 << 8,
	OPT_DOWNTIME	= 1 << 9,
	OPT_WHOLE	= 1 << 10,	/* none; its name must not be abbreviated */
};

enum ftctl_name { NAME_NONE, NAME_MAY, NAME_MUST };

struct ftctl_command {
	const char *name;
	enum ftctl_name takes_name;
	unsigned int options;
	int (*run)(struct ftctl *ctl);
	const char *usage, *what;
	const char *const *verbs;	/* ends with NULL; behind verb and name, options need no "--" */
};

/* In the order in which an abbreviation is looked up; ends with an empty one. */
extern const struct ftctl_command ftctl_commands[];

/**
 * ftctl_find() - the command of this name, or the first one that begins so
 * Return: NULL if there is none
 */
const struct ftctl_command *ftctl_find(const char *word);

/**
 * ftctl_parse() - take the words behind "ftctl" apart
 * @command: set to what is to be run; NULL: only help or version was wanted
 * Return: 0, or -EINVAL with a text
 */
int ftctl_parse(struct ftctl *ctl, const struct ftctl_command **command, int argc,
		char *const *argv, struct fterr *err);

/**
 * ftctl_option() - take one option
 * @ctl: gets it
 * @c: the command, or NULL if it comes later
 * @argc: words that are left
 * @argv: these; the first is the option, with dashes or without
 * Return: how many words it took, or -EINVAL with a text
 */
int ftctl_option(struct ftctl *ctl, const struct ftctl_command *c, int argc,
		 char *const *argv, struct fterr *err);

int cmd_attach(struct ftctl *ctl);
int cmd_detach(struct ftctl *ctl);
int cmd_pair(struct ftctl *ctl);
int cmd_unpair(struct ftctl *ctl);
int cmd_unprotect(struct ftctl *ctl);
int cmd_fence(struct ftctl *ctl);
int cmd_protect(struct ftctl *ctl);
int cmd_switchover(struct ftctl *ctl);
int cmd_pause(struct ftctl *ctl);
int cmd_resume(struct ftctl *ctl);
int cmd_promote(struct ftctl *ctl);
int cmd_verify(struct ftctl *ctl);
int cmd_status(struct ftctl *ctl);
int cmd_list(struct ftctl *ctl);
int cmd_stats(struct ftctl *ctl);
int cmd_top(struct ftctl *ctl);
int cmd_monitor(struct ftctl *ctl);
int cmd_set(struct ftctl *ctl);
int cmd_check(struct ftctl *ctl);
int cmd_device(struct ftctl *ctl);
int ftctl_device_sync(struct ftctl *ctl);

/* Say the error; the exit status that goes with it. */
int ftctl_error(const struct fterr *err);
/* One line of JSON on standard output; steals the reference. FTCTL_OK. */
int ftctl_print_json(json_t *json);

/**
 * ftctl_order() - ask, and print the answer, or let @said say what it means
 * @request: the reference is stolen
 * Return: an exit status
 */
int ftctl_order(struct ftctl *ctl, json_t *request,
		void (*said)(const struct ftctl *ctl, json_t *answer));

/* An order about the guest. A new reference. */
json_t *ftctl_request(const struct ftctl *ctl, const char *cmd);
/* ... that joins it with a peer; as ftctl_order(). */
int ftctl_order_pair(struct ftctl *ctl, const char *cmd,
		     void (*said)(const struct ftctl *ctl, json_t *answer));

/* The same file for ftd, whose directory is not ours; NULL with a text. */
json_t *ftctl_path(const char *path, struct fterr *err);

/**
 * ftctl_ask() - one request to ftd
 * @request: the reference is stolen
 * Return: its answer, which is no error, or NULL with a text (-ENOTCONN: no ftd)
 */
json_t *ftctl_ask(const struct ftctl *ctl, json_t *request, struct fterr *err);

#endif
