// SPDX-License-Identifier: GPL-2.0
/*
 * Two ftd that lose each other, again and again: failover.c, the arbiter's client and its
 * files are the real ones; what the module would say of a replica stands in memory that
 * a case's processes share. Each case draws what happens (the cable, hosts, daemons, the
 * arbiter: away, slow, its answer lost) and when. However that goes, no two replicas
 * may ever have gone on; and one must, if a host was left that could ask.
 *
 * usage: failover-sim DIRECTORY CASES [FIRST]	SEED in the environment
 * The last line is "N passed, N failed".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../config.h"
#include "../failover.h"
#include "../nl_dev.h"
#include "../op.h"

#define JOBS		8	/* cases at a time; they mostly sleep */
#define SETTLE_MS	60000	/* however busy the machine is */
#define STEPS		6
#define DEFER_MS	300	/* how long a backup waits for its primary */

static const char *const roles[] = { "A", "B" };

/* What both "hosts" and the case's driver see. */
struct world {
	char session[FT_SESSION_MAX + 1];
	/*
	 * In some cases there is a second path, by which the backup hears that the primary's host
	 * lives: where it does, and the cable of that path is whole
	 */
	bool second;
	atomic_bool second_cut;
	_Atomic int64_t orphan_at;
	/* the backup's log comes to its end so much later; or, in a few cases, never */
	int lag_ms;
	bool stuck;
	atomic_bool early;	/* it claimed before that */
	struct replica {
		atomic_int state;
		atomic_bool off;
		atomic_bool went_on;	/* it was live alone, ever */
	} r[2];
	/* of a thousand questions */
	int slow, unheard;
};

static struct world *world;
static int me;			/* which of the hosts this process is */
static unsigned int dice;	/* this process's, for delays */

sd_event *ftd_loop;
struct guest *ftd_guests;
static struct guest guest = { .name = "guest" };

/* --- in the place of the module, and of what ftd does with guests ------------ */

/* kmod/core/beat.c, with a bound that no case waits long for. */
static uint64_t defer_ms(int state)
{
	int theirs = atomic_load(&world->r[0].state);

	if (!world->second || !me || state != FTKVM_UAPI_STATE_ORPHAN || atomic_load(&world->second_cut) ||
	    atomic_load(&world->r[0].off) || ft_now_ms() - atomic_load(&world->orphan_at) > DEFER_MS)
		return 0;
	return theirs == FTKVM_UAPI_STATE_PRIMARY || theirs == FTKVM_UAPI_STATE_UNDECIDED ? 10 : 0;
}

static uint64_t lag_bytes(void)
{
	int64_t orphan_at = atomic_load(&world->orphan_at), left = orphan_at + world->lag_ms - ft_now_ms();

	if (!me || !orphan_at)
		return 0;
	return world->stuck ? 1 : left > 0 ? left : 0;
}

static void fill(struct ftreplica *r)
{
	memset(r, 0, sizeof(*r));
	strcpy(r->name, guest.name);
	r->state = atomic_load(&world->r[me].state);
	r->role = me ? FTKVM_UAPI_ROLE_BACKUP : FTKVM_UAPI_ROLE_PRIMARY;
	r->reason = FTKVM_REASON_PEER_SILENT;
	r->stats[FTKVM_STAT_DEFER_MS] = defer_ms(r->state);
	r->stats[FTKVM_STAT_LAG_BYTES] = lag_bytes();
}

int ftnl_get(const char *name, struct ftreplica *r, struct fterr *err)
{
	(void)name;
	(void)err;
	fill(r);
	return 0;
}

int ftnl_dump(struct ftreplica **list, size_t *n, struct fterr *err)
{
	(void)err;
	*list = malloc(sizeof(**list));
	*n = *list ? 1 : 0;
	if (*list)
		fill(*list);
	return 0;
}

int ftnl_dev_dump(struct ftdev **list, size_t *n, struct fterr *err)
{
	(void)err;
	*list = NULL;
	*n = 0;
	return 0;
}

static int leave(int to)
{
	static const int waits[] = { FTKVM_UAPI_STATE_ORPHAN, FTKVM_UAPI_STATE_UNDECIDED };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(waits); i++) {
		int from = waits[i];

		if (atomic_compare_exchange_strong(&world->r[me].state, &from, to))
			return 0;
	}
	return -EINVAL;
}

int ftnl_fence(const char *name, struct fterr *err)
{
	(void)name;
	return leave(FTKVM_UAPI_STATE_STOPPED) ? ft_fail(err, -EINVAL, "it does not wait") : 0;
}

void promote_any(struct op *op)
{
	/* as if it took its time: it is live before anybody knows */
	op->ret = leave(FTKVM_UAPI_STATE_SOLO);
	if (!op->ret)
		atomic_store(&world->r[me].went_on, true);
}

bool op_own(struct guest *g, const char *what, void (*work)(struct op *op),
	    void (*settle)(struct op *op))
{
	struct op op = { .guest = g };

	(void)what;
	strcpy(op.name, g->name);
	strcpy(op.session, g->session);
	work(&op);
	settle(&op);
	return true;
}

struct guest *guest_find(const char *name)
{
	return strcmp(name, guest.name) ? NULL : &guest;
}

void guests_save(void)
{
}

const char *request_string(json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

static unsigned int draw(unsigned int *seed, unsigned int n)
{
	return rand_r(seed) % n;
}

static void nap(unsigned int ms)
{
	usleep(ms * 1000);
}

/* The network between a host and the arbiter. */
int __wrap_arbiter_claim(struct arbiter *a, const char *session, const char *who, bool *won, struct fterr *err);
int __real_arbiter_claim(struct arbiter *a, const char *session, const char *who, bool *won, struct fterr *err);

int __wrap_arbiter_claim(struct arbiter *a, const char *session, const char *who, bool *won, struct fterr *err)
{
	static atomic_uint calls;
	unsigned int seed = dice + atomic_fetch_add(&calls, 1);
	int ret;

	if (!world->stuck && lag_bytes())
		atomic_store(&world->early, true);
	if ((int)draw(&seed, 1000) < world->slow)
		nap(draw(&seed, 60));
	ret = __real_arbiter_claim(a, session, who, won, err);
	if ((int)draw(&seed, 1000) < world->unheard)
		return ft_fail(err, -ETIMEDOUT, "the answer was lost");
	return ret;
}

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
		if (!d->is_away && !rename(d->path, d->away)) {
			d->is_away = true;
			tell(d, "arbiter-away", -1);
		}
		break;
	case 6:
		if (d->is_away && !rename(d->away, d->path)) {
			d->is_away = false;
			tell(d, "arbiter-back", -1);
		}
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

/* Whatever broke is mended, but for hosts that are off. Then it has to come to an end. */
static const char *settle(struct driver *d)
{
	int64_t end = ft_now_ms() + SETTLE_MS;
	int i;

	if (!d->cut && d->on[0] && d->on[1])
		lose_both(d);
	if (d->is_away)
		rename(d->away, d->path);
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
	/* one that is off may have won before */
	if (d->on[0] && d->on[1] && went_on() != 1)
		return "nobody went on";
	return NULL;
}

static bool run_case(const char *dir, unsigned int number, unsigned int seed)
{
	struct driver d = { .seed = seed + number * 2654435761u, .on = { true, true } };
	struct arbiter *arbiter;
	const char *wrong;
	struct fterr err;
	FILE *file;
	int i;

	snprintf(d.dir, sizeof(d.dir), "%s/%u", dir, number);
	snprintf(d.path, sizeof(d.path), "%s/sessions", d.dir);
	snprintf(d.away, sizeof(d.away), "%s.away", d.path);
	snprintf(d.config, sizeof(d.config), "%s/conf", d.dir);
	if (mkdir(d.dir, 0700) || mkdir(d.path, 0700))
		return false;
	file = fopen(d.config, "we");
	if (!file)
		return false;
	fprintf(file, "[arbiter]\ntype = file\npath = %s\ntimeout-ms = 20000\n", d.path);
	fclose(file);
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (world == MAP_FAILED)
		return false;
	world->slow = draw(&d.seed, 2) * 500;
	world->unheard = draw(&d.seed, 3) ? 0 : 400;
	world->second = draw(&d.seed, 2);
	world->lag_ms = draw(&d.seed, 2) * draw(&d.seed, 80);
	world->stuck = !draw(&d.seed, 16);
	atomic_store(&world->r[0].state, FTKVM_UAPI_STATE_PRIMARY);
	atomic_store(&world->r[1].state, FTKVM_UAPI_STATE_BACKUP);
	if (arbiter_new(configuration(d.config), &arbiter, &err) || ft_uuid(world->session, &err) ||
	    arbiter_begin(arbiter, world->session, "guest", &err)) {
		fprintf(stderr, "failover-sim: %s\n", err.text);
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

int main(int argc, char **argv)
{
	const char *text = getenv("SEED");
	unsigned int seed = text && *text ? strtoul(text, NULL, 0) : 1;
	unsigned int cases, first, next, running = 0, passed = 0, failed = 0;
	sigset_t set;

	if (argc < 3)
		return 2;
	cases = strtoul(argv[2], NULL, 0);
	first = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
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
