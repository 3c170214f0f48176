# SPDX-License-Identifier: GPL-2.0
"""What an operator's tools see of a pair: ftctl top, metrics, tracepoints."""
import json
import re
import time

from harness import need, need_match, pairing, paths, test

LONG = "rounds=100000 work=150"
METRICS = 9710
TRACING = "/sys/kernel/tracing"


# --- ftctl top ------------------------------------------------------------------

@test(more=1)
def top_of_a_pair(t):
    """Two looks on either host: what was counted rises, and the rates tell of it."""
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    for host, role in ((t.a, "primary"), (t.b, "backup")):
        out = t.ftctl(host, "top", "-b", "-n", "2", "-d", "1", "-j").out
        looks = [json.loads(line) for line in out.splitlines()]
        need(len(looks) == 2, f"{len(looks)} looks: {out}")
        first, second = (look["guests"][0] for look in looks)
        need(first["name"] == pair.label and first["role"] == role and first["protected"], f"{first}")
        need(first["per_second"] is None, f"rates of one look: {first}")
        for key in ("epochs", "outputs", "exits", "log_bytes"):
            need(second["stats"][key] > first["stats"][key], f"host {host.name}: {key} stands still")
            need(second["per_second"][key] > 0, f"host {host.name}: no {key}: {second['per_second']}")
        kinds = sum(second["per_second"][f"epochs_{kind}"] for kind in ("snapped", "halted", "landed", "skipped"))
        need(kinds > 0, f"no epoch is of any kind: {second['per_second']}")
        need_match(rf"{pair.label} +{role} +{role} +up ", t.ftctl(host, "top", "-n", "1").out, "top for people")
    pair.goes_on(t.a, 5)
    pair.one_machine()


# --- metrics --------------------------------------------------------------------

class _Served:
    """Both hosts' ftd tell of their metrics."""

    def __init__(self, t):
        self.test = t
        for host in t.hosts:
            t.configure(host, f"[metrics]\nlisten = {host.address}:{METRICS}\n")

    def get(self, host):
        """As from the other host: {line without its value: value}."""
        other = self.test.b if host is self.test.a else self.test.a
        text = self.test.tool(other, "get", f"http://{host.address}:{METRICS}/metrics")
        need(text["type"].startswith("text/plain; version=0.0.4"), f"{text['type']}")
        return dict(line.rsplit(" ", 1) for line in text["body"].splitlines() if line[0] != "#")


@test(more=1)
def metrics_of_a_pair(t):
    """Each host tells what its replica is; counters rise; a guest that goes solo is not protected."""
    served = _Served(t)
    pair = t.pair("loop", append=LONG)
    need(served.get(t.a)[f'ftkvm_guest_protected{{guest="{pair.label}"}}'] == "0", "protected before it is paired")
    pair.join()
    pair.lockstep()
    name = f'guest="{pair.label}"'
    for host, role in ((t.a, "primary"), (t.b, "backup")):
        first = served.get(host)
        pair.goes_on(t.a, 5)
        second = served.get(host)
        need(second[f'ftkvm_guest_state{{{name},role="{role}",state="{role}"}}'] == "1", f"{second}")
        need(second[f"ftkvm_guest_protected{{{name}}}"] == "1" and second[f"ftkvm_link_up{{{name}}}"] == "1", f"{second}")
        need((f"ftkvm_lag_epochs{{{name}}}" in second) == (role == "primary"), "lag is the primary's to tell")
        need('ftkvm_arbiter_info{type="manual"}' in second and second["ftkvm_module_up"] == "1", f"{second}")
        for key in (f"ftkvm_outputs_total{{{name}}}", f"ftkvm_log_bytes_total{{{name}}}",
                    f'ftkvm_link_bytes_total{{{name},direction="{"sent" if role == "primary" else "received"}"}}'):
            need(int(second[key]) > int(first[key]), f"host {host.name}: {key} stands still")
        epochs = [sum(int(v) for k, v in look.items() if k.startswith("ftkvm_epochs_total{")) for look in (first, second)]
        need(epochs[1] > epochs[0], f"host {host.name}: epochs stand still: {epochs}")
    pairing.ftctl(t.a, "unpair", pair.label)
    pair.wait_state(t.b, "stopped")
    last = served.get(t.a)
    need(last[f'ftkvm_guest_state{{{name},role="primary",state="solo"}}'] == "1", f"{last}")
    need(last[f"ftkvm_guest_protected{{{name}}}"] == "0", "solo, and protected")


# --- tracepoints ----------------------------------------------------------------

class _Traces:
    """Every event of ftkvm in a buffer of its own, so that none is pushed out by another."""

    def __init__(self, t):
        self.test = t
        t.up(*t.hosts)
        t.things.append(self)
        self.events = t.a.run(f"cd {TRACING}/events/ftkvm; ls -d */ | tr -d /").out.split()
        for host in t.hosts:
            host.run(f"cd {TRACING}/instances; for e in {' '.join(self.events)}; do mkdir $e; "
                     "echo 64 > $e/buffer_size_kb; echo 1 > $e/events/ftkvm/$e/enable; done")

    def close(self):
        for host in self.test.hosts:
            if host.alive:
                host.run(f"cd {TRACING}/instances; for e in */; do echo 0 > $e/events/enable; rmdir $e; done")

    def of(self, host, event):
        """What was said by it."""
        out = host.run(f"grep -o '{event}: .*' {TRACING}/instances/{event}/trace; true").out
        return [line.partition(": ")[2] for line in out.splitlines()]

    def need(self, host, event, pattern):
        """It happened, and every line of it is of the pattern."""
        end = time.monotonic() + paths.SLOWNESS * 20
        while not (found := self.of(host, event)):
            need(time.monotonic() < end, f"host {host.name}: no {event}")
            time.sleep(0.1)
        for line in found:
            need(re.fullmatch(pattern, line), f"host {host.name}: {event}: {line!r} is not /{pattern}/")
        return found

    def none(self, host, *events):
        for event in events:
            need(not self.of(host, event), f"host {host.name}: {event}: {self.of(host, event)[:3]}")


@test(timeout=180, more=1)
def traces_of_a_pair(t):
    """Each step has its event on the host that takes it, from the pairing to the takeover."""
    traces = _Traces(t)
    pair = t.pair("timer", append="ticks=100000", machine="microvm")
    pair.join()
    pair.lockstep(2)
    need(t.json(t.a, "verify", pair.label)["same"], "not the same")
    pair.goes_on(t.a, 5)
    name = re.escape(pair.label)
    epoch = r"epoch \d+ at \d+ (snapped|halted|landed|skipped) inputs \d+ next \d+ lag"
    a_input = r"(fixed|extint|nmi|dev-\w+) vector 0x[0-9a-f]+( level)?"
    for host, role in ((t.a, "primary"), (t.b, "backup")):
        traces.need(host, "ftkvm_epoch_end", f"{name}: {role}: {epoch} {'[0-9]+' if host is t.a else '0'}")
        traces.need(host, "ftkvm_input_deliver", f"{name}: {a_input}")
        traces.need(host, "ftkvm_env_read", f"{name}: (pio|mmio|tsc|msr|lapic|irqchip) \\d+ bytes 0x[0-9a-f]+")
        traces.need(host, "ftkvm_link_up", f"{name}: peer .+")
        traces.need(host, "ftkvm_verify_end", f"{name}: all pages left 0 compared so far [1-9]\\d+")
        traces.need(host, "ftkvm_exit", ".+")
        traces.need(host, "ftkvm_state", f"{name}: .+ -> .+")
    traces.need(t.a, "ftkvm_input_queue", f"{name}: {a_input}")
    begun = traces.need(t.a, "ftkvm_commit_begin", f"{name}: up to byte \\d+, the backup holds \\d+")
    ended = traces.need(t.a, "ftkvm_commit_end", f"{name}: up to byte \\d+, waited \\d+ ns ret (0|-4)")
    need(begun and ended, "no commit")
    for line in begun:
        upto, held = map(int, re.findall(r"\d+", line.rpartition(": ")[2]))
        need(held < upto, f"it waited for what the backup holds: {line}")
    traces.need(t.a, "ftkvm_verify_begin", f"{name}: all pages left [1-9]\\d+ compared so far 0")
    traces.need(t.a, "ftkvm_log", ".+")
    traces.need(t.b, "ftkvm_replay", ".+")
    traces.need(t.b, "ftkvm_landed", f"{name}: at \\d+/0x[0-9a-f]+ breakpoints so far \\d+ look-alikes \\d+")
    traces.need(t.b, "ftkvm_input_note", f"{name}: {a_input}")
    traces.none(t.a, "ftkvm_landed", "ftkvm_replay", "ftkvm_input_note", "ftkvm_takeover_begin")
    traces.none(t.b, "ftkvm_input_queue", "ftkvm_commit_begin", "ftkvm_log", "ftkvm_takeover_begin", "ftkvm_diverged")
    pair.guests["a"].kill(9)
    pair.wait_state(t.b, "orphan")
    pairing.promote(t.b)
    pair.goes_on(t.b, 5)
    traces.need(t.b, "ftkvm_link_down", f"{name}: reason \\d+: .+")
    traces.need(t.b, "ftkvm_takeover_begin", f"{name}: \\d+ bytes of log to consume")
    took, = traces.need(t.b, "ftkvm_takeover_end", f"{name}: live since epoch \\d+, took [1-9]\\d* ns")
    need(took.endswith(f" {pair.stats(t.b)['takeover_ns']} ns"), f"not what it took: {took}")
    # every one that there is was seen, but for what is another test's
    seen = {e for e in traces.events for host in (t.a, t.b) if traces.of(host, e)}
    need(set(traces.events) - seen == {"ftkvm_diverged"}, f"never seen: {set(traces.events) - seen}")


@test(more=1)
def traces_of_a_divergence(t):
    """The point where the backup found it, before the state changes."""
    traces = _Traces(t)
    pair = t.pair("loop", append=LONG)
    pair.join()
    pair.lockstep()
    t.tool(t.b, "poke", t.b.run("pidof qemu-system-x86_64").out.strip(), 100, 77)
    t.ftctl(t.a, "verify", pair.label, check=False)
    pair.wait_event(t.b, "diverged")
    one, = traces.need(t.b, "ftkvm_diverged", f"{re.escape(pair.label)}: epoch \\d+ at \\d+/0x[0-9a-f]+")
    epoch, count, rip = re.search(r"epoch (\d+) at (\d+)/(0x[0-9a-f]+)", one).groups()
    need_match(f"epoch {epoch}, point {count}/{rip}: memory differs", pair.status(t.b)["detail"], "status")
    traces.none(t.a, "ftkvm_diverged")
