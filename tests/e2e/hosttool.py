#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs on an emulated host: what ftd and ftctl would never do.

usage: hosttool COMMAND ...

  unprivileged          every netlink command, and the events, without CAP_NET_ADMIN
  policy                requests with attributes that can't be
  attach-fd KIND        attach something that is no VM: none, file, pipe
  attach NAME PID       attach the VM of a process, past ftd's own checks
  bad-peer NAME KIND    pair over a socket whose other end talks nonsense:
                        silent, close, noise, zeros, big, text
  poke PID MIB BYTE     change a byte of a guest's memory behind its QEMU's back
  get URL               what a web server answers
  listen INTERFACE TYPE tell of each frame of an ethertype that comes, until it is killed
  take-counters         hold all PMU counters until stdin ends
  proxy PORT TO-PORT    carry TCP connections to ftd's port; orders on stdin:
                        noise (inject bytes), flip (damage some that pass),
                        close, reset, stall
All but the last three print a JSON object; listen prints one for each frame.
"""
import ctypes
import json
import os
import socket
import struct
import sys
import threading
import time
import urllib.request

LIBC = ctypes.CDLL(None, use_errno=True)
ATTACH, DETACH, PAIR, UNPAIR, PROMOTE, GET, SET, CHECK = range(1, 9)
VERIFY = 10
COMMANDS = {"attach": ATTACH, "detach": DETACH, "pair": PAIR, "unpair": UNPAIR,
            "promote": PROMOTE, "get": GET, "set": SET, "check": CHECK, "verify": VERIFY}
NAME, VM_FD, SOCK_FD, ROLE, FORCE, STATE = 2, 3, 4, 5, 6, 7
PEER, REASON, DETAIL, PERIOD_MIN, PERIOD_MAX, MARGIN, COUNTER, TIMEOUT_MS = \
    9, 10, 11, 12, 13, 14, 15, 16


def text(value):
    return value.encode() + b"\0"


def u32(value):
    return struct.pack("=I", value & 0xffffffff)


def u64(value):
    return struct.pack("=Q", value)


def attrs(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack("=HH", data[:4])
        if length < 4:
            break
        found[kind & 0x3fff] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


def poke(pid, mib, byte):
    """The largest mapping of QEMU's is its guest's memory."""
    maps = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        for line in file:
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            maps.append((end - start, start))
    start = max(maps)[1] + int(mib) * 1048576
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as file:
        file.seek(start)
        was = file.read(1)[0]
        file.seek(start)
        file.write(bytes([was ^ int(byte, 0)]))
    return {"was": was}


class Netlink:
    """Generic netlink, bare."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.sock.bind((0, 0))
        self.sock.setsockopt(270, 11, 1)	# NETLINK_EXT_ACK
        self.sock.setsockopt(270, 10, 1)	# NETLINK_CAP_ACK
        self.seq = 0
        code, _, found = self.call(3, [(2, text("ftkvm"))], family=16)
        if code:
            raise SystemExit(f"no netlink family ftkvm: {os.strerror(code)}")
        self.family = struct.unpack("=H", found[1])[0]
        group = attrs(found[7])		# CTRL_ATTR_MCAST_GROUPS
        self.group = struct.unpack("=I", attrs(group[1])[2])[0]

    def call(self, command, parts, family=None, raw=None):
        """(errno, text, attributes)."""
        body = raw if raw is not None else b"".join(
            struct.pack("=HH", len(v) + 4, k) + v + b"\0" * (-len(v) % 4) for k, v in parts)
        self.seq += 1
        self.sock.send(struct.pack("=IHHII", 20 + len(body), family or self.family, 5, self.seq, 0)
                       + struct.pack("=BBH", command, 1, 0) + body)
        found, said = {}, ""
        while True:
            data = self.sock.recv(65536)
            while data:
                length, kind, flags, seq, _ = struct.unpack("=IHHII", data[:16])
                body, data = data[16:length], data[(length + 3) & ~3:]
                if kind != 2:
                    found = attrs(body[4:])
                    continue
                code = -struct.unpack("=i", body[:4])[0]
                if flags & 0x200:	# NLM_F_ACK_TLVS
                    said = attrs(body[20:]).get(1, b"").rstrip(b"\0").decode()
                if code and DETAIL in found:
                    said = found[DETAIL].rstrip(b"\0").decode()
                return code, said, found

    def join(self):
        try:
            self.sock.setsockopt(270, 1, self.group)
            return 0
        except OSError as error:
            return error.errno


def outcome(code, said):
    return {"errno": code, "error": os.strerror(code) if code else "", "text": said}


def drop_net_admin():
    """Root without CAP_NET_ADMIN (12)."""
    if LIBC.prctl(24, 12, 0, 0, 0):		# PR_CAPBSET_DROP
        raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")
    header = struct.pack("=Ii", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    head = ctypes.create_string_buffer(header, 8)
    if LIBC.capget(head, data):
        raise OSError(ctypes.get_errno(), "capget")
    words = list(struct.unpack("=6I", data.raw))
    for at in range(3):
        words[at] &= ~(1 << 12)
    data = ctypes.create_string_buffer(struct.pack("=6I", *words), 24)
    if LIBC.capset(head, data):
        raise OSError(ctypes.get_errno(), "capset")


def unprivileged():
    netlink = Netlink()
    before = netlink.call(CHECK, [])[0]
    drop_net_admin()
    netlink = Netlink()
    answers = {"before": before, "join": netlink.join()}
    for name, command in COMMANDS.items():
        answers[name] = netlink.call(command, [(NAME, text("guest"))])[0]
    return answers


def policy():
    """{what: outcome}; each must be refused."""
    netlink = Netlink()
    name = (NAME, text("nobody"))
    cases = {
        "get without name": (GET, []),
        "get of nobody": (GET, [name]),
        "name empty": (GET, [(NAME, text(""))]),
        "name without end": (GET, [(NAME, b"x" * 64)]),
        "name of 64 bytes": (GET, [(NAME, text("x" * 64))]),
        "name with a newline": (GET, [(NAME, text("a\nb"))]),
        "attach without descriptor": (ATTACH, [name]),
        "attach, descriptor -1": (ATTACH, [name, (VM_FD, u32(-1))]),
        "attach, descriptor of 2 bytes": (ATTACH, [name, (VM_FD, b"\0\0")]),
        "attach, closed descriptor": (ATTACH, [name, (VM_FD, u32(999))]),
        "pair without role": (PAIR, [name, (SOCK_FD, u32(0))]),
        "pair, role 0": (PAIR, [name, (SOCK_FD, u32(0)), (ROLE, u32(0))]),
        "pair, role 3": (PAIR, [name, (SOCK_FD, u32(0)), (ROLE, u32(3))]),
        "pair, time-out 0": (PAIR, [name, (SOCK_FD, u32(0)), (ROLE, u32(1)), (TIMEOUT_MS, u32(0))]),
        "pair of nobody": (PAIR, [name, (SOCK_FD, u32(0)), (ROLE, u32(1))]),
        "promote with a name of numbers": (PROMOTE, [(NAME, u32(7))]),
        "promote, force with a value": (PROMOTE, [name, (FORCE, u32(1))]),
        "promote of nobody": (PROMOTE, [name]),
        "unpair of nobody": (UNPAIR, [name]),
        "detach of nobody": (DETACH, [name]),
        "set nothing": (SET, [name]),
        "set, period 999": (SET, [name, (PERIOD_MIN, u64(999))]),
        "set, period 2^63": (SET, [name, (PERIOD_MAX, u64(1 << 63))]),
        "set, margin 0": (SET, [name, (MARGIN, u64(0))]),
        "set, counter 0": (SET, [name, (COUNTER, u32(0))]),
        "set, time-out 199": (SET, [name, (TIMEOUT_MS, u32(199))]),
        "set, state": (SET, [name, (STATE, u32(2))]),
        "check with name and descriptor": (CHECK, [name, (VM_FD, u32(0))]),
        "unknown attribute": (GET, [name, (200, u32(1))]),
        "unknown command": (77, [name]),
        "event as a request": (9, [name]),
    }
    answers = {what: outcome(*netlink.call(command, parts)[:2])
               for what, (command, parts) in cases.items()}
    # An attribute longer than its message.
    answers["attribute that runs over"] = outcome(*netlink.call(
        GET, [], raw=struct.pack("=HH", 400, NAME) + b"abcd")[:2])
    return answers


def attach_fd(kind):
    netlink = Netlink()
    fd = {"none": lambda: 999, "file": lambda: os.open("/dev/null", os.O_RDWR),
          "pipe": lambda: os.pipe()[0]}[kind]()
    return outcome(*netlink.call(ATTACH, [(NAME, text("odd")), (VM_FD, u32(fd))])[:2])


def attach(name, pid):
    netlink = Netlink()
    pidfd = LIBC.syscall(434, int(pid), 0)
    vm = [int(fd) for fd in os.listdir(f"/proc/{pid}/fd")
          if os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:kvm-vm"][0]
    fd = LIBC.syscall(438, pidfd, vm, 0)
    return outcome(*netlink.call(ATTACH, [(NAME, text(name)), (VM_FD, u32(fd))])[:2])


def bad_peer(name, kind):
    netlink = Netlink()
    ours, theirs = socket.socketpair()
    big = struct.pack("=I", 0xfffffff0) * 64

    def talk():
        said = {"noise": os.urandom(4096), "zeros": bytes(4096), "big": big,
                "text": b"GET / HTTP/1.0\r\n\r\n" * 40}.get(kind)
        try:
            if said:
                theirs.sendall(said)
            if kind == "close":
                theirs.close()
                return
            while theirs.recv(65536):	# takes everything, answers nothing
                pass
        except OSError:
            pass

    threading.Thread(target=talk, daemon=True).start()
    began = time.monotonic()
    code, said, found = netlink.call(PAIR, [
        (NAME, text(name)), (ROLE, u32(1)), (SOCK_FD, u32(ours.fileno())),
        (PEER, text("nobody")), (TIMEOUT_MS, u32(1000))])
    answer = outcome(code, said)
    answer["seconds"] = time.monotonic() - began
    answer["reason"] = struct.unpack("=I", found[REASON])[0] if REASON in found else None
    return answer


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return {"type": answer.headers["Content-Type"], "body": answer.read().decode()}


def listen(interface, kind):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(int(kind, 0)))
    sock.bind((interface, int(kind, 0)))
    print(json.dumps({"ready": True}), flush=True)
    while True:
        frame = sock.recv(65536)
        print(json.dumps({"from": frame[6:12].hex(":"), "to": frame[:6].hex(":"),
                          "bytes": len(frame)}), flush=True)


def take_counters():
    """All six, pinned to the CPU: nobody else gets one."""
    held = []
    for _ in range(6):
        attr = bytearray(128)
        struct.pack_into("=IIQ", attr, 0, 4, 128, 0xc0)		# raw, size, instructions
        struct.pack_into("=Q", attr, 40, 1 << 2)		# pinned
        buffer = ctypes.create_string_buffer(bytes(attr), 128)
        fd = LIBC.syscall(298, buffer, -1, 0, -1, 0)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")
        held.append(fd)
    print(json.dumps({"held": len(held)}), flush=True)
    sys.stdin.read()


class Proxy:
    """A man in the middle, who spoils things when told."""

    def __init__(self, port, to):
        self.listener = socket.create_server(("0.0.0.0", port))
        self.to = to
        self.pair = None
        self.flip = self.stalled = False

    def carry(self, source, sink):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                while self.stalled:
                    time.sleep(0.05)
                if self.flip and len(data) > 8:
                    spoiled = bytearray(data)
                    spoiled[len(data) // 2] ^= 0x5a
                    data = bytes(spoiled)
                    self.flip = False
                sink.sendall(data)
        except OSError:
            pass

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection((os.environ["PROXY_TO"], self.to))
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pair = (near, far)
            threading.Thread(target=self.carry, args=(near, far), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near), daemon=True).start()

    def obey(self, order):
        near, far = self.pair
        if order == "noise":
            for sock in (near, far):
                sock.sendall(os.urandom(512))
        elif order == "flip":
            self.flip = True
        elif order == "stall":
            self.stalled = True
        elif order in ("close", "reset"):
            for sock in (near, far):
                if order == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.shutdown(socket.SHUT_RD)	# wakes the thread that reads it
                    time.sleep(0.1)
                    sock.close()
                else:
                    sock.shutdown(socket.SHUT_RDWR)


def proxy(port, to):
    one = Proxy(int(port), int(to))
    threading.Thread(target=one.accept, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        one.obey(line.strip())
        print("done " + line.strip(), flush=True)


def main():
    command, *words = sys.argv[1:] or ["help"]
    if command in ("listen", "take-counters", "proxy"):
        {"listen": listen, "take-counters": take_counters, "proxy": proxy}[command](*words)
        return
    known = {"unprivileged": unprivileged, "policy": policy, "attach-fd": attach_fd,
             "attach": attach, "bad-peer": bad_peer, "poke": poke, "get": get}
    if command not in known:
        sys.exit(__doc__)
    print(json.dumps(known[command](*words)))


if __name__ == "__main__":
    main()
