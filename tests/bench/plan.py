# SPDX-License-Identifier: GPL-2.0
"""What is measured: guests, epochs, setups. A row of the plan is a guest that runs once."""
from collections import namedtuple

Row = namedtuple("Row", "guest setup epoch")

ADAPTIVE = "adaptive"
EPOCHS = [1000, 2000, 4000, 8000, 16000, 32000, 128000, 385000, ADAPTIVE]

# Command lines of tests/guests/bare/bench.c. A step takes about 10 instructions.
# Three are the benchmark's guests:
#
# cpu	computes, about 100 million instructions.
# pio	a terminal: for every 5000 instructions of computing a line of 40 characters
#	on the console, and 4 reads of the clock chip.
# clock	a server that keeps time: a gettimeofday() for every 5000 instructions,
#	and 1000 timer interrupts a second (by the emulated hosts' clock, on which
#	500 000 instructions take 1 ms). That is seven times the rate at which a
#	booting Linux reads its clock.
#
# The others do hardly anything but one operation, to tell what it costs.
GUESTS = {
    "cpu": "units=20000 steps=500",
    "pio": "units=100 steps=500 line=40 cmos=4",
    "clock": "units=10000 steps=500 tsc=1 timer=100 delay=500000",
    "exit": "units=2000 steps=5 cpuid=10",
    "tsc": "units=2000 steps=5 tsc=10",
    "in": "units=400 steps=5 in=10",
    "out": "units=200 steps=5 out=10",
    # Nothing but interrupts, each in the midst of computing: the backup has to land.
    "tick": "units=2000 steps=500 timer=4 delay=4000",
    "notick": "units=2000 steps=500",
}
MAIN = ["cpu", "pio", "clock"]
LANDING = 8000	# the epoch at which landing is measured

# Bressoud and Schneider, SOSP 1995: slowdown of a CPU-bound guest by epoch length,
# by the original protocol and by the revised one.
BS_ORIGINAL = {1000: 22.24, 2000: 11.83, 4000: 6.50, 8000: 3.83, 32000: 1.84, 385000: 1.24}
BS_REVISED = {1000: 11.67, 4000: 3.21, 8000: 2.20}


def full():
    rows = [Row(guest, "plain", None) for guest in GUESTS]
    rows.append(Row(None, "load", None))
    rows += [Row(guest, "plain", None) for guest in MAIN]
    rows += [Row(guest, "attached", None) for guest in MAIN + ["exit"]]
    rows += [Row(guest, "paired", epoch) for guest in MAIN for epoch in EPOCHS]
    rows += [Row(guest, "paired", ADAPTIVE) for guest in ("exit", "tsc", "in", "out")]
    rows += [Row(guest, "paired", LANDING) for guest in ("notick", "tick")]
    rows += [Row(guest, "takeover", ADAPTIVE) for guest in MAIN]
    return rows


def short():
    """What has a target, and a cost of each kind."""
    rows = [Row(guest, "plain", None) for guest in MAIN + ["out"]]
    rows.append(Row(None, "load", None))
    rows.append(Row("cpu", "plain", None))
    rows += [Row(guest, "paired", ADAPTIVE) for guest in MAIN + ["out"]]
    rows.append(Row("cpu", "paired", 4000))
    rows.append(Row("cpu", "takeover", ADAPTIVE))
    return rows


def name(row, loaded=False):
    """Of a row, unique in its plan. A plain guest can run before the module is loaded and after."""
    if row.setup == "load":
        return "load"
    if row.setup == "plain":
        return f"{row.guest}-{'loaded' if loaded else 'plain'}"
    words = [row.guest, row.setup] + ([str(row.epoch)] if row.epoch else [])
    return "-".join(words)


def lines(rows):
    """(name, Row, line of the plan for host/init)"""
    loaded = False
    for row in rows:
        period = str(row.epoch) if isinstance(row.epoch, int) else "-"
        words = GUESTS.get(row.guest, "")
        label = name(row, loaded)
        yield label, row, f"{label} {row.setup} {period} {words}".strip()
        loaded |= row.setup == "load"
