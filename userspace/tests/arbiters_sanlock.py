# SPDX-License-Identifier: GPL-2.0
"""An arbiter of sanlock's: what it has of its own."""
import os
import re
import select
import shlex
import signal
import subprocess
import time

from arbiter_world import EALREADY, EEXIST, ENOENT, KNOWN, Tool, session
from arbiters import children, need_refused, seeded, stat_of
from sanlock_world import PAIRED, SLOTS, WON, Sanlock, left_out, passed, record
from world import TESTS, need, takes_long, wait_for


def sanlock_test(function):
    def run(w):
        if not left_out(w):
            function(w)
    run.__name__ = function.__name__
    TESTS.append(run)
    return run


def until(tool, words, pattern, seconds=120):
    """Ask until the answer is that, and none that says how it stands before."""
    said = []

    def right():
        said.append(tool.ask(*words))
        need(said[-1]["ret"] not in KNOWN, f"it is known: {said[-1]}")
        return re.search(pattern, said[-1]["text"])
    wait_for(right, f"{words} says /{pattern}/", seconds)
    need("; " in said[-1]["text"], f"no remedy: {said[-1]}")
    return said[-1]["text"]


def known(tool, *words, seconds=180):
    """Ask until it is known; sanlock may take its time."""
    said = []

    def is_known():
        said.append(tool.ask(*words))
        return said[-1]["ret"] in KNOWN
    wait_for(is_known, f"{words} is known", seconds)
    return said[-1]


@takes_long
@sanlock_test
def arbiter_sanlock_is_made_ready(w):
    """A device that is not: ftd leaves it alone, and says by which commands it is; then it joins by itself."""
    arbiter = Sanlock(w, ready=False)
    with open(arbiter.store, "rb") as file:
        before = file.read()
    with Tool(w, arbiter.conf()) as hosta, Tool(w, arbiter.conf()) as hostb:
        for words in (("begin", session(), "x"), ("keep", session()), ("claim", session(), "backup")):
            text = hosta.ask(*words)
            need_refused(text, "no lockspace of ftkvm's.*make it ready, .* on one of them: D='.*sanlock direct init")
        with open(arbiter.store, "rb") as file:
            need(file.read() == before, "ftd has written to it")
        commands = text["text"].split("on one of them: ")[1].replace("sanlock ", shlex.quote(arbiter.program) + " ")
        done = subprocess.run(["sh", "-ec", commands], capture_output=True, text=True, check=False)
        need(not done.returncode, f"{commands}: {done.stderr}")
        s = session()
        until(hosta, ("begin", s, "x"), "joins its lockspace on .*, which takes some 20 s; ask again|could not join")
        need(known(hosta, "begin", s, "x")["ret"] == 0, "not begun")
        need(known(hostb, "claim", s, "backup")["won"] is True, "not won")
        need(known(hosta, "claim", s, "primary")["won"] is False, "both win")


@sanlock_test
def arbiter_sanlock_large_sectors(w):
    """Of 4096 bytes, with the space that sanlock takes then."""
    arbiter, s = Sanlock(w, 4096, 8), session()
    with Tool(w, arbiter.conf()) as hosta, Tool(w, arbiter.conf()) as hostb:
        need(hosta.ask("begin", s, "x")["ret"] == 0 and hostb.ask("keep", s)["ret"] == 0, "not begun, or not kept")
        need(hostb.ask("claim", s, "backup")["won"] is True, "not won")
        need(hosta.ask("claim", s, "primary")["won"] is False, "both win")
        need(arbiter.sessions() == {s: 0}, f"there is {arbiter.sessions()}")
        arbiter.put(1, b"x" * 4096)
        text = hosta.ask("keep", session())
        need_refused(text, r"record 1 .*bs=4096 seek=4097 ")
        need(hosta.ask("end", s)["ret"] == 0 and not arbiter.sessions(), "not ended")


@sanlock_test
def arbiter_sanlock_many_claims(w):
    """Of many at once, of either side and by either host, one side's win; another session does not care."""
    arbiter, rng = Sanlock(w), seeded()
    tools = [Tool(w, arbiter.conf()) for _ in range(8)]
    for number in range(5):
        s, other = session(rng), session(rng)
        need(tools[0].ask("begin", s, "x")["ret"] == 0 and tools[1].ask("begin", other, "x")["ret"] == 0, "not begun")
        roles = [rng.choice(("primary", "backup")) for _ in tools]
        for tool, role in zip(tools, roles):
            tool.send("claim", s, role)
        said = [tool.get() for tool in tools]
        winners = {role for role, answer in zip(roles, said) if answer.get("won")}
        need(all(answer["ret"] == 0 for answer in said) and len(winners) == 1, f"round {number}: {roles} {said}")
        need(all(answer["won"] == (role in winners) for role, answer in zip(roles, said)), f"{roles} {said}")
        need(tools[2].ask("keep", other)["ret"] == 0, "the other one is not there any more")
    for tool in tools:
        with tool:
            pass


@sanlock_test
def arbiter_sanlock_killed(w):
    """Who asks is killed, ftd or its child, at any moment: its claim is made or it is not, and stays so."""
    arbiter, rng, seen = Sanlock(w), seeded(), {True: 0, False: 0}
    with Tool(w, arbiter.conf(host=arbiter.hosts[1])) as hostb:
        for number in range(12):
            s = session(rng)
            need(hostb.ask("begin", s, "x")["ret"] == 0, "not begun")
            hosta, answer = Tool(w, arbiter.conf(host=arbiter.hosts[0])), {"ret": None}
            hosta.send("claim", s, "primary")
            time.sleep(rng.random() / 8)
            if number % 2:
                hosta.process.kill()
            else:
                for child in children(hosta.process.pid):
                    os.kill(child, signal.SIGKILL)
                answer = hosta.get()
                need(answer.get("won") or "died; ask again" in answer["text"], f"{answer}")
            first = hostb.ask("claim", s, "backup")
            need(first["ret"] == 0, f"the lease is not given back: {first}")
            need(not (answer["ret"] == 0 and first["won"]), "both win")
            hosta.process.kill()
            hosta.process.wait()
            hosta.process.stdin.close()
            hosta.process.stdout.close()
            seen[first["won"]] += 1
            with Tool(w, arbiter.conf(host=arbiter.hosts[0])) as again:
                need(again.ask("claim", s, "primary")["won"] is not first["won"], "both win, or none")
    print(f"  {seen}")


@sanlock_test
def arbiter_sanlock_held(w):
    """Another host has the lease: what needs none is answered, the rest once it is free."""
    arbiter, s, decided = Sanlock(w), session(), session()
    host_b = arbiter.hosts[1]
    with Tool(w, arbiter.conf("timeout-ms = 1500", host=arbiter.hosts[0])) as tool:
        for one in (s, decided):
            need(known(tool, "begin", one, "x")["ret"] == 0, "not begun")
        need(known(tool, "claim", decided, "primary")["won"] is True, "not won")
        holder = arbiter.hold(host_b)
        for words in (("claim", s, "primary"), ("begin", session(), "x"), ("end", s)):
            until(tool, words, "others have the lease on .*; ask again")
        need(known(tool, "keep", s)["ret"] == 0, "not kept")
        need(known(tool, "keep", decided)["ret"] == EALREADY, "not decided any more")
        need(known(tool, "claim", decided, "backup")["won"] is False, "another verdict")
        need(known(tool, "claim", session(), "backup")["ret"] == ENOENT, "there is what was not begun")
        holder.kill()
        need(known(tool, "claim", s, "primary")["won"] is True, "the lease of who died is not free")


@takes_long
@sanlock_test
def arbiter_sanlock_holder_is_lost(w):
    """A host that has the lease falls silent, and maybe lives: nobody gets it before sanlock holds it for dead."""
    arbiter, s = Sanlock(w), session()
    host_b = arbiter.hosts[1]
    with Tool(w, arbiter.conf("timeout-ms = 1000", host=arbiter.hosts[0])) as tool:
        need(known(tool, "begin", s, "x")["ret"] == 0, "not begun")
        holder = arbiter.hold(host_b)
        host_b.kill()
        until(tool, ("claim", s, "primary"), "a host that is silent has the lease on .*; sanlock takes it for dead")
        need(known(tool, "keep", s)["ret"] == 0, "not kept")
        need(holder.poll() is None, "who has it is not there any more")
        # a minute behind its last sign of life, for its watchdog, and eight of its time-outs
        need(known(tool, "claim", s, "primary", seconds=300)["won"] is True, "not won")


def claim_stopped(arbiter, rng, tool, other, host):
    """Claim, and stop who asks when it has the lease and has not written yet; the session, and who."""
    for _ in range(400):
        s = session(rng)
        need(known(other, "begin", s, "x")["ret"] == 0, "not begun")
        tool.send("claim", s, "primary")
        found = []
        while not found and not select.select([tool.process.stdout], [], [], 0.001)[0]:
            found.extend(children(tool.process.pid))
        time.sleep(rng.random() / 8)
        try:
            if not found:
                raise ProcessLookupError("it was too quick")
            os.kill(found[0], signal.SIGSTOP)
            wait_for(lambda: stat_of(found[0])[0] in "TZ", "it stands still")
            if stat_of(found[0])[0] == "T" and arbiter.held(host) and arbiter.state(s) == PAIRED:
                return s, found[0]
            os.kill(found[0], signal.SIGCONT)
        except OSError:
            pass	# it has ended
        need(tool.get()["ret"] == 0, "not claimed")
        need(known(other, "end", s)["ret"] == 0, "not ended")
    need(False, "it never had the lease")
    return None


@sanlock_test
def arbiter_sanlock_late_write(w):
    """Who has the lease stands still until it may be another host's: it writes nothing any more."""
    arbiter, rng = Sanlock(w), seeded()
    host_a, host_b = arbiter.hosts
    with Tool(w, arbiter.conf("timeout-ms = 3000", host=host_a)) as hosta, Tool(w, arbiter.conf(host=host_b)) as hostb:
        # all of the host does, for as long as an answer may take
        s, child = claim_stopped(arbiter, rng, hosta, hostb, host_a)
        hosta.process.send_signal(signal.SIGSTOP)
        passed(3)
        os.kill(child, signal.SIGCONT)
        wait_for(lambda: stat_of(child)[0] == "Z", "it ends")
        need(arbiter.state(s) == PAIRED, "it has written what is too late")
        hosta.process.send_signal(signal.SIGCONT)
        need_refused(hosta.get(), "ask again|does not answer")
        need(known(hostb, "claim", s, "backup")["won"] is True, "not won")
        # sanlock has died, and can't kill who has the lease
        s, child = claim_stopped(arbiter, rng, hosta, hostb, host_a)
        host_a.kill()
        os.kill(child, signal.SIGCONT)
        need_refused(hosta.get(), "sanlock does not answer|sanlock gives no lease|does not answer")
        need(arbiter.state(s) == PAIRED, "it has written without a lease")


@sanlock_test
def arbiter_sanlock_does_not_run(w):
    """sanlock dies on one host: that has no verdict, the other one has; when it runs again ftd joins anew."""
    arbiter, s, t = Sanlock(w), session(), session()
    host_a, host_b = arbiter.hosts
    with Tool(w, arbiter.conf(host=host_a)) as hosta, Tool(w, arbiter.conf(host=host_b)) as hostb:
        for one in (s, t):
            need(hosta.ask("begin", one, "x")["ret"] == 0, "not begun")
        host_a.kill()
        for words in (("begin", session(), "x"), ("keep", s), ("claim", s, "primary"), ("end", s)):
            need_refused(hosta.ask(*words), "sanlock does not answer on this host: .*; systemctl start sanlock")
        need(hostb.ask("claim", s, "backup")["won"] is True, "not won")
        host_a.up()
        until(hosta, ("claim", s, "primary"), "joins its lockspace|could not join")
        need(known(hosta, "claim", s, "primary")["won"] is False, "both win")
        # its lockspace is taken from it, which kills who has the lease
        holder = arbiter.hold(host_a)
        host_a.client("rem_lockspace", "-s", f"ftkvm:1:{arbiter.store}:0")
        need(holder.wait(60) == -signal.SIGKILL, f"who has the lease ended with {holder.returncode}")
        until(hosta, ("claim", t, "primary"), "joins its lockspace|could not join")
        need(known(hosta, "claim", t, "primary")["won"] is True, "not won")


@sanlock_test
def arbiter_sanlock_damaged(w):
    """A record that is half another one, or of another place, is neither a session nor none."""
    arbiter, s, whole = Sanlock(w), session(), session()
    with Tool(w, arbiter.conf()) as hosta, Tool(w, arbiter.conf()) as hostb:
        for one in (s, whole):
            need(hosta.ask("begin", one, "x")["ret"] == 0, "not begun")
        place = arbiter.sessions()
        mine, other = (arbiter.read(place[one]) for one in (s, whole))
        for bad in (mine[:300] + record(place[s], s, WON)[300:], mine[:511] + bytes([mine[511] ^ 0xff]), other, b"\xff" * 512,
                    record(place[s], s, state=0), record(place[s], s, WON + 2), record(place[s], s[:35])):
            arbiter.put(place[s], bad)
            for tool, words in ((hosta, ("keep", s)), (hostb, ("claim", s, "backup")), (hosta, ("claim", s, "primary")),
                                (hosta, ("claim", session(), "backup"))):
                need_refused(tool.ask(*words), f"record {place[s]} on .* is damaged, .*dd if=/dev/zero")
            need(hosta.ask("keep", whole)["ret"] == 0, "another one is lost with it")
        fresh = session()
        need(hosta.ask("begin", fresh, "x")["ret"] == 0, "a new one finds no place")
        need(arbiter.read(place[s]) == bad.ljust(512, b"\0"), "what is damaged was taken for free")
        need(hostb.ask("claim", whole, "backup")["won"] is True, "not won")
        text = hosta.ask("keep", s)["text"]
        command = text[text.index("dd if="):].replace("THAT", shlex.quote(arbiter.store))
        done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=False)
        need(not done.returncode, f"{text}: {done.stderr}")
        need(hosta.ask("claim", s, "primary")["ret"] == ENOENT, "it is there again")
        # a record as we know it is one to ftd
        arbiter.put(place[s], record(place[s], s))
        need(hosta.ask("claim", s, "primary")["won"] is True, "what a record is like has changed")
        need(hostb.ask("keep", fresh)["ret"] == 0, "the new one was lost")


@sanlock_test
def arbiter_sanlock_old(w):
    """What nobody has kept for as long as a lease, as this host has seen it, makes room for what is new."""
    arbiter, old, kept, decided = Sanlock(w), session(), session(), session()
    host_a, host_b = arbiter.hosts
    with Tool(w, arbiter.conf("lease-s = 2", host=host_a)) as tool, Tool(w, arbiter.conf(host=host_b)) as hostb:
        for one in (old, kept, decided):
            need(tool.ask("begin", one, "x")["ret"] == 0, "not begun")
        need(tool.ask("claim", decided, "primary")["won"], "not won")
        # the last that it sees of them all
        need(tool.ask("begin", session(), "x")["ret"] == 0, "not begun")
        passed(2)
        need(hostb.ask("keep", kept)["ret"] == 0, "not kept")
        need(tool.ask("begin", session(), "x")["ret"] == 0, "not begun")
        there = arbiter.sessions()
        need(kept in there and old not in there and decided not in there, f"there is {there}")
        for one in (old, decided):
            for role in ("primary", "backup"):
                need(hostb.ask("claim", one, role)["ret"] == ENOENT, "an old session makes somebody win")
        need(hostb.ask("claim", kept, "backup")["won"] is True, "one that was kept is lost")
        # and full
        for slot in range(SLOTS):
            arbiter.put(slot, record(slot, session()))
        need_refused(hostb.ask("begin", session(), "x"), f"all {SLOTS} records on .* are in use; unpair guests, or wait")
        need_refused(tool.ask("begin", session(), "x"), "are in use")
        passed(2)
        need_refused(hostb.ask("begin", session(), "x"), "are in use")
        fresh = session()
        need(tool.ask("begin", fresh, "x")["ret"] == 0, "no place")
        need(list(arbiter.sessions()) == [fresh], f"there is {arbiter.sessions()}")
        need(hostb.ask("begin", fresh, "x")["ret"] == EEXIST, "begun twice")


@sanlock_test
def arbiter_sanlock_refused(w):
    arbiter = Sanlock(w)
    host = arbiter.hosts[0]
    places = [(w.path("nix"), "cannot use .*No such file.*; attach that storage"), (w.dir, "; attach that storage"),
              ("/dev/null", "/dev/null is no block device, nor a file on one; .*type = file")]
    if not os.major(os.stat("/dev/shm").st_dev):
        memory = f"/dev/shm/{os.path.basename(w.dir)}"
        with open(memory, "wb"):
            w.files.append(memory)
        places.append((memory, "is no block device, nor a file on one"))
    for path, pattern in places:
        with Tool(w, arbiter.conf(host=host, path=path)) as tool:
            for words in (("claim", session(), "primary"), ("keep", session())):
                need_refused(tool.ask(*words), pattern)
    # another one than sanlock has the lockspace on
    copy = arbiter.store + ".copy"
    w.files.append(copy)
    with open(arbiter.store, "rb") as file, open(copy, "wb") as to:
        to.write(file.read())
    with Tool(w, arbiter.conf(host=host, path=copy)) as tool:
        until(tool, ("keep", session()), "by another path or host-id .*; correct them, or run: sanlock client rem_lockspace")
    os.truncate(arbiter.store, 2 * arbiter.align + 1000)
    with Tool(w, arbiter.conf(host=host)) as tool:
        need_refused(tool.ask("begin", session(), "x"), "is too small; give .* a device of 3 MiB")


@sanlock_test
def arbiter_sanlock_of_another_user(w):
    """As ftd.service has it: no root, but what is root's can be opened. Without that, what it lacks is said."""
    if os.geteuid():
        print("  (left out: only root can be somebody else)")
        return
    arbiter, s = Sanlock(w), session()
    host = arbiter.hosts[0]
    os.chmod(w.dir, 0o755)
    os.chmod(arbiter.store, 0o600)
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    plain, w.wrap = w.wrap, [*nobody, "--inh-caps", "+dac_override", "--ambient-caps", "+dac_override", *w.wrap]
    try:
        with Tool(w, arbiter.conf(host=host)) as tool:
            need(tool.ask("begin", s, "x")["ret"] == 0 and tool.ask("keep", s)["ret"] == 0, "not begun, or not kept")
            need(tool.ask("claim", s, "backup")["won"] is True, "not won")
        w.wrap = [*nobody, *plain]
        with Tool(w, arbiter.conf(host=host)) as tool:
            need_refused(tool.ask("keep", s), "cannot use .*Permission denied; let ftd's user read and write it")
            os.chmod(arbiter.store, 0o666)
            need_refused(tool.ask("keep", s), "Permission denied; let ftd's user be in group sanlock")
    finally:
        w.wrap = plain


@sanlock_test
def arbiter_sanlock_stands_still(w):
    """sanlock is stopped: who asks it is left behind, a late claim is made or it is not."""
    arbiter, s = Sanlock(w), session()
    host_a, host_b = arbiter.hosts
    with Tool(w, arbiter.conf("timeout-ms = 400", host=host_a)) as hosta, Tool(w, arbiter.conf(host=host_b)) as hostb:
        need(known(hosta, "begin", s, "x")["ret"] == 0, "not begun")
        host_a.process.send_signal(signal.SIGSTOP)
        try:
            for words in (("claim", s, "primary"), ("keep", s), ("begin", session(), "x")):
                need_refused(hosta.ask(*words), "does not answer; see whether the path to it is up, and sanlock runs")
        finally:
            host_a.process.send_signal(signal.SIGCONT)
        won = known(hostb, "claim", s, "backup")["won"]
        need(known(hosta, "claim", s, "primary")["won"] is not won, "both win, or none")


