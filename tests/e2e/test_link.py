# SPDX-License-Identifier: GPL-2.0
"""A peer that stalls, closes, resets or talks nonsense ends the pairing, nothing else."""
from harness import add, need, need_match, pairing, test

LONG = "rounds=100000 work=150"
PROXY_PORT = 7800


@test()
def wire_cut_both_ways(t):
    """Frames are dropped: both sides time out; the guest goes on at A, B waits."""
    pair = t.pair("loop", append=LONG)
    pair.join(timeout=4000)
    pair.lockstep()
    t.hosts.wire.cut()
    pair.wait_state(t.a, "solo", timeout=30)
    pair.wait_state(t.b, "orphan", timeout=30)
    for host in t.hosts:
        need_match("silent", pair.no_detail_lost(host, "peer-silent"), "detail")
        pair.wait_event(host, "peer-lost")
    t.hosts.wire.restore()
    pair.goes_on(t.a, 10)
    need(pair.state(t.b) == "orphan", "the backup did not stay an orphan")
    pair.one_machine()


@test()
def wire_cut_towards_primary(t):
    """B hears A, A does not hear B."""
    pair = t.pair("loop", append=LONG)
    pair.join(timeout=4000)
    pair.lockstep()
    t.hosts.wire.cut("b")
    pair.wait_state(t.a, "solo", timeout=30)
    pair.goes_on(t.a, 10)
    t.hosts.wire.restore()
    pair.wait_state(t.b, "orphan", "stopped", timeout=30)


@test(more=1)
def wire_stalls_for_a_moment(t):
    """Shorter than the time-out: nothing happens but a wait."""
    pair = t.pair("loop", append=LONG)
    pair.join(timeout=20000)
    pair.lockstep()
    t.hosts.wire.stall()
    t.a.run("sleep 1")
    t.hosts.wire.restore()
    pair.goes_on(t.a, 10)
    need(pair.state(t.a) == "primary", "the pairing ended")
    need(pair.stats(t.a)["commit_waits"] > 0, "no output waited for the backup")
    pair.one_machine()


def _through_proxy(order, states_a, states_b, reasons):
    def run(t):
        pair = t.pair("loop", append=LONG)
        t.through_proxy(pair, PROXY_PORT, order)
        status = pair.wait_state(t.a, *states_a, timeout=30)
        need(status["reason"] in reasons, f"the reason is {status['reason']} ({status['detail']})")
        need(status["detail"].strip(), "no detail")
        status = pair.wait_state(t.b, *states_b, timeout=30)
        need(status["reason"] in reasons, f"B's reason is {status['reason']} ({status['detail']})")
        pair.goes_on(t.a, 10)
        pair.one_machine()
    return run


# The primary goes on alone; the backup waits to be told.
add("peer_closes", _through_proxy("close", ("solo",), ("orphan",), ("peer-closed",)), more=1)
add("peer_resets", _through_proxy("reset", ("solo",), ("orphan",), ("peer-closed",)), more=1)
add("peer_stalls", _through_proxy("stall", ("solo",), ("orphan",), ("peer-silent", "peer-closed")))
# One side finds the nonsense, the other sees it close.
add("peer_talks_noise", _through_proxy("noise", ("solo",), ("orphan",),
                                       ("peer-garbled", "peer-version", "peer-closed")))
# A damaged length may leave it waiting for the rest.
add("peer_sends_damaged_frame", _through_proxy(
    "flip", ("solo",), ("orphan",), ("peer-garbled", "peer-version", "peer-closed", "peer-silent")))


@test()
def nonsense_at_the_modules_socket(t):
    """Pairing with what is no module fails with a reason; the guest can still be paired."""
    pair = t.pair("loop", append="rounds=20 work=100")
    nonsense = "no ftkvm module|protocol"
    for kind, pattern in (("noise", nonsense), ("zeros", nonsense), ("big", nonsense),
                          ("text", nonsense), ("close", "closed"), ("silent", "did not answer")):
        answer = t.tool(t.a, "bad-peer", pair.label, kind)
        need(answer["errno"], f"paired with a peer that does this: {kind}")
        need_match(pattern, answer["text"], f"text for {kind}")
        need(pair.state(t.a) == "idle", f"{kind}: the state is {pair.state(t.a)}")
    pair.join()
    pair.wait_live(t.a, "loop: done")


@test(more=1)
def nonsense_at_ftds_port(t):
    """Many who ask nonsense, and some who ask nothing: ftd still pairs."""
    pair = t.pair("loop", append="rounds=20 work=100")
    where = f"TCP:{t.b.address}:{pairing.PORT}"
    for _ in range(3):
        t.job(t.a, f"sleep 60 | socat - {where}")
    for line in ("GET / HTTP/1.0\\r\\n\\r\\n", "{}\\n", '{"ftd": 1}\\n',
                 '{"ftd": 2, "guest": "guest"}\\n',
                 '{"ftd": 1, "guest": "nobody"}\\n', '{"ftd": 1, "guest": "../../etc"}\\n',
                 '{"ftd": 1, "guest": "guest", "period_min": "x"}\\n', "[[[[[[[[\\n",
                 "\\000\\377\\376\\n"):
        answer = t.a.run(f"printf '{line}' | socat -t 5 - {where}", check=False).out
        need_match('"error"', answer, f"answer to {line}")
    t.a.run(f"head -c 100000 /dev/urandom | socat -t 5 - {where}", check=False)
    t.a.run(f"head -c 100000 /dev/zero | tr '\\0' x | socat -t 5 - {where}", check=False)
    t.b.run("kill -0 $(cat /run/ftd.pid)")
    need(pair.state(t.b) == "idle", "nonsense changed the state")
    pair.join()
    pair.wait_live(t.a, "loop: done")


@test()
def control_socket_takes_nonsense(t):
    """ftd's own socket: nonsense is answered, ftd lives."""
    t.up()
    where = f"UNIX-CONNECT:{pairing.CONTROL}"
    for line in ("x\\n", "{}\\n", '{"cmd": "fly"}\\n', '{"cmd": "promote"}\\n', '{"cmd": 5}\\n',
                 '{"cmd": "attach", "name": "a/b", "qmp": "/x"}\\n',
                 '{"cmd": "attach", "name": "a", "qmp": "relative"}\\n'):
        answer = t.a.run(f"printf '{line}' | socat -t 5 - {where}", check=False).out
        need_match('"error"', answer, f"answer to {line}")
    t.a.run(f"head -c 300000 /dev/urandom | socat -t 5 - {where}", check=False)
    t.a.run("kill -0 $(cat /run/ftd.pid)")
    mode = t.a.run(f"stat -c %a {pairing.CONTROL} $(dirname {pairing.CONTROL})").out.split()
    need(any(int(m, 8) & 0o007 == 0 for m in mode), f"anybody may talk to ftd: modes {mode}")


@test()
def no_ftd_at_the_peer(t):
    pair = t.pair("loop", append="rounds=20 work=100")
    t.refused(t.a, "pair", pair.label, "--peer", f"{t.b.address}:1", cause="cannot reach",
              remedy="systemctl start ftd|firewall")
    t.refused(t.a, "pair", pair.label, "--peer", "no.such.host.invalid", cause="resolved")
    need(pair.state(t.a) == "idle", "the failed try changed the state")
    pair.join()
    pair.wait_live(t.a, "loop: done")


@test()
def peer_has_no_such_guest(t):
    pair = t.pair("loop", append="rounds=20 work=100")
    t.ftctl(t.b, "detach", pair.label)
    t.refused(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}",
              cause="refuses", remedy="attach|guest")
    need(pair.state(t.a) == "idle", "the failed try changed the state")
