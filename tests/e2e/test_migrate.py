# SPDX-License-Identifier: GPL-2.0
"""Guests with ftkvm's devices that QEMU stops, continues and migrates, while nobody protects them."""
import shlex
import time

from harness import SLACK, Guest, add, guests, need, test	# noqa: F401
from test_disk import ROUNDS, Disks
from test_net import MEMORY, Cards, _said
from ftbed import device, pairing

PORT = 7790
END = r"(?:disk|net): good .*\n|FAILED.*\n|CRASH.*\n"


class Migration:
    """A guest that runs on A, and a QEMU on B that waits for it."""

    def __init__(self, t, name, append, devices):
        self.t = t
        arguments = [*guests.table()[name].qemu_args(append), *device.shared_memory(MEMORY), *devices]
        self.marks = {h.name: h.shadow.mark() for h in t.hosts}
        self.source = Guest(t.a, "pc", arguments, paired=True)
        self.target = Guest(t.b, "pc", [*arguments, "-incoming", "defer"], paired=True)
        for one in (self.source, self.target):
            one.start()
            t.things.append(one)
        for one in (self.source, self.target):
            one.wait_ready(one.await_ready())
            one.qmp("migrate-set-capabilities", capabilities=[
                {"capability": "pause-before-switchover", "state": True}])
        self.target.qmp("migrate-incoming", uri=f"tcp:0:{PORT}")

    def begin(self):
        self.source.qmp("cont")

    def says(self, host, pattern, timeout=30):
        match = host.shadow.wait_for(pattern, SLACK * timeout, self.marks[host.name])
        need(match, f"host {host.name}'s guest does not print /{pattern}/: it ends with "
             f"{host.shadow.text(self.marks[host.name])[-300:]!r}")
        return match[0]

    def goes_on(self, host, pattern=ROUNDS, timeout=30):
        self.marks[host.name] = host.shadow.mark()
        return self.says(host, pattern, timeout)

    def status(self):
        for one in (self.source, self.target):
            need(one.running, f"QEMU on host {one.host.name} has ended with {one.exit_code}: "
                 f"{one.complaints}")
        return self.source.qmp("query-migrate")

    def reach(self, status, timeout=60):
        """Until QEMU's migration is there."""
        end = time.monotonic() + SLACK * timeout
        while (seen := self.status())["status"] != status:
            need(seen["status"] not in ("failed", "cancelled", "completed"), f"the migration: {seen}")
            need(time.monotonic() < end, f"the migration does not come to be {status}: {seen}")
            time.sleep(0.1)

    def move(self, at_switchover=lambda: None):
        """The guest goes to B, and runs there."""
        self.source.qmp("migrate", uri=f"tcp:{self.t.b.address}:{PORT}")
        self.reach("pre-switchover")
        at_switchover()
        self.source.qmp("migrate-continue", state="pre-switchover")
        self.reach("completed")
        self.target.qmp("cont")


def _copy(t, image):
    """B's image becomes A's."""
    port = PORT + 1
    job = t.b.start(f"exec socat -u TCP-LISTEN:{port},reuseaddr OPEN:{shlex.quote(image)}")
    t.a.run(f"socat -u OPEN:{shlex.quote(image)},rdonly TCP:{t.b.address}:{port},retry=50,interval=0.1")
    need(not job.wait(30 * SLACK).code, "the image was not copied")


def _disk_moves(words):
    """Between two requests for all that the guest can tell, however many are under way."""
    def run(t):
        disks = Disks(t)
        move = Migration(t, "disk", f"rounds=300 {words}", disks.devices)
        move.begin()
        move.says(t.a, ROUNDS)
        move.move(lambda: _copy(t, disks.image))
        move.goes_on(t.b)
        need("good 300 rounds" in move.says(t.b, END, timeout=60), "the guest does not end well")
        need(move.target.ends_soon(20), "the guest does not end")
    return run


add("migrate_disk", _disk_moves(""), timeout=240, more=1)
add("migrate_disk_polled", _disk_moves("poll indirect"), timeout=240, more=1)


@test(timeout=240, more=1)
def migrate_net(t):
    """What answers the client's next frame has counted all before it."""
    cards = Cards(t)
    move = Migration(t, "net", "", cards.devices)
    move.begin()
    move.says(t.a, "net: " + cards.mac)
    client = cards.client(t.b, 300, "--end")
    move.says(t.a, "net: 100 frames")
    move.move()
    _said(client, 90)
    need("good" in move.says(t.b, END), "the guest does not end well")


@test(timeout=240)
def migrate_given_up(t):
    """One that is cancelled with the guest stopped leaves it its devices."""
    disks = Disks(t)
    move = Migration(t, "disk", "rounds=300", disks.devices)
    move.begin()
    move.says(t.a, ROUNDS)
    move.source.qmp("migrate", uri=f"tcp:{t.b.address}:{PORT}")
    move.reach("pre-switchover")
    move.source.qmp("migrate_cancel")
    end = time.monotonic() + SLACK * 20
    while move.source.qmp("query-migrate")["status"] != "cancelled":
        need(time.monotonic() < end, "it is not cancelled")
        time.sleep(0.1)
    if not move.source.qmp("query-status")["running"]:
        move.source.qmp("cont")
    move.goes_on(t.a)
    need("good 300 rounds" in move.says(t.a, END, timeout=60), "the guest does not end well")


@test(timeout=240, hosts=1, more=1)
def stopped_alone(t):
    """QEMU's stop and cont of a guest that nobody protects: its disk stands still, and goes on."""
    disks = Disks(t)
    mark = t.a.shadow.mark()
    one = t.lone("disk", append="rounds=40", args=disks.arguments)
    one.qmp("cont")
    for _ in range(4):
        need(t.a.shadow.wait_for(ROUNDS, 30 * SLACK, mark), "the guest stands still")
        one.qmp("stop")
        seen = disks.device(t.a)
        need(not seen["stats"]["running"] and not seen["stats"]["pending"], f"it is stopped: {seen}")
        before = disks.sum(t.a)
        time.sleep(0.3)
        need(disks.sum(t.a) == before, "the image changes while the guest is stopped")
        mark = t.a.shadow.mark()
        one.qmp("cont")
    match = t.a.shadow.wait_for(END, 60 * SLACK, mark)
    need(match and "good 40 rounds" in match[0], "the guest does not end well")


def _stopped_in_lockstep(side):
    """QEMU's stop and cont of one of a pair's replicas."""
    def run(t):
        disks = Disks(t)
        pair = t.pair("disk", append="rounds=60", extra=(disks.arguments, disks.arguments))
        pair.join()
        for _ in range(3):
            pair.wait_live(t.a, ROUNDS, since=t.a.live.mark(), timeout=60)
            one = pair.guests[side]
            one.qmp("stop")
            time.sleep(0.5)
            one.qmp("cont")
        end = r"disk: good 60 rounds .*\n"
        pair.wait_live(t.a, end, timeout=90)
        pair.wait_shadow(t.b, end, timeout=60)
        need(disks.sum(t.a) == disks.sum(t.b), "the images differ")
    return run


add("stopped_primary", _stopped_in_lockstep("a"), timeout=240, more=1)
add("stopped_backup", _stopped_in_lockstep("b"), timeout=240, more=1)
