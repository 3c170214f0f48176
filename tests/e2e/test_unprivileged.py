# SPDX-License-Identifier: GPL-2.0
"""ftd as ftd.service runs it: a user of its own, with the capabilities that it needs and no others."""
import os
import re
import shlex

from ftbed.guest import DRIVER_QMP, QMP
from harness import need, need_match, pairing, paths, test
from test_protect import LONG, START, Live

USER = 61234
NEEDED = {"chown": 0, "dac_override": 1, "net_admin": 12, "sys_ptrace": 19}
CONF, KEY, OTHER = "/run/unprivileged.conf", "/run/unprivileged.psk", "/run/unprivileged.sock"


def _as_user(*capabilities):
    """Words that run a command so; root's shell has begun it."""
    words = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", f"--inh-caps={words}",
            f"--ambient-caps={words}", f"--bounding-set={words}", "--no-new-privs")


class _Restored:
    """At a test's end: the hosts' ftd are root's, as the others want them."""

    def __init__(self, t):
        self.test = t

    def close(self):
        for host in self.test.hosts:
            host.ftd_words, host.ftd_link = (), None
            if host.alive:
                self.test.down(host)
                host.run("chown -R 0:0 /run/ftkvm")


def _unprivileged(t):
    """From now on the hosts' ftd are."""
    t.things.append(_Restored(t))
    for host in t.hosts:
        if host.prepared:
            t.down(host)
        # what RuntimeDirectory= does
        host.run(f"mkdir -p /run/ftkvm; chown -R {USER} /run/ftkvm")
        host.ftd_words = _as_user(*NEEDED)


def _status(host, pid):
    """Capabilities and user of a process."""
    text = host.run(f"cat /proc/{pid}/status").out
    need_match(rf"^Uid:\s+{USER}\s+{USER}\s", text[text.index("Uid:"):], f"host {host.name}: process {pid}")
    return {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\s*(\w+)$", text, re.MULTILINE)}


def _need_the_needed(host):
    have = _status(host, "$(cat /run/ftd.pid)")
    want = sum(1 << number for number in NEEDED.values())
    need((have["Prm"], have["Eff"], have["Inh"], have["Amb"]) == (want, want, 0, 0), f"ftd of {host.name} has {have}")


def open_to_others(host, *files):
    """A QEMU of another user than root's may use these; that is so on the emulated host alone."""
    closed = []
    for path in map(os.path.abspath, files):
        if not os.stat(path).st_mode & 0o004:
            closed.append(f"chmod o+r {shlex.quote(path)}")
        while path != "/":
            path = os.path.dirname(path)
            if not os.stat(path).st_mode & 0o001:
                closed.append(f"chmod o+x {shlex.quote(path)}")
    # and what root's QEMUs have left behind
    host.run("\n".join(["set -e", "chmod 666 /dev/kvm /dev/ttyS1 /dev/ttyS2", f"rm -f {QMP} {DRIVER_QMP}", *closed]))


@test()
def unprivileged_pair(t):
    """root's QEMUs are attached and paired by it, over TLS with a key that is root's to read."""
    t.up()
    words = [*_as_user("net_admin", "dac_override", "chown"), paths.ftd(), "--plain", "--control", OTHER, "--listen",
             "127.0.0.1:0"]
    refused = t.a.run("timeout 30 " + shlex.join(words), check=False)
    need(refused.code == 1, f"without CAP_SYS_PTRACE it ends with {refused.code}: {refused.err}")
    need_match(r"ftd has not CAP_SYS_PTRACE \([^)]*\): run: systemctl start ftd", refused.err, "what it says")
    _unprivileged(t)
    for host in t.hosts:
        host.run(pairing.modules_script() + f"(umask 077; echo ftkvm:{'5a' * 32} > {KEY}); printf %s " + shlex.quote(
            f"[link]\ntimeout-ms = {pairing.TIMEOUT_MS}\nsecurity = psk\npsk-file = {KEY}\n") + f" > {CONF}")
        host.ftd_link = ("--config", CONF)
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep(10)
    for host in t.hosts:
        _need_the_needed(host)
        log = host.run("cat /run/ftd.log").out
        need_match("TLS 1.3, ", log, f"{host.name}'s log")
    pair.one_machine()


@test(kills=True, more=1)
def unprivileged_protect(t):
    """A QEMU that it starts has no capabilities at all, and takes the guest over all the same."""
    _unprivileged(t)
    pair = Live(t, "loop", LONG, conf=(START, START))
    t.things.append(pair)
    for host in t.hosts:
        open_to_others(host, os.getcwd(), *filter(os.path.exists, pair.args))
    pair.start()
    pair.goes_on(t.a, 10)
    pair.protect()
    pair.wait_state(t.b, "backup")
    for host in t.hosts:
        _need_the_needed(host)
    started = t.b.run(f"pgrep -f '[q]emu-system-x86_64.*{DRIVER_QMP}'").out.split()
    need(len(started) == 1, f"QEMUs on B: {started}")
    have = _status(t.b, started[0])
    need(not any(have[name] for name in ("Inh", "Prm", "Eff", "Amb")), f"the QEMU that was started has {have}")
    pair.goes_on(t.a, 10)
    t.a.power_off()
    pairing.promote(t.b)
    pair.goes_on(t.b, 10)
