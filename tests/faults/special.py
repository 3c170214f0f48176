# SPDX-License-Identifier: GPL-2.0
"""Faults that have no single point: storms of signals, hosts out of memory, modules
that come and go, daemons, QEMUs and hosts that die at any time, a bad cable.
"""
import random
import time

import phases
from rig import SLACK, need, paths

SPECIALS = []


class Special:
    """Like cases.Case, to whoever runs it."""

    phase, soft, action = "special", False, "special"

    def __init__(self, name, function, args, seed, cuts=False, stages=("fresh",), append=""):
        self.name, self.function, self.args = name, function, args
        self.cuts, self.stages, self.append = cuts, stages, append
        self.settings = ()
        self.rng = random.Random(f"{seed}:{name}")
        self.outcome = None

    def execute(self, session):
        self.function(session, self, *self.args)


def special(*variants, cuts=False, stages=("fresh",), append=""):
    """A function that runs once for each of its variants: (name's end, arguments)."""
    def mark(function):
        for end, args in variants:
            name = "-".join(filter(None, ("special", function.__name__, end)))
            SPECIALS.append((name, function, args, cuts, stages, append))
        return function
    return mark


def all_of(seed):
    return [Special(name, function, args, seed, cuts, stages, append)
            for name, function, args, cuts, stages, append in SPECIALS]


# --- signals ---------------------------------------------------------------------

def _storm(session, side):
    """QEMU's own kick, some thousand times a second, to its vCPU thread."""
    label = session.qemu[side].label
    return session.rig[side].start(
        f"p=$(cat /run/{label}.pid); for t in /proc/$p/task/*; do read -r c < $t/comm; case $c in "
        "CPU*) v=${t##*/};; esac; done; exec perl -e '($p, $v) = map { $_ + 0 } @ARGV; "
        "while (syscall(234, $p, $v, 10) == 0) { select(undef, undef, undef, 0.0003) }' $p $v")


@special(("a-pair", "a"), ("b-pair", "b"))
def storm(session, case, side):
    """From before the first instruction on, through lockstep, to a takeover."""
    job = _storm(session, side)
    session.shadow_leaks = side == "b"
    session.to_lockstep()
    for _ in range(3):
        marks = session.marks()
        session.prints("a", marks, timeout=40)
        session.prints("b", marks, "shadow", timeout=40)
    need(job.running, f"no storm: {bytes(job.err)}")
    session.qemu["a"].kill()
    outcome = session.settle(session.marks(), timeout=40)
    job.kill(9)
    phases.finish(session, case, outcome)
    need(outcome == "b", f"the survivor is {outcome}")


# --- memory ----------------------------------------------------------------------

def _hog(session, side):
    """Takes all memory there is, and is killed for it; unless another is, before."""
    return session.rig[side].start("exec perl -e 'my @a; push @a, \"x\" x (1 << 24) while 1'")


@special(("hog-a", ("a", "hog")), ("hog-b", ("b", "hog")), ("qemu-a", ("a", "qemu")),
         ("qemu-b", ("b", "qemu")), ("ftd-a", ("a", "ftd")), ("ftd-b", ("b", "ftd")))
def memory(session, case, side, victim):
    """A host runs out of memory while the guest is in lockstep."""
    # It may stand still for a second before it kills, and that is not what this is about.
    session.settings = ["--timeout", 3000]
    session.to_lockstep()
    host = session.rig[side]
    adj = {"qemu": f"/run/{session.qemu[side].label}.pid", "ftd": "/run/ftd.pid"}.get(victim)
    if adj:
        host.run(f"echo 1000 > /proc/$(cat {adj})/oom_score_adj")
    mark = host.dmesg.mark()
    job = _hog(session, side)
    end = time.monotonic() + SLACK * 60
    while job.running and time.monotonic() < end:
        time.sleep(0.1)
    need(not job.running, "the hog was not killed")
    need("invoked oom-killer" in host.dmesg.text(mark), "the host was never out of memory")
    killed = {"qemu": not session.qemu[side].running,
              "ftd": host.run("kill -0 $(cat /run/ftd.pid)", check=False).code != 0}
    session.say(f"killed: {[k for k, v in killed.items() if v]}")
    if victim != "hog":
        need(killed[victim], f"{victim} was not chosen")
    if killed["ftd"]:
        session.rig.restart_daemon(host)
        session.ftd_killed = True
    phases.finish(session, case, session.settle(session.marks(), timeout=60))


# --- the module comes and goes -----------------------------------------------------

@special(("a", "a"), ("b", "b"))
def reload(session, case, side):
    """rmmod and insmod without end, while guests are attached, paired and detached."""
    host = session.rig[side]
    job = host.start(f"while :; do rmmod ftkvm && insmod {paths.module()}; done >/dev/null 2>&1")
    try:
        for _ in range(3):
            for _ in range(100):
                result = session.result(session.attach_job(side))
                if not result.code:
                    break
            need(not result.code, f"never attached: {result}")
            need(session.look()["ab".index(side)] == "idle", "attached, and not idle")
            result = session.result(session.ftctl(side, "detach", session.label))
            need(not result.code, f"detach: {result}")
        for _ in range(100):
            if not session.result(session.attach_job(side)).code:
                break
        session.attach("b" if side == "a" else "a")
        session.to_lockstep()
        session.prints("a", session.marks())
        session.result(session.ftctl("b", "unpair", session.label))
        outcome = session.settle(session.marks())
        phases.finish(session, case, outcome)
        for one in "ab":
            result = session.result(session.ftctl(one, "detach", session.label))
            need(not result.code, f"detach: {result}")
        session.prints("a", session.marks())
        session.stage = "over"
    finally:
        job.kill(9)
        host.run("sleep 0.1; [ -e /sys/module/ftkvm ] || insmod " + paths.module(), check=False)
    session.rig.unhooked(host)


# --- at any time -------------------------------------------------------------------

def _numbered(count, *variants):
    return [("-".join((*map(str, v), str(n))), v) for v in variants for n in range(1, count + 1)]


@special(*_numbered(3, ("a", "attach"), ("b", "pair"), ("a", "pair"), ("b", "promote")))
def daemon(session, case, side, what, *_):
    """ftd is killed at any time of a command, and started again."""
    if what == "promote":
        session.to_lockstep()
        session.qemu["a"].kill()
        session.await_state("b", "orphan", "the backup does not notice")
        job = session.ftctl("b", "promote", session.label)
    elif what == "pair":
        session.attach()
        job = session.pair_job()
    else:
        job = session.attach_job(side)
    delay = case.rng.uniform(0, 0.6)
    session.say(f"ftd dies after {delay:.3f} s")
    time.sleep(delay)
    session.rig.restart_daemon(session.rig[side])
    session.ftd_killed = True
    result = session.result(job, 40)
    if what == "attach":
        if not result or result.code:
            # told that it failed, one does it again; ftd may have had it, or not
            again = session.result(session.attach_job("a"))
            need(again and (not again.code or "attached already" in again.err),
                 f"attach once more: {again}")
        session.attach("b")
        session.to_lockstep()
    elif what == "pair":
        phases.settle_pairing(session, case, session.marks())
        return
    phases.finish(session, case, session.settle(session.marks()))


@special(*_numbered(4, ("a",), ("b",)))
def process(session, case, side, *_):
    """A QEMU is killed at any time from `ftctl pair` on."""
    session.attach()
    job = session.pair_job()
    time.sleep(case.rng.uniform(0, 1.0))
    session.qemu[side].kill()
    session.result(job, 40)
    phases.finish(session, case, session.settle(session.marks()))


@special(*_numbered(4, ("a",), ("b",)), cuts=True)
def power(session, case, side, *_):
    """A host's power is cut at any time of lockstep, from outside."""
    session.to_lockstep()
    time.sleep(case.rng.uniform(0, 1.0))
    session.rig.lost(session.rig[side])
    outcome = session.settle(session.marks())
    phases.finish(session, case, outcome)
    need(outcome != side, f"its host is dead, and {side} is the survivor")


@special(*_numbered(2, ("both",), ("a",), ("b",)))
def cable(session, case, which, *_):
    """It is pulled and put back again and again, for less than the time-out or more."""
    session.to_lockstep()
    wire = session.rig.hosts.wire
    direction = "" if which == "both" else which
    for _ in range(6):
        wire.cut(direction)
        time.sleep(case.rng.uniform(0.02, 0.4))
        wire.restore()
        time.sleep(case.rng.uniform(0.02, 0.2))
    phases.finish(session, case, session.settle(session.marks(), timeout=40))


# --- an uncertain interrupt --------------------------------------------------------

@special(("", ()), append="disk rounds=30")
def interrupt(session, case):
    """The primary dies between the END that completes a disk's requests and the record of the interrupt
    that would tell its guest so. What that guest waits for is done at the backup, too: it would wait for
    ever if the survivor did not tell it of what was told already, or was not."""
    session.to_lockstep()
    session.prints("a", session.marks())
    session.rig.arm(session.a, session.qemu["a"], "DEV_CALL 1+ fail")
    # until it waits for nothing but that, at both hosts: by their own clocks
    marks = None
    while not marks or session.live("a", marks) or session.shadow("b", marks):
        marks = session.marks()
        for host in session.rig.hosts:
            host.run("sleep 1")
    need(session.look() == ("primary", "backup"), f"states are {session.look()}")
    session.rig.hosts.wire.cut()
    session.qemu["a"].kill()
    marks = session.marks()
    phases.finish(session, case, session.settle(marks))
    need(case.outcome == "b", f"the survivor is {case.outcome}")
    session.reads_back(case.outcome)
    session.stage = "over"
