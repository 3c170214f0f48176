# SPDX-License-Identifier: GPL-2.0
"""The hosts' connection authenticated and encrypted: TLS from ftd's handshake, by the kernel from then on."""
import shlex

from harness import add, need, need_match, pairing, test

LONG = "rounds=100000 work=150"
CONF = "/run/secure.conf"
PROXY_PORT = 7801
CURVE = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


class _Restored:
    """At a test's end: the hosts' ftd are as the others want them."""

    def __init__(self, t):
        self.test = t

    def close(self):
        for host in self.test.hosts:
            host.ftd_link = None
            if host.alive:
                self.test.down(host)


def _link(text):
    return f"[link]\ntimeout-ms = {pairing.TIMEOUT_MS}\n{text}"


def _configure(t, host, text):
    """ftd of this host with such a [link]."""
    if host.prepared:
        t.down(host)
    host.run(pairing.modules_script() + f"printf %s {shlex.quote(_link(text))} > {CONF}")
    host.ftd_link = ("--config", CONF)


def _key(t, *hosts, key="5a" * 32):
    for host in hosts:
        host.run(f"umask 077; echo ftkvm:{key} > /run/link.psk")
        _configure(t, host, "security = psk\npsk-file = /run/link.psk\n")


def _yesterday(host, script):
    """The hosts' clocks differ by some seconds, and what is made now must be valid on both."""
    host.run(f"now=$(date +%s); date -s @$((now - 86400)) && ( {script} ); code=$?; "
             "date -s @$((now + 1)); exit $code")


def _authority(host, name):
    """A CA on a host: (certificate, key), in PEM."""
    _yesterday(host, f"openssl req -x509 {CURVE} -subj /CN={name} -days 9 -keyout /run/{name}.key -out /run/{name}.pem "
               "-addext basicConstraints=critical,CA:TRUE 2>&1")
    return tuple(host.run(f"cat /run/{name}.{end}").out for end in ("pem", "key"))


def _certificates(host, authority):
    """What one makes by hand: a certificate for the host's address, signed by a CA."""
    for name, text in zip(("ca.pem", "ca.key"), authority):
        host.run(f"printf %s {shlex.quote(text)} > /run/{name}")
    _yesterday(host, "set -e; cd /run; "
               f"printf 'subjectAltName=IP:{host.address}\\nextendedKeyUsage=serverAuth,clientAuth\\n' > ext; "
               f"openssl req -new {CURVE} -subj /CN=host-{host.name} -keyout link.key -out link.csr 2>&1; "
               "openssl x509 -req -in link.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile ext "
               "-out link.pem 2>&1; chmod 600 link.key")


CERTIFIED = "security = tls\nca = /run/ca.pem\ncert = /run/link.pem\nkey = /run/link.key\n"


def _reload(host):
    host.run("n=$(grep -c 'was read again' /run/ftd.log); kill -HUP $(cat /run/ftd.pid); "
             "until [ $(grep -c 'was read again' /run/ftd.log) -gt $n ]; do sleep 0.1; done")


def _by_certificates(t):
    authority = _authority(t.a, "ca")
    for host in t.hosts:
        _certificates(host, authority)
        _configure(t, host, CERTIFIED)


SECURE = {"certificates": _by_certificates, "key": lambda t: _key(t, *t.hosts)}


def _log(host):
    return host.run("cat /run/ftd.log").out


def _in_the_kernel(host):
    """It is the kernel that does TLS, and finds all of it good."""
    stats = dict(line.split() for line in host.run("cat /proc/net/tls_stat").out.splitlines())
    need(int(stats["TlsCurrTxSw"]) == 1 and int(stats["TlsCurrRxSw"]) == 1, f"{host.name}: {stats}")
    need(int(stats["TlsDecryptError"]) == 0, f"{host.name}: {stats}")


def _paired(t, how, append=LONG, **options):
    t.things.append(_Restored(t))
    SECURE[how](t)
    pair = t.pair("loop", append=append)
    pair.join(**options)
    return pair


def _runs(how):
    def run(t):
        pair = _paired(t, how, "rounds=60 work=100")
        pair.wait_live(t.a, "loop: done")
        for host, word in ((t.a, "connection to"), (t.b, "connection from")):
            need_match(f"{word} .*: TLS 1.3, CHACHA20-POLY1305", _log(host), f"{host.name}'s log")
        pair.one_machine()
    return run


def _primary_dies(how):
    def run(t):
        pair = _paired(t, how, timeout=1000)
        pair.lockstep(10)
        for host in t.hosts:
            _in_the_kernel(host)
        t.a.power_off()
        pairing.promote(t.b)
        pair.goes_on(t.b, 10)
        pair.one_machine(promoted=True)
    return run


for name in SECURE:
    add(f"secure_{name}", _runs(name), more=name != "key")
    add(f"secure_{name}_primary_dies", _primary_dies(name), kills=True, more=name == "key")


@test(kills=True, more=1)
def secure_backup_dies(t):
    pair = _paired(t, "key", timeout=1000)
    pair.lockstep(10)
    t.b.power_off()
    pair.wait_state(t.a, "solo")
    pair.goes_on(t.a, 10)


@test(more=1)
def secure_unpaired(t):
    """The last word arrives."""
    pair = _paired(t, "key")
    pair.lockstep(10)
    pairing.ftctl(t.a, "unpair", pair.label)
    need(pair.wait_state(t.b, "stopped")["reason"] == "unpaired", f"status: {pair.status(t.b)}")
    pair.goes_on(t.a, 10)


@test(more=1)
def secure_verified(t):
    """Much goes over the link at once, and is the same on the other side."""
    pair = _paired(t, "key")
    pair.lockstep(5)
    text = pairing.ftctl(t.a, "verify", pair.label, timeout=120).out
    need_match("same|equal|identical", text, "verify")
    pair.goes_on(t.a, 10)
    _in_the_kernel(t.b)


def _refused(t, pair, cause, remedy, there):
    t.refused(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}", cause=cause, remedy=remedy)
    need_match(there, _log(t.b), "B's log")
    for host in t.hosts:
        need(pair.state(host) == "idle", f"host {host.name}: the failed try changed the state")


@test(more=1)
def secure_by_another_ca(t):
    """Nobody but who has a certificate of the CA is talked to; both sides say so."""
    t.things.append(_Restored(t))
    ca, other = _authority(t.a, "ca"), _authority(t.a, "other")
    for host, authority in ((t.a, other), (t.b, ca)):
        _certificates(host, authority)
        _configure(t, host, CERTIFIED)
    pair = t.pair("loop", append="rounds=20 work=100")
    _refused(t, pair, "certificate of host 10.77.0.2 is not taken: this host's ca has not signed it", "certificates of one CA",
             "does not take this host's certificate: the ca there has not signed it")
    # A takes B's, but not the other way round
    t.a.run(f"printf %s {shlex.quote(ca[0])} > /run/ca.pem")
    _reload(t.a)
    _refused(t, pair, "does not take this host's certificate: the ca there has not signed it", "certificates of one CA",
             "certificate of host 10.77.0.1 is not taken: this host's ca has not signed it")
    _certificates(t.a, ca)
    _reload(t.a)
    pair.join()
    pair.wait_live(t.a, "loop: done")


@test(more=1)
def secure_and_plain(t):
    """What the other side has not is refused at once, and said on both."""
    t.things.append(_Restored(t))
    _key(t, t.a)
    t.b.ftd_link = ("--plain",)
    if t.b.prepared:
        t.down(t.b)
    pair = t.pair("loop", append="rounds=20 work=100")
    _refused(t, pair, "refuses: .*security = plain", "say the same security", "who called uses TLS")
    for host, link, cause in ((t.b, (), "refuses: .*not told how to secure"), (t.a, (), "ftd is not told how to secure")):
        host.ftd_link = link
        host.run("kill $(cat /run/ftd.pid); while kill -0 $(cat /run/ftd.pid) 2>/dev/null; do sleep 0.05; done")
        pairing.start_daemon(host)
        pair.wait_taken_up(host)
        _refused(t, pair, cause, "security", "not told how to secure")
    for host in t.hosts:
        host.ftd_link = ("--plain",)
        host.run("kill $(cat /run/ftd.pid); while kill -0 $(cat /run/ftd.pid) 2>/dev/null; do sleep 0.05; done")
        pairing.start_daemon(host)
        pair.wait_taken_up(host)
    pair.join()
    pair.wait_live(t.a, "loop: done")


@test(more=1)
def secure_and_openssl(t):
    """Another's TLS understands what the kernel does, with each cipher, in both directions."""
    t.things.append(_Restored(t))
    line = r'{"ftd": 1, "guest": "nobody"}\n'
    _certificates(t.b, _authority(t.b, "ca"))
    _key(t, t.b)
    t.up()
    shown = "-psk " + "5a" * 32 + " -psk_identity ftkvm"
    for cipher in ("CHACHA20_POLY1305_SHA256", "AES_128_GCM_SHA256", "AES_256_GCM_SHA384"):
        if cipher == "AES_256_GCM_SHA384":
            # what is left belongs to certificates: a key is for a cipher with SHA-256
            t.b.run(f"printf %s {shlex.quote(_link(CERTIFIED))} > {CONF}")
            _reload(t.b)
            for name in ("ca.pem", "link.pem", "link.key"):
                t.a.run(f"printf %s {shlex.quote(t.b.run(f'cat /run/{name}').out)} > /run/{name}")
            shown = "-CAfile /run/ca.pem -verify_return_error -cert /run/link.pem -key /run/link.key"
        out = t.a.run(f"printf '{line}' | timeout 60 openssl s_client -connect {t.b.address}:{pairing.PORT} -tls1_3 -quiet "
                      f"-ciphersuites TLS_{cipher} {shown} 2>&1", check=False).out
        need_match(r"ftkvm\n\{\"error\": ?\"(guest nobody is not attached|this ftd speaks version)", out,
                   f"what {cipher} brings")
        need_match(f"TLS 1.3, {cipher.rsplit('_', 1)[0].replace('_', '-')}", _log(t.b), "B's log")


def _disturbed(order):
    def run(t):
        t.things.append(_Restored(t))
        _by_certificates(t)
        pair = t.pair("loop", append=LONG)
        t.through_proxy(pair, PROXY_PORT, order)
        a = pair.wait_state(t.a, "solo", timeout=30)
        b = pair.wait_state(t.b, "orphan", timeout=30)
        reasons = {a["reason"], b["reason"]}
        need("peer-garbled" in reasons and reasons <= {"peer-garbled", "peer-closed", "peer-silent"},
             f"the reasons are {a['reason']} ({a['detail']}), {b['reason']} ({b['detail']})")
        pair.goes_on(t.a, 10)
        pair.one_machine()
    return run


# Who sits between the hosts can end the pairing, not change what goes through.
add("secure_and_noise_between", _disturbed("noise"), more=1)
add("secure_and_damage_between", _disturbed("flip"), more=1)
