# SPDX-License-Identifier: GPL-2.0
"""The operator's side: ftctl, netlink, attach and detach, the module's coming and going."""
import json
import shlex

from harness import Guest, QMP, guests, need, need_match, pairing, replicas, test

LONG = "rounds=100000 work=150"


@test()
def ftctl_shows_a_pair(t):
    """status, list and stats, for people and with -j, on both hosts."""
    pair = t.pair("loop", append=LONG)
    for host in t.hosts:
        need(pair.state(host) == "idle", "not idle after attach")
    pair.join()
    pair.lockstep()
    for host, role in ((t.a, "primary"), (t.b, "backup")):
        status = pair.status(host)
        need(status["name"] == pair.label and status["role"] == role, f"status: {status}")
        peer = t.b.address if host is t.a else t.a.address
        need(peer in status["peer"], f"the peer is {status['peer']}")
        need(status["pid"] == int(host.run("pidof qemu-system-x86_64").out), "not QEMU's process")
        for key in ("period_min", "period_max", "margin", "counter", "timeout_ms",
                    "module_version", "proto_version"):
            need(status.get(key), f"no {key} in the status")
        need([r["name"] for r in replicas(t.json(host, "list"))] == [pair.label], "list")
        for words in (["status"], ["status", pair.label], ["list"], ["stats", pair.label]):
            text = t.ftctl(host, *words).out
            need(pair.label in text or words[0] == "stats", f"ftctl {words}: {text}")
        need_match("protected", t.ftctl(host, "status", pair.label).out, "status for people")
    first = pair.stats(t.a)
    pair.goes_on(t.a, 5)
    second = pair.stats(t.a)
    for key in ("epochs", "outputs", "records", "log_bytes", "guest_events", "exits", "tx_bytes"):
        need(second[key] > first[key], f"{key} stands still at {first[key]}")
    need(second["linked"] == 1, "not linked")
    need(pair.stats(t.b)["rx_bytes"] > 0, "the backup received nothing")


@test(more=1)
def ftctl_status_without_protection(t):
    """At 3 a.m.: what is wrong, and what to do."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    pair.guests["a"].kill(9)
    pair.wait_state(t.b, "orphan")
    text = t.ftctl(t.b, "status", pair.label, check=False).out
    need_match("NOT PROTECTED", text, "status of an orphan")
    need_match(f"ftctl promote {pair.label}", text, "what to do")
    pairing.promote(t.b)
    text = t.ftctl(t.b, "status", pair.label, check=False).out
    need_match("NOT PROTECTED", text, "status of a survivor")


@test()
def ftctl_monitor_tells_all(t):
    """Each step in a guest's life is an event, on both hosts."""
    pair = t.pair("loop", append="rounds=10 work=100")
    pair.join()
    pair.wait_live(t.a, "loop: done")
    for host in t.hosts:
        pair.guests[host.name]._job.wait(30)
        for event in ("attached", "paired", "started", "guest-ended"):
            found = pair.wait_event(host, event)
            need(found["name"] == pair.label, f"event of another guest: {found}")
        times = [e["time_ns"] for e in pair.events[host.name]]
        need(times == sorted(times), f"events out of order: {pair.events[host.name]}")


@test(hosts=1)
def ftctl_check(t):
    """A good host and a good guest: nothing is in the way."""
    t.up(t.a)
    answer = t.json(t.a, "check")
    need(answer["protectable"] and not answer["problems"], f"check: {answer}")
    t.lone()
    t.ftctl(t.a, "attach", "one", "--qmp", QMP)
    answer = t.json(t.a, "check", "one")
    need(answer["protectable"] and not answer["problems"], f"check of a guest: {answer}")
    t.ftctl(t.a, "detach", "one")
    result = t.ftctl(t.a, "check", "nobody", check=False)
    need(result.code, "check of a guest that is not there succeeds")


@test(hosts=1)
def ftctl_errors(t):
    """Wrong words, wrong names: a message, and an exit status that says so."""
    t.up(t.a)
    for words in ([], ["fly"], ["pair"], ["pair", "x"], ["promote"], ["status", "nobody"],
                  ["stats", "nobody"], ["promote", "nobody"], ["unpair", "nobody"],
                  ["detach", "nobody"], ["attach", "x"], ["attach", "a/b", "--qmp", "/run/x"],
                  ["attach", "x", "--qmp", "/run/no.such.socket"],
                  ["pair", "nobody", "--peer", "127.0.0.1"]):
        result = t.ftctl(t.a, *words, check=False)
        need(result.code, f"`ftctl {' '.join(words)}` succeeds")
        need(result.err.strip(), f"`ftctl {' '.join(words)}` says nothing")
    for words in (["-j", "status", "nobody"], ["-j", "promote", "nobody"]):
        result = t.ftctl(t.a, *words, check=False)
        need(result.code, f"`ftctl {' '.join(words)}` succeeds")
        need(result.err.strip(), f"`ftctl {' '.join(words)}` says nothing")
        if result.out.strip():
            json.loads(result.out)
    need(replicas(t.json(t.a, "list")) == [], "a list of nothing is not empty")


@test(hosts=1)
def netlink_needs_net_admin(t):
    """Root without CAP_NET_ADMIN gets nothing, not even the events."""
    t.up(t.a)
    answers = t.tool(t.a, "unprivileged")
    need(answers.pop("before") == 0, "refused with the capability, too")
    for what, code in answers.items():
        need(code == 1, f"{what}: errno {code}, not EPERM")


@test(hosts=1)
def netlink_policy(t):
    """Each attribute is validated; nothing that can't be is taken."""
    t.up(t.a)
    answers = t.tool(t.a, "policy")
    for what, answer in answers.items():
        need(answer["errno"], f"taken: {what}")
        need(answer["errno"] in (2, 9, 16, 19, 22, 34, 95), f"{what}: {answer}")
    for kind in ("none", "file", "pipe"):
        answer = t.tool(t.a, "attach-fd", kind)
        need(answer["errno"] and "no KVM virtual machine" in answer["text"], f"{kind}: {answer}")
    need(replicas(t.json(t.a, "list")) == [], "something was made of nonsense")


@test(hosts=1)
def hooks_only_while_attached(t):
    """KVM runs unmodified code unless a guest is attached; the guest does not notice."""
    t.up(t.a)
    t.unhooked(t.a)
    one = t.lone("loop", "rounds=20 work=100")
    for _ in range(3):
        t.ftctl(t.a, "attach", "one", "--qmp", QMP)
        need(t.hooked(t.a), "no hooks while a guest is attached")
        t.ftctl(t.a, "detach", "one")
        t.unhooked(t.a)
    t.ftctl(t.a, "attach", "one", "--qmp", QMP)
    one.qmp("cont")
    need(one._job.wait(40).code == 1, "the guest did not end well, attached and not paired")
    t.unhooked(t.a)


@test()
def hooks_beside_other_tracers(t):
    """Others may look at the same functions; nobody can switch ftrace off below a guest in care."""
    tracing = "/sys/kernel/tracing"
    pair = t.pair("mixed", append="rounds=100000")
    pair.join()
    pair.lockstep()
    for host in t.hosts:
        hooks = host.run(f"grep -o '^[a-z_]*' {tracing}/enabled_functions").out.split()
        need({"svm_vcpu_run", "svm_handle_exit", "vcpu_run"} <= set(hooks), f"redirected are {hooks}")
        # probes at a function's begin are ftrace's own
        host.run("".join(f"echo p:beside/{name} {name} >> {tracing}/kprobe_events; " for name in hooks))
        host.run(f"echo 1 > {tracing}/events/beside/enable")
    pair.goes_on(t.a, 20)
    for host in t.hosts:
        # the backup comes behind
        seen = host.run(f"for i in $(seq 100); do grep -q -m 1 svm_vcpu_run: {tracing}/trace && exit; sleep 0.1; done; "
                        "exit 1", check=False)
        need(not seen.code, f"host {host.name}: nothing was seen")
        host.run(f"echo 0 > {tracing}/events/beside/enable; echo > {tracing}/kprobe_events")
    pair.goes_on(t.a, 20)
    off = t.a.run("echo 0 > /proc/sys/kernel/ftrace_enabled", check=False)
    need(off.code, "ftrace can be switched off while a guest is in lockstep")
    pair.goes_on(t.a, 5)
    pair.one_machine()


@test(hosts=1)
def hooks_without_ftrace(t):
    """Switched off before: nothing would come to the hooks, so the guest is not attached."""
    t.up(t.a)
    t.lone("loop", "rounds=20 work=100")
    t.a.run("echo 0 > /proc/sys/kernel/ftrace_enabled")
    try:
        refused = t.ftctl(t.a, "attach", "one", "--qmp", QMP, check=False)
        need(refused.code, "attached, and nothing is redirected")
        need("run: sysctl kernel.ftrace_enabled=1" in t.dmesg(t.a), f"dmesg names no remedy; ftctl said: {refused.err}")
    finally:
        t.a.run("echo 1 > /proc/sys/kernel/ftrace_enabled")
    t.unhooked(t.a)
    # ftrace looks at all that it remembers when somebody comes, and gives up for good where that is not consistent
    probe = "/sys/kernel/tracing/kprobe_events"
    t.a.run(f"echo p:beside/one schedule_timeout > {probe}; echo 1 > /sys/kernel/tracing/events/beside/enable")
    t.a.run(f"echo 0 > /sys/kernel/tracing/events/beside/enable; echo > {probe}")
    need("ftrace_bug" not in t.dmesg(t.a) and "WARNING" not in t.dmesg(t.a), "ftrace has given up")
    t.ftctl(t.a, "attach", "one", "--qmp", QMP)
    need(t.hooked(t.a), "no hooks")
    t.ftctl(t.a, "detach", "one")
    t.unhooked(t.a)


@test(more=1)
def bystander_is_left_alone(t):
    """Another guest on the same host, not attached, runs while one is protected."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    qemu = Guest(t.a, "microvm", guests.table()["hello"].qemu_args(), paired=False).command
    at = qemu.index("-qmp")
    del qemu[at:at + 2]		# the protected guest's driver has that
    qemu[qemu.index("-chardev") + 1] = "file,id=con0,path=/run/bystander"
    result = t.a.run(shlex.join(qemu), timeout=60, check=False)
    need(result.code == 1, f"the bystander ended with {result.code}: {result.err}")
    need("hello: done" in t.a.run("cat /run/bystander").out, "the bystander did not end")
    need(pair.state(t.a) == "primary", "the bystander ended the pairing")
    pair.one_machine()


@test(more=1)
def two_pairs_one_after_the_other(t):
    """Names and hosts are free again when a guest has ended."""
    for _ in range(3):
        t.run("hello", machine="microvm")
    for host in t.hosts:
        need(replicas(t.json(host, "list")) == [], "the list is not empty")
        t.unhooked(host)


@test()
def settings_by_ftctl(t):
    """--period, --margin and --timeout reach both modules."""
    pair = t.pair("loop", append=LONG)
    pair.join(period=5000, margin=1500, timeout=7000)
    pair.lockstep()
    for host in t.hosts:
        status = pair.status(host)
        got = (status["period_min"], status["period_max"], status["margin"], status["timeout_ms"])
        need(got == (5000, 5000, 1500, 7000), f"host {host.name}: {got}")


@test()
def module_comes_and_goes(t):
    """Load, protect a guest, unload: three times; nothing stays behind."""
    for _ in range(3):
        t.up()
        t.run("hello", machine="pc")
        for host in t.hosts:
            t.unhooked(host)
            t.down(host)
            left = host.run("cat /proc/[0-9]*/comm 2>/dev/null | grep ^ftkvm; "
                            "grep -w ftkvm /proc/modules; true").out
            need(not left.strip(), f"left behind: {left}")
