# SPDX-License-Identifier: GPL-2.0
"""Every guest paired: on both machines, with and without skid, with short and long epochs.

The verdict of a run holds what both hosts printed: a bare guest prints digests
of all that it saw and of where each interrupt hit it.
"""
import re

from harness import add, guests, need, test

SKIDS = (0, 1000)
PERIODS = (None, 1000)
# A guest that computes for long has half a million epochs of 1000 events: less of it then.
SHORT = {"loop": "rounds=4", "spin": "rounds=8", "rdtsc": "reads=5000", "nmi": "count=1"}


def _one(name, machine, period):
    def run(t):
        options = {"append": SHORT[name]} if period and name in SHORT else {}
        verdict = t.run(name, machine=machine, period=period, **options)
        stats = verdict["stats"]
        need(verdict["same_output"], "not the same output")
        for host in "ab":
            # the last look at a short guest may come before its first epoch's end
            seen = stats.get(host, {})
            need(seen.get("epochs", 0) or seen.get("guest_events", 0) < 2 * (period or 100000),
                 f"host {host} counted no epoch in {seen.get('guest_events')} events")
    return run


def _matrix():
    """Each guest with each machine, skid and period; all combinations of those with --all."""
    for name, entry in guests.table().items():
        if entry.diverges or entry.linux or entry.torture or entry.needs:
            continue
        for machine in entry.machines:
            for skid in SKIDS:
                for period in PERIODS:
                    odd = (machine == "pc") + (skid == 0) + (period is None)
                    add(f"guest_{name}_{machine}_skid{skid}_period{period or '_default'}",
                        _one(name, machine, period), skid=skid, timeout=90,
                        more=odd % 2 == 0 or bool(period and name not in ("hello", "loop"))
                        or machine == "pc" and name not in ("hello", "loop", "timer")
                        or name in ("spin", "mmio", "selfipi", "echo"))


_matrix()


def _linux(machine, **options):
    def run(t):
        entry = guests.table()["linux"]
        verdict = t.run("linux", append="ftdemo.lines=25", machine=machine, timeout=170,
                        inputs=[(0.5, "one\n"), (1.5, "two\n")], **options)
        need(entry.linux and len(verdict["guest_lines"]["answers"]) == 2,
             f"the guest gave {len(verdict['guest_lines']['answers'])} answers to 2 lines")
        need(verdict["guest_lines"]["clean"], "the guest did not say that its log is clean")
    return run


add("linux_pc", _linux("pc"), timeout=200, more=1)
add("linux_microvm", _linux("microvm"), timeout=200, more=1)
add("linux_pc_skid1000", _linux("pc"), skid=1000, timeout=200, more=1)


@test(more=1)
def counters_of_a_run(t):
    """What the statistics say of a guest that has stopped to wait for input."""
    pair = t.pair("echo", machine="microvm")
    pair.join()
    pair.wait_live(t.a, "echo: type")
    t.a.live.send(b"word\n")
    pair.wait_live(t.a, "word")
    end = t.hosts.now() + 20
    while True:
        a, b = pair.stats(t.a), pair.stats(t.b)
        differ = {k: (a[k], b[k]) for k in ("epochs", "inputs", "env_pio", "guest_events")
                  if a[k] != b[k]}
        if not differ:
            break
        need(t.hosts.now() < end, f"primary and backup count differently: {differ}")
    for key in ("epochs", "inputs", "outputs", "env_pio", "records", "log_bytes", "guest_events",
                "exits", "tx_bytes", "rx_bytes"):
        need(a.get(key, 0) > 0, f"the primary counted no {key}: {a}")
    need(b["inputs_local"] + b["epochs_halted"] > 0, f"the backup counted no halt: {b}")


@test(more=1)
def console_input_reaches_both(t):
    """What is typed at A's console, both replicas echo."""
    pair = t.pair("echo")
    pair.join()
    pair.wait_live(t.a, "echo: type")
    for word in ("first", "second"):
        t.a.live.send(word.encode() + b"\n")
        pair.wait_live(t.a, word)
    t.a.live.send(b"quit\n")
    match = t.b.shadow.wait_for("second", 20, pair._marks["b"][1])
    need(match, f"the backup's muted console lacks it: {pair.shadow(t.b)[-200:]!r}")
    pair.one_machine()


@test(skid=1000)
def nmi_lands_on_both(t):
    """An NMI, while the guest computes, hits both replicas at one instruction."""
    t.run("nmi", machine="pc")


@test()
def rdrand_diverges(t):
    """Replicas that part are caught; the backup says where, the primary goes on."""
    pair = t.pair("rdrand", append="after=10 lines=1000000")
    pair.join()
    pair.wait_state(t.a, "solo", timeout=40)
    status = pair.status(t.b)
    need(status["state"] == "stopped", f"the backup's state is {status['state']}")
    detail = pair.no_detail_lost(t.b, "diverged")
    for pattern in (r"epoch \d+", r"point \d+/0x[0-9a-f]+", "register|record|exit|the log has"):
        need(re.search(pattern, detail), f"the backup does not say /{pattern}/: {detail}")
    pair.wait_event(t.b, "diverged")
    pair.no_detail_lost(t.a, "diverged")
    need(pair.stats(t.b)["divergences"] == 1, "the divergence was not counted")
    pair.goes_on(t.a, 10)


@test(skid=1000)
def rdrand_diverges_with_skid(t):
    t.run("rdrand", diverges=True)
