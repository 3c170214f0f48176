# SPDX-License-Identifier: GPL-2.0
"""What both hosts printed of one guest, held against each other.

The primary's console is live from the start. The backup's replica prints the
same into its muted shadow, and from its promotion on at its own live console,
where it may say again the end of what it had printed muted: what the primary
sent last may have been lost on its way out.
"""


def _lines(text):
    return text.splitlines(keepends=True)


def _said_again(shadow, live):
    """How many characters of live are the end of shadow, from a line's start."""
    starts = [0] + [i + 1 for i, c in enumerate(shadow) if c == "\n"]
    for start in starts:
        tail = shadow[start:]
        if tail and live.startswith(tail):
            return len(tail)
    return 0


def mended(shadow, primary):
    """shadow, with the characters that its writer lost, by the primary's words.

    QEMU drops what it writes to a character device's log while a signal comes,
    an end of line as well. Only what is left out is filled in, a few characters
    in a line: one that differs stays, and all behind it.
    """
    result, at = "", 0
    if not shadow:
        return shadow
    for line in _lines(primary):
        now, missed, used = at, 0, 0
        for used, char in enumerate(line, 1):
            if shadow.startswith(char, now):
                now += 1
            else:
                missed += 1
            if now == len(shadow):
                break
        if missed > 3:
            break
        result, at = result + line[:used], now
        if at == len(shadow):
            break
    return result + shadow[at:]


def _whole_lines(text):
    return text.count("\n")


def compare(primary, shadow, live=None):
    """Are primary's output and the backup's one guest's?

    primary: all that came from the primary's live console. shadow: from the
    backup's muted one. live: from the backup's after promotion, None if there
    was none. A dict:

    same_output  they agree as far as both go (without promotion: to the end)
    lost, repeated  the guest's lines that the outside world missed, or got twice
    full         the guest's output as the backup knows it
    seam         (characters of full before the cut, and where live begins)
    difference   where they part: (line number, primary's line, backup's line)
    """
    if live is None:
        same = primary == shadow
        return {"same_output": same, "lost": 0, "repeated": 0, "full": shadow,
                "seam": None, "difference": None if same else difference(primary, shadow)}
    again = _said_again(shadow, live)
    full = shadow + live[again:]
    begins = len(shadow) - again
    same = full.startswith(primary)
    lost = repeated = 0
    if same and len(primary) < begins:
        lost = max(1, _whole_lines(full[len(primary):begins]))
    elif same and len(primary) > begins:
        over = full[begins:len(primary)]
        repeated = max(1, _whole_lines(over))
    return {"same_output": same, "lost": lost, "repeated": repeated, "full": full,
            "seam": (len(primary), begins),
            "difference": None if same else difference(primary, full[:len(primary)])}


def difference(one, other):
    a, b = _lines(one), _lines(other)
    for i in range(max(len(a), len(b))):
        left = a[i] if i < len(a) else None
        right = b[i] if i < len(b) else None
        if left != right:
            return (i + 1, left, right)
    return None
