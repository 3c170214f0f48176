/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DEVICES_H
#define DEVICES_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Say what is wrong, and end the guest. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/*
 * @disk: NULL for none; @address: of the card, ADDRESS/BITS, or NULL; @programs: the disk is a
 * root, on which these run, or NULL.
 */
void devices_begin(const char *disk, const char *address, const char *programs);

/* Line @number of the demo is to be said: put it on the disk first. */
void devices_line(unsigned long number, const char *text);

void devices_end(void);

/* Serve for @left. 0: it is over; 1: something was typed; 2: it is not over yet. */
int devices_wait(const struct timespec *left);

#endif
