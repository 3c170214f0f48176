# SPDX-License-Identifier: GPL-2.0
"""An arbiter of sanlock's, on a disk that both hosts reach: each runs a real one, without a watchdog."""
import re
import shlex
import subprocess
import time

from harness import SLACK, need, pairing, paths, test
from test_arbiter import LONG, _lose_each_other, _log, _one_lives, _stands_still
from test_shared import FIND

BLOCK, ALIGN = 512, 1 << 20
IO_TIMEOUT = 3	# of sanlock, in seconds: to join takes two of these
RUN = "/run/sanlock"
RECORD = re.compile(rb"ftkvmse1.{4}(.)\0\0\0.{16}([0-9a-f-]{36})\0", re.DOTALL)
PAIRED, WON_PRIMARY, WON_BACKUP = 1, 2, 3


class _Sanlock:
    """The device, and who runs beside ftd; at a test's end they are not there any more."""

    def __init__(self, t):
        self.test, self.program = t, paths.sanlock()
        self.devices = {}
        t.hosts.clear_stores()
        # as it says in failover.rst, but for the time-out
        for what in (("-s", f"ftkvm:0:{self.image}:0"), ("-r", f"ftkvm:sessions:{self.image}:{ALIGN}")):
            subprocess.run([self.program, "direct", "init", *what, "-o", str(IO_TIMEOUT)], check=True,
                           capture_output=True)

    @property
    def image(self):
        return self.test.hosts.stores[BLOCK]

    def number(self, host):
        return 1 if host is self.test.a else 2

    def start(self, host):
        """A daemon that has joined, as a user of root's, as no other one is there."""
        program, device = shlex.quote(self.program), self.devices[host.name]
        host.run(f"mkdir -p {RUN}; SANLOCK_PRIVILEGED=0 {program} daemon -D -w 0 -h 0 -l 0 -U root -G root "
                 f"-e host-{host.name} >> /run/sanlock.log 2>&1 < /dev/null & echo $! > /run/sanlock.pid; "
                 f"until {program} client status > /run/sanlock.status 2>&1; do sleep 0.05; "
                 "kill -0 $(cat /run/sanlock.pid) || { cat /run/sanlock.log >&2; exit 1; }; done; "
                 f"{program} client add_lockspace -s ftkvm:{self.number(host)}:{device}:0 -o {IO_TIMEOUT}", timeout=120)

    @staticmethod
    def kill(host):
        host.run("kill -9 $(cat /run/sanlock.pid); rm -rf " + RUN)

    def sessions(self):
        """State by session, as it is on the device."""
        with open(self.image, "rb") as file:
            file.seek(2 * ALIGN)
            return {found[2].decode(): found[1][0] for found in RECORD.finditer(file.read())}

    def up(self, more=""):
        t = self.test
        for host in t.hosts:
            host.run(f"modprobe -d {shlex.quote(paths.host_kernel_dir())} virtio_blk")
            name = host.run(FIND.format(BLOCK)).out.strip()
            need(name, f"host {host.name} has no store")
            self.devices[host.name] = f"/dev/{name}"
            self.start(host)
            t.configure(host, f"[arbiter]\ntype = sanlock\npath = {self.devices[host.name]}\n"
                              f"host-id = {self.number(host)}\n{more}")

    def close(self):
        self.test.hosts.wire.restore()
        for host in self.test.hosts:
            if host.alive:
                self.test.down(host)
                host.run("kill -9 $(cat /run/sanlock.pid); rm -rf " + RUN, check=False)


def _protected(t, more=""):
    arbiter = _Sanlock(t)
    t.things.append(arbiter)
    arbiter.up(more)
    pair = t.pair("loop", append=LONG)
    pair.join(timeout="500")
    pair.lockstep(10)
    status = pair.status(t.a)
    need(status["on_loss"] == "hold" and status["arbiter"]["type"] == "sanlock", f"status: {status}")
    need(arbiter.sessions() == {status["arbiter"]["session"]: PAIRED}, f"sessions: {arbiter.sessions()}")
    return pair, arbiter


def _won(arbiter):
    state, = arbiter.sessions().values()
    return state


def _wait_no_answer(pair, host):
    end = time.monotonic() + paths.SLOWNESS * 30
    while pair.status(host)["arbiter"]["heard"] != "no-answer":
        need(time.monotonic() < end, f"the arbiter answers: {pair.status(host)['arbiter']}")
        time.sleep(0.1)


@test(kills=True, timeout=180, more=1)
def arbiter_sanlock_primary_dies(t):
    """The power is cut at A: its sanlock is silent, too, and B gets the lease all the same."""
    pair, arbiter = _protected(t)
    t.a.power_off()
    pair.goes_on(t.b, 10)
    pair.one_machine(promoted=True)
    need(pair.state(t.b) == "solo" and _won(arbiter) == WON_BACKUP, f"{pair.state(t.b)}, {arbiter.sessions()}")


@test(kills=True, more=1, timeout=180)
def arbiter_sanlock_backup_dies(t):
    """The power is cut at B, and A goes on by itself."""
    pair, arbiter = _protected(t)
    t.b.power_off()
    pair.wait_state(t.a, "solo")
    pair.goes_on(t.a, 10)
    need("it goes on here, says the arbiter" in _log(t.a), _log(t.a))
    need(_won(arbiter) == WON_PRIMARY, f"{arbiter.sessions()}")


@test(timeout=180)
def arbiter_sanlock_partition(t):
    """The cable breaks: exactly one lives, and it is the one that the device names."""
    pair, arbiter = _protected(t)
    t.hosts.wire.cut()
    _one_lives(t, pair)
    alive = t.a if pair.state(t.a) == "solo" else t.b
    need(_won(arbiter) == (WON_PRIMARY if alive is t.a else WON_BACKUP), f"{alive.name} lives: {arbiter.sessions()}")
    t.hosts.wire.restore()


@test(timeout=180, more=1)
def arbiter_sanlock_and_unpair(t):
    """Unpaired in order: the record is zeros again."""
    pair, arbiter = _protected(t)
    pairing.ftctl(t.a, "unpair", pair.label)
    pair.wait_state(t.b, "stopped")
    end = time.monotonic() + paths.SLOWNESS * 30
    while arbiter.sessions():
        need(time.monotonic() < end, f"the session is still there: {arbiter.sessions()}")
        time.sleep(0.1)


@test(timeout=240, more=1)
def arbiter_sanlock_does_not_run(t):
    """sanlock has died on both hosts: nobody goes on; once it runs on one, that one does, and no other."""
    pair, arbiter = _protected(t)
    for host in t.hosts:
        arbiter.kill(host)
    _lose_each_other(t, pair)
    for host in t.hosts:
        _stands_still(pair, host)
        _wait_no_answer(pair, host)
        need("sanlock does not answer on this host" in _log(host), _log(host))
    need(pair.state(t.a) == "undecided" and pair.state(t.b) == "orphan", "somebody went on")
    arbiter.start(t.b)
    pair.goes_on(t.b, 10)
    need(_won(arbiter) == WON_BACKUP, f"{arbiter.sessions()}")
    _stands_still(pair, t.a)
    arbiter.start(t.a)
    pair.wait_state(t.a, "stopped")
    pair.one_machine(promoted=True)
    t.hosts.wire.restore()


@test(kills=True, timeout=300, more=1)
def arbiter_sanlock_holder_dies(t):
    """A host loses its power while it has the lease: the other one waits until sanlock holds it for dead."""
    pair, arbiter = _protected(t)
    lease = f"ftkvm:sessions:{arbiter.devices['a']}:{ALIGN}"
    program = shlex.quote(arbiter.program)
    t.job(t.a, f"{program} client command -r {lease} -c /bin/sleep 1000")
    t.a.run(f"until {program} direct read_leader -r {lease} | grep -q '^timestamp [1-9]'; do sleep 0.1; done")
    t.a.power_off()
    pair.wait_state(t.b, "orphan")
    end = time.monotonic() + 60 * SLACK
    while "a host that is silent has the lease" not in (said := str(pair.status(t.b)["arbiter"])):
        need(time.monotonic() < end, said)
        time.sleep(2)	# looked at often, a host's clock is slow
    need(pair.state(t.b) == "orphan" and _won(arbiter) == PAIRED, f"{pair.state(t.b)}, {arbiter.sessions()}")
    # a minute behind its last sign of life, and eight time-outs
    pair.wait_state(t.b, "solo", timeout=200)
    pair.goes_on(t.b, 10)
    need(_won(arbiter) == WON_BACKUP, f"{arbiter.sessions()}")
