# SPDX-License-Identifier: GPL-2.0
"""A guest that runs gets a backup, without its noticing."""
import json
import re
import shlex
import time

from ftbed.guest import DRIVER_QMP, QMP, Guest
from harness import SLACK, Pair, add, need, need_match, pairing, paths, test

LONG = "rounds=100000 work=150"
START = "[guests]\nstart = yes\n"
AGAIN = START + "protect-again = yes\n"


class Arrived(Guest):
    """A guest's QEMU that ftd has started."""

    def kill(self, signal=9):
        self.host.run(f"pkill -{signal} -f '[q]emu-system-x86_64.*{DRIVER_QMP}'", check=False)


class Live(Pair):
    """A guest that runs on A alone; B's ftd may start a second one."""

    def __init__(self, test, name, append=None, conf=(START, START), began=True, **options):
        super().__init__(test, name, append, **options)
        self._conf = dict(zip("abc", conf))
        self._began = began

    def configure(self, host):
        """All that its ftd finds there."""
        self.test.configure(host, self._conf[host.name])

    def _daemons(self):
        t = self.test
        for host in t.hosts:
            self.configure(host)
        pairing.up(t.hosts)

    def begin(self, host):
        """Attached, joined to its console, let go: alone."""
        pairing.begin_alone(host, self.guests[host.name], self.label)

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

    def wait_busy(self, host, step):
        """ftd is at that step of an operation."""
        self._until(lambda: any(g.get("progress", {}).get("step") == step for g in self._asked(host)),
                    f"ftd of {host.name} does not come to {step}")

    def wait_idle(self, host, timeout=30):
        """ftd has nothing to do with the guest."""
        self._until(lambda: not any(g.get("busy") for g in self._asked(host)), f"ftd of {host.name} is busy", timeout)

    def wait_gone(self, host):
        """The guest is not here any more."""
        self._until(lambda: not self._asked(host), f"{self.label} is still on {host.name}")

    def _asked(self, host):
        order = '{"cmd": "info"}'
        out = host.run(f"echo '{order}' | timeout 10 socat -t5 - UNIX-CONNECT:{pairing.CONTROL}", check=False).out
        guests = json.loads(out)["guests"] if out.strip() else [{"busy": "?"}]
        return [g for g in guests if g.get("name", self.label) == self.label]

    @staticmethod
    def _until(true, text, timeout=30):
        end = time.monotonic() + SLACK * timeout
        while not true():
            need(time.monotonic() < end, text)
            time.sleep(0.02)

    def repair(self, host):
        """Its power is back; nothing of before is left there."""
        host.power_on()
        host.wait_up()
        self.put_up(host)

    def put_up(self, host):
        """All that a guest may be moved to is there."""
        self.configure(host)
        pairing.up([host])
        self._marks.setdefault(host.name, (host.live.mark(), host.shadow.mark()))
        self.guests[host.name] = Arrived(host, self.machine, self.args, paired=True)

    def same(self, host=None):
        """All registers and pages of both are."""
        self.test.ftctl(host or self.test.a, "verify", self.label, timeout=120 * paths.SLOWNESS)

    def close(self):
        super().close()
        for host in self.test.hosts:
            if host.alive:
                self.test.down(host)
                host.run(f"rm -f {QMP} {DRIVER_QMP}")


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
    one_count(pair)


def one_count(pair, changes=1):
    """What the hosts printed is one guest's count, but for what is said twice."""
    text = "".join(pair.live(host) + "\n" for host in pair.test.hosts)
    numbers = sorted(int(n) for n in re.findall(r"loop: (\d+) hash [0-9a-f]{16}\r?\n", text))
    need(len(numbers) > 20, f"the guest counts to {numbers[-1:]}")
    missing = set(range(numbers[0], numbers[-1] + 1)) - set(numbers)
    need(not missing, f"lines are missing: {sorted(missing)}")
    twice = [a for a, b in zip(numbers, numbers[1:]) if a == b]
    need(len(twice) <= changes, f"lines were repeated: {twice}")


@test()
def protect_refused(t):
    """The peer's ftd may not start it: it runs on, alone, and says how that is mended."""
    pair = _live(t, conf=(START, ""))
    pair.goes_on(t.a, 5)
    result = pair.protect(check=False)
    need_match(r"start = yes", result.out + result.err, "remedy")
    pair.goes_on(t.a, 20)
    need(pair.state(t.a) == "idle", f"it is {pair.state(t.a)}")


@test(more=1)
def unprotect(t):
    """It goes on alone, its backup's QEMU is gone, ftd lets it be; and it can be protected again."""
    pair = _live(t, conf=(AGAIN, AGAIN))
    pair.goes_on(t.a, 5)
    pair.protect()
    t.refused(t.b, "unprotect", pair.label, cause="backup here", remedy=t.a.address)
    answer = t.json(t.a, "unprotect", pair.label)
    need(answer.get("cleared") is True, f"left: {answer}")
    pair.wait_gone(t.b)
    need(t.b.run("pgrep -x qemu-system-x86", check=False).code, "its QEMU is still there")
    pair.goes_on(t.a, 20)
    need(pair.state(t.a) == "solo", f"it is {pair.state(t.a)}")
    pair.protect()
    pair.same()


def _reboots(more, machine="pc"):
    """Twice, while it is protected: it boots alone, and its ftd protects it again. The last machine is
    the one that survives."""
    def run(t):
        pair = Live(t, "loop", f"{LONG} reboots=2 lines=400 {more}", conf=(AGAIN, AGAIN), machine=machine)
        pair.args += ["-action", "reboot=reset"]
        t.things.append(pair)
        pair.start()
        pair.goes_on(t.a, 5)
        pair.protect()
        for count in range(1, 3):
            pair.wait_live(t.a, r"(?s)" + count * r"loop: reboots\r?\n.*loop: 2 hash.*", 240)
            _until_again(pair)
        pair.same()
        t.a.power_off()
        pairing.promote(t.b)
        pair.goes_on(t.b, 20)
    return run


def _until_again(pair):
    """It has lost its pairing by that, and has another one."""
    t = pair.test
    pair.wait_state(t.a, "primary", timeout=120)
    pair.wait_state(t.b, "backup")


add("protect_reboot", _reboots(""), timeout=400, kills=True, more=1)
add("protect_reboot_triple_fault", _reboots("triple=1"), timeout=400, kills=True, more=1)


# --- what the guest is at ---------------------------------------------------------

@test(timeout=240, kills=True, more=1)
def protect_timer(t):
    """A guest that checks its timer's interrupts, and halts between them. The survivor takes over a
    timer that was set at the other host, before it came here: it ticks on, and the guest sets others."""
    pair = _live(t, "timer", append="ticks=500 period=20000000")
    pair.wait_live(t.a, r"timer: x2apic")
    pair.protect()
    pair.same()
    pair.goes_on(t.a, 3)
    t.a.power_off()
    pairing.promote(t.b)
    pair.wait_live(t.b, r"timer: done", 120)
    said = pair.live(t.a) + "\n" + pair.live(t.b)
    ticks = [int(n) for n in re.findall(r"timer: halted ticks (\d+) digest \w+ work \w+\r?\n", said)]
    steps = [b - a for a, b in zip(ticks, ticks[1:])]
    # one that is late may come with the next one, and behind the line
    need(ticks[-1] >= 490 and set(steps) <= {0, 10, 20} and steps.count(0) <= 1,
         f"it has seen the ticks {ticks}")


def _linux(machine):
    def run(t):
        pair = _live(t, "linux", append="ftdemo.lines=4000", machine=machine)
        pair.wait_live(t.a, r"ftdemo 000003", 120)
        pair.protect()
        pair.same()
        t.a.power_off()
        pairing.promote(t.b)
        pair.goes_on(t.b, 3)
    return run


# --- one that waits, in place of one that is started --------------------------------

def _waiting(pair, console="tty:/dev/ttyS1"):
    """A QEMU on B that was started by hand."""
    t = pair.test
    one = Guest(t.b, pair.machine, [*pair.args, "-incoming", "defer"], paired=True)
    pair.guests["b"] = one
    one.start()
    one.wait_ready(one.await_ready())
    t.ftctl(t.b, "attach", pair.label, "--qmp", QMP, "--console", f"{pairing.CONSOLE}={console}")


@test(more=1)
def protect_by_one_that_waits(t):
    """B's operator has started it; ftd need not be allowed to."""
    pair = _live(t, conf=("", ""))
    pair.goes_on(t.a, 5)
    _waiting(pair)
    pair.protect()
    pair.same()


# --- again ---------------------------------------------------------------------------



@test(timeout=400, more=1)
def protect_in_turn(t):
    """Its QEMU is killed on one host and then on the other, time and again; it never stops."""
    pair = _live(t, conf=(AGAIN, AGAIN))
    pair.goes_on(t.a, 20)
    pair.protect()
    one, other = t.a, t.b
    for _ in range(3):
        pair.wait_state(other, "backup")
        pair.goes_on(one, 20)
        pair.guests[one.name].kill()
        pairing.promote(other)
        one, other = other, one
        pair.guests[other.name] = Arrived(other, pair.machine, pair.args, paired=True)
        # nobody asks for it: the survivor's ftd sees to that
        pair.wait_state(one, "primary", timeout=60)
    pair.goes_on(one, 20)
    pair.same(one)


@test(timeout=300)
def switchover(t):
    """The hosts change places, and again."""
    pair = _live(t, conf=(START, START))
    pair.goes_on(t.a, 20)
    pair.protect()
    t.refused(t.a, "switchover", pair.label, cause="primary here", remedy="backup")
    for one, other in ((t.a, t.b), (t.b, t.a)):
        pair.goes_on(one, 10)
        pairing.ftctl(other, "switchover", pair.label)
        pair.guests[one.name] = Arrived(one, pair.machine, pair.args, paired=True)
        pair.wait_state(other, "primary", timeout=60)
        pair.wait_state(one, "backup")
        pair.goes_on(other, 10)
    one_count(pair, 2)


@test(timeout=300, more=1)
def switchover_ftd_killed(t):
    """The primary has stopped, and the ftd that told it to is gone: the next one lets the guest go on, and has
    it protected again."""
    path = "/run/console"
    pair = _live(t, conf=(START, START))
    pair.goes_on(t.a, 5)
    _waiting(pair, f"file:{path}")
    pair.protect()
    pair.goes_on(t.a, 5)
    # a console that takes nothing: there ftd waits, and the guest does on both hosts
    unstop = t.full_pipe(t.b, path)
    t.job(t.b, shlex.join([paths.ftctl(), "switchover", pair.label]))
    t.wait_ftd_opens(t.b, path)
    need(pair.state(t.b) == "orphan", f"it is {pair.state(t.b)}")
    pairing.kill_daemon(t.b)
    unstop()
    pairing.start_daemon(t.b)
    pair.guests["a"] = Arrived(t.a, pair.machine, pair.args, paired=True)
    pair.wait_state(t.b, "primary", timeout=90)
    pair.wait_state(t.a, "backup")
    t.b.run(f"n=$(wc -l < {path}); until [ $(wc -l < {path}) -gt $((n + 10)) ]; do sleep 0.1; done")
    pair.same(t.b)
    t.b.run(f"rm -f {path}")


@test(timeout=300, kills=True, more=1)
def protect_after_repair(t):
    """The power is cut at A, and comes back: it is A that the guest is protected by then."""
    pair = _live(t, conf=(AGAIN, AGAIN))
    pair.goes_on(t.a, 20)
    pair.protect()
    t.a.power_off()
    pairing.promote(t.b)
    pair.goes_on(t.b, 10)
    pair.repair(t.a)
    pair.wait_state(t.b, "primary", timeout=90)
    pair.goes_on(t.b, 10)
    t.b.power_off()
    pairing.promote(t.a)
    pair.goes_on(t.a, 10)


# --- what goes wrong -----------------------------------------------------------------

@test()
def pause_and_resume(t):
    """A pair stands still and goes on."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    pairing.ftctl(t.a, "pause", pair.label)
    t.a.run("sleep 1")
    mark = t.a.live.mark()
    t.a.run("sleep 1")
    need(not t.a.live.text(mark), "it prints while it is paused")
    need(pair.state(t.a) == "primary" and pair.state(t.b) == "backup", "the pairing has ended")
    pairing.ftctl(t.a, "resume", pair.label)
    pair.goes_on(t.a, 10)
    pair.one_machine()


def _spoilt(spoil, why):
    """The copy is spoilt while it is under way: the guest runs on, and can be protected then; and who waited
    for it is told what went wrong."""
    def run(t):
        # what it dirties takes longer than a copy
        pair = _live(t, append=LONG)
        pair.goes_on(t.a, 5)
        job = t.job(t.a, f"exec {pairing.paths.ftctl()} protect {pair.label} --peer "
                         f"{t.b.address}:{pairing.PORT}")
        pair.wait_busy(t.a, "copying memory")
        spoil(pair, job)
        # a peer that is silent is given 15 s, by the clock of a host that has much to do
        pair.wait_idle(t.a, 90)
        result = job.wait(30 * SLACK)
        need(result.code, f"ftctl says that it is protected: {result.out}")
        if why:
            need_match(why, result.err, "ftctl's reason")
        need(pair.state(t.a) == "idle", f"it is {pair.state(t.a)}")
        pair.goes_on(t.a, 10)
        t.hosts.wire.restore()
        pair.wait_gone(t.b)
        pair.protect()
        pair.goes_on(t.a, 10)
        one_count(pair)
    return run


def _hang_up(_pair, job):
    job.kill(2)


def _end_peers_qemu(pair, _job):
    pair.guests["b"].kill()


def _crash(name):
    def spoil(pair, _job):
        host = pair.test.hosts[name]
        pairing.kill_daemon(host)
        pairing.start_daemon(host)
    return spoil


def _cut(pair, _job):
    pair.test.hosts.wire.cut()
    time.sleep(1)


# ftd's death at each other step: test_partition.py
for _name, _how, _why in (("hung_up", _hang_up, None),
                         ("qemu_ended", _end_peers_qemu, r"refuses: .*QEMU|could not be copied"),
                         ("cut", _cut, r"10\.\d+\.\d+\.\d+|could not be copied"),
                         ("ftd_crashed", _crash("a"), r"ftd does not answer: it hung up")):
    add("protect_spoilt_" + _name, _spoilt(_how, _why), timeout=480, more=_name in ("qemu_ended", "cut"))


@test(more=1)
def protect_differs(t):
    """What arrives is not what was sent: the comparison finds it, and the guest goes on where it is."""
    pair = _live(t)
    pair.goes_on(t.a, 5)
    job = t.job(t.a, f"exec {paths.ftctl()} protect {pair.label} --peer {t.b.address}:{pairing.PORT}")
    pair.wait_busy(t.a, "copying memory")
    # held at the next step: what the guest never writes is there by then
    t.b.run("kill -STOP $(cat /run/ftd.pid)")
    pair.wait_busy(t.a, "pairing")
    t.tool(t.b, "poke", t.b.run("pgrep -x qemu-system-x86").out.strip(), 96, 1)
    t.b.run("kill -CONT $(cat /run/ftd.pid)")
    result = job.wait(60 * SLACK)
    need(result.code, f"ftctl says that it is protected: {result.out}")
    need_match("the guests' memory differ before they go on", result.err, "ftctl's reason")
    pair.wait_idle(t.a)
    status = pair.status(t.a)
    need(status["state"] == "idle" and status["reason"] == "incompatible", f"status: {status}")
    pair.goes_on(t.a, 10)
    need(not pair.live(t.b), "B's replica is live")
    pair.wait_state(t.b, "stopped")
    # that one is cleared away
    pair.protect()
    pair.same()
    one_count(pair)
for _machine in ("pc", "q35", "microvm"):
    add("protect_linux_" + _machine, _linux(_machine), timeout=400, kills=True, more=1)
