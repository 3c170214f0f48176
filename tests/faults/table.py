# SPDX-License-Identifier: GPL-2.0
"""The table of fault points: kmod/fault/points.h, which the module is built from."""
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = os.path.join(TOP, "kmod", "fault", "points.h")


class Point:
    """name, phases and sides (lower case), sleeps, can (of fail, flip, short), error, where"""

    def __init__(self, name, when, side, context, can, error, where):
        self.name, self.error, self.where = name, error, where
        self.phases = _words(when)
        self.sides = _words(side)
        self.sleeps = context == "SLEEP"
        self.can = _words(can)

    def __repr__(self):
        return self.name


def _words(text):
    return [] if text == "0" else [word.strip().lower() for word in text.split("|")]


def read():
    """All points, in the table's order."""
    with open(HEADER, encoding="ascii") as file:
        text = file.read().split("#define FTKVM_FAULT_TABLE(P)", 1)[1]
    text = text.replace("\\\n", "\n")
    fields = r"\s*([^,]+?)\s*,"
    pattern = re.compile(r"^P\((\w+)," + 5 * fields + r'\s*"([^"]*)"\)', re.MULTILINE)
    points = [Point(*match) for match in pattern.findall(text)]
    if len(points) != len(re.findall(r"^P\(", text, re.MULTILINE)):
        raise ValueError(f"{HEADER}: an entry is not understood")
    return points
