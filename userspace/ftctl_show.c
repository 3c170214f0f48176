// SPDX-License-Identifier: GPL-2.0
/* ftctl: what only looks, or talks to the module alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "qmp.h"
#include "replica_json.h"
#include "text.h"
#include "view.h"

/* --- status, list ---------------------------------------------------------- */

static void print_summary(const struct ftviews *v)
{
	size_t i, n = 0, bad = 0;

	for (i = 0; i < v->n; i++) {
		n += !v->list[i].ended;
		bad += !v->list[i].ended && !ftview_protected(&v->list[i]);
	}
	if (bad)
		printf("%zu of %zu guest%s NOT PROTECTED\n\n", bad, n, n == 1 ? " is" : "s:");
	else if (n)
		printf("%s\n\n", n == 1 ? "The only guest is protected" : "All guests are protected");
}

static void print_no_ftd(const struct ftctl *ctl)
{
	printf("ftd does not run on this host (%s): nothing can be attached, paired or promoted\n"
	       "    NEXT     systemctl start ftd\n\n", ctl->control);
}

int cmd_status(struct ftctl *ctl)
{
	struct ftviews v;
	struct fterr err;
	json_t *list;
	size_t i;

	if (ftviews_get(ctl, ctl->name, &v, &err))
		return ftctl_error(&err);
	if (ctl->json) {
		list = json_array();
		for (i = 0; i < v.n; i++)
			json_array_append_new(list, ftview_json(&v.list[i]));
		ftviews_free(&v);
		return ftctl_print_json(list);
	}
	if (!v.answer)
		print_no_ftd(ctl);
	if (!v.n)
		printf("No guest is attached. To attach one:\n  ftctl attach NAME --qmp PATH\n");
	if (v.n && !ctl->name)
		print_summary(&v);
	for (i = 0; i < v.n; i++) {
		if (i)
			putchar('\n');
		ftview_print(&v.list[i], v.answer, stdout);
	}
	ftviews_free(&v);
	return FTCTL_OK;
}

static json_t *short_json(const struct ftview *v)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:b}", "name", v->r.name, "state",
			 ft_state_name(v->r.state), "role", ft_role_name(v->r.role), "peer", v->r.peer,
			 "pid", (json_int_t)v->r.pid, "protected", ftview_protected(v),
			 "ended", v->ended);
}

int cmd_list(struct ftctl *ctl)
{
	struct ftviews v;
	struct fterr err;
	json_t *list;
	size_t i;

	if (ftviews_get(ctl, NULL, &v, &err))
		return ftctl_error(&err);
	if (ctl->json) {
		list = json_array();
		for (i = 0; i < v.n; i++) {
			json_t *one = short_json(&v.list[i]);

			json_array_append_new(list, one ? one : json_object());
		}
		ftviews_free(&v);
		return ftctl_print_json(list);
	}
	if (v.n)
		printf("%-20s %-9s %-8s %-4s %8s  %s\n", "NAME", "STATE", "ROLE", "SAFE", "PID", "PEER");
	for (i = 0; i < v.n; i++) {
		const struct ftreplica *r = &v.list[i].r;

		printf("%-20s %-9s %-8s %-4s %8u  %s\n", r->name,
		       v.list[i].ended ? "ended" : ft_state_name(r->state), ft_role_name(r->role),
		       ftview_protected(&v.list[i]) ? "yes" : "NO", r->pid, *r->peer ? r->peer : "-");
	}
	ftviews_free(&v);
	return FTCTL_OK;
}

/* --- stats ----------------------------------------------------------------- */

static bool in_bytes(unsigned int stat)
{
	return stat == FTKVM_STAT_LOG_BYTES || stat == FTKVM_STAT_LAG_BYTES ||
	       stat == FTKVM_STAT_TX_BYTES || stat == FTKVM_STAT_RX_BYTES ||
	       stat == FTKVM_STAT_DISK_BYTES;
}

static bool in_ns(unsigned int stat)
{
	return stat == FTKVM_STAT_COMMIT_NS || stat == FTKVM_STAT_WAIT_NS ||
	       stat == FTKVM_STAT_TAKEOVER_NS || stat == FTKVM_STAT_VERIFY_NS;
}

/* @before: the same guest @seconds ago, or NULL */
static void print_stats(const struct ftview *v, const struct ftview *before, double seconds)
{
	unsigned int i;
	char text[32];

	printf("%s: %s, %s\n", v->r.name, ft_role_name(v->r.role),
	       v->ended ? "ended" : ft_state_name(v->r.state));
	for (i = 0; i <= FTKVM_STAT_MAX; i++) {
		uint64_t value = v->r.stats[i];

		if (!ft_stat_words(i) || !v->r.has_stat[i])
			continue;
		printf("  %-36s %20llu", ft_stat_words(i), (unsigned long long)value);
		if (before && !ft_stat_is_level(i) && value >= before->r.stats[i])
			printf(" %14.1f /s", (value - before->r.stats[i]) / seconds);
		else if (in_bytes(i) && value >= 1000)
			printf("   (%s)", ft_format_bytes(value, text, sizeof(text)));
		else if (in_ns(i) && value >= 1000)
			printf("   (%s)", ft_format_ns(value, text, sizeof(text)));
		putchar('\n');
	}
}

static json_t *stats_json(const struct ftview *v)
{
	json_t *json = short_json(v);

	if (!json)
		json = json_object();
	json_object_set_new(json, "stats", ft_stats_json(&v->r));
	return json;
}

static const struct ftview *same(const struct ftviews *v, const char *name)
{
	size_t i;

	for (i = 0; i < v->n; i++)
		if (!strcmp(v->list[i].r.name, name))
			return &v->list[i];
	return NULL;
}

static void show_stats(const struct ftctl *ctl, const struct ftviews *v, const struct ftviews *before,
		       double seconds)
{
	json_t *list = ctl->json ? json_array() : NULL;
	size_t i;

	for (i = 0; i < v->n; i++) {
		if (list) {
			json_array_append_new(list, stats_json(&v->list[i]));
			continue;
		}
		if (i)
			putchar('\n');
		print_stats(&v->list[i], same(before, v->list[i].r.name), seconds);
	}
	if (list)
		ftctl_print_json(list);
	else if (!v->n)
		printf("No guest is attached.\n");
	fflush(stdout);
}

int cmd_stats(struct ftctl *ctl)
{
	struct ftviews before = { 0 }, now;
	uint64_t then = 0, at;
	struct fterr err;

	for (;;) {
		if (ftviews_get(ctl, ctl->name, &now, &err)) {
			ftviews_free(&before);
			return ftctl_error(&err);
		}
		at = ft_boottime_ns();
		if (ctl->watch && !ctl->json && isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		else if (then && !ctl->json)
			putchar('\n');
		show_stats(ctl, &now, &before, (at - then) / 1e9);
		ftviews_free(&before);
		before = now;
		then = at;
		if (!ctl->watch || ferror(stdout))
			break;
		sleep(ctl->watch);
	}
	ftviews_free(&before);
	return FTCTL_OK;
}

/* --- monitor --------------------------------------------------------------- */

static void say_news(const struct ftctl *ctl, const char *event, const char *words)
{
	char at[40];
	uint64_t now = ft_boottime_ns();

	ft_format_time(now, at, sizeof(at));
	if (ctl->json)
		ftctl_print_json(json_pack("{s:s, s:I, s:s}", "time", at, "time_ns", (json_int_t)now,
					   "event", event));
	else
		printf("%s %s\n", at, words);
}

static void on_news(enum ftnl_news news, const struct ftevent *e, void *arg)
{
	const struct ftctl *ctl = arg;
	char at[40];

	switch (news) {
	case FTNL_NEWS_LOADED:
		say_news(ctl, "module-loaded", "the kernel module was loaded");
		return;
	case FTNL_NEWS_UNLOADED:
		say_news(ctl, "module-unloaded", "the kernel module was unloaded");
		return;
	case FTNL_NEWS_LOST:
		say_news(ctl, "events-lost", "events came too fast: some are lost; see: ftctl status");
		return;
	case FTNL_NEWS_EVENT:
		break;
	}
	if (ctl->json) {
		ftctl_print_json(ft_event_json(e));
		return;
	}
	printf("%s %s: %s; it is %s", ft_format_time(e->time_ns, at, sizeof(at)), e->name,
	       ft_event_words(e->event), ft_state_name(e->state));
	if (e->reason != FTKVM_REASON_NONE)
		printf(": %s", ft_reason_words(e->reason));
	printf(*e->detail ? " (%s)\n" : "%s\n", e->detail);
}

int cmd_monitor(struct ftctl *ctl)
{
	struct fterr err;
	struct ftnl nl;
	int ret;

	if (ftnl_open_events(&nl, &err))
		return ftctl_error(&err);
	if (!nl.family)
		fprintf(stderr, "ftctl: the kernel module ftkvm is not loaded yet (modprobe ftkvm); waiting\n");
	for (;;) {
		/* The reader of a pipe that goes away ends us, event or not. */
		struct pollfd fds[] = {
			{ .fd = mnl_socket_get_fd(nl.sock), .events = POLLIN },
			{ .fd = STDOUT_FILENO },
		};

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents & (POLLERR | POLLHUP | POLLNVAL))
			break;
		ret = ftnl_read_events(&nl, on_news, ctl);
		fflush(stdout);
		if (ret) {
			ft_fail(&err, ret, "cannot read the kernel's events any more: %s", strerror(-ret));
			ftnl_close(&nl);
			return ftctl_error(&err);
		}
	}
	ftnl_close(&nl);
	return FTCTL_OK;
}

/* --- set ------------------------------------------------------------------- */

int cmd_set(struct ftctl *ctl)
{
	struct fterr err;

	if (ftnl_set(ctl->name, &ctl->set, &err))
		return ftctl_error(&err);
	if (ctl->json)
		return ftctl_print_json(json_pack("{s:b}", "ok", 1));
	printf("Guest %s: set.\n", ctl->name);
	return FTCTL_OK;
}

/* --- check ----------------------------------------------------------------- */

/*
 * The module can tell that there is a counter, not that it counts exactly: that
 * takes a guest of one's own, and minutes.
 */
#define QUALIFY		"pmu-qualify"
#define QUALIFY_RUN	"tests/pmu-qualify/run"	/* in the sources */

static json_t *fitness_json(void)
{
	return json_pack("{s:b, s:s, s:s}", "known", 0, "told_by", QUALIFY, "run", QUALIFY_RUN);
}

static void print_fitness(void)
{
	printf("Whether its counter is exact, and how late it is, " QUALIFY " tells: run\n"
	       QUALIFY_RUN " (in ftkvm's sources), once on each kind of host.\n");
}

static void print_problems(const struct ftctl *ctl, const struct ftproblems *p)
{
	const char *what = ctl->name || ctl->qmp ? "This guest" : "This host";
	size_t i;

	if (!p->n) {
		printf("%s can %s (module %s, protocol %u).\n", what,
		       ctl->name || ctl->qmp ? "be protected here" : "protect guests", p->module_version,
		       p->proto_version);
		return;
	}
	printf("%s can't %s:\n", what, ctl->name || ctl->qmp ? "be protected here" : "protect guests");
	for (i = 0; i < p->n; i++)
		printf("  %s: %s\n      %s\n", p->list[i].scope == FTKVM_SCOPE_GUEST ? "guest" : "host",
		       p->list[i].cause, p->list[i].remedy);
}

/* By which order; what is begun for one kind of guest is refused for the other. */
static void print_how(const char *status)
{
	if (!strcmp(status, "running"))
		printf("It runs: attach it here, then run: ftctl protect. For ftctl pair it would have to wait (-S).\n");
	else if (!strcmp(status, "prelaunch"))
		printf("It waits: attach it on both hosts, then run: ftctl pair. For ftctl protect it would have to run.\n");
	else if (!strcmp(status, "inmigrate"))
		printf("It waits to be another host's guest's backup: attach it here, then run there: ftctl protect.\n");
	else
		printf("It stands still (QEMU says \"%s\"): let it go on first, then: ftctl protect.\n", status);
}

/* The module's findings; that it is not there is one too. */
static int check_module(int vm_fd, struct ftproblems *p, struct fterr *err)
{
	struct ftnl nl;
	int ret = ftnl_open(&nl, err);

	if (ret == -ENOENT) {
		ftproblem_add(p, FTKVM_SCOPE_HOST, "run: modprobe ftkvm",
			      "the kernel module ftkvm is not loaded");
		return 0;
	}
	if (ret)
		return ret;
	ftnl_close(&nl);
	return ftnl_check(NULL, vm_fd, p, err);
}

/* @status: what QEMU does with it */
static int check_qmp(const struct ftctl *ctl, char *status, size_t size, struct ftproblems *p, struct fterr *err)
{
	struct ftproblems told = { 0 };
	struct ftqmp q;
	int fd = -1, ret;
	size_t i;

	ret = ftqmp_open(&q, ctl->qmp, err);
	if (ret)
		return ret;
	/* QEMU's own view names devices by what the user gave them: it comes first. */
	ret = ftqmp_status(&q, status, size, err);
	if (!ret)
		ret = ft_guest_problems(&q, p, err);
	if (!ret) {
		for (i = 0; i < p->n; i++)
			if (strstr(p->list[i].remedy, "-accel kvm"))
				break;
		if (i == p->n)
			fd = ft_vm_fd(q.pid, err);
		if (i == p->n && fd < 0)
			ret = fd;
	}
	if (!ret)
		ret = check_module(fd, &told, err);
	for (i = 0; i < told.n; i++)
		ftproblem_add(p, told.list[i].scope, told.list[i].remedy, "%s", told.list[i].cause);
	memcpy(p->module_version, told.module_version, sizeof(p->module_version));
	p->proto_version = told.proto_version;
	free(told.list);
	if (fd >= 0)
		close(fd);
	ftqmp_close(&q);
	return ret;
}

static int check_by_ftd(const struct ftctl *ctl, struct ftproblems *p, struct fterr *err)
{
	json_t *answer = ftctl_ask(ctl, json_pack("{s:s, s:s}", "cmd", "check", "name", ctl->name), err);
	int ret = 0;

	if (!answer)
		return err->code;
	if (!ft_problems_from_json(answer, p))
		ret = ft_fail(err, -EBADMSG, "what ftd answers makes no sense; are ftctl and ftd of the same "
			      "version?");
	json_decref(answer);
	return ret;
}

int cmd_check(struct ftctl *ctl)
{
	bool of_host = !ctl->qmp && !ctl->name;
	struct ftproblems p = { 0 };
	char status[32] = "";
	struct fterr err;
	json_t *json;
	int ret;

	if (ctl->qmp)
		ret = check_qmp(ctl, status, sizeof(status), &p, &err);
	else if (ctl->name)
		ret = check_by_ftd(ctl, &p, &err);
	else
		ret = check_module(-1, &p, &err);
	if (ret) {
		free(p.list);
		return ftctl_error(&err);
	}
	ret = p.n ? FTCTL_REFUSED : FTCTL_OK;
	if (ctl->json) {
		json = ft_problems_json(&p);
		if (of_host)
			json_object_set_new(json, "counter_fitness", fitness_json());
		if (*status)
			json_object_set_new(json, "status", json_string(status));
		ftctl_print_json(json);
	} else {
		print_problems(ctl, &p);
		if (of_host)
			print_fitness();
		if (*status && !p.n)
			print_how(status);
	}
	free(p.list);
	return ret;
}
