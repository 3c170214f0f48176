/* SPDX-License-Identifier: GPL-2.0 */
/* Names and plain words for what the module reports in numbers. */
#ifndef FTKVM_TEXT_H
#define FTKVM_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include "nl.h"

/* Short names, stable: what -j prints. Never NULL. */
const char *ft_state_name(uint32_t state);
const char *ft_role_name(uint32_t role);
const char *ft_loss_name(uint32_t loss);
/* 0: no such name */
uint32_t ft_loss_of(const char *name);
const char *ft_event_name(uint32_t event);
const char *ft_reason_name(uint32_t reason);
const char *ft_stat_name(unsigned int stat);	/* NULL: no such statistic */
/* Not a count: a rate of it says nothing. */
bool ft_stat_is_level(unsigned int stat);
const char *ft_dev_stat_name(unsigned int stat);
const char *ft_dev_kind_name(uint32_t kind);

/* Sentences for people. */
const char *ft_state_words(uint32_t state);
const char *ft_event_words(uint32_t event);
const char *ft_reason_words(uint32_t reason);
const char *ft_second_name(uint64_t second);	/* enum ftkvm_uapi_second */
const char *ft_stat_words(unsigned int stat);

/* Does a guest in this state survive the loss of a host? */
bool ft_state_protected(uint32_t state);

/*
 * ft_next_step() - what the operator had best do now; empty if nothing
 * @r: the replica
 * @ended: its QEMU is gone
 */
void ft_next_step(const struct ftreplica *r, bool ended, char *buf, size_t size);

/* A disk's storage on this host has failed: what comes of that; @r: its guest's replica, or NULL */
const char *ft_storage_meaning(const struct ftreplica *r);

/* "12.3 MB", "1.5 s", "3 min 20 s"; each returns @buf */
char *ft_format_bytes(uint64_t bytes, char *buf, size_t size);
char *ft_format_ns(uint64_t ns, char *buf, size_t size);
char *ft_format_age(uint64_t ms, char *buf, size_t size);
/* "1 epoch", "2 epochs" */
char *ft_format_count(uint64_t n, const char *unit, char *buf, size_t size);
/* wall-clock time of an instant of CLOCK_BOOTTIME, ISO 8601 with milliseconds and zone */
char *ft_format_time(uint64_t boottime_ns, char *buf, size_t size);
uint64_t ft_boottime_ns(void);

#endif
