# SPDX-License-Identifier: GPL-2.0
"""Connections between hosts: handshakes, good ones and all others, and what ftd says of them.

The kernel's part is played by tests/standin_tls.c; the emulated hosts have a real one.
"""
import json
import os
import re
import socket
import subprocess

from configuration import run, write
from world import need, need_match, test, wait_for

CA_EXTENSIONS = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
HOST = "hostb.example"
BOTH = "extendedKeyUsage=serverAuth,clientAuth"


class Authority:
    """A CA in files, and certificates that it signs."""

    def __init__(self, w, name):
        self.w, self.name = w, name
        self.cert, self.key = w.path(name + ".pem"), w.path(name + ".key")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                      f"/CN={name}", "-days", "30", "-keyout", self.key, "-out", self.cert,
                      *(word for e in CA_EXTENSIONS for word in ("-addext", e)))

    @staticmethod
    def _openssl(*words):
        done = subprocess.run(["openssl", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, check=False)
        need(not done.returncode, f"openssl {words[0]}: {done.stderr}")

    def sign(self, name, alt, *extensions, days="30", kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        """A certificate; (its file, its key's)."""
        cert, key = self.w.path(name + ".pem"), self.w.path(name + ".key")
        request, more = self.w.path(name + ".csr"), self.w.path(name + ".ext")
        self._openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out",
                      request)
        with open(more, "w", encoding="ascii") as file:
            file.write("\n".join([f"subjectAltName={alt}", *(extensions or (BOTH,))]) + "\n")
        self._openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
                      "-days", days, "-extfile", more, "-out", cert)
        os.chmod(key, 0o600)
        return cert, key


def tls(w, name, authority, pair, more=""):
    cert, key = pair
    return write(w, f"[link]\nsecurity = tls\nca = {authority.cert}\ncert = {cert}\nkey = {key}\n{more}", name)


def psk(w, name, text="ftkvm:" + "5a" * 32):
    key = write(w, text + "\n", name + ".psk", 0o600)
    return write(w, f"[link]\nsecurity = psk\npsk-file = {key}\n", name)


def shake(w, server, client, host=HOST, env=None):
    """What both sides say of it: {"server": ..., "client": ...}."""
    done = subprocess.run([*w.wrap, os.path.join(w.build, "unit"), "secure", server, client, host],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
                          env=dict(os.environ, **(env or {})))
    need(done.returncode == 0, f"it ended with {done.returncode}: {done.stdout}{done.stderr}")
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def good(said, cipher):
    """Both have the same keys, each for the direction that is the other's other; the cipher is this one."""
    need(set(said) == {"server", "client"}, f"it was said: {said}")
    keys = {who: dict(re.findall(r"(\w+)=(\w*)", text)) for who, text in said.items()}
    for who in keys:
        need_match("^good ", said[who])
        need(keys[who]["left"] == "0", f"{who}: something is left to read")
    need(keys["server"]["tx"] == keys["client"]["rx"] and keys["server"]["rx"] == keys["client"]["tx"],
         f"the keys are not the same: {said}")
    need(keys["server"]["tx"] != keys["server"]["rx"], "one key for both directions")
    need(bytes.fromhex(keys["server"]["tx"])[2] == cipher, f"the cipher is not {cipher}: {said}")
    return keys["server"]["tx"]


AES_128, AES_256, CHACHA = 51, 52, 54	# linux/tls.h


@test
def link_by_certificates(w):
    ca = Authority(w, "ca")
    server = tls(w, "server", ca, ca.sign("b", f"DNS:{HOST},IP:10.0.0.2,IP:fd00::2"))
    client = tls(w, "client", ca, ca.sign("a", "DNS:hosta.example", kind=("rsa:2048",)))
    for host in (HOST, HOST.upper(), "10.0.0.2", "fd00::2"):
        good(shake(w, server, client, host), CHACHA)
    # what the kernel has decides
    for lacks, cipher in (("CHACHA20_POLY1305", AES_256), ("CHACHA20_POLY1305,AES_GCM_256", AES_128)):
        good(shake(w, server, client, env={"FTKVM_TLS_LACKS": lacks}), cipher)
    # keys are new each time
    need(good(shake(w, server, client), CHACHA) != good(shake(w, server, client), CHACHA), "the same keys again")


@test
def link_by_key(w):
    server, client = psk(w, "server"), psk(w, "client")
    need(good(shake(w, server, client), CHACHA) != good(shake(w, server, client), CHACHA), "the same keys again")
    good(shake(w, server, client, env={"FTKVM_TLS_LACKS": "CHACHA20_POLY1305"}), AES_128)


@test
def link_by_wrong_certificates(w):
    """Each is refused, and both sides say why."""
    ca, other = Authority(w, "ca"), Authority(w, "other")
    names = f"DNS:{HOST}"
    right = tls(w, "right", ca, ca.sign("b", names))
    for name, conf, host, server_says, client_says in (
            ("another CA", tls(w, "c1", other, other.sign("c1", names)), HOST,
             "host 10.0.0.1 does not take this host's certificate: the ca there", "this host's ca has not signed it"),
            ("a CA that is taken on trust", tls(w, "c2", ca, other.sign("c2", names)), HOST,
             "certificate of host 10.0.0.1 is not taken: this host's ca has not signed it",
             f"host {HOST} does not take this host's certificate: the ca there has not signed it; give both"),
            ("expired", tls(w, "c3", ca, ca.sign("c3", names, days="-1")), HOST,
             "is not taken: it has expired; renew", "does not take this host's certificate: it has expired"),
            ("only for servers", tls(w, "c4", ca, ca.sign("c4", names, "extendedKeyUsage=serverAuth")), HOST,
             "is not taken: it is not for clients; make one for both", "it is not for clients; make"),
            ("another host was called", tls(w, "c5", ca, ca.sign("c5", names)), "10.0.0.2",
             "it is for another name; make", "is not taken: it is for another name; call the host by a name"),
            ("only some names", tls(w, "c6", ca, ca.sign("c6", names), "peer-name = x.example, y.example"), HOST,
             "it is for another name; make", "it has none of the names that peer-name wants; make")):
        said = shake(w, right, conf, host)
        need(set(said) == {"server", "client"}, f"{name}: {said}")
        need_match(server_says, said["server"])
        need_match(client_says, said["client"])
    # the same towards who calls
    picky = tls(w, "picky", ca, ca.sign("p", names), "peer-name = hosta.example, 10.0.0.1")
    said = shake(w, picky, right)
    need_match("it has none of the names that peer-name wants", said["server"])
    need_match("it is for another name", said["client"])
    for alt in ("DNS:hosta.example", "IP:10.0.0.1"):
        good(shake(w, picky, tls(w, "named", ca, ca.sign("n", alt))), CHACHA)
    # and where a server's is only for clients
    said = shake(w, tls(w, "s4", ca, ca.sign("s4", names, "extendedKeyUsage=clientAuth")), right)
    need_match("it is not for servers", said["server"])
    need_match("it is not for servers", said["client"])


@test
def link_by_wrong_keys(w):
    server = psk(w, "server")
    for text in ("ftkvm:" + "5b" * 32, "other:" + "5a" * 32, "ftkvm:" + "5a" * 16):
        said = shake(w, server, psk(w, "client", text))
        need_match("key", said["server"])
        need_match(f"host {HOST} has another key; give both hosts the same file", said["client"])
    ca = Authority(w, "ca")
    certified = tls(w, "certified", ca, ca.sign("b", f"DNS:{HOST}"))
    for pair in ((server, certified), (certified, server)):
        said = shake(w, *pair)
        for who in ("server", "client"):
            need_match("secures connections in another way than this one; let .link.", said[who])


@test
def link_with_oneself(w):
    """What a host says is not given back to it by whoever sits between."""
    said = shake(w, psk(w, "one"), "-")
    need_match("this host calls itself", said["server"])
    need_match("is this host itself; name the other", said["client"])


@test
def link_with_strangers(w):
    server = psk(w, "server")
    for text, pattern in (("-", "did not end the handshake within 300 ms"), ("GET / HTTP/1.0\r\n\r\n", "is no TLS 1.3"),
                          ("\x16\x03\x01", "hung up"), ("\x16\x03\x01\x02\x02" + "x" * 512, "failed|no TLS|hung up"),
                          ("", "hung up")):
        need_match(pattern, shake(w, server, "=" + text)["server"])
    client = psk(w, "client")
    for text, pattern in (("SSH-2.0-OpenSSH_9.2\r\n", "is no TLS 1.3"), ("", "hung up"),
                          ('{"error": "not today"}\n', f"host {HOST} refuses: not today"), ("{}\n", "is no TLS 1.3")):
        need_match(pattern, shake(w, "=" + text, client)["client"])


@test
def link_configuration(w):
    """What is wrong with the files is said at once, by --check and at the start."""
    ca, other = Authority(w, "ca"), Authority(w, "other")
    pair, stranger = ca.sign("b", f"DNS:{HOST}"), other.sign("c", f"DNS:{HOST}")
    empty = write(w, "\n", "nothing.pem")
    for conf, pattern in (
            (tls(w, "c1", ca, (pair[0], stranger[1])), "key = .* is not that of cert = .*; give"),
            (tls(w, "c2", ca, (empty, pair[1])), "cert = .*, key = .* can't be taken: .*; let both be in PEM"),
            (write(w, f"[link]\nsecurity = tls\nca = {empty}\ncert = {pair[0]}\nkey = {pair[1]}\n", "c3"),
             "ca = .* has no certificate in it.*; let"),
            (psk(w, "p1", "5a" * 32), "has no line USER:KEY; make"), (psk(w, "p2", ":" + "5a" * 32), "no line USER:KEY"),
            (psk(w, "p3", "a:xyz"), "not in hexadecimal digits; make"), (psk(w, "p4", "a:5a5a"), "shorter than 16 bytes"),
            (psk(w, "p5", "a:" + "5a" * 16 + "\nb:" + "5a" * 16), "more than one line; leave")):
        code, _, err = run(w, "ftd", "--check", "--config", conf)
        need(code == 1, f"{pattern}: taken")
        need_match(f"^{re.escape(conf)}: .link. .*{pattern}", err)
        code, _, err = run(w, "ftd", "--config", conf, "--control", w.path("c"), "--listen", "127.0.0.1:0")
        need(code == 1, f"{pattern}: it runs")
        need_match(pattern, err)
    # this may be mended while it runs
    code, _, err = run(w, "ftd", "--check", "--config", tls(w, "c4", ca, stranger))
    need(code == 0, f"--check: {err}")
    need_match("no other host will take the certificate", err)


# --- two ftd ----------------------------------------------------------------------

class Called:
    """An ftd that is called, and one that calls; neither has a module."""

    number = 0

    def __init__(self, w, server, client, env=None):
        Called.number += 1
        os.makedirs(w.path("module"), exist_ok=True)
        for name in ("guests", "idle"):
            write(w, "", f"module/{name}")
        env = {"FTKVM_STANDIN": w.path("module"), **(env or {})}
        self.w = w
        self.server, self.client = (
            w.ftd(name + str(Called.number), *words, env=env, program="ftd-alone", link=()) for name, words in
            (("called", server), ("caller", client)))
        self.calls = 0

    def call(self, host="127.0.0.1"):
        """What ftctl pair says."""
        path, = self.w.qemu()
        self.calls += 1
        name = f"g{self.calls}"
        self.w.ftctl("attach", name, "--qmp", path, control=self.client.control, check=0, program="ftctl-alone")
        return self.w.ftctl("pair", name, "--peer", f"{host}:{self.server.port}", control=self.client.control, check=1,
                            program="ftctl-alone")[2]


@test
def link_of_two_ftd(w):
    """The line that they say to each other goes through what they agreed on."""
    env = {"FTKVM_STANDIN": w.path("module")}
    ca = Authority(w, "ca")
    one = tls(w, "one", ca, ca.sign("one", "IP:127.0.0.1"))
    for conf in (psk(w, "p"), one):
        called = Called(w, ("--config", conf), ("--config", conf), env)
        need_match("guest g1 is not attached here", called.call())
        need_match("connection from 127.0.0.1: TLS 1.3, CHACHA20", called.server.log)
        need_match("connection to 127.0.0.1: TLS 1.3, CHACHA20", called.client.log)
        for ftd in (called.server, called.client):
            ftd.process.terminate()
            need(ftd.process.wait(60) == 0, f"ftd: {ftd.log}")


@test
def link_that_differs(w):
    conf, plain = ("--config", psk(w, "p")), ("--plain",)
    tell = "say the same security"
    for server, client, client_says, server_says in (
            (conf, plain, f"host .* refuses: .*takes TLS only, and this was plain; .*{tell}", "takes TLS only"),
            (plain, conf, f"host 127.0.0.1 refuses: .*security = plain, who called uses TLS; .*{tell}", "who called uses TLS"),
            ((), conf, f"host 127.0.0.1 refuses: .*not told how to secure.*{tell}", "not told"),
            ((), plain, f"refuses: .*not told how to secure.*{tell}", "not told"),
            (plain, (), "not told how to secure.*security = tls or psk.*security = plain", "not told|peers' port"),
            (conf, ("--config", psk(w, "q", "ftkvm:" + "11" * 16)), "has another key", "has another key")):
        called = Called(w, server, client)
        need_match(client_says, called.call())
        # who calls may hear of it first
        wait_for(lambda: re.search(server_says, called.server.log), server_says)
        for ftd in (called.server, called.client):
            ftd.process.terminate()
            ftd.process.wait(60)


@test
def link_without_kernel_tls(w):
    """It runs, and says what to do."""
    called = Called(w, ("--config", psk(w, "p")), ("--config", psk(w, "q")), {"FTKVM_TLS_LACKS": "tls"})
    need_match("no guest can be paired: .*no TLS; run: modprobe tls", called.client.log)
    need_match("no TLS; run: modprobe tls", called.call())


@test
def link_of_the_silent(w):
    """Handshakes that do not end keep nobody out for ever, and ftd serves meanwhile."""
    ftd = w.ftd("ftd", "--config", psk(w, "p"), program="ftd-alone", env={"FTKVM_STANDIN": w.dir}, link=())
    idle = [socket.create_connection(("127.0.0.1", ftd.port), timeout=60) for _ in range(16)]
    for sock in idle:
        sock.sendall(b"\x16\x03\x01\x02\x00")
    need(ftd.ask(cmd="info")["ok"], "ftd does not answer")
    for sock in idle:
        while sock.recv(4096):
            pass
        sock.close()
    need_match("did not end the handshake within 5000 ms", ftd.log)
    need(b'"error"' in ftd.peer(b"{}\n"), "nobody else is served")
    # nor does noise
    for text in (os.urandom(100000), b"\x16" + os.urandom(10000), b"\x16\x03\x01\xff\xff" + bytes(70000)):
        ftd.peer(text)
    need(ftd.ask(cmd="info")["ok"], "ftd does not answer any more")


@test
def second_path_refused(w):
    """Who names no pairing that is here, or a guest's that can't be called so."""
    ftd = w.ftd("ftd", program="ftd-alone", env={"FTKVM_STANDIN": w.dir})
    write(w, json.dumps([{"name": "g", "role": "backup", "state": "backup"}]), ".replicas")
    for line, cause in ((b'{"ftd": 1, "second": 5, "port": 1}\n', b"no guest here is paired so"),
                        (b'{"ftd": 1, "second": 0}\n', b"no request to pair"),
                        (b'{"ftd": 1, "second": "x"}\n', b"no request to pair")):
        said = ftd.peer(line)
        need(cause in said, f"{line!r}: {said!r}")
    for second in (":7", "", "a:b", "x" * 300):
        said = ftd.ask(cmd="pair", name="g", peer="127.0.0.1", second=second)
        need("is no HOST[:PORT], nor none" in said["error"], f"{second!r}: {said}")
    need("not attached" in ftd.ask(cmd="pair", name="g", peer="127.0.0.1", second="b:7")["error"], "it was refused")


@test
def link_reloaded(w):
    """A new certificate, or another security, from the next connection on; nonsense changes nothing."""
    conf = psk(w, "p")
    called = Called(w, ("--config", conf), ("--config", psk(w, "q", "ftkvm:" + "11" * 16)))
    need_match("has another key", called.call())
    write(w, "x\n", "p.psk", 0o600)
    called.server.process.send_signal(1)
    wait_for_log(called.server, "stays as it was")
    need_match("has another key", called.call())
    write(w, "ftkvm:" + "11" * 16 + "\n", "p.psk", 0o600)
    called.server.process.send_signal(1)
    wait_for_log(called.server, "was read again")
    need_match("guest g3 is not attached here", called.call())


def wait_for_log(ftd, text):
    wait_for(lambda: text in ftd.log, f"ftd says {text!r}")
