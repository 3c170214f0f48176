// SPDX-License-Identifier: GPL-2.0
/*
 * Counts what a guest's work costs its host, from the guest's mark B to its
 * mark E.
 *
 *	meter [--cpu] MARK PIDFILE [REPLICA [PEER PEER-PIDFILE]]
 *
 * MARK is a FIFO behind the guest's port 0xe9: QEMU's vCPU thread writes the
 * marks itself, and this process, which has the greatest priority of that CPU,
 * runs before that thread does anything else. So nothing is counted that is not
 * between the marks, and nothing is left out. Counted are retired instructions
 * of any mode, the guest's included, by one perf event for each thread:
 *
 *	vcpu	QEMU's vCPU thread
 *	tx, rx	ftkvm's link threads of REPLICA
 *
 * with peer_ before them, the same of PEER. With --cpu also
 *
 *	cpu, peer_cpu	all that a CPU executes: devices have the host's other threads
 *			work
 *
 * It prints one JSON object: begin and end, each with these counts and what the
 * module counts for the replicas; then it ends.
 *
 * No more events than these: at each of the guest's epoch ends the host looks at all that
 * count on the CPU.
 *
 * CPU 0 is the primary's, CPU 1 the backup's: this process puts ftkvm's threads
 * where they belong.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "nl.h"
#include "text.h"

enum { PRIMARY_CPU, BACKUP_CPU };

/* One thing that is counted. */
struct count {
	const char *name;
	int fd;
};

static struct count counts[] = {
	{ .name = "vcpu", .fd = -1 }, { .name = "tx", .fd = -1 }, { .name = "rx", .fd = -1 },
	{ .name = "peer_vcpu", .fd = -1 }, { .name = "peer_tx", .fd = -1 },
	{ .name = "peer_rx", .fd = -1 }, { .name = "cpu", .fd = -1 },
	{ .name = "peer_cpu", .fd = -1 },
};

/* What there is at an instant. */
struct snapshot {
	unsigned long long value[ARRAY_SIZE(counts)];
	struct timespec time;
	struct ftreplica ours, theirs;
};

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("meter: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void comm_of(const char *dir, const char *pid, char *comm, size_t size)
{
	char path[320];
	FILE *file;

	*comm = '\0';
	snprintf(path, sizeof(path), "%s/%s/comm", dir, pid);
	file = fopen(path, "r");
	if (!file)
		return;
	if (fgets(comm, size, file))
		comm[strcspn(comm, "\n")] = '\0';
	fclose(file);
}

/* The process or thread of this name under @dir, 0 if there is none. */
static pid_t find(const char *dir, const char *name)
{
	struct dirent *e;
	char comm[64];
	pid_t pid = 0;
	DIR *d;

	d = opendir(dir);
	if (!d)
		die("%s: %s", dir, strerror(errno));
	while (!pid && (e = readdir(d))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		comm_of(dir, e->d_name, comm, sizeof(comm));
		if (!strcmp(comm, name))
			pid = atoi(e->d_name);
	}
	closedir(d);
	return pid;
}

static pid_t pid_from(const char *path)
{
	FILE *file = fopen(path, "r");
	int pid = 0;

	if (!file || fscanf(file, "%d", &pid) != 1 || pid <= 0)
		die("%s holds no process's number", path);
	fclose(file);
	return pid;
}

static void keep_on(pid_t pid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(pid, sizeof(set), &set))
		die("thread %d can't be kept on CPU %d: %s", pid, cpu, strerror(errno));
}

static int open_counter(const char *name, pid_t pid, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.pinned = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		die("no counter for %s: %s", name, strerror(errno));
	return fd;
}

static void count(const char *name, pid_t pid, int cpu)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(counts); i++)
		if (!strcmp(counts[i].name, name))
			break;
	counts[i].fd = open_counter(name, pid, cpu);
}

static void count_side(const char *prefix, pid_t qemu, const char *replica, int cpu)
{
	char dir[64], name[64], label[16];
	static const char *const threads[] = { "tx", "rx" };
	pid_t pid;
	size_t i;

	snprintf(dir, sizeof(dir), "/proc/%d/task", qemu);
	pid = find(dir, "CPU 0/KVM");
	if (!pid)
		die("QEMU (process %d) has no vCPU thread", qemu);
	snprintf(label, sizeof(label), "%svcpu", prefix);
	count(label, pid, -1);
	for (i = 0; replica && i < ARRAY_SIZE(threads); i++) {
		snprintf(name, sizeof(name), "ftkvm-%s/%.6s", threads[i], replica);
		pid = find("/proc", name);
		if (!pid)
			die("there is no thread %s", name);
		keep_on(pid, cpu);
		snprintf(label, sizeof(label), "%s%s", prefix, threads[i]);
		count(label, pid, -1);
	}
}

static void read_counts(struct snapshot *at)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		if (counts[i].fd < 0)
			continue;
		/* a pinned event that could not be counted reads as end of file */
		if (read(counts[i].fd, &at->value[i], 8) != 8)
			die("%s was not counted throughout", counts[i].name);
	}
	clock_gettime(CLOCK_MONOTONIC, &at->time);
}

static void print_counts(const struct snapshot *at)
{
	size_t i;
	int n = 0;

	printf("\"insns\": {");
	for (i = 0; i < ARRAY_SIZE(counts); i++)
		if (counts[i].fd >= 0)
			printf("%s\"%s\": %llu", n++ ? ", " : "", counts[i].name, at->value[i]);
	printf("}, \"ns\": %llu", at->time.tv_sec * 1000000000ull + at->time.tv_nsec);
}

static void get(const char *name, struct ftreplica *r)
{
	struct fterr err;

	if (ftnl_get(name, r, &err))
		die("%s", err.text);
}

static void print_stats(const char *key, const struct ftreplica *r)
{
	unsigned int i;
	int n = 0;

	printf(", \"%s\": {", key);
	for (i = 0; i <= FTKVM_STAT_MAX; i++)
		if (r->has_stat[i] && ft_stat_name(i))
			printf("%s\"%s\": %llu", n++ ? ", " : "", ft_stat_name(i),
			       (unsigned long long)r->stats[i]);
	printf("}");
}

static void await(int fd, char mark)
{
	char got;

	if (read(fd, &got, 1) != 1 || got != mark)
		die("the guest's mark %c did not come", mark);
}

static void get_stats(struct snapshot *at, const char *replica, const char *peer)
{
	if (replica)
		get(replica, &at->ours);
	if (peer)
		get(peer, &at->theirs);
}

static void print(const char *key, const struct snapshot *at, const char *replica,
		  const char *peer)
{
	printf("\"%s\": {", key);
	print_counts(at);
	if (replica)
		print_stats("stats", &at->ours);
	if (peer)
		print_stats("peer_stats", &at->theirs);
	printf("}");
}

int main(int argc, char **argv)
{
	struct sched_param greatest = { .sched_priority = 90 };
	static struct snapshot begin, end, warm;
	const char *replica, *peer;
	static char out[65536];
	int mark, whole;

	whole = argc > 1 && !strcmp(argv[1], "--cpu");
	argc -= whole;
	argv += whole;
	replica = argc > 3 ? argv[3] : NULL;
	peer = argc > 4 ? argv[4] : NULL;
	if (argc < 3 || argc == 5 || argc > 6) {
		fprintf(stderr,
			"usage: meter [--cpu] MARK PIDFILE [REPLICA [PEER PEER-PIDFILE]]\n");
		return 2;
	}
	mark = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (mark < 0)
		die("%s: %s", argv[1], strerror(errno));
	keep_on(0, PRIMARY_CPU);
	if (sched_setscheduler(0, SCHED_FIFO, &greatest) || mlockall(MCL_CURRENT | MCL_FUTURE))
		die("no priority, or no memory to keep: %s", strerror(errno));
	/* a first time takes longer */
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	get_stats(&warm, replica, NULL);

	/*
	 * A host's first event of a thread makes perf wait for all CPUs, and
	 * the guest would run on meanwhile. So have one before, and keep it.
	 */
	open_counter("itself", 0, -1);

	await(mark, 'B');
	count_side("", pid_from(argv[2]), replica, PRIMARY_CPU);
	if (peer)
		count_side("peer_", pid_from(argv[5]), peer, BACKUP_CPU);
	/* what this process does itself counts for its CPU */
	get_stats(&begin, replica, peer);
	if (whole) {
		count("peer_cpu", -1, BACKUP_CPU);
		count("cpu", -1, PRIMARY_CPU);
	}
	read_counts(&begin);
	await(mark, 'E');
	read_counts(&end);
	get_stats(&end, replica, peer);
	printf("{");
	print("begin", &begin, replica, peer);
	printf(", ");
	print("end", &end, replica, peer);
	printf("}\n");
	return 0;
}
