# SPDX-License-Identifier: GPL-2.0
"""One of the module's allocations fails, or of those made for it: on a debug kernel only.

The kernel's failslab counts the allocations that have a function of ftkvm's on
their stack, and fails one of them. Whatever was ordered then succeeds, or fails
with a message and leaves nothing behind: seen by the lists, the hooks, and
(when the hosts are done with) kmemleak.
"""
from harness import QMP, Failed, need, pairing, paths, replicas, test

FAILSLAB = "/sys/kernel/debug/failslab"
LONG = "rounds=100000 work=150"
ROUNDS = 30


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
        failed = unreached = 0
        for nth in range(1, ROUNDS + 1):
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
            unreached += not happened
            _nothing_left(t, t.a)
        need(failed > 2, f"attach failed {failed} times only")
        need(unreached < ROUNDS / 2, f"{unreached} of {ROUNDS} allocations were never reached")
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

    @test(timeout=900)
    def nomem_pair(t):
        """Pairing, on either side: refused, and to be had again, or it goes through."""
        refused = 0
        for nth in (1, 2, 3, 5, 7, 10):
            for victim in t.hosts:
                try:
                    refused += _pair_once(t, nth, victim)
                except Exception as error:	# noqa: BLE001
                    raise Failed(f"allocation {nth} at host {victim.name}: {error}") from error
        need(refused, "no pairing was refused")
