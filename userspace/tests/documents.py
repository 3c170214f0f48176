# SPDX-License-Identifier: GPL-2.0
"""What is written for users, held against what the programs and the module take."""
import contextlib
import glob
import os
import re
import shlex
import subprocess
import textwrap

from world import need, test

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(HERE)
TOP = os.path.dirname(SOURCE)
PAGES = ["README.md", "tests/README.rst", *(os.path.relpath(path, TOP) for path in
                                             sorted(glob.glob(os.path.join(TOP, "Documentation/ftkvm/*.rst"))))]


def text(path, base=TOP):
    with open(os.path.join(base, path), encoding="utf-8") as file:
        return file.read()


def page(name):
    """A manual page's source, with plain hyphens."""
    return text(f"Documentation/man/{name}").replace("\\-", "-")


def commands():
    """{command: what options it takes, as the parser's masks name them}, in the parser's order."""
    found = re.findall(r'\{ "([a-z]+)", NAME_\w+, ([A-Z_ |0]+), cmd_', text("ftctl_parse.c", SOURCE))
    need(len(found) > 15, f"the parser's commands are {found}")
    return {name: set(mask.split(" | ")) for name, mask in found}


def options():
    found = re.findall(r'\{ "([a-z-]+)", (0|OPT_[A-Z]+), [A-Z_]+, take_', text("ftctl_option.c", SOURCE))
    need(len(found) > 25, f"the parser's options are {found}")
    return found


def words_of_device():
    return [name for name, mask in options() if mask == "OPT_DEVICE"]


@test
def manual_has_all_of_ftctl(_):
    """Its commands in the order in which abbreviations are looked for, and each option."""
    manual = page("ftctl.8")
    synopsis = manual.split(".SH DESCRIPTION", maxsplit=1)[0]
    order = list(dict.fromkeys(re.findall(r"^\.B ftctl ([a-z]+)", synopsis, re.MULTILINE)))
    need(order == list(commands()), f"the synopsis has {order}, the parser {list(commands())}")
    told = set(re.findall(r"--([a-z-]+)", manual))
    for name, mask in options():
        if mask == "OPT_DEVICE":
            need(re.search(rf"^\.[BR]+ .*\b{name}\b", manual, re.MULTILINE), f"ftctl(8) has no {name}")
        else:
            need(name in told, f"ftctl(8) has no --{name}")
    more = told - {name for name, _ in options()} - {"help", "version"}
    need(not more, f"ftctl(8) has options that ftctl does not: {more}")


@test
def completion_has_all_of_ftctl(w):
    def offers(*words):
        script = f'. {SOURCE}/ftctl.bash-completion; PATH=/nonexistent:$PATH; COMP_WORDS=("$@"); ' \
                 'COMP_CWORD=$(($# - 1)); _ftctl; printf "%s\\n" "${COMPREPLY[@]}"'
        return subprocess.run(["bash", "-c", script, "bash", "ftctl", *words], capture_output=True, text=True,
                              timeout=60, check=False, cwd=w.dir).stdout.split()
    got = [word for word in offers("") if word[0] != "-"]
    need(got == list(commands()), f"it offers {got}, the parser has {list(commands())}")
    for command, masks in commands().items():
        words = (command, "add", "d0") if command == "device" else (command, "web")
        want = {f"--{name}" for name, mask in options() if (mask == "0" or mask in masks) and
                (command != "device" or name != "to")}
        got = {word for word in offers(*words, "--")}
        need(got == want, f"{command}: it offers {sorted(got - want)} too much, {sorted(want - got)} too little")
    need(set(offers("device", "add", "d0", "")) == set(words_of_device()) - {"to"}, "device add lacks a word")


@test
def configuration_is_documented(w):
    """Each key is in ftd(8) and in the file that is installed, which is good as it is; and no other."""
    keys = {(section, name) for section, name in
            re.findall(r'\{ "([a-z]+)", "([a-z-]+)", config_put_', text("config.c", SOURCE))}
    keys.update(("device", name) for name in re.findall(r'\{ "([a-z]+)", put_', text("config_device.c", SOURCE)))
    need(len(keys) > 20, f"the keys are {keys}")
    section, sample = None, set()
    for line in text("ftd.conf", SOURCE).splitlines():
        header = re.fullmatch(r"#?\[([a-z]+)(?: [a-z0-9-]+)?\]", line)
        key = re.match(r"#?([a-z-]+) *=", line)
        section = header[1] if header else section
        if key:
            sample.add((section, key[1]))
    need(sample == keys, f"ftd.conf and ftd differ in {sample ^ keys}")
    manual, told = page("ftd.8"), set()
    for part in re.split(r"^\.SS ", manual, flags=re.MULTILINE)[1:]:
        name = re.match(r"\[([a-z]+)(?: \\fINAME\\fR)?\]", part)
        for line in re.findall(r"^\.TP\n(\.BR? .*)$", part.split("\n.SH ")[0], re.MULTILINE):
            told.update((name[1], word) for word in re.findall(r"[a-z][a-z-]+", line))
    need(keys <= told, f"ftd(8) lacks {keys - told}")
    done = subprocess.run([*w.wrap, os.path.join(w.build, "ftd"), "--check", "--config",
                           os.path.join(SOURCE, "ftd.conf")], capture_output=True, text=True, timeout=60, check=False)
    need(done.returncode == 0, done.stderr)


def examples(path):
    """Commands of ftctl that stand alone in a line, to be copied: (line, words)."""
    manual = path.endswith(".8")
    source = page(os.path.basename(path)).replace("\\e\n", " ") if manual else text(path).replace("\\\n", "  ")
    for line in source.splitlines():
        found = re.match(r"(ftctl [a-z].*)" if manual else
                         r"\s+(?:[a-z]+# |[a-z]+(?: [a-z]+)?: +|ExecStart=/usr/sbin/)?(ftctl .*)", line)
        if found:
            yield line.strip(), shlex.split(found[1], comments=True)[1:]


@test
def examples_can_be_copied(w):
    """Whatever is shown as a command of ftctl is one that its parser takes, whole."""
    n = 0
    for path in (*PAGES, "Documentation/man/ftctl.8"):
        for line, words in examples(path):
            done = subprocess.run([*w.wrap, os.path.join(w.build, "unit"), "parse", *words], capture_output=True,
                                  text=True, timeout=60, check=False)
            need(done.returncode == 0, f"{path}: {line}: {done.stdout}{done.stderr}")
            n += 1
        for word in re.findall(r"`ftctl (?:-j )?([a-z]+)", text(path)):
            need(word in commands(), f"{path}: there is no ftctl {word}")
    need(n > 20, f"only {n} examples were found")


@test
def states_and_reasons_are_explained(_):
    """What status shows is in the guide for operators, with the words that it is shown by."""
    guide = " ".join(text("Documentation/ftkvm/operating.rst").split())
    source = text("text.c", SOURCE)
    for table in ("states", "reasons"):
        body = re.search(rf"struct words {table}\[\] = \{{(.*?)^\}};", source, re.DOTALL | re.MULTILINE)[1]
        names = re.findall(r'\{ "([a-z-]+)", "', body)
        need(len(names) > 8, f"{table}: {names}")
        for name in names:
            need(name == "none" or f"``{name}``" in guide, f"operating.rst does not explain {name}")


@test
def devices_are_harmless_or_refused(w):
    """Of all that this machine's QEMU has, those are let in that the page names, and what boards consist of."""
    out = subprocess.run(["qemu-system-x86_64", "-device", "help"], capture_output=True, text=True, check=True).stdout
    types = re.findall(r'^name "([^"]+)"', out, re.MULTILINE)
    need(len(types) > 300, f"QEMU's types are {types}")
    let_in = subprocess.run([os.path.join(w.build, "unit"), "harmless", *types], capture_output=True, text=True,
                            check=True).stdout.split()
    part, = re.findall(r"^Devices\n=+\n(.*?)\n\n\w.*\n==", text("Documentation/ftkvm/determinism.rst"),
                       re.MULTILINE | re.DOTALL)
    named = re.findall(r"``([\w-]+)``", part[part.index("ports "):])
    boards = ["i8042", "mc146818rtc", "piix3-ide", "vmmouse"]
    found = [name for name in let_in if not name.endswith("-x86_64-cpu")]
    need(sorted(found) == sorted(named + boards), f"let in are {found}; named are {named}")


@test
def pages_lead_somewhere(_):
    """What documents name in the tree is there."""
    for path in PAGES:
        where = os.path.dirname(os.path.join(TOP, path))
        for name in re.findall(r":doc:`([a-z-]+)`", text(path)):
            need(os.path.exists(os.path.join(where, name + ".rst")), f"{path}: there is no {name}.rst")
        for name in re.findall(r"\]\((?!https?:)([^)#]+)\)", text(path)):
            need(os.path.exists(os.path.join(where, name)), f"{path}: there is no {name}")
        for name in re.findall(r"(?<![\w/])((?:tests|kmod|userspace|Documentation)/[\w./*-]*\w)", text(path)):
            need(glob.glob(os.path.join(TOP, name)), f"{path}: there is no {name}")
    index = set(re.findall(r"^   ([a-z]+)$", text("Documentation/ftkvm/index.rst"), re.MULTILINE))
    there = {os.path.basename(path)[:-4] for path in PAGES if "ftkvm/" in path} - {"index"}
    need(index == there, f"index.rst and the pages differ in {index ^ there}")


def spec_parts(name):
    """Of a list of the specification: {name: text} of its parts."""
    whole = text("Documentation/netlink/specs/ftkvm.yaml")
    body = re.search(rf"^{name}:\n(.*?)(?=^\S)", whole, re.DOTALL | re.MULTILINE)[1]
    parts = re.split(r"^  -\n    name: ", body, flags=re.MULTILINE)[1:]
    return dict(re.match(r"(\S+)\n(.*)", part, re.DOTALL).groups() for part in parts)


def constant(*words):
    return "_".join(words).upper().replace("-", "_")


@test
def netlink_specification_is_the_header(_):
    """Numbers of attributes, commands and values are places in these lists."""
    header = text("include/uapi/linux/ftkvm.h")

    def listed(prefix):
        return [name for name in re.findall(rf"^\t({prefix}\w+)(?: = \d+)?,", header, re.MULTILINE)
                if not name.endswith("_UNSPEC")]
    sets = spec_parts("attribute-sets")
    for name, prefix in (("ftkvm", "FTKVM_A"), ("stats", "FTKVM_STAT"), ("dev-stats", "FTKVM_DEV_STAT")):
        told = [constant(prefix, one) for one in re.findall(r"^        name: (\S+)$", sets[name], re.MULTILINE)]
        need(told and told == listed(prefix + "_"), f"{name}: {set(told) ^ set(listed(prefix + '_'))}, or the order")
    spec = text("Documentation/netlink/specs/ftkvm.yaml")
    operations = spec.split("\noperations:")[1].split("\nmcast-groups:")[0]
    told = [constant("FTKVM_CMD", one) for one in re.findall(r"^      name: (\S+)$", operations, re.MULTILINE)]
    need(told and told == listed("FTKVM_CMD_"), f"commands: {set(told) ^ set(listed('FTKVM_CMD_'))}, or the order")
    for name, part in spec_parts("definitions").items():
        value = re.search(r"^    value: (\d+)$", part, re.MULTILINE)
        if value:
            real = re.search(rf"^#define {constant('FTKVM', name)}\s+(.*)$", header, re.MULTILINE)
            need(real and eval(real[1]) == int(value[1]), f"{name} is {value[1]}")	# pylint: disable=eval-used
        if "    type: enum" in part:
            inline = re.search(r"^    entries: \[ (.*) \]$", part, re.MULTILINE)
            told = inline[1].split(", ") if inline else re.findall(r"^        name: (\S+)$", part, re.MULTILINE)
            body = re.search(rf"^enum ftkvm_{name.replace('-', '_')} \{{(.*?)^\}}", header,
                             re.DOTALL | re.MULTILINE)[1]
            real = re.findall(r"^\t(FTKVM_\w+)", body, re.MULTILINE)
            same = all(long.endswith("_" + constant(short)) for short, long in zip(told, real))
            need(same and len(told) == len(real),
                 f"{name}: the specification has {told}, the header {real}")


@test
def hook_with_an_agent(w):
    """As failover.rst has it: the peer's BMC is switched off, and what the agent says is the hook's word."""
    hook = textwrap.dedent(re.search(r"^   #!/bin/sh\n   case .*?(?=\n\n)", text("Documentation/ftkvm/failover.rst"),
                                     re.MULTILINE | re.DOTALL)[0])
    agent, said = w.path("agent"), w.path("said")

    def script(path, lines):
        with open(path, "w", encoding="ascii") as file:
            file.write(lines + "\n")
        os.chmod(path, 0o755)
        return path
    path = script(w.path("hook"), hook.replace("fence_ipmilan", agent))
    for peer, status, words, verdict in (
            ("192.0.2.1:7411", 0, "-a 198.51.100.1 -l fence", "fenced"), ("192.0.2.2:7411", 0, "-a 198.51.100.2", "fenced"),
            ("192.0.2.2:7411", 1, "-a 198.51.100.2", "ended with status 1"), ("192.0.2.9:7411", 0, "", "ended with status 1")):
        script(agent, f"#!/bin/sh\necho \"$*\" > {said}; exit {status}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(said)
        done = subprocess.run([*w.wrap, os.path.join(w.build, "unit"), "fence", path, peer], capture_output=True, text=True,
                              timeout=120, check=False)
        need(verdict in done.stdout, f"{peer}: {done.stdout}{done.stderr}")
        asked = w.text(said) if os.path.exists(said) else ""
        need(words in asked and asked.endswith("-o off\n") == bool(words), f"{peer}: the agent was run with {asked!r}")
