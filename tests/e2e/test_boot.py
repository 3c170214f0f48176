# SPDX-License-Identifier: GPL-2.0
"""A guest that its firmware boots from a disk that the module serves."""
import os
import random
import re
import shlex
import struct

from harness import add, guests, need, output
from ftbed import pairing
from test_disk import BYTES, SHARED, Disks

SECTOR = 512
# As in tests/guests/boot/boot.S.
ROUNDS_AT, DATA, DATA_COUNT, AREA = 440, 64, 256, 1024
SCALE = 0x9e3779b1


def _written(number):
    """(offset, data) of a round."""
    words, x = [], number * SCALE & 0xffffffff
    for _ in range((number % 4 + 1) * SECTOR // 4):
        words.append(x)
        x = (x * 1664525 + 1013904223) & 0xffffffff
    return (AREA + 4 * number) * SECTOR, struct.pack(f"<{len(words)}I", *words)


def _sum(value, data):
    for (word,) in struct.iter_unpack("<I", data):
        word ^= value
        value = (word << 5 | word >> 27) * SCALE & 0xffffffff
    return value


class Bootable:
    """The images at the start and at the end, and what the guest must print."""

    def __init__(self, rounds):
        with open(guests.table()["boot"].boot_image(), "rb") as file:
            code = bytearray(file.read())
        struct.pack_into("<I", code, ROUNDS_AT, rounds)
        image = bytearray(BYTES)
        image[:len(code)] = code
        source = random.Random(int(os.environ.get("SEED") or 1))
        image[DATA * SECTOR:(DATA + DATA_COUNT) * SECTOR] = source.randbytes(DATA_COUNT * SECTOR)
        self.before = bytes(image)
        value = _sum(SCALE, image[DATA * SECTOR:(DATA + DATA_COUNT) * SECTOR])
        self.rounds = []
        for number in range(1, rounds + 1):
            at, data = _written(number)
            image[at:at + len(data)] = data
            value = _sum(value, data)
            if number > 1:
                value = _sum(value, _written(number // 2)[1])
            self.rounds.append((number, value))
        self.after = bytes(image)

    def check(self, text):
        """The lines of all rounds, each there and right."""
        failed = re.search(r"boot: FAILED.*", text)
        need(not failed, f"the guest says {failed and failed[0]!r}")
        said = [(int(n, 16), int(v, 16)) for n, v in
                re.findall(r"^boot: round ([0-9a-f]{8}) ([0-9a-f]{8})\r?$", text, re.M)]
        need(said == self.rounds, f"the rounds' sums: {said}, not {self.rounds}")


class BootDisks(Disks):
    """Disks that begin as copies of an image; the firmware boots from them."""

    def __init__(self, t, image):	# pylint: disable=super-init-not-called
        self.begin(t, "disk")
        for host in t.hosts:
            host.run(f"cp {shlex.quote(image)} {self.image} && {self.disk.serve}")

    @property
    def arguments(self):
        *others, device = self.devices
        return [*SHARED, *others, device + ",bootindex=0"]


def paired(pair, host):
    """The primary must have a backup still."""
    status = pair.status(host)
    need(status["state"] == "primary", f"host {host.name} is {status['state']}: "
         f"{status['reason']}, {status['detail']}")


def whole_output(pair, t):
    """What a guest has said that was live on A and then on B, each line once."""
    return output.compare(pair.live(t.a), pair.shadow(t.b), pair.live(t.b))["full"]


def log_file(t, what, data):
    """Its path; hosts cache what they have read, so it is no other test's."""
    path = os.path.join(t.hosts.log_dir, f"{t.entry.name}.{what}")
    with open(path, "wb") as file:
        file.write(data)
    return path


def _begin(t, rounds, machine):
    boot = Bootable(rounds)
    disks = BootDisks(t, log_file(t, "before", boot.before))
    return boot, disks, t.pair("boot", machine=machine, extra=(disks.arguments, disks.arguments))


def same_image(t, host, image, boot):
    """The image on the host is what it must be at the end."""
    after = shlex.quote(log_file(t, f"after.{host.name}", boot.after))
    where = host.run(f"cmp {after} {image}", check=False)
    need(not where.code, f"host {host.name}'s image is not what it must be: {where.out}")


END = r"boot: good .*\n|boot: FAILED.*\n"


def _to_the_end(machine, rounds=12):
    def run(t):
        boot, disks, pair = _begin(t, rounds, machine)
        pair.join()
        pair.wait_live(t.a, END, timeout=90)
        pair.wait_shadow(t.b, END, timeout=90)
        text = pair.live(t.a)
        need(text.replace("\r", "") == pair.shadow(t.b).replace("\r", ""),
             "the hosts printed different things")
        boot.check(text)
        for host in t.hosts:
            same_image(t, host, disks.image, boot)
    return run


def _alone(t):
    """A guest that is not attached boots as well."""
    boot = Bootable(12)
    disks = BootDisks(t, log_file(t, "before", boot.before))
    mark = t.a.shadow.mark()
    one = t.lone("boot", args=disks.arguments)
    one.qmp("cont")
    need(t.a.shadow.wait_for(END, 90, mark), "the guest does not come to its end: it printed "
         f"{t.a.shadow.text(mark)[-300:]!r}")
    need(one.ends_soon(20), "the guest does not end")
    boot.check(t.a.shadow.text(mark))
    same_image(t, t.a, disks.image, boot)


def _killed(at, machine, rounds=20):
    def run(t):
        boot, disks, pair = _begin(t, rounds, machine)
        pair.join()
        pair.wait_live(t.a, at, timeout=60)
        paired(pair, t.a)
        t.a.power_off()
        pairing.promote(t.b)
        pair.wait_live(t.b, END, timeout=120)
        pair.one_machine(promoted=True)
        boot.check(whole_output(pair, t))
        same_image(t, t.b, disks.image, boot)
    return run


add("boot_disk_alone", _alone, timeout=240, hosts=1, more=1)
add("boot_disk", _to_the_end("pc"), timeout=240)
add("boot_disk_q35", _to_the_end("q35"), timeout=240, more=1)
add("boot_disk_skid1000", _to_the_end("pc"), skid=1000, timeout=240, more=1)
add("boot_disk_primary_killed", _killed(r"boot: round 00000008.*\n", "pc"), timeout=300,
    kills=True, more=1)
add("boot_disk_primary_killed_early", _killed(r"boot: read .*\n", "q35"), timeout=300,
    kills=True, more=1)
