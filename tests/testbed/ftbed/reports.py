# SPDX-License-Identifier: GPL-2.0
"""What an emulated host's kernel complains of, found in its log and asked of it.

find() takes reports out of a console's text. leaks() and lockdep_off() ask a
host that runs a debug kernel (tests/testbed/debug).
"""
import re

# What a kernel says when something is wrong with it.
TITLE = re.compile(r"WARNING:|BUG:|Oops|general protection|stall|refcount_t|Kernel panic|"
                   r"blocked for more than|UBSAN|KASAN|KCSAN|scheduling while|ODEBUG|"
                   r"unable to handle|INFO: (?:task|possible|trying|rcu|lockdep|inconsistent)|"
                   r"suspicious RCU|sleeping function|turning off the locking|lockdep is turned off|"
                   r"possible recursive|DEBUG_LOCKS|list_(?:add|del) corruption|soft lockup|"
                   r"kmemleak: (?!Kernel memory leak detector|Automatic)|"
                   # without any of those
                   r"Call Trace")
# Where a report ends, by its title or the line before it; LONGEST if nowhere.
RULE = re.compile(r"^={60,}$")
ENDS = ((re.compile(r"KASAN|KCSAN"), RULE),
        (re.compile(r"cut here"), re.compile(r"---\[ end ")),
        (re.compile(r""), re.compile(r"</TASK>$|---\[ end ")))
LONGEST = 120
# On an object's stack: code of a module that has gone since. Only ftkvm goes, and what
# others run at their load.
GONE = re.compile(r"\b0xffffffff[a-f][0-9a-f]{7}\b")
STAMP = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")
RACE = re.compile(r"BUG: KCSAN: .*")


class Report:
    def __init__(self, title, lines):
        self.title, self.lines = title, lines

    @property
    def text(self):
        return "\n".join(self.lines)

    @property
    def race_of_others(self):
        """A data race between functions that are the kernel's own."""
        return bool(RACE.search(self.title)) and not re.search(r"\[ftkvm\]|\bftkvm_", self.title)


def find(text):
    """The reports in a kernel's log, in order."""
    lines = [STAMP.sub("", line.rstrip("\r")) for line in text.splitlines()]
    found, at = [], 0
    while at < len(lines):
        if not TITLE.search(lines[at]):
            at += 1
            continue
        before = lines[at - 1] if at else ""
        ending = next(end for key, end in ENDS if key.search(before) or key.search(lines[at]))
        end = at + 1
        while end < len(lines) and end - at < LONGEST and not ending.search(lines[end - 1]):
            end += 1
        found.append(Report(lines[at].strip(), lines[at:end]))
        at = end
    return found


def leaks(host):
    """Memory of ftkvm's that nothing points to any more; "" if there is none, or no kmemleak.

    An object must be unreferenced in two scans, and some seconds old.
    """
    if not host.alive:
        return ""
    control = "/sys/kernel/debug/kmemleak"
    out = host.run(f"[ -w {control} ] || exit 0; sleep 6; echo scan > {control} && "
                   f"echo scan > {control} && cat {control}", timeout=120).out
    blocks = re.split(r"(?m)^(?=unreferenced object)", out)
    return "\n".join(b for b in blocks if "[ftkvm]" in b or
                     (GONE.search(b) and "do_one_initcall" not in b))


def lockdep_off(host):
    """Whether the lock validator has given up: what came later was not looked at."""
    if not host.alive:
        return False
    out = host.run("grep debug_locks /proc/lockdep_stats 2>/dev/null; true").out
    return out.split()[-1:] == ["0"]
