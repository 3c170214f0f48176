/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Children of ours that may be stuck in the kernel, for ever and against all signals: one that is not gone in
 * time is left behind, to be reaped another time. If too many are, no more are made.
 */
#ifndef FTKVM_CHILDREN_H
#define FTKVM_CHILDREN_H

#include <pthread.h>
#include <sys/types.h>

#define CHILDREN_MAX	64	/* at a time */
#define CHILDREN_STUCK	8	/* of them that nobody waits for any more */

/**
 * struct children - those of one kind; any thread may have one made
 * @place: is free (0), or a caller's (-1), or has a child that was left behind, or, negative, a group of processes
 *	of one that was
 */
struct children {
	pthread_mutex_t lock;
	pid_t place[CHILDREN_MAX];
};

#define CHILDREN_INIT	{ .lock = PTHREAD_MUTEX_INITIALIZER }

/* A place for a child that is to be made, or -EBUSY. */
int children_take(struct children *c);
/* It is not needed any more. @stuck: 0, or what was left behind, as struct children has it. */
void children_leave(struct children *c, int place, pid_t stuck);

#endif
