// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lives.h"
#include "peer.h"
#include "peer_call.h"
#include "second.h"
#include "text.h"

#define SOON_MS		1000	/* to be reached, and again to answer: an operator waits */
#define TELLING_MAX	16	/* at a time */

/* --- who is asked ----------------------------------------------------------- */

struct telling {
	struct job job;
	int sock;
	char name[FTKVM_NAME_MAX + 1];
};

static unsigned int telling;

static void tell_work(struct job *job)
{
	struct telling *t = (struct telling *)job;
	struct fterr err;
	struct ftreplica r;
	json_t *answer = NULL;
	int ret = ftnl_get(t->name, &r, &err);

	if (!ret && !ft_process_gone(r.pid))
		answer = json_pack("{s:b, s:s}", "ok", 1, "state", ft_state_name(r.state));
	else if (!ret || ret == -ENOENT)
		answer = json_pack("{s:b}", "ok", 1);
	peer_say(t->sock, answer ? answer : ft_error_json(&err));
}

static void tell_done(struct job *job)
{
	struct telling *t = (struct telling *)job;

	close(t->sock);
	free(t);
	telling--;
}

void lives_tell(int sock, json_t *request)
{
	struct telling *t = telling < TELLING_MAX ? calloc(1, sizeof(*t)) : NULL;

	if (!t) {
		close(sock);
		return;
	}
	t->job.work = tell_work;
	t->job.done = tell_done;
	t->sock = sock;
	/* peer_parse() has looked at it */
	snprintf(t->name, sizeof(t->name), "%s", request_string(request, "lives"));
	telling++;
	if (job_start(&t->job))
		tell_done(&t->job);
}

/* --- who asks --------------------------------------------------------------- */

/* A new reference to the answer, or NULL: not known. */
static json_t *ask(const char *peer, const char *name)
{
	json_t *answer = NULL;
	struct fterr err;
	int fd = peer_connect_soon(peer, SOON_MS, &err);

	if (fd < 0)
		return NULL;
	if (!peer_say(fd, json_pack("{s:i, s:s}", "ftd", PEER_VERSION, "lives", name)))
		peer_answer(fd, peer, SOON_MS, &answer, &err);
	close(fd);
	return answer;
}

/* What goes on by that word, or follows who does; one that waits, too, has not gone on. */
static const char *has_it(const char *state)
{
	static const unsigned int states[] = {
		FTKVM_UAPI_STATE_PRIMARY, FTKVM_UAPI_STATE_SOLO, FTKVM_UAPI_STATE_BACKUP, FTKVM_UAPI_STATE_TAKEOVER,
	};
	size_t i;

	for (i = 0; state && i < ARRAY_SIZE(states); i++)
		if (!strcmp(state, ft_state_name(states[i])))
			return ft_state_name(states[i]);
	return NULL;
}

int lives_elsewhere(struct op *op, const struct ftreplica *r)
{
	const char *name = *op->peer_name ? op->peer_name : op->name, *state;
	json_t *answer = *r->peer ? ask(r->peer, name) : NULL;

	if (!answer && *op->second && strcmp(op->second, SECOND_NONE))
		answer = ask(op->second, name);
	state = has_it(json_string_value(json_object_get(answer, "state")));
	json_decref(answer);
	if (!state)
		return 0;
	return ft_fail(&op->err, -EBUSY, "the other host's replica of %s goes on: ftd at %s says that it is %s there, so what is here is of "
		       "before; fence this one: ftctl fence %s; or, where you know that it is not this guest, promote it with --force",
		       op->name, r->peer, state, op->name);
}
