# SPDX-License-Identifier: GPL-2.0
"""The demonstration as a picture: both hosts, epochs, lag, the cut, the takeover."""
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 1120, 120, 40
LANE_A, LANE_B, LANE_H = 96, 166, 40
PAGES = 226
EPOCHS, LAG, PANEL_H = 268, 438, 120
AXIS = 590
HEIGHT = 680

INK, FAINT, GRID = "#222222", "#777777", "#e4e4e4"
LIVE, ALONE, MUTED, WAITS, DEAD = "#2f7d4f", "#9ac27c", "#7f9fc8", "#e0a030", "#d9d9d9"
FILL = {"primary": LIVE, "alone": ALONE, "backup": MUTED, "waits": WAITS, "dead": DEAD, "nothing": None}
COLOUR = {"a": "#1f5fa8", "b": "#c0562b"}
CUT, TAKEOVER = "#c01020", "#2f7d4f"
GAP_S = 3


def data(story):
    """All that draw() needs, from a Story."""
    def said(stretches, host):
        return [when - story.start for stretch in stretches
                if stretch.console in (host.live, host.shadow)
                for when, line in stretch.lines() if line.startswith("ftdemo ")]

    hosts = {h.name: h for h in story.hosts}
    return {
        "end": story.end, "turns": story.turns,
        "cuts": [(cut.when - story.start, cut) for cut in story.cuts],
        "live": {n: said(story.live, h) for n, h in hosts.items()},
        "muted": {n: said(story.muted, h) for n, h in hosts.items()},
        "typed": [(at, host) for at, host, what in story.marks if what.startswith("typed")],
        "pages": [when - story.start for when, _ in story.outside.pages],
        "samples": {n: story.samples[n] for n in hosts},
    }


class Svg:
    def __init__(self, begin, end):
        self.begin, self.end = begin, end
        self.out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                    f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13">',
                    f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']

    def x(self, seconds):
        inside = min(max(seconds, self.begin), self.end) - self.begin
        return round(LEFT + (WIDTH - LEFT - RIGHT) * inside / (self.end - self.begin), 1)

    def rect(self, left, top, right, height, fill, **more):
        extra = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
        self.out.append(f'<rect x="{left}" y="{top}" width="{max(0, round(right - left, 1))}" '
                        f'height="{height}" fill="{fill}"{extra}/>')

    def line(self, x1, y1, x2, y2, colour, width=1, dash=None):
        extra = f' stroke-dasharray="{dash}"' if dash else ""
        self.out.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" '
                        f'stroke-width="{width}"{extra}/>')

    def text(self, x, y, words, colour=INK, anchor="start", size=13, bold=False):
        weight = ' font-weight="bold"' if bold else ""
        self.out.append(f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}" '
                        f'font-size="{size}"{weight}>{escape(words)}</text>')

    def path(self, points, colour, width=1.8):
        if points:
            words = " ".join(f"{x},{round(y, 1)}" for x, y in points)
            self.out.append(f'<polyline points="{words}" fill="none" stroke="{colour}" '
                            f'stroke-width="{width}"/>')

    def close(self):
        return "\n".join([*self.out, "</svg>", ""])


def _lanes(svg, d):
    for name, top in (("a", LANE_A), ("b", LANE_B)):
        svg.text(LEFT - 12, top + 25, f"host {name.upper()}", COLOUR[name], "end", 15, True)
        turns = d["turns"][name]
        for (begin, kind), (stop, _) in zip(turns, [*turns[1:], (d["end"], "")]):
            if FILL[kind]:
                svg.rect(svg.x(begin), top, svg.x(stop), LANE_H, FILL[kind], fill_opacity="0.55")
        for when in d["live"].get(name, ()):
            svg.line(svg.x(when), top + 4, svg.x(when), top + LANE_H - 4, INK, 0.8)
        for when in d["muted"].get(name, ()):
            svg.line(svg.x(when), top + 14, svg.x(when), top + LANE_H - 4, "#ffffff", 0.8)
    svg.text(LEFT - 12, PAGES + 4, "web page", FAINT, "end", 12)
    for when in d["pages"]:
        svg.out.append(f'<circle cx="{svg.x(when)}" cy="{PAGES}" r="2.5" fill="{LIVE}"/>')
    for when, host in d["typed"]:
        top = LANE_A if host == "a" else LANE_B
        x = svg.x(when)
        svg.out.append(f'<path d="M{x - 4},{top - 9} L{x + 4},{top - 9} L{x},{top - 1} Z" '
                       f'fill="{INK}"/>')


def _nice(top):
    """A round number not below top."""
    step = 1
    while True:
        for factor in (1, 2, 4, 6, 8):
            if factor * step >= top:
                return factor * step
        step *= 10


def _panel(svg, top, title, series):
    """series: {host: [[(seconds, value)]]}, each of which is a line of its own."""
    series = {name: [[(at, value) for at, value in points if at >= svg.begin] for points in lines]
              for name, lines in series.items()}
    highest = _nice(max([v for lines in series.values() for points in lines for _, v in points] + [1]))
    right = WIDTH - RIGHT
    for part in (0, 0.5, 1):
        y = top + PANEL_H * (1 - part)
        svg.line(LEFT, y, right, y, GRID)
        value = highest * part
        svg.text(LEFT - 8, y + 4, f"{value:,.0f}".replace(",", " ") if highest > 1 or not part % 1
                 else f"{value:g}", FAINT, "end", 11)
    svg.text(LEFT, top - 8, title, INK, size=13, bold=True)
    for name, lines in series.items():
        for points in lines:
            svg.path([(svg.x(at), top + PANEL_H * (1 - value / highest)) for at, value in points],
                     COLOUR[name], 3.2 if name == "a" and len(series) > 1 else 1.6)


def _axis(svg):
    span = svg.end - svg.begin
    step = next(s for s in (0.5, 1, 2, 5, 10, 20, 60) if span / s <= 16 or s == 60)
    svg.line(LEFT, AXIS, WIDTH - RIGHT, AXIS, INK)
    at = -(-svg.begin // step) * step
    while at <= svg.end:
        svg.line(svg.x(at), AXIS, svg.x(at), AXIS + 5, INK)
        svg.text(svg.x(at), AXIS + 19, f"{at:g}", FAINT, "middle", 11)
        at += step
    svg.text(WIDTH - RIGHT, AXIS + 36, "seconds since the guest's first instruction", FAINT, "end", 12)


def _legend(svg):
    x, y = LEFT, HEIGHT - 34
    for colour, words in ((ALONE, "live, alone"), (LIVE, "live, protected"), (MUTED, "replays, muted"),
                          (WAITS, "without a primary"), (DEAD, "no power")):
        svg.rect(x, y - 11, x + 16, 13, colour, fill_opacity="0.55")
        svg.text(x + 22, y, words, size=12)
        x += 38 + 6.6 * len(words)
    svg.line(x, y - 11, x, y + 2, INK, 1.2)
    svg.text(x + 8, y, "a line of the guest", size=12)
    x += 140
    svg.out.append(f'<path d="M{x - 4},{y - 9} L{x + 4},{y - 9} L{x},{y - 1} Z" fill="{INK}"/>')
    svg.text(x + 10, y, "a line typed at the console", size=12)
    x, y = LEFT, HEIGHT - 12
    for name in "ab":
        svg.line(x, y - 4, x + 16, y - 4, COLOUR[name], 2)
        svg.text(x + 22, y, f"counted on host {name.upper()}", size=12)
        x += 160
    for colour, dash, words in ((CUT, "5,3", "a power cut"), (TAKEOVER, "2,2", "the guest goes on")):
        svg.line(x, y - 4, x + 16, y - 4, colour, 2, dash)
        svg.text(x + 22, y, words, size=12)
        x += 130


def _begin(d):
    """Of the guest's boot no more is shown than of its work."""
    said = [at for times in d["live"].values() for at in times]
    return max(0.0, 2 * min(said) - d["end"]) if said else 0.0


def _lines(points, key):
    """Nobody counted while the host had no power; and each pairing begins to count anew."""
    lines, last = [], None
    for at, stats in points:
        if key not in stats:
            continue
        if not lines or at - last[0] > GAP_S or stats["epochs"] < last[1]:
            lines.append([])
        lines[-1].append((at, stats[key]))
        last = at, stats["epochs"]
    return lines


def _series(d, key):
    return {name: [line for points in series for line in _lines(points, key)]
            for name, series in d["samples"].items()}


def draw(d):
    """The picture as SVG."""
    begin = _begin(d)
    svg = Svg(begin, d["end"] + (d["end"] - begin) * 0.01)
    svg.text(LEFT, 32, "One guest, two hosts, two power cuts", size=20, bold=True)
    lost = ", then ".join(f"host {cut.victim.upper()}, the {cut.role}, loses power" for _, cut in d["cuts"])
    svg.text(LEFT, 54, f"{lost}; each numbered line of the guest is a tick where it was printed", FAINT)
    _lanes(svg, d)
    _panel(svg, EPOCHS, "epochs completed since it was protected", _series(d, "epochs"))
    _panel(svg, LAG, "lag of the backup, epochs", _series(d, "lag_epochs"))
    for when, cut in d["cuts"]:
        svg.line(svg.x(when), 74, svg.x(when), AXIS, CUT, 1.6, "5,3")
        svg.text(svg.x(when) - 5, 80, f"power cut {when:.1f} s", CUT, "end", 12, True)
        if cut.spoke:
            on = when + cut.spoke - cut.when
            svg.line(svg.x(on), 74, svg.x(on), AXIS, TAKEOVER, 1.6, "2,2")
            # it is some 110 wide, and the picture's end may be nearer than that
            svg.text(min(svg.x(on) + 5, WIDTH - 115), 86, f"goes on {on:.1f} s", TAKEOVER, "start", 12, True)
    _axis(svg)
    _legend(svg)
    return svg.close()
