/* SPDX-License-Identifier: GPL-2.0 */
/* What failover_sim.c and what stands around its daemons share. */
#ifndef FTKVM_FAILOVER_SIM_H
#define FTKVM_FAILOVER_SIM_H

#include <stdatomic.h>
#include "../arbiter.h"
#include "../op.h"

#define SETTLE_MS	60000	/* however busy the machine is */

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
	/* of a thousand questions; late ones may not be there yet when their time is over */
	int slow, unheard, late;
	unsigned int timeout_ms;
	/* nobody reaches the arbiter; one of files is moved away instead */
	atomic_bool away;
};

extern struct world *world;
extern struct guest guest;
extern int me;			/* which of the hosts this process is */
extern unsigned int dice;	/* this process's, for delays */

unsigned int draw(unsigned int *seed, unsigned int n);
void nap(unsigned int ms);

/* Past the network. */
int __real_arbiter_claim(struct arbiter *a, const char *session, const char *who, bool *won, struct fterr *err);

#endif
