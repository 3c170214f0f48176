// SPDX-License-Identifier: GPL-2.0
/* Tests of what needs neither QEMU nor the kernel module. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "peer.h"
#include "qmp.h"
#include "replica_json.h"
#include "tests/unit.h"
#include "text.h"

bool unit_failed;

void unit_complain(const char *file, int line, const char *what)
{
	unit_failed = true;
	printf("  %s:%d: does not hold: %s\n", file, line, what);
}

/* --- util ------------------------------------------------------------------ */

static void names(void)
{
	char longest[FTKVM_NAME_MAX + 2];

	memset(longest, 'a', sizeof(longest));
	longest[FTKVM_NAME_MAX] = '\0';
	CHECK(ft_name_ok("web-1.example_x"));
	CHECK(ft_name_ok("7"));
	CHECK(ft_name_ok(longest));
	longest[FTKVM_NAME_MAX] = 'a';
	longest[FTKVM_NAME_MAX + 1] = '\0';
	CHECK(!ft_name_ok(longest));
	CHECK(!ft_name_ok(NULL));
	CHECK(!ft_name_ok(""));
	CHECK(!ft_name_ok("-x"));
	CHECK(!ft_name_ok("../etc"));
	CHECK(!ft_name_ok("a/b"));
	CHECK(!ft_name_ok("a b"));
	CHECK(!ft_name_ok("a\n"));
}

static void numbers(void)
{
	uint64_t v = 7;

	CHECK(ft_parse_u64("4096", 1, 5000, &v) && v == 4096);
	CHECK(ft_parse_u64("0x5100d1", 1, UINT32_MAX, &v) && v == 0x5100d1);
	CHECK(ft_parse_u64("r5100d1", 1, UINT32_MAX, &v) && v == 0x5100d1);
	CHECK(ft_parse_u64("18446744073709551615", 0, UINT64_MAX, &v) && v == UINT64_MAX);
	v = 7;
	CHECK(!ft_parse_u64("18446744073709551616", 0, UINT64_MAX, &v));
	CHECK(!ft_parse_u64("-1", 0, UINT64_MAX, &v));
	CHECK(!ft_parse_u64(" 1", 0, 10, &v));
	CHECK(!ft_parse_u64("1x", 0, 10, &v));
	CHECK(!ft_parse_u64("", 0, 10, &v));
	CHECK(!ft_parse_u64("r", 0, 10, &v));
	CHECK(!ft_parse_u64("11", 0, 10, &v));
	CHECK(v == 7);
}

static bool splits(const char *text, const char *host, const char *port)
{
	char h[64], p[8];

	if (ft_split_host(text, h, sizeof(h), p, sizeof(p), "7411"))
		return false;
	return !strcmp(h, host) && !strcmp(p, port);
}

static void hosts(void)
{
	char h[64], p[8], longest[80];

	CHECK(splits("b.example", "b.example", "7411"));
	CHECK(splits("10.0.0.2:80", "10.0.0.2", "80"));
	CHECK(splits("fe80::1", "fe80::1", "7411"));
	CHECK(splits("[fe80::1]:9", "fe80::1", "9"));
	CHECK(splits("[fe80::1]", "fe80::1", "7411"));
	CHECK(splits(":17", "", "17"));
	CHECK(ft_split_host("a:", h, sizeof(h), p, sizeof(p), "1"));
	CHECK(ft_split_host("a:b", h, sizeof(h), p, sizeof(p), "1"));
	CHECK(ft_split_host("a:65536", h, sizeof(h), p, sizeof(p), "1"));
	CHECK(ft_split_host("a:-1", h, sizeof(h), p, sizeof(p), "1"));
	CHECK(ft_split_host("[::1", h, sizeof(h), p, sizeof(p), "1"));
	CHECK(ft_split_host("[::1]x", h, sizeof(h), p, sizeof(p), "1"));
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	CHECK(ft_split_host(longest, h, sizeof(h), p, sizeof(p), "1"));
}

static void lines(void)
{
	int64_t past = ft_now_ms() - 1, soon = ft_now_ms() + 10000;
	char buf[16], rest[16] = "";
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
		CHECK(!"socketpair");
		return;
	}
	CHECK(!ft_write_all(fds[0], "one\n\ntwo\nREST", 13, soon));
	CHECK(ft_read_line(fds[1], buf, sizeof(buf), soon) == 3 && !strcmp(buf, "one"));
	CHECK(ft_read_line(fds[1], buf, sizeof(buf), soon) == 0 && !*buf);
	CHECK(ft_read_line(fds[1], buf, sizeof(buf), soon) == 3 && !strcmp(buf, "two"));
	/* What follows the line has not been touched: it is the module's. */
	CHECK(recv(fds[1], rest, sizeof(rest) - 1, MSG_DONTWAIT) == 4 && !strcmp(rest, "REST"));
	CHECK(ft_read_line(fds[1], buf, sizeof(buf), past) == -ETIMEDOUT);
	CHECK(!ft_write_all(fds[0], "0123456789abcdef0123", 20, soon));
	CHECK(ft_read_line(fds[1], buf, sizeof(buf), soon) == -EMSGSIZE);
	close(fds[0]);
	CHECK(recv(fds[1], rest, sizeof(rest), MSG_DONTWAIT) > 0);
	CHECK(ft_read_line(fds[1], buf, sizeof(buf), soon) == -ECONNRESET);
	CHECK(ft_write_all(fds[1], "x", 1, soon) == -EPIPE);
	close(fds[1]);
}

static void full_socket(void)
{
	static char much[1 << 20];
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
		CHECK(!"socketpair");
		return;
	}
	CHECK(ft_write_all(fds[0], much, sizeof(much), ft_now_ms() + 50) == -ETIMEDOUT);
	close(fds[0]);
	close(fds[1]);
}

/* Whoever owns the directory has put a link where the socket was. */
static void socket_is_given(void)
{
	char dir[] = "/tmp/ftkvm-unit-XXXXXX", path[64], moved[64], other[64];
	struct fterr err = { 0 };
	struct stat st;
	int fd;

	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	snprintf(moved, sizeof(moved), "%s/moved", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	close(open(other, O_CREAT | O_WRONLY, 0600));
	fd = ft_unix_listen(path, 1, &err);
	CHECK(fd >= 0 && !rename(path, moved) && !symlink(other, path));
	if (geteuid()) {
		CHECK(ft_unix_give(fd, 65534, &err) && strstr(err.text, "cannot give a socket"));
	} else {
		CHECK(!ft_unix_give(fd, 65534, &err));
		CHECK(!stat(moved, &st) && st.st_uid == 65534);
	}
	CHECK(!stat(other, &st) && st.st_uid == geteuid());
	CHECK(ft_unix_give(-1, 65534, &err) == -EBADF);
	close(fd);
	unlink(path);
	unlink(moved);
	unlink(other);
	rmdir(dir);
}

static void errors(void)
{
	char much[2000];
	struct fterr err;

	CHECK(ft_fail(NULL, -EINVAL, "x") == -EINVAL);
	CHECK(ft_fail(&err, -EBUSY, "%s %d", "a", 1) == -EBUSY);
	CHECK(ft_fail_prefix(&err, "%s: ", "guest") == -EBUSY && !strcmp(err.text, "guest: a 1"));
	memset(much, 'x', sizeof(much));
	much[sizeof(much) - 1] = '\0';
	ft_fail(&err, -EIO, "%s", much);
	CHECK(strlen(err.text) == sizeof(err.text) - 1);
	ft_fail_prefix(&err, "%s", much);
	CHECK(strlen(err.text) == sizeof(err.text) - 1);
}

/* An error that ends within a character, or has bytes of a program's that are none, is told all the same. */
static void errors_as_json(void)
{
	struct fterr err;
	json_t *json;

	ft_fail(&err, -EIO, "\xc3\xa4 says \xff and \xc3");
	json = ft_error_json(&err);
	CHECK(!strcmp(json_string_value(json_object_get(json, "error")), "?? says ? and ?"));
	json_decref(json);
	ft_fail(&err, -EIO, "\xc3\xa4");
	json = ft_error_json(&err);
	CHECK(!strcmp(json_string_value(json_object_get(json, "error")), "\xc3\xa4"));
	json_decref(json);
}

/* What is said time and again is news once; and again behind something else. */
static void news(void)
{
	uint32_t said = 0;

	CHECK(ft_is_news(&said, "no answer after 3 ms"));
	CHECK(!ft_is_news(&said, "no answer after 3 ms"));
	CHECK(!ft_is_news(&said, "no answer after 1201 ms"));
	CHECK(ft_is_news(&said, "no route"));
	CHECK(ft_is_news(&said, "no answer after 3 ms"));
	said = 0;
	CHECK(ft_is_news(&said, "no answer after 3 ms"));
}

/* --- JSON ------------------------------------------------------------------ */

static void peers_lines(void)
{
	static const char *const bad[] = {
		"", "x", "[]", "{}", "{\"ftd\": \"1\", \"guest\": \"a\"}", "{\"ftd\": 1}",
		"{\"ftd\": 1, \"guest\": \"../x\"}", "{\"ftd\": 1, \"guest\": 5}", "GET / HTTP/1.0\r",
		"{\"ftd\": 1, \"ftd\": 1, \"guest\": \"a\"}",
		"{\"ftd\": 1, \"guest\": \"a\", \"pair\": \"../x\"}",
		"{\"ftd\": 1, \"guest\": \"a\", \"pair\": 5}",
		"{\"ftd\": 1, \"second\": 0}", "{\"ftd\": 1, \"second\": -5}", "{\"ftd\": 1, \"second\": \"5\"}",
		"{\"ftd\": 1, \"second\": 5, \"guest\": \"a\", \"stream\": 5}",
		"{\"ftd\": 1, \"lives\": \"../x\"}", "{\"ftd\": 1, \"lives\": true, \"guest\": \"a\"}",
		"{\"ftd\": 1, \"stream\": \"0a1b\"}", "{\"ftd\": 1, \"guest\": \"a\", \"stream\": 5}",
	};
	struct fterr err;
	json_t *json = peer_parse("{\"ftd\": 1, \"guest\": \"web\", \"new\": true}", &err);
	size_t i;

	CHECK(json);
	json_decref(json);
	json = peer_parse("{\"ftd\": 1, \"guest\": \"web-b\", \"pair\": \"web\"}", &err);
	CHECK(json);
	json_decref(json);
	json = peer_parse("{\"ftd\": 1, \"lives\": \"web\"}", &err);
	CHECK(json);
	json_decref(json);
	json = peer_parse("{\"ftd\": 1, \"second\": 9223372036854775807, \"port\": 7717}", &err);
	CHECK(json);
	json_decref(json);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		json = peer_parse(bad[i], &err);
		CHECK(!json && err.code == -EBADMSG);
		json_decref(json);
	}
	CHECK(!peer_parse("{\"ftd\": 2, \"guest\": \"web\"}", &err));
	CHECK(err.code == -EPROTONOSUPPORT && strstr(err.text, "same version"));
}

static int settings_of(const char *text, struct ftsettings *set)
{
	json_t *json = json_loads(text, 0, NULL);
	struct fterr err;
	int ret = ft_settings_from_json(json, set, &err);

	json_decref(json);
	return ret;
}

static void peers_kernels(void)
{
	json_t *answer = peer_yes();
	struct fterr err = { 0 };

	CHECK(!peer_same_kernel(answer, &err));
	json_object_del(answer, "kernel");
	CHECK(!peer_same_kernel(answer, &err));
	json_object_set_new(answer, "kernel", json_string("6.12.1 #1"));
	CHECK(peer_same_kernel(answer, &err) == -EINVAL && strstr(err.text, "the other one 6.12.1 #1: "));
	json_object_set_new(answer, "kernel", json_string("6.12\n"));
	CHECK(peer_same_kernel(answer, &err) == -EINVAL && strstr(err.text, "that it does not name"));
	json_decref(answer);
}

static void settings(void)
{
	struct ftsettings set = { 1000, 2000, 300, 0x7000000000000001, 0x5100d1, 1500, FTKVM_UAPI_LOSS_HOLD, 50, true },
			  again;
	json_t *json = ft_settings_json(&set);
	struct fterr err;

	CHECK(!ft_settings_from_json(json, &again, &err));
	CHECK(again.period_min == 1000 && again.period_max == 2000 && again.margin == 300);
	CHECK(again.counter == 0x5100d1 && again.timeout_ms == 1500 && again.token == 0x7000000000000001);
	CHECK(again.verify_said && again.verify_every == 50 && again.on_loss == FTKVM_UAPI_LOSS_HOLD);
	CHECK(settings_of("{\"on_loss\": \"perhaps\"}", &set));
	CHECK(settings_of("{\"token\": 0}", &set) && settings_of("{\"token\": -1}", &set));
	json_decref(json);
	CHECK(!settings_of("{}", &set) && !set.period_min && !set.counter && !set.verify_said);
	CHECK(!settings_of("{\"verify_every\": 0}", &set) && set.verify_said && !set.verify_every);
	CHECK(settings_of("{\"verify_every\": -1}", &set));
	CHECK(!settings_of("{\"margin\": null}", &set) && !set.margin);
	CHECK(settings_of("{\"margin\": \"1\"}", &set));
	CHECK(settings_of("{\"margin\": -1}", &set));
	CHECK(settings_of("{\"margin\": 1.5}", &set));
	CHECK(settings_of("{\"counter\": 4294967296}", &set));
	CHECK(settings_of("{\"timeout\": 0}", &set));
	CHECK(settings_of("{\"period_min\": 2, \"period_max\": 1}", &set));
}

static void problems(void)
{
	struct ftproblems p = { .module_version = "1", .proto_version = 3 }, again = { 0 };
	json_t *json;
	char text[64];

	ftproblem_add(&p, FTKVM_SCOPE_GUEST, "leave it out", "device %s", "net0");
	ftproblem_add(&p, FTKVM_SCOPE_HOST, "buy another", "CPU");
	json = ft_problems_json(&p);
	CHECK(json_is_false(json_object_get(json, "protectable")));
	CHECK(ft_problems_from_json(json, &again) && again.n == 2 && again.proto_version == 3);
	CHECK(again.list[0].scope == FTKVM_SCOPE_GUEST && !strcmp(again.list[0].cause, "device net0"));
	CHECK(again.list[1].scope == FTKVM_SCOPE_HOST && !strcmp(again.list[1].remedy, "buy another"));
	json_decref(json);
	ft_problems_text(&p, text, sizeof(text));
	CHECK(!strcmp(text, "device net0 (leave it out); CPU (buy another)"));
	ft_problems_text(&p, text, 20);
	CHECK(strlen(text) == 19);
	free(p.list);
	free(again.list);
	json = json_pack("{s:s}", "problems", "none");
	CHECK(!ft_problems_from_json(json, &again));
	json_decref(json);
}

static void harmless_types(void)
{
	static const char *const no[] = {
		"virtio-net-pci", "virtio-blk-device", "e1000", "e1000e", "rtl8139", "nvme", "vfio-pci",
		"qemu-xhci", "nec-usb-xhci", "piix3-usb-uhci", "intel-hda", "lsi53c895a", "vmxnet3", "kvm-ioapic",
		"isa-serial2", "isa", "", "x86_64-cpu", "a-device-of-a-qemu-to-come",
	};
	static const char *const yes[] = {
		"isa-serial", "isa-debug-exit", "i440FX", "PIIX3", "piix3-ide", "PIIX4_PM", "mc146818rtc",
		"virtio-mmio", "i8042", "port92", "VGA", "ioapic", "isa-pit", "fw_cfg_io", "host-x86_64-cpu",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(yes); i++)
		CHECK(ft_type_harmless(yes[i]));
	for (i = 0; i < ARRAY_SIZE(no); i++)
		CHECK(!ft_type_harmless(no[i]));
}

/* Those of the types that are harmless, a line each. */
static int which_are_harmless(char **types)
{
	for (; *types; types++)
		if (ft_type_harmless(*types))
			puts(*types);
	return 0;
}

/* --- words ----------------------------------------------------------------- */

static bool says(char *(*format)(uint64_t, char *, size_t), uint64_t value, const char *text)
{
	char buf[64];

	return !strcmp(format(value, buf, sizeof(buf)), text);
}

static void formats(void)
{
	char buf[32];

	CHECK(says(ft_format_bytes, 999, "999 B"));
	CHECK(says(ft_format_bytes, 1000, "1.0 kB"));
	CHECK(says(ft_format_bytes, 999960, "1.0 MB"));
	CHECK(says(ft_format_bytes, UINT64_MAX, "18446.7 PB"));
	CHECK(says(ft_format_ns, 999, "999 ns"));
	CHECK(says(ft_format_ns, 1500, "1.5 us"));
	CHECK(says(ft_format_ns, 2500000, "2.5 ms"));
	CHECK(says(ft_format_ns, 90000000000, "1 min 30 s"));
	CHECK(says(ft_format_age, 1500, "1.5 s"));
	CHECK(says(ft_format_age, 3600000, "1 h 0 min"));
	CHECK(says(ft_format_age, 90000000, "1 d 1 h"));
	CHECK(!strcmp(ft_format_count(1, "epoch", buf, sizeof(buf)), "1 epoch"));
	CHECK(!strcmp(ft_format_count(2, "epoch", buf, sizeof(buf)), "2 epochs"));
	/* 292 years from now */
	CHECK(!strcmp(ft_format_time(1ULL << 63, buf, sizeof(buf)), "?"));
}

static void words_for_all(void)
{
	unsigned int i;

	for (i = 0; i <= FTKVM_UAPI_STATE_UNDECIDED; i++)
		CHECK(strcmp(ft_state_name(i), "unknown"));
	for (i = FTKVM_UAPI_EVENT_ATTACHED; i <= FTKVM_UAPI_EVENT_GUEST_ENDED; i++)
		CHECK(strcmp(ft_event_name(i), "unknown"));
	for (i = 0; i < __FTKVM_REASON_MAX; i++)
		CHECK(strcmp(ft_reason_name(i), "unknown"));
	for (i = FTKVM_STAT_PAD + 1; i <= FTKVM_STAT_MAX; i++)
		CHECK(ft_stat_name(i) && ft_stat_words(i));
	for (i = FTKVM_DEV_STAT_PAD + 1; i <= FTKVM_DEV_STAT_MAX; i++)
		CHECK(ft_dev_stat_name(i));
	for (i = FTKVM_UAPI_DEV_BLK; i <= FTKVM_UAPI_DEV_NET; i++)
		CHECK(strcmp(ft_dev_kind_name(i), "unknown"));
	CHECK(!strcmp(ft_state_name(1000), "unknown"));
	CHECK(!strcmp(ft_role_name(1000), "unknown"));
	CHECK(!ft_stat_name(FTKVM_STAT_MAX + 1));
}

const struct unit_test unit_tests[] = {
	{ "names", names },
	{ "numbers", numbers },
	{ "hosts", hosts },
	{ "lines", lines },
	{ "full_socket", full_socket },
	{ "socket_is_given", socket_is_given },
	{ "errors", errors },
	{ "errors_as_json", errors_as_json },
	{ "news", news },
	{ "peers_lines", peers_lines },
	{ "peers_kernels", peers_kernels },
	{ "settings", settings },
	{ "problems", problems },
	{ "harmless_types", harmless_types },
	{ "formats", formats },
	{ "words_for_all", words_for_all },
	{ }
};

static int run_all(const struct unit_test *test)
{
	int failed = 0;

	for (; test->name; test++) {
		unit_failed = false;
		test->run();
		printf("%s %s\n", unit_failed ? "FAIL" : "ok", test->name);
		failed += unit_failed;
	}
	return failed;
}

/*
 * "unit": all tests; "unit console QMP BACKEND", "unit collect QMP HOW", "unit harmless TYPE...",
 * "unit journal", "unit metrics", "unit parse WORDS", "unit privilege PROGRAM LOG", "unit vhost SOCKET KIND":
 * see tests/check.
 */
int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && !strcmp(argv[1], "console"))
		return unit_console(argv[2], argv[3]);
	if (argc > 1 && !strcmp(argv[1], "harmless"))
		return which_are_harmless(argv + 2);
	if (argc == 2 && !strcmp(argv[1], "journal"))
		return unit_journal();
	if (argc == 2 && !strcmp(argv[1], "metrics"))
		return unit_metrics();
	if (argc > 1 && !strcmp(argv[1], "parse"))
		return unit_parse(argc - 2, argv + 2);
	if (argc == 4 && !strcmp(argv[1], "collect"))
		return unit_collect(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "migrate"))
		return unit_migrate(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "secure"))
		return unit_secure(argv[2], argv[3], argv[4]);
	if (argc == 4 && !strcmp(argv[1], "vhost"))
		return unit_vhost(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "fence"))
		return unit_fence(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "fence-many"))
		return unit_fence_many(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "fence-stuck"))
		return unit_fence_stuck(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "privilege"))
		return unit_privilege(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "say"))
		return unit_say(argv[2], argv[3], argv[4]);
	return run_all(unit_tests) + run_all(unit_cmdline_tests) + run_all(unit_console_tests) + run_all(unit_disk_tests) +
	       run_all(unit_ftctl_tests) + run_all(unit_nl_tests) + run_all(unit_top_tests) + run_all(unit_vhost_tests) +
	       run_all(unit_view_tests) ? 1 : 0;
}
