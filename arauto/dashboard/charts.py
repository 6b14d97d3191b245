"""Charts as SVG text, drawn by the server: they need no script, and their colours come from the page's style sheet.

A chart is drawn at a given width in CSS pixels, so that its letters stay legible: a page asks for a wide one and a
narrow one, and its style sheet shows the one that fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import msgspec

HUES = 10
"""The style sheet names so many colours, ``v0`` to ``v9``; the eleventh arm begins again, told apart by its letter."""

_ROW = 34.0
_LETTER = 7.2
"""The width of an average letter at 13 px."""
BOLD = 8.6
"""The same of a name, which is bold."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the interval chart. ``text`` is the value as the reader's language writes it."""

    name: str
    hue: int
    value: float
    low: float
    high: float
    text: str


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of the share chart: its share at each moment of the chart, from that moment on."""

    name: str
    hue: int
    shares: Sequence[float]


Format = Callable[[float], str]


def hue_class(place: int) -> str:
    """The colour class of the arm at this place."""
    return f"v{place % HUES}"


def interval_chart(
    arms: Sequence[Arm],
    *,
    width: int,
    least: float,
    most: float,
    tick: Format,
    title: str,
    words: str,
    zero: bool = False,
) -> str:
    """Each arm's value as a dot on its interval, over one scale.

    ``least`` and ``most`` bound what a value can be (0 and 1 for a rate). The scale ends where the interesting part
    does: a wide interval of an arm with little data would press all the others together, so it is cut, with an arrow.
    ``zero`` takes the whole scale instead and draws a line where nothing changes.
    ``words`` tells the same to whoever cannot see it.
    """
    left = max(34.0, 14.0 + BOLD * max(len(arm.name) for arm in arms))
    right = 14.0 + _LETTER * max(len(arm.text) for arm in arms)
    begin, end = (least, most) if zero else _scale(arms, least, most)
    ticks = nice_ticks(begin, end, count=max(2, int((width - left - right) // 90)))
    begin, end = min(begin, ticks[0]), max(end, ticks[-1])
    height = _ROW * len(arms) + 34

    def x(value: float) -> float:
        return left + (value - begin) / (end - begin) * (width - left - right)

    bottom = _ROW * len(arms) + 6
    lines = [
        f'<path class="grid" d="M{x(at):.1f} 4V{bottom:.1f}"/>'
        f'<text class="tick" x="{x(at):.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{escape(tick(at))}</text>'
        for at in ticks
    ]
    if zero:
        lines.append(f'<path class="mark" d="M{x(0.0):.1f} 4V{bottom:.1f}"/>')
    for place, arm in enumerate(arms):
        y = _ROW * (place + 0.5) + 4
        low, high = max(arm.low, begin), min(arm.high, end)
        hue = hue_class(arm.hue)
        lines.append(
            f'<g class="{hue}"><title>{escape(arm.name)}: {escape(arm.text)} ({escape(tick(arm.low))} – '
            f"{escape(tick(arm.high))})</title>"
            f'<text class="name" x="{left - 12:.1f}" y="{y + 4.5:.1f}" text-anchor="end">{escape(arm.name)}</text>'
            f'<path class="line" d="M{x(low):.1f} {y:.1f}H{x(high):.1f}"/>{_ends(arm, begin, end, x, y)}'
            f'<circle class="dot" cx="{x(min(max(arm.value, begin), end)):.1f}" cy="{y:.1f}" r="5.5"/>'
            f'<text class="value" x="{width - 2}" y="{y + 4.5:.1f}" text-anchor="end">{escape(arm.text)}</text></g>'
        )
    return svg(width, height, title, words, lines)


def share_chart(
    bands: Sequence[Band], moments: Sequence[int], until: int, *, width: int, title: str, words: str, tick: Format
) -> str:
    """Shares of the traffic over time, stacked to one. ``moments`` (Unix ms) are where they change; they hold until
    ``until``. ``tick`` writes seconds since the first moment."""
    left, right, top, depth = 44.0, 30.0, 8.0, 220.0
    span = max(1, until - moments[0])

    def x(at: float) -> float:
        return left + (at - moments[0]) / span * (width - left - right)

    def y(share: float) -> float:
        return top + (1 - min(1.0, share)) * depth

    lines = []
    below = [0.0] * len(moments)
    edges = [*[x(at) for at in moments], x(until)]
    taken = math.inf
    for band in bands:
        above = [base + share for base, share in zip(below, band.shares, strict=True)]
        lines.append(
            f'<g class="{hue_class(band.hue)}"><title>{escape(band.name)}</title>'
            f'<path class="area" d="{_layer(edges, below, above, y)}"/></g>'
        )
        if band.shares[-1] >= 0.05:
            middle = y((above[-1] + below[-1]) / 2) + 4.5
            if taken - middle >= 13:
                taken = middle
                lines.append(
                    f'<text class="name {hue_class(band.hue)}" x="{width - right + 8:.1f}" y="{middle:.1f}">'
                    f"{escape(band.name)}</text>"
                )
        below = above
    lines += [
        f'<path class="grid" d="M{left} {y(share):.1f}H{width - right}"/>'
        f'<text class="tick" x="{left - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share * 100:.0f}%</text>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for seconds in nice_times(span / 1000, count=max(2, int((width - left - right) // 110))):
        at = x(moments[0] + seconds * 1000)
        lines.append(
            f'<text class="tick" x="{at:.1f}" y="{top + depth + 20:.1f}" text-anchor="middle">'
            f"{escape(tick(seconds))}</text>"
        )
    return svg(width, top + depth + 28, title, words, lines)


def bar(share: float, hue: int, *, width: int = 56) -> str:
    """A small bar for a table cell, whose number stands beside it."""
    filled = max(0.0, min(1.0, share)) * width
    return (
        f'<svg class="bar {hue_class(hue)}" width="{width}" height="8" viewBox="0 0 {width} 8" aria-hidden="true">'
        f'<rect class="track" width="{width}" height="8" rx="4"/>'
        f'<rect class="fill" width="{filled:.1f}" height="8" rx="{min(4.0, filled / 2):.1f}"/></svg>'
    )


def nice_ticks(low: float, high: float, *, count: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover ``low`` to ``high`` in about ``count`` steps."""
    step = _nice((high - low) / count)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, last + 1)]


def nice_times(seconds: float, *, count: int) -> list[float]:
    """Round times from 0 to at most ``seconds``, about ``count`` of them."""
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400):
        if seconds / step <= count:
            return [float(at) for at in range(0, int(seconds) + 1, step)]
    step = int(_nice(seconds / 86400 / count)) * 86400
    return [float(at) for at in range(0, int(seconds) + 1, max(86400, step))]


def _nice(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if raw <= factor * power * (1 + 1e-9))


def _scale(arms: Sequence[Arm], least: float, most: float) -> tuple[float, float]:
    """From where to where the interval chart reaches."""
    widest = max(arm.high for arm in arms)
    narrowest = min(arm.high for arm in arms)
    best = max(arm.value for arm in arms)
    end = min(widest, max(narrowest * 1.3, least + (best - least) * 2.5))
    lowest = min(arm.low for arm in arms)
    begin = least if lowest - least < 0.6 * (end - least) else lowest
    return begin, min(most, max(end, begin + (most - least) / 1000))


def _ends(arm: Arm, begin: float, end: float, x: Callable[[float], float], y: float) -> str:
    """A stroke where the interval ends, an arrow where it goes on past the scale."""
    marks = []
    for at, inside, edge, way in ((arm.low, arm.low >= begin, begin, 1), (arm.high, arm.high <= end, end, -1)):
        if inside:
            marks.append(f'<path class="line" d="M{x(at):.1f} {y - 5:.1f}v10"/>')
        else:
            marks.append(f'<path class="line" d="M{x(edge) + 6 * way:.1f} {y - 5:.1f}l{-6 * way} 5l{6 * way} 5"/>')
    return "".join(marks)


def _layer(edges: Sequence[float], below: Sequence[float], above: Sequence[float], y: Callable[[float], float]) -> str:
    """Between two staircases: along the upper one, where each share holds from its edge to the next, and back below."""
    there = "".join(f"V{y(share):.1f}H{edge:.1f}" for share, edge in zip(above, edges[1:], strict=True))
    back = "".join(f"V{y(share):.1f}H{edge:.1f}" for share, edge in reversed(list(zip(below, edges, strict=False))))
    return f"M{edges[0]:.1f} {y(above[0]):.1f}{there}{back}Z"


def svg(width: int, height: float, title: str, words: str, lines: Sequence[str]) -> str:
    """The picture of these lines, named for whoever cannot see it: ``title``, then ``words``."""
    return (
        f'<svg class="chart" role="img" width="{width}" height="{height:.0f}" viewBox="0 0 {width} {height:.0f}" '
        f'aria-label="{escape(title)}. {escape(words)}">{"".join(lines)}</svg>'
    )
