# SPDX-License-Identifier: GPL-2.0
"""What the tests of arbiters use: who asks, and who is asked."""
import base64
import errno
import http.client
import json
import os
import random
import select
import shutil
import socket
import ssl
import subprocess
import threading
import uuid

from configuration import write
from world import Failed, need, wait_for

ENOENT, EEXIST, EALREADY, EAGAIN = -errno.ENOENT, -errno.EEXIST, -errno.EALREADY, -errno.EAGAIN
# Answers that say how it stands; any other one says that it is not known.
KNOWN = (0, ENOENT, EEXIST, EALREADY)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def session(rng=None):
    return str(uuid.UUID(int=(rng or random).getrandbits(128), version=4))


class Tool:
    """A process that asks, as ftd does."""

    def __init__(self, w, conf, **options):
        options.setdefault("env", getattr(conf, "env", None))
        with open(w.path("tools.log"), "ab") as log:
            self.process = subprocess.Popen([*w.wrap, os.path.join(w.build, "arbiter-tool"), conf, "-"],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, **options)
        w.processes.append(self.process)
        self.log = w.path("tools.log")
        self.hello = self.get()

    def send(self, *words):
        self.process.stdin.write(" ".join(words).encode() + b"\n")
        self.process.stdin.flush()

    def get(self):
        """It comes back: not in time, as that is the machine's, but at all."""
        need(select.select([self.process.stdout], [], [], 120)[0], "no answer: a call does not come back")
        line = self.process.stdout.readline()
        if not line:
            with open(self.log, encoding="utf-8") as file:
                raise Failed(f"arbiter-tool ended with {self.process.wait()}: {file.read()}")
        return json.loads(line)

    def ask(self, *words):
        self.send(*words)
        return self.get()

    def known(self, *words):
        """Ask until it is known."""
        answers = []

        def known():
            answers.append(self.ask(*words))
            return answers[-1]["ret"] in KNOWN
        wait_for(known, f"{words} is known")
        return answers[-1]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.process.kill()		# it may be held
        self.process.stdin.close()
        code = self.process.wait(120)
        self.process.stdout.close()
        if not kind and code:
            with open(self.log, encoding="utf-8") as file:
                raise Failed(f"arbiter-tool ended with {code}: {file.read()}")


class Files:
    type, away = "file", "mount that storage"
    left_out = staticmethod(lambda w: None)

    def __init__(self, w):
        self.w, self.dir = w, w.path("arbiter")
        os.mkdir(self.dir)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def conf(self, *lines):
        lines = "\n".join(("timeout-ms = 60000",) * ("timeout" not in str(lines)) + lines)
        return write(self.w, f"[arbiter]\ntype = file\npath = {self.dir}\n{lines}\n")

    def down(self):
        os.rename(self.dir, self.dir + ".away")

    def up(self):
        os.rename(self.dir + ".away", self.dir)


def program(name, package, where):
    """The machine's, or Debian's, unpacked and not installed: that would start a service."""
    found = shutil.which(name)
    if not found:
        done = subprocess.run([os.path.join(TOP, "tests", "testbed", "unpack"), name, package], capture_output=True,
                              text=True, check=False)
        need(not done.returncode, f"no {name}, and none could be fetched: {done.stderr[-1000:]}")
        found = os.path.join(done.stdout.splitlines()[-1], "usr", where, name)
    return found


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Etcd:
    """A cluster of one."""
    type, away = "etcd", r"127\.0\.0\.1:.*see that etcd runs there"
    left_out = staticmethod(lambda w: None)

    def __init__(self, w, tls=False):
        self.w, self.tls, self.program, self.token = w, tls, program("etcd", "etcd-server", "bin"), None
        self.port, self.peer = free_port(), free_port()
        self.url = f"http{'s' * tls}://127.0.0.1:{self.port}"
        if tls:
            self.make_certificates()
        self.up()

    def up(self):
        words = [self.program, "--data-dir", self.w.path("etcd"), "--listen-client-urls", self.url,
                 "--advertise-client-urls", self.url, "--listen-peer-urls", f"http://127.0.0.1:{self.peer}",
                 "--initial-advertise-peer-urls", f"http://127.0.0.1:{self.peer}", "--initial-cluster",
                 f"default=http://127.0.0.1:{self.peer}", "--logger", "zap"]
        if self.tls:
            words += ["--client-cert-auth", "--trusted-ca-file", self.pki("ca.crt"), "--cert-file",
                      self.pki("server.crt"), "--key-file", self.pki("server.key")]
        env = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
        with open(self.w.path("etcd.log"), "ab") as log:
            self.process = self.w.start(words, stdout=log, stderr=log, env=env)

        def up():
            need(self.process.poll() is None, "etcd ended: " + self.w.text(self.w.path("etcd.log"))[-2000:])
            try:
                return self.request("GET", "/health", None)[1].get("health") == "true"
            except (OSError, http.client.HTTPException):
                return False
        wait_for(up, "etcd comes up")

    def down(self):
        self.process.terminate()
        self.process.wait(60)

    def conf(self, *lines, endpoints=None):
        lines = ("timeout-ms = 60000",) * ("timeout" not in str(lines)) + lines
        return write(self.w, "\n".join(("[arbiter]\ntype = etcd", f"endpoints = {endpoints or self.url}", *lines, "")))

    # --- past the programs that are tested ---

    def request(self, method, path, body):
        if self.tls:
            context = ssl.create_default_context(cafile=self.pki("ca.crt"))
            context.load_cert_chain(self.pki("client.crt"), self.pki("client.key"))
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body and json.dumps(body),
                               {"Authorization": self.token} if self.token else {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or "{}")
        finally:
            connection.close()

    def post(self, path, **body):
        status, answer = self.request("POST", path, body)
        need(status == 200, f"etcd refuses {path}: {answer}")
        return answer

    def keys(self, prefix=""):
        begin = ("ftkvm/" + prefix).encode()
        end = begin[:-1] + bytes([begin[-1] + 1])
        return self.post("/v3/kv/range", key=base64.b64encode(begin).decode(),
                         range_end=base64.b64encode(end).decode()).get("kvs", [])

    def left(self, name):
        """Seconds of a session's lease."""
        return int(self.post("/v3/lease/timetolive", ID=self.keys(name)[0]["lease"])["TTL"])

    # --- TLS and users ---

    def pki(self, name):
        return self.w.path(os.path.join("pki", name))

    def certificates(self):
        return [f"ca = {self.pki('ca.crt')}", f"cert = {self.pki('client.crt')}", f"key = {self.pki('client.key')}"]

    def make_certificates(self):
        os.mkdir(self.pki(""))
        for name, signer in (("ca", None), ("other", None), ("server", "ca"), ("client", "ca"), ("stranger", "other")):
            words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-days", "2", "-subj", f"/O={name}", "-keyout", self.pki(name + ".key"), "-out",
                     self.pki(name + ".crt")]
            if signer:
                words += ["-CA", self.pki(signer + ".crt"), "-CAkey", self.pki(signer + ".key"), "-addext",
                          "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            need(not done.returncode, f"openssl: {done.stderr}")

    def authenticate(self):
        """Users from now on: root, ft for sessions, and nobody, who may do nothing."""
        begin, end = (base64.b64encode(text).decode() for text in (b"ftkvm/", b"ftkvm0"))
        self.post("/v3/auth/role/add", name="sessions")
        self.post("/v3/auth/role/grant", name="sessions",
                  perm={"permType": "READWRITE", "key": begin, "range_end": end})
        for user, role in (("root", "root"), ("ft", "sessions"), ("nobody", None)):
            self.post("/v3/auth/user/add", name=user, password="right")
            if role:
                self.post("/v3/auth/user/grant", user=user, role=role)
        self.post("/v3/auth/enable")
        self.token = self.post("/v3/auth/authenticate", name="root", password="right")["token"]

    def change(self, user, password):
        self.post("/v3/auth/user/changepw", name=user, password=password)


class Proxy:
    """
    A connection at a time to a port of this machine. Of a request for the path @cut the
    answer gets lost. Without a port: @text is the answer to all, None: there is none ever.
    """

    def __init__(self, port, text=None):
        self.port, self.text, self.cut, self.cuts = port, text, None, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        held = []
        while True:
            client, _ = self.listener.accept()
            client.settimeout(60)
            if self.port is None and self.text is None:
                held.append(client)
                continue
            threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    @staticmethod
    def message(sock):
        """One, of HTTP/1.1, as etcd and curl write them."""
        got = b""
        while b"\r\n\r\n" not in got:
            more = sock.recv(65536)
            if not more:
                return b""
            got += more
        head, body = got.split(b"\r\n\r\n", 1)
        length = [int(line.split(b":")[1]) for line in head.split(b"\r\n")
                  if line.lower().startswith(b"content-length:")]
        if length:
            while len(body) < length[0]:
                body += sock.recv(65536)
        elif b"transfer-encoding: chunked" in head.lower():
            while not body.endswith(b"0\r\n\r\n"):
                body += sock.recv(65536)
        return head + b"\r\n\r\n" + body

    def talk(self, client):
        try:
            with client:
                while True:
                    request = self.message(client)
                    if not request:
                        return
                    if self.port is None:
                        client.sendall(self.text)
                        continue
                    with socket.create_connection(("127.0.0.1", self.port), timeout=60) as server:
                        server.sendall(request)
                        answer = self.message(server)
                    if self.cut and request.split(b" ")[1] == self.cut.encode():
                        self.cuts += 1
                        return
                    client.sendall(answer)
        except OSError:
            pass
