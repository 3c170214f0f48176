// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "replica_json.h"
#include "text.h"

json_t *ft_stats_json(const struct ftreplica *r)
{
	json_t *json = json_object();
	unsigned int i;

	for (i = 0; i <= FTKVM_STAT_MAX; i++)
		if (r->has_stat[i] && ft_stat_name(i))
			json_object_set_new(json, ft_stat_name(i), json_integer(r->stats[i]));
	return json;
}

/* A string of unknown origin: no JSON string must fail for its bytes. */
static json_t *string(const char *text)
{
	json_t *json = json_string(text);

	return json ? json : json_string("(not UTF-8)");
}

json_t *ft_replica_json(const struct ftreplica *r)
{
	json_t *json = json_object();

	json_object_set_new(json, "name", string(r->name));
	json_object_set_new(json, "state", string(ft_state_name(r->state)));
	json_object_set_new(json, "role", string(ft_role_name(r->role)));
	json_object_set_new(json, "pid", json_integer(r->pid));
	json_object_set_new(json, "peer", string(r->peer));
	json_object_set_new(json, "reason", string(ft_reason_name(r->reason)));
	json_object_set_new(json, "detail", string(r->detail));
	json_object_set_new(json, "period_min", json_integer(r->period_min));
	json_object_set_new(json, "period_max", json_integer(r->period_max));
	json_object_set_new(json, "margin", json_integer(r->margin));
	json_object_set_new(json, "counter", json_integer(r->counter));
	json_object_set_new(json, "timeout_ms", json_integer(r->timeout_ms));
	json_object_set_new(json, "verify_every", json_integer(r->verify_every));
	json_object_set_new(json, "on_loss", string(ft_loss_name(r->on_loss)));
	json_object_set_new(json, "second", string(ft_second_name(r->stats[FTKVM_STAT_SECOND])));
	json_object_set_new(json, "module_version", string(r->module_version));
	json_object_set_new(json, "proto_version", json_integer(r->proto_version));
	json_object_set_new(json, "stats", ft_stats_json(r));
	return json;
}

json_t *ft_event_json(const struct ftevent *e)
{
	json_t *json = json_object();
	char time[40];

	json_object_set_new(json, "time", string(ft_format_time(e->time_ns, time, sizeof(time))));
	json_object_set_new(json, "time_ns", json_integer(e->time_ns));
	json_object_set_new(json, "name", string(e->name));
	json_object_set_new(json, "event", string(ft_event_name(e->event)));
	json_object_set_new(json, "state", string(ft_state_name(e->state)));
	json_object_set_new(json, "role", string(ft_role_name(e->role)));
	json_object_set_new(json, "reason", string(ft_reason_name(e->reason)));
	json_object_set_new(json, "detail", string(e->detail));
	return json;
}

json_t *ft_problems_json(const struct ftproblems *p)
{
	json_t *json = json_object(), *list = json_array();
	size_t i;

	for (i = 0; i < p->n; i++) {
		json_t *one = json_object();

		json_object_set_new(one, "scope", string(p->list[i].scope == FTKVM_SCOPE_GUEST ?
							 "guest" : "host"));
		json_object_set_new(one, "cause", string(p->list[i].cause));
		json_object_set_new(one, "remedy", string(p->list[i].remedy));
		json_array_append_new(list, one);
	}
	json_object_set_new(json, "protectable", json_boolean(!p->n));
	json_object_set_new(json, "module_version", string(p->module_version));
	json_object_set_new(json, "proto_version", json_integer(p->proto_version));
	json_object_set_new(json, "problems", list);
	return json;
}

static void take_string(json_t *json, const char *key, char *buf, size_t size)
{
	const char *text = json_string_value(json_object_get(json, key));

	snprintf(buf, size, "%s", text ? text : "");
}

static uint64_t take_integer(json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

static uint32_t take_name(json_t *json, const char *key, const char *(*name)(uint32_t),
			  uint32_t from, uint32_t to)
{
	const char *text = json_string_value(json_object_get(json, key));
	uint32_t i;

	for (i = from; text && i <= to; i++)
		if (!strcmp(name(i), text))
			return i;
	return text ? to + 1 : from;
}

bool ft_replica_from_json(json_t *json, struct ftreplica *r)
{
	json_t *stats = json_object_get(json, "stats");
	unsigned int i;

	memset(r, 0, sizeof(*r));
	take_string(json, "name", r->name, sizeof(r->name));
	take_string(json, "peer", r->peer, sizeof(r->peer));
	take_string(json, "detail", r->detail, sizeof(r->detail));
	take_string(json, "module_version", r->module_version, sizeof(r->module_version));
	r->state = take_name(json, "state", ft_state_name, 0, FTKVM_UAPI_STATE_UNDECIDED);
	r->role = take_name(json, "role", ft_role_name, 0, FTKVM_UAPI_ROLE_BACKUP);
	r->reason = take_name(json, "reason", ft_reason_name, 0, __FTKVM_REASON_MAX - 1);
	r->pid = take_integer(json, "pid");
	r->counter = take_integer(json, "counter");
	r->timeout_ms = take_integer(json, "timeout_ms");
	r->verify_every = take_integer(json, "verify_every");
	r->on_loss = take_name(json, "on_loss", ft_loss_name, 0, FTKVM_UAPI_LOSS_HOLD);
	r->proto_version = take_integer(json, "proto_version");
	r->period_min = take_integer(json, "period_min");
	r->period_max = take_integer(json, "period_max");
	r->margin = take_integer(json, "margin");
	for (i = 0; i <= FTKVM_STAT_MAX; i++) {
		json_t *value = ft_stat_name(i) ? json_object_get(stats, ft_stat_name(i)) : NULL;

		if (!json_is_integer(value))
			continue;
		r->stats[i] = json_integer_value(value);
		r->has_stat[i] = true;
	}
	return r->name[0];
}

bool ft_event_from_json(json_t *json, struct ftevent *e)
{
	memset(e, 0, sizeof(*e));
	take_string(json, "name", e->name, sizeof(e->name));
	take_string(json, "detail", e->detail, sizeof(e->detail));
	e->time_ns = take_integer(json, "time_ns");
	e->event = take_name(json, "event", ft_event_name, FTKVM_UAPI_EVENT_ATTACHED,
			     FTKVM_UAPI_EVENT_SECOND_UP);
	e->state = take_name(json, "state", ft_state_name, 0, FTKVM_UAPI_STATE_UNDECIDED);
	e->role = take_name(json, "role", ft_role_name, 0, FTKVM_UAPI_ROLE_BACKUP);
	e->reason = take_name(json, "reason", ft_reason_name, 0, __FTKVM_REASON_MAX - 1);
	return e->name[0];
}

bool ft_problems_from_json(json_t *json, struct ftproblems *p)
{
	json_t *list = json_object_get(json, "problems"), *one;
	size_t i;

	if (!json_is_array(list))
		return false;
	take_string(json, "module_version", p->module_version, sizeof(p->module_version));
	p->proto_version = take_integer(json, "proto_version");
	json_array_foreach(list, i, one) {
		const char *cause = NULL, *remedy = NULL, *scope = NULL;

		if (!json_unpack(one, "{s:s, s:s, s:s}", "cause", &cause, "remedy", &remedy, "scope", &scope))
			ftproblem_add(p, strcmp(scope, "guest") ? FTKVM_SCOPE_HOST : FTKVM_SCOPE_GUEST,
				      remedy, "%s", cause);
	}
	return true;
}

json_t *ft_settings_json(const struct ftsettings *set)
{
	json_t *json = json_object();

	if (set->period_min)
		json_object_set_new(json, "period_min", json_integer(set->period_min));
	if (set->period_max)
		json_object_set_new(json, "period_max", json_integer(set->period_max));
	if (set->margin)
		json_object_set_new(json, "margin", json_integer(set->margin));
	if (set->counter)
		json_object_set_new(json, "counter", json_integer(set->counter));
	if (set->timeout_ms)
		json_object_set_new(json, "timeout", json_integer(set->timeout_ms));
	if (set->verify_said)
		json_object_set_new(json, "verify_every", json_integer(set->verify_every));
	if (set->on_loss)
		json_object_set_new(json, "on_loss", string(ft_loss_name(set->on_loss)));
	if (set->token)
		json_object_set_new(json, "token", json_integer(set->token));
	return json;
}

static int setting(json_t *json, const char *key, json_int_t min, json_int_t max,
		   uint64_t *value, struct fterr *err)
{
	json_t *item = json_object_get(json, key);
	json_int_t v = json_integer_value(item);

	*value = 0;
	if (!item || json_is_null(item))
		return 0;
	if (!json_is_integer(item) || v < min || v > max)
		return ft_fail(err, -EINVAL, "%s must be a number from %lld to %lld", key,
			       (long long)min, (long long)max);
	*value = v;
	return 0;
}

static int on_loss(json_t *json, uint32_t *value, struct fterr *err)
{
	json_t *item = json_object_get(json, "on_loss");

	if (!item || json_is_null(item))
		return 0;
	*value = ft_loss_of(json_string_value(item));
	return *value ? 0 : ft_fail(err, -EINVAL, "on_loss must be \"solo\" or \"hold\"");
}

int ft_settings_from_json(json_t *json, struct ftsettings *set, struct fterr *err)
{
	uint64_t counter, timeout, every;
	int ret;

	memset(set, 0, sizeof(*set));
	ret = setting(json, "period_min", 1, INT64_MAX, &set->period_min, err);
	if (!ret)
		ret = setting(json, "period_max", 1, INT64_MAX, &set->period_max, err);
	if (!ret)
		ret = setting(json, "margin", 1, INT64_MAX, &set->margin, err);
	if (!ret)
		ret = setting(json, "counter", 1, UINT32_MAX, &counter, err);
	if (!ret)
		ret = setting(json, "timeout", 1, UINT32_MAX, &timeout, err);
	if (!ret)
		ret = setting(json, "verify_every", 0, FTKVM_VERIFY_HIGHEST, &every, err);
	if (!ret)
		ret = on_loss(json, &set->on_loss, err);
	if (!ret)
		ret = setting(json, "token", 1, INT64_MAX, &set->token, err);
	if (ret)
		return ret;
	set->counter = counter;
	set->timeout_ms = timeout;
	set->verify_every = every;
	set->verify_said = json_is_integer(json_object_get(json, "verify_every"));
	if (set->period_min && set->period_max && set->period_min > set->period_max)
		return ft_fail(err, -EINVAL, "the shortest epoch (period_min) is longer than the longest "
			       "(period_max)");
	return 0;
}
