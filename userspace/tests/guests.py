# SPDX-License-Identifier: GPL-2.0
"""Guests that ftd looks after: what it hears of their QEMUs. With a stand-in for the module."""
import concurrent.futures
import contextlib
import json
import os
import re
import signal
import socket
import threading

from arbiter_world import session
from configuration import write
from devices import Devices
from observing import http, parse, replicas, sample
from world import Failed, need, need_match, test, wait_for


# what a migration comes to by an order
MIGRATES = {"migrate": "pre-switchover", "migrate_cancel": "cancelled", "migrate-continue": "completed"}


class Monitor:
    """What ftd takes for a QEMU's monitor: it does nothing, and says what it is told to."""

    def __init__(self, w, name, status="running"):
        self.status, self.orders, self.client, self.lock = status, [], None, threading.Lock()
        self.migration, self.fails, self.deaf = "none", (), None
        self.path = w.server(name, self.talk)

    def says(self, status, event):
        with self.lock:
            self.status = status
            self.client.sendall(json.dumps({"event": event}).encode() + b"\n")

    def talk(self, client):
        client.sendall(b'{"QMP": {"version": {}}}\n')
        client.settimeout(None)
        self.client = client
        text = ""
        while more := client.recv(65536):
            # an order that has a descriptor with it ends without a newline
            text = (text + more.decode()).lstrip()
            while text:
                try:
                    order, end = json.JSONDecoder().raw_decode(text)
                except ValueError:
                    break
                text = text[end:].lstrip()
                with self.lock:
                    self.orders.append(order["execute"])
                    self.migration = MIGRATES.get(order["execute"], self.migration)
                    value = {"query-status": {"status": self.status}, "query-migrate": {"status": self.migration}}.get(
                        order["execute"], {})
                    if order["execute"] == self.deaf:
                        continue
                    failed = {"error": {"class": "GenericError", "desc": "not now"}}
                    said = failed if order["execute"] in self.fails else {"return": value}
                    client.sendall(json.dumps({"id": order["id"], **said}).encode() + b"\n")


class Guests(Devices):
    """ftd-alone, which attaches whatever it is told to."""

    def __init__(self, w, *words):
        self.words = words
        super().__init__(w)
        self.module("guests", "")

    def start(self):
        self.ftd = self.w.ftd("ftd", *self.words, env={"FTKVM_STANDIN": self.dir}, program="ftd-alone")

    def attach(self, name, monitor):
        self.ftctl("attach", name, "--qmp", monitor)

    def info(self, name="web"):
        return next((g for g in self.ftd.ask(cmd="info")["guests"] if g["name"] == name), None)

    def status(self, name="web"):
        return self.ftctl("status", name)[1], json.loads(self.ftctl("-j", "status", name)[1])[0]


def configured(w, text):
    with open(w.path("ftd.conf"), "w", encoding="utf-8") as file:
        file.write(text)
    return Guests(w, "--config", w.path("ftd.conf"))


# --- one that stands still ----------------------------------------------------------

def still(guests, *what):
    """Its QEMU's word, and who wanted it so, are told; (): it runs."""
    def told():
        now = guests.info().get("still")
        return (now["qemu"], now["by"]) == what if now and what else not now and not what
    wait_for(told, f"it is told of that: {what}")


@test
def guest_that_its_qemu_paused(w):
    """By whoever it is: status, -j, the journal and the metrics say so, until it goes on."""
    guests = configured(w, f"[metrics]\nlisten = unix:{w.path('metrics')}\n")
    replicas(guests.dir, {})
    monitor, other = w.qemu("-no-reboot", "-no-shutdown", monitors=2)
    guests.attach("web", monitor)

    def metric():
        return sample(parse(http(w.path("metrics"), b"GET /metrics HTTP/1.0\r\n\r\n")[1])[0], "ftkvm_guest_still", guest="web")
    w.qmp(other, ("cont", {}))
    wait_for(lambda: metric() == "0", "the metric says that it runs")
    need("still" not in guests.status()[0].lower() and "still" not in guests.status()[1], f"it runs: {guests.status()}")
    w.qmp(other, ("stop", {}))
    still(guests, "paused", "others")
    text, info = guests.status()
    need_match('STANDS STILL, as its QEMU here is "paused" for [^:]*: not ftd: .*ftctl resume web', text)
    need(info["still"]["qemu"] == "paused" and info["still"]["since_ns"] > 0 and info["protected"], f"{info}")
    need_match('guest web stands still: QEMU says "paused"', guests.ftd.log)
    need(metric() == "1", "the metric says that it runs")
    w.qmp(other, ("cont", {}))
    still(guests)
    need_match('guest web does not stand still any more', guests.ftd.log)
    w.qmp(other, ("system_reset", {}))
    still(guests, "shutdown", "others")
    need_match("has shut down", guests.status()[0])
    # the next ftd finds it so
    guests.ftd.process.kill()
    guests.ftd.process.wait()
    guests.start()
    wait_for(guests.info, "the next one has it")
    still(guests, "shutdown", "others")


@test
def guest_that_ftctl_paused(w):
    """That is nobody else's doing; also to the next ftd. And what was paused before is not ftctl's."""
    guests = Guests(w)
    replicas(guests.dir, {})
    monitor, other = w.qemu(monitors=2)
    w.qmp(other, ("cont", {}))
    guests.attach("web", monitor)
    guests.ftctl("pause", "web")
    still(guests, "paused", "ftctl-pause")
    replicas(guests.dir, {"pid": guests.info()["pid"]})
    need_match('"paused" for [^:]*: ftctl pause; if it is to go on: ftctl resume web', guests.status()[0])
    need_match(r'stands still: QEMU says "paused" \(by: ftctl-pause\)', guests.ftd.log)
    guests.ftd.process.kill()
    guests.ftd.process.wait()
    guests.start()
    wait_for(guests.info, "the next one has it")
    still(guests, "paused", "ftctl-pause")
    guests.ftctl("resume", "web")
    still(guests)
    w.qmp(other, ("stop", {}))
    still(guests, "paused", "others")
    guests.ftctl("pause", "web")
    still(guests, "paused", "others")


@test
def guest_that_qemu_stopped_at_an_error(w):
    guests = Guests(w)
    replicas(guests.dir, {"state": "backup", "role": "backup"})
    monitor = Monitor(w, "monitor")
    guests.attach("web", monitor.path)
    monitor.says("io-error", "STOP")
    still(guests, "io-error", "others")
    need_match("QEMU stopped it as a disk failed", guests.status()[0])
    monitor.says("guest-panicked", "STOP")
    still(guests, "guest-panicked", "others")
    # as often as it likes; but not in the journal
    for _ in range(50):
        monitor.says("running", "RESUME")
        still(guests)
        monitor.says("paused", "STOP")
        still(guests, "paused", "others")
    said = guests.ftd.log.count("stand still") + guests.ftd.log.count("stands still")
    need(2 < said <= 20, f"it is in the journal {said} times")


@test
def guest_that_is_slow_to_say(w):
    """A monitor that does not answer keeps ftd from nothing; what it says later counts."""
    guests = Guests(w)
    replicas(guests.dir, {})
    monitor = Monitor(w, "monitor")
    guests.attach("web", monitor.path)
    with monitor.lock:
        monitor.client.sendall(b'{"event": "STOP"}\n' * 1000)
        wait_for(lambda: guests.info()["monitor"], "ftd goes on")
        need("still" not in guests.info(), "it knows what it was not told")
        monitor.status = "paused"
    still(guests, "paused", "others")
    need(monitor.orders.count("query-status") < 20, f"it is asked at each event: {len(monitor.orders)}")


# --- protected again ----------------------------------------------------------------

class Peer:
    """The other host's ftd: takes connections, and says nothing until it is told to hang up."""

    def __init__(self):
        self.open, self.lines, self.names, self.most = {}, [], [], 0
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.sock.accept()
            with client.makefile("rb") as file:
                line = json.loads(file.readline())
            self.lines.append(line)
            self.names.append(line["guest"])
            self.open[line["guest"]] = client
            self.most = max(self.most, len(self.open))

    def refuse(self, name):
        with self.open.pop(name) as client:
            client.sendall(b'{"error": "not today"}\n')


@test
def protected_again_so_many_at_once(w):
    """The others wait, and say so; whoever failed gets in line behind them."""
    names, peer = [f"g{i}" for i in range(6)], Peer()
    guests = configured(w, "[guests]\nprotect-again = yes\nprotect-again-at-once = 2\n")
    for name in names:
        guests.attach(name, Monitor(w, name + ".qmp").path)
    replicas(guests.dir, *({"name": name, "state": "solo", "reason": "peer-silent", "peer": peer.address} for name in names))

    def waiting():
        return [g["name"] for g in guests.ftd.ask(cmd="info")["guests"] if g.get("again", {}).get("waits")]
    wait_for(lambda: len(waiting()) == 4, "four wait")
    need_match(r"again    ftd is to protect it by host 127\S+, when others are done", guests.status(waiting()[0])[0])
    wait_for(lambda: len(peer.names) == 2, "two are tried")
    while len(set(peer.names)) < len(names):
        seen = len(peer.names)
        peer.refuse(next(iter(peer.open)))
        wait_for(lambda: len(peer.names) > seen, "the next one is tried")
    need(len(peer.names) == len(names), f"some were tried again before others had their turn: {peer.names}")
    need(peer.most == 2, f"{peer.most} were tried at once")
    # who is called off is in nobody's way
    guests.ftctl("unpair", next(name for name in names if name not in peer.open))
    for _ in range(len(names)):
        seen = len(peer.names)
        peer.refuse(next(iter(peer.open)))
        wait_for(lambda: len(peer.names) > seen, "the next one is tried")
    need(peer.most == 2, f"{peer.most} were tried at once")
    for name in list(peer.open):
        peer.refuse(name)


SECOND = "[guests]\nprotect-again = yes\n[link]\nsecond = 127.0.0.1:1\n"


def alone_after(guests, name, peer):
    """It is the backup of a guest that goes live; what its ftd asks the other host, to be protected again."""
    replicas(guests.dir, {"name": name, "role": "backup", "state": "solo", "reason": "peer-closed", "peer": peer.address})
    wait_for(lambda: name in peer.names, "it is to be protected again")
    peer.refuse(name)
    return peer.lines[-1]


@test
def no_second_path_whoever_is_primary(w):
    """--second none: the peer is told, and where it is the primary one day it wants none either."""
    peer, guests = Peer(), configured(w, SECOND)
    for name, second in (("none", ("--second", "none")), ("default", ())):
        monitor = Monitor(w, name + ".qmp", "prelaunch")
        guests.attach(name, monitor.path)
        replicas(guests.dir, {"name": name, "state": "idle", "role": "none"})
        asked = threading.Thread(target=lambda n=name, s=second: w.ftctl("pair", n, "--peer", peer.address, *s, check=1,
                                                                          control=guests.ftd.control))
        asked.start()
        wait_for(lambda n=name: n in peer.open, "the peer is asked")
        peer.refuse(name)
        asked.join()
        told = peer.lines[-1]
        need(("token" in told) == (not second) and told.get("one_path", False) == bool(second), f"the peer is told {told}")
        # and now as if it had come from there
        told.pop("token", None)
        need(b'"ok"' in guests.ftd.peer(json.dumps(told).encode() + b"\n"), "refused")
        wait_for(lambda n=name: f"module: pair {n} role 2" in guests.ftd.log, "it is paired")
        wait_for(lambda n=name: "busy" not in guests.info(n), "... and done")
        peer.names.clear()
        monitor.status = "running"
        asks = alone_after(guests, name, peer)
        need(("token" in asks) == (not second) and asks.get("one_path", False) == bool(second), f"the next peer is asked {asks}")


class Taker(Peer):
    """One that takes a guest in, until the modules are paired; and says that what is left of it is gone."""

    def __init__(self):
        self.over, self.armed = [], lambda: None
        super().__init__()

    def asked(self):
        """To take in a guest, in these words."""
        wait_for(lambda: self.lines, "the peer is asked")
        return self.lines.pop()

    def serve(self):
        while True:
            client, _ = self.sock.accept()
            threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    def talk(self, client):
        def say(**line):
            client.sendall(json.dumps(line).encode() + b"\n")
        with contextlib.suppress(ConnectionError), client, client.makefile("rb") as file:
            # an ftd that is killed says nothing
            line = json.loads(file.readline() or "{}")
            if line.get("over"):
                self.over.append(line["guest"])
                say(ok=True)
            elif line.get("live"):
                self.lines.append(line)
                self.names.append(line["guest"])
                say(ok=True, have=True, version=line["version"])
                file.readline()
                say(ok=True, stream="x" * 36)
                if not file.readline():
                    return
                self.armed()
                say(ok=True)
            file.read()


@test
def unprotect_after_a_try_that_failed(w):
    """Its stopped replica is asked for by the name that it has there; that of another host by its own."""
    peer, guests = Taker(), Guests(w)
    guests.attach("web", Monitor(w, "web.qmp").path)
    # as one that was never paired
    replicas(guests.dir, {"state": "idle", "role": "none", "pid": guests.info()["pid"]})
    guests.module("refuse", "pair")
    need_match("the module refuses: pair", guests.ftctl("protect", "web", "--peer", peer.address, "--peer-name", "there",
                                                        check=1)[2])
    need(peer.names == ["there"], f"it was asked for {peer.names}")
    # the real one knows its peer from then on
    replicas(guests.dir, {"state": "idle", "role": "none", "pid": guests.info()["pid"], "peer": peer.address})
    guests.ftctl("unprotect", "web")
    need(peer.over == ["there"], f"it was asked to clear {peer.over}")
    guests.ftd.process.kill()
    guests.ftd.process.wait()
    guests.start()
    wait_for(lambda: (guests.info() or {}).get("monitor"), "the next one has it")
    guests.ftctl("unprotect", "web")
    need(peer.over == ["there"] * 2, f"the next one asks it to clear {peer.over}")
    # one that failed before the modules heard of it has changed nothing
    guests.module("refuse", "x")
    need_match("cannot reach", guests.ftctl("protect", "web", "--peer", "127.0.0.1:1", "--peer-name", "other", check=1)[2])
    guests.ftctl("unprotect", "web")
    other = Taker()
    replicas(guests.dir, {"state": "solo", "role": "primary", "pid": guests.info()["pid"], "peer": other.address})
    guests.ftctl("unprotect", "web")
    need(peer.over == ["there"] * 3 and other.over == ["web"], f"they were asked to clear {peer.over} and {other.over}")


@test
def peer_of_a_name_too_long(w):
    """The module would not know it, nor status, a hook, or who protects the guest again."""
    guests = Guests(w)
    guests.attach("web", Monitor(w, "web.qmp").path)
    replicas(guests.dir, {"state": "idle", "role": "none", "pid": guests.info()["pid"]})
    for order in ("pair", "protect"):
        need_match("longer than 107 bytes: give its address", guests.ftctl(order, "web", "--peer", "h" * 108, check=1)[2])
    need_match("name h{107} can't be resolved", guests.ftctl("protect", "web", "--peer", "h" * 107, check=1)[2])


# --- paired before it ran ------------------------------------------------------------

class Fresh:
    """A guest that waits, and is paired; its ftd dies at that, and another one comes."""

    def __init__(self, w):
        self.w, self.peer = w, Peer()
        self.guests, self.monitor = Guests(w), Monitor(w, "web.qmp", "prelaunch")
        self.guests.attach("web", self.monitor.path)
        self.pid = self.guests.info()["pid"]
        self.has(state="idle", role="none")

    def has(self, **replica):
        replicas(self.guests.dir, {"role": "primary", "pid": self.pid, "peer": self.peer.address, **replica})

    def pair(self):
        """Until it is told to run."""
        self.asks()
        with self.peer.open.pop("web") as client:
            client.sendall(b'{"ok": true}\n')
            wait_for(lambda: "cont" in self.monitor.orders, "it is told to run")
            need("module: pair web role 1" in self.guests.ftd.log, "it was not paired before")

    def asks(self):
        threading.Thread(target=self.guests.ftd.ask, kwargs={"cmd": "pair", "name": "web", "peer": self.peer.address},
                         daemon=True).start()
        wait_for(lambda: "web" in self.peer.open, "the peer is asked")

    def killed(self):
        self.guests.ftd.process.kill()
        self.guests.ftd.process.wait()

    def left(self, **replica):
        """It was told to run, and does; there is no ftd as it becomes this."""
        self.pair()
        self.monitor.status = "running"
        self.killed()
        self.has(**replica)

    def next(self):
        self.guests.start()
        wait_for(lambda: (self.guests.info() or {}).get("monitor"), "the next one has it")

    def fresh(self):
        with open(f"{self.guests.ftd.control}.guests", encoding="utf-8") as file:
            return json.load(file)[0]["fresh"]


def half_paired(role):
    def tried(w):
        it = Fresh(w)
        # QEMU is told to run it, and never hears of that
        it.monitor.deaf = "cont"
        if role == "primary":
            it.pair()
        else:
            with socket.create_connection(("127.0.0.1", it.guests.ftd.port), timeout=60) as sock:
                sock.sendall(b'{"ftd": 1, "guest": "web", "port": 1}\n')
                wait_for(lambda: "cont" in it.monitor.orders, "it is told to run")
            need("module: pair web role 2" in it.guests.ftd.log, "it was not paired before")
        it.killed()
        it.has(state="armed", role=role)
        it.monitor.fails, it.monitor.deaf = ("cont",), None
        it.next()
        wait_for(lambda: it.monitor.orders.count("cont") > 3, "it is tried on")
        need(it.guests.ftd.log.count("pair web failed") == 1, "it is told of each time, or never")
        it.monitor.fails = ()
        wait_for(lambda: f"had not been told to run when ftd ended: {role} here" in it.guests.ftd.log, "it is let go")
        it.monitor.says("running", "RESUME")
        told = it.monitor.orders.count("cont")
        it.killed()
        asked = it.monitor.orders.count("query-status")
        it.next()
        # it waits for its peer, as it is to: to be attached, and then
        wait_for(lambda: it.monitor.orders.count("query-status") > asked + 1, "the next one has looked")
        need(it.monitor.orders.count("cont") == told and it.fresh(), f"it was told again: {it.monitor.orders}")
        it.has(state=role, role=role)
        wait_for(lambda: not it.fresh(), "it runs")
        need("stop" not in it.monitor.orders, f"it was stopped: {it.monitor.orders}")
    tried.__name__ = f"pairing_whose_ftd_dies_{role}"
    test(tried)


half_paired("primary")
half_paired("backup")


@test
def pairing_that_failed_while_no_ftd_was_there(w):
    """It was told to run, and runs alone now, where the other host's may, too: the next ftd stops it, and tries until it has."""
    it = Fresh(w)
    it.left(state="idle", reason="peer-closed")
    it.monitor.fails = ("stop",)
    it.next()
    wait_for(lambda: it.monitor.orders.count("stop") > 2, "it is tried on")
    need(it.guests.ftd.log.count("stop web failed") == 1, "it is told of each time, or never")
    need(it.fresh(), "one that comes now does not know of it")
    it.monitor.fails = ()
    wait_for(lambda: "its pairing failed before it began; stopped" in it.guests.ftd.log, "it is stopped")
    it.monitor.says("paused", "STOP")
    still(it.guests, "paused", "failed-pairing")
    # once: what somebody does with it now is his
    wait_for(lambda: not it.fresh(), "it is done")


@test
def pairing_that_began_while_no_ftd_was_there(w):
    """It is a guest as any other: nobody stops it when it is alone some day."""
    it = Fresh(w)
    it.left(state="primary")
    it.next()
    wait_for(lambda: not it.fresh(), "ftd has seen it")
    need("stop" not in it.monitor.orders, "it was stopped")


@test
def pairing_that_came_to_nothing_stops_nothing(w):
    """One that runs is refused, and one that is refused may be let go by hand."""
    it = Fresh(w)
    it.monitor.says("running", "RESUME")
    need_match("has run", it.guests.ftctl("pair", "web", "--peer", it.peer.address, check=1)[2])
    need(not it.fresh(), "it is taken for one that was paired")
    it.monitor.says("prelaunch", "STOP")
    it.asks()
    need(it.fresh(), "nobody would know of it")
    it.peer.refuse("web")
    wait_for(lambda: not it.fresh(), "it was not paired")
    # ... also where its ftd was killed meanwhile
    it.asks()
    it.killed()
    it.monitor.status = "running"
    it.next()
    wait_for(lambda: not it.fresh(), "the next one sees that")
    need("stop" not in it.monitor.orders, "it was stopped")


# --- what it does when its peer is lost ----------------------------------------------

class Losing:
    """A guest that is protected, and loses its peer, while its ftd is told of an arbiter and of none."""

    def __init__(self, w, arbiter):
        self.w, self.peer = w, Taker()
        os.mkdir(w.path("arbiter"))
        self.guests = configured(w, self.text(arbiter))
        self.monitor = Monitor(w, "web.qmp")
        self.guests.attach("web", self.monitor.path)
        self.pid = self.guests.info()["pid"]
        self.has(state="idle", role="none", on_loss="solo")

    def text(self, arbiter, again=False):
        return (f"[link]\nsecurity = plain\n[guests]\nprotect-again = {'yes' if again else 'no'}\n" +
                (f"[arbiter]\ntype = file\npath = {self.w.path('arbiter')}\n" if arbiter else ""))

    def has(self, **replica):
        replicas(self.guests.dir, {"pid": self.pid, "peer": self.peer.address, **replica})

    def protect(self, *words):
        """By hand; what the peer is asked for."""
        self.peer.armed = lambda: self.has(state="primary", stats={"log_bytes": 5})
        self.guests.ftctl("protect", "web", "--peer", self.peer.address, *words)
        return self.peer.asked()

    def lose(self, arbiter, on_loss, role="primary"):
        """It goes on alone, and what there is in the configuration changes; what its next peer is asked for."""
        self.has(state="solo", role=role, on_loss=on_loss, reason="peer-silent")
        wait_for(lambda: "session" not in self.guests.info()["arbiter"], "its session is over")
        with open(self.w.path("ftd.conf"), "w", encoding="utf-8") as file:
            file.write(self.text(arbiter, again=True))
        self.guests.ftd.process.send_signal(signal.SIGHUP)
        asked = self.peer.asked()
        self.guests.ftd.process.kill()
        self.guests.ftd.process.wait()
        return asked


def words(asked):
    """What the peer is to do, whether somebody said so, and whether there is an arbiter."""
    return asked.get("on_loss"), asked.get("on_loss_said", False), "session" in asked


def lost(name, arbiter, said, first, then):
    """Protected with an arbiter or without, by --on-loss or not; what its peer and the next one, without or with, are told."""
    def tried(w):
        it = Losing(w, arbiter)
        asked = it.protect(*(("--on-loss", said) if said else ()))
        need(words(asked) == first, f"the peer is told {asked}")
        asked = it.lose(not arbiter, first[0] or "solo")
        need(words(asked) == then, f"the next peer is told {asked}")
    tried.__name__ = f"on_loss_{name}"
    test(tried)


lost("that_an_arbiter_brought", True, None, ("hold", False, True), ("solo", False, False))
lost("that_nobody_said", False, None, (None, False, False), ("hold", False, True))
lost("hold_that_was_said", True, "hold", ("hold", True, True), ("hold", True, False))
lost("solo_that_was_said", False, "solo", ("solo", True, False), ("solo", True, False))


def backup(name, said, then):
    """It is told whose word "hold" was, and asks its own peer accordingly when it is the primary; another ftd, too."""
    def tried(w):
        it = Losing(w, False)
        it.monitor.status = "prelaunch"
        line = {"ftd": 1, "guest": "web", "port": 1, "on_loss": "hold", **said}
        need(b'"ok"' in it.guests.ftd.peer(json.dumps(line).encode() + b"\n"), "refused")
        wait_for(lambda: "module: pair web role 2" in it.guests.ftd.log and "busy" not in it.guests.info(), "it is paired")
        it.monitor.status = "running"
        it.guests.ftd.process.kill()
        it.guests.ftd.process.wait()
        it.guests.start()
        wait_for(lambda: (it.guests.info() or {}).get("monitor"), "the next one has it")
        asked = it.lose(False, "hold", "backup")
        need(words(asked) == then, f"its peer is told {asked}")
    tried.__name__ = f"on_loss_at_the_backup_{name}"
    test(tried)


backup("unsaid", {}, ("solo", False, False))
backup("said", {"on_loss_said": True}, ("hold", True, False))


@test
def on_loss_that_ftctl_set_says(w):
    """Past ftd, to the module: that is a word, too."""
    it = Losing(w, True)
    need(words(it.protect()) == ("hold", False, True), "no arbiter")
    asked = it.lose(True, "solo")
    need(words(asked) == ("solo", True, False), f"the next peer is told {asked}")


@test
def primary_that_won_and_is_solo_already(w):
    """Its backup has said meanwhile that it stopped: nothing has failed, and its session is over."""
    it = Losing(w, True)
    it.protect()
    said = {"pid": it.pid, "peer": it.peer.address}
    replicas(it.guests.dir, {"state": "solo", "reason": "unpaired", **said}, file=".replicas.next")
    it.has(state="undecided", reason="peer-silent")
    wait_for(lambda: "module: promote web force 0 state undecided, it is solo" in it.guests.ftd.log, "it has won")
    wait_for(lambda: "session" not in it.guests.info()["arbiter"], "its session is over")
    need("failed" not in it.guests.ftd.log, "something is said to have failed")


def with_session(w, **replica):
    """A guest that was paired by the arbiter of the configuration, and what the module says of it from then on."""
    guests = Guests(w, "--config", w.path("ftd.conf"))
    replicas(guests.dir, {"pid": os.getpid()})
    guests.attach("web", Monitor(w, "web.qmp").path)
    guests.ftd.process.kill()
    guests.ftd.process.wait()
    with open(f"{guests.ftd.control}.guests", "r+", encoding="utf-8") as file:
        saved = json.load(file)
        saved[0]["session"] = session()
        file.seek(0)
        json.dump(saved, file)
        file.truncate()
    replicas(guests.dir, {"pid": os.getpid(), **replica})
    guests.start()
    wait_for(lambda: guests.info() and "session" in guests.info()["arbiter"], "it has a session")
    return guests


@test
def configuration_read_while_the_arbiter_hangs(w):
    """Who asks has what there was; and who asks next, what there is."""
    with contextlib.ExitStack() as stack:
        hangs, other = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        ports = [sock.getsockname()[1] for sock in (hangs, other)]

        def say(*them):
            endpoints = ", ".join(f"http://127.0.0.1:{port}" for port in them)
            write(w, f"[arbiter]\ntype = etcd\nendpoints = {endpoints}\ntimeout-ms = 60000\n", "ftd.conf")
        say(ports[0])
        guests = with_session(w, state="orphan", role="backup")
        hangs.settimeout(60)
        held = hangs.accept()[0]
        say(*ports)
        guests.ftd.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the configuration was read again" in guests.ftd.log, "it has read it")
        held.settimeout(60)
        need(held.recv(1), "nothing was asked")
        held.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while held.recv(65536):
                pass
            raise Failed("it does not wait for its answer any more")
        hangs.close()
        held.close()
        other.settimeout(60)
        other.accept()[0].close()


@test
def etcd_of_a_guest_that_is_paired(w):
    """It may be listed otherwise, endpoint by endpoint; where none is left it could be another cluster."""
    def say(*endpoints):
        with open(w.path("ftd.conf"), "w", encoding="utf-8") as file:
            file.write(f"[arbiter]\ntype = etcd\nendpoints = {', '.join('http://127.0.0.1:%d' % port for port in endpoints)}\n")

    say(1, 2)
    guests = with_session(w)
    for endpoints, cause in (((2, 3), "was read again"), ((4,), "can't be another one meanwhile"), ((3, 4), "was read again"),
                             ((1, 2), "can't be another one meanwhile")):
        said = len(guests.ftd.log)
        say(*endpoints)
        guests.ftd.process.send_signal(signal.SIGHUP)
        wait_for(lambda: re.search("the configuration (was|stays)", guests.ftd.log[said:]), "it has read it")
        need_match(cause, guests.ftd.log[said:])


# --- one that arrives ----------------------------------------------------------------

class Primary:
    """The ftd of a guest that runs elsewhere, and is to have a backup here."""

    def __init__(self, guests, how):
        self.guests, self.how = guests, how
        self.version = re.search(r"version (\S+),", guests.ftd.log)[1]

    def asks(self):
        """What it is answered in the end, and the connection, which is to be closed."""
        sock = socket.create_connection(("127.0.0.1", self.guests.ftd.port), timeout=60)
        file = sock.makefile("rw")

        def say(**line):
            file.write(json.dumps(line) + "\n")
            file.flush()
            return json.loads(file.readline() or "{}")
        answer = say(ftd=1, version=self.version, guest="web", live=True, devices=[])
        if "have" in answer:
            answer = say(**({} if answer["have"] else self.how))
        return answer, sock


@test
def guest_whose_ftd_dies_as_it_arrives(w):
    """Its QEMU was started, and has no monitor yet: the next ftd does not give it up, and it is taken in by it."""
    guests = configured(w, "[guests]\nstart = yes\n")
    replicas(guests.dir, {"state": "idle"})
    monitor, go = w.path("arrives.qmp"), w.path("go")
    qemu = (f"echo $$ > {w.path('pid')}; until [ -e {go} ]; do sleep 0.1; done; exec qemu-system-x86_64 -accel tcg "
            f"-nodefaults -display none -m 64 -S -incoming defer -qmp unix:{monitor},server=on,wait=off")
    primary = Primary(guests, {"argv": ["sh", "-c", qemu], "exe": "/bin/sh", "cwd": w.dir, "qmp": monitor,
                               "consoles": []})
    with concurrent.futures.ThreadPoolExecutor() as other:
        asked = other.submit(primary.asks)
        wait_for(lambda: os.path.exists(w.path("pid")) and w.text(w.path("pid")), "its QEMU is started")
        guests.ftd.process.kill()
        guests.ftd.process.wait()
        asked.result()[1].close()
    pid = int(w.text(w.path("pid")))
    try:
        guests.start()
        # the next one has looked for it, and found nothing
        wait_for(lambda: "no QEMU listens on" in guests.ftd.log, "the monitor is tried")
        need_match("busy", str(primary.asks()[0]))
        with open(go, "w", encoding="ascii"):
            pass
        wait_for(lambda: "stream" in primary.asks()[0], "it is taken in")
        need(w.text(w.path("pid")).split() == [str(pid)], "another QEMU was started")
    finally:
        os.kill(pid, signal.SIGKILL)


@test
def guest_whose_monitor_is_another_ones(w):
    """Who had a program started for a guest has it show ftd the monitor of a QEMU that is none of his: it is refused."""
    guests = configured(w, "[guests]\nstart = yes\n")
    replicas(guests.dir, {"state": "idle"})
    other, = w.qemu("-incoming", "defer")
    monitor = w.path("arrives.qmp")
    program = f"echo $$ > {w.path('pid')}; ln -s {other} {monitor}; sleep 100"
    answer, sock = Primary(guests, {"argv": ["sh", "-c", program], "exe": "/bin/sh", "cwd": w.dir, "qmp": monitor,
                                    "consoles": []}).asks()
    sock.close()
    need_match(rf"{monitor} is the monitor of another process \(\d+\) than the one that was started", answer.get("error", ""))
    # it goes, and the other one stays
    wait_for(lambda: not os.path.exists(f"/proc/{w.text(w.path('pid')).strip()}"), "what was started has ended")
    w.qmp(other, ("query-status", {}))


@test
def guest_whose_qemu_says_much(w):
    """Its end is kept, and not more than there is room for; nor anything of one that was taken away in order."""
    guests = configured(w, "[guests]\nstart = yes\n")
    replicas(guests.dir, {"state": "idle"})
    monitor, said = w.path("arrives.qmp"), f"{guests.ftd.control}.guests.web.qemu"
    how = {"exe": "/bin/sh", "cwd": w.dir, "qmp": monitor, "consoles": []}
    answer, sock = Primary(guests, {**how, "argv": ["sh", "-c", "echo why it ends; exit 1"]}).asks()
    sock.close()
    need_match(rf"ended as it started: why it ends \({said}\)", answer.get("error", ""))
    need(w.text(said) == "why it ends\n", "it can't be read any more")

    program = (f"yes 'so much to say' | head -c 3000000; echo; echo the last; exec qemu-system-x86_64 -accel tcg -nodefaults "
               f"-display none -m 64 -S -incoming defer -qmp unix:{monitor},server=on,wait=off")
    wait_for(lambda: not guests.info(), "it is tried once more")
    answer, sock = Primary(guests, {**how, "argv": ["sh", "-c", program]}).asks()
    pid = re.findall(r"QEMU \(process (\d+)\)", guests.ftd.log)[-1]
    try:
        need("stream" in answer, f"it is not taken in: {answer}")
        wait_for(lambda: os.path.getsize(said) < 1 << 20, "it is cut")
        need_match(r"^(so much to say\n){1000,}s.*\nthe last\n$", w.text(said))
        need(os.path.samefile(f"/proc/{pid}/fd/1", said), "it says it elsewhere from now on")
        sock.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)

    qemu, = w.qemu()
    replicas(guests.dir, {"name": "db", "state": "stopped", "reason": "unpaired", "role": "backup", "peer": "127.0.0.1:7"})
    guests.attach("db", qemu)
    said = f"{guests.ftd.control}.guests.db.qemu"
    write(w, "all is well\n", os.path.basename(said))
    with socket.create_connection(("127.0.0.1", guests.ftd.port), timeout=60) as peer:
        peer.sendall(json.dumps({"ftd": 1, "guest": "db", "over": True, "port": 7}).encode() + b"\n")
        wait_for(lambda: w.processes[-1].poll() is not None, "its QEMU ends")
        wait_for(lambda: not os.path.exists(said), "it is not there any more")
