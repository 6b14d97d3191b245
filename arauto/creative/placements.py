"""Where a kit runs, and the limits of each place: the rows of ``data/placements.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from arauto.core.door import from_data
from arauto.core.kit import Severity


class TextPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a text placement (``google-rsa.headline``): how many there are, and how many characters each has."""

    id: str
    least: int
    most: int
    limit: int
    severity: Severity
    source: str
    date: str

    @property
    def placement(self) -> str:
        return self.id.partition(".")[0]

    @property
    def part(self) -> str:
        return self.id.partition(".")[2]


class BannerPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A size of banner in pixels, and the most kilobytes (of 1024 bytes) that its file or bundle may weigh."""

    size: tuple[int, int]
    initial: int
    channel: str
    source: str
    date: str

    @property
    def id(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"


@cache
def text_places() -> tuple[TextPlace, ...]:
    """Every part of every text placement, in the file's order."""
    return tuple(from_data(_table()["texts"], list[TextPlace]))


@cache
def banner_places() -> dict[str, BannerPlace]:
    """Every size of banner, by its id (``"300x250"``)."""
    return {place.id: place for place in from_data(_table()["banners"], list[BannerPlace])}


@cache
def text_place(place_id: str) -> TextPlace:
    """The row of that id."""
    return next(place for place in text_places() if place.id == place_id)


@cache
def _table() -> dict[str, Any]:
    text = resources.files("arauto.creative").joinpath("data", "placements.toml").read_text("utf-8")
    return tomllib.loads(text)
