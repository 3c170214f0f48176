// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nl_dev.h"
#include "replica_json.h"
#include "text.h"
#include "view.h"

bool ftview_protected(const struct ftview *v)
{
	return !v->ended && ft_state_protected(v->r.state);
}

/* The order at 3 a.m.: what waits for a decision, what the next failure ends, the rest. */
static int trouble(const struct ftview *v)
{
	static const int by_state[] = {
		[FTKVM_UAPI_STATE_UNDECIDED] = 7, [FTKVM_UAPI_STATE_ORPHAN] = 6,
		[FTKVM_UAPI_STATE_TAKEOVER] = 5,
		[FTKVM_UAPI_STATE_SOLO] = 4, [FTKVM_UAPI_STATE_STOPPED] = 3,
		[FTKVM_UAPI_STATE_IDLE] = 1,
	};

	if (v->ended)
		return 2;
	return v->r.state < ARRAY_SIZE(by_state) ? by_state[v->r.state] : 0;
}

static int compare(const void *a, const void *b)
{
	const struct ftview *x = a, *y = b;
	int d = trouble(y) - trouble(x);

	return d ? d : strcmp(x->r.name, y->r.name);
}

static struct ftview *find(struct ftviews *v, const char *name)
{
	size_t i;

	for (i = 0; i < v->n; i++)
		if (!strcmp(v->list[i].r.name, name))
			return &v->list[i];
	return NULL;
}

static struct ftview *add(struct ftviews *v)
{
	struct ftview *list = realloc(v->list, (v->n + 1) * sizeof(*list));

	if (!list)
		abort();
	v->list = list;
	list += v->n++;
	memset(list, 0, sizeof(*list));
	return list;
}

static void merge_guest(struct ftviews *v, json_t *info)
{
	const char *name = json_string_value(json_object_get(info, "name"));
	bool ended = json_is_true(json_object_get(info, "ended"));
	struct ftview *one = name ? find(v, name) : NULL;
	struct ftreplica final;

	if (!name)
		return;
	if (!one) {
		/* The module has let go of it; ftd remembers how it ended. */
		if (!ended || !ft_replica_from_json(json_object_get(info, "final"), &final))
			return;
		one = add(v);
		one->r = final;
	}
	one->info = info;
	one->ended = ended;
}

static void merge_event(struct ftviews *v, json_t *json)
{
	struct ftevent event;
	struct ftview *one;

	if (!ft_event_from_json(json, &event))
		return;
	one = find(v, event.name);
	/* An older guest may have had the name, or an event is not told yet. */
	if (!one || event.state != one->r.state)
		return;
	one->event = event;
	one->since_ns = json_integer_value(json_object_get(json, "since_ns"));
}

void ftviews_merge(struct ftviews *v, json_t *answer)
{
	json_t *one;
	size_t i;

	v->answer = answer;
	json_array_foreach(json_object_get(answer, "guests"), i, one)
		merge_guest(v, one);
	json_array_foreach(json_object_get(answer, "history"), i, one)
		merge_event(v, one);
	if (v->n)
		qsort(v->list, v->n, sizeof(*v->list), compare);
}

static void merge_disks(struct ftviews *v)
{
	struct ftdev *devs = NULL;
	struct fterr ignored;
	size_t n = 0, i, k;

	ftnl_dev_dump(&devs, &n, &ignored);
	for (i = 0; i < v->n; i++) {
		struct ftview *one = &v->list[i];

		one->failed = json_array();
		for (k = 0; k < n && !one->ended; k++)
			if (devs[k].pid == one->r.pid && devs[k].kind == FTKVM_UAPI_DEV_BLK &&
			    devs[k].stats[FTKVM_DEV_STAT_FAILED])
				json_array_append_new(one->failed, json_string(devs[k].name));
	}
	free(devs);
}

static void keep_only(struct ftviews *v, const char *name)
{
	struct ftview *one = find(v, name), kept;
	size_t i;

	if (one)
		kept = *one;
	for (i = 0; i < v->n; i++)
		if (&v->list[i] != one)
			json_decref(v->list[i].failed);
	v->n = !!one;
	if (one)
		v->list[0] = kept;
}

int ftviews_get(const struct ftctl *ctl, const char *name, struct ftviews *v, struct fterr *err)
{
	struct ftreplica *replicas = NULL;
	struct fterr ignored;
	json_t *answer;
	size_t n = 0, i;
	int ret;

	memset(v, 0, sizeof(*v));
	/* ftd first: what it holds of a guest that ends meanwhile comes too late otherwise. */
	answer = ftctl_ask(ctl, json_pack("{s:s}", "cmd", "info"), &ignored);
	ret = ftnl_dump(&replicas, &n, err);
	if (ret) {
		free(replicas);
		json_decref(answer);
		return ret;
	}
	for (i = 0; i < n; i++)
		add(v)->r = replicas[i];
	free(replicas);
	ftviews_merge(v, answer);
	merge_disks(v);
	if (!name)
		return 0;
	keep_only(v, name);
	if (v->n)
		return 0;
	ftviews_free(v);
	return ft_fail(err, -ENOENT, "no guest %s is attached here; \"ftctl list\" shows those there are", name);
}

void ftviews_free(struct ftviews *v)
{
	size_t i;

	json_decref(v->answer);
	for (i = 0; i < v->n; i++)
		json_decref(v->list[i].failed);
	free(v->list);
	memset(v, 0, sizeof(*v));
}

/* QEMU does not run it. Of a replica that is never to run again that is no news. */
static bool stands_still(const struct ftview *v)
{
	return json_object_get(v->info, "still") && !v->ended && v->r.state != FTKVM_UAPI_STATE_STOPPED;
}

json_t *ftview_json(const struct ftview *v)
{
	json_t *json = ft_replica_json(&v->r), *consoles = json_object_get(v->info, "consoles");
	json_t *arbiter = json_object_get(v->info, "arbiter"), *again = json_object_get(v->info, "again");
	const char *busy = json_string_value(json_object_get(v->info, "busy"));
	char text[512];

	json_object_set_new(json, "protected", json_boolean(ftview_protected(v)));
	json_object_set_new(json, "ended", json_boolean(v->ended));
	if (v->failed)
		json_object_set(json, "failed_disks", v->failed);
	if (busy)
		json_object_set_new(json, "busy", json_string(busy));
	if (v->since_ns) {
		json_object_set_new(json, "since", json_string(ft_format_time(v->since_ns, text,
									      sizeof(text))));
		json_object_set_new(json, "since_ns", json_integer(v->since_ns));
	}
	if (v->event.event)
		json_object_set_new(json, "last_event", ft_event_json(&v->event));
	if (consoles)
		json_object_set(json, "consoles", consoles);
	if (arbiter)
		json_object_set(json, "arbiter", arbiter);
	if (again)
		json_object_set(json, "again", again);
	if (stands_still(v))
		json_object_set(json, "still", json_object_get(v->info, "still"));
	ft_next_step(&v->r, v->ended, text, sizeof(text));
	json_object_set_new(json, "next_step", json_string(text));
	return json;
}

/* --- for people ------------------------------------------------------------ */

static void print_link(const struct ftreplica *r, FILE *to)
{
	const uint64_t *s = r->stats;
	char age[32], n[48];

	if (r->role == FTKVM_UAPI_ROLE_NONE && !*r->peer)
		return;
	fprintf(to, "    role     %s%s%s", ft_role_name(r->role), *r->peer ? ", peer " : "", r->peer);
	if (s[FTKVM_STAT_LINKED])
		fprintf(to, ", link up, last heard %s ago", ft_format_age(s[FTKVM_STAT_SILENCE_MS], age,
									   sizeof(age)));
	else
		fprintf(to, ", no link");
	fputc('\n', to);
	if (s[FTKVM_STAT_SECOND] == FTKVM_UAPI_SECOND_UP)
		fprintf(to, "    second   path up, last heard %s ago\n", ft_format_age(s[FTKVM_STAT_SECOND_SILENCE_MS], age,
										    sizeof(age)));
	else if (s[FTKVM_STAT_SECOND] == FTKVM_UAPI_SECOND_DOWN)
		fputs("    second   path DOWN: nobody tells a dead host from a cut link\n", to);
	if (!s[FTKVM_STAT_EPOCHS])
		return;
	fprintf(to, "    lag      %s now", ft_format_count(s[FTKVM_STAT_LAG_EPOCHS], "epoch", n, sizeof(n)));
	/* Only the primary sees both ends. */
	if (r->role == FTKVM_UAPI_ROLE_PRIMARY)
		fprintf(to, ", median %llu, greatest %llu", (unsigned long long)s[FTKVM_STAT_LAG_MEDIAN],
			(unsigned long long)s[FTKVM_STAT_LAG_MAX]);
	fprintf(to, "; %s of log not yet consumed\n", ft_format_bytes(s[FTKVM_STAT_LAG_BYTES], n, sizeof(n)));
	fprintf(to, "    so far   %s", ft_format_count(s[FTKVM_STAT_EPOCHS], "epoch", n, sizeof(n)));
	fprintf(to, ", %s", ft_format_count(s[FTKVM_STAT_INPUTS], "input", n, sizeof(n)));
	fprintf(to, ", %s", ft_format_count(s[FTKVM_STAT_OUTPUTS], "output", n, sizeof(n)));
	fprintf(to, ", log %s", ft_format_bytes(s[FTKVM_STAT_LOG_BYTES], n, sizeof(n)));
	fprintf(to, ", %s\n", ft_format_count(s[FTKVM_STAT_DIVERGENCES], "divergence", n, sizeof(n)));
	if (s[FTKVM_STAT_TAKEOVER_NS])
		fprintf(to, "    takeover in %s\n", ft_format_ns(s[FTKVM_STAT_TAKEOVER_NS], n, sizeof(n)));
}

static void print_why(const struct ftreplica *r, FILE *to)
{
	const char *words = ft_reason_words(r->reason);

	if (r->reason == FTKVM_REASON_NONE)
		return;
	fprintf(to, "    why      %s%s%s%s\n", words, *r->detail ? " (" : "", r->detail, *r->detail ? ")" : "");
}

static void print_since(const struct ftview *v, FILE *to)
{
	uint64_t now = ft_boottime_ns();
	char at[40], age[32];

	if (!v->since_ns || v->since_ns > now)
		return;
	fprintf(to, "    since    %s, %s ago\n", ft_format_time(v->since_ns, at, sizeof(at)),
		ft_format_age((now - v->since_ns) / 1000000, age, sizeof(age)));
}

static void print_qemu(const struct ftview *v, bool ftd_runs, FILE *to)
{
	json_t *con;
	size_t i;

	if (v->ended)
		fprintf(to, "    QEMU     process %u has ended\n", v->r.pid);
	else
		fprintf(to, "    QEMU     process %u%s\n", v->r.pid,
			ftd_runs && !v->info ? "; ftd does not know it: its consoles can't be switched" :
			json_is_false(json_object_get(v->info, "monitor")) ?
			"; ftd has lost its monitor and tries on" : "");
	json_array_foreach(json_object_get(v->info, "consoles"), i, con) {
		const char *id = "", *backend = "";
		int live = 0;

		json_unpack(con, "{s:s, s:s, s:b}", "id", &id, "backend", &backend, "live", &live);
		fprintf(to, "    console  %s: %s %s\n", id, live ? "live at" : "muted, will be", backend);
	}
}

static void print_disks(const struct ftview *v, FILE *to)
{
	json_t *name;
	size_t i;

	json_array_foreach(v->failed, i, name)
		fprintf(to, "    disk     %s: its storage on this host has FAILED: %s (ftctl device)\n",
			json_string_value(name), ft_storage_meaning(&v->r));
}

/* Who decides when a host is lost, where there is something to be decided, or may be. */
static void print_arbiter(const struct ftview *v, FILE *to)
{
	static const struct {
		const char *heard, *words;
	} said[] = {
		{ "unasked", "was not asked about this pairing yet" },
		{ "known", "knows the pairing, nothing is decided" },
		{ "decided", "has decided" },
		{ "forgotten", "DOES NOT KNOW the pairing (any more): an operator decides" },
		{ "no-answer", "DOES NOT ANSWER" },
	};
	json_t *json = json_object_get(v->info, "arbiter");
	const char *type = json_string_value(json_object_get(json, "type"));
	const char *heard = json_string_value(json_object_get(json, "heard"));
	const char *detail = json_string_value(json_object_get(json, "detail"));
	uint64_t at = json_integer_value(json_object_get(json, "heard_ns")), now = ft_boottime_ns();
	json_int_t asked = json_integer_value(json_object_get(json, "asked"));
	bool waits = v->r.state == FTKVM_UAPI_STATE_ORPHAN || v->r.state == FTKVM_UAPI_STATE_UNDECIDED;
	char age[32];
	size_t i;

	if (!type || v->ended || (!heard && !waits && !ftview_protected(v)))
		return;
	fprintf(to, "    arbiter  ");
	if (!strcmp(type, "manual")) {
		fprintf(to, heard ? "there is none in ftd's configuration any more: an operator decides\n" :
			"none (manual): an operator decides\n");
		return;
	}
	if (!heard) {
		fprintf(to, "%s, but it is not asked about this pairing: %s\n", type,
			v->r.on_loss == FTKVM_UAPI_LOSS_SOLO ? "its primary goes on alone (--on-loss solo)" :
			"an operator decides");
		return;
	}
	for (i = 0; i < ARRAY_SIZE(said) - 1 && strcmp(said[i].heard, heard); i++)
		;
	fprintf(to, "%s, %s", type, said[i].words);
	if (detail && *detail)
		fprintf(to, " (%s)", detail);
	if (at && at <= now)
		fprintf(to, ", %s ago", ft_format_age((now - at) / 1000000, age, sizeof(age)));
	if (asked)
		fprintf(to, "; asked %s, and again", ft_format_count(asked, "time", (char[48]){ 0 }, 48));
	fputc('\n', to);
}

/* ftd protects it by itself, sooner or later: where, when, and what hinders that. */
static void print_again(const struct ftview *v, FILE *to)
{
	json_t *json = json_object_get(v->info, "again");
	const char *host = json_string_value(json_object_get(json, "host"));
	const char *error = json_string_value(json_object_get(json, "error"));
	uint64_t ms = json_integer_value(json_object_get(json, "in_ms"));
	char text[32];

	if (!host || !*host || v->ended || ftview_protected(v))
		return;
	fprintf(to, "    again    ftd is to protect it by host %s", host);
	if (ms)
		fprintf(to, ", in %s", ft_format_age(ms, text, sizeof(text)));
	else if (json_is_true(json_object_get(json, "waits")))
		fprintf(to, ", when others are done (protect-again-at-once)");
	if (error && *error)
		fprintf(to, "; the last try failed: %s", error);
	fputc('\n', to);
}

/* Its QEMU does not run it: why, and what is to be done about that. */
static void print_still(const struct ftview *v, FILE *to)
{
	static const char resume[] = "if it is to go on: ftctl resume ";
	static const char reset[] = "it can't go on from there: reset it by QEMU's monitor, or end its QEMU";
	static const struct {
		const char *qemu, *by, *words, *next;
	} all[] = {
		{ "paused", "ftctl-pause", "ftctl pause", resume },
		{ "paused", "failed-pairing", "ftd stopped it, as its pairing failed before it began", "start it anew" },
		{ "paused", "others", "not ftd: somebody has told QEMU to pause it, or QEMU did so at an error", resume },
		{ "io-error", "others", "QEMU stopped it as a disk failed", resume },
		{ "guest-panicked", "others", "it has panicked, and QEMU is told to pause it then", reset },
		{ "shutdown", "others", "it has shut down, and QEMU is told to stay then (-no-shutdown)", reset },
		{ "watchdog", "others", "its watchdog has expired, and QEMU is told to pause it then", resume },
		{ "internal-error", "others", "QEMU, or KVM, can't run it on", reset },
		{ "postmigrate", "others", "somebody has migrated it away", "see that it does not run elsewhere before it goes on" },
	};
	json_t *json = json_object_get(v->info, "still");
	const char *qemu = json_string_value(json_object_get(json, "qemu"));
	const char *by = json_string_value(json_object_get(json, "by"));
	uint64_t since = json_integer_value(json_object_get(json, "since_ns")), now = ft_boottime_ns();
	char age[32];
	size_t i;

	if (!qemu || !by || !stands_still(v))
		return;
	for (i = 0; i < ARRAY_SIZE(all) && (strcmp(all[i].qemu, qemu) || strcmp(all[i].by, by)); i++)
		;
	fprintf(to, "    STILL    the guest STANDS STILL, as its QEMU here is \"%s\"", qemu);
	if (since && since <= now)
		fprintf(to, " for %s", ft_format_age((now - since) / 1000000, age, sizeof(age)));
	if (i < ARRAY_SIZE(all))
		fprintf(to, ": %s; %s%s", all[i].words, all[i].next, all[i].next == resume ? v->r.name : "");
	else if (!strcmp(by, "operation"))
		fprintf(to, ": ftd does that, for what it is at; it tries on");
	fputc('\n', to);
}

void ftview_print(const struct ftview *v, bool ftd_runs, FILE *to)
{
	const char *busy = json_string_value(json_object_get(v->info, "busy"));
	char next[512];

	fprintf(to, "%s: %s\n", v->r.name, v->ended ? "ended" : ft_state_words(v->r.state));
	if (busy)
		fprintf(to, "    ftd      is busy with it: %s\n", busy);
	print_still(v, to);
	print_why(&v->r, to);
	print_since(v, to);
	print_link(&v->r, to);
	print_arbiter(v, to);
	print_again(v, to);
	print_disks(v, to);
	print_qemu(v, ftd_runs, to);
	ft_next_step(&v->r, v->ended, next, sizeof(next));
	if (*next)
		fprintf(to, "    NEXT     %s\n", next);
}
