# SPDX-License-Identifier: GPL-2.0
"""A guest that runs, with a disk, a network card, gets a backup: its disk's image comes along."""
import shlex

from harness import SLACK, Pair, add, guests, need, need_match, test
from test_disk import BYTES, ROUNDS, SHARED, _goes_on
from test_net import MEMORY, Cards, _said
from test_protect import Live
from ftbed import device, pairing, paths

ENDLESS = "rounds=0"
OTHER = 5 << 20		# somewhere that the guest does not touch


class LiveDevices(Live):
    """Its ftd have the devices before its QEMU comes, and forget them in the end."""

    def __init__(self, test, name, append, devices, memory=SHARED, **options):
        super().__init__(test, name, append, **options)
        self.devices = devices
        self.args = [*self.args, *memory, *(word for one in devices for word in one.arguments)]

    def _daemons(self):
        super()._daemons()
        for host in self.test.hosts:
            for one in self.devices:
                host.run(one.add)

    def close(self):
        Pair.close(self)
        for host in self.test.hosts:
            for one in self.devices if host.alive else ():
                host.run(one.delete)
        super().close()


def _live(t, *words, **options):
    pair = LiveDevices(t, *words, **options)
    t.things.append(pair)
    pair.start()
    return pair


def _sum(host, disk):
    return host.run(f"sha256sum < {disk.image}").out.split()[0]


def _disk(t, append=ENDLESS, **options):
    """A guest that writes to its disk on A, where B's image is full of something else."""
    disk = device.Disk("disk", pairing.NAME, 0, BYTES, **options)
    pair = _live(t, "disk", append, [disk])
    t.b.run(f"head -c {BYTES} /dev/urandom | dd of={disk.image} bs=1M conv=notrunc status=none")
    t.a.run(f"printf elsewhere | dd of={disk.image} bs=1 seek={OTHER} conv=notrunc status=none")
    pair.wait_live(t.a, ROUNDS, timeout=60)
    return pair, disk


def _same_disks(t, pair, host=None):
    answer = t.json(host or t.a, "verify", pair.label, "--disks")
    need(answer.get("same") is True, f"the images: {answer}")


@test(timeout=240)
def protect_disk(t):
    """It writes to its disk all the time; in the end both images are the same."""
    pair, disk = _disk(t)
    pair.protect()
    need(pair.state(t.a) == "primary", f"it is {pair.state(t.a)}")
    pair.wait_state(t.b, "backup")
    _goes_on(t, t.a)
    _same_disks(t, pair)
    pair.same()
    _goes_on(t, t.a)
    at = f"dd if={disk.image} bs=1 skip={OTHER} count=9 status=none"
    need(t.b.run(at).out == "elsewhere", "what the guest did not write is not there")


@test(timeout=240, kills=True)
def protect_disk_lose_primary(t):
    """The survivor reads what was written before it was there, and what was written since."""
    pair, disk = _disk(t)
    pair.protect()
    _goes_on(t, t.a)
    t.a.power_off()
    pairing.promote(t.b)
    _goes_on(t, t.b)
    _goes_on(t, t.b)
    need("FAILED" not in pair.live(t.b), "it does not read what it wrote")


@test(timeout=300, kills=True)
def protect_net(t):
    """A client that asks all the time has all its answers, before, behind, and of the survivor."""
    cards = Cards(t)
    t.things.remove(cards)	# the pair's
    for host in t.hosts:
        host.run(cards.card.delete)
    pair = _live(t, "net", "", [cards.card], memory=device.shared_memory(MEMORY))
    pair.wait_live(t.a, r"net: " + cards.mac, timeout=60)
    client = cards.client(t.b, 400, "--end")
    pair.wait_live(t.a, r"net: 50 frames", timeout=60)
    pair.protect()
    pair.wait_live(t.a, r"net: 200 frames", timeout=60)
    t.a.power_off()
    pairing.promote(t.b)
    _said(client, 120)
    pair.wait_live(t.b, r"net: good \d+ frames.*\n", timeout=30)


@test(timeout=240)
def protect_other_disk(t):
    """The peer's is of another size: nothing has happened to the guest, and it is said."""
    disk = device.Disk("disk", pairing.NAME, 0, BYTES)
    pair = _live(t, "disk", ENDLESS, [disk])
    disk.size = BYTES + 65536
    t.b.run(f"{disk._delete}; {disk.add}")
    pair.wait_live(t.a, ROUNDS, timeout=60)
    result = pair.protect(check=False)
    need_match(f"{BYTES + 65536} bytes here, and {BYTES} there", result.out + result.err, "cause")
    _goes_on(t, t.a)
    need(pair.state(t.a) == "idle", f"it is {pair.state(t.a)}")
    need(not t.json(t.a, "device", "show", "disk")[0].get("trouble"), "its disk is in trouble")
