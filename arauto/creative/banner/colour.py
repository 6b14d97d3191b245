"""Colour: the palette of a kit from the colours of a brand, every pair of text and ground readable by construction.

Lightness, chroma and hue are those of OKLCH (Björn Ottosson, 2020), in which equal steps look equal; contrast is that
of WCAG 2.2 (relative luminance).
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

from arauto.core.kit import Palette

TEXT_CONTRAST = 4.5
_WHITE_ON_BRAND = 5.2  # a margin, for the thin letters of small print
LARGE_CONTRAST = 3.0

# Hue and chroma to start from when the brand gives no colour: pairs that a designer would pick, by degrees of OKLCH.
_STARTS = ("#1F4FD8", "#0E7C66", "#7A2FBF", "#C2344D", "#0B7A9E", "#C4501B", "#2F6B2F", "#B02A78")


class Lch(NamedTuple):
    """A colour in OKLCH: lightness 0 to 1, chroma from 0 to about 0.37, hue in degrees."""

    lightness: float
    chroma: float
    hue: float


def to_lch(colour: str) -> Lch:
    """``#rrggbb`` in OKLCH."""
    red, green, blue = (_linear(channel) for channel in _channels(colour))
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    medium = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    lightness = 0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short
    a = 1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short
    b = 0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short
    return Lch(lightness, math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360)


def from_lch(colour: Lch) -> str:
    """``#rrggbb`` of a colour, its chroma lowered until a screen can show it."""
    chroma = colour.chroma
    while chroma > 0.001:
        channels = _rgb(Lch(colour.lightness, chroma, colour.hue))
        if all(-0.0005 <= channel <= 1.0005 for channel in channels):
            return _hex(channels)
        chroma *= 0.96
    return _hex(_rgb(Lch(colour.lightness, 0.0, colour.hue)))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2 between two colours, 1 to 21."""
    first, second = sorted((_luminance(one), _luminance(other)))
    return (second + 0.05) / (first + 0.05)


def readable(ground: str, *wishes: str, least: float = TEXT_CONTRAST) -> str:
    """The first of ``wishes`` that has ``least`` contrast on ``ground``; else black or white, the better of the two."""
    for wish in wishes:
        if contrast(wish, ground) >= least:
            return wish
    return max(("#ffffff", "#000000"), key=lambda ink: contrast(ink, ground))


def mix(one: str, other: str, share: float) -> str:
    """``one`` with ``share`` (0 to 1) of ``other``, mixed in OKLab."""
    first, second = _lab(to_lch(one)), _lab(to_lch(other))
    lightness, a, b = (x + (y - x) * share for x, y in zip(first, second, strict=True))
    return from_lch(Lch(lightness, math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360))


def palette_of(colours: tuple[str, ...], name: str) -> Palette:
    """The palette of a brand: from its ``colours`` (main first), or from its ``name`` when it gives none."""
    main = _with_white(colours[0].lower() if colours else _of_name(name))
    base = to_lch(main)
    grey = base.chroma < 0.03
    hue = base.hue
    second = next((to_lch(colour) for colour in colours[1:] if _distinct(to_lch(colour), base)), None)
    deep = from_lch(Lch(0.27 if not grey else 0.24, min(base.chroma, 0.09), hue))
    tint = from_lch(Lch(0.95, min(base.chroma * 0.3, 0.032), hue))
    paper = from_lch(Lch(0.985, min(base.chroma * 0.06, 0.006), hue))
    ink = from_lch(Lch(0.22, min(base.chroma * 0.25, 0.03), hue))
    accent = from_lch(second) if second else _accent(base, grey)
    return Palette(
        brand=main,
        on_brand=readable(main, "#ffffff", deep),
        deep=deep,
        on_deep=readable(deep, "#ffffff"),
        tint=tint,
        on_tint=readable(tint, deep),
        accent=accent,
        on_accent=readable(accent, deep, "#ffffff"),
        paper=paper,
        ink=ink,
    )


def _accent(base: Lch, grey: bool) -> str:
    """Gold beside cool and pink brands, cream-yellow beside red and orange ones, coral beside yellow ones."""
    if grey:
        return "#ffb52e"
    if 55 < base.hue < 120:
        return from_lch(Lch(0.7, 0.18, 30.0))
    if base.hue <= 55:
        return from_lch(Lch(0.91, 0.13, 98.0))
    return from_lch(Lch(0.84, 0.155, 82.0))


def _with_white(main: str) -> str:
    """The colour, a little deeper where that is all that white text needs; unchanged where dark text suits it."""
    colour = to_lch(main)
    if not LARGE_CONTRAST <= contrast(main, "#ffffff") < _WHITE_ON_BRAND:
        return main
    while contrast(from_lch(colour), "#ffffff") < _WHITE_ON_BRAND:
        colour = colour._replace(lightness=colour.lightness - 0.005)
    return from_lch(colour)


def _distinct(one: Lch, other: Lch) -> bool:
    turn = abs((one.hue - other.hue + 180) % 360 - 180)
    return one.chroma > 0.04 and (turn > 30 or abs(one.lightness - other.lightness) > 0.25)


def _of_name(name: str) -> str:
    return _STARTS[hashlib.sha256(name.casefold().encode()).digest()[0] % len(_STARTS)].lower()


def _channels(colour: str) -> tuple[float, float, float]:
    value = int(colour[1:], 16)
    return (value >> 16 & 255) / 255, (value >> 8 & 255) / 255, (value & 255) / 255


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(channel) for channel in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _lab(colour: Lch) -> tuple[float, float, float]:
    angle = math.radians(colour.hue)
    return colour.lightness, colour.chroma * math.cos(angle), colour.chroma * math.sin(angle)


def _rgb(colour: Lch) -> tuple[float, float, float]:
    lightness, a, b = _lab(colour)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    red, green, blue = (12.92 * x if x <= 0.0031308 else 1.055 * x ** (1 / 2.4) - 0.055 for x in linear)
    return red, green, blue


def _hex(channels: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * min(1.0, max(0.0, channel))):02x}" for channel in channels)
