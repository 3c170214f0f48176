// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cmdline.h"

#define ARGS_MAX	4096

/* --- reading --------------------------------------------------------------- */

static int read_link(pid_t pid, const char *what, char *to, size_t size)
{
	char path[64];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	len = readlink(path, to, size - 1);
	if (len < 0)
		return -errno;
	to[len] = '\0';
	return 0;
}

/* The words of /proc/PID/cmdline; NULL: not UTF-8, or there are none. */
static json_t *read_words(pid_t pid)
{
	json_t *list = json_array();
	char path[64], *line = NULL;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	file = fopen(path, "re");
	while (file && getdelim(&line, &size, '\0', file) > 0) {
		json_t *word = json_string(line);

		if (!word || json_array_size(list) == ARGS_MAX) {
			json_decref(word);
			json_array_clear(list);
			break;
		}
		json_array_append_new(list, word);
	}
	if (file)
		fclose(file);
	free(line);
	if (json_array_size(list))
		return list;
	json_decref(list);
	return NULL;
}

json_t *cmdline_read(pid_t pid, struct fterr *err)
{
	char exe[1024], cwd[1024], *gone;
	int ret = read_link(pid, "exe", exe, sizeof(exe));
	json_t *argv, *how;

	/* it was upgraded since */
	gone = ret ? NULL : strstr(exe, " (deleted)");
	if (gone && !gone[10])
		*gone = '\0';
	if (!ret)
		ret = read_link(pid, "cwd", cwd, sizeof(cwd));
	argv = ret ? NULL : read_words(pid);
	how = argv ? json_pack("{s:s, s:s, s:o}", "exe", exe, "cwd", cwd, "argv", argv) : NULL;
	if (!how)
		ft_fail(err, ret ? ret : -EILSEQ, "cannot tell how QEMU (process %d) was started: %s", pid,
			ret ? strerror(-ret) : "its command line is no text");
	return how;
}

/* --- for the peer ---------------------------------------------------------- */

/* The option's name, if it is one: QEMU takes one dash or two. */
static const char *option(const char *word)
{
	if (word[0] != '-' || !word[1])
		return NULL;
	return word + (word[1] == '-' ? 2 : 1);
}

/* The value of a key in "key=value,key=value", where a comma in a value is doubled. */
static bool has_value(const char *text, const char *key, const char *value)
{
	size_t klen = strlen(key), vlen = strlen(value);

	for (; text; text = strchr(text, ','), text = text ? text + 1 : NULL)
		if (!strncmp(text, key, klen) && text[klen] == '=' &&
		    (!value[0] || (!strncmp(text + klen + 1, value, vlen) &&
				   (!text[klen + 1 + vlen] || text[klen + 1 + vlen] == ','))))
			return true;
	return false;
}

/* A number of a descriptor that whoever started QEMU has opened for it. */
static bool names_descriptor(const char *name, const char *value)
{
	static const char *const keys[] = { "fd", "fds", "vhostfd", "vhostfds" };
	size_t i;

	if (!strcmp(name, "add-fd") || strstr(value, "/dev/fdset/"))
		return true;
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (has_value(value, keys[i], ""))
			return true;
	return false;
}

static bool is_console(const char *id, const struct ftconsole *cons, size_t ncons)
{
	size_t i;

	for (i = 0; i < ncons; i++)
		if (!strcmp(cons[i].id, id))
			return true;
	return false;
}

static void add(json_t *to, const char *word)
{
	json_array_append_new(to, json_string(word));
}

static void add_muted(json_t *to, const char *id)
{
	char text[128];

	snprintf(text, sizeof(text), "ringbuf,id=%s,size=%d", id, FTCON_RING_SIZE);
	add(to, "-chardev");
	add(to, text);
}

/* True: this one is a console's, and was replaced. */
static bool add_chardev(json_t *to, const char *value, const struct ftconsole *cons, size_t ncons)
{
	size_t i;

	/* muted from the beginning: as it is */
	if (!strncmp(value, "ringbuf", 7) || !strncmp(value, "memory", 6))
		return false;
	for (i = 0; i < ncons; i++)
		if (has_value(value, "id", cons[i].id)) {
			add_muted(to, cons[i].id);
			return true;
		}
	return false;
}

/* The same for the @n-th "-serial", which makes a chardev unless it names one. */
static bool add_serial(json_t *to, unsigned int n, const char *value,
		       const struct ftconsole *cons, size_t ncons)
{
	char id[32], text[64];

	snprintf(id, sizeof(id), "serial%u", n);
	if (!strncmp(value, "chardev:", 8) || !is_console(id, cons, ncons))
		return false;
	snprintf(text, sizeof(text), "chardev:%s", id);
	add_muted(to, id);
	add(to, "-serial");
	add(to, text);
	return true;
}

/* What is not to be there: what it was started from, and in what way. */
static int words_to_drop(const char *name)
{
	static const char *const with[] = { "incoming", "loadvm" };
	static const char *const without[] = { "S", "daemonize" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(with); i++)
		if (!strcmp(name, with[i]))
			return 2;
	for (i = 0; i < ARRAY_SIZE(without); i++)
		if (!strcmp(name, without[i]))
			return 1;
	return 0;
}

json_t *cmdline_incoming(json_t *argv, const struct ftconsole *cons, size_t ncons,
			 struct fterr *err)
{
	size_t n = json_array_size(argv), i;
	json_t *to = json_array();
	unsigned int serials = 0;

	for (i = 0; i < n; i++) {
		const char *word = json_string_value(json_array_get(argv, i));
		const char *next = json_string_value(json_array_get(argv, i + 1));
		const char *name = i ? option(word) : NULL;
		bool done = false;
		int drop = name ? words_to_drop(name) : 0;

		if (drop) {
			i += drop - 1;
			continue;
		}
		if (name && next && names_descriptor(name, next)) {
			ft_fail(err, -EINVAL, "who started this QEMU has opened \"%s %s\" for it, which ftd can't do at the "
				"peer: start the peer's QEMU in the same way with -incoming defer -S, and run: ftctl attach "
				"there", word, next);
			json_decref(to);
			return NULL;
		}
		if (name && next && !strcmp(name, "chardev"))
			done = add_chardev(to, next, cons, ncons);
		else if (name && next && !strcmp(name, "serial"))
			done = add_serial(to, serials++, next, cons, ncons);
		if (done)
			i++;
		else
			add(to, word);
	}
	add(to, "-S");
	add(to, "-incoming");
	add(to, "defer");
	return to;
}

/* --- starting -------------------------------------------------------------- */

/* What a new process does until it is QEMU; no lock of ours may be taken here. */
static void become(char *const *argv, const char *exe, const char *cwd, int log, int tell)
{
	int report[2] = { 0, 0 };
	sigset_t none;
	int null;
	pid_t pid;

	setsid();
	pid = fork();
	if (pid)
		_exit(pid < 0);
	report[0] = getpid();
	/* ftd blocks and ignores some; and libraries of ours may leave their files open */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || chdir(cwd))
		report[1] = errno;
	if (write(tell, report, sizeof(report)) != sizeof(report) || report[1])
		_exit(1);
	execv(exe, argv);
	report[1] = errno;
	_exit(write(tell, report, sizeof(report)) != sizeof(report));
}

static int spawn(char *const *argv, const char *exe, const char *cwd, int log, pid_t *pid)
{
	int tell[2], report[2], status, ret = 0;
	pid_t child;
	ssize_t n;

	if (pipe2(tell, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (!child)
		become(argv, exe, cwd, log, tell[1]);
	if (child < 0)
		ret = -errno;
	close(tell[1]);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	/* what went wrong, twice if it is the execution; the end of file if nothing did */
	while (!ret && (n = read(tell[0], report, sizeof(report))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(report)) {
			ret = -EIO;
			break;
		}
		*pid = report[0];
		ret = -report[1];
	}
	close(tell[0]);
	return ret ? ret : *pid ? 0 : -EIO;
}

int cmdline_start(json_t *how, const char *log, pid_t *pid, struct fterr *err)
{
	json_t *list = json_object_get(how, "argv");
	size_t n = json_array_size(list), i;
	const char *exe = NULL, *cwd = NULL;
	char **argv;
	int fd, ret;

	json_unpack(how, "{s:s, s:s}", "exe", &exe, "cwd", &cwd);
	if (!exe || *exe != '/' || !cwd || *cwd != '/' || !n || n > ARGS_MAX)
		return ft_fail(err, -EINVAL, "no command line that could be started");
	argv = calloc(n + 1, sizeof(*argv));
	if (!argv)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	for (i = 0; i < n; i++) {
		argv[i] = (char *)json_string_value(json_array_get(list, i));
		if (!argv[i]) {
			free(argv);
			return ft_fail(err, -EINVAL, "no command line that could be started");
		}
	}
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	*pid = 0;
	ret = fd < 0 ? -errno : spawn(argv, exe, cwd, fd, pid);
	if (fd >= 0)
		close(fd);
	free(argv);
	if (fd < 0)
		return ft_fail(err, ret, "cannot write %s: %s", log, strerror(-ret));
	if (ret)
		return ft_fail(err, ret, "cannot start %s in %s: %s; install the same QEMU on both hosts", exe, cwd,
			       strerror(-ret));
	return 0;
}
