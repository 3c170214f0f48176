# SPDX-License-Identifier: GPL-2.0
"""Heartbeats by a second path: what is lost, a host or the link?"""
import shlex
import time

from ftbed.hosts import SECOND
from harness import need, pairing, paths, test
from test_arbiter import LONG, _arbitrated, _log, _one_lives

# An emulated host that others keep from running must not seem dead by both paths.
TIMEOUT = 2000


class _Paths:
    """Both hosts have an address more; at a test's end, no more."""

    def __init__(self, t):
        self.test = t
        for host in t.hosts:
            host.run(f"ip addr add {SECOND[host.name]}/24 dev eth0")

    def close(self):
        self.test.hosts.wire.restore()
        for host in self.test.hosts:
            if host.alive:
                host.run(f"ip addr del {SECOND[host.name]}/24 dev eth0")


def _two_paths(t, arbiter=True, **options):
    """A pair with both, and where the arbiter is."""
    where = _arbitrated(t) if arbiter else None
    t.things.append(_Paths(t))
    for host in t.hosts:
        if not arbiter and host.prepared:
            t.down(host)
        host.ftd_options = (*host.ftd_options, "--listen", f":{pairing.PORT}")
    pair = t.pair("loop", append=LONG)
    pair.join(timeout=TIMEOUT, second=f"{SECOND['b']}:{pairing.PORT}", **options)
    for host in t.hosts:
        pair.wait_event(host, "second-up")
        need(pair.status(host)["second"] == "up", f"status: {pair.status(host)}")
    pair.lockstep(10)
    return pair, where


def _says(host, text):
    end = time.monotonic() + paths.SLOWNESS * 60
    while text not in _log(host):
        need(time.monotonic() < end, f"host {host.name} does not say \"{text}\": {_log(host)}")
        time.sleep(0.1)


@test(timeout=240)
def second_link_lost(t):
    """The link alone is cut, and the primary's ftd is slow to ask: it wins, the backup waits for it."""
    pair, _ = _two_paths(t)
    t.a.run("kill -STOP $(cat /run/ftd.pid)")
    t.hosts.wire.lose("main")
    _says(t.b, "whose host lives")
    need(pair.state(t.b) == "orphan", f"the backup is {pair.state(t.b)}")
    t.a.run("kill -CONT $(cat /run/ftd.pid)")
    pair.wait_state(t.a, "solo")
    pair.wait_state(t.b, "stopped")
    need(not pair.live(t.b), "the backup was live")
    pair.goes_on(t.a, 10)
    pair.one_machine()


@test(timeout=240, more=1)
def second_link_lost_and_ftd(t):
    """Nobody asks for the primary, though its host lives: the backup does not wait for ever."""
    pair, _ = _two_paths(t)
    pairing.kill_daemon(t.a)
    t.hosts.wire.lose("main")
    _says(t.b, "whose host lives")
    pair.wait_state(t.b, "solo")
    need(pair.state(t.a) == "undecided", f"the primary is {pair.state(t.a)}")
    pairing.start_daemon(t.a)
    pair.wait_state(t.a, "stopped")
    pair.goes_on(t.b, 10)
    pair.one_machine(promoted=True)


@test(timeout=240, more=1)
def second_path_lost(t):
    """It alone is cut: that is told, mended, and all that happens; by a next ftd, too."""
    pair, _ = _two_paths(t)
    for daemon_dies in (False, True):
        for host in t.hosts:
            pair.events[host.name].clear()
        t.hosts.wire.lose("second")
        for host in t.hosts:
            event = pair.wait_event(host, "second-down", 60)
            need(f"{TIMEOUT} ms" in event["detail"] or "closed" in event["detail"], f"event: {event}")
            need(pair.status(host)["second"] == "down", f"status: {pair.status(host)}")
            need("path DOWN" in t.ftctl(host, "status", pair.label).out, "status is silent")
        _says(t.a, "its second path by")
        if daemon_dies:
            pairing.kill_daemon(t.a)
            pairing.start_daemon(t.a)
        t.hosts.wire.find("second")
        for host in t.hosts:
            pair.wait_event(host, "second-up", 60)
        pair.goes_on(t.a, 10)
    need(pair.state(t.a) == "primary" and pair.state(t.b) == "backup", "the pair suffered")
    need(pair.stats(t.a)["second_lost"] >= 2, f"losses: {pair.stats(t.a)['second_lost']}")
    pair.one_machine()


@test(timeout=240, more=1)
def second_stranger(t):
    """Who does not know the pairing gets no path, and changes nothing."""
    pair, _ = _two_paths(t)
    if pairing.LINK == "plain":
        say = r"""printf '{"ftd": 1, "second": 5, "port": 1}\n' >&3; head -n 1 <&3"""
        where = f"/dev/tcp/{SECOND['b']}/{pairing.PORT}"
        said = t.a.run(shlex.join(["bash", "-c", f"exec 3<>{where}; {say}"])).out
        need("no guest here is paired so" in said, f"the stranger was told {said!r}")
    for host in t.hosts:
        need(pair.status(host)["second"] == "up" and not pair.stats(host)["second_lost"], "the path suffered")
    pair.goes_on(t.a, 5)
    pair.one_machine()


@test(timeout=240, more=1)
def second_both_lost(t):
    """Both paths are cut: exactly one lives, as with one path."""
    pair, _ = _two_paths(t)
    t.hosts.wire.cut()
    _one_lives(t, pair)


@test(kills=True, more=1)
def second_host_dies(t):
    """The primary's host dies, and with it both paths: the backup goes on."""
    pair, _ = _two_paths(t)
    t.a.power_off()
    pair.goes_on(t.b, 10)
    pair.one_machine(promoted=True)


@test(timeout=240, more=1)
def second_refuses_promotion(t):
    """Without an arbiter: the primary went solo, and says so; then nobody promotes the orphan unwarned."""
    pair, _ = _two_paths(t, arbiter=False)
    # what was refused has changed nothing
    t.refused(t.a, "protect", pair.label, "--peer", "nowhere", "--second", "none", cause="primary already")
    t.hosts.wire.lose("second")
    for host in t.hosts:
        pair.wait_event(host, "second-down")
        pair.events[host.name].clear()
    t.hosts.wire.find("second")
    for host in t.hosts:
        pair.wait_event(host, "second-up", 60)
    t.hosts.wire.lose("main")
    pair.wait_state(t.a, "solo")
    pair.wait_state(t.b, "orphan")
    t.refused(t.b, "promote", pair.label, cause="replica of .* goes on", remedy="fence this one")
    need(pair.state(t.b) == "orphan" and not pair.live(t.b), "it was promoted")
    pairing.ftctl(t.b, "fence", pair.label)
    pair.goes_on(t.a, 10)
    pair.one_machine()
