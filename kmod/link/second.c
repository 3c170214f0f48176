// SPDX-License-Identifier: GPL-2.0
/*
 * The second path: send a beat now and then, note when one came. Nothing waits for it, and
 * it ends without harm to anything: userspace makes another one.
 */
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/net.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/sprintf.h>
#include <linux/uio.h>
#include <net/sock.h>
#include <uapi/linux/ftkvm.h>

#include "../core/beat.h"
#include "../fault/fault.h"
#include "second.h"
#include "wire.h"

/* A sane peer sends twenty in a second; this thread is not to be kept busy by another. */
#define SECOND_BEATS_MAX	1000

/**
 * struct ftkvm_second - see second.h
 * @sock: the socket; a reference to its file is held
 * @ops: upcalls
 * @priv: their argument
 * @token: the pairing's
 * @thread: NULL until it is started
 * @timeout: longest silence, jiffies
 * @heard: when a beat last came, jiffies
 * @peer: the state that it told
 * @up: one has come, and silence was not too long since
 * @waited: for the next one, so far; this and those below: the thread's
 * @sent: when one last left, jiffies
 * @beats: received since @since
 * @since: jiffies
 * @in: what is being received
 * @have: how much of it
 */
struct ftkvm_second {
	struct socket *sock;
	const struct ftkvm_second_ops *ops;
	void *priv;
	u64 token;
	struct task_struct *thread;
	unsigned long timeout;
	unsigned long heard;
	enum ftkvm_state peer;
	bool up;

	unsigned long waited;
	unsigned long sent;
	unsigned int beats;
	unsigned long since;
	struct ftkvm_beat in;
	u32 have;
};

/**
 * ftkvm_second_create() - take over a connected stream socket
 * @fd: descriptor of the calling process; TCP or UNIX
 * @ops: upcalls
 * @priv: their argument
 * @token: of the pairing; beats of another one end the path
 * @timeout_ms: silence that ends it
 * @why: the cause and its remedy on failure
 * @size: room at @why
 *
 * Context: Process; sleeps.
 * Return: the path or ERR_PTR().
 */
struct ftkvm_second *ftkvm_second_create(int fd, const struct ftkvm_second_ops *ops, void *priv,
					 u64 token, unsigned int timeout_ms, char *why,
					 size_t size)
{
	struct ftkvm_second *s = ftkvm_fault_alloc(SECOND_ALLOC, kzalloc(sizeof(*s), GFP_KERNEL));
	struct socket *sock;

	if (!s) {
		scnprintf(why, size, "out of memory: free some");
		return ERR_PTR(-ENOMEM);
	}
	sock = ftkvm_wire_socket(fd, why, size);
	if (IS_ERR(sock)) {
		kfree(s);
		return ERR_CAST(sock);
	}
	s->sock = sock;
	s->ops = ops;
	s->priv = priv;
	s->token = token;
	ftkvm_second_set_timeout(s, timeout_ms);
	return s;
}

/**
 * ftkvm_second_set_timeout() - change the time-out
 * @s: the path
 * @timeout_ms: from now on
 *
 * Context: Any.
 */
void ftkvm_second_set_timeout(struct ftkvm_second *s, unsigned int timeout_ms)
{
	WRITE_ONCE(s->timeout, max(msecs_to_jiffies(timeout_ms), 1ul));
}

/* -errno when the path is of no more use. A beat that finds no room is left out. */
static int second_send(struct ftkvm_second *s)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	struct ftkvm_beat b;
	struct kvec vec = { .iov_base = &b, .iov_len = sizeof(b) };
	unsigned int flags;
	int n;

	if (time_before(jiffies, s->sent + msecs_to_jiffies(FTKVM_BEAT_MS)))
		return 0;
	ftkvm_beat_seal(&b, s->token, s->ops->state(s->priv));
	n = ftkvm_fault_data(FTKVM_FAULT_SECOND_BEAT, &b, sizeof(b));
	if (n)
		return n;
	flags = memalloc_noreclaim_save();
	n = kernel_sendmsg(s->sock, &msg, &vec, 1, sizeof(b));
	memalloc_noreclaim_restore(flags);
	s->sent = jiffies;
	ftkvm_fault(FTKVM_FAULT_SECOND_SENT);
	if (n == sizeof(b) || n == -EAGAIN)
		return 0;
	return n < 0 ? n : -EPIPE;
}

static int second_take(struct ftkvm_second *s)
{
	enum ftkvm_state state;
	int ret = ftkvm_fault_data(FTKVM_FAULT_SECOND_GOT, &s->in, sizeof(s->in)) ?:
		  ftkvm_beat_check(&s->in, s->token, &state);

	s->have = 0;
	if (ret)
		return ret;
	if (time_after(jiffies, s->since + HZ)) {
		s->since = jiffies;
		s->beats = 0;
	}
	if (++s->beats > SECOND_BEATS_MAX)
		return -EBADMSG;
	s->waited = 0;
	WRITE_ONCE(s->peer, state);
	WRITE_ONCE(s->heard, jiffies);
	ftkvm_fault(FTKVM_FAULT_SECOND_HEARD);
	if (!s->up) {
		/* what a beat says is there before anybody believes it */
		smp_store_release(&s->up, true);
		s->ops->news(s->priv, true, "the peer is heard");
	}
	return 0;
}

/*
 * Receive until a beat is due. As on the link, time is counted by what was waited: a host that
 * stood still itself does not blame its peer.
 */
static int second_recv(struct ftkvm_second *s)
{
	struct kvec vec = {
		.iov_base = (u8 *)&s->in + s->have,
		.iov_len = sizeof(s->in) - s->have,
	};
	unsigned long start = jiffies, slice;
	long left = s->sent + msecs_to_jiffies(FTKVM_BEAT_MS) - start;
	struct msghdr msg = { };
	int n;

	slice = max(left, 1l);
	WRITE_ONCE(s->sock->sk->sk_rcvtimeo, slice);
	n = kernel_recvmsg(s->sock, &msg, &vec, 1, vec.iov_len, MSG_WAITALL);
	if (!n)
		return -EPIPE;
	if (n < 0 && n != -EAGAIN)
		return n;
	if (n > 0)
		s->have += n;
	if (s->have == sizeof(s->in))
		return second_take(s);
	s->waited += clamp(jiffies - start, 1ul, slice);
	return s->waited >= READ_ONCE(s->timeout) ? -ETIMEDOUT : 0;
}

static void second_why(const struct ftkvm_second *s, int err, char *why, size_t size)
{
	switch (err) {
	case -EPIPE:
	case -ECONNRESET:
		scnprintf(why, size, "the peer closed it");
		break;
	case -ETIMEDOUT:
		scnprintf(why, size, "nothing was heard for %u ms",
			  jiffies_to_msecs(READ_ONCE(s->timeout)));
		break;
	case -EBADMSG:
	case -ESTALE:
		scnprintf(why, size, "what came is no beat of this pairing");
		break;
	default:
		scnprintf(why, size, "the socket failed (error %d)", -err);
	}
}

static int second_thread(void *data)
{
	struct ftkvm_second *s = data;
	char why[FTKVM_DETAIL_MAX + 1];
	int ret = 0;

	while (!ret && !kthread_should_stop()) {
		ret = second_send(s) ?: second_recv(s);
		cond_resched();
	}
	WRITE_ONCE(s->up, false);
	/* the peer is to see it, too, at once */
	kernel_sock_shutdown(s->sock, SHUT_RDWR);
	if (ret && !kthread_should_stop()) {
		second_why(s, ret, why, sizeof(why));
		s->ops->news(s->priv, false, why);
	}
	return 0;
}

/**
 * ftkvm_second_start() - begin to beat
 * @s: the path
 * @name: the replica's, for the thread's name
 *
 * Context: Process; sleeps.
 * Return: 0 or -errno; only after 0 will there be upcalls.
 */
int ftkvm_second_start(struct ftkvm_second *s, const char *name)
{
	struct task_struct *t;
	int ret = ftkvm_fault(FTKVM_FAULT_SECOND_THREAD);

	if (ret)
		return ret;
	t = kthread_create(second_thread, s, "ftkvm-2nd/%s", name);
	if (IS_ERR(t))
		return PTR_ERR(t);
	get_task_struct(t);
	/* A beat that is late is a host that seems dead. */
	sched_set_fifo_low(t);
	s->since = jiffies;
	s->sent = jiffies - msecs_to_jiffies(FTKVM_BEAT_MS);
	s->thread = t;
	wake_up_process(t);
	return 0;
}

/**
 * ftkvm_second_heard() - what is heard
 * @s: the path
 * @heard: filled in
 *
 * Context: Any.
 */
void ftkvm_second_heard(const struct ftkvm_second *s, struct ftkvm_second_heard *heard)
{
	unsigned long at;
	long silence;

	/* Pairs with the release in second_take(). */
	heard->up = smp_load_acquire(&s->up);
	heard->peer = READ_ONCE(s->peer);
	/* read before the clock: what is heard meanwhile must not lie in the future */
	at = READ_ONCE(s->heard);
	silence = jiffies - at;
	heard->silence_ms = heard->up && silence > 0 ? jiffies_to_msecs(silence) : 0;
}

/**
 * ftkvm_second_destroy() - end the path and free it
 * @s: the path; nobody else uses it any more
 *
 * Context: Process; sleeps until an upcall that goes on is over. Not from an upcall.
 */
void ftkvm_second_destroy(struct ftkvm_second *s)
{
	kernel_sock_shutdown(s->sock, SHUT_RDWR);
	if (s->thread) {
		kthread_stop(s->thread);
		put_task_struct(s->thread);
	}
	sockfd_put(s->sock);
	kfree(s);
}
