// SPDX-License-Identifier: GPL-2.0
/* QEMU's command line, for its second replica; and streams of a peer's. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cmdline.h"
#include "stream.h"
#include "tests/unit.h"

/* The words, with spaces between them, as they are for the peer; "" if they can't be. */
static const char *incoming(const char *words, const struct ftconsole *cons, size_t n)
{
	char copy[512], *rest = copy, *word;
	json_t *argv = json_array(), *to, *one;
	static char text[1024];
	struct fterr err;
	size_t i, at = 0;

	snprintf(copy, sizeof(copy), "%s", words);
	while ((word = strsep(&rest, " ")))
		json_array_append_new(argv, json_string(word));
	to = cmdline_incoming(argv, cons, n, &err);
	*text = '\0';
	json_array_foreach(to, i, one)
		at += snprintf(text + at, sizeof(text) - at, "%s%s", i ? " " : "", json_string_value(one));
	json_decref(to);
	json_decref(argv);
	return text;
}

#define END	" -S -incoming defer"

static void same_machine(void)
{
	struct ftconsole cons[2] = { 0 };
	struct fterr err;

	CHECK(!ftcon_parse("con0=pty", &cons[0], &err) && !ftcon_parse("serial1=file:/x", &cons[1], &err));
	CHECK(!strcmp(incoming("qemu -M pc -m 64", cons, 2), "qemu -M pc -m 64" END));
	/* what it was started from is not there */
	CHECK(!strcmp(incoming("qemu -S -incoming tcp:0:1 --daemonize -loadvm x -m 64", cons, 2), "qemu -m 64" END));
	/* consoles are muted, in either way to name one, and nothing else is */
	CHECK(!strcmp(incoming("q -chardev pty,id=con0 -chardev pty,id=con01", cons, 2),
		      "q -chardev ringbuf,id=con0,size=65536 -chardev pty,id=con01" END));
	CHECK(!strcmp(incoming("q -chardev ringbuf,id=con0,size=512,logfile=/l", cons, 2),
		      "q -chardev ringbuf,id=con0,size=512,logfile=/l" END));
	CHECK(!strcmp(incoming("q -serial stdio --serial pty", cons, 2),
		      "q -serial stdio -chardev ringbuf,id=serial1,size=65536 -serial chardev:serial1" END));
	CHECK(!strcmp(incoming("q -serial chardev:con0 -serial chardev:b", cons, 2),
		      "q -serial chardev:con0 -serial chardev:b" END));
	/* what only its parent could give it */
	CHECK(!*incoming("q -netdev tap,id=n,fd=5", cons, 2));
	CHECK(!*incoming("q -add-fd fd=3,set=1", cons, 2));
	CHECK(!*incoming("q -drive file=/dev/fdset/1", cons, 2));
	CHECK(*incoming("q -device x,fda=1", cons, 2));
	CHECK(!strcmp(incoming("q -m", cons, 2), "q -m" END));
}

static void read_and_start(void)
{
	char log[] = "/tmp/ftkvm-unit-XXXXXX", text[64] = "";
	json_t *how = cmdline_read(getpid(), NULL), *argv;
	struct fterr err;
	pid_t pid = 0;
	FILE *file;
	int i, fd = mkstemp(log);

	CHECK(how && json_array_size(json_object_get(how, "argv")));
	CHECK(json_string_length(json_object_get(how, "exe")) && json_string_length(json_object_get(how, "cwd")));
	json_decref(how);
	CHECK(!cmdline_read(0x7ffffff0, &err) && *err.text);

	argv = json_pack("[s s s]", "sh", "-c", "echo $PPID here; exec sleep 100");
	how = json_pack("{s:s, s:s, s:O}", "exe", "/bin/sh", "cwd", "/", "argv", argv);
	CHECK(fd >= 0 && !cmdline_start(how, log, &pid, &err) && pid > 0);
	for (i = 0; i < 1000 && !strstr(text, "here\n"); i++) {
		usleep(10000);
		file = fopen(log, "r");
		if (file && !fgets(text, sizeof(text), file))
			*text = '\0';
		if (file)
			fclose(file);
	}
	/* it is no child of ours, and ends when we say so */
	CHECK(strstr(text, "here") && atoi(text) != getpid());
	CHECK(pid > 1 && !kill(pid, SIGKILL));

	json_object_set_new(how, "exe", json_string("/nix/nix"));
	CHECK(cmdline_start(how, log, &pid, &err) == -ENOENT && strstr(err.text, "same QEMU"));
	json_object_set_new(how, "exe", json_string("/bin/sh"));
	json_object_set_new(how, "cwd", json_string("/nix"));
	CHECK(cmdline_start(how, log, &pid, &err) == -ENOENT);
	json_object_set_new(how, "cwd", json_string("relative"));
	CHECK(cmdline_start(how, log, &pid, &err) == -EINVAL);
	json_object_set_new(how, "cwd", json_string("/"));
	json_array_append_new(argv, json_integer(5));
	CHECK(cmdline_start(how, log, &pid, &err) == -EINVAL);
	json_decref(argv);
	json_decref(how);
	close(fd);
	unlink(log);
}

static void streams(void)
{
	char one[FT_UUID_MAX + 1], two[FT_UUID_MAX + 1];
	struct fterr err;
	int pair[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	CHECK(!stream_expect(one, &err) && !stream_expect(two, &err) && strcmp(one, two));
	CHECK(!stream_give("11111111-1111-1111-1111-111111111111", pair[0]));
	CHECK(stream_take(one, 1) == -ETIMEDOUT);
	CHECK(stream_give(one, pair[0]));
	/* a second one is not wanted */
	CHECK(!stream_give(one, pair[1]));
	CHECK(stream_take(one, 1) == pair[0]);
	stream_drop(one);
	CHECK(stream_take(one, 1) == -ENOENT && !stream_give(one, pair[0]));
	/* that of nobody's is closed */
	CHECK(stream_give(two, pair[0]));
	stream_drop(two);
	CHECK(write(pair[0], "", 1) < 0 && errno == EBADF);
	close(pair[1]);
}

const struct unit_test unit_cmdline_tests[] = {
	{ "same_machine", same_machine },
	{ "read_and_start", read_and_start },
	{ "streams", streams },
	{ }
};
