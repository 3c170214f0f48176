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
FUTEX = 202	# a system call's number


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


class Fencing:
    """A hook that ends when it is told to, and threads that have it run."""

    def __init__(self, w):
        self.w, self.ran = w, w.path("ran")
        write(w, "", "ran")
        hook = write(w, f"#!/bin/sh\necho $1 $2 >> {self.ran}\nuntil [ -e {w.dir}/go.$1 ]; do sleep 0.05; done\n"
                     f"exit $(cat {w.dir}/go.$1)\n", "hook", 0o755)
        self.unit = subprocess.Popen([os.path.join(w.build, "unit"), "fence-many", hook],	# pylint: disable=consider-using-with
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        w.processes.append(self.unit)

    def ask(self, *lines):
        self.unit.stdin.write("".join(line + "\n" for line in lines))
        self.unit.stdin.flush()

    def waiting(self):
        """Threads that wait for another one."""
        tasks = f"/proc/{self.unit.pid}/task"
        return sum(self.w.text(f"{tasks}/{task}/syscall").startswith(f"{FUTEX} ") for task in os.listdir(tasks))

    def runs(self, *lines):
        wait_for(lambda: self.w.text(self.ran).splitlines() == list(lines), f"it is run for {lines}")

    def end(self, guest, status):
        write(self.w, f"{status}\n", "new")
        os.rename(self.w.path("new"), self.w.path(f"go.{guest}"))

    def hear(self, number):
        return sorted(self.unit.stdout.readline().strip() for _ in range(number))


@test
def fence_hook_of_many_guests(w):
    """One at a time for a host, and what it comes to holds for all that waited for it; not for who asks later."""
    f = Fencing(w)
    f.ask("a 192.0.2.1:7411")
    f.runs("a 192.0.2.1:7411")
    f.ask("b 192.0.2.1:7411", "c 192.0.2.1:9", "d 192.0.2.1")
    wait_for(lambda: f.waiting() == 3, "they wait")
    f.ask("e [2001:db8::1]:7411")
    f.runs("a 192.0.2.1:7411", "e [2001:db8::1]:7411")
    f.ask("f [2001:db8::1]:9", "g 2001:db8::1")
    wait_for(lambda: f.waiting() == 5, "they wait")
    # another host is another matter, and so is another hook's end
    f.end("e", 3)
    said = f.hear(3)
    need([line[0] for line in said] == ["e", "f", "g"] and all("ended with status 3" in line for line in said), f"{said}")
    wait_for(lambda: f.waiting() == 3, "who waits for another host waits on")
    f.end("a", 0)
    said = f.hear(4)
    need(said == ["a: fenced", "b: fenced", "c: fenced", "d: fenced"], f"{said}")
    f.ask("h 192.0.2.1:7411")
    f.runs("a 192.0.2.1:7411", "e [2001:db8::1]:7411", "h 192.0.2.1:7411")
    f.end("h", 1)
    f.unit.stdin.close()
    need("ended with status 1" in f.hear(1)[0], "it has what was of before")
    need(f.unit.wait(60) == 0, "it does not end")
