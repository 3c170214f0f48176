# SPDX-License-Identifier: GPL-2.0
"""Disks whose images are block devices of the hosts' own: what is flushed there, and survives."""
import re
import shlex
import struct

from harness import need, test
from ftbed import hosts as testbed, pairing, paths
from test_disk import Disks, _good_on_both, _pair, _storage_is

FIND = "for i in /sys/block/vd*; do [ $(cat $i/serial) != own ] || echo /dev/${i##*/}; done"
MASK = (1 << 64) - 1
CHUNK = 96		# sectors that guests/bare/many.c writes to a disk in a round
ROUND = r"many: (\d+): .* hash [0-9a-f]{16}\r?\n"


class BlockDisks(Disks):
    """A disk of the same name on each host, on a block device of its own, all zeros."""

    def __init__(self, t, name="disk", words=()):	# pylint: disable=super-init-not-called
        self.begin(t, name, testbed.STORE_BYTES, words)
        t.hosts.clear_own()
        for host in t.hosts:
            host.run(f"modprobe -d {shlex.quote(paths.host_kernel_dir())} virtio_blk")
            self.disk.image = host.run(FIND).out.strip()
            need(self.disk.image, f"host {host.name} has no block device of its own")
            host.run(self.disk.serve)

    def flushes(self, host):
        """That its kernel has sent to it."""
        stat = host.run(f"cat /sys/block/{self.image.rpartition('/')[2]}/stat").out.split()
        return int(stat[15])

    def kill(self, _signal):
        for host in self.t.hosts:
            if host.alive:
                # there will be no other
                host.run(self.disk._delete)	# pylint: disable=protected-access


def _word(sector, number, i):
    """As word_of() of guests/bare/many.c has it, of the first disk."""
    z = number << 36 ^ sector << 10 ^ i << 2
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & MASK
    z = (z ^ z >> 27) * 0x94d049bb133111eb & MASK
    return z ^ z >> 31


def _lost(path, rounds):
    """The rounds, of so many, whose chunk is not what the guest has written."""
    lost = []
    with open(path, "rb") as file:
        for number in range(1, rounds + 1):
            first = (number - 1) * CHUNK
            want = [_word(sector, number, i) for sector in range(first, first + CHUNK)
                    for i in range(64)]
            if file.read(CHUNK * 512) != struct.pack(f"<{len(want)}Q", *want):
                lost.append(number)
    return lost


def _told(text):
    """Rounds that it said were flushed."""
    return max((int(n) for n in re.findall(ROUND, text.replace("\r", ""))), default=0)


@test(timeout=300, kills=True, more=1)
def block_durable(t):
    """Power is cut at one host and then at the other: what the guest has said is flushed is there.

    Nothing is written that nobody waits for, so what is only in a page cache is lost.
    """
    disks = BlockDisks(t)
    for host in t.hosts:
        host.run("echo 0 > /proc/sys/vm/dirty_writeback_centisecs")
    pair = t.pair("many", append="rounds=0", extra=(disks.arguments, disks.arguments))
    pair.join()
    pair.wait_live(t.a, f"(?:{ROUND}){{6}}", timeout=90)
    t.a.power_off()
    pairing.promote(t.b)
    pair.wait_live(t.b, f"(?:{ROUND}){{3}}", timeout=60)
    t.b.power_off()
    primary, survivor = _told(pair.live(t.a)), _told(pair.live(t.b))
    # so many that none was written over
    need(testbed.STORE_BYTES // (CHUNK * 512) >= survivor > primary > 5,
         f"{primary} rounds, then {survivor}")
    for host, rounds in ((t.a, primary), (t.b, survivor)):
        lost = _lost(t.hosts.own[host.name], rounds)
        need(not lost, f"host {host.name}: of {rounds} rounds that were flushed are lost: {lost}")


def _writes(text):
    return sum(map(int, re.findall(r"(\d+) writes,", text)))


def _flushed(t, words, append, well, what):
    """The guest's writes, and the flushes that the hosts' kernels sent, are held to @well."""
    disks = BlockDisks(t, words=words)
    pair = _pair(t, disks, f"rounds=12 {append} stay")
    before = [disks.flushes(host) for host in t.hosts]
    pair.join()
    text, _ = _good_on_both(t, disks, pair, 12)
    for host, mark in zip(t.hosts, before):
        count, writes = disks.flushes(host) - mark, _writes(text)
        need(well(count, writes), f"host {host.name}: {count} flushes of {writes} writes: {what}")
        _storage_is(disks, host, 0)


@test(timeout=240, more=1)
def block_through(t):
    """A driver that does not flush: each write is durable when it is told of it."""
    _flushed(t, (), "through", lambda flushes, writes: flushes >= writes, "not of each")


@test(timeout=240, more=1)
def block_flushed(t):
    """One that does: only then."""
    _flushed(t, (), "", lambda flushes, writes: 0 < flushes < writes, "none, or of each")


@test(timeout=240, more=1)
def block_discard(t):
    """What is discarded and zeroed is alike on both, and the rest of it as it was."""
    _flushed(t, ("discard",), "discard", lambda flushes, _: flushes, "none")
