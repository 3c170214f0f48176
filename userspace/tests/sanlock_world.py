# SPDX-License-Identifier: GPL-2.0
"""What the tests of an arbiter of sanlock's use: a device, and a real sanlock for each of two hosts."""
import os
import re
import signal
import struct
import subprocess
import threading
import time

from arbiter_world import program
from configuration import write
from world import need, wait_for

MIB = 1 << 20
SLOTS = 512
PAIRED, WON = 1, 2


def left_out(w):
    """Can't it be tested here? Says why."""
    conf = write(w, "[arbiter]\ntype = sanlock\npath = /x\nhost-id = 1\n")
    done = subprocess.run([os.path.join(w.build, "arbiter-tool"), conf], capture_output=True, text=True, check=False)
    why = None
    if "built without sanlock" in done.stderr:
        why = "ftd is built without sanlock: apt-get install libsanlock-dev"
    elif not store_directory(w):
        why = "neither TMPDIR nor the build is on a block device's file system"
    if why:
        print(f"  (left out: {why})")
    return why


def store_directory(w):
    return next((path for path in (w.dir, w.build) if os.major(os.stat(path).st_dev)), None)


def record(slot, session, state=PAIRED, magic=b"ftkvmse1"):
    """One as it is on the device."""
    body = struct.pack("<8sIIIIQ40s216s216s", magic, slot, state, 1, 0, 0, session.encode(), b"web", b"")
    total = 0xcbf29ce484222325
    for byte in body:
        total = ((total ^ byte) * 0x100000001b3) % (1 << 64)
    return body + struct.pack("<Q", total)


class Conf(str):
    """A configuration's path; who reads it belongs to a host."""
    env = None


class Host:
    """One of two, as far as sanlock is concerned."""

    def __init__(self, w, program, number):
        self.w, self.program, self.number = w, program, number
        self.run_dir = w.path(f"sanlock{number}")
        os.mkdir(self.run_dir)
        # without a user of its own, and a watchdog
        self.env = dict(os.environ, SANLOCK_RUN_DIR=self.run_dir, SANLOCK_PRIVILEGED="0")
        self.log, self.process = w.path(f"sanlock{number}.log"), None

    def up(self):
        with open(self.log, "ab") as log:
            self.process = self.w.start([self.program, "daemon", "-D", "-w", "0", "-h", "0", "-l", "0", "-U", "root",
                                         "-G", "root", "-e", f"host{self.number}"], stdout=log, stderr=log, env=self.env)

        def up():
            need(self.process.poll() is None, "sanlock ended: " + self.w.text(self.log)[-2000:])
            return not self.client("status", check=False).returncode
        wait_for(up, "sanlock comes up")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def client(self, *words, check=True):
        done = subprocess.run([self.program, "client", *words], capture_output=True, text=True, env=self.env,
                              timeout=300, check=False)
        need(not check or not done.returncode, f"sanlock client {words}: {done.stdout}{done.stderr}")
        return done


class Sanlock:
    """A device that two hosts reach. Each configuration is the other host's."""
    type, away = "sanlock", "attach that storage"
    left_out = staticmethod(left_out)

    def __init__(self, w, sector=512, align=1, ready=True):
        self.w, self.sector, self.align = w, sector, align * MIB
        self.program = program("sanlock", "sanlock", "sbin")
        self.store = os.path.join(store_directory(w), f"{os.path.basename(w.dir)}.store")
        w.files.append(self.store)
        with open(self.store, "wb") as file:
            file.truncate(3 * self.align)
        self.hosts = [Host(w, self.program, number) for number in (1, 2)]
        self.turns = 0
        for host in self.hosts:
            host.up()
        if ready:
            self.make_ready()
            joining = [threading.Thread(target=self.join, args=(host,)) for host in self.hosts]
            for one in joining:
                one.start()
            for one in joining:
                one.join()
            for host in self.hosts:
                host.client("inq_lockspace", "-s", f"ftkvm:{host.number}:{self.store}:0")

    def make_ready(self):
        """With short time-outs, as join() has them."""
        for what in (("-s", f"ftkvm:0:{self.store}:0"), ("-r", f"ftkvm:sessions:{self.store}:{self.align}")):
            subprocess.run([self.program, "direct", "init", *what, "-o", "1", "-Z", str(self.sector), "-A",
                            f"{self.align // MIB}M"], check=True, capture_output=True)

    def join(self, host):
        """In some seconds."""
        host.client("add_lockspace", "-s", f"ftkvm:{host.number}:{self.store}:0", "-o", "1")

    def conf(self, *lines, host=None, path=None):
        if host is None:
            host = self.hosts[self.turns % 2]
            self.turns += 1
        lines = "\n".join(("timeout-ms = 60000",) * ("timeout" not in str(lines)) + lines)
        text = f"[arbiter]\ntype = sanlock\npath = {path or self.store}\nhost-id = {host.number}\n{lines}\n"
        conf = Conf(write(self.w, text, f"ftd{host.number}.conf"))
        conf.env = host.env
        return conf

    def down(self):
        os.rename(self.store, self.store + ".away")

    def up(self):
        os.rename(self.store + ".away", self.store)

    # --- past the programs that are tested ---

    def hold(self, host):
        """A process that has the lease."""
        holder = self.w.start([self.program, "client", "command", "-r", f"ftkvm:sessions:{self.store}:{self.align}",
                               "-c", "/bin/sleep", "600"], env=host.env, stdout=subprocess.DEVNULL)
        wait_for(lambda: self.held(host), "the lease is held")
        return holder

    def held(self, host):
        lease = subprocess.run([self.program, "direct", "read_leader", "-r", f"ftkvm:sessions:{self.store}:{self.align}"],
                               capture_output=True, text=True, check=True).stdout
        return bool(re.search(rf"^owner_id {host.number}$", lease, re.MULTILINE) and
                    re.search("^timestamp [1-9]", lease, re.MULTILINE))

    def read(self, slot):
        with open(self.store, "rb") as file:
            file.seek(2 * self.align + slot * self.sector)
            return file.read(self.sector)

    def put(self, slot, data):
        fd = os.open(self.store, os.O_WRONLY)
        try:
            os.pwrite(fd, data, 2 * self.align + slot * self.sector)
            # others read past the cache
            os.fsync(fd)
        finally:
            os.close(fd)

    def state(self, session):
        return struct.unpack_from("<I", self.read(self.sessions()[session]), 12)[0]

    def sessions(self):
        """Slot by session."""
        found = {}
        for slot in range(SLOTS):
            name = re.match(rb"ftkvmse1.{24}([0-9a-f-]{36})\0", self.read(slot), re.DOTALL)
            if name:
                found[name[1].decode()] = slot
        return found


def passed(seconds):
    """What is to be older than that is."""
    time.sleep(seconds + 0.1)
