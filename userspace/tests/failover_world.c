// SPDX-License-Identifier: GPL-2.0
/*
 * What stands around the daemons of failover_sim.c: a module that only knows of states, guests
 * that are promoted by a word, and a network that delays and loses what the arbiter is asked.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../nl_dev.h"
#include "failover_sim.h"

#define DEFER_MS	300	/* how long a backup waits for its primary */

struct world *world;
int me;
unsigned int dice;

sd_event *ftd_loop;
struct guest *ftd_guests;
struct guest guest = { .name = "guest" };

/* --- the module, and what ftd does with guests -------------------------------- */

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

unsigned int draw(unsigned int *seed, unsigned int n)
{
	return rand_r(seed) % n;
}

void nap(unsigned int ms)
{
	usleep(ms * 1000);
}

/* --- the network between a host and the arbiter ------------------------------- */

int __wrap_arbiter_claim(struct arbiter *a, const char *session, const char *who, bool *won, struct fterr *err);

/* It is on its way for so long, and arrives though who asked has given up, or died. */
static int claim_late(struct arbiter *a, const char *session, const char *who, bool *won, unsigned int ms,
		      struct fterr *err)
{
	pid_t child = fork();
	int fd, ret, status;

	if (!child) {
		alarm(SETTLE_MS / 1000);
		nap(ms);
		ret = __real_arbiter_claim(a, session, who, won, err);
		_exit(ret == -ENOENT ? 2 : ret ? 3 : *won);
	}
	if (child < 0)
		return ft_fail(err, -errno, "no process");
	fd = pidfd_open(child, 0);
	ret = fd < 0 ? -errno : ft_poll(fd, POLLIN, ft_now_ms() + world->timeout_ms);
	close(fd);
	if (ret || waitpid(child, &status, 0) != child)
		return ft_fail(err, -ETIMEDOUT, "the arbiter does not answer");
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		return ft_fail(err, WIFEXITED(status) && WEXITSTATUS(status) == 2 ? -ENOENT : -EIO, "no verdict");
	*won = WEXITSTATUS(status);
	return 0;
}

int __wrap_arbiter_claim(struct arbiter *a, const char *session, const char *who, bool *won, struct fterr *err)
{
	static atomic_uint calls;
	unsigned int seed = dice + atomic_fetch_add(&calls, 1);
	int ret;

	if (!world->stuck && lag_bytes())
		atomic_store(&world->early, true);
	if (atomic_load(&world->away))
		return ft_fail(err, -EHOSTUNREACH, "the arbiter is away");
	if ((int)draw(&seed, 1000) < world->slow)
		nap(draw(&seed, 60));
	if ((int)draw(&seed, 1000) < world->late)
		ret = claim_late(a, session, who, won, draw(&seed, 2 * world->timeout_ms), err);
	else
		ret = __real_arbiter_claim(a, session, who, won, err);
	if ((int)draw(&seed, 1000) < world->unheard)
		return ft_fail(err, -ETIMEDOUT, "the answer was lost");
	return ret;
}
