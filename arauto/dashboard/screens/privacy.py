"""A visitor's request (LGPD art. 18, GDPR art. 15 and 17): everything kept of them as a file, or its end."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from arauto.core.errors import NotFoundError
from arauto.dashboard.screen import OWN, Action, Deed, Done, File, Screen, View
from arauto.dashboard.screens.audit import who
from arauto.dashboard.words import RefusedError

DEEDS = ("visitor.erase", "visitor.export")
LATELY = 200


async def values(view: View) -> dict[str, Any]:
    """The requests answered lately; visitors appear in them by a keyed hash only."""
    log = await view.runtime.store.catalogue.audit_log(LATELY)
    return {"entries": [(entry, who(entry.actor, view.words)) for entry in log if entry.action in DEEDS]}


async def export(deed: Deed) -> Done:
    """Everything kept of a visitor, as JSON."""
    visitor = _visitor(deed)
    try:
        kept = await deed.runtime.export(visitor)
    except NotFoundError:
        raise RefusedError("visitor_unknown", "visitor") from None
    body = msgspec.json.format(msgspec.json.encode(kept), indent=2)
    tomb = deed.runtime.book.tomb(visitor)
    await deed.runtime.store.catalogue.audit(deed.person.actor, "visitor.export", f"tomb:{tomb}", {})
    return Done(file=File(body, "visitor.json", "application/json"))


async def erase(deed: Deed) -> Done:
    """Erase a visitor, for who has ticked that it is meant."""
    visitor = _visitor(deed)
    if deed.form.get("sure") != "yes":
        raise RefusedError("not_sure", "sure")
    gone = await deed.runtime.erase(visitor, deed.person.actor)
    return Done(shown={"shown": gone})


def _visitor(deed: Deed) -> UUID:
    try:
        return UUID(deed.form.get("visitor", "").strip())
    except ValueError:
        raise RefusedError("visitor_id", "visitor") from None


SCREEN = Screen(
    name="privacy",
    path=f"{OWN}/privacy",
    values=values,
    role="approver",
    live=False,
    actions={"export": Action("approver", export), "erase": Action("approver", erase)},
)
