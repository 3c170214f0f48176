# SPDX-License-Identifier: GPL-2.0
"""What waits for what between a guest and its disk, in lockstep, and what does not."""
import time

from harness import need, test
from ftbed import paths
from test_disk import Disks


def _pair(t, disks, words):
    return t.pair("io", append=f"{words} bytes=4096 steps=1000",
                  extra=(disks.arguments, disks.arguments))


@test(timeout=240, more=1)
def io_requests_before_the_start(t):
    """What the guest asked for before its queue was started is done at once on both hosts.
    Nobody comes to look whether something was left before the time-out, of ten minutes."""
    disks = Disks(t)
    pair = _pair(t, disks, "write=20")
    pair.join(timeout=600000)
    end = r"bench: 20 of 4096 bytes.*\n"
    pair.wait_live(t.a, end, timeout=60)
    pair.wait_shadow(t.b, end, timeout=60)
    a, b = disks.sum(t.a), disks.sum(t.b)
    need(a == b, f"the images differ: {a} and {b}")


@test(timeout=240)
def io_kicks_do_not_wait(t):
    """A kick does not wait for the link; what comes of it does."""
    disks = Disks(t)
    pair = _pair(t, disks, "write=10000000")
    pair.join(timeout=20000)

    def kicks():
        return disks.device(t.a)["stats"]["kicks"]

    def counts(first):
        """Kicks before and behind the look at the others, which takes its time."""
        end = time.monotonic() + 60 * paths.SLOWNESS
        while (before := kicks()) < first:
            need(time.monotonic() < end, f"the guest does not kick: {before}")
            t.a.run("sleep 0.2")
        stats = pair.stats(t.a)
        return before, kicks(), stats["commit_waits"], stats["outputs"]

    _, begin, waits, outputs = counts(50)
    end, _, more_waits, more_outputs = counts(begin + 50)
    need(more_outputs - outputs >= end - begin, "a kick is not logged")
    # but for a few at which the console or the firmware was not done yet
    need(more_waits - waits < (end - begin) / 4, f"{more_waits - waits} waits, {end - begin} kicks")
    t.hosts.wire.stall()
    t.a.run("sleep 1")
    stats = disks.device(t.a)["stats"]
    t.a.run("sleep 1")
    need(disks.device(t.a)["stats"]["completed"] == stats["completed"], "a write did not wait for the backup")
    t.hosts.wire.restore()
    counts(stats["kicks"] + 20)
    need((pair.state(t.a), pair.state(t.b)) == ("primary", "backup"), "the pair has ended")


@test(timeout=240, more=1)
def io_verify_of_a_busy_disk(t):
    """A guest that always has 32 reads under way does not keep a comparison from its end."""
    disks = Disks(t)
    pair = t.pair("io", append="read=10000000 depth=32 bytes=4096 steps=1",
                  extra=(disks.arguments, disks.arguments))
    pair.join()
    end = time.monotonic() + 60 * paths.SLOWNESS
    while disks.device(t.a)["stats"]["completed"] < 200:
        need(time.monotonic() < end, "the guest does not read")
        time.sleep(0.2)
    answer = t.json(t.a, "verify", pair.label, "--disks")
    need(answer.get("same"), f"{answer}")
    need(pair.stats(t.a)["disk_bytes"] == disks.size, "not all was compared")
