# SPDX-License-Identifier: GPL-2.0
"""Which faults are made: each point of the table, in each phase, on each side, and what
makes sense there.

A fault that would be a second one (the survivor dies, too) is none of these: no
two hosts survive that.
"""
import random

import table
from rig import SECOND, pairing

EAGAIN, ENOMEM, ENOBUFS, EPIPE, ECONNRESET, EHOSTUNREACH, EINTR = 11, 12, 105, 32, 104, 113, 4
SOCKET_ERRORS = (EAGAIN, EINTR, EPIPE, ECONNRESET, ENOMEM, ENOBUFS, EHOSTUNREACH)

# The vCPU thread passes them, as it waits or is about to.
WAITS = {"START_READY", "START_WAIT", "START_EQUAL", "ROOM_WAIT", "COMMIT_WAIT", "FOLLOW_WAIT",
         "WITHIN_WAIT", "LEAD_LAG_WAIT", "LEAD_HALT", "FOLLOW_HALT", "LEAD_OUT_LOGGED",
         "LEAD_LATE", "FOLLOW_SYNC", "FOLLOW_OUT", "LEAD_SYNC", "KVM_RUN", "ENTRY", "EXITED",
         "EMULATE", "EMULATED", "LIVE", "LIVE_DONE", "LAND_SET", "PULL", "SENT_ACK", "DATA_HELD",
         "DEV_WAIT"}
# These come seldom.
SELDOM = {"WITHIN_WAIT", "FOLLOW_SNAP", "LAND_SET", "LAND_HIT", "LANDED", "LAND_EQUAL",
          "ROOM_WAIT", "LEAD_LAG_WAIT", "LEAD_HALT", "FOLLOW_HALT", "LEAD_LATE",
          "LEAD_LATE_COMMITTED", "FOLLOW_LATE", "DEV_WAIT", "ALLOC_IMAGE"}
# The peer's way: the other side says good-bye.
PEER = {"GOT_BYE", "BYE_GOT", "BYE_TAKEN"}
# Until then nobody has told the primary to stop.
BEFORE_FENCE = {"FENCE", "BYE_SAY"}

# What a guest with a disk is told, behind its name: it reads back all it wrote in the end.
DISK = "disk rounds=30"
# ... and if all that it asks for is of one kind, which is done sooner.
DISK_ONLY = "disk rounds=100 only="
KINDS = ("read", "write", "flush")
# What one with a card is told: it prints a line for each frame that a client sends it.
NET = "net every=1"

# Passed once, as the second path is made; the others are passed at each beat.
SECOND_MADE = {"SECOND_OPEN", "SECOND_ALLOC", "SECOND_THREAD"}

# A phase's guests are paired so.
SETTINGS = {"second": ("--second", f"{SECOND['b']}:{pairing.PORT}"), "held": ("--on-loss", "hold"),
            "verify": ("--verify-every", "2")}
# Points that are passed by a guest that is verified, in whatever phase.
VERIFIED = {"ALLOC_DIRTY", "ALLOC_IMAGE"}
VERIFY = ("--verify-every", "4")

# What is wrong when a bit is (the byte it is in), of the VMCB's save area, the local APIC's page
# and XSAVE's standard form: a verification must find it, and say so.
WRONG = {
    "VERIFY_VMCB": {"gs3": 0x58, "idtr limit": 0x84, "dr7": 0x160, "lstar": 0x20f,
                    "sysenter eip": 0x238},
    "VERIFY_LAPIC": {"local APIC register 128": 0x80, "local APIC register 1008": 0x3f3},
    "VERIFY_FPU": {"x87 control": 4, "mxcsr": 25, "st7": 144, "st exponent 7": 153,
                   "xmm half 0": 160, "xmm half 7": 223, "ymm upper half 31": 831},
}

# Actions behind which hosts and pair are as before, as a rule: they come first.
SOFT = {"hold", "stall", "vcpu", "short", "blip", "late", "storm"}


class Case:
    def __init__(self, phase, side, point, action, seed, what=""):
        self.phase, self.side, self.point, self.action = phase, side, point, action
        self.name = "-".join(filter(None, (phase, side, point.name, action, what)))
        rng = random.Random(f"{seed}:{self.name}")
        self.on = False
        self.nth = 1
        if phase == "run":
            self.nth = rng.randint(1, 2 if point.name in SELDOM else 12)
        self.error = ""
        # a record is small, what it is decoded from is not
        self.bit = rng.randrange(300 if point.name == "PEEK" else 1 << 20)
        self.size = rng.choice((5, 24, 60))
        self.direction = rng.choice(("", "", "a", "b"))
        self.silent = rng.random() < 0.5
        self.append = ""
        self.settings = VERIFY if point.name in VERIFIED else SETTINGS.get(phase, ())
        self.wrong = ""		# what a verification must call it
        self.outcome = None
        if point.name.endswith("_HALT"):
            self.append = "period=20000000"		# so long that it halts in each round
        if phase in ("disk", "net"):
            self.append = DISK if phase == "disk" else NET
            if what in KINDS:
                self.append = DISK_ONLY + what
            self.nth = rng.randint(1, 2 if point.name in SELDOM else 12)
        if phase == "verify" or (phase == "second" and point.name not in SECOND_MADE):
            self.nth = rng.randint(1, 3)
        if phase == "lag":
            self.append = "bulk=120 period=50000000 halt=0" if point.name == "ROOM_WAIT" else ""

    @property
    def soft(self):
        return self.action in SOFT or (self.action == "fail" and self.error in (EAGAIN,))

    @property
    def cuts(self):
        return self.action == "cut"


def _run(point, side):
    yield "hold"
    if point.name in WAITS:
        yield "vcpu"
    if point.sleeps:
        yield from ("stall", "blip", "late")
    yield from ("part", "die", "qemu")


def _pair(point, side):
    yield "hold"
    if point.name in WAITS:
        yield "vcpu"
    if point.sleeps:
        yield "stall"
    yield from ("part", "qemu", "ftd")


def _attach(point, side):
    yield from ("hold", "ftd", "qemu", "rmmod")


def _lag(point, side):
    yield from ("hold", "vcpu", "part", "die")


def _silence(point, side):
    yield from ("hold", "qemu")


def _takeover(point, side):
    yield from ("hold", "ftd")
    if side == "b":		# the other is dead
        yield "vcpu"


def _fence(point, side):
    yield from ("hold", "ftd")
    if side == "a":
        yield from ("qemu", "die")


def _unpair(point, side):
    yield from ("hold", "ftd", "part")
    if side == "b":
        yield from ("qemu", "die")


def _gone(point, side):
    yield from ("hold", "ftd")
    if point.name not in PEER:
        yield "part"


def _detach(point, side):
    yield from ("hold", "ftd", "rmmod")
    if side == "b":
        yield "qemu"


def _device(point, side):
    yield "hold"
    if point.name in WAITS:
        yield "vcpu"
    yield from ("stall", "blip", "part", "die", "qemu", "ftd")


def _second(point, side):
    yield "hold"
    if point.name not in SECOND_MADE:	# somebody waits there
        yield from ("stall", "blip", "part", "die", "qemu", "ftd")


def _held(point, side):
    yield from ("hold", "ftd", "vcpu")


def _none(point, side):
    return ()


ACTIONS = {"init": _none, "exit": _none, "attach": _attach, "pair": _pair, "run": _run,
           "lag": _lag, "silence": _silence, "takeover": _takeover, "fence": _fence,
           "unpair": _unpair, "gone": _gone, "detach": _detach, "disk": _device, "net": _device,
           "second": _second, "held": _held, "verify": _run}


def _may_cut(phase, side, point):
    """Whether the other host survives a power cut here."""
    if phase in ("pair", "run", "lag", "silence", "disk", "net", "verify"):
        return True
    if phase == "attach":
        return side == "a"
    if phase == "fence":
        return side == "a" or point.name in BEFORE_FENCE
    if phase in ("unpair", "detach"):
        return side == "b"
    if phase == "gone":
        return point.name not in PEER
    return False


def _kinds(phase, side, point):
    """The kinds of a disk's requests that pass here."""
    if phase != "disk":
        return ()
    if point.name == "DEV_ANSWERED" or point.name.endswith("_BULK"):	# a read has something to tell
        return ("read",)
    if side == "b" and point.name in ("DEV_DO", "DEV_STORE", "DEV_DONE"):	# it reads nothing
        return ("write", "flush")
    return KINDS


def _of_point(phase, side, point, seed):
    for action in ACTIONS[phase](point, side):
        yield Case(phase, side, point, action, seed)
    if phase == "exit":
        yield Case(phase, side, point, "leave", seed)
    if "fail" in point.can:
        yield Case(phase, side, point, "fail", seed)
        for error in SOCKET_ERRORS if point.name.startswith("SOCK_") else ():
            case = Case(phase, side, point, "fail", seed, f"E{error}")
            case.error = error
            yield case
    for wrong, byte in WRONG.get(point.name, {}).items():
        case = Case(phase, side, point, "flip", seed, wrong.replace(" ", "_"))
        case.wrong, case.bit = wrong, 8 * byte + case.bit % 8
        yield case
    # a log that is spoilt where its only other copy dies is a second fault
    if "flip" in point.can and point.name not in WRONG and \
       not (phase == "gone" and point.name == "LOG_STOP"):
        for what in ("", "again") if phase == "run" else ("",):
            yield Case(phase, side, point, "flip", seed, what)
    if "short" in point.can:
        for what, on in (("", False), ("always", True)):
            case = Case(phase, side, point, "short", seed, what)
            case.on = on
            yield case
    if _may_cut(phase, side, point):
        yield Case(phase, side, point, "cut", seed)
        for what in _kinds(phase, side, point):
            yield Case(phase, side, point, "cut", seed, what)


def all_of(seed):
    """Every case, in the table's order."""
    for point in table.read():
        for phase in point.phases:
            for side in ("a",) if phase == "held" else point.sides:
                yield from _of_point(phase, side, point, seed)


def randoms(seed, count):
    """Cases that differ from those in the details: later hits, other epochs, other guests."""
    rng = random.Random(f"{seed}:randoms")
    base = [c for c in all_of(seed) if c.phase in ("run", "pair", "takeover", "gone", "silence")
            and not c.cuts]
    for number in range(count):
        like = rng.choice(base)
        case = Case(like.phase, like.side, like.point, like.action, f"{seed}:{number}",
                    f"random{number}")
        case.error, case.on = like.error, like.on
        if case.phase == "run" and case.point.name not in SELDOM:
            case.nth = rng.randint(1, 120)
        other = rng.choice(("", "halt=0", "late=0 period=500000", "work=20000"))
        case.append = case.append or other
        period = rng.choice((0, 0, 2000, 20000))
        case.settings += ("--period", period) if period else ()
        yield case


def _deed(case):
    return case.phase, case.action


def _place(case):
    return (case.side, case.point.name) if isinstance(case, Case) else case.name


def interrupts(case):
    """A signal comes to the vCPU thread as it waits."""
    return case.action == "vcpu" and case.point.name.endswith("_WAIT")


def choose(cases, count, seed, first=None):
    """So many of them: those that are to be first, each action in each phase, each point on
    each side, then by lot."""
    rng = random.Random(f"{seed}:choose")
    left = list(cases)
    rng.shuffle(left)
    chosen = [c for c in left if first and first(c)][:count]
    left = [c for c in left if c not in chosen]
    for key in (_deed, _place):
        seen = {key(c) for c in chosen}
        for case in list(left):
            if len(chosen) < count and key(case) not in seen:
                seen.add(key(case))
                chosen.append(case)
                left.remove(case)
    return chosen + left[:max(0, count - len(chosen))]
