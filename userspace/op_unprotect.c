// SPDX-License-Identifier: GPL-2.0
/*
 * The opposite of op_protect.c: the pairing ends, the guest goes on where it is live, and what
 * is left of it on the other host goes.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "again.h"
#include "config.h"
#include "op.h"
#include "peer.h"
#include "peer_call.h"
#include "replica_json.h"
#include "text.h"

#define STOP_MS		5000	/* the modules tell each other at once */
#define POLL_US		20000

/* --- the primary's host ---------------------------------------------------- */

/* What came of it is no failure of the command's: the guest is alone by now. */
static void clear_peer(struct op *op)
{
	json_t *answer = NULL;
	struct fterr err;
	int fd = peer_connect(op->peer, &err), ret = fd;

	if (fd >= 0) {
		ret = peer_ask(fd, op->peer,
			       json_pack("{s:i, s:s, s:s, s:b, s:i}", "ftd", PEER_VERSION, "version", FTKVM_VERSION, "guest",
					 *op->peer_name ? op->peer_name : op->name, "over", 1, "port", peer_port()),
			       &answer, &err);
		close(fd);
	}
	json_decref(answer);
	if (ret < 0)
		op_warn(op, "guest %s's replica at %s is left there; see to it that it never goes on: %s", op->name, op->peer,
			err.text);
	op->result = json_pack("{s:s, s:b}", "peer", op->peer, "cleared", ret >= 0);
}

static void unprotect_work(struct op *op)
{
	struct ftreplica r;

	op->ret = ftnl_get(op->name, &r, &op->err);
	if (op->ret)
		return;
	if (r.role == FTKVM_UAPI_ROLE_BACKUP && r.state != FTKVM_UAPI_STATE_SOLO) {
		op->ret = ft_fail(&op->err, -EINVAL, "guest %s is %s here: run it on the host that it is live on%s%s", op->name,
				  ft_state_name(r.state), *r.peer ? ", " : "", r.peer);
		return;
	}
	strcpy(op->peer, r.peer);
	strcpy(op->peer_name, !strcmp(r.peer, op->guest->left.peer) ? op->guest->left.guest : op->guest->peer_guest);
	/* one that has lost its peer is alone already, and is not to be protected again; or it never came to be paired */
	if (r.state != FTKVM_UAPI_STATE_SOLO && (r.state != FTKVM_UAPI_STATE_IDLE || !*r.peer))
		unpair_work(op);
	if (!op->ret && *op->peer)
		clear_peer(op);
}

static void unprotect_settle(struct op *op)
{
	if (!op->ret)
		again_dismiss(op->guest);
}

int op_unprotect(struct client *client, json_t *request, struct fterr *err)
{
	struct guest *g = guest_find(request_string(request, "name"));

	/* ftd is protecting it, by itself: that is what unpair ends as well */
	if (op_protects_by_itself(g))
		return op_unpair(client, request, err);
	return op_simple(client, request, "unprotect", unprotect_work, unprotect_settle, true, err);
}

/* --- the backup's ------------------------------------------------------------ */

/* Only what an unpairing has stopped is taken away, and only if ftd may start QEMUs. */
static void over_work(struct op *op)
{
	int64_t deadline = ft_now_ms() + STOP_MS;
	struct ftreplica r;

	for (;;) {
		op->ret = ftnl_get(op->name, &r, &op->err);
		/* the modules have told each other already, or are about to */
		if (op->ret || r.state != FTKVM_UAPI_STATE_BACKUP || strcmp(r.peer, op->peer) || ft_now_ms() >= deadline)
			break;
		usleep(POLL_US);
	}
	if (!op->ret && strcmp(r.peer, op->peer))
		op->ret = ft_fail(&op->err, -EPERM, "guest %s's primary is at %s, not %s", op->name, *r.peer ? r.peer : "no host",
				  op->peer);
	if (!op->ret && (r.state != FTKVM_UAPI_STATE_STOPPED || r.reason != FTKVM_REASON_UNPAIRED))
		op->ret = ft_fail(&op->err, -EBUSY, "guest %s is %s here (%s), not stopped by an unpairing", op->name,
				  ft_state_name(r.state), ft_reason_name(r.reason));
	if (!op->ret && !op->may_start)
		op->ret = ft_fail(&op->err, -EPERM, "ftd may not end its QEMU (process %d), as start = yes is not said in [guests] "
				  "of %s there: end it, then run there: ftctl detach %s", op->guest->pid, FT_CONFIG_FILE, op->name);
	if (!op->ret)
		op->ret = replica_clear(op);
	peer_say(op->sock, op->ret ? ft_error_json(&op->err) : json_pack("{s:b}", "ok", 1));
}

static void over_settle(struct op *op)
{
	if (op->ret)
		return;
	ft_log(SD_NOTICE, "guest %s is not protected by this host any more, says %s", op->name, op->peer);
	op->guest->gone = true;
}

void op_over(int sock, const char *from, json_t *request)
{
	struct op *op = op_new("clear", request_string(request, "guest"), over_work);
	struct fterr err;
	int ret;

	if (!op) {
		close(sock);
		return;
	}
	op->sock = sock;
	op->settle = over_settle;
	op->may_start = ftd_config()->guests.start;
	pair_peer_name(op, from, request);
	ret = op_guest(op, true, &err);
	if (!ret) {
		op_start(op);
		return;
	}
	/* nothing of it is here */
	peer_say(sock, ret == -ENOENT ? json_pack("{s:b}", "ok", 1) : ft_error_json(&err));
	op_free(op);
}
