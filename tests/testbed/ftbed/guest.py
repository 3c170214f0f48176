# SPDX-License-Identifier: GPL-2.0
"""A guest: stock QEMU on an emulated host, and the table of test guests."""
import json
import os
import shlex
import time
import tomllib

from . import paths
from .emulator import SKIPPED_INITCALLS, TSC_KHZ

# A guest that two hosts can run in lockstep: no paravirtual clock or other
# page that the host writes, no instruction that fetches something from
# outside and can't be intercepted, no state that depends on when it is saved.
CPU = ",".join([
    "host", "-kvmclock", "-kvmclock-stable-bit", "-kvm-steal-time", "-kvm-asyncpf",
    "-kvm-asyncpf-int", "-kvm-pv-eoi", "-kvm-pv-unhalt", "-kvm-pv-tlb-flush", "-kvm-pv-ipi",
    "-kvm-pv-sched-yield", "-kvm-poll-control", "kvm-pv-enforce-cpuid=on", "+x2apic",
    "-tsc-adjust", "-rdrand", "-rdseed", "-rdpid", "-rdtscp", "-xsaveopt", "-xsavec",
    "-xgetbv1", "-xsaves", "-rtm", "-hle", "-monitor", "-waitpkg", "pmu=off", "-invtsc",
    "-svm"])

MACHINES = {
    "pc": "pc,kernel-irqchip=split,smm=off,hpet=off,vmport=off",
    "q35": "q35,kernel-irqchip=split,smm=off,hpet=off,vmport=off",
    "microvm": "microvm,kernel-irqchip=split,pit=on,pic=off,rtc=on,isa-serial=on,"
               "auto-kernel-cmdline=off",
}

# Without kvmclock a Linux guest must be told what its TSC is. A microvm has no
# PCI bus to look for, port by port, each a wait for the backup.
LINUX_WORDS = (f"console=ttyS0 quiet panic=-1 tsc=reliable tsc_early_khz={TSC_KHZ} "
               "random.trust_cpu=off nokaslr initcall_blacklist=" + ",".join(SKIPPED_INITCALLS))
MACHINE_WORDS = {"pc": "", "q35": "", "microvm": "pci=off"}

QMP = "/run/guest.qmp"			# ftd's
DRIVER_QMP = "/run/guest.driver.qmp"	# ours: QMP sockets serve one client at a time
CONSOLE = "con0"


def command(machine, qemu_args, paired, cpu=CPU):
    """QEMU's command line.

    For a pair the guest waits to be started, and its console goes to a ring
    buffer whose log is the shadow line: until ftd opens it, it is muted.
    """
    words = ["qemu-system-x86_64", "-accel", "kvm", "-M", MACHINES[machine], "-cpu", cpu,
             "-seed", "1", "-rtc", "base=2026-01-01T00:00:00,clock=vm",
             "-nodefaults", "-display", "none", "-no-reboot",
             "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
             "-qmp", f"unix:{DRIVER_QMP},server=on,wait=off"]
    if paired:
        words += ["-S", "-chardev", f"ringbuf,id={CONSOLE},size=65536,logfile=/dev/ttyS2",
                  "-qmp", f"unix:{QMP},server=on,wait=off"]
    else:
        words += ["-chardev", f"serial,id={CONSOLE},path=/dev/ttyS1"]
    return words + ["-serial", f"chardev:{CONSOLE}", *qemu_args]


class Guest:
    """A guest's QEMU on one host."""

    def __init__(self, host, machine, qemu_args, paired=False, cpu=CPU):
        self.host = host
        self.command = command(machine, qemu_args, paired, cpu)
        self._job = None

    def start(self):
        here = shlex.quote(os.getcwd())
        # Those of an earlier guest must not be taken for this one's.
        self.host.run(f"rm -f {QMP} {DRIVER_QMP}")
        self._job = self.host.start(f"cd {here}; exec {shlex.join(self.command)}")
        self._job.close_input()

    def await_ready(self, timeout=60):
        """A Job that ends when QEMU's monitors are there."""
        sockets = [DRIVER_QMP] + ([QMP] if "-S" in self.command else [])
        timeout *= paths.SLOWNESS
        there = " && ".join(f"[ -S {path} ]" for path in sockets)
        return self.host.start(f"n=0; until {there}; do sleep 0.05; n=$((n+1)); "
                               f"[ $n -lt {int(timeout * 20)} ] || exit 1; done")

    def wait_ready(self, job, timeout=60, may_end=False):
        """Wait for await_ready()'s job; may_end: the guest runs, and may be done already."""
        while job.running and self.running:
            time.sleep(0.02)
        if not self.running:
            if may_end:
                job.kill(9)
                return
            result = self._job.wait(timeout)
            raise RuntimeError(f"QEMU on host {self.host.name} ended with {result.code}: "
                               f"{result.err.strip()}")
        if job.wait(timeout).code:
            raise TimeoutError(f"QEMU on host {self.host.name} does not come up")

    @property
    def running(self):
        return self._job is not None and self._job.running

    @property
    def died(self):
        """Its host is gone."""
        return self._job is not None and self._job.died

    @property
    def exit_code(self):
        return self._job.code if self._job else None

    @property
    def ended_at(self):
        return self._job.ended_at

    @property
    def complaints(self):
        return self._job.err.decode("utf-8", "replace").strip()

    def ends_soon(self, patience=2.0):
        """Whether it has ended, or does so right now."""
        end = time.monotonic() + paths.SLOWNESS * patience
        while self.running and time.monotonic() < end:
            time.sleep(0.02)
        return not self.running

    def kill(self, signal=9):
        if self.running:
            self._job.kill(signal)

    def qmp(self, execute, timeout=20, **arguments):
        """One command on the driver's own monitor; its answer."""
        timeout *= paths.SLOWNESS
        order = {"execute": execute}
        if arguments:
            order["arguments"] = arguments
        orders = [{"execute": "qmp_capabilities"}, order]
        job = self.host.start(f"exec socat - UNIX-CONNECT:{DRIVER_QMP}")
        job.write("".join(json.dumps(o) + "\n" for o in orders).encode())
        end = time.monotonic() + timeout
        # The monitor never hangs up: we do, once it has answered both.
        while True:
            answers = [json.loads(line) for line in bytes(job.out).splitlines(True)
                       if line.endswith(b"\n")]
            answers = [a for a in answers if "return" in a or "error" in a]
            if len(answers) > 1 or not job.running or time.monotonic() > end:
                break
            time.sleep(0.02)
        job.kill(9)
        if len(answers) < 2 or "error" in answers[1]:
            raise RuntimeError(f"QMP {execute} on host {self.host.name}: {answers}")
        return answers[1]["return"]


class Entry:
    """A guest of the table guests.toml."""

    def __init__(self, name, fields):
        self.name = name
        self.what = fields["what"]
        self.status = fields.get("status", 1)
        self.timeout = fields.get("timeout", 60)
        self.machines = fields.get("machines", ["pc", "microvm"])
        self.diverges = fields.get("diverges", False)
        self.input = fields.get("input", [])
        self.nmi = fields.get("nmi", [])
        self.ready = fields.get("ready")
        self.linux = fields.get("linux", False)
        self.boot = fields.get("boot", False)
        self.torture = fields.get("torture", False)
        self.branches = fields.get("branches", "")
        self.needs = fields.get("needs")
        self.limit = fields.get("limit")
        self.image = fields.get("image", name)
        self.append = fields.get("append", "")
        self._cpu = fields.get("cpu", [])
        self._args = fields.get("args", [])

    def qemu_args(self, append=None, machine="pc"):
        append = self.append if append is None else append
        built = paths.guests()
        if self.boot:
            return list(self._args)
        if self.linux:
            return ["-kernel", paths.kernel_image(),
                    "-initrd", os.path.join(built, self.image + ".cpio"),
                    "-append", f"{LINUX_WORDS} {MACHINE_WORDS[machine]} {append}".strip(),
                    *self._args]
        args = ["-kernel", os.path.join(built, self.image + ".elf")]
        return args + (["-append", append] if append else []) + self._args

    def cpu(self):
        """CPU, but for what it is to have or not: QEMU prefers what a CPU is not to have."""
        changed = [word[1:] for word in self._cpu]
        return ",".join([w for w in CPU.split(",") if w[1:] not in changed] + self._cpu)

    def boot_image(self):
        """What the disk begins with that the guest is booted from."""
        return os.path.join(paths.guests(), self.image + ".bin")


def table():
    with open(os.path.join(paths.GUESTS, "guests.toml"), "rb") as file:
        return {name: Entry(name, fields) for name, fields in tomllib.load(file).items()}
