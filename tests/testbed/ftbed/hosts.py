# SPDX-License-Identifier: GPL-2.0
"""The emulated hosts and the wire between them."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

from . import paths
from .channel import Pump
from .emulator import Emulator

STORE_BLOCKS = (512, 4096)	# a store for each size of blocks, so many bytes
STORE_BYTES = 16 << 20
ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}
# Of the same network cards, for tests that want two paths: lose() tells them apart by these.
SECOND = {"a": "10.78.0.1", "b": "10.78.0.2"}
SPARE = ("c", "10.77.0.3")	# a third one: see Hosts.spare()


class Wire:
    """The link between the hosts; cut() and stall() are what a bad cable does."""

    def __init__(self, run_dir):
        self._ends = {name: (os.path.join(run_dir, name + ".net"),
                             os.path.join(run_dir, name + ".wire")) for name in ADDRESSES}
        a, b = self._ends["a"], self._ends["b"]
        self._process = subprocess.Popen(
            [paths.relay(), a[1], a[0], b[1], b[0]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._process.stdout.readline()

    def ends(self, name):
        """The sockets of a host's network card: its own, and ours."""
        return self._ends[name]

    def order(self, words):
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if answer == "what?" or not answer:
            raise RuntimeError(f"the wire does not understand `{words}`")
        return answer

    def restore(self, sender=""):
        self.order(f"pass {sender}")

    def cut(self, sender=""):
        self.order(f"cut {sender}")

    def stall(self, sender=""):
        self.order(f"stall {sender}")

    def lose(self, path):
        """Drop what is sent by the "main" path, or by the "second", either way."""
        self.order(f"lose {path}")

    def find(self, path):
        self.order(f"find {path}")

    def count(self):
        names = ("a_frames", "a_bytes", "b_frames", "b_bytes", "dropped")
        return dict(zip(names, map(int, self.order("count").split())))

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Hosts:
    """Hosts a and b (or a alone), as a context: up at entry, gone at exit.

    Logs are kept if the block ends by an exception, if keep() was called, or if
    a log directory was named.
    """

    def __init__(self, count=2, log=None, quiet=True, **emulator_options):
        self.names = list(ADDRESSES)[:count]
        self._named_log = log
        self._options = emulator_options
        self._quiet = quiet
        self._keep = log is not None
        self.hosts = {}
        self.began = time.monotonic()

    def __enter__(self):
        # Socket paths must be short: not under build/.
        self.run_dir = tempfile.mkdtemp(prefix="ftbed-")
        self.log_dir = self._named_log
        if not self.log_dir:
            os.makedirs(paths.WORK, exist_ok=True)
            self.log_dir = tempfile.mkdtemp(prefix="log-", dir=paths.WORK)
        os.makedirs(self.log_dir, exist_ok=True)
        self.third = os.path.join(self.run_dir, "third")
        os.mkdir(self.third)
        self.stores = {block: os.path.join(self.run_dir, f"store{block}") for block in STORE_BLOCKS}
        self.clear_stores()
        self.own = {}
        self.pump = Pump()
        self.wire = None
        try:
            self.wire = Wire(self.run_dir)
            for name in self.names:
                self._make(name, ADDRESSES[name], "b" if name == "a" else "a", name)
            for host in self:
                host.power_on()
            for host in self:
                host.wait_up()
        except BaseException:
            self._last_words(list(self), 5)
            self._end(failed=True)
            raise
        self.say("up: " + ", ".join(f"{h.name} ({h.address})" for h in self))
        return self

    def _make(self, name, address, peer, end):
        self.own[name] = os.path.join(self.run_dir, f"own-{name}")
        self.clear_own(name)
        self.hosts[name] = Emulator(
            name, self.run_dir, self.log_dir, self.pump, address=address, peer=ADDRESSES[peer],
            link=self.wire.ends(end), third=self.third, stores=tuple(self.stores.items()),
            own=self.own[name],
            **self._options)

    def spare(self, dead, peer):
        """A third host, up, where a dead one was plugged in: the wire has two ends."""
        name, address = SPARE
        self._make(name, address, peer.name, dead.name)
        self[name].power_on()
        self[name].wait_up()
        self.say(f"up: {name} ({address})")
        return self[name]

    def __exit__(self, kind, error, trace):
        # A host that died though nobody cut its power: a panic, most likely.
        self._last_words([host for host in self if host.agent.dead and not host.killed_at], 40)
        self._end(failed=kind is not None)

    @staticmethod
    def _last_words(hosts, lines):
        if hosts:
            time.sleep(0.1)	# what is still in the sockets
        for host in hosts:
            tail = host.dmesg.text().strip().splitlines()[-lines:]
            print(f"host {host.name} said last:", *tail, sep="\n  ", file=sys.stderr)

    def _end(self, failed):
        for host in self:
            host.power_off()
        time.sleep(0.05)	# what is still in the sockets
        if self.wire:
            self.wire.close()
        self.pump.close()
        shutil.rmtree(self.run_dir, ignore_errors=True)
        if failed or self._keep:
            print(f"testbed: logs are in {self.log_dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.log_dir, ignore_errors=True)

    def clear_stores(self):
        """What both hosts reach is all zeros; nobody uses it."""
        for path in self.stores.values():
            with open(path, "wb") as file:
                file.truncate(STORE_BYTES)

    def clear_own(self, *names):
        """The same of the block device that each host has for itself."""
        for name in names or self.own:
            with open(self.own[name], "wb") as file:
                file.truncate(STORE_BYTES)

    def keep(self):
        """Keep the logs, whatever comes."""
        self._keep = True

    def say(self, text):
        if not self._quiet:
            print(f"[{self.now():6.1f}] {text}", flush=True)

    @property
    def intact(self):
        """All hosts that were started still live."""
        return bool(self.hosts) and all(host.alive for host in self)

    def now(self):
        """Seconds since the testbed began."""
        return time.monotonic() - self.began

    def __iter__(self):
        return iter(list(self.hosts.values()))

    def __getitem__(self, name):
        return self.hosts[name]

    @property
    def a(self):
        return self.hosts["a"]

    @property
    def b(self):
        return self.hosts["b"]

    def each(self, command, **options):
        """Run a command on every living host at once; {name: Result}."""
        timeout = options.pop("timeout", 60)
        jobs = {host.name: host.start(command) for host in self if host.alive}
        for job in jobs.values():
            job.close_input()
        return {name: job.wait(timeout) for name, job in jobs.items()}
