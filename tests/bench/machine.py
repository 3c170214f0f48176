# SPDX-License-Identifier: GPL-2.0
"""The benchmark's machine: one emulated host that nothing from outside reaches.

It is the testbed's emulator, kernel and guest configuration, but not its host:
that one's root is this machine's file system and its commands come from a socket,
both of which interrupt it when they like. Here everything is in the initial RAM disk,
clocks are counted in instructions (icount) and random numbers come from a seed;
when all is idle the clock jumps to the next timer (sleep=off), which one machine
alone may do. So two runs of one build are the same to the last instruction.

Two CPUs, and nothing moves between them: one is the primary's host, the other
the backup's. On one CPU the backup would push the primary off it, which hosts
don't do. They take turns, each of them up to the next timer.
"""
import json
import os
import shutil
import signal
import subprocess
import time

from ftbed import guest, paths
from ftbed.emulator import SHIFT, SKIPPED_INITCALLS

MEMORY = 2048
SILENCE = 3000.0	# seconds; silence of a busy machine, too


class MachineFailed(Exception):
    """The emulated host did not carry out the plan; the text says what it said last."""


def settings():
    """What host/init needs to know, as shell words."""
    options = ["-accel", "kvm", "-cpu", guest.CPU,
               "-seed", "1", "-rtc", "base=2026-01-01T00:00:00,clock=vm",
               "-nodefaults", "-display", "none", "-no-reboot",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    # a device of ftkvm's is given the guest's memory
    shared = ["-m", "16", "-object", "memory-backend-memfd,id=ram,size=16M,share=on",
              "-machine", "memory-backend=ram"]
    words = {"QEMU_OPTIONS": ["-M", guest.MACHINES["microvm"], "-m", "64", *options],
             "IO_OPTIONS": ["-M", guest.MACHINES["microvm"] + ",pcie=on", *options, *shared]}
    return "".join(f"{name}='{' '.join(value)}'\n" for name, value in words.items())


def _cpio(name, text):
    """A cpio archive (newc) of one file, to be put behind another one."""
    def entry(path, mode, data):
        fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + path.encode() + b"\0"
        return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
    return entry(name, 0o100644, text.encode()) + entry("TRAILER!!!", 0, b"")


def image(base, plan, path):
    """The initial RAM disk with a plan in it."""
    with open(path, "wb") as out:
        with open(base, "rb") as file:
            shutil.copyfileobj(file, out)
        for name, text in (("settings", settings()), ("plan", plan)):
            out.write(b"\0" * (-out.tell() % 512))
            out.write(_cpio(name, text))
    return path


def command(initrd, rows, dmesg):
    words = ["console=ttyS0", "quiet", "mitigations=off", "nokaslr", "norandmaps", "panic=-1",
             "oops=panic", "tsc=reliable", "nmi_watchdog=0", "init_on_alloc=0", "irqaffinity=1",
             "initcall_blacklist=" + ",".join(SKIPPED_INITCALLS)]
    return [paths.emulator(), "-accel", "tcg", "-cpu", "max,pmu=on", "-smp", "2",
            "-icount", f"shift={SHIFT},sleep=off", "-seed", "1",
            "-rtc", "base=2026-01-01T00:00:00,clock=vm",
            "-M", "pc,hpet=off,vmport=off", "-m", str(MEMORY), "-nodefaults", "-display", "none",
            "-no-reboot", "-L", "/usr/share/seabios", "-L", "/usr/share/qemu",
            "-kernel", paths.host_kernel(), "-initrd", initrd, "-append", " ".join(words),
            # files: a reader that is slow would hold up a socket's writer
            "-serial", f"file:{dmesg}", "-serial", f"file:{rows}"]


class Machine:
    """Runs a plan; iterate over it for what the host says, a line at a time."""

    def __init__(self, base, plan, work):
        os.makedirs(work, exist_ok=True)
        self.dmesg, self.rows = os.path.join(work, "dmesg"), os.path.join(work, "rows")
        self.log = os.path.join(work, "emulator.log")
        for old in (self.dmesg, self.rows):
            if os.path.exists(old):
                os.remove(old)
        self._initrd = image(base, plan, os.path.join(work, "initrd"))
        self._process = None

    def __enter__(self):
        words = command(self._initrd, self.rows, self.dmesg)
        with open(self.log, "wb") as log:
            log.write((" ".join(words) + "\n").encode())
            log.flush()
            # An emulator must not outlive its driver, however that ends.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        return self

    def __exit__(self, kind, error, trace):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if kind is None:
            os.remove(self._initrd)

    def _last_words(self):
        said = []
        for path in (self.rows, self.dmesg, self.log):
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    said += [f"{os.path.basename(path)}: {line}" for line in
                             file.read().splitlines()[-25:]]
            except OSError:
                pass
        return "\n  ".join(said)

    def _lines(self):
        """Whole lines, as they come, until the machine is off."""
        rest, heard = b"", time.monotonic()
        while not os.path.exists(self.rows) and self._process.poll() is None:
            time.sleep(0.05)
        with open(self.rows, "rb") as file:
            while True:
                over = self._process.poll() is not None
                data = file.read()
                if data:
                    heard = time.monotonic()
                    *whole, rest = (rest + data).split(b"\n")
                    for line in whole:
                        yield line.decode("utf-8", "replace")
                elif over:
                    return
                elif time.monotonic() - heard > SILENCE:
                    raise MachineFailed(f"silent for {SILENCE:.0f} s:\n  " + self._last_words())
                else:
                    time.sleep(0.1)

    def __iter__(self):
        done = False
        for line in self._lines():
            if line.startswith("# FAILED"):
                time.sleep(2)
                raise MachineFailed(f"{line[2:]}\n  " + self._last_words())
            done |= line == "# done"
            yield line
        if not done:
            raise MachineFailed("it ended early:\n  " + self._last_words())


def run(base, plan, work, on_row, on_word=lambda word: None):
    """Carry out a plan: on_row(object) for each row, on_word(text) for what is for people."""
    with Machine(base, plan, work) as machine:
        for line in machine:
            if line.startswith("# "):
                on_word(line[2:])
            elif line.startswith("{"):
                on_row(json.loads(line))
