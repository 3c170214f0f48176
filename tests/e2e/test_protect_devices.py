# SPDX-License-Identifier: GPL-2.0
"""A guest that runs, with a disk, a network card, gets a backup: its disk's image comes along."""
from harness import Pair, need, need_match, test
from test_disk import BYTES, ROUNDS, SHARED, _goes_on
from test_net import MEMORY, Cards, _said
from test_protect import Live
from test_server import CLIENT, GUEST, Server, _answered, _said as lines_said
from ftbed import console, device, pairing, paths

ENDLESS = "rounds=0"
OTHER = 5 << 20		# somewhere that the guest does not touch


class LiveDevices(Live):
    """Its ftd have the devices before its QEMU comes, and forget them in the end."""

    def __init__(self, test, name, append, devices, memory=SHARED, **options):
        super().__init__(test, name, append, **options)
        self.devices = devices
        self.args = [*self.args, *memory, *(word for one in devices for word in one.arguments)]

    def _daemons(self):
        super()._daemons()
        for host in self.test.hosts:
            for one in self.devices:
                host.run(one.add)

    def close(self):
        Pair.close(self)
        for host in self.test.hosts:
            for one in self.devices if host.alive else ():
                host.run(one.delete)
        super().close()


def _live(t, *words, **options):
    pair = LiveDevices(t, *words, **options)
    t.things.append(pair)
    pair.start()
    return pair


def _sum(host, disk):
    return host.run(f"sha256sum < {disk.image}").out.split()[0]


def _disk(t, append=ENDLESS, **options):
    """A guest that writes to its disk on A, where B's image is full of something else."""
    disk = device.Disk("disk", pairing.NAME, 0, BYTES, **options)
    pair = _live(t, "disk", append, [disk])
    t.b.run(f"head -c {BYTES} /dev/urandom | dd of={disk.image} bs=1M conv=notrunc status=none")
    t.a.run(f"printf elsewhere | dd of={disk.image} bs=1 seek={OTHER} conv=notrunc status=none")
    pair.wait_live(t.a, ROUNDS, timeout=60)
    return pair, disk


def _same_disks(t, pair, host=None):
    answer = t.json(host or t.a, "verify", pair.label, "--disks")
    need(answer.get("same") is True, f"the images: {answer}")


@test(timeout=240, more=1)
def protect_disk(t):
    """It writes to its disk all the time; in the end both images are the same."""
    pair, disk = _disk(t)
    pair.protect()
    need(pair.state(t.a) == "primary", f"it is {pair.state(t.a)}")
    pair.wait_state(t.b, "backup")
    _goes_on(t, t.a)
    _same_disks(t, pair)
    pair.same()
    _goes_on(t, t.a)
    at = f"dd if={disk.image} bs=1 skip={OTHER} count=9 status=none"
    need(t.b.run(at).out == "elsewhere", "what the guest did not write is not there")


@test(timeout=240, more=1)
def protect_disk_no_downtime(t):
    """It may stand still for a millisecond only: it runs on, unprotected, and may be tried again."""
    pair, _ = _disk(t)
    result = pair.protect(downtime=1, check=False)
    need_match(r"stood still for 1 ms.*--downtime", result.out + result.err, "remedy")
    need(result.code == 1, f"exit status {result.code}")
    _goes_on(t, t.a)
    need(pair.state(t.a) == "idle", f"it is {pair.state(t.a)}")
    pair.wait_idle(t.a)
    pair.protect(downtime=60000)
    pair.wait_state(t.b, "backup")
    _same_disks(t, pair)


@test(timeout=240, kills=True)
def protect_disk_lose_primary(t):
    """The survivor reads what was written before it was there, and what was written since."""
    pair, disk = _disk(t)
    pair.protect()
    _goes_on(t, t.a)
    t.a.power_off()
    pairing.promote(t.b)
    _goes_on(t, t.b)
    _goes_on(t, t.b)
    need("FAILED" not in pair.live(t.b), "it does not read what it wrote")


class Network(Cards):
    """Cards' network; the card itself is the pair's."""

    def __init__(self, t, no=0):
        self.t, self.card = t, device.Card("card", pairing.NAME, no)
        for host, peer in ((t.a, t.b), (t.b, t.a)):
            host.run(device.network(host.address, peer.address))
        t.things.append(self)


@test(timeout=300, kills=True, more=1)
def protect_net(t):
    """A client that asks all the time has all its answers, before, behind, and of the survivor."""
    net = Network(t)
    pair = _live(t, "net", "", [net.card], memory=device.shared_memory(MEMORY))
    pair.wait_live(t.a, r"net: " + net.mac, timeout=60)
    client = net.client(t.b, 300, "--end", "--pause", "0.1")
    pair.wait_live(t.a, r"net: 50 frames", timeout=60)
    pair.protect()
    pair.goes_on(t.a, 2)
    t.a.power_off()
    pairing.promote(t.b)
    _said(client, 120)
    pair.wait_live(t.b, r"net: good \d+ frames.*\n", timeout=30)


@test(timeout=240, more=1)
def protect_other_disk(t):
    """The peer's is of another size: nothing has happened to the guest, and it is said."""
    disk = device.Disk("disk", pairing.NAME, 0, BYTES)
    pair = _live(t, "disk", ENDLESS, [disk])
    disk.size = BYTES + 65536
    t.b.run(f"{disk._delete}; {disk.add}")
    pair.wait_live(t.a, ROUNDS, timeout=60)
    result = pair.protect(check=False)
    need_match(f"{BYTES + 65536} bytes here, and {BYTES} there", result.out + result.err, "cause")
    _goes_on(t, t.a)
    need(pair.state(t.a) == "idle", f"it is {pair.state(t.a)}")
    need(not t.json(t.a, "device", "show", "disk")[0].get("trouble"), "its disk is in trouble")


@test(timeout=240, more=1)
def protect_disk_readonly(t):
    """What the guest can only read is not brought to the other host."""
    pair, disk = _disk(t, f"{ENDLESS} ro dirty", words=("readonly",))
    before = [_sum(host, disk) for host in t.hosts]
    need(before[0] != before[1], "the images are the same")
    pair.protect()
    pair.wait_state(t.b, "backup")
    _goes_on(t, t.a)
    after = [_sum(host, disk) for host in t.hosts]
    need(after == before, f"an image was written: {before} {after}")
    pair.same()


class LiveServer(Server):
    """Its disk has a file system on A, and B's image is empty."""

    def __init__(self, t, lines):	# pylint: disable=super-init-not-called
        self.t, self.at = t, t.b
        self.disks = device.Disk("disk", pairing.NAME, 0, BYTES)
        net = Network(t, no=1)
        t.b.run(f"ip address add {CLIENT}/24 dev {device.BRIDGE}")
        self.pair = _live(t, "server", f"ftdemo.lines={lines} ftdemo.disk=1 ftdemo.net={GUEST}/24",
                          [self.disks, net.card], memory=device.shared_memory(128), began=False)
        t.a.run(f"mkfs.ext4 -q {self.disks.image}")
        self.pair.begin(t.a)


@test(timeout=600, kills=True, more=1)
def protect_server(t):
    """Linux with a file system and a connection: both live on, and no line is lost."""
    server = LiveServer(t, 60)
    pair = server.pair
    server.wait_line(t.a, 1, 200)
    client = server.client(40)
    server.wait_line(t.a, 5, 120)
    pair.protect()
    server.wait_line(t.a, 20, 200)
    _same_disks(t, pair)
    t.a.power_off()
    pairing.promote(t.b)
    need(_answered(client, 120)["answers"] > 10, "the client had few answers")
    pair.wait_live(t.b, r"ftend .*\n", 120)
    consoles = [pair.live(host) for host in t.hosts]
    report = console.check(*consoles)
    need(report.ok, "; ".join(report.problems) or "no line")
    # its QEMU was ftd's: gone with the guest's end
    t.b.run("sleep 1; sync")
    server.check_disk(t.b, lines_said(*consoles))


@test(timeout=300, more=1)
def protect_disk_again(t):
    """What was a backup before is cleared away, and its image written anew."""
    pair, disk = _disk(t)
    pair.protect()
    _goes_on(t, t.a)
    t.ftctl(t.a, "unpair", pair.label)
    pair.wait_state(t.a, "solo")
    _goes_on(t, t.a)
    t.b.run(f"head -c 65536 /dev/urandom | dd of={disk.image} bs=64K seek=70 conv=notrunc status=none")
    pair.protect()
    pair.wait_state(t.b, "backup")
    _goes_on(t, t.a)
    _same_disks(t, pair)


@test(timeout=300, more=1)
def protect_disk_back(t):
    """The survivor's disk goes back to the host that the guest came from."""
    pair, _ = _disk(t)
    pair.protect()
    _goes_on(t, t.a)
    pairing.promote(t.b, force=True)
    pair.wait_state(t.b, "solo")
    _goes_on(t, t.b)
    pair.protect(t.b, t.a)
    pair.wait_state(t.a, "backup")
    _goes_on(t, t.b)
    _same_disks(t, pair, t.b)


def _protect_mended(t, pair):
    """Once ftd has seen to what the one before it left."""
    end = t.hosts.now() + 60
    while not isinstance(said := pair.protect(check=False), dict):
        need("busy" in said.err and t.hosts.now() < end, f"{said}")


@test(timeout=240)
def protect_disk_ftd_killed(t):
    """The one that copies: the guest runs on, and the next one begins anew."""
    pair, disk = _disk(t)
    # a connection that takes nothing more
    t.b.run("kill -STOP $(cat /run/ftd.pid)")
    job = t.job(t.a, " ".join([*map(str, (paths.ftctl(), "protect", pair.label, "--peer",
                                          f"{t.b.address}:{pairing.PORT}"))]) + " >&2")
    pairing.kill_daemon(t.a)
    t.b.run("kill -CONT $(cat /run/ftd.pid)")
    need(job.wait(30).code, "nobody was told")
    pairing.start_daemon(t.a)
    _goes_on(t, t.a)
    _protect_mended(t, pair)
    _goes_on(t, t.a)
    _same_disks(t, pair)
    need(t.json(t.b, "device", "show", disk.name)[0]["connected"], "its QEMU has no disk")
