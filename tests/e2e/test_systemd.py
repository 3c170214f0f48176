# SPDX-License-Identifier: GPL-2.0
"""ftd as the service that `make install` installs, under a systemd that runs; with a disk of its configuration."""
import os
import re
import shlex
import time

from ftbed import device
from ftbed.guest import DRIVER_QMP
from harness import SLACK, need, need_match, pairing, paths, test
from test_disk import BYTES, SHARED
from test_protect import AGAIN, Live
from test_protect_devices import ENDLESS, _same_disks
from test_unprivileged import NEEDED, open_to_others

LINES = 3
CONF = "/etc/ftkvm/ftd.conf"
# A minute is long on an emulated host.
SOONER = "[Service]\nWatchdogSec=6\nTimeoutStopSec=4\n"
UNIT = "/etc/systemd/system/ftd.service"
DISK = device.Disk("db1-disk", pairing.NAME, 0, BYTES)
DEVICE = f"""
[device {DISK.name}]
guest = {DISK.guest}
kind = blk
no = {DISK.no}
socket = {DISK.socket}
file = {DISK.image}
"""


class Service(Live):
    """B's ftd is ftd.service, A's is as in all tests."""

    def __init__(self, test):
        super().__init__(test, "disk", ENDLESS, conf=(AGAIN + DEVICE, AGAIN + DEVICE))
        self.args = [*self.args, *SHARED, *DISK.arguments]

    def _daemons(self):
        t = self.test
        t.b.power_off()
        t.b.init = "systemd"
        t.b.power_on()
        t.b.wait_up()
        open_to_others(t.b, os.getcwd(), *filter(os.path.exists, self.args))
        source = os.path.join(paths.TOP, "userspace")
        t.b.run("\n".join([
            "set -e", pairing.load_module_script(),
            f"cp {paths.ftd()} /usr/sbin/ftd", "mkdir -p /etc/ftkvm",
            f"sed 's|@SBINDIR@|/usr/sbin|' {source}/ftd.service.in > {UNIT}",
            f"mkdir {UNIT}.d; printf %s {shlex.quote(SOONER)} > {UNIT}.d/sooner.conf",
            f"systemd-sysusers {source}/ftkvm.sysusers",
            f"printf %s {shlex.quote(self._text(t.b))} > {CONF}",
            "until [ -S /run/systemd/private ]; do sleep 0.1; done",
            f"truncate -s {BYTES} {DISK.image}", "systemctl daemon-reload",
            "systemctl start ftd || { journalctl -n 20 -u ftd >&2; exit 1; }"]), timeout=120 * SLACK)
        t.b.prepared = True
        t.down(t.a)
        t.a.run(f"rm -f {DISK.image}; truncate -s {BYTES} {DISK.image}")
        self.configure(t.a)
        pairing.up([t.a])

    def _text(self, host):
        return (f"[ftd]\nlisten = {host.address}:{pairing.PORT}\n"
                f"[link]\ntimeout-ms = {pairing.TIMEOUT_MS}\nsecurity = plain\n{self._conf[host.name]}")

    def close(self):
        super().close()
        if self.test.a.alive:
            self.test.a.run(f"rm -f {DISK.image}")
        self.test.b.power_off()


def _show(host, name):
    """A property of the unit."""
    return host.run(f"systemctl show ftd --value -p {name}").out.strip()


def _qemu(host):
    return host.run(f"pgrep -f '[q]emu-system-x86_64.*{DRIVER_QMP}'").out.split()


def _has_disk(t, when):
    """Its QEMU on B has the disk of the configuration, at once or soon."""
    end = time.monotonic() + SLACK * 20
    while not (found := t.json(t.b, "device", "show", DISK.name)[0])["connected"]:
        need(time.monotonic() < end, f"{when}: B's disk is {found}")
        time.sleep(0.2)


def _is_next(t, pair, what, before):
    """Another ftd is there, has the guest, and nothing has happened to that."""
    pid, qemu = before
    end = time.monotonic() + SLACK * 60
    # it has none just behind the old one's end, and is said to be active yet
    while _show(t.b, "ActiveState") != "active" or _show(t.b, "MainPID") in (pid, "0"):
        need(time.monotonic() < end, f"{what}: ftd is {_show(t.b, 'ActiveState')}: "
             f"{t.b.run('journalctl -u ftd -n 20').out}")
        time.sleep(0.2)
    pair.wait_taken_up(t.b)
    need(pair.state(t.b) == "backup", f"{what}: the replica is {pair.state(t.b)}")
    need(_qemu(t.b) == qemu, f"{what}: QEMUs are {_qemu(t.b)}, and were {qemu}")
    _has_disk(t, what)
    # it has not noticed, by the connection that systemd has kept
    still = re.compile(f"device {DISK.name}: QEMU .* has it still")
    while not still.search(said := t.b.run(f"journalctl -u ftd -o cat _PID={_show(t.b, 'MainPID')}").out):
        need(time.monotonic() < end, f"{what}: {said}")
        time.sleep(0.2)
    pair.goes_on(t.a, LINES)
    return _show(t.b, "MainPID"), qemu


@test(timeout=600, kills=True, more=1)
def systemd_service(t):
    """It starts, starts a QEMU, reloads, restarts, hangs and is killed: the guest is protected throughout, and so
    is its disk, which is a section of the configuration."""
    pair = Service(t)
    t.things.append(pair)
    pair.start()
    pair.goes_on(t.a, LINES)
    pair.protect()
    pair.wait_state(t.b, "backup")
    now = _show(t.b, "MainPID"), _qemu(t.b)
    need(len(now[1]) == 1, f"QEMUs: {now[1]}")
    have = {name: int(value, 16) for name, value in re.findall(
        r"^Cap(\w+):\s*(\w+)$", t.b.run(f"cat /proc/{now[0]}/status").out, re.MULTILINE)}
    want = sum(1 << number for number in NEEDED.values())
    need(have["Eff"] == have["Bnd"] == want, f"its capabilities are {have}")
    t.b.run("systemctl reload ftd")
    need(_show(t.b, "MainPID") == now[0], "a reload has ended it")
    t.b.run("systemctl restart ftd")
    now = _is_next(t, pair, "restarted", now)
    t.b.run(f"kill -9 {now[0]}")
    now = _is_next(t, pair, "killed", now)
    t.b.run(f"kill -STOP {now[0]}")
    now = _is_next(t, pair, "hung", now)
    need(int(_show(t.b, "NRestarts")) == 2, f"systemd has started it {_show(t.b, 'NRestarts')} times by itself")
    said = t.b.run(f"journalctl -u ftd -o cat FTKVM_GUEST={pair.label}").out
    need_match("lockstep began, it is backup", said, "its journal by guest")
    _same_disks(t, pair)
    t.a.power_off()
    pairing.promote(t.b)
    pair.goes_on(t.b, LINES)
    t.b.run("systemctl stop ftd")
    need(_qemu(t.b) == now[1], "the QEMU has ended with it")
    t.b.run("systemctl start ftd")
    _has_disk(t, "started again")
    pair.goes_on(t.b, LINES)
    need("FAILED" not in pair.live(t.b), "it does not read what it wrote")
