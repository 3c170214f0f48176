# SPDX-License-Identifier: GPL-2.0
"""Disks that the module serves, over vhost-user: written in lockstep, kept by the survivor."""
import re
import shlex

from harness import SLACK, add, need, need_match, test	# noqa: F401
from ftbed import device, pairing

BYTES = 16 << 20
SHARED = device.shared_memory(32)	# all of it is compared when a pair begins


class Disks:
    """A disk of the same name on each host, on an image of its own."""

    def __init__(self, t, name="disk", words=(), size=BYTES, full=None):
        """@full: the host, if any, where the image finds room for its first 2 MiB only."""
        self.begin(t, name, size, words)
        for host in t.hosts:
            if host.name == full:
                host.run(f"mkdir {self.small} && mount -t tmpfs -o size=2m none {self.small} && "
                         f"ln -sf {self.small}/image {self.image} && "
                         f"truncate -s {size} {self.image} && {self.disk.serve}")
            else:
                host.run(self.disk.add)

    def begin(self, t, name, size=BYTES, words=()):
        """What can be said before there are images."""
        self.t, self.name, self.size = t, name, size
        self.disk = device.Disk(name, pairing.NAME, 0, size, words)
        t.up()
        t.things.append(self)

    @property
    def small(self):
        return f"/run/{self.name}.small"

    @property
    def image(self):
        return self.disk.image

    @property
    def devices(self):
        return self.disk.arguments

    @property
    def arguments(self):
        return [*SHARED, *self.devices]

    def sum(self, host):
        return host.run(f"sha256sum < {self.image}").out.split()[0]

    def device(self, host):
        return self.t.json(host, "device", "show", self.name)[0]

    def kill(self, _signal):
        for host in self.t.hosts:
            if host.alive:
                host.run(f"{self.disk.delete}; "
                         f"[ ! -d {self.small} ] || {{ umount {self.small}; rmdir {self.small}; }}")


def _pair(t, disks, append):
    return t.pair("disk", append=append, extra=(disks.arguments, disks.arguments))


def _good_on_both(t, disks, pair, rounds, timeout=90):
    """Both replicas end well, and alike: (what they printed, the images' sum)."""
    end = rf"disk: good {rounds} rounds .*\n"
    pair.wait_live(t.a, end, timeout=timeout)
    pair.wait_shadow(t.b, end, timeout=timeout)
    text = pair.live(t.a).replace("\r", "")
    need(text == pair.shadow(t.b).replace("\r", ""), "the hosts printed different things")
    a, b = disks.sum(t.a), disks.sum(t.b)
    need(a == b, f"the images differ: {a} and {b}")
    return text, a


def _to_the_end(words):
    def run(t):
        disks = Disks(t)
        pair = _pair(t, disks, f"rounds=12 {words}")
        pair.join()
        _, image = _good_on_both(t, disks, pair, 12)
        need(image != t.a.run(f"head -c {BYTES} /dev/zero | sha256sum").out.split()[0],
             "nothing was written")
    return run


add("disk_interrupts", _to_the_end(""), timeout=240)
add("disk_polled", _to_the_end("poll"), timeout=240, more=1)
add("disk_reset", _to_the_end("reset indirect"), timeout=240, more=1)
add("disk_skid1000", _to_the_end(""), skid=1000, timeout=240, more=1)


@test(timeout=240, more=1)
def disk_discard(t):
    """Some is discarded, and some zeroed, by hand where the file system can't: alike on both."""
    disks = Disks(t, words=("discard",))
    pair = _pair(t, disks, "rounds=30 discard reset stay")
    pair.join()
    _good_on_both(t, disks, pair, 30)
    for host in t.hosts:
        _storage_is(disks, host, 0)


READONLY = ("readonly",)


def _fill(t, disks):
    """What the guest can't have written, the same on both; its sum."""
    for host in t.hosts:
        host.run(f"seq 3000000 | head -c {disks.size} | "
                 f"dd of={disks.image} bs=1M conv=notrunc iflag=fullblock status=none")
    return disks.sum(t.a)


@test(timeout=240, more=1)
def disk_readonly(t):
    """It is read, and what would be written ends with an error."""
    disks = Disks(t, words=READONLY)
    before = _fill(t, disks)
    pair = _pair(t, disks, "rounds=12 ro dirty stay")
    pair.join()
    _, after = _good_on_both(t, disks, pair, 12)
    need(after == before, "it was written")
    for host in t.hosts:
        _storage_is(disks, host, 0)


@test(timeout=240, more=1)
def disk_readonly_on_one_host(t):
    """The guest would see one thing here and another there."""
    disks = Disks(t)
    disks.disk.words = READONLY
    t.b.run(f"{disks.disk.delete}; {disks.disk.add}")
    pair = _pair(t, disks, ENDLESS)
    t.refused(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}",
              cause="devices differ", remedy="read-only and shared")


RINGS = ("loop", "range", "long", "zero", "indirect", "avail", "end", "wrap", "nested", "next",
         "head", "order", "bare", "short")


def _hostile(ring):
    """The guest's device breaks; hosts and pair don't, and a reset mends it."""
    def run(t):
        disks = Disks(t)
        pair = _pair(t, disks, f"rounds=4 hostile={ring} again wait=20")
        pair.join()
        text, _ = _good_on_both(t, disks, pair, 4)
        # not an answer, which a request without flaw would have had
        need(re.search(rf"disk: hostile {ring}: device [0-9a-f]+ used 0\n", text),
             f"it was served: {text[:300]!r}")
    return run


for ring in RINGS:
    add(f"disk_hostile_{ring}", _hostile(ring), timeout=240, more=ring != "loop")


def _killed(victim):
    def run(t):
        disks = Disks(t)
        pair = _pair(t, disks, "rounds=40")
        pair.join()
        pair.wait_live(t.a, r"(?:disk: \d+: .*\n){8}", timeout=90)
        survivor = t.b if victim == "a" else t.a
        t.hosts[victim].power_off()
        if victim == "a":
            pairing.promote(t.b)
        # it reads back all that it was ever told is written, and compares
        pair.wait_live(survivor, r"disk: good 40 rounds .*\n", timeout=120)
        if victim == "a":
            pair.one_machine(promoted=True)
    return run


add("disk_primary_killed", _killed("a"), timeout=300, kills=True)
add("disk_backup_killed", _killed("b"), timeout=300, kills=True)


ROUND = r"disk: \d+: .*\n"


def _restart_ftd(host):
    pairing.kill_daemon(host)
    pairing.start_daemon(host)


def _ftd_killed(side):
    """Its guest's disk stands still until the next ftd is there, and loses nothing."""
    def run(t):
        disks = Disks(t)
        pair = _pair(t, disks, "rounds=60")
        pair.join()
        for _ in range(3):
            mark = t.a.live.mark()
            need(t.a.live.wait_for(f"(?:{ROUND}){{3}}", 30 * SLACK, mark), "the guest stands still")
            _restart_ftd(t.hosts[side])
        _good_on_both(t, disks, pair, 60, timeout=120)
    return run


add("disk_ftd_killed_at_primary", _ftd_killed("a"), timeout=300, more=1)
add("disk_ftd_killed_at_backup", _ftd_killed("b"), timeout=300, more=1)


def _alone(t, rounds, meanwhile=lambda mark: None):
    mark = t.a.shadow.mark()
    one = t.lone("disk", append=f"rounds={rounds}", args=Disks(t).arguments)
    one.qmp("cont")
    meanwhile(mark)
    match = t.a.shadow.wait_for(r"disk: good .*\n|FAILED.*\n|CRASH.*\n", 30 * SLACK, mark)
    need(match and "good" in match[0], f"the guest printed {t.a.shadow.text(mark)[-300:]!r}")
    need(one.ends_soon(20), "the guest does not end")


@test(timeout=240, hosts=1)
def disk_alone(t):
    """A guest that is not attached has its disk, too."""
    _alone(t, 12)


@test(timeout=240, hosts=1, more=1)
def disk_alone_ftd_killed(t):
    def meanwhile(mark):
        need(t.a.shadow.wait_for(f"(?:{ROUND}){{3}}", 20 * SLACK, mark), "the guest stands still")
        _restart_ftd(t.a)
    _alone(t, 40, meanwhile)


@test(timeout=300, more=1)
def disk_ftd_killed_before_pairing(t):
    """QEMU finds its way back to the disk while the guest begins."""
    disks = Disks(t)
    pair = _pair(t, disks, "rounds=12")
    _restart_ftd(t.a)
    pair.wait_taken_up(t.a)
    pair.join()
    _good_on_both(t, disks, pair, 12, timeout=60)


# --- ftctl verify --disks ----------------------------------------------------

ENDLESS = "rounds=0"
LARGE = 16 << 30	# sparse: to be read for longer than a test lasts
SPOILED = 8 << 20	# the guest uses the first and the last 2 MiB
ROUNDS = f"(?:{ROUND}){{3}}"


def _lockstep(t, pair):
    pair.join()
    pair.wait_live(t.a, ROUNDS, timeout=90)


def _goes_on(t, host):
    mark = host.live.mark()
    need(host.live.wait_for(ROUNDS, 30 * SLACK, mark), "the guest stands still")


@test(timeout=240)
def disk_verify(t):
    """The same, whatever is written meanwhile; piece by piece, on both hosts."""
    disks = Disks(t)
    pair = _pair(t, disks, "rounds=60")
    _lockstep(t, pair)
    answer = t.json(t.a, "verify", pair.label, "--disks")
    need(answer == {"same": True, "bytes": BYTES,
                    "disks": [{"name": "disk", "no": 0, "bytes": BYTES}], "shared": 0}, f"{answer}")
    need_match("both hosts' images of 1 disk are the same", t.ftctl(
        t.a, "verify", pair.label, "--disks").out, "verify for people")
    for host in t.hosts:
        seen = pair.stats(host)
        need(seen["disk_bytes"] == 2 * BYTES, f"host {host.name}: {seen['disk_bytes']} bytes")
        need(not seen["divergences"] and not seen["disk_given_up"], f"host {host.name}: {seen}")
    need(pair.stats(t.a)["disk_verifies"] == 2, "how often")
    _goes_on(t, t.a)
    _good_on_both(t, disks, pair, 60, timeout=120)


def _spoiled(host_name):
    """One byte that the guest never touches: the block is named, the primary goes on."""
    def run(t):
        disks = Disks(t)
        pair = _pair(t, disks, ENDLESS)
        _lockstep(t, pair)
        t.hosts[host_name].run(f"printf x | dd of={disks.image} bs=1 seek={SPOILED + 1234} "
                               "conv=notrunc status=none")
        text = t.refused(t.a, "verify", pair.label, "--disks", cause="disks are not the same",
                         remedy=f"device disk: .* 4096 bytes at {SPOILED}")
        need("diverged" not in text or str(SPOILED) in text, text)
        pair.wait_state(t.b, "stopped", timeout=60)
        need_match(f"4096 bytes at {SPOILED}", pair.no_detail_lost(t.b, "diverged"), "the detail")
        pair.wait_state(t.a, "solo")
        _goes_on(t, t.a)
    return run


add("disk_verify_spoiled_backup", _spoiled("b"), timeout=240, more=1)
add("disk_verify_spoiled_primary", _spoiled("a"), timeout=240, more=1)


def _verify_in_background(t, pair):
    """ftctl on the primary's host, for as long as it takes: its process."""
    ftctl = shlex.quote(pairing.paths.ftctl())
    pid = t.a.run(f"{{ {ftctl} verify {pair.label} --disks; echo status $?; }} "
                  "> /run/verify.out 2>&1 < /dev/null & "
                  f"n=0; until pidof -s ftctl; do n=$((n+1)); [ $n -lt 100 ]; sleep 0.1; done").out
    before = pair.stats(t.a)["disk_bytes"]
    end = t.hosts.now() + 60
    while pair.stats(t.a)["disk_bytes"] <= before:
        need(t.hosts.now() < end, "nothing is compared")
    return int(pid)


def _verify_said(t, timeout=60):
    return t.a.run(f"n=0; until grep -q status /run/verify.out; do n=$((n+1)); "
                   f"[ $n -lt {timeout * 10} ] || break; sleep 0.1; done; cat /run/verify.out").out


@test(timeout=240, more=1)
def disk_verify_interrupted(t):
    """A long one shows that it is under way, ends by a signal, and can begin again."""
    disks = Disks(t, size=LARGE)
    pair = _pair(t, disks, ENDLESS)
    _lockstep(t, pair)
    for times in (1, 2):
        pid = _verify_in_background(t, pair)
        t.refused(t.a, "verify", pair.label, "--disks", cause="being compared already")
        t.a.run(f"kill -INT {pid}")
        said = _verify_said(t)
        need_match("interrupted before all was compared", said, "what it says")
        need("status 1" in said, said)
        need(pair.stats(t.a)["disk_given_up"] == times, f"{pair.stats(t.a)}")
    need(0 < pair.stats(t.b)["disk_bytes"] < LARGE, "the backup compared nothing")
    _goes_on(t, t.a)
    pair.one_machine()


@test(timeout=240, more=1)
def disk_verify_driver_resets(t):
    """What is in the FIFO is forgotten there, on both: no result, and no divergence."""
    disks = Disks(t, size=LARGE)
    pair = _pair(t, disks, f"{ENDLESS} reset")
    _lockstep(t, pair)
    end = t.hosts.now() + 120
    while pair.stats(t.a)["disk_given_up"] < 3:
        need(t.hosts.now() < end, "no comparison met a reset")
        # or it does not even begin, in the midst of one
        t.refused(t.a, "verify", pair.label, "--disks",
                  cause="can't be told: device disk was stopped|not started by the guest")
    _goes_on(t, t.a)
    pair.one_machine()


@test(timeout=240, kills=True, more=1)
def disk_verify_primary_killed(t):
    """A piece may be in the FIFO that the survivor takes over."""
    disks = Disks(t, size=LARGE)
    pair = _pair(t, disks, ENDLESS)
    _lockstep(t, pair)
    _verify_in_background(t, pair)
    t.a.power_off()
    pairing.promote(t.b)
    _goes_on(t, t.b)
    pair.one_machine(promoted=True)


@test(timeout=240, more=1)
def disk_verify_refused(t):
    disks = Disks(t)
    pair = _pair(t, disks, ENDLESS)
    t.refused(t.a, "verify", pair.label, "--disks", cause="is idle", remedy="no replica")
    _lockstep(t, pair)
    t.refused(t.b, "verify", pair.label, "--disks", cause="backup here", remedy="primary's host")
    t.refused(t.a, "verify", "nobody", "--disks", cause="no guest named|no replica")
    t.ftctl(t.a, "unpair", pair.label)
    pair.wait_state(t.a, "solo")
    t.refused(t.a, "verify", pair.label, "--disks", cause="is solo", remedy="no replica")


@test(more=1)
def disk_verify_without_disks(t):
    pair = t.pair("loop", append="rounds=100000 work=150")
    pair.join()
    pair.lockstep()
    t.refused(t.a, "verify", pair.label, "--disks", cause="no disk that ftkvm serves",
              remedy="ftctl device")
    pair.one_machine()


# --- a disk fails ------------------------------------------------------------

ENOSPC, EIO = 28, 5


def _failed_disks(t, pair):
    return [pair.status(host)["failed_disks"] for host in t.hosts]


def _storage_is(disks, host, error):
    """What ftctl says of its storage on this host."""
    seen = disks.device(host)
    if not error:
        need(seen["storage"] == "ok" and "failure" not in seen, f"host {host.name}: {seen}")
        return
    need(seen["storage"] == "failed" and seen["stats"]["failed"], f"host {host.name}: {seen}")
    need_match(f"at byte [0-9]+ came to error {error}", seen["failure"], "what failed")
    need(seen["meaning"], "what it means")
    need_match("FAILED on this host", disks.t.ftctl(host, "device").out, "for people")


def _told_on_both(t, disks, pair, told, error):
    """The primary's disk fails: its guest says so on both hosts, which remain a pair. What it says."""
    said = pair.wait_live(t.a, told, timeout=90)
    need(said[0] == pair.wait_shadow(t.b, told, timeout=90)[0], "they were told different things")
    pair.one_machine()
    pair.wait_state(t.a, "primary")
    pair.wait_state(t.b, "backup")
    _storage_is(disks, t.a, error)
    _storage_is(disks, t.b, 0)
    need(_failed_disks(t, pair) == [["disk"], []], f"{_failed_disks(t, pair)}")
    return said


def _given_up(t, disks, pair, what, error):
    """The backup's disk has failed: it is of no more use, and the primary goes on alone."""
    pair.wait_state(t.b, "stopped", timeout=90)
    pair.wait_state(t.a, "solo")
    for host in t.hosts:
        need_match(rf"backup's storage of device disk has failed \(a (?:{what}) at byte [0-9]+ came to "
                   rf"error {error}\)", pair.no_detail_lost(host, "storage"), f"{host.name}'s detail")
    _storage_is(disks, t.a, 0)
    _storage_is(disks, t.b, error)
    need(_failed_disks(t, pair) == [[], ["disk"]], f"{_failed_disks(t, pair)}")


@test(timeout=240)
def disk_fails_at_primary(t):
    """The guest is told the same on both hosts, and remains a pair."""
    disks = Disks(t, full="a")
    pair = _pair(t, disks, "rounds=0 stay")
    pair.join()
    _told_on_both(t, disks, pair, r"disk: told of an error: .*\n", ENOSPC)
    need_match("goes on with that on both hosts", t.ftctl(t.a, "status", pair.label, check=False).out,
               "the primary's status")


@test(timeout=240)
def disk_fails_at_backup(t):
    """It is of no more use; the guest is not told, and goes on with the primary's disk."""
    disks = Disks(t, full="b")
    pair = _pair(t, disks, ENDLESS)
    pair.join()
    _given_up(t, disks, pair, "write", ENOSPC)
    need_match("ftctl protect guest --peer", pair.status(t.b)["next_step"], "what to do")
    _goes_on(t, t.a)


def _unreadable(side):
    """An image that was cut can't be compared; the guest itself asks for nothing any more."""
    def run(t):
        disks = Disks(t)
        pair = _pair(t, disks, "rounds=4 stay")
        pair.join()
        _good_on_both(t, disks, pair, 4)
        t.hosts[side].run(f"truncate -s {SPOILED} {disks.image}")
        failed = rf"storage of device disk has failed \(a read at byte {SPOILED} came to error {EIO}\)"
        if side == "a":
            t.refused(t.a, "verify", pair.label, "--disks",
                      cause=rf"can't be told: the primary's {failed}")
            pair.wait_state(t.a, "primary")
            pair.wait_state(t.b, "backup")
        else:
            t.refused(t.a, "verify", pair.label, "--disks",
                      cause=rf"ended before all was compared.*the backup's {failed}")
            pair.wait_state(t.b, "stopped")
            pair.wait_state(t.a, "solo")
        for host in t.hosts:
            _storage_is(disks, host, EIO if host.name == side else 0)
    return run


add("disk_unreadable_at_primary", _unreadable("a"), timeout=240)
add("disk_unreadable_at_backup", _unreadable("b"), timeout=240, more=1)
