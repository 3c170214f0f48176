/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Devices of a guest in lockstep: the vCPU thread serves the rings, at points of
 * the guest's execution that are the same on both replicas.
 */
#ifndef FTKVM_LOCKSTEP_H
#define FTKVM_LOCKSTEP_H

#include <linux/types.h>

struct kvm;
struct ftkvm_devq;
struct ftkvm_input;
struct ftkvm_rec;
struct ftkvm_replica;
struct ftkvm_vreq;

/* inputs of devices in one END; the rest is for interrupts */
#define FTKVM_LOCKSTEP_INPUTS	16
/* ... of one queue: a flood of packets leaves some for disks, and for what the card sends */
#define FTKVM_LOCKSTEP_SHARE	6
/* what a backup holds of answers for a queue, and what each counts beside its data */
#define FTKVM_ANSWERS_MAX	(64u << 20)
#define FTKVM_ANSWER_COST	4096u
/* Storage that takes longer than this for a request has failed: as SCSI's time-out. */
#define FTKVM_DISK_HANGS	(30 * HZ)

/* ---- lockstep.c: for userspace's commands ---- */
void ftkvm_lockstep_tell(struct ftkvm_devq *q);
void ftkvm_lockstep_drain(struct ftkvm_devq *q);
u32 ftkvm_lockstep_stop(struct ftkvm_devq *q);
void ftkvm_lockstep_reset(struct ftkvm_replica *r);

/* ... for pairing */
int ftkvm_lockstep_idle(const struct kvm *kvm, char *why, size_t size);
u32 ftkvm_devs_start_crc(const struct kvm *kvm);

/* ... for the kick; any context but NMI */
bool ftkvm_lockstep_kick(struct ftkvm_devq *q);

/* ---- kick.c: for the vCPU thread, kvm->srcu read-held */
bool ftkvm_lockstep_is_kick(struct kvm *kvm, u64 gpa);
bool ftkvm_lockstep_is_lost_kick(struct kvm *kvm, u64 gpa);
void ftkvm_lockstep_kicked(struct ftkvm_replica *r, u64 gpa);

/* ... for the worker; primary.c: committed, answer */
bool ftkvm_lockstep_solo(struct ftkvm_devq *q);
bool ftkvm_lockstep_may_do(struct ftkvm_devq *q);
bool ftkvm_lockstep_skips(struct ftkvm_devq *q, const struct ftkvm_vreq *req);
void ftkvm_lockstep_done(struct ftkvm_devq *q);
bool ftkvm_lockstep_committed(struct ftkvm_replica *r, struct ftkvm_devq *q);
bool ftkvm_lockstep_crowded(struct ftkvm_devq *q);
void ftkvm_lockstep_answer(struct ftkvm_devq *q, struct ftkvm_vreq *req, u8 status);

/* ---- for the vCPU thread, process context, kvm->srcu read-held ---- */
void ftkvm_lockstep_kicks(struct ftkvm_replica *r);
/* primary.c */
int ftkvm_lockstep_lead(struct ftkvm_replica *r, struct ftkvm_input *list, int max);
void ftkvm_lockstep_logged(struct ftkvm_replica *r);
bool ftkvm_lockstep_token(struct ftkvm_replica *r, struct ftkvm_devq *q);
/* backup.c */
int ftkvm_lockstep_follow(struct ftkvm_replica *r, const struct ftkvm_rec *rec);
void ftkvm_lockstep_live(struct ftkvm_replica *r);

/* ---- for the receive thread: primary.c, backup.c ---- */
void ftkvm_lockstep_acked(struct ftkvm_replica *r, u64 received);
int ftkvm_lockstep_bulk(struct ftkvm_replica *r, const void *payload, u32 len);
void ftkvm_answers_drop(struct ftkvm_devq *q, u64 before);

#endif
