# SPDX-License-Identifier: GPL-2.0
"""ftd as a user of its own: what it keeps, what it can do with that, and what it hands on."""
import os
import pwd
import re
import shutil
import stat
import subprocess

from configuration import run, write
from world import need, need_match, test, wait_for

USER = 61234	# nobody's
NEEDED = ("net_admin", "sys_ptrace", "dac_override", "chown")
NUMBERS = {"chown": 0, "dac_override": 1, "setuid": 7, "net_admin": 12, "sys_ptrace": 19, "sys_admin": 21}
UNIT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "ftd.service.in")


def as_user(*capabilities):
    """Words that run a command as the unit of systemd would."""
    words = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", f"--inh-caps={words}",
            f"--ambient-caps={words}"]


def user_test(function):
    """A test that has to be root to be somebody else, with programs where that one reaches them."""
    def tried(w):
        os.chmod(w.dir, 0o755)
        os.mkdir(w.path("bin"), 0o755)
        for name in ("ftd", "ftctl", "unit"):
            shutil.copy(os.path.join(w.build, name), w.path("bin"))
        w.build = w.path("bin")
        if os.geteuid() or not shutil.which("setpriv") or \
           subprocess.run([*as_user(*NEEDED), "setpriv", "--inh-caps=-all", os.path.join(w.build, "ftd"), "--version"],
                          capture_output=True, check=False).returncode:
            print("  (left out: nobody else can be had here)")
            return
        function(w)
    tried.__name__ = function.__name__
    return test(tried)


def ftd_of(w, words, name, *extra, **options):
    wrap, w.wrap = w.wrap, [*words, *w.wrap]
    try:
        return w.ftd(name, *extra, **options)
    finally:
        w.wrap = wrap


def mask(*names):
    return sum(1 << NUMBERS[name] for name in names)


def capabilities(status):
    """Of the text of /proc/PID/status."""
    return {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\s*(\w+)$", status, re.MULTILINE)}


def need_nothing(status, who):
    have = capabilities(status)
    need(not any(have[name] for name in ("Inh", "Prm", "Eff", "Amb")), f"{who} has capabilities: {have}")
    need_match(rf"^Uid:\s+{USER}\s", status[status.index("Uid:"):])


@user_test
def privilege_kept(w):
    """What it needs, no matter what else it was given; and that is enough."""
    secret = write(w, f"ftkvm:{'5a' * 32}\n", "link.psk", 0o600)
    conf = write(w, f"[link]\nsecurity = psk\npsk-file = {secret}\n", mode=0o600)
    os.mkdir(w.path("run"))		# root's, as a directory of devices' sockets may be
    ftd = ftd_of(w, as_user(*NEEDED, "setuid", "sys_admin"), "run/ftd", "--config", conf, link=())
    need("ftd has not" not in ftd.log, ftd.log)
    status = w.text(f"/proc/{ftd.process.pid}/status")
    have, want = capabilities(status), mask(*NEEDED)
    need((have["Prm"], have["Eff"], have["Inh"], have["Amb"]) == (want, want, 0, 0), f"its capabilities: {have}")
    need_match(rf"Uid:\s+{USER}\s+{USER}\s", status)
    with open(w.path("image"), "wb") as file:
        file.truncate(1 << 20)
    w.ftctl("device", "add", "d0", "guest", "web", "kind", "blk", "no", "0", "socket", w.path("d0"), "file",
            w.path("image"), "user", "nobody", control=ftd.control, check=0)
    given = os.stat(w.path("d0"))
    need((given.st_uid, stat.S_IMODE(given.st_mode)) == (pwd.getpwnam("nobody").pw_uid, 0o600), "it is not its user's")
    with open(UNIT, encoding="utf-8") as file:
        unit = dict(line.split("=", 1) for line in file.read().splitlines() if "=" in line and line[0] != "#")
    for key in ("CapabilityBoundingSet", "AmbientCapabilities"):
        names = {name.lower().removeprefix("cap_") for name in unit[key].split()}
        need(names == set(NEEDED), f"the unit's {key} is {unit[key]}")


@user_test
def privilege_and_control_socket(w):
    """It is root's. Who is ftd's user, without its capabilities, is a QEMU or a hook."""
    def may(control, user=0, says=None):
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)	# and no capabilities
            answer = w.ask(control, {"cmd": "info"}) or {}
            os._exit(answer.get("error") != says if says else not answer.get("ok"))
        except OSError:
            os._exit(1)
        finally:
            os._exit(2)
    ftd = ftd_of(w, as_user(*NEEDED), "ftd")
    need(may(ftd.control), "root may not")
    need(not may(ftd.control, USER), "a QEMU of its user's may")
    need(may(ftd.control, USER, "only root may give ftd orders"), "it is not told so")
    need(not may(ftd.control, USER + 1), "another user may")
    need(ftd.ask(cmd="info")["ok"], "ftd is gone")
    # who runs it by hand, and gave it nothing, may talk to it
    os.mkdir(w.path("own"))
    os.chown(w.path("own"), USER, USER)
    own = ftd_of(w, as_user(), "own/ftd")
    need(may(own.control), "root may not")
    need(may(own.control, USER), "its user may not")


@user_test
def privilege_missing(w):
    """It is named, with its remedy. Where there is a module ftd does not start: tests/e2e has one."""
    ftd = ftd_of(w, as_user("net_admin", "dac_override"), "ftd")
    need_match(r"ftd has not CAP_SYS_PTRACE \(.*\), CAP_CHOWN \(.*\): run: systemctl start ftd.*AmbientCapabilities=.*root",
               ftd.log)
    need(not re.search(r"not CAP_NET_ADMIN|, CAP_DAC_OVERRIDE", ftd.log), ftd.log)


@user_test
def privilege_not_handed_on(w):
    """A fence hook and a QEMU that ftd starts. (Not under valgrind, which knows no pidfd_open().)"""
    program, log = write(w, "#!/bin/sh\nexec cat /proc/self/status\n", "hook", 0o755), w.path("run.log")
    words = [os.path.join(w.build, "unit"), "privilege", program, log]
    for given, missing in ((NEEDED, False), ((*NEEDED, "sys_admin"), False), (("dac_override",), True)):
        done = subprocess.run([*as_user(*given), *words], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=120, check=False)
        need(done.returncode == 0, f"ended with {done.returncode}: {done.stdout}{done.stderr}")
        need_match("above its user: 1", done.stdout)
        need(("ftd has not" in done.stdout) is missing, done.stdout)
        need_nothing(done.stdout, "the hook")
        # it outlives who started it
        wait_for(lambda: "CapAmb" in w.text(log), "it has started")
        need_nothing(w.text(log), "what was started")
        os.unlink(log)
    # root's get what root has, as ever
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    need_match("above its user: 0", done.stdout)
    need(capabilities(done.stdout)["Prm"] == capabilities(w.text("/proc/self/status"))["Prm"], done.stdout)


@user_test
def privilege_and_consoles(w):
    """A console's path is a QEMU's, or of who had it started: what QEMU's user can't write to ftd does not write to for it."""
    def made(name, owner, mode, holds="before\n"):
        path = write(w, holds, name, mode)
        os.chown(path, owner, owner)
        return path

    def directory(name, owner):
        path = w.path(name)
        os.mkdir(path, 0o755)
        os.chown(path, owner, owner)
        return path
    words = [os.path.join(w.build, "unit"), "say"]
    # ftd as the unit has it, as root, and as root with what the unit leaves to it
    for number, who in enumerate((as_user(*NEEDED), [], ["setpriv", "--bounding-set=" + ",".join(
            ["-all", *(f"+{name}" for name in NEEDED)])])):
        def say(user, path, wrap=who):
            done = subprocess.run([*wrap, *words, str(user), path, "the last"], capture_output=True, text=True, timeout=60,
                                  check=False)
            need(done.returncode in (0, 1), f"ended with {done.returncode}: {done.stderr}")
            need(done.returncode == 0 or "Permission denied" in done.stdout, done.stdout)
            return done.returncode == 0
        roots, top = made(f"root{number}", 0, 0o600), directory(f"top{number}", 0)
        for user in (USER, USER + 1):
            own = directory(f"own{number}.{user}", user)
            link, beside = os.path.join(own, "link"), os.path.join(own, "beside")
            os.symlink(roots, link)
            os.symlink(os.path.join(top, "new"), beside)
            for path in (roots, link, os.path.join(top, "new"), beside):
                need(not say(user, path), f"user {user} had {path} written to, by {who}")
            need(w.text(roots) == "before\n" and not os.listdir(top), f"written: {w.text(roots)!r}, {os.listdir(top)}")
            group = made(f"group{number}.{user}", 0, 0o620)
            os.chown(group, 0, user)
            for path in (made(f"file{number}.{user}", user, 0o600), group, made(f"all{number}.{user}", 0, 0o602)):
                need(say(user, path) and w.text(path) == "before\nthe last", f"user {user} can't have {path} by {who}")
            # not even its own, and not its own group's, where it is excluded
            need(not say(user, made(f"none{number}.{user}", user, 0o066)), "what it may not write to is written to")
            need(say(user, os.path.join(own, "new")), f"user {user} can't have a console made by {who}")
            status = os.stat(os.path.join(own, "new"))
            need((status.st_uid, status.st_gid) == (user, user), f"what was made is {status.st_uid}'s")
        # root's could be anything
        need(say(0, roots) and w.text(roots) == "before\nthe last", "root's can't be written to")


@user_test
def privilege_and_configuration(w):
    """Files are read with its capabilities, hooks run without."""
    secret = write(w, f"ftkvm:{'5a' * 32}\n", "link.psk", 0o600)
    link = f"[link]\nsecurity = psk\npsk-file = {secret}\n"
    hook = write(w, "#!/bin/sh\n", "hook", 0o700)
    conf = write(w, f"{link}[fence]\nhook = {hook}\n")
    need(run(w, "ftd", "--check", "--config", conf)[0] == 0, "root may run it")

    def ftd(*capabilities_of):
        done = subprocess.run([*as_user(*capabilities_of), *w.wrap, os.path.join(w.build, "ftd"), "--check", "--config",
                               conf], capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stderr
    code, err = ftd(*NEEDED)
    need(code == 1 and len(err.splitlines()) == 1, f"ended with {code}: {err}")
    need_match(rf":5: hook = {hook} can't be run: Permission denied; chmod a\+x it", err)
    os.chmod(hook, 0o755)
    need(ftd(*NEEDED) == (0, ""), f"it is refused: {ftd(*NEEDED)}")
    code, err = ftd()
    need(code == 1, f"ended with {code}")
    need_match(rf":3: psk-file = {secret} can't be read: Permission denied; let ftd's user", err)


@user_test
def privilege_and_lists(w):
    """The unit keeps them where ftd's user has to have its capabilities; those of a former version are moved there."""
    with open(UNIT, encoding="utf-8") as file:
        unit = file.read().replace("\\\n", "").replace("$$", "$")
    script = re.search(r"^ExecStartPre=\+-/bin/sh -c '(.*/run/ftd.*)'$", unit, re.MULTILINE)[1]
    state = re.search(r"^Environment=FTD_STATE=(.*)$", unit, re.MULTILINE)[1]
    sockets, lists = w.path("ftkvm"), w.path("ftd")

    def here(text):
        return text.replace("/run/ftkvm", sockets).replace("/run/ftd", lists)
    os.mkdir(sockets)
    os.chown(sockets, USER, USER)
    # one with devices, from when they were beside the control socket
    devices = ("device", "add", "d0", "guest", "web", "kind", "blk", "no", "0", "socket", w.path("ftkvm/d0"), "file", w.path("image"))
    with open(w.path("image"), "wb") as file:
        file.truncate(1 << 20)
    ftd = ftd_of(w, as_user(*NEEDED), "ftkvm/ftd")
    w.ftctl(*devices, control=ftd.control, check=0)
    write(w, "[]", "ftkvm/ftd.sock.guests")
    for _ in range(2):
        ftd.process.terminate()
        ftd.process.wait()
        subprocess.run(["sh", "-ec", here(script)], check=True)
        ftd = ftd_of(w, as_user(*NEEDED), "ftkvm/ftd", env={"FTD_STATE": here(state)})
        need("d0" in w.ftctl("device", control=ftd.control, check=0)[1], "the device is not there")
        need(sorted(os.listdir(lists)) == ["guests", "guests.devices"], f"lists: {os.listdir(lists)}")
        need(not [name for name in os.listdir(sockets) if name.startswith("ftd.sock.")], f"left: {os.listdir(sockets)}")
    w.ftctl("device", "del", "d0", control=ftd.control, check=0)
    need("d0" not in w.text(os.path.join(lists, "guests.devices")), "the list is not written")
    for words in (["cat", here(state)], ["touch", here(state)], ["mv", lists, lists + ".other"],
                  ["mv", here(state), here(state) + ".other"]):
        done = subprocess.run([*as_user(), *words], capture_output=True, text=True, check=False)
        need(done.returncode and "ermission denied" in done.stderr, f"{words}: {done.stderr}")
