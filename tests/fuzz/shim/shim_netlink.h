/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What kmod/netlink/, and the kernel's own lib/nlattr.c and net/netlink/, need of a
 * kernel beside shim/shim.h. Attributes, policies, generic netlink and
 * acknowledgments are the kernel's; socket buffers are simple here, and what is
 * sent ends up with the target.
 */
#ifndef FTKVM_FUZZ_NETLINK_H
#define FTKVM_FUZZ_NETLINK_H

#include "shim.h"

#define CONFIG_NET				1
#define CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS	1

/* ---- err.h, and what is nothing here ---- */

#define IS_ERR(p)	((unsigned long)(p) >= (unsigned long)-4095)
#define PTR_ERR(p)	((long)(p))
#define ERR_PTR(e)	((void *)(long)(e))
#define ERR_CAST(p)	((void *)(p))

struct module;
#define THIS_MODULE		((struct module *)NULL)
#define MODULE_ALIAS_NET_PF_PROTO_NAME(...)
#define panic(...)		shim_complain("panic()")
#define pr_warn_ratelimited(...)	do { } while (0)
#define array_index_nospec(i, n)	(i)
#define core_initcall(fn) \
	static __attribute__((constructor)) void fn##_call(void) { fn(); }
#define __net_init
#define __net_exit
#define __rcu
#define flex_array_size(p, member, n)	(sizeof((p)->member[0]) * (n))
#define string_is_terminated(s, len)	(memchr(s, '\0', len) != NULL)

/* A message of the family's must fit into an extended acknowledgment. */
#define net_warn_ratelimited(...)	shim_complain("an extack is truncated")

/* ---- locks: one thread ---- */

struct mutex { bool held; };
struct rw_semaphore { int readers; bool writer; };

#define DEFINE_MUTEX(m)		struct mutex m
#define DECLARE_RWSEM(s)	struct rw_semaphore s
#define mutex_lock(m)		do { BUG_ON((m)->held); (m)->held = true; } while (0)
#define mutex_unlock(m)		do { BUG_ON(!(m)->held); (m)->held = false; } while (0)
#define down_read(s)		do { BUG_ON((s)->writer); (s)->readers++; } while (0)
#define up_read(s)		do { BUG_ON(!(s)->readers); (s)->readers--; } while (0)
#define down_write(s) do {							\
	BUG_ON((s)->writer || (s)->readers);					\
	(s)->writer = true;							\
} while (0)
#define up_write(s)		do { BUG_ON(!(s)->writer); (s)->writer = false; } while (0)
#define rcu_read_lock()		do { } while (0)
#define rcu_read_unlock()	do { } while (0)

typedef struct { int v; } atomic_t;
typedef struct { int none; } wait_queue_head_t;

#define ATOMIC_INIT(n)			{ n }
#define atomic_read(a)			((a)->v)
#define DECLARE_WAIT_QUEUE_HEAD(q)	wait_queue_head_t q
#define wait_event(q, cond)		BUG_ON(!(cond))

/* ---- bits, numbers to pointers ---- */

#define test_bit(n, p)		((p)[(n) / 64] >> (n) % 64 & 1)
#define set_bit(n, p)		((p)[(n) / 64] |= BIT((n) % 64))
#define clear_bit(n, p)		((p)[(n) / 64] &= ~BIT((n) % 64))

static inline int find_next_zero_bit(const unsigned long *p, int n, int from)
{
	while (from < n && test_bit(from, p))
		from++;
	return from;
}

#define find_first_zero_bit(p, n)	find_next_zero_bit(p, n, 0)

/* Families: the controller and one more. */
struct idr { void *at[32]; };

#define DEFINE_IDR(i)		struct idr i
#define idr_find(i, id)		((id) < 32u ? (i)->at[id] : NULL)
#define idr_remove(i, id)	((i)->at[id] = NULL)
#define idr_for_each_entry(i, p, id) \
	for (id = 0; id < 32; id++) if (!((p) = (i)->at[id])) { } else

static inline int idr_alloc_cyclic(struct idr *i, void *p, int start, int end, gfp_t flags)
{
	for (; start < end && start < 32; start++) {
		if (!i->at[start]) {
			i->at[start] = p;
			return start;
		}
	}
	return -ENOSPC;
}

/* Private memory of sockets: the family has none. */
struct xarray { int none; };

#define xa_init(x)			((void)(x))
#define xa_destroy(x)			((void)(x))
#define xa_for_each(x, id, p)		if ((id) = 0, (p) = NULL, false)
#define xa_load(x, id)			((void)(x), (void)(id), (void *)NULL)
#define xa_erase(x, id)			xa_load(x, id)
#define xa_cmpxchg(x, id, o, n, f)	xa_load(x, id)
#define xa_is_err(p)			((void)(p), false)
#define xa_err(p)			0

/* ---- the network: one namespace, one process that asks ---- */

#define PF_NETLINK	16
#define MSG_DONTWAIT	0x40
#define CAP_NET_ADMIN	12
#define CAP_SYS_ADMIN	21

struct user_namespace;
struct notifier_block;
struct net_device;
struct file;
struct list_head { struct list_head *next, *prev; };
struct scm_creds { u32 pid, uid, gid; };

struct net {
	struct sock *genl_sock;
	struct user_namespace *user_ns;
};

typedef struct { struct net *net; } possible_net_t;

extern struct net init_net;

#define read_pnet(p)		((p)->net)
#define write_pnet(p, n)	((p)->net = (n))
#define net_eq(a, b)		((a) == (b))
#define sock_net(sk)		((void)(sk), &init_net)
#define for_each_net_rcu(n)	for ((n) = &init_net; (n); (n) = NULL)
#define ns_capable(ns, cap)	((void)(ns), true)

struct pernet_operations {
	int (*init)(struct net *net);
	void (*exit)(struct net *net);
};

#define register_pernet_subsys(ops)	((ops)->exit ? (ops)->init(&init_net) : -EINVAL)

struct sock { int sk_err; };

struct netlink_sock {
	struct sock sk;
	unsigned long flags;
};

enum { NETLINK_F_CAP_ACK = 5, NETLINK_F_EXT_ACK = 6 };

static inline struct netlink_sock *nlk_sk(struct sock *sk)
{
	return container_of(sk, struct netlink_sock, sk);
}

#define sk_error_report(sk)	((void)(sk))

/* ---- socket buffers ---- */

#define SKB_WITH_OVERHEAD(n)	((n) - 320)	/* x86's struct skb_shared_info */
#define is_vmalloc_addr(p)	((void)(p), false)

struct sk_buff {
	unsigned char *head, *data;
	unsigned int len, size;
	struct sock *sk;
	void (*destructor)(struct sk_buff *skb);
	char cb[48] __aligned(8);
};

struct sk_buff *alloc_skb(unsigned int size, gfp_t flags);
void kfree_skb(struct sk_buff *skb);
struct sk_buff *skb_clone(const struct sk_buff *skb, gfp_t flags);

#define consume_skb(skb)	kfree_skb(skb)
#define skb_tail_pointer(skb)	((skb)->data + (skb)->len)
#define skb_tailroom(skb)	((int)((skb)->head + (skb)->size - skb_tail_pointer(skb)))

static inline void *skb_put(struct sk_buff *skb, unsigned int len)
{
	void *at = skb_tail_pointer(skb);

	BUG_ON(len > (unsigned int)skb_tailroom(skb));
	skb->len += len;
	return at;
}

#define __skb_put(skb, n)	skb_put(skb, n)

static inline void *skb_put_data(struct sk_buff *skb, const void *data, unsigned int len)
{
	return memcpy(skb_put(skb, len), data, len);
}

static inline void *skb_put_zero(struct sk_buff *skb, unsigned int len)
{
	return memset(skb_put(skb, len), 0, len);
}

static inline void skb_trim(struct sk_buff *skb, unsigned int len)
{
	if (len < skb->len)
		skb->len = len;
}

static inline void skb_pull(struct sk_buff *skb, unsigned int len)
{
	BUG_ON(len > skb->len);
	skb->data += len;
	skb->len -= len;
}

/* ---- for lib/nlattr.c and net/netlink.h ---- */

#define jiffies_to_msecs(j)	((unsigned int)(j) * (1000 / HZ))
#define msecs_to_jiffies(ms)	((unsigned long)(ms) / (1000 / HZ))
#define IS_ALIGNED(x, a)	(((x) & ((typeof(x))(a) - 1)) == 0)

static inline void *kmemdup_noprof(const void *src, size_t len, gfp_t flags)
{
	void *p = kmalloc(len, flags);

	return p ? memcpy(p, src, len) : NULL;
}

u64 ktime_get_boottime_ns(void);

#endif
