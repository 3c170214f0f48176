/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * ftkvm: two hosts run one KVM guest as one machine.
 *
 * This header is the manual of the generic netlink family "ftkvm". The same
 * family as a YNL specification: Documentation/netlink/specs/ftkvm.yaml.
 *
 * Every command, and to join the multicast group, needs CAP_NET_ADMIN in the
 * initial namespaces; the family is in the initial network namespace only.
 *
 * Errors. A request whose attributes are wrong is refused with an extended
 * acknowledgment that points at the attribute. When the command itself fails,
 * the text that names the cause and the remedy can be longer than an extended
 * acknowledgment holds: so a message of the same command and sequence number
 * with DETAIL (whole, up to FTKVM_ERROR_MAX bytes) and, if there is one, REASON
 * precedes the error, whose extended acknowledgment repeats the text's
 * beginning. It holds no other attribute. A command that a signal interrupted
 * fails with ECANCELED; of its effect, GET tells.
 *
 * A *replica* is the module's object for one guest on this host; it is named
 * by FTKVM_A_NAME, unique on the host.
 *
 *  FTKVM_CMD_ATTACH	Take a guest into the module's care. The guest must be
 *			fit to be protected (see FTKVM_CMD_CHECK).
 *	in:  NAME, VM_FD (a KVM VM file descriptor of the calling process)
 *
 *  FTKVM_CMD_DETACH	Let go of it. Refused with EBUSY while it is paired. A
 *			stopped replica's guest can't be let run again: its VM
 *			is marked dead.
 *	in:  NAME
 *
 *  FTKVM_CMD_PAIR	Join the replica with its peer over a connected stream
 *			socket of the calling process. Both modules exchange
 *			what they need of each other and refuse a pair that
 *			can't work. The command returns when both agree; the
 *			guest starts in lockstep with its first KVM_RUN.
 *	in:  NAME, ROLE, SOCK_FD, [PEER], [PAIR_NAME], [PERIOD_MIN], [PERIOD_MAX],
 *	     [MARGIN], [COUNTER], [TIMEOUT_MS], [VERIFY_EVERY] (not given: what SET
 *	     said, else the default)
 *			The socket must be TCP or UNIX. From then on the caller may
 *			only close its descriptor. Both sides must call the pair the
 *			same: by PAIR_NAME, not given: by NAME.
 *
 *  FTKVM_CMD_UNPAIR	End the pairing. The primary goes on solo, the backup stops.
 *			On the primary it returns when the backup has, or after
 *			TIMEOUT_MS.
 *	in:  NAME
 *
 *  FTKVM_CMD_PROMOTE	Backup: consume the log, then go live. Refused with
 *			EBUSY while the primary is alive and linked, unless FORCE.
 *			Returns when the guest is live.
 *			With FORCE and a live link the primary is told to stop. EAGAIN:
 *			it has, the backup is an orphan now and to be promoted again.
 *			EHOSTUNREACH: whether it has is not known.
 *	in:  NAME, [FORCE]
 *	out: TAKEOVER_NS (in STATS)
 *
 *  FTKVM_CMD_GET	Status and statistics of one replica; as a dump, of all.
 *	in:  NAME (not for a dump)
 *	out: NAME STATE ROLE PID PEER REASON DETAIL PERIOD_MIN PERIOD_MAX MARGIN
 *	     COUNTER TIMEOUT_MS VERIFY_EVERY MODULE_VERSION PROTO_VERSION STATS { ... }
 *
 *  FTKVM_CMD_SET	Change TIMEOUT_MS, VERIFY_EVERY of a replica at any time; PERIOD_MIN,
 *			PERIOD_MAX, MARGIN, COUNTER while it is not paired. All or
 *			none of them.
 *	in:  NAME, and at least one of those
 *
 *  FTKVM_CMD_CHECK	Can this host and (with VM_FD or NAME) this guest be
 *			protected?
 *	in:  [VM_FD or NAME]
 *	out: MODULE_VERSION PROTO_VERSION PROBLEM { CAUSE REMEDY SCOPE } ...
 *	     (no PROBLEM: yes; of very many, the first)
 *
 *  FTKVM_CMD_VERIFY	Primary: at the next epoch end, compare all registers and all
 *			memory of both replicas. Returns at once; it is done when
 *			VERIFIES has grown by one. A difference ends the pairing as
 *			any divergence does, and names the first register or page.
 *	in:  NAME
 *
 *  FTKVM_CMD_EVENT	To the multicast group "events", unasked: something
 *			happened to a replica.
 *	out: NAME EVENT STATE ROLE REASON DETAIL TIME_NS
 *
 * Attribute tree (types in the policy's terms, and what a request may say):
 *
 *	NAME string(1..63), PAIR_NAME string(1..63)
 *				no control characters
 *	VM_FD s32, SOCK_FD s32	not negative
 *	ROLE u32		PRIMARY or BACKUP
 *	FORCE flag
 *	PEER string(107)	no control characters
 *	PERIOD_MIN u64, PERIOD_MAX u64
 *				FTKVM_PERIOD_LOWEST..FTKVM_PERIOD_HIGHEST, and MIN <= MAX
 *	MARGIN u64		1..FTKVM_MARGIN_HIGHEST
 *	COUNTER u32		not 0
 *	TIMEOUT_MS u32		FTKVM_TIMEOUT_LOWEST..FTKVM_TIMEOUT_HIGHEST
 *	VERIFY_EVERY u32	0..FTKVM_VERIFY_HIGHEST
 *	STATE u32   PID u32   REASON u32   DETAIL string(187; of an error: 511)
 *	MODULE_VERSION string   PROTO_VERSION u32   EVENT u32   TIME_NS u64
 *	PROBLEM nest (repeats) { CAUSE string  REMEDY string  SCOPE u32 }
 *	STATS nest { every FTKVM_STAT_*: u64 }
 *
 * Strings end with a NUL that is not counted here. All numbers are in the
 * host's byte order.
 */
#ifndef _UAPI_LINUX_FTKVM_H
#define _UAPI_LINUX_FTKVM_H

#define FTKVM_GENL_NAME		"ftkvm"
#define FTKVM_GENL_VERSION	1
#define FTKVM_GENL_MCGRP_EVENTS	"events"

#define FTKVM_NAME_MAX		63
#define FTKVM_PEER_MAX		107
#define FTKVM_DETAIL_MAX	187
#define FTKVM_ERROR_MAX		511

#define FTKVM_PERIOD_LOWEST	1000
#define FTKVM_PERIOD_HIGHEST	(1 << 30)
#define FTKVM_MARGIN_HIGHEST	(1 << 30)
#define FTKVM_TIMEOUT_LOWEST	200
#define FTKVM_TIMEOUT_HIGHEST	600000
#define FTKVM_VERIFY_HIGHEST	1000000000

enum {
	FTKVM_CMD_UNSPEC,
	FTKVM_CMD_ATTACH,
	FTKVM_CMD_DETACH,
	FTKVM_CMD_PAIR,
	FTKVM_CMD_UNPAIR,
	FTKVM_CMD_PROMOTE,
	FTKVM_CMD_GET,
	FTKVM_CMD_SET,
	FTKVM_CMD_CHECK,
	FTKVM_CMD_EVENT,
	FTKVM_CMD_VERIFY,
	__FTKVM_CMD_MAX
};

#define FTKVM_CMD_MAX (__FTKVM_CMD_MAX - 1)

enum {
	FTKVM_A_UNSPEC,
	FTKVM_A_PAD,
	FTKVM_A_NAME,
	FTKVM_A_VM_FD,
	FTKVM_A_SOCK_FD,
	FTKVM_A_ROLE,		/* enum ftkvm_uapi_role */
	FTKVM_A_FORCE,
	FTKVM_A_STATE,		/* enum ftkvm_uapi_state */
	FTKVM_A_PID,
	FTKVM_A_PEER,		/* the peer's address, as userspace likes to show it */
	FTKVM_A_REASON,		/* enum ftkvm_reason: why the last pairing ended */
	FTKVM_A_DETAIL,		/* the same in words */
	FTKVM_A_PERIOD_MIN,	/* shortest epoch, guest events */
	FTKVM_A_PERIOD_MAX,	/* longest epoch, guest events */
	FTKVM_A_MARGIN,		/* how late a counter overflow may be, guest events */
	FTKVM_A_COUNTER,	/* raw PMU event that counts the guest's progress */
	FTKVM_A_TIMEOUT_MS,	/* a peer silent for longer is dead */
	FTKVM_A_MODULE_VERSION,
	FTKVM_A_PROTO_VERSION,
	FTKVM_A_EVENT,		/* enum ftkvm_uapi_event */
	FTKVM_A_TIME_NS,	/* CLOCK_BOOTTIME */
	FTKVM_A_PROBLEM,
	FTKVM_A_CAUSE,
	FTKVM_A_REMEDY,
	FTKVM_A_SCOPE,		/* enum ftkvm_scope */
	FTKVM_A_STATS,
	FTKVM_A_VERIFY_EVERY,	/* background verification, every so many epochs; 0: none */
	FTKVM_A_PAIR_NAME,	/* what both sides call the pair */
	__FTKVM_A_MAX
};

#define FTKVM_A_MAX (__FTKVM_A_MAX - 1)

/* Inside FTKVM_A_STATS; all u64. Counted since the pairing began. */
enum {
	FTKVM_STAT_UNSPEC,
	FTKVM_STAT_PAD,
	FTKVM_STAT_EPOCHS,		/* epochs completed */
	FTKVM_STAT_EPOCHS_SNAPPED,	/* ... ended at a synchronising exit */
	FTKVM_STAT_EPOCHS_HALTED,	/* ... ended with the guest halted */
	FTKVM_STAT_EPOCHS_LANDED,	/* ... that the backup had to land for */
	FTKVM_STAT_EPOCHS_SKIPPED,	/* ... without input: no landing */
	FTKVM_STAT_INPUTS,		/* inputs delivered to the guest */
	FTKVM_STAT_INPUTS_LOCAL,	/* backup: interrupts of shadow devices, not delivered */
	FTKVM_STAT_ENV_PIO,		/* environment reads, by kind */
	FTKVM_STAT_ENV_MMIO,
	FTKVM_STAT_ENV_TSC,
	FTKVM_STAT_ENV_MSR,
	FTKVM_STAT_ENV_LAPIC,
	FTKVM_STAT_ENV_IRQCHIP,
	FTKVM_STAT_OUTPUTS,		/* PIO/MMIO writes that left the kernel */
	FTKVM_STAT_COMMIT_WAITS,	/* outputs that had to wait for the peer */
	FTKVM_STAT_COMMIT_NS,		/* total of those waits */
	FTKVM_STAT_RECORDS,		/* log records */
	FTKVM_STAT_LOG_BYTES,		/* their bytes */
	FTKVM_STAT_GUEST_EVENTS,	/* event count of the guest */
	FTKVM_STAT_EXITS,		/* VM exits */
	FTKVM_STAT_LAG_EPOCHS,		/* epochs the backup is behind, now */
	FTKVM_STAT_LAG_MEDIAN,		/* ... median over all epoch ends (primary) */
	FTKVM_STAT_LAG_MAX,
	FTKVM_STAT_LAG_BYTES,		/* log not yet consumed */
	FTKVM_STAT_WAITS,		/* backup: waits for a record */
	FTKVM_STAT_WAIT_NS,
	FTKVM_STAT_LAND_STEPS,		/* breakpoints hit while landing */
	FTKVM_STAT_DIVERGENCES,
	FTKVM_STAT_TX_BYTES,		/* on the link */
	FTKVM_STAT_RX_BYTES,
	FTKVM_STAT_SILENCE_MS,		/* since the peer was last heard */
	FTKVM_STAT_LINKED,		/* 1: the link is up */
	FTKVM_STAT_TAKEOVER_NS,		/* promote to live */
	FTKVM_STAT_GUEST_TSC,		/* last TSC value the guest was told */
	FTKVM_STAT_VERIFIES,		/* verifications of the whole guest that were proven */
	FTKVM_STAT_VERIFY_WORDS,	/* registers that the last one compared */
	FTKVM_STAT_VERIFY_PAGES,	/* pages compared, all in all */
	FTKVM_STAT_VERIFY_MARKED,	/* backup: of these, with other accessed or dirty bits */
	FTKVM_STAT_VERIFY_NS,		/* primary: the guest stood still for the last one */
	FTKVM_STAT_VERIFY_DIRTY,	/* primary: pages compared as they had been written */
	__FTKVM_STAT_MAX
};

#define FTKVM_STAT_MAX (__FTKVM_STAT_MAX - 1)

enum ftkvm_uapi_role {
	FTKVM_UAPI_ROLE_NONE,
	FTKVM_UAPI_ROLE_PRIMARY,
	FTKVM_UAPI_ROLE_BACKUP,
};

enum ftkvm_uapi_state {
	FTKVM_UAPI_STATE_IDLE,		/* attached, not paired */
	FTKVM_UAPI_STATE_ARMED,		/* paired; waits for the guest's first instruction */
	FTKVM_UAPI_STATE_PRIMARY,
	FTKVM_UAPI_STATE_BACKUP,
	FTKVM_UAPI_STATE_ORPHAN,	/* backup without a primary: promote it or unpair it */
	FTKVM_UAPI_STATE_TAKEOVER,
	FTKVM_UAPI_STATE_SOLO,		/* live without a peer */
	FTKVM_UAPI_STATE_STOPPED,	/* never runs again */
};

enum ftkvm_uapi_event {
	FTKVM_UAPI_EVENT_ATTACHED = 1,
	FTKVM_UAPI_EVENT_DETACHED,
	FTKVM_UAPI_EVENT_PAIRED,
	FTKVM_UAPI_EVENT_STARTED,	/* lockstep runs */
	FTKVM_UAPI_EVENT_PEER_LOST,	/* primary goes solo; backup waits for promotion */
	FTKVM_UAPI_EVENT_UNPAIRED,
	FTKVM_UAPI_EVENT_DIVERGED,
	FTKVM_UAPI_EVENT_PROMOTED,	/* the backup is live */
	FTKVM_UAPI_EVENT_GUEST_ENDED,
};

enum ftkvm_scope {
	FTKVM_SCOPE_HOST,
	FTKVM_SCOPE_GUEST,
};

/* Why a pairing ended, or did not begin. */
enum ftkvm_reason {
	FTKVM_REASON_NONE,
	FTKVM_REASON_UNPAIRED,		/* asked for, on either side */
	FTKVM_REASON_PEER_CLOSED,	/* the peer closed or reset the connection */
	FTKVM_REASON_PEER_SILENT,	/* unheard, or a send blocked, for the time-out */
	FTKVM_REASON_PEER_GARBLED,	/* a frame or record that can't be */
	FTKVM_REASON_PEER_VERSION,	/* protocol or module version differ */
	FTKVM_REASON_INCOMPATIBLE,	/* guests or settings differ */
	FTKVM_REASON_DIVERGED,		/* the replicas did not do the same */
	FTKVM_REASON_GUEST_ENDED,	/* its QEMU closed it */
	FTKVM_REASON_GUEST_TOUCHED,	/* QEMU changed the guest's state from outside */
	FTKVM_REASON_COUNTER,		/* the PMU counter was lost or taken */
	FTKVM_REASON_LOCAL,		/* memory or another local resource */
	FTKVM_REASON_PROMOTED,		/* this side went live */
	__FTKVM_REASON_MAX
};

#endif
