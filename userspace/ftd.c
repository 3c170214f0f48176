// SPDX-License-Identifier: GPL-2.0
/*
 * ftd, one per host: knows the guests' QEMUs, connects the hosts, opens and
 * closes consoles. All of replication is in the kernel module; a guest in
 * lockstep does not notice that ftd ends or starts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "again.h"
#include "config.h"
#include "control.h"
#include "device.h"
#include "failover.h"
#include "journal.h"
#include "look.h"
#include "metrics_http.h"
#include "op.h"
#include "peer.h"
#include "privilege.h"
#include "said.h"
#include "second.h"
#include "secure.h"
#include "text.h"

#define STOP_MS		10000	/* for operations that are under way */
#define STOP_POLL_US	20000
#define SAID_US		1000000

sd_event *ftd_loop;

static struct ftnl events;
static sd_event_source *events_source;

/* --- the module's events --------------------------------------------------- */

static void on_guest_event(const struct ftevent *e)
{
	struct guest *g = guest_find(e->name);

	if (!g)
		return;
	if (!ft_state_protected(e->state))
		failover_happened(g);
	switch (e->event) {
	case FTKVM_UAPI_EVENT_GUEST_ENDED:
		/* The module lets go of it by itself, soon. */
		g->over = true;
		guest_note_final(g);
		break;
	case FTKVM_UAPI_EVENT_PAIRED:
		g->must_stop = false;
		break;
	case FTKVM_UAPI_EVENT_STARTED:
		if (g->fresh) {
			g->fresh = false;
			guests_save();
		}
		break;
	case FTKVM_UAPI_EVENT_PEER_LOST:
	case FTKVM_UAPI_EVENT_UNPAIRED:
		/* Paired, told to run, and then not: nothing holds it back now. */
		if (e->state != FTKVM_UAPI_STATE_IDLE || g->ended || !g->fresh)
			break;
		g->must_stop = true;
		if (!g->busy)
			guest_watch(g);
		break;
	case FTKVM_UAPI_EVENT_DETACHED:
		/* By somebody else, past us; what we do ourselves makes it busy. */
		if (!g->busy && !g->over && !g->ended)
			guest_drop(g);
		break;
	}
}

static void on_news(enum ftnl_news news, const struct ftevent *e, void *arg)
{
	const char *level = SD_NOTICE;

	(void)arg;
	switch (news) {
	case FTNL_NEWS_LOADED:
		ft_log(SD_NOTICE, "the kernel module was loaded");
		return;
	case FTNL_NEWS_UNLOADED:
		ft_log(SD_NOTICE, "the kernel module was unloaded");
		return;
	case FTNL_NEWS_LOST:
		ft_log(SD_WARNING, "the kernel module's events came too fast, some are lost");
		failover_look_all();
		return;
	case FTNL_NEWS_EVENT:
		break;
	}
	if (e->event == FTKVM_UAPI_EVENT_PEER_LOST || e->event == FTKVM_UAPI_EVENT_DIVERGED ||
	    e->event == FTKVM_UAPI_EVENT_SECOND_DOWN)
		level = SD_WARNING;
	ftjournal_event(level, e);
	history_note(e);
	on_guest_event(e);
}

static int on_events(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	int ret = ftnl_read_events(&events, on_news, NULL);

	(void)fd;
	(void)revents;
	(void)arg;
	if (!ret)
		return 0;
	ft_log(SD_ERR, "cannot read the kernel's events any more: %s", strerror(-ret));
	sd_event_source_set_enabled(s, SD_EVENT_OFF);
	return 0;
}

static int watch_events(struct fterr *err)
{
	int ret = ftnl_open_events(&events, err);

	if (ret)
		return ret;
	ret = sd_event_add_io(ftd_loop, &events_source, mnl_socket_get_fd(events.sock), EPOLLIN,
			      on_events, NULL);
	if (ret < 0)
		return ft_fail(err, ret, "cannot watch the kernel's events: %s", strerror(-ret));
	/* An event is read before the end of the operation that caused it. */
	sd_event_source_set_priority(events_source, SD_EVENT_PRIORITY_IMPORTANT);
	if (!events.family)
		ft_log(SD_WARNING, "the kernel module ftkvm is not loaded; run: modprobe ftkvm");
	return 0;
}

/* --- the end --------------------------------------------------------------- */

static bool anything_busy(void)
{
	struct guest *g;

	for (g = ftd_guests; g; g = g->next)
		if (g->busy)
			return true;
	return devices_busy();
}

static int on_stop_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	static int64_t deadline;

	(void)arg;
	if (!deadline)
		deadline = ft_now_ms() + STOP_MS;
	if (!anything_busy() || ft_now_ms() > deadline)
		return sd_event_exit(ftd_loop, 0);
	sd_event_source_set_time(s, usec + STOP_POLL_US);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	static bool stopping;
	struct guest *g;

	(void)s;
	(void)si;
	(void)arg;
	if (stopping)
		return 0;
	stopping = true;
	sd_notify(0, "STOPPING=1");
	again_end();
	/* QEMU would copy on, and stop its guest in the end, with nobody there to go on with it */
	for (g = ftd_guests; g; g = g->next)
		if (g->op)
			g->op->hung_up = true;
	control_close();
	devices_deaf();
	return sd_event_add_time_relative(ftd_loop, NULL, CLOCK_MONOTONIC, 0, 0, on_stop_timer, NULL);
}

static void forget_guests(void)
{
	struct guest *g, *next;

	/* The list on disk stays: the next ftd takes them up again. */
	*ftd_state_path = '\0';
	for (g = ftd_guests; g; g = next) {
		next = g->next;
		guest_drop(g);
	}
	while (ftd_history) {
		struct history *h = ftd_history;

		ftd_history = h->next;
		free(h);
	}
}

/* --- the beginning --------------------------------------------------------- */

static const char usage[] =
	"Usage: ftd [--config PATH] [--control PATH] [--listen [ADDR][:PORT]] [--state PATH]\n"
	"           [--plain]\n"
	"       ftd --check [--config PATH]\n"
	"The daemon of ftkvm: see ftd(8).\n"
	"\n"
	"  --config PATH    the configuration file (" FT_CONFIG_FILE ", if it is there)\n"
	"  --check          say what is wrong in it, and do nothing else\n"
	"  These go before what the configuration file says:\n"
	"  --control PATH   the socket for ftctl (" FT_CONTROL_SOCKET ")\n"
	"  --listen WHERE   where the other hosts' ftd may connect (all addresses, port "
	FT_PEER_PORT ")\n"
	"  --state PATH     the list of attached guests ($FTD_STATE, or the control socket's path and \".guests\");\n"
	"                   that of devices is beside it (\".devices\")\n"
	"  --plain          neither encrypt nor authenticate connections to other hosts\n"
	"\n"
	"  --version, --help\n";

static int usage_error(const char *fmt, const char *what)
{
	fprintf(stderr, "ftd: ");
	fprintf(stderr, fmt, what);
	fprintf(stderr, "; see: ftd --help\n");
	return 2;
}

static void say_config(void *arg, const char *text)
{
	bool check = *(bool *)arg;

	if (check)
		fprintf(stderr, "%s\n", text);
	else
		ft_log(SD_ERR, "%s", text);
}

/* --- SIGHUP: the configuration is read again ------------------------------------ */

static const char *config_path;
static bool plain_link;

static struct reload *reloading;
static bool reload_once_more;

struct reload {
	struct job job;
	struct ftconfig *config;
	struct secure *secure;
	bool good;
};

static void reload_begin(void);

/* One at a time: an older one must not come after a newer one. */
static void reload_end(struct reload *r)
{
	free(r);
	reloading = NULL;
	if (reload_once_more)
		reload_begin();
	else
		sd_notify(0, "READY=1");
}

static void reload_take(struct reload *r)
{
	struct fterr err;
	int ret = failover_reload(r->config, &err);

	if (ret) {
		ft_log(SD_ERR, "the configuration stays as it was: %s", err.text);
		ftconfig_free(r->config);
		secure_free(r->secure);
	} else {
		secure_use(r->secure);
		devices_configure(ftd_config()->devices);
		ft_log(SD_NOTICE, "the configuration was read again; what is in [ftd] and [metrics] needs a restart");
	}
	reload_end(r);
}

/* A thread's: it looks at files that may be far away. */
static void reload_work(struct job *job)
{
	struct reload *r = (struct reload *)job;
	bool check = false;
	struct fterr err;

	if (ftconfig_read(config_path, &r->config, say_config, &check))
		return;
	r->good = !secure_load(r->config, plain_link, &r->secure, &err);
	if (r->good)
		return;
	say_config(&check, err.text);
	ftconfig_free(r->config);
}

static void reload_done(struct job *job)
{
	struct reload *r = (struct reload *)job;

	if (r->good) {
		reload_take(r);
		return;
	}
	ft_log(SD_ERR, "the configuration stays as it was");
	reload_end(r);
}

static void reload_begin(void)
{
	struct reload *r = calloc(1, sizeof(*r));

	reload_once_more = false;
	if (!r)
		return;
	sd_notify(0, "RELOADING=1");
	reloading = r;
	r->job.work = reload_work;
	r->job.done = reload_done;
	if (job_start(&r->job))
		reload_end(r);
}

static int on_hangup(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	(void)s;
	(void)si;
	(void)arg;
	if (reloading)
		reload_once_more = true;
	else
		reload_begin();
	return 0;
}

static int check_config(const char *path)
{
	struct secure *secure;
	struct ftconfig *c;
	bool check = true;
	struct fterr err;

	if (ftconfig_read(path, &c, say_config, &check))
		return 1;
	if (secure_load(c, plain_link, &secure, &err)) {
		say_config(&check, err.text);
		ftconfig_free(c);
		return 1;
	}
	secure_free(secure);
	printf("%s: %s\n", c->file, c->there ? "good" : "good: it is not there, so all is as by default");
	ftconfig_free(c);
	return 0;
}

/* --- what QEMUs say ------------------------------------------------------------- */

static void cut_said(void)
{
	said_cut(ftd_state_path);
}

static struct look_timer said_timer = { .usec = SAID_US, .look = cut_said };

/* Without, ftd has enough to do: it is said, and again to who pairs. */
static int start_link(const struct ftconfig *config, struct fterr *err)
{
	struct secure *secure;
	int ret = secure_load(config, plain_link, &secure, err);

	if (ret)
		return ret;
	secure_use(secure);
	if (secure_probe(err))
		ft_log(SD_WARNING, "no guest can be paired: %s", err->text);
	return 0;
}

static int start(struct ftconfig *config, const char *control, const char *where,
		 struct fterr *err)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct fterr missing;
	sigset_t set;
	size_t i;
	int ret;

	/* Before any thread is made, so that all of them have it so. */
	sigemptyset(&set);
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);

	ret = sd_event_new(&ftd_loop);
	for (i = 0; ret >= 0 && i < ARRAY_SIZE(signals); i++)
		ret = sd_event_add_signal(ftd_loop, NULL, signals[i],
					  signals[i] == SIGHUP ? on_hangup : on_signal, NULL);
	if (ret >= 0)
		ret = sd_event_set_watchdog(ftd_loop, true);
	if (ret >= 0)
		ret = job_init();
	if (ret < 0)
		return ft_fail(err, ret, "cannot start: %s", strerror(-ret));
	ret = watch_events(err);
	/* Without the module there is nothing that could fail, and it is said only. */
	if (!privilege_complete(&missing)) {
		if (ret || events.family)
			ret = ft_fail(err, missing.code, "%s", missing.text);
		else
			ft_log(SD_WARNING, "%s", missing.text);
	}
	if (!ret)
		ret = failover_init(config, err);
	if (!ret)
		ret = start_link(config, err);
	if (!ret)
		ret = again_init(err);
	if (!ret)
		ret = second_init(err);
	if (!ret)
		ret = look_begin(&said_timer, err);
	if (!ret)
		ret = peer_listen(where, err);
	if (!ret && config->metrics.listen)
		ret = metrics_listen(config->metrics.listen, err);
	if (!ret)
		/* Last: who sees the socket may use it. */
		ret = control_listen(control, err);
	return ret;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'f' },
		{ "check", no_argument, NULL, 'C' },
		{ "control", required_argument, NULL, 'c' },
		{ "listen", required_argument, NULL, 'l' },
		{ "state", required_argument, NULL, 's' },
		{ "plain", no_argument, NULL, 'p' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	const char *control = NULL, *where = NULL, *state = NULL, *path = NULL;
	struct ftconfig *config;
	bool check = false;
	struct fterr err;
	int c, ret;

	setlocale(LC_CTYPE, "");
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'f':
			path = optarg;
			break;
		case 'C':
			check = true;
			break;
		case 'c':
			control = optarg;
			break;
		case 'l':
			where = optarg;
			break;
		case 's':
			state = optarg;
			break;
		case 'p':
			plain_link = true;
			break;
		case 'V':
			printf("ftd, ftkvm %s\n", FTKVM_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return 2;	/* getopt has said why */
		}
	}
	if (optind < argc)
		return usage_error("\"%s\" is no option", argv[optind]);
	if (check)
		return check_config(path);
	devkeep_begin();
	if (privilege_settle(&err)) {
		ft_log(SD_ERR, "%s", err.text);
		return 1;
	}
	if (ftconfig_read(path, &config, say_config, &check))
		return 1;
	config_path = path;
	control = control ? : config->control ? : FT_CONTROL_SOCKET;
	where = where ? : config->listen ? : ":" FT_PEER_PORT;
	state = state ? : config->state ? : getenv("FTD_STATE");
	if ((size_t)snprintf(ftd_state_path, sizeof(ftd_state_path), "%s%s", state ? state : control,
			     state ? "" : ".guests") >= sizeof(ftd_state_path))
		return usage_error("\"%s\" is too long a path", state ? state : control);
	if ((size_t)snprintf(ftd_devices_path, sizeof(ftd_devices_path), "%s.devices",
			     state ? state : control) >= sizeof(ftd_devices_path))
		return usage_error("\"%s\" is too long a path", state ? state : control);

	ret = start(config, control, where, &err);
	if (ret) {
		ft_log(SD_ERR, "%s", err.text);
		return 1;
	}
	guests_restore();
	devices_restore();
	devices_configure(ftd_config()->devices);
	devices_take_kept();
	ft_log(SD_NOTICE, "version %s, peers' port %d by %s, control socket %s", FTKVM_VERSION, peer_port(),
	       secure_words(), control);
	sd_notify(0, "READY=1");
	ret = sd_event_loop(ftd_loop);
	if (ret)
		ft_log(SD_ERR, "the event loop broke: %s", strerror(-ret));

	control_close();
	metrics_close();
	failover_close();
	devices_close();
	forget_guests();
	secure_use(NULL);
	ftnl_close(&events);
	return ret ? 1 : 0;
}
