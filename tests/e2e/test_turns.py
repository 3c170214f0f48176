# SPDX-License-Identifier: GPL-2.0
"""Hosts that die in turn, and come back: the guest never stops, and nobody has to do a thing."""
import os
import re
import time

from ftbed.hosts import SPARE
from ftbed.pairing import THIRD
from harness import add, need, pairing, test
from test_protect import AGAIN, LONG, Live, one_count

CONF = f"{AGAIN}[arbiter]\ntype = file\npath = {THIRD}/sessions\n"


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


def _sessions(where):
    """What the arbiter has of each, and who began it."""
    found = []
    for name in os.listdir(where):
        for state in os.listdir(os.path.join(where, name)):
            with open(os.path.join(where, name, state), encoding="utf-8") as file:
                found.append((state, file.read().strip()))
    return found


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
        states = _sessions(os.path.join(t.hosts.third, "sessions"))
        need(len(states) <= rounds + 1, f"there are more sessions than pairings: {states}")
    return run


@test(timeout=400, kills=True)
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


add("turns_two", _rounds(2), timeout=400, kills=True, more=1)
add("turns_ten", _rounds(10), timeout=1200, kills=True, more=1)
