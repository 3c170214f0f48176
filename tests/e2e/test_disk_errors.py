# SPDX-License-Identifier: GPL-2.0
"""A disk whose block device fails: reads, what the page cache writes back, all of it."""
import re
import shlex

from harness import add, need
from ftbed import paths
from test_disk import BYTES, EIO, Disks, _given_up, _goes_on, _pair, _told_on_both

READ, WRITE, FLUSH = 0, 1, 4	# as the guest names them
# no udev runs on a host that would make the nodes
DMSETUP = "dmsetup --noudevsync --noudevrules"
MODULES = ("loop", "dm-mod", "dm-flakey")


class MappedDisks(Disks):
    """At one host the image is a block device of the device mapper, which can be made to fail."""

    def __init__(self, t, at):
        self.at = t.hosts[at]
        super().__init__(t)
        kernel = shlex.quote(paths.host_kernel_dir())
        self.at.run("; ".join([
            "set -e", self.disk.delete, *(f"modprobe -d {kernel} {name}" for name in MODULES),
            f"truncate -s {BYTES} {self.file}", f"losetup -f --show {self.file} > {self.file}.loop",
            f"echo {self.table('linear')} | {DMSETUP} create {self.name}",
            f"dmsetup mknodes {self.name}",
            f"ln -s /dev/mapper/{self.name} {self.image}", self.disk.serve]))

    @property
    def file(self):
        return f"/run/{self.name}.file"

    def table(self, kind, more=""):
        """Shell words for one target, all of the device."""
        device = "" if kind == "error" else f"$(cat {self.file}.loop) 0"
        return f"0 {BYTES // 512} {kind} {device} {more}"

    def fail(self, kind, more=""):
        """From now on: what is in the page cache and on the disk stays there."""
        self.at.run(f"set -e; {DMSETUP} suspend --nolockfs {self.name}; "
                    f"echo {self.table(kind, more)} | dmsetup reload {self.name}; "
                    f"{DMSETUP} resume {self.name}; echo 1 > /proc/sys/vm/drop_caches")

    def kill(self, _signal):
        super().kill(_signal)
        if self.at.alive:
            self.at.run(f"{DMSETUP} remove -f {self.name}; losetup -d $(cat {self.file}.loop); "
                        f"rm -f {self.file} {self.file}.loop", check=False)


# Which table, and what the guest may be told of: the page cache takes what is written whole pages at
# a time, so it fails when it is flushed.
FAULTS = {
    "reads": (("flakey", "0 3600 1 error_reads"), (READ, WRITE)),
    "writeback": (("flakey", "0 3600 1 error_writes"), (FLUSH,)),
    "all": (("error",), (READ, WRITE, FLUSH)),
}


def _at_primary(fault):
    """The guest is told the same on both hosts, by the request that failed, and they remain a pair."""
    def run(t):
        table, types = FAULTS[fault]
        disks = MappedDisks(t, "a")
        pair = _pair(t, disks, "rounds=0 stay")
        pair.join()
        _goes_on(t, t.a)
        disks.fail(*table)
        told = r"disk: told of an error: request (\d+), .*\n"
        said = _told_on_both(t, disks, pair, told, EIO)
        need(int(said[1]) in types, f"the guest was told {said[0]!r}")
    return run


def _at_backup(fault, what):
    """It is of no more use; the guest is not told."""
    def run(t):
        disks = MappedDisks(t, "b")
        pair = _pair(t, disks, "rounds=0")
        pair.join()
        _goes_on(t, t.a)
        disks.fail(*FAULTS[fault][0])
        _given_up(t, disks, pair, what, EIO)
        _goes_on(t, t.a)
        need(not re.search("FAILED|told of", pair.live(t.a)), "the guest was told")
    return run


for name in FAULTS:
    add(f"disk_error_{name}_at_primary", _at_primary(name), timeout=300, more=1)
add("disk_error_writeback_at_backup", _at_backup("writeback", "flush"), timeout=300, more=1)
add("disk_error_all_at_backup", _at_backup("all", "write|flush"), timeout=300, more=1)
