// SPDX-License-Identifier: GPL-2.0
/* ftctl's command line: words, made of the input's lines. */
#include <ctype.h>
#include <errno.h>

#include "fuzz.h"
#include "ftctl.h"

#define WORDS	32

/* The commands themselves are not run. */
#define COMMAND(name) int cmd_##name(struct ftctl *ctl) { (void)ctl; return 0; }
COMMAND(attach) COMMAND(detach) COMMAND(pair) COMMAND(unpair) COMMAND(fence) COMMAND(promote)
COMMAND(verify) COMMAND(protect) COMMAND(unprotect) COMMAND(switchover) COMMAND(pause) COMMAND(resume) COMMAND(top)
COMMAND(status) COMMAND(list) COMMAND(stats) COMMAND(monitor) COMMAND(set) COMMAND(check)
COMMAND(device)

static bool among(const char *word, char **words, int n)
{
	while (n--)
		if (word >= words[n] && word <= words[n] + strlen(words[n]))
			return true;
	return false;
}

static bool setting_ok(uint64_t v, uint64_t lo, uint64_t hi)
{
	return !v || (v >= lo && v <= hi);
}

/* What the command gets is whole and within the manual's limits. */
static void check(const struct ftctl *ctl, const struct ftctl_command *c, char **words, int n)
{
	unsigned int i;

	REQUIRE(c->name && c->run && ftctl_find(c->name) == c);
	REQUIRE(c->takes_name != NAME_MUST || ctl->name);
	REQUIRE(c->takes_name != NAME_NONE || !ctl->name);
	if (ctl->name)
		REQUIRE(among(ctl->name, words, n) && isalnum((unsigned char)*ctl->name) &&
			strlen(ctl->name) <= FTKVM_NAME_MAX);
	REQUIRE(ctl->nconsoles <= FTCTL_CONSOLES);
	for (i = 0; i < ctl->nconsoles; i++)
		REQUIRE(among(ctl->consoles[i], words, n));
	REQUIRE(ctl->control);

	/* an option that the command does not take has no effect */
	if (!(c->options & OPT_SETTINGS))
		REQUIRE(!ctl->set.period_min && !ctl->set.period_max && !ctl->set.margin &&
			!ctl->set.counter && !ctl->set.timeout_ms && !ctl->set.verify_said);
	REQUIRE(c->options & OPT_QMP || !ctl->qmp);
	REQUIRE(c->options & OPT_CONSOLE || !ctl->nconsoles);
	REQUIRE(c->options & OPT_PEER || !ctl->peer);
	REQUIRE(c->options & OPT_FORCE || !ctl->force);
	REQUIRE(c->options & OPT_DISKS || !ctl->disks);
	REQUIRE(c->options & OPT_WATCH || !ctl->watch);
	REQUIRE(c->options & OPT_DEVICE || (!ctl->device.guest && !ctl->device.kind &&
		!ctl->device.socket && !ctl->device.file && !ctl->device.tap && !ctl->device.user &&
		!ctl->device.no_said && !ctl->device.readonly && !ctl->device.discard &&
		!ctl->device.shared &&
		!ctl->device.to));
	REQUIRE(ctl->device.no <= FTKVM_DEV_NO_HIGHEST);

	REQUIRE(setting_ok(ctl->set.period_min, FTKVM_PERIOD_LOWEST, FTKVM_PERIOD_HIGHEST));
	REQUIRE(setting_ok(ctl->set.period_max, FTKVM_PERIOD_LOWEST, FTKVM_PERIOD_HIGHEST));
	REQUIRE(setting_ok(ctl->set.margin, 1, FTKVM_MARGIN_HIGHEST));
	REQUIRE(setting_ok(ctl->set.timeout_ms, FTKVM_TIMEOUT_LOWEST, FTKVM_TIMEOUT_HIGHEST));
	REQUIRE(ctl->set.verify_every <= FTKVM_VERIFY_HIGHEST);
	REQUIRE(!ctl->set.period_min || !ctl->set.period_max ||
		ctl->set.period_min <= ctl->set.period_max);
	if (c->run == cmd_attach)
		REQUIRE(ctl->qmp);
	if (c->run == cmd_pair)
		REQUIRE(ctl->peer);
	if (c->run == cmd_check)
		REQUIRE(!ctl->qmp || !ctl->name);
	if (c->run == cmd_device && ctl->verb == DEVICE_ADD) {
		REQUIRE(ctl->name && ctl->device.guest && ctl->device.kind && ctl->device.socket);
		REQUIRE(!ctl->device.file != !ctl->device.tap);
		REACHED("a whole device");
	}
	if (ctl->device.to) {
		/* nothing that rsync would take for an option, or for a file of this host */
		REQUIRE(c->run == cmd_device && ctl->verb == DEVICE_SYNC && ctl->name);
		REQUIRE(*ctl->device.to && *ctl->device.to != '-' && *ctl->device.to != ':');
		REQUIRE(strcspn(ctl->device.to, "/") >= strcspn(ctl->device.to, ":"));
		REACHED("a disk to be synchronised");
	}
	if (c->run == cmd_set)
		REACHED("a whole set");
	if (c->run == cmd_pair && ctl->set.margin && ctl->nconsoles)
		REACHED("a whole pair");
	if (ctl->disks)
		REACHED("disks to be compared");
	if (ctl->watch)
		REACHED("a watch");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ftctl_command *c = (void *)data;
	struct fterr err = { 0 };
	char *words[WORDS + 1];
	struct ftctl ctl;
	int n = 0, ret, i;

	while (size && n < WORDS) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;

		/* each word ends where its memory does */
		words[n] = malloc(len + 1);
		memcpy(words[n], data, len);
		words[n++][len] = '\0';
		data += end ? len + 1 : len;
		size -= end ? len + 1 : len;
	}
	words[n] = NULL;

	ret = ftctl_parse(&ctl, &c, n, words, &err);
	if (ret) {
		REQUIRE(ret == -EINVAL && err.code == ret && *err.text);
		REQUIRE(memchr(err.text, '\0', sizeof(err.text)));
		REACHED("a command line refused");
	} else if (c) {
		check(&ctl, c, words, n);
	} else {
		REACHED("help or version");
	}
	for (i = 0; i < n; i++)
		free(words[i]);
	return 0;
}

void fuzz_seeds(void)
{
	static const char * const lines[] = {
		"attach\ndb1\n--qmp\n/run/db1.qmp\n--console\ncon0=tty:/dev/ttyS1",
		("pair\ndb1\n--peer\nhostb:7411\n--period-min=1000\n--period-max\n5000\n"
		 "--margin\n512\n--counter\nr5100d1\n--timeout\n3000\n--verify-every\n9\n--qmp\n/q\n--console\na=b"),
		"pair\ndb1\n--peer=[fe80::1]:7411\n--period\n2000",
		"promote\ndb1\n--force",
		"set\ndb1\n--timeout=500",
		"stats\n--watch\n5", "stats\ndb1\n--watch", "check\n--qmp=/q",
		"-j\nstatus", "list\n--json",
		("device\nadd\nd0\nguest\ndb1\nkind\nblk\nno\n7\nsocket\n/s\nfile\n/f\nreadonly\nuser\nqemu"),
		"device\nsync\nd0\nto\nhostb:/srv/d0",
		"dev\nadd\nn0\n--guest=db1\n--kind\nnet\nno=0\nsocket\ns\ntap\ntap0", "device\ndel\nd0",
		"verify\ndb1\n--disks", "--help", "mon\n--control\n/s", "unpair\n--\ndb1", "detach\ndb1", "-V",
	};
	struct seed s = { };
	size_t i;
	int n;

	/* as many consoles as there may be, and one more */
	for (n = FTCTL_CONSOLES; n <= FTCTL_CONSOLES + 1; n++) {
		seed_bytes(&s, "attach\na\n--qmp=q", 16);
		for (i = 0; i < (size_t)n; i++)
			seed_bytes(&s, "\n--console=a", 12);
		seed_done(&s);
	}
	for (i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		seed_bytes(&s, lines[i], strlen(lines[i]));
		seed_done(&s);
	}
}
