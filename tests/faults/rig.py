# SPDX-License-Identifier: GPL-2.0
"""The rig: two emulated hosts with a test build of the module, and guests kept warm.

Hosts stay up between cases; one that lost its power is booted again alone. The
next guest's QEMUs come up, stopped, while this one's case runs.
"""
import functools
import json
import os
import re
import shlex
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, "e2e"), os.path.join(TESTS, "testbed")]
from harness import (SLACK, TROUBLE, Alarm, Failed, leftovers, need,	# noqa: E402, F401
                     replicas)
from ftbed import guest as guests	# noqa: E402
from ftbed import device, pairing, paths	# noqa: E402
from ftbed.agent import CommandFailed, HostDied	# noqa: E402, F401
from ftbed.emulator import Emulator	# noqa: E402
from ftbed.hosts import ADDRESSES, SECOND, Hosts	# noqa: E402

# What a case may end by; anything else is the driver's own fault.
EXPECTED = (Failed, CommandFailed, HostDied, TimeoutError, RuntimeError)

FRAMES = os.path.join(TESTS, "e2e", "frames")
DEBUGFS = "/sys/kernel/debug/ftkvm"
MACHINE = "pc"
MEMORY = 768	# MiB of a host: some cases fill it
GUEST_MEMORY = 32	# all of it is compared when a pair begins
DEVICES = {"disk": device.Disk, "net": device.WaitingCard}	# by the guest's name

# What an order to a point may name, as the host's shell finds it.
PRELUDE = ("QEMU=$(cat /run/{label}.pid 2>/dev/null); FTD=$(cat /run/ftd.pid 2>/dev/null); "
           "VCPU=; for t in /proc/$QEMU/task/*; do read -r c < $t/comm; "
           "case $c in CPU*) VCPU=${{t##*/}};; esac; done 2>/dev/null; ")

# A host that is out of memory says so at length.
OOM = re.compile(r"^.*(?:invoked oom-killer|page allocation failure)(?:.*\n)*?"
                 r".*(?:[Oo]ut of memory: Killed|pages reserved).*$", re.MULTILINE)


@functools.lru_cache(maxsize=None)
def guest_args(append):
    """A first word that is no option names another guest than mixed."""
    name, _, words = append.partition(" ")
    if not name or "=" in name:
        name, words = "mixed", append
    return guests.table()[name].qemu_args(words, MACHINE)


def device_of(append, label):
    """What a guest's words say that it has."""
    kind = DEVICES.get(append.partition(" ")[0])
    return kind(label, label.replace("q", "g")) if kind else None


class Qemu(guests.Guest):
    """A guest's QEMU, stopped before its first instruction; any number on a host."""

    count = 0

    def __init__(self, host, append):
        Qemu.count += 1
        self.label = label = f"q{Qemu.count}"
        self.device = device_of(append, label)
        extra = ["-m", str(GUEST_MEMORY)]
        if self.device:
            extra = [*device.shared_memory(GUEST_MEMORY), *self.device.arguments]
        super().__init__(host, MACHINE, [*guest_args(append), *extra],
                         paired=True)
        self.append = append
        self.monitor = f"/run/{label}.qmp"
        self._driver = f"/run/{label}.driver.qmp"
        self.command = [w.replace(guests.DRIVER_QMP, self._driver)
                         .replace(guests.QMP, self.monitor) for w in self.command]
        self.command += ["-name", f"{label},debug-threads=on", "-pidfile", f"/run/{label}.pid"]

    def start(self):
        before = ""
        if self.device:
            peer = ADDRESSES["b" if self.host.name == "a" else "a"]
            before = f"{device.network(self.host.address, peer)} && {self.device.add} || exit; "
        self._job = self.host.start(before + "exec " + shlex.join(self.command))
        self._job.close_input()

    def wait_up(self, timeout=60):
        there = f"[ -S {self.monitor} ] && [ -S {self._driver} ] && [ -s /run/{self.label}.pid ]"
        job = self.host.start(f"until {there}; do sleep 0.02; done")
        self.wait_ready(job, timeout)

    def qmp(self, execute, **arguments):
        """One command on our own monitor; its answer."""
        orders = (json.dumps({"execute": "qmp_capabilities"}),
                  json.dumps({"execute": execute, "arguments": arguments}))
        out = self.host.run(f"socat -t 5 - UNIX-CONNECT:{self._driver}",
                            stdin="\n".join((*orders, "")).encode()).out
        answers = [json.loads(line) for line in out.splitlines()]
        answers = [a for a in answers if "return" in a or "error" in a]
        need(len(answers) == 2 and "return" in answers[1], f"QMP {execute}: {out}")
        return answers[1]["return"]


class Rig:
    def __init__(self, seed, quiet=True):
        self.seed, self._quiet = seed, quiet
        self.hosts = None
        self.warm = {}		# the next guest's QEMUs, by side
        self.boots = 0
        self.hits = {}		# point: how often it was passed, over all hosts' lives

    # --- hosts ---------------------------------------------------------------

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()

    def __getitem__(self, side):
        return self.hosts[side]

    def sides(self):
        return [h for h in self.hosts if h.alive]

    def ready(self):
        """Both hosts are up, with module and daemon."""
        if not self.hosts:
            self.hosts = Hosts(2, quiet=self._quiet, seed=self.seed, memory=MEMORY).__enter__()
            self.boots += 2
        for host in list(self.hosts):
            if not host.alive:
                self._revive(host.name)
        for host in self.hosts:
            # the second path's; ftd listens there, too
            host.run(f"ip addr replace {SECOND[host.name]}/24 dev eth0")
            host.ftd_options = ("--listen", f":{pairing.PORT}")
        pairing.up(self.hosts)

    def _revive(self, name):
        """The host's power is back."""
        old = self.hosts[name]
        for path in (f"{name}.dmesg.log", f"{name}.live.log", f"{name}.shadow.log"):
            path = os.path.join(self.hosts.log_dir, path)
            os.replace(path, path + ".old")
        other = "b" if name == "a" else "a"
        host = Emulator(name, old.run_dir, old.log_dir, self.hosts.pump, address=ADDRESSES[name],
                        peer=ADDRESSES[other], link=self.hosts.wire.ends(name),
                        seed=self.seed + self.boots, memory=MEMORY)
        self.boots += 1
        self.hosts.hosts[name] = host
        self.warm.pop(name, None)
        host.power_on()
        host.wait_up()

    def lost(self, host):
        """Its power is gone, as was wished."""
        host.power_off()
        host.killed_at = host.killed_at or time.monotonic()
        self.warm.pop(host.name, None)

    def drop(self, keep=False):
        """Power off; keep: with the logs. Where they are, or None."""
        if not self.hosts:
            return None
        hosts, self.hosts, self.warm = self.hosts, None, {}
        if keep:
            hosts.keep()
        hosts.__exit__(None, None, None)
        return hosts.log_dir if keep else None

    def logs(self):
        """What hosts that live can still tell, into the logs' directory."""
        for host in self.sides():
            try:
                log = host.run(f"cat /run/ftd.log; dmesg; cat {DEBUGFS}/points", check=False,
                               timeout=20).out
            except (HostDied, TimeoutError):
                continue
            with open(os.path.join(self.hosts.log_dir, host.name + ".ftd.log"), "w",
                      encoding="utf-8") as file:
                file.write(log)

    def count_hits(self, host):
        for line in host.run(f"cat {DEBUGFS}/points", check=False).out.splitlines():
            name, hits = line.split()[:2]
            self.hits[name] = self.hits.get(name, 0) + int(hits)

    def leave(self):
        """The hosts are done with: no memory is lost, and the module lets itself be unloaded."""
        for host in self.sides():
            spare = self.warm.pop(host.name, None)
            if spare:
                spare.kill()
            if spare and spare.device:
                host.run(spare.device.delete)	# else it holds the module
        left = leftovers(self.hosts)
        for host in self.sides():
            if host.prepared:
                self.count_hits(host)
                self.unload(host)
        need(not left, "; ".join(left))

    def unload(self, host):
        host.run("p=$(cat /run/ftd.pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.05; "
                 "done; rm -f /run/ftd.pid; n=0; until rmmod ftkvm 2>/dev/null; do n=$((n+1)); "
                 "[ $n -lt 50 ] || { rmmod ftkvm; grep -w ^ftkvm /proc/modules; pgrep -fl qemu; "
                 "ls -l /proc/[0-9]*/fd | grep -i ftkvm; exit 1; } >&2; sleep 0.1; done")
        left = host.run("cat /proc/[0-9]*/comm 2>/dev/null | grep ^ftkvm; "
                        "grep -w ftkvm /proc/modules; ls -d /sys/kernel/debug/ftkvm "
                        "2>/dev/null; true").out
        host.prepared = False
        need(not left.strip(), f"host {host.name}: left behind by the module: {left}")

    def restart_daemon(self, host):
        """ftd again, after it was killed; it may be in the kernel still, with its port."""
        host.run("p=$(cat /run/ftd.pid); kill -9 $p 2>/dev/null; "
                 f"while kill -0 $p 2>/dev/null; do sleep 0.02; done; rm -f {pairing.CONTROL}; "
                 + pairing.start_daemon_script(host))

    # --- guests --------------------------------------------------------------

    def warm_up(self, append):
        """QEMUs of a guest to come, on both hosts, without waiting for them."""
        for host in self.sides():
            old = self.warm.get(host.name)
            if old and (old.append != append or not old.running):
                old.kill()
                if old.device:
                    host.start(old.device.delete)
                old = None
            if not old:
                self.warm[host.name] = Qemu(host, append)
                self.warm[host.name].start()

    def take(self, append, sides="ab"):
        """QEMUs that are up, of both sides or of one."""
        self.warm_up(append)
        for side in sides:
            qemu = self.warm[side]
            qemu.wait_up()
            if qemu.device:
                qemu.host.run(qemu.device.plug)
        return {side: self.warm.pop(side) for side in sides}

    # --- fault points ----------------------------------------------------------

    def arm(self, host, qemu, order):
        """ORDER as kmod/fault/fault.c has it; $QEMU, $VCPU and $FTD are processes."""
        host.run(PRELUDE.format(label=qemu.label) + f'echo "{order}" > {DEBUGFS}/arm')

    def disarm(self, host):
        if host.alive:
            host.run(f"if [ -e {DEBUGFS} ]; then echo off > {DEBUGFS}/arm; "
                     f"echo > {DEBUGFS}/release; fi")

    def release(self, host, check=True):
        if host.alive:
            host.run(f"echo > {DEBUGFS}/release", check=check)

    # --- what must not be --------------------------------------------------------

    def marks(self):
        return {h.name: h.dmesg.mark() for h in self.sides()}

    def trouble(self, marks):
        """What the hosts' kernels complained of since."""
        found = []
        for host in self.hosts:
            text = OOM.sub("", host.dmesg.text(marks.get(host.name, 0)))
            found += [f"host {host.name}: {line}" for line in text.splitlines()
                      if TROUBLE.search(line)]
        return found

    @staticmethod
    def hooked(host):
        """How many kernel functions are redirected; nobody else does that."""
        return int(host.run("grep -c . /sys/kernel/tracing/enabled_functions; true").out.split()[0])

    def unhooked(self, host, timeout=10):
        end = time.monotonic() + SLACK * timeout
        while self.hooked(host):
            need(time.monotonic() < end, f"host {host.name}: hooks are left in place")
            time.sleep(0.1)
