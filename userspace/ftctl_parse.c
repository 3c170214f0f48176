// SPDX-License-Identifier: GPL-2.0
/* ftctl's command line. */
#include <errno.h>
#include <string.h>
#include "ftctl.h"
#include "disk_sync.h"
#include "text.h"

#define SETTINGS	"[--period N | --period-min N --period-max N] [--margin N] [--counter RAW] " \
			"[--timeout MS] [--verify-every N] [--on-loss solo|hold]"
#define CONSOLES	"[--console ID=BACKEND]..."

#define TOP_DELAY_MIN_MS	100
#define TOP_DELAY_MAX_MS	86400000

#define DEVICE		"[show [NAME]] | device del NAME | device add NAME guest GUEST kind blk no N " \
			"socket PATH file PATH [readonly] [discard] [shared] [user USER] | device add NAME " \
			"guest GUEST kind net no N socket PATH tap NAME [user USER] | " \
			"device sync NAME to HOST[:PATH]"

static const char *const device_verbs[] = {
	[DEVICE_SHOW] = "show", [DEVICE_ADD] = "add", [DEVICE_DEL] = "del",
	[DEVICE_SYNC] = "sync", NULL
};

const struct ftctl_command ftctl_commands[] = {
	{ "status", NAME_MAY, 0, cmd_status, "status [NAME]",
	  "how the guests are, the troubled first, and what to do", NULL },
	{ "list", NAME_NONE, 0, cmd_list, "list", "the guests, one in a line", NULL },
	{ "attach", NAME_MUST, OPT_QMP | OPT_CONSOLE, cmd_attach, "attach NAME --qmp PATH " CONSOLES,
	  "take a guest of this host into care", NULL },
	{ "pair", NAME_MUST, OPT_PEER | OPT_SETTINGS | OPT_QMP | OPT_CONSOLE, cmd_pair,
	  "pair NAME --peer HOST[:PORT] [--peer-name NAME] [--second HOST[:PORT]] " SETTINGS " [--qmp PATH " CONSOLES "]",
	  "protect it: this host leads, the peer follows", NULL },
	{ "promote", NAME_MUST, OPT_FORCE, cmd_promote, "promote NAME [--force]",
	  "the other host is down: let the guest go on here", NULL },
	{ "protect", NAME_MUST, OPT_PEER | OPT_SETTINGS | OPT_QMP | OPT_CONSOLE | OPT_DOWNTIME, cmd_protect,
	  "protect NAME --peer HOST[:PORT] [--peer-name NAME] [--second HOST[:PORT]] [--downtime MS] " SETTINGS
	  " [--qmp PATH " CONSOLES "]",
	  "the same for a guest that runs: the peer gets a backup of it", NULL },
	{ "unprotect", NAME_MUST, 0, cmd_unprotect, "unprotect NAME",
	  "the opposite: it goes on alone, and the peer's QEMU of it ends", NULL },
	{ "unpair", NAME_MUST, 0, cmd_unpair, "unpair NAME",
	  "end that: the guest goes on where it is live", NULL },
	{ "fence", NAME_MUST, 0, cmd_fence, "fence NAME",
	  "it has lost its peer: it goes on there, and never again here", NULL },
	{ "switchover", NAME_MUST, 0, cmd_switchover, "switchover NAME",
	  "this host's backup and its primary change places", NULL },
	{ "pause", NAME_MUST, 0, cmd_pause, "pause NAME", "let the guest stand still, protected or not", NULL },
	{ "resume", NAME_MUST, 0, cmd_resume, "resume NAME", "let it go on", NULL },
	{ "detach", NAME_MUST, 0, cmd_detach, "detach NAME", "let go of a guest that is not paired", NULL },
	{ "verify", NAME_MUST, OPT_DISKS, cmd_verify, "verify NAME [--disks]",
	  "compare all of the guest's registers and memory, or its disks, with the backup's", NULL },
	{ "stats", NAME_MAY, OPT_WATCH, cmd_stats, "stats [NAME] [--watch [SECONDS]]",
	  "what was counted since the pairing", NULL },
	{ "top", NAME_NONE, OPT_TOP, cmd_top, "top [-d SECONDS] [-n COUNT] [-b]",
	  "how fast the guests go, again and again; q ends it", NULL },
	{ "monitor", NAME_NONE, 0, cmd_monitor, "monitor", "what happens to the guests, as it happens", NULL },
	{ "set", NAME_MUST, OPT_SETTINGS, cmd_set, "set NAME " SETTINGS, "change settings", NULL },
	{ "check", NAME_MAY, OPT_QMP, cmd_check, "check [NAME | --qmp PATH]",
	  "can this host, and a guest, be protected?", NULL },
	{ "device", NAME_MAY, OPT_DEVICE, cmd_device, "device " DEVICE,
	  "disks and network cards of guests", device_verbs },
	{ 0 }
};

const struct ftctl_command *ftctl_find(const char *word)
{
	const struct ftctl_command *c;

	if (!*word)
		return NULL;
	for (c = ftctl_commands; c->name; c++)
		if (!strcmp(c->name, word))
			return c;
	for (c = ftctl_commands; c->name; c++)
		if (!strncmp(c->name, word, strlen(word)))
			return c;
	return NULL;
}

enum value { NO_VALUE, MAY_HAVE_VALUE, NEEDS_VALUE };

struct option {
	const char *name;
	unsigned int mask;	/* 0: any command takes it */
	enum value value;
	int (*take)(struct ftctl *ctl, const char *value, struct fterr *err);
};

static int number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *value,
		  struct fterr *err)
{
	if (ft_parse_u64(text, min, max, value))
		return 0;
	return ft_fail(err, -EINVAL, "%s must be a number from %llu to %llu, not \"%.40s\"", what,
		       (unsigned long long)min, (unsigned long long)max, text);
}

static int period(const char *what, const char *text, uint64_t *value, struct fterr *err)
{
	return number(what, text, FTKVM_PERIOD_LOWEST, FTKVM_PERIOD_HIGHEST, value, err);
}

static int take_json(struct ftctl *ctl, const char *value, struct fterr *err)
{
	(void)value;
	(void)err;
	ctl->json = true;
	return 0;
}

static int take_control(struct ftctl *ctl, const char *value, struct fterr *err)
{
	(void)err;
	ctl->control = value;
	return 0;
}

static int take_qmp(struct ftctl *ctl, const char *value, struct fterr *err)
{
	(void)err;
	ctl->qmp = value;
	return 0;
}

static int take_console(struct ftctl *ctl, const char *value, struct fterr *err)
{
	if (ctl->nconsoles == FTCTL_CONSOLES)
		return ft_fail(err, -EINVAL, "a guest can have %d consoles at most", FTCTL_CONSOLES);
	ctl->consoles[ctl->nconsoles++] = value;
	return 0;
}

static int take_peer(struct ftctl *ctl, const char *value, struct fterr *err)
{
	char host[256], port[8];

	if (ft_split_host(value, host, sizeof(host), port, sizeof(port), FT_PEER_PORT) || !*host)
		return ft_fail(err, -EINVAL, "--peer takes HOST or HOST:PORT (an IPv6 address with a port "
			       "in brackets), not \"%.100s\"", value);
	ctl->peer = value;
	return 0;
}

static int take_second(struct ftctl *ctl, const char *value, struct fterr *err)
{
	if (!*value || strlen(value) > 255)
		return ft_fail(err, -EINVAL, "--second takes HOST[:PORT], or none");
	ctl->second = value;
	return 0;
}

static int take_peer_name(struct ftctl *ctl, const char *value, struct fterr *err)
{
	if (!ft_name_ok(value))
		return ft_fail(err, -EINVAL, "--peer-name takes the guest's name at the peer, not \"%.80s\"",
			       value);
	ctl->peer_name = value;
	return 0;
}

static int take_period(struct ftctl *ctl, const char *value, struct fterr *err)
{
	int ret = period("--period", value, &ctl->set.period_min, err);

	ctl->set.period_max = ctl->set.period_min;
	return ret;
}

static int take_period_min(struct ftctl *ctl, const char *value, struct fterr *err)
{
	return period("--period-min", value, &ctl->set.period_min, err);
}

static int take_period_max(struct ftctl *ctl, const char *value, struct fterr *err)
{
	return period("--period-max", value, &ctl->set.period_max, err);
}

static int take_margin(struct ftctl *ctl, const char *value, struct fterr *err)
{
	return number("--margin", value, 1, FTKVM_MARGIN_HIGHEST, &ctl->set.margin, err);
}

static int take_counter(struct ftctl *ctl, const char *value, struct fterr *err)
{
	uint64_t counter;

	if (!ft_parse_u64(value, 1, UINT32_MAX, &counter))
		return ft_fail(err, -EINVAL, "--counter takes a raw event of the CPU's counters, as perf has "
			       "it (r5100d1, 0x5100d1), not \"%.40s\"", value);
	ctl->set.counter = counter;
	return 0;
}

static int take_timeout(struct ftctl *ctl, const char *value, struct fterr *err)
{
	uint64_t ms;
	int ret = number("--timeout (ms)", value, FTKVM_TIMEOUT_LOWEST, FTKVM_TIMEOUT_HIGHEST, &ms, err);

	if (!ret)
		ctl->set.timeout_ms = ms;
	return ret;
}

static int take_downtime(struct ftctl *ctl, const char *value, struct fterr *err)
{
	return number("--downtime (ms)", value, 1, DOWNTIME_HIGHEST, &ctl->downtime_ms, err);
}

static int take_verify_every(struct ftctl *ctl, const char *value, struct fterr *err)
{
	uint64_t every;
	int ret = number("--verify-every (epochs; 0: never)", value, 0, FTKVM_VERIFY_HIGHEST, &every, err);

	if (!ret) {
		ctl->set.verify_every = every;
		ctl->set.verify_said = true;
	}
	return ret;
}

static int take_on_loss(struct ftctl *ctl, const char *value, struct fterr *err)
{
	ctl->set.on_loss = ft_loss_of(value);
	return ctl->set.on_loss ? 0 : ft_fail(err, -EINVAL, "--on-loss must be solo or hold, not \"%.40s\"", value);
}

static int take_force(struct ftctl *ctl, const char *value, struct fterr *err)
{
	(void)value;
	(void)err;
	ctl->force = true;
	return 0;
}

static int take_disks(struct ftctl *ctl, const char *value, struct fterr *err)
{
	(void)value;
	(void)err;
	ctl->disks = true;
	return 0;
}

static int take_watch(struct ftctl *ctl, const char *value, struct fterr *err)
{
	ctl->watch = 1;
	return value ? number("--watch (seconds)", value, 1, 86400, &ctl->watch, err) : 0;
}

/* Seconds, to the millisecond; strtod() has it by the locale, and takes "nan". */
static int take_delay(struct ftctl *ctl, const char *value, struct fterr *err)
{
	size_t whole = strspn(value, "0123456789"), part = 0;
	uint64_t ms = 0, scale = 100;
	size_t i;

	if (value[whole] == '.')
		part = strspn(value + whole + 1, "0123456789");
	for (i = 0; i < whole && ms <= TOP_DELAY_MAX_MS; i++)
		ms = ms * 10 + (value[i] - '0') * 1000;
	for (i = 0; i < part; i++, scale /= 10)
		ms += (value[whole + 1 + i] - '0') * scale;
	if (!(whole + part) || value[whole + (value[whole] == '.') + part] || ms < TOP_DELAY_MIN_MS ||
	    ms > TOP_DELAY_MAX_MS)
		return ft_fail(err, -EINVAL, "--delay must be seconds from 0.1 to 86400, not \"%.40s\"", value);
	ctl->top.delay_ms = ms;
	return 0;
}

static int take_count(struct ftctl *ctl, const char *value, struct fterr *err)
{
	return number("--count", value, 1, UINT32_MAX, &ctl->top.count, err);
}

static int take_batch(struct ftctl *ctl, const char *value, struct fterr *err)
{
	(void)value;
	(void)err;
	ctl->top.batch = true;
	return 0;
}

static int take_guest(struct ftctl *ctl, const char *value, struct fterr *err)
{
	if (!ft_name_ok(value))
		return ft_fail(err, -EINVAL, "guest takes the name that the guest is attached by, not \"%.80s\"",
			       value);
	ctl->device.guest = value;
	return 0;
}

static int take_kind(struct ftctl *ctl, const char *value, struct fterr *err)
{
	if (strcmp(value, "blk") && strcmp(value, "net"))
		return ft_fail(err, -EINVAL, "kind is blk or net, not \"%.40s\"", value);
	ctl->device.kind = value;
	return 0;
}

static int take_no(struct ftctl *ctl, const char *value, struct fterr *err)
{
	ctl->device.no_said = true;
	return number("no", value, 0, FTKVM_DEV_NO_HIGHEST, &ctl->device.no, err);
}

static int take_path(const char *what, const char *value, const char **path, struct fterr *err)
{
	if (!*value)
		return ft_fail(err, -EINVAL, "%s takes a path", what);
	*path = value;
	return 0;
}

static int take_socket(struct ftctl *ctl, const char *value, struct fterr *err)
{
	return take_path("socket", value, &ctl->device.socket, err);
}

static int take_file(struct ftctl *ctl, const char *value, struct fterr *err)
{
	return take_path("file", value, &ctl->device.file, err);
}

static int take_tap(struct ftctl *ctl, const char *value, struct fterr *err)
{
	if (!*value)
		return ft_fail(err, -EINVAL, "tap takes an interface's name, or a macvtap's path");
	ctl->device.tap = value;
	return 0;
}

static int take_to(struct ftctl *ctl, const char *value, struct fterr *err)
{
	/* they are words of rsync's, which has options, and files of this host */
	if (!*value || *value == '-' || *value == ':' || strcspn(value, "/") < strcspn(value, ":"))
		return ft_fail(err, -EINVAL, "to takes HOST or HOST:PATH, not \"%.100s\"", value);
	ctl->device.to = value;
	return 0;
}

static int take_user(struct ftctl *ctl, const char *value, struct fterr *err)
{
	if (!*value)
		return ft_fail(err, -EINVAL, "user takes a user's name");
	ctl->device.user = value;
	return 0;
}

static int take_readonly(struct ftctl *ctl, const char *value, struct fterr *err)
{
	(void)value;
	(void)err;
	ctl->device.readonly = true;
	return 0;
}

static int take_discard(struct ftctl *ctl, const char *value, struct fterr *err)
{
	(void)value;
	(void)err;
	ctl->device.discard = true;
	return 0;
}

static int take_shared(struct ftctl *ctl, const char *value, struct fterr *err)
{
	(void)value;
	(void)err;
	ctl->device.shared = true;
	return 0;
}

static const struct option options[] = {
	{ "json", 0, NO_VALUE, take_json },
	{ "control", 0, NEEDS_VALUE, take_control },
	{ "qmp", OPT_QMP, NEEDS_VALUE, take_qmp },
	{ "console", OPT_CONSOLE, NEEDS_VALUE, take_console },
	{ "peer", OPT_PEER, NEEDS_VALUE, take_peer },
	{ "peer-name", OPT_PEER, NEEDS_VALUE, take_peer_name },
	{ "second", OPT_PEER, NEEDS_VALUE, take_second },
	{ "period", OPT_SETTINGS, NEEDS_VALUE, take_period },
	{ "period-min", OPT_SETTINGS, NEEDS_VALUE, take_period_min },
	{ "period-max", OPT_SETTINGS, NEEDS_VALUE, take_period_max },
	{ "margin", OPT_SETTINGS, NEEDS_VALUE, take_margin },
	{ "counter", OPT_SETTINGS, NEEDS_VALUE, take_counter },
	{ "timeout", OPT_SETTINGS, NEEDS_VALUE, take_timeout },
	{ "downtime", OPT_DOWNTIME, NEEDS_VALUE, take_downtime },
	{ "verify-every", OPT_SETTINGS, NEEDS_VALUE, take_verify_every },
	{ "on-loss", OPT_SETTINGS, NEEDS_VALUE, take_on_loss },
	{ "force", OPT_FORCE, NO_VALUE, take_force },
	{ "disks", OPT_DISKS, NO_VALUE, take_disks },
	{ "watch", OPT_WATCH, MAY_HAVE_VALUE, take_watch },
	{ "delay", OPT_TOP, NEEDS_VALUE, take_delay },
	{ "count", OPT_TOP, NEEDS_VALUE, take_count },
	{ "batch", OPT_TOP, NO_VALUE, take_batch },
	{ "guest", OPT_DEVICE, NEEDS_VALUE, take_guest },
	{ "kind", OPT_DEVICE, NEEDS_VALUE, take_kind },
	{ "no", OPT_DEVICE, NEEDS_VALUE, take_no },
	{ "socket", OPT_DEVICE, NEEDS_VALUE, take_socket },
	{ "file", OPT_DEVICE, NEEDS_VALUE, take_file },
	{ "tap", OPT_DEVICE, NEEDS_VALUE, take_tap },
	{ "user", OPT_DEVICE, NEEDS_VALUE, take_user },
	{ "to", OPT_DEVICE, NEEDS_VALUE, take_to },
	{ "readonly", OPT_DEVICE, NO_VALUE, take_readonly },
	{ "discard", OPT_DEVICE, NO_VALUE, take_discard },
	{ "shared", OPT_DEVICE, NO_VALUE, take_shared },
};

static bool fits(const struct option *o, const struct ftctl_command *c)
{
	return !o->mask || (c && (c->options & o->mask));
}

/* The whole name, or the only one of the command's options that begins so. */
static const struct option *find_option(const struct ftctl_command *c, const char *name, size_t len,
					struct fterr *err)
{
	const struct option *found = NULL, *elsewhere = NULL;
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];

		if (!len || strncmp(o->name, name, len))
			continue;
		if (!fits(o, c)) {
			elsewhere = o;
			continue;
		}
		if (!o->name[len])
			return o;
		found = o;
		n++;
	}
	if (n == 1)
		return found;
	if (n)
		ft_fail(err, -EINVAL, "--%.*s can mean more than one option", (int)len, name);
	else if (elsewhere && c)
		ft_fail(err, -EINVAL, "%s takes no --%s", c->name, elsewhere->name);
	else
		ft_fail(err, -EINVAL, "there is no option --%.*s", len > 40 ? 40 : (int)len, name);
	return NULL;
}

/* What one letter stands for: those that top(1) has, too. */
static const char *long_name(const struct ftctl_command *c, const char *word)
{
	static const char *const names[] = { "json", "delay", "count", "batch" };
	const char *letter = strchr("jdnb", word[1]);
	size_t i = letter ? letter - "jdnb" : 0;

	if (!letter || !word[1] || word[2])
		return NULL;
	/* the only command that has them */
	return !i || (c && c->options & OPT_TOP) ? names[i] : NULL;
}

/* An option at argv[0], with dashes or without; how many words it took, or -EINVAL. */
static int parse_option(struct ftctl *ctl, const struct ftctl_command *c, int argc,
			char *const *argv, struct fterr *err)
{
	const char *name = argv[0], *value = NULL;
	const struct option *o;
	int used = 1, ret;
	size_t len;

	if (!strncmp(name, "--", 2))
		name += 2;
	else if (*name == '-')
		name = long_name(c, name);
	if (!name)
		return ft_fail(err, -EINVAL, "there is no option %.40s", argv[0]);
	len = strcspn(name, "=");
	o = find_option(c, name, len, err);
	if (!o)
		return -EINVAL;
	if (name[len] && o->value == NO_VALUE)
		return ft_fail(err, -EINVAL, "--%s takes no value", o->name);
	if (name[len]) {
		value = name + len + 1;
	} else if (o->value == NEEDS_VALUE ||
		   (o->value == MAY_HAVE_VALUE && argc > 1 && ft_parse_u64(argv[1], 0, UINT64_MAX,
									   &(uint64_t){ 0 }))) {
		if (argc < 2)
			return ft_fail(err, -EINVAL, "--%s needs a value", o->name);
		value = argv[1];
		used = 2;
	}
	ret = o->take(ctl, value, err);
	return ret ? ret : used;
}

static bool asks_for_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "--version") ||
	       !strcmp(word, "-V");
}

static int check_device(const struct ftctl *ctl, struct fterr *err)
{
	bool blk = ctl->device.kind && !strcmp(ctl->device.kind, "blk");
	bool anything = ctl->device.guest || ctl->device.kind || ctl->device.socket || ctl->device.file ||
			ctl->device.tap || ctl->device.user || ctl->device.no_said || ctl->device.readonly ||
			ctl->device.discard || ctl->device.shared;
	const char *odd;

	if (ctl->verb != DEVICE_SHOW && !ctl->name)
		return ft_fail(err, -EINVAL, "device %s: which device?", device_verbs[ctl->verb]);
	if (ctl->verb == DEVICE_SYNC && !ctl->device.to)
		return ft_fail(err, -EINVAL, "device sync: to HOST is missing: whose image is to become what this "
			       "host's is");
	if (ctl->device.to && (ctl->verb != DEVICE_SYNC || anything))
		return ft_fail(err, -EINVAL, "device sync takes a name and to HOST[:PATH], and no other does");
	if (ctl->verb == DEVICE_SYNC)
		return 0;
	if (ctl->verb != DEVICE_ADD)
		return anything ? ft_fail(err, -EINVAL, "device %s takes a name and no more",
					  device_verbs[ctl->verb]) : 0;
	if (!ctl->device.guest || !ctl->device.kind || !ctl->device.no_said || !ctl->device.socket)
		return ft_fail(err, -EINVAL, "device add: %s is missing", !ctl->device.guest ? "guest GUEST" :
			       !ctl->device.kind ? "kind blk|net" : !ctl->device.no_said ? "no N" : "socket PATH");
	if (blk && !ctl->device.file)
		return ft_fail(err, -EINVAL, "device add: file PATH is missing: the disk's image or block device");
	if (!blk && !ctl->device.tap)
		return ft_fail(err, -EINVAL, "device add: tap NAME is missing: the card's interface on this host");
	odd = blk ? (ctl->device.tap ? "tap" : NULL) : ctl->device.file ? "file" : ctl->device.readonly ? "readonly" :
	      ctl->device.discard ? "discard" : ctl->device.shared ? "shared" : NULL;
	if (odd)
		return ft_fail(err, -EINVAL, "device add: %s is nothing for kind %s; leave it out", odd, ctl->device.kind);
	if (ctl->device.readonly && ctl->device.discard)
		return ft_fail(err, -EINVAL, "device add: a read-only disk discards nothing");
	return 0;
}

/* A command's second word. */
static int take_verb(struct ftctl *ctl, const struct ftctl_command *c, const char *word,
		     struct fterr *err)
{
	unsigned int i;

	for (i = 0; c->verbs[i]; i++) {
		if (!*word || strncmp(c->verbs[i], word, strlen(word)))
			continue;
		ctl->verb = i;
		return 0;
	}
	return ft_fail(err, -EINVAL, "%s can't \"%.40s\"; usage: ftctl %s", c->name, word, c->usage);
}

static int check_whole(const struct ftctl *ctl, const struct ftctl_command *c, struct fterr *err)
{
	if (c->takes_name == NAME_MUST && !ctl->name)
		return ft_fail(err, -EINVAL, "%s: which guest? usage: ftctl %s", c->name, c->usage);
	if (c->run == cmd_attach && !ctl->qmp)
		return ft_fail(err, -EINVAL, "attach: --qmp PATH is missing: the socket of QEMU's monitor "
			       "(-qmp unix:PATH,server=on,wait=off)");
	if (c->run == cmd_pair && !ctl->peer)
		return ft_fail(err, -EINVAL, "pair: --peer HOST[:PORT] is missing: the other host, where the "
			       "guest is attached as well");
	if (c->run == cmd_pair && ctl->nconsoles && !ctl->qmp)
		return ft_fail(err, -EINVAL, "pair: --console goes with --qmp PATH; an attached guest has the "
			       "consoles that attach was told of");
	if (c->run == cmd_check && ctl->qmp && ctl->name)
		return ft_fail(err, -EINVAL, "check: give an attached guest's NAME or --qmp PATH, not both");
	if (c->run == cmd_set && !ctl->set.period_min && !ctl->set.period_max && !ctl->set.margin &&
	    !ctl->set.counter && !ctl->set.timeout_ms && !ctl->set.verify_said &&
	    !ctl->set.on_loss)
		return ft_fail(err, -EINVAL, "set: nothing to change is given; usage: ftctl %s", c->usage);
	if (ctl->set.period_min && ctl->set.period_max && ctl->set.period_min > ctl->set.period_max)
		return ft_fail(err, -EINVAL, "--period-min is greater than --period-max");
	return c->run == cmd_device ? check_device(ctl, err) : 0;
}

int ftctl_parse(struct ftctl *ctl, const struct ftctl_command **command, int argc,
		char *const *argv, struct fterr *err)
{
	const struct ftctl_command *c = NULL;
	bool verb = false;
	int i, used;

	*command = NULL;
	memset(ctl, 0, sizeof(*ctl));
	ctl->control = FT_CONTROL_SOCKET;
	for (i = 0; i < argc; i += used) {
		used = 1;
		if (asks_for_help(argv[i]))
			return 0;
		if (argv[i][0] == '-' && argv[i][1]) {
			used = parse_option(ctl, c, argc - i, argv + i, err);
			if (used < 0)
				return used;
		} else if (!c) {
			c = ftctl_find(argv[i]);
			if (!c)
				return ft_fail(err, -EINVAL, "there is no command \"%.40s\"", argv[i]);
		} else if (c->verbs && !verb) {
			if (take_verb(ctl, c, argv[i], err))
				return err->code;
			verb = true;
		} else if (c->takes_name != NAME_NONE && !ctl->name) {
			if (!ft_name_ok(argv[i]))
				return ft_fail(err, -EINVAL, "\"%.80s\" is no %s's name: 1 to %d letters, "
					       "digits, '-', '_' or '.', the first a letter or digit", argv[i],
					       c->verbs ? c->name : "guest", FTKVM_NAME_MAX);
			ctl->name = argv[i];
		} else if (c->verbs) {
			used = parse_option(ctl, c, argc - i, argv + i, err);
			if (used < 0)
				return used;
		} else {
			return ft_fail(err, -EINVAL, "%s: \"%.40s\" is too much; usage: ftctl %s", c->name,
				       argv[i], c->usage);
		}
	}
	if (!c)
		return ft_fail(err, -EINVAL, "a command is missing");
	*command = c;
	return check_whole(ctl, c, err);
}
