# SPDX-License-Identifier: GPL-2.0
"""What the Linux test guest printed: could one machine have printed it?

The format of the lines is described in tests/guests/linux/init.c. check()
takes what the outside world saw, first at one host's console, then at the
other's, and looks for gaps, repeats, changes of course, and steps back in time.
"""
import hashlib
import re
import zlib

LINE = re.compile(r"^(ft[a-z]+)\b(.*) chk=([0-9a-f]{8})$")
DEMO = re.compile(r" (\d+) up=(\d+)\.(\d{3}) wall=(\d+)\.(\d{3}) sha=([0-9a-f]{16}) "
                  r"rnd=([0-9a-f]{8}) loc=(\d+)$")
START = re.compile(r" work=(\d+) interval=(\d+)$")


class Line:
    """One whole line of the guest."""

    def __init__(self, text, match):
        self.text = text
        self.kind, self.rest, chk = match.groups()
        self.chk = int(chk, 16)
        self.number = None
        demo = DEMO.match(self.rest) if self.kind == "ftdemo" else None
        if demo:
            number, s, ms, ws, wms, self.sha, self.rnd, loc = demo.groups()
            self.number = int(number)
            self.up = int(s) * 1000 + int(ms)
            self.wall = int(ws) * 1000 + int(wms)
            self.loc = int(loc)

    def follows(self, chk):
        body = self.text[:-len(" chk=01234567")]
        return zlib.crc32(body.encode("utf-8", "replace"), chk) == self.chk


def parse(text):
    """(guest's lines, other lines that are not empty, the unfinished rest)."""
    *whole, rest = text.replace("\r", "").split("\n")
    lines, others = [], []
    for one in whole:
        match = LINE.match(one)
        if match:
            lines.append(Line(one, match))
        elif one:
            others.append(one)
    return lines, others, rest


def next_hash(state, number, work):
    state = hashlib.sha256(state + number.to_bytes(8, "little")).digest()
    for _ in range(work - 1):
        state = hashlib.sha256(state).digest()
    return state


class Report:
    """ok, and why not. Counts are of the guest's lines."""

    def __init__(self):
        self.lines = self.first = self.last = 0
        self.lost = self.repeated = self.torn = 0
        self.course_changes = self.steps_back = 0
        self.warnings, self.boot_warnings = [], []
        self.answers, self.others, self.problems = [], [], []
        self.clean = False	# the guest said that its log has no new warning
        self.ended = False

    @property
    def ok(self):
        return not self.problems and self.lines > 0

    def as_dict(self):
        return dict(vars(self), ok=self.ok)


class _Checker:
    def __init__(self, report):
        self.report = report
        self.chk, self.state, self.work = 0, bytes(32), None
        self.demo = None	# the last demo line
        self.recent = []

    def problem(self, text):
        self.report.problems.append(text)

    def take(self, line):
        r = self.report
        r.lines += 1
        if not line.follows(self.chk):
            if line.text in self.recent:
                r.repeated += 1
                return
            if line.number and self.demo and line.number > self.demo.number + 1:
                r.lost += line.number - self.demo.number - 1
                self.problem(f"lines {self.demo.number + 1} to {line.number - 1} are missing")
            else:
                r.course_changes += 1
                self.problem(f"does not follow from the line before it: {line.text}")
        self.chk = line.chk
        self.recent = self.recent[-3:] + [line.text]
        getattr(self, "_" + line.kind, lambda line: None)(line)

    def _ftstart(self, line):
        match = START.match(line.rest)
        if match:
            self.work = int(match.group(1))

    def _ftdemo(self, line):
        r, before = self.report, self.demo
        if line.number is None:
            self.problem(f"malformed: {line.text}")
            return
        if before is None:
            r.first = line.number
        elif line.up < before.up or line.wall < before.wall or line.loc < before.loc:
            r.steps_back += 1
            self.problem(f"time steps back: {before.text} -> {line.text}")
        if self.work and line.number == (before.number if before else 0) + 1:
            self.state = next_hash(self.state, line.number, self.work)
            if self.state.hex()[:16] != line.sha:
                r.course_changes += 1
                self.problem(f"wrong hash (must be {self.state.hex()[:16]}): {line.text}")
        elif self.work:
            self.work = None	# after a gap the hash can't be known
        self.demo = line
        r.last = line.number

    def _ftanswer(self, line):
        number, _, text = line.rest.strip().partition(" ")
        self.report.answers.append((int(number), text))

    def _ftdmesg(self, line):
        kind, _, text = line.rest.strip().partition(" ")
        if kind == "warn":
            self.report.warnings.append(text)
            self.problem(f"kernel warning: {text}")
        elif kind == "boot":
            self.report.boot_warnings.append(text)
        elif kind == "clean":
            self.report.clean = True

    def _ftend(self, _):
        self.report.ended = True


def _check(lines, others, changes=1):
    report = Report()
    report.others = others
    checker = _Checker(report)
    for line in lines:
        checker.take(line)
    if report.repeated > changes:
        report.problems.append(f"{report.repeated} lines were repeated")
    return report


def check(*texts):
    """A Report on what was seen at one console after the other.

    At a change of consoles the line under way may go on where it was, or
    begin anew; the reading with fewer problems is taken. The last line before each
    change may come twice.
    """
    changes = max(1, len(texts) - 1)
    lines, others, rest = [], [], ""
    torn = 0
    for text in texts:
        joined, joined_others, joined_rest = parse(rest + text)
        anew, anew_others, anew_rest = parse(text)
        if rest and (len(anew), -len(_check(lines + anew, [], changes).problems)) > \
                (len(joined), -len(_check(lines + joined, [], changes).problems)):
            torn += 1
            joined, joined_others, joined_rest = anew, anew_others, anew_rest
        lines += joined
        others += joined_others
        rest = joined_rest
    report = _check(lines, others, changes)
    report.torn = torn
    if report.repeated + torn > changes:
        report.problems.append("more than the last line was repeated")
    return report
