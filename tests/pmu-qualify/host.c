// SPDX-License-Identifier: GPL-2.0
/* The CPU, what its counters are known for, and what spoils them. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "qualify.h"

enum vendor { AMD, INTEL, OTHER };

/**
 * struct model - what is known of CPUs
 * @insns: raw event, instructions retired
 * @branches: raw event, conditional branches retired; 0: there is none
 * @use: the one that ftkvm would use
 * @zen: has SpecLockMap
 */
struct model {
	enum vendor vendor;
	unsigned int family, from, to;
	const char *name;
	uint64_t insns, branches, use;
	bool zen;
	const char *note;
};

/*
 * Events as perf takes them: bits that are not the event's (user, interrupt,
 * enable: rr's 0x5100d1, 0x5101c4) don't matter. The first that fits is taken.
 */
static const struct model models[] = {
	{ AMD, 0x06, 0x00, 0xff, "K7, or what QEMU's \"max\" calls itself", 0xc0, 0xd1, 0xc0, false,
	  "a real K7 can't run guests" },
	{ AMD, 0x0f, 0x00, 0xff, "K8, or what an emulator calls itself", 0xc0, 0xd1, 0xc0, false,
	  "a real K8 has no event for conditional branches" },
	{ AMD, 0x10, 0x00, 0xff, "Family 10h", 0xc0, 0, 0xc0, false,
	  "the manual counts exceptions and interrupts as instructions" },
	{ AMD, 0x12, 0x00, 0xff, "Family 12h", 0xc0, 0, 0xc0, false,
	  "the manual counts exceptions and interrupts as instructions" },
	{ AMD, 0x14, 0x00, 0xff, "Family 14h", 0xc0, 0, 0xc0, false,
	  "the manual counts exceptions and interrupts as instructions" },
	{ AMD, 0x15, 0x00, 0xff, "Family 15h", 0xc0, 0, 0xc0, false,
	  "the manual counts exceptions and interrupts as instructions" },
	{ AMD, 0x16, 0x00, 0xff, "Family 16h", 0xc0, 0, 0xc0, false,
	  "the manual counts exceptions and interrupts as instructions" },
	{ AMD, 0x17, 0x00, 0x0f, "Zen, Zen+", 0xc0, 0xd1, 0xc0, true,
	  "errata 990, 1054: events may be miscounted; 1023: two counters, no interrupt" },
	{ AMD, 0x17, 0x10, 0xff, "Zen+, Zen 2", 0xc0, 0xd1, 0xc0, true, NULL },
	{ AMD, 0x18, 0x00, 0xff, "Hygon Dhyana", 0xc0, 0xd1, 0xc0, true, NULL },
	{ AMD, 0x19, 0x00, 0xff, "Zen 3, Zen 4", 0xc0, 0xd1, 0xc0, true, NULL },
	{ AMD, 0x1a, 0x00, 0xff, "Zen 5", 0xc0, 0xd1, 0xc0, true, NULL },
#define INTEL_OLD(from, to, name) \
	{ INTEL, 6, from, to, name, 0x1c0, 0x1c4, 0x1c4, false, NULL }
#define INTEL_NEW(from, to, name) \
	{ INTEL, 6, from, to, name, 0x1c0, 0x11c4, 0x11c4, false, NULL }
	INTEL_OLD(0x1a, 0x1a, "Nehalem"), INTEL_OLD(0x1e, 0x1f, "Nehalem"),
	INTEL_OLD(0x2e, 0x2e, "Nehalem"), INTEL_OLD(0x25, 0x25, "Westmere"),
	INTEL_OLD(0x2c, 0x2c, "Westmere"), INTEL_OLD(0x2f, 0x2f, "Westmere"),
	INTEL_OLD(0x2a, 0x2a, "Sandy Bridge"), INTEL_OLD(0x2d, 0x2d, "Sandy Bridge"),
	INTEL_OLD(0x3a, 0x3a, "Ivy Bridge"), INTEL_OLD(0x3e, 0x3e, "Ivy Bridge"),
	INTEL_OLD(0x3c, 0x3c, "Haswell"), INTEL_OLD(0x3f, 0x3f, "Haswell"),
	INTEL_OLD(0x45, 0x46, "Haswell"), INTEL_OLD(0x3d, 0x3d, "Broadwell"),
	INTEL_OLD(0x47, 0x47, "Broadwell"), INTEL_OLD(0x4f, 0x4f, "Broadwell"),
	INTEL_OLD(0x56, 0x56, "Broadwell"), INTEL_OLD(0x4e, 0x4e, "Skylake"),
	INTEL_OLD(0x5e, 0x5e, "Skylake"), INTEL_OLD(0x55, 0x55, "Skylake, Cascade Lake"),
	INTEL_OLD(0x8e, 0x8e, "Kaby Lake, Comet Lake"),
	INTEL_OLD(0x9e, 0x9e, "Kaby Lake, Coffee Lake"), INTEL_OLD(0xa5, 0xa6, "Comet Lake"),
	INTEL_NEW(0x6a, 0x6a, "Ice Lake"), INTEL_NEW(0x6c, 0x6c, "Ice Lake"),
	INTEL_NEW(0x7d, 0x7e, "Ice Lake"), INTEL_NEW(0x8c, 0x8d, "Tiger Lake"),
	INTEL_NEW(0xa7, 0xa7, "Rocket Lake"), INTEL_NEW(0x97, 0x97, "Alder Lake"),
	INTEL_NEW(0x9a, 0x9a, "Alder Lake"), INTEL_NEW(0xb7, 0xb7, "Raptor Lake"),
	INTEL_NEW(0xba, 0xba, "Raptor Lake"), INTEL_NEW(0xbf, 0xbf, "Raptor Lake"),
	INTEL_NEW(0x8f, 0x8f, "Sapphire Rapids"), INTEL_NEW(0xcf, 0xcf, "Emerald Rapids"),
};

static enum vendor vendor = OTHER;
static unsigned int family, model_nr, stepping;
static const struct model *model;
static bool under_hypervisor;
static char hybrid[128];	/* CPUs of the big cores, if there are others */
static uint64_t smis;		/* before the tests */
static bool smis_known;

/* First line of a small file; "" if there is none. */
static const char *line_of(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");

	*line = 0;
	if (file) {
		if (!fgets(line, size, file))
			*line = 0;
		line[strcspn(line, "\n")] = 0;
		fclose(file);
	}
	return line;
}

static void read_cpuid(void)
{
	unsigned int a, b, c, d;
	char name[13] = "", hyper[13] = "", brand[49] = "";

	__cpuid(0, a, b, c, d);
	memcpy(name, &b, 4);
	memcpy(name + 4, &d, 4);
	memcpy(name + 8, &c, 4);
	if (!strcmp(name, "AuthenticAMD") || !strcmp(name, "HygonGenuine"))
		vendor = AMD;
	else if (!strcmp(name, "GenuineIntel"))
		vendor = INTEL;
	__cpuid(1, a, b, c, d);
	stepping = a & 0xf;
	model_nr = (a >> 4 & 0xf) | (a >> 12 & 0xf0);
	family = a >> 8 & 0xf;
	if (family == 0xf)
		family += a >> 20 & 0xff;
	under_hypervisor = c >> 31;
	if (under_hypervisor) {
		__cpuid(0x40000000, a, b, c, d);
		memcpy(hyper, &b, 4);
		memcpy(hyper + 4, &c, 4);
		memcpy(hyper + 8, &d, 4);
	}
	__cpuid(0x80000000, a, b, c, d);
	if (a >= 0x80000004) {
		unsigned int i, *part = (unsigned int *)brand;

		for (i = 0; i < 3; i++, part += 4)
			__cpuid(0x80000002 + i, part[0], part[1], part[2], part[3]);
	}
	fact("cpu", brand + strspn(brand, " "));
	fact("vendor", name);
	fact("hypervisor", hyper);
}

/* Instructions, conditional branches, or something else. */
static enum event_kind kind_of(uint64_t event)
{
	uint64_t code = event & (vendor == AMD ? 0xf0000ffff : 0xffff);

	if (model && code == model->branches)
		return EVENT_BRANCHES;
	if (model && code == model->insns)
		return EVENT_INSNS;
	return code == 0xc0 && vendor != OTHER ? EVENT_INSNS : EVENT_OTHER;
}

void host_identify(void)
{
	static const char * const kinds[] = {
		"retired instructions", "retired conditional branches", "not known here",
	};
	char text[128];
	size_t i;

	read_cpuid();
	for (i = 0; i < sizeof(models) / sizeof(*models) && !model; i++)
		if (models[i].vendor == vendor && models[i].family == family &&
		    model_nr >= models[i].from && model_nr <= models[i].to)
			model = &models[i];
	if (!opt.event_given)
		opt.event = model ? model->use : vendor == INTEL ? 0x1c4 : 0xc0;
	opt.kind = kind_of(opt.event);
	snprintf(text, sizeof(text), "family %#x model %#x stepping %u", family, model_nr,
		 stepping);
	fact("model", text);
	say("CPU: %s (%s)", text, model ? model->name : "not in the table");
	snprintf(text, sizeof(text), "%#" PRIx64, opt.event);
	fact("event", text);
	say("Event: %s (%s)\n", text, kinds[opt.kind]);
}

/* "0-3,8" */
static void parse_cpus(const char *list, cpu_set_t *set)
{
	CPU_ZERO(set);
	while (*list) {
		char *end;
		unsigned long from = strtoul(list, &end, 10), to = from;

		if (end == list)
			return;
		if (*end == '-')
			to = strtoul(end + 1, &end, 10);
		for (; from <= to && from < CPU_SETSIZE; from++)
			CPU_SET(from, set);
		list = *end == ',' ? end + 1 : end;
	}
}

void host_pin(void)
{
	cpu_set_t big, one;
	char line[128];
	int cpu = 0;

	if (!access("/sys/devices/cpu_atom", F_OK)) {
		snprintf(hybrid, sizeof(hybrid), "%s",
			 line_of("/sys/devices/cpu_core/cpus", line, sizeof(line)));
		parse_cpus(hybrid, &big);
		CPU_AND(&one, &opt.cpus, &big);
		if (CPU_COUNT(&one))
			opt.cpus = one;
	}
	while (cpu < CPU_SETSIZE && !CPU_ISSET(cpu, &opt.cpus))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu % CPU_SETSIZE, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* --- what spoils counts ---------------------------------------------------- */

static void check_model(void)
{
	if (!model)
		report(SKIPPED, "host", "model", "not in the table: the tests alone tell");
	else
		report(OK, "host", "model", "%s%s%s", model->name, model->note ? "; " : "",
		       model->note ? model->note : "");
	if (under_hypervisor)
		report(OK, "host", "hypervisor",
		       "this host is a guest itself: its hypervisor is tested, too");
}

/*
 * Do locked instructions commit speculatively? As rr finds out: by the event
 * that counts those which did. -errno if that can't be told.
 */
static int spec_lock_commits(uint64_t *count)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW, .size = sizeof(attr), .config = 0x0825, .exclude_kernel = 1,
	};
	unsigned int i;
	int lock = 0;
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (i = 0; i < 1000; i++)
		asm volatile("lock addl $1, %0" : "+m" (lock) : : "cc");
	if (read(fd, count, sizeof(*count)) != sizeof(*count)) {
		close(fd);
		return -EIO;
	}
	close(fd);
	return 0;
}

static void check_spec_lock_map(void)
{
	uint64_t commits = 0, value, on = 0;
	int cpu, told, ret = -ENXIO;

	if (!model || !model->zen) {
		report(SKIPPED, "host", "SpecLockMap", "not a Zen CPU");
		return;
	}
	told = spec_lock_commits(&commits);
	for (cpu = 0; cpu < CPU_SETSIZE && !under_hypervisor; cpu++) {
		if (!CPU_ISSET(cpu, &opt.cpus))
			continue;
		ret = counter_msr(PMUQ_MSR_LS_CFG, cpu, &value);
		if (ret)
			break;
		on += !(value >> 54 & 1);
	}
	if (!told)
		figure("commits", commits);
	if (!ret)
		figure("cpus_on", on);
	if (told && ret)
		report(UNTOLD, "host", "SpecLockMap", "neither the event nor the MSR can be read");
	else if (told ? !on : !commits)
		report(OK, "host", "SpecLockMap", "off: no lock commits speculatively");
	else if (opt.kind == EVENT_BRANCHES)
		report(FAIL, "host", "SpecLockMap",
		       "on: conditional branches are overcounted; set bit 54 of MSR 0xc0011020");
	else
		report(OK, "host", "SpecLockMap",
		       "on: spoils counts of conditional branches; here \"repeat locked\" tells");
}

static void check_hybrid(void)
{
	if (!hybrid[0])
		report(SKIPPED, "host", "hybrid", "all cores are of one kind");
	else
		report(OK, "host", "hybrid",
		       "two kinds of cores: tested on CPUs %s, guests must be kept there (taskset)",
		       hybrid);
}

static void check_watchdog(void)
{
	char line[16];

	line_of("/proc/sys/kernel/nmi_watchdog", line, sizeof(line));
	if (!strcmp(line, "1"))
		report(OK, "host", "watchdog",
		       "the NMI watchdog has a counter; if there are not enough: nmi_watchdog=0");
	else
		report(OK, "host", "watchdog", "no NMI watchdog takes a counter");
}

/* All CPUs' SMIs. 0, or -errno. */
static int count_smis(uint64_t *sum)
{
	uint64_t one;
	int cpu, ret;

	*sum = 0;
	if (vendor != INTEL || under_hypervisor)
		return -EOPNOTSUPP;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &opt.cpus))
			continue;
		ret = counter_msr(PMUQ_MSR_SMI_COUNT, cpu, &one);
		if (ret)
			return ret;
		*sum += one;
	}
	return 0;
}

static void check_freeze(void)
{
	char line[16];

	if (vendor != INTEL) {
		report(SKIPPED, "host", "SMI freeze", "not an Intel CPU");
		return;
	}
	line_of("/sys/devices/cpu/freeze_on_smi", line, sizeof(line));
	if (!line[0])
		line_of("/sys/devices/cpu_core/freeze_on_smi", line, sizeof(line));
	if (!strcmp(line, "1"))
		report(OK, "host", "SMI freeze", "counters stand still in SMIs");
	else if (!strcmp(line, "0"))
		report(FAIL, "host", "SMI freeze",
		       "SMIs are counted: echo 1 > /sys/devices/cpu/freeze_on_smi");
	else
		report(UNTOLD, "host", "SMI freeze",
		       "there is no freeze_on_smi: SMIs may be counted");
}

static void check_smis(void)
{
	uint64_t now;

	if (!smis_known || count_smis(&now)) {
		report(SKIPPED, "host", "SMIs", "nothing tells how many there were");
		return;
	}
	figure("smis", now - smis);
	report(OK, "host", "SMIs", "%" PRIu64 " in the time of these tests%s", now - smis,
	       now == smis ? ": what they do to counts was not seen" : "");
}

void host_check(bool after)
{
	if (after) {
		check_smis();
		return;
	}
	check_model();
	check_spec_lock_map();
	check_hybrid();
	check_watchdog();
	check_freeze();
	smis_known = !count_smis(&smis);
}
