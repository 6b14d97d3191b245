"""What a brief becomes: assets in four media, how each was made, and what the checks say of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from arauto.core.brief import Brief, Language, Message
from arauto.core.campaign import Copy

Severity = Literal["error", "warn"]
Medium = Literal["text", "banner", "audio", "video"]
SourceType = Literal[
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "algorithmicMedia",
    "composite",
    "humanEdits",
    "digitalCapture",
]
"""A term of IPTC's Digital Source Type vocabulary (cv.iptc.org/newscodes/digitalsourcetype)."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong: the rule's id, the field, what was wrong and the mend.

    An ``error`` keeps the text or asset from being shown; a ``warn`` is for the marketer to judge. In a kit, ``place``
    is the id of the asset (empty: the kit as a whole) and ``source`` who set the rule. A finding that somebody waived
    says who (``waived_by``) and why (``reason``), and no longer counts as an error.
    """

    rule: str
    severity: Severity
    field: str
    problem: str
    mend: str
    place: str = ""
    source: str = ""
    waived_by: str = ""
    reason: str = ""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """How an asset was made. ``prompt_sha256`` is the hash of what was asked of the engine; empty when nothing was."""

    engine: str
    model: str = ""
    version: str = ""
    prompt_sha256: str = ""
    seed: int | None = None
    source_type: SourceType = "algorithmicMedia"


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a kit. ``path`` is relative to the kit's folder, with ``/`` between its parts.

    ``words`` are all words that are shown or said, a line each; ``facts`` maps the name of a field of
    :class:`~arauto.core.brief.Message` to how this asset renders it. ``width`` and ``height`` are in pixels.
    ``placement`` is where it runs (``"google-rsa"``, ``"300x250"``, ``"spot"``, ``"9x16"``), ``variant`` tells the
    versions of one placement apart (``"a"``, ``"b"``); ``detail`` holds what only this medium has, as text.
    """

    id: str
    medium: Medium
    placement: str
    variant: str = "a"
    path: str
    media_type: str
    sha256: str
    bytes: int
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    words: str = ""
    facts: dict[str, str] = {}
    made: Provenance
    alt: str = ""
    detail: dict[str, str] = {}


class Kit(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one brief became. ``seed`` and the engines named in the assets make it again, byte for byte."""

    brief: Brief
    message: Message
    seed: int
    assets: tuple[Asset, ...]
    findings: tuple[Finding, ...] = ()
    language: Language = "pt-BR"


class Palette(msgspec.Struct, frozen=True, kw_only=True):
    """The colours of a kit as ``#rrggbb``. Each ``on_…`` is readable on its ground (WCAG 2.2: 4.5:1 at least).

    ``brand`` is the brand's main colour, deepened only where that is all white text needs; ``deep`` and ``tint`` are a
    dark and a pale ground of the same hue,
    ``accent`` the colour of buttons and marks, ``paper`` and ``ink`` a near-white ground and its text.
    """

    brand: str
    on_brand: str
    deep: str
    on_deep: str
    tint: str
    on_tint: str
    accent: str
    on_accent: str
    paper: str
    ink: str


class Fonts(msgspec.Struct, frozen=True, kw_only=True):
    """Families, by name, and the folders with their files (TrueType or OpenType); the renderer's own come after."""

    display: str
    text: str
    folders: tuple[Path, ...] = ()


class KitWork(msgspec.Struct, frozen=True, kw_only=True):
    """What every medium is made from. ``copies`` have passed the checks, the best first.

    ``pictures``, ``footage`` and ``logo`` are the marketer's own files, already found and known to be inside the
    brief's folder; ``drawn_by`` says which model drew ``pictures``, when the marketer gave none.
    """

    brief: Brief
    message: Message
    copies: tuple[Copy, ...]
    seed: int
    palette: Palette
    fonts: Fonts
    pictures: tuple[Path, ...] = ()
    footage: tuple[Path, ...] = ()
    logo: Path | None = None
    drawn_by: Provenance | None = None


Progress: TypeAlias = Callable[[str, float], None]
"""Told of every step: what is being made, and the share done of this medium, 0 to 1."""

Render: TypeAlias = Callable[[KitWork, Path, Progress], Awaitable[list[Asset]]]
"""A medium: writes its files below the kit's folder (the path) and says what they are."""
