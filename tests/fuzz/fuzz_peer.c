// SPDX-License-Identifier: GPL-2.0
/*
 * The line that another host's ftd, or anybody who reaches the port, sends; and the
 * small parsers that ftd and ftctl share.
 */
#include <ctype.h>

#include "fuzz.h"
#include "nl.h"
#include "peer.h"
#include "replica_json.h"

#define LETTERS	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* What util.h says a name is. */
static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len <= FTKVM_NAME_MAX && isalnum((unsigned char)*name) &&
	       strspn(name, LETTERS "0123456789-_.") == len;
}

static void settings(json_t *request)
{
	struct ftsettings set, again;
	struct fterr err = { 0 };
	json_t *json;

	memset(&set, 0xff, sizeof(set));
	if (ft_settings_from_json(request, &set, &err)) {
		REQUIRE(err.code == -22 && *err.text);
		return;
	}
	REQUIRE(set.period_min <= INT64_MAX && set.period_max <= INT64_MAX &&
		set.margin <= INT64_MAX);
	REQUIRE(!set.period_min || !set.period_max || set.period_min <= set.period_max);
	json = ft_settings_json(&set);
	REQUIRE(!ft_settings_from_json(json, &again, &err));
	REQUIRE(set.period_min == again.period_min && set.period_max == again.period_max &&
		set.margin == again.margin && set.counter == again.counter &&
		set.timeout_ms == again.timeout_ms && set.token == again.token);
	json_decref(json);
	if (set.period_min && set.timeout_ms)
		REACHED("a request with settings");
}

static void line(const char *text)
{
	struct fterr err = { 0 };
	json_t *json = peer_parse(text, &err);

	if (json) {
		const char *guest = json_string_value(json_object_get(json, "guest"));

		REQUIRE(json_integer_value(json_object_get(json, "ftd")) == PEER_VERSION);
		if (json_object_get(json, "stream")) {
			REQUIRE(json_string_length(json_object_get(json, "stream")) == FT_UUID_MAX);
			REACHED("a further connection");
		} else if (json_object_get(json, "second")) {
			REQUIRE(json_integer_value(json_object_get(json, "second")) > 0);
			REACHED("a second path");
		} else if (json_object_get(json, "lives")) {
			guest = json_string_value(json_object_get(json, "lives"));
			REQUIRE(guest && name_ok(guest));
			REACHED("a question whether a guest lives");
		} else {
			REQUIRE(guest && name_ok(guest));
			settings(json);
			REACHED("a request to pair");
		}
		json_decref(json);
	} else {
		REQUIRE(err.code && *err.text);
		if (err.code == -93)
			REACHED("a peer of another version");
	}
}

static void small_parsers(struct feed *f, const char *text)
{
	size_t host_size = 1 + feed_u8(f) % 64, port_size = 1 + feed_u8(f) % 8;
	char *host = malloc(host_size), *port = malloc(port_size);
	uint64_t min = feed_u64(f), max = feed_u64(f), v;

	REQUIRE(ft_name_ok(text) == name_ok(text));
	if (ft_parse_u64(text, min, max, &v)) {
		REQUIRE(v >= min && v <= max);
		REACHED("a number");
	}
	if (!ft_split_host(text, host, host_size, port, port_size, FT_PEER_PORT)) {
		REQUIRE(memchr(host, '\0', host_size) && memchr(port, '\0', port_size));
		REQUIRE(isdigit((unsigned char)*port) && strstr(text, host));
		REQUIRE(ft_parse_u64(port, 0, 65535, &v));
		REACHED("a host and a port");
	}
	free(host);
	free(port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, data + size };
	uint8_t how = feed_u8(&f);
	struct feed numbers = f;
	char *text;

	if (how % 4 == 0)
		f.at += feed_left(&f) < 12 ? feed_left(&f) : 12;
	text = malloc(feed_left(&f) + 1);
	if (feed_left(&f))
		memcpy(text, f.at, feed_left(&f));
	text[feed_left(&f)] = '\0';
	if (how % 4 == 0)
		small_parsers(&numbers, text);
	else
		line(text);
	free(text);
	return 0;
}

void fuzz_seeds(void)
{
	static const char * const lines[] = {
		"{\"ftd\": 1, \"version\": \"0.1\", \"guest\": \"db1\", \"port\": 7411}",
		("{\"ftd\": 1, \"guest\": \"a.b-c_9\", \"period_min\": 1000, \"period_max\": 5000, "
		 "\"margin\": 512, \"counter\": 192, \"timeout\": 3000}"),
		"{\"ftd\": 1, \"second\": 4711, \"port\": 7717}",
		"{\"ftd\": 1, \"lives\": \"db1\"}",
		"{\"ftd\": 1, \"stream\": \"0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f\"}",
		"{\"ftd\": 2, \"guest\": \"db1\"}",
		"{\"ftd\": 1, \"guest\": \"../x\"}",
	};
	static const char * const words[] = {
		"hostb", "10.0.0.1:7411", "[fe80::1]:7411", "fe80::1", ":7411",
		"r5100d1", "0x5100d1", "4294967295",
	};
	struct seed s = { };
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		seed_bytes(&s, "\1", 1);
		seed_bytes(&s, lines[i], strlen(lines[i]));
		seed_done(&s);
	}
	for (i = 0; i < sizeof(words) / sizeof(*words); i++) {
		seed_bytes(&s, "\0\x3f\7\x28\x32\0\0\0\0\0\0\0\0", 13);
		seed_bytes(&s, words[i], strlen(words[i]));
		seed_done(&s);
	}
}
