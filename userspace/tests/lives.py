# SPDX-License-Identifier: GPL-2.0
"""A replica that waits, without an arbiter: the other host's ftd is asked before it is promoted. Stand-ins for the modules."""
import contextlib
import json
import os
import socket

from observing import replicas
from world import need, need_match, test

REFUSED = r"the other host's replica of web goes on: ftd at {} says that it is {} there.*ftctl fence web.*--force"
# what a promotion comes to that nobody refuses: there is no module
TRIED = "modprobe ftkvm"


class Hosts:
    """Two ftd, of which b's has an orphan."""

    def __init__(self, w):
        self.w, self.dirs, self.ftd = w, {}, {}
        for host in "ab":
            self.dirs[host] = w.path(host)
            os.mkdir(self.dirs[host])
            replicas(self.dirs[host])
            self.ftd[host] = w.ftd(f"ftd-{host}", env={"FTKVM_STANDIN": self.dirs[host]}, program="ftd-alone")
        self.peer = f"127.0.0.1:{self.ftd['a'].ask(cmd='info')['port']}"
        self.orphan()

    def orphan(self, **said):
        replicas(self.dirs["b"], {"state": "orphan", "role": "backup", "reason": "peer-silent", "peer": self.peer,
                                  "pid": os.getpid(), **said})

    def there(self, **said):
        replicas(self.dirs["a"], *([{"pid": os.getpid(), **said}] if said else []))

    def promote(self, *words):
        return self.w.ftctl("promote", "web", *words, control=self.ftd["b"].control,
                            env={"FTKVM_STANDIN": self.dirs["b"]}, program="ftctl-alone")[2]


@test
def promoted_while_the_other_one_lives(w):
    hosts = Hosts(w)
    for state, role in (("solo", "primary"), ("solo", "backup"), ("primary", "primary"), ("backup", "backup"),
                        ("takeover", "backup")):
        hosts.there(state=state, role=role)
        need_match(REFUSED.format(hosts.peer, state), hosts.promote())
        need_match(TRIED, hosts.promote("--force"))
    # a primary that was held does not get past it either
    hosts.there(state="solo")
    hosts.orphan(state="undecided", role="primary")
    need_match(REFUSED.format(hosts.peer, "solo"), hosts.promote())


@test
def promoted_as_the_other_one_does_not_live(w):
    """It waits, too, was stopped, is another pairing's that never was, its QEMU is gone, or nobody knows of it."""
    hosts = Hosts(w)
    for said in ({"state": "undecided"}, {"state": "orphan", "role": "backup"}, {"state": "stopped"}, {"state": "idle"},
                 {"state": "solo", "pid": 2 ** 22 + 1}, {"state": "solo", "name": "db"}, {}):
        hosts.there(**said)
        need_match(TRIED, hosts.promote())
    # one that said itself that it ended is not asked for
    hosts.there(state="solo")
    hosts.orphan(reason="guest-ended")
    need_match(TRIED, hosts.promote())


@test
def promoted_as_nobody_answers(w):
    """That is what an orphan is for: the host is off, stands still, or something else has its port."""
    hosts = Hosts(w)
    hosts.there(state="solo")
    hosts.ftd["a"].process.kill()
    hosts.ftd["a"].process.wait()
    need_match(TRIED, hosts.promote())
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        hosts.peer = f"127.0.0.1:{listener.getsockname()[1]}"
        hosts.orphan()
        need_match(TRIED, hosts.promote())
        listener.settimeout(60)
        client, _ = listener.accept()
        with client:
            asked = json.loads(client.recv(1000))
            need(asked == {"ftd": 1, "lives": "web"}, f"asked otherwise: {asked}")
