# SPDX-License-Identifier: GPL-2.0
"""A guest that runs gets a backup, without its noticing."""
import re
import shlex

from ftbed.guest import CONSOLE, DRIVER_QMP, QMP, Guest
from harness import Pair, need, need_match, pairing, paths, test

LONG = "rounds=100000 work=150"
CONF = "/run/ftd.protect.conf"
START = "[guests]\nstart = yes\n"


class Arrived(Guest):
    """A guest's QEMU that ftd has started."""

    def kill(self, signal=9):
        self.host.run(f"pkill -{signal} -f '[q]emu-system-x86_64.*{DRIVER_QMP}'", check=False)


class Live(Pair):
    """A guest that runs on A alone; B's ftd may start a second one."""

    def __init__(self, test, name, append=None, conf=(START, START), began=True, **options):
        super().__init__(test, name, append, **options)
        self._conf = dict(zip("ab", conf))
        self._began = began

    def _daemons(self):
        t = self.test
        for host in t.hosts:
            if host.prepared:
                t.down(host)
            host.run(f"printf %s {shlex.quote(self._conf[host.name])} > {CONF}")
            host.ftd_options = ("--config", CONF)
        pairing.up(t.hosts)

    def begin(self, host):
        """Attached, joined to its console, let go: alone."""
        guest = self.guests[host.name]
        host.run(pairing.attach_command(self.label))
        guest.qmp("chardev-change", id=CONSOLE,
                  backend={"type": "serial", "data": {"device": "/dev/ttyS1"}})
        guest.qmp("cont")

    def start(self):
        self._daemons()
        for host in self.test.hosts:
            self._marks[host.name] = (host.live.mark(), host.shadow.mark())
            self._streams.append(pairing.monitor(
                host, lambda when, event, name=host.name: self.events[name].append(event)))
            kind = Guest if host is self.test.a else Arrived
            self.guests[host.name] = kind(host, self.machine, self.args, paired=True)
        one = self.guests["a"]
        one.start()
        one.wait_ready(one.await_ready())
        if self._began:
            self.begin(self.test.a)

    def protect(self, of=None, to=None, check=True, **options):
        """`ftctl protect`; its answer."""
        of, to = of or self.test.a, to or self.test.b
        words = ["-j", "protect", self.label, "--peer", f"{to.address}:{pairing.PORT}"]
        for key, value in options.items():
            words += ["--" + key.replace("_", "-"), value]
        result = pairing.ftctl(of, *words, check=check, timeout=120 * paths.SLOWNESS)
        return result if result.code else self.test.json_of(result)

    def hosts_in_turn(self):
        """Those that it was live on."""
        return list(self.test.hosts)

    def same(self, host=None):
        """All registers and pages of both are."""
        self.test.ftctl(host or self.test.a, "verify", self.label, timeout=120 * paths.SLOWNESS)

    def close(self):
        super().close()
        for host in self.test.hosts:
            host.ftd_options = ()
            if host.alive:
                self.test.down(host)
                host.run(f"rm -f {CONF} {QMP} {DRIVER_QMP}")


def _live(t, name="loop", append=LONG, **options):
    pair = Live(t, name, append, **options)
    t.things.append(pair)
    pair.start()
    return pair


@test()
def protect_running(t):
    """It runs for a while, gets a backup, and both are one machine."""
    pair = _live(t)
    pair.goes_on(t.a, 20)
    answer = pair.protect()
    need(answer["downtime_ms"] >= 0 and answer["memory"] > 1 << 20, f"answer: {answer}")
    need(pair.state(t.a) == "primary", f"it is {pair.state(t.a)}")
    pair.wait_state(t.b, "backup")
    pair.goes_on(t.a, 20)
    pair.same()


@test(kills=True)
def protect_and_lose_primary(t):
    """What is protected so survives as any other does."""
    pair = _live(t)
    pair.goes_on(t.a, 20)
    pair.protect()
    pair.goes_on(t.a, 20)
    t.a.power_off()
    pairing.promote(t.b)
    pair.goes_on(t.b, 20)
    _one_count(pair)


def _one_count(pair):
    """What the hosts printed, one after the other, is one guest's count."""
    text = "".join(pair.live(host) for host in pair.hosts_in_turn())
    numbers = [int(n) for n in re.findall(r"loop: (\d+) hash [0-9a-f]{16}\r?\n", text)]
    steps = [b - a for a, b in zip(numbers, numbers[1:])]
    need(len(numbers) > 20, f"the guest counts to {numbers[-1:]}")
    need(set(steps) <= {0, 1}, f"it counts so: {numbers}")
    need(steps.count(0) <= len(pair.hosts_in_turn()) - 1, f"lines were repeated: {numbers}")


@test()
def protect_refused(t):
    """The peer's ftd may not start it: it runs on, alone, and says how that is mended."""
    pair = _live(t, conf=(START, ""))
    pair.goes_on(t.a, 5)
    result = pair.protect(check=False)
    need_match(r"start = yes", result.out + result.err, "remedy")
    pair.goes_on(t.a, 20)
    need(pair.state(t.a) == "idle", f"it is {pair.state(t.a)}")
