/* SPDX-License-Identifier: GPL-2.0 */
/* Replicas, events and problems as JSON; what ftctl prints with -j. */
#ifndef FTKVM_REPLICA_JSON_H
#define FTKVM_REPLICA_JSON_H

#include "nl.h"

/* Each returns a new reference. */
json_t *ft_replica_json(const struct ftreplica *r);
json_t *ft_stats_json(const struct ftreplica *r);
json_t *ft_event_json(const struct ftevent *e);
/* { "ok_to_protect": ..., "problems": [ { cause, remedy, scope } ... ], versions } */
json_t *ft_problems_json(const struct ftproblems *p);
json_t *ft_settings_json(const struct ftsettings *set);

/* The way back; what is missing is zero. False: it makes no sense. */
bool ft_replica_from_json(json_t *json, struct ftreplica *r);
bool ft_event_from_json(json_t *json, struct ftevent *e);
bool ft_problems_from_json(json_t *json, struct ftproblems *p);
/* Settings are checked: a value of the wrong type or out of range is refused. */
int ft_settings_from_json(json_t *json, struct ftsettings *set, struct fterr *err);

#endif
