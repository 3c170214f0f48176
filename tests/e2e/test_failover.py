# SPDX-License-Identifier: GPL-2.0
"""One host goes, the guest stays: power cut, QEMU killed, promotion, force, unpairing."""
import shlex
import time

from harness import SLACK, add, console, guests, need, need_match, output, pairing, paths, test

LONG = "rounds=100000 work=150"


@test(kills=True)
def kill_primary_bare(t):
    """Power cut at A, promotion on B: no line lost, at most one said twice."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep(10)
    t.a.power_off()
    pairing.promote(t.b)
    pair.goes_on(t.b, 10)
    pair.one_machine(promoted=True)
    status = pair.status(t.b)
    need(status["state"] == "solo", f"the survivor's state is {status['state']}")
    need(pair.stats(t.b)["takeover_ns"] > 0, "no takeover was measured")
    pair.wait_event(t.b, "peer-lost")
    pair.wait_event(t.b, "promoted")


@test(kills=True)
def kill_backup_bare(t):
    """Power cut at B: A goes on solo and says so."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep(10)
    shadow = pair.shadow(t.b)
    t.b.power_off()
    pair.wait_state(t.a, "solo")
    pair.goes_on(t.a, 10)
    need(pair.live(t.a).startswith(shadow), "the backup had printed something else")
    pair.wait_event(t.a, "peer-lost")
    detail = pair.no_detail_lost(t.a, "peer-silent")
    need("ms" in detail, f"the detail does not say how long: {detail}")


def _cut_in_the_midst(guest, machine, at, append=None, kill="primary"):
    def run(t):
        t.run(guest, machine=machine, kill=kill, at=at, append=append)
    return run


# Guests that check their own interrupts, cut at some moment: they must end well.
for name, machine, skid, append, at in (
        ("timer", "microvm", 0, "ticks=400", 3.0),
        ("timer", "pc", 1000, "ticks=400", 2.5),
        ("spin", "pc", 1000, "rounds=400", 3.0),
        ("selfipi", "microvm", 0, "count=20000", 2.0),
        ("rdtsc", "pc", 0, "reads=400000", 2.0)):
    add(f"kill_primary_{name}_{machine}_skid{skid}",
        _cut_in_the_midst(name, machine, at, append), skid=skid, timeout=150, kills=True,
        more=(name, machine) != ("timer", "pc"))
add("kill_backup_timer_pc", _cut_in_the_midst("timer", "pc", 2.0, "ticks=400", "backup"),
    timeout=150, kills=True, more=1)


def _linux(kill, machine):
    def run(t):
        pair = t.pair("linux", append="ftdemo.lines=0", machine=machine)
        pair.join()
        pair.wait_live(t.a, "ftdemo 000001", 170)
        t.a.live.send(b"before\n")
        pair.wait_live(t.a, "ftdemo 000012", 40)
        survivor = t.a if kill == "backup" else t.b
        (t.b if kill == "backup" else t.a).power_off()
        if kill == "primary":
            pairing.promote(t.b)
            pair.one_machine(promoted=True)
        else:
            pair.wait_state(t.a, "solo")
        mark = survivor.live.mark()
        survivor.live.send(b"after\n")
        pair.wait_live(survivor, "ftanswer 0002 retfa", 40, since=mark)
        pair.wait_live(survivor, "ftdmesg clean", 60, since=mark)
        seen = [pair.live(t.a)] + ([pair.live(t.b)] if kill == "primary" else [])
        report = console.check(*seen)
        need(report.ok, "; ".join(report.problems) or "no line")
        need([text for _, text in report.answers] == ["erofeb", "retfa"],
             f"the answers are {report.answers}")
    return run


add("kill_primary_linux_pc", _linux("primary", "pc"), timeout=300, kills=True, more=1)
add("kill_primary_linux_microvm", _linux("primary", "microvm"), timeout=300, kills=True,
    more=1)
add("kill_primary_linux_microvm_skid1000", _linux("primary", "microvm"), skid=1000, timeout=300,
    kills=True)
add("kill_backup_linux_pc", _linux("backup", "pc"), timeout=300, kills=True, more=1)


@test(kills=True)
def kill_primary_while_it_types(t):
    """Input before the cut and after: B's console answers."""
    pair = t.pair("echo")
    pair.join()
    pair.wait_live(t.a, "echo: type")
    t.a.live.send(b"before\n")
    pair.wait_live(t.a, "before")
    t.a.power_off()
    pairing.promote(t.b)
    t.b.live.send(b"after\n")
    pair.wait_live(t.b, "after")
    t.b.live.send(b"quit\n")
    result = pair.guests["b"]._job.wait(30)
    need(result.code == guests.table()["echo"].status, f"QEMU ended with {result.code}")
    pair.one_machine(promoted=True)


@test(kills=True, more=1)
def kill_primary_before_first_line(t):
    """The cut comes right after the guest's first instruction."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    # armed, it could not be promoted: its guest never began
    pair.wait_state(t.b, "backup")
    t.a.power_off()
    pairing.promote(t.b)
    pair.goes_on(t.b, 10)


@test()
def promote_refused_while_primary_lives(t):
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    t.refused(t.b, "promote", pair.label, cause="primary.* is alive", remedy="--force")
    t.refused(t.a, "promote", pair.label, cause="only a backup can be promoted")
    need(pair.state(t.b) == "backup", "the refusal changed the state")
    pair.goes_on(t.a)
    pair.one_machine()


@test()
def promote_by_force(t):
    """--force: B goes live and A never runs again."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep(10)
    t.ftctl(t.b, "promote", pair.label, "--force")
    # it was not promoted before
    need(pair.state(t.a) == "stopped", f"B is promoted, A is {pair.state(t.a)}")
    pair.wait_state(t.b, "solo")
    pair.no_detail_lost(t.a, "promoted")
    pair.goes_on(t.b, 10)
    said = pair.live(t.a)
    pair.goes_on(t.b, 5)
    need(pair.live(t.a) == said, "the fenced primary still prints")
    pair.one_machine(promoted=True)


@test(more=1)
def promote_by_force_unheard(t):
    """--force, and A does not hear of it: B must not go live."""
    pair = t.pair("loop", append=LONG)
    pair.join(timeout=3000)
    pair.lockstep(10)
    t.hosts.wire.cut("b")
    t.refused(t.b, "promote", pair.label, "--force", cause="did not confirm",
              remedy="power its host off")
    pair.wait_state(t.a, "solo")
    t.hosts.wire.restore()
    need(pair.state(t.b) == "orphan", f"A runs, B is {pair.state(t.b)}")
    pair.goes_on(t.a, 10)
    pair.one_machine()


@test()
def unpair_at_primary(t):
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    t.ftctl(t.a, "unpair", pair.label)
    pair.wait_state(t.a, "solo")
    pair.wait_state(t.b, "stopped")
    pair.no_detail_lost(t.a, "unpaired")
    pair.wait_event(t.b, "unpaired")
    pair.goes_on(t.a, 10)
    pair.one_machine()
    t.refused(t.a, "unpair", pair.label, cause="not paired")
    t.refused(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}",
              cause="has run", remedy="-S")


@test()
def unpair_waits_for_backup(t):
    """B has not heard of it: A is no solo yet, and still waits for B with its outputs."""
    pair = t.pair("loop", append=LONG)
    pair.join(timeout=20000)
    pair.lockstep()
    t.hosts.wire.stall()
    job = t.job(t.a, shlex.join([paths.ftctl(), "unpair", pair.label]))
    t.a.run("sleep 1")
    need(job.running, f"unpaired without B: {bytes(job.err)}")
    need(pair.state(t.a) == "primary", f"B does not know, A is {pair.state(t.a)}")
    t.hosts.wire.restore()
    need(not job.wait(60).code, f"unpair failed: {bytes(job.err)}")
    need(pair.state(t.a) == "solo", f"unpaired, A is {pair.state(t.a)}")
    need(pair.state(t.b) == "stopped", f"unpaired, B is {pair.state(t.b)}")
    pair.no_detail_lost(t.a, "unpaired")
    pair.goes_on(t.a, 10)
    pair.one_machine()


@test(more=1)
def unpair_unheard(t):
    """B never hears of it: A goes on solo after the time-out."""
    pair = t.pair("loop", append=LONG)
    pair.join(timeout=3000)
    pair.lockstep()
    t.hosts.wire.cut()
    t.ftctl(t.a, "unpair", pair.label)
    need(pair.state(t.a) == "solo", f"unpaired, A is {pair.state(t.a)}")
    pair.no_detail_lost(t.a, "unpaired")
    pair.goes_on(t.a, 10)
    t.hosts.wire.restore()
    pair.wait_state(t.b, "orphan", "stopped")


@test(more=1)
def unpair_at_backup(t):
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    t.ftctl(t.b, "unpair", pair.label)
    pair.wait_state(t.b, "stopped")
    pair.wait_state(t.a, "solo")
    pair.goes_on(t.a, 10)


@test()
def detach_refused_while_paired(t):
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    t.refused(t.a, "detach", pair.label, cause="is paired", remedy="unpair")
    t.ftctl(t.a, "unpair", pair.label)
    pair.wait_state(t.a, "solo")
    t.ftctl(t.a, "detach", pair.label)
    pair.goes_on(t.a, 10)


@test()
def qemu_killed_on_primary(t):
    """A's QEMU dies, A's host does not: B waits to be promoted, and goes on."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep(10)
    pair.guests["a"].kill(9)
    pair.wait_state(t.b, "orphan")
    detail = pair.no_detail_lost(t.b, "guest-ended")
    need("QEMU" in detail, f"the detail does not say what ended: {detail}")
    pairing.promote(t.b)
    pair.goes_on(t.b, 10)
    pair.one_machine(promoted=True)


@test(more=1)
def qemu_killed_on_backup(t):
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep(10)
    pair.guests["b"].kill(9)
    pair.wait_state(t.a, "solo")
    pair.no_detail_lost(t.a, "guest-ended")
    pair.goes_on(t.a, 10)


@test()
def qemu_killed_before_it_runs(t):
    """Attached, never paired, gone: nothing of it stays."""
    pair = t.pair("loop")
    for host in t.hosts:
        need(pair.state(host) == "idle", "not idle after attach")
        pair.guests[host.name].kill(9)
    for host in t.hosts:
        pair.guests[host.name]._job.wait(20)
        t.ftctl(host, "detach", pair.label, check=False)
        t.unhooked(host)


@test()
def ftd_killed_and_started_again(t):
    """The daemon is not needed for lockstep, and finds its guests again."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    for host in t.hosts:
        pairing.kill_daemon(host)
    pair.goes_on(t.a)
    for host in t.hosts:
        pairing.start_daemon(host)
    pair.wait_state(t.a, "primary")
    pair.wait_state(t.b, "backup")
    pair.guests["a"].kill(9)
    pair.wait_state(t.b, "orphan")
    pairing.promote(t.b)
    pair.goes_on(t.b, 10)
    pair.one_machine(promoted=True)


@test()
def ftd_killed_as_it_joins_consoles(t):
    """It stopped a promoted guest for that, and left a note: the next ftd lets it go on. Not one that
    somebody else has stopped."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    pair.guests["a"].kill(9)
    pair.wait_state(t.b, "orphan")
    pairing.promote(t.b)
    note = f"{pairing.CONTROL}.guests.{pair.label}.stopped"
    pairing.kill_daemon(t.b)
    pair.guests["b"].qmp("stop")
    t.b.run(f"echo 1 > {note}")
    pairing.start_daemon(t.b)
    pair.wait_taken_up(t.b)
    need(not pair.guests["b"].qmp("query-status")["running"], "what somebody has stopped was let go on")
    end = time.monotonic() + 10 * SLACK
    while pair.status(t.b).get("still", {}).get("by") != "others":
        need(time.monotonic() < end, f"status does not say that it stands still: {pair.status(t.b)}")
        time.sleep(0.2)
    need_match("STANDS STILL.*paused", t.ftctl(t.b, "status", pair.label).out, "status for people")
    pairing.kill_daemon(t.b)
    t.b.run(f"pgrep -x qemu-system-x86 > {note}")
    pairing.start_daemon(t.b)
    pair.goes_on(t.b, 10)
    t.b.run(f"[ ! -e {note} ]")
    end = time.monotonic() + 10 * SLACK
    while "still" in pair.status(t.b):
        need(time.monotonic() < end, f"status says that it stands still: {pair.status(t.b)}")
        time.sleep(0.2)


@test()
def ftd_killed_as_it_promotes(t):
    """It has the shadow console's end in hand, QEMU has it no more: the next ftd says it."""
    path = "/run/console"
    pair = t.pair("loop", append=LONG, attach=False)
    pairing.attach(t.a, pair.label)
    t.ftctl(t.b, "attach", pair.label, "--qmp", pairing.QMP, "--console",
            f"{pairing.CONSOLE}=file:{path}")
    pair.join()
    pair.lockstep(10)
    # a console that takes nothing: there ftd waits
    unstop = t.full_pipe(t.b, path)
    pair.guests["a"].kill(9)
    pair.wait_state(t.b, "orphan")
    t.job(t.b, shlex.join([paths.ftctl(), "promote", pair.label]))
    t.wait_ftd_opens(t.b, path)
    pairing.kill_daemon(t.b)
    unstop()
    pairing.start_daemon(t.b)
    # it waits for a second only, then the guest goes live without: killed later, it is to be joined by the next one
    if pair.state(t.b) == "orphan":
        pairing.promote(t.b)
    t.b.run(f"until [ $(wc -l < {path}) -gt 10 ]; do sleep 0.1; done")
    seen = output.compare(pair.live(t.a), pair.shadow(t.b), t.b.run(f"cat {path}").out)
    need(seen["same_output"], f"the outputs part: {seen['difference']}")
    need(not seen["lost"], f"{seen['lost']} lines were lost")
    need(seen["repeated"] <= 1, f"{seen['repeated']} lines were repeated")
    t.b.run(f"rm -f {path}; ! ls /run/ftkvm/*.line")
