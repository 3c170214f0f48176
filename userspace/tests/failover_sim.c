// SPDX-License-Identifier: GPL-2.0
/*
 * Two ftd that lose each other, again and again: failover.c, the arbiter's client and its
 * engine are the real ones; what the module would say of a replica stands in memory that
 * a case's processes share. Each case draws what happens (the cable, hosts, daemons, the
 * arbiter: away, slow, its answer lost, a question that takes effect when nobody waits for
 * it any more) and when. However that goes, no two replicas may ever have gone on; one must
 * have won, as the arbiter's record says, and that one goes on if its host lives.
 *
 * usage: failover-sim DIRECTORY CASES [FIRST]
 * In the environment:
 *	SEED	what is drawn; another one each time without, and printed
 *	ARBITER	lines for [arbiter], where it is not to be one of files in DIRECTORY
 * The last line is "N passed, N failed".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../config.h"
#include "../failover.h"
#include "failover_sim.h"

#define JOBS		8	/* cases at a time; they mostly sleep */
#define STEPS		6
#define TIMEOUT_MS	20000	/* of the arbiter's, but in cases whose questions come late */
#define HASTY_MS	200
#define HASTY_OTHER_MS	1000	/* one that may be busy itself */

static const char *const roles[] = { "A", "B" };

/* --- a host's ftd ------------------------------------------------------------ */

static int on_event(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	(void)s;
	(void)si;
	(void)arg;
	failover_happened(&guest);
	return 0;
}

static void complain(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "failover-sim: %s\n", text);
}

static struct ftconfig *configuration(const char *path)
{
	struct ftconfig *c;

	if (ftconfig_read(path, &c, complain, NULL))
		exit(98);
	return c;
}

static void __attribute__((noreturn)) daemon_main(const char *config, int which, unsigned int seed)
{
	struct fterr err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	me = which;
	dice = seed;
	strcpy(guest.session, world->session);
	ftd_guests = &guest;
	if (sd_event_new(&ftd_loop) < 0 || sd_event_add_signal(ftd_loop, NULL, SIGUSR1, on_event, NULL) < 0 ||
	    job_init() || failover_init(configuration(config), &err))
		_exit(98);
	/* as when ftd begins: it looks at what there is */
	failover_happened(&guest);
	sd_event_loop(ftd_loop);
	_exit(98);
}

/* --- a case -------------------------------------------------------------------- */

struct driver {
	unsigned int seed;
	char dir[200], path[256], away[264], config[256];
	const char *arbiter;	/* lines for it; NULL: files in @path */
	struct arbiter *judge;	/* the same, of the driver's */
	pid_t daemon[2];
	bool on[2];		/* the host has power */
	bool cut, is_away;
	char story[512];
};

static void tell(struct driver *d, const char *what, int which)
{
	size_t at = strlen(d->story);

	snprintf(d->story + at, sizeof(d->story) - at, " %s%s", what, which < 0 ? "" : roles[which]);
}

static void daemon_begin(struct driver *d, int which)
{
	pid_t pid = fork();

	if (!pid)
		daemon_main(d->config, which, d->seed * 2 + which);
	d->daemon[which] = pid;
}

static void daemon_end(struct driver *d, int which)
{
	if (d->daemon[which] > 0) {
		kill(d->daemon[which], SIGKILL);
		waitpid(d->daemon[which], NULL, 0);
	}
	d->daemon[which] = 0;
}

/* The module of @which has lost the peer. */
static void lose(struct driver *d, int which)
{
	int from = which ? FTKVM_UAPI_STATE_BACKUP : FTKVM_UAPI_STATE_PRIMARY;

	if (!d->on[which])
		return;
	if (which && atomic_load(&world->r[which].state) == from)
		atomic_store(&world->orphan_at, ft_now_ms());
	atomic_compare_exchange_strong(&world->r[which].state, &from,
				       which ? FTKVM_UAPI_STATE_ORPHAN : FTKVM_UAPI_STATE_UNDECIDED);
	if (d->daemon[which] > 0)
		kill(d->daemon[which], SIGUSR1);
}

static void lose_both(struct driver *d)
{
	int first = draw(&d->seed, 2);

	d->cut = true;
	lose(d, first);
	if (draw(&d->seed, 3))
		nap(draw(&d->seed, 20));
	lose(d, !first);
}

static void power_off(struct driver *d, int which)
{
	d->on[which] = false;
	atomic_store(&world->r[which].off, true);
	daemon_end(d, which);
	tell(d, "off", which);
	nap(draw(&d->seed, 10));
	lose(d, !which);
}

/* Nobody reaches it, or everybody does again. Whether that is so now. */
static bool arbiter_goes(struct driver *d, bool away)
{
	if (d->is_away == away)
		return false;
	if (d->arbiter)
		atomic_store(&world->away, away);
	else if (rename(away ? d->path : d->away, away ? d->away : d->path))
		return false;
	d->is_away = away;
	return true;
}

static void step(struct driver *d)
{
	int which = draw(&d->seed, 2);

	switch (draw(&d->seed, 9)) {
	case 0:
	case 1:
		if (!d->cut) {
			tell(d, "cut", -1);
			lose_both(d);
		}
		break;
	case 2:
		/* one of two at most: else nobody is left */
		if (d->on[0] && d->on[1])
			power_off(d, which);
		break;
	case 3:
		if (d->on[which] && d->daemon[which]) {
			tell(d, "kill-ftd", which);
			daemon_end(d, which);
		}
		break;
	case 4:
		if (d->on[which] && !d->daemon[which]) {
			tell(d, "ftd", which);
			daemon_begin(d, which);
		}
		break;
	case 5:
		if (arbiter_goes(d, true))
			tell(d, "arbiter-away", -1);
		break;
	case 6:
		if (arbiter_goes(d, false))
			tell(d, "arbiter-back", -1);
		break;
	case 7:
		if (world->second) {
			atomic_store(&world->second_cut, !atomic_load(&world->second_cut));
			tell(d, "second-path", -1);
		}
		break;
	}
	nap(draw(&d->seed, 40));
}

static int went_on(void)
{
	return atomic_load(&world->r[0].went_on) + atomic_load(&world->r[1].went_on);
}

/* What has come of it is what the arbiter was told. One that is off may have won before, or have lived even. */
static const char *look_at_record(const struct driver *d, int64_t end)
{
	struct fterr err;
	bool won = false;
	int ret, winner;

	do
		ret = arbiter_keep(d->judge, world->session, &err);
	while (ret && ret != -EALREADY && ret != -ENOENT && ft_now_ms() < end);
	if (ret != -EALREADY)
		return "it is over, and nobody has won";
	/* nothing is claimed by that any more */
	do
		ret = __real_arbiter_claim(d->judge, world->session, "primary", &won, &err);
	while (ret && ft_now_ms() < end);
	if (ret)
		return "nobody knows who has won";
	winner = won ? 0 : 1;
	if (atomic_load(&world->r[!winner].went_on))
		return "one went on that had not won";
	if (d->on[winner] && !atomic_load(&world->r[winner].went_on))
		return "the winner did not go on";
	return NULL;
}

/* Whatever broke is mended, but for hosts that are off. Then it has to come to an end. */
static const char *settle(struct driver *d)
{
	int64_t end = ft_now_ms() + SETTLE_MS;
	int i;

	if (!d->cut && d->on[0] && d->on[1])
		lose_both(d);
	arbiter_goes(d, false);
	for (i = 0; i < 2; i++)
		if (d->on[i] && !d->daemon[i])
			daemon_begin(d, i);
	while (ft_now_ms() < end) {
		bool open = false;

		if (went_on() > 1)
			return "both went on";
		for (i = 0; i < 2; i++)
			if (d->on[i])
				open |= atomic_load(&world->r[i].state) != FTKVM_UAPI_STATE_SOLO &&
					atomic_load(&world->r[i].state) != FTKVM_UAPI_STATE_STOPPED;
		if (!open)
			break;
		nap(5);
	}
	if (atomic_load(&world->early))
		return "it was claimed for a replica that lags";
	if (ft_now_ms() >= end)
		return "one still waits";
	return look_at_record(d, end);
}

static bool configure(const struct driver *d, unsigned int timeout_ms)
{
	FILE *file = fopen(d->config, "we");

	if (!file)
		return false;
	fprintf(file, "[arbiter]\ntimeout-ms = %u\n", timeout_ms);
	if (d->arbiter)
		fprintf(file, "%s\n", d->arbiter);
	else
		fprintf(file, "type = file\npath = %s\n", d->path);
	return !fclose(file);
}

/* A session, however busy the arbiter is, or dead for a while. */
static bool pair(struct driver *d)
{
	int64_t end = ft_now_ms() + SETTLE_MS;
	struct fterr err;

	if (!configure(d, TIMEOUT_MS) || arbiter_new(configuration(d->config), &d->judge, &err))
		return false;
	while (ft_uuid(world->session, &err) || arbiter_begin(d->judge, world->session, "guest", &err)) {
		fprintf(stderr, "failover-sim: %s\n", err.text);
		if (ft_now_ms() > end)
			return false;
		nap(100);
	}
	return configure(d, world->timeout_ms);
}

static bool run_case(const char *dir, unsigned int number, unsigned int seed)
{
	struct driver d = { .seed = seed + number * 2654435761u, .on = { true, true }, .arbiter = getenv("ARBITER") };
	const char *wrong;
	int i;

	snprintf(d.dir, sizeof(d.dir), "%s/%u", dir, number);
	snprintf(d.path, sizeof(d.path), "%s/sessions", d.dir);
	snprintf(d.away, sizeof(d.away), "%s.away", d.path);
	snprintf(d.config, sizeof(d.config), "%s/conf", d.dir);
	if (mkdir(d.dir, 0700) || mkdir(d.path, 0700))
		return false;
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (world == MAP_FAILED)
		return false;
	world->slow = draw(&d.seed, 2) * 500;
	world->unheard = draw(&d.seed, 3) ? 0 : 400;
	/* both together, and some cases would not come to an end in time */
	world->late = !world->unheard && draw(&d.seed, 2) ? 500 : 0;
	world->timeout_ms = !world->late ? TIMEOUT_MS : d.arbiter ? HASTY_OTHER_MS : HASTY_MS;
	world->second = draw(&d.seed, 2);
	world->lag_ms = draw(&d.seed, 2) * draw(&d.seed, 80);
	world->stuck = !draw(&d.seed, 16);
	atomic_store(&world->r[0].state, FTKVM_UAPI_STATE_PRIMARY);
	atomic_store(&world->r[1].state, FTKVM_UAPI_STATE_BACKUP);
	if (!pair(&d)) {
		printf("case %u: no session could be begun\n", number);
		return false;
	}
	for (i = 0; i < 2; i++)
		daemon_begin(&d, i);
	for (i = 0; i < STEPS; i++)
		step(&d);
	wrong = settle(&d);
	for (i = 0; i < 2; i++)
		daemon_end(&d, i);
	if (wrong)
		printf("case %u: %s (A %d, B %d):%s\n", number, wrong, atomic_load(&world->r[0].state),
		       atomic_load(&world->r[1].state), d.story);
	return !wrong;
}

/* As it was said, or another one each time. */
static unsigned int seed_to_use(void)
{
	const char *text = getenv("SEED");
	unsigned int seed = 1;

	if (text && *text)
		return strtoul(text, NULL, 0);
	return getrandom(&seed, sizeof(seed), 0) == sizeof(seed) ? seed : 1;
}

int main(int argc, char **argv)
{
	unsigned int seed = seed_to_use();
	unsigned int cases, first, next, running = 0, passed = 0, failed = 0;
	sigset_t set;

	if (argc < 3)
		return 2;
	cases = strtoul(argv[2], NULL, 0);
	first = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("SEED=%u\n", seed);
	/* an event for a daemon that is just beginning waits */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (next = 0; next < cases || running; ) {
		int status;

		if (next < cases && running < JOBS) {
			if (!fork()) {
				/* the daemons' logs are of use for one case alone */
				if (cases > 1 && !freopen("/dev/null", "w", stderr))
					_exit(1);
				exit(!run_case(argv[1], first + next, seed));
			}
			next++;
			running++;
			continue;
		}
		wait(&status);
		running--;
		if (WIFEXITED(status) && !WEXITSTATUS(status))
			passed++;
		else
			failed++;
		if ((passed + failed) % 500 == 0)
			printf("%u of %u\n", passed + failed, cases);
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed ? 1 : 0;
}
