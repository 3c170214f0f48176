# SPDX-License-Identifier: GPL-2.0
"""Disks on storage that both hosts reach: one writes, both have the same, the survivor goes on."""
import hashlib
import random
import shlex
import time

from harness import add, need, need_match, test
from ftbed import device, hosts as testbed, pairing, paths
from test_arbiter import _arbitrated

MEMORY = device.shared_memory(32)
FIND = ("for i in /sys/block/vd*; do [ $(cat $i/serial) != store{} ] || echo ${{i##*/}}; done")
HOOK, HOOKED = "/run/fence-hook", "/run/fence-hook.ran"
ROUND = r"disk: \d+: .*\n"


class Store:
    """A disk of the same name on both hosts, on a block device that both reach."""

    def __init__(self, t, block=512, words=("shared",), hosts=None):
        self.t, self.block = t, block
        t.up()
        t.hosts.clear_stores()
        self.disk = device.Disk("disk", pairing.NAME, 0, words=words)
        self.names = {}
        t.things.append(self)
        for host in hosts or t.hosts:
            host.run(f"modprobe -d {shlex.quote(paths.host_kernel_dir())} virtio_blk")
            self.names[host.name] = host.run(FIND.format(block)).out.strip()
            need(self.names[host.name], f"host {host.name} has no store")
            host.run(self.serve(host))

    def serve(self, host):
        self.disk.image = f"/dev/{self.names[host.name]}"
        return self.disk.serve

    @property
    def arguments(self):
        return [*MEMORY, *self.disk.arguments]

    def touched(self, host):
        """Requests that the host's own kernel has sent to it: (reads, writes, discards, flushes)."""
        n = host.run(f"cat /sys/block/{self.names[host.name]}/stat").out.split()
        return tuple(int(n[i]) for i in (0, 4, 11, 15))

    def sum(self):
        """Of what is stored."""
        with open(self.t.hosts.stores[self.block], "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def kill(self, _signal):
        for host in self.t.hosts:
            if host.alive:
                # the image is nobody's to remove
                host.run(self.disk._delete)	# pylint: disable=protected-access


def _pair(t, store, append):
    return t.pair("disk", append=append, extra=(store.arguments, store.arguments))


def _together(block, words=""):
    """Both replicas do the same, and the backup's host sends nothing to the store."""
    def run(t):
        store = Store(t, block)
        zeros = store.sum()
        pair = _pair(t, store, f"rounds=12 {words}")
        before = store.touched(t.b), store.touched(t.a)
        pair.join()
        end = r"disk: good 12 rounds .*\n"
        pair.wait_live(t.a, end, timeout=90)
        pair.wait_shadow(t.b, end, timeout=90)
        after = store.touched(t.b), store.touched(t.a)
        need(pair.live(t.a).replace("\r", "") == pair.shadow(t.b).replace("\r", ""),
             "the hosts printed different things")
        need(after[0] == before[0], f"the backup's host has touched the store: {before[0]} {after[0]}")
        need(all(after[1][i] > before[1][i] for i in (0, 1, 3)),
             f"the primary's has not read, written or flushed: {before[1]} {after[1]}")
        need(store.sum() != zeros, "nothing was written")
        for host in t.hosts:
            need(t.json(host, "device", "show", "disk")[0]["shared"] is True, "it is not said")
        need_match("shared by both hosts", t.ftctl(t.a, "device").out, "for people")
    return run


add("shared_together", _together(512), timeout=240)
add("shared_together_4096", _together(4096, "reset"), timeout=240, more=1)


def _killed(victim):
    """At any moment: whoever is left reads back all that the guest was told is written."""
    def run(t):
        store = Store(t, random.choice(testbed.STORE_BLOCKS))
        pair = _pair(t, store, "rounds=40")
        pair.join()
        pair.wait_live(t.a, f"(?:{ROUND}){{{random.randint(3, 12)}}}", timeout=90)
        time.sleep(random.random() / 2)
        survivor = t.b if victim == "a" else t.a
        before = store.touched(survivor)
        t.hosts[victim].power_off()
        if victim == "a":
            pairing.promote(t.b)
        pair.wait_live(survivor, r"disk: good 40 rounds .*\n", timeout=120)
        after = store.touched(survivor)
        need(after[0] > before[0] and after[1] > before[1], f"it is not at the store: {before} {after}")
        if victim == "a":
            pair.one_machine(promoted=True)
    return run


add("shared_primary_killed", _killed("a"), timeout=300, kills=True)
add("shared_backup_killed", _killed("b"), timeout=300, kills=True, more=1)


@test(timeout=300, more=1)
def shared_promoted_by_force(t):
    """The primary lives, stops, and its host sends nothing to the store any more."""
    store = Store(t)
    pair = _pair(t, store, "rounds=40")
    pair.join()
    pair.wait_live(t.a, f"(?:{ROUND}){{5}}", timeout=90)
    pairing.promote(t.b, force=True)
    before = store.touched(t.a)
    pair.wait_live(t.b, r"disk: good 40 rounds .*\n", timeout=120)
    need(store.touched(t.a) == before, f"a primary that was stopped has touched the store: {before} "
         f"{store.touched(t.a)}")


@test(timeout=300, more=1)
def shared_held(t):
    """A primary that has lost its peer leaves it alone, and goes on where it was."""
    store = Store(t)
    pair = _pair(t, store, "rounds=40")
    pair.join(timeout="500", on_loss="hold")
    pair.wait_live(t.a, f"(?:{ROUND}){{5}}", timeout=90)
    t.hosts.wire.cut()
    pair.wait_state(t.a, "undecided")
    pair.wait_state(t.b, "orphan")
    # the last piece may have been under way
    time.sleep(0.5)
    before = store.touched(t.a), store.touched(t.b), store.sum()
    time.sleep(1)
    after = store.touched(t.a), store.touched(t.b), store.sum()
    need(before == after, f"somebody has touched the store: {before} {after}")
    pairing.ftctl(t.b, "fence", pair.label)
    pairing.ftctl(t.a, "promote", pair.label)
    pair.wait_live(t.a, r"disk: good 40 rounds .*\n", timeout=120)
    need(store.touched(t.b) == after[1], "one that was fenced has touched the store")


@test(timeout=300)
def shared_refused(t):
    """Hosts that do not say the same; what makes no sense of one."""
    store = Store(t, hosts=[t.a])
    host_b = Store(t, words=(), hosts=[t.b])
    store.names.update(host_b.names)
    pair = _pair(t, store, "rounds=0")
    t.refused(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}", cause="devices differ",
              remedy="read-only and shared")
    t.refused(t.a, "device", "sync", "disk", "to", t.b.address, cause="both hosts share",
              remedy="no other image")


@test(timeout=240)
def shared_needs_a_hook(t):
    """Where an arbiter decides, nothing goes live by itself that a late write may spoil."""
    _arbitrated(t)
    pair = _pair(t, Store(t), "rounds=0")
    t.refused(t.a, "pair", pair.label, "--peer", t.b.address, cause="both hosts share disk disk",
              remedy="shared-disks = unfenced")
    need(pair.state(t.a) == "idle", f"it is {pair.state(t.a)}")


@test(timeout=300, kills=True, more=1)
def shared_goes_live_behind_its_hook(t):
    """The power is cut at the primary's host; the hook hears of it before the backup writes."""
    for host in t.hosts:
        host.run(f"printf '#!/bin/sh\\necho $1 $2 > {HOOKED}\\n' > {HOOK}; chmod 755 {HOOK}")
    _arbitrated(t, f"[fence]\nhook = {HOOK}\n")
    store = Store(t)
    pair = _pair(t, store, "rounds=40")
    pair.join()
    pair.wait_live(t.a, f"(?:{ROUND}){{5}}", timeout=90)
    before = store.touched(t.b)
    t.a.power_off()
    pair.wait_live(t.b, r"disk: good 40 rounds .*\n", timeout=120)
    need_match(pairing.NAME, t.b.run(f"cat {HOOKED}").out, "the hook was not run")
    need(store.touched(t.b)[1] > before[1], "it does not write")
    pair.one_machine(promoted=True)
