# SPDX-License-Identifier: GPL-2.0
"""One guest on two hosts, from power-on to a verdict.

run-paired, the demo and the end-to-end tests all go through Run.
"""
import os
import shlex
import time

from . import pairing, paths, verdict
from .agent import CommandFailed, HostDied
from .guest import CPU, DRIVER_QMP, QMP, Guest
from .hosts import Hosts


PATIENCE = 20.0 * paths.SLOWNESS	# how long a kill waits for the guest to begin, on a slow machine


class Options:
    """What to run and what to do to it. Times are seconds after the guest's start."""

    machine = "pc"
    cpu = CPU
    qemu_args = ()
    unpaired = False	# on host a alone, without ftkvm: what would one machine print?
    kill = None		# "primary", "backup"
    at = 5.0		# when to kill
    duration = None	# stop then: for guests that don't end
    timeout = 120.0	# a guest that has not ended by then has failed
    status = None	# QEMU's exit status at a good end; None: any, if both agree
    skid = 0
    seed = 1
    period = None
    margin = None
    counter = None
    verify_every = None	# epochs
    inputs = ()		# (seconds after ready, text)
    nmis = ()		# seconds after ready
    ready = None	# the guest is ready when it has printed this; None: at its start
    actions = ()	# (seconds, name, function of the Run)
    sample = 0.25	# seconds between two looks at the statistics
    log = None
    keep = False
    quiet = False
    linux = False	# the console is that of the Linux test guest: check its lines
    diverges = False	# the replicas must be caught diverging
    grace = 15.0	# one replica may end so much later than the other

    def __init__(self, **fields):
        for name, value in fields.items():
            if not hasattr(Options, name):
                raise TypeError(f"no such option: {name}")
            setattr(self, name, value)


class Run:
    """Give it hosts to use ones that are up (and stay up); else it has its own."""

    def __init__(self, options, hosts=None):
        self.options = options
        self.hosts = hosts
        self._shared = hosts is not None
        self._console_marks = {}
        self.guests = {}
        self.events = {"a": [], "b": []}	# {"at": seconds, ...}
        self.samples = {"a": [], "b": []}	# (seconds, {name: number})
        self._events, self._samples = [], []	# as they come
        self.times = {}
        self.marks = []		# (seconds, host or None, what): for a timeline
        self.reasons = []	# what spoiled the verdict
        self.notes = []
        self.start = None
        self._streams = []
        self.final = {}		# `ftctl status` at the end
        self.last_stats = {}
        self.wire_count = {}
        self.still_runs = False	# says QEMU, of a guest that was stopped by --duration

    # --- time ----------------------------------------------------------------

    def now(self):
        return time.monotonic() - self.start

    def mark(self, what, host=None, when=None):
        at = (when if when is not None else time.monotonic()) - (self.start or self.hosts.began)
        self.marks.append((round(at, 3), host, what))
        self.hosts.say(f"{'host ' + host + ': ' if host else ''}{what}")

    def fail(self, reason):
        if reason not in self.reasons:
            self.reasons.append(reason)

    # --- the parts of a run --------------------------------------------------

    @property
    def primary(self):
        return self.hosts["a"]

    @property
    def backup(self):
        return self.hosts["b"]

    def survivor(self):
        if self.options.unpaired or self.options.kill == "backup":
            return self.primary
        return self.backup if self.options.kill == "primary" else self.primary

    def prepare(self):
        """Hosts are up: everything until the guest's first instruction."""
        o = self.options
        # What takes long on an emulated host goes on at the same time.
        self._console_marks = {host.name: (host.live.mark(), host.shadow.mark())
                               for host in self.hosts}
        jobs = [] if o.unpaired else pairing.bring_up(
            [host for host in self.hosts if not host.prepared])
        for host in self.hosts:
            self.guests[host.name] = Guest(host, o.machine, list(o.qemu_args),
                                           paired=not o.unpaired, cpu=o.cpu)
            self.guests[host.name].start()
        if o.unpaired:
            guest = self.guests["a"]
            guest.wait_ready(guest.await_ready(), may_end=True)
            self.start = time.monotonic()
            return
        ready = [(guest, guest.await_ready()) for guest in self.guests.values()]
        pairing.finish(jobs)
        for host in self.hosts:
            host.prepared = True
        for guest, job in ready:
            guest.wait_ready(job)
        self.hosts.say("both hosts run ftd and hold the guest, stopped")
        for host in self.hosts:
            name = host.name
            self._streams.append(pairing.monitor(
                host, lambda when, event, name=name: self._events.append((name, when, event))))
        pairing.finish([host.start(pairing.attach_command()) for host in self.hosts])
        self.start = time.monotonic()
        pairing.pair(self.primary, self.backup, period=o.period, margin=o.margin,
                     counter=o.counter, verify_every=o.verify_every)
        # It may have run for a while when the command returns.
        first = self.primary.live.chunks[self._console_marks["a"][0]:][:1]
        self.start = min([time.monotonic()] + [when for when, _ in first])
        self.mark("paired: the guest starts")
        if o.sample:
            for host in self.hosts:
                self._streams.append(pairing.sample(
                    host, o.sample, on_object=lambda when, stats, name=host.name:
                    self._samples.append((name, when, stats))))

    def _schedule(self):
        """(what is done at set times, what is done so long after the guest is ready)"""
        o = self.options
        plan = list(o.actions)
        if o.kill:
            plan.append((o.at, f"kill {o.kill}", Run.kill))
        later = [(at, f"type {text!r}", lambda run, text=text: run.type(text))
                 for at, text in o.inputs]
        later += [(at, "NMI", lambda run: run.nmi()) for at in o.nmis]
        return plan, later

    def _ready(self):
        said = [self.options.ready is None or self.options.ready in self.texts(name)[0]
                for name in self.hosts.names]
        return all(said) if self.options.unpaired else any(said)

    def _begun(self):
        """The guest has printed something, on the primary."""
        return bool(self.texts("a")[0])

    def texts(self, name):
        """What this run's guest printed: (live, shadow) of a host."""
        host = self.hosts[name]
        live, shadow = self._console_marks.get(name, (0, 0))
        return host.live.text(live), host.shadow.text(shadow)

    def console_host(self):
        """The host at whose console the guest is live."""
        return self.primary if self.primary.alive else self.backup

    def _reached(self):
        """The hosts at which the guest hears: unpaired, there are two of it."""
        return list(self.hosts) if self.options.unpaired else [self.console_host()]

    def type(self, text):
        for host in self._reached():
            self.mark(f"typed {text!r}", host.name)
            host.live.send(text.encode())

    def nmi(self):
        for host in self._reached():
            guest = self.guests[host.name]
            self.mark("NMI", host.name)
            try:
                guest.qmp("inject-nmi")
            except RuntimeError:
                # The guest may end meanwhile, by this very NMI.
                if not guest.ends_soon():
                    raise

    def kill(self):
        """Cut the power of a host; promote the other if it was the primary's."""
        victim = self.primary if self.options.kill == "primary" else self.backup
        when = victim.power_off()
        self.times["killed"] = round(when - self.start, 3)
        self.mark("loses power", victim.name, when)
        if victim is self.backup:
            return
        refusals = []
        pairing.promote(self.backup, on_refusal=refusals.append)
        now = time.monotonic()
        self.times["promoted"] = round(now - self.start, 3)
        self.times["promote_refused"] = len(refusals)
        self.mark(f"promoted ({now - when:.2f} s after the cut)", self.backup.name, now)

    def follow(self):
        """Carry out what is planned until the guest has ended everywhere."""
        o = self.options
        plan, later = self._schedule()
        while True:
            now = self.now()
            if later and self._ready():
                began = now if o.ready else 0.0
                plan += [(began + at, *step) for at, *step in later]
                later = []
            plan.sort(key=lambda step: step[0])
            running = self._still_running(now)
            for name, host in self.hosts.hosts.items():
                if not host.alive and host.killed_at is None:
                    raise HostDied(f"host {name}'s emulator ended by itself "
                                   f"(status {host.exit_status}); see its logs")
            if not running:
                break
            if self.reasons:
                break
            if o.duration is not None and now >= o.duration:
                self.times["stopped"] = round(now, 3)
                break
            if now >= o.timeout:
                self.fail(f"the guest still runs on {' and '.join(running)} "
                          f"after {o.timeout:g} s")
                break
            if plan and now >= plan[0][0]:
                _, what, action = plan.pop(0)
                if action is Run.kill and not self._begun() and now < o.at + PATIENCE:
                    # An armed backup can't be promoted: its guest never began.
                    plan.append((now + 0.2, what, action))
                    continue
                try:
                    action(self)
                except (CommandFailed, TimeoutError) as error:
                    self.fail(f"{what}: {error}")
                    break
                continue
            pause = 0.1
            if plan:
                pause = min(pause, max(0.0, plan[0][0] - now))
            time.sleep(pause)
        left = [what for _, what, _ in plan + later]
        if left and not self.reasons:
            self.notes.append("the guest ended before: " + ", ".join(left))
            if o.kill and "killed" not in self.times:
                self.fail("the guest ended before the kill")
        self.times["end"] = round(self.now(), 3)
        for name, guest in self.guests.items():
            if guest.exit_code is not None:
                self.times[f"ended_{name}"] = round(guest.ended_at - self.start, 3)

    def _still_running(self, now):
        """Names of the hosts whose guests must end yet."""
        running = [n for n, g in self.guests.items() if g.running and self.hosts[n].alive]
        if self.options.diverges:
            return [n for n in running if n == "a"]
        ends = [g.ended_at - self.start for g in self.guests.values() if g.ended_at is not None]
        if running and ends and now - min(ends) > self.options.grace:
            self.fail(f"the guest still runs on {' and '.join(running)}, {self.options.grace:g} s "
                      "after it ended on the other host")
        return running

    def clean_up(self):
        """Leave hosts that are used again as they were."""
        for stream in self._streams:
            stream.stop()
        for guest in self.guests.values():
            if self.hosts[guest.host.name].alive:
                guest.kill()
        if self.options.unpaired:
            return
        words = shlex.quote(paths.ftctl())
        command = (f"{words} unpair {pairing.NAME}; {words} detach {pairing.NAME}; "
                   f"rm -f {QMP} {DRIVER_QMP}")
        jobs = [host.start(f"( {command} ) >/dev/null 2>&1; true")
                for host in self.hosts if host.alive]
        pairing.finish(jobs)

    def collect(self):
        """Final statistics and logs of the hosts that still live."""
        self.wire_count = self.hosts.wire.count()
        self._ask_whether_it_runs()
        for stream in self._streams:
            stream.stop()
        for host in self.hosts:
            if not host.alive or self.options.unpaired:
                continue
            try:
                got = pairing.ftctl(host, "-j", "status", pairing.NAME, check=False)
                self.final[host.name] = got.out.strip() or got.err.strip()
                stats = pairing.ftctl_json(host, "stats", pairing.NAME)
                self.last_stats[host.name] = pairing.flat_stats(stats)
            except (CommandFailed, TimeoutError, ValueError, HostDied) as error:
                self.notes.append(f"no final statistics of host {host.name}: {error}")
            try:
                log = host.run("cat /run/ftd.log; echo; dmesg", check=False).out
                with open(os.path.join(self.hosts.log_dir, f"{host.name}.ftd.log"), "w",
                          encoding="utf-8") as file:
                    file.write(log)
            except (TimeoutError, HostDied) as error:
                self.notes.append(f"no logs of host {host.name}: {error}")
        self._tell_time()
        for name, series in self.samples.items():
            if series and name not in self.last_stats:
                self.last_stats[name] = series[-1][1]
        # What the guest sent last is still on its way.
        for host in self.hosts:
            self._quiet(host)

    def _ask_whether_it_runs(self):
        guest = self.guests.get(self.survivor().name)
        if "stopped" not in self.times or not guest or not guest.running:
            return
        try:
            self.still_runs = guest.qmp("query-status")["status"] == "running"
        except (RuntimeError, HostDied) as error:
            self.notes.append(f"no answer from the guest's QEMU: {error}")

    def _tell_time(self):
        """Arrival times become seconds after the guest's start."""
        for name, when, event in self._events:
            event = event if isinstance(event, dict) else {"event": event}
            self.events[name].append({"at": round(when - self.start, 3), **event})
        for name, when, stats in self._samples:
            self.samples[name].append((round(when - self.start, 3),
                                       pairing.flat_stats(stats)))

    @staticmethod
    def _quiet(host, still=0.3, limit=5.0):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            chunks = host.live.chunks[-1:] + host.shadow.chunks[-1:]
            if all(time.monotonic() - when > still for when, _ in chunks):
                return
            time.sleep(0.05)

    # --- from start to end ---------------------------------------------------

    def execute(self):
        """Do it all; the verdict, a dict that JSON can hold."""
        o = self.options
        if self._shared:
            result = self._on_hosts(time.monotonic())
            self.clean_up()
            return result
        began = time.monotonic()
        self.hosts = Hosts(1 if o.unpaired else 2, o.log, quiet=o.quiet, skid=o.skid,
                           seed=o.seed)
        if o.keep:
            self.hosts.keep()
        with self.hosts:
            self.times["boot"] = round(time.monotonic() - began, 3)
            result = self._on_hosts(began)
            if not result["good"]:
                self.hosts.keep()
            self.log_dir = self.hosts.log_dir
        return result

    def _on_hosts(self, began):
        try:
            self.prepare()
            self.times["to_start"] = round(self.start - began, 3)
            self.follow()
        except (CommandFailed, HostDied, TimeoutError, RuntimeError) as error:
            self.fail(str(error))
        if self.start is None:
            self.start = time.monotonic()
        self.collect()
        return verdict.judge(self)
