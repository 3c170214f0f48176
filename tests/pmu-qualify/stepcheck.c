// SPDX-License-Identifier: GPL-2.0
/*
 * Are the expectations right? Executes the guest's programs in a process of this
 * machine, one instruction at a time, and compares what was executed with what
 * guest_expect() says. Needs no virtualisation. What a process may not execute
 * is stepped over; programs with events (PROG_EVENTS) are left out.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include "guest.h"

#define ROUNDS	50

static const struct guest_op *op_at(uint64_t rip)
{
	const struct guest_op *op;

	for (op = guest_ops; op < guest_ops_end; op++)
		if (GUEST_CODE + op->at == rip)
			return op;
	return NULL;
}

static void *map(uint64_t at, size_t size, int prot)
{
	void *p = mmap((void *)at, size, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == (void *)at)
		return p;
	fprintf(stderr, "stepcheck: no memory at %#" PRIx64 "\n", at);
	_exit(2);
}

/* The guest's memory, as far as the programs use it, at the guest's addresses. */
static void be_guest(void)
{
	uint64_t i;

	memcpy(map(GUEST_CODE, guest_code_end - guest_code, PROT_READ | PROT_WRITE), guest_code,
	       guest_code_end - guest_code);
	mprotect((void *)GUEST_CODE, guest_code_end - guest_code, PROT_READ | PROT_EXEC);
	map(GUEST_STACK - 0x10000, 0x10000, PROT_READ | PROT_WRITE);
	map(GUEST_DATA, GUEST_DATA_SIZE, PROT_READ | PROT_WRITE);
	map(GUEST_WINDOW, GUEST_WINDOW_PAGES * 4096, PROT_READ | PROT_WRITE);
	map(GUEST_CHAIN, GUEST_CHAIN_SIZE, PROT_READ | PROT_WRITE);
	for (i = 0; i < 1024; i++)
		*(uint64_t *)(GUEST_CHAIN + i * 64) = GUEST_CHAIN + (i + 1) % 1024 * 64;
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	_exit(2);
}

/* Is the table right in what it calls a conditional branch? Prefixes are none. */
static bool is_branch(const struct guest_op *op)
{
	const unsigned char *code = guest_code + op->at;

	return (code[0] & 0xf0) == 0x70 || (code[0] & 0xfc) == 0xe0 ||
	       (code[0] == 0x0f && (code[1] & 0xf0) == 0x80);
}

static int check_table(void)
{
	const struct guest_op *op, *last = NULL;
	const char *wrong = NULL;

	for (op = guest_ops; op < guest_ops_end && !wrong; last = op++) {
		if (is_branch(op) != (op->kind == OP_BRANCH))
			wrong = "is not what the table says";
		else if (last && last->at >= op->at)
			wrong = "is not behind the one before";
		if (wrong)
			printf("FAIL     %-12s the instruction at %#x %s\n", "table", op->at,
			       wrong);
	}
	if (!wrong)
		printf("%-8s %-12s %td instructions\n", "ok", "table", guest_ops_end - guest_ops);
	return wrong ? -1 : 0;
}

struct count {
	uint64_t insns, branches;
	uint64_t wrong_at;		/* guest_expect_at() failed in the midst */
	char error[160];
};

static void tally(struct count *c, const struct guest_op *op)
{
	c->insns++;
	c->branches += op->kind == OP_BRANCH;
}

/* The expectation in the midst of the program, too. */
static void check_midst(const struct guest_prog *p, struct count *c,
			const struct user_regs_struct *regs)
{
	uint64_t insns, branches;
	uint32_t at = regs->rip - GUEST_CODE;

	if (p->flags & PROG_JUMPS)
		return;
	if (guest_expect_at(p, ROUNDS, at, regs->r15, regs->rbx, 0, &insns) ||
	    guest_expect_at(p, ROUNDS, at, regs->r15, regs->rbx, 1, &branches) ||
	    insns != c->insns || branches != c->branches) {
		if (!c->wrong_at)
			c->wrong_at = regs->rip;
	}
}

/* Step to the program's end. Return: the process's state is as expected. */
static int walk(pid_t pid, const struct guest_prog *p, struct user_regs_struct *regs,
		struct count *c)
{
	const struct guest_op *op;
	int status;

	for (;;) {
		op = op_at(regs->rip);
		if (!op) {
			snprintf(c->error, sizeof(c->error), "no instruction is known at %#llx",
				 regs->rip);
			return -1;
		}
		check_midst(p, c, regs);
		if (op->at == p->end)
			return 0;
		if (op->kind == OP_NEVER) {
			/* KVM's work: what it would do does not matter */
			regs->rip = GUEST_CODE + op[1].at;
			ptrace(PTRACE_SETREGS, pid, NULL, regs);
			continue;
		}
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) || waitpid(pid, &status, 0) != pid ||
		    !WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, pid, NULL, regs)) {
			snprintf(c->error, sizeof(c->error), "the process is gone at %#x", op->at);
			return -1;
		}
		if (WSTOPSIG(status) == SIGSEGV && regs->rip == GUEST_CODE + op->at) {
			/* privileged: nor does this */
			regs->rip = GUEST_CODE + op[1].at;
			ptrace(PTRACE_SETREGS, pid, NULL, regs);
		} else if (WSTOPSIG(status) != SIGTRAP) {
			snprintf(c->error, sizeof(c->error), "signal %d at %#x", WSTOPSIG(status),
				 op->at);
			return -1;
		}
		/* an iteration of a REP instruction, not its end */
		if (regs->rip != GUEST_CODE + op->at)
			tally(c, op);
	}
}

static int check(const struct guest_prog *p)
{
	struct user_regs_struct regs;
	uint64_t insns, branches;
	struct count c = { 0 };
	int status, ret;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		be_guest();
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
		printf("FAIL     %-12s no process\n", p->name);
		return -1;
	}
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL);
	ptrace(PTRACE_GETREGS, pid, NULL, &regs);
	memset(&regs, 0, offsetof(struct user_regs_struct, orig_rax));
	regs.orig_rax = -1;
	regs.r15 = ROUNDS;
	regs.rip = GUEST_CODE + p->start;
	regs.rsp = GUEST_STACK;
	ptrace(PTRACE_SETREGS, pid, NULL, &regs);
	ret = walk(pid, p, &regs, &c);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (ret) {
		printf("FAIL     %-12s %s\n", p->name, c.error);
		return -1;
	}
	insns = guest_expect(p, ROUNDS, regs.rbx, 0);
	branches = guest_expect(p, ROUNDS, regs.rbx, 1);
	ret = insns == c.insns && branches == c.branches && !c.wrong_at ? 0 : -1;
	printf("%-8s %-12s %" PRIu64 " instructions, %" PRIu64
	       " conditional branches; expected %" PRIu64 ", %" PRIu64,
	       ret ? "FAIL" : "ok", p->name, c.insns, c.branches, insns, branches);
	if (c.wrong_at)
		printf("; wrong in the midst, first at %#" PRIx64, c.wrong_at - GUEST_CODE);
	putchar('\n');
	return ret;
}

int main(void)
{
	unsigned int failed = check_table() != 0, passed = !failed;
	const struct guest_prog *p;

	for (p = guest_progs; p < guest_progs_end; p++) {
		if ((p->flags & PROG_EVENTS) || p->body == p->end)
			continue;
		if (check(p))
			failed++;
		else
			passed++;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
