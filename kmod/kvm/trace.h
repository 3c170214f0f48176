/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ftkvm

#if !defined(FTKVM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define FTKVM_TRACE_H

#include <linux/tracepoint.h>
#include "../core/record.h"
#include "replica.h"

#define FTKVM_TRACE_TYPES						\
	{ FTKVM_REC_END, "end" }, { FTKVM_REC_ENV, "env" },		\
	{ FTKVM_REC_TSC, "tsc" }, { FTKVM_REC_OUT, "out" },		\
	{ FTKVM_REC_STOP, "stop" }, { FTKVM_REC_IMAGE, "image" },	\
	{ FTKVM_REC_PAGES, "pages" }

#define FTKVM_TRACE_FLAGS						\
	{ FTKVM_RECF_SNAP, "snap" }, { FTKVM_RECF_HALT, "halt" },	\
	{ FTKVM_RECF_MORE, "more" }

/* A log record: written by the primary, or consumed by the backup. */
DECLARE_EVENT_CLASS(ftkvm_record,
	TP_PROTO(u64 epoch, const struct ftkvm_rec *rec),
	TP_ARGS(epoch, rec),
	TP_STRUCT__entry(
		__field(u64, epoch)
		__field(u64, count)
		__field(u64, rip)
		__field(u32, digest)
		__field(u8, type)
		__field(u8, flags)
		__field(u8, ninputs)
		__field(u8, vector)
	),
	TP_fast_assign(
		__entry->epoch = epoch;
		__entry->count = rec->point.count;
		__entry->rip = rec->point.rip;
		__entry->digest = rec->digest;
		__entry->type = rec->type;
		__entry->flags = rec->flags;
		__entry->ninputs = rec->type == FTKVM_REC_END ? rec->end.ninputs : 0;
		__entry->vector = __entry->ninputs ? rec->end.inputs[0].vector : 0;
	),
	TP_printk("epoch %llu %s[%s] at %llu/%#llx digest %08x inputs %u first %#x",
		  __entry->epoch, __print_symbolic(__entry->type, FTKVM_TRACE_TYPES),
		  __print_flags(__entry->flags, "|", FTKVM_TRACE_FLAGS), __entry->count,
		  __entry->rip, __entry->digest, __entry->ninputs, __entry->vector)
);

DEFINE_EVENT(ftkvm_record, ftkvm_log,
	TP_PROTO(u64 epoch, const struct ftkvm_rec *rec), TP_ARGS(epoch, rec));
DEFINE_EVENT(ftkvm_record, ftkvm_replay,
	TP_PROTO(u64 epoch, const struct ftkvm_rec *rec), TP_ARGS(epoch, rec));

#define FTKVM_TRACE_STEPS						\
	{ FTKVM_STEP_RUN, "run" }, { FTKVM_STEP_WAIT, "wait" },		\
	{ FTKVM_STEP_SEEK, "seek" }

/* An exit of a guest in lockstep, with the plan it was entered by. */
TRACE_EVENT(ftkvm_exit,
	TP_PROTO(u64 count, u64 rip, u32 code, int step, u64 until, bool hit),
	TP_ARGS(count, rip, code, step, until, hit),
	TP_STRUCT__entry(
		__field(u64, count)
		__field(u64, rip)
		__field(u64, until)
		__field(u32, code)
		__field(u8, step)
		__field(bool, hit)
	),
	TP_fast_assign(
		__entry->count = count;
		__entry->rip = rip;
		__entry->until = until;
		__entry->code = code;
		__entry->step = step;
		__entry->hit = hit;
	),
	TP_printk("%llu/%#llx code %#x after %s until %llu%s", __entry->count, __entry->rip,
		  __entry->code, __print_symbolic(__entry->step, FTKVM_TRACE_STEPS),
		  __entry->until, __entry->hit ? ", breakpoint" : "")
);

/* A change of a replica's state. */
TRACE_EVENT(ftkvm_state,
	TP_PROTO(const char *guest, const char *event, const char *from, const char *to,
		 const char *detail),
	TP_ARGS(guest, event, from, to, detail),
	TP_STRUCT__entry(
		__string(guest, guest)
		__string(event, event)
		__string(from, from)
		__string(to, to)
		__string(detail, detail)
	),
	TP_fast_assign(
		__assign_str(guest);
		__assign_str(event);
		__assign_str(from);
		__assign_str(to);
		__assign_str(detail);
	),
	TP_printk("%s: %s: %s -> %s: %s", __get_str(guest), __get_str(event), __get_str(from),
		  __get_str(to), __get_str(detail))
);

/*
 * What comes now is of steps, not of records: one sees them without knowing the log's format.
 * Each names its guest, as a host may have several.
 */
#define FTKVM_TRACE_ROLES						\
	{ FTKVM_ROLE_PRIMARY, "primary" }, { FTKVM_ROLE_BACKUP, "backup" }

/* An epoch ended, and the next one begins; its inputs are delivered behind this. */
TRACE_EVENT(ftkvm_epoch_end,
	TP_PROTO(const struct ftkvm_replica *r, const struct ftkvm_rec *rec),
	TP_ARGS(r, rec),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__field(u64, epoch)
		__field(u64, count)
		__field(u64, lag)
		__field(u32, next_len)
		__field(u8, role)
		__field(u8, flags)
		__field(u8, ninputs)
	),
	TP_fast_assign(
		__assign_str(guest);
		__entry->epoch = r->epoch.nr;
		__entry->count = rec->point.count;
		/* only the primary sees both ends */
		__entry->lag = r->role == FTKVM_ROLE_PRIMARY ?
			r->epoch.nr - min(r->epoch.nr, READ_ONCE(r->flow.epoch)) : 0;
		__entry->next_len = rec->end.next_len;
		__entry->role = r->role;
		__entry->flags = rec->flags;
		__entry->ninputs = rec->end.ninputs;
	),
	TP_printk("%s: %s: epoch %llu at %llu %s inputs %u next %u lag %llu", __get_str(guest),
		  __print_symbolic(__entry->role, FTKVM_TRACE_ROLES), __entry->epoch,
		  __entry->count, __entry->flags & FTKVM_RECF_SNAP ? "snapped" :
		  __entry->flags & FTKVM_RECF_HALT ? "halted" :
		  __entry->ninputs ? "landed" : "skipped", __entry->ninputs, __entry->next_len,
		  __entry->lag)
);

/* The backup is exactly where the primary ended an epoch, or verifies. */
TRACE_EVENT(ftkvm_landed,
	TP_PROTO(const struct ftkvm_replica *r, const struct ftkvm_rec *rec),
	TP_ARGS(r, rec),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__field(u64, count)
		__field(u64, rip)
		__field(u64, steps)
		__field(u32, look_alikes)
	),
	TP_fast_assign(
		__assign_str(guest);
		__entry->count = rec->point.count;
		__entry->rip = rec->point.rip;
		__entry->steps = r->st.land_steps;
		__entry->look_alikes = r->look_alikes;
	),
	TP_printk("%s: at %llu/%#llx breakpoints so far %llu look-alikes %u", __get_str(guest),
		  __entry->count, __entry->rip, __entry->steps, __entry->look_alikes)
);

#define FTKVM_TRACE_INPUTS						\
	{ FTKVM_INPUT_FIXED, "fixed" }, { FTKVM_INPUT_NMI, "nmi" },	\
	{ FTKVM_INPUT_EXTINT, "extint" }, { FTKVM_INPUT_SMI, "smi" },	\
	{ FTKVM_INPUT_INIT, "init" }, { FTKVM_INPUT_SIPI, "sipi" },	\
	{ FTKVM_INPUT_DEV_START, "dev-start" },				\
	{ FTKVM_INPUT_DEV_OK, "dev-ok" }, { FTKVM_INPUT_DEV_DONE, "dev-done" }, \
	{ FTKVM_INPUT_DEV_SUM, "dev-sum" }

DECLARE_EVENT_CLASS(ftkvm_input,
	TP_PROTO(const struct ftkvm_replica *r, const struct ftkvm_input *i),
	TP_ARGS(r, i),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__field(u8, kind)
		__field(u8, vector)
		__field(bool, level)
	),
	TP_fast_assign(
		__assign_str(guest);
		__entry->kind = i->kind;
		__entry->vector = i->vector;
		__entry->level = i->level;
	),
	TP_printk("%s: %s vector %#x%s", __get_str(guest),
		  __print_symbolic(__entry->kind, FTKVM_TRACE_INPUTS), __entry->vector,
		  __entry->level ? " level" : "")
);

/* The primary holds one back until an epoch ends. */
DEFINE_EVENT(ftkvm_input, ftkvm_input_queue,
	TP_PROTO(const struct ftkvm_replica *r, const struct ftkvm_input *i), TP_ARGS(r, i));
/* A backup's shadow device raised one: it waits for a takeover, or the log's answer. */
DEFINE_EVENT(ftkvm_input, ftkvm_input_note,
	TP_PROTO(const struct ftkvm_replica *r, const struct ftkvm_input *i), TP_ARGS(r, i));
/* The guest gets one, on either side. */
DEFINE_EVENT(ftkvm_input, ftkvm_input_deliver,
	TP_PROTO(const struct ftkvm_replica *r, const struct ftkvm_input *i), TP_ARGS(r, i));

/* An output has to wait until the backup holds the log up to here. */
TRACE_EVENT(ftkvm_commit_begin,
	TP_PROTO(const struct ftkvm_replica *r),
	TP_ARGS(r),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__field(u64, offset)
		__field(u64, received)
	),
	TP_fast_assign(
		__assign_str(guest);
		__entry->offset = r->out_off;
		__entry->received = READ_ONCE(r->flow.received);
	),
	TP_printk("%s: up to byte %llu, the backup holds %llu", __get_str(guest),
		  __entry->offset, __entry->received)
);

/* ... and leaves now, unless a signal (ret) has it come back; or the pairing is over. */
TRACE_EVENT(ftkvm_commit_end,
	TP_PROTO(const struct ftkvm_replica *r, s64 ns, int ret),
	TP_ARGS(r, ns, ret),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__field(u64, offset)
		__field(s64, ns)
		__field(int, ret)
	),
	TP_fast_assign(
		__assign_str(guest);
		__entry->offset = r->out_off;
		__entry->ns = ns;
		__entry->ret = ret;
	),
	TP_printk("%s: up to byte %llu, waited %lld ns ret %d", __get_str(guest),
		  __entry->offset, __entry->ns, __entry->ret)
);

#define FTKVM_TRACE_ENVS						\
	{ FTKVM_ENV_PIO, "pio" }, { FTKVM_ENV_MMIO, "mmio" },		\
	{ FTKVM_ENV_TSC, "tsc" }, { FTKVM_ENV_MSR, "msr" },		\
	{ FTKVM_ENV_LAPIC, "lapic" }, { FTKVM_ENV_IRQCHIP, "irqchip" }

/* The guest reads what comes from outside it; on a backup, the primary's value. */
TRACE_EVENT(ftkvm_env_read,
	TP_PROTO(const struct ftkvm_replica *r, u8 kind, const void *val, u32 len),
	TP_ARGS(r, kind, val, len),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__field(u64, value)
		__field(u32, len)
		__field(u8, kind)
	),
	TP_fast_assign(
		__assign_str(guest);
		/* of a string instruction, the first */
		__entry->value = 0;
		memcpy(&__entry->value, val, min_t(u32, len, sizeof(__entry->value)));
		__entry->len = len;
		__entry->kind = kind;
	),
	TP_printk("%s: %s %u bytes %#llx", __get_str(guest),
		  __print_symbolic(__entry->kind, FTKVM_TRACE_ENVS), __entry->len, __entry->value)
);

TRACE_EVENT(ftkvm_link_up,
	TP_PROTO(const struct ftkvm_replica *r),
	TP_ARGS(r),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__string(peer, r->peer)
	),
	TP_fast_assign(
		__assign_str(guest);
		__assign_str(peer);
	),
	TP_printk("%s: peer %s", __get_str(guest), __get_str(peer))
);

/* @reason is FTKVM_REASON_*. */
TRACE_EVENT(ftkvm_link_down,
	TP_PROTO(const struct ftkvm_replica *r, int reason, const char *detail),
	TP_ARGS(r, reason, detail),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__string(detail, detail)
		__field(int, reason)
	),
	TP_fast_assign(
		__assign_str(guest);
		__assign_str(detail);
		__entry->reason = reason;
	),
	TP_printk("%s: reason %d: %s", __get_str(guest), __entry->reason, __get_str(detail))
);

/* The second path: beats come, or no more. */
TRACE_EVENT(ftkvm_second,
	TP_PROTO(const char *guest, bool up, const char *why),
	TP_ARGS(guest, up, why),
	TP_STRUCT__entry(
		__string(guest, guest)
		__string(why, why)
		__field(bool, up)
	),
	TP_fast_assign(
		__assign_str(guest);
		__assign_str(why);
		__entry->up = up;
	),
	TP_printk("%s: %s: %s", __get_str(guest), __entry->up ? "up" : "down", __get_str(why))
);

/* The backup is promoted; it consumes what it holds first. */
TRACE_EVENT(ftkvm_takeover_begin,
	TP_PROTO(const struct ftkvm_replica *r),
	TP_ARGS(r),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__field(u64, held)
		__field(u64, consumed)
	),
	TP_fast_assign(
		__assign_str(guest);
		__entry->held = READ_ONCE(r->held);
		__entry->consumed = READ_ONCE(r->consumed);
	),
	TP_printk("%s: %llu bytes of log to consume", __get_str(guest),
		  __entry->held - __entry->consumed)
);

/* ... and is live. */
TRACE_EVENT(ftkvm_takeover_end,
	TP_PROTO(const struct ftkvm_replica *r),
	TP_ARGS(r),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__field(u64, epoch)
		__field(u64, ns)
	),
	TP_fast_assign(
		__assign_str(guest);
		__entry->epoch = r->epoch.nr;
		__entry->ns = r->st.takeover_ns;
	),
	TP_printk("%s: live since epoch %llu, took %llu ns", __get_str(guest), __entry->epoch,
		  __entry->ns)
);

/* The replicas did not do the same; ftkvm_state follows, and says what differs. */
TRACE_EVENT(ftkvm_diverged,
	TP_PROTO(const struct ftkvm_replica *r, const struct ftkvm_point *at),
	TP_ARGS(r, at),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__field(u64, epoch)
		__field(u64, count)
		__field(u64, rip)
	),
	TP_fast_assign(
		__assign_str(guest);
		__entry->epoch = r->epoch.nr;
		__entry->count = at->count;
		__entry->rip = at->rip;
	),
	TP_printk("%s: epoch %llu at %llu/%#llx", __get_str(guest), __entry->epoch,
		  __entry->count, __entry->rip)
);

DECLARE_EVENT_CLASS(ftkvm_verify,
	TP_PROTO(const struct ftkvm_replica *r, bool whole),
	TP_ARGS(r, whole),
	TP_STRUCT__entry(
		__string(guest, r->name)
		__field(u64, left)
		__field(u64, pages)
		__field(bool, whole)
	),
	TP_fast_assign(
		__assign_str(guest);
		__entry->left = r->verify.left;
		__entry->pages = r->verify.pages;
		__entry->whole = whole;
	),
	TP_printk("%s: %s pages left %llu compared so far %llu", __get_str(guest),
		  __entry->whole ? "all" : "some", __entry->left, __entry->pages)
);

/* The primary logs registers and memory to be compared. */
DEFINE_EVENT(ftkvm_verify, ftkvm_verify_begin,
	TP_PROTO(const struct ftkvm_replica *r, bool whole), TP_ARGS(r, whole));
/* The primary has logged, or the backup compared, the last of it. */
DEFINE_EVENT(ftkvm_verify, ftkvm_verify_end,
	TP_PROTO(const struct ftkvm_replica *r, bool whole), TP_ARGS(r, whole));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
