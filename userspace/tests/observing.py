# SPDX-License-Identifier: GPL-2.0
"""What is seen of guests from outside: ftctl top and ftd's metrics, with a stand-in for the module."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import urllib.error
import urllib.request

from world import need, need_match, test, wait_for


def replicas(directory, *guests, file=".replicas"):
    """What the module tells from now on; .replicas.next: when it is to promote one."""
    path = os.path.join(directory, file)
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


# --- metrics --------------------------------------------------------------------

NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
KNOWN = re.compile(r"ftkvm_[a-z_]+")


def unescape(text):
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text)


def parse(text):
    """The text format 0.0.4, strictly: {(name, labels): value}, and each name's type."""
    need(text.endswith("\n"), "the last line has no end")
    samples, types, helps, current = {}, {}, set(), None
    for line in text[:-1].split("\n"):
        if match := re.fullmatch(f"# HELP ({NAME}) (.+)", line):
            need(match[1] not in helps, f"two HELP: {line}")
            need(not re.search(r"\\(?![\\n])", match[2]), f"a backslash: {line}")
            helps.add(match[1])
            current = match[1]
            continue
        if match := re.fullmatch(f"# TYPE ({NAME}) (counter|gauge)", line):
            need(match[1] == current and match[1] not in types, f"HELP is not before TYPE: {line}")
            types[match[1]] = match[2]
            continue
        match = re.fullmatch(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? ([0-9]+(?:\.[0-9]+)?)", line)
        need(match, f"no line of the format: {line!r}")
        need(match[1] == current and match[1] in types, f"a sample out of its place: {line}")
        pairs = re.findall(LABEL, match[2] or "")
        need(len(dict(pairs)) == len(pairs), f"a label twice: {line}")
        key = (match[1], frozenset((name, unescape(value)) for name, value in pairs))
        need(key not in samples, f"a sample twice: {line}")
        samples[key] = match[match.re.groups]
        need((types[match[1]] == "counter") == match[1].endswith("_total"), f"no good name of a {types[match[1]]}: {line}")
    need(helps == set(types) == {name for name, _ in samples}, f"without samples: {helps ^ set(types)}")
    return samples, types


def sample(samples, name, **labels):
    key = (name, frozenset(labels.items()))
    need(key in samples, f"no {name} {labels} in {sorted(k[0] for k in samples)}")
    return samples[key]


def unit_metrics(w):
    done = subprocess.run([*w.wrap, os.path.join(w.build, "unit"), "metrics"], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=120, check=False)
    need(done.returncode == 0, f"it ended with {done.returncode}: {done.stderr}")
    return done.stdout.decode("utf-8")


@test
def metrics_format(w):
    """Every line is of the format, whatever a guest is called; no two names become one."""
    samples, types = parse(unit_metrics(w))
    names = {dict(labels)["guest"] for _, labels in samples if "guest" in dict(labels)}
    need(names == {"web", 'a"quote\\and\nline', "été", r"half\xc3", r"\xff\xfe", r"half\xc4", "empty"}, f"{names}")
    need(sample(samples, "ftkvm_guest_state", guest="web", role="primary", state="primary") == "1", "state")
    need(sample(samples, "ftkvm_guest_protected", guest="web") == "1", "protected")
    need(sample(samples, "ftkvm_guest_protected", guest="empty") == "0", "protected")
    need(sample(samples, "ftkvm_module_info", version='1"2', protocol="0") == "1", "versions")
    need(sample(samples, "ftkvm_guest_still", guest="web") == "0", "it runs")
    need(sample(samples, "ftkvm_guest_still", guest=r"half\xc3") == "1", "it stands still")
    # what has no statistics has its state only
    need({n for n, labels in samples if ("guest", "empty") in labels} ==
         {"ftkvm_guest_state", "ftkvm_guest_protected", "ftkvm_arbiter_session"}, "of a guest without statistics")
    # the numbers are exact, and in seconds
    odd = 'a"quote\\and\nline'
    need(sample(samples, "ftkvm_exits_total", guest=odd) == str(2**64 - 1), "the greatest number")
    need(sample(samples, "ftkvm_commit_wait_seconds_total", guest=odd) == "18446744073.709551615", "nanoseconds")
    need(sample(samples, "ftkvm_link_silence_seconds", guest=odd) == "18446744073709551.615", "milliseconds")
    need(re.fullmatch(r"\d+\.000000000", sample(samples, "ftkvm_takeover_seconds", guest="web")), "nanoseconds")
    # lag is the primary's to tell
    roles = {dict(labels)["guest"]: dict(labels)["role"] for n, labels in samples if n == "ftkvm_guest_state"}
    need({dict(labels)["guest"] for n, labels in samples if n == "ftkvm_lag_epochs"} ==
         {guest for guest, role in roles.items() if role == "primary" and guest != "empty"}, f"lag: {roles}")
    kinds = {dict(labels).get("kind") for n, labels in samples if n == "ftkvm_epochs_total"}
    need(kinds == {"snapped", "halted", "landed", "skipped"}, f"{kinds}")
    need(types["ftkvm_lag_epochs"] == "gauge" and types["ftkvm_epochs_total"] == "counter", "types")


@test
def metrics_of_the_arbiter(w):
    samples, _ = parse(unit_metrics(w))
    need(sample(samples, "ftkvm_arbiter_info", type="etcd") == "1", "the arbiter")
    said = {dict(labels)["guest"]: (dict(labels)["heard"]) for n, labels in samples if n == "ftkvm_arbiter_session"}
    need(said == {"web": "known", 'a"quote\\and\nline': "no-answer", r"half\xc3": "forgotten",
                  r"half\xc4": "decided", "empty": "unasked"}, f"{said}")
    reach = {dict(labels)["guest"]: v for (n, labels), v in samples.items() if n == "ftkvm_arbiter_reachable"}
    need(reach == {guest: "0" if what == "no-answer" else "1" for guest, what in said.items() if what != "unasked"},
         f"{reach}")


@test
def metrics_are_documented(w):
    """Each is in the manual; and alerts are of none that is not there."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    _, types = parse(unit_metrics(w))
    docs = {name: w.text(os.path.join(top, "Documentation/ftkvm", name)) for name in ("monitoring.rst", "alerts.yml")}
    need(set(types) == set(KNOWN.findall(docs["monitoring.rst"])), "not the same in monitoring.rst: "
         f"{set(types) ^ set(KNOWN.findall(docs['monitoring.rst']))}")
    used = set(KNOWN.findall(docs["alerts.yml"]))
    need(used and used <= set(types), f"alerts of what there is not: {used - set(types)}")


@test
def traces_are_documented(w):
    """Each event of the module's has its line, and no line is of none."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = w.text(os.path.join(top, "kmod/kvm/trace.h"))
    events = set(re.findall(r"^TRACE_EVENT\((\w+),", code, re.M)) | set(re.findall(r"^DEFINE_EVENT\(\w+, (\w+),", code, re.M))
    lines = re.findall(r"^``(ftkvm_\w+)`` ", w.text(os.path.join(top, "Documentation/ftkvm/tracing.rst")), re.M)
    need("ftkvm_log" in events and "ftkvm_state" in events, f"only {events} were found")
    need(sorted(events) == sorted(lines), f"not the same: {events ^ set(lines)}")


def metrics_ftd(w, where):
    conf = w.path("ftd.conf")
    with open(conf, "w", encoding="utf-8") as file:
        file.write(f"[metrics]\nlisten = {where}\n")
    return w.ftd("ftd", "--config", conf, env={"FTKVM_STANDIN": standin(w)}, program="ftd-alone")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def http(path, text):
    """What a UNIX socket answers, head and body."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(path)
        sock.sendall(text)
        got = b""
        while more := sock.recv(65536):
            got += more
    head, _, body = got.partition(b"\r\n\r\n")
    return head.decode(), body.decode()


@test
def metrics_are_served(w):
    replicas(standin(w), {"stats": {"epochs": 9, "epochs_landed": 5, "linked": 1}})
    port = free_port()
    ftd = metrics_ftd(w, f"127.0.0.1:{port}")
    url = f"http://127.0.0.1:{port}"
    with urllib.request.urlopen(url + "/metrics", timeout=60) as answer:
        need(answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", f"{answer.headers}")
        samples, _ = parse(answer.read().decode())
    need(sample(samples, "ftkvm_epochs_total", guest="web", kind="landed") == "5", "epochs")
    need(sample(samples, "ftkvm_link_up", guest="web") == "1" and sample(samples, "ftkvm_module_up") == "1", "the link")
    need(sample(samples, "ftkvm_arbiter_info", type="manual") == "1", "the main loop's part is missing")
    # the next look is another one
    replicas(standin(w), {"stats": {"epochs": 10, "epochs_landed": 6}}, {"name": "db", "state": "solo"})
    with urllib.request.urlopen(url + "/metrics", timeout=60) as answer:
        samples, _ = parse(answer.read().decode())
    need(sample(samples, "ftkvm_epochs_total", guest="web", kind="landed") == "6", "epochs")
    need(sample(samples, "ftkvm_guest_state", guest="db", role="primary", state="solo") == "1", "db")
    for path, data, status in (("/", None, 404), ("/metrics/x", None, 404), ("/metrics", b"x" * 100000, 405)):
        try:
            with urllib.request.urlopen(url + path, data, timeout=60) as answer:
                need(False, f"{path}: {answer.status}")
        except urllib.error.HTTPError as error:
            need(error.code == status, f"{path}: {error.code}")
    need(ftd.ask(cmd="info")["ok"], "ftd does not answer any more")


@test
def metrics_by_ipv6(w):
    """At an address of either kind, and at all of both."""
    replicas(standin(w), {})
    for where, hosts in (("[::1]", ["[::1]"]), ("", ["[::1]", "127.0.0.1"]), ("[::]", ["[::1]", "127.0.0.1"])):
        port = free_port()
        ftd = metrics_ftd(w, f"{where}:{port}")
        for host in hosts:
            with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=60) as answer:
                parse(answer.read().decode())
        if where == "[::1]":
            with socket.socket() as sock:
                need(sock.connect_ex(("127.0.0.1", port)), "one of its addresses is another one")
        ftd.process.terminate()
        ftd.process.wait(60)


@test
def metrics_at_a_unix_socket(w):
    replicas(standin(w), {})
    path = w.path("metrics.sock")
    ftd = metrics_ftd(w, f"unix:{path}")
    need(os.stat(path).st_mode & 0o777 == 0o600, "others may connect")
    head, body = http(path, b"GET /metrics HTTP/1.0\r\n\r\n")
    need_match("200 OK", head)
    parse(body)
    head, body = http(path, b"HEAD /metrics HTTP/1.0\r\n\r\n")
    need_match("200 OK", head)
    need(not body, f"HEAD has a body: {body}")
    for text in (b"x\r\n\r\n", b"\0\xff" * 1000 + b"\r\n\r\n", b"GET " + b"/" * 100000 + b" HTTP/1.0\r\n\r\n"):
        try:
            http(path, text)
        except ConnectionError:
            pass
    parse(http(path, b"GET /metrics HTTP/1.0\r\n\r\n")[1])
    # who connects and says nothing keeps neither others nor the end off
    with socket.socket(socket.AF_UNIX) as idle:
        idle.connect(path)
        parse(http(path, b"GET /metrics HTTP/1.0\r\n\r\n")[1])
        ftd.process.terminate()
        need(ftd.process.wait(60) == 0, "it does not end")
    need(not os.path.exists(path), "its socket stayed")


@test
def metrics_without_the_module(w):
    path = w.path("metrics.sock")
    metrics_ftd(w, f"unix:{path}")
    samples, _ = parse(http(path, b"GET /metrics HTTP/1.0\r\n\r\n")[1])
    need(sample(samples, "ftkvm_module_up") == "0", "the module is there?")


@test
def metrics_off_and_in_the_way(w):
    """None are served unless asked for; a port that is taken is said at the start."""
    plain = w.ftd()
    need(b"ftkvm_" not in plain.peer(b"GET /metrics HTTP/1.0\r\n\r\n"), "the peers' port serves them")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        conf = w.path("taken.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(f"[metrics]\nlisten = 127.0.0.1:{sock.getsockname()[1]}\n")
        other = w.ftd("other", "--config", conf, wait=False)
        need(other.process.wait(60) == 1, f"it ended with {other.process.returncode}")
        need_match(r"cannot serve metrics at 127.*in use; correct \[metrics\] listen", other.log)
