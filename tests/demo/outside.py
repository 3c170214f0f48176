# SPDX-License-Identifier: GPL-2.0
"""What the demonstration's guest has beside its console: a disk, of which each host has an
image, and a network card; and who looks at them from outside."""
import json
import os
import re
import shlex
import subprocess
import tempfile

from ftbed import device, pairing, paths

HERE = os.path.dirname(os.path.abspath(__file__))
GUEST = "10.88.0.2"
ONLOOKERS = {"a": "10.88.0.3", "b": "10.88.0.4"}
WORDS = f"ftdemo.disk=1 ftdemo.net={GUEST}/24"
MEGABYTES = 128


class Outside:
    def __init__(self):
        self.disk = device.Disk("disk", pairing.NAME, 0)
        self.card = device.Card("card", pairing.NAME, 1)
        self.pages = []		# (when, what the page said), of requests that were answered
        self.errors = []
        self._job = None

    @property
    def arguments(self):
        """For QEMU, on both hosts."""
        return [*device.shared_memory(MEGABYTES), *self.disk.arguments, *self.card.arguments]

    def add(self, host, peer, filled):
        """A host's devices and network; the image, with an empty file system or with nothing."""
        host.run("set -e; " + "; ".join((device.network(host.address, peer), self.disk.add,
                                         self.card.add)))
        if not filled:
            return
        with tempfile.NamedTemporaryFile(suffix=".ext4") as image:
            image.truncate(self.disk.size)
            subprocess.run(["mkfs.ext4", "-q", image.name], check=True)
            host.run(f"dd if={shlex.quote(image.name)} of={self.disk.image} bs=1M conv=notrunc "
                     "2>/dev/null")

    # --- the web page ----------------------------------------------------------

    def watch(self, host):
        """From this host on, until unwatch()."""
        host.run(f"ip address add {ONLOOKERS[host.name]}/24 dev {device.BRIDGE}")
        self._job = host.start("exec " + shlex.join([os.path.join(HERE, "watch"), GUEST]),
                               on_line=self._told)

    def _told(self, when, line):
        said = json.loads(line)
        if "error" in said:
            self.errors.append(said["error"])
        else:
            self.pages.append((when, said))

    def unwatch(self):
        """Before the guest goes; what is under way does not count."""
        if self._job:
            self._job.kill(9)
            self._job = None

    def web(self):
        """For the report."""
        lines = [said["line"] for _, said in self.pages]
        ups = [said["up"] for _, said in self.pages]
        return {
            "answers": len(self.pages),
            "errors": self.errors,
            "slowest_ms": max([said["took_ms"] for _, said in self.pages], default=None),
            "falls": sum(b < a for series in (lines, ups) for a, b in zip(series, series[1:])),
        }

    # --- the disk ------------------------------------------------------------------

    def log(self, host, *consoles):
        """The file system on a host's image, once the guest has ended: is it whole, and does
        its log have each line that the consoles had?"""
        image = self.disk.image
        whole = host.run(f"e2fsck -fn {image}", check=False)
        log = host.run(f"debugfs -R 'cat /log' {image} 2>/dev/null").out.splitlines()
        said = {}
        for text in consoles:
            said.update(re.findall(r"^ftdemo (\d{6}) .* sha=([0-9a-f]{16}) .*chk=", text, re.M))
        missing = [number for number, sha in sorted(said.items())
                   if f"{number} {sha}" not in log]
        return {"whole": not whole.code, "lines": len(log), "missing": missing}
