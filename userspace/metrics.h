/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Metrics for Prometheus, in its text format 0.0.4. Documentation/ftkvm/monitoring.rst lists
 * them: names and labels stay as they are.
 */
#ifndef FTKVM_METRICS_H
#define FTKVM_METRICS_H

#include <stdio.h>
#include "heard.h"
#include "nl.h"

/* What ftd's main loop knows of a guest whose pairing has a session at the arbiter. */
struct ftmetrics_session {
	char guest[FTKVM_NAME_MAX + 1];
	enum ftheard_what heard;
};

/* ... of a guest whose QEMU has told what it does. */
struct ftmetrics_still {
	char guest[FTKVM_NAME_MAX + 1];
	bool still;
};

/**
 * struct ftmetrics - all that is told
 * @module: the module answered
 * @list, @n: its replicas
 * @ftd: ftd's main loop answered, so the rest is good
 * @arbiter: its type
 * @decides: it is one that is asked
 * @sessions, @n_sessions: of paired guests
 * @stills, @n_stills: which guests stand still, and which do not
 */
struct ftmetrics {
	bool module;
	struct ftreplica *list;
	size_t n;
	bool ftd;
	char arbiter[16];
	bool decides;
	struct ftmetrics_session *sessions;
	size_t n_sessions;
	struct ftmetrics_still *stills;
	size_t n_stills;
};

/**
 * ftmetrics_print() - write them
 * @m: what is to be told
 * @to: where
 *
 * Context: any thread.
 */
void ftmetrics_print(const struct ftmetrics *m, FILE *to);

#endif
