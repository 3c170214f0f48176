/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The control socket: one JSON object in a line asks, one answers.
 *
 *	{"cmd": "attach", "name": ..., "qmp": ..., "consoles": ["ID=BACKEND", ...]}
 *	{"cmd": "pair", "name": ..., "peer": "HOST[:PORT]", ["peer_name", "second"],
 *	 ["qmp", "consoles"], ["period_min", "period_max", "margin", "counter", "timeout",
 *	 "verify_every"]}
 *	{"cmd": "promote", "name": ..., "force": bool}
 *	{"cmd": "detach" | "unpair" | "unprotect" | "check", "name": ...}
 *	{"cmd": "info"}
 *	{"cmd": "device-add", "name": ..., "guest": ..., "kind": "blk", "no": N, "socket": PATH,
 *	 "file": PATH, ["readonly": bool], ["discard": bool], ["user": ..., "uid": N]}
 *	{"cmd": "device-add", "name": ..., "guest": ..., "kind": "net", "no": N, "socket": PATH,
 *	 "tap": NAME, ["user": ..., "uid": N]}
 *	{"cmd": "device-del", "name": ...}
 *	{"cmd": "devices"}
 *
 *	{"ok": true, ...}, {"error": TEXT, "errno": N}; either with {"warning": TEXT}
 */
#ifndef FTKVM_CONTROL_H
#define FTKVM_CONTROL_H

#include "util.h"

struct client;
struct op;

/* Listen; fails when another ftd does. 0 or -errno with a text. */
int control_listen(const char *path, struct fterr *err);
void control_close(void);
/* An operation for this client has begun: it hears its end. */
void client_wait(struct client *client, struct op *op);
/* Answer (steals the reference); more requests may follow. */
void client_answer(struct client *client, json_t *json);

#endif
