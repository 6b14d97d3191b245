"""Pictures of our own: a drawing that fits the subject, on a stage drawn by rules, all in the colours of the kit.

They need no download and no model. Vector only (SVG), so that one picture is sharp in every size.
"""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import resources

from arauto.core.brief import Brief
from arauto.core.kit import Palette
from arauto.creative.banner.colour import contrast, mix
from arauto.creative.words import fold

ABSTRACT = "abstract"
_SIDE = 400  # of a drawing


def subject_of(brief: Brief) -> str:
    """The drawing that fits what ``brief`` sells: the one most of whose words the brief says, the product's first."""
    return _subject(brief.product, brief.image_hint, brief.focus, brief.description, brief.prompt)


@lru_cache(maxsize=256)
def _subject(product: str, hint: str, *others: str) -> str:
    weights = {**dict.fromkeys(others, 1), hint: 2, product: 4}
    scores: dict[str, int] = {}
    for text, weight in weights.items():
        said = set(fold(text).replace(",", " ").replace(".", " ").split())
        for name, calls in _calls().items():
            hits = sum(any(_called(word, call) for call in calls) for word in said)
            scores[name] = scores.get(name, 0) + weight * hits
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] else ABSTRACT


def subjects() -> tuple[str, ...]:
    """The names of all drawings."""
    return (*_calls(), ABSTRACT)


def drawing(name: str, palette: Palette, ground: str) -> str:
    """The inner SVG of a drawing, on a square of 400, its colours chosen to stand out on ``ground``."""
    source = resources.files("arauto.creative").joinpath("data", "art", f"{name}.svg").read_text("utf-8")
    inner = source[source.index(">") + 1 : source.rindex("</svg>")]
    for token, colour in _scheme(palette, ground).items():
        inner = inner.replace("{" + token + "}", colour)
    return inner


def scene(name: str, palette: Palette, ground: str, size: tuple[float, float], seed: int, stage: str = "") -> str:
    """A whole picture of ``size`` (width, height): a stage filling it, and the drawing in its middle.

    ``stage`` is one of :data:`STAGES`; left out, the seed chooses.
    """
    width, height = size
    rng = random.Random(f"{seed} {name} {stage}")  # noqa: S311  (repeatable on purpose)
    draw = STAGES[stage or rng.choice(sorted(STAGES))]
    side = min(width, height) * 0.7
    if max(width, height) > 1.6 * min(width, height):
        side = min(width, height) * 0.8
    x, y = (width - side) / 2, (height - side) / 2
    back = draw(width, height, _tones(palette, ground), rng)
    shadow = (
        f'<ellipse cx="{width / 2:.1f}" cy="{y + side * 0.985:.1f}" rx="{side * 0.36:.1f}" ry="{side * 0.045:.1f}"'
        f' fill="{mix(ground, "#000000", 0.45)}" opacity=".22"/>'
    )
    figure = f'<g transform="translate({x:.1f} {y:.1f}) scale({side / _SIDE:.4f})">{drawing(name, palette, ground)}</g>'
    return svg(width, height, back + shadow + figure)


def figure(name: str, palette: Palette, ground: str, side: float) -> str:
    """The drawing alone, in a square of ``side``."""
    return svg(side, side, f'<g transform="scale({side / _SIDE:.4f})">{drawing(name, palette, ground)}</g>')


def pattern(palette: Palette, ground: str, size: tuple[float, float], seed: int, stage: str) -> str:
    """A stage alone, in tones that keep the texts on it as readable as on the ground itself."""
    width, height = size
    rng = random.Random(f"{seed} {stage}")  # noqa: S311
    away = (
        palette.deep
        if contrast(ground, "#ffffff") >= contrast(ground, "#000000") or contrast(ground, "#ffffff") > 4.4
        else "#ffffff"
    )
    tones = (mix(ground, away, 0.1), mix(ground, away, 0.18), palette.accent)
    return svg(width, height, STAGES[stage](width, height, tones, rng))


def rays(palette: Palette, ground: str, size: tuple[float, float], centre: tuple[float, float]) -> str:
    """Beams from ``centre`` over the whole picture, quiet enough to write on."""
    away = palette.deep if contrast(ground, "#ffffff") > 4.4 else "#ffffff"
    return svg(*size, _beams(*centre, math.hypot(*size), mix(ground, away, 0.13), 0.1))


def svg(width: float, height: float, inner: str) -> str:
    """An SVG document of that size."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.1f} {height:.1f}">{inner}</svg>'
    )


def _tones(palette: Palette, ground: str) -> tuple[str, str, str]:
    """Two quiet tones of the ground, one near and one a little further, and the accent."""
    lighter = contrast(ground, "#000000") < 9
    towards = (
        mix(palette.brand, "#ffffff", 0.35)
        if lighter and ground != palette.brand
        else "#ffffff"
        if lighter
        else palette.brand
    )
    return mix(ground, towards, 0.1), mix(ground, towards, 0.2), palette.accent


def _scheme(palette: Palette, ground: str) -> dict[str, str]:
    main = palette.brand
    if contrast(main, ground) < 1.9:
        main = mix(palette.tint, palette.brand, 0.12) if contrast(ground, "#ffffff") > 1.9 else palette.deep
    if contrast(palette.accent, ground) < 1.25:
        accent = palette.brand if main != palette.brand else palette.deep
    else:
        accent = palette.accent if contrast(palette.accent, main) > 1.08 else palette.deep
    pale = contrast(main, "#ffffff") < 1.6
    return {
        "main": main,
        "light": mix(main, "#ffffff", 0.75 if pale else 0.32),
        "shade": mix(main, palette.deep if not pale else palette.brand, 0.3),
        "accent": accent,
        "dark": mix(accent, palette.deep, 0.35),
        "white": palette.paper if not pale else "#ffffff",
        "ink": palette.deep if contrast(palette.deep, ground) > 1.5 or pale else mix(palette.deep, "#000000", 0.55),
    }


def _rings(width: float, height: float, tones: tuple[str, str, str], rng: random.Random) -> str:
    near, far, accent = tones
    reach = math.hypot(width, height) / 2
    x, y = width / 2, height / 2
    out = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{reach * 0.86:.1f}" fill="{near}"/>']
    out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{min(width, height) * 0.46:.1f}" fill="{far}"/>')
    for _ in range(3):
        angle, radius = rng.uniform(0, 2 * math.pi), min(width, height) * 0.46
        out.append(
            _dot(
                x + radius * math.cos(angle),
                y + radius * math.sin(angle),
                min(width, height) * rng.uniform(0.014, 0.03),
                accent,
            )
        )
    return "".join(out)


def _arch(width: float, height: float, tones: tuple[str, str, str], rng: random.Random) -> str:
    near, far, accent = tones
    span = min(width, height) * 0.74
    x, top = (width - span) / 2, max(0.0, height / 2 - span * 0.56)
    sun = min(width, height) * 0.1
    left = rng.random() < 0.5
    return (
        f'<rect x="0" y="{height * 0.78:.1f}" width="{width:.1f}" height="{height * 0.22 + 1:.1f}" fill="{near}"/>'
        f'<path d="M{x:.1f} {height:.1f}V{top + span / 2:.1f}a{span / 2:.1f} {span / 2:.1f} 0 0 1 {span:.1f} 0'
        f'V{height:.1f}z" fill="{far}"/>'
        + _dot(width * 0.5 + span * (-0.47 if left else 0.47), top + span * 0.12, sun, accent)
    )


def _waves(width: float, height: float, tones: tuple[str, str, str], rng: random.Random) -> str:
    near, far, accent = tones
    out = [_dot(width * rng.choice((0.2, 0.8)), height * 0.22, min(width, height) * 0.09, accent)]
    for share, tone in ((0.52, near), (0.7, far)):
        y, lift = height * share, height * 0.09
        out.append(
            f'<path d="M0 {y:.1f}C{width * 0.25:.1f} {y - lift:.1f} {width * 0.3:.1f} {y + lift:.1f}'
            f" {width * 0.55:.1f} {y:.1f}"
            f'S{width * 0.85:.1f} {y - lift:.1f} {width:.1f} {y - lift * 0.3:.1f}V{height:.1f}H0z" fill="{tone}"/>'
        )
    return "".join(out)


def _dots(width: float, height: float, tones: tuple[str, str, str], rng: random.Random) -> str:
    near, far, accent = tones
    step = max(10.0, min(width, height) / 11)
    radius = step * 0.13
    blob = min(width, height) * 0.4
    out = [f'<circle cx="{width / 2:.1f}" cy="{height / 2:.1f}" r="{blob:.1f}" fill="{near}"/>']
    columns, rows = int(width / step) + 1, int(height / step) + 1
    for column in range(columns):
        for line in range(rows):
            x, y = (column + 0.5) * step, (line + 0.5) * step
            if (x / width + y / height) > 1.22 or (x / width + y / height) < 0.5:
                out.append(_dot(x, y, radius, far))
    out.append(
        _dot(width / 2 + blob * 0.8, height / 2 - blob * 0.8, min(width, height) * rng.uniform(0.035, 0.055), accent)
    )
    return "".join(out)


def _rays(width: float, height: float, tones: tuple[str, str, str], rng: random.Random) -> str:
    near, far, _ = tones
    x, y = width / 2, height / 2
    beams = _beams(x, y, math.hypot(width, height), near, rng.uniform(0, math.pi / 9))
    return f'{beams}<circle cx="{x:.1f}" cy="{y:.1f}" r="{min(width, height) * 0.42:.1f}" fill="{far}"/>'


def _beams(x: float, y: float, reach: float, fill: str, turn: float, count: int = 10) -> str:
    out = []
    for ray in range(count):
        start = turn + ray * 2 * math.pi / count
        end = start + math.pi / count
        out.append(
            f'<path d="M{x:.1f} {y:.1f}L{x + reach * math.cos(start):.1f} {y + reach * math.sin(start):.1f}'
            f'L{x + reach * math.cos(end):.1f} {y + reach * math.sin(end):.1f}z" fill="{fill}"/>'
        )
    return "".join(out)


def _blocks(width: float, height: float, tones: tuple[str, str, str], rng: random.Random) -> str:
    """Quarter circles and squares on a grid, quiet, with a single accent."""
    near, far, accent = tones
    side = max(24.0, min(width, height) / 4)
    out = []
    columns, rows = math.ceil(width / side), math.ceil(height / side)
    cells = [(column, line) for column in range(columns) for line in range(rows)]
    marked = rng.choice([cell for cell in cells if cell[0] in (0, columns - 1) or cell[1] in (0, rows - 1)])
    for column, line in cells:
        x, y, tone = column * side, line * side, rng.choice((near, far, "", near))
        tone = accent if (column, line) == marked else tone
        if not tone:
            continue
        corner = rng.choice(((0, 0), (1, 0), (0, 1), (1, 1)))
        cx, cy = x + corner[0] * side, y + corner[1] * side
        ex, ey = x + (1 - corner[0]) * side, y + (1 - corner[1]) * side
        sweep = 1 if corner in ((0, 0), (1, 1)) else 0
        out.append(
            f'<path d="M{cx:.1f} {cy:.1f}L{ex:.1f} {cy:.1f}A{side:.1f} {side:.1f} 0 0 {sweep} {cx:.1f} {ey:.1f}z"'
            f' fill="{tone}"/>'
        )
    return "".join(out)


def _dot(x: float, y: float, radius: float, fill: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}"/>'


STAGES: dict[str, Callable[[float, float, tuple[str, str, str], random.Random], str]] = {
    "arch": _arch,
    "blocks": _blocks,
    "dots": _dots,
    "rays": _rays,
    "rings": _rings,
    "waves": _waves,
}
"""The grounds that a drawing can stand on."""


@cache
def _calls() -> dict[str, tuple[str, ...]]:
    text = resources.files("arauto.creative").joinpath("data", "art.toml").read_text("utf-8")
    return {name: tuple(words.split()) for name, words in tomllib.loads(text)["words"].items()}


def _called(word: str, call: str) -> bool:
    return word.startswith(call[:-1]) if call.endswith("*") else word == call
