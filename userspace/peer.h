/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The TCP port for the other hosts' ftd. Connections begin as [link] says (secure.h); then,
 * a peer sends one line:
 *
 *	{"ftd": 1, "version": ..., "guest": NAME, ["pair": NAME], "port": N,
 *	 ["one_path": true], ["on_loss_said": true], ["period_min", "period_max", "margin", "counter", "timeout", "verify_every",
 *	  "on_loss"]}
 *
 * or, further on in what another connection is for,
 *
 *	{"ftd": 1, "stream": TOKEN}
 *	{"ftd": 1, "version": ..., "guest": NAME, "copy": "disks"}
 *	{"ftd": 1, "version": ..., "guest": NAME, "over": true}
 *	{"ftd": 1, "second": TOKEN, "port": N}
 *	{"ftd": 1, "lives": NAME}
 *
 * With "live": true the guest runs, and more is said: op_protect.c. With "copy" its disks
 * follow: disk_copy.h. With "over" it was unpaired, and its stopped replica may go: op_unprotect.c.
 * With "one_path" somebody wants no second path for this guest, whatever [link] says.
 * With "on_loss_said" an operator has said what "on_loss" (among the settings) is, and not an arbiter's being there.
 * "second" is for a pair's second path, which was paired with that "token": second.h.
 * With "lives" it is asked what there is of the guest: lives.h.
 * ("guest" is attached here; "pair" is what the sender calls it, if otherwise)
 * and gets one: {"ok": true} or {"error": TEXT}. After {"ok": true} the
 * connection belongs to the modules; not a byte of it is read before.
 */
#ifndef FTKVM_PEER_H
#define FTKVM_PEER_H

#include "util.h"

#define PEER_VERSION	1
#define PEER_LINE_MAX	4096

/* Listen at "ADDR:PORT", ":PORT" or "PORT"-less ADDR. 0 or -errno with a text. */
int peer_listen(const char *where, struct fterr *err);
/* The port we listen on. */
int peer_port(void);
/* Has who sent @line, a request or the answer to one, the same version as we? 0, or -EPROTONOSUPPORT with a text. */
int peer_same_version(json_t *line, struct fterr *err);
/* An answer: yes, and who we are. A new reference. */
json_t *peer_yes(void);
/* Has who answered the same kernel? 0, or -EINVAL with a text: that is to be warned of. */
int peer_same_kernel(json_t *answer, struct fterr *err);
/* Is this line a request to pair that we understand? A new reference, or NULL with a text. */
json_t *peer_parse(const char *line, struct fterr *err);

#endif
