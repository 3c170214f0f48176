# SPDX-License-Identifier: GPL-2.0
"""Judge a Run: did two hosts behave as one machine?"""
from . import console, output


def _divergences(run):
    from_stats = sum(int(s.get("divergences", 0)) for s in run.last_stats.values())
    from_events = sum(1 for events in run.events.values() for event in events
                      if "diverged" in str(event.get("event", "")).lower())
    return max(from_stats, from_events)


def _compare(run):
    """Texts of the consoles, and what output.compare() says of them."""
    texts = {host.name: dict(zip(("live", "shadow"), run.texts(host.name)))
             for host in run.hosts}
    if run.options.unpaired:
        return texts, None
    primary, shadow, live = texts["a"]["live"], texts["b"]["shadow"], texts["b"]["live"]
    if run.options.kill == "backup" and "killed" in run.times:
        # The backup fell silent in the middle: what it said must be a beginning.
        seen = output.compare(primary, shadow)
        seen["same_output"] = primary.startswith(shadow)
        seen["difference"] = (None if seen["same_output"]
                              else output.difference(primary[:len(shadow)], shadow))
        seen["full"] = primary
        return texts, seen
    if run.options.kill == "primary" and "promoted" in run.times:
        return texts, output.compare(primary, shadow, live)
    stopped = "stopped" in run.times
    seen = output.compare(primary, shadow)
    if stopped and not seen["same_output"]:
        # Stopped in the midst: the backup may be a little behind.
        short = min(len(primary), len(shadow))
        seen["same_output"] = primary[:short] == shadow[:short]
        if seen["same_output"]:
            seen["difference"] = None
    return texts, seen


def _survived(run):
    """The guest outlived what was done to it: it ended well, or still runs."""
    guest = run.guests.get(run.survivor().name) if run.guests else None
    if guest is None:
        return False
    if guest.exit_code is not None:
        return run.options.status is None or guest.exit_code == run.options.status
    return "stopped" in run.times and run.still_runs


def _check_ends(run):
    o = run.options
    ended = {name: guest.exit_code for name, guest in run.guests.items()
             if guest.exit_code is not None}
    if "stopped" not in run.times:
        for name, code in ended.items():
            if o.status is not None and code != o.status:
                said = run.guests[name].complaints
                run.fail(f"QEMU on host {name} ended with {code}, not {o.status}"
                         + (f": {said}" if said else ""))
        if len(set(ended.values())) > 1:
            run.fail(f"QEMU ended differently: {ended}")


def judge(run):
    """The verdict; good is the sum of all."""
    o = run.options
    texts, seen = _compare(run)
    divergences = _divergences(run)
    _check_ends(run)
    if divergences and not o.diverges:
        run.fail(f"{divergences} divergences")
    if o.diverges:
        if not divergences:
            run.fail("no divergence was caught")
        seen = None
    if seen and not seen["same_output"]:
        line, left, right = seen["difference"] or (0, None, None)
        run.fail(f"the hosts' outputs part at line {line}: a has {left!r}, b has {right!r}")
    if seen and seen["lost"]:
        run.fail(f"{seen['lost']} lines of output were lost at the takeover")
    if seen and seen["repeated"] > 1:
        run.fail(f"{seen['repeated']} lines of output were repeated")
    if o.kill == "primary" and "promoted" not in run.times:
        run.fail("the backup was never promoted")
    survived = _survived(run)
    if not survived:
        run.fail("the guest did not survive")
    lines = None
    if o.linux:
        seen_outside = [texts["a"]["live"]]
        if "promoted" in run.times:
            seen_outside.append(texts["b"]["live"])
        report = console.check(*seen_outside)
        lines = report.as_dict()
        for problem in report.problems:
            run.fail(f"console: {problem}")
        if not report.lines:
            run.fail("console: no line of the guest")
    return {
        "good": not run.reasons,
        "reason": "; ".join(run.reasons),
        "same_output": seen["same_output"] if seen else None,
        "divergences": divergences,
        "survived": survived,
        "exit_codes": {name: guest.exit_code for name, guest in run.guests.items()},
        "lines_lost": seen["lost"] if seen else 0,
        "lines_repeated": seen["repeated"] if seen else 0,
        "machine": o.machine, "kill": o.kill, "skid": o.skid, "seed": o.seed,
        "period": o.period, "margin": o.margin,
        "stats": run.last_stats,
        "status": run.final,
        "timings": run.times,
        "marks": run.marks,
        "events": run.events,
        "samples": run.samples,
        "consoles": texts,
        "guest_lines": lines,
        "notes": run.notes,
        "wire": run.wire_count,
    }


INTERESTING = ("epochs", "epochs_snapped", "epochs_halted", "epochs_landed", "inputs",
               "outputs", "env_pio", "env_mmio", "env_tsc", "env_msr", "env_lapic",
               "exits", "log_bytes", "guest_events", "lag_median", "lag_max", "divergences")


def summary(verdict):
    """The verdict for people."""
    out = []
    v = verdict
    title = "GOOD" if v["good"] else "BAD"
    out.append(f"verdict: {title}" + (f": {v['reason']}" if v["reason"] else ""))
    if v["same_output"] is not None:
        out.append(f"  output      {'the same' if v['same_output'] else 'DIFFERS'}; "
                   f"{v['lines_lost']} lines lost, {v['lines_repeated']} repeated; "
                   f"{v['divergences']} divergences")
    ends = ", ".join(f"{n}: {'-' if c is None else c}" for n, c in v["exit_codes"].items())
    out.append(f"  guest       {'survived' if v['survived'] else 'DID NOT SURVIVE'}; "
               f"QEMU's exit status {ends or '-'}")
    times = ", ".join(f"{k} {t:g}" for k, t in v["timings"].items())
    out.append(f"  seconds     {times}")
    if v["guest_lines"]:
        g = v["guest_lines"]
        out.append(f"  guest lines {g['lines']} (numbers {g['first']} to {g['last']}), "
                   f"{g['lost']} lost, {g['repeated'] + g['torn']} repeated, "
                   f"{len(g['warnings'])} kernel warnings, {len(g['answers'])} answers")
    stats = v["stats"]
    if stats:
        names = sorted(stats)
        keys = [k for k in INTERESTING if any(k in stats[n] for n in names)]
        out.append("  " + " " * 16 + "".join(f"{n:>14}" for n in names))
        for key in keys:
            out.append(f"  {key:16}" + "".join(f"{stats[n].get(key, '-'):>14}" for n in names))
    for note in v["notes"]:
        out.append(f"  note: {note}")
    return "\n".join(out)
