// SPDX-License-Identifier: GPL-2.0
/*
 * What a busy host does to a vCPU: signals, a rival for its CPU, memory that
 * is taken away, migration. Each makes exits that are not the guest's.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "qualify.h"

#define RIVAL_BYTES	(8u << 20)	/* what it drives out of the caches */
#define RIVAL_SHARE	(64u << 10)	/* at a time */
#define FORGET_EXITS	16		/* a guest gets on within so many, whatever is missing */
#define FORGET_NAPS	20

static enum disturbance current;
static timer_t timer;
static pid_t rival, vcpu_thread;
static pthread_t helper;
static atomic_bool helper_ends;

const char *disturb_name(enum disturbance d)
{
	static const char * const names[DISTURBANCES] = {
		"calm", "signals", "rival", "forget", "migration",
	};

	return names[d];
}

static void on_signal(int signal)
{
	/* KVM_RUN returned, or never began: that was its purpose */
}

static void nap(void)
{
	struct timespec t = { .tv_nsec = opt.tick_us * 1000 };

	nanosleep(&t, NULL);
}

/* Ahead of the vCPU whenever it is awake. Not being allowed to is no disaster. */
static void go_first(void)
{
	struct sched_param param = { .sched_priority = 1 };

	sched_setscheduler(0, SCHED_FIFO, &param);
}

/* At the same time as the vCPU, if there is a CPU for it. */
static void go_anywhere(void)
{
	sched_setaffinity(0, sizeof(opt.cpus), &opt.cpus);
	go_first();
}

static const char *start_signals(void)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM,
	};
	struct itimerspec each = {
		.it_interval.tv_nsec = opt.tick_us * 1000, .it_value.tv_nsec = opt.tick_us * 1000,
	};
	struct sigaction action = { .sa_handler = on_signal };

	event._sigev_un._tid = vcpu_thread;
	if (sigaction(SIGALRM, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &timer) ||
	    timer_settime(timer, 0, &each, NULL))
		return "no timer";
	return NULL;
}

/* On the vCPU's own CPU: its counter is switched out and in each time. */
static void be_rival(void)
{
	unsigned char *bytes = mmap(NULL, RIVAL_BYTES, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int at = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (bytes == MAP_FAILED || getppid() == 1)
		_exit(1);
	go_first();
	for (;;) {
		memset(bytes + at, at >> 16, RIVAL_SHARE);
		at = (at + RIVAL_SHARE) % RIVAL_BYTES;
		nap();
	}
}

static const char *start_rival(void)
{
	rival = fork();
	if (!rival)
		be_rival();
	return rival < 0 ? "no process" : NULL;
}

/*
 * On a slow host the guest would not get on at all if all of its memory vanished
 * each time that it has fetched the pages for its next instruction.
 */
static void let_it_run(void)
{
	uint64_t exits = vm_exits(&vm);
	unsigned int i;

	for (i = 0; i < FORGET_NAPS && !helper_ends; i++) {
		nap();
		if (vm_exits(&vm) - exits >= FORGET_EXITS)
			break;
	}
}

static void *forget(void *unused)
{
	unsigned int seed = opt.seed;
	uint64_t at, bytes;

	go_anywhere();
	while (!helper_ends) {
		/* all, or a part: tables that are in use, code, the stack */
		bytes = rand_r(&seed) % 4 ? 1ull << (12 + rand_r(&seed) % 10) : GUEST_RAM / 2;
		at = (uint64_t)rand_r(&seed) % (GUEST_RAM / 2) & ~4095ull;
		if (rand_r(&seed) % 2)
			at = 0;
		vm_forget(&vm, at, bytes);
		let_it_run();
	}
	return NULL;
}

static void *migrate(void *unused)
{
	unsigned int cpu = 0;
	cpu_set_t one;

	go_anywhere();
	while (!helper_ends) {
		do {
			cpu = (cpu + 1) % CPU_SETSIZE;
		} while (!CPU_ISSET(cpu, &opt.cpus));
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(vcpu_thread, sizeof(one), &one);
		nap();
	}
	return NULL;
}

static const char *start_helper(void *(*work)(void *))
{
	sigset_t all, old;
	int ret;

	helper_ends = false;
	/* the vCPU's signals are for its thread only */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	ret = pthread_create(&helper, NULL, work, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret ? "no thread" : NULL;
}

const char *disturb_start(enum disturbance d)
{
	const char *why = NULL;

	vcpu_thread = syscall(SYS_gettid);
	switch (d) {
	case SIGNALS:
		why = start_signals();
		break;
	case RIVAL:
		why = start_rival();
		break;
	case FORGET:
		why = start_helper(forget);
		break;
	case MIGRATION:
		why = CPU_COUNT(&opt.cpus) < 2 ? "there is only one CPU" : start_helper(migrate);
		break;
	default:
		break;
	}
	current = why ? CALM : d;
	return why;
}

void disturb_stop(void)
{
	switch (current) {
	case SIGNALS:
		timer_delete(timer);
		break;
	case RIVAL:
		kill(rival, SIGKILL);
		waitpid(rival, NULL, 0);
		break;
	case FORGET:
	case MIGRATION:
		helper_ends = true;
		pthread_join(helper, NULL);
		host_pin();
		break;
	default:
		break;
	}
	current = CALM;
}
