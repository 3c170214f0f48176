# SPDX-License-Identifier: GPL-2.0
"""The consoles of a guest that went live, and what can keep ftd from joining them."""
import json
import os
import pty
import re
import socket
import threading
import tty

from devices import Devices
from observing import replicas
from world import need, need_match, test, wait_for

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def state(name):
    with open(os.path.join(SOURCE, "include/uapi/linux/ftkvm.h"), encoding="utf-8") as file:
        found = re.search(r"enum \w*state \{(.*?)\}", file.read(), re.DOTALL | re.IGNORECASE)
    names = re.findall(r"FTKVM_UAPI_STATE_(\w+)", found[1])
    return names.index(name)


class Promoted:
    """A QEMU whose guest has printed, behind a monitor that can be lost; ftd, and a module that says that it went live."""

    def __init__(self, w, console, runs=True, printed="one\ntwo\nthe last", extra=()):
        self.w, self.console = w, console
        self.orders, self.breaks, self.does = [], None, {}
        self.path, self.other = w.qemu("-chardev", "ringbuf,id=con0,size=65536", "-serial", "chardev:con0", *extra, monitors=2)
        self.qmp("ringbuf-write", device="con0", data=printed)
        self.qmp("cont")
        if not runs:
            self.qmp("stop")
        self.monitor = w.server("proxy", self.talk)
        self.module = Devices(w)
        self.module.module("guests", "")
        self.is_in("SOLO")

    def is_in(self, name):
        # whole at once: ftd looks again and again
        self.module.module("new", f"{os.getpid()} {state(name)}")
        os.rename(os.path.join(self.module.dir, "new"), os.path.join(self.module.dir, "promoted"))

    def qmp(self, *command, **arguments):
        self.w.qmp(self.other, (command[0], arguments))

    def talk(self, client):
        """Between ftd and QEMU; the connection is lost as ftd says what breaks it, once."""
        with socket.socket(socket.AF_UNIX) as sock, client:
            sock.connect(self.path)
            sock.settimeout(60)
            with sock.makefile("rb") as answers, client.makefile("rb") as orders:
                client.sendall(answers.readline())
                for line in orders:
                    order = json.loads(line)["execute"]
                    self.orders.append(order)
                    self.does.get(order, lambda: None)()
                    if order == self.breaks:
                        self.breaks = None
                        return
                    sock.sendall(line)
                    answer = b"event"
                    while b"event" in answer:
                        answer = answers.readline()
                        client.sendall(answer)

    def attach(self):
        self.w.ftctl("attach", "web", "--qmp", self.monitor, "--console", f"con0={self.console}",
                     control=self.module.ftd.control, check=0)

    def runs(self):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self.other)
            with sock.makefile("rw") as file:
                file.readline()
                for order in ("qmp_capabilities", "query-status"):
                    file.write(json.dumps({"execute": order}) + "\n")
                    file.flush()
                    answer = {}
                    while "return" not in answer:
                        answer = json.loads(file.readline())
        return answer["return"]["running"]

    def going(self):
        """ftd sees to it that it goes on."""
        with open(f"{self.module.ftd.control}.guests", encoding="utf-8") as file:
            return json.load(file)[0]["going"]

    def live(self):
        answer = self.module.ftd.ask(cmd="info")["guests"]
        return bool(answer) and all(con["live"] for con in answer[0].get("consoles", [{"live": False}]))

    def joined(self, path):
        wait_for(self.live, "its console is joined")
        need(self.w.text(path) == "one\ntwo\nthe last", f"it holds {self.w.text(path)!r}")
        wait_for(lambda: not [name for name in os.listdir(self.w.dir) if name.endswith((".stopped", ".line"))],
                 "no note is left")


@test
def console_joined_late(w):
    path = w.path("console")
    p = Promoted(w, f"file:{path}")
    p.attach()
    p.joined(path)
    need(p.orders.count("stop") == 1 == p.orders.count("cont") and p.runs(), f"the orders: {p.orders}")
    # that was ftd itself, for a moment
    need("still" not in p.module.ftd.ask(cmd="info")["guests"][0], "it stands still")
    need("stands still" not in p.module.ftd.log, "it is told that it stood still")


@test
def console_that_takes_nothing_stops_it_once(w):
    p = Promoted(w, "file:/nonexistent/x")
    p.attach()
    need(p.orders.count("stop") == 1 == p.orders.count("cont") and p.runs(), f"the orders: {p.orders}")
    need("one" in "".join(w.text(w.path(name)) for name in os.listdir(w.dir) if name.endswith(".line")), "it is lost")


@test
def console_that_takes_long(w):
    """Longer than the guest is stopped for it: the guest runs meanwhile, nothing is lost or said twice."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    printed = "".join(f"line {i}\n" for i in range(4000))
    p = Promoted(w, f"tty:{os.ttyname(slave)}", printed=printed)
    got = bytearray()

    def read():
        wait_for(lambda: "cont" in p.orders, "the guest goes on without its console")
        while len(got) < len(printed):
            got.extend(os.read(master, 65536))
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    p.attach()
    wait_for(p.live, "its console is joined")
    reader.join(30)
    need(got.decode() == printed, f"it got {len(got)} of {len(printed)} bytes, the last {bytes(got[-40:])}")
    need(p.orders.count("stop") == 2 == p.orders.count("cont") and p.runs(), f"the orders: {p.orders}")


@test
def console_of_a_guest_that_ended(w):
    """An ftd that was killed had stopped it, it says; but it has ended, and can't go on."""
    path = w.path("console")
    p = Promoted(w, f"file:{path}", extra=("-no-shutdown", "-action", "reboot=shutdown"))
    p.qmp("system_reset")
    wait_for(lambda: not p.runs(), "it has ended")
    with open(f"{p.module.ftd.control}.guests.web.stopped", "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    p.attach()
    p.joined(path)
    need("cont" not in p.orders and not p.runs(), f"the orders: {p.orders}")


@test
def console_of_a_guest_that_was_stopped(w):
    """By somebody else: it stays so. By an ftd that was killed then: it goes on."""
    path = w.path("console")
    p = Promoted(w, f"file:{path}", runs=False)
    p.attach()
    p.joined(path)
    need("cont" not in p.orders and not p.runs(), f"the orders: {p.orders}")
    p.module.ftd.process.kill()
    p.module.ftd.process.wait()
    with open(f"{p.module.ftd.control}.guests.web.stopped", "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    p.module.start()
    wait_for(p.runs, "it goes on")
    p.joined(path)


def lost_at(order):
    def tried(w):
        path = w.path("console")
        p = Promoted(w, f"file:{path}")
        p.is_in("TAKEOVER")
        p.attach()
        need(not p.live(), "it is joined before it is live")
        p.breaks = order
        p.is_in("SOLO")
        p.joined(path)
        need(p.breaks is None and p.runs(), f"the orders: {p.orders}")
    tried.__name__ = f"console_and_a_monitor_lost_at_{order.replace('-', '_')}"
    test(tried)


# at none of the steps the guest is left where it was stopped
for _order in ("query-chardev", "query-status", "ringbuf-read", "stop", "chardev-change", "cont"):
    lost_at(_order)


@test
def console_and_a_monitor_of_another_process(w):
    """It is in the place of the one that was lost: it is not taken for it."""
    path = w.path("console")
    p = Promoted(w, f"file:{path}")
    link, new = w.path("link"), w.path("new")
    os.symlink(p.monitor, link)
    p.monitor = link

    def put(monitor):
        os.symlink(monitor, new)
        os.rename(new, link)
    p.does["chardev-change"] = lambda: put(p.other)
    p.breaks = "chardev-change"
    proxy = os.readlink(link)
    p.attach()
    wait_for(lambda: f"{link} is the monitor of another process" in p.module.ftd.log, "the other one is seen")
    need(not p.live(), "its console is joined by another process")
    p.does.clear()
    put(proxy)
    p.joined(path)


def backup(w):
    """One that runs, whose primary lives; and what the module tells of it besides its state."""
    p = Promoted(w, "file:/nonexistent/x")
    p.is_in("STOPPED")
    p.attach()
    os.unlink(os.path.join(p.module.dir, "promoted"))
    said = {"role": "backup", "peer": "127.0.0.1:9", "pid": os.getpid()}
    replicas(p.module.dir, {"state": "backup", **said})
    wait_for(lambda: not p.module.ftd.ask(cmd="info")["guests"][0].get("busy"), "it is attached")
    return p, said


@test
def switchover_that_fails_when_its_primary_has_stopped(w):
    """Nobody lives then, and nobody else would let it go on: ftd tries on until it does."""
    p, said = backup(w)
    ended = []

    def ends():
        replicas(p.module.dir, {"state": "orphan", "reason": "guest-ended", **said})
        ended.append(True)
    # ftd looks whether its QEMU answers just before it has the module promote it
    p.does["query-status"] = ends
    failed = p.module.ftd.ask(cmd="switchover", name="web")
    need("modprobe ftkvm" in failed.get("error", ""), f"there is no module, and yet: {failed}")
    need(p.going(), "nobody sees to it that it goes on")
    tries = len(ended)
    wait_for(lambda: len(ended) > tries + 2, "it is tried again, and again")
    need("it is promoted until that works" in p.module.ftd.log, "nothing is told of it")
    p.does.clear()
    replicas(p.module.dir, {"state": "solo", **said})
    wait_for(lambda: not p.going(), "it goes on, and that is all")


@test
def switchover_whose_primary_is_lost(w):
    """Between ftd's look and its word to the module: that primary may have gone on alone, so it is not promoted by force."""
    p, said = backup(w)
    lost = {"reason": "peer-silent", "detail": "nothing was heard for 500 ms"}
    p.does["ringbuf-read"] = lambda: replicas(p.module.dir, {"state": "orphan", **lost, **said})
    failed = p.module.ftd.ask(cmd="switchover", name="web").get("error", "")
    need_match(r"before it said that it stopped \(nothing was heard for 500 ms\).*power its host off.*ftctl promote web", failed)
    told = re.findall("module: promote .*", p.module.ftd.log)
    need(told == ["module: promote web force 1 state backup, it is orphan"], f"the module was told: {told}")
    need(not p.going(), "it is to go on all the same")
    # by a word that is of it, it does
    p.module.ftd.ask(cmd="promote", name="web")
    need_match("module: promote web force 0 state orphan, it is orphan", p.module.ftd.log)
