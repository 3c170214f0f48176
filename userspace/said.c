// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "said.h"
#include "util.h"

#define SUFFIX	".qemu"

void said_path(const char *state, const char *guest, char *path, size_t size)
{
	snprintf(path, size, "%s.%s" SUFFIX, state, guest);
}

void said_last(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	char line[512];

	*text = '\0';
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (*line)
			snprintf(text, size, "%s", line);
	}
	if (file)
		fclose(file);
}

void said_forget(const char *state, const char *guest)
{
	char path[512];

	if (!*state)
		return;
	said_path(state, guest, path, sizeof(path));
	unlink(path);
}

/* QEMU appends: it goes on behind what is left. What it says meanwhile may be lost. */
static void cut_one(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	static char kept[SAID_KEPT];
	const char *from;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > SAID_MAX) {
		n = pread(fd, kept, sizeof(kept), st.st_size - sizeof(kept));
		/* from a line's beginning on, if there is one */
		from = n > 0 ? memchr(kept, '\n', n) : NULL;
		from = from && from + 1 < kept + n ? from + 1 : kept;
		if (n > 0 && !ftruncate(fd, 0) && write(fd, from, n - (from - kept)) < 0)
			ft_log(SD_WARNING, "%s was cut, and what it ended with is lost", name);
	}
	close(fd);
}

void said_cut(const char *state)
{
	const char *base = strrchr(state, '/');
	struct dirent *one;
	char path[512];
	DIR *dir;

	if (!*state)
		return;
	base = base ? base + 1 : state;
	snprintf(path, sizeof(path), "%.*s.", (int)(base - state), state);
	dir = opendir(path);
	while (dir && (one = readdir(dir))) {
		size_t len = strlen(one->d_name), front = strlen(base);

		if (len > front + strlen(SUFFIX) && !strncmp(one->d_name, base, front) && one->d_name[front] == '.' &&
		    !strcmp(one->d_name + len - strlen(SUFFIX), SUFFIX))
			cut_one(dirfd(dir), one->d_name);
	}
	if (dir)
		closedir(dir);
}
