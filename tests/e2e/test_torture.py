# SPDX-License-Identifier: GPL-2.0
"""Torture guests, paired: some of them by default; with --more each in a few ways, which
together are all; with --all each in every way.

A torture guest prints digests of what it sees. Lines that begin "NAME: time" tell
where interrupts hit it, and differ from run to run; both replicas must print the
same. All other lines must be those that the image prints unpaired. And what it does
not print is compared at some epochs' ends: all registers, what it has written, and a
part of its memory. SEED=N seeds the guests' random numbers.
"""
import os
import re

from harness import add, guests, need, paths

SEED = int(os.environ.get("SEED") or 1)
BRANCHES = "0xd1"

# (skid, epoch, counting event)
SHORT = [(0, 1000, None), (1000, 1000, None), (50, 4000, None)]
LONG = [(1000, None, None), (1000, 400000, None), (50, None, None)]
COUNTED = [(50, 1000, BRANCHES), (0, 20000, BRANCHES), (1000, 400000, BRANCHES)]
WAYS = SHORT + LONG + COUNTED
# Of the long ones, what some are there for: a periodic timer that is faster than an epoch.
PINNED = {"lapict": LONG[1], "lapictx": LONG[1]}
# So many events, or somewhat fewer, lie between two verifications; in epochs of this length
# where no other is asked for.
VERIFY = 100000
PERIOD = 100000

SEEDS = 3	# of each with --all

# What is run by default, as it takes a while: (machine, *one of WAYS)
CHOSEN = {
    "repmov": ("pc", 0, 1000, None),
    "freeloop": ("pc", 0, 1000, None),
    "flags": ("pc", 0, 1000, None),
    "except": ("microvm", 1000, 1000, None),
    "dbreg1": ("microvm", 1000, 1000, None),
    "compat": ("pc", 0, 20000, BRANCHES),
    "tasks": ("microvm", 1000, 1000, None),
}


def _timeless(text):
    return [line for line in text.replace("\r", "").splitlines()
            if not re.match(r"\w+: time", line)]


def _torture(name, machine, period, counter, seed):
    def run(t):
        entry = guests.table()[name]
        append = f"{entry.append} {entry.branches if counter else ''} seed={seed}".strip()
        alone = t.run(name, append=append, machine=machine, unpaired=True)
        every = max(1, VERIFY // (period or PERIOD))
        pair = t.run(name, append=append, machine=machine, period=period, counter=counter,
                     verify_every=every, sample=0.5, grace=20 * paths.SLOWNESS)
        need(pair["same_output"], "not the same output")
        one, two = (_timeless(v["consoles"]["a"]["live"]) for v in (alone, pair))
        differ = [(a, b) for a, b in zip(one, two) if a != b]
        need(one == two, f"unpaired it prints other things: {differ[:1] or 'more or less'}")
        _verified(pair["stats"], every)
    return run


def _verified(stats, every):
    """Whoever was seen to be so far has compared something. The last look may come early."""
    for side, seen in stats.items():
        need(seen.get("verify_pages") or seen.get("epochs", 0) < 2 * every + 10,
             f"host {side}: nothing was compared in {seen.get('epochs')} epochs")


def _spread(entry, number):
    """Of each kind of ways one of this guest's (machine, *way, seed), with --more: over all
    guests, every way has its turn."""
    for turn, ways in enumerate((SHORT, LONG, COUNTED)):
        way = ways[(number + turn) % len(ways)]
        if ways is LONG:
            way = PINNED.get(entry.name, way)
        machine = entry.machines[(number + turn) % len(entry.machines)]
        yield machine, *way, SEED + turn


def _matrix():
    tortures = [(name, entry) for name, entry in guests.table().items()
                if entry.torture and not entry.limit]
    for number, (name, entry) in enumerate(tortures):
        spread = list(_spread(entry, number))
        for machine in entry.machines:
            for skid, period, counter in WAYS:
                for seed in range(SEED, SEED + SEEDS):
                    label = f"torture_{name}_{machine}_skid{skid}_period{period or '_default'}"
                    label += f"{'_branches' if counter else ''}_seed{seed}"
                    level = 2
                    if (machine, skid, period, counter, seed) in spread:
                        level = 1
                    if seed == SEED and CHOSEN.get(name) == (machine, skid, period, counter):
                        level = 0
                    add(label, _torture(name, machine, period, counter, seed), skid=skid,
                        timeout=150, more=level)


_matrix()
