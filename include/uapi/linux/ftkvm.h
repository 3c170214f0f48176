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
 *	     [MARGIN], [COUNTER], [TIMEOUT_MS], [VERIFY_EVERY], [ON_LOSS] (not given: what
 *	     SET said, else the default), [TOKEN]
 *			The socket must be TCP or UNIX. From then on the caller may
 *			only close its descriptor. Both sides must call the pair the
 *			same: by PAIR_NAME, not given: by NAME.
 *			With TOKEN, the same on both sides, and of no other pairing, there
 *			is to be a second path: FTKVM_CMD_SECOND.
 *
 *  FTKVM_CMD_SECOND	Give a pair that is there, or its last one's place, a second path:
 *			another connected stream socket, over which both modules tell each
 *			other, every 50 ms, that they are there and in which state. That
 *			delays what a backup does that lost its peer, and permits nothing:
 *			FTKVM_STAT_DEFER_MS. When beats come, and when none have come for
 *			TIMEOUT_MS, there is an event; then userspace may make another one.
 *			EINVAL: the replica is not paired. ESTALE: TOKEN is not the
 *			pairing's.
 *	in:  NAME, SOCK_FD, TOKEN
 *
 *  FTKVM_CMD_UNPAIR	End the pairing. The primary goes on solo, the backup stops. EBUSY
 *			where that is another's to decide: UNDECIDED.
 *			On the primary it returns when the backup has, or after three
 *			seconds; TIMEOUT_MS, if that is longer.
 *	in:  NAME
 *
 *  FTKVM_CMD_PROMOTE	Backup: consume the log, then go live. Refused with
 *			EBUSY while the primary is alive and linked, unless FORCE.
 *			Returns when the guest is live; EINPROGRESS: not after a second, as
 *			its log is long: GET tells when.
 *			With FORCE and a live link the primary is told to stop. EAGAIN:
 *			it has, the backup is an orphan now and to be promoted again.
 *			EHOSTUNREACH: whether it has is not known.
 *			With STATE it is EAGAIN, too, where the replica is in another
 *			state or comes to it before it is promoted: what the caller
 *			prepares for an orphan it can't miss.
 *			A primary that lost its peer, and is held (ON_LOSS), goes on where it
 *			was. EBUSY without FORCE, too, while the primary says by the second path
 *			that it goes on alone.
 *	in:  NAME, [FORCE], [STATE]
 *	out: TAKEOVER_NS (in STATS)
 *
 *  FTKVM_CMD_FENCE	Of a replica that lost its peer, and does not run (ORPHAN,
 *			UNDECIDED): it never will, as its other one goes on. EINVAL in
 *			any other state.
 *	in:  NAME
 *
 *  FTKVM_CMD_GET	Status and statistics of one replica; as a dump, of all.
 *	in:  NAME (not for a dump)
 *	out: NAME STATE ROLE PID PEER REASON DETAIL PERIOD_MIN PERIOD_MAX MARGIN
 *	     COUNTER TIMEOUT_MS VERIFY_EVERY ON_LOSS [DISKS_DETAIL] [TOKEN] MODULE_VERSION
 *	     PROTO_VERSION
 *	     STATS { ... }
 *
 *  FTKVM_CMD_SET	Change TIMEOUT_MS, VERIFY_EVERY of a replica at any time; PERIOD_MIN,
 *			PERIOD_MAX, MARGIN, COUNTER, ON_LOSS while it is not paired. All or
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
 *			With DISKS, COMPARE: the same for both hosts' images of its
 *			disks, piece after piece while the guest runs. It is done when
 *			DISK_VERIFIES has grown by one; or DISK_GIVEN_UP, when a disk of
 *			this host could not be read, was stopped or is broken:
 *			DISKS_DETAIL says why. ENODEV: there is no disk. EAGAIN: a disk's
 *			queue does not run. DISKS, STOP ends it.
 *	in:  NAME, [DISKS]
 *
 * A *device* is a virtio disk or network card of a guest whose rings the module
 * serves. It is named by DEV_NAME, unique on the host, and belongs to a VM, whether
 * that is attached or not. Userspace ends the vhost-user protocol of the guest's
 * QEMU and tells what it learned. While a guest is paired, both hosts must have the
 * same devices: by DEV_NO, with the same DEV_KIND, CAPACITY and READONLY.
 *
 *  FTKVM_CMD_DEV_ADD	Give a VM a device. No queue of it runs yet. An attached
 *			VM takes its devices along when it ends; another one, and
 *			the module, stay until DEV_DEL.
 *	in:  DEV_NAME, DEV_NO, DEV_KIND, VM_FD, BACKEND_FD, CAPACITY, [READONLY], [SHARED]
 *			BLK: BACKEND_FD is a regular file or a block device, open for
 *			what READONLY lets the guest do; a request beyond CAPACITY fails,
 *			as does one beyond the file's end. What GET_ID says is "ftkvm-"
 *			and DEV_NO: the same on both hosts. EBADF: BACKEND_FD is not
 *			there, or not open. NET: BACKEND_FD is a tap's or macvtap's, with a
 *			header of 12 bytes and O_NONBLOCK; neither READONLY nor CAPACITY.
 *			EEXIST: the name is taken, or the VM's DEV_NO. EBUSY: the VM is
 *			paired.
 *
 *  FTKVM_CMD_DEV_DEL	Take it away. Its queues are stopped as by DEV_STOP. Refused
 *			with EBUSY while its guest is paired: userspace that was
 *			restarted then goes on with what the module has.
 *	in:  DEV_NAME
 *
 *  FTKVM_CMD_DEV_START	Let a queue run: from the used ring's index on, whatever was
 *			pending in it before. One that runs is stopped first. A
 *			running guest may have filled it already, so it is looked at
 *			without a kick.
 *	in:  DEV_NAME, QUEUE, DEV_FEATURES, NUM, DESC, AVAIL, USED, BASE, KICK_FD, [CALL_FD]
 *			BLK has queue 0; NET 0 (receive) and 1 (transmit). DEV_FEATURES as
 *			the guest's driver accepted them; of all queues of a device that
 *			run, the same. A driver without VIRTIO_BLK_F_FLUSH takes a
 *			completed write for a durable one. DESC, AVAIL, USED are guest
 *			physical addresses, aligned as virtio has it. BASE is where the
 *			guest's QEMU would go on; the module believes the used ring. The
 *			descriptors are eventfds; without CALL_FD the guest polls.
 *
 *  FTKVM_CMD_DEV_CALL	Give a queue that runs another CALL_FD, or none.
 *	in:  DEV_NAME, QUEUE, [CALL_FD]
 *
 *  FTKVM_CMD_DEV_STOP	Stop a queue. When it returns nothing is in flight: what was
 *			not completed to the guest is forgotten, and a START would
 *			begin with it again. Neither eventfd is used any more. EINVAL: it
 *			does not run.
 *	in:  DEV_NAME, QUEUE
 *	out: BASE (the used ring's index)
 *
 *  FTKVM_CMD_DEV_GET	Tell of one device; as a dump, of all.
 *	in:  DEV_NAME (not for a dump)
 *	out: DEV_NAME DEV_NO DEV_KIND PID [CAPACITY] [READONLY] [SHARED] [DETAIL]
 *	     [STORAGE_DETAIL] DEV_STATS { ... }
 *			PID: the process that owns the VM. DETAIL: why it is broken
 *			(DEV_STAT_BROKEN). STORAGE_DETAIL: what its storage on this host could
 *			not do the last time (DEV_STAT_FAILED); the guest was told, if this
 *			host was its primary or had it alone
 *
 *  FTKVM_CMD_DEV_TRACK	BLK: note from now on which parts of the disk change, whoever serves
 *			its queue; for a copy of it that is made while the guest writes.
 *			What was noted for an earlier one is forgotten, and that one ended.
 *			With TRACK: note them no more. ESTALE: another one was begun.
 *	in:  DEV_NAME, [TRACK]
 *	out: TRACK (if it was not given)
 *
 *  FTKVM_CMD_DEV_DIRTY	Fetch parts that have changed, and forget that they did. What was
 *			fetched, but for the first time, may change again while it is read: then
 *			it is fetched again. All is fetched when nothing is left, behind
 *			a DEV_STOP of the queue. If this fails, what it fetched is lost,
 *			and the copy to be begun anew. ESTALE: as above.
 *	in:  DEV_NAME, TRACK
 *	out: DIRTY, [RANGES]
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
 *	ON_LOSS u32		SOLO or HOLD
 *	TOKEN u64		not 0
 *	DISKS u32		STOP or COMPARE
 *	DISKS_DETAIL string(187)   STORAGE_DETAIL string(187)
 *	STATE u32   PID u32   REASON u32   DETAIL string(187; of an error: 511)
 *	MODULE_VERSION string   PROTO_VERSION u32   EVENT u32   TIME_NS u64
 *	DEV_NAME string(1..63)	no control characters
 *	DEV_NO u32		0..FTKVM_DEV_NO_HIGHEST, unique in its VM
 *	DEV_KIND u32		BLK or NET
 *	BACKEND_FD s32, KICK_FD s32, CALL_FD s32
 *				not negative
 *	CAPACITY u64		not 0; in 512 bytes
 *	READONLY flag
 *	SHARED flag		the storage is one, and both hosts reach it: only the
 *				primary does. Else each host has its own, and does the
 *				same to it
 *	DEV_FEATURES u64	with VIRTIO_F_VERSION_1
 *	QUEUE u32		less than the device has
 *	NUM u32			1..FTKVM_DEV_NUM_HIGHEST, a power of two
 *	DESC u64, AVAIL u64, USED u64
 *	BASE u32		0..65535
 *	TRACK u32
 *	DIRTY u64		bytes that are still to be fetched
 *	RANGES binary		1..FTKVM_RANGES_MAX struct ftkvm_uapi_range
 *	DEV_STATS nest { every FTKVM_DEV_STAT_*: u64 }
 *	PROBLEM nest (repeats) { CAUSE string  REMEDY string  SCOPE u32 }
 *	STATS nest { every FTKVM_STAT_*: u64 }
 *
 * Strings end with a NUL that is not counted here. All numbers are in the
 * host's byte order.
 */
#ifndef _UAPI_LINUX_FTKVM_H
#define _UAPI_LINUX_FTKVM_H

#include <linux/types.h>

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
#define FTKVM_DEV_NO_HIGHEST	255
#define FTKVM_DEV_NUM_HIGHEST	1024
#define FTKVM_RANGES_MAX	128

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
	FTKVM_CMD_DEV_ADD,
	FTKVM_CMD_DEV_DEL,
	FTKVM_CMD_DEV_START,
	FTKVM_CMD_DEV_CALL,
	FTKVM_CMD_DEV_STOP,
	FTKVM_CMD_DEV_GET,
	FTKVM_CMD_FENCE,
	FTKVM_CMD_DEV_TRACK,
	FTKVM_CMD_DEV_DIRTY,
	FTKVM_CMD_SECOND,
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
	FTKVM_A_TIMEOUT_MS,	/* a peer silent for longer is dead; 500 by default */
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
	FTKVM_A_DEV_NAME,
	FTKVM_A_DEV_NO,		/* the same on both hosts */
	FTKVM_A_DEV_KIND,	/* enum ftkvm_uapi_dev_kind */
	FTKVM_A_BACKEND_FD,	/* a file, a block device or a tap */
	FTKVM_A_CAPACITY,	/* of a disk, in 512 bytes */
	FTKVM_A_READONLY,
	FTKVM_A_DEV_FEATURES,	/* virtio's feature bits that the driver accepted */
	FTKVM_A_QUEUE,
	FTKVM_A_NUM,		/* entries of the queue */
	FTKVM_A_DESC,		/* guest physical addresses of its rings */
	FTKVM_A_AVAIL,
	FTKVM_A_USED,
	FTKVM_A_BASE,		/* index of the next entry */
	FTKVM_A_KICK_FD,	/* an eventfd: the guest has filled the queue */
	FTKVM_A_CALL_FD,	/* an eventfd: it is to look at what was used */
	FTKVM_A_DEV_STATS,
	FTKVM_A_SHARED,		/* a disk's storage is one for both hosts */
	FTKVM_A_DISKS,		/* enum ftkvm_uapi_disks */
	FTKVM_A_DISKS_DETAIL,	/* why the last comparison of the disks was given up */
	FTKVM_A_STORAGE_DETAIL,	/* what a disk's storage could not do, the last time */
	FTKVM_A_ON_LOSS,	/* enum ftkvm_uapi_loss */
	FTKVM_A_TRACK,		/* which copy of a disk it is that asks what changes */
	FTKVM_A_DIRTY,		/* bytes that have changed, beside RANGES */
	FTKVM_A_RANGES,		/* struct ftkvm_uapi_range, some */
	FTKVM_A_TOKEN,		/* which pairing a second path is for */
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
	FTKVM_STAT_DISK_VERIFIES,	/* comparisons of all disks that were proven */
	FTKVM_STAT_DISK_GIVEN_UP,	/* ... that came to no result */
	FTKVM_STAT_DISK_BYTES,		/* bytes of disks compared, all in all */
	FTKVM_STAT_SECOND,		/* enum ftkvm_uapi_second */
	FTKVM_STAT_SECOND_SILENCE_MS,	/* since the peer was last heard by it, if it is up */
	FTKVM_STAT_SECOND_LOST,		/* how often it went down */
	FTKVM_STAT_DEFER_MS,		/* ORPHAN: look again after this before asking who goes on */
	FTKVM_STAT_PEER_ALONE,		/* ORPHAN, UNDECIDED: 1: its peer goes on, says the second path */
	__FTKVM_STAT_MAX
};

#define FTKVM_STAT_MAX (__FTKVM_STAT_MAX - 1)

/* Inside FTKVM_A_DEV_STATS; all u64. Counted since DEV_ADD. */
enum {
	FTKVM_DEV_STAT_UNSPEC,
	FTKVM_DEV_STAT_PAD,
	FTKVM_DEV_STAT_KICKS,		/* looks at a queue that a kick asked for */
	FTKVM_DEV_STAT_REQUESTS,	/* requests, or packets, taken from the guest */
	FTKVM_DEV_STAT_COMPLETED,	/* ... and given back */
	FTKVM_DEV_STAT_PENDING,		/* ... and not yet, now */
	FTKVM_DEV_STAT_ERRORS,		/* ... with an error, or dropped */
	FTKVM_DEV_STAT_IN_BYTES,	/* to the guest: read, received */
	FTKVM_DEV_STAT_OUT_BYTES,	/* from the guest: written, sent */
	FTKVM_DEV_STAT_FLUSHES,
	FTKVM_DEV_STAT_BROKEN,		/* 1: no more requests are taken; DETAIL says why */
	FTKVM_DEV_STAT_RUNNING,		/* queues that were started, one bit each */
	FTKVM_DEV_STAT_FAILED,		/* what this host's storage could not do; STORAGE_DETAIL */
	__FTKVM_DEV_STAT_MAX
};

#define FTKVM_DEV_STAT_MAX (__FTKVM_DEV_STAT_MAX - 1)

/* A part of a disk. */
struct ftkvm_uapi_range {
	__u64 at;	/* bytes, of 512 a multiple */
	__u64 bytes;
};

enum ftkvm_uapi_dev_kind {
	FTKVM_UAPI_DEV_BLK = 1,
	FTKVM_UAPI_DEV_NET,
};

/* What VERIFY does of the disks. */
enum ftkvm_uapi_disks {
	FTKVM_UAPI_DISKS_STOP,
	FTKVM_UAPI_DISKS_COMPARE,
};

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
	FTKVM_UAPI_STATE_UNDECIDED,	/* primary without a backup, held: promote it or fence it */
};

/* What a primary does that lost its backup, and does not know whether it lives. */
enum ftkvm_uapi_loss {
	FTKVM_UAPI_LOSS_SOLO = 1,	/* it goes on alone; nobody may promote the backup then */
	FTKVM_UAPI_LOSS_HOLD,		/* it stands still until it is promoted or fenced */
};

/* The second path of a pairing. */
enum ftkvm_uapi_second {
	FTKVM_UAPI_SECOND_NONE,		/* there is to be none */
	FTKVM_UAPI_SECOND_DOWN,
	FTKVM_UAPI_SECOND_UP,		/* the peer's module is heard */
};

enum ftkvm_uapi_event {
	FTKVM_UAPI_EVENT_ATTACHED = 1,
	FTKVM_UAPI_EVENT_DETACHED,
	FTKVM_UAPI_EVENT_PAIRED,
	FTKVM_UAPI_EVENT_STARTED,	/* lockstep runs */
	FTKVM_UAPI_EVENT_PEER_LOST,	/* primary goes solo, or is held; backup waits for promotion */
	FTKVM_UAPI_EVENT_UNPAIRED,
	FTKVM_UAPI_EVENT_DIVERGED,
	FTKVM_UAPI_EVENT_PROMOTED,	/* the backup is live, or a held primary goes on */
	FTKVM_UAPI_EVENT_GUEST_ENDED,
	FTKVM_UAPI_EVENT_SECOND_DOWN,	/* nothing else happened to the pairing */
	FTKVM_UAPI_EVENT_SECOND_UP,
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
	FTKVM_REASON_STORAGE,		/* the backup's storage of a disk failed */
	FTKVM_REASON_FENCED,		/* the other replica is the one to go on */
	__FTKVM_REASON_MAX
};

#endif
