# SPDX-License-Identifier: GPL-2.0
"""One of the module's allocations fails, or of those made for it: on a debug kernel only.

The kernel's failslab counts the allocations that have a function of ftkvm's on
their stack, and fails one of them. Whatever was ordered then succeeds, or fails
with a message and leaves nothing behind: seen by the lists, the hooks, and
(when the hosts are done with) kmemleak.
"""
import itertools

from harness import QMP, Failed, need, pairing, paths, replicas, test
from test_disk import Disks, _pair

FAILSLAB = "/sys/kernel/debug/failslab"
LONG = "rounds=100000 work=150"
MANY = 300		# nothing that is asked for makes so many allocations
ENOUGH = 5		# so many pairings in a row that go through: what fails now comes later


def _prepare(host):
    """Only what ftkvm asks for, directly or not; sleeping allocations, too."""
    start = int(host.run("cat /sys/module/ftkvm/sections/.text").out, 16)
    text = host.run(f"size -A {paths.module()} | sed -n 's/^[.]text  *\\([0-9]*\\).*/\\1/p'").out
    host.run(f"""set -e; cd {FAILSLAB}
        echo N > ignore-gfp-wait; echo N > cache-filter; echo N > task-filter
        echo 1 > verbose; echo 32 > stacktrace-depth; echo 0 > space
        echo {start:#x} > require-start; echo {start + int(text):#x} > require-end""")


def _arm(host, nth):
    host.run(f"cd {FAILSLAB}; echo 0 > probability; echo {nth} > interval; echo 1 > times; "
             "echo 100 > probability")


def _disarm(host):
    """Whether it happened."""
    left = host.run(f"cd {FAILSLAB}; echo 0 > probability; cat times").out.split()
    return left == ["0"]


def _nothing_left(t, host):
    need(replicas(t.json(host, "list")) == [], f"host {host.name}: a replica is left")
    t.unhooked(host)


def _attach(t, host):
    return host.run(pairing.attach_command(), check=False)


if paths.KIND == "debug":
    @test(hosts=1, timeout=600)
    def nomem_attach(t):
        """Attach and detach; commands that only look."""
        t.up(t.a)
        t.lone()
        _prepare(t.a)
        failed, happened = 0, True
        for nth in itertools.count(1):
            if not happened:
                break
            need(nth < MANY, "it never ends")
            _arm(t.a, nth)
            result = _attach(t, t.a)
            for words in (["check"], ["list"], ["status", pairing.NAME]):
                t.ftctl(t.a, "-j", *words, check=False)
            detached = t.ftctl(t.a, "detach", pairing.NAME, check=False)
            happened = _disarm(t.a)
            if result.code:
                need(happened, f"attach failed, and no allocation had: {result}")
                need(result.err.strip(), "attach failed without a word")
                failed += 1
            elif detached.code:
                t.ftctl(t.a, "detach", pairing.NAME)
            _nothing_left(t, t.a)
        need(failed > 2, f"attach failed {failed} times only")
        t.ftctl(t.a, "attach", pairing.NAME, "--qmp", QMP)
        t.ftctl(t.a, "detach", pairing.NAME)

    def _pair_once(t, nth, victim):
        """Pair with a fault; True if the pairing was refused."""
        pair = t.pair("loop", append=LONG)
        _prepare(victim)
        _arm(victim, nth)
        try:
            pair.join()
            refused = False
        except Exception:	# noqa: BLE001
            refused = True
        if not refused:
            # It may still end, of an allocation for the first instruction or an event.
            pair.wait_state(t.a, "primary", "solo", "idle", "stopped")
            t.ftctl(t.a, "unpair", pair.label, check=False)
        happened = _disarm(victim)
        if refused:
            need(happened, "pairing failed, and no allocation had")
            if pair.state(t.a) == pair.state(t.b) == "idle" and \
               all(g.qmp("query-status")["status"] == "prelaunch" for g in pair.guests.values()):
                pair.join()
                pair.lockstep()
        pair.close()
        t.things.remove(pair)
        for host in t.hosts:
            _nothing_left(t, host)
        return refused

    @test(timeout=3600)
    def nomem_pair(t):
        """Pairing, on either side: refused, and to be had again, or it goes through. A guest in
        lockstep allocates without end: so until pairing is behind; each takes long, so that of
        the later allocations some have to do."""
        for victim in t.hosts:
            refused = through = nth = 0
            while through < ENOUGH:
                nth += max(1, nth // 8)
                need(nth < MANY, "it never ends")
                try:
                    one = _pair_once(t, nth, victim)
                except Exception as error:	# noqa: BLE001
                    raise Failed(f"allocation {nth} at host {victim.name}: {error}") from error
                refused += one
                through = 0 if one else through + 1
            need(refused, f"no pairing was refused for host {victim.name}'s want of memory")

    def _devices_come(t, words):
        """Adding one, with one allocation after the other failing: it is there, or it is not."""
        failed, happened = 0, True
        for nth in itertools.count(1):
            if not happened:
                break
            need(nth < MANY, "it never ends")
            _arm(t.a, nth)
            result = t.a.run(words, check=False)
            happened = _disarm(t.a)
            if result.code:
                need(happened, f"no device, and no allocation had failed: {result}")
                need(result.err.strip(), "adding a device failed without a word")
                failed += 1
            else:
                t.ftctl(t.a, "device", "del", "disk")
            need(t.json(t.a, "device") == [], "a device is left")
        need(failed > 2, f"adding a device failed {failed} times only")

    @test(timeout=1800)
    def nomem_disk(t):
        """A disk: it is added or not; and in lockstep requests wait, or the backup is lost: the
        primary's guest reads back all that it has written."""
        t.up()
        _prepare(t.a)
        spare = Disks(t)
        t.ftctl(t.a, "device", "del", "disk")
        _devices_come(t, spare.disk.serve)
        spare.kill(9)
        t.things.remove(spare)
        for nth in (1, 10, 100):
            disks = Disks(t)
            pair = _pair(t, disks, "rounds=12")
            pair.join()
            pair.wait_live(t.a, r"disk: 1: .*\n", timeout=90)
            _prepare(t.b)
            _arm(t.b, nth)
            pair.wait_live(t.a, r"disk: good 12 rounds .*\n", timeout=90)
            need(_disarm(t.b), f"allocation {nth} at host b did not fail")
            pair.close()
            t.things.remove(pair)
            disks.kill(9)
            t.things.remove(disks)
