# SPDX-License-Identifier: GPL-2.0
"""Real work for a guest that loses a host, given and checked from outside.

A load runs on a Bench: the guest of tests/guests/work, and a host where the client is. It has
`programs`, which the guest is to run, and

    begin(bench)	start the client; it works by itself from here on
    done(bench)		how much of it is done, from 0 to 1
    cut(bench)		the power is about to be cut
    alive(bench)	the survivor runs the guest
    check(bench)	wait for the end, and look whether all is as if nothing had happened
    check_image(bench, host, image)	the same of the survivor's image, once the guest has ended
"""
import hashlib
import json
import os
import random
import re
import shlex
import time

from harness import SLACK, need
from ftbed import paths

GUEST = "10.88.0.2"
PATIENCE = 300 * SLACK


class Bench:
    """What a load has to do with: the client's host, and what the client's programs are run by."""

    def __init__(self, t, at):
        self.t, self.at = t, at
        self.work = paths.work()

    def words(self, program, *words):
        """Shell words for a client's program."""
        return shlex.join(["env", f"LD_LIBRARY_PATH={self.work}/lib", "HOME=/run",
                           f"{self.work}/bin/{program}", *map(str, words)])

    def run(self, program, *words, timeout=PATIENCE):
        return self.at.run(self.words(program, *words), timeout=timeout)

    def start(self, command):
        return self.t.job(self.at, command)

    def until(self, command):
        """Try it until it succeeds."""
        self.at.run(f"n=0; until {command} > /run/until 2>&1; do n=$((n+1)); "
                    "[ $n -lt 200 ] || { cat /run/until >&2; exit 1; }; sleep 0.5; done",
                    timeout=PATIENCE)


class Load:
    programs = None

    def begin(self, bench):
        raise NotImplementedError

    def done(self, bench):
        raise NotImplementedError

    def cut(self, bench):
        pass

    def alive(self, bench):
        pass

    def check(self, bench):
        raise NotImplementedError

    def check_image(self, bench, host, image):
        pass


def _end(job, what):
    """The whole output of a client that must end well."""
    result = job.wait(PATIENCE)
    need(not result.code, f"{what} ended with {result.code}: "
         f"{(result.err.strip() or result.out.strip())[-500:]}")
    return result.out


class Postgres(Load):
    """pgbench's clients move money between accounts, and note each transfer.

    Each commit that was acknowledged is there, once, and nothing else; the accounts are what
    the transfers have made of them; and each client has had one backend all the time.
    """

    programs = "postgres"
    ACCOUNTS, START = 20, 1000

    def __init__(self, clients=4, each=120):
        self.clients, self.each = clients, each
        self.job = None

    def _psql(self, bench, query):
        out = bench.run("psql", *self._to(), "-X", "-A", "-t", "-F", " ", "-c", query).out
        return [tuple(map(int, line.split())) for line in out.splitlines()]

    @staticmethod
    def _to():
        return ["-h", GUEST, "-U", "postgres", "-d", "postgres"]

    def begin(self, bench):
        bench.until(bench.words("psql", *self._to(), "-c", "SELECT 1"))
        script = os.path.join(paths.GUESTS, "work", "transfers.sql")
        self.job = bench.start("rm -f /run/acknowledged.*; exec " + bench.words(
            "pgbench", *self._to()[:4], "-n", "-c", self.clients, "-t", self.each, "-D", "n=0",
            "-P", 1, "-l", "--log-prefix=/run/acknowledged", "-f", script, "postgres") + " 2>&1")

    def done(self, bench):
        at = did = 0.0
        for when, rate in re.findall(rb"^progress: ([\d.]+) s, ([\d.]+) tps", bytes(self.job.out),
                                     re.M):
            did += (float(when) - at) * float(rate)
            at = float(when)
        if self.job.running:
            return did / (self.clients * self.each)
        # It says no more of the last second that it has not been at work all of.
        need(self.job.code == 0, f"pgbench has ended: {bytes(self.job.out)[-500:]!r}")
        return 1

    def check(self, bench):
        out = _end(self.job, "pgbench")
        total = self.clients * self.each
        need(f"actually processed: {total}/{total}\n" in out, f"pgbench says {out[-600:]!r}")
        log = bench.at.run("cat /run/acknowledged.*").out
        self.check_rows([tuple(map(int, line.split()[:2])) for line in log.splitlines()],
                        self._psql(bench, "SELECT client, n, source, target, amount, backend "
                                          "FROM transfer ORDER BY client, n"),
                        self._psql(bench, "SELECT id, balance FROM account ORDER BY id"))

    def check_rows(self, acknowledged, transfers, accounts):
        need(len(acknowledged) == self.clients * self.each == len(set(acknowledged)),
             f"pgbench's log has {len(acknowledged)} transactions")
        there = [row[:2] for row in transfers]
        lost = sorted(set(acknowledged) - set(there))
        need(not lost, f"{len(lost)} commits that were acknowledged are lost: {lost[:5]}")
        need(len(there) == len(set(there)), "there are commits twice: "
             f"{sorted(n for n in set(there) if there.count(n) > 1)[:5]}")
        more = sorted(set(there) - set(acknowledged))
        need(not more, f"there are commits that no one made: {more[:5]}")
        want = {number: self.START for number in range(1, self.ACCOUNTS + 1)}
        for _, _, source, target, amount, _ in transfers:
            want[source] -= amount
            want[target] += amount
        need(dict(accounts) == want and len(accounts) == self.ACCOUNTS,
             f"the accounts are {accounts}, not {want}")
        backends = {(row[0], row[5]) for row in transfers}
        need(len(backends) == self.clients, f"clients had other backends: {sorted(backends)}")


class Ssh(Load):
    """A session with a program that counts, and answers what is typed."""

    programs = "ssh"

    def __init__(self, lines=60):
        self.lines, self.typed = lines, 0
        self.job = None

    @staticmethod
    def options(bench):
        return ["-F", "/dev/null", "-i", f"{bench.work}/key", "-o", "IdentitiesOnly=yes",
                "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no",
                "-o", "LogLevel=ERROR"]

    def words(self, bench, *words):
        return bench.words("ssh", *self.options(bench), *words)

    def there(self, bench):
        bench.until(self.words(bench, f"root@{GUEST}", "true") + " < /dev/null")

    def _type(self):
        self.typed += 1
        self.job.write(f"line {self.typed}\n".encode())

    def begin(self, bench):
        self.there(bench)
        self.job = bench.start("exec " + self.words(
            bench, "-tt", f"root@{GUEST}", f"stty -echo; exec counted {self.lines}"))

    def _lines(self):
        return bytes(self.job.out).decode().replace("\r", "").split("\n")[:-1]

    def done(self, bench):
        count = sum(line.startswith("counted ") for line in self._lines())
        need(self.job.running or self.job.code == 0, f"ssh has ended: {bytes(self.job.err)!r}")
        if count > 2 and not self.typed:
            self._type()
        return count / self.lines

    def cut(self, bench):
        self._type()

    def alive(self, bench):
        self._type()

    def check(self, bench):
        _end(self.job, "ssh")
        self.check_lines(self._lines())

    def check_lines(self, lines):
        need(lines[-1:] == ["counted all"], f"the session ends with {lines[-3:]}")
        counted = [line.split()[1:] for line in lines[:-1] if line.startswith("counted ")]
        want, total = [], 0
        for number in range(1, self.lines + 1):
            total = (total * 31 + number) % 1000003
            want.append([str(number), str(total)])
        bad = next((pair for pair in zip(counted, want) if pair[0][:2] != pair[1]), counted[-1:])
        need([line[:2] for line in counted] == want, f"not each line once and in order: {bad}")
        need(len({line[2] for line in counted}) == 1, "the lines are of several processes")
        typed = [line for line in lines if line.startswith("typed ")]
        need(typed == [f"typed line {n + 1}" for n in range(self.typed)],
             f"{self.typed} lines were typed, and answered were {typed}")
        need(len(typed) + len(counted) + 1 == len(lines), f"other lines in {lines}")


class Copy(Load):
    """Two files at once, one in and one out, by sftp; their sums are right, on the disk as well."""

    programs = "ssh"
    OUT = "lib/libcrypto.so.3"	# a file that the guest has, too, under /lib/x86_64-linux-gnu

    def __init__(self, seed=1):
        self.seed = seed
        self.jobs = []
        self.size, self.sum_out, self.sum_in = None, None, None

    def begin(self, bench):
        Ssh().there(bench)
        with open(os.path.join(bench.work, self.OUT), "rb") as file:
            data = file.read()
        self.size, self.sum_out = len(data), hashlib.sha256(data).hexdigest()
        data = random.Random(self.seed).randbytes(self.size)
        self.sum_in = hashlib.sha256(data).hexdigest()
        bench.at.run("cat > /run/in", stdin=data)
        base = os.path.basename(self.OUT)
        for order in ("put /run/in /srv/in", f"get /lib/x86_64-linux-gnu/{base} /run/out"):
            self.jobs.append(bench.start(
                f"rm -f /run/out; echo {shlex.quote(order)} | "
                + bench.words("sftp", *Ssh.options(bench), "-b", "-", f"root@{GUEST}")))

    def done(self, bench):
        for job in self.jobs:
            need(job.running or job.code == 0, f"sftp has ended: {bytes(job.err)!r}")
        have = bench.at.run("stat -c %s /run/out 2>/dev/null || echo 0").out
        return int(have) / self.size if any(job.running for job in self.jobs) else 1.0

    def check(self, bench):
        for job in self.jobs:
            _end(job, "sftp")
        have = bench.at.run("sha256sum < /run/out").out.split()[0]
        need(have == self.sum_out, f"what came from the guest is {have}, not {self.sum_out}")
        # not what is in the guest's memory
        told = bench.at.run(Ssh().words(
            bench, f"root@{GUEST}", "sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum /srv/in")
            + " < /dev/null", timeout=PATIENCE).out.split()[0]
        need(told == self.sum_in, f"what the guest got is {told}, not {self.sum_in}")

    def check_image(self, bench, host, image):
        have = host.run(f"debugfs -R 'cat /srv/in' {image} 2>/dev/null | sha256sum").out.split()[0]
        need(have == self.sum_in, f"the image has {have}, not {self.sum_in}")


class Streams(Load):
    """TCP both ways, each byte right and in its place; datagrams, lost around the cut only."""

    programs = "streams"
    REPORT = 10		# a client of UDP tells how far it is each time it has sent so many

    def __init__(self, seed=1, size=400000, rate=16000, per_second=10):
        self.seed, self.size, self.rate, self.per_second = seed, size, rate, per_second
        self.tcp = self.udp = None
        # Of the datagrams: the last that had come back before the cut; one sent after it.
        self.before = self.after = None

    def begin(self, bench):
        bench.until(bench.words("streams", "tcp", GUEST, 1, 1, 0))
        self.tcp = bench.start("exec " + bench.words("streams", "tcp", GUEST, self.seed, self.size,
                                                     self.rate))
        self.udp = bench.start("exec " + bench.words("streams", "udp", GUEST, self.seed + 7,
                                                     1000000, self.per_second))

    @staticmethod
    def _said(job, what):
        need(job.running or job.code == 0, f"streams has ended: {bytes(job.err)!r}")
        lines = [json.loads(line) for line in bytes(job.out).decode().split("\n")[:-1]]
        return [line[what] for line in lines if what in line]

    def done(self, bench):
        # UDP ends when it is told to
        tcp, udp = self._said(self.tcp, "came"), self._said(self.udp, "sent")
        return tcp[-1] / self.size if tcp and udp else 0.0

    def cut(self, bench):
        self.before = self._said(self.udp, "last")[-1]

    def alive(self, bench):
        # it may have told this just before the cut
        self.after = self._said(self.udp, "sent")[-1] + 2 * self.REPORT

    def check(self, bench):
        _end(self.tcp, "TCP")
        end = time.monotonic() + PATIENCE
        while self._said(self.udp, "last")[-1] < self.after:
            need(time.monotonic() < end, f"datagram {self.after} does not come back")
            time.sleep(0.1)
        course = list(zip(self._said(self.udp, "sent"), self._said(self.udp, "last")))
        self.udp.close_input()
        last = json.loads(_end(self.udp, "UDP").strip().splitlines()[-1])
        self.check_datagrams(last, course)

    def check_datagrams(self, last, course):
        """@course: (how many were sent, the last that had come back), now and then. When one
        comes back that was sent after the cut the survivor is on the network."""
        end = next(sent for sent, at in course if at >= self.after)
        for what in ("lost", "doubled"):
            outside = [r for r in last[what] if r[0] <= self.before or r[1] > end]
            need(not outside, f"datagrams {what} outside of {self.before} to {end}: {outside}")


class Bulk(Load):
    """TCP both ways, as fast as it goes: windows and the tap's queue fill, and what crosses the tap
    are packets of many segments, which one side leaves to the other to cut."""

    programs = "streams"
    TAP = "card-tap"
    SEGMENT = 1600		# more than a packet that was cut can have

    def __init__(self, seed=1, size=20 << 20):
        self.seed, self.size, self.tcp = seed, size, None

    def begin(self, bench):
        bench.until(bench.words("streams", "tcp", GUEST, 1, 1, 0))
        self.tcp = bench.start("exec " + bench.words("streams", "tcp", GUEST, self.seed, self.size, 0))

    def done(self, bench):
        need(self.tcp.running or self.tcp.code == 0, f"streams has ended: {bytes(self.tcp.err)!r}")
        came = re.findall(rb'"came": (\d+)', bytes(self.tcp.out)[-200:])
        return int(came[-1]) / self.size if came else 0.0

    def _large(self, host, way, what):
        """The mean size of packets that went through the host's tap."""
        there = f"/sys/class/net/{self.TAP}/statistics/{way}"
        octets, packets = map(int, host.run(f"cat {there}_bytes {there}_packets").out.split())
        need(packets and octets / packets > self.SEGMENT,
             f"{what} were {packets} packets with {octets} bytes: they were cut before the tap")

    def cut(self, bench):
        self._large(bench.t.a, "rx", "what the primary's guest has sent")

    def check(self, bench):
        _end(self.tcp, "TCP")
        # the client is on the same host as the guest now: nothing cuts on the way
        self._large(bench.at, "rx", "what the survivor's guest has sent")
        self._large(bench.at, "tx", "what came to the survivor's guest")
