# SPDX-License-Identifier: GPL-2.0
"""Tests of devices: how they are added, kept and taken away, and whose they are."""
import fcntl
import os
import pwd
import signal
import socket
import stat

from devices import GET_FEATURES, Devices, ask_config, sent_away
from world import need, need_match, test, wait_for


@test
def device_orders(w):
    ftd = w.ftd()
    image = w.path("image")
    with open(image, "w", encoding="ascii") as file:
        file.write("a disk")
    os.symlink(image, w.path("link"))
    good = {"cmd": "device-add", "name": "d0", "guest": "web", "kind": "blk", "no": 0,
            "socket": w.path("d0"), "file": image}
    for change, why in (({"name": "../x"}, "device's name"), ({"name": 5}, "device's name"),
                        ({"guest": None}, "which guest"), ({"kind": "tape"}, "blk or net"),
                        ({"no": 256}, "0 to 255"), ({"no": -1}, "0 to 255"), ({"no": "0"}, "0 to 255"),
                        ({"socket": "relative"}, "absolute"), ({"socket": "/" + "x" * 200}, "socket"),
                        ({"socket": "/nonexistent/dir/x"}, "cannot listen"), ({"file": "image"}, "absolute"),
                        ({"file": ""}, "file"), ({"kind": "net"}, "tap"),
                        ({"kind": "net", "tap": "t", "readonly": True}, "only a disk"),
                        ({"kind": "net", "tap": "t", "shared": True}, "only a disk"),
                        ({"readonly": True, "discard": True}, "discards nothing"),
                        ({"user": "nobody"}, "needs a .uid"), ({"user": "nobody", "uid": -1}, "needs a .uid"),
                        ({"user": "", "uid": 0}, "needs .user"),
                        ({"socket": image, "file": w.path("d0")}, "is there, and is no socket"),
                        ({"socket": w.path("link")}, "is there, and is no socket"),
                        ({"socket": ftd.control}, "another ftd")):
        answer = ftd.ask(**{**good, **change})
        need_match(why, answer.get("error", f"taken: {change}"))
    need(w.text(image) == "a disk" and os.path.islink(w.path("link")), "a file is lost")
    need(ftd.ask(cmd="devices")["devices"] == [], "one of them is remembered")
    need(ftd.ask(**good)["ok"], "the good one is refused")
    mode = stat.S_IMODE(os.stat(w.path("d0")).st_mode)
    need(mode == 0o600, f"the socket's mode is {mode:o}")
    for change, why in (({}, "already"), ({"name": "d1"}, "is the socket of device d0"),
                        ({"name": "d1", "socket": w.path("d1")}, "number 0 already")):
        need_match(why, ftd.ask(**{**good, **change})["error"])
    if not os.geteuid():
        given = pwd.getpwnam("nobody").pw_uid
        w.ftctl("device", "add", "d2", "guest", "web", "kind", "blk", "no", "2", "socket", "d2", "file",
                "image2", "user", "nobody", control=ftd.control, check=0)
        need(os.stat(w.path("d2")).st_uid == given, "its user can't connect")
        need(stat.S_IMODE(os.stat(w.path("d2")).st_mode) == 0o600, "others can")
        need(ftd.ask(cmd="device-del", name="d2")["ok"], "d2 stays")
    need_match("no device nix", ftd.ask(cmd="device-del", name="nix")["error"])
    need_match("no device", ftd.ask(cmd="device-del")["error"])
    need_match("no device nix", w.ftctl("device", "show", "nix", control=ftd.control, check=1)[2])
    ftd.process.kill()
    ftd.process.wait()
    ftd = w.ftd()
    need([d["name"] for d in ftd.ask(cmd="devices")["devices"]] == ["d0"], "it is forgotten")


@test
def device_list_survives(w):
    """One that has no socket for a while is not forgotten, and it is as it was."""
    ftd = w.ftd()
    for number, name in enumerate(("sub/d0", "d1")):
        request = {"cmd": "device-add", "name": name[-2:], "guest": "web", "kind": "blk", "no": number,
                   "socket": w.path(name), "file": w.path(f"image{number}")}
        # Who has that number has no name here: ftd does not look for one.
        if number and not os.geteuid():
            request.update(user="whoever", uid=12345)
        need(ftd.ask(**request)["ok"], f"{name} is refused")

    def names():
        return [d["name"] for d in ftd.ask(cmd="devices")["devices"]]
    saved = ftd.control + ".devices"
    before, was = w.text(saved), os.stat(saved).st_ino
    ftd.process.kill()
    ftd.process.wait()
    os.unlink(w.path("sub/d0"))
    os.rmdir(w.path("sub"))
    with open(w.path("sub"), "wb"):
        pass
    ftd = w.ftd()
    need(names() == ["d0", "d1"], f"only {names()} are left")
    need_match("cannot listen on .*sub/d0.*trying on", ftd.log)
    need_match("trouble +cannot listen", w.ftctl("device", "show", "d0", control=ftd.control, check=0)[1])
    need(os.stat(saved).st_ino == was, "the list was written before it was read")
    need(os.geteuid() or os.stat(w.path("d1")).st_uid == 12345, "its user can't connect any more")
    need(ftd.ask(cmd="device-add", name="d2", guest="web", kind="blk", no=2, socket=w.path("d2"),
                 file=w.path("image2"))["ok"], "d2 is refused")
    need(ftd.ask(cmd="device-del", name="d2")["ok"], "d2 stays")
    need(w.text(saved) == before, f"the list is now {w.text(saved)}")
    os.unlink(w.path("sub"))
    wait_for(lambda: os.path.exists(w.path("sub/d0")), "d0 has its socket")
    wait_for(lambda: not ftd.ask(cmd="devices")["devices"][0]["trouble"], "its trouble is over")
    ftd.process.terminate()
    need(ftd.process.wait(60) == 0, "ftd did not end in order")


@test
def device_of_the_configuration(w):
    """It is there when ftd is; what is changed, goes or comes in the file does so at a reload, unless a QEMU
    has it; and what was added by hand stays."""
    def disk(name, no, more=""):
        return (f"[device {name}]\nguest = web\nkind = blk\nno = {no}\nsocket = {w.path(name)}\n"
                f"file = {image}\nreadonly = yes\n{more}")

    def configure(*parts):
        with open(conf, "w", encoding="ascii") as file:
            file.write("".join(parts))

    def reload(*parts):
        before = ftd.log.count("read again")
        configure(*parts)
        ftd.process.send_signal(signal.SIGHUP)
        wait_for(lambda: ftd.log.count("read again") > before, "the configuration is read again")

    def found():
        return {d["name"]: (d["no"], d.get("configured", False)) for d in ftd.ask(cmd="devices")["devices"]}

    image, conf = w.path("image"), w.path("conf")
    with open(image, "wb") as file:
        file.truncate(1 << 20)
    os.mkdir(w.path("module"))
    configure(disk("d0", 0), disk("d1", 1))
    ftd = w.ftd("ftd", "--config", conf, program="ftd-alone", env={"FTKVM_STANDIN": w.path("module")})
    wait_for(lambda: found() == {"d0": (0, True), "d1": (1, True)}, "they are there")
    need(ftd.ask(cmd="device-add", name="hand", guest="web", kind="blk", no=9, socket=w.path("hand"),
                 file=w.path("other"))["ok"], "it can't be added by hand")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(w.path("d0"))
        ask_config(client)
        reload(disk("d2", 2), disk("d1", 3))
        wait_for(lambda: found() == {"d0": (0, False), "d1": (3, True), "d2": (2, True), "hand": (9, False)},
                 "d1 is changed and d2 there; d0 is in use")
        need_match("device d0 is in use.*it stays.*ftctl device del d0", ftd.log)
        reload(disk("d2", 4), disk("d0", 5))
        wait_for(lambda: found() == {"d0": (0, True), "d2": (4, True), "hand": (9, False)}, "d1 goes, d2 is changed")
        need_match("device d0 is in use.*it is not changed; do that, and reload", ftd.log)
    wait_for(lambda: not ftd.ask(cmd="devices")["devices"][0]["connected"], "its QEMU is gone")
    reload(disk("d0", 5), disk("hand", 9))
    wait_for(lambda: found() == {"d0": (5, True), "hand": (9, True)}, "d0 is changed, and the other of the file's")
    # what is in the list and not in the file any more goes when ftd comes back
    ftd.process.kill()
    ftd.process.wait()
    configure(disk("hand", 9))
    ftd = w.ftd("ftd", "--config", conf, program="ftd-alone", env={"FTKVM_STANDIN": w.path("module")})
    wait_for(lambda: found() == {"hand": (9, True)}, "d0 is gone")
    configure("[device d0]\nno = 1")
    ftd.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "stays as it was" in ftd.log, "a bad file is refused")
    need(found() == {"hand": (9, True)}, f"a bad file changes something: {found()}")


@test
def device_words_that_cannot_be_told(w):
    """Said before ftd is asked, as for other commands."""
    disk = ("device", "add", "d0", "guest", "web", "kind", "blk", "no", "0", "socket")
    broken = os.fsdecode(b"\xff")
    need_match("there is no user no such", w.ftctl(*disk, "s", "file", "f", "user", "no such", check=1)[2])
    need_match("cannot tell ftd the path", w.ftctl(*disk, broken, "file", "f", check=2)[2])
    need_match("cannot tell ftd the path", w.ftctl(*disk, "s", "file", broken, check=2)[2])
    need_match("cannot tell ftd the tap", w.ftctl(*disk[:6], "net", "no", "0", "socket", "s", "tap", broken,
                                                  check=2)[2])


@test
def device_that_the_module_has_still(w):
    """Of a QEMU that lives and is not connected: it is not gone, and no other can be made of it."""
    d = Devices(w)
    d.disk("d0")
    process = w.start(["sleep", "600"])
    d.module("d0", f"{process.pid} 0 1 2048 0")
    need_match(f"has device d0 still, for process {process.pid}", d.device("del", "d0", check=1))
    # ftd has lost its list.
    d.ftd.process.kill()
    d.ftd.process.wait()
    os.unlink(d.ftd.control + ".devices")
    d.start()
    need(d.ftd.ask(cmd="devices")["devices"] == [], "it has not")
    need_match(f"d0: disk 0 of process {process.pid}, which ftd does not know.*device add d0", d.device("show"))
    need(d.show("d0")["known"] is False and d.show("d0")["pid"] == process.pid, f"{d.show('d0')}")
    words = ("guest", "web", "kind", "blk", "socket", "d0", "file")
    with open(d.image, "rb") as image, open(w.path("other"), "wb") as other:
        fcntl.flock(image, fcntl.LOCK_EX)	# as the module's open file has it
        other.truncate(1 << 20)
        need_match("has another device d0 .blk 0, of process", d.device("add", "d0", "no", "1", *words, d.image,
                                                                       check=1))
        need_match("has another device d0", d.device("add", "d0", "no", "0", *words, d.image, "readonly",
                                                     check=1))
        need_match("d0 of another file", d.device("add", "d0", "no", "0", *words, "other", check=1))
        need(d.ftd.ask(cmd="devices")["devices"] == [], "one of them is taken")
        d.device("add", "d0", "no", "0", *words, d.image)
    process.kill()
    process.wait()
    need_match("is gone", d.device("del", "d0"))


@test
def device_of_a_pair_is_another(w):
    """What the module does not give back is what it is, whatever ftd's list says."""
    d = Devices(w)
    d.disk("d0")
    d.module("busy", "")
    d.module("d0", f"{os.getpid()} 7 1 2048 0")
    sent_away(d.connect("d0", GET_FEATURES), "it is taken for another")
    need_match("the kernel module has another device d0", d.show("d0")["trouble"])
    d.module("d0", f"{os.getpid()} 0 1 2048 0")
    with d.connect("d0") as client:
        need(ask_config(client)[1]["capacity"] == 2048, "it is not taken over")


@test
def device_images_are_their_own(w):
    """One image is no two disks, by whatever name, unless nobody writes to it."""
    d = Devices(w)
    d.disk("d0")
    words = ("guest", "other", "kind", "blk", "no", "0", "socket", "d1", "file")
    os.symlink(d.image, w.path("link"))
    os.link(d.image, w.path("hard"))
    for file in (d.image, "link", "hard", "./image"):
        for more in ((), ("readonly",)):
            need_match("disk of device d0 already", d.device("add", "d1", *words, file, *more, check=1))
    d.device("add", "d1", *words, "not-yet-there")
    d.device("del", "d0")
    d.device("del", "d1")
    d.disk("d0", "readonly")
    need_match("disk of device d0 already", d.device("add", "d1", *words, "link", check=1))
    d.device("add", "d1", *words, "link", "readonly")
    with d.connect("d0", GET_FEATURES) as one, d.connect("d1", GET_FEATURES) as two:
        need(len(one.recv(20)) == 20 and len(two.recv(20)) == 20, "only one can read it")


@test
def device_is_its_guests(w):
    """A process that is not the attached guest's QEMU: also while an operation has that guest."""
    d = Devices(w)
    d.disk("d0")
    d.module("guests", "")
    monitor = d.qemu()
    mine = f"process {os.getpid()} .* not the QEMU of guest web"
    # Who came before it is seen when the guest is attached.
    with d.connect("d0", GET_FEATURES) as early:
        need(len(early.recv(20)) == 20, "it does not serve who comes before the guest")
        d.ftctl("attach", "web", "--qmp", monitor)
        sent_away(early, "it has it still")
    wait_for(lambda: not d.show("d0")["connected"], "it is let go of")
    need_match(mine.replace(".*", "is"), d.show("d0")["trouble"])
    d.ftd.process.terminate()
    d.ftd.process.wait(60)
    d.start()
    d.said("module: attach web")
    wait_for(lambda: "busy" not in d.ftd.ask(cmd="info")["guests"][0], "it is attached")
    d.module("slow", "")
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(d.ftd.control)
        control.sendall(b'{"cmd": "check", "name": "web"}\n')
        d.said("module: get web")
        need(d.ftd.ask(cmd="info")["guests"][0]["busy"] == "check", "it is not busy")
        sent_away(d.connect("d0", GET_FEATURES), "another's process has the disk")
        need_match(mine, d.show("d0")["trouble"])
        d.module("slow")
