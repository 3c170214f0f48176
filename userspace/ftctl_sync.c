// SPDX-License-Identifier: GPL-2.0
/*
 * ftctl device sync: the other host's image of a disk becomes what this host's is. rsync does
 * it, and sends what differs. Here is what it must be told, and that nobody has either image:
 * both are locked, as ftd locks what it gives to the module.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backend.h"
#include "ftctl.h"
#include "text.h"

#define QUOTED	(4 * PATH_MAX + 3)	/* a path of quotes alone */

/* What rsync said of it. */
struct said {
	uint64_t sent;	/* bytes that differed */
	bool shown;	/* progress */
};

/* The path for a shell; false: it is too long. */
static bool quote(const char *path, char *buf, size_t size)
{
	size_t n = 0;

	if (strlen(path) >= PATH_MAX || size < QUOTED)
		return false;
	buf[n++] = '\'';
	for (; *path; path++) {
		if (*path == '\'') {
			memcpy(buf + n, "'\\''", 4);
			n += 4;
		} else {
			buf[n++] = *path;
		}
	}
	buf[n++] = '\'';
	buf[n] = '\0';
	return true;
}

/* Where this host has it, by ftd; NULL with a text. The caller frees it. */
static char *file_of(struct ftctl *ctl, struct fterr *err)
{
	json_t *answer = ftctl_ask(ctl, json_pack("{s:s}", "cmd", "devices"), err), *one;
	const char *name, *kind, *file = NULL;
	char *found = NULL;
	size_t i;

	if (!answer)
		return NULL;
	ft_fail(err, -ENOENT, "there is no device %s; \"ftctl device\" shows those there are", ctl->name);
	json_array_foreach(json_object_get(answer, "devices"), i, one) {
		if (json_unpack(one, "{s:s, s:s, s?s}", "name", &name, "kind", &kind, "file", &file) ||
		    strcmp(name, ctl->name))
			continue;
		if (strcmp(kind, "blk") || !file)
			ft_fail(err, -EINVAL, "device %s is no disk", name);
		else if (json_is_true(json_object_get(one, "shared")))
			ft_fail(err, -EINVAL, "device %s is on storage that both hosts share: there is no other image to be "
				"made the same", name);
		else
			found = strdup(file);
		break;
	}
	json_decref(answer);
	return found;
}

/* HOST[:PATH] apart: where the path begins, or the same as here; NULL: rsync's daemon is meant. */
static const char *path_at(const char *to, const char *file, char *host, size_t size)
{
	const char *bracket = strchr(to, '['), *colon = strchr(to, ':');

	if (bracket && colon && bracket < colon) {
		colon = strstr(bracket, "]:");
		colon += !!colon;
	}
	snprintf(host, size, "%.*s", colon ? (int)(colon - to) : (int)strlen(to), to);
	if (!colon || !colon[1])
		return file;
	return colon[1] == ':' ? NULL : colon + 1;
}

/* In the child. The lock goes along with @fd, and lasts as long as rsync does. */
static void run_rsync(int fd, int out, bool sparse, const char *lock, const char *from,
		      const char *to)
{
	char *const words[] = {
		"rsync", "--inplace", "--no-whole-file", "--ignore-times", "--copy-devices",
		"--write-devices", "--fsync", "--timeout=60", "--info=progress2", "--stats", "--no-human-readable",
		(char *)lock, sparse ? "--sparse" : "--no-sparse", "--", (char *)from, (char *)to, NULL
	};

	setenv("LC_ALL", "C", 1);
	if (fcntl(fd, F_SETFD, 0) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(126);
	execvp(words[0], words);
	_exit(errno == ENOENT ? 127 : 126);
}

/* Lines end as they do for a terminal; the figures of the last count. */
static void hear(int fd, bool show, struct said *said)
{
	unsigned long long n;
	char line[256];
	size_t len = 0;
	FILE *in = fdopen(fd, "r");
	int c;

	while (in && (c = getc(in)) != EOF) {
		if (c != '\r' && c != '\n') {
			if (len < sizeof(line) - 1)
				line[len++] = c;
			continue;
		}
		line[len] = '\0';
		len = 0;
		if (sscanf(line, "Literal data: %llu", &n) == 1)
			said->sent = n;
		if (!show || !strchr(line, '%'))
			continue;
		fprintf(stderr, "\r%s\033[K", line);
		said->shown = true;
	}
	if (said->shown)
		fputs("\r\033[K", stderr);
	if (in)
		fclose(in);
}

static int judge(const struct ftctl *ctl, int status, const char *host, const char *path, struct fterr *err)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (!code)
		return 0;
	if (code == 127)
		return ft_fail(err, -ENOENT, "rsync is not here; on both hosts: apt-get install rsync");
	if (code == 255)
		return ft_fail(err, -EIO, "device %s: ssh to %s failed: let root of this host in there (ssh-copy-id), then run "
			       "the same again", ctl->name, host);
	return ft_fail(err, -EIO, "device %s: rsync to %s did not end well (%s %d): %s there may be in use by a guest, "
		       "or only a part of it is done: run the same again, it goes on", ctl->name, host,
		       code < 0 ? "signal" : "status", code < 0 ? WTERMSIG(status) : code, path);
}

static int sync_to(const struct ftctl *ctl, const struct ftbackend *b, const char *file, const char *host,
		   const char *path, struct said *said, struct fterr *err)
{
	char *lock, *to, quoted[QUOTED];
	struct stat st;
	int out[2], status, ret;
	pid_t pid;

	if (!quote(path, quoted, sizeof(quoted)))
		return ft_fail(err, -ENAMETOOLONG, "the path at %s is too long", host);
	if (fstat(b->fd, &st) || pipe2(out, O_CLOEXEC))
		return ft_fail(err, -errno, "cannot run rsync: %s", strerror(errno));
	if (asprintf(&lock, "--rsync-path=flock --verbose -n %s rsync", quoted) < 0 ||
	    asprintf(&to, "%s:%s", host, path) < 0)
		abort();
	fflush(NULL);
	pid = fork();
	if (!pid)
		run_rsync(b->fd, out[1], S_ISREG(st.st_mode), lock, file, to);
	ret = pid < 0 ? ft_fail(err, -errno, "cannot run rsync: %s", strerror(errno)) : 0;
	close(out[1]);
	hear(out[0], !ctl->json && isatty(STDERR_FILENO), said);
	while (!ret && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			ret = ft_fail(err, -errno, "cannot wait for rsync: %s", strerror(errno));
	free(lock);
	free(to);
	return ret ? ret : judge(ctl, status, host, path, err);
}

int ftctl_device_sync(struct ftctl *ctl)
{
	char *file, host[256], all[32], sent[32];
	struct said said = { 0 };
	struct ftbackend b;
	const char *path;
	uint64_t bytes;
	struct fterr err;
	int ret;

	file = file_of(ctl, &err);
	if (!file)
		return ftctl_error(&err);
	path = path_at(ctl->device.to, file, host, sizeof(host));
	if (!path) {
		free(file);
		ft_fail(&err, -EINVAL, "the image at %s must be reached by ssh: HOST:PATH", host);
		return ftctl_error(&err);
	}
	/* shared with whoever reads only; a guest that can write has it alone */
	ret = ftbackend_disk(&b, file, true, &err);
	if (ret) {
		free(file);
		return ftctl_error(&err);
	}
	bytes = b.sectors * 512;
	ret = sync_to(ctl, &b, file, host, path, &said, &err);
	ftbackend_close(&b);
	if (ret)
		ftctl_error(&err);
	else if (ctl->json)
		ftctl_print_json(json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "name", ctl->name, "file", file,
					   "host", host, "path", path, "bytes", (json_int_t)bytes, "sent",
					   (json_int_t)said.sent));
	else
		printf("Device %s: %s at %s is what %s is here: %s, of which %s differed.\n", ctl->name, path, host,
		       file, ft_format_bytes(bytes, all, sizeof(all)),
		       ft_format_bytes(said.sent, sent, sizeof(sent)));
	free(file);
	return ret ? FTCTL_REFUSED : FTCTL_OK;
}
