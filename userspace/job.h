/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Work that may block, in a thread of its own: the module's PAIR and PROMOTE
 * return only when they are done, and a QEMU may be slow to answer.
 */
#ifndef FTKVM_JOB_H
#define FTKVM_JOB_H

struct job {
	void (*work)(struct job *job);	/* in the thread */
	void (*done)(struct job *job);	/* then, in the main loop */
};

/* Once, before any other. 0 or -errno. */
int job_init(void);
/* 0 or -errno; then neither is called. */
int job_start(struct job *job);

#endif
