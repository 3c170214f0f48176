// SPDX-License-Identifier: GPL-2.0
/* ftctl's command line. */
#include <stdio.h>
#include <string.h>
#include "ftctl.h"
#include "tests/unit.h"

static struct ftctl ctl;
static const struct ftctl_command *command;
static struct fterr parse_err;

/* Words are parted by single spaces; they stay until the next call. */
static int parse(const char *text)
{
	static char copy[512];
	char *words[32], *save = NULL, *word;
	int n = 0;

	snprintf(copy, sizeof(copy), "%s", text);
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		words[n++] = word;
	return ftctl_parse(&ctl, &command, n, words, &parse_err);
}

static bool refuses(const char *text, const char *why)
{
	if (!parse(text) || !strstr(parse_err.text, why)) {
		printf("  \"%s\": %s\n", text, parse_err.text);
		return false;
	}
	return true;
}

static void commands(void)
{
	CHECK(!parse("-j status") && command->run == cmd_status && ctl.json && !ctl.name);
	CHECK(!parse("s web") && command->run == cmd_status && !strcmp(ctl.name, "web") && !ctl.json);
	CHECK(!parse("sta web --json") && command->run == cmd_status && ctl.json);
	CHECK(!parse("stats") && command->run == cmd_stats && !ctl.watch);
	CHECK(!parse("stats --watch") && ctl.watch == 1);
	CHECK(!parse("stats --watch 5 web") && ctl.watch == 5 && !strcmp(ctl.name, "web"));
	CHECK(!parse("stats --watch web") && ctl.watch == 1 && !strcmp(ctl.name, "web"));
	CHECK(!parse("pr web --peer b") && command->run == cmd_protect);
	CHECK(!parse("promote web") && command->run == cmd_promote && !ctl.force);
	CHECK(refuses("prom web", "say promote in full") && refuses("f web", "say fence in full"));
	CHECK(!parse("promote web --force") && ctl.force);
	CHECK(!parse("verify web") && command->run == cmd_verify && !ctl.disks);
	CHECK(!parse("verify web --disks -j") && ctl.disks && ctl.json);
	CHECK(!parse("t") && command->run == cmd_top && !ctl.top.delay_ms && !ctl.top.count && !ctl.top.batch);
	CHECK(!parse("top -b -n 2 -d 1.5 -j") && ctl.top.batch && ctl.top.count == 2 && ctl.top.delay_ms == 1500);
	CHECK(!parse("top --delay=.25 --count 7") && ctl.top.delay_ms == 250 && ctl.top.count == 7);
	CHECK(!parse("top -d 86400") && ctl.top.delay_ms == 86400000);
	CHECK(refuses("top -d 0", "--delay must be") && refuses("top -d 0.09", "--delay must be"));
	CHECK(refuses("top -d 86400.001", "--delay must be") && refuses("top -d -1", "--delay must be"));
	CHECK(refuses("top -d 1e3", "--delay must be") && refuses("top -d .", "--delay must be"));
	CHECK(refuses("top -d nan", "--delay must be") && refuses("top -d 99999999999999999999", "--delay must be"));
	CHECK(refuses("top -n 0", "--count must be") && refuses("top -n", "--count needs a value"));
	CHECK(refuses("top web", "too much") && refuses("top -x", "no option -x") && refuses("top -bn", "no option -bn"));
	CHECK(refuses("stats -b", "no option -b") && refuses("-n 2 top", "no option -n"));
	CHECK(refuses("verify web --disks=2", "takes no value"));
	CHECK(refuses("status web --disks", "status takes no --disks"));
	CHECK(!parse("p web --peer b") && command->run == cmd_pair && !strcmp(ctl.peer, "b"));
	CHECK(!parse("l") && command->run == cmd_list);
	CHECK(!parse("mon") && command->run == cmd_monitor);
	CHECK(!parse("--help") && !command);
	CHECK(!parse("pair --help") && !command);
	CHECK(!parse("--version") && !command);
	CHECK(refuses("", "a command is missing"));
	CHECK(refuses("fly", "no command \"fly\""));
	CHECK(refuses("--nix", "no option --nix"));
	CHECK(refuses("-x", "no option -x"));
	CHECK(refuses("list web", "too much"));
	CHECK(refuses("status a b", "too much"));
	CHECK(refuses("promote", "which guest"));
	CHECK(refuses("promote ../x", "no guest's name"));
	CHECK(refuses("promote web --peer b", "promote takes no --peer"));
	CHECK(refuses("promote web --force=1", "takes no value"));
}

static void command_options(void)
{
	CHECK(!parse("attach web --qmp /run/q --console con0=tty:/dev/ttyS1 --console=c1=pty"));
	CHECK(!strcmp(ctl.qmp, "/run/q") && ctl.nconsoles == 2 && !strcmp(ctl.consoles[1], "c1=pty"));
	CHECK(!parse("pair web --peer [::1]:80 --period 5000 --margin 100 --counter rc0 --timeout 900"));
	CHECK(ctl.set.period_min == 5000 && ctl.set.period_max == 5000 && ctl.set.margin == 100);
	CHECK(ctl.set.counter == 0xc0 && ctl.set.timeout_ms == 900);
	CHECK(!parse("set web --period-min 1000 --period-max=2000") && ctl.set.period_max == 2000);
	CHECK(!parse("set web --tim 900") && ctl.set.timeout_ms == 900);
	CHECK(!parse("pair web --peer a --second b:7") && !strcmp(ctl.second, "b:7"));
	CHECK(!parse("protect web --peer a --second none") && !strcmp(ctl.second, "none"));
	CHECK(!parse("protect web --peer a --downtime 20") && ctl.downtime_ms == 20);
	CHECK(parse("protect web --peer a --downtime 0") && parse("protect web --peer a --downtime 600001"));
	CHECK(parse("pair web --peer a --downtime 20"));
	CHECK(refuses("pair web --peer a --second ", "--second needs a value"));
	CHECK(refuses("set web --second b", "takes no --second"));
	CHECK(!parse("set web --on-loss hold") && ctl.set.on_loss == FTKVM_UAPI_LOSS_HOLD);
	CHECK(parse("set web --on-loss maybe"));
	CHECK(!parse("set web --verify-every 0") && ctl.set.verify_said && !ctl.set.verify_every);
	CHECK(!parse("check --qmp q.sock --control /x") && !strcmp(ctl.control, "/x"));
	CHECK(refuses("attach web", "--qmp PATH is missing"));
	CHECK(refuses("attach web --qmp", "--qmp needs a value"));
	CHECK(refuses("pair web", "--peer HOST"));
	CHECK(refuses("protect web", "protect: --peer HOST"));
	CHECK(refuses("protect web --peer b --console c=pty", "goes with --qmp"));
	CHECK(!parse("protect web --peer b --qmp q --console c=pty"));
	CHECK(refuses("pair web --peer :80", "--peer takes"));
	CHECK(refuses("pair web --pe b", "more than one"));
	CHECK(!parse("pair web --peer b --peer-name web-b") && !strcmp(ctl.peer, "b"));
	CHECK(!strcmp(ctl.peer_name, "web-b"));
	CHECK(!parse("pair web --peer b") && !ctl.peer_name);
	CHECK(refuses("pair web --peer b --peer-name ../x", "--peer-name takes"));
	CHECK(refuses("promote web --peer-name b", "promote takes no --peer-name"));
	CHECK(refuses("pair web --peer b --console c=pty", "goes with --qmp"));
	CHECK(refuses("pair web --peer b --period 999", "from 1000"));
	CHECK(refuses("pair web --peer b --margin 0", "from 1"));
	CHECK(refuses("pair web --peer b --counter x", "raw event"));
	CHECK(refuses("pair web --peer b --timeout 199", "from 200"));
	CHECK(refuses("set web", "nothing to change"));
	CHECK(refuses("set web --period-min 2000 --period-max 1000", "greater than"));
	CHECK(refuses("check web --qmp q", "not both"));
}

static void device_words(void)
{
	CHECK(!parse("device") && command->run == cmd_device && ctl.verb == DEVICE_SHOW && !ctl.name);
	CHECK(!parse("dev show d0 -j") && ctl.verb == DEVICE_SHOW && !strcmp(ctl.name, "d0") && ctl.json);
	CHECK(!parse("device d d0") && ctl.verb == DEVICE_DEL && !strcmp(ctl.name, "d0"));
	CHECK(!parse("device add d0 guest web kind blk no 255 socket /s file f readonly user qemu"));
	CHECK(ctl.verb == DEVICE_ADD && !strcmp(ctl.device.guest, "web") && !strcmp(ctl.device.kind, "blk"));
	CHECK(ctl.device.no == 255 && !strcmp(ctl.device.socket, "/s") && !strcmp(ctl.device.file, "f"));
	CHECK(ctl.device.readonly && !ctl.device.discard && !strcmp(ctl.device.user, "qemu"));
	CHECK(!ctl.device.shared);
	CHECK(!parse("device add d0 guest web kind blk no 0 socket /s file f shared") && ctl.device.shared);
	CHECK(!parse("device add n0 --guest web --kind=net no=0 --tap tap0 --sock /s"));
	CHECK(!strcmp(ctl.device.tap, "tap0") && !strcmp(ctl.device.kind, "net") && !ctl.device.no);
	CHECK(!parse("device sync d0 to hostb") && ctl.verb == DEVICE_SYNC && !strcmp(ctl.device.to, "hostb"));
	CHECK(!parse("dev s d0") && ctl.verb == DEVICE_SHOW);
	CHECK(!parse("dev sy d0 --to root@[::1]:/srv/d0") && !strcmp(ctl.device.to, "root@[::1]:/srv/d0"));
	CHECK(refuses("device sync", "which device"));
	CHECK(refuses("device sync d0", "to HOST is missing"));
	CHECK(refuses("device sync d0 to -x", "to takes HOST"));
	CHECK(refuses("device sync d0 to /srv/d0", "to takes HOST"));
	CHECK(refuses("device sync d0 to :/srv/d0", "to takes HOST"));
	CHECK(refuses("device sync d0 to b file f", "no other does"));
	CHECK(refuses("device show d0 to b", "no other does"));
	CHECK(refuses("device fly", "device can't \"fly\""));
	CHECK(refuses("device add", "which device"));
	CHECK(refuses("device del", "which device"));
	CHECK(refuses("device add ../x", "no device's name"));
	CHECK(refuses("device add d0 d1", "no option --d1"));
	CHECK(refuses("device add d0 -x", "no option -x"));
	CHECK(refuses("device show d0 kind blk", "takes a name and no more"));
	CHECK(refuses("device del d0 readonly", "takes a name and no more"));
	CHECK(refuses("device add d0 kind tape", "blk or net"));
	CHECK(refuses("device add d0 no 256", "from 0 to 255"));
	CHECK(refuses("device add d0 guest a/b", "guest takes"));
	CHECK(refuses("device add d0 socket", "needs a value"));
	CHECK(refuses("device add d0 readonly=1", "takes no value"));
	CHECK(refuses("device add d0", "guest GUEST is missing"));
	CHECK(refuses("device add d0 guest g", "kind blk|net is missing"));
	CHECK(refuses("device add d0 guest g kind blk", "no N is missing"));
	CHECK(refuses("device add d0 guest g kind blk no 1", "socket PATH is missing"));
	CHECK(refuses("device add d0 guest g kind blk no 1 socket s", "file PATH is missing"));
	CHECK(refuses("device add d0 guest g kind net no 1 socket s", "tap NAME is missing"));
	CHECK(refuses("device add d0 guest g kind blk no 1 socket s file f tap t", "tap is nothing for kind blk"));
	CHECK(refuses("device add d0 guest g kind net no 1 socket s tap t readonly", "readonly is nothing for kind net"));
	CHECK(refuses("device add d0 guest g kind net no 1 socket s tap t shared", "shared is nothing for kind net"));
	CHECK(refuses("device del d0 shared", "takes a name and no more"));
	CHECK(refuses("device add d0 guest g kind blk no 1 socket s file f readonly discard", "discards nothing"));
	CHECK(!parse("detach web") && command->run == cmd_detach);
	CHECK(!parse("d") && command->run == cmd_device);
	CHECK(refuses("attach web --qmp q --tap t", "attach takes no --tap"));
}

int unit_parse(int argc, char **argv)
{
	int ret = ftctl_parse(&ctl, &command, argc, argv, &parse_err);

	if (ret)
		printf("%s\n", parse_err.text);
	return ret ? 1 : 0;
}

const struct unit_test unit_ftctl_tests[] = {
	{ "commands", commands },
	{ "command_options", command_options },
	{ "device_words", device_words },
	{ }
};
