// SPDX-License-Identifier: GPL-2.0
/*
 * The replica code and the devices, as the netlink family calls it: each call must be the one that
 * the request asks for. And the answers, which ftd's own parser hears.
 */
#include "netlink_ftd.h"
#include "netlink_world.h"
#include "../../kmod/core/frame.h"

/* The call that is due must be this one. */
static const struct call *comes(u8 cmd, bool dump, const char *name)
{
	const struct call *c = &due[w.came];

	REQUIRE(w.came < w.ndue);
	w.came++;
	REQUIRE(c->cmd == cmd && c->dump == dump && !c->name == !name);
	if (name)
		REQUIRE(!strcmp(c->name, name) && *name && strlen(name) <= FTKVM_NAME_MAX);
	return c;
}

static char text_char(u32 i)
{
	return 'a' + i % 26;
}

/* Succeed, or fail with a text of the input's length. */
static int done(char *why, size_t size)
{
	u32 i;

	REQUIRE(size == FTKVM_ERROR_MAX + 1 && !*why);
	if (!w.ret)
		return 0;
	for (i = 0; i < w.text_len; i++)
		why[i] = text_char(i);
	why[i] = '\0';
	return w.ret;
}

int ftkvm_replica_attach(const char *name, int vm_fd, char *why, size_t size)
{
	REQUIRE(comes(FTKVM_CMD_ATTACH, false, name)->fd == vm_fd && vm_fd >= 0);
	REACHED("ATTACH");
	return done(why, size);
}

int ftkvm_replica_detach(const char *name, char *why, size_t size)
{
	comes(FTKVM_CMD_DETACH, false, name);
	return done(why, size);
}

static bool same_settings(const struct ftkvm_pair_params *a, const struct ftkvm_pair_params *b)
{
	return a->period_min == b->period_min && a->period_max == b->period_max &&
	       a->margin == b->margin && a->counter == b->counter &&
	       a->timeout_ms == b->timeout_ms && a->verify_every == b->verify_every &&
	       a->on_loss == b->on_loss && a->token == b->token;
}

int ftkvm_replica_pair(const char *name, const struct ftkvm_pair_params *p, u32 *reason,
		       char *why, size_t size)
{
	const struct call *c = comes(FTKVM_CMD_PAIR, false, name);

	REQUIRE(p->sock_fd == c->fd && p->role == c->p.role && same_settings(p, &c->p));
	REQUIRE(memchr(p->peer, '\0', sizeof(p->peer)) && !strcmp(p->peer, c->p.peer));
	REQUIRE(memchr(p->pair_name, '\0', sizeof(p->pair_name)) &&
		!strcmp(p->pair_name, c->p.pair_name));
	REQUIRE(*reason == FTKVM_REASON_NONE);
	*reason = w.reason;
	REACHED("PAIR");
	if (*p->peer && p->margin)
		REACHED("PAIR with a peer and a margin");
	return done(why, size);
}

int ftkvm_replica_fence(const char *name, char *why, size_t size)
{
	comes(FTKVM_CMD_FENCE, false, name);
	REACHED("FENCE");
	return done(why, size);
}

int ftkvm_replica_second(const char *name, int fd, u64 token, char *why, size_t size)
{
	const struct call *c = comes(FTKVM_CMD_SECOND, false, name);

	REQUIRE(c->fd == fd && fd >= 0 && c->p.token == token && token);
	REACHED("SECOND");
	return done(why, size);
}

int ftkvm_replica_unpair(const char *name, char *why, size_t size)
{
	comes(FTKVM_CMD_UNPAIR, false, name);
	return done(why, size);
}

int ftkvm_replica_verify(const char *name, char *why, size_t size)
{
	REQUIRE(comes(FTKVM_CMD_VERIFY, false, name)->disks == NO_DISKS);
	REACHED("VERIFY");
	return done(why, size);
}

int ftkvm_replica_verify_disks(const char *name, bool on, char *why, size_t size)
{
	REQUIRE(comes(FTKVM_CMD_VERIFY, false, name)->disks ==
		(on ? FTKVM_UAPI_DISKS_COMPARE : FTKVM_UAPI_DISKS_STOP));
	if (on)
		REACHED("VERIFY of disks");
	else
		REACHED("VERIFY of disks ended");
	return done(why, size);
}

int ftkvm_replica_promote(const char *name, bool force, u32 expected, u64 *takeover_ns, char *why,
			  size_t size)
{
	const struct call *c = comes(FTKVM_CMD_PROMOTE, false, name);

	REQUIRE(c->force == force && c->state == expected);
	*takeover_ns = w.stat[FTKVM_STAT_TAKEOVER_NS];
	if (force)
		REACHED("PROMOTE by force");
	if (expected != FTKVM_ANY_STATE)
		REACHED("PROMOTE with a state");
	return done(why, size);
}

int ftkvm_replica_set(const char *name, const struct ftkvm_pair_params *p, u32 mask, char *why,
		      size_t size)
{
	const struct call *c = comes(FTKVM_CMD_SET, false, name);

	REQUIRE(mask == c->mask && mask && same_settings(p, &c->p) && p->sock_fd == -1);
	REACHED("SET");
	return done(why, size);
}

void make_info(struct ftkvm_info *info, u32 nr)
{
	u32 v = w.fill + nr;

	memset(info, 0, sizeof(*info));
	memset(info->name, 'a' + v % 26, 1 + v % FTKVM_NAME_MAX);
	memset(info->peer, 'p', v % (FTKVM_PEER_MAX + 1));
	memset(info->detail, 'd', v * 7 % (FTKVM_DETAIL_MAX + 1));
	memset(info->disks_detail, 'D', v * 5 % (FTKVM_DETAIL_MAX + 1));
	info->state = v % 8;
	info->role = v % 3;
	info->pid = v;
	info->reason = v % __FTKVM_REASON_MAX;
	info->period_min = v * 1000003ull;
	info->period_max = ~info->period_min;
	info->margin = v << 8;
	info->counter = v ^ 0xc0;
	info->timeout_ms = v * 3;
	info->token = v % 3 ? v * 0x100000001ull : 0;
	memcpy(info->stat, w.stat, sizeof(info->stat));
}

int ftkvm_replica_info(const char *name, struct ftkvm_info *info)
{
	comes(FTKVM_CMD_GET, false, name);
	if (w.ret)
		return w.ret;
	make_info(info, 0);
	return 0;
}

int ftkvm_replica_info_nr(unsigned int nr, struct ftkvm_info *info)
{
	if (!w.asked)
		comes(FTKVM_CMD_GET, true, NULL);
	w.asked++;
	if (nr >= w.replicas)
		return -ENOENT;
	make_info(info, nr);
	return 0;
}

static void make_problem(unsigned int i, uint32_t *scope, char *cause, char *remedy)
{
	size_t n = (w.fill + i * 97) % 600;

	memset(cause, 'c', n);
	cause[n] = '\0';
	n = (w.fill + i * 31) % 300;
	memset(remedy, 'r', n);
	remedy[n] = '\0';
	*scope = i % 2;
}

int ftkvm_check(int vm_fd, const char *name, ftkvm_problem_fn cb, void *priv, char *why,
		size_t size)
{
	char cause[1024], remedy[1024];
	u32 i, scope;

	REQUIRE(comes(FTKVM_CMD_CHECK, false, name)->fd == vm_fd && vm_fd >= -1);
	REQUIRE(vm_fd == -1 || !name);
	for (i = 0; i < w.problems; i++) {
		make_problem(i, &scope, cause, remedy);
		cb(priv, scope, cause, remedy);
	}
	if (vm_fd >= 0)
		REACHED("CHECK of a descriptor");
	return done(why, size);
}

/* ---- devices ---- */

/* Their messages are shorter. */
#define DEVICES		(3 * w.replicas)

int ftkvm_dev_add(const struct ftkvm_dev_params *p, char *why, size_t size)
{
	const struct call *c = comes(FTKVM_CMD_DEV_ADD, false, p->name);

	REQUIRE(p->no == c->dev.no && p->kind == c->dev.kind && p->vm_fd == c->fd);
	REQUIRE(p->backend_fd == c->dev.backend_fd && p->capacity == c->dev.capacity);
	REQUIRE(p->readonly == c->dev.readonly && p->shared == c->dev.shared);
	REACHED("DEV_ADD");
	if (p->readonly && p->shared && p->backend_fd >= 0)
		REACHED("DEV_ADD of all there may be");
	if (p->kind == FTKVM_UAPI_DEV_NET && !p->capacity)
		REACHED("DEV_ADD of a card");
	return done(why, size);
}

int ftkvm_dev_del(const char *name, char *why, size_t size)
{
	comes(FTKVM_CMD_DEV_DEL, false, name);
	REACHED("DEV_DEL");
	return done(why, size);
}

int ftkvm_dev_start(const char *name, const struct ftkvm_queue_params *p, char *why, size_t size)
{
	const struct ftkvm_queue_params *q = &comes(FTKVM_CMD_DEV_START, false, name)->q;

	REQUIRE(p->queue == q->queue && p->num == q->num && p->base == q->base);
	REQUIRE(p->features == q->features && p->desc == q->desc && p->avail == q->avail &&
		p->used == q->used);
	REQUIRE(p->kick_fd == q->kick_fd && p->call_fd == q->call_fd && p->kick_fd >= 0);
	if (p->call_fd < 0)
		REACHED("DEV_START without a CALL_FD");
	else
		REACHED("DEV_START");
	return done(why, size);
}

int ftkvm_dev_call(const char *name, u32 queue, int call_fd, char *why, size_t size)
{
	const struct ftkvm_queue_params *q = &comes(FTKVM_CMD_DEV_CALL, false, name)->q;

	REQUIRE(queue == q->queue && call_fd == q->call_fd);
	if (call_fd < 0)
		REACHED("DEV_CALL without a CALL_FD");
	else
		REACHED("DEV_CALL");
	return done(why, size);
}

static u32 make_base(void)
{
	return (w.fill * 31 + 7) % (U16_MAX + 1u);
}

int ftkvm_dev_stop(const char *name, u32 queue, u32 *base, char *why, size_t size)
{
	REQUIRE(comes(FTKVM_CMD_DEV_STOP, false, name)->q.queue == queue);
	if (!w.ret)
		*base = make_base();
	return done(why, size);
}

int ftkvm_dev_track(const char *name, u32 *id, char *why, size_t size)
{
	REQUIRE(!comes(FTKVM_CMD_DEV_TRACK, false, name)->tracked);
	if (!w.ret)
		*id = w.fill ^ 0x5a5a5a5a;
	return done(why, size);
}

int ftkvm_dev_untrack(const char *name, u32 id, char *why, size_t size)
{
	const struct call *c = comes(FTKVM_CMD_DEV_TRACK, false, name);

	REQUIRE(c->tracked && c->track == id);
	REACHED("DEV_TRACK ended");
	return done(why, size);
}

/* The @i-th part that has changed. */
static void make_range(u32 i, u64 *at, u64 *bytes)
{
	*at = (u64)(w.fill + i) << 20;
	*bytes = 512 * (i + 1);
}

static u32 make_ranges(void)
{
	return w.fill % 2 ? FTKVM_RANGES_MAX : w.fill % FTKVM_RANGES_MAX;
}

int ftkvm_dev_dirty(const char *name, u32 id, struct ftkvm_uapi_range *ranges, u32 *n, u64 *left,
		    char *why, size_t size)
{
	const struct call *c = comes(FTKVM_CMD_DEV_DIRTY, false, name);
	u64 at, bytes;
	u32 i;

	REQUIRE(c->tracked && c->track == id && *n == FTKVM_RANGES_MAX);
	for (i = 0; !w.ret && i < make_ranges(); i++) {
		make_range(i, &at, &bytes);
		ranges[i] = (struct ftkvm_uapi_range) { at, bytes };
	}
	if (!w.ret) {
		*n = i;
		*left = w.stat[FTKVM_STAT_EPOCHS];
	}
	return done(why, size);
}

void make_dev(struct ftkvm_dev_info *info, u32 nr)
{
	u32 v = w.fill + nr;

	/* the bytes behind a text's end are nobody's */
	memset(info, 0xa5, sizeof(*info));
	snprintf(info->name, sizeof(info->name), "%.*s%u", (int)(v % 50),
		 "the-longest-name-of-a-device-that-there-may-be-here", nr);
	memset(info->detail, 'd', v * 7 % (FTKVM_DETAIL_MAX + 1));
	info->detail[v % 3 ? v * 7 % (FTKVM_DETAIL_MAX + 1) : 0] = '\0';
	memset(info->storage_detail, 's', v * 5 % (FTKVM_DETAIL_MAX + 1));
	info->storage_detail[v % 4 ? v * 5 % (FTKVM_DETAIL_MAX + 1) : 0] = '\0';
	info->no = v % (FTKVM_DEV_NO_HIGHEST + 1);
	info->kind = FTKVM_UAPI_DEV_BLK + v % 2;
	info->pid = v;
	info->capacity = info->kind == FTKVM_UAPI_DEV_BLK ? v * 1000003ull + 1 : 0;
	info->readonly = v % 5 == 0;
	info->shared = v % 7 == 0;
	memcpy(info->stat, w.stat, sizeof(info->stat));
}

int ftkvm_dev_info(const char *name, struct ftkvm_dev_info *info)
{
	comes(FTKVM_CMD_DEV_GET, false, name);
	if (w.ret)
		return w.ret;
	make_dev(info, 0);
	return 0;
}

int ftkvm_dev_info_nr(unsigned int nr, struct ftkvm_dev_info *info)
{
	if (!w.asked)
		comes(FTKVM_CMD_DEV_GET, true, NULL);
	w.asked++;
	if (nr >= DEVICES)
		return -ENOENT;
	make_dev(info, nr);
	return 0;
}

/* ---- the answers ---- */

static void hear_info(const struct nlmsghdr *nlh, u32 nr)
{
	struct ftkvm_info i;
	struct world_replica r;

	make_info(&i, nr);
	r = (struct world_replica) {
		.name = i.name, .peer = i.peer, .detail = i.detail,
		.disks_detail = i.disks_detail,
		.module_version = FTKVM_VERSION, .proto_version = FTKVM_PROTO_VERSION,
		.state = i.state, .role = i.role, .pid = i.pid, .reason = i.reason,
		.counter = i.counter, .timeout_ms = i.timeout_ms,
		.period_min = i.period_min, .period_max = i.period_max, .margin = i.margin,
		.token = i.token,
		.stats = (const uint64_t *)i.stat,
	};
	REQUIRE(ftd_hears_replica(nlh, &r));
}

static void hear_dev(const struct nlmsghdr *nlh, u32 nr)
{
	struct ftkvm_dev_info i;
	struct world_device d;

	make_dev(&i, nr);
	d = (struct world_device) {
		.name = i.name, .detail = i.detail, .storage_detail = i.storage_detail,
		.no = i.no, .kind = i.kind, .pid = i.pid,
		.capacity = i.capacity, .readonly = i.readonly, .shared = i.shared,
		.stats = (const uint64_t *)i.stat,
	};
	REQUIRE(ftd_hears_device(nlh, &d));
	REQUIRE(!nlmsg_find_attr(nlh, GENL_HDRLEN, FTKVM_A_SHARED) == !i.shared);
}

/* All replicas or devices, each once and whole, in as many parts as it takes. */
static void hear_dump(const struct call *c)
{
	u32 nr = 0, i;

	for (i = 0; i < w.nanswers; i++) {
		const struct nlmsghdr *nlh = nlmsg_hdr(answers[i]);
		int left = answers[i]->len;

		for (; nlmsg_ok(nlh, left); nlh = nlmsg_next(nlh, &left)) {
			REQUIRE(nlh->nlmsg_type == family_id && nlh->nlmsg_flags & NLM_F_MULTI);
			REQUIRE(((struct genlmsghdr *)nlmsg_data(nlh))->cmd == c->cmd);
			if (c->cmd == FTKVM_CMD_GET)
				hear_info(nlh, nr++);
			else
				hear_dev(nlh, nr++);
		}
		REQUIRE(!left);
	}
	REQUIRE(nr == (c->cmd == FTKVM_CMD_GET ? w.replicas : DEVICES));
	if (w.nanswers > 2 && c->cmd == FTKVM_CMD_GET)
		REACHED("a dump in parts");
	if (w.nanswers > 2 && c->cmd == FTKVM_CMD_DEV_GET)
		REACHED("a dump of devices in parts");
}

/* The one message in the @i-th answer. */
static const struct nlmsghdr *answer(u32 i, u16 type, u32 seq)
{
	const struct nlmsghdr *nlh = nlmsg_hdr(answers[i]);

	REQUIRE(i < w.nanswers && nlh->nlmsg_len == answers[i]->len);
	REQUIRE(nlh->nlmsg_type == type && nlh->nlmsg_seq == seq && nlh->nlmsg_pid == PORTID);
	return nlh;
}

static void hear_success(const struct call *c, const struct nlmsghdr *req)
{
	u32 data = c->cmd == FTKVM_CMD_GET || c->cmd == FTKVM_CMD_CHECK ||
		   c->cmd == FTKVM_CMD_PROMOTE || c->cmd == FTKVM_CMD_DEV_GET ||
		   c->cmd == FTKVM_CMD_DEV_STOP || c->cmd == FTKVM_CMD_DEV_DIRTY ||
		   (c->cmd == FTKVM_CMD_DEV_TRACK && !c->tracked);
	const struct nlmsghdr *nlh;
	u32 heard;

	REQUIRE(w.nanswers == data + !!(req->nlmsg_flags & NLM_F_ACK));
	if (req->nlmsg_flags & NLM_F_ACK) {
		const struct nlmsgerr *e = nlmsg_data(answer(data, NLMSG_ERROR, req->nlmsg_seq));

		REQUIRE(!e->error);
	}
	if (!data)
		return;
	nlh = answer(0, family_id, req->nlmsg_seq);
	REQUIRE(((struct genlmsghdr *)nlmsg_data(nlh))->cmd == c->cmd);
	switch (c->cmd) {
	case FTKVM_CMD_GET:
		hear_info(nlh, 0);
		REACHED("GET answered");
		break;
	case FTKVM_CMD_DEV_GET:
		hear_dev(nlh, 0);
		REACHED("DEV_GET answered");
		break;
	case FTKVM_CMD_DEV_STOP:
		REQUIRE(ftd_hears_base(nlh) == make_base());
		REACHED("DEV_STOP answered");
		break;
	case FTKVM_CMD_DEV_TRACK:
		REQUIRE(ftd_hears_track(nlh) == (w.fill ^ 0x5a5a5a5a));
		REACHED("DEV_TRACK answered");
		break;
	case FTKVM_CMD_DEV_DIRTY:
		REQUIRE(ftd_hears_dirty(nlh, make_ranges(), make_range, w.stat[FTKVM_STAT_EPOCHS]));
		REACHED("DEV_DIRTY answered");
		if (make_ranges() == FTKVM_RANGES_MAX)
			REACHED("DEV_DIRTY answered with all that it has room for");
		break;
	case FTKVM_CMD_PROMOTE:
		REQUIRE(ftd_hears_takeover(nlh, w.stat[FTKVM_STAT_TAKEOVER_NS]));
		break;
	default:
		heard = ftd_hears_problems(nlh, w.problems, FTKVM_VERSION, FTKVM_PROTO_VERSION,
					   make_problem);
		REQUIRE(heard <= w.problems);
		/* the message has room for 16 KiB */
		REQUIRE(heard == w.problems || answers[0]->len > 15000);
		if (heard < w.problems)
			REACHED("more problems than there is room for");
	}
}

/* @ours: the command failed, and said @len bytes about it; else it was refused. */
static void hear_failure(const struct call *c, const struct nlmsghdr *req, bool ours, u32 len)
{
	bool interrupted = w.ret == -EINTR || w.ret == -ERESTARTSYS || w.ret == -ERESTARTNOINTR;
	u32 detail = ours && len;
	char text[FTKVM_ERROR_MAX + 1] = "";
	const struct nlmsgerr *e;
	u32 i;

	REQUIRE(w.nanswers == detail + 1);
	e = nlmsg_data(answer(detail, NLMSG_ERROR, req->nlmsg_seq));
	REQUIRE(e->error < 0);
	if (ours)
		REQUIRE(e->error == (interrupted ? -ECANCELED : w.ret));
	if (detail) {
		const struct nlmsghdr *nlh = answer(0, family_id, req->nlmsg_seq);

		REQUIRE(((struct genlmsghdr *)nlmsg_data(nlh))->cmd == c->cmd);
		ftd_hears_detail(nlh, text, sizeof(text));
		if (c->cmd != FTKVM_CMD_GET && c->cmd != FTKVM_CMD_DEV_GET) {
			REQUIRE(strlen(text) == len);
			for (i = 0; i < len; i++)
				REQUIRE(text[i] == text_char(i));
		}
		REACHED("a failure with its text");
	}
	if (w.asker.flags & BIT(NETLINK_F_EXT_ACK)) {
		char begin[FTKVM_ERROR_MAX + 1] = "";

		ftd_hears_extack(nlmsg_hdr(answers[detail]), begin, sizeof(begin));
		if (detail)
			REQUIRE(*begin && !strncmp(text, begin, strlen(begin)) &&
				strlen(begin) >= min(strlen(text), 79ul));
		/* what is wrong with an attribute is said */
		else if (!ours && e->error != -EOPNOTSUPP && e->error != -EPERM &&
			 req->nlmsg_len >= NLMSG_HDRLEN + GENL_HDRLEN)
			REQUIRE(*begin);
	}
}

/* How much is said about a failure: by the replica code; or one text of the family's own. */
static u32 said(const struct call *c)
{
	switch (c->cmd) {
	case FTKVM_CMD_GET:
		return w.ret == -ENOENT;
	case FTKVM_CMD_DEV_GET:
		return 1;
	default:
		return w.text_len;
	}
}

void hear(const struct nlmsghdr *req, const struct call *c, bool accepted)
{
	if (!accepted)
		hear_failure(c, req, false, 0);
	else if (c->dump)
		hear_dump(c);
	else if (w.ret)
		hear_failure(c, req, true, said(c));
	else
		hear_success(c, req);
}
