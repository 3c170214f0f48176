# SPDX-License-Identifier: GPL-2.0
"""An arbiter of etcd's, Debian's, which runs on one of the hosts: whoever is cut off from it can't ask."""
import shlex

from harness import need, paths, test
from test_arbiter import LONG, _log, _stands_still

PORT = 2379
DATA = "/run/etcd"


class _Etcd:
    """A cluster of one, on that host; at a test's end it is not there any more."""

    def __init__(self, t, host):
        self.test, self.host, self.program = t, host, paths.etcd()
        self.url = f"http://{host.address}:{PORT}"

    def start(self):
        words = [self.program, "--data-dir", DATA, "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                 "--listen-peer-urls", f"http://127.0.0.1:{PORT + 1}", "--logger", "zap"]
        self.host.run(f"{shlex.join(words)} > {DATA}.log 2>&1 < /dev/null & echo $! > {DATA}.pid; "
                      f"until bash -c ': < /dev/tcp/{self.host.address}/{PORT}' 2> /dev/null; do "
                      f"kill -0 $(cat {DATA}.pid) || {{ tail -n 5 {DATA}.log >&2; exit 1; }}; sleep 0.2; done", timeout=180)

    def protected(self):
        """A pair, and both hosts' ftd have this arbiter."""
        t = self.test
        self.start()
        for host in t.hosts:
            t.configure(host, f"[arbiter]\ntype = etcd\nendpoints = {self.url}\n")
        pair = t.pair("loop", append=LONG)
        pair.join(timeout="500")
        pair.lockstep(10)
        status = pair.status(t.a)
        need(status["on_loss"] == "hold" and status["arbiter"]["type"] == "etcd", f"status: {status}")
        return pair

    def close(self):
        if self.host.alive:
            self.host.run(f"kill -9 $(cat {DATA}.pid); rm -rf {DATA}", check=False)


def _etcd(t, host):
    arbiter = _Etcd(t, host)
    t.things.append(arbiter)
    return arbiter


@test(kills=True, more=1, timeout=240)
def arbiter_etcd_primary_dies(t):
    """The power is cut at A: etcd has not heard that it lives, and B goes on."""
    pair = _etcd(t, t.b).protected()
    t.a.power_off()
    pair.goes_on(t.b, 10)
    pair.one_machine(promoted=True)
    need(pair.state(t.b) == "solo", f"the survivor is {pair.state(t.b)}")


@test(more=1, timeout=240)
def arbiter_etcd_partition(t):
    """The cable breaks, and etcd is at A's end of it: A goes on, B can't ask. When it can it hears that it lost."""
    pair = _etcd(t, t.a).protected()
    t.hosts.wire.cut()
    pair.wait_state(t.a, "solo")
    pair.goes_on(t.a, 10)
    need("it goes on here, says the arbiter" in _log(t.a), _log(t.a))
    pair.wait_state(t.b, "orphan")
    _stands_still(pair, t.b)
    need(pair.state(t.b) == "orphan", f"B is {pair.state(t.b)} though nobody told it so")
    t.hosts.wire.restore()
    pair.wait_state(t.b, "stopped")
    pair.goes_on(t.a, 10)
    pair.one_machine()
