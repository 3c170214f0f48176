// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does the emulated host count, stop and intercept as AMD silicon does?
 *
 * Runs inside the emulated host, on stock KVM and perf. Every case is a guest
 * of a few real-mode instructions, of which it is known how many retire.
 *
 *   emutest SKID    SKID is the pmu-skid that the emulated host was started with
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>

#define MEM_SIZE	0x20000
#define CODE		0x1000		/* where every guest starts */
#define DONE_PORT	0x10
#define RF		0x10000
#define EV_INSNS	0xc0
#define EV_BRANCHES	0xc2
#define EV_TAKEN	0xc4
#define EV_COND		0xd1

static int kvm, skid, failed;

struct guest {
	int vm, cpu;
	uint8_t *mem;
	struct kvm_run *run;
	int counter;
};

static void __attribute__((format(printf, 3, 4)))
result(bool ok, const char *name, const char *fmt, ...)
{
	va_list ap;

	printf("%s %s", ok ? "ok" : "not ok", name);
	if (*fmt) {
		printf(" # ");
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
	}
	putchar('\n');
	if (!ok)
		failed = 1;
}

static long check(long ret, const char *what)
{
	if (ret < 0) {
		printf("not ok %s # %s\n", what, strerror(errno));
		exit(1);
	}
	return ret;
}

static struct kvm_regs regs_of(struct guest *g)
{
	struct kvm_regs r;

	check(ioctl(g->cpu, KVM_GET_REGS, &r), "KVM_GET_REGS");
	return r;
}

static void set_rflags(struct guest *g, uint64_t set)
{
	struct kvm_regs r = regs_of(g);

	r.rflags |= set;
	check(ioctl(g->cpu, KVM_SET_REGS, &r), "KVM_SET_REGS");
}

static void guest_create(struct guest *g, const void *code, size_t len, uint32_t cs_base)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEM_SIZE };
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rsp = 0x8000 };
	struct kvm_sregs sregs;

	memset(g, 0, sizeof(*g));
	g->counter = -1;
	g->vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	g->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	region.userspace_addr = (uintptr_t)g->mem;
	check(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	g->cpu = check(ioctl(g->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	g->run = mmap(NULL, check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"),
		      PROT_READ | PROT_WRITE, MAP_SHARED, g->cpu, 0);
	memcpy(g->mem + cs_base + CODE, code, len);
	check(ioctl(g->cpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = cs_base;
	sregs.cs.selector = cs_base >> 4;
	check(ioctl(g->cpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(ioctl(g->cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

/* The handler of a real-mode vector, in segment 0. */
static void guest_vector(struct guest *g, int vector, uint16_t at, const void *code, size_t len)
{
	memcpy(g->mem + at, code, len);
	memcpy(g->mem + 4 * vector, &at, 2);
}

static void guest_cpuid(struct guest *g)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));

	c->nent = 256;
	check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c), "KVM_GET_SUPPORTED_CPUID");
	check(ioctl(g->cpu, KVM_SET_CPUID2, c), "KVM_SET_CPUID2");
	free(c);
}

#define RING_SIZE	(9 * 4096)

static volatile sig_atomic_t signals;
static void *ring;

static void on_signal(int sig)
{
	signals++;
}

static int counter_open(uint64_t config, uint64_t period, bool user_only)
{
	struct perf_event_attr a = {
		.type = PERF_TYPE_RAW, .size = sizeof(a), .config = config,
		.exclude_host = 1, .exclude_kernel = user_only,
		.sample_period = period, .wakeup_events = !!period,
		.pinned = 1,
	};
	struct f_owner_ex owner = { F_OWNER_TID, gettid() };
	int fd = check(syscall(SYS_perf_event_open, &a, 0, -1, -1, 0), "perf_event_open");

	if (period) {
		ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC);
		fcntl(fd, F_SETSIG, SIGUSR1);
		fcntl(fd, F_SETOWN_EX, &owner);
	}
	return fd;
}

/* A mapping keeps the event, and its signals, alive. */
static void counter_close(int fd)
{
	if (ring)
		munmap(ring, RING_SIZE);
	ring = NULL;
	close(fd);
}

static uint64_t counter_read(int fd)
{
	uint64_t n = ~0ULL;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return ~0ULL;
	return n;
}

static void guest_destroy(struct guest *g)
{
	if (g->counter >= 0)
		counter_close(g->counter);
	munmap(g->run, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	close(g->cpu);
	close(g->vm);
	munmap(g->mem, MEM_SIZE);
}

/* KVM_RUN up to something other than a signal: the exit reason, or 0 for one. */
static int guest_run(struct guest *g)
{
	if (ioctl(g->cpu, KVM_RUN, 0) < 0) {
		if (errno == EINTR)
			return 0;
		check(-1, "KVM_RUN");
	}
	return g->run->exit_reason;
}

static bool guest_done(struct guest *g)
{
	return g->run->exit_reason == KVM_EXIT_IO && g->run->io.port == DONE_PORT;
}

static int64_t insn_emulations(struct guest *g)
{
	struct kvm_stats_header h;
	int fd = check(ioctl(g->cpu, KVM_GET_STATS_FD, NULL), "KVM_GET_STATS_FD");
	size_t size;
	uint64_t value = -1;

	check(pread(fd, &h, sizeof(h), 0), "stats header");
	size = sizeof(struct kvm_stats_desc) + h.name_size;
	for (uint32_t i = 0; i < h.num_desc; i++) {
		char buf[512];
		struct kvm_stats_desc *d = (void *)buf;

		check(pread(fd, buf, size, h.desc_offset + i * size), "stats descriptor");
		if (!strcmp(d->name, "insn_emulation"))
			check(pread(fd, &value, 8, h.data_offset + d->offset), "stats data");
	}
	close(fd);
	return value;
}

/*
 * Guests. xor eax, eax; mov e?x, N (N at offset 5); a loop at offset 9.
 */
static const uint8_t loop_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xb9, 0, 0, 0, 0,
	0x66, 0x40,			/* 9: inc eax */
	0x66, 0x49,			/* 11: dec ecx */
	0x75, 0xfa,			/* 13: jnz 9 */
	0xe6, DONE_PORT,		/* 15 */
};
static const uint8_t rep_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xbb, 0, 0, 0, 0,
	0xbf, 0x00, 0x90,		/* 9: mov di, 0x9000 */
	0xb9, 0x64, 0x00,		/* 12: mov cx, 100 */
	0xf3, 0xaa,			/* 15: rep stosb */
	0x66, 0x4b,			/* 17: dec ebx */
	0x75, 0xf4,			/* 19: jnz 9 */
	0xe6, DONE_PORT,		/* 21 */
};
static const uint8_t cpuid_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xbd, 0, 0, 0, 0,
	0x0f, 0xa2,			/* 9: cpuid */
	0x66, 0x4d,			/* 11: dec ebp */
	0x75, 0xfa,			/* 13: jnz 9 */
	0xe6, DONE_PORT,
};
static const uint8_t rdmsr_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xbd, 0, 0, 0, 0,
	0xb9, 0x1b, 0x00,		/* 9: mov cx, IA32_APIC_BASE (ecx < 64K) */
	0x0f, 0x32,			/* 12: rdmsr */
	0x66, 0x4d,			/* 14: dec ebp */
	0x75, 0xf7,			/* 16: jnz 9 */
	0xe6, DONE_PORT,
};
static const uint8_t hlt_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xbd, 0, 0, 0, 0,
	0xf4,				/* 9: hlt */
	0x66, 0x4d,			/* 10: dec ebp */
	0x75, 0xfb,			/* 12: jnz 9 */
	0xe6, DONE_PORT,
};
static const uint8_t out_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xbd, 0, 0, 0, 0,
	0xe6, 0x42,			/* 9: out 0x42, al */
	0x66, 0x4d,			/* 11: dec ebp */
	0x75, 0xfa,			/* 13: jnz 9 */
	0xe6, DONE_PORT,
};
static const uint8_t int_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xbd, 0, 0, 0, 0,
	0xcd, 0x21,			/* 9: int 0x21 -> iret */
	0x66, 0x4d,			/* 11: dec ebp */
	0x75, 0xfa,			/* 13: jnz 9 */
	0xe6, DONE_PORT,
};
static const uint8_t div_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xbd, 0, 0, 0, 0,
	0xf6, 0xf0,			/* 9: div al: #DE, -> skip it */
	0x66, 0x4d,			/* 11: dec ebp */
	0x75, 0xfa,			/* 13: jnz 9 */
	0xe6, DONE_PORT,
};
static const uint8_t ud_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xbd, 0, 0, 0, 0,
	0x0f, 0x0b,			/* 9: ud2: #UD, -> skip it */
	0x66, 0x4d,			/* 11: dec ebp */
	0x75, 0xfa,			/* 13: jnz 9 */
	0xe6, DONE_PORT,
};
static const uint8_t into_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xbd, 0, 0, 0, 0,
	0xb3, 0x7f,			/* 9: mov bl, 127 */
	0x80, 0xc3, 0x01,		/* 11: add bl, 1 */
	0xce,				/* 14: into -> iret */
	0x30, 0xdb,			/* 15: xor bl, bl */
	0xce,				/* 17: into: not taken */
	0x66, 0x4d,			/* 18: dec ebp */
	0x75, 0xf3,			/* 20: jnz 9 */
	0xe6, DONE_PORT,
};
/* What leaves a block in its middle, or has it translated anew: 24 retire of each round. */
static const uint8_t mixed_code[] = {
	0x66, 0x31, 0xc0, 0x66, 0xbd, 0, 0, 0, 0,
	0xcd, 0x21,			/* 9: int 0x21 -> iret */
	0xcc,				/* 11: int3 -> iret */
	0xb3, 0x7f,			/* 12: mov bl, 127 */
	0x80, 0xc3, 0x01,		/* 14: add bl, 1 */
	0xce,				/* 17: into -> iret */
	0x30, 0xdb,			/* 18: xor bl, bl */
	0xce,				/* 20: into: not taken */
	0xf6, 0xf3,			/* 21: div bl: #DE, -> skip it */
	0x62, 0x0e, 0x33, 0x10,		/* 23: bound cx, [CODE + 51] */
	0x66, 0x40,			/* 27: inc eax */
	0x66, 0xa3, 0x23, 0x10,		/* 29: mov [CODE + 35], eax */
	0x66, 0xba, 0, 0, 0, 0,		/* 33: mov edx, what was just stored */
	0x8c, 0xd1,			/* 39: mov cx, ss */
	0x8e, 0xd1,			/* 41: mov ss, cx */
	0xfb, 0xfa,			/* 43: sti; cli */
	0x66, 0x4d,			/* 45: dec ebp */
	0x75, 0xd8,			/* 47: jnz 9 */
	0xe6, DONE_PORT,		/* 49 */
	0x00, 0x00, 0xff, 0x7f,		/* 51: 0...0x7fff */
};
/* pop bx; add bx, 2; push bx; iret: 4 instructions */
static const uint8_t skip2_handler[] = { 0x5b, 0x83, 0xc3, 0x02, 0x53, 0xcf };
static const uint8_t iret_handler[] = { 0xcf };

static uint8_t *with_n(const uint8_t *code, size_t len, uint32_t n)
{
	static uint8_t buf[64];

	memcpy(buf, code, len);
	memcpy(buf + 5, &n, 4);
	return buf;
}

#define CREATE(g, code, n) guest_create(g, with_n(code, sizeof(code), n), sizeof(code), 0)

static void count_case(const char *name, const uint8_t *code, size_t len, uint32_t n,
		       uint64_t config, bool user_only, uint64_t period, uint64_t expected)
{
	struct guest g;
	uint64_t counted;
	int reason;

	guest_create(&g, with_n(code, len, n), len, 0);
	guest_vector(&g, 0x00, 0x3000, skip2_handler, sizeof(skip2_handler));
	guest_vector(&g, 0x03, 0x3010, iret_handler, sizeof(iret_handler));
	guest_vector(&g, 0x04, 0x3010, iret_handler, sizeof(iret_handler));
	guest_vector(&g, 0x06, 0x3000, skip2_handler, sizeof(skip2_handler));
	guest_vector(&g, 0x21, 0x3010, iret_handler, sizeof(iret_handler));
	g.counter = counter_open(config, period, user_only);
	signals = 0;
	do {
		reason = guest_run(&g);
	} while (reason == 0 || reason == KVM_EXIT_HLT ||
		 (reason == KVM_EXIT_IO && !guest_done(&g)));
	counted = counter_read(g.counter);
	result(guest_done(&g) && counted == expected && !signals == !period, name,
	       "expected %llu, counted %lld, %d stops, last exit %d",
	       (unsigned long long)expected, (long long)counted, (int)signals, reason);
	guest_destroy(&g);
}

/*
 * The same guest, undisturbed and stopped every so often: the period has no
 * divisor in common with a round, so that every place in it has its turn.
 */
static void mixed_case(void)
{
	static const uint64_t periods[] = { 0, 1009, 97 };
	const uint32_t n = 2000;

	for (unsigned int i = 0; i < sizeof(periods) / sizeof(periods[0]); i++) {
		char name[64];

		snprintf(name, sizeof(name), "count traps, faults and stores to code, period %d",
			 (int)periods[i]);
		count_case(name, mixed_code, sizeof(mixed_code), n, EV_INSNS, false, periods[i],
			   2 + 24 * n);
	}
}

/* How many instructions retired before this state of loop_code or rep_code. */
static int64_t retired(const struct kvm_regs *r, bool rep, uint32_t n)
{
	int at = r->rip - CODE;
	int64_t i;

	if (at == 0)
		return 0;
	if (at == 3)
		return 1;
	if (!rep) {
		i = 2 + 3 * (int64_t)(n - (uint32_t)r->rcx);
		switch (at) {
		case 9: return i;
		case 11: return i + 1;
		case 13: return i - 1;
		case 15: return i;
		}
	} else {
		i = 2 + 5 * (int64_t)(n - (uint32_t)r->rbx);
		switch (at) {
		case 9: return i;
		case 12: return i + 1;
		case 15: return i + 2;
		case 17: return i + 3;
		case 19: return i - 1;
		case 21: return i;
		}
	}
	return INT64_MIN / 2;
}

static void overflow_case(const char *name, bool rep, uint32_t n, uint64_t period)
{
	const uint64_t expected = 2 + (rep ? 5 : 3) * (uint64_t)n;
	int64_t min = INT64_MAX, max = INT64_MIN;
	uint64_t counted;
	struct guest g;
	int stops = 0, mid = 0, bad_rf = 0;

	if (rep)
		CREATE(&g, rep_code, n);
	else
		CREATE(&g, loop_code, n);
	g.counter = counter_open(EV_INSNS, period, false);
	signals = 0;
	for (;;) {
		int before = signals, reason = guest_run(&g);
		struct kvm_regs r;
		int64_t late;

		if (reason)
			break;
		if (signals == before)
			continue;
		r = regs_of(&g);
		if (rep && r.rip == CODE + 15) {
			bool is_mid = (uint16_t)r.rcx < 100;

			mid += is_mid;
			if (is_mid != !!(r.rflags & RF) || !(uint16_t)r.rcx)
				bad_rf++;
		}
		late = retired(&r, rep, n) - (int64_t)(++stops * period);
		if (late < min)
			min = late;
		if (late > max)
			max = late;
	}
	counted = counter_read(g.counter);
	result(guest_done(&g) && counted == expected && stops == (int)(expected / period) &&
	       min >= 0 && max <= skid && (!skid || max > 0) && !bad_rf, name,
	       "%d stops %lld to %lld late, %d in mid-REP (%d with wrong RF); expected %llu, counted %lld",
	       stops, (long long)min, (long long)max, mid, bad_rf,
	       (unsigned long long)expected, (long long)counted);
	guest_destroy(&g);
}

/* RF is set in the middle of a REP string instruction, and only there. */
static void mid_rep_case(void)
{
	static const uint8_t code[] = {
		0xbf, 0x00, 0x00,	/* 0: mov di, 0 */
		0xb9, 0xff, 0x5f,	/* 3: mov cx, 0x5fff */
		0x26, 0xf3, 0xaa,	/* 6: rep stosb, es = 0xa00 */
		0xeb, 0xf5,		/* 9: jmp 0 */
	};
	struct itimerval every = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct guest g;
	struct kvm_sregs s;
	int mid = 0, bad = 0;

	guest_create(&g, code, sizeof(code), 0);
	check(ioctl(g.cpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.es.base = 0xa000;
	s.es.selector = 0xa00;
	check(ioctl(g.cpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	setitimer(ITIMER_REAL, &every, NULL);
	for (int i = 0; i < 50; i++) {
		struct kvm_regs r;
		bool is_mid;

		if (guest_run(&g)) {
			bad = -1;
			break;
		}
		r = regs_of(&g);
		is_mid = r.rip == CODE + 6 && (uint16_t)r.rcx != 0x5fff;
		mid += is_mid;
		if (is_mid != !!(r.rflags & RF) || (is_mid && !(uint16_t)r.rcx))
			bad++;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	result(mid && !bad, "RF tells a stop in the middle of REP",
	       "%d of 50 in the middle, %d wrong", mid, bad);
	guest_destroy(&g);
}

static void set_debug(struct guest *g, uint64_t dr0, uint64_t dr1, uint64_t dr7)
{
	struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP };

	if (!dr7)
		d.control = 0;
	d.arch.debugreg[0] = dr0;
	d.arch.debugreg[1] = dr1;
	d.arch.debugreg[7] = dr7;
	check(ioctl(g->cpu, KVM_SET_GUEST_DEBUG, &d), "KVM_SET_GUEST_DEBUG");
}

/*
 * Breakpoints at the loop's first two instructions: each stops before its
 * instruction, once a round, if RF is set to go on.
 */
static void breakpoint_case(const char *name, uint32_t cs_base)
{
	const uint32_t n = 200;
	uint64_t counted;
	struct guest g;
	uint32_t hits = 0, bad = 0;

	guest_create(&g, with_n(loop_code, sizeof(loop_code), n), sizeof(loop_code), cs_base);
	g.counter = counter_open(EV_INSNS, 0, false);
	set_debug(&g, cs_base + CODE + 9, cs_base + CODE + 11, 0x405);
	for (;;) {
		int reason = guest_run(&g);
		struct kvm_regs r;
		uint32_t second = hits & 1;

		if (reason == 0)
			continue;
		if (reason != KVM_EXIT_DEBUG)
			break;
		r = regs_of(&g);
		counted = counter_read(g.counter);
		if (r.rip != CODE + 9 + 2 * second || r.rcx != n - hits / 2 ||
		    r.rax != hits / 2 + second || (r.rflags & RF) ||
		    g.run->debug.arch.pc != cs_base + CODE + 9 + 2 * second ||
		    (g.run->debug.arch.dr6 & 0xf) != 1u << second ||
		    (int64_t)counted != retired(&r, false, n))
			if (!bad++)
				printf("# hit %u: rip %llx rcx %llx rax %llx rflags %llx pc %llx dr6 %llx counted %llu\n",
				       hits, r.rip, r.rcx, r.rax, r.rflags, g.run->debug.arch.pc,
				       g.run->debug.arch.dr6, (unsigned long long)counted);
		hits++;
		set_rflags(&g, RF);
	}
	counted = counter_read(g.counter);
	result(guest_done(&g) && hits == 2 * n && !bad && counted == 2 + 3 * n, name,
	       "%u hits, %u wrong; expected %u, counted %llu, last exit %d", hits, bad, 2 + 3 * n,
	       (unsigned long long)counted, g.run->exit_reason);
	guest_destroy(&g);
}

/* A breakpoint on REP stops before its first iteration only. */
static void breakpoint_rep_case(void)
{
	const uint32_t n = 50;
	uint32_t hits = 0, bad = 0;
	uint64_t counted;
	struct guest g;

	CREATE(&g, rep_code, n);
	g.counter = counter_open(EV_INSNS, 0, false);
	set_debug(&g, CODE + 15, 0, 0x401);
	for (;;) {
		int reason = guest_run(&g);
		struct kvm_regs r;

		if (reason == 0)
			continue;
		if (reason != KVM_EXIT_DEBUG)
			break;
		r = regs_of(&g);
		if (r.rip != CODE + 15 || (uint16_t)r.rcx != 100 || r.rbx != n - hits ||
		    (int64_t)counter_read(g.counter) != retired(&r, true, n))
			bad++;
		hits++;
		set_rflags(&g, RF);
	}
	counted = counter_read(g.counter);
	result(guest_done(&g) && hits == n && !bad && counted == 2 + 5 * n,
	       "execution breakpoint on REP", "%u hits, %u wrong, counted %llu",
	       hits, bad, (unsigned long long)counted);
	guest_destroy(&g);
}

/*
 * RF is over after one instruction: an exit in the next one must not show it.
 * The breakpoint of a guest is over with it, too.
 */
static void rf_case(void)
{
	static const uint8_t code[] = {
		0x66, 0x40,		/* 0: inc eax */
		0x66, 0x40,		/* 2: inc eax */
		0xe6, DONE_PORT,
	};
	struct guest g;
	int reason;

	guest_create(&g, code, sizeof(code), 0);
	set_rflags(&g, RF);
	reason = guest_run(&g);
	result(guest_done(&g) && !(regs_of(&g).rflags & RF) && regs_of(&g).rax == 2,
	       "RF lasts for one instruction", "exit %d, rflags %llx", reason, regs_of(&g).rflags);
	guest_destroy(&g);
}

static void watchpoint_case(void)
{
	static const uint8_t code[] = {
		0x66, 0x31, 0xc0, 0x66, 0xb9, 0, 0, 0, 0,
		0xa2, 0x00, 0x60,	/* 9: mov [0x6000], al */
		0x66, 0x40,		/* 12: inc eax */
		0x66, 0x49,		/* 14: dec ecx */
		0x75, 0xf7,		/* 16: jnz 9 */
		0xe6, DONE_PORT,
	};
	const uint32_t n = 100;
	uint32_t hits = 0, bad = 0;
	uint64_t counted;
	struct guest g;

	CREATE(&g, code, n);
	g.counter = counter_open(EV_INSNS, 0, false);
	set_debug(&g, 0x6000, 0, 0x10401);
	for (;;) {
		int reason = guest_run(&g);
		struct kvm_regs r;

		if (reason == 0)
			continue;
		if (reason != KVM_EXIT_DEBUG)
			break;
		r = regs_of(&g);
		counted = counter_read(g.counter);
		if (r.rip != CODE + 12 || r.rax != hits || g.mem[0x6000] != hits ||
		    (g.run->debug.arch.dr6 & 0xf) != 1 || counted != 2 + 4 * hits + 1)
			bad++;
		hits++;
	}
	counted = counter_read(g.counter);
	result(guest_done(&g) && hits == n && !bad && counted == 2 + 4 * n,
	       "data breakpoint", "%u hits, %u wrong; expected %u, counted %llu", hits, bad,
	       2 + 4 * n, (unsigned long long)counted);
	guest_destroy(&g);
}

/*
 * What is armed for the guest must not fire in the host at the same linear
 * address, neither in user mode nor in the middle of VMRUN and #VMEXIT.
 */
static void leak_case(void)
{
	static volatile uint64_t word;
	struct guest g;
	int reason;

	CREATE(&g, loop_code, 1000);
	set_debug(&g, (uintptr_t)&word, 0, 0xf0401);
	signals = 0;
	do {
		word++;
		reason = guest_run(&g);
		word++;
	} while (reason == 0);
	set_debug(&g, 0, 0, 0);
	word++;
	result(guest_done(&g) && !signals, "guest breakpoints do not leak into the host",
	       "exit %d, %d traps", reason, (int)signals);
	guest_destroy(&g);
}

static void rdtsc_case(void)
{
	static const uint8_t code[] = {
		0x0f, 0x31,		/* 0: rdtsc */
		0x66, 0x89, 0xc6,	/* 2: mov esi, eax */
		0x0f, 0x01, 0xf9,	/* 5: rdtscp */
		0x66, 0x89, 0xc7,	/* 8: mov edi, eax */
		0xe6, DONE_PORT,	/* 11 */
	};
	/* pop bx, so that the handler's caller is known */
	static const uint8_t handler[] = { 0x5b, 0xe6, 0x11 };
	struct { struct kvm_msrs h; struct kvm_msr_entry e; } aux = {
		.h.nmsrs = 1, .e = { .index = 0xc0000103, .data = 0x1234 },
	};
	struct kvm_regs r;
	struct guest g;
	uint64_t counted;

	/* KVM intercepts RDTSCP, not RDTSC, when CPUID does not have it */
	guest_create(&g, code, sizeof(code), 0);
	guest_vector(&g, 6, 0x3000, handler, sizeof(handler));
	g.counter = counter_open(EV_INSNS, 0, false);
	while (!guest_run(&g))
		;
	r = regs_of(&g);
	counted = counter_read(g.counter);
	result(g.run->exit_reason == KVM_EXIT_IO && g.run->io.port == 0x11 &&
	       r.rbx == CODE + 5 && r.rsi && counted == 3,
	       "RDTSCP is intercepted where RDTSC is not",
	       "exit %d, #UD at %llx, counted %llu", g.run->exit_reason, r.rbx,
	       (unsigned long long)counted);
	guest_destroy(&g);

	guest_create(&g, code, sizeof(code), 0);
	guest_cpuid(&g);
	check(ioctl(g.cpu, KVM_SET_MSRS, &aux), "KVM_SET_MSRS");
	g.counter = counter_open(EV_INSNS, 0, false);
	while (!guest_run(&g))
		;
	r = regs_of(&g);
	counted = counter_read(g.counter);
	result(guest_done(&g) && r.rcx == 0x1234 && (uint32_t)r.rdi != (uint32_t)r.rsi &&
	       (int32_t)(r.rdi - r.rsi) > 0 && counted == 4, "RDTSC and RDTSCP in a guest",
	       "%d apart, aux %llx, counted %llu", (int32_t)(r.rdi - r.rsi), r.rcx,
	       (unsigned long long)counted);
	guest_destroy(&g);
}

/* KVM falls back to its instruction emulator where next_rip is missing. */
static void next_rip_case(const char *name, const uint8_t *code, size_t len)
{
	int fd = open("/sys/module/kvm_amd/parameters/nrips", O_RDONLY);
	char nrips = '?';
	int64_t emulated;
	struct guest g;
	int reason;

	if (fd < 0 || read(fd, &nrips, 1) != 1)
		nrips = '?';
	close(fd);
	guest_create(&g, with_n(code, len, 100), len, 0);
	do {
		reason = guest_run(&g);
	} while (reason == 0 || reason == KVM_EXIT_HLT ||
		 (reason == KVM_EXIT_IO && !guest_done(&g)));
	emulated = insn_emulations(&g);
	result(guest_done(&g) && nrips == '1' && emulated == 0, name,
	       "nrips %c, %lld instructions emulated by KVM", nrips, (long long)emulated);
	guest_destroy(&g);
}

/* Every interrupt injected must arrive once, wherever the guest was stopped. */
static void inject_case(void)
{
	static const uint8_t code[] = {
		0xfb,			/* 0: sti */
		0x66, 0x40,		/* 1: inc eax */
		0xeb, 0xfc,		/* 3: jmp 1 */
	};
	/* inc word [0x5000]; iret */
	static const uint8_t handler[] = { 0xff, 0x06, 0x00, 0x50, 0xcf };
	struct kvm_interrupt irq = { .irq = 0x40 };
	uint16_t injected = 0, arrived;
	struct guest g;

	guest_create(&g, code, sizeof(code), 0);
	guest_vector(&g, 0x40, 0x3000, handler, sizeof(handler));
	g.counter = counter_open(EV_INSNS, 509, false);
	for (int i = 0; i < 1500; i++) {
		if (guest_run(&g))
			break;
		if (i < 1490 && g.run->ready_for_interrupt_injection && g.run->if_flag) {
			check(ioctl(g.cpu, KVM_INTERRUPT, &irq), "KVM_INTERRUPT");
			injected++;
		}
	}
	memcpy(&arrived, g.mem + 0x5000, 2);
	result(injected > 500 && arrived == injected, "an injected interrupt arrives once",
	       "%u injected, %u arrived", injected, arrived);
	guest_destroy(&g);
}

static uint64_t __attribute__((noinline)) rdpmc_loop(uint32_t index, uint32_t n)
{
	uint64_t a, b;

	asm volatile("movl %[i], %%ecx\n\trdpmc\n\t"
		     "movl %%eax, %%r8d\n\tmovl %%edx, %%r9d\n\t"
		     "movl %[n], %%ecx\n"
		     "1:\tdecl %%ecx\n\tjnz 1b\n\t"
		     "movl %[i], %%ecx\n\trdpmc\n\t"
		     "shlq $32, %%rdx\n\torq %%rdx, %%rax\n\t"
		     "shlq $32, %%r9\n\torq %%r9, %%r8"
		     : "=&a" (b) : [i] "r" (index), [n] "r" (n)
		     : "rcx", "rdx", "r8", "r9", "cc");
	asm volatile("movq %%r8, %0" : "=r" (a));
	return b - a;
}

static void rdpmc_case(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW, .size = sizeof(attr), .config = EV_INSNS,
		.exclude_kernel = 1, .exclude_guest = 1, .pinned = 1,
	};
	int fd = check(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0), "perf_event_open");
	struct perf_event_mmap_page *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint64_t seen = 0;

	/* an interrupt in between may move the counter: try again then */
	for (int i = 0; i < 10 && p->cap_user_rdpmc && p->index; i++) {
		seen = rdpmc_loop(p->index - 1, 1000);
		if (seen == 2005)
			break;
	}
	result(seen == 2005, "RDPMC from user mode", "expected 2005, read %llu, capable %d",
	       (unsigned long long)seen, (int)p->cap_user_rdpmc);
	close(fd);
}

#define COUNT(name, code, n, ev, user, expected) \
	count_case(name, code, sizeof(code), n, ev, user, 0, expected)

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };

	setvbuf(stdout, NULL, _IOLBF, 0);
	skid = argc > 1 ? atoi(argv[1]) : 0;
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGTRAP, &sa, NULL);
	kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "open /dev/kvm");

	overflow_case("overflow in a loop", false, 100000, 1009);
	overflow_case("overflow in REP", true, 20000, 997);
	COUNT("count a loop", loop_code, 100000, EV_INSNS, false, 2 + 3 * 100000);
	COUNT("count REP as one", rep_code, 5000, EV_INSNS, false, 2 + 5 * 5000);
	mixed_case();
	inject_case();
	if (!skid) {
		COUNT("an intercepted CPUID does not retire", cpuid_code, 500, EV_INSNS, false, 2 + 2 * 500);
		COUNT("an intercepted RDMSR does not retire", rdmsr_code, 500, EV_INSNS, false, 2 + 3 * 500);
		COUNT("an intercepted HLT does not retire", hlt_code, 500, EV_INSNS, false, 2 + 2 * 500);
		COUNT("an intercepted OUT does not retire", out_code, 500, EV_INSNS, false, 2 + 2 * 500);
		COUNT("INT and IRET retire", int_code, 500, EV_INSNS, false, 2 + 4 * 500);
		COUNT("a faulting DIV does not retire", div_code, 500, EV_INSNS, false, 2 + 6 * 500);
		COUNT("a faulting UD2 does not retire", ud_code, 500, EV_INSNS, false, 2 + 6 * 500);
		COUNT("INTO retires, and nothing behind it", into_code, 500, EV_INSNS, false, 2 + 8 * 500);
		COUNT("branches", loop_code, 1000, EV_BRANCHES, false, 1000);
		COUNT("taken branches", loop_code, 1000, EV_TAKEN, false, 999);
		COUNT("conditional branches", loop_code, 1000, EV_COND, false, 1000);
		COUNT("nothing in user mode", loop_code, 1000, EV_INSNS, true, 0);
		mid_rep_case();
		breakpoint_case("execution breakpoints", 0);
		breakpoint_case("execution breakpoints, code segment with a base", 0x4000);
		breakpoint_rep_case();
		rf_case();
		watchpoint_case();
		leak_case();
		rdtsc_case();
		next_rip_case("next RIP of CPUID", cpuid_code, sizeof(cpuid_code));
		next_rip_case("next RIP of RDMSR", rdmsr_code, sizeof(rdmsr_code));
		next_rip_case("next RIP of HLT", hlt_code, sizeof(hlt_code));
		next_rip_case("next RIP of OUT", out_code, sizeof(out_code));
		rdpmc_case();
	}
	return failed;
}
