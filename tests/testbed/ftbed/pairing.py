# SPDX-License-Identifier: GPL-2.0
"""ftkvm on the emulated hosts: module, daemon, attach, pair, promote."""
import json
import os
import shlex
import time

from . import paths
from .agent import CommandFailed
from .guest import CONSOLE, QMP

CONTROL = "/run/ftkvm/ftd.sock"
PORT = 7717
NAME = "guest"
THIRD = "/run/third"

# How the hosts' ftd are connected where a test does not say: "plain", or "psk": any test may be run
# over TLS.
LINK = os.environ.get("FTKVM_LINK") or "plain"
# An emulated host that is held up for longer than the default must not count as dead.
TIMEOUT_MS = 3000
# ... and what a test has to say of more than that
CONF = "/run/ftd.conf"
LINK_CONF, LINK_KEY = "/run/ftd-link.conf", "/run/ftd-link.psk"


def load_module_script(path=None):
    """insmod ftkvm.ko and, before it, the stock modules it needs."""
    path = shlex.quote(path or paths.module())
    kernel = shlex.quote(paths.host_kernel_dir())
    return (f"for m in $(modinfo -F depends {path} | tr , ' '); do "
            f"modprobe -d {kernel} $m || exit 1; done; insmod {path} || exit 1")


def load_module(host, path=None):
    return host.run(load_module_script(path))


def modules_script():
    """The kernel finds its modules by itself, as on any host."""
    where = f"/lib/modules/{paths.kernel_release()}"
    kernel = os.path.join(paths.host_kernel_dir(), where[1:])
    return f"mkdir -p /lib/modules; [ -e {where} ] || ln -s {shlex.quote(kernel)} {where}; "


def link_text(timeout_ms=TIMEOUT_MS):
    """[link] of a configuration file, as FTKVM_LINK says."""
    text = f"[link]\ntimeout-ms = {timeout_ms}\nsecurity = {LINK}\n"
    return text + f"psk-file = {LINK_KEY}\n" if LINK == "psk" else text


def configure(host, text, timeout_ms=TIMEOUT_MS):
    """ftd finds this in its file when it is started on that host, behind [link]."""
    host.run(f"printf %s {shlex.quote(link_text(timeout_ms) + text)} > {CONF}")
    host.ftd_options = ("--config", CONF)


def _link(host):
    """Shell words that make what ftd needs, and its options."""
    if host.ftd_link is not None:
        return "", host.ftd_link
    before = "" if LINK == "plain" else \
        modules_script() + f"(umask 077; echo ftkvm:{'a5' * 32} > {LINK_KEY}); "
    return before + f"printf %s {shlex.quote(link_text())} > {LINK_CONF}; ", ("--config", LINK_CONF)


def start_daemon_script(host, extra=()):
    """ftd, with its output in /run/ftd.log and its process in /run/ftd.pid."""
    before, link = _link(host)
    words = shlex.join([*host.ftd_words, paths.ftd(), "--control", CONTROL, "--listen", f"{host.address}:{PORT}",
                        *link, *host.ftd_options, *extra])
    return (f"mkdir -p /run/ftkvm; {before}{words} >> /run/ftd.log 2>&1 < /dev/null & "
            "echo $! > /run/ftd.pid; "
            f"while ! [ -S {CONTROL} ]; do sleep 0.05; kill -0 $(cat /run/ftd.pid) || "
            "{ echo 'ftd does not come up:' >&2; cat /run/ftd.log >&2; exit 1; }; done")


def start_daemon(host, extra=()):
    return host.run(start_daemon_script(host, extra))


def kill_daemon(host):
    """As if it had crashed; start_daemon() begins the next one."""
    host.run("kill -9 $(cat /run/ftd.pid); rm -f " + CONTROL)


def bring_up(hosts):
    """Module and daemon on all hosts at once; Jobs for finish()."""
    return [host.start(load_module_script() + "; " + start_daemon_script(host))
            for host in hosts]


def finish(jobs, timeout=60):
    """Wait for commands that must succeed."""
    for job in jobs:
        result = job.wait(paths.SLOWNESS * timeout)
        if result.code:
            raise CommandFailed(result)


def up(hosts):
    """Module and daemon are there, on all of them."""
    new = [host for host in hosts if not host.prepared]
    finish(bring_up(new))
    for host in new:
        host.prepared = True


def ftctl(host, *words, timeout=60, check=True):
    return host.run(shlex.join([paths.ftctl(), *map(str, words)]), timeout=timeout, check=check)


def ftctl_json(host, *words, **options):
    return json.loads(ftctl(host, "-j", *words, **options).out)


def attach_command(name=NAME):
    """The guest's console goes live on ttyS1."""
    return shlex.join([paths.ftctl(), "attach", name, "--qmp", QMP,
                       "--console", f"{CONSOLE}=tty:/dev/ttyS1"])


def attach(host, name=NAME):
    return host.run(attach_command(name))


def begin_alone(host, one, name=NAME):
    """A guest that waits on this host is attached, joined to its console, and let go: alone."""
    host.run(attach_command(name))
    one.qmp("chardev-change", id=CONSOLE,
            backend={"type": "serial", "data": {"device": "/dev/ttyS1"}})
    one.qmp("cont")


def third_script():
    """What all hosts reach, as storage that they share, is at THIRD."""
    return (f"mkdir -p {THIRD}; mount -t 9p -o trans=virtio,version=9p2000.L,cache=none third "
            f"{THIRD}")


def third_end_script():
    """... and is no more; and empty, for all hosts."""
    return f"rm -rf {THIRD}/*; umount {THIRD}"


def pair(host, peer, name=NAME, period=None, margin=None, counter=None, verify_every=None):
    words = ["pair", name, "--peer", f"{peer.address}:{PORT}"]
    for option, value in (("--period", period), ("--margin", margin), ("--counter", counter),
                          ("--verify-every", verify_every)):
        if value is not None:
            words += [option, value]
    return ftctl(host, *words)


def promote(host, name=NAME, force=False, patience=30, on_refusal=None):
    """Promote, trying again while it is refused; seconds that it took in all.

    Right after its primary's death a backup still holds it for alive.
    """
    began = time.monotonic()
    while True:
        result = ftctl(host, "promote", name, *(["--force"] if force else []), check=False)
        now = time.monotonic()
        if not result.code:
            return now - began
        if on_refusal:
            on_refusal(result)
        if now - began > paths.SLOWNESS * patience:
            raise CommandFailed(result)
        time.sleep(0.2)


def flat_stats(status):
    """The numbers of `ftctl -j stats` or `status`, whether nested or not."""
    if isinstance(status, list):
        status = status[0] if status else {}
    inner = status.get("stats", status)
    return {key: value for key, value in inner.items() if isinstance(value, (int, float))}


class Stream:
    """JSON objects that a command on a host prints, with the time of each.

    An object may span lines; the next one begins on a line of its own.
    """

    def __init__(self, host, command, on_object=None):
        self.objects = []
        self._text = ""
        self._decoder = json.JSONDecoder()
        self._on_object = on_object
        self.job = host.start(command, on_line=self._line)
        self.job.close_input()

    def _line(self, when, line):
        self._text = (self._text + "\n" + line).lstrip()
        while self._text:
            try:
                value, end = self._decoder.raw_decode(self._text)
            except json.JSONDecodeError:
                return
            self._text = self._text[end:].lstrip()
            self.objects.append((when, value))
            if self._on_object:
                self._on_object(when, value)

    def stop(self):
        try:
            self.job.kill(9)
        except Exception:	# the host is gone
            pass


def monitor(host, on_object=None):
    return Stream(host, f"exec {shlex.join([paths.ftctl(), '-j', 'monitor'])}", on_object)


def sample(host, interval, name=NAME, on_object=None):
    """Statistics, again and again."""
    once = shlex.join([paths.ftctl(), "-j", "stats", name])
    return Stream(host, f"while {once}; do echo; sleep {interval}; done 2>/dev/null", on_object)
