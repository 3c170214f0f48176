# SPDX-License-Identifier: GPL-2.0
"""Torture guests, paired: some of them by default, with --all each in every way.

A torture guest prints digests of what it sees. Lines that begin "NAME: time" tell
where interrupts hit it, and differ from run to run; both replicas must print the
same. All other lines must be those that the image prints unpaired. SEED=N seeds
the guests' random numbers.
"""
import os
import re

from harness import add, guests, need

SEED = int(os.environ.get("SEED") or 1)
BRANCHES = "0xd1"

# (skid, epoch, counting event)
WAYS = [(0, 1000, None), (1000, 1000, None), (50, 1000, BRANCHES), (1000, None, None),
        (50, 4000, None), (1000, 400000, None), (0, 20000, BRANCHES), (50, None, None)]
SEEDS = 3	# of each with --all

# What is run by default, as it takes a while: (machine, *one of WAYS)
CHOSEN = {
    "repmov": ("pc", 0, 1000, None),
    "repcmp": ("pc", 0, 1000, None),
    "freeloop": ("pc", 0, 1000, None),
    "flags": ("pc", 0, 1000, None),
    "except": ("microvm", 1000, 1000, None),
    "dbreg1": ("microvm", 1000, 1000, None),
    "dbmoves": ("microvm", 0, 20000, BRANCHES),
}


def _timeless(text):
    return [line for line in text.replace("\r", "").splitlines()
            if not re.match(r"\w+: time", line)]


def _torture(name, machine, period, counter, seed):
    def run(t):
        entry = guests.table()[name]
        append = f"{entry.append} seed={seed}".strip()
        alone = t.run(name, append=append, machine=machine, unpaired=True)
        pair = t.run(name, append=append, machine=machine, period=period, counter=counter,
                     grace=20)
        need(pair["same_output"], "not the same output")
        one, two = (_timeless(v["consoles"]["a"]["live"]) for v in (alone, pair))
        differ = [(a, b) for a, b in zip(one, two) if a != b]
        need(one == two, f"unpaired it prints other things: {differ[:1] or 'more or less'}")
    return run


def _matrix():
    for name, entry in guests.table().items():
        if not entry.torture or entry.limit:
            continue
        for machine in entry.machines:
            for skid, period, counter in WAYS:
                for seed in range(SEED, SEED + SEEDS):
                    label = f"torture_{name}_{machine}_skid{skid}_period{period or '_default'}"
                    label += f"{'_branches' if counter else ''}_seed{seed}"
                    chosen = seed == SEED and \
                        CHOSEN.get(name) == (machine, skid, period, counter)
                    add(label, _torture(name, machine, period, counter, seed), skid=skid,
                        timeout=150, more=not chosen)


_matrix()
