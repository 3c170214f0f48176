# SPDX-License-Identifier: GPL-2.0
"""Linux with its own drivers: a file system on a disk, a server behind a network card."""
import json
import os
import re
import shlex
import subprocess
import time

from harness import add, need
from ftbed import console, device, pairing, paths
from test_disk import BYTES, Disks
from test_net import Cards

HERE = os.path.dirname(os.path.abspath(__file__))
GUEST, CLIENT = "10.88.0.2", "10.88.0.1"


class Server:
    """A disk with a file system, empty if no image is named, and a card; a client on one of the
    hosts. kernel: words of tests/guests/kernel for another one than the hosts'."""

    def __init__(self, t, words, client="b", image=None, memory=128, kernel=None):
        self.t, self.at = t, t.hosts[client]
        if not image:
            image = os.path.join(t.hosts.log_dir, "ext4.img")
            with open(image, "wb") as file:
                file.truncate(BYTES)
            subprocess.run(["mkfs.ext4", "-q", image], check=True)
        self.disks = Disks(t, size=os.path.getsize(image))
        self.cards = Cards(t, no=1)
        copy = (f"dd if={shlex.quote(image)} of={self.disks.image} bs=1M conv=notrunc,sparse "
                "2>/dev/null")
        pairing.finish([host.start(copy) for host in t.hosts])
        self.at.run(f"ip address add {CLIENT}/24 dev {device.BRIDGE}")
        extra = [*device.shared_memory(memory), *self.disks.devices, *self.cards.devices]
        if kernel:
            # of these QEMU takes the last; modules of one kernel load into no other
            built = paths.guest_kernel(*kernel)
            extra += ["-kernel", os.path.join(built, "vmlinuz"),
                      "-initrd", os.path.join(built, "server.cpio")]
        self.pair = t.pair("server", extra=(extra, extra),
                           append=f"ftdemo.disk=1 ftdemo.net={GUEST}/24 {words}")

    def client(self, until):
        return self.t.job(self.at, shlex.join([
            os.path.join(HERE, "echoes"), GUEST, "--until", str(until),
            "--connect", str(20 * paths.SLOWNESS), "--patience", str(30 * paths.SLOWNESS)]))

    def wait_line(self, host, number, timeout):
        self.pair.wait_live(host, rf"ftdemo {number:06d} .*\n|ftfail .*\n", timeout)
        text = self.pair.live(host)
        need("ftfail" not in text, f"the guest says {text[-300:]!r}")

    def check_disk(self, host, said):
        """The file system is whole, and holds each line that the guest has said."""
        image = self.disks.image
        host.run(f"e2fsck -fn {image}")
        log = host.run(f"debugfs -R 'cat /log' {image} 2>/dev/null").out.splitlines()
        want = [f"{n:06d} {sha}" for n, sha in said]
        need(log == want, f"the disk has {len(log)} lines, {log[-1:]}, the console had "
             f"{len(want)}, {want[-1:]}")


    def check_end(self, victim):
        """The guest ends on the survivor, with a console of one machine and a good disk."""
        survivor = self.t.b if victim == "a" else self.t.a
        self.pair.wait_live(survivor, r"ftend .*\n|ftfail .*\n", 120)
        need(self.pair.guests[survivor.name].ends_soon(30), "the guest does not end")
        consoles = [self.pair.live(host)
                    for host in (self.t.hosts if victim == "a" else [self.t.a])]
        report = console.check(*consoles)
        need(report.ok, "; ".join(report.problems) or "no line")
        need(report.ended, f"the guest says {consoles[-1][-300:]!r}")
        self.check_disk(survivor, _said(*consoles))


def _said(*texts):
    """(number, hash) of each line on the consoles, each once."""
    lines = {}
    for text in texts:
        for number, sha in re.findall(r"^ftdemo (\d{6}) .* sha=([0-9a-f]{16}) .*chk=", text, re.M):
            lines[int(number)] = sha
    return sorted(lines.items())


def _answered(job, timeout):
    result = job.wait(paths.SLOWNESS * timeout)
    need(not result.code, f"the client: {result.err.strip()[-300:]}")
    return json.loads(result.out.strip().splitlines()[-1])


def killed(victim, when, until, lines, **options):
    """Power is cut at one host once the guest is at line `when`; a client at the other one has
    all its answers until line `until`, and the survivor's disk has each line that was said.

    TCP connections live on, the file system is whole, and nothing that was said is lost.
    """
    def run(t):
        survivor = t.b if victim == "a" else t.a
        server = Server(t, f"ftdemo.lines={lines}", survivor.name, **options)
        pair = server.pair
        pair.join()
        server.wait_line(t.a, 1, 200)
        client = server.client(until)
        server.wait_line(t.a, int(when), 120)
        time.sleep(when % 1 * paths.SLOWNESS)
        t.hosts[victim].power_off()
        if victim == "a":
            pairing.promote(t.b)
        answered = _answered(client, 120)
        need(answered["answers"] > 10, f"only {answered}")
        server.check_end(victim)
    return run


def _ftd_killed(side):
    """Linux does see that its link is down while ftd is away: its TCP connection waits, nothing is
    lost, and the guest stays protected."""
    def run(t):
        server = Server(t, "ftdemo.lines=40")
        pair = server.pair
        pair.join()
        server.wait_line(t.a, 1, 200)
        client = server.client(25)
        for line in (5, 12):
            server.wait_line(t.a, line, 120)
            pairing.kill_daemon(t.hosts[side])
            t.hosts[side].run("sleep 1")
            pairing.start_daemon(t.hosts[side])
        need(_answered(client, 120)["answers"] > 10, "the client had few answers")
        states = [pair.state(host) for host in t.hosts]
        need(states == ["primary", "backup"], f"the replicas are {states}: {pair.status(t.a)}")
        pair.one_machine()
        server.check_end("b")
    return run


add("server_ftd_killed_primary", _ftd_killed("a"), timeout=600, more=1)
add("server_ftd_killed_backup", _ftd_killed("b"), timeout=600, more=1)
add("server_primary_killed", killed("a", 15, 40, 60), timeout=600, kills=True, more=1)
add("server_backup_killed", killed("b", 15, 40, 60), timeout=600, kills=True, more=1)
# virtio_blk and virtio_net of other kernels of Debian
for suite, release in (("bullseye", "5.10"), ("bookworm", "6.1"), ("trixie-backports", "7")):
    add(f"server_linux_{release.replace('.', '_')}_primary_killed",
        killed("a", 15, 40, 60, kernel=(suite, release)), timeout=600, kills=True, more=1)
