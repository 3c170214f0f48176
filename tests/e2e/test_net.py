# SPDX-License-Identifier: GPL-2.0
"""Network cards that the module serves, over vhost-user: in lockstep, and across a takeover."""
import json
import os
import re
import shlex
import time

from harness import add, need, test	# noqa: F401
from ftbed import device, pairing, paths

HERE = os.path.dirname(os.path.abspath(__file__))
MEMORY = 32


def frames(mac, count, *words):
    """A client's command, for a shell on a host of the bridge."""
    return shlex.join([os.path.join(HERE, "frames"), device.BRIDGE, mac, str(count), "--patience",
                       str(0.3 * paths.SLOWNESS), *words])


RARP = 0x8035
ANNOUNCEMENTS = 5	# at most; some may be lost


class Announced:
    """Who tells the network on a host's bridge that a guest is there now."""

    def __init__(self, t, host):
        self.t, self.job = t, t.job(host, t.tool_command("listen", device.BRIDGE, RARP))
        self.wait(lambda said: said, "nobody listens")

    def said(self):
        return [json.loads(line) for line in bytes(self.job.out).splitlines(True)
                if line.endswith(b"\n")]

    def frames(self):
        """The MACs that they are from."""
        return [frame["from"] for frame in self.said()[1:]]

    def wait(self, well, text):
        end = self.t.hosts.now() + 30
        while not well(self.said()):
            need(self.job.running and self.t.hosts.now() < end, f"{text}: {self.said()}")
            time.sleep(0.05)

    def none(self):
        need(not self.frames(), f"it is told without a takeover: {self.said()}")

    def once(self, *macs):
        """Each of them was told by one takeover, and nothing else."""
        self.wait(lambda _: set(self.frames()) == set(macs), f"not told of {macs}")
        for mac in macs:
            need(self.frames().count(mac) <= ANNOUNCEMENTS, f"too often: {self.said()}")
        need(all(frame["to"] == "ff:ff:ff:ff:ff:ff" for frame in self.said()[1:]),
             f"not to all: {self.said()}")


class Cards:
    """A card on each host, its tap in a bridge; both bridges are one network."""

    def __init__(self, t, no=0, kind=device.Card):
        self.t = t
        self.card = kind("card", pairing.NAME, no)
        t.up()
        hosts = list(t.hosts)
        for host in hosts:
            peer = next((h.address for h in hosts if h is not host), None)
            host.run(f"{device.network(host.address, peer)} && {self.card.add}")
        t.things.append(self)

    @property
    def mac(self):
        return self.card.mac

    @property
    def devices(self):
        return self.card.arguments

    @property
    def arguments(self):
        return [*device.shared_memory(MEMORY), *self.devices]

    def client(self, host, count, *words):
        return self.t.job(host, frames(self.mac, count, *words))

    def kill(self, _signal):
        for host in self.t.hosts:
            if host.alive:
                host.run(f"{self.card.delete}; {device.no_network()}")


def _said(job, timeout):
    """What the client came to."""
    result = job.wait(paths.SLOWNESS * timeout)
    lines = result.out.strip().splitlines()
    need(not result.code and lines, f"the client: {lines[-1:] or result.err.strip()}")
    return json.loads(lines[-1])


def _lockstep(words):
    def run(t):
        cards = Cards(t)
        pair = t.pair("net", append=words, extra=(cards.arguments, cards.arguments))
        pair.join()
        pair.wait_live(t.a, r"net: " + cards.mac, timeout=60)
        _said(cards.client(t.b, 200, "--end"), 90)
        end = r"net: good \d+ frames.*\n"
        pair.wait_live(t.a, end, timeout=30)
        pair.wait_shadow(t.b, end, timeout=30)
        need(pair.live(t.a).replace("\r", "") == pair.shadow(t.b).replace("\r", ""),
             "the hosts printed different things")
    return run


add("net_interrupts", _lockstep(""), timeout=240)
add("net_polled", _lockstep("poll"), timeout=240, more=1)
add("net_merged", _lockstep("merge"), timeout=240, more=1)


# a chain that goes on too long, lies nowhere, or is of the other kind; see guests/bare/spoil.c
RINGS = ("loop", "range", "long", "zero", "indirect", "avail", "end", "wrap", "nested", "next",
         "head", "order", "other", "short")


def _hostile(ring, way):
    """The guest's queue breaks; hosts and pair don't, and a reset mends it."""
    def run(t):
        cards = Cards(t)
        pair = t.pair("net", append=f"hostile={ring} {way} wait=200",
                      extra=(cards.arguments, cards.arguments))
        client = cards.client(t.b, 100, "--end")
        pair.join()
        end = r"net: good \d+ frames.*\n"
        pair.wait_live(t.a, end, timeout=90)
        pair.wait_shadow(t.b, end, timeout=30)
        _said(client, 30)
        text = pair.live(t.a).replace("\r", "")
        need(text == pair.shadow(t.b).replace("\r", ""), "the hosts printed different things")
        need(re.search(rf"net: hostile {ring}: device [0-9a-f]+ used 0\n", text),
             f"it was served: {text[:300]!r}")
    return run


for _ring in RINGS:
    add(f"net_hostile_{_ring}", _hostile(_ring, ""), timeout=240, more=1)
    add(f"net_hostile_sent_{_ring}", _hostile(_ring, "sent"), timeout=240, more=1)


def _killed(kind):
    """The client's next frame is answered by the survivor, which has counted all before."""
    def run(t):
        cards = Cards(t, kind=kind)
        pair = t.pair("net", extra=(cards.arguments, cards.arguments))
        pair.join()
        pair.wait_live(t.a, r"net: " + cards.mac, timeout=60)
        announced = Announced(t, t.b)
        client = cards.client(t.b, 300, "--end")
        pair.wait_live(t.a, r"net: 100 frames", timeout=60)
        announced.none()
        t.a.power_off()
        pairing.promote(t.b)
        _said(client, 120)
        announced.once(cards.mac)
        pair.wait_live(t.b, r"net: good \d+ frames.*\n", timeout=30)
        pair.one_machine(promoted=True)
    return run


add("net_primary_killed", _killed(device.Card), timeout=300, kills=True)
# the new primary's frames, and the announcement, go out by an interface that had the same address
add("net_macvtap_primary_killed", _killed(device.MacvtapCard), timeout=300, kills=True, more=1)


@test(timeout=240, hosts=1, more=1)
def net_alone(t):
    """A guest that is not attached has its network, too."""
    cards = Cards(t)
    mark = t.a.shadow.mark()
    one = t.lone("net", args=cards.arguments)
    one.qmp("cont")
    need(t.a.shadow.wait_for(r"net: " + cards.mac, 60, mark), "the guest does not come up")
    _said(cards.client(t.a, 200, "--end"), 60)
    match = t.a.shadow.wait_for(r"net: good .*\n|FAILED.*\n|CRASH.*\n", 30, mark)
    need(match and "good" in match[0], f"the guest printed {t.a.shadow.text(mark)[-300:]!r}")
    need(one.ends_soon(20), "the guest does not end")


def _ftd_killed(side):
    """While ftd is away the card's link is down. This driver does not look at that: what it sends waits.
    What was under way as ftd died its QEMU throws away, on that host alone, and that ends the pairing;
    but the guest is one machine all the while, and goes on where it is."""
    def run(t):
        cards = Cards(t)
        pair = t.pair("net", extra=(cards.arguments, cards.arguments))
        pair.join()
        pair.wait_live(t.a, r"net: " + cards.mac, timeout=60)
        client = cards.client(t.b, 400, "--end", "--pause", "0.02")
        for count in (50, 150):
            pair.wait_live(t.a, rf"net: {count} frames", timeout=60)
            pairing.kill_daemon(t.hosts[side])
            t.hosts[side].run("sleep 1")
            pairing.start_daemon(t.hosts[side])
        _said(client, 120)
        pair.wait_live(t.a, r"net: good \d+ frames.*\n", timeout=60)
        ended = [event for event in pair.events["a"] if event.get("event") in ("diverged", "peer-lost")]
        print(f"     {t.entry.name}: {ended or 'it stayed protected'}", flush=True)
        need(not pair.live(t.b), "B's replica was live")
        pair.one_machine()
    return run


add("net_ftd_killed_primary", _ftd_killed("a"), timeout=300, more=1)
add("net_ftd_killed_backup", _ftd_killed("b"), timeout=300, more=1)
