// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "text.h"

struct words {
	const char *name;
	const char *words;
};

static const struct words states[] = {
	[FTKVM_UAPI_STATE_IDLE]	    = { "idle", "not protected: attached, not paired" },
	[FTKVM_UAPI_STATE_ARMED]    = { "armed", "paired; waits for the guest's first instruction" },
	[FTKVM_UAPI_STATE_PRIMARY]  = { "primary", "protected: the guest is live here and its backup follows" },
	[FTKVM_UAPI_STATE_BACKUP]   = { "backup", "protected: the guest is live on the other host, this one follows" },
	[FTKVM_UAPI_STATE_ORPHAN]   = { "orphan", "NOT PROTECTED: backup without a primary; the guest waits here to be promoted" },
	[FTKVM_UAPI_STATE_TAKEOVER] = { "takeover", "this backup is going live" },
	[FTKVM_UAPI_STATE_SOLO]	    = { "solo", "NOT PROTECTED: the guest is live here and has no backup" },
	[FTKVM_UAPI_STATE_UNDECIDED] = { "undecided", "NOT PROTECTED: the guest stands still here: its backup is lost, and may go on "
					 "instead" },
	[FTKVM_UAPI_STATE_STOPPED]  = { "stopped", "not protected: this replica will never run again" },
};

static const struct words events[] = {
	[FTKVM_UAPI_EVENT_ATTACHED]	= { "attached", "the guest was attached" },
	[FTKVM_UAPI_EVENT_DETACHED]	= { "detached", "the guest was detached" },
	[FTKVM_UAPI_EVENT_PAIRED]	= { "paired", "the guest was paired" },
	[FTKVM_UAPI_EVENT_STARTED]	= { "started", "lockstep began" },
	[FTKVM_UAPI_EVENT_PEER_LOST]	= { "peer-lost", "the peer was lost" },
	[FTKVM_UAPI_EVENT_UNPAIRED]	= { "unpaired", "the pairing was ended" },
	[FTKVM_UAPI_EVENT_DIVERGED]	= { "diverged", "the replicas diverged" },
	[FTKVM_UAPI_EVENT_PROMOTED]	= { "promoted", "the guest goes on here" },
	[FTKVM_UAPI_EVENT_GUEST_ENDED]	= { "guest-ended", "the guest ended" },
	[FTKVM_UAPI_EVENT_SECOND_DOWN]	= { "second-down", "the second path was lost" },
	[FTKVM_UAPI_EVENT_SECOND_UP]	= { "second-up", "the second path is there" },
};

static const struct words reasons[] = {
	[FTKVM_REASON_NONE]		= { "none", "" },
	[FTKVM_REASON_UNPAIRED]		= { "unpaired", "it was asked for" },
	[FTKVM_REASON_PEER_CLOSED]	= { "peer-closed", "the peer closed or reset the connection" },
	[FTKVM_REASON_PEER_SILENT]	= { "peer-silent", "nothing was heard from the peer" },
	[FTKVM_REASON_PEER_GARBLED]	= { "peer-garbled", "the peer sent something that makes no sense" },
	[FTKVM_REASON_PEER_VERSION]	= { "peer-version", "the hosts run different versions of ftkvm" },
	[FTKVM_REASON_INCOMPATIBLE]	= { "incompatible", "the guests or their settings differ" },
	[FTKVM_REASON_DIVERGED]		= { "diverged", "the replicas did not do the same" },
	[FTKVM_REASON_GUEST_ENDED]	= { "guest-ended", "its QEMU ended it" },
	[FTKVM_REASON_GUEST_TOUCHED]	= { "guest-touched", "QEMU changed the guest's state from outside" },
	[FTKVM_REASON_COUNTER]		= { "counter", "the performance counter was lost or taken" },
	[FTKVM_REASON_LOCAL]		= { "local", "this host ran out of memory or another resource" },
	[FTKVM_REASON_PROMOTED]		= { "promoted", "this side went live" },
	[FTKVM_REASON_STORAGE]		= { "storage", "a disk of the backup's host failed" },
	[FTKVM_REASON_FENCED]		= { "fenced", "the guest goes on at the other host" },
};

static const struct words stats[FTKVM_STAT_MAX + 1] = {
	[FTKVM_STAT_EPOCHS]		= { "epochs", "epochs" },
	[FTKVM_STAT_EPOCHS_SNAPPED]	= { "epochs_snapped", "  ended at a synchronising exit" },
	[FTKVM_STAT_EPOCHS_HALTED]	= { "epochs_halted", "  ended with the guest halted" },
	[FTKVM_STAT_EPOCHS_LANDED]	= { "epochs_landed", "  the backup had to land for" },
	[FTKVM_STAT_EPOCHS_SKIPPED]	= { "epochs_skipped", "  without input, no landing" },
	[FTKVM_STAT_INPUTS]		= { "inputs", "inputs delivered" },
	[FTKVM_STAT_INPUTS_LOCAL]	= { "inputs_local", "shadow devices' interrupts dropped" },
	[FTKVM_STAT_ENV_PIO]		= { "env_pio", "environment reads: port I/O" },
	[FTKVM_STAT_ENV_MMIO]		= { "env_mmio", "  MMIO" },
	[FTKVM_STAT_ENV_TSC]		= { "env_tsc", "  time stamp counter" },
	[FTKVM_STAT_ENV_MSR]		= { "env_msr", "  other MSRs" },
	[FTKVM_STAT_ENV_LAPIC]		= { "env_lapic", "  local APIC" },
	[FTKVM_STAT_ENV_IRQCHIP]	= { "env_irqchip", "  interrupt controllers" },
	[FTKVM_STAT_OUTPUTS]		= { "outputs", "outputs" },
	[FTKVM_STAT_COMMIT_WAITS]	= { "commit_waits", "  that waited for the peer" },
	[FTKVM_STAT_COMMIT_NS]		= { "commit_ns", "  how long in all" },
	[FTKVM_STAT_RECORDS]		= { "records", "log records" },
	[FTKVM_STAT_LOG_BYTES]		= { "log_bytes", "log size" },
	[FTKVM_STAT_GUEST_EVENTS]	= { "guest_events", "guest events" },
	[FTKVM_STAT_EXITS]		= { "exits", "VM exits" },
	[FTKVM_STAT_LAG_EPOCHS]		= { "lag_epochs", "lag of the backup, epochs" },
	[FTKVM_STAT_LAG_MEDIAN]		= { "lag_median", "  median" },
	[FTKVM_STAT_LAG_MAX]		= { "lag_max", "  greatest" },
	[FTKVM_STAT_LAG_BYTES]		= { "lag_bytes", "log not yet consumed" },
	[FTKVM_STAT_WAITS]		= { "waits", "backup's waits for a record" },
	[FTKVM_STAT_WAIT_NS]		= { "wait_ns", "  how long in all" },
	[FTKVM_STAT_LAND_STEPS]		= { "land_steps", "breakpoints hit in landing" },
	[FTKVM_STAT_DIVERGENCES]	= { "divergences", "divergences" },
	[FTKVM_STAT_TX_BYTES]		= { "tx_bytes", "link: sent" },
	[FTKVM_STAT_RX_BYTES]		= { "rx_bytes", "link: received" },
	[FTKVM_STAT_SILENCE_MS]		= { "silence_ms", "link: peer last heard, ms ago" },
	[FTKVM_STAT_LINKED]		= { "linked", "link: up" },
	[FTKVM_STAT_TAKEOVER_NS]	= { "takeover_ns", "takeover took" },
	[FTKVM_STAT_GUEST_TSC]		= { "guest_tsc", "guest's time stamp counter" },
	[FTKVM_STAT_VERIFIES]		= { "verifies", "verifications of the whole guest" },
	[FTKVM_STAT_VERIFY_WORDS]	= { "verify_words", "  registers compared by the last" },
	[FTKVM_STAT_VERIFY_PAGES]	= { "verify_pages", "pages compared" },
	[FTKVM_STAT_VERIFY_DIRTY]	= { "verify_dirty", "  as they had been written" },
	[FTKVM_STAT_VERIFY_MARKED]	= { "verify_marked", "  with other accessed or dirty bits" },
	[FTKVM_STAT_VERIFY_NS]		= { "verify_ns", "  guest stood still for the last" },
	[FTKVM_STAT_DISK_VERIFIES]	= { "disk_verifies", "comparisons of the disks" },
	[FTKVM_STAT_DISK_GIVEN_UP]	= { "disk_given_up", "  that came to no result" },
	[FTKVM_STAT_DISK_BYTES]		= { "disk_bytes", "bytes of disks compared" },
	[FTKVM_STAT_SECOND]		= { "second", "second path: 0 none, 1 down, 2 up" },
	[FTKVM_STAT_SECOND_SILENCE_MS]	= { "second_silence_ms", "  peer last heard, ms ago" },
	[FTKVM_STAT_SECOND_LOST]	= { "second_lost", "  lost so far" },
	[FTKVM_STAT_PEER_ALONE]		= { "peer_alone", "  the peer goes on alone" },
	[FTKVM_STAT_DEFER_MS]		= { "defer_ms", "  waits for the primary to decide, ms" },
};

static const char *const dev_stats[] = {
	[FTKVM_DEV_STAT_KICKS]		= "kicks",
	[FTKVM_DEV_STAT_REQUESTS]	= "requests",
	[FTKVM_DEV_STAT_COMPLETED]	= "completed",
	[FTKVM_DEV_STAT_PENDING]	= "pending",
	[FTKVM_DEV_STAT_ERRORS]		= "errors",
	[FTKVM_DEV_STAT_IN_BYTES]	= "in_bytes",
	[FTKVM_DEV_STAT_OUT_BYTES]	= "out_bytes",
	[FTKVM_DEV_STAT_FLUSHES]	= "flushes",
	[FTKVM_DEV_STAT_BROKEN]		= "broken",
	[FTKVM_DEV_STAT_RUNNING]	= "running",
	[FTKVM_DEV_STAT_FAILED]		= "failed",
};

static const char *const dev_kinds[] = {
	[FTKVM_UAPI_DEV_BLK]	= "blk",
	[FTKVM_UAPI_DEV_NET]	= "net",
};

static const char *const roles[] = {
	[FTKVM_UAPI_ROLE_NONE]	  = "none",
	[FTKVM_UAPI_ROLE_PRIMARY] = "primary",
	[FTKVM_UAPI_ROLE_BACKUP]  = "backup",
};

static const struct words *lookup(const struct words *table, size_t n, uint32_t at)
{
	static const struct words unknown = { "unknown", "unknown to this version of ftctl" };

	return at < n && table[at].name ? &table[at] : &unknown;
}

const char *ft_state_name(uint32_t state)
{
	return lookup(states, ARRAY_SIZE(states), state)->name;
}

const char *ft_state_words(uint32_t state)
{
	return lookup(states, ARRAY_SIZE(states), state)->words;
}

const char *ft_event_name(uint32_t event)
{
	return lookup(events, ARRAY_SIZE(events), event)->name;
}

const char *ft_event_words(uint32_t event)
{
	return lookup(events, ARRAY_SIZE(events), event)->words;
}

const char *ft_reason_name(uint32_t reason)
{
	return lookup(reasons, ARRAY_SIZE(reasons), reason)->name;
}

const char *ft_reason_words(uint32_t reason)
{
	return lookup(reasons, ARRAY_SIZE(reasons), reason)->words;
}

const char *ft_role_name(uint32_t role)
{
	return role < ARRAY_SIZE(roles) ? roles[role] : "unknown";
}

static const char *const losses[] = {
	[0] = "unknown", [FTKVM_UAPI_LOSS_SOLO] = "solo", [FTKVM_UAPI_LOSS_HOLD] = "hold",
};

const char *ft_loss_name(uint32_t loss)
{
	return losses[loss < ARRAY_SIZE(losses) ? loss : 0];
}

uint32_t ft_loss_of(const char *name)
{
	uint32_t i;

	for (i = FTKVM_UAPI_LOSS_SOLO; name && i < ARRAY_SIZE(losses); i++)
		if (!strcmp(losses[i], name))
			return i;
	return 0;
}

const char *ft_stat_name(unsigned int stat)
{
	return stat <= FTKVM_STAT_MAX ? stats[stat].name : NULL;
}

const char *ft_second_name(uint64_t second)
{
	return second == FTKVM_UAPI_SECOND_UP ? "up" : second == FTKVM_UAPI_SECOND_DOWN ? "down" : "none";
}

const char *ft_stat_words(unsigned int stat)
{
	return stat <= FTKVM_STAT_MAX ? stats[stat].words : NULL;
}

bool ft_stat_is_level(unsigned int stat)
{
	switch (stat) {
	case FTKVM_STAT_LAG_EPOCHS:
	case FTKVM_STAT_LAG_MEDIAN:
	case FTKVM_STAT_LAG_MAX:
	case FTKVM_STAT_LAG_BYTES:
	case FTKVM_STAT_SILENCE_MS:
	case FTKVM_STAT_LINKED:
	case FTKVM_STAT_TAKEOVER_NS:
	case FTKVM_STAT_GUEST_TSC:
	case FTKVM_STAT_VERIFY_WORDS:
	case FTKVM_STAT_VERIFY_NS:
	case FTKVM_STAT_SECOND:
	case FTKVM_STAT_SECOND_SILENCE_MS:
	case FTKVM_STAT_DEFER_MS:
	case FTKVM_STAT_PEER_ALONE:
		return true;
	}
	return false;
}

const char *ft_dev_stat_name(unsigned int stat)
{
	return stat <= FTKVM_DEV_STAT_MAX ? dev_stats[stat] : NULL;
}

const char *ft_dev_kind_name(uint32_t kind)
{
	return kind && kind < ARRAY_SIZE(dev_kinds) ? dev_kinds[kind] : "unknown";
}

bool ft_state_protected(uint32_t state)
{
	return state == FTKVM_UAPI_STATE_ARMED || state == FTKVM_UAPI_STATE_PRIMARY ||
	       state == FTKVM_UAPI_STATE_BACKUP;
}

/* promote is refused then: failover_ask() */
#define ASK_FORCE	"--force where the arbiter can't be asked"

void ft_next_step(const struct ftreplica *r, bool ended, char *buf, size_t size)
{
	const char *n = r->name;

	*buf = '\0';
	if (ended) {
		snprintf(buf, size, "its QEMU has ended: run: ftctl detach %s", n);
		return;
	}
	switch (r->state) {
	case FTKVM_UAPI_STATE_IDLE:
		snprintf(buf, size, "to protect it, if it runs: ftctl protect %s --peer HOST; if it waits (-S) on both hosts, and is "
			 "attached there too: ftctl pair %s --peer HOST", n, n);
		break;
	case FTKVM_UAPI_STATE_ORPHAN:
		if (r->reason == FTKVM_REASON_GUEST_ENDED)
			snprintf(buf, size, "run: ftctl promote %s", n);
		else
			snprintf(buf, size, "if the other host%s%s is really down, and the guest did not go on alone "
				 "there before (solo), run: ftctl promote %s (with " ASK_FORCE "); if it did, this one "
				 "is out of date: ftctl unpair %s", *r->peer ? " " : "", r->peer, n, n);
		break;
	case FTKVM_UAPI_STATE_UNDECIDED:
		snprintf(buf, size, "if the guest does not go on at the other host%s%s, and will not, run: ftctl promote %s (with "
			 ASK_FORCE "); if it does, this one is out of date: ftctl fence %s", *r->peer ? " " : "", r->peer,
			 n, n);
		break;
	case FTKVM_UAPI_STATE_SOLO:
		snprintf(buf, size, "nothing is lost yet, but the next failure ends the guest: mend the other host%s%s, or take another "
			 "one, and run: ftctl protect %s --peer HOST", *r->peer ? " " : "", r->peer, n);
		break;
	case FTKVM_UAPI_STATE_STOPPED:
		if (r->reason == FTKVM_REASON_STORAGE)
			snprintf(buf, size, "the guest is live on the other host, this host's image is out of date: end "
				 "this QEMU, run: ftctl detach %s; mend the disk, then run on the other host: ftctl protect "
				 "%s --peer HOST, which copies its image here", n, n);
		else
			snprintf(buf, size, "see that the guest is live on the other host, then end this QEMU "
				 "and run: ftctl detach %s", n);
		break;
	}
}

const char *ft_storage_meaning(const struct ftreplica *r)
{
	switch (r ? r->state : FTKVM_UAPI_STATE_IDLE) {
	case FTKVM_UAPI_STATE_PRIMARY:
		return "the guest was told, and goes on with that on both hosts; the images may differ";
	case FTKVM_UAPI_STATE_STOPPED:
		return "this host's image is out of date: copy the other host's before the guest is started anew";
	case FTKVM_UAPI_STATE_BACKUP:
	case FTKVM_UAPI_STATE_ORPHAN:
		return "if the primary's did not, this replica stops";
	default:
		return "the guest was told";
	}
}

char *ft_format_bytes(uint64_t bytes, char *buf, size_t size)
{
	static const char *const units[] = { "kB", "MB", "GB", "TB", "PB" };
	double value = bytes;
	unsigned int i = 0;

	if (bytes < 1000) {
		snprintf(buf, size, "%u B", (unsigned int)bytes);
		return buf;
	}
	for (value /= 1000; value >= 999.95 && i + 1 < ARRAY_SIZE(units); i++)
		value /= 1000;
	snprintf(buf, size, "%.1f %s", value, units[i]);
	return buf;
}

char *ft_format_age(uint64_t ms, char *buf, size_t size)
{
	unsigned long long s = ms / 1000;

	if (ms < 1000)
		snprintf(buf, size, "%u ms", (unsigned int)ms);
	else if (s < 60)
		snprintf(buf, size, "%.1f s", ms / 1000.0);
	else if (s < 3600)
		snprintf(buf, size, "%llu min %llu s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, size, "%llu h %llu min", s / 3600, s / 60 % 60);
	else
		snprintf(buf, size, "%llu d %llu h", s / 86400, s / 3600 % 24);
	return buf;
}

char *ft_format_ns(uint64_t ns, char *buf, size_t size)
{
	if (ns < 1000)
		snprintf(buf, size, "%u ns", (unsigned int)ns);
	else if (ns < 1000000)
		snprintf(buf, size, "%.1f us", ns / 1e3);
	else if (ns < 1000000000)
		snprintf(buf, size, "%.1f ms", ns / 1e6);
	else
		return ft_format_age(ns / 1000000, buf, size);
	return buf;
}

char *ft_format_count(uint64_t n, const char *unit, char *buf, size_t size)
{
	snprintf(buf, size, "%llu %s%s", (unsigned long long)n, unit, n == 1 ? "" : "s");
	return buf;
}

uint64_t ft_boottime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

char *ft_format_time(uint64_t boottime_ns, char *buf, size_t size)
{
	char date[32], zone[8];
	struct timespec real;
	time_t seconds;
	struct tm tm;
	int64_t at;

	clock_gettime(CLOCK_REALTIME, &real);
	/* unsigned: an instant that makes no sense may wrap */
	at = (uint64_t)real.tv_sec * 1000000000 + real.tv_nsec - ft_boottime_ns() + boottime_ns;
	seconds = at / 1000000000;
	if (at < 0 || !localtime_r(&seconds, &tm)) {
		snprintf(buf, size, "?");
		return buf;
	}
	strftime(date, sizeof(date), "%FT%T", &tm);
	strftime(zone, sizeof(zone), "%z", &tm);
	snprintf(buf, size, "%s.%03u%s", date, (unsigned int)(at % 1000000000 / 1000000), zone);
	return buf;
}
