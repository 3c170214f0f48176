/* SPDX-License-Identifier: GPL-2.0 */
/* What config.c, which has lines and keys, and config_value.c share. */
#ifndef FTKVM_CONFIG_INTERNAL_H
#define FTKVM_CONFIG_INTERNAL_H

#include "config.h"
#include "util.h"

#define NUMBER_MAX	48	/* sections and keys, each */

/**
 * struct reading - a file that is being read
 * @c: gets what it says
 * @say: of ftconfig_read()
 * @arg: for it
 * @section: that the line is in; NULL: in none that is known
 * @line: its number
 * @named: the line of the last section's name; 0: there was none yet
 * @seen: in which line each key was; 0: not yet
 * @device: what is said of the device of that section, which begins in line @device_line, or
 *	NULL; @device_bad: of it something was complained of
 * @bad: something was complained of
 * @oom: and something else went wrong
 */
struct reading {
	struct ftconfig *c;
	void (*say)(void *arg, const char *text);
	void *arg;
	const char *section;
	int line, named;
	int seen[NUMBER_MAX];
	json_t *device;
	int device_line;
	bool device_bad, bad, oom;
};

/* A key; @put takes the value or complains, and @at, @min, @max are for it. */
struct key {
	const char *section, *name;
	void (*put)(struct reading *r, const struct key *k, const char *value);
	size_t at;
	unsigned int min, max;
};

/* Say what is wrong, in which line (0: in none) and the remedy; then the file is no good. */
void config_complain(struct reading *r, int line, const char *fmt, ...) __printf(3, 4);

/* A section [device NAME] begins; a key of it; it is over, if there is one. */
void config_device_begin(struct reading *r, const char *name);
void config_device_put(struct reading *r, const char *name, const char *value);
void config_device_end(struct reading *r);

/* The @put of the keys. */
void config_put_text(struct reading *r, const struct key *k, const char *value);
void config_put_path(struct reading *r, const struct key *k, const char *value);
void config_put_readable(struct reading *r, const struct key *k, const char *value);
void config_put_secret(struct reading *r, const struct key *k, const char *value);
void config_put_program(struct reading *r, const struct key *k, const char *value);
void config_put_listen(struct reading *r, const struct key *k, const char *value);
void config_put_metrics(struct reading *r, const struct key *k, const char *value);
void config_put_number(struct reading *r, const struct key *k, const char *value);
void config_put_type(struct reading *r, const struct key *k, const char *value);
void config_put_yes_no(struct reading *r, const struct key *k, const char *value);
void config_put_unreachable(struct reading *r, const struct key *k, const char *value);
void config_put_shared(struct reading *r, const struct key *k, const char *value);
void config_put_security(struct reading *r, const struct key *k, const char *value);
void config_put_endpoints(struct reading *r, const struct key *k, const char *value);
void config_put_second(struct reading *r, const struct key *k, const char *value);
void config_put_standby(struct reading *r, const struct key *k, const char *value);

#endif
