/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ftkvm

#if !defined(FTKVM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define FTKVM_TRACE_H

#include <linux/tracepoint.h>
#include "../core/record.h"

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

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
