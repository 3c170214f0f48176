# SPDX-License-Identifier: GPL-2.0
"""The demonstration's plot: a guest that runs is protected, loses one host, is protected again
when that is back, and loses the other one."""
import random
import re
import shlex
import time

from ftbed import guest, pairing
from ftbed.agent import CommandFailed, HostDied
from ftbed.hosts import Hosts

# An arbiter that both hosts reach, and leave for ftd to start guests, and to protect them again.
WORDS = """[arbiter]
type = file
path = %s/sessions
[guests]
start = yes
protect-again = yes
"""
TIMEOUT_MS = 1500	# three times the default: an emulated host may be held up
BOOT, MOVE, LINE = 400.0, 400.0, 60.0	# patience, in seconds: slow machines exist
ASKED = ("hello, are you there?", "are you protected?", "what was that?", "all well again?",
         "still there?", "same machine?")


class Spoilt(Exception):
    """The guest did not live up to it."""


class Cut:
    """One loss of power: whose, when, and what the survivor made of it. Times are time.monotonic()."""

    def __init__(self, victim, survivor, role, when):
        self.victim, self.survivor, self.role, self.when = victim, survivor, role, when
        self.noticed = self.decided = self.spoke = None
        self.takeover_ns = None

    def after_ms(self, when):
        return round((when - self.when) * 1000, 1) if when else None


class Stretch:
    """What was to be seen at one host's console, while the guest was live there (or muted)."""

    def __init__(self, console):
        self.console, self._begin, self._end = console, console.mark(), None

    def close(self):
        if self._end is None:
            self._end = self.console.mark()

    def text(self):
        return self.console.text(self._begin, self._end)

    def lines(self):
        return self.console.lines(self._begin, self._end)


class Story:
    def __init__(self, kill, seed, machine, skid, devices, qemu_args, keep=False):
        self.kill, self.seed, self.machine = kill, seed, machine
        self.outside, self._args = devices, qemu_args
        self._random = random.Random(seed)
        self.hosts = Hosts(2, quiet=False, skid=skid, seed=seed)
        if keep:
            self.hosts.keep()
        self.start = None	# the guest's first instruction
        self.reason = ""
        self.marks = []		# (seconds after that, host or None, what)
        self.turns = {"a": [], "b": []}	# (seconds, what the replica there is from now on)
        self.events = {"a": [], "b": []}	# (time.monotonic(), what `ftctl monitor` said)
        self.samples = {"a": [], "b": []}	# [(seconds, statistics)] of each pairing in turn
        self.cuts, self.moves = [], []
        self.live, self.muted = [], []	# Stretches, in order
        self.asked = 0
        self.log = None		# what of the guest's disk is on the last survivor
        self.ended = False
        self._streams = []
        self._shown = 0

    # --- telling --------------------------------------------------------------------

    def now(self):
        return time.monotonic() - self.start

    def mark(self, what, host=None, when=None):
        at = (time.monotonic() if when is None else when) - (self.start or self.hosts.began)
        self.marks.append((round(at, 3), host and host.name, what))
        self.hosts.say(f"host {host.name}: {what}" if host else what)

    def _turn(self, host, kind, when=None):
        at = (time.monotonic() if when is None else when) - self.start
        self.turns[host.name].append((round(at, 3), kind))

    def _goes_live(self, host):
        if self.live:
            self.live[-1].close()
        self.live.append(Stretch(host.live))
        self._shown = 0

    def texts(self):
        """What the world saw, console after console."""
        return [stretch.text() for stretch in self.live]

    def _tell(self):
        """Print what the guest has said since."""
        stretch = self.live[-1]
        name = next(h.name for h in self.hosts if h.live is stretch.console)
        lines = stretch.lines()
        for when, line in lines[self._shown:]:
            print(f"[{when - self.hosts.began:6.1f}]   {name}> {line}", flush=True)
        self._shown = len(lines)

    def _show(self, pattern, patience, what):
        """Print what the guest says until this has come."""
        stretch, end = self.live[-1], time.monotonic() + patience
        while not re.search(pattern, stretch.text()):
            if stretch.console.ended or time.monotonic() > end:
                raise Spoilt(what)
            self._tell()
            time.sleep(0.2)
        self._tell()

    def _last(self):
        numbers = re.findall(r"^ftdemo (\d{6}) .*chk=", "\n".join(self.texts()), re.M)
        return int(numbers[-1]) if numbers else 0

    def _goes_on(self, lines):
        self._show(r"ftdemo %06d [^\n]*\n" % (self._last() + lines), LINE + lines,
                   "the guest stopped printing")

    def _ask(self, host):
        """Type a line at a host's console; the guest says it backwards."""
        text = ASKED[self.asked]
        self.asked += 1
        self.mark(f"typed {text!r}", host)
        host.live.send(text.encode() + b"\n")
        self._show(r"ftanswer %04d [^\n]*\n" % self.asked, LINE, f"the guest did not answer {text!r}")

    # --- hosts --------------------------------------------------------------------------

    def _prepare(self, host, first):
        """Arbiter, module, ftd, the guest's devices; on a host that was never up, or that is up again."""
        host.run(f"{pairing.third_script()}; mkdir -p {pairing.THIRD}/sessions")
        pairing.configure(host, WORDS % pairing.THIRD, TIMEOUT_MS)
        pairing.up([host])
        peer = next(h.address for h in self.hosts if h is not host)
        self.outside.add(host, peer, filled=first)
        self._streams.append(pairing.monitor(
            host, lambda when, event: self.events[host.name].append((when, event))))

    def _sample(self):
        """The statistics of both, for as long as they are a pair."""
        for host in self.hosts:
            one = []
            self.samples[host.name].append(one)
            self._streams.append(pairing.sample(
                host, 0.2, on_object=lambda when, stats, one=one:
                one.append((round(when - self.start, 3), pairing.flat_stats(stats)))))

    def _state(self, host):
        try:
            return pairing.ftctl_json(host, "status", pairing.NAME)[0]
        except (CommandFailed, ValueError, KeyError, IndexError):
            return {"state": "none"}

    def _wait_state(self, host, state, patience, what):
        end = time.monotonic() + patience
        while self._state(host)["state"] != state:
            if time.monotonic() > end:
                raise Spoilt(f"{what}: {self._state(host)}")
            self._tell()
            time.sleep(0.2)

    # --- acts -----------------------------------------------------------------------------

    def _begin_alone(self):
        a = self.hosts.a
        for host in self.hosts:
            self._prepare(host, host is a)
        one = guest.Guest(a, self.machine, self._args, paired=True)
        one.start()
        one.wait_ready(one.await_ready())
        pairing.begin_alone(a, one)
        self.start = time.monotonic()
        self._goes_live(a)
        self._turn(a, "alone")
        self._turn(self.hosts.b, "nothing")
        self.mark("the guest runs, alone", a)
        self._show(r"ftdemo 000001 [^\n]*\n", BOOT, f"the guest printed no line in {BOOT:g} s")
        self.mark("the guest works", a)
        self._ask(a)

    def _protected(self, primary, backup, began, **more):
        """Both are one from now on."""
        now = time.monotonic()
        self._turn(primary, "primary", now)
        self._turn(backup, "backup", now)
        self.moves.append({"seconds": round(now - began, 3), "to": backup.name, **more})
        self.mark(f"protected by host {backup.name.upper()} ({now - began:.1f} s)", primary, now)
        self._sample()

    def _protect(self, primary, backup):
        """`ftctl protect`, while the guest runs and is looked at."""
        began = time.monotonic()
        words = f"{pairing.NAME} --peer {backup.address}:{pairing.PORT}"
        self.mark(f"ftctl protect {words}", primary)
        self.muted.append(Stretch(backup.shadow))
        job = primary.start(f"exec {shlex.quote(pairing.paths.ftctl())} -j protect {words}")
        job.close_input()
        while job.running and time.monotonic() - began < MOVE:
            self._tell()
            time.sleep(0.2)
        result = job.wait(1)
        if result.code:
            raise Spoilt(f"it can't be protected: {result}")
        downtime = re.search(r'"downtime_ms":\s*(\d+)', result.out)
        self._protected(primary, backup, began, by="command",
                        downtime_ms=int(downtime[1]) if downtime else None)

    def _watch(self, host):
        """The web page, from the host that will be there after the next cut."""
        self.outside.unwatch()
        self.outside.watch(host)

    def _cut(self, victim, survivor):
        """The power of one of a pair fails; nobody but ftd and the arbiter sees to it."""
        lines, wait = self._random.randint(8, 22), self._random.random() * 0.25
        self.hosts.say(f"the power cut will come {wait * 1000:.0f} ms after {lines} lines")
        self._goes_on(lines)
        time.sleep(wait)
        role = self._state(victim)["state"]
        seen = len(self.events[survivor.name])
        victim.power_off()
        cut = Cut(victim.name, survivor.name, role, victim.killed_at)
        self.cuts.append(cut)
        self._turn(victim, "dead", cut.when)
        self._turn(survivor, "waits" if role == "primary" else "primary", cut.when)
        self.mark("loses power", victim, cut.when)
        if role == "primary":
            self._goes_live(survivor)
        self._wait_state(survivor, "solo", LINE, "the survivor does not go on by itself")
        self._await_words(cut, survivor)
        for when, event in self.events[survivor.name][seen:]:
            if event.get("event") == "peer-lost":
                cut.noticed = cut.noticed or when
            if event.get("event") == "promoted":
                cut.decided = cut.decided or when
        if role == "primary":
            cut.takeover_ns = pairing.flat_stats(
                pairing.ftctl_json(survivor, "stats", pairing.NAME)).get("takeover_ns")
            self.muted[-1].close()
        self._turn(survivor, "alone", cut.decided)
        self.mark(f"goes on, by the arbiter's word ({cut.after_ms(cut.spoke):.0f} ms after the cut)",
                  survivor, cut.spoke)
        self._ask(survivor)

    def _await_words(self, cut, survivor):
        """When the survivor's console spoke first."""
        end = time.monotonic() + LINE
        while time.monotonic() < end:
            after = [when for when, _ in list(survivor.live.chunks) if when > cut.when]
            if after:
                cut.spoke = after[0]
                return
            time.sleep(0.02)
        raise Spoilt("the guest is silent after the cut")

    def _repair(self, host, survivor):
        """The host is back, empty; ftd there and here do the rest."""
        for stretch in self.live[:-1] + self.muted:
            stretch.close()
        began = time.monotonic()
        self.mark("has power again", host)
        host.power_on()
        host.wait_up()
        self._turn(host, "nothing")
        self.muted.append(Stretch(host.shadow))
        self._prepare(host, False)
        self.mark("is up; its ftd knows nothing of the guest", host)
        self._wait_state(survivor, "primary", MOVE, "it is not protected again")
        self._wait_state(host, "backup", LINE, "it is not protected again")
        self._protected(survivor, host, began, by="ftd")

    def _to_the_end(self, host):
        """The guest unmounts its disk and ends."""
        self._goes_on(10)
        self.outside.unwatch()
        self.asked += 1		# it answers that, too
        host.live.send(b"end\n")
        self._show(r"ftend [^\n]*\n", LINE, "the guest does not end")
        host.run(f"n=0; while pgrep -f '[q]emu-system.*{guest.DRIVER_QMP}' >/dev/null; do sleep 0.1; "
                 "n=$((n+1)); [ $n -lt 600 ] || exit 1; done; sync")
        self.ended = True
        self._turn(host, "nothing")
        self.log = self.outside.log(host, *self.texts())

    def _play(self):
        a, b = self.hosts
        self._begin_alone()
        victim, survivor = (a, b) if self.kill == "primary" else (b, a)
        self._watch(survivor)
        self._protect(a, b)
        self._ask(a)
        self._cut(victim, survivor)
        self._repair(victim, survivor)
        self._ask(survivor)
        self._watch(victim)
        self._cut(survivor, victim)
        self._ask(victim)
        self._to_the_end(victim)

    def execute(self):
        """From power-on to the end; False if something was not as it should be."""
        with self.hosts:
            try:
                self._play()
            except (Spoilt, CommandFailed, HostDied, TimeoutError, RuntimeError) as error:
                self.reason = str(error)
                self.hosts.keep()
            if self.start is None:
                self.start = time.monotonic()
            self.end = max(1.0, self.now())
            for stream in self._streams:
                stream.stop()
        return not self.reason

    # --- what came of it --------------------------------------------------------------------

    def replayed(self):
        """Each whole line that a backup had printed, muted, was to be seen outside as well."""
        outside = {line for text in self.texts() for line in text.split("\n")}
        count = 0
        for stretch in self.muted:
            # it begins, and is cut off, in the midst of a line
            for line in stretch.text().replace("\r", "").split("\n")[1:-2]:
                if line and line not in outside:
                    return 0
                count += bool(line)
        return count

    def divergences(self):
        return sum("diverged" in str(event.get("event", "")).lower()
                   for events in self.events.values() for _, event in events)
