# SPDX-License-Identifier: GPL-2.0
"""The arbiter: of files, a real etcd or sanlock; the same tests for all, and what each has of its own."""
import os
import random
import shutil
import signal
import subprocess
import time

from arbiter_world import EAGAIN, ENOENT, EEXIST, EALREADY, KNOWN, Etcd, Files, Proxy, Tool, session
from configuration import write
from sanlock_world import Sanlock
from world import TESTS, need, need_match, takes_long, test, wait_for

ROUNDS = 25


def each(function):
    """A test for each kind of arbiter."""
    for kind in (Files, Etcd, Sanlock):
        def run(w, kind=kind):
            if not kind.left_out(w):
                function(w, kind(w))
        run.__name__ = f"{function.__name__}_{kind.__name__.lower()}"
        TESTS.append(run)
    return function


def seeded():
    return random.Random(int(os.environ.get("SEED") or 1))


def need_refused(answer, pattern, code=None):
    """It is not known how it stands; in particular not that nobody may be promoted."""
    need(answer["ret"] not in KNOWN, f"it is known: {answer}")
    need(code is None or answer["ret"] == code, f"not {code}: {answer}")
    need_match(pattern, answer["text"])
    need("; " in answer["text"], f"no remedy: {answer}")


@each
def arbiter_session(w, arbiter):
    """What a session goes through, in order."""
    s, other = session(), session()
    with Tool(w, arbiter.conf()) as hosta, Tool(w, arbiter.conf()) as hostb:
        need(hosta.hello == {"type": arbiter.type, "decides": True}, f"{hosta.hello}")
        for words in (("keep", s), ("claim", s, "primary"), ("claim", s, "backup b")):
            need(hostb.ask(*words)["ret"] == ENOENT, "there is what was not begun")
        need(hosta.ask("begin", s, "web of hosta")["ret"] == 0, "not begun")
        need(hosta.ask("begin", s, "web")["ret"] == EEXIST, "begun twice")
        need(hostb.ask("keep", s)["ret"] == 0 and hosta.ask("keep", s)["ret"] == 0, "not kept")
        need(hostb.ask("claim", s, "nobody")["ret"] not in KNOWN, "a third side may claim")
        need(hostb.ask("claim", s, "backupper")["ret"] not in KNOWN, "a third side may claim")
        need(hostb.ask("claim", "../" + s[3:], "backup")["ret"] not in KNOWN, "what is no UUID is taken for one")
        need(hostb.ask("claim", s, "backup hostb é")["won"] is True, "the first claim does not win")
        need(hosta.ask("claim", s, "primary hosta")["won"] is False, "the second one wins")
        for _ in range(2):
            need(hosta.ask("claim", s, "backup again")["won"] is True, "another verdict")
            need(hostb.ask("claim", s, "primary")["won"] is False, "another verdict")
        answer = hosta.ask("keep", s)
        need(answer["ret"] == EALREADY, f"{answer}")
        need_match("backup", answer["text"])
        need(hosta.ask("begin", s, "web")["ret"] == EEXIST, "what is decided was begun again")
        need(hosta.ask("begin", other, "db")["ret"] == 0, "no second session")
        need(hosta.ask("end", s)["ret"] == 0 and hostb.ask("end", s)["ret"] == 0, "not ended")
        need(hostb.ask("claim", s, "backup hostb")["ret"] == ENOENT, "ended, and wins")
        need(hostb.ask("claim", other, "primary")["won"] is True, "another session ended, too")
        need(hosta.ask("end", other)["ret"] == 0, "not ended")


@each
def arbiter_races(w, arbiter):
    """Both sides claim at the same time, from two processes or two threads; maybe it also ends."""
    rng, wins = seeded(), {"primary": 0, "backup": 0, "nobody": 0}
    with Tool(w, arbiter.conf()) as hosta, Tool(w, arbiter.conf()) as hostb, Tool(w, arbiter.conf()) as third:
        sides = [(hosta, "primary"), (hostb, "backup")]
        for number in range(ROUNDS):
            s = session(rng)
            need(hosta.ask("begin", s, "web")["ret"] == 0, "not begun")
            ends = number % 5 == 4
            if number % 5 == 3:
                first = hosta.ask("race", s)
            else:
                rng.shuffle(sides)
                asked = [(tool, ("claim", s, f"{role} host")) for tool, role in sides]
                if ends or rng.random() < 0.3:
                    asked.insert(rng.randrange(3), (third, ("end" if ends else "keep", s)))
                for tool, words in asked:
                    tool.send(*words)
                    time.sleep(rng.choice((0, 0, rng.random() / 500)))
                said = {words[-1]: tool.get() for tool, words in asked}
                first = [said["primary host"], said["backup host"]]
            won = [answer.get("won") for answer in first]
            for answer in first:
                need(answer["ret"] == 0 or (ends and answer["ret"] == ENOENT), f"round {number}: {answer}")
            need(won.count(True) == 1 or (ends and True not in won), f"round {number}: {first}")
            again = [hostb.ask("claim", s, role) for role in ("primary", "backup")]
            need(again == first if not ends else [a["ret"] for a in again] == [ENOENT] * 2,
                 f"round {number}: {first}, then {again}")
            wins["nobody" if True not in won else ("primary", "backup")[won.index(True)]] += 1
    print(f"  {wins}")


@each
def arbiter_is_away(w, arbiter):
    """What is not there makes no verdict; when it is back, it knows what it knew."""
    s, t = session(), session()
    with Tool(w, arbiter.conf()) as hosta, Tool(w, arbiter.conf()) as hostb:
        need(hosta.ask("begin", s, "web")["ret"] == 0 and hosta.ask("begin", t, "db")["ret"] == 0, "not begun")
        need(hosta.ask("claim", t, "primary")["won"], "not won")
        arbiter.down()
        for words in (("begin", session(), "x"), ("keep", s), ("claim", s, "primary"), ("end", s),
                      ("claim", t, "backup")):
            need_refused(hosta.ask(*words), arbiter.away)
        arbiter.up()
        need(hostb.known("claim", t, "backup")["won"] is False, "it forgot who won")
        need(hostb.known("claim", s, "backup")["won"] is True, "the claim does not win")
        need(hosta.known("claim", s, "primary")["won"] is False, "both win")


@test
def arbiter_that_is_none(w):
    with Tool(w, write(w, "[arbiter]\n")) as tool:
        need(tool.hello == {"type": "manual", "decides": False}, f"{tool.hello}")
        for words in (("begin", session(), "x"), ("keep", session()), ("claim", session(), "primary")):
            need_refused(tool.ask(*words), "no arbiter; set .arbiter. type")


# --- files --------------------------------------------------------------------

@test
def arbiter_files_old(w):
    """A new session takes away those that nobody kept."""
    arbiter, old, kept, decided = Files(w), session(), session(), session()
    with Tool(w, arbiter.conf("lease-s = 1000")) as tool:
        for s in (old, kept, decided):
            need(tool.ask("begin", s, "x")["ret"] == 0, "not begun")
        need(tool.ask("claim", decided, "primary")["won"], "not won")
        # One that was half made, and what is not ours.
        os.mkdir(arbiter.path(session()))
        os.mkdir(arbiter.path("x" * 35))
        for name in os.listdir(arbiter.dir):
            for state in (*os.listdir(arbiter.path(name)), "."):
                os.utime(arbiter.path(name, state), (1, 1))
        need(tool.ask("keep", kept)["ret"] == 0, "not kept")
        fresh = session()
        need(tool.ask("begin", fresh, "x")["ret"] == 0, "not begun")
        need(sorted(os.listdir(arbiter.dir)) == sorted((kept, fresh, "x" * 35)), f"there is {os.listdir(arbiter.dir)}")
        for role in ("primary", "backup"):
            for s in (old, decided):
                need(tool.ask("claim", s, role)["ret"] == ENOENT, "an old session makes somebody win")
        need(tool.ask("keep", old)["ret"] == ENOENT, "it is kept")
        need(tool.ask("claim", kept, "backup")["won"], "one that was kept is lost")


@test
def arbiter_files_lost_answer(w):
    """Who asks is held behind the change, by a pipe that nobody reads: the answer never comes."""
    arbiter, s = Files(w), session()
    with Tool(w, arbiter.conf("timeout-ms = 400")) as tool:
        need(tool.known("begin", s, "x")["ret"] == 0, "not begun")
        os.unlink(arbiter.path(s, "paired"))
        os.mkfifo(arbiter.path(s, "paired"))
        answer = tool.ask("claim", s, "backup")
        while answer["ret"] == EAGAIN or os.path.exists(arbiter.path(s, "paired")):
            answer = tool.ask("claim", s, "backup")		# it did not come that far
        need_refused(answer, "does not answer; see whether its server is up")
        need(tool.known("claim", s, "backup")["won"] is True, "it does not win what it won")
        need(tool.known("claim", s, "primary")["won"] is False, "both win")


def children(pid):
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and int(stat_of(name)[1]) == pid:
                yield int(name)
        except OSError:
            pass	# it ended


def stat_of(pid):
    """State, parent and so on."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()


@test
def arbiter_files_holds_nothing(w):
    """Who is held by the storage does not hold what is ftd's; and a late answer is one, too."""
    arbiter, s = Files(w), session()
    with open(write(w, "", "vm"), "rb") as held, Tool(w, arbiter.conf(), pass_fds=[held.fileno()]) as tool:
        need(tool.ask("begin", s, "x")["ret"] == 0, "not begun")
        os.unlink(arbiter.path(s, "paired"))
        os.mkfifo(arbiter.path(s, "paired"))
        tool.send("claim", s, "backup hostb")
        wait_for(lambda: os.path.exists(arbiter.path(s, "won-backup")), "the claim is made")

        def files(pid):
            return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        need(held.name in files(tool.process.pid), "who asks does not hold the file itself")
        child, = children(tool.process.pid)
        need(held.name not in files(child), f"the child holds {files(child)}")
        with open(arbiter.path(s, "won-backup"), encoding="ascii") as fifo:
            need(fifo.read() == "won backup hostb\n", "it does not say who won")
        need(tool.get()["won"] is True, "it does not win")
        need(not list(children(tool.process.pid)), "the child is still there")


@test
def arbiter_files_refused(w):
    for path, words, pattern in ((w.path("nix"), ("claim", session(), "primary"), "open.*mount that storage"),
                                 (write(w, "", "plain"), ("keep", session()), "Not a directory"),
                                 ("/sys", ("begin", session(), "x"), "make a session in /sys.*let ftd's user write")):
        with Tool(w, write(w, f"[arbiter]\ntype = file\npath = {path}\n")) as tool:
            need_refused(tool.ask(*words), pattern)
    arbiter, s = Files(w), session()
    write(w, "", os.path.join("arbiter", s))
    with Tool(w, arbiter.conf()) as tool:
        need_refused(tool.ask("claim", s, "primary"), "Not a directory")


@test
def arbiter_files_stuck(w):
    """Storage whose processes can't even be killed: a file system that is frozen."""
    image, arbiter = w.path("image"), Files(w)
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    if os.geteuid() or subprocess.run(
            ["sh", "-c", 'mkfs.ext4 -q "$0" && mount -o loop "$0" "$1"', image, arbiter.dir],
            capture_output=True, check=False).returncode:
        print("  (left out: no file system can be mounted here)")
        return
    frozen = False
    try:
        with Tool(w, arbiter.conf("timeout-ms = 300")) as tool:
            s = session()
            need(tool.known("begin", s, "x")["ret"] == 0, "not begun")
            subprocess.run(["fsfreeze", "-f", arbiter.dir], check=True)
            frozen = True
            answers = [tool.ask("claim", s, "primary") for _ in range(10)]
            for answer in answers[:8]:
                need_refused(answer, "does not answer; see whether its server is up")
            for answer in answers[8:]:
                need_refused(answer, "holds too many questions; see whether")
            subprocess.run(["fsfreeze", "-u", arbiter.dir], check=True)
            frozen = False
            need(tool.known("claim", s, "primary")["won"] is True, "it does not win")
            need(tool.known("claim", s, "backup")["won"] is False, "both win")
    finally:
        if frozen:
            subprocess.run(["fsfreeze", "-u", arbiter.dir], check=False)
        wait_for(lambda: not subprocess.run(["umount", arbiter.dir], capture_output=True, check=False).returncode,
                 "the file system is let go of")


# --- etcd ---------------------------------------------------------------------

@test
def arbiter_etcd_expires(w):
    arbiter, s, decided = Etcd(w), session(), session()
    with Tool(w, arbiter.conf("lease-s = 2")) as hosta, Tool(w, arbiter.conf()) as hostb:
        need(hosta.ask("begin", decided, "x")["ret"] == 0, "not begun")
        hosta.ask("claim", decided, "primary")
        need(hosta.ask("begin", s, "x")["ret"] == 0, "not begun")
        wait_for(lambda: not arbiter.keys(), "the leases end")
        for one in (s, decided):
            for role in ("primary", "backup"):
                need(hosta.ask("claim", one, role)["ret"] == ENOENT, "an expired session makes somebody win")
            need(hostb.ask("keep", one)["ret"] == ENOENT, "it is kept")
    with Tool(w, arbiter.conf("lease-s = 900")) as tool:
        need(tool.ask("begin", s, "x")["ret"] == 0, "not begun")
        wait_for(lambda: arbiter.left(s) < 899, "time passes")
        before = arbiter.left(s)

        def renewed():
            need(tool.ask("keep", s)["ret"] == 0, "not kept")
            return arbiter.left(s) > before
        wait_for(renewed, "the lease is renewed")


@test
def arbiter_etcd_stands_still(w):
    arbiter, s = Etcd(w), session()
    with Tool(w, arbiter.conf("timeout-ms = 500")) as tool:
        need(tool.known("begin", s, "x")["ret"] == 0, "not begun")
        arbiter.process.send_signal(signal.SIGSTOP)
        for words in (("keep", s), ("claim", s, "backup"), ("end", session())):
            need_refused(tool.ask(*words), "127.0.0.1:.*timed out.*see that etcd is not overloaded")
        arbiter.process.send_signal(signal.SIGCONT)
        # What was asked may be done by now, or not.
        need(tool.known("claim", s, "backup")["won"] is True, "it does not win")
        need(tool.known("claim", s, "primary")["won"] is False, "both win")


@test
def arbiter_etcd_lost_answer(w):
    """The connection breaks when etcd has done what was asked."""
    arbiter, rng = Etcd(w), seeded()
    proxy = Proxy(arbiter.port)
    with Tool(w, arbiter.conf(endpoints=proxy.url)) as one, \
            Tool(w, arbiter.conf(endpoints=f"{proxy.url}, {arbiter.url}")) as two:
        for _ in range(5):
            s, roles = session(rng), ["primary", "backup"]
            rng.shuffle(roles)
            need(one.ask("begin", s, "x")["ret"] == 0, "not begun")
            proxy.cut = "/v3/kv/txn"
            need_refused(one.ask("claim", s, roles[0]), "127.0.0.1:.*see that etcd runs there")
            need(one.ask("claim", s, roles[1])["ret"] not in KNOWN, "it is known")
            proxy.cut = None
            need(one.ask("claim", s, roles[1])["won"] is False, "who was second wins")
            need(one.ask("claim", s, roles[0])["won"] is True, "who won does not win")
        # Another endpoint is asked the same again; it is asked last.
        for path in ("/v3/lease/grant", "/v3/kv/txn"):
            s = session(rng)
            proxy.cut = path
            need(two.ask("begin", s, "x")["ret"] == 0, f"not begun when {path} was cut")
            need(arbiter.keys(s), "there is no session")
        need(proxy.cuts > 5, f"only {proxy.cuts} answers got lost")
    for path in ("/v3/kv/txn", "/v3/kv/range"):
        # Each knows of none that answered yet, so the one that is cut comes first.
        with Tool(w, arbiter.conf(endpoints=f"{proxy.url}, {arbiter.url}")) as tool:
            proxy.cut, before = path, proxy.cuts
            s = session(rng)
            need(tool.ask("begin", s, "x")["ret"] == 0, f"not begun when {path} was cut")
            if path == "/v3/kv/range":
                need(tool.ask("keep", s)["ret"] == 0, "not kept")
            need(tool.ask("claim", s, "backup")["won"] is True, "not won")
            need(proxy.cuts > before, "no answer got lost")


@test
def arbiter_etcd_others_answer(w):
    """What is no etcd is never taken for one that knows no session."""
    def answers(text, status="200 OK"):
        return Proxy(None, f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()).url
    for url, pattern in ((answers("hello"), "not said by etcd 3.4"), (answers("{}"), "makes no sense"),
                         (answers(""), "not said by etcd"), (answers("[]"), "not said by etcd"),
                         (answers('{"responses": [{"response_range": {}}]}'), "makes no sense"),
                         (answers('{"header": {}, "kvs": [{"lease": 5}]}'), "makes no sense"),
                         (answers("Not Found\n", "404 Not Found"), "status 404"),
                         (answers('{"code": 5, "message": "Not Found"}', "404 Not Found"), "see that etcd 3.4"),
                         (answers('{"code": 14, "message": "no leader"}', "503 Unavailable"), "no leader.*members"),
                         (answers("x" * (2 << 20)), "not said by etcd"),
                         (Proxy(None, b"SSH-2.0\r\n").url, "; see that etcd"),
                         ("http://127.0.0.1:1", "connect.*; see that etcd runs"),
                         ("http://nix.invalid:1", "resolve.*; correct endpoints|timed out")):
        conf = write(w, f"[arbiter]\ntype = etcd\nendpoints = {url}\ntimeout-ms = 20000\n")
        with Tool(w, conf) as tool:
            need_refused(tool.ask("claim", session(), "primary"), pattern)
            for words in (("keep", session()), ("begin", session(), "x")):
                said = tool.ask(*words)
                need(said["ret"] not in KNOWN, f"{words} when there is to be {pattern}: {said}")


@test
def arbiter_etcd_one_hangs(w):
    """An endpoint that takes connections and says nothing leaves time for the others."""
    arbiter, s = Etcd(w), session()
    mute = Proxy(None, None)
    conf = arbiter.conf("timeout-ms = 6000", endpoints=f"{mute.url}, http://127.0.0.1:1, {arbiter.url}")
    with Tool(w, conf) as hosta, Tool(w, conf) as hostb:
        need(hosta.known("begin", s, "x")["ret"] == 0, "not begun")
        need(hostb.known("claim", s, "backup")["won"] is True, "not won")
        need(hosta.known("claim", s, "primary")["won"] is False, "both won")
        arbiter.down()
        text = hosta.ask("keep", s)["text"]
        for url in (mute.url, "http://127.0.0.1:1", arbiter.url):
            need(url in text, f"{url} is not named: {text}")


@test
def arbiter_etcd_tls(w):
    """Certificates on both sides, and a user who may write nothing but sessions."""
    if not shutil.which("openssl"):
        need(False, "openssl is missing: apt-get install openssl")
    arbiter = Etcd(w, tls=True)
    own, s = arbiter.certificates(), session()
    with Tool(w, arbiter.conf(*own)) as tool:
        need(tool.ask("begin", session(), "x")["ret"] == 0, "not begun")
    arbiter.authenticate()
    for pw in ("right", "wrong"):
        write(w, f"{pw}\n", pw, 0o600)
    user = ["user = ft", f"password-file = {w.path('right')}"]
    other = ["user = nobody", f"password-file = {w.path('right')}"]
    for words, pattern in ((own[1:] + user, "certificate.*set ca"),
                           ([f"ca = {arbiter.pki('other.crt')}"] + own[1:] + user, "certificate.*let ca be"),
                           (own[:1] + user, "set cert and key"),
                           ([own[0], f"cert = {arbiter.pki('stranger.crt')}", f"key = {arbiter.pki('stranger.key')}"]
                            + user, "trusts who signed cert"),
                           ([own[0], own[1], f"key = {arbiter.pki('stranger.key')}"] + user, "belong together"),
                           (own, "set user and password-file"),
                           (own + [user[0], f"password-file = {w.path('wrong')}"],
                            "user ft says: .*correct user, or what is in password-file"),
                           (own + other, "permission denied; give that user's role.*ftkvm/ --prefix")):
        with Tool(w, arbiter.conf(*words)) as tool:
            need_refused(tool.ask("keep", s), f"{arbiter.url}: .*{pattern}")
    with Tool(w, arbiter.conf(endpoints=arbiter.url.replace("https", "http"))) as tool:
        need_refused(tool.ask("keep", s), "if it speaks TLS, say https://")
    with Tool(w, arbiter.conf(*own, *user)) as hosta, Tool(w, arbiter.conf(*own, *user)) as hostb:
        need(hosta.ask("begin", s, "x")["ret"] == 0, "not begun")
        need(hostb.ask("keep", s)["ret"] == 0, "not kept")
        # With a new password, what they logged in with is not worth anything any more.
        arbiter.change("ft", "new")
        need_refused(hostb.ask("claim", s, "backup"), "correct user, or what is in password-file")
        write(w, "new\n", "right", 0o600)
        need(hostb.ask("claim", s, "backup")["won"] is True, "not won")
        need([answer["won"] for answer in hosta.ask("race", s)] == [False, True], "another verdict")
        # One that is open to all is not used, also if it was not when ftd started.
        os.chmod(w.path("right"), 0o644)
        arbiter.change("ft", "newer")
        need_refused(hosta.ask("keep", s), "open to all users; chmod o=")


# --- hosts that lose each other ----------------------------------------------------

def simulate(w, cases, **env):
    """The simulation of tests/partition, under way; the same cases each time unless SEED says otherwise."""
    env = {**os.environ, "SEED": os.environ.get("SEED") or "1", **env}
    return w.start([os.path.join(w.build, "failover-sim"), w.path(""), str(cases)], stdout=subprocess.PIPE, env=env)


def simulated(process, cases):
    out = process.communicate(timeout=900)[0].decode()
    need(process.returncode == 0 and out.endswith(f"\n{cases} passed, 0 failed\n"), out[-2000:])


@test
def failover_simulated(w):
    """Some of the cases that make partition has two thousand of."""
    simulated(simulate(w, 150), 150)


@takes_long
@test
def failover_simulated_etcd(w):
    """With a real etcd, which dies and comes back, or stands still for a while, as it is asked."""
    etcd = Etcd(w)
    process = simulate(w, 150, ARBITER=f"type = etcd\nendpoints = {etcd.url}")
    rounds = 0
    while process.poll() is None:
        time.sleep(1)
        if rounds % 2:
            etcd.process.kill()
            etcd.process.wait(60)
            etcd.up()
        else:
            etcd.process.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            etcd.process.send_signal(signal.SIGCONT)
        rounds += 1
    need(rounds > 4, f"etcd was disturbed {rounds} times only")
    simulated(process, 150)
