# SPDX-License-Identifier: GPL-2.0
"""What the tests use: daemons, a real QEMU, false monitors; and how they fail."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

# No program's own statuses.
BROKEN = (98, 99)
os.environ.setdefault("ASAN_OPTIONS", "exitcode=98")
os.environ.setdefault("UBSAN_OPTIONS", "exitcode=98:print_stacktrace=1")


TESTS = []
MORE = []	# those of them that are not run unless somebody says so


def test(function):
    TESTS.append(function)
    return function


def takes_long(function):
    """A test that runs only if it is named, or with --more."""
    MORE.append(function)
    return function


class Failed(Exception):
    pass


def need(condition, text):
    if not condition:
        raise Failed(text)


def need_match(pattern, text):
    need(re.search(pattern, text, re.IGNORECASE | re.DOTALL),
         f"nothing matches /{pattern}/ in: {text.strip()[:1500]}")


def wait_for(condition, what, seconds=60):
    """Long enough for a busy machine; a test never depends on how long it takes."""
    end = time.monotonic() + seconds
    while not condition():
        need(time.monotonic() < end, f"{what}: still not so after {seconds} s")
        time.sleep(0.02)


def listens(path):
    """Its file is there a moment before one may connect."""
    with open("/proc/net/unix", encoding="ascii", errors="replace") as file:
        return any(words[3] == "00010000" and words[-1] == path for words in map(str.split, file))


class World:
    """What a test uses, taken away at its end."""

    def __init__(self, build, wrap):
        self.build, self.wrap = build, wrap
        self.dir = tempfile.mkdtemp(prefix="ftkvm-")
        self.processes = []
        self.daemons = []
        self.files = []		# that are not in its directory

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, words, **options):
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def ftd(self, name="ftd", *extra, env=None, wait=True, program="ftd", link=("--plain",), options=None):
        control, log = self.path(name + ".sock"), self.path(name + ".log")
        with open(log, "ab") as out:
            process = self.start([*self.wrap, os.path.join(self.build, program), "--control", control,
                                  "--listen", "127.0.0.1:0", *link, *extra], stdout=out, stderr=out,
                                 env=dict(os.environ, **(env or {})), **(options or {}))
        self.daemons.append((process, log))
        if wait:
            def up():
                need(process.poll() is None, "ftd ended: " + self.text(log))
                try:
                    return self.ask(control, {"cmd": "info"})
                except OSError:
                    return None
            wait_for(up, "ftd comes up")
        return Daemon(self, process, control, log)

    def text(self, path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    @staticmethod
    def say(sock, text):
        """Send; what comes back until the other side hangs up or has said a line."""
        sock.settimeout(60)
        try:
            sock.sendall(text)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass		# it has hung up, and may have said why
        got = b""
        while not got.endswith(b"\n"):
            try:
                more = sock.recv(65536)
            except ConnectionError:
                break
            if not more:
                break
            got += more
        return got

    def ask(self, control, request):
        text = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(control)
            answer = self.say(sock, text)
        return json.loads(answer.splitlines()[0]) if answer else None

    def ftctl(self, *words, control=None, check=None, env=None, program="ftctl"):
        """Run it; (exit status, standard output, standard error)."""
        words = [*self.wrap, os.path.join(self.build, program), "--control",
                 control or self.path("none.sock"), *words]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=120, cwd=self.dir, check=False, env=dict(os.environ, **(env or {})))
        need(done.returncode >= 0 and done.returncode not in BROKEN, f"ftctl broke: {done.stderr}")
        if check is not None:
            need(done.returncode == check, f"{words} ended with {done.returncode}, not {check}: "
                 f"{done.stdout}{done.stderr}")
        return done.returncode, done.stdout, done.stderr

    def qemu(self, *extra, machine="pc", monitors=1):
        """A QEMU, stopped before its first instruction; its monitors' sockets."""
        paths = [self.path(f"qmp{len(self.processes)}.{i}") for i in range(monitors)]
        words = ["qemu-system-x86_64", "-accel", "tcg", "-M", machine, "-nodefaults", "-display",
                 "none", "-m", "64", "-S", *extra]
        for path in paths:
            words += ["-qmp", f"unix:{path},server=on,wait=off"]
        process = self.start(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

        def up():
            need(process.poll() is None, "QEMU does not start: " +
                 (process.stderr.read().decode() if process.poll() is not None else ""))
            return all(listens(path) for path in paths)
        wait_for(up, "QEMU comes up")
        return paths

    @staticmethod
    def qmp(path, *commands):
        """Say commands, (name, argument=value ...), to a monitor that nobody else holds; what the last one returns."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.settimeout(60)
            with sock.makefile("rw") as file:
                file.readline()
                for name, arguments in (("qmp_capabilities", {}), *commands):
                    file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
                    file.flush()
                    answer = {}
                    while "event" in answer or not answer:
                        answer = json.loads(file.readline())
                    need("return" in answer, f"QEMU refuses {name}: {answer}")
        return answer["return"]

    def server(self, name, talk):
        """A UNIX socket whose every client is given to talk(); its path."""
        path = self.path(name)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(8)

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(60)
                    try:
                        talk(client)
                    except OSError:
                        pass
        threading.Thread(target=serve, daemon=True).start()
        return path

    def close(self):
        trouble = []
        for process, log in self.daemons:
            if process.poll() is None:
                process.terminate()
            try:
                code = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                code = "no end"
            if code not in (0, 1, -signal.SIGKILL):
                trouble.append(f"ftd ended with {code}: {self.text(log)[-3000:]}")
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stderr:
                process.stderr.close()
        shutil.rmtree(self.dir, ignore_errors=True)
        for path in self.files:
            if os.path.exists(path):
                os.unlink(path)
        need(not trouble, "; ".join(trouble))


class Daemon:
    def __init__(self, world, process, control, log):
        self.world, self.process, self.control, self._log = world, process, control, log

    def ask(self, **request):
        return self.world.ask(self.control, request)

    @property
    def log(self):
        return self.world.text(self._log)

    @property
    def port(self):
        return self.ask(cmd="info")["port"]

    def peer(self, text):
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as sock:
            return self.world.say(sock, text)


def findings(w, path):
    code, out, _ = w.ftctl("-j", "check", "--qmp", path)
    need(code == 1, f"check ended with {code}")
    answer = json.loads(out)
    need(answer["protectable"] is False, f"protectable: {answer}")
    found = answer["problems"]
    # Without KVM these are always there.
    need_match("KVM", json.dumps([p["cause"] for p in found]))
    return [p for p in found if p["scope"] == "guest" and "KVM" not in p["cause"]]
