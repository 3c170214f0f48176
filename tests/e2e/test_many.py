# SPDX-License-Identifier: GPL-2.0
"""A guest with two disks and two network cards, all at work at once."""
import os
import shlex
import time

from harness import need, need_match, test
from ftbed import device, pairing, paths
from test_net import MEMORY, Announced, _said
from test_protect_devices import _live

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = (16 << 20, 8 << 20)
ROUND = r"many: \d+: .*\n"
GOOD = r"many: good \d+ rounds, hash .*\n"


class Many:
    """The devices on both hosts; both hosts' bridges are one network."""

    def __init__(self, t, add=True):
        self.t = t
        self.disks = [device.Disk(f"disk{i}", pairing.NAME, i, size)
                      for i, size in enumerate(SIZES)]
        self.cards = [device.Card(f"card{i}", pairing.NAME, len(SIZES) + i, f"52:54:00:00:88:b{i}")
                      for i in range(2)]
        t.up()
        for host, peer in ((t.a, t.b), (t.b, t.a)):
            host.run(device.network(host.address, peer.address))
            for one in self.all if add else ():
                host.run(one.add)
        self.added = add
        t.things.append(self)

    @property
    def all(self):
        return [*self.disks, *self.cards]

    @property
    def arguments(self):
        return [*device.shared_memory(MEMORY),
                *(word for one in self.all for word in one.arguments)]

    def clients(self, host, count, *words):
        return [self.t.job(host, shlex.join([os.path.join(HERE, "frames"), device.BRIDGE, card.mac,
                                             str(count), "--end", "--patience",
                                             str(0.3 * paths.SLOWNESS), *words]))
                for card in self.cards]

    def same_images(self):
        for disk in self.disks:
            a, b = (host.run(f"sha256sum < {disk.image}").out for host in self.t.hosts)
            need(a == b, f"the images of {disk.name} differ: {a} and {b}")

    def verified(self, pair):
        """Both, and each as a whole."""
        answer = self.t.json(self.t.a, "verify", pair.label, "--disks")
        need(answer == {"same": True, "bytes": sum(SIZES), "shared": 0,
                        "disks": [{"name": f"disk{i}", "no": i, "bytes": size}
                                  for i, size in enumerate(SIZES)]}, f"{answer}")

    def kill(self, _signal):
        for host in self.t.hosts:
            if host.alive:
                for one in self.all if self.added else ():
                    host.run(one.delete)
                host.run(device.no_network())


def _pair(t, many, append):
    pair = t.pair("many", append=append, extra=(many.arguments, many.arguments))
    pair.join()
    pair.wait_live(t.a, f"(?:{ROUND}){{2}}", timeout=90)
    return pair


@test(timeout=300, more=1)
def many_devices(t):
    """Both replicas do and say the same; the disks are compared meanwhile."""
    many = Many(t)
    pair = _pair(t, many, "rounds=10")
    clients = many.clients(t.b, 100)
    many.verified(pair)
    need_match("both hosts' images of 2 disks are the same", t.ftctl(
        t.a, "verify", pair.label, "--disks").out, "verify for people")
    for client in clients:
        _said(client, 120)
    pair.wait_live(t.a, GOOD, timeout=60)
    pair.wait_shadow(t.b, GOOD, timeout=60)
    need(pair.live(t.a).replace("\r", "") == pair.shadow(t.b).replace("\r", ""),
         "the hosts printed different things")
    many.same_images()


@test(timeout=300, kills=True, more=1)
def many_primary_killed(t):
    """The survivor's disks hold all that was told, its cards answer, and are known to be there."""
    many = Many(t)
    announced = Announced(t, t.b)
    pair = _pair(t, many, "rounds=10")
    clients = many.clients(t.b, 200)
    # a card that has sent nothing is not known to anybody
    end = t.hosts.now() + 90
    while not all(b"answered" in bytes(client.out) for client in clients):
        need(t.hosts.now() < end, f"no answers: {[bytes(c.out)[-200:] for c in clients]}")
        time.sleep(0.05)
    announced.none()
    t.a.power_off()
    pairing.promote(t.b)
    for client in clients:
        _said(client, 120)
    # it reads all that it ever wrote
    pair.wait_live(t.b, GOOD, timeout=60)
    pair.one_machine(promoted=True)
    announced.once(*(card.mac for card in many.cards))


@test(timeout=300, more=1)
def many_spoiled(t):
    """It is said which of the disks is not the same."""
    many = Many(t)
    pair = _pair(t, many, "rounds=0")
    at = SIZES[1] - 4096
    t.b.run(f"printf x | dd of={many.disks[1].image} bs=1 seek={at + 77} conv=notrunc status=none")
    t.refused(t.a, "verify", pair.label, "--disks", cause="disks are not the same",
              remedy=f"device disk1: .* 4096 bytes at {at}")
    pair.wait_state(t.a, "solo")


@test(timeout=300)
def many_one_rests(t):
    """As lockstep begins one of the disks is left alone, which the guest has used before, and uses again."""
    many = Many(t, add=False)
    pair = _live(t, "many", "rounds=0 rest", many.disks, memory=device.shared_memory(MEMORY))
    pair.wait_live(t.a, rf"many: a disk rests\r?\n(?:{ROUND}){{3}}", timeout=60)
    pair.protect()
    pair.wait_state(t.b, "backup")
    mark = t.a.live.mark()
    pair.wait_live(t.a, f"(?:{ROUND}){{2}}", timeout=60, since=mark)
    t.a.live.send(b"x")
    pair.wait_live(t.a, rf"many: disk of .*\r?\n(?:{ROUND}){{2}}", timeout=60, since=mark)
    many.verified(pair)
    pair.same()


@test(timeout=300, more=1)
def many_protected(t):
    """A guest that runs gets a backup: both images are brought there."""
    many = Many(t, add=False)
    pair = _live(t, "many", "rounds=0", many.all, memory=device.shared_memory(MEMORY))
    for disk in many.disks:
        t.b.run(f"head -c {disk.size} /dev/urandom | "
                f"dd of={disk.image} bs=1M conv=notrunc iflag=fullblock status=none")
    pair.wait_live(t.a, f"(?:{ROUND}){{3}}", timeout=60)
    pair.protect()
    pair.wait_state(t.b, "backup")
    mark = t.a.live.mark()
    pair.wait_live(t.a, f"(?:{ROUND}){{2}}", timeout=60, since=mark)
    many.verified(pair)
    pair.same()
