// SPDX-License-Identifier: GPL-2.0
/* ftctl's command line: its commands, and what a line must have. */
#include <errno.h>
#include <string.h>
#include "ftctl.h"
#include "text.h"

#define SETTINGS	"[--period N | --period-min N --period-max N] [--margin N] [--counter RAW] " \
			"[--timeout MS] [--verify-every N] [--on-loss solo|hold]"
#define CONSOLES	"[--console ID=BACKEND]..."

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
	{ "promote", NAME_MUST, OPT_FORCE | OPT_WHOLE, cmd_promote, "promote NAME [--force]",
	  "the other host is down: let the guest go on here", NULL },
	{ "protect", NAME_MUST, OPT_PEER | OPT_SETTINGS | OPT_QMP | OPT_CONSOLE | OPT_DOWNTIME, cmd_protect,
	  "protect NAME --peer HOST[:PORT] [--peer-name NAME] [--second HOST[:PORT]] [--downtime MS] " SETTINGS
	  " [--qmp PATH " CONSOLES "]",
	  "the same for a guest that runs: the peer gets a backup of it", NULL },
	{ "unprotect", NAME_MUST, OPT_WHOLE, cmd_unprotect, "unprotect NAME",
	  "the opposite: it goes on alone, and the peer's QEMU of it ends", NULL },
	{ "unpair", NAME_MUST, OPT_WHOLE, cmd_unpair, "unpair NAME",
	  "end that: the guest goes on where it is live", NULL },
	{ "fence", NAME_MUST, OPT_WHOLE, cmd_fence, "fence NAME",
	  "it has lost its peer: it goes on there, and never again here", NULL },
	{ "switchover", NAME_MUST, OPT_WHOLE, cmd_switchover, "switchover NAME",
	  "this host's backup and its primary change places", NULL },
	{ "pause", NAME_MUST, 0, cmd_pause, "pause NAME", "let the guest stand still, protected or not", NULL },
	{ "resume", NAME_MUST, 0, cmd_resume, "resume NAME", "let it go on", NULL },
	{ "detach", NAME_MUST, OPT_WHOLE, cmd_detach, "detach NAME", "let go of a guest that is not paired", NULL },
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
		if (!(c->options & OPT_WHOLE) && !strncmp(c->name, word, strlen(word)))
			return c;
	return NULL;
}

static int no_command(const char *word, struct fterr *err)
{
	const struct ftctl_command *c;

	for (c = ftctl_commands; *word && c->name; c++)
		if (!strncmp(c->name, word, strlen(word)))
			return ft_fail(err, -EINVAL, "\"%.40s\" may be a slip: say %s in full", word, c->name);
	return ft_fail(err, -EINVAL, "there is no command \"%.40s\"", word);
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
	bool joins = c->run == cmd_pair || c->run == cmd_protect;

	if (c->takes_name == NAME_MUST && !ctl->name)
		return ft_fail(err, -EINVAL, "%s: which guest? usage: ftctl %s", c->name, c->usage);
	if (c->run == cmd_attach && !ctl->qmp)
		return ft_fail(err, -EINVAL, "attach: --qmp PATH is missing: the socket of QEMU's monitor "
			       "(-qmp unix:PATH,server=on,wait=off)");
	if (joins && !ctl->peer)
		return ft_fail(err, -EINVAL, "%s: --peer HOST[:PORT] is missing: the other host, %s", c->name,
			       c->run == cmd_pair ? "where the guest is attached as well" : "which gets a backup of it");
	if (joins && ctl->nconsoles && !ctl->qmp)
		return ft_fail(err, -EINVAL, "%s: --console goes with --qmp PATH; an attached guest has the "
			       "consoles that attach was told of", c->name);
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
			used = ftctl_option(ctl, c, argc - i, argv + i, err);
			if (used < 0)
				return used;
		} else if (!c) {
			c = ftctl_find(argv[i]);
			if (!c)
				return no_command(argv[i], err);
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
			used = ftctl_option(ctl, c, argc - i, argv + i, err);
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
