# SPDX-License-Identifier: GPL-2.0
"""What the demonstration found: report.json, and a table for people."""

KINDS = ("pio", "mmio", "tsc", "msr", "lapic", "irqchip")


def _last_sample(verdict, name):
    """The last statistics of a host, of which a dead one tells no more."""
    series = verdict["samples"].get(name) or []
    return dict(verdict["stats"].get(name) or (series[-1][1] if series else {}))


def _outage(demo, verdict):
    """Milliseconds from the power cut to the first word at the survivor's console."""
    if "killed" not in demo.times:
        return None
    killed = demo.start + demo.times["killed"]
    host = demo.survivor()
    chunks = host.live.chunks[demo._console_marks[host.name][0]:]
    after = [when for when, _ in chunks if when > killed]
    return round((after[0] - killed) * 1000, 1) if after else None


def _checks(demo, verdict):
    """What the outside world may expect; (what, is it so)."""
    lines = verdict["guest_lines"] or {}
    web, log = demo.outside.web(), demo.log or {}
    checks = [
        ("no line is missing", lines.get("lost") == 0),
        ("at most the last line came twice",
         lines.get("repeated", 9) + lines.get("torn", 9) <= 1),
        ("the running hash continues", lines.get("course_changes") == 0),
        ("time never steps back", lines.get("steps_back") == 0),
        ("the guest's kernel log has no warning",
         bool(lines.get("clean")) and not lines.get("warnings")),
        ("all that was typed was answered", len(lines.get("answers", ())) == 4),
        ("the backup had replayed the same lines, muted", verdict["same_output"] is True),
        ("no divergence", verdict["divergences"] == 0),
        ("the web page was there each time", web["answers"] >= 10 and not web["errors"]),
        ("its counter and uptime never fell", web["falls"] == 0),
        ("the survivor's file system is whole", bool(log.get("whole"))),
        ("each line that was printed is on its disk",
         log.get("lines", 0) >= lines.get("last", 1) and not log.get("missing")),
        ("the guest ran on to its end", verdict["survived"]),
    ]
    return [(what, bool(good)) for what, good in checks]


def make(demo, verdict, seed):
    """The report as a dict."""
    kill = verdict["kill"]
    a, b = _last_sample(verdict, "a"), _last_sample(verdict, "b")
    live = b if kill == "primary" else a
    lines = verdict["guest_lines"] or {}
    checks = _checks(demo, verdict)
    insns = live.get("guest_events", 0)
    # Counted while both ran: a primary that died says no more than its last sample.
    log_bytes = max(a.get("log_bytes", 0), b.get("log_bytes", 0))
    logged = max(1, (a if a.get("log_bytes") else b).get("guest_events", 0))
    takeover = b.get("takeover_ns")
    survived = verdict["good"] and all(good for _, good in checks)
    return {
        "survived": survived,
        "failover": bool(kill == "primary" and "promoted" in demo.times and survived),
        "kill": kill, "seed": seed, "machine": verdict["machine"], "skid": verdict["skid"],
        "reason": verdict["reason"],
        "guest_lines": lines.get("lines", 0),
        "guest_lines_lost": lines.get("lost", 0),
        "guest_lines_repeated": lines.get("repeated", 0) + lines.get("torn", 0),
        "guest_answers": len(lines.get("answers", ())),
        "guest_warnings": lines.get("warnings", []),
        "divergences": verdict["divergences"],
        "epochs": max(a.get("epochs", 0), b.get("epochs", 0)),
        "epochs_snapped": max(a.get("epochs_snapped", 0), b.get("epochs_snapped", 0)),
        "epochs_halted": max(a.get("epochs_halted", 0), b.get("epochs_halted", 0)),
        "epochs_landed": b.get("epochs_landed", 0),
        "epochs_skipped": b.get("epochs_skipped", 0),
        "env_reads": {kind: max(a.get("env_" + kind, 0), b.get("env_" + kind, 0))
                      for kind in KINDS},
        "inputs": max(a.get("inputs", 0), b.get("inputs", 0)),
        "outputs": a.get("outputs", 0),
        "log_bytes": log_bytes,
        "log_bytes_per_1000_insns": round(1000 * log_bytes / logged, 3),
        "lag_epochs_median": a.get("lag_median", 0),
        "lag_epochs_max": a.get("lag_max", 0),
        "takeover_ms": round(takeover / 1e6, 3) if takeover else None,
        "outage_ms": _outage(demo, verdict),
        "web": demo.outside.web(),
        "disk": demo.log,
        "guest_insns": insns,
        "checks": dict(checks),
        "timings": verdict["timings"],
        "notes": verdict["notes"],
    }


def _number(value):
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)


def table(report):
    """The report for people."""
    rows = [("what was cut", f"host {'A, the primary' if report['kill'] == 'primary' else 'B, the backup'}"
             f" (SEED={report['seed']})")]
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
    ]
    if report["takeover_ms"] is not None:
        rows.append(("takeover, promotion to live guest", f"{report['takeover_ms']} ms"))
    if report["outage_ms"] is not None:
        rows.append(("the cut to the next word at the console", f"{report['outage_ms']:.0f} ms"))
    if report["web"]["answers"]:
        rows.append(("the web page", f"asked for {report['web']['answers']} times, the slowest "
                     f"answer took {report['web']['slowest_ms']} ms"))
    width = max(len(what) for what, _ in rows)
    bar = "-" * (width + 40)
    title = "The guest survived." if report["survived"] else "THE GUEST DID NOT SURVIVE as one machine."
    out = [bar, title] + ([report["reason"]] if report["reason"] else []) + [bar]
    out += [f"{what:{width}}  {value}" for what, value in rows]
    return "\n".join(out + [bar])
