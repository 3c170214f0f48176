// SPDX-License-Identifier: GPL-2.0
/* Rates of two looks, and how ftctl top shows them. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit.h"
#include "text.h"
#include "top.h"

static bool is(double value, double wanted)
{
	return fabs(value - wanted) < 1e-9;
}

/* A primary whose counts are all @count; levels too. */
static struct ftreplica replica(const char *name, uint64_t count)
{
	struct ftreplica r = {
		.state = FTKVM_UAPI_STATE_PRIMARY, .role = FTKVM_UAPI_ROLE_PRIMARY, .pid = 100,
	};
	unsigned int i;

	snprintf(r.name, sizeof(r.name), "%s", name);
	for (i = FTKVM_STAT_PAD + 1; i <= FTKVM_STAT_MAX; i++) {
		r.stats[i] = count;
		r.has_stat[i] = true;
	}
	return r;
}

static void rates_of_two_looks(void)
{
	struct ftreplica before = replica("web", 100), now = replica("web", 400);
	struct ftrates rates;
	unsigned int i;

	now.stats[FTKVM_STAT_COMMIT_NS] = 100 + 6000;
	now.stats[FTKVM_STAT_COMMIT_WAITS] = 100 + 4;
	ft_rates(&before, &now, 2.0, &rates);
	CHECK(rates.known && is(rates.per_s[FTKVM_STAT_EPOCHS], 150) && is(rates.commit_ns, 1500));
	for (i = FTKVM_STAT_PAD + 1; i <= FTKVM_STAT_MAX; i++)
		CHECK(rates.has[i] == !ft_stat_is_level(i));
	CHECK(!rates.has[FTKVM_STAT_LAG_MAX] && !rates.has[FTKVM_STAT_TAKEOVER_NS]);

	/* nothing happened: that is known, too */
	ft_rates(&before, &before, 2.0, &rates);
	CHECK(rates.known && rates.has[FTKVM_STAT_EPOCHS] && is(rates.per_s[FTKVM_STAT_EPOCHS], 0));
	CHECK(rates.commit_ns < 0);
}

static void rates_not_known(void)
{
	struct ftreplica before = replica("web", 100), now = replica("web", 400);
	static const unsigned int back[] = {
		FTKVM_STAT_EPOCHS, FTKVM_STAT_INPUTS, FTKVM_STAT_OUTPUTS, FTKVM_STAT_RECORDS, FTKVM_STAT_EXITS,
	};
	struct ftrates rates;
	size_t i;

	ft_rates(NULL, &now, 2.0, &rates);
	CHECK(!rates.known && !rates.has[FTKVM_STAT_EPOCHS] && rates.commit_ns < 0);
	ft_rates(&before, &now, 0, &rates);
	CHECK(!rates.known);
	/* another QEMU under the same name, whose counts happen to be greater */
	now.pid = 101;
	ft_rates(&before, &now, 2.0, &rates);
	CHECK(!rates.known && !rates.has[FTKVM_STAT_EPOCHS]);
	/* the same QEMU, paired anew: whichever of them has not caught up tells */
	for (i = 0; i < ARRAY_SIZE(back); i++) {
		now = replica("web", 400);
		now.stats[back[i]] = 99;
		ft_rates(&before, &now, 2.0, &rates);
		CHECK(!rates.known && !rates.has[FTKVM_STAT_LOG_BYTES]);
	}
}

/* The link's counts go with the link; the others are good, and no rate is negative. */
static void rates_without_a_link(void)
{
	struct ftreplica before = replica("web", 100), now = replica("web", 400);
	struct ftrates rates;

	now.stats[FTKVM_STAT_TX_BYTES] = 0;
	now.stats[FTKVM_STAT_COMMIT_NS] = 0;
	now.has_stat[FTKVM_STAT_RX_BYTES] = false;
	ft_rates(&before, &now, 2.0, &rates);
	CHECK(rates.known && is(rates.per_s[FTKVM_STAT_EPOCHS], 150));
	CHECK(!rates.has[FTKVM_STAT_TX_BYTES] && !rates.has[FTKVM_STAT_RX_BYTES] && rates.commit_ns < 0);
}

static void look(struct fttop *top, const struct ftreplica *list, size_t n, uint64_t at_ns)
{
	struct ftviews v = { .n = n, .list = calloc(n, sizeof(*v.list)) };
	size_t i;

	for (i = 0; i < n; i++)
		v.list[i].r = list[i];
	ftviews_merge(&v, NULL);
	fttop_take(top, &v, at_ns);
}

static bool shows(const struct fttop *top, const char *what)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);
	bool there;

	fttop_print(top, to);
	fclose(to);
	there = strstr(text, what);
	if (!there)
		printf("  no \"%s\" in: %s", what, text);
	free(text);
	return there;
}

static void top_goes_on(void)
{
	struct ftreplica list[2] = { replica("web", 1000), replica("a-name-that-is-long", 1000) };
	struct fttop top = { 0 };
	json_t *json, *one;

	look(&top, list, 2, 1000000000);
	CHECK(!top.rates[0].known && top.seconds == 0);
	json = fttop_json(&top);
	one = json_array_get(json_object_get(json, "guests"), 0);
	CHECK(json_is_null(json_object_get(one, "per_second")) && json_is_null(json_object_get(json, "seconds")));
	CHECK(json_is_null(json_object_get(one, "commit_ns")));
	json_decref(json);

	/* one has gone, and one is found again in another place; 2.5 s later */
	list[0] = replica("other", 5);
	list[1] = replica("web", 26000);
	list[0].state = FTKVM_UAPI_STATE_SOLO;
	list[0].stats[FTKVM_STAT_LINKED] = 0;
	look(&top, list, 2, 3500000000);
	CHECK(is(top.seconds, 2.5));
	CHECK(!strcmp(top.now.list[0].r.name, "other") && !top.rates[0].known);
	CHECK(top.rates[1].known && is(top.rates[1].per_s[FTKVM_STAT_EPOCHS], 10000));
	CHECK(shows(&top, "2 guests, 1 NOT PROTECTED") && shows(&top, "ftd does not run"));
	CHECK(shows(&top, "web              primary   primary up    10.0k "));
	CHECK(shows(&top, "other            solo      primary DOWN      - "));
	json = fttop_json(&top);
	one = json_array_get(json_object_get(json, "guests"), 1);
	CHECK(is(json_real_value(json_object_get(json_object_get(one, "per_second"), "epochs")), 10000));
	CHECK(json_integer_value(json_object_get(json_object_get(one, "stats"), "epochs")) == 26000);
	json_decref(json);
	fttop_free(&top);
}

static void top_clips_names(void)
{
	struct ftreplica r = replica("a-name-that-is-long", 1);
	struct fttop top = { 0 };

	r.role = FTKVM_UAPI_ROLE_BACKUP;
	look(&top, &r, 1, 5);
	CHECK(shows(&top, "a-name-that-is-+ primary   backup  up "));
	/* no lag: only the primary sees both ends */
	CHECK(shows(&top, "     -     -         -\n"));
	fttop_free(&top);
}

const struct unit_test unit_top_tests[] = {
	{ "rates_of_two_looks", rates_of_two_looks },
	{ "rates_not_known", rates_not_known },
	{ "rates_without_a_link", rates_without_a_link },
	{ "top_goes_on", top_goes_on },
	{ "top_clips_names", top_clips_names },
	{ }
};
