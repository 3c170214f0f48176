# SPDX-License-Identifier: GPL-2.0
"""A guest that libvirt starts from the XML of libvirt.rst, with a disk and a card."""
import os
import shlex
import subprocess
import xml.etree.ElementTree as ET

from harness import Pair, need, test
from ftbed import device, pairing, paths
from test_boot import END, Bootable, log_file, paired, same_image, whole_output
from test_net import _said, frames

XML = os.path.join(paths.TOP, "Documentation", "ftkvm", "libvirt-db1.xml")
NAME, QMP = "db1", "/var/lib/libvirt/qemu/db1.ftkvm"
IMAGE, KERNEL = "/run/db1.img", "/run/db1.elf"
TAP = f"{NAME}-tap"
COMMAND_LINE = "{http://libvirt.org/schemas/domain/qemu/1.0}"


def _tree():
    """Where Debian's libvirt is unpacked."""
    here = os.path.join(paths.TESTBED, "libvirt")
    out = subprocess.run([os.path.join(here, "build")], stdout=subprocess.PIPE, check=True,
                         text=True).stdout
    return out.splitlines()[-1], os.path.join(here, "up")


def _xml(t, kernel):
    """The documented one; the test reads what a muted console prints, and has less memory. @kernel: it does not boot
    from its disk."""
    tree = ET.parse(XML)
    for arg in tree.iter(COMMAND_LINE + "arg"):
        if arg.get("value").startswith("ringbuf,"):
            arg.set("value", arg.get("value") + ",logfile=/dev/ttyS2")
    tree.find("memory").text = "128"
    if kernel:
        system = tree.find("os")
        system.remove(system.find("boot"))
        ET.SubElement(system, "kernel").text = KERNEL
    return log_file(t, "xml", ET.tostring(tree.getroot()))


class Domain(Pair):
    """A pair whose QEMUs are libvirt's; it ends with its hosts."""

    def __init__(self, test, image, kernel=None):
        super().__init__(test, "boot", label=NAME)
        self.image, self.kernel, self.xml = image, kernel, _xml(test, kernel)

    def _host(self, host):
        """Libvirt, the devices and the domain, stopped, as libvirt.rst says."""
        tree, up = _tree()
        peer = next(h.address for h in self.test.hosts if h is not host)
        ftctl = shlex.quote(paths.ftctl())
        begin = f"{ftctl} device add {NAME}-"
        return "; ".join([
            "set -e", shlex.join(["sh", up, tree]), device.network(host.address, peer),
            device.tap(TAP),
            f"cp {shlex.quote(self.image)} {IMAGE}",
            f"cp {shlex.quote(self.kernel)} {KERNEL}" if self.kernel else "true",
            f"{begin}disk guest {NAME} kind blk no 0 socket /run/ftkvm/{NAME}-disk "
            f"file {IMAGE} user libvirt-qemu",
            f"{begin}net guest {NAME} kind net no 1 socket /run/ftkvm/{NAME}-net "
            f"tap {TAP} user libvirt-qemu",
            f"virsh -q define --validate {shlex.quote(self.xml)}",
            f"virsh -q start --paused {NAME}",
            f"{ftctl} check --qmp {QMP}",
            f"{ftctl} attach {NAME} --qmp {QMP} --console con0=tty:/dev/ttyS1"])

    def start(self):
        t = self.test
        t.up()
        for host in t.hosts:
            self._marks[host.name] = (host.live.mark(), host.shadow.mark())
            self._streams.append(pairing.monitor(
                host, lambda when, event, name=host.name: self.events[name].append(event)))
        pairing.finish([host.start(self._host(host)) for host in t.hosts], timeout=120)

    def virsh(self, host, *words):
        return host.run(shlex.join(["virsh", "-q", *words])).out.strip()

    def close(self):
        for host in self.hosts():
            host.run(f"virsh -q destroy {NAME}", check=False)
        super().close()


def _domain(t, image, kernel=None):
    pair = Domain(t, image, kernel)
    t.things.append(pair)
    pair.start()
    pair.join()
    return pair


def _cut(t, pair):
    """The primary's power; libvirt must know that the survivor's guest runs."""
    paired(pair, t.a)
    t.a.power_off()
    pairing.promote(t.b, name=NAME)
    state = pair.virsh(t.b, "domstate", NAME)
    need(state == "running", f"libvirt says that the guest is {state}")


@test(timeout=300, kills=True, more=1)
def libvirt_primary_killed(t):
    """The guest boots from its disk, and outlives its host."""
    boot = Bootable(20)
    pair = _domain(t, log_file(t, "before", boot.before))
    pair.wait_live(t.a, r"boot: round 00000008.*\n", timeout=90)
    for host in t.hosts:
        need(pair.virsh(host, "domstate", NAME) == "running", f"host {host.name}: not running")
    _cut(t, pair)
    pair.wait_live(t.b, END, timeout=120)
    pair.one_machine(promoted=True)
    boot.check(whole_output(pair, t))
    same_image(t, t.b, IMAGE, boot)


@test(timeout=300, kills=True, more=1)
def libvirt_card_primary_killed(t):
    """Frames go to and come from the domain's card, before the cut and behind it."""
    mac = ET.parse(XML).find("devices/interface/mac").get("address")
    pair = _domain(t, log_file(t, "empty", bytes(1 << 20)), os.path.join(paths.guests(), "net.elf"))
    pair.wait_live(t.a, rf"net: {mac}", timeout=90)
    client = t.job(t.b, frames(mac, 300))
    pair.wait_live(t.a, r"net: 100 frames", timeout=90)
    _cut(t, pair)
    _said(client, 120)
    pair.one_machine(promoted=True)
