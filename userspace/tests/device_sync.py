# SPDX-License-Identifier: GPL-2.0
"""ftctl device sync: the other host's image, which lies on this machine here."""
import fcntl
import json
import os
import random
import shutil

from devices import Devices
from world import Failed, need, need_match, test

BYTES = 8 << 20

RSH = """#!/bin/sh
# HOST COMMAND...: what ssh would do there
[ "$1" = hostb ] || exit 9
shift
exec {through}sh -c "$*"
"""


class Sync:
    """A disk of this host's, and its image at hostb."""

    def __init__(self, w):
        if not shutil.which("rsync"):
            raise Failed("rsync is missing: apt-get install rsync")
        self.w, self.d = w, Devices(w)
        self.here, self.there = self.d.image, w.path("it's there")
        self.random = random.Random(int(os.environ.get("SEED") or 1))
        self.write(self.here, 0, self.random.randbytes(BYTES))
        self.d.disk("d0")
        self.rsh("")

    def rsh(self, through):
        with open(self.w.path("rsh"), "w", encoding="ascii") as file:
            file.write(RSH.format(through=through))
        os.chmod(self.w.path("rsh"), 0o755)

    def sync(self, *words, check=0, to=None, env=None):
        env = {"FTKVM_STANDIN": self.d.dir, "RSYNC_RSH": self.w.path("rsh"), **(env or {})}
        return self.w.ftctl(*words, "device", "sync", "d0", "to", to or f"hostb:{self.there}",
                            control=self.d.ftd.control, check=check, env=env, program="ftctl-alone")

    @staticmethod
    def write(path, at, data):
        with open(path, "r+b" if os.path.exists(path) else "wb") as file:
            file.seek(at)
            file.write(data)

    @staticmethod
    def read(path):
        with open(path, "rb") as file:
            return file.read()

    def same(self):
        return self.read(self.here) == self.read(self.there)


@test
def device_sync(w):
    """Nothing there, then a little that differs on either side, then nothing that does."""
    s = Sync(w)
    out = s.sync()[1]
    need(s.same(), "they are not the same")
    need_match("Device d0: .*it's there at hostb is what .*image is here: 8.4 MB, of which 8.4 MB differed", out)
    before = os.stat(s.there)
    s.write(s.here, 3 << 20, b"here")
    s.write(s.there, 5 << 20, b"there")
    s.write(s.there, BYTES, b"behind the end")
    # rsync would believe times and sizes
    os.utime(s.there, ns=(before.st_atime_ns, os.stat(s.here).st_mtime_ns))
    said = json.loads(s.sync("-j")[1])
    need(s.same(), "they are not the same")
    need(os.stat(s.there).st_ino == before.st_ino, "it is another file")
    need(0 < said["sent"] < BYTES // 50, f"{said['sent']} bytes were sent")
    need((said["name"], said["host"], said["path"], said["bytes"]) == ("d0", "hostb", s.there, BYTES), f"{said}")
    need(json.loads(s.sync("-j")[1])["sent"] == 0, "what is the same was sent")


@test
def device_sync_goes_on(w):
    """The receiver dies in the midst: what is there is not sent again."""
    s = Sync(w)
    s.rsh(f"prlimit --fsize={BYTES // 2} ")
    need_match("rsync to hostb did not end well.*it goes on", s.sync(check=1)[2])
    need(not s.same(), "it was not interrupted")
    s.rsh("")
    said = json.loads(s.sync("-j")[1])
    need(s.same(), "they are not the same")
    need(said["sent"] < BYTES * 3 // 4, f"{said['sent']} bytes were sent again")


@test
def device_sync_refused(w):
    """An image that a guest has, on either host, is left alone."""
    s = Sync(w)
    s.write(s.there, 0, b"old")
    for path, why in ((s.here, "image is in use"), (s.there, "flock: failed to get lock")):
        with open(path, "rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)	# as the module's open file has it
            need_match(why, s.sync(check=1)[2])
            need(s.read(s.there) == b"old", "it was written to")
    need_match("there may be in use by a guest", s.sync(check=1, to="hostc")[2])
    need_match("must be reached by ssh", s.sync(check=1, to="hostb::module/d0")[2])
    need_match("rsync is not here", s.sync(check=1, env={"PATH": w.dir})[2])
    need_match("no device d1", w.ftctl("device", "sync", "d1", "to", "hostb", control=s.d.ftd.control, check=1)[2])
    need(s.read(s.there) == b"old", "it was written to")
    s.d.device("del", "d0")
    s.d.disk("d0", "shared")
    need_match("storage that both hosts share: there is no other image", s.sync(check=1)[2])
    need(s.read(s.there) == b"old", "it was written to")
