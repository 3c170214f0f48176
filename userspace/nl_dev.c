// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/genetlink.h>
#include "nl_call.h"
#include "nl_parse.h"

static struct nlmsghdr *begin(struct ftnl *nl, uint8_t cmd, const char *name, struct fterr *err)
{
	struct nlmsghdr *nlh = ftnl_begin(nl, cmd, 0, err);

	if (nlh)
		mnl_attr_put_strz(nlh, FTKVM_A_DEV_NAME, name);
	return nlh;
}

static struct nlmsghdr *begin_queue(struct ftnl *nl, uint8_t cmd, const char *name, uint32_t queue,
				    struct fterr *err)
{
	struct nlmsghdr *nlh = begin(nl, cmd, name, err);

	if (nlh)
		mnl_attr_put_u32(nlh, FTKVM_A_QUEUE, queue);
	return nlh;
}

int ftnl_dev_add(const char *name, const struct ftdev_add *add, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = begin(&nl, FTKVM_CMD_DEV_ADD, name, err);

	if (!nlh)
		return err->code;
	mnl_attr_put_u32(nlh, FTKVM_A_DEV_NO, add->no);
	mnl_attr_put_u32(nlh, FTKVM_A_DEV_KIND, add->kind);
	mnl_attr_put_u32(nlh, FTKVM_A_VM_FD, add->vm_fd);
	if (add->backend_fd >= 0)
		mnl_attr_put_u32(nlh, FTKVM_A_BACKEND_FD, add->backend_fd);
	if (add->capacity)
		mnl_attr_put_u64(nlh, FTKVM_A_CAPACITY, add->capacity);
	if (add->readonly)
		mnl_attr_put(nlh, FTKVM_A_READONLY, 0, NULL);
	if (add->shared)
		mnl_attr_put(nlh, FTKVM_A_SHARED, 0, NULL);
	return ftnl_finish(&nl, nlh, NULL, NULL, err);
}

int ftnl_dev_del(const char *name, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = begin(&nl, FTKVM_CMD_DEV_DEL, name, err);

	return nlh ? ftnl_finish(&nl, nlh, NULL, NULL, err) : err->code;
}

int ftnl_dev_start(const char *name, uint32_t queue, const struct ftdev_queue *q,
		   struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = begin_queue(&nl, FTKVM_CMD_DEV_START, name, queue, err);

	if (!nlh)
		return err->code;
	mnl_attr_put_u64(nlh, FTKVM_A_DEV_FEATURES, q->features);
	mnl_attr_put_u32(nlh, FTKVM_A_NUM, q->num);
	mnl_attr_put_u64(nlh, FTKVM_A_DESC, q->desc);
	mnl_attr_put_u64(nlh, FTKVM_A_AVAIL, q->avail);
	mnl_attr_put_u64(nlh, FTKVM_A_USED, q->used);
	mnl_attr_put_u32(nlh, FTKVM_A_BASE, q->base);
	mnl_attr_put_u32(nlh, FTKVM_A_KICK_FD, q->kick_fd);
	if (q->call_fd >= 0)
		mnl_attr_put_u32(nlh, FTKVM_A_CALL_FD, q->call_fd);
	return ftnl_finish(&nl, nlh, NULL, NULL, err);
}

int ftnl_dev_call(const char *name, uint32_t queue, int call_fd, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = begin_queue(&nl, FTKVM_CMD_DEV_CALL, name, queue, err);

	if (!nlh)
		return err->code;
	if (call_fd >= 0)
		mnl_attr_put_u32(nlh, FTKVM_A_CALL_FD, call_fd);
	return ftnl_finish(&nl, nlh, NULL, NULL, err);
}

static void on_base(const struct nlmsghdr *nlh, void *arg)
{
	nl_parse_base(nlh, arg);
}

int ftnl_dev_stop(const char *name, uint32_t queue, uint32_t *base, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = begin_queue(&nl, FTKVM_CMD_DEV_STOP, name, queue, err);

	return nlh ? ftnl_finish(&nl, nlh, on_base, base, err) : err->code;
}

/* An answer, and whether it was understood. */
struct answer {
	bool ok;
	void *into;
};

static int whole(int ret, const struct answer *a, struct fterr *err)
{
	return ret || a->ok ? ret : ft_fail(err, -EBADMSG, "the kernel module's answer is not understood: is it of "
					    "this version of ftkvm?");
}

static void on_track(const struct nlmsghdr *nlh, void *arg)
{
	struct answer *a = arg;

	a->ok = nl_parse_track(nlh, a->into);
}

int ftnl_dev_track(const char *name, uint32_t *track, struct fterr *err)
{
	struct answer a = { .into = track };
	struct ftnl nl;
	struct nlmsghdr *nlh = begin(&nl, FTKVM_CMD_DEV_TRACK, name, err);

	return nlh ? whole(ftnl_finish(&nl, nlh, on_track, &a, err), &a, err) : err->code;
}

int ftnl_dev_untrack(const char *name, uint32_t track, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = begin(&nl, FTKVM_CMD_DEV_TRACK, name, err);

	if (!nlh)
		return err->code;
	mnl_attr_put_u32(nlh, FTKVM_A_TRACK, track);
	return ftnl_finish(&nl, nlh, NULL, NULL, err);
}

static void on_dirty(const struct nlmsghdr *nlh, void *arg)
{
	struct answer *a = arg;

	a->ok = nl_parse_dirty(nlh, a->into);
}

int ftnl_dev_dirty(const char *name, uint32_t track, struct ftdirty *d, struct fterr *err)
{
	struct answer a = { .into = d };
	struct ftnl nl;
	struct nlmsghdr *nlh = begin(&nl, FTKVM_CMD_DEV_DIRTY, name, err);

	if (!nlh)
		return err->code;
	mnl_attr_put_u32(nlh, FTKVM_A_TRACK, track);
	return whole(ftnl_finish(&nl, nlh, on_dirty, &a, err), &a, err);
}

static void on_device(const struct nlmsghdr *nlh, void *arg)
{
	nl_parse_device(nlh, arg);
}

int ftnl_dev_get(const char *name, struct ftdev *d, struct fterr *err)
{
	struct ftnl nl;
	struct nlmsghdr *nlh = begin(&nl, FTKVM_CMD_DEV_GET, name, err);

	memset(d, 0, sizeof(*d));
	return nlh ? ftnl_finish(&nl, nlh, on_device, d, err) : err->code;
}

struct dump {
	struct ftdev *list;
	size_t n;
};

static void on_dump(const struct nlmsghdr *nlh, void *arg)
{
	struct dump *d = arg;
	struct ftdev *list = realloc(d->list, (d->n + 1) * sizeof(*list));

	if (!list)
		return;
	d->list = list;
	nl_parse_device(nlh, &list[d->n]);
	if (list[d->n].name[0])
		d->n++;
}

int ftnl_dev_dump(struct ftdev **list, size_t *n, struct fterr *err)
{
	struct dump d = { 0 };
	struct ftnl nl;
	struct nlmsghdr *nlh = ftnl_begin(&nl, FTKVM_CMD_DEV_GET, NLM_F_DUMP, err);
	int ret;

	ret = nlh ? ftnl_finish(&nl, nlh, on_dump, &d, err) : err->code;
	*list = d.list;
	*n = d.n;
	return ret;
}
