# SPDX-License-Identifier: GPL-2.0
"""Rows of guests with a disk or a network card.

All that the primary's CPU executes counts: workers and QEMU's other threads carry
requests out, and interrupts bring what comes from the network.
"""
import plan

# What protection may cost: host instructions, divided by those of the same guest on the
# same path without it.
TARGETS = [("write4K", 1.10), ("read4K", 1.10), ("write64K", 1.10), ("read64K", 1.10),
           ("deep4K", 1.10), ("send", 1.15), ("receive", 1.15)]
# What it costs where a target is missed, or there is none, and 5 % more: that it has become worse
# is another thing than that it is not good yet.
CEILINGS = [("write4K", 1.25), ("read64K", 1.32), ("deep4K", 1.20), ("answer", 1.67),
            ("send", 1.31), ("receive", 1.34)]
# What a link's round trips are, by which it takes longer. What is sent waits for one.
TRIPS = [("answer", 1.0)]
NEARLY = 0.05	# a run more or less of the other CPU, in round trips


def requests(guest):
    """How many, by the guest's words."""
    return int(plan.DEVICES[guest].split()[0].split("=")[1])


def computing(guest):
    """Instructions of the guest's own for each request: a step takes 10."""
    words = dict(word.split("=") for word in plan.DEVICES[guest].split())
    return 10 * int(words["steps"])


def row(counted, everything):
    """An object of results.json."""
    guest, n = counted.row.guest, requests(counted.row.guest)

    def other(setup):
        epoch = f"-{plan.ADAPTIVE}" if setup in plan.PAIRS else ""
        return everything.get(f"{guest}-{setup}{epoch}")

    out = {"guest": guest, "setup": counted.row.setup, "epoch": counted.row.epoch,
           "requests": n, "host_insns": counted.host,
           "host_insns_per_request": round(counted.host / n),
           "ns_per_request": round(counted.ns / n),
           "host_insns_vcpu": counted.insns("vcpu")}
    for setup in ("plain", "vhost", "served"):
        if other(setup):
            out[f"ratio_{setup}"] = round(counted.host / other(setup).host, 4)
    if other("served"):
        own = n * computing(guest)
        out["ratio_rest"] = round((counted.host - own) / (other("served").host - own), 4)
    if counted.row.setup not in plan.PAIRS:
        return out
    out.update({
        "log_bytes_per_request": round(counted.stat("log_bytes") / n, 1),
        "tx_bytes_per_request": round(counted.stat("tx_bytes") / n),
        "epochs": counted.stat("epochs"), "inputs": counted.stat("inputs"),
        "outputs": counted.stat("outputs"), "exits": counted.stat("exits"),
        "commit_waits_per_request": round(counted.stat("commit_waits") / n, 2),
        "host_insns_peer": counted.insns("peer_cpu"), "host_insns_tx": counted.insns("tx"),
        "host_insns_rx": counted.insns("rx"),
    })
    near = other("paired")
    if counted.row.setup == "far" and near:
        out["trips_per_request"] = round((counted.ns - near.ns) / n / plan.FAR, 3)
    return out


def _ratios(rows, guest):
    return [row["ratio_served"] for row in rows if (row["guest"], row["setup"]) == (guest, "paired")]


def no_worse(rows):
    """[(good, words)] of all ceilings."""
    return [(ratio <= most, f"{guest}: {ratio:.3f} of what it takes unprotected is no worse than it "
                            f"was (at most {most:.2f})")
            for guest, most in CEILINGS for ratio in _ratios(rows, guest)]


def judge(rows):
    """[(good, words)] of all targets, and of all ceilings."""
    known = dict(CEILINGS)
    out = []
    for guest, most in TARGETS:
        for ratio in _ratios(rows, guest):
            missed = ratio > most
            out.append((not missed, f"{guest}: {ratio:.3f} of what it takes unprotected (at most "
                                    f"{most:.2f}" + (", a known miss)" if missed and guest in known
                                                     else ")")))
    for guest, most in TRIPS:
        for found in rows:
            if found["guest"] == guest and "trips_per_request" in found:
                trips = found["trips_per_request"]
                out.append((trips <= most + NEARLY, f"{guest}: {trips:.2f} of the link's round "
                                                    f"trips for each (at most {most:.2f})"))
    return out + no_worse(rows)
