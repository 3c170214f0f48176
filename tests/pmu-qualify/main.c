// SPDX-License-Identifier: GPL-2.0
/*
 * pmu-qualify: is this host's counter fit for ftkvm? It runs code of its own in
 * a guest of its own, and counts. README.rst tells what, and why.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "qualify.h"

struct options opt = {
	.runs = 10,
	.samples = 1000,
	.insns = 2000000,
	.budget = 25,
	.tick_us = 100,
	.limit = 1000,
	.seed = 1,
};

struct vm vm;

static const char usage[] =
	"Usage: pmu-qualify [OPTION...]\n"
	"\n"
	"Tells whether this host's performance counter is fit for ftkvm. Needs root, /dev/kvm\n"
	"and the module pmuq.\n"
	"\n"
	"  -j, --json         print JSON\n"
	"  --event RAW        raw event, as perf has it (default: by the CPU's model)\n"
	"  --cpu CPU          stay on this CPU (default: all that there are, for migration)\n"
	"  --runs N           runs of each program with each disturbance (10)\n"
	"  --insns N          guest instructions of a run (2000000)\n"
	"  --samples N        overflows of each program at each period (1000)\n"
	"  --tick US          microseconds from one disturbance to the next (100)\n"
	"  --limit N          events that an overflow may be late (1000)\n"
	"  --quick            few and short runs: for emulated hosts, and for a first look\n"
	"  --count-host       a control: count host mode as well, so that tests must fail\n"
	"\n"
	"SEED in the environment: another sequence of what is taken from the guest.\n"
	"Exit status: 0 fit, 1 unfit, 2 can't be told.\n";

enum { EVENT = 256, CPU, RUNS, INSNS, SAMPLES, TICK, LIMIT, QUICK, COUNT_HOST };

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ "event", required_argument, NULL, EVENT },
	{ "cpu", required_argument, NULL, CPU },
	{ "runs", required_argument, NULL, RUNS },
	{ "insns", required_argument, NULL, INSNS },
	{ "samples", required_argument, NULL, SAMPLES },
	{ "tick", required_argument, NULL, TICK },
	{ "limit", required_argument, NULL, LIMIT },
	{ "quick", no_argument, NULL, QUICK },
	{ "count-host", no_argument, NULL, COUNT_HOST },
	{ }
};

static uint64_t number(const char *what, const char *text, uint64_t least, uint64_t most)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-' || value < least || value > most) {
		fprintf(stderr, "pmu-qualify: %s: a number from %llu to %llu, not %s\n", what,
			(unsigned long long)least, (unsigned long long)most, text);
		exit(2);
	}
	return value;
}

/* As perf: 0xc0, or r5100d1. */
static uint64_t raw_event(const char *text)
{
	char hex[32];

	if (*text == 'r') {
		snprintf(hex, sizeof(hex), "0x%s", text + 1);
		text = hex;
	}
	return number("--event", text, 1, UINT64_MAX);
}

static void parse(int argc, char **argv)
{
	const char *seed;
	int c;

	sched_getaffinity(0, sizeof(opt.cpus), &opt.cpus);
	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			opt.json = true;
			break;
		case EVENT:
			opt.event = raw_event(optarg);
			opt.event_given = true;
			break;
		case CPU:
			CPU_ZERO(&opt.cpus);
			CPU_SET(number("--cpu", optarg, 0, CPU_SETSIZE - 1), &opt.cpus);
			break;
		case RUNS:
			opt.runs = number("--runs", optarg, 2, 1000000);
			break;
		case INSNS:
			opt.insns = number("--insns", optarg, 10000, 1ull << 40);
			break;
		case SAMPLES:
			opt.samples = number("--samples", optarg, 10, 100000000);
			break;
		case TICK:
			opt.tick_us = number("--tick", optarg, 10, 100000);
			break;
		case LIMIT:
			opt.limit = number("--limit", optarg, 0, 1ull << 30);
			break;
		case QUICK:
			opt.runs = 4;
			opt.insns = 300000;
			opt.samples = 100;
			opt.budget = 5;
			break;
		case COUNT_HOST:
			opt.count_host = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		exit(2);
	}
	seed = getenv("SEED");
	if (seed && *seed)
		opt.seed = number("SEED", seed, 0, UINT64_MAX);
}

static void on_overflow(int signal)
{
	/* KVM_RUN returned: that was its purpose */
}

/* What the tests need, or a report of what is missing. */
static bool prepare(void)
{
	struct sigaction action = { .sa_handler = on_overflow };
	int ret;

	ret = counter_open_device();
	if (ret) {
		report(UNTOLD, "host", "module", PMUQ_DEVICE ": %s: insmod pmuq.ko, as root",
		       strerror(-ret));
		return false;
	}
	host_pin();
	if (vm_open(&vm)) {
		report(UNTOLD, "host", "KVM", "%s: modprobe kvm_amd or kvm_intel, as root",
		       vm.error);
		vm_close(&vm);
		return false;
	}
	sigaction(SIGNAL_OVERFLOW, &action, NULL);
	return true;
}

int main(int argc, char **argv)
{
	uint64_t margin = 0;
	int status;

	parse(argc, argv);
	host_identify();
	if (prepare()) {
		host_check(false);
		if (!test_counter()) {
			test_repeat();
			test_exits();
			if (!opt.count_host)
				test_skid(&margin);
		}
		host_check(true);
		vm_close(&vm);
	}
	counter_close();
	status = conclude(margin);
	if (fflush(stdout) || ferror(stdout))
		return 2;
	return status;
}
