// SPDX-License-Identifier: GPL-2.0
/* Attach: from a monitor's path to a replica in the module. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "device.h"
#include "failover.h"
#include "migrate.h"
#include "op.h"

/*
 * The module knows the name. It may be this very guest (ftd was restarted), or
 * one whose QEMU is gone.
 */
static int name_taken(struct op *op, int vm_fd, bool *adopted)
{
	struct fterr *err = &op->err, taken = op->err;
	struct ftreplica r;
	int ret = ftnl_get(op->name, &r, err);

	if (ret == -ENOENT) {
		*err = taken;	/* it is the guest that is attached, by another name */
		return taken.code;
	}
	if (ret)
		return ret;
	if ((pid_t)r.pid == op->guest->qmp.pid) {
		*adopted = true;
		return 0;
	}
	if (!ft_process_gone(r.pid))
		return ft_fail(err, -EEXIST, "another guest (process %u) has the name %s; choose another name, "
			       "or run: ftctl detach %s", r.pid, op->name, op->name);
	ret = ftnl_detach(op->name, err);
	return ret ? ret : ftnl_attach(op->name, vm_fd, err);
}

int consoles_look(struct op *op, bool may_live, struct fterr *err)
{
	struct guest *g = op->guest;
	size_t i;

	for (i = 0; i < g->ncons; i++) {
		int ret = ftcon_verify(&g->qmp, &g->cons[i], may_live, err);

		if (ret)
			return ret;
	}
	return 0;
}

/* Another ftd may take the guest over from us, and we from another. */
static void keep_lines(struct op *op, bool adopted)
{
	struct guest *g = op->guest;
	char path[512];
	size_t i;

	for (i = 0; *op->state && i < g->ncons; i++) {
		snprintf(path, sizeof(path), "%s.%s.%zu.line", op->state, g->name, i);
		if (!adopted)
			unlink(path);
		ftcon_keep_in(&g->cons[i], path, g->pid);
	}
}

/* What [link] says; a guest that was attached before keeps what it has. 0 or -errno. */
static int attach_settings(struct op *op)
{
	struct ftsettings set = { .timeout_ms = op->timeout_ms };

	return op->timeout_ms ? ftnl_set(op->name, &set, &op->err) : 0;
}

void attach_work(struct op *op)
{
	struct ftproblems p = { 0 };
	struct guest *g = op->guest;
	bool adopted = false, ran;
	char status[32];
	int vm_fd = -1;

	op->ret = ftqmp_open(&g->qmp, op->qmp_path, &op->err);
	/* who had it started may have put a link to another one's monitor there */
	if (!op->ret && op->started > 0 && g->qmp.pid != op->started)
		op->ret = ft_fail(&op->err, -ESRCH, "%s is the monitor of another process (%d) than the one that was started "
				  "(%d)", op->qmp_path, g->qmp.pid, op->started);
	if (op->ret)
		goto out;
	g->pid = g->qmp.pid;
	vm_fd = ft_vm_fd(g->pid, &op->err);
	if (vm_fd < 0) {
		op->ret = vm_fd;
		goto out;
	}
	op->ret = ft_guest_problems(&g->qmp, &p, &op->err);
	if (!op->ret)
		op->ret = ftqmp_status(&g->qmp, status, sizeof(status), &op->err);
	if (op->ret)
		goto out;
	if (p.n) {
		char text[sizeof(op->err.text)];

		ft_problems_text(&p, text, sizeof(text));
		op->ret = ft_fail(&op->err, -EINVAL, "%s", text);
		goto out;
	}
	op->ret = ftnl_attach(op->name, vm_fd, &op->err);
	if (op->ret == -EEXIST)
		op->ret = name_taken(op, vm_fd, &adopted);
	if (op->ret)
		goto out;
	/* one that runs has been talking to somebody */
	ran = strcmp(status, "prelaunch") && strcmp(status, "inmigrate");
	op->ret = adopted ? 0 : attach_settings(op);
	if (!op->ret)
		op->ret = consoles_look(op, adopted || ran, &op->err);
	if (op->ret && !adopted) {
		struct fterr ignored;

		ftnl_detach(op->name, &ignored);
	}
	if (!op->ret && !op->result)
		op->result = json_pack("{s:b}", "ran", ran);
	op->attached = !op->ret;
	op->adopted = adopted;
	if (op->attached)
		keep_lines(op, adopted);
	if (op->attached && adopted)
		promote_resume(op);
	if (op->attached)
		ft_log(SD_NOTICE, "guest %s (process %d) is %s", op->name, g->pid,
		       adopted ? "under control again" : "attached");
out:
	if (vm_fd >= 0)
		close(vm_fd);
	free(p.list);
	if (op->ret)
		ftqmp_close(&g->qmp);
}

void attach_settle(struct op *op)
{
	if (!op->attached) {
		/* its QEMU may not answer just now, or yet */
		op->guest->retry_logged = (op->guest->restored && !ft_process_gone(op->guest->attached_pid)) ||
					  ft_now_ms() < op->guest->starts_until;
		op->guest->gone = !op->guest->retry_logged;
		return;
	}
	op->guest->retry_logged = false;
	op->guest->attached = true;
	op->guest->attached_pid = op->guest->pid;
	devices_check_guest(op->guest);
	if (op->work == attach_work && !op->adopted) {
		/* another QEMU of that name: nothing of what was begun is its */
		op->guest->moving = FT_STAYS;
		op->guest->again = false;
		op->guest->fresh = false;
		op->guest->tries = false;
		op->guest->going = false;
		*op->guest->left.peer = '\0';
		op->guest->loss_said = 0;
		op->guest->loss_lent = false;
		op->guest->stopper = FT_OTHERS;
	}
	if (op->work == attach_work)
		protect_mend(op->guest);
	/* a pairing that attaches first has made its session already */
	if (!op->adopted && op->work == attach_work)
		*op->guest->session = '\0';
	guests_save();
	/* nobody looked while no ftd was here */
	failover_happened(op->guest);
}

int attach_params(struct op *op, json_t *request, struct fterr *err)
{
	const char *qmp = request_string(request, "qmp");
	json_t *list = json_object_get(request, "consoles"), *one;
	size_t i;
	int ret;

	if (!qmp || *qmp != '/' || strlen(qmp) >= sizeof(op->qmp_path))
		return ft_fail(err, -EINVAL, "the QMP socket must be an absolute path of less than %zu bytes",
			       sizeof(op->qmp_path));
	strcpy(op->qmp_path, qmp);
	if (json_array_size(list) > 16)
		return ft_fail(err, -EINVAL, "a guest can have 16 consoles at most");
	op->cons = calloc(json_array_size(list) + 1, sizeof(*op->cons));
	if (!op->cons)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	json_array_foreach(list, i, one) {
		const char *text = json_string_value(one);

		ret = ftcon_parse(text ? text : "", &op->cons[i], err);
		if (ret)
			return ret;
		op->ncons++;
	}
	return 0;
}

int op_attach_guest(struct op *op, struct fterr *err)
{
	struct guest *g = guest_find(op->name);

	if (g && g->busy)
		return ft_fail(err, -EBUSY, "guest %s is busy (%s); try again when that is done", op->name,
			       g->busy);
	if (g && !g->ended)
		return ft_fail(err, -EEXIST, "guest %s is attached already (%s)", op->name, g->qmp_path);
	if (g)
		guest_drop(g);	/* what the module still holds is found by name */
	g = guest_new(op->name);
	if (!g)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	strcpy(g->qmp_path, op->qmp_path);
	g->cons = op->cons;
	g->ncons = op->ncons;
	op->cons = NULL;
	op->ncons = 0;
	op->timeout_ms = ftd_config()->link.timeout_ms;
	op->guest = g;
	return 0;
}

static void restore_text(char *to, size_t size, json_t *request, const char *key)
{
	const char *text = request_string(request, key);

	snprintf(to, size, "%s", text ? text : "");
}

int op_attach(struct client *client, json_t *request, struct fterr *err)
{
	struct op *op = op_new("attach", request_string(request, "name"), attach_work);
	int ret;

	if (!op)
		return ft_fail(err, -ENOMEM, "ftd is out of memory");
	op->settle = attach_settle;
	op->client = client;
	ret = attach_params(op, request, err);
	if (!ret)
		ret = op_attach_guest(op, err);
	if (ret) {
		op_free(op);
		return ret;
	}
	if (!client) {
		/* of a former ftd's list; a session only where it is still the module's: attach_settle() */
		restore_text(op->guest->session, sizeof(op->guest->session), request, "session");
		op->guest->attached_pid = json_integer_value(json_object_get(request, "pid"));
		op->guest->restored = op->guest->attached_pid > 0;
		op->guest->leads = json_is_true(json_object_get(request, "leads"));
		op->guest->moving = json_integer_value(json_object_get(request, "moving"));
		if (op->guest->moving == FT_ARRIVES && !op->guest->restored)
			op->guest->starts_until = ft_now_ms() + OP_START_MS;
		op->guest->again = json_is_true(json_object_get(request, "again"));
		op->guest->again_since = ft_now_ms();
		op->guest->alone = json_is_true(json_object_get(request, "alone"));
		op->guest->fresh = json_is_true(json_object_get(request, "fresh"));
		op->guest->half = op->guest->fresh;
		restore_text(op->guest->peer_guest, sizeof(op->guest->peer_guest), request, "peer_guest");
		restore_text(op->guest->second, sizeof(op->guest->second), request, "second");
		op->guest->going = json_is_true(json_object_get(request, "going"));
		if (json_integer_value(json_object_get(request, "stopper")) == FT_OPERATOR)
			op->guest->stopper = FT_OPERATOR;
		else if (json_integer_value(json_object_get(request, "stopper")) == FT_FAILED_PAIR)
			op->guest->stopper = FT_FAILED_PAIR;
		/* where nothing is left to be mended its peer is the one that it has */
		op->guest->tries = op->guest->moving == FT_LEAVES && json_is_true(json_object_get(request, "tries"));
		restore_text(op->guest->was.peer_guest, sizeof(op->guest->was.peer_guest), request, "was_peer_guest");
		restore_text(op->guest->was.second, sizeof(op->guest->was.second), request, "was_second");
		if (json_integer_value(json_object_get(request, "loss_said")) == FTKVM_UAPI_LOSS_SOLO)
			op->guest->loss_said = FTKVM_UAPI_LOSS_SOLO;
		else if (json_integer_value(json_object_get(request, "loss_said")) == FTKVM_UAPI_LOSS_HOLD)
			op->guest->loss_said = FTKVM_UAPI_LOSS_HOLD;
		op->guest->loss_lent = json_is_true(json_object_get(request, "loss_lent"));
		restore_text(op->guest->left.peer, sizeof(op->guest->left.peer), request, "left_peer");
		restore_text(op->guest->left.guest, sizeof(op->guest->left.guest), request, "left_guest");
		restore_text(op->guest->again_peer, sizeof(op->guest->again_peer), request, "again_peer");
	}
	op_start(op);
	return 0;
}
