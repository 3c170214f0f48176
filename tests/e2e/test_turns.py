# SPDX-License-Identifier: GPL-2.0
"""Hosts that die in turn, and come back: the guest never stops, and nobody has to do a thing."""
import os
import re
import time

from ftbed.hosts import SPARE
from ftbed.pairing import THIRD
from harness import SLACK, add, need, pairing, replicas, test
from test_arbiter import sessions
from test_protect import AGAIN, LONG, Arrived, Live, one_count

ARBITER = f"[arbiter]\ntype = file\npath = {THIRD}/sessions\n"
CONF = AGAIN + ARBITER


class Turns(Live):
    """Both hosts' ftd protect it, and an arbiter decides, on storage that both reach."""

    def configure(self, host):
        host.run(f"{pairing.third_script()}; mkdir -p {THIRD}/sessions")
        super().configure(host)

    def close(self):
        super().close()
        for host in self.test.hosts:
            if host.alive:
                host.run(pairing.third_end_script(), check=False)


def _rounds(rounds):
    def run(t):
        pair = Turns(t, "loop", LONG, conf=(CONF, CONF))
        t.things.append(pair)
        pair.start()
        one, other = t.a, t.b
        pair.protect()
        # what the world has heard from the host that is live
        mark, said = one.live.mark(), ""
        for number in range(1, rounds + 1):
            pair.wait_state(one, "primary", timeout=90)
            pair.wait_state(other, "backup")
            pair.goes_on(one, 20)
            pair.same(one)
            after = other.live.mark()
            one.power_off()
            time.sleep(0.1)	# what it said last is read
            said += one.live.text(mark)
            pair.goes_on(other, 10)
            pair.repair(one)
            one, other, mark = other, one, after
            print(f"     {t.entry.name}: host {other.name} has died and is back, "
                  f"{number}/{rounds}", flush=True)
        pair.wait_state(one, "primary", timeout=90)
        pair.goes_on(one, 20)
        said += one.live.text(mark)
        # a line that one host began the next one ends, or says again
        counted = [int(n) for n in re.findall(r"loop: (\d+) hash [0-9a-f]{16}\r?\n", said)]
        steps = [b - a for a, b in zip(counted, counted[1:])]
        need(len(counted) > 20 * rounds, f"the guest counts to {counted[-1:]}")
        need(set(steps) <= {0, 1}, f"lines are missing, after {counted[steps.index(max(steps))]}")
        need(steps.count(0) <= rounds, f"{steps.count(0)} lines were repeated")
        # of each pairing, and of the one that there is now
        states = sessions(os.path.join(t.hosts.third, "sessions"))
        need(len(states) <= rounds + 1, f"there are more sessions than pairings: {states}")
    return run


@test(timeout=400, kills=True, more=1)
def turns_third_host(t):
    """The host that died stays away, and another one has the backup; then it is all there is."""
    conf = f"standby = {SPARE[1]}:{pairing.PORT}\nstandby-after-s = 0\n".join((AGAIN, CONF[len(AGAIN):]))
    pair = Turns(t, "loop", LONG, conf=(conf, conf, conf))
    t.things.append(pair)
    pair.start()
    pair.protect()
    pair.goes_on(t.a, 20)
    t.a.power_off()
    pair.goes_on(t.b, 10)
    third = t.hosts.spare(t.a, t.b)
    pair.put_up(third)
    status = pair.wait_state(t.b, "primary", timeout=120)
    need(status["peer"] == f"{SPARE[1]}:{pairing.PORT}", f"its peer is {status['peer']}")
    pair.wait_state(third, "backup")
    pair.goes_on(t.b, 20)
    pair.same(t.b)
    t.b.power_off()
    pair.goes_on(third, 10)
    one_count(pair, 2)


# --- its QEMU is reset, or ends ------------------------------------------------------

def _turns(t, append=LONG, args=()):
    """A guest that both hosts protect, each with the other one, and has been."""
    pair = Turns(t, "loop", append, conf=(CONF, CONF))
    pair.args += args
    t.things.append(pair)
    pair.start()
    pair.protect()
    pair.goes_on(t.a, 5)
    return pair


def _protected_often(host):
    """How often its ftd has said so, of whatever guest."""
    return int(host.run("grep -c 'is protected: primary here' /run/ftd.log; true").out)


def _no_qemu(host, timeout=30):
    host.run(f"n=0; while pgrep -x qemu-system-x86; do sleep 0.2; n=$((n+1)); "
             f"[ $n -lt {int(timeout * SLACK * 5)} ] || exit 1; done >/dev/null",
             timeout=60 + timeout * SLACK * 5)


@test(timeout=240, more=1)
def arbiter_guest_shuts_down(t):
    """It ends itself: so do both QEMUs; nobody has it started again, as for a host that was lost."""
    pair = _turns(t, "rounds=800 work=150")
    often = [_protected_often(host) for host in t.hosts]
    pair.wait_live(t.a, r"loop: done", 120)
    for host in t.hosts:
        _no_qemu(host)
    # longer than ftd looks for what is to be protected again
    time.sleep(5)
    for host in t.hosts:
        _no_qemu(host, 0.2)
        for one in replicas(t.json(host, "list")):
            need(one.get("ended"), f"host {host.name}: {one}")
    need(often == [_protected_often(host) for host in t.hosts], "it was protected again")


@test(timeout=240, more=1)
def arbiter_qemu_quit(t):
    """Its QEMU is told to quit, and it has not been unpaired: as if that host had died. It goes on at the
    other one, and is protected by a new QEMU; the backup's QEMU ends so as well."""
    pair = _turns(t)
    pair.guests["a"].qmp("quit")
    pair.goes_on(t.b, 10)
    pair.guests["a"] = Arrived(t.a, pair.machine, pair.args, paired=True)
    pair.wait_state(t.b, "primary", timeout=90)
    pair.wait_state(t.a, "backup")
    pair.same(t.b)
    often = _protected_often(t.b)
    pair.guests["a"].qmp("quit")
    end = time.monotonic() + 90 * SLACK
    while _protected_often(t.b) == often:
        need(time.monotonic() < end, f"it is not protected again: {pair.status(t.b)}")
        time.sleep(0.2)
    pair.goes_on(t.b, 10)
    pair.wait_state(t.b, "primary")
    pair.wait_state(t.a, "backup")
    pair.same(t.b)
    one_count(pair)


@test(timeout=240, more=1)
def protect_system_reset(t):
    """An operator resets it by QEMU's monitor: it boots, alone, and its ftd protects it again."""
    pair = _turns(t, args=["-action", "reboot=reset"])
    mark = t.a.live.mark()
    pair.guests["a"].qmp("system_reset")
    pair.wait_live(t.a, r"loop: 2 hash", 120, since=mark)
    pair.wait_state(t.a, "primary", timeout=90)
    pair.wait_state(t.b, "backup")
    reasons = [event.get("reason") for event in pair.events["a"]]
    need("guest-touched" in reasons, f"it lost its backup by {reasons}")
    pair.goes_on(t.a, 5)
    pair.same()
    need(not pair.live(t.b), "B's replica was live")


add("turns_two", _rounds(2), timeout=400, kills=True, more=1)
add("turns_ten", _rounds(10), timeout=1200, kills=True, more=1)
