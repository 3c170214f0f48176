# SPDX-License-Identifier: GPL-2.0
"""Who goes on when the hosts have lost each other: an operator decides, or an arbiter."""
import os
import random
import time

from ftbed.guest import CONSOLE, QMP
from harness import add, need, need_match, pairing, paths, test
from ftbed.pairing import THIRD

LONG = "rounds=100000 work=150"
SECONDS = 1.0	# long enough for many lines of the guest's


def _stands_still(pair, host):
    """Nothing leaves it; what left before may still be on its way."""
    time.sleep(SECONDS / 4)
    mark = host.live.mark()
    time.sleep(SECONDS)
    said = host.live.text(mark)
    need(not said, f"host {host.name}'s replica talks to the world: {said!r}")
    return pair


def _lose_each_other(t, pair):
    t.hosts.wire.cut()
    pair.wait_state(t.a, "undecided")
    pair.wait_state(t.b, "orphan")


# --- by hand ------------------------------------------------------------------

def _parted(t, **options):
    pair = t.pair("loop", append=LONG)
    pair.join(timeout="500", on_loss="hold", **options)
    pair.lockstep(10)
    need(pair.status(t.a)["on_loss"] == "hold", f"status: {pair.status(t.a)}")
    return pair


@test(kills=True, more=1)
def hold_and_promote(t):
    """The backup is lost: the primary stands still until somebody says that it may go on."""
    pair = _parted(t)
    t.b.power_off()
    pair.wait_state(t.a, "undecided")
    pair.wait_event(t.a, "peer-lost")
    _stands_still(pair, t.a)
    t.refused(t.a, "unpair", pair.label, cause="to be decided", remedy="promote")
    t.refused(t.a, "set", pair.label, "--on-loss", "solo", cause="fixed")
    t.refused(t.a, "detach", pair.label, cause="lost its peer", remedy="promote")
    # its QEMU answers, and may be stopped
    pair.guests["a"].qmp("stop")
    pair.guests["a"].qmp("cont")
    pairing.ftctl(t.a, "promote", pair.label)
    need(pair.state(t.a) == "solo", f"it is {pair.state(t.a)}")
    pair.goes_on(t.a, 10)
    pair.wait_event(t.a, "promoted")
    t.refused(t.a, "fence", pair.label, cause="only one that has lost its peer")


@test()
def hold_and_fence(t):
    """The cable breaks: one is fenced, the other one promoted, and nothing is lost."""
    pair = _parted(t)
    t.refused(t.a, "fence", pair.label, cause="only one that has lost its peer")
    t.refused(t.b, "fence", pair.label, cause="only one that has lost its peer")
    _lose_each_other(t, pair)
    pairing.ftctl(t.a, "fence", pair.label)
    need(pair.status(t.a)["reason"] == "fenced", f"status: {pair.status(t.a)}")
    pairing.promote(t.b)
    pair.goes_on(t.b, 10)
    _stands_still(pair, t.a)
    need(pair.state(t.a) == "stopped", f"the fenced one is {pair.state(t.a)}")
    pair.one_machine(promoted=True)
    t.hosts.wire.restore()


@test(more=1)
def hold_and_fence_the_backup(t):
    """The same the other way round."""
    pair = _parted(t)
    _lose_each_other(t, pair)
    pairing.ftctl(t.b, "fence", pair.label)
    need(pair.state(t.b) == "stopped", f"the fenced one is {pair.state(t.b)}")
    t.refused(t.b, "promote", pair.label, cause="stopped")
    pairing.ftctl(t.a, "promote", pair.label)
    pair.goes_on(t.a, 10)
    pair.one_machine()
    t.hosts.wire.restore()


@test(more=1)
def hold_killed(t):
    """A held guest's QEMU is killed, in the midst of whatever it does."""
    pair = _parted(t)
    t.hosts.wire.cut()
    pair.wait_state(t.a, "undecided")
    pair.guests["a"].kill()
    pair.wait_event(t.a, "guest-ended")
    pairing.promote(t.b)
    pair.goes_on(t.b, 10)
    t.hosts.wire.restore()


@test(timeout=600, more=1)
def backup_that_stands_still(t):
    """Its QEMU does not go on, and its host lives: the primary waits for it, but not for ever."""
    pair = t.pair("loop", append=LONG)
    pair.join(timeout="500")
    pair.lockstep(10)
    t.b.run("pkill -STOP -x qemu-system-x86")
    mark = -1
    while mark != t.a.live.mark():
        mark = t.a.live.mark()
        time.sleep(SECONDS)
    need(pair.state(t.a) == "primary", f"it is {pair.state(t.a)}")
    status = pair.wait_state(t.a, "solo", timeout=90)
    need(status["reason"] == "peer-silent", f"status: {status}")
    need_match("has not gone on for 60 s", status["detail"], "cause")
    pair.goes_on(t.a, 20)
    t.b.run("pkill -CONT -x qemu-system-x86")
    pair.wait_state(t.b, "stopped")
    pair.one_machine()


@test(more=1)
def hold_ends_by_unpair(t):
    """Unpaired in order there is nothing to decide: the backup has said that it stopped."""
    pair = _parted(t)
    pairing.ftctl(t.a, "unpair", pair.label)
    need(pair.state(t.a) == "solo", f"the primary is {pair.state(t.a)}")
    pair.wait_state(t.b, "stopped")
    pair.goes_on(t.a, 10)


@test(timeout=180)
def hold_timer(t):
    """A guest that checks its own interrupts is held and let go on: none is missing."""
    pair = t.pair("timer", append="ticks=400")
    pair.join(timeout="500", on_loss="hold")
    pair.wait_live(t.a, r"timer: x2apic")
    t.hosts.wire.cut()
    pair.wait_state(t.a, "undecided")
    time.sleep(SECONDS)
    pairing.ftctl(t.a, "promote", pair.label)
    pair.wait_live(t.a, r"timer: done", 120)
    t.hosts.wire.restore()


# --- by an arbiter --------------------------------------------------------------

class _Arbiter:
    """What they share is there until a test's end."""

    def __init__(self, t):
        self.test = t

    def close(self):
        self.test.hosts.wire.restore()
        for host in self.test.hosts:
            if host.alive:
                self.test.down(host)
                host.run(pairing.third_end_script())


def _arbitrated(t, more=""):
    """ftd of both hosts with one arbiter, in files that both reach; where they are."""
    t.things.append(_Arbiter(t))
    for host in t.hosts:
        t.configure(host, f"[arbiter]\ntype = file\npath = {THIRD}/sessions\n{more}")
        host.run(f"{pairing.third_script()}; mkdir -p {THIRD}/sessions")
    return os.path.join(t.hosts.third, "sessions")


def _protected(t, more=""):
    where = _arbitrated(t, more)
    pair = t.pair("loop", append=LONG)
    pair.join(timeout="500")
    pair.lockstep(10)
    need(pair.status(t.a)["on_loss"] == "hold", f"status: {pair.status(t.a)}")
    need(len(os.listdir(where)) == 1, f"sessions: {os.listdir(where)}")
    return pair, where


def sessions(where):
    """What the arbiter has of each, and who began it."""
    found = []
    for name in os.listdir(where):
        for state in os.listdir(os.path.join(where, name)):
            with open(os.path.join(where, name, state), encoding="utf-8") as file:
                found.append((state, file.read().strip()))
    return found


def _log(host):
    return host.run("cat /run/ftd.log").out


@test(kills=True)
def arbiter_primary_dies(t):
    """The power is cut at A, and nobody is there to promote B. A try to protect it again that finds
    nobody leaves nothing at the arbiter: nobody was told of it."""
    pair, where = _protected(t)
    first = os.listdir(where)
    t.a.power_off()
    pair.goes_on(t.b, 10)
    pair.one_machine(promoted=True)
    need(pair.state(t.b) == "solo", f"the survivor is {pair.state(t.b)}")
    t.refused(t.b, "protect", pair.label, "--peer", f"{t.b.address}:1", cause="cannot reach ftd",
              remedy="is the host up")
    _forgotten(where, but=first)


@test(kills=True, more=1)
def arbiter_backup_dies(t):
    """The power is cut at B, and A goes on by itself."""
    pair, _ = _protected(t)
    t.b.power_off()
    pair.wait_state(t.a, "solo")
    pair.goes_on(t.a, 10)
    need("it goes on here, says the arbiter" in _log(t.a), _log(t.a))


def _wait_heard(pair, host, what):
    """What the arbiter said last, as ftctl tells it."""
    end = time.monotonic() + paths.SLOWNESS * 20
    while True:
        arbiter = pair.status(host)["arbiter"]
        need(arbiter["type"] == "file" and len(arbiter["session"]) == 36, f"status: {arbiter}")
        if arbiter["heard"] == what:
            return
        need(time.monotonic() < end, f"the arbiter is not {what}: {arbiter}")
        time.sleep(0.1)


def _one_lives(t, pair):
    """Exactly one of them, the other one has stopped, and the output is one machine's."""
    for host in t.hosts:
        pair.wait_state(host, "solo", "stopped")
    states = {pair.state(host): host for host in t.hosts}
    need(sorted(states) == ["solo", "stopped"], f"the replicas are {sorted(states)}")
    alive = states["solo"]
    pair.goes_on(alive, 10)
    _stands_still(pair, states["stopped"])
    pair.one_machine(promoted=alive is t.b)


def _parting(direction):
    def run(t):
        pair, where = _protected(t)
        t.hosts.wire.cut(direction)
        _one_lives(t, pair)
        t.hosts.wire.restore()
        need(len(os.listdir(where)) >= 1, "the verdict was forgotten")
    return run


@test()
def arbiter_partition(t):
    """The cable breaks: exactly one lives, and nobody had to say which."""
    _parting("")(t)


@test(more=1)
def arbiter_partition_one_way(t):
    """The same, when only one of them is not heard any more."""
    _parting("a")(t)


@test(more=1)
def arbiter_out_of_reach(t):
    """Nobody is promoted, and nothing leaves; once it can be asked again one of them lives."""
    pair, where = _protected(t)
    for host in t.hosts:
        _wait_heard(pair, host, "known")
    os.rename(where, where + ".away")
    _lose_each_other(t, pair)
    for host in t.hosts:
        _stands_still(pair, host)
        _wait_heard(pair, host, "no-answer")
        text = t.ftctl(host, "status", pair.label).out
        need("arbiter  file, DOES NOT ANSWER (" in text, text)
        need("does not say who goes on" in _log(host), _log(host))
    need(pair.state(t.a) == "undecided" and pair.state(t.b) == "orphan", "somebody went on")
    os.rename(where + ".away", where)
    _one_lives(t, pair)
    t.hosts.wire.restore()


@test(kills=True, more=1)
def arbiter_ftd_was_away(t):
    """ftd is dead when the primary dies: the next one asks."""
    pair, _ = _protected(t)
    pairing.kill_daemon(t.b)
    t.a.power_off()
    time.sleep(SECONDS)
    need(not pair.live(t.b), "it went live with nobody to say so")
    pairing.start_daemon(t.b)
    pair.goes_on(t.b, 10)
    pair.one_machine(promoted=True)


@test(timeout=180, more=1)
def arbiter_and_clocks_that_jump(t):
    """The hosts' clocks are set, by days: nobody misses anybody, and the arbiter decides as ever."""
    pair, where = _protected(t)
    _set_clocks(t, 86400, -86400)
    pair.goes_on(t.a, 10)
    _set_clocks(t, -2 * 86400, 7200)
    pair.lockstep(10)
    states = [pair.state(host) for host in t.hosts]
    need(states == ["primary", "backup"], f"the replicas are {states}")
    os.rename(where, where + ".away")
    _lose_each_other(t, pair)
    _set_clocks(t, 3 * 86400, -3 * 86400)
    for host in t.hosts:
        _stands_still(pair, host)
    os.rename(where + ".away", where)
    _one_lives(t, pair)
    t.hosts.wire.restore()
    _set_clocks(t, -2 * 86400, 4 * 86400 - 7200)


def _set_clocks(t, *seconds):
    for host, add_up in zip(t.hosts, seconds):
        host.run(f"date -s @$(($(date +%s) + {add_up}))")


@test()
def arbiter_of_another_kind(t):
    """The backup's host has no such arbiter: the pairing is refused, and the guest may be tried again."""
    where = _arbitrated(t)
    t.configure(t.b, "[arbiter]\ntype = manual\n")
    pair = t.pair("loop", append=LONG)
    t.refused(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}", cause="arbiter",
              remedy="ftd.conf")
    need(pair.state(t.a) == "idle" and not os.listdir(where), f"left: {os.listdir(where)}")


def _forgotten(where, but=()):
    """No session is there, but for these."""
    end = time.monotonic() + paths.SLOWNESS * 20
    while set(os.listdir(where)) - set(but):
        need(time.monotonic() < end, f"the session is still there: {os.listdir(where)}")
        time.sleep(0.1)


@test(more=1)
def arbiter_and_unpair(t):
    """Unpaired in order: nobody asks, and the session is forgotten."""
    pair, where = _protected(t)
    pairing.ftctl(t.a, "unpair", pair.label)
    need(pair.state(t.a) == "solo", f"the primary is {pair.state(t.a)}")
    pair.wait_state(t.b, "stopped")
    _forgotten(where)


@test(kills=True)
def arbiter_and_fence_hook(t):
    """The hook is run before the backup goes live; while it fails the backup does not."""
    hook = "/run/hook"
    for host in t.hosts:
        host.run(f"printf '#!/bin/sh\\necho \"$@\" >> /run/hook.log\\n[ -e /run/off ]\\n' > {hook}; "
                 f"chmod +x {hook}")
    pair, _ = _protected(t, f"[fence]\nhook = {hook}\n")
    t.a.power_off()
    pair.wait_state(t.b, "orphan")
    end = time.monotonic() + paths.SLOWNESS * 20
    while "fence hook" not in _log(t.b):
        need(time.monotonic() < end, "the hook's failure is not told")
        time.sleep(0.1)
    need(pair.state(t.b) == "orphan", "it went on though the hook failed")
    t.b.run("touch /run/off")
    pair.goes_on(t.b, 10)
    said = t.b.run("cat /run/hook.log").out
    need(said.startswith(f"{pair.label} {t.a.address}"), f"the hook was told {said!r}")
    pair.one_machine(promoted=True)


@test(kills=True, more=1)
def arbiter_attached_and_paired_at_once(t):
    """`ftctl pair --qmp`: the same protection."""
    where = _arbitrated(t)
    pair = t.pair("loop", append=LONG, attach=False)
    pairing.attach(t.b)
    pairing.ftctl(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}", "--timeout", "500",
                  "--qmp", QMP, "--console", f"{CONSOLE}=tty:/dev/ttyS1")
    pair.lockstep(10)
    need(len(os.listdir(where)) == 1, f"sessions: {os.listdir(where)}")
    t.b.power_off()
    pair.wait_state(t.a, "solo")
    pair.goes_on(t.a, 10)


@test(more=1)
def arbiter_unreachable_solo(t):
    """when-unreachable = solo: the primary goes on though nobody can be asked; the backup does not."""
    pair, where = _protected(t, "when-unreachable = solo\n")
    os.rename(where, where + ".away")
    t.hosts.wire.cut()
    pair.wait_state(t.a, "solo")
    pair.goes_on(t.a, 10)
    pair.wait_state(t.b, "orphan")
    os.rename(where + ".away", where)
    # whoever asks first has it; that both live is the risk that it is, and said
    pair.wait_state(t.b, "stopped", "solo")
    if pair.state(t.b) == "solo":
        end = time.monotonic() + paths.SLOWNESS * 20
        while "MAY BE ON THE OTHER HOST" not in _log(t.a):
            need(time.monotonic() < end, "both live, and A does not say so")
            time.sleep(0.1)


@test(more=1)
def arbiter_unpaired_too_late(t):
    """The cable is broken when the primary is unpaired: the arbiter decides, and the loser stops."""
    pair, _ = _protected(t)
    t.hosts.wire.cut()
    result = pairing.ftctl(t.a, "unpair", pair.label, check=False)
    need(result.code == 0 or "to be decided" in result.err or "not paired" in result.err, str(result))
    _one_lives(t, pair)


@test(more=1)
def arbiter_is_asked_for_operators(t):
    """One that the arbiter has not let go on is promoted by nobody; and a fence tells it so."""
    pair, where = _protected(t)
    os.rename(where, where + ".away")
    _lose_each_other(t, pair)
    t.refused(t.b, "promote", pair.label, cause="can't say whether the guest goes on", remedy="--force")
    for host in t.hosts:
        host.run("kill -STOP $(cat /run/ftd.pid)")
    os.rename(where + ".away", where)
    t.a.run("kill -CONT $(cat /run/ftd.pid)")
    pair.wait_state(t.a, "solo")
    t.b.run("kill -CONT $(cat /run/ftd.pid)")
    pair.wait_state(t.b, "stopped")
    t.refused(t.b, "promote", pair.label, cause="stopped")
    pair.goes_on(t.a, 10)
    pair.one_machine()


# --- at random: make partition ----------------------------------------------------

CASES = 50

# For a host's shell. What it stops may be killed, by its time-out or by the test.
STOP_FTD = "p=$(cat /run/ftd.pid); kill -STOP $p; sleep {s:.3f}; kill -CONT $p"
STOP_QUESTIONS = """p=$(cat /run/ftd.pid); end=$(($(date +%s%3N) + {ms}))
while [ $(date +%s%3N) -lt $end ]; do
    kill -STOP $(cat /proc/$p/task/*/children) || :
    sleep 0.005
done 2>/dev/null
kill -CONT $(cat /proc/$p/task/*/children 2>/dev/null) 2>/dev/null; true"""


class _Case:
    """What happens to two hosts, one thing after the other; told when it goes wrong."""

    def __init__(self, t, pair, where, rng):
        self.test, self.pair, self.where, self.rng = t, pair, where, rng
        self.dead = None
        self.daemonless = set()
        self.story = []

    def cut(self):
        which = self.rng.choice(("", "", "a", "b"))
        self.story.append(f"cut {which or 'both ways'}")
        self.test.hosts.wire.cut(which)

    def flap(self):
        self.story.append("flap")
        for _ in range(self.rng.randint(1, 4)):
            self.test.hosts.wire.cut(self.rng.choice(("", "a", "b")))
            time.sleep(self.rng.uniform(0.02, 0.4))
            self.test.hosts.wire.restore()
            time.sleep(self.rng.uniform(0.02, 0.2))

    def power_off(self):
        name = self.rng.choice("ab")
        self.story.append(f"power off {name}")
        self.test.hosts[name].power_off()
        self.dead = name

    def kill_daemon(self):
        name = self.rng.choice("ab")
        if name in self.daemonless or name == self.dead:
            return
        self.story.append(f"kill ftd {name}")
        pairing.kill_daemon(self.test.hosts[name])
        self.daemonless.add(name)

    def kill_qemu(self):
        name = self.rng.choice("ab")
        if self.dead:
            return
        self.story.append(f"kill QEMU {name}")
        self.pair.guests[name].kill()
        self.dead = name

    def lose_arbiter(self):
        if os.path.exists(self.where):
            self.story.append("arbiter away")
            os.rename(self.where, self.where + ".away")

    def find_arbiter(self):
        if not os.path.exists(self.where):
            self.story.append("arbiter back")
            os.rename(self.where + ".away", self.where)

    def slow(self):
        """Who asks stands still for a while, whatever it is at: ftd, or the child that has its question."""
        name, what = self.rng.choice("ab"), self.rng.choice(("ftd", "questions"))
        seconds = self.rng.uniform(0.2, 4)
        if name == self.dead or name in self.daemonless:
            return
        self.story.append(f"slow {what} {name} {seconds:.1f} s")
        script = STOP_FTD if what == "ftd" else STOP_QUESTIONS
        # not a job of the test's: it ends by itself, and must, or what it stopped stays so
        self.test.hosts[name].start(script.format(s=seconds, ms=int(seconds * 1000)))

    def mend(self):
        """All but what is dead, and the cable: one of them must go on then."""
        self.find_arbiter()
        for name in self.daemonless - {self.dead}:
            pairing.start_daemon(self.test.hosts[name])

    def ends(self):
        """Exactly one lives."""
        pair, hosts = self.pair, self.test.hosts
        if self.dead:
            alive = hosts["b" if self.dead == "a" else "a"]
            state = pair.wait_state(alive, "solo", "stopped")["state"]
            # the one that is dead now may have won before: nothing else may have stopped this one
            if state == "stopped":
                role = "primary" if self.dead == "a" else "backup"
                verdicts = [name for name, _ in sessions(self.where)]
                need(verdicts == [f"won-{role}"], f"the {role} is dead, the other one has stopped, and the "
                     f"arbiter has {verdicts}")
                need(alive is hosts.a or not pair.live(alive), "the fenced one was live")
                return
        else:
            states = {pair.wait_state(host, "solo", "stopped")["state"]: host for host in hosts}
            need(sorted(states) == ["solo", "stopped"], f"the replicas are {sorted(states)}")
            alive = states["solo"]
            _stands_still(pair, states["stopped"])
        pair.goes_on(alive, 10)
        pair.one_machine(promoted=alive is hosts.b)


def _at_random(number):
    def run(t):
        seed = int(os.environ.get("SEED") or 1)
        rng = random.Random(seed * 1000 + number)
        pair, where = _protected(t)
        case = _Case(t, pair, where, rng)
        time.sleep(rng.uniform(0, 1))
        ending = rng.choice((case.cut, case.cut, case.flap, case.power_off, case.kill_qemu))
        before = [case.lose_arbiter, case.kill_daemon, case.flap, case.slow]
        after = [case.find_arbiter, case.lose_arbiter, case.kill_daemon, case.slow]
        try:
            for one in rng.sample(before, rng.randint(0, 1)) + [ending] + \
                    rng.sample(after, rng.randint(0, 2)):
                one()
                time.sleep(rng.uniform(0, 0.6))
            if not case.dead:
                t.hosts.wire.cut()
            case.mend()
            case.ends()
        except BaseException:
            print(f"     SEED={seed}: {case.story}", flush=True)
            raise
    return run


for case in range(1, CASES + 1):
    add(f"partition_{case:02}", _at_random(case), kills=True, more=1, timeout=180)
