# SPDX-License-Identifier: GPL-2.0
"""Real programs in the guest, PostgreSQL and OpenSSH of Debian, and what comes of their work when
a host dies in the midst of it: nothing."""
import os
import random
import time

from harness import SLACK, add, need
from ftbed import pairing
from loads import Bench, Bulk, Copy, Postgres, Ssh, Streams
from test_server import Server

MEMORY = 192
LONG = 400


def worked(load, victim, when):
    """Power is cut at one host once `when` of the load is done, between 0 and 1; the client is at
    the other one."""
    def run(t):
        survivor = t.b if victim == "a" else t.a
        bench = Bench(t, survivor)
        server = Server(t, f"ftdemo.interval=1000 ftdemo.work=50 ftdemo.run={load.programs}",
                        survivor.name, f"{bench.work}/disk.img", MEMORY)
        server.pair.join()
        server.wait_line(t.a, 1, LONG)
        load.begin(bench)
        end = time.monotonic() + SLACK * LONG
        while (done := load.done(bench)) < when:
            need(time.monotonic() < end, f"only {done:.2f} of the work is done")
            time.sleep(0.05)
        need(done < 1, "the work is done, and it is too late for the cut")
        load.cut(bench)
        t.hosts[victim].power_off()
        if victim == "a":
            pairing.promote(t.b)
        load.alive(bench)
        load.check(bench)
        survivor.live.send(b"end\n")
        server.check_end(victim)
        load.check_image(bench, survivor, server.disks.image)
    return run


def by_name(name, seed):
    """A load; the seed is what its data are made of."""
    return {"postgres": Postgres, "ssh": Ssh, "copy": lambda: Copy(seed),
            "streams": lambda: Streams(seed), "bulk": lambda: Bulk(seed)}[name]()


NAMES = ("postgres", "ssh", "copy", "streams", "bulk")


def _at_random(name, victim):
    def run(t):
        seed = int(os.environ.get("SEED") or random.randrange(1, 1 << 31))
        when = random.Random(seed).uniform(0.05, 0.7)
        print(f"     {t.entry.name}: SEED={seed}: host {victim} dies at {100 * when:.1f} %",
              flush=True)
        worked(by_name(name, seed), victim, when)(t)
    return run


add("work_postgres_primary_killed", _at_random("postgres", "a"), timeout=900, kills=True)
add("work_postgres_backup_killed", _at_random("postgres", "b"), timeout=900, kills=True, more=1)
for kind in NAMES[1:]:
    add(f"work_{kind}_primary_killed", _at_random(kind, "a"), timeout=900, kills=True, more=1)
