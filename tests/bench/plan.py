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

# Command lines of tests/guests/bare/io.c: guests that have a disk or a network card.
# Between two requests they compute, as whoever asked for something does something
# with it: 100 000 instructions for a request of a disk, 20 000 for a small frame that is
# answered, 4000 for each full frame of a stream.
DEVICES = {
    "write4K": "write=100 bytes=4096 steps=10000",
    "read4K": "read=100 bytes=4096 steps=10000",
    "write64K": "write=50 bytes=65536 steps=10000",
    "read64K": "read=50 bytes=65536 steps=10000",
    "deep4K": "write=200 bytes=4096 steps=10000 depth=8",
    "answer": "answer=100 bytes=64 steps=2000",
    "send": "send=400 bytes=1514 steps=400",
    "receive": "receive=400 bytes=1514 steps=400",
}
DISKS = ["write4K", "read4K", "write64K", "read64K", "deep4K"]
CARDS = ["answer", "send", "receive"]
# FAR of host/devices: what a trip by the link takes there beyond all others, ns
FAR = 2 * 100000000
LATENCY = ["write4K", "answer"]	# one thing after the other
SHORT_DEVICES = ["write4K"]
PAIRS = ("paired", "far")	# setups with two replicas
LANDING = 8000	# the epoch at which landing is measured

# Bressoud and Schneider, SOSP 1995: slowdown of a CPU-bound guest by epoch length,
# by the original protocol and by the revised one.
BS_ORIGINAL = {1000: 22.24, 2000: 11.83, 4000: 6.50, 8000: 3.83, 32000: 1.84, 385000: 1.24}
BS_REVISED = {1000: 11.67, 4000: 3.21, 8000: 2.20}


def _devices():
    """(rows before the module is loaded, rows behind that)"""
    before = [Row(guest, "plain", None) for guest in DEVICES]
    before += [Row(guest, "vhost", None) for guest in CARDS]
    after = [Row(guest, setup, epoch) for guest in DEVICES
             for setup, epoch in (("served", None), ("paired", ADAPTIVE))]
    after += [Row(guest, "far", ADAPTIVE) for guest in LATENCY]
    return before, after


def full():
    rows = [Row(guest, "plain", None) for guest in GUESTS]
    before, after = _devices()
    rows += before
    rows.append(Row(None, "load", None))
    rows += [Row(guest, "plain", None) for guest in MAIN]
    rows += [Row(guest, "attached", None) for guest in MAIN + ["exit"]]
    rows += [Row(guest, "paired", epoch) for guest in MAIN for epoch in EPOCHS]
    rows += [Row(guest, "paired", ADAPTIVE) for guest in ("exit", "tsc", "in", "out")]
    rows += [Row(guest, "paired", LANDING) for guest in ("notick", "tick")]
    rows += [Row(guest, "takeover", ADAPTIVE) for guest in MAIN]
    return rows + after


def devices():
    """Disks and network cards alone."""
    before, after = _devices()
    return [*before, Row(None, "load", None), *after]


def short():
    """What has a target, and a cost of each kind."""
    rows = [Row(guest, "plain", None) for guest in MAIN + ["out"] + SHORT_DEVICES]
    rows.append(Row(None, "load", None))
    rows.append(Row("cpu", "plain", None))
    rows += [Row(guest, "paired", ADAPTIVE) for guest in MAIN + ["out"]]
    rows.append(Row("cpu", "paired", 4000))
    rows.append(Row("cpu", "takeover", ADAPTIVE))
    for setup, epoch in (("served", None), ("paired", ADAPTIVE)):
        rows += [Row(guest, setup, epoch) for guest in SHORT_DEVICES]
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
        if row.guest in DEVICES:
            words = DEVICES[row.guest] + " ecam=1"
        label = name(row, loaded)
        setup = f"io-{row.setup}" if row.guest in DEVICES else row.setup
        yield label, row, f"{label} {setup} {period} {words}".strip()
        loaded |= row.setup == "load"
