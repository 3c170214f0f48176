# SPDX-License-Identifier: GPL-2.0
"""Guests that ftd looks after: what it hears of their QEMUs. With a stand-in for the module."""
import json
import os
import socket
import threading

from devices import Devices
from observing import http, parse, replicas, sample
from world import need, need_match, test, wait_for


class Monitor:
    """What ftd takes for a QEMU's monitor: it does nothing, and says what it is told to."""

    def __init__(self, w, name, status="running"):
        self.status, self.orders, self.client, self.lock = status, [], None, threading.Lock()
        self.path = w.server(name, self.talk)

    def says(self, status, event):
        with self.lock:
            self.status = status
            self.client.sendall(json.dumps({"event": event}).encode() + b"\n")

    def talk(self, client):
        client.sendall(b'{"QMP": {"version": {}}}\n')
        client.settimeout(None)
        self.client = client
        with client.makefile("rb") as orders:
            for line in orders:
                order = json.loads(line)
                with self.lock:
                    self.orders.append(order["execute"])
                    value = {"status": self.status} if order["execute"] == "query-status" else {}
                    client.sendall(json.dumps({"id": order["id"], "return": value}).encode() + b"\n")


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
    with open(w.path("ftd.conf"), "w", encoding="utf-8") as file:
        file.write(f"[metrics]\nlisten = unix:{w.path('metrics')}\n")
    guests = Guests(w, "--config", w.path("ftd.conf"))
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
