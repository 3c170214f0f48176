# SPDX-License-Identifier: GPL-2.0
"""What can't be protected is refused, with the cause and what mends it."""
import os
import shlex
import subprocess
import tempfile
import time

from harness import CPU, QMP, SLACK, add, need, need_match, pairing, paths, test


def _without(word):
    """The CPU model with a word of it left out."""
    words = CPU.split(",")
    words.remove(word)
    return ",".join(words)


# name: (CPU model, more of QEMU's command line, cause, remedy)
GUESTS = {
    "two_vcpus": (CPU, ["-smp", "2"], "2 vCPUs", "-smp 1"),
    "kvmclock": (_without("-kvmclock"), [], "kvmclock is on", "-kvmclock"),
    "steal_time": (_without("-kvm-steal-time"), [], "steal time is on", "-kvm-steal-time"),
    "pv_eoi": (_without("-kvm-pv-eoi"), [], "paravirtual EOI is on", "-kvm-pv-eoi"),
    "rdrand": (_without("-rdrand"), [], "RDRAND is visible", "-rdrand"),
    "rdseed": (_without("-rdseed"), [], "RDSEED is visible", "-rdseed"),
    "xsaveopt": (_without("-xsaveopt"), [], "XSAVEOPT is visible", "-xsaveopt"),
    "irqchip": (CPU, ["-machine", "kernel-irqchip=on"], "not split|runs in the kernel",
                "kernel-irqchip=split"),
    "dma_device": (CPU, ["-device", "virtio-rng-pci"], "virtio-rng-pci.*writes the guest's memory",
                   "leave the device out"),
    "network_card": (CPU, ["-device", "e1000"], "e1000.*writes the guest's memory",
                     "leave the device out"),
}


def _refused_guest(cpu, args, cause, remedy):
    def run(t):
        t.up(t.a)
        t.lone(args=args, cpu=cpu)
        t.refused(t.a, "attach", "odd", "--qmp", QMP, cause=cause, remedy=remedy)
        t.unhooked(t.a)
        check = t.ftctl(t.a, "-j", "check", check=False)
        need(check.out.strip(), f"ftctl check says nothing: {check.err}")
    return run


for _name, _what in GUESTS.items():
    add("refuse_" + _name, _refused_guest(*_what), hosts=1, timeout=60)


def _different(cause, remedy, extra=((), ()), cpus=(CPU, CPU), options=None):
    def run(t):
        pair = t.pair("hello", extra=extra, cpus=cpus)
        words = [word for key, value in (options or {}).items() for word in ("--" + key.replace("_", "-"), value)]
        t.refused(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}", *words,
                  cause=cause, remedy=remedy)
        for host in t.hosts:
            need(pair.state(host) == "idle", f"host {host.name}: the state is {pair.state(host)}")
        need(not pair.live(t.a) and not pair.live(t.b), "a guest ran")
    return run


add("refuse_different_cpuid", _different("CPUID", "same|-cpu", cpus=(CPU, CPU + ",-aes")))
add("refuse_different_ram_size", _different("RAM|memory", "-m|same",
                                            extra=(["-m", "64"], ["-m", "96"])), more=1)
add("refuse_different_memory_layout",
    _different("memory layout|memory slots|layout", "same|-M",
               extra=(["-m", "64"], ["-m", "64", "-machine", "max-ram-below-4g=32M"])), more=1)


@test(hosts=1)
def refuse_two_vcpus_past_ftd(t):
    """The module itself looks, too: a caller that is not ftd gets no further."""
    t.up(t.a)
    t.lone(args=["-smp", "2"])
    pid = t.a.run("pidof qemu-system-x86_64").out.split()[0]
    answer = t.tool(t.a, "attach", "odd", pid)
    need(answer["errno"], "attached a guest with 2 vCPUs")
    need_match("2 vCPUs", answer["text"], "cause")
    need_match("-smp 1", answer["text"], "remedy")


@test()
def refuse_different_start(t):
    """Equal machines with other contents of memory: found at the first instruction."""
    pair = t.pair("hello", extra=[["-device", f"loader,addr=0x2000000,data={n},data-len=4"]
                                  for n in (1, 2)])
    result = t.ftctl(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}",
                     check=False)
    status = pair.wait_state(t.a, "solo", "idle", timeout=30)
    need(result.code or status["reason"] == "incompatible", f"not refused: {status}")
    need_match("memory|registers|differ", status["detail"] + result.err, "cause")
    need_match("same command line", status["detail"] + result.err, "remedy")
    need(pair.state(t.b) in ("stopped", "idle"), f"the backup is {pair.state(t.b)}")
    need(not pair.live(t.b), "the backup's guest ran")
    # to the primary it is as if there had been no pairing, but for ftd, which had told its QEMU to run it
    end = time.monotonic() + 20 * SLACK
    while pair.guests["a"].qmp("query-status")["status"] == "running":
        need(time.monotonic() < end, "its guest runs on, unprotected")
        time.sleep(0.1)


@test()
def refuse_guest_that_ran(t):
    pair = t.pair("loop", append="rounds=100000 work=150", attach=False)
    pair.guests["a"].qmp("cont")
    t.a.run("sleep 1")
    pair.guests["a"].qmp("stop")
    result = t.a.run(pairing.attach_command(pair.label), check=False)
    if not result.code:
        t.b.run(pairing.attach_command(pair.label))
        result = t.ftctl(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}",
                         check=False)
    need(result.code, "a guest that ran was paired")
    need_match("has run|ran", result.err, "cause")
    need_match("-S", result.err, "remedy")


@test(hosts=1)
def refuse_without_a_counter(t):
    """All PMU counters are taken by somebody else."""
    t.up(t.a)
    taker = t.job(t.a, "exec " + t.tool_command("take-counters"))
    end = t.hosts.now() + 30
    while b"held" not in taker.out:
        need(taker.running and t.hosts.now() < end, f"no counters taken: {bytes(taker.err)}")
    t.lone()
    t.refused(t.a, "attach", "odd", "--qmp", QMP, cause="counter", remedy="perf|other users")
    check = t.ftctl(t.a, "check", check=False)
    need(check.code, "ftctl check finds nothing wrong")
    need_match("counter", check.out + check.err, "what ftctl check says")
    taker.close_input()
    taker.wait(20)
    t.ftctl(t.a, "check")
    t.ftctl(t.a, "attach", "odd", "--qmp", QMP)
    t.ftctl(t.a, "detach", "odd")


class _Counters:
    """KVM gives guests performance counters there, as it does if nobody says otherwise."""

    def __init__(self, t):
        self._test = t
        self._load(1)

    def _load(self, value):
        """KVM's modules anew, with none of ours that holds them."""
        host = self._test.a
        if host.prepared:
            self._test.down(host)
        kernel = shlex.quote(paths.host_kernel_dir())
        host.run(f"rmmod kvm_amd kvm && modprobe -d {kernel} kvm enable_pmu={value} && "
                 f"modprobe -d {kernel} kvm_amd")

    def close(self):
        self._load(0)


@test(hosts=1)
def refuse_counters_of_kvm(t):
    """Which QEMU's pmu=off does not take away on AMD."""
    t.things.append(_Counters(t))
    t.up(t.a)
    t.lone()
    t.refused(t.a, "attach", "odd", "--qmp", QMP, cause="performance counters", remedy="enable_pmu=0")
    t.unhooked(t.a)


@test()
def refuse_bad_settings(t):
    pair = t.pair("hello")
    peer = f"{t.b.address}:{pairing.PORT}"
    for option, value in (("period", 999), ("period", "x"), ("margin", 0), ("counter", 0),
                          ("timeout", 1), ("timeout", -5)):
        result = t.ftctl(t.a, "pair", pair.label, "--peer", peer, f"--{option}", value, check=False)
        need(result.code and (result.err + result.out).strip(), f"--{option} {value} was taken")
    for host in t.hosts:
        need(pair.state(host) == "idle", f"host {host.name}: the state is {pair.state(host)}")
    for words in (["pair", pair.label, "--peer", peer], ["set", pair.label]):
        t.refused(t.a, *words, "--counter", "0xffff", cause="event 0xffff does not count",
                  remedy="0xc0")


# --- the module itself ---------------------------------------------------------

def _changed_module(old, new):
    """A copy of the module with some bytes replaced by as many others: another build's."""
    with open(paths.module(), "rb") as file:
        image = file.read()
    need(len(old) == len(new), "lengths differ")
    need(old in image, f"the module holds no {old!r}")
    os.makedirs(paths.WORK, exist_ok=True)
    handle, path = tempfile.mkstemp(prefix="module-", suffix=".ko", dir=paths.WORK)
    with os.fdopen(handle, "wb") as file:
        file.write(image.replace(old, new))
    os.chmod(path, 0o644)
    return path


@test(timeout=400, more=1)
def refuse_other_module_version(t):
    """A and B run different versions of ftkvm."""
    other = "0.0.9-other"
    kernel = paths.host_kernel_dir()
    release = paths.kernel_release()
    out = os.path.join(paths.WORK, "other-version" + paths.KIND, "kmod")
    subprocess.run(["make", "-s", "-C", paths.TOP, "kmod", f"KREL={release}",
                    f"KDIR={kernel}/headers", f"KOUT={out}", f"FTKVM_VERSION={other}",
                    f"KMODS={kernel}/lib/modules/{release}/kernel/arch/x86/kvm"],
                   check=True, stdout=subprocess.DEVNULL)
    t.up()
    version = t.json(t.a, "check")["module_version"]
    t.down(t.b)
    pairing.load_module(t.b, os.path.join(out, "ftkvm.ko"))
    pairing.start_daemon(t.b)
    t.b.prepared = True
    pair = t.pair("hello")
    text = t.refused(t.a, "pair", pair.label, "--peer", f"{t.b.address}:{pairing.PORT}",
                     cause="version", remedy="same")
    need(version in text and other in text, f"the versions are not named: {text}")
    pair.close()
    t.down(t.b)


@test(hosts=1)
def refuse_other_kvm_build(t):
    """Built for another kvm.ko: the module does not load, and says what to rebuild."""
    t.up(t.a)
    t.down(t.a)
    for module in ("kvm", "kvm_amd"):
        note = t.a.run(f"od -An -v -tx1 /sys/module/{module}/notes/.note.gnu.build-id | "
                       "tr -d ' \\n'").out
        build_id = note.strip()[-40:]
        path = _changed_module(build_id.encode(), build_id[:-4].encode() + b"0bad")
        try:
            result = t.a.run(f"insmod {path}", check=False)
            need(result.code, f"loaded although {module} is another one")
            said = t.a.run("dmesg | tail -n 5").out
            need_match(f"another {module}", said, "cause")
            need_match("rebuild ftkvm against linux-headers-", said, "remedy")
        finally:
            os.unlink(path)
    need("ftkvm" not in t.a.run("cut -d' ' -f1 /proc/modules").out.split(), "it stayed loaded")
    t.up(t.a)
    t.ftctl(t.a, "check")


@test(hosts=1)
def refuse_unload_while_attached(t):
    """rmmod with a guest attached: busy; without: gone."""
    t.up(t.a)
    t.lone()
    t.ftctl(t.a, "attach", "one", "--qmp", QMP)
    need(t.hooked(t.a), "no hooks while a guest is attached")
    result = t.a.run("rmmod ftkvm", check=False)
    need(result.code, "unloaded with a guest attached")
    need_match("in use", result.err, "what rmmod says")
    t.ftctl(t.a, "detach", "one")
    t.unhooked(t.a)
    t.down(t.a)
