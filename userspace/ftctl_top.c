// SPDX-License-Identifier: GPL-2.0
/* ftctl top: how fast the guests go, as top(1) shows processes. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "rates.h"
#include "replica_json.h"
#include "text.h"
#include "top.h"

#define DELAY_MS	2000
#define COLUMNS		80
#define ROWS		24

/* --- one look --------------------------------------------------------------- */

struct column {
	const char *title;
	unsigned int stat;
	bool bytes;
};

/* What is shown as so many a second; epochs first, and then those of each kind. */
static const struct column columns[] = {
	{ "EPOCHS", FTKVM_STAT_EPOCHS, false },
	{ "SNAP", FTKVM_STAT_EPOCHS_SNAPPED, false },
	{ "HALT", FTKVM_STAT_EPOCHS_HALTED, false },
	{ "LAND", FTKVM_STAT_EPOCHS_LANDED, false },
	{ "SKIP", FTKVM_STAT_EPOCHS_SKIPPED, false },
	{ "IN", FTKVM_STAT_INPUTS, false },
	{ "OUT", FTKVM_STAT_OUTPUTS, false },
	{ "LOG", FTKVM_STAT_LOG_BYTES, true },
	{ "EXITS", FTKVM_STAT_EXITS, false },
};

/* Six characters at most, below 1e15. */
static char *brief(double value, char *buf, size_t size)
{
	static const char units[] = " kMGT";
	unsigned int i = 0;

	while (value >= 999.5 && units[i + 1]) {
		value /= 1000;
		i++;
	}
	if (!i)
		snprintf(buf, size, value < 9.95 && value > 0 ? "%.1f" : "%.0f", value);
	else
		snprintf(buf, size, value < 99.95 ? "%.1f%c" : "%.0f%c", value, units[i]);
	return buf;
}

static void print_head(FILE *to)
{
	size_t i;

	fprintf(to, "%-16s %-9s %-7s %-4s", "NAME", "STATE", "ROLE", "LINK");
	for (i = 0; i < ARRAY_SIZE(columns); i++)
		fprintf(to, " %6s", columns[i].title);
	fprintf(to, " %5s %5s %9s\n", "LAG", "MAX", "COMMIT");
}

static void print_guest(const struct ftview *v, const struct ftrates *rates, FILE *to)
{
	const struct ftreplica *r = &v->r;
	bool leads = r->role == FTKVM_UAPI_ROLE_PRIMARY;
	char text[48];
	size_t i;

	fprintf(to, "%-15.15s%c %-9s %-7s %-4s", r->name, strlen(r->name) > 15 ? '+' : ' ',
		v->ended ? "ended" : ft_state_name(r->state), ft_role_name(r->role),
		v->ended || r->role == FTKVM_UAPI_ROLE_NONE ? "-" : r->stats[FTKVM_STAT_LINKED] ? "up" : "DOWN");
	for (i = 0; i < ARRAY_SIZE(columns); i++)
		fprintf(to, " %6s", rates->has[columns[i].stat] ?
			brief(rates->per_s[columns[i].stat], text, sizeof(text)) : "-");
	/* only the primary sees both ends */
	fprintf(to, " %5s", leads ? brief(r->stats[FTKVM_STAT_LAG_EPOCHS], text, sizeof(text)) : "-");
	fprintf(to, " %5s", leads ? brief(r->stats[FTKVM_STAT_LAG_MAX], text, sizeof(text)) : "-");
	fprintf(to, " %9s\n", rates->commit_ns >= 0 ? ft_format_ns(rates->commit_ns, text, sizeof(text)) : "-");
}

void fttop_print(const struct fttop *top, FILE *to)
{
	size_t i, n = 0, bad = 0;
	char at[40];

	for (i = 0; i < top->now.n; i++) {
		n += !top->now.list[i].ended;
		bad += !top->now.list[i].ended && !ftview_protected(&top->now.list[i]);
	}
	fprintf(to, "ftctl top: %s, %s", ft_format_time(top->at_ns, at, sizeof(at)),
		ft_format_count(n, "guest", (char[48]){ 0 }, 48));
	if (bad)
		fprintf(to, ", %zu NOT PROTECTED", bad);
	fprintf(to, top->now.answer ? "\n" : "; ftd does not run\n");
	print_head(to);
	for (i = 0; i < top->now.n; i++)
		print_guest(&top->now.list[i], &top->rates[i], to);
}

static json_t *rates_json(const struct ftrates *rates)
{
	json_t *json;
	unsigned int i;

	if (!rates->known)
		return json_null();
	json = json_object();
	for (i = 0; i <= FTKVM_STAT_MAX; i++)
		if (rates->has[i])
			json_object_set_new(json, ft_stat_name(i), json_real(rates->per_s[i]));
	return json;
}

json_t *fttop_json(const struct fttop *top)
{
	json_t *json = json_object(), *list = json_array();
	char at[40];
	size_t i;

	json_object_set_new(json, "time", json_string(ft_format_time(top->at_ns, at, sizeof(at))));
	json_object_set_new(json, "time_ns", json_integer(top->at_ns));
	json_object_set_new(json, "seconds", top->seconds > 0 ? json_real(top->seconds) : json_null());
	for (i = 0; i < top->now.n; i++) {
		const struct ftrates *rates = &top->rates[i];
		const struct ftview *v = &top->now.list[i];
		json_t *one = json_object();

		json_object_set_new(one, "name", json_string(v->r.name));
		json_object_set_new(one, "state", json_string(ft_state_name(v->r.state)));
		json_object_set_new(one, "role", json_string(ft_role_name(v->r.role)));
		json_object_set_new(one, "ended", json_boolean(v->ended));
		json_object_set_new(one, "protected", json_boolean(ftview_protected(v)));
		json_object_set_new(one, "per_second", rates_json(rates));
		json_object_set_new(one, "commit_ns", rates->commit_ns >= 0 ? json_real(rates->commit_ns) :
							json_null());
		json_object_set_new(one, "stats", ft_stats_json(&v->r));
		json_array_append_new(list, one);
	}
	json_object_set_new(json, "guests", list);
	return json;
}

static const struct ftreplica *earlier(const struct ftviews *before, const char *name)
{
	size_t i;

	for (i = 0; i < before->n; i++)
		if (!strcmp(before->list[i].r.name, name))
			return &before->list[i].r;
	return NULL;
}

void fttop_take(struct fttop *top, struct ftviews *now, uint64_t at_ns)
{
	struct ftviews before = top->now;
	size_t i;

	top->seconds = top->at_ns ? (at_ns - top->at_ns) / 1e9 : 0;
	top->at_ns = at_ns;
	top->now = *now;
	free(top->rates);
	top->rates = calloc(now->n ? now->n : 1, sizeof(*top->rates));
	if (!top->rates)
		abort();
	for (i = 0; i < now->n; i++)
		ft_rates(earlier(&before, now->list[i].r.name), &now->list[i].r, top->seconds, &top->rates[i]);
	ftviews_free(&before);
}

void fttop_free(struct fttop *top)
{
	ftviews_free(&top->now);
	free(top->rates);
}

/* --- a terminal --------------------------------------------------------------- */

static struct termios normal;
static bool changed;
static volatile sig_atomic_t ended, resized;

static void on_signal(int number)
{
	if (number == SIGWINCH || number == SIGCONT)
		resized = number;
	else
		ended = number;
}

/* Keys are read one by one, unseen; ^C and ^Z do what they always do. */
static void take_keys(void)
{
	struct termios raw = normal;

	raw.c_lflag &= ~(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	changed = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

static void give_back(void)
{
	if (changed)
		tcsetattr(STDIN_FILENO, TCSANOW, &normal);
	changed = false;
}

/* Signals come while nothing else is done, so that none is missed before a wait. */
static void catch_signals(sigset_t *waiting)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT };
	struct sigaction act = { .sa_handler = on_signal };
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		sigaddset(&set, numbers[i]);
		sigaction(numbers[i], &act, NULL);
	}
	sigprocmask(SIG_BLOCK, &set, waiting);
}

/* What fits, from the upper left corner on; lines stay lines. */
static void show(const char *text)
{
	struct winsize size = { .ws_col = COLUMNS, .ws_row = ROWS };
	int row;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
		size = (struct winsize){ .ws_col = COLUMNS, .ws_row = ROWS };
	fputs("\033[H", stdout);
	for (row = 1; *text && row < size.ws_row; row++) {
		int len = strcspn(text, "\n");

		printf("%.*s\033[K\n", len < size.ws_col ? len : size.ws_col - 1, text);
		text += len + !!text[len];
	}
	/* the last row is for the cursor */
	fputs("\033[J", stdout);
	fflush(stdout);
}

static void redraw(const struct fttop *top)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		abort();
	fttop_print(top, to);
	fclose(to);
	show(text);
	free(text);
}

/* Wait for the next look. Whether to go on: not after q, or a signal. */
static bool wait_at_terminal(const struct fttop *top, int64_t deadline, const sigset_t *waiting)
{
	struct pollfd in = { .fd = changed ? STDIN_FILENO : -1, .events = POLLIN };

	while (!ended) {
		int64_t left = deadline - ft_now_ms();
		struct timespec time = { .tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000 };
		char key;

		if (left <= 0)
			return true;
		if (ppoll(&in, 1, &time, waiting) < 0 && errno != EINTR)
			return false;
		if (resized) {
			/* after a stop the shell has had the terminal */
			if (resized == SIGCONT && in.fd >= 0)
				take_keys();
			resized = 0;
			redraw(top);
			continue;
		}
		if (in.revents & (POLLERR | POLLHUP | POLLNVAL))
			return false;
		if (!(in.revents & POLLIN))
			continue;
		if (read(STDIN_FILENO, &key, 1) == 1 && (key == 'q' || key == 'Q'))
			return false;
		in.revents = 0;
	}
	return false;
}

/* --- the command -------------------------------------------------------------- */

static void sleep_until(int64_t deadline)
{
	/* who reads a pipe and goes away ends us at once */
	struct pollfd out = { .fd = STDOUT_FILENO };
	int64_t left;

	while ((left = deadline - ft_now_ms()) > 0)
		if (poll(&out, 1, left < 86400000 ? left : 86400000) > 0)
			break;
}

int cmd_top(struct ftctl *ctl)
{
	bool terminal = !ctl->json && !ctl->top.batch && isatty(STDOUT_FILENO);
	uint64_t delay = ctl->top.delay_ms ? ctl->top.delay_ms : DELAY_MS, n;
	struct fttop top = { 0 };
	sigset_t waiting;
	struct fterr err;
	int ret = FTCTL_OK;

	if (terminal) {
		catch_signals(&waiting);
		if (!tcgetattr(STDIN_FILENO, &normal))
			take_keys();
		fputs("\033[2J", stdout);
	}
	for (n = 1;; n++) {
		int64_t next = ft_now_ms() + delay;
		struct ftviews now;

		if (ftviews_get(ctl, NULL, &now, &err)) {
			ret = FTCTL_REFUSED;
			break;
		}
		fttop_take(&top, &now, ft_boottime_ns());
		if (ctl->json)
			ftctl_print_json(fttop_json(&top));
		else if (terminal)
			redraw(&top);
		else
			fttop_print(&top, stdout);
		if (fflush(stdout) || ferror(stdout) || n == ctl->top.count)
			break;
		if (terminal && !wait_at_terminal(&top, next, &waiting))
			break;
		if (terminal)
			continue;
		sleep_until(next);
		if (!ctl->json)
			putchar('\n');
	}
	give_back();
	fttop_free(&top);
	return ret ? ftctl_error(&err) : FTCTL_OK;
}
