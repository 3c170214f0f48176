/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What kmod/link/ needs of a kernel beside shim/shim.h: threads, which are
 * fibers of one process here (shim/fiber.c), time, which passes when somebody
 * waits, and sockets, which are the target's.
 */
#ifndef FTKVM_FUZZ_SOCKET_H
#define FTKVM_FUZZ_SOCKET_H

#include "shim.h"

/* ---- err.h ---- */

#define IS_ERR(p)	((unsigned long)(p) >= (unsigned long)-4095)
#define PTR_ERR(p)	((long)(p))
#define ERR_PTR(e)	((void *)(long)(e))

/* ---- time ---- */

extern unsigned long jiffies;

#define time_after(a, b)	((long)((b) - (a)) < 0)
#define msecs_to_jiffies(ms)	(((unsigned long)(ms) * HZ + 999) / 1000)
#define jiffies_to_msecs(j)	((unsigned int)((j) * 1000 / HZ))

/* ---- bits, counters, locks: fibers change places where they say so alone ---- */

#define test_bit(n, p)			(*(p) >> (n) & 1)
#define set_bit(n, p)			(*(p) |= BIT(n))
#define clear_bit(n, p)			(*(p) &= ~BIT(n))
#define test_and_set_bit(n, p)		({ bool _was = test_bit(n, p); set_bit(n, p); _was; })
#define test_and_clear_bit(n, p)	({ bool _was = test_bit(n, p); clear_bit(n, p); _was; })

typedef struct { int v; } atomic_t;
typedef struct { s64 v; } atomic64_t;

#define atomic_set(a, n)	((a)->v = (n))
#define atomic_dec_and_test(a)	(!--(a)->v)
#define atomic64_add(n, a)	((a)->v += (n))
#define atomic64_read(a)	((a)->v)

typedef struct { bool held; } raw_spinlock_t;

#define raw_spin_lock_init(l)	((l)->held = false)
#define raw_spin_lock_irqsave(l, flags) do {					\
	BUG_ON((l)->held);							\
	(l)->held = true;							\
	(flags) = 1;								\
} while (0)
#define raw_spin_unlock_irqrestore(l, flags) do {				\
	BUG_ON(!(l)->held || (flags) != 1);					\
	(l)->held = false;							\
} while (0)

struct rt_mutex {
	struct task_struct *owner;
};

void rt_mutex_lock(struct rt_mutex *m);
int rt_mutex_lock_interruptible(struct rt_mutex *m);
bool rt_mutex_trylock(struct rt_mutex *m);
void rt_mutex_unlock(struct rt_mutex *m);

#define rt_mutex_init(m)	((m)->owner = NULL)
#define lockdep_assert_held(m)	BUG_ON((m)->owner != current)

/* ---- threads ---- */

enum { TASK_RUNNING, TASK_IDLE };

extern struct task_struct *current;

struct task_struct *kthread_create(int (*fn)(void *data), void *data, const char *fmt, ...)
	__printf(3, 4);
int kthread_stop(struct task_struct *t);
void get_task_struct(struct task_struct *t);
void put_task_struct(struct task_struct *t);
void wake_up_process(struct task_struct *t);
void set_current_state(int state);
long schedule_timeout(long timeout);
/* Let another fiber run, or not: as shim_choose() says. */
void cond_resched(void);

#define __set_current_state(s)	set_current_state(s)
#define sched_set_fifo_low(t)	((void)(t))
#define memalloc_noreclaim_save()	0u
#define memalloc_noreclaim_restore(f)	((void)(f))
#define in_task()		true

/* The target's: a number below @n, out of the input; 0 when that is at its end. */
unsigned int shim_choose(unsigned int n);
/* The target's: does a signal come for this fiber? */
bool shim_signal(void);
/* The process itself; for the target, before each input. */
void shim_threads_init(void);

/* ---- sockets ---- */

#define SOCK_STREAM	1
#define AF_UNIX		1
#define AF_INET		2
#define AF_INET6	10
#define TCP_ESTABLISHED	1
#define SHUT_RDWR	2
#define RCV_SHUTDOWN	1
#define MSG_DONTWAIT	0x40
#define MSG_WAITALL	0x100
#define MSG_NOSIGNAL	0x4000
#define MSG_MORE	0x8000
#define ITER_DEST	0
#define ITER_SOURCE	1

struct sock {
	int sk_family, sk_protocol, sk_state, sk_shutdown;
	long sk_rcvtimeo, sk_sndtimeo;
};

struct socket {
	int type;
	struct sock *sk;
};

struct kvec {
	void *iov_base;
	size_t iov_len;
};

struct msghdr {
	const struct kvec *vec;
	size_t skip, left;	/* of the first; of all */
	int msg_flags;
	struct { int direction; } msg_iter;
};

#define msg_data_left(msg)	((msg)->left)
#define iov_iter_kvec(iter, dir, v, n, len) do {				\
	struct msghdr *_msg = container_of(iter, struct msghdr, msg_iter);	\
										\
	(void)(n);								\
	(iter)->direction = dir;						\
	_msg->vec = v;								\
	_msg->skip = 0;								\
	_msg->left = len;							\
} while (0)

struct socket *sockfd_lookup(int fd, int *err);
void sockfd_put(struct socket *sock);
int sock_recvmsg(struct socket *sock, struct msghdr *msg, int flags);
int sock_sendmsg(struct socket *sock, struct msghdr *msg);
int kernel_sock_shutdown(struct socket *sock, int how);

#define tcp_sock_set_nodelay(sk)	((void)(sk))

/* Move @len bytes on, from or to @buf. */
void msg_copy(struct msghdr *msg, void *buf, size_t len);

#endif
