// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel threads as fibers, of which one runs: who is next is out of the input.
 * So an interleaving that fails can be had again.
 */
#include <ucontext.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

#include "shim_socket.h"

#define STACK	(128u << 10)
#define MAX	4	/* the process and some threads */

struct task_struct {
	ucontext_t context;
	char *stack;
	void *fake_stack;
	int (*fn)(void *data);
	void *data;
	int state, refs;
	bool runnable, done;
};

unsigned long jiffies;
struct task_struct *current;

static struct task_struct tasks[MAX];
static unsigned int ntasks;
/* the process's own stack, learnt at the first switch away from it */
static const void *main_stack;
static size_t main_size;

static void switched_here(void)
{
	const void *stack;
	size_t size;

	__sanitizer_finish_switch_fiber(current->fake_stack, &stack, &size);
	if (!main_stack) {
		main_stack = stack;
		main_size = size;
	}
}

static void switch_to(struct task_struct *next)
{
	struct task_struct *prev = current;

	if (next == prev)
		return;
	current = next;
	__sanitizer_start_switch_fiber(prev->done ? NULL : &prev->fake_stack,
				       next == tasks ? main_stack : next->stack,
				       next == tasks ? main_size : STACK);
	swapcontext(&prev->context, &next->context);
	switched_here();
}

/* One of those that can run; @others: but not this one. */
static void yield(bool others)
{
	struct task_struct *can[MAX];
	unsigned int n = 0, i, me = current - tasks;

	for (i = 1; i <= ntasks; i++) {
		struct task_struct *t = &tasks[(me + i) % ntasks];

		if (t->runnable && !t->done && !(others && t == current))
			can[n++] = t;
	}
	/* whoever waits for time to pass can be let go on */
	for (i = 1; !n && i <= ntasks; i++) {
		struct task_struct *t = &tasks[(me + i) % ntasks];

		if (!t->done && t->state == TASK_IDLE)
			can[n++] = t;
	}
	BUG_ON(!n);	/* nobody can run: a deadlock */
	switch_to(can[shim_choose(n)]);
}

void cond_resched(void)
{
	yield(false);
}

static void fiber(void)
{
	switched_here();
	current->fn(current->data);
	current->done = true;
	yield(true);
}

void shim_threads_init(void)
{
	ntasks = 1;
	tasks[0] = (struct task_struct) { .runnable = true };
	current = tasks;
	jiffies = -1000ul;	/* soon they wrap */
}

struct task_struct *kthread_create(int (*fn)(void *data), void *data, const char *fmt, ...)
{
	struct task_struct *t = &tasks[ntasks];
	char *stack = t->stack;

	if (shim_out_of_memory())
		return ERR_PTR(-ENOMEM);
	BUG_ON(ntasks == MAX);
	*t = (struct task_struct) { .fn = fn, .data = data, .refs = 1 };
	t->stack = stack ?: malloc(STACK);
	/* what the last one left there is over */
	ASAN_UNPOISON_MEMORY_REGION(t->stack, STACK);
	getcontext(&t->context);
	t->context.uc_stack.ss_sp = t->stack;
	t->context.uc_stack.ss_size = STACK;
	t->context.uc_link = NULL;
	makecontext(&t->context, fiber, 0);
	ntasks++;
	return t;
}

/* A thread that never ran never will. */
int kthread_stop(struct task_struct *t)
{
	BUG_ON(t->refs <= 0);
	if (!t->runnable && t->state == TASK_RUNNING)
		t->done = true;
	while (!t->done)
		yield(true);
	return 0;
}

void get_task_struct(struct task_struct *t)
{
	t->refs++;
}

void put_task_struct(struct task_struct *t)
{
	BUG_ON(!--t->refs && !t->done);
}

void wake_up_process(struct task_struct *t)
{
	BUG_ON(t->refs <= 0);
	t->runnable = true;
	t->state = TASK_RUNNING;
}

void set_current_state(int state)
{
	current->state = state;
}

long schedule_timeout(long timeout)
{
	BUG_ON(timeout < 0);
	if (current->state == TASK_RUNNING) {
		cond_resched();
		return timeout;
	}
	/* not woken before, and perhaps not at all */
	current->runnable = false;
	if (!shim_choose(2))
		yield(true);
	if (current->state != TASK_RUNNING)
		jiffies += timeout;
	current->runnable = true;
	current->state = TASK_RUNNING;
	return 0;
}

void rt_mutex_lock(struct rt_mutex *m)
{
	BUG_ON(m->owner == current);
	cond_resched();
	while (m->owner)
		yield(true);
	m->owner = current;
}

int rt_mutex_lock_interruptible(struct rt_mutex *m)
{
	if (shim_signal())
		return -EINTR;
	rt_mutex_lock(m);
	return 0;
}

bool rt_mutex_trylock(struct rt_mutex *m)
{
	if (m->owner)
		return false;
	m->owner = current;
	return true;
}

void rt_mutex_unlock(struct rt_mutex *m)
{
	BUG_ON(m->owner != current);
	m->owner = NULL;
	cond_resched();
}

void msg_copy(struct msghdr *msg, void *buf, size_t len)
{
	char *at = buf;

	BUG_ON(len > msg->left);
	msg->left -= len;
	while (len) {
		size_t n = min(msg->vec->iov_len - msg->skip, len);
		char *base = (char *)msg->vec->iov_base + msg->skip;

		if (msg->msg_iter.direction == ITER_DEST)
			memcpy(base, at, n);
		else
			memcpy(at, base, n);
		at += n;
		len -= n;
		msg->skip += n;
		if (msg->skip == msg->vec->iov_len) {
			msg->vec++;
			msg->skip = 0;
		}
	}
}
