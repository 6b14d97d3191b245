"""Many kits from one brief: a catalogue's rows over it; presets; waivers beside a kit."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from arauto.core.brief import Brief, check_brief
from arauto.core.door import from_data, from_json
from arauto.core.errors import BriefError, InputError, NotFoundError
from arauto.creative.kit.rules import Waiver
from arauto.creative.words import fold

PRESETS: dict[str, tuple[str, ...]] = {
    "search": ("google-rsa",),
    "display": ("google-rda", "display"),
    "social": ("meta", "tiktok", "social", "video"),
    "email": ("email", "push", "landing"),
    "radio": ("script", "audio"),
}
"""The placements and channels of each purpose."""

MAX_ROWS = 1000
MAX_BYTES = 8 * 1024 * 1024
WAIVERS = "waivers.json"
_OFFER = ("price", "was", "currency", "discount", "deadline", "terms")
_LISTS = ("benefits", "disclaimers", "words_to_avoid", "pictures", "footage", "channels")


def with_preset(brief: Brief, preset: str) -> Brief:
    """The brief for the placements of one purpose."""
    return msgspec.structs.replace(brief, channels=PRESETS[preset])


def read_catalogue(path: Path, base: Brief) -> list[tuple[str, Brief]]:
    """A brief for each row of a CSV file (a header, commas or semicolons) or JSONL file, with a folder name for it.

    A row's fields go over those of ``base``; the offer's fields stand by themselves (``price``, ``was``…), and a list
    (``benefits``) is written with ``|`` between its items. Empty cells change nothing.

    Raises:
        BriefError: names the row and field, what was wrong and the mend.
    """
    rows = _rows(path)
    if not rows:
        raise BriefError("has no rows", field=str(path), mend="give a header and a row a product")
    names: set[str] = set()
    out = []
    for place, row in enumerate(rows, 1):
        try:
            brief = _over(base, row)
        except InputError as failure:
            raise BriefError(failure.problem, field=f"row {place}: {failure.field}", mend=failure.mend) from None
        name = re.sub(r"[^a-z0-9]+", "-", fold(brief.product)).strip("-")[:40] or "product"
        while name in names:
            name = f"{name[:34]}-{place}"
        names.add(name)
        out.append((name, brief))
    return out


def load_waivers(folder: Path) -> list[Waiver]:
    """The waivers beside a kit."""
    path = folder / WAIVERS
    return from_json(path.read_bytes(), list[Waiver]) if path.is_file() else []


def save_waiver(folder: Path, waiver: Waiver) -> None:
    """Add a waiver beside a kit.

    Raises:
        InputError: when it lacks a name or a reason.
    """
    checked = from_data(msgspec.to_builtins(waiver), Waiver)
    body = msgspec.json.encode([*load_waivers(folder), checked])
    (folder / WAIVERS).write_bytes(msgspec.json.format(body, indent=1) + b"\n")


def drop_waiver(folder: Path, rule: str, place: str) -> None:
    """Take the waivers of a rule and place away that lie beside a kit. Raises :class:`NotFoundError` without any."""
    waivers = load_waivers(folder)
    rest = [one for one in waivers if (one.rule, one.place) != (rule, place)]
    if len(rest) == len(waivers):
        raise NotFoundError("there is no such waiver", field="rule", mend="list the waivers")
    (folder / WAIVERS).write_bytes(msgspec.json.format(msgspec.json.encode(rest), indent=1) + b"\n")


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BriefError(f"is larger than {MAX_BYTES} bytes", field=str(path), mend="split it")
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise BriefError("is not UTF-8 text", field=str(path), mend="save it as UTF-8") from None
    except OSError as failure:
        raise BriefError(
            failure.strerror or "cannot be read", field=str(path), mend="give a CSV or JSONL file"
        ) from None
    try:
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
            rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter, restval=""))
    except (ValueError, csv.Error) as failure:
        raise BriefError(f"cannot be read: {failure}", field=str(path), mend="mend that line") from None
    if len(rows) > MAX_ROWS or not all(isinstance(row, dict) for row in rows):
        raise BriefError(f"is not a list of at most {MAX_ROWS} objects", field=str(path), mend="one product a line")
    return rows


def _over(base: Brief, row: dict[str, Any]) -> Brief:
    data = msgspec.to_builtins(base)
    offer = dict(data.get("offer") or {})
    for key, value in row.items():
        name = str(key).strip()
        if value in ("", None, []):
            continue
        if name in _OFFER:
            offer[name] = value
        elif name in _LISTS and isinstance(value, str):
            data[name] = [part.strip() for part in value.split("|") if part.strip()]
        else:
            data[name] = value
    if offer:
        data["offer"] = offer
    return check_brief(from_data(data, Brief, error=BriefError, strict=False))
