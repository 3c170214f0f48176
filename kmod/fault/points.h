/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fault points: before and after every step of the protocol, at the
 * allocations that it makes from attach to takeover, at the socket. Those for
 * adding a device, for a request and for an answer to "list" are none: the
 * kernel's failslab fails them (tests/e2e/test_nomem.py). tests/faults/run reads
 * this table, too.
 *
 *	P(name, when, side, context, can, error, where)
 *
 * when		phases in which it is passed: INIT ATTACH PAIR RUN LAG SILENCE
 *		TAKEOVER FENCE UNPAIR GONE DETACH EXIT. LAG is RUN with a backup
 *		that lags; SILENCE, a peer that falls silent; GONE, a QEMU that
 *		ends; DISK is RUN of a guest with a disk, NET of one with a card;
 *		SECOND is RUN with a second path, and then a link that is cut;
 *		HELD, a primary without its backup that waits to be let go on; VERIFY is RUN
 *		with verifications in the background; 0: in none that is a case of each point's
 * side		A: at the primary, B: at the backup
 * context	SLEEP: a thread may sleep there; ATOMIC
 * can		what it can do besides what all can (fault.c): FAIL returns an
 *		error, FLIP changes a bit of data, SHORT a part of it is sent or
 *		received
 * error	what FAIL returns if nothing else is asked for
 *
 * Points of a type of record or of frame are in the order of those types.
 */
#ifndef FTKVM_FAULT_POINTS_H
#define FTKVM_FAULT_POINTS_H

#define FTKVM_FAULT_TABLE(P)							\
/* ---- the module ---- */							\
P(INIT_WORK, INIT, A, SLEEP, FAIL, ENOMEM, "module load: the workqueue")	\
P(INIT_DEVICES, INIT, A, SLEEP, FAIL, ENOMEM, "module load: the devices' workqueue") \
P(INIT_NETLINK, INIT, A, SLEEP, FAIL, ENOMEM, "module load: the netlink family") \
P(EXIT, EXIT, A, SLEEP, 0, 0, "module unload, commands may still come")		\
P(NL_REPLY, PAIR | TAKEOVER | HELD, A | B, SLEEP, FAIL, ENOMEM,			\
		"netlink: allocate an answer")					\
P(NL_EVENT, ATTACH | PAIR | UNPAIR, A | B, SLEEP, FAIL, ENOMEM,			\
		"netlink: allocate an event")					\
/* ---- attach, detach ---- */							\
P(ATTACH, ATTACH, A | B, SLEEP, FAIL, EIO, "attach: the guest is found")	\
P(ATTACH_CHECKED, ATTACH, A | B, SLEEP, FAIL, EIO, "attach: the guest is fit")	\
P(COUNTER_PROBE, ATTACH | PAIR, A | B, SLEEP, FAIL, ENOSPC, "try the counter")	\
P(ALLOC_REPLICA, ATTACH, A | B, SLEEP, FAIL, ENOMEM, "allocate the replica")	\
P(ALLOC_ENV, ATTACH, A | B, SLEEP, FAIL, ENOMEM, "allocate room for environment reads") \
P(ALLOC_DECODE, ATTACH, A | B, SLEEP, FAIL, ENOMEM, "allocate room for a decoded record") \
P(ALLOC_ENCODE, ATTACH, A | B, SLEEP, FAIL, ENOMEM, "allocate room for an encoded record") \
P(ALLOC_SUMS, ATTACH, A | B, SLEEP, FAIL, ENOMEM, "allocate room for sums of memory") \
P(ALLOC_PAGE, ATTACH, A | B, SLEEP, FAIL, ENOMEM, "allocate room for a page of memory") \
P(ALLOC_LOG, ATTACH, A | B, SLEEP, FAIL, ENOMEM, "allocate the log")		\
P(HOOKS_GET, ATTACH, A | B, SLEEP, FAIL, ENODEV, "hooks: about to be put in place") \
P(HOOKS_SITE, ATTACH, A | B, SLEEP, FAIL, ENODEV, "hooks: a function's site")	\
P(HOOKS_REGISTER, ATTACH, A | B, SLEEP, FAIL, EBUSY, "hooks: register with ftrace") \
P(HOOKS_ON, ATTACH, A | B, SLEEP, 0, 0, "hooks: in place")			\
P(ATTACH_HOOKED, ATTACH, A | B, SLEEP, FAIL, EIO, "attach: before the replica is found") \
P(ATTACHED, ATTACH, A | B, SLEEP, 0, 0, "attach: done but for the event")	\
P(ALLOC_INFO, ATTACH | DETACH, A | B, SLEEP, FAIL, ENOMEM, "allocate what an event tells") \
P(DETACH, DETACH, A | B, SLEEP, 0, 0, "detach: nothing is undone yet")		\
P(DETACH_SETTLED, DETACH, A | B, SLEEP, 0, 0, "detach: the vCPU is as it was")	\
P(DETACH_HIDDEN, DETACH | GONE, A | B, SLEEP, 0, 0, "detach: found no more")	\
P(DETACH_ALONE, DETACH | GONE, A | B, SLEEP, 0, 0, "detach: nobody else uses the replica") \
P(DETACH_UNLINKED, DETACH | GONE, A | B, SLEEP, 0, 0, "detach: the link is gone") \
P(HOOKS_OFF, DETACH | GONE, A | B, SLEEP, 0, 0, "hooks: about to be removed")	\
P(HOOKS_BUSY, DETACH | GONE, A | B, SLEEP, 0, 0, "hooks: removed, tasks may be inside") \
P(DETACHED, DETACH | GONE, A | B, SLEEP, 0, 0, "detach: before memory is freed") \
P(GONE, GONE, A | B, SLEEP, 0, 0, "QEMU closes its vCPU")			\
P(GONE_WORK, GONE, A | B, SLEEP, 0, 0, "QEMU has closed its vCPU: the worker begins") \
P(GONE_TOLD, GONE, A | B, SLEEP, 0, 0, "QEMU has closed its vCPU: the peer was told") \
/* ---- states ---- */								\
P(STATE_CHANGES, PAIR | SILENCE | TAKEOVER | UNPAIR | GONE | HELD, A | B, ATOMIC, 0, 0, \
		"a state is about to change")					\
P(STATE_CHANGED, PAIR | SILENCE | TAKEOVER | UNPAIR | GONE | HELD, A | B, ATOMIC, 0, 0, \
		"a state has changed, nobody is woken")				\
P(EVENT_WORK, PAIR | SILENCE | TAKEOVER | UNPAIR | GONE | HELD, A | B, SLEEP, 0, 0,	\
		"a state has changed: the worker begins")			\
P(ALLOC_EVENT, PAIR | SILENCE | TAKEOVER | UNPAIR | GONE | HELD, A | B, SLEEP, FAIL, ENOMEM, \
		"a state has changed: allocate what is told")			\
/* ---- pairing ---- */								\
P(PAIR_BEGIN, PAIR, A | B, SLEEP, FAIL, EIO, "pair: settings are taken")	\
P(ALLOC_HELLO, PAIR, A | B, SLEEP, FAIL, ENOMEM, "pair: allocate the HELLOs")	\
P(PAIR_HELLO, PAIR, A | B, SLEEP, FAIL, EIO, "pair: HELLOs are exchanged")	\
P(PAIR_COMPARED, PAIR, A | B, SLEEP, FAIL, EIO, "pair: HELLOs agree")		\
P(PAIR_LINKED, PAIR, A | B, SLEEP, FAIL, EIO, "pair: the replica has its link")	\
P(PAIR_ARMED, PAIR, A | B, SLEEP, FAIL, EIO, "pair: armed, threads don't run")	\
P(PAIR_RUNS, PAIR, A | B, SLEEP, 0, 0, "pair: threads run")			\
P(COUNTER_OPEN, PAIR, A | B, SLEEP, FAIL, EBUSY, "first instruction: the counter") \
P(START_FILL, PAIR, A | B, SLEEP, FAIL, EFAULT, "first instruction: registers and memory") \
P(ALLOC_RAM, PAIR, A | B, SLEEP, FAIL, ENOMEM, "first instruction: allocate to read memory") \
P(START_READY, PAIR, A | B, SLEEP, 0, 0, "first instruction: START is sent")	\
P(START_WAIT, PAIR, A | B, SLEEP, 0, 0, "first instruction: wait for START")	\
P(START_GOT, PAIR, A | B, SLEEP, FLIP, 0, "first instruction: both STARTs are there") \
P(START_EQUAL, PAIR, A | B, SLEEP, 0, 0, "first instruction: STARTs agree")	\
P(START_DONE, PAIR, A | B, SLEEP, 0, 0, "first instruction: the replica has its role") \
/* ---- the link ---- */							\
P(LINK_ALLOC, PAIR, A | B, SLEEP, FAIL, ENOMEM, "link: allocate it")		\
P(LINK_SOCKET, PAIR, A | B, SLEEP, FAIL, EBADF, "link: take the socket")	\
P(LINK_TX_BUFFER, PAIR, A | B, SLEEP, FAIL, ENOMEM, "link: allocate what frames are sent from") \
P(LINK_RX_BUFFER, PAIR, A | B, SLEEP, FAIL, ENOMEM, "link: allocate what frames are taken to") \
P(LINK_RX_THREAD, PAIR, A | B, SLEEP, FAIL, ENOMEM, "link: create the receive thread") \
P(LINK_TX_THREAD, PAIR, A | B, SLEEP, FAIL, ENOMEM, "link: create the send thread") \
P(LINK_RUNS, PAIR, A | B, SLEEP, 0, 0, "link: both threads run")		\
P(LINK_ACK, RUN, B, ATOMIC, 0, 0, "link: there is something to acknowledge")	\
P(SEND_HELLO, PAIR, A | B, SLEEP, FAIL | FLIP, ECONNRESET, "HELLO: to be sent")	\
P(SEND_START, PAIR, A | B, SLEEP, FAIL | FLIP, ECONNRESET, "START: to be sent")	\
P(SEND_DATA, RUN, A, SLEEP, FAIL | FLIP, ECONNRESET, "DATA: to be sent")	\
P(SEND_ACK, RUN, B, SLEEP, FAIL | FLIP, ECONNRESET, "ACK: to be sent")		\
P(SEND_BEAT, RUN, A | B, SLEEP, FAIL | FLIP, ECONNRESET, "HEARTBEAT: to be sent") \
P(SEND_BYE, UNPAIR | GONE | FENCE, A | B, SLEEP, FAIL | FLIP, ECONNRESET, "BYE: to be sent") \
P(SEND_BULK, DISK | NET, A, SLEEP, FAIL | FLIP, ECONNRESET, "BULK: to be sent")	\
P(SENT_HELLO, PAIR, A | B, SLEEP, 0, 0, "HELLO: sent")				\
P(SENT_START, PAIR, A | B, SLEEP, 0, 0, "START: sent")				\
P(SENT_DATA, RUN, A, SLEEP, 0, 0, "DATA: sent")					\
P(SENT_ACK, RUN, B, SLEEP, 0, 0, "ACK: sent")					\
P(SENT_BEAT, RUN, A | B, SLEEP, 0, 0, "HEARTBEAT: sent")			\
P(SENT_BYE, UNPAIR | GONE | FENCE, A | B, SLEEP, 0, 0, "BYE: sent")		\
P(SENT_BULK, DISK | NET, A, SLEEP, 0, 0, "BULK: sent")				\
P(SOCK_SEND, PAIR | RUN | UNPAIR, A | B, SLEEP, FAIL | SHORT, ECONNRESET, "socket: send") \
P(SOCK_RECV, PAIR | RUN, A | B, SLEEP, FAIL | SHORT, ECONNRESET, "socket: receive") \
P(RECV_HEADER, PAIR | RUN, A | B, SLEEP, FLIP, 0, "a frame's header came, not checked") \
P(RECV_FRAME, PAIR | RUN, A | B, SLEEP, FLIP, 0, "a frame came, not checked")	\
P(GOT_HELLO, PAIR, A | B, SLEEP, FAIL, EBADMSG, "HELLO: checked")		\
P(GOT_START, PAIR, A | B, SLEEP, FAIL, ENOMEM, "START: checked")		\
P(GOT_DATA, RUN, B, SLEEP, FAIL, ENOMEM, "DATA: checked")			\
P(GOT_ACK, RUN, A, SLEEP, FAIL, ENOMEM, "ACK: checked")				\
P(GOT_BEAT, RUN, A | B, SLEEP, FAIL, ENOMEM, "HEARTBEAT: checked")		\
P(GOT_BYE, UNPAIR | GONE | FENCE, A | B, SLEEP, FAIL, ENOMEM, "BYE: checked")	\
P(GOT_BULK, DISK | NET, B, SLEEP, FAIL, ENOMEM, "BULK: checked")			\
P(LINK_DIES, SILENCE | GONE | UNPAIR, A | B, SLEEP, 0, 0, "link: dead, the socket is open") \
P(LINK_LEFT, SILENCE | GONE | UNPAIR, A | B, SLEEP, 0, 0, "link: both threads have left") \
P(LINK_DOWN, SILENCE | GONE | UNPAIR, A | B, SLEEP, 0, 0, "link down: the log is closed") \
P(LINK_TOLD, SILENCE | GONE | UNPAIR, A | B, SLEEP, 0, 0, "link down: the state has changed") \
/* ---- the second path ---- */							\
P(SECOND_OPEN, SECOND, A | B, SLEEP, FAIL, EIO, "second path: opened, nobody beats")	\
P(SECOND_ALLOC, SECOND, A | B, SLEEP, FAIL, ENOMEM, "second path: allocate it")	\
P(SECOND_THREAD, SECOND, A | B, SLEEP, FAIL, ENOMEM, "second path: create its thread")	\
P(SECOND_BEAT, SECOND, A | B, SLEEP, FAIL | FLIP, ECONNRESET, "second path: a beat is to be sent") \
P(SECOND_SENT, SECOND, A | B, SLEEP, 0, 0, "second path: a beat is sent")		\
P(SECOND_GOT, SECOND, A | B, SLEEP, FAIL | FLIP, EBADMSG, "second path: a beat came, not checked") \
P(SECOND_HEARD, SECOND, A | B, SLEEP, 0, 0, "second path: a beat was taken")		\
/* ---- the log ---- */								\
P(LOG_END, RUN, A, SLEEP, FAIL | FLIP, ENOSPC, "END: to be logged")		\
P(LOG_ENV, RUN, A, SLEEP, FAIL | FLIP, ENOSPC, "ENV: to be logged")		\
P(LOG_TSC, RUN, A, ATOMIC, FAIL | FLIP, ENOSPC, "TSC: to be logged")		\
P(LOG_OUT, RUN, A, SLEEP, FAIL | FLIP, ENOSPC, "OUT: to be logged")		\
P(LOG_STOP, GONE, A, SLEEP, FAIL | FLIP, ENOSPC, "STOP: to be logged")		\
P(LOG_IMAGE, VERIFY, A, SLEEP, FAIL | FLIP, ENOSPC, "IMAGE: to be logged")	\
P(LOG_PAGES, VERIFY, A, SLEEP, FAIL | FLIP, ENOSPC, "PAGES: to be logged")	\
P(LOGGED_END, RUN, A, SLEEP, 0, 0, "END: logged")				\
P(LOGGED_ENV, RUN, A, SLEEP, 0, 0, "ENV: logged")				\
P(LOGGED_TSC, RUN, A, ATOMIC, 0, 0, "TSC: logged")				\
P(LOGGED_OUT, RUN, A, SLEEP, 0, 0, "OUT: logged")				\
P(LOGGED_STOP, GONE, A, SLEEP, 0, 0, "STOP: logged")				\
P(LOGGED_IMAGE, VERIFY, A, SLEEP, 0, 0, "IMAGE: logged")			\
P(LOGGED_PAGES, VERIFY, A, SLEEP, 0, 0, "PAGES: logged")			\
P(PULL, RUN, A, SLEEP, 0, 0, "log bytes are about to be pulled")		\
P(PULLED, RUN, A, SLEEP, FLIP, 0, "log bytes are pulled, not sealed")		\
P(DATA_TAKE, RUN, B, SLEEP, FAIL | FLIP, EBADMSG, "log bytes came")		\
P(DATA_HELD, RUN, B, SLEEP, 0, 0, "log bytes are held, not acknowledged")	\
P(DATA_ACKED, RUN, B, SLEEP, 0, 0, "log bytes are acknowledged, nobody is woken") \
P(ACK_TAKE, RUN, A, SLEEP, FAIL, EBADMSG, "an acknowledgment came")		\
P(ACK_TAKEN, RUN, A, SLEEP, 0, 0, "the flow is updated, nobody is woken")	\
P(PEEK, RUN, B, ATOMIC, FLIP, 0, "a record is about to be decoded")		\
P(CONSUME, RUN, B, ATOMIC, 0, 0, "a record is about to be consumed")		\
P(CONSUMED, RUN, B, ATOMIC, 0, 0, "a record is consumed")			\
P(ROOM_WAIT, LAG, A, SLEEP, 0, 0, "wait for room in the log")			\
P(COMMIT_WAIT, RUN, A, SLEEP, 0, 0, "output commit: wait")			\
P(COMMIT_WAITED, RUN | HELD, A, SLEEP, 0, 0, "output commit: the wait is over")	\
P(FOLLOW_WAIT, RUN, B, SLEEP, 0, 0, "backup: wait for a record")		\
P(FOLLOW_WAITED, RUN, B, SLEEP, 0, 0, "backup: the wait for a record is over")	\
P(WITHIN_WAIT, RUN, B, SLEEP, 0, 0, "backup: wait in the middle of an instruction") \
/* ---- the primary ---- */							\
P(LEAD_LAG_WAIT, LAG, A, SLEEP, 0, 0, "wait for a backup that is behind")	\
P(LEAD_END, RUN, A, SLEEP, 0, 0, "epoch end: inputs are taken")			\
P(LEAD_ENDED, RUN, A, SLEEP, 0, 0, "epoch end: logged, inputs not applied")	\
P(LEAD_APPLIED, RUN, A, SLEEP, 0, 0, "epoch end: inputs applied")		\
P(LEAD_SYNC, RUN, A, SLEEP, 0, 0, "a synchronising exit")			\
P(LEAD_OUT_LOGGED, RUN, A, SLEEP, 0, 0, "output: logged, not committed")	\
P(LEAD_OUT_COMMITTED, RUN, A, SLEEP, 0, 0, "output: committed")			\
P(LEAD_LATE, RUN, A, SLEEP, 0, 0, "output within an instruction: logged")	\
P(LEAD_LATE_COMMITTED, RUN, A, SLEEP, 0, 0, "output within an instruction: committed") \
P(LEAD_HALT, RUN, A, SLEEP, 0, 0, "the guest is halted")			\
P(LEAD_STOP, GONE, A, SLEEP, 0, 0, "the guest ended: STOP is flushed")		\
/* ---- the backup ---- */							\
P(FOLLOW_SYNC, RUN, B, SLEEP, 0, 0, "a synchronising exit")			\
P(FOLLOW_OUT, RUN, B, SLEEP, 0, 0, "output: its record is taken")		\
P(FOLLOW_END, RUN, B, ATOMIC, 0, 0, "epoch end: inputs not applied")		\
P(FOLLOW_APPLIED, RUN, B, ATOMIC, 0, 0, "epoch end: inputs applied")		\
P(FOLLOW_SNAP, RUN, B, ATOMIC, 0, 0, "epoch end behind an instruction")		\
P(TAKE_ENV, RUN, B, ATOMIC, 0, 0, "ENV: agrees, not consumed")			\
P(TAKE_TSC, RUN, B, ATOMIC, 0, 0, "TSC: agrees, not consumed")			\
P(TAKE_OUT, RUN, B, ATOMIC, 0, 0, "OUT: agrees, not consumed")			\
P(TAKE_WITHIN, RUN, B, ATOMIC, 0, 0, "a further record of an instruction")	\
P(FOLLOW_LATE, RUN, B, SLEEP, 0, 0, "output within an instruction")		\
P(FOLLOW_HALT, RUN, B, SLEEP, 0, 0, "the guest is halted")			\
P(LAND_SET, RUN, B, ATOMIC, 0, 0, "landing: the breakpoint is set")		\
P(LAND_HIT, RUN, B, ATOMIC, 0, 0, "landing: the breakpoint was hit")		\
P(LANDED, RUN, B, ATOMIC, 0, 0, "landing: there, registers not compared")	\
P(LAND_EQUAL, RUN, B, ATOMIC, 0, 0, "landing: registers agree")			\
/* ---- verification: what is compared is wrong, not a copy, but for the FPU's ---- */ \
P(VERIFY_VMCB, VERIFY, B, SLEEP, FLIP, 0, "verification: what the CPU keeps of its guest") \
P(VERIFY_LAPIC, VERIFY, B, SLEEP, FLIP, 0, "verification: the local APIC's registers") \
P(VERIFY_FPU, VERIFY, B, SLEEP, FLIP, 0, "verification: the FPU's registers")	\
P(VERIFY_AGREES, VERIFY, B, SLEEP, 0, 0, "verification: agrees, not consumed")	\
/* ---- either ---- */								\
P(KVM_RUN, RUN, A | B, SLEEP, 0, 0, "KVM_RUN, nothing is planned yet")		\
P(ENTRY, RUN, A | B, ATOMIC, 0, 0, "the guest is about to be entered")		\
P(EXITED, RUN, A | B, ATOMIC, 0, 0, "the guest was left")			\
P(COUNTER_ARM, RUN, A | B, ATOMIC, FAIL, EBUSY, "the counter is armed")		\
P(COUNTER_READ, RUN, A | B, ATOMIC, FAIL, EBUSY, "the counter is read")		\
P(EMULATE, RUN, A | B, SLEEP, 0, 0, "an instruction is about to reach devices")	\
P(EMULATED, RUN, A | B, SLEEP, 0, 0, "an instruction has reached devices, or QEMU") \
P(INPUT, RUN, A | B, ATOMIC, 0, 0, "an input arrived")				\
P(ENV_LEAD, RUN, A, SLEEP, FAIL, ENOSPC, "an environment read, to be collected") \
P(ENV_FOLLOW, RUN, B, SLEEP, 0, 0, "an environment read, to be replaced")	\
P(ENV_REPLACED, RUN, B, SLEEP, FLIP, 0, "an environment read, replaced")	\
/* ---- verification ---- */							\
P(ALLOC_DIRTY, PAIR, A, SLEEP, FAIL, ENOMEM, "verify: allocate which pages are written") \
P(ALLOC_IMAGE, RUN, A | B, SLEEP, FAIL, ENOMEM, "verify: allocate to read the FPU")	\
/* ---- disks, cards ---- */							\
P(ALLOC_ANSWER, DISK | NET, B, SLEEP, FAIL, ENOMEM, "device: allocate what the primary tells") \
P(DEV_WAIT, DISK | NET, B, SLEEP, 0, 0, "device: the backup waits for its own side")	\
P(DEV_KICK, DISK | NET, A | B, SLEEP, 0, 0, "device: the guest has kicked")		\
P(DEV_TAKEN, DISK | NET, A | B, SLEEP, 0, 0, "device: what it asks for is taken")	\
P(DEV_DO, DISK, A | B, SLEEP, 0, 0, "disk: a request is to be carried out")	\
P(DEV_STORE, DISK, B, SLEEP, FAIL, EIO, "disk: the backup's storage answers")	\
P(DEV_DONE, DISK, A | B, SLEEP, 0, 0, "disk: a request is carried out")		\
P(DEV_ANSWERED, DISK | NET, A, SLEEP, 0, 0, "device: what it came to is sent")		\
P(DEV_COMPLETE, DISK | NET, A | B, SLEEP, 0, 0, "device: epoch end, a request is to be completed") \
P(DEV_COMPLETED, DISK | NET, A | B, SLEEP, 0, 0, "device: epoch end, a request is completed") \
P(DEV_CALL, 0, A, SLEEP, FAIL, EAGAIN, "device: the guest is to be told of completions")	\
P(DEV_LOGGED, DISK | NET, A, SLEEP, 0, 0, "device: the epoch end is logged")		\
P(DEV_FREED, DISK | NET, B, SLEEP, 0, 0, "device: the epoch end is applied")		\
P(NET_SEND, NET, A, SLEEP, 0, 0, "card: a packet is to be let out")		\
P(NET_SENT, NET, A, SLEEP, 0, 0, "card: a packet is out, the guest was not told")	\
P(NET_GOT, NET, A, SLEEP, 0, 0, "card: a packet came, nobody knows")		\
/* ---- good-byes, takeover ---- */						\
P(BYE_SAY, UNPAIR | GONE | FENCE, A | B, SLEEP, 0, 0, "good-bye: to be said")	\
P(BYE_SAID, UNPAIR | GONE | FENCE, A | B, SLEEP, 0, 0, "good-bye: said, the link lives") \
P(BYE_DONE, UNPAIR | GONE | FENCE, A | B, SLEEP, 0, 0, "good-bye: said, the link is dead") \
P(BYE_GOT, UNPAIR | GONE | FENCE, A | B, SLEEP, 0, 0, "good-bye: the peer's came") \
P(BYE_TAKEN, UNPAIR | GONE | FENCE, A | B, SLEEP, 0, 0, "good-bye: the state has changed") \
P(DRAIN, GONE, A, SLEEP, 0, 0, "the guest ended: the log goes out")		\
P(DRAINED, GONE, A, SLEEP, 0, 0, "the guest ended: the log is out")		\
P(FENCE, FENCE, B, SLEEP, 0, 0, "fence: the primary is to be stopped")		\
P(FENCED, FENCE, B, SLEEP, 0, 0, "fence: the primary was told")			\
P(FENCE_WAIT, FENCE, A, SLEEP, 0, 0, "fence: the primary is not to run, and may yet") \
P(FENCE_WAITED, FENCE, A, SLEEP, 0, 0, "fence: the primary has stopped, and has yet to say so") \
P(UNPAIR, UNPAIR, A | B, SLEEP, 0, 0, "unpair: the command came")		\
P(UNPAIRING, UNPAIR, A, SLEEP, 0, 0, "unpair: the backup was told, and has yet to stop") \
P(PROMOTE, TAKEOVER | FENCE | HELD, B, SLEEP, 0, 0, "promote: about to begin")		\
P(PROMOTING, TAKEOVER | FENCE | HELD, B, SLEEP, 0, 0, "promote: wait for the takeover") \
P(PROMOTED, TAKEOVER | FENCE | HELD, B, SLEEP, 0, 0, "promote: done, not answered")	\
P(LIVE, TAKEOVER | FENCE, B, SLEEP, 0, 0, "takeover: the log is consumed")	\
P(LIVE_CLOCK, TAKEOVER | FENCE, B, SLEEP, 0, 0, "takeover: the clock goes on")	\
P(LIVE_INPUTS, TAKEOVER | FENCE, B, SLEEP, 0, 0, "takeover: inputs are pending") \
P(LIVE_DONE, TAKEOVER | FENCE, B, SLEEP, 0, 0, "takeover: the guest is live")

#endif
