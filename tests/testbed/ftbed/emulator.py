# SPDX-License-Identifier: GPL-2.0
"""One emulated host: QEMU's TCG with an AMD PMU, running a stock kernel."""
import os
import signal
import subprocess
import time

from . import paths
from .agent import Agent
from .channel import Console, connect

# Virtual time of one instruction is 2^SHIFT ns: about as fast as the emulation
# really is, so that a host's clock keeps near the wall clock while it works.
SHIFT = 1
TSC_KHZ = 1000000	# what -icount makes of the TSC

# Left out at boot because emulation pays seconds for them and no test needs
# them: self-tests of algorithms (each is still tested when first used), the
# certificates that module signatures are checked with (ftkvm's own module is
# not signed by Debian), type information for BPF.
SKIPPED_INITCALLS = ["jent_mod_init", "crypto_algapi_init", "load_system_certificate_list",
                     "bpf_tcp_ca_kfunc_init", "bpf_dummy_struct_ops_init", "trace_eval_init"]

SERIAL_PORTS = ("dmesg", "live", "shadow")	# ttyS0, ttyS1, ttyS2


class Emulator:
    """A host, from power-on to the loss of power.

    live is the console of the guest while it is live on this host (ttyS1),
    shadow what the muted console of a backup would have shown (ttyS2).
    """

    def __init__(self, name, run_dir, log_dir, pump, *, address, peer, link,
                 third=None, stores=(), own=None, memory=2048, skid=0, seed=1, icount=True, trace=None):
        self.name, self.address = name, address
        self.run_dir, self.log_dir = run_dir, log_dir
        self._pump = pump
        self.agent = None
        self.prepared = False	# ftkvm is loaded, ftd runs
        self.ftd_options = ()	# ... with these
        self.ftd_words = ()	# ... behind these, which run it as somebody else
        self.ftd_link = None	# ... and these for [link]; None: as all do, see pairing.py
        self.killed_at = None
        self.started_at = None
        self.exit_status = None
        binary = paths.emulator()
        cpu = "max"
        if icount:
            cpu += f",pmu=on,pmu-skid={skid},pmu-seed={seed}"
        mac = "52:54:00:77:00:%02x" % (1 + "abc".index(name))
        self.init = ""	# "systemd": from the next power_on() on
        self._words = ["console=ttyS0", "quiet", "mitigations=off", "nokaslr", "panic=-1",
                 "oops=panic", "tsc=reliable", "nmi_watchdog=0", "init_on_alloc=0",
                 "initcall_blacklist=" + ",".join(SKIPPED_INITCALLS),
                 f"ftbed.host={name}", f"ftbed.ip={address}/24", f"ftbed.peer={peer}",
                 f"ftbed.clock={int(time.time())}"]
        self.command = [
            binary, "-accel", "tcg", "-cpu", cpu, "-M", "pc,hpet=off,vmport=off",
            "-m", str(memory + paths.MORE_MEMORY), "-nodefaults", "-display", "none", "-no-reboot",
            "-L", "/usr/share/seabios", "-L", "/usr/share/qemu",
            "-kernel", paths.host_kernel(), "-initrd", paths.host_image(),
            "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=machine",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={self._at('agent')},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=agent",
            "-netdev", f"dgram,id=link,local.type=unix,local.path={link[0]},"
                       f"remote.type=unix,remote.path={link[1]}",
            "-device", f"virtio-net-pci,netdev=link,mac={mac},romfile=",
        ]
        if third:
            # a directory that all hosts reach
            self.command += ["-fsdev", f"local,id=third,path={third},security_model=none",
                             "-device", "virtio-9p-pci,fsdev=third,mount_tag=third"]
        for block, image in stores:
            # storage that all hosts reach: none of them may keep anything of it to itself
            self.command += ["-drive", f"if=none,id=store{block},file={image},format=raw,cache=none,"
                                       "file.locking=off",
                             "-device", f"virtio-blk-pci,drive=store{block},serial=store{block},"
                                        f"share-rw=on,logical_block_size={block},"
                                        f"physical_block_size={block}"]
        if own:
            # a disk with a cache for writes: what this host's kernel has not sent to it, it loses
            # with its power, and flushes are counted
            self.command += ["-drive", f"if=none,id=own,file={own},format=raw,cache=unsafe,"
                                       "discard=unmap",
                             "-device", "virtio-blk-pci,drive=own,serial=own"]
        if icount:
            self.command += ["-icount", f"shift={SHIFT},sleep=on"]
        for port in SERIAL_PORTS:
            self.command += [
                "-chardev", f"socket,id={port},path={self._at(port)},server=on,wait=off",
                "-serial", f"chardev:{port}"]
        self.consoles = {port: Console(f"{name}.{port}",
                                       os.path.join(log_dir, f"{name}.{port}.log"))
                         for port in SERIAL_PORTS}
        self._process = None

    def _at(self, what):
        return os.path.join(self.run_dir, f"{self.name}.{what}")

    @property
    def live(self):
        return self.consoles["live"]

    @property
    def shadow(self):
        return self.consoles["shadow"]

    @property
    def dmesg(self):
        return self.consoles["dmesg"]

    @property
    def alive(self):
        if self.exit_status is None and self._process:
            self.exit_status = self._process.poll()
        return self._process is not None and self.exit_status is None

    def power_on(self):
        # after a loss of power, too: nothing is left of before
        self.exit_status = self.killed_at = None
        self.prepared = False
        with open(os.path.join(self.log_dir, f"{self.name}.emulator.log"), "ab") as log:
            words = self._words + ([f"ftbed.init={self.init}"] if self.init else [])
            command = [*self.command, "-append", " ".join(words)]
            log.write((" ".join(command) + "\n").encode())
            log.flush()
            # An emulator must not outlive its driver, however that ends.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.started_at = time.monotonic()
        for port, console in self.consoles.items():
            console.attach(self._pump, connect(self._at(port), 20, lambda: self.alive))
        self.agent = Agent(self.name, self._pump, self._at("agent"), lambda: self.alive)

    def wait_up(self, timeout=120):
        self.agent.wait_up(paths.SLOWNESS * timeout)

    def run(self, command, **options):
        return self.agent.run(command, **options)

    def start(self, command, **options):
        return self.agent.start(command, **options)

    def power_off(self):
        """Cut the power: the emulator gets SIGKILL, in the midst of anything."""
        if self.alive:
            self._process.send_signal(signal.SIGKILL)
            self.killed_at = time.monotonic()
            self.exit_status = self._process.wait()
        return self.killed_at
