# SPDX-License-Identifier: GPL-2.0
"""ftd's configuration file: what is taken, what is refused, and in which line."""
import json
import os
import re
import subprocess

from world import BROKEN, listens, need, need_match, test, wait_for


def run(w, program, *words):
    done = subprocess.run([*w.wrap, os.path.join(w.build, program), *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False)
    need(done.returncode >= 0 and done.returncode not in BROKEN, f"{program} broke: {done.stderr}")
    return done.returncode, done.stdout, done.stderr


def write(w, text, name="ftd.conf", mode=0o644):
    with open(w.path(name), "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text)
    os.chmod(w.path(name), mode)
    return w.path(name)


DEFAULTS = {"ftd": {}, "metrics": {}, "link": {"timeout-ms": 0}, "fence": {"timeout-s": 30, "shared-unfenced": False}, "guests": {"start": False, "protect-again": False, "standby": [], "standby-after-s": 30, "protect-again-at-once": 2},
            "arbiter": {"type": 0, "endpoints": [], "timeout-ms": 2000, "lease-s": 86400, "host-id": 0, "solo": False}}
DEVICE = {"guest": "web", "readonly": False, "discard": False, "shared": False, "configured": True}


@test
def configuration_taken(w):
    """As it is written by hand: indented, with comments, in any order."""
    hook, secret = write(w, "#!/bin/sh\n", "hook", 0o755), write(w, "pw\n", "secret", 0o640)
    for text, want in (
            ("", {}), ("\n# a\n ; b\n[ftd]\n[fence]\n[arbiter]", {}),
            ("[ftd]\ncontrol=/c\r\n\tlisten = [::1]:70  \nstate = /a dir/s#1\n",
             {"ftd": {"control": "/c", "listen": "[::1]:70", "state": "/a dir/s#1"}}),
            ("[arbiter]\ntype = file\npath = /mnt/a b\nlease-s = 60\n[fence]\n[arbiter]\nwhen-unreachable = solo",
             {"arbiter": {"type": 1, "path": "/mnt/a b", "lease-s": 60, "solo": True}}),
            (f"[arbiter]\nendpoints = https://a:1/ ,http://[::1]:2\ntype=etcd\nuser = u\npassword-file = {secret}\n"
             "timeout-ms = 00500",
             {"arbiter": {"type": 2, "endpoints": ["https://a:1", "http://[::1]:2"], "user": "u",
                          "password-file": secret, "timeout-ms": 500}}),
            (f"[arbiter]\ntype = etcd\nendpoints = https://{'a' * 300}\ncert = {hook}\nkey = {secret}\nca = {hook}",
             {"arbiter": {"type": 2, "endpoints": ["https://" + "a" * 300], "cert": hook, "key": secret,
                          "ca": hook}}),
            ("[metrics]\nlisten = 127.0.0.1:9710\n[ftd]\nlisten = :1",
             {"metrics": {"listen": "127.0.0.1:9710"}, "ftd": {"listen": ":1"}}),
            ("[metrics]\nlisten = unix:/run/m.sock", {"metrics": {"listen": "unix:/run/m.sock"}}),
            ("[arbiter]\ntype = manual\npath = /for/later\nwhen-unreachable = freeze",
             {"arbiter": {"path": "/for/later"}}),
            ("[guests]\nstart = yes\nprotect-again = no\nstandby = b, [::1]:70 ,c:7\nstandby-after-s = 0\nprotect-again-at-once = 1000",
             {"guests": {"start": True, "standby": ["b", "[::1]:70", "c:7"], "standby-after-s": 0, "protect-again-at-once": 1000}}),
            ("[link]\ntimeout-ms = 200\n[arbiter]\ntimeout-ms = 300",
             {"link": {"timeout-ms": 200}, "arbiter": {"timeout-ms": 300}}),
            (f"[guests]\nstandby = {'h' * 104}:70", {"guests": {**DEFAULTS["guests"], "standby": ["h" * 104 + ":70"]}}),
            ("[link]\nsecond = [::1]:70", {"link": {"timeout-ms": 0, "second": "[::1]:70"}}),
            ("[link]\nsecurity = plain", {}), ("[link]\nca = {hook}\nsecurity = plain".format(hook=hook), {}),
            ("[fence]\nshared-disks = hook", {}), ("[fence]\nshared-disks = unfenced", {"fence": {"shared-unfenced": True}}),
            (f"[fence]\ntimeout-s = 3600\nhook = {hook}", {"fence": {"timeout-s": 3600, "hook": hook}}),
            ("[device d0]\nguest = web\nkind = blk\nno = 0\nsocket = /s/d 0\nfile = /i\nreadonly = yes\nshared = yes\n"
             "[ftd]\ncontrol = /c\n[device n]\nkind=net\ntap=t\nguest=web\nno=1\nsocket=/s/n\nuser = root\ndiscard = no",
             {"ftd": {"control": "/c"}, "devices": [
                 {**DEVICE, "name": "d0", "kind": "blk", "no": 0, "socket": "/s/d 0", "file": "/i", "readonly": True,
                  "shared": True},
                 {**DEVICE, "name": "n", "kind": "net", "no": 1, "socket": "/s/n", "tap": "t", "user": "root", "uid": 0}]})):
        conf = write(w, text)
        code, out, err = run(w, "ftd", "--check", "--config", conf)
        need((code, out, err) == (0, f"{conf}: good\n", ""), f"{text!r}: {code} {out}{err}")
        got = json.loads(run(w, "arbiter-tool", conf)[1])
        need(got.pop("devices") == want.get("devices", []), f"{text!r}: {got}")
        need(got == {name: {**part, **want.get(name, {})} for name, part in DEFAULTS.items()}, f"{text!r}: {got}")


@test
def configuration_of_sanlock(w):
    """Where ftd is built with it; else that is said."""
    good = "[arbiter]\ntype = sanlock\npath = /dev/disk/by-id/x\nhost-id = 2000\n"
    code, _, err = run(w, "arbiter-tool", write(w, good))
    if code:
        need_match(r"ftd\.conf:2: type = sanlock: this ftd was built without sanlock; build it anew where libsanlock-dev", err)
        return
    got = json.loads(run(w, "arbiter-tool", write(w, good))[1])["arbiter"]
    need(got == {**DEFAULTS["arbiter"], "type": 3, "path": "/dev/disk/by-id/x", "host-id": 2000}, f"{got}")
    for missing, pattern in (("path = /dev/disk/by-id/x\n", "2: type = sanlock has no path; add path = DEVICE"),
                             ("host-id = 2000\n", "2: type = sanlock has no host-id; add host-id = NUMBER"),
                             ("2000", "4: host-id has no value")):
        code, _, err = run(w, "arbiter-tool", write(w, good.replace(missing, "")))
        need(code == 1, f"it is taken without {missing}")
        need_match(r"ftd\.conf:" + pattern, err)
    for number in ("0", "2001"):
        _, _, err = run(w, "arbiter-tool", write(w, good.replace("2000", number)))
        need_match("4: host-id = .*give a number from 1 to 2000", err)
    code, _, err = run(w, "arbiter-tool", write(w, good + "endpoints = https://a:1\n"))
    need_match("5: endpoints is not for an arbiter of type sanlock; say type = etcd", err)


@test
def configuration_refused(w):
    """Each error, alone, with its line."""
    hook, plain = write(w, "#!/bin/sh\n", "hook", 0o755), write(w, "x\n", "plain")
    secret, empty = write(w, "pw\n", "secret", 0o600), write(w, "", "empty", 0o600)
    etcd = "[arbiter]\ntype = etcd\nendpoints = https://a:1\n"
    disk = "[device d]\nguest = web\nkind = blk\nno = 0\nsocket = /s\nfile = /i\n"
    for text, line, cause in (
            ("[arbitr]\ntype = file", 1, r"no section \[arbitr\]; there are "
             r"\[arbiter\], \[fence\], \[link\], \[guests\], \[ftd\], \[metrics\], \[device NAME\]$"),
            ("[nix]", 1, r"no section \[nix\]"),
            ("[ftd", 1, "is no section; say"), ("[ftd] # x", 1, "is no section; say"),
            ("\n\nlisten = :1", 3, r"listen is in no section; say one of .*\[ftd\]"),
            ("[ftd]\nlisten", 2, '"listen" makes no sense; say'), ("[ftd]\n= 1", 2, '"= 1" makes no sense'),
            ("[ftd]\nlisten: 1", 2, "makes no sense"),
            ("[ftd]\nlissen = :1", 2, r"\[ftd\] has no key lissen; see ftd"),
            ("[ftd]\nhook = /x", 2, r"has no key hook; it belongs to \[fence\]"),
            ("[ftd]\nlisten =", 2, "listen has no value; give"),
            ("[ftd]\nlisten = :1\n\nlisten = :2", 4, "given in line 2 already; leave"),
            ("[ftd]\nlisten = :1 # all", 2, "a comment behind a value; give"),
            ("[ftd]\nlisten = a:b", 2, "listen = a:b is no address; say"),
            ("[metrics]\nlisten = localhost", 2, "listen = localhost is no place for metrics; say"),
            ("[metrics]\nlisten = unix:m.sock", 2, "is no place for metrics; say"),
            ("[metrics]\nlisten = :x", 2, "is no place for metrics; say"),
            ("[metrics]\nport = 1", 2, r"\[metrics\] has no key port"),
            ("[ftd]\ncontrol = c", 2, "not an absolute path; begin"),
            ('[ftd]\nstate = "/c"', 2, "not an absolute path; begin it with a slash, without quotes"),
            ("[ftd]\nlisten = \033[7m", 2, "a control character.*take it out"),
            ("[ftd]\nlisten = \0", 2, "a NUL.*take it out"),
            ("[arbiter]\ntype = zookeeper", 2, "no arbiter of type zookeeper; say manual, file, etcd or sanlock"),
            ("[arbiter]\ntype = file", 2, "has no path; add"),
            ("[arbiter]\ntype = etcd", 2, "has no endpoints; add"),
            ("[arbiter]\npath = /x", 2, "path is not for an arbiter of type manual; say type = file"),
            ("[arbiter]\nendpoints = http://x", 2, "not for an arbiter of type manual; say type = etcd"),
            ("[arbiter]\ntype = file\npath = /x\nendpoints = http://x", 4, "not for an arbiter of type file"),
            (etcd + "path = /x", 4, "path is not for an arbiter of type etcd"),
            ("[arbiter]\nhost-id = 5", 2, "host-id is not for an arbiter of type manual; say type = sanlock"),
            (etcd + "host-id = 5", 4, "host-id is not for an arbiter of type etcd; say type = sanlock"),
            (etcd.replace("https", "ftp"), 3, "is no endpoint of etcd; say"),
            (etcd.replace("a:1", "a:1,"), 3, '"" is no endpoint'), (etcd.replace("a:1", "a/v3"), 3, "is no endpoint"),
            (etcd.replace("a:1", "u:p@a"), 3, "is no endpoint"), (etcd.replace("a:1", ""), 3, "is no endpoint"),
            (etcd + "user = u", 4, "user is of no use without password-file"),
            (etcd + f"password-file = {secret}", 4, "of no use without user"),
            (etcd + f"cert = {plain}", 4, "cert is of no use without key"),
            (etcd + f"key = {secret}", 4, "key is of no use without cert"),
            (etcd.replace("https", "http") + f"ca = {plain}", 3, "without TLS.*say https"),
            (etcd + f"ca = {w.path('nix')}", 4, "can't be read: No such file.*; make that file"),
            (etcd + f"ca = {w.dir}", 4, "is no file; give"),
            (etcd + f"user = u\npassword-file = {plain}", 5, "open to all users .mode 0644.; chmod o="),
            (etcd + f"cert = {plain}\nkey = {plain}", 5, "open to all users"),
            (etcd + f"user = u\npassword-file = {empty}", 5, "is empty; write"),
            ("[arbiter]\ntimeout-ms = 99", 2, "give a number from 100 to 60000"),
            ("[arbiter]\ntimeout-ms = 1s", 2, "give a number"), ("[arbiter]\ntimeout-ms = -5", 2, "give a number"),
            ("[arbiter]\nlease-s = 99999999999999999999999", 2, "give a number"),
            ("[arbiter]\nwhen-unreachable = never", 2, "is no choice; say freeze or solo"),
            ("[link]\nsecurity = ssl", 2, "no security = ssl; say tls, psk or plain"),
            ("[link]\nsecurity = psk", 2, "security = psk has no psk-file; add psk-file = FILE"),
            (f"[link]\npsk-file = {secret}", 2, "psk-file is of no use without security; add security = psk"),
            (f"[link]\nsecurity = psk\npsk-file = {plain}", 3, "open to all users .mode 0644.; chmod o="),
            (f"[link]\nsecurity = tls\nca = {plain}\ncert = {plain}", 2, "security = tls has no key; add key = FILE"),
            (f"[link]\nsecurity = tls\nca = {plain}\ncert = {plain}\nkey = {plain}", 5, "open to all users"),
            (f"[link]\nsecurity = psk\npsk-file = {secret}\npeer-name = x", 4,
             "peer-name is not for security = psk; say security = tls, or leave it out"),
            ("[arbiter]\npeer-name = x", 2, r"has no key peer-name; it belongs to \[link\]"),
            ("[link]\nsecond = :7", 2, "second = :7 is no host; say HOST"),
            *((f"{text}b\udce4r:1", line, r"b\?r:1 is not UTF-8; write it so") for text, line in (
                ("[link]\nsecond = ", 2), ("[guests]\nstandby = a, ", 2),
                ("[ftd]\nstate = /", 2), (etcd.replace("a:1\n", ""), 3))),
            ("[link]\ntimeout-ms = 199", 2, "give a number from 200 to 600000"),
            (f"[fence]\nhook = {plain}", 2, "can't be run.*chmod a.x"),
            ("[fence]\nshared-disks = yes", 2, "shared-disks = yes is no choice; say hook or unfenced"),
            ("[guests]\nstart = maybe", 2, "start = maybe is no choice; say yes or no"),
            ("[guests]\nstandby = a,,b", 2, '"" is no host; say'),
            ("[guests]\nstandby = :70", 2, "is no host; say"),
            (f"[guests]\nstandby = {'h' * 105}:70", 2, "is longer than 107 bytes; say the host's address"),
            ("[guests]\nprotect-again-at-once = 0", 2, "give a number from 1 to 1000"),
            ("[guests]\nstandby-after-s = 86401", 2, "give a number from 0 to 86400"),
            ("[fence]\nhook = sh", 2, "not an absolute path"),
            (f"[fence]\nhook = {w.dir}", 2, "is no file"),
            ("[fence]\nhook = /nix/nix", 2, "can't be run: No such file"),
            ("[fence]\ntimeout-s = 5", 2, "of no use without hook"),
            (f"[fence]\nhook = {hook}\ntimeout-s = 0", 3, "give a number from 1 to 3600"),
            ("[device]", 1, r"no section \[device\]; there are"), ("[device ../d]", 1, "is no device's name; say"),
            (disk + "[device d]", 7, r"a \[device d\] already; leave"),
            (disk + "no = 1", 7, "no is given in this section already; leave"),
            (disk + "size = 1", 7, "no key size; see"), (disk + "readonly =", 7, "readonly has no value; give"),
            (disk + "shared = on", 7, "shared = on is no choice; say yes or no"),
            (disk + "user = no such", 7, "is no user of this host; correct"),
            (disk + "tap = t", 1, "a disk has a file, a card has a tap; leave"),
            (disk.replace("no = 0", "no = 256"), 4, "no = 256 is no device's number; give"),
            (disk.replace("no = 0", "no = +1"), 4, "is no device's number; give"),
            (disk.replace("no = 0", "no = 99999999999999999999"), 4, "is no device's number; give"),
            (disk.replace("guest = web", "# none"), 1, "which guest's is it.*; see ftd"),
            (disk.replace("blk", "tape"), 1, "is of kind blk or net; see ftd"),
            (disk.replace("file = /i", "# none"), 1, "needs .file.*; see ftd"),
            (disk.replace("/s", "s"), 1, "absolute paths; see ftd"),
            (disk + disk.replace("d]", "e]").replace("/s", "/t"), 7, "d and e have the same guest and number; give"),
            (disk + disk.replace("d]", "e]").replace("no = 0", "no = 1"), 7, "d and e have the same socket; give")):
        conf = write(w, text)
        code, out, err = run(w, "ftd", "--check", "--config", conf)
        need(code == 1 and not out, f"{text!r}: ended with {code}, said {out}{err}")
        need(len(err.splitlines()) == 1, f"{text!r}: not one error: {err}")
        need_match(f"^{re.escape(conf)}:{line}: .*{cause}", err)
        need("; " in err, f"no remedy: {err}")


@test
def configuration_says_all(w):
    conf = write(w, "x\n[ftd]\nlisten = a:b\nfoo = 1\n[arbiter]\ntype = file\ntimeout-ms = 0\n[fance]\nhook = 1\n")
    code, _, err = run(w, "ftd", "--check", "--config", conf)
    lines = [int(line.split(":")[1]) for line in err.splitlines()]
    need(code == 1 and lines == [1, 3, 4, 7, 8, 6], f"errors in lines {lines}: {err}")
    code, _, err = run(w, "ftd", "--config", conf, "--control", w.path("c"))
    need(code == 1 and len(err.splitlines()) == len(lines), f"it runs, or says less: {err}")
    for path, cause in ((w.path("nix"), "No such file"), (w.dir, "Is a directory")):
        for words in (("--check",), ("--control", w.path("c"))):
            code, _, err = run(w, "ftd", "--config", path, *words)
            need(code == 1, f"it runs without {path}")
            need_match(f"{re.escape(path)}: cannot be read: {cause}.*; correct the path", err)


@test
def configuration_and_options(w):
    """What is in the file holds, unless an option says something else."""
    conf = write(w, f"[ftd]\ncontrol = {w.path('conf.sock')}\nlisten = 127.0.0.1:0\nstate = {w.path('list')}\n")
    first = w.start([*w.wrap, os.path.join(w.build, "ftd"), "--config", conf], stderr=subprocess.PIPE)
    wait_for(lambda: listens(w.path("conf.sock")) or first.poll() is not None, "ftd comes up")
    need(w.ask(w.path("conf.sock"), {"cmd": "info"})["ok"], "ftd does not answer where the file says")
    first.terminate()
    need(first.wait(60) == 0, f"ftd ended with {first.returncode}")
    second = w.ftd("option", "--config", conf)
    need(second.ask(cmd="info")["ok"], "ftd does not answer where the option says")
    need(not listens(w.path("conf.sock")), "the file went before the option")
