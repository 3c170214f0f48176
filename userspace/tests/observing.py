# SPDX-License-Identifier: GPL-2.0
"""What is seen of guests from outside: ftctl top, with a stand-in for the module."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios

from world import need, need_match, test, wait_for


def replicas(directory, *guests):
    """What the module tells from now on."""
    path = os.path.join(directory, ".replicas")
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump([{"name": "web", "state": "primary", "role": "primary", "pid": 7, **g} for g in guests], file)
    os.replace(path + ".new", path)


def standin(w):
    directory = w.path("standin")
    os.makedirs(directory, exist_ok=True)
    return directory


def top(w, *words, check=0):
    return w.ftctl("top", *words, check=check, env={"FTKVM_STANDIN": standin(w)}, program="ftctl-alone")[1]


@test
def top_in_batches(w):
    replicas(standin(w), {"stats": {"epochs": 5, "linked": 1}}, {"name": "db", "state": "solo", "stats": {}})
    out = top(w, "-b", "-n", "3", "-d", "0.1")
    need(len(re.findall(r"^ftctl top: .*2 guests, 1 NOT PROTECTED; ftd does not run$", out, re.M)) == 3, out)
    need(len(re.findall(r"^web +primary +primary +up .*$", out, re.M)) == 3, out)
    need("\033" not in out, f"a terminal's codes in a file: {out!r}")
    # what is no terminal gets batches unasked
    need(len(re.findall("^NAME ", top(w, "-n", "2", "-d", "0.1"), re.M)) == 2, "not two looks")
    lines = [json.loads(line) for line in top(w, "-j", "-n", "2", "-d", "0.1").splitlines()]
    need(len(lines) == 2 and lines[0]["seconds"] is None and lines[1]["seconds"] > 0, f"{lines}")
    first, second = ({g["name"]: g for g in line["guests"]} for line in lines)
    need(first["web"]["per_second"] is None and second["web"]["per_second"]["epochs"] == 0, f"{lines}")
    need(second["db"]["protected"] is False and second["web"]["stats"]["epochs"] == 5, f"{lines}")


@test
def top_without_the_module(w):
    need_match("modprobe ftkvm", w.ftctl("top", "-b", "-n", "1", check=3)[2])


class Terminal:
    """ftctl top on a terminal of its own."""

    def __init__(self, w, rows=24, columns=130):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.seen = ""
        words = [*w.wrap, os.path.join(w.build, "ftctl-alone"), "--control", w.path("none.sock"), "top", "-d", "60"]
        self.process = subprocess.Popen(words, stdin=self.slave, stdout=self.slave, start_new_session=True,
                                        env=dict(os.environ, FTKVM_STANDIN=standin(w)))
        w.processes.append(self.process)

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def unread(self):
        return struct.unpack("i", fcntl.ioctl(self.slave, termios.FIONREAD, bytes(4)))[0]

    def wait(self, pattern):
        """The text from the last look's beginning on, once it has that and its end."""
        def there():
            while select.select([self.master], [], [], 0.02)[0]:
                self.seen += os.read(self.master, 65536).decode()
            looks = re.findall(r"\033\[H(.*?)\033\[J", self.seen, re.S)
            return looks and re.search(pattern, looks[-1], re.S) and looks[-1]
        found = []
        wait_for(lambda: found.append(there()) or found[-1], f"/{pattern}/ on the terminal")
        return found[-1]

    def end(self):
        need(self.process.wait(60) == 0, f"it ended with {self.process.returncode}")
        need(termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was")
        os.close(self.master)
        os.close(self.slave)


@test
def top_on_a_terminal(w):
    """It fits, whatever the size, and takes q, and leaves the terminal as it was."""
    replicas(standin(w), *({"name": f"guest{i:02}", "stats": {"epochs": 5}} for i in range(30)))
    t = Terminal(w)
    need(t.wait("guest00").count("\n") == 23, "not as many lines as fit")
    t.resize(10, 40)
    t.process.send_signal(signal.SIGWINCH)
    lines = t.wait(r"^(?:[^\n]*\n){9}$").replace("\033[K", "").replace("\r", "").splitlines()
    need(len(lines) == 9 and max(map(len, lines)) < 40, f"{lines}")
    # a key that means nothing is taken, and it goes on
    os.write(t.master, b"x")
    wait_for(lambda: not t.unread(), "the key is read")
    t.resize(12, 40)
    t.process.send_signal(signal.SIGWINCH)
    t.wait(r"^(?:[^\n]*\n){11}$")
    os.write(t.master, b"q")
    t.end()


@test
def top_ends_by_a_signal(w):
    replicas(standin(w), {"stats": {"epochs": 5}})
    for number in (signal.SIGINT, signal.SIGTERM):
        t = Terminal(w)
        t.wait("web")
        t.process.send_signal(number)
        t.end()
