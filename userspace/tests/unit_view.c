// SPDX-License-Identifier: GPL-2.0
/* What status says; and, for tests/check, consoles of a real QEMU. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "heard.h"
#include "replica_json.h"
#include "tests/unit.h"
#include "text.h"
#include "view.h"

static struct ftreplica *replica(struct ftviews *v, const char *name, uint32_t state)
{
	struct ftview *one;

	v->list = reallocarray(v->list, v->n + 1, sizeof(*v->list));
	one = &v->list[v->n++];
	memset(one, 0, sizeof(*one));
	snprintf(one->r.name, sizeof(one->r.name), "%s", name);
	one->r.state = state;
	one->r.pid = 100;
	return &one->r;
}

static char *printed(const struct ftview *v, bool ftd_runs)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	ftview_print(v, ftd_runs, to);
	fclose(to);
	return text;
}

static bool prints(const struct ftview *v, bool ftd_runs, const char *what)
{
	char *text = printed(v, ftd_runs);
	bool there = strstr(text, what);

	if (!there)
		printf("  no \"%s\" in: %s", what, text);
	free(text);
	return there;
}

static void order(void)
{
	static const char *const wanted[] = { "orphan", "solo", "stopped", "idle", "apart", "backup" };
	struct ftviews v = { 0 };
	size_t i;

	replica(&v, "backup", FTKVM_UAPI_STATE_BACKUP);
	replica(&v, "idle", FTKVM_UAPI_STATE_IDLE);
	replica(&v, "stopped", FTKVM_UAPI_STATE_STOPPED);
	replica(&v, "orphan", FTKVM_UAPI_STATE_ORPHAN);
	replica(&v, "apart", FTKVM_UAPI_STATE_PRIMARY);
	replica(&v, "solo", FTKVM_UAPI_STATE_SOLO);
	ftviews_merge(&v, NULL);
	for (i = 0; i < v.n; i++)
		CHECK(!strcmp(v.list[i].r.name, wanted[i]));
	ftviews_free(&v);
}

static void orphan_words(void)
{
	struct ftviews v = { 0 };
	struct ftreplica *r = replica(&v, "web", FTKVM_UAPI_STATE_ORPHAN);
	json_t *json;

	r->role = FTKVM_UAPI_ROLE_BACKUP;
	r->reason = FTKVM_REASON_PEER_SILENT;
	strcpy(r->peer, "10.0.0.1:7411");
	strcpy(r->detail, "nothing heard for 1500 ms");
	ftviews_merge(&v, NULL);
	CHECK(prints(v.list, true, "NOT PROTECTED"));
	CHECK(prints(v.list, true, "nothing heard for 1500 ms"));
	CHECK(prints(v.list, true, "ftctl promote web"));
	CHECK(prints(v.list, true, "10.0.0.1:7411"));
	CHECK(prints(v.list, true, "no link"));
	CHECK(prints(v.list, true, "ftd does not know it"));
	CHECK(!ftview_protected(v.list));
	json = ftview_json(v.list);
	CHECK(json_is_false(json_object_get(json, "protected")));
	CHECK(strstr(json_string_value(json_object_get(json, "next_step")), "ftctl promote web"));
	CHECK(!strcmp(json_string_value(json_object_get(json, "reason")), "peer-silent"));
	json_decref(json);
	ftviews_free(&v);
}

static void every_trouble_has_a_next_step(void)
{
	struct ftreplica r = { .name = "web" };
	uint32_t state;
	char text[512];

	for (state = 0; state <= FTKVM_UAPI_STATE_UNDECIDED; state++) {
		r.state = state;
		ft_next_step(&r, false, text, sizeof(text));
		CHECK(ft_state_protected(state) || state == FTKVM_UAPI_STATE_TAKEOVER ? !*text : *text);
	}
	ft_next_step(&r, true, text, sizeof(text));
	CHECK(strstr(text, "ftctl detach web"));
	/* only of a primary that said so is it known that it did not go on alone */
	r.state = FTKVM_UAPI_STATE_ORPHAN;
	r.reason = FTKVM_REASON_PEER_SILENT;
	ft_next_step(&r, false, text, sizeof(text));
	CHECK(strstr(text, "solo") && strstr(text, "ftctl unpair web") && strstr(text, "--force where the arbiter can't"));
	r.reason = FTKVM_REASON_GUEST_ENDED;
	ft_next_step(&r, false, text, sizeof(text));
	CHECK(strstr(text, "ftctl promote web") && !strstr(text, "unpair"));
	/* which image is the one that counts */
	r.state = FTKVM_UAPI_STATE_STOPPED;
	r.reason = FTKVM_REASON_STORAGE;
	ft_next_step(&r, false, text, sizeof(text));
	CHECK(strstr(text, "ftctl detach web") && strstr(text, "ftctl protect web --peer HOST, which copies its image"));
	CHECK(strstr(ft_storage_meaning(&r), "out of date"));
	r.state = FTKVM_UAPI_STATE_PRIMARY;
	CHECK(strstr(ft_storage_meaning(&r), "on both hosts"));
	CHECK(!strcmp(ft_storage_meaning(NULL), "the guest was told"));
}

static json_t *answer(void)
{
	struct ftreplica final = { .name = "gone", .state = FTKVM_UAPI_STATE_STOPPED };
	struct ftevent e = {
		.name = "web", .event = FTKVM_UAPI_EVENT_STARTED, .state = FTKVM_UAPI_STATE_PRIMARY,
		.time_ns = 5,
	};
	json_t *past = ft_event_json(&e), *guests;

	json_object_set_new(past, "since_ns", json_integer(5));
	final.stats[FTKVM_STAT_EPOCHS] = 9;
	final.has_stat[FTKVM_STAT_EPOCHS] = true;
	guests = json_pack("[{s:s, s:b, s:b, s:[{s:s, s:s, s:b}]}, {s:s, s:b, s:o}, {s:s, s:b}, {s:i}]",
			   "name", "web", "ended", 0, "monitor", 1, "consoles", "id", "con0", "backend",
			   "tty:/dev/ttyS1", "live", 1,
			   "name", "gone", "ended", 1, "final", ft_replica_json(&final),
			   "name", "attaching", "ended", 0, "name", 5);
	return json_pack("{s:b, s:o, s:[o]}", "ok", 1, "guests", guests, "history", past);
}

static void merge(void)
{
	struct ftviews v = { 0 };

	replica(&v, "web", FTKVM_UAPI_STATE_PRIMARY);
	ftviews_merge(&v, answer());
	CHECK(v.n == 2);
	CHECK(!strcmp(v.list[0].r.name, "gone") && v.list[0].ended);
	CHECK(v.list[0].r.stats[FTKVM_STAT_EPOCHS] == 9);
	CHECK(prints(&v.list[0], true, "gone: ended"));
	CHECK(prints(&v.list[0], true, "ftctl detach gone"));
	CHECK(v.list[1].since_ns == 5 && v.list[1].event.event == FTKVM_UAPI_EVENT_STARTED);
	CHECK(prints(&v.list[1], true, "live at tty:/dev/ttyS1"));
	CHECK(ftview_protected(&v.list[1]) && !ftview_protected(&v.list[0]));
	ftviews_free(&v);
}

/* An event that does not go with the state tells nothing of it. */
static void merge_stale_event(void)
{
	struct ftviews v = { 0 };

	replica(&v, "web", FTKVM_UAPI_STATE_SOLO);
	ftviews_merge(&v, answer());
	CHECK(v.n == 2 && !strcmp(v.list[0].r.name, "web") && !v.list[0].since_ns);
	ftviews_free(&v);
}

static void replica_there_and_back(void)
{
	struct ftreplica r = {
		.name = "web", .peer = "b", .detail = "\377 is no UTF-8", .state = FTKVM_UAPI_STATE_SOLO,
		.role = FTKVM_UAPI_ROLE_PRIMARY, .reason = FTKVM_REASON_DIVERGED, .pid = 5, .margin = 6,
		.timeout_ms = 7, .period_min = 8, .period_max = 9, .counter = 10, .proto_version = 11,
	}, again;
	json_t *json;
	unsigned int i;

	for (i = FTKVM_STAT_PAD + 1; i <= FTKVM_STAT_MAX; i++) {
		r.stats[i] = 1000 + i;
		r.has_stat[i] = true;
	}
	json = ft_replica_json(&r);
	CHECK(ft_replica_from_json(json, &again));
	json_decref(json);
	CHECK(!strcmp(again.name, "web") && !strcmp(again.detail, "(not UTF-8)"));
	CHECK(again.state == r.state && again.role == r.role && again.reason == r.reason);
	CHECK(again.period_min == 8 && again.period_max == 9 && again.counter == 10);
	CHECK(!memcmp(again.stats, r.stats, sizeof(r.stats)));
	json = json_pack("{s:i, s:s}", "name", 5, "stats", "none");
	CHECK(!ft_replica_from_json(json, &again));
	json_decref(json);
}

/* @json: what ftd tells of the arbiter; whether @what is said of it. NULL: nothing is. */
static bool arbiter_says(uint32_t state, uint32_t on_loss, const char *json, const char *what)
{
	struct ftviews v = { 0 };
	struct ftreplica *r = replica(&v, "web", state);
	char *text;
	bool good;

	r->on_loss = on_loss;
	ftviews_merge(&v, json_pack("{s:[{s:s, s:o}]}", "guests", "name", "web", "arbiter",
				    json_loads(json, 0, NULL)));
	text = printed(v.list, true);
	good = what ? strstr(text, what) != NULL : !strstr(text, "arbiter");
	if (!good)
		printf("  no \"%s\" in: %s", what ? what : "(nothing)", text);
	free(text);
	ftviews_free(&v);
	return good;
}

static void arbiter_words(void)
{
	static const char *const names[] = { "unasked", "known", "decided", "forgotten", "no-answer" };
	const uint32_t hold = FTKVM_UAPI_LOSS_HOLD, solo = FTKVM_UAPI_LOSS_SOLO;
	const uint32_t primary = FTKVM_UAPI_STATE_PRIMARY, held = FTKVM_UAPI_STATE_UNDECIDED;
	char json[200];
	size_t i;

	CHECK(arbiter_says(primary, solo, "{\"type\": \"manual\"}", "arbiter  none (manual): an operator"));
	CHECK(arbiter_says(held, hold, "{\"type\": \"manual\"}", "arbiter  none (manual)"));
	CHECK(arbiter_says(FTKVM_UAPI_STATE_IDLE, 0, "{\"type\": \"etcd\"}", NULL));
	CHECK(arbiter_says(FTKVM_UAPI_STATE_SOLO, hold, "{\"type\": \"etcd\"}", NULL));
	CHECK(arbiter_says(primary, solo, "{\"type\": \"etcd\"}", "etcd, but it is not asked about this pairing: its "
			   "primary goes on alone"));
	CHECK(arbiter_says(primary, hold, "{\"type\": \"etcd\"}", "not asked about this pairing: an operator"));
	CHECK(arbiter_says(primary, hold, "{\"type\": \"manual\", \"heard\": \"known\"}", "there is none in ftd's"));
	CHECK(arbiter_says(held, hold, "{\"type\": \"file\", \"heard\": \"no-answer\", \"heard_ns\": 1, "
			   "\"detail\": \"it is away\", \"asked\": 3}", "file, DOES NOT ANSWER (it is away), "));
	CHECK(arbiter_says(held, hold, "{\"type\": \"file\", \"heard\": \"no-answer\", \"asked\": 3}",
			   "; asked 3 times, and again\n"));
	CHECK(arbiter_says(primary, hold, "{\"type\": \"file\", \"heard\": \"known\", \"asked\": 0}",
			   "knows the pairing, nothing is decided\n"));
	/* each has words of its own, and ftd says no other */
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		CHECK(!strcmp(heard_name(i), names[i]));
		snprintf(json, sizeof(json), "{\"type\": \"file\", \"heard\": \"%s\"}", names[i]);
		CHECK(arbiter_says(primary, hold, json, "arbiter  file, "));
		CHECK(i != FT_NO_ANSWER || arbiter_says(primary, hold, json, "DOES NOT ANSWER"));
		CHECK(i != FT_KNOWN || arbiter_says(primary, hold, json, "knows the pairing"));
		CHECK(i != FT_FORGOTTEN || arbiter_says(primary, hold, json, "DOES NOT KNOW"));
	}
	CHECK(heard_of(0) == FT_KNOWN && heard_of(-EALREADY) == FT_DECIDED);
	CHECK(heard_of(-ENOENT) == FT_FORGOTTEN && heard_of(-ETIMEDOUT) == FT_NO_ANSWER);
}

static void again_words(void)
{
	struct ftviews v = { 0 };
	json_t *json, *again;

	again = json_pack("{s:s, s:i, s:i, s:s}", "host", "hostc", "in_ms", 2500, "tries", 3, "error", "it is off");
	replica(&v, "web", FTKVM_UAPI_STATE_SOLO);
	ftviews_merge(&v, json_pack("{s:[{s:s, s:o}]}", "guests", "name", "web", "again", again));
	CHECK(prints(v.list, true, "again    ftd is to protect it by host hostc, in 2.5 s; the last try failed: it is off\n"));
	json = ftview_json(v.list);
	CHECK(json_equal(json_object_get(json, "again"), again));
	json_decref(json);
	json_object_set_new(again, "in_ms", json_integer(0));
	json_object_set_new(again, "error", json_string(""));
	CHECK(prints(v.list, true, "by host hostc\n"));
	json_object_set_new(again, "waits", json_true());
	CHECK(prints(v.list, true, "by host hostc, when others are done (protect-again-at-once)\n"));
	ftviews_free(&v);
}

/* Whether @what is said of a guest whose QEMU says @qemu; NULL: nothing is, by -j neither. */
static bool still_says(uint32_t state, const char *qemu, const char *by, const char *what)
{
	struct ftviews v = { 0 };
	json_t *json;
	char *text;
	bool good;

	replica(&v, "web", state);
	ftviews_merge(&v, json_pack("{s:[{s:s, s:{s:s, s:s, s:i}}]}", "guests", "name", "web", "still", "qemu", qemu, "by", by,
				    "since_ns", 0));
	text = printed(v.list, true);
	json = ftview_json(v.list);
	good = what ? strstr(text, what) && json_object_get(json, "still") :
		      !strstr(text, "STILL") && !json_object_get(json, "still");
	if (!good)
		printf("  no \"%s\" in: %s", what ? what : "(nothing)", text);
	json_decref(json);
	free(text);
	ftviews_free(&v);
	return good;
}

static void still_words(void)
{
	const uint32_t primary = FTKVM_UAPI_STATE_PRIMARY;

	CHECK(still_says(primary, "paused", "others", "STANDS STILL, as its QEMU here is \"paused\": not ftd: somebody"));
	CHECK(still_says(FTKVM_UAPI_STATE_BACKUP, "paused", "others", "if it is to go on: ftctl resume web\n"));
	CHECK(still_says(primary, "paused", "ftctl-pause", "\"paused\": ftctl pause; if it is to go on: ftctl resume web\n"));
	CHECK(still_says(FTKVM_UAPI_STATE_IDLE, "paused", "failed-pairing", "its pairing failed"));
	CHECK(still_says(primary, "io-error", "others", "as a disk failed; if it is to go on: ftctl resume web\n"));
	CHECK(still_says(primary, "guest-panicked", "others", "it can't go on from there"));
	CHECK(still_says(primary, "paused", "operation", "ftd does that"));
	CHECK(still_says(primary, "finish-migrate", "operation", "ftd does that"));
	/* one of which nothing is known here, as another QEMU may have it */
	CHECK(still_says(primary, "colo", "others", "is \"colo\"\n"));
	CHECK(still_says(FTKVM_UAPI_STATE_STOPPED, "paused", "others", NULL));
}

const struct unit_test unit_view_tests[] = {
	{ "order", order },
	{ "orphan_words", orphan_words },
	{ "every_trouble_has_a_next_step", every_trouble_has_a_next_step },
	{ "arbiter_words", arbiter_words },
	{ "again_words", again_words },
	{ "still_words", still_words },
	{ "merge", merge },
	{ "merge_stale_event", merge_stale_event },
	{ "replica_there_and_back", replica_there_and_back },
	{ }
};
