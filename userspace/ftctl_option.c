// SPDX-License-Identifier: GPL-2.0
/* ftctl's command line: its options. */
#include <errno.h>
#include <string.h>
#include "disk_sync.h"
#include "ftctl.h"
#include "text.h"

#define TOP_DELAY_MIN_MS	100
#define TOP_DELAY_MAX_MS	86400000

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

int ftctl_option(struct ftctl *ctl, const struct ftctl_command *c, int argc,
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
