"""Who did what, the latest first."""

from __future__ import annotations

from typing import Any

import msgspec

from arauto.core.clock import to_datetime
from arauto.dashboard.screen import OWN, File, Screen, View, csv_file
from arauto.store import AuditEntry

PAGE, FILE = 100, 500


async def values(view: View) -> dict[str, Any]:
    """A page of the log, before the entry that the address names."""
    told = view.query.get("before", "")
    before = int(told) if told.isdigit() and len(told) < 19 else None
    entries = await view.runtime.store.catalogue.audit_log(PAGE, before)
    return {
        "entries": [{"entry": entry, "detail": _detail(entry)} for entry in entries],
        "older": entries[-1].id if len(entries) == PAGE else None,
        "newest": before is None,
    }


def _detail(entry: AuditEntry) -> str:
    told = {name: value for name, value in entry.detail.items() if value not in (None, "", [], 0)}
    text = ", ".join(
        f"{name}: {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for name, value in told.items()
    )
    return text if len(text) <= 200 else f"{text[:199]}…"


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
