// SPDX-License-Identifier: GPL-2.0
/*
 * The netlink family, called by the kernel's own generic netlink. The input is a
 * request as a process might send it, and what the replica code makes of it. The
 * manual in the uapi header, written down once more (netlink_manual.c), says which
 * calls of the replica code must come of it; ftd's own parser hears the answers.
 */
#include <linux/virtio_config.h>

#include "netlink_ftd.h"
#include "netlink_world.h"

struct world w;
struct call due[CALLS];
struct sk_buff *answers[ANSWERS];
struct net init_net;
u16 family_id;

static struct netlink_sock kernel_side;
static void (*input)(struct sk_buff *skb);

/* ---- the kernel around it ---- */

bool shim_out_of_memory(void)
{
	if (!w.oom || --w.oom)
		return false;
	w.oomed = true;
	return true;
}

void do_trace_netlink_extack(const char *msg)
{
	REQUIRE(*msg);
}

u64 ktime_get_boottime_ns(void)
{
	return 1234567890123ull;
}

struct sk_buff *alloc_skb(unsigned int size, gfp_t flags)
{
	struct sk_buff *skb;

	if (shim_out_of_memory())
		return NULL;
	skb = calloc(1, sizeof(*skb));
	skb->head = malloc(size);
	memset(skb->head, 0xa5, size);
	skb->data = skb->head;
	skb->size = size;
	return skb;
}

void kfree_skb(struct sk_buff *skb)
{
	if (skb)
		free(skb->head);
	free(skb);
}

/* For those who multicast to more than one namespace. */
struct sk_buff *skb_clone(const struct sk_buff *skb, gfp_t flags)
{
	BUG();
}

int nlmsg_notify(struct sock *sk, struct sk_buff *skb, u32 portid, unsigned int group, int report,
		 gfp_t flags)
{
	BUG();
}

/* The family's own multicasts only; the controller's are nobody's concern. */
int netlink_broadcast_filtered(struct sock *ssk, struct sk_buff *skb, u32 portid, u32 group,
			       gfp_t flags, netlink_filter_fn filter, void *data)
{
	struct nlmsghdr *nlh = nlmsg_hdr(skb);

	if (nlh->nlmsg_type == family_id) {
		struct world_replica r = {
			.name = w.event.name, .detail = w.event.detail, .state = w.event.state,
			.role = w.event.role, .reason = w.event.reason, .event = w.event_nr,
		};

		REQUIRE(nlh->nlmsg_len == skb->len && ftd_hears_event(nlh, &r));
		w.nevents++;
	}
	kfree_skb(skb);
	return 0;
}

int netlink_unicast(struct sock *ssk, struct sk_buff *skb, u32 portid, int nonblock)
{
	REQUIRE(ssk == &kernel_side.sk && portid == PORTID && nonblock);
	if (w.nanswers == ANSWERS || (w.fail_send && !--w.fail_send)) {
		w.lost = true;
		kfree_skb(skb);
		return -EAGAIN;
	}
	answers[w.nanswers++] = skb;
	return skb->len;
}

struct sock *__netlink_kernel_create(struct net *net, int unit, struct module *module,
				     struct netlink_kernel_cfg *cfg)
{
	input = cfg->input;
	return &kernel_side.sk;
}

/* As net/netlink/af_netlink.c has it, for one who reads all at once. */
int __netlink_dump_start(struct sock *ssk, struct sk_buff *skb, const struct nlmsghdr *nlh,
			 struct netlink_dump_control *control)
{
	struct netlink_callback cb = {
		.dump = control->dump, .done = control->done, .nlh = nlh, .data = control->data,
		.skb = skb, .extack = control->extack,
	};
	struct netlink_ext_ack extack = { };
	int ret = control->start(&cb), rounds = 0;

	if (ret)
		return ret;
	w.asked = 0;
	do {
		struct sk_buff *part = alloc_skb(NLMSG_GOODSIZE, GFP_KERNEL);

		if (!part)
			break;
		REQUIRE(rounds++ < 100);
		cb.extack = &extack;
		ret = cb.dump(part, &cb);
		if (ret == -EMSGSIZE && part->len)
			ret = part->len;
		if (!part->len || w.nanswers == ANSWERS)
			kfree_skb(part);
		else
			answers[w.nanswers++] = part;
	} while (ret > 0);
	cb.done(&cb);
	return -EINTR;
}

void netlink_kernel_release(struct sock *sk)
{
}

void netlink_table_grab(void)
{
}

void netlink_table_ungrab(void)
{
}

void __netlink_clear_multicast_users(struct sock *sk, unsigned int group)
{
}

int __netlink_change_ngroups(struct sock *sk, unsigned int groups)
{
	return 0;
}

int netlink_change_ngroups(struct sock *sk, unsigned int groups)
{
	return 0;
}

int netlink_has_listeners(struct sock *sk, unsigned int group)
{
	return 1;
}

bool netlink_capable(const struct sk_buff *skb, int cap)
{
	return true;
}

bool netlink_ns_capable(const struct sk_buff *skb, struct user_namespace *ns, int cap)
{
	return true;
}

/* ---- requests ---- */

static void expect_calls(const u8 *buf, size_t len)
{
	while (len >= NLMSG_HDRLEN) {
		const struct nlmsghdr *nlh = (const void *)buf;
		size_t step = NLMSG_ALIGN(nlh->nlmsg_len);

		if (nlh->nlmsg_len < NLMSG_HDRLEN || nlh->nlmsg_len > len)
			return;
		if (nlh->nlmsg_flags & NLM_F_REQUEST && nlh->nlmsg_type == family_id &&
		    w.ndue < CALLS && read_request(nlh, &due[w.ndue]))
			w.ndue++;
		step = min(step, len);
		buf += step;
		len -= step;
	}
}

static void settings(struct feed *f)
{
	static const int rets[] = {
		-ENOENT, -EBUSY, -EINTR, -ERESTARTSYS, -ERESTARTNOINTR, -EOPNOTSUPP, -EINVAL,
		-EAGAIN,
	};
	u8 how = feed_u8(f);
	int i;

	if (how >= 0xf0)
		w.oom = how - 0xef;
	if (how >= 0xe8 && how < 0xf0)
		w.fail_send = how - 0xe7;
	how = feed_u8(f);
	w.asker.flags = (how & 1 ? BIT(NETLINK_F_EXT_ACK) : 0) |
			(how & 2 ? BIT(NETLINK_F_CAP_ACK) : 0);
	w.replicas = how / 4 % REPLICAS;
	how = feed_u8(f);
	if (how & 1)
		w.ret = rets[how / 2 % ARRAY_SIZE(rets)];
	w.reason = how / 16 % __FTKVM_REASON_MAX;
	w.text_len = feed_le(f, 2) % (FTKVM_ERROR_MAX + 1);
	w.problems = feed_u8(f) % 64;
	w.fill = feed_le(f, 2);
	for (i = 0; i < __FTKVM_STAT_MAX; i++)
		w.stat[i] = w.fill * 0x9e3779b97f4a7c15ull * (i + 1);
}

/* One message of the fuzzer's attributes, or several of its own from their first byte. */
static struct sk_buff *request(struct feed *f, bool *whole)
{
	size_t len = feed_u8(f) % 4 ? NLMSG_HDRLEN + GENL_HDRLEN : 0, rest;
	struct sk_buff *skb;
	u8 flags = 0;
	int oom = w.oom;

	*whole = len;
	w.oom = 0;
	skb = alloc_skb(feed_left(f) + len, GFP_KERNEL);
	w.oom = oom;
	if (len) {
		struct nlmsghdr *nlh = skb_put(skb, len);
		struct genlmsghdr *g = nlmsg_data(nlh);

		memset(nlh, 0, len);
		g->cmd = feed_u8(f);
		flags = feed_u8(f);
		nlh->nlmsg_type = family_id;
		nlh->nlmsg_flags = NLM_F_REQUEST | (flags & 1 ? NLM_F_ACK : 0) |
				   (flags & 2 ? NLM_F_DUMP : 0);
		nlh->nlmsg_seq = 77;
		nlh->nlmsg_len = len + feed_left(f);
	}
	rest = feed_left(f);
	if (rest)
		skb_put_data(skb, f->at, rest);
	/* what it is given ends where the input does */
	skb->size = skb->len;
	return skb;
}

static void send_event(struct feed *f)
{
	w.nevents = 0;
	make_info(&w.event, 3);
	w.event_nr = w.fill;
	ftkvm_netlink_event(&w.event, w.event_nr);
	REQUIRE(w.nevents == 1 || w.oomed);
}

static void register_family(void)
{
	REQUIRE(input && !ftkvm_netlink_init());
	/* the first that is not taken by older ones */
	family_id = GENL_START_ALLOC;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, data + size };
	struct nlmsghdr *copy = NULL;
	struct sk_buff *skb;
	bool whole;
	u32 i;

	if (!family_id)
		register_family();
	memset(&w, 0, sizeof(w));
	settings(&f);
	skb = request(&f, &whole);
	NETLINK_CB(skb).portid = PORTID;
	NETLINK_CB(skb).sk = &w.asker.sk;
	skb->sk = &kernel_side.sk;
	expect_calls(skb->data, skb->len);
	/* the kernel eats it */
	copy = (void *)exact_copy(skb->data, skb->len);

	input(skb);
	if (!w.oomed) {
		REQUIRE(w.came == w.ndue);
		if (whole && !w.lost)
			hear(copy, w.ndue ? &due[0] : &(struct call) { }, w.ndue);
	}
	for (i = 0; i < w.nanswers; i++)
		kfree_skb(answers[i]);
	send_event(&f);
	free(copy);
	kfree_skb(skb);
	return 0;
}

/* ---- seeds ---- */

static void seed_attr(struct seed *s, u16 type, const void *data, u16 len)
{
	seed_le(s, 4 + len, 2);
	seed_le(s, type, 2);
	seed_bytes(s, data, len);
	while (s->len % 4 != 3)
		seed_le(s, 0, 1);
}

static void seed_begin(struct seed *s, u8 ret, u8 flags, u8 cmd)
{
	/* what settings() and request() take; attributes begin at 3 modulo 4 */
	seed_bytes(s, "\0\x51", 2);
	seed_le(s, ret, 1);
	seed_bytes(s, "\x60\0\x9\x55\x1\1", 6);
	seed_le(s, cmd, 1);
	seed_le(s, flags, 1);
}

/* All that PAIR may say, with @value for attribute @odd, if there is one. */
static void seed_pair(struct seed *s, u8 cmd, u16 odd, s64 value)
{
	static const struct {
		u16 type, len;
		s64 value;
	} attrs[] = {
		{ FTKVM_A_SOCK_FD, 4, 7 },
		{ FTKVM_A_ROLE, 4, FTKVM_UAPI_ROLE_PRIMARY },
		{ FTKVM_A_PERIOD_MIN, 8, 5000 },
		{ FTKVM_A_PERIOD_MAX, 8, 5000 },
		{ FTKVM_A_MARGIN, 8, 512 },
		{ FTKVM_A_COUNTER, 4, 0xc0 },
		{ FTKVM_A_TIMEOUT_MS, 4, 3000 },
		{ FTKVM_A_VERIFY_EVERY, 4, 100 },
		{ FTKVM_A_ON_LOSS, 4, FTKVM_UAPI_LOSS_HOLD },
	};
	static const u64 token = 0x7000000000000001;
	u32 i;

	seed_attr(s, FTKVM_A_NAME, "db1", 4);
	for (i = cmd == FTKVM_CMD_PAIR ? 0 : 2; i < ARRAY_SIZE(attrs); i++)
		seed_attr(s, attrs[i].type, attrs[i].type == odd ? &value : &attrs[i].value,
			  attrs[i].len);
	if (cmd == FTKVM_CMD_PAIR)
		seed_attr(s, FTKVM_A_PEER, "10.0.0.1:7411", 14);
	if (cmd == FTKVM_CMD_PAIR)
		seed_attr(s, FTKVM_A_PAIR_NAME, "db2", 4);
	if (cmd == FTKVM_CMD_PAIR)
		seed_attr(s, FTKVM_A_TOKEN, &token, 8);
	seed_done(s);
}

static void seed_second(struct seed *s, u64 token)
{
	static const s32 fd = 7;

	seed_begin(s, 0, 0, FTKVM_CMD_SECOND);
	seed_attr(s, FTKVM_A_NAME, "db1", 4);
	seed_attr(s, FTKVM_A_SOCK_FD, &fd, 4);
	seed_attr(s, FTKVM_A_TOKEN, &token, 8);
	seed_done(s);
}

/* All that a command for a device may say but for @without, and @value for attribute @odd. */
static void seed_dev(struct seed *s, u8 cmd, u16 without, u16 odd, u64 value)
{
	static const struct {
		u8 cmd;
		u16 type, len;
		u64 value;
	} attrs[] = {
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_VM_FD, 4, 7 },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_DEV_NO, 4, 3 },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_DEV_KIND, 4, FTKVM_UAPI_DEV_BLK },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_BACKEND_FD, 4, 9 },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_CAPACITY, 8, 65536 },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_READONLY, 0, 0 },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_SHARED, 0, 0 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_QUEUE, 4, 1 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_DEV_FEATURES, 8,
		  BIT_ULL(VIRTIO_F_VERSION_1) | 0x200 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_NUM, 4, 256 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_DESC, 8, 0x1000 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_AVAIL, 8, 0x2000 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_USED, 8, 0x3000 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_BASE, 4, 40000 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_KICK_FD, 4, 10 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_CALL_FD, 4, 11 },
		{ FTKVM_CMD_DEV_CALL, FTKVM_A_QUEUE, 4, 1 },
		{ FTKVM_CMD_DEV_CALL, FTKVM_A_CALL_FD, 4, 11 },
		{ FTKVM_CMD_DEV_STOP, FTKVM_A_QUEUE, 4, 1 },
		{ FTKVM_CMD_DEV_TRACK, FTKVM_A_TRACK, 4, 5 },
		{ FTKVM_CMD_DEV_DIRTY, FTKVM_A_TRACK, 4, 5 },
	};
	u32 i;

	if (without != FTKVM_A_DEV_NAME)
		seed_attr(s, FTKVM_A_DEV_NAME, "db1-disk", 9);
	for (i = 0; i < ARRAY_SIZE(attrs); i++)
		if (attrs[i].cmd == cmd && attrs[i].type != without)
			seed_attr(s, attrs[i].type,
				  attrs[i].type == odd ? &value : &attrs[i].value, attrs[i].len);
	seed_done(s);
}

/* A network card has neither a capacity nor is it read-only. */
static void seed_card(struct seed *s)
{
	static const u32 vm_fd = 7, no = 4, kind = FTKVM_UAPI_DEV_NET, backend_fd = 9;

	seed_attr(s, FTKVM_A_DEV_NAME, "db1-net", 8);
	seed_attr(s, FTKVM_A_VM_FD, &vm_fd, 4);
	seed_attr(s, FTKVM_A_DEV_NO, &no, 4);
	seed_attr(s, FTKVM_A_DEV_KIND, &kind, 4);
	seed_attr(s, FTKVM_A_BACKEND_FD, &backend_fd, 4);
	seed_done(s);
}

/* Every command for a device, each attribute missing once, and numbers at limits. */
static void seed_devs(struct seed *s)
{
	static const struct {
		u8 cmd;
		u16 type;
		u64 at;
	} limits[] = {
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_DEV_NO, 0 },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_DEV_NO, FTKVM_DEV_NO_HIGHEST },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_DEV_KIND, FTKVM_UAPI_DEV_BLK },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_DEV_KIND, FTKVM_UAPI_DEV_NET },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_VM_FD, 0 },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_BACKEND_FD, 0 },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_CAPACITY, 1 },
		{ FTKVM_CMD_DEV_ADD, FTKVM_A_CAPACITY, S64_MAX / 512 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_QUEUE, 255 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_DEV_FEATURES, BIT_ULL(VIRTIO_F_VERSION_1) },
		{ FTKVM_CMD_DEV_START, FTKVM_A_NUM, 1 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_NUM, FTKVM_DEV_NUM_HIGHEST },
		{ FTKVM_CMD_DEV_START, FTKVM_A_BASE, U16_MAX },
		{ FTKVM_CMD_DEV_START, FTKVM_A_KICK_FD, 0 },
		{ FTKVM_CMD_DEV_START, FTKVM_A_CALL_FD, 0 },
		{ FTKVM_CMD_DEV_CALL, FTKVM_A_CALL_FD, 0 },
		{ FTKVM_CMD_DEV_STOP, FTKVM_A_QUEUE, 255 },
	};
	u16 without;
	u8 cmd, ret;
	u32 i;
	int by;

	for (ret = 0; ret < 4; ret++) {
		seed_begin(s, ret, ret > 1, FTKVM_CMD_DEV_ADD);
		seed_card(s);
	}
	for (cmd = FTKVM_CMD_DEV_ADD; cmd <= FTKVM_CMD_DEV_GET; cmd++) {
		for (ret = 0; ret < 4; ret++) {
			seed_begin(s, ret, ret > 1, cmd);
			seed_dev(s, cmd, 0, 0, 0);
		}
		for (without = FTKVM_A_VM_FD; without <= FTKVM_A_MAX; without++) {
			seed_begin(s, 0, 0, cmd);
			seed_dev(s, cmd, without, 0, 0);
		}
	}
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		for (by = -1; by <= 1; by++) {
			seed_begin(s, 0, 0, limits[i].cmd);
			seed_dev(s, limits[i].cmd, 0, limits[i].type, limits[i].at + by);
		}
	}
	for (cmd = FTKVM_CMD_DEV_TRACK; cmd <= FTKVM_CMD_DEV_DIRTY; cmd++) {
		for (ret = 0; ret < 4; ret++) {
			seed_begin(s, ret, ret > 1, cmd);
			seed_dev(s, cmd, 0, 0, 0);
			seed_begin(s, ret, ret > 1, cmd);
			seed_dev(s, cmd, FTKVM_A_TRACK, 0, 0);
		}
	}
	/* a card without a capacity, and all there are */
	seed_begin(s, 0, 0, FTKVM_CMD_DEV_ADD);
	seed_dev(s, FTKVM_CMD_DEV_ADD, FTKVM_A_CAPACITY, FTKVM_A_DEV_KIND, FTKVM_UAPI_DEV_NET);
	seed_begin(s, 0, 2, FTKVM_CMD_DEV_GET);
	seed_done(s);
}

/* Numbers on both sides of every limit. */
static void seed_limits(struct seed *s)
{
	static const struct {
		u16 type;
		s64 at;
	} limits[] = {
		{ FTKVM_A_SOCK_FD, 0 },
		{ FTKVM_A_ROLE, FTKVM_UAPI_ROLE_PRIMARY }, { FTKVM_A_ROLE, FTKVM_UAPI_ROLE_BACKUP },
		{ FTKVM_A_PERIOD_MIN, FTKVM_PERIOD_LOWEST },
		{ FTKVM_A_PERIOD_MIN, FTKVM_PERIOD_HIGHEST },
		{ FTKVM_A_PERIOD_MAX, FTKVM_PERIOD_LOWEST },
		{ FTKVM_A_PERIOD_MAX, FTKVM_PERIOD_HIGHEST },
		{ FTKVM_A_MARGIN, 1 }, { FTKVM_A_MARGIN, FTKVM_MARGIN_HIGHEST },
		{ FTKVM_A_COUNTER, 1 },
		{ FTKVM_A_TIMEOUT_MS, FTKVM_TIMEOUT_LOWEST },
		{ FTKVM_A_TIMEOUT_MS, FTKVM_TIMEOUT_HIGHEST },
		{ FTKVM_A_VERIFY_EVERY, FTKVM_VERIFY_HIGHEST },
		{ FTKVM_A_ON_LOSS, FTKVM_UAPI_LOSS_SOLO }, { FTKVM_A_ON_LOSS, FTKVM_UAPI_LOSS_HOLD },
	};
	u32 i;
	int by;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		for (by = -1; by <= 1; by++) {
			seed_begin(s, 0, 0, FTKVM_CMD_PAIR);
			seed_pair(s, FTKVM_CMD_PAIR, limits[i].type, limits[i].at + by);
		}
	}
}

void fuzz_seeds(void)
{
	static const u32 state = FTKVM_UAPI_STATE_ORPHAN;
	static const s32 fd = 7;
	struct seed s = { };
	u8 cmd, ret;
	u32 disks;

	register_family();
	seed_second(&s, 0);
	seed_second(&s, U64_MAX);
	for (ret = 0; ret < 4; ret++) {
		seed_begin(&s, ret, ret > 1, FTKVM_CMD_FENCE);
		seed_attr(&s, FTKVM_A_NAME, "db1", 4);
		seed_done(&s);
	}
	for (cmd = FTKVM_CMD_ATTACH; cmd <= FTKVM_CMD_VERIFY; cmd++) {
		for (ret = 0; ret < 4; ret++) {
			seed_begin(&s, ret, ret > 1, cmd);
			if (cmd == FTKVM_CMD_PAIR || cmd == FTKVM_CMD_SET) {
				seed_pair(&s, cmd, 0, 0);
				continue;
			}
			seed_attr(&s, FTKVM_A_NAME, "db1", 4);
			if (cmd == FTKVM_CMD_ATTACH)
				seed_attr(&s, FTKVM_A_VM_FD, &fd, 4);
			if (cmd == FTKVM_CMD_PROMOTE) {
				seed_attr(&s, FTKVM_A_FORCE, NULL, 0);
				seed_attr(&s, FTKVM_A_STATE, &state, 4);
			}
			seed_done(&s);
		}
	}
	for (disks = 0; disks <= FTKVM_UAPI_DISKS_COMPARE + 1; disks++) {
		seed_begin(&s, 0, 0, FTKVM_CMD_VERIFY);
		seed_attr(&s, FTKVM_A_NAME, "db1", 4);
		seed_attr(&s, FTKVM_A_DISKS, &disks, 4);
		seed_done(&s);
	}
	seed_limits(&s);
	seed_devs(&s);
	seed_begin(&s, 0, 2, FTKVM_CMD_GET);
	seed_done(&s);
	seed_begin(&s, 0, 0, FTKVM_CMD_CHECK);
	seed_attr(&s, FTKVM_A_VM_FD, &fd, 4);
	seed_done(&s);
}
