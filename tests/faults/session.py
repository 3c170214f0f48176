# SPDX-License-Identifier: GPL-2.0
"""One guest on both hosts: what the operator does, and what must be so in the end.

A session serves several cases as long as they spare it: its stage goes from
fresh (two stopped QEMUs) by attached to lockstep to alone (one replica lives)
to over. settle() does what the admin guide tells an operator to do; verify()
holds the outcome against the promise: exactly one replica lives and goes on,
and what both hosts printed is what one machine prints.
"""
import json
import re
import shlex
import time

from rig import FRAMES, SLACK, CommandFailed, need, pairing, paths, replicas
from ftbed import output
from ftbed.device import BRIDGE

TIMEOUT_MS = 500	# silence after which a peer counts as dead
# A guest's numbered lines, and what else it says: first, and in the end.
LINES = {
    "mixed": r"mixed (\d+) [0-9a-f]{8}",
    "disk": r"disk: (\d+): .* hash [0-9a-f]{16}",
    "net": r"net: (\d+) frames, hash [0-9a-f]{16}",
}
GOOD = re.compile(r"^disk: good \d+ rounds [0-9a-f]{16}$", re.MULTILINE)
BESIDE = re.compile(r"(?:disk: (?:id |\d+ sectors|good \d+ rounds )|net: [0-9a-f:]{17}$)")
LIVE = ("primary", "solo")


def two_lines(text):
    return text.count("\n") > 2		# the first may be the rest of one


class Session:
    def __init__(self, rig, append="", settings=()):
        self.rig = rig
        self.append = append
        self.settings = ["--timeout", TIMEOUT_MS, *settings]
        self.qemu = rig.take(append)
        self.label = self.qemu["a"].label.replace("q", "g")
        self.stage = "fresh"
        self.promoted = False
        self.shadow_leaks = False	# see output.mended()
        self._client = None	# whoever sends the guest frames
        self._rings = {}
        self.alone = None	# stage alone: the side that lives
        self.detail = ""
        self.ftd_killed = False
        self.parted = False	# the wire is cut, and stays so
        self.story = []		# what was seen, for a case that failed
        self._began = time.monotonic()
        self._seen = None
        time.sleep(0.02)
        self._marks = {h.name: (h.live.mark(), h.shadow.mark()) for h in rig.hosts}
        self.trouble_marks = rig.marks()

    @property
    def guest(self):
        """Its name; mixed, if its words begin with none."""
        name = self.append.partition(" ")[0]
        return name if name in LINES else "mixed"

    @property
    def a(self):
        return self.rig["a"]

    @property
    def b(self):
        return self.rig["b"]

    def say(self, text):
        self.story.append(f"{time.monotonic() - self._began:6.2f} {text}")

    def runs(self, side):
        """Its host and its QEMU live."""
        return self.rig[side].alive and self.qemu[side].running

    # --- the operator's commands --------------------------------------------

    def ftctl(self, side, *words):
        """A Job; result() tells how it ended."""
        return self.rig[side].start(shlex.join([paths.ftctl(), *map(str, words)]))

    def result(self, job, timeout=30):
        """Its Result, None if its host died."""
        if job is None:
            return None
        end = time.monotonic() + SLACK * timeout
        while job.running and self.rig[job.agent.name].alive and time.monotonic() < end:
            time.sleep(0.01)
        if not self.rig[job.agent.name].alive or job.died:
            return None
        result = job.wait(0.1)
        self.say(f"{job.agent.name}: {job.command.rsplit('/', 1)[-1]}: {result.code} "
                 f"{(result.err or result.out).strip()}")
        return result

    def attach_job(self, side):
        return self.ftctl(side, "attach", self.label, "--qmp", self.qemu[side].monitor,
                          "--console", f"{pairing.CONSOLE}=tty:/dev/ttyS1")

    def attach(self, sides="ab"):
        jobs = [self.attach_job(side) for side in sides]
        for job in jobs:
            result = self.result(job)
            need(result and not result.code, f"attach failed: {result}")
        self.stage = "attached"

    def pair_job(self):
        return self.ftctl("a", "pair", self.label, "--peer",
                          f"{self.b.address}:{pairing.PORT}", *self.settings)

    def to_lockstep(self):
        """From whatever comes before."""
        if self.stage == "fresh":
            self.attach()
        if self.stage == "attached":
            result = self.result(self.pair_job())
            need(result and not result.code, f"pair failed: {result}")
            outcome = self.settle(self.marks())
            need(outcome == "lockstep", f"not in lockstep, but {outcome}")
            self.stage = "lockstep"

    def hears_by_both(self):
        """Each host hears the other by the second path, too."""
        end = time.monotonic() + SLACK * 20
        status = shlex.join([paths.ftctl(), "-j", "status", self.label])
        while any(replicas(json.loads(self.rig[side].run(status).out))[0].get("second") != "up"
                  for side in "ab"):
            need(time.monotonic() < end, "there is no second path")
            time.sleep(0.05)

    def look(self):
        """The replicas' states by side: None where there is none (any more)."""
        jobs = {side: self.ftctl(side, "-j", "status", self.label) for side in "ab"
                if self.runs(side) and self.rig[side].prepared}
        states = {"a": None, "b": None}
        for side, job in jobs.items():
            end = time.monotonic() + 30 * SLACK
            while job.running and self.rig[side].alive:
                need(time.monotonic() < end, f"host {side}: ftctl status does not end")
                time.sleep(0.005)
            if job.died or not self.rig[side].alive or job.code:
                continue
            try:
                one = replicas(json.loads(bytes(job.out)))[0]
            except (ValueError, IndexError):
                continue
            if not one.get("ended"):
                states[side] = one["state"]
                self.detail = f"{one.get('reason')}: {one.get('detail')}"
        if self._seen != states:
            self.say(f"a {states['a']}, b {states['b']}")
        self._seen = states
        return states["a"], states["b"]

    def await_state(self, side, state, otherwise):
        """That replica's; otherwise: what is wrong if it does not come."""
        end = time.monotonic() + SLACK * 20
        while self.look()["ab".index(side)] != state:
            need(time.monotonic() < end, otherwise)
            time.sleep(0.05)

    # --- consoles ------------------------------------------------------------

    def marks(self):
        return {h.name: (h.live.mark(), h.shadow.mark()) for h in self.rig.hosts}

    def live(self, side, marks=None):
        return self.rig[side].live.text((marks or self._marks)[side][0]).replace("\r", "")

    def shadow(self, side, marks=None):
        return self.rig[side].shadow.text((marks or self._marks)[side][1]).replace("\r", "")

    def prints(self, side, marks, where="live", timeout=20):
        """Two more lines, on the console that the world sees (or the muted one)."""
        end = time.monotonic() + SLACK * timeout
        text = self.live if where == "live" else self.shadow
        while not two_lines(text(side, marks)):
            need(self.rig[side].alive, f"host {side} died")
            need(time.monotonic() < end, f"host {side}'s {where} console stands still; "
                 f"it ends with {text(side)[-120:]!r}{self._client_said()}")
            time.sleep(0.01)

    # --- after the fault -------------------------------------------------------

    def settle(self, marks, timeout=20):
        """Do what an operator does until one replica lives. What came of it:

        lockstep   both run, A is the primary
        a, b       that side lives, alone
        idle       the pairing failed before it began, and may be tried again
        begun anew the guest never began where it was paired: it was started again
        """
        end = time.monotonic() + SLACK * timeout
        armed_since = None
        while True:
            # A wire that stays cut ends it, though not at once.
            if not self.parted and self._both_print(marks) and \
               self.look() == ("primary", "backup"):
                return "lockstep"
            ran = [self.runs(side) for side in "ab"]
            a, b = self.look()
            try:
                outcome = self._judge(a, b)
            except CommandFailed:
                # a QEMU that has just been killed seems to run for a moment yet
                time.sleep(0.5)
                if ran == [self.runs(side) for side in "ab"]:
                    raise
                continue
            if outcome:
                return outcome
            if "armed" in (a, b):
                armed_since = armed_since or time.monotonic()
                if self.ftd_killed and time.monotonic() - armed_since > 10 * SLACK:
                    # One ftd died before it told its QEMU to run: nobody else will.
                    self.say("operator: unpair")
                    self.result(self.ftctl("a" if a == "armed" else "b", "unpair", self.label))
                    armed_since = time.monotonic() + 3600
            need(time.monotonic() < end, f"nothing is decided: a {a}, b {b}")
            time.sleep(0.1)

    def _both_print(self, marks):
        return self.runs("a") and self.runs("b") and two_lines(self.live("a", marks)) and \
            two_lines(self.shadow("b", marks))

    def _judge(self, a, b):
        """The outcome, once there is one; None: wait."""
        need(self.runs("a") or self.runs("b"), "both replicas are dead")
        if not self.runs("a") or a == "stopped":
            return self._a_is_gone(b)
        need(b != "solo", f"two replicas live: a is {a}, b {b}")
        if a == "solo":
            # A backup that does not know yet waits for its time-out.
            return None if self.runs("b") and b in ("backup", "armed", "takeover") else "a"
        if a == "undecided" and not self.runs("b"):
            self.say("operator: promote at a")
            pairing.promote(self.a, self.label, patience=SLACK * 15)
            return "a"
        if a == "idle":
            if self.runs("b") and b == "idle":
                if self.qemu["a"].qmp("query-status")["status"] == "prelaunch":
                    return "idle"
                return self._run_unprotected("a")	# QEMU won't call it fresh again
            if not self.runs("b"):
                return self._run_unprotected("a")
            if b == "orphan":
                # It was as far as to begin, and the primary was not: that one's the guest.
                self.say("operator: unpair at b")
                self.result(self.ftctl("b", "unpair", self.label))
            if b == "stopped":
                if self.qemu["a"].qmp("query-status")["status"] == "prelaunch":
                    return self._pair_anew()
                return self._run_unprotected("a")
        return None

    def _a_is_gone(self, b):
        need(self.runs("b"), "both replicas are dead")
        if b == "solo":
            self.promoted = True
            return "b"
        if b in ("backup", "orphan"):
            self.say("operator: promote")
            try:
                pairing.promote(self.b, self.label, patience=SLACK * 15)
            except CommandFailed as error:
                need(self.look()[1] == "solo", f"promote: {error}")
            self.promoted = True
            return "b"
        if b == "idle":
            return self._run_unprotected("b")
        if b in ("stopped", None):
            need(not self.live("a"), f"the guest had begun at A, and B is {b}: nobody lives "
                 f"({self.detail})")
            # Start it anew: the next guest's QEMU is at hand.
            anew = self.rig.take(self.append, "b")["b"]
            marks = self.marks()
            anew.qmp("cont")
            self.prints("b", marks, "shadow")
            anew.kill()
            return "begun anew"
        return None

    def _run_unprotected(self, side):
        """Its pairing is off and its peer gone: the operator lets it run."""
        self.say(f"operator: cont at {side}")
        marks = self.marks()
        end = time.monotonic() + SLACK * 20
        while not two_lines(self._anywhere(side, marks)):
            need(time.monotonic() < end, f"the guest does not run at {side}")
            # ftd may stop it once more: so that it does not run twice.
            if self.qemu[side].qmp("query-status")["status"] != "running":
                self.qemu[side].qmp("cont")
            time.sleep(0.1)
        return side

    def _ring(self, side):
        """What a console that was muted again holds, from its beginning."""
        if self.live(side) or self.shadow(side):
            return ""
        devices = {d["label"]: d["filename"] for d in self.qemu[side].qmp("query-chardev")}
        if devices[pairing.CONSOLE] != "ringbuf":
            return ""		# live, and nothing was printed yet
        self._rings[side] = self._rings.get(side, "") + self.qemu[side].qmp(
            "ringbuf-read", device=pairing.CONSOLE, size=65536).replace("\r", "")
        return self._rings[side]

    def _anywhere(self, side, marks):
        return self.live(side, marks) or self.shadow(side, marks) or self._ring(side)

    def _pair_anew(self):
        """A never began and B never will: the operator starts B's guest again."""
        self.say("operator: mend the cable, start it anew at B, pair again")
        self.parted = False
        self.rig.hosts.wire.restore()
        self.result(self.ftctl("b", "detach", self.label))
        self.qemu["b"].kill()
        self.qemu.update(self.rig.take(self.append, "b"))
        self.attach("b")
        result = self.result(self.pair_job(), 40)
        need(result and not result.code, f"pairing again failed: {result}")
        return self.settle(self.marks())

    def verify(self, outcome):
        """One replica lives and goes on; the other is silent; the output is one machine's."""
        if outcome in ("idle", "begun anew"):
            for side in "ab":
                if self.rig[side].alive:
                    need(not self.live(side), f"a guest that never began printed at {side}")
            return
        side = "a" if outcome in ("lockstep", "a") else "b"
        other = "b" if side == "a" else "a"
        marks = self.marks()
        before = len(self._ring(side))
        while not self.live(side) and not self.shadow(side):
            if two_lines(self._ring(side)[before:]):
                break
            time.sleep(0.05)	# the case's alarm ends this
        else:
            self.prints(side, marks, "shadow" if side == "b" and not self.promoted else "live")
        said = self.live(other, marks)
        need(not said, f"host {other}'s replica talks to the world, too: {said!r}")
        state = self.look()
        mine = state["ab".index(side)]
        need(mine in LIVE or mine == "idle" or (mine is None and self.stage == "over"),
             f"host {side}'s replica lives, and its state is {mine}")
        if outcome == "lockstep":
            need(state == ("primary", "backup"), f"states are {state}")
        else:
            need(state["ab".index(other)] in (None, "orphan", "stopped", "idle"),
                 f"host {other}'s replica is {state['ab'.index(other)]}")
        self.compare()

    def compare(self):
        """What all consoles showed is one guest's output, nothing lost, nothing made up."""
        a, shadow, b = self.live("a"), self.shadow("b"), self.live("b")
        if self.shadow_leaks:
            shadow = output.mended(shadow, a)
        if self.promoted:
            seen = output.compare(a, shadow, b)
            need(seen["same_output"], f"the outputs part: {seen['difference']}")
            need(not seen["lost"], f"{seen['lost']} lines were lost")
            need(seen["repeated"] <= 1, f"{seen['repeated']} lines were repeated")
            whole = seen["full"]
        elif not a and not b:
            whole = shadow or self._ring("ab"["a" not in self._rings])	# never paired, muted
        else:
            need(not b, f"B's console shows {b!r}, and it was not promoted")
            short = min(len(a), len(shadow))
            need(a[:short] == shadow[:short], "the hosts printed different things: "
                 f"{output.difference(a[:short], shadow[:short])}")
            whole = a
        lines = whole.split("\n")[:-1]
        number = 0
        for line in lines:
            if BESIDE.match(line):
                continue
            match = re.fullmatch(LINES[self.guest], line)
            need(match, f"no line of the guest: {line!r}")
            number += 1
            need(int(match[1]) == number, f"line {match[1]} where {number} was due")

    def reads_back(self, outcome):
        """The guest with a disk has read all that it was told is written, and goes."""
        side = "a" if outcome in ("lockstep", "a") else "b"
        where = self.live if side == "a" or self.promoted else self.shadow
        end = time.monotonic() + SLACK * 60
        while not GOOD.search(where(side)):
            need(time.monotonic() < end and self.rig[side].alive,
                 f"the guest at {side} does not end; it says {where(side)[-120:]!r}")
            need("FAILED" not in where(side), where(side)[-300:])
            time.sleep(0.05)
        if outcome == "lockstep":
            while not GOOD.search(self.shadow("b")):
                need(time.monotonic() < end, "the backup's guest does not end")
                time.sleep(0.05)
            a, b = (self.rig[s].run(f"sha256sum < {self.qemu[s].device.image}").out for s in "ab")
            need(a == b, "the images differ")
        self.compare()

    def client(self, side):
        """Sends the guest frames, each until it is answered, and holds the answers against all
        that it has sent. From before the guest begins."""
        self._client = self.rig[side].start("exec " + shlex.join([
            FRAMES, BRIDGE, self.qemu[side].device.mac, "1000000",
            "--patience", str(0.3 * SLACK)]))
        return self._client

    def _client_said(self):
        """For people: why the guest may have nothing to say."""
        if not self._client:
            return ""
        said = bytes(self._client.out).decode().splitlines()[-1:]
        return f"; its client {'waits' if self._client.running else 'has gone'}, and said {said}"

    def answers(self, client):
        """To this client, which is done then."""
        def lines():
            return bytes(client.out).decode().splitlines()

        before, end = len(lines()), time.monotonic() + SLACK * 40
        while len(lines()) < before + 2:	# two, since the first may have been under way
            need(client.running, f"the client: {lines()[-1:]} {bytes(client.err)[-300:]}")
            need(time.monotonic() < end, f"the guest does not answer; it has: {lines()[-1:]}")
            time.sleep(0.05)
        client.kill(9)

    # --- the end -----------------------------------------------------------------

    def close(self):
        """Nothing of it stays, but a QEMU that its host's death took."""
        self.rig.hosts.wire.restore()
        jobs = []
        for host in self.rig.sides():
            self.rig.disarm(host)
            self.qemu[host.name].kill()
            words, label = shlex.quote(paths.ftctl()), self.label
            device = self.qemu[host.name].device
            jobs.append(host.start(
                f"for i in 1 2 3 4 5 6 7 8 9 10; do {words} -j status {label} >/dev/null || break; "
                f"{words} unpair {label}; {words} detach {label} && break; sleep 0.2; done "
                f">/dev/null 2>&1; {device.delete + ';' if device else ''} "
                f"rm -f /run/{self.qemu[host.name].label}.*; true"))
        for job in jobs:
            job.wait(60)
        for host in self.rig.sides():
            self.rig.unhooked(host)
        self.stage = "over"

    def check_kernels(self):
        trouble = self.rig.trouble(self.trouble_marks)
        need(not trouble, "; ".join(trouble[:5]))
        self.trouble_marks = self.rig.marks()
