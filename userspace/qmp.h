/* SPDX-License-Identifier: GPL-2.0 */
/* A guest's QEMU: its monitor (QMP), its process, its KVM VM. */
#ifndef FTKVM_QMP_H
#define FTKVM_QMP_H

#include <sys/types.h>
#include "nl.h"
#include "open_as.h"

/* Time-out of one QMP command. Emulated hosts are slow. */
#define FTQMP_TIMEOUT_MS	15000

/* A connection to a monitor. One thread at a time. */
struct ftqmp {
	int fd;			/* -1: not connected */
	pid_t pid;		/* of QEMU */
	struct ftuser user;	/* whose that is */
	unsigned int id;
	int64_t until;		/* no command is waited for any longer: ft_now_ms(), 0: as long as it may take */
	uint64_t reset_ns;	/* when it said last that it reset its guest; CLOCK_BOOTTIME, 0: never */
	uint64_t stop_ns;	/* ... that it stopped it, if that was so since this was opened */
	char status[32];	/* what it does, as ftqmp_status() has it; good if ftqmp_known() */
	unsigned int looks;	/* the ID of ftqmp_look()'s question, until it is answered */
	bool moved;		/* it may do something else by now */
	char *buf;
	size_t have, size;
};

/* An unconnected one; ftqmp_close() is harmless on it. */
#define FTQMP_INIT	{ .fd = -1, .moved = true, .user = FTUSER_NOBODY }

/**
 * ftqmp_open() - connect to QEMU's monitor and greet it
 * @path: of its UNIX socket
 */
int ftqmp_open(struct ftqmp *q, const char *path, struct fterr *err);
void ftqmp_close(struct ftqmp *q);

/**
 * ftqmp_run() - execute a command; events that arrive meanwhile are dropped
 * @args: its arguments or NULL; the reference is stolen
 * Return: what it returned (a new reference) or NULL with a text. After
 * -ETIMEDOUT or worse the connection is of no more use; but an answer that comes
 * later than @until was is dropped, and the next command gets its own.
 */
json_t *ftqmp_run(struct ftqmp *q, const char *command, json_t *args, struct fterr *err);

/* The same for those that return nothing of interest: 0 or -errno. */
int ftqmp_do(struct ftqmp *q, const char *command, json_t *args, struct fterr *err);

/**
 * ftqmp_status() - what does QEMU do with its guest?
 * @status: "running", "prelaunch", "paused", "inmigrate", "postmigrate", ...
 * Return: 0 or -errno with a text
 */
int ftqmp_status(struct ftqmp *q, char *status, size_t size, struct fterr *err);

/**
 * ftqmp_look() - ask for that without waiting, if it may be another by now
 *
 * The answer is read by whatever reads next: ftqmp_read_events(), or a command.
 */
void ftqmp_look(struct ftqmp *q);

/* Is q->status what it does, as far as QEMU has told? */
static inline bool ftqmp_known(const struct ftqmp *q)
{
	return *q->status && !q->moved && !q->looks;
}

/* Give QEMU a copy of a descriptor, which it knows as @name then. 0 or -errno. */
int ftqmp_give(struct ftqmp *q, int fd, const char *name, struct fterr *err);

/**
 * ftqmp_read_events() - what QEMU says unasked; never blocks, and leaves what comes behind one
 *	bufferful for the next time
 * Return: 0, or -errno when the connection is gone
 */
int ftqmp_read_events(struct ftqmp *q, void (*fn)(const char *event, void *arg), void *arg);

/* The KVM VM of a process, as a file descriptor of ours; -errno with a text. */
int ft_vm_fd(pid_t pid, struct fterr *err);
/* There is no such process any more. */
bool ft_process_gone(pid_t pid);
/* A file descriptor that becomes readable when the process has ended; -errno. */
int ft_pidfd(pid_t pid);

/**
 * ft_guest_problems() - why this guest can't be protected, as far as QEMU knows
 * Return: 0 (problems are in @p), or -errno with a text if QEMU does not answer
 */
int ft_guest_problems(struct ftqmp *q, struct ftproblems *p, struct fterr *err);

/* Is a device of this QOM type known not to write guest memory at times of its own? */
bool ft_type_harmless(const char *type);

/* All problems' causes and remedies in one text. */
void ft_problems_text(const struct ftproblems *p, char *buf, size_t size);

#endif
