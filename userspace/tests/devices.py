# SPDX-License-Identifier: GPL-2.0
"""Tests of devices: vhost-user with a real QEMU, and ftd, whose module is a record."""
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess

from world import Failed, findings, need, need_match, test, wait_for

# --- vhost-user: a real QEMU, its firmware as the driver -----------------------

def vhost_device(w, kind):
    """A device that says what happens to it; its socket, and what it said."""
    path, log = w.path("vhost.sock"), w.path("vhost.log")
    with open(log, "ab") as out:
        process = w.start([*w.wrap, os.path.join(w.build, "unit"), "vhost", path, kind], stdout=out,
                          stderr=out)
    wait_for(lambda: process.poll() is not None or w.text(log).endswith("listens\n"), "the device listens")
    need(process.poll() is None, w.text(log))
    return process, path, lambda: w.text(log)


def wait_said(said, pattern, start=0):
    """Until it has said so, behind @start; where that ends."""
    found = []

    def there():
        found[:] = list(re.finditer(pattern, said()[start:], re.MULTILINE))[:1]
        return found
    try:
        wait_for(there, pattern)
    except Failed as error:
        raise Failed(f"{error}; it said:\n{said()}") from None
    return start + found[0].end()


SHARED = ("-object", "memory-backend-memfd,id=ram,size=64M,share=on", "-machine", "memory-backend=ram")
STARTED = (r"^start {} num (128|256) base 0 desc 0x[0-9a-f]+ avail 0x[0-9a-f]+ used 0x[0-9a-f]+ call yes$"
           r"(\n|.)*?^kick {}$")


def queue_starts(said, at, queues):
    for number in queues:
        wait_said(said, STARTED.format(number, number), at)
    return len(said())


@test
def vhost_disk_of_a_real_qemu(w):
    """SeaBIOS finds it and reads; a reset; a migration away; and the device's end and return."""
    device, socket_path, said = vhost_device(w, "blk")
    monitor, = w.qemu(*SHARED, "-chardev", f"socket,id=c,path={socket_path},reconnect=1", "-device",
                      "vhost-user-blk-pci,chardev=c")
    at = wait_said(said, "^connected\nconfig$")
    need("start" not in said(), f"a queue runs before the guest does: {said()}")
    w.qmp(monitor, ("cont", {}))
    # VERSION_1, PROTOCOL_FEATURES, BLK_SIZE, SEG_MAX, SIZE_MAX
    at = wait_said(said, "^features 0x140000046$", at)
    at = queue_starts(said, at, [0])
    w.qmp(monitor, ("system_reset", {}))
    at = queue_starts(said, wait_said(said, "^stop 0$", at), [0])
    device.kill()
    device.wait()
    os.unlink(socket_path)
    _, _, said = vhost_device(w, "blk")
    at = wait_said(said, "^connected$", at)
    at = wait_said(said, "^start 0 ", at)
    w.qmp(monitor, ("migrate", {"uri": "exec:cat > /dev/null"}))
    at = wait_said(said, "^stop 0$", at)
    w.qmp(monitor, ("quit", {}))
    wait_said(said, "^ended: it hung up$", at)


@test
def vhost_net_of_a_real_qemu(w):
    """iPXE asks for an address and hears nothing."""
    _, socket_path, said = vhost_device(w, "net")
    monitor, = w.qemu(*SHARED, "-chardev", f"socket,id=c,path={socket_path}", "-netdev",
                      "vhost-user,id=n,chardev=c", "-device", "virtio-net-pci,netdev=n,id=card,bootindex=0")
    at = wait_said(said, "^connected$")
    w.qmp(monitor, ("cont", {}))
    at = queue_starts(said, at, [0, 1])
    w.qmp(monitor, ("set_link", {"name": "card", "up": False}))
    at = max(wait_said(said, "^stop 0$", at), wait_said(said, "^stop 1$", at))
    w.qmp(monitor, ("quit", {}))
    wait_said(said, "^ended: it hung up$", at)


# --- devices: ftd and a real QEMU, a record of what the module is told ----------

class Devices:
    """ftd-alone, and what its module says."""

    def __init__(self, w):
        self.w, self.dir, self.ftd = w, w.path("module"), None
        os.mkdir(self.dir)
        self.image = w.path("image")
        with open(self.image, "wb") as file:
            file.truncate(1 << 20)
        self.start()

    def start(self):
        # QEMU may be there before ftd was seen to be.
        self.at = len(self.ftd.log) if self.ftd else 0
        self.ftd = self.w.ftd(env={"FTKVM_STANDIN": self.dir}, program="ftd-alone")

    def module(self, name, text=None):
        path = os.path.join(self.dir, name)
        if text is None:
            os.unlink(path)
        else:
            with open(path, "w", encoding="ascii") as file:
                file.write(text)

    def ftctl(self, *words, check=0):
        return self.w.ftctl(*words, control=self.ftd.control, check=check, env={"FTKVM_STANDIN": self.dir},
                            program="ftctl-alone")

    def device(self, *words, check=0):
        _, out, err = self.ftctl("device", *words, check=check)
        return out + err

    def show(self, name):
        return json.loads(self.ftctl("-j", "device", "show", name)[1])[0]

    def disk(self, name, *words, no=0):
        self.device("add", name, "guest", "web", "kind", "blk", "no", str(no), "socket", name, "file",
                    self.image, *words)
        return self.w.path(name)

    def qemu(self, *names):
        words = list(SHARED)
        for name in names:
            words += ["-chardev", f"socket,id={name},path={self.w.path(name)},reconnect=1", "-device",
                      f"vhost-user-blk-pci,chardev={name}"]
        monitor, = self.w.qemu(*words)
        return monitor

    def connect(self, name, text=b""):
        """A client that says this much, if it is let."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        sock.connect(self.w.path(name))
        try:
            sock.sendall(text)
        except OSError:
            pass
        return sock

    def silent(self, name):
        """A client that says nothing; ftd has seen it."""
        sock = self.connect(name)
        wait_for(lambda: self.show(name)["connected"], "ftd has the connection")
        need(self.show(name)["silent"], f"{self.show(name)}")
        return sock

    def said(self, pattern):
        """ftd has said so, after what was waited for last."""
        self.at = wait_said(lambda: self.ftd.log, pattern, self.at)


D0_STARTS = "module: start d0 0 features 0x100000[0-9a-f]*46 num 128 base 0 kick open call open$"
GET_FEATURES = b"\1\0\0\0\1\0\0\0\0\0\0\0"


def sent_away(sock, why):
    """Hung up on, without a word."""
    with sock:
        try:
            got = sock.recv(1)
        except ConnectionResetError:	# what it said was not even read
            got = b""
        except TimeoutError:
            got = None
    need(got == b"", why)


@test
def device_of_a_real_qemu(w):
    """From the firmware's first look to QEMU's end, and an ftd that ends in between."""
    d = Devices(w)
    d.disk("d0", "readonly")
    need_match("waits for its QEMU.*vhost-user-blk-pci,chardev=d0", d.device())
    monitor = d.qemu("d0")
    d.said("module: add d0 no 0 kind 1 capacity 2048 readonly backend open$")
    need_match("its driver does not run", d.device("show", "d0"))
    w.qmp(monitor, ("cont", {}))
    d.said(D0_STARTS)
    got = d.show("d0")
    need(got["connected"] and got["queues"] == [0] and got["bytes"] == 1 << 20 and not got["trouble"], f"{got}")
    need_match("in use", d.device())
    w.qmp(monitor, ("system_reset", {}))
    d.said("module: stop d0 0$")
    d.said(D0_STARTS)
    need_match("in use by guest web", d.device("del", "d0", check=1))

    d.ftd.process.terminate()
    need(d.ftd.process.wait(60) == 0, "ftd did not end in order")
    need("module: del" not in d.ftd.log, "the module was told to let go of it")
    d.start()
    d.said("module: del d0$")
    d.said("module: add d0 ")
    d.said(D0_STARTS)
    # In a pair's hands the module does not give it back.
    d.module("busy", "")
    d.ftd.process.terminate()
    d.ftd.process.wait(60)
    d.start()
    d.said("is back; the module had it meanwhile$")
    d.said(D0_STARTS)
    need(d.show("d0")["bytes"] == 1 << 20, "its size is lost")
    d.module("busy")

    w.qmp(monitor, ("quit", {}))
    d.said("has let go of it$")
    d.said("module: del d0$")
    wait_for(lambda: not d.show("d0")["connected"], "it is let go of")
    need_match("is gone", d.device("del", "d0"))
    need(not os.path.exists(w.path("d0")), "its socket stayed")
    need_match("There is no device", d.device())


@test
def device_whose_qemu_misses_a_restart(w):
    """ftd ends as the guest is stopped: QEMU does not notice that there is another, then and later."""
    d = Devices(w)
    d.disk("d0", "readonly")
    monitor = d.qemu("d0")

    def restart():
        d.ftd.process.kill()
        d.ftd.process.wait(60)
        d.start()
        wait_for(lambda: d.show("d0")["connected"], "QEMU has connected")
        need(d.show("d0")["silent"], f"it has noticed: {d.show('d0')}")

    w.qmp(monitor, ("cont", {}))
    d.said(D0_STARTS)
    w.qmp(monitor, ("stop", {}))
    d.said("module: stop d0 0$")
    restart()
    w.qmp(monitor, ("cont", {}))
    d.said("is back; the module had it meanwhile$")
    d.said(D0_STARTS)
    # the queue runs on in the module, and where it was comes from there
    restart()
    w.qmp(monitor, ("stop", {}))
    d.said("module: stop d0 0$")
    w.qmp(monitor, ("cont", {}))
    d.said(D0_STARTS)
    need("module: del" not in d.ftd.log and d.show("d0")["queues"] == [0], f"{d.show('d0')}: {d.ftd.log}")
    w.qmp(monitor, ("quit", {}))
    d.said("has let go of it$")


class Store:
    """A service manager's store of descriptors: what ftd gives it the next ftd is given."""

    def __init__(self, d):
        self.d, self.fds = d, {}
        path = d.w.path("notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)
        self.sock.setblocking(False)
        self.env = {"FTKVM_STANDIN": d.dir, "NOTIFY_SOCKET": path}

    def hear(self):
        """What was said up to now."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, 4096, 16)
            except BlockingIOError:
                return
            words = dict(line.split("=", 1) for line in data.decode().splitlines())
            name = words.get("FDNAME")
            if "FDSTOREREMOVE" in words and name in self.fds:
                os.close(self.fds.pop(name))
            elif "FDSTORE" in words:
                if name in self.fds:
                    os.close(self.fds[name])
                self.fds[name], = fds

    def start(self):
        """ftd, with all that is stored."""
        d, wrap = self.d, self.d.w.wrap
        self.hear()
        moves = "".join(f" {3 + i}<&{fd}" for i, fd in enumerate(self.fds.values()))
        for fd in self.fds.values():
            os.set_inheritable(fd, True)
        env = dict(self.env, LISTEN_FDS=str(len(self.fds)), LISTEN_FDNAMES=":".join(self.fds))
        d.at = len(d.ftd.log)
        d.w.wrap = ["bash", "-c", f'export LISTEN_PID=$$; exec "$@"{moves}', "bash", *wrap]
        try:
            d.ftd = d.w.ftd(env=env, program="ftd-alone", options={"close_fds": False})
        finally:
            d.w.wrap = wrap

    def next(self):
        """ftd is killed, and there is another."""
        self.d.ftd.process.kill()
        self.d.ftd.process.wait(60)
        self.start()


@test
def device_kept_by_the_manager(w):
    """A QEMU does not notice that ftd is killed, if a pair has its disk; else, or in the midst of something, it
    comes anew."""
    d = Devices(w)
    d.ftd.process.terminate()
    d.ftd.process.wait(60)
    store = Store(d)
    store.start()
    d.disk("d0", "readonly")
    monitor = d.qemu("d0")
    w.qmp(monitor, ("cont", {}))
    d.said(D0_STARTS)
    d.module("busy", "")
    state, = (name for name in os.listdir(w.dir) if name.endswith(".devices.said.d0"))
    wait_for(lambda: os.path.exists(w.path(state)), "it is noted what QEMU has said")
    store.next()
    d.said("device d0: QEMU .* has it still$")
    need(list(store.fds) == ["device-d0"] and d.show("d0")["queues"] == [0], f"{store.fds}: {d.show('d0')}")
    # what it says next is understood
    w.qmp(monitor, ("stop", {}))
    d.said("module: stop d0 0$")
    w.qmp(monitor, ("cont", {}))
    d.said(D0_STARTS)
    need("has let go" not in d.ftd.log, f"QEMU has noticed: {d.ftd.log}")
    # as if ftd had died in the midst of an answer
    wait_for(lambda: os.path.exists(w.path(state)), "it is noted again")
    os.unlink(w.path(state))
    store.next()
    d.said("is back; the module had it meanwhile$")
    d.said(D0_STARTS)
    # no pair has it: it is set up anew, as there is no harm in that
    wait_for(lambda: os.path.exists(w.path(state)), "it is noted again")
    d.module("busy")
    store.next()
    d.said("module: del d0$")
    d.said("module: add d0 ")
    d.said(D0_STARTS)
    w.qmp(monitor, ("quit", {}))
    d.said("has let go of it$")
    store.hear()
    need(not store.fds and not os.path.exists(w.path(state)), f"left: {store.fds}, {os.listdir(w.dir)}")


@test
def device_refusals(w):
    """What is refused is said once, and tried again until it works."""
    d = Devices(w)
    d.disk("d0")
    d.device("add", "d1", "guest", "web", "kind", "blk", "no", "1", "socket", "d1", "file", "other")
    os.link(d.image, w.path("other"))
    d.module("refuse", "add")
    sent_away(d.connect("d0", GET_FEATURES), "it was not sent away")
    d.said("sent away: the module refuses: add$")
    d.module("refuse", "start")
    monitor = d.qemu("d0")
    d.said("module: add d0 ")
    # One image, two disks: the second is refused, whoever it is.
    sent_away(d.connect("d1", GET_FEATURES), "two disks can write to one image")
    need_match("other is in use", d.show("d1")["trouble"])
    # QEMU has it: nobody else may.
    sent_away(d.connect("d0"), "two can have it")
    d.said("has it; another that connects is sent away$")
    w.qmp(monitor, ("cont", {}))
    for _ in range(2):	# QEMU connects again, and it fails again
        d.said("module: del d0$")
    need(d.show("d0")["trouble"] == "the module refuses: start", f"{d.show('d0')}")
    need(d.ftd.log.count("the module refuses: start") == 1, f"said again and again: {d.ftd.log}")
    d.module("refuse")
    d.said("module: start d0 0 ")
    wait_for(lambda: not d.show("d0")["trouble"], "the trouble is over")


@test
def device_before_its_vm(w):
    """QEMU connects, and has a VM and a device only later."""
    d = Devices(w)
    d.disk("d0")
    d.module("refuse", "vm")
    monitor, = w.qemu(*SHARED, "-chardev", f"socket,id=c,path={w.path('d0')}")
    wait_for(lambda: d.show("d0")["connected"], "QEMU connects")
    need(d.show("d0")["silent"], f"it was looked at already: {d.show('d0')}")
    need_match("waits for its QEMU.*QEMU +process [0-9]+, which has said nothing yet", d.device())
    d.module("refuse")
    w.qmp(monitor, ("device_add", {"driver": "vhost-user-blk-pci", "chardev": "c"}), ("cont", {}))
    d.said("module: add d0 ")
    d.said("module: start d0 0 ")
    got = d.show("d0")
    need(not got["silent"] and not got["trouble"], f"{got}")
    need("sent away" not in d.ftd.log, f"{d.ftd.log}")


@test
def device_and_the_silent(w):
    """Who says nothing has nothing: it makes way, and is no hindrance."""
    d = Devices(w)
    d.disk("d0")
    d.silent("d0").close()
    wait_for(lambda: not d.show("d0")["connected"], "who hung up is forgotten")
    need(not d.show("d0")["trouble"], f"{d.show('d0')}")

    silent = d.silent("d0")
    with d.connect("d0", GET_FEATURES) as qemu:
        sent_away(silent, "the silent one stays")
        need(qemu.recv(12)[:4] == GET_FEATURES[:4], "the next one is not served")
        d.said("sent away: it had said nothing when another connected$")
        d.said("module: add d0 ")
        d.said("has it$")
        need(not d.show("d0")["trouble"], f"{d.show('d0')}")
        sent_away(d.connect("d0"), "one that has it makes way")
        need_match("in use by guest web", d.device("del", "d0", check=1))
    d.said("module: del d0$")

    wait_for(lambda: not d.show("d0")["connected"], "it is let go of")
    silent = d.silent("d0")
    d.ftd.process.terminate()
    need(d.ftd.process.wait(60) == 0, "ftd did not end in order")
    sent_away(silent, "ftd's end is not noticed")
    d.start()
    silent = d.silent("d0")
    need_match("is gone", d.device("del", "d0"))
    sent_away(silent, "the device's end is not noticed")
    need(d.ftd.ask(cmd="devices")["devices"] == [], "it is there still")


@test
def device_clients_talk_nonsense(w):
    """Each is sent away, and the disk of a guest that runs notices nothing."""
    d = Devices(w)
    d.disk("d0")
    with open(w.path("other"), "wb") as file:
        file.truncate(1 << 16)
    d.device("add", "d1", "guest", "web", "kind", "blk", "no", "1", "socket", "d1", "file", "other",
             "readonly")
    monitor = d.qemu("d0")
    w.qmp(monitor, ("cont", {}))
    d.said("module: start d0 0 ")
    for text, why in ((b"GET / HTTP/1.0\r\n\r\n", "not vhost-user"), (b"\0" * 12, "not vhost-user"),
                      (b"\1\0\0\0\1\0\0\0\xff\xff\xff\xff", "GET_FEATURES with 4294967295 bytes"),
                      (b"\x1f\0\0\0\1\0\0\0\0\0\0\0", "message 31 "),
                      (b"\1\0\0\0\1", "in the midst"),
                      (b"\1\0\0\0\1\0\0\0\0\0\0\0" * 100000, "does not read its answers")):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(w.path("d1"))
            try:
                sock.settimeout(60)
                sock.sendall(text)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            d.said(f"d1: QEMU .process {os.getpid()}. is sent away: .*{why}")
            d.said("module: del d1$")
    need("module: stop" not in d.ftd.log, f"the disk was stopped: {d.ftd.log}")
    need(d.show("d0")["queues"] == [0], "the disk does not run any more")


@test
def device_net_with_a_tap(w):
    """A tap of our own; where that is not allowed, what is said of one that is not there."""
    d = Devices(w)
    name, tap = f"ftk{os.getpid()}", None
    words = ("add", "n0", "guest", "web", "kind", "net", "no", "0", "socket", "n0", "tap", name)
    d.device(*words)
    try:
        tap = os.open("/dev/net/tun", os.O_RDWR)
        # TUNSETIFF: IFF_TAP, IFF_NO_PI, IFF_VNET_HDR; TUNSETPERSIST
        fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", name.encode(), 0x5002))
        fcntl.ioctl(tap, 0x400454cb, 1)
        os.close(tap)
    except OSError:
        tap = None
    if tap is None:
        print("  (no tap can be made here)")
        sent_away(d.connect("n0", GET_FEATURES), "a card without a tap")
        need_match(f"there is no tap {name}; run: ip tuntap add", d.show("n0")["trouble"])
        return
    try:
        monitor, = w.qemu(*SHARED, "-chardev", f"socket,id=c,path={w.path('n0')}", "-netdev",
                          "vhost-user,id=n,chardev=c", "-device",
                          "virtio-net-pci,netdev=n,bootindex=0,ctrl_vq=off")
        d.said("module: add n0 no 0 kind 2 capacity 0 backend open$")
        w.qmp(monitor, ("cont", {}))
        for queue in (0, 1):
            d.said(f"module: start n0 {queue} features 0x100000000 num 256 base 0 kick open call open$")
        need(d.show("n0")["queues"] == [0, 1], f"{d.show('n0')}")
        w.qmp(monitor, ("quit", {}))
        d.said("module: del n0$")
        wait_for(lambda: not d.show("n0")["connected"], "the tap is let go of")
    finally:
        tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", name.encode(), 0x5002))
        fcntl.ioctl(tap, 0x400454cb, 0)
        os.close(tap)


@test
def device_and_attach(w):
    """A guest's disks may be the module's, all of them; a card without QEMU's control queue."""
    d = Devices(w)
    d.disk("d0")
    monitor = d.qemu("d0")
    d.said("module: add d0 ")
    got = w.ftctl("attach", "web", "--qmp", monitor, control=d.ftd.control, check=1)[2]
    need_match("-accel kvm", got)
    need("vhost" not in got, f"a disk of the module's is refused: {got}")
    _, other, said = vhost_device(w, "blk")
    monitor, = w.qemu(*SHARED, "-chardev", f"socket,id=c,path={other}", "-device",
                      "vhost-user-blk-pci,chardev=c,id=foreign", "-device", "virtio-net-pci,id=card", "-device",
                      "virtio-net-pci,ctrl_vq=off")
    wait_said(said, "^connected$")
    text = json.dumps(findings(w, monitor))
    need_match("1 of 1 vhost-user-blk-pci .foreign. is not ftkvm's.*ftctl device add", text)
    need_match("2 of 2 virtio-net-pci .* are not ftkvm's", text)
    need_match("control queue of virtio-net-pci .card..*ctrl_vq=off", text)
    need(text.count("control queue") == 1, f"of the other card, too: {text}")


@test
def device_without_kvm(w):
    """The real ftd, and a QEMU that is not KVM's."""
    ftd = w.ftd()
    image = w.path("image")
    with open(image, "wb") as file:
        file.truncate(1 << 20)
    w.ftctl("device", "add", "d0", "--guest", "web", "--kind=blk", "--no", "0", "--socket", "d0", "--file",
            "image", control=ftd.control, check=0)
    w.start(["qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-S", *SHARED,
             "-m", "64", "-chardev", f"socket,id=c,path={w.path('d0')}", "-device",
             "vhost-user-blk-pci,chardev=c"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_said(lambda: ftd.log, "sent away: this QEMU .* does not use KVM; start it with -accel kvm$")


def lingering():
    """A descriptor that close() waits with, and what ends that: a full connection that lingers."""
    listener = socket.create_server(("127.0.0.1", 0))
    sock = socket.create_connection(listener.getsockname())
    peer, _ = listener.accept()
    listener.close()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3000))
    sock.setblocking(False)
    try:
        while True:
            sock.send(b"x" * 65536)
    except BlockingIOError:
        pass
    return sock, peer


def give(ftd, client, text, sock, path=None):
    """Say it with a descriptor, which the client has no more before ftd has it."""
    pid = ftd.process.pid
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    if path:
        client.connect(path)
    socket.send_fds(client, [text], [sock.fileno()])
    sock.close()
    os.kill(pid, signal.SIGCONT)


@test
def device_clients_descriptors_are_slow_to_close(w):
    """Only their own device waits for them."""
    d = Devices(w)
    d.disk("d0")

    def wait_busy(client):
        # It answers, and all else goes on, while it closes.
        wait_for(lambda: d.show("d0")["connected"] and not d.show("d0")["silent"] and d.show("d0")["busy"],
                 "it closes")
        need(d.ftd.ask(cmd="info")["ok"], "ftd waits, too")
        client.setblocking(False)
        try:
            need(False, f"it says {client.recv(12)}")
        except BlockingIOError:
            client.settimeout(60)

    # of a message: SET_VRING_ERR
    err_fd = struct.pack("=IIIQ", 14, 1, 8, 0)
    with d.connect("d0", GET_FEATURES) as client:
        need(len(client.recv(20)) == 20, "no answer")
        slow, peer = lingering()
        give(d.ftd, client, err_fd, slow)
        client.sendall(GET_FEATURES)
        wait_busy(client)
        peer.close()
        need(len(client.recv(20)) == 20, "no answer any more")
        # of a message that is not whole, and its end
        slow, peer = lingering()
        give(d.ftd, client, err_fd[:-1], slow)
    d.said("hung up in the midst")
    wait_for(lambda: d.show("d0")["busy"], "it closes")
    need(d.ftd.ask(cmd="info")["ok"], "ftd waits, too")
    need_match("is being taken back", d.device("del", "d0", check=1))
    peer.close()
    wait_for(lambda: not d.show("d0")["connected"], "it has closed it")

    # of a client that nobody heard, as another has the disk
    with d.connect("d0", GET_FEATURES) as client:
        need(len(client.recv(20)) == 20, "no answer")
        slow, peer = lingering()
        other = socket.socket(socket.AF_UNIX)
        give(d.ftd, other, err_fd, slow, w.path("d0"))
        d.said("another that connects is sent away")
        need(d.ftd.ask(cmd="info")["ok"], "ftd waits, too")
        client.sendall(GET_FEATURES)
        need(len(client.recv(20)) == 20, "who has the disk waits, too")
        other.close()
        peer.close()
    wait_for(lambda: not d.show("d0")["connected"], "it is let go of")
    with d.connect("d0", GET_FEATURES) as client:
        need(len(client.recv(20)) == 20, "nobody can connect any more")


def ask_config(sock):
    """What a disk offers: its features, and its configuration space."""
    def ask(request, payload=b"", answer=True):
        sock.sendall(struct.pack("=III", request, 1, len(payload)) + payload)
        if not answer:
            return None
        size = struct.unpack("=III", sock.recv(12, socket.MSG_WAITALL))[2]
        return sock.recv(size, socket.MSG_WAITALL)
    features = struct.unpack("=Q", ask(1))[0]
    ask(16, struct.pack("=Q", 0x20b), answer=False)
    words = struct.unpack("=QII4xI8xBxHIIIIIB", ask(24, struct.pack("=III", 0, 57, 0) + bytes(57))[12:])
    return features, dict(zip(("capacity", "size_max", "seg_max", "blk_size", "wce", "queues", "discard_sectors",
                               "discard_seg", "discard_alignment", "zeroes_sectors", "zeroes_seg",
                               "zeroes_unmap"), words))


@test
def device_offers(w):
    """What the guest is told of a disk, by its file's size and its words."""
    d = Devices(w)
    bits = {"size_max": 1 << 1, "seg_max": 1 << 2, "readonly": 1 << 5, "discard": 1 << 13, "zeroes": 1 << 14}
    for number, (size, words, sectors, offered) in enumerate((
            ((1 << 20) + 511, (), 2048, ()), (512, (), 1, ()), (1023, ("readonly",), 1, ("readonly",)),
            (1 << 20, ("discard",), 2048, ("discard", "zeroes")))):
        name = f"d{number}"
        with open(w.path(name + ".img"), "wb") as file:
            file.truncate(size)
        d.device("add", name, "guest", "web", "kind", "blk", "no", str(number), "socket", name, "file",
                 name + ".img", *words)
        with d.connect(name) as client:
            features, config = ask_config(client)
        need(config["capacity"] == sectors and config["blk_size"] == 512 and config["queues"] == 1, f"{config}")
        # The module fails what is larger.
        need(features & bits["size_max"] and features & bits["seg_max"] and
             4096 <= config["size_max"] and config["size_max"] * config["seg_max"] <= 254 << 16,
             f"{features:x} {config}")
        for bit in ("readonly", "discard", "zeroes"):
            need(bool(features & bits[bit]) == (bit in offered), f"{words}: {bit}: {features:x}")
        need(bool(config["discard_sectors"] and config["discard_seg"] and config["discard_alignment"] and
                  config["zeroes_sectors"] and config["zeroes_seg"] and config["zeroes_unmap"]) ==
             ("discard" in offered) and not config["wce"], f"{words}: {config}")
    for number, size in ((8, 0), (9, 511)):
        name = f"d{number}"
        with open(w.path(name + ".img"), "wb") as file:
            file.truncate(size)
        d.device("add", name, "guest", "web", "kind", "blk", "no", str(number), "socket", name, "file",
                 name + ".img")
        sent_away(d.connect(name, GET_FEATURES), "it is a disk")
        need_match(f"{name}.img holds nothing: {size} bytes", d.show(name)["trouble"])


@test
def device_whose_driver_writes_its_configuration(w):
    """wce, which was not offered: a real QEMU passes it on, is refused, and keeps the disk."""
    d = Devices(w)
    d.disk("d0")
    monitor, = w.qemu(*SHARED, "-qtest", f"unix:{w.path('qtest')},server=on,wait=off", "-chardev",
                      f"socket,id=c,path={w.path('d0')}", "-device", "vhost-user-blk-pci,chardev=c,addr=5")
    d.said("has it$")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(w.path("qtest"))
        sock.settimeout(60)
        with sock.makefile("rw") as file:
            # Its BAR 4 at 3.5 GiB, and memory on; of the BAR, from 8 KiB on, the configuration.
            for register, value in ((0x20, 0xe0000000), (0x24, 0), (0x04, 0x6)):
                for line in (f"outl 0xcf8 {0x80002800 + register:#x}", f"outl 0xcfc {value:#x}"):
                    print(line, file=file, flush=True)
                    need(file.readline() == "OK\n", f"QEMU's qtest does not take {line}")
            print("readl 0xe0002000", file=file, flush=True)
            need_match("OK 0x0*800$", file.readline())	# the capacity
            for value in (1, 0):
                print(f"writeb 0xe0002020 {value}", file=file, flush=True)
                need(file.readline() == "OK\n", "wce is not written")
    w.qmp(monitor, ("cont", {}))
    d.said("module: start d0 0 ")
    got = d.show("d0")
    need(got["connected"] and got["queues"] == [0] and not got["trouble"], f"{got}")
    need("let go" not in d.ftd.log and "sent away" not in d.ftd.log, f"{d.ftd.log}")
