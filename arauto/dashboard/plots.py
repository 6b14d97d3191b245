"""More charts as SVG text (see :mod:`arauto.dashboard.charts`): lines over time, a map in two dimensions, evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import msgspec

from arauto.dashboard.charts import BOLD, Format, hue_class, nice_ticks, nice_times, svg

_LEFT, _RIGHT, _TOP, _DEPTH = 58.0, 30.0, 10.0, 210.0
_LETTER = 7.2
Place = Callable[[float], float]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a chart over time; None where it has no value yet."""

    name: str
    hue: int
    values: Sequence[float | None]


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """One circle of a map: its place, and the share that its area stands for."""

    name: str
    hue: int
    x: float
    y: float
    share: float
    text: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """How far a guardrail's evidence is, of what a step (``safety``) and a rollback (``harm``) need: 1 is there."""

    name: str
    safety: float
    harm: float
    text: str


def line_chart(
    lines: Sequence[Line],
    moments: Sequence[int],
    *,
    width: int,
    title: str,
    words: str,
    tick: Format,
    elapsed: Format,
    bounds: tuple[float, float] | None = None,
    marks: Sequence[int] = (),
) -> str:
    """Values over time (``moments`` in Unix ms). ``bounds`` fixes the scale; ``marks`` are moments with a line of their
    own, such as each reweighting."""
    known = [value for line in lines for value in line.values if value is not None]
    low, high = bounds or (min(known), max(known))
    high = high if high > low else low + max(abs(low), 1e-3)
    ticks = nice_ticks(low, high, count=4)
    if bounds is None:
        low, high = min(low, ticks[0]), max(high, ticks[-1])
    left = max(_LEFT, 14.0 + _LETTER * max(len(tick(at)) for at in ticks))
    span = max(1, moments[-1] - moments[0])

    def x(at: float) -> float:
        return left + (at - moments[0]) / span * (width - left - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - min(max(value, low), high)) / (high - low) * _DEPTH

    drawn = [
        f'<path class="grid" d="M{left:.1f} {y(at):.1f}H{width - _RIGHT:.1f}"/>'
        f'<text class="tick" x="{left - 8:.1f}" y="{y(at) + 4:.1f}" text-anchor="end">{escape(tick(at))}</text>'
        for at in ticks
        if low - 1e-9 <= at <= high + 1e-9
    ]
    drawn += [
        f'<path class="mark" d="M{x(at):.1f} {_TOP}v{_DEPTH}"/>' for at in marks if moments[0] <= at <= moments[-1]
    ]
    drawn += [_line(line, [x(at) for at in moments], y) for line in lines]
    drawn += _names(lines, width - _RIGHT + 8, y)
    for seconds in nice_times(span / 1000, count=max(2, int((width - left - _RIGHT) // 110))):
        at = x(moments[0] + seconds * 1000)
        drawn.append(
            f'<text class="tick" x="{at:.1f}" y="{_TOP + _DEPTH + 20:.1f}" text-anchor="middle">'
            f"{escape(elapsed(seconds))}</text>"
        )
    return svg(width, _TOP + _DEPTH + 28, title, words, drawn)


def _line(line: Line, xs: Sequence[float], y: Place) -> str:
    path, pen = [], "M"
    for at, value in zip(xs, line.values, strict=True):
        if value is not None:
            path.append(f"{pen}{at:.1f} {y(value):.1f}")
            pen = "L"
    drawn = f'<path class="line" d="{"".join(path)}"/>'
    if len(path) == 1:
        across, down = path[0].removeprefix("M").split(" ")
        drawn = f'<circle class="dot" cx="{across}" cy="{down}" r="5.5"/>'
    return f'<g class="{hue_class(line.hue)}"><title>{escape(line.name)}</title>{drawn}</g>'


def _names(lines: Sequence[Line], x: float, y: Place) -> list[str]:
    """Each line's name at its end; of two too close, the lower one moves down."""
    ends = sorted(
        (y(value), place, line)
        for place, line in enumerate(lines)
        if (value := next((one for one in reversed(line.values) if one is not None), None)) is not None
    )
    drawn, taken = [], -math.inf
    for at, _, line in ends:
        taken = max(at, taken + 14.0)
        if taken <= _TOP + _DEPTH + 6:
            drawn.append(
                f'<text class="name {hue_class(line.hue)}" x="{x:.1f}" y="{taken + 4.5:.1f}">{escape(line.name)}</text>'
            )
    return drawn


def map_chart(spots: Sequence[Spot], *, width: int, title: str, words: str) -> str:
    """Circles where things are alike near each other; the area is the share. Axes mean nothing, and none is drawn."""
    height = width * 0.62
    radii = [max(9.0, math.sqrt(spot.share) * width * 0.14) for spot in spots]
    edge = max(radii) + 26.0
    xs, ys = [spot.x for spot in spots], [spot.y for spot in spots]
    reach = max(max(xs) - min(xs), (max(ys) - min(ys)) * (width - 2 * edge) / max(height - 2 * edge, 1.0), 1e-9)
    scale = (width - 2 * edge) / reach
    middle_x, middle_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    drawn = [f'<rect class="ground" width="{width}" height="{height:.0f}" rx="10"/>']
    wanted = [(width / 2 + (spot.x - middle_x) * scale, height / 2 - (spot.y - middle_y) * scale) for spot in spots]
    for spot, radius, (at, down) in zip(spots, radii, _apart(wanted, radii, width, height), strict=True):
        drawn.append(
            f'<g class="{hue_class(spot.hue)}"><title>{escape(spot.text)}</title>'
            f'<circle class="blob" cx="{at:.1f}" cy="{down:.1f}" r="{radius:.1f}"/>'
            f'<text class="name" x="{at:.1f}" y="{down + 4.5:.1f}" text-anchor="middle">{escape(spot.name)}</text></g>'
        )
    return svg(width, height, title, words, drawn)


def _apart(
    places: Sequence[tuple[float, float]], radii: Sequence[float], width: float, height: float
) -> list[tuple[float, float]]:
    """The same places, moved as little as it takes that no circle hides another's name, and all stay inside."""
    moved = list(places)
    for _ in range(80):
        for one in range(len(moved)):
            for other in range(one):
                (x, y), (u, v) = moved[one], moved[other]
                across, down = x - u, y - v
                lack = 1.03 * (radii[one] + radii[other]) - math.hypot(across, down)
                if lack > 0:
                    # Of two on one spot, the later one goes to the side.
                    angle = math.atan2(down, across) if across or down else float(one)
                    step = (math.cos(angle) * lack / 2, math.sin(angle) * lack / 2)
                    moved[one], moved[other] = (x + step[0], y + step[1]), (u - step[0], v - step[1])
        moved = [
            (min(max(x, r + 4), width - r - 4), min(max(y, r + 4), height - r - 4))
            for (x, y), r in zip(moved, radii, strict=True)
        ]
    return moved


def evidence_chart(rows: Sequence[Evidence], *, width: int, title: str, words: str, safe: str, harmful: str) -> str:
    """Each guardrail's evidence against its two boundaries: to the right enough to go on, to the left to roll back."""
    left = 16.0 + BOLD * max(len(row.name) for row in rows)
    right = 14.0
    middle, half = (left + width - right) / 2, (width - left - right) / 2 - 8
    bottom = 34.0 * len(rows) + 24
    drawn = [
        f'<path class="grid" d="M{middle:.1f} 22V{bottom:.1f}"/>',
        f'<path class="bound bad" d="M{middle - half:.1f} 22V{bottom:.1f}"/>',
        f'<path class="bound good" d="M{middle + half:.1f} 22V{bottom:.1f}"/>',
        f'<text class="tick" x="{middle - half:.1f}" y="14" text-anchor="start">{escape(harmful)}</text>',
        f'<text class="tick" x="{middle + half:.1f}" y="14" text-anchor="end">{escape(safe)}</text>',
    ]
    for place, row in enumerate(rows):
        y = 34.0 * place + 40
        drawn.append(f"<g><title>{escape(row.text)}</title>")
        drawn.append(
            f'<text class="name" x="{left - 12:.1f}" y="{y + 4.5:.1f}" text-anchor="end">{escape(row.name)}</text>'
        )
        for value, kind, way in ((row.harm, "bad", -1), (row.safety, "good", 1)):
            reach = max(0.0, min(1.0, value)) * half
            begin = middle if way > 0 else middle - reach
            drawn.append(
                f'<rect class="{kind}" x="{begin:.1f}" y="{y - 6:.1f}" width="{reach:.1f}" height="12" rx="3"/>'
            )
        drawn.append("</g>")
    return svg(width, bottom + 8, title, words, drawn)
