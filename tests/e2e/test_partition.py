# SPDX-License-Identifier: GPL-2.0
"""What ftd is at when it dies, and what comes back late: one guest runs all the while, once."""
import os
import shutil
import time

from ftbed import device, pairing, paths
from harness import SLACK, add, need, replicas
from test_arbiter import sessions
from test_disk import BYTES
from test_protect import LONG, START, Arrived, one_count
from test_protect_devices import LiveDevices
from test_turns import ARBITER, CONF, Turns


class Arbitrated(LiveDevices, Turns):
    """Its ftd have an arbiter; its disk, which it does not look at, comes along."""


def _arbitrated(t, conf):
    disk = device.Disk("disk", pairing.NAME, 0, BYTES)
    pair = Arbitrated(t, "loop", LONG, [disk], memory=device.shared_memory(128), conf=(conf, conf))
    t.things.append(pair)
    pair.start()
    # what is to be copied takes its time
    t.a.run(f"yes | head -c {BYTES} | dd of={disk.image} bs=1M conv=notrunc status=none")
    pair.goes_on(t.a, 5)
    return pair


# --- ftd is killed at each step of protect -------------------------------------------

FTD = "$(cat /run/ftd.pid)"
QEMU = "$(pgrep -x qemu-system-x86)"
STOP_AS_IT_STARTS = f"until kill -STOP {QEMU} 2>/dev/null; do sleep 0.02; done"
# all memory is read meanwhile
STOP_AS_IT_COMPARES = (
    """until echo '{"cmd": "info"}' | timeout 10 socat -t5 - """
    f"""UNIX-CONNECT:{pairing.CONTROL} | grep -q '"comparing"'; do :; done; kill -STOP {QEMU}""")


class Step:
    """`protect` is held at one of its steps, and let go on."""

    def __init__(self, pair, name):
        self.pair, self.name, self.t = pair, name, pair.test
        self.job = None

    def hold(self):
        """The peer's QEMU stands still, or its ftd, or QEMU here: it is at this step, and stays there."""
        pair, t = self.pair, self.t
        held = None
        if self.name == "waiting for the peer's QEMU":
            held = t.b.start(STOP_AS_IT_STARTS)
        elif self.name == "comparing":
            held = t.a.start(STOP_AS_IT_COMPARES)
        self.job = t.job(t.a, f"exec {paths.ftctl()} protect {pair.label} "
                              f"--peer {t.b.address}:{pairing.PORT}")
        if held:
            need(not held.wait(60 * SLACK).code, f"it could not be held: {self.name}")
        else:
            pair.wait_busy(t.a, "copying memory" if self.name == "pairing" else self.name)
            t.b.run(f"kill -STOP {FTD}")
        pair.wait_busy(t.a, self.name)

    def go(self):
        for host in self.t.hosts:
            host.run(f"kill -CONT {FTD} {QEMU}", check=False)

    def told(self):
        """What ftctl said, which has come to an end: its exit status, and why."""
        result = self.job.wait(60 * SLACK)
        need(not result.code or len(result.err.strip()) > 20, f"ftctl does not say why: {result}")
        return result.code, result.err.strip()


STEPS = ("waiting for the peer's QEMU", "copying disks", "copying memory", "pairing", "comparing")


def _settled(pair):
    """It runs here alone, or is protected; nothing else will do. Which."""
    t = pair.test
    end = time.monotonic() + 60 * SLACK
    while True:
        a = pair.status(t.a)
        b = [one.get("state") for one in replicas(t.json(t.b, "list")) if not one.get("ended")]
        b = b[0] if b else None
        need(b != "solo" and not pair.live(t.b), f"A is {a['state']}, and B {b}")
        if a["state"] == "primary" and b == "backup":
            return True
        if not a.get("busy") and a["state"] in ("idle", "solo") and b in (None, "idle", "stopped"):
            return False
        need(time.monotonic() < end, f"it is neither protected nor alone: A {a['state']}, B {b}")
        time.sleep(0.2)


def _protect_mended(pair):
    """Once the ftd have seen to what was left."""
    t = pair.test
    end = time.monotonic() + 60 * SLACK
    while not isinstance(said := pair.protect(check=False), dict):
        need(time.monotonic() < end, f"it can't be protected any more: {said}")
        qemu = pair.guests["a"]
        need(qemu.running, f"the guest's QEMU has ended with {qemu.exit_code}: {qemu.complaints[-600:]}")
        time.sleep(0.5)
    pair.wait_state(t.b, "backup")


def _pairing_killed(side):
    """ftd dies at each step, and is started again."""
    def run(t):
        pair = _arbitrated(t, START + ARBITER)
        for name in STEPS:
            step = Step(pair, name)
            step.hold()
            pairing.kill_daemon(t.hosts[side])
            pairing.start_daemon(t.hosts[side])
            step.go()
            code, why = step.told()
            protected = _settled(pair)
            what = "protected" if protected else "alone"
            print(f"     {t.entry.name}: {name}: {what}: {why[:200]}", flush=True)
            need(code or protected, f"{name}: ftctl said that it is protected")
            pair.goes_on(t.a, 5)
            if not protected:
                _protect_mended(pair)
            pair.goes_on(t.a, 5)
            pair.same()
            t.ftctl(t.a, "unprotect", pair.label)
            pair.wait_gone(t.b)
        one_count(pair)
    return run


for _side, _name in (("a", "ftd_dies"), ("b", "peers_ftd_dies")):
    add("partition_pairing_" + _name, _pairing_killed(_side), timeout=600, more=1)


# --- what has lost comes back ------------------------------------------------------------

class Log:
    """What a host's ftd says from now on."""

    def __init__(self, host):
        self.host = host
        self.mark = int(host.run("wc -c < /run/ftd.log").out)

    def wait(self, text, timeout=60):
        end = time.monotonic() + timeout * SLACK
        while text not in (said := self.host.run(f"tail -c +{self.mark + 1} /run/ftd.log").out):
            need(time.monotonic() < end, f"host {self.host.name} does not say {text!r}: {said[-600:]}")
            time.sleep(0.2)


def _stale(forgotten):
    """The primary's ftd is dead as the hosts lose each other, so the backup wins. The primary's replica,
    which stood still meanwhile, finds an ftd again: it must not go live, and its host says so."""
    def run(t):
        pair = Turns(t, "loop", LONG, conf=(CONF, CONF))
        t.things.append(pair)
        pair.start()
        pair.protect()
        pair.goes_on(t.a, 10)
        a, b = Log(t.a), Log(t.b)
        pairing.kill_daemon(t.a)
        t.hosts.wire.cut()
        pair.goes_on(t.b, 10)
        where = os.path.join(t.hosts.third, "sessions")
        # besides those of the survivor's tries to have a backup again
        verdicts = [state for state, _ in sessions(where) if state != "paired"]
        need(verdicts == ["won-backup"], f"the arbiter has {verdicts}")
        t.hosts.wire.restore()
        b.wait("can't be protected again")
        said = pair.live(t.a)
        if forgotten:
            for name in os.listdir(where):
                if os.path.exists(os.path.join(where, name, "won-backup")):
                    shutil.rmtree(os.path.join(where, name))
        pairing.start_daemon(t.a)
        if forgotten:
            a.wait("the arbiter does not know the pairing")
            need(pair.state(t.a) == "undecided", f"nobody has decided, and A is {pair.state(t.a)}")
            # ... and the survivor's ftd does not take it away: an operator has to say so
            a.wait("guest guest is attached here, and is undecided")
            need(pair.state(t.b) == "solo", f"B is {pair.state(t.b)}")
            t.ftctl(t.a, "fence", pair.label)
        else:
            a.wait("the other host's replica goes on: this one never will")
        pair.guests["a"] = Arrived(t.a, pair.machine, pair.args, paired=True)
        pair.wait_state(t.b, "primary", timeout=120)
        pair.wait_state(t.a, "backup")
        pair.goes_on(t.b, 10)
        pair.same(t.b)
        need(pair.live(t.a) == said, "what had lost was live again")
        one_count(pair)
    return run


add("partition_stale_replica", _stale(False), timeout=300, more=1)
add("partition_stale_and_forgotten", _stale(True), timeout=300, more=1)
