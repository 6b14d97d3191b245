"""Who did what, the latest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from arauto.core.clock import to_datetime
from arauto.dashboard.screen import OWN, File, Screen, View, csv_file
from arauto.dashboard.words import Words
from arauto.store import AuditEntry

PAGE, FILE = 100, 500
DETAILS = (
    "slug", "name", "role", "from", "variant", "variants", "media", "accepted", "refused", "from_share", "to_share",
    "share", "guardrail", "rule", "place", "reason", "origins", "seeds", "found", "exposures", "events",
)  # fmt: skip
"""What of an entry's details is said on the page, in this order; the file has all of them."""


async def values(view: View) -> dict[str, Any]:
    """A page of the log, before the entry that the address names."""
    told = view.query.get("before", "")
    before = int(told) if told.isdigit() and len(told) < 19 else None
    store = view.runtime.store
    entries = await store.catalogue.audit_log(PAGE, before)
    names = {f"campaign:{one.id}": one.name for one in await store.catalogue.campaigns()}
    names |= {f"user:{one.id}": one.name for one in await store.users.all()}
    return {
        "entries": [
            {
                "entry": entry,
                "who": who(entry.actor, view.words),
                "target": _target(entry.target, names, view.words),
                "detail": _detail(entry, view.words),
            }
            for entry in entries
        ],
        "older": entries[-1].id if len(entries) == PAGE else None,
        "newest": before is None,
    }


def who(actor: str, words: Words) -> str:
    """An actor of the log as a reader calls them."""
    kind, _, name = actor.partition(":")
    if kind == "user" and name:
        return name
    return words(f"who_{actor}") if words.has(f"who_{actor}") else actor


def _target(target: str, names: Mapping[str, str], words: Words) -> dict[str, str]:
    """What was changed: its kind, its name or number, and where it can be seen."""
    kind, _, key = target.replace(" ", ":").partition(":")
    if not words.has(f"kind_{kind}"):
        return {"kind": "", "name": target, "to": ""}
    known = names.get(f"{kind}:{key}")
    name = known or (f"{key[:12]}…" if len(key) > 12 else key)
    return {
        "kind": words(f"kind_{kind}"),
        "name": name,
        "to": f"{OWN}/campaigns/{key}" if kind == "campaign" and known else "",
    }


def _detail(entry: AuditEntry, words: Words) -> str:
    """What is worth saying of the details, in the reader's language; all of them stand in the file."""
    text = "; ".join(
        f"{words(f'detail_{name}')}: {_told(name, entry.detail[name], words)}"
        for name in DETAILS
        if entry.detail.get(name) not in (None, "", [])
    )
    return text if len(text) <= 200 else f"{text[:199]}…"


def _told(name: str, value: Any, words: Words) -> str:
    if isinstance(value, list):
        return ", ".join(_told(name, one, words) for one in value)
    if name in ("from_share", "to_share", "share"):
        return words.percent(float(value), 0)
    if isinstance(value, int | float):
        return words.number(value)
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    key = {"from": "state", "role": "role", "media": "medium", "guardrail": "rail"}.get(name, "")
    return words(f"{key}_{text}") if key and words.has(f"{key}_{text}") else text


async def log(view: View) -> File:
    """The last entries as a table."""
    entries = await view.runtime.store.catalogue.audit_log(FILE)
    lines = [
        [
            to_datetime(entry.at_ms).isoformat(),
            entry.actor,
            entry.action,
            entry.target,
            msgspec.json.encode(entry.detail).decode(),
        ]
        for entry in entries
    ]
    return csv_file("audit.csv", ("at", "actor", "action", "target", "detail"), lines)


SCREEN = Screen(
    name="audit", path=f"{OWN}/audit", values=values, role="approver", query=("before",), files={"audit.csv": log}
)
