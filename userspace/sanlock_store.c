// SPDX-License-Identifier: GPL-2.0
/* All of this runs in children (arbiter_child.h): no memory is allocated, no lock taken. */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sanlock.h>
#include <sanlock_admin.h>
#include <sanlock_resource.h>
#include <sanlock_rv.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "sanlock_store.h"
#include "text.h"

#define MAGIC_SESSION	"ftkvmse1"
#define MAGIC_KEPT	"ftkvmke1"
#define LOOKS		4	/* at a record that seems to be damaged, as it may be written just then */
#define LAYOUT		(SANLK_RES_ALIGN1M | SANLK_RES_ALIGN2M | SANLK_RES_ALIGN4M | SANLK_RES_ALIGN8M | \
			 SANLK_RES_SECTOR512 | SANLK_RES_SECTOR4K)
#define LEASE_IO_TIMEOUTS 6	/* of sanlock's: 2 less than after which a host is taken for lost */
#define JUMP_MS		100	/* two clocks are read one after the other */
#define ANSWER_MS	30	/* for the way back to who asks */

/* On the device, little endian as all of its hosts are; 0 is not paired. */
enum { PAIRED = 1, WON = 2 /* and a role */ };

/**
 * struct record - a session; or, with the other magic, when it was kept
 * @slot: where it is, so that one that went astray is known
 * @state: PAIRED, or WON + who
 * @host, @when: who wrote it, and when by its clock, in milliseconds; for people, and to be another one
 *	each time
 * @session, @name, @who: text
 * @sum: of all before it
 */
struct record {
	char magic[8];
	uint32_t slot, state, host, unused;
	uint64_t when;
	char session[40], name[216], who[216];
	uint64_t sum;
};

static_assert(sizeof(struct record) == 512);

struct store {
	const struct store_question *q;
	struct store_reply *reply;
	int fd, sock;
	/* with a sector behind it, to look at one once more */
	char *table;
	/* since the lease was asked for: milliseconds, and by how much the clock that counts suspensions is ahead */
	int64_t asked, ahead;
	uint32_t io_timeout_s;
	/* what sanlock wants to know, each with room for its disk */
	struct sanlk_lockspace space;
	struct {
		struct sanlk_resource res;
		struct sanlk_disk disk;
	} lease;
};

static int fail(struct store *s, enum store_fault fault, int code)
{
	s->reply->fault = fault;
	s->reply->code = code;
	return -1;
}

/* --- records ---------------------------------------------------------------- */

/* FNV-1a: a sector that is half of one record and half of another must not pass. */
static uint64_t sum_of(const struct record *r)
{
	const unsigned char *at = (const unsigned char *)r;
	uint64_t sum = 0xcbf29ce484222325;
	size_t i;

	for (i = 0; i < offsetof(struct record, sum); i++)
		sum = (sum ^ at[i]) * 0x100000001b3;
	return sum;
}

static struct record *sector_at(const struct store *s, unsigned int n)
{
	return (struct record *)(s->table + (size_t)n * s->reply->sector);
}

static off_t place_of(const struct store *s, unsigned int n)
{
	return 2 * (off_t)s->reply->align + (off_t)n * s->reply->sector;
}

static bool is_zero(const struct record *r)
{
	static const struct record none;

	return !memcmp(r, &none, sizeof(none));
}

static bool is_good(const struct record *r, const char *magic, unsigned int slot)
{
	return !memcmp(r->magic, magic, sizeof(r->magic)) && r->sum == sum_of(r) && r->slot == slot &&
	       strnlen(r->session, sizeof(r->session)) == SESSION_LEN;
}

static bool is_session(const struct record *r, unsigned int slot)
{
	return is_good(r, MAGIC_SESSION, slot) && r->state >= PAIRED && r->state < WON + ROLES;
}

static int read_sectors(struct store *s, unsigned int first, unsigned int n)
{
	size_t len = (size_t)n * s->reply->sector;
	ssize_t got = pread(s->fd, sector_at(s, first), len, place_of(s, first));

	if (got < 0)
		return fail(s, STORE_READ, -errno);
	return got == (ssize_t)len ? 0 : fail(s, STORE_SMALL, -ENOSPC);
}

static int look(struct store *s)
{
	return read_sectors(s, 0, 2 * STORE_SLOTS);
}

/* In the table; maybe once more from the device, as another host may just write it. */
static bool is_damaged(struct store *s, unsigned int slot)
{
	int i;

	for (i = 0; i < LOOKS; i++) {
		if (is_zero(sector_at(s, slot)) || is_session(sector_at(s, slot), slot))
			return false;
		if (read_sectors(s, slot, 1))
			return true;
	}
	return true;
}

/* The session's slot, or STORE_SLOTS; and one that is damaged, if there is any. */
static unsigned int slot_of(struct store *s, const char *session, int *damaged)
{
	unsigned int i;

	*damaged = -1;
	for (i = 0; i < STORE_SLOTS; i++) {
		const struct record *r = sector_at(s, i);

		if (is_damaged(s, i))
			*damaged = i;
		else if (!is_zero(r) && !strcmp(r->session, session))
			break;
	}
	return i;
}

/* What is damaged may be any session: then it is not known whether this one is there. */
static int find(struct store *s, unsigned int *slot)
{
	int damaged;

	*slot = slot_of(s, s->q->session, &damaged);
	if (*slot < STORE_SLOTS)
		return 0;
	if (damaged < 0)
		return fail(s, STORE_NONE, -ENOENT);
	s->reply->slot = damaged;
	return fail(s, STORE_DAMAGED, -EBADMSG);
}

static void make_record(const struct store *s, struct record *r, const char *magic, unsigned int slot)
{
	memset(r, 0, s->reply->sector);
	memcpy(r->magic, magic, sizeof(r->magic));
	r->slot = slot;
	memcpy(r->session, s->q->session, SESSION_LEN);
}

static int write_sector(struct store *s, unsigned int n)
{
	ssize_t len = s->reply->sector;
	ssize_t done = pwrite(s->fd, sector_at(s, n), len, place_of(s, n));

	return done == len ? 0 : fail(s, STORE_WRITE, done < 0 ? -errno : -EIO);
}

static int put_record(struct store *s, unsigned int n)
{
	struct record *r = sector_at(s, n);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	r->host = s->q->host_id;
	r->when = (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	r->sum = sum_of(r);
	return write_sector(s, n);
}

/* It holds if the storage loses its power now. */
static int settle(struct store *s)
{
	return fdatasync(s->fd) ? fail(s, STORE_WRITE, -errno) : 0;
}

/* --- the lease -------------------------------------------------------------- */

/* Is it somebody else's, or was it when we tried? Then it is worth while to try again. */
static bool is_taken(int code)
{
	switch (code) {
	case -EEXIST:
	case -EBUSY:
	case -EAGAIN:
	case -EINPROGRESS:
	case SANLK_AIO_TIMEOUT:
	case SANLK_DBLOCK_LVER:
	case SANLK_DBLOCK_MBAL:
	case SANLK_LEADER_DIFF:
	case SANLK_ACQUIRE_IDLIVE:
	case SANLK_ACQUIRE_OWNED:
	case SANLK_ACQUIRE_OTHER:
	case SANLK_ACQUIRE_OWNED_RETRY:
		return true;
	}
	return false;
}

static bool is_no_lease(int code)
{
	return code <= SANLK_LEADER_MAGIC && code >= SANLK_LEADER_CHECKSUM;
}

/* Two hosts that try again should not do so in step. */
static void wait_a_little(const struct store *s)
{
	struct timespec now, t = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &now);
	t.tv_nsec = 3000000 + (now.tv_nsec / 1000 + s->q->host_id * 7919) % 20 * 1000000;
	nanosleep(&t, NULL);
}

/* How long it was suspended, but for a constant. */
static int64_t ahead_ms(void)
{
	return (int64_t)(ft_boottime_ns() / 1000000) - ft_now_ms();
}

static int take_lease(struct store *s)
{
	struct sanlk_resource *res = &s->lease.res;
	int code;

	s->asked = ft_now_ms();
	s->ahead = ahead_ms();
	for (;;) {
		code = sanlock_acquire(s->sock, -1, SANLK_ACQUIRE_OWNER_NOWAIT, 1, &res, NULL);
		if (code >= 0)
			return 0;
		if (code == -ENOSPC)
			return fail(s, STORE_LOST, code);
		if (is_no_lease(code))
			return fail(s, STORE_FORMAT, code);
		if (!is_taken(code))
			return fail(s, STORE_LEASE, code);
		if (ft_now_ms() >= s->q->deadline - ANSWER_MS)
			return fail(s, code == SANLK_ACQUIRE_OWNED_RETRY ? STORE_DEAD : STORE_HELD, code);
		wait_a_little(s);
	}
}

static void leave_lease(struct store *s)
{
	struct sanlk_resource *res = &s->lease.res;

	/* sanlock takes it back from who has ended, too */
	sanlock_release(s->sock, -1, 0, 1, &res);
}

/*
 * The last look before record @n is changed, that was @before. Who loses the lease is killed by sanlock,
 * unless that has died itself: then its socket has hung up. A host that stood still for so long
 * that others may have the lease by now is past the deadline, or was suspended; or, if it is a virtual
 * machine that was paused, has no clock that tells, but finds what others have changed.
 */
static int still_ours(struct store *s, unsigned int n, const struct record *before)
{
	struct pollfd pfd = { .fd = s->sock, .events = POLLIN };
	void *now = sector_at(s, 2 * STORE_SLOTS);
	int64_t ms = ft_now_ms();

	if (poll(&pfd, 1, 0))
		return fail(s, STORE_DAEMON, -EPIPE);
	if (ms >= s->q->deadline || ms - s->asked >= LEASE_IO_TIMEOUTS * 1000LL * s->io_timeout_s ||
	    ahead_ms() - s->ahead > JUMP_MS)
		return fail(s, STORE_LATE, -ETIMEDOUT);
	if (pread(s->fd, now, s->reply->sector, place_of(s, n)) != (ssize_t)s->reply->sector)
		return fail(s, STORE_READ, -EIO);
	return memcmp(now, before, sizeof(*before)) ? fail(s, STORE_LATE, -ESTALE) : 0;
}

/* --- what is asked ----------------------------------------------------------- */

/* Has it been as it is for as long as a lease is, as far as we have seen? */
static bool is_old(const struct store *s, unsigned int slot)
{
	const struct record *r = sector_at(s, slot), *k = sector_at(s, STORE_SLOTS + slot);
	struct store_seen *seen = &s->q->seen[slot];
	int64_t now = ft_now_ms();
	uint64_t kept = 0;

	if (is_good(k, MAGIC_KEPT, slot) && !strcmp(k->session, r->session))
		kept = k->when ^ (uint64_t)k->host << 48;
	if (!strcmp(seen->session, r->session) && seen->kept == kept && seen->state == r->state)
		return now - seen->since >= s->q->lease_ms;
	/* First, as a child that was left behind may be at it, too: what is half of each is young. */
	seen->since = now;
	memcpy(seen->session, r->session, sizeof(seen->session));
	seen->kept = kept;
	seen->state = r->state;
	return false;
}

/* Take away what nobody has kept. */
static int sweep(struct store *s)
{
	unsigned int i;

	for (i = 0; i < STORE_SLOTS; i++) {
		struct record *r = sector_at(s, i), before = *r;

		if (!is_session(r, i) || !is_old(s, i))
			continue;
		memset(r, 0, s->reply->sector);
		if (still_ours(s, i, &before) || write_sector(s, i))
			return -1;
	}
	return 0;
}

static int do_begin(struct store *s)
{
	struct record *r, before;
	unsigned int slot;
	int damaged;

	if (slot_of(s, s->q->session, &damaged) < STORE_SLOTS)
		return fail(s, STORE_THERE, -EEXIST);
	if (sweep(s))
		return -1;
	for (slot = 0; slot < STORE_SLOTS && !is_zero(sector_at(s, slot)); slot++)
		;
	if (slot == STORE_SLOTS) {
		s->reply->slot = damaged;
		return damaged < 0 ? fail(s, STORE_FULL, -ENOSPC) : fail(s, STORE_DAMAGED, -EBADMSG);
	}
	r = sector_at(s, slot);
	before = *r;
	make_record(s, r, MAGIC_SESSION, slot);
	r->state = PAIRED;
	snprintf(r->name, sizeof(r->name), "%s", s->q->text);
	if (still_ours(s, slot, &before) || put_record(s, slot))
		return -1;
	is_old(s, slot);
	return 0;
}

static bool is_decided(struct store *s, unsigned int slot)
{
	const struct record *r = sector_at(s, slot);

	if (r->state < WON)
		return false;
	s->reply->winner = r->state - WON;
	s->reply->won = s->q->order == STORE_CLAIM && s->reply->winner == s->q->role;
	return true;
}

static int do_keep(struct store *s)
{
	unsigned int slot;

	if (find(s, &slot))
		return -1;
	if (is_decided(s, slot))
		return fail(s, STORE_DECIDED, -EALREADY);
	make_record(s, sector_at(s, STORE_SLOTS + slot), MAGIC_KEPT, slot);
	return put_record(s, STORE_SLOTS + slot);
}

static int do_claim(struct store *s)
{
	struct record *r, before;
	unsigned int slot;

	if (find(s, &slot))
		return -1;
	if (is_decided(s, slot))
		return 0;
	r = sector_at(s, slot);
	before = *r;
	r->state = WON + s->q->role;
	snprintf(r->who, sizeof(r->who), "%s", s->q->text);
	if (still_ours(s, slot, &before) || put_record(s, slot))
		return -1;
	is_decided(s, slot);
	return 0;
}

static int do_end(struct store *s)
{
	struct record before;
	unsigned int slot;

	if (find(s, &slot))
		return -1;
	before = *sector_at(s, slot);
	memset(sector_at(s, slot), 0, s->reply->sector);
	return still_ours(s, slot, &before) || write_sector(s, slot) ? -1 : 0;
}

/*
 * What needs no lease: a session that is not there never comes back, and one that is decided
 * stays so. 1: it does.
 */
static int do_without(struct store *s)
{
	unsigned int slot;

	switch (s->q->order) {
	case STORE_BEGIN:
		return 1;
	case STORE_KEEP:
		return do_keep(s);
	case STORE_CLAIM:
		return find(s, &slot) ? -1 : is_decided(s, slot) ? 0 : 1;
	case STORE_END:
		if (!find(s, &slot))
			return 1;
		/* if it is the damaged one nobody wins it any more either */
		return s->reply->fault == STORE_DAMAGED ? fail(s, STORE_NONE, -ENOENT) : -1;
	}
	return -1;
}

static int do_with(struct store *s)
{
	return s->q->order == STORE_BEGIN ? do_begin(s) : s->q->order == STORE_CLAIM ? do_claim(s) : do_end(s);
}

static void ask(struct store *s)
{
	int ret = look(s) ? -1 : do_without(s);

	if (ret > 0) {
		if (take_lease(s))
			return;
		ret = look(s) ? -1 : do_with(s);
		/* On the device before anybody else has the lease, also what an earlier question won. */
		if (!ret)
			ret = settle(s);
		leave_lease(s);
	} else if (!ret) {
		ret = settle(s);
	}
	if (ret)
		s->reply->won = false;
}

/* --- the device and sanlock --------------------------------------------------- */

static int open_device(struct store *s)
{
	struct stat st;
	int block = 512;

	/* First as a file: what is none, or is one of another kind, has no direct I/O. */
	s->fd = open(s->q->path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st))
		return fail(s, STORE_OPEN, -errno);
	/*
	 * A child that is killed while it waits for a server may leave a write behind, which
	 * arrives when another host has the lease. Block devices end no wait before its write.
	 */
	if (!S_ISBLK(st.st_mode) && (!S_ISREG(st.st_mode) || !major(st.st_dev)))
		return fail(s, STORE_KIND, -ENOTBLK);
	if (S_ISBLK(st.st_mode) && ioctl(s->fd, BLKSSZGET, &block))
		return fail(s, STORE_OPEN, -errno);
	if (fcntl(s->fd, F_SETFL, O_DIRECT))
		return fail(s, STORE_OPEN, -errno);
	/* As sanlock lays out what is not laid out yet. */
	s->reply->sector = block;
	s->reply->align = block == 512 ? 1 << 20 : 8 << 20;
	return 0;
}

static void fill_space(struct sanlk_lockspace *space, const char *path, unsigned int host_id)
{
	memset(space, 0, sizeof(*space));
	snprintf(space->name, sizeof(space->name), "%s", STORE_LOCKSPACE);
	space->host_id = host_id;
	snprintf(space->host_id_disk.path, sizeof(space->host_id_disk.path), "%s", path);
}

static int read_layout(struct store *s)
{
	struct sanlk_lockspace *space = &s->space;
	int code = sanlock_read_lockspace(space, 0, &s->io_timeout_s);

	if (code < 0)
		return fail(s, is_no_lease(code) ? STORE_FORMAT : STORE_REACH, code);
	s->reply->sector = space->flags & SANLK_LSF_SECTOR4K ? 4096 : 512;
	s->reply->align = (space->flags & SANLK_LSF_ALIGN8M ? 8 : space->flags & SANLK_LSF_ALIGN4M ? 4 :
			   space->flags & SANLK_LSF_ALIGN2M ? 2 : 1) << 20;
	return 0;
}

static int be_member(struct store *s)
{
	int code;

	s->sock = sanlock_register();
	if (s->sock < 0)
		return fail(s, STORE_DAEMON, s->sock);
	/* What asks us to end in time is SIGKILL, as others are blocked. */
	sanlock_restrict(s->sock, SANLK_RESTRICT_SIGTERM);
	fill_space(&s->space, s->q->path, s->q->host_id);
	code = sanlock_inq_lockspace(&s->space, 0);
	if (code && code != -EINPROGRESS && code != -ENOENT)
		return fail(s, STORE_DAEMON, code);
	if (read_layout(s))
		return -1;
	return code ? fail(s, code == -ENOENT ? STORE_JOIN : STORE_JOINING, code) : 0;
}

static int map_table(struct store *s)
{
	s->table = mmap(NULL, STORE_TABLE(s->reply->sector) + s->reply->sector, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->table == MAP_FAILED)
		return fail(s, STORE_READ, -errno);
	return 0;
}

static void fill_lease(struct store *s)
{
	struct sanlk_resource *res = &s->lease.res;

	snprintf(res->lockspace_name, sizeof(res->lockspace_name), "%s", STORE_LOCKSPACE);
	snprintf(res->name, sizeof(res->name), "%s", STORE_RESOURCE);
	res->flags = s->space.flags & LAYOUT;
	res->num_disks = 1;
	snprintf(s->lease.disk.path, sizeof(s->lease.disk.path), "%s", s->q->path);
	s->lease.disk.offset = s->reply->align;
}

void store_run(const void *question, void *reply)
{
	struct store s = { .q = question, .reply = reply, .fd = -1, .sock = -1 };

	/* sanlock may end any time, and is to be missed with words */
	signal(SIGPIPE, SIG_IGN);
	if (open_device(&s) || be_member(&s) || map_table(&s))
		return;
	fill_lease(&s);
	ask(&s);
	/* all else goes with the child */
}

int store_join(const char *path, unsigned int host_id)
{
	struct sanlk_lockspace space;
	int code;

	fill_space(&space, path, host_id);
	code = sanlock_add_lockspace(&space, 0);
	/* somebody else may have asked for it: then the next question sees what becomes of it */
	return code >= 0 || code == -EEXIST || code == -EINPROGRESS ? 0 : code;
}
