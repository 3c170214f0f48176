# SPDX-License-Identifier: GPL-2.0
"""Devices that the module serves: what a host and its QEMU need for one, and how it goes."""
import shlex

from . import paths

BRIDGE, TUNNEL = "ftbr", "ftvx"
# What a card must not have for Linux to take it without the control queue.
CARD_OPTIONS = "ctrl_vq=off,ctrl_rx=off,ctrl_vlan=off,ctrl_mac_addr=off"


def shared_memory(megabytes):
    """QEMU's arguments for so much memory, which the module may have."""
    return ["-object", f"memory-backend-memfd,id=ram,size={megabytes}M,share=on",
            "-machine", "memory-backend=ram", "-m", str(megabytes)]


class Device:
    """add and delete are for a host's shell; arguments for QEMU."""

    kind = None
    plug = "true"	# once its guest may be reached

    def __init__(self, name, guest, no=0):
        self.name, self.guest, self.no = name, guest, no
        self.socket = f"/run/{name}.sock"

    @property
    def chardev(self):
        return ["-chardev", f"socket,id={self.name},path={self.socket},reconnect=1"]

    def _add(self, *words):
        return shlex.join([paths.ftctl(), "device", "add", self.name, "guest", self.guest, "kind",
                           self.kind, "no", str(self.no), "socket", self.socket, *words]) + " >&2"

    @property
    def _delete(self):
        """Its QEMU has been killed, which ftd hears of soon."""
        return (f"n=0; until {shlex.quote(paths.ftctl())} device del {self.name}; do n=$((n+1)); "
                "[ $n -lt 50 ] || break; sleep 0.1; done >/dev/null 2>&1")


class Disk(Device):
    """On an image of the host's own; all zeros."""

    kind = "blk"

    def __init__(self, name, guest, no=0, size=16 << 20, words=()):
        """words: more of `ftctl device add`."""
        super().__init__(name, guest, no)
        self.size, self.image, self.words = size, f"/run/{name}.img", words

    @property
    def arguments(self):
        return [*self.chardev, "-device", f"vhost-user-blk-pci,chardev={self.name}"]

    @property
    def add(self):
        return f"rm -f {self.image}; truncate -s {self.size} {self.image}; {self.serve}"

    @property
    def serve(self):
        """Add it on an image that is there."""
        return self._add("file", self.image, *self.words)

    @property
    def delete(self):
        return f"{self._delete}; rm -f {self.image}"


class Card(Device):
    """Its tap is in the host's bridge; see network()."""

    kind = "net"

    def __init__(self, name, guest, no=0, mac="52:54:00:00:88:b5"):
        super().__init__(name, guest, no)
        self.tap, self.mac = f"{name}-tap", mac

    @property
    def arguments(self):
        return [*self.chardev, "-netdev", f"vhost-user,id={self.name}-net,chardev={self.name}",
                "-device", f"virtio-net-pci,netdev={self.name}-net,mac={self.mac},romfile=,"
                + CARD_OPTIONS]

    @property
    def add(self):
        return f"{tap(self.tap)} && " + self._add("tap", self.tap)

    @property
    def delete(self):
        return f"{self._delete}; ip link del {self.tap} 2>/dev/null; true"


class MacvtapCard(Card):
    """Its interface is a macvtap, above one that is plugged into the host's bridge."""

    @property
    def add(self):
        kernel = shlex.quote(paths.host_kernel_dir())
        up, at = f"{self.name}-up", f"{self.name}-br"
        # as devices.rst has it, but for what stands for eth0
        return " && ".join([
            f"for m in veth macvtap; do modprobe -d {kernel} $m || exit; done",
            f"ip link add {up} type veth peer name {at}",
            f"ip link set {at} master {BRIDGE} up", f"ip link set {up} up",
            f"ip link add link {up} name {self.tap} address {self.mac} type macvtap mode bridge",
            f"sysctl -q net.ipv6.conf.{self.tap}.disable_ipv6=1",
            f"ip link set {self.tap} up",
            # by its name, or by its file
            f"if [ $HOST = a ]; then tap={self.tap}; "
            f"else tap=/dev/tap$(cat /sys/class/net/{self.tap}/ifindex); fi",
            self._add("tap", "/dev/tapN").replace("/dev/tapN", "$tap")])

    @property
    def delete(self):
        return f"{super().delete}; ip link del {self.name}-up 2>/dev/null; true"


class WaitingCard(Card):
    """In no bridge yet: frames that a bridge can't place would wait in its tap, for a guest that
    they were not sent to."""

    @property
    def add(self):
        return (f"{tap(self.tap)} && ip link set {self.tap} nomaster && "
                + self._add("tap", self.tap))

    @property
    def plug(self):
        """What the bridge has learnt is of a guest that had the same address elsewhere."""
        return (f"ip link set {self.tap} master {BRIDGE} && "
                f"ip link set {BRIDGE} type bridge fdb_flush")


def network(address, peer):
    """For the shell of the host at address: its bridge, if it has none; it and the one of the host
    at peer, if there is such, are one network."""
    kernel = shlex.quote(paths.host_kernel_dir())
    words = [f"for m in tun bridge vxlan; do modprobe -d {kernel} $m || exit; done",
             f"ip link add {BRIDGE} type bridge", f"ip link set {BRIDGE} up"]
    if peer:
        words += [f"ip link add {TUNNEL} type vxlan id 1 dstport 4789 local {address} "
                  f"remote {peer}", f"ip link set {TUNNEL} master {BRIDGE} up"]
    return f"[ -e /sys/class/net/{BRIDGE} ] || {{ " + " && ".join(words) + "; }"


def tap(name):
    """A tap in that bridge."""
    return (f"ip tuntap add dev {name} mode tap vnet_hdr && "
            f"ip link set {name} master {BRIDGE} up")


def no_network():
    return f"for i in {TUNNEL} {BRIDGE}; do ip link del $i; done 2>/dev/null; true"
