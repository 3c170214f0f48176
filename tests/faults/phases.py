# SPDX-License-Identifier: GPL-2.0
"""What is under way when a fault comes, one function for each phase of the table.

Each brings the session to where its phase begins, arms the point, sets the
phase going, waits until the point acts, does the driver's part of the action
(the wire, the power), and lets the operator settle and the session verify it.
"""
import time

from cases import SECOND_MADE
from rig import DEBUGFS, SLACK, HostDied, need, pairing, paths

# A point that can't sleep spins, with the host at a standstill: see fault.c.
HOLD_MS = 8000
BRIEF_MS = 120		# shorter than the time-out
STALL_MS = 1500		# longer


class NotReached(Exception):
    """The point did not act: nothing was tested."""


def order(case):
    """What the point is told."""
    numbers = {"hold": f"hold {BRIEF_MS}", "stall": f"hold {STALL_MS}", "cut": "cut",
               "qemu": "signal $QEMU 9", "ftd": "signal $FTD 9", "vcpu": "signal $VCPU 10",
               "fail": f"fail {case.error}", "flip": f"flip {case.bit}",
               "short": f"short {case.size}", "leave": f"hold {STALL_MS}"}
    action = numbers.get(case.action, f"hold {HOLD_MS}")
    return f"{case.point.name} {case.nth}{'+' if case.on else ''} {action}"


class Fault:
    """A point armed, until it acts and the driver has done its part."""

    def __init__(self, session, case):
        self.session, self.case = session, case
        self.rig = session.rig
        self.host = session.rig[case.side]
        self._mark = self.host.dmesg.mark()
        try:
            self.rig.arm(self.host, session.qemu[case.side], order(case))
        except HostDied:
            # the point was passed before the shell that armed it had ended
            if case.action != "cut" or not self.acted():
                raise
        session.say(f"{case.side}: armed: {order(case)}")

    def acted(self):
        return f"fault: {self.case.point.name}\n" in self.host.dmesg.text(self._mark)

    def await_hit(self, job=None, timeout=20):
        """job: a command that passes the point; when it has ended, the point is not far."""
        end = time.monotonic() + paths.SLOWNESS * timeout
        late = None
        while not self.acted():
            now = time.monotonic()
            if self.case.action == "cut" and not self.host.alive:
                break
            if job is not None and not job.running and late is None:
                late = now + 6 * paths.SLOWNESS
            if now > end or (late and now > late):
                self.rig.disarm(self.host)
                if self.acted():
                    break
                raise NotReached
            if not self.host.alive:
                raise RuntimeError(f"host {self.host.name} died before the fault")
            time.sleep(0.003)

    def act(self):
        """The driver's part."""
        getattr(self, "_" + self.case.action, lambda: None)()

    def hit(self, job=None, timeout=20):
        self.await_hit(job, timeout)
        self.session.say(f"{self.case.side}: acted")
        marks = self.session.marks()
        self.act()
        return marks

    # --- actions ---------------------------------------------------------------

    def _cut(self):
        end = time.monotonic() + 10
        while self.host.alive:
            need(time.monotonic() < end, "the host did not lose its power")
            time.sleep(0.005)
        self.rig.lost(self.host)

    def _part(self):
        self.session.parted = True
        self.rig.hosts.wire.cut(self.case.direction)
        self.rig.release(self.host)

    def _blip(self):
        """A wire that is cut for less than the time-out."""
        self.rig.hosts.wire.cut(self.case.direction)
        self.rig.release(self.host)
        time.sleep(0.15)
        self.rig.hosts.wire.restore()

    def _late(self):
        """Frames that come late, all of them."""
        self.rig.hosts.wire.stall(self.case.direction)
        self.rig.release(self.host)
        time.sleep(0.3)
        self.rig.hosts.wire.restore()

    def _die(self):
        """To the peer this is a power cut: silence, and the guest runs no more."""
        self.rig.hosts.wire.cut()
        self.session.qemu[self.case.side].kill()
        self.rig.release(self.host)
        self._qemu()

    def _qemu(self):
        end = time.monotonic() + SLACK * 20
        while self.session.qemu[self.case.side].running:
            need(time.monotonic() < end, "QEMU was killed and does not end")
            time.sleep(0.005)

    def _ftd(self):
        self.rig.restart_daemon(self.host)
        self.session.ftd_killed = True

    def _rmmod(self):
        job = self.host.start("rmmod ftkvm")
        time.sleep(0.1)
        # where nobody else holds the module it goes, and its file can't be opened: see leave()
        self.rig.release(self.host, check=False)
        result = job.wait(60)
        self.session.say(f"{self.case.side}: rmmod: {result.code} {result.err.strip()}")
        if not result.code:
            pairing.load_module(self.host)


def finish(session, case, outcome):
    """The wire is whole again; what came of it is checked."""
    session.say(f"outcome: {outcome}")
    session.rig.hosts.wire.restore()
    session.parted = False
    for host in session.rig.sides():
        session.rig.disarm(host)
    session.verify(outcome)
    case.outcome = outcome
    if outcome == "lockstep":
        # A bit that went past the checksum may lie in wait at B.
        session.stage = "over" if case.action == "flip" else "lockstep"
    elif outcome in ("a", "b"):
        session.stage, session.alone = "alone", outcome
    else:
        session.stage = "over"


def run(session, case):
    """Both replicas run."""
    session.to_lockstep()
    fault = Fault(session, case)
    marks = fault.hit()
    finish(session, case, session.settle(marks))


def verify(session, case):
    """Both replicas run, and are compared all the while: what is wrong at B is named."""
    run(session, case)
    if case.wrong:
        need(case.outcome == "a", f"{case.wrong} is wrong, and the outcome is {case.outcome}")
        need(f"{case.wrong} differs" in session.detail,
             f"{case.wrong} is wrong, and what is said is {session.detail!r}")


def disk(session, case):
    """The same, with a disk; its guest then reads back whatever it was told is written."""
    run(session, case)
    session.reads_back(case.outcome)
    session.stage = "over"


def net(session, case):
    """The same, with a card: a client, at the host that is spared, is answered all the while."""
    client = session.client("b" if case.side == "a" else "a")
    run(session, case)
    session.answers(client)
    session.stage = "over"


def lag(session, case):
    """The backup stands still, the primary runs on until it may not."""
    session.to_lockstep()
    session.rig.arm(session.b, session.qemu["b"], "FOLLOW_SYNC 1 hold 20000")
    fault = Fault(session, case)
    try:
        marks = fault.hit(timeout=15)
    finally:
        session.rig.release(session.b)
    finish(session, case, session.settle(marks))


def silence(session, case):
    """The wire is cut: each side notices for itself."""
    session.to_lockstep()
    fault = Fault(session, case)
    session.rig.hosts.wire.cut()
    marks = fault.hit()
    finish(session, case, session.settle(marks))


def second(session, case):
    """Both replicas run, and their hosts hear each other by two paths; then by one."""
    job = None
    if case.point.name in SECOND_MADE:
        if session.stage == "fresh":
            session.attach()
        fault = Fault(session, case)
        job = session.pair_job()
    else:
        session.to_lockstep()
        session.hears_by_both()
        fault = Fault(session, case)
    marks = fault.hit(job)
    session.result(job, 40)
    outcome = session.settle(marks)
    if outcome == "lockstep":
        # whatever has become of the second path, at most one goes on
        session.parted = True
        session.rig.hosts.wire.lose("main")
        outcome = session.settle(session.marks())
        need(outcome == "a", f"the link is lost, and the survivor is {outcome}")
    finish(session, case, outcome)


def held(session, case):
    """B is lost; A stands still until it is told to go on."""
    session.to_lockstep()
    session.rig.hosts.wire.cut()
    session.qemu["b"].kill()
    session.await_state("a", "undecided", "the primary does not notice")
    fault = Fault(session, case)
    job = session.ftctl("a", "promote", session.label)
    marks = fault.hit(job)
    session.result(job)
    finish(session, case, session.settle(marks))
    need(case.outcome == "a", f"the survivor is {case.outcome}")


def pair(session, case):
    """`ftctl pair`, until the first instruction and the roles."""
    if session.stage == "fresh":
        session.attach()
    fault = Fault(session, case)
    job = session.pair_job()
    marks = fault.hit(job)
    session.result(job, 40)
    settle_pairing(session, case, marks)


def settle_pairing(session, case, marks):
    outcome = session.settle(marks)
    if outcome == "idle":
        # It failed before it began: the operator tries again.
        session.parted = False
        session.say("idle")
        session.rig.hosts.wire.restore()
        for host in session.rig.sides():
            session.rig.disarm(host)
        result = session.result(session.pair_job(), 40)
        need(result and not result.code, f"pairing again failed: {result}")
        outcome = session.settle(session.marks())
        need(outcome in ("lockstep", "a"), f"pairing again ended with {outcome}")
    finish(session, case, outcome)


def attach(session, case):
    """`ftctl attach`: as if it had not been, or it is; and then it can be done."""
    side, host = case.side, session.rig[case.side]
    fault = Fault(session, case)
    job = session.attach_job(side)
    fault.hit(job)
    result = session.result(job)
    case.outcome = "attached" if result and not result.code else "refused"
    if not session.runs(side):
        # The guest had not begun: it is started anew, on whichever host.
        if host.alive:
            session.rig.unhooked(host)
        session.stage = "over"
        case.outcome = "begun anew"
        return
    session.rig.disarm(host)
    state = session.look()["ab".index(side)]
    if case.outcome == "refused" and state is None:
        session.rig.unhooked(host)
    if case.outcome == "refused":
        session.attach(side)
    need(session.look()["ab".index(side)] == "idle", "attached, and not idle")
    session.attach("b" if side == "a" else "a")


def takeover(session, case):
    """A is dead, B is promoted."""
    session.to_lockstep()
    if case.silent:
        session.rig.hosts.wire.cut()
    session.qemu["a"].kill()
    session.await_state("b", "orphan", "the backup does not notice")
    fault = Fault(session, case)
    job = session.ftctl("b", "promote", session.label)
    marks = fault.hit(job)
    session.result(job)
    finish(session, case, session.settle(marks))
    need(case.outcome == "b", f"the survivor is {case.outcome}")


def fence(session, case):
    """B is promoted by force, A lives and is linked."""
    session.to_lockstep()
    fault = Fault(session, case)
    job = session.ftctl("b", "promote", session.label, "--force")
    marks = fault.hit(job)
    result = session.result(job)
    finish(session, case, session.settle(marks))
    if result and not result.code:
        need(case.outcome == "b", f"promoted, and the survivor is {case.outcome}")


def _from(case):
    """Which side begins it: a point on the peer's way is armed at the other one."""
    if case.point.name in ("GOT_BYE", "BYE_GOT", "BYE_TAKEN"):
        return "b" if case.side == "a" else "a"
    return case.side


def unpair(session, case):
    """The operator ends the pairing, at either side."""
    session.to_lockstep()
    fault = Fault(session, case)
    job = session.ftctl(_from(case), "unpair", session.label)
    marks = fault.hit(job)
    session.result(job)
    finish(session, case, session.settle(marks))
    need(case.outcome == "a", f"unpaired, and the survivor is {case.outcome}")


def gone(session, case):
    """A QEMU is killed, its host lives."""
    session.to_lockstep()
    dies = _from(case)
    fault = Fault(session, case)
    session.qemu[dies].kill()
    marks = fault.hit()
    finish(session, case, session.settle(marks))
    need(case.outcome != dies, f"its QEMU is dead, and {dies} is the survivor")


def detach(session, case):
    """A replica is let go of: one that lives, or one that never will."""
    session.to_lockstep()
    if session.stage == "lockstep":
        session.result(session.ftctl("a", "unpair", session.label))
        finish(session, case, session.settle(session.marks()))
    side, host = case.side, session.rig[case.side]
    if not session.runs(side) or not session.runs(session.alone):
        raise NotReached
    if side != session.alone and session.look()["ab".index(side)] == "orphan":
        session.result(session.ftctl(side, "unpair", session.label))
    fault = Fault(session, case)
    job = session.ftctl(side, "detach", session.label)
    fault.hit(job)
    result = session.result(job, 60)
    session.rig.hosts.wire.restore()
    session.stage = "over"
    if session.runs(side):
        session.rig.disarm(host)
        if session.look()["ab".index(side)]:
            need(result.code or case.action == "ftd", "detached, and it is still there")
            result = session.result(session.ftctl(side, "detach", session.label))
            need(not result.code, f"detaching again failed: {result}")
    if host.alive:
        session.rig.unhooked(host)
    # Whatever became of the replica, the guest that lives does not notice.
    marks = session.marks()
    where = "live" if session.alone == "a" or session.promoted else "shadow"
    session.prints(session.alone, marks, where)
    session.compare()
    case.outcome = "detached"


def init(session, case):
    """The module's load fails, and then it can be loaded."""
    host = session.rig[case.side]
    mark = host.dmesg.mark()
    # The last guest's replica may be on its way out.
    host.run("n=0; until rmmod ftkvm 2>/dev/null; do n=$((n+1)); [ $n -lt 50 ] || exit 1; "
             "sleep 0.1; done")
    result = host.run(f"insmod {paths.module()} fault='\"{order(case)}\"'", check=False)
    session.say(f"insmod: {result.code} {result.err.strip()}")
    if not host.dmesg.wait_for(f"fault: {case.point.name}\\b", 3, mark):
        pairing.load_module(host)
        raise NotReached
    need(result.code, "loaded although a part of it failed")
    need(host.run("lsmod | grep -c ^ftkvm; true").out.strip() == "0", "it stayed, half loaded")
    need(host.run(f"[ ! -e {DEBUGFS} ]", check=False).code == 0, "its debugfs directory stayed")
    pairing.load_module(host)
    case.outcome = "refused"


def leave(session, case):
    """The module is unloaded while a guest is to be attached."""
    side, host = case.side, session.rig[case.side]
    fault = Fault(session, case)
    unload = host.start("rmmod ftkvm")
    fault.await_hit(unload)
    job = session.attach_job(side)
    # Nobody opens a file of a module that goes: it holds for as long as it was told to.
    attached = session.result(job)
    unloaded = unload.wait(60)
    session.say(f"rmmod: {unloaded.code} {unloaded.err.strip()}")
    need(attached.code or unloaded.code, "unloaded, with a guest attached")
    if not unloaded.code:
        pairing.load_module(host)
    if attached.code:
        session.attach(side)
    session.attach("b" if side == "a" else "a")
    case.outcome = "unloaded" if not unloaded.code else "attached"


PHASES = {"disk": disk, "net": net, "init": init, "exit": leave, "attach": attach, "pair": pair,
          "run": run, "lag": lag, "silence": silence, "takeover": takeover, "fence": fence,
          "unpair": unpair, "gone": gone, "detach": detach, "second": second, "held": held,
          "verify": verify}

# Where a session must be, at the latest, for a phase to begin.
STAGES = {"disk": ("fresh",), "net": ("fresh",), "init": ("fresh",), "exit": ("fresh",),
          "attach": ("fresh",), "second": ("fresh",), "held": ("fresh",), "verify": ("fresh",),
          "pair": ("fresh", "attached"), "detach": ("fresh", "attached", "lockstep", "alone")}
EARLIER = ("fresh", "attached", "lockstep")


def may_begin(session, case):
    if case.phase == "special":
        return session.stage in case.stages
    if case.phase == "detach":
        if not session.runs(case.side):
            return False
        if case.action in ("qemu", "cut") and session.alone == case.side:
            return False	# that would be the end of the guest
    return session.stage in STAGES.get(case.phase, EARLIER)


def execute(session, case):
    if case.phase == "special":
        case.execute(session)
    else:
        PHASES[case.phase](session, case)
