# SPDX-License-Identifier: GPL-2.0
"""What the end-to-end tests share: hosts that stay up, a guest on both, checks.

A test is a function of a Test, marked with @test. It fails by an exception;
need() raises one. What it leaves behind is taken away, and the hosts are used
again by the next test, unless one of them was killed or the test failed.
"""
import json
import os
import re
import shlex
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "testbed"))
from ftbed import guest as guests	# noqa: E402
from ftbed import console, output, pairing, paths, reports	# noqa: E402, F401
from ftbed.agent import CommandFailed, HostDied	# noqa: E402, F401
from ftbed.guest import CPU, DRIVER_QMP, QMP, Guest	# noqa: E402, F401
from ftbed.hosts import Hosts	# noqa: E402
from ftbed.run import Options, Run	# noqa: E402

TROUBLE = reports.TITLE

# Limits are for things that hang, not for slow machines.
SLACK = 3 * paths.SLOWNESS

TESTS = []


class Failed(Exception):
    """A test's finding."""


def need(condition, text):
    if not condition:
        raise Failed(text)


def need_match(pattern, text, what):
    match = re.search(pattern, text, re.IGNORECASE)
    need(match, f"{what}: nothing matches /{pattern}/ in: {text.strip()[:600]}")
    return match


class Entry:
    def __init__(self, function, name, skid, timeout, kills, hosts, more):
        self.function, self.name, self.skid = function, name, skid
        self.timeout, self.kills, self.hosts, self.more = timeout, kills, hosts, more


def add(name, function, skid=0, timeout=120, kills=False, hosts=2, more=0):
    """more: 1: only run with --more; 2: only with --all."""
    TESTS.append(Entry(function, name, skid, timeout, kills, hosts, more))


def test(skid=0, timeout=120, kills=False, hosts=2, more=0):
    """kills: a host does not outlive the test, so it runs after those that spare them. more: as add()."""
    def mark(function):
        add(function.__name__, function, skid, timeout, kills, hosts, more)
        return function
    return mark


class Pool:
    """Hosts of one kind at a time, booted when there are none."""

    def __init__(self, quiet=True):
        self.leaks = []		# what hosts had left behind when they were dropped
        self.others = 0		# data races of the kernel's own
        self.hosts = None
        self.kind = None
        self.boots = 0
        self._quiet = quiet

    def get(self, kind):
        count, skid = kind
        if self.hosts and (self.kind[0] < count or self.kind[1] != skid or not self.hosts.intact):
            self.drop()
        if not self.hosts:
            hosts = Hosts(count, quiet=self._quiet, skid=skid, seed=self.boots + 1)
            self.boots += 1
            self.hosts = hosts.__enter__()
            self.kind = kind
        return self.hosts

    def drop(self, keep=False):
        """Power off; keep: with the logs. Where they are, or None."""
        if not self.hosts:
            return None
        hosts, self.hosts = self.hosts, None
        left = [] if keep else leftovers(hosts)
        if left:
            self.leaks += left + [f"logs: {hosts.log_dir}"]
        if keep or left:
            hosts.keep()
        hosts.__exit__(None, None, None)
        return hosts.log_dir if keep else None


def leftovers(hosts):
    """What only a debug kernel can tell of hosts that are done with; a list."""
    found = []
    for host in hosts if paths.KIND else ():
        try:
            leaks = reports.leaks(host)
            if leaks:
                found.append(f"host {host.name}: {leaks}")
            if reports.lockdep_off(host):
                found.append(f"host {host.name}: lockdep has switched itself off")
        except (HostDied, CommandFailed, TimeoutError) as error:
            found.append(f"host {host.name}: {error}")
    return found


class Test:
    """One test that runs: its hosts, and what it made on them."""

    def __init__(self, entry, hosts):
        self.entry, self.hosts = entry, hosts
        self.things = []	# to be closed, last first
        self._dmesg = {h.name: h.dmesg.mark() for h in hosts}

    @property
    def a(self):
        return self.hosts.a

    @property
    def b(self):
        return self.hosts.b

    # --- hosts ---------------------------------------------------------------

    def up(self, *hosts):
        """Module and daemon are there."""
        pairing.up(hosts or self.hosts)

    def down(self, host):
        """No module, no daemon."""
        host.run("if [ -e /run/ftd.pid ]; then kill $(cat /run/ftd.pid) 2>/dev/null; "
                 "while kill -0 $(cat /run/ftd.pid) 2>/dev/null; do sleep 0.05; done; fi; "
                 "rm -f /run/ftd.pid")
        # The replica of a guest that was just killed holds it for a moment.
        host.run("[ -d /sys/module/ftkvm ] || exit 0; n=0; until rmmod ftkvm 2>/dev/null; do "
                 "n=$((n+1)); [ $n -lt 100 ] || exec rmmod ftkvm; sleep 0.1; done")
        host.prepared = False

    def configure(self, host, text):
        """Its ftd, once it is up again and until the test's end, has that in its file."""
        if host.prepared:
            self.down(host)
        pairing.configure(host, text)

    def tool(self, host, *words, timeout=60, check=True):
        """tests/e2e/hosttool.py on a host; what it prints as JSON."""
        result = host.run(self.tool_command(*words), timeout=timeout, check=check)
        try:
            return json.loads(result.out)
        except ValueError:
            raise Failed(f"hosttool {words[0]}: {result.out} {result.err}") from None

    @staticmethod
    def tool_command(*words):
        return shlex.join(["python3", os.path.join(HERE, "hosttool.py"), *map(str, words)])

    def job(self, host, command):
        """A command that runs until the test's end."""
        job = host.start(command)
        self.things.append(job)
        return job

    def ftctl(self, host, *words, **options):
        return pairing.ftctl(host, *words, **options)

    def json(self, host, *words):
        """The answer of ftctl -j; its exit status may say that all is not well."""
        return self.json_of(self.ftctl(host, "-j", *words, check=False))

    @staticmethod
    def json_of(result):
        try:
            return json.loads(result.out)
        except ValueError:
            raise Failed(f"no JSON: {result}") from None

    def refused(self, host, *words, cause, remedy=None):
        """ftctl must fail, and say why and what to do."""
        result = self.ftctl(host, *words, check=False)
        text = result.err + result.out
        need(result.code, f"`ftctl {' '.join(map(str, words))}` was not refused: {text}")
        need_match(cause, text, "cause")
        if remedy:
            need_match(remedy, text, "remedy")
        return text

    def hooked(self, host):
        """How many kernel functions are traced or redirected; ftkvm is alone in that."""
        out = host.run("grep -c . /sys/kernel/tracing/enabled_functions; true").out
        return int(out.split()[0])

    def unhooked(self, host, timeout=15):
        """No guest is attached (or the last one ends just now): KVM's code is its own again."""
        end = time.monotonic() + SLACK * timeout
        while self.hooked(host):
            need(time.monotonic() < end, f"host {host.name}: hooks are left in place")
            time.sleep(0.2)

    def dmesg(self, host):
        """What its kernel has said since the test began."""
        return host.dmesg.text(self._dmesg.get(host.name, 0))

    def trouble(self):
        """What the hosts' kernels complain of: (reports in full, how many races of others)."""
        found, others = [], 0
        for host in self.hosts:
            for one in reports.find(self.dmesg(host)):
                if one.race_of_others:
                    others += 1
                else:
                    found.append(f"host {host.name}: {one.text}")
        return found, others

    # --- guests --------------------------------------------------------------

    def run(self, name, append=None, **options):
        """A guest of the table, from power-on to a good verdict."""
        entry = guests.table()[name]
        inputs = []
        for text in entry.input:
            what, _, when = text.rpartition("@")
            inputs.append((float(when), what + "\n"))
        machine = options.get("machine", Options.machine)
        fields = dict(qemu_args=entry.qemu_args(append, machine), cpu=entry.cpu(),
                      status=entry.status,
                      ready=entry.ready, linux=entry.linux, inputs=inputs, nmis=entry.nmi,
                      timeout=entry.timeout, diverges=entry.diverges, quiet=True, grace=60,
                      skid=self.entry.skid, sample=0)
        fields.update(options)
        fields["timeout"] *= SLACK
        run = Run(Options(**fields), self.hosts)
        verdict = run.execute()
        need(verdict["good"], verdict["reason"])
        return verdict

    def pair(self, name="loop", append=None, **options):
        """A Pair of a guest, attached on both hosts and not yet paired."""
        pair = Pair(self, name, append, **options)
        self.things.append(pair)
        pair.start()
        return pair

    def full_pipe(self, host, path):
        """A console that takes nothing, where ftd waits: what unstops it, and takes it away, is returned."""
        host.run(f"rm -f {path} {path}.full; mkfifo {path}")
        pipe = self.job(host, f"exec 3<>{path}; head -c 65536 /dev/zero >&3; : > {path}.full; "
                              "exec sleep 600")
        host.run(f"until [ -e {path}.full ]; do sleep 0.05; done")

        def end():
            pipe.kill(9)
            host.run(f"rm -f {path} {path}.full")
        return end

    @staticmethod
    def wait_ftd_opens(host, path):
        """Until ftd has that file open."""
        host.run(f"until readlink /proc/$(cat /run/ftd.pid)/fd/* | grep -qx {path}; do sleep 0.05; done")

    def through_proxy(self, pair, port, order):
        """A pair in lockstep by way of a proxy at B, which then does to the link as told."""
        spoiler = self.job(self.b, "PROXY_TO=" + self.b.address + " exec "
                           + self.tool_command("proxy", port, pairing.PORT))
        end = self.hosts.now() + 30
        while b"ready" not in spoiler.out:
            need(spoiler.running and self.hosts.now() < end, f"no proxy: {bytes(spoiler.err)}")
        pair.join(port=port, timeout=4000)
        pair.lockstep()
        spoiler.write(order.encode() + b"\n")

    def lone(self, name="hello", append=None, args=(), **options):
        """A guest on A alone that waits to be attached and to run."""
        arguments = [*guests.table()[name].qemu_args(append), *args]
        one = Guest(self.a, "pc", arguments, paired=True, **options)
        one.start()
        self.things.append(one)
        one.wait_ready(one.await_ready())
        return one

    def close(self):
        for thing in reversed(self.things):
            try:
                if hasattr(thing, "close"):
                    thing.close()
                else:
                    thing.kill(9)
            except (HostDied, CommandFailed, TimeoutError):
                pass
        self.hosts.wire.restore()
        leftover = []
        for host in self.hosts:
            if host.alive and host.prepared:
                leftover += self._leftover(host)
            if host.ftd_options:
                self._forget_options(host)
        return leftover

    def _forget_options(self, host):
        """What ftd was started with for this test alone."""
        host.ftd_options = ()
        if host.alive and host.prepared:
            try:
                self.down(host)
            except (HostDied, CommandFailed, TimeoutError):
                pass

    def _leftover(self, host):
        """The replica of a QEMU that was just killed goes when the kernel gets round to it."""
        for _ in range(20):
            names = [r["name"] for r in replicas(self.json(host, "list"))]
            if not names:
                return []
            for name in names:
                self.ftctl(host, "detach", name, check=False)
            time.sleep(0.2)
        return [f"host {host.name} still has {', '.join(names)}"]


def replicas(answer):
    """The list in an answer of `ftctl -j list` or `status`."""
    if isinstance(answer, dict):
        for key in ("replicas", "guests"):
            if key in answer:
                return answer[key]
        return [answer]
    return answer


class Pair:
    """A guest on both hosts, under the test's hands."""

    def __init__(self, test, name, append=None, machine="pc", extra=((), ()), cpus=(CPU, CPU),
                 attach=True, label=pairing.NAME):
        self.test, self.label, self.machine = test, label, machine
        self.entry = guests.table()[name]
        self.args = self.entry.qemu_args(append, machine)
        self.extra = dict(zip("ab", extra))
        self.cpus = dict(zip("ab", cpus))
        self._attach = attach
        self.guests = {}
        self.events = {"a": [], "b": []}
        self._streams = []
        self._marks = {}

    def hosts(self):
        return [h for h in self.test.hosts if h.alive]

    def start(self):
        t = self.test
        jobs = pairing.bring_up([h for h in t.hosts if not h.prepared])
        ready = []
        for host in t.hosts:
            self._marks[host.name] = (host.live.mark(), host.shadow.mark())
            one = Guest(host, self.machine, [*self.args, *self.extra[host.name]], paired=True,
                        cpu=self.cpus[host.name])
            self.guests[host.name] = one
            one.start()
            ready.append((one, one.await_ready()))
        pairing.finish(jobs)
        for host in t.hosts:
            host.prepared = True
        for one, job in ready:
            one.wait_ready(job)
        for host in t.hosts:
            self._streams.append(pairing.monitor(
                host, lambda when, event, name=host.name: self.events[name].append(event)))
        if self._attach:
            pairing.finish([h.start(pairing.attach_command(self.label)) for h in t.hosts])

    def join(self, port=pairing.PORT, **options):
        """`ftctl pair`, from host a."""
        words = ["pair", self.label, "--peer", f"{self.test.b.address}:{port}"]
        for key, value in options.items():
            words += ["--" + key.replace("_", "-"), value]
        pairing.ftctl(self.test.a, *words)

    def live(self, host):
        return host.live.text(self._marks[host.name][0])

    def shadow(self, host):
        return host.shadow.text(self._marks[host.name][1])

    def wait_live(self, host, pattern, timeout=40, since=None):
        mark = self._marks[host.name][0] if since is None else since
        match = host.live.wait_for(pattern, SLACK * timeout, mark)
        need(match, f"host {host.name}'s console shows no /{pattern}/; it ends with "
             f"{host.live.text(mark)[-200:]!r}; events: {self.events}")
        return match

    def wait_shadow(self, host, pattern, timeout=40):
        """The same of what it prints muted."""
        mark = self._marks[host.name][1]
        match = host.shadow.wait_for(pattern, SLACK * timeout, mark)
        need(match, f"host {host.name}'s shadow shows no /{pattern}/; it ends with "
             f"{host.shadow.text(mark)[-200:]!r}; events: {self.events}")
        return match

    def goes_on(self, host, lines=5, timeout=40):
        """The guest is live on this host and prints more."""
        mark = host.live.mark()
        self.wait_live(host, r"(?:.*\n){%d}" % lines, timeout, since=mark)

    def status(self, host):
        return replicas(self.test.json(host, "status", self.label))[0]

    def state(self, host):
        return self.status(host)["state"]

    def wait_state(self, host, *states, timeout=20):
        end = time.monotonic() + SLACK * timeout
        while True:
            status = self.status(host)
            if status["state"] in states:
                return status
            need(time.monotonic() < end, f"host {host.name}: the state is {status['state']} "
                 f"({status.get('detail')}), not {' or '.join(states)}")
            time.sleep(0.1)

    def wait_taken_up(self, host, timeout=20):
        """An ftd that was started again has the guest, and is done with that."""
        end = time.monotonic() + SLACK * timeout
        while self.status(host).get("busy"):
            need(time.monotonic() < end, f"host {host.name}: ftd is busy: {self.status(host)}")
            time.sleep(0.1)

    def wait_event(self, host, name, timeout=20):
        end = time.monotonic() + SLACK * timeout
        while True:
            for event in list(self.events[host.name]):
                if event.get("event") == name:
                    return event
            need(time.monotonic() < end, f"host {host.name}: no event {name}: "
                 f"{[e.get('event') for e in self.events[host.name]]}")
            time.sleep(0.05)

    def stats(self, host):
        return pairing.flat_stats(self.test.json(host, "stats", self.label))

    def lockstep(self, lines=5):
        """Both replicas run, and this was printed on both."""
        a, b = self.test.a, self.test.b
        self.wait_live(a, r"(?:.*\n){%d}" % lines)
        self.wait_state(a, "primary")
        self.wait_state(b, "backup")

    def one_machine(self, promoted=False):
        """What both hosts printed is one guest's output."""
        a, b = self.test.a, self.test.b
        if not promoted:
            # In the midst: one may be a little ahead.
            live, shadow = (text.replace("\r", "") for text in (self.live(a), self.shadow(b)))
            short = min(len(live), len(shadow))
            need(short, "a host has printed nothing")
            need(live[:short] == shadow[:short], "the hosts printed different things: "
                 f"{output.difference(live[:short], shadow[:short])}")
            return
        seen = output.compare(self.live(a), self.shadow(b), self.live(b))
        need(seen["same_output"], f"the outputs part: {seen['difference']}")
        need(not seen["lost"], f"{seen['lost']} lines were lost")
        need(seen["repeated"] <= 1, f"{seen['repeated']} lines were repeated")

    def no_detail_lost(self, host, reason):
        status = self.status(host)
        need(status["reason"] == reason, f"host {host.name}: the reason is {status['reason']} "
             f"({status['detail']}), not {reason}")
        need(status["detail"].strip(), f"host {host.name}: no detail with reason {reason}")
        return status["detail"]

    def close(self):
        for stream in self._streams:
            stream.stop()
        for name, one in self.guests.items():
            if self.test.hosts[name].alive:
                one.kill()
        words, label = shlex.quote(paths.ftctl()), shlex.quote(self.label)
        # An ended QEMU's replica goes by itself or at once by detach.
        command = (f"for i in 1 2 3 4 5 6 7 8 9 10; do {words} unpair {label}; "
                   f"{words} detach {label}; {words} -j status {label} || break; sleep 0.2; done; "
                   f"rm -f {QMP} {DRIVER_QMP}")
        jobs = [h.start(f"( {command} ) >/dev/null 2>&1; true")
                for h in self.hosts() if h.prepared]
        for job in jobs:
            job.wait(60)


class Alarm:
    """No test takes for ever."""

    def __init__(self, seconds):
        self._seconds = SLACK * seconds

    def __enter__(self):
        def ring(_signal, _frame):
            raise TimeoutError(f"the test still runs after {self._seconds} s")
        signal.signal(signal.SIGALRM, ring)
        signal.alarm(int(self._seconds))

    def __exit__(self, *_):
        signal.alarm(0)
