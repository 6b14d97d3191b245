"""A chart as a page shows it: at two widths, and its table with a CSV file beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from markupsafe import Markup

WIDE, NARROW = 540, 330


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A chart at two widths and its table: ``head``, and ``rows`` of as many cells. ``keys`` are its legend: names and
    hues. ``file`` is the name of its CSV, if it has one."""

    title: str
    wide: Markup
    narrow: Markup
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    keys: Sequence[tuple[str, int]] = ()
    under: str = ""
    file: str = ""


def two_widths(draw: Callable[[int], str]) -> tuple[Markup, Markup]:
    """The chart for wide and for narrow places; the style sheet shows the one that fits."""
    wide = draw(WIDE).replace('class="chart"', 'class="chart wide-chart"', 1)
    narrow = draw(NARROW).replace('class="chart"', 'class="chart narrow-chart"', 1)
    # Charts escape every text that they write.
    return Markup(wide), Markup(narrow)  # noqa: S704


def figure(
    draw: Callable[[int], str],
    *,
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    keys: Sequence[tuple[str, int]] = (),
    under: str = "",
    file: str = "",
) -> Figure:
    """The figure that ``draw`` makes for a width."""
    wide, narrow = two_widths(draw)
    return Figure(title=title, wide=wide, narrow=narrow, head=head, rows=rows, keys=keys, under=under, file=file)
