// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include "children.h"

static bool is_gone(pid_t stuck)
{
	return stuck > 0 ? waitpid(stuck, NULL, WNOHANG) : kill(stuck, 0) && errno == ESRCH;
}

int children_take(struct children *c)
{
	int i, place = -EBUSY, stuck = 0;

	pthread_mutex_lock(&c->lock);
	for (i = 0; i < CHILDREN_MAX; i++) {
		bool left = c->place[i] && c->place[i] != -1;

		if (left && is_gone(c->place[i])) {
			c->place[i] = 0;
			left = false;
		}
		stuck += left;
		if (!c->place[i])
			place = i;
	}
	if (stuck >= CHILDREN_STUCK)
		place = -EBUSY;
	if (place >= 0)
		c->place[place] = -1;
	pthread_mutex_unlock(&c->lock);
	return place;
}

void children_leave(struct children *c, int place, pid_t stuck)
{
	pthread_mutex_lock(&c->lock);
	c->place[place] = stuck;
	pthread_mutex_unlock(&c->lock);
}
