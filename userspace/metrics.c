// SPDX-License-Identifier: GPL-2.0
#include <string.h>
#include "metrics.h"
#include "text.h"

enum unit { PLAIN, NANOSECONDS, MILLISECONDS };

/* Statistics of the module's: one metric, and what tells its samples apart but the guest. */
struct family {
	const char *name;
	bool counter;
	enum unit unit;
	bool primary;		/* the backup's value would be none */
	const char *label;
	struct {
		unsigned int stat;
		const char *value;
	} samples[8];
	const char *help;
};

#define ONE(s)	{ { FTKVM_STAT_##s, NULL } }

static const struct family families[] = {
	{ "ftkvm_epochs_total", true, PLAIN, false, "kind",
	  { { FTKVM_STAT_EPOCHS_SNAPPED, "snapped" }, { FTKVM_STAT_EPOCHS_HALTED, "halted" },
	    { FTKVM_STAT_EPOCHS_LANDED, "landed" }, { FTKVM_STAT_EPOCHS_SKIPPED, "skipped" } },
	  "Epochs completed: at a synchronising exit, halted, where the backup lands, without input." },
	{ "ftkvm_inputs_total", true, PLAIN, false, NULL, ONE(INPUTS), "Inputs delivered to the guest." },
	{ "ftkvm_inputs_dropped_total", true, PLAIN, false, NULL, ONE(INPUTS_LOCAL),
	  "Interrupts of a backup's shadow devices, which are not delivered." },
	{ "ftkvm_environment_reads_total", true, PLAIN, false, "kind",
	  { { FTKVM_STAT_ENV_PIO, "pio" }, { FTKVM_STAT_ENV_MMIO, "mmio" }, { FTKVM_STAT_ENV_TSC, "tsc" },
	    { FTKVM_STAT_ENV_MSR, "msr" }, { FTKVM_STAT_ENV_LAPIC, "lapic" },
	    { FTKVM_STAT_ENV_IRQCHIP, "irqchip" } },
	  "Instructions whose result came from outside the guest." },
	{ "ftkvm_outputs_total", true, PLAIN, false, NULL, ONE(OUTPUTS), "Outputs that left the guest." },
	{ "ftkvm_commit_waits_total", true, PLAIN, false, NULL, ONE(COMMIT_WAITS),
	  "Outputs that had to wait for the backup." },
	{ "ftkvm_commit_wait_seconds_total", true, NANOSECONDS, false, NULL, ONE(COMMIT_NS),
	  "How long they waited." },
	{ "ftkvm_log_records_total", true, PLAIN, false, NULL, ONE(RECORDS), "Log records." },
	{ "ftkvm_log_bytes_total", true, PLAIN, false, NULL, ONE(LOG_BYTES), "Their bytes." },
	{ "ftkvm_guest_events_total", true, PLAIN, false, NULL, ONE(GUEST_EVENTS),
	  "What the performance counter counted of the guest." },
	{ "ftkvm_exits_total", true, PLAIN, false, NULL, ONE(EXITS), "VM exits." },
	{ "ftkvm_lag_epochs", false, PLAIN, true, NULL, ONE(LAG_EPOCHS),
	  "Epochs that the backup is behind; told by the primary." },
	{ "ftkvm_lag_epochs_max", false, PLAIN, true, NULL, ONE(LAG_MAX),
	  "The most that it was since the pairing began." },
	{ "ftkvm_lag_bytes", false, PLAIN, false, NULL, ONE(LAG_BYTES), "Log not yet consumed." },
	{ "ftkvm_record_waits_total", true, PLAIN, false, NULL, ONE(WAITS), "A backup's waits for a record." },
	{ "ftkvm_record_wait_seconds_total", true, NANOSECONDS, false, NULL, ONE(WAIT_NS),
	  "How long it waited." },
	{ "ftkvm_landing_steps_total", true, PLAIN, false, NULL, ONE(LAND_STEPS),
	  "Breakpoints hit while landing." },
	{ "ftkvm_divergences_total", true, PLAIN, false, NULL, ONE(DIVERGENCES),
	  "Times that the replicas did not do the same." },
	{ "ftkvm_link_up", false, PLAIN, false, NULL, ONE(LINKED), "1: the hosts' modules are connected." },
	{ "ftkvm_link_bytes_total", true, PLAIN, false, "direction",
	  { { FTKVM_STAT_TX_BYTES, "sent" }, { FTKVM_STAT_RX_BYTES, "received" } }, "Bytes on the link." },
	{ "ftkvm_link_silence_seconds", false, MILLISECONDS, false, NULL, ONE(SILENCE_MS),
	  "Since the peer was last heard." },
	{ "ftkvm_second_path", false, PLAIN, false, NULL, ONE(SECOND),
	  "The pairing's second path: 0: there is to be none, 1: it is down, 2: it is up." },
	{ "ftkvm_second_path_silence_seconds", false, MILLISECONDS, false, NULL, ONE(SECOND_SILENCE_MS),
	  "Since the peer was last heard by it, while it is up." },
	{ "ftkvm_second_path_losses_total", true, PLAIN, false, NULL, ONE(SECOND_LOST),
	  "Times that it went down since the pairing began." },
	{ "ftkvm_takeover_seconds", false, NANOSECONDS, false, NULL, ONE(TAKEOVER_NS),
	  "How long the promotion took, of a guest that was promoted here." },
	{ "ftkvm_verifications_total", true, PLAIN, false, "what",
	  { { FTKVM_STAT_VERIFIES, "guest" }, { FTKVM_STAT_DISK_VERIFIES, "disks" } },
	  "Comparisons of both replicas, or of their disks, that were proven." },
	{ "ftkvm_verifications_given_up_total", true, PLAIN, false, NULL, ONE(DISK_GIVEN_UP),
	  "Comparisons of the disks that came to no result." },
	{ "ftkvm_verified_pages_total", true, PLAIN, false, NULL, ONE(VERIFY_PAGES),
	  "Pages of memory compared." },
	{ "ftkvm_verified_disk_bytes_total", true, PLAIN, false, NULL, ONE(DISK_BYTES),
	  "Bytes of disks compared." },
};

static void head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* How many bytes at @text are one character of UTF-8; 0: they are none. */
static size_t character(const char *text)
{
	size_t len;

	for (len = 1; len <= 4 && len <= strnlen(text, 4); len++) {
		json_t *json = json_stringn(text, len);

		json_decref(json);
		if (json)
			return len;
	}
	return 0;
}

/*
 * A label's value. The format is UTF-8: what is not would spoil all of it, and shows as \xNN,
 * so that two names do not become one.
 */
static void value(FILE *to, const char *text)
{
	size_t len;

	fputc('"', to);
	for (; *text; text += len ? len : 1) {
		len = character(text);
		if (!len)
			fprintf(to, "\\\\x%02x", (unsigned char)*text);
		else if (*text == '\n')
			fputs("\\n", to);
		else if (*text == '"' || *text == '\\')
			fprintf(to, "\\%c", *text);
		else
			fprintf(to, "%.*s", (int)len, text);
	}
	fputc('"', to);
}

/* " VALUE" and the line's end, exactly. */
static void number(FILE *to, uint64_t n, enum unit unit)
{
	unsigned long long whole = n, part = 0;
	int digits = 0;

	if (unit == NANOSECONDS) {
		whole = n / 1000000000;
		part = n % 1000000000;
		digits = 9;
	} else if (unit == MILLISECONDS) {
		whole = n / 1000;
		part = n % 1000;
		digits = 3;
	}
	if (digits)
		fprintf(to, " %llu.%0*llu\n", whole, digits, part);
	else
		fprintf(to, " %llu\n", whole);
}

static void begin(FILE *to, const char *name, const char *guest)
{
	fprintf(to, "%s{guest=", name);
	value(to, guest);
}

static void print_family(const struct family *f, const struct ftmetrics *m, FILE *to)
{
	bool begun = false;
	size_t i, k;

	for (i = 0; i < m->n; i++) {
		const struct ftreplica *r = &m->list[i];

		if (f->primary && r->role != FTKVM_UAPI_ROLE_PRIMARY)
			continue;
		for (k = 0; k < ARRAY_SIZE(f->samples) && f->samples[k].stat; k++) {
			if (!r->has_stat[f->samples[k].stat])
				continue;
			if (!begun)
				head(to, f->name, f->counter ? "counter" : "gauge", f->help);
			begun = true;
			begin(to, f->name, r->name);
			if (f->label)
				fprintf(to, ",%s=\"%s\"", f->label, f->samples[k].value);
			fputc('}', to);
			number(to, r->stats[f->samples[k].stat], f->unit);
		}
	}
}

static void print_guests(const struct ftmetrics *m, FILE *to)
{
	size_t i;

	if (!m->n)
		return;
	head(to, "ftkvm_guest_state", "gauge", "1: the state that the guest's replica on this host is in.");
	for (i = 0; i < m->n; i++) {
		begin(to, "ftkvm_guest_state", m->list[i].name);
		fprintf(to, ",role=\"%s\",state=\"%s\"} 1\n", ft_role_name(m->list[i].role),
			ft_state_name(m->list[i].state));
	}
	head(to, "ftkvm_guest_protected", "gauge", "1: the guest outlives the loss of a host.");
	for (i = 0; i < m->n; i++) {
		begin(to, "ftkvm_guest_protected", m->list[i].name);
		fprintf(to, "} %d\n", ft_state_protected(m->list[i].state));
	}
}

static void print_stills(const struct ftmetrics *m, FILE *to)
{
	size_t i;

	if (!m->n_stills)
		return;
	head(to, "ftkvm_guest_still", "gauge", "1: the guest stands still, as its QEMU on this host does not run it.");
	for (i = 0; i < m->n_stills; i++) {
		begin(to, "ftkvm_guest_still", m->stills[i].guest);
		fprintf(to, "} %d\n", m->stills[i].still);
	}
}

static void print_arbiter(const struct ftmetrics *m, FILE *to)
{
	bool begun = false;
	size_t i;

	if (!m->ftd)
		return;
	head(to, "ftkvm_arbiter_info", "gauge", "1: who decides when a host is lost; manual is an operator.");
	fprintf(to, "ftkvm_arbiter_info{type=\"%s\"} 1\n", m->arbiter);
	if (!m->decides || !m->n_sessions)
		return;
	head(to, "ftkvm_arbiter_session", "gauge", "1: what the arbiter said last of the guest's pairing.");
	for (i = 0; i < m->n_sessions; i++) {
		begin(to, "ftkvm_arbiter_session", m->sessions[i].guest);
		fprintf(to, ",heard=\"%s\"} 1\n", heard_name(m->sessions[i].heard));
	}
	/* of one that was not asked nothing is known */
	for (i = 0; i < m->n_sessions; i++) {
		if (m->sessions[i].heard == FT_UNHEARD)
			continue;
		if (!begun)
			head(to, "ftkvm_arbiter_reachable", "gauge",
			     "1: the arbiter answered when it was last asked about the guest's pairing.");
		begun = true;
		begin(to, "ftkvm_arbiter_reachable", m->sessions[i].guest);
		fprintf(to, "} %d\n", m->sessions[i].heard != FT_NO_ANSWER);
	}
}

void ftmetrics_print(const struct ftmetrics *m, FILE *to)
{
	size_t i;

	head(to, "ftkvm_build_info", "gauge", "1: the version of ftd.");
	fprintf(to, "ftkvm_build_info{version=\"%s\"} 1\n", FTKVM_VERSION);
	head(to, "ftkvm_module_up", "gauge", "1: the kernel module is loaded and answers.");
	fprintf(to, "ftkvm_module_up %d\n", m->module);
	if (m->n) {
		head(to, "ftkvm_module_info", "gauge", "1: the versions of the module and of its protocol.");
		fputs("ftkvm_module_info{version=", to);
		value(to, m->list[0].module_version);
		fprintf(to, ",protocol=\"%u\"} 1\n", m->list[0].proto_version);
	}
	print_arbiter(m, to);
	print_guests(m, to);
	print_stills(m, to);
	for (i = 0; i < ARRAY_SIZE(families); i++)
		print_family(&families[i], m, to);
}
