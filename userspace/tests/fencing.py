# SPDX-License-Identifier: GPL-2.0
"""Fence hooks that do not end, and those of many guests at once."""
import ctypes
import os
import re
import subprocess

from configuration import write
from world import need, need_match, test, wait_for

SEIZE, DETACH, TRACE_EXIT, WALL = 0x4206, 17, 0x40, 0x40000000
STUCK = 8	# of children.h


def ptrace(request, pid, data=0):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(0), ctypes.c_void_p(data)) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x}, {pid})")


def stuck(w, program, what):
    """Killed, and not gone, as in a call of the kernel's that never ends: a debugger that stops what exits does the same."""
    pids = w.path("pids")
    os.mkdir(pids)
    hook, good = write(w, f"#!/bin/sh\n{program}\n", "hook", 0o755), write(w, "#!/bin/sh\n", "good", 0o755)
    with subprocess.Popen([os.path.join(w.build, "unit"), "fence-stuck", hook, good], stdin=subprocess.PIPE, cwd=pids,
                          stdout=subprocess.PIPE, text=True) as unit:
        wait_for(lambda: len(os.listdir(pids)) == STUCK, "they run")
        for pid in map(int, os.listdir(pids)):
            ptrace(SEIZE, pid, TRACE_EXIT)
        said = [unit.stdout.readline() for _ in range(STUCK + 1)]
        named = {int(re.search(rf"did not end within 5 s, and was killed, but {what} (\d+) is stuck", line)[1])
                 for line in said[:STUCK]}
        groups = {os.getpgid(pid) for pid in map(int, os.listdir(pids))}
        need(named == groups, f"{named} are named, and {groups} are there")
        need_match(f"is not run: {STUCK} that were killed are still there", said[-1])
        for pid in map(int, os.listdir(pids)):
            need_match(r"State:\s+t", w.text(f"/proc/{pid}/status"))
            os.waitpid(pid, WALL)
            ptrace(DETACH, pid)
        unit.stdin.write("\n")
        unit.stdin.close()
        need([line.strip() for line in unit.stdout] == ["fenced", "no child is left"], "they are not forgotten")


@test
def fence_hooks_that_are_stuck(w):
    stuck(w, ": > $$; exec sleep 1000", "process")


@test
def fence_hooks_whose_programs_are_stuck(w):
    stuck(w, "sh -c ': > $$; exec sleep 1000'; exit 1", "a process of group")
