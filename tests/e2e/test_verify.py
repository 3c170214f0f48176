# SPDX-License-Identifier: GPL-2.0
"""Verification: all registers and all memory of both replicas, at one point."""
from harness import add, guests, need, need_match, pairing, test

LONG = "rounds=100000 work=150"
RAM_PAGES = 128 * 256	# QEMU's default


def _verify(t, pair):
    answer = t.json(t.a, "verify", pair.label)
    need(answer.get("same") is True, f"verify: {answer}")
    need(answer["registers"] > 250, f"only {answer['registers']} registers were compared")
    need(answer["pages"] >= RAM_PAGES, f"only {answer['pages']} pages were compared")
    return answer


def _agree(pair, times):
    """The backup has counted them too: it compares as it consumes the log."""
    for host in pair.test.hosts:
        seen = pair.stats(host)
        need(seen["verifies"] == times, f"host {host.name}: {seen['verifies']} verifications")
        need(seen["verify_pages"] >= times * RAM_PAGES, f"{seen['verify_pages']} pages")
        need(not seen["divergences"], "diverged")


@test(skid=1000)
def verify_whole_guest(t):
    """While it computes and prints; again, as the slots must be reused; then it goes on."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    _verify(t, pair)
    _verify(t, pair)
    _agree(pair, 2)
    need_match(r"the same \d+ registers and \d+ pages", t.ftctl(t.a, "verify", pair.label).out,
               "verify for people")
    pair.goes_on(t.a, 5)
    pair.one_machine()


@test()
def verify_interrupts_and_clock(t):
    """A guest of timer interrupts, with pending ones wherever it is cut."""
    pair = t.pair("timer", append="ticks=100000", machine="microvm")
    pair.join()
    pair.lockstep(2)
    for _ in range(3):
        _verify(t, pair)
    _agree(pair, 3)
    pair.one_machine()


@test(more=1)
def verify_halted_guest(t):
    """It waits for input, halted: no epoch would end by itself."""
    pair = t.pair("echo", machine="microvm")
    pair.join()
    pair.wait_live(t.a, "echo: type")
    _verify(t, pair)
    _agree(pair, 1)
    t.a.live.send(b"still there\n")
    pair.wait_live(t.a, "still there")


@test(more=1)
def verify_in_the_background(t):
    """Every few epochs a slice; it goes through all memory, and survives a promotion."""
    pair = t.pair("loop", append=LONG)
    pair.join(verify_every="2")
    pair.lockstep()
    need(pair.status(t.a)["verify_every"] == 2, f"status: {pair.status(t.a)}")
    written = 0
    for _ in range(5):
        # its stack at least; and not all that it ever wrote
        pair.goes_on(t.a, 5)
        seen = pair.stats(t.a)["verify_dirty"]
        need(seen > written, f"{seen} written pages were compared, as before")
        written = seen
    need(written * 2 < pair.stats(t.a)["verify_pages"], f"{written} written pages")
    end = t.hosts.now() + 100
    while pair.stats(t.b)["verify_pages"] <= RAM_PAGES:
        need(t.hosts.now() < end, f"only {pair.stats(t.b)['verify_pages']} pages so far")
        pair.goes_on(t.a, 2)
    t.ftctl(t.a, "set", pair.label, "--verify-every", "0")
    before = pair.stats(t.a)["verify_pages"]
    pair.goes_on(t.a, 5)
    need(pair.stats(t.a)["verify_pages"] - before <= 640, "it was not switched off")
    pair.one_machine()


def _spoiled(t, host, **options):
    pair = t.pair("loop", append=LONG)
    pair.join(**options)
    pair.lockstep()
    _spoil(t, host, 100)
    return pair


def _spoil(t, host, *places):
    """A bit in a page at each, in MiB"""
    pid = int(host.run("pidof qemu-system-x86_64").out)
    for place in places:
        t.tool(host, "poke", pid, place, "0x10")


def _found(t, pair):
    pair.wait_state(t.b, "stopped", timeout=60)
    detail = pair.no_detail_lost(t.b, "diverged")
    need_match("memory differs in the page at 0x6400000", detail, "the backup's detail")
    pair.wait_state(t.a, "solo")
    pair.no_detail_lost(t.a, "diverged")
    pair.goes_on(t.a, 5)


@test()
def verify_finds_a_spoiled_backup(t):
    """A bit in each of three pages of the backup's: the first is named, the primary goes on."""
    pair = _spoiled(t, t.b)
    _spoil(t, t.b, 120, 101)
    text = t.refused(t.a, "verify", pair.label, cause="not the same", remedy="page at 0x6400000")
    need("diverged" not in text or "0x6400000" in text, text)
    _found(t, pair)


@test()
def verify_finds_a_spoiled_primary_in_the_background(t):
    _found(t, _spoiled(t, t.a, verify_every="1"))


@test()
def verify_refused(t):
    pair = t.pair("loop", append=LONG)
    t.refused(t.a, "verify", pair.label, cause="is idle", remedy="no replica")
    pair.join()
    pair.lockstep()
    t.refused(t.b, "verify", pair.label, cause="backup here", remedy="primary's host")
    t.ftctl(t.a, "unpair", pair.label)
    pair.wait_state(t.a, "solo")
    t.refused(t.a, "verify", pair.label, cause="is solo", remedy="no replica")
    t.refused(t.a, "verify", "nobody", cause="no guest named|no replica")


def _torture(name):
    """Events that are pending, blocked or half delivered are the same where epochs end."""
    def run(t):
        entry = guests.table()[name]
        pair = t.pair(name, append=f"ticks=1000000000 {entry.append}",
                      machine=entry.machines[0])
        pair.join(verify_every="20", period="2000")
        pair.lockstep(1)
        end = t.hosts.now() + 100
        while pair.stats(t.b)["verify_pages"] < 50 * 128:	# fifty times, or less
            need(t.hosts.now() < end, f"only {pair.stats(t.b)['verify_pages']} pages so far")
        pair.wait_state(t.a, "primary")
        pair.wait_state(t.b, "backup")
        pair.one_machine()
    return run


for _name in ("except", "dbreg1", "dbdetect", "tfstep", "selfnmi", "sse", "tprx"):
    add(f"verify_{_name}", _torture(_name), timeout=150, more=1)


@test(kills=True, more=1)
def verify_cut_by_the_primarys_death(t):
    """Half a verification in the log: the backup goes live all the same."""
    pair = t.pair("loop", append=LONG)
    pair.join(verify_every="1")
    pair.lockstep(10)
    t.a.power_off()
    pairing.promote(t.b)
    pair.goes_on(t.b, 10)
    pair.one_machine(promoted=True)
