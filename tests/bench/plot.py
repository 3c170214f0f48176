# SPDX-License-Identifier: GPL-2.0
"""Slowdown against epoch length, as SVG."""
import math
from xml.sax.saxutils import escape

import plan
import results

WIDTH, HEIGHT = 940, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 60, 70
INK, FAINT, GRID = "#222222", "#777777", "#e4e4e4"
COLOUR = {"cpu": "#1f5fa8", "pio": "#c0562b", "clock": "#2f7d4f"}
WORDS = {"cpu": "CPU-bound", "pio": "console and port I/O", "clock": "clock reads, timer"}
THEIRS = "#8a8a8a"


class Axes:
    def __init__(self, xs, ys):
        self.x_low, self.x_high = math.log(min(xs)), math.log(max(xs))
        self.y_high = math.log(max(ys) * 1.15)

    def x(self, value):
        inside = (math.log(value) - self.x_low) / (self.x_high - self.x_low)
        return round(LEFT + inside * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value):
        inside = math.log(max(value, 1.0)) / self.y_high
        return round(HEIGHT - BOTTOM - inside * (HEIGHT - TOP - BOTTOM), 1)


def _text(x, y, words, colour=INK, anchor="start", size=13, bold=False):
    weight = ' font-weight="bold"' if bold else ""
    return (f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}" '
            f'font-size="{size}"{weight}>{escape(words)}</text>')


def _line(x1, y1, x2, y2, colour, width=1, dash=None):
    extra = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" '
            f'stroke-width="{width}"{extra}/>')


def _curve(axes, points, colour, dash=None):
    where = [(axes.x(x), axes.y(y)) for x, y in sorted(points)]
    extra = f' stroke-dasharray="{dash}"' if dash else ""
    words = " ".join(f"{x},{y}" for x, y in where)
    out = [f'<polyline points="{words}" fill="none" stroke="{colour}" stroke-width="2"{extra}/>']
    out += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in where]
    return out


def _grid(axes, epochs, top):
    out = []
    for value in (1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100):
        if value <= top * 1.15:
            y = axes.y(value)
            out += [_line(LEFT, y, WIDTH - RIGHT, y, INK if value == 1 else GRID),
                    _text(LEFT - 8, y + 4, f"{value:g}", FAINT, "end", 11)]
    for epoch in epochs:
        x = axes.x(epoch)
        out += [_line(x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 5, INK),
                _text(x, HEIGHT - BOTTOM + 19, f"{epoch // 1000}K", FAINT, "middle", 11)]
    return out


def draw(rows):
    """The picture."""
    epochs = [e for e in plan.EPOCHS if isinstance(e, int)]
    ours = {guest: [(e, results.find(rows, guest, "paired", e)["slowdown"]) for e in epochs
                    if results.find(rows, guest, "paired", e)] for guest in plan.MAIN}
    top = max([y for points in ours.values() for _, y in points] + list(plan.BS_ORIGINAL.values()))
    axes = Axes(epochs, [top])
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           _text(LEFT, 28, "What lockstep costs the primary's host", size=18, bold=True),
           _text(LEFT, 46, "instructions with ftkvm / on plain KVM, for the same work of the guest",
                 FAINT, size=12)]
    out += _grid(axes, epochs, top)
    for points, dash, words in ((plan.BS_ORIGINAL, "2,4", "B&S 1995, original"),
                                (plan.BS_REVISED, "6,3", "B&S 1995, revised")):
        out += _curve(axes, points.items(), THEIRS, dash)
    right = WIDTH - RIGHT + 12
    legend = [(COLOUR[g], None, WORDS[g]) for g in plan.MAIN if ours[g]]
    legend += [(THEIRS, "2,4", "B&S, original"), (THEIRS, "6,3", "B&S, revised")]
    for number, (colour, dash, words) in enumerate(legend):
        y = TOP + 6 + 20 * number
        out += [_line(right, y, right + 22, y, colour, 2, dash), _text(right + 28, y + 4, words, size=11)]
    for guest in plan.MAIN:
        if not ours[guest]:
            continue
        out += _curve(axes, ours[guest], COLOUR[guest])
        adaptive = results.find(rows, guest, "paired", plan.ADAPTIVE)
        if adaptive:
            y = axes.y(adaptive["slowdown"])
            out += [f'<path d="M{right - 8},{y - 5} l10,5 l-10,5 Z" fill="{COLOUR[guest]}"/>',
                    _text(right + 6, y + 4, f"{adaptive['slowdown']:.2f} adaptive", COLOUR[guest],
                          size=11)]
    out += [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 42,
                  "length of an epoch, guest instructions", FAINT, "middle", 12), "</svg>", ""]
    return "\n".join(out)
