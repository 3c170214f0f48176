// SPDX-License-Identifier: GPL-2.0
/* What was found out, for people or as JSON. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "qualify.h"

#define FIGURES	24
#define FACTS	12

struct figures {
	const char *key[FIGURES];
	int64_t value[FIGURES];
	unsigned int n;
};

struct item {
	enum outcome outcome;
	char group[16], name[32], text[400];
	struct figures figures;
};

static struct figures next;
static struct item *items;
static size_t nitems;
static struct {
	const char *key;
	char value[160];
} facts[FACTS];
static unsigned int nfacts;

static const char * const words[OUTCOMES] = { "ok", "FAIL", "skipped", "untold" };

void figure(const char *key, int64_t value)
{
	if (next.n == FIGURES)
		return;
	next.key[next.n] = key;
	next.value[next.n++] = value;
}

void report(enum outcome outcome, const char *group, const char *name, const char *fmt, ...)
{
	struct item *item = realloc(items, (nitems + 1) * sizeof(*items));
	va_list args;

	if (!item) {
		perror("pmu-qualify");
		exit(2);
	}
	items = item;
	item += nitems++;
	memset(item, 0, sizeof(*item));
	item->outcome = outcome;
	snprintf(item->group, sizeof(item->group), "%s", group);
	snprintf(item->name, sizeof(item->name), "%s", name);
	va_start(args, fmt);
	vsnprintf(item->text, sizeof(item->text), fmt, args);
	va_end(args);
	item->figures = next;
	next.n = 0;
	if (!opt.json) {
		printf("%-8s%-8s %-12s %s\n", words[outcome], item->group, item->name, item->text);
		fflush(stdout);
	}
}

void say(const char *fmt, ...)
{
	va_list args;

	if (opt.json)
		return;
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

void fact(const char *key, const char *value)
{
	if (nfacts == FACTS)
		return;
	facts[nfacts].key = key;
	snprintf(facts[nfacts++].value, sizeof(facts->value), "%s", value);
}

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", *text);
		else
			putchar(*text);
	}
	putchar('"');
}

static void print_pair(const char *key, const char *value)
{
	print_string(key);
	putchar(':');
	print_string(value);
}

static void print_item(const struct item *item)
{
	unsigned int i;

	putchar('{');
	print_pair("group", item->group);
	putchar(',');
	print_pair("name", item->name);
	putchar(',');
	print_pair("result", words[item->outcome]);
	putchar(',');
	print_pair("text", item->text);
	printf(",\"figures\":{");
	for (i = 0; i < item->figures.n; i++) {
		if (i)
			putchar(',');
		print_string(item->figures.key[i]);
		printf(":%" PRId64, item->figures.value[i]);
	}
	printf("}}");
}

static void print_json(const size_t *n, int status, uint64_t margin)
{
	static const char * const fit[] = { "true", "false", "null" };
	size_t i;

	printf("{\"fit\":%s,\"margin\":", fit[status]);
	if (margin)
		printf("%" PRIu64, margin);
	else
		printf("null");
	printf(",\"passed\":%zu,\"failed\":%zu,\"host\":{", n[OK], n[FAIL]);
	for (i = 0; i < nfacts; i++) {
		if (i)
			putchar(',');
		print_pair(facts[i].key, facts[i].value);
	}
	printf("},\"tests\":[");
	for (i = 0; i < nitems; i++) {
		if (i)
			putchar(',');
		print_item(&items[i]);
	}
	printf("]}\n");
}

int conclude(uint64_t margin)
{
	size_t n[OUTCOMES] = { 0 }, i;
	int status;

	for (i = 0; i < nitems; i++)
		n[items[i].outcome]++;
	status = n[FAIL] ? 1 : n[UNTOLD] || !n[OK] ? 2 : 0;
	if (opt.json) {
		print_json(n, status, margin);
		return status;
	}
	putchar('\n');
	if (margin && !status)
		printf("ftctl pair ... --counter %#" PRIx64 " --margin %" PRIu64 "\n", opt.event,
		       margin);
	printf("%s\n", !status ? "This host's counter is fit." :
	       status == 1 ? "This host's counter is NOT FIT." :
	       "Whether this host's counter is fit can't be told.");
	printf("%zu passed, %zu failed\n", n[OK], n[FAIL]);
	return status;
}
