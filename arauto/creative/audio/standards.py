"""The rows of ``data/media.toml``: loudness profiles, and the rules of sound and film."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from arauto.core.door import from_data
from arauto.core.errors import SettingError
from arauto.creative.kit.rules import KitRule


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A loudness to reach: ``lufs`` ± ``tolerance``, true peak at most ``peak`` dBTP."""

    name: str
    lufs: float
    tolerance: float
    peak: float
    source: str
    date: str


@cache
def profiles() -> dict[str, Profile]:
    """Every loudness profile, by name."""
    return {row.name: row for row in from_data(_table()["profiles"], list[Profile])}


def profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        SettingError: there is none.
    """
    if name not in profiles():
        raise SettingError(f"{name!r} is not a profile", field="loudness", mend=f"use one of: {', '.join(profiles())}")
    return profiles()[name]


@cache
def media_rules() -> dict[str, KitRule]:
    """Every rule of sound and film, by its id."""
    return {row.id: row for row in from_data(_table()["rules"], list[KitRule])}


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files("arauto.creative").joinpath("data", "media.toml").read_text("utf-8"))
