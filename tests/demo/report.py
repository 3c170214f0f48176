# SPDX-License-Identifier: GPL-2.0
"""What the demonstration found: report.json, and a table for people."""
from ftbed import console

KINDS = ("pio", "mmio", "tsc", "msr", "lapic", "irqchip")
SUMS = ("epochs", "epochs_snapped", "epochs_halted", "inputs")
REPLAYED = ("epochs_landed", "epochs_skipped")


def _stats(story):
    """(of the primary, of the backup): the last statistics of each pairing, in order. A dead
    host tells no more than its last sample."""
    both = []
    for one, other in zip(story.samples["a"], story.samples["b"]):
        a, b = (dict(series[-1][1]) if series else {} for series in (one, other))
        both.append((a, b) if a.get("outputs", 0) >= b.get("outputs", 0) else (b, a))
    return both


def _checks(story, lines):
    """What the outside world may expect; (what, is it so)."""
    web, log = story.outside.web(), story.log or {}
    changes = max(1, len(story.live) - 1)
    return [(what, bool(good)) for what, good in (
        ("no line is missing", lines.lost == 0 and lines.lines),
        ("at most the last line before a takeover came twice", lines.repeated + lines.torn <= changes),
        ("the running hash continues", lines.course_changes == 0),
        ("time never steps back", lines.steps_back == 0),
        ("the guest's kernel log has no warning", lines.clean and not lines.warnings),
        ("all that was typed was answered", story.asked and len(lines.answers) == story.asked),
        ("the backups had replayed the same lines, muted", story.replayed()),
        ("no divergence", story.divergences() == 0),
        ("it was protected by itself once the dead host was back",
         any(move["by"] == "ftd" for move in story.moves)),
        ("after each cut it went on by itself", len(story.cuts) == 2 and all(c.spoke for c in story.cuts)),
        ("the web page was there each time", web["answers"] >= 10 and not web["errors"]),
        ("its counter and uptime never fell", web["falls"] == 0),
        ("the survivor's file system is whole", log.get("whole")),
        ("each line that was printed is on its disk",
         log.get("lines", 0) >= max(lines.last, 1) and not log.get("missing")),
        ("the guest ran on to its end", story.ended))]


def make(story):
    """The report as a dict."""
    lines = console.check(*story.texts())
    checks = _checks(story, lines)
    survived = not story.reason and lines.ok and all(good for _, good in checks)
    both = _stats(story)
    sums = {name: sum(max(p.get(name, 0), b.get(name, 0)) for p, b in both) for name in SUMS}
    sums |= {name: sum(b.get(name, 0) for _, b in both) for name in REPLAYED}
    log_bytes = sum(p.get("log_bytes", 0) for p, _ in both)
    insns = sum(p.get("guest_events", 0) for p, _ in both)
    takeovers = [cut for cut in story.cuts if cut.role == "primary"]
    return {
        "survived": survived,
        "failover": bool(survived and takeovers),
        "failovers": len(takeovers) if survived else 0,
        "reprotected": sum(move["by"] == "ftd" for move in story.moves),
        "detect_ms": [cut.after_ms(cut.noticed) for cut in story.cuts],
        "decide_ms": [cut.after_ms(cut.decided) for cut in story.cuts],
        "outage_ms": [cut.after_ms(cut.spoke) for cut in story.cuts],
        "takeover_ms": [round(cut.takeover_ns / 1e6, 3) for cut in takeovers if cut.takeover_ns],
        "cuts": [{"host": cut.victim, "role": cut.role, "survivor": cut.survivor} for cut in story.cuts],
        "protected": story.moves,
        "kill": story.kill, "seed": story.seed, "machine": story.machine,
        "reason": story.reason or "; ".join(lines.problems),
        "guest_lines": lines.lines,
        "guest_lines_lost": lines.lost,
        "guest_lines_repeated": lines.repeated + lines.torn,
        "guest_answers": len(lines.answers),
        "guest_warnings": lines.warnings,
        "divergences": story.divergences(),
        **sums,
        "env_reads": {kind: sum(p.get("env_" + kind, 0) for p, _ in both) for kind in KINDS},
        "outputs": sum(p.get("outputs", 0) for p, _ in both),
        "log_bytes": log_bytes,
        "log_bytes_per_1000_insns": round(1000 * log_bytes / max(insns, 1), 3),
        "lag_epochs_median": max([p.get("lag_median", 0) for p, _ in both], default=0),
        "lag_epochs_max": max([p.get("lag_max", 0) for p, _ in both], default=0),
        "web": story.outside.web(),
        "disk": story.log,
        "guest_insns": insns,
        "checks": dict(checks),
        "marks": story.marks,
    }


def _number(value):
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)


def _each(values, digits=0):
    return ", then ".join("never" if v is None else f"{v:.{digits}f} ms" for v in values)


def table(report):
    """The report for people."""
    cuts = ", then ".join(f"host {cut['host'].upper()}, the {cut['role']}" for cut in report["cuts"])
    rows = [("what was cut", f"{cuts or 'nothing'} (SEED={report['seed']})")]
    rows += [(what, "yes" if good else "NO") for what, good in report["checks"].items()]
    reads = ", ".join(f"{_number(n)} {kind}" for kind, n in report["env_reads"].items() if n)
    rows += [
        ("lines of the guest", f"{report['guest_lines']}: {report['guest_lines_lost']} lost, "
         f"{report['guest_lines_repeated']} repeated"),
        ("epochs", f"{_number(report['epochs'])}: {_number(report['epochs_snapped'])} snapped, "
         f"{_number(report['epochs_halted'])} halted, {_number(report['epochs_landed'])} landed"),
        ("environment reads", reads or "none"),
        ("inputs", _number(report["inputs"])),
        ("log", f"{_number(report['log_bytes'])} bytes, "
         f"{report['log_bytes_per_1000_insns']} per 1000 instructions"),
        ("lag of the backup", f"{report['lag_epochs_median']} epochs (median), "
         f"{report['lag_epochs_max']} at most"),
        ("guest instructions", _number(report["guest_insns"])),
        ("protected", ", then ".join(
            ("by ftd, once the host was back, " if move["by"] == "ftd" else
             f"by ftctl (it stood still for {move['downtime_ms']} ms) ")
            + f"in {move['seconds']:.1f} s" for move in report["protected"]) or "never"),
        ("the cut was noticed after", _each(report["detect_ms"])),
        ("the cut to the next word at the console", _each(report["outage_ms"])),
    ]
    if report["takeover_ms"]:
        rows.append(("takeover, promotion to live guest", _each(report["takeover_ms"], 1)))
    if report["web"]["answers"]:
        rows.append(("the web page", f"asked for {report['web']['answers']} times, the slowest "
                     f"answer took {report['web']['slowest_ms']} ms"))
    width = max(len(what) for what, _ in rows)
    bar = "-" * (width + 40)
    title = "The guest survived." if report["survived"] else "THE GUEST DID NOT SURVIVE as one machine."
    out = [bar, title] + ([report["reason"]] if report["reason"] else []) + [bar]
    out += [f"{what:{width}}  {value}" for what, value in rows]
    return "\n".join(out + [bar])
