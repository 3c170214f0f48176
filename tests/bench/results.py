# SPDX-License-Identifier: GPL-2.0
"""From what was counted to what is told: rows of results.json, targets.

A row of the host has counts of two instants, the guest's marks B and E; all
that is told comes from their difference. Instructions are those that retired in
any mode, the guest's own included.
"""
import devices
import plan

# What a pairing is allowed to cost.
TARGETS = [
    # (guest, epoch, what is measured, at most, words)
    ("cpu", plan.ADAPTIVE, "slowdown", 1.02, "CPU-bound, adaptive epochs"),
    ("cpu", 4000, "slowdown", plan.BS_REVISED[4000] / 2,
     "CPU-bound, epochs of 4K: half of Bressoud and Schneider's"),
    ("clock", plan.ADAPTIVE, "slowdown", 1.25, "clock-bound, adaptive epochs"),
    ("cpu", plan.ADAPTIVE, "log_bytes_per_1000_insns", 0.25, "CPU-bound, bytes of log for 1000 instructions"),
]
HOOKS_IN_AN_EXIT = 2	# svm_vcpu_run(), svm_handle_exit()


class BadRow(Exception):
    """A guest did not end well, or not the same everywhere."""


def _difference(meter, side, name):
    return meter["end"][side][name] - meter["begin"][side].get(name, 0)


class Counted:
    """The difference of a row's two instants."""

    def __init__(self, label, row, obj):
        self.label, self.row, self.said = label, row, obj["said"]
        self.exits = obj["exits"]
        self.promote = obj.get("promote")
        self._meter = obj["meter"]

    def insns(self, *names):
        return sum(_difference(self._meter, "insns", name) for name in names)

    def stat(self, name, side="stats"):
        return _difference(self._meter, side, name)

    @property
    def ns(self):
        return self._meter["end"]["ns"] - self._meter["begin"]["ns"]

    def last(self, name, side="stats"):
        return self._meter["end"][side][name]

    def check(self, plain):
        """The guest ended well, and said what it says on plain KVM."""
        ends = 2 if self.row.setup in plan.PAIRS else 1
        if self.exits != [1] * ends:
            raise BadRow(f"{self.label}: QEMU ended with {self.exits}")
        if len(self.said) != ends or set(self.said) != {plain.said[0]}:
            raise BadRow(f"{self.label}: said {self.said}, on plain KVM {plain.said}")
        if self.row.setup not in plan.PAIRS:
            return
        if plain.host < self.stat("guest_events"):
            raise BadRow(f"{plain.label}: {plain.host} instructions of the host, of which the "
                         f"guest's alone are {self.stat('guest_events')}")
        for side in ("stats", "peer_stats"):
            if self.last("divergences", side):
                raise BadRow(f"{self.label}: {self.last('divergences', side)} divergences")
        if self.last("linked") != 1:
            raise BadRow(f"{self.label}: the link was lost")

    @property
    def host(self):
        """The primary's instructions: its vCPU thread's and ftkvm's threads'; or its CPU's."""
        if self.row.guest in plan.DEVICES:
            return self.insns("cpu")
        names = ["vcpu"] + (["tx", "rx"] if self.row.setup == "paired" else [])
        return self.insns(*names)

    def describe(self):
        """For a line of progress."""
        if self.row.setup == "takeover":
            return f"{self.promote['takeover_ns'] / 1000:.0f} us"
        return f"{self.host:,} instructions".replace(",", " ")


def _share(counted, name):
    epochs = counted.stat("epochs")
    return round(counted.stat(name) / epochs, 4) if epochs else 0.0


def _row(counted, plain):
    """An object of results.json."""
    row, host = counted.row, counted.host
    loaded = row.setup == "plain" and counted is not plain
    out = {"guest": row.guest, "setup": "loaded" if loaded else row.setup, "epoch": row.epoch,
           "slowdown": round(host / plain.host, 4),
           "host_insns": host, "host_insns_plain": plain.host}
    if row.setup != "paired":
        return out
    guest_insns, epochs = counted.stat("guest_events"), counted.stat("epochs")
    log = counted.stat("log_bytes")
    extra = host - plain.host
    out.update({
        "guest_insns": guest_insns, "log_bytes": log, "epochs": epochs,
        "log_bytes_per_1000_insns": round(1000 * log / guest_insns, 4),
        "snapped": _share(counted, "epochs_snapped"), "halted": _share(counted, "epochs_halted"),
        "landed": _share(counted, "epochs_landed"), "skipped": _share(counted, "epochs_skipped"),
        "inputs": counted.stat("inputs"), "outputs": counted.stat("outputs"),
        "clock_reads": counted.stat("env_tsc"), "exits": counted.stat("exits"),
        "lag_median": counted.last("lag_median"), "lag_max": counted.last("lag_max"),
        "host_insns_vcpu": counted.insns("vcpu"), "host_insns_tx": counted.insns("tx"),
        "host_insns_rx": counted.insns("rx"),
        "host_insns_per_epoch": round(extra / epochs) if epochs else None,
    })
    return out


def _costs(counted, plain, rows):
    """What one operation costs, from guests that hardly do anything but this one.

    Each is put into the row of the guest that it was taken from. The few epochs
    that ended meanwhile are in it; an output's record and an environment read's are, too.
    """
    out = {}

    def per(label, guest, count):
        run = counted.get(label)
        if not run or guest not in plain:
            return None
        return round((run.host - plain[guest].host) / count(run))

    adaptive = plan.ADAPTIVE
    for key, guest, what in (("exit", "exit", "exits"), ("clock_read", "tsc", "env_tsc"),
                             ("port_read", "in", "env_pio"), ("output_commit", "out", "outputs")):
        label = f"{guest}-paired-{adaptive}"
        out[key] = (label, per(label, guest, lambda run, what=what: run.stat(what)))
    # exits of this guest, of which nearly all are its own
    label = "exit-attached"
    exits = counted.get(f"exit-paired-{adaptive}")
    out["hook_call"] = (label, per(label, "exit", lambda run: HOOKS_IN_AN_EXIT * exits.stat("exits"))
                        if exits else None)
    label = "cpu-paired-4000"
    out["epoch_end"] = (label, per(label, "cpu", lambda run: run.stat("epochs")))
    # The backup's own instructions, without its guest's, with interrupts and without.
    tick, quiet = counted.get(f"tick-paired-{plan.LANDING}"), counted.get(f"notick-paired-{plan.LANDING}")
    if tick and quiet:
        def backup(run):
            return run.insns("peer_vcpu") - run.stat("guest_events", "peer_stats")
        skipped = backup(quiet) / quiet.stat("epochs", "peer_stats")
        landed = tick.stat("epochs_landed", "peer_stats")
        others = tick.stat("epochs", "peer_stats") - landed
        out["landing"] = (tick.label, round((backup(tick) - others * skipped) / landed - skipped))
        rows[tick.label]["land_steps_per_landing"] = round(
            tick.stat("land_steps", "peer_stats") / landed, 1)
    for key, (label, cost) in out.items():
        if cost is not None:
            rows[label][f"host_insns_per_{key}"] = cost


def make(counted):
    """Rows of results.json, from {label: Counted}."""
    plain = {c.row.guest: c for c in counted.values() if c.label.endswith("-plain")}
    rows = {}
    for label, one in counted.items():
        one.check(plain[one.row.guest])
        if one.row.setup == "takeover":
            rows[label] = {"guest": one.row.guest, "setup": "takeover", "epoch": one.row.epoch,
                           "takeover_us": round(one.promote["takeover_ns"] / 1000, 1)}
        elif one.row.guest in plan.DEVICES:
            rows[label] = devices.row(one, counted)
        else:
            rows[label] = _row(one, plain[one.row.guest])
    _costs(counted, plain, rows)
    return list(rows.values())


def find(rows, guest, setup, epoch=None):
    for row in rows:
        if (row["guest"], row["setup"], row["epoch"]) == (guest, setup, epoch):
            return row
    return None


def costs(rows):
    """{operation: host instructions}"""
    out = {}
    for row in rows:
        for key, value in row.items():
            if key.startswith("host_insns_per_") and row["guest"] not in plan.DEVICES and \
                    key != "host_insns_per_epoch":
                out[key[len("host_insns_per_"):]] = value
    return out


def judge(rows):
    """[(good, words)] of all targets but devices'."""
    out = []
    for guest, epoch, key, most, words in TARGETS:
        row = find(rows, guest, "paired", epoch)
        if row:
            out.append((row[key] <= most, f"{words}: {row[key]:.3f} (at most {most:.3f})"))
    for guest in plan.MAIN:
        row = find(rows, guest, "loaded")
        if row:
            out.append((round(row["slowdown"], 3) == 1.0,
                        f"{guest}, not protected, module loaded: {row['slowdown']:.3f} (1.000)"))
    return out
