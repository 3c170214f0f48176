/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Fault points: places where a test build (make kmod FAULTS=1) can be told to
 * fail, to wait, to lose power ... (fault.c). In any other build there is
 * nothing of it: calls are empty, what they wrap is what remains.
 */
#ifndef FTKVM_FAULT_H
#define FTKVM_FAULT_H

#include <linux/types.h>
#include "points.h"

enum ftkvm_fault_point {
#define P(name, ...) FTKVM_FAULT_##name,
	FTKVM_FAULT_TABLE(P)
#undef P
	FTKVM_FAULT_POINTS
};

struct msghdr;
struct socket;

#ifdef CONFIG_FTKVM_FAULTS

int ftkvm_fault(enum ftkvm_fault_point p);
int ftkvm_fault_data(enum ftkvm_fault_point p, void *data, size_t len);
int ftkvm_fault_sendmsg(struct socket *sock, struct msghdr *msg);
int ftkvm_fault_recvmsg(struct socket *sock, struct msghdr *msg, int flags);
void ftkvm_fault_init(void);
void ftkvm_fault_exit(void);

/* The point of a type of record or frame, given that of the first (type 1) and the last. */
static inline enum ftkvm_fault_point
ftkvm_fault_typed(enum ftkvm_fault_point first, enum ftkvm_fault_point last, u8 type)
{
	return type - 1 < last - first ? first + type - 1 : last;
}

#else

#define ftkvm_fault_data(p, data, len)	ftkvm_fault(p)
#define ftkvm_fault_sendmsg	sock_sendmsg
#define ftkvm_fault_recvmsg	sock_recvmsg
#define ftkvm_fault_typed(first, last, type)	(first)

static inline int ftkvm_fault(enum ftkvm_fault_point p)
{
	return 0;
}

static inline void ftkvm_fault_init(void)
{
}

static inline void ftkvm_fault_exit(void)
{
}

#endif

/* An allocation that can fail: NULL, or what @alloc says. */
#define ftkvm_fault_alloc(point, alloc)	\
	(ftkvm_fault(FTKVM_FAULT_##point) ? NULL : (alloc))

#endif
