# SPDX-License-Identifier: GPL-2.0
"""The results as tables, for a terminal and for Documentation/."""
import plan
import results

COSTS = {
    "exit": "an exit that is nobody's business (CPUID), beyond KVM's own",
    "hook_call": "a redirected function, for a guest that is not protected",
    "clock_read": "an environment read: RDTSC, which plain KVM does not intercept",
    "port_read": "an environment read: a port, beyond KVM's and QEMU's own",
    "output_commit": "an output, with its wait for the backup",
    "epoch_end": "an epoch end, at 4K, with its part of sending the log",
    "landing": "a landing, on the backup, beyond an epoch end without",
}


def simple(head, lines):
    """A simple table of reStructuredText, good to read on a terminal, too."""
    cells = [[str(cell) for cell in line] for line in [head, *lines]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    rule = "  ".join("=" * width for width in widths)

    def text(line):
        first, *rest = (cell.ljust(width) if not i else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(line, widths)))
        return "  ".join([first, *rest]).rstrip()
    return "\n".join([rule, text(cells[0]), rule, *[text(line) for line in cells[1:]], rule])


def _epoch(epoch):
    return f"{epoch // 1000}K" if isinstance(epoch, int) else str(epoch)


def _known(value, form):
    return format(value, form) if value is not None else "-"


def slowdown(rows):
    """Slowdown by epoch length, beside what Bressoud and Schneider had."""
    def cell(guest, epoch):
        row = results.find(rows, guest, "paired", epoch)
        return _known(row and row["slowdown"], ".3f")

    lines = []
    for epoch in plan.EPOCHS:
        cells = [cell(guest, epoch) for guest in plan.MAIN]
        if any(c != "-" for c in cells):
            lines.append([_epoch(epoch), *cells, _known(plan.BS_ORIGINAL.get(epoch), ".2f"),
                          _known(plan.BS_REVISED.get(epoch), ".2f")])
    for setup, words in (("loaded", "not protected, module loaded"),
                         ("attached", "not protected, another guest is in care"),
                         ("plain", "plain KVM")):
        found = [results.find(rows, guest, setup) for guest in plan.MAIN]
        if any(found):
            lines.append([words, *[_known(row and row["slowdown"], ".3f") for row in found], "", ""])
    return simple(["epoch", *plan.MAIN, "B&S", "revised"], lines)


def epochs(rows):
    """How epochs ended, log, lag."""
    lines = []
    for row in rows:
        if row["setup"] != "paired" or row["guest"] not in plan.MAIN:
            continue
        shares = [f"{100 * row[key]:.0f} %" for key in ("snapped", "halted", "landed", "skipped")]
        lines.append([f"{row['guest']} {_epoch(row['epoch'])}", f"{row['log_bytes_per_1000_insns']:.3f}",
                      row["epochs"], *shares, _known(row["host_insns_per_epoch"], "d"),
                      f"{row['lag_median']}/{row['lag_max']}"])
    return simple(["guest, epoch", "log B/1000", "epochs", "snapped", "halted", "landed", "skipped",
                   "insns/epoch", "lag"], lines)


def costs(rows):
    found = results.costs(rows)
    return simple(["one of", "host instructions"],
                  [[words, found[key]] for key, words in COSTS.items() if key in found])


def takeovers(rows):
    return simple(["takeover of", "us"], [[row["guest"], f"{row['takeover_us']:.0f}"]
                                          for row in rows if row["setup"] == "takeover"])


def _device(rows, guests, other):
    """A device's rows: what a request takes, by each of the ways."""
    lines = []
    for guest in guests:
        found = {setup: results.find(rows, guest, setup, plan.ADAPTIVE if setup in plan.PAIRS
                                     else None) for setup in (*other, "served", "paired", "far")}
        if not found["paired"]:
            continue
        lines.append([guest] + [_known(row and row["host_insns_per_request"], "d")
                                for row in [found[s] for s in (*other, "served", "paired")]] +
                     [_known(found["paired"].get(f"ratio_{setup}"), ".3f")
                      for setup in ("served", "rest", *other)] +
                     [_known(found["paired"]["log_bytes_per_request"], ".0f"),
                      _known(found["paired"]["tx_bytes_per_request"], "d"),
                      _known(found["far"] and found["far"]["trips_per_request"], ".2f")])
    return lines


def disks(rows):
    return simple(["guest", "QEMU's", "alone", "paired", "ratio", "rest", "to QEMU's", "log B",
                   "sent B", "trips"], _device(rows, plan.DISKS, ["plain"]))


def cards(rows):
    return simple(["guest", "QEMU's", "vhost-net", "alone", "paired", "ratio", "rest", "to QEMU's",
                   "to vhost-net", "log B", "sent B", "trips"],
                  _device(rows, plan.CARDS, ["plain", "vhost"]))


def devices(rows):
    return disks(rows) + "\n\n" + cards(rows)


def everything(rows):
    return "\n\n".join([slowdown(rows), epochs(rows), costs(rows), takeovers(rows), devices(rows)])
